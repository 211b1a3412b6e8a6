//! Streams that share a socket, told apart by the address of their peer and the SSRC.
//!
//! A peer that names its SSRC in its description (RFC 5576) is known from the first packet. Of
//! others, the first packet with an unknown SSRC belongs to the stream of that address that has
//! waited longest. The SSRC of a stream that has ended is remembered for a while, so that its last
//! packets do not begin another one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use super::ports::REST_NS;
use super::slab::Slab;
use super::stream::Stream;

const NONE: u32 = u32::MAX;

/// The owner of an SSRC at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The stream in this row.
    Of(u32),
    /// A stream that has ended.
    Ended,
    /// No stream.
    Unknown,
}

/// The streams of one address.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: SocketAddr,
    /// The streams whose SSRC is not known yet, by [`Stream::next_waiting`].
    first: u32,
    last: u32,
    streams: u32,
    /// Streams that have ended and are remembered.
    ended: u32,
    /// The rows of all streams, combined by exclusive or: of a single one, its row.
    rows: u32,
}

/// The streams of a shared socket.
///
/// A peer sends its streams in the same order every time, so that the next packet is mostly that of
/// the stream whose packet came next the last time. Any other one is looked up by the number of its
/// address and the SSRC; neighbours of a train have one address, which is then known already.
#[derive(Debug)]
pub(super) struct Flows {
    /// Rows by number of the address and SSRC; [`NONE`] for a stream that has ended.
    known: HashMap<(u32, u32), u32, RandomState>,
    numbers: HashMap<SocketAddr, u32, RandomState>,
    places: Slab<Place>,
    /// The address that was looked up last, and its number.
    latest: Option<(SocketAddr, u32)>,
    /// The row that was found last.
    before: u32,
    /// Rows by the SSRC that we send with.
    own: HashMap<u32, u32, RandomState>,
    /// Ended streams with the time until which they are remembered.
    ended: VecDeque<(u64, u32, u32)>,
    ended_max: usize,
}

impl Flows {
    /// Room for `streams_max` streams.
    pub(super) fn new(streams_max: usize) -> Self {
        // A table that is at most half full is rehashed in place. As many streams as are live may
        // have ended and be remembered.
        Self {
            known: HashMap::with_capacity_and_hasher(4 * streams_max, RandomState::default()),
            numbers: HashMap::with_capacity_and_hasher(4 * streams_max, RandomState::default()),
            places: Slab::new(2 * streams_max),
            latest: None,
            before: NONE,
            own: HashMap::with_capacity_and_hasher(2 * streams_max, RandomState::default()),
            ended: VecDeque::with_capacity(streams_max),
            ended_max: streams_max,
        }
    }

    /// Adds a stream with the SSRC that it sends with.
    pub(super) fn begin(&mut self, row: u32, own_ssrc: u32) {
        self.own.insert(own_ssrc, row);
    }

    /// True if a stream sends with `own_ssrc`.
    pub(super) fn has_own(&self, own_ssrc: u32) -> bool {
        self.own.contains_key(&own_ssrc)
    }

    /// The stream that sends with `own_ssrc`.
    pub(super) fn by_own(&self, own_ssrc: u32) -> Option<u32> {
        self.own.get(&own_ssrc).copied()
    }

    /// The number of an address, if a stream has it or had it lately.
    fn number(&mut self, address: SocketAddr) -> Option<u32> {
        if let Some((latest, number)) = self.latest
            && latest == address
        {
            return Some(number);
        }
        let number = *self.numbers.get(&address)?;
        self.latest = Some((address, number));
        Some(number)
    }

    /// The stream that a report comes for, as far as address and SSRC of its sender tell. A stream
    /// whose SSRC is not known yet goes on waiting for it.
    pub(super) fn expected(&mut self, address: SocketAddr, ssrc: u32) -> Option<u32> {
        let number = self.number(address)?;
        let known = self.known.get(&(number, ssrc)).copied();
        Some(known.unwrap_or(self.places[number].first)).filter(|&row| row != NONE)
    }

    /// True if an SSRC at an address is that of a stream that has ended.
    pub(super) fn has_ended(&mut self, address: SocketAddr, ssrc: u32) -> bool {
        let number = self.number(address);
        number.is_some_and(|number| self.known.get(&(number, ssrc)) == Some(&NONE))
    }

    /// The number of an address that has one from now on. `None` if there are too many.
    fn numbered(&mut self, address: SocketAddr) -> Option<u32> {
        if let Some(number) = self.number(address) {
            return Some(number);
        }
        let place = Place { address, first: NONE, last: NONE, streams: 0, ended: 0, rows: 0 };
        let number = self.places.insert(|_| place)?;
        self.numbers.insert(address, number);
        Some(number)
    }

    /// Forgets an address that no stream has, and that none had lately.
    fn release(&mut self, number: u32) {
        let Place { address, streams, ended, .. } = self.places[number];
        if streams == 0 && ended == 0 {
            self.numbers.remove(&address);
            self.places.remove(number);
            self.latest = None;
        }
    }

