//! The history of failed calls (`-trace_calldebug`), in SIPp's form.
//!
//! A call's history is kept until the call ends, and written only if the call failed. Memory is
//! bounded for each call and for all; the file says where a history was cut.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use super::{Context, FileId, RecordSink, RunTotals};
use crate::output::put_number;
use crate::stats::{StepKind, TraceKind};
use crate::trace::{Event, Kinds, NO_CALL, NO_STEP, Record};

/// Longest history of one call.
const CALL_BYTES_MAX: usize = 256 << 10;
/// Histories of all open calls.
const ALL_BYTES_MAX: usize = 128 << 20;

/// Collects the messages of each call, and writes those of failed calls.
#[derive(Debug)]
pub struct CallDebug {
    file: FileId,
    calls: HashMap<u64, History, foldhash::fast::FixedState>,
    /// Failed calls whose last messages may still come with the same batch.
    failed: Vec<u64>,
    bytes: usize,
    hasher: foldhash::fast::FixedState,
}

#[derive(Debug, Default)]
struct History {
    call_id: Vec<u8>,
    text: Vec<u8>,
    is_cut: bool,
}

impl CallDebug {
    /// Histories in `file`.
    pub fn new(file: FileId) -> Self {
        Self {
            file,
            calls: HashMap::default(),
            failed: Vec::new(),
            bytes: 0,
            hasher: foldhash::fast::FixedState::default(),
        }
    }

    /// A number that is equal for equal messages.
    fn hash(&self, message: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(message);
        hasher.finish()
    }

    fn write_failed(&mut self, cx: &mut Context<'_>) {
        let unix_s = cx.clock.now_unix_s();
        for call in std::mem::take(&mut self.failed) {
            let Some(history) = self.calls.remove(&call) else { continue };
            self.bytes -= history.text.len();
            let entry = cx.files.entry(self.file);
            let begin = entry.len();
            entry.extend_from_slice(&[b'-'; 79]);
            entry.extend_from_slice(b"\nCall debugging information for call ");
            entry.extend_from_slice(&history.call_id);
            entry.extend_from_slice(b":\n");
            entry.extend_from_slice(&history.text);
            if history.is_cut {
                entry.extend_from_slice(b"(the history is longer than is kept)\n");
            }
            cx.files.end(self.file, begin, unix_s);
        }
    }

    fn forget(&mut self, call: u64) {
        if let Some(history) = self.calls.remove(&call) {
            self.bytes -= history.text.len();
        }
    }
}

impl RecordSink for CallDebug {
    fn kinds(&self) -> Kinds {
        Kinds::MESSAGES.union(Kinds::of(&[
            TraceKind::Unexpected,
            TraceKind::CallStarted,
            TraceKind::CallEnded,
            TraceKind::Step,
            TraceKind::TimedOut,
        ]))
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        if record.call == NO_CALL {
            return;
        }
        let hash = match record.event {
            Event::Sent { message, .. }
            | Event::Received { message, .. }
            | Event::Unexpected { message, .. } => self.hash(message),
            _ => 0,
        };
        if let Event::CallEnded { cause, .. } = record.event {
            if cause.is_none() {
                return self.forget(record.call);
            }
            self.failed.push(record.call);
        }
        // Records that only other sinks want are shown here, too.
        if !self.kinds().has(record.event.kind()) {
            return;
        }
        let is_start = matches!(record.event, Event::CallStarted { .. });
        if !is_start && !self.calls.contains_key(&record.call) {
            return;
        }
        let history = self.calls.entry(record.call).or_default();
        if let Event::CallStarted { call_id, .. } = record.event {
            history.call_id = call_id.to_vec();
        }
        if history.text.len() >= CALL_BYTES_MAX || self.bytes >= ALL_BYTES_MAX {
            history.is_cut = true;
            return;
        }
        let before = history.text.len();
        let call_id = std::mem::take(&mut history.call_id);
        describe(record, hash, &call_id, cx, &mut history.text);
        history.call_id = call_id;
        self.bytes += history.text.len() - before;
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        if !self.failed.is_empty() {
            self.write_failed(cx);
        }
    }

    fn finish(&mut self, _: &RunTotals, cx: &mut Context<'_>) {
        self.write_failed(cx);
    }
}

/// The numbers by which SIPp names kinds of steps.
fn type_of(kind: Option<StepKind>) -> u64 {
    match kind {
        Some(StepKind::Send { .. }) => 2,
        Some(StepKind::Recv { .. }) => 3,
        Some(StepKind::Pause) => 4,
        Some(StepKind::Nop) | None => 5,
        Some(StepKind::RecvCommand) => 6,
        Some(StepKind::SendCommand) => 7,
    }
}

fn describe(
    record: &Record<'_>,
    hash: u64,
    call_id: &[u8],
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
) {
    let unix_ns = cx.clock.unix_ns(record.at_ns);
    cx.clock.put(unix_ns, out);
    let put = |out: &mut Vec<u8>, text: &[u8]| out.extend_from_slice(text);
    let index = |out: &mut Vec<u8>| match record.step {
        NO_STEP => out.extend_from_slice(b"-1"),
        step => put_number(u64::from(step), 1, out),
    };
    match record.event {
        Event::CallStarted { .. } => {
            put(out, b" Starting call ");
            put(out, call_id);
            put(out, b"\n");
        }
        Event::Step { .. } => {
            put(out, b" Processing message ");
            index(out);
            put(out, b" of type ");
            put_number(type_of(cx.step(record).map(|step| step.kind)), 1, out);
            put(out, b" for call ");
            put(out, call_id);
            put(out, b" at ");
            let since_ns = record.at_ns.saturating_sub(cx.clock.start().monotonic_ns);
            put_number(since_ns / 1_000_000, 1, out);
            put(out, b".\n");
        }
        Event::Sent { ends, message, .. } => {
            put(out, b" Sending ");
            put(out, ends.protocol.name().as_bytes());
            put(out, b" message for call ");
            put(out, call_id);
            put(out, b" (index ");
            index(out);
            put(out, b", hash ");
            put_number(hash, 1, out);
            put(out, b"):\n");
            put(out, message);
            put(out, b"\n\n");
        }
        Event::Received { message, .. } => {
            put(out, b" Processing ");
            put_number(message.len() as u64, 1, out);
            put(out, b" byte incoming message for call-ID ");
            put(out, call_id);
            put(out, b" (hash ");
            put_number(hash, 1, out);
            put(out, b"):\n");
            put(out, message);
            put(out, b"\n\n");
        }
        Event::Unexpected { message, .. } => {
            put(out, b" Unexpected message received (index ");
            index(out);
            put(out, b", hash ");
            put_number(hash, 1, out);
            put(out, b"):\n\n");
            put(out, message);
            put(out, b"\n");
        }
        Event::TimedOut { waited_ms, .. } => {
            put(out, b" Timeout after ");
            put_number(waited_ms, 1, out);
            put(out, b" ms (index ");
            index(out);
            put(out, b").\n");
        }
        Event::CallEnded { cause, .. } => {
            put(out, b" Aborting call ");
            put(out, call_id);
            put(out, b" (index ");
            index(out);
            put(out, b")");
            if let Some(cause) = cause {
                put(out, b": ");
                put(out, cause.label().as_bytes());
            }
            put(out, b".\n");
        }
        _ => put(out, b"\n"),
    }
}
