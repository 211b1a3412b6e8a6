//! Streams by io_uring: multishot accepts and receives, connects, and one write at a time.
//!
//! The operations of a stream in the kernel are compared with those that its state calls for, each
//! time one of the two has changed: such streams stand in `todo` until the next turn. Receives are
//! `RECVMSG` like those of datagrams, for the time of receipt that comes with them.

mod complete;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use io_uring::opcode;
use io_uring::types::{CancelBuilder, Fd};

use super::UringDriver;
use super::buffers::Buffers;
use super::sockets::Tag;
use crate::addr::{self, NAME_BYTES};
use crate::config::DriverConfig;
use crate::fault::{self, Site};
use crate::region::Region;
use crate::stream::socket;
use crate::stream::table::{Key, Phase, Step, Table};
use crate::sys::monotonic_now;
use crate::{ConnectSpec, ListenSpec, Nanos, SocketId, StreamWriteError};

// Kinds of tags, beside those of datagram sockets.
const STREAM_RECEIVE: u8 = 5;
const STREAM_SEND: u8 = 6;
const CONNECT: u8 = 7;
const ACCEPT: u8 = 8;
const STREAM_CANCEL: u8 = 9;

/// The buffer group of streams; 0 and 1 are those of datagrams.
const GROUP: u16 = 2;

/// Bytes of a receive buffer, header included.
const BUFFER_BYTES: usize = 8192;

/// Room for one address per place.
const NAME_STRIDE: usize = 32;

const _: () = assert!(NAME_BYTES <= NAME_STRIDE);

/// Most times per turn that receives which ended for want of buffers are armed anew.
const FEEDS_MAX: usize = 8;

/// Per-stream state of this driver.
#[derive(Debug)]
pub(super) struct Ops {
    accepting: bool,
    connecting: bool,
    receiving: bool,
    sending: bool,
    cancelling: bool,
    /// True while the stream stands in `todo`.
    queued: bool,
    /// True while the stream stands in `hungry`.
    hungry: bool,
    /// True while a listener rests after a failure.
    resting: bool,
    /// True if a fault plan wants the receive cancelled.
    stop: bool,
    /// The pool's chunk with the header of the write under way.
    header: Option<u32>,
    /// The listener that accepted the stream, until the event is delivered.
    listener: SocketId,
    peer: SocketAddr,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            accepting: false,
            connecting: false,
            receiving: false,
            sending: false,
            cancelling: false,
            queued: false,
            hungry: false,
            resting: false,
            stop: false,
            header: None,
            listener: SocketId(0),
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}

impl Ops {
    /// Tells whether the kernel has any operation of the stream.
    fn is_busy(&self) -> bool {
        self.accepting || self.connecting || self.receiving || self.sending || self.cancelling
    }
}

/// The streams of a driver.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) table: Table<Ops>,
    pub(super) buffers: Option<Buffers>,
    /// Addresses to connect to, one per place: the kernel reads them on submission.
    names: Option<Region>,
    /// Streams to look at in the next turn.
    todo: VecDeque<Key>,
    /// Streams whose receive waits for buffers.
    hungry: VecDeque<Key>,
    /// Operations in the kernel.
    in_kernel: usize,
}

impl Streams {
    pub(super) fn new(config: &DriverConfig) -> Self {
        Self {
            table: Table::new(config),
            buffers: None,
            names: None,
            todo: VecDeque::new(),
            hungry: VecDeque::new(),
            in_kernel: 0,
        }
    }

    pub(super) fn local_addr(&self, id: SocketId) -> SocketAddr {
        let stream = self.table.find(id).and_then(|key| self.table.get(key));
        stream
            .and_then(|stream| socket::local_addr(&stream.fd))
            .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Number of streams that exist or have an operation in the kernel.
    pub(super) fn unfinished(&self) -> usize {
        self.table.len()
    }

    fn free_buffers(&self) -> u32 {
        self.buffers.as_ref().map_or(0, Buffers::free)
    }

    /// Gives the memory away for good that the kernel may still use.
    pub(super) fn leak(&mut self) {
        if self.in_kernel == 0 {
            return;
        }
        self.table.pool.leak();
        self.names.iter_mut().for_each(Region::leak);
        self.buffers.iter_mut().for_each(Buffers::leak);
    }

    /// Puts a stream into the list of those to look at in the next turn.
    fn queue(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key)
            && !std::mem::replace(&mut stream.driver.queued, true)
        {
            self.todo.push_back(key);
        }
    }

