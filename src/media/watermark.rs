//! Watermarks in computed audio: each stream has its own, so that a receiver notices audio of
//! another call.
//!
//! A watermark is written into the lowest bits of the first bytes of a payload of G.711, a bit for
//! each, while the packet is built; clips are shared and have none. It changes a sample by one step
//! of the law at most. A relay that leaves payloads as they are leaves watermarks. One that codes,
//! mixes or cuts them anew does not, and then nothing is known.
//!
//! A watermark names its sender, and the sender whose watermarks that one hears. So a receiver
//! needs to know nothing of who its partner is: if a sender hears another stream, one of both hears
//! a wrong call.

/// Payload bytes that carry a watermark: eight for each of its own.
pub const MARKED_BYTES: usize = 8 * MARK;
/// Bytes of a watermark: what tells it from audio, two names, and a check.
const MARK: usize = 12;
const SYNC: u16 = 0xa35c;
/// The lowest bit of each byte of a word.
const LOW: u64 = 0x0101_0101_0101_0101;

/// A watermark that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The sender.
    pub sender: u32,
    /// The sender whose watermarks it hears; 0 for none.
    pub hears: u32,
}

impl Watermark {
    /// Writes the watermark into a payload that has room for it.
    pub fn write(self, payload: &mut [u8]) {
        let mut bytes = [0; MARK];
        bytes[..2].copy_from_slice(&SYNC.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.sender.to_le_bytes());
        bytes[6..10].copy_from_slice(&self.hears.to_le_bytes());
        bytes[10..].copy_from_slice(&self.check().to_le_bytes());
        let Some(marked) = payload.get_mut(..MARKED_BYTES) else { return };
        let (groups, _) = marked.as_chunks_mut::<8>();
        for (group, byte) in groups.iter_mut().zip(bytes) {
            let word = u64::from_le_bytes(*group) & !LOW | spread(byte);
            *group = word.to_le_bytes();
        }
    }

    /// Reads the watermark of a payload; `None` if it has none.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (groups, _) = payload.get(..MARKED_BYTES)?.as_chunks::<8>();
        let byte = |at: usize| gather(u64::from_le_bytes(groups[at]));
        // Most payloads of others end here.
        if [byte(0), byte(1)] != SYNC.to_le_bytes() {
            return None;
        }
        let name =
            |at: usize| u32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
        let watermark = Self { sender: name(2), hears: name(6) };
        (watermark.check().to_le_bytes() == [byte(10), byte(11)]).then_some(watermark)
    }

    /// A number that differs for nearly all others. The factor is that of Fibonacci hashing.
    fn check(self) -> u16 {
        let both = u64::from(self.sender) << 32 | u64::from(self.hears);
        (both.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
    }
}

