//! TCP streams: the types at the border of the crate, and the code that both kernel drivers share.
//!
//! A stream is made by [`Driver::connect`](crate::Driver::connect) or comes from a listener. Bytes
//! that are written to it gather in a bounded buffer and leave with the next turn, one write at a
//! time. Received bytes arrive as events, in the pieces that the network makes of them. Framing is
//! the caller's business.

mod output;
pub(crate) mod socket;
pub(crate) mod table;

use std::net::SocketAddr;

use crate::{Nanos, SocketId};

pub(crate) use output::{CHUNKS_PER_WRITE, Output, Pool};

/// The options of a TCP listener, for [`Driver::listen`](crate::Driver::listen).
#[derive(Clone, Debug)]
pub struct ListenSpec {
    /// Address to bind; port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// Set `SO_REUSEPORT`, so that several workers share one port.
    pub reuse_port: bool,
    /// Connections that wait to be accepted; the kernel takes no more than `net.core.somaxconn`.
    pub backlog: u32,
    /// Network interface to bind to (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// `SO_RCVBUF` of accepted streams in bytes; 0 leaves the kernel's automatic size.
    pub receive_buffer_bytes: usize,
    /// `SO_SNDBUF` of accepted streams in bytes; 0 leaves the kernel's automatic size.
    pub send_buffer_bytes: usize,
}

impl ListenSpec {
    /// A listener at `local` with a backlog for bursts of connections.
    #[must_use]
    pub fn new(local: SocketAddr) -> Self {
        Self {
            local,
            reuse_port: false,
            backlog: 4096,
            device: None,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
        }
    }
}

/// The options of a TCP connection, for [`Driver::connect`](crate::Driver::connect).
#[derive(Clone, Debug)]
pub struct ConnectSpec {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Address to connect from; port 0 lets the kernel choose one that is free for this peer.
    /// `None` leaves the address to the routing table too.
    pub local: Option<SocketAddr>,
    /// Share the port with a listener or another stream that has this set too (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Network interface to bind to (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// `SO_RCVBUF` in bytes; 0 leaves the kernel's automatic size.
    pub receive_buffer_bytes: usize,
    /// `SO_SNDBUF` in bytes; 0 leaves the kernel's automatic size.
    pub send_buffer_bytes: usize,
}

impl ConnectSpec {
    /// A connection to `remote` from wherever the kernel chooses.
    #[must_use]
    pub fn new(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
            reuse_port: false,
            device: None,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
        }
    }
}

/// Something that happened on a stream.
#[derive(Debug)]
pub enum StreamEvent<'a> {
    /// A listener has accepted a stream.
    Accepted {
        /// The listener.
        listener: SocketId,
        /// The new stream.
        socket: SocketId,
        /// The address of the peer that connected.
        peer: SocketAddr,
    },
    /// A stream opened with [`Driver::connect`](crate::Driver::connect) is up.
    Connected {
        /// The stream.
        socket: SocketId,
    },
    /// Bytes arrived, in order and without regard to how they were written.
    Data {
        /// The stream.
        socket: SocketId,
        /// At least one byte, valid during the call.
        bytes: &'a [u8],
        /// The time at which the kernel took the last byte from the network, on this driver's
        /// clock.
        received_ns: Nanos,
    },
    /// The stream has ended by itself, and its id with it. The event comes once, after all data. It
    /// does not come for a stream that its owner closed or aborted.
    Closed {
        /// The stream that has ended.
        socket: SocketId,
        /// The reason.
        cause: StreamCause,
    },
    /// A write had been refused with [`StreamWriteError::Full`], and half of the buffer is free.
    Drained {
        /// The stream.
        socket: SocketId,
    },
}

impl StreamEvent<'_> {
    /// The stream that the event is about; for [`Accepted`](Self::Accepted) the new one.
    #[must_use]
    pub fn socket(&self) -> SocketId {
        match *self {
            Self::Accepted { socket, .. }
            | Self::Connected { socket }
            | Self::Data { socket, .. }
            | Self::Closed { socket, .. }
            | Self::Drained { socket } => socket,
        }
    }
}

