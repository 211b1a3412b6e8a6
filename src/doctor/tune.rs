//! `gossipper tune`: the kernel settings of `etc/sysctl/90-gossipper.conf`, printed, applied with a
//! record of the earlier values, and taken back. Every change is printed; none is made unless asked
//! for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::output::{WriteFileError, write_file};

/// The settings, with their reasons.
pub const SETTINGS: &str = include_str!("../../etc/sysctl/90-gossipper.conf");

/// File that applies the settings again after a restart of the host.
const LASTING: &str = "etc/sysctl.d/90-gossipper.conf";
/// First line of that file: a file with another first line is not ours to remove.
const LASTING_HEAD: &str =
    "# Written by `gossipper tune --apply`; `gossipper tune --revert` removes it.";
/// File with the record of earlier values.
const RECORD: &str = "var/lib/gossipper/tune.json";

/// The task of `gossipper tune`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Print the settings.
    #[default]
    Print,
    /// Raise the values that are lower than the settings.
    Apply {
        /// True to allow io_uring too, if a setting forbids it.
        io_uring: bool,
    },
    /// Restore the earlier values.
    Revert,
}

/// The reason why settings could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// A setting cannot be written.
    #[error("cannot set {key} to {value:?}: {source}; {}", advice(.source))]
    Set {
        /// The name of the setting.
        key: String,
        /// The value that should have been written.
        value: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file of ours cannot be written.
    #[error(transparent)]
    File(#[from] WriteFileError),
    /// A file or folder of ours cannot be made, read or removed.
    #[error("{path}: {source}; {}", advice(.source))]
    Access {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The record cannot be understood.
    #[error(
        "{path} is not a record of `gossipper tune`: {reason}; look at it, and remove it by hand"
    )]
    Record {
        /// The path.
        path: PathBuf,
        /// The fault.
        reason: serde_json::Error,
    },
    /// Nothing was applied before.
    #[error("there is nothing to revert: {0} does not exist")]
    NoRecord(PathBuf),
    /// The text cannot be printed.
    #[error("cannot print: {0}")]
    Output(io::Error),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "run it as root",
        ErrorKind::ReadOnlyFilesystem => {
            "in a container, settings of the kernel belong to the host: run it there"
        }
        ErrorKind::InvalidInput => "this kernel refuses the value",
        _ => "nothing was changed",
    }
}

/// Values before and after, by setting.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    settings: BTreeMap<String, Change>,
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Change {
    before: String,
    after: String,
}

/// A host below a root directory, with the output for reports of changes.
pub(super) struct Host<'a> {
    root: PathBuf,
    output: &'a mut dyn Write,
}

impl<'a> Host<'a> {
    pub(super) fn new(root: &Path, output: &'a mut dyn Write) -> Self {
        Self { root: root.to_owned(), output }
    }

    /// Carries out `task`.
    pub(super) fn carry_out(&mut self, task: Task) -> Result<(), TuneError> {
        match task {
            Task::Print => self.output.write_all(SETTINGS.as_bytes()).map_err(TuneError::Output),
            Task::Apply { io_uring } => self.apply(io_uring),
            Task::Revert => self.revert(),
        }
    }

    fn apply(&mut self, io_uring: bool) -> Result<(), TuneError> {
        let mut wanted: Vec<(String, String)> =
            settings().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if io_uring {
            wanted.extend(self.io_uring_settings());
        }
        let mut record = self.read_record()?.unwrap_or_default();
        let mut changes = Vec::new();
        // The file for restarts holds all settings, also those that need no change now.
        let mut lasting = vec![LASTING_HEAD.to_owned()];
        for (key, value) in &wanted {
            let Some(before) = self.current(key) else {
                self.say(&format!("{key}: not on this kernel, left out"))?;
                continue;
            };
            let after = merged(key, &before, value);
            lasting.push(format!("{key} = {after}"));
            if after == before {
                self.say(&format!("{key}: {before} is enough"))?;
                continue;
            }
            let change = Change { before, after };
            // For a setting that was changed before, the value before that change counts.
            let known = record.settings.entry(key.clone()).or_insert_with(|| change.clone());
            known.after.clone_from(&change.after);
            changes.push((key.clone(), change));
        }
        // The record comes first, so that all later changes can be taken back.
        let had_record = self.root.join(RECORD).exists();
        if !changes.is_empty() {
            self.write_record(&record)?;
        }
        for at in 0..changes.len() {
            let (key, change) = &changes[at];
            if let Err(error) = self.set(key, &change.after) {
                self.undo(&changes[..at], had_record);
                return Err(error);
            }
        }
        for (key, change) in &changes {
            self.say(&format!("{key}: {} -> {}", change.before, change.after))?;
        }
        self.write_lasting(&lasting.join("\n"))?;
        let (record, lasting) = (Path::new("/").join(RECORD), Path::new("/").join(LASTING));
        if changes.is_empty() {
            return self.say(&format!(
                "nothing to change; settings for restarts are in {}",
                lasting.display()
            ));
        }
        self.say(&format!(
            "settings for restarts are in {}, earlier values in {}; `gossipper tune --revert` \
             restores them",
            lasting.display(),
            record.display()
        ))
    }

