//! Outcomes of a run's calls by the rate at which they started: the answer of a ramp.
//!
//! Calls belong to the step in which they started. An INVITE without an answer fails half a minute
//! later, when a ramp has gone on. Counted by its end, the failure would stand with a rate that did
//! not cause it. Durations belong to the step in whose seconds they were measured.

use super::snapshot::RATE_NS_MIN;
use super::verdict::VerdictTally;
use super::{Distribution, FailureCause, FailureCounts, HistoryRow, WithheldCause, WithheldCounts};

/// Most steps. When there are more, neighbours are merged and a row stands for several rates.
pub const RATE_STEPS_MAX: usize = 64;

/// The number that stands for no step: that of calls which no schedule started.
pub const NO_RATE_STEP: u32 = u32::MAX;

/// Counts of one step, of one worker or of all. All amounts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateStepCounts {
    /// Time at which the step began, on the monotonic clock.
    pub begin_ns: u64,
    /// The lowest rate in it, in calls per second over all workers.
    pub rate_min: f64,
    /// The highest.
    pub rate_max: f64,
    /// Time during which calls were being placed.
    pub paced_ns: u64,
    /// Calls that the rate asked for meanwhile, over all workers.
    pub planned: f64,
    /// Calls started.
    pub started: u64,
    /// Calls that reached the end of the scenario.
    pub succeeded: u64,
    /// Calls that failed.
    pub failures: FailureCounts,
    /// Planned calls that were not started.
    pub withheld: WithheldCounts,
}

impl RateStepCounts {
    /// Adds the step that follows.
    fn merge(&mut self, next: &Self) {
        self.rate_min = self.rate_min.min(next.rate_min);
        self.rate_max = self.rate_max.max(next.rate_max);
        self.paced_ns += next.paced_ns;
        self.planned += next.planned;
        self.add_calls(next);
    }

    /// Adds the counts of another worker for the same step.
    fn add_worker(&mut self, other: &Self) {
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        self.rate_min = self.rate_min.min(other.rate_min);
        self.rate_max = self.rate_max.max(other.rate_max);
        self.paced_ns = self.paced_ns.max(other.paced_ns);
        self.planned = self.planned.max(other.planned);
        self.add_calls(other);
    }

    fn add_calls(&mut self, other: &Self) {
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failures.add(&other.failures);
        self.withheld.add(&other.withheld);
    }

    /// Returns the counts since `base`; calls that were open then count as started since.
    fn since(&self, base: &Self) -> Self {
        let ended = base.succeeded + base.failures.total();
        Self {
            paced_ns: self.paced_ns.saturating_sub(base.paced_ns),
            planned: (self.planned - base.planned).max(0.0),
            started: self.started.saturating_sub(ended),
            succeeded: self.succeeded.saturating_sub(base.succeeded),
            failures: self.failures.since(&base.failures),
            withheld: self.withheld.since(&base.withheld),
            ..*self
        }
    }
}

/// Rows by step, in bounded memory: row `n` stands for the steps `n << shift` and following.
#[derive(Clone, Debug, PartialEq)]
struct Folded<T> {
    rows: Vec<T>,
    shift: u32,
}

impl<T> Default for Folded<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), shift: 0 }
    }
}

impl<T: Clone + Default> Folded<T> {
    /// The row of step `number`, if there is one.
    fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.rows.get_mut((number >> self.shift) as usize)
    }

    /// The row of step `number`, which is made if it does not exist. The flag is `true` if it was
    /// made.
    fn reach(&mut self, number: u32, merge: fn(&mut T, &T)) -> (&mut T, bool) {
        while (number >> self.shift) as usize >= RATE_STEPS_MAX {
            self.fold(self.shift + 1, merge);
        }
        let index = (number >> self.shift) as usize;
        let is_new = index >= self.rows.len();
        if is_new {
            self.rows.resize(index + 1, T::default());
        }
        (&mut self.rows[index], is_new)
    }

    /// Merges neighbours until `shift` is reached.
    fn fold(&mut self, shift: u32, merge: fn(&mut T, &T)) {
        while self.shift < shift {
            let pairs = self.rows.chunks(2).map(|pair| {
                let mut row = pair[0].clone();
                pair[1..].iter().for_each(|next| merge(&mut row, next));
                row
            });
            self.rows = pairs.collect();
            self.shift += 1;
        }
    }
}

/// The steps of a schedule, as its worker counts them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateSteps {
    rows: Folded<RateStepCounts>,
    current: u32,
}

