//! The check that an address passes before a call turns to it.

use std::fmt;
use std::net::SocketAddr;

/// A check of whether a call may send to another address.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Tells whether the call may send to `to` at `unix_ns`. Must not block.
    fn lets_pass(&self, to: SocketAddr, unix_ns: u64) -> bool;
}
