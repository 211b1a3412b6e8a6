//! Cuts a byte stream (TCP, TLS) into SIP messages.
//!
//! Knows the empty line, Content-Length and two limits; it holds no bytes, only how far it has
//! looked, so a message that dribbles in is scanned once.

use memchr::memchr;

use super::index::note_content_length;
use super::{HeaderId, ParseError, lines};

/// How much of a stream one message may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// First line and headers, the empty line included.
    pub header_bytes_max: usize,
    /// The whole message.
    pub message_bytes_max: usize,
}

impl Default for FrameLimits {
    /// Sixteen bits of headers, which is what a header index can hold, and 256 KiB in all.
    fn default() -> Self {
        Self { header_bytes_max: 65_535, message_bytes_max: 262_144 }
    }
}

/// What stands at the front of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A message of `len` bytes.
    Complete {
        /// Bytes to give to [`HeaderIndex::parse`](super::HeaderIndex::parse) and then to drop.
        len: usize,
    },
    /// At least this many more bytes are needed.
    Need(usize),
    /// Line breaks between messages (RFC 5626 3.5.1): drop `len` bytes. Four are a ping, which
    /// wants CRLF back; two are a pong. A ping that arrives in two pieces looks like two pongs.
    Keepalive {
        /// Bytes to drop.
        len: usize,
    },
    /// The next message's end cannot be found; the connection is of no further use.
    Error(ParseError),
}

/// Finds message after message at the front of a growing buffer.
///
/// Call [`frame`](Self::frame) with everything that has arrived and was not dropped yet. After
/// [`Framing::Complete`] or [`Framing::Keepalive`], drop that many bytes and call it again.
#[derive(Clone, Debug, Default)]
pub struct StreamFramer {
    limits: FrameLimits,
    /// Bytes in which no empty line starts.
    scanned: usize,
    /// Header and message length, once the empty line was seen.
    message_len: Option<usize>,
}

impl StreamFramer {
    /// A framer at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, scanned: 0, message_len: None }
    }

    /// Looks at the front of `buffered`, which starts where the last message or keepalive ended.
    pub fn frame(&mut self, buffered: &[u8]) -> Framing {
        let framing = self.look(buffered);
        if !matches!(framing, Framing::Need(_)) {
            self.scanned = 0;
            self.message_len = None;
        }
        framing
    }

    fn look(&mut self, buffered: &[u8]) -> Framing {
        let message_len = match self.message_len {
            Some(len) => len,
            None => match self.find_end(buffered) {
                Ok(len) => len,
                Err(framing) => return framing,
            },
        };
        self.message_len = Some(message_len);
        match message_len.checked_sub(buffered.len()) {
            None | Some(0) => Framing::Complete { len: message_len },
            Some(missing) => Framing::Need(missing),
        }
    }

    /// The message's length, or what to tell the caller instead.
    fn find_end(&mut self, buffered: &[u8]) -> Result<usize, Framing> {
        match buffered {
            [] | [b'\r'] => return Err(Framing::Need(1)),
            [b'\r', b'\n', b'\r', b'\n', ..] => return Err(Framing::Keepalive { len: 4 }),
            [b'\r', b'\n', ..] => return Err(Framing::Keepalive { len: 2 }),
            [b'\r' | b'\n', ..] => return Err(Framing::Keepalive { len: 1 }),
            _ => {}
        }
        let limit = self.limits.header_bytes_max;
        let Some(body) = self.find_empty_line(buffered) else {
            return Err(match buffered.len() < limit {
                true => Framing::Need(1),
                false => Framing::Error(ParseError::HeadersTooLong),
            });
        };
        if body > limit {
            return Err(Framing::Error(ParseError::HeadersTooLong));
        }
        let body_len = content_length(&buffered[..body]).map_err(Framing::Error)?;
        let len = body.saturating_add(body_len);
        if len > self.limits.message_bytes_max {
            return Err(Framing::Error(ParseError::MessageTooLong));
        }
        Ok(len)
    }

    /// The offset after the empty line, if it has arrived.
    fn find_empty_line(&mut self, buffered: &[u8]) -> Option<usize> {
        loop {
            let Some(ahead) = memchr(b'\n', buffered.get(self.scanned..)?) else {
                self.scanned = buffered.len();
                return None;
            };
            let newline = self.scanned + ahead;
            match buffered.get(newline + 1..).unwrap_or_default() {
                [b'\r', b'\n', ..] => return Some(newline + 3),
                [b'\n', ..] => return Some(newline + 2),
                // Too early to tell: look at this line break again.
                [] | [b'\r'] => {
                    self.scanned = newline;
                    return None;
                }
                _ => self.scanned = newline + 1,
            }
        }
    }
}

/// Content-Length of a header section. Broken lines are stepped over: the message can still be
/// framed, and its parser will say what is wrong with it.
fn content_length(head: &[u8]) -> Result<usize, ParseError> {
    let (_, second) = lines::first_line(head).ok_or(ParseError::BadStartLine)?;
    let mut known = None;
    for line in lines::lenient(head, second) {
        if line.id == HeaderId::ContentLength {
            note_content_length(&mut known, &head[line.value_start..line.value_end])?;
        }
    }
    known.ok_or(ParseError::MissingContentLength)
}
