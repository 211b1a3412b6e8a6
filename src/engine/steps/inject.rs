//! Rows of injection files: keywords and actions.

use crate::engine::call::Slot;
use crate::engine::call::variables::Value;
use crate::engine::steps::render::{At, Out};
use crate::engine::{Cx, Engine};
use crate::injection::EditError;
use crate::scenario::{Injected, InjectionTable, Row, Template, VariableRef};
use crate::stats::FailureCause;

impl Engine {
    /// Writes a column of a row. A missing column is empty, as in SIPp.
    pub(in crate::engine) fn put_injected(
        &self,
        injected: &Injected,
        at: &At<'_, '_>,
        out: &mut Out<'_>,
    ) {
        let Some(table) = self.tables.get(usize::from(injected.table)) else { return };
        let row = match &injected.row {
            Row::Number(row) => Some(*row),
            Row::Own => self.own_row(injected.table, at.slot),
            Row::Of(template) => {
                let mut buffer = [0; 64];
                let text = self.nested(template, at, &mut buffer);
                let Some(row) = text.and_then(leading_integer) else {
                    return out.fail(FailureCause::InjectionFailed);
                };
                u64::try_from(row).ok()
            }
        };
        if let Some(row) = row {
            table.put_field(row, injected.field, |bytes| out.put(bytes));
        }
    }

    /// The row of an injection file that the call takes.
    pub(in crate::engine) fn own_row(&self, table: u16, slot: Slot) -> Option<u64> {
        let rows = self.tables.get(usize::from(table))?;
        // As in SIPp, a row by user needs users.
        if rows.is_by_user() && !self.has_users() {
            return None;
        }
        let seed = self.config.seed ^ u64::from(table);
        rows.row_of(self.calls[slot].number, self.user_number(slot), seed)
    }

    /// Number of the call's user over all workers, from 0.
    pub(in crate::engine) fn user_number(&self, slot: Slot) -> u32 {
        let workers = self.config.workers.max(1) as u32;
        self.calls[slot].user.saturating_mul(workers).saturating_add(self.config.worker as u32)
    }

    /// The injection file of an action. SIPp identifies files by their names alone.
    pub(in crate::engine) fn table_of(
        &mut self,
        slot: Slot,
        table: &InjectionTable,
        cx: &Cx<'_, '_>,
    ) -> Result<u16, FailureCause> {
        let name = match table {
            InjectionTable::Known(table) => return Ok(*table),
            InjectionTable::Named(name) => self.text(slot, name, cx)?,
        };
        let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default().trim_ascii();
        let files = &self.config.data.tables;
        let found = files.iter().position(|file| file.name().as_bytes() == name);
        found.map(|table| table as u16).ok_or(FailureCause::InjectionFailed)
    }

    pub(in crate::engine) fn lookup(
        &mut self,
        slot: Slot,
        to: VariableRef,
        table: u16,
        key: &[u8],
    ) {
        let row = self.tables.get(usize::from(table)).and_then(|table| table.lookup(key));
        self.assign(slot, to, Value::Number(row.map_or(-1.0, f64::from)));
    }

    pub(in crate::engine) fn insert_row(
        &mut self,
        table: u16,
        row: &[u8],
    ) -> Result<(), FailureCause> {
        let table = self.tables.get_mut(usize::from(table));
        table.map_or(Err(EditError::NoSuchRow), |table| table.insert(row)).map_err(cause)
    }

    pub(in crate::engine) fn replace_row(
        &mut self,
        table: u16,
        line: &[u8],
        row: &[u8],
    ) -> Result<(), FailureCause> {
        let line = leading_integer(line).and_then(|line| u64::try_from(line).ok());
        let line = line.ok_or(FailureCause::InjectionFailed)?;
        let table = self.tables.get_mut(usize::from(table));
        table.map_or(Err(EditError::NoSuchRow), |table| table.replace(line, row)).map_err(cause)
    }

    /// Renders a template inside another one; `None` if it does not fit.
    pub(in crate::engine) fn nested<'b>(
        &self,
        template: &Template,
        at: &At<'_, '_>,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let mut out = Out::nested(buffer);
        self.render(template, at, &mut out);
        let len = out.len()?;
        Some(&buffer[..len])
    }
}

fn cause(error: EditError) -> FailureCause {
    match error {
        EditError::Full => FailureCause::PoolExhausted,
        EditError::NoSuchRow | EditError::Printf => FailureCause::InjectionFailed,
    }
}

/// The whole number at the beginning of `text`, as C's `strtol` reads it.
fn leading_integer(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count().min(18);
    let value: i64 = std::str::from_utf8(&digits[..len]).ok()?.parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtol_does() {
        for (text, number) in [
            ("3", Some(3)),
            (" 12.900000", Some(12)),
            ("-1.000000", Some(-1)),
            ("+7x", Some(7)),
            ("abc", None),
            ("", None),
            ("99999999999999999999", Some(999_999_999_999_999_999)),
        ] {
            assert_eq!(leading_integer(text.as_bytes()), number, "{text}");
        }
    }
}
