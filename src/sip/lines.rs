//! Cuts a header section into logical lines: one header each, folded continuations included.
//!
//! Knows names, colons, folds and the empty line at the end, but not the meaning of any header.
//! Index, stream framing and error answers all walk headers through this code, so that they always
//! agree about the end of a header.
//!
//! A bare LF ends a line as CRLF does. RFC 3261 25 asks for CRLF, but deployed equipment sends
//! LF, and no valid message has a bare LF in its headers that could be misread.

use super::text::{find_byte, find_in_word, is_lws, token_len};
use super::{HeaderId, ParseError};

/// One header: offsets into the text that was walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The name as a number.
    pub(super) id: HeaderId,
    /// Start of the name.
    pub(super) start: usize,
    /// End of the name; blanks may follow before the colon (RFC 3261 7.3.1 allows them).
    pub(super) name_end: usize,
    /// Start of the value, behind white space and folds.
    pub(super) value_start: usize,
    /// End of the value, without trailing white space.
    pub(super) value_end: usize,
    /// End of the last physical line, without its line break.
    pub(super) end: usize,
    /// Start of the next line.
    pub(super) next: usize,
}

/// The kinds of lines in a header section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A header.
    Header(Line),
    /// The empty line; the body starts at this offset.
    End(usize),
}

/// Reads the line that starts at `at`, which is the start of a physical line.
#[inline(always)]
pub(super) fn step(text: &[u8], at: usize) -> Result<Step, ParseError> {
    match plain_line(text, at) {
        Some(line) => Ok(Step::Header(line)),
        None => any_line(text, at),
    }
}

/// Reads a line as nearly all are: a known name of 2 to 15 bytes with the colon right behind it,
/// one space, a value without blanks around it, CRLF, and no continuation. `None` says nothing
/// about the line.
///
/// Most work of indexing is done here, so that it reads every byte once and makes no detours.
#[inline(always)]
fn plain_line(text: &[u8], at: usize) -> Option<Line> {
    let rest = text.get(at..)?;
    let words = u128::from_le_bytes(*rest.first_chunk()?);
    let (low, high) = (words as u64, (words >> 64) as u64);
    let below = |byte: usize| (1 << (8 * byte)) - 1;
    let (colon, head, tail) = match find_in_word(low, b':') {
        Some(colon) => (colon, low & below(colon), 0),
        None => {
            let colon = find_in_word(high, b':')?;
            (8 + colon, low, high & below(colon))
        }
    };
    let id = HeaderId::from_words(head, tail, colon)?;
    let [b' ', value @ ..] = rest.get(colon + 1..)? else { return None };
    let newline = find_byte(value, b'\n')?;
    let [first, ..] = value else { return None };
    let [.., last, b'\r'] = value.get(..newline)? else { return None };
    if is_lws(*first) || is_lws(*last) || matches!(value.get(newline + 1)?, b' ' | b'\t') {
        return None;
    }
    let (start, value_start) = (at, at + colon + 2);
    let value_end = value_start + newline - 1;
    let next = value_end + 2;
    Some(Line { id, start, name_end: at + colon, value_start, value_end, end: value_end, next })
}

/// Reads any line.
#[inline(never)]
fn any_line(text: &[u8], at: usize) -> Result<Step, ParseError> {
    let rest = text.get(at..).unwrap_or_default();
    let (id, name_len, colon) = match any_name(rest, at)? {
        Name::Header { id, len, colon } => (id, len, colon),
        Name::End(body) => return Ok(Step::End(body)),
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
            // Half of the empty line, or nothing.
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

/// The end of the logical line that contains `from`, and the start of the next one.
///
/// `None` if the text ends before a byte shows that no continuation follows (RFC 3261 7.3.1: a line
/// that starts with a blank continues the one before).
#[inline]
pub(super) fn logical_end(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let newline = from + find_byte(text.get(from..)?, b'\n')?;
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
    let newline = find_byte(text, b'\n')?;
    let line = &text[..newline];
    Some((line.strip_suffix(b"\r").unwrap_or(line), newline + 1))
}

/// Number of bytes of line breaks before the first line (RFC 3261 7.5: ignore them).
#[inline]
pub(super) fn leading_breaks(text: &[u8]) -> usize {
    text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(text.len())
}

/// The value of the first header `id` of a message that may be broken.
///
/// This serves a message that has no index; nothing behind the header is read.
pub fn first_value(message: &[u8], id: HeaderId) -> Option<&[u8]> {
    let (_, headers_at) = first_line(message)?;
    let line = lenient(message, headers_at).find(|line| line.id == id)?;
    message.get(line.value_start..line.value_end)
}

/// The headers of a message that may be broken; lines that are no headers are skipped.
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
