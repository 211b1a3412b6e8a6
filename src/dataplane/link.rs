//! The part of a driver that concerns connections: their events, for the worker.
//!
//! Datagram drivers have no such events, and the trait costs them nothing.

use gossipper_uring::{Driver, SimDriver, SocketId, SyscallDriver, UringDriver};

use crate::stats::{Counters, DropCause, FailureCause};

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The connection is up.
    Up(SocketId),
    /// The connection is lost.
    Lost {
        /// The connection.
        socket: SocketId,
        /// Cause by which its calls fail; `None` if they go on once the connection or the peer is
        /// back.
        fails: Option<FailureCause>,
        /// The fault of the peer's stream, if that ended the connection.
        drop: Option<DropCause>,
        /// True if the connection will be opened again, under the same id.
        comes_back: bool,
        /// True if the connection had been up.
        was_open: bool,
        /// A text about it for the user.
        text: String,
    },
    /// The connection takes no more messages for now.
    Congested(SocketId),
    /// The connection takes messages again.
    Drained(SocketId),
    /// A staged message could not be sent.
    NotSent {
        /// The cookie that the message was committed with.
        cookie: u64,
        /// The reason.
        cause: FailureCause,
    },
}

/// A driver that a worker can use.
pub trait Link: Driver {
    /// The next event of a connection. The caller asks after [`Driver::drain`], until there is
    /// none.
    fn take_news(&mut self) -> Option<News> {
        None
    }

    /// Adds the counts about connections.
    fn count(&self, counters: &mut Counters) {
        let _ = counters;
    }
}

impl Link for UringDriver {}
impl Link for SyscallDriver {}
impl Link for SimDriver {}
