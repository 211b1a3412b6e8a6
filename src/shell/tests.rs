//! Unit tests of the shell's lines.

use super::*;

fn text(session: &mut Session, line: &str) -> String {
    match session.line(line) {
        Answer::Text(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(session: &mut Session, line: &str) -> String {
    match session.line(line) {
        Answer::Refused(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn options(session: &mut Session) -> String {
    match session.line("run") {
        Answer::Run(options) => options.join(" "),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_become_options() {
    let mut session = Session::default();
    for line in [
        "# a comment",
        "set destination_host 192.0.2.1",
        "set destination_port 5070",
        "set builtin_scenario uac",
        "set calls_per_second 50",
        "set -m 100",
        "set r 60",
        "set key name \"two words\"",
    ] {
        assert_eq!(text(&mut session, line), "");
    }
    assert_eq!(options(&mut session), "-sn uac -m 100 -r 60 -key name two words 192.0.2.1:5070");
    let shown = text(&mut session, "show");
    assert!(shown.contains("calls_per_second     60"), "{shown}");
    assert!(shown.contains("-key name 'two words' 192.0.2.1:5070\n"), "{shown}");
    text(&mut session, "unset -key");
    text(&mut session, "unset destination_port");
    text(&mut session, "set scenario_file a.xml");
    assert_eq!(options(&mut session), "-m 100 -r 60 -sf a.xml 192.0.2.1");
    text(&mut session, "reset");
    text(&mut session, "set destination_host ::1");
    text(&mut session, "set destination_port 5");
    assert_eq!(options(&mut session), "[::1]:5");
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut session = Session::default();
    assert!(refused(&mut session, "frobnicate").contains("no command"));
    assert!(refused(&mut session, "set calls_per_secnod 5").contains("`calls_per_second`"));
    assert!(refused(&mut session, "set r").contains("-r RATE"));
    let why = refused(&mut session, "set calls_per_second fast");
    assert!(why.starts_with("calls_per_second: ") && why.contains("fast"), "{why}");
    let why = refused(&mut session, "set destination host:port:5");
    assert!(why.starts_with("destination: "), "{why}");
    assert!(refused(&mut session, "set r 1 2").contains("1 values"));
    assert!(refused(&mut session, "set rtp_send true").contains("no setting"));
    assert!(refused(&mut session, "set plugin x").contains("not in this version"));
    assert!(refused(&mut session, "set h").contains("not a setting"));
    assert!(refused(&mut session, "set s \"open").contains("not closed"));
    assert!(refused(&mut session, "run now").contains("arguments of `run`"));
    assert!(refused(&mut session, "set r -5").contains("out of range"));
    // Each setting is valid by itself.
    text(&mut session, "set users 5");
    text(&mut session, "set rate_max 5");
    assert!(refused(&mut session, "check").contains("-rate_max"));
    assert!(refused(&mut session, "run").contains("-rate_max"));
}

#[test]
fn the_wizard_asks_and_keeps_what_is_there() {
    let mut session = Session::default();
    text(&mut session, "wizard");
    assert!(session.prompt().contains("[uac]"));
    text(&mut session, "");
    text(&mut session, "192.0.2.9:5060");
    // A wrong answer is asked for again.
    assert!(session.prompt().starts_with("Transport"));
    text(&mut session, "t1");
    text(&mut session, "20");
    text(&mut session, "");
    let last = text(&mut session, "1s");
    assert!(last.contains("`run` runs it"), "{last}");
    assert_eq!(session.prompt(), "gossipper> ");
    assert_eq!(options(&mut session), "-sn uac -t t1 -r 20 -m 10 -d 1s 192.0.2.9:5060");
    text(&mut session, "wizard");
    text(&mut session, "uas");
    assert!(session.prompt().contains("192.0.2.9:5060"));
    text(&mut session, "none");
    assert!(text(&mut session, "q").contains("has ended"));
    assert_eq!(options(&mut session), "-t t1 -r 20 -m 10 -d 1s -sn uas");
}

#[test]
fn names_are_completed() {
    assert_eq!(Session::completions("wi"), ["wizard"]);
    assert_eq!(Session::completions("set calls_"), ["calls_per_second"]);
    assert!(Session::completions("set -trace_m").contains(&"-trace_msg".to_owned()));
    assert!(Session::completions("set sn ").contains(&"uas".to_owned()));
    assert!(Session::completions("set r 5").is_empty());
}

#[test]
fn passwords_are_not_shown() {
    let mut session = Session::default();
    text(&mut session, "set auth_password hush");
    assert!(!text(&mut session, "show").contains("hush"));
}

#[test]
fn a_script_ends_at_its_first_bad_line() {
    assert_eq!(read_script(&mut "# nothing\nset r 5\nquit\nnonsense\n".as_bytes()), 0);
    assert_eq!(read_script(&mut "nonsense\nquit\n".as_bytes()), EXIT_BAD_LINE);
    assert_eq!(read_script(&mut &b"set s \xff\xfe\n"[..]), 0);
}
