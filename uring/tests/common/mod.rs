//! One harness for both kernel drivers: each behaviour is a generic function, run once per driver.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{
    Driver, DriverConfig, Event, IcmpCause, Nanos, RxClass, SendFailure, SocketId, SocketSpec,
    StreamCause, StreamEvent, TxOrder, sys,
};

/// Longest time that a test waits for expected events.
pub(crate) const PATIENCE_NS: Nanos = 5_000_000_000;

/// Time that a test waits to see that nothing more comes.
pub(crate) const QUIET_NS: Nanos = 30_000_000;

/// Makes one test per driver of each generic function.
#[macro_export]
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $name() { super::$name(gossipper_uring::UringDriver::new) })+
        }
        mod syscall {
            $(#[test] fn $name() { super::$name(gossipper_uring::SyscallDriver::new) })+
        }
    };
}

/// An event that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Datagram { socket: SocketId, source: SocketAddr, payload: Vec<u8> },
    SendFailed { socket: SocketId, destination: SocketAddr, cookie: u64, cause: SendFailure },
    Unreachable { socket: SocketId, destination: SocketAddr, cause: IcmpCause, quoted: Vec<u8> },
    Accepted { listener: SocketId, socket: SocketId, peer: SocketAddr },
    Connected { socket: SocketId },
    Data { socket: SocketId, bytes: Vec<u8> },
    Closed { socket: SocketId, cause: StreamCause },
    Drained { socket: SocketId },
}

impl Seen {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        match *event {
            Event::Datagram { socket, source, payload, .. } => {
                Self::Datagram { socket, source, payload: payload.to_vec() }
            }
            Event::SendFailed { socket, destination, cookie, cause } => {
                Self::SendFailed { socket, destination, cookie, cause }
            }
            Event::Unreachable { socket, destination, cause, quoted } => {
                Self::Unreachable { socket, destination, cause, quoted: quoted.to_vec() }
            }
            Event::Stream(ref event) => match *event {
                StreamEvent::Accepted { listener, socket, peer } => {
                    Self::Accepted { listener, socket, peer }
                }
                StreamEvent::Connected { socket } => Self::Connected { socket },
                StreamEvent::Data { socket, bytes, .. } => {
                    Self::Data { socket, bytes: bytes.to_vec() }
                }
                StreamEvent::Closed { socket, cause } => Self::Closed { socket, cause },
                StreamEvent::Drained { socket } => Self::Drained { socket },
            },
        }
    }

    pub(crate) fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Datagram { payload, .. } => Some(payload),
            _ => None,
        }
    }
}

/// A config small enough for many tests side by side.
pub(crate) fn config() -> DriverConfig {
    DriverConfig { sockets_max: 4096, ..DriverConfig::default() }
}

pub(crate) fn spec(local: &str) -> SocketSpec {
    SocketSpec {
        local: local.parse().expect("literal address"),
        remote: None,
        reuse_port: false,
        rx_class: RxClass::Large,
        receive_buffer_bytes: 4 << 20,
        send_buffer_bytes: 4 << 20,
        device: None,
    }
}

pub(crate) fn loopback() -> SocketSpec {
    spec("127.0.0.1:0")
}

/// Opens a socket on a free loopback port and returns its id and address.
pub(crate) fn open(driver: &mut impl Driver) -> (SocketId, SocketAddr) {
    open_as(driver, &loopback())
}

pub(crate) fn open_as(driver: &mut impl Driver, spec: &SocketSpec) -> (SocketId, SocketAddr) {
    let socket = driver.open(spec).expect("open");
    (socket, driver.local_addr(socket))
}

/// An address to which no socket is bound.
pub(crate) fn closed_port() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.local_addr().expect("address")
}

/// Stages one datagram with an order of its own.
pub(crate) fn send(driver: &mut impl Driver, from: SocketId, to: SocketAddr, payload: &[u8]) {
    let mut order = TxOrder::default();
    assert!(driver.tx().send_copy(payload, from, to, 0, &mut order), "arena exhausted");
}

/// One turn and all its events.
pub(crate) fn step(driver: &mut impl Driver, deadline: Nanos, seen: &mut Vec<Seen>) {
    driver.turn(deadline).expect("turn");
    let flow = driver.drain(|event, _| {
        seen.push(Seen::of(&event));
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue(), "nothing stopped the drain");
}

/// Turns until `done` is true, and returns the events. Panics if that takes too long.
pub(crate) fn run_until(
    driver: &mut impl Driver,
    mut done: impl FnMut(&[Seen]) -> bool,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let end = sys::monotonic_now() + PATIENCE_NS;
    while !done(&seen) {
        let now = sys::monotonic_now();
        assert!(now < end, "gave up after {} events: {:?}", seen.len(), driver.counters());
        step(driver, (now + 10_000_000).min(end), &mut seen);
    }
    seen
}

/// Turns for `nanos` and returns the events.
pub(crate) fn run_for(driver: &mut impl Driver, nanos: Nanos) -> Vec<Seen> {
    let mut seen = Vec::new();
    let end = sys::monotonic_now() + nanos;
    while sys::monotonic_now() < end {
        step(driver, end, &mut seen);
    }
    seen
}

/// Turns until all slots are free again.
pub(crate) fn settle(driver: &mut impl Driver, config: &DriverConfig) {
    let end = sys::monotonic_now() + PATIENCE_NS;
    let mut seen = Vec::new();
    loop {
        let free = (driver.tx().free(), driver.tx().free_large());
        if free == (config.tx_small_slots, config.tx_large_slots) {
            return;
        }
        assert!(sys::monotonic_now() < end, "slots leaked: {free:?}, {:?}", driver.counters());
        step(driver, sys::monotonic_now() + 1_000_000, &mut seen);
    }
}
