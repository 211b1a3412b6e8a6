//! Help and version pages, made from the flag table.

use super::command::ABOUT;
use super::host::{self, HostCommand};
use super::text::{ASIDE, HEADING, LITERAL, StyledText};
use crate::options::{self, FlagSpec, GROUPS, Status};

/// Columns of a page: those of a terminal of the usual width.
const COLUMNS: usize = 80;

/// Column at which the explanations of options begin.
const HELP_COLUMN: usize = 26;

const COMMANDS: &[(&str, &str)] = &[
    ("sipp", "Run a scenario, with the options of SIPp"),
    ("server", "Run engines as a service, controlled over HTTP"),
    ("config check", "Check the configuration of a service; config schema: its JSON Schema"),
    ("shell", "Set up a run line by line, check it and run it (also: cli)"),
    ("tui", "Fill in a form, then watch the run on a dashboard"),
    ("auth", super::auth::ABOUT),
    (host::CHECK.name, host::CHECK.about),
    (host::DOCTOR.name, host::DOCTOR.about),
    (host::TUNE.name, host::TUNE.about),
    ("help [COMMAND]", "Print this page, or the page of a command"),
    ("version", "Print the version"),
];

pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("Answer calls on port 5060 until stopped:", "gossipper -sn uas -p 5060"),
    ("Make one call and see whether it works:", "gossipper 192.0.2.10"),
    (
        "Make 100,000 calls at 500 per second, keep a summary:",
        "gossipper -r 500 -m 100000 -summary_json run.json 192.0.2.10:5060",
    ),
];

pub(super) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "all calls succeeded, or the health gates are met"),
    ("1", "at least one call failed, and no health gate is set"),
    ("2", "a health gate is not met"),
    ("3", "the generator limited the run, with -fail_if_limited"),
    ("78", "gossipper server: the configuration cannot be used"),
    ("97", "-timeout or -duration ended the run before any call ended by itself"),
    ("99", "nothing was run (as sipp: help, version, -sd)"),
    ("253", "a pattern of RTP did not come back (-audiotolerance)"),
    ("254", "the local port is in use"),
    ("255", "the run could not be started, or -timeout_error"),
];

/// Columns of SIPp's statistics file, with their meaning. `(P)` counts since the previous row,
/// `(C)` since the start.
const STATISTICS: &[(&str, &str)] = &[
    ("StartTime", "when the run began"),
    ("LastResetTime", "when the counts of this period began: the row before"),
    ("CurrentTime", "when the row was written"),
    ("ElapsedTime(P) (C)", "hours:minutes:seconds since then"),
    ("TargetRate", "calls per second to start; with -users, how many users"),
    ("CallRate(P) (C)", "calls started per second"),
    ("IncomingCall(P) (C)", "calls that the peer started"),
    ("OutgoingCall(P) (C)", "calls that we started"),
    ("TotalCallCreated", "both together"),
    ("CurrentCall", "calls open now"),
    ("SuccessfulCall(P) (C)", "calls that followed their scenario to its end"),
    ("FailedCall(P) (C)", "calls that failed"),
    ("FailedCannotSendMessage", "a message could not be sent (P and C, as all that follow)"),
    ("FailedMaxUDPRetrans", "no answer came, although the message was sent repeatedly"),
    ("FailedTcpConnect", "a connection could not be made"),
    ("FailedTcpClosed", "a connection broke"),
    ("FailedUnexpectedMessage", "a message that the scenario does not expect"),
    ("FailedCallRejected", "the call was rejected"),
    ("FailedCmdNotSent", "a command to the 3PCC twin could not be sent"),
    ("FailedRegexp...", "an <ereg> with check_it did not hold, or found no header"),
    ("FailedOutboundCongestion", "no room to send within -send_timeout"),
    ("FailedTimeoutOnRecv", "a <recv> waited too long"),
    ("FailedTimeoutOnSend", "a <send> waited too long"),
    ("FailedTest... FailedStrcmp...", "a <test> or <strcmp> with check_it did not hold"),
    ("OutOfCallMsgs", "messages that belong to no known call"),
    ("DeadCallMsgs", "messages of a call that was over"),
    ("Retransmissions", "messages sent again"),
    ("AutoAnswered", "requests answered because of -aa"),
    ("Warnings FatalErrors", "texts of <warning> and <error> actions"),
    ("WatchdogMajor WatchdogMinor", "times that a worker was kept from its work"),
    ("ResponseTimeN(P) (C)", "mean of timer N, and ResponseTimeNStDev its standard deviation"),
    ("CallLength(P) (C)", "mean length of calls, and CallLengthStDev its standard deviation"),
    ("GenericCounterN(P) (C)", "counter=\"N\" of the scenario; others under their own name"),
    ("ResponseTimeRepartitionN", "how many values of timer N were below each bound"),
    ("CallLengthRepartition", "how many calls were shorter than each bound"),
];

