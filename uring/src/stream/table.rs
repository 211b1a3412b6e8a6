//! The table of streams of a kernel driver: the state of each and its next action.
//!
//! The driver moves the bytes and keeps `D` for each stream. This module decides which streams may
//! be written to, which events are owed, and how a stream ends: its written bytes are sent, then a
//! FIN, then the peer's FIN is awaited, all within the linger time. A place in the table is used
//! again only when the kernel has no operation of it any more and its last event is delivered.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use super::{Output, Pool, STREAMS_MAX, StreamWriteError, socket};
use crate::config::DriverConfig;
use crate::{DriverCounters, Nanos, SocketId};

/// Time that a listener rests after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE_NS: Nanos = 100_000_000;

/// Generations wrap here: they share a word with place and kind.
const GENERATIONS: u32 = 1 << 24;

/// A place and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) place: u32,
    pub(crate) generation: u32,
}

impl Key {
    pub(crate) fn id(self) -> SocketId {
        SocketId::stream(self.place, self.generation)
    }
}

/// The phases in the life of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A listener.
    Listening,
    Connecting,
    Open,
    /// Nothing more can be received.
    Ended,
}

/// The driver's next action for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Do nothing now.
    Wait,
    /// Send the bytes that the stream holds.
    Send,
    /// Cancel the stream's operations in the kernel.
    Cancel,
    /// Call [`Table::release`]: the kernel has no operation and the owner no event to come.
    Release,
}

/// A stream or listener.
#[derive(Debug)]
pub(crate) struct Stream<D> {
    pub(crate) fd: OwnedFd,
    pub(crate) phase: Phase,
    pub(crate) output: Output,
    pub(crate) driver: D,
    /// True once the owner gets no more events and cannot write.
    pub(crate) muted: bool,
    /// True while the stream sends the bytes that it holds, to end afterwards.
    finishing: bool,
    /// True once the stream ends as soon as the kernel has no operation of it.
    doomed: bool,
    fin_sent: bool,
    /// True while a [`StreamEvent::Closed`](crate::StreamEvent::Closed) waits to be delivered.
    closed_owed: bool,
    /// True once a write was refused for want of room, until that is reported as drained.
    drained_owed: bool,
    /// The errno that a write failed with, or 0.
    write_error: i32,
}

#[derive(Debug)]
struct Place<D> {
    generation: u32,
    stream: Option<Stream<D>>,
}

/// All streams and listeners of a driver.
#[derive(Debug)]
pub(crate) struct Table<D> {
    places: Vec<Place<D>>,
    /// First in, first out, so that generations of one place are far apart in time.
    free: VecDeque<u32>,
    places_max: usize,
    output_max: usize,
    linger_ns: Nanos,
    pub(crate) pool: Pool,
    /// Streams that are finishing, with the end of their linger time.
    lingering: VecDeque<(Nanos, Key)>,
    /// Listeners that rest, with the end of the rest.
    paused: VecDeque<(Nanos, Key)>,
    /// Streams whose writes were refused although they hold little, for want of memory in the pool.
    starved: VecDeque<Key>,
}

impl<D> Table<D> {
    pub(crate) fn new(config: &DriverConfig) -> Self {
        Self {
            places: Vec::new(),
            free: VecDeque::new(),
            places_max: config.streams_max.min(STREAMS_MAX),
            output_max: config.stream_output_bytes,
            linger_ns: config.stream_linger_ns,
            pool: Pool::new(config.stream_pool_bytes),
            lingering: VecDeque::new(),
            paused: VecDeque::new(),
            starved: VecDeque::new(),
        }
    }

    /// Tells whether there never was a stream: a driver then skips all that concerns them.
    #[inline]
    pub(crate) fn is_unused(&self) -> bool {
        self.places.is_empty()
    }

    /// Places in use.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Checks that another stream would find a place.
    pub(crate) fn check_room(&self) -> io::Result<()> {
        if self.len() < self.places_max {
            return Ok(());
        }
        Err(io::Error::other(format!("all {} streams of this driver are open", self.places_max)))
    }

