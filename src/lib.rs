//! Gossipper: a SIP load tester for Linux.
//!
//! `docs/ARCHITECTURE.md` describes the architecture. The first lines of each module say what it is
//! for and what it deliberately does not know.
#![forbid(unsafe_code)]

mod calendar;
pub mod cli;
pub mod config;
pub mod control;
pub mod dataplane;
mod decimal;
pub mod doctor;
pub mod engine;
pub mod files;
mod gate;
pub mod injection;
pub mod media;
pub mod options;
pub mod output;
mod procfs;
pub mod recorder;
pub mod run;
pub mod scenario;
pub mod sent_files;
pub mod server;
pub mod shell;
pub mod sinks;
pub mod sip;
pub mod stats;
pub mod stream;
pub mod terminal;
pub mod trace;
pub mod tui;
