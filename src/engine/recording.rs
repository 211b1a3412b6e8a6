//! Records for the [`Tracer`]: the call and addresses of a record, and events that need gathering.

use std::net::SocketAddr;

use gossipper_uring::SocketId;

use super::Engine;
use super::call::Slot;
use super::call::ids::CallRef;
use super::steps::render::Out;
use crate::media::report::hundredths;
use crate::media::{LegReport, SeenReport};
use crate::sip::Challenge;
use crate::stats::{FailureCause, ShortText, TraceKind};
use crate::trace::{
    AudioPath, Authenticated, CallMedia, Ends, Event, Kinds, NO_CALL, NO_STEP, Patience, Protocol,
    RtpChecked, Tracer,
};

/// Most bytes of records in one turn: some thousands of messages, as many as the send arena holds.
const TURN_BYTES: usize = 4 << 20;
/// Longest Call-ID that is recorded whole.
const CALL_ID_MAX: usize = 256;

/// The tracer of `worker`.
pub(super) fn tracer(worker: usize, wanted: Kinds) -> Tracer {
    Tracer::new(worker as u16, wanted, TURN_BYTES)
}

impl Engine {
    /// The tracer, from which the worker takes the records.
    pub fn tracer_mut(&mut self) -> &mut Tracer {
        &mut self.tracer
    }

    /// Changes the kinds of events that are recorded.
    pub(super) fn set_trace(&mut self, wanted: Kinds) {
        self.tracer.set_wanted(wanted, TURN_BYTES);
        self.monitor_media();
    }

    /// Lets media copy its reports if a sink wants them.
    pub(super) fn monitor_media(&self) {
        if let Some(media) = &self.media {
            media.monitor_reports(self.tracer.wants(TraceKind::Rtcp));
        }
    }

    /// Records the reports that streams sent and received since the last call, if a sink wants
    /// them. A call's last ones must be recorded before the call is released.
    pub fn record_reports(&mut self) {
        if !self.tracer.wants(TraceKind::Rtcp) {
            return;
        }
        let Some(media) = self.media.clone() else { return };
        let lost = media.take_reports(|report| self.record_report(&report));
        self.tracer.note_dropped(TraceKind::Rtcp, lost);
    }

    fn record_report(&mut self, report: &SeenReport<'_>) {
        let call = CallRef::from_bits(report.call);
        let is_open = self.calls.current(call.slot, call.generation).is_some();
        let mut room = [0; CALL_ID_MAX];
        let (number, program, call_id) = match is_open {
            true => {
                let open = &self.calls[call.slot];
                (open.number, open.program, self.call_id(call.slot, &mut room))
            }
            false => (NO_CALL, 0, &[][..]),
        };
        let &SeenReport { at_ns, is_sent, local, remote, packet, .. } = report;
        let ends = Ends { local, remote, protocol: Protocol::Udp };
        let event = Event::Rtcp { ends, is_sent, call_id, packet };
        self.tracer.record_at(at_ns, number, program, NO_STEP, event);
    }

    /// The addresses at both ends of the call's messages.
    pub(super) fn ends(&self, slot: Slot) -> Ends {
        let call = &self.calls[slot];
        let local = SocketAddr::new(self.local_ip_of(call.socket), call.local_port);
        Ends { local, remote: call.remote, protocol: self.config.environment.protocol }
    }

    /// The addresses at both ends of a message that belongs to no call.
    pub(super) fn ends_of(&self, socket: SocketId, remote: SocketAddr) -> Ends {
        let environment = &self.config.environment;
        let port = environment.local_port.unwrap_or(0);
        let local = SocketAddr::new(self.local_ip_of(socket), port);
        Ends { local, remote, protocol: self.config.environment.protocol }
    }

    /// Records an event of the call.
    pub(super) fn trace(&mut self, slot: Slot, step: u16, event: Event<'_>) {
        let call = &self.calls[slot];
        self.tracer.record(call.number, call.program, step, event);
    }