    fn tag(kind: u8, key: Key) -> u64 {
        Tag { kind, generation: key.generation, index: key.place }.pack()
    }
}

impl UringDriver {
    pub(super) fn open_listener(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        self.prepare_streams()?;
        let fd = socket::listen(spec, false)?;
        let streams = &mut self.core.streams;
        let key = streams.table.insert(fd, Phase::Listening, Ops::default())?;
        streams.queue(key);
        Ok(key.id())
    }

    pub(super) fn open_stream(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        self.prepare_streams()?;
        let fd = socket::outgoing(spec, false)?;
        let streams = &mut self.core.streams;
        let ops = Ops { peer: spec.remote, ..Ops::default() };
        let key = streams.table.insert(fd, Phase::Connecting, ops)?;
        streams.queue(key);
        self.core.counters.streams_opened += 1;
        Ok(key.id())
    }

    pub(super) fn write_stream(
        &mut self,
        id: SocketId,
        bytes: &[u8],
    ) -> Result<(), StreamWriteError> {
        match self.core.streams.table.write(id, bytes) {
            Ok(key) => {
                self.core.streams.queue(key);
                Ok(())
            }
            Err(error) => {
                let full = u64::from(error == StreamWriteError::Full);
                self.core.counters.stream_writes_full += full;
                Err(error)
            }
        }
    }

    pub(super) fn close_stream(&mut self, id: SocketId) {
        let streams = &mut self.core.streams;
        if let Some(key) = streams.table.close(id, monotonic_now()) {
            streams.queue(key);
        }
    }

    pub(super) fn abort_stream(&mut self, id: SocketId) {
        let streams = &mut self.core.streams;
        if let Some(key) = streams.table.abort(id) {
            streams.queue(key);
        }
    }

    /// Closes all streams and listeners; streams still send their written bytes.
    pub(super) fn close_streams(&mut self) {
        let keys: Vec<Key> = self.core.streams.table.keys().collect();
        for key in keys {
            self.close_stream(key.id());
        }
    }

    /// Ends all streams at once, with their unsent bytes.
    pub(super) fn give_streams_up(&mut self) {
        let keys: Vec<Key> = self.core.streams.table.keys().collect();
        for key in keys {
            self.core.streams.table.doom(key, &mut self.core.counters);
            self.core.streams.queue(key);
        }
    }

    fn prepare_streams(&mut self) -> io::Result<()> {
        let streams = &mut self.core.streams;
        streams.table.check_room()?;
        if streams.buffers.is_none() {
            let count = self.config.stream_rx_buffers;
            streams.buffers = Some(Buffers::new(&self.ring, count, BUFFER_BYTES, GROUP)?);
        }
        if streams.names.is_none() {
            streams.names = Some(Region::new(self.config.streams_max * NAME_STRIDE)?);
        }
        Ok(())
    }

