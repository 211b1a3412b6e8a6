//! Injection files: the rows behind `[fieldN]`, as SIPp has them.
//!
//! A file is read once, kept as its own bytes with the place of each row, and shared by all
//! workers. Rows that a scenario inserts or replaces lie in a [`Table`] over it. The row that a
//! call sees is a function of the call's number or user, so that workers need not agree on
//! anything. Pure: it is given bytes, and knows nothing of files, calls or keywords.

mod edits;
mod error;
mod index;
mod printf;

pub use edits::{EditError, Table};
pub use error::InjectionError;

use memchr::{memchr, memchr_iter};

use index::Index;
use printf::Printf;

/// Longest row: no message carries more.
const ROW_BYTES_MAX: usize = 65_535;
/// Largest file: places of rows are 32 bits wide.
const FILE_BYTES_MAX: usize = u32::MAX as usize - 1;
/// The byte between two fields.
const DELIMITER: u8 = b';';

/// The order in which calls take rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other, beginning again after the last.
    Sequential,
    /// At random.
    Random,
    /// The row of the call's user.
    User,
}

/// The rows of an injection file, with the place of each.
pub struct InjectionFile {
    name: String,
    bytes: Box<[u8]>,
    /// Start of each row in `bytes`.
    rows: Vec<u32>,
    order: Order,
    printf: Option<Printf>,
    index: Option<Index>,
    has_brackets: bool,
    rest: Option<Rest>,
}

/// The rows behind the empty line that ends a file, which are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Number of the empty line, from 1.
    pub line: usize,
    /// Number of unused rows.
    pub rows: usize,
}

impl std::fmt::Debug for InjectionFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rows may be millions, and may be passwords.
        write!(f, "InjectionFile({}, {} rows)", self.name, self.rows.len())
    }
}