    /// Puts a socket into a free place.
    pub(crate) fn insert(&mut self, fd: OwnedFd, phase: Phase, driver: D) -> io::Result<Key> {
        self.check_room()?;
        let place = self.free.pop_front().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, stream: None });
            self.places.len() as u32 - 1
        });
        let slot = &mut self.places[place as usize];
        slot.stream = Some(Stream {
            fd,
            phase,
            output: Output::default(),
            driver,
            muted: false,
            finishing: false,
            doomed: false,
            fin_sent: false,
            closed_owed: false,
            drained_owed: false,
            write_error: 0,
        });
        Ok(Key { place, generation: slot.generation })
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Stream<D>> {
        let place = self.places.get(key.place as usize)?;
        place.stream.as_ref().filter(|_| place.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Stream<D>> {
        let place = self.places.get_mut(key.place as usize)?;
        place.stream.as_mut().filter(|_| place.generation == key.generation)
    }

    /// A stream together with the pool that its output lives in.
    pub(crate) fn with_pool(&mut self, key: Key) -> Option<(&mut Stream<D>, &mut Pool)> {
        let place = self.places.get_mut(key.place as usize)?;
        let stream = place.stream.as_mut().filter(|_| place.generation == key.generation)?;
        Some((stream, &mut self.pool))
    }

    /// Looks up the stream that an owner means by `id`; `None` if the id is no longer valid.
    pub(crate) fn find(&self, id: SocketId) -> Option<Key> {
        let place = id.stream_place()? as u32;
        let generation = self.places.get(place as usize)?.generation;
        let key = Key { place, generation };
        (key.id() == id && self.get(key).is_some_and(|stream| !stream.muted)).then_some(key)
    }

    /// The keys of all places in use.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.stream.is_some())
            .map(|(at, place)| Key { place: at as u32, generation: place.generation })
    }

    /// Appends to a stream's output.
    pub(crate) fn write(&mut self, id: SocketId, bytes: &[u8]) -> Result<Key, StreamWriteError> {
        let key = self.find(id).ok_or(StreamWriteError::Closed)?;
        let limit = self.output_max;
        let Some((stream, pool)) = self.with_pool(key) else {
            return Err(StreamWriteError::Closed);
        };
        if stream.phase == Phase::Listening {
            return Err(StreamWriteError::Closed);
        }
        if stream.closed_owed || stream.write_error != 0 {
            // The stream has ended, and its owner does not know yet: as over a network, the bytes
            // are lost.
            return Ok(key);
        }
        if bytes.len() > limit {
            return Err(StreamWriteError::TooLarge);
        }
        let fits = stream.output.bytes() + bytes.len() <= limit;
        if fits && pool.append(&mut stream.output, bytes) {
            return Ok(key);
        }
        if !std::mem::replace(&mut stream.drained_owed, true) && stream.output.bytes() <= limit / 2
        {
            // This stream holds too little for its own sends to report room, so that the pool must.
            self.starved.push_back(key);
        }
        Err(StreamWriteError::Full)
    }

    /// Takes note that `bytes` of a stream's output were sent. Returns `true` if its owner waits to
    /// hear that there is room again.
    pub(crate) fn sent(&mut self, key: Key, bytes: usize, counters: &mut DriverCounters) -> bool {
        counters.stream_bytes_sent += bytes as u64;
        let limit = self.output_max;
        let Some((stream, pool)) = self.with_pool(key) else { return false };
        pool.consume(&mut stream.output, bytes);
        let drained = stream.drained_owed && stream.output.bytes() <= limit / 2;
        if !drained {
            return false;
        }
        stream.drained_owed = false;
        !stream.muted
    }

    /// Takes the next stream that starved and for which the pool may have room now.
    pub(crate) fn next_fed(&mut self) -> Option<Key> {
        while let Some(&key) = self.starved.front() {
            if !self.pool.has_room() {
                return None;
            }
            self.starved.pop_front();
            if let Some(stream) = self.get_mut(key)
                && std::mem::replace(&mut stream.drained_owed, false)
                && !stream.muted
            {
                return Some(key);
            }
        }
        None
    }

    /// Takes note that a write failed. The stream ends when its receive side does, by itself or
    /// forced.
    pub(crate) fn write_failed(&mut self, key: Key, errno: i32) {
        let Some((stream, pool)) = self.with_pool(key) else { return };
        pool.clear(&mut stream.output);
        stream.write_error = errno;
        if stream.phase == Phase::Ended {
            stream.doomed = true;
        } else {
            socket::end(&stream.fd);
        }
    }

    /// Takes note that a connect has ended, with an errno or 0. Returns `true` if the owner must be
    /// told.
    pub(crate) fn connected(
        &mut self,
        key: Key,
        errno: i32,
        counters: &mut DriverCounters,
    ) -> bool {
        let Some(stream) = self.get_mut(key) else { return false };
        if errno == 0 {
            stream.phase = Phase::Open;
            return !stream.muted;
        }
        stream.phase = Phase::Ended;
        stream.doomed = true;
        if stream.muted {
            return false;
        }
        counters.connect_errors += 1;
        stream.closed_owed = true;
        true
    }

    /// Takes note that nothing more will be received, for the reason `errno` (0 is the end of the
    /// stream). Returns the reason for the owner's event, if one is due.
    pub(crate) fn ended(&mut self, key: Key, errno: i32, now: Nanos) -> Option<i32> {
        let until = now.saturating_add(self.linger_ns);
        let stream = self.get_mut(key)?;
        if stream.phase == Phase::Ended {
            return None;
        }
        stream.phase = Phase::Ended;
        let errno = if errno == 0 { stream.write_error } else { errno };
        let owed = !stream.muted;
        stream.closed_owed = owed;
        if errno != 0 {
            stream.doomed = true;
        } else if !stream.finishing {
            // Written bytes are still sent: the peer may have closed its half only.
            stream.finishing = true;
            self.lingering.push_back((until, key));
        }
        owed.then_some(errno)
    }

    /// Takes note that the end of a stream is delivered, or about to be. Returns `false` if the
    /// owner wants no more events.
    pub(crate) fn closed_delivered(&mut self, key: Key) -> bool {
        let Some(stream) = self.get_mut(key) else { return false };
        stream.closed_owed = false;
        !std::mem::replace(&mut stream.muted, true)
    }

    /// Closes a stream or a listener for its owner.
    pub(crate) fn close(&mut self, id: SocketId, now: Nanos) -> Option<Key> {
        let key = self.find(id)?;
        let until = now.saturating_add(self.linger_ns);
        let stream = self.get_mut(key)?;
        stream.muted = true;
        if stream.phase == Phase::Listening || stream.write_error != 0 {
            stream.doomed = true;
        } else if !stream.finishing && !stream.doomed {
            stream.finishing = true;
            self.lingering.push_back((until, key));
        }
        Some(key)
    }

    /// Aborts a stream for its owner.
    pub(crate) fn abort(&mut self, id: SocketId) -> Option<Key> {
        let key = self.find(id)?;
        let stream = self.get_mut(key)?;
        if stream.phase == Phase::Listening {
            return None;
        }
        stream.muted = true;
        stream.doomed = true;
        socket::reset_on_close(&stream.fd);
        Some(key)
    }

    /// Decides the driver's next action for a stream. `busy` says that the kernel has operations of
    /// it.
    pub(crate) fn step(&mut self, key: Key, busy: bool) -> Step {
        let Some(stream) = self.get_mut(key) else { return Step::Wait };
        if stream.finishing && !stream.doomed {
            let connected = stream.phase != Phase::Connecting;
            if !stream.output.is_empty() {
                return if connected { Step::Send } else { Step::Wait };
            }
            if connected && !std::mem::replace(&mut stream.fin_sent, true) {
                socket::finish(&stream.fd);
            }
            stream.doomed = !connected || stream.phase == Phase::Ended;
        }
        match stream {
            Stream { doomed: false, .. } => Step::Wait,
            _ if busy => Step::Cancel,
            Stream { closed_owed: true, muted: false, .. } => Step::Wait,
            _ => Step::Release,
        }
    }

    /// Ends a stream at once, with its unsent bytes, as if its linger time were over.
    pub(crate) fn doom(&mut self, key: Key, counters: &mut DriverCounters) {
        let Some(stream) = self.get_mut(key) else { return };
        stream.muted = true;
        if !std::mem::replace(&mut stream.doomed, true) && !stream.output.is_empty() {
            counters.streams_cut += 1;
            socket::reset_on_close(&stream.fd);
        }
    }

    /// Tells whether a stream only waits for the kernel to give its operations back.
    pub(crate) fn is_doomed(&self, key: Key) -> bool {
        self.get(key).is_some_and(|stream| stream.doomed)
    }

    /// Closes a stream's descriptor and frees its place. The kernel must have no operation of it.
    pub(crate) fn release(&mut self, key: Key, counters: &mut DriverCounters) {
        let Some((stream, pool)) = self.with_pool(key) else { return };
        if stream.phase != Phase::Listening {
            counters.streams_closed += 1;
        }
        pool.clear(&mut stream.output);
        let place = &mut self.places[key.place as usize];
        place.stream = None;
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push_back(key.place);
    }

    /// Lets a listener rest.
    pub(crate) fn pause(&mut self, key: Key, now: Nanos) {
        self.paused.push_back((now.saturating_add(ACCEPT_PAUSE_NS), key));
    }

    /// Takes the next listener whose rest is over.
    pub(crate) fn next_rested(&mut self, now: Nanos) -> Option<Key> {
        while self.paused.front().is_some_and(|&(until, _)| until <= now) {
            let (_, key) = self.paused.pop_front()?;
            if self.get(key).is_some_and(|stream| !stream.muted) {
                return Some(key);
            }
        }
        None
    }

    /// Takes the next stream whose linger time is over: it ends now, and its unsent bytes are lost.
    pub(crate) fn next_expired(
        &mut self,
        now: Nanos,
        counters: &mut DriverCounters,
    ) -> Option<Key> {
        while self.lingering.front().is_some_and(|&(until, _)| until <= now) {
            let (_, key) = self.lingering.pop_front()?;
            if self.get(key).is_some_and(|stream| !stream.doomed) {
                self.doom(key, counters);
                return Some(key);
            }
        }
        None
    }

    /// Returns the time of the next result of [`next_expired`](Self::next_expired) or
    /// [`next_rested`](Self::next_rested).
    pub(crate) fn next_deadline(&mut self) -> Nanos {
        let mut next = Nanos::MAX;
        while let Some(&(until, key)) = self.lingering.front() {
            if self.get(key).is_some_and(|stream| !stream.doomed) {
                next = until;
                break;
            }
            self.lingering.pop_front();
        }
        self.paused.front().map_or(next, |&(until, _)| next.min(until))
    }
}

