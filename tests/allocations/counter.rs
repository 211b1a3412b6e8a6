//! The allocator of this crate: the system's, and it counts what a thread allocates inside
//! [`counted`]. The test harness's own threads do not disturb it.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counter;

fn note() {
    if COUNTING.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

// SAFETY: every call is passed on to the system allocator with the caller's own arguments, so its
// guarantees are the system allocator's. The counters are constant-initialised thread locals
// without destructors, and touching them allocates nothing.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        note();
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(memory) }
    }

    unsafe fn alloc_zeroed(&self, memory: Memory) -> *mut u8 {
        note();
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(memory) }
    }

    unsafe fn realloc(&self, old: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { System.realloc(old, memory, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Memory) {
        // SAFETY: `memory` came from one of the above with this layout, hence from the system.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counter = Counter;

/// Counts what `work` allocates; gives back its result.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    COUNTING.set(true);
    let result = work();
    COUNTING.set(false);
    result
}

/// Allocations of this thread that were counted so far.
pub(crate) fn so_far() -> u64 {
    ALLOCATIONS.get()
}

#[test]
fn the_counter_counts() {
    let before = so_far();
    counted(|| std::hint::black_box(Vec::<u8>::with_capacity(std::hint::black_box(9))));
    assert_eq!(so_far() - before, 1);
}
