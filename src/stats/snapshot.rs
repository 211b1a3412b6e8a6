//! The state of a run at one moment, consistent in itself.
//!
//! Plain figures, without histograms, for the console, the summary, the API and the metrics.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::history::per_second;
use super::verdict::withheld_by_generator;
use super::{
    Counters, DurationSummary, FailureCause, Failures, HistoryRow, Layout, MediaSummary,
    RECENT_SECONDS, RateStep, RecentSummary, StepCounts, VerdictTally, WithheldCause, WorkerCpu,
    WorstCall,
};

/// The start of a run, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStart {
    /// Wall time in nanoseconds since 1970 UTC.
    pub unix_ns: u64,
    /// The same moment on the workers' monotonic clock.
    pub monotonic_ns: u64,
}

/// Calls by state: `started = succeeded + failed + active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTotals {
    /// Calls started, by us or by peers.
    pub started: u64,
    /// Calls that reached the end of the scenario.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls still open.
    pub active: u64,
}

impl CallTotals {
    /// The totals of a block of counters. The identity holds even for counters that violate it
    /// (which debug builds refuse): an ended call must have started.
    pub fn of(counters: &Counters) -> Self {
        let (succeeded, failed) = (counters.calls_succeeded, counters.calls_failed);
        debug_assert!(counters.calls_started() >= succeeded + failed, "a call ended twice");
        debug_assert_eq!(counters.failures.total(), failed, "a failed call has one cause");
        let active = counters.calls_active();
        Self { started: succeeded + failed + active, succeeded, failed, active }
    }

    /// Share of the started calls that succeeded, 0 to 1; 0 if none was started.
    pub fn success_ratio(&self) -> f64 {
        match self.started {
            0 => 0.0,
            started => self.succeeded as f64 / started as f64,
        }
    }
}

impl std::iter::Sum for CallTotals {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            started: sum.started + part.started,
            succeeded: sum.succeeded + part.succeeded,
            failed: sum.failed + part.failed,
            active: sum.active + part.active,
        })
    }
}

/// Both clocks of one kind of transaction that was answered with a 2xx, and the first clock of
/// those that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionSummary {
    /// Times from the request's first transmission to the final response.
    pub service: DurationSummary,
    /// Times from the moment at which the request was planned.
    pub response: DurationSummary,
    /// Times as in `service`, where the final response was 3xx to 6xx.
    pub refused: DurationSummary,
}

/// The rate asked for and the rate reached, in calls per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateSummary {
    /// Target now; 0 if calls are not paced.
    pub target_now: f64,
    /// Target on average while calls were being placed.
    pub target_average: f64,
    /// Calls that we started per second while calls were being placed.
    pub achieved: f64,
    /// Time during which calls were being placed.
    pub pacing_ns: u64,
}

/// Share of time, 0 to 1, that workers did not wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusySummary {
    /// Share of the busiest worker in its busiest second.
    pub share_max: f64,
    /// Average share of all workers over the whole run.
    pub share_average: f64,
}

