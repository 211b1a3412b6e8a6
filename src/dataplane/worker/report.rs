//! The figures of a worker for the control side: reports of whole seconds, and counter samples in
//! between.

use gossipper_uring::Driver;

use super::{REPORT_NS, SAMPLE_NS, Worker};
use crate::media::Medium;
use crate::stats::{CounterSample, Counters, Report};

impl<D: Driver, M: Medium> Worker<D, M> {
    /// Sends the figures of the interval that ends now.
    pub(super) fn report(&mut self, now: u64, is_last: bool) {
        let start_ns = self.interval_start_ns;
        // Intervals end at whole seconds, so that all workers' seconds coincide.
        let end_ns = if is_last { now } else { now - (now - self.next_report_ns) % REPORT_NS };
        let end_ns = end_ns.max(start_ns);
        let paced_until_ns = self.pacing_until_ns.map_or(end_ns, |until| until.min(end_ns));
        let paced = self.engine.account_pacing(paced_until_ns);
        let Some(mut report) = self.finished_report(is_last) else {
            // The control side is late: report a longer interval later.
            self.next_report_ns += REPORT_NS;
            return;
        };
        let cpu_ns = self.network.cpu_time_ns();
        let busy_ns = cpu_ns.saturating_sub(self.last_cpu_ns);
        self.last_cpu_ns = cpu_ns;
        report.worker = self.index as u16;
        report.sequence = self.sequence;
        report.start_ns = start_ns;
        report.end_ns = end_ns;
        report.busy_ns = busy_ns.min(end_ns - start_ns);
        report.pacing_ns = paced_until_ns.saturating_sub(start_ns);
        if let Some((paced_ns, planned, step)) = paced {
            // The ramp may have been evaluated beyond the interval's end: the rest belongs to the
            // next one.
            let since = paced_ns - self.paced.paced_ns;
            report.pacing_ns = since.min(end_ns - start_ns);
            if report.pacing_ns > 0 {
                let per_ns = (planned - self.paced.planned) / since as f64;
                report.target_rate = per_ns * 1e9 / self.workers as f64;
                self.paced.planned += per_ns * report.pacing_ns as f64;
            }
            self.paced.paced_ns += report.pacing_ns;
            report.rate_step = std::mem::replace(&mut self.paced.step, step);
        }
        // The second in which the last call was placed is still a measurement.
        report.is_draining = self.engine.all_created()
            && self.pacing_until_ns.is_some_and(|until| until <= start_ns);
        report.is_last = is_last;
        self.count(&mut report.counters);
        self.medium.swap_measured(&mut report.histograms.media);
        self.sequence += 1;
        self.interval_start_ns = end_ns;
        self.next_report_ns = end_ns + REPORT_NS;
        self.plan_sample(end_ns);
        // The queue has room for all existing reports.
        let pushed = self.links.reports.push(report);
        debug_assert!(pushed.is_ok());
        self.links.wake_control();
    }

    /// Sends a counter sample between two reports.
    pub(super) fn sample(&mut self, now: u64) {
        self.plan_sample(now);
        let mut counters = self.engine.counters_now();
        self.count(&mut counters);
        let target_rate = self.engine.target_rate() / self.workers as f64;
        let sample = CounterSample { worker: self.index as u16, at_ns: now, counters, target_rate };
        if let Some(samples) = &mut self.links.samples {
            // A sample that finds no room is lost without harm: another one follows.
            let _ = samples.push(sample);
        }
        self.links.wake_control();
    }

    pub(super) fn plan_sample(&mut self, now: u64) {
        if self.links.samples.is_some() {
            self.next_sample_ns = now + SAMPLE_NS;
        }
    }

    /// Adds the counts that are not the engine's.
    fn count(&self, counters: &mut Counters) {
        counters.add(&self.own);
        self.network.count(counters);
        self.medium.count(&mut counters.media);
    }

    /// The report of the interval that ends now. New programs, if some have arrived, begin with the
    /// next interval, except in the run's last report.
    fn finished_report(&mut self, is_last: bool) -> Option<Box<Report>> {
        if !is_last && let Some(report) = self.swap() {
            return Some(report);
        }
        let empty = self.spare.pop_front().or_else(|| self.links.empties.pop().ok());
        match empty {
            Some(empty) => Some(self.engine.swap_report(empty)),
            None if is_last => {
                let empty = Box::new(self.engine.report_mut().clone());
                Some(self.engine.swap_report(empty))
            }
            None => None,
        }
    }

    fn swap(&mut self) -> Option<Box<Report>> {
        if !self.engine.can_swap(self.links.swaps.peek().ok()?) {
            return None;
        }
        let mut swap = self.links.swaps.pop().ok()?;
        let report = self.engine.swap(&mut swap);
        // These have an outdated layout now, also those of an exchange seconds before. The control
        // side sends no more of them.
        swap.stale.extend(self.spare.drain(..));
        self.spare.extend(swap.reports.drain(..));
        while let Ok(stale) = self.links.empties.pop() {
            swap.stale.push(stale);
        }
        // Only one exchange is in progress at a time.
        let _ = self.links.swapped.push(swap);
        report
    }
}
