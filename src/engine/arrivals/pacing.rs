//! The start times of calls: an absolute open-loop schedule, or a closed loop of users.
//!
//! Arrival `k` of the run is due at a time computed from the last change of rate, never from the
//! arrival before it. So nothing drifts, and a stall is not forgiven: late arrivals are still
//! started, and their lateness is measured. Several workers take interleaved arrivals of one
//! schedule.

use crate::stats::RateSteps;

/// The rate of the schedule, and its ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePlan {
    /// Calls per `period_ns`, over all workers.
    pub rate: f64,
    /// `-rp` in nanoseconds.
    pub period_ns: u64,
    /// Added to `rate` each `interval_ns` (`-rate_increase`).
    pub increase: f64,
    /// `-rate_interval` in nanoseconds; used only if `increase` is not 0.
    pub interval_ns: u64,
    /// Ceiling of the ramp (`-rate_max`); 0 is none.
    pub rate_max: f64,
    /// True if calls stop starting once the ramp passes its ceiling (unless `-no_rate_quit`).
    pub quit_at_max: bool,
}

/// The schedule of one worker.
#[derive(Debug)]
pub struct Pacer {
    plan: RatePlan,
    workers: u64,
    rate: f64,
    /// The last change of rate: its time, and its position in arrivals (may be fractional).
    anchor_ns: u64,
    anchor_position: f64,
    /// Index of this worker's next arrival.
    next_index: u64,
    next_ramp_ns: u64,
    paused: bool,
    stopped: bool,
    steps: RateSteps,
    /// Time up to which `steps` is accounted.
    accounted_ns: u64,
}

impl Pacer {
    /// A schedule that begins at `start_ns` for worker `worker` of `workers`.
    pub fn new(plan: RatePlan, worker: usize, workers: usize, start_ns: u64) -> Self {
        let ramps = plan.increase != 0.0 && plan.interval_ns > 0;
        Self {
            plan,
            workers: workers.max(1) as u64,
            rate: plan.rate,
            anchor_ns: start_ns,
            anchor_position: 0.0,
            next_index: worker as u64,
            next_ramp_ns: if ramps { start_ns + plan.interval_ns } else { u64::MAX },
            paused: false,
            stopped: false,
            steps: RateSteps::new(plan.rate * 1e9 / plan.period_ns as f64, start_ns),
            accounted_ns: start_ns,
        }
    }

    /// Returns the outcomes of calls by rate, up to the last [`account`](Self::account).
    pub fn steps(&self) -> &RateSteps {
        &self.steps
    }

    /// Returns the same figures for writing, to count calls.
    pub fn steps_mut(&mut self) -> &mut RateSteps {
        &mut self.steps
    }

    /// Adds the time up to `until_ns`, pauses excepted, to the time in which calls were placed.
    pub fn account(&mut self, until_ns: u64) {
        let elapsed_ns = until_ns.saturating_sub(self.accounted_ns);
        if self.paused || elapsed_ns == 0 {
            return;
        }
        self.accounted_ns = until_ns;
        self.steps.pace(elapsed_ns, self.scheduled_per_second());
    }

    /// The rate in force, in calls per second over all workers; 0 while paused or stopped.
    pub fn rate_per_second(&self) -> f64 {
        if self.paused || self.stopped {
            return 0.0;
        }
        self.scheduled_per_second()
    }

    /// The rate of the schedule in calls per second, even while it is paused or stopped.
    pub fn scheduled_per_second(&self) -> f64 {
        self.rate * 1e9 / self.plan.period_ns as f64
    }

    /// The rate of the schedule in calls per period, as the user states it.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// `true` once no more arrivals will come.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Ends the schedule: no more arrivals will come.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Changes the rate from `now_ns` on.
    pub fn set_rate(&mut self, rate: f64, now_ns: u64) {
        self.reanchor(now_ns);
        self.account(now_ns);
        let rate = rate.max(0.0);
        if rate != self.rate {
            self.rate = rate;
            self.steps.begin(self.scheduled_per_second(), now_ns);
        }
    }

