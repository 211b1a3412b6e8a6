//! The run in a few sentences, most important first.

use super::failures::{sentence, without_group};
use super::media;
use super::rate_steps::RateTable;
use super::units;
use super::verdict::{verdict_sentences, withheld_sentence};
use crate::stats::{FailureCause, Health, Snapshot};

/// Most groups of failed calls, and most causes of calls without a group, in the findings; the
/// tables have all of them.
const CAUSES_MAX: usize = 3;

/// The facts about a run that its user should know.
pub fn findings(snapshot: &Snapshot, health: &Health) -> Vec<String> {
    let mut findings = Vec::new();
    let verdict = snapshot.verdict.verdict();
    if verdict.is_limited() {
        findings.extend(verdict_sentences(snapshot));
    } else {
        findings.extend(withheld_sentence(snapshot));
    }
    match (health.active, health.pass) {
        (true, true) => findings.push("All health gates hold.".to_owned()),
        (true, false) => {
            findings.push(format!("Health gates failed: {}.", health.reasons.join("; ")))
        }
        (false, _) => {}
    }
    if let Some(table) = RateTable::of(snapshot, health) {
        findings.push(format!("Clean rate: {}.", table.clean_rate()));
        findings.extend(table.first_bad());
    }
    findings.push(calls_sentence(snapshot));
    findings.extend(media::findings(snapshot));
    if snapshot.timeouts() > 0 {
        findings
            .push(format!("{} because no answer came.", calls_did(snapshot.timeouts(), "failed")));
    }
    let groups = snapshot.failures.groups.iter().take(CAUSES_MAX);
    findings.extend(groups.map(|group| sentence(group, snapshot)));
    findings.extend(top_causes(snapshot).map(|(cause, count)| {
        format!(
            "{} with {}: {}",
            calls_did(count, "failed"),
            cause.label(),
            without_group(cause, snapshot)
        )
    }));
    findings
}

fn calls_sentence(snapshot: &Snapshot) -> String {
    let calls = &snapshot.calls;
    if calls.started == 0 {
        return "No call was started.".to_owned();
    }
    let open = match calls.active {
        0 => String::new(),
        active => format!(", {} still open", units::count(active)),
    };
    format!(
        "{} succeeded of {} ({}), {} failed{open}.",
        units::count(calls.succeeded),
        units::count(calls.started),
        units::percent(calls.success_ratio()),
        units::count(calls.failed),
    )
}

fn calls_did(count: u64, verb: &str) -> String {
    let noun = if count == 1 { "call" } else { "calls" };
    format!("{} {noun} {verb}", units::count(count))
}

fn top_causes(snapshot: &Snapshot) -> impl Iterator<Item = (FailureCause, u64)> {
    let mut causes: Vec<_> = snapshot.failures.others.nonzero().collect();
    // The sort is stable: equal counts keep the order of declaration.
    causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    causes.into_iter().take(CAUSES_MAX)
}
