//! The parts of RTP and RTCP headers that protection depends on.

use super::SrtpFault;

/// Length of an RTP header without sources and extension (RFC 3550 section 5.1).
const RTP_HEADER_MIN: usize = 12;
/// Length of the clear part of an RTCP packet (RFC 3711 section 3.4).
pub(super) const RTCP_HEADER: usize = 8;

/// The header of an RTP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct RtpHeader {
    /// Length with sources and extension.
    pub(super) len: usize,
    pub(super) sequence: u16,
    pub(super) ssrc: u32,
}

impl RtpHeader {
    pub(super) fn read(packet: &[u8]) -> Result<Self, SrtpFault> {
        let fixed = packet.first_chunk::<RTP_HEADER_MIN>().ok_or(SrtpFault::Truncated)?;
        check_version(fixed[0])?;
        let mut len = RTP_HEADER_MIN + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let &[_, _, high, low] = chunk(packet, len)?;
            len += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        if packet.len() < len {
            return Err(SrtpFault::Truncated);
        }
        let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
        Ok(Self { len, sequence, ssrc: u32::from_be_bytes(*chunk(packet, 8)?) })
    }
}

/// The SSRC of the sender of an RTCP packet.
pub(super) fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpFault> {
    check_version(*packet.first().ok_or(SrtpFault::Truncated)?)?;
    Ok(u32::from_be_bytes(*chunk(packet, RTCP_HEADER - 4)?))
}

/// Four bytes from `at` on.
pub(super) fn chunk(packet: &[u8], at: usize) -> Result<&[u8; 4], SrtpFault> {
    packet.get(at..).and_then(<[u8]>::first_chunk).ok_or(SrtpFault::Truncated)
}

fn check_version(first: u8) -> Result<(), SrtpFault> {
    if first >> 6 == 2 { Ok(()) } else { Err(SrtpFault::NotRtp) }
}
