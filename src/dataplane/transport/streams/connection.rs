//! One connection: its session, the stream below it, and its state.

use std::net::{Ipv4Addr, SocketAddr};

use gossipper_uring::{ConnectSpec, SocketId, StreamCause};

use crate::sip::ParseError;
use crate::stats::{DropCause, FailureCause};
use crate::stream::{Role, Session, SessionConfig, SessionFailure};

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No connection: the place is free.
    Free,
    /// The connection to the peer is being established.
    Connecting,
    /// The stream is up; the session may still shake hands.
    Up,
    /// The connection is lost, and will be opened again.
    Waiting,
}

pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) state: State,
    /// Number of connections that were at this place before, so that an outdated id matches none.
    pub(super) generation: u32,
    /// The driver's stream.
    pub(super) stream: Option<SocketId>,
    pub(super) peer: SocketAddr,
    /// The address and options that we opened it with; `None` if the peer opened it.
    pub(super) target: Option<ConnectSpec>,
    pub(super) begun_ns: u64,
    /// Time at which the last bytes arrived.
    pub(super) received_ns: u64,
    /// True while the connection is on the list of those with bytes to write.
    pub(super) is_dirty: bool,
    /// True while the connection is on the list of those with messages that were not taken.
    pub(super) is_ready: bool,
    pub(super) is_congested: bool,
    /// The reason why the stream ended; reported once its messages are taken.
    pub(super) ended: Option<StreamCause>,
}

impl Connection {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            state: State::Free,
            generation: 0,
            stream: None,
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            target: None,
            begun_ns: 0,
            received_ns: 0,
            is_dirty: false,
            is_ready: false,
            is_congested: false,
            ended: None,
        }
    }

    /// Begins a new connection at this place, or opens the same one again.
    pub(super) fn begin(
        &mut self,
        config: &SessionConfig,
        role: Role,
        peer: SocketAddr,
        now_ns: u64,
    ) -> Result<(), SessionFailure> {
        self.session.begin(config, role, now_ns)?;
        self.state = match role {
            Role::Client => State::Connecting,
            Role::Server => State::Up,
        };
        self.peer = peer;
        self.begun_ns = now_ns;
        self.is_congested = false;
        self.ended = None;
        Ok(())
    }

    /// Frees the place.
    pub(super) fn end(&mut self) {
        self.state = State::Free;
        self.generation = self.generation.wrapping_add(1);
        self.stream = None;
        self.target = None;
        self.ended = None;
    }

    /// The cause of failure for the layer whose handshake is in progress.
    fn handshake_cause(&self) -> FailureCause {
        match self.session.is_tls_open() {
            false => FailureCause::TlsHandshake,
            true => FailureCause::WebSocket,
        }
    }

    /// The cause by which calls fail if their connection ends with `cause`, and a text for the
    /// user.
    pub(super) fn cause_of(&self, cause: StreamCause) -> (FailureCause, String) {
        if self.state == State::Connecting {
            let fixed_port = self.target.as_ref().and_then(|target| target.local);
            let fixed_port = fixed_port.map(|local| local.port()).filter(|&port| port != 0);
            return match (cause, fixed_port) {
                (StreamCause::NoLocalPort, Some(port)) => (
                    FailureCause::NoLocalPort,
                    format!(
                        "port {port} stays in use for a minute after the end of an earlier \
                         connection with this peer (TIME_WAIT): choose another with -p, or leave \
                         -p out and let the kernel choose"
                    ),
                ),
                (StreamCause::NoLocalPort, None) => (
                    FailureCause::NoLocalPort,
                    "no local port is free; see net.ipv4.ip_local_port_range".to_owned(),
                ),
                (StreamCause::Refused, _) => (FailureCause::TcpConnect, "refused".to_owned()),
                (StreamCause::TimedOut, _) => (FailureCause::TcpConnect, "no answer".to_owned()),
                (other, _) => (FailureCause::TcpConnect, words(other)),
            };
        }
        if !self.session.is_open() {
            let text = format!("{} during the handshake", words(cause));
            return (self.handshake_cause(), text);
        }
        (FailureCause::TcpClosed, words(cause))
    }

    /// The cause by which calls fail if their session fails, and the drop to count for the peer's
    /// stream.
    pub(super) fn cause_of_failure(
        &self,
        failure: &SessionFailure,
    ) -> (FailureCause, Option<DropCause>) {
        match failure {
            SessionFailure::Tls(_) | SessionFailure::Refused(_) | SessionFailure::Demanded => {
                (FailureCause::TlsHandshake, None)
            }
            SessionFailure::Certificate(_) | SessionFailure::NoCertificate => {
                (FailureCause::TlsCertificate, None)
            }
            SessionFailure::WebSocket(_) => (FailureCause::WebSocket, None),
            SessionFailure::SlowHandshake if self.state == State::Connecting => {
                (FailureCause::TcpConnect, None)
            }
            SessionFailure::SlowHandshake => (self.handshake_cause(), None),
            SessionFailure::SlowMessage => {
                (FailureCause::StreamBroken, Some(DropCause::SlowMessage))
            }
            SessionFailure::Ended => (FailureCause::TcpClosed, None),
            SessionFailure::Framing(error) => {
                (FailureCause::StreamBroken, Some(drop_cause(*error)))
            }
        }
    }
}

fn words(cause: StreamCause) -> String {
    match cause {
        StreamCause::Eof => "closed by the peer".to_owned(),
        StreamCause::Reset => "reset by the peer".to_owned(),
        StreamCause::Refused => "refused".to_owned(),
        StreamCause::TimedOut => "timed out".to_owned(),
        StreamCause::NoRoute => "no route".to_owned(),
        StreamCause::NoLocalPort => "no local port".to_owned(),
        StreamCause::Other(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn drop_cause(error: ParseError) -> DropCause {
    match error {
        ParseError::MissingContentLength => DropCause::MissingContentLength,
        ParseError::HeadersTooLong | ParseError::MessageTooLong => DropCause::MessageTooLong,
        ParseError::BadContentLength | ParseError::ConflictingContentLength => {
            DropCause::BadContentLength
        }
        _ => DropCause::BadStartLine,
    }
}
