//! A line of JSON for each call that ended (`-call_records_jsonl`).
//!
//! The keys are an interface (`docs/call-record.schema.json`).

use std::fmt;
use std::io::Write as _;

use super::{Context, FileId, RecordSink};
use crate::output::{Timestamp, put_number};
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{AudioPath, CallMedia, Event, Kinds, NO_STEP, Record};

/// The value of `schema_version`.
pub const SCHEMA_VERSION: &str = "gossipper_call_record_v2";

/// Writes a line of JSON for each call that ends.
#[derive(Debug)]
pub struct CallRecords {
    file: FileId,
}

impl CallRecords {
    /// Call records in `file`.
    pub fn new(file: FileId) -> Self {
        Self { file }
    }
}

impl RecordSink for CallRecords {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::CallEnded])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::CallEnded { call_id, cause, code, length_ns, media } = record.event else {
            return;
        };
        cx.entry(self.file, record.at_ns, |unix_ns, _, out| {
            out.extend_from_slice(b"{\"schema_version\":\"");
            out.extend_from_slice(SCHEMA_VERSION.as_bytes());
            out.extend_from_slice(b"\",\"call_id\":");
            put_json(call_id, out);
            out.extend_from_slice(b",\"call_number\":");
            put_number(record.call, 1, out);
            let start = Timestamp { unix_ns: unix_ns.saturating_sub(length_ns) };
            // Writing to memory does not fail.
            let _ = write!(out, ",\"started_at\":\"{start}\"");
            out.extend_from_slice(b",\"success\":");
            out.extend_from_slice(if cause.is_none() { b"true" } else { b"false" });
            out.extend_from_slice(b",\"duration_ms\":");
            put_number(length_ns / 1_000_000, 1, out);
            out.push(b'.');
            put_number(length_ns / 1000 % 1000, 3, out);
            if code > 0 {
                out.extend_from_slice(b",\"response_code\":");
                put_number(code.into(), 1, out);
            }
            if let Some(cause) = cause {
                put_failure(cause, record.step, out);
            }
            if let Some(media) = media {
                put_media(&media, out);
            }
            out.extend_from_slice(b"}\n");
        });
    }
}

fn put_failure(cause: FailureCause, step: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"error\":");
    put_json(cause.label().as_bytes(), out);
    if cause.class() == "unexpected_sip" {
        out.extend_from_slice(b",\"sip_unexpected\":true");
    }
    if step != NO_STEP {
        out.extend_from_slice(b",\"failed_step\":");
        put_number(step.into(), 1, out);
    }
}

/// Appends the figures of the call's media. Names in capitals are those of earlier records, which
/// other programs read.
fn put_media(media: &CallMedia, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(
        out,
        ",\"media\":{{\"heard\":\"{}\",\"RTPPacketsSent\":{},\"RTPOctetsSent\":{},\
         \"RTPPacketsReceived\":{},\"RTPRecvMaxCumulativeLost\":{},\"jitter_max_ms\":{}",
        media.heard.label(),
        media.packets_sent,
        media.octets_sent,
        media.packets_received,
        media.packets_lost,
        Milliseconds(media.jitter_max_ns)
    );
    for (name, mos) in [("mos", media.mos_hundredths), ("mos_min", media.mos_min_hundredths)] {
        if let Some(mos) = mos {
            let _ = write!(out, ",\"{name}\":{}.{:02}", mos / 100, mos % 100);
        }
    }
    let times = [
        ("first_audio_ms", media.first_audio_ns),
        ("first_audio_after_answer_ms", media.first_audio_after_answer_ns),
        ("round_trip_ms", media.round_trip_ns),
    ];
    for (name, time) in times {
        if let Some(ns) = time {
            let _ = write!(out, ",\"{name}\":{}", Milliseconds(ns));
        }
    }
    if media.crosstalk_packets > 0 {
        let _ = write!(out, ",\"crosstalk_packets\":{}", media.crosstalk_packets);
    }
    if let Some(lost) = media.peer_fraction_lost {
        let _ = write!(out, ",\"RTCPMaxFractionLost\":{lost}");
    }
    if let Some(path) = media.path {
        put_stream(media, &path, out);
    }
    out.push(b'}');
}

/// Appends the audio that came, under the names of Wireshark's list of RTP streams, so that both
/// can be compared. It is absent if nothing came.
fn put_stream(media: &CallMedia, path: &AudioPath, out: &mut Vec<u8>) {
    let Some(ssrc) = path.peer_ssrc else { return };
    // Writing to memory does not fail.
    let _ = write!(
        out,
        ",\"rtp_stream\":{{\"source_address\":\"{}\",\"source_port\":{},\
         \"destination_address\":\"{}\",\"destination_port\":{},\"ssrc\":\"0x{ssrc:08x}\",\
         \"packets\":{},\"lost\":{},\"max_delta_ms\":{},\"mean_jitter_ms\":{},\"max_jitter_ms\":{}}}",
        path.remote.ip(),
        path.remote.port(),
        path.local.ip(),
        path.local.port(),
        media.packets_received,
        media.packets_lost,
        Milliseconds(media.delta_max_ns),
        Milliseconds(media.jitter_mean_ns),
        Milliseconds(media.jitter_max_ns)
    );
}

/// A time in milliseconds with three decimals.
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

/// Appends text as a string of JSON. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn put_json(text: &[u8], out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}
