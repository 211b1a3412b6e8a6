//! Handshakes of streams that get their keys by DTLS.
//!
//! A step costs as much as a hundred packets. So steps wait for their turn, and few are taken in a
//! tick, behind the packets that are due: thousands of calls may begin while others are paced.

use std::collections::VecDeque;
use std::net::SocketAddr;

use gossipper_uring::{TxArena, TxOrder};

use super::send::NO_STREAM;
use super::{Media, NONE};
use crate::media::command::{Event, LegId, MediaFault, Track};
use crate::media::config::Mode;
use crate::media::crypto::{CryptoCause, CryptoFault, Keys, Lines, Side};
use crate::media::dtls::{Keying, Progress, Role};
use crate::media::negotiate::Peer;
use crate::media::protection::Early;
use crate::media::schedule::TICK_NS;
use crate::stats::{HandshakeFault, MediaMeasure, StrayCause};

/// Steps of a tick: about two thirds of it, since a side of a handshake takes three in 130 us.
const STEPS_PER_TICK: u32 = 16;
/// Steps that may wait: those of half a second.
const WAITING_MAX: usize = 8192;
/// Slots that a step may take: the datagrams of its flight.
const SLOTS_PER_STEP: usize = 8;

/// A step that waits for its turn.
#[derive(Debug)]
struct Step {
    row: u32,
    /// Tells one use of the row from the next.
    generation: u32,
    /// The datagram that came; `None` if time has passed.
    came: Option<Early>,
}

/// The steps of all streams.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    waiting: VecDeque<Step>,
    tick: u64,
    /// Steps taken in `tick`.
    taken: u32,
    /// Room to work in.
    out: Vec<u8>,
}

impl Handshakes {
    /// The time at which the next step may be taken.
    pub(super) fn next_time_ns(&self) -> u64 {
        match (self.waiting.is_empty(), self.taken < STEPS_PER_TICK) {
            (true, _) => u64::MAX,
            (false, true) => 0,
            (false, false) => (self.tick + 1) * TICK_NS,
        }
    }

    /// The step whose turn it is at `now`.
    fn next(&mut self, now: u64) -> Option<Step> {
        let tick = now / TICK_NS;
        if tick != self.tick {
            (self.tick, self.taken) = (tick, 0);
        }
        if self.taken == STEPS_PER_TICK {
            return None;
        }
        let step = self.waiting.pop_front()?;
        self.taken += 1;
        Some(step)
    }
}

impl Media {
    /// The fingerprint of our certificate, as descriptions have it; `None` if the run has none.
    pub fn fingerprint(&self) -> Option<&str> {
        self.config.identity.as_ref().map(|identity| identity.fingerprint())
    }

    /// Our role in the handshake of a track; `None` if there is none yet.
    pub fn role(&self, leg: LegId, track: Track) -> Option<Role> {
        let protection = self.streams[self.stream(leg, track)?].protection.as_ref()?;
        protection.keying.as_ref().map(Keying::role)
    }

    /// The words of a section about keys, as far as the run can follow them.
    ///
    /// # Errors
    /// The section has fingerprints only, and streams share a port: nothing in a datagram of DTLS
    /// tells whose it is.
    pub(super) fn possible_keys(&self, side: Side, lines: Lines) -> Result<Lines, MediaFault> {
        let has_dtls = self.config.mode == Mode::Ports && self.config.identity.is_some();
        if has_dtls || lines.used_dtls().is_none() {
            return Ok(lines);
        }
        let others = lines.with_dtls(None);
        match others.ask_for_protection() {
            true => Ok(others),
            false => Err(MediaFault::Crypto(CryptoFault { side, cause: CryptoCause::NoDtls })),
        }
    }

    /// Begins the handshake of a stream, once its peer's address is known.
    pub(super) fn begin_handshake(&mut self, row: u32, now: u64) {
        let Some(identity) = &self.config.identity else { return };
        let stream = &mut self.streams[row];
        let address = stream.theirs.rtp;
        let Some(protection) = &mut stream.protection else { return };
        let Some((keying, address)) = protection.keying.as_mut().zip(address) else { return };
        keying.begin(identity, now);
        let early = protection.early.take();
        if let Some(early) = early.filter(|early| early.source.ip() == address.ip()) {
            self.queue_step(row, Some(early));
        }
    }

