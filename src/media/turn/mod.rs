//! A client of TURN over UDP (RFC 8656): relayed addresses in place of our own.
//!
//! An [`Allocation`] is one relayed address: what is asked of the server for it, and the channels
//! over which peers are reached. `relays` has those of all sockets of a worker. Knows neither RTP
//! nor calls.

mod allocation;
mod relays;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use allocation::{Allocation, News, Poll, REQUEST_BYTES_MAX, Wish};
pub(in crate::media) use relays::{Relays, Taken};

/// Length of the header of ChannelData (RFC 8656 section 12.4).
pub const CHANNEL_HEADER_LEN: usize = 4;
/// Longest user name: with the longest realm and nonce a request still fits a datagram.
pub const USER_BYTES_MAX: usize = 256;

/// The server, and the credentials that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The server.
    pub server: SocketAddr,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Realm; `None` takes that of the server.
    pub realm: Option<String>,
}
