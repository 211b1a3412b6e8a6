//! One connection: its layers, and the bytes that wait between them.

use rustls::pki_types::ServerName;

use super::buffer::Buffer;
use super::inbox::{Front, Inbox};
use super::tls::TlsSession;
use super::websocket::{Received, WsSession};
use super::{Congested, Limits, SessionFailure, TlsConfig};

/// The side that began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We began it.
    Client,
    /// The peer began it.
    Server,
}

/// The settings from which sessions are made.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    tls: Option<TlsConfig>,
    websocket: bool,
    limits: Limits,
    /// The server's name for TLS.
    name: Option<ServerName<'static>>,
    /// The server's `host:port` for HTTP.
    authority: String,
}

/// The reason why no sessions can be made with these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionConfigError {
    /// TLS cannot use the server's name.
    #[error("TLS needs a host name or an address; {0} is neither")]
    Name(String),
    /// The URI of a WebSocket cannot contain the server's name.
    #[error("{0} cannot be used in the URI of a WebSocket")]
    Authority(String),
}

impl SessionConfig {
    /// Settings of sessions over `tls` if given, and with WebSocket framing if `websocket` is true.
    pub fn new(tls: Option<TlsConfig>, websocket: bool, limits: Limits) -> Self {
        Self { tls, websocket, limits, name: None, authority: String::new() }
    }

    /// Names the server that a client connects to.
    ///
    /// # Errors
    /// The layers cannot use the name `host`.
    pub fn with_server(mut self, host: &str, port: u16) -> Result<Self, SessionConfigError> {
        if self.tls.is_some() {
            let name = super::server_name(host);
            self.name = Some(name.ok_or_else(|| SessionConfigError::Name(host.to_owned()))?);
        }
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
        self.authority = format!("{host}:{port}");
        if self.websocket && super::http::upgrade(&self.authority, false).is_none() {
            return Err(SessionConfigError::Authority(self.authority));
        }
        Ok(self)
    }

    /// The limits of each session.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Tells whether the session is plain TCP, without TLS and WebSocket.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && !self.websocket
    }
}

/// A handshake that has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shake {
    /// True if an earlier TLS session was resumed.
    pub resumed: bool,
}

/// The layers above TCP of one connection.
pub struct Session {
    tls: Option<Box<TlsSession>>,
    websocket: Option<Box<WsSession>>,
    inbox: Inbox,
    limits: Limits,
    /// Messages that wait for the handshake to end: each as its length in four bytes, then its
    /// bytes.
    waiting: Buffer,
    /// Bytes to write.
    output: Buffer,
    plain: Vec<u8>,
    open: bool,
    shake: Option<Shake>,
    failed: Option<SessionFailure>,
    /// Time at which the peer began the handshake or message that is not complete yet.
    begun_ns: Option<u64>,
    /// Keep-alives received.
    keepalives: u32,
}

impl Session {
    /// A session that begins at `now_ns`; times are on the caller's monotonic clock.
    ///
    /// # Errors
    /// The configuration lacks what the role needs.
    pub fn new(config: &SessionConfig, role: Role, now_ns: u64) -> Result<Self, SessionFailure> {
        let mut session = Self {
            tls: None,
            websocket: None,
            inbox: Inbox::new(config.limits.frame),
            limits: config.limits,
            waiting: Buffer::default(),
            output: Buffer::default(),
            plain: Vec::new(),
            open: false,
            shake: None,
            failed: None,
            begun_ns: None,
            keepalives: 0,
        };
        session.begin(config, role, now_ns)?;
        Ok(session)
    }

