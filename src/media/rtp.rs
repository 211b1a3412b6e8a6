//! RTP packets: the header that we write, and a reader for any packet that comes (RFC 3550 section
//! 5). Also the protocols that share a port with RTP, told apart by their first bytes.

use crate::stats::RtpFault;

/// Length of a header without contributing sources and extension.
pub const HEADER_LEN: usize = 12;

/// Version 2 in the two uppermost bits of the first byte.
const VERSION: u8 = 2 << 6;
const VERSION_MASK: u8 = 3 << 6;
const PADDING: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 4;
const CSRC_COUNT_MASK: u8 = 0x0f;
const MARKER: u8 = 1 << 7;

/// The fixed part of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// The marker bit: of audio, the first packet after silence.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the encoding's clock.
    pub timestamp: u32,
    /// Synchronisation source: the number of the stream.
    pub ssrc: u32,
}

impl Header {
    /// Writes a header without contributing sources, extension and padding.
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        out[0] = VERSION;
        out[1] = (self.payload_type & !MARKER) | if self.marker { MARKER } else { 0 };
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            payload_type: bytes[1] & !MARKER,
            marker: bytes[1] & MARKER != 0,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: word(bytes, 4),
            ssrc: word(bytes, 8),
        }
    }
}

/// The header of a packet that is sent with other values than it was made with: the next one of a
/// stream, or one of a capture.
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; HEADER_LEN]);

impl<'a> HeaderMut<'a> {
    /// The header at the beginning of `packet`; `None` if the packet is too short to have one.
    pub fn of(packet: &'a mut [u8]) -> Option<Self> {
        packet.first_chunk_mut().map(Self)
    }

    /// Replaces the marker bit.
    pub fn set_marker(&mut self, marker: bool) {
        self.0[1] = (self.0[1] & !MARKER) | if marker { MARKER } else { 0 };
    }

    /// Replaces the payload type, 0 to 127.
    pub fn set_payload_type(&mut self, payload_type: u8) {
        self.0[1] = (self.0[1] & MARKER) | (payload_type & !MARKER);
    }

    /// Replaces the sequence number.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.0[2..4].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Replaces the timestamp.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.0[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }

    /// Replaces the synchronisation source.
    pub fn set_ssrc(&mut self, ssrc: u32) {
        self.0[8..12].copy_from_slice(&ssrc.to_be_bytes());
    }
}

/// A header extension (RFC 3550 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The 16 bits that the profile defines: `0xbede` for short elements (RFC 8285).
    pub profile: u16,
    /// The extension behind its length: whole words.
    pub data: &'a [u8],
}

/// A packet that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part of its header.
    pub header: Header,
    /// Contributing sources, four bytes each.
    pub csrcs: &'a [u8],
    /// Header extension.
    pub extension: Option<Extension<'a>>,
    /// Payload without padding.
    pub payload: &'a [u8],
    /// Bytes of padding, with the one that has their number.
    pub padding: u8,
}

impl<'a> Packet<'a> {
    /// Reads a whole datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpFault> {
        let Parts { header, first, csrcs, extension, rest } = Parts::split(datagram)?;
        let padding = if first & PADDING == 0 {
            0
        } else {
            // The last byte counts itself.
            let padding = rest.last().copied().unwrap_or(0);
            if padding == 0 || usize::from(padding) > rest.len() {
                return Err(RtpFault::BadPadding);
            }
            padding
        };
        let payload = &rest[..rest.len() - usize::from(padding)];
        Ok(Self { header, csrcs, extension, payload, padding })
    }

    /// The contributing sources.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.csrcs.as_chunks().0.iter().map(|&csrc| u32::from_be_bytes(csrc))
    }
}

/// The fixed header of a packet and the length of all that stands before its payload. The payload
/// is not looked at: that of SRTP has its padding encrypted, and an authentication tag behind it.
pub fn header(datagram: &[u8]) -> Result<(Header, usize), RtpFault> {
    let parts = Parts::split(datagram)?;
    Ok((parts.header, datagram.len() - parts.rest.len()))
}

