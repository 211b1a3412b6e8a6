//! Begin and end of runs under the name `sipp`, beside those under our own.

use std::fs;
use std::net::{SocketAddr, UdpSocket};

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports};

/// A caller whose INVITE reached no peer, and the address of its later peer.
fn early_caller(name: &[&str], options: &[&str]) -> (gossipper::Run, SocketAddr) {
    let scratch = Scratch::new();
    let log = scratch.join("messages.log");
    let (path, at) = (log.display().to_string(), SocketAddr::from(([127, 0, 0, 1], ports::free())));
    let remote = at.to_string();
    let line = ["-sn", "uac", "-m", "1", "-nostdin", "-trace_msg", "-message_file", &path];
    let mut caller = gossipper::start(&[name, &line, options, &[&remote]].concat());
    caller.process().wait_until("logged INVITE", || {
        fs::read_to_string(&log).ok()?.contains("INVITE sip:").then_some(())
    });
    (caller, at)
}

#[test]
fn two_scripts_may_start_in_either_order() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        let (caller, at) = early_caller(&["sipp"], &["-io", io]);
        let peer = Peer::on(UdpSocket::bind(at).expect("the port is free"));
        let invite = peer.receive_kind("INVITE");
        peer.answer(&invite, "200 OK", "");
        peer.receive_kind("ACK");
        peer.answer(&peer.receive_kind("BYE"), "200 OK", "");
        let over = caller.finish().expect_code(0);
        over.summary().expect_all_succeeded(1);
        assert!(over.summary().counter("icmp_errors") >= 1, "{io}: {:#}", over.summary().0);
    }
}

#[test]
fn a_switch_says_what_an_icmp_error_means_under_either_name() {
    let _turn = lock::light();
    let fails = [
        (&[][..], &[][..], true),
        (&[], &["-icmp_fails_calls", "false"], false),
        (&["sipp"], &["-icmp_fails_calls", "true"], true),
        (&["sipp"], &[], false),
    ];
    for (name, options, at_once) in fails {
        let cause = if at_once { "icmp_unreachable" } else { "max_udp_retrans" };
        let more = [options, &["-max_retrans", "1"]].concat();
        let (caller, _) = early_caller(name, &more);
        let over = caller.finish().expect_code(1);
        assert_eq!(over.summary().failed_by(cause), 1, "{name:?} {options:?}");
        let what = match at_once {
            true => "INVITE answered by ICMP port unreachable: no program listens there (step 1)",
            false => "no answer to INVITE (step 1)",
        };
        assert_eq!(over.summary().0["failures"][0]["text"], what, "{name:?} {options:?}");
        // SIPp's screens do not show the cause; the last error does.
        let says = over.finished.stderr.contains(&format!("failed calls: 1 {cause}; -trace_err"));
        assert_eq!(says, name == ["sipp"], "{}", over.finished.stderr);
    }
}

#[test]
fn a_timeout_that_is_an_error_ends_open_calls_and_the_run() {
    let _turn = lock::light();
    for name in [&[][..], &["sipp"]] {
        let peer = Peer::new();
        let remote = peer.address().to_string();
        // The call would end by itself while a run drains.
        let line = ["-sn", "uac", "-m", "2", "-l", "1", "-d", "4s", "-nostdin", "-timeout", "2"];
        let line = [name, &line, &["-timeout_error", &remote]].concat();
        let caller = gossipper::start(&line);
        peer.answer(&peer.receive_kind("INVITE"), "200 OK", "");
        peer.receive_kind("ACK");
        peer.receive_kind("BYE");
        let over = caller.finish().expect_code(255);
        let summary = over.summary();
        summary.expect_to_add_up();
        let counts = (summary.total(), summary.failed_by("cancelled"), summary.active());
        assert_eq!(counts, (1, 1, 0), "{:#}", summary.0);
    }
}

#[test]
fn a_run_is_over_with_its_last_call() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["sipp", "-sn", "uac", "-m", "1", "-recv_timeout", "300", "-nostdin", &remote];
    let caller = gossipper::start(&line);
    let invite = peer.receive_kind("INVITE");
    peer.answer(&invite, "180 Ringing", "");
    peer.receive_kind("CANCEL");
    // As in SIPp: no answer is awaited, and the request is not repeated.
    caller.finish().expect_code(1);
    assert_eq!(peer.receive_within(std::time::Duration::from_millis(1)), None);
}

#[test]
fn a_timeout_waits_for_open_calls_unless_a_drain_is_given() {
    let _turn = lock::light();
    // Longer than a drain of our own takes.
    let line = ["sipp", "-sn", "uac", "-d", "7s", "-nostdin", "-timeout", "1"];
    let ends = [(&[][..], 0, (1, 0)), (&["-drain", "0"], 97, (0, 1))];
    for (options, code, outcome) in ends {
        let peer = Peer::new();
        let remote = peer.address().to_string();
        let caller =
            gossipper::start(&[&line, options, &["-m", "1000", "-l", "1", &remote]].concat());
        peer.answer(&peer.receive_kind("INVITE"), "200 OK", "");
        peer.receive_kind("ACK");
        peer.answer(&peer.receive_kind("BYE"), "200 OK", "");
        let over = caller.finish().expect_code(code);
        let summary = over.summary();
        assert_eq!((summary.succeeded(), summary.failed_by("cancelled")), outcome, "{options:?}");
    }
}

#[test]
fn calls_that_failed_before_a_timeout_count_as_failed() {
    let _turn = lock::light();
    for name in [&[][..], &["sipp"]] {
        let peer = Peer::new();
        let remote = peer.address().to_string();
        let line =
            ["-sn", "options", "-m", "0", "-recv_timeout", "200", "-nostdin", "-timeout", "1"];
        let over = gossipper::run(&[name, &line, &[&remote]].concat()).expect_code(1);
        assert_eq!(over.summary().succeeded(), 0);
    }
}
