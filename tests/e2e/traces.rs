//! Trace and statistics files of real runs: against SIPp's own files of the same run, and against
//! what the scenario is known to do.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{gossipper, lock, ports, scratch::Scratch, sipp};

/// Calls of the run that is compared; every fifth is refused.
const CALLS: u64 = 50;

/// An answerer that refuses every fifth call.
const REFUSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/refusing_uas.xml");

/// Path of the one file of `folder` whose name ends in `end`.
#[track_caller]
fn file(folder: &Path, end: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{end}: {found:?}");
    found[0].clone()
}

#[track_caller]
fn read(folder: &Path, end: &str) -> String {
    String::from_utf8_lossy(&fs::read(file(folder, end)).unwrap()).into_owned()
}

/// Header and last row of a CSV file.
fn last_row(text: &str) -> (Vec<String>, HashMap<String, String>) {
    let mut lines = text.lines();
    let split = |line: &str| line.split(';').map(str::to_owned).collect::<Vec<String>>();
    let names = split(lines.next().unwrap_or_default());
    let values = split(lines.last().unwrap_or_default());
    assert_eq!(names.len(), values.len());
    (names.clone(), names.into_iter().zip(values).collect())
}

/// The shape of a value: digits as 9, so that a number of any length is one 9.
fn shape(value: &str) -> String {
    let mut shape = String::new();
    for character in value.chars() {
        let character = if character.is_ascii_digit() { '9' } else { character };
        if character != '9' || !shape.ends_with('9') {
            shape.push(character);
        }
    }
    shape
}

const TRACES: [&str; 11] = [
    "-trace_stat",
    "-trace_counts",
    "-trace_rtt",
    "-rtt_freq",
    "1",
    "-trace_error_codes",
    "-trace_msg",
    "-trace_shortmsg",
    "-trace_err",
    "-trace_logs",
    "-trace_calldebug",
];

#[test]
fn statistics_have_the_columns_and_numbers_of_sipp() {
    let _turn = lock::heavy();
    let scratch = Scratch::new();
    // The scenario of both callers is the same file, so that they count the same.
    let uac = gossipper::run(&["-sd", "uac"]).finished.stdout;
    fs::write(scratch.join("uac.xml"), uac).unwrap();
    let scenario = scratch.join("uac.xml").to_string_lossy().into_owned();
    let count = CALLS.to_string();
    let load = ["-sf", &scenario, "-i", "127.0.0.1", "-m", &count, "-r", "100", "-d", "20"];

    let port = ports::free();
    let server = sipp::serve(port, &["-sf", REFUSING, "-m", &count, "-i", "127.0.0.1"]);
    let remote = format!("127.0.0.1:{port}");
    let ours = gossipper::start(&[&load[..], &TRACES, &["-p", "0", &remote]].concat());
    let (ours, folder) = ours.finish_with_files();
    ours.expect_code(1);
    drop(server.finish());

    let port = ports::free();
    let server = sipp::serve(port, &["-sf", REFUSING, "-m", &count, "-i", "127.0.0.1"]);
    let (remote, port) = (format!("127.0.0.1:{port}"), ports::free().to_string());
    let traces: Vec<&str> = TRACES.iter().copied().filter(|flag| *flag != "-trace_stat").collect();
    let theirs = sipp::start(&[&load[..], &traces, &["-p", &port, &remote]].concat());
    let (theirs, their_folder) = theirs.finish_with_files();
    drop(server.finish());

    let (names, values) = last_row(&read(folder.path(), "_.csv"));
    let (their_names, their_values) = last_row(&read(their_folder.path(), "statistics.csv"));
    assert_eq!(names, their_names);
    assert_eq!(theirs.number("FailedCall"), CALLS / 5);
    for name in &names {
        let (value, their_value) = (&values[name], &their_values[name]);
        let is_count = name.ends_with("(C)") && !name.contains("Time") && !name.contains("Length");
        // Durations and times of calls differ from run to run.
        if is_count && !name.starts_with("CallRate") {
            assert_eq!(value, their_value, "{name}");
        }
        if !name.starts_with("CallRate") {
            assert_eq!(shape(value), shape(their_value), "{name}");
        }
    }
    for (name, count) in [
        ("TotalCallCreated", CALLS),
        ("OutgoingCall(C)", CALLS),
        ("SuccessfulCall(C)", CALLS * 4 / 5),
        ("FailedCall(C)", CALLS / 5),
        ("FailedUnexpectedMessage(C)", CALLS / 5),
        ("FailedMaxUDPRetrans(C)", 0),
        ("Retransmissions(C)", 0),
        ("CurrentCall", 0),
    ] {
        assert_eq!(values[name], count.to_string(), "{name}");
    }

    let (names, values) = last_row(&read(folder.path(), "_counts.csv"));
    let (their_names, their_values) = last_row(&read(their_folder.path(), "_counts.csv"));
    assert_eq!(names, their_names);
    for name in names.iter().skip(2) {
        assert_eq!(values[name], their_values[name], "{name}");
    }

    for name in ["_shortmessages.log", "_rtt.csv", "_error_codes.csv"] {
        let (text, their_text) = (read(folder.path(), name), read(their_folder.path(), name));
        let line = |text: &str| text.lines().nth(1).unwrap_or_default().to_owned();
        if name == "_shortmessages.log" {
            assert_eq!(text.lines().count(), their_text.lines().count(), "{name}");
            let columns = |line: String| line.split('\t').count();
            assert_eq!(columns(line(&text)), columns(line(&their_text)), "{name}");
        }
        let refused = |text: &str| match name {
            "_error_codes.csv" => text.matches("486,").count(),
            "_shortmessages.log" => text.matches("\tSIP/2.0 486 ").count(),
            _ => 0,
        };
        assert_eq!(refused(&text), refused(&their_text), "{name}");
    }
    // Both have 40 calls of six messages and 10 of three, of which one is unexpected.
    for (text, what) in
        [("UDP message sent (", 140), ("UDP message received [", 130), ("Unexpected UDP", 10)]
    {
        assert_eq!(read(folder.path(), "_messages.log").matches(text).count(), what, "{text}");
        assert_eq!(read(their_folder.path(), "_messages.log").matches(text).count(), what);
    }
    for (name, aborted) in [
        ("errors.log", "Aborting call on unexpected message for Call-Id '"),
        ("_calldebug.log", "Call debugging information for call "),
    ] {
        for folder in [&folder, &their_folder] {
            let text = read(folder.path(), name);
            assert_eq!(text.matches(aborted).count() as u64, CALLS / 5, "{name}");
        }
    }
    // An optional message leaves the call at its step.
    for folder in [&folder, &their_folder] {
        let stands = "': while expecting '100' (index 1), received 'SIP/2.0 486 ";
        let text = read(folder.path(), "errors.log");
        assert_eq!(text.matches(stands).count() as u64, CALLS / 5, "{text}");
    }
    assert_eq!(read(folder.path(), "_rtt.csv").lines().count() as u64, 1 + CALLS * 4 / 5);
}

