//! Cuts a byte stream (TCP, TLS) into SIP messages.
//!
//! Knows the empty line, Content-Length and two limits. It holds no bytes, only the number of bytes
//! that it has searched, so a message that dribbles in is scanned once.

use memchr::memchr;

use super::index::note_content_length;
use super::{HeaderId, ParseError, lines};

/// The most bytes of a stream that one message may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// First line and headers, with the empty line.
    pub header_bytes_max: usize,
    /// The whole message.
    pub message_bytes_max: usize,
}

impl Default for FrameLimits {
    /// Headers of as many bytes as a header index can hold (16 bits), and 256 KiB in all.
    fn default() -> Self {
        Self { header_bytes_max: 65_535, message_bytes_max: 262_144 }
    }
}

/// The kinds of data at the front of the stream.
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
    /// The end of the next message cannot be found; the connection is of no further use.
    Error(ParseError),
}

/// Finds message after message at the front of a growing buffer.
///
/// Call [`frame`](Self::frame) with everything that has arrived and was not dropped yet. After
/// [`Framing::Complete`] or [`Framing::Keepalive`], drop that many bytes and call it again.
#[derive(Clone, Debug, Default)]
pub struct StreamFramer {
    limits: FrameLimits,
    /// Number of bytes in which no empty line starts.
    scanned: usize,
    /// Length of header and message, once the empty line was found.
    message_len: Option<usize>,
}

impl StreamFramer {
    /// A framer at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, scanned: 0, message_len: None }
    }

    /// Looks at the front of `buffered`, which starts behind the last message or keepalive.
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

    /// Returns the message's length, or another result for the caller.
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

/// The Content-Length of a header section. Broken lines are skipped: the message can still be
/// framed, and its parser will report the defect.
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nl : 5\r\nX:\r\n y\r\n\r\nab\r\nc";
    const SECOND: &[u8] = b"SIP/2.0 200 OK\r\nnot a header\r\nContent-Length: 0\r\n\r\n";

    /// Feeds `stream` in pieces of `step` bytes and returns the messages that come out.
    fn messages(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut framer = StreamFramer::default();
        let (mut buffered, mut found) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffered.extend_from_slice(piece);
            loop {
                match framer.frame(&buffered) {
                    Framing::Complete { len } => found.push(buffered.drain(..len).collect()),
                    Framing::Keepalive { len } => drop(buffered.drain(..len)),
                    Framing::Need(_) => break,
                    Framing::Error(error) => panic!("{error}"),
                }
            }
        }
        assert_eq!(buffered, b"", "everything is framed");
        found
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let stream = [FIRST, b"\r\n\r\n", SECOND, b"\r\n", FIRST].concat();
        for step in 1..=stream.len() {
            assert_eq!(messages(&stream, step), [FIRST, SECOND, FIRST], "pieces of {step}");
        }
    }

    #[test]
    fn the_need_is_exact_once_the_headers_are_there() {
        let mut framer = StreamFramer::default();
        assert_eq!(framer.frame(&FIRST[..FIRST.len() - 4]), Framing::Need(4));
        assert_eq!(framer.frame(&FIRST[..FIRST.len() - 1]), Framing::Need(1));
        assert_eq!(framer.frame(FIRST), Framing::Complete { len: FIRST.len() });
    }

    #[test]
    fn pings_and_pongs_are_told_apart() {
        let frame = |bytes| StreamFramer::default().frame(bytes);
        assert_eq!(frame(b"\r\n\r\nBYE"), Framing::Keepalive { len: 4 });
        assert_eq!(frame(b"\r\n"), Framing::Keepalive { len: 2 });
        assert_eq!(frame(b"\r\nBYE"), Framing::Keepalive { len: 2 });
        assert_eq!(frame(b"\nBYE"), Framing::Keepalive { len: 1 });
        assert_eq!(frame(b"\r"), Framing::Need(1));
        assert_eq!(frame(b""), Framing::Need(1));
    }

    #[test]
    fn streams_without_a_usable_length_end() {
        for (headers, error) in [
            ("", ParseError::MissingContentLength),
            ("X: 5\r\n", ParseError::MissingContentLength),
            ("l: five\r\n", ParseError::BadContentLength),
            ("l: 5\r\nl: 6\r\n", ParseError::ConflictingContentLength),
        ] {
            let text = format!("BYE sip:a@b SIP/2.0\r\n{headers}\r\n");
            assert_eq!(StreamFramer::default().frame(text.as_bytes()), Framing::Error(error));
        }
    }

    #[test]
    fn limits_hold_before_and_after_the_empty_line() {
        let limits = FrameLimits { header_bytes_max: 40, message_bytes_max: 60 };
        let frame = |text: &str| StreamFramer::new(limits).frame(text.as_bytes());
        let too_long = Framing::Error(ParseError::HeadersTooLong);
        assert_eq!(frame(&"x".repeat(39)), Framing::Need(1));
        assert_eq!(frame(&"x".repeat(40)), too_long);
        assert_eq!(frame("BYE sip:a@b SIP/2.0\r\nl: 0\r\nX: 3456789\r\n\r\n"), too_long);
        let message_too_long = Framing::Error(ParseError::MessageTooLong);
        assert_eq!(frame("BYE sip:a@b SIP/2.0\r\nl: 32\r\n\r\n"), message_too_long);
        assert_eq!(frame("BYE sip:a@b SIP/2.0\r\nl: 4294967295\r\n\r\n"), message_too_long);
        assert_eq!(frame("BYE sip:a@b SIP/2.0\r\nl: 9\r\n\r\n"), Framing::Need(9));
    }
}
