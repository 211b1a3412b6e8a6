//! `gossipper auth`: users of the API, and tokens for programs. One table of commands and options
//! feeds the reading of a line and the help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ValueHint};

use super::help::{entry, heading, paragraph};
use super::request::{AuthCommand, AuthTask, NewPassword, UserDatabase};
use super::text::{LITERAL, StyledText};
use super::{Action, error_text, fail, print};
use crate::config::{Role, Scope};

/// Exit code of a line of this command that cannot be read.
const EXIT_USAGE: u8 = 2;

/// One command under `auth`.
struct Command {
    name: &'static str,
    about: &'static str,
    /// Further lines for its own page.
    more: &'static str,
    /// Names from [`OPTIONS`].
    options: &'static [&'static str],
    example: &'static str,
}

/// An option: name, value, help.
const OPTIONS: &[(&str, &str, &str)] = &[
    (
        "config",
        "FILE",
        "The JSON file that `gossipper server` is started with; its auth.sqlite_path says where \
         the users are",
    ),
    ("db", "FILE", "The user database itself, instead of -config"),
    ("username", "NAME", "The user: 1 to 64 letters (a-z), digits and . _ - @"),
    (
        "password",
        "TEXT",
        "The password. Other users of the host can see it; without this option the terminal is \
         asked",
    ),
    ("password-stdin", "", "Read the password from the first line of stdin"),
    (
        "role",
        "ROLE",
        "viewer (looks), operator (also controls runs), admin (also users and settings)",
    ),
    ("name", "NAME", "The token: 1 to 64 letters (a-z), digits and . _ - @"),
    (
        "scope",
        "SCOPE",
        "metrics (only /metrics), read (what a viewer may), operate (what an operator may)",
    ),
    (
        "expires",
        "TIME",
        "How long the token is valid: a number with m, h or d, as in 90d. Without it, until it is \
         revoked",
    ),
    ("json", "", "Print JSON"),
];

const COMMANDS: &[Command] = &[
    Command {
        name: "user-add",
        about: "Add a user",
        more: "Without -role the first user becomes admin and every other one operator. The \
               database is created if there is none. A name that exists already is refused. A \
               password has 8 characters at least; 15 or more are good.",
        options: &["config", "db", "username", "password", "password-stdin", "role"],
        example: "gossipper auth user-add -config gossipper.json -username alice -role operator",
    },
    Command {
        name: "user-list",
        about: "Show all users",
        more: "",
        options: &["config", "db", "json"],
        example: "gossipper auth user-list -config gossipper.json",
    },
    Command {
        name: "user-passwd",
        about: "Give a user a new password",
        more: "All logins of the user end.",
        options: &["config", "db", "username", "password", "password-stdin"],
        example: "gossipper auth user-passwd -config gossipper.json -username alice",
    },
    Command {
        name: "user-role",
        about: "Change what a user may do",
        more: "All logins of the user end. The last admin stays one.",
        options: &["config", "db", "username", "role"],
        example: "gossipper auth user-role -config gossipper.json -username alice -role viewer",
    },
    Command {
        name: "user-disable",
        about: "Disable a user",
        more: "All logins of the user end. The last admin cannot be disabled.",
        options: &["config", "db", "username"],
        example: "gossipper auth user-disable -config gossipper.json -username alice",
    },
    Command {
        name: "user-enable",
        about: "Enable a user again",
        more: "",
        options: &["config", "db", "username"],
        example: "gossipper auth user-enable -config gossipper.json -username alice",
    },
    Command {
        name: "user-del",
        about: "Delete a user",
        more: "All logins of the user end. The last admin cannot be deleted.",
        options: &["config", "db", "username"],
        example: "gossipper auth user-del -config gossipper.json -username alice",
    },
    Command {
        name: "token-add",
        about: "Make a token for a program, such as Prometheus",
        more: "The token is printed once, alone on stdout, so that you can write it to a file that \
               others cannot read. The database keeps a hash.",
        options: &["config", "db", "name", "scope", "expires"],
        example: "gossipper auth token-add -config g.json -name prometheus -scope metrics",
    },
    Command {
        name: "token-list",
        about: "Show all tokens: scope, last use, end",
        more: "",
        options: &["config", "db", "json"],
        example: "gossipper auth token-list -config gossipper.json",
    },
    Command {
        name: "token-revoke",
        about: "Take a token out of use",
        more: "The daemon refuses it within a second.",
        options: &["config", "db", "name"],
        example: "gossipper auth token-revoke -config gossipper.json -name prometheus",
    },
];

