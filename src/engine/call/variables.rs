//! Values of scenario variables.

use crate::engine::Engine;
use crate::engine::call::Slot;
use crate::engine::call::blob::{Blob, BlobPool};
use crate::engine::call::footprint::Footprint;
use crate::scenario::VariableRef;

/// A variable's value.
#[derive(Debug, Default)]
pub(in crate::engine) enum Value {
    /// Never assigned.
    #[default]
    Unset,
    /// A number.
    Number(f64),
    /// The outcome of a `test`.
    Truth(bool),
    /// A text.
    Text(Blob),
}

impl Value {
    /// SIPp's truth of `test=` and `condexec=`: set, and not zero for a number.
    pub(in crate::engine) fn is_true(&self) -> bool {
        match self {
            Self::Unset => false,
            Self::Number(number) => *number != 0.0,
            Self::Truth(truth) => *truth,
            Self::Text(_) => true,
        }
    }

    /// The value as a number; a text is read as far as it is one, like C's `strtod`.
    pub(in crate::engine) fn number(&self, pool: &BlobPool) -> f64 {
        match self {
            Self::Unset => 0.0,
            Self::Number(number) => *number,
            Self::Truth(truth) => f64::from(u8::from(*truth)),
            Self::Text(blob) => leading_number(pool.bytes(blob)).unwrap_or(0.0),
        }
    }
}

/// Values of all variables, and of the response times that calls measure, in rows of one length.
pub(in crate::engine) struct Variables {
    /// Rows of calls, by slot.
    pub(in crate::engine) call_values: Vec<Value>,
    /// Variables for which each call has room: those of the program with most.
    pub(in crate::engine) call_values_each: usize,
    /// Rows of users.
    pub(in crate::engine) user_values: Vec<Value>,
    /// Variables of one user.
    pub(in crate::engine) user_values_each: usize,
    /// Variables of the run.
    pub(in crate::engine) global_values: Vec<Value>,
    /// Rows of calls: the starts of their response times.
    pub(in crate::engine) rtd_starts: Vec<u64>,
    /// Response times for which each call has room.
    pub(in crate::engine) rtds_each: usize,
}

impl Variables {
    /// Creates the rows of `users` and the `globals` of the run; rows of calls follow when a slot
    /// is first used.
    pub(in crate::engine) fn new(room: Footprint, users: u32, globals: usize) -> Self {
        let unset = |count| std::iter::repeat_with(Value::default).take(count).collect();
        Self {
            call_values: Vec::new(),
            call_values_each: room.call_values,
            user_values: unset(room.user_values * (users as usize).max(1)),
            user_values_each: room.user_values,
            global_values: unset(globals),
            rtd_starts: Vec::new(),
            rtds_each: room.rtds,
        }
    }
}

/// The longest prefix of `text` (after white space) that is a number.
pub(in crate::engine) fn leading_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    let end = text
        .iter()
        .position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(text.len());
    (1..=end.min(64)).rev().find_map(|len| std::str::from_utf8(&text[..len]).ok()?.parse().ok())
}

/// Reads all of `text` as one number, with white space before it at most, as SIPp's `<todouble>`
/// does: hexadecimal digits too.
pub(in crate::engine) fn whole_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|value| sign * value as f64),
        // A second sign is no number: the first one was read above.
        None if digits.starts_with(['+', '-']) => None,
        None => digits.parse::<f64>().ok().map(|value| sign * value),
    }
}

impl Engine {
    /// The value of `variable` for the call in `slot`.
    pub(in crate::engine) fn variable(&self, slot: Slot, variable: VariableRef) -> &Value {
        match variable {
            VariableRef::Call(index) => &self.variables.call_values[self.call_value(slot, index)],
            VariableRef::User(index) => &self.variables.user_values[self.user_value(slot, index)],
            VariableRef::Global(index) => {
                &self.variables.global_values[self.global_value(slot, index)]
            }
        }
    }