    /// The call's Call-ID, cut if it is longer than any reasonable one.
    pub(super) fn call_id<'r>(&self, slot: Slot, room: &'r mut [u8; CALL_ID_MAX]) -> &'r [u8] {
        let mut out = Out::new(room);
        self.put_call_id(slot, &mut out);
        let length = out.len().unwrap_or(0);
        &room[..length]
    }

    pub(super) fn trace_received(
        &mut self,
        slot: Slot,
        source: SocketAddr,
        at_ns: u64,
        message: &[u8],
    ) {
        if self.copies_messages() {
            let ends = Ends { remote: source, ..self.ends(slot) };
            self.copy_message(slot, &ends, false, message, at_ns);
        }
        if self.tracer.wants(TraceKind::MessageReceived) {
            let ends = Ends { remote: source, ..self.ends(slot) };
            let call = &self.calls[slot];
            let event = Event::Received { ends, message };
            self.tracer.record_at(at_ns, call.number, call.program, call.step, event);
        }
    }

    /// Records a received message that belongs to no call.
    pub(super) fn trace_stray(
        &mut self,
        socket: SocketId,
        source: SocketAddr,
        at_ns: u64,
        message: &[u8],
    ) {
        if self.tracer.wants(TraceKind::MessageReceived) {
            let event = Event::Received { ends: self.ends_of(socket, source), message };
            self.tracer.record_at(at_ns, NO_CALL, 0, NO_STEP, event);
        }
    }

    pub(super) fn trace_start(&mut self, slot: Slot) {
        if self.tracer.wants(TraceKind::CallStarted) {
            let mut room = [0; CALL_ID_MAX];
            let call_id = self.call_id(slot, &mut room);
            let (ends, is_incoming) = (self.ends(slot), self.calls[slot].incoming);
            self.trace(slot, NO_STEP, Event::CallStarted { call_id, is_incoming, ends });
        }
    }

    /// Records the end of a call at `step`; `code` is the status that it ended with, or 0.
    pub(super) fn trace_end(
        &mut self,
        slot: Slot,
        (step, code): (u16, u16),
        cause: Option<FailureCause>,
        length_ns: u64,
        media: Option<&LegReport>,
    ) {
        if self.tracer.wants(TraceKind::CallEnded) {
            let media = media.map(figures);
            let mut room = [0; CALL_ID_MAX];
            let call_id = self.call_id(slot, &mut room);
            self.trace(slot, step, Event::CallEnded { call_id, cause, code, length_ns, media });
        }
    }

    /// Records the checks of the patterns that a call played.
    pub(super) fn trace_patterns(&mut self, slot: Slot, step: u16, media: &LegReport) {
        if !self.tracer.wants(TraceKind::RtpChecked) {
            return;
        }
        for (pattern, is_video) in media.patterns.into_iter().zip([false, true]) {
            let Some(pattern) = pattern else { continue };
            let mut room = [0; CALL_ID_MAX];
            let call_id = self.call_id(slot, &mut room);
            let checked = RtpChecked {
                call_id,
                number: pattern.number,
                is_video,
                is_protected: pattern.is_protected,
                is_failed: pattern.is_failed,
                sent: pattern.sent,
                good: pattern.good,
                wrong: pattern.wrong,
                first_wrong: pattern.first_wrong.map(|first| (first.sequence, first.offset)),
            };
            self.trace(slot, step, Event::RtpChecked(checked));
        }
    }

    pub(super) fn trace_step(&mut self, slot: Slot, step: u16) {
        if self.tracer.wants(TraceKind::Step) {
            let mut room = [0; CALL_ID_MAX];
            let call_id = self.call_id(slot, &mut room);
            self.trace(slot, step, Event::Step { call_id });
        }
    }

    pub(super) fn trace_timeout(
        &mut self,
        slot: Slot,
        step: u16,
        patience: Patience,
        aborts: bool,
        waited_ms: u64,
    ) {
        if self.tracer.wants(TraceKind::TimedOut) {
            let mut room = [0; CALL_ID_MAX];
            let call_id = self.call_id(slot, &mut room);
            let event = Event::TimedOut { call_id, patience, aborts, waited_ms };
            self.trace(slot, step, event);
        }
    }

    /// Records that `message` answers a challenge.
    pub(super) fn trace_answered(&mut self, slot: Slot, step: u16, message: &[u8]) {
        if self.tracer.wants(TraceKind::Authenticated)
            && let Some((challenge, value)) = credentials(message)
        {
            self.trace_credentials(slot, step, value, challenge, true);
        }
    }

    /// Records that the credentials of `message` were checked.
    pub(super) fn trace_checked(&mut self, slot: Slot, step: u16, message: &[u8], is_ok: bool) {
        if self.tracer.wants(TraceKind::Authenticated) {
            let value = credentials(message).map_or(&b""[..], |(_, value)| value);
            self.trace_credentials(slot, step, value, 0, is_ok);
        }
    }

    fn trace_credentials(
        &mut self,
        slot: Slot,
        step: u16,
        value: &[u8],
        challenge: u16,
        is_ok: bool,
    ) {
        let mut room = [0; CALL_ID_MAX];
        let call_id = self.call_id(slot, &mut room);
        let fields = Challenge::parse(value).ok();
        let field =
            |name: &str| fields.as_ref().and_then(|fields| fields.field(name)).unwrap_or_default();
        let event = Event::Authenticated(Authenticated {
            call_id,
            username: field("username"),
            realm: field("realm"),
            algorithm: field("algorithm"),
            qop: field("qop"),
            challenge,
            is_ok,
        });
        self.trace(slot, step, event);
    }
}

