//! The manual page and the completions of shells, made from the option tables.
//!
//! Options are completed with one dash, as in all documentation. The text of `clap_complete` for
//! bash and zsh has two, so it is rewritten. Its fish script reads the line by the rules of getopt,
//! which words such as `-sn` break, so our own script replaces it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command, ValueHint};
use clap_complete::{Generator, Shell};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::command::{ABOUT, root_command, run_command};
use super::help::{EXAMPLES, EXIT_CODES};
use super::host::{CHECK, DOCTOR, HostCommand, TUNE};
use crate::options::{self, Accept, GROUPS, Status};
use crate::scenario::BUILTINS;

/// The outputs of `gossipper generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generated {
    /// The manual page, section 1.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

impl Generated {
    /// All outputs.
    pub(super) const ALL: [Self; 4] = [Self::Man, Self::Bash, Self::Zsh, Self::Fish];

    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Man => "man",
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// The generated text.
    pub(super) fn text(self) -> String {
        match self {
            Self::Man => manual(),
            Self::Bash => one_dash(&completions(Shell::Bash)),
            // Words with one dash are options of their own, not several options of one letter.
            Self::Zsh => one_dash(&completions(Shell::Zsh))
                .replace("_arguments_options=(-s -S -C)", "_arguments_options=(-S -C)"),
            Self::Fish => fish(),
        }
    }
}

/// Files that packages install, for the manual.
const FILES: &[(&str, &str)] = &[
    ("/usr/local/gossipper/etc/*.json", "configuration of the services"),
    ("/usr/local/gossipper/data", "what services write: users, results, scenarios"),
    ("/usr/local/gossipper/logs", "logs of services that write files"),
    ("/usr/share/gossipper", "dashboards, rules for Prometheus, kernel settings, unit drop-ins"),
    ("/etc/sysctl.d/90-gossipper.conf", "written by gossipper tune -apply"),
    ("/var/lib/gossipper/tune.json", "the values that gossipper tune -revert restores"),
];

/// Variables of the environment, for the manual.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("NO_COLOR", "if set and not empty, nothing is coloured"),
    ("SSLKEYLOGFILE", "a file to which the secrets of TLS connections are appended"),
];

/// The visible part of a command: without hidden commands and spellings, and with file names as
/// hints where files go.
fn visible(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned())
        .visible_aliases(command.get_visible_aliases().map(str::to_owned))
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown = shown.args(args.map(|arg| hinted(arg.clone())));
    shown.subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(visible))
}

/// The option with a hint for the shell about its value.
fn hinted(arg: Arg) -> Arg {
    let Some(flag) = options::find(arg.get_id().as_str()) else { return arg };
    match flag.resolved().status {
        Status::Supported(Accept::Path(_)) => arg.value_hint(ValueHint::FilePath),
        Status::Supported(_) if flag.name == "sn" => {
            arg.value_parser(BUILTINS.iter().map(|builtin| builtin.name).collect::<Vec<_>>())
        }
        _ => arg,
    }
}