impl InjectionFile {
    /// Reads `bytes`: a first line with SEQUENTIAL, RANDOM or USER (and PRINTF settings), then a
    /// row per line. Lines that begin with `#` are comments; an empty line ends the file.
    ///
    /// # Errors
    /// The first fault, with its line.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, InjectionError> {
        let fault = |line, what: &str, hint: &'static str| {
            InjectionError::new(name, line, what.to_owned(), hint)
        };
        if bytes.len() > FILE_BYTES_MAX {
            return Err(fault(1, "the file has 4 GiB or more", "split it"));
        }
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut lines = Lines { bytes: &bytes, at: start, number: 0 };
        let Some((_, first, _)) = lines.next() else {
            return Err(fault(1, "the file is empty", FIRST_LINE));
        };
        let (order, printf) = printf::first_line(first)
            .map_err(|(what, hint)| InjectionError::new(name, 1, what, hint))?;
        let mut rows = Vec::new();
        let mut rest = None;
        while let Some((line, row, place)) = lines.next() {
            if row.is_empty() {
                let is_row = |row: &[u8]| !row.is_empty() && !row.starts_with(b"#");
                let left = lines.by_ref().filter(|(_, row, _)| is_row(row)).count();
                rest = (left > 0).then_some(Rest { line, rows: left });
                break;
            }
            if row.starts_with(b"#") {
                continue;
            }
            if row.len() > ROW_BYTES_MAX {
                let what = "the row has more than 65535 bytes";
                return Err(fault(line, what, "no message could carry it"));
            }
            if memchr(0, row).is_some() {
                return Err(fault(line, "the row has a NUL byte", "is it a text file?"));
            }
            if printf.is_some() {
                printf::check(row)
                    .map_err(|what| InjectionError::new(name, line, what, printf::FORMAT_HINT))?;
            }
            rows.push(place as u32);
        }
        if rows.is_empty() {
            return Err(fault(1, "the file has no rows", "add one below the first line"));
        }
        rows.shrink_to_fit();
        let has_brackets = memchr(b'[', &bytes).is_some();
        let (name, bytes) = (name.to_owned(), bytes.into_boxed_slice());
        Ok(Self { name, bytes, rows, order, printf, index: None, has_brackets, rest })
    }

    /// The name by which scenarios know the file: its name without directories.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes the name by which scenarios know the file.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// The rows that are left out, because SIPp reads up to the first empty line.
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// The order in which calls take rows.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Tells whether a row has a `[`, with which keywords begin.
    pub fn has_brackets(&self) -> bool {
        self.has_brackets
    }

    /// Makes [`InjectionFile::lookup`] possible on the column `field`, from 0.
    pub fn build_index(&mut self, field: u16) {
        let mut index = Index::new(self.rows.len(), field);
        for row in 0..self.rows.len() as u32 {
            index.insert(row, |row| field_of(self.text(row), field));
        }
        self.index = Some(index);
    }

    /// The column that is indexed.
    pub fn indexed_field(&self) -> Option<u16> {
        self.index.as_ref().map(Index::field)
    }

    /// Number of rows that calls can take, virtual ones included.
    pub fn rows(&self) -> u64 {
        match &self.printf {
            Some(printf) => u64::from(printf.rows),
            None => self.rows.len() as u64,
        }
    }

    /// The line of the first row that lacks the column `field`, and the number of rows that lack
    /// it.
    pub fn ragged(&self, field: u16) -> Option<(usize, usize)> {
        let lacks = |row: &u32| {
            let columns = memchr_iter(DELIMITER, self.text(*row)).count() + 1;
            columns <= usize::from(field)
        };
        let mut lacking = (0..self.rows.len() as u32).filter(lacks);
        let first = lacking.next()?;
        Some((self.line_number(first), 1 + lacking.count()))
    }

    /// The bytes of one column of every row, in order.
    pub fn column(&self, field: u16) -> impl Iterator<Item = (usize, &[u8])> {
        (0..self.rows.len() as u32).map(move |row| (row as usize, field_of(self.text(row), field)))
    }

    /// The rows as the file has them, with their lines.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let (mut line, mut counted) = (1, 0);
        self.rows.iter().enumerate().map(move |(row, &place)| {
            line += memchr_iter(b'\n', &self.bytes[counted..place as usize]).count();
            counted = place as usize;
            (line, self.text(row as u32))
        })
    }

    /// The line of the file on which a row stands.
    pub fn line_number(&self, row: u32) -> usize {
        let place = self.rows.get(row as usize).map_or(0, |&place| place as usize);
        memchr_iter(b'\n', &self.bytes[..place]).count() + 1
    }

    /// The error of a column of a row, for the user.
    pub fn fault(&self, row: u32, what: String, hint: &'static str) -> InjectionError {
        InjectionError::new(&self.name, self.line_number(row), what, hint)
    }

    /// Number of rows in the file, without virtual ones.
    pub fn rows_in_file(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The row of the file that stands for the row `row`, which may be a virtual one.
    pub fn row_in_file(&self, row: u64) -> u32 {
        (row % self.rows.len().max(1) as u64) as u32
    }

    /// Tells whether numbers are put into the column `field`, so that its virtual rows differ.
    pub fn varies(&self, field: u16) -> bool {
        self.printf.is_some() && self.column(field).any(|(_, text)| memchr(b'%', text).is_some())
    }

    /// The row that a call takes: by its number (from 1, counted over all workers) or its user
    /// (from 0). `None` for a user without a row.
    pub fn row_of(&self, rows: u64, call_number: u64, user: u32, seed: u64) -> Option<u64> {
        match self.order {
            Order::Sequential => Some(call_number.wrapping_sub(1) % rows.max(1)),
            Order::Random => Some(scramble(seed ^ scramble(call_number)) % rows.max(1)),
            Order::User => Some(u64::from(user)).filter(|&row| row < rows),
        }
    }

    /// The row whose indexed column is `key`; the last of several.
    pub fn lookup(&self, key: &[u8]) -> Option<u32> {
        let index = self.index.as_ref()?;
        index.find(key, |row| field_of(self.text(row), index.field()))
    }

    /// A row as the file has it.
    fn text(&self, row: u32) -> &[u8] {
        let Some(&place) = self.rows.get(row as usize) else { return &[] };
        let rest = &self.bytes[place as usize..];
        without_return(&rest[..memchr(b'\n', rest).unwrap_or(rest.len())])
    }
}

pub(super) const FIRST_LINE: &str =
    "the first line is SEQUENTIAL, RANDOM or USER, perhaps with ,PRINTF=n";

/// The column `field` of a row; empty if it has none.
fn field_of(row: &[u8], field: u16) -> &[u8] {
    let mut rest = row;
    for _ in 0..field {
        match memchr(DELIMITER, rest) {
            Some(at) => rest = &rest[at + 1..],
            None => return &[],
        }
    }
    &rest[..memchr(DELIMITER, rest).unwrap_or(rest.len())]
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A well-mixed function of 64 bits (the finaliser of splitmix64).
fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Lines with their number (from 1) and place, without line ends.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
    number: usize,
}