/// The state of a run.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The names of the measurements.
    pub layout: Arc<Layout>,
    /// The start of the run.
    pub start: RunStart,
    /// Time from the start to the end of the last report.
    pub elapsed_ns: u64,
    /// Workers of the run.
    pub workers: usize,
    /// True once every worker has given its last report.
    pub is_finished: bool,
    /// Calls by state.
    pub calls: CallTotals,
    /// The most calls open at once: the highest sum of the workers' peaks within a second.
    pub peak_active: u64,
    /// Everything counted.
    pub counters: Counters,
    /// Failed calls in groups of those that failed alike; they add up to `counters.failures`.
    pub failures: Failures,
    /// The ended calls with the worst media, the worst first.
    pub worst: Arc<Vec<WorstCall>>,
    /// Values of the `counter=` counters, in the order of [`Layout::counters`].
    pub generic_counters: Vec<u64>,
    /// Passes of the `display=` steps, in the order of [`Layout::displays`].
    pub displays: Vec<u64>,
    /// Counts of each step, in the order of [`super::Report::steps`].
    pub steps: Vec<StepCounts>,
    /// Calls that follow each of [`Layout::programs`], as far as workers have reported. Failed
    /// calls that still end their dialog are included.
    pub program_calls: Vec<u64>,
    /// Times of each transaction, in the order of [`Layout::transactions`].
    pub transactions: Vec<TransactionSummary>,
    /// Service times of the [primary transaction](Layout::primary_transaction) in the last minutes,
    /// for each of [`RECENT_SECONDS`].
    pub recent: [RecentSummary; RECENT_SECONDS.len()],
    /// Times of each response-time timer, in the order of [`Layout::rtds`].
    pub rtds: Vec<DurationSummary>,
    /// Counts of each response-time timer below each bound of [`Layout::rtd_repartition_ms`] and
    /// above.
    pub rtd_repartitions: Vec<Vec<u64>>,
    /// Times from a call's first message to its end.
    pub call_length: DurationSummary,
    /// Counts below each bound of [`Layout::call_length_repartition_ms`] and above.
    pub call_length_repartition: Vec<u64>,
    /// Service time of all INVITE transactions that were answered with a 2xx.
    pub invite_rtt: DurationSummary,
    /// Lateness of the starts of calls.
    pub planned_send_error: DurationSummary,
    /// Durations of the turns of the workers' loops.
    pub loop_time: DurationSummary,
    /// Measurements of media.
    pub media: MediaSummary,
    /// Target and achieved rate.
    pub rate: RateSummary,
    /// Outcome of the calls of each rate at which calls were due, in order of time.
    pub rate_steps: Vec<RateStep>,
    /// Busy shares.
    pub busy: BusySummary,
    /// CPU use of each worker.
    pub cpu: Vec<WorkerCpu>,
    /// Judgement of the seconds so far.
    pub verdict: VerdictTally,
    /// The last complete second.
    pub last_second: Option<HistoryRow>,
}

/// Shortest time of placing calls that says something about a rate: one call within a millisecond
/// would read as a thousand per second.
pub const RATE_NS_MIN: u64 = 500_000_000;

impl Snapshot {
    /// Calls started per second since the start, including those still open; `None` if that time
    /// was too short to tell.
    pub fn known_calls_per_second(&self) -> Option<f64> {
        let is_known = self.elapsed_ns >= RATE_NS_MIN || self.calls.started == 0;
        is_known.then(|| self.calls_per_second())
    }

    /// Calls started per second since the start, including those still open.
    pub fn calls_per_second(&self) -> f64 {
        per_second(self.calls.started as f64, self.elapsed_ns)
    }

    /// Counts of the steps of the program with index `program`.
    pub fn steps_of(&self, program: usize) -> &[StepCounts] {
        let first = self.layout.first_step(program);
        let count = self.layout.programs.get(program).map_or(0, |program| program.steps.len());
        self.steps.get(first..first + count).unwrap_or_default()
    }

    /// Calls that failed for want of an answer.
    pub fn timeouts(&self) -> u64 {
        timeouts(&self.counters)
    }

    /// Planned calls not started because of the user's own limit `-l`.
    pub fn withheld_by_user(&self) -> u64 {
        self.counters.withheld.count(WithheldCause::CallLimit)
    }

    /// Planned calls not started because of the generator.
    pub fn withheld_by_generator(&self) -> u64 {
        withheld_by_generator(&self.counters.withheld)
    }

    /// The wall time of the last report, in nanoseconds since 1970 UTC.
    pub fn now_unix_ns(&self) -> u64 {
        self.start.unix_ns.saturating_add(self.elapsed_ns)
    }
}

/// Calls that failed for want of an answer.
pub(super) fn timeouts(counters: &Counters) -> u64 {
    let causes = FailureCause::ALL.iter().filter(|cause| cause.class() == "timeout");
    causes.map(|&cause| counters.failures.count(cause)).sum()
}
