//! The outcome of a run, once everything is written.

use super::RunError;
use crate::output::{Summary, WriteFileError};
use crate::sinks::RecordLosses;
use crate::stats::{ExitCode, Health, Snapshot};

/// The result of a run.
pub(crate) struct Finished {
    /// The last state.
    pub(crate) snapshot: Snapshot,
    /// The outcome of the health gates.
    pub(crate) health: Health,
    /// Records that could not be written or passed on.
    pub(crate) losses: RecordLosses,
    /// The summary.
    pub(crate) summary: Summary,
    /// The result of writing the summary to its file, if it has one.
    pub(crate) written: Result<(), WriteFileError>,
    /// The error that ended the run before its time.
    pub(crate) fatal: Option<RunError>,
    /// The first worker that ended with an error.
    pub(crate) failed: Option<RunError>,
    /// The exit code, if there is no error above.
    pub(crate) code: ExitCode,
}

impl Finished {
    /// Sentences about what could not be written or passed on.
    pub(crate) fn losses_told(&self) -> Vec<String> {
        let Self { losses, snapshot, .. } = self;
        let mut told = Vec::new();
        for (lost, what) in [
            (losses.losses.hep_packets, "packets did not reach the HEP collector"),
            (losses.losses.events, "events did not reach the collector of the event log"),
        ] {
            if lost > 0 {
                told.push(format!("{lost} {what}"));
            }
        }
        told.extend(losses.complaints.iter().cloned());
        let dropped = snapshot.counters.trace_drops.total();
        if dropped > 0 {
            told.push(format!(
                "the trace files lack {dropped} records that came faster than they could be written"
            ));
        }
        let dropped = snapshot.counters.media.recording_dropped;
        if dropped > 0 {
            told.push(format!(
                "recordings lack {dropped} packets that came faster than they could be written"
            ));
        }
        told
    }
}
