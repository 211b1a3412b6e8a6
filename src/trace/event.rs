//! Events of single messages and calls that can be recorded.

use std::net::SocketAddr;

use crate::stats::{FailureCause, HeardVerdict, ShortText, TraceKind};

/// The number that stands for no call, in records of messages that belong to none.
pub const NO_CALL: u64 = 0;
/// The index that stands for no step.
pub const NO_STEP: u16 = u16::MAX;

/// The transport of a message.
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
    /// All protocols, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The name as in a Via header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The name in lower case, as in the transport parameter of a URI.
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Tells whether messages travel in a stream rather than in datagrams.
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }
}

/// Both ends of a message's path: ours and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The transport.
    pub protocol: Protocol,
}

/// The thing that a call waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Patience {
    /// A message.
    Receive,
    /// The answer to a message that was retransmitted as often as allowed.
    Retransmission,
    /// A command of the other side of a controlled call (3PCC).
    Command,
    /// Room to send a message.
    Send,
}

impl Patience {
    /// All kinds, in the order of their numbers.
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
    /// Status of the challenge, 401 or 407; 0 if we check credentials ourselves.
    pub challenge: u16,
    /// True if the credentials could be made, or were right.
    pub is_ok: bool,
}

/// Figures of a call's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallMedia {
    /// The verdict about its audio.
    pub heard: HeardVerdict,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload octets sent.
    pub octets_sent: u64,
    /// RTP packets received, without duplicates.
    pub packets_received: u64,
    /// RTP payload octets in them.
    pub octets_received: u64,
    /// RTP packets that were expected.
    pub packets_expected: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// RTP packets that came too late for the jitter buffer.
    pub packets_discarded: u64,
    /// RTP packets that came after a later one.
    pub packets_reordered: u64,
    /// RTP packets that came twice.
    pub packets_duplicate: u64,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1).
    pub jitter_ns: u64,
    /// Mean of the interarrival jitter at each packet.
    pub jitter_mean_ns: u64,
    /// Highest interarrival jitter.
    pub jitter_max_ns: u64,
    /// Longest time between two packets.
    pub delta_max_ns: u64,
    /// Estimated MOS in hundredths; `None` if it was not measured.
    pub mos_hundredths: Option<u16>,
    /// Lowest estimated MOS of an interval in hundredths.
    pub mos_min_hundredths: Option<u16>,
    /// Time from the first description to the first audible packet.
    pub first_audio_ns: Option<u64>,
    /// Time from the answer to the first audible packet.
    pub first_audio_after_answer_ns: Option<u64>,
    /// Round-trip time by RTCP.
    pub round_trip_ns: Option<u64>,
    /// Fraction of our packets that the peer last reported lost, in 1/256.
    pub peer_fraction_lost: Option<u8>,
    /// Jitter that the peer last reported of our packets.
    pub peer_jitter_ns: Option<u64>,
    /// The way of the audio; `None` if the peer signalled no address for it.
    pub path: Option<AudioPath>,
    /// Packets whose watermarks show that one side hears another call.
    pub crosstalk_packets: u64,
}

/// The way of a call's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPath {
    /// Our address of RTP.
    pub local: SocketAddr,
    /// The peer's address of RTP.
    pub remote: SocketAddr,
    /// Our SSRC.
    pub ssrc: u32,
    /// The last SSRC of the peer; `None` if nothing came.
    pub peer_ssrc: Option<u32>,
    /// Payload type that we send.
    pub payload_type: u8,
    /// Ticks of its timestamps in a second.
    pub clock_rate: u32,
    /// Name of its encoding; empty if none was agreed on.
    pub encoding: ShortText<16>,
}

/// The check of a pattern that a stream of a call played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpChecked<'b> {
    /// The call's Call-ID.
    pub call_id: &'b [u8],
    /// Number of the pattern.
    pub number: u8,
    /// True for video.
    pub is_video: bool,
    /// True if the packets were encrypted.
    pub is_protected: bool,
    /// True if fewer packets came back as they were than must.
    pub is_failed: bool,
    /// Packets sent.
    pub sent: u64,
    /// Packets that came back as they were.
    pub good: u64,
    /// Packets that came with another payload.
    pub wrong: u64,
    /// Sequence number of the first of those, and the offset of its first wrong byte.
    pub first_wrong: Option<(u16, u16)>,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an event is made in place, and not kept")]
pub enum Event<'b> {
    /// A message was sent.
    Sent {
        /// Both ends.
        ends: Ends,
        /// True for a retransmission.
        is_repeated: bool,
        /// The bytes of the message.
        message: &'b [u8],
    },
    /// A message was received, expected or not, new or not.
    Received {
        /// Both ends.
        ends: Ends,
        /// The bytes of the message.
        message: &'b [u8],
    },
    /// A message came that the scenario does not expect; `Record::step` is the step of the call.
    /// The `Received` of the same message stands before it.
    Unexpected {
        /// The message's bytes.
        message: &'b [u8],
        /// True if the message ends the call.
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
        /// The Call-ID.
        call_id: &'b [u8],
        /// True if the peer began the call.
        is_incoming: bool,
        /// Both ends.
        ends: Ends,
    },
    /// A call ended.
    CallEnded {
        /// The Call-ID.
        call_id: &'b [u8],
        /// The reason for the failure; `None` if the call succeeded.
        cause: Option<FailureCause>,
        /// Status of the response that made the call fail, or else of the last final response, to
        /// the INVITE if one was sent; 0 if none came.
        code: u16,
        /// Time from the call's first message to its end.
        length_ns: u64,
        /// The figures of its media; `None` if it had none.
        media: Option<CallMedia>,
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
        /// The time that was measured.
        duration_ns: u64,
    },
    /// A call waited in vain.
    TimedOut {
        /// The Call-ID.
        call_id: &'b [u8],
        /// The thing that the call waited for.
        patience: Patience,
        /// True if the call ends with it; otherwise the scenario goes on at another step.
        aborts: bool,
        /// The time waited, in milliseconds; since the last retransmission if there were any.
        waited_ms: u64,
    },
    /// Digest credentials were made or checked.
    Authenticated(Authenticated<'b>),
    /// A command was sent to another instance (3PCC).
    CommandSent(&'b [u8]),
    /// A command was received from another instance (3PCC).
    CommandReceived(&'b [u8]),
    /// A stream got keys of SRTP: a line of text for each direction.
    SrtpKeys(&'b [u8]),
    /// A call ended, and with it the check of a pattern.
    RtpChecked(RtpChecked<'b>),
    /// A compound of RTCP was sent or received.
    Rtcp {
        /// Both ends.
        ends: Ends,
        /// True if we sent it.
        is_sent: bool,
        /// The call's Call-ID.
        call_id: &'b [u8],
        /// The compound, as it is without SRTCP.
        packet: &'b [u8],
    },
}

impl Event<'_> {
    /// The kind of the event.
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
            Self::SrtpKeys(_) => TraceKind::SrtpKeys,
            Self::RtpChecked(_) => TraceKind::RtpChecked,
            Self::Rtcp { .. } => TraceKind::Rtcp,
        }
    }
}

/// An event with its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// The time on the monotonic clock; for a received message that of its receipt.
    pub at_ns: u64,
    /// The number of the call, unique in the run; [`NO_CALL`] if there is none.
    pub call: u64,
    /// The worker.
    pub worker: u16,
    /// Number of the call's program in the layout.
    pub program: u8,
    /// The step at which the call was; [`NO_STEP`] if at none.
    pub step: u16,
    /// The event.
    pub event: Event<'b>,
}
