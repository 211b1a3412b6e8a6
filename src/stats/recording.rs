//! Counts of recordings of media.

use serde::{Deserialize, Serialize};

causes! {
    /// The reason why a part of a recording is missing.
    RecordingLoss,
    /// Losses of recordings by cause.
    RecordingLosses {
        /// A file could not be made, or lies where the run may not write.
        NotOpened = "not_opened",
        /// A file could not be written to its end, and was not kept.
        NotWritten = "not_written",
        /// As many recordings were open as may be at one time.
        TooMany = "too_many",
        /// A packet came when its file had the largest size, or is too long for a capture.
        TooLong = "too_long",
        /// A packet came when its place in the audio had been written.
        Late = "late",
        /// A packet has an encoding that is not decoded; the audio is silent there.
        Undecoded = "undecoded",
    }
}

/// The recordings of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingTotals {
    /// Files that are whole.
    pub files: u64,
    /// Files that were removed, because their calls did well.
    pub discarded: u64,
    /// Bytes of the files that are whole.
    pub bytes: u64,
    /// Missing parts, by cause.
    pub losses: RecordingLosses,
}
