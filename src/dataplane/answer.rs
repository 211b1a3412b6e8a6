//! What a worker answers when the control side asks about the calls that it has. Answers are few
//! and bounded: a worker makes one only when it is asked, and drops it where nobody collects them.

use crate::engine::{BusyCircuits, Census};
use crate::stats::CallTotals;

/// Answers of one worker that wait to be collected.
pub const ANSWERS: usize = 8;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `TellVariables`: the global variables that have a value, by name.
    Variables(Vec<(String, String)>),
    /// To `TellCircuits`.
    Circuits(BusyCircuits),
    /// To `TellCalls`: of this moment, rather than of the end of a second.
    Calls(CallTotals),
    /// To `TellWaits`.
    Waits(Census),
}
