//! The calls with the worst media: a list of fixed size, filled at the end of calls.
//!
//! A worker keeps the worst calls of an interval, the control side those of the run. A call that is
//! not worse than the listed ones costs a comparison.

use std::cmp::Reverse;
use std::sync::Arc;

use super::cause::FailureCause;
use super::failures::ShortText;
use super::media::HeardVerdict;

/// Most calls of a worker in an interval, and of a run.
pub const WORST_CALLS_MAX: usize = 50;

/// The MOS in hundredths from which on users are satisfied (G.107 annex B). A call above it is not
/// bad by its MOS.
const SATISFIED_MOS: u16 = 403;

/// The MOS in hundredths from which harm is counted downwards: the best of narrow band.
const BEST_MOS: u64 = 450;

/// Hundredths of MOS that a loss of 1 % weighs, where it weighs more than the estimate. A codec
/// without planning values has no estimate.
const HARM_OF_PERCENT: u64 = 20;

/// Figures of the media of an ended call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardCall {
    /// The verdict about its audio.
    pub heard: HeardVerdict,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received, without duplicates.
    pub packets_received: u64,
    /// RTP packets that were expected.
    pub packets_expected: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// RTP packets that came too late for the jitter buffer.
    pub packets_discarded: u64,
    /// Highest interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter_max_ns: u64,
    /// Estimated MOS in hundredths; `None` if it was not measured.
    pub mos_hundredths: Option<u16>,
    /// Lowest estimated MOS of an interval in hundredths.
    pub mos_min_hundredths: Option<u16>,
    /// Time from the answer to the first audible packet, or else from the first description.
    pub first_audio_ns: Option<u64>,
    /// Longest time without an audible packet while the call listened.
    pub dead_air_ns: u64,
}

impl HeardCall {
    /// A number that is higher for a worse call, and `None` for one with nothing to complain of.
    /// Silence is worst, then one way, then what a listener missed, then how long nothing was
    /// heard.
    pub fn badness(&self) -> Option<u64> {
        let silence = match self.heard {
            HeardVerdict::None => 2,
            HeardVerdict::OneWay => 1,
            HeardVerdict::Unknown | HeardVerdict::NoMedia | HeardVerdict::TwoWay => 0,
        };
        let unheard = self.packets_lost.saturating_add(self.packets_discarded);
        // In hundredths of a percent.
        let loss = match self.packets_expected {
            0 => 0,
            expected => (unheard.saturating_mul(10_000) / expected).min(10_000),
        };
        let mos = self.mos_min_hundredths.filter(|&mos| mos < SATISFIED_MOS);
        let by_mos = mos.map_or(0, |mos| BEST_MOS.saturating_sub(mos.into()));
        let harm = by_mos.max(loss * HARM_OF_PERCENT / 100);
        let is_bad = silence > 0 || unheard > 0 || harm > 0;
        let dead_air = (self.dead_air_ns / 10_000_000).min(0xff_ffff);
        is_bad.then_some(silence << 56 | harm << 40 | loss << 24 | dead_air)
    }

    /// Share of the expected packets, 0 to 1, that never came; `None` if none was expected.
    pub fn loss_share(&self) -> Option<f64> {
        let expected = self.packets_expected;
        (expected > 0).then(|| self.packets_lost as f64 / expected as f64)
    }
}

/// An ended call with bad media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCall {
    /// The [`HeardCall::badness`] of its media.
    pub badness: u64,
    /// Time of its end, on the monotonic clock.
    pub at_ns: u64,
    /// Time from its first message to its end.
    pub length_ns: u64,
    /// Number of the call, unique in the run.
    pub call: u64,
    /// Call-ID of the call.
    pub call_id: ShortText<128>,
    /// The reason for its failure; `None` if it succeeded.
    pub cause: Option<FailureCause>,
    /// The figures of its media.
    pub media: HeardCall,
}

/// The worst calls of one worker and interval.
#[derive(Clone, Debug)]
pub struct WorstCalls {
    calls: Vec<WorstCall>,
    /// The badness that a further call must exceed.
    floor: u64,
}

impl Default for WorstCalls {
    fn default() -> Self {
        Self { calls: Vec::with_capacity(WORST_CALLS_MAX), floor: 0 }
    }
}

impl WorstCalls {
    /// Tells whether a call of this badness belongs into the list.
    #[inline]
    pub fn admits(&self, badness: u64) -> bool {
        self.calls.len() < WORST_CALLS_MAX || badness > self.floor
    }

    /// Adds a call, in the place of the least bad one if the list is full.
    pub fn add(&mut self, call: WorstCall) {
        if !self.admits(call.badness) {
            return;
        }
        if self.calls.len() < WORST_CALLS_MAX {
            self.calls.push(call);
        } else if let Some(least) = self.calls.iter_mut().min_by_key(|listed| order(listed)) {
            *least = call;
        }
        if self.calls.len() == WORST_CALLS_MAX {
            self.floor = self.calls.iter().map(|listed| listed.badness).min().unwrap_or(0);
        }
    }

    /// Forgets all calls, keeping the memory.
    pub fn clear(&mut self) {
        self.calls.clear();
        self.floor = 0;
    }
}

