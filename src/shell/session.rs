//! Meaning of lines: settings, the wizard, and the resulting command line.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::cli::{self, Action};
use crate::config::{HostPort, RunConfig};
use crate::options::{self, FlagSpec, Status};
use crate::scenario::BUILTINS;

/// The message for settings that are valid but ask for something else than a run.
const NO_RUN: &str = "these settings cannot be run";

/// The result of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Something to print, with its line ends; may be empty.
    Text(String),
    /// The line cannot be carried out, for this reason.
    Refused(String),
    /// Run the program with these arguments.
    Run(Vec<String>),
    /// The session ends.
    Quit,
}

/// The settings so far, and the question of the wizard that waits for an answer.
#[derive(Debug, Default)]
pub struct Session {
    settings: Vec<Setting>,
    remote: Option<String>,
    question: Option<usize>,
}

/// An option with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    flag: &'static str,
    values: Vec<String>,
}

/// Readable names, and the options that they stand for.
const READABLE: &[(&str, &str)] = &[
    ("auth_password", "ap"),
    ("auth_username", "au"),
    ("builtin_scenario", "sn"),
    ("call_length", "d"),
    ("calls_per_second", "r"),
    ("concurrent_calls", "l"),
    ("injection_file", "inf"),
    ("listen_port", "p"),
    ("local_bind_ip", "i"),
    ("scenario_file", "sf"),
    ("service", "s"),
    ("summary_file", "summary_json"),
    ("total_calls", "m"),
    ("transport", "t"),
    ("users", "users"),
];

/// Names of the remote host and its parts.
const DESTINATION: &str = "destination";
const DESTINATION_HOST: &str = "destination_host";
const DESTINATION_PORT: &str = "destination_port";

const COMMANDS: &[(&str, &str)] = &[
    ("set NAME VALUE...", "change a setting; NAME is one below, or an option such as -r or r"),
    ("unset NAME", "clear a setting"),
    ("show", "show the settings and the resulting command line"),
    ("check", "check whether they can be run (also: parse)"),
    ("run", "run with the settings"),
    ("wizard", "ask for the usual settings; an empty answer keeps the value in brackets"),
    ("reset", "clear all settings"),
    ("hint", "show what you could do next"),
    ("help, ?", "show this page; help NAME explains a setting"),
    ("quit, exit, q", "leave"),
];

/// The questions of the wizard, in order: the setting, the question and the default.
const QUESTIONS: &[(&str, &str, &str)] = &[
    ("builtin_scenario", "Scenario (built-in name, or the path of a file)", "uac"),
    (DESTINATION, "Remote host[:port] (\"none\" for a server)", ""),
    ("transport", "Transport (u1, un, t1, tn, l1, ln, w1, ...)", "u1"),
    ("calls_per_second", "Calls per second", "10"),
    ("total_calls", "Calls in all (0: until stopped)", "10"),
    ("call_length", "Length of a call (for example 500ms or 3s)", "0"),
];

impl Session {
    /// The text to print in front of the next line.
    pub fn prompt(&self) -> String {
        let Some((name, question, default)) = self.question.map(|at| QUESTIONS[at]) else {
            return "gossipper> ".to_owned();
        };
        match self.value(name).unwrap_or_else(|| default.to_owned()) {
            value if value.is_empty() => format!("{question}: "),
            value => format!("{question} [{value}]: "),
        }
    }

