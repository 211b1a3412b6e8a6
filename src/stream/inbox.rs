//! Conversion of a byte stream to SIP messages (RFC 3261 section 18.3, RFC 5626 section 3.5.1).

use super::buffer::Buffer;
use crate::sip::{FrameLimits, Framing, ParseError, StreamFramer};

/// Received bytes of one stream, with the framer that cuts them into messages.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Buffer,
    framer: StreamFramer,
    limits: FrameLimits,
}

/// The kinds of data at the front of an inbox.
pub(super) enum Front {
    /// A whole message; [`Inbox::last`] has it.
    Message,
    /// A keep-alive that must be answered with CRLF.
    Ping,
    /// The CRLF that answers a keep-alive, or one between messages.
    Pong,
    /// No whole message or keep-alive.
    Nothing,
}

impl Inbox {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self { buffer: Buffer::default(), framer: StreamFramer::new(limits), limits }
    }

    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.buffer.tail()
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.framer = StreamFramer::new(self.limits);
    }

    /// Tells whether a message has begun to arrive.
    pub(super) fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The message that was taken last.
    pub(super) fn last(&self) -> &[u8] {
        self.buffer.taken()
    }

    /// Takes the data at the front.
    pub(super) fn next(&mut self) -> Result<Front, ParseError> {
        if self.buffer.is_empty() {
            return Ok(Front::Nothing);
        }
        match self.framer.frame(self.buffer.as_slice()) {
            Framing::Complete { len } => {
                self.buffer.take(len);
                Ok(Front::Message)
            }
            Framing::Keepalive { len } => {
                self.buffer.take(len);
                Ok(if len == 4 { Front::Ping } else { Front::Pong })
            }
            Framing::Need(_) => Ok(Front::Nothing),
            Framing::Error(error) => Err(error),
        }
    }
}
