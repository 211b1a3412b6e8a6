//! Media through a relay: coturn between our two ends.

use std::process::Command;

use rustix::process::Signal;

use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, tools};
use crate::media::{media, port_range};

/// Pairs of relayed ports of the server.
const PAIRS: u16 = 100;
/// Seconds after which the server ends, even if the test has died.
const TIMEOUT_S: &str = "120";
/// Two seconds of audio.
const TALK: &str = "<nop><action><exec rtp_stream=\"synthetic\"/></action></nop>
  <pause milliseconds=\"2000\"/>
  <nop><action><exec rtp_stream=\"stop\"/></action></nop>";

/// A running coturn. Dropping it ends it.
struct Coturn {
    process: Process,
    port: u16,
    first: u16,
    _scratch: Scratch,
}

impl Coturn {
    /// Starts a server with `credentials`, and waits until it listens.
    #[track_caller]
    fn start(credentials: &[&str]) -> Self {
        tools::need("turnserver");
        let scratch = Scratch::new();
        let (port, first) = (ports::free(), ports::free_range(2 * PAIRS));
        let pid_file = scratch.join("pid").display().to_string();
        let [port_text, min, max] =
            [port, first, first + 2 * PAIRS - 1].map(|port| port.to_string());
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", TIMEOUT_S, "turnserver", "-n", "--no-cli", "--no-tls"])
            .args(["--no-dtls", "--no-tcp", "--no-tcp-relay", "--allow-loopback-peers"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "-p", &port_text])
            .args(["--min-port", &min, "--max-port", &max, "--realm", "lab"])
            .args(["--log-file", "stdout", "--simple-log", "--pidfile", &pid_file])
            .args(["--userdb", &scratch.join("users").display().to_string()])
            .args(credentials)
            .current_dir(scratch.path());
        let mut process = Process::spawn(command);
        let pid = process.id();
        process.wait_until("bound UDP port", || ports::is_bound(pid, port).then_some(()));
        Self { process, port, first, _scratch: scratch }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        if self.process.is_running() {
            self.process.signal(Signal::TERM);
        }
        // `timeout` has to live until it has passed the signal on.
        for _ in 0..500 {
            if !self.process.is_running() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Calls of a caller behind the relay to an answerer that is not.
#[track_caller]
fn both_ends_hear(server: &Coturn, flags: &[&str]) {
    const CALLS: u64 = 4;
    let scratch = Scratch::new();
    let load = ["-i", "127.0.0.1", "-m", "4", "-l", "4"];
    let [ours, theirs] = [port_range(4), port_range(4)];
    let [ours, theirs] = [&ours, &theirs].map(|range| range.each_ref().map(String::as_str));
    let answerer = [&["-sn", "uas_media"], &load[..], &theirs];
    let (answerer, address) = gossipper::serve(&answerer.concat());
    let (file, remote) = (crate::media::caller(&scratch, TALK), address.to_string());
    let relay = server.address();
    let line = ["-sf", &file, "-p", "0", "-r", "10", "-turn_server", &relay];
    let line = [&line[..], &load, &ours, flags, &["-rtcp_interval", "500", &remote]];
    let client = gossipper::run(&line.concat()).expect_code(0);
    let answerer = answerer.finish().expect_code(0);
    for side in [client.summary(), answerer.summary()] {
        side.expect_all_succeeded(CALLS);
        let text = format!("{:#}", side.0["media"]);
        assert_eq!(media(side, "heard/two_way"), CALLS, "{text}");
        // Two seconds, less the way that the first packets waited for, and less what a busy server
        // drops: it has one buffer for all calls.
        let received = media(side, "rtp_packets_received");
        assert!(received >= CALLS * 60, "{text}");
        assert!(media(side, "rtp_packets_lost") * 10 < received, "{text}");
    }
    let [client, answerer] = [&client, &answerer].map(gossipper::Over::summary);
    assert!(media(client, "relays/opened") >= 1, "{:#}", client.0["media"]);
    assert_eq!(client.0["media"]["relays"]["faults"], serde_json::json!({}));
    // Nothing came past the relay.
    assert_eq!(media(client, "strays/foreign"), 0, "{:#}", client.0["media"]);
    let reached = media(answerer, "rtp_packets_received");
    assert!(reached <= media(client, "rtp_packets_sent"), "{:#}", answerer.0["media"]);
}

#[test]
fn calls_through_a_relay_are_heard_both_ways() {
    let _turn = lock::light();
    let server = Coturn::start(&["--lt-cred-mech", "--user", "me:hush"]);
    let account = ["-turn_user", "me", "-turn_pass", "hush"];
    both_ends_hear(&server, &account);
    // The same ports again: the server still has the addresses of the first run.
    both_ends_hear(&server, &[&account[..], &["-rtp_shared"]].concat());
}

#[test]
fn a_secret_of_the_relay_gives_names_and_passwords() {
    let _turn = lock::light();
    let server = Coturn::start(&["--use-auth-secret", "--static-auth-secret", "shared"]);
    both_ends_hear(&server, &["-turn_secret", "shared", "-turn_user", "me"]);
}

#[test]
fn descriptions_name_the_relay_and_streams_without_sip_go_through_it() {
    let _turn = lock::light();
    let server = Coturn::start(&["--lt-cred-mech", "--user", "me:hush"]);
    let sink = crate::harness::phone::Phone::new();
    let target = format!("127.0.0.1:{}", sink.audio_port());
    let (relay, range) = (server.address(), port_range(1));
    let range = range.each_ref().map(String::as_str);
    let line = ["-rtp_send", "-rtp_addr", &target, "-rtp_dur", "1000", "-turn_server", &relay];
    let account = ["-turn_user", "me", "-turn_pass", "hush"];
    let over = gossipper::run(&[&line[..], &account, &range].concat()).expect_code(0);
    let sent = media(over.summary(), "rtp_packets_sent");
    assert!(sent >= 40, "{:#}", over.summary().0["media"]);
    let scratch = Scratch::new();
    let capture = scratch.join("rtp.pcap");
    sink.into_capture().write(&capture);
    let port = target.rsplit_once(':').unwrap().1;
    let (decode, filter) = (format!("udp.port=={port},rtp"), format!("rtp && udp.dstport=={port}"));
    let fields = ["-d", &decode, "-Y", &filter, "-T", "fields", "-e", "udp.srcport"];
    let sources = crate::media::tshark(&capture, 1, &fields);
    assert_eq!(sources.len() as u64, sent);
    let relayed = server.first..server.first + 2 * PAIRS;
    let is_relayed = |source: &String| relayed.contains(&source.parse().unwrap());
    assert!(sources.iter().all(is_relayed), "{sources:?} {relayed:?}");
}

#[test]
fn a_relay_that_does_not_know_us_fails_calls_with_its_cause() {
    let _turn = lock::light();
    let server = Coturn::start(&["--lt-cred-mech", "--user", "me:hush"]);
    let (relay, range) = (server.address(), port_range(1));
    let range = range.each_ref().map(String::as_str);
    let line = ["-rtp_send", "-rtp_addr", "127.0.0.1:9", "-rtp_dur", "100"];
    let account = ["-turn_server", &relay, "-turn_user", "me", "-turn_pass", "wrong"];
    let over = gossipper::run(&[&line[..], &account, &range].concat()).expect_code(1);
    assert_eq!(over.summary().failed_by("no_media_port"), 1);
    assert!(media(over.summary(), "relays/faults/relay_unauthorized") >= 1);
    assert_eq!(media(over.summary(), "rtp_packets_sent"), 0);
    // There is no server.
    let nobody = format!("127.0.0.1:{}", ports::free());
    let account = ["-turn_server", &nobody];
    let over = gossipper::run(&[&line[..], &account, &range].concat()).expect_code(1);
    assert!(media(over.summary(), "relays/faults/relay_unreachable") >= 1);
}
