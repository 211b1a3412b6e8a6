//! Sequence numbers of one source (RFC 3550 appendix A.1).

/// The longest jump ahead that is loss. A longer one is another stream, until proven otherwise.
const DROPOUT_MAX: u16 = 3_000;
/// The farthest that a packet of the same stream comes behind a later one.
const MISORDER_MAX: u16 = 100;

/// Tells whether two sequence numbers can be of one stream and are not the same.
pub(super) fn are_near(one: u16, other: u16) -> bool {
    let ahead = other.wrapping_sub(one);
    (1..DROPOUT_MAX).contains(&ahead) || ahead > 0u16.wrapping_sub(MISORDER_MAX)
}

/// The sequence numbers seen of one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    /// Highest sequence number, with the number of cycles above its 16 bits.
    highest: u32,
    /// Sequence numbers from the first one to the highest.
    span: u32,
    /// The last ones that were seen; the lowest bit is that of the highest number. In bytes, so
    /// that a stream has no gaps for alignment.
    seen: [u8; 16],
}

/// The place of a packet among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// So far ahead of all others; 1 without loss.
    Ahead(u16),
    /// So far behind the highest, and so far before the first one, if it is.
    Behind {
        /// Distance to the highest.
        by: u16,
        /// Distance to the first one.
        before_first: u16,
    },
    /// The packet was here before.
    Duplicate,
    /// Too far from the others to be one of them.
    Elsewhere,
}

impl Sequence {
    /// A source that begins with this number.
    pub(super) fn beginning(sequence: u16) -> Self {
        Self { highest: sequence.into(), span: 1, seen: 1u128.to_ne_bytes() }
    }

    /// Takes a packet.
    pub(super) fn place(&mut self, sequence: u16) -> Place {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        let seen = u128::from_ne_bytes(self.seen);
        if (1..DROPOUT_MAX).contains(&ahead) {
            self.highest = self.highest.wrapping_add(ahead.into());
            self.span = self.span.saturating_add(ahead.into());
            let seen = seen.checked_shl(ahead.into()).unwrap_or(0) | 1;
            self.seen = seen.to_ne_bytes();
            return Place::Ahead(ahead);
        }
        let by = 0u16.wrapping_sub(ahead);
        if by >= MISORDER_MAX {
            return Place::Elsewhere;
        }
        if seen & (1 << by) != 0 {
            return Place::Duplicate;
        }
        self.seen = (seen | 1 << by).to_ne_bytes();
        let span = self.span.max(u32::from(by) + 1);
        let before_first = (span - self.span) as u16;
        self.span = span;
        Place::Behind { by, before_first }
    }

    /// The highest sequence number, with its cycles, as reports have it.
    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    /// Packets that the source has sent, from the first to the last that we know of.
    pub(super) fn span(&self) -> u32 {
        self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sequences: &[u16]) -> Vec<Place> {
        let mut sequence = Sequence::beginning(sequences[0]);
        sequences[1..].iter().map(|&number| sequence.place(number)).collect()
    }

    #[test]
    fn numbers_wrap_and_count_their_cycles() {
        let mut sequence = Sequence::beginning(65_534);
        for number in [65_535, 0, 2, 1] {
            sequence.place(number);
        }
        assert_eq!((sequence.highest(), sequence.span()), (0x1_0002, 5));
    }

    #[test]
    fn a_packet_is_ahead_behind_a_duplicate_or_elsewhere() {
        let behind = |by, before_first| Place::Behind { by, before_first };
        assert_eq!(places(&[10, 11, 14, 12]), [Place::Ahead(1), Place::Ahead(3), behind(2, 0)]);
        assert_eq!(places(&[10, 10]), [Place::Duplicate]);
        assert_eq!(places(&[10, 8, 9, 8]), [behind(2, 2), behind(1, 0), Place::Duplicate]);
        // The limits of the RFC.
        assert_eq!(places(&[0, 2_999]), [Place::Ahead(2_999)]);
        assert_eq!(places(&[0, 3_000]), [Place::Elsewhere]);
        assert_eq!(places(&[0, 65_437]), [behind(99, 99)]);
        assert_eq!(places(&[0, 65_436]), [Place::Elsewhere]);
        // What is far behind is forgotten, and what is near is not.
        assert_eq!(places(&[0, 2_999, 2_900]), [Place::Ahead(2_999), behind(99, 0)]);
    }

    #[test]
    fn numbers_are_near_if_one_stream_can_have_both() {
        for (one, other, expected) in [
            (5, 5, false),
            (5, 6, true),
            (65_535, 0, true),
            (0, 65_535, true),
            (0, 2_999, true),
            (0, 3_000, false),
            (0, 65_437, true),
            (0, 65_436, false),
        ] {
            assert_eq!(are_near(one, other), expected, "{one} {other}");
        }
    }
}