/// The key by which the least bad call comes first, and the later one of equals.
fn order(call: &WorstCall) -> (u64, Reverse<u64>) {
    (call.badness, Reverse(call.at_ns))
}

/// The worst calls of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct WorstOfRun {
    /// The worst first.
    calls: Arc<Vec<WorstCall>>,
    /// Calls that ended before do not count: the figures began anew then.
    since_ns: u64,
}

impl WorstOfRun {
    /// Adds the calls of an interval.
    pub(super) fn add(&mut self, interval: &WorstCalls) {
        let since_ns = self.since_ns;
        let is_new = |call: &&WorstCall| call.at_ns >= since_ns;
        let mut new = interval.calls.iter().filter(is_new).peekable();
        if new.peek().is_none() {
            return;
        }
        let calls = Arc::make_mut(&mut self.calls);
        calls.extend(new);
        calls.sort_by_key(|call| Reverse(order(call)));
        calls.truncate(WORST_CALLS_MAX);
    }

    /// Begins anew at `now_ns`.
    pub(super) fn reset(&mut self, now_ns: u64) {
        *self = Self { calls: Arc::default(), since_ns: now_ns };
    }

    /// The calls, the worst first.
    pub(super) fn calls(&self) -> Arc<Vec<WorstCall>> {
        Arc::clone(&self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: HeardCall = HeardCall {
        heard: HeardVerdict::TwoWay,
        packets_sent: 500,
        packets_received: 500,
        packets_expected: 500,
        packets_lost: 0,
        packets_discarded: 0,
        jitter_max_ns: 1_000_000,
        mos_hundredths: Some(441),
        mos_min_hundredths: Some(441),
        first_audio_ns: Some(20_000_000),
        dead_air_ns: 20_000_000,
    };

    fn lossy(packets_lost: u64) -> HeardCall {
        HeardCall { packets_lost, ..GOOD }
    }

    fn call(at_ns: u64, media: HeardCall) -> WorstCall {
        WorstCall {
            badness: media.badness().expect("a bad call"),
            at_ns,
            length_ns: 10_000_000_000,
            call: at_ns,
            call_id: ShortText::of(b"1@192.0.2.1"),
            cause: None,
            media,
        }
    }

    #[test]
    fn silence_is_worse_than_one_way_and_that_is_worse_than_loss() {
        let silent = HeardCall { heard: HeardVerdict::None, ..GOOD };
        let one_way = HeardCall { heard: HeardVerdict::OneWay, ..GOOD };
        let rated = |mos| HeardCall { mos_min_hundredths: Some(mos), ..GOOD };
        let worst_first = [
            silent,
            HeardCall { dead_air_ns: 9_000_000_000, ..one_way },
            one_way,
            rated(120),
            // Nobody estimates a MOS of this codec.
            HeardCall { mos_min_hundredths: None, ..lossy(50) },
            rated(360),
            HeardCall { packets_discarded: 3, ..lossy(2) },
            lossy(2),
        ];
        let badness = worst_first.map(|media| media.badness());
        assert!(badness.iter().all(Option::is_some), "{badness:?}");
        assert!(badness.windows(2).all(|pair| pair[0] > pair[1]), "{badness:?}");
        // A call that lost a packet of a million is among the bad ones too.
        let one = HeardCall { packets_expected: 1_000_000, ..lossy(1) };
        assert!(one.badness().is_some());
        for fine in [GOOD, rated(403), HeardCall { heard: HeardVerdict::Unknown, ..GOOD }] {
            assert_eq!(fine.badness(), None);
        }
    }

    #[test]
    fn the_list_keeps_the_worst_of_many_and_the_earlier_of_equals() {
        let mut run = WorstOfRun::default();
        for worker in 0..2u64 {
            let mut interval = WorstCalls::default();
            for number in 0..1000 {
                let at_ns = 2 * number + worker;
                interval.add(call(at_ns, lossy(1 + at_ns * 7919 % 400)));
            }
            assert_eq!(interval.calls.len(), WORST_CALLS_MAX);
            assert!(!interval.admits(call(0, lossy(1)).badness));
            run.add(&interval);
        }
        let mut all: Vec<WorstCall> =
            (0..2000).map(|at_ns| call(at_ns, lossy(1 + at_ns * 7919 % 400))).collect();
        all.sort_by_key(|call| (Reverse(call.badness), call.at_ns));
        assert_eq!(run.calls().as_slice(), &all[..WORST_CALLS_MAX]);
    }

    #[test]
    fn a_cleared_list_takes_any_call_and_a_reset_leaves_out_earlier_ones() {
        let mut interval = WorstCalls::default();
        (0..60).for_each(|at_ns| interval.add(call(at_ns, lossy(300))));
        interval.clear();
        interval.add(call(90, lossy(1)));
        interval.add(call(110, lossy(1)));
        let mut run = WorstOfRun::default();
        run.reset(100);
        run.add(&interval);
        let ends: Vec<u64> = run.calls().iter().map(|call| call.at_ns).collect();
        assert_eq!(ends, [110]);
    }
}
