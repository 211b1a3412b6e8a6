//! Health gates: the conditions that a run must meet to count as passed.

use serde::{Deserialize, Serialize};

use super::{
    CallTotals, FailureCause, HeardVerdict, MediaMeasure, Snapshot, count_of_ns, units_of_ns,
};

/// The gates of a run. The user sets them, but for those of [`CallsGate::Standing`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HealthGates {
    /// `-health_min_success_ratio`: least share of the started calls that must succeed, 0 to 1.
    pub success_ratio_min: Option<f64>,
    /// `-health_max_failed_calls`: most calls that may fail.
    pub failed_calls_max: Option<u64>,
    /// `-health_max_timeouts`: most calls that may fail for want of an answer.
    pub timeouts_max: Option<u64>,
    /// `-health_max_silent_calls`: most calls in which nobody may hear anybody.
    pub silent_calls: CallsGate,
    /// `-health_max_unknown_calls`: most calls of which nobody may know who heard whom.
    pub unknown_calls: CallsGate,
    /// `-health_max_crosstalk_calls`: most calls that may have cross-talk.
    pub crosstalk_calls: CallsGate,
    /// `-health_max_rtcp_fraction_lost`: most loss that a peer may report, 0 to 1.
    pub peer_loss_max: Option<f64>,
    /// `-health_max_rtcp_jitter_ts`: most jitter that a peer may report, in units of the RTP clock.
    pub peer_jitter_max: Option<u64>,
    /// `-health_min_rtp_packets_recv`: least RTP packets received.
    pub packets_min: Option<u64>,
    /// `-health_min_rtp_packets_recv_per_call`: least RTP packets received in each call with media.
    pub packets_of_call_min: Option<u64>,
    /// `-health_max_rtp_loss`: most of the expected RTP that a listener may not hear, 0 to 1.
    pub loss_max: Option<f64>,
    /// `-health_max_rtp_jitter`: most jitter of a stream.
    pub jitter_max_ns: Option<u64>,
    /// `-health_min_mos`: least estimated MOS of a stream.
    pub mos_min: Option<f64>,
}

/// A gate for a number of calls with media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallsGate {
    /// No gate.
    #[default]
    Off,
    /// No such call, if any call sent RTP. The user has not set it: while it holds, it lets no run
    /// pass that fails otherwise.
    Standing,
    /// The user's limit.
    Most(u64),
}

