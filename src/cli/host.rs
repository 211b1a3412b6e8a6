//! The commands about files, the host and the program itself: `check`, `doctor`, `tune` and
//! `generate`.
//!
//! Their options are rows of tables, from which the parser, the help pages, the manual and the
//! completions are made. As for all commands, an option has one dash or two.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};

use super::generate::Generated;
use super::request::{HostCheck, ScenarioCheck, Tuning};
use super::text::StyledText;
use super::{Action, EXIT_COMMAND_FAILED, error_text, fail, help, print, suggest};
use crate::config::{Flavor, RunDraft, parse_float};

/// An option of a command.
pub(super) struct HostFlag {
    /// Name without dash.
    pub(super) name: &'static str,
    /// Names of its values, a word each; empty if it takes none.
    pub(super) value: &'static str,
    /// The effect of the option.
    pub(super) help: &'static str,
}

/// A command with options of its own.
pub(super) struct HostCommand {
    /// The name of the command.
    pub(super) name: &'static str,
    /// The purpose of the command, in a line.
    pub(super) about: &'static str,
    /// The purpose of the command, in a paragraph.
    pub(super) text: &'static str,
    /// Name of its bare words; empty if it takes none.
    pub(super) operand: &'static str,
    /// The options of the command.
    pub(super) flags: &'static [HostFlag],
}

const HELP: HostFlag = HostFlag { name: "h", value: "", help: "Print this page" };

pub(super) const CHECK: HostCommand = HostCommand {
    name: "check",
    about: "Check scenario files, and report all errors and doubtful places",
    text: "Compiles each FILE, or the built-in scenario of that name, as a run would, and runs \
           nothing. A scenario with an error cannot be run. A warning shows text that SIPp may \
           read in another way than meant; the scenario runs as SIPp reads it. Exit code 1 if \
           there is an error.",
    operand: "FILE...",
    flags: &[
        HostFlag { name: "inf", value: "FILE", help: "A CSV file for [fieldN]; may be repeated" },
        HostFlag {
            name: "infindex",
            value: "FILE FIELD",
            help: "Index the CSV file FILE by column FIELD (from 0), for <lookup>",
        },
        HostFlag {
            name: "key",
            value: "NAME TEXT",
            help: "Define the keyword [NAME] as TEXT; may be repeated",
        },
        HostFlag {
            name: "sf",
            value: "FILE",
            help: "A scenario file, as in the command line of a run",
        },
        HostFlag {
            name: "set",
            value: "NAME VALUE",
            help: "Accepted as in the command line of a run, where it sets a variable",
        },
        HostFlag { name: "strict", value: "", help: "Treat warnings as errors" },
        HostFlag { name: "json", value: "", help: "Print JSON, for editors and scripts" },
        HELP,
    ],
};

pub(super) const DOCTOR: HostCommand = HostCommand {
    name: "doctor",
    about: "Check whether this host is ready for a load",
    text: "Looks at the kernel, io_uring, limits, memory, processors, clocks, ports and network \
           cards, and reports for each the value, its effect on the load, and a remedy. It changes \
           nothing. Exit code 1 if a check failed.",
    operand: "",
    flags: &[
        HostFlag {
            name: "r",
            value: "RATE",
            help: "Calls per second that are planned [default: 1000]",
        },
        HostFlag {
            name: "l",
            value: "CALLS",
            help: "Open calls that are planned [default: ten seconds of -r]",
        },
        HostFlag { name: "json", value: "", help: "Print JSON, with all facts that were read" },
        HELP,
    ],
};

pub(super) const TUNE: HostCommand = HostCommand {
    name: "tune",
    about: "Print, apply or revert kernel settings for high load",
    text: "Without an option it prints the settings. Better values are not changed, and every \
           change is printed.",
    operand: "",
    flags: &[
        HostFlag { name: "print", value: "", help: "Print the settings as a sysctl file" },
        HostFlag {
            name: "apply",
            value: "",
            help: "Set them, now and for restarts, and record the earlier values",
        },
        HostFlag {
            name: "io-uring",
            value: "",
            help: "With -apply: allow io_uring where kernel.io_uring_disabled forbids it, to the \
                   group gossipper if there is one, else to all",
        },
        HostFlag { name: "revert", value: "", help: "Restore the values from before -apply" },
        HELP,
    ],
};

