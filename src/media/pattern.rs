//! The check of patterns: what a stream plays as a pattern is to come back from its peer.
//!
//! SIPp compares each packet that it sends with the last one that it has read by then, and so
//! judges its own timing, too. Here packets are counted: those that came back as they were, and all
//! others.

use super::tone;

/// Packets that may still be under way when a stream ends, if any has come back: those of 200 ms.
const UNDER_WAY_MAX: u64 = 10;

/// Counts of a stream that plays a pattern.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PatternCheck {
    number: u8,
    byte: u8,
    /// Payload bytes of a packet.
    len: u16,
    sent: u64,
    good: u64,
    wrong: u64,
    /// Packets that had been sent when the last one came back.
    sent_before: u64,
    first_wrong: Option<WrongPayload>,
}

/// A payload that is not that of the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPayload {
    /// Sequence number of the packet.
    pub sequence: u16,
    /// Offset of the first wrong byte; that of the end if the payload is too short.
    pub offset: u16,
    /// The byte there, if there is one.
    pub byte: Option<u8>,
}

/// The outcome of the check of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternReport {
    /// Number of the pattern, from 1; of the last one, if there were several.
    pub number: u8,
    /// Packets sent, without those that may still be under way.
    pub sent: u64,
    /// Packets that came back as they were.
    pub good: u64,
    /// Packets that came with another payload.
    pub wrong: u64,
    /// The first of those.
    pub first_wrong: Option<WrongPayload>,
    /// True if the packets were encrypted.
    pub is_protected: bool,
    /// True if as many packets as are not tolerated did not come back as they were.
    pub is_failed: bool,
}

impl PatternReport {
    /// Packets sent that did not come back as they were.
    pub fn bad(&self) -> u64 {
        self.sent.saturating_sub(self.good)
    }
}

impl PatternCheck {
    /// Counts a packet of pattern `number` that was sent with `len` bytes of payload.
    pub(super) fn note_sent(&mut self, number: u8, len: usize) {
        if let Some(byte) = tone::pattern_byte(number) {
            (self.number, self.byte, self.len) = (number, byte, len as u16);
            self.sent += 1;
        }
    }

    /// Compares a payload that was received.
    pub(super) fn receive(&mut self, sequence: u16, payload: &[u8]) {
        let differs = payload.iter().position(|&byte| byte != self.byte);
        if differs.is_none() && payload.len() == usize::from(self.len) {
            self.good += 1;
            self.sent_before = self.sent;
            return;
        }
        self.wrong += 1;
        let offset = differs.unwrap_or(payload.len().min(self.len.into()));
        self.first_wrong.get_or_insert(WrongPayload {
            sequence,
            offset: offset.try_into().unwrap_or(u16::MAX),
            byte: payload.get(offset).copied(),
        });
    }

    /// The outcome, if a packet was sent. The check fails if the share of bad packets is
    /// `tolerance` or more, as in SIPp.
    pub(super) fn report(&self, tolerance: f64, is_protected: bool) -> Option<PatternReport> {
        let under_way = match self.good + self.wrong {
            0 => 0,
            _ => (self.sent - self.sent_before).min(UNDER_WAY_MAX),
        };
        let sent = self.sent - under_way;
        let bad = sent.saturating_sub(self.good);
        let report = PatternReport {
            number: self.number,
            sent,
            good: self.good,
            wrong: self.wrong,
            first_wrong: self.first_wrong,
            is_protected,
            is_failed: bad as f64 >= tolerance * sent as f64,
        };
        (sent > 0).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of `sent` packets of the first pattern, of which `good` came back, and then `wrong`.
    fn check(sent: u64, good: u64, wrong: u64) -> PatternCheck {
        let mut check = PatternCheck::default();
        for at in 0..sent {
            check.note_sent(1, 160);
            if at < good {
                check.receive(at as u16, &[0xaa; 160]);
            } else if at < good + wrong {
                let mut payload = [0xaa; 160];
                payload[7] ^= 0x80;
                check.receive(at as u16, &payload);
            }
        }
        check
    }

    #[test]
    fn as_many_bad_packets_as_are_not_tolerated_fail_the_check() {
        let fails =
            |check: PatternCheck, tolerance| check.report(tolerance, false).unwrap().is_failed;
        for (sent, good, wrong, tolerance, is_failed) in [
            (100, 100, 0, 1.0, false),
            (100, 0, 0, 1.0, true),
            (100, 0, 100, 1.0, true),
            (100, 1, 99, 1.0, false),
            (100, 75, 25, 0.25, true),
            (100, 76, 24, 0.25, false),
            (100, 100, 0, 0.0, true),
            (100, 0, 0, 1.1, false),
        ] {
            let text = format!("{good} of {sent}, {wrong} wrong, {tolerance} tolerated");
            // No packet is under way: the last one has come.
            let mut check = check(sent, good, wrong);
            check.sent_before = sent;
            assert_eq!(fails(check, tolerance), is_failed, "{text}");
        }
        assert!(PatternCheck::default().report(0.0, false).is_none());
    }

    #[test]
    fn packets_under_way_at_the_end_are_not_bad_and_a_peer_that_falls_silent_is() {
        let report = |sent, good| check(sent, good, 0).report(1.0, true).unwrap();
        assert_eq!((report(100, 93).sent, report(100, 93).bad()), (93, 0));
        assert_eq!((report(100, 50).sent, report(100, 50).bad()), (90, 40));
        // Nothing came at all: nothing was under way.
        assert_eq!((report(5, 0).sent, report(5, 0).bad()), (5, 5));
    }

    #[test]
    fn the_first_wrong_payload_is_told() {
        let wrong = |payload: &[u8]| {
            let mut check = check(2, 1, 0);
            check.receive(40, payload);
            check.receive(41, &[]);
            check.first_wrong.unwrap()
        };
        let mut damaged = [0xaa; 160];
        damaged[9] = 0x2a;
        let first = |offset, byte| WrongPayload { sequence: 40, offset, byte };
        assert_eq!(wrong(&damaged), first(9, Some(0x2a)));
        assert_eq!(wrong(&[0xaa; 80]), first(80, None));
        assert_eq!(wrong(&[0xaa; 200]), first(160, Some(0xaa)));
    }
}
