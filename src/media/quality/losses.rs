//! Packets that were played and others that were not, in the order of sending: intervals, bursts
//! and gaps.

/// Packets played in a row that end a burst (RFC 3611 section 4.7.2 recommends this number).
pub(super) const GAP_MIN: u8 = 16;

/// Packets that may still be played when a later one is there. Those that come later than so many
/// others are too late for any jitter buffer.
const WINDOW: u32 = u64::BITS;

/// The packets of a stream, decided one after the other. A packet is decided when [`WINDOW`] later
/// ones are there, or at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    /// The last packets that are to be played; the lowest bit is that of the last one.
    played: u64,
    /// Packets that are not decided yet: [`WINDOW`] at most, and those that came before the first.
    undecided: u8,
    /// Packets decided since the last [`take_interval`](Self::take_interval).
    interval: Interval,
    /// The last decided packet was not played.
    is_lost: bool,
    /// Packets played since the last loss, as far as it matters to bursts.
    since_loss: u8,
    bursts: Bursts,
}

/// Packets of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interval {
    /// All of them.
    pub(super) packets: u32,
    /// Packets that were not played.
    pub(super) lost: u32,
    /// Runs of such packets.
    pub(super) runs: u32,
}

impl Interval {
    /// Share of the packets that were not played.
    pub(super) fn loss(&self) -> f32 {
        self.lost as f32 / self.packets.max(1) as f32
    }

    /// Mean length of a run of losses, relative to that under random loss (G.107 section 7.5). The
    /// latter is `1 / (1 - loss)`.
    pub(super) fn burst_ratio(&self) -> f32 {
        let mean_run = self.lost as f32 / self.runs.max(1) as f32;
        (mean_run * (1.0 - self.loss())).max(1.0)
    }
}

/// Bursts and gaps. A burst begins and ends with a loss, has two at least, and never [`GAP_MIN`]
/// packets between two of them. All the rest is gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bursts {
    /// Packets that were not played, of bursts and gaps.
    pub(super) lost: u32,
    /// Bursts that have ended.
    pub(super) count: u32,
    /// Packets within them.
    pub(super) burst_packets: u32,
    /// Packets within them that were not played.
    pub(super) burst_lost: u32,
    /// Packets from the first loss of what may be a burst to its last one.
    open_packets: u32,
    /// Losses among them.
    open_lost: u32,
}

impl Losses {
    /// Goes on by so many packets. All before the last one are lost, as long as they do not come.
    pub(super) fn advance(&mut self, packets: u16, is_played: bool) {
        let packets = u32::from(packets);
        let undecided = u32::from(self.undecided);
        let over = (undecided + packets).saturating_sub(WINDOW);
        self.decide(over.min(undecided));
        // Of a long jump even the first new ones are too late by now.
        let skipped = over.saturating_sub(undecided);
        if skipped > 0 {
            self.lose(skipped);
        }
        self.undecided = (undecided + packets - over) as u8;
        self.played = self.played.checked_shl(packets).unwrap_or(0) | u64::from(is_played);
    }

    /// Plays a packet that came behind later ones. `before_first` is its distance to the first one
    /// of the stream, if it comes before that.
    pub(super) fn fill(&mut self, by: u16, before_first: u16, is_played: bool) {
        // The stream begins earlier than we knew. If it is decided already, it stays so.
        let undecided = u16::from(self.undecided) + before_first;
        if before_first > 0 && undecided > by {
            self.undecided = undecided as u8;
        }
        if is_played && u32::from(by) < u32::from(self.undecided).min(WINDOW) {
            self.played |= 1 << by;
        }
    }

    /// Decides all packets, at the end of a source.
    pub(super) fn finish(&mut self) {
        self.decide(self.undecided.into());
        self.played = 0;
    }

    /// Decides so many of the oldest packets.
    fn decide(&mut self, packets: u32) {
        for _ in 0..packets {
            self.undecided -= 1;
            let is_played = self.played.checked_shr(self.undecided.into()).unwrap_or(0) & 1 != 0;
            if is_played {
                self.interval.packets = self.interval.packets.saturating_add(1);
                self.is_lost = false;
                self.since_loss = self.since_loss.saturating_add(1);
            } else {
                self.lose(1);
            }
        }
    }

    fn lose(&mut self, packets: u32) {
        self.interval.packets = self.interval.packets.saturating_add(packets);
        self.interval.lost = self.interval.lost.saturating_add(packets);
        self.interval.runs = self.interval.runs.saturating_add(u32::from(!self.is_lost));
        self.is_lost = true;
        self.bursts.lose(self.since_loss, packets);
        self.since_loss = 0;
    }

    /// Packets decided since the last interval was taken.
    pub(super) fn interval(&self) -> Interval {
        self.interval
    }