impl HostCommand {
    /// The definition for clap, for manuals and completions.
    pub(super) fn definition(&self) -> Command {
        let mut command = Command::new(self.name)
            .about(self.about)
            .disable_help_flag(true)
            .disable_version_flag(true);
        for flag in self.flags {
            let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
            command = command.arg(match flag.value {
                "" => arg.action(ArgAction::SetTrue),
                value => {
                    let names: Vec<&str> = value.split(' ').collect();
                    let count = names.len();
                    arg.action(ArgAction::Append).value_names(names).num_args(count)
                }
            });
        }
        match self.operand {
            "" => command,
            operand => command.arg(
                Arg::new("operand")
                    .value_name(operand.trim_end_matches('.'))
                    .num_args(1..)
                    .value_hint(ValueHint::FilePath),
            ),
        }
    }
}

/// The definition of `generate`, which is for packages and hidden from users.
pub(super) fn generate_definition() -> Command {
    let names = Generated::ALL.map(Generated::name);
    Command::new("generate")
        .about("Print the manual page, or completions of a shell")
        .hide(true)
        .disable_help_flag(true)
        .arg(Arg::new("what").required(true).value_parser(PossibleValuesParser::new(names)))
}

/// Reads the words of `gossipper check ...`.
pub(super) fn check(args: &[OsString]) -> Action {
    let given = match read(&CHECK, args) {
        Ok(given) => given,
        Err(message) => return refuse(&CHECK, &message),
    };
    if given.has("h") {
        return print(help::host(&CHECK), 0);
    }
    let named = given.all("sf").map(|values| OsStr::new(values[0]));
    let scenarios: Vec<&OsStr> = given.words.iter().copied().chain(named).collect();
    if scenarios.iter().any(|name| name.is_empty()) {
        return refuse(&CHECK, "a file name is empty");
    }
    if scenarios.is_empty() {
        return refuse(&CHECK, "`gossipper check` needs a scenario file: write check FILE");
    }
    let injection = given.all("inf").map(|values| values[0].into()).collect();
    let mut draft = RunDraft { injection, ..RunDraft::default() };
    for values in given.all("key") {
        draft.keys.push((values[0].to_owned(), values[1].to_owned()));
    }
    for values in given.all("infindex") {
        let Ok(field) = values[1].parse() else {
            return refuse(&CHECK, &format!("-infindex: {:?} is not a column, from 0", values[1]));
        };
        draft.injection_indexes.push((values[0].to_owned(), field));
    }
    match draft.resolve(Flavor::Sipp) {
        Ok(config) => Action::CheckScenarios(ScenarioCheck {
            scenarios: scenarios.iter().map(PathBuf::from).collect(),
            config: Box::new(config),
            json: given.has("json"),
            strict: given.has("strict"),
        }),
        Err(error) => refuse(&CHECK, &error.to_string()),
    }
}

/// Reads the words of `gossipper doctor ...`.
pub(super) fn doctor(args: &[OsString]) -> Action {
    let given = match read(&DOCTOR, args) {
        Ok(given) => given,
        Err(message) => return refuse(&DOCTOR, &message),
    };
    if given.has("h") {
        return print(help::host(&DOCTOR), 0);
    }
    let number = |name: &str| match given.value(name) {
        None => Ok(None),
        Some(text) => match parse_float(text) {
            Ok(number) if (0.0..=1e9).contains(&number) => Ok(Some(number)),
            Ok(_) => Err(format!("-{name}: {text:?} is not a number from 0 to 1000000000")),
            Err(error) => Err(format!("-{name}: {error}")),
        },
    };
    let load = number("r").and_then(|rate| {
        let rate = rate.unwrap_or(1_000.0);
        let calls = number("l")?.unwrap_or(10.0 * rate).ceil();
        Ok((rate, (calls as u64).max(1)))
    });
    match load {
        Ok((rate, calls)) => Action::Doctor(HostCheck { rate, calls, json: given.has("json") }),
        Err(message) => refuse(&DOCTOR, &message),
    }
}

