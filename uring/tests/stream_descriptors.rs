//! Descriptors of streams: none leaks, and running out of them loses no listener. One test, alone
//! in its process, so that nothing else opens or closes any meanwhile.

mod common;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use common::{PATIENCE_NS, Seen, config, run_until, step};
use gossipper_uring::{
    ConnectSpec, Driver, DriverConfig, ListenSpec, SocketId, SyscallDriver, UringDriver, sys,
};

fn listen(driver: &mut impl Driver) -> SocketAddr {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = driver.listen(&ListenSpec::new(anywhere)).expect("listen");
    driver.local_addr(listener)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn accepted(seen: &[Seen]) -> Vec<SocketId> {
    let sockets = seen.iter().filter_map(|event| match *event {
        Seen::Accepted { socket, .. } => Some(socket),
        _ => None,
    });
    sockets.collect()
}

fn until_gone<D: Driver>(driver: &mut D) {
    let end = sys::monotonic_now() + PATIENCE_NS;
    let alive = |driver: &D| {
        let counters = driver.counters();
        counters.streams_opened + counters.streams_accepted - counters.streams_closed
    };
    while alive(driver) > 0 {
        assert!(sys::monotonic_now() < end, "streams leaked: {:?}", driver.counters());
        step(driver, sys::monotonic_now() + 1_000_000, &mut Vec::new());
    }
}

/// Opens a thousand streams and ends them in every way.
fn come_and_go(name: &str, mut driver: impl Driver) {
    let at = listen(&mut driver);
    let before = descriptors();
    for round in 0..100_usize {
        let bytes = 1 + round * 50;
        let spec = ConnectSpec::new(at);
        let clients: Vec<_> = (0..10).map(|_| driver.connect(&spec).expect("connect")).collect();
        for client in &clients {
            driver.stream_write(*client, &vec![7; bytes]).expect("write");
        }
        let seen = run_until(&mut driver, |seen| {
            let data = seen.iter().filter_map(|event| match event {
                Seen::Data { bytes, .. } => Some(bytes.len()),
                _ => None,
            });
            data.sum::<usize>() >= 10 * bytes
        });
        for (number, server) in accepted(&seen).into_iter().enumerate() {
            match (round + number) % 3 {
                0 => driver.abort(server),
                _ => driver.close(server),
            }
        }
        for client in clients.into_iter().step_by(2) {
            driver.close(client);
        }
        until_gone(&mut driver);
    }
    assert_eq!(descriptors(), before, "{name}: descriptors leaked");
    let counters = driver.counters();
    assert_eq!((counters.streams_opened, counters.streams_accepted), (1000, 1000), "{name}");
    assert_eq!((counters.accept_errors, counters.streams_cut), (0, 0), "{name}");
}

/// Connects while no descriptor is left to accept with.
fn run_out(name: &str, mut driver: impl Driver) {
    let at = listen(&mut driver);
    // The backlog takes the connections. An accept by io_uring keeps to the limit at the time of
    // its start.
    let mut peers: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(at).expect("connect")).collect();
    let limit = sys::nofile_limit().expect("limit");
    set_limit(descriptors() as u64 - 2);
    let end = sys::monotonic_now() + PATIENCE_NS;
    let mut seen = Vec::new();
    while driver.counters().accept_errors == 0 {
        assert!(sys::monotonic_now() < end, "{name}: {:?}", driver.counters());
        step(&mut driver, sys::monotonic_now() + 1_000_000, &mut seen);
    }
    // The listener rests and does not spin.
    let before = driver.counters();
    let until = sys::monotonic_now() + 50_000_000;
    while sys::monotonic_now() < until {
        step(&mut driver, until, &mut seen);
    }
    let after = driver.counters();
    assert!(after.accept_errors <= before.accept_errors + 1, "{name}: {after:?}");
    assert!(after.enters < before.enters + 100, "{name}: {before:?} {after:?}");
    set_limit(limit);
    peers.push(TcpStream::connect(at).expect("connect"));
    let so_far = accepted(&seen).len();
    seen.extend(run_until(&mut driver, |seen| so_far + accepted(seen).len() >= 4));
    drop(peers);
    until_gone(&mut driver);
}

/// Sets the soft limit of descriptors.
fn set_limit(limit: u64) {
    let mut hard = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads one live structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut hard), 0);
        hard.rlim_cur = limit.min(hard.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const hard), 0);
    }
}

#[test]
fn descriptors_are_given_back_and_their_want_is_survived() {
    let config = DriverConfig { streams_max: 64, sockets_max: 64, ..config() };
    let uring = || UringDriver::new(&config).expect("driver");
    let syscall = || SyscallDriver::new(&config).expect("driver");
    come_and_go("uring", uring());
    run_out("uring", uring());
    come_and_go("syscall", syscall());
    run_out("syscall", syscall());
}
