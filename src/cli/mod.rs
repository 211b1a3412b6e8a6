//! The command line: argv in, one [`Action`] out.
//!
//! One table (`options`) feeds the parser, the help and the compatibility table.
//! This module reads nothing but argv: it opens no file, resolves no name and starts nothing.
//!
//! Exit codes: as `sipp` and `gossipper sipp`, help, version and `-sd` end with 99 as SIPp defines
//! it; as `gossipper` they end with 0. A line of the run form that cannot be used ends with 255
//! under both names; a command that is not in this version ends with 1.

mod args;
mod auth;
mod command;
mod compatibility;
mod error;
mod generate;
mod help;
mod host;
mod line;
mod request;
mod server;
mod suggest;
mod text;
mod usage;

use std::ffi::{OsStr, OsString};
use std::path::Path;

pub use args::{Given, LowArgs};
pub use command::{root_command, run_command};
pub use compatibility::compatibility_markdown;
pub use error::UsageError;
pub use request::{
    AuthCommand, AuthTask, HostCheck, NewPassword, ScenarioCheck, Tuning, UserDatabase,
};
pub use server::{CheckLine, NOT_FOR_SERVER, ProfileLine, ServerLine};
pub use text::StyledText;

use crate::options::{self, Immediate, Status};
use args::Request;
use text::ERROR;

use crate::config::{Flavor, HostPort, RunConfig, RunDraft, ValueError};

/// The action that the command line requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Check scenarios (`gossipper check`).
    CheckScenarios(ScenarioCheck),
    /// Check this host (`gossipper doctor`).
    Doctor(HostCheck),
    /// Run a scenario.
    Run(Box<RunConfig>),
    /// Print a built-in scenario.
    DumpScenario {
        /// Name of the scenario, not looked up yet.
        name: String,
        /// Exit code after printing it.
        exit_code: u8,
    },
    /// Run a profile of a file, or list them.
    Profile(Box<ProfileLine>),
    /// Run engines as a service (`gossipper server`).
    Server(Box<ServerLine>),
    /// Check the configuration of a service (`gossipper config check`).
    CheckConfig(Box<CheckLine>),
    /// Print the JSON Schema of configurations (`gossipper config schema`).
    ConfigSchema,
    /// Read commands from lines (`gossipper shell`).
    Shell,
    /// Show the form (`gossipper tui`).
    Tui,
    /// Change users of the API (`gossipper auth`).
    Auth(Box<AuthCommand>),
    /// Show or change kernel settings (`gossipper tune`).
    Tune(Tuning),
    /// Print a requested text to stdout.
    Print {
        /// The text to print.
        text: StyledText,
        /// Exit code after printing it.
        exit_code: u8,
    },
    /// Print an error to stderr.
    Fail {
        /// The text to print.
        text: StyledText,
        /// Exit code after printing it.
        exit_code: u8,
    },
}

/// Exit code of a run that could not be started (SIPp's "fatal").
pub const EXIT_FATAL: u8 = 255;

/// SIPp's exit code if the user requested something other than calls.
pub const EXIT_NOTHING_RUN: u8 = 99;

/// Exit code of commands that cannot be carried out.
pub const EXIT_COMMAND_FAILED: u8 = 1;

/// Commands of later versions. The names are reserved, so that a line for a later version does not
/// send calls to a host of that name.
const LATER_COMMANDS: &[&str] =
    &["ui", "worker", "pcap2scenario", "report-html", "summary-to-pdf", "profile"];

/// Commands of this version.
const COMMANDS: &[&str] = &[
    "auth", "check", "cli", "config", "doctor", "generate", "help", "server", "shell", "sipp",
    "tui", "tune", "version",
];

/// The names under which the run form can be started; they decide about usage lines, defaults and
/// exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Started as `sipp`.
    Sipp,
    /// `gossipper sipp ...`.
    Subcommand,
    /// `gossipper ...`.
    Bare,
}

impl Entry {
    fn program(self) -> &'static str {
        match self {
            Self::Sipp => "sipp",
            Self::Subcommand => "gossipper sipp",
            Self::Bare => "gossipper",
        }
    }

    fn flavor(self) -> Flavor {
        match self {
            Self::Sipp | Self::Subcommand => Flavor::Sipp,
            Self::Bare => Flavor::Gossipper,
        }
    }

    /// Exit code after printing a requested text.
    fn exit_printed(self) -> u8 {
        match self {
            Self::Sipp | Self::Subcommand => EXIT_NOTHING_RUN,
            Self::Bare => 0,
        }
    }
}

