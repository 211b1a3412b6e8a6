//! The figures that a worker hands to the control side once a second.
//!
//! A worker records straight into the report that it owns, and swaps the box for an empty one at
//! the end of an interval; nothing is copied. If no empty box has come back, the worker keeps its
//! own and reports a longer interval later: it never waits.

use super::{
    Counters, CpuUse, FailureTable, Histograms, Layout, MessageCounts, RateSteps, StepCounts,
    WorstCalls,
};

/// One worker's figures for one interval. Boxed and recycled.
#[derive(Clone, Debug)]
pub struct Report {
    /// The worker, counted from 0.
    pub worker: u16,
    /// Position among the worker's reports, counted from 0.
    pub sequence: u64,
    /// [`Layout::generation`] of the worker's layout.
    pub generation: u32,
    /// Begin of the interval on the monotonic clock: the end of the previous one.
    pub start_ns: u64,
    /// End of the interval on the monotonic clock. Workers end intervals at whole seconds after the
    /// start of the run ([`super::RunStart::monotonic_ns`]), so that their seconds coincide.
    pub end_ns: u64,
    /// Everything counted since the start of the run. The worker that counts a call as started also
    /// counts its end, so that calls add up in any order of the reports.
    pub counters: Counters,
    /// Messages by direction, method and code since the start.
    pub messages: MessageCounts,
    /// Durations measured in this interval.
    pub histograms: Histograms,
    /// Calls that failed in this interval, in groups of those that failed alike.
    pub failures: FailureTable,
    /// Calls that ended in this interval with the worst media.
    pub worst: WorstCalls,
    /// Values of the `counter=` counters since the start, in the order of [`Layout::counters`].
    pub generic_counters: Vec<u64>,
    /// Passes of the `display=` steps since the start, in the order of [`Layout::displays`].
    pub displays: Vec<u64>,
    /// Counts of each step since the start: all steps of the first of [`Layout::programs`], then of
    /// the next.
    pub steps: Vec<StepCounts>,
    /// Calls that follow each of [`Layout::programs`] at the end of the interval. Failed calls that
    /// still end their dialog are included.
    pub program_calls: Vec<u64>,
    /// Time of the interval that the worker did not spend waiting.
    pub busy_ns: u64,
    /// This worker's share of the target rate while calls were being placed, in calls per second;
    /// 0 if calls are not paced (as UAS, or with a fixed number of users).
    pub target_rate: f64,
    /// Time of the interval during which calls were being placed; less than the interval once all
    /// calls of the run have been placed.
    pub pacing_ns: u64,
    /// Outcome of the calls of each rate, since the start.
    pub rate_steps: RateSteps,
    /// Number of the rate step that the interval began with.
    pub rate_step: u32,
    /// The most calls open at once within the interval.
    pub peak_active: u64,
    /// CPU use of the worker's thread. The control side asks the kernel for it and fills it in.
    pub cpu: CpuUse,
    /// True if no call can begin any more since the begin of the interval, and open ones come to
    /// their end.
    pub is_draining: bool,
    /// True if the worker ends with this report.
    pub is_last: bool,
}

/// A worker's counters between two reports, for readers that cannot wait a second. Only reports
/// have durations and counts by step.
#[derive(Clone, Copy, Debug)]
pub struct CounterSample {
    /// The worker, counted from 0.
    pub worker: u16,
    /// Time of the look, on the monotonic clock.
    pub at_ns: u64,
    /// Everything counted since the start of the run, as in [`Report::counters`].
    pub counters: Counters,
    /// The worker's share of the target rate, as in [`Report::target_rate`].
    pub target_rate: f64,
}

impl Report {
    /// An empty report for `worker`.
    pub fn new(layout: &Layout, worker: u16) -> Self {
        Self {
            worker,
            sequence: 0,
            generation: layout.generation,
            start_ns: 0,
            end_ns: 0,
            counters: Counters::default(),
            messages: MessageCounts::default(),
            histograms: Histograms::new(layout),
            failures: FailureTable::default(),
            worst: WorstCalls::default(),
            generic_counters: vec![0; layout.counters.len()],
            displays: vec![0; layout.displays.len()],
            steps: vec![StepCounts::default(); layout.steps_total()],
            program_calls: vec![0; layout.programs.len()],
            busy_ns: 0,
            target_rate: 0.0,
            pacing_ns: 0,
            rate_steps: RateSteps::default(),
            rate_step: 0,
            peak_active: 0,
            cpu: CpuUse::default(),
            is_draining: false,
            is_last: false,
        }
    }

    /// Empties an absorbed report, so that the same worker can use it again. The control side does
    /// this, because clearing touches megabytes and would make a worker late.
    pub fn recycle(&mut self) {
        self.sequence = 0;
        self.start_ns = 0;
        self.end_ns = 0;
        self.counters = Counters::default();
        self.messages.clear();
        self.histograms.clear();
        self.failures.clear();
        self.worst.clear();
        self.generic_counters.fill(0);
        self.displays.fill(0);
        self.steps.fill(StepCounts::default());
        self.program_calls.fill(0);
        self.busy_ns = 0;
        self.target_rate = 0.0;
        self.pacing_ns = 0;
        self.rate_steps.clear();
        self.rate_step = 0;
        self.peak_active = 0;
        self.cpu = CpuUse::default();
        self.is_draining = false;
        self.is_last = false;
    }

    /// Length of the interval.
    pub fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Share of the interval that the worker was busy, 0 to 1.
    pub fn busy_share(&self) -> f64 {
        match self.duration_ns() {
            0 => 0.0,
            duration_ns => (self.busy_ns as f64 / duration_ns as f64).min(1.0),
        }
    }
}
