//! SIP over WebSocket (RFC 7118): one message in one text or binary frame, on buffers in memory.

use std::io::{self, Read, Write};

use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::server::{ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::buffer::Buffer;
use super::http;

/// Bytes from and to the peer, with the interface of a socket.
#[derive(Debug, Default)]
struct Pipe {
    input: Buffer,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.len().min(self.input.len());
        room[..len].copy_from_slice(self.input.take(len));
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Admit = fn(&Request, Response) -> Result<Response, ErrorResponse>;

enum State {
    Client(MidHandshake<ClientHandshake<Pipe>>),
    Server(MidHandshake<ServerHandshake<Pipe, Admit>>),
    Open(WebSocket<Pipe>),
    /// A failure ended the session; the output is left to write.
    Over(Vec<u8>),
}

/// One WebSocket.
pub(super) struct WsSession {
    state: State,
    /// Received bytes of the handshake, until its head is complete: tungstenite takes a head in
    /// many small pieces for an attack.
    head: Buffer,
    /// The last message handed out.
    current: Bytes,
    /// True if bytes have arrived since the last whole frame.
    begun: bool,
}

/// The kinds of data that a WebSocket has received.
pub(super) enum Received<'a> {
    /// A SIP message.
    Message(&'a [u8]),
    /// The peer's closing handshake, which is answered.
    Closed,
    /// No whole frame.
    Nothing,
}

impl WsSession {
    /// A client's session; `None` if a URI cannot contain `authority`.
    pub(super) fn client(
        authority: &str,
        is_secure: bool,
        message_bytes_max: usize,
    ) -> Option<Self> {
        let config = config(message_bytes_max);
        let request = http::upgrade(authority, is_secure)?;
        let mid = ClientHandshake::start(Pipe::default(), request, Some(config)).ok()?;
        Some(Self::new(State::Client(mid)))
    }

    pub(super) fn server(message_bytes_max: usize) -> Self {
        let config = config(message_bytes_max);
        let admit: Admit = http::admit;
        let mid = ServerHandshake::start(Pipe::default(), admit, Some(config));
        Self::new(State::Server(mid))
    }

    fn new(state: State) -> Self {
        Self { state, head: Buffer::default(), current: Bytes::new(), begun: false }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Tells whether a frame has begun to arrive and is not whole.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Goes on with the handshake as far as it can: a client's request, a server's answer.
    pub(super) fn advance(&mut self) -> Result<(), String> {
        let state = std::mem::replace(&mut self.state, State::Over(Vec::new()));
        let (state, result) = match state {
            State::Client(mid) => match mid.handshake() {
                Ok((socket, _)) => (State::Open(socket), Ok(())),
                Err(HandshakeError::Interrupted(mid)) => (State::Client(mid), Ok(())),
                Err(HandshakeError::Failure(error)) => (State::Over(Vec::new()), Err(text(&error))),
            },
            State::Server(mid) => match mid.handshake() {
                Ok(socket) => (State::Open(socket), Ok(())),
                Err(HandshakeError::Interrupted(mid)) => (State::Server(mid), Ok(())),
                Err(HandshakeError::Failure(error)) => {
                    (State::Over(refusal(&error)), Err(text(&error)))
                }
            },
            other => (other, Ok(())),
        };
        self.state = state;
        result
    }

    /// Takes bytes of the peer.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let State::Open(socket) = &mut self.state {
            socket.get_mut().input.push(bytes);
            self.begun = true;
            return Ok(());
        }
        self.head.push(bytes);
        let Some(end) = http::head_end(self.head.as_slice()) else {
            if self.head.len() > http::HEAD_BYTES_MAX {
                return Err("the head of the handshake is too long".to_owned());
            }
            return Ok(());
        };
        let head = self.head.take(end);
        match &mut self.state {
            State::Client(mid) => mid.get_mut().get_mut().input.push(head),
            State::Server(mid) => mid.get_mut().get_mut().input.push(head),
            State::Open(_) | State::Over(_) => {}
        }
        self.advance()?;
        if let State::Open(socket) = &mut self.state
            && !self.head.is_empty()
        {
            // Frames may follow the handshake at once.
            let rest = self.head.len();
            socket.get_mut().input.push(self.head.take(rest));
            self.begun = true;
        }
        Ok(())
    }

    /// The next message.
    pub(super) fn next(&mut self) -> Result<Received<'_>, String> {
        let State::Open(socket) = &mut self.state else { return Ok(Received::Nothing) };
        loop {
            match socket.read() {
                Ok(Message::Text(message)) => self.current = message.into(),
                Ok(Message::Binary(message)) => self.current = message,
                // tungstenite has answered those that need an answer.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                    self.begun = false;
                    continue;
                }
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    // This writes the answer to the closing handshake.
                    let _ = socket.flush();
                    return Ok(Received::Closed);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // This writes the pongs.
                    let _ = socket.flush();
                    return Ok(Received::Nothing);
                }
                Err(error) => return Err(text(&error)),
            }
            self.begun = false;
            return Ok(Received::Message(&self.current));
        }
    }

    /// The message that came last.
    pub(super) fn last(&self) -> &[u8] {
        &self.current
    }

    /// Frames a message.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), String> {
        let State::Open(socket) = &mut self.state else {
            return Err("the WebSocket is not open".to_owned());
        };
        // RFC 7118 section 5: text, unless the message is not UTF-8.
        let message = match std::str::from_utf8(message) {
            Ok(text) => Message::text(text),
            Err(_) => Message::binary(message.to_vec()),
        };
        socket.send(message).map_err(|error| text(&error))
    }

    /// Begins the closing handshake.
    pub(super) fn close(&mut self) {
        if let State::Open(socket) = &mut self.state {
            // A socket that is already closing returns an error.
            let _ = socket.close(None);
            let _ = socket.flush();
        }
    }

    /// The output, which the caller takes away.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.state {
            State::Client(mid) => &mut mid.get_mut().get_mut().output,
            State::Server(mid) => &mut mid.get_mut().get_mut().output,
            State::Open(socket) => &mut socket.get_mut().output,
            State::Over(output) => output,
        }
    }
}

fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        // There may be thousands of connections, each with one message at a time.
        .read_buffer_size(4096)
        // Every frame leaves at once.
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

fn text(error: &Error) -> String {
    error.to_string()
}

/// The answer that a server which refuses a handshake still has to write.
fn refusal(error: &Error) -> Vec<u8> {
    let Error::Http(response) = error else { return Vec::new() };
    let mut bytes = Vec::new();
    // The write goes to memory; a head that cannot be written is not sent.
    let _ = tungstenite::handshake::server::write_response(&mut bytes, response);
    if let Some(body) = response.body() {
        bytes.extend_from_slice(body);
    }
    bytes
}
