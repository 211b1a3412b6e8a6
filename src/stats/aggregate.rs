//! Merges the workers' reports into seconds, run totals and a bounded history.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delta::{Baseline, Delta, DeltaRecorder, Moment, Source};
use super::distribution::add_all;
use super::failures::FailureSums;
use super::history::{History, HistoryRow, per_second};
use super::lifetime::{BeforeReset, JudgedSeconds, Lifetime, Measured};
use super::rate_steps::{self, RateStepSeconds};
use super::recent::Recent;
use super::snapshot::{BusySummary, CallTotals, RateSummary, RunStart, Snapshot, timeouts};
use super::verdict::{
    Evidence, PLANNED_SEND_ERROR_LIMIT_NS, Verdict, VerdictTally, withheld_by_generator,
};
use super::worst::WorstOfRun;
use super::{
    CounterSample, Counters, CpuUse, Distribution, Histograms, Layout, MediaMeasure, MediaSummary,
    MessageCounts, RateSteps, Report, StepCounts, TransactionHistograms, TransactionSummary,
    Unwritten, WithheldCause, WorkerCpu,
};

const SECOND_NS: u64 = 1_000_000_000;

/// Time by which a report may begin before the second that it leads into and still belong to it:
/// workers read their clocks themselves.
const EARLY_TOLERANCE_NS: u64 = SECOND_NS / 10;

/// Seconds waited for a worker that does not report. Each open second holds a set of histograms.
const OPEN_SECONDS_MAX: u64 = 8;

/// Longest gap that is filled with stalled seconds one by one; a guard against a broken clock.
const GAP_SECONDS_MAX: u64 = 3600;

/// State of one worker, as far as reports and looks have told it.
#[derive(Clone, Debug, Default)]
struct Worker {
    next_sequence: u64,
    /// The counters of the last report; the history is made from these.
    counters: Counters,
    /// The counters of the last report or look; `seen_ns` is its time.
    seen: Counters,
    seen_ns: u64,
    messages: MessageCounts,
    rate_steps: RateSteps,
    generic_counters: Vec<u64>,
    displays: Vec<u64>,
    steps: Vec<StepCounts>,
    program_calls: Vec<u64>,
    /// Generation of the layout of the last report.
    generation: u32,
    /// Generation of the layout that orders the figures by step and program.
    ordered_by: u32,
    target_rate: f64,
    /// Number of the first second that is not yet reported in full.
    covered: u64,
    is_done: bool,
    /// Second from which on the worker can begin no call any more.
    drains_from: Option<u64>,
    busy_ns: u64,
    reported_ns: u64,
    cpu: WorkerCpu,
}

/// A second that not all workers have reported yet.
#[derive(Debug)]
struct OpenSecond {
    /// CPU use of each worker that has reported the second, by worker.
    reported_by: Vec<Option<CpuUse>>,
    histograms: Histograms,
    counted: Counters,
    busy_share_max: f64,
    planned_calls: f64,
    pacing_ns: u64,
    /// The earliest rate step that a worker was in when the second began, if calls are paced.
    rate_step: Option<u32>,
    peak_active: u64,
}

impl OpenSecond {
    fn new(layout: &Layout) -> Self {
        Self {
            reported_by: Vec::new(),
            histograms: Histograms::new(layout),
            counted: Counters::default(),
            busy_share_max: 0.0,
            planned_calls: 0.0,
            pacing_ns: 0,
            rate_step: None,
            peak_active: 0,
        }
    }

    fn clear(&mut self) {
        self.reported_by.clear();
        self.histograms.clear();
        self.counted = Counters::default();
        self.busy_share_max = 0.0;
        self.planned_calls = 0.0;
        self.pacing_ns = 0;
        self.rate_step = None;
        self.peak_active = 0;
    }

