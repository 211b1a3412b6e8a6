//! The receiving end of a protected stream.

use super::cipher::Place;
use super::index::{Received, estimate};
use super::packet::{RTCP_HEADER, RtpHeader, rtcp_ssrc};
use super::session::Session;
use super::{MasterKey, SrtpFault};

/// Checks and decrypts what the peer sends under one master key. It follows a peer that changes its
/// SSRC.
pub struct SrtpReceiver {
    session: Session,
    rtp: Received,
    rtcp: Received,
}

impl SrtpReceiver {
    /// A receiver that has received nothing.
    pub fn new(master: &MasterKey) -> Self {
        let received = Received::default();
        Self { session: Session::new(master), rtp: received.clone(), rtcp: received }
    }

    /// Checks and decrypts an RTP packet, and gives its length without what protection added.
    ///
    /// # Errors
    /// The packet is not authentic, not new, or no RTP packet. The state is as before then; the
    /// bytes of the packet may be anything.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let header = RtpHeader::read(packet)?;
        let len = packet.len().checked_sub(self.session.overhead());
        let len = len.filter(|len| *len >= header.len).ok_or(SrtpFault::Truncated)?;
        let index = estimate(self.rtp.newest(header.ssrc), header.sequence)?;
        self.rtp.check(header.ssrc, index)?;
        let place = Place { ssrc: header.ssrc, index };
        self.session.unprotect(packet, len, header.len, place)?;
        self.rtp.note(header.ssrc, index);
        Ok(len)
    }

    /// Checks and decrypts an RTCP packet, and gives its length without what protection added.
    ///
    /// # Errors
    /// The packet is not authentic, not new, or no RTCP packet. The state is as before then; the
    /// bytes of the packet may be anything.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let ssrc = rtcp_ssrc(packet)?;
        let len = packet.len().checked_sub(self.session.rtcp_overhead());
        let len = len.filter(|len| *len >= RTCP_HEADER).ok_or(SrtpFault::Truncated)?;
        let index = self.session.rtcp_index(packet, len)?;
        self.rtcp.check(ssrc, index)?;
        self.session.unprotect_rtcp(packet, len, Place { ssrc, index })?;
        self.rtcp.note(ssrc, index);
        Ok(len)
    }
}