impl RateSteps {
    /// Steps of a schedule that begins with `rate`, in calls per second.
    pub fn new(rate: f64, now_ns: u64) -> Self {
        let mut steps = Self::default();
        steps.enter(rate, now_ns);
        steps
    }

    /// Tells whether there is no step, since no schedule starts calls.
    pub fn is_empty(&self) -> bool {
        self.rows.rows.is_empty()
    }

    /// Number of the step in force.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Begins the next step.
    pub fn begin(&mut self, rate: f64, now_ns: u64) {
        self.current = (self.current + 1).min(NO_RATE_STEP - 1);
        self.enter(rate, now_ns);
    }

    fn enter(&mut self, rate: f64, now_ns: u64) {
        let (row, is_new) = self.rows.reach(self.current, RateStepCounts::merge);
        if is_new {
            (row.begin_ns, row.rate_min, row.rate_max) = (now_ns, rate, rate);
        }
        row.rate_min = row.rate_min.min(rate);
        row.rate_max = row.rate_max.max(rate);
    }

    /// Adds a time during which calls were placed at `rate`.
    pub fn pace(&mut self, elapsed_ns: u64, rate: f64) {
        if let Some(row) = self.rows.get_mut(self.current) {
            row.paced_ns += elapsed_ns;
            row.planned += rate * elapsed_ns as f64 / 1e9;
        }
    }

    /// Counts a call that starts, and returns its step.
    pub fn start(&mut self) -> u32 {
        if let Some(row) = self.rows.get_mut(self.current) {
            row.started += 1;
        }
        self.current
    }

    /// Counts a due call that is not started.
    pub fn withhold(&mut self, cause: WithheldCause) {
        if let Some(row) = self.rows.get_mut(self.current) {
            row.withheld.bump(cause);
        }
    }

    /// Counts the end of a call of step `number`.
    pub fn end(&mut self, number: u32, cause: Option<FailureCause>) {
        let Some(row) = self.rows.get_mut(number) else { return };
        match cause {
            None => row.succeeded += 1,
            Some(cause) => row.failures.bump(cause),
        }
    }

    /// Returns the time during which calls were placed, and the number that the rate asked for
    /// meanwhile.
    pub fn paced(&self) -> (u64, f64) {
        let rows = &self.rows.rows;
        (rows.iter().map(|row| row.paced_ns).sum(), rows.iter().map(|row| row.planned).sum())
    }

    /// Takes over all of `other`, in the memory that is already there.
    pub fn copy_from(&mut self, other: &Self) {
        self.rows.rows.clone_from(&other.rows.rows);
        self.rows.shift = other.rows.shift;
        self.current = other.current;
    }

    /// The rows, and by how many bits the number of a step is shifted to find its row.
    pub(super) fn rows(&self) -> (u32, &[RateStepCounts]) {
        (self.rows.shift, &self.rows.rows)
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.rows.rows.clear();
        self.rows.shift = 0;
        self.current = 0;
    }

    /// Adds the steps of another worker of the run.
    pub(super) fn add(&mut self, other: &Self) {
        let mut other = other.rows.clone();
        let shift = self.rows.shift.max(other.shift);
        self.rows.fold(shift, RateStepCounts::merge);
        other.fold(shift, RateStepCounts::merge);
        for (mine, theirs) in self.rows.rows.iter_mut().zip(&other.rows) {
            mine.add_worker(theirs);
        }
        let known = self.rows.rows.len().min(other.rows.len());
        self.rows.rows.extend_from_slice(&other.rows[known..]);
    }
}

/// Measurements of the seconds of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seconds {
    tally: VerdictTally,
    response: RateStepDurations,
}

impl Seconds {
    fn merge(&mut self, next: &Self) {
        self.tally.judged_seconds += next.tally.judged_seconds;
        self.tally.limited_seconds += next.tally.limited_seconds;
        for (cause, seconds) in next.tally.causes.nonzero() {
            self.tally.causes.bump_by(cause, seconds);
        }
        self.response.count += next.response.count;
        self.response.p50_ns = self.response.p50_ns.max(next.response.p50_ns);
        self.response.p99_ns = self.response.p99_ns.max(next.response.p99_ns);
    }
}

/// Response times of the primary transaction in the seconds of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateStepDurations {
    /// Number of response times.
    pub count: u64,
    /// Median; the highest of merged steps.
    pub p50_ns: u64,
    /// 99th percentile of the same.
    pub p99_ns: u64,
}

