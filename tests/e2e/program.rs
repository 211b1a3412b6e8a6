//! The program itself: exit codes, streams, colours.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::{env, fs, process};

const GOSSIPPER: &str = env!("CARGO_BIN_EXE_gossipper");

fn run(args: &[&str]) -> Output {
    Command::new(GOSSIPPER).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_version_names_program_number_and_platform() {
    for (line, code) in [
        (&["--version"][..], 0),
        (&["-version"], 0),
        (&["version"], 0),
        (&["sipp", "-v"], 99),
        (&["h", "-v"], 0),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(code));
        let expected = format!("gossipper {} (", env!("CARGO_PKG_VERSION"));
        assert!(stdout(&output).starts_with(&expected), "{}", stdout(&output));
    }
}

#[test]
fn a_link_named_sipp_has_the_exit_codes_of_sipp() {
    let folder = env::temp_dir().join(format!("gossipper-cli-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let link = folder.join("sipp");
    let _ = fs::remove_file(&link);
    symlink(GOSSIPPER, &link).unwrap();
    let exit_code = |args: &[&str]| Command::new(&link).args(args).output().unwrap().status.code();
    let codes = [&["-h"][..], &["-help"], &["-v"], &["-nonsense"]].map(exit_code);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(codes, [Some(99), Some(99), Some(99), Some(255)]);
}

#[test]
fn a_line_that_cannot_be_used_ends_with_255_and_says_why_on_stderr() {
    for line in [&["sipp", "-trace_stats"][..], &["-trace_stats"]] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(255));
        assert!(output.stdout.is_empty());
        let message = stderr(&output);
        for part in ["error: unknown option", "did you mean -trace_stat", "\nUsage: gossipper"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn commands_of_later_versions_fail_and_do_nothing() {
    for name in ["ui", "pcap2scenario", "report-html"] {
        for line in [&[name, "-h"][..], &["help", name]] {
            let output = run(line);
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            assert!(stderr(&output).contains(&format!("`{name}` is not in this version")));
        }
    }
}

#[test]
fn what_was_mistyped_is_suggested() {
    for (line, code, part) in [
        (&["servr", "-config", "x.json"][..], 1, "did you mean `gossipper server`?"),
        (&["sipp", "-ratee", "5"], 255, "did you mean -r"),
        (&["-rate", "5", "127.0.0.1"], 255, "did you mean -r"),
        (&["doctor", "--jsn"], 1, "did you mean -json?"),
        (&["help", "chekc"], 1, "did you mean \"check\"?"),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(code), "{line:?}");
        assert!(stderr(&output).contains(part), "{line:?}: {}", stderr(&output));
    }
    // A host of such a name can still be called.
    assert!(stderr(&run(&["servr"])).contains("gossipper sipp servr"));
}

#[test]
fn a_scenario_without_its_option_is_taken_for_no_host() {
    let told = stderr(&run(&["uac", "127.0.0.1"]));
    assert!(told.contains("a scenario is given with -sn uac"), "{told}");
}

#[test]
fn shell_and_form_have_pages_of_help() {
    for (name, part) in [("shell", "set NAME VALUE"), ("tui", "Enter on Start")] {
        for line in [&[name, "-h"][..], &[name, "--help"], &["help", name]] {
            let output = run(line);
            assert_eq!(output.status.code(), Some(0), "{line:?}");
            assert!(stdout(&output).contains(part), "{line:?}: {}", stdout(&output));
        }
    }
}

#[test]
fn a_pipe_gets_plain_text_unless_colours_are_asked_for() {
    let escape = '\u{1b}';
    assert!(!stdout(&run(&["sipp", "-h"])).contains(escape));
    assert!(stdout(&run(&["-color", "always", "-h"])).contains(escape));
    assert!(!stdout(&run(&["-color", "never", "-h"])).contains(escape));
    assert!(stderr(&run(&["-color", "always", "-nonsense"])).contains(escape));
    assert!(!stderr(&run(&["-nonsense"])).contains(escape));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        Command::new(GOSSIPPER).args(["sipp", "-h"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(99));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(GOSSIPPER).args(["sipp", "-h"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(255));
}
