//! Reception: each datagram finds its stream, or is counted with the reason why it has none.

use std::net::SocketAddr;

use gossipper_uring::{SocketId, TxArena};

use super::record::Datagram;
use super::{Media, NONE};
use crate::media::command::Event;
use crate::media::config::Mode;
use crate::media::flows::Flow;
use crate::media::quality::{Receipt, Sound};
use crate::media::rtcp::{self, Compound, LastReport};
use crate::media::rtp::{Packet, Protocol};
use crate::media::stream::FIRST_REPORT_PACKETS;
use crate::media::watermark::{Watermark, Watermarks};
use crate::stats::{MediaMeasure, RtpFault, StrayCause};

impl Media {
    /// Takes a datagram that came to one of our sockets.
    pub(super) fn on_datagram(
        &mut self,
        (socket, source): (SocketId, SocketAddr),
        payload: &[u8],
        (received_ns, now): (u64, u64),
        tx: &mut TxArena,
    ) {
        let place = self.by_socket.get(socket.0 as usize).copied().unwrap_or(NONE);
        if place == NONE {
            // The other socket of the pair is not open yet: no call knows this one.
            return self.stray(StrayCause::Unsignalled);
        }
        let Some((source, data)) = self.unwrap_relayed(place, source, payload) else { return };
        let payload = &payload[data];
        let (pair, is_rtcp_port) = (place / 2, place % 2 == 1);
        if !is_rtcp_port && self.took_plain(pair, source, payload, (received_ns, now)) {
            return;
        }
        let protocol = Protocol::of(payload);
        let is_rtcp = protocol == Ok(Protocol::Rtcp);
        if self.protected > 0 && (is_rtcp || protocol == Ok(Protocol::Rtp) && !is_rtcp_port) {
            let row = self.protected_row(pair, source, (payload, is_rtcp), now);
            if let Some(row) = row {
                let times = (received_ns, now);
                return self.on_protected(row, (pair, source), (payload, is_rtcp), times, tx);
            }
        }
        match protocol {
            Err(fault) => self.fault(fault),
            Ok(Protocol::Rtp) if is_rtcp_port => self.stray(StrayCause::WrongPort),
            Ok(Protocol::Rtp) => self.on_packet((pair, source), payload, (received_ns, now), tx),
            Ok(Protocol::Rtcp) => self.on_compound((pair, source), payload, (received_ns, now)),
            Ok(Protocol::Dtls) if self.protected > 0 && !is_rtcp_port => {
                self.on_dtls((pair, source), payload, now);
            }
            Ok(Protocol::Stun) if self.has_ice && !is_rtcp_port => {
                self.on_stun((pair, source), payload, now, tx);
            }
            Ok(Protocol::Stun | Protocol::Zrtp | Protocol::Dtls | Protocol::TurnChannel) => {
                self.stray(StrayCause::OtherProtocol);
            }
        }
    }

    /// Takes RTP that is not encrypted, or is so no more.
    pub(super) fn on_packet(
        &mut self,
        (pair, source): (u32, SocketAddr),
        payload: &[u8],
        (received_ns, now): (u64, u64),
        tx: &mut TxArena,
    ) {
        match Packet::parse(payload) {
            Err(fault) => self.unreadable(fault, (pair, source), payload.get(8..)),
            Ok(packet) => {
                let ssrc = packet.header.ssrc;
                match self.owner(pair, source, ssrc, now) {
                    Err(cause) => self.stray(cause),
                    Ok(row) => {
                        self.copy_received(row, of(payload, false, source, received_ns));
                        self.on_rtp(row, (payload, &packet), (received_ns, now), tx);
                    }
                }
            }
        }
    }

    /// Takes RTCP that is not encrypted, or is so no more.
    pub(super) fn on_compound(
        &mut self,
        (pair, source): (u32, SocketAddr),
        payload: &[u8],
        (received_ns, now): (u64, u64),
    ) {
        match Compound::parse(payload) {
            Err(fault) => self.unreadable(fault, (pair, source), payload.get(4..)),
            Ok(compound) => match self.reporter(pair, source, compound, now) {
                Err(cause) => self.stray(cause),
                Ok(row) => {
                    self.copy_received(row, of(payload, true, source, received_ns));
                    self.note_received(row, source, payload, received_ns);
                    self.on_rtcp(row, compound, payload.len(), received_ns);
                }
            },
        }
    }