#[test]
fn our_own_files_tell_of_the_same_run() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sf", REFUSING, "-m", "10", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let load = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "10", "-r", "100", "-d", "10"];
    let format = ["-trace_format", "gossipper", "-message_file", "m.log", "-trace_screen"];
    let run = gossipper::start(&[&load[..], &TRACES, &format, &[&remote]].concat());
    let (over, folder) = run.finish_with_files();
    over.expect_code(1);
    server.finish().expect_code(0);
    let folder = folder.path();
    let stat = read(folder, "m_stats.log");
    let names: Vec<&str> = stat.lines().next().unwrap().split(',').collect();
    let values: Vec<&str> = stat.lines().last().unwrap().split(',').collect();
    let value = |name: &str| values[names.iter().position(|known| *known == name).unwrap()];
    assert_eq!((value("total_calls"), value("success_calls")), ("10", "8"));
    assert_eq!((value("failure_unexpected_sip"), value("success_ratio")), ("2", "0.800000"));
    assert_eq!(read(folder, "m_rtt.log").lines().count(), 1 + 8);
    assert_eq!(read(folder, "m_error_codes.log").matches(",486,Busy Here,").count(), 2);
    assert_eq!(read(folder, "m_errors.log").matches(" unexpected-sip[").count(), 2);
    assert_eq!(read(folder, "m_shortmessages.log").lines().count(), 1 + 8 * 6 + 2 * 3);
    assert_eq!(read(folder, "m.log").matches("\r\nCall-ID: ").count(), 8 * 6 + 2 * 3);
    let counts = read(folder, "m_counts.log");
    assert!(counts.starts_with("timestamp,0_INVITE_sent,0_INVITE_recv,0_INVITE_unexp,1_RESP_100_"));
    assert!(read(folder, "m_screen.log").lines().count() >= 2);
}

#[test]
fn full_files_are_put_aside() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-m", "40", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let load = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "40", "-r", "200", "-d", "10"];
    let traces = ["-trace_msg", "-ringbuffer_size", "8000", "-ringbuffer_files", "3"];
    let run = gossipper::start(&[&load[..], &traces, &[&remote]].concat());
    let (over, folder) = run.finish_with_files();
    over.expect_code(0);
    server.finish().expect_code(0);
    let sizes: Vec<(String, u64)> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len())
        })
        .filter(|(name, _)| name.contains("_messages"))
        .collect();
    assert_eq!(sizes.len(), 4, "{sizes:?}");
    for (name, size) in &sizes {
        let is_current = name.ends_with("_messages.log");
        assert!(is_current || (8000..10_000).contains(size), "{sizes:?}");
        assert!(!is_current || *size <= 10_000, "{sizes:?}");
    }
}

#[test]
fn a_file_that_cannot_be_created_ends_the_run_before_the_first_call() {
    let _turn = lock::light();
    for (flags, path) in [
        (["-trace_msg", "-message_file", "nowhere/m.log"], "nowhere/m.log"),
        (["-trace_err", "-error_file", "."], "."),
    ] {
        let line = [&["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "127.0.0.1:9"], &flags[..]];
        let over = gossipper::run(&line.concat()).expect_code(255);
        let said = &over.finished.stderr;
        assert!(said.contains(&format!("cannot create {path}: ")), "{said}");
        assert!(said.contains("hint: "), "{said}");
        assert!(over.summary.is_none());
    }
}

#[test]
fn a_full_disk_is_told_and_counted() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-m", "20", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let load = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "20", "-r", "50", "-d", "10"];
    let traces = ["-trace_msg", "-message_file", "/dev/full"];
    let over = gossipper::run(&[&load[..], &traces, &[&remote]].concat()).expect_code(0);
    server.finish().expect_code(0);
    let said = &over.finished.stderr;
    // One complaint at once, and one at the end with all later losses.
    assert!((1..=2).contains(&said.matches("cannot write /dev/full").count()), "{said}");
    let lost = over.summary().number("/traces/unwritten_bytes");
    assert!(lost > 40_000, "{lost}");
}
