//! The drivers' side of the arena: taking staged trains, finishing them, and taking failed ones
//! apart.

use std::net::SocketAddr;

use super::{Failed, NONE, OPEN_TRAINS, Plain, TxArena, TxSocket};
use crate::config::{LARGE_BYTES, SMALL_BYTES, UDP_PAYLOAD_MAX};
use crate::{DriverCounters, SocketId};

impl TxArena {
    /// Tells the arena of a socket. `segments` allows trains.
    pub(crate) fn socket_opened(
        &mut self,
        index: u32,
        generation: u32,
        remote: Option<SocketAddr>,
        segments: bool,
    ) {
        let index = index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize(index + 1, TxSocket::default());
        }
        let segment_max =
            if segments && self.segments_max > 1 { (UDP_PAYLOAD_MAX / 2) as u16 } else { 0 };
        self.sockets[index] = TxSocket { remote, generation, segment_max, open: true };
    }

    /// Forgets a socket: datagrams that are committed to it from now on fail.
    pub(crate) fn socket_closed(&mut self, index: u32) {
        if let Some(socket) = self.sockets.get_mut(index as usize) {
            socket.open = false;
            socket.segment_max = 0;
        }
    }

    /// Forbids trains of datagrams of `length` bytes and more on a socket.
    pub(crate) fn limit_segments(&mut self, index: u32, length: u32) {
        if let Some(socket) = self.sockets.get_mut(index as usize) {
            let below = u16::try_from(length.saturating_sub(1)).unwrap_or(u16::MAX);
            socket.segment_max = socket.segment_max.min(below);
        }
    }

    /// Ends grouping with the datagrams staged so far; the trains stay staged.
    pub(crate) fn seal(&mut self) {
        self.open.keys = [0; OPEN_TRAINS];
    }

    /// The next train to hand over, if any, and its socket. Call [`seal`](Self::seal) first.
    pub(crate) fn first_staged(&self) -> Option<u32> {
        self.staged_trains.front().copied()
    }

    /// Takes the train returned by [`first_staged`](Self::first_staged): it is the driver's now.
    pub(crate) fn hand_over(&mut self) {
        if let Some(id) = self.staged_trains.pop_front() {
            self.staged_datagrams -= usize::from(self.trains[id as usize].count);
            self.in_kernel += 1;
        }
    }

    /// Trains that a driver has taken and not finished.
    pub(crate) fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// Returns the socket of a train, and `true` if it is still the socket that the train was
    /// committed to.
    pub(crate) fn socket_of(&self, id: u32) -> (u32, bool) {
        let train = &self.trains[id as usize];
        let current = self
            .sockets
            .get(train.socket as usize)
            .is_some_and(|socket| socket.open && socket.generation == train.generation);
        (train.socket, current)
    }

    /// Returns the generation of its socket that a train was committed to.
    pub(crate) fn generation_of(&self, id: u32) -> u32 {
        self.trains[id as usize].generation
    }

    /// Datagrams in a train, and bytes of each.
    pub(crate) fn shape(&self, id: u32) -> (u32, u32) {
        let train = &self.trains[id as usize];
        (u32::from(train.count), train.length)
    }

    /// Returns the destination of a train.
    pub(crate) fn destination_of(&self, id: u32) -> SocketAddr {
        self.trains[id as usize].destination
    }

    /// The parts of a train of one, for a send without message header.
    pub(crate) fn plain(&self, id: u32) -> Plain {
        let train = &self.trains[id as usize];
        let (name, name_bytes) = self.messages.name_of(id);
        Plain { data: self.data(train.head), bytes: train.length, name, name_bytes }
    }

    /// Builds the message header of a train. It and all that it points to keep their address until
    /// the train is finished.
    pub(crate) fn message(&mut self, id: u32) -> *const libc::msghdr {
        let train = self.trains[id as usize];
        self.messages.build(id, train.count, train.length, self.data(train.head))
    }

    /// Builds a message header for the datagram at the head of a train alone.
    pub(crate) fn message_of_first(&mut self, id: u32) -> *const libc::msghdr {
        let train = self.trains[id as usize];
        self.messages.build(id, 1, train.length, self.data(train.head))
    }

    /// The payloads of a train, in order. Only for drivers that never hand memory to a kernel.
    pub(crate) fn payloads(&self, id: u32) -> impl Iterator<Item = (&[u8], u64)> {
        let train = &self.trains[id as usize];
        let bytes = train.length as usize;
        let mut next = train.head;
        std::iter::from_fn(move || {
            let slot = self.slots.get(next as usize)?;
            let index = next;
            next = slot.next;
            // SAFETY: nothing writes to the slots of a train until they are free again.
            let payload = unsafe {
                if index < self.small_slots {
                    self.small.slice(index as usize * SMALL_BYTES, bytes)
                } else {
                    let large = (index - self.small_slots) as usize;
                    self.large.slice(large * LARGE_BYTES, bytes)
                }
            };
            Some((payload, slot.cookie))
        })
    }

    /// Moves the datagram at the head of a train behind its tail. After `count` calls the order is
    /// as before.
    pub(crate) fn rotate(&mut self, id: u32) {
        let train = &mut self.trains[id as usize];
        if train.head == train.tail {
            return;
        }
        let first = train.head;
        train.head = self.slots[first as usize].next;
        self.slots[first as usize].next = NONE;
        self.slots[train.tail as usize].next = first;
        train.tail = first;
    }

    /// Frees the slots of a train that the kernel is done with.
    pub(crate) fn finish(&mut self, id: u32) {
        self.returned();
        let mut next = self.trains[id as usize].head;
        while next != NONE {
            let index = next;
            next = self.slots[index as usize].next;
            self.free_slot(index);
        }
        self.free_train(id);
    }

    /// Takes note that the kernel is done with a train that failed; take its datagrams with
    /// [`take_failed`](Self::take_failed).
    pub(crate) fn returned(&mut self) {
        self.in_kernel -= 1;
    }

    /// Takes the first datagram off a train that was [`returned`](Self::returned) and frees its
    /// slot; frees the train with the last one. The flag says whether the train has more.
    pub(crate) fn take_failed(&mut self, id: u32) -> (Failed, bool) {
        let (_, current) = self.socket_of(id);
        let train = self.trains[id as usize];
        let slot = self.slots[train.head as usize];
        let failed = Failed {
            socket: SocketId(train.socket),
            destination: train.destination,
            cookie: slot.cookie,
            current,
        };
        let more = self.free_first(id);
        (failed, more)
    }

    /// Frees the slot at the head of a train, and the train with the last one. `true` if it has
    /// more.
    pub(crate) fn free_first(&mut self, id: u32) -> bool {
        let head = self.trains[id as usize].head;
        self.free_slot(head);
        let train = &mut self.trains[id as usize];
        train.head = self.slots[head as usize].next;
        train.count -= 1;
        if train.head == NONE {
            self.free_train(id);
            return false;
        }
        true
    }

    /// Links `id` behind `tail` in a driver's backlog.
    pub(crate) fn link(&mut self, tail: u32, id: u32) {
        self.trains[tail as usize].next = id;
    }

    /// The train behind `id` in a driver's backlog.
    pub(crate) fn linked(&self, id: u32) -> u32 {
        self.trains[id as usize].next
    }

    /// Adds the arena's own counters.
    pub(crate) fn count(&self, counters: &mut DriverCounters) {
        counters.tx_exhausted = self.exhausted;
    }

    fn free_train(&mut self, id: u32) {
        self.messages.release(id);
        self.free_trains.push(id);
    }
}
