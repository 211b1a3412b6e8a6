//! Handing pending events to the worker: parsing receive buffers, splitting GRO trains, reading
//! error queues.

use std::ops::ControlFlow;
use std::os::fd::AsRawFd;

use super::buffers::Buffers;
use super::core::Core;
use super::events::Pending;
use crate::cmsg::{self, RECEIVE_BYTES, ReceiveClock};
use crate::tx::TxArena;
use crate::{Event, RxClass, SocketId, addr, settle};

/// Bytes of lengths and flags that a multishot receive leaves in front of the payload, ...
const OUT_BYTES: usize = 16;
/// ... then of the field of the source address, ...
pub(super) const NAME_FIELD: usize = 32;
/// ... then of the control messages.
pub(super) const CONTROL_FIELD: usize = RECEIVE_BYTES;
/// Bytes in front of the payload: two cache lines, so that the payload starts on one.
pub(super) const HEADER_BYTES: usize = OUT_BYTES + NAME_FIELD + CONTROL_FIELD;

const _: () = assert!(HEADER_BYTES == 128);

/// A receive buffer taken apart.
pub(super) struct Parts<'a> {
    name: &'a [u8],
    pub(super) control: &'a [u8],
    flags: i32,
    pub(super) payload: &'a [u8],
}

impl Core {
    /// Hands pending events to `handler` until there are no more or it breaks.
    pub(super) fn drain<F>(&mut self, mut handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        if self.events.is_empty() {
            return ControlFlow::Continue(());
        }
        let clock = ReceiveClock::now();
        while let Some(pending) = self.events.first() {
            let flow = match pending {
                Pending::Received { index, generation, buffer, class, bytes } => {
                    let bytes = bytes as usize;
                    self.deliver(index, generation, buffer, class, bytes, &clock, &mut handler)
                }
                Pending::SendFailed { train, errno } => {
                    self.deliver_failed(train, errno, &mut handler)
                }
                Pending::Errors { index, generation } => {
                    self.deliver_errors(index, generation, &mut handler)
                }
                stream => self.deliver_stream(stream, &clock, &mut handler),
            };
            if flow.is_break() {
                return if self.events.is_empty() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                };
            }
        }
        ControlFlow::Continue(())
    }

    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn deliver<F>(
        &mut self,
        index: u32,
        generation: u32,
        buffer: u16,
        class: RxClass,
        bytes: usize,
        clock: &ReceiveClock,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let buffers = match class {
            RxClass::Large => self.large.as_mut(),
            RxClass::Small => self.small.as_mut(),
        };
        let Some(buffers) = buffers else {
            self.events.pop();
            return ControlFlow::Continue(());
        };
        let mut flow = ControlFlow::Continue(());
        let mut finished = true;
        let socket = self.places.get_mut(index as usize).and_then(|place| {
            place.socket.as_mut().filter(|s| place.generation == generation && !s.closing)
        });
        let mut rearm = false;
        if let Some(socket) = socket {
            rearm = socket.header.is_some();
            let parts = match &socket.header {
                None => parse(buffers, buffer, bytes),
                Some(header) => {
                    let (name, control, flags) = header.parts();
                    let payload = buffers.filled(buffer, bytes);
                    Some(Parts { name, control, flags, payload })
                }
            };
            if let Some(parts) = parts {
                let received = cmsg::decode_received(parts.control);
                let mut at = self.events.delivered;
                if at == 0 {
                    if let Some(drops) = received.drops {
                        let new = drops.wrapping_sub(socket.drops);
                        self.counters.receive_overflow += u64::from(new);
                        socket.drops = drops;
                    }
                    self.counters.receives += 1;
                }
                let source = addr::decode(parts.name).or(socket.remote);
                match source {
                    _ if parts.flags & libc::MSG_TRUNC != 0 => self.counters.receive_truncated += 1,
                    None => {}
                    Some(source) => {
                        let payload = parts.payload;
                        let step = received.segment.unwrap_or(payload.len());
                        let received_ns = clock.received_ns(&received);
                        loop {
                            let end = payload.len().min(at.saturating_add(step));
                            let datagram = &payload[at.min(end)..end];
                            at = end;
                            self.counters.datagrams_received += 1;
                            self.counters.bytes_received += datagram.len() as u64;
                            let event = Event::Datagram {
                                socket: SocketId(index),
                                source,
                                payload: datagram,
                                received_ns,
                            };
                            flow = handler(event, &mut self.arena);
                            finished = at >= payload.len();
                            if finished || flow.is_break() {
                                break;
                            }
                        }
                        self.events.delivered = at;
                    }
                }
            }
        }
        if finished {
            buffers.give_back(buffer);
            self.unpublished = true;
            self.events.pop();
            if rearm {
                self.queue_arm(index);
            }
        }
        flow
    }

    #[cold]
    fn deliver_failed<F>(&mut self, train: u32, errno: i32, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let (failed, more) = self.arena.take_failed(train);
        if !more {
            self.events.pop();
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

    #[cold]
    fn deliver_errors<F>(&mut self, index: u32, generation: u32, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let place = self.places.get_mut(index as usize);
        let socket = place.filter(|p| p.generation == generation).and_then(|p| p.socket.as_mut());
        if let Some(socket) = socket.filter(|socket| !socket.closing) {
            let fd = socket.fd.as_raw_fd();
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
            socket.errors_pending = false;
        }
        self.events.pop();
        ControlFlow::Continue(())
    }
}

/// Takes the buffer of a multishot receive apart.
#[inline]
pub(super) fn parse(buffers: &Buffers, buffer: u16, bytes: usize) -> Option<Parts<'_>> {
    let data = buffers.filled(buffer, bytes);
    let (out, rest) = data.split_first_chunk::<OUT_BYTES>()?;
    let word = |at: usize| u32::from_ne_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
    let (name_bytes, control_bytes, flags) = (word(0), word(4), word(12));
    let (name, rest) = rest.split_at_checked(NAME_FIELD)?;
    let (control, payload) = rest.split_at_checked(CONTROL_FIELD)?;
    Some(Parts {
        name: &name[..(name_bytes as usize).min(NAME_FIELD)],
        control: &control[..(control_bytes as usize).min(CONTROL_FIELD)],
        flags: flags as i32,
        payload,
    })
}
