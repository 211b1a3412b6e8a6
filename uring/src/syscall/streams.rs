//! Streams by non-blocking system calls.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{Ready, SyscallDriver};
use crate::cmsg::{self, RECEIVE_BYTES, ReceiveClock};
use crate::config::DriverConfig;
use crate::region::Region;
use crate::stream::table::{self, Key, Phase, Step, Table};
use crate::stream::{CHUNKS_PER_WRITE, socket};
use crate::sys::monotonic_now;
use crate::tx::TxArena;
use crate::{
    ConnectSpec, Event, ListenSpec, NEVER, Nanos, SocketId, StreamCause, StreamEvent,
    StreamWriteError, kernel,
};

/// Bytes of one receive.
const RECEIVE_MAX: usize = 64 << 10;

/// Receives per stream and turn, so that one busy stream does not starve the others.
const RECEIVES_PER_TURN: u8 = 4;

/// Accepts per listener and turn.
const ACCEPTS_PER_TURN: u8 = 128;

/// Per-stream state of this driver.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The events that epoll reports of the stream.
    events: i32,
    /// True after a write that met a full send buffer.
    send_full: bool,
    /// True while the stream waits in the list of streams to flush.
    queued: bool,
    /// True once epoll does not watch the stream any more.
    unwatched: bool,
}

/// An event that needs no system call on the socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    Connected(Key),
    Closed(Key, i32),
    Drained(Key),
}

/// The streams of a driver.
#[derive(Debug)]
pub(super) struct Streams {
    table: Table<Watched>,
    notes: VecDeque<Note>,
    /// Streams that were written to.
    to_flush: Vec<Key>,
    /// Buffer for received bytes: there is never more than one receive at a time.
    inbox: Option<Region>,
}

impl Streams {
    pub(super) fn new(config: &DriverConfig) -> Self {
        Self {
            table: Table::new(config),
            notes: VecDeque::new(),
            to_flush: Vec::new(),
            inbox: None,
        }
    }

    #[inline]
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    #[inline]
    pub(super) fn next_note(&self) -> Option<Note> {
        self.notes.front().copied()
    }

    pub(super) fn local_addr(&self, id: SocketId) -> SocketAddr {
        let stream = self.table.find(id).and_then(|key| self.table.get(key));
        stream
            .and_then(|stream| socket::local_addr(&stream.fd))
            .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Receives into the inbox. Returns the bytes and their time of receipt, or an errno.
    fn receive(&mut self, fd: RawFd) -> Result<(&[u8], cmsg::Received), i32> {
        // The inbox was mapped with the first stream.
        let inbox = self.inbox.as_mut().ok_or(libc::ENOBUFS)?;
        let mut control = [0_u8; RECEIVE_BYTES];
        let mut iov = libc::iovec { iov_base: inbox.at(0).cast(), iov_len: RECEIVE_MAX };
        // SAFETY: all-zero is a valid msghdr.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = RECEIVE_BYTES as _;
        // SAFETY: the header points to live buffers of the lengths it states, to which nothing else
        // refers.
        let bytes = unsafe { kernel::recvmsg(fd, &raw mut header, 0) }?;
        #[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
        let control_bytes = (header.msg_controllen as usize).min(RECEIVE_BYTES);
        let received = cmsg::decode_received(&control[..control_bytes]);
        // SAFETY: the kernel writes only during a receive, which needs `&mut self`.
        Ok((unsafe { inbox.slice(0, bytes.min(RECEIVE_MAX)) }, received))
    }
}

impl SyscallDriver {
    pub(super) fn open_listener(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        self.prepare_streams()?;
        let fd = socket::listen(spec, true)?;
        let key = self.add_stream(fd, Phase::Listening)?;
        Ok(key.id())
    }

    pub(super) fn open_stream(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        self.prepare_streams()?;
        let fd = socket::outgoing(spec, true)?;
        let key = self.add_stream(fd, Phase::Connecting)?;
        self.counters.streams_opened += 1;
        let Some(stream) = self.streams.table.get(key) else { return Ok(key.id()) };
        match kernel::connect(stream.fd.as_raw_fd(), &spec.remote) {
            // The end of the connect comes as a report of epoll.
            Err(libc::EINPROGRESS | libc::EINTR) => {}
            Ok(()) => self.connect_ended(key, 0),
            Err(errno) => self.connect_ended(key, errno),
        }
        Ok(key.id())
    }

    pub(super) fn write_stream(
        &mut self,
        id: SocketId,
        bytes: &[u8],
    ) -> Result<(), StreamWriteError> {
        match self.streams.table.write(id, bytes) {
            Ok(key) => {
                self.queue_flush(key);
                Ok(())
            }
            Err(error) => {
                self.counters.stream_writes_full += u64::from(error == StreamWriteError::Full);
                Err(error)
            }
        }
    }