    /// Brings the operations of streams in line with their states, and handles whatever is due.
    /// Returns `deadline`, or the earlier deadline of a stream; a past time if there is more to do.
    pub(super) fn drive_streams(&mut self, deadline: Nanos) -> io::Result<Nanos> {
        if self.core.streams.table.is_unused() {
            return Ok(deadline);
        }
        self.core.streams_due();
        self.drive_queued()?;
        // Receives that were armed may find the buffers taken again, and others may find some free.
        // The loop goes on as long as there are buffers, so that no stream is left waiting.
        for _ in 0..FEEDS_MAX {
            let free = self.core.streams.free_buffers();
            if self.core.streams.hungry.is_empty() || free == 0 {
                break;
            }
            for _ in 0..free {
                let Some(key) = self.core.streams.hungry.pop_front() else { break };
                if let Some(stream) = self.core.streams.table.get_mut(key) {
                    stream.driver.hungry = false;
                    self.core.streams.queue(key);
                }
            }
            self.drive_queued()?;
            if !self.core.streams.hungry.is_empty() {
                self.poll()?;
                self.core.publish();
            }
        }
        let streams = &mut self.core.streams;
        // Without free buffers there are events to deliver, so that the driver does not sleep while
        // streams are hungry.
        let fed = streams.hungry.is_empty() || streams.free_buffers() == 0;
        if !fed || !streams.todo.is_empty() {
            return Ok(0);
        }
        Ok(deadline.min(streams.table.next_deadline()))
    }

    fn drive_queued(&mut self) -> io::Result<()> {
        for _ in 0..self.core.streams.todo.len() {
            let Some(key) = self.core.streams.todo.pop_front() else { break };
            if let Some(stream) = self.core.streams.table.get_mut(key) {
                stream.driver.queued = false;
                if !self.drive(key)? {
                    self.core.streams.queue(key);
                }
            }
        }
        Ok(())
    }

    /// Queues the operations that one stream needs. Returns `false` if the submission queue has no
    /// room.
    fn drive(&mut self, key: Key) -> io::Result<bool> {
        let streams = &mut self.core.streams;
        let Some(stream) = streams.table.get(key) else { return Ok(true) };
        let busy = stream.driver.is_busy();
        match streams.table.step(key, busy) {
            Step::Release => {
                streams.table.release(key, &mut self.core.counters);
                return Ok(true);
            }
            Step::Cancel => return self.cancel_stream(key),
            Step::Wait | Step::Send => {}
        }
        let Some(stream) = streams.table.get_mut(key) else { return Ok(true) };
        if std::mem::take(&mut stream.driver.stop) && !self.cancel_stream(key)? {
            return Ok(false);
        }
        let streams = &mut self.core.streams;
        let Some(stream) = streams.table.get(key) else { return Ok(true) };
        if streams.table.is_doomed(key) {
            return Ok(true);
        }
        let ops = &stream.driver;
        let done = match stream.phase {
            Phase::Listening if !ops.accepting && !ops.resting => self.accept(key)?,
            Phase::Connecting if !ops.connecting => self.connect_stream(key)?,
            Phase::Open if !ops.receiving && !ops.hungry => self.receive_stream(key)?,
            _ => true,
        };
        Ok(done && self.send_stream(key)?)
    }

    /// Queues an operation of a stream.
    ///
    /// # Safety
    /// The conditions of [`push`](Self::push).
    unsafe fn push_for(
        &mut self,
        key: Key,
        kind: u8,
        entry: io_uring::squeue::Entry,
    ) -> io::Result<bool> {
        // SAFETY: passed on to the caller.
        let pushed = unsafe { self.push(&entry.user_data(Streams::tag(kind, key))) }?;
        self.core.streams.in_kernel += usize::from(pushed);
        let Some(stream) = self.core.streams.table.get_mut(key) else { return Ok(pushed) };
        let ops = &mut stream.driver;
        let flag = match kind {
            ACCEPT => &mut ops.accepting,
            CONNECT => &mut ops.connecting,
            STREAM_RECEIVE => &mut ops.receiving,
            STREAM_SEND => &mut ops.sending,
            _ => &mut ops.cancelling,
        };
        *flag |= pushed;
        Ok(pushed)
    }

    /// Cancels all operations of a stream.
    fn cancel_stream(&mut self, key: Key) -> io::Result<bool> {
        let Some(stream) = self.core.streams.table.get(key) else { return Ok(true) };
        if stream.driver.cancelling {
            return Ok(true);
        }
        let all = CancelBuilder::fd(Fd(stream.fd.as_raw_fd())).all();
        // SAFETY: the entry points to nothing.
        unsafe { self.push_for(key, STREAM_CANCEL, opcode::AsyncCancel2::new(all).build()) }
    }

