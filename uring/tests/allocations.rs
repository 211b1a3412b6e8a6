//! Once warm, the packet path allocates nothing. One test, alone in its process, so that nothing
//! else allocates meanwhile.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{config, loopback, open_as};
use gossipper_uring::{
    ConnectSpec, Driver, Event, ListenSpec, RxClass, SocketId, SocketSpec, StreamEvent,
    SyscallDriver, TxOrder, UringDriver, sys,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Plays echo between two sockets of one driver: trains, singles and replies from within the drain.
/// Returns the datagrams received.
fn play<D: Driver>(driver: &mut D, client: SocketId, server: SocketId, rounds: usize) -> u64 {
    let server_at = driver.local_addr(server);
    let mut received = 0;
    for round in 0..rounds {
        let mut order = TxOrder::default();
        for number in 0..100_usize {
            let length = if number % 2 == 0 { 500 } else { 172 + (round + number) % 90 };
            if let Some(slot) = driver.tx().reserve(length) {
                driver.tx().buffer(&slot)[..length].fill(number as u8);
                driver.tx().commit(slot, length, client, server_at, 0, &mut order);
            }
        }
        let end = received + 200;
        let deadline = driver.now() + 1_000_000_000;
        while received < end && driver.now() < deadline {
            driver.turn(deadline).expect("turn");
            let _ = driver.drain(|event, tx| {
                if let Event::Datagram { socket, source, payload, .. } = event {
                    received += 1;
                    if socket == server {
                        tx.send_copy(payload, server, source, 0, &mut TxOrder::default());
                    }
                }
                ControlFlow::Continue(())
            });
        }
    }
    received
}

/// Opens ten streams, sends questions of one byte to 90 KiB over each and the answers back, and
/// closes them. Returns the bytes received.
fn play_streams<D: Driver>(driver: &mut D, listener: SocketId, rounds: usize) -> usize {
    static BYTES: [u8; 90_000] = [7; 90_000];
    let to = driver.local_addr(listener);
    let mut received = 0;
    for round in 0..rounds {
        let length = 1 + (round * 9001) % BYTES.len();
        let mut clients = [None; 10];
        for client in &mut clients {
            let stream = driver.connect(&ConnectSpec::new(to)).expect("connect");
            driver.stream_write(stream, &BYTES[..length]).expect("write");
            *client = Some(stream);
        }
        let mut servers = [None; 10];
        let end = received + 20 * length;
        let deadline = driver.now() + 1_000_000_000;
        while received < end && driver.now() < deadline {
            let mut answers = [(0, SocketId(0)); 64];
            let mut count = 0;
            driver.turn(deadline).expect("turn");
            let _ = driver.drain(|event, _| {
                match event {
                    Event::Stream(StreamEvent::Accepted { socket, .. }) => {
                        if let Some(server) = servers.iter_mut().find(|server| server.is_none()) {
                            *server = Some(socket);
                        }
                    }
                    Event::Stream(StreamEvent::Data { socket, bytes, .. }) => {
                        received += bytes.len();
                        if servers.contains(&Some(socket)) {
                            answers[count] = (bytes.len(), socket);
                            count += 1;
                        }
                    }
                    _ => {}
                }
                if count == answers.len() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            for &(bytes, server) in &answers[..count] {
                driver.stream_write(server, &BYTES[..bytes]).expect("write");
            }
        }
        for stream in clients.into_iter().chain(servers).flatten() {
            driver.close(stream);
        }
        let counters = |driver: &D| driver.counters();
        while counters(driver).streams_closed
            < counters(driver).streams_opened + counters(driver).streams_accepted
            && driver.now() < deadline
        {
            driver.turn(driver.now() + 1_000_000).expect("turn");
            let _ = driver.drain(|_, _| ControlFlow::Continue(()));
        }
    }
    received
}

fn warm_streams_allocate_nothing<D: Driver>(name: &str, mut driver: D) {
    let listener = driver
        .listen(&ListenSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .expect("listen");
    play_streams(&mut driver, listener, 40);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let received = play_streams(&mut driver, listener, 40);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let expected: usize = (0..40).map(|round| 20 * (1 + (round * 9001) % 90_000)).sum();
    assert_eq!(received, expected, "{name}: {:?}", driver.counters());
    assert_eq!(allocations, 0, "{name}, for {received} bytes of 400 streams");
}

fn warm_path_allocates_nothing<D: Driver>(name: &str, mut driver: D) {
    for rx_class in [RxClass::Large, RxClass::Small] {
        let spec = SocketSpec { rx_class, ..loopback() };
        let (client, _) = open_as(&mut driver, &spec);
        let (server, _) = open_as(&mut driver, &spec);
        play(&mut driver, client, server, 20);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let received = play(&mut driver, client, server, 20);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(received, 4000, "{name}: {:?}", driver.counters());
        assert_eq!(allocations, 0, "{name}, {rx_class:?}, for {received} datagrams");
    }
    driver.shutdown(sys::monotonic_now() + 1_000_000_000);
}

#[test]
fn the_warm_path_allocates_nothing() {
    warm_path_allocates_nothing("uring", UringDriver::new(&config()).expect("driver"));
    warm_path_allocates_nothing("syscall", SyscallDriver::new(&config()).expect("driver"));
    warm_streams_allocate_nothing("uring", UringDriver::new(&config()).expect("driver"));
    warm_streams_allocate_nothing("syscall", SyscallDriver::new(&config()).expect("driver"));
}
