//! Once warm, the packet path allocates nothing: one test, alone in its process, so that nobody
//! else allocates meanwhile.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{config, loopback, open_as};
use gossipper_uring::{
    Driver, Event, RxClass, SocketId, SocketSpec, SyscallDriver, TxOrder, UringDriver, sys,
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
}