    fn value_mut(&mut self, slot: Slot, variable: VariableRef) -> &mut Value {
        match variable {
            VariableRef::Call(index) => {
                let at = self.call_value(slot, index);
                &mut self.variables.call_values[at]
            }
            VariableRef::User(index) => {
                let at = self.user_value(slot, index);
                &mut self.variables.user_values[at]
            }
            VariableRef::Global(index) => {
                let at = self.global_value(slot, index);
                &mut self.variables.global_values[at]
            }
        }
    }

    fn call_value(&self, slot: Slot, index: u16) -> usize {
        slot as usize * self.variables.call_values_each + usize::from(index)
    }

    fn user_value(&self, slot: Slot, index: u16) -> usize {
        let shared = self.program_of(slot).base.users[usize::from(index)];
        self.calls[slot].user as usize * self.variables.user_values_each + usize::from(shared)
    }

    fn global_value(&self, slot: Slot, index: u16) -> usize {
        usize::from(self.program_of(slot).base.globals[usize::from(index)])
    }

    /// Assigns a number or truth, or `Unset`.
    pub(in crate::engine) fn assign(&mut self, slot: Slot, variable: VariableRef, value: Value) {
        let old = std::mem::replace(self.value_mut(slot, variable), value);
        if let Value::Text(mut blob) = old {
            self.blobs.free(&mut blob);
        }
    }

    /// Assigns a text; `false` if the pool is exhausted.
    pub(in crate::engine) fn assign_text(
        &mut self,
        slot: Slot,
        variable: VariableRef,
        text: &[u8],
    ) -> bool {
        let stored = self.blobs.store(text);
        let fits = stored.is_some();
        self.assign(slot, variable, Value::Text(stored.unwrap_or_default()));
        fits
    }

    /// Appends the text of `variable` to `out`: numbers with six decimals, as SIPp prints them.
    pub(in crate::engine) fn variable_text(
        &self,
        slot: Slot,
        variable: VariableRef,
        out: &mut Vec<u8>,
    ) {
        self.value_text(self.variable(slot, variable), out);
    }

    /// Appends the text of a value to `out`, in the same form.
    pub(in crate::engine) fn value_text(&self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Unset => {}
            Value::Number(number) => push_fixed6(*number, out),
            Value::Truth(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Value::Text(blob) => out.extend_from_slice(self.blobs.bytes(blob)),
        }
    }

    /// Makes room for the variables of a new call.
    pub(in crate::engine) fn reset_call_values(&mut self, slot: Slot) {
        let count = self.variables.call_values_each;
        let end = (slot as usize + 1) * count;
        while self.variables.call_values.len() < end {
            self.variables.call_values.push(Value::Unset);
        }
        let rtds = self.variables.rtds_each;
        let end = (slot as usize + 1) * rtds;
        if self.variables.rtd_starts.len() < end {
            self.variables.rtd_starts.resize(end, 0);
        }
        self.variables.rtd_starts[end - rtds..end].fill(0);
    }

    /// Starts the durations that no step starts.
    pub(in crate::engine) fn start_rtds(&mut self, slot: Slot, now: u64) {
        let bound = std::rc::Rc::clone(self.program_of(slot));
        for &rtd in &bound.program.rtds_from_start {
            self.variables.rtd_starts
                [slot as usize * self.variables.rtds_each + usize::from(rtd)] = now.max(1);
        }
    }

    /// Frees the variables of a call that ends.
    pub(in crate::engine) fn free_call_values(&mut self, slot: Slot) {
        let count = self.variables.call_values_each;
        for index in slot as usize * count..(slot as usize + 1) * count {
            if let Value::Text(mut blob) = std::mem::take(&mut self.variables.call_values[index]) {
                self.blobs.free(&mut blob);
            }
        }
    }
}

/// Writes `number` with six decimals, without the formatting machinery for the usual magnitudes.
fn push_fixed6(number: f64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{number:.6}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_number_as_a_whole_or_not_at_all() {
        for (text, number) in [
            ("12", Some(12.0)),
            (" -1e2", Some(-100.0)),
            ("0x10", Some(16.0)),
            ("+.5", Some(0.5)),
            ("12 ", None),
            ("12abc", None),
            ("--1", None),
            ("0x+1", None),
            ("", None),
        ] {
            assert_eq!(whole_number(text.as_bytes()), number, "{text}");
        }
    }
}