/// The longest life of a token, in days; a longer one should have no end.
const TOKEN_DAYS_MAX: u64 = 3650;

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "refused or failed; nothing was changed"),
    ("2", "the command line cannot be read"),
];

/// The typed options.
#[derive(Default)]
struct Typed {
    config: Option<PathBuf>,
    db: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
    password_stdin: bool,
    role: Option<Role>,
    name: Option<String>,
    scope: Option<Scope>,
    life_s: Option<u64>,
    json: bool,
}

/// The purpose of the commands, in a line.
pub(super) const ABOUT: &str = "Add, list and change users and tokens of the API";

/// The definition for clap, for manuals and completions.
pub(super) fn definition() -> clap::Command {
    let arg = |name: &'static str| {
        let (_, value, help) = OPTIONS.iter().find(|(option, ..)| *option == name)?;
        let arg = Arg::new(name).long(name).help(*help);
        Some(match (*value, name) {
            ("", _) => arg.action(ArgAction::SetTrue),
            ("FILE", _) => arg.value_name("FILE").value_hint(ValueHint::FilePath),
            (value, "role") => arg.value_name(value).value_parser(Role::ALL.map(Role::as_str)),
            (value, "scope") => arg.value_name(value).value_parser(Scope::ALL.map(Scope::as_str)),
            (value, _) => arg.value_name(value),
        })
    };
    let command = |name: &'static str, about: &'static str| {
        clap::Command::new(name)
            .about(about)
            .disable_help_flag(true)
            .disable_help_subcommand(true)
            .disable_version_flag(true)
    };
    let commands = COMMANDS.iter().map(|this| {
        command(this.name, this.about).args(this.options.iter().filter_map(|name| arg(name)))
    });
    command("auth", ABOUT).subcommands(commands)
}

/// Reads the words after `gossipper auth`.
pub(super) fn parse(args: &[OsString]) -> Action {
    let Some(first) = args.first() else { return print(page(), 0) };
    let name = first.to_string_lossy();
    if is_help(&name) {
        return print(page(), 0);
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        let message =
            format!("there is no `gossipper auth {name}`; there are {}", names.join(", "));
        return fail(error_text(&message), EXIT_USAGE);
    };
    if args[1..].iter().any(|word| is_help(&word.to_string_lossy())) {
        return print(command_page(command), 0);
    }
    match read(command, &args[1..]).and_then(|typed| resolve(command, typed)) {
        Ok(command) => Action::Auth(Box::new(command)),
        Err(message) => {
            let mut text = error_text(&message);
            text.plain("\nOptions: ")
                .push(LITERAL, format!("gossipper auth {} -h", command.name))
                .plain("\n");
            fail(text, EXIT_USAGE)
        }
    }
}

/// The help page of `topic`, or of all commands.
pub(super) fn help(topic: Option<&OsString>) -> Action {
    let name = topic.map(|topic| topic.to_string_lossy()).unwrap_or_default();
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => print(command_page(command), 0),
        None => print(page(), 0),
    }
}

fn is_help(word: &str) -> bool {
    matches!(word, "-h" | "--h" | "-help" | "--help" | "help")
}

