//! The families of media.

use super::catalogue::*;
use super::engines::{Exposed, Figure, each};
use super::slots::Sum;
use super::text::Text;
use crate::stats::{
    DelayCause, HandshakeFault, HeardVerdict, MediaCounters, MediaMeasure, RelayFault, RtpFault,
    SrtpFault, StrayCause, UnsentCause,
};

/// Families of one plain counter each, with its name among [`MediaCounters::NAMES`].
const PLAIN: &[(&Family, &str, Figure<MediaCounters>)] = &[
    (&RTP_SILENT, "silent_calls", |c| c.silent_calls),
    (&RTP_CROSSTALK, "legs_crosstalk", |c| c.legs_crosstalk),
    (&RTP_SENT, "rtp_packets_sent", |c| c.rtp_packets_sent),
    (&RTP_RECEIVED, "rtp_packets_received", |c| c.rtp_packets_received),
    (&RTP_BYTES_SENT, "rtp_octets_sent", |c| c.rtp_octets_sent),
    (&RTP_BYTES_RECEIVED, "rtp_octets_received", |c| c.rtp_octets_received),
    (&RTP_ECHOED, "rtp_packets_echoed", |c| c.rtp_packets_echoed),
    (&RTP_EXPECTED, "rtp_expected", |c| c.rtp_expected),
    (&RTP_LOST, "rtp_lost", |c| c.rtp_lost),
    (&RTP_LATE, "rtp_discarded", |c| c.rtp_discarded),
    (&RTP_DUPLICATE, "rtp_duplicates", |c| c.rtp_duplicates),
    (&RTP_REORDERED, "rtp_reordered", |c| c.rtp_reordered),
    (&RTP_WRONG_PAYLOAD_TYPE, "rtp_wrong_payload_type", |c| c.rtp_wrong_payload_type),
    (&RTP_SSRC_CHANGES, "ssrc_changes", |c| c.ssrc_changes),
    (&RTP_PATTERNS_FAILED, "patterns_failed", |c| c.patterns_failed),
    (&RTP_RECORDINGS_DROPPED, "recording_dropped", |c| c.recording_dropped),
    (&RTCP_SENT, "rtcp_sent", |c| c.rtcp_sent),
    (&RTCP_RECEIVED, "rtcp_received", |c| c.rtcp_received),
    (&DTLS_HANDSHAKES, "handshakes", |c| c.handshakes),
    (&TURN_OPENED, "relays_opened", |c| c.relays_opened),
];

/// Histograms: the measurement, and the microseconds as which one unit of the metric is recorded.
const MEASURED: &[(&Family, MediaMeasure, u32)] = &[
    (&RTP_JITTER, MediaMeasure::Jitter, 1_000_000),
    (&RTP_MOS, MediaMeasure::Mos, 1_000),
    (&RTP_LOSS, MediaMeasure::Loss, 100_000),
    (&RTP_FIRST_AUDIO, MediaMeasure::FirstAudio, 1_000_000),
    (&RTCP_ROUND_TRIP, MediaMeasure::RoundTrip, 1_000_000),
    (&DTLS_DURATION, MediaMeasure::Handshake, 1_000_000),
    (&RTP_SEND_LAG, MediaMeasure::SendError, 1_000_000),
];

/// Writes the families of media of all engines.
pub(super) fn write(text: &mut Text, engines: &[Exposed<'_>]) {
    each(text, &MEDIA_CALLS_ACTIVE, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        text.sample(&MEDIA_CALLS_ACTIVE, &[label], engine.lifetime.counters.media.legs_open());
    });
    for (family, _, value) in PLAIN {
        each(text, family, engines, |text, exposed| {
            let counters = &exposed.sum.totals.counters.media;
            text.sample(family, &[&exposed.sum.label], value(counters));
        });
    }
    each(text, &RTP_ONE_WAY, engines, |text, exposed| {
        let heard = &exposed.sum.totals.counters.media.heard;
        text.sample(&RTP_ONE_WAY, &[&exposed.sum.label], heard.count(HeardVerdict::OneWay));
    });
    by_cause(text, engines);
    for (family, measure, unit_us) in MEASURED {
        each(text, family, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
            text.histogram_in(*unit_us, family, &[label], totals.measured(*measure));
        });
    }
}

