//! The table of options: every option that SIPp or Gossipper knows, one row each. The command line,
//! the shell and the server's configuration read it.
//!
//! Parsing, help and the compatibility table are all made from it. A supported row has the code
//! that stores its value, so that an option cannot be listed and then ignored. The table does not
//! know argv.

mod addressing;
mod calls;
mod exports;
mod media;
mod output;
mod performance;
mod rate;
mod scenario;
mod timers;
mod traces;

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::config::{RunDraft, TimeUnit, ValueError, parse_float, parse_integer, parse_time_ms};

/// The program that had an option first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// SIPp has it.
    Sipp,
    /// Only Gossipper has it.
    Gossipper,
}

/// The support of an option in this version.
#[derive(Clone, Copy, Debug)]
pub enum Status {
    /// The option is supported; the value tells how it is stored.
    Supported(Accept),
    /// The option ends parsing at once.
    Immediate(Immediate),
    /// Another spelling of the option named here.
    Alias(&'static str),
    /// The option needs a feature that this version lacks, as in "TLS". Giving it is an error.
    Later(&'static str),
    /// The option will never be supported; the text has the reason and the alternative. Giving it
    /// is an error.
    Refused(&'static str),
}

/// An option that requests something other than a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immediate {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Print a built-in scenario; takes its name.
    DumpScenario,
}

/// The way in which the values of a supported option are read and stored.
#[derive(Clone, Copy, Debug)]
pub enum Accept {
    /// No value.
    Switch(fn(&mut RunDraft)),
    /// A whole number.
    Count {
        /// Lowest value.
        min: u64,
        /// Highest value.
        max: u64,
        /// Stores it.
        set: fn(&mut RunDraft, u64),
    },
    /// A whole number, or -1 for "off".
    CountOrOff(fn(&mut RunDraft, Option<u64>)),
    /// A decimal number.
    Float {
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
        /// Stores it.
        set: fn(&mut RunDraft, f64),
    },
    /// A time, stored in milliseconds.
    Time {
        /// The unit of a bare number.
        unit: TimeUnit,
        /// Lowest value.
        min_ms: u64,
        /// Stores it.
        set: fn(&mut RunDraft, u64),
    },
    /// Any text.
    Text(fn(&mut RunDraft, String)),
    /// A file name, which need not be UTF-8.
    Path(fn(&mut RunDraft, PathBuf)),
    /// A text with rules of its own.
    Parsed(fn(&mut RunDraft, &str) -> Result<(), ValueError>),
    /// A name and a text; may be given several times.
    Pair(fn(&mut RunDraft, String, String)),
    /// A name and a column number; may be given several times.
    NameAndColumn(fn(&mut RunDraft, String, u16)),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FlagSpec {
    /// Name without dash.
    pub name: &'static str,
    /// The names of the values; as many as the option takes.
    pub values: &'static [&'static str],
    /// The default value in words; empty if it needs no mention.
    pub default: &'static str,
    /// The program that had it first.
    pub origin: Origin,
    /// The support in this version.
    pub status: Status,
    /// The effect of the option, without the final full stop.
    pub help: &'static str,
}

/// Options that are explained together.
#[derive(Clone, Copy, Debug)]
pub struct FlagGroup {
    /// Heading.
    pub title: &'static str,
    /// The options, in the order of the help.
    pub flags: &'static [FlagSpec],
}

/// Options whose value is a secret.
const SECRETS: [&str; 5] = ["ap", "api_token", "hep_password", "log_otel_header", "turn_pass"];

/// Highest column number of an injection file.
const COLUMN_MAX: u64 = 4095;

/// The table.
pub const GROUPS: &[FlagGroup] = &[
    scenario::GROUP,
    addressing::GROUP,
    addressing::STREAMS,
    calls::GROUP,
    rate::GROUP,
    timers::GROUP,
    media::GROUP,
    output::STATISTICS,
    traces::STATISTICS,
    traces::TRACES,
    exports::GROUP,
    output::HEALTH,
    output::SERVER,
    performance::GROUP,
    performance::PROGRAM,
];

/// All rows, in the order of the help.
pub fn all() -> impl Iterator<Item = &'static FlagSpec> {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// The rows of this version that concern a server and not a run.
pub fn server_flags() -> impl Iterator<Item = &'static FlagSpec> {
    output::SERVER.flags.iter().filter(|flag| flag.is_available())
}

/// The row called `name` (without dashes).
pub fn find(name: &str) -> Option<&'static FlagSpec> {
    all().find(|flag| flag.name == name)
}