/// The program with its commands; options without a command are those of a run.
fn whole() -> Command {
    let run = visible(&run_command());
    let options = run.get_arguments().filter(|arg| !arg.is_positional()).cloned();
    visible(&root_command()).args(options)
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn completions(shell: Shell) -> String {
    let mut command = whole();
    command.set_bin_name("gossipper");
    command.build();
    let mut text = Vec::new();
    shell.generate(&command, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns `text` with one dash in front of our options instead of two, and without `=` behind
/// them.
fn one_dash(text: &str) -> String {
    let root = whole();
    let below = root.get_subcommands().flat_map(Command::get_subcommands);
    let all = std::iter::once(&root).chain(root.get_subcommands()).chain(below);
    let names: BTreeSet<&str> =
        all.flat_map(Command::get_arguments).filter_map(Arg::get_long).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut result = String::with_capacity(text.len());
    let mut pieces = text.split("--");
    result.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let name = piece.split(|c| !is_name(c)).next().unwrap_or_default();
        if names.contains(name) {
            let rest = &piece[name.len()..];
            let _ = write!(result, "-{name}{}", rest.strip_prefix('=').unwrap_or(rest));
        } else {
            let _ = write!(result, "--{piece}");
        }
    }
    result
}

/// Completions for fish.
fn fish() -> String {
    let root = whole();
    let mut text = String::from("# Completions of gossipper for fish.\n");
    let names: Vec<&str> = root
        .get_subcommands()
        .flat_map(|sub| sub.get_name_and_visible_aliases())
        .filter(|name| *name != "sipp")
        .collect();
    for sub in root.get_subcommands() {
        for name in sub.get_name_and_visible_aliases() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(
                text,
                "complete -c gossipper -n __fish_use_subcommand -f -a {name} -d {}",
                fish_quoted(&about)
            );
        }
    }
    // The options of a run: those of `gossipper sipp` and of no command at all.
    let is_run = format!("not __fish_seen_subcommand_from {}", names.join(" "));
    fish_options(&mut text, &root, &is_run);
    for sub in root.get_subcommands().filter(|sub| sub.get_name() != "sipp") {
        let is_sub = format!("__fish_seen_subcommand_from {}", sub.get_name());
        fish_options(&mut text, sub, &is_sub);
        for below in sub.get_subcommands() {
            let (name, about) = (below.get_name(), below.get_about());
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(
                text,
                "complete -c gossipper -n {} -f -a {name} -d {}",
                fish_quoted(&is_sub),
                fish_quoted(&about)
            );
            let is_below = format!("__fish_seen_subcommand_from {name}");
            fish_options(&mut text, below, &is_below);
        }
    }
    text
}

/// Writes the options of a command. Options of one letter are words too: as "short" ones they would
/// swallow the rest of a longer name.
fn fish_options(text: &mut String, command: &Command, condition: &str) {
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let value = match (takes_value(arg), arg.get_value_hint()) {
            (false, _) => String::new(),
            (true, ValueHint::FilePath) => " -r -F".to_owned(),
            (true, _) if values.is_empty() => " -x".to_owned(),
            (true, _) => format!(" -x -a {}", fish_quoted(&values.join(" "))),
        };
        let _ = writeln!(
            text,
            "complete -c gossipper -n {} -o {name}{value} -d {}",
            fish_quoted(condition),
            fish_quoted(&help)
        );
    }
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The text of `gossipper(1)`.
fn manual() -> String {
    let version = concat!("gossipper ", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", ["GOSSIPPER", "1", "DATE", version, "User Commands"]);
    section(&mut page, "NAME");
    page.text([roman(format!("gossipper - {ABOUT}"))]);
    synopses(&mut page);
    description(&mut page);
    section(&mut page, "COMMANDS");
    for command in root_command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let names: Vec<&str> = command.get_name_and_visible_aliases();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        entry(&mut page, [bold(names.join(", "))], &about, "");
    }
    options_of_a_run(&mut page);
    for command in [&CHECK, &DOCTOR, &TUNE] {
        command_section(&mut page, command);
    }
    for command in root_command().get_subcommands() {
        nested_section(&mut page, command);
    }
    section(&mut page, "EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        entry(&mut page, [bold(*code)], meaning, "");
    }
    section(&mut page, "ENVIRONMENT");
    for (name, about) in ENVIRONMENT {
        entry(&mut page, [bold(*name)], about, "");
    }
    section(&mut page, "FILES");
    for (path, about) in FILES {
        entry(&mut page, [italic(*path)], about, "");
    }
    examples(&mut page);
    section(&mut page, "SEE ALSO");
    page.text([
        bold("sipp"),
        roman("(1), "),
        bold("systemctl"),
        roman("(1), "),
        bold("sysctl"),
        roman("(8); the guide and the notes on operation among the package's documents"),
    ]);
    // Without a date, so that repeated builds give the same text; the library cannot write an empty
    // word.
    page.render().replacen(" 1 DATE ", " 1 \"\" ", 1)
}

fn synopses(page: &mut Roff) {
    section(page, "SYNOPSIS");
    synopsis(
        page,
        &[
            roman("["),
            italic("OPTIONS"),
            roman("] ["),
            italic("REMOTE_HOST"),
            roman("[:"),
            italic("PORT"),
            roman("]]"),
        ],
    );
    page.control("br", []);
    synopsis(
        page,
        &[
            bold("sipp"),
            roman(" ["),
            italic("OPTIONS"),
            roman("] ["),
            italic("REMOTE_HOST"),
            roman("[:"),
            italic("PORT"),
            roman("]]"),
        ],
    );
    page.control("br", []);
    synopsis(page, &[italic("COMMAND"), roman(" ["), italic("ARGUMENTS"), roman("]")]);
}

fn description(page: &mut Roff) {
    section(page, "DESCRIPTION");
    page.text([bold("gossipper"), roman(
        " plays SIP scenarios, its own or XML files written for SIPp, as a client or as a server, \
         and reports how the other side performs under the load. Packets go through io_uring where \
         the kernel allows it, and through plain system calls elsewhere.",
    )]);
    page.control("PP", []);
    page.text([
        roman("Without a command it runs a scenario with defaults of its own. "),
        bold("gossipper sipp"),
        roman(", and a link to it named "),
        bold("sipp"),
        roman(", have SIPp's defaults, screens and exit codes."),
    ]);
}

fn options_of_a_run(page: &mut Roff) {
    section(page, "OPTIONS OF A RUN");
    page.text([roman(
        "Options may be before or after the remote host, with one dash or two. Whole numbers may \
         be hexadecimal (0x10) or octal (020). TIME is a number with ms, s, m or h. A double dash \
         ends the options.",
    )]);
    for group in GROUPS {
        let available: Vec<_> = group.flags.iter().filter(|flag| flag.is_available()).collect();
        if available.is_empty() {
            continue;
        }
        page.control("SS", [group.title]);
        for flag in available {
            let mut term = vec![bold(format!("-{}", flag.name))];
            for value in flag.metavars() {
                term.extend([roman(" "), italic(*value)]);
            }
            match flag.status {
                Status::Alias(target) => {
                    entry(page, term, &format!("Same as -{target}"), "");
                }
                _ => entry(page, term, flag.help, flag.default),
            }
        }
    }
}

fn examples(page: &mut Roff) {
    section(page, "EXAMPLES");
    for (at, (what, line)) in EXAMPLES.iter().enumerate() {
        if at > 0 {
            page.control("PP", []);
        }
        page.text([roman(*what)]);
        page.control("RS", ["4"]);
        page.text([bold(*line)]);
        page.control("RE", []);
    }
}

fn section(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}

fn synopsis(page: &mut Roff, rest: &[Inline]) {
    let mut line = vec![bold("gossipper"), roman(" ")];
    line.extend_from_slice(rest);
    page.text(line);
}

/// A term and its explanation.
fn entry(page: &mut Roff, term: impl Into<Vec<Inline>>, help: &str, default: &str) {
    page.control("TP", []);
    page.text(term);
    let default = match default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    page.text([roman(format!("{help}{default}"))]);
}

fn command_section(page: &mut Roff, command: &HostCommand) {
    section(page, &format!("OPTIONS OF {}", command.name.to_uppercase()));
    page.text([roman(command.text)]);
    for flag in command.flags {
        let mut term = vec![bold(format!("-{}", flag.name))];
        if !flag.value.is_empty() {
            term.extend([roman(" "), italic(flag.value)]);
        }
        entry(page, term, flag.help, "");
    }
}

/// Writes the section of a command that has commands of its own.
fn nested_section(page: &mut Roff, command: &Command) {
    if !command.has_subcommands() {
        return;
    }
    section(page, &format!("COMMANDS OF {}", command.get_name().to_uppercase()));
    for below in command.get_subcommands() {
        page.control("SS", [format!("{} {}", command.get_name(), below.get_name()).as_str()]);
        page.text([roman(format!("{}.", below.get_about().cloned().unwrap_or_default()))]);
        for arg in below.get_arguments() {
            let mut term = vec![bold(format!("-{}", arg.get_id()))];
            let values = arg.get_value_names().filter(|_| takes_value(arg)).unwrap_or_default();
            for value in values {
                term.extend([roman(" "), italic(value.as_str())]);
            }
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            entry(page, term, &help, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_explains_every_option_and_command() {
        // troff writes a dash in this way.
        let page = manual().replace("\\-", "-");
        for flag in options::all().filter(|flag| flag.is_available()) {
            let named = [format!("\\fB-{}\\fR", flag.name), format!("\\fB-{} ", flag.name)];
            assert!(named.iter().any(|name| page.contains(name)), "-{}", flag.name);
        }
        for command in root_command().get_subcommands() {
            let is_named = page.contains(&format!("\n\\fB{}", command.get_name()));
            assert_eq!(is_named, !command.is_hide_set(), "{}", command.get_name());
        }
        for named in ["auth user-passwd", "auth user-del", "-password-stdin"] {
            assert!(page.contains(named), "{named} in {page}");
        }
    }

    #[test]
    fn completions_have_one_dash() {
        for document in [Generated::Bash, Generated::Zsh] {
            let text = document.text();
            assert!(text.contains("-summary_json") && text.contains("-io-uring"), "{text}");
            assert!(!text.contains("--summary_json") && !text.contains("--io-uring"), "{text}");
            assert!(text.contains("-password-stdin") && !text.contains("--password"), "{text}");
            assert!(!text.contains("generate"), "{text}");
        }
    }

    #[test]
    fn fish_takes_every_option_as_a_word() {
        let text = fish();
        for part in [
            " -o m -x -d",
            " -o sf -r -F -d",
            " -o sn -x -a 'uac uas ",
            "-a doctor -d",
            "-a user-add -d",
            " -o role -x -a 'viewer ",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn only_our_options_lose_a_dash() {
        let text = "opts=\"--sn --nobody\" --sn=[x] -- \"$cur\" --sn) --sn_x --";
        let expected = "opts=\"-sn --nobody\" -sn[x] -- \"$cur\" -sn) --sn_x --";
        assert_eq!(one_dash(text), expected);
    }
}
