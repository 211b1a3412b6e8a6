//! Networks with loss, delay and breaks. Needs root, for network namespaces.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::gossipper::{self, Over, Run};
use crate::harness::lock;
use crate::harness::namespaces::{CLIENT, Pair, SERVER};
use crate::harness::relay::{Impairment, Relay};

/// Starts our server in the server's namespace.
fn serve_in(pair: &Pair, args: &[&str]) -> (Run, SocketAddr) {
    let server_ip = SERVER.to_string();
    let line = [&["-sn", "uas", "-i", &server_ip, "-p", "0"], args].concat();
    let mut server = gossipper::start_in(pair.server(), &line);
    let address = server.wait_until_listening();
    (server, address)
}

fn call_from(pair: &Pair, remote: SocketAddr, args: &[&str]) -> Run {
    let remote = remote.to_string();
    let line = [&["-sn", "uac", "-p", "0", &remote], args].concat();
    gossipper::start_in(pair.client(), &line)
}

/// Calls from one namespace to the other, through an impaired path.
fn impaired(impairment: Impairment, args: &[&str]) -> (Over, Over, u64) {
    let pair = Pair::new();
    let (server, address) = serve_in(&pair, &[]);
    let relay = Relay::start(pair.server_socket(), pair.server_socket(), address, impairment);
    let client = call_from(&pair, relay.address(), args).finish();
    server.signal(Signal::INT);
    (client, server.finish(), relay.lost())
}

#[test]
fn ten_percent_loss_is_repaired_by_retransmission() {
    let _turn = lock::heavy();
    let impairment = Impairment { loss_percent: 10, delay: Duration::ZERO, seed: 20_260_708 };
    // Of 200 calls, one or two see a repeated response: it takes two losses in a row.
    let (client, server, lost) = impaired(impairment, &["-m", "1000", "-r", "250"]);
    let (ours, peers) = (client.summary(), server.summary());
    ours.expect_to_add_up();
    peers.expect_to_add_up();
    assert!(lost > 250, "{lost}");
    assert_eq!((ours.total(), ours.active()), (1000, 0));
    assert!(ours.succeeded() > 900, "{:#}", ours.0);
    assert!(ours.counter("retransmissions_sent") > 0);
    assert!(ours.counter("retransmissions_received") > 0);
    assert!(peers.counter("retransmissions_sent") > 0);
    assert!(peers.counter("retransmissions_received") > 0);
    assert_eq!(ours.failed_by("unexpected_message"), 0, "{:#}", ours.0);
}

#[test]
fn connections_beyond_the_local_ports_fail_by_that() {
    let _turn = lock::load();
    let pair = Pair::new();
    pair.set_client("net.ipv4.ip_local_port_range", "40000 40003");
    for io in ["uring", "syscall"] {
        let (server, address) = serve_in(&pair, &["-t", "t1", "-io", io]);
        let (remote, client_ip) = (address.to_string(), CLIENT.to_string());
        // Ten calls at once that hold their connections: four have ports; we listen elsewhere.
        let line = ["-sn", "uac", "-t", "tn", "-m", "10", "-r", "200", "-d", "1000"];
        let more = ["-p", "5060", "-io", io, "-i", &client_ip, &remote];
        let client = gossipper::start_in(pair.client(), &[&line[..], &more].concat()).finish();
        server.signal(Signal::INT);
        server.finish();
        let summary = client.expect_code(1);
        let summary = summary.summary();
        summary.expect_to_add_up();
        assert_eq!(
            (summary.succeeded(), summary.failed_by("no_local_port")),
            (4, 6),
            "{io}: {:#}",
            summary.0
        );
    }
}

#[test]
fn forty_milliseconds_of_path_are_measured() {
    let _turn = lock::heavy();
    let delay = Duration::from_millis(20);
    let impairment = Impairment { loss_percent: 0, delay, seed: 0 };
    let (client, _, _) = impaired(impairment, &["-m", "100", "-r", "50"]);
    let client = client.expect_code(0);
    client.summary().expect_all_succeeded(100);
    for clock in ["service", "response"] {
        let p50 = client.summary().number(&format!("/transactions/INVITE/{clock}/p50"));
        assert!((40_000_000..80_000_000).contains(&p50), "{clock}: {p50} ns");
    }
}

#[test]
fn a_closed_port_fails_the_call_before_any_retransmission_limit() {
    let _turn = lock::light();
    let pair = Pair::new();
    // A port that was free a moment ago, in a namespace without other programs.
    let closed = pair.server_socket().local_addr().unwrap();
    for io in ["uring", "syscall"] {
        let over = call_from(&pair, closed, &["-io", io]).finish().expect_code(1);
        assert_eq!(over.summary().failed_by("icmp_unreachable"), 1, "{io}");
        assert!(over.summary().counter("icmp_errors") >= 1, "{io}");
        over.summary().expect_to_add_up();
    }
}

/// Runs until the first calls have succeeded, takes one end of the cable down, and waits.
fn pulled(end: fn(&Pair) -> &str, io: &str) {
    let pair = Pair::new();
    let (server, address) = serve_in(&pair, &[]);
    let line = ["-io", io, "-m", "300", "-r", "50", "-max_retrans", "2", "-recv_timeout", "10s"];
    let mut client = call_from(&pair, address, &[&line[..], &["-stat_period", "1"]].concat());
    client.process().wait_for_stderr_as("success", |text| {
        let mut succeeded = text.split(" success=").skip(1);
        succeeded.any(|number| !number.starts_with('0')).then_some(())
    });
    pair.pull(end(&pair));
    let client = client.finish().expect_code(1);
    let summary = client.summary();
    summary.expect_to_add_up();
    assert_eq!((summary.total(), summary.active()), (300, 0));
    assert!(summary.succeeded() > 0 && summary.failed() > 0, "{:#}", summary.0);
    let by_path = ["max_udp_retrans", "icmp_unreachable", "cannot_send_message"];
    let failed: u64 = by_path.iter().map(|cause| summary.failed_by(cause)).sum();
    assert_eq!(failed, summary.failed(), "{:#}", summary.0);
    server.signal(Signal::INT);
    server.signal(Signal::INT);
    server.finish().summary().expect_to_add_up();
}

#[test]
fn calls_fail_by_cause_when_the_peers_link_goes_down() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        pulled(Pair::server, io);
    }
}

#[test]
fn calls_fail_by_cause_when_our_link_goes_down() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        pulled(Pair::client, io);
    }
}

#[test]
fn bursts_cross_a_cable() {
    let _turn = lock::load();
    let pair = Pair::new();
    // Every call in one burst: trains of datagrams that the kernel splits again.
    let (server, address) = serve_in(&pair, &["-m", "500", "-buff_size", "4000000"]);
    let line = ["-m", "500", "-r", "500", "-rp", "10", "-buff_size", "4000000"];
    let client = call_from(&pair, address, &line).finish().expect_code(0);
    client.summary().expect_all_succeeded(500);
    server.finish().expect_code(0).summary().expect_all_succeeded(500);
}
