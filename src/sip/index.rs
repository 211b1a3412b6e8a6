//! Tier 1: one pass over a message that finds the first line, every header and the body.
//!
//! Knows the framing rules of datagrams (RFC 3261 18.3). It gives no header but Content-Length a
//! meaning, allocates nothing, and its work grows with the header section and nothing else.

use super::lines::{self, Step};
use super::message::Message;
use super::text::decimal;
use super::{HeaderId, ParseError, start_line};

/// How many header lines a message may have.
///
/// Real messages stay under 40. The limit keeps the index under two kilobytes and bounds what one
/// hostile datagram can ask of every later look-up.
pub const MAX_HEADERS: usize = 128;

/// Where one header is, relative to the message's first byte.
///
/// Sixteen bits are enough for any datagram; a longer header section is refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u16,
    pub(super) name_end: u16,
    pub(super) value_start: u16,
    pub(super) value_end: u16,
    pub(super) end: u16,
}

/// Reusable storage for one message's header index; a worker needs one.
#[derive(Clone, Debug)]
pub struct HeaderIndex {
    // Apart from the spans so that looking for a header reads one or two cache lines.
    ids: [HeaderId; MAX_HEADERS],
    spans: [Span; MAX_HEADERS],
}

impl Default for HeaderIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderIndex {
    /// An empty index.
    pub const fn new() -> Self {
        const NOWHERE: Span = Span { start: 0, name_end: 0, value_start: 0, value_end: 0, end: 0 };
        Self { ids: [HeaderId::Other; MAX_HEADERS], spans: [NOWHERE; MAX_HEADERS] }
    }

    /// Indexes the message in `bytes`: a datagram, or a frame that a
    /// [`StreamFramer`](super::StreamFramer) has cut.
    ///
    /// The body ends where Content-Length says and what follows is ignored; without that header it
    /// ends where `bytes` does (RFC 3261 18.3).
    pub fn parse<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, ParseError> {
        let bytes = &bytes[lines::leading_breaks(bytes)..];
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let (first, mut at) = lines::first_line(bytes).ok_or(ParseError::HeadersUnterminated)?;
        let kind = start_line::parse(first)?;
        let mut count = 0;
        let mut content_length = None;
        let body = loop {
            let line = match lines::step(bytes, at)? {
                Step::Header(line) => line,
                Step::End(body) => break body,
            };
            at = line.next;
            if at > usize::from(u16::MAX) {
                return Err(ParseError::HeadersTooLong);
            }
            let (Some(id_slot), Some(span_slot)) =
                (self.ids.get_mut(count), self.spans.get_mut(count))
            else {
                return Err(ParseError::TooManyHeaders);
            };
            if line.id == HeaderId::ContentLength {
                let value = &bytes[line.value_start..line.value_end];
                note_content_length(&mut content_length, value)?;
            }
            *id_slot = line.id;
            // None of these exceeds `at`, which was just checked.
            *span_slot = Span {
                start: line.start as u16,
                name_end: line.name_end as u16,
                value_start: line.value_start as u16,
                value_end: line.value_end as u16,
                end: line.end as u16,
            };
            count += 1;
        };
        let end = match content_length {
            None => bytes.len(),
            Some(length) if length <= bytes.len() - body => body + length,
            Some(_) => return Err(ParseError::BodyTooShort),
        };
        Ok(Message::new(&bytes[..end], kind, &self.ids[..count], &self.spans[..count], body))
    }
}

/// Takes one Content-Length value; a repetition must agree, or the end of the message is in doubt
/// (RFC 4475 3.3.9).
pub(super) fn note_content_length(
    known: &mut Option<usize>,
    value: &[u8],
) -> Result<(), ParseError> {
    let length = decimal(value).ok_or(ParseError::BadContentLength)? as usize;
    match known.replace(length) {
        Some(earlier) if earlier != length => Err(ParseError::ConflictingContentLength),
        _ => Ok(()),
    }
}
