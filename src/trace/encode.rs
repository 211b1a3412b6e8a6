//! Conversion of records to bytes.

use std::net::{IpAddr, SocketAddr};

use super::Kinds;
use super::event::{AudioPath, Authenticated, CallMedia, Ends, Event, Record, RtpChecked};
use crate::stats::{FailureCause, TraceDropCounts, TraceKind};

/// Bytes of the length with which each record begins.
pub(super) const LENGTH: usize = 4;

/// Collector of an engine's records between two turns of its worker.
#[derive(Debug)]
pub struct Tracer {
    wanted: Kinds,
    worker: u16,
    now: u64,
    buffer: Vec<u8>,
    capacity: usize,
    dropped: TraceDropCounts,
}

impl Tracer {
    /// A tracer of `worker` that holds up to `capacity` bytes of the kinds `wanted`.
    pub fn new(worker: u16, wanted: Kinds, capacity: usize) -> Self {
        let capacity = if wanted.is_none() { 0 } else { capacity };
        Self {
            wanted,
            worker,
            now: 0,
            buffer: Vec::with_capacity(capacity),
            capacity,
            dropped: TraceDropCounts::default(),
        }
    }

    /// Tells whether records of `kind` are wanted. Ask before gathering the data for one.
    #[inline]
    pub fn wants(&self, kind: TraceKind) -> bool {
        self.wanted.has(kind)
    }

    /// The wanted kinds.
    pub fn wanted(&self) -> Kinds {
        self.wanted
    }

    /// Changes the wanted kinds, with room for up to `capacity` bytes.
    pub fn set_wanted(&mut self, wanted: Kinds, capacity: usize) {
        self.wanted = wanted;
        if !wanted.is_none() && capacity > self.capacity {
            self.buffer.reserve_exact(capacity - self.buffer.len());
            self.capacity = capacity;
        }
    }

    /// Sets the time of the next records, on the monotonic clock.
    #[inline]
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// The time of the next records.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Appends an event at the current time if its kind is wanted. Without room it is dropped and
    /// counted.
    pub fn record(&mut self, call: u64, program: u8, step: u16, event: Event<'_>) {
        self.record_at(self.now, call, program, step, event);
    }

    /// Appends an event as [`Self::record`] does, at another time.
    pub fn record_at(&mut self, at_ns: u64, call: u64, program: u8, step: u16, event: Event<'_>) {
        let kind = event.kind();
        if !self.wants(kind) {
            return;
        }
        let before = self.buffer.len();
        if before + LENGTH + size_max(&event) > self.capacity {
            self.dropped.bump(kind);
            return;
        }
        let record = Record { at_ns, call, worker: self.worker, program, step, event };
        encode(&record, &mut self.buffer);
    }

    /// The records since the buffer was cleared, as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Counts records of a kind that were lost before they came here.
    pub fn note_dropped(&mut self, kind: TraceKind, lost: u64) {
        self.dropped.bump_by(kind, lost);
    }

    /// Records dropped so far, for want of room here or in the queue behind.
    pub fn dropped(&self) -> &TraceDropCounts {
        &self.dropped
    }

    /// Hands the records on in pieces of whole records. `push` takes all of a piece or refuses it.
    /// A refused piece is tried record by record, and records that still have no room are dropped
    /// and counted.
    pub fn hand_on(&mut self, mut push: impl FnMut(&[u8]) -> bool) {
        if self.buffer.is_empty() {
            return;
        }
        if !push(&self.buffer) {
            let dropped = &mut self.dropped;
            each_record(&self.buffer, |kind, bytes| {
                if !push(bytes) {
                    dropped.bump(kind);
                }
            });
        }
        self.buffer.clear();
    }
}

