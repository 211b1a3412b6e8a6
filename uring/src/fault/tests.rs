//! Both kernel drivers survive each error: no slot leaks, and traffic goes on.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use super::{Plan, Site, clear, install};
use crate::{
    Driver, DriverConfig, Event, RxClass, SendFailure, SocketId, SocketSpec, SyscallDriver,
    TxOrder, UringDriver, sys,
};

fn config() -> DriverConfig {
    DriverConfig {
        tx_small_slots: 256,
        rx_large_buffers: 32,
        sockets_max: 64,
        ..DriverConfig::default()
    }
}

fn spec() -> SocketSpec {
    SocketSpec {
        local: SocketAddr::from(([127, 0, 0, 1], 0)),
        remote: None,
        reuse_port: false,
        rx_class: RxClass::Large,
        receive_buffer_bytes: 4 << 20,
        send_buffer_bytes: 4 << 20,
        device: None,
    }
}

/// Fates of a run's datagrams, by cookie.
#[derive(Debug, Default)]
struct Outcome {
    arrived: HashMap<u64, u32>,
    failed: HashMap<u64, SendFailure>,
}

impl Outcome {
    /// Asserts that every datagram either arrived once or failed once.
    fn check(&self, count: u64) {
        for cookie in 0..count {
            let arrived = self.arrived.get(&cookie).copied().unwrap_or(0);
            let failed = u32::from(self.failed.contains_key(&cookie));
            assert_eq!(arrived + failed, 1, "datagram {cookie}: {arrived} {failed}");
        }
    }

    fn failed_with(&self, cause: SendFailure) -> usize {
        self.failed.values().filter(|&&other| other == cause).count()
    }
}

/// A driver with two sockets.
struct Pair<D> {
    driver: D,
    from: SocketId,
    to: SocketAddr,
    sent: u64,
    outcome: Outcome,
}

impl<D: Driver> Pair<D> {
    fn new(make: &impl Fn(&DriverConfig) -> io::Result<D>) -> Self {
        let mut driver = make(&config()).expect("driver");
        let from = driver.open(&spec()).expect("open");
        let to = driver.open(&spec()).expect("open");
        let to = driver.local_addr(to);
        driver.turn(0).expect("turn");
        Self { driver, from, to, sent: 0, outcome: Outcome::default() }
    }

    /// Stages `count` datagrams; with `trains`, of one length.
    fn stage(&mut self, count: u64, trains: bool) {
        let mut order = TxOrder::default();
        for _ in 0..count {
            let mut payload = self.sent.to_be_bytes().to_vec();
            payload.resize(if trains { 100 } else { 100 + (self.sent % 97) as usize }, 0);
            let tx = self.driver.tx();
            assert!(tx.send_copy(&payload, self.from, self.to, self.sent, &mut order));
            self.sent += 1;
        }
    }

    /// Turns until all that was sent is accounted for and all slots are free.
    fn finish(&mut self) {
        let end = sys::monotonic_now() + 5_000_000_000;
        let slots = config().tx_small_slots;
        loop {
            let seen = self.outcome.arrived.len() + self.outcome.failed.len();
            if seen as u64 >= self.sent && self.driver.tx().free() == slots {
                break;
            }
            let counters = self.driver.counters();
            assert!(sys::monotonic_now() < end, "stuck at {seen}: {counters:?}");
            self.step();
        }
        self.outcome.check(self.sent);
    }

    fn step(&mut self) {
        let deadline = sys::monotonic_now() + 2_000_000;
        self.driver.turn(deadline).expect("injected errors do not end the driver");
        let outcome = &mut self.outcome;
        let _ = self.driver.drain(|event, _| {
            match event {
                Event::Datagram { payload, .. } => {
                    let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                    *outcome.arrived.entry(number.expect("number")).or_default() += 1;
                }
                Event::SendFailed { cookie, cause, .. } => {
                    assert!(outcome.failed.insert(cookie, cause).is_none(), "{cookie} twice");
                }
                Event::Unreachable { .. } | Event::Stream(_) => panic!("{event:?}"),
            }
            ControlFlow::Continue(())
        });
    }
}

