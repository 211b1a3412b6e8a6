//! A line for each checked pattern of RTP (`-rtpcheck_debug`, `-srtpcheck_debug`).

use std::io::Write as _;

use super::{Context, FileId, RecordSink};
use crate::stats::TraceKind;
use crate::trace::{Event, Kinds, Record, RtpChecked};

/// Writes the checks of clear or of encrypted streams.
#[derive(Debug)]
pub struct RtpChecks {
    file: FileId,
    of_protected: bool,
}

impl RtpChecks {
    /// The checks of streams that are encrypted or are not, in `file`.
    pub fn new(file: FileId, of_protected: bool) -> Self {
        Self { file, of_protected }
    }
}

impl RecordSink for RtpChecks {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::RtpChecked])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::RtpChecked(checked) = record.event else { return };
        if checked.is_protected != self.of_protected {
            return;
        }
        cx.entry(self.file, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            put_check(record.call, &checked, out);
        });
    }
}

fn put_check(call: u64, checked: &RtpChecked<'_>, out: &mut Vec<u8>) {
    let verdict = if checked.is_failed { "failed" } else { "passed" };
    let track = if checked.is_video { "video" } else { "audio" };
    let RtpChecked { number, sent, good, wrong, .. } = checked;
    // Writing to memory does not fail.
    let _ = write!(
        out,
        " {verdict} call={call} {track} pattern={number} sent={sent} came_back={good} wrong={wrong}"
    );
    if let Some((sequence, offset)) = checked.first_wrong {
        let _ = write!(out, " first_wrong_sequence={sequence} first_wrong_byte={offset}");
    }
    out.extend_from_slice(b" call_id=");
    out.extend_from_slice(checked.call_id);
    out.push(b'\n');
}
