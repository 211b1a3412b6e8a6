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
pub mod config;
pub mod crypto;
pub mod digits;
pub mod dtls;
pub mod ice;
pub mod library;
pub mod pattern;
pub mod ports;
pub mod quality;
pub mod report;
pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod tap;
pub mod tone;
pub mod turn;
pub mod watermark;
pub mod wav;

mod flows;
mod legs;
mod negotiate;
mod protection;
mod schedule;
mod sender;
mod slab;
pub mod srtp;
mod stream;
mod verdict;

pub use border::{Medium, MediumEffect, MediumInput, NoMedium};
pub use command::{Agreed, Command, Event, LegId, LegSpec, Local, MediaFault, Opening, Track};
pub use config::{Gate, MediaConfig, Mode, Recordings, RtcpInterval};
pub use legs::{Media, MediaHandle, SeenReport};
pub use pattern::{PatternReport, WrongPayload};
pub use report::{AudioPath, Heard, LegReport, Reception};
pub use stream::{PROTECTION_BYTES, STREAM_BYTES};