    /// Takes a datagram of DTLS.
    pub(super) fn on_dtls(&mut self, (pair, source): (u32, SocketAddr), payload: &[u8], now: u64) {
        let row = self.by_pair.get(pair as usize).copied().unwrap_or(NONE);
        if row == NONE {
            return self.stray(StrayCause::AfterEnd);
        }
        // The peer may know before us which address of ours works.
        let is_nowhere = self.streams[row].peer_address().is_none();
        let Some(protection) = &mut self.streams[row].protection else {
            return self.stray(StrayCause::OtherProtocol);
        };
        let came = Early { source, datagram: payload.into() };
        if protection.awaits_peer() || protection.keying.is_some() && is_nowhere {
            protection.early = Some(came);
            return;
        }
        if protection.keying.is_none() {
            return self.stray(StrayCause::OtherProtocol);
        }
        match self.may_shake(row, source, now) {
            Err(cause) => self.stray(cause),
            Ok(()) => self.queue_step(row, Some(came)),
        }
    }

    /// Checks that `source` is an address of the signalled peer. Its port may be another one. Media
    /// follows it there only once a packet from there was authentic.
    fn may_shake(&self, row: u32, source: SocketAddr, now: u64) -> Result<(), StrayCause> {
        let stream = &self.streams[row];
        let peer = stream.peer_address().ok_or(StrayCause::Unsignalled)?;
        let is_peer = source.ip() == peer.ip();
        match source == peer || is_peer && self.may_send_to(stream.leg, source, now) {
            true => Ok(()),
            false => Err(StrayCause::Foreign),
        }
    }

    /// Lets a step of a stream wait for its turn.
    pub(super) fn queue_step(&mut self, row: u32, came: Option<Early>) {
        let stream = &mut self.streams[row];
        let keying = stream.protection.as_mut().and_then(|protection| protection.keying.as_mut());
        let has_room = self.handshakes.waiting.len() < WAITING_MAX;
        let Some(keying) = keying else { return };
        if has_room && keying.may_queue() {
            let generation = stream.generation;
            self.handshakes.waiting.push_back(Step { row, generation, came });
        } else if !keying.is_over() {
            self.counters.handshake_faults.bump(HandshakeFault::DtlsQueueFull);
        }
    }

    /// Takes the steps whose turn it is.
    pub(super) fn shake_hands(&mut self, now: u64, reserve: usize, tx: &mut TxArena) {
        while tx.free() > reserve + SLOTS_PER_STEP {
            let Some(step) = self.handshakes.next(now) else { return };
            let is_current = |stream: &super::Stream| stream.generation == step.generation;
            if self.streams.get(step.row).is_some_and(is_current) {
                self.take_step(&step, now, tx);
            }
        }
    }

    fn take_step(&mut self, step: &Step, now: u64, tx: &mut TxArena) {
        let row = step.row;
        let stream = &mut self.streams[row];
        let socket = self.pool.pair(stream.pair).rtp;
        let target = stream.peer_address();
        let keying = stream.protection.as_mut().and_then(|protection| protection.keying.as_mut());
        let Some((target, keying)) = target.zip(keying) else { return };
        let source = step.came.as_ref().map(|came| came.source);
        let target = source.or(keying.peer).unwrap_or(target);
        let mut answers = false;
        // A datagram without room is lost, and sent again as one that the network loses.
        let send = &mut |datagram: &[u8]| {
            answers = true;
            tx.send_copy(datagram, socket, target, NO_STREAM, &mut TxOrder::default());
        };
        let out = &mut self.handshakes.out;
        let datagram = step.came.as_ref().map(|came| &*came.datagram);
        let progress = keying.step(datagram, now, out, send);
        // Nonsense is not answered, so that it does not lead anywhere.
        keying.peer = source.filter(|_| answers).or(keying.peer);
        let age_ns = keying.age_ns(now);
        match progress {
            Progress::Going => {}
            Progress::Keys(keys) => self.take_keys(row, *keys, age_ns, now),
            Progress::Failed(fault) => self.fail_handshake(row, fault, now),
        }
        self.plan_matter(row);
    }

    /// Lets a stream go on with the keys of its handshake.
    fn take_keys(&mut self, row: u32, keys: Keys, age_ns: u64, now: u64) {
        self.counters.handshakes += 1;
        self.measured.record(MediaMeasure::Handshake, age_ns);
        self.streams[row].take_keys(keys);
        self.plan(row, now);
        let track = self.streams[row].track;
        self.tell(row, Event::Keyed(track));
    }

    /// Ends a stream that cannot be protected. Its call hears of it.
    fn fail_handshake(&mut self, row: u32, fault: HandshakeFault, now: u64) {
        self.counters.handshake_faults.bump(fault);
        self.turn_to(row, Peer::default(), now);
        self.tell(row, Event::Failed(MediaFault::Handshake(fault)));
    }
}
