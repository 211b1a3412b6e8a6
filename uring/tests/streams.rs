//! TCP streams over both kernel drivers.

mod common;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{PATIENCE_NS, QUIET_NS, Seen, config, run_for, run_until, step};
use gossipper_uring::{
    ConnectSpec, Driver, DriverConfig, ListenSpec, SocketId, StreamCause, StreamWriteError, sys,
};

on_both_drivers!(
    bytes_go_both_ways,
    bytes_come_in_order_whatever_the_pieces,
    a_burst_of_a_megabyte_arrives_whole_and_room_is_reported,
    a_refused_connect_is_reported_once,
    what_is_written_before_the_connect_ends_is_sent,
    what_was_written_is_sent_before_the_close,
    a_close_does_not_wait_for_a_silent_peer_for_ever,
    an_abort_resets,
    a_reset_is_reported,
    a_peer_that_closes_half_way_through_a_write_is_reported_once,
    what_the_peer_sent_before_it_closed_is_delivered,
    many_connections_are_accepted_at_once,
    an_id_kept_too_long_reaches_nobody,
    late_events_of_a_closed_stream_are_swallowed,
    the_stream_limit_is_an_error_and_refuses_accepts,
    the_local_address_is_that_of_the_connection,
    a_given_local_address_is_used,
    an_unknown_device_is_an_error_that_names_it,
    a_listener_can_be_closed_and_its_port_used_again,
    a_driver_that_is_not_drained_reads_no_more,
    a_driver_is_dropped_with_streams_in_all_states,
    a_shutdown_sends_what_was_written,
);

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn listen(driver: &mut impl Driver) -> (SocketId, SocketAddr) {
    let listener = driver.listen(&ListenSpec::new(anywhere())).expect("listen");
    (listener, driver.local_addr(listener))
}

fn connect(driver: &mut impl Driver, to: SocketAddr) -> SocketId {
    driver.connect(&ConnectSpec::new(to)).expect("connect")
}

/// A stream of the driver and the peer's end of it.
fn with_peer(driver: &mut impl Driver) -> (SocketId, TcpStream) {
    let listener = TcpListener::bind(anywhere()).expect("bind");
    let stream = connect(driver, listener.local_addr().expect("address"));
    let seen = run_until(driver, |seen| !seen.is_empty());
    assert_eq!(seen, [Seen::Connected { socket: stream }]);
    let (peer, _) = listener.accept().expect("accept");
    peer.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("timeout");
    (stream, peer)
}

/// Both ends of a stream, on one driver.
fn pair(driver: &mut impl Driver) -> (SocketId, SocketId) {
    let (listener, at) = listen(driver);
    let client = connect(driver, at);
    let seen = run_until(driver, |seen| seen.len() >= 2);
    let server = seen.iter().find_map(|event| match *event {
        Seen::Accepted { socket, .. } => Some(socket),
        _ => None,
    });
    driver.close(listener);
    (client, server.expect("accepted"))
}

fn data_of(seen: &[Seen], of: SocketId) -> Vec<u8> {
    let bytes = seen.iter().filter_map(|event| match event {
        Seen::Data { socket, bytes } if *socket == of => Some(bytes.as_slice()),
        _ => None,
    });
    bytes.collect::<Vec<_>>().concat()
}

fn closed(seen: &[Seen], of: SocketId) -> Vec<StreamCause> {
    let causes = seen.iter().filter_map(|event| match *event {
        Seen::Closed { socket, cause } if socket == of => Some(cause),
        _ => None,
    });
    causes.collect()
}

/// Number of streams that exist.
fn alive(driver: &impl Driver) -> u64 {
    let counters = driver.counters();
    counters.streams_opened + counters.streams_accepted - counters.streams_closed
}

/// Turns until no stream is left.
fn until_gone(driver: &mut impl Driver) {
    let end = sys::monotonic_now() + PATIENCE_NS;
    let mut seen = Vec::new();
    while alive(driver) > 0 {
        assert!(sys::monotonic_now() < end, "streams leaked: {:?}", driver.counters());
        step(driver, sys::monotonic_now() + 1_000_000, &mut seen);
    }
}

/// Writes all of `bytes`, turning while there is no room, and adds the events meanwhile to `seen`.
fn write_all(driver: &mut impl Driver, to: SocketId, bytes: &[u8], seen: &mut Vec<Seen>) {
    let end = sys::monotonic_now() + PATIENCE_NS;
    for part in bytes.chunks(50_000) {
        while let Err(error) = driver.stream_write(to, part) {
            assert_eq!(error, StreamWriteError::Full);
            assert!(sys::monotonic_now() < end, "no room: {:?}", driver.counters());
            let drained = Seen::Drained { socket: to };
            let before = seen.len();
            while !seen[before..].contains(&drained) {
                assert!(sys::monotonic_now() < end, "never drained: {:?}", driver.counters());
                step(driver, sys::monotonic_now() + 1_000_000, seen);
            }
        }
    }
}