    fn absorb(&mut self, report: &Report, counted: &Counters) {
        let worker = usize::from(report.worker);
        if self.reported_by.len() <= worker {
            self.reported_by.resize(worker + 1, None);
        }
        self.reported_by[worker].get_or_insert_default().add(&report.cpu);
        self.histograms.add(&report.histograms);
        self.counted.add(counted);
        self.busy_share_max = self.busy_share_max.max(report.busy_share());
        self.planned_calls += finite(report.target_rate) * report.pacing_ns as f64 / 1e9;
        self.pacing_ns = self.pacing_ns.max(report.pacing_ns);
        if !report.rate_steps.is_empty() {
            let step = self.rate_step.unwrap_or(report.rate_step);
            self.rate_step = Some(step.min(report.rate_step));
        }
        self.peak_active += report.peak_active;
    }
}

/// A run as seen by the control side.
#[derive(Debug)]
pub struct Aggregate {
    layout: Arc<Layout>,
    /// The layout before `layout`, of which reports may still come.
    earlier: Option<Arc<Layout>>,
    start: RunStart,
    end_ns: u64,
    /// Time of the last look at a worker between two reports.
    seen_ns: u64,
    workers: Vec<Worker>,
    totals: Histograms<u64>,
    failures: FailureSums,
    worst: WorstOfRun,
    /// Seconds from `first_open` on, without gaps.
    open: VecDeque<OpenSecond>,
    first_open: u64,
    spare: Vec<OpenSecond>,
    /// The second closed last, with its histograms.
    closed: Option<OpenSecond>,
    history: History,
    /// Service times of the primary transaction.
    recent: Recent,
    last_second: Option<HistoryRow>,
    tally: VerdictTally,
    rate_step_seconds: RateStepSeconds,
    peak_active: u64,
    busy_share_max: f64,
    paced_calls: u64,
    planned_calls: f64,
    pacing_ns: u64,
    calls_active: u64,
    base: Base,
    before_reset: Option<BeforeReset>,
    /// The recorder of deltas, in a run whose figures are added to those of others.
    recorder: Option<Box<DeltaRecorder>>,
}

/// The cumulative figures at the last reset, which snapshots leave out.
#[derive(Clone, Debug, Default)]
struct Base {
    end_ns: u64,
    counters: Counters,
    generic_counters: Vec<u64>,
    displays: Vec<u64>,
    steps: Vec<StepCounts>,
    rate_steps: RateSteps,
}

impl Aggregate {
    /// An aggregate for `workers` workers that start at `start`.
    pub fn new(layout: Arc<Layout>, workers: usize, start: RunStart) -> Self {
        Self {
            totals: Histograms::new(&layout),
            failures: FailureSums::default(),
            worst: WorstOfRun::default(),
            workers: vec![Worker::of(layout.generation); workers],
            layout,
            earlier: None,
            start,
            end_ns: start.monotonic_ns,
            seen_ns: start.monotonic_ns,
            open: VecDeque::new(),
            first_open: 0,
            spare: Vec::new(),
            closed: None,
            history: History::default(),
            recent: Recent::new(),
            last_second: None,
            tally: VerdictTally::default(),
            rate_step_seconds: RateStepSeconds::default(),
            peak_active: 0,
            busy_share_max: 0.0,
            paced_calls: 0,
            planned_calls: 0.0,
            pacing_ns: 0,
            calls_active: 0,
            base: Base { end_ns: start.monotonic_ns, ..Base::default() },
            before_reset: None,
            recorder: None,
        }
    }

    /// Records deltas under the name of `source` from now on, in the place of those that were
    /// recorded before. `false` while workers change their layout: try again.
    pub fn record_deltas(&mut self, source: Source) -> bool {
        if self.is_changing_layout() {
            return false;
        }
        let baseline = |worker: &Worker| Baseline {
            next_sequence: worker.next_sequence,
            counters: worker.counters,
            messages: worker.messages.clone(),
            generic_counters: worker.generic_counters.clone(),
            displays: worker.displays.clone(),
            steps: worker.steps.clone(),
            rate_steps: worker.rate_steps.clone(),
            layout: Arc::clone(&self.layout),
            peak_active: 0,
        };
        let workers = self.workers.iter().map(baseline).collect();
        let recorder = DeltaRecorder::new(source, self.start, workers, self.judged_seconds());
        self.recorder = Some(Box::new(recorder));
        true
    }

