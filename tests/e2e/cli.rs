//! Exit codes, messages and reports of whole runs.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::gossipper::{self, PROGRAM};
use crate::harness::lock;
use crate::harness::peer::Peer;
use crate::harness::process::{Finished, Process};
use crate::harness::scratch::Scratch;
use crate::summary_schema;

/// Runs the program to its end, with only `args`.
#[track_caller]
fn program(args: &[&str]) -> Finished {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    Process::spawn(command).finish()
}

/// A line that cannot be run: 255, nothing on stdout, and a reason with all of `parts`.
#[track_caller]
fn expect_refused(args: &[&str], parts: &[&str]) {
    let finished = program(args).expect_code(255);
    assert_eq!(finished.stdout, "");
    for part in parts {
        assert!(finished.stderr.contains(part), "{part:?} is missing in:\n{}", finished.stderr);
    }
}

/// A peer that receives and never answers; it lives as long as the socket.
fn silent_peer() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// Arguments for one OPTIONS request that stays unanswered and is given up after a moment.
fn unanswered<'a>(remote: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["-sn", "options", "-p", "0", "-recv_timeout", "200", remote], more].concat()
}

#[test]
fn a_client_without_m_makes_one_call() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "1"]);
    let client = gossipper::run(&["-sn", "uac", "-p", "0", &address.to_string()]).expect_code(0);
    client.summary().expect_all_succeeded(1);
    server.finish().expect_code(0).summary().expect_all_succeeded(1);
}

#[test]
fn a_moment_says_nothing_about_a_rate() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "6"]);
    let remote = address.to_string();
    for load in [&["-m", "1"][..], &["-users", "5", "-m", "5"]] {
        let line = [&["-sn", "uac", "-p", "0"], load, &[&remote]].concat();
        let stdout = gossipper::run(&line).expect_code(0).finished.stdout;
        assert!(stdout.contains("too few calls to tell"), "{stdout}");
        assert!(stdout.contains(" cps=0.00 "), "{stdout}");
    }
    server.finish().expect_code(0).summary().expect_all_succeeded(6);
}

#[test]
fn a_load_of_one_call_says_why_it_is_one() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let note = |more: &[&str]| {
        let over = gossipper::run(&unanswered(&remote, more)).expect_code(1);
        assert_eq!(over.summary().total(), 1);
        let said = over.finished.stderr.lines().find(|line| line.contains("one call is made"));
        said.map(str::to_owned)
    };
    for line in [&["-users", "5"][..], &["-rate_increase", "5"], &["-r", "50"], &["-l", "5"]] {
        let said = note(line).unwrap_or_default();
        assert!(
            said.contains(&format!("because {} is given without -m; -m 0 goes on", line[0])),
            "{line:?}: {said}"
        );
    }
    for line in [&[][..], &["-r", "50", "-m", "1"]] {
        assert_eq!(note(line), None, "{line:?}");
    }
}

#[test]
fn summaries_fit_the_schema_and_add_up() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "20"]);
    let remote = address.to_string();
    let client = gossipper::run(&["-sn", "uac", "-p", "0", "-m", "20", "-r", "100", &remote]);
    let (_socket, silent) = silent_peer();
    let failing = gossipper::run(&unanswered(&silent, &["-m", "3"])).expect_code(1);
    assert_eq!(failing.summary().failed_by("recv_timeout"), 3);
    for over in [client, server.finish(), failing] {
        summary_schema::check(&over.summary().0).unwrap();
        over.summary().expect_to_add_up();
    }
}

#[test]
fn failed_calls_exit_with_1_unless_gates_decide() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let cases: &[(&[&str], i32)] = &[
        (&[], 1),
        (&["-health_min_success_ratio", "0.5"], 2),
        (&["-health_max_failed_calls", "0"], 2),
        (&["-health_max_timeouts", "0"], 2),
        (&["-health_max_failed_calls", "1"], 0),
        // Nothing was heard, so a gate on it cannot hold.
        (&["-health_max_failed_calls", "1", "-health_max_silent_calls", "0"], 2),
        (&["-health_max_failed_calls", "1", "-health_max_silent_calls", "-1"], 0),
    ];
    for (gates, code) in cases {
        let over = gossipper::run(&unanswered(&remote, gates)).expect_code(*code);
        assert_eq!(over.summary().failed(), 1, "{gates:?}");
        assert_eq!(over.finished.stderr.contains("health:"), *code == 2, "{gates:?}");
    }
}