impl CallsGate {
    /// Most calls in this run; `None` if the gate does not apply to it.
    fn limit(self, snapshot: &Snapshot) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Standing => (snapshot.counters.media.rtp_packets_sent > 0).then_some(0),
            Self::Most(limit) => Some(limit),
        }
    }

    /// Tells whether the run has gone far enough to miss what the gate is about.
    fn expects_a_call(self, snapshot: &Snapshot) -> bool {
        self != Self::Standing || snapshot.is_finished
    }

    fn unless_standing(self) -> Self {
        if self == Self::Standing { Self::Off } else { self }
    }
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
    /// Tells whether the user has set any gate.
    pub fn is_active(&self) -> bool {
        let set = Self {
            silent_calls: self.silent_calls.unless_standing(),
            unknown_calls: self.unknown_calls.unless_standing(),
            crosstalk_calls: self.crosstalk_calls.unless_standing(),
            ..*self
        };
        set != Self::default()
    }

    /// Compares a run with the gates. A gate on a figure that was not measured fails: a gate that
    /// passes because nothing was tested would hide a broken test.
    pub fn evaluate(&self, snapshot: &Snapshot) -> Health {
        let mut reasons = self.calls(snapshot);
        reasons.extend(self.heard(snapshot));
        reasons.extend(self.reported(snapshot));
        reasons.extend(self.received(snapshot));
        Health {
            active: self.is_active() || !reasons.is_empty(),
            pass: reasons.is_empty(),
            reasons,
            success_ratio_min: self.success_ratio_min,
        }
    }

    /// The reasons for which calls as such miss gates.
    fn calls(&self, snapshot: &Snapshot) -> Vec<String> {
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
        reasons
    }

    /// The reasons for which that which was heard misses gates.
    fn heard(&self, snapshot: &Snapshot) -> Vec<String> {
        let media = &snapshot.counters.media;
        let mut reasons = Vec::new();
        if let Some(limit) = self.silent_calls.limit(snapshot) {
            if media.legs_closed == 0 && self.silent_calls.expects_a_call(snapshot) {
                reasons.push(
                    "no call with media ended, so it is not known whether one was silent \
                     (-health_max_silent_calls)"
                        .to_owned(),
                );
            } else if media.silent_calls > limit {
                let were = if media.silent_calls == 1 { "call was" } else { "calls were" };
                reasons.push(format!(
                    "{} {were} silent, {limit} are allowed (-health_max_silent_calls)",
                    media.silent_calls
                ));
            }
        }
        let unknown = media.heard.count(HeardVerdict::Unknown);
        let limit = self.unknown_calls.limit(snapshot);
        if let Some(limit) = limit.filter(|&limit| unknown > limit) {
            let calls = if unknown == 1 { "call" } else { "calls" };
            reasons.push(format!(
                "of {unknown} {calls} it is not known who heard whom, {limit} are allowed \
                 (-health_max_unknown_calls)"
            ));
        }
        reasons.extend(self.crosstalk(snapshot));
        reasons
    }

    /// The reason for which audio of other calls misses its gate.
    fn crosstalk(&self, snapshot: &Snapshot) -> Option<String> {
        let media = &snapshot.counters.media;
        let limit = self.crosstalk_calls.limit(snapshot)?;
        if self.crosstalk_calls != CallsGate::Standing && media.legs_marked == 0 {
            return Some(
                "no call that ended heard marked audio, so it is not known whether one had \
                 cross-talk (-health_max_crosstalk_calls)"
                    .to_owned(),
            );
        }
        let calls = if media.legs_crosstalk == 1 { "call" } else { "calls" };
        (media.legs_crosstalk > limit).then(|| {
            format!(
                "{} {calls} had cross-talk, {limit} are allowed (-health_max_crosstalk_calls)",
                media.legs_crosstalk
            )
        })
    }

    /// The reasons for which reports of peers miss gates.
    fn reported(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(limit) = self.peer_loss_max {
            let loss = snapshot.media.measured(MediaMeasure::PeerLoss);
            let loss = loss.map(|loss| units_of_ns(loss.max_ns) / 100.0);
            reasons.extend(missed(loss, |loss| loss > limit, |loss| match loss {
                Some(loss) => {
                    format!("a peer reported a lost fraction of {loss:.6}, {limit} is allowed")
                }
                None => format!(
                    "no peer reported by RTCP how much it lost, a fraction of {limit} is allowed"
                ),
            }));
        }
        if let Some(limit) = self.peer_jitter_max {
            let jitter = snapshot.media.measured(MediaMeasure::PeerJitter);
            let jitter = jitter.map(|jitter| count_of_ns(jitter.max_ns));
            let allowed = format!("{limit} units of the RTP clock are allowed");
            reasons.extend(missed(
                jitter,
                |jitter| jitter > limit,
                |jitter| match jitter {
                    Some(jitter) => format!("a peer reported a jitter of {jitter}, {allowed}"),
                    None => format!("no peer reported its jitter by RTCP, {allowed}"),
                },
            ));
        }
        reasons
    }

    /// The reasons for which received streams miss gates.
    fn received(&self, snapshot: &Snapshot) -> Vec<String> {
        let counted = &snapshot.counters.media;
        let media = &snapshot.media;
        let mut reasons = Vec::new();
        let packets = counted.rtp_packets_received;
        if let Some(limit) = self.packets_min.filter(|&limit| packets < limit) {
            reasons.push(format!("{packets} RTP packets were received, {limit} are required"));
        }
        if let Some(limit) = self.packets_of_call_min {
            let packets = media.measured(MediaMeasure::CallPackets);
            let packets = packets.map(|packets| count_of_ns(packets.min_ns));
            reasons.extend(missed(
                packets,
                |packets| packets < limit,
                |packets| match packets {
                    Some(packets) => format!(
                        "a call received {packets} RTP packets, {limit} are required of each call"
                    ),
                    None => format!(
                        "no call with media ended, {limit} RTP packets are required of each call"
                    ),
                },
            ));
        }
        if let Some(limit) = self.loss_max {
            let loss = counted.unheard_share();
            reasons.extend(missed(loss, |loss| loss > limit, |loss| match loss {
                Some(loss) => format!(
                    "a share of {loss:.6} of the RTP was lost or came too late, {limit} is allowed"
                ),
                None => format!("no RTP stream ended, so its loss is not known; {limit} is allowed"),
            }));
        }
        if let Some(limit_ns) = self.jitter_max_ns {
            let jitter = media.measured(MediaMeasure::Jitter).map(|jitter| jitter.max_ns);
            let limit = milliseconds(limit_ns);
            reasons.extend(missed(
                jitter,
                |jitter| jitter > limit_ns,
                |jitter| match jitter {
                    Some(jitter_ns) => format!(
                        "a stream had a jitter of {}, {limit} are allowed",
                        milliseconds(jitter_ns)
                    ),
                    None => format!("no stream's jitter was measured, {limit} are allowed"),
                },
            ));
        }
        if let Some(limit) = self.mos_min {
            let mos = media.measured(MediaMeasure::Mos).map(|mos| units_of_ns(mos.min_ns));
            reasons.extend(missed(
                mos,
                |mos| mos < limit,
                |mos| match mos {
                    Some(mos) => {
                        format!("a stream had an estimated MOS of {mos:.3}, {limit} is required")
                    }
                    None => format!("no stream's MOS could be estimated, {limit} is required"),
                },
            ));
        }
        reasons
    }
}

