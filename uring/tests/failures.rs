//! Refusals of the network and the kernel become an event or a counter, never silence.

mod common;

use std::io;
use std::ops::ControlFlow;

use common::{
    QUIET_NS, Seen, closed_port, config, loopback, open, open_as, run_for, run_until, send, settle,
    spec,
};
use gossipper_uring::{
    Driver, DriverConfig, IcmpCause, RxClass, SMALL_BYTES, SendFailure, SocketId, SocketSpec,
    TxOrder,
};

on_both_drivers!(
    a_closed_port_is_reported_with_the_quoted_payload,
    a_closed_port_is_reported_over_ipv6,
    a_connected_socket_learns_of_a_closed_port,
    an_innocent_destination_is_reached_beside_a_closed_port,
    a_train_to_a_closed_port_does_not_stop_the_socket,
    a_full_receive_queue_is_counted,
    overflow_is_counted_per_socket,
    a_datagram_too_large_for_its_class_is_counted_and_not_delivered,
    a_datagram_too_large_for_udp_fails_with_its_cookie,
    a_wrong_family_fails_with_its_cookie,
    an_exhausted_arena_recovers,
    a_datagram_for_a_closed_socket_is_swallowed,
);

fn is_datagram(event: &Seen) -> bool {
    matches!(event, Seen::Datagram { .. })
}

fn a_closed_port_is_reported_with_the_quoted_payload<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    let destination = closed_port();
    let payload = b"OPTIONS sip:nobody@127.0.0.1 SIP/2.0\r\n";
    for round in 1..=3 {
        send(&mut driver, socket, destination, payload);
        let seen = run_until(&mut driver, |seen| !seen.is_empty());
        let quoted = payload.to_vec();
        let expected = Seen::Unreachable { socket, destination, cause: IcmpCause::Port, quoted };
        assert_eq!(seen, [expected]);
        assert_eq!(driver.counters().icmp_errors, round);
    }
    assert_eq!(driver.counters().send_errors, 0);
    settle(&mut driver, &config);
}

fn a_closed_port_is_reported_over_ipv6<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (socket, _) = open_as(&mut driver, &spec("[::1]:0"));
    let free = std::net::UdpSocket::bind("[::1]:0").expect("bind");
    let destination = free.local_addr().expect("address");
    drop(free);
    send(&mut driver, socket, destination, b"six");
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    let quoted = b"six".to_vec();
    let expected = Seen::Unreachable { socket, destination, cause: IcmpCause::Port, quoted };
    assert_eq!(seen, [expected]);
}

fn a_connected_socket_learns_of_a_closed_port<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let destination = closed_port();
    let connected = SocketSpec { remote: Some(destination), ..loopback() };
    let (socket, _) = open_as(&mut driver, &connected);
    send(&mut driver, socket, destination, b"anyone?");
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    let quoted = b"anyone?".to_vec();
    let expected = Seen::Unreachable { socket, destination, cause: IcmpCause::Port, quoted };
    assert_eq!(seen, [expected]);
}

fn an_innocent_destination_is_reached_beside_a_closed_port<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    let (_, innocent) = open(&mut driver);
    let closed = closed_port();
    // Every send to the closed port leaves an error that the next send of the socket meets.
    let count = 200_usize;
    for number in 0..count {
        send(&mut driver, socket, closed, format!("lost {number}").as_bytes());
        send(
            &mut driver,
            socket,
            innocent,
            format!("kept {number:>width$}", width = number % 7).as_bytes(),
        );
    }
    let arrived = |seen: &[Seen]| seen.iter().filter(|event| is_datagram(event)).count();
    let mut seen = run_until(&mut driver, |seen| arrived(seen) >= count);
    seen.extend(run_for(&mut driver, QUIET_NS));
    assert_eq!(arrived(&seen), count, "each once");
    let refused = seen.iter().filter(|event| matches!(event, Seen::SendFailed { .. })).count();
    assert_eq!(refused, 0, "a pending error is nobody's failure to send");
    assert!(driver.counters().icmp_errors > 0);
    // The socket itself still receives.
    let at = driver.local_addr(socket);
    let (other, _) = open(&mut driver);
    send(&mut driver, other, at, b"still there?");
    let seen = run_until(&mut driver, |seen| seen.iter().any(is_datagram));
    assert!(seen.iter().any(|event| event.payload() == Some(b"still there?")));
    settle(&mut driver, &config);
}

fn a_train_to_a_closed_port_does_not_stop_the_socket<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    let (_, open_at) = open(&mut driver);
    let closed = closed_port();
    for _ in 0..5 {
        for number in 0..100 {
            send(&mut driver, socket, closed, format!("{number:0>300}").as_bytes());
            send(&mut driver, socket, open_at, format!("{number:0>300}").as_bytes());
        }
        let seen = run_until(&mut driver, |seen| {
            seen.iter().filter(|event| is_datagram(event)).count() >= 100
        });
        assert!(!seen.iter().any(|event| matches!(event, Seen::SendFailed { .. })));
    }
    let _ = run_for(&mut driver, QUIET_NS);
    assert!(driver.counters().icmp_errors > 0);
    settle(&mut driver, &config);
}

