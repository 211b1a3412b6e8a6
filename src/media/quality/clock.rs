//! The sender's clock: how long packets were on their way, and the jitter of that (RFC 3550 section
//! 6.4.1 and appendix A.8).

const SECOND_NS: i64 = 1_000_000_000;

/// A longer step of the transit time is no jitter: the sender's clock has jumped, as after a hold,
/// or another source has begun. No jitter buffer would wait so long.
const JUMP_NS: u64 = 2 * SECOND_NS as u64;

/// Times of the packets of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Timestamp of the last packet.
    timestamp: u32,
    /// The same in nanoseconds, from the first packet on.
    media_ns: i64,
    /// Time of arrival minus time of the sender: the way, and an offset that nobody knows.
    transit_ns: i64,
    /// Sixteen times the jitter, so that rounding does not pile up.
    jitter_scaled: u64,
    jitter_max_ns: u32,
}

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transit {
    /// The transit time.
    Ns(i64),
    /// The transit time, after a jump of the sender's clock.
    Jumped(i64),
}

impl Clock {
    /// Begins with the first packet of a source. Jitter goes on from what it was.
    pub(super) fn begin(&mut self, timestamp: u32, received_ns: u64) -> i64 {
        (self.timestamp, self.media_ns) = (timestamp, 0);
        self.transit_ns = received_ns as i64;
        self.transit_ns
    }

    /// Takes the next packet, in the order of arrival.
    pub(super) fn take(&mut self, timestamp: u32, received_ns: u64, clock_rate: u32) -> Transit {
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let step_ns = ticks * SECOND_NS / i64::from(clock_rate.max(1));
        self.timestamp = timestamp;
        // Sums of lies wrap; differences stay right.
        self.media_ns = self.media_ns.wrapping_add(step_ns);
        let transit_ns = (received_ns as i64).wrapping_sub(self.media_ns);
        let difference_ns = transit_ns.wrapping_sub(self.transit_ns).unsigned_abs();
        self.transit_ns = transit_ns;
        if difference_ns > JUMP_NS {
            return Transit::Jumped(transit_ns);
        }
        self.jitter_scaled += difference_ns;
        self.jitter_scaled -= (self.jitter_scaled - difference_ns + 8) >> 4;
        // No more than a jump, so it has room.
        self.jitter_max_ns = self.jitter_max_ns.max(self.jitter_ns() as u32);
        Transit::Ns(transit_ns)
    }

    /// The jitter.
    pub(super) fn jitter_ns(&self) -> u64 {
        self.jitter_scaled >> 4
    }

    /// The highest jitter so far.
    pub(super) fn jitter_max_ns(&self) -> u64 {
        self.jitter_max_ns.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_NS: u64 = 20_000_000;

    #[test]
    fn a_steady_stream_has_no_jitter() {
        let mut clock = Clock::default();
        // The timestamp wraps on the way.
        let mut timestamp = u32::MAX - 400;
        let transit = clock.begin(timestamp, 7);
        for packet in 1..100 {
            timestamp = timestamp.wrapping_add(160);
            assert_eq!(clock.take(timestamp, 7 + packet * PACKET_NS, 8000), Transit::Ns(transit));
        }
        assert_eq!((clock.jitter_ns(), clock.jitter_max_ns()), (0, 0));
    }

    /// `J += (|D| - J) / 16`, with a step of 16 ms forth and back.
    #[test]
    fn jitter_follows_the_formula_of_the_rfc() {
        let mut clock = Clock::default();
        clock.begin(0, 0);
        let mut expected = 0.0f64;
        for packet in 1..200u64 {
            let delay_ns = if packet % 3 == 0 { 16_000_000 } else { 0 };
            let step_ns: f64 = if packet % 3 == 2 { 0.0 } else { 16_000_000.0 };
            let step_ns = if packet == 1 { 0.0 } else { step_ns };
            clock.take(packet as u32 * 160, packet * PACKET_NS + delay_ns, 8000);
            expected += (step_ns - expected) / 16.0;
            assert!((clock.jitter_ns() as f64 - expected).abs() < 2.0, "{packet}");
        }
        assert!(clock.jitter_max_ns() >= clock.jitter_ns());
    }

    #[test]
    fn a_clock_that_jumps_is_no_jitter() {
        let mut clock = Clock::default();
        clock.begin(0, 0);
        clock.take(160, PACKET_NS, 8000);
        // A hold of ten seconds, after which the timestamps go on as if there had been none.
        let held_ns = 10_000_000_000;
        let transit = held_ns as i64;
        assert_eq!(clock.take(320, 2 * PACKET_NS + held_ns, 8000), Transit::Jumped(transit));
        assert_eq!(clock.take(480, 3 * PACKET_NS + held_ns, 8000), Transit::Ns(transit));
        assert_eq!(clock.jitter_max_ns(), 0);
    }

    #[test]
    fn a_clock_that_lies_does_no_harm() {
        let mut clock = Clock::default();
        clock.begin(0, u64::MAX);
        for packet in 0..100_000u32 {
            clock.take(packet.wrapping_mul(0x7fff_ffff), u64::from(packet) << 40, 1);
            clock.take(0, 0, 0);
        }
        assert!(clock.jitter_max_ns() <= JUMP_NS);
    }
}
