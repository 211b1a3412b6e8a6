//! The record stream: an engine's records of single messages and calls, as compact bytes.
//!
//! An engine appends [`Event`]s to its [`Tracer`] if their kind is wanted; otherwise a record costs
//! one test of a mask. The worker moves the bytes on once per turn; on another thread [`Records`]
//! turns them back into [`Record`]s. Pure: knows neither files nor formats nor threads.

mod decode;
mod encode;
mod event;
mod queue;

pub use decode::Records;
pub use encode::{Tracer, each_record};
pub use event::{
    AudioPath, Authenticated, CallMedia, Ends, Event, NO_CALL, NO_STEP, Patience, Protocol, Record,
    RtpChecked,
};
pub use queue::{RecordsIn, RecordsOut, queue};

use crate::stats::TraceKind;

/// A set of kinds of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// No kind: nothing is recorded.
    pub const NONE: Self = Self(0);

    /// Messages in both directions.
    pub const MESSAGES: Self = Self::of(&[TraceKind::MessageSent, TraceKind::MessageReceived]);

    /// Commands of third-party call control in both directions.
    pub const COMMANDS: Self = Self::of(&[TraceKind::CommandSent, TraceKind::CommandReceived]);

    /// The set of `kinds`.
    pub const fn of(kinds: &[TraceKind]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    /// The kinds that are in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether `kind` is in the set.
    #[inline]
    pub const fn has(self, kind: TraceKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// Tells whether the set is empty.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests;