/// Calls `visit` with the kind and the bytes of each whole record in `bytes`.
pub fn each_record(mut bytes: &[u8], mut visit: impl FnMut(TraceKind, &[u8])) {
    while let Some((length, _)) = bytes.split_first_chunk::<LENGTH>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((record, rest)) = bytes.split_at_checked(length.max(LENGTH)) else { return };
        let kind = record.get(LENGTH).and_then(|&kind| TraceKind::ALL.get(usize::from(kind)));
        if let Some(&kind) = kind {
            visit(kind, record);
        }
        bytes = rest;
    }
}

/// An upper bound of the bytes that an event takes, without its length.
fn size_max(event: &Event<'_>) -> usize {
    const FIXED: usize = 96;
    FIXED
        + match event {
            Event::Sent { message, .. }
            | Event::Received { message, .. }
            | Event::Unexpected { message, .. }
            | Event::Late { message }
            | Event::OutOfCall { message } => message.len(),
            Event::Log(text)
            | Event::Warning(text)
            | Event::Error(text)
            | Event::CommandSent(text)
            | Event::CommandReceived(text)
            | Event::SrtpKeys(text) => text.len(),
            Event::CallEnded { call_id, .. } => MEDIA_MAX + call_id.len(),
            Event::Rtcp { call_id, packet, .. } => call_id.len() + packet.len(),
            Event::CallStarted { call_id, .. }
            | Event::Step { call_id }
            | Event::TimedOut { call_id, .. } => call_id.len(),
            Event::ResponseTime { .. } => 0,
            Event::RtpChecked(checked) => checked.call_id.len(),
            Event::Authenticated(auth) => {
                auth.call_id.len()
                    + auth.username.len()
                    + auth.realm.len()
                    + auth.algorithm.len()
                    + auth.qop.len()
            }
        }
}

/// Appends a record: length, kind, circumstances, and the data of the kind. All numbers are
/// little-endian. The last text of an event reaches to the end of its record; others carry their
/// length.
fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    // The common part is written at once, since it is most of many records.
    let mut common = [0; LENGTH + 22];
    common[4] = record.event.kind() as u8;
    common[5] = record.program;
    common[6..8].copy_from_slice(&record.step.to_le_bytes());
    common[8..10].copy_from_slice(&record.worker.to_le_bytes());
    common[10..18].copy_from_slice(&record.at_ns.to_le_bytes());
    common[18..].copy_from_slice(&record.call.to_le_bytes());
    out.extend_from_slice(&common);
    match record.event {
        Event::Sent { ends, is_repeated, message } => {
            put_ends(&ends, out);
            out.push(u8::from(is_repeated));
            out.extend_from_slice(message);
        }
        Event::Received { ends, message } => {
            put_ends(&ends, out);
            out.extend_from_slice(message);
        }
        Event::Unexpected { message, aborts } => {
            out.push(u8::from(aborts));
            out.extend_from_slice(message);
        }
        Event::Late { message } | Event::OutOfCall { message } => out.extend_from_slice(message),
        Event::Log(text)
        | Event::Warning(text)
        | Event::Error(text)
        | Event::CommandSent(text)
        | Event::CommandReceived(text)
        | Event::SrtpKeys(text) => out.extend_from_slice(text),
        Event::CallStarted { call_id, is_incoming, ends } => {
            put_ends(&ends, out);
            out.push(u8::from(is_incoming));
            out.extend_from_slice(call_id);
        }
        Event::CallEnded { call_id, cause, code, length_ns, media } => {
            out.push(cause.map_or(0, number_of));
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(&length_ns.to_le_bytes());
            put_media(media.as_ref(), out);
            out.extend_from_slice(call_id);
        }
        Event::Step { call_id } => out.extend_from_slice(call_id),
        Event::ResponseTime { rtd, duration_ns } => {
            out.extend_from_slice(&rtd.to_le_bytes());
            out.extend_from_slice(&duration_ns.to_le_bytes());
        }
        Event::TimedOut { call_id, patience, aborts, waited_ms } => {
            out.push(patience as u8);
            out.push(u8::from(aborts));
            out.extend_from_slice(&waited_ms.to_le_bytes());
            out.extend_from_slice(call_id);
        }
        Event::Authenticated(auth) => put_authenticated(&auth, out),
        Event::Rtcp { ends, is_sent, call_id, packet } => {
            put_ends(&ends, out);
            out.push(u8::from(is_sent));
            put_text(call_id, out);
            out.extend_from_slice(packet);
        }
        Event::RtpChecked(checked) => put_checked(&checked, out),
    }
    let length = (out.len() - begin) as u32;
    out[begin..begin + LENGTH].copy_from_slice(&length.to_le_bytes());
}