/// The page of `-h stat`.
pub(super) fn statistics() -> StyledText {
    let mut page = StyledText::default();
    paragraph(
        &mut page,
        "Columns of the statistics file (-trace_stat), in their order. (P) counts since the row \
         before, (C) since the start of the run.",
    );
    heading(&mut page, "Columns");
    for (column, about) in STATISTICS {
        entry(&mut page, column, about, "");
    }
    page
}

/// The page of `gossipper --help`.
pub(super) fn root() -> StyledText {
    let mut page = StyledText::default();
    page.push(LITERAL, "gossipper").plain(format!(" {}: {ABOUT}\n", env!("CARGO_PKG_VERSION")));
    page.plain("\n");
    paragraph(
        &mut page,
        "It plays SIP scenarios, its own or XML files written for SIPp, as a client or as a \
         server, and reports how the other side performs under the load. Packets go through \
         io_uring where the kernel allows it.",
    );
    heading(&mut page, "Usage");
    for usage in ["[OPTIONS] [REMOTE_HOST[:PORT]]", "COMMAND [ARGUMENTS]"] {
        page.plain("  ").push(LITERAL, "gossipper").plain(format!(" {usage}\n"));
    }
    heading(&mut page, "Commands");
    for (command, about) in COMMANDS {
        entry(&mut page, command, about, "");
    }
    page.plain("\n");
    paragraph(
        &mut page,
        "Without a command, gossipper runs a scenario with defaults of its own. `gossipper sipp`, \
         and a link to it named sipp, have SIPp's defaults, screens and exit codes.",
    );
    heading(&mut page, "Examples");
    for (what, line) in EXAMPLES {
        page.plain(format!("  {what}\n    ")).push(LITERAL, *line).plain("\n");
    }
    heading(&mut page, "Read on");
    entry(&mut page, "gossipper sipp -h", "All options of a run", "");
    entry(&mut page, "gossipper -sd NAME", "A built-in scenario as XML, to start from", "");
    entry(&mut page, "docs/sipp-compatibility.md", "What differs from SIPp", "");
    page
}

/// The page of `gossipper server -h`.
pub(super) fn server() -> StyledText {
    let mut page = StyledText::default();
    page.plain("Run engines as a service, controlled and watched over HTTP.\n");
    heading(&mut page, "Usage");
    page.plain("  ").push(LITERAL, "gossipper server").plain(" -config FILE [OPTIONS]\n\n");
    paragraph(
        &mut page,
        "FILE is JSON: one engine (a flat object), or `server` and `clients` with several engines \
         in one process. docs/configuration.md has all keys. Without FILE, one engine answers \
         OPTIONS on port 5060.",
    );
    page.plain("\n");
    paragraph(
        &mut page,
        "All options of a run work too; they apply to the first engine and override the file. \
         SIGHUP reads the file again; SIGTERM lets open calls end, then stops.",
    );
    heading(&mut page, "Options");
    let config = options::find("config");
    for flag in config.into_iter().chain(options::server_flags()) {
        option(&mut page, flag);
    }
    heading(&mut page, "Read on");
    entry(&mut page, "gossipper config check -h", "Find all mistakes of a file at once", "");
    entry(&mut page, "gossipper sipp -h", "The options of a run", "");
    page
}

