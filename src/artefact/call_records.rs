//! A line of JSON for each call that ended (`-call_records_jsonl`).
//!
//! The keys are an interface (`docs/call-record.schema.json`).

use serde::{Deserialize, Serialize};

use super::{Context, FileId, RecordSink};
use crate::output::put_number;
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{Event, Kinds, Record};

/// The value of `schema_version`.
pub const SCHEMA_VERSION: &str = "gossipper_call_record_v1";

/// The media of one call. The names are those that importers know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // The schema describes the fields.
pub struct CallMedia {
    #[serde(rename = "RTPPacketsSent")]
    pub rtp_packets_sent: u64,
    #[serde(rename = "RTPOctetsSent")]
    pub rtp_octets_sent: u64,
    #[serde(rename = "RTPPacketsReceived")]
    pub rtp_packets_received: u64,
    #[serde(rename = "RTCPSenderReports")]
    pub rtcp_sender_reports: u64,
    #[serde(rename = "RTCPReceiverReports")]
    pub rtcp_receiver_reports: u64,
    #[serde(rename = "RTCPPacketsReceived")]
    pub rtcp_packets_received: u64,
    #[serde(rename = "RTCPReportBlocks")]
    pub rtcp_report_blocks: u64,
    #[serde(rename = "RTCPMaxFractionLost")]
    pub rtcp_max_fraction_lost: u64,
    #[serde(rename = "RTCPMaxJitter")]
    pub rtcp_max_jitter: u64,
    #[serde(rename = "RTCPMinJitter")]
    pub rtcp_min_jitter: u64,
    #[serde(rename = "RTCPJitterSum")]
    pub rtcp_jitter_sum: u64,
    #[serde(rename = "RTCPJitterSamples")]
    pub rtcp_jitter_samples: u64,
    #[serde(rename = "RTPRecvMaxCumulativeLost")]
    pub rtp_recv_max_cumulative_lost: i64,
    #[serde(rename = "RTPRecvInterarrivalJitterPeak")]
    pub rtp_recv_interarrival_jitter_peak: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct CallRecords {
    file: FileId,
    /// Media as JSON: the same for all calls while none has any.
    media: Vec<u8>,
}

impl CallRecords {
    /// Call records in `file`.
    pub fn new(file: FileId) -> Self {
        let media = serde_json::to_vec(&CallMedia::default());
        Self { file, media: media.expect("only maps with other keys than strings fail") }
    }
}

impl RecordSink for CallRecords {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::CallEnded])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::CallEnded { call_id, cause, length_ns } = record.event else { return };
        cx.entry(self.file, record.at_ns, |_, _, out| {
            out.extend_from_slice(b"{\"schema_version\":\"");
            out.extend_from_slice(SCHEMA_VERSION.as_bytes());
            out.extend_from_slice(b"\",\"call_id\":");
            put_json(call_id, out);
            out.extend_from_slice(b",\"call_number\":");
            put_number(record.call, 1, out);
            out.extend_from_slice(b",\"success\":");
            out.extend_from_slice(if cause.is_none() { b"true" } else { b"false" });
            out.extend_from_slice(b",\"duration_ms\":");
            put_number(length_ns / 1_000_000, 1, out);
            if let Some(cause) = cause {
                put_failure(cause, out);
            }
            out.extend_from_slice(b",\"media\":");
            out.extend_from_slice(&self.media);
            out.extend_from_slice(b"}\n");
        });
    }
}

fn put_failure(cause: FailureCause, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"error\":");
    put_json(cause.label().as_bytes(), out);
    if cause.class() == "unexpected_sip" {
        out.extend_from_slice(b",\"sip_unexpected\":true");
    }
}

/// Appends text as a string of JSON. What is not UTF-8 becomes U+FFFD.
pub(super) fn put_json(text: &[u8], out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}
