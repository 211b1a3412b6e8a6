//! A model of the receiver's jitter buffer, which says which packets it would play. Packets that
//! come too late for it are as good as lost (RFC 3611 section 4.7.1 calls them discarded).

/// A jitter buffer.
///
/// A packet waits for its time to be played: the depth of the buffer after the moment at which it
/// would have come on the fastest way that packets took lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// A buffer that always has the same depth.
    Fixed {
        /// Depth in milliseconds.
        depth_ms: u16,
    },
    /// A buffer whose depth is four times the jitter, within limits. Four deviations are what
    /// receivers commonly wait for since Ramjee, Kurose, Towsley and Schulzrinne (INFOCOM 1994).
    Adaptive {
        /// Least depth in milliseconds.
        min_ms: u16,
        /// Highest depth in milliseconds.
        max_ms: u16,
    },
}

/// 60 ms are three packets of 20 ms, and the delay that common gateways begin with. A fixed buffer
/// is the default because it judges all runs by one measure: an adaptive one forgives a network
/// that becomes worse slowly.
impl Default for Buffer {
    fn default() -> Self {
        Self::Fixed { depth_ms: 60 }
    }
}

impl Buffer {
    /// Loss concealment and the kind of the buffer, as RFC 3611 section 4.7.6 has them: standard
    /// concealment, which the planning values of codecs assume, and adaptive or not.
    pub(super) fn receiver_bits(self) -> u8 {
        match self {
            Self::Fixed { .. } => 0b1110_0000,
            Self::Adaptive { .. } => 0b1111_0000,
        }
    }

    /// The highest depth in milliseconds.
    pub(super) fn max_ms(self) -> u16 {
        match self {
            Self::Fixed { depth_ms } => depth_ms,
            Self::Adaptive { min_ms, max_ms } => max_ms.max(min_ms),
        }
    }
}

fn ns(ms: u16) -> u64 {
    u64::from(ms) * 1_000_000
}

/// Packets too late in a row until the buffer begins anew. For one second of packets of 20 ms
/// nothing was played then; no receiver waits longer.
const LATE_IN_A_ROW: u8 = 50;

/// The fastest way becomes slower by 1/5000: a sender's clock that is slower than ours by as many
/// 200 ppm would make all packets late some day.
const DRIFT: u64 = 5_000;

/// A jitter buffer at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Playout {
    buffer: Buffer,
    /// Transit time of the fastest way.
    fastest_ns: i64,
    late_in_a_row: u8,
}

impl Playout {
    /// A buffer before the first packet.
    pub(super) fn new(buffer: Buffer) -> Self {
        Self { buffer, fastest_ns: 0, late_in_a_row: 0 }
    }

    /// The kind of the buffer.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// Begins, or begins anew, with a packet of this transit time.
    pub(super) fn begin(&mut self, transit_ns: i64) {
        (self.fastest_ns, self.late_in_a_row) = (transit_ns, 0);
    }

    /// The depth at some jitter.
    pub(super) fn depth_ns(&self, jitter_ns: u64) -> u64 {
        match self.buffer {
            Buffer::Fixed { depth_ms } => ns(depth_ms),
            Buffer::Adaptive { min_ms, max_ms } => {
                jitter_ns.saturating_mul(4).min(ns(max_ms)).max(ns(min_ms))
            }
        }
    }

    /// Tells whether a packet is played. `elapsed_ns` is the time since the packet before it came.
    pub(super) fn plays(&mut self, transit_ns: i64, elapsed_ns: u64, depth_ns: u64) -> bool {
        let fastest_ns = self.fastest_ns.wrapping_add((elapsed_ns / DRIFT) as i64);
        let late_ns = transit_ns.wrapping_sub(fastest_ns);
        if late_ns <= 0 {
            self.begin(transit_ns);
            return true;
        }
        self.fastest_ns = fastest_ns;
        if late_ns as u64 <= depth_ns {
            self.late_in_a_row = 0;
            return true;
        }
        self.late_in_a_row += 1;
        if self.late_in_a_row == LATE_IN_A_ROW {
            self.begin(transit_ns);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const PACKET_NS: u64 = 20_000_000;
    const DEPTH_NS: u64 = 60_000_000;

    #[test]
    fn a_packet_waits_for_the_depth_after_the_fastest_way() {
        let mut playout = Playout::new(Buffer::default());
        playout.begin(500 * MS);
        let mut plays = |transit_ms| playout.plays(transit_ms * MS, PACKET_NS, DEPTH_NS);
        assert!(plays(500) && plays(559) && plays(560) && !plays(561));
        // A faster way is the measure from now on.
        assert!(plays(450) && !plays(511) && plays(510));
    }

    #[test]
    fn a_slower_way_is_the_measure_after_a_second() {
        let mut playout = Playout::new(Buffer::default());
        playout.begin(0);
        let played: Vec<bool> =
            (0..60).map(|_| playout.plays(200 * MS, PACKET_NS, DEPTH_NS)).collect();
        assert_eq!(played.iter().position(|&played| played), Some(50));
        assert!(played[50..].iter().all(|&played| played));
    }

    #[test]
    fn a_slow_clock_does_not_make_all_packets_late() {
        let mut playout = Playout::new(Buffer::default());
        playout.begin(0);
        // 100 ppm for three hours are a second.
        for packet in 0..540_000 {
            let jitter_ns = if packet % 10 == 0 { 0 } else { 30 * MS };
            let transit_ns = packet * PACKET_NS as i64 / 10_000 + jitter_ns;
            assert!(playout.plays(transit_ns, PACKET_NS, DEPTH_NS), "{packet}");
        }
    }

    #[test]
    fn an_adaptive_buffer_follows_the_jitter_within_its_limits() {
        let buffer = Playout::new(Buffer::Adaptive { min_ms: 40, max_ms: 200 });
        assert_eq!(buffer.depth_ns(0), 40_000_000);
        assert_eq!(buffer.depth_ns(20_000_000), 80_000_000);
        assert_eq!(buffer.depth_ns(u64::MAX), 200_000_000);
        assert_eq!(Playout::new(Buffer::default()).depth_ns(u64::MAX), 60_000_000);
        // Limits the wrong way round are no panic.
        let reversed = Playout::new(Buffer::Adaptive { min_ms: 9, max_ms: 3 });
        assert_eq!(reversed.depth_ns(0), 9_000_000);
    }
}
