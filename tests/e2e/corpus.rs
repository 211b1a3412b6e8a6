//! `make corpus-check`: scenario files compiled with ours and with SIPp.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::gossipper::PROGRAM;
use crate::harness::process::{Finished, Process};
use crate::harness::scratch::Scratch;
use crate::harness::{lock, tools};

/// The file that a scenario writes if its steps are run.
const TRACE: &str = "steps-were-run";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares the files in `folder`.
#[track_caller]
fn corpus_check(folder: &Path) -> Finished {
    tools::need("sipp");
    tools::need("python3");
    let mut command = Command::new(root().join("scripts/corpus-check.py"));
    command
        .args(["--gossipper", PROGRAM])
        .arg(folder)
        .env("CORPUS_CHECK_TRACE", folder.join(TRACE));
    Process::spawn(command).finish()
}

#[track_caller]
fn expect_last_line(finished: &Finished, line: &str) {
    assert_eq!(finished.stdout.lines().next_back(), Some(line), "{}", finished.stdout);
}

/// A copy of `tests/data/corpus`, to which a test may add.
fn corpus() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("deeper")).unwrap();
    for name in
        ["answers.xml", "deeper/unknown_keyword.xml", "init.xml", "media.xml", "no_scenario.xml"]
    {
        fs::copy(root().join("tests/data/corpus").join(name), scratch.join(name)).unwrap();
    }
    scratch
}

#[test]
fn scenarios_on_which_both_agree_are_no_difference() {
    let _turn = lock::light();
    let scratch = corpus();
    let finished = corpus_check(scratch.path()).expect_code(0);
    expect_last_line(
        &finished,
        "4 scenarios: 3 loaded by both, 1 refused by both, 0 refused by ours alone, 0 loaded by ours alone",
    );
    assert!(!scratch.join(TRACE).exists(), "the steps of <init> were run");
}

#[test]
fn a_difference_is_told_by_kind_with_its_file_whatever_the_name_and_fails() {
    let _turn = lock::light();
    let scratch = corpus();
    // SIPp does not find the root of a file without an XML declaration.
    let answers = fs::read_to_string(scratch.join("answers.xml")).unwrap();
    let bare = answers.split_once('\n').unwrap().1;
    fs::write(scratch.path().join(OsStr::from_bytes(b"-odd \xff name.XML")), bare).unwrap();
    fs::write(scratch.join("bare.xml"), bare).unwrap();
    let finished = corpus_check(scratch.path()).expect_code(1);
    expect_last_line(
        &finished,
        "6 scenarios: 3 loaded by both, 1 refused by both, 0 refused by ours alone, 2 loaded by ours alone",
    );
    assert!(
        finished.stdout.contains("\nours loads, SIPp refuses: 2\n     2  Unable to load or parse")
    );
    assert!(finished.stdout.contains(r"/-odd \udcff name.XML"), "{}", finished.stdout);
}

#[test]
fn a_folder_without_scenarios_is_not_taken_for_one_without_differences() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    scratch.write("empty.xml", "<?xml version=\"1.0\"?>\n<phonebook/>\n");
    let finished = corpus_check(scratch.path()).expect_code(2);
    assert!(finished.stderr.contains("no scenario files below"), "{}", finished.stderr);
}
