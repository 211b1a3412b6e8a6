//! Commands of a scenario for the streams of a call, and the words in which calls ask for legs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::clip::ClipSet;
use super::crypto::CryptoFault;
use crate::sip::SdpError;
use crate::stats::HandshakeFault;

/// One of the two streams that a leg of a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// Audio; also T.38, which takes the place of audio.
    Audio,
    /// Video.
    Video,
}

/// A command for one track of a leg.
#[derive(Clone, Debug)]
pub enum Command {
    /// Play from now on, in place of what plays.
    Play {
        /// The media.
        clips: Arc<ClipSet>,
        /// Number of times; `None` without end.
        loops: Option<u32>,
        /// Time after which it stops; `None` for all of it.
        stop_after_ns: Option<u64>,
        /// Payload type; `None` for the negotiated one, or else that of the encoding.
        payload_type: Option<u8>,
        /// Encoding; `None` for the negotiated one.
        encoding: Option<&'static str>,
    },
    /// Hold what plays.
    Pause,
    /// Go on with what was held.
    Resume,
    /// End what plays.
    Stop,
    /// Send digits as telephone events (RFC 4733), in place of the audio while they last.
    Digits {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digits: Box<[u8]>,
        /// Duration of a digit in milliseconds.
        digit_ms: u16,
        /// Pause after a digit in milliseconds.
        pause_ms: u16,
        /// Payload type; `None` for the negotiated one.
        payload_type: Option<u8>,
    },
    /// Send back what is received, or end that.
    Echo(bool),
    /// Wait for packets; the outcome comes as [`Event::Checked`].
    Check {
        /// Least packets received from now on.
        received: u32,
        /// Least packets sent from now on.
        sent: u32,
        /// Time limit in nanoseconds.
        timeout_ns: u64,
    },
    /// Wait until no source plays; the outcome comes as [`Event::Checked`], and is good.
    AwaitEnd {
        /// Time limit in nanoseconds; `u64::MAX` for none.
        timeout_ns: u64,
    },
    /// Hand decoded audio to a recording: of the peer, or of both sides.
    Record {
        /// The file.
        name: Box<[u8]>,
        /// True for both directions.
        is_duplex: bool,
    },
    /// End the recording.
    StopRecording,
}

/// News of a leg for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The outcome of a [`Command::Check`] or [`Command::AwaitEnd`].
    Checked(bool),
    /// A digit was received: `0` to `9`, `*`, `#`, `A` to `D`.
    Digit(u8),
    /// The end of a source that played: it ended by itself.
    Played(Track),
    /// Keys of a track that a handshake gave.
    Keyed(Track),
    /// The end of a stream that could not be connected or protected.
    Failed(MediaFault),
}

/// A leg of a worker: the media of one call. It is valid until [`Media::close`].
///
/// [`Media::close`]: super::Media::close
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegId(pub(super) u32);

/// Wishes of a call for its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// The call, as [`MediumEffect::Tell`](super::MediumEffect::Tell) names it.
    pub call: u64,
    /// True for a video track beside the audio track.
    pub wants_video: bool,
    /// True if the call's scenario was sent to the run: its own gate decides about targets.
    pub is_sent: bool,
    /// The number of the call, from 1.
    pub number: u64,
}

/// The reason why a leg cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Sockets are being opened: carry out the medium's effects and ask again.
    NotReady,
    /// All ports of the range are in use, or the system has no more sockets.
    Exhausted,
}

/// The facts of a track that our session description may advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The bound address of RTP.
    pub rtp: SocketAddr,
    /// The bound address of RTCP.
    pub rtcp: SocketAddr,
    /// The SSRC that we send with.
    pub ssrc: u32,
    /// The canonical name of the leg, as our reports have it (RFC 3550 section 6.5.1).
    pub cname: [u8; 16],
}

/// Agreement of both descriptions about a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The encoding that we send.
    pub encoding: &'static str,
    /// The payload type that we send it with.
    pub payload_type: u8,
    /// The payload type of telephone events, if the peer takes them.
    pub telephone_event: Option<u8>,
}

/// The reason why media cannot do what a description or a scenario asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFault {
    /// A session description that cannot be read.
    Description(SdpError),
    /// The list of targets does not allow the address.
    BlockedTarget,
    /// An address to connect to that is none.
    Address,
    /// A `c=` line with a host name: a worker cannot wait for a resolver.
    HostName,
    /// An address of the other family than our sockets.
    OtherFamily,
    /// A multicast or broadcast address.
    NotUnicast,
    /// Keys of SRTP that do not fit, or that are missing.
    Crypto(CryptoFault),
    /// A handshake of DTLS, or checks of ICE, without success.
    Handshake(HandshakeFault),
    /// SRTP, where the run refuses it (`-media_reject_srtp`).
    SrtpRefused,
    /// The leg has no track of that kind.
    NoTrack,
    /// The run began without a recording.
    NoRecording,
    /// The source has no media, or not in the encoding that the command names.
    NoClip,
}

impl MediaFault {
    /// The stable snake_case name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Description(error) => error.name(),
            Self::BlockedTarget => "blocked_target",
            Self::Address => "media_no_address",
            Self::HostName => "media_host_name",
            Self::OtherFamily => "media_other_family",
            Self::NotUnicast => "media_not_unicast",
            Self::Crypto(fault) => fault.cause.label(),
            Self::Handshake(fault) => fault.label(),
            Self::SrtpRefused => "media_srtp_refused",
            Self::NoTrack => "media_no_track",
            Self::NoRecording => "media_no_recording",
            Self::NoClip => "media_no_clip",
        }
    }
}

impl fmt::Display for MediaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Description(error) => return error.fmt(f),
            Self::Crypto(fault) => return fault.fmt(f),
            Self::Handshake(fault) => fault.description(),
            Self::SrtpRefused => "the peer asks for SRTP, which -media_reject_srtp refuses",
            Self::BlockedTarget => "the list of targets does not allow the address of the media",
            Self::Address => {
                "rtp_connect names no address; write IP:PORT, or [remote_ip]:[remote_port]"
            }
            Self::HostName => "the c= line of the media has a host name; write an address",
            Self::OtherFamily => {
                "the address of the media is of the other IP version than ours (see -mi)"
            }
            Self::NotUnicast => "the address of the media is a multicast or broadcast address",
            Self::NoTrack => "the call has no such stream",
            Self::NoRecording => {
                "the run began without a recording, and so has no thread that writes one"
            }
            Self::NoClip => "the source has no media in this encoding",
        })
    }
}

impl std::error::Error for MediaFault {}
