//! Starting calls: the schedule of arrivals, the limits that withhold them, and circuits.

pub(in crate::engine) mod circuits;
pub mod pacing;
pub(in crate::engine) mod start;
