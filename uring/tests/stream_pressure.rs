//! Streams when buffers, queues and memory are short, and the two kernel drivers compared.

mod common;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use common::{PATIENCE_NS, config};
use gossipper_uring::sim::Random;
use gossipper_uring::{
    ConnectSpec, Driver, DriverConfig, Event, ListenSpec, NEVER, SocketId, StreamCause,
    StreamEvent, StreamWriteError, SyscallDriver, UringDriver, sys,
};

on_both_drivers!(
    a_crowd_of_streams_shares_few_buffers,
    a_crowd_is_served_through_short_queues,
    streams_that_starve_for_memory_are_told_of_room,
    bytes_are_stamped_with_the_time_of_their_receipt,
);

fn listen(driver: &mut impl Driver) -> SocketAddr {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = driver.listen(&ListenSpec::new(anywhere)).expect("listen");
    driver.local_addr(listener)
}

/// Has `count` streams send `bytes` each to the driver itself. The driver sleeps without a
/// deadline: a forgotten stream shows as a hang, which a wake ends after a long time.
fn crowd(driver: &mut impl Driver, count: usize, bytes: usize) {
    let to = listen(driver);
    let streams: Vec<SocketId> =
        (0..count).map(|_| driver.connect(&ConnectSpec::new(to)).expect("connect")).collect();
    for (number, &stream) in streams.iter().enumerate() {
        driver.stream_write(stream, &vec![number as u8; bytes]).expect("write");
    }
    let waker = driver.waker();
    let (done, finished) = std::sync::mpsc::channel();
    let watchdog = thread::spawn(move || {
        if finished.recv_timeout(Duration::from_nanos(2 * PATIENCE_NS)).is_err() {
            waker.wake();
        }
    });
    let mut received: BTreeMap<SocketId, usize> = BTreeMap::new();
    let end = sys::monotonic_now() + 2 * PATIENCE_NS;
    while received.len() < count || received.values().any(|&got| got < bytes) {
        driver.turn(NEVER).expect("turn");
        let _ = driver.drain(|event, _| {
            if let Event::Stream(StreamEvent::Data { socket, bytes, .. }) = event {
                *received.entry(socket).or_default() += bytes.len();
                assert!(bytes.iter().all(|&byte| byte == bytes[0]));
            }
            ControlFlow::Continue(())
        });
        let so_far = received.values().sum::<usize>();
        assert!(sys::monotonic_now() < end, "{so_far} bytes: {:?}", driver.counters());
    }
    assert!(received.values().all(|&got| got == bytes));
    done.send(()).expect("watchdog");
    watchdog.join().expect("watchdog");
}

fn a_crowd_of_streams_shares_few_buffers<D: Driver>(make: impl Fn(&DriverConfig) -> io::Result<D>) {
    let config = DriverConfig { stream_rx_buffers: 2, ..config() };
    crowd(&mut make(&config).expect("driver"), 200, 20_000);
}

fn a_crowd_is_served_through_short_queues<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { sq_entries: 8, cq_entries: 8, stream_rx_buffers: 32, ..config() };
    crowd(&mut make(&config).expect("driver"), 200, 20_000);
}

fn streams_that_starve_for_memory_are_told_of_room<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let config = DriverConfig { stream_pool_bytes: 128 << 10, ..config() };
    let mut driver = make(&config).expect("driver");
    let to = listen(&mut driver);
    let hog = driver.connect(&ConnectSpec::new(to)).expect("connect");
    let starved = driver.connect(&ConnectSpec::new(to)).expect("connect");
    // Not connected, so that nothing leaves yet.
    driver.stream_write(hog, &[1; 128 << 10]).expect("write");
    assert_eq!(driver.stream_write(starved, b"x"), Err(StreamWriteError::Full));
    let end = sys::monotonic_now() + PATIENCE_NS;
    let mut drained = Vec::new();
    while drained.is_empty() {
        assert!(sys::monotonic_now() < end, "{:?}", driver.counters());
        driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
        let _ = driver.drain(|event, _| {
            if let Event::Stream(StreamEvent::Drained { socket }) = event {
                drained.push(socket);
            }
            ControlFlow::Continue(())
        });
    }
    assert_eq!(drained, [starved], "the other was not refused anything");
    driver.stream_write(starved, b"x").expect("room");
}

