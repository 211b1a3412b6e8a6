//! The sending end of a protected stream.

use super::cipher::Place;
use super::index::estimate;
use super::packet::{RtpHeader, rtcp_ssrc};
use super::session::Session;
use super::{MasterKey, SrtpFault};

/// First index of RTCP packets that a key may not have any more (RFC 3711 section 3.2.1).
const RTCP_INDEX_END: u32 = 1 << 31;

/// Protects what we send under one master key. One source sends at a time.
///
/// Its first sequence number should be below 32,768. A receiver that misses packets before the
/// first rollover does not notice the rollover otherwise.
pub struct SrtpSender {
    session: Session,
    newest: Option<u64>,
    ssrc: u32,
    rtcp_index: u32,
}

impl SrtpSender {
    /// A sender that has sent nothing.
    pub fn new(master: &MasterKey) -> Self {
        Self { session: Session::new(master), newest: None, ssrc: 0, rtcp_index: 0 }
    }

    /// Bytes that protection adds to an RTP packet.
    pub fn overhead(&self) -> usize {
        self.session.overhead()
    }

    /// Bytes that protection adds to an RTCP packet.
    pub fn rtcp_overhead(&self) -> usize {
        self.session.rtcp_overhead()
    }

    /// Protects the RTP packet in the first `len` bytes of `packet`; gives its new length.
    ///
    /// # Errors
    /// It is no RTP packet, the buffer is too small, or the key is used up. Nothing is changed.
    pub fn protect(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpFault> {
        let header = RtpHeader::read(packet.get(..len).ok_or(SrtpFault::NoRoom)?)?;
        let total = len + self.session.overhead();
        let packet = packet.get_mut(..total).ok_or(SrtpFault::NoRoom)?;
        let newest = self.newest.filter(|_| self.ssrc == header.ssrc);
        let index = estimate(newest, header.sequence)?;
        let place = Place { ssrc: header.ssrc, index };
        self.session.protect(packet, len, header.len, place)?;
        self.ssrc = header.ssrc;
        self.newest = newest.max(Some(index));
        Ok(total)
    }

    /// Protects the RTCP packet in the first `len` bytes of `packet`; gives its new length.
    ///
    /// # Errors
    /// It is no RTCP packet, the buffer is too small, or the key is used up. Nothing is changed.
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpFault> {
        let ssrc = rtcp_ssrc(packet.get(..len).ok_or(SrtpFault::NoRoom)?)?;
        let total = len + self.session.rtcp_overhead();
        let packet = packet.get_mut(..total).ok_or(SrtpFault::NoRoom)?;
        if self.rtcp_index == RTCP_INDEX_END {
            return Err(SrtpFault::KeyExhausted);
        }
        let place = Place { ssrc, index: self.rtcp_index.into() };
        self.session.protect_rtcp(packet, len, place)?;
        self.rtcp_index += 1;
        Ok(total)
    }
}
