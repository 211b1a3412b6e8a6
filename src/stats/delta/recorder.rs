//! Makes deltas of one source from the reports of a run's workers.

use std::sync::Arc;

use super::{Delta, DeltaError, Durations, Figures, Moment, RateStepCalls, Source, WorkerTime};
use crate::stats::{
    Counters, JudgedSeconds, Layout, MessageCounts, RateSteps, Report, RunStart, StepCounts,
};

/// The last recorded figures of one worker: reports give the counts since the start.
#[derive(Clone, Debug, Default)]
pub(in crate::stats) struct Baseline {
    pub(in crate::stats) next_sequence: u64,
    pub(in crate::stats) counters: Counters,
    pub(in crate::stats) messages: MessageCounts,
    pub(in crate::stats) generic_counters: Vec<u64>,
    pub(in crate::stats) displays: Vec<u64>,
    pub(in crate::stats) steps: Vec<StepCounts>,
    pub(in crate::stats) rate_steps: RateSteps,
    /// The layout in whose order `steps` are.
    pub(in crate::stats) layout: Arc<Layout>,
    pub(in crate::stats) peak_active: u64,
}

/// Figures of one layout that no delta has yet.
#[derive(Clone, Debug)]
struct Pending {
    layout: Arc<Layout>,
    begin_ns: u64,
    end_ns: u64,
    figures: Figures,
}

/// The figures of a run's workers that no delta has yet.
#[derive(Clone, Debug)]
pub(in crate::stats) struct DeltaRecorder {
    source: Source,
    start: RunStart,
    next_sequence: u64,
    workers: Vec<Baseline>,
    /// The figures by layout, the earlier one first: each worker changes its layout at its own
    /// time.
    pending: Vec<Pending>,
    /// The judged seconds as of the last delta.
    seconds: JudgedSeconds,
    /// The end of the latest report, on the monotonic clock.
    end_ns: u64,
}

impl DeltaRecorder {
    /// Creates a recorder that begins now. `workers` are the workers' counts until now, and
    /// `seconds` the seconds judged until now.
    pub(in crate::stats) fn new(
        source: Source,
        start: RunStart,
        workers: Vec<Baseline>,
        seconds: JudgedSeconds,
    ) -> Self {
        let end_ns = start.monotonic_ns;
        Self { source, start, next_sequence: 0, workers, pending: Vec::new(), seconds, end_ns }
    }

    fn worker(&mut self, index: u16) -> &mut Baseline {
        let index = usize::from(index);
        if index >= self.workers.len() {
            self.workers.resize_with(index + 1, Baseline::default);
        }
        &mut self.workers[index]
    }

    /// Adds a report of a worker that has `layout`.
    ///
    /// # Errors
    /// A count is too large to travel.
    pub(in crate::stats) fn absorb(
        &mut self,
        report: &Report,
        layout: &Arc<Layout>,
    ) -> Result<(), DeltaError> {
        let mut figures = Figures::new(layout);
        self.end_ns = self.end_ns.max(report.end_ns);
        figures.measure(report);
        self.worker(report.worker).count(report, layout, &mut figures)?;
        let known = self.pending.iter_mut().find(|pending| pending.layout == *layout);
        match known {
            Some(pending) => {
                pending.begin_ns = pending.begin_ns.min(report.start_ns);
                pending.end_ns = pending.end_ns.max(report.end_ns);
                pending.figures.add(&figures)
            }
            None => {
                self.pending.push(Pending {
                    layout: Arc::clone(layout),
                    begin_ns: report.start_ns,
                    end_ns: report.end_ns,
                    figures,
                });
                Ok(())
            }
        }
    }

