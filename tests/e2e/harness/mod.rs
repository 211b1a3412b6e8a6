//! The shared parts of the end-to-end tests: processes with captured output and time limits, SIPp
//! as a peer, scripted peers on plain sockets, and the summary that a run leaves.
//!
//! No test asserts how long something took, except where the duration is the behaviour under test.
//! Limits of time are there to end a test that hangs, and are generous for slow machines.

pub mod baresip;
pub mod browser;
pub mod certs;
pub mod daemon;
pub mod gossipper;
pub mod http;
pub mod kamailio;
pub mod lock;
pub mod namespaces;
pub mod peer;
pub mod phone;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod relay;
pub mod rtpengine;
pub mod scratch;
pub mod service;
pub mod sipp;
pub mod summary;
pub mod tools;
pub mod tty;

use std::time::Duration;

/// The longest wait for a process or peer that should have finished.
pub const PATIENCE: Duration = Duration::from_secs(120);