/// Fills the buffers of both kernels' ends, then ours.
fn stuff(driver: &mut impl Driver, to: SocketId, seen: &mut Vec<Seen>) {
    let mut refused = 0;
    while refused < 5 {
        match driver.stream_write(to, &[7; 60_000]) {
            Ok(()) => refused = 0,
            Err(error) => {
                assert_eq!(error, StreamWriteError::Full);
                refused += 1;
            }
        }
        let until = sys::monotonic_now() + 2_000_000;
        step(driver, until, seen);
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn bytes_go_both_ways<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (listener, at) = listen(&mut driver);
    assert_ne!(at.port(), 0);
    let client = connect(&mut driver, at);
    let seen = run_until(&mut driver, |seen| seen.len() >= 2);
    assert!(seen.contains(&Seen::Connected { socket: client }));
    let from = driver.local_addr(client);
    let server = seen.iter().find_map(|event| match *event {
        Seen::Accepted { listener: of, socket, peer } => {
            assert_eq!((of, peer), (listener, from));
            Some(socket)
        }
        _ => None,
    });
    let server = server.expect("accepted");
    assert_eq!(driver.local_addr(server), at);
    driver.stream_write(client, b"ques").expect("write");
    driver.stream_write(client, b"tion").expect("write");
    let before = sys::monotonic_now();
    let seen = run_until(&mut driver, |seen| data_of(seen, server).len() >= 8);
    assert_eq!(data_of(&seen, server), b"question");
    driver.stream_write(server, b"answer").expect("write");
    let seen = run_until(&mut driver, |seen| data_of(seen, client).len() >= 6);
    assert_eq!(data_of(&seen, client), b"answer");
    assert!(sys::monotonic_now() > before);
    let counters = driver.counters();
    assert_eq!((counters.streams_opened, counters.streams_accepted), (1, 1));
    assert_eq!((counters.stream_bytes_sent, counters.stream_bytes_received), (14, 14));
    driver.close(client);
    let seen = run_until(&mut driver, |seen| !closed(seen, server).is_empty());
    assert_eq!(seen, [Seen::Closed { socket: server, cause: StreamCause::Eof }]);
    until_gone(&mut driver);
}

fn bytes_come_in_order_whatever_the_pieces<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (client, server) = pair(&mut driver);
    let expected = pattern(3000);
    let mut seen = Vec::new();
    // One byte per write and turn, then many one-byte writes per turn, then odd pieces.
    for byte in &expected[..500] {
        driver.stream_write(client, &[*byte]).expect("write");
        step(&mut driver, 0, &mut seen);
    }
    for byte in &expected[500..1500] {
        driver.stream_write(client, &[*byte]).expect("write");
    }
    for piece in expected[1500..].chunks(97) {
        driver.stream_write(client, piece).expect("write");
        step(&mut driver, 0, &mut seen);
    }
    let so_far = data_of(&seen, server).len();
    seen.extend(run_until(&mut driver, |seen| so_far + data_of(seen, server).len() >= 3000));
    assert!(data_of(&seen, server) == expected);
    // The same from a peer that sends byte by byte.
    let (stream, mut peer) = with_peer(&mut driver);
    peer.set_nodelay(true).expect("no delay");
    let bytes = expected[..200].to_vec();
    let thread = thread::spawn(move || {
        for byte in bytes {
            peer.write_all(&[byte]).expect("write");
        }
        peer
    });
    let seen = run_until(&mut driver, |seen| data_of(seen, stream).len() >= 200);
    assert!(data_of(&seen, stream) == expected[..200]);
    drop(thread.join().expect("peer"));
}

fn a_burst_of_a_megabyte_arrives_whole_and_room_is_reported<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (client, server) = pair(&mut driver);
    let expected = pattern(1 << 20);
    let mut seen = Vec::new();
    write_all(&mut driver, client, &expected, &mut seen);
    let so_far = data_of(&seen, server).len();
    seen.extend(run_until(&mut driver, |seen| so_far + data_of(seen, server).len() >= 1 << 20));
    assert!(data_of(&seen, server) == expected);
    let counters = driver.counters();
    let drained = seen.iter().filter(|event| matches!(event, Seen::Drained { .. })).count();
    assert!(counters.stream_writes_full > 0, "the buffer never filled");
    assert_eq!(drained as u64, counters.stream_writes_full, "one report per refusal");
    let huge = vec![0; config().stream_output_bytes + 1];
    assert_eq!(driver.stream_write(client, &huge), Err(StreamWriteError::TooLarge));
}

