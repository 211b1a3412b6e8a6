//! State of the `uring` driver apart from the ring: sockets, buffers, pending events, and the
//! effect of each completion on them.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::cqueue;

use super::buffers::Buffers;
use super::events::{Events, Pending};
use super::ring::Ring;
use super::sockets::{CANCEL, GENERATIONS, Place, RECEIVE, SEND, Socket, Tag, WAKE};
use super::streams::Streams;
use crate::config::DriverConfig;
use crate::errqueue::ErrorReader;
use crate::fault::{self, Site};
use crate::settle::{self, Settled};
use crate::tx::TxArena;
use crate::{DriverCounters, RxClass, SocketSpec, socket};

pub(super) const MORE: u32 = 1 << 1;
pub(super) const BUFFER: u32 = 1 << 0;

pub(super) struct Core {
    pub(super) arena: TxArena,
    pub(super) counters: DriverCounters,
    pub(super) places: Vec<Place>,
    free_places: Vec<u32>,
    sockets_max: usize,
    pub(super) large: Option<Buffers>,
    pub(super) small: Option<Buffers>,
    pub(super) events: Events,
    pub(super) errors: ErrorReader,
    /// Sockets whose receive must be armed.
    pub(super) to_arm: Vec<u32>,
    /// Sockets that are closing.
    pub(super) closing: Vec<u32>,
    /// Results of sends that a fault plan failed before the kernel saw them.
    pub(super) injected: Vec<(u32, i32)>,
    /// Receives that are in the kernel.
    pub(super) armed: usize,
    pub(super) wake_armed: bool,
    /// Receives to cancel.
    pub(super) to_cancel: Vec<u32>,
    /// True if a send has completed since this was last cleared.
    pub(super) send_completed: bool,
    /// True if buffers were taken or given back since the kernel was last given some.
    pub(super) unpublished: bool,
    pub(super) streams: Streams,
}

impl Core {
    pub(super) fn new(config: &DriverConfig) -> io::Result<Self> {
        let slots = config.tx_small_slots + config.tx_large_slots;
        Ok(Self {
            arena: TxArena::new(config)?,
            counters: DriverCounters::default(),
            places: Vec::new(),
            free_places: Vec::new(),
            sockets_max: config.sockets_max,
            large: None,
            small: None,
            events: Events::new(config.rx_large_buffers + config.rx_small_buffers + slots + 1024),
            errors: ErrorReader::new(),
            to_arm: Vec::new(),
            closing: Vec::new(),
            injected: Vec::new(),
            armed: 0,
            wake_armed: false,
            to_cancel: Vec::new(),
            send_completed: false,
            unpublished: false,
            streams: Streams::new(config),
        })
    }

    /// Opens a socket and takes a place for it.
    pub(super) fn open(
        &mut self,
        ring: &Ring,
        spec: &SocketSpec,
        config: &DriverConfig,
    ) -> io::Result<u32> {
        let (fd, local) = socket::open(spec, config.gro)?;
        let index = match self.free_places.pop() {
            Some(index) => index,
            None if self.places.len() < self.sockets_max => {
                self.places.push(Place::default());
                self.to_arm.reserve(self.places.len());
                self.closing.reserve(self.places.len());
                self.to_cancel.reserve(self.places.len());
                self.free_places.reserve(self.places.len());
                self.places.len() as u32 - 1
            }
            None => {
                return Err(io::Error::other(format!(
                    "all {} sockets of this driver are open",
                    self.sockets_max
                )));
            }
        };
        let registered = match ring.register_file(index, fd.as_raw_fd()) {
            Ok(registered) => registered,
            Err(error) => {
                self.free_places.push(index);
                return Err(error);
            }
        };
        let place = &mut self.places[index as usize];
        place.socket = Some(Socket {
            fd,
            local,
            remote: spec.remote,
            class: spec.rx_class,
            registered,
            armed: false,
            arm_queued: true,
            errors_pending: false,
            closing: false,
            cancelling: false,
            drops: 0,
            header: (!config.multishot).then(super::oneshot::Header::new),
        });
        self.arena.socket_opened(index, place.generation, spec.remote, config.gso);
        self.to_arm.push(index);
        Ok(index)
    }

    /// Begins to close a socket; [`finish_closing`](Self::finish_closing) does the rest.
    pub(super) fn close(&mut self, index: u32) {
        let Some(socket) = self.places.get_mut(index as usize).and_then(|p| p.socket.as_mut())
        else {
            return;
        };
        if socket.closing {
            return;
        }
        socket.closing = true;
        let missed = socket::drops(socket.fd.as_raw_fd());
        if let Some(drops) = missed {
            self.counters.receive_overflow += u64::from(drops.wrapping_sub(socket.drops));
        }
        self.arena.socket_closed(index);
        self.closing.push(index);
        self.to_cancel.push(index);
    }

    /// Frees the places of closing sockets that the kernel has let go of.
    pub(super) fn finish_closing(&mut self, ring: &Ring) {
        if self.closing.is_empty() || self.arena.staged() > 0 {
            return;
        }
        let mut closing = std::mem::take(&mut self.closing);
        closing.retain(|&index| {
            let place = &mut self.places[index as usize];
            match &place.socket {
                Some(socket) if socket.armed || socket.cancelling => return true,
                Some(socket) if socket.registered => {
                    // If this fails the old file stays in the table until the place is used again.
                    let _ = ring.register_file(index, -1);
                }
                _ => {}
            }
            place.socket = None;
            place.generation = (place.generation + 1) % GENERATIONS;
            self.free_places.push(index);
            false
        });
        self.closing = closing;
    }

