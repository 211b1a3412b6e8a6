//! Workers: an engine on a driver, on a pinned thread.
//!
//! A raw driver is at the bottom. Above it, side by side, are the transport of SIP (datagrams or
//! byte streams) and the sockets of a medium, told apart by socket id. The module knows engines,
//! drivers and queues, but no command lines, files or terminals.

pub mod third_party;
pub mod wiring;

mod bind;
mod demux;
mod launch;
mod network;
mod running;
mod told;
mod transport;
mod worker;

pub use bind::bind_again;
pub use demux::Arrival;
pub use launch::{Bind, Launch, LaunchError, StreamPlan, launch};

pub use network::Network;
pub use running::{Running, WorkerHandle, swap};
pub use transport::streams::{Reconnect, StreamsConfig};
pub use transport::udp::sip_socket;
pub use worker::{
    ANSWERS, Handover, LINGER_NS, Links, NOTES, PerCallSockets, REPORT_NS, Stops, Turn, Undone,
    WATCHDOG_NS, Worker, WorkerParts,
};

pub use crate::engine::{Answer, WorkerRequest};
pub use crate::media::{Medium, MediumEffect, MediumInput, NoMedium};
