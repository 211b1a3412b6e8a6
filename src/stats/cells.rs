//! Counts of durations by length, in cells whose width grows with the length.
//!
//! The layout is that of an HDR histogram: the first `2 * HALF` cells are one microsecond wide, and
//! every `HALF` cells after them twice as wide as those before. Recording is a few instructions.
//! All else reads only the part between the shortest and the longest duration.

use super::distribution::DURATION_MAX_US;

/// Width of a cell's count. Workers use `u32`, which halves the memory that the hot path touches
/// and cannot overflow within an interval; run totals use `u64`.
pub trait Cell: Copy + sealed::Sealed {
    /// The count 0.
    const ZERO: Self;

    /// `count`, or the largest cell value if it does not fit.
    fn saturating_from(count: u64) -> Self;

    /// The count as a number.
    fn count(self) -> u64;
}

impl Cell for u32 {
    const ZERO: Self = 0;

    fn saturating_from(count: u64) -> Self {
        Self::try_from(count).unwrap_or(Self::MAX)
    }

    fn count(self) -> u64 {
        u64::from(self)
    }
}

impl Cell for u64 {
    const ZERO: Self = 0;

    fn saturating_from(count: u64) -> Self {
        count
    }

    fn count(self) -> u64 {
        self
    }
}

mod sealed {
    /// Keeps the set of cell widths closed.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// The cells of a histogram that tells durations apart to one part in `HALF`, a power of two.
#[derive(Clone, Debug)]
pub(super) struct Cells<C, const HALF: u64> {
    counts: Box<[C]>,
    /// The sum of the counts.
    total: u64,
    /// The first cell that may not be empty; behind `high` if all are empty.
    low: usize,
    /// The last cell that may not be empty.
    high: usize,
}

/// Place of the cell that a duration counts in.
pub(super) const fn place_of<const HALF: u64>(duration_us: u64) -> usize {
    let doublings = 63 - HALF.trailing_zeros() - (duration_us | (2 * HALF - 1)).leading_zeros();
    (doublings as u64 * HALF + (duration_us >> doublings)) as usize
}

/// The shortest duration that counts in the cell at `place`.
pub(super) const fn duration_at<const HALF: u64>(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * HALF {
        return place;
    }
    let doublings = place / HALF - 1;
    (place - doublings * HALF) << doublings
}

impl<C: Cell, const HALF: u64> Cells<C, HALF> {
    /// The number of cells.
    pub(super) const COUNT: usize = place_of::<HALF>(DURATION_MAX_US) + 1;

    /// Empty cells.
    pub(super) fn new() -> Self {
        // Zeroed memory: pages that no duration reaches are never touched.
        Self { counts: vec![C::ZERO; Self::COUNT].into(), total: 0, low: usize::MAX, high: 0 }
    }

    /// Adds `count` durations. One above [`DURATION_MAX_US`] counts as that.
    #[inline]
    pub(super) fn record(&mut self, duration_us: u64, count: u64) {
        self.record_at(place_of::<HALF>(duration_us), count);
    }

    /// Adds `count` durations to the cell at `place`, or to the last one.
    #[inline]
    pub(super) fn record_at(&mut self, place: usize, count: u64) {
        let place = place.min(Self::COUNT - 1);
        let cell = &mut self.counts[place];
        *cell = C::saturating_from(cell.count().saturating_add(count));
        self.total = self.total.saturating_add(count);
        self.low = self.low.min(place);
        self.high = self.high.max(place);
    }

    /// Adds the counts of `other`.
    pub(super) fn add<D: Cell>(&mut self, other: &Cells<D, HALF>) {
        other.places().for_each(|(place, count)| self.record_at(place, count));
    }

    /// Takes the counts of `other` away, which were added before.
    pub(super) fn subtract<D: Cell>(&mut self, other: &Cells<D, HALF>) {
        for (place, count) in other.places() {
            let cell = &mut self.counts[place];
            *cell = C::saturating_from(cell.count().saturating_sub(count));
            self.total = self.total.saturating_sub(count);
        }
    }

    /// Empties all cells.
    pub(super) fn clear(&mut self) {
        if let Some(used) = self.counts.get_mut(self.low..=self.high) {
            used.fill(C::ZERO);
        }
        (self.total, self.low, self.high) = (0, usize::MAX, 0);
    }

    /// The number of durations.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The part of the cells that may not be empty, and the place of its first cell.
    fn used(&self) -> (usize, &[C]) {
        (self.low, self.counts.get(self.low..=self.high).unwrap_or_default())
    }

