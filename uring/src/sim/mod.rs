//! A simulated network: in memory, on a virtual clock, with seeded faults.
//!
//! Several [`SimDriver`]s share one [`SimNet`]. Nothing blocks and nothing happens by itself: a
//! harness turns the drivers and moves the clock to the next event, which is the earliest of
//! [`SimDriver::next_deadline`] and [`SimNet::next_delivery`]. Equal seeds and equal calls give
//! equal runs. Streams work too, between drivers of one network.

mod driver;
mod net;
mod random;
mod streams;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

pub use driver::SimDriver;
pub use random::Random;

use crate::Nanos;
use net::Net;

/// Sees every datagram that enters the network: time, source, destination, payload.
pub type Tap = Box<dyn FnMut(Nanos, SocketAddr, SocketAddr, &[u8])>;

/// A handle to the network; the same thing as [`SimNet`], which is cheap to clone.
pub type SimNetHandle = SimNet;

/// The faults of the network. Probabilities are per 1,000,000 datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Shortest one-way delay.
    pub delay_ns_min: Nanos,
    /// Longest one-way delay; uniform in between.
    pub delay_ns_max: Nanos,
    /// Datagrams of one path may overtake each other when their delays differ. Without it, a
    /// datagram never arrives before an earlier one of the same source and destination.
    pub reorder: bool,
    /// Datagrams lost. A segment of a stream comes 200 ms late instead, as if sent again.
    pub loss_ppm: u32,
    /// Datagrams delivered twice, each with its own delay.
    pub duplicate_ppm: u32,
    /// Sends that fail for want of buffers.
    pub no_buffer_ppm: u32,
    /// Datagrams that a socket holds before it drops (unlike a byte limit, easy to reason about).
    pub receive_queue_max: usize,
    /// True to answer a datagram to an address without a socket with an ICMP error.
    ///
    /// A connect to an address without a listener is then refused, and otherwise times out.
    pub unreachable: bool,
    /// Most bytes in a segment of a stream; each has a random length up to this.
    pub stream_segment_bytes_max: usize,
    /// Bytes of a stream that may be under way or wait for their driver.
    pub stream_window_bytes: usize,
    /// Segments of streams that meet a reset, which ends the stream at both ends.
    pub stream_reset_ppm: u32,
    /// Connects that are refused although a listener exists.
    pub connect_refused_ppm: u32,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            delay_ns_min: 50_000,
            delay_ns_max: 50_000,
            reorder: false,
            loss_ppm: 0,
            duplicate_ppm: 0,
            no_buffer_ppm: 0,
            receive_queue_max: 4096,
            unreachable: true,
            stream_segment_bytes_max: 1460,
            stream_window_bytes: 65_536,
            stream_reset_ppm: 0,
            connect_refused_ppm: 0,
        }
    }
}

/// A simulated network and its clock. Clones share it.
#[derive(Clone, Debug)]
pub struct SimNet {
    net: Rc<RefCell<Net>>,
}

impl SimNet {
    /// A network at time 1 s (so that "an hour ago" style arithmetic in tests has some room).
    #[must_use]
    pub fn new(seed: u64, config: SimConfig) -> Self {
        Self { net: Rc::new(RefCell::new(Net::new(seed, config))) }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.net.borrow().now
    }

    /// Moves the clock forward, never back. Deliveries due by then reach their sockets.
    pub fn advance_to(&self, time: Nanos) {
        self.net.borrow_mut().advance_to(time);
    }

    /// Returns the time at which the next datagram, ICMP error or segment of a stream arrives, if
    /// any is under way.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Nanos> {
        self.net.borrow().next_delivery()
    }

    /// Changes the rules for datagrams sent from now on.
    pub fn set_config(&self, config: SimConfig) {
        self.net.borrow_mut().config = config;
    }

    /// Shows every datagram that enters the network to `tap`, also those that will be lost.
    pub fn set_tap(&self, tap: Tap) {
        self.net.borrow_mut().tap = Some(tap);
    }
}