    /// Carries out one line.
    pub fn line(&mut self, line: &str) -> Answer {
        let line = line.trim();
        if let Some(at) = self.question {
            return self.answer(at, line);
        }
        if line.starts_with('#') {
            return Answer::Text(String::new());
        }
        let words = match words(line) {
            Ok(words) => words,
            Err(why) => return Answer::Refused(why),
        };
        let Some((command, arguments)) = words.split_first() else {
            return Answer::Text(String::new());
        };
        match (command.as_str(), arguments) {
            ("help" | "?", []) => Answer::Text(help()),
            ("help" | "?", [name]) => explain(name),
            ("hint", []) => Answer::Text(self.hint()),
            ("wizard", []) => {
                self.question = Some(0);
                Answer::Text(String::new())
            }
            ("set", [name, values @ ..]) => self.set(name, values),
            ("unset", [name]) => self.unset(name),
            ("show", []) => Answer::Text(self.show()),
            ("check" | "parse", []) => match self.check() {
                Ok(()) => Answer::Text("this can be run\n".to_owned()),
                Err(why) => Answer::Refused(why),
            },
            ("run", []) => match self.check() {
                Ok(()) => Answer::Run(self.options()),
                Err(why) => Answer::Refused(why),
            },
            ("reset", []) => {
                *self = Self::default();
                Answer::Text(String::new())
            }
            ("quit" | "exit" | "q", []) => Answer::Quit,
            (
                "help" | "?" | "hint" | "wizard" | "set" | "unset" | "show" | "check" | "parse"
                | "run" | "reset" | "quit" | "exit" | "q",
                _,
            ) => Answer::Refused(format!(
                "the arguments of `{command}` are wrong; `help` shows its use"
            )),
            _ => Answer::Refused(format!("there is no command `{command}`; `help` lists them")),
        }
    }

