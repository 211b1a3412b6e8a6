//! Several workers on one port, and sockets of calls (`-t un`).

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::gossipper;
use crate::harness::lock;
use crate::harness::peer::{Peer, Received};

#[test]
fn two_workers_on_both_sides_lose_no_call() {
    let _turn = lock::load();
    for io in ["uring", "syscall"] {
        let line = ["-sn", "uas", "-i", "127.0.0.1", "-m", "2000", "-workers", "2", "-io", io];
        let (server, address) = gossipper::serve(&line);
        let remote = address.to_string();
        let load = ["-m", "2000", "-r", "500", "-workers", "2", "-io", io];
        let line = [&["-sn", "uac", "-i", "127.0.0.1", "-p", "0", &remote], &load[..]].concat();
        let client = gossipper::run(&line).expect_code(0);
        client.summary().expect_all_succeeded(2000);
        assert_eq!(client.summary().number("/generator/workers"), 2);
        let server = server.finish().expect_code(0);
        server.summary().expect_all_succeeded(2000);
        assert_eq!(server.summary().number("/generator/workers"), 2);
    }
}

/// Ids of a caller and an answerer differ although they have the same seed. Otherwise the answerer
/// would take the caller's Call-IDs for those of its own ended calls.
#[test]
fn one_seed_serves_caller_and_answerer() {
    let _turn = lock::light();
    let line = ["-sn", "uas", "-i", "127.0.0.1", "-m", "10", "-seed", "7"];
    let (server, address) = gossipper::serve(&line);
    let remote = address.to_string();
    let line = ["-sn", "uac", "-p", "0", "-m", "10", "-seed", "7", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(10);
    server.finish().expect_code(0).summary().expect_all_succeeded(10);
}

/// The kernel chooses the worker by addresses and ports: all calls from one port come to one.
#[test]
fn one_peer_uses_up_the_calls_of_all_workers() {
    let _turn = lock::light();
    let (server, address) =
        gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "100", "-workers", "3"]);
    let remote = address.to_string();
    let line = ["-sn", "uac", "-p", "0", "-m", "100", "-r", "200", "-workers", "1", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(100);
    let server = server.finish().expect_code(0);
    server.summary().expect_all_succeeded(100);
    assert_eq!(server.summary().counter("out_of_call_messages"), 0);
    assert_eq!(server.summary().counter("handover_dropped"), 0);
}

/// The kernel chooses the worker by addresses and ports; the call lives where its INVITE arrived.
#[test]
fn requests_from_another_port_reach_the_worker_of_their_call() {
    let _turn = lock::light();
    const CALLS: usize = 24;
    for io in ["uring", "syscall"] {
        let calls = CALLS.to_string();
        let line = ["-sn", "uas", "-i", "127.0.0.1", "-m", &calls, "-workers", "2", "-io", io];
        let (server, address) = gossipper::serve(&line);
        let caller = Peer::new();
        for call in 0..CALLS {
            let request = |method: &str, cseq: u32, to_tag: &str| {
                format!(
                    "{method} sip:service@{address} SIP/2.0\r\n\
                     Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-{call}-{method}\r\n\
                     From: <sip:caller@127.0.0.1>;tag=caller{call}\r\n\
                     To: <sip:service@{address}>{to_tag}\r\n\
                     Call-ID: {call}@another-port\r\n\
                     CSeq: {cseq} {method}\r\n\
                     Content-Length: 0\r\n\r\n"
                )
            };
            caller.send(address, request("INVITE", 1, ""));
            let is_ours =
                |answer: &Received| answer.header("Call-ID").starts_with(&format!("{call}@"));
            let answer = std::iter::repeat_with(|| caller.receive_kind("200"))
                .find(is_ours)
                .expect("the iterator has no end");
            let tag = answer.header("To").split_once(">").expect("a tag").1.to_owned();
            // Both on one path, so that they stay in order.
            let another = Peer::new();
            another.send(address, request("ACK", 1, &tag));
            another.send(address, request("BYE", 2, &tag));
            // The answer goes to where the request came from.
            assert_eq!(another.receive().kind(), "200");
        }
        let server = server.finish().expect_code(0);
        server.summary().expect_all_succeeded(CALLS as u64);
        // Each BYE may have arrived at the other worker.
        assert!(server.summary().counter("handed_over") > 0, "{:#}", server.summary().0);
        assert_eq!(server.summary().counter("handover_dropped"), 0);
    }
}

