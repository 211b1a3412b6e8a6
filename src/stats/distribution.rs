//! Durations of one kind: a histogram for percentiles, and exact moments and buckets beside it.
//!
//! The histogram alone would give averages, extremes and bucket counts within its resolution only:
//! a call that pauses for a second would be counted as shorter than a second. The exact figures
//! cost little, and integer sums make merging independent of its order.

pub use super::cells::Cell;
use super::cells::Cells;

/// Longest duration that is told apart, one hour in microseconds; longer ones count as an hour.
pub const DURATION_MAX_US: u64 = 3_600_000_000;

/// Resolution in significant decimal digits: a percentile is at most 0.1 % off.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// Cells of a histogram.
pub(super) const CELLS: usize = Cells::<u32, HALF>::COUNT;

/// Cells with a width of their own; the least that tells three digits apart.
const HALF: u64 = 1024;

/// Bounds of the summary's fixed buckets in milliseconds; a last bucket counts longer durations.
pub const BUCKET_BOUNDS_MS: [u64; 9] = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

const NS_PER_MS: u64 = 1_000_000;

/// Count, sum, sum of squares and extremes of recorded durations, all exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// Durations recorded.
    pub count: u64,
    /// Sum of the durations in nanoseconds.
    pub sum_ns: u128,
    /// Sum of their squares in square nanoseconds.
    pub sum_squares_ns2: u128,
    /// The shortest duration in nanoseconds; `u64::MAX` while nothing is recorded.
    pub min_ns: u64,
    /// The longest duration in nanoseconds.
    pub max_ns: u64,
    /// The duration recorded last, in nanoseconds.
    pub last_ns: u64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, sum_ns: 0, sum_squares_ns2: 0, min_ns: u64::MAX, max_ns: 0, last_ns: 0 }
    }
}

impl Moments {
    fn record(&mut self, duration_ns: u64) {
        self.record_n(duration_ns, 1);
    }

    fn record_n(&mut self, duration_ns: u64, count: u32) {
        let (wide, times) = (u128::from(duration_ns), u128::from(count));
        self.count += u64::from(count);
        self.sum_ns = self.sum_ns.saturating_add(wide * times);
        let squares = (wide * wide).saturating_mul(times);
        self.sum_squares_ns2 = self.sum_squares_ns2.saturating_add(squares);
        self.min_ns = self.min_ns.min(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        self.last_ns = duration_ns;
    }

    fn add(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.sum_squares_ns2 = self.sum_squares_ns2.saturating_add(other.sum_squares_ns2);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.last_ns = other.last_ns;
    }

    /// The mean in nanoseconds, rounded down; 0 if nothing was recorded.
    pub fn average_ns(&self) -> u64 {
        let average = self.sum_ns.checked_div(u128::from(self.count)).unwrap_or(0);
        u64::try_from(average).unwrap_or(u64::MAX)
    }

    /// The population standard deviation in nanoseconds; 0 if nothing was recorded.
    pub fn stddev_ns(&self) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let count = u128::from(self.count);
        let squares = count.checked_mul(self.sum_squares_ns2);
        let square = self.sum_ns.checked_mul(self.sum_ns);
        let variance = match (squares, square) {
            // Exact as long as the products fit: floating point would lose a small spread around a
            // large mean.
            (Some(squares), Some(square)) => {
                let count = self.count as f64;
                squares.saturating_sub(square) as f64 / count / count
            }
            _ => {
                let mean = self.sum_ns as f64 / self.count as f64;
                self.sum_squares_ns2 as f64 / self.count as f64 - mean * mean
            }
        };
        variance.max(0.0).sqrt().round() as u64
    }
}

/// Durations of one kind, as recorded by one worker in one interval or merged from many.
#[derive(Clone, Debug)]
pub struct Distribution<C: Cell = u32> {
    cells_us: Cells<C, HALF>,
    moments: Moments,
    /// Counts between the [`BUCKET_BOUNDS_MS`].
    buckets: [u64; BUCKET_BOUNDS_MS.len() + 1],
    /// The scenario's own bounds, ascending; empty if it sets none.
    repartition_bounds_ns: Box<[u64]>,
    /// Counts between the bounds: one more than there are bounds.
    repartition: Box<[u64]>,
}

impl<C: Cell> Default for Distribution<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Cell> Distribution<C> {
    /// An empty distribution. Only construction allocates (92 KiB with `u32` cells).
    pub fn new() -> Self {
        Self::with_repartition(&[])
    }

    /// An empty distribution that also counts durations between `bounds_ms` (ascending).
    pub fn with_repartition(bounds_ms: &[u64]) -> Self {
        Self {
            cells_us: Cells::new(),
            moments: Moments::default(),
            buckets: [0; BUCKET_BOUNDS_MS.len() + 1],
            repartition_bounds_ns: bounds_ms
                .iter()
                .map(|ms| ms.saturating_mul(NS_PER_MS))
                .collect(),
            repartition: vec![0; bounds_ms.len() + 1].into(),
        }
    }