    /// Pauses or resumes. Arrivals of the pause are not made up.
    pub fn set_paused(&mut self, paused: bool, now_ns: u64) {
        if paused == self.paused {
            return;
        }
        if paused {
            self.reanchor(now_ns);
            self.account(now_ns);
        } else {
            self.anchor_ns = now_ns;
            self.accounted_ns = self.accounted_ns.max(now_ns);
        }
        self.paused = paused;
    }

    /// Time at which the next arrival or change of rate is due.
    pub fn next_deadline_ns(&self) -> u64 {
        if self.stopped || self.paused {
            return u64::MAX;
        }
        self.arrival_ns(self.next_index).min(self.next_ramp_ns)
    }

    /// Returns the planned time of the next arrival if it is due by `now_ns`. The caller then
    /// starts or withholds it and calls [`Pacer::advance`].
    pub fn due(&mut self, now_ns: u64) -> Option<u64> {
        if self.stopped || self.paused {
            return None;
        }
        let planned = self.arrival_ns(self.next_index);
        if self.next_ramp_ns <= now_ns && self.next_ramp_ns <= planned {
            self.ramp();
            return self.due(now_ns);
        }
        (planned <= now_ns).then_some(planned)
    }

    /// Moves on to this worker's next arrival.
    pub fn advance(&mut self) {
        self.next_index += self.workers;
    }

    fn arrival_ns(&self, index: u64) -> u64 {
        if self.rate <= 0.0 {
            return u64::MAX;
        }
        let ahead = (index as f64 - self.anchor_position).max(0.0);
        let offset = ahead * self.plan.period_ns as f64 / self.rate;
        if offset >= (u64::MAX / 2) as f64 {
            return u64::MAX;
        }
        self.anchor_ns + offset as u64
    }

    /// Makes `now_ns` the anchor, at the position that the schedule has reached by then.
    fn reanchor(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.anchor_ns) as f64;
        let position = self.anchor_position + elapsed * self.rate / self.plan.period_ns as f64;
        // A position past an arrival that is still due would date it back to the anchor.
        self.anchor_position = position.min(self.next_index as f64 + self.workers as f64);
        self.anchor_ns = now_ns;
    }

    fn ramp(&mut self) {
        let at = self.next_ramp_ns;
        let rate = self.rate + self.plan.increase;
        let past_max = self.plan.rate_max > 0.0 && rate > self.plan.rate_max;
        self.reanchor(at);
        self.account(at);
        let before = self.rate;
        self.rate = if past_max { self.plan.rate_max } else { rate.max(0.0) };
        self.next_ramp_ns = if past_max { u64::MAX } else { at + self.plan.interval_ns };
        if past_max && self.plan.quit_at_max {
            self.stopped = true;
            // The schedule ended with the ramp, even if this is noticed later.
            self.accounted_ns = u64::MAX;
        } else if self.rate != before {
            self.steps.begin(self.scheduled_per_second(), at);
        }
    }
}