fn a_refused_connect_is_reported_once<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let nobody = TcpListener::bind(anywhere()).expect("bind").local_addr().expect("address");
    let stream = connect(&mut driver, nobody);
    driver.stream_write(stream, b"anyone?").expect("write");
    let mut seen = run_until(&mut driver, |seen| !seen.is_empty());
    seen.extend(run_for(&mut driver, QUIET_NS));
    assert_eq!(seen, [Seen::Closed { socket: stream, cause: StreamCause::Refused }]);
    assert_eq!(driver.stream_write(stream, b"x"), Err(StreamWriteError::Closed));
    assert_eq!(driver.counters().connect_errors, 1);
    assert_eq!(alive(&driver), 0);
}

fn what_is_written_before_the_connect_ends_is_sent<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let listener = TcpListener::bind(anywhere()).expect("bind");
    let stream = connect(&mut driver, listener.local_addr().expect("address"));
    driver.stream_write(stream, b"early ").expect("write");
    driver.stream_write(stream, b"bird").expect("write");
    driver.close(stream);
    let thread = thread::spawn(move || {
        let mut text = String::new();
        listener.accept().expect("accept").0.read_to_string(&mut text).expect("read");
        text
    });
    until_gone(&mut driver);
    assert_eq!(thread.join().expect("peer"), "early bird");
}

fn what_was_written_is_sent_before_the_close<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (stream, mut peer) = with_peer(&mut driver);
    let expected = pattern(200_000);
    driver.stream_write(stream, &expected).expect("write");
    // Bytes that we never read must not turn the end into a reset.
    peer.write_all(b"unread").expect("write");
    driver.close(stream);
    let thread = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).expect("read");
        bytes
    });
    until_gone(&mut driver);
    assert!(thread.join().expect("peer") == expected);
    assert_eq!(driver.counters().streams_cut, 0);
}

fn a_close_does_not_wait_for_a_silent_peer_for_ever<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { stream_linger_ns: 20_000_000, ..config() };
    let mut driver = make(&config).expect("driver");
    let (idle, _silent) = with_peer(&mut driver);
    driver.close(idle);
    let (stuck, deaf) = with_peer(&mut driver);
    let mut seen = Vec::new();
    stuff(&mut driver, stuck, &mut seen);
    driver.close(stuck);
    until_gone(&mut driver);
    assert_eq!(driver.counters().streams_cut, 1, "only what held unsent bytes was cut");
    drop(deaf);
}

fn an_abort_resets<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (stream, mut peer) = with_peer(&mut driver);
    driver.abort(stream);
    assert_eq!(driver.stream_write(stream, b"x"), Err(StreamWriteError::Closed));
    assert_eq!(run_for(&mut driver, QUIET_NS), []);
    let error = peer.read(&mut [0; 8]).expect_err("no end in good order");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(alive(&driver), 0);
}

fn reset(peer: TcpStream) {
    let linger = socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO));
    linger.expect("linger");
    drop(peer);
}

fn a_reset_is_reported<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (stream, peer) = with_peer(&mut driver);
    reset(peer);
    let mut seen = run_until(&mut driver, |seen| !seen.is_empty());
    seen.extend(run_for(&mut driver, QUIET_NS));
    assert_eq!(seen, [Seen::Closed { socket: stream, cause: StreamCause::Reset }]);
    assert_eq!(alive(&driver), 0);
}

fn a_peer_that_closes_half_way_through_a_write_is_reported_once<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    for hard in [false, true] {
        let (stream, mut peer) = with_peer(&mut driver);
        let mut seen = Vec::new();
        stuff(&mut driver, stream, &mut seen);
        peer.read_exact(&mut [0; 10_000]).expect("read");
        if hard {
            reset(peer)
        } else {
            drop(peer)
        }
        seen.extend(run_until(&mut driver, |seen| !closed(seen, stream).is_empty()));
        seen.extend(run_for(&mut driver, QUIET_NS));
        // Closing with unread bytes is a reset, too.
        assert_eq!(closed(&seen, stream), [StreamCause::Reset], "hard {hard}");
        assert_eq!(driver.stream_write(stream, b"x"), Err(StreamWriteError::Closed));
    }
    until_gone(&mut driver);
}