/// Reads a whole command line, with the program's name in front.
pub fn parse(argv: Vec<OsString>) -> Action {
    let mut words = argv.into_iter();
    let program = words.next().unwrap_or_default();
    let args: Vec<OsString> = words.collect();
    if Path::new(&program).file_name() == Some(OsStr::new("sipp")) {
        return run_form(Entry::Sipp, &args);
    }
    let Some(first) = args.first() else { return print(help::root(), 0) };
    match first.to_str() {
        Some("sipp") => {
            // Wrappers may put `sipp` in front of a line that has it already; the repetition is
            // accepted.
            let skip = args.iter().take_while(|&word| word == "sipp").count();
            run_form(Entry::Subcommand, &args[skip..])
        }
        Some(name @ ("shell" | "cli" | "tui")) => match args.get(1) {
            None if name == "tui" => Action::Tui,
            None => Action::Shell,
            Some(word) if is_help(word) => print(help::interactive(name), 0),
            Some(word) => {
                let word = word.to_string_lossy();
                let message =
                    format!("`gossipper {name}` takes no arguments, but {word:?} was given");
                fail(error_text(&message), EXIT_COMMAND_FAILED)
            }
        },
        Some("auth") => auth::parse(&args[1..]),
        Some("check") => host::check(&args[1..]),
        Some("doctor") => host::doctor(&args[1..]),
        Some("tune") => host::tune(&args[1..]),
        Some("generate") => host::generate(&args[1..]),
        Some("server") => server::server_form(&args[1..]),
        Some("config") => server::config_form(&args[1..]),
        Some("help") => help_command(&args[1..]),
        Some("-h" | "--h" | "-help" | "--help") => print(help::root(), 0),
        Some("version") => print(help::version(), 0),
        Some(name) if LATER_COMMANDS.contains(&name) => later_command(name),
        Some(word) => match mistyped_command(word) {
            Some(meant) => {
                let message = format!(
                    "there is no command {word:?}; did you mean `gossipper {meant}`?\n  hint: for a \
                     host of that name write: gossipper sipp {word}"
                );
                fail(error_text(&message), EXIT_COMMAND_FAILED)
            }
            None => run_form(Entry::Bare, &args),
        },
        None => run_form(Entry::Bare, &args),
    }
}

/// The command that was probably meant by `word`, if `word` is no command and can hardly be a host.
fn mistyped_command(word: &str) -> Option<&'static str> {
    let is_plain = word.chars().all(|c| c.is_ascii_alphabetic());
    // A short word is similar to too many others.
    if !is_plain || word.len() < 4 {
        return None;
    }
    suggest::near(word, COMMANDS.iter().copied())
}

fn is_help(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| matches!(word, "-h" | "--h" | "-help" | "--help"))
}

fn help_command(topic: &[OsString]) -> Action {
    match topic.first().and_then(|word| word.to_str()) {
        None if topic.is_empty() => print(help::root(), 0),
        Some("help" | "version") => print(help::root(), 0),
        Some(name @ ("shell" | "cli" | "tui")) => print(help::interactive(name), 0),
        Some("sipp") => print(help::run(Entry::Subcommand.program()), 0),
        Some("auth") => auth::help(topic.get(1)),
        Some("check") => print(help::host(&host::CHECK), 0),
        Some("doctor") => print(help::host(&host::DOCTOR), 0),
        Some("tune") => print(help::host(&host::TUNE), 0),
        Some("server") => print(help::server(), 0),
        Some("config") => print(help::config(), 0),
        Some(name) if LATER_COMMANDS.contains(&name) => later_command(name),
        _ => {
            let topic = topic.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            let message = match suggest::near(&topic, COMMANDS.iter().copied()) {
                Some(meant) => format!("there is no command {topic:?}; did you mean {meant:?}?"),
                None => format!("there is no command {topic:?}; `gossipper help` lists them"),
            };
            fail(error_text(&message), EXIT_COMMAND_FAILED)
        }
    }
}

