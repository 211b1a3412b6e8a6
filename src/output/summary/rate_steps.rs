//! The rate steps of a run: the results of a ramp.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::labelled;
use crate::output::rate_steps::RateTable;
use crate::stats::{Health, RateStep, RateStepProblem, Snapshot, clean_and_bad};

/// Outcome of the calls of each rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateSteps {
    /// The steps, oldest first; neighbours are merged if there were too many.
    pub steps: Vec<Step>,
    /// The highest clean rate below every bad step; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_clean_calls_per_second: Option<f64>,
    /// The first step that is not clean; absent if all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<BadStep>,
}

/// One step. Calls count in the step in which they started, durations in that of their second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Whole seconds from the start of the run to the begin of the step.
    pub second: u64,
    /// Time during which calls were being placed.
    pub duration: u64,
    /// The rate; for merged steps the mean over time.
    pub target_calls_per_second: f64,
    /// The lowest rate of merged steps.
    pub target_min: f64,
    /// The highest rate of merged steps.
    pub target_max: f64,
    /// Calls started per second.
    pub achieved_calls_per_second: f64,
    /// Calls started.
    pub started: u64,
    /// Calls that reached the end of the scenario.
    pub succeeded: u64,
    /// Calls that failed, without those that were open when the run was stopped.
    pub failed: u64,
    /// Share of the calls with an outcome that succeeded, 0 to 1; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_ratio: Option<f64>,
    /// Failed calls by cause.
    pub failure_causes: BTreeMap<String, u64>,
    /// Planned calls that were not started, by cause.
    pub withheld: BTreeMap<String, u64>,
    /// Number of response times of the primary transaction.
    pub responses: u64,
    /// Median response time; for merged steps the highest.
    pub response_p50: u64,
    /// 99th percentile of the response times; for merged steps the highest.
    pub response_p99: u64,
    /// `ok`, `generator_limited` or `not_judged`.
    pub verdict: String,
    /// `clean`, `not_judged`, or the problem: `generator_limited`, `calls_failed` or
    /// `calls_withheld`.
    pub result: String,
}

/// The first step that is not clean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BadStep {
    /// Whole seconds from the start of the run to the begin of the step.
    pub second: u64,
    /// Rate of the step.
    pub target_calls_per_second: f64,
    /// The reason: a sentence without full stop.
    pub why: String,
}

impl RateSteps {
    /// The steps of a run; `None` if there was only one rate.
    pub(super) fn of(snapshot: &Snapshot, health: &Health) -> Option<Self> {
        let table = RateTable::of(snapshot, health)?;
        let (clean, bad) = clean_and_bad(table.steps, table.ratio_min);
        let clean = clean.and_then(|index| table.steps.get(index));
        let bad = bad.and_then(|index| table.steps.get(index));
        Some(Self {
            steps: table.steps.iter().map(|step| Step::of(step, &table)).collect(),
            highest_clean_calls_per_second: clean.map(|step| step.counts.rate_max),
            first_bad: bad.map(|step| BadStep {
                second: table.second_of(step),
                target_calls_per_second: step.target(),
                why: table.why(step).unwrap_or_default(),
            }),
        })
    }
}

impl Step {
    fn of(step: &RateStep, table: &RateTable<'_>) -> Self {
        let counts = &step.counts;
        let result = match step.problem(table.ratio_min) {
            Some(RateStepProblem::GeneratorLimited) => "generator_limited",
            Some(RateStepProblem::CallsFailed) => "calls_failed",
            Some(RateStepProblem::CallsWithheld) => "calls_withheld",
            None if step.is_clean(table.ratio_min) => "clean",
            None => "not_judged",
        };
        Self {
            second: table.second_of(step),
            duration: counts.paced_ns,
            target_calls_per_second: step.target(),
            target_min: counts.rate_min,
            target_max: counts.rate_max,
            achieved_calls_per_second: step.achieved(),
            started: counts.started,
            succeeded: counts.succeeded,
            failed: step.failed(),
            success_ratio: step.success_ratio(),
            failure_causes: labelled(counts.failures.nonzero().map(|(c, n)| (c.label(), n))),
            withheld: labelled(counts.withheld.nonzero().map(|(c, n)| (c.label(), n))),
            responses: step.response.count,
            response_p50: step.response.p50_ns,
            response_p99: step.response.p99_ns,
            verdict: step.verdict.verdict().label().to_owned(),
            result: result.to_owned(),
        }
    }
}