    /// Adds the address of a stream's peer, and its SSRC if it is known.
    pub(super) fn enter(
        &mut self,
        row: u32,
        address: SocketAddr,
        ssrc: Option<u32>,
        streams: &mut Slab<Stream>,
    ) {
        // There is a place for each stream and for each one that is remembered.
        let Some(number) = self.numbered(address) else { return };
        let place = &mut self.places[number];
        place.streams += 1;
        place.rows ^= row;
        let Some(ssrc) = ssrc else {
            streams[row].next_waiting = NONE;
            match place.last {
                NONE => place.first = row,
                last => streams[last].next_waiting = row,
            }
            place.last = row;
            return;
        };
        self.own_known(number, ssrc, row, streams);
    }

    /// Makes an SSRC at an address that of a stream.
    fn own_known(&mut self, number: u32, ssrc: u32, row: u32, streams: &mut Slab<Stream>) {
        streams[row].flow = Some((number, ssrc));
        self.known.insert((number, ssrc), row);
    }

    /// Removes the address of a stream's peer.
    pub(super) fn leave(
        &mut self,
        row: u32,
        address: SocketAddr,
        now: u64,
        streams: &mut Slab<Stream>,
    ) {
        let Some(number) = self.number(address) else { return };
        match streams[row].flow.take() {
            Some((_, ssrc)) => self.end(number, ssrc, row, now),
            None => self.stop_waiting(row, number, streams),
        }
        let place = &mut self.places[number];
        place.streams -= 1;
        place.rows ^= row;
        self.release(number);
    }

    /// Removes a stream that has left its address.
    pub(super) fn finish(&mut self, own_ssrc: u32) {
        self.own.remove(&own_ssrc);
    }

    /// Remembers for a while that a stream has ended. Another stream may have taken its SSRC.
    fn end(&mut self, number: u32, ssrc: u32, row: u32, now: u64) {
        self.forget_ended(now);
        if self.known.get(&(number, ssrc)) == Some(&row) {
            self.known.insert((number, ssrc), NONE);
            self.places[number].ended += 1;
            self.ended.push_back((now + REST_NS, number, ssrc));
        }
    }

    /// Forgets ended streams whose time is over, and the first one if there are too many.
    fn forget_ended(&mut self, now: u64) {
        while let Some(&(until_ns, number, ssrc)) = self.ended.front() {
            if until_ns > now && self.ended.len() < self.ended_max {
                break;
            }
            self.ended.pop_front();
            if self.known.get(&(number, ssrc)) == Some(&NONE) {
                self.known.remove(&(number, ssrc));
            }
            self.places[number].ended -= 1;
            self.release(number);
        }
    }

    fn stop_waiting(&mut self, row: u32, number: u32, streams: &mut Slab<Stream>) {
        let place = &mut self.places[number];
        let (mut before, mut at) = (NONE, place.first);
        while at != NONE && at != row {
            (before, at) = (at, streams[at].next_waiting);
        }
        if at == NONE {
            return;
        }
        let next = std::mem::replace(&mut streams[row].next_waiting, NONE);
        match before {
            NONE => place.first = next,
            before => streams[before].next_waiting = next,
        }
        if place.last == row {
            place.last = before;
        }
    }

    /// Finds the owner of an SSRC at an address. An unknown one becomes that of a stream that waits
    /// for one, or of the only stream of the address, whose source has changed.
    pub(super) fn find(
        &mut self,
        address: SocketAddr,
        ssrc: u32,
        now: u64,
        streams: &mut Slab<Stream>,
    ) -> Flow {
        let Some(number) = self.number(address) else { return Flow::Unknown };
        let before = self.before;
        let expected = streams.get(before).map_or(NONE, |stream| stream.follower);
        let is_expected = |stream: &Stream| stream.flow == Some((number, ssrc));
        if streams.get(expected).is_some_and(is_expected) {
            self.before = expected;
            streams.prefetch(streams[expected].follower);
            return Flow::Of(expected);
        }
        if let Some(&row) = self.known.get(&(number, ssrc)) {
            if row == NONE {
                return Flow::Ended;
            }
            self.before = row;
            if before != NONE {
                streams[before].follower = row;
            }
            return Flow::Of(row);
        }
        let place = &mut self.places[number];
        let row = match place.first {
            NONE if place.streams == 1 => {
                let row = place.rows;
                if let Some((_, earlier)) = streams[row].flow.take() {
                    self.end(number, earlier, row, now);
                }
                row
            }
            NONE => return Flow::Unknown,
            first => {
                place.first = std::mem::replace(&mut streams[first].next_waiting, NONE);
                if place.first == NONE {
                    place.last = NONE;
                }
                first
            }
        };
        self.own_known(number, ssrc, row, streams);
        Flow::Of(row)
    }

    /// True if a stream's peer has this address.
    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.numbers.get(&address).is_some_and(|&number| self.places[number].streams > 0)
    }
}