/// A datagram, split before its payload.
struct Parts<'a> {
    header: Header,
    /// The first byte of the header.
    first: u8,
    csrcs: &'a [u8],
    extension: Option<Extension<'a>>,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(datagram: &'a [u8]) -> Result<Self, RtpFault> {
        let Some((fixed, rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(RtpFault::TooShort);
        };
        let first = fixed[0];
        if first & VERSION_MASK != VERSION {
            return Err(RtpFault::BadVersion);
        }
        let csrcs_len = usize::from(first & CSRC_COUNT_MASK) * 4;
        let (csrcs, mut rest) = rest.split_at_checked(csrcs_len).ok_or(RtpFault::CsrcOverrun)?;
        let mut extension = None;
        if first & EXTENSION != 0 {
            let (head, behind) = rest.split_first_chunk::<4>().ok_or(RtpFault::ExtensionOverrun)?;
            let len = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            let data;
            (data, rest) = behind.split_at_checked(len).ok_or(RtpFault::ExtensionOverrun)?;
            let profile = u16::from_be_bytes([head[0], head[1]]);
            extension = Some(Extension { profile, data });
        }
        Ok(Self { header: Header::read(fixed), first, csrcs, extension, rest })
    }
}

/// A protocol that may share a port with RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// STUN, of ICE and TURN.
    Stun,
    /// ZRTP.
    Zrtp,
    /// DTLS, of DTLS-SRTP.
    Dtls,
    /// Data of a TURN channel.
    TurnChannel,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP, on the port of RTP or on its own.
    Rtcp,
}

impl Protocol {
    /// Tells the protocol of a datagram by its first byte (RFC 7983 section 7), and RTP from RTCP
    /// by the second one (RFC 5761 section 4). The datagram may still be malformed.
    pub fn of(datagram: &[u8]) -> Result<Self, RtpFault> {
        let first = *datagram.first().ok_or(RtpFault::TooShort)?;
        Ok(match first {
            0..=3 => Self::Stun,
            16..=19 => Self::Zrtp,
            20..=63 => Self::Dtls,
            64..=79 => Self::TurnChannel,
            128..=191 => match datagram.get(1).ok_or(RtpFault::TooShort)? {
                // RTP with the payload types 64 to 95 would look the same; nobody may use them
                // beside RTCP.
                192..=223 => Self::Rtcp,
                _ => Self::Rtp,
            },
            _ => return Err(RtpFault::UnknownProtocol),
        })
    }
}

