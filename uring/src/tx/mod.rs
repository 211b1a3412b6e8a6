//! The send arena: slots in which datagrams are rendered, and the trains in which they leave.
//!
//! [`TxArena::commit`] joins datagrams of equal length from one socket to one destination into a
//! *train*, which the kernel cuts up again (`UDP_SEGMENT`). A datagram may join only a train that
//! was opened no earlier than the last train of the same call ([`TxOrder`]), and trains leave in
//! the order in which they were opened, so a call's datagrams never overtake each other.

mod handover;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::SocketId;
use crate::config::{DriverConfig, LARGE_BYTES, SMALL_BYTES, UDP_PAYLOAD_MAX};
use crate::region::Region;
use message::Messages;
pub(crate) use message::Plain;

/// The index that stands for no slot, train or table.
pub(crate) const NONE: u32 = u32::MAX;

/// Open trains that a datagram is compared with.
const OPEN_TRAINS: usize = 16;

/// A slot in which one datagram is rendered. Give it back with [`TxArena::commit`] or
/// [`TxArena::release`]; a slot that is merely dropped is lost to the arena.
#[derive(Debug)]
#[must_use = "a slot that is dropped is lost to the arena"]
pub struct TxSlot {
    index: u32,
}

/// The place of one call's last staged datagram; kept by the caller, one per call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxOrder(u64);

/// Arena in which datagrams are rendered and staged before they leave (see
/// [`Driver::tx`](crate::Driver::tx)).
#[derive(Debug)]
pub struct TxArena {
    small: Region,
    large: Region,
    small_slots: u32,
    slots: Box<[Slot]>,
    free_small: Vec<u32>,
    free_large: Vec<u32>,
    trains: Box<[Train]>,
    free_trains: Vec<u32>,
    messages: Messages,
    sockets: Vec<TxSocket>,
    open: OpenTrains,
    staged_trains: VecDeque<u32>,
    staged_datagrams: usize,
    next_sequence: u64,
    segments_max: u16,
    in_kernel: usize,
    exhausted: u64,
}

/// State of a slot in use.
#[derive(Clone, Copy, Debug)]
struct Slot {
    cookie: u64,
    /// The next slot of the same train.
    next: u32,
}

/// Datagrams that leave in one send.
#[derive(Clone, Copy, Debug)]
struct Train {
    destination: SocketAddr,
    sequence: u64,
    socket: u32,
    generation: u32,
    head: u32,
    tail: u32,
    /// The next train in a driver's backlog.
    next: u32,
    length: u32,
    count: u16,
}

/// Facts about a socket that the arena needs.
#[derive(Clone, Copy, Debug, Default)]
struct TxSocket {
    remote: Option<SocketAddr>,
    generation: u32,
    /// Longest datagram that may travel in a train; 0 forbids trains.
    segment_max: u16,
    open: bool,
}

/// The most recently opened trains that still have room, found by a short key.
#[derive(Debug, Default)]
struct OpenTrains {
    keys: [u64; OPEN_TRAINS],
    trains: [u32; OPEN_TRAINS],
    next: usize,
}

/// One datagram that was not sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) socket: SocketId,
    pub(crate) destination: SocketAddr,
    pub(crate) cookie: u64,
    /// True if the socket is still the one that the datagram was committed to.
    pub(crate) current: bool,
}

