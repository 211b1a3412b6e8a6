//! Relayed streams: what goes to peers over a TURN server, and what comes from there.

use std::net::SocketAddr;
use std::ops::Range;

use gossipper_uring::{SocketId, TxArena};

use super::{Media, NONE, packet_timer};
use crate::media::command::Opening;
use crate::media::schedule::TICK_NS;
use crate::media::turn::{CHANNEL_HEADER_LEN, News, Relays, Taken, Wish};
use crate::stats::RelayFault;

/// A datagram behind its relay: its sender, and its place in the one that came.
type Unwrapped = (SocketAddr, Range<usize>);

impl Media {
    /// Asks for relayed addresses of a pair that was opened. No leg gets it before.
    pub(super) fn open_relay(&mut self, pair: u32) {
        let sockets = self.pool.pair(pair);
        if let Some(relays) = &mut self.relays {
            relays.open(2 * pair, sockets.rtp, Wish::Even, self.now);
        }
    }

    /// Takes a pair whose relayed addresses are there, if streams go through a relay.
    pub(super) fn take_ready(&mut self, now: u64) -> Result<u32, Opening> {
        let pair = self.pool.take(now)?;
        if self.relays.is_none() || self.relayed(pair).is_some() {
            return Ok(pair);
        }
        // The server took them away. They are asked for again.
        self.pool.hold(pair);
        Err(Opening::Exhausted)
    }

    /// The relayed addresses of a pair, for RTP and RTCP.
    pub(super) fn relayed(&self, pair: u32) -> Option<[SocketAddr; 2]> {
        let relays = self.relays.as_ref()?;
        Some([relays.relayed(2 * pair)?, relays.relayed(2 * pair + 1)?])
    }

    /// The time at which something is due for relays.
    pub(super) fn relay_deadline_ns(&self) -> u64 {
        self.relays.as_ref().map_or(u64::MAX, Relays::next_deadline_ns)
    }

    /// Bytes that a relay adds to a datagram.
    pub(super) fn relay_overhead(&self) -> usize {
        if self.relays.is_some() { CHANNEL_HEADER_LEN } else { 0 }
    }

    /// Takes a datagram that came to the socket at `place`. Returns what a peer sent; without a
    /// relay that is all of it.
    pub(super) fn unwrap_relayed(
        &mut self,
        place: u32,
        source: SocketAddr,
        payload: &[u8],
    ) -> Option<Unwrapped> {
        let Some(relays) = &mut self.relays else { return Some((source, 0..payload.len())) };
        match relays.take(place, source, payload, self.now) {
            Taken::Data(peer, place) => return Some((peer, place)),
            Taken::Handled(Some(news)) => self.relay_news(place, news),
            Taken::Handled(None) => {}
            Taken::Dropped(fault) => self.counters.relay_faults.bump(fault),
        }
        None
    }

    /// Sends what relays have to ask.
    pub(super) fn send_relay_requests(&mut self, now: u64, reserve: usize, tx: &mut TxArena) {
        while let Some(relays) = &mut self.relays
            && let Some((place, news)) = relays.send_due(now, reserve, tx)
        {
            self.relay_news(place, news);
        }
    }

    /// Takes the news that a datagram did not arrive, if it went to the relay.
    pub(super) fn relay_unreachable(&mut self, socket: SocketId, destination: SocketAddr) {
        let place = self.by_socket.get(socket.0 as usize).copied().unwrap_or(NONE);
        if let Some(relays) = &mut self.relays
            && relays.server() == destination
            && let Some(news) = relays.unreachable(place, self.now)
        {
            self.relay_news(place, news);
        }
    }

    fn relay_news(&mut self, place: u32, news: News) {
        let (pair, is_rtcp) = (place / 2, place % 2 == 1);
        match news {
            News::Opened(token) if !is_rtcp => {
                let socket = self.pool.pair(pair).rtcp;
                match (token, &mut self.relays) {
                    (Some(token), Some(relays)) => {
                        relays.open(place + 1, socket, Wish::Reserved(token), self.now);
                    }
                    // Nobody would send RTCP to another port than the next one.
                    _ => self.counters.relay_faults.bump(RelayFault::NoCapacity),
                }
            }
            News::Opened(_) => {
                self.counters.relays_opened += 1;
                self.pool.release(pair);
            }
            News::Failed(fault) => {
                self.counters.relay_faults.bump(fault);
                self.pool.note_relay_failure();
                // The port of RTCP was reserved once: both are asked for anew.
                if is_rtcp && let Some(relays) = &mut self.relays {
                    relays.restart(pair, self.pool.pair(pair).rtp, self.now);
                }
            }
            News::Refused(fault) => self.counters.relay_faults.bump(fault),
        }
    }

    /// Gives the peers of a stream their channels, before anything is sent to them: a relay lets
    /// only those through that it was told of.
    pub(super) fn let_relay(&mut self, row: u32, now: u64) {
        if self.relays.is_none() {
            return;
        }
        let stream = &self.streams[row];
        let (rtp, rtcp) = (stream.theirs.rtp, stream.report_target());
        let place = 2 * stream.pair;
        if let Some(rtp) = rtp {
            self.is_relayed_to(place, rtp, now);
        }
        if let Some((rtcp, false)) = rtcp {
            self.is_relayed_to(place + 1, rtcp, now);
        }
    }

    /// Tells whether a datagram from the socket at `place` would reach `peer`. A new peer gets a
    /// channel.
    pub(super) fn is_relayed_to(&mut self, place: u32, peer: SocketAddr, now: u64) -> bool {
        let Some(relays) = &mut self.relays else { return true };
        let reaches = relays.reaches(place, peer, now);
        reaches.unwrap_or_else(|fault| {
            self.counters.relay_faults.bump(fault);
            false
        })
    }

    /// Lets a stream wait whose peer has no channel yet. Nothing of what it plays is lost.
    pub(super) fn wait_for_relay(&mut self, row: u32, now: u64) {
        let stream = &mut self.streams[row];
        stream.out.begin(row, now + TICK_NS);
        stream.is_running = true;
        let planned_ns = stream.out.planned_ns;
        self.schedule.arm(packet_timer(row), planned_ns);
    }
}

/// Makes the datagram in the first `len` bytes of `datagram`, which goes from a place to a peer,
/// one to the relay, if there is one. Returns its new length and target; `None` if it does not
/// reach the peer.
pub(super) fn wrap_relayed(
    relays: &mut Option<Relays>,
    (place, peer): (u32, SocketAddr),
    datagram: &mut [u8],
    len: usize,
) -> Option<(usize, SocketAddr)> {
    let Some(relays) = relays else { return Some((len, peer)) };
    Some((relays.wrap(place, peer, datagram, len)?, relays.server()))
}