fn read(command: &Command, args: &[OsString]) -> Result<Typed, String> {
    let mut typed = Typed::default();
    let mut given: Vec<&str> = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let shown = word.to_string_lossy();
        let name = shown.strip_prefix("--").or_else(|| shown.strip_prefix('-'));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(format!("{shown:?} is not an option; give a name with -username"));
        };
        let known = OPTIONS.iter().find(|(option, ..)| *option == name);
        let Some((name, value, _)) = known.filter(|(name, ..)| command.options.contains(name))
        else {
            return Err(unknown(command, &shown, known.is_some()));
        };
        if given.contains(name) {
            return Err(format!("-{name} is given twice"));
        }
        given.push(name);
        let mut next = || {
            let usage = format!("-{name} needs a value: write -{name} {value}");
            words.next().ok_or(usage)
        };
        let text = |word: &OsString| {
            let text = word.to_str().map(str::to_owned);
            text.ok_or_else(|| format!("-{name}: {:?} is not UTF-8", word.to_string_lossy()))
        };
        match *name {
            "config" => typed.config = Some(PathBuf::from(next()?)),
            "db" => typed.db = Some(PathBuf::from(next()?)),
            "username" => typed.username = Some(text(next()?)?),
            "password" => typed.password = Some(text(next()?)?),
            "role" => {
                let role = text(next()?)?.parse();
                typed.role = Some(role.map_err(|error| format!("-role: {error}"))?);
            }
            "name" => typed.name = Some(text(next()?)?),
            "scope" => {
                let scope = text(next()?)?.parse();
                typed.scope = Some(scope.map_err(|error| format!("-scope: {error}"))?);
            }
            "expires" => typed.life_s = Some(life(&text(next()?)?)?),
            "json" => typed.json = true,
            // The only remaining option of the table.
            _ => typed.password_stdin = true,
        }
    }
    Ok(typed)
}

/// Reads a length of time in seconds.
fn life(text: &str) -> Result<u64, String> {
    let unit = text.char_indices().next_back().map_or(0, |(at, _)| at);
    let (number, unit) = text.split_at(unit);
    let unit_s = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let number = Some(number).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = number.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit_s));
    match seconds {
        Some(seconds) if (1..=TOKEN_DAYS_MAX * 86_400).contains(&seconds) => Ok(seconds),
        _ => Err(format!(
            "-expires: {text:?} is not a time from one minute to {TOKEN_DAYS_MAX} days; write a \
             number with m, h or d, as in 90d"
        )),
    }
}

fn unknown(command: &Command, shown: &str, is_of_another: bool) -> String {
    let options: Vec<_> = command.options.iter().map(|option| format!("-{option}")).collect();
    let what = if is_of_another { "takes no" } else { "knows no option" };
    format!("`auth {}` {what} {shown}; it takes {}", command.name, options.join(" "))
}

fn resolve(command: &Command, typed: Typed) -> Result<AuthCommand, String> {
    let database = match (typed.config, typed.db) {
        (Some(config), None) => UserDatabase::OfConfig(config),
        (None, Some(file)) => UserDatabase::File(file),
        (None, None) => {
            return Err(
                "name the users' database with -config FILE, the file of `gossipper server`, or \
                 with -db FILE"
                    .to_owned(),
            );
        }
        (Some(_), Some(_)) => return Err("give -config or -db, not both".to_owned()),
    };
    let password = match (typed.password, typed.password_stdin) {
        (Some(password), false) => NewPassword::Given(password),
        (None, true) => NewPassword::Stdin,
        (None, false) => NewPassword::Prompt,
        (Some(_), true) => return Err("give -password or -password-stdin, not both".to_owned()),
    };
    let needs = |option: &str| format!("`auth {}` needs -{option}", command.name);
    if command.name == "user-list" {
        return Ok(AuthCommand { database, task: AuthTask::List { json: typed.json } });
    }
    if command.name == "token-list" {
        return Ok(AuthCommand { database, task: AuthTask::ListTokens { json: typed.json } });
    }
    if command.name.starts_with("token-") {
        let name = typed.name.ok_or_else(|| needs("name NAME"))?;
        let task = match command.name {
            "token-add" => {
                let scope = typed.scope.ok_or_else(|| needs("scope SCOPE"))?;
                AuthTask::AddToken { name, scope, life_s: typed.life_s }
            }
            _ => AuthTask::RevokeToken { name },
        };
        return Ok(AuthCommand { database, task });
    }
    let username = typed.username.ok_or_else(|| needs("username NAME"))?;
    let task = match command.name {
        "user-add" => AuthTask::Add { username, password, role: typed.role },
        "user-passwd" => AuthTask::Passwd { username, password },
        "user-role" => {
            AuthTask::Role { username, role: typed.role.ok_or_else(|| needs("role ROLE"))? }
        }
        "user-disable" => AuthTask::Disable { username, disabled: true },
        "user-enable" => AuthTask::Disable { username, disabled: false },
        _ => AuthTask::Delete { username },
    };
    Ok(AuthCommand { database, task })
}

