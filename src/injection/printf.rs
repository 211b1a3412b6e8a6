//! The first line of a file, and PRINTF, which makes many rows of few by putting numbers into them.

use super::{FIRST_LINE, Order};
use crate::decimal::{self, DIGITS_MAX};

/// The settings `PRINTF=n,PRINTFOFFSET=o,PRINTFMULTIPLE=m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Printf {
    /// Number of virtual rows.
    pub(super) rows: u32,
    offset: i64,
    multiple: i64,
}

impl Printf {
    /// The number that is put into row `row`.
    pub(super) fn number(&self, row: u64) -> i64 {
        self.offset.wrapping_add(self.multiple.wrapping_mul(row as i64))
    }
}

pub(super) const FORMAT_HINT: &str =
    "write a number as %d, with a width or precision if needed: %05d, %-5d, %.3d";
const PRINTF_HINT: &str = "write SEQUENTIAL,PRINTF=1000,PRINTFOFFSET=0,PRINTFMULTIPLE=1";

/// Reads the first line. SIPp searches it for the words, so that any text around them is ignored.
pub(super) fn first_line(line: &[u8]) -> Result<(Order, Option<Printf>), (String, &'static str)> {
    let has = |word: &str| memchr::memmem::find(line, word.as_bytes());
    let order = if has("RANDOM").is_some() {
        Order::Random
    } else if has("SEQUENTIAL").is_some() {
        Order::Sequential
    } else if has("USER").is_some() {
        Order::User
    } else {
        let start = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
        let what = format!("\"{start}\" is none of SEQUENTIAL, RANDOM and USER");
        return Err((what, FIRST_LINE));
    };
    let setting = |word: &str| -> Result<Option<i64>, (String, &'static str)> {
        let Some(at) = has(word) else { return Ok(None) };
        let rest = &line[at + word.len()..];
        let len = rest.iter().position(|byte| b",;".contains(byte)).unwrap_or(rest.len());
        let text = String::from_utf8_lossy(&rest[..len]);
        match text.trim().parse::<i64>() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err((format!("{word}{text} is not a whole number"), PRINTF_HINT)),
        }
    };
    let Some(rows) = setting("PRINTF=")? else { return Ok((order, None)) };
    let rows = u32::try_from(rows).ok().filter(|&rows| rows > 0).ok_or_else(|| {
        let what = format!("PRINTF={rows} is not a number of rows from 1 to 4294967295");
        (what, PRINTF_HINT)
    })?;
    let offset = setting("PRINTFOFFSET=")?.unwrap_or(0);
    let multiple = setting("PRINTFMULTIPLE=")?.unwrap_or(1);
    Ok((order, Some(Printf { rows, offset, multiple })))
}

/// Refuses a row with a `%` that begins no format of a number.
pub(super) fn check(row: &[u8]) -> Result<(), String> {
    let mut rest = row;
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = &rest[at..];
        let Some((_, len)) = Format::parse(rest) else {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(6)]).into_owned();
            return Err(format!("\"{shown}\" is not a valid format for a number"));
        };
        rest = &rest[len..];
    }
    Ok(())
}

/// Hands `field` to `put` in pieces, with `number` in place of every format.
pub(super) fn expand(field: &[u8], number: i64, mut put: impl FnMut(&[u8])) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'%', rest) {
        put(&rest[..at]);
        rest = &rest[at..];
        let Some((format, len)) = Format::parse(rest) else { break };
        format.put(number, &mut put);
        rest = &rest[len..];
    }
    put(rest);
}

/// A format such as `%-05.3d`.
#[derive(Clone, Copy)]
struct Format {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Format {
    /// The format at the beginning of `text`, and its length.
    fn parse(text: &[u8]) -> Option<(Self, usize)> {
        let mut at = 1;
        let (mut left, mut zeros) = (false, false);
        loop {
            match text.get(at)? {
                b'-' => left = true,
                b'0' => zeros = true,
                _ => break,
            }
            at += 1;
        }
        let width = digits(text, &mut at);
        let precision = match text.get(at)? {
            b'.' => {
                at += 1;
                Some(digits(text, &mut at))
            }
            _ => None,
        };
        (text.get(at) == Some(&b'd')).then_some((Self { left, zeros, width, precision }, at + 1))
    }

    fn put(self, number: i64, put: &mut impl FnMut(&[u8])) {
        let mut room = [0; DIGITS_MAX];
        let digits = decimal::digits(number.unsigned_abs(), &mut room);
        let sign = usize::from(number < 0);
        // C: a precision turns the zero flag off, and so does the minus flag.
        let fills = self.zeros && !self.left && self.precision.is_none();
        let least = match fills {
            true => self.width.saturating_sub(sign),
            false => self.precision.unwrap_or(1),
        };
        let zeros = least.saturating_sub(digits.len());
        let blanks = self.width.saturating_sub(sign + zeros + digits.len());
        let mut repeat = |byte: &[u8], times: usize| (0..times).for_each(|_| put(byte));
        if !self.left {
            repeat(b" ", blanks);
        }
        repeat(b"-", sign);
        repeat(b"0", zeros);
        put(digits);
        if self.left {
            (0..blanks).for_each(|_| put(b" "));
        }
    }
}

/// The number at `at`, at most 1000; 0 if there is none.
fn digits(text: &[u8], at: &mut usize) -> usize {
    let mut value = 0;
    while let Some(digit) = text.get(*at).filter(|digit| digit.is_ascii_digit()) {
        value = (value * 10 + usize::from(digit - b'0')).min(1000);
        *at += 1;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(field: &str, number: i64) -> String {
        let mut out = Vec::new();
        expand(field.as_bytes(), number, |bytes| out.extend_from_slice(bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_does() {
        for (format, number, text) in [
            ("u%d", 7, "u7"),
            ("u%05d-%d", 12, "u00012-12"),
            ("%5d|", 1, "    1|"),
            ("%-5d|", 1, "1    |"),
            ("%.3d", 1, "001"),
            ("%08d", -2, "-0000002"),
            ("%6.3d|%-6.3d|", -7, "  -007|-007  |"),
            ("%0d", 0, "0"),
            ("none", 3, "none"),
        ] {
            assert_eq!(expanded(format, number), text, "{format}");
        }
    }

    #[test]
    fn only_decimal_numbers_are_formats() {
        for bad in ["%x", "%", "a%%b", "%+d", "%ld", "% d", "%#d", "%5"] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(check(b"u%05d;%-3d;%.2d;plain"), Ok(()));
    }

    #[test]
    fn the_first_line_is_searched_for_its_words() {
        let read = |line: &str| first_line(line.as_bytes());
        assert_eq!(read(" SEQUENTIAL x"), Ok((Order::Sequential, None)));
        assert_eq!(read("USER"), Ok((Order::User, None)));
        let (order, printf) = read("RANDOM,PRINTFMULTIPLE=3,PRINTF=4,PRINTFOFFSET=-100").unwrap();
        let printf = printf.unwrap();
        assert_eq!((order, printf.rows), (Order::Random, 4));
        assert_eq!((printf.number(0), printf.number(2)), (-100, -94));
        for bad in
            ["SEQUENTIAL,PRINTF=", "SEQUENTIAL,PRINTF=-1", "SEQUENTIAL,PRINTF=1,PRINTFOFFSET=x"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
