//! Reports on the streams of a call that ended, as JSON: the figures that were measured.
//!
//! Keys are those that collectors know from agents that report on RTP. A figure that was not
//! measured is absent.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::trace::{AudioPath, CallMedia};

/// The stream that a report is about, and who tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The peer's stream, as it came.
    Received,
    /// Our stream, as it left.
    Sent,
    /// Our stream, as the peer's RTCP tells.
    Reported,
}

impl Direction {
    pub(super) const ALL: [Self; 3] = [Self::Received, Self::Sent, Self::Reported];

    /// Source and destination of the stream.
    pub(super) fn ends(self, path: &AudioPath) -> (SocketAddr, SocketAddr) {
        match self {
            Self::Received => (path.remote, path.local),
            Self::Sent | Self::Reported => (path.local, path.remote),
        }
    }
}

/// The report on a stream. Times are milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Report<'r> {
    correlation_id: &'r str,
    rtp_sip_call_id: &'r str,
    report_name: String,
    source: &'static str,
    #[serde(rename = "TYPE")]
    kind: &'static str,
    /// Seconds since 1970 UTC.
    report_ts: f64,
    src_ip: IpAddr,
    src_port: u16,
    dst_ip: IpAddr,
    dst_port: u16,
    /// 0 for a stream that we received, 1 for one that we sent.
    dir: u8,
    ssrc: u32,
    codec_pt: u8,
    clock: u32,
    codec_name: String,
    heard: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

/// The figures that a report may have.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Figures {
    packet_count: u64,
    octet_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_pk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_loss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_order: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_delta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_audio: Option<f64>,
    /// In 1/256, as RTCP has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction_lost: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip: Option<f64>,
}

/// Appends the report on a stream; `false` if there is nothing to report.
pub(super) fn put(
    direction: Direction,
    (call_id, unix_ns): (&[u8], u64),
    (media, path): (&CallMedia, &AudioPath),
    out: &mut Vec<u8>,
) -> bool {
    let (figures, ssrc) = match (direction, path.peer_ssrc) {
        (Direction::Received, None) => return false,
        (Direction::Received, Some(ssrc)) => (received(media), ssrc),
        (Direction::Sent, _) if media.packets_sent == 0 => return false,
        (Direction::Sent, _) => (sent(media), path.ssrc),
        (Direction::Reported, _) if media.peer_fraction_lost.is_none() => return false,
        (Direction::Reported, _) => (reported(media), path.ssrc),
    };
    let (from, to) = direction.ends(path);
    let call_id = String::from_utf8_lossy(call_id);
    let report = Report {
        correlation_id: &call_id,
        rtp_sip_call_id: &call_id,
        report_name: path.local.to_string(),
        source: "GOSSIPPER",
        kind: "FINAL",
        report_ts: (unix_ns / 1_000_000) as f64 / 1e3,
        src_ip: from.ip(),
        src_port: from.port(),
        dst_ip: to.ip(),
        dst_port: to.port(),
        dir: u8::from(direction != Direction::Received),
        ssrc,
        codec_pt: path.payload_type,
        clock: path.clock_rate,
        codec_name: path.encoding.shown(),
        heard: media.heard.label(),
        figures,
    };
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &report);
    true
}

fn received(media: &CallMedia) -> Figures {
    let mos = |hundredths: Option<u16>| hundredths.map(|mos| f64::from(mos) / 100.0);
    Figures {
        packet_count: media.packets_received,
        octet_count: media.octets_received,
        expected_pk: Some(media.packets_expected),
        packet_loss: Some(media.packets_lost),
        discarded: Some(media.packets_discarded),
        out_order: Some(media.packets_reordered),
        duplicate: Some(media.packets_duplicate),
        jitter: Some(ms(media.jitter_ns)),
        mean_jitter: Some(ms(media.jitter_mean_ns)),
        max_jitter: Some(ms(media.jitter_max_ns)),
        max_delta: Some(ms(media.delta_max_ns)),
        mos: mos(media.mos_hundredths),
        min_mos: mos(media.mos_min_hundredths),
        first_audio: media.first_audio_after_answer_ns.or(media.first_audio_ns).map(ms),
        round_trip: media.round_trip_ns.map(ms),
        ..Figures::default()
    }
}

