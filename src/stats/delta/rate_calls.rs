//! Calls by the rate step in which they started, as they travel.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DeltaError, wire};
use crate::stats::rate_steps::{RATE_STEPS_MAX, RateStepCounts, RateSteps};
use crate::stats::{FailureCounts, WithheldCounts};

/// Calls of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCalls {
    /// Calls started.
    pub started: u64,
    /// Calls that reached the end of the scenario.
    pub succeeded: u64,
    /// Calls that failed.
    pub failures: FailureCounts,
    /// Planned calls that were not started.
    pub withheld: WithheldCounts,
}

impl StepCalls {
    fn of(counts: &RateStepCounts) -> Self {
        let &RateStepCounts { started, succeeded, failures, withheld, .. } = counts;
        Self { started, succeeded, failures, withheld }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            started: self.started.saturating_sub(earlier.started),
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            failures: self.failures.since(&earlier.failures),
            withheld: self.withheld.since(&earlier.withheld),
        }
    }

    fn add(&mut self, other: &Self) -> Option<()> {
        self.started = wire::sum(self.started, other.started)?;
        self.succeeded = wire::sum(self.succeeded, other.succeeded)?;
        self.failures.checked_add(&other.failures)?;
        self.withheld.checked_add(&other.withheld)
    }
}

/// Calls of a schedule by row: row `n` stands for the steps `n << shift` and following. The rates
/// themselves are no sums: a source gets them from the side that started it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RateStepCalls {
    shift: u32,
    rows: BTreeMap<u32, StepCalls>,
}

impl<'de> Deserialize<'de> for RateStepCalls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            shift: u32,
            rows: BTreeMap<u32, StepCalls>,
        }
        let Parts { shift, rows } = Parts::deserialize(deserializer)?;
        let is_row = |row: &u32| (*row as usize) < RATE_STEPS_MAX;
        if shift >= u32::BITS || !rows.keys().all(is_row) {
            let text = format!("rate steps beyond row {RATE_STEPS_MAX}, or folded more than once");
            return Err(serde::de::Error::custom(text));
        }
        Ok(Self { shift, rows })
    }
}

impl RateStepCalls {
    /// Returns the calls that a worker has counted in `now` beyond those of `earlier`.
    pub(super) fn between(earlier: &RateSteps, now: &RateSteps) -> Result<Self, DeltaError> {
        let mut since = Self::of(now);
        let earlier = Self::of(earlier).folded(since.shift)?;
        for (row, calls) in &mut since.rows {
            *calls = calls.since(&earlier.rows.get(row).copied().unwrap_or_default());
        }
        since.rows.retain(|_, calls| *calls != StepCalls::default());
        Ok(since)
    }

    fn of(steps: &RateSteps) -> Self {
        let (shift, rows) = steps.rows();
        Self { shift, rows: (0..).zip(rows.iter().map(StepCalls::of)).collect() }
    }

    /// A copy whose neighbouring rows are merged until `shift` is reached.
    fn folded(self, shift: u32) -> Result<Self, DeltaError> {
        let by = shift.saturating_sub(self.shift);
        if by == 0 {
            return Ok(self);
        }
        let mut folded = Self { shift, rows: BTreeMap::new() };
        for (row, calls) in self.rows {
            let sum = folded.rows.entry(row >> by).or_default();
            sum.add(&calls).ok_or(DeltaError::TooLarge)?;
        }
        Ok(folded)
    }

    /// The rows: the first step that each stands for, and its calls.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &StepCalls)> {
        self.rows.iter().map(|(row, calls)| (row << self.shift, calls))
    }

    /// Adds `other`; rows are as wide as the wider ones of both.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), DeltaError> {
        let shift = self.shift.max(other.shift);
        *self = std::mem::take(self).folded(shift)?;
        for (row, calls) in other.clone().folded(shift)?.rows {
            let sum = self.rows.entry(row).or_default();
            sum.add(&calls).ok_or(DeltaError::TooLarge)?;
        }
        Ok(())
    }
}
