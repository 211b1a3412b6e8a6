//! Reports of a run while it goes on and at its end, and how it ends by the clock.

use std::net::UdpSocket;

use rustix::process::Signal;

use crate::harness::gossipper::{self, PROGRAM};
use crate::harness::lock;
use crate::harness::tty::Tty;
use crate::summary_schema;

/// A peer that receives and never answers; it lives as long as the socket.
fn silent_peer() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[test]
fn a_duration_starts_no_more_calls_and_lets_open_ones_end() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    // Calls of 700 ms: some are open when the second is over.
    let line = ["-sn", "uac", "-p", "0", "-r", "20", "-d", "700", "-duration", "1", &remote];
    let client = gossipper::run(&line).expect_code(0);
    let summary = client.summary();
    // A busy host hears of the end of the second somewhat late.
    assert!((15..=30).contains(&summary.total()), "{:#}", summary.0);
    summary.expect_all_succeeded(summary.total());
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn what_a_drain_leaves_open_is_ended_as_at_a_stop() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let line = ["-sn", "uac", "-p", "0", "-duration", "500ms", &remote];
    for more in [&["-drain", "100ms"][..], &["-drain", "1h", "-timeout", "1"]] {
        // Nothing was tested, so this is no success.
        let over = gossipper::run(&[&line[..], more].concat()).expect_code(97);
        assert!(over.summary().failed_by("cancelled") > 0, "{:#}", over.summary().0);
        assert_eq!(over.summary().failed_by("cancelled"), over.summary().total());
    }
}

#[test]
fn results_go_to_stdout_and_progress_only_where_it_is_seen() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let line = ["-sn", "uac", "-p", "0", "-r", "10", "-duration", "2200ms", &remote];
    let quiet = gossipper::run(&line).expect_code(0).finished;
    assert!(!quiet.stdout.contains("  active "), "{}", quiet.stdout);
    assert!(!quiet.stderr.contains("active"), "{}", quiet.stderr);
    let last = quiet.stdout.lines().next_back().unwrap();
    assert!(last.starts_with("calls=") && last.contains(" verdict="), "{last}");
    let asked = gossipper::run(&[&line[..], &["-stat_period", "1"]].concat()).expect_code(0);
    assert!(asked.finished.stderr.contains("calls="), "{}", asked.finished.stderr);
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn a_terminal_is_spared_the_line_for_programs_unless_it_is_asked_for() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let line = format!("{PROGRAM} -sn uac -p 0 -r 10 -duration 1500ms {address}");
    let on_terminal = |redirection: &str| {
        let mut tty = Tty::start(&format!("{line} {redirection}"));
        tty.wait_for(0, "Verdict ");
        tty.wait_for(0, "is-over ");
        let screen = tty.screen();
        assert_eq!(tty.finish(), 0);
        screen
    };
    let screen = on_terminal("");
    assert!(screen.contains("00:01") && !screen.contains("calls="), "{screen}");
    let screen = on_terminal("-stat_line 2>/dev/null");
    assert!(!screen.contains("00:01") && screen.contains("calls="), "{screen}");
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn the_first_line_names_the_target_as_it_was_given() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1", "-m", "1"]);
    let remote = format!("localhost:{}", address.port());
    let over = gossipper::run(&["-sn", "options", "-i", "127.0.0.1", "-p", "0", &remote]);
    let first = over.finished.stdout.lines().next().unwrap().to_owned();
    assert!(first.contains(&format!(" -> localhost {address} ")), "{first}");
    over.expect_code(0);
    server.finish().expect_code(0);
}

#[test]
fn a_ramp_tells_which_rate_the_peer_held() {
    let _turn = lock::light();
    // The server answers 30 calls, those of the first two steps, and then ends.
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "30"]);
    let remote = address.to_string();
    let ramp = ["-r", "10", "-rate_increase", "10", "-rate_interval", "1", "-rate_max", "30"];
    // Calls of the last step fail after its end, and still count for it.
    let patience = ["-icmp_fails_calls", "false", "-recv_timeout", "1500ms"];
    let line = ["-sn", "uac", "-p", "0", "-m", "0", &remote];
    let over = gossipper::run(&[&line[..], &ramp, &patience].concat()).expect_code(1);
    server.finish().expect_code(0);
    let summary = over.summary();
    summary_schema::check(&summary.0).unwrap();
    let steps = summary.0["rate_steps"]["steps"].as_array().expect("there are steps");
    let of = |name: &str| -> Vec<u64> {
        steps.iter().map(|step| step[name].as_f64().unwrap_or(-1.0) as u64).collect()
    };
    assert_eq!(of("target_calls_per_second"), [10, 20, 30]);
    assert_eq!(of("second"), [0, 1, 2]);
    assert_eq!(of("started").iter().sum::<u64>(), summary.total());
    assert_eq!(of("succeeded").iter().sum::<u64>(), summary.succeeded());
    assert_eq!(of("failed")[0], 0);
    assert!(of("failed")[2] >= summary.failed() - 1, "{:#}", summary.0);
    let first_bad = &summary.0["rate_steps"]["first_bad"];
    assert!(!first_bad["why"].as_str().unwrap_or_default().is_empty(), "{first_bad}");
    let stdout = &over.finished.stdout;
    assert!(stdout.contains("Rate           10.0 to 30.0 calls/s in 3 steps"), "{stdout}");
    assert!(stdout.contains("First bad step: ") && !stdout.contains("targeted"), "{stdout}");
    // The run by time has the same calls.
    let points = summary.0["series"]["points"].as_array().expect("there are points");
    let started: u64 = points.iter().filter_map(|point| point["started"].as_u64()).sum();
    assert_eq!(started, summary.total());
}

#[test]
fn a_run_that_waits_says_for_what_and_how_long() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let line = ["-sn", "uac", "-p", "0", "-m", "4", "-r", "100"];
    let mut client = gossipper::start(&[&line[..], &["-stat_period", "1", &remote]].concat());
    let said = client.process().wait_for_stderr_as("what is waited for", |text| {
        let (_, rest) = text.split_once("waiting for 4 calls (INVITE unanswered), up to ")?;
        Some(rest.lines().next().unwrap_or_default().to_owned())
    });
    // The seven transmissions of 64 * T1, of which some time has passed.
    let left = said.trim_end_matches(" s").parse::<u64>();
    assert!(left.is_ok_and(|left| (1..=33).contains(&left)), "{said}");
    client.signal(Signal::INT);
    client.process().wait_for_stderr_as("the limit of the drain", |text| {
        let (_, rest) = text.split_once("stopping: ")?.1.split_once("unanswered), up to ")?;
        let left: u64 = rest.split_once(" s\n")?.0.parse().ok()?;
        (left <= 5).then_some(())
    });
    client.signal(Signal::INT);
    client.finish();
    let mut tty = Tty::start(&format!("{PROGRAM} {} {remote}", line.join(" ")));
    tty.wait_for(0, "waiting for 4 calls (INVITE unanswered), up to ");
    tty.press("\x03\x03");
    tty.finish();
}
