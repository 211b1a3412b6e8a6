//! Paths that do not take trains: a loopback of its own, in a network namespace, with a small MTU.
//! Without the right to make a namespace these tests say so and pass.

mod common;

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;

use common::{config, loopback, open, open_as, run_until, send, settle};
use gossipper_uring::{Driver, DriverConfig, SocketSpec, TxOrder, sys};

on_both_drivers!(
    a_full_send_buffer_delays_but_loses_nothing,
    trains_longer_than_the_path_go_out_singly_and_are_remembered,
);

/// Runs `test` on a thread in a namespace whose loopback has this MTU.
fn in_namespace(mtu: i32, test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| match enter_namespace(mtu) {
            Ok(()) => test(),
            Err(error) => eprintln!("skipped, no network namespace: {error}"),
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn enter_namespace(mtu: i32) -> io::Result<()> {
    // SAFETY: moves only the calling thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_mtu = mtu;
    // SAFETY: passes a live structure with the member that the request reads.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU as _, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: as above.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } != 0
    {
        return Err(io::Error::last_os_error());
    }
    // The namespace is up when loopback takes a socket.
    UdpSocket::bind("127.0.0.1:0").map(drop)
}

fn trains_longer_than_the_path_go_out_singly_and_are_remembered<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D> + Sync,
) {
    in_namespace(1500, || {
        let config = config();
        let mut driver = make(&config).expect("driver");
        let (from, _) = open(&mut driver);
        let (_, to) = open(&mut driver);
        let stage = |driver: &mut D, length: usize, count: usize| {
            let mut order = TxOrder::default();
            for _ in 0..count {
                let payload = payload_of(length);
                assert!(driver.tx().send_copy(&payload, from, to, 0, &mut order));
            }
            let seen = run_until(driver, |seen| seen.len() >= count);
            assert_eq!(seen.len(), count);
            assert!(seen.iter().all(|event| event.payload() == Some(&payload_of(length))));
        };
        stage(&mut driver, 1400, 30);
        assert_eq!((driver.counters().gso_fallbacks, driver.counters().trains_sent), (0, 1));
        // Longer than the MTU: the kernel fragments single datagrams but refuses a train.
        stage(&mut driver, 1600, 30);
        assert_eq!((driver.counters().gso_fallbacks, driver.counters().trains_sent), (1, 31));
        stage(&mut driver, 1700, 30);
        assert_eq!((driver.counters().gso_fallbacks, driver.counters().trains_sent), (1, 61));
        // Shorter ones still travel together.
        stage(&mut driver, 1400, 30);
        assert_eq!((driver.counters().gso_fallbacks, driver.counters().trains_sent), (1, 62));
        settle(&mut driver, &config);
    });
}

fn a_full_send_buffer_delays_but_loses_nothing<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D> + Sync,
) {
    in_namespace(1500, || {
        let shaper = "qdisc add dev lo root tbf rate 40mbit burst 4000 limit 10000000";
        match Command::new("tc").args(shaper.split(' ')).status() {
            Ok(status) if status.success() => {}
            other => return eprintln!("skipped, tc cannot shape: {other:?}"),
        }
        let config = config();
        let mut driver = make(&config).expect("driver");
        let spec = SocketSpec { send_buffer_bytes: 16 * 1024, ..loopback() };
        let (from, _) = open_as(&mut driver, &spec);
        let (_, to) = open(&mut driver);
        let count = 300;
        for number in 0..count {
            send(&mut driver, from, to, &payload_of(900 + number % 50));
        }
        driver.turn(0).expect("turn");
        let waiting = config.tx_small_slots - driver.tx().free();
        assert!(waiting > count / 2, "only {waiting} wait for room");
        let seen = run_until(&mut driver, |seen| seen.len() >= count);
        assert_eq!(seen.len(), count);
        settle(&mut driver, &config);
        let counters = driver.counters();
        assert_eq!(counters.datagrams_sent, count as u64);
        assert_eq!(counters.send_no_buffer + counters.send_errors, 0);
        // Once more, and away with the socket or the driver while sends wait in the kernel.
        for number in 0..count {
            send(&mut driver, from, to, &payload_of(900 + number % 50));
        }
        driver.turn(0).expect("turn");
        driver.close(from);
        driver.turn(0).expect("turn");
        let begun = sys::monotonic_now();
        driver.shutdown(begun + 1_000_000);
        drop(driver);
        assert!(sys::monotonic_now() < begun + 1_000_000_000, "a bounded end");
    });
}

fn payload_of(length: usize) -> Vec<u8> {
    vec![3; length]
}