/// Answers no call before all are open; returns the source ports by Call-ID.
fn answer_when_all_are_open(peer: &Peer, calls: usize) -> BTreeMap<String, u16> {
    let mut invites = BTreeMap::new();
    while invites.len() < calls {
        let invite = peer.receive_kind("INVITE");
        invites.insert(invite.header("Call-ID").to_owned(), invite);
    }
    for invite in invites.values() {
        peer.answer(invite, "200 OK", "");
    }
    let mut ended = BTreeSet::new();
    while ended.len() < calls {
        let request = peer.receive();
        let call_id = request.header("Call-ID").to_owned();
        assert_eq!(request.source, invites[&call_id].source, "{}", request.text);
        match request.kind() {
            "BYE" => {
                peer.answer(&request, "200 OK", "");
                ended.insert(call_id);
            }
            // The answer was lost.
            "INVITE" => peer.answer(&request, "200 OK", ""),
            _ => {}
        }
    }
    invites.into_iter().map(|(call_id, invite)| (call_id, invite.source.port())).collect()
}

/// Makes `calls` calls that are open at the same time; returns how many source ports they had.
fn ports_of(calls: usize, args: &[&str]) -> usize {
    let peer = Peer::new();
    let (remote, count) = (peer.address().to_string(), calls.to_string());
    let line = ["-sn", "uac", "-t", "un", "-i", "127.0.0.1", "-m", &count, "-r", "500", &remote];
    let client = gossipper::start(&[&line, args].concat());
    let ports = answer_when_all_are_open(&peer, calls);
    let client = client.finish().expect_code(0);
    client.summary().expect_all_succeeded(calls as u64);
    assert_eq!(client.summary().number("/peak_active_calls"), calls as u64);
    ports.into_values().collect::<BTreeSet<_>>().len()
}

#[test]
fn each_call_of_un_has_a_port_of_its_own() {
    let _turn = lock::load();
    for io in ["uring", "syscall"] {
        assert_eq!(ports_of(500, &["-io", io]), 500, "{io}");
    }
}

#[test]
fn calls_beyond_max_socket_share_sockets() {
    let _turn = lock::load();
    for io in ["uring", "syscall"] {
        assert_eq!(ports_of(100, &["-io", io, "-max_socket", "10"]), 10, "{io}");
    }
}

#[test]
fn sockets_of_calls_are_used_again() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "50"]);
    let remote = address.to_string();
    let line = ["-sn", "uac", "-t", "un", "-m", "50", "-r", "100", "-l", "3", &remote];
    let client = gossipper::run(&line).expect_code(0);
    client.summary().expect_all_succeeded(50);
    server.finish().expect_code(0).summary().expect_all_succeeded(50);
}

/// Sockets with SO_REUSEPORT of one user share a port, and the calls that come to it.
#[test]
fn a_port_that_another_process_would_share_is_taken() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
    let _turn = lock::light();
    let other = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    sockopt::set_socket_reuseport(&other, true).unwrap();
    bind(&other, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&other).unwrap()).unwrap();
    let port = address.port().to_string();
    let line = ["-sn", "uas", "-i", "127.0.0.1", "-p", &port, "-workers", "2", "-m", "1"];
    let stderr = gossipper::run(&line).expect_code(254).finished.stderr;
    assert!(stderr.contains(&format!("cannot bind UDP {address}")), "{stderr}");
    assert!(stderr.contains("-p (local_port)"), "{stderr}");
}