    /// Records no deltas any more.
    pub fn forget_deltas(&mut self) {
        self.recorder = None;
    }

    /// Takes the deltas of the reports since the last call; none unless deltas are recorded. They
    /// add up to all that was counted and measured, whenever this is called. Resets do not touch
    /// them.
    pub fn take_deltas(&mut self) -> Vec<Delta> {
        let seconds = self.judged_seconds();
        let moment = Moment {
            workers: self.workers.len() as u64,
            target_rate: self.target_rate(),
            calls_active: self.workers.iter().map(|worker| worker.counters.calls_active()).sum(),
            peak_active: 0,
        };
        let recorder = self.recorder.as_mut();
        recorder.map_or_else(Vec::new, |recorder| recorder.take(&self.layout, moment, seconds))
    }

    /// Seconds judged since the start, resets or not.
    fn judged_seconds(&self) -> JudgedSeconds {
        let mut seconds = JudgedSeconds::of(&self.tally);
        self.before_reset.iter().for_each(|before| seconds.add(&before.seconds));
        seconds
    }

    /// Begins the figures of the run anew: later snapshots tell only what happens from now on. Open
    /// calls count as started now, so that calls still add up. The history stays.
    pub fn reset(&mut self) {
        self.before_reset = Some(self.since_start());
        self.base = self.cumulative();
        let counters = &mut self.base.counters;
        let active = counters.calls_active();
        let outgoing = active.min(counters.calls_outgoing);
        counters.calls_outgoing -= outgoing;
        counters.calls_incoming = counters.calls_incoming.saturating_sub(active - outgoing);
        self.totals.clear();
        self.recent.clear();
        self.tally.reset();
        self.rate_step_seconds.clear();
        // Some failures were seen in a glance; their groups come with the next report.
        let mut owed = counters.failures;
        self.workers.iter().for_each(|worker| owed = owed.since(&worker.counters.failures));
        self.failures.reset(owed);
        self.worst.reset(self.base.end_ns);
        self.peak_active = active;
        self.busy_share_max = 0.0;
        self.paced_calls = 0;
        self.planned_calls = 0.0;
        self.pacing_ns = 0;
        for worker in &mut self.workers {
            worker.busy_ns = 0;
            worker.reported_ns = 0;
            worker.cpu = WorkerCpu::default();
        }
    }

    /// Goes on with a later layout of the same run. Workers begin to report in it at different
    /// times. Another one may follow only once all of them do
    /// ([`is_changing_layout`](Self::is_changing_layout)).
    pub fn change_layout(&mut self, layout: Arc<Layout>) {
        let earlier = std::mem::replace(&mut self.layout, layout);
        for worker in &mut self.workers {
            worker.carry(&self.layout, &earlier);
        }
        self.base.steps = self.layout.carry_steps(&earlier, &self.base.steps);
        self.totals.grow(&self.layout);
        if self.layout.primary_transaction() != earlier.primary_transaction() {
            self.recent.clear();
        }
        let seconds = self.open.iter_mut().chain(&mut self.spare).chain(&mut self.closed);
        seconds.for_each(|second| second.histograms.grow(&self.layout));
        self.earlier = Some(earlier);
    }

    /// Tells whether a worker still reports in an earlier layout.
    pub fn is_changing_layout(&self) -> bool {
        let generation = self.layout.generation;
        self.workers.iter().any(|worker| !worker.is_done && worker.generation != generation)
    }