    /// The settings that allow io_uring: to the members of our own group if it exists, and
    /// otherwise to all.
    fn io_uring_settings(&self) -> Vec<(String, String)> {
        const DISABLED: &str = "kernel.io_uring_disabled";
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        match (self.current(DISABLED).as_deref(), self.own_group()) {
            // The kernel does not have the setting, or does not forbid io_uring.
            (None | Some("0"), _) => Vec::new(),
            (_, Some(group)) => vec![own("kernel.io_uring_group", &group), own(DISABLED, "1")],
            (_, None) => vec![own(DISABLED, "0")],
        }
    }

    fn own_group(&self) -> Option<String> {
        let groups = fs::read_to_string(self.root.join("etc/group")).ok()?;
        let line = groups.lines().find(|line| line.starts_with("gossipper:"))?;
        line.split(':').nth(2).map(str::to_owned)
    }

    fn revert(&mut self) -> Result<(), TuneError> {
        let path = self.root.join(RECORD);
        let Some(record) = self.read_record()? else {
            // If every setting was high enough, `--apply` has kept the values for restarts only.
            return match self.remove_lasting()? {
                true => Ok(()),
                false => Err(TuneError::NoRecord(path)),
            };
        };
        for (key, change) in &record.settings {
            match self.current(key) {
                Some(now) if now == change.after => {
                    self.set(key, &change.before)?;
                    self.say(&format!("{key}: {} -> {}", change.after, change.before))?;
                }
                Some(now) if now == change.before => self.say(&format!("{key}: {now} already"))?,
                Some(now) => self.say(&format!(
                    "{key}: left at {now}, because it was changed after `tune` (it was {}, then \
                     {})",
                    change.before, change.after
                ))?,
                None => self.say(&format!("{key}: not on this kernel"))?,
            }
        }
        self.remove_lasting()?;
        self.remove_record()
    }

    /// Removes the file for restarts, if it was written here. Returns `true` if it was removed.
    fn remove_lasting(&mut self) -> Result<bool, TuneError> {
        let lasting = self.root.join(LASTING);
        match fs::read_to_string(&lasting) {
            Ok(text) if text.starts_with(LASTING_HEAD) => {
                remove(&lasting)?;
                self.say(&format!("removed {}", Path::new("/").join(LASTING).display()))?;
                Ok(true)
            }
            Ok(_) => {
                self.say(&format!(
                    "{} was not written by `gossipper tune`: left as it is",
                    lasting.display()
                ))?;
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    /// Removes the record, and its folder if nothing else is in it.
    fn remove_record(&self) -> Result<(), TuneError> {
        let path = self.root.join(RECORD);
        remove(&path)?;
        match path.parent().map(fs::remove_dir) {
            Some(Err(error)) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                Err(TuneError::Access { path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Takes back the changes so far, after one setting could not be written.
    fn undo(&mut self, done: &[(String, Change)], had_record: bool) {
        for (key, change) in done {
            // The error that led here is the one to report.
            let _ = self.set(key, &change.before);
        }
        if !had_record {
            let _ = self.remove_record();
        }
    }

    fn say(&mut self, line: &str) -> Result<(), TuneError> {
        writeln!(self.output, "{line}").map_err(TuneError::Output)
    }

    fn path_of(&self, key: &str) -> PathBuf {
        self.root.join("proc/sys").join(key.replace('.', "/"))
    }

    /// The value in force, its words one blank apart.
    fn current(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.path_of(key)).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn set(&self, key: &str, value: &str) -> Result<(), TuneError> {
        let failed =
            |source| TuneError::Set { key: key.to_owned(), value: value.to_owned(), source };
        fs::write(self.path_of(key), format!("{value}\n")).map_err(failed)?;
        match self.current(key) {
            Some(now) if now == value => Ok(()),
            _ => Err(failed(io::Error::new(ErrorKind::InvalidInput, "it did not take effect"))),
        }
    }

    fn read_record(&self) -> Result<Option<Record>, TuneError> {
        let path = self.root.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TuneError::Access { path, source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|reason| TuneError::Record { path, reason })
    }

    fn write_record(&self, record: &Record) -> Result<(), TuneError> {
        let text = serde_json::to_string_pretty(record).unwrap_or_default();
        self.write(RECORD, &text)
    }

    fn write_lasting(&self, text: &str) -> Result<(), TuneError> {
        self.write(LASTING, text)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), TuneError> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            let failed = |source| TuneError::Access { path: folder.to_owned(), source };
            fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(write_file(&path, |file| writeln!(file, "{text}"))?)
    }
}

fn remove(path: &Path) -> Result<(), TuneError> {
    let failed = |source| TuneError::Access { path: path.to_owned(), source };
    fs::remove_file(path).map_err(failed)
}

/// Names and values of [`SETTINGS`].
fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = SETTINGS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = "))
}

/// The value to set if `now` is in force: never less room than there is.
fn merged(key: &str, now: &str, wanted: &str) -> String {
    if key.starts_with("kernel.") {
        return wanted.to_owned();
    }
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split_whitespace().map(|word| word.parse().ok()).collect()
    };
    let (Some(have), Some(want)) = (numbers(now), numbers(wanted)) else {
        return wanted.to_owned();
    };
    match (&have[..], &want[..]) {
        // A range: the wider one.
        ([low, high], [wanted_low, wanted_high]) => {
            format!("{} {}", low.min(wanted_low), high.max(wanted_high))
        }
        ([have], [want]) => have.max(want).to_string(),
        _ => wanted.to_owned(),
    }
}

#[cfg(test)]
mod tests;
