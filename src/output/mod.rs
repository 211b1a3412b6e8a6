//! The results of a run: summary, console text, and files that are complete or absent.
//!
//! Reads snapshots only. No code here runs on a worker thread.

pub mod dashboard;
pub mod own_csv;
pub mod screen;
pub mod summary;
pub mod units;

mod atomic_file;
mod clock;
mod console;
mod failures;
mod findings;
mod html;
mod media;
mod palette;
mod rate_steps;
mod sipp_csv;
mod status;
mod table;
mod timestamp;
mod verdict;

pub use atomic_file::{WriteFileError, WriteStep, try_file, write_file};
pub use clock::{Clock, put_number};
pub use console::{ConsoleLine, StreamsLine};
pub use failures::{FailureEntry, ended_with_run, next_look, sentence};
pub use findings::findings;
pub use html::{page, write_page};
pub use palette::{Palette, has_color};
pub use sipp_csv::{SippCsv, put_duration_ms};
pub use status::{LiveStatus, StatusMode};
pub use summary::{Summary, SummaryContext};
pub use table::FinalTable;
pub use timestamp::Timestamp;
pub(crate) use verdict::cpu_words;
pub use verdict::{verdict_note, verdict_reason, verdict_sentences};
