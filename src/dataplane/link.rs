//! What a worker wants to know of a driver beside datagrams: news of connections.
//!
//! Drivers of datagrams have none, and cost nothing for it.

use gossipper_uring::{Driver, SimDriver, SocketId, SyscallDriver, UringDriver};

use crate::stats::{Counters, DropCause, FailureCause};

/// News of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is up.
    Up(SocketId),
    /// It is gone.
    Lost {
        /// Which.
        socket: SocketId,
        /// Why its calls fail; `None` if they go on when it has come back, or when its peer has.
        fails: Option<FailureCause>,
        /// What was wrong with the peer's stream, if that was why.
        drop: Option<DropCause>,
        /// Whether it will be opened again, under the same id.
        comes_back: bool,
        /// `true` if it had been up.
        was_open: bool,
        /// What a person should read about it.
        text: String,
    },
    /// It takes no more messages for now.
    Congested(SocketId),
    /// It takes messages again.
    Drained(SocketId),
    /// A staged message could not be sent.
    NotSent {
        /// What it was committed with.
        cookie: u64,
        /// Why.
        cause: FailureCause,
    },
}

/// A driver that a worker can use.
pub trait Link: Driver {
    /// The next piece of news. Ask after [`Driver::drain`], until there is none.
    fn take_news(&mut self) -> Option<News> {
        None
    }

    /// Adds what was counted about connections.
    fn count(&self, counters: &mut Counters) {
        let _ = counters;
    }
}

impl Link for UringDriver {}
impl Link for SyscallDriver {}
impl Link for SimDriver {}
