//! An injection file as one engine sees it: with the rows that its scenario inserted and replaced.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::printf::expand;
use super::{InjectionFile, Order, field_of};

/// Most bytes that a scenario may add to a file: an endless run must not fill the memory.
const EDIT_BYTES_MAX: usize = 256 << 20;
/// Memory that a row costs beside its bytes.
const ROW_COST: usize = 96;

/// An injection file with its changes. Unchanged, it costs nothing.
#[derive(Clone, Debug)]
pub struct Table {
    file: Arc<InjectionFile>,
    replaced: HashMap<u32, Box<[u8]>>,
    added: Vec<Box<[u8]>>,
    /// Rows by the indexed column, for keys whose row has changed; `None` for keys that are gone.
    keys: HashMap<Box<[u8]>, Option<u32>>,
    bytes: usize,
    has_brackets: bool,
}

/// The reason why a row cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// There is no such row.
    #[error("the file has no such row")]
    NoSuchRow,
    /// The scenario has added as much as it may.
    #[error("256 MiB were added to the file, which is the limit")]
    Full,
    /// A file with `PRINTF` cannot be changed, since each of its rows stands for many.
    #[error("a PRINTF file cannot be changed")]
    Printf,
}

impl Table {
    /// An unchanged table over `file`.
    pub fn new(file: Arc<InjectionFile>) -> Self {
        let (replaced, keys) = (HashMap::new(), HashMap::new());
        let has_brackets = file.has_brackets();
        Self { file, replaced, added: Vec::new(), keys, bytes: 0, has_brackets }
    }

    /// The unchanged file.
    pub fn file(&self) -> &InjectionFile {
        &self.file
    }

    /// Tells whether a row has, or had, a `[`, with which keywords begin.
    pub fn has_brackets(&self) -> bool {
        self.has_brackets
    }

    /// Number of rows that calls can take.
    pub fn rows(&self) -> u64 {
        self.file.rows() + self.added.len() as u64
    }

    /// The row that a call takes; see [`InjectionFile::row_of`].
    pub fn row_of(&self, call_number: u64, user: u32, seed: u64) -> Option<u64> {
        self.file.row_of(self.rows(), call_number, user, seed)
    }

    /// Tells whether rows are chosen by user.
    pub fn is_by_user(&self) -> bool {
        self.file.order() == Order::User
    }

    /// Hands the column `field` of `row` to `put`, in pieces. Hands on nothing if there is no such
    /// row.
    pub fn put_field(&self, row: u64, field: u16, mut put: impl FnMut(&[u8])) {
        if row >= self.rows() {
            return;
        }
        match &self.file.printf {
            None => put(field_of(self.text(row as u32), field)),
            Some(printf) => {
                let text = self.file.text((row % self.file.rows.len() as u64) as u32);
                expand(field_of(text, field), printf.number(row), put);
            }
        }
    }

    /// The row whose indexed column is `key`.
    pub fn lookup(&self, key: &[u8]) -> Option<u32> {
        match self.keys.get(key) {
            Some(&changed) => changed,
            None => self.file.lookup(key),
        }
    }

    /// Adds a row at the end.
    ///
    /// # Errors
    /// The file has `PRINTF`, or too much was added.
    pub fn insert(&mut self, text: &[u8]) -> Result<(), EditError> {
        if self.file.printf.is_some() {
            return Err(EditError::Printf);
        }
        let row = u32::try_from(self.rows()).map_err(|_| EditError::Full)?;
        self.account(text)?;
        self.added.push(text.into());
        self.enter(text, row);
        Ok(())
    }

    /// Puts another text in the place of `row`.
    ///
    /// # Errors
    /// There is no such row, the file has `PRINTF`, or too much was added.
    pub fn replace(&mut self, row: u64, text: &[u8]) -> Result<(), EditError> {
        if self.file.printf.is_some() {
            return Err(EditError::Printf);
        }
        let row = u32::try_from(row).map_err(|_| EditError::NoSuchRow)?;
        if u64::from(row) >= self.rows() {
            return Err(EditError::NoSuchRow);
        }
        self.account(text)?;
        if let Some(field) = self.file.indexed_field() {
            let key: Box<[u8]> = field_of(self.text(row), field).into();
            if self.lookup(&key) == Some(row) {
                match self.file.lookup(&key) {
                    Some(_) => self.keys.insert(key, None),
                    None => self.keys.remove(&key),
                };
            }
        }
        let old = match (row as usize).checked_sub(self.file.rows.len()) {
            Some(added) => Some(std::mem::replace(&mut self.added[added], text.into())),
            None => self.replaced.insert(row, text.into()),
        };
        self.bytes -= old.map_or(0, |old| old.len());
        self.enter(text, row);
        Ok(())
    }

    fn text(&self, row: u32) -> &[u8] {
        match (row as usize).checked_sub(self.file.rows.len()) {
            Some(added) => self.added.get(added).map_or(&[], |text| &text[..]),
            None => match self.replaced.get(&row) {
                Some(text) => text,
                None => self.file.text(row),
            },
        }
    }

