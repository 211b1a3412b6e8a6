//! The protection of a stream whose keys are in the session descriptions (SRTP with SDES), or come
//! by a handshake that both descriptions ask for (DTLS-SRTP).
//!
//! Only streams that a description asks to protect have one. Sender and receiver are kept while
//! their key stays the same: a new one counts rollovers from zero.

use std::fmt;
use std::net::SocketAddr;

use super::crypto::{CryptoCause, CryptoFault, Keys, Lines, Side};
use super::dtls::{self, Keying, Role};
use super::ice::Ice;
use super::srtp::{SrtpFault, SrtpReceiver, SrtpSender};

/// The state of a stream's protection.
#[derive(Debug, Default)]
pub(super) struct Protection {
    ours: Lines,
    theirs: Lines,
    /// The side whose offer has no answer yet.
    offer: Option<Side>,
    channel: Option<Channel>,
    /// The handshake, of a stream that gets its keys by one.
    pub(super) keying: Option<Keying>,
    /// The way to the peer's address. It is kept here since only protected streams have one.
    pub(super) ice: Option<Box<Ice>>,
    /// True once the keys of the channel were given out for a log.
    is_logged: bool,
    /// The last datagram of DTLS that came before the peer's description: signalling may take a
    /// longer way than media (RFC 5763 section 6.2).
    pub(super) early: Option<Early>,
}

/// A datagram of a peer whose description has not come yet.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) source: SocketAddr,
    pub(super) datagram: Box<[u8]>,
}

/// Both directions of a protected stream.
struct Channel {
    keys: Keys,
    sender: SrtpSender,
    receiver: SrtpReceiver,
    /// The receiver of the peer's last key. Packets of it may still be on their way. Boxed, since
    /// few calls change their keys.
    former: Option<Box<SrtpReceiver>>,
}

/// A protected stream takes four kilobytes more than another one.
const _: () = assert!(size_of::<Protection>() <= 3840);

impl Protection {
    /// The protection of a stream whose descriptions said nothing about keys so far. Each of both
    /// is true if that side has described the stream.
    pub(super) fn after_clear(ours: bool, theirs: bool) -> Self {
        let offer = match (ours, theirs) {
            (true, false) => Some(Side::Ours),
            (false, true) => Some(Side::Peers),
            _ => None,
        };
        let (ours, theirs) = (Lines::without_key(ours), Lines::without_key(theirs));
        Self { ours, theirs, offer, ..Self::default() }
    }