fn word(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        payload_type: 0,
        marker: true,
        sequence: 0x1234,
        timestamp: 0x5566_7788,
        ssrc: 0xdead_beef,
    };

    fn header_bytes() -> [u8; HEADER_LEN] {
        [0x80, 0x80, 0x12, 0x34, 0x55, 0x66, 0x77, 0x88, 0xde, 0xad, 0xbe, 0xef]
    }

    #[test]
    fn a_header_has_the_layout_of_the_rfc() {
        let mut out = [0xff; HEADER_LEN];
        HEADER.write(&mut out);
        assert_eq!(out, header_bytes());
        let packet = Packet::parse(&out).unwrap();
        assert_eq!((packet.header, packet.payload), (HEADER, &[][..]));
    }

    #[test]
    fn fields_are_replaced_in_place() {
        let mut packet = [&header_bytes()[..], b"payload"].concat();
        let mut header = HeaderMut::of(&mut packet).unwrap();
        header.set_payload_type(101);
        header.set_marker(false);
        header.set_sequence(1);
        header.set_timestamp(2);
        header.set_ssrc(3);
        let read = Packet::parse(&packet).unwrap();
        let expected =
            Header { payload_type: 101, marker: false, sequence: 1, timestamp: 2, ssrc: 3 };
        assert_eq!((read.header, read.payload), (expected, &b"payload"[..]));
        let mut header = HeaderMut::of(&mut packet).unwrap();
        header.set_marker(true);
        header.set_payload_type(8);
        assert_eq!(packet[1], 0x88);
        assert!(HeaderMut::of(&mut packet[..11]).is_none());
    }

    #[test]
    fn every_part_of_a_packet_is_found() {
        let mut bytes = header_bytes().to_vec();
        bytes[0] = VERSION | PADDING | EXTENSION | 2;
        bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        bytes.extend_from_slice(&[1, 2, 3, 0, 2]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.header, HEADER);
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [7, 9]);
        let extension = Extension { profile: 0xbede, data: &[0x10, 0xff, 0, 0] };
        assert_eq!(packet.extension, Some(extension));
        assert_eq!((packet.payload, packet.padding), (&[1, 2, 3][..], 2));
        assert_eq!(super::header(&bytes), Ok((HEADER, 28)));
    }

    #[test]
    fn every_lie_about_a_length_has_its_cause() {
        let with = |first: u8, rest: &[u8]| {
            let mut bytes = header_bytes().to_vec();
            bytes[0] = first;
            bytes.extend_from_slice(rest);
            Packet::parse(&bytes).map(|packet| packet.payload.len())
        };
        assert_eq!(Packet::parse(&header_bytes()[..11]), Err(RtpFault::TooShort));
        assert_eq!(Packet::parse(&[]), Err(RtpFault::TooShort));
        assert_eq!(with(0x40, &[]), Err(RtpFault::BadVersion));
        assert_eq!(with(0xc0, &[]), Err(RtpFault::BadVersion));
        assert_eq!(with(VERSION | 1, &[0; 3]), Err(RtpFault::CsrcOverrun));
        assert_eq!(with(VERSION | 15, &[0; 59]), Err(RtpFault::CsrcOverrun));
        assert_eq!(with(VERSION | 15, &[0; 60]), Ok(0));
        assert_eq!(with(VERSION | EXTENSION, &[0; 3]), Err(RtpFault::ExtensionOverrun));
        assert_eq!(with(VERSION | EXTENSION, &[0, 0, 0, 1, 9]), Err(RtpFault::ExtensionOverrun));
        assert_eq!(with(VERSION | EXTENSION, &[0, 0, 255, 255]), Err(RtpFault::ExtensionOverrun));
        assert_eq!(with(VERSION | EXTENSION, &[0, 0, 0, 0, 9]), Ok(1));
        assert_eq!(with(VERSION | PADDING, &[]), Err(RtpFault::BadPadding));
        assert_eq!(with(VERSION | PADDING, &[0]), Err(RtpFault::BadPadding));
        assert_eq!(with(VERSION | PADDING, &[0, 3]), Err(RtpFault::BadPadding));
        assert_eq!(with(VERSION | PADDING, &[0, 2]), Ok(0));
    }

    #[test]
    fn protocols_are_told_apart_by_their_first_bytes() {
        let of = |first: u8, second: u8| Protocol::of(&[first, second]);
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Ok(Protocol::Stun),
                16..=19 => Ok(Protocol::Zrtp),
                20..=63 => Ok(Protocol::Dtls),
                64..=79 => Ok(Protocol::TurnChannel),
                128..=191 => Ok(Protocol::Rtp),
                _ => Err(RtpFault::UnknownProtocol),
            };
            assert_eq!(of(first, 0), expected, "{first}");
        }
        // PCMU with the marker, and the payload types 63 and 96 with it, are RTP.
        for (second, expected) in [
            (0x80, Protocol::Rtp),
            (191, Protocol::Rtp),
            (192, Protocol::Rtcp),
            (200, Protocol::Rtcp),
            (207, Protocol::Rtcp),
            (223, Protocol::Rtcp),
            (224, Protocol::Rtp),
        ] {
            assert_eq!(of(0x80, second), Ok(expected), "{second}");
        }
        assert_eq!(Protocol::of(&[]), Err(RtpFault::TooShort));
        assert_eq!(Protocol::of(&[0x80]), Err(RtpFault::TooShort));
    }
}