/// The page of `gossipper config -h`.
pub(super) fn config() -> StyledText {
    let mut page = StyledText::default();
    page.plain("Check the configuration of a service.\n");
    heading(&mut page, "Usage");
    for usage in [" check -config FILE [--json] [--dump-effective] [OPTIONS]", " schema"] {
        page.plain("  ").push(LITERAL, "gossipper config").plain(format!("{usage}\n"));
    }
    page.plain("\n");
    paragraph(
        &mut page,
        "check reads FILE as `gossipper server` with the same options would, with the scenarios \
         and files that it names, opens no socket, and reports every mistake with its place. \
         schema prints the JSON Schema of the file, for editors.",
    );
    heading(&mut page, "Options");
    entry(&mut page, "-config FILE", "The file to check", "");
    entry(&mut page, "--json", "Report as JSON", "");
    entry(
        &mut page,
        "--dump-effective",
        "Print the result of defaults, FILE, its extra_args and options; secrets masked",
        "",
    );
    heading(&mut page, "Exit codes");
    for (code, meaning) in
        [("0", "the file can be used"), ("1", "it cannot be used, or does not exist")]
    {
        page.plain("  ").push(LITERAL, format!("{code:<5}")).plain(format!("{meaning}\n"));
    }
    page
}

/// The page of `gossipper sipp -h` and `sipp -h`; `program` is the name under which the user
/// started it.
pub(super) fn run(program: &str) -> StyledText {
    let mut page = StyledText::default();
    page.plain("Run a SIP scenario as client or server, with the options of SIPp.\n");
    heading(&mut page, "Usage");
    page.plain("  ").push(LITERAL, program).plain(" [OPTIONS] [REMOTE_HOST[:PORT]]\n\n");
    paragraph(
        &mut page,
        "Options may be before or after the remote host, with one dash or two. Whole numbers may \
         be hexadecimal (0x10) or octal (020). TIME is a number with ms, s, m or h. `--` ends the \
         options.",
    );
    for group in GROUPS {
        let available: Vec<_> = group.flags.iter().filter(|flag| flag.is_available()).collect();
        if available.is_empty() {
            continue;
        }
        heading(&mut page, group.title);
        for flag in available {
            option(&mut page, flag);
        }
    }
    heading(&mut page, "Not in this version");
    let (refused, later): (Vec<_>, Vec<_>) = options::all()
        .filter(|flag| !flag.is_available())
        .partition(|flag| matches!(flag.status, Status::Refused(_)));
    let names = |flags: &[&FlagSpec]| {
        flags.iter().map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join(" ")
    };
    indented(&mut page, &names(&later));
    page.plain("\n  Refused in any version (SCTP, loadable code, old names):\n");
    indented(&mut page, &names(&refused));
    heading(&mut page, "Exit codes");
    for (code, meaning) in EXIT_CODES {
        page.plain("  ").push(LITERAL, format!("{code:<5}")).plain(format!("{meaning}\n"));
    }
    page
}

/// The page of `gossipper shell -h` and `gossipper tui -h`.
pub(super) fn interactive(name: &str) -> StyledText {
    let mut page = StyledText::default();
    let (about, more, keys): (_, _, &[(&str, &str)]) = match name {
        "tui" => (
            "Fill in a form, then watch the run on a dashboard.",
            "It needs a terminal. Every field is an option of `gossipper sipp -h`.",
            &[
                ("Enter, Tab, Down", "Check the field and go to the next one"),
                ("Shift-Tab, Up", "Go to the field before"),
                ("Space", "Switch what is on or off"),
                ("Delete, Ctrl-U", "Empty the field"),
                ("Enter on Start", "Start the run"),
                ("Esc, Ctrl-C", "Leave"),
            ],
        ),
        _ => (
            "Set up a run line by line, check it and run it.",
            "Lines come from the terminal or from a pipe. A line of a pipe that cannot be carried \
             out ends the script with exit code 1.",
            &[
                ("set NAME VALUE...", "Change a setting, as -r or calls_per_second"),
                ("wizard", "Be asked for the usual settings"),
                ("show", "The settings, and the command line that they make"),
                ("check, run", "Check the settings, run them"),
                ("help", "All commands and settings"),
                ("quit", "Leave"),
            ],
        ),
    };
    page.plain(format!("{about}\n"));
    heading(&mut page, "Usage");
    page.plain("  ").push(LITERAL, format!("gossipper {name}")).plain("\n\n");
    paragraph(&mut page, more);
    heading(&mut page, if name == "tui" { "Keys" } else { "Lines" });
    for (key, about) in keys {
        entry(&mut page, key, about, "");
    }
    page
}