    /// Calls that follow each of [`Layout::programs`], as workers last reported.
    pub fn program_calls(&self) -> Vec<u64> {
        let mut sum = vec![0; self.layout.programs.len()];
        self.workers.iter().for_each(|worker| add_all(&mut sum, &worker.program_calls));
        sum
    }

    /// The target rate of the whole run now, in calls per second; 0 if calls are not paced.
    pub fn target_rate(&self) -> f64 {
        self.workers.iter().map(|worker| worker.target_rate).sum()
    }

    /// Calls open at the end of the last complete second.
    pub fn calls_active(&self) -> u64 {
        self.calls_active
    }

    /// Sums all that the workers have counted since the start.
    fn cumulative(&self) -> Base {
        let mut sum = Base {
            end_ns: self.end_ns.max(self.seen_ns),
            counters: Counters::default(),
            generic_counters: vec![0; self.layout.counters.len()],
            displays: vec![0; self.layout.displays.len()],
            steps: vec![StepCounts::default(); self.layout.steps_total()],
            rate_steps: RateSteps::default(),
        };
        for worker in &self.workers {
            sum.rate_steps.add(&worker.rate_steps);
            sum.counters.add(&worker.seen);
            add_all(&mut sum.generic_counters, &worker.generic_counters);
            add_all(&mut sum.displays, &worker.displays);
            sum.steps.iter_mut().zip(&worker.steps).for_each(|(sum, counts)| sum.add(counts));
        }
        sum
    }

    /// Stalls of workers since the start of the run: minor, major.
    pub fn stalls(&self) -> (u64, u64) {
        self.workers.iter().fold((0, 0), |(minor, major), worker| {
            (minor + worker.counters.watchdog_minor, major + worker.counters.watchdog_major)
        })
    }

    /// Adds one report and returns the number of seconds that it completed.
    ///
    /// A report belongs to the second in which it begins. If that second is already closed, it
    /// counts in the oldest open one, so that the history always adds up to the totals.
    pub fn absorb(&mut self, report: &Report) -> u64 {
        let index = usize::from(report.worker);
        if index >= self.workers.len() {
            let generation = self.layout.generation;
            self.workers.resize_with(index + 1, || Worker::of(generation));
        }
        let begin = self.second_of(report.start_ns);
        let second = begin.clamp(self.first_open, self.first_open + GAP_SECONDS_MAX);
        let covered = self.second_of(report.end_ns).min(second + GAP_SECONDS_MAX);
        self.record(report);
        let counted = self.workers[index].absorb(report, covered);
        if report.is_draining {
            self.workers[index].drains_from.get_or_insert(second);
        }
        if report.generation != self.layout.generation
            && let Some(earlier) = &self.earlier
        {
            self.workers[index].carry(&self.layout, earlier);
        }
        self.end_ns = self.end_ns.max(report.end_ns);
        self.totals.add(&report.histograms);
        self.add_failures(report);
        self.worst.add(&report.worst);

        let mut completed = self.make_room(second);
        self.open_through(second);
        self.open[(second - self.first_open) as usize].absorb(report, &counted);

        // A report longer than a second leaves seconds behind in which its worker was stalled.
        let last_covered = second.max(covered.saturating_sub(1));
        completed += self.make_room(last_covered);
        self.open_through(last_covered);
        completed + self.close_covered()
    }

    /// Adds the failures of a report, with the names of the layout that its worker had.
    fn add_failures(&mut self, report: &Report) {
        let earlier = self.earlier.as_ref().filter(|layout| layout.generation == report.generation);
        self.failures.add(&report.failures, earlier.unwrap_or(&self.layout));
    }

    /// Records a report for those who add the figures of several runs.
    fn record(&mut self, report: &Report) {
        let Some(recorder) = &mut self.recorder else { return };
        let earlier = self.earlier.as_ref().filter(|layout| layout.generation == report.generation);
        if recorder.absorb(report, earlier.unwrap_or(&self.layout)).is_err() {
            // More than a century of one worker's nanoseconds: no delta is better than a wrong one.
            self.recorder = None;
        }
    }