impl<D> Drop for Pair<D> {
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
    interrupted_and_busy_enters_lose_nothing,
    each_send_error_fails_its_datagram_once,
    a_pending_error_is_survived_by_a_resend,
    a_refusal_that_stays_is_reported,
    a_refused_train_goes_out_singly,
    without_offload_trains_end_for_good,
    a_train_refused_singly_too_reports_each_datagram,
    a_random_storm_loses_nothing,
);

fn interrupted_and_busy_enters_lose_nothing<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut pair = Pair::new(&make);
    let errors = [libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::EINTR].map(Some);
    install(Plan::new(1).script(Site::Enter, errors));
    pair.stage(100, false);
    pair.finish();
    assert_eq!(pair.outcome.arrived.len(), 100);
    pair.stage(1, false);
    pair.finish();
}

fn each_send_error_fails_its_datagram_once<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    for (errno, cause) in [
        (libc::ENOBUFS, SendFailure::NoBuffer),
        (libc::ENOMEM, SendFailure::NoBuffer),
        (libc::EPERM, SendFailure::NotPermitted),
        (libc::EADDRNOTAVAIL, SendFailure::NoRoute),
        (libc::EIO, SendFailure::Other(libc::EIO)),
    ] {
        let mut pair = Pair::new(&make);
        install(Plan::new(1).script(Site::Send, [None, Some(errno), None, Some(errno)]));
        pair.stage(20, false);
        pair.finish();
        assert_eq!(pair.outcome.failed_with(cause), 2, "errno {errno}: {:?}", pair.outcome.failed);
        assert_eq!(pair.outcome.arrived.len(), 18);
        let counters = pair.driver.counters();
        assert_eq!(counters.send_no_buffer + counters.send_errors, 2);
        assert_eq!(counters.datagrams_sent, 18);
    }
}

fn a_pending_error_is_survived_by_a_resend<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut pair = Pair::new(&make);
    let errors = [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ECONNREFUSED].map(Some);
    let plan = Plan::new(1).script(Site::Send, errors);
    // The first resend meets one more refusal.
    install(plan.script(Site::Resend, [Some(libc::ECONNREFUSED)]));
    pair.stage(10, false);
    pair.finish();
    assert_eq!(pair.outcome.arrived.len(), 10, "{:?}", pair.outcome.failed);
    assert_eq!(pair.driver.counters().datagrams_sent, 10);
}

fn a_refusal_that_stays_is_reported<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut pair = Pair::new(&make);
    let plan = Plan::new(1).script(Site::Send, [Some(libc::ECONNREFUSED)]);
    install(plan.script(Site::Resend, [Some(libc::ECONNREFUSED); 3]));
    pair.stage(5, false);
    pair.finish();
    assert_eq!(pair.outcome.failed_with(SendFailure::Refused), 1);
    assert_eq!(pair.outcome.arrived.len(), 4);
}

fn a_refused_train_goes_out_singly<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    for errno in [libc::EINVAL, libc::EMSGSIZE] {
        let mut pair = Pair::new(&make);
        install(Plan::new(1).script(Site::Send, [Some(errno)]));
        pair.stage(100, true);
        pair.finish();
        assert_eq!(pair.outcome.arrived.len(), 100);
        // One train of 64 came apart, the other went as it was.
        assert_eq!(pair.driver.counters().gso_fallbacks, 1);
        assert_eq!(pair.driver.counters().trains_sent, 65);
        // The length is remembered.
        pair.stage(50, true);
        pair.finish();
        assert_eq!(pair.driver.counters().trains_sent, 115);
    }
}

fn without_offload_trains_end_for_good<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let mut pair = Pair::new(&make);
    install(Plan::new(1).script(Site::Send, [Some(libc::EIO)]));
    pair.stage(50, true);
    pair.finish();
    pair.stage(50, true);
    pair.finish();
    let counters = pair.driver.counters();
    assert_eq!((counters.gso_fallbacks, counters.trains_sent), (1, 100));
    assert_eq!(pair.outcome.arrived.len(), 100);
}

fn a_train_refused_singly_too_reports_each_datagram<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut pair = Pair::new(&make);
    let plan = Plan::new(1).script(Site::Send, [Some(libc::EINVAL)]);
    install(plan.script(Site::Resend, [None, Some(libc::EPERM), None, Some(libc::EPERM)]));
    pair.stage(6, true);
    pair.finish();
    assert_eq!(pair.outcome.failed_with(SendFailure::NotPermitted), 2);
    let mut failed: Vec<_> = pair.outcome.failed.keys().copied().collect();
    failed.sort_unstable();
    assert_eq!(failed, [1, 3]);
    assert_eq!(pair.outcome.arrived.len(), 4);
}

