//! RTCP: what is reported about streams (RFC 3550 section 6), with the VoIP metrics of extended
//! reports (RFC 3611). Compounds are written into a buffer and read in place, without allocation.

mod read;
mod timing;
mod write;

#[cfg(test)]
mod tests;

pub use read::{Blocks, Chunk, Compound, Goodbye, Packet, SourceDescription, XrBlock, XrBlocks};
pub use timing::{Interval, LastReport, Ntp, Schedule, round_trip_ns};
pub use write::Writer;

/// Packet type of a sender report.
pub(in crate::media) const SENDER_REPORT: u8 = 200;
/// Packet type of a receiver report.
const RECEIVER_REPORT: u8 = 201;
/// Packet type of a source description.
const SOURCE_DESCRIPTION: u8 = 202;
/// Packet type of a BYE.
const GOODBYE: u8 = 203;
/// Packet type of an extended report (RFC 3611).
const EXTENDED_REPORT: u8 = 207;
/// Item of a source description with the canonical name.
const CNAME: u8 = 1;
/// Block of an extended report with VoIP metrics (RFC 3611 section 4.7).
const VOIP_METRICS: u8 = 7;

/// Reception blocks that one report has room for: their number has five bits.
pub const BLOCKS_MAX: usize = 31;
/// Length of a reception block.
const BLOCK_LEN: usize = 24;
/// Length of a block of VoIP metrics behind its own header.
const VOIP_METRICS_LEN: usize = 32;

/// A sender's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Time of the report.
    pub time: Ntp,
    /// The same time on the clock of the stream.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// Figures of the reception of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream that the figures are about.
    pub ssrc: u32,
    /// Share of the packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, 24 bits. Duplicates can make it negative.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the number of its cycles above.
    pub highest_sequence: u32,
    /// Interarrival jitter, in units of the stream's clock.
    pub jitter: u32,
    /// Middle of the time in the last sender report of the stream; 0 if none came.
    pub last_sr: u32,
    /// Time since that report came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// VoIP metrics of the reception of one stream (RFC 3611 section 4.7). 127 means that a value is
/// not known, but for levels, rates and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The stream that the figures are about.
    pub ssrc: u32,
    /// Share of the packets lost, in 1/256.
    pub loss_rate: u8,
    /// Share of the packets that came too late or too early for the jitter buffer, in 1/256.
    pub discard_rate: u8,
    /// Share of the packets lost or discarded within bursts, in 1/256.
    pub burst_density: u8,
    /// Share of the packets lost or discarded between bursts, in 1/256.
    pub gap_density: u8,
    /// Mean duration of a burst in milliseconds.
    pub burst_ms: u16,
    /// Mean duration of a gap in milliseconds.
    pub gap_ms: u16,
    /// Round-trip time in milliseconds; 0 if it is not known.
    pub round_trip_ms: u16,
    /// Delay within the end system in milliseconds; 0 if it is not known.
    pub end_system_ms: u16,
    /// Level of the speech in dBm0; 127 if it is not known.
    pub signal_level: i8,
    /// Level of the noise in dBm0; 127 if it is not known.
    pub noise_level: i8,
    /// Residual echo return loss in dB.
    pub echo_return_loss: u8,
    /// Packets received in a row that end a burst.
    pub gap_min: u8,
    /// R factor of the stream.
    pub r_factor: u8,
    /// R factor of a path beyond.
    pub external_r_factor: u8,
    /// Listening quality, MOS * 10.
    pub mos_listening: u8,
    /// Conversational quality, MOS * 10.
    pub mos_conversational: u8,
    /// Loss concealment and kind of the jitter buffer (section 4.7.6).
    pub receiver: u8,
    /// Nominal delay of the jitter buffer in milliseconds.
    pub buffer_nominal_ms: u16,
    /// Current longest delay of the jitter buffer in milliseconds.
    pub buffer_maximum_ms: u16,
    /// Longest delay that the jitter buffer can have, in milliseconds.
    pub buffer_absolute_ms: u16,
}

/// A value of [`VoipMetrics`] that is not known.
pub const UNKNOWN: u8 = 127;