fn what_the_peer_sent_before_it_closed_is_delivered<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (stream, mut peer) = with_peer(&mut driver);
    let expected = pattern(100_000);
    let bytes = expected.clone();
    let thread = thread::spawn(move || peer.write_all(&bytes).expect("write"));
    let seen = run_until(&mut driver, |seen| !closed(seen, stream).is_empty());
    thread.join().expect("peer");
    assert!(data_of(&seen, stream) == expected);
    let last = Seen::Closed { socket: stream, cause: StreamCause::Eof };
    assert_eq!(seen.last(), Some(&last), "the end comes last");
    until_gone(&mut driver);
}

fn many_connections_are_accepted_at_once<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (_, at) = listen(&mut driver);
    let count = 300;
    let mut peers: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let mut peer = TcpStream::connect(at).expect("connect");
        peer.write_all(&[number as u8]).expect("write");
        peers.push(peer);
    }
    let seen = run_until(&mut driver, |seen| {
        seen.iter().filter(|event| matches!(event, Seen::Data { .. })).count() >= count
    });
    let mut accepted = std::collections::BTreeMap::new();
    for event in &seen {
        match event {
            Seen::Accepted { socket, peer, .. } => {
                assert!(accepted.insert(*socket, *peer).is_none(), "{socket:?} twice");
            }
            Seen::Data { socket, .. } => assert!(accepted.contains_key(socket), "data first"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted.len(), count);
    for (number, peer) in peers.iter().enumerate() {
        let from = peer.local_addr().expect("address");
        let (stream, _) = accepted.iter().find(|(_, peer)| **peer == from).expect("accepted");
        assert_eq!(data_of(&seen, *stream), [number as u8]);
    }
    drop(peers);
    let seen = run_until(&mut driver, |seen| seen.len() >= count);
    assert!(seen.iter().all(|e| matches!(e, Seen::Closed { cause: StreamCause::Eof, .. })));
    until_gone(&mut driver);
}

fn an_id_kept_too_long_reaches_nobody<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = DriverConfig { streams_max: 1, ..config() };
    let mut driver = make(&config).expect("driver");
    let (old, peer) = with_peer(&mut driver);
    drop(peer);
    run_until(&mut driver, |seen| !closed(seen, old).is_empty());
    until_gone(&mut driver);
    let (new, mut peer) = with_peer(&mut driver);
    assert_eq!(old.stream_place(), new.stream_place(), "the only place is used again");
    assert_eq!(driver.stream_write(old, b"wrong"), Err(StreamWriteError::Closed));
    driver.close(old);
    driver.abort(old);
    driver.stream_write(new, b"right").expect("write");
    run_for(&mut driver, QUIET_NS);
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"right");
}

fn late_events_of_a_closed_stream_are_swallowed<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    for abort in [false, true] {
        let (stream, mut peer) = with_peer(&mut driver);
        peer.write_all(b"late").expect("write");
        drop(peer);
        // The driver knows the events and has not delivered them yet.
        driver.turn(sys::monotonic_now() + QUIET_NS).expect("turn");
        if abort {
            driver.abort(stream)
        } else {
            driver.close(stream)
        }
        assert_eq!(run_for(&mut driver, QUIET_NS), [], "abort {abort}");
    }
    until_gone(&mut driver);
}

fn the_stream_limit_is_an_error_and_refuses_accepts<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { streams_max: 2, ..config() };
    let mut driver = make(&config).expect("driver");
    let (_, at) = listen(&mut driver);
    let _first = TcpStream::connect(at).expect("connect");
    run_until(&mut driver, |seen| !seen.is_empty());
    let error = driver.connect(&ConnectSpec::new(at)).expect_err("the table is full");
    assert!(error.to_string().contains("all 2 streams"), "{error}");
    let mut second = TcpStream::connect(at).expect("connect");
    second.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("timeout");
    assert_eq!(run_for(&mut driver, QUIET_NS), []);
    assert_eq!(driver.counters().accept_errors, 1);
    assert_eq!(second.read(&mut [0; 8]).expect("read"), 0, "closed again");
}

fn the_local_address_is_that_of_the_connection<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (stream, peer) = with_peer(&mut driver);
    assert_eq!(driver.local_addr(stream), peer.peer_addr().expect("address"));
    driver.close(stream);
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(driver.local_addr(stream), nowhere);
}

