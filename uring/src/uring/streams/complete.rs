//! Effect of completions on streams, and the delivery of their events.

use std::ops::ControlFlow;
use std::os::fd::{FromRawFd, OwnedFd};

use super::super::buffers::Buffers;
use super::super::core::{BUFFER, Core, MORE};
use super::super::deliver::{HEADER_BYTES, parse};
use super::super::events::Pending;
use super::super::sockets::Tag;
use super::{ACCEPT, CONNECT, Ops, STREAM_CANCEL, STREAM_RECEIVE, STREAM_SEND};
use crate::cmsg::{self, ReceiveClock};
use crate::fault::{self, Site};
use crate::stream::socket;
use crate::stream::table::{self, Key, Phase};
use crate::sys::monotonic_now;
use crate::tx::TxArena;
use crate::{Event, NEVER, SocketId, StreamCause, StreamEvent};

impl Core {
    /// Handles what has become due: streams that lingered too long, listeners that have rested, and
    /// starved streams for which memory is free again.
    pub(super) fn streams_due(&mut self) {
        while let Some(Key { place, generation }) = self.streams.table.next_fed() {
            self.events.push(Pending::Drained { place, generation });
        }
        if self.streams.table.next_deadline() == NEVER {
            return;
        }
        let now = monotonic_now();
        while let Some(key) = self.streams.table.next_expired(now, &mut self.counters) {
            self.streams.queue(key);
        }
        while let Some(key) = self.streams.table.next_rested(now) {
            if let Some(stream) = self.streams.table.get_mut(key) {
                stream.driver.resting = false;
            }
            self.streams.queue(key);
        }
    }

    /// Puts a stream into the list of those whose receive waits for buffers.
    pub(super) fn hungry(&mut self, key: Key) {
        if let Some(stream) = self.streams.table.get_mut(key)
            && !std::mem::replace(&mut stream.driver.hungry, true)
        {
            self.streams.hungry.push_back(key);
        }
    }

    /// Handles the completion of an operation of a stream.
    pub(in super::super) fn stream_completed(&mut self, tag: Tag, result: i32, flags: u32) {
        let key = Key { place: tag.index, generation: tag.generation };
        // A place is not used again before the last completion of its operations.
        let Some(stream) = self.streams.table.get_mut(key) else { return };
        let ops = &mut stream.driver;
        let last = flags & MORE == 0;
        let flag = match tag.kind {
            ACCEPT => &mut ops.accepting,
            CONNECT => &mut ops.connecting,
            STREAM_RECEIVE => &mut ops.receiving,
            STREAM_SEND => &mut ops.sending,
            STREAM_CANCEL => &mut ops.cancelling,
            _ => return,
        };
        if last {
            *flag = false;
            self.streams.in_kernel -= 1;
            self.streams.queue(key);
        }
        match tag.kind {
            ACCEPT if result >= 0 => self.accepted(key, result),
            ACCEPT => self.accept_ended(key, -result),
            CONNECT => self.connect_ended(key, result),
            STREAM_RECEIVE => self.stream_received(key, result, flags),
            STREAM_SEND => self.send_ended(key, result),
            _ => {}
        }
    }

