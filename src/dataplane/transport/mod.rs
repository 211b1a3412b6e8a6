//! Transports of SIP on a worker's driver: datagrams, or messages on byte streams.

pub(super) mod streams;
pub(super) mod udp;

use streams::Streams;

/// The transport of a run. It is matched once per turn rather than once per datagram.
pub(super) enum Transport {
    /// Messages are datagrams of the driver, and stand in its arena.
    Udp,
    /// Messages are cut out of connections, and stand in an arena of their own.
    Streams(Box<Streams>),
}