impl<'b> Iterator for Lines<'b> {
    type Item = (usize, &'b [u8], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let place = self.at;
        let len = memchr(b'\n', rest).unwrap_or(rest.len());
        self.at += len + 1;
        self.number += 1;
        Some((self.number, without_return(&rest[..len]), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> InjectionFile {
        InjectionFile::parse("u.csv", text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn rows_end_with_the_first_empty_line_and_comments_are_none() {
        let file = parsed("\u{feff}SEQUENTIAL\r\na;b\r\n#c;d\r\n # e;f\n\ng;h\n");
        assert_eq!(file.rows(), 2);
        assert_eq!(file.text(0), b"a;b");
        assert_eq!(file.text(1), b" # e;f");
        assert_eq!(file.line_number(1), 4);
        assert_eq!(file.lines().collect::<Vec<_>>(), [(2, &b"a;b"[..]), (4, b" # e;f")]);
        assert_eq!(parsed("RANDOM\nlast").text(0), b"last");
        assert_eq!(file.rest(), Some(Rest { line: 5, rows: 1 }));
        assert_eq!(parsed("USER\na\n\n\n# c\n").rest(), None);
        assert_eq!(parsed("USER\na\n\nb\n\n#c\nd").rest(), Some(Rest { line: 3, rows: 2 }));
    }

    #[test]
    fn columns_are_cut_at_semicolons_only() {
        let row = b" a ;b\\;\"c;d\"";
        let columns: Vec<_> = (0..5).map(|field| field_of(row, field)).collect();
        assert_eq!(columns, [&b" a "[..], b"b\\", b"\"c", b"d\"", b""]);
        assert_eq!(parsed("SEQUENTIAL\na;b\nc\n\n").ragged(1), Some((3, 1)));
        assert_eq!(parsed("SEQUENTIAL\na;b\nc;d\n").ragged(1), None);
    }

    #[test]
    fn sequential_rows_follow_the_number_of_the_call() {
        let file = parsed("SEQUENTIAL\na\nb\nc\n");
        let rows: Vec<_> = (1..=7).filter_map(|n| file.row_of(3, n, 0, 9)).collect();
        assert_eq!(rows, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn random_rows_come_evenly_and_depend_on_the_seed() {
        let file = parsed("RANDOM\na\nb\nc\nd\n");
        let draw =
            |seed| -> Vec<_> { (1..=4000).filter_map(|n| file.row_of(4, n, 0, seed)).collect() };
        let rows = draw(1);
        for row in 0..4 {
            let times = rows.iter().filter(|&&drawn| drawn == row).count();
            assert!((900..1100).contains(&times), "{times}");
        }
        assert_eq!(rows, draw(1));
        assert_ne!(rows, draw(2));
    }

    #[test]
    fn users_have_a_row_each() {
        let file = parsed("USER\na\nb\n");
        assert_eq!(file.row_of(2, 9, 1, 0), Some(1));
        assert_eq!(file.row_of(2, 9, 2, 0), None);
    }

    #[test]
    fn an_index_finds_the_last_row_of_a_key() {
        let mut file = parsed("SEQUENTIAL\nal;1\nbob;2\nbob;3\n;4\n");
        assert_eq!(file.lookup(b"bob"), None);
        file.build_index(0);
        assert_eq!(file.lookup(b"bob"), Some(2));
        assert_eq!(file.lookup(b"al"), Some(0));
        assert_eq!(file.lookup(b""), Some(3));
        assert_eq!(file.lookup(b"nobody"), None);
        file.build_index(1);
        assert_eq!((file.lookup(b"2"), file.lookup(b"bob")), (Some(1), None));
    }

    #[test]
    fn a_large_index_finds_every_row() {
        let rows: String = (0..20_000).map(|n| format!("user{n};{n}\n")).collect();
        let mut file = parsed(&format!("SEQUENTIAL\n{rows}"));
        file.build_index(0);
        for n in (0..20_000).step_by(97) {
            assert_eq!(file.lookup(format!("user{n}").as_bytes()), Some(n));
        }
    }

    #[test]
    fn broken_files_are_refused_with_their_line() {
        let long = format!("SEQUENTIAL\na\n{}\n", "x".repeat(70_000));
        for (text, line, says) in [
            ("", 1, "empty"),
            ("\nSEQUENTIAL\na\n", 1, "SEQUENTIAL"),
            ("# c\nSEQUENTIAL\na\n", 1, "SEQUENTIAL"),
            ("sequential\na\n", 1, "SEQUENTIAL"),
            ("SEQUENTIAL\n", 1, "no rows"),
            ("SEQUENTIAL\n\na\n", 1, "no rows"),
            ("SEQUENTIAL\na\nb\0c\n", 3, "NUL"),
            (&long, 3, "65535"),
            ("SEQUENTIAL,PRINTF=0\na\n", 1, "PRINTF"),
            ("SEQUENTIAL,PRINTF=x\na\n", 1, "PRINTF"),
            ("SEQUENTIAL,PRINTF=2\na\nb%x\n", 3, "%x"),
        ] {
            let error = InjectionFile::parse("dir/u.csv", text.as_bytes().to_vec()).unwrap_err();
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("dir/u.csv:{line}: ")), "{shown}");
            assert!(shown.contains(says), "{shown}");
        }
    }
}
