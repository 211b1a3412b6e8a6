//! RTCP as JSON, in the form that Homer reads.
//!
//! The values are those of the compound: nothing is invented, and what it does not have is absent.

use serde::Serialize;

use crate::media::rtcp::{
    Compound, Packet, ReportBlock, SenderInfo, UNKNOWN, VoipMetrics, XrBlock,
};

/// The report at the head of a compound, and what comes with it.
#[derive(Debug, Serialize)]
struct Report {
    /// The packet type (RFC 3550 section 12.1): 200 for a sender, 201 for a receiver.
    #[serde(rename = "type")]
    kind: u8,
    ssrc: u32,
    report_count: usize,
    report_blocks: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_information: Option<Sender>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_blocks_xr: Option<Metrics>,
}

/// Figures of a sender. Both halves of its time are texts, as Homer has them.
#[derive(Debug, Serialize)]
struct Sender {
    packets: u32,
    ntp_timestamp_sec: String,
    ntp_timestamp_usec: String,
    rtp_timestamp: u32,
    octets: u32,
}

/// Figures of what a participant received from a source.
#[derive(Debug, Serialize)]
struct Block {
    source_ssrc: u32,
    /// In 1/256.
    fraction_lost: u8,
    packets_lost: i32,
    highest_seq_no: u32,
    ia_jitter: u32,
    lsr: u32,
    dlsr: u32,
}

/// The VoIP metrics of an extended report (RFC 3611 section 4.7).
#[derive(Debug, Serialize)]
struct Metrics {
    #[serde(rename = "type")]
    kind: u8,
    id: u32,
    fraction_lost: u8,
    fraction_discard: u8,
    burst_density: u8,
    gap_density: u8,
    burst_duration: u16,
    gap_duration: u16,
    round_trip_delay: u16,
    end_system_delay: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    r_factor: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos_lq: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos_cq: Option<f64>,
}

/// Appends the report in a compound; `false` if there is none.
pub(super) fn put(compound: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(compound) = Compound::parse(compound) else { return false };
    let mut report: Option<Report> = None;
    for packet in compound.flatten() {
        match packet {
            Packet::SenderReport { ssrc, info, blocks } if report.is_none() => {
                report = Some(Report::new(200, ssrc, Some(&info), blocks));
            }
            Packet::ReceiverReport { ssrc, blocks } if report.is_none() => {
                report = Some(Report::new(201, ssrc, None, blocks));
            }
            Packet::Extended { blocks, .. } => {
                let mut metrics = blocks.filter_map(|block| match block {
                    XrBlock::VoipMetrics(metrics) => Some(metrics),
                    _ => None,
                });
                if let (Some(report), Some(metrics)) = (&mut report, metrics.next()) {
                    report.report_blocks_xr = Some(Metrics::of(&metrics));
                }
            }
            _ => {}
        }
    }
    let Some(report) = report else { return false };
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &report);
    true
}

impl Report {
    fn new(
        kind: u8,
        ssrc: u32,
        info: Option<&SenderInfo>,
        blocks: impl Iterator<Item = ReportBlock>,
    ) -> Self {
        let report_blocks: Vec<Block> = blocks.map(|block| Block::of(&block)).collect();
        Self {
            kind,
            ssrc,
            report_count: report_blocks.len(),
            report_blocks,
            sender_information: info.map(Sender::of),
            report_blocks_xr: None,
        }
    }
}

impl Sender {
    fn of(info: &SenderInfo) -> Self {
        let (seconds, fraction) = (info.time.0 >> 32, info.time.0 & 0xffff_ffff);
        Self {
            packets: info.packets,
            ntp_timestamp_sec: seconds.to_string(),
            ntp_timestamp_usec: ((fraction * 1_000_000) >> 32).to_string(),
            rtp_timestamp: info.timestamp,
            octets: info.octets,
        }
    }
}