    /// Records one duration. Neither allocates nor fails. A duration above [`DURATION_MAX_US`]
    /// counts as that for percentiles, and exactly in everything else.
    pub fn record(&mut self, duration_ns: u64) {
        self.cells_us.record(duration_ns / 1000, 1);
        self.moments.record(duration_ns);
        self.sort_in(duration_ns, 1);
    }

    /// Records one duration `count` times, as [`record`](Self::record) does.
    pub fn record_n(&mut self, duration_ns: u64, count: u32) {
        if count == 0 {
            return;
        }
        self.cells_us.record(duration_ns / 1000, u64::from(count));
        self.moments.record_n(duration_ns, count);
        self.sort_in(duration_ns, u64::from(count));
    }

    /// Counts durations between the bounds.
    #[inline]
    fn sort_in(&mut self, duration_ns: u64, count: u64) {
        // Most durations are short.
        let holds = |bound_ms: &u64| duration_ns <= *bound_ms * NS_PER_MS;
        let bucket = BUCKET_BOUNDS_MS.iter().position(holds).unwrap_or(BUCKET_BOUNDS_MS.len());
        self.buckets[bucket] += count;
        let reaches = |bound_ns: &u64| *bound_ns <= duration_ns;
        self.repartition[self.repartition_bounds_ns.partition_point(reaches)] += count;
    }

    /// Adds everything that `other` recorded; `last_ns` becomes that of `other`.
    pub fn add<D: Cell>(&mut self, other: &Distribution<D>) {
        if other.moments.count == 0 {
            return;
        }
        self.cells_us.add(&other.cells_us);
        self.moments.add(&other.moments);
        add_all(&mut self.buckets, &other.buckets);
        debug_assert_eq!(self.repartition.len(), other.repartition.len());
        add_all(&mut self.repartition, &other.repartition);
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        if self.moments.count != 0 {
            self.cells_us.clear();
            self.moments = Moments::default();
            self.buckets.fill(0);
            self.repartition.fill(0);
        }
    }

    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.moments.count
    }

    /// The exact moments.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The duration in nanoseconds that the share `quantile` (0 to 1) of all durations does not
    /// exceed; 0 if nothing was recorded. Off by at most one part in a thousand or one microsecond,
    /// and never outside the exact extremes.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        if self.moments.count == 0 {
            return 0;
        }
        let value_us = self.cells_us.at_quantile(quantile);
        // The cell's upper edge: values were cut down to whole microseconds.
        let edge_ns = (value_us + 1).saturating_mul(1000) - 1;
        edge_ns.clamp(self.moments.min_ns, self.moments.max_ns)
    }

    /// Durations longer than `bound_ns`; those of the bound's own microsecond do not count.
    pub fn count_above(&self, bound_ns: u64) -> u64 {
        let within = self.cells_us.count_to(bound_ns / 1000);
        self.moments.count.saturating_sub(within)
    }

    /// Counts below each bound of the scenario's repartition, and last the count of longer
    /// durations.
    pub fn repartition(&self) -> &[u64] {
        &self.repartition
    }

    /// The histogram's cells that are not empty, in ascending order: the longest duration that
    /// counts in the cell, in microseconds, and the number of durations.
    pub fn cells(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.cells_us.longest()
    }

    /// As [`cells`](Self::cells), by their places among the [`CELLS`].
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.cells_us.places()
    }

    /// Counts between the [`BUCKET_BOUNDS_MS`].
    pub(super) fn buckets(&self) -> &[u64; BUCKET_BOUNDS_MS.len() + 1] {
        &self.buckets
    }

    /// The figures that reports show.
    pub fn summarize(&self) -> DurationSummary {
        let moments = &self.moments;
        DurationSummary {
            count: moments.count,
            sum_ns: moments.sum_ns,
            sum_squares_ns2: moments.sum_squares_ns2,
            average_ns: moments.average_ns(),
            min_ns: if moments.count == 0 { 0 } else { moments.min_ns },
            max_ns: moments.max_ns,
            last_ns: moments.last_ns,
            stddev_ns: moments.stddev_ns(),
            p50_ns: self.quantile_ns(0.5),
            p90_ns: self.quantile_ns(0.9),
            p95_ns: self.quantile_ns(0.95),
            p99_ns: self.quantile_ns(0.99),
            p999_ns: self.quantile_ns(0.999),
            buckets: self.buckets,
        }
    }
}

impl Distribution<u64> {
    /// The distribution that has just these cells, by place, and figures.
    pub(super) fn of_parts(
        cells: impl Iterator<Item = (usize, u64)>,
        moments: Moments,
        buckets: [u64; BUCKET_BOUNDS_MS.len() + 1],
        bounds_ms: &[u64],
        repartition: &[u64],
    ) -> Self {
        let mut made = Self::with_repartition(bounds_ms);
        for (place, count) in cells {
            made.cells_us.record_at(place, count);
        }
        (made.moments, made.buckets) = (moments, buckets);
        add_all(&mut made.repartition, repartition);
        made
    }
}

