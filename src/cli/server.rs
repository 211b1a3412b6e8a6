//! The command lines of the server: `gossipper server` and `gossipper config`.
//!
//! Both take the options of a run, which are applied to the first engine of the configuration file.
//! `server::config` reads that file; this file opens nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::args::{self, Given, LowArgs, Request};
use super::error::UsageError;
use super::{Action, EXIT_COMMAND_FAILED, EXIT_FATAL, error_text, fail, help, print, usage};
use crate::config::Flavor;
use crate::options::Immediate;

/// A command line of the server form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerLine {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The options in addition to the file.
    pub options: LowArgs,
}

/// The command line of `gossipper config check`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckLine {
    /// The line to check, as for a start of the server.
    pub server: ServerLine,
    /// True for a report as JSON.
    pub json: bool,
    /// True to print the effective configuration.
    pub dump_effective: bool,
}

/// The command line of `gossipper -config FILE` with `-run-alias NAME` or `-list-aliases`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileLine {
    /// The file with the profiles.
    pub config: PathBuf,
    /// The profile to run; without one their names are listed.
    pub alias: Option<String>,
    /// The options in addition to the file.
    pub options: LowArgs,
    /// The program whose defaults apply.
    pub flavor: Flavor,
}

/// Reads `gossipper server ...`, without its first two words.
pub(super) fn server_form(words: &[OsString]) -> Action {
    let color = args::color_of(words);
    let result = match args::read(words) {
        Ok(Request::Run(low)) => server_line(low).map(Box::new).map(Action::Server),
        Ok(Request::Immediate(Immediate::Help, _)) => Ok(print(help::server(), 0)),
        Ok(Request::Immediate(Immediate::Version, _)) => Ok(print(help::version(), 0)),
        Ok(Request::Immediate(Immediate::DumpScenario, _)) => {
            Err(UsageError::NotForServer { typed: "-sd".to_owned() })
        }
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| fail(usage::of_server(&error).with_color(color), EXIT_FATAL))
}

/// Reads `gossipper config ...`, without its first two words.
pub(super) fn config_form(words: &[OsString]) -> Action {
    let command = words.first().and_then(|word| word.to_str());
    match command {
        Some("check") => check_form(&words[1..]),
        Some("schema") if words.len() == 1 => Action::ConfigSchema,
        Some("-h" | "--h" | "-help" | "--help") => print(help::config(), 0),
        None => print(help::config(), 0),
        Some(other) => {
            let message = match other {
                "schema" => "`gossipper config schema` takes no arguments".to_owned(),
                _ => {
                    format!("`gossipper config` has no command {other:?}; it has check and schema")
                }
            };
            fail(error_text(&message), EXIT_COMMAND_FAILED)
        }
    }
}

fn check_form(words: &[OsString]) -> Action {
    let color = args::color_of(words);
    let mut line = CheckLine::default();
    let mut rest = Vec::with_capacity(words.len());
    for word in words {
        match word.to_str() {
            Some("--json" | "-json") => line.json = true,
            Some("--dump-effective" | "-dump-effective") => line.dump_effective = true,
            _ => rest.push(word.clone()),
        }
    }
    let result = match args::read(&rest) {
        Ok(Request::Run(low)) => server_line(low).and_then(|server| {
            if server.config.is_none() {
                return Err(UsageError::MissingConfig);
            }
            line.server = server;
            Ok(Action::CheckConfig(Box::new(line)))
        }),
        Ok(Request::Immediate(Immediate::Version, _)) => Ok(print(help::version(), 0)),
        Ok(Request::Immediate(..)) => Ok(print(help::config(), 0)),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        fail(usage::of_server(&error).with_color(color), EXIT_COMMAND_FAILED)
    })
}

/// Takes the file out of the options, and refuses options that a service does not support.
fn server_line(low: LowArgs) -> Result<ServerLine, UsageError> {
    let mut line = ServerLine::default();
    line.options.remote = low.remote;
    for given in low.options {
        match given.flag.resolved().name {
            "config" => line.config = given.values.into_iter().next().map(PathBuf::from),
            name if NOT_FOR_SERVER.contains(&name) => {
                return Err(UsageError::NotForServer { typed: format!("-{}", given.flag.name) });
            }
            _ => line.options.options.push(given),
        }
    }
    match &line.config {
        // A word that looks like a file is not taken for a host.
        None if let Some(word) = line.options.remote.as_ref().filter(|word| is_config(word)) => {
            Err(UsageError::ConfigIsOption { typed: word.to_string_lossy().into_owned() })
        }
        Some(file) if file.as_os_str().is_empty() => Err(UsageError::MissingConfig),
        _ => Ok(line),
    }
}

/// Tells whether a word is the name of a configuration.
fn is_config(word: &OsStr) -> bool {
    let path = Path::new(word);
    path.extension().is_some_and(|extension| extension == "json") || path.is_file()
}

/// The request for a profile in the options of a run, if there is one. `RunDraft::resolve` has
/// checked that it is complete.
pub(super) fn profile_line(low: &LowArgs, flavor: Flavor) -> Option<ProfileLine> {
    let value = |name: &str| {
        let given = low.options.iter().rev().find(|given| given.flag.name == name)?;
        given.values.first()
    };
    let config = PathBuf::from(value("config")?);
    let alias = value("run-alias").map(|alias| alias.to_string_lossy().into_owned());
    let is_ours =
        |given: &Given| matches!(given.flag.name, "config" | "run-alias" | "list-aliases");
    let options = low.options.iter().filter(|given| !is_ours(given)).cloned().collect();
    let options = LowArgs { options, remote: low.remote.clone() };
    Some(ProfileLine { config, alias, options, flavor })
}

/// Options for runs at a terminal only.
pub const NOT_FOR_SERVER: &[&str] =
    &["run-alias", "list-aliases", "bg", "interactive", "cp", "ci", "color"];
