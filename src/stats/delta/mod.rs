//! Counts and measurements of one source in an interval: the unit that travels and adds up.
//!
//! If a run has listeners, its reports become one [`Delta`] a second ([`super::Aggregate`]). A
//! [`DeltaSum`] adds the deltas of any number of workers, runs, processes and hosts: exactly, in
//! any order, and each once. Counts and the cells of histograms are added, and percentiles are
//! computed from the sum. Figures that cannot be added stand beside them, for each source
//! ([`Moment`]).
//!
//! A delta that arrives is checked before memory is taken for it: places of cells, sums, lengths.

mod durations;
mod rate_calls;
mod recorder;
mod sum;
#[cfg(test)]
mod tests;
pub(super) mod wire;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use durations::Durations;
pub use rate_calls::{RateStepCalls, StepCalls};
pub(super) use recorder::{Baseline, DeltaRecorder};
pub use sum::{Added, DeltaSum, LAYOUTS_MAX, SOURCES_MAX, SourceSum, WINDOW};
pub use wire::COUNT_MAX;

use super::histograms::{Histograms, TransactionHistograms};
use super::{
    Counters, CpuUse, JudgedSeconds, Layout, LayoutId, MediaMeasure, MessageCounts, Report,
    StepCounts,
};

/// Longest name of a source.
pub const SOURCE_MAX: usize = 64;

/// Most steps, transactions, timers or counters of a delta. A scenario has dozens.
const ENTRIES_MAX: usize = 65_536;

/// Reason why deltas cannot be added, or why a delta is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DeltaError {
    /// The name of a source is empty, too long or has other characters.
    #[error(
        "a source is named by 1 to {SOURCE_MAX} letters, digits, dots, colons, dashes and underscores"
    )]
    Source,
    /// Two sets of figures with the same layout number measure different things.
    #[error("the figures have another number of steps, durations or counters than their layout")]
    Shape,
    /// A sum that is too large.
    #[error("a count is above {COUNT_MAX}")]
    TooLarge,
    /// Counts of durations that contradict each other.
    #[error("the cells of a histogram, its buckets and its extremes contradict each other")]
    Inconsistent,
    /// Begin and end are the wrong way round, or a rate is not a valid number.
    #[error("an interval ends before it begins, or a rate is negative or no number")]
    Interval,
    /// More sources than a sum has room for.
    #[error("more than {SOURCES_MAX} sources")]
    Sources,
    /// More layouts than a sum has room for.
    #[error("more than {LAYOUTS_MAX} layouts")]
    Layouts,
}

/// The name of a source of deltas, unique among those that are added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Source(String);

impl Source {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Source {
    type Error = DeltaError;

    fn try_from(name: String) -> Result<Self, DeltaError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        let is_name = (1..=SOURCE_MAX).contains(&name.len()) && name.chars().all(is_part);
        if is_name { Ok(Self(name)) } else { Err(DeltaError::Source) }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.0
    }
}

/// One source's figures for one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Delta {
    /// The source of the figures.
    pub source: Source,
    /// Position among the deltas of the source, from 0 and without gaps.
    pub sequence: u64,
    /// The layout that names the figures.
    pub layout: LayoutId,
    /// Begin of the interval, in nanoseconds since 1970 UTC by the clock of the source.
    pub begin_unix_ns: u64,
    /// End of the interval.
    pub end_unix_ns: u64,
    /// The figures that add up.
    pub figures: Figures,
    /// Seconds judged by the source in the interval: seconds of several sources are different ones.
    pub seconds: JudgedSeconds,
    /// The state of the source at the end of the interval.
    pub moment: Moment,
}

/// A delta before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    source: Source,
    sequence: u64,
    layout: LayoutId,
    begin_unix_ns: u64,
    end_unix_ns: u64,
    figures: Figures,
    seconds: JudgedSeconds,
    moment: Moment,
}

impl TryFrom<Parts> for Delta {
    type Error = DeltaError;

    fn try_from(parts: Parts) -> Result<Self, DeltaError> {
        let Parts { source, sequence, layout, begin_unix_ns, end_unix_ns, .. } = parts;
        let Parts { figures, seconds, moment, .. } = parts;
        JudgedSeconds::default().checked_add(&seconds).ok_or(DeltaError::TooLarge)?;
        let is_rate = moment.target_rate.is_finite() && moment.target_rate >= 0.0;
        if !is_rate || end_unix_ns < begin_unix_ns || sequence == u64::MAX {
            return Err(DeltaError::Interval);
        }
        let figures = figures.checked()?;
        Ok(Self { source, sequence, layout, begin_unix_ns, end_unix_ns, figures, seconds, moment })
    }
}