/// The page of `gossipper doctor -h` and similar commands.
pub(super) fn host(command: &HostCommand) -> StyledText {
    let mut page = StyledText::default();
    page.plain(format!("{}.\n", command.about));
    heading(&mut page, "Usage");
    let operand = if command.operand.is_empty() { "" } else { " " };
    let rest = format!(" [OPTIONS]{operand}{}\n\n", command.operand);
    page.plain("  ").push(LITERAL, format!("gossipper {}", command.name)).plain(rest);
    paragraph(&mut page, command.text);
    heading(&mut page, "Options");
    for flag in command.flags {
        let term = format!("-{} {}", flag.name, flag.value);
        entry(&mut page, term.trim_end(), flag.help, "");
    }
    page
}

/// The text of `gossipper -version`.
pub(super) fn version() -> StyledText {
    let mut text = StyledText::default();
    text.plain(format!(
        "gossipper {} ({}-{})\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    ));
    text
}

pub(super) fn heading(page: &mut StyledText, title: &str) {
    page.plain("\n").push(HEADING, title).plain("\n");
}

fn option(page: &mut StyledText, flag: &'static FlagSpec) {
    match flag.status {
        Status::Alias(target) => {
            entry(page, &flag.usage(), &format!("Same as -{target}"), "");
        }
        _ => entry(page, &flag.usage(), flag.help, flag.default),
    }
}

/// Writes a term and its explanation in two columns.
pub(super) fn entry(page: &mut StyledText, term: &str, help: &str, default: &str) {
    page.plain("  ").push(LITERAL, term);
    let width = term.chars().count() + 2;
    let mut lead = if width + 2 > HELP_COLUMN {
        format!("\n{}", " ".repeat(HELP_COLUMN))
    } else {
        " ".repeat(HELP_COLUMN - width)
    };
    let default = if default.is_empty() { String::new() } else { format!("[default: {default}]") };
    let mut lines = wrap(help, COLUMNS - HELP_COLUMN);
    // The default joins the last line if all of it fits there.
    let joined = lines.last().map(|last| last.chars().count() + 1 + default.chars().count());
    let fits = joined.is_some_and(|columns| columns <= COLUMNS - HELP_COLUMN);
    let mut asides = if default.is_empty() { Vec::new() } else { vec![default] };
    if !fits {
        asides = asides.iter().flat_map(|aside| wrap(aside, COLUMNS - HELP_COLUMN)).collect();
    }
    let last = lines.pop();
    for line in lines {
        page.plain(format!("{lead}{line}"));
        lead = format!("\n{}", " ".repeat(HELP_COLUMN));
    }
    if let Some(last) = last {
        page.plain(format!("{lead}{last}"));
    }
    for aside in asides {
        let gap = if fits { " ".to_owned() } else { format!("\n{}", " ".repeat(HELP_COLUMN)) };
        page.plain(gap).push(ASIDE, aside);
    }
    page.plain("\n");
}

pub(super) fn paragraph(page: &mut StyledText, text: &str) {
    for line in wrap(text, COLUMNS) {
        page.plain(format!("{line}\n"));
    }
}

fn indented(page: &mut StyledText, text: &str) {
    for line in wrap(text, COLUMNS - 4) {
        page.plain(format!("    {line}\n"));
    }
}

/// Breaks `text` at spaces into lines of at most `columns`; a longer word gets a line of its own.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fit_into_80_columns() {
        let pages = [root(), run("gossipper sipp"), run("sipp"), server(), config()];
        let hosts = [&host::CHECK, &host::DOCTOR, &host::TUNE].map(host);
        for page in pages.into_iter().chain(hosts) {
            for line in page.to_string().lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }

    #[test]
    fn the_page_of_a_run_names_every_option() {
        let page = run("sipp").to_string();
        for flag in options::all() {
            let name = format!("-{}", flag.name);
            assert!(page.split_whitespace().any(|word| word == name), "{name}");
        }
    }

    #[test]
    fn wrapping_keeps_long_words_whole() {
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("abcdef g", 4), ["abcdef", "g"]);
    }
}