fn later_command(name: &str) -> Action {
    let message = format!(
        "the command `{name}` is not in this version (gossipper {}); for a host of that name \
         write: gossipper sipp {name}",
        env!("CARGO_PKG_VERSION")
    );
    fail(error_text(&message), EXIT_COMMAND_FAILED)
}

fn run_form(entry: Entry, args: &[OsString]) -> Action {
    let color = args::color_of(args);
    let exit_code = entry.exit_printed();
    let result = match args::read(args) {
        Ok(Request::Run(low)) => resolve(&low, entry.flavor()).map(|mut config| {
            config.command = Some(line::line(entry.program(), &low));
            match server::profile_line(&low, entry.flavor()) {
                Some(line) => Action::Profile(Box::new(line)),
                None => Action::Run(Box::new(config)),
            }
        }),
        Ok(Request::Immediate(Immediate::Help, Some(_))) => {
            Ok(print(help::statistics().with_color(color), exit_code))
        }
        Ok(Request::Immediate(Immediate::Help, None)) => {
            Ok(print(help::run(entry.program()).with_color(color), exit_code))
        }
        Ok(Request::Immediate(Immediate::Version, _)) => {
            Ok(print(help::version().with_color(color), exit_code))
        }
        Ok(Request::Immediate(Immediate::DumpScenario, name)) => {
            scenario_name(name).map(|name| Action::DumpScenario { name, exit_code })
        }
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| fail(usage::of_run(entry, &error).with_color(color), EXIT_FATAL))
}

/// Stores the typed values, applies the defaults of `flavor`, and checks that nothing contradicts.
pub fn resolve(low: &LowArgs, flavor: Flavor) -> Result<RunConfig, UsageError> {
    let mut draft = RunDraft::default();
    store(low, &mut draft)?;
    Ok(draft.resolve(flavor)?)
}

/// Stores the typed values in `draft`, over the values in it.
pub fn store(low: &LowArgs, draft: &mut RunDraft) -> Result<(), UsageError> {
    for given in &low.options {
        let Status::Supported(accept) = given.flag.resolved().status else { continue };
        let values: Vec<&OsStr> = given.values.iter().map(OsString::as_os_str).collect();
        accept.store(draft, &values).map_err(|reason| UsageError::BadValue {
            typed: format!("-{}", given.flag.name),
            reason,
        })?;
    }
    if let Some(remote) = &low.remote {
        let text = remote.to_str().ok_or_else(|| {
            UsageError::BadRemote(ValueError::NotUtf8(remote.to_string_lossy().into_owned()))
        })?;
        draft.remote = Some(HostPort::parse(text).map_err(UsageError::BadRemote)?);
    }
    Ok(())
}

/// Reads arguments from another place than the command line.
///
/// # Errors
/// Those of the command line; options that print something instead of running are errors too.
pub fn read_options(words: &[OsString]) -> Result<LowArgs, UsageError> {
    match args::read(words)? {
        Request::Run(low) => Ok(low),
        Request::Immediate(..) => Err(UsageError::NotForServer { typed: immediate_of(words) }),
    }
}

/// The option that replaced the run on a line, as typed.
fn immediate_of(words: &[OsString]) -> String {
    let is_immediate = |word: &&OsString| {
        let flag = word.to_str().and_then(|word| options::find(word.trim_start_matches('-')));
        flag.is_some_and(|flag| matches!(flag.resolved().status, Status::Immediate(_)))
    };
    words.iter().find(is_immediate).map_or("-h".to_owned(), |word| word.to_string_lossy().into())
}

fn scenario_name(value: Option<OsString>) -> Result<String, UsageError> {
    let bad = |reason| UsageError::BadValue { typed: "-sd".to_owned(), reason };
    let name = value.unwrap_or_default().into_string();
    match name {
        Ok(name) if name.is_empty() => Err(bad(ValueError::Empty("the name of a scenario"))),
        Ok(name) => Ok(name),
        Err(name) => Err(bad(ValueError::NotUtf8(name.to_string_lossy().into_owned()))),
    }
}

fn print(text: StyledText, exit_code: u8) -> Action {
    Action::Print { text, exit_code }
}

fn fail(text: StyledText, exit_code: u8) -> Action {
    Action::Fail { text, exit_code }
}

fn error_text(message: &str) -> StyledText {
    let mut text = StyledText::default();
    text.push(ERROR, "error").plain(format!(": {message}\n"));
    text
}
