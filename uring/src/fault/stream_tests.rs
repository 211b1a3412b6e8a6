//! Streams of both kernel drivers survive each error: no byte is lost or moved, and none leaks.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;

use super::{Plan, Site, clear, install};
use crate::{
    ConnectSpec, Driver, DriverConfig, Event, ListenSpec, SocketId, StreamCause, StreamEvent,
    StreamWriteError, SyscallDriver, UringDriver, sys,
};

/// Longest time that a test waits for expected events.
const PATIENCE_NS: u64 = 10_000_000_000;

/// A driver with a listener, and the events of its streams.
struct Rig<D> {
    driver: D,
    to: SocketAddr,
    accepted: Vec<SocketId>,
    connected: Vec<SocketId>,
    received: BTreeMap<SocketId, Vec<u8>>,
    closed: BTreeMap<SocketId, StreamCause>,
}

impl<D: Driver> Rig<D> {
    fn new(make: &impl Fn(&DriverConfig) -> io::Result<D>) -> Self {
        let config =
            DriverConfig { sockets_max: 64, stream_rx_buffers: 8, ..DriverConfig::default() };
        let mut driver = make(&config).expect("driver");
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = driver.listen(&ListenSpec::new(anywhere)).expect("listen");
        let to = driver.local_addr(listener);
        Self {
            driver,
            to,
            accepted: Vec::new(),
            connected: Vec::new(),
            received: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    fn connect(&mut self) -> SocketId {
        self.driver.connect(&ConnectSpec::new(self.to)).expect("connect")
    }

    fn step(&mut self) {
        let deadline = sys::monotonic_now() + 2_000_000;
        self.driver.turn(deadline).expect("injected errors do not end the driver");
        let Self { driver, accepted, connected, received, closed, .. } = self;
        let _ = driver.drain(|event, _| {
            let Event::Stream(event) = event else { panic!("{event:?}") };
            match event {
                StreamEvent::Accepted { socket, .. } => accepted.push(socket),
                StreamEvent::Connected { socket } => connected.push(socket),
                StreamEvent::Data { socket, bytes, .. } => {
                    assert!(!closed.contains_key(&socket), "data after the end");
                    received.entry(socket).or_default().extend_from_slice(bytes);
                }
                StreamEvent::Closed { socket, cause } => {
                    assert!(closed.insert(socket, cause).is_none(), "{socket:?} ended twice");
                }
                StreamEvent::Drained { .. } => {}
            }
            ControlFlow::Continue(())
        });
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = sys::monotonic_now() + PATIENCE_NS;
        while !done(self) {
            assert!(sys::monotonic_now() < end, "stuck: {:?}", self.driver.counters());
            self.step();
        }
    }

    fn alive(&self) -> u64 {
        let counters = self.driver.counters();
        counters.streams_opened + counters.streams_accepted - counters.streams_closed
    }
}

impl<D> Drop for Rig<D> {
    fn drop(&mut self) {
        clear();
    }
}

macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $name() { super::$name(super::UringDriver::new) })+
        }
        mod syscall {
            $(#[test] fn $name() { super::$name(super::SyscallDriver::new) })+
        }
    };
}

on_both_drivers!(
    a_connect_that_fails_at_once_is_an_event,
    a_passing_error_of_a_write_loses_nothing,
    a_write_that_fails_ends_the_stream_once,
    a_listener_without_descriptors_rests_and_goes_on,
    a_storm_moves_no_byte,
);

fn a_connect_that_fails_at_once_is_an_event<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    for (errno, cause) in [
        (libc::ENETUNREACH, StreamCause::NoRoute),
        (libc::EADDRNOTAVAIL, StreamCause::NoLocalPort),
        (libc::ETIMEDOUT, StreamCause::TimedOut),
        (libc::EPERM, StreamCause::Other(libc::EPERM)),
    ] {
        let mut rig = Rig::new(&make);
        install(Plan::new(1).script(Site::Connect, [Some(errno)]));
        let stream = rig.connect();
        rig.driver.stream_write(stream, b"early").expect("the end is not known yet");
        rig.until(|rig| !rig.closed.is_empty());
        assert_eq!(rig.closed[&stream], cause, "errno {errno}");
        assert_eq!(rig.driver.stream_write(stream, b"x"), Err(StreamWriteError::Closed));
        rig.until(|rig| rig.alive() == 0);
        assert_eq!(rig.driver.counters().connect_errors, 1);
        assert!(rig.connected.is_empty());
    }
}

