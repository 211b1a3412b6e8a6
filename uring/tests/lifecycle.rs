//! Waiting, waking, stopping half way, closing and shutting down.

mod common;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use common::{QUIET_NS, Seen, config, loopback, open, open_as, run_for, run_until, send, settle};
use gossipper_uring::{Driver, DriverConfig, Event, NEVER, RxClass, SocketSpec, sys};

on_both_drivers!(
    a_wait_ends_at_the_deadline_and_not_before,
    a_past_deadline_does_not_wait,
    a_wake_ends_a_wait_for_ever,
    a_wake_before_the_wait_is_not_lost,
    traffic_ends_a_wait,
    sends_alone_do_not_end_a_wait,
    a_break_keeps_the_rest,
    a_break_keeps_the_rest_of_a_train,
    a_socket_closes_with_traffic_in_flight,
    what_was_staged_before_the_close_is_sent,
    a_place_is_used_again_without_mixing_sockets,
    a_shutdown_is_quick_and_can_be_repeated,
    a_driver_is_dropped_with_operations_in_flight,
    the_socket_limit_is_an_error,
);

fn a_wait_ends_at_the_deadline_and_not_before<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let _ = open(&mut driver);
    for wait in [50_000, 1_300_000, 20_000_000] {
        let deadline = driver.now() + wait;
        driver.turn(deadline).expect("turn");
        assert!(driver.now() >= deadline, "{} ns early", deadline - driver.now());
    }
    assert!(driver.counters().wait_ns >= 20_000_000);
}

fn a_past_deadline_does_not_wait<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let _ = open(&mut driver);
    let before = driver.now();
    for _ in 0..100 {
        driver.turn(before).expect("turn");
        driver.turn(0).expect("turn");
    }
    assert_eq!(driver.counters().wait_ns, 0);
}

fn a_wake_ends_a_wait_for_ever<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let _ = open(&mut driver);
    for _ in 0..3 {
        let waker = driver.waker();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        driver.turn(NEVER).expect("turn");
        thread.join().expect("waker");
    }
    assert!(driver.counters().wait_ns > 1_000_000);
}

fn a_wake_before_the_wait_is_not_lost<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let waker = driver.waker();
    waker.wake();
    waker.wake();
    driver.turn(NEVER).expect("turn");
    // The two wakes were one; the next wait lasts.
    let deadline = driver.now() + 5_000_000;
    while driver.now() < deadline {
        driver.turn(deadline).expect("turn");
    }
    assert!(driver.counters().wait_ns > 1_000_000);
}

fn traffic_ends_a_wait<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (_, at) = open(&mut driver);
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.send_to(b"hello", at).expect("send");
    });
    driver.turn(NEVER).expect("turn");
    let mut seen = Vec::new();
    let _ = driver.drain(|event, _| {
        seen.push(Seen::of(&event));
        ControlFlow::Continue(())
    });
    thread.join().expect("sender");
    assert_eq!(seen.len(), 1);
}

fn sends_alone_do_not_end_a_wait<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let sink = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let to = sink.local_addr().expect("address");
    driver.turn(0).expect("turn");
    for _ in 0..20 {
        send(&mut driver, from, to, b"outbound");
        let deadline = driver.now() + 2_000_000;
        driver.turn(deadline).expect("turn");
        assert!(driver.now() >= deadline, "came back for nothing");
    }
    assert!(driver.counters().enters <= 50, "{:?}", driver.counters());
}

/// Stops after every event and gathers the events.
fn one_by_one<D: Driver>(driver: &mut D, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let end = sys::monotonic_now() + common::PATIENCE_NS;
    while seen.len() < count {
        assert!(sys::monotonic_now() < end, "{} of {count}", seen.len());
        driver.turn(end).expect("turn");
        let before = seen.len();
        let _ = driver.drain(|event, _| {
            seen.push(Seen::of(&event));
            ControlFlow::Break(())
        });
        assert!(seen.len() <= before + 1, "went on after a break");
    }
    seen
}

fn a_break_keeps_the_rest<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = config();
    let mut driver = make(&config).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    let (_, also) = open(&mut driver);
    for number in 0..40_usize {
        let to = if number % 2 == 0 { to } else { also };
        send(&mut driver, from, to, "x".repeat(1 + number).as_bytes());
    }
    let seen = one_by_one(&mut driver, 40);
    let mut lengths: Vec<_> =
        seen.iter().map(|event| event.payload().expect("datagram").len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, (1..=40).collect::<Vec<_>>());
    let mut flow = driver.drain(|event, _| panic!("{event:?}"));
    assert_eq!(flow, ControlFlow::Continue(()));
    send(&mut driver, from, to, b"1");
    send(&mut driver, from, to, b"22");
    let seen = one_by_one(&mut driver, 1);
    flow = driver.drain(|_, _| ControlFlow::Break(()));
    assert_eq!(seen.len(), 1);
    // The last event was taken by the handler that broke: nothing remains.
    assert_eq!(flow, ControlFlow::Continue(()));
    settle(&mut driver, &config);
}

