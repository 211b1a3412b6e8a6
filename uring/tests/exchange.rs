//! Datagrams go out and come in: families, sizes, bursts, order, connected sockets, many sockets.

mod common;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use common::{Seen, config, loopback, open, open_as, run_for, run_until, send, settle, spec};
use gossipper_uring::{
    Driver, DriverConfig, Event, RxClass, SocketSpec, TxOrder, UDP_PAYLOAD_MAX, sys,
};

on_both_drivers!(
    a_datagram_is_echoed_over_ipv4,
    a_datagram_is_echoed_over_ipv6,
    the_largest_datagram_arrives_whole,
    an_empty_datagram_is_an_event,
    a_burst_of_equal_datagrams_arrives_whole_and_in_order,
    bursts_arrive_without_any_one_mechanism,
    a_call_keeps_its_order_among_others,
    a_connected_socket_hears_its_peer_only,
    two_sockets_share_a_port,
    a_thousand_sockets_exchange_datagrams,
);

fn echo<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>, spec: &SocketSpec) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (client, client_at) = open_as(&mut driver, spec);
    let (server, server_at) = open_as(&mut driver, spec);
    assert_ne!(client_at.port(), 0);
    send(&mut driver, client, server_at, b"ping");
    let end = sys::monotonic_now() + common::PATIENCE_NS;
    let mut answer = None;
    while answer.is_none() {
        assert!(sys::monotonic_now() < end, "no answer");
        driver.turn(end).expect("turn");
        let _ = driver.drain(|event, tx| {
            let Event::Datagram { socket, source, payload, .. } = event else {
                panic!("{event:?}")
            };
            if socket == server {
                assert_eq!((source, payload), (client_at, &b"ping"[..]));
                assert!(tx.send_copy(b"pong", server, source, 0, &mut TxOrder::default()));
            } else {
                answer = Some((socket, source, payload.to_vec()));
            }
            ControlFlow::Continue(())
        });
    }
    assert_eq!(answer, Some((client, server_at, b"pong".to_vec())));
    let counters = driver.counters();
    assert_eq!((counters.datagrams_sent, counters.bytes_sent), (2, 8));
    assert_eq!((counters.datagrams_received, counters.bytes_received), (2, 8));
    settle(&mut driver, &config);
}

fn a_datagram_is_echoed_over_ipv4<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    echo(make, &loopback());
}

fn a_datagram_is_echoed_over_ipv6<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    echo(make, &spec("[::1]:0"));
}

fn the_largest_datagram_arrives_whole<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    let payload: Vec<u8> = (0..UDP_PAYLOAD_MAX).map(|at| (at % 251) as u8).collect();
    send(&mut driver, from, to, &payload);
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    assert_eq!(seen[0].payload().map(<[u8]>::len), Some(payload.len()));
    assert!(seen[0].payload() == Some(&payload));
}

fn an_empty_datagram_is_an_event<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    send(&mut driver, from, to, b"");
    send(&mut driver, from, to, b"after");
    let seen = run_until(&mut driver, |seen| seen.len() == 2);
    assert_eq!(seen[0].payload(), Some(&b""[..]));
    assert_eq!(seen[1].payload(), Some(&b"after"[..]));
}

/// Sends `count` datagrams of one length in one turn and checks that they arrive in order.
fn burst<D: Driver>(driver: &mut D, count: usize) {
    let (from, _) = open(driver);
    let (_, to) = open(driver);
    let mut order = TxOrder::default();
    for number in 0..count {
        let payload = format!("{number:0>500}");
        assert!(driver.tx().send_copy(payload.as_bytes(), from, to, 0, &mut order));
    }
    assert_eq!(driver.tx().staged(), count);
    let seen = run_until(driver, |seen| seen.len() >= count);
    assert_eq!(seen.len(), count);
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.payload(), Some(format!("{number:0>500}").as_bytes()));
    }
    assert_eq!(driver.tx().staged(), 0);
}

fn a_burst_of_equal_datagrams_arrives_whole_and_in_order<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    burst(&mut driver, 1000);
    let counters = driver.counters();
    // 64 segments to a train.
    assert_eq!(counters.trains_sent, 16);
    assert_eq!((counters.datagrams_sent, counters.datagrams_received), (1000, 1000));
    assert!(counters.receives <= 32, "coalesced on receive: {counters:?}");
    settle(&mut driver, &config);
}