    /// Adds a look at a worker between two reports. Snapshots show its counters at once; the
    /// seconds of the history are made from reports only.
    pub fn sample(&mut self, sample: &CounterSample) {
        let Some(worker) = self.workers.get_mut(usize::from(sample.worker)) else { return };
        // Reports and looks come in different queues, so that a look may be the older one.
        if worker.is_done || sample.at_ns <= worker.seen_ns {
            return;
        }
        (worker.seen, worker.seen_ns) = (sample.counters, sample.at_ns);
        worker.target_rate = finite(sample.target_rate);
        self.seen_ns = self.seen_ns.max(sample.at_ns);
    }

    /// Closes the seconds that are still open, as when a worker died without a last report. Returns
    /// their number.
    pub fn finish(&mut self) -> u64 {
        let mut completed = 0;
        while !self.open.is_empty() {
            self.close_first();
            completed += 1;
        }
        completed
    }

    /// Tells whether every worker has given its last report.
    pub fn is_finished(&self) -> bool {
        self.workers.iter().all(|worker| worker.is_done)
    }

    /// The names of the measurements.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The run second by second.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The last complete second with its merged histograms.
    pub fn last_second(&self) -> Option<(&HistoryRow, &Histograms)> {
        self.last_second.as_ref().zip(self.closed.as_ref().map(|closed| &closed.histograms))
    }

    /// The histograms of the whole run.
    pub fn totals(&self) -> &Histograms<u64> {
        &self.totals
    }

    /// The figures of the run since its start, resets or not.
    pub fn lifetime(&self) -> Lifetime {
        let Base { counters, steps, .. } = self.cumulative();
        let BeforeReset { measured, seconds, busy_ns } = self.since_start();
        let mut messages = MessageCounts::default();
        self.workers.iter().for_each(|worker| messages.add(&worker.messages));
        Lifetime {
            layout: Arc::clone(&self.layout),
            start: self.start,
            counters,
            messages,
            steps,
            measured,
            seconds,
            busy_ns,
            // The writer of the files counts these.
            unwritten: Unwritten::default(),
        }
    }

    /// Sums the figures that resets clear, with those that earlier resets have cleared.
    fn since_start(&self) -> BeforeReset {
        let mut sum = BeforeReset {
            measured: Measured::of(&self.totals),
            seconds: JudgedSeconds::of(&self.tally),
            busy_ns: self.workers.iter().map(|worker| worker.busy_ns).collect(),
        };
        if let Some(before) = &self.before_reset {
            sum.measured.add(&before.measured);
            sum.seconds.add(&before.seconds);
            add_all(&mut sum.busy_ns, &before.busy_ns);
        }
        sum
    }

