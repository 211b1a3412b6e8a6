//! Recordings of legs: when they begin and end, and copies of what their streams carry.

use std::net::SocketAddr;

use super::{Media, NONE};
use crate::media::command::{LegId, MediaFault, Track};
use crate::media::config::Recordings;
use crate::media::report::{Heard, LegReport};
use crate::media::tap::{Begin, Copied, Entry, Form, Origin};
use crate::sip::Encoding;

/// The recordings of a leg, a bit for each [`Origin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Takes(u8);

impl Takes {
    fn has(self, origin: Origin) -> bool {
        self.0 & 1 << origin as u8 != 0
    }

    fn set(&mut self, origin: Origin, is_on: bool) {
        match is_on {
            true => self.0 |= 1 << origin as u8,
            false => self.0 &= !(1 << origin as u8),
        }
    }
}

/// A datagram of a stream, before or after its protection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) is_rtcp: bool,
    pub(super) remote: SocketAddr,
    pub(super) at_ns: u64,
}

impl Media {
    /// Begins the recordings that the run makes of each call, or of some.
    pub(super) fn begin_takes(&mut self, row: u32, now: u64) {
        let Some(Recordings { audio, packets, every, .. }) = self.config.recordings else { return };
        if !(self.legs[row].number.wrapping_sub(1)).is_multiple_of(every.max(1)) {
            return;
        }
        if let Some(form) = audio {
            self.begin_take(row, (Origin::Audio, form), b"", now);
        }
        if packets {
            self.begin_take(row, (Origin::Packets, Form::Capture), b"", now);
        }
    }

    /// Begins a recording that the scenario asks for, in place of an earlier one.
    pub(super) fn record(
        &mut self,
        leg: LegId,
        name: &[u8],
        is_duplex: bool,
        now: u64,
    ) -> Result<(), MediaFault> {
        let row = self.row(leg).ok_or(MediaFault::NoTrack)?;
        if self.tap.is_none() {
            return Err(MediaFault::NoRecording);
        }
        self.end_take(row, Origin::Action, true);
        let form = if is_duplex { Form::Duplex } else { Form::Mono };
        self.begin_take(row, (Origin::Action, form), name, now);
        Ok(())
    }

    /// Ends the recording that the scenario began, if there is one.
    pub(super) fn stop_recording(&mut self, leg: LegId) {
        if let Some(row) = self.row(leg) {
            self.end_take(row, Origin::Action, true);
        }
    }

    fn begin_take(&mut self, row: u32, (origin, form): (Origin, Form), name: &[u8], now: u64) {
        let Some(tap) = &mut self.tap else { return };
        let leg = &mut self.legs[row];
        leg.takes.set(origin, true);
        tap.push(&Entry::Begin(Begin {
            leg: row,
            origin,
            form,
            call: leg.number,
            is_sent: leg.is_sent,
            at_ns: now,
            name,
        }));
        self.mark_tapped(row);
    }

    fn end_take(&mut self, row: u32, origin: Origin, is_kept: bool) {
        let leg = &mut self.legs[row];
        if let Some(tap) = self.tap.as_mut().filter(|_| leg.takes.has(origin)) {
            leg.takes.set(origin, false);
            tap.push(&Entry::End { leg: row, origin, is_kept });
            self.mark_tapped(row);
        }
    }

    /// Ends the recordings of a leg that ends.
    pub(super) fn end_takes(&mut self, row: u32, report: &LegReport) {
        let has_failed = self.legs[row].has_failed || report.is_pattern_failed();
        let is_good = !has_failed && !matches!(report.heard, Heard::None | Heard::OneWay);
        let only_bad = self.config.recordings.is_some_and(|recordings| recordings.only_bad);
        let leg = &self.legs[row];
        let Some(tap) = &mut self.tap else { return };
        for origin in Origin::ALL.into_iter().filter(|&origin| leg.takes.has(origin)) {
            let is_kept = origin == Origin::Action || !only_bad || !is_good;
            tap.push(&Entry::End { leg: row, origin, is_kept });
        }
    }

    /// Lets the streams of a leg be copied as far as its recordings need them.
    fn mark_tapped(&mut self, row: u32) {
        let (takes, streams) = (self.legs[row].takes, self.legs[row].streams);
        for stream in streams.into_iter().filter(|&stream| stream != NONE) {
            let stream = &mut self.streams[stream];
            let has_packets = takes.has(Origin::Packets);
            stream.is_tapped = has_packets || takes != Takes(0) && stream.track == Track::Audio;
        }
    }

    /// Tells whether calls may have recordings of their packets.
    pub(super) fn has_packets(&self) -> bool {
        self.config.recordings.is_some_and(|recordings| recordings.packets)
    }

    /// Copies a message of SIP that a call sends or has received, if its packets are recorded.
    pub fn copy_message(
        &mut self,
        leg: LegId,
        (local, remote): (SocketAddr, SocketAddr),
        is_sent: bool,
        bytes: &[u8],
        at_ns: u64,
    ) {
        let Some(row) = self.row(leg) else { return };
        if let Some(tap) = self.tap.as_mut().filter(|_| self.legs[row].takes.has(Origin::Packets)) {
            let (encoding, is_video) = (None, false);
            let leg = row;
            let copied = Copied { leg, at_ns, is_sent, is_video, encoding, local, remote, bytes };
            tap.push(&Entry::Packet(copied));
        }
    }

    /// Notes that the call of a leg has failed.
    pub fn note_failed(&mut self, leg: LegId) {
        if let Some(row) = self.row(leg) {
            self.legs[row].has_failed = true;
        }
    }

    /// Copies what came for a stream, if its leg is recorded.
    pub(super) fn copy_received(&mut self, row: u32, datagram: Datagram<'_>) {
        let stream = &self.streams[row];
        if !stream.is_tapped {
            return;
        }
        let is_rtp = !datagram.is_rtcp && !stream.theirs.side.is_datagrams;
        let payload_type = datagram.bytes.get(1).filter(|_| is_rtp);
        let encoding = payload_type.and_then(|byte| stream.encoding_of(byte & 0x7f));
        self.copy(row, encoding, false, datagram);
    }

    /// Copies what a stream sends in the encoding of that name, if its leg is recorded.
    pub(super) fn copy_sent(
        &mut self,
        row: u32,
        encoding: Option<&'static str>,
        datagram: Datagram<'_>,
    ) {
        if self.streams[row].is_tapped {
            self.copy(row, encoding.and_then(Encoding::by_name), true, datagram);
        }
    }

    fn copy(
        &mut self,
        row: u32,
        encoding: Option<&'static Encoding>,
        is_sent: bool,
        Datagram { bytes, is_rtcp, remote, at_ns }: Datagram<'_>,
    ) {
        let stream = &self.streams[row];
        let Some(tap) = &mut self.tap else { return };
        if is_rtcp && !self.legs[stream.leg].takes.has(Origin::Packets) {
            return;
        }
        let pair = self.pool.pair(stream.pair);
        let is_apart = is_rtcp && !stream.agreement.rtcp_mux;
        let port = if is_apart { pair.rtcp_port } else { pair.port };
        let local = SocketAddr::new(self.config.ip, port);
        let (leg, is_video) = (stream.leg, stream.track == Track::Video);
        let copied = Copied { leg, at_ns, is_sent, is_video, encoding, local, remote, bytes };
        tap.push(&Entry::Packet(copied));
    }
}