fn sent(media: &CallMedia) -> Figures {
    Figures {
        packet_count: media.packets_sent,
        octet_count: media.octets_sent,
        ..Figures::default()
    }
}

fn reported(media: &CallMedia) -> Figures {
    Figures {
        fraction_lost: media.peer_fraction_lost,
        jitter: media.peer_jitter_ns.map(ms),
        round_trip: media.round_trip_ns.map(ms),
        ..sent(media)
    }
}

/// A time in milliseconds with three decimals.
fn ms(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::stats::{HeardVerdict, ShortText};

    const MEDIA: CallMedia = CallMedia {
        crosstalk_packets: 0,
        heard: HeardVerdict::TwoWay,
        packets_sent: 50,
        octets_sent: 8000,
        packets_received: 48,
        octets_received: 7680,
        packets_expected: 50,
        packets_lost: 2,
        packets_discarded: 1,
        packets_reordered: 3,
        packets_duplicate: 4,
        jitter_ns: 1_500_000,
        jitter_mean_ns: 1_250_000,
        jitter_max_ns: 2_000_000,
        delta_max_ns: 61_000_000,
        mos_hundredths: Some(388),
        mos_min_hundredths: None,
        first_audio_ns: Some(90_000_000),
        first_audio_after_answer_ns: Some(40_000_000),
        round_trip_ns: None,
        peer_fraction_lost: Some(5),
        peer_jitter_ns: Some(750_000),
        path: None,
    };

    fn path() -> AudioPath {
        AudioPath {
            local: "192.0.2.1:6000".parse().unwrap(),
            remote: "198.51.100.2:7000".parse().unwrap(),
            ssrc: 11,
            peer_ssrc: Some(22),
            payload_type: 8,
            clock_rate: 8000,
            encoding: ShortText::of(b"PCMA"),
        }
    }

    fn report(direction: Direction, media: &CallMedia, path: &AudioPath) -> Option<Value> {
        let mut out = Vec::new();
        let is_put = put(direction, (b"1@h", 1_700_000_001_234_000_000), (media, path), &mut out);
        is_put.then(|| serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn each_direction_has_its_own_figures() {
        let received = report(Direction::Received, &MEDIA, &path()).unwrap();
        for (key, value) in [
            ("CORRELATION_ID", "1@h".into()),
            ("REPORT_TS", 1_700_000_001.234.into()),
            ("SRC_IP", "198.51.100.2".into()),
            ("DST_PORT", 6000.into()),
            ("SSRC", 22.into()),
            ("CODEC_NAME", "PCMA".into()),
            ("PACKET_LOSS", 2.into()),
            ("MEAN_JITTER", 1.25.into()),
            ("MAX_DELTA", 61.0.into()),
            ("MOS", 3.88.into()),
            ("FIRST_AUDIO", 40.0.into()),
            ("MIN_MOS", Value::Null),
            ("ROUND_TRIP", Value::Null),
            ("FRACTION_LOST", Value::Null),
        ] {
            assert_eq!(received[key], value, "{key}");
        }
        let sent = report(Direction::Sent, &MEDIA, &path()).unwrap();
        let figures = [&sent["SRC_PORT"], &sent["SSRC"], &sent["PACKET_COUNT"], &sent["DIR"]];
        assert_eq!(figures, [6000, 11, 50, 1]);
        assert_eq!((&sent["MOS"], &sent["JITTER"]), (&Value::Null, &Value::Null));
        let told = report(Direction::Reported, &MEDIA, &path()).unwrap();
        assert_eq!((&told["FRACTION_LOST"], &told["JITTER"]), (&5.into(), &0.75.into()));
    }

    #[test]
    fn there_is_no_report_on_a_stream_that_there_was_not() {
        let unheard = AudioPath { peer_ssrc: None, ..path() };
        assert_eq!(report(Direction::Received, &MEDIA, &unheard), None);
        let mute = CallMedia { packets_sent: 0, peer_fraction_lost: None, ..MEDIA };
        assert_eq!(report(Direction::Sent, &mute, &path()), None);
        assert_eq!(report(Direction::Reported, &mute, &path()), None);
    }
}
