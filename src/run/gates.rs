//! The gates of a run and its kind of media, in the words of the statistics.

use crate::config::{Flavor, RunConfig, StandingGate};
use crate::output::summary::MediaMode;
use crate::stats::{CallsGate, HealthGates};

/// The gates of a run. Under the name `sipp` exit codes are SIPp's, so no gate stands there by
/// itself. The target of RTP without SIP never promised an answer, so none stands there either.
pub(crate) fn gates(config: &RunConfig) -> HealthGates {
    let gates = &config.health;
    let stands = config.flavor == Flavor::Gossipper && config.rtp_send.is_none();
    let calls = |gate| match gate {
        StandingGate::Standing if stands => CallsGate::Standing,
        StandingGate::Standing | StandingGate::Off => CallsGate::Off,
        StandingGate::Most(limit) => CallsGate::Most(limit),
    };
    HealthGates {
        success_ratio_min: gates.min_success_ratio,
        failed_calls_max: gates.max_failed_calls,
        timeouts_max: gates.max_timeouts,
        silent_calls: calls(gates.max_silent_calls),
        unknown_calls: calls(gates.max_unknown_calls),
        crosstalk_calls: calls(gates.max_crosstalk_calls),
        peer_loss_max: gates.max_rtcp_fraction_lost,
        peer_jitter_max: gates.max_rtcp_jitter_ts,
        packets_min: gates.min_rtp_packets_recv,
        packets_of_call_min: gates.min_rtp_packets_recv_per_call,
        loss_max: gates.max_rtp_loss,
        jitter_max_ns: gates.max_rtp_jitter_ms.map(|limit_ms| (limit_ms * 1e6) as u64),
        mos_min: gates.min_mos,
    }
}

/// The way in which streams of media share sockets.
pub(crate) fn media_mode(config: &RunConfig) -> MediaMode {
    match config.media.is_shared {
        true => MediaMode::Shared,
        false => MediaMode::Ports,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostPort, RunDraft};

    #[test]
    fn silent_calls_fail_a_run_unless_it_is_sipps() {
        let mut draft = RunDraft { remote: HostPort::parse("h").ok(), ..RunDraft::default() };
        let resolve = |draft: &RunDraft, flavor| draft.clone().resolve(flavor).unwrap();
        let ours = gates(&resolve(&draft, Flavor::Gossipper));
        assert_eq!(
            (ours.silent_calls, ours.unknown_calls),
            (CallsGate::Standing, CallsGate::Standing)
        );
        assert!(!ours.is_active());
        assert_eq!(gates(&resolve(&draft, Flavor::Sipp)), HealthGates::default());
        let mut alone = draft.clone();
        (alone.rtp_send.is_on, alone.rtp_send.target) = (true, alone.remote.take());
        assert_eq!(gates(&resolve(&alone, Flavor::Gossipper)), HealthGates::default());
        draft.health.max_silent_calls = StandingGate::Most(2);
        assert_eq!(gates(&resolve(&draft, Flavor::Sipp)).silent_calls, CallsGate::Most(2));
        draft.health.max_silent_calls = StandingGate::Off;
        assert_eq!(gates(&resolve(&draft, Flavor::Gossipper)).silent_calls, CallsGate::Off);
    }
}
