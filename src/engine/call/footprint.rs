//! The memory of the calls and users of programs. The engine sizes its arrays by it, and the code
//! that starts a run budgets memory by it.

use crate::engine::call::lookup::{ENDED_BYTES, LINK_BYTES};
use crate::engine::call::variables::Value;
use crate::engine::call::{Call, Slot};
use crate::engine::dialog::transactions::NamedState;
use crate::engine::programs::bound::SharedNames;
use crate::engine::wheel::TIMER_BYTES;
use crate::engine::{Engine, Programs};
use crate::scenario::Program;

/// Bytes of any call: its state, its entry in the free list, two timers, a link in the table.
const CALL_BYTES: usize = size_of::<Call>() + size_of::<Slot>() + 2 * TIMER_BYTES + LINK_BYTES;
/// Bytes of any user: its place in the queue of idle users, which grows by doubling.
const USER_BYTES: usize = 2 * size_of::<(u32, u64)>();

/// Bytes of an ended call that is remembered.
pub const ENDED_CALL_BYTES: u64 = ENDED_BYTES as u64;

/// The room of each call and each user of a run: as much as any program needed so far, since rows
/// never become narrower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Variables of each call.
    pub(in crate::engine) call_values: usize,
    /// Durations that each call measures.
    pub(in crate::engine) rtds: usize,
    /// Named transactions of each call.
    pub(in crate::engine) named: usize,
    /// Variables of each user: those of all programs, identified by name.
    pub(in crate::engine) user_values: usize,
}

impl Footprint {
    /// The footprint of a run that begins with `programs`.
    pub fn of(programs: &Programs) -> Self {
        let mut names = SharedNames::default();
        names.add_all(programs);
        Self::default().with(programs, &names)
    }

    /// The footprint once `programs` are added; `names` are those of all programs so far.
    pub(in crate::engine) fn with(self, programs: &Programs, names: &SharedNames) -> Self {
        let most = |known: usize, count: fn(&Program) -> usize| {
            programs.all().map(|program| count(program)).fold(known, usize::max)
        };
        Self {
            call_values: most(self.call_values, |program| program.call_variables.len()),
            rtds: most(self.rtds, |program| program.rtds.len()),
            named: most(self.named, |program| program.named_transactions.len()),
            user_values: names.users.len().max(self.user_values),
        }
    }

    /// Bytes of each call in the pool, without its texts.
    pub fn call_bytes(&self) -> u64 {
        CALL_BYTES as u64 + self.call_row_bytes()
    }

    /// The part of [`call_bytes`](Self::call_bytes) that depends on the programs.
    pub fn call_row_bytes(&self) -> u64 {
        let values = self.call_values * size_of::<Value>();
        let rtds = self.rtds * size_of::<u64>();
        (values + rtds + self.named * size_of::<NamedState>()) as u64
    }

    /// Bytes of each user, without its texts.
    pub fn user_bytes(&self) -> u64 {
        USER_BYTES as u64 + self.user_row_bytes()
    }

    /// The part of [`user_bytes`](Self::user_bytes) that depends on the programs.
    pub fn user_row_bytes(&self) -> u64 {
        (self.user_values * size_of::<Value>()) as u64
    }
}

impl Engine {
    /// Bytes of the rows that calls and users have now, in this order: the part that a
    /// [`Footprint`] describes.
    pub fn row_bytes(&self) -> (u64, u64) {
        let calls = size_of_val(&self.variables.call_values[..])
            + size_of_val(&self.variables.rtd_starts[..])
            + size_of_val(&self.named[..]);
        (calls as u64, size_of_val(&self.variables.user_values[..]) as u64)
    }
}