fn a_random_storm_loses_nothing<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    for seed in 0..20 {
        let mut pair = Pair::new(&make);
        let errors = [
            libc::ENOBUFS,
            libc::ECONNREFUSED,
            libc::EMSGSIZE,
            libc::EPERM,
            libc::EINVAL,
            libc::EAGAIN,
        ];
        let plan = Plan::new(seed)
            .rate(Site::Enter, 200, &[libc::EINTR, libc::EBUSY, libc::EAGAIN])
            .rate(Site::Send, 300, &errors)
            .rate(Site::Resend, 300, &errors)
            .rate(Site::Receive, 200, &[libc::EINTR, libc::ENOMEM, libc::ECONNREFUSED])
            .rate(Site::StopReceive, 300, &[0]);
        install(plan);
        for round in 0..20_u64 {
            pair.stage(1 + round, round % 2 == 0);
            if round % 3 > 0 {
                pair.step();
            }
        }
        pair.finish();
        assert!(clear() > 0, "seed {seed} injected nothing");
        // Without faults everything arrives.
        let before = pair.outcome.arrived.len();
        pair.stage(50, false);
        pair.finish();
        assert_eq!(pair.outcome.arrived.len(), before + 50, "seed {seed}");
    }
}

#[test]
fn a_receive_that_ends_by_itself_is_armed_again() {
    let mut pair = Pair::new(&UringDriver::new);
    install(Plan::new(1).rate(Site::StopReceive, 500, &[0]));
    for _ in 0..50 {
        pair.stage(3, false);
        pair.finish();
    }
    assert_eq!(pair.outcome.arrived.len(), 150);
    assert!(clear() >= 50);
}

#[test]
fn a_receive_starved_of_buffers_waits_for_them_without_spinning() {
    let make = |config: &DriverConfig| {
        UringDriver::new(&DriverConfig { rx_large_buffers: 2, ..config.clone() })
    };
    let mut pair = Pair::new(&make);
    pair.stage(200, false);
    pair.driver.turn(0).expect("turn");
    // Nothing is drained, so no buffer comes back: further turns must not arm in vain.
    let before = pair.driver.counters().receive_rearms_nobufs;
    for _ in 0..100 {
        pair.driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
    }
    let counters = pair.driver.counters();
    assert!(counters.receive_rearms_nobufs <= before + 1, "{counters:?}");
    pair.finish();
    let counters = pair.driver.counters();
    assert_eq!(pair.outcome.arrived.len(), 200);
    assert!(counters.receive_rearms_nobufs > 0, "{counters:?}");
}

#[test]
fn an_overflowing_completion_queue_loses_nothing() {
    let make = |config: &DriverConfig| {
        UringDriver::new(&DriverConfig { sq_entries: 8, cq_entries: 8, ..config.clone() })
    };
    let mut pair = Pair::new(&make);
    for _ in 0..10 {
        pair.stage(200, false);
        pair.finish();
    }
    assert_eq!(pair.outcome.arrived.len(), 2000);
    let counters = pair.driver.counters();
    assert!(counters.cq_overflow > 0, "no overflow was provoked: {counters:?}");
}

#[test]
fn a_full_send_buffer_backs_up_in_order_until_there_is_room() {
    let mut pair = Pair::new(&SyscallDriver::new);
    install(Plan::new(1).script(Site::Send, [None, None, Some(libc::EAGAIN)]));
    pair.stage(100, false);
    let mut last = None;
    let end = sys::monotonic_now() + 5_000_000_000;
    while last < Some(99) {
        assert!(sys::monotonic_now() < end, "stuck at {last:?}");
        pair.driver.turn(end).expect("turn");
        let _ = pair.driver.drain(|event, _| {
            let Event::Datagram { payload, .. } = event else { panic!("{event:?}") };
            let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            assert!(number > last, "{number:?} after {last:?}");
            last = number;
            ControlFlow::Continue(())
        });
    }
    assert_eq!(pair.driver.tx().free(), config().tx_small_slots);
}
