//! The way of one stream to keys: when its handshake begins, what it may cost, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use super::description::{Fingerprints, Role};
use super::handshake::{HANDSHAKE_NS_MAX, Handshake, Identity, Progress};
use crate::stats::HandshakeFault;

/// Time for which a handshake that gave keys remains, to repeat its last flight. A packet of the
/// peer that these keys open ends it sooner: the peer has them, too.
const REMAINS_NS: u64 = 10_000_000_000;
/// Steps of one stream that may wait: more than the flight of any peer has datagrams.
const STEPS_MAX: u8 = 16;

/// The state of a stream that gets its keys by DTLS.
#[derive(Debug)]
pub(in crate::media) struct Keying {
    role: Role,
    /// The certificates that the peer may show.
    peers: Fingerprints,
    /// Boxed, since most streams are through with it after a fraction of a second.
    handshake: Option<Box<Handshake>>,
    /// The address that the peer was last answered at.
    pub(in crate::media) peer: Option<SocketAddr>,
    began_ns: u64,
    /// The end of the time limit, or of the time for which the handshake remains.
    until_ns: u64,
    has_begun: bool,
    has_keys: bool,
    /// Steps that wait for their turn.
    steps: u8,
}

impl Keying {
    /// The keying with a peer that may show the certificates `peers`.
    pub(in crate::media) fn new(role: Role, peers: Fingerprints) -> Self {
        Self {
            role,
            peers,
            handshake: None,
            peer: None,
            began_ns: 0,
            until_ns: u64::MAX,
            has_begun: false,
            has_keys: false,
            steps: 0,
        }
    }

    /// True if a description asks for the same handshake again, as a re-INVITE does. It is not
    /// repeated then (RFC 8842 section 4).
    pub(in crate::media) fn is_of(&self, role: Role, peers: Fingerprints) -> bool {
        (self.role, self.peers) == (role, peers)
    }

    /// Begins, unless it has begun. The address of the peer is known now.
    pub(in crate::media) fn begin(&mut self, identity: &Arc<Identity>, now: u64) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let handshake = Handshake::new(identity, self.role, self.peers, now);
            self.handshake = Some(Box::new(handshake));
            self.began_ns = now;
            self.until_ns = now.saturating_add(HANDSHAKE_NS_MAX);
        }
    }

    /// Our role.
    pub(in crate::media) fn role(&self) -> Role {
        self.role
    }

    /// True if it gave keys.
    pub(in crate::media) fn has_keys(&self) -> bool {
        self.has_keys
    }

    /// True if its handshake is no more: what comes is of no use.
    pub(in crate::media) fn is_over(&self) -> bool {
        self.has_begun && self.handshake.is_none()
    }

    /// The time since its begin.
    pub(in crate::media) fn age_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.began_ns)
    }

    /// The time of its next step, unless one waits for its turn already.
    pub(in crate::media) fn next_ns(&self) -> u64 {
        match &self.handshake {
            Some(handshake) if self.steps == 0 => handshake.next_ns().min(self.until_ns),
            _ => u64::MAX,
        }
    }

    /// Notes that a step waits for its turn; `false` if that would be one too many, or if there is
    /// no handshake (any more).
    pub(in crate::media) fn may_queue(&mut self) -> bool {
        let may = self.handshake.is_some() && self.steps < STEPS_MAX;
        self.steps += u8::from(may);
        may
    }

    /// Notes that the peer has the keys, too.
    pub(in crate::media) fn settle(&mut self) {
        if self.has_keys {
            self.handshake = None;
        }
    }

    /// Takes a step that waited for its turn. `out` is room to work in, `send` gets what is to be
    /// sent.
    pub(in crate::media) fn step(
        &mut self,
        datagram: Option<&[u8]>,
        now: u64,
        out: &mut Vec<u8>,
        send: &mut dyn FnMut(&[u8]),
    ) -> Progress {
        self.steps = self.steps.saturating_sub(1);
        let Some(handshake) = &mut self.handshake else { return Progress::Going };
        let progress = match (now >= self.until_ns, self.has_keys) {
            (true, true) => {
                self.handshake = None;
                return Progress::Going;
            }
            (true, false) => Progress::Failed(HandshakeFault::DtlsTimedOut),
            (false, _) => handshake.step(datagram, now, out, send),
        };
        match (progress, self.has_keys) {
            (Progress::Going, _) => Progress::Going,
            (Progress::Keys(keys), _) => {
                self.has_keys = true;
                self.until_ns = now.saturating_add(REMAINS_NS);
                Progress::Keys(keys)
            }
            // What comes after the keys cannot take them back.
            (Progress::Failed(_), true) => {
                self.handshake = None;
                Progress::Going
            }
            (Progress::Failed(fault), false) => {
                self.handshake = None;
                Progress::Failed(fault)
            }
        }
    }
}
