//! Every family of metrics: name, kind, labels and meaning.
//!
//! The exposition, its descriptions and the table in `docs/observability.md` come from this list.

/// The kind of a family's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with sum and count.
    Histogram,
}

impl Kind {
    /// The word of the `# TYPE` line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name, unit last.
    pub name: &'static str,
    /// The kind of its samples.
    pub kind: Kind,
    /// Names of its labels (`le` of histograms aside).
    pub labels: &'static [&'static str],
    /// The text of the `# HELP` line: one sentence.
    pub help: &'static str,
}

macro_rules! families {
    ($($(#[doc = $comment:literal])* $ident:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $ident: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All families, in the order in which they are exposed.
        pub const ALL: &[Family] = &[$($ident),+];
    };
}

families! {
    BUILD_INFO Gauge "gossipper_build_info" ["version" "commit" "features"]
        "The program that runs; always 1.";
    ENGINES Gauge "gossipper_engines" ["kind" "state"]
        "Engines by kind and state.";
    RUN_INFO Gauge "gossipper_run_info" ["engine" "run_id" "profile" "scenario" "kind"]
        "The run of an engine; always 1. Join it to other metrics by engine.";
    RUN_STATE Gauge "gossipper_run_state" ["engine" "state"]
        "1 for the state that the engine is in, 0 for the others.";
    RUN_START Gauge "gossipper_run_start_timestamp_seconds" ["engine"]
        "Start of the run, in seconds since 1970 UTC.";
    WORKERS Gauge "gossipper_workers" ["engine"]
        "Worker threads of the engine.";

    TARGET_RATE Gauge "gossipper_target_call_rate" ["engine"]
        "Calls per second that the engine is asked to start now; 0 if calls are not paced.";
    CALLS_STARTED Counter "gossipper_calls_started_total" ["engine"]
        "Calls started, by us or by peers: completed, failed and active add up to it.";
    CALLS_COMPLETED Counter "gossipper_calls_completed_total" ["engine"]
        "Calls that reached the end of the scenario.";
    CALLS_FAILED Counter "gossipper_calls_failed_total" ["engine" "reason"]
        "Calls that failed, by reason; each has exactly one.";
    CALLS_SKIPPED Counter "gossipper_calls_skipped_total" ["engine" "cause"]
        "Planned calls that were not started and never will be, by cause.";
    CALLS_ACTIVE Gauge "gossipper_calls_active" ["engine"]
        "Calls open now.";
    CALL_DURATION Histogram "gossipper_call_duration_seconds" ["engine"]
        "From the first message of a call to its end.";

    REQUESTS_SENT Counter "gossipper_sip_requests_sent_total" ["engine" "method"]
        "Requests sent, without retransmissions.";
    REQUESTS_RECEIVED Counter "gossipper_sip_requests_received_total" ["engine" "method"]
        "Requests received, without retransmissions.";
    RESPONSES_SENT Counter "gossipper_sip_responses_sent_total" ["engine" "method" "code"]
        "Responses sent, without retransmissions.";
    RESPONSES_RECEIVED Counter "gossipper_sip_responses_received_total" ["engine" "method" "code"]
        "Responses received, without retransmissions.";
    RETRANSMISSIONS_SENT Counter "gossipper_sip_retransmissions_sent_total" ["engine"]
        "Messages that we sent again.";
    RETRANSMISSIONS_RECEIVED Counter "gossipper_sip_retransmissions_received_total" ["engine"]
        "Messages that a peer sent again.";
    PARSE_ERRORS Counter "gossipper_sip_parse_errors_total" ["engine" "cause"]
        "Malformed messages that were dropped, by cause.";
    OUT_OF_DIALOG Counter "gossipper_sip_out_of_dialog_total" ["engine"]
        "Messages that belong to no call and cannot start one in the scenario.";
    LATE_MESSAGES Counter "gossipper_sip_late_messages_total" ["engine"]
        "Messages for a call that had ended.";
    AUTO_ANSWERED Counter "gossipper_sip_auto_answered_total" ["engine"]
        "Messages answered by a default behaviour rather than by the scenario.";
    SIMULATED_LOSSES Counter "gossipper_sip_simulated_losses_total" ["engine"]
        "Messages lost on purpose.";
    RESPONSE_SECONDS Histogram "gossipper_sip_response_seconds" ["engine" "method"]
        "From the planned time of a request to a 2xx: the time that a caller would have waited.";
    SERVICE_SECONDS Histogram "gossipper_sip_service_seconds" ["engine" "method"]
        "From a request's first transmission to a 2xx: the system under test.";
    REFUSED_SECONDS Histogram "gossipper_sip_refused_seconds" ["engine"]
        "From a request's first transmission to a final response of 3xx to 6xx, all methods together.";
    TIMER_SECONDS Histogram "gossipper_response_time_seconds" ["engine" "timer"]
        "Response times of the scenario (start_rtd, rtd).";

    STEP_MESSAGES Counter "gossipper_scenario_step_messages_total" ["engine" "step"]
        "Messages sent or received by a step of the scenario, and pauses begun by it.";
    STEP_RETRANSMISSIONS Counter "gossipper_scenario_step_retransmissions_total" ["engine" "step"]
        "Messages of a step that were sent again, by us or by the peer.";
    STEP_TIMEOUTS Counter "gossipper_scenario_step_timeouts_total" ["engine" "step"]
        "Receives of a step that waited too long, and sends that were never answered.";
    STEP_UNEXPECTED Counter "gossipper_scenario_step_unexpected_total" ["engine" "step"]
        "Messages that came while a call was at the step and that the scenario does not expect.";

    CONNECTIONS_OPENED Counter "gossipper_connections_opened_total" ["engine"]
        "Connections that we began to open.";
    CONNECTIONS_ACCEPTED Counter "gossipper_connections_accepted_total" ["engine"]
        "Connections that peers opened.";
    CONNECTIONS_FAILED Counter "gossipper_connections_failed_total" ["engine"]
        "Connections that could not be established, TLS and WebSocket handshakes included.";
    CONNECTIONS_LOST Counter "gossipper_connections_lost_total" ["engine"]
        "Connections that were established and not ended by us.";
    RECONNECTS Counter "gossipper_reconnects_total" ["engine"]
        "Connections opened again after a loss.";
    HANDSHAKES Counter "gossipper_handshakes_total" ["engine"]
        "TLS and WebSocket handshakes that succeeded.";
    HANDSHAKES_RESUMED Counter "gossipper_handshakes_resumed_total" ["engine"]
        "Handshakes that resumed an earlier TLS session.";
    STREAM_BYTES_SENT Counter "gossipper_stream_sent_bytes_total" ["engine"]
        "Bytes sent on connections.";
    STREAM_BYTES_RECEIVED Counter "gossipper_stream_received_bytes_total" ["engine"]
        "Bytes received on connections.";

    MEDIA_CALLS_ACTIVE Gauge "gossipper_media_calls_active" ["engine"]
        "Calls with media that are open now.";
    MEDIA_CALLS_ENDED Counter "gossipper_media_calls_ended_total" ["engine" "heard"]
        "Ended calls with media, by who heard whom: two_way, one_way, none, unknown, no_media.";
    RTP_ONE_WAY Counter "gossipper_rtp_streams_oneway_total" ["engine"]
        "Ended calls in which only one side heard the other.";
    RTP_SILENT Counter "gossipper_rtp_streams_silent_total" ["engine"]
        "Ended calls in which neither side heard the other.";
    RTP_CROSSTALK Counter "gossipper_rtp_streams_crosstalk_total" ["engine"]
        "Ended calls in which watermarks showed that one side heard another call.";
    RTP_SENT Counter "gossipper_rtp_packets_sent_total" ["engine"]
        "RTP packets sent.";
    RTP_RECEIVED Counter "gossipper_rtp_packets_received_total" ["engine"]
        "RTP packets received for a stream, duplicates included.";
    RTP_BYTES_SENT Counter "gossipper_rtp_bytes_sent_total" ["engine"]
        "RTP payload octets sent.";
    RTP_BYTES_RECEIVED Counter "gossipper_rtp_bytes_received_total" ["engine"]
        "RTP payload octets received for a stream.";
    RTP_ECHOED Counter "gossipper_rtp_packets_echoed_total" ["engine"]
        "RTP packets that were sent back as they came.";
    RTP_EXPECTED Counter "gossipper_rtp_packets_expected_total" ["engine"]
        "RTP packets that ended streams expected.";
    RTP_LOST Counter "gossipper_rtp_packets_lost_total" ["engine"]
        "RTP packets that ended streams expected and that never came.";
    RTP_LATE Counter "gossipper_rtp_packets_late_total" ["engine"]
        "RTP packets of ended streams that came too late for the jitter buffer.";
    RTP_DUPLICATE Counter "gossipper_rtp_packets_duplicate_total" ["engine"]
        "RTP packets of ended streams that came twice.";
    RTP_REORDERED Counter "gossipper_rtp_packets_reordered_total" ["engine"]
        "RTP packets of ended streams that came after a later one.";
    RTP_WRONG_PAYLOAD_TYPE Counter "gossipper_rtp_packets_wrong_payload_type_total" ["engine"]
        "RTP packets of ended streams with a payload type that was not negotiated.";
    RTP_SSRC_CHANGES Counter "gossipper_rtp_ssrc_changes_total" ["engine"]
        "Changes of the SSRC within ended streams.";
    RTP_PATTERNS_FAILED Counter "gossipper_rtp_patterns_failed_total" ["engine"]
        "Ended streams whose check pattern did not come back within the tolerance.";
    RTP_RECORDINGS_DROPPED Counter "gossipper_rtp_recording_packets_dropped_total" ["engine"]
        "Packets for recordings that found no room on their way to the thread that writes them.";
    RTP_STRAYS Counter "gossipper_rtp_strays_total" ["engine" "cause"]
        "Well-formed datagrams of media that count for no stream, by cause.";
    RTP_MALFORMED Counter "gossipper_rtp_malformed_total" ["engine" "cause"]
        "Malformed datagrams of media, and those that SRTP dropped, by cause.";
    DTLS_HANDSHAKES Counter "gossipper_dtls_handshakes_total" ["engine"]
        "Handshakes of DTLS that gave a stream its keys.";
    DTLS_FAULTS Counter "gossipper_dtls_faults_total" ["engine" "cause"]
        "Streams that got no keys by DTLS or no address by ICE, and datagrams of both that were dropped, by cause.";
    TURN_OPENED Counter "gossipper_turn_pairs_total" ["engine"]
        "Pairs of relayed addresses that a TURN server gave.";
    TURN_FAULTS Counter "gossipper_turn_faults_total" ["engine" "cause"]
        "Failures of TURN relays, and datagrams of them that were dropped, by cause.";
    RTP_DELAYED Counter "gossipper_rtp_packets_delayed_total" ["engine" "cause"]
        "RTP packets that left later than planned, by cause.";
    RTP_UNSENT Counter "gossipper_rtp_packets_unsent_total" ["engine" "cause"]
        "RTP packets that did not leave, by cause.";
    RTCP_SENT Counter "gossipper_rtcp_packets_sent_total" ["engine"]
        "RTCP packets sent.";
    RTCP_RECEIVED Counter "gossipper_rtcp_packets_received_total" ["engine"]
        "RTCP packets received for a stream.";
    RTP_JITTER Histogram "gossipper_rtp_jitter_seconds" ["engine"]
        "Interarrival jitter of ended streams (RFC 3550).";
    RTP_MOS Histogram "gossipper_rtp_mos" ["engine"]
        "Estimated MOS of ended streams, 1 to 5; streams without an estimate do not count.";
    RTP_LOSS Histogram "gossipper_rtp_loss_ratio" ["engine"]
        "Share of the packets of an ended stream that never came.";
    RTP_FIRST_AUDIO Histogram "gossipper_rtp_first_audio_seconds" ["engine"]
        "From the answer of a call to the first audible packet.";
    RTCP_ROUND_TRIP Histogram "gossipper_rtcp_round_trip_seconds" ["engine"]
        "Round trips to peers by RTCP.";
    DTLS_DURATION Histogram "gossipper_dtls_handshake_seconds" ["engine"]
        "Time from the address of a stream's peer, which ICE may have had to find, to the keys by DTLS.";
    RTP_SEND_LAG Histogram "gossipper_rtp_send_lag_seconds" ["engine"]
        "Difference between the planned and the actual time of an RTP packet: the generator's own error.";

    SCHEDULER_LAG Histogram "gossipper_scheduler_lag_seconds" ["engine"]
        "Difference between the planned and the actual start of a call: the generator's own error.";
    LOOP_SECONDS Histogram "gossipper_loop_turn_seconds" ["engine"]
        "Turns of the workers' loops, without the wait.";
    CORE_BUSY Counter "gossipper_core_busy_seconds_total" ["engine" "core"]
        "Time that a worker was busy.";
    HEADROOM Gauge "gossipper_headroom_ratio" ["engine"]
        "Share of the last second, 0 to 1, that its busiest worker had left.";
    JUDGED_SECONDS Counter "gossipper_judged_seconds_total" ["engine"]
        "Seconds of the run that were judged.";
    VERDICT_SECONDS Counter "gossipper_verdict_seconds_total" ["engine" "cause"]
        "Seconds in which the generator was the limit, by cause; a second may have several. Cause none: it was not the limit.";
    WORKER_STALLS Counter "gossipper_worker_stalls_total" ["engine" "severity"]
        "Times that a worker did not run for too long.";
    DATAGRAMS_SENT Counter "gossipper_datagrams_sent_total" ["engine"]
        "Datagrams handed to the kernel.";
    DATAGRAMS_RECEIVED Counter "gossipper_datagrams_received_total" ["engine"]
        "Datagrams received.";
    SEND_OPERATIONS Counter "gossipper_send_operations_total" ["engine"]
        "Send operations; a train of segments counts once.";
    SEGMENTATION_FALLBACKS Counter "gossipper_send_train_fallbacks_total" ["engine"]
        "Trains that had to be sent datagram by datagram.";
    SENDS_DEFERRED Counter "gossipper_sends_deferred_total" ["engine" "cause"]
        "Messages that had to wait: for room in the arena, or for their connection.";
    KERNEL_ENTERS Counter "gossipper_kernel_enters_total" ["engine"]
        "Calls into the kernel that submit or wait.";
    SEND_ERRORS Counter "gossipper_socket_send_errors_total" ["engine" "errno"]
        "Messages that the kernel refused because it had no buffer.";
    ICMP_ERRORS Counter "gossipper_icmp_errors_total" ["engine"]
        "ICMP errors received.";
    RECEIVE_DROPS Counter "gossipper_socket_receive_drops_total" ["engine" "cause"]
        "Datagrams lost on the way in: the receive queue was full, or they exceed their buffer.";
    RECEIVE_REARMS Counter "gossipper_receive_rearms_total" ["engine"]
        "Times that receiving stopped because there was no buffer, and was armed again.";
    CQ_OVERFLOW Counter "gossipper_uring_cq_overflow_total" ["engine"]
        "Overflows of completion queues.";
    HANDED_OVER Counter "gossipper_handed_over_total" ["engine"]
        "Datagrams handed to the worker that owns their call.";
    HANDOVER_DROPS Counter "gossipper_handover_drops_total" ["engine"]
        "Datagrams lost because the queue to another worker was full.";
    COMMANDS_DROPPED Counter "gossipper_exec_commands_dropped_total" ["engine"]
        "Commands of exec actions that were not run.";
    SCENARIO_WARNINGS Counter "gossipper_scenario_warnings_total" ["engine"]
        "Warnings of scenarios and other recoverable problems.";
    TRACE_DROPS Counter "gossipper_trace_records_dropped_total" ["engine" "kind"]
        "Records of traces, call records, HEP and event logs lost because a queue was full, by kind.";
    TRACE_UNWRITTEN Counter "gossipper_trace_records_unwritten_total" ["engine" "kind"]
        "Entries of traces, call records, event logs and statistics files lost because they could not be written, for example on a full disk, by kind of record.";

    TARGET_REFUSALS Counter "gossipper_target_refusals_total" ["reason"]
        "Addresses and loads that clients of the API asked for and did not get, by reason: see targets.";
    API_REQUESTS Counter "gossipper_api_requests_total" ["route" "code"]
        "Requests to the API by route and status code.";
    API_SECONDS Histogram "gossipper_api_request_seconds" ["route"]
        "From a request to the API to its response.";
    API_CONNECTIONS Gauge "gossipper_api_connections" []
        "Connections to the API that are open, WebSockets included.";
    API_CONNECTIONS_REFUSED Counter "gossipper_api_connections_refused_total" ["cause"]
        "Connections to the API that were refused or cut, by cause: all places or those of the source were taken, another one needed the place, the TLS handshake failed.";
    API_REQUESTS_REFUSED Counter "gossipper_api_requests_refused_total" ["cause"]
        "Requests to the API that were refused because of their form, by cause: a head that is malformed, too large or too slow, an address that is too long, a body that is too large or too slow, too many of one source at once, no memory for another large body.";
    WS_CLIENTS Gauge "gossipper_ws_clients" []
        "Clients of the live WebSocket.";
    WS_FRAMES_SENT Counter "gossipper_ws_frames_sent_total" []
        "Frames sent on the live WebSocket.";
    WS_FRAMES_DROPPED Counter "gossipper_ws_frames_dropped_total" []
        "Frames that slow clients of the live WebSocket did not get.";
    WS_STALLED Counter "gossipper_ws_stalled_total" []
        "Clients of the live WebSocket that were dropped because they took no frame for 8 s.";
    LOGINS Counter "gossipper_auth_logins_total" ["outcome"]
        "Attempts to log in, by outcome.";
    AUTH_FAILURES Counter "gossipper_auth_failures_total" ["reason"]
        "Requests that were refused because authentication or permission was missing, by reason.";
    RELOAD_SUCCESSFUL Gauge "gossipper_config_last_reload_successful" []
        "1 if the last reading of the configuration succeeded, else 0.";
    RELOAD_TIMESTAMP Gauge "gossipper_config_last_reload_success_timestamp_seconds" []
        "Time of the last successful reading of the configuration, in seconds since 1970 UTC.";

    PROCESS_CPU Counter "process_cpu_seconds_total" []
        "User and system time of the process.";
    PROCESS_RSS Gauge "process_resident_memory_bytes" []
        "Resident memory of the process.";
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Virtual memory of the process.";
    PROCESS_FDS Gauge "process_open_fds" []
        "Open file descriptors of the process.";
    PROCESS_FDS_MAX Gauge "process_max_fds" []
        "Most file descriptors that the process may open.";
    PROCESS_THREADS Gauge "process_threads" []
        "Threads of the process.";
    PROCESS_START Gauge "process_start_time_seconds" []
        "Start of the process, in seconds since 1970 UTC.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = std::collections::HashSet::new();
        for family in ALL {
            let name = family.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("gossipper_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            if family.kind == Kind::Histogram {
                let units = ["_seconds", "_ratio", "_mos"];
                assert!(units.iter().any(|unit| name.ends_with(unit)), "{name}");
            }
            for reserved in ["le", "quantile", "job", "instance", "type"] {
                assert!(!family.labels.contains(&reserved), "{name} has the label {reserved}");
            }
            assert!(family.help.ends_with('.'), "{name}");
        }
    }
}
