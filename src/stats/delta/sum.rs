//! Deltas of many sources added, each once, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Delta, DeltaError, Figures, Moment, Source};
use crate::stats::{JudgedSeconds, LayoutId};

/// Most sources of a sum.
pub const SOURCES_MAX: usize = 4096;

/// Most layouts of a sum, each with figures of its own.
pub const LAYOUTS_MAX: usize = 64;

/// Deltas of a source that may be there before an earlier one is. From here on that one is given
/// up as lost: it is no longer added if it comes after all.
pub const WINDOW: usize = 1024;

/// The outcome of adding a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The delta was added to the sum.
    New,
    /// The delta was in the sum already, or had been given up as lost.
    Known,
}

/// The part of the sum that came from one source.
#[derive(Clone, Debug, Default)]
pub struct SourceSum {
    /// All deltas before this one are in the sum, or lost.
    next: u64,
    /// Later ones that are in the sum.
    pub(super) ahead: BTreeSet<u64>,
    /// Deltas that never came.
    lost: u64,
    /// The latest delta: its number and what it said.
    latest: Option<(u64, Moment)>,
}

impl SourceSum {
    /// Deltas that never came, of which later ones did.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The source as it was last heard of.
    pub fn moment(&self) -> Moment {
        self.latest.map(|(_, moment)| moment).unwrap_or_default()
    }

    fn is_known(&self, sequence: u64) -> bool {
        sequence < self.next || self.ahead.contains(&sequence)
    }

    fn note(&mut self, sequence: u64, moment: Moment) {
        self.ahead.insert(sequence);
        self.close_up();
        while self.ahead.len() > WINDOW {
            let first = self.ahead.first().copied().unwrap_or(self.next);
            self.lost += first - self.next;
            self.next = first;
            self.close_up();
        }
        if self.latest.is_none_or(|(latest, _)| latest < sequence) {
            self.latest = Some((sequence, moment));
        }
    }

    /// Moves on over the deltas that follow each other.
    fn close_up(&mut self) {
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct DeltaSum {
    pub(super) sources: BTreeMap<Source, SourceSum>,
    figures: BTreeMap<LayoutId, Figures>,
    seconds: JudgedSeconds,
    /// The earliest begin and the latest end, by the clocks of the sources.
    between_unix_ns: Option<(u64, u64)>,
}

impl DeltaSum {
    /// Adds a delta, once.
    ///
    /// # Errors
    /// Why it cannot be added; the sum is as it was then.
    pub fn add(&mut self, delta: &Delta) -> Result<Added, DeltaError> {
        let known = self.sources.get(&delta.source);
        if known.is_some_and(|known| known.is_known(delta.sequence)) {
            return Ok(Added::Known);
        }
        if known.is_none() && self.sources.len() == SOURCES_MAX {
            return Err(DeltaError::Sources);
        }
        let sum = self.figures.get(&delta.layout);
        if sum.is_none() && self.figures.len() == LAYOUTS_MAX {
            return Err(DeltaError::Layouts);
        }
        // A copy, so that one that does not fit leaves nothing behind.
        let mut figures = sum.cloned().unwrap_or_else(|| delta.figures.emptied());
        figures.add(&delta.figures)?;
        let mut seconds = self.seconds;
        seconds.checked_add(&delta.seconds).ok_or(DeltaError::TooLarge)?;
        self.seconds = seconds;
        self.figures.insert(delta.layout, figures);
        let source = self.sources.entry(delta.source.clone()).or_default();
        source.note(delta.sequence, delta.moment);
        let (begin, end) = self.between_unix_ns.unwrap_or((u64::MAX, 0));
        let between = (begin.min(delta.begin_unix_ns), end.max(delta.end_unix_ns));
        self.between_unix_ns = Some(between);
        Ok(Added::New)
    }

    /// The figures by layout: those of different layouts are about different things.
    pub fn figures(&self) -> &BTreeMap<LayoutId, Figures> {
        &self.figures
    }

    /// The sources that were heard of.
    pub fn sources(&self) -> &BTreeMap<Source, SourceSum> {
        &self.sources
    }

    /// Seconds that the sources judged, each its own.
    pub fn seconds(&self) -> JudgedSeconds {
        self.seconds
    }

    /// The earliest begin and the latest end of all, in nanoseconds since 1970 UTC.
    pub fn between_unix_ns(&self) -> Option<(u64, u64)> {
        self.between_unix_ns
    }

    /// All sources as they were last heard of, added up.
    pub fn moment(&self) -> Moment {
        self.sources.values().map(SourceSum::moment).fold(Moment::default(), Moment::with)
    }
}