    pub(super) fn close_stream(&mut self, id: SocketId) {
        if let Some(key) = self.streams.table.close(id, monotonic_now()) {
            self.step_stream(key);
        }
    }

    pub(super) fn abort_stream(&mut self, id: SocketId) {
        if let Some(key) = self.streams.table.abort(id) {
            self.step_stream(key);
        }
    }

    /// Flushes written bytes and handles whatever is due. Returns `deadline`, or the earlier
    /// deadline of a stream.
    pub(super) fn drive_streams(&mut self, deadline: Nanos) -> Nanos {
        if self.streams.table.is_unused() {
            return deadline;
        }
        let mut to_flush = std::mem::take(&mut self.streams.to_flush);
        for key in to_flush.drain(..) {
            if let Some(stream) = self.streams.table.get_mut(key) {
                stream.driver.queued = false;
                self.flush_stream(key);
            }
        }
        // Flushing adds nothing to the list, so that its memory can be kept.
        self.streams.to_flush = to_flush;
        while let Some(key) = self.streams.table.next_fed() {
            self.streams.notes.push_back(Note::Drained(key));
        }
        if self.streams.table.next_deadline() == NEVER {
            return deadline;
        }
        let now = monotonic_now();
        while let Some(key) = self.streams.table.next_expired(now, &mut self.counters) {
            self.step_stream(key);
        }
        while let Some(key) = self.streams.table.next_rested(now) {
            self.watch_stream(key);
        }
        deadline.min(self.streams.table.next_deadline())
    }

    /// Ends all streams, those with something to send within `deadline`.
    pub(super) fn shut_streams_down(&mut self, deadline: Nanos) {
        self.streams.notes.clear();
        let keys: Vec<Key> = self.streams.table.keys().collect();
        for key in &keys {
            self.close_stream(key.id());
        }
        while self.streams.table.len() > 0 && monotonic_now() < deadline {
            let next = self.drive_streams(deadline);
            if self.wait(Some(next)).is_err() {
                break;
            }
            self.streams.notes.clear();
        }
        for key in keys {
            self.streams.table.release(key, &mut self.counters);
        }
        self.ready.clear();
        self.ready_next = 0;
    }

    fn prepare_streams(&mut self) -> io::Result<()> {
        self.streams.table.check_room()?;
        if self.streams.inbox.is_none() {
            self.streams.inbox = Some(Region::new(RECEIVE_MAX)?);
        }
        Ok(())
    }

    /// Puts a socket into the table and has epoll watch it.
    fn add_stream(&mut self, fd: OwnedFd, phase: Phase) -> io::Result<Key> {
        let events = interest(phase, false);
        let driver = Watched { events, ..Watched::default() };
        let key = self.streams.table.insert(fd, phase, driver)?;
        let Some(stream) = self.streams.table.get(key) else { return Ok(key) };
        let watched =
            self.watch(libc::EPOLL_CTL_ADD, stream.fd.as_raw_fd(), events, epoll_data(key));
        if let Err(error) = watched {
            // The stream is new, so no event of it is due, and it is not counted.
            if let Some(stream) = self.streams.table.get_mut(key) {
                stream.phase = Phase::Listening;
            }
            self.streams.table.release(key, &mut self.counters);
            return Err(error);
        }
        Ok(key)
    }

    /// Has epoll report the events that the state of a stream calls for.
    fn watch_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.table.get(key) else { return };
        self.set_events(key, interest(stream.phase, stream.driver.send_full));
    }

    fn set_events(&mut self, key: Key, events: i32) {
        let Some(stream) = self.streams.table.get_mut(key) else { return };
        if stream.driver.unwatched || events == stream.driver.events {
            return;
        }
        stream.driver.events = events;
        let fd = stream.fd.as_raw_fd();
        // Refused only for want of memory; the next change asks again.
        let _ = self.watch(libc::EPOLL_CTL_MOD, fd, events, epoll_data(key));
    }

    fn queue_flush(&mut self, key: Key) {
        if let Some(stream) = self.streams.table.get_mut(key)
            && stream.phase != Phase::Connecting
            && !stream.driver.send_full
            && !std::mem::replace(&mut stream.driver.queued, true)
        {
            self.streams.to_flush.push(key);
        }
    }