/// The credentials that a message carries, and the status of the challenge that they answer.
fn credentials(message: &[u8]) -> Option<(u16, &[u8])> {
    let lines = message.split(|&byte| byte == b'\n').skip(1);
    for line in lines.map(|line| line.trim_ascii_end()).take_while(|line| !line.is_empty()) {
        for (name, status) in [(&b"Authorization"[..], 401), (b"Proxy-Authorization", 407)] {
            let Some((begin, rest)) = line.split_at_checked(name.len()) else { continue };
            if begin.eq_ignore_ascii_case(name)
                && let [b':', value @ ..] = rest.trim_ascii_start()
            {
                return Some((status, value.trim_ascii()));
            }
        }
    }
    None
}

/// The figures of a call's media, for its record.
fn figures(report: &LegReport) -> CallMedia {
    let reception = &report.reception;
    CallMedia {
        heard: report.heard.verdict(),
        packets_sent: report.packets_sent,
        octets_sent: report.octets_sent,
        packets_received: reception.packets,
        octets_received: reception.octets,
        packets_expected: reception.expected,
        packets_lost: reception.lost,
        packets_discarded: reception.discarded,
        packets_reordered: reception.reordered,
        packets_duplicate: reception.duplicates,
        jitter_ns: reception.jitter_ns,
        jitter_mean_ns: reception.jitter_mean_ns,
        jitter_max_ns: reception.jitter_max_ns,
        delta_max_ns: reception.longest_gap_ns,
        mos_hundredths: hundredths(reception.mos),
        mos_min_hundredths: hundredths(reception.mos_min),
        first_audio_ns: report.first_audio_ns,
        first_audio_after_answer_ns: report.first_audio_after_answer_ns,
        round_trip_ns: report.round_trip_ns,
        peer_fraction_lost: report.peer_fraction_lost,
        peer_jitter_ns: report.peer_jitter_ns,
        path: report.path.as_ref().map(|path| AudioPath {
            local: path.local,
            remote: path.remote,
            ssrc: path.ssrc,
            peer_ssrc: path.peer_ssrc,
            payload_type: path.encoding.1,
            clock_rate: path.encoding.2,
            encoding: ShortText::of(path.encoding.0.as_bytes()),
        }),
        crosstalk_packets: report.crosstalk_packets,
    }
}