fn a_break_keeps_the_rest_of_a_train<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    for number in 0..200 {
        send(&mut driver, from, to, format!("{number:0>100}").as_bytes());
    }
    let seen = one_by_one(&mut driver, 200);
    for (number, event) in seen.iter().enumerate() {
        assert_eq!(event.payload(), Some(format!("{number:0>100}").as_bytes()));
    }
    assert_eq!(driver.counters().datagrams_received, 200);
    assert!(driver.counters().receives < 200, "trains were split: {:?}", driver.counters());
}

fn a_socket_closes_with_traffic_in_flight<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { rx_large_buffers: 64, ..config() };
    let mut driver = make(&config).expect("driver");
    let (from, _) = open(&mut driver);
    for round in 0..50 {
        let (socket, at) = open_as(&mut driver, &loopback());
        for number in 0..50_usize {
            send(&mut driver, from, at, "y".repeat(10 + number).as_bytes());
        }
        // Events of the socket may be pending, in the ring, or in the socket at this point.
        if round % 3 > 0 {
            driver.turn(0).expect("turn");
        }
        if round % 3 > 1 {
            let _ = driver.drain(|_, _| ControlFlow::Break(()));
        }
        driver.close(socket);
        driver.close(socket);
        let late = run_for(&mut driver, 200_000);
        assert!(
            !late.iter().any(|event| matches!(event, Seen::Datagram { .. })),
            "round {round}: {late:?}"
        );
    }
    // No receive buffer was lost on the way.
    let (_, at) = open(&mut driver);
    for number in 0..200_usize {
        send(&mut driver, from, at, "z".repeat(10 + number).as_bytes());
    }
    let _ = run_until(&mut driver, |seen| {
        seen.iter().filter(|event| matches!(event, Seen::Datagram { .. })).count() == 200
    });
    settle(&mut driver, &config);
}

fn what_was_staged_before_the_close_is_sent<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let (from, _) = open(&mut driver);
    let (_, to) = open(&mut driver);
    for _ in 0..10 {
        send(&mut driver, from, to, b"last words");
    }
    driver.close(from);
    let seen = run_until(&mut driver, |seen| seen.len() >= 10);
    assert!(seen.iter().all(|event| event.payload() == Some(b"last words")));
}

fn a_place_is_used_again_without_mixing_sockets<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { sockets_max: 2, ..config() };
    let mut driver = make(&config).expect("driver");
    let (other, _) = open(&mut driver);
    let mut last: Option<SocketAddr> = None;
    for round in 0..20_u8 {
        let local = last.unwrap_or(loopback().local);
        let (socket, at) = open_as(&mut driver, &SocketSpec { local, ..loopback() });
        send(&mut driver, other, at, &[round]);
        let seen = run_until(&mut driver, |seen| !seen.is_empty());
        let Seen::Datagram { socket: to, payload, .. } = &seen[0] else { panic!("{seen:?}") };
        assert_eq!((*to, &payload[..]), (socket, &[round][..]));
        driver.close(socket);
        // The port is free again after the next turn.
        run_for(&mut driver, 1_000_000);
        last = Some(at);
    }
}

fn a_shutdown_is_quick_and_can_be_repeated<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let small = SocketSpec { rx_class: RxClass::Small, ..loopback() };
    for _ in 0..200 {
        let _ = open(&mut driver);
        let _ = open_as(&mut driver, &small);
    }
    driver.turn(0).expect("turn");
    let sink = UdpSocket::bind("127.0.0.1:0").expect("bind");
    sink.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    let (from, _) = open(&mut driver);
    send(&mut driver, from, sink.local_addr().expect("address"), b"bye");
    let begun = driver.now();
    driver.shutdown(begun + 2_000_000_000);
    assert!(driver.now() < begun + 1_900_000_000, "waited for the deadline");
    let mut word = [0; 8];
    assert_eq!(sink.recv(&mut word).expect("staged before the shutdown"), 3);
    driver.shutdown(begun);
    assert_eq!(driver.tx().staged(), 0);
}

fn a_driver_is_dropped_with_operations_in_flight<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    for _ in 0..20 {
        let mut driver = make(&config()).expect("driver");
        let (from, _) = open(&mut driver);
        let (_, to) = open(&mut driver);
        for number in 0..100_usize {
            send(&mut driver, from, to, "q".repeat(number + 1).as_bytes());
        }
        driver.turn(0).expect("turn");
        for number in 0..100_usize {
            send(&mut driver, from, to, "q".repeat(number + 1).as_bytes());
        }
        let _ = driver.drain(|event, _| {
            assert!(matches!(event, Event::Datagram { .. }));
            ControlFlow::Break(())
        });
        // The deadline has passed: memory that the kernel may still use must be leaked, not freed.
        driver.shutdown(0);
    }
}

fn the_socket_limit_is_an_error<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = DriverConfig { sockets_max: 1, ..config() };
    let mut driver = make(&config).expect("driver");
    let (socket, _) = open(&mut driver);
    assert!(driver.open(&loopback()).is_err());
    driver.close(socket);
    let _ = run_for(&mut driver, QUIET_NS / 10);
    assert!(driver.open(&loopback()).is_ok());
}
