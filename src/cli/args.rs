//! From argv to the typed options: the pass in front of clap, clap itself, and `LowArgs`.
//!
//! SIPp's options are whole words after one dash, some take two values, and any value may begin
//! with a dash; clap reads `-sn` as `-s -n`. So this pass walks argv with the flag table and
//! rewrites it to `--name=value`, the one form that clap cannot misread. clap then checks it
//! against the `Command` that is built from the same table (see `command.rs`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::command::{REMOTE, run_command};
use super::error::UsageError;
use super::suggest;
use crate::config::{ColorChoice, parse_bool};
use crate::options::{self, Accept, FlagSpec, Immediate, Status};
use crate::scenario;

/// The typed command line: no file is read, and no value is defaulted or checked yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LowArgs {
    /// The options in their order.
    pub options: Vec<Given>,
    /// The bare word.
    pub remote: Option<OsString>,
}

/// An option with its values.
#[derive(Clone, Debug)]
pub struct Given {
    /// The row with the typed name; may be an alias.
    pub flag: &'static FlagSpec,
    /// The values, as many as the row has.
    pub values: Vec<OsString>,
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        // Names are unique in the table.
        self.flag.name == other.flag.name && self.values == other.values
    }
}

/// The request of a command line of the run form.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// A run.
    Run(LowArgs),
    /// An option that replaces the run, with its value.
    Immediate(Immediate, Option<OsString>),
}

/// Reads the arguments of the run form (without the program's name).
pub(super) fn read(args: &[OsString]) -> Result<Request, UsageError> {
    match canonicalise(args)? {
        Canonical::Immediate(immediate, value) => Ok(Request::Immediate(immediate, value)),
        Canonical::Line(line) => {
            let matches = run_command()
                .try_get_matches_from(line)
                .map_err(|error| UsageError::Definition(error.kind().to_string()))?;
            Ok(Request::Run(low_args(&matches)))
        }
    }
}

/// The colour choice of a line that may be wrong elsewhere, for its error message.
pub(super) fn color_of(args: &[OsString]) -> ColorChoice {
    let is_color = |word: &OsString| word == "-color" || word == "--color";
    let value = args.iter().position(is_color).and_then(|at| args.get(at + 1));
    match value.and_then(|value| value.to_str()) {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

enum Canonical {
    /// argv as clap takes it, with a program name.
    Line(Vec<OsString>),
    Immediate(Immediate, Option<OsString>),
}

fn canonicalise(args: &[OsString]) -> Result<Canonical, UsageError> {
    let mut line = vec![OsString::from("gossipper")];
    let mut remote: Option<&OsString> = None;
    let mut rest = args.iter();
    let mut only_words = false;
    while let Some(word) = rest.next() {
        if !only_words && word == "--" {
            only_words = true;
            continue;
        }
        if only_words || word.as_bytes().first() != Some(&b'-') {
            if let Some(first) = remote {
                if let Some(builtin) = first.to_str().and_then(scenario::builtin) {
                    return Err(UsageError::ScenarioIsOption { typed: builtin.name.to_owned() });
                }
                return Err(UsageError::SecondRemote { first: lossy(first), second: lossy(word) });
            }
            remote = Some(word);
            continue;
        }
        let option = recognise(word)?;
        match option.flag.resolved().status {
            Status::Later(missing) => {
                return Err(UsageError::NotInThisVersion { typed: option.typed, missing });
            }
            Status::Refused(why) => {
                return Err(UsageError::Refused { typed: option.typed, why });
            }
            Status::Supported(_) | Status::Immediate(_) | Status::Alias(_) => {}
        }
        let Some(values) = values_of(&option, &mut rest)? else { continue };
        if let Status::Immediate(immediate) = option.flag.resolved().status {
            // `-h stat`, the only help with a topic.
            let topic = rest.next().filter(|word| immediate == Immediate::Help && *word == "stat");
            return Ok(Canonical::Immediate(
                immediate,
                values.into_iter().next().or(topic.cloned()),
            ));
        }
        let name = option.flag.name;
        if values.is_empty() {
            line.push(format!("--{name}").into());
        }
        for value in values {
            let mut canonical = OsString::from(format!("--{name}="));
            canonical.push(value);
            line.push(canonical);
        }
    }
    if let Some(remote) = remote {
        line.push("--".into());
        line.push(remote.clone());
    }
    Ok(Canonical::Line(line))
}

/// An option of the line, with its row of the table.
struct Recognised<'a> {
    flag: &'static FlagSpec,
    /// The option as typed, with dashes and without a value.
    typed: String,
    /// The text after `=`.
    attached: Option<&'a OsStr>,
}

fn recognise(word: &OsStr) -> Result<Recognised<'_>, UsageError> {
    let bytes = word.as_bytes();
    let dashes = if bytes.starts_with(b"--") { 2 } else { 1 };
    let body = &bytes[dashes..];
    let equals = memchr::memchr(b'=', body);
    let name_bytes = &body[..equals.unwrap_or(body.len())];
    let found = str::from_utf8(name_bytes).ok().and_then(options::find);
    let Some(flag) = found else {
        let name = String::from_utf8_lossy(name_bytes);
        return Err(UsageError::UnknownOption {
            typed: lossy(word),
            suggestions: suggestions(&name),
        });
    };
    let typed = format!("{}{}", &"--"[..dashes], flag.name);
    let attached = equals.map(|at| OsStr::from_bytes(&body[at + 1..]));
    Ok(Recognised { flag, typed, attached })
}