/// The bits of `byte` as the lowest bits of eight bytes, the lowest one first.
fn spread(byte: u8) -> u64 {
    let each = u64::from(byte).wrapping_mul(LOW) & 0x8040_2010_0804_0201;
    // What is left of each byte is 0 or a single bit, which the sum carries to the top.
    (each + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & LOW
}

/// The lowest bits of eight bytes as a byte.
fn gather(word: u64) -> u8 {
    // Each factor moves one of the bits to its place in the top byte, and no two meet elsewhere.
    ((word & LOW).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// Watermarks of one sender in sequence after which it counts as heard.
const HEARD_AFTER: u8 = 2;
/// Packets in sequence of a sender that hears another stream, from which on they are cross-talk:
/// 200 ms. A partner that has just changed, as by a transfer, hears the one before for as long as
/// its packets are under way.
const FOREIGN_AFTER: u8 = 10;

/// The watermarks that a stream receives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watermarks {
    last: u32,
    /// Times in sequence that the last sender was heard.
    same: u8,
    /// The last sender that heard another stream, and its packets in sequence that said so.
    suspect: u32,
    foreign: u8,
    /// True once another sender was heard.
    pub(super) any: bool,
    /// Packets that showed cross-talk.
    pub(super) crosstalk: u32,
}

impl Watermarks {
    /// Takes a watermark that came to the stream whose own is `own`. Returns the sender that it
    /// hears.
    pub(super) fn take(&mut self, watermark: Watermark, own: u32) -> Option<u32> {
        if watermark.sender == own {
            // Our own audio, sent back.
            return None;
        }
        self.same = if self.last == watermark.sender { self.same.saturating_add(1) } else { 1 };
        self.last = watermark.sender;
        if watermark.hears != 0 && watermark.hears != own {
            self.note_foreign(watermark.sender);
        } else if watermark.sender == self.suspect {
            self.foreign = 0;
        }
        self.any |= self.same >= HEARD_AFTER;
        (self.same >= HEARD_AFTER).then_some(watermark.sender)
    }

    /// Takes a packet of a sender that hears another stream. Packets of others may lie between two
    /// of them, where somebody mixes up two streams.
    fn note_foreign(&mut self, sender: u32) {
        let is_same = self.suspect == sender;
        self.foreign = if is_same { self.foreign.saturating_add(1) } else { 1 };
        self.suspect = sender;
        let shown = match self.foreign {
            FOREIGN_AFTER => FOREIGN_AFTER.into(),
            count => u32::from(count > FOREIGN_AFTER),
        };
        self.crosstalk = self.crosstalk.saturating_add(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_changes_the_lowest_bits_only_and_comes_back() {
        for (sender, hears) in [(0, 0), (1, u32::MAX), (0x1234_5678, 0x9abc_def0), (u32::MAX, 1)] {
            let watermark = Watermark { sender, hears };
            let clean: Vec<u8> = (0..160).map(|at: u32| (at * 37) as u8).collect();
            let mut payload = clean.clone();
            watermark.write(&mut payload);
            assert_eq!(Watermark::read(&payload), Some(watermark));
            let differs = |(a, b): (&u8, &u8)| (a ^ b) > 1;
            assert!(!clean.iter().zip(&payload).any(differs));
            assert_eq!(clean[MARKED_BYTES..], payload[MARKED_BYTES..]);
            // One wrong bit is enough.
            for at in 0..MARKED_BYTES {
                payload[at] ^= 1;
                assert_eq!(Watermark::read(&payload), None, "{at}");
                payload[at] ^= 1;
            }
        }
    }

    #[test]
    fn audio_without_a_mark_has_none_and_a_short_payload_no_room() {
        for byte in 0..=u8::MAX {
            assert_eq!(Watermark::read(&[byte; 160]), None);
        }
        let mut short = [0x55; MARKED_BYTES - 1];
        Watermark { sender: 1, hears: 2 }.write(&mut short);
        assert_eq!(short, [0x55; MARKED_BYTES - 1]);
        assert_eq!(Watermark::read(&short), None);
    }

    #[test]
    fn a_sender_that_goes_on_hearing_another_stream_shows_crosstalk() {
        let (own, partner, other) = (1, 2, 3);
        let mut watermarks = Watermarks::default();
        let mut take = |sender, hears, times| {
            let taken =
                (0..times).map(|_| watermarks.take(Watermark { sender, hears }, own)).last();
            (taken.unwrap(), watermarks.crosstalk)
        };
        // Our own audio is no partner, and a first packet is not enough for one.
        assert_eq!(take(own, partner, 20), (None, 0));
        assert_eq!(take(partner, 0, 1), (None, 0));
        assert_eq!(take(partner, 0, 1), (Some(partner), 0));
        assert_eq!(take(partner, own, 100), (Some(partner), 0));
        // A new partner still hears the one before.
        assert_eq!(take(other, 9, 9), (Some(other), 0));
        assert_eq!(take(other, own, 5), (Some(other), 0));
        assert_eq!(take(other, 9, 9), (Some(other), 0));
        assert_eq!(take(other, 9, 6), (Some(other), 15));
        // The partner is heard between two packets of the other one.
        for count in 16..20 {
            take(partner, own, 1);
            assert_eq!(take(other, 9, 1).1, count);
        }
        assert!(watermarks.any);
    }
}