    /// Complete names that may replace the last word of `line`.
    pub fn completions(line: &str) -> Vec<String> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if line.is_empty() || line.ends_with(char::is_whitespace) {
            words.push("");
        }
        let Some((&last, before)) = words.split_last() else { return Vec::new() };
        let names: Vec<String> = match before {
            [] => [
                "check", "exit", "help", "hint", "quit", "reset", "run", "set", "show", "unset",
                "wizard",
            ]
            .map(str::to_owned)
            .to_vec(),
            ["set" | "unset" | "help"] => setting_names(last.starts_with('-')),
            ["set", "builtin_scenario" | "sn" | "-sn"] => {
                BUILTINS.iter().map(|builtin| builtin.name.to_owned()).collect()
            }
            _ => Vec::new(),
        };
        names.into_iter().filter(|name| name.starts_with(last)).collect()
    }

    /// Changes a setting, as the command `set` does.
    pub fn set(&mut self, name: &str, values: &[String]) -> Answer {
        if let (DESTINATION | DESTINATION_HOST | DESTINATION_PORT, [value]) = (name, values) {
            let remote = match (name, self.parts()) {
                (DESTINATION_HOST, (_, Some(port))) => Some(format!("{}:{port}", host(value))),
                (DESTINATION_HOST, (_, None)) => Some(host(value)),
                (DESTINATION_PORT, (known, _)) => {
                    Some(format!("{}:{value}", known.unwrap_or_default()))
                }
                _ => Some(value.clone()),
            };
            // A port alone waits for its host.
            let whole = remote.as_deref().filter(|remote| !remote.starts_with(':'));
            if let Some(Err(why)) = whole.map(HostPort::parse) {
                return Answer::Refused(format!("{name}: {why}"));
            }
            self.remote = remote;
            return Answer::Text(String::new());
        }
        let Some(flag) = flag(name) else { return Answer::Refused(unknown(name)) };
        if !flag.is_available() {
            let why = match flag.resolved().status {
                Status::Later(missing) => format!("it needs {missing}"),
                Status::Refused(why) => why.to_owned(),
                _ => String::new(),
            };
            return Answer::Refused(format!("`{name}` is not in this version: {why}"));
        }
        if matches!(flag.resolved().status, Status::Immediate(_)) {
            return Answer::Refused(format!("`{name}` is not a setting"));
        }
        let wanted = flag.metavars().len();
        if values.len() != wanted {
            let usage = flag.usage();
            return Answer::Refused(format!("it needs {wanted} values: {usage}"));
        }
        if let Err(why) = flag.check(values) {
            return Answer::Refused(format!("{name}: {why}"));
        }
        if wanted < 2 {
            self.settings.retain(|setting| setting.flag != flag.name);
        }
        // An option that names the scenario replaces an earlier one that does.
        if let "sn" | "sf" = flag.name {
            self.settings.retain(|setting| !matches!(setting.flag, "sn" | "sf"));
        }
        self.settings.push(Setting { flag: flag.name, values: values.to_vec() });
        Answer::Text(String::new())
    }

    fn unset(&mut self, name: &str) -> Answer {
        if let DESTINATION | DESTINATION_HOST | DESTINATION_PORT = name {
            let (host, _) = self.parts();
            self.remote = if name == DESTINATION_PORT { host } else { None };
            return Answer::Text(String::new());
        }
        match flag(name) {
            Some(flag) => {
                self.settings.retain(|setting| setting.flag != flag.name);
                Answer::Text(String::new())
            }
            None => Answer::Refused(unknown(name)),
        }
    }

    /// Host and port of the destination, as far as they are set.
    fn parts(&self) -> (Option<String>, Option<String>) {
        let Some(remote) = &self.remote else { return (None, None) };
        match remote.rsplit_once(':') {
            // A bare IPv6 address has colons, and no port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (Some(host.to_owned()), Some(port.to_owned()))
            }
            _ => (Some(remote.clone()), None),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        if name == DESTINATION {
            return self.remote.clone();
        }
        let flag = flag(name)?;
        let is_scenario = flag.name == "sn";
        let setting = self
            .settings
            .iter()
            .find(|setting| setting.flag == flag.name || (is_scenario && setting.flag == "sf"))?;
        Some(setting.values.join(" "))
    }

    /// Takes an answer to the wizard.
    fn answer(&mut self, at: usize, line: &str) -> Answer {
        let (name, _, default) = QUESTIONS[at];
        if let "quit" | "exit" | "q" = line {
            self.question = None;
            return Answer::Text("the wizard has ended; your answers are kept\n".to_owned());
        }
        let value = match line {
            "" => self.value(name).unwrap_or_else(|| default.to_owned()),
            line => line.to_owned(),
        };
        let refused = match (name, value.as_str()) {
            (_, "") => None,
            (DESTINATION, "none") => {
                self.remote = None;
                None
            }
            ("builtin_scenario", value) if crate::scenario::builtin(value).is_none() => {
                Some(self.set("scenario_file", &[value.to_owned()]))
            }
            (name, value) => Some(self.set(name, &[value.to_owned()])),
        };
        if let Some(Answer::Refused(why)) = refused {
            return Answer::Text(format!("{why}\n"));
        }
        self.question = Some(at + 1).filter(|&next| next < QUESTIONS.len());
        match self.question {
            Some(_) => Answer::Text(String::new()),
            None => Answer::Text(format!("{}`run` runs it\n", self.show())),
        }
    }

    /// The arguments of the program.
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for setting in &self.settings {
            options.push(format!("-{}", setting.flag));
            options.extend(setting.values.iter().cloned());
        }
        options.extend(self.remote.clone());
        options
    }

    fn check(&self) -> Result<(), String> {
        match self.action()? {
            Action::Run(_) | Action::Profile(_) => Ok(()),
            _ => Err(NO_RUN.to_owned()),
        }
    }

    /// The run that the settings make.
    ///
    /// # Errors
    /// The reason in one line why they make no run.
    pub fn config(&self) -> Result<Box<RunConfig>, String> {
        match self.action()? {
            Action::Run(config) => Ok(config),
            _ => Err(NO_RUN.to_owned()),
        }
    }

    /// The action of the program with these settings, unless they are wrong.
    fn action(&self) -> Result<Action, String> {
        let argv = std::iter::once("gossipper".to_owned()).chain(match self.options() {
            // Without arguments the program prints its help.
            options if options.is_empty() => vec!["-sn".to_owned(), "uac".to_owned()],
            options => options,
        });
        match cli::parse(argv.map(OsString::from).collect()) {
            Action::Fail { text, .. } => {
                let text = text.to_string();
                let first = text.lines().next().unwrap_or_default();
                Err(first.trim_start_matches("error: ").to_owned())
            }
            action => Ok(action),
        }
    }

    fn show(&self) -> String {
        let mut text = String::new();
        let readable = |flag: &str| {
            let known = READABLE.iter().find(|(_, known)| *known == flag);
            known.map_or_else(|| format!("-{flag}"), |(name, _)| (*name).to_owned())
        };
        if let Some(remote) = &self.remote {
            let _ = writeln!(text, "{DESTINATION:20} {remote}");
        }
        for setting in &self.settings {
            let value = match setting.flag {
                "ap" => "(not shown)".to_owned(),
                _ => setting.values.join(" "),
            };
            let _ = writeln!(text, "{:20} {value}", readable(setting.flag));
        }
        let hidden = |setting: &Setting| setting.flag == "ap";
        let mut line = "gossipper".to_owned();
        for setting in &self.settings {
            let _ = write!(line, " -{}", setting.flag);
            for value in &setting.values {
                let shown = if hidden(setting) { "***" } else { value };
                let _ = write!(line, " {}", quoted(shown));
            }
        }
        if let Some(remote) = &self.remote {
            let _ = write!(line, " {}", quoted(remote));
        }
        let _ = writeln!(text, "{line}");
        text
    }

    fn hint(&self) -> String {
        let is_server = self.value("builtin_scenario").is_some_and(|name| name.starts_with("uas"));
        match (&self.remote, self.settings.is_empty()) {
            (None, true) => "start with `wizard`, or `set destination HOST:PORT`\n".to_owned(),
            (None, false) if !is_server => {
                "`set destination HOST:PORT` gives the address to call; a server scenario needs \
                 none\n"
                    .to_owned()
            }
            _ => match self.check() {
                Ok(()) => "`run` runs it, `show` shows it\n".to_owned(),
                Err(why) => format!("not yet: {why}\n"),
            },
        }
    }
}

