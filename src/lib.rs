//! Gossipper: a SIP and RTP load tester for Linux.
//!
//! `docs/ARCHITECTURE.md` describes the house; each module's first lines say what it is for and
//! what it deliberately does not know.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod output;
pub mod scenario;
pub mod sip;
pub mod stats;
