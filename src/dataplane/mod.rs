//! Workers: an engine on a driver, on a pinned thread.
//!
//! Knows engines, drivers and queues; knows nothing of command lines, files or terminals.

pub mod third_party;
pub mod wiring;

mod bind;
mod launch;
mod link;
mod mux;
mod running;
mod told;
mod worker;

pub use bind::bind_again;
pub use launch::{Bind, Launch, LaunchError, StreamPlan, launch};
pub use link::Link;
pub use mux::{MuxConfig, Reconnect, StreamMux};
pub use running::{Running, WorkerHandle, swap};
pub use worker::{
    ANSWERS, Handover, LINGER_NS, Links, NOTES, PerCallSockets, REPORT_NS, Turn, Undone,
    WATCHDOG_NS, Worker, WorkerParts, sip_socket,
};

pub use crate::engine::{Answer, WorkerRequest};
