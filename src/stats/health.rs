//! Health gates: the conditions that a run must meet to count as passed.

use serde::{Deserialize, Serialize};

use super::{CallTotals, FailureCause, Snapshot};

/// The gates that the user set; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HealthGates {
    /// `-health_min_success_ratio`: least share of the started calls that must succeed, 0 to 1.
    pub success_ratio_min: Option<f64>,
    /// `-health_max_failed_calls`: most calls that may fail.
    pub failed_calls_max: Option<u64>,
    /// `-health_max_timeouts`: most calls that may fail for want of an answer.
    pub timeouts_max: Option<u64>,
    /// `-health_min_rtp_packets_recv`: least RTP packets that all calls together must receive.
    pub rtp_packets_received_min: Option<u64>,
    /// `-health_max_silent_calls`: most calls in which nobody heard anything, if any call sent RTP.
    /// As it is set by default, it alone does not make gates decide about a run that passes it.
    pub silent_calls_max: Option<u64>,
}

/// The outcome of the gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// At least one gate is set.
    pub active: bool,
    /// All gates that are set hold.
    pub pass: bool,
    /// One sentence for each gate that does not hold.
    pub reasons: Vec<String>,
    /// The least success ratio, which each step of a ramp is compared with too.
    pub success_ratio_min: Option<f64>,
}

impl Default for Health {
    /// The outcome without gates: none failed.
    fn default() -> Self {
        Self { active: false, pass: true, reasons: Vec::new(), success_ratio_min: None }
    }
}

impl HealthGates {
    /// Tells whether any gate is set that decides alone.
    pub fn is_active(&self) -> bool {
        *self != Self { silent_calls_max: self.silent_calls_max, ..Self::default() }
    }

    /// Compares a run with the gates. A run that started no call fails a success ratio: a gate that
    /// passes because nothing was tested would hide a broken test.
    pub fn evaluate(&self, snapshot: &Snapshot) -> Health {
        let mut reasons = Vec::new();
        // Calls that were open when the user ended the run have neither passed nor failed.
        let cancelled = snapshot.counters.failures.count(FailureCause::Cancelled);
        let calls = CallTotals {
            started: snapshot.calls.started.saturating_sub(cancelled),
            failed: snapshot.calls.failed.saturating_sub(cancelled),
            ..snapshot.calls
        };
        if let Some(limit) = self.success_ratio_min {
            let ratio = calls.success_ratio();
            if calls.started == 0 && limit > 0.0 {
                reasons
                    .push(format!("no call was started, a success ratio of {limit} is required"));
            } else if ratio < limit {
                reasons.push(format!("success ratio {ratio:.6} is below {limit}"));
            }
        }
        if let Some(limit) = self.failed_calls_max.filter(|&limit| calls.failed > limit) {
            reasons.push(format!("{} calls failed, {limit} are allowed", calls.failed));
        }
        let timeouts = snapshot.timeouts();
        if let Some(limit) = self.timeouts_max.filter(|&limit| timeouts > limit) {
            reasons.push(format!("{timeouts} calls timed out, {limit} are allowed"));
        }
        let media = &snapshot.counters.media;
        let received = media.rtp_packets_received;
        if let Some(limit) = self.rtp_packets_received_min.filter(|&limit| received < limit) {
            reasons.push(format!("{received} RTP packets were received, {limit} are required"));
        }
        let silent = if media.rtp_packets_sent > 0 { media.silent_calls } else { 0 };
        if let Some(limit) = self.silent_calls_max.filter(|&limit| silent > limit) {
            reasons.push(format!(
                "{silent} of {} calls with media were silent, {limit} are allowed \
                 (-health_max_silent_calls)",
                media.legs_closed
            ));
        }
        Health {
            active: self.is_active() || !reasons.is_empty(),
            pass: reasons.is_empty(),
            reasons,
            success_ratio_min: self.success_ratio_min,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{Aggregate, Counters, FailureCause, Layout, Report, RunStart};

    fn snapshot(succeeded: u64, timeouts: u64) -> Snapshot {
        let layout = Arc::new(Layout::default());
        let mut counters = Counters {
            calls_outgoing: succeeded + timeouts,
            calls_succeeded: succeeded,
            calls_failed: timeouts,
            ..Counters::default()
        };
        (0..timeouts).for_each(|_| counters.failures.bump(FailureCause::RecvTimeout));
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, RunStart::default());
        aggregate.absorb(&Report { counters, is_last: true, ..Report::new(&layout, 0) });
        aggregate.snapshot()
    }

    #[test]
    fn without_gates_nothing_fails() {
        assert_eq!(HealthGates::default().evaluate(&snapshot(0, 9)), Health::default());
    }

    #[test]
    fn calls_cancelled_at_the_end_of_a_run_do_not_fail_a_gate() {
        let gates = HealthGates {
            success_ratio_min: Some(1.0),
            failed_calls_max: Some(0),
            ..HealthGates::default()
        };
        let mut stopped = snapshot(96, 0);
        stopped.calls.started += 4;
        stopped.calls.failed += 4;
        (0..4).for_each(|_| stopped.counters.failures.bump(FailureCause::Cancelled));
        assert!(gates.evaluate(&stopped).pass);
    }

    #[test]
    fn every_gate_that_does_not_hold_gives_a_reason() {
        let gates = HealthGates {
            success_ratio_min: Some(0.95),
            failed_calls_max: Some(5),
            timeouts_max: Some(4),
            ..HealthGates::default()
        };
        let good = gates.evaluate(&snapshot(96, 4));
        assert_eq!((good.active, good.pass), (true, true));
        let bad = gates.evaluate(&snapshot(94, 6));
        assert_eq!((bad.active, bad.pass), (true, false));
        assert_eq!(
            bad.reasons,
            [
                "success ratio 0.940000 is below 0.95",
                "6 calls failed, 5 are allowed",
                "6 calls timed out, 4 are allowed",
            ]
        );
    }

    #[test]
    fn a_silent_call_fails_a_run_that_sent_media() {
        let gates = HealthGates { silent_calls_max: Some(0), ..HealthGates::default() };
        let with_media = |sent, silent| {
            let mut snapshot = snapshot(2, 0);
            let media = &mut snapshot.counters.media;
            (media.rtp_packets_sent, media.silent_calls, media.legs_closed) = (sent, silent, 2);
            gates.evaluate(&snapshot)
        };
        // Alone it decides nothing about a run without silent calls, or without media.
        assert_eq!(with_media(100, 0), Health::default());
        assert_eq!(with_media(0, 2), Health::default());
        let silent = with_media(100, 1);
        assert_eq!((silent.active, silent.pass), (true, false));
        assert!(
            silent.reasons[0].starts_with("1 of 2 calls with media were silent, 0 are allowed")
        );
        let received = HealthGates { rtp_packets_received_min: Some(1), ..HealthGates::default() };
        assert!(!received.evaluate(&snapshot(2, 0)).pass);
    }

    #[test]
    fn a_run_without_calls_fails_a_success_ratio() {
        let gates = HealthGates { success_ratio_min: Some(0.5), ..HealthGates::default() };
        assert!(!gates.evaluate(&snapshot(0, 0)).pass);
        let gates = HealthGates { failed_calls_max: Some(0), ..HealthGates::default() };
        assert!(gates.evaluate(&snapshot(0, 0)).pass);
    }
}
