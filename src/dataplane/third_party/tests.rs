//! The thread against sockets of the test's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use gossipper_uring::{Driver, DriverConfig, SimConfig, SimDriver, SimNet};

use super::link::{Tell, WorkerEnd};
use super::*;

/// Longest time that a test waits for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn waker() -> Waker {
    let net = SimNet::new(1, SimConfig::default());
    SimDriver::new(&net, &DriverConfig::default()).unwrap().waker()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port that is free now.
fn free() -> SocketAddr {
    TcpListener::bind(local(0)).unwrap().local_addr().unwrap()
}

fn twin_b(address: SocketAddr) -> ThirdPartyPlan {
    ThirdPartyPlan {
        peering: Peering::Pair,
        listen: Some(address),
        peers: vec![PeerPlan { name: String::new(), address: None }],
        connects: Connects::AtStart,
    }
}

fn twin_a(address: SocketAddr) -> ThirdPartyPlan {
    ThirdPartyPlan {
        listen: None,
        peers: vec![PeerPlan { name: String::new(), address: Some(address) }],
        ..twin_b(address)
    }
}

/// The next message to the worker, as text.
#[track_caller]
fn told(end: &mut WorkerEnd) -> String {
    let start = Instant::now();
    loop {
        if let Some(tell) = end.read() {
            return match tell {
                Tell::Command(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            };
        }
        assert!(start.elapsed() < PATIENCE, "the worker is told nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads the peer's input up to the end of a command.
#[track_caller]
fn hear(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte != [27] {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn twins_talk_over_one_connection() {
    let address = free();
    let (mut b, mut end_b) = start(&twin_b(address), waker()).unwrap();
    let (mut a, mut end_a) = start(&twin_a(address), waker()).unwrap();
    assert_eq!(told(&mut end_a), "Reachable(0)");
    assert!(end_a.push(0, b"Call-ID: 1\r\n\r\n"));
    assert!(end_a.push(0, b"Call-ID: 2\r\n\r\n"));
    end_a.wake();
    assert_eq!(told(&mut end_b), "Reachable(0)");
    assert_eq!(told(&mut end_b), "Call-ID: 1\r\n\r\n");
    assert_eq!(told(&mut end_b), "Call-ID: 2\r\n\r\n");
    assert!(end_b.push(0, b"Call-ID: 1\r\nyes: \r\n\r\n"));
    end_b.wake();
    assert_eq!(told(&mut end_a), "Call-ID: 1\r\nyes: \r\n\r\n");
    // The last command arrives, even if the sender ends at once.
    assert!(end_a.push(0, b"Call-ID: 3\r\n\r\n"));
    drop(end_a);
    a.join();
    assert_eq!(told(&mut end_b), "Call-ID: 3\r\n\r\n");
    assert_eq!(told(&mut end_b), "Gone(None)");
    assert!(b.notes().any(|note| note.contains("has ended")));
    drop(end_b);
    b.join();
}

#[test]
fn noise_is_told_apart_from_a_twin() {
    let address = free();
    let (mut b, mut end) = start(&twin_b(address), waker()).unwrap();
    let mut noise = TcpStream::connect(address).unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x1b\x1b").unwrap();
    assert!(told(&mut end).starts_with("GET"));
    assert_eq!(told(&mut end), "");
    noise.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(told(&mut end), "Unfinished");
    // The rest of a text that is too long is skipped, not taken for a new one.
    noise.write_all(b"Call-ID: not-one\r\n\r\n\x1bhalf").unwrap();
    drop(noise);
    assert_eq!(told(&mut end), "Unfinished");
    // Its end belongs to no instance. The other instance connects later, and its commands arrive in
    // pieces.
    let mut third_party = TcpStream::connect(address).unwrap();
    for piece in [&b"Call-"[..], b"ID: 7\r\n", b"\r\n", b"\x1b"] {
        third_party.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(told(&mut end), "Reachable(0)");
    assert_eq!(told(&mut end), "Call-ID: 7\r\n\r\n");
    assert!(end.push(0, b"Call-ID: 7\r\nback: \r\n\r\n"));
    end.wake();
    assert_eq!(hear(&mut third_party), "Call-ID: 7\r\nback: \r\n\r\n");
    drop(third_party);
    assert_eq!(told(&mut end), "Gone(None)");
    drop(end);
    b.join();
}

#[test]
fn named_instances_connect_when_they_are_addressed() {
    let (own, master) = (free(), TcpListener::bind(local(0)).unwrap());
    let peers = vec![
        PeerPlan { name: "m".to_owned(), address: Some(master.local_addr().unwrap()) },
        PeerPlan { name: "s2".to_owned(), address: None },
    ];
    let plan = ThirdPartyPlan {
        peering: Peering::Named,
        listen: Some(own),
        peers,
        connects: Connects::WhenAddressed,
    };
    let (mut slave, mut end) = start(&plan, waker()).unwrap();
    let mut stream = TcpStream::connect(own).unwrap();
    stream.write_all(b"Call-ID: 1\r\nFrom: m\r\n\r\n\x1b").unwrap();
    let (mut back, _) = master.accept().unwrap();
    assert_eq!(told(&mut end), "Reachable(0)");
    assert_eq!(told(&mut end), "Call-ID: 1\r\nFrom: m\r\n\r\n");
    assert!(end.push(0, b"Call-ID: 1\r\nFrom: s1\r\n\r\n"));
    end.wake();
    assert_eq!(hear(&mut back), "Call-ID: 1\r\nFrom: s1\r\n\r\n");
    drop(stream);
    assert_eq!(told(&mut end), "Gone(Some(0))");
    drop(end);
    slave.join();
}

#[test]
fn who_is_not_there_is_named() {
    let nobody = free();
    let error = start(&twin_a(nobody), waker()).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&format!("the twin at {nobody}")), "{text}");
    assert!(text.contains("first"), "{text}");
    let taken = TcpListener::bind(local(0)).unwrap();
    let error = start(&twin_b(taken.local_addr().unwrap()), waker()).err().unwrap();
    assert!(matches!(error, ThirdPartyError::Listen { .. }), "{error}");
}
