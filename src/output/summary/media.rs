//! Media in the summary: what calls sent, received and heard.
//!
//! A run without media has the first six keys only, at 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BadCall, Durations, labelled};
use crate::stats::{
    DurationSummary, HeardVerdict, MOS_BANDS, MediaCounters, MediaMeasure, Snapshot, count_of_ns,
    units_of_ns,
};

/// The ways in which streams share sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaMode {
    /// Each stream has ports of its own.
    #[default]
    Ports,
    /// All streams of a worker share one port (`-rtp_shared`).
    Shared,
}

impl MediaMode {
    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Shared => "shared",
        }
    }
}

/// Figures of media: sent, received, measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    /// RTP packets sent.
    pub rtp_packets_sent: u64,
    /// RTP payload octets sent.
    pub rtp_octets_sent: u64,
    /// RTP packets received for a stream.
    pub rtp_packets_received: u64,
    /// RTCP sender reports sent.
    pub rtcp_sender_reports: u64,
    /// RTCP receiver reports sent.
    pub rtcp_receiver_reports: u64,
    /// RTCP packets received for a stream.
    pub rtcp_packets_received: u64,
    /// Reports of peers about what we sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtcp_reception_reports: u64,
    /// Most loss that such a report has, 0 to 1.
    #[serde(skip_serializing_if = "is_none")]
    pub rtcp_max_fraction_lost: f64,
    /// Most jitter that such a report has, in units of the RTP clock.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtcp_max_jitter_ts: u64,
    /// Least jitter of such a report.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtcp_min_jitter_ts: u64,
    /// Mean jitter of such reports.
    #[serde(skip_serializing_if = "is_none")]
    pub rtcp_avg_jitter_ts: f64,
    /// Most packets that an ended stream of a peer lost.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtp_recv_max_cumulative_lost: u64,
    /// Highest interarrival jitter of such a stream, in units of the RTP clock.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtp_recv_interarrival_jitter_peak_ts: u64,
    /// Ended calls that received RTP.
    #[serde(skip_serializing_if = "is_zero")]
    pub media_calls_with_rtp_received: u64,
    /// Fewest RTP packets that an ended call received.
    #[serde(skip_serializing_if = "is_zero")]
    pub per_call_min_rtp_packets_received: u64,
    /// All that only a run with media has.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
}

/// The streams of a run with media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// `ports` or `shared`.
    pub mode: String,
    /// Calls with media that began.
    pub calls: u64,
    /// Calls with media that ended.
    pub calls_ended: u64,
    /// Ended calls by who heard whom: `two_way`, `one_way`, `none`, `unknown`, `no_media`.
    pub heard: BTreeMap<String, u64>,
    /// Ended calls in which nobody heard anybody.
    pub silent_calls: u64,
    /// The part of `rtp_packets_sent` that was sent back as it came.
    pub rtp_packets_echoed: u64,
    /// RTP payload octets received for a stream.
    pub rtp_octets_received: u64,
    /// RTCP packets sent.
    pub rtcp_packets_sent: u64,
    /// Packets that ended streams expected.
    pub rtp_packets_expected: u64,
    /// Number of them that never came.
    pub rtp_packets_lost: u64,
    /// Number of them that came too late for the jitter buffer.
    pub rtp_packets_discarded: u64,
    /// Packets that came after a later one.
    pub rtp_packets_reordered: u64,
    /// Packets that came twice.
    pub rtp_packets_duplicate: u64,
    /// Packets with a payload type that was not negotiated.
    pub rtp_packets_wrong_payload_type: u64,
    /// Calls with cross-talk; absent if no call heard a watermark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crosstalk: Option<Crosstalk>,
    /// Checks of patterns; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Patterns>,
    /// Changes of the SSRC within streams.
    pub ssrc_changes: u64,
    /// Lost of expected packets, 0 to 1; `null` until a stream has ended.
    pub loss_ratio: Option<f64>,
    /// The same of the worst stream.
    pub loss_ratio_max: Option<f64>,
    /// Estimated MOS of ended streams; `null` until measured.
    pub mos_estimated: Option<Mos>,
    /// Interarrival jitter of ended streams (RFC 3550 section 6.4.1); `null` until measured.
    pub jitter: Option<Durations>,
    /// From the answer of a call to the first audible packet; `null` until measured.
    pub first_audio: Option<Durations>,
    /// Round trips by RTCP; `null` until measured.
    pub round_trip: Option<Durations>,
    /// Distance of our packets from their planned times; `null` until measured.
    pub rtp_send_error: Option<Durations>,
    /// Datagrams sent per send operation, those of SIP included.
    pub packets_per_send: Option<f64>,
    /// Datagrams received per receive operation, those of SIP included.
    pub packets_per_receive: Option<f64>,
    /// Well-formed datagrams that count for no stream, by cause.
    pub strays: BTreeMap<String, u64>,
    /// Malformed datagrams, and those that SRTP dropped, by cause.
    pub malformed: BTreeMap<String, u64>,
    /// Packets that left later than planned, by cause.
    pub delayed: BTreeMap<String, u64>,
    /// Packets that did not leave, by cause.
    pub unsent: BTreeMap<String, u64>,
    /// DTLS and ICE; absent in a run without either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Handshakes>,
    /// Relayed addresses; absent in a run without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relays: Option<Relays>,
    /// Ended calls with bad media, the worst first; at most 50, and absent without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst_calls: Vec<BadCall>,
}

