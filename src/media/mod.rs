//! Streams of RTP: sources, pacing, measurement, protection. Sans-IO.
//!
//! A [`Media`] belongs to one worker. The engine tells it what calls play and hear; the worker
//! hands it datagrams and times, and opens sockets for it. It opens no socket, reads no clock,
//! spawns no thread and writes no log.

pub mod border;
pub mod capture;
pub mod clip;
pub mod codec;
pub mod command;
pub mod quality;
pub mod report;
pub mod rtcp;
pub mod rtp;
pub mod digits;
pub mod library;
pub mod report;
pub mod tone;
pub mod wav;

pub use border::{Medium, MediumEffect, MediumInput, NoMedium};