    /// The state of the run.
    pub fn snapshot(&self) -> Snapshot {
        let Base { end_ns, counters, mut generic_counters, mut displays, mut steps, rate_steps } =
            self.cumulative();
        let counters = counters.since(&self.base.counters);
        let subtract = |value: &mut u64, base: &u64| *value = value.saturating_sub(*base);
        generic_counters
            .iter_mut()
            .zip(&self.base.generic_counters)
            .for_each(|(v, b)| subtract(v, b));
        displays.iter_mut().zip(&self.base.displays).for_each(|(v, b)| subtract(v, b));
        steps.iter_mut().zip(&self.base.steps).for_each(|(step, base)| *step = step.since(base));
        let since_start_ns = self.base.end_ns - self.start.monotonic_ns;
        let calls = CallTotals::of(&counters);
        debug_assert_eq!(calls.started, calls.succeeded + calls.failed + calls.active);

        let rtd_repartition = |rtd: &Distribution<u64>| rtd.repartition().to_vec();
        let transaction = |histograms: &TransactionHistograms<u64>| TransactionSummary {
            service: histograms.service.summarize(),
            response: histograms.response.summarize(),
            refused: histograms.refused.summarize(),
        };
        Snapshot {
            start: RunStart {
                unix_ns: self.start.unix_ns + since_start_ns,
                monotonic_ns: self.base.end_ns,
            },
            elapsed_ns: end_ns - self.base.end_ns,
            workers: self.workers.len(),
            is_finished: self.is_finished(),
            calls,
            peak_active: self.peak_active.max(calls.active),
            generic_counters,
            displays,
            steps,
            program_calls: self.program_calls(),
            transactions: self.totals.transactions.iter().map(transaction).collect(),
            rtds: self.totals.rtds.iter().map(Distribution::summarize).collect(),
            rtd_repartitions: self.totals.rtds.iter().map(rtd_repartition).collect(),
            recent: self.recent.summarize(),
            call_length: self.totals.call_length.summarize(),
            call_length_repartition: self.totals.call_length.repartition().to_vec(),
            invite_rtt: self.invite_rtt().summarize(),
            planned_send_error: self.totals.planned_send_error.summarize(),
            loop_time: self.totals.loop_time.summarize(),
            media: MediaSummary::of(&self.totals.media),
            rate: RateSummary {
                target_now: self.target_rate(),
                target_average: per_second(self.planned_calls, self.pacing_ns),
                achieved: per_second(self.paced_calls as f64, self.pacing_ns),
                pacing_ns: self.pacing_ns,
            },
            rate_steps: rate_steps::rate_steps(
                &rate_steps,
                &self.base.rate_steps,
                &self.rate_step_seconds,
            ),
            busy: self.busy(),
            cpu: self.workers.iter().map(|worker| worker.cpu).collect(),
            verdict: self.tally,
            last_second: self.last_second,
            failures: self.failures.of(&counters.failures),
            worst: self.worst.calls(),
            counters,
            layout: Arc::clone(&self.layout),
        }
    }

    fn busy(&self) -> BusySummary {
        let busy_ns: u64 = self.workers.iter().map(|worker| worker.busy_ns).sum();
        let reported_ns: u64 = self.workers.iter().map(|worker| worker.reported_ns).sum();
        let share_average = busy_ns as f64 / reported_ns.max(1) as f64;
        BusySummary { share_max: self.busy_share_max, share_average: share_average.min(1.0) }
    }

    fn invite_rtt(&self) -> Distribution<u64> {
        let mut all = Distribution::new();
        for index in self.layout.invite_transactions() {
            all.add(&self.totals.transactions[index].service);
        }
        all
    }

    /// The second of the run that a moment on the monotonic clock belongs to.
    fn second_of(&self, monotonic_ns: u64) -> u64 {
        let since_start_ns = monotonic_ns.saturating_sub(self.start.monotonic_ns);
        since_start_ns.saturating_add(EARLY_TOLERANCE_NS) / SECOND_NS
    }

    /// Closes the oldest seconds, reported or not, until `second` fits among the open ones.
    fn make_room(&mut self, second: u64) -> u64 {
        let mut completed = 0;
        while second >= self.first_open + OPEN_SECONDS_MAX {
            self.close_first();
            completed += 1;
        }
        completed
    }

    /// Opens the seconds up to `second`, so that one without any report is judged too.
    fn open_through(&mut self, second: u64) {
        while self.first_open + self.open.len() as u64 <= second {
            let opened = self.spare.pop().unwrap_or_else(|| OpenSecond::new(&self.layout));
            self.open.push_back(opened);
        }
    }

    /// Closes, oldest first, the seconds that every worker has reported or outlived.
    fn close_covered(&mut self) -> u64 {
        let running = self.workers.iter().filter(|worker| !worker.is_done);
        let covered = running.map(|worker| worker.covered).min().unwrap_or(u64::MAX);
        let mut completed = 0;
        while !self.open.is_empty() && self.first_open < covered {
            self.close_first();
            completed += 1;
        }
        completed
    }

