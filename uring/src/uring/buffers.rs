//! A class of receive buffers, provided to the kernel through a shared ring.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use super::window::Window;
use crate::region::Region;

/// Provided buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    ring: Region,
    memory: Region,
    stride: usize,
    mask: u16,
    /// Index in the ring for the next buffer; published by [`publish`](Self::publish).
    tail: u16,
    count: u32,
    window: Window,
    group: u16,
}

impl Buffers {
    /// Reserves `count` buffers of `bytes` and provides them as buffer group `group`.
    pub(super) fn new(ring: &Ring, count: usize, bytes: usize, group: u16) -> io::Result<Self> {
        let count = u16::try_from(count)
            .ok()
            .filter(|count| (1..=32_768).contains(count))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "receive buffer count"))?;
        let entries = count.next_power_of_two();
        let mut buffers = Self {
            ring: Region::new(usize::from(entries) * size_of::<BufRingEntry>())?,
            memory: Region::new(usize::from(count) * bytes)?,
            stride: bytes,
            mask: entries - 1,
            tail: 0,
            count: count.into(),
            window: Window::new(count),
            group,
        };
        // SAFETY: the memory lives in `buffers`, which outlives the ring or is leaked.
        unsafe { ring.register_buffers(buffers.ring.at(0) as u64, entries, group)? };
        buffers.publish();
        Ok(buffers)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Free buffers, as far as completions have told: those that the kernel has to receive into,
    /// and those that [`publish`](Self::publish) may give it.
    pub(super) fn free(&self) -> u32 {
        self.window.free()
    }

    /// Tells whether there is any buffer to receive into.
    pub(super) fn available(&self) -> bool {
        self.free() > 0
    }

    /// Takes note that a completion brought a buffer. [`publish`](Self::publish) may give the
    /// kernel another for it.
    #[inline]
    pub(super) fn take(&mut self) {
        self.window.take();
    }

    /// Takes note that the kernel had no buffer for a datagram. Returns `false` if there was none;
    /// otherwise [`publish`](Self::publish) gives it all the spare ones.
    #[cold]
    pub(super) fn open(&mut self) -> bool {
        self.window.open()
    }

    /// The first `bytes` of a buffer that a completion brought.
    #[inline]
    pub(super) fn filled(&self, index: u16, bytes: usize) -> &[u8] {
        let bytes = bytes.min(self.stride);
        // SAFETY: a buffer that a completion brought is ours until it is given back.
        unsafe { self.memory.slice(usize::from(index) * self.stride, bytes) }
    }

    /// Takes back a buffer that a completion brought.
    #[inline]
    pub(super) fn give_back(&mut self, index: u16) {
        assert!(u32::from(index) < self.count, "buffer of another class");
        self.window.give_back(index);
    }

    /// Queues a buffer for the kernel; it sees it once the tail is stored.
    #[inline]
    fn queue(&mut self, index: u16) {
        let address = self.memory.at(usize::from(index) * self.stride) as u64;
        let slot = usize::from(self.tail & self.mask);
        let entry: *mut BufRingEntry = self.ring.at(slot * size_of::<BufRingEntry>()).cast();
        // SAFETY: in bounds and aligned; the kernel reads an entry only when the tail has passed
        // it, and at most `count` entries are ever unconsumed, so it is not reading this one. The
        // tail word shares the first entry's last two bytes, which the setters leave alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.stride as u32);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Gives the kernel as many buffers as it should have.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.window.turn();
        while let Some(index) = self.window.next() {
            self.queue(index);
        }
        let base: *const BufRingEntry = self.ring.at(0).cast();
        // SAFETY: the tail is an aligned u16 in live memory, written only here, read by the kernel.
        unsafe {
            let tail: *const AtomicU16 = BufRingEntry::tail(base).cast();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    pub(super) fn leak(&mut self) {
        self.ring.leak();
        self.memory.leak();
    }
}