/// The option's values; `None` if a switch was given as `-x=false`.
fn values_of(
    option: &Recognised<'_>,
    rest: &mut std::slice::Iter<'_, OsString>,
) -> Result<Option<Vec<OsString>>, UsageError> {
    let arity = option.flag.metavars().len();
    let usage = || option.flag.usage();
    if let Status::Supported(Accept::NameAndColumn(_)) = option.flag.resolved().status {
        let [first, second] = match (option.attached, rest.as_slice()) {
            (Some(attached), _) => [Some(attached), None],
            (None, [first, second, ..]) => [Some(first.as_os_str()), Some(second.as_os_str())],
            (None, [first]) => [Some(first.as_os_str()), None],
            (None, []) => [None, None],
        };
        if let Some(pair) = first.and_then(|first| name_and_column(first, second)) {
            if option.attached.is_none() {
                rest.next();
            }
            return Ok(Some(pair));
        }
    }
    if let Some(attached) = option.attached {
        let is_switch = matches!(option.flag.resolved().status, Status::Supported(_));
        return match arity {
            0 if is_switch => {
                let text = attached.to_string_lossy();
                let is_on = parse_bool(&text).map_err(|reason| UsageError::BadValue {
                    typed: option.typed.clone(),
                    reason,
                })?;
                Ok(is_on.then(Vec::new))
            }
            1 => Ok(Some(vec![attached.to_owned()])),
            _ => Err(UsageError::NoEqualsForm { typed: option.typed.clone(), usage: usage() }),
        };
    }
    let values: Vec<OsString> = rest.by_ref().take(arity).cloned().collect();
    if values.len() < arity {
        return Err(UsageError::MissingValue { typed: option.typed.clone(), usage: usage() });
    }
    Ok(Some(values))
}

/// `NAME,COLUMN` in one word, which SIPp writes as two; `None` if `second` is the column.
fn name_and_column(word: &OsStr, second: Option<&OsStr>) -> Option<Vec<OsString>> {
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if second.is_some_and(|second| is_number(second.as_bytes())) {
        return None;
    }
    let bytes = word.as_bytes();
    let comma = memchr::memrchr(b',', bytes).filter(|&at| at > 0 && is_number(&bytes[at + 1..]))?;
    let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Some(vec![part(&bytes[..comma]), part(&bytes[comma + 1..])])
}

/// Reads back what clap accepted, in the order of the line.
fn low_args(matches: &clap::ArgMatches) -> LowArgs {
    let mut options = Vec::new();
    for flag in options::all() {
        let is_stored = matches!(flag.resolved().status, Status::Supported(_));
        let given = Some(clap::parser::ValueSource::CommandLine);
        if !is_stored || matches.value_source(flag.name) != given {
            continue;
        }
        let indices: Vec<usize> = matches.indices_of(flag.name).into_iter().flatten().collect();
        let arity = flag.metavars().len();
        if arity == 0 {
            options.push((indices.first().copied(), Given { flag, values: Vec::new() }));
            continue;
        }
        let values: Vec<_> =
            matches.get_many::<OsString>(flag.name).into_iter().flatten().cloned().collect();
        for (indices, values) in indices.chunks(arity).zip(values.chunks(arity)) {
            options.push((indices.first().copied(), Given { flag, values: values.to_vec() }));
        }
    }
    options.sort_by_key(|(index, _)| *index);
    LowArgs {
        options: options.into_iter().map(|(_, given)| given).collect(),
        remote: matches.get_one::<OsString>(REMOTE).cloned(),
    }
}

/// Options whose names are near `name`, those of this version first.
fn suggestions(name: &str) -> Vec<String> {
    let lower = name.to_lowercase().replace('-', "_");
    if let Some(flag) = options::all().find(|flag| flag.name.to_lowercase() == lower) {
        return vec![format!("-{}", flag.name)];
    }
    // `-r10`, as getopt would read it.
    let digits_at = name.find(|c: char| c.is_ascii_digit());
    if let Some(flag) = digits_at.and_then(|at| options::find(&name[..at]))
        && flag.is_available()
        && flag.metavars().len() == 1
    {
        return vec![format!("-{} {}", flag.name, &name[flag.name.len()..])];
    }
    let distance_max = suggest::mistakes_max(name);
    let mut near: Vec<_> = options::all()
        .map(|flag| (strsim::damerau_levenshtein(&lower, &flag.name.to_lowercase()), flag))
        // Most names of two letters are one typing mistake apart.
        .filter(|&(distance, flag)| distance <= distance_max && flag.name.len() > 2)
        .collect();
    near.sort_by_key(|&(distance, flag)| (distance, !flag.is_available()));
    let spelled_out = suggest::spelled_out(name).into_iter();
    let near = near.into_iter().map(|(_, flag)| flag.name);
    spelled_out.chain(near).take(3).map(|name| format!("-{name}")).collect()
}

fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
