//! Signals: the first SIGINT or SIGTERM drains, the second stops; SIGUSR1 drains; SIGUSR2 prints
//! the state. At every end of a run its reports are written.

use std::collections::HashSet;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::gossipper::{self, Run};
use crate::harness::lock;
use crate::harness::peer::{Peer, Received};

const CALLS: usize = 5;

/// Makes calls that would last for ten minutes, and returns once all are open.
fn open_calls() -> (Run, Peer) {
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let calls = CALLS.to_string();
    let line = ["-sn", "uac", "-p", "0", "-d", "10m", "-m", &calls, "-r", "1000", &remote];
    let client = gossipper::start(&[&line[..], &["-stat_period", "1"]].concat());
    let mut acknowledged = HashSet::new();
    while acknowledged.len() < CALLS {
        let message = peer.receive();
        match message.kind() {
            "INVITE" => peer.answer(&message, "200 OK", ""),
            "ACK" => _ = acknowledged.insert(message.header("Call-ID").to_owned()),
            other => panic!("{other} came"),
        }
    }
    (client, peer)
}

/// Answers the BYE of every call in the background.
fn expect_byes(peer: &Peer) -> JoinHandle<()> {
    let peer = peer.handle();
    thread::spawn(move || {
        let mut ended = HashSet::new();
        while ended.len() < CALLS {
            let bye: Received = peer.receive_kind("BYE");
            assert!(bye.header("To").ends_with(";tag=peer"), "{}", bye.text);
            assert_eq!(bye.header("CSeq"), "2 BYE");
            ended.insert(bye.header("Call-ID").to_owned());
            peer.answer(&bye, "200 OK", "");
        }
    })
}

fn drains(signals: &[Signal]) {
    let _turn = lock::light();
    let (client, peer) = open_calls();
    let byes = expect_byes(&peer);
    for signal in signals {
        client.signal(*signal);
    }
    let over = client.finish().expect_code(0);
    byes.join().unwrap();
    // They ended because the user asked for it: not successful, and not by a fault of the peer.
    assert_eq!(over.summary().failed_by("cancelled"), CALLS as u64);
    over.summary().expect_to_add_up();
    assert!(over.finished.stdout.contains("Calls "), "{}", over.finished.stdout);
    assert!(over.finished.stdout.contains("\ncalls=5 success=0"), "{}", over.finished.stdout);
}

#[test]
fn sigint_ends_open_calls_with_a_bye() {
    drains(&[Signal::INT]);
}

#[test]
fn sigterm_does_as_sigint() {
    drains(&[Signal::TERM]);
}

#[test]
fn sigusr1_drains() {
    drains(&[Signal::USR1]);
}

/// Sends a second signal after the first was taken: the run stops at once.
fn stops_at_once(first: Signal, second: Signal) {
    let _turn = lock::light();
    let (mut client, peer) = open_calls();
    client.signal(first);
    client.wait_for_stderr("stopping: ");
    client.signal(second);
    let over = client.finish().expect_code(0);
    assert_eq!(over.summary().total(), CALLS as u64);
    over.summary().expect_to_add_up();
    assert!(over.finished.stdout.contains("\ncalls=5 success=0"), "{}", over.finished.stdout);
    // The dialogs were not waited for.
    assert_eq!(over.summary().active() + over.summary().failed(), CALLS as u64);
    drop(peer);
}

#[test]
fn a_second_sigint_stops_at_once() {
    stops_at_once(Signal::INT, Signal::INT);
}

#[test]
fn sigterm_after_sigint_stops_at_once() {
    stops_at_once(Signal::INT, Signal::TERM);
}

#[test]
fn sigusr2_prints_the_state_and_the_run_goes_on() {
    let _turn = lock::light();
    let (mut client, peer) = open_calls();
    // The counts of the workers reach the control side once a second.
    client.wait_for_stderr(" active=5 ");
    for dumps in 1..=2 {
        client.signal(Signal::USR2);
        client.process().wait_for_stdout("table", |text| {
            (text.matches("Calls          5 started, 0 succeeded, 0 failed, 5 active").count()
                == dumps)
                .then_some(())
        });
    }
    assert!(client.process().is_running());
    let byes = expect_byes(&peer);
    client.signal(Signal::INT);
    client.finish().expect_code(0);
    byes.join().unwrap();
}

#[test]
fn a_server_ends_by_sigint() {
    let _turn = lock::light();
    for signal in [Signal::INT, Signal::TERM, Signal::USR1] {
        let (server, _) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
        server.signal(signal);
        let over = server.finish().expect_code(0);
        assert_eq!(over.summary().total(), 0);
    }
}

#[test]
fn a_signal_before_the_first_call_is_obeyed() {
    let _turn = lock::light();
    for signal in [Signal::INT, Signal::TERM, Signal::USR1] {
        let peer = Peer::new();
        let remote = peer.address().to_string();
        // A notice tells that signals are handled by now.
        let line = ["-sn", "uac", "-sleep", "1h", "-users", "1", "-r", "5", &remote];
        let mut client = gossipper::start(&line);
        client.wait_for_stderr("note: ");
        client.signal(signal);
        let over = client.finish().expect_code(0);
        assert_eq!(over.summary().total(), 0);
        assert!(peer.receive_within(Duration::ZERO).is_none());
    }
}

#[test]
fn a_broken_stdout_does_not_end_the_run() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1", "-m", "40"]);
    let remote = address.to_string();
    // Two seconds, so that status lines meet the broken pipe.
    let line = ["-sn", "options", "-p", "0", "-m", "40", "-r", "20", &remote];
    let client = gossipper::start_unread(&line);
    client.finish().expect_code(0).summary().expect_all_succeeded(40);
    server.finish().expect_code(0).summary().expect_all_succeeded(40);
}
