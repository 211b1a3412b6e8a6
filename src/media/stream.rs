//! One track of a leg: who may send to it and where it sends to, both halves, and its reports.

use std::net::SocketAddr;

use gossipper_uring::TxOrder;

use super::codec::law;
use super::command::Track;
use super::crypto::Keys;
use super::ice::Ice;
use super::negotiate::{Agreement, Peer, Side};
use super::protection::Protection;
use super::quality::{self, Buffer, DigitReceiver, Format, Sound};
use super::rtcp::{LastReport, Ntp, ReportBlock, Schedule, SenderInfo, Writer, round_trip_ns};
use super::rtp::Packet;
use super::sender::Sender;
use super::watermark::Watermark;
use crate::sip::Encoding;
use crate::stats::SrtpFault;

/// Packets after whose reception the first report leaves. RFC 3550 section 6.2 lets the first one
/// of a unicast session leave without delay. Without it nobody would know of a short call whether
/// both sides heard each other.
pub(super) const FIRST_REPORT_PACKETS: u64 = 10;
/// Room for a report with a canonical name, VoIP metrics and a BYE.
pub(super) const REPORT_BYTES_MAX: usize = 160;

/// A wait for packets ([`Command::Check`](super::Command::Check)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// The counts that the stream must have reached.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) until_ns: u64,
    /// True if it is the end of a source that is waited for
    /// ([`Command::AwaitEnd`](super::Command::AwaitEnd)).
    pub(super) is_end: bool,
}

/// Reports of the peer about our stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeerView {
    /// Reports received, also those that do not tell of our stream.
    pub(super) reports: u32,
    /// The last block about our stream.
    pub(super) block: Option<ReportBlock>,
    pub(super) round_trip_ns: Option<u64>,
}

/// One track of a leg.
///
/// With ten thousand streams most of the cost of a packet is to fetch its stream into the cache. So
/// the fields stand in the order of their use: what each packet that is sent needs, what each one
/// that comes needs, and the rest.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stream {
    pub(super) out: Sender,
    /// The address to send to, if the track may send; follows from the fields below.
    target: Option<SocketAddr>,
    pub(super) order: TxOrder,
    /// The protection of a stream that a description asks to protect.
    pub(super) protection: Option<Box<Protection>>,
    /// The sockets.
    pub(super) pair: u32,
    /// Tells one use of the row from the next.
    pub(super) generation: u32,
    pub(super) leg: u32,
    pub(super) track: Track,
    /// The payload type of the last packet.
    heard_type: u8,
    /// True if the next packet's time is in the schedule.
    pub(super) is_running: bool,
    /// True if received packets are sent back.
    pub(super) echoes: bool,
    /// True if what comes is to be the pattern that was sent.
    pub(super) checks_pattern: bool,
    /// True if what the stream carries is copied for a recording.
    pub(super) is_tapped: bool,
    /// True once a report has left.
    pub(super) has_reported: bool,
    pub(super) check: Option<Check>,
    /// The number of the peer's address and the SSRC by which it is known (`shared` mode).
    pub(super) flow: Option<(u32, u32)>,
    /// The stream whose packet came behind the last one of this stream (`shared` mode).
    pub(super) follower: u32,
    /// RTP packets received, duplicates included.
    pub(super) received: u64,
    /// The encoding that `heard_type` means.
    heard: Option<&'static Encoding>,
    pub(super) quality: quality::Stream,
    /// The address that the peer sends from, if that is another port than it signalled.
    latched: Option<SocketAddr>,
    pub(super) theirs: Peer,
    pub(super) ours: Side,
    pub(super) agreement: Agreement,
    digits: DigitReceiver,
    /// Datagrams received that are no RTP.
    pub(super) datagrams: u64,
    pub(super) reports: Option<Schedule>,
    pub(super) last_sr: Option<LastReport>,
    pub(super) peer: PeerView,
    /// The next stream of its source whose SSRC is not known yet (`shared` mode).
    pub(super) next_waiting: u32,
}

/// Memory of a stream beside its socket and its protection. Its timers, its leg and its place in
/// the tables are part of that.
pub const STREAM_BYTES: u64 = 1024;

/// Memory of the protection of a stream.
pub const PROTECTION_BYTES: u64 = size_of::<Protection>() as u64;

const _: () = assert!(size_of::<Stream>() + 128 <= STREAM_BYTES as usize);

/// A payload type that no packet has.
const NO_TYPE: u8 = 0xff;

impl Stream {
    pub(super) fn new(leg: u32, track: Track, pair: u32, out: Sender) -> Self {
        Self {
            leg,
            track,
            pair,
            generation: 0,
            ours: Side::default(),
            theirs: Peer::default(),
            agreement: Agreement::default(),
            latched: None,
            target: None,
            out,
            order: TxOrder::default(),
            protection: None,
            echoes: false,
            checks_pattern: false,
            is_tapped: false,
            is_running: false,
            check: None,
            quality: quality::Stream::new(Format::of("PCMU", 8000, 20), Buffer::default()),
            digits: DigitReceiver::default(),
            flow: None,
            follower: u32::MAX,
            received: 0,
            datagrams: 0,
            heard_type: NO_TYPE,
            heard: None,
            reports: None,
            has_reported: false,
            last_sr: None,
            peer: PeerView::default(),
            next_waiting: u32::MAX,
        }
    }

