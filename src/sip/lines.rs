//! Cuts a header section into logical lines: one header each, folded continuations included.
//!
//! Knows names, colons, folds and the empty line at the end; not what any header means. Index,
//! stream framing and error answers all walk headers through here, so they cannot disagree about
//! where one ends.
//!
//! A bare LF ends a line as CRLF does. RFC 3261 25 asks for CRLF, but deployed equipment sends
//! LF, and no valid message has a bare LF in its headers that could be misread.

use memchr::memchr;

use super::text::{is_lws, token_len};
use super::{HeaderId, ParseError};

/// One header: offsets into the text that was walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The name as a number.
    pub(super) id: HeaderId,
    /// Where the name starts.
    pub(super) start: usize,
    /// Where the name ends; blanks may follow before the colon (RFC 3261 7.3.1 allows them).
    pub(super) name_end: usize,
    /// Where the value starts, white space and folds skipped.
    pub(super) value_start: usize,
    /// Where the value ends, trailing white space left out.
    pub(super) value_end: usize,
    /// Where the last physical line ends, its line break left out.
    pub(super) end: usize,
    /// Where the next line starts.
    pub(super) next: usize,
}

/// What stands at a line start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A header.
    Header(Line),
    /// The empty line; the body starts at this offset.
    End(usize),
}

/// Reads the line that starts at `at`, which is the start of a physical line.
#[inline]
pub(super) fn step(text: &[u8], at: usize) -> Result<Step, ParseError> {
    let rest = text.get(at..).unwrap_or_default();
    let (id, name_len, colon) = match quick_name(rest) {
        Some((id, colon)) => (id, colon, colon),
        None => match any_name(rest, at)? {
            Name::Header { id, len, colon } => (id, len, colon),
            Name::End(body) => return Ok(Step::End(body)),
        },
    };
    let (end, next) = logical_end(text, at).ok_or(ParseError::HeadersUnterminated)?;
    let mut value_start = at + colon + 1;
    while value_start < end && is_lws(text[value_start]) {
        value_start += 1;
    }
    let mut value_end = end;
    while value_end > value_start && is_lws(text[value_end - 1]) {
        value_end -= 1;
    }
    Ok(Step::Header(Line {
        id,
        start: at,
        name_end: at + name_len,
        value_start,
        value_end,
        end,
        next,
    }))
}

/// The name at the front of `rest` if it is a known one with the colon right behind it, which
/// nearly all are. Known names are tokens, so that nothing else needs a look.
#[inline]
fn quick_name(rest: &[u8]) -> Option<(HeaderId, usize)> {
    let colon = find_colon(rest)?;
    let id = HeaderId::from_name(&rest[..colon]);
    (id != HeaderId::Other).then_some((id, colon))
}

/// Where the first colon is, if among the first 24 bytes.
///
/// Eight bytes at a time: names are too short for `memchr` to get up to speed.
#[inline]
fn find_colon(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, _) = rest.as_chunks::<8>();
    for (at, word) in words.iter().take(3).enumerate() {
        // A colon becomes zero, and the subtraction borrows from it. A borrow can also mark bytes
        // above, wrongly, but never below: the lowest mark is right.
        let zero = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        let found = zero.wrapping_sub(ONES) & !zero & HIGHS;
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    None
}

enum Name {
    Header { id: HeaderId, len: usize, colon: usize },
    End(usize),
}

/// The name at the front of `rest`, or the empty line.
fn any_name(rest: &[u8], at: usize) -> Result<Name, ParseError> {
    let len = token_len(rest);
    if len == 0 {
        return match rest {
            [b'\r', b'\n', ..] => Ok(Name::End(at + 2)),
            [b'\n', ..] => Ok(Name::End(at + 1)),
            // Half of the empty line, or none of it.
            [] | [b'\r'] => Err(ParseError::HeadersUnterminated),
            _ => Err(ParseError::BadHeaderLine),
        };
    }
    let blanks = rest[len..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match rest.get(len + blanks) {
        Some(b':') => {
            let id = HeaderId::from_name(&rest[..len]);
            Ok(Name::Header { id, len, colon: len + blanks })
        }
        Some(_) => Err(ParseError::BadHeaderLine),
        None => Err(ParseError::HeadersUnterminated),
    }
}

/// The end of the logical line that `from` is in, and the start of the next one.
///
/// `None` when the text ends before a byte shows that no continuation follows (RFC 3261 7.3.1: a
/// line that starts with a blank continues the one before).
#[inline]
pub(super) fn logical_end(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let newline = from + memchr(b'\n', text.get(from..)?)?;
        from = newline + 1;
        if matches!(text.get(from)?, b' ' | b'\t') {
            continue;
        }
        let has_cr = newline > 0 && text[newline - 1] == b'\r';
        return Some((newline - usize::from(has_cr), from));
    }
}

/// The first line without its line break, and the offset of the second.
#[inline]
pub(super) fn first_line(text: &[u8]) -> Option<(&[u8], usize)> {
    let newline = memchr(b'\n', text)?;
    let line = &text[..newline];
    Some((line.strip_suffix(b"\r").unwrap_or(line), newline + 1))
}

/// How many bytes of line breaks stand before the first line (RFC 3261 7.5: ignore them).
#[inline]
pub(super) fn leading_breaks(text: &[u8]) -> usize {
    text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(text.len())
}

/// The value of the first header `id` of a message that may be broken.
///
/// For one header of a message that has no index; nothing behind it is looked at.
pub fn first_value(message: &[u8], id: HeaderId) -> Option<&[u8]> {
    let (_, headers_at) = first_line(message)?;
    let line = lenient(message, headers_at).find(|line| line.id == id)?;
    message.get(line.value_start..line.value_end)
}

/// The headers of a message that may be broken: lines that are none are stepped over.
pub(super) fn lenient(text: &[u8], from: usize) -> impl Iterator<Item = Line> + '_ {
    let mut at = from;
    core::iter::from_fn(move || {
        loop {
            match step(text, at) {
                Ok(Step::Header(line)) => {
                    at = line.next;
                    return Some(line);
                }
                Ok(Step::End(_)) => return None,
                Err(_) => (_, at) = logical_end(text, at)?,
            }
        }
    })
}
