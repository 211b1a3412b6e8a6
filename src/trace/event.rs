//! What can be recorded.

use std::net::SocketAddr;

use crate::stats::{FailureCause, TraceKind};

/// The number of no call: of a message that belongs to none.
pub const NO_CALL: u64 = 0;
/// The index of no step.
pub const NO_STEP: u16 = u16::MAX;

/// How a message travelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
}

impl Protocol {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// As in a Via header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// In lower case, as in the transport parameter of a URI.
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether messages travel in a stream rather than in datagrams.
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }
}

/// Both ends of a message's way: ours and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// How.
    pub protocol: Protocol,
}

/// What a call waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Patience {
    /// A message.
    Receive,
    /// The answer to a message that was sent as often as allowed.
    Retransmission,
    /// A command of the other side of a controlled call (3PCC).
    Command,
    /// Room to send a message.
    Send,
}

impl Patience {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Receive, Self::Retransmission, Self::Command, Self::Send];
}

/// An answer to a challenge, or a check of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticated<'b> {
    /// The call's Call-ID.
    pub call_id: &'b [u8],
    /// User name.
    pub username: &'b [u8],
    /// Realm.
    pub realm: &'b [u8],
    /// Algorithm.
    pub algorithm: &'b [u8],
    /// Quality of protection; empty if there is none.
    pub qop: &'b [u8],
    /// Status of the challenge, 401 or 407; 0 where we check credentials ourselves.
    pub challenge: u16,
    /// Whether the credentials could be made, or were right.
    pub is_ok: bool,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A message was sent.
    Sent {
        /// From where to where.
        ends: Ends,
        /// It was sent before.
        is_repeated: bool,
        /// Its bytes.
        message: &'b [u8],
    },
    /// A message was received, expected or not, new or not.
    Received {
        /// From where to where.
        ends: Ends,
        /// Its bytes.
        message: &'b [u8],
    },
    /// A message came that the scenario does not expect; `Record::step` is where the call was. The
    /// `Received` of the same message stands before it.
    Unexpected {
        /// The message's bytes.
        message: &'b [u8],
        /// It ends the call.
        aborts: bool,
    },
    /// A message came for a call that has ended.
    Late {
        /// The message's bytes.
        message: &'b [u8],
    },
    /// A message came that belongs to no call and may not start one.
    OutOfCall {
        /// The message's bytes.
        message: &'b [u8],
    },
    /// The text of a `log` action.
    Log(&'b [u8]),
    /// The text of a `warning` action, or of an oddity that the run survives.
    Warning(&'b [u8]),
    /// The text of an `error` action, which stops the run.
    Error(&'b [u8]),
    /// A call began.
    CallStarted {
        /// Its Call-ID.
        call_id: &'b [u8],
        /// Whether the peer began it.
        is_incoming: bool,
        /// Where it is and with whom.
        ends: Ends,
    },
    /// A call ended.
    CallEnded {
        /// Its Call-ID.
        call_id: &'b [u8],
        /// Why it failed; `None` if it did not.
        cause: Option<FailureCause>,
        /// Status of the response that it failed by, or else of the last final one, to the INVITE
        /// if one was sent; 0 if none came.
        code: u16,
        /// From its first message to its end.
        length_ns: u64,
    },
    /// A call came to a step.
    Step {
        /// The call's Call-ID.
        call_id: &'b [u8],
    },
    /// A response time was measured.
    ResponseTime {
        /// Index into the layout's response times.
        rtd: u16,
        /// How long.
        duration_ns: u64,
    },
    /// A call waited in vain.
    TimedOut {
        /// Its Call-ID.
        call_id: &'b [u8],
        /// For what.
        patience: Patience,
        /// Whether the call ends with it; otherwise the scenario goes on elsewhere.
        aborts: bool,
        /// How long it waited, in milliseconds; since the last retransmission if there were any.
        waited_ms: u64,
    },
    /// Digest credentials were made or checked.
    Authenticated(Authenticated<'b>),
    /// A command was sent to another instance (3PCC).
    CommandSent(&'b [u8]),
    /// A command was received from another instance (3PCC).
    CommandReceived(&'b [u8]),
}

impl Event<'_> {
    /// Its kind.
    pub fn kind(&self) -> TraceKind {
        match self {
            Self::Sent { .. } => TraceKind::MessageSent,
            Self::Received { .. } => TraceKind::MessageReceived,
            Self::Unexpected { .. } => TraceKind::Unexpected,
            Self::Late { .. } => TraceKind::Late,
            Self::OutOfCall { .. } => TraceKind::OutOfCall,
            Self::Log(_) => TraceKind::Log,
            Self::Warning(_) => TraceKind::Warning,
            Self::Error(_) => TraceKind::Error,
            Self::CallStarted { .. } => TraceKind::CallStarted,
            Self::CallEnded { .. } => TraceKind::CallEnded,
            Self::Step { .. } => TraceKind::Step,
            Self::ResponseTime { .. } => TraceKind::ResponseTime,
            Self::TimedOut { .. } => TraceKind::TimedOut,
            Self::Authenticated(_) => TraceKind::Authenticated,
            Self::CommandSent(_) => TraceKind::CommandSent,
            Self::CommandReceived(_) => TraceKind::CommandReceived,
        }
    }
}

/// An event with its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// When, on the monotonic clock. For a received message the time of its receipt.
    pub at_ns: u64,
    /// The number of the call, unique in the run; [`NO_CALL`] if there is none.
    pub call: u64,
    /// The worker.
    pub worker: u16,
    /// Number of the call's program, as the layout has it.
    pub program: u8,
    /// The step at which the call was; [`NO_STEP`] if at none.
    pub step: u16,
    /// What happened.
    pub event: Event<'b>,
}