/// The seconds of a run by step, on the control side. One histogram is kept: that of the last
/// second's step.
#[derive(Debug, Default)]
pub(super) struct RateStepSeconds {
    rows: Folded<Seconds>,
    /// Number of the histogram's step, and the earlier measurements of its row.
    current: Option<(u32, Seconds)>,
    histogram: Option<Distribution<u64>>,
}

impl RateStepSeconds {
    /// Adds a second of step `number`, which is not earlier than the last one.
    pub(super) fn push(
        &mut self,
        number: u32,
        second: &HistoryRow,
        response: Option<&Distribution>,
    ) {
        let histogram = self.histogram.get_or_insert_with(Distribution::new);
        if self.current.is_none_or(|(current, _)| current != number) {
            histogram.clear();
            let (row, _) = self.rows.reach(number, Seconds::merge);
            self.current = Some((number, *row));
        }
        if let Some(response) = response {
            histogram.add(response);
        }
        let Some(row) = self.rows.get_mut(number) else { return };
        // Once no more calls are placed, only the answers still belong to the step.
        if second.pacing_ns > 0 {
            row.tally.judged_seconds += second.judged_seconds;
            row.tally.limited_seconds += second.limited_seconds;
            second.limit_causes.iter().for_each(|cause| row.tally.causes.bump(cause));
        }
        let before = self.current.map_or(RateStepDurations::default(), |(_, row)| row.response);
        row.response = RateStepDurations {
            count: before.count + histogram.count(),
            p50_ns: before.p50_ns.max(histogram.quantile_ns(0.5)),
            p99_ns: before.p99_ns.max(histogram.quantile_ns(0.99)),
        };
    }

    /// Begins the figures anew.
    pub(super) fn clear(&mut self) {
        self.rows.rows.iter_mut().for_each(|row| *row = Seconds::default());
        self.current = None;
    }
}

/// One rate of a run, or several that were merged, with its results.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateStep {
    /// Counts of the step.
    pub counts: RateStepCounts,
    /// Response times of the primary transaction.
    pub response: RateStepDurations,
    /// Judgement of its seconds.
    pub verdict: VerdictTally,
}

/// Problems of a step, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateStepProblem {
    /// The generator was the limit: the step says nothing about the peer.
    GeneratorLimited,
    /// Calls failed.
    CallsFailed,
    /// Planned calls were not started.
    CallsWithheld,
}

impl RateStep {
    /// The rate asked for on average, in calls per second.
    pub fn target(&self) -> f64 {
        match self.counts.paced_ns {
            0 => self.counts.rate_max,
            paced_ns => self.counts.planned * 1e9 / paced_ns as f64,
        }
    }

    /// Calls started per second.
    pub fn achieved(&self) -> f64 {
        super::history::per_second(self.counts.started as f64, self.counts.paced_ns)
    }

    /// Calls that failed, other than because the run was stopped.
    pub fn failed(&self) -> u64 {
        self.counts.failures.total() - self.cancelled()
    }

    /// Calls that were open when the run was stopped.
    pub fn cancelled(&self) -> u64 {
        self.counts.failures.count(FailureCause::Cancelled)
    }

    /// Share of the calls with an outcome that succeeded, 0 to 1; `None` if there is none.
    pub fn success_ratio(&self) -> Option<f64> {
        let ended = self.counts.succeeded + self.failed();
        (ended > 0).then(|| self.counts.succeeded as f64 / ended as f64)
    }

    /// The gravest problem; `None` if there is none, or if nothing is known. RFC 7501 defines the
    /// figure of a server as its highest rate without a failure; `ratio_min` (1 without a gate)
    /// permits a share of failures.
    pub fn problem(&self, ratio_min: f64) -> Option<RateStepProblem> {
        if self.verdict.verdict().is_limited() {
            return Some(RateStepProblem::GeneratorLimited);
        }
        if self.success_ratio().is_some_and(|ratio| ratio < ratio_min) {
            return Some(RateStepProblem::CallsFailed);
        }
        (self.counts.withheld.total() > 0).then_some(RateStepProblem::CallsWithheld)
    }

    /// Tells whether the step was tried for long enough and has no problem. A fraction of a second,
    /// and seconds that were not judged, do not prove a rate.
    pub fn is_clean(&self, ratio_min: f64) -> bool {
        let is_judged = self.verdict.judged_seconds > 0 && self.counts.paced_ns >= RATE_NS_MIN;
        is_judged && self.success_ratio().is_some() && self.problem(ratio_min).is_none()
    }
}

