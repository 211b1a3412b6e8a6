//! A class of receive buffers, provided to the kernel through a shared ring.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::region::Region;

/// Provided buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    ring: Region,
    memory: Region,
    stride: usize,
    mask: u16,
    /// Where the next buffer goes; published by [`publish`](Self::publish).
    tail: u16,
    count: u32,
    /// Buffers that completions have brought us and that are not yet given back.
    taken: u32,
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
            taken: u32::from(count),
            group,
        };
        // SAFETY: the memory lives in `buffers`, which outlives the ring or is leaked.
        unsafe { ring.register_buffers(buffers.ring.at(0) as u64, entries, group)? };
        for index in 0..count {
            buffers.give_back(index);
        }
        buffers.publish();
        Ok(buffers)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Buffers that the kernel has to receive into, as far as completions have told.
    pub(super) fn free(&self) -> u32 {
        self.count - self.taken
    }

    /// Whether the kernel has any buffer to receive into.
    pub(super) fn available(&self) -> bool {
        self.taken < self.count
    }

    /// A completion brought a buffer.
    #[inline]
    pub(super) fn take(&mut self) {
        self.taken += 1;
    }

    /// The first `bytes` of a buffer that a completion brought.
    #[inline]
    pub(super) fn filled(&self, index: u16, bytes: usize) -> &[u8] {
        let bytes = bytes.min(self.stride);
        // SAFETY: a buffer that a completion brought is ours until it is given back.
        unsafe { self.memory.slice(usize::from(index) * self.stride, bytes) }
    }

    /// Queues a buffer for the kernel; it sees it after [`publish`](Self::publish).
    #[inline]
    pub(super) fn give_back(&mut self, index: u16) {
        assert!(u32::from(index) < self.count, "buffer of another class");
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
        self.taken -= 1;
    }

    /// Shows the kernel all buffers given back so far.
    #[inline]
    pub(super) fn publish(&mut self) {
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