/// The reason for which a figure misses a gate, or for which that is not known.
fn missed<T: Copy>(
    figure: Option<T>,
    is_missed: impl FnOnce(T) -> bool,
    reason: impl FnOnce(Option<T>) -> String,
) -> Option<String> {
    figure.is_none_or(is_missed).then(|| reason(figure))
}

fn milliseconds(ns: u64) -> String {
    format!("{} ms", ns as f64 / 1e6)
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
    fn a_run_without_calls_fails_a_success_ratio() {
        let gates = HealthGates { success_ratio_min: Some(0.5), ..HealthGates::default() };
        assert!(!gates.evaluate(&snapshot(0, 0)).pass);
        let gates = HealthGates { failed_calls_max: Some(0), ..HealthGates::default() };
        assert!(gates.evaluate(&snapshot(0, 0)).pass);
    }

    const STANDING: HealthGates = HealthGates {
        success_ratio_min: None,
        failed_calls_max: None,
        timeouts_max: None,
        silent_calls: CallsGate::Standing,
        unknown_calls: CallsGate::Standing,
        crosstalk_calls: CallsGate::Standing,
        peer_loss_max: None,
        peer_jitter_max: None,
        packets_min: None,
        packets_of_call_min: None,
        loss_max: None,
        jitter_max_ns: None,
        mos_min: None,
    };

    /// A run whose calls sent RTP, with these verdicts.
    fn heard(verdicts: &[(HeardVerdict, u64)]) -> Snapshot {
        let layout = Arc::new(Layout::default());
        let mut report = Report { is_last: true, ..Report::new(&layout, 0) };
        let media = &mut report.counters.media;
        media.rtp_packets_sent = 100;
        for &(verdict, calls) in verdicts {
            media.heard.bump_by(verdict, calls);
            media.legs_opened += calls;
            media.legs_closed += calls;
            media.silent_calls += if verdict == HeardVerdict::None { calls } else { 0 };
        }
        let mut aggregate = Aggregate::new(layout, 1, RunStart::default());
        aggregate.absorb(&report);
        aggregate.snapshot()
    }

    #[test]
    fn a_silent_call_fails_a_run_that_has_no_gate() {
        let good =
            [(HeardVerdict::TwoWay, 8), (HeardVerdict::OneWay, 1), (HeardVerdict::NoMedia, 1)];
        // It lets no run pass that fails for another reason: it is not active while it holds.
        assert_eq!(STANDING.evaluate(&heard(&good)), Health::default());
        let silent =
            STANDING.evaluate(&heard(&[(HeardVerdict::TwoWay, 8), (HeardVerdict::None, 2)]));
        assert_eq!((silent.active, silent.pass), (true, false));
        assert_eq!(
            silent.reasons,
            ["2 calls were silent, 0 are allowed (-health_max_silent_calls)"]
        );
        let unknown = STANDING.evaluate(&heard(&[(HeardVerdict::Unknown, 3)]));
        assert_eq!(unknown.reasons.len(), 1);
        assert!(unknown.reasons[0].starts_with("of 3 calls it is not known"), "{unknown:?}");
        let off = HealthGates { silent_calls: CallsGate::Most(2), ..HealthGates::default() };
        assert!(off.evaluate(&heard(&[(HeardVerdict::None, 2)])).pass);
        assert!(!off.evaluate(&heard(&[(HeardVerdict::None, 3)])).pass);
        let nothing = HealthGates::default();
        assert_eq!(nothing.evaluate(&heard(&[(HeardVerdict::None, 2)])), Health::default());
    }

    #[test]
    fn a_call_that_heard_another_one_fails_a_run_that_has_no_gate() {
        let crossed = |marked, calls| {
            let mut snapshot = heard(&[(HeardVerdict::TwoWay, 8)]);
            let media = &mut snapshot.counters.media;
            (media.legs_marked, media.legs_crosstalk) = (marked, calls);
            snapshot
        };
        assert_eq!(STANDING.evaluate(&crossed(8, 0)), Health::default());
        let reasons = STANDING.evaluate(&crossed(8, 1)).reasons;
        let reason = "1 call had cross-talk, 0 are allowed (-health_max_crosstalk_calls)";
        assert_eq!(reasons, [reason]);
        let most = |limit| HealthGates {
            crosstalk_calls: CallsGate::Most(limit),
            ..HealthGates::default()
        };
        assert!(most(1).evaluate(&crossed(8, 1)).pass);
        // Without a watermark nothing is known, which holds no gate that the user has set.
        assert!(!most(1).evaluate(&crossed(0, 0)).pass && STANDING.evaluate(&crossed(0, 0)).pass);
    }

    #[test]
    fn a_standing_gate_waits_for_rtp_and_for_the_end() {
        assert_eq!(STANDING.evaluate(&snapshot(5, 0)), Health::default());
        let mut open = heard(&[]);
        assert!(!STANDING.evaluate(&open).pass, "nobody knows whether its calls were silent");
        open.is_finished = false;
        assert!(STANDING.evaluate(&open).pass);
    }

    #[test]
    fn a_gate_on_a_figure_that_was_not_measured_fails() {
        let gates = HealthGates {
            silent_calls: CallsGate::Most(0),
            peer_loss_max: Some(0.5),
            peer_jitter_max: Some(1000),
            packets_min: Some(1),
            packets_of_call_min: Some(1),
            loss_max: Some(0.5),
            jitter_max_ns: Some(1_000_000_000),
            mos_min: Some(1.0),
            ..HealthGates::default()
        };
        let health = gates.evaluate(&snapshot(5, 0));
        assert_eq!((health.active, health.pass), (true, false));
        assert_eq!(health.reasons.len(), 8, "{:#?}", health.reasons);
    }

    #[test]
    fn gates_on_media_compare_the_worst_stream_and_call() {
        let layout = Arc::new(Layout::default());
        let mut report = Report::new(&layout, 0);
        report.counters.media.rtp_packets_received = 148;
        report.counters.media.rtp_expected = 150;
        (report.counters.media.rtp_lost, report.counters.media.rtp_discarded) = (2, 1);
        let measured = &mut report.histograms.media;
        for packets in [99, 49] {
            measured.record_count(MediaMeasure::CallPackets, packets);
        }
        measured.record(MediaMeasure::Jitter, 3_000_000);
        measured.record(MediaMeasure::Jitter, 1_000_000);
        [4.4, 3.9].into_iter().for_each(|mos| measured.record_mos(mos));
        measured.record_peer(64, 80);
        measured.record_peer(0, 160);
        let mut aggregate = Aggregate::new(layout, 1, RunStart::default());
        aggregate.absorb(&report);
        let snapshot = aggregate.snapshot();
        let good = HealthGates {
            peer_loss_max: Some(0.25),
            peer_jitter_max: Some(160),
            packets_min: Some(148),
            packets_of_call_min: Some(49),
            loss_max: Some(0.02),
            jitter_max_ns: Some(3_000_000),
            mos_min: Some(3.9),
            ..HealthGates::default()
        };
        assert_eq!(good.evaluate(&snapshot).reasons, [""; 0]);
        let bad = HealthGates {
            peer_loss_max: Some(0.24),
            peer_jitter_max: Some(159),
            packets_min: Some(149),
            packets_of_call_min: Some(50),
            loss_max: Some(0.019),
            jitter_max_ns: Some(2_999_999),
            mos_min: Some(3.91),
            ..good
        };
        assert_eq!(
            bad.evaluate(&snapshot).reasons,
            [
                "a peer reported a lost fraction of 0.250000, 0.24 is allowed",
                "a peer reported a jitter of 160, 159 units of the RTP clock are allowed",
                "148 RTP packets were received, 149 are required",
                "a call received 49 RTP packets, 50 are required of each call",
                "a share of 0.020000 of the RTP was lost or came too late, 0.019 is allowed",
                "a stream had a jitter of 3 ms, 2.999999 ms are allowed",
                "a stream had an estimated MOS of 3.900, 3.91 is required",
            ]
        );
    }
}