impl FlagSpec {
    /// The row that this one is an alias of, or itself.
    pub fn resolved(&'static self) -> &'static FlagSpec {
        match self.status {
            Status::Alias(target) => find(target).unwrap_or(self),
            _ => self,
        }
    }

    /// Tells whether the option has an effect in this version.
    pub fn is_available(&'static self) -> bool {
        matches!(self.resolved().status, Status::Supported(_) | Status::Immediate(_))
    }

    /// The names of the values.
    pub fn metavars(&'static self) -> &'static [&'static str] {
        self.resolved().values
    }

    /// Tells whether the value is a secret, which reports leave out.
    pub fn is_secret(&'static self) -> bool {
        SECRETS.contains(&self.resolved().name)
    }

    /// Reads `values` as the command line would, and stores nothing.
    ///
    /// # Errors
    /// The reason why a value is not valid for this option.
    pub fn check(&'static self, values: &[String]) -> Result<(), ValueError> {
        let Status::Supported(accept) = self.resolved().status else { return Ok(()) };
        let values: Vec<&OsStr> = values.iter().map(OsStr::new).collect();
        accept.store(&mut RunDraft::default(), &values)
    }

    /// The option with its values, as in `-key NAME VALUE`.
    pub fn usage(&'static self) -> String {
        let mut usage = format!("-{}", self.name);
        for value in self.metavars() {
            usage.push(' ');
            usage.push_str(value);
        }
        usage
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Marks an option that SIPp does not have.
    const fn ours(mut self) -> Self {
        self.origin = Origin::Gossipper;
        self
    }
}

impl Accept {
    /// Reads `values` (as many as the row has) and stores them in `draft`.
    pub fn store(&self, draft: &mut RunDraft, values: &[&OsStr]) -> Result<(), ValueError> {
        let first = values.first().copied().unwrap_or_default();
        match *self {
            Self::Switch(set) => set(draft),
            Self::Count { min, max, set } => {
                set(draft, integer_within(utf8(first)?, i128::from(min), max)?)
            }
            Self::CountOrOff(set) => {
                let text = utf8(first)?;
                match parse_integer(text)? {
                    -1 => set(draft, None),
                    _ => set(draft, Some(integer_within(text, -1, u64::MAX)?)),
                }
            }
            Self::Float { min, max, set } => set(draft, float_within(utf8(first)?, min, max)?),
            Self::Time { unit, min_ms, set } => {
                let text = utf8(first)?;
                let milliseconds = parse_time_ms(text, unit)?;
                if milliseconds < min_ms {
                    return Err(ValueError::OutOfRange {
                        text: text.to_owned(),
                        min: format!("{min_ms}ms"),
                        max: "876000h".to_owned(),
                    });
                }
                set(draft, milliseconds);
            }
            Self::Text(set) => set(draft, utf8(first)?.to_owned()),
            Self::Path(_) if first.is_empty() => return Err(ValueError::Empty("a file name")),
            Self::Path(set) => set(draft, PathBuf::from(first)),
            Self::Parsed(read) => read(draft, utf8(first)?)?,
            Self::NameAndColumn(set) => {
                let name = utf8(first)?;
                let text = utf8(values.get(1).copied().unwrap_or_default())?;
                if name.is_empty() {
                    return Err(ValueError::Empty("a file name"));
                }
                let column = integer_within(text, 0, COLUMN_MAX)?;
                set(draft, name.to_owned(), column as u16);
            }
            Self::Pair(set) => {
                let name = utf8(first)?;
                let text = utf8(values.get(1).copied().unwrap_or_default())?;
                if name.is_empty() {
                    return Err(ValueError::Empty("a name"));
                }
                set(draft, name.to_owned(), text.to_owned());
            }
        }
        Ok(())
    }
}

fn utf8(value: &OsStr) -> Result<&str, ValueError> {
    value.to_str().ok_or_else(|| ValueError::NotUtf8(value.to_string_lossy().into_owned()))
}

fn integer_within(text: &str, min: i128, max: u64) -> Result<u64, ValueError> {
    let number = parse_integer(text)?;
    if number < min || number > i128::from(max) {
        return Err(ValueError::OutOfRange {
            text: text.to_owned(),
            min: min.to_string(),
            max: max.to_string(),
        });
    }
    u64::try_from(number).map_err(|_| ValueError::NotAnInteger(text.to_owned()))
}

fn float_within(text: &str, min: f64, max: f64) -> Result<f64, ValueError> {
    let number = parse_float(text)?;
    if !(min..=max).contains(&number) {
        return Err(ValueError::OutOfRange {
            text: text.to_owned(),
            min: min.to_string(),
            max: max.to_string(),
        });
    }
    Ok(number)
}

/// Reads one word of `choices`, each with its value.
fn choice<T: Copy>(
    text: &str,
    words: &'static [&'static str],
    meanings: &[T],
) -> Result<T, ValueError> {
    let unknown = || ValueError::UnknownChoice { text: text.to_owned(), choices: words };
    let position = words.iter().position(|&word| word == text).ok_or_else(unknown)?;
    meanings.get(position).copied().ok_or_else(unknown)
}

const fn row(
    name: &'static str,
    values: &'static [&'static str],
    status: Status,
    help: &'static str,
) -> FlagSpec {
    FlagSpec { name, values, default: "", origin: Origin::Sipp, status, help }
}

/// A supported option.
const fn takes(
    name: &'static str,
    values: &'static [&'static str],
    accept: Accept,
    help: &'static str,
) -> FlagSpec {
    row(name, values, Status::Supported(accept), help)
}

