//! Answers of a worker to the control side's questions about its calls. Answers are few and
//! bounded: a worker sends one only on request, and drops it if its queue is full.

use crate::engine::{BusyCircuits, Census};
use crate::stats::CallTotals;

/// Most uncollected answers of one worker.
pub const ANSWERS: usize = 8;

/// A worker's answer to a question of the control side.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `TellVariables`: the global variables that have a value, by name.
    Variables(Vec<(String, String)>),
    /// To `TellCircuits`.
    Circuits(BusyCircuits),
    /// To `TellCalls`: the present numbers, not those of the end of a second.
    Calls(CallTotals),
    /// To `TellWaits`.
    Waits(Census),
}