impl Block {
    fn of(block: &ReportBlock) -> Self {
        Self {
            source_ssrc: block.ssrc,
            fraction_lost: block.fraction_lost,
            packets_lost: block.cumulative_lost,
            highest_seq_no: block.highest_sequence,
            ia_jitter: block.jitter,
            lsr: block.last_sr,
            dlsr: block.delay_since_last_sr,
        }
    }
}

impl Metrics {
    fn of(metrics: &VoipMetrics) -> Self {
        let known = |value: u8| Some(value).filter(|&value| value != UNKNOWN);
        let mos = |value: u8| known(value).map(|tenths| f64::from(tenths) / 10.0);
        Self {
            kind: 7,
            id: metrics.ssrc,
            fraction_lost: metrics.loss_rate,
            fraction_discard: metrics.discard_rate,
            burst_density: metrics.burst_density,
            gap_density: metrics.gap_density,
            burst_duration: metrics.burst_ms,
            gap_duration: metrics.gap_ms,
            round_trip_delay: metrics.round_trip_ms,
            end_system_delay: metrics.end_system_ms,
            r_factor: known(metrics.r_factor),
            mos_lq: mos(metrics.mos_listening),
            mos_cq: mos(metrics.mos_conversational),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::media::rtcp::{Ntp, Writer};

    fn json_of(write: impl FnOnce(&mut Writer<'_>) -> Option<()>) -> Option<Value> {
        let mut room = [0; 512];
        let mut writer = Writer::new(&mut room);
        write(&mut writer).unwrap();
        let len = writer.len();
        let mut out = Vec::new();
        put(&room[..len], &mut out).then(|| serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn a_sender_report_with_a_block_and_metrics() {
        let time = Ntp(u64::from(3_900_000_000u32) << 32 | 1 << 31);
        let info = SenderInfo { time, timestamp: 160, packets: 50, octets: 8000 };
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 64,
            cumulative_lost: -1,
            highest_sequence: 65_600,
            jitter: 12,
            last_sr: 3,
            delay_since_last_sr: 4,
        };
        let unknown =
            VoipMetrics { r_factor: UNKNOWN, mos_listening: UNKNOWN, ..VoipMetrics::default() };
        let metrics = VoipMetrics { ssrc: 7, loss_rate: 64, mos_conversational: 41, ..unknown };
        let json = json_of(|writer| {
            writer.sender_report(9, &info, &[block])?;
            writer.cname(9, b"name")?;
            writer.voip_metrics(9, &metrics)
        });
        let expected = json!({
            "type": 200, "ssrc": 9, "report_count": 1,
            "report_blocks": [{
                "source_ssrc": 7, "fraction_lost": 64, "packets_lost": -1,
                "highest_seq_no": 65_600, "ia_jitter": 12, "lsr": 3, "dlsr": 4,
            }],
            "sender_information": {
                "packets": 50, "ntp_timestamp_sec": "3900000000", "ntp_timestamp_usec": "500000",
                "rtp_timestamp": 160, "octets": 8000,
            },
            "report_blocks_xr": {
                "type": 7, "id": 7, "fraction_lost": 64, "fraction_discard": 0,
                "burst_density": 0, "gap_density": 0, "burst_duration": 0, "gap_duration": 0,
                "round_trip_delay": 0, "end_system_delay": 0, "mos_cq": 4.1,
            },
        });
        assert_eq!(json, Some(expected));
    }

    #[test]
    fn a_receiver_report_has_no_figures_of_a_sender_and_nonsense_has_none_at_all() {
        let json = json_of(|writer| writer.receiver_report(9, &[]));
        let expected = json!({ "type": 201, "ssrc": 9, "report_count": 0, "report_blocks": [] });
        assert_eq!(json, Some(expected));
        for bytes in [&b""[..], b"SIP/2.0", &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]] {
            let mut out = Vec::new();
            assert!(!put(bytes, &mut out) && out.is_empty(), "{bytes:x?}");
        }
    }
}