/// Handshakes of DTLS, and what went wrong with them and with ICE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Handshakes that gave keys.
    pub completed: u64,
    /// From the address of the peer to the keys; `null` until measured.
    pub duration: Option<Durations>,
    /// Streams that got no keys or no address, and datagrams that were dropped, by cause.
    pub faults: BTreeMap<String, u64>,
}

/// Ended calls by the watermarks in what they heard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Crosstalk {
    /// Calls that heard watermarks.
    pub calls_marked: u64,
    /// Calls in which one side heard another call.
    pub calls: u64,
    /// Packets that showed it.
    pub packets: u64,
}

impl Crosstalk {
    fn of(counted: &MediaCounters) -> Self {
        Self {
            calls_marked: counted.legs_marked,
            calls: counted.legs_crosstalk,
            packets: counted.crosstalk_packets,
        }
    }
}

/// Checks of the patterns that ended streams played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patterns {
    /// Streams that were checked.
    pub streams: u64,
    /// Number of them whose pattern did not come back within the tolerance.
    pub failed: u64,
    /// Packets that they sent.
    pub packets: u64,
    /// Number of those that did not come back as they were.
    pub packets_bad: u64,
}

impl Patterns {
    fn of(counted: &MediaCounters) -> Self {
        Self {
            streams: counted.patterns_checked,
            failed: counted.patterns_failed,
            packets: counted.pattern_packets_checked,
            packets_bad: counted.pattern_packets_bad,
        }
    }
}

/// Relayed addresses of a TURN server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relays {
    /// Pairs of addresses that the server gave.
    pub opened: u64,
    /// Failures, and datagrams that were dropped, by cause.
    pub faults: BTreeMap<String, u64>,
}

/// Estimated MOS of ended streams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mos {
    /// Streams with an estimate.
    pub streams: u64,
    /// Mean.
    pub average: f64,
    /// The worst stream.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// The best stream.
    pub max: f64,
    /// Streams by the satisfaction of users that follows from the estimate (G.107 annex B), the
    /// best band first.
    pub bands: Vec<Band>,
}

/// Streams with an estimated MOS between two bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Band {
    /// The least MOS of the band; the next better band ends it.
    pub least: f64,
    /// The opinion of users.
    pub users: String,
    /// Number of streams.
    pub streams: u64,
}

impl Media {
    /// Figures of what the calls of a run sent, received and heard.
    pub fn of(snapshot: &Snapshot, mode: MediaMode) -> Self {
        let counted = &snapshot.counters.media;
        let of = |measure| snapshot.media.get(measure);
        let (peer_loss, peer_jitter) = (of(MediaMeasure::PeerLoss), of(MediaMeasure::PeerJitter));
        let per_call = of(MediaMeasure::CallPackets);
        Self {
            rtp_packets_sent: counted.rtp_packets_sent,
            rtp_octets_sent: counted.rtp_octets_sent,
            rtp_packets_received: counted.rtp_packets_received,
            rtcp_sender_reports: counted.rtcp_sender_reports,
            rtcp_receiver_reports: counted.rtcp_receiver_reports,
            rtcp_packets_received: counted.rtcp_received,
            rtcp_reception_reports: peer_loss.count,
            rtcp_max_fraction_lost: units_of_ns(peer_loss.max_ns) / 100.0,
            rtcp_max_jitter_ts: count_of_ns(peer_jitter.max_ns),
            rtcp_min_jitter_ts: count_of_ns(peer_jitter.min_ns),
            rtcp_avg_jitter_ts: peer_jitter.average_ns as f64 / 1e3,
            rtp_recv_max_cumulative_lost: count_of_ns(of(MediaMeasure::Lost).max_ns),
            rtp_recv_interarrival_jitter_peak_ts: count_of_ns(of(MediaMeasure::JitterPeak).max_ns),
            media_calls_with_rtp_received: counted.legs_receiving,
            per_call_min_rtp_packets_received: count_of_ns(per_call.min_ns),
            streams: counted.is_used().then(|| Streams::of(snapshot, mode)),
        }
    }
}