/// Adds `values` to `sums`, position by position.
pub(super) fn add_all(sums: &mut [u64], values: &[u64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The figures that reports show of a [`Distribution`]; all zero if nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationSummary {
    /// Durations recorded.
    pub count: u64,
    /// Sum of the durations in nanoseconds: two summaries give the mean of the durations between
    /// them.
    pub sum_ns: u128,
    /// Sum of their squares, for the standard deviation between two summaries.
    pub sum_squares_ns2: u128,
    /// Exact mean in nanoseconds.
    pub average_ns: u64,
    /// Exact minimum in nanoseconds.
    pub min_ns: u64,
    /// Exact maximum in nanoseconds.
    pub max_ns: u64,
    /// The duration recorded last, in nanoseconds.
    pub last_ns: u64,
    /// Population standard deviation in nanoseconds.
    pub stddev_ns: u64,
    /// Median in nanoseconds.
    pub p50_ns: u64,
    /// 90th percentile in nanoseconds.
    pub p90_ns: u64,
    /// 95th percentile in nanoseconds.
    pub p95_ns: u64,
    /// 99th percentile in nanoseconds.
    pub p99_ns: u64,
    /// 99.9th percentile in nanoseconds.
    pub p999_ns: u64,
    /// Counts between [`BUCKET_BOUNDS_MS`] (inclusive above); the last one counts longer durations.
    pub buckets: [u64; BUCKET_BOUNDS_MS.len() + 1],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_all_zero() {
        assert_eq!(Distribution::<u32>::new().summarize(), DurationSummary::default());
    }

    #[test]
    fn moments_are_exact() {
        let mut distribution = Distribution::<u32>::new();
        for duration_ns in [2_000_001, 4_000_002, 4_000_003, 4_000_000, 5_000_000, 5_000_000] {
            distribution.record(duration_ns);
        }
        distribution.record(7_000_000);
        distribution.record(9_000_002);
        let summary = distribution.summarize();
        assert_eq!(summary.average_ns, 5_000_001);
        assert_eq!((summary.min_ns, summary.max_ns), (2_000_001, 9_000_002));
        assert_eq!(summary.last_ns, 9_000_002);
        assert_eq!(summary.stddev_ns, 2_000_000);
        assert_eq!(summary.buckets[0], 8);
    }

    #[test]
    fn a_small_spread_around_a_large_mean_survives() {
        let mut distribution = Distribution::<u32>::new();
        for _ in 0..1000 {
            distribution.record(3_599_999_999_999);
            distribution.record(3_600_000_000_001);
        }
        assert_eq!(distribution.summarize().stddev_ns, 1);
    }

    #[test]
    fn absurd_durations_saturate() {
        let mut distribution = Distribution::<u32>::new();
        for _ in 0..3 {
            distribution.record(u64::MAX);
        }
        distribution.record(0);
        let summary = distribution.summarize();
        assert_eq!((summary.count, summary.max_ns), (4, u64::MAX));
        assert!(summary.p99_ns >= DURATION_MAX_US * 1000);
        assert_eq!(summary.buckets[9], 3);
    }

    #[test]
    fn longer_than_an_hour_is_never_shorter_than_an_hour() {
        let mut distribution = Distribution::<u32>::new();
        for minutes in [61, 200] {
            distribution.record(minutes * 60_000 * NS_PER_MS);
        }
        let hour_ns = DURATION_MAX_US * 1000;
        assert!(distribution.quantile_ns(0.5).abs_diff(hour_ns) <= hour_ns / 50);
        assert!(distribution.quantile_ns(1.0) >= distribution.quantile_ns(0.5));
    }

    #[test]
    fn buckets_are_exact_at_their_bounds() {
        let mut distribution = Distribution::<u32>::with_repartition(&[10, 1000]);
        for duration_ms in [1, 10, 11, 1000, 1000, 6000] {
            distribution.record(duration_ms * NS_PER_MS);
        }
        assert_eq!(distribution.repartition(), [1, 2, 3]);
        assert_eq!(distribution.summarize().buckets, [2, 1, 0, 0, 0, 0, 2, 0, 0, 1]);
        assert_eq!(Distribution::<u32>::new().repartition(), [0]);
    }

    #[test]
    fn durations_above_a_bound_are_counted() {
        let mut distribution = Distribution::<u32>::new();
        assert_eq!(distribution.count_above(NS_PER_MS), 0);
        for duration_us in [0, 20, 1000, 1002, 1_000_000] {
            distribution.record(duration_us * 1000);
        }
        assert_eq!(distribution.count_above(NS_PER_MS), 2);
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut distribution = Distribution::<u32>::new();
        distribution.record(1_000_000);
        distribution.clear();
        assert_eq!(distribution.summarize(), DurationSummary::default());
        distribution.record(2_000_000);
        assert_eq!(distribution.summarize().min_ns, 2_000_000);
    }
}