    /// Begins a new interval.
    pub(super) fn take_interval(&mut self) -> Interval {
        // A run that goes on belongs to both intervals.
        self.is_lost = false;
        std::mem::take(&mut self.interval)
    }

    /// The bursts of the packets that are decided.
    pub(super) fn bursts(&self) -> Bursts {
        let mut bursts = self.bursts;
        bursts.close();
        bursts
    }
}

impl Bursts {
    /// Takes losses after so many played packets.
    fn lose(&mut self, since_loss: u8, packets: u32) {
        self.lost = self.lost.saturating_add(packets);
        if since_loss >= GAP_MIN {
            self.close();
        }
        if self.open_lost > 0 {
            self.open_packets = self.open_packets.saturating_add(since_loss.into());
        }
        self.open_packets = self.open_packets.saturating_add(packets);
        self.open_lost = self.open_lost.saturating_add(packets);
    }

    fn close(&mut self) {
        if self.open_lost >= 2 {
            self.count = self.count.saturating_add(1);
            self.burst_packets = self.burst_packets.saturating_add(self.open_packets);
            self.burst_lost = self.burst_lost.saturating_add(self.open_lost);
        }
        (self.open_packets, self.open_lost) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The losses of packets in order: a dot is played.
    fn losses(packets: &str) -> Losses {
        let mut losses = Losses::default();
        let mut ahead = 0;
        for (at, packet) in packets.bytes().enumerate() {
            ahead += 1;
            if packet == b'.' || at + 1 == packets.len() {
                losses.advance(ahead, packet == b'.');
                ahead = 0;
            }
        }
        losses.finish();
        losses
    }

    #[test]
    fn a_single_loss_is_no_burst_and_two_near_ones_are() {
        let gap = ".".repeat(GAP_MIN.into());
        let cases = [
            (gap.clone(), (0, 0, 0)),
            (format!("{gap}x{gap}x{gap}"), (0, 0, 0)),
            (format!("{gap}xx{gap}"), (1, 2, 2)),
            (format!("{gap}x{}x{gap}", ".".repeat(15)), (1, 17, 2)),
            (format!("{gap}x.xx..x{gap}x{gap}xx"), (2, 9, 6)),
            (format!("xx{gap}"), (1, 2, 2)),
            ("x".repeat(1_000), (1, 1_000, 1_000)),
        ];
        for (packets, expected) in cases {
            let bursts = losses(&packets).bursts();
            let found = (bursts.count, bursts.burst_packets, bursts.burst_lost);
            assert_eq!(found, expected, "{packets}");
            let lost = packets.bytes().filter(|&packet| packet == b'x').count();
            assert_eq!(bursts.lost, lost as u32);
        }
    }

    #[test]
    fn intervals_know_how_losses_come() {
        let mut losses = losses("..x..xxx.......x....");
        let interval = losses.take_interval();
        assert_eq!(interval, Interval { packets: 20, lost: 5, runs: 3 });
        assert_eq!(interval.loss(), 0.25);
        assert_eq!(interval.burst_ratio(), 5.0 / 3.0 * 0.75);
        assert_eq!(losses.interval(), Interval::default());
        // A run that goes on over the border counts in both.
        losses.advance(2, true);
        losses.finish();
        assert_eq!(losses.take_interval(), Interval { packets: 2, lost: 1, runs: 1 });
        losses.lose(3);
        losses.take_interval();
        losses.lose(3);
        assert_eq!(losses.interval(), Interval { packets: 3, lost: 3, runs: 1 });
        let random = Interval { packets: 250, lost: 1, runs: 1 };
        assert_eq!(random.burst_ratio(), 1.0);
        assert_eq!(Interval::default().loss(), 0.0);
    }

    #[test]
    fn a_packet_behind_later_ones_is_played_while_it_is_undecided() {
        let mut losses = Losses::default();
        losses.advance(1, true);
        losses.advance(3, true);
        losses.fill(2, 0, true);
        // Before the first one; and the one between them is lost.
        losses.fill(5, 2, true);
        losses.finish();
        assert_eq!(losses.interval(), Interval { packets: 6, lost: 2, runs: 2 });
        // Behind 64 others it is too late.
        let mut losses = Losses::default();
        losses.advance(1, true);
        losses.advance(2, true);
        (0..63).for_each(|_| losses.advance(1, true));
        losses.fill(64, 0, true);
        losses.finish();
        assert_eq!(losses.interval(), Interval { packets: 66, lost: 1, runs: 1 });
    }

    #[test]
    fn a_jump_over_more_than_the_window_is_all_loss() {
        let mut losses = Losses::default();
        losses.advance(1, true);
        losses.advance(2_999, true);
        losses.finish();
        assert_eq!(losses.interval(), Interval { packets: 3_000, lost: 2_998, runs: 1 });
    }
}
