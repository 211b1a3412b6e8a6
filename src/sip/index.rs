//! Tier 1: one pass over a message that finds the first line, every header and the body.
//!
//! Knows the framing rules of datagrams (RFC 3261 18.3). It gives no header but Content-Length a
//! meaning. It allocates at most once, for its first long message. Its work grows with the header
//! section alone.

use super::lines::{self, Step};
use super::message::{Kind, Message};
use super::text::decimal;
use super::{HeaderId, ParseError, start_line};

/// Most header lines that a message may have: a thousand, and some for those that every message
/// has.
///
/// The limit bounds the cost of every later look-up in a hostile datagram.
pub const MAX_HEADERS: usize = 1024;

/// Number of header lines that the index itself holds. Real messages stay under 40, and this keeps
/// the index under two kilobytes.
const INLINE_HEADERS: usize = 128;

/// The place of one header, relative to the message's first byte.
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

/// Places of up to `N` header lines.
#[derive(Clone, Debug)]
struct Places<const N: usize> {
    // Apart from the spans, so that a search for a header reads one or two cache lines.
    ids: [HeaderId; N],
    spans: [Span; N],
}

impl<const N: usize> Places<N> {
    const fn new() -> Self {
        const NOWHERE: Span = Span { start: 0, name_end: 0, value_start: 0, value_end: 0, end: 0 };
        Self { ids: [HeaderId::Other; N], spans: [NOWHERE; N] }
    }
}

/// Reusable storage for one message's header index; a worker needs one.
#[derive(Clone, Debug)]
pub struct HeaderIndex {
    places: Places<INLINE_HEADERS>,
    /// Room for a message with more lines, allocated for the first one and kept.
    many: Option<Box<Places<MAX_HEADERS>>>,
}

impl Default for HeaderIndex {
    fn default() -> Self {
        Self::new()
    }
}

/// Progress of reading a header section.
#[derive(Clone, Copy)]
struct Progress {
    /// Start of the next line.
    at: usize,
    /// Lines read.
    count: usize,
    content_length: Option<usize>,
}

impl HeaderIndex {
    /// An empty index.
    pub const fn new() -> Self {
        Self { places: Places::new(), many: None }
    }

    /// Indexes the message in `bytes`: a datagram, or a frame that a
    /// [`StreamFramer`](super::StreamFramer) has cut.
    ///
    /// The body ends where Content-Length says, and bytes behind it are ignored. Without that
    /// header it ends where `bytes` does (RFC 3261 18.3).
    pub fn parse<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, ParseError> {
        let bytes = &bytes[lines::leading_breaks(bytes)..];
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let (first, at) = lines::first_line(bytes).ok_or(ParseError::HeadersUnterminated)?;
        let kind = start_line::parse(first)?;
        let mut progress = Progress { at, count: 0, content_length: None };
        match read_lines(bytes, &mut progress, &mut self.places)? {
            Some(body) => self.places.message(bytes, kind, progress, body),
            None => self.parse_many(bytes, kind, progress),
        }
    }

    /// Goes on with a message that has more lines than the index itself holds.
    #[cold]
    fn parse_many<'m>(
        &'m mut self,
        bytes: &'m [u8],
        kind: Kind<'m>,
        mut progress: Progress,
    ) -> Result<Message<'m>, ParseError> {
        let many = self.many.get_or_insert_with(|| Box::new(Places::new()));
        many.ids[..INLINE_HEADERS].copy_from_slice(&self.places.ids);
        many.spans[..INLINE_HEADERS].copy_from_slice(&self.places.spans);
        match read_lines(bytes, &mut progress, many)? {
            Some(body) => many.message(bytes, kind, progress, body),
            None => Err(ParseError::TooManyHeaders),
        }
    }
}

impl<const N: usize> Places<N> {
    /// The message whose lines were read, once it is known to be complete.
    #[inline]
    fn message<'m>(
        &'m self,
        bytes: &'m [u8],
        kind: Kind<'m>,
        Progress { count, content_length, .. }: Progress,
        body: usize,
    ) -> Result<Message<'m>, ParseError> {
        let end = match content_length {
            None => bytes.len(),
            Some(length) if length <= bytes.len() - body => body + length,
            Some(_) => return Err(ParseError::BodyTooShort),
        };
        Ok(Message::new(&bytes[..end], kind, &self.ids[..count], &self.spans[..count], body))
    }
}

/// Reads header lines into `places`, from the state of `progress` on. Returns the start of the
/// body. Returns `None` if there are more lines than places; the line at `progress.at` is then the
/// first of the rest.
#[inline]
fn read_lines<const N: usize>(
    bytes: &[u8],
    progress: &mut Progress,
    places: &mut Places<N>,
) -> Result<Option<usize>, ParseError> {
    let Progress { mut at, mut count, mut content_length } = *progress;
    let body = loop {
        let line = match lines::step(bytes, at)? {
            Step::Header(line) => line,
            Step::End(body) => break Some(body),
        };
        if line.next > usize::from(u16::MAX) {
            return Err(ParseError::HeadersTooLong);
        }
        let (Some(id_slot), Some(span_slot)) =
            (places.ids.get_mut(count), places.spans.get_mut(count))
        else {
            break None;
        };
        at = line.next;
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
    *progress = Progress { at, count, content_length };
    Ok(body)
}

/// Takes one Content-Length value. A repetition must agree, since the end of the message would be
/// in doubt otherwise (RFC 4475 3.3.9).
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