/// Reads the words of `gossipper tune ...`.
pub(super) fn tune(args: &[OsString]) -> Action {
    let given = match read(&TUNE, args) {
        Ok(given) => given,
        Err(message) => return refuse(&TUNE, &message),
    };
    if given.has("h") {
        return print(help::host(&TUNE), 0);
    }
    let tasks = ["print", "apply", "revert"].into_iter().filter(|name| given.has(name)).count();
    if tasks > 1 {
        return refuse(&TUNE, "-print, -apply and -revert exclude each other");
    }
    let io_uring = given.has("io-uring");
    match (given.has("apply"), given.has("revert")) {
        (true, _) => Action::Tune(Tuning::Apply { io_uring }),
        _ if io_uring => refuse(&TUNE, "-io-uring goes with -apply"),
        (_, true) => Action::Tune(Tuning::Revert),
        _ => Action::Tune(Tuning::Print),
    }
}

/// Reads the words of `gossipper generate WHAT`.
pub(super) fn generate(args: &[OsString]) -> Action {
    let [what] = args else {
        let names = Generated::ALL.map(Generated::name).join(", ");
        return fail(error_text(&format!("name what to generate: {names}")), EXIT_COMMAND_FAILED);
    };
    let known = Generated::ALL.into_iter().find(|document| what == document.name());
    match known {
        Some(document) => {
            let mut text = StyledText::default();
            text.plain(document.text());
            print(text, 0)
        }
        None => {
            let names = Generated::ALL.map(Generated::name).join(", ");
            let what = what.to_string_lossy();
            let message = format!("cannot generate {what:?}, only: {names}");
            fail(error_text(&message), EXIT_COMMAND_FAILED)
        }
    }
}

fn refuse(command: &HostCommand, message: &str) -> Action {
    let text = format!("{message}\n  hint: `gossipper {} -h` lists the options", command.name);
    fail(error_text(&text), EXIT_COMMAND_FAILED)
}

/// The given options with their values, and bare words.
struct Given<'a> {
    options: Vec<(&'static str, Vec<&'a str>)>,
    /// Names of files, which need not be UTF-8.
    words: Vec<&'a OsStr>,
}

impl<'a> Given<'a> {
    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option; the last one counts.
    fn value(&self, name: &str) -> Option<&'a str> {
        let last = self.options.iter().rev().find(|(given, _)| *given == name);
        last.and_then(|(_, values)| values.first().copied())
    }

    /// The values of an option that may be repeated; each time as many as the table says.
    fn all<'g>(&'g self, name: &'g str) -> impl Iterator<Item = &'g [&'a str]> {
        let options = self.options.iter().filter(move |(given, _)| *given == name);
        options.map(|(_, values)| values.as_slice())
    }
}