/// The share of worker `worker` in a total that `workers` workers divide between them.
pub fn share(total: u64, worker: usize, workers: usize) -> u64 {
    let workers = workers.max(1) as u64;
    total / workers + u64::from((worker as u64) < total % workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn plan(rate: f64) -> RatePlan {
        RatePlan {
            rate,
            period_ns: SECOND,
            increase: 0.0,
            interval_ns: 0,
            rate_max: 0.0,
            quit_at_max: true,
        }
    }

    fn arrivals(pacer: &mut Pacer, until_ns: u64) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(planned) = pacer.due(until_ns) {
            times.push(planned);
            pacer.advance();
        }
        times
    }

    #[test]
    fn a_day_at_an_odd_rate_does_not_drift() {
        let mut pacer = Pacer::new(plan(3.0), 0, 1, 5);
        pacer.next_index = 3 * 86_400;
        assert_eq!(pacer.due(u64::MAX - 1), Some(86_400 * SECOND + 5));
    }

    #[test]
    fn workers_share_one_schedule() {
        let mut all = arrivals(&mut Pacer::new(plan(1000.0), 0, 1, 0), SECOND - 1);
        let mut shared: Vec<u64> = (0..3)
            .flat_map(|worker| arrivals(&mut Pacer::new(plan(1000.0), worker, 3, 0), SECOND - 1))
            .collect();
        shared.sort_unstable();
        all.sort_unstable();
        assert_eq!(all, shared);
        assert_eq!(all.len(), 1000);
        let shares: u64 = (0..3).map(|worker| share(10, worker, 3)).sum();
        assert_eq!(shares, 10);
    }

    #[test]
    fn late_arrivals_keep_their_planned_time() {
        let mut pacer = Pacer::new(plan(10.0), 0, 1, 0);
        let times = arrivals(&mut pacer, 2 * SECOND);
        assert_eq!(times.len(), 21);
        assert_eq!(times[7], 700_000_000);
    }

    #[test]
    fn a_change_of_rate_keeps_the_phase() {
        let mut pacer = Pacer::new(plan(10.0), 0, 1, 0);
        assert_eq!(arrivals(&mut pacer, 50_000_000), vec![0]);
        // Half of the 100 ms to the next arrival is gone; at 1/s the other half lasts 500 ms.
        pacer.set_rate(1.0, 50_000_000);
        assert_eq!(pacer.next_deadline_ns(), 550_000_000);
        pacer.set_rate(0.0, 60_000_000);
        assert_eq!(pacer.next_deadline_ns(), u64::MAX);
        pacer.set_rate(1000.0, 70_000_000);
        assert!(pacer.next_deadline_ns() <= 71_000_000);
    }

    #[test]
    fn the_ramp_steps_and_stops_at_its_ceiling() {
        let ramp = RatePlan { increase: 10.0, interval_ns: SECOND, rate_max: 25.0, ..plan(10.0) };
        let mut pacer = Pacer::new(ramp, 0, 1, 0);
        let times = arrivals(&mut pacer, 10 * SECOND);
        assert_eq!(times.iter().filter(|&&t| t < SECOND).count(), 10);
        assert_eq!(times.iter().filter(|&&t| t >= SECOND).count(), 20);
        assert!(pacer.is_stopped());
        let mut pacer = Pacer::new(RatePlan { quit_at_max: false, ..ramp }, 0, 1, 0);
        let times = arrivals(&mut pacer, 4 * SECOND - 1);
        assert_eq!(times.iter().filter(|&&t| t >= 3 * SECOND).count(), 25);
        assert!(!pacer.is_stopped());
    }

    #[test]
    fn steps_have_the_time_that_their_rate_was_in_force() {
        let ramp = RatePlan { increase: 10.0, interval_ns: SECOND, rate_max: 30.0, ..plan(10.0) };
        let mut pacer = Pacer::new(ramp, 0, 1, 0);
        while pacer.due(SECOND * 3 / 2).is_some() {
            pacer.steps_mut().start();
            pacer.advance();
        }
        // The last quarter of the second second has a rate of its own; a pause belongs to no rate.
        pacer.set_rate(40.0, SECOND * 7 / 4);
        pacer.set_paused(true, 2 * SECOND);
        pacer.account(9 * SECOND);
        let (paced_ns, planned) = pacer.steps().paced();
        assert_eq!((paced_ns, planned), (2 * SECOND, 10.0 + 15.0 + 10.0));
        assert_eq!(pacer.steps().current(), 2);
        // The ramp goes past its ceiling: no time belongs to the rates above it.
        let mut pacer = Pacer::new(ramp, 0, 1, 0);
        arrivals(&mut pacer, 9 * SECOND);
        pacer.account(9 * SECOND);
        assert_eq!(pacer.steps().paced(), (3 * SECOND, 60.0));
        assert_eq!(pacer.steps().current(), 2);
    }

    #[test]
    fn arrivals_of_a_pause_are_not_made_up() {
        let mut pacer = Pacer::new(plan(10.0), 0, 1, 0);
        arrivals(&mut pacer, SECOND);
        pacer.set_paused(true, SECOND);
        assert_eq!(pacer.due(5 * SECOND), None);
        assert_eq!(pacer.rate_per_second(), 0.0);
        pacer.set_paused(false, 5 * SECOND);
        let times = arrivals(&mut pacer, 6 * SECOND);
        assert!((10..=11).contains(&times.len()), "{}", times.len());
        assert!(times[0] >= 5 * SECOND);
    }
}
