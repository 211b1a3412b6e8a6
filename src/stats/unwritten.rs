//! Entries that are missing in the files of a run because the system could not write them.

use super::{TraceDropCounts, TraceKind};

/// Entries of files that could not be written, for example because the disk is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Entries of one record each, by its kind.
    pub records: TraceDropCounts,
    /// All other entries: rows of statistics files, headers, histories of calls.
    pub rows: u64,
    /// Bytes of all missing entries, and of the beginning of one that was cut off.
    pub bytes: u64,
}

impl Unwritten {
    /// The label of entries that do not stand for one record.
    pub const ROW: &'static str = "row";

    /// Counts an entry.
    pub fn bump(&mut self, kind: Option<TraceKind>) {
        match kind {
            Some(kind) => self.records.bump(kind),
            None => self.rows += 1,
        }
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.records.add(&other.records);
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    /// Entries of all kinds.
    pub fn entries(&self) -> u64 {
        self.records.total() + self.rows
    }

    /// The label and the number of missing entries of each kind.
    pub fn by_label(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let records = TraceKind::ALL.iter().map(|&kind| (kind.label(), self.records.count(kind)));
        records.chain([(Self::ROW, self.rows)])
    }
}