fn a_passing_error_of_a_write_loses_nothing<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut rig = Rig::new(&make);
    let errors = [libc::EINTR, libc::EAGAIN, libc::ENOBUFS, libc::EAGAIN, libc::ENOMEM].map(Some);
    install(Plan::new(1).script(Site::StreamSend, errors));
    let stream = rig.connect();
    let expected: Vec<u8> = (0..30_000_u32).map(|at| (at * 7 / 3) as u8).collect();
    rig.driver.stream_write(stream, &expected).expect("write");
    rig.driver.close(stream);
    rig.until(|rig| rig.closed.len() == 1);
    let server = rig.accepted[0];
    assert_eq!(rig.closed[&server], StreamCause::Eof);
    assert!(rig.received[&server] == expected);
    assert_eq!(clear(), 5);
    rig.until(|rig| rig.alive() == 0);
}

fn a_write_that_fails_ends_the_stream_once<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    for (errno, cause) in
        [(libc::EPIPE, StreamCause::Reset), (libc::ETIMEDOUT, StreamCause::TimedOut)]
    {
        let mut rig = Rig::new(&make);
        let stream = rig.connect();
        rig.until(|rig| rig.connected.len() + rig.accepted.len() == 2);
        // Bytes that arrived before the error are still delivered.
        let server = rig.accepted[0];
        rig.driver.stream_write(server, b"farewell").expect("write");
        rig.driver.turn(0).expect("turn");
        install(Plan::new(1).script(Site::StreamSend, [Some(errno)]));
        rig.driver.stream_write(stream, b"lost").expect("write");
        rig.until(|rig| rig.closed.contains_key(&stream));
        assert_eq!(rig.closed[&stream], cause);
        assert_eq!(rig.received[&stream], b"farewell");
        assert!(!rig.received.contains_key(&server));
        rig.until(|rig| rig.alive() == 0);
    }
}

fn a_listener_without_descriptors_rests_and_goes_on<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut rig = Rig::new(&make);
    let errors = [libc::ECONNABORTED, libc::EMFILE, libc::ENFILE].map(Some);
    install(Plan::new(1).script(Site::Accept, errors));
    let before = sys::monotonic_now();
    rig.connect();
    rig.until(|rig| rig.accepted.len() == 1);
    assert_eq!(rig.driver.counters().accept_errors, 3);
    assert!(sys::monotonic_now() - before >= 200_000_000, "two rests");
    rig.connect();
    rig.until(|rig| rig.accepted.len() == 2);
}

fn a_storm_moves_no_byte<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    for seed in 0..5 {
        let mut rig = Rig::new(&make);
        let passing = [libc::EINTR, libc::EAGAIN, libc::ENOBUFS];
        let plan = Plan::new(seed)
            .rate(Site::Enter, 200, &[libc::EINTR, libc::EBUSY, libc::EAGAIN])
            .rate(Site::Accept, 300, &[libc::ECONNABORTED, libc::EINTR])
            .rate(Site::StreamSend, 300, &passing)
            .rate(Site::StopReceive, 300, &[0]);
        install(plan);
        let streams: Vec<SocketId> = (0..10).map(|_| rig.connect()).collect();
        let byte = |stream: usize, at: usize| (at * 31 + at / 250 + stream) as u8;
        let mut sent = [0; 10];
        for round in 0..100_usize {
            for (number, &stream) in streams.iter().enumerate() {
                let next = sent[number] + 1 + (round * 37 + number * 101) % 3000;
                let bytes: Vec<u8> = (sent[number]..next).map(|at| byte(number, at)).collect();
                if rig.driver.stream_write(stream, &bytes).is_ok() {
                    sent[number] = next;
                }
            }
            rig.step();
        }
        for &stream in &streams {
            rig.driver.close(stream);
        }
        rig.until(|rig| rig.closed.len() == 10);
        assert!(clear() > 100, "seed {seed} injected little");
        assert!(rig.closed.values().all(|&cause| cause == StreamCause::Eof), "{:?}", rig.closed);
        let mut lengths: Vec<usize> = rig.received.values().map(Vec::len).collect();
        for bytes in rig.received.values() {
            let number = usize::from(bytes[0]);
            assert!(bytes.iter().enumerate().all(|(at, &b)| b == byte(number, at)), "seed {seed}");
            assert_eq!(bytes.len(), sent[number], "seed {seed}");
        }
        lengths.sort_unstable();
        sent.sort_unstable();
        assert_eq!(lengths, sent, "seed {seed}");
        rig.until(|rig| rig.alive() == 0);
    }
}