fn by_cause(text: &mut Text, engines: &[Exposed<'_>]) {
    each(text, &MEDIA_CALLS_ENDED, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.heard;
        for &cause in HeardVerdict::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&MEDIA_CALLS_ENDED, &labels, counts.count(cause));
        }
    });
    each(text, &RTP_STRAYS, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.strays;
        for &cause in StrayCause::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&RTP_STRAYS, &labels, counts.count(cause));
        }
    });
    each(text, &RTP_MALFORMED, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.faults;
        for &cause in RtpFault::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&RTP_MALFORMED, &labels, counts.count(cause));
        }
        let counts = &exposed.sum.totals.counters.media.srtp_faults;
        for &cause in SrtpFault::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&RTP_MALFORMED, &labels, counts.count(cause));
        }
    });
    each(text, &DTLS_FAULTS, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.handshake_faults;
        for &cause in HandshakeFault::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&DTLS_FAULTS, &labels, counts.count(cause));
        }
    });
    each(text, &TURN_FAULTS, engines, |text, exposed| {
        let media = &exposed.sum.totals.counters.media;
        let counts = &media.relay_faults;
        // Few engines have a relay: the others need no series for it.
        let has_relay = media.relays_opened + counts.total() > 0;
        for &cause in RelayFault::ALL.iter().filter(|_| has_relay) {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&TURN_FAULTS, &labels, counts.count(cause));
        }
    });
    each(text, &RTP_DELAYED, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.delays;
        for &cause in DelayCause::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&RTP_DELAYED, &labels, counts.count(cause));
        }
    });
    each(text, &RTP_UNSENT, engines, |text, exposed| {
        let counts = &exposed.sum.totals.counters.media.unsent;
        for &cause in UnsentCause::ALL {
            let labels = [exposed.sum.label.as_str(), cause.label()];
            text.sample(&RTP_UNSENT, &labels, counts.count(cause));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters that are exposed in another way, or left out on purpose.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("legs_opened", "those that are open"),
        ("legs_closed", "by who heard whom"),
        ("legs_receiving", "by who heard whom"),
        ("datagrams_sent", "part of all datagrams"),
        ("datagrams_received", "part of all datagrams"),
        ("rtcp_sender_reports", "part of RTCP packets"),
        ("rtcp_receiver_reports", "part of RTCP packets"),
        ("rtcp_octets_sent", "small beside RTP"),
        ("rtcp_octets_received", "small beside RTP"),
        ("digits_sent", "of interest for a call, in its record"),
        ("digits_received", "of interest for a call, in its record"),
        ("patterns_checked", "of interest where a check failed, in the summary"),
        ("pattern_packets_checked", "of interest where a check failed, in the summary"),
        ("pattern_packets_bad", "of interest where a check failed, in the summary"),
        ("legs_marked", "of interest beside cross-talk, in the summary"),
        ("crosstalk_packets", "of interest for a call, in its record"),
        ("latched", "neither load nor fault"),
        ("bad_descriptions", "calls fail by it, with a reason of their own"),
        ("unreachable", "part of ICMP errors"),
        ("ports_opened", "neither load nor fault"),
        ("ports_taken", "neither load nor fault"),
        ("sockets_refused", "calls fail by it, with a reason of their own"),
        ("rests_cut", "neither load nor fault"),
        ("events_dropped", "calls fail by it, with a reason of their own"),
        ("receive_calls", "datagrams per call are in the summary"),
    ];

    #[test]
    fn every_counter_of_media_is_exposed_or_left_out_for_a_reason() {
        let mut names: Vec<&str> = PLAIN.iter().map(|(_, name, _)| *name).collect();
        names.extend(ELSEWHERE.iter().map(|(name, _)| *name));
        for name in MediaCounters::NAMES {
            let times = names.iter().filter(|known| known == &name).count();
            assert_eq!(times, 1, "{name}: give it a family or a reason");
        }
        assert_eq!(names.len(), MediaCounters::NAMES.len());
    }
}