/// Appends a text and its length, cut to what that can say.
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    let text = &text[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text);
}

fn put_authenticated(auth: &Authenticated<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&auth.challenge.to_le_bytes());
    out.push(u8::from(auth.is_ok));
    for text in [auth.username, auth.realm, auth.algorithm, auth.qop] {
        put_text(text, out);
    }
    out.extend_from_slice(auth.call_id);
}

/// Most bytes of the figures of a call's media.
const MEDIA_MAX: usize = 240;

/// Appends the figures of a call's media: a byte for their presence, and then all of them. An
/// absent figure is all ones.
fn put_media(media: Option<&CallMedia>, out: &mut Vec<u8>) {
    let Some(media) = media else { return out.push(0) };
    out.push(1 + media.heard as u8);
    let numbers = [
        media.packets_sent,
        media.octets_sent,
        media.packets_received,
        media.octets_received,
        media.packets_expected,
        media.packets_lost,
        media.packets_discarded,
        media.packets_reordered,
        media.packets_duplicate,
        media.jitter_ns,
        media.jitter_mean_ns,
        media.jitter_max_ns,
        media.delta_max_ns,
        media.crosstalk_packets,
        media.first_audio_ns.unwrap_or(u64::MAX),
        media.first_audio_after_answer_ns.unwrap_or(u64::MAX),
        media.round_trip_ns.unwrap_or(u64::MAX),
        media.peer_jitter_ns.unwrap_or(u64::MAX),
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let peer = media.peer_fraction_lost.map_or(u16::MAX, u16::from);
    let mos = [media.mos_hundredths, media.mos_min_hundredths];
    for number in mos.map(|mos| mos.unwrap_or(u16::MAX)).into_iter().chain([peer]) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_path(media.path.as_ref(), out);
}

/// Appends the way of audio: a byte for its presence, and then all of it.
fn put_path(path: Option<&AudioPath>, out: &mut Vec<u8>) {
    let Some(path) = path else { return out.push(0) };
    out.push(1);
    put_address(path.local, out);
    put_address(path.remote, out);
    out.extend_from_slice(&path.ssrc.to_le_bytes());
    out.extend_from_slice(&path.peer_ssrc.map_or(u64::MAX, u64::from).to_le_bytes());
    out.push(path.payload_type);
    out.extend_from_slice(&path.clock_rate.to_le_bytes());
    put_text(path.encoding.bytes(), out);
}

fn put_checked(checked: &RtpChecked<'_>, out: &mut Vec<u8>) {
    let first = checked.first_wrong;
    let flags = [checked.is_video, checked.is_protected, checked.is_failed, first.is_some()];
    out.push(checked.number);
    out.extend(flags.map(u8::from));
    for number in [checked.sent, checked.good, checked.wrong] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let (sequence, offset) = first.unwrap_or_default();
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(checked.call_id);
}

/// A cause as a number from 1.
fn number_of(cause: FailureCause) -> u8 {
    cause as u8 + 1
}

fn put_ends(ends: &Ends, out: &mut Vec<u8>) {
    out.push(ends.protocol as u8);
    put_address(ends.local, out);
    put_address(ends.remote, out);
}

fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    let port = address.port().to_le_bytes();
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            out.extend_from_slice(&[4, a, b, c, d, port[0], port[1]]);
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&port);
        }
    }
}