fn a_given_local_address_is_used<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let listener = TcpListener::bind(anywhere()).expect("bind");
    let at = listener.local_addr().expect("address");
    let local = SocketAddr::from(([127, 0, 0, 3], 0));
    let spec = ConnectSpec { local: Some(local), ..ConnectSpec::new(at) };
    let stream = driver.connect(&spec).expect("connect");
    run_until(&mut driver, |seen| !seen.is_empty());
    let (_peer, from) = listener.accept().expect("accept");
    assert_eq!(from.ip(), local.ip());
    assert_eq!(driver.local_addr(stream), from);
    // A port that is taken for this very peer.
    let spec = ConnectSpec { local: Some(from), ..ConnectSpec::new(at) };
    match driver.connect(&spec) {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        Ok(twin) => {
            let seen = run_until(&mut driver, |seen| !seen.is_empty());
            assert_eq!(seen, [Seen::Closed { socket: twin, cause: StreamCause::NoLocalPort }]);
        }
    }
}

fn an_unknown_device_is_an_error_that_names_it<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let device = Some("no-such-if0".to_owned());
    let listen = ListenSpec { device: device.clone(), ..ListenSpec::new(anywhere()) };
    let connect = ConnectSpec { device: device.clone(), ..ConnectSpec::new(anywhere()) };
    let datagrams = gossipper_uring::SocketSpec { device, ..common::loopback() };
    for result in [driver.listen(&listen), driver.connect(&connect), driver.open(&datagrams)] {
        let error = result.expect_err("there is no such interface").to_string();
        assert!(error.contains("no-such-if0"), "{error}");
    }
    assert_eq!(alive(&driver), 0);
}

fn a_listener_can_be_closed_and_its_port_used_again<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (listener, at) = listen(&mut driver);
    let peer = TcpStream::connect(at).expect("connect");
    run_until(&mut driver, |seen| !seen.is_empty());
    driver.close(listener);
    run_for(&mut driver, QUIET_NS);
    assert!(TcpStream::connect(at).is_err(), "nobody listens");
    // The accepted stream is still there, and does not keep the port from being used.
    assert_eq!(alive(&driver), 1);
    let again = driver.listen(&ListenSpec::new(at)).expect("listen");
    let _peer = TcpStream::connect(at).expect("connect");
    let seen = run_until(&mut driver, |seen| !seen.is_empty());
    assert!(matches!(seen[..], [Seen::Accepted { listener, .. }] if listener == again));
    drop(peer);
}

fn a_driver_that_is_not_drained_reads_no_more<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { stream_rx_buffers: 4, ..config() };
    let mut driver = make(&config).expect("driver");
    let (stream, peer) = with_peer(&mut driver);
    peer.set_nonblocking(true).expect("non-blocking");
    let mut sent = 0;
    let mut stalls = 0;
    while stalls < 20 {
        match (&peer).write(&[7; 10_000]) {
            Ok(bytes) => (sent, stalls) = (sent + bytes, 0),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                stalls += 1;
                driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
            }
        }
    }
    assert!(driver.counters().stream_bytes_received <= 4 * 8192);
    let seen = run_until(&mut driver, |seen| data_of(seen, stream).len() >= sent);
    assert_eq!(data_of(&seen, stream).len(), sent);
}

fn a_driver_is_dropped_with_streams_in_all_states<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    for turns in 0..4 {
        let mut driver = make(&config()).expect("driver");
        let (_, at) = listen(&mut driver);
        let (stuck, _deaf) = with_peer(&mut driver);
        let mut seen = Vec::new();
        stuff(&mut driver, stuck, &mut seen);
        let (idle, _) = pair(&mut driver);
        let connecting = connect(&mut driver, at);
        driver.stream_write(connecting, b"early").expect("write");
        let refused = TcpListener::bind(anywhere()).expect("bind").local_addr().expect("address");
        let _ = connect(&mut driver, refused);
        for _ in 0..turns {
            driver.turn(0).expect("turn");
        }
        if turns % 2 == 0 {
            driver.close(idle);
            driver.abort(connecting);
        }
        let before = sys::monotonic_now();
        if turns == 3 {
            driver.shutdown(before + QUIET_NS);
            driver.shutdown(before + QUIET_NS);
            assert_eq!(alive(&driver), 0);
        }
        drop(driver);
        assert!(sys::monotonic_now() - before < PATIENCE_NS);
    }
}

fn a_shutdown_sends_what_was_written<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (stream, mut peer) = with_peer(&mut driver);
    driver.stream_write(stream, b"last words").expect("write");
    let thread = thread::spawn(move || {
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("read");
        text
    });
    driver.shutdown(sys::monotonic_now() + PATIENCE_NS);
    assert_eq!(thread.join().expect("peer"), "last words");
    assert_eq!(alive(&driver), 0);
}