    /// Turns an ended session into a new one. Its buffers are used again.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn begin(
        &mut self,
        config: &SessionConfig,
        role: Role,
        now_ns: u64,
    ) -> Result<(), SessionFailure> {
        let lacking = |what: &str| SessionFailure::Tls(format!("no configuration for {what}"));
        self.tls = match (&config.tls, role) {
            (None, _) => None,
            (Some(tls), Role::Client) => {
                let config_of = tls.client.as_ref().ok_or_else(|| lacking("a client"))?;
                let name = config.name.clone().ok_or_else(|| lacking("the server's name"))?;
                Some(TlsSession::client(config_of, name))
            }
            (Some(tls), Role::Server) => {
                let config_of = tls.server.as_ref().ok_or_else(|| lacking("a server"))?;
                Some(TlsSession::server(config_of))
            }
        }
        .transpose()
        .map_err(|error| SessionFailure::Tls(error.to_string()))?
        .map(Box::new);
        let message_bytes_max = config.limits.frame.message_bytes_max;
        self.websocket = match (config.websocket, role) {
            (false, _) => None,
            (true, Role::Client) => {
                let client =
                    WsSession::client(&config.authority, config.tls.is_some(), message_bytes_max);
                Some(client.ok_or_else(|| SessionFailure::WebSocket("no server name".to_owned()))?)
            }
            (true, Role::Server) => Some(WsSession::server(message_bytes_max)),
        }
        .map(Box::new);
        self.limits = config.limits;
        self.inbox.clear();
        self.waiting.clear();
        self.output.clear();
        self.plain.clear();
        self.failed = None;
        self.shake = None;
        self.keepalives = 0;
        self.open = config.is_plain();
        self.begun_ns = (!self.open).then_some(now_ns);
        Ok(())
    }

    /// Takes note that the connection is up: a client begins the handshake.
    pub fn connected(&mut self) {
        self.proceed();
    }

    /// Tells whether messages go out without waiting for a handshake.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Tells whether a message may be written unchanged, without passing through this session.
    pub fn is_transparent(&self) -> bool {
        self.open && self.tls.is_none() && self.websocket.is_none() && self.output.is_empty()
    }

    /// Takes bytes of the peer. The messages in them come from [`take_next`](Self::take_next).
    pub fn receive(&mut self, bytes: &[u8], now_ns: u64) {
        if self.failed.is_some() {
            return;
        }
        if let Err(failure) = self.take(bytes) {
            self.failed = Some(failure);
        }
        self.proceed();
        if self.open && self.begun_ns.is_none() {
            self.begun_ns = Some(now_ns);
        }
        // A client of TLS 1.3 is done before the server has checked the client's certificate.
        if matches!(self.failed, Some(SessionFailure::Refused(_) | SessionFailure::Demanded)) {
            self.open = false;
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), SessionFailure> {
        let websocket = |text| SessionFailure::WebSocket(text);
        match (&mut self.tls, &mut self.websocket) {
            (None, None) => self.inbox.tail().extend_from_slice(bytes),
            (None, Some(frames)) => frames.receive(bytes).map_err(websocket)?,
            (Some(tls), None) => {
                if tls.receive(bytes, self.inbox.tail())? {
                    return Err(SessionFailure::Ended);
                }
            }
            (Some(tls), Some(frames)) => {
                self.plain.clear();
                let closed = tls.receive(bytes, &mut self.plain)?;
                if tls.is_open() {
                    frames.receive(&self.plain).map_err(websocket)?;
                }
                if closed {
                    return Err(SessionFailure::Ended);
                }
            }
        }
        Ok(())
    }

    /// The next message of the peer, or the reason why no more will come. Call it until it returns
    /// `None`.
    pub fn take_next(&mut self) -> Option<Result<&[u8], SessionFailure>> {
        // Messages that came before a failure are still good.
        if self.websocket.is_some() {
            return self.next_frame();
        }
        loop {
            match self.inbox.next() {
                Ok(Front::Ping) => {
                    self.keepalives += 1;
                    self.write(b"\r\n");
                }
                Ok(Front::Pong) => self.keepalives += 1,
                Ok(Front::Nothing) => return self.idle(),
                Ok(Front::Message) => break,
                Err(error) => return Some(Err(SessionFailure::Framing(error))),
            }
        }
        self.begun_ns = None;
        Some(Ok(self.inbox.last()))
    }

    fn next_frame(&mut self) -> Option<Result<&[u8], SessionFailure>> {
        loop {
            let Some(frames) = &mut self.websocket else { return None };
            let is_blank = match frames.next() {
                Ok(Received::Message(message)) => message.trim_ascii().is_empty(),
                Ok(Received::Closed) => {
                    self.flush_frames();
                    return Some(Err(SessionFailure::Ended));
                }
                Ok(Received::Nothing) => {
                    self.flush_frames();
                    return self.idle();
                }
                Err(text) => return Some(Err(SessionFailure::WebSocket(text))),
            };
            self.begun_ns = None;
            if !is_blank {
                break;
            }
            // RFC 7118 section 6: a frame of CRLF keeps the connection alive.
            self.keepalives += 1;
        }
        self.websocket.as_ref().map(|frames| Ok(frames.last()))
    }

    /// Ends a round of messages: no whole one is left.
    fn idle(&mut self) -> Option<Result<&[u8], SessionFailure>> {
        if let Some(failure) = self.failed.take() {
            return Some(Err(failure));
        }
        let has_begun = match &self.websocket {
            Some(frames) => frames.has_begun(),
            None => self.inbox.has_begun(),
        };
        if self.open && !has_begun {
            self.begun_ns = None;
        }
        None
    }

    /// Sends a message, at once or after the handshake.
    ///
    /// # Errors
    /// Too many bytes wait already.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Congested> {
        if self.waits() + message.len() > self.limits.waiting_bytes_max {
            return Err(Congested);
        }
        if self.open {
            self.write_message(message);
        } else {
            let Ok(len) = u32::try_from(message.len()) else { return Err(Congested) };
            self.waiting.push(&len.to_be_bytes());
            self.waiting.push(message);
        }
        Ok(())
    }

    /// Bytes to write.
    pub fn output(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// Number of bytes that wait to be sent: output, and messages that wait for the handshake.
    pub fn waits(&self) -> usize {
        self.output.len() + self.waiting.len()
    }

    /// Takes note that the first `len` bytes of [`output`](Self::output) were written.
    pub fn written(&mut self, len: usize) {
        self.output.take(len);
        if self.output.is_empty() {
            self.output.clear();
        }
    }

    /// A handshake that has succeeded since the last call.
    pub fn take_shake(&mut self) -> Option<Shake> {
        self.shake.take()
    }

    /// Keep-alives received since the last call.
    pub fn take_keepalives(&mut self) -> u32 {
        std::mem::take(&mut self.keepalives)
    }

    /// Time at which the peer will have taken too long, unless a message or handshake is complete
    /// before.
    pub fn deadline_ns(&self) -> Option<u64> {
        let longest =
            if self.open { self.limits.message_ns_max } else { self.limits.handshake_ns_max };
        self.begun_ns.map(|begun_ns| begun_ns.saturating_add(longest))
    }

    /// Begins to measure the time of the handshake anew.
    pub fn restart_clock(&mut self, now_ns: u64) {
        if !self.open {
            self.begun_ns = Some(now_ns);
        }
    }

    /// Tells whether the TLS handshake has ended, or there is none.
    pub fn is_tls_open(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_open())
    }

    /// The reason why the peer has taken too long at `now_ns`, if it has.
    pub fn overdue(&self, now_ns: u64) -> Option<SessionFailure> {
        self.deadline_ns().filter(|&deadline_ns| deadline_ns <= now_ns).map(|_| match self.open {
            true => SessionFailure::SlowMessage,
            false => SessionFailure::SlowHandshake,
        })
    }

    /// Sends the closing messages of the layers that have one; the caller should still write the
    /// output.
    pub fn close(&mut self) {
        if let Some(frames) = &mut self.websocket {
            frames.close();
        }
        self.flush_frames();
        if let Some(tls) = &mut self.tls {
            tls.close();
            tls.output(self.output.tail());
        }
    }

    /// Goes on with handshakes, and sends the messages that waited for their end.
    fn proceed(&mut self) {
        if self.open {
            // These are answers of TLS itself, for example to an update of keys.
            if let Some(tls) = &mut self.tls {
                tls.output(self.output.tail());
            }
            return;
        }
        let tls_is_open = self.tls.as_ref().is_none_or(|tls| tls.is_open());
        if tls_is_open
            && let Some(frames) = &mut self.websocket
            && !frames.is_open()
            && let Err(text) = frames.advance()
        {
            self.failed.get_or_insert(SessionFailure::WebSocket(text));
        }
        if tls_is_open {
            self.flush_frames();
        }
        if let Some(tls) = &mut self.tls {
            tls.output(self.output.tail());
        }
        let is_open = tls_is_open && self.websocket.as_ref().is_none_or(|frames| frames.is_open());
        if !is_open || self.failed.is_some() {
            return;
        }
        self.open = true;
        self.begun_ns = None;
        self.shake = Some(Shake { resumed: self.tls.as_ref().is_some_and(|tls| tls.is_resumed()) });
        let mut waiting = std::mem::take(&mut self.waiting);
        while waiting.len() >= 4 {
            let len = waiting.take(4).iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
            self.write_message(waiting.take(len));
        }
        waiting.clear();
        self.waiting = waiting;
    }

    fn write_message(&mut self, message: &[u8]) {
        match &mut self.websocket {
            None => self.write(message),
            Some(frames) => {
                if let Err(text) = frames.send(message) {
                    self.failed.get_or_insert(SessionFailure::WebSocket(text));
                }
                self.flush_frames();
            }
        }
    }

    /// Moves the WebSocket's output to the layer below.
    fn flush_frames(&mut self) {
        let Some(mut frames) = self.websocket.take() else { return };
        let bytes = frames.output();
        if !bytes.is_empty() {
            self.write(bytes);
            bytes.clear();
        }
        self.websocket = Some(frames);
    }

    /// Writes bytes to the layer above TCP.
    fn write(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.output.push(bytes),
            Some(tls) => {
                tls.send(bytes);
                tls.output(self.output.tail());
            }
        }
    }
}