fn bursts_arrive_without_any_one_mechanism<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let all = config();
    for config in [
        DriverConfig { gro: false, ..all.clone() },
        DriverConfig { gso: false, ..all.clone() },
        DriverConfig { multishot: false, ..all.clone() },
        DriverConfig { registered_files: false, ..all.clone() },
        DriverConfig { registered_ring_fd: false, ..all.clone() },
        DriverConfig { sq_entries: 8, cq_entries: 8, rx_large_buffers: 4, ..all.clone() },
    ] {
        let mut driver = make(&config).expect("driver");
        burst(&mut driver, 300);
        settle(&mut driver, &config);
    }
}

fn a_call_keeps_its_order_among_others<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    // Two lengths that alternate per call tempt the arena to fill old trains.
    let calls = 50;
    let mut orders = vec![TxOrder::default(); calls];
    for step in 0..10_usize {
        for (call, order) in orders.iter_mut().enumerate() {
            let width = if (step + call) % 2 == 0 { 20 } else { 40 };
            let payload = format!("{call:0>4} {step:0>width$}");
            assert!(driver.tx().send_copy(payload.as_bytes(), from, to, 0, order));
        }
    }
    let seen = run_until(&mut driver, |seen| seen.len() >= calls * 10);
    let mut next = vec![0_usize; calls];
    for seen in &seen {
        let text = String::from_utf8(seen.payload().expect("datagram").to_vec()).expect("text");
        let (call, step) = text.split_once(' ').expect("two numbers");
        let (call, step) = (call.parse::<usize>().expect("call"), step.parse().expect("step"));
        assert_eq!(next[call], step, "call {call} out of order");
        next[call] += 1;
    }
    assert!(driver.counters().trains_sent < 500, "grouped: {:?}", driver.counters());
}

fn a_connected_socket_hears_its_peer_only<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (peer, peer_at) = open(&mut driver);
    let (stranger, _) = open(&mut driver);
    let connected = SocketSpec { remote: Some(peer_at), ..loopback() };
    let (socket, at) = open_as(&mut driver, &connected);
    send(&mut driver, stranger, at, b"stranger");
    send(&mut driver, socket, peer_at, b"out");
    send(&mut driver, peer, at, b"back");
    let seen = run_until(&mut driver, |seen| {
        seen.iter().filter(|event| matches!(event, Seen::Datagram { .. })).count() == 2
    });
    let datagrams: Vec<_> = seen.iter().filter_map(Seen::payload).collect();
    assert!(datagrams.contains(&&b"out"[..]) && datagrams.contains(&&b"back"[..]), "{seen:?}");
    for event in &seen {
        if let Seen::Datagram { socket: to, source, payload } = event
            && *to == socket
        {
            assert_eq!((source, &payload[..]), (&peer_at, &b"back"[..]));
        }
    }
}

fn two_sockets_share_a_port<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let shared = SocketSpec { reuse_port: true, ..loopback() };
    let (_, at) = open_as(&mut driver, &shared);
    let (_, also) = open_as(&mut driver, &SocketSpec { local: at, ..shared.clone() });
    assert_eq!(at, also);
    let alone = SocketSpec { local: at, ..loopback() };
    assert_eq!(driver.open(&alone).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
    let (from, _) = open(&mut driver);
    send(&mut driver, from, at, b"to either");
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    assert_eq!(seen.len(), 1);
}

fn a_thousand_sockets_exchange_datagrams<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let count = 1000;
    let limit = sys::raise_nofile_limit(8192).expect("limit");
    assert!(limit >= 4096, "descriptor limit {limit}");
    let config = config();
    let mut driver = make(&config).expect("driver");
    let small = SocketSpec {
        rx_class: RxClass::Small,
        receive_buffer_bytes: 0,
        send_buffer_bytes: 0,
        ..loopback()
    };
    let sockets: Vec<_> = (0..count).map(|_| open_as(&mut driver, &small)).collect();
    for round in 0..3_usize {
        for (at, &(from, _)) in sockets.iter().enumerate() {
            let (_, to): (_, SocketAddr) = sockets[(at + 1 + round) % count];
            send(&mut driver, from, to, format!("{round} {at}").as_bytes());
        }
        let seen = run_until(&mut driver, |seen| seen.len() >= count);
        assert_eq!(seen.len(), count);
        for event in seen {
            let Seen::Datagram { socket, source, payload } = event else { panic!("{event:?}") };
            let text = String::from_utf8(payload).expect("text");
            let at: usize = text.split_once(' ').and_then(|(_, at)| at.parse().ok()).expect("at");
            assert_eq!(source, sockets[at].1);
            assert_eq!(socket, sockets[(at + 1 + round) % count].0);
        }
    }
    assert!(run_for(&mut driver, common::QUIET_NS).is_empty());
    settle(&mut driver, &config);
}