fn read<'a>(command: &'static HostCommand, args: &'a [OsString]) -> Result<Given<'a>, String> {
    let mut given = Given { options: Vec::new(), words: Vec::new() };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if !command.operand.is_empty() && !word.as_encoded_bytes().starts_with(b"-") {
            given.words.push(word);
            continue;
        }
        let Some(text) = word.to_str() else {
            return Err(format!("{:?} is not valid UTF-8", word.to_string_lossy()));
        };
        let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
        let (name, joined) = match name.and_then(|name| name.split_once('=')) {
            Some((name, value)) => (Some(name), Some(value)),
            None => (name, None),
        };
        let name = name.map(|name| if name == "help" { "h" } else { name });
        let flag = command.flags.iter().find(|flag| Some(flag.name) == name);
        let Some(flag) = flag else {
            let meant = suggest::near(text, command.flags.iter().map(|flag| flag.name));
            let meant = meant.map(|name| format!("; did you mean -{name}?")).unwrap_or_default();
            return Err(format!("`gossipper {}` has no option {text:?}{meant}", command.name));
        };
        let count = flag.value.split(' ').filter(|name| !name.is_empty()).count();
        if count == 0 && joined.is_some() {
            return Err(format!("-{} takes no value", flag.name));
        }
        let mut values: Vec<&str> = joined.into_iter().collect();
        while values.len() < count {
            let Some(value) = words.next().and_then(|word| word.to_str()) else {
                let value = flag.value;
                let what = if count == 1 { "a value" } else { "two values" };
                return Err(format!("-{0} needs {what}: write -{0} {value}", flag.name));
            };
            values.push(value);
        }
        given.options.push((flag.name, values));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    fn complaint(action: Action) -> String {
        match action {
            Action::Fail { text, exit_code: EXIT_COMMAND_FAILED } => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_load_is_read_with_one_dash_or_two() {
        for (line, rate, calls, json) in [
            ("", 1_000.0, 10_000, false),
            ("-r 500", 500.0, 5_000, false),
            ("--json -l 7 --r=0.5", 0.5, 7, true),
            ("-r 0", 0.0, 1, false),
            ("-r 1 -r 2", 2.0, 20, false),
        ] {
            let expected = HostCheck { rate, calls, json };
            assert_eq!(doctor(&words(line)), Action::Doctor(expected), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, part) in [
            ("-r", "-r needs a value: write -r RATE"),
            ("-r fast", "-r: \"fast\" is not a number"),
            ("-r -1", "-r: \"-1\" is not a number from 0"),
            ("-json=1", "-json takes no value"),
            ("-x", "has no option \"-x\""),
            ("10", "has no option \"10\""),
        ] {
            let text = complaint(doctor(&words(line)));
            assert!(text.contains(part) && text.contains("gossipper doctor -h"), "{text}");
        }
    }

    #[test]
    fn a_check_takes_files_and_what_they_refer_to() {
        let line = "a.xml -inf u.csv -infindex u.csv 1 --key=k v -inf w.csv uac --json -strict";
        let Action::CheckScenarios(request) = check(&words(line)) else { panic!("{line}") };
        assert_eq!(request.scenarios, [PathBuf::from("a.xml"), PathBuf::from("uac")]);
        let config = &request.config;
        assert_eq!(config.injection, [PathBuf::from("u.csv"), PathBuf::from("w.csv")]);
        assert_eq!(config.injection_indexes, [("u.csv".to_owned(), 1)]);
        assert_eq!(config.keys, [("k".to_owned(), "v".to_owned())]);
        assert!(request.json && request.strict);
        for (line, part) in [
            ("", "needs a scenario file"),
            ("-strict", "needs a scenario file"),
            ("a.xml -frob", "has no option \"-frob\""),
            ("a.xml -key k", "-key needs two values: write -key NAME TEXT"),
            ("a.xml -sf=", "a file name is empty"),
            ("a.xml -infindex u.csv x", "\"x\" is not a column"),
        ] {
            let text = complaint(check(&words(line)));
            assert!(text.contains(part) && text.contains("gossipper check -h"), "{text}");
        }
    }

    #[test]
    fn the_line_of_a_run_is_a_line_of_a_check() {
        let Action::CheckScenarios(request) = check(&words("-sf a.xml -set x 1 -key k v")) else {
            panic!("it is not")
        };
        assert_eq!(request.scenarios, [PathBuf::from("a.xml")]);
    }

    #[test]
    fn tune_does_one_thing_at_a_time() {
        for (line, task) in [
            ("", Tuning::Print),
            ("--print", Tuning::Print),
            ("-apply", Tuning::Apply { io_uring: false }),
            ("--apply --io-uring", Tuning::Apply { io_uring: true }),
            ("--revert", Tuning::Revert),
        ] {
            assert_eq!(tune(&words(line)), Action::Tune(task), "{line}");
        }
        for line in ["--apply --revert", "--print --apply", "--io-uring", "--revert --io-uring"] {
            complaint(tune(&words(line)));
        }
    }

    #[test]
    fn generate_names_what_it_can() {
        assert!(complaint(generate(&words("perl"))).contains("man, bash, zsh, fish"));
        assert!(complaint(generate(&[])).contains("man, bash, zsh, fish"));
    }
}
