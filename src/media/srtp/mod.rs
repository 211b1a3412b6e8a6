//! SRTP and SRTCP: packets of one direction of a stream, protected and read in place (RFC 3711,
//! RFC 7714).
//!
//! A [`MasterKey`] comes out of a session description or a handshake. An [`SrtpSender`] and an
//! [`SrtpReceiver`] each hold what follows from one: session keys, and where the sequence numbers
//! stand. While a key stays the same, so must they: a new one counts rollovers from zero.
//!
//! Nothing is allocated. Keys are derived once (key derivation rate 0), and lifetimes of keys are
//! not enforced. Knows nothing of sockets, streams or negotiation.

mod base64;
mod cipher;
mod derive;
mod hmac;
mod index;
mod key_log;
mod packet;
mod receiver;
mod sender;
mod session;
mod suite;
#[cfg(test)]
mod tests;

pub(super) use base64::decode as decode_base64;
pub use key_log::{Flow, write_key_log};
pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;
pub use suite::{MasterKey, Mki, Suite, Waivers};

/// Most bytes that protection adds to a packet: index, key identifier and tag.
pub const TRAILER_MAX: usize = 4 + Mki::LEN_MAX + 16;

/// The reason why a packet was not protected, or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SrtpFault {
    /// The tag is wrong: another key, or changed on the way.
    #[error("the tag of the packet is wrong: it was made with another key, or changed on the way")]
    BadTag,
    /// The key has protected as many packets as it may (RFC 3711 section 9.2).
    #[error("the key has protected as many packets as it may: negotiate a new one")]
    KeyExhausted,
    /// The buffer has no room for what protection adds.
    #[error("the buffer has no room for the tag of the packet")]
    NoRoom,
    /// The version is not 2: neither RTP nor RTCP.
    #[error("the packet is neither RTP nor RTCP: its version is not 2")]
    NotRtp,
    /// The packet was received before.
    #[error("the packet was received before")]
    Replayed,
    /// The packet is further behind the newest one than is remembered.
    #[error("the packet is further behind the newest one than is remembered")]
    TooOld,
    /// The packet ends before its header or its tag does.
    #[error("the packet ends before its header or its tag does")]
    Truncated,
    /// The packet names another master key than the negotiated one.
    #[error("the packet names another master key (MKI) than the negotiated one")]
    UnknownMki,
}

impl SrtpFault {
    /// All faults.
    pub const ALL: [Self; 8] = [
        Self::BadTag,
        Self::KeyExhausted,
        Self::NoRoom,
        Self::NotRtp,
        Self::Replayed,
        Self::TooOld,
        Self::Truncated,
        Self::UnknownMki,
    ];

    /// The stable snake_case name: counter, metric label, JSON value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadTag => "srtp_bad_tag",
            Self::KeyExhausted => "srtp_key_exhausted",
            Self::NoRoom => "srtp_no_room",
            Self::NotRtp => "srtp_not_rtp",
            Self::Replayed => "srtp_replayed",
            Self::TooOld => "srtp_too_old",
            Self::Truncated => "srtp_truncated",
            Self::UnknownMki => "srtp_unknown_mki",
        }
    }
}