/// Overfills the receive queue of a socket without reading, then reads. Returns (sent, received).
fn overfill<D: Driver>(driver: &mut D, to: SocketId, sender: &std::net::UdpSocket) -> (u64, u64) {
    let at = driver.local_addr(to);
    let sent = 400;
    let payload = [7_u8; 1000];
    for _ in 0..sent {
        sender.send_to(&payload, at).expect("send");
    }
    let seen = run_for(driver, QUIET_NS);
    (sent, seen.len() as u64)
}

fn tiny() -> SocketSpec {
    SocketSpec { receive_buffer_bytes: 16 * 1024, ..loopback() }
}

fn a_full_receive_queue_is_counted<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (socket, at) = open_as(&mut driver, &tiny());
    // The receive is in the kernel only after the first turn.
    driver.turn(0).expect("turn");
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let (sent, mut received) = overfill(&mut driver, socket, &sender);
    assert!(received < sent, "the queue held all of {sent}");
    // The count travels with the next datagram that finds room.
    sender.send_to(b"probe", at).expect("send");
    received += run_for(&mut driver, QUIET_NS).len() as u64;
    assert_eq!(driver.counters().receive_overflow, sent + 1 - received);
    // A second overflow adds only the new drops.
    let (again, more) = overfill(&mut driver, socket, &sender);
    driver.close(socket);
    driver.turn(0).expect("turn");
    assert_eq!(driver.counters().receive_overflow, sent + again + 1 - received - more);
}

fn overflow_is_counted_per_socket<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let sockets = [open_as(&mut driver, &tiny()).0, open_as(&mut driver, &tiny()).0];
    driver.turn(0).expect("turn");
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let (mut sent, mut received) = (0, 0);
    for socket in sockets.into_iter().chain(sockets) {
        let (more_sent, more_received) = overfill(&mut driver, socket, &sender);
        sent += more_sent;
        received += more_received;
    }
    for socket in sockets {
        driver.close(socket);
    }
    driver.turn(0).expect("turn");
    assert_eq!(driver.counters().receive_overflow, sent - received);
}

fn a_datagram_too_large_for_its_class_is_counted_and_not_delivered<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let small = SocketSpec { rx_class: RxClass::Small, ..loopback() };
    let (_, to) = open_as(&mut driver, &small);
    let (from, _) = open(&mut driver);
    send(&mut driver, from, to, &[1; SMALL_BYTES + 1]);
    send(&mut driver, from, to, &[2; SMALL_BYTES]);
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].payload(), Some(&[2; SMALL_BYTES][..]));
    assert_eq!(driver.counters().receive_truncated, 1);
    assert_eq!(driver.counters().datagrams_received, 1);
}

fn a_datagram_too_large_for_udp_fails_with_its_cookie<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    let (_, destination) = open(&mut driver);
    let slot = driver.tx().reserve(65_536).expect("slot");
    driver.tx().commit(slot, 65_536, socket, destination, 77, &mut TxOrder::default());
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    let cause = SendFailure::TooLarge;
    assert_eq!(seen, [Seen::SendFailed { socket, destination, cookie: 77, cause }]);
    assert_eq!(driver.counters().send_errors, 1);
    settle(&mut driver, &config);
}

fn a_wrong_family_fails_with_its_cookie<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    let destination = "[::1]:9".parse().expect("literal");
    for cookie in [1, 2, 3] {
        let mut order = TxOrder::default();
        assert!(driver.tx().send_copy(b"same length", socket, destination, cookie, &mut order));
    }
    let seen = run_until(&mut driver, |seen| seen.len() >= 3);
    let cookies: Vec<_> = seen
        .iter()
        .map(|event| match event {
            Seen::SendFailed { cookie, cause: SendFailure::Other(_), .. } => *cookie,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cookies, [1, 2, 3], "each datagram of a failed train, in order");
    settle(&mut driver, &config);
}

fn an_exhausted_arena_recovers<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = DriverConfig { tx_small_slots: 32, tx_large_slots: 1, ..config() };
    let mut driver = make(&config).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    for round in 1..=3 {
        for _ in 0..32 {
            send(&mut driver, from, to, b"filler");
        }
        assert_eq!(driver.tx().free(), 0);
        assert!(driver.tx().reserve(10).is_none());
        assert_eq!(driver.counters().tx_exhausted, round);
        let seen = run_until(&mut driver, |seen| seen.len() >= 32);
        assert_eq!(seen.len(), 32);
        settle(&mut driver, &config);
    }
    assert!(driver.tx().reserve(1 << 20).is_none(), "no slot is that large");
    let slot = driver.tx().reserve(10).expect("slot");
    driver.tx().release(slot);
    assert_eq!(driver.tx().free(), 32);
}

fn a_datagram_for_a_closed_socket_is_swallowed<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (socket, at) = open(&mut driver);
    driver.close(socket);
    driver.turn(0).expect("turn");
    send(&mut driver, socket, at, b"too late");
    send(&mut driver, SocketId(9999), at, b"never was");
    driver.turn(0).expect("turn");
    let flow = driver.drain(|event, _| panic!("{event:?}"));
    assert_eq!(flow, ControlFlow::Continue(()));
    assert_eq!(driver.counters().send_errors, 2);
    settle(&mut driver, &config);
}