    fn close_first(&mut self) {
        self.open_through(self.first_open);
        let Some(closing) = self.open.pop_front() else { return };
        let second = self.first_open;
        self.first_open += 1;
        let row = self.row_of(second, &closing);
        let primary = self.layout.primary_transaction();
        let primary = primary.map(|index| &closing.histograms.transactions[index].service);
        self.recent.take(second, primary);
        self.calls_active = row.calls_active;
        self.peak_active = self.peak_active.max(row.peak_active);
        self.busy_share_max = self.busy_share_max.max(row.busy_share_max);
        self.paced_calls += row.paced_calls;
        self.planned_calls += row.planned_calls;
        self.pacing_ns += row.pacing_ns;
        self.history.push(row);
        if let Some(step) = closing.rate_step {
            let primary = self.layout.primary_transaction();
            let primary = primary.map(|index| &closing.histograms.transactions[index].response);
            self.rate_step_seconds.push(step, &row, primary);
        }
        self.last_second = Some(row);
        if let Some(mut previous) = self.closed.replace(closing) {
            previous.clear();
            self.spare.push(previous);
        }
    }

    fn row_of(&mut self, second: u64, closing: &OpenSecond) -> HistoryRow {
        let counted = &closing.counted;
        let lateness = &closing.histograms.planned_send_error;
        let planned_send_error_p99_ns = lateness.quantile_ns(0.99);
        let rtp_lateness = closing.histograms.media.of(MediaMeasure::SendError);
        let rtp_send_error_p99_ns = rtp_lateness.quantile_ns(0.99);
        let primary = self.layout.primary_transaction();
        let primary = primary.map(|index| &closing.histograms.transactions[index]);
        let service = primary.map(|histograms| &histograms.service);
        let response = primary.map(|histograms| &histograms.response);
        let quantile_ns = |distribution: Option<&Distribution>, quantile| {
            distribution.map_or(0, |distribution| distribution.quantile_ns(quantile))
        };
        let begin_ns = self.start.monotonic_ns + second * SECOND_NS;
        let duration_ns = self.end_ns.saturating_sub(begin_ns).min(SECOND_NS);
        let evidence = Evidence {
            workers_expected: self.workers_in(second, closing),
            workers_reported: closing.reported_by.iter().flatten().count(),
            is_draining: self.is_draining(second),
            is_fraction: duration_ns < SECOND_NS / 2,
            planned_sends: lateness.count(),
            late_starts: lateness.count_above(PLANNED_SEND_ERROR_LIMIT_NS),
            planned_send_error_p99_ns,
            rtp_sends: rtp_lateness.count(),
            late_rtp: rtp_lateness.count_above(PLANNED_SEND_ERROR_LIMIT_NS),
            rtp_send_error_p99_ns,
            busy_share_max: closing.busy_share_max,
            counted: *counted,
        };
        let verdict = self.tally.judge(second, &evidence);
        if verdict.is_limited() {
            for (worker, cpu) in self.workers.iter_mut().zip(&closing.reported_by) {
                worker.cpu.limited.add(&cpu.unwrap_or_default());
            }
        }
        HistoryRow {
            second,
            seconds: 1,
            duration_ns,
            calls_started: counted.calls_started(),
            calls_succeeded: counted.calls_succeeded,
            calls_failed: counted.calls_failed,
            calls_active: (self.calls_active + counted.calls_started())
                .saturating_sub(counted.calls_succeeded + counted.calls_failed),
            peak_active: closing.peak_active,
            paced_calls: if closing.pacing_ns > 0 { counted.calls_outgoing } else { 0 },
            planned_calls: closing.planned_calls,
            pacing_ns: closing.pacing_ns,
            withheld_by_user: counted.withheld.count(WithheldCause::CallLimit),
            withheld_by_generator: withheld_by_generator(&counted.withheld),
            retransmissions_sent: counted.retransmissions_sent,
            timeouts: timeouts(counted),
            service_p50_ns: quantile_ns(service, 0.5),
            service_p99_ns: quantile_ns(service, 0.99),
            response_p50_ns: quantile_ns(response, 0.5),
            response_p99_ns: quantile_ns(response, 0.99),
            planned_send_error_p99_ns,
            rtp_packets_sent: counted.media.rtp_packets_sent,
            rtp_packets_received: counted.media.rtp_packets_received,
            rtp_send_error_p99_ns,
            busy_share_max: closing.busy_share_max,
            judged_seconds: u64::from(verdict != Verdict::NotJudged),
            limited_seconds: u64::from(verdict.is_limited()),
            limit_causes: match verdict {
                Verdict::GeneratorLimited { causes } => causes,
                _ => Default::default(),
            },
        }
    }

