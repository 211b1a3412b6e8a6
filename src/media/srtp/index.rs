//! Indexes of packets: sequence numbers with their rollovers, and the window of those received.

use super::SrtpFault;

/// Number of packets behind the newest one of which is known whether they were received.
const WINDOW: u64 = 128;
/// Half of the sequence numbers.
const HALF: i32 = 1 << 15;

/// The index of a packet with the sequence number, if `newest` is the newest so far (RFC 3711
/// section 3.3.1 and appendix A).
pub(super) fn estimate(newest: Option<u64>, sequence: u16) -> Result<u64, SrtpFault> {
    let Some(newest) = newest else { return Ok(sequence.into()) };
    let (mut rollovers, last) = (newest >> 16, i32::from(newest as u16));
    let given = i32::from(sequence);
    if last < HALF && given - last > HALF {
        // Before the first packet there is nothing that could be late.
        rollovers = rollovers.checked_sub(1).ok_or(SrtpFault::TooOld)?;
    } else if last >= HALF && last - HALF > given {
        rollovers += 1;
    }
    if rollovers > u32::MAX.into() {
        return Err(SrtpFault::KeyExhausted);
    }
    Ok(rollovers << 16 | u64::from(sequence))
}

/// The packets that were received of one source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// Bit `n` is set if the packet `n` behind the newest one was received; zero before the first.
    received: u128,
    newest: u64,
    ssrc: u32,
}

/// The packets that were received of the latest two sources. A second one is enough for a peer that
/// changes its SSRC while packets of the old one are on their way.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// The source used last comes first.
    sources: [Source; 2],
}

impl Received {
    /// The newest index of a source.
    pub(super) fn newest(&self, ssrc: u32) -> Option<u64> {
        self.source(ssrc).map(|source| source.newest)
    }

    /// Fails for an index that was received before, or is too old to tell.
    pub(super) fn check(&self, ssrc: u32, index: u64) -> Result<(), SrtpFault> {
        let Some(source) = self.source(ssrc) else { return Ok(()) };
        let Some(behind) = source.newest.checked_sub(index) else { return Ok(()) };
        if behind >= WINDOW {
            return Err(SrtpFault::TooOld);
        }
        if source.received >> behind & 1 != 0 { Err(SrtpFault::Replayed) } else { Ok(()) }
    }

    /// Notes an index that passed the check, and whose packet is authentic.
    pub(super) fn note(&mut self, ssrc: u32, index: u64) {
        let is_it = |source: &Source| source.ssrc == ssrc && source.received != 0;
        if !is_it(&self.sources[0]) {
            self.sources.swap(0, 1);
            if !is_it(&self.sources[0]) {
                self.sources[0] = Source { ssrc, newest: index, received: 1 };
                return;
            }
        }
        let source = &mut self.sources[0];
        match index.checked_sub(source.newest) {
            Some(ahead) => {
                let kept =
                    u32::try_from(ahead).ok().and_then(|ahead| source.received.checked_shl(ahead));
                source.received = kept.unwrap_or(0) | 1;
                source.newest = index;
            }
            None => source.received |= 1 << (source.newest - index),
        }
    }

    fn source(&self, ssrc: u32) -> Option<&Source> {
        self.sources.iter().find(|source| source.ssrc == ssrc && source.received != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_one_nearest_to_the_newest() {
        for (newest, sequence, index) in [
            (None, 40_000, Ok(40_000)),
            (Some(0xffff), 0, Ok(0x1_0000)),
            (Some(0x1_0000), 0xffff, Ok(0xffff)),
            (Some(5), 0xffff, Err(SrtpFault::TooOld)),
            (Some(0x2_1234), 0x1235, Ok(0x2_1235)),
            // Half of the numbers apart, the rollovers stay.
            (Some(0x2_0000), 0x8000, Ok(0x2_8000)),
            (Some(0x2_8000), 0x0000, Ok(0x2_0000)),
            (Some(0x2_0000), 0x8001, Ok(0x1_8001)),
            (Some(0x2_8001), 0x0000, Ok(0x3_0000)),
            (Some((1 << 48) - 1), 0, Err(SrtpFault::KeyExhausted)),
        ] {
            assert_eq!(estimate(newest, sequence), index, "{newest:?} {sequence}");
        }
    }

    #[test]
    fn the_window_knows_the_last_packets_and_refuses_older_ones() {
        let mut received = Received::default();
        for index in [1_000, 1_001, 1_100] {
            assert_eq!(received.check(1, index), Ok(()));
            received.note(1, index);
            assert_eq!(received.check(1, index), Err(SrtpFault::Replayed));
        }
        assert_eq!(received.check(1, 1_100 - WINDOW + 1), Ok(()));
        assert_eq!(received.check(1, 1_100 - WINDOW), Err(SrtpFault::TooOld));
        assert_eq!(received.check(1, 1_000), Err(SrtpFault::Replayed));
        received.note(1, 1_101 + WINDOW);
        assert_eq!(received.check(1, 1_102), Ok(()));
        received.note(1, u64::MAX >> 16);
        assert_eq!(received.newest(1), Some(u64::MAX >> 16));
    }

    #[test]
    fn a_second_source_leaves_the_first_one_as_it_was() {
        let mut received = Received::default();
        received.note(1, 70_000);
        received.note(2, 5);
        assert_eq!(received.newest(1), Some(70_000));
        assert_eq!(received.check(1, 70_000), Err(SrtpFault::Replayed));
        received.note(1, 70_001);
        received.note(3, 9);
        assert_eq!((received.newest(1), received.newest(2)), (Some(70_001), None));
    }
}