impl TxArena {
    pub(crate) fn new(config: &DriverConfig) -> io::Result<Self> {
        let total = config.tx_small_slots + config.tx_large_slots;
        let (Ok(small_slots), Ok(total)) =
            (u32::try_from(config.tx_small_slots), u32::try_from(total))
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many send slots"));
        };
        let train = Train {
            destination: SocketAddr::from(([0, 0, 0, 0], 0)),
            sequence: 0,
            socket: 0,
            generation: 0,
            head: NONE,
            tail: NONE,
            next: NONE,
            length: 0,
            count: 0,
        };
        // The reserve of train descriptors equals that of slots, so that `commit` cannot fail.
        Ok(Self {
            small: Region::new(config.tx_small_slots * SMALL_BYTES)?,
            large: Region::new(config.tx_large_slots * LARGE_BYTES)?,
            small_slots,
            slots: vec![Slot { cookie: 0, next: NONE }; total as usize].into_boxed_slice(),
            free_small: (0..small_slots).rev().collect(),
            free_large: (small_slots..total).rev().collect(),
            trains: vec![train; total as usize].into_boxed_slice(),
            free_trains: (0..total).rev().collect(),
            messages: Messages::new(total as usize)?,
            sockets: Vec::new(),
            open: OpenTrains::default(),
            staged_trains: VecDeque::with_capacity(total as usize),
            staged_datagrams: 0,
            next_sequence: 1,
            segments_max: config.train_segments_max.clamp(1, 64) as u16,
            in_kernel: 0,
            exhausted: 0,
        })
    }

    /// An arena that belongs to no driver. Staged datagrams stay in it until
    /// [`take_staged`](Self::take_staged) takes them, in the order of the commits: without sockets
    /// there are no trains.
    ///
    /// # Errors
    /// `mmap` failed for want of memory.
    pub fn standalone(small_slots: usize, large_slots: usize) -> io::Result<Self> {
        Self::new(&DriverConfig {
            tx_small_slots: small_slots,
            tx_large_slots: large_slots,
            ..DriverConfig::default()
        })
    }

    /// Small slots that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free_small.len()
    }

    /// Large slots that are free.
    #[must_use]
    pub fn free_large(&self) -> usize {
        self.free_large.len()
    }

    /// Datagrams staged and not yet handed to the kernel.
    #[must_use]
    pub fn staged(&self) -> usize {
        self.staged_datagrams
    }

    /// Takes a slot for a datagram of up to `capacity` bytes: a small one if that suffices, else a
    /// large one. Returns `None` (counted) if no such slot is free.
    pub fn reserve(&mut self, capacity: usize) -> Option<TxSlot> {
        let index = if capacity <= SMALL_BYTES {
            self.free_small.pop()
        } else if capacity <= LARGE_BYTES {
            self.free_large.pop()
        } else {
            None
        };
        if index.is_none() {
            self.exhausted += 1;
        }
        index.map(|index| TxSlot { index })
    }

    /// The memory of `slot`: [`SMALL_BYTES`] or [`LARGE_BYTES`] long, with its earlier contents.
    pub fn buffer(&mut self, slot: &TxSlot) -> &mut [u8] {
        let index = slot.index;
        // SAFETY: the holder of a `TxSlot` owns the slot: it is on no free list and in no train, so
        // the kernel knows nothing of it.
        unsafe {
            if index < self.small_slots {
                self.small.slice_mut(index as usize * SMALL_BYTES, SMALL_BYTES)
            } else {
                let large = (index - self.small_slots) as usize;
                self.large.slice_mut(large * LARGE_BYTES, LARGE_BYTES)
            }
        }
    }

    /// Stages the first `len` bytes of `slot` for `destination`. `cookie` comes back if the send
    /// fails; `order` belongs to the call whose datagrams must keep their sequence.
    ///
    /// # Panics
    /// Panics if `len` exceeds the slot.
    pub fn commit(
        &mut self,
        slot: TxSlot,
        len: usize,
        socket: SocketId,
        destination: SocketAddr,
        cookie: u64,
        order: &mut TxOrder,
    ) {
        let index = slot.index;
        let capacity = if index < self.small_slots { SMALL_BYTES } else { LARGE_BYTES };
        assert!(len <= capacity, "{len} bytes committed in a slot of {capacity}");
        let length = len as u32;
        self.slots[index as usize] = Slot { cookie, next: NONE };
        self.staged_datagrams += 1;

        let info = self.sockets.get(socket.0 as usize).copied().unwrap_or_default();
        let groups = len > 0 && len <= usize::from(info.segment_max);
        let key = if groups { key(socket, length, &destination) } else { 0 };
        if groups && let Some(train) = self.find(key, socket, length, &destination, *order) {
            self.join(train, index);
            order.0 = self.trains[train as usize].sequence;
            return;
        }
        order.0 = self.next_sequence;
        let train = self.open_train(index, length, socket, destination, &info);
        if groups {
            self.open.insert(key, train);
        }
    }

    /// Gives back a slot that was not used.
    pub fn release(&mut self, slot: TxSlot) {
        self.free_slot(slot.index);
    }

    /// Copies `payload` into a fresh slot and commits it. `false` (counted) when there is no slot.
    pub fn send_copy(
        &mut self,
        payload: &[u8],
        socket: SocketId,
        destination: SocketAddr,
        cookie: u64,
        order: &mut TxOrder,
    ) -> bool {
        let Some(slot) = self.reserve(payload.len()) else { return false };
        self.buffer(&slot)[..payload.len()].copy_from_slice(payload);
        self.commit(slot, payload.len(), socket, destination, cookie, order);
        true
    }

    /// Hands every staged datagram to `take` (socket, destination, cookie, payload) and frees its
    /// slot. This serves a layer that carries messages by other means than this driver's datagrams.
    /// The datagrams of one call come in the order of their commits.
    pub fn take_staged(&mut self, mut take: impl FnMut(SocketId, SocketAddr, u64, &[u8])) {
        self.seal();
        while let Some(id) = self.first_staged() {
            self.hand_over();
            let train = self.trains[id as usize];
            for (payload, cookie) in self.payloads(id) {
                take(SocketId(train.socket), train.destination, cookie, payload);
            }
            self.finish(id);
        }
    }

    #[inline]
    fn find(
        &self,
        key: u64,
        socket: SocketId,
        length: u32,
        destination: &SocketAddr,
        order: TxOrder,
    ) -> Option<u32> {
        for (slot, &candidate) in self.open.keys.iter().enumerate() {
            if candidate != key {
                continue;
            }
            let id = self.open.trains[slot];
            let train = &self.trains[id as usize];
            let room = train.count < self.segments_max
                && (u32::from(train.count) + 1) * length <= UDP_PAYLOAD_MAX as u32;
            if room
                && train.sequence >= order.0
                && train.socket == socket.0
                && train.length == length
                && train.destination == *destination
            {
                return Some(id);
            }
        }
        None
    }

    fn join(&mut self, id: u32, index: u32) {
        let data = self.data(index);
        let train = &mut self.trains[id as usize];
        if train.count == 1 {
            let first = data_of(&self.small, &self.large, self.small_slots, train.head);
            self.messages.start_table(id, first, train.length);
        }
        self.messages.append(id, train.count, data, train.length);
        self.slots[train.tail as usize].next = index;
        train.tail = index;
        train.count += 1;
    }

    fn open_train(
        &mut self,
        index: u32,
        length: u32,
        socket: SocketId,
        destination: SocketAddr,
        info: &TxSocket,
    ) -> u32 {
        let Some(id) = self.free_trains.pop() else {
            unreachable!("as many trains as slots, and every train holds a slot")
        };
        self.trains[id as usize] = Train {
            destination,
            sequence: self.next_sequence,
            socket: socket.0,
            generation: if info.open { info.generation } else { NONE },
            head: index,
            tail: index,
            next: NONE,
            length,
            count: 1,
        };
        self.next_sequence += 1;
        // A connected socket is sent to without a name: the kernel then uses its cached route.
        self.messages.name(id, (info.remote != Some(destination)).then_some(&destination));
        self.staged_trains.push_back(id);
        id
    }

    fn free_slot(&mut self, index: u32) {
        if index < self.small_slots {
            self.free_small.push(index);
        } else {
            self.free_large.push(index);
        }
    }

    fn data(&self, index: u32) -> *mut u8 {
        data_of(&self.small, &self.large, self.small_slots, index)
    }
}

impl Drop for TxArena {
    fn drop(&mut self) {
        if self.in_kernel > 0 {
            // An operation is still in flight: its memory must outlive us.
            self.small.leak();
            self.large.leak();
            self.messages.leak();
        }
    }
}

impl OpenTrains {
    fn insert(&mut self, key: u64, train: u32) {
        self.keys[self.next] = key;
        self.trains[self.next] = train;
        self.next = (self.next + 1) % OPEN_TRAINS;
    }
}

/// A short key under which trains are found; never 0. Equal keys are compared in full afterwards.
fn key(socket: SocketId, length: u32, destination: &SocketAddr) -> u64 {
    let host = match destination.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u64,
    };
    let place = (host << 16) ^ u64::from(destination.port());
    let flow = (u64::from(socket.0) << 20) ^ u64::from(length);
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ flow) | 1
}

fn data_of(small: &Region, large: &Region, small_slots: u32, index: u32) -> *mut u8 {
    if index < small_slots {
        small.at(index as usize * SMALL_BYTES)
    } else {
        large.at((index - small_slots) as usize * LARGE_BYTES)
    }
}
