//! The thread that turns copies of media into files: WAV of a call's audio, pcapng of its packets.
//!
//! It is apart from the writer of traces, so that a flood of media costs no record. Workers hand it
//! bytes through bounded queues ([`crate::media::tap`]) and never wait. A file has a temporary name
//! until it is whole and on disk.

mod audio;
mod packets;
mod place;
mod take;
#[cfg(test)]
mod tests;
mod thread;
mod wave;

pub use place::Places;
pub use thread::{Recorder, Source, Tally};
