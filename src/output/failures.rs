//! Failed calls in words: the failure, the number of calls, and the first of them.

use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;
use super::units;
use crate::stats::{
    FailureCause, FailureGroup, Happening, RunStart, Snapshot, StepKind, Unreachable,
};

/// Tells in words how the calls of a group failed: `503 Service Unavailable to INVITE (step 1)`.
pub(super) fn what(group: &FailureGroup) -> String {
    let method = group.method().unwrap_or_default();
    let text = match (group.happening, group.missing()) {
        (Happening::Response { code, .. }, _) => {
            let reason = group.reason().map_or(String::new(), |reason| format!(" {reason}"));
            format!("{code}{reason} to {method}")
        }
        (Happening::Request { .. }, _) => format!("{method} from the peer"),
        (Happening::NoAck { code, .. }, _) => format!("no ACK for {code} to {method}"),
        (Happening::Unreachable { code, reason, .. }, _) => {
            let code = if code == 0 { String::new() } else { format!("{code} to ") };
            format!("{code}{method} answered by ICMP {}", why_unreachable(reason))
        }
        (Happening::NoAnswer { .. }, Some(missing)) => format!("no {missing} to {method}"),
        (_, Some(missing)) => format!("no {missing} from the peer"),
        (_, None) => group.cause.description().trim_end_matches('.').to_owned(),
    };
    match group.step {
        Some(step) if group.happening == Happening::None && group.missing().is_none() => {
            format!("{text}{} (step {step})", at_step(group))
        }
        Some(step) => format!("{text} (step {step})"),
        None => text,
    }
}

/// Tells the kind of the step at which the calls of a group failed.
fn at_step(group: &FailureGroup) -> String {
    let name = &group.step_name;
    match group.step_kind {
        Some(StepKind::Recv { .. }) => format!(", while waiting for {name}"),
        Some(StepKind::Send { .. }) => format!(", while sending {name}"),
        Some(StepKind::Pause) => format!(", in the pause of {name}"),
        Some(StepKind::SendCommand) => ", while sending a command".to_owned(),
        Some(StepKind::RecvCommand) => ", while waiting for a command".to_owned(),
        Some(StepKind::Nop) | None => String::new(),
    }
}

fn why_unreachable(reason: Unreachable) -> &'static str {
    match reason {
        Unreachable::Port => "port unreachable: no program listens there",
        Unreachable::Host => "host unreachable: there is no route to it",
        Unreachable::Prohibited => "administratively prohibited: a firewall refused it",
        Unreachable::Other => "error",
    }
}

/// The first call of a group: `first call 20, failed at 00:00:04`.
pub(super) fn first_call(group: &FailureGroup, start: &RunStart) -> String {
    let after_s = group.first.at_ns.saturating_sub(start.monotonic_ns) / 1_000_000_000;
    format!(
        "first call {}, failed at {:02}:{:02}:{:02}",
        group.first.call,
        after_s / 3600,
        after_s / 60 % 60,
        after_s % 60,
    )
}

/// The share of a group among all calls, and its peer.
pub(super) fn share_and_peer(group: &FailureGroup, snapshot: &Snapshot) -> String {
    let share = units::percent(share(group.count, snapshot));
    format!("{share} of the calls, peer {}", peer(group))
}

/// A group in one line: `unexpected_message 40: 503 Service Unavailable to INVITE (step 1), ...`.
pub fn sentence(group: &FailureGroup, snapshot: &Snapshot) -> String {
    format!(
        "{} {}: {}, {}, {}, Call-ID {}",
        group.cause.label(),
        units::count(group.count),
        what(group),
        share_and_peer(group, snapshot),
        first_call(group, &snapshot.start),
        group.first.call_id.shown(),
    )
}

/// Describes calls that failed by `cause` and have no group.
pub(super) fn without_group(cause: FailureCause, snapshot: &Snapshot) -> &'static str {
    let mut groups = snapshot.failures.groups.iter();
    match groups.any(|group| group.cause == cause) {
        true => "others, not grouped",
        false => cause.description(),
    }
}

/// Tells that the only failed calls were open when the run ended: their text needs no second look.
pub fn ended_with_run(snapshot: &Snapshot) -> Option<&'static str> {
    let failures = &snapshot.counters.failures;
    let are_all = failures.count(FailureCause::Cancelled) == failures.total();
    are_all.then_some("Nothing is wrong with these calls: the run ended before they did.")
}

/// Tells which option a second look needs, unless the run has it already.
pub fn next_look(has_error_log: bool, has_event_log: bool) -> Option<&'static str> {
    match has_error_log || has_event_log {
        true => None,
        false => Some(
            "Run again with -trace_err to see the messages, or with -log_file_jsonl FILE for a \
             line of JSON for each event.",
        ),
    }
}

fn share(count: u64, snapshot: &Snapshot) -> f64 {
    count as f64 / snapshot.calls.started.max(1) as f64
}

/// The peer of a group; without a port if each call may have another one.
fn peer(group: &FailureGroup) -> String {
    match group.peer.port() {
        0 => group.peer.ip().to_string(),
        _ => group.peer.to_string(),
    }
}

/// Failed calls that failed alike, in the summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureEntry {
    /// A key of `failure_causes`.
    pub cause: String,
    /// Number of calls.
    pub count: u64,
    /// Share of `total_calls`, 0 to 1.
    pub share: f64,
    /// Description of the failure, in words.
    pub text: String,
    /// Method of the message in question, or of the request that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Reason phrase of the first response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The message that was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The scenario that the calls followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The step at which they failed, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u16>,
    /// The peer that the calls went to, or came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Time at which the first of the calls failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<String>,
    /// Nanoseconds from the begin of the run to that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_after: Option<u64>,
    /// Number of the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_call: Option<u64>,
    /// Call-ID of the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_call_id: Option<String>,
}

impl FailureEntry {
    /// All failed calls of a run: groups, the largest first, then calls without a group, by cause.
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        let groups = snapshot.failures.groups.iter().map(|group| Self::of(group, snapshot));
        let others = snapshot.failures.others.nonzero();
        let others = others.map(|(cause, count)| Self::without_group(cause, count, snapshot));
        groups.chain(others).collect()
    }

    fn of(group: &FailureGroup, snapshot: &Snapshot) -> Self {
        let start = &snapshot.start;
        let after_ns = group.first.at_ns.saturating_sub(start.monotonic_ns);
        Self {
            cause: group.cause.label().to_owned(),
            count: group.count,
            share: share(group.count, snapshot),
            text: what(group),
            method: group.method(),
            code: group.code(),
            reason: group.reason(),
            missing: group.missing(),
            scenario: Some(group.scenario.clone()).filter(|name| !name.is_empty()),
            step: group.step,
            peer: Some(peer(group)),
            first_at: Some(Timestamp { unix_ns: start.unix_ns + after_ns }.to_string()),
            first_after: Some(after_ns),
            first_call: Some(group.first.call),
            first_call_id: Some(group.first.call_id.shown()),
        }
    }

    fn without_group(cause: FailureCause, count: u64, snapshot: &Snapshot) -> Self {
        Self {
            cause: cause.label().to_owned(),
            count,
            share: share(count, snapshot),
            text: without_group(cause, snapshot).to_owned(),
            ..Self::default()
        }
    }
}
