//! The part of a driver that concerns connections: their events, for the worker.
//!
//! Datagram drivers have no such events, and the trait costs them nothing.

use gossipper_uring::{Driver, SimDriver, SyscallDriver, UringDriver};

use crate::engine::ConnectionEvent;
use crate::stats::Counters;

/// A driver that a worker can use.
pub trait Link: Driver {
    /// The next event of a connection. The caller asks after [`Driver::drain`], until there is
    /// none.
    fn take_news(&mut self) -> Option<ConnectionEvent> {
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
