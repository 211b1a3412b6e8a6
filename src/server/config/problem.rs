//! Mistakes of a configuration, with their places.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// A place in a text, counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The file cannot be read.
    Unreadable,
    /// The text is not JSON, or too large or too deep.
    Syntax,
    /// A key stands twice in one object.
    DuplicateKey,
    /// No such key, or not allowed there.
    UnknownKey,
    /// A key of an older layout.
    RemovedKey,
    /// A required key is missing.
    MissingKey,
    /// A value of another type.
    WrongType,
    /// A value that cannot be used.
    BadValue,
    /// The feature behind the key is not in this version.
    NotInThisVersion,
    /// Keys that do not go together.
    Contradiction,
    /// A file or directory that is not there, or cannot be used.
    File,
    /// A scenario or a data file that is wrong in itself.
    Scenario,
    /// Two engines want the same address.
    Bind,
    /// A secret that is well known or can be guessed.
    Secret,
    /// The API would be open to others without authentication.
    OpenApi,
    /// `extra_args` or an option of the command line.
    Option,
    /// There are more mistakes than are reported.
    TooMany,
}

/// Most mistakes of one configuration that are reported. A body of 1 MiB may have some 350,000.
pub(super) const PROBLEMS_MAX: usize = 100;

/// Most characters of a message, which may quote what was written.
const MESSAGE_CHARS_MAX: usize = 2000;

/// The last row if there are more mistakes than are reported.
const MORE: &str = "there are more mistakes; correct these first";

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place; `None` if the mistake is not in the text of the file.
    pub place: Option<Place>,
    /// The key, from the top of the file: `clients[1].rate`.
    pub key: String,
    /// The kind of mistake.
    pub kind: ProblemKind,
    /// The mistake, and what to do about it.
    pub message: String,
}

impl Problem {
    /// Removes the key from the start of the message: readers of option values put it there, too.
    fn name_the_key_once(&mut self) {
        let last = self.key.rsplit('.').next().unwrap_or_default();
        let rest = self.message.strip_prefix(last).filter(|_| !last.is_empty());
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix([' ', ':'])) {
            self.message = rest.trim_start().to_owned();
        }
    }

    /// Cuts a message that is too long to be read.
    fn cut(&mut self) {
        if let Some((at, _)) = self.message.char_indices().nth(MESSAGE_CHARS_MAX) {
            self.message.truncate(at);
            self.message.push_str("...");
        }
    }

    /// Rewords the message for the body of a request. Only a mistake in a named file keeps "the
    /// file".
    pub(super) fn of_a_body(mut self) -> Self {
        if !matches!(self.kind, ProblemKind::File | ProblemKind::Scenario) {
            self.message = self.message.replace("the file", "the body");
        }
        self
    }
}

/// The mistakes of a configuration, in the order of the file; of too many the first ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named; `None` for a configuration from elsewhere.
    pub file: Option<PathBuf>,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Sorts mistakes in the order of the file; those without a place come last.
    pub(super) fn new(file: Option<PathBuf>, mut list: Vec<Problem>) -> Self {
        list.iter_mut().for_each(Problem::name_the_key_once);
        list.sort_by_key(|problem| problem.place.map_or((1, Place::default()), |at| (0, at)));
        list.dedup();
        if list.len() > PROBLEMS_MAX {
            list.truncate(PROBLEMS_MAX);
            let (key, message) = (String::new(), MORE.to_owned());
            list.push(Problem { place: None, key, kind: ProblemKind::TooMany, message });
        }
        list.iter_mut().for_each(Problem::cut);
        Self { file, list }
    }

    /// The mistakes as JSON, for programs: the output of `gossipper config check --json`.
    pub fn to_json(&self) -> serde_json::Value {
        let rows = self.list.iter().map(|problem| {
            serde_json::json!({
                "line": problem.place.map(|at| at.line),
                "column": problem.place.map(|at| at.column),
                "key": problem.key,
                "kind": problem.kind,
                "message": problem.message,
            })
        });
        rows.collect()
    }
}

impl fmt::Display for Problems {
    /// Writes a line for each: `file:line:column: key: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
            }
            if let Some(at) = problem.place {
                write!(f, "{}:{}:", at.line, at.column)?;
            }
            if self.file.is_some() || problem.place.is_some() {
                f.write_str(" ")?;
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