/// Tells whether an accept would soon fail with this errno again.
pub(crate) fn accept_must_pause(errno: i32) -> bool {
    !matches!(errno, libc::EINTR | libc::EAGAIN | libc::ECONNABORTED | libc::EPROTO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// A table with one stream and the other end of it.
    fn with_stream(config: &DriverConfig) -> (Table<()>, Key, UnixStream) {
        let mut table = Table::new(config);
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let key = table.insert(ours.into(), Phase::Open, ()).expect("room");
        (table, key, theirs)
    }

    fn small() -> DriverConfig {
        DriverConfig { stream_output_bytes: 1000, ..DriverConfig::default() }
    }

    #[test]
    fn an_idle_stream_takes_little_memory() {
        assert!(size_of::<Place<[u64; 8]>>() <= 160, "{}", size_of::<Place<[u64; 8]>>());
        let (table, ..) = with_stream(&small());
        assert_eq!((table.pool.has_room(), table.len()), (true, 1));
    }

    #[test]
    fn a_closed_stream_sends_then_says_so_then_awaits_the_peer() {
        let mut counters = DriverCounters::default();
        let (mut table, key, _peer) = with_stream(&small());
        table.write(key.id(), b"last").expect("room");
        assert_eq!(table.step(key, false), Step::Wait, "nobody closed it");
        assert_eq!(table.close(key.id(), 0), Some(key));
        assert_eq!(table.close(key.id(), 0), None, "it is its owner's no longer");
        assert_eq!(table.write(key.id(), b"x"), Err(StreamWriteError::Closed));
        assert_eq!(table.step(key, false), Step::Send);
        assert!(!table.sent(key, 4, &mut counters));
        assert_eq!(table.step(key, true), Step::Wait, "the peer has not ended");
        assert_eq!(table.ended(key, 0, 1), None, "nobody wants to hear it");
        assert_eq!(table.step(key, true), Step::Cancel);
        assert_eq!(table.step(key, false), Step::Release);
        table.release(key, &mut counters);
        assert_eq!((counters.streams_closed, table.len()), (1, 0));
        assert_eq!(table.next_deadline(), Nanos::MAX);
    }

    #[test]
    fn a_place_waits_for_the_delivery_of_the_end() {
        let mut counters = DriverCounters::default();
        let (mut table, key, _peer) = with_stream(&small());
        assert_eq!(table.ended(key, libc::ECONNRESET, 0), Some(libc::ECONNRESET));
        assert_eq!(table.ended(key, 0, 0), None, "once");
        assert_eq!(table.step(key, false), Step::Wait);
        assert_eq!(table.write(key.id(), b"lost"), Ok(key), "the owner cannot know yet");
        assert!(table.closed_delivered(key));
        assert!(!table.closed_delivered(key));
        assert_eq!(table.write(key.id(), b"x"), Err(StreamWriteError::Closed));
        assert_eq!(table.step(key, false), Step::Release);
        table.release(key, &mut counters);
        let next = table.insert(UnixStream::pair().expect("pair").0.into(), Phase::Open, ());
        let next = next.expect("room");
        assert_eq!((next.place, table.find(key.id())), (key.place, None));
        assert_eq!(table.find(next.id()), Some(next));
    }

    #[test]
    fn a_stream_that_lingers_too_long_is_cut() {
        let mut counters = DriverCounters::default();
        let (mut table, key, _peer) = with_stream(&small());
        table.write(key.id(), b"stuck").expect("room");
        table.close(key.id(), 5);
        let until = 5 + small().stream_linger_ns;
        assert_eq!(table.next_deadline(), until);
        assert_eq!(table.next_expired(until - 1, &mut counters), None);
        assert_eq!(table.next_expired(until, &mut counters), Some(key));
        assert_eq!(counters.streams_cut, 1);
        assert_eq!(table.step(key, true), Step::Cancel);
        assert_eq!(table.next_deadline(), Nanos::MAX);
    }

    #[test]
    fn room_is_reported_when_half_of_it_is_free_and_once_per_refusal() {
        let mut counters = DriverCounters::default();
        let (mut table, key, _peer) = with_stream(&small());
        table.write(key.id(), &[0; 900]).expect("room");
        assert_eq!(table.write(key.id(), &[0; 101]), Err(StreamWriteError::Full));
        assert_eq!(table.write(key.id(), &[0; 101]), Err(StreamWriteError::Full));
        assert_eq!(table.write(key.id(), &[0; 1001]), Err(StreamWriteError::TooLarge));
        assert!(!table.sent(key, 399, &mut counters), "more than half is taken");
        assert!(table.sent(key, 1, &mut counters));
        assert!(!table.sent(key, 100, &mut counters));
        assert_eq!(table.next_fed(), None);
    }

    #[test]
    fn a_listener_rests_for_a_while() {
        let mut table: Table<()> = Table::new(&small());
        let fd = UnixStream::pair().expect("pair").0.into();
        let key = table.insert(fd, Phase::Listening, ()).expect("room");
        assert_eq!(table.write(key.id(), b"x"), Err(StreamWriteError::Closed));
        assert_eq!(table.abort(key.id()), None);
        table.pause(key, 7);
        assert_eq!(table.next_rested(7), None);
        assert_eq!(table.next_deadline(), 7 + ACCEPT_PAUSE_NS);
        assert_eq!(table.next_rested(7 + ACCEPT_PAUSE_NS), Some(key));
        table.pause(key, 7);
        table.close(key.id(), 8);
        assert_eq!(table.next_rested(Nanos::MAX), None, "closed meanwhile");
        assert_eq!(table.step(key, false), Step::Release);
    }
}
