//! Counts and measurements of a run since it began, unaffected by resets.
//!
//! A [`super::Snapshot`] begins anew when the user resets the figures. A monitoring system computes
//! rates from successive readings, and so needs figures that only grow. These never shrink.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::delta::wire;
use super::distribution::{Cell, Distribution};
use super::histograms::{Histograms, TransactionHistograms};
use super::snapshot::RunStart;
use super::verdict::VerdictTally;
use super::{Counters, Layout, LimitCounts, MediaMeasure, MessageCounts, StepCounts, Unwritten};

/// Upper bounds of the buckets of transactions and response times, in microseconds. The last is 64
/// times T1 (RFC 3261 section 17.1.1.2): a later answer counts as none.
pub const RESPONSE_BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 32_000_000,
];

/// Upper bounds of the buckets of the generator's own delays (lateness, turns of its loop), in
/// microseconds.
pub const LAG_BOUNDS_US: &[u64] =
    &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000];

/// Upper bounds of the buckets of the lengths of calls, in microseconds.
pub const CALL_LENGTH_BOUNDS_US: &[u64] = &[
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Upper bounds of the buckets of jitter and of the generator's own error of RTP, in microseconds.
const RTP_BOUNDS_US: &[u64] = &[100, 500, 1_000, 5_000, 20_000, 100_000];

/// Upper bounds of the buckets of MOS; a thousand is a MOS of 1. Users are satisfied from about 4
/// on (G.107 annex B).
const MOS_BOUNDS_US: &[u64] = &[2_500, 3_000, 3_500, 4_000, 4_250, 5_000];

/// Upper bounds of the buckets of loss; a thousand is 1 %.
const LOSS_BOUNDS_US: &[u64] = &[0, 100, 1_000, 2_000, 5_000, 20_000];

/// Upper bounds of the buckets of what is counted: packets, units of a clock.
const COUNT_BOUNDS_US: &[u64] = &[0, 10, 100, 1_000, 10_000];

/// Upper bounds of the buckets of the first audio and of round trips, in microseconds.
const AUDIO_BOUNDS_US: &[u64] = &[5_000, 20_000, 100_000, 200_000, 500_000, 2_000_000];

/// Upper bounds of the buckets of a measurement of media.
pub const fn media_bounds_us(measure: MediaMeasure) -> &'static [u64] {
    match measure {
        MediaMeasure::SendError | MediaMeasure::Jitter => RTP_BOUNDS_US,
        MediaMeasure::Mos => MOS_BOUNDS_US,
        MediaMeasure::Loss | MediaMeasure::PeerLoss => LOSS_BOUNDS_US,
        MediaMeasure::FirstAudio | MediaMeasure::RoundTrip | MediaMeasure::Handshake => {
            AUDIO_BOUNDS_US
        }
        MediaMeasure::PeerJitter
        | MediaMeasure::JitterPeak
        | MediaMeasure::Lost
        | MediaMeasure::CallPackets => COUNT_BOUNDS_US,
    }
}

/// Durations counted between fixed bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Upper bounds in microseconds, ascending; a duration equal to a bound lies below it.
    pub bounds_us: &'static [u64],
    /// Durations up to each bound but above the one before, and last those above all.
    pub counts: Vec<u64>,
    /// Sum of all durations in nanoseconds, exact.
    pub sum_ns: u128,
}

impl Buckets {
    /// Empty buckets between `bounds_us`.
    pub fn new(bounds_us: &'static [u64]) -> Self {
        Self { bounds_us, counts: vec![0; bounds_us.len() + 1], sum_ns: 0 }
    }

    /// The durations of `distribution`, between `bounds_us`. A cell of the histogram that a bound
    /// cuts counts as above it: a bound is off by one part in a thousand at most.
    pub fn of<C: Cell>(distribution: &Distribution<C>, bounds_us: &'static [u64]) -> Self {
        let mut buckets = Self::new(bounds_us);
        buckets.sum_ns = distribution.moments().sum_ns;
        for (highest_us, count) in distribution.cells() {
            buckets.counts[bounds_us.partition_point(|&bound| bound < highest_us)] += count;
        }
        buckets
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds the counts of `other`, which has the same bounds.
    pub fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds_us, other.bounds_us);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// The two clocks of one kind of transaction that was answered with a 2xx, and the first clock of
/// those that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionBuckets {
    /// Times from the request's first transmission to the final response.
    pub service: Buckets,
    /// Times from the moment at which the request was planned.
    pub response: Buckets,
    /// Times as in `service`, where the final response was 3xx to 6xx.
    pub refused: Buckets,
}

/// All durations that are measured, between fixed bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// By transaction, in the order of [`Layout::transactions`].
    pub transactions: Vec<TransactionBuckets>,
    /// By response-time timer, in the order of [`Layout::rtds`].
    pub rtds: Vec<Buckets>,
    /// Times from a call's first message to its end.
    pub call_length: Buckets,
    /// Distances of the starts of calls from their planned times.
    pub planned_send_error: Buckets,
    /// Durations of the turns of the workers' loops.
    pub loop_time: Buckets,
    /// By measurement of media, in the order of [`MediaMeasure::ALL`].
    pub media: Vec<Buckets>,
}

