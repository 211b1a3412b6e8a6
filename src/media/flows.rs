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
    /// The streams whose SSRC is not known yet, by [`Stream::next_waiting`].
    first: u32,
    last: u32,
    streams: u32,
    /// The rows of all streams, combined by exclusive or: of a single one, its row.
    rows: u32,
}

/// The streams of a shared socket.
#[derive(Debug)]
pub(super) struct Flows {
    /// Rows by address and SSRC; [`NONE`] for one that has ended.
    known: HashMap<(SocketAddr, u32), u32, RandomState>,
    places: HashMap<SocketAddr, Place, RandomState>,
    /// Rows by the SSRC that we send with.
    own: HashMap<u32, u32, RandomState>,
    ended: VecDeque<(u64, SocketAddr, u32)>,
    ended_max: usize,
}

impl Flows {
    /// Room for `streams_max` streams.
    pub(super) fn new(streams_max: usize) -> Self {
        // A table that is at most half full is rehashed in place.
        let room = 2 * streams_max;
        Self {
            known: HashMap::with_capacity_and_hasher(2 * room, RandomState::default()),
            places: HashMap::with_capacity_and_hasher(room, RandomState::default()),
            own: HashMap::with_capacity_and_hasher(room, RandomState::default()),
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

    /// Adds the address of a stream's peer, and its SSRC if it is known.
    pub(super) fn enter(
        &mut self,
        row: u32,
        address: SocketAddr,
        ssrc: Option<u32>,
        streams: &mut Slab<Stream>,
    ) {
        let none = Place { first: NONE, last: NONE, streams: 0, rows: 0 };
        let place = self.places.entry(address).or_insert(none);
        place.streams += 1;
        place.rows ^= row;
        match ssrc {
            Some(ssrc) => {
                streams[row].known_ssrc = Some(ssrc);
                self.known.insert((address, ssrc), row);
            }
            None => {
                streams[row].next_waiting = NONE;
                match place.last {
                    NONE => place.first = row,
                    last => streams[last].next_waiting = row,
                }
                place.last = row;
            }
        }
    }

    /// Removes the address of a stream's peer.
    pub(super) fn leave(
        &mut self,
        row: u32,
        address: SocketAddr,
        now: u64,
        streams: &mut Slab<Stream>,
    ) {
        match streams[row].known_ssrc.take() {
            Some(ssrc) => self.end(address, ssrc, now),
            None => self.stop_waiting(row, address, streams),
        }
        let Some(place) = self.places.get_mut(&address) else { return };
        place.streams -= 1;
        place.rows ^= row;
        if place.streams == 0 {
            self.places.remove(&address);
        }
    }

    /// Removes a stream that has left its address.
    pub(super) fn finish(&mut self, own_ssrc: u32) {
        self.own.remove(&own_ssrc);
    }

    /// Remembers for a while that a stream has ended.
    fn end(&mut self, address: SocketAddr, ssrc: u32, now: u64) {
        while let Some(&(until_ns, address, ssrc)) = self.ended.front() {
            if until_ns > now && self.ended.len() < self.ended_max {
                break;
            }
            self.ended.pop_front();
            // Another stream may have the same SSRC by now.
            if self.known.get(&(address, ssrc)) == Some(&NONE) {
                self.known.remove(&(address, ssrc));
            }
        }
        self.known.insert((address, ssrc), NONE);
        self.ended.push_back((now + REST_NS, address, ssrc));
    }

    fn stop_waiting(&mut self, row: u32, address: SocketAddr, streams: &mut Slab<Stream>) {
        let Some(place) = self.places.get_mut(&address) else { return };
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
        if let Some(&row) = self.known.get(&(address, ssrc)) {
            return if row == NONE { Flow::Ended } else { Flow::Of(row) };
        }
        let Some(place) = self.places.get_mut(&address) else { return Flow::Unknown };
        let row = match place.first {
            NONE if place.streams == 1 => {
                let row = place.rows;
                if let Some(earlier) = streams[row].known_ssrc.take() {
                    self.end(address, earlier, now);
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
        streams[row].known_ssrc = Some(ssrc);
        self.known.insert((address, ssrc), row);
        Flow::Of(row)
    }

    /// True if a stream's peer has this address.
    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.places.contains_key(&address)
    }
}
