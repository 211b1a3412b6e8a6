//! Files of rows, and the lines that steer a run from outside.

use std::sync::Arc;

use gossipper::config::targets::{Network, PortRange, parse_expiry};
use gossipper::engine::{COMMAND_MAX, is_command, sender};
use gossipper::injection::{InjectionFile, Table};
use gossipper::terminal::action;

/// The number of columns read: more than most files have.
const COLUMNS: u16 = 5;
/// Longest text of an error.
const ERROR_MAX: usize = 1000;

/// Reads any bytes as an injection file. The first byte names the indexed column.
pub fn any_rows(bytes: &[u8]) {
    let Some((&column, bytes)) = bytes.split_first() else { return };
    let indexed = u16::from(column) % COLUMNS;
    let mut file = match InjectionFile::parse("file.csv", bytes.to_vec()) {
        Ok(file) => file,
        Err(error) => {
            let text = error.to_string();
            return assert!(!text.is_empty() && text.len() < ERROR_MAX, "{text}");
        }
    };
    file.build_index(indexed);
    assert!(file.rows_in_file() > 0 && file.rows() > 0);
    let lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
    for (row, (number, text)) in file.lines().enumerate() {
        let line = lines[number - 1];
        // A carriage return before a line end is not part of the row.
        assert!(line == text || line.strip_suffix(b"\r") == Some(text), "{line:?}: {text:?}");
        let key = text.split(|&byte| byte == b';').nth(indexed.into()).unwrap_or_default();
        let found = file.lookup(key).expect("a key of the file is found");
        assert!(found as usize >= row, "the last row with a key counts");
    }
    for field in 0..COLUMNS {
        let _ = (file.ragged(field), file.varies(field), file.column(field).count());
    }
    any_edits(Table::new(Arc::new(file)), bytes);
}

/// Fails unless rows read back as they were inserted or replaced.
fn any_edits(mut table: Table, bytes: &[u8]) {
    let text = &bytes[bytes.len() / 2..];
    let text = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let before = table.rows();
    let row = table.row_of(before, 0, 7).unwrap_or_default();
    for field in 0..COLUMNS {
        let mut length = 0;
        table.put_field(row, field, |piece| length += piece.len());
        assert!(length <= 1 << 17, "{length} bytes out of one field");
    }
    let read = |table: &Table, row| {
        let mut read = Vec::new();
        table.put_field(row, 1, |piece| read.extend_from_slice(piece));
        read
    };
    let expected = text.split(|&byte| byte == b';').nth(1).unwrap_or_default();
    if table.insert(text).is_ok() {
        assert_eq!((table.rows(), read(&table, before)), (before + 1, expected.to_vec()));
        table.replace(0, text).expect("a row that is there is replaced");
        assert_eq!(read(&table, 0), expected);
        assert!(table.replace(before + 1, text).is_err(), "a row that is not there");
        assert!(table.has_brackets() || !text.contains(&b'['));
    }
}

/// Reads any bytes as input of a control socket, of another instance, or of a list of targets.
pub fn any_line(bytes: &[u8]) {
    if let Err(error) = action::of_datagram(bytes) {
        let text = error.to_string();
        assert!(text.len() < ERROR_MAX && !text.contains('\n'), "{text}");
    }
    if bytes.len() <= COMMAND_MAX {
        let name = sender(bytes);
        assert!(name.is_none_or(|name| name.len() <= bytes.len() && !name.contains(&b'\n')));
        let _ = is_command(bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_string()), Ok(network), "{text}");
    }
    if let Ok(ports) = PortRange::parse(text) {
        assert_eq!(PortRange::parse(&ports.to_string()), Ok(ports), "{text}");
    }
    let _ = parse_expiry(text);
}