    fn accept(&mut self, key: Key) -> io::Result<bool> {
        if let Some(errno) = fault::take(Site::Accept) {
            self.core.accept_ended(key, errno);
            return Ok(true);
        }
        let Some(stream) = self.core.streams.table.get(key) else { return Ok(true) };
        let entry = opcode::AcceptMulti::new(Fd(stream.fd.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        // SAFETY: the entry points to nothing.
        unsafe { self.push_for(key, ACCEPT, entry.build()) }
    }

    fn connect_stream(&mut self, key: Key) -> io::Result<bool> {
        if let Some(errno) = fault::take(Site::Connect) {
            self.core.connect_ended(key, -errno);
            return Ok(true);
        }
        let streams = &mut self.core.streams;
        let (Some(stream), Some(names)) = (streams.table.get(key), streams.names.as_mut()) else {
            return Ok(true);
        };
        // SAFETY: a place connects once, and the kernel reads the name only on that submission.
        let name = unsafe { names.slice_mut(key.place as usize * NAME_STRIDE, NAME_BYTES) };
        let Some(name) = name.first_chunk_mut::<NAME_BYTES>() else { return Ok(true) };
        let bytes = addr::encode(&stream.driver.peer, name);
        let entry = opcode::Connect::new(Fd(stream.fd.as_raw_fd()), name.as_ptr().cast(), bytes);
        // SAFETY: the name stays where it is and as it is until the place connects anew, and the
        // mapping is leaked should the connect still be in flight at the end.
        unsafe { self.push_for(key, CONNECT, entry.build()) }
    }

    fn receive_stream(&mut self, key: Key) -> io::Result<bool> {
        let header: *const libc::msghdr = &raw const *self.header;
        let streams = &mut self.core.streams;
        // Armed without a buffer the receive would fail at once.
        if !streams.buffers.as_ref().is_some_and(Buffers::available) {
            self.core.hungry(key);
            return Ok(true);
        }
        let Some(stream) = streams.table.get(key) else { return Ok(true) };
        let entry = opcode::RecvMsgMulti::new(Fd(stream.fd.as_raw_fd()), header, GROUP);
        // SAFETY: the header is copied on submission and lives as long as the driver; buffers are
        // leaked should the receive still be in flight at the end.
        unsafe { self.push_for(key, STREAM_RECEIVE, entry.build()) }
    }

    fn send_stream(&mut self, key: Key) -> io::Result<bool> {
        let Some((stream, pool)) = self.core.streams.table.with_pool(key) else { return Ok(true) };
        let up = matches!(stream.phase, Phase::Open | Phase::Ended);
        if !up || stream.driver.sending || stream.output.is_empty() {
            return Ok(true);
        }
        let fd = Fd(stream.fd.as_raw_fd());
        let mut pieces = pool.pieces(&stream.output);
        let Some((data, bytes)) = pieces.next() else { return Ok(true) };
        let single = pieces.next().is_none();
        drop(pieces);
        if let Some(errno) = fault::take(Site::StreamSend) {
            self.core.send_ended(key, -errno);
            return Ok(true);
        }
        let header = if single { None } else { pool.header(&stream.output) };
        let entry = match header {
            Some((_, message)) => opcode::SendMsg::new(fd, message).build(),
            // Without a chunk for the header the pieces go one by one.
            None => opcode::Send::new(fd, data, bytes as u32).build(),
        };
        // SAFETY: chunks of a queue stay put until they are consumed, and that of the header until
        // the write has completed; the pool is leaked should it still be in flight at the end.
        let pushed = unsafe { self.push_for(key, STREAM_SEND, entry) }?;
        if let (Some((chunk, _)), Some((stream, pool))) =
            (header, self.core.streams.table.with_pool(key))
        {
            if pushed {
                stream.driver.header = Some(chunk);
            } else {
                pool.free_header(chunk);
            }
        }
        Ok(pushed)
    }
}
