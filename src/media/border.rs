//! The border to a medium, which shares a worker with SIP and has UDP sockets of its own.
//!
//! A medium has two doors, as the engine has: inputs go in by [`Medium::handle`], and its requests
//! to the outside come out by [`Medium::next_effect`]. It stages datagrams in the driver's arena,
//! for sockets that it requested. They bypass the transport of SIP.

use std::io;
use std::net::SocketAddr;

use super::command::Event;
use super::legs::MediaHandle;
use crate::stats::{MediaCounters, MediaHistograms};
use gossipper_uring::{IcmpCause, SendFailure, SocketId, SocketSpec, TxArena};

/// An event for a medium.
#[derive(Debug)]
pub enum MediumInput<'a> {
    /// A requested socket is open, at this address.
    Opened(SocketId, SocketAddr),
    /// A requested socket could not be opened.
    NotOpened(io::Error),
    /// A datagram came to one of its sockets.
    Datagram {
        /// The socket.
        socket: SocketId,
        /// The sender.
        source: SocketAddr,
        /// The payload.
        payload: &'a [u8],
        /// Time of arrival at this host, on the monotonic clock.
        received_ns: u64,
    },
    /// A staged datagram could not be sent.
    SendFailed {
        /// The socket that should have sent it.
        socket: SocketId,
        /// The cookie that it was committed with.
        cookie: u64,
        /// The reason.
        cause: SendFailure,
    },
    /// The network reported by ICMP that a datagram did not arrive.
    Unreachable {
        /// The socket that sent it.
        socket: SocketId,
        /// The destination.
        destination: SocketAddr,
        /// The cause that the report gave.
        cause: IcmpCause,
    },
    /// All staged datagrams leave now. Their distance from their planned time is measured by it.
    Flushed,
    /// The medium's deadline has come.
    Time {
        /// Slots of the arena that stay free.
        reserve: usize,
    },
    /// The run is over: only last messages leave, as long as the deadline is not in the future.
    RunOver,
}

/// A request of a medium to the outside.
#[derive(Debug)]
pub enum MediumEffect {
    /// Open a socket; answered with [`MediumInput::Opened`] or [`MediumInput::NotOpened`].
    Open(SocketSpec),
    /// Close one of its sockets, once the datagrams staged on it have left.
    Close(SocketId),
    /// Tell a call the news of its leg.
    Tell {
        /// The call, as [`LegSpec::call`](super::command::LegSpec::call) names it.
        call: u64,
        /// The news.
        event: Event,
    },
}

/// A user of UDP sockets beside SIP. It is called for each of its datagrams, so it is no trait
/// object.
pub trait Medium {
    /// Handles one input at the time `now`, with `tx` to stage datagrams in.
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena);

    /// The next effect to carry out; `None` if there are no more.
    fn next_effect(&mut self) -> Option<MediumEffect>;

    /// The time of the next [`MediumInput::Time`]; `u64::MAX` for never.
    fn next_deadline_ns(&self) -> u64;

    /// Adds what the medium has counted to `counters`.
    fn count(&self, _counters: &mut MediaCounters) {}

    /// Gives out what was measured since the last call, in exchange for empty `measured`.
    fn swap_measured(&mut self, _measured: &mut MediaHistograms) {}

    /// Hands on copies of datagrams for recordings. `push` takes all of the bytes or refuses them.
    fn hand_on_copies(&mut self, _push: &mut dyn FnMut(&[u8]) -> bool) {}

    /// The streams of calls that the worker's engine steers, if the medium has some.
    fn media(&self) -> Option<MediaHandle> {
        None
    }
}

/// A medium that a run may do without.
impl<M: Medium> Medium for Option<M> {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        if let Some(medium) = self {
            medium.handle(input, now, tx);
        }
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        self.as_mut().and_then(M::next_effect)
    }

    fn next_deadline_ns(&self) -> u64 {
        self.as_ref().map_or(u64::MAX, M::next_deadline_ns)
    }

    fn count(&self, counters: &mut MediaCounters) {
        if let Some(medium) = self {
            medium.count(counters);
        }
    }

    fn swap_measured(&mut self, measured: &mut MediaHistograms) {
        if let Some(medium) = self {
            medium.swap_measured(measured);
        }
    }

    fn hand_on_copies(&mut self, push: &mut dyn FnMut(&[u8]) -> bool) {
        if let Some(medium) = self {
            medium.hand_on_copies(push);
        }
    }

    fn media(&self) -> Option<MediaHandle> {
        self.as_ref().and_then(M::media)
    }
}

/// The medium of a worker that only does SIP.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMedium;

impl Medium for NoMedium {
    fn handle(&mut self, _: MediumInput<'_>, _: u64, _: &mut TxArena) {}

    fn next_effect(&mut self) -> Option<MediumEffect> {
        None
    }

    fn next_deadline_ns(&self) -> u64 {
        u64::MAX
    }
}
