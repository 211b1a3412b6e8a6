//! Reports of failed calls, in every place where users look for them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness;
use crate::harness::peer::Peer;
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock};
use crate::summary_schema;

const WHAT: &str = "503 Out of ?[2Jorder to INVITE (step 1)";

/// Refuses `calls` calls, in words that would wipe a terminal; returns the first Call-ID.
fn refuse(peer: &Peer, calls: usize) -> String {
    let mut first = String::new();
    for _ in 0..calls {
        let invite = peer.receive_kind("INVITE");
        peer.answer(&invite, "503 Out of \x1b[2Jorder", "");
        peer.receive_kind("ACK");
        if first.is_empty() {
            invite.header("Call-ID").clone_into(&mut first);
        }
    }
    first
}

#[test]
fn the_report_and_the_summary_say_what_happened() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let scratch = Scratch::new();
    let (errors, calls) = (scratch.join("errors.log"), scratch.join("calls.jsonl"));
    let [errors, calls] = [&errors, &calls].map(|path| path.display().to_string());
    let again = "Run again with -trace_err";
    for traced in [&[][..], &["-trace_err", "-error_file", &errors]] {
        let line = ["-sn", "uac", "-m", "2", "-l", "1", "-nostdin", "-call_records_jsonl", &calls];
        let caller = gossipper::start(&[&line, traced, &[&remote]].concat());
        let call_id = refuse(&peer, 2);
        let over = caller.finish().expect_code(1);
        let out = &over.finished.stdout;
        assert!(out.contains(WHAT) && !out.contains("\x1b[2J"), "{out}");
        assert!(out.contains(&format!("      Call-ID {call_id}\n")), "{out}");
        assert_eq!(out.contains(again), traced.is_empty(), "{out}");
        assert!(out.contains("INVITE refused"), "{out}");
        let summary = &over.summary().0;
        summary_schema::check(summary).unwrap();
        let [group] = summary["failures"].as_array().unwrap().as_slice() else {
            panic!("{summary}")
        };
        for (key, value) in [
            ("text", Value::from(WHAT)),
            ("count", 2.into()),
            ("code", 503.into()),
            ("method", "INVITE".into()),
            ("step", 1.into()),
            ("peer", remote.as_str().into()),
            ("first_call_id", call_id.as_str().into()),
        ] {
            assert_eq!(group[key], value, "{key}: {group}");
        }
        assert_eq!(summary.pointer("/transactions/INVITE/service/count"), Some(&0.into()));
        assert_eq!(summary.pointer("/transactions/INVITE/refused/count"), Some(&2.into()));
    }
    let records = fs::read_to_string(&calls).unwrap();
    assert_eq!(records.lines().count(), 2);
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        summary_schema::check_call_record(&record).unwrap();
        let told = (&record["response_code"], &record["failed_step"], &record["error"]);
        assert_eq!(told, (&503.into(), &1.into(), &"unexpected_message".into()), "{record}");
    }
}

#[test]
fn the_reasons_are_said_as_sipp_and_kept_in_the_background() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["sipp", "-sn", "uac", "-m", "1", "-nostdin", "-timeout", "100", &remote];
    let caller = gossipper::start(&line);
    refuse(&peer, 1);
    let over = caller.finish().expect_code(1);
    let says = format!("note: unexpected_message 1: {WHAT}, 100 % of the calls, peer {remote}");
    assert!(over.finished.stderr.contains(&says), "{}", over.finished.stderr);
    let scratch = Scratch::new();
    let mut command = Command::new(gossipper::PROGRAM);
    command.args(line).arg("-bg").current_dir(scratch.path());
    let process = Process::spawn(command);
    refuse(&peer, 1);
    let finished = process.finish().expect_code(99);
    let pid = finished.stdout.trim().trim_start_matches("Background mode - PID=[");
    let notes = scratch.join(&format!("uac_{}_notes.log", pid.trim_end_matches(']')));
    let end = std::time::Instant::now() + harness::PATIENCE;
    let text = loop {
        match fs::read_to_string(&notes) {
            Ok(text) if text.ends_with('\n') => break text,
            read => assert!(std::time::Instant::now() < end, "{}: {read:?}", notes.display()),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(text.contains(WHAT), "{text}");
}
