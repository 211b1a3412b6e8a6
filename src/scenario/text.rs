//! Decoded text that still knows the place of each of its bytes in the file.
//!
//! Entities, escapes and line ends change lengths, so that an offset in a decoded text says nothing
//! about the file. A [`Text`] notes the place of each stretch that is the same in both.

use std::fmt;
use std::ops::Deref;

use super::decode;
use super::error::Position;

/// Decoded text with the places of its bytes. It dereferences to `str`.
#[derive(Debug, Default)]
pub(super) struct Text {
    value: String,
    /// Offsets from which on bytes stand at the position and to its right. A stretch never spans a
    /// line end, so that one search finds a place in a text of any length.
    runs: Vec<(usize, Position)>,
}

impl Text {
    /// Adds `piece`, which stands in the file at `offset`, with its line ends turned into LF
    /// (XML 1.0 section 2.11).
    pub(super) fn push(&mut self, piece: &str, offset: usize, lines: &LineStarts) {
        let mut at = 0;
        while at < piece.len() {
            self.runs.push((self.value.len(), lines.position(offset + at)));
            let rest = &piece[at..];
            let is_border = |c| matches!(c, '\n' | '\r') || decode::byte_of(c).is_some();
            let end = rest.find(is_border).unwrap_or(rest.len());
            self.value.push_str(&rest[..end]);
            at += end;
            let Some(border) = rest[end..].chars().next() else { break };
            if matches!(border, '\n' | '\r') {
                self.value.push('\n');
                at += if rest[end..].starts_with("\r\n") { 2 } else { 1 };
            } else {
                self.push_char(border, offset + at, lines);
                at += border.len_utf8();
            }
        }
    }

    /// Adds a character that is spelled differently in the file, at `offset`.
    pub(super) fn push_char(&mut self, c: char, offset: usize, lines: &LineStarts) {
        self.runs.push((self.value.len(), lines.position(offset)));
        self.value.push(c);
    }

    /// The place in the file of the byte at `offset`.
    pub(super) fn position(&self, offset: usize) -> Position {
        let run = self.runs.partition_point(|&(start, _)| start <= offset);
        let Some(&(start, position)) = self.runs.get(run.wrapping_sub(1)) else {
            return Position { line: 1, column: 1 };
        };
        Position { line: position.line, column: position.column + (offset - start) as u32 }
    }

    /// The place of the first byte that is not white space, if there is one.
    pub(super) fn first_position(&self) -> Option<Position> {
        let blank = self.value.len() - self.value.trim_ascii_start().len();
        (blank < self.value.len()).then(|| self.position(blank))
    }

    /// A text with one place for all of its bytes, `position`.
    pub(super) fn at(value: &str, position: Position) -> Self {
        let runs = (0..=value.len()).map(|at| (at, position)).collect();
        Self { value: value.to_owned(), runs }
    }

    /// A text that stands unchanged in a file at `line` and `column`.
    #[cfg(test)]
    pub(super) fn plain(value: &str, line: u32, column: u32) -> Self {
        let mut text = Self::default();
        text.push(value, 0, &LineStarts::new(value));
        for (_, position) in &mut text.runs {
            if position.line == 1 {
                position.column += column - 1;
            }
            position.line += line - 1;
        }
        text
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// Byte offsets of line starts, to turn an offset into line and column.
pub(super) struct LineStarts {
    starts: Vec<usize>,
    /// Offsets of characters that stand for one byte of the file each; see [`decode::bytes()`].
    byte_chars: Vec<usize>,
}

impl LineStarts {
    pub(super) fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1));
        let is_byte = |&(_, c): &(usize, char)| decode::byte_of(c).is_some();
        let byte_chars = text.char_indices().filter(is_byte).map(|(at, _)| at).collect();
        Self { starts, byte_chars }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        // The first start is 0, so that at least one start is not behind the offset.
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = self.starts[line - 1];
        let before = |offset| self.byte_chars.partition_point(|&at| at < offset);
        let longer = (before(offset) - before(start)) * (decode::BYTE_CHAR_LEN - 1);
        Position { line: line as u32, column: (offset - start - longer + 1) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_one_newline_and_places_stay_those_of_the_file() {
        let file = "xx\r\nab\rc\nd";
        let lines = LineStarts::new(file);
        let mut text = Text::default();
        text.push(&file[1..], 1, &lines);
        assert_eq!(&*text, "x\nab\nc\nd");
        assert_eq!(text.position(0), Position { line: 1, column: 2 });
        assert_eq!(text.position(2), Position { line: 2, column: 1 });
        // A lone CR is a line end for XML, not for editors.
        assert_eq!(text.position(5), Position { line: 2, column: 4 });
        assert_eq!(text.position(7), Position { line: 3, column: 1 });
    }

    #[test]
    fn columns_count_bytes_of_the_file() {
        let file = decode::decode(b"ab\xe9\xe8c\nd\xe9f", "x").unwrap();
        let lines = LineStarts::new(&file);
        let mut text = Text::default();
        text.push(&file, 0, &lines);
        let place = |c| text.position(text.find(c).unwrap());
        assert_eq!(place('c'), Position { line: 1, column: 5 });
        assert_eq!(place('d'), Position { line: 2, column: 1 });
        assert_eq!(place('f'), Position { line: 2, column: 3 });
        assert_eq!(lines.position(file.len()), Position { line: 2, column: 4 });
    }

    #[test]
    fn places_behind_an_escape_are_right_again() {
        let file = "a&amp;b";
        let lines = LineStarts::new(file);
        let mut text = Text::default();
        text.push("a", 0, &lines);
        text.push_char('&', 1, &lines);
        text.push("b", 6, &lines);
        assert_eq!(&*text, "a&b");
        assert_eq!(text.position(1), Position { line: 1, column: 2 });
        assert_eq!(text.position(2), Position { line: 1, column: 7 });
    }
}