    /// Sends the bytes that a stream holds, as far as there is room.
    fn flush_stream(&mut self, key: Key) {
        while let Some((stream, pool)) = self.streams.table.with_pool(key) {
            if stream.output.is_empty() || stream.phase == Phase::Connecting {
                break;
            }
            let mut parts =
                [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; CHUNKS_PER_WRITE];
            let mut count = 0;
            for (part, (data, bytes)) in parts.iter_mut().zip(pool.pieces(&stream.output)) {
                *part = libc::iovec { iov_base: data.cast(), iov_len: bytes };
                count += 1;
            }
            // SAFETY: all-zero is a valid msghdr.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = count;
            self.counters.enters += 1;
            // SAFETY: the header points to live parts, and these to chunks of the queue.
            let sent = unsafe { kernel::stream_send(stream.fd.as_raw_fd(), &raw const message) };
            match sent {
                Ok(bytes) => {
                    stream.driver.send_full = false;
                    if self.streams.table.sent(key, bytes, &mut self.counters) {
                        self.streams.notes.push_back(Note::Drained(key));
                    }
                }
                Err(libc::EINTR) => {}
                // Want of memory passes too; epoll then reports room at once.
                Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    stream.driver.send_full = true;
                    break;
                }
                Err(errno) => {
                    self.streams.table.write_failed(key, errno);
                    break;
                }
            }
        }
        self.watch_stream(key);
        self.finish_step(key);
    }

    /// Carries out the next action for a stream.
    fn step_stream(&mut self, key: Key) {
        match self.streams.table.step(key, false) {
            Step::Send => self.flush_stream(key),
            step => self.apply(key, step),
        }
    }

    /// Carries out the next action for a stream that was just flushed.
    fn finish_step(&mut self, key: Key) {
        let step = self.streams.table.step(key, false);
        self.apply(key, step);
    }

    fn apply(&mut self, key: Key, step: Step) {
        match step {
            // The unsent bytes wait for room.
            Step::Wait | Step::Send => {
                // A doomed stream waits for its last event to be delivered: epoll must not report
                // it any more.
                if self.streams.table.is_doomed(key)
                    && let Some(stream) = self.streams.table.get_mut(key)
                    && !std::mem::replace(&mut stream.driver.unwatched, true)
                {
                    let fd = stream.fd.as_raw_fd();
                    let _ = self.watch(libc::EPOLL_CTL_DEL, fd, 0, 0);
                }
            }
            // Closing the descriptor also ends epoll's interest in it.
            Step::Cancel | Step::Release => {
                self.streams.table.release(key, &mut self.counters);
            }
        }
    }

    /// Handles a report of epoll about a stream.
    pub(super) fn note_stream(&mut self, events: u32, index: u32, generation: u32) {
        let key = key_of(index, generation);
        let Some(stream) = self.streams.table.get_mut(key) else { return };
        let has = |event: i32| events & event as u32 != 0;
        let over = has(libc::EPOLLERR) || has(libc::EPOLLHUP);
        match stream.phase {
            Phase::Connecting if over || has(libc::EPOLLOUT) => {
                let errno = socket::take_error(stream.fd.as_raw_fd());
                // An error that was read before leaves a hang-up without an errno.
                let errno = if errno == 0 && over { libc::ECONNRESET } else { errno };
                self.connect_ended(key, errno);
                return;
            }
            Phase::Connecting => return,
            Phase::Listening => {
                let batches = ACCEPTS_PER_TURN;
                self.ready.push(Ready { index, generation, errors: false, batches });
                return;
            }
            Phase::Open | Phase::Ended => {}
        }
        if has(libc::EPOLLOUT) || (over && stream.phase == Phase::Ended) {
            stream.driver.send_full = false;
            self.flush_stream(key);
        }
        let Some(stream) = self.streams.table.get(key) else { return };
        if stream.phase != Phase::Open || !(over || has(libc::EPOLLIN)) {
            return;
        }
        if stream.muted {
            self.discard(key);
        } else {
            let batches = RECEIVES_PER_TURN;
            self.ready.push(Ready { index, generation, errors: false, batches });
        }
    }

    fn connect_ended(&mut self, key: Key, errno: i32) {
        let tell = self.streams.table.connected(key, errno, &mut self.counters);
        if tell {
            let note = if errno == 0 { Note::Connected(key) } else { Note::Closed(key, errno) };
            self.streams.notes.push_back(note);
        }
        if errno == 0 {
            self.flush_stream(key);
        } else {
            self.step_stream(key);
        }
    }

    /// Reads the rest of a stream whose owner has closed it, to see its end.
    fn discard(&mut self, key: Key) {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(stream) = self.streams.table.get(key) else { return };
            let fd = stream.fd.as_raw_fd();
            match self.streams.receive(fd).map(|(bytes, _)| bytes.len()) {
                Ok(0) => return self.receive_ended(key, 0),
                Ok(_) | Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => return,
                Err(errno) => return self.receive_ended(key, errno),
            }
        }
    }

    fn receive_ended(&mut self, key: Key, errno: i32) {
        if let Some(errno) = self.streams.table.ended(key, errno, monotonic_now()) {
            self.streams.notes.push_back(Note::Closed(key, errno));
        }
        self.watch_stream(key);
        self.step_stream(key);
    }

    /// Delivers a result of [`Streams::next_note`].
    pub(super) fn deliver_note<F>(&mut self, note: Note, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        self.streams.notes.pop_front();
        let event = match note {
            Note::Connected(key) | Note::Drained(key) => {
                if self.streams.table.get(key).is_none_or(|stream| stream.muted) {
                    return ControlFlow::Continue(());
                }
                match note {
                    Note::Drained(_) => StreamEvent::Drained { socket: key.id() },
                    _ => StreamEvent::Connected { socket: key.id() },
                }
            }
            Note::Closed(key, errno) => {
                let wanted = self.streams.table.closed_delivered(key);
                self.step_stream(key);
                if !wanted {
                    return ControlFlow::Continue(());
                }
                StreamEvent::Closed { socket: key.id(), cause: StreamCause::of(errno) }
            }
        };
        handler(Event::Stream(event), &mut self.arena)
    }

    /// Accepts one stream from a ready listener, or receives once from a ready stream.
    pub(super) fn deliver_stream<F>(&mut self, ready: Ready, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let key = key_of(ready.index, ready.generation);
        let stream = self.streams.table.get(key).filter(|stream| !stream.muted);
        let Some(stream) = stream.filter(|_| ready.batches > 0) else {
            self.next_ready();
            return ControlFlow::Continue(());
        };
        self.ready[self.ready_next].batches -= 1;
        self.counters.enters += 1;
        let fd = stream.fd.as_raw_fd();
        match stream.phase {
            Phase::Listening => self.deliver_accepted(key, fd, handler),
            Phase::Open => self.deliver_received(key, fd, handler),
            Phase::Connecting | Phase::Ended => {
                self.next_ready();
                ControlFlow::Continue(())
            }
        }
    }

    fn deliver_accepted<F>(&mut self, of: Key, fd: RawFd, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let accepted = match kernel::accept(fd) {
            Ok(accepted) => accepted,
            Err(errno) => {
                if errno != libc::EAGAIN {
                    self.counters.accept_errors += 1;
                }
                if table::accept_must_pause(errno) {
                    self.streams.table.pause(of, monotonic_now());
                    self.set_events(of, 0);
                }
                if errno == libc::EAGAIN || table::accept_must_pause(errno) {
                    self.next_ready();
                }
                return ControlFlow::Continue(());
            }
        };
        // A connection that is reset already has no peer any more.
        let taken = socket::peer_addr(&accepted)
            .and_then(|peer| Some((peer, self.add_stream(accepted, Phase::Open).ok()?)));
        let Some((peer, key)) = taken else {
            self.counters.accept_errors += 1;
            return ControlFlow::Continue(());
        };
        self.counters.streams_accepted += 1;
        let event = StreamEvent::Accepted { listener: of.id(), socket: key.id(), peer };
        handler(Event::Stream(event), &mut self.arena)
    }

    fn deliver_received<F>(&mut self, key: Key, fd: RawFd, handler: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let errno = match self.streams.receive(fd) {
            Ok((bytes, received)) if !bytes.is_empty() => {
                let full = bytes.len() == RECEIVE_MAX;
                self.counters.receives += 1;
                self.counters.stream_bytes_received += bytes.len() as u64;
                let received_ns = ReceiveClock::now().received_ns(&received);
                let event = StreamEvent::Data { socket: key.id(), bytes, received_ns };
                let flow = handler(Event::Stream(event), &mut self.arena);
                if !full {
                    self.next_ready();
                }
                return flow;
            }
            Ok(_) => 0,
            Err(libc::EINTR) => return ControlFlow::Continue(()),
            Err(errno) => errno,
        };
        self.next_ready();
        if errno != libc::EAGAIN {
            self.receive_ended(key, errno);
        }
        ControlFlow::Continue(())
    }
}

/// The events that epoll must report of a stream.
fn interest(phase: Phase, send_full: bool) -> i32 {
    let room = if send_full { libc::EPOLLOUT } else { 0 };
    match phase {
        Phase::Listening => libc::EPOLLIN,
        Phase::Connecting => libc::EPOLLOUT,
        Phase::Open => libc::EPOLLIN | room,
        Phase::Ended => room,
    }
}

/// The word that epoll returns with an event of a stream: its id without generation, and its
/// generation.
fn epoll_data(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(SocketId::stream(key.place, 0).0)
}

fn key_of(index: u32, generation: u32) -> Key {
    let place = SocketId(index).stream_place().unwrap_or(usize::MAX);
    Key { place: place as u32, generation }
}