    /// Counts a datagram that cannot be read, and whose SSRC stands at the begin of `rest`. What
    /// comes for a protected stream that has ended is not malformed: its key is gone.
    fn unreadable(
        &mut self,
        fault: RtpFault,
        (pair, source): (u32, SocketAddr),
        rest: Option<&[u8]>,
    ) {
        let ssrc = rest.and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
        let has_ended = match (self.config.mode, ssrc) {
            (_, None) => false,
            (Mode::Ports, Some(_)) => self.by_pair[pair as usize] == NONE,
            (Mode::Shared, Some(ssrc)) => {
                let rtp = SocketAddr::new(source.ip(), source.port().wrapping_sub(1));
                [source, rtp].into_iter().any(|address| self.flows.has_ended(address, ssrc))
            }
        };
        match has_ended {
            true => self.stray(StrayCause::AfterEnd),
            false => self.fault(fault),
        }
    }

    fn fault(&mut self, fault: RtpFault) {
        self.counters.faults.bump(fault);
    }

    pub(super) fn stray(&mut self, cause: StrayCause) {
        self.counters.strays.bump(cause);
    }

    /// Takes a datagram for a stream whose media is no RTP; `false` if there is no such stream.
    fn took_plain(
        &mut self,
        pair: u32,
        source: SocketAddr,
        payload: &[u8],
        (received_ns, now): (u64, u64),
    ) -> bool {
        let row = self.by_pair.get(pair as usize).copied().unwrap_or(NONE);
        if row == NONE || !self.streams[row].theirs.side.is_datagrams {
            return false;
        }
        match self.admit(row, source, now) {
            Err(cause) => self.stray(cause),
            Ok(()) => {
                self.copy_received(row, of(payload, false, source, received_ns));
                self.streams[row].datagrams += 1;
                self.counters.datagrams_received += 1;
                self.judge_check(row, now);
            }
        }
        true
    }

    /// The stream that a packet belongs to.
    fn owner(
        &mut self,
        pair: u32,
        source: SocketAddr,
        ssrc: u32,
        now: u64,
    ) -> Result<u32, StrayCause> {
        if self.config.mode == Mode::Shared {
            return match self.flows.find(source, ssrc, now, &mut self.streams) {
                Flow::Of(row) => Ok(row),
                Flow::Ended => Err(StrayCause::AfterEnd),
                Flow::Unknown if self.flows.has_address(source) => Err(StrayCause::UnknownSsrc),
                Flow::Unknown => Err(StrayCause::Foreign),
            };
        }
        let row = self.by_pair[pair as usize];
        if row == NONE {
            return Err(StrayCause::AfterEnd);
        }
        self.admit(row, source, now)?;
        Ok(row)
    }

    /// Checks that `source` is the signalled peer of a stream. A peer that sends from another port
    /// of its address is followed there, once for each description, if the list of targets allows
    /// it. No other address ever becomes a target.
    fn admit(&mut self, row: u32, source: SocketAddr, now: u64) -> Result<(), StrayCause> {
        let stream = &self.streams[row];
        let signalled = stream.theirs.rtp.ok_or(StrayCause::Unsignalled)?;
        if source == signalled || stream.latched() == Some(source) {
            return Ok(());
        }
        if source.ip() != signalled.ip() || stream.latched().is_some() {
            return Err(StrayCause::Foreign);
        }
        if !self.may_send_to(stream.leg, source, now) {
            return Err(StrayCause::Foreign);
        }
        self.streams[row].latch(source);
        self.counters.latched += 1;
        Ok(())
    }

