//! Running in the background, and the watchdog that ends a run which is kept from its work.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, gossipper, lock, ports};

fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that is not reaped yet has ended.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_server_in_the_background_answers_and_ends() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let port = ports::free();
    let mut command = Command::new(gossipper::PROGRAM);
    command
        .args(["sipp", "-sn", "uas", "-bg", "-m", "2", "-i", "127.0.0.1", "-timeout", "100"])
        .args(["-p", &port.to_string(), "-summary_json", "background.json"])
        .current_dir(scratch.path());
    let finished = Process::spawn(command).finish().expect_code(99);
    let line = finished.stdout.lines().next().unwrap_or_default();
    let pid = line.strip_prefix("Background mode - PID=[").and_then(|rest| rest.strip_suffix(']'));
    let pid = pid.unwrap_or_else(|| panic!("no process id: {line:?}"));
    let end = Instant::now() + PATIENCE;
    while !ports::is_bound(std::process::id(), port) {
        assert!(Instant::now() < end && is_running(pid), "it does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    let remote = format!("127.0.0.1:{port}");
    let client = gossipper::run(&["-sn", "uac", "-m", "2", "-i", "127.0.0.1", "-p", "0", &remote]);
    client.expect_code(0).summary().expect_all_succeeded(2);
    while is_running(pid) {
        assert!(Instant::now() < end, "it does not end");
        thread::sleep(Duration::from_millis(20));
    }
    let summary = std::fs::read_to_string(scratch.join("background.json")).unwrap();
    assert!(summary.contains("\"success_calls\": 2"), "{summary}");
}

#[test]
fn what_keeps_a_run_from_starting_is_told_before_it_is_in_the_background() {
    let _turn = lock::light();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket can be bound");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut command = Command::new(gossipper::PROGRAM);
    command.args(["sipp", "-sn", "uas", "-bg", "-i", "127.0.0.1", "-p", &port]);
    let finished = Process::spawn(command).finish().expect_code(254);
    assert!(!finished.stdout.contains("PID"), "{}", finished.stdout);
    assert!(finished.stderr.contains(&port), "{}", finished.stderr);
    let mut command = Command::new(gossipper::PROGRAM);
    command.args(["sipp", "-sf", "missing.xml", "-bg", "127.0.0.1"]);
    let finished = Process::spawn(command).finish().expect_code(255);
    assert!(finished.stderr.contains("missing.xml"), "{}", finished.stderr);
}

#[test]
fn the_watchdog_ends_a_run_that_is_kept_from_its_work() {
    let _turn = lock::light();
    let options = ["-watchdog_minor_threshold", "200", "-watchdog_minor_maxtriggers", "0"];
    let line = [&["-sn", "uas", "-i", "127.0.0.1"], &options[..]].concat();
    let (run, _) = gossipper::serve(&line);
    run.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(1500));
    run.signal(Signal::CONT);
    let over = run.finish().expect_code(255);
    let stderr = &over.finished.stderr;
    assert!(stderr.contains("-watchdog_minor_maxtriggers"), "{stderr}");
    assert!(over.summary().counter("watchdog_minor") >= 1);
}

#[test]
fn without_a_watchdog_a_stall_is_only_counted() {
    let _turn = lock::light();
    let line = ["-sn", "uas", "-i", "127.0.0.1", "-watchdog_interval", "0", "-timeout", "4"];
    let (run, _) = gossipper::serve(&line);
    run.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(1500));
    run.signal(Signal::CONT);
    let over = run.finish();
    assert_eq!(over.summary().counter("watchdog_minor"), 1);
}

#[test]
fn the_columns_of_the_statistics_are_explained() {
    let mut command = Command::new(gossipper::PROGRAM);
    command.args(["sipp", "-h", "stat"]);
    let finished = Process::spawn(command).finish().expect_code(99);
    for column in ["TargetRate", "FailedMaxUDPRetrans", "CallLengthRepartition"] {
        assert!(finished.stdout.contains(column), "{}", finished.stdout);
    }
    assert!(!finished.stdout.contains("-trace_stat FILE"));
}