/// The page of `gossipper auth -h`.
fn page() -> StyledText {
    let mut page = StyledText::default();
    paragraph(
        &mut page,
        "Users of the API and tokens for programs, in the database that auth.sqlite_path names. \
         It works while the daemon runs, which notices within a second.",
    );
    heading(&mut page, "Usage");
    page.plain("  ").push(LITERAL, "gossipper auth").plain(" COMMAND [OPTIONS]\n");
    heading(&mut page, "Commands");
    for command in COMMANDS {
        entry(&mut page, command.name, command.about, "");
    }
    heading(&mut page, "Read on");
    entry(&mut page, "gossipper auth COMMAND -h", "Options of a command", "");
    entry(&mut page, "docs/authentication.md", "Roles, tokens, the first admin", "");
    page
}

fn command_page(command: &Command) -> StyledText {
    let mut page = StyledText::default();
    page.plain(format!("{}.\n", command.about));
    heading(&mut page, "Usage");
    page.plain("  ")
        .push(LITERAL, format!("gossipper auth {}", command.name))
        .plain(" [OPTIONS]\n");
    if !command.more.is_empty() {
        page.plain("\n");
        paragraph(&mut page, command.more);
    }
    heading(&mut page, "Options (with one dash or two)");
    for (name, value, help) in OPTIONS {
        if command.options.contains(name) {
            entry(&mut page, format!("-{name} {value}").trim_end(), help, "");
        }
    }
    heading(&mut page, "Example");
    page.plain("  ").push(LITERAL, command.example).plain("\n");
    heading(&mut page, "Exit codes");
    for (code, meaning) in EXIT_CODES {
        page.plain("  ").push(LITERAL, format!("{code:<5}")).plain(format!("{meaning}\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> Action {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn command(words: &str) -> AuthCommand {
        match line(words) {
            Action::Auth(command) => *command,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn refusal(words: &str) -> String {
        match line(words) {
            Action::Fail { text, exit_code: EXIT_USAGE } => text.to_string(),
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn lines_become_commands() {
        let database = UserDatabase::OfConfig("g.json".into());
        let username = "alice".to_owned();
        let password = NewPassword::Given("secret".to_owned());
        let add = AuthTask::Add { username, password, role: None };
        let expected = AuthCommand { database: database.clone(), task: add };
        assert_eq!(command("user-add -config g.json -username alice -password secret"), expected);
        assert_eq!(
            command("user-add --username alice --password secret --config g.json"),
            expected
        );
        let AuthTask::Add { password, role, .. } =
            command("user-add -db u.db -username bob -role viewer --password-stdin").task
        else {
            panic!()
        };
        assert_eq!((password, role), (NewPassword::Stdin, Some(Role::Viewer)));
        assert_eq!(
            command("user-passwd -db u.db -username bob"),
            AuthCommand {
                database: UserDatabase::File("u.db".into()),
                task: AuthTask::Passwd {
                    username: "bob".to_owned(),
                    password: NewPassword::Prompt
                },
            }
        );
        assert_eq!(command("user-list -db u.db -json").task, AuthTask::List { json: true });
        let task = |words: &str| command(&format!("{words} -db u.db -username bob")).task;
        let username = "bob".to_owned();
        assert_eq!(task("user-del"), AuthTask::Delete { username: username.clone() });
        let role = Role::Admin;
        assert_eq!(
            task("user-role -role ADMIN"),
            AuthTask::Role { username: username.clone(), role }
        );
        let disable = |disabled| AuthTask::Disable { username: username.clone(), disabled };
        assert_eq!(task("user-disable"), disable(true));
        assert_eq!(task("user-enable"), disable(false));
    }

    #[test]
    fn lines_about_tokens_become_commands() {
        let task = |words: &str| command(&format!("{words} -db u.db")).task;
        let name = "prometheus".to_owned();
        for (words, scope, life_s) in [
            ("-scope metrics", Scope::Metrics, None),
            ("-scope READ -expires 90d", Scope::Read, Some(90 * 86_400)),
            ("-scope operate --expires 12h", Scope::Operate, Some(12 * 3600)),
            ("-scope operate -expires 30m", Scope::Operate, Some(1800)),
        ] {
            let expected = AuthTask::AddToken { name: name.clone(), scope, life_s };
            assert_eq!(task(&format!("token-add -name prometheus {words}")), expected);
        }
        assert_eq!(task("token-list -json"), AuthTask::ListTokens { json: true });
        assert_eq!(task("token-revoke -name prometheus"), AuthTask::RevokeToken { name });
        for (words, expected) in [
            ("token-add -db b -scope read", "`auth token-add` needs -name NAME"),
            ("token-add -db b -name a", "`auth token-add` needs -scope SCOPE"),
            ("token-add -db b -name a -scope admin", "\"admin\" is not a scope"),
            ("token-revoke -db b", "`auth token-revoke` needs -name NAME"),
            ("token-list -db b -name a", "`auth token-list` takes no -name"),
        ] {
            let text = refusal(words);
            assert!(text.contains(expected), "{words}: {text}");
        }
        for time in ["90", "d", "0d", "1.5h", "-1h", "+1h", "3651d", "99999999999999999999d", "1é"]
        {
            let text = refusal(&format!("token-add -db b -name a -scope read -expires {time}"));
            assert!(text.contains("is not a time from one minute to 3650 days"), "{time}: {text}");
        }
    }

    #[test]
    fn a_value_may_look_like_an_option() {
        let AuthTask::Add { password, .. } =
            command("user-add -db u.db -username bob -password -username").task
        else {
            panic!()
        };
        assert_eq!(password, NewPassword::Given("-username".to_owned()));
    }

    #[test]
    fn mistakes_are_named() {
        for (words, expected) in [
            ("user-ad", "there is no `gossipper auth user-ad`; there are user-add, user-list"),
            ("user-add -username a -password b", "name the users' database with -config FILE"),
            ("user-add -config a -db b -username c", "give -config or -db, not both"),
            ("user-add -db b", "`auth user-add` needs -username NAME"),
            ("user-role -db b -username c", "`auth user-role` needs -role ROLE"),
            ("user-role -db b -username c -role root", "-role: \"root\" is not a role"),
            ("user-add -db b -user c", "`auth user-add` knows no option -user; it takes -config"),
            ("user-list -db b -role admin", "`auth user-list` takes no -role; it takes -config"),
            ("user-add -db", "-db needs a value: write -db FILE"),
            ("user-add -db a -db b", "-db is given twice"),
            ("user-add -db a alice", "\"alice\" is not an option; give a name with -username"),
            ("user-add -db a -", "\"-\" is not an option"),
            (
                "user-add -db a -username b -password c -password-stdin",
                "give -password or -password-stdin, not both",
            ),
        ] {
            let text = refusal(words);
            assert!(text.contains(expected), "{words}: {text}");
        }
    }

    #[test]
    fn every_option_of_a_command_is_in_the_table_and_used() {
        for command in COMMANDS {
            for option in command.options {
                assert!(OPTIONS.iter().any(|(name, ..)| name == option), "{option}");
            }
        }
        for (option, ..) in OPTIONS {
            assert!(COMMANDS.iter().any(|command| command.options.contains(option)), "{option}");
        }
    }

    #[test]
    fn pages_fit_into_80_columns() {
        for page in COMMANDS.iter().map(command_page).chain([page()]) {
            for line in page.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }
}