impl Measured {
    pub(super) fn of<C: Cell>(histograms: &Histograms<C>) -> Self {
        let transaction = |both: &TransactionHistograms<C>| TransactionBuckets {
            service: Buckets::of(&both.service, RESPONSE_BOUNDS_US),
            response: Buckets::of(&both.response, RESPONSE_BOUNDS_US),
            refused: Buckets::of(&both.refused, RESPONSE_BOUNDS_US),
        };
        let rtd = |rtd: &Distribution<C>| Buckets::of(rtd, RESPONSE_BOUNDS_US);
        Self {
            transactions: histograms.transactions.iter().map(transaction).collect(),
            rtds: histograms.rtds.iter().map(rtd).collect(),
            call_length: Buckets::of(&histograms.call_length, CALL_LENGTH_BOUNDS_US),
            planned_send_error: Buckets::of(&histograms.planned_send_error, LAG_BOUNDS_US),
            loop_time: Buckets::of(&histograms.loop_time, LAG_BOUNDS_US),
            media: MediaMeasure::ALL
                .map(|kind| Buckets::of(histograms.media.of(kind), media_bounds_us(kind)))
                .into(),
        }
    }

    /// Adds the durations of `other`, in the same layout or an earlier one of the same run: later
    /// layouts only append.
    pub(super) fn add(&mut self, other: &Self) {
        debug_assert!(self.transactions.len() >= other.transactions.len());
        for (mine, theirs) in self.transactions.iter_mut().zip(&other.transactions) {
            mine.service.add(&theirs.service);
            mine.response.add(&theirs.response);
            mine.refused.add(&theirs.refused);
        }
        self.rtds.iter_mut().zip(&other.rtds).for_each(|(mine, theirs)| mine.add(theirs));
        self.call_length.add(&other.call_length);
        self.planned_send_error.add(&other.planned_send_error);
        self.loop_time.add(&other.loop_time);
        self.media.iter_mut().zip(&other.media).for_each(|(mine, theirs)| mine.add(theirs));
    }
}

/// Seconds judged since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedSeconds {
    /// Seconds judged.
    pub judged: u64,
    /// Seconds in which the generator was the limit.
    pub limited: u64,
    /// Limited seconds by cause; a second may have several.
    pub causes: LimitCounts,
}

impl JudgedSeconds {
    pub(super) fn of(tally: &VerdictTally) -> Self {
        Self { judged: tally.judged_seconds, limited: tally.limited_seconds, causes: tally.causes }
    }

    /// Returns the seconds judged since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            judged: self.judged.saturating_sub(earlier.judged),
            limited: self.limited.saturating_sub(earlier.limited),
            causes: self.causes.since(&earlier.causes),
        }
    }

    /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels.
    pub(super) fn checked_add(&mut self, other: &Self) -> Option<()> {
        self.judged = wire::sum(self.judged, other.judged)?;
        self.limited = wire::sum(self.limited, other.limited)?;
        self.causes.checked_add(&other.causes)
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.judged += other.judged;
        self.limited += other.limited;
        self.causes.add(&other.causes);
    }
}

/// The figures of a run since it began. None of them ever decreases.
#[derive(Clone, Debug)]
pub struct Lifetime {
    /// The names of the measurements.
    pub layout: Arc<Layout>,
    /// The start of the run.
    pub start: RunStart,
    /// Everything counted.
    pub counters: Counters,
    /// Messages by direction, method and code.
    pub messages: MessageCounts,
    /// Counts of each step, in the order of [`super::Report::steps`].
    pub steps: Vec<StepCounts>,
    /// Everything measured.
    pub measured: Measured,
    /// The judgement of the seconds.
    pub seconds: JudgedSeconds,
    /// Nanoseconds that each worker did not wait.
    pub busy_ns: Vec<u64>,
    /// Entries of files that could not be written.
    pub unwritten: Unwritten,
}

/// Measurements and judgements up to the last reset.
#[derive(Clone, Debug)]
pub(super) struct BeforeReset {
    pub(super) measured: Measured,
    pub(super) seconds: JudgedSeconds,
    /// Nanoseconds that each worker did not wait.
    pub(super) busy_ns: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_below_the_bound_that_it_equals() {
        let mut distribution = Distribution::<u64>::new();
        for us in [10, 11, 1_000_000, 1_000_001, 2_000_000] {
            distribution.record(us * 1000);
        }
        let buckets = Buckets::of(&distribution, LAG_BOUNDS_US);
        assert_eq!(buckets.counts[..2], [1, 1]);
        assert_eq!(buckets.count(), 5);
        assert_eq!(buckets.sum_ns, 4_000_022_000);
        // One second lies in a cell that its bound cuts, as do the microseconds after it.
        assert_eq!(*buckets.counts.last().unwrap(), 3);
    }

    #[test]
    fn bounds_of_milliseconds_are_those_of_cells_or_off_by_a_thousandth() {
        let all = [RESPONSE_BOUNDS_US, LAG_BOUNDS_US, CALL_LENGTH_BOUNDS_US];
        for bounds in all.into_iter().chain([RTP_BOUNDS_US, MOS_BOUNDS_US, AUDIO_BOUNDS_US]) {
            assert!(bounds.is_sorted());
            for &bound_us in bounds {
                let mut distribution = Distribution::<u64>::new();
                distribution.record((bound_us - bound_us / 999 - 1) * 1000);
                let buckets = Buckets::of(&distribution, bounds);
                let index = buckets.counts.iter().position(|&count| count == 1).unwrap();
                assert!(bounds[index] <= bound_us, "{bound_us}");
            }
        }
    }

    #[test]
    fn adding_keeps_counts_and_sums() {
        let mut distribution = Distribution::<u32>::new();
        distribution.record(3_000_000);
        let mut buckets = Buckets::of(&distribution, RESPONSE_BOUNDS_US);
        buckets.add(&buckets.clone());
        assert_eq!((buckets.count(), buckets.sum_ns), (2, 6_000_000));
    }
}