    /// The places of the cells that are not empty, in ascending order, and their counts.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let (low, used) = self.used();
        let counts = used.iter().enumerate().map(move |(at, cell)| (low + at, cell.count()));
        counts.filter(|&(_, count)| count != 0)
    }

    /// As [`places`](Self::places), by the longest duration that counts in the cell.
    pub(super) fn longest(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.places().map(|(place, count)| (duration_at::<HALF>(place + 1) - 1, count))
    }

    /// The longest duration of the cell up to which the share `quantile` (0 to 1) of all durations
    /// counts; the shortest one for 0. It is 0 if there are no durations.
    pub(super) fn at_quantile(&self, quantile: f64) -> u64 {
        let wanted = (quantile.min(1.0) * self.total as f64).ceil() as u64;
        let wanted = wanted.max(1);
        let mut sum = 0u64;
        for (place, count) in self.places() {
            sum = sum.saturating_add(count);
            if sum >= wanted {
                let bound = if quantile == 0.0 { place } else { place + 1 };
                return duration_at::<HALF>(bound) - u64::from(quantile != 0.0);
            }
        }
        0
    }

    /// The number of durations in the cells up to that of `duration_us`.
    pub(super) fn count_to(&self, duration_us: u64) -> u64 {
        let last = place_of::<HALF>(duration_us).min(self.high);
        let counted = self.counts.get(self.low..=last).unwrap_or_default();
        counted.iter().map(|cell| cell.count()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    /// Cells of three digits.
    type Fine = Cells<u64, 1024>;

    #[test]
    fn every_cell_has_its_place_and_its_durations() {
        let histogram = Histogram::<u64>::new_with_bounds(1, DURATION_MAX_US, 3).unwrap();
        let mut duration_us = 0;
        for place in 0..Fine::COUNT {
            assert_eq!(duration_at::<1024>(place), duration_us);
            assert_eq!(place_of::<1024>(duration_us), place);
            let longest_us = histogram.highest_equivalent(duration_us);
            assert_eq!(place_of::<1024>(longest_us), place, "{longest_us}");
            duration_us = longest_us + 1;
        }
        assert!(duration_us > DURATION_MAX_US);
    }

    /// Compares all answers with those of the crate whose layout this is.
    fn agree(cells: &Fine, model: &Histogram<u64>) {
        assert_eq!(cells.total(), model.len());
        let recorded = model.iter_recorded();
        let recorded = recorded.map(|cell| (cell.value_iterated_to(), cell.count_at_value()));
        assert!(cells.longest().eq(recorded));
        for quantile in [0.0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0, 2.0] {
            assert_eq!(cells.at_quantile(quantile), model.value_at_quantile(quantile));
        }
        for bound_us in [0, 1, 2047, 2048, 70_000, DURATION_MAX_US, 2 * DURATION_MAX_US] {
            assert_eq!(cells.count_to(bound_us), model.count_between(0, bound_us));
        }
    }

    proptest! {
        // Each comparison reads all cells of the model many times.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn cells_agree_with_a_histogram(ops in proptest::collection::vec(
            (0..4u8, 0..33u32, any::<u32>(), 1..5u64), 0..40))
        {
            let empty = || Histogram::<u64>::new_with_bounds(1, DURATION_MAX_US, 3).unwrap();
            let [mut cells, mut other] = [Fine::new(), Fine::new()];
            let [mut model, mut model_of_other] = [empty(), empty()];
            for (op, bits, random, count) in ops {
                let us = (u64::from(random) & ((1 << bits) - 1)).min(DURATION_MAX_US);
                match op {
                    0 | 1 => {
                        cells.record(us, count);
                        model.saturating_record_n(us, count);
                    }
                    2 => {
                        other.record(us, count);
                        model_of_other.saturating_record_n(us, count);
                        cells.add(&other);
                        model.add(&model_of_other).unwrap();
                    }
                    _ if other.total() > 0 && bits < 20 => {
                        cells.clear();
                        model.reset();
                        cells.add(&other);
                        cells.record(us, count);
                        cells.subtract(&other);
                        model.saturating_record_n(us, count);
                    }
                    _ => {
                        other.clear();
                        model_of_other.reset();
                    }
                }
            }
            agree(&cells, &model);
            agree(&other, &model_of_other);
        }
    }

    #[test]
    fn a_count_that_does_not_fit_stays_at_the_most() {
        let mut cells = Cells::<u32, 128>::new();
        cells.record(u64::MAX, u64::from(u32::MAX));
        cells.record(u64::MAX, 5);
        assert!(cells.places().eq([(Cells::<u32, 128>::COUNT - 1, u64::from(u32::MAX))]));
    }
}