    /// Takes a packet of a stream.
    fn on_rtp(
        &mut self,
        row: u32,
        (datagram, packet): (&[u8], &Packet<'_>),
        (received_ns, now): (u64, u64),
        tx: &mut TxArena,
    ) {
        let stream = &mut self.streams[row];
        let sound = stream.sound(packet);
        let octets = packet.payload.len();
        let receipt = stream.quality.receive(&packet.header, octets, sound, received_ns);
        stream.received += 1;
        self.counters.rtp_packets_received += 1;
        self.counters.rtp_octets_received += packet.payload.len() as u64;
        if sound == Sound::Event {
            self.on_event(row, packet);
        }
        let stream = &self.streams[row];
        let watermark = stream.watermark(packet.payload);
        if let Some(watermark) = watermark.filter(|_| receipt != Receipt::Duplicate) {
            self.take_watermark(row, watermark);
        }
        let stream = &self.streams[row];
        let is_audio = sound != Sound::Event && receipt == Receipt::Fresh;
        if stream.checks_pattern
            && is_audio
            && let Some(check) = self.patterns.get_mut(row as usize)
        {
            check.receive(packet.header.sequence, packet.payload);
        }
        let is_first_report = stream.received == FIRST_REPORT_PACKETS
            && !stream.has_reported
            && stream.reports.is_some();
        if is_first_report {
            self.send_report(row, now, tx);
            self.plan_matter(row);
        }
        // What came before is not sent back again. Otherwise two sides that both send back would
        // exchange a packet for ever, and each copy that a network makes would be one more.
        if self.streams[row].echoes && receipt == Receipt::Fresh {
            let is_sent = self.send_back(row, (datagram, packet), now, tx);
            let is_audible = matches!(sound, Sound::Audible | Sound::Unjudged);
            self.streams[row].out.was_audible |= is_sent && is_audible;
        }
        self.judge_check(row, now);
    }

    /// Takes the watermark of a packet, and lets those of the stream name its sender.
    fn take_watermark(&mut self, row: u32, watermark: Watermark) {
        let at = row as usize;
        if self.watermarks.len() <= at {
            self.watermarks.resize(at + 1, Watermarks::default());
        }
        let out = &mut self.streams[row].out;
        if let Some(sender) = self.watermarks[at].take(watermark, out.ssrc) {
            out.hears = sender;
        }
    }

    fn on_event(&mut self, row: u32, packet: &Packet<'_>) {
        match self.streams[row].dialled(packet) {
            Err(fault) => self.fault(fault),
            Ok(None) => {}
            Ok(Some(digit)) => {
                self.counters.digits_received += 1;
                self.tell(row, Event::Digit(digit));
            }
        }
    }

    /// The stream whose peer sent a compound.
    fn reporter(
        &mut self,
        pair: u32,
        source: SocketAddr,
        compound: Compound<'_>,
        now: u64,
    ) -> Result<u32, StrayCause> {
        let row = match self.config.mode {
            Mode::Ports => Some(self.by_pair[pair as usize]).filter(|&row| row != NONE),
            Mode::Shared => self.reporter_of(source, compound, now),
        };
        let row = row.ok_or(match self.config.mode {
            Mode::Ports => StrayCause::AfterEnd,
            Mode::Shared => StrayCause::UnknownSsrc,
        })?;
        let theirs = &self.streams[row].theirs;
        if theirs.rtp.is_none() {
            return Err(StrayCause::Unsignalled);
        }
        // Of reports the port does not matter: nothing is sent to where they come from.
        let is_peer =
            [theirs.rtp, theirs.rtcp].into_iter().flatten().any(|known| known.ip() == source.ip());
        if is_peer { Ok(row) } else { Err(StrayCause::Foreign) }
    }

    /// The stream of a shared socket that a compound is about: by a block about what we send, or by
    /// its sender.
    fn reporter_of(&mut self, source: SocketAddr, compound: Compound<'_>, now: u64) -> Option<u32> {
        let mut sender = None;
        for packet in compound.flatten() {
            let (ssrc, mut blocks) = match packet {
                rtcp::Packet::SenderReport { ssrc, blocks, .. }
                | rtcp::Packet::ReceiverReport { ssrc, blocks } => (ssrc, blocks),
                _ => continue,
            };
            sender = sender.or(Some(ssrc));
            let ours = blocks.find_map(|block| self.flows.by_own(block.ssrc));
            if ours.is_some() {
                return ours;
            }
        }
        // A report without such a block comes from the port behind that of RTP, unless both share
        // one.
        let sender = sender?;
        let rtp = SocketAddr::new(source.ip(), source.port().wrapping_sub(1));
        [source, rtp].into_iter().find_map(|address| {
            match self.flows.find(address, sender, now, &mut self.streams) {
                Flow::Of(row) => Some(row),
                Flow::Ended | Flow::Unknown => None,
            }
        })
    }

    /// Takes the reports of a stream's peer.
    fn on_rtcp(&mut self, row: u32, compound: Compound<'_>, len: usize, received_ns: u64) {
        self.counters.rtcp_received += 1;
        self.counters.rtcp_octets_received += len as u64;
        let unix_ns = received_ns.saturating_add(self.config.wall_offset_ns);
        for packet in compound {
            let blocks = match packet {
                Err(fault) => {
                    self.fault(fault);
                    continue;
                }
                Ok(rtcp::Packet::SenderReport { info, blocks, .. }) => {
                    self.streams[row].last_sr = Some(LastReport { time: info.time, received_ns });
                    blocks
                }
                Ok(rtcp::Packet::ReceiverReport { blocks, .. }) => blocks,
                Ok(_) => continue,
            };
            let stream = &mut self.streams[row];
            stream.peer.reports += 1;
            let ssrc = stream.out.ssrc;
            for block in blocks.filter(|block| block.ssrc == ssrc) {
                self.measured.record_peer(block.fraction_lost, block.jitter);
                if let Some(round_trip) = stream.take_block(&block, unix_ns) {
                    self.measured.record(MediaMeasure::RoundTrip, round_trip);
                }
            }
        }
    }
}

/// A datagram from `remote`.
fn of(bytes: &[u8], is_rtcp: bool, remote: SocketAddr, at_ns: u64) -> Datagram<'_> {
    Datagram { bytes, is_rtcp, remote, at_ns }
}