    /// The address to send to, if the track may send.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.target
    }

    /// Follows from the descriptions and the peer's port.
    fn aim(&mut self) {
        let address = self.latched.or(self.theirs.rtp);
        self.target = address.filter(|_| self.agreement.sends && !self.awaits_handshake());
    }

    /// True if both descriptions ask for keys by DTLS, and these have not come yet.
    fn awaits_handshake(&self) -> bool {
        self.protection.as_ref().is_some_and(|protection| protection.awaits_handshake())
    }

    /// Sends and receives with keys that a handshake gave.
    pub(super) fn take_keys(&mut self, keys: Keys) {
        if let Some(protection) = &mut self.protection {
            protection.take(keys);
        }
        self.aim();
    }

    /// The way to the peer's address, of a protected stream whose descriptions ask for ICE.
    pub(super) fn ice(&self) -> Option<&Ice> {
        self.protection.as_ref()?.ice.as_deref()
    }

    /// The same, to be changed.
    pub(super) fn ice_mut(&mut self) -> Option<&mut Ice> {
        self.protection.as_mut()?.ice.as_deref_mut()
    }

    /// Lets the peer be at another address, that of its description not regarded.
    pub(super) fn move_peer(&mut self, address: Option<SocketAddr>) {
        (self.theirs.rtp, self.theirs.rtcp) = (address, address);
        self.latched = None;
        self.aim();
    }

    /// The address that the peer is known to be at.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        self.latched.or(self.theirs.rtp)
    }

    /// The port that the peer sends from, if it signalled another one.
    pub(super) fn latched(&self) -> Option<SocketAddr> {
        self.latched
    }

    /// Sends to the port that the peer sends from.
    pub(super) fn latch(&mut self, source: SocketAddr) {
        self.latched = Some(source);
        self.aim();
    }

    /// The address for reports, and `true` if they go over the socket of RTP.
    pub(super) fn report_target(&self) -> Option<(SocketAddr, bool)> {
        let rtp = self.latched.or(self.theirs.rtp)?;
        match self.agreement.rtcp_mux {
            true => Some((rtp, true)),
            false => self.theirs.rtcp.map(|rtcp| (rtcp, false)),
        }
    }

    /// True if packets are encrypted in both directions.
    pub(super) fn is_protected(&self) -> bool {
        self.protection.as_ref().is_some_and(|protection| protection.is_on())
    }

    /// True if a description asked for protection, and the answer with the other key is missing, or
    /// the handshake that gives both.
    /// Nothing may be sent in the clear then, and nothing can be read.
    pub(super) fn awaits_keys(&self) -> bool {
        let is_answered = self.ours.is_used && self.theirs.side.is_used;
        let has_all = is_answered && !self.awaits_handshake();
        self.protection.is_some() && !self.is_protected() && !has_all
    }

    /// Bytes that protection adds to a packet of RTP.
    pub(super) fn overhead(&self) -> usize {
        self.protection.as_ref().map_or(0, |protection| protection.overhead())
    }

    /// Bytes that protection adds to a report.
    pub(super) fn rtcp_overhead(&self) -> usize {
        self.protection.as_ref().map_or(0, |protection| protection.rtcp_overhead())
    }

    /// Protects the packet of RTP in the first `len` bytes of `packet`, if the stream is a
    /// protected one. Returns its new length.
    pub(super) fn protect(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpFault> {
        let protection = self.protection.as_mut();
        protection.map_or(Ok(len), |protection| protection.protect(packet, len))
    }

    /// Protects the report in the first `len` bytes of `packet`, in the same way.
    pub(super) fn protect_rtcp(
        &mut self,
        packet: &mut [u8],
        len: usize,
    ) -> Result<usize, SrtpFault> {
        let protection = self.protection.as_mut();
        protection.map_or(Ok(len), |protection| protection.protect_rtcp(packet, len))
    }

    /// Takes our description.
    pub(super) fn describe_ours(&mut self, ours: Side) {
        self.ours = ours;
        self.agreement = Agreement::of(&self.ours, &self.theirs.side, &self.ours);
        self.heard_type = NO_TYPE;
        self.aim();
    }

    /// Takes the peer's description.
    pub(super) fn describe_theirs(&mut self, theirs: Peer) {
        if self.theirs.rtp != theirs.rtp {
            self.latched = None;
        }
        self.theirs = theirs;
        self.agreement = Agreement::of(&self.ours, &self.theirs.side, &self.theirs.side);
        self.heard_type = NO_TYPE;
        self.aim();
    }

    /// Judges the payload of a packet by what our description calls its payload type.
    pub(super) fn sound(&mut self, packet: &Packet<'_>) -> Sound {
        let payload_type = packet.header.payload_type;
        if self.heard_type != payload_type {
            self.hear_as(payload_type);
        }
        let Some(encoding) = self.heard else {
            // Without a description of ours nothing is wrong; an encoding that is not known cannot
            // be judged.
            return match !self.ours.is_used || self.ours.takes(payload_type) {
                true => Sound::Unjudged,
                false => Sound::WrongPayloadType,
            };
        };
        match encoding.name {
            "telephone-event" => Sound::Event,
            "CN" => Sound::Quiet,
            _ => {
                let square = law(encoding).map(|law| law.mean_square(packet.payload));
                Sound::of_mean_square(square)
            }
        }
    }

    /// The encoding that our description means by `payload_type`.
    pub(super) fn encoding_of(&self, payload_type: u8) -> Option<&'static Encoding> {
        match self.ours.is_used {
            true => self.ours.encoding_of(payload_type),
            false => Encoding::by_static_payload_type(payload_type),
        }
    }

    /// Takes packets of `payload_type` as our description says.
    fn hear_as(&mut self, payload_type: u8) {
        let encoding = self.encoding_of(payload_type);
        (self.heard_type, self.heard) = (payload_type, encoding);
        let is_beside = |encoding: &Encoding| matches!(encoding.name, "telephone-event" | "CN");
        if let Some(encoding) = encoding.filter(|encoding| !is_beside(encoding)) {
            let packet_ms = match self.ours.ptime_ms {
                0 => encoding.ptime_ms,
                ptime_ms => ptime_ms.into(),
            };
            let format = Format::of(encoding.name, encoding.clock_rate, packet_ms);
            self.quality.set_format(format);
        }
    }

    /// The watermark in the payload of a packet, if there is one.
    pub(super) fn watermark(&self, payload: &[u8]) -> Option<Watermark> {
        self.heard.and_then(law)?;
        Watermark::read(payload)
    }

    /// Takes a telephone event; gives a digit with its first packet.
    pub(super) fn dialled(
        &mut self,
        packet: &Packet<'_>,
    ) -> Result<Option<u8>, crate::stats::RtpFault> {
        self.digits.receive(&packet.header, packet.payload)
    }

    /// The outcome of the check that is going on, once there is one.
    pub(super) fn checked(&mut self, now: u64) -> Option<bool> {
        let check = self.check?;
        let has_all = match check.is_end {
            true => !self.out.plays(),
            false => {
                self.received + self.datagrams >= check.received && self.out.packets >= check.sent
            }
        };
        if !has_all && now < check.until_ns {
            return None;
        }
        self.check = None;
        Some(has_all || check.is_end)
    }

    /// The time at which something other than a packet is due.
    pub(super) fn next_matter_ns(&self) -> u64 {
        let report_ns = self.reports.map_or(u64::MAX, |reports| reports.next_ns());
        let check_ns = self.check.map_or(u64::MAX, |check| check.until_ns);
        let ice_ns = self.ice().map_or(u64::MAX, Ice::next_ns);
        report_ns.min(check_ns).min(self.next_step_ns()).min(ice_ns)
    }

    /// The time at which a step of its handshake is due.
    pub(super) fn next_step_ns(&self) -> u64 {
        self.protection.as_ref().map_or(u64::MAX, |protection| protection.next_step_ns())
    }

    /// Writes a report, with a BYE if the stream ends. Returns its length.
    pub(super) fn write_report(
        &mut self,
        out: &mut [u8],
        name: &[u8],
        is_last: bool,
        (now, unix_ns): (u64, u64),
    ) -> Option<usize> {
        let block = self.quality.report_block(now, self.last_sr.as_ref());
        let mut writer = Writer::new(out);
        let ssrc = self.out.ssrc;
        if self.out.packets > 0 {
            let info = SenderInfo {
                time: Ntp::of_unix_ns(unix_ns),
                timestamp: self.out.timestamp_at(now),
                packets: self.out.packets as u32,
                octets: self.out.octets as u32,
            };
            writer.sender_report(ssrc, &info, block.as_slice())?;
        } else {
            writer.receiver_report(ssrc, block.as_slice())?;
        }
        writer.cname(ssrc, name)?;
        if let Some(metrics) = self.quality.voip_metrics() {
            writer.voip_metrics(ssrc, &metrics)?;
        }
        if is_last {
            writer.goodbye(ssrc, b"")?;
        }
        self.has_reported = true;
        Some(writer.len())
    }

    /// Takes a block that the peer sent about our stream, at the Unix time `unix_ns`. Returns the
    /// round-trip time that it gives.
    pub(super) fn take_block(&mut self, block: &ReportBlock, unix_ns: u64) -> Option<u64> {
        self.peer.block = Some(*block);
        let round_trip = round_trip_ns(Ntp::of_unix_ns(unix_ns), block)?;
        self.peer.round_trip_ns = Some(round_trip);
        self.quality.set_round_trip_ns(round_trip);
        Some(round_trip)
    }

    /// True if the peer reported to have received something of ours.
    pub(super) fn is_received(&self) -> bool {
        let lost = |block: &ReportBlock| i64::from(block.cumulative_lost);
        self.peer.block.is_some_and(|block| lost(&block) < self.out.packets as i64)
    }
}