/// The row of an option under any of its names; the option `rtp_send` belongs to another program.
fn flag(name: &str) -> Option<&'static FlagSpec> {
    let readable = READABLE.iter().find(|(readable, _)| *readable == name);
    let name = readable.map_or(name.trim_start_matches('-'), |(_, flag)| flag);
    options::find(name).filter(|flag| flag.name != "rtp_send")
}

fn unknown(name: &str) -> String {
    let all = setting_names(name.starts_with('-'));
    let nearest = all.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 3) {
        Some(known) => format!("there is no setting `{name}`; did you mean `{known}`?"),
        None => format!("there is no setting `{name}`; `help` lists the usual ones"),
    }
}

fn setting_names(with_dash: bool) -> Vec<String> {
    if with_dash {
        let available = options::all().filter(|flag| flag.is_available());
        return available.map(|flag| format!("-{}", flag.name)).collect();
    }
    let destination = [DESTINATION, DESTINATION_HOST, DESTINATION_PORT];
    let readable = READABLE.iter().map(|(name, _)| *name);
    destination.into_iter().chain(readable).map(str::to_owned).collect()
}

fn help() -> String {
    let mut text = "Commands\n".to_owned();
    for (command, about) in COMMANDS {
        let _ = writeln!(text, "  {command:20} {about}");
    }
    text.push_str("\nSettings (every option of `gossipper sipp -h` is a setting, too)\n");
    let _ = writeln!(text, "  {DESTINATION:20} the address to call, as host:port; also in two:");
    let _ = writeln!(text, "  {:20} {DESTINATION_HOST}, {DESTINATION_PORT}", "");
    for (name, flag) in READABLE {
        let about = options::find(flag).map_or("", |flag| flag.resolved().help);
        let _ = writeln!(text, "  {name:20} {about}");
    }
    text
}

fn explain(name: &str) -> Answer {
    match flag(name) {
        Some(flag) => Answer::Text(format!("{}\n  {}\n", flag.usage(), flag.resolved().help)),
        None if name.starts_with(DESTINATION) => {
            Answer::Text("the remote host, as host:port\n".to_owned())
        }
        None => Answer::Refused(unknown(name)),
    }
}

/// A host that a port can follow: IPv6 addresses in brackets.
fn host(text: &str) -> String {
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{text}]"),
        Err(_) => text.to_owned(),
    }
}

/// `word` quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@[]%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Splits a line into words; quotes keep white space together, a backslash keeps a character.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("the line ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}
