//! Streams without SIP: a call lets its media go to an address, and no message describes it.
//!
//! Media is told of two descriptions that never travel. So it is the same in everything else: the
//! list of targets, ports, reports, statistics.

use std::io::Write as _;
use std::net::SocketAddr;

use super::call::{Phase, Slot};
use super::media::track;
use super::{Cx, Engine};
use crate::media::{LegId, MediaFault, MediaHandle};
use crate::scenario::Connect;
use crate::scenario::media::{MediaTrack, StreamFormat, address};
use crate::stats::FailureCause;

impl Engine {
    /// Lets a stream of the call go to the address of an action.
    pub(super) fn connect(
        &mut self,
        slot: Slot,
        connect: &Connect,
        cx: &Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        let text = self.text(slot, &connect.to, cx)?;
        let Some(to) = address(&text) else {
            return Err(self.media_failed(slot, MediaFault::Address));
        };
        let mut sdp = std::mem::take(&mut self.buffers.default_text);
        let connected = match self.leg(slot) {
            Some(leg) => follow(leg, to, &connect.format, &mut sdp, cx.now),
            None => Err(MediaFault::NoTrack),
        };
        self.buffers.default_text = sdp;
        connected.map_err(|fault| self.media_failed(slot, fault))
    }

    /// Ends the open calls of programs that have nothing but RTP, as complete: no peer waits for
    /// their end, and some would never come to one.
    pub(super) fn end_rtp_only(&mut self, now: u64) {
        if !self.programs.iter().any(|bound| bound.program.is_rtp_only) {
            return;
        }
        for slot in 0..self.calls.used() {
            let is_open = self.calls[slot].phase == Phase::Running;
            if is_open && self.program_of(slot).program.is_rtp_only {
                self.end(slot, None, now);
            }
        }
    }
}

/// Tells media of both ends of a stream.
fn follow(
    (media, leg): (&MediaHandle, LegId),
    to: SocketAddr,
    format: &StreamFormat,
    sdp: &mut Vec<u8>,
    now: u64,
) -> Result<(), MediaFault> {
    let own = media.local(leg, track(format.track())).ok_or(MediaFault::NoTrack)?;
    describe(own.rtp, format, sdp);
    media.local_description(leg, sdp, now)?;
    describe(to, format, sdp);
    media.remote_description(leg, sdp, now)?;
    // From now on somebody could listen.
    media.answered(leg, now);
    Ok(())
}

/// Writes the description of a stream's end at `rtp`.
fn describe(rtp: SocketAddr, format: &StreamFormat, sdp: &mut Vec<u8>) {
    let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
    let kind = match format.track() {
        MediaTrack::Audio => "audio",
        MediaTrack::Video => "video",
    };
    let StreamFormat { payload_type, encoding, ptime_ms } = format;
    sdp.clear();
    // A vector takes all that is written.
    let _ = write!(
        sdp,
        "v=0\r\nc=IN {family} {}\r\nm={kind} {} RTP/AVP {payload_type}\r\n\
         a=rtpmap:{payload_type} {}\r\na=ptime:{ptime_ms}\r\n",
        rtp.ip(),
        rtp.port(),
        encoding.rtpmap(),
    );
}