fn bytes_are_stamped_with_the_time_of_their_receipt<D: Driver>(
    make: impl Fn(&DriverConfig) -> io::Result<D>,
) {
    let mut driver = make(&config()).expect("driver");
    let to = listen(&mut driver);
    let mut peer = TcpStream::connect(to).expect("connect");
    let mut stamps = Vec::new();
    let mut collect = |driver: &mut D| {
        driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
        let _ = driver.drain(|event, _| {
            if let Event::Stream(StreamEvent::Data { received_ns, .. }) = event {
                stamps.push(received_ns);
            }
            ControlFlow::Continue(())
        });
        stamps.first().copied()
    };
    // Accepted and ready to receive.
    for _ in 0..20 {
        assert_eq!(collect(&mut driver), None);
    }
    let before = sys::monotonic_now();
    peer.write_all(b"now").expect("write");
    // The driver does not run meanwhile: only the kernel can know the time.
    thread::sleep(Duration::from_millis(50));
    let after = sys::monotonic_now();
    let stamp = loop {
        if let Some(stamp) = collect(&mut driver) {
            break stamp;
        }
        assert!(sys::monotonic_now() < after + PATIENCE_NS);
    };
    // The clocks from which an age is computed are not read at one instant.
    assert!(stamp > before - 1_000_000 && stamp < after, "{before} {stamp} {after}");
}

/// Bytes and ends that the two ends of a stream saw.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    /// Bytes that the driver received; `cause` is how the stream ended.
    received: Vec<u8>,
    cause: Option<StreamCause>,
    /// Bytes that the peer received; `peer_eof` is true if the stream ended in good order.
    peer_received: Vec<u8>,
    peer_eof: bool,
}

/// Plays the same seeded script, stream after stream, with a peer of plain system calls.
fn accounts(driver: &mut impl Driver, seed: u64) -> Vec<Account> {
    let to = listen(driver);
    let mut random = Random::new(seed);
    let mut accounts = Vec::new();
    for number in 0..30_u8 {
        let mut peer = TcpStream::connect(to).expect("connect");
        peer.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("timeout");
        let down = vec![number; random.below(100_000) as usize];
        // The peer waits for at least one byte, because a stream that it resets before it is
        // accepted is never reported.
        let up: Vec<Vec<u8>> = (0..=random.below(20))
            .map(|at| vec![at as u8; 1 + random.below(9000) as usize])
            .collect();
        let resets = random.chance(300_000);
        let closes = !resets && random.chance(500_000);
        let expected: usize = up.iter().map(Vec::len).sum();
        let from_peer = down.clone();
        let thread = thread::spawn(move || {
            peer.write_all(&from_peer).expect("write");
            let mut bytes = vec![0; expected];
            peer.read_exact(&mut bytes).expect("read");
            if resets {
                let linger = socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO));
                linger.expect("linger");
                return (bytes, false);
            }
            if closes {
                peer.shutdown(std::net::Shutdown::Write).expect("shutdown");
            }
            let rest = peer.read_to_end(&mut bytes).expect("read");
            (bytes, rest == 0)
        });
        let mut account = Account::default();
        let mut stream = None;
        let mut unsent = up.concat();
        let end = sys::monotonic_now() + PATIENCE_NS;
        let mut closed = false;
        while account.cause.is_none() && !closed {
            assert!(sys::monotonic_now() < end, "seed {seed}: {:?}", driver.counters());
            driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
            let _ = driver.drain(|event, _| {
                match event {
                    Event::Stream(StreamEvent::Accepted { socket, .. }) => stream = Some(socket),
                    Event::Stream(StreamEvent::Data { socket, bytes, .. }) => {
                        assert_eq!(Some(socket), stream);
                        account.received.extend_from_slice(bytes);
                    }
                    Event::Stream(StreamEvent::Closed { cause, .. }) => account.cause = Some(cause),
                    Event::Stream(StreamEvent::Drained { .. }) => {}
                    other => panic!("{other:?}"),
                }
                ControlFlow::Continue(())
            });
            let Some(stream) = stream else { continue };
            let part = unsent.len().min(5000);
            if part > 0 && driver.stream_write(stream, &unsent[..part]).is_ok() {
                unsent.drain(..part);
            }
            if !resets && !closes && unsent.is_empty() && account.received.len() == down.len() {
                driver.close(stream);
                closed = true;
            }
        }
        let until = sys::monotonic_now() + PATIENCE_NS;
        while !thread.is_finished() && sys::monotonic_now() < until {
            driver.turn(sys::monotonic_now() + 1_000_000).expect("turn");
        }
        (account.peer_received, account.peer_eof) = thread.join().expect("peer");
        assert!(account.peer_received == up.concat(), "seed {seed}, stream {number}");
        assert!(account.received == down, "seed {seed}, stream {number}");
        accounts.push(account);
    }
    accounts
}

#[test]
fn both_drivers_give_the_same_account_of_streams() {
    for seed in 0..4 {
        let uring = accounts(&mut UringDriver::new(&config()).expect("driver"), seed);
        let syscall = accounts(&mut SyscallDriver::new(&config()).expect("driver"), seed);
        assert!(uring == syscall, "seed {seed}");
        assert!(uring.iter().any(|account| account.cause == Some(StreamCause::Reset)));
        assert!(uring.iter().any(|account| account.cause == Some(StreamCause::Eof)));
        assert!(uring.iter().any(|account| account.peer_eof));
    }
}