/// The steps of a run in which calls were due, from the counts of all workers and the measured
/// seconds; `base` was counted before the statistics began anew.
pub(super) fn rate_steps(
    counted: &RateSteps,
    base: &RateSteps,
    seconds: &RateStepSeconds,
) -> Vec<RateStep> {
    let shift = counted.rows.shift.max(seconds.rows.shift).max(base.rows.shift);
    let (mut counted, mut base) = (counted.rows.clone(), base.rows.clone());
    let mut seconds = seconds.rows.clone();
    counted.fold(shift, RateStepCounts::merge);
    base.fold(shift, RateStepCounts::merge);
    seconds.fold(shift, Seconds::merge);
    let step = |(index, counts): (usize, &RateStepCounts)| {
        let counts = base.rows.get(index).map_or(*counts, |base| counts.since(base));
        let Seconds { tally: verdict, response } =
            seconds.rows.get(index).copied().unwrap_or_default();
        RateStep { counts, response, verdict }
    };
    let is_tried = |step: &RateStep| step.counts.started > 0 || step.counts.withheld.total() > 0;
    counted.rows.iter().enumerate().map(step).filter(is_tried).collect()
}

/// The answer of a ramp: the highest clean rate below every bad step, and the first bad step, as
/// indexes into `steps`.
pub fn clean_and_bad(steps: &[RateStep], ratio_min: f64) -> (Option<usize>, Option<usize>) {
    let bad = |step: &&RateStep| step.problem(ratio_min).is_some();
    let lowest_bad = steps.iter().filter(bad).map(|step| step.counts.rate_min);
    let lowest_bad = lowest_bad.fold(f64::INFINITY, f64::min);
    let is_clean = |step: &RateStep| step.is_clean(ratio_min) && step.counts.rate_max < lowest_bad;
    let clean = (0..steps.len()).filter(|&index| is_clean(&steps[index]));
    let highest =
        clean.max_by(|&a, &b| steps[a].counts.rate_max.total_cmp(&steps[b].counts.rate_max));
    (highest, steps.iter().position(|step| bad(&step)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LimitCause;
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// A step at `rate` of which `failed` of 100 calls failed.
    fn step(rate: f64, failed: u64) -> RateStep {
        let mut counts = RateStepCounts {
            rate_min: rate,
            rate_max: rate,
            paced_ns: SECOND_NS,
            planned: rate,
            started: 100,
            succeeded: 100 - failed,
            ..RateStepCounts::default()
        };
        counts.failures.bump_by(FailureCause::RecvTimeout, failed);
        let verdict = VerdictTally::of_seconds(1, 0);
        RateStep { counts, verdict, ..RateStep::default() }
    }

    #[test]
    fn the_highest_clean_rate_is_below_every_bad_one() {
        let ramp = [step(10.0, 0), step(20.0, 0), step(30.0, 4), step(40.0, 0)];
        assert_eq!(clean_and_bad(&ramp, 1.0), (Some(1), Some(2)));
        assert_eq!(clean_and_bad(&ramp, 0.95), (Some(3), None));
        // By keys, down and up again: 20 calls/s were held once, and once not.
        let keys = [step(10.0, 0), step(20.0, 0), step(5.0, 0), step(20.0, 9)];
        assert_eq!(clean_and_bad(&keys, 1.0), (Some(0), Some(3)));
        assert_eq!(clean_and_bad(&[step(10.0, 1), step(20.0, 0)], 1.0), (None, Some(0)));
    }

    #[test]
    fn a_step_of_the_generators_own_limit_is_not_the_peers() {
        let mut limited = step(10.0, 50);
        limited.verdict.limited_seconds = 1;
        limited.verdict.causes.bump(LimitCause::LateSends);
        assert_eq!(limited.problem(1.0), Some(RateStepProblem::GeneratorLimited));
        let mut withheld = step(10.0, 0);
        withheld.counts.withheld.bump(WithheldCause::CallLimit);
        assert_eq!(withheld.problem(1.0), Some(RateStepProblem::CallsWithheld));
        // Calls that the user cut off have neither passed nor failed.
        let mut cut_off = step(10.0, 0);
        (cut_off.counts.started, cut_off.counts.succeeded) = (3, 0);
        cut_off.counts.failures.bump_by(FailureCause::Cancelled, 3);
        assert_eq!((cut_off.problem(1.0), cut_off.is_clean(1.0)), (None, false));
    }

    #[test]
    fn a_step_of_a_moment_is_not_clean() {
        let moment = |paced_ns, judged_seconds| {
            let mut step = step(10.0, 0);
            step.counts.paced_ns = paced_ns;
            step.verdict = VerdictTally::of_seconds(judged_seconds, 0);
            step.is_clean(1.0)
        };
        assert!(moment(SECOND_NS, 1));
        assert!(!moment(SECOND_NS / 5, 1));
        assert!(!moment(SECOND_NS, 0));
        // The last step is neither a clean rate above those that were held, nor a bad one.
        let mut last = step(30.0, 0);
        last.counts.paced_ns = SECOND_NS / 5;
        assert_eq!(clean_and_bad(&[step(20.0, 0), last], 1.0), (Some(0), None));
    }

    #[test]
    fn a_call_counts_where_it_started() {
        let mut steps = RateSteps::new(10.0, 0);
        let early = steps.start();
        steps.begin(20.0, SECOND_NS);
        let late = steps.start();
        steps.end(late, None);
        steps.end(early, Some(FailureCause::MaxUdpRetrans));
        steps.end(NO_RATE_STEP, None);
        let all = rate_steps(&steps, &RateSteps::default(), &RateStepSeconds::default());
        let outcomes: Vec<_> =
            all.iter().map(|step| (step.counts.started, step.failed())).collect();
        assert_eq!(outcomes, [(1, 1), (1, 0)]);
        // Counting anew leaves out calls that have ended, and keeps open ones.
        let open = steps.start();
        let base = steps.clone();
        steps.end(open, None);
        let anew = rate_steps(&steps, &base, &RateStepSeconds::default());
        let outcomes: Vec<_> =
            anew.iter().map(|step| (step.counts.rate_max, step.counts.succeeded)).collect();
        assert_eq!(outcomes, [(20.0, 1)]);
    }

    #[test]
    fn durations_of_a_step_are_those_of_its_seconds() {
        let mut seconds = RateStepSeconds::default();
        let second =
            HistoryRow { judged_seconds: 1, pacing_ns: SECOND_NS, ..HistoryRow::default() };
        for (number, duration_ns) in [(0, 5_000_000), (0, 7_000_000), (1, 90_000_000)] {
            let mut response = Distribution::<u32>::new();
            (0..100).for_each(|_| response.record(duration_ns));
            seconds.push(number, &second, Some(&response));
        }
        let rows = &seconds.rows.rows;
        assert_eq!(rows[0].response.count, 200);
        assert!(rows[0].response.p99_ns < 7_100_000 && rows[1].response.p50_ns > 89_000_000);
        assert_eq!((rows[0].tally.judged_seconds, rows[1].tally.judged_seconds), (2, 1));
    }

    proptest! {
        /// Any number of steps and workers fits the bounded memory without losing a call; two
        /// workers that merged at different times add up.
        #[test]
        fn merged_steps_add_up(
            calls in proptest::collection::vec((0..4_u64, 0..3_u64), 1..400),
            behind in 0..200_usize,
        ) {
            let mut workers = [RateSteps::new(1.0, 0), RateSteps::new(1.0, 0)];
            let mut sums = (0, 0);
            for (index, &(started, failed)) in calls.iter().enumerate() {
                for (worker, steps) in workers.iter_mut().enumerate() {
                    // The second worker has not come as far.
                    if worker == 1 && index + behind >= calls.len() {
                        continue;
                    }
                    for call in 0..started {
                        let step = steps.start();
                        let cause = (call < failed).then_some(FailureCause::RecvTimeout);
                        steps.end(step, cause);
                        sums.0 += 1;
                        sums.1 += u64::from(call < failed);
                    }
                    steps.pace(SECOND_NS, steps.rows.rows[0].rate_max);
                    steps.begin(index as f64 + 2.0, (index as u64 + 1) * SECOND_NS);
                }
            }
            let mut sum = RateSteps::default();
            workers.iter().for_each(|steps| sum.add(steps));
            let rows = rate_steps(&sum, &RateSteps::default(), &RateStepSeconds::default());
            prop_assert!(rows.len() <= RATE_STEPS_MAX);
            prop_assert_eq!(rows.iter().map(|row| row.counts.started).sum::<u64>(), sums.0);
            prop_assert_eq!(rows.iter().map(RateStep::failed).sum::<u64>(), sums.1);
            prop_assert!(rows.is_sorted_by_key(|row| row.counts.begin_ns));
            prop_assert!(rows.windows(2).all(|pair| pair[0].counts.rate_max < pair[1].counts.rate_min));
        }
    }
}
