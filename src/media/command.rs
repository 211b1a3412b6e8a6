//! What a scenario makes the streams of a call do.

use std::sync::Arc;

use super::clip::ClipSet;

/// One of the two streams that a leg of a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// Audio; also T.38, which takes the place of audio.
    Audio,
    /// Video.
    Video,
}

/// A command for one track of a leg.
#[derive(Clone, Debug)]
pub enum Command {
    /// Play from now on, in place of what plays.
    Play {
        /// The media.
        clips: Arc<ClipSet>,
        /// How often; `None` without end.
        loops: Option<u32>,
        /// Time after which it stops; `None` for all of it.
        stop_after_ns: Option<u64>,
        /// Payload type; `None` for the negotiated one, or else that of the encoding.
        payload_type: Option<u8>,
        /// Encoding; `None` for the negotiated one.
        encoding: Option<&'static str>,
    },
    /// Hold what plays.
    Pause,
    /// Go on with what was held.
    Resume,
    /// End what plays.
    Stop,
    /// Send digits as telephone events (RFC 4733), in place of the audio while they last.
    Digits {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digits: Box<[u8]>,
        /// Duration of a digit in milliseconds.
        digit_ms: u16,
        /// Pause after a digit in milliseconds.
        pause_ms: u16,
        /// Payload type; `None` for the negotiated one.
        payload_type: Option<u8>,
    },
    /// Send back what is received, or end that.
    Echo(bool),
    /// Wait for packets; the outcome comes as [`Event::Checked`].
    Check {
        /// Least packets received from now on.
        received: u32,
        /// Least packets sent from now on.
        sent: u32,
        /// Time limit in nanoseconds.
        timeout_ns: u64,
    },
    /// Hand decoded audio to a recording: of the peer, or of both sides.
    Record {
        /// Number of the recording.
        recording: u32,
        /// True for both directions.
        duplex: bool,
    },
    /// End the recording.
    StopRecording,
}

/// News of a leg for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The outcome of a [`Command::Check`].
    Checked(bool),
    /// A digit was received: `0` to `9`, `*`, `#`, `A` to `D`.
    Digit(u8),
    /// What played has ended by itself.
    Played(Track),
}