/// The reason why a stream ended or could not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamCause {
    /// The peer closed it with a FIN.
    Eof,
    /// The peer, or something on the way, reset it (`ECONNRESET`, `EPIPE`, `ECONNABORTED`).
    Reset,
    /// No listener is bound to the peer's port (`ECONNREFUSED`).
    Refused,
    /// No answer (`ETIMEDOUT`).
    TimedOut,
    /// `ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`, `EHOSTDOWN`: no route.
    NoRoute,
    /// `EADDRNOTAVAIL`: no local port is left for that peer.
    NoLocalPort,
    /// Any other errno.
    Other(i32),
}

impl StreamCause {
    /// Maps an errno to its public name; 0 is the end of the stream.
    pub(crate) fn of(errno: i32) -> Self {
        match errno {
            0 => Self::Eof,
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => Self::Reset,
            libc::ECONNREFUSED => Self::Refused,
            libc::ETIMEDOUT => Self::TimedOut,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
                Self::NoRoute
            }
            libc::EADDRNOTAVAIL => Self::NoLocalPort,
            other => Self::Other(other),
        }
    }
}

/// The reason why [`Driver::stream_write`](crate::Driver::stream_write) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamWriteError {
    /// The stream has ended, or never existed.
    #[error("the stream is closed")]
    Closed,
    /// The stream's buffer, or the memory that all streams share, has no room at present. A
    /// [`StreamEvent::Drained`] follows once it has.
    #[error("the stream's output buffer is full")]
    Full,
    /// More than the whole buffer holds ([`DriverConfig`](crate::DriverConfig)); it will never fit.
    #[error("the write is larger than the stream's output buffer")]
    TooLarge,
}

/// Marks the ids of streams and listeners, which have a table of their own.
const STREAM: u32 = 1 << 31;

/// Bits of the place in the table; those between it and the mark hold the generation.
const PLACE_BITS: u32 = 20;

/// Most streams and listeners of a driver.
pub(crate) const STREAMS_MAX: usize = 1 << PLACE_BITS;

impl SocketId {
    /// Tells whether the id belongs to a stream or a listener.
    #[inline]
    #[must_use]
    pub fn is_stream(self) -> bool {
        self.0 & STREAM != 0
    }

    /// The place of a stream or listener among those of its driver: small, dense, and used again
    /// (with another id) some time after the stream has ended. `None` for a UDP socket.
    #[inline]
    #[must_use]
    pub fn stream_place(self) -> Option<usize> {
        self.is_stream().then_some((self.0 & (STREAMS_MAX as u32 - 1)) as usize)
    }

    /// Builds the id of `place` from its `generation`, of which some bits are kept. An outdated id
    /// is then not mistaken for that of the next stream.
    #[inline]
    pub(crate) fn stream(place: u32, generation: u32) -> Self {
        const GENERATIONS: u32 = (1 << (31 - PLACE_BITS)) - 1;
        Self(STREAM | (generation & GENERATIONS) << PLACE_BITS | place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_hold_place_and_generation_apart() {
        let id = SocketId::stream(STREAMS_MAX as u32 - 1, 5);
        assert_eq!(id.stream_place(), Some(STREAMS_MAX - 1));
        assert_ne!(id, SocketId::stream(STREAMS_MAX as u32 - 1, 6));
        assert_eq!(SocketId::stream(3, u32::MAX).stream_place(), Some(3));
        assert!(!SocketId(7).is_stream());
        assert_eq!(SocketId(7).stream_place(), None);
    }

    #[test]
    fn errnos_have_causes() {
        assert_eq!(StreamCause::of(0), StreamCause::Eof);
        assert_eq!(StreamCause::of(libc::EPIPE), StreamCause::Reset);
        assert_eq!(StreamCause::of(libc::EMFILE), StreamCause::Other(libc::EMFILE));
    }
}
