//! Figures of a leg: sent, received and measured.

use super::pattern::PatternReport;

use std::net::SocketAddr;

use crate::stats::HeardVerdict;

/// The verdict about a call's audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heard {
    /// The call had no audio to hear: nothing was negotiated or played.
    #[default]
    Unknown,
    /// Neither side heard the other.
    None,
    /// We heard the peer, or the peer reported to hear us, but not both.
    OneWay,
    /// Both ways.
    TwoWay,
}

impl Heard {
    /// The verdict as it is counted.
    pub fn verdict(self) -> HeardVerdict {
        match self {
            Self::Unknown => HeardVerdict::Unknown,
            Self::None => HeardVerdict::None,
            Self::OneWay => HeardVerdict::OneWay,
            Self::TwoWay => HeardVerdict::TwoWay,
        }
    }
}

/// A MOS in hundredths, as records have it.
pub fn hundredths(mos: Option<f32>) -> Option<u16> {
    mos.map(|mos| (mos * 100.0).round() as u16)
}

/// Figures of one stream in one direction of reception (RFC 3550 section 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// Packets received, without duplicates.
    pub packets: u64,
    /// Payload octets received.
    pub octets: u64,
    /// Packets that were expected.
    pub expected: u64,
    /// Packets that never came, or after a hundred later ones.
    pub lost: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came too late for the jitter buffer.
    pub discarded: u64,
    /// Packets that belong to none of the sources that the stream had: single ones of another SSRC
    /// or far from the sequence.
    pub strays: u64,
    /// Bursts of packets lost or discarded (RFC 3611 section 4.7.2).
    pub bursts: u64,
    /// Interarrival jitter, in nanoseconds.
    pub jitter_ns: u64,
    /// Highest interarrival jitter, in nanoseconds.
    pub jitter_max_ns: u64,
    /// Mean of the interarrival jitter at each packet, in nanoseconds.
    pub jitter_mean_ns: u64,
    /// Estimated MOS, on the scale of the codec's band (G.107, G.107.1, G.107.2): the mean over
    /// intervals of five seconds. `None` until half a second was measured, and for a codec without
    /// planning values.
    pub mos: Option<f32>,
    /// Lowest estimated MOS of such an interval.
    pub mos_min: Option<f32>,
    /// Packets of a payload type that was not negotiated.
    pub wrong_payload_type: u64,
    /// Changes of the SSRC.
    pub ssrc_changes: u64,
    /// Packets with audio above silence.
    pub audible: u64,
    /// Packets with audio whose level is not known.
    pub unjudged: u64,
    /// Longest time without a packet between the first and the last one, in nanoseconds.
    pub longest_gap_ns: u64,
    /// Longest time without an audible packet while somebody listened, in nanoseconds.
    pub dead_air_ns: u64,
}

/// Figures of a leg at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegReport {
    /// The verdict.
    pub heard: Heard,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload octets sent.
    pub octets_sent: u64,
    /// Figures of reception.
    pub reception: Reception,
    /// Time from the leg's first offer or answer to the first audible packet, in nanoseconds.
    pub first_audio_ns: Option<u64>,
    /// Time from the answer of the call to the first audible packet, in nanoseconds.
    pub first_audio_after_answer_ns: Option<u64>,
    /// Round-trip time by RTCP, in nanoseconds; the last one measured.
    pub round_trip_ns: Option<u64>,
    /// Fraction of our packets that the peer reported lost, in 1/256; the last report's.
    pub peer_fraction_lost: Option<u8>,
    /// Jitter that the peer reported, in nanoseconds.
    pub peer_jitter_ns: Option<u64>,
    /// Packets that came after the call had ended.
    pub after_end: u64,
    /// True if watermarks of another stream were heard.
    pub has_watermarks: bool,
    /// Packets whose watermarks show that one side hears another call.
    pub crosstalk_packets: u64,
    /// The check of the pattern that each track played: audio and video.
    pub patterns: [Option<PatternReport>; 2],
    /// The way of the audio; `None` if the peer signalled no address for it.
    pub path: Option<AudioPath>,
}

impl LegReport {
    /// True if a pattern did not come back.
    pub fn is_pattern_failed(&self) -> bool {
        self.patterns.iter().flatten().any(|pattern| pattern.is_failed)
    }
}

/// The way of a call's audio: its ends, its sources, and what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPath {
    /// Our address of RTP.
    pub local: SocketAddr,
    /// The address of the peer that we send to.
    pub remote: SocketAddr,
    /// Our SSRC.
    pub ssrc: u32,
    /// The last SSRC of the peer; `None` if nothing came.
    pub peer_ssrc: Option<u32>,
    /// The encoding that we send, its payload type and its clock rate.
    pub encoding: (&'static str, u8, u32),
}
