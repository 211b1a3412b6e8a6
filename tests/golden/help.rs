//! Pages and documents that are made from the flag table equal the committed ones.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden help` writes them anew.

use gossipper::cli::{Action, compatibility_markdown, parse};

use crate::golden_file::compare;

fn page(line: &[&str]) -> String {
    match parse(line.iter().map(Into::into).collect()) {
        Action::Print { text, .. } => text.to_string(),
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn help_of_the_program() {
    let help = page(&["gossipper", "--help"]);
    compare("tests/golden/help.txt", &help);
    for line in [&["gossipper", "help"][..], &["gossipper", "-h"], &["gossipper"]] {
        assert_eq!(page(line), help);
    }
}

#[test]
fn help_of_the_server() {
    let help = page(&["gossipper", "server", "-h"]);
    compare("tests/golden/help-server.txt", &help);
    assert_eq!(page(&["gossipper", "help", "server"]), help);
    let help = page(&["gossipper", "config", "check", "-h"]);
    compare("tests/golden/help-config.txt", &help);
    for line in [&["gossipper", "help", "config"][..], &["gossipper", "config"]] {
        assert_eq!(page(line), help);
    }
}

#[test]
fn help_of_a_run() {
    let help = page(&["gossipper", "sipp", "-h"]);
    compare("tests/golden/help-sipp.txt", &help);
    for line in [&["gossipper", "help", "sipp"][..], &["gossipper", "sipp", "--help"]] {
        assert_eq!(page(line), help);
    }
    assert_eq!(page(&["sipp", "-h"]), help.replace("  gossipper sipp [", "  sipp ["));
}

#[test]
fn help_of_the_commands_for_files_and_the_host() {
    for (command, file) in [
        ("check", "tests/golden/help-check.txt"),
        ("doctor", "tests/golden/help-doctor.txt"),
        ("tune", "tests/golden/help-tune.txt"),
    ] {
        let help = page(&["gossipper", command, "-h"]);
        compare(file, &help);
        for line in [&["gossipper", "help", command][..], &["gossipper", command, "--help"]] {
            assert_eq!(page(line), help);
        }
    }
}

#[test]
fn compatibility_table() {
    compare("docs/sipp-compatibility.md", &compatibility_markdown());
}