#[test]
fn gates_that_hold_exit_with_0() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1", "-m", "1"]);
    let remote = address.to_string();
    let line = ["-sn", "options", "-p", "0", "-health_min_success_ratio", "1", &remote];
    let client = gossipper::run(&line).expect_code(0);
    assert_eq!(client.summary().0["health"]["pass"], true);
    server.finish().expect_code(0);
}

#[test]
fn a_timeout_before_any_success_exits_with_97() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let line = ["-sn", "options", "-p", "0", "-timeout", "1", &remote];
    let over = gossipper::run(&line).expect_code(97);
    assert_eq!(over.summary().failed_by("cancelled"), 1);
    over.summary().expect_to_add_up();
    let stdout = over.finished.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in
        ["while waiting for 100 (step 1)", "Nothing is wrong with these calls", ", failed at "]
    {
        assert!(stdout.contains(part), "{part:?} is missing in:\n{stdout}");
    }
    assert!(!stdout.contains("Run again"), "{stdout}");
    gossipper::run(&[&line[..], &["-timeout_error"]].concat()).expect_code(255);
}

#[test]
fn a_timeout_after_successes_exits_with_0() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let line = ["-sn", "options", "-p", "0", "-m", "0", "-timeout", "1", &remote];
    let over = gossipper::run(&line).expect_code(0);
    assert!(over.summary().succeeded() > 0);
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn a_port_in_use_exits_with_254() {
    let _turn = lock::light();
    let (socket, remote) = silent_peer();
    let port = socket.local_addr().unwrap().port().to_string();
    for io in ["uring", "syscall"] {
        for workers in ["1", "2"] {
            let line =
                ["-sn", "uas", "-i", "127.0.0.1", "-p", &port, "-io", io, "-workers", workers];
            let finished = program(&line).expect_code(254);
            assert!(finished.stderr.contains(&remote), "{}", finished.stderr);
            assert!(finished.stderr.contains("-p"), "{}", finished.stderr);
        }
    }
}

#[test]
fn an_address_that_is_not_ours_says_so() {
    let _turn = lock::light();
    let finished = program(&["-sn", "uas", "-i", "192.0.2.1"]).expect_code(254);
    assert!(finished.stderr.contains("ip addr"), "{}", finished.stderr);
}

#[test]
fn a_dumped_scenario_runs_as_a_file() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let [uac, uas] = ["uac", "uas"].map(|name| {
        let dump = program(&["-sd", name]).expect_code(0);
        assert!(dump.stdout.contains("<scenario name="), "{}", dump.stdout);
        scratch.write(&format!("{name}.xml"), &dump.stdout)
    });
    let (server, address) = gossipper::serve(&["-sf", &uas, "-i", "127.0.0.1", "-m", "1"]);
    let client = gossipper::run(&["-sf", &uac, "-p", "0", &address.to_string()]).expect_code(0);
    client.summary().expect_all_succeeded(1);
    server.finish().expect_code(0).summary().expect_all_succeeded(1);
}

#[test]
fn errors_in_scenario_files_name_file_line_and_column() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let malformed =
        scratch.write("malformed.xml", "<scenario name=\"x\">\n  <recv request=\n</scenario>\n");
    let place = format!("{malformed}:");
    let message = program(&["-sf", &malformed]).expect_code(255).stderr;
    let position = message.split_once(&place).expect("the file is named").1;
    let mut numbers = position.split(|c: char| !c.is_ascii_digit());
    for part in ["line", "column"] {
        let number: Option<u32> = numbers.next().and_then(|number| number.parse().ok());
        assert!(number.is_some_and(|number| number > 0), "no {part} in {message}");
    }
    let misspelt =
        scratch.write("misspelt.xml", "<scenario>\n  <revc request=\"INVITE\"/>\n</scenario>\n");
    expect_refused(&["-sf", &misspelt], &[&format!("{misspelt}:2:3"), "revc", "recv"]);
}

