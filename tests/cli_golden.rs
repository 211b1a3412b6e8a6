//! Pages and documents that are made from the flag table are what is committed.
//!
//! `UPDATE_GOLDEN=1 cargo test --test cli_golden` writes them anew.

use std::path::Path;
use std::{env, fs};

use gossipper::cli::{Action, compatibility_markdown, parse};

fn compare(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let rewrite = "UPDATE_GOLDEN=1 cargo test --test cli_golden";
    assert!(actual == expected, "{file} is out of date; look at it after: {rewrite}\n\n{actual}");
}

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
fn help_of_a_run() {
    let help = page(&["gossipper", "sipp", "-h"]);
    compare("tests/golden/help-sipp.txt", &help);
    for line in [&["gossipper", "help", "sipp"][..], &["gossipper", "sipp", "--help"]] {
        assert_eq!(page(line), help);
    }
    assert_eq!(page(&["sipp", "-h"]), help.replace("  gossipper sipp [", "  sipp ["));
}

#[test]
fn compatibility_table() {
    compare("docs/sipp-compatibility.md", &compatibility_markdown());
}