/// Figures of a source at one moment. Later ones replace earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// The number of workers.
    pub workers: u64,
    /// Target rate in calls per second; 0 if calls are not paced.
    pub target_rate: f64,
    /// The number of open calls.
    pub calls_active: u64,
    /// The most calls that were open at once since the start. Several sources may have peaked at
    /// different times, so the sum of their peaks is an upper bound.
    pub peak_active: u64,
}

impl Moment {
    /// Adds two moments. The sums need not be exact: a value that is too large is cut off.
    fn with(self, other: Self) -> Self {
        Self {
            workers: self.workers.saturating_add(other.workers),
            target_rate: (self.target_rate + other.target_rate).min(f64::MAX),
            calls_active: self.calls_active.saturating_add(other.calls_active),
            peak_active: self.peak_active.saturating_add(other.peak_active),
        }
    }
}

/// Figures that add up: over intervals, workers, runs, processes and hosts of one layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// All counters.
    pub counters: Counters,
    /// Messages by direction, method and code.
    pub messages: MessageCounts,
    /// Counts by `counter=`, in the order of [`Layout::counters`].
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub generic_counters: Vec<u64>,
    /// Counts by `display=`, in the order of [`Layout::displays`].
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub displays: Vec<u64>,
    /// Counts by step: all steps of the first of [`Layout::programs`], then of the next.
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub steps: Vec<StepCounts>,
    /// Calls by the rate step in which they started.
    pub rate_steps: RateStepCalls,
    /// Durations by transaction, in the order of [`Layout::transactions`].
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub transactions: Vec<TransactionDurations>,
    /// Durations by response-time timer, in the order of [`Layout::rtds`].
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub rtds: Vec<Durations>,
    /// Durations from a call's first message to its end.
    pub call_length: Durations,
    /// Differences between the planned and the actual start of a call.
    pub planned_send_error: Durations,
    /// Durations of the turns of the workers' loops.
    pub loop_time: Durations,
    /// Measurements of media, in the order of [`MediaMeasure::ALL`](crate::stats::MediaMeasure).
    #[serde(deserialize_with = "wire::bounded::<_, _, ENTRIES_MAX>")]
    pub media: Vec<Durations>,
    /// Use of the workers' time.
    pub time: WorkerTime,
}

/// The durations of one kind of transaction, as in [`TransactionHistograms`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionDurations {
    /// Durations from the request's first transmission to the final response.
    pub service: Durations,
    /// Durations from the planned time of the request to the final response.
    pub response: Durations,
    /// The `service` durations whose final response was 3xx to 6xx.
    pub refused: Durations,
}

/// Use of the workers' time. The times of several workers are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerTime {
    /// Time covered by reports.
    pub reported_ns: u64,
    /// Time not spent waiting.
    pub busy_ns: u64,
    /// Time during which calls were being placed.
    pub pacing_ns: u64,
    /// Calls that the rate asked for meanwhile, in millionths: whole numbers add up exactly.
    pub planned_micro_calls: u64,
    /// Figures of the kernel about the workers' CPUs.
    pub cpu: CpuUse,
}

impl WorkerTime {
    fn checked_add(&mut self, other: &Self) -> Option<()> {
        self.reported_ns = wire::sum(self.reported_ns, other.reported_ns)?;
        self.busy_ns = wire::sum(self.busy_ns, other.busy_ns)?;
        self.pacing_ns = wire::sum(self.pacing_ns, other.pacing_ns)?;
        let planned = wire::sum(self.planned_micro_calls, other.planned_micro_calls)?;
        self.planned_micro_calls = planned;
        self.cpu.checked_add(&other.cpu)
    }

    fn of(report: &Report) -> Self {
        // A rate out of range would be cut off here, but no worker can have such a rate.
        let planned = report.target_rate * report.pacing_ns as f64 / 1e3;
        Self {
            reported_ns: report.duration_ns(),
            busy_ns: report.busy_ns,
            pacing_ns: report.pacing_ns,
            planned_micro_calls: planned.round() as u64,
            cpu: report.cpu,
        }
    }
}

impl Figures {
    /// Creates empty figures for the measurements of `layout`.
    pub fn new(layout: &Layout) -> Self {
        let rtds = layout.rtd_repartition_ms.len();
        Self {
            counters: Counters::default(),
            messages: MessageCounts::default(),
            generic_counters: vec![0; layout.counters.len()],
            displays: vec![0; layout.displays.len()],
            steps: vec![StepCounts::default(); layout.steps_total()],
            rate_steps: RateStepCalls::default(),
            transactions: layout.transactions.iter().map(|_| TransactionDurations::new()).collect(),
            rtds: layout.rtds.iter().map(|_| Durations::new(rtds)).collect(),
            call_length: Durations::new(layout.call_length_repartition_ms.len()),
            planned_send_error: Durations::new(0),
            loop_time: Durations::new(0),
            media: MediaMeasure::ALL.iter().map(|_| Durations::new(0)).collect(),
            time: WorkerTime::default(),
        }
    }

