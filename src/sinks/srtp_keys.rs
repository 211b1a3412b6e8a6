//! The keys of protected streams (`-srtp_keylog`), for the reading of captures.
//!
//! The lines are made by `media::srtp`, which explains them.

use super::{Context, FileId, RecordSink};
use crate::stats::TraceKind;
use crate::trace::{Event, Kinds, Record};

/// Writes a line for each direction of a stream that got keys.
#[derive(Debug)]
pub struct SrtpKeys {
    file: FileId,
}

impl SrtpKeys {
    /// Keys in `file`, which nobody else should be able to read.
    pub fn new(file: FileId) -> Self {
        Self { file }
    }
}

impl RecordSink for SrtpKeys {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::SrtpKeys])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::SrtpKeys(lines) = record.event else { return };
        cx.entry(self.file, record.at_ns, |_, _, out| out.extend_from_slice(lines));
    }
}
