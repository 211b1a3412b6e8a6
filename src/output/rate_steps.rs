//! The rates of a run step by step: a row for each, and those that the peer held.
//!
//! A mean over several rates says nothing, so that reports of several rates have none.

use std::fmt::{self, Write};

use super::units;
use crate::stats::{
    Health, RateStep, RateStepProblem, Snapshot, Verdict, WithheldCounts, clean_and_bad,
};

/// Width of the last column of a row.
const RESULT_COLUMNS: usize = 34;
/// Most causes named for one step; the summary has all.
const CAUSES_MAX: usize = 2;

/// The rate steps of a run that had several.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateTable<'a> {
    pub(super) steps: &'a [RateStep],
    start_ns: u64,
    pub(super) ratio_min: f64,
}

impl<'a> RateTable<'a> {
    /// The steps of `snapshot`; `None` if there was only one rate. The gate of the success ratio
    /// decides which steps are clean.
    pub(super) fn of(snapshot: &'a Snapshot, health: &Health) -> Option<Self> {
        let steps = snapshot.rate_steps.as_slice();
        let ratio_min = health.success_ratio_min.unwrap_or(1.0);
        let start_ns = snapshot.start.monotonic_ns;
        (steps.len() > 1).then_some(Self { steps, start_ns, ratio_min })
    }

    /// Whole seconds from the start of the run to the begin of a step.
    pub(super) fn second_of(&self, step: &RateStep) -> u64 {
        step.counts.begin_ns.saturating_sub(self.start_ns) / 1_000_000_000
    }

    /// The range of the rates, as one figure of the report.
    pub(super) fn span(&self) -> String {
        let rates = self.steps.iter().map(|step| &step.counts);
        let lowest = rates.clone().map(|counts| counts.rate_min).fold(f64::INFINITY, f64::min);
        let highest = rates.map(|counts| counts.rate_max).fold(0.0, f64::max);
        format!(
            "{} to {} calls/s in {} steps",
            units::rate(lowest),
            units::rate(highest),
            self.steps.len()
        )
    }

    /// The rate that the peer held.
    pub(super) fn clean_rate(&self) -> String {
        let (clean, bad) = clean_and_bad(self.steps, self.ratio_min);
        let clean = clean.and_then(|index| self.steps.get(index));
        let clean = clean.map(|step| format!("{} calls/s", units::rate(step.counts.rate_max)));
        match (clean, bad) {
            (Some(rate), Some(_)) => rate,
            (Some(rate), None) if self.steps.iter().all(|step| step.is_clean(self.ratio_min)) => {
                format!("{rate}, every step was clean")
            }
            (Some(rate), None) => format!("{rate}, every step that was judged was clean"),
            (None, Some(_)) => "none below the first bad step".to_owned(),
            (None, None) if self.steps.iter().all(|step| step.success_ratio().is_none()) => {
                "unknown, as no call has ended".to_owned()
            }
            (None, None) => "unknown, as no step was long enough to be judged".to_owned(),
        }
    }

    /// The first bad step and the reason; `None` if there is none.
    pub(super) fn first_bad(&self) -> Option<String> {
        let (_, bad) = clean_and_bad(self.steps, self.ratio_min);
        let step = self.steps.get(bad?)?;
        let (rate, second) = (rates(step), self.second_of(step));
        let why = self.why(step)?;
        Some(format!("First bad step: {rate} calls/s from second {second}: {why}."))
    }

    /// Tells why a step is bad; `None` if it is not.
    pub(super) fn why(&self, step: &RateStep) -> Option<String> {
        let counts = &step.counts;
        Some(match step.problem(self.ratio_min)? {
            RateStepProblem::GeneratorLimited => format!(
                "the generator was the limit in {} of {} seconds ({})",
                step.verdict.limited_seconds,
                step.verdict.judged_seconds,
                limits(step),
            ),
            RateStepProblem::CallsFailed => format!(
                "{} of {} calls failed ({})",
                units::count(step.failed()),
                units::count(counts.succeeded + step.failed()),
                failures(step),
            ),
            RateStepProblem::CallsWithheld => format!(
                "{} of {} due calls were not started ({})",
                units::count(counts.withheld.total()),
                units::count(counts.withheld.total() + counts.started),
                withheld(&counts.withheld),
            ),
        })
    }

    /// The heading of the rows.
    pub(super) fn heading() -> String {
        let mut line = format!("{:<11}", "Rate steps");
        for column in ["target", "achieved", "success", "p50", "p99", "failed"] {
            let _ = write!(line, " {column:>8}");
        }
        line.push_str("  result");
        line
    }

    /// Writes a row: the time, the rate, and the results.
    pub(super) fn row(&self, f: &mut fmt::Formatter<'_>, step: &RateStep) -> fmt::Result {
        let second = self.second_of(step);
        let from = format!("{:02}:{:02}", second / 60, second % 60);
        let target = rates(step);
        // Two merged rates may take more than their column.
        let width = 19_usize.saturating_sub(from.len());
        let success = step.success_ratio().map_or("-".to_owned(), units::percent);
        let measured = |duration_ns| match step.response.count {
            0 => "-".to_owned(),
            _ => units::duration(duration_ns),
        };
        write!(
            f,
            " {from} {target:>width$} {:>8} {success:>8} {:>8} {:>8} {:>8}  ",
            units::rate(step.achieved()),
            measured(step.response.p50_ns),
            measured(step.response.p99_ns),
            units::count(step.failed()),
        )?;
        let result: String = self.result(step).chars().take(RESULT_COLUMNS).collect();
        f.write_str(result.trim_end())
    }

    fn result(&self, step: &RateStep) -> String {
        match step.problem(self.ratio_min) {
            Some(RateStepProblem::GeneratorLimited) => {
                format!("{}: {}", step.verdict.verdict().label(), limits(step))
            }
            Some(RateStepProblem::CallsFailed) => failures(step),
            Some(RateStepProblem::CallsWithheld) => {
                format!("not started: {}", withheld(&step.counts.withheld))
            }
            None if step.is_clean(self.ratio_min) => "clean".to_owned(),
            None => Verdict::NotJudged.label().to_owned(),
        }
    }
}

/// The rate of a step, or the range if several were merged.
fn rates(step: &RateStep) -> String {
    let (lowest, highest) = (step.counts.rate_min, step.counts.rate_max);
    match lowest < highest {
        true => format!("{}-{}", units::rate(lowest), units::rate(highest)),
        false => units::rate(highest),
    }
}

/// The most frequent causes first, as `12 unexpected_message`.
fn failures(step: &RateStep) -> String {
    let causes = step.counts.failures.nonzero().map(|(cause, n)| (cause.label(), n));
    named(causes.filter(|&(label, _)| label != "cancelled").collect())
}

fn withheld(withheld: &WithheldCounts) -> String {
    named(withheld.nonzero().map(|(cause, n)| (cause.label(), n)).collect())
}

fn named(mut causes: Vec<(&'static str, u64)>) -> String {
    causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let more = if causes.len() > CAUSES_MAX { ", ..." } else { "" };
    let named = causes.iter().take(CAUSES_MAX);
    let named: Vec<_> =
        named.map(|(label, count)| format!("{} {label}", units::count(*count))).collect();
    named.join(", ") + more
}

fn limits(step: &RateStep) -> String {
    let causes: Vec<_> = step.verdict.causes.nonzero().map(|(cause, _)| cause.label()).collect();
    causes.join(", ")
}