    /// Handles the completions that are there.
    pub(super) fn reap(&mut self, ring: &mut Ring) {
        for completion in ring.completions() {
            self.complete(&completion);
        }
        while let Some((id, result)) = self.injected.pop() {
            self.sent(id, result);
        }
    }

    fn complete(&mut self, completion: &cqueue::Entry) {
        let tag = Tag::unpack(completion.user_data());
        match tag.kind {
            SEND => self.sent(tag.index, completion.result()),
            RECEIVE => self.received(tag.index, completion.result(), completion.flags()),
            WAKE => self.wake_armed = false,
            CANCEL => {
                if let Some(socket) = self.socket_mut(tag.index) {
                    socket.cancelling = false;
                    // The kernel may have been about to run the receive: it was not found then.
                    if socket.closing && socket.armed {
                        self.to_cancel.push(tag.index);
                    }
                }
            }
            _ => self.stream_completed(tag, completion.result(), completion.flags()),
        }
    }

    #[inline]
    fn sent(&mut self, id: u32, result: i32) {
        if result >= 0 {
            settle::settle(&mut self.arena, &mut self.counters, -1, id, result);
            self.send_completed = true;
            return;
        }
        self.send_failed(id, result);
    }

    #[cold]
    fn send_failed(&mut self, id: u32, result: i32) {
        let (index, _) = self.arena.socket_of(id);
        let generation = self.arena.generation_of(id);
        let place = self.places.get(index as usize);
        let socket =
            place.filter(|p| p.generation == generation).and_then(|place| place.socket.as_ref());
        let fd = socket.map_or(-1, |socket| socket.fd.as_raw_fd());
        if settle::is_pending_error(-result) {
            self.read_errors(index);
        }
        if let Settled::Failed(errno) =
            settle::settle(&mut self.arena, &mut self.counters, fd, id, result)
        {
            self.events.push(Pending::SendFailed { train: id, errno });
        }
    }

    #[inline]
    fn received(&mut self, index: u32, result: i32, flags: u32) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let generation = place.generation;
        // A place is not reused before the last completion of its receive.
        let Some(socket) = place.socket.as_mut() else { return };
        let class = socket.class;
        let closing = socket.closing;
        let once = socket.header.is_some();
        let mut delivered = false;
        if flags & BUFFER != 0
            && let Some(buffers) = match class {
                RxClass::Large => self.large.as_mut(),
                RxClass::Small => self.small.as_mut(),
            }
        {
            let buffer = (flags >> 16) as u16;
            buffers.take();
            self.unpublished = true;
            if result >= 0 && !closing {
                delivered = true;
                let bytes = result as u32;
                self.events.push(Pending::Received { index, generation, buffer, class, bytes });
            } else {
                buffers.give_back(buffer);
            }
        }
        if flags & MORE == 0 {
            socket.armed = false;
            self.armed -= 1;
            if closing {
                return;
            }
            // Without multishot the header is in use until the event is delivered.
            if !(once && delivered) {
                self.queue_arm(index);
            }
            match -result {
                libc::ENOBUFS => self.out_of_buffers(class),
                errno if settle::is_pending_error(errno) => self.read_errors(index),
                _ => {}
            }
        } else if fault::take(Site::StopReceive).is_some() {
            self.to_cancel.push(index);
        }
    }

    /// Handles a receive that ended because the kernel had no buffer left. The datagrams wait in
    /// the socket. It is counted only if no buffer was free, and not if the window was merely too
    /// small.
    #[cold]
    fn out_of_buffers(&mut self, class: RxClass) {
        let buffers = match class {
            RxClass::Large => &mut self.large,
            RxClass::Small => &mut self.small,
        };
        self.unpublished = true;
        if !buffers.as_mut().is_some_and(Buffers::open) {
            self.counters.receive_rearms_nobufs += 1;
        }
    }

    /// Arms the receive of a socket at the next opportunity.
    pub(super) fn queue_arm(&mut self, index: u32) {
        if let Some(socket) = self.socket_mut(index)
            && !socket.arm_queued
        {
            socket.arm_queued = true;
            self.to_arm.push(index);
        }
    }

    /// Queues an event that empties the error queue of a socket.
    pub(super) fn read_errors(&mut self, index: u32) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let generation = place.generation;
        if let Some(socket) = place.socket.as_mut()
            && !socket.errors_pending
            && !socket.closing
        {
            socket.errors_pending = true;
            self.events.push(Pending::Errors { index, generation });
        }
    }

    pub(super) fn socket_mut(&mut self, index: u32) -> Option<&mut Socket> {
        self.places.get_mut(index as usize)?.socket.as_mut()
    }

    /// Shows the kernel the buffers that were given back.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.unpublished {
            self.unpublished = false;
            let all = [&mut self.large, &mut self.small, &mut self.streams.buffers];
            for buffers in all.into_iter().flatten() {
                buffers.publish();
            }
        }
    }
}