    fn accepted(&mut self, of: Key, fd: i32) {
        // SAFETY: the kernel has just made this descriptor for us and it has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if self.streams.table.get(of).is_none_or(|listener| listener.muted) {
            return;
        }
        // A connection that is reset already has no peer any more.
        let taken = socket::peer_addr(&fd).and_then(|peer| {
            let ops = Ops { listener: of.id(), peer, ..Ops::default() };
            self.streams.table.insert(fd, Phase::Open, ops).ok()
        });
        let Some(key) = taken else {
            self.counters.accept_errors += 1;
            return;
        };
        self.counters.streams_accepted += 1;
        self.streams.queue(key);
        let Key { place, generation } = key;
        self.events.push(Pending::Accepted { place, generation });
    }

    pub(super) fn accept_ended(&mut self, key: Key, errno: i32) {
        let Some(stream) = self.streams.table.get_mut(key).filter(|stream| !stream.muted) else {
            return;
        };
        self.counters.accept_errors += 1;
        if table::accept_must_pause(errno) {
            stream.driver.resting = true;
            self.streams.table.pause(key, monotonic_now());
        } else {
            self.streams.queue(key);
        }
    }

    pub(super) fn connect_ended(&mut self, key: Key, result: i32) {
        if matches!(-result, libc::EINTR | libc::EAGAIN)
            || (result == -libc::ECANCELED && self.streams.table.is_doomed(key))
        {
            self.streams.queue(key);
            return;
        }
        let Key { place, generation } = key;
        if self.streams.table.connected(key, -result, &mut self.counters) {
            self.events.push(match -result {
                0 => Pending::Connected { place, generation },
                errno => Pending::Closed { place, generation, errno },
            });
        }
        self.streams.queue(key);
    }

    pub(super) fn send_ended(&mut self, key: Key, result: i32) {
        let Some((stream, pool)) = self.streams.table.with_pool(key) else { return };
        if let Some(chunk) = stream.driver.header.take() {
            pool.free_header(chunk);
        }
        match result {
            0.. => {
                if self.streams.table.sent(key, result as usize, &mut self.counters) {
                    let Key { place, generation } = key;
                    self.events.push(Pending::Drained { place, generation });
                }
            }
            _ => match -result {
                libc::EINTR | libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => {}
                libc::ECANCELED => {}
                errno => self.streams.table.write_failed(key, errno),
            },
        }
        self.streams.queue(key);
    }

    fn stream_received(&mut self, key: Key, result: i32, flags: u32) {
        let Some(stream) = self.streams.table.get_mut(key) else { return };
        let payload = result.saturating_sub(HEADER_BYTES as i32);
        let muted = stream.muted;
        if flags & MORE != 0 && fault::take(Site::StopReceive).is_some() {
            stream.driver.stop = true;
            self.streams.queue(key);
        }
        if flags & BUFFER != 0
            && let Some(buffers) = self.streams.buffers.as_mut()
        {
            let buffer = (flags >> 16) as u16;
            buffers.take();
            self.unpublished = true;
            if payload > 0 && !muted {
                let Key { place, generation } = key;
                let bytes = result as u32;
                self.events.push(Pending::Data { place, generation, buffer, bytes });
            } else {
                buffers.give_back(buffer);
            }
        }
        match -result {
            // Beside the payload there is always the header.
            ..=0 if payload > 0 => {}
            ..=0 => self.receive_ended(key, 0),
            libc::ENOBUFS => {
                self.unpublished = true;
                let is_open = self.streams.buffers.as_mut().is_some_and(Buffers::open);
                self.counters.receive_rearms_nobufs += u64::from(!is_open);
                self.hungry(key);
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            errno => self.receive_ended(key, errno),
        }
    }

    fn receive_ended(&mut self, key: Key, errno: i32) {
        if let Some(errno) = self.streams.table.ended(key, errno, monotonic_now()) {
            let Key { place, generation } = key;
            self.events.push(Pending::Closed { place, generation, errno });
        }
        self.streams.queue(key);
    }

    /// Delivers an event of a stream, the first of those pending.
    #[inline(never)]
    pub(in super::super) fn deliver_stream<F>(
        &mut self,
        pending: Pending,
        clock: &ReceiveClock,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        self.events.pop();
        let (Pending::Accepted { place, generation }
        | Pending::Connected { place, generation }
        | Pending::Drained { place, generation }
        | Pending::Data { place, generation, .. }
        | Pending::Closed { place, generation, .. }) = pending
        else {
            return ControlFlow::Continue(());
        };
        let key = Key { place, generation };
        let socket = key.id();
        let stream = self.streams.table.get(key).filter(|stream| !stream.muted);
        let wanted = stream.is_some();
        let event = match pending {
            Pending::Data { buffer, bytes, .. } => {
                return self.deliver_data(wanted.then_some(socket), buffer, bytes, clock, handler);
            }
            Pending::Closed { errno, .. } => {
                self.streams.table.closed_delivered(key);
                self.streams.queue(key);
                StreamEvent::Closed { socket, cause: StreamCause::of(errno) }
            }
            Pending::Drained { .. } => StreamEvent::Drained { socket },
            _ => match stream.map(|stream| &stream.driver) {
                Some(ops) if matches!(pending, Pending::Accepted { .. }) => {
                    StreamEvent::Accepted { listener: ops.listener, socket, peer: ops.peer }
                }
                _ => StreamEvent::Connected { socket },
            },
        };
        if wanted {
            handler(Event::Stream(event), &mut self.arena)
        } else {
            ControlFlow::Continue(())
        }
    }

    fn deliver_data<F>(
        &mut self,
        socket: Option<SocketId>,
        buffer: u16,
        bytes: u32,
        clock: &ReceiveClock,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let Some(buffers) = self.streams.buffers.as_mut() else {
            return ControlFlow::Continue(());
        };
        let mut flow = ControlFlow::Continue(());
        if let Some(socket) = socket
            && let Some(parts) = parse(buffers, buffer, bytes as usize)
        {
            self.counters.receives += 1;
            self.counters.stream_bytes_received += parts.payload.len() as u64;
            let received_ns = clock.received_ns(&cmsg::decode_received(parts.control));
            let event = StreamEvent::Data { socket, bytes: parts.payload, received_ns };
            flow = handler(Event::Stream(event), &mut self.arena);
        }
        buffers.give_back(buffer);
        self.unpublished = true;
        flow
    }
}