    /// Tells whether no worker could begin a call in `second` any more.
    fn is_draining(&self, second: u64) -> bool {
        let drains = |worker: &Worker| match worker.drains_from {
            Some(from) => from <= second,
            None => worker.is_done && worker.covered <= second,
        };
        self.workers.iter().all(drains) && self.workers.iter().any(|w| w.drains_from.is_some())
    }

    /// Workers whose report belongs into `second`: those that reported it, and those that should
    /// have because they had not ended.
    fn workers_in(&self, second: u64, closing: &OpenSecond) -> usize {
        let reported = |index: usize| closing.reported_by.get(index).is_some_and(Option::is_some);
        let is_expected = |(index, worker): &(usize, &Worker)| {
            reported(*index) || !worker.is_done || second < worker.covered
        };
        self.workers.iter().enumerate().filter(is_expected).count()
    }
}

impl Worker {
    fn of(generation: u32) -> Self {
        Self { generation, ordered_by: generation, ..Self::default() }
    }

    /// Takes over the cumulative figures of a report and returns their growth. A report that comes
    /// after its successor adds nothing to them.
    fn absorb(&mut self, report: &Report, covered: u64) -> Counters {
        self.covered = self.covered.max(covered);
        self.is_done |= report.is_last;
        self.busy_ns += report.busy_ns;
        self.reported_ns += report.duration_ns();
        self.cpu.total.add(&report.cpu);
        if report.sequence < self.next_sequence {
            return Counters::default();
        }
        self.next_sequence = report.sequence + 1;
        self.target_rate = if report.is_last { 0.0 } else { finite(report.target_rate) };
        let counted = report.counters.since(&self.counters);
        self.counters = report.counters;
        if report.end_ns >= self.seen_ns || report.is_last {
            (self.seen, self.seen_ns) = (report.counters, report.end_ns);
        }
        self.messages.copy_from(&report.messages);
        self.rate_steps.copy_from(&report.rate_steps);
        self.generic_counters.clone_from(&report.generic_counters);
        self.displays.clone_from(&report.displays);
        self.steps.clone_from(&report.steps);
        self.program_calls.clone_from(&report.program_calls);
        self.generation = report.generation;
        self.ordered_by = report.generation;
        counted
    }

    /// Brings figures by step and program into the order of a later layout.
    fn carry(&mut self, layout: &Layout, earlier: &Layout) {
        if self.ordered_by != earlier.generation {
            return;
        }
        self.ordered_by = layout.generation;
        self.steps = layout.carry_steps(earlier, &self.steps);
        let calls = |number| self.program_calls.get(earlier.place_of(number)?).copied();
        let programs = layout.programs.iter();
        self.program_calls = programs.map(|own| calls(own.number).unwrap_or(0)).collect();
    }
}

/// Returns `rate`, or 0 in place of a value that JSON cannot express.
fn finite(rate: f64) -> f64 {
    if rate.is_finite() { rate } else { 0.0 }
}
