//! Sending: the packets of a tick, reports, and what could not be sent.

use std::net::{IpAddr, SocketAddr};

use gossipper_uring::{SendFailure, SocketId, TxArena, TxOrder};

use super::record::Datagram;
use super::relay::wrap_relayed;
use super::{Media, NONE, mix, packet_timer};
use crate::media::command::Event;
use crate::media::config::Mode;
use crate::media::pattern::PatternCheck;
use crate::media::rtcp::SENDER_REPORT;
use crate::media::rtp::{Header, Packet};
use crate::media::schedule::TICK_NS;
use crate::media::stream::{REPORT_BYTES_MAX, Stream};
use crate::media::turn::CHANNEL_HEADER_LEN;
use crate::stats::{DelayCause, MediaCounters, MediaMeasure, UnsentCause};

/// Lateness that counts: what a person who waits for a packet each 20 ms would call jitter.
const LATE_NS: u64 = 1_000_000;
/// Packets between the one that is sent and the one whose stream is fetched into the cache.
const AHEAD: usize = 2;
/// The cookie of datagrams that are not counted for a stream.
pub(super) const NO_STREAM: u64 = u64::MAX;

/// A packet that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// Equal for packets that can leave in one train.
    key: u64,
    row: u32,
}

/// Packets that were staged since the last flush, of one planned time.
#[derive(Clone, Copy, Debug)]
struct Staged {
    planned_ns: u64,
    count: u32,
    /// True if they had to wait for room.
    was_held: bool,
}

/// The last report of a stream that has ended.
#[derive(Clone, Copy, Debug)]
struct Goodbye {
    socket: SocketId,
    target: SocketAddr,
    /// The kind of report that it begins with.
    kind: u8,
    len: u8,
    bytes: [u8; GOODBYE_BYTES_MAX],
}

/// Room for the last report, for what SRTP adds to it with a short key identifier, and for what a
/// relay adds.
const GOODBYE_BYTES_MAX: usize = REPORT_BYTES_MAX + 32 + CHANNEL_HEADER_LEN;

/// Datagrams that wait to be sent.
#[derive(Debug)]
pub(super) struct Outbox {
    due: Vec<Due>,
    /// The first of `due` that has not been sent.
    next: usize,
    /// True if the arena had no room for the rest of `due`.
    is_held: bool,
    staged: Vec<Staged>,
    goodbyes: Vec<Goodbye>,
}

impl Outbox {
    pub(super) fn new(streams_max: usize) -> Self {
        Self {
            due: Vec::with_capacity(streams_max),
            next: 0,
            is_held: false,
            staged: Vec::with_capacity(STAGED_MAX),
            goodbyes: Vec::with_capacity(streams_max),
        }
    }

    /// True if nothing waits for room.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.due.len() && self.goodbyes.is_empty()
    }

    /// Takes a stream that ends out of those that are due.
    pub(super) fn forget(&mut self, row: u32) {
        let waiting = self.due.iter_mut().skip(self.next);
        waiting.filter(|due| due.row == row).for_each(|due| due.row = NONE);
    }

    fn note_staged(&mut self, planned_ns: u64) {
        let was_held = self.is_held;
        match self.staged.last_mut() {
            Some(last) if (last.planned_ns, last.was_held) == (planned_ns, was_held) => {
                last.count += 1;
            }
            _ => self.staged.push(Staged { planned_ns, count: 1, was_held }),
        }
    }
}

/// Planned times that are told apart between two flushes; packets beyond are flushed at once.
const STAGED_MAX: usize = 4096;

/// Counts a report of ours by the kind that it begins with.
fn count_report(counters: &mut MediaCounters, kind: u8, len: usize) {
    counters.rtcp_sent += 1;
    counters.rtcp_octets_sent += len as u64;
    match kind {
        SENDER_REPORT => counters.rtcp_sender_reports += 1,
        _ => counters.rtcp_receiver_reports += 1,
    }
}

/// Equal for packets of one length to one destination, and different for most others.
fn train_key(target: SocketAddr, len: usize) -> u64 {
    let host = match target.ip() {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => mix(ip.to_bits() as u64 ^ (ip.to_bits() >> 64) as u64) as u32,
    };
    u64::from(host) << 32 | u64::from(target.port()) << 16 | (len as u64 & 0xffff)
}