    /// Takes the counts since the last call: one delta for each layout with counts, and at least
    /// one if seconds have been judged. `layout` is the latest.
    pub(in crate::stats) fn take(
        &mut self,
        layout: &Arc<Layout>,
        mut moment: Moment,
        seconds: JudgedSeconds,
    ) -> Vec<Delta> {
        if self.pending.is_empty() && seconds != self.seconds {
            let (layout, figures) = (Arc::clone(layout), Figures::new(layout));
            let (begin_ns, end_ns) = (self.end_ns, self.end_ns);
            self.pending.push(Pending { layout, begin_ns, end_ns, figures });
        }
        moment.peak_active = self.workers.iter().map(|worker| worker.peak_active).sum();
        let unix_ns = |monotonic_ns: u64| {
            self.start.unix_ns + monotonic_ns.saturating_sub(self.start.monotonic_ns)
        };
        let mut deltas = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            // Judged seconds go into one delta only.
            let judged = seconds.since(&self.seconds);
            self.seconds = seconds;
            deltas.push(Delta {
                source: self.source.clone(),
                sequence: self.next_sequence,
                layout: pending.layout.id(),
                begin_unix_ns: unix_ns(pending.begin_ns),
                end_unix_ns: unix_ns(pending.end_ns),
                figures: pending.figures,
                seconds: judged,
                moment,
            });
            self.next_sequence += 1;
        }
        deltas
    }
}

impl Figures {
    /// Takes the measurements of a report's own interval.
    fn measure(&mut self, report: &Report) {
        let (measured, at_ns) = (&report.histograms, report.end_ns);
        for (own, theirs) in self.transactions.iter_mut().zip(&measured.transactions) {
            own.service = Durations::of(&theirs.service, at_ns);
            own.response = Durations::of(&theirs.response, at_ns);
            own.refused = Durations::of(&theirs.refused, at_ns);
        }
        for (own, theirs) in self.rtds.iter_mut().zip(&measured.rtds) {
            *own = Durations::of(theirs, at_ns);
        }
        self.call_length = Durations::of(&measured.call_length, at_ns);
        self.planned_send_error = Durations::of(&measured.planned_send_error, at_ns);
        self.loop_time = Durations::of(&measured.loop_time, at_ns);
        for (own, theirs) in self.media.iter_mut().zip(measured.media.each()) {
            *own = Durations::of(theirs, at_ns);
        }
        self.time = WorkerTime::of(report);
    }
}

impl Baseline {
    /// Adds the counts since the last report to `figures`. A report that comes after its successor
    /// adds nothing.
    fn count(
        &mut self,
        report: &Report,
        layout: &Arc<Layout>,
        figures: &mut Figures,
    ) -> Result<(), DeltaError> {
        if report.sequence < self.next_sequence {
            return Ok(());
        }
        if self.layout != *layout {
            self.steps = layout.carry_steps(&self.layout, &self.steps);
        }
        figures.counters = report.counters.since(&self.counters);
        figures.messages = report.messages.since(&self.messages);
        let since = |now: &[u64], then: &[u64], sums: &mut [u64]| {
            let then = then.iter().copied().chain(std::iter::repeat(0));
            for ((sum, &now), then) in sums.iter_mut().zip(now).zip(then) {
                *sum = now.saturating_sub(then);
            }
        };
        since(&report.generic_counters, &self.generic_counters, &mut figures.generic_counters);
        since(&report.displays, &self.displays, &mut figures.displays);
        let none = StepCounts::default();
        let then = self.steps.iter().chain(std::iter::repeat(&none));
        for ((sum, now), then) in figures.steps.iter_mut().zip(&report.steps).zip(then) {
            *sum = now.since(then);
        }
        figures.rate_steps = RateStepCalls::between(&self.rate_steps, &report.rate_steps)?;
        self.take(report, layout);
        Ok(())
    }

    fn take(&mut self, report: &Report, layout: &Arc<Layout>) {
        self.next_sequence = report.sequence + 1;
        self.counters = report.counters;
        self.messages.copy_from(&report.messages);
        self.generic_counters.clone_from(&report.generic_counters);
        self.displays.clone_from(&report.displays);
        self.steps.clone_from(&report.steps);
        self.rate_steps.copy_from(&report.rate_steps);
        self.layout = Arc::clone(layout);
        self.peak_active = self.peak_active.max(report.peak_active);
    }
}
