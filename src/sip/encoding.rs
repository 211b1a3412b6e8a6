//! RTP encodings as SDP names them (RFC 3551, and the payload formats of single codecs).
//!
//! Knows names, clocks and sizes, and nothing of how audio is coded.

use core::fmt;

/// An encoding that a stream of RTP can carry.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// Name in `a=rtpmap`, without regard to case (RFC 8866 section 6.6).
    pub name: &'static str,
    /// Payload type: the static one, or the one that we offer.
    pub payload_type: u8,
    /// True if the payload type means this encoding without an `a=rtpmap`.
    pub is_static: bool,
    /// Ticks of the RTP timestamp in a second.
    pub clock_rate: u32,
    /// Channels in `a=rtpmap`.
    pub channels: u8,
    /// Samples of audio in a second; 0 for what is no audio.
    pub sample_rate: u32,
    /// Time between two packets, unless SDP says another, in milliseconds.
    pub ptime_ms: u16,
    /// True for video.
    pub is_video: bool,
    block_ms: u16,
    /// Bytes of such a block; 0 if they vary.
    block_bytes: u16,
}

/// All known encodings. G.722 has a clock of 8000 Hz although it codes 16000 samples (RFC 3551
/// section 4.5.2). Opus always has two channels in SDP (RFC 7587 section 7).
pub const ENCODINGS: &[Encoding] = &[
    audio("PCMU", 0, 8000, 20, 1, 8),
    audio("PCMA", 8, 8000, 20, 1, 8),
    Encoding { sample_rate: 16_000, ..audio("G722", 9, 8000, 20, 1, 8) },
    audio("G729", 18, 8000, 20, 10, 10),
    // 30 ms is the default mode; blocks of 20 ms have 38 bytes (RFC 3952 section 3).
    audio("iLBC", 97, 8000, 30, 30, 50),
    Encoding { channels: 2, ..audio("opus", 111, 48_000, 20, 20, 0) },
    Encoding { sample_rate: 0, ..audio("CN", 13, 8000, 150, 150, 1) },
    Encoding { sample_rate: 0, ..audio("telephone-event", 101, 8000, 20, 20, 4) },
    // SIPp's pattern, in place of coded pictures.
    video("H264", 96, 160, 1280),
    video("VP8", 120, 33, 0),
];

const fn audio(
    name: &'static str,
    payload_type: u8,
    clock_rate: u32,
    ptime_ms: u16,
    block_ms: u16,
    block_bytes: u16,
) -> Encoding {
    Encoding {
        name,
        payload_type,
        // RFC 3551 section 6 leaves 96 to 127 to SDP.
        is_static: payload_type < 96,
        clock_rate,
        channels: 1,
        sample_rate: clock_rate,
        ptime_ms,
        is_video: false,
        block_ms,
        block_bytes,
    }
}

const fn video(name: &'static str, payload_type: u8, ptime_ms: u16, bytes: u16) -> Encoding {
    let as_audio = audio(name, payload_type, 90_000, ptime_ms, ptime_ms, bytes);
    Encoding { sample_rate: 0, is_video: true, ..as_audio }
}

impl Encoding {
    /// The encoding of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ENCODINGS.iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// The encoding that a payload type means without an `a=rtpmap`.
    pub fn by_static_payload_type(payload_type: u8) -> Option<&'static Self> {
        ENCODINGS.iter().find(|known| known.is_static && known.payload_type == payload_type)
    }

    /// Bytes of the payload of a packet of `ptime_ms`; `None` if they vary, or if the codec has no
    /// such packet.
    pub fn payload_bytes(&self, ptime_ms: u16) -> Option<usize> {
        let (block_ms, block_bytes) = match (self.name, ptime_ms) {
            ("iLBC", ptime_ms) if ptime_ms % 30 != 0 => (20, 38),
            // One packet says all, however long it is valid.
            ("CN" | "telephone-event", 1..) => return Some(self.block_bytes.into()),
            _ => (self.block_ms, self.block_bytes),
        };
        let is_whole = ptime_ms > 0 && ptime_ms.is_multiple_of(block_ms) && block_bytes > 0;
        is_whole.then(|| usize::from(ptime_ms / block_ms) * usize::from(block_bytes))
    }

    /// Duration of the shortest block that the codec can code, in milliseconds.
    pub fn block_ms(&self) -> u16 {
        self.block_ms
    }

    /// Advance of the RTP timestamp in a packet of `ptime_ms`.
    pub fn ticks(&self, ptime_ms: u16) -> u32 {
        (u64::from(self.clock_rate) * u64::from(ptime_ms) / 1000) as u32
    }

    /// The value of `a=rtpmap` behind the payload type.
    pub fn rtpmap(&'static self) -> impl fmt::Display {
        struct RtpMapValue(&'static Encoding);
        impl fmt::Display for RtpMapValue {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Encoding { name, clock_rate, channels, .. } = self.0;
                match channels {
                    1 => write!(f, "{name}/{clock_rate}"),
                    _ => write!(f, "{name}/{clock_rate}/{channels}"),
                }
            }
        }
        RtpMapValue(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_payload_formats() {
        let bytes = |name, ptime_ms| Encoding::by_name(name).unwrap().payload_bytes(ptime_ms);
        // RFC 3551 table 1, RFC 3952, and what SIPp sends as H.264.
        assert_eq!(bytes("pcmu", 20), Some(160));
        assert_eq!(bytes("PCMA", 30), Some(240));
        assert_eq!(bytes("G722", 20), Some(160));
        assert_eq!(bytes("G729", 20), Some(20));
        assert_eq!(bytes("G729", 25), None);
        assert_eq!(bytes("ilbc", 30), Some(50));
        assert_eq!(bytes("iLBC", 20), Some(38));
        assert_eq!(bytes("iLBC", 60), Some(100));
        assert_eq!(bytes("iLBC", 0), None);
        assert_eq!(bytes("CN", 20), Some(1));
        assert_eq!(bytes("H264", 160), Some(1280));
        assert_eq!(bytes("opus", 20), None);
        assert_eq!(bytes("VP8", 33), None);
    }

    #[test]
    fn clocks_are_those_of_rtp() {
        let ticks = |name| Encoding::by_name(name).map(|known| known.ticks(known.ptime_ms));
        assert_eq!(ticks("G722"), Some(160));
        assert_eq!(ticks("iLBC"), Some(240));
        assert_eq!(ticks("opus"), Some(960));
        assert_eq!(ticks("H264"), Some(14_400));
    }

    #[test]
    fn encodings_are_found_as_sdp_names_them() {
        let rtpmap = |payload_type| Encoding::by_static_payload_type(payload_type);
        assert_eq!(rtpmap(9).unwrap().rtpmap().to_string(), "G722/8000");
        assert_eq!(rtpmap(97), None);
        assert_eq!(Encoding::by_name("OPUS").unwrap().rtpmap().to_string(), "opus/48000/2");
        for (at, one) in ENCODINGS.iter().enumerate() {
            let is_other = |other: &Encoding| other.payload_type != one.payload_type;
            assert!(ENCODINGS[at + 1..].iter().all(is_other), "{} is offered twice", one.name);
        }
    }
}