impl Media {
    /// Sends what is due, as far as the arena has room.
    pub(super) fn send_due(&mut self, now: u64, reserve: usize, tx: &mut TxArena) {
        while let Some(goodbye) = self.outbox.goodbyes.last() {
            if tx.free() <= reserve {
                return;
            }
            let Goodbye { socket, target, kind, len, bytes } = goodbye;
            let bytes = &bytes[..usize::from(*len)];
            if tx.send_copy(bytes, *socket, *target, NO_STREAM, &mut TxOrder::default()) {
                count_report(&mut self.counters, *kind, bytes.len());
            }
            self.outbox.goodbyes.pop();
        }
        loop {
            while let Some(&due) = self.outbox.due.get(self.outbox.next) {
                if tx.free() <= reserve {
                    self.outbox.is_held = true;
                    return;
                }
                self.outbox.next += 1;
                if let Some(later) = self.outbox.due.get(self.outbox.next + AHEAD) {
                    self.streams.prefetch(later.row);
                }
                if due.row != NONE {
                    self.send_packet(due.row, now, tx);
                }
            }
            self.outbox.due.clear();
            (self.outbox.next, self.outbox.is_held) = (0, false);
            self.gather(now, reserve, tx);
            if self.outbox.due.is_empty() {
                return;
            }
        }
    }

    /// Collects the packets that are due, and handles reports and checks.
    fn gather(&mut self, now: u64, reserve: usize, tx: &mut TxArena) {
        while let Some(timer) = self.schedule.pop_due(now) {
            let row = timer / 2;
            if timer != packet_timer(row) {
                self.see_to(row, now, reserve, tx);
                continue;
            }
            let stream = &self.streams[row];
            let target = stream.target().filter(|_| self.config.mode == Mode::Shared);
            let len = stream.out.next_len() + stream.overhead();
            let key = target.map_or(0, |target| train_key(target, len));
            self.outbox.due.push(Due { key, row });
        }
        // Each port has one stream: there is nothing to join.
        if self.config.mode == Mode::Shared {
            self.outbox.due.sort_unstable_by_key(|due| due.key);
        }
    }

    /// Sends the next packet of a stream, and plans the one after it.
    fn send_packet(&mut self, row: u32, now: u64, tx: &mut TxArena) {
        let stream = &mut self.streams[row];
        stream.is_running = false;
        let Some(target) = stream.target() else { return };
        let place = 2 * stream.pair;
        let room = stream.overhead() + self.relay_overhead();
        if !self.is_relayed_to(place, target, now) {
            return self.wait_for_relay(row, now);
        }
        let stream = &mut self.streams[row];
        let skipped = stream.out.catch_up(now);
        self.counters.unsent.bump_by(UnsentCause::Skipped, skipped);
        let planned_ns = stream.out.planned_ns;
        let events = stream.agreement.telephone_event;
        let Some(slot) = tx.reserve(stream.out.next_len() + room) else {
            self.counters.delays.bump(DelayCause::NoSlot);
            stream.is_running = true;
            return self.schedule.arm(packet_timer(row), now + TICK_NS);
        };
        let Some(sent) = stream.out.next_packet(events, tx.buffer(&slot)) else {
            return tx.release(slot);
        };
        if let Some(number) = sent.pattern {
            note_pattern(&mut self.patterns, row, number, sent.payload);
        }
        if sent.len > 0 {
            let bytes = &tx.buffer(&slot)[..sent.len];
            let datagram = Datagram { bytes, is_rtcp: false, remote: target, at_ns: now };
            self.copy_sent(row, sent.encoding, datagram);
        }
        let stream = &mut self.streams[row];
        let protected = match sent.is_rtp && sent.len > 0 {
            true => stream.protect(tx.buffer(&slot), sent.len),
            false => Ok(sent.len),
        };
        let len = protected.unwrap_or_else(|fault| {
            self.counters.srtp_faults.bump(fault);
            stream.out.packets = stream.out.packets.saturating_sub(1);
            0
        });
        let wrapped = wrap_relayed(&mut self.relays, (place, target), tx.buffer(&slot), len);
        let (len, target) = wrapped.filter(|_| len > 0).unwrap_or((0, target));
        if len == 0 {
            tx.release(slot);
        } else {
            let socket = self.pool.pair(stream.pair).rtp;
            tx.commit(slot, len, socket, target, cookie(row, stream), &mut stream.order);
            self.outbox.note_staged(planned_ns);
            self.counters.rtp_packets_sent += u64::from(sent.is_rtp);
            self.counters.rtp_octets_sent += if sent.is_rtp { sent.payload as u64 } else { 0 };
            self.counters.datagrams_sent += u64::from(!sent.is_rtp);
            self.counters.digits_sent += u64::from(sent.ends_digit);
            if self.outbox.staged.len() == STAGED_MAX {
                self.note_flushed(now);
            }
        }
        self.go_on(row, sent.has_ended);
        self.judge_check(row, now);
    }