#[test]
fn lines_that_cannot_be_run_exit_with_255_and_a_reason() {
    let _turn = lock::light();
    let peer = "127.0.0.1:9";
    let cases: &[(&[&str], &[&str])] = &[
        (&["-nonsens"], &["unknown option \"-nonsens\""]),
        (&["-trace_stats", peer], &["did you mean -trace_stat"]),
        (&["-sn", "uac"], &["no remote host", "-rsa"]),
        (&["-sn", "nothing", peer], &["no built-in scenario \"nothing\"", "uac"]),
        (&["-sf", "/nonexistent/x.xml", peer], &["/nonexistent/x.xml", "-sn"]),
        (&["-set", "unheard", "1", peer], &["-set unheard", "<Global variables="]),
        (&["-t", "s1", peer], &["-t", "s1", "SCTP"]),
        (&["-i", "::1", peer], &["-i ::1 cannot reach 127.0.0.1:9"]),
        (&["-m", "many", peer], &["-m", "many"]),
        (&["-plugin", "x.so", peer], &["-plugin is refused"]),
        (&["-ip_field", "0", peer], &["-ip_field needs -t ui"]),
        (&["-t", "ui", peer], &["-t ui needs -inf FILE"]),
    ];
    for (line, parts) in cases {
        expect_refused(line, parts);
    }
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    let _turn = lock::light();
    // RFC 6761 section 6.4: no resolver knows names under `invalid`.
    expect_refused(&["-sn", "uac", "nobody.invalid:5060"], &["cannot resolve nobody.invalid"]);
}

#[test]
fn m_0_goes_on_until_stopped() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let mut client = gossipper::start(&[
        "-sn",
        "options",
        "-p",
        "0",
        "-m",
        "0",
        "-r",
        "50",
        "-stat_period",
        "1",
        &remote,
    ]);
    client.process().wait_for_stderr_as("second progress line", |text| {
        (text.matches(" verdict=").count() == 2).then_some(())
    });
    client.signal(Signal::INT);
    let client = client.finish().expect_code(0);
    assert!(client.summary().succeeded() > 1);
    assert_eq!(client.summary().failed(), 0);
    server.signal(Signal::INT);
    let server = server.finish().expect_code(0);
    assert_eq!(server.summary().succeeded(), client.summary().succeeded());
}

#[test]
fn under_the_name_sipp_the_defaults_are_those_of_sipp() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let sipp = scratch.join("sipp");
    symlink(PROGRAM, &sipp).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(&sipp);
        command.args(args);
        Process::spawn(command).finish()
    };
    for args in [&["-v"][..], &["-h"], &["-sd", "uac"]] {
        let finished = run(args).expect_code(99);
        assert_ne!(finished.stdout, "");
    }
    assert!(run(&["-sd", "uac"]).stdout == program(&["-sd", "uac"]).stdout);
    // Without -m the client goes on, ten calls a second, and without -l it keeps at most
    // 3 x rate x duration calls open.
    let (_socket, remote) = silent_peer();
    let line =
        ["-sn", "uac", "-r", "10", "-timeout", "5", "-drain", "0", "-p", "0", "-nr", &remote];
    let over = gossipper::start_as(Command::new(&sipp), &line).finish().expect_code(97);
    assert_eq!(over.summary().number("/peak_active_calls"), 30);
    assert!(over.summary().number("/withheld/call_limit") > 0);
}

#[test]
fn an_unanswered_call_ends_after_the_last_retransmission() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["-sn", "uac", "-p", "0", "-max_invite_retrans", "1", &remote];
    let over = gossipper::run(&line).expect_code(1);
    assert_eq!(over.summary().failed_by("max_udp_retrans"), 1);
    assert_eq!(over.summary().counter("retransmissions_sent"), 1);
    assert_eq!(peer.receive(), peer.receive());
}

#[test]
fn a_summary_that_cannot_be_written_is_an_error() {
    let _turn = lock::light();
    let (_socket, remote) = silent_peer();
    let path = "/nonexistent/summary.json";
    let finished = program(&unanswered(&remote, &["-summary_json", path])).expect_code(255);
    assert!(finished.stderr.contains(path), "{}", finished.stderr);
}

#[test]
fn a_summary_replaces_an_older_one() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let path = scratch.write("old.json", "not a summary");
    let (_socket, remote) = silent_peer();
    program(&unanswered(&remote, &["-summary_json", &path])).expect_code(1);
    let text = fs::read_to_string(&path).unwrap();
    summary_schema::check(&serde_json::from_str(&text).unwrap()).unwrap();
}
