//! The calls with the worst media, for people who look for the one to listen to.

use serde::{Deserialize, Serialize};

use crate::output::timestamp::Timestamp;
use crate::stats::{Snapshot, WorstCall};

/// A call with bad media. Lost, late and jitter are those of its audio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BadCall {
    /// Number of the call, unique in the run.
    pub call: u64,
    /// Call-ID of the call.
    pub call_id: String,
    /// Time at which the call ended.
    pub ended_at: String,
    /// Time from its first message to its end.
    pub duration: u64,
    /// The failure, a key of `failure_causes`; absent if the call succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The verdict: `none`, `one_way`, `two_way`, `unknown`.
    pub heard: String,
    /// RTP packets sent.
    pub rtp_packets_sent: u64,
    /// RTP packets received, without duplicates.
    pub rtp_packets_received: u64,
    /// RTP packets that were expected.
    pub rtp_packets_expected: u64,
    /// Number of them that never came.
    pub rtp_packets_lost: u64,
    /// Number of them that came too late for the jitter buffer.
    pub rtp_packets_discarded: u64,
    /// Lost of expected packets, 0 to 1; `null` if none was expected.
    pub loss_ratio: Option<f64>,
    /// Highest interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter_max: u64,
    /// Estimated MOS; `null` until measured.
    pub mos_estimated: Option<f64>,
    /// Estimated MOS of the worst five seconds.
    pub mos_estimated_min: Option<f64>,
    /// From the answer of the call to the first audible packet; `null` if none came.
    pub first_audio: Option<u64>,
    /// Longest time without an audible packet while the call listened.
    pub dead_air: u64,
}

impl BadCall {
    /// The worst calls of a run, the worst first.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        snapshot.worst.iter().map(|call| Self::of(call, snapshot)).collect()
    }

    fn of(call: &WorstCall, snapshot: &Snapshot) -> Self {
        let start = &snapshot.start;
        let after_ns = call.at_ns.saturating_sub(start.monotonic_ns);
        let media = &call.media;
        let mos = |hundredths: Option<u16>| hundredths.map(|mos| f64::from(mos) / 100.0);
        Self {
            call: call.call,
            call_id: call.call_id.shown(),
            ended_at: Timestamp { unix_ns: start.unix_ns.saturating_add(after_ns) }.to_string(),
            duration: call.length_ns,
            cause: call.cause.map(|cause| cause.label().to_owned()),
            heard: media.heard.label().to_owned(),
            rtp_packets_sent: media.packets_sent,
            rtp_packets_received: media.packets_received,
            rtp_packets_expected: media.packets_expected,
            rtp_packets_lost: media.packets_lost,
            rtp_packets_discarded: media.packets_discarded,
            loss_ratio: media.loss_share(),
            jitter_max: media.jitter_max_ns,
            mos_estimated: mos(media.mos_hundredths),
            mos_estimated_min: mos(media.mos_min_hundredths),
            first_audio: media.first_audio_ns,
            dead_air: media.dead_air_ns,
        }
    }
}
