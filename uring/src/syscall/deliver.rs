//! Reading ready sockets and handing out their datagrams and errors.

use std::ops::ControlFlow;
use std::os::fd::AsRawFd;

use super::{OpenBatch, Ready, SyscallDriver};
use crate::cmsg::ReceiveClock;
use crate::tx::TxArena;
use crate::{Event, RxClass, SocketId, addr, cmsg, settle};

/// Receive batches per socket and turn, so that one busy socket does not starve the others. Epoll
/// is level-triggered: a socket with datagrams left is reported again.
pub(super) const BATCHES_PER_TURN: u8 = 8;

impl SyscallDriver {
    /// Hands events to `handler` until there are no more or it breaks.
    pub(super) fn deliver_all<F>(&mut self, mut handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        loop {
            let flow = if let Some(&(train, errno)) = self.failed.get(self.failed_next) {
                self.deliver_failed(train, errno, &mut handler)
            } else if let Some(note) = self.streams.next_note() {
                self.deliver_note(note, &mut handler)
            } else if let Some(batch) = self.open_batch {
                self.deliver_batch(batch, &mut handler)
            } else if let Some(&ready) = self.ready.get(self.ready_next) {
                self.deliver_ready(ready, &mut handler)
            } else {
                return ControlFlow::Continue(());
            };
            if flow.is_break() {
                return if self.events_pending() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                };
            }
        }
    }

    #[cold]
    fn deliver_failed<F>(&mut self, train: u32, errno: i32, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let (failed, more) = self.arena.take_failed(train);
        if !more {
            self.failed_next += 1;
            if self.failed_next == self.failed.len() {
                self.failed.clear();
                self.failed_next = 0;
            }
        }
        if !failed.current {
            return ControlFlow::Continue(());
        }
        let event = Event::SendFailed {
            socket: failed.socket,
            destination: failed.destination,
            cookie: failed.cookie,
            cause: settle::failure(errno),
        };
        handler(event, &mut self.arena)
    }

    /// Reads one report or one batch from a ready socket.
    fn deliver_ready<F>(&mut self, ready: Ready, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let Ready { index, generation, errors, batches } = ready;
        let place = self.places.get_mut(index as usize);
        let socket = place.filter(|p| p.generation == generation).and_then(|p| p.socket.as_mut());
        let Some(socket) = socket else {
            if SocketId(index).is_stream() {
                return self.deliver_stream(ready, handler);
            }
            self.next_ready();
            return ControlFlow::Continue(());
        };
        let fd = socket.fd.as_raw_fd();
        if errors {
            if let Some(report) = self.errors.next(fd, socket.remote) {
                self.counters.icmp_errors += 1;
                let event = Event::Unreachable {
                    socket: SocketId(index),
                    destination: report.destination,
                    cause: report.cause,
                    quoted: report.quoted,
                };
                return handler(event, &mut self.arena);
            }
            self.ready[self.ready_next].errors = false;
            return ControlFlow::Continue(());
        }
        if batches == 0 {
            self.next_ready();
            return ControlFlow::Continue(());
        }
        let class = socket.class;
        let inbox = match class {
            RxClass::Large => self.large.as_mut(),
            RxClass::Small => self.small.as_mut(),
        };
        let Some(inbox) = inbox else {
            self.next_ready();
            return ControlFlow::Continue(());
        };
        self.counters.enters += 1;
        let result = inbox.receive(fd);
        self.clock = ReceiveClock::now();
        match result {
            Ok(len) => {
                if len < super::batch::BATCH {
                    self.next_ready();
                } else {
                    self.ready[self.ready_next].batches = batches - 1;
                }
                if len > 0 {
                    self.open_batch =
                        Some(OpenBatch { index, generation, class, at: 0, len, delivered: 0 });
                }
            }
            // The pending error of an earlier send; its report is in the error queue.
            Err(errno) if settle::is_pending_error(errno) => {
                self.ready[self.ready_next].errors = true;
                self.ready[self.ready_next].batches = batches - 1;
            }
            Err(_) => self.next_ready(),
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn deliver_batch<F>(&mut self, batch: OpenBatch, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let OpenBatch { index, generation, class, at, len, delivered } = batch;
        let place = self.places.get_mut(index as usize);
        let socket = place.filter(|p| p.generation == generation).and_then(|p| p.socket.as_mut());
        let inbox = match class {
            RxClass::Large => self.large.as_ref(),
            RxClass::Small => self.small.as_ref(),
        };
        let (Some(socket), Some(inbox)) = (socket, inbox) else {
            self.open_batch = None;
            return ControlFlow::Continue(());
        };
        let message = inbox.message(at);
        let received = cmsg::decode_received(message.control);
        if delivered == 0 {
            if let Some(drops) = received.drops {
                self.counters.receive_overflow += u64::from(drops.wrapping_sub(socket.drops));
                socket.drops = drops;
            }
            self.counters.receives += 1;
        }
        let mut flow = ControlFlow::Continue(());
        let mut finished = true;
        let mut from = delivered;
        match addr::decode(message.name).or(socket.remote) {
            _ if message.flags & libc::MSG_TRUNC != 0 => self.counters.receive_truncated += 1,
            None => {}
            Some(source) => {
                let payload = message.payload;
                let step = received.segment.unwrap_or(payload.len());
                let received_ns = self.clock.received_ns(&received);
                loop {
                    let end = payload.len().min(from.saturating_add(step));
                    let datagram = &payload[from.min(end)..end];
                    from = end;
                    self.counters.datagrams_received += 1;
                    self.counters.bytes_received += datagram.len() as u64;
                    let socket = SocketId(index);
                    let event = Event::Datagram { socket, source, payload: datagram, received_ns };
                    flow = handler(event, &mut self.arena);
                    finished = from >= payload.len();
                    if finished || flow.is_break() {
                        break;
                    }
                }
            }
        }
        self.open_batch = match (finished, at + 1 < len) {
            (false, _) => Some(OpenBatch { delivered: from, ..batch }),
            (true, true) => Some(OpenBatch { at: at + 1, delivered: 0, ..batch }),
            (true, false) => None,
        };
        flow
    }

    pub(super) fn next_ready(&mut self) {
        self.ready_next += 1;
        if self.ready_next >= self.ready.len() {
            self.ready.clear();
            self.ready_next = 0;
        }
    }
}
