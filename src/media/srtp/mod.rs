//! SRTP and SRTCP: packets of one direction of a stream, protected and read in place (RFC 3711,
//! RFC 7714).
//!
//! A [`MasterKey`] comes out of a session description or a handshake. An [`SrtpSender`] and an
//! [`SrtpReceiver`] each hold what follows from one: session keys, and where the sequence numbers
//! stand. While a key stays the same, so must they: a new one counts rollovers from zero.
//!
//! Nothing is allocated. Keys are derived once (key derivation rate 0), and lifetimes of keys are
//! not enforced. Knows nothing of sockets, streams or negotiation.

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

pub use crate::stats::SrtpFault;
pub use key_log::{Flow, write_key_log};
pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;
pub use suite::{MasterKey, Mki, Suite, Waivers};

/// Most bytes that protection adds to a packet: index, key identifier and tag.
pub const TRAILER_MAX: usize = 4 + Mki::LEN_MAX + 16;
