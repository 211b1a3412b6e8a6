//! The writer thread: turns what workers record into files and whatever else records go to.
//!
//! Workers hand their records to bounded queues and never wait. This thread empties the queues,
//! orders the records of all workers by time, shows each to every [`RecordSink`] and writes the
//! files. Records that do not fit into a queue are lost, and counted there. Entries that cannot be
//! written are counted here by kind, and the control side is told about once a minute for each
//! file. The thread knows no format: sinks do.

pub mod call_debug;
pub mod call_records;
pub mod events;
pub mod hep;
pub mod own;
pub mod rtp_check;
pub mod sipp;
pub mod srtp_keys;

mod backend;
mod files;
mod merge;
mod thread;
mod uring;

pub use files::{FileId, FileSpec, Files, Rotation};
pub use thread::{Order, Queues, RecordLosses, Writer};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::output::Clock;
use crate::stats::{CallTotals, Layout, StepLayout, TraceDropCounts, TraceKind};
use crate::trace::{Kinds, Record};

/// A log that can be switched on and off during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Whole messages.
    Messages,
    /// One line for each message.
    ShortMessages,
    /// Errors.
    Errors,
    /// The texts of `log` actions.
    Logs,
}

impl Log {
    /// All logs, in order.
    pub const ALL: [Self; 4] = [Self::Messages, Self::ShortMessages, Self::Errors, Self::Logs];

    /// The kinds of records that go to it.
    pub fn kinds(self) -> Kinds {
        match self {
            // SIPp's log of messages shows unexpected messages a second time.
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

/// The files, the clock and the names that a sink uses.
#[derive(Debug)]
pub struct Context<'c> {
    /// The files, to append to.
    pub files: &'c mut Files,
    /// Converts the clock of records to wall time.
    pub clock: &'c mut Clock,
    /// Names of everything that is measured.
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

    /// The step that the call of the record was at.
    pub fn step(&self, record: &Record<'_>) -> Option<&StepLayout> {
        self.layout.step(record.program, record.step)
    }

    /// The name of the record's step: the message that it sends or waits for.
    pub fn step_name(&self, record: &Record<'_>) -> String {
        self.step(record).map_or_else(String::new, |step| step.name.clone())
    }

    /// The step that the record's call waits for; optional messages may come before it.
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

/// The result of a run, for its sinks at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// The end of the run, in nanoseconds since 1970 UTC.
    pub unix_ns: u64,
    /// Totals of the calls.
    pub calls: CallTotals,
    /// Records for which the queues had no room.
    pub dropped: TraceDropCounts,
}

/// Counts of losses on the way to other programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Packets for the HEP collector.
    pub hep_packets: u64,
    /// Events for the collector of the event log.
    pub events: u64,
}

/// A destination of records. It lives on the artefact thread, and may block for as long as a disk.
pub trait RecordSink: Send {
    /// The kinds that the sink wants. It may be shown others, which other sinks want.
    fn kinds(&self) -> Kinds;

    /// The log that the sink writes, if it can be switched off.
    fn log(&self) -> Option<Log> {
        None
    }

    /// Called once, before all records.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Takes one record.
    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>);

    /// Called after every batch of records, and at least a few times per second while any are
    /// wanted: time to send the gathered data.
    fn tick(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Called at the end of a period of the statistics files: at `unix_ns`, `elapsed_ns` after the
    /// start.
    fn period(&mut self, unix_ns: u64, elapsed_ns: u64, cx: &mut Context<'_>) {
        let _ = (unix_ns, elapsed_ns, cx);
    }

    /// Writes everything that waits, because the user asked for it (SIGUSR2).
    fn dump(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Called once, after the last record.
    fn finish(&mut self, totals: &RunTotals, cx: &mut Context<'_>) {
        let _ = (totals, cx);
    }

    /// Counts of losses so far.
    fn losses(&self) -> Losses {
        Losses::default()
    }
}
