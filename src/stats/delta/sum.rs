//! The sum of deltas of many sources. Each delta is added once, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Delta, DeltaError, Figures, Moment, Source};
use crate::stats::{JudgedSeconds, LayoutId};

/// Most sources of a sum.
pub const SOURCES_MAX: usize = 4096;

/// Most layouts of a sum, each with figures of its own.
pub const LAYOUTS_MAX: usize = 64;

/// Most deltas of a source that may arrive ahead of an earlier one. After that, the earlier one
/// counts as lost and is not added any more.
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
    /// The numbers of later deltas that are in the sum.
    pub(super) ahead: BTreeSet<u64>,
    /// The number of deltas that never came.
    lost: u64,
    /// The latest delta: its number and its moment.
    latest: Option<(u64, Moment)>,
}

impl SourceSum {
    /// The number of deltas that never came although later ones did.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The latest known figures of the source at one moment.
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

    /// Advances past all deltas that follow without a gap.
    fn close_up(&mut self) {
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
    }
}

/// The sum of deltas from many sources, by layout and source.
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
    /// The reason why it cannot be added; the sum is unchanged then.
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
        // A copy, so that a delta that does not fit changes nothing.
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

    /// The figures by layout: figures of different layouts have different meanings.
    pub fn figures(&self) -> &BTreeMap<LayoutId, Figures> {
        &self.figures
    }

    /// The known sources.
    pub fn sources(&self) -> &BTreeMap<Source, SourceSum> {
        &self.sources
    }

    /// The seconds that the sources judged, added up; each source judges its own.
    pub fn seconds(&self) -> JudgedSeconds {
        self.seconds
    }

    /// The earliest begin and the latest end of all deltas, in nanoseconds since 1970 UTC.
    pub fn between_unix_ns(&self) -> Option<(u64, u64)> {
        self.between_unix_ns
    }

    /// The latest known moments of all sources, added up.
    pub fn moment(&self) -> Moment {
        self.sources.values().map(SourceSum::moment).fold(Moment::default(), Moment::with)
    }
}
