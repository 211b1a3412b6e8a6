//! The writer thread: turns what workers record into files and whatever else records go to.
//!
//! Workers hand their records to bounded queues and never wait; this thread empties the queues,
//! orders the records of all workers by time, shows each to every [`RecordSink`] and writes the
//! files. What does not fit into a queue is lost and counted where it was lost; what cannot be
//! written is counted here by kind, and the control side is told about once a minute for each file.
//! Knows no format: those are sinks.

pub mod call_debug;
pub mod call_records;
pub mod events;
pub mod hep;
pub mod own;
pub mod sipp;

mod backend;
mod files;
mod merge;
mod thread;
mod uring;

pub use files::{FileId, FileSpec, Files, Rotation};
pub use thread::{Order, Queues, RecordLosses, Writer};

use std::sync::Arc;

use crate::output::Clock;
use crate::stats::{CallTotals, Layout, StepLayout, TraceDropCounts, TraceKind};
use crate::trace::{Kinds, Record};

/// A log that can be switched on and off while a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Messages, whole.
    Messages,
    /// Messages, a line each.
    ShortMessages,
    /// Errors.
    Errors,
    /// The texts of `log` actions.
    Logs,
}

impl Log {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Messages, Self::ShortMessages, Self::Errors, Self::Logs];

    /// The kinds of records that go to it.
    pub fn kinds(self) -> Kinds {
        match self {
            // SIPp's has unexpected messages once more, as such.
            Self::Messages => {
                Kinds::MESSAGES.union(Kinds::COMMANDS).union(Kinds::of(&[TraceKind::Unexpected]))
            }
            Self::ShortMessages => Kinds::MESSAGES.union(Kinds::COMMANDS),
            Self::Errors => Kinds::of(&[
                TraceKind::Unexpected,
                TraceKind::Late,
                TraceKind::OutOfCall,
                TraceKind::Warning,
                TraceKind::Error,
                TraceKind::TimedOut,
                TraceKind::CallEnded,
            ]),
            Self::Logs => Kinds::of(&[TraceKind::Log]),
        }
    }
}

/// What a sink works with.
#[derive(Debug)]
pub struct Context<'c> {
    /// The files, to append to.
    pub files: &'c mut Files,
    /// From the clock of records to wall time.
    pub clock: &'c mut Clock,
    /// Names of what is measured.
    pub layout: &'c Arc<Layout>,
}

impl Context<'_> {
    /// Appends one entry to a file; `write` is given the wall time of `at_ns`.
    pub fn entry(
        &mut self,
        file: FileId,
        at_ns: u64,
        write: impl FnOnce(u64, &mut Clock, &mut Vec<u8>),
    ) {
        let unix_ns = self.clock.unix_ns(at_ns);
        let entry = self.files.entry(file);
        let begin = entry.len();
        write(unix_ns, self.clock, entry);
        self.files.end(file, begin, unix_ns / 1_000_000_000);
    }

    /// The step at which the record's call was.
    pub fn step(&self, record: &Record<'_>) -> Option<&StepLayout> {
        self.layout.step(record.program, record.step)
    }

    /// What the step at which the record's call was sends or waits for.
    pub fn step_name(&self, record: &Record<'_>) -> String {
        self.step(record).map_or_else(String::new, |step| step.name.clone())
    }

    /// The step that the record's call waits for, where optional messages may come before.
    pub fn awaited_name(&self, record: &Record<'_>) -> String {
        let step = self.layout.awaited_step(record.program, record.step);
        step.map_or_else(String::new, |step| step.name.clone())
    }

    /// The name of the record's scenario.
    pub fn program_name(&self, record: &Record<'_>) -> &str {
        let place = self.layout.place_of(record.program);
        place.map_or("", |place| &self.layout.programs[place].name)
    }
}

/// How a run went, as its sinks are told in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// The end of the run, in nanoseconds since 1970 UTC.
    pub unix_ns: u64,
    /// Its calls.
    pub calls: CallTotals,
    /// Records that had no room on their way to the sinks.
    pub dropped: TraceDropCounts,
}

/// What sinks could not pass on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Packets for the HEP collector.
    pub hep_packets: u64,
    /// Events for the collector of the event log.
    pub events: u64,
}

/// Somewhere for records to go. Lives on the writer thread; may wait a little, as for a disk.
pub trait RecordSink: Send {
    /// The kinds that it wants. It may be shown others, which others want.
    fn kinds(&self) -> Kinds;

    /// The log that it writes, if it can be switched off.
    fn log(&self) -> Option<Log> {
        None
    }

    /// Comes once, before all records.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// One record.
    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>);

    /// Comes after every batch of records, and at least a few times per second while any are
    /// wanted: time to send what was gathered.
    fn tick(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// A period of the statistics files ended at `unix_ns`, `elapsed_ns` after the start.
    fn period(&mut self, unix_ns: u64, elapsed_ns: u64, cx: &mut Context<'_>) {
        let _ = (unix_ns, elapsed_ns, cx);
    }

    /// The user wants to see everything now (SIGUSR2).
    fn dump(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// No more records will come.
    fn finish(&mut self, totals: &RunTotals, cx: &mut Context<'_>) {
        let _ = (totals, cx);
    }

    /// What it could not pass on so far.
    fn losses(&self) -> Losses {
        Losses::default()
    }
}
