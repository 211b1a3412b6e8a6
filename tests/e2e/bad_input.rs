//! A server under malformed input: it goes on answering the calls that are well-formed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::gossipper;
use crate::harness::lock;
use crate::harness::peer::Peer;
use crate::harness::relay::next_random;

const CALLS: u64 = 2_000;
/// The largest payload of a UDP datagram over IPv4.
const LARGEST: usize = 65_507;
const SEED: u64 = 4475;

/// A request that is well-formed up to the place where it is cut.
fn request(method: &str, number: u64, content_length: &str) -> Vec<u8> {
    format!(
        "{method} sip:service@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-noise-{number}\r\n\
         From: <sip:noise@127.0.0.1>;tag=noise{number}\r\n\
         To: <sip:service@127.0.0.1>\r\n\
         Call-ID: noise-{number}\r\n\
         CSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\n\
         Content-Length: {content_length}\r\n\r\n"
    )
    .into_bytes()
}

/// Malformed datagrams that start no call, one kind after the other.
fn malformed(round: u64, random: &mut u64) -> Vec<u8> {
    let mut bytes =
        |len: usize| -> Vec<u8> { (0..len).map(|_| next_random(random) as u8).collect() };
    match round % 6 {
        0 => bytes(64),
        1 => bytes(1400),
        2 => bytes(LARGEST),
        // Cut within the headers, before the Call-ID.
        3 => {
            let whole = request("INVITE", round, "0");
            let end = 1 + (round as usize * 7) % 100;
            whole[..end].to_vec()
        }
        // A body that claims to be longer than the datagram.
        4 => request("INVITE", round, "500"),
        _ => request("INVITE", round, "minus one"),
    }
}

fn torture_messages() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rfc4475");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 40);
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Sends the datagrams of `next`, in small portions, until told to stop; returns their number.
fn noise(
    to: SocketAddr,
    over: &Arc<AtomicBool>,
    mut next: impl FnMut(u64) -> Vec<u8> + Send + 'static,
) -> JoinHandle<u64> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        let peer = Peer::new();
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) {
            for _ in 0..5 {
                let datagram = next(sent);
                peer.send(to, &datagram);
                // Each one twice, as networks do.
                peer.send(to, &datagram);
                sent += 1;
            }
            thread::sleep(Duration::from_millis(10));
        }
        2 * sent
    })
}

#[test]
fn noise_fails_no_call() {
    let _turn = lock::load();
    for io in ["uring", "syscall"] {
        // Buffers that hold a few of the largest datagrams.
        let line = ["-sn", "uas", "-i", "127.0.0.1", "-io", io, "-buff_size", "4000000"];
        let (mut server, address) = gossipper::serve(&line);
        let over = Arc::new(AtomicBool::new(false));
        let mut random = SEED;
        let garbage = noise(address, &over, move |round| malformed(round, &mut random));
        let messages = torture_messages();
        let torture =
            noise(address, &over, move |round| messages[round as usize % messages.len()].clone());

        let (remote, calls) = (address.to_string(), CALLS.to_string());
        let line = ["-sn", "uac", "-p", "0", "-io", io, "-r", "200", "-m", &calls, &remote];
        let client = gossipper::run(&line).expect_code(0);
        over.store(true, Ordering::Relaxed);
        let sent = garbage.join().unwrap() + torture.join().unwrap();
        client.summary().expect_all_succeeded(CALLS);
        assert_eq!(client.summary().counter("parse_errors"), 0);

        assert!(server.process().is_running());
        server.signal(Signal::INT);
        server.signal(Signal::INT);
        // Some torture messages are valid. They begin calls that never go on, so the exit code says
        // nothing here.
        let server = server.finish();
        let summary = server.summary();
        summary.expect_to_add_up();
        assert!(summary.succeeded() >= CALLS - 1000, "{:#}", summary.0);
        // Five of the six kinds of noise are always counted as malformed; half of all is noise.
        assert!(summary.counter("parse_errors") > sent / 8, "{sent}: {:#}", summary.0);
        assert!(summary.counter("bad_requests_answered") > 0, "{:#}", summary.0);
        assert!(server.finished.stderr.find("panicked").is_none(), "{}", server.finished.stderr);
    }
}

#[test]
fn a_malformed_request_is_refused_and_not_a_call() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let peer = Peer::new();
    for (number, length) in ["500", "minus one"].into_iter().enumerate() {
        peer.send(address, request("INVITE", number as u64, length));
        assert_eq!(peer.receive().kind(), "400");
    }
    peer.send(address, b"\r\n\r\n");
    peer.send(address, b"not SIP at all");
    // After all that a request is sent that is answered.
    peer.send(address, request("INVITE", 7, "0"));
    assert_eq!(peer.receive().kind(), "180");
    server.signal(Signal::INT);
    server.signal(Signal::INT);
    let server = server.finish();
    assert_eq!(server.summary().total(), 1);
    assert_eq!(server.summary().counter("parse_errors"), 3);
    assert_eq!(server.summary().counter("bad_requests_answered"), 2);
    assert_eq!(server.summary().counter("keepalives_received"), 1);
}

#[test]
fn garbage_for_a_client_fails_no_call() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let client = gossipper::start(&["-sn", "uac", "-p", "0", &remote]);
    let invite = peer.receive_kind("INVITE");
    let mut random = SEED;
    for round in 0..60 {
        peer.send(invite.source, malformed(round, &mut random));
    }
    for message in torture_messages() {
        peer.send(invite.source, message);
    }
    peer.answer(&invite, "200 OK", "");
    let bye = peer.receive_kind("BYE");
    peer.answer(&bye, "200 OK", "");
    let client = client.finish().expect_code(0);
    client.summary().expect_all_succeeded(1);
    assert!(client.summary().counter("parse_errors") > 0);
    assert!(client.summary().counter("out_of_call_messages") > 0);
}
