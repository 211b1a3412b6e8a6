//! Faults found while a scenario is loaded: always with a place and, where possible, a way out.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::decode;

/// Longest message or hint; quotations from the file may have any length.
const TEXT_MAX: usize = 400;
/// Longest name that is compared with others: a longer one is no typing error.
const NAME_MAX: usize = 64;

/// Most diagnostics about one scenario; a file that is no scenario could be wrong everywhere.
const DIAGNOSTICS_MAX: usize = 1000;

/// A place in a scenario file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1; 0 if the error concerns no place in a file.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// The reason why a scenario was refused at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// File name, or the name of the built-in; empty before anything was read.
    pub source: String,
    /// The place in the file.
    pub position: Position,
    /// The fault.
    pub message: String,
    /// Advice on how to mend it; may be empty.
    pub hint: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        match line {
            // Nothing has been read yet.
            0 if self.source.is_empty() => f.write_str(&self.message)?,
            0 => write!(f, "{}: {}", self.source, self.message)?,
            _ => write!(f, "{}:{line}:{column}: {}", self.source, self.message)?,
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioError {}

/// Weight of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The scenario cannot be run.
    Error,
    /// The scenario runs as SIPp runs it, which may not be what its author meant.
    Warning,
    /// Something was not checked.
    Note,
}

impl Severity {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A finding about a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The weight.
    pub severity: Severity,
    /// The place, the finding and the advice.
    pub what: ScenarioError,
}

impl Diagnostic {
    /// The whole diagnostic on one line, for notices.
    pub fn on_one_line(&self) -> String {
        self.what.to_string().replace("\n  hint: ", "; ")
    }
}

/// Collector of the findings in one scenario, so that a fault does not hide the next one.
#[derive(Debug, Default)]
pub(super) struct Sink {
    found: RefCell<Vec<(Severity, Fault)>>,
    errors: Cell<usize>,
}

impl Sink {
    /// Reports an error: the scenario cannot be run.
    pub(super) fn error(&self, fault: Fault) {
        self.errors.set(self.errors.get() + 1);
        if !fault.is_told() {
            self.add(Severity::Error, fault);
        }
    }

    /// Reports a warning: SIPp reads this in its own way, and so do we.
    pub(super) fn warn(&self, fault: Fault) {
        self.add(Severity::Warning, fault);
    }

    /// Number of errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Reports a warning as [`Sink::warn`] does. It is worded only if it is kept: a file may cause
    /// millions.
    pub(super) fn warn_with(&self, word: impl FnOnce() -> Fault) {
        if !self.is_full() {
            self.warn(word());
        }
    }

    /// Tells whether a further warning would be dropped.
    fn is_full(&self) -> bool {
        self.found.borrow().len() >= DIAGNOSTICS_MAX
    }

    /// Tells whether the scenario is refused and no more findings are kept: the rest need not be
    /// read.
    pub(super) fn is_done(&self) -> bool {
        self.errors.get() > 0 && self.is_full()
    }

    fn add(&self, severity: Severity, fault: Fault) {
        let mut found = self.found.borrow_mut();
        let is_first_error = severity == Severity::Error && self.errors.get() == 1;
        // The first error is always kept, however many warnings come before it.
        if found.len() < DIAGNOSTICS_MAX || is_first_error {
            found.push((severity, fault));
        }
    }

    /// Returns all findings in the order of the file, one per place.
    pub(super) fn into_diagnostics(self, source: &str) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(severity, fault)| (fault.position, *severity));
        found.dedup_by(|(_, a), (_, b)| a.position == b.position && a.message == b.message);
        let told = |(severity, fault): (Severity, Fault)| Diagnostic {
            severity,
            what: fault.in_source(source),
        };
        found.into_iter().map(told).collect()
    }
}

/// An error that does not know its file's name yet.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: shown(&message.into()), hint: String::new() }
    }

    /// A fault that has been reported already.
    pub(super) fn told() -> Self {
        Self::new(Position::default(), "")
    }

    fn is_told(&self) -> bool {
        self.message.is_empty()
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = shown(&hint.into());
        self
    }

    /// Replaces the hint by "did you mean" if one of `known` is close to `given`.
    pub(super) fn suggest<'k>(self, given: &str, known: impl Iterator<Item = &'k str>) -> Self {
        match nearest(given, known) {
            Some(best) => self.hint(format!("did you mean \"{best}\"?")),
            None => self,
        }
    }

    /// Adds "did you mean" to the hint, which says how SIPp reads the text.
    pub(super) fn suggest_too<'k>(self, given: &str, known: impl Iterator<Item = &'k str>) -> Self {
        match nearest(given, known) {
            Some(best) => {
                let hint = format!("{}; did you mean \"{best}\"?", self.hint);
                self.hint(hint)
            }
            None => self,
        }
    }

    pub(super) fn in_source(self, source: &str) -> ScenarioError {
        ScenarioError {
            source: source.to_owned(),
            position: self.position,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// `text` on one line of bounded length.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX));
    for c in text.chars() {
        if out.len() >= TEXT_MAX {
            out.push_str("...");
            break;
        }
        match decode::byte_of(c) {
            Some(byte) => out.push_str(&format!("\\x{byte:02x}")),
            None if c.is_control() => out.extend(c.escape_debug()),
            None => out.push(c),
        }
    }
    out
}

/// The known name closest to `given`, if it is close enough for a typing error: one edit for every
/// three characters.
pub(super) fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if given.len() > NAME_MAX {
        return None;
    }
    let given = given.to_ascii_lowercase();
    known
        .filter(|name| name.len() <= NAME_MAX)
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase()), name))
        .min()
        .filter(|&(distance, name)| distance <= name.len().min(given.len()).div_ceil(3).min(3))
        .filter(|&(distance, name)| distance == 0 || name.len().min(given.len()) > 2)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_typing_errors_are_near() {
        let near = |given| nearest(given, ["recv", "send", "pause", "nop", "1"].into_iter());
        assert_eq!(near("recieve"), None);
        assert_eq!(near("rcev"), Some("recv"));
        assert_eq!(near("Recv"), Some("recv"));
        assert_eq!(near("puase"), Some("pause"));
        assert_eq!(near("2"), None);
        assert_eq!(near(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn what_is_quoted_cannot_flood_the_terminal() {
        let fault = Fault::new(Position::default(), "\u{1b}[2J\n".repeat(1000));
        assert!(fault.message.len() < TEXT_MAX + 16);
        assert!(!fault.message.contains(char::is_control));
    }
}
