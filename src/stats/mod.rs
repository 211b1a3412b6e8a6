//! Counters, histograms, snapshots, verdict and health gates.
//!
//! Knows nothing of sockets or of who reads it.

mod cause;
mod counters;

pub use cause::{FailureCause, FailureCounts, WithheldCause, WithheldCounts};
pub use counters::Counters;