/// A supported option without value.
const fn switch(name: &'static str, set: fn(&mut RunDraft), help: &'static str) -> FlagSpec {
    row(name, &[], Status::Supported(Accept::Switch(set)), help)
}

/// A supported option with a whole number from 0.
const fn count(set: fn(&mut RunDraft, u64)) -> Accept {
    Accept::Count { min: 0, max: u64::MAX, set }
}

/// A supported option with a whole number that fits the field in which `set` stores it. The table
/// has the range, so that a cast in `set` loses nothing.
const fn within(min: u64, max: u64, set: fn(&mut RunDraft, u64)) -> Accept {
    Accept::Count { min, max, set }
}

/// The value of an option that 0 switches off.
fn or_off(value: u64) -> Option<u64> {
    Some(value).filter(|&value| value != 0)
}

const fn milliseconds(min_ms: u64, set: fn(&mut RunDraft, u64)) -> Accept {
    Accept::Time { unit: TimeUnit::Milliseconds, min_ms, set }
}

const fn seconds(min_ms: u64, set: fn(&mut RunDraft, u64)) -> Accept {
    Accept::Time { unit: TimeUnit::Seconds, min_ms, set }
}

/// Another name of the option `target`.
const fn alias(name: &'static str, target: &'static str) -> FlagSpec {
    row(name, &[], Status::Alias(target), "")
}

/// An option of a later version: `missing` is the part that it needs.
const fn later(
    name: &'static str,
    values: &'static [&'static str],
    missing: &'static str,
    help: &'static str,
) -> FlagSpec {
    row(name, values, Status::Later(missing), help)
}

/// An option that will never be supported.
const fn refused(
    name: &'static str,
    values: &'static [&'static str],
    why: &'static str,
    help: &'static str,
) -> FlagSpec {
    row(name, values, Status::Refused(why), help)
}

#[cfg(test)]
mod tests;