    /// Takes the lines of a new description of `side`.
    ///
    /// Keys are used as soon as the latest lines of both sides fit, so that the peer of a
    /// re-INVITE, which knows our offer by then, gets our packets with the key that it names. Only
    /// an answer can make the stream a clear one, or a fault.
    ///
    /// # Errors
    /// The answer does not fit the offer. No keys are left.
    pub(super) fn describe(&mut self, side: Side, lines: Lines) -> Result<(), CryptoFault> {
        let is_answer = self.offer.is_some_and(|offer| offer != side);
        let known = match side {
            Side::Ours => &mut self.ours,
            Side::Peers => &mut self.theirs,
        };
        // A final response repeats what an early one said. That is no offer.
        let is_repeated = self.offer.is_none() && *known == lines;
        *known = lines;
        self.offer = if is_answer || is_repeated { None } else { Some(side) };
        if let Some((ours, theirs)) = self.ours.used_dtls().zip(self.theirs.used_dtls()) {
            return match is_answer || self.keying.is_none() {
                true => self.describe_handshake(side, ours, theirs),
                false => Ok(()),
            };
        }
        let keys = Keys::agreed(&self.ours, &self.theirs).and_then(|keys| self.or_dtls(keys));
        match keys {
            Ok(Some(keys)) => {
                self.keying = None;
                self.take(keys);
            }
            Ok(None) if is_answer => (self.channel, self.keying) = (None, None),
            Err(fault) if is_answer => {
                (self.channel, self.keying) = (None, None);
                return Err(fault);
            }
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    /// Refuses to go on in the clear if one side wants keys by DTLS.
    fn or_dtls(&self, keys: Option<Keys>) -> Result<Option<Keys>, CryptoFault> {
        let side = match (self.ours.used_dtls(), self.theirs.used_dtls()) {
            _ if keys.is_some() => return Ok(keys),
            (Some(_), None) if self.theirs.lack_dtls() => Side::Peers,
            (None, Some(_)) if self.ours.lack_dtls() => Side::Ours,
            _ => return Ok(keys),
        };
        Err(CryptoFault { side, cause: CryptoCause::NoFingerprint })
    }

    /// Takes the words of both sides about DTLS, of which those of `side` came last.
    fn describe_handshake(
        &mut self,
        side: Side,
        ours: dtls::Description,
        theirs: dtls::Description,
    ) -> Result<(), CryptoFault> {
        let fault = |cause| CryptoFault { side: Side::Peers, cause };
        let prints = theirs.fingerprints;
        let role = Role::agreed(ours.setup, theirs.setup, side == Side::Ours);
        let checked = match role {
            _ if prints.is_empty() => Err(fault(CryptoCause::BadFingerprint)),
            None => Err(fault(CryptoCause::SameRole)),
            Some(role) => Ok(role),
        };
        let role = checked.inspect_err(|_| (self.channel, self.keying) = (None, None))?;
        // Media goes on under the old keys until those of another handshake are there.
        if !self.keying.as_ref().is_some_and(|keying| keying.is_of(role, prints)) {
            self.keying = Some(Keying::new(role, prints));
        }
        Ok(())
    }

    /// True if the keys are still to come by a handshake.
    pub(super) fn awaits_handshake(&self) -> bool {
        self.channel.is_none() && self.keying.as_ref().is_some_and(|keying| !keying.has_keys())
    }

    /// True if our description asks for DTLS, and that of the peer has not come.
    pub(super) fn awaits_peer(&self) -> bool {
        self.ours.used_dtls().is_some() && self.offer == Some(Side::Ours) && self.keying.is_none()
    }

    /// The time of the next step of a handshake.
    pub(super) fn next_step_ns(&self) -> u64 {
        self.keying.as_ref().map_or(u64::MAX, Keying::next_ns)
    }

    /// The keys, unless these ones were given out before.
    pub(super) fn unlogged_keys(&mut self) -> Option<Keys> {
        let channel = self.channel.as_ref().filter(|_| !self.is_logged)?;
        self.is_logged = true;
        Some(channel.keys)
    }

    /// Takes keys, in place of earlier ones.
    pub(super) fn take(&mut self, keys: Keys) {
        let is_known = self.channel.as_ref().is_some_and(|channel| channel.keys == keys);
        self.is_logged &= is_known;
        let Some(channel) = &mut self.channel else {
            self.channel = Some(Channel::new(keys));
            return;
        };
        if channel.keys.ours != keys.ours {
            channel.sender = SrtpSender::new(&keys.ours);
        }
        if channel.keys.peers != keys.peers {
            let receiver = SrtpReceiver::new(&keys.peers);
            let former = std::mem::replace(&mut channel.receiver, receiver);
            channel.former = Some(Box::new(former));
        }
        channel.keys = keys;
    }

    /// True if the stream is protected: both sides have given keys.
    pub(super) fn is_on(&self) -> bool {
        self.channel.is_some()
    }

    /// True if neither side's latest description asks for protection.
    pub(super) fn is_over(&self) -> bool {
        let ask = self.ours.ask_for_protection() || self.theirs.ask_for_protection();
        self.channel.is_none() && !ask
    }

    /// Bytes that protection adds to a packet of RTP.
    pub(super) fn overhead(&self) -> usize {
        self.channel.as_ref().map_or(0, |channel| channel.sender.overhead())
    }

    /// Bytes that protection adds to a report.
    pub(super) fn rtcp_overhead(&self) -> usize {
        self.channel.as_ref().map_or(0, |channel| channel.sender.rtcp_overhead())
    }

    /// Protects the packet of RTP in the first `len` bytes of `packet`. Returns its new length.
    pub(super) fn protect(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpFault> {
        match &mut self.channel {
            Some(channel) => channel.sender.protect(packet, len),
            None => Ok(len),
        }
    }

    /// Protects the report in the first `len` bytes of `packet`. Returns its new length.
    pub(super) fn protect_rtcp(
        &mut self,
        packet: &mut [u8],
        len: usize,
    ) -> Result<usize, SrtpFault> {
        match &mut self.channel {
            Some(channel) => channel.sender.protect_rtcp(packet, len),
            None => Ok(len),
        }
    }

    /// Checks `datagram`, and decrypts it into `out`.
    ///
    /// # Errors
    /// The datagram is not authentic or not new, or there are no keys. `out` may be anything then.
    pub(super) fn unprotect(
        &mut self,
        datagram: &[u8],
        is_rtcp: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpFault> {
        let mut open = |receiver: &mut SrtpReceiver| {
            out.clear();
            out.extend_from_slice(datagram);
            let len = match is_rtcp {
                true => receiver.unprotect_rtcp(out),
                false => receiver.unprotect(out),
            }?;
            out.truncate(len);
            Ok(())
        };
        let Some(channel) = &mut self.channel else { return Err(SrtpFault::BadTag) };
        let opened = open(&mut channel.receiver);
        if let (Ok(()), Some(keying)) = (opened, &mut self.keying) {
            keying.settle();
        }
        match (opened, &mut channel.former) {
            (Err(fault), Some(former)) => open(former).map_err(|_| fault),
            (opened, _) => opened,
        }
    }
}

impl Channel {
    fn new(keys: Keys) -> Self {
        let (sender, receiver) = (SrtpSender::new(&keys.ours), SrtpReceiver::new(&keys.peers));
        Self { keys, sender, receiver, former: None }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::crypto::CryptoCause;
    use super::*;
    use crate::sip::Sdp;

    /// The lines of a section with a key that begins with `letter`.
    fn lines(protocol: &str, suite: &str, letter: char) -> Lines {
        let text = format!(
            "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 6000 {protocol} 0\r\n\
             a=crypto:1 {suite} inline:{letter}{}\r\n",
            "A".repeat(39)
        );
        Lines::read(&Sdp::parse(text.as_bytes()).unwrap().media().next().unwrap().unwrap())
    }

    fn secure(letter: char) -> Lines {
        lines("RTP/SAVP", "AES_CM_128_HMAC_SHA1_80", letter)
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        [&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], &[5; 20], &[0; 16]].concat()
    }

    /// Sends a packet from one side to the other.
    fn send(from: &mut Protection, to: &mut Protection, sequence: u16) -> Result<(), SrtpFault> {
        let mut packet = packet(sequence);
        let len = from.protect(&mut packet, 32).unwrap();
        let mut out = Vec::new();
        to.unprotect(&packet[..len], false, &mut out)?;
        assert_eq!(out[12..], [5; 20]);
        Ok(())
    }

    #[test]
    fn a_sender_is_kept_while_its_key_is() {
        let [mut a, mut b] = [Protection::default(), Protection::default()];
        let describe = |a: &mut Protection, b: &mut Protection, offer, answer| {
            a.describe(Side::Ours, offer).unwrap();
            b.describe(Side::Peers, offer).unwrap();
            b.describe(Side::Ours, answer).unwrap();
            a.describe(Side::Peers, answer).unwrap();
        };
        describe(&mut a, &mut b, secure('B'), secure('C'));
        // Once around all sequence numbers: new ends would count rollovers from zero.
        for sequence in [0, 0x7000, 0xe000, 0x1000] {
            send(&mut a, &mut b, sequence).unwrap();
        }
        describe(&mut a, &mut b, secure('B'), secure('C'));
        send(&mut a, &mut b, 0x1001).unwrap();
        assert_eq!(send(&mut a, &mut b, 0x1001), Err(SrtpFault::Replayed));
        // A packet of the old key that was on its way is still read.
        let mut late = packet(0x1002);
        let len = a.protect(&mut late, 32).unwrap();
        describe(&mut a, &mut b, secure('D'), secure('C'));
        send(&mut a, &mut b, 0x1003).unwrap();
        b.unprotect(&late[..len], false, &mut Vec::new()).unwrap();
        send(&mut b, &mut a, 7).unwrap();
    }

    #[test]
    fn only_an_answer_is_a_fault_or_ends_protection() {
        let other = lines("RTP/SAVP", "AES_CM_128_HMAC_SHA1_32", 'E');
        let clear = Lines::without_key(true);
        let mut side = Protection::default();
        side.describe(Side::Ours, secure('B')).unwrap();
        assert!(!side.is_on());
        side.describe(Side::Peers, secure('C')).unwrap();
        // The final response repeats the early one, and the offer after it stays an offer.
        side.describe(Side::Peers, secure('C')).unwrap();
        side.describe(Side::Ours, other).unwrap();
        assert!(side.is_on());
        let fault = side.describe(Side::Peers, secure('C')).unwrap_err();
        assert_eq!((fault.side, fault.cause), (Side::Peers, CryptoCause::NoCommonSuite));
        assert!(!side.is_on() && !side.is_over());
        side.describe(Side::Peers, clear).unwrap();
        side.describe(Side::Ours, clear).unwrap();
        assert!(side.is_over());
        // Nobody who asked for protection is answered in the clear.
        let mut side = Protection::after_clear(true, false);
        let fault = side.describe(Side::Peers, secure('C')).unwrap_err();
        assert_eq!((fault.side, fault.cause), (Side::Ours, CryptoCause::NoKey));
        let mut side = Protection::after_clear(true, false);
        side.describe(Side::Peers, lines("RTP/AVP", "NULL_HMAC_SHA1_80", 'C')).unwrap();
        assert!(!side.is_on());
    }
}
