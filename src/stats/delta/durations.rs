//! One kind of duration as it travels: the cells of its histogram that are not empty, and the exact
//! figures beside it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DeltaError, wire};
use crate::stats::distribution::{BUCKET_BOUNDS_MS, CELLS, Cell, Distribution, Moments};

/// Most bounds of a repartition that a scenario may have, and one more.
const REPARTITION_MAX: usize = 4096;

/// The cells that are not empty, in ascending order: place and count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cells(Vec<(usize, u64)>);

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::sparse(self.0.iter().copied(), serializer)
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::read_sparse(deserializer, CELLS).map(Self)
    }
}

/// Durations of one kind in an interval, in any number of intervals, or of any number of sources.
/// They add up exactly, in any order: percentiles come from the sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Durations {
    cells: Cells,
    #[serde(serialize_with = "wire::wide::serialize")]
    sum_ns: u128,
    #[serde(serialize_with = "wire::wide::serialize")]
    sum_squares_ns2: u128,
    min_ns: u64,
    max_ns: u64,
    /// The time at which the last duration was reported, and its length; the longest of several
    /// at one time.
    last: (u64, u64),
    buckets: [u64; BUCKET_BOUNDS_MS.len() + 1],
    repartition: Vec<u64>,
}

/// Durations before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    cells: Cells,
    #[serde(deserialize_with = "wire::wide::deserialize")]
    sum_ns: u128,
    #[serde(deserialize_with = "wire::wide::deserialize")]
    sum_squares_ns2: u128,
    min_ns: u64,
    max_ns: u64,
    last: (u64, u64),
    buckets: [u64; BUCKET_BOUNDS_MS.len() + 1],
    #[serde(deserialize_with = "wire::bounded::<_, _, REPARTITION_MAX>")]
    repartition: Vec<u64>,
}

impl TryFrom<Parts> for Durations {
    type Error = DeltaError;

    fn try_from(parts: Parts) -> Result<Self, DeltaError> {
        let Parts { cells, sum_ns, sum_squares_ns2, min_ns, max_ns, last, buckets, repartition } =
            parts;
        let total = |counts: &[u64]| counts.iter().try_fold(0, |sum, &by| wire::sum(sum, by));
        let count = cells.0.iter().map(|&(_, count)| count).sum::<u64>();
        let agrees = total(&buckets) == Some(count) && total(&repartition) == Some(count);
        if !agrees || repartition.is_empty() || (count == 0) != (min_ns > max_ns) {
            return Err(DeltaError::Inconsistent);
        }
        Ok(Self { cells, sum_ns, sum_squares_ns2, min_ns, max_ns, last, buckets, repartition })
    }
}

impl Durations {
    /// Creates empty durations of a kind whose repartition has `bounds` bounds.
    pub(super) fn new(bounds: usize) -> Self {
        Self {
            cells: Cells::default(),
            sum_ns: 0,
            sum_squares_ns2: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            last: (0, 0),
            buckets: [0; BUCKET_BOUNDS_MS.len() + 1],
            repartition: vec![0; bounds + 1],
        }
    }

    /// Returns the durations of `distribution`, which was reported at `at_ns`.
    pub(super) fn of<C: Cell>(distribution: &Distribution<C>, at_ns: u64) -> Self {
        let moments = distribution.moments();
        if moments.count == 0 {
            return Self::new(distribution.repartition().len() - 1);
        }
        Self {
            cells: Cells(distribution.places().collect()),
            sum_ns: moments.sum_ns,
            sum_squares_ns2: moments.sum_squares_ns2,
            min_ns: moments.min_ns,
            max_ns: moments.max_ns,
            last: (at_ns, moments.last_ns),
            buckets: *distribution.buckets(),
            repartition: distribution.repartition().to_vec(),
        }
    }

    /// Empty durations of the same kind.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.repartition.len().saturating_sub(1))
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.cells.0.iter().map(|&(_, count)| count).sum()
    }

    /// The durations as a distribution, which gives percentiles. `bounds_ms` are the bounds of the
    /// repartition.
    ///
    /// # Errors
    /// The repartition has another number of bounds.
    pub fn distribution(&self, bounds_ms: &[u64]) -> Result<Distribution<u64>, DeltaError> {
        if bounds_ms.len() + 1 != self.repartition.len() {
            return Err(DeltaError::Shape);
        }
        let moments = Moments {
            count: self.count(),
            sum_ns: self.sum_ns,
            sum_squares_ns2: self.sum_squares_ns2,
            min_ns: self.min_ns,
            max_ns: self.max_ns,
            last_ns: self.last.1,
        };
        let cells = self.cells.0.iter().copied();
        Ok(Distribution::of_parts(cells, moments, self.buckets, bounds_ms, &self.repartition))
    }

    /// Adds `other`. If that fails, the durations are undefined.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), DeltaError> {
        if self.repartition.len() != other.repartition.len() {
            return Err(DeltaError::Shape);
        }
        self.cells.add(&other.cells)?;
        let wide = |one: u128, other| one.checked_add(other).ok_or(DeltaError::TooLarge);
        self.sum_ns = wide(self.sum_ns, other.sum_ns)?;
        self.sum_squares_ns2 = wide(self.sum_squares_ns2, other.sum_squares_ns2)?;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.last = self.last.max(other.last);
        // No bucket exceeds the sum of the cells, which is not too large.
        super::add_counts(&mut self.buckets, &other.buckets)?;
        super::add_counts(&mut self.repartition, &other.repartition)
    }
}

impl Cells {
    fn add(&mut self, other: &Self) -> Result<(), DeltaError> {
        if other.0.is_empty() {
            return Ok(());
        }
        let mut sum = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(one), Some(two)) if one.0 == two.0 => {
                    let count = wire::sum(one.1, two.1).ok_or(DeltaError::TooLarge)?;
                    let place = one.0;
                    mine.next();
                    theirs.next();
                    (place, count)
                }
                (Some(one), Some(two)) if one.0 > two.0 => {
                    let next = **two;
                    theirs.next();
                    next
                }
                (Some(one), _) => {
                    let next = **one;
                    mine.next();
                    next
                }
                (None, Some(two)) => {
                    let next = **two;
                    theirs.next();
                    next
                }
                (None, None) => break,
            };
            sum.push(next);
        }
        let total = sum.iter().try_fold(0, |total, &(_, count)| wire::sum(total, count));
        total.ok_or(DeltaError::TooLarge)?;
        self.0 = sum;
        Ok(())
    }
}

#[cfg(test)]
impl Durations {
    /// Makes the durations reported later by `ns`, if there are any.
    pub(super) fn delay(&mut self, ns: u64) {
        if self.count() > 0 {
            self.last.0 += ns;
        }
    }
}
