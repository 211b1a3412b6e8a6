//! Actions on the media of a call, as programs hold them.

use super::media::{MediaTrack, PacketCheck, StreamFormat};
use super::program::{Operand, VariableRef};
use super::template::Template;

/// An action on the media of a call.
#[derive(Debug)]
pub enum MediaAction {
    /// Plays a source in place of what plays.
    Play(Play),
    /// Holds what plays.
    Pause(MediaTrack),
    /// Goes on with what was held.
    Resume(MediaTrack),
    /// Ends what plays.
    Stop(MediaTrack),
    /// Sends digits as telephone events (RFC 4733).
    Digits(Digits),
    /// Sends back what is received, or ends that.
    Echo(MediaTrack, bool),
    /// Sends back what is received on all streams, unless the value is 0.
    EchoAll(Operand),
    /// Waits for packets; the call fails if they do not come.
    Check(PacketCheck),
    /// Lets a stream go to an address that no message describes.
    Connect(Connect),
    /// Waits until no stream plays a source, but no longer than so many milliseconds.
    AwaitEnd(Option<u32>),
    /// Records audio into a file.
    Record(Record),
    /// Ends the recording.
    StopRecording,
    /// Moves the digits that were received into a variable.
    TakeDigits {
        /// The variable that receives digits.
        from: VariableRef,
        /// The variable of the scenario.
        to: VariableRef,
    },
}

impl MediaAction {
    /// The text of the action, if calls fill it in.
    pub(super) fn template(&self) -> Option<&Template> {
        match self {
            Self::Digits(digits) => Some(&digits.text),
            Self::Connect(connect) => Some(&connect.to),
            Self::Record(record) => Some(&record.name),
            _ => None,
        }
    }

    /// The stream that the action is about, if it is about one.
    pub(super) fn track(&self) -> Option<MediaTrack> {
        match self {
            Self::Play(play) => Some(play.track),
            Self::Pause(track) | Self::Resume(track) | Self::Stop(track) | Self::Echo(track, _) => {
                Some(*track)
            }
            Self::Digits(_) => Some(MediaTrack::Audio),
            Self::Connect(connect) => Some(connect.format.track()),
            Self::EchoAll(_)
            | Self::Check(_)
            | Self::Record(_)
            | Self::StopRecording
            | Self::AwaitEnd(_)
            | Self::TakeDigits { .. } => None,
        }
    }
}

/// A source to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// The stream.
    pub track: MediaTrack,
    /// Index into [`Program::sources`](super::Program::sources).
    pub source: u16,
    /// Number of times; `None` without end.
    pub loops: Option<u32>,
    /// Time after which it stops, in milliseconds; `None` for all of it.
    pub stop_after_ms: Option<u32>,
    /// Payload type; `None` for the negotiated one.
    pub payload_type: Option<u8>,
    /// Encoding as in SDP; `None` for the negotiated one.
    pub encoding: Option<&'static str>,
}

impl Play {
    /// The whole source, once.
    pub(super) fn once(track: MediaTrack, source: u16) -> Self {
        Self {
            track,
            source,
            loops: Some(1),
            stop_after_ms: None,
            payload_type: None,
            encoding: None,
        }
    }
}

/// The other end of a stream without a session description. The text is `IP:PORT` once its keywords
/// are filled in.
#[derive(Debug)]
pub struct Connect {
    /// The text.
    pub to: Template,
    /// The format in both directions.
    pub format: StreamFormat,
}

/// Digits to send. The text is `digits[,milliseconds]` once its keywords are filled in.
#[derive(Debug)]
pub struct Digits {
    /// The text.
    pub text: Template,
    /// Duration of a digit in milliseconds, if the text has none.
    pub digit_ms: u16,
    /// Pause after a digit in milliseconds.
    pub pause_ms: u16,
    /// Payload type, if none was negotiated.
    pub payload_type: u8,
}

/// A file to record into.
#[derive(Debug)]
pub struct Record {
    /// The folder as it is written, with the `/` behind it; empty for that of recordings.
    pub folder: Box<[u8]>,
    /// The name of the file.
    pub name: Template,
    /// True for both directions.
    pub is_duplex: bool,
}
