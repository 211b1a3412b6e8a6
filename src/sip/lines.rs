//! Cuts a header section into logical lines: one header each, folded continuations included.
//!
//! Knows names, colons, folds and the empty line at the end; not what any header means. Index,
//! stream framing and error answers all walk headers through here, so they cannot disagree about
//! where one ends.
//!
//! A bare LF ends a line as CRLF does. RFC 3261 25 asks for CRLF, but deployed equipment sends
//! LF, and no valid message has a bare LF in its headers that could be misread.

use memchr::memchr;

use super::ParseError;
use super::text::{is_lws, is_token_byte};

/// One header: offsets into the text that was walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
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
    let name_len = match rest.iter().position(|byte| !is_token_byte(*byte)) {
        Some(0) => return not_a_header(rest, at),
        Some(len) => len,
        None => return Err(ParseError::HeadersUnterminated),
    };
    let mut colon = name_len;
    while matches!(rest.get(colon), Some(b' ' | b'\t')) {
        colon += 1;
    }
    match rest.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(ParseError::BadHeaderLine),
        None => return Err(ParseError::HeadersUnterminated),
    }
    let (end, next) = logical_end(text, at + colon + 1).ok_or(ParseError::HeadersUnterminated)?;
    let mut value_start = at + colon + 1;
    while value_start < end && is_lws(text[value_start]) {
        value_start += 1;
    }
    let mut value_end = end;
    while value_end > value_start && is_lws(text[value_end - 1]) {
        value_end -= 1;
    }
    Ok(Step::Header(Line { start: at, name_end: at + name_len, value_start, value_end, end, next }))
}

#[cold]
fn bad_line(rest: &[u8]) -> ParseError {
    // A lone CR at the very end may be half of the empty line.
    if matches!(rest, [] | [b'\r']) {
        ParseError::HeadersUnterminated
    } else {
        ParseError::BadHeaderLine
    }
}

#[inline]
fn not_a_header(rest: &[u8], at: usize) -> Result<Step, ParseError> {
    match rest {
        [b'\r', b'\n', ..] => Ok(Step::End(at + 2)),
        [b'\n', ..] => Ok(Step::End(at + 1)),
        _ => Err(bad_line(rest)),
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