impl Streams {
    fn of(snapshot: &Snapshot, mode: MediaMode) -> Self {
        let counters = &snapshot.counters;
        let counted = &counters.media;
        let durations = |measure| snapshot.media.measured(measure).map(Durations::new);
        let worst = snapshot.media.measured(MediaMeasure::Loss);
        let heard = HeardVerdict::ALL.iter();
        let faults = counted.faults.nonzero().map(|(cause, n)| (cause.label(), n));
        let srtp = counted.srtp_faults.nonzero().map(|(cause, n)| (cause.label(), n));
        let malformed = faults.chain(srtp);
        Self {
            mode: mode.label().to_owned(),
            calls: counted.legs_opened,
            calls_ended: counted.legs_closed,
            heard: labelled(heard.map(|&heard| (heard.label(), counted.heard.count(heard)))),
            silent_calls: counted.silent_calls,
            rtp_packets_echoed: counted.rtp_packets_echoed,
            rtp_octets_received: counted.rtp_octets_received,
            rtcp_packets_sent: counted.rtcp_sent,
            rtp_packets_expected: counted.rtp_expected,
            rtp_packets_lost: counted.rtp_lost,
            rtp_packets_discarded: counted.rtp_discarded,
            rtp_packets_reordered: counted.rtp_reordered,
            rtp_packets_duplicate: counted.rtp_duplicates,
            rtp_packets_wrong_payload_type: counted.rtp_wrong_payload_type,
            crosstalk: (counted.legs_marked > 0).then(|| Crosstalk::of(counted)),
            patterns: (counted.patterns_checked > 0).then(|| Patterns::of(counted)),
            ssrc_changes: counted.ssrc_changes,
            loss_ratio: counted.loss_share(),
            loss_ratio_max: worst.map(|loss| units_of_ns(loss.max_ns) / 100.0),
            mos_estimated: snapshot
                .media
                .measured(MediaMeasure::Mos)
                .map(|mos| Mos::of(mos, snapshot)),
            jitter: durations(MediaMeasure::Jitter),
            first_audio: durations(MediaMeasure::FirstAudio),
            round_trip: durations(MediaMeasure::RoundTrip),
            rtp_send_error: durations(MediaMeasure::SendError),
            packets_per_send: per(counters.datagrams_sent, counters.trains_sent),
            packets_per_receive: per(counters.datagrams_received, counted.receive_calls),
            strays: labelled(counted.strays.nonzero().map(|(cause, n)| (cause.label(), n))),
            malformed: labelled(malformed),
            delayed: labelled(counted.delays.nonzero().map(|(cause, n)| (cause.label(), n))),
            unsent: labelled(counted.unsent.nonzero().map(|(cause, n)| (cause.label(), n))),
            handshakes: Handshakes::of(snapshot),
            worst_calls: BadCall::all(snapshot),
            relays: Relays::of(snapshot),
        }
    }
}

impl Handshakes {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let counted = &snapshot.counters.media;
        let faults = counted.handshake_faults.nonzero().map(|(cause, n)| (cause.label(), n));
        let duration = snapshot.media.measured(MediaMeasure::Handshake);
        (counted.handshakes + counted.handshake_faults.total() > 0).then(|| Self {
            completed: counted.handshakes,
            duration: duration.map(Durations::new),
            faults: labelled(faults),
        })
    }
}

impl Relays {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let counted = &snapshot.counters.media;
        let faults = counted.relay_faults.nonzero().map(|(cause, n)| (cause.label(), n));
        let is_used = counted.relays_opened + counted.relay_faults.total() > 0;
        is_used.then(|| Self { opened: counted.relays_opened, faults: labelled(faults) })
    }
}

impl Mos {
    fn of(mos: &DurationSummary, snapshot: &Snapshot) -> Self {
        let bands = MOS_BANDS.iter().zip(snapshot.media.mos_bands());
        let band = |(&(users, least), &streams): (&(&str, u16), &u64)| Band {
            least: f64::from(least) / 100.0,
            users: users.to_owned(),
            streams,
        };
        Self {
            streams: mos.count,
            average: units_of_ns(mos.average_ns),
            min: units_of_ns(mos.min_ns),
            p50: units_of_ns(mos.p50_ns),
            max: units_of_ns(mos.max_ns),
            bands: bands.map(band).collect(),
        }
    }
}

/// `amount` for each of `operations`; `None` without any.
fn per(amount: u64, operations: u64) -> Option<f64> {
    (operations > 0).then(|| amount as f64 / operations as f64)
}

pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_none(amount: &f64) -> bool {
    *amount == 0.0
}