    fn enter(&mut self, text: &[u8], row: u32) {
        if let Some(field) = self.file.indexed_field() {
            self.keys.insert(field_of(text, field).into(), Some(row));
        }
    }

    /// Counts the bytes of `text`, if it may still be added.
    fn account(&mut self, text: &[u8]) -> Result<(), EditError> {
        let known = self.added.len() + self.replaced.len() + self.keys.len();
        let total = self.bytes + text.len();
        if total + known * ROW_COST > EDIT_BYTES_MAX {
            return Err(EditError::Full);
        }
        self.bytes = total;
        self.has_brackets |= memchr::memchr(b'[', text).is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, indexed: bool) -> Table {
        let mut file = InjectionFile::parse("k.csv", text.as_bytes().to_vec()).unwrap();
        if indexed {
            file.build_index(0);
        }
        Table::new(Arc::new(file))
    }

    fn field(table: &Table, row: u64, field: u16) -> String {
        let mut out = Vec::new();
        table.put_field(row, field, |bytes| out.extend_from_slice(bytes));
        String::from_utf8(out).unwrap()
    }

    /// The expected rows are SIPp's answers to the same actions on the same file.
    #[test]
    fn lookups_follow_insertions_and_replacements_as_in_sipp() {
        let mut table = table("SEQUENTIAL\nal;1\nbob;2\nbob;3\n", true);
        assert_eq!(table.lookup(b"bob"), Some(2));
        table.replace(2, b"X;REPL").unwrap();
        assert_eq!((table.lookup(b"bob"), table.lookup(b"X")), (None, Some(2)));
        table.replace(2, b"al;REPL").unwrap();
        assert_eq!(table.lookup(b"al"), Some(2));
        table.insert(b"al;Y").unwrap();
        assert_eq!(table.lookup(b"al"), Some(3));
        assert_eq!((table.rows(), field(&table, 3, 1)), (4, "Y".to_owned()));
        assert_eq!((field(&table, 2, 1), field(&table, 0, 1)), ("REPL".into(), "1".into()));
        table.replace(3, b"new;Z").unwrap();
        assert_eq!((field(&table, 3, 0), table.lookup(b"new")), ("new".into(), Some(3)));
    }

    #[test]
    fn rows_that_do_not_exist_are_empty_and_cannot_be_replaced() {
        let mut table = table("SEQUENTIAL\na;b\n", false);
        assert_eq!(field(&table, 0, 5), "");
        assert_eq!(field(&table, 1, 0), "");
        assert_eq!(table.replace(1, b"x"), Err(EditError::NoSuchRow));
        assert_eq!(table.replace(u64::MAX, b"x"), Err(EditError::NoSuchRow));
        assert_eq!(table.lookup(b"a"), None);
    }

    #[test]
    fn virtual_rows_put_their_number_into_the_real_ones() {
        let mut table = table(
            "SEQUENTIAL,PRINTF=4,PRINTFOFFSET=100,PRINTFMULTIPLE=3\nu%d;v%08d\nw%d;q\n",
            false,
        );
        let rows: Vec<String> = (0..5)
            .map(|row| format!("{}|{}", field(&table, row, 0), field(&table, row, 1)))
            .collect();
        assert_eq!(rows, ["u100|v00000100", "w103|q", "u106|v00000106", "w109|q", "|"]);
        assert_eq!(table.insert(b"x"), Err(EditError::Printf));
        assert_eq!(table.replace(0, b"x"), Err(EditError::Printf));
    }

    #[test]
    fn brackets_are_known_wherever_they_come_from() {
        assert!(table("SEQUENTIAL\na;[x]\n", false).has_brackets());
        let mut table = table("SEQUENTIAL\na;b\n", false);
        assert!(!table.has_brackets());
        table.insert(b"[authentication]").unwrap();
        assert!(table.has_brackets());
    }

    #[test]
    fn a_row_may_be_replaced_for_ever() {
        let mut table = table("SEQUENTIAL\na;1\nb;2\n", true);
        for n in 0..10_000 {
            let row = format!("key{n};{}", "x".repeat(1 << 16));
            assert_eq!(table.replace(1, row.as_bytes()), Ok(()));
        }
        assert_eq!((table.lookup(b"key9999"), table.lookup(b"key9998")), (Some(1), None));
        assert_eq!((table.lookup(b"b"), table.keys.len()), (None, 2));
    }

    #[test]
    fn what_is_added_has_a_bound() {
        let mut table = table("SEQUENTIAL\na\n", false);
        let row = vec![b'x'; 1 << 20];
        let added = (0..1000).take_while(|_| table.insert(&row).is_ok()).count();
        assert!((200..=256).contains(&added), "{added}");
        assert_eq!(table.insert(&row), Err(EditError::Full));
    }
}
