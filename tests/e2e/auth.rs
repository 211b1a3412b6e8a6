//! `gossipper auth`: users of the API from the command line, by several processes at once.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::golden_file::compare;
use crate::harness::gossipper::PROGRAM;
use crate::harness::http::Client;
use crate::harness::scratch::Scratch;
use crate::harness::service::{self, Daemon, until};
use crate::harness::tty::Tty;
use crate::harness::{lock, ports};

const PASSWORD: &str = "kettle-orbit-plum";

/// A folder with a configuration and, later, the users.
struct Users {
    scratch: Scratch,
    config: String,
}

impl Users {
    fn new() -> Self {
        let scratch = Scratch::new();
        let config = scratch.write(
            "gossipper.json",
            r#"{
                "_comment": "Read as the server reads it.",
                "api_addr": "127.0.0.1:0",
                "auth": { "type": "internal", "sqlite_path": "users.db" },
                "server": { "role": "management", "local_ip": "127.0.0.1", "local_port": 0 }
            }"#,
        );
        Self { scratch, config }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["auth"]).args(line.split_whitespace());
        // The working directory is another one: paths are relative to the configuration.
        command.current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a line, with the configuration, to its end.
    #[track_caller]
    fn run(&self, line: &str) -> Output {
        self.command(line).args(["-config", &self.config]).output().unwrap()
    }

    /// Like [`Self::run`], with a password on stdin.
    fn start_with_stdin(&self, line: &str, input: &str) -> Child {
        let mut command = self.command(line);
        command.args(["-config", &self.config, "--password-stdin"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses before it reads closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child
    }

    #[track_caller]
    fn run_with_stdin(&self, line: &str, input: &str) -> Output {
        self.start_with_stdin(line, input).wait_with_output().unwrap()
    }

    #[track_caller]
    fn add(&self, username: &str, options: &str) {
        let line = format!("user-add -username {username} {options}");
        let output = self.run_with_stdin(&line, &format!("{PASSWORD}\n"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }

    /// Names and roles.
    #[track_caller]
    fn list(&self) -> Vec<(String, String)> {
        let output = self.run("user-list -json");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let users = value["users"].as_array().unwrap();
        users.iter().map(|user| (text(&user["username"]), text(&user["role"]))).collect()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Fails the test unless the line was refused with `code` and a text that contains `expected`.
#[track_caller]
fn expect_refusal(output: &Output, code: i32, expected: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("error: ") && text.contains(expected), "{text}");
    assert_eq!(stdout(output), "");
}

#[test]
fn users_are_added_listed_changed_and_deleted() {
    let users = Users::new();
    let output = users.run(&format!("user-add -username alice -password {PASSWORD}"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "user alice added with the role admin\n");
    assert!(stderr(&output).contains("can see a password on the command line"));
    let mode = fs::metadata(users.scratch.join("users.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!users.scratch.join("initial-admin-password").exists(), "nobody else is made");

    users.add("bob", "");
    users.add("carol", "-role viewer");
    let pair = |name: &str, role: &str| (name.to_owned(), role.to_owned());
    let expected = [pair("alice", "admin"), pair("bob", "operator"), pair("carol", "viewer")];
    assert_eq!(users.list(), expected);
    let table = stdout(&users.run("user-list"));
    assert!(table.starts_with("USERNAME  ROLE      LOGIN     ID\n"), "{table}");
    assert!(table.contains("\nbob       operator  enabled   2\n"), "{table}");

    let output = users.run("user-role -username bob -role admin");
    assert_eq!(stdout(&output), "bob has the role admin now; its logins have ended\n");
    let output = users.run("user-disable -username alice");
    assert_eq!(stdout(&output), "alice is disabled; its logins have ended\n");
    assert!(stdout(&users.run("user-list")).contains("alice     admin     disabled"));
    assert_eq!(stdout(&users.run("user-enable -username alice")), "alice may log in\n");
    let output = users.run_with_stdin("user-passwd -username carol", "another good phrase\r\n");
    assert_eq!(stdout(&output), "password of carol changed; its logins have ended\n");
    let output = users.run("user-del -username CAROL");
    assert_eq!(stdout(&output), "user carol deleted; its logins have ended\n");
    assert_eq!(users.list(), [pair("alice", "admin"), pair("bob", "admin")]);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason_and_changes_nothing() {
    let users = Users::new();
    expect_refusal(&users.run("user-list"), 1, "there is no user database");
    assert!(!users.scratch.join("users.db").exists(), "looking makes no database");
    users.add("alice", "");
    let before = users.list();

    let taken = users.run_with_stdin("user-add -username Alice", PASSWORD);
    expect_refusal(&taken, 1, "there is a user alice already; `gossipper auth user-passwd`");
    let short = users.run_with_stdin("user-add -username bob", "1234567\n");
    expect_refusal(&short, 1, "the password has 7 characters");
    let long = users.run_with_stdin("user-add -username bob", &"x y ".repeat(300));
    expect_refusal(&long, 1, "it may have 1024 at most");
    let common = users.run_with_stdin("user-add -username bob", "P@ssw0rd2026\n");
    expect_refusal(&common, 1, "attackers try first");
    let empty = users.run_with_stdin("user-add -username bob", "");
    expect_refusal(&empty, 1, "stdin has no password");
    let nobody = users.run("user-add -username bob");
    expect_refusal(&nobody, 1, "there is no terminal to ask for the password");
    let name = users.run_with_stdin("user-add -username b/b", PASSWORD);
    expect_refusal(&name, 1, "\"b/b\" cannot be the name of a user");
    expect_refusal(&users.run("user-del -username bob"), 1, "there is no user bob");
    expect_refusal(&users.run("user-del -username alice"), 1, "alice is the last admin");
    expect_refusal(&users.run("user-disable -username alice"), 1, "alice is the last admin");
    let demoted = users.run("user-role -username alice -role viewer");
    expect_refusal(&demoted, 1, "alice is the last admin who can log in");

    expect_refusal(&users.run("user-add -user bob"), 2, "knows no option -user");
    expect_refusal(&users.run("user-frob"), 2, "there is no `gossipper auth user-frob`");
    let missing = users.command("user-list -config missing.json").output().unwrap();
    expect_refusal(&missing, 1, "missing.json");
    assert_eq!(users.list(), before);
}

#[test]
fn a_configuration_without_users_is_refused_by_name() {
    let users = Users::new();
    let open = users.scratch.write(
        "open.json",
        r#"{ "api_addr": "127.0.0.1:0", "server": { "role": "management", "local_port": 0 } }"#,
    );
    let output = users.command("user-list").args(["-config", &open]).output().unwrap();
    expect_refusal(&output, 1, "open.json");
    assert!(stderr(&output).contains("\"type\": \"internal\""), "{}", stderr(&output));
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let users = Users::new();
    let path = users.scratch.write("users.db", &"no database\n".repeat(1000));
    expect_refusal(&users.run("user-list"), 1, "users.db is damaged or is not an SQLite database");
    let added = users.run_with_stdin("user-add -username alice", PASSWORD);
    expect_refusal(&added, 1, "users.db is damaged");
    assert!(fs::read_to_string(path).unwrap().starts_with("no database\n"));
}

#[test]
fn processes_that_write_at_once_lose_nothing_and_one_of_them_is_first() {
    // Each waits five seconds at most for the others, which wait for the disk.
    let _turn = lock::heavy();
    let users = Users::new();
    let children: Vec<_> = (0..6)
        .map(|number| {
            let line = format!("user-add -username user{number}");
            users.start_with_stdin(&line, &format!("{PASSWORD}\n"))
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let list = users.list();
    assert_eq!(list.len(), 6);
    assert_eq!(list.iter().filter(|(_, role)| role == "admin").count(), 1, "{list:?}");
}

#[test]
fn of_many_who_add_the_same_name_one_succeeds() {
    let users = Users::new();
    let add = || users.start_with_stdin("user-add -username alice", &format!("{PASSWORD}\n"));
    let children: Vec<_> = (0..4).map(|_| add()).collect();
    let codes: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().unwrap().status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(1)).count(), 3, "{codes:?}");
}

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    let users = Users::new();
    let line = format!("{PROGRAM} auth user-add -config {} -username alice", users.config);
    let mut tty = Tty::start(&line);
    let at = tty.wait_for(0, "Password of alice: ");
    tty.press("kettle-orbit-plumx\x7f\r");
    let at = tty.wait_for(at, "Again: ");
    tty.press("kettle-orbit-plum\r");
    tty.wait_for(at, "user alice added with the role admin");
    assert!(!tty.screen().contains("kettle"), "{}", tty.screen());
    assert_eq!(tty.finish(), 0);
    assert_eq!(users.list().len(), 1);
}

#[test]
fn a_terminal_is_given_back_when_two_answers_differ_or_it_is_cancelled() {
    let users = Users::new();
    let line = format!("{PROGRAM} auth user-add -config {} -username alice", users.config);
    let mut tty = Tty::start(&line);
    let at = tty.wait_for(0, "Password of alice: ");
    tty.press("kettle-orbit-plum\r");
    let at = tty.wait_for(at, "Again: ");
    tty.press("kettle-orbit-plump\r");
    tty.wait_for(at, "error: the two passwords differ; nothing was changed");
    assert_eq!(tty.finish(), 1);

    let mut tty = Tty::start(&line);
    let at = tty.wait_for(0, "Password of alice: ");
    tty.press("kettle\x03");
    tty.wait_for(at, "error: cancelled; nothing was changed");
    assert_eq!(tty.finish(), 1);
    assert!(users.list().is_empty());
}

/// A daemon with users, and a client whose requests seem to come through a proxy from elsewhere.
fn daemon_with_users() -> (Daemon, Client) {
    let config = json!({
        "api_addr": "127.0.0.1:0",
        "auth": { "type": "internal", "sqlite_path": "users.db" },
        "trusted_proxies": ["127.0.0.1"],
        "server": { "role": "management", "local_ip": "127.0.0.1", "local_port": ports::free() },
    });
    let daemon = service::start(&config);
    // On this host, metrics are open.
    let client = daemon.client().with("X-Forwarded-For", "192.0.2.9");
    (daemon, client)
}

fn auth(daemon: &Daemon, line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("auth").args(line.split_whitespace());
    command.arg("-config").arg(daemon.path("gossipper.json")).output().unwrap()
}

/// Makes a token.
#[track_caller]
fn token(daemon: &Daemon, options: &str) -> String {
    let output = auth(daemon, &format!("token-add {options}"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let token = text.strip_suffix('\n').expect("one line");
    assert!(token.starts_with("gsp_") && token.len() == 68, "{token}");
    assert!(!stderr(&output).contains(token), "it is shown once");
    token.to_owned()
}

/// Waits until it `is_so`.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}

fn listed(daemon: &Daemon) -> Vec<Value> {
    let output = auth(daemon, "token-list -json");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["tokens"].as_array().unwrap().clone()
}

#[test]
fn a_token_for_a_program_reaches_its_scope_and_no_more() {
    let _lock = lock::light();
    let (daemon, client) = daemon_with_users();
    client.get("/metrics").error(401);
    let metrics = client.bearer(&token(&daemon, "-name prometheus -scope metrics -expires 90d"));
    let read = client.bearer(&token(&daemon, "-name wall -scope read"));
    let operate = client.bearer(&token(&daemon, "-name ci -scope operate"));
    // The daemon looks twice a second.
    wait_until("the tokens are known", || operate.get("/metrics").status == 200);
    let pause = json!({ "paused": true });
    for (name, client, stats, control) in [
        ("metrics", &metrics, 403, 403),
        ("read", &read, 200, 403),
        ("operate", &operate, 200, 200),
    ] {
        client.get("/metrics").expect(200);
        assert_eq!(client.get("/api/v1/stats").status, stats, "{name}");
        assert_eq!(client.post("/api/v1/control", &pause).status, control, "{name}");
        let ticket = client.post("/api/v1/live/ticket", &json!({}));
        assert_eq!(ticket.status, stats, "{name}");
        // The token is no login.
        assert_eq!(client.post("/api/v1/auth/logout", &json!({})).status, 403, "{name}");
    }
    assert!(metrics.get("/api/v1/stats").error(403).contains("for /metrics only"));
    let me = read.get("/api/v1/me").expect(200).json();
    assert_eq!((&me["username"], &me["role"]), (&json!("token:wall"), &json!("viewer")));
    // The audit log names the token.
    let database = rusqlite::Connection::open(daemon.path("users.db")).unwrap();
    let sql = "SELECT username, source FROM audit_log WHERE action = 'control.set'";
    let row = database.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(row.unwrap(), ("token:ci".to_owned(), "192.0.2.9".to_owned()));
    // The file contains no part of a token.
    let file = fs::read(daemon.path("users.db")).unwrap();
    assert!(!file.windows(4).any(|bytes| bytes == b"gsp_"));
    wait_until("its use is noted", || {
        listed(&daemon).iter().all(|token| token["last_used_at"].is_i64())
    });
    daemon.stop();
}

#[test]
fn a_token_that_is_revoked_or_expired_opens_nothing() {
    let _lock = lock::light();
    let (daemon, client) = daemon_with_users();
    let first = client.bearer(&token(&daemon, "-name wall -scope read"));
    let other = client.bearer(&token(&daemon, "-name other -scope read -expires 1h"));
    wait_until("the tokens are known", || other.get("/api/v1/stats").status == 200);
    let mut live = first.websocket("/api/v1/live?interval_ms=250").expect("let in");
    live.frame();
    let output = auth(&daemon, "token-revoke -name WALL");
    assert!(stdout(&output).starts_with("token wall revoked"), "{}", stderr(&output));
    wait_until("it is refused", || first.get("/api/v1/stats").status == 401);
    assert!(first.get("/api/v1/stats").error(401).contains("no such token"));
    assert_eq!(live.close_code(), 1008);
    // The same name is another token.
    let second = client.bearer(&token(&daemon, "-name wall -scope read"));
    wait_until("the new one is known", || second.get("/api/v1/stats").status == 200);
    first.get("/api/v1/stats").error(401);
    let database = rusqlite::Connection::open(daemon.path("users.db")).unwrap();
    database.execute("UPDATE api_tokens SET expires_at = 1 WHERE name = 'other'", ()).unwrap();
    wait_until("it has expired", || other.get("/api/v1/stats").status == 401);
    assert!(other.get("/api/v1/stats").error(401).contains("expired"));
    let table = stdout(&auth(&daemon, "token-list"));
    assert!(table.starts_with("NAME      SCOPE     MADE"), "{table}");
    let line = table.lines().find(|line| line.starts_with("other ")).expect("a line");
    assert!(line.ends_with("  expired"), "{table}");
    daemon.stop();
}

#[test]
fn tokens_that_cannot_be_made_or_found_are_told_with_what_to_do() {
    let users = Users::new();
    let add = "token-add -name prometheus -scope metrics";
    expect_refusal(&users.run(add), 1, "there is no user database");
    users.add("alice", "");
    assert_eq!(users.run(add).status.code(), Some(0));
    expect_refusal(&users.run(add), 1, "there is a token prometheus already");
    let name = users.run("token-add -name a:b -scope metrics");
    expect_refusal(&name, 1, "\"a:b\" cannot be the name of a token");
    let revoke = users.run("token-revoke -name wall");
    expect_refusal(&revoke, 1, "there is no token wall; `gossipper auth token-list`");
}

#[test]
fn help_of_the_commands() {
    let help = |line: &str| {
        let output = Command::new(PROGRAM).args(line.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        stdout(&output)
    };
    let mut pages = help("auth -h");
    assert_eq!(help("auth"), pages);
    assert_eq!(help("help auth"), pages);
    let commands: Vec<_> = pages
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("user-") || line.starts_with("token-"))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(commands.len(), 10);
    for command in commands {
        let page = help(&format!("auth {command} --help"));
        assert_eq!(help(&format!("help auth {command}")), page);
        pages.push_str(&format!("\n$ gossipper auth {command} -h\n{page}"));
    }
    compare("tests/golden/help-auth.txt", &pages);
}