    /// Plans the packet after the one that was sent.
    fn go_on(&mut self, row: u32, has_ended: bool) {
        let stream = &mut self.streams[row];
        if stream.out.wants_time() {
            stream.is_running = true;
            let planned_ns = stream.out.planned_ns;
            self.schedule.arm(packet_timer(row), planned_ns);
        }
        if has_ended {
            let track = self.streams[row].track;
            self.tell(row, Event::Played(track));
        }
    }

    /// Sends a received packet back, if it can; tells whether it did.
    pub(super) fn send_back(
        &mut self,
        row: u32,
        (datagram, packet): (&[u8], &Packet<'_>),
        now: u64,
        tx: &mut TxArena,
    ) -> bool {
        let stream = &mut self.streams[row];
        // Two sources would make one stream whose numbers jump.
        let target = stream.target().filter(|_| !stream.out.wants_time());
        let Some(target) = target else { return false };
        let place = 2 * stream.pair;
        let room = stream.overhead() + self.relay_overhead();
        if !self.is_relayed_to(place, target, now) {
            self.counters.unsent.bump(UnsentCause::NoRelay);
            return false;
        }
        let stream = &mut self.streams[row];
        let Some(slot) = tx.reserve(datagram.len() + room) else {
            self.counters.unsent.bump(UnsentCause::NoSlot);
            return false;
        };
        let header: &Header = &packet.header;
        let octets = packet.payload.len();
        let how = (now, stream.is_protected());
        if !stream.out.echo(datagram, header, octets, tx.buffer(&slot), how) {
            tx.release(slot);
            return false;
        }
        let bytes = &tx.buffer(&slot)[..datagram.len()];
        let encoding = stream.encoding_of(header.payload_type).map(|known| known.name);
        let copied = Datagram { bytes, is_rtcp: false, remote: target, at_ns: now };
        self.copy_sent(row, encoding, copied);
        let stream = &mut self.streams[row];
        let len = match stream.protect(tx.buffer(&slot), datagram.len()) {
            Ok(len) => len,
            Err(fault) => {
                self.counters.srtp_faults.bump(fault);
                stream.out.packets = stream.out.packets.saturating_sub(1);
                tx.release(slot);
                return false;
            }
        };
        let wrapped = wrap_relayed(&mut self.relays, (place, target), tx.buffer(&slot), len);
        let Some((len, target)) = wrapped else {
            tx.release(slot);
            return false;
        };
        let socket = self.pool.pair(stream.pair).rtp;
        let cookie = cookie(row, stream);
        tx.commit(slot, len, socket, target, cookie, &mut stream.order);
        self.counters.rtp_packets_sent += 1;
        self.counters.rtp_packets_echoed += 1;
        self.counters.rtp_octets_sent += octets as u64;
        true
    }

    /// Sends the report that is due, and ends a check whose time is over.
    fn see_to(&mut self, row: u32, now: u64, reserve: usize, tx: &mut TxArena) {
        self.judge_check(row, now);
        let is_due = self.streams[row].reports.is_some_and(|reports| reports.next_ns() <= now);
        if is_due && tx.free() > reserve {
            self.send_report(row, now, tx);
        }
        self.pass_time_of_ice(row, now, tx);
        if self.streams[row].next_step_ns() <= now {
            self.queue_step(row, None);
        }
        self.plan_matter(row);
    }

    /// Sends a report, and plans the next one.
    pub(super) fn send_report(&mut self, row: u32, now: u64, tx: &mut TxArena) {
        let name = self.canonical_name(row);
        let unix_ns = now.saturating_add(self.config.wall_offset_ns);
        let stream = &mut self.streams[row];
        let random = mix(u64::from(stream.out.ssrc) ^ now);
        if let Some(reports) = &mut stream.reports {
            reports.advance(now, random);
        }
        let target = stream.report_target().filter(|_| !stream.awaits_keys());
        let Some((target, is_muxed)) = target else { return };
        let place = 2 * stream.pair + u32::from(!is_muxed);
        let room = REPORT_BYTES_MAX + stream.rtcp_overhead() + self.relay_overhead();
        if !self.is_relayed_to(place, target, now) {
            return;
        }
        let stream = &mut self.streams[row];
        let Some(slot) = tx.reserve(room) else { return };
        let room = tx.buffer(&slot);
        let out = &mut room[..REPORT_BYTES_MAX];
        let Some(len) = stream.write_report(out, &name, false, (now, unix_ns)) else {
            return tx.release(slot);
        };
        self.note_sent(row, (target, is_muxed), &room[..len], now);
        let copied = Datagram { bytes: &room[..len], is_rtcp: true, remote: target, at_ns: now };
        self.copy_sent(row, None, copied);
        let stream = &mut self.streams[row];
        let len = match stream.protect_rtcp(room, len) {
            Ok(len) => len,
            Err(fault) => {
                self.forget_sent();
                self.counters.srtp_faults.bump(fault);
                return tx.release(slot);
            }
        };
        let pair = self.pool.pair(stream.pair);
        let socket = if is_muxed { pair.rtp } else { pair.rtcp };
        let kind = room[1];
        let wrapped = wrap_relayed(&mut self.relays, (place, target), room, len);
        let Some((len, target)) = wrapped else { return tx.release(slot) };
        tx.commit(slot, len, socket, target, NO_STREAM, &mut TxOrder::default());
        count_report(&mut self.counters, kind, len);
    }

    /// Leaves the last report of a stream to be sent.
    pub(super) fn say_goodbye(&mut self, row: u32, now: u64) {
        let name = self.canonical_name(row);
        let unix_ns = now.saturating_add(self.config.wall_offset_ns);
        let stream = &mut self.streams[row];
        let takes_part = stream.out.packets + stream.received > 0 && stream.reports.is_some();
        let Some((target, is_muxed)) = stream.report_target().filter(|_| takes_part) else {
            return;
        };
        let mut bytes = [0; GOODBYE_BYTES_MAX];
        let out = &mut bytes[..REPORT_BYTES_MAX];
        let Some(len) = stream.write_report(out, &name, true, (now, unix_ns)) else { return };
        self.note_sent(row, (target, is_muxed), &bytes[..len], now);
        let copied = Datagram { bytes: &bytes[..len], is_rtcp: true, remote: target, at_ns: now };
        self.copy_sent(row, None, copied);
        let stream = &mut self.streams[row];
        let len = match stream.protect_rtcp(&mut bytes, len) {
            Ok(len) => len,
            Err(fault) => {
                self.forget_sent();
                return self.counters.srtp_faults.bump(fault);
            }
        };
        let pair = self.pool.pair(stream.pair);
        let socket = if is_muxed { pair.rtp } else { pair.rtcp };
        let kind = bytes[1];
        let place = 2 * stream.pair + u32::from(!is_muxed);
        let wrapped = wrap_relayed(&mut self.relays, (place, target), &mut bytes, len);
        let Some((len, target)) = wrapped else { return };
        if self.outbox.goodbyes.len() < self.outbox.goodbyes.capacity() {
            self.outbox.goodbyes.push(Goodbye { socket, target, kind, len: len as u8, bytes });
        } else {
            self.forget_sent();
        }
    }

    /// The canonical name of a leg: the same for its streams, different for each leg, and nothing
    /// about this host (RFC 7022).
    pub(super) fn canonical_name(&self, row: u32) -> [u8; 16] {
        let leg = &self.legs[self.streams[row].leg];
        let number = mix(self.config.seed ^ mix(leg.call ^ u64::from(leg.generation) << 32));
        let digit = |place: usize| b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
        std::array::from_fn(digit)
    }

    /// Measures the packets that leave now against their plan.
    pub(super) fn note_flushed(&mut self, now: u64) {
        for Staged { planned_ns, count, was_held } in self.outbox.staged.drain(..) {
            let error_ns = now.saturating_sub(planned_ns);
            self.measured.record_n(MediaMeasure::SendError, error_ns, count);
            if was_held {
                self.counters.delays.bump_by(DelayCause::NoSlot, count.into());
            } else if error_ns > LATE_NS {
                self.counters.delays.bump_by(DelayCause::LateWorker, count.into());
            }
        }
    }

    /// Counts a datagram that the system did not take.
    pub(super) fn note_unsent(&mut self, number: u64, failure: SendFailure) {
        self.counters.unsent.bump(match failure {
            SendFailure::NoBuffer => UnsentCause::NoBuffer,
            SendFailure::TooLarge => UnsentCause::TooLarge,
            SendFailure::NoRoute => UnsentCause::NoRoute,
            SendFailure::NotPermitted => UnsentCause::NotPermitted,
            SendFailure::Refused => UnsentCause::Refused,
            SendFailure::Other(_) => UnsentCause::Other,
        });
        let row = number as u32;
        let is_current = |stream: &&Stream| cookie(row, stream) == number;
        if self.streams.get(row).filter(is_current).is_some() {
            let out = &mut self.streams[row].out;
            out.packets = out.packets.saturating_sub(1);
        }
    }
}

/// Counts a packet of a pattern.
fn note_pattern(patterns: &mut Vec<PatternCheck>, row: u32, number: u8, len: usize) {
    let at = row as usize;
    if patterns.len() <= at {
        patterns.resize(at + 1, PatternCheck::default());
    }
    patterns[at].note_sent(number, len);
}

/// The cookie of a stream's datagrams.
fn cookie(row: u32, stream: &Stream) -> u64 {
    u64::from(stream.generation) << 32 | u64::from(row)
}
