//! Measurement of received streams: loss, jitter, order, bursts, an estimated MOS, and whether
//! there was anything to hear.
//!
//! A [`Stream`] is told of each packet and keeps none. It has a fixed size and allocates nothing.

mod buffer;
mod clock;
mod digits;
mod emodel;
mod losses;
mod sequence;
mod stream;

#[cfg(test)]
mod tests;

pub use buffer::Buffer;
pub use digits::{DigitReceiver, TelephoneEvent};
pub use emodel::{Band, CODECS, Codec, Path, Rating};
pub use stream::{Receipt, Stream};

use super::codec::level::{AUDIBLE_DBOV, AUDIBLE_MEAN_SQUARE};

/// The payload of a packet, as a listener hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Audio that is heard.
    Audible,
    /// Audio below [`AUDIBLE_DBOV`], or comfort noise (RFC 3389).
    Quiet,
    /// Audio whose level is not known, or video.
    Unjudged,
    /// A telephone event (RFC 4733). All its packets have the timestamp of its beginning.
    Event,
    /// A payload type that was not negotiated.
    WrongPayloadType,
}

impl Sound {
    /// Audio of a level in dBov, if it is known.
    pub fn of_dbov(level: Option<f32>) -> Self {
        match level {
            None => Self::Unjudged,
            Some(level) if level >= AUDIBLE_DBOV => Self::Audible,
            Some(_) => Self::Quiet,
        }
    }

    /// Audio whose 16-bit samples have this mean square, if it is known.
    pub fn of_mean_square(mean_square: Option<u32>) -> Self {
        match mean_square {
            None => Self::Unjudged,
            Some(square) if square >= AUDIBLE_MEAN_SQUARE => Self::Audible,
            Some(_) => Self::Quiet,
        }
    }
}

/// The format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Ticks of its timestamp in a second.
    pub clock_rate: u32,
    /// Audio in one packet, in milliseconds.
    pub packet_ms: u16,
    /// Place of its codec in [`CODECS`]; behind them for a codec without planning values.
    codec: u8,
}

impl Format {
    /// The format of an encoding, by its name in SDP.
    pub fn of(encoding: &str, clock_rate: u32, packet_ms: u16) -> Self {
        let codec = CODECS.iter().position(|codec| codec.name.eq_ignore_ascii_case(encoding));
        Self { clock_rate, packet_ms, codec: codec.unwrap_or(CODECS.len()) as u8 }
    }

    /// The planning values of its codec. Without them a stream has no MOS.
    pub fn codec(&self) -> Option<&'static Codec> {
        CODECS.get(usize::from(self.codec))
    }
}