    /// Adds `other`, which has the same measurements.
    ///
    /// # Errors
    /// It has different ones, or a sum is too large. The figures are undefined then.
    pub fn add(&mut self, other: &Self) -> Result<(), DeltaError> {
        let large = |sum: Option<()>| sum.ok_or(DeltaError::TooLarge);
        if self.steps.len() != other.steps.len()
            || self.transactions.len() != other.transactions.len()
            || self.rtds.len() != other.rtds.len()
            || self.media.len() != other.media.len()
        {
            return Err(DeltaError::Shape);
        }
        large(self.counters.checked_add(&other.counters))?;
        large(self.messages.checked_add(&other.messages))?;
        add_counts(&mut self.generic_counters, &other.generic_counters)?;
        add_counts(&mut self.displays, &other.displays)?;
        let mut steps = self.steps.iter_mut().zip(&other.steps);
        large(steps.try_for_each(|(mine, theirs)| mine.checked_add(theirs)))?;
        self.rate_steps.add(&other.rate_steps)?;
        for (mine, theirs) in self.transactions.iter_mut().zip(&other.transactions) {
            mine.service.add(&theirs.service)?;
            mine.response.add(&theirs.response)?;
            mine.refused.add(&theirs.refused)?;
        }
        self.rtds.iter_mut().zip(&other.rtds).try_for_each(|(mine, theirs)| mine.add(theirs))?;
        self.call_length.add(&other.call_length)?;
        self.planned_send_error.add(&other.planned_send_error)?;
        self.loop_time.add(&other.loop_time)?;
        self.media.iter_mut().zip(&other.media).try_for_each(|(mine, theirs)| mine.add(theirs))?;
        large(self.time.checked_add(&other.time))
    }

    /// The histograms, which give percentiles. `layout` is that of the figures.
    ///
    /// # Errors
    /// `layout` is another one.
    pub fn histograms(&self, layout: &Layout) -> Result<Histograms<u64>, DeltaError> {
        let mut all = Histograms::<u64>::new(layout);
        if all.transactions.len() != self.transactions.len()
            || all.rtds.len() != self.rtds.len()
            || all.media.each().len() != self.media.len()
        {
            return Err(DeltaError::Shape);
        }
        for (made, own) in all.transactions.iter_mut().zip(&self.transactions) {
            *made = TransactionHistograms {
                service: own.service.distribution(&[])?,
                response: own.response.distribution(&[])?,
                refused: own.refused.distribution(&[])?,
            };
        }
        for (made, own) in all.rtds.iter_mut().zip(&self.rtds) {
            *made = own.distribution(&layout.rtd_repartition_ms)?;
        }
        all.call_length = self.call_length.distribution(&layout.call_length_repartition_ms)?;
        all.planned_send_error = self.planned_send_error.distribution(&[])?;
        all.loop_time = self.loop_time.distribution(&[])?;
        for (made, own) in all.media.each_mut().iter_mut().zip(&self.media) {
            *made = own.distribution(&[])?;
        }
        Ok(all)
    }

    /// Empty figures of the same measurements.
    fn emptied(&self) -> Self {
        let none = |durations: &Durations| durations.emptied();
        Self {
            counters: Counters::default(),
            messages: MessageCounts::default(),
            generic_counters: vec![0; self.generic_counters.len()],
            displays: vec![0; self.displays.len()],
            steps: vec![StepCounts::default(); self.steps.len()],
            rate_steps: RateStepCalls::default(),
            transactions: self.transactions.iter().map(TransactionDurations::emptied).collect(),
            rtds: self.rtds.iter().map(none).collect(),
            call_length: none(&self.call_length),
            planned_send_error: none(&self.planned_send_error),
            loop_time: none(&self.loop_time),
            media: self.media.iter().map(none).collect(),
            time: WorkerTime::default(),
        }
    }

    /// Returns these figures if none of them is too large.
    fn checked(self) -> Result<Self, DeltaError> {
        self.emptied().add(&self)?;
        Ok(self)
    }
}

impl TransactionDurations {
    fn new() -> Self {
        Self { service: Durations::new(0), response: Durations::new(0), refused: Durations::new(0) }
    }

    fn emptied(&self) -> Self {
        Self {
            service: self.service.emptied(),
            response: self.response.emptied(),
            refused: self.refused.emptied(),
        }
    }
}

/// Adds counts place by place.
fn add_counts(sums: &mut [u64], counts: &[u64]) -> Result<(), DeltaError> {
    if sums.len() != counts.len() {
        return Err(DeltaError::Shape);
    }
    for (sum, &count) in sums.iter_mut().zip(counts) {
        *sum = wire::sum(*sum, count).ok_or(DeltaError::TooLarge)?;
    }
    Ok(())
}
