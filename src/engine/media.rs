//! The media of calls: their legs, and what descriptions and actions of calls tell them.
//!
//! A call of a program with media has a leg from its start to its end. The engine hands the bodies
//! of its messages on as they are; addresses, formats and packets are the business of
//! [`Media`](crate::media::Media).

use std::net::SocketAddr;

use gossipper_uring::TxArena;

use crate::engine::call::Slot;
use crate::engine::call::ids::CallRef;
use crate::engine::call::variables::Value;
use crate::engine::steps::render::Out;
use crate::engine::{Cx, Engine};
use crate::media::{
    Command, Event as MediaEvent, LegId, LegReport, LegSpec, Local, MediaFault, MediaHandle,
    Opening, Track,
};
use crate::scenario::media::{MediaTrack, read_digits};
use crate::scenario::{Digits, MediaAction, Play, Record, Recv};
use crate::sip::{HeaderId, Kind, Message, Method, info_digit};
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{Ends, Event};

/// Longest Call-ID in a log of keys; a longer one is left out.
const CALL_ID_MAX: usize = 512;
/// Most digits of a call that are kept until the scenario takes them.
const DIGITS_MAX: usize = 256;
/// Longest name of a recording, so that its temporary name fits a file system, too.
const NAME_MAX: usize = 200;

impl Engine {
    /// Gives the engine the media of its worker.
    pub fn set_media(&mut self, media: Option<MediaHandle>) {
        self.media = media;
        self.monitor_media();
    }

    /// Tells whether messages of calls may belong to recordings of their packets.
    #[inline]
    pub(in crate::engine) fn copies_messages(&self) -> bool {
        self.media.as_ref().is_some_and(MediaHandle::has_packets)
    }

    /// Copies a message into the recording of its call's packets, if there is one.
    pub(in crate::engine) fn copy_message(
        &self,
        slot: Slot,
        ends: &Ends,
        is_sent: bool,
        message: &[u8],
        at_ns: u64,
    ) {
        if let Some((media, leg)) = self.leg(slot) {
            let ends = (ends.local, ends.remote);
            media.with(|media| media.copy_message(leg, ends, is_sent, message, at_ns));
        }
    }

    /// Opens the leg of the call that is started next, if its program has media.
    ///
    /// # Errors
    /// Sockets must be opened first, or there are no more.
    pub(in crate::engine) fn open_leg(
        &mut self,
        program: u8,
        now: u64,
    ) -> Result<Option<LegId>, Opening> {
        let bound = &self.programs[usize::from(program)];
        if !bound.has_media {
            return Ok(None);
        }
        let Some((slot, generation)) = self.calls.next() else { return Ok(None) };
        let worker = self.config.worker as u8;
        let spec = LegSpec {
            call: CallRef { worker, slot, generation }.to_bits(),
            wants_video: bound.program.wants_video,
            is_sent: bound.program.is_sent,
            number: self.next_number(),
        };
        let media = self.media.as_ref().ok_or(Opening::Exhausted)?;
        media.open(spec, now).map(Some)
    }

    /// Closes a leg whose call was not started.
    pub(in crate::engine) fn give_back_leg(&mut self, leg: Option<LegId>, now: u64) {
        if let (Some(media), Some(leg)) = (&self.media, leg) {
            media.close(leg, now);
        }
    }

    /// Ends the call's leg, if it has one, and returns its figures.
    pub(in crate::engine) fn close_leg(
        &mut self,
        slot: Slot,
        has_failed: bool,
        now: u64,
    ) -> Option<LegReport> {
        let leg = self.calls[slot].media.leg.take()?;
        self.calls[slot].media.awaited = 0;
        let media = self.media.as_ref()?;
        if has_failed {
            media.note_failed(leg);
        }
        let report = media.close(leg, now);
        self.record_reports();
        Some(report)
    }

    /// The call's leg, and the media that has it.
    pub(in crate::engine) fn leg(&self, slot: Slot) -> Option<(&MediaHandle, LegId)> {
        let leg = self.calls[slot].media.leg?;
        Some((self.media.as_ref()?, leg))
    }

    /// The address of a track of the call, for messages: bound, or relayed.
    pub(in crate::engine) fn media_address(&self, slot: Slot, track: Track) -> Option<SocketAddr> {
        Some(self.media_local(slot, track)?.rtp)
    }

    /// The bound addresses and the source of a track of the call.
    pub(in crate::engine) fn media_local(&self, slot: Slot, track: Track) -> Option<Local> {
        let (media, leg) = self.leg(slot)?;
        media.local(leg, track)
    }

    /// Tells media of the description in a message that the call sends.
    #[inline]
    pub(in crate::engine) fn describe_sent(
        &mut self,
        slot: Slot,
        message: &[u8],
        now: u64,
    ) -> Result<(), FailureCause> {
        if self.calls[slot].media.leg.is_none() {
            return Ok(());
        }
        let body = memchr::memmem::find(message, b"\r\n\r\n").map(|at| &message[at + 4..]);
        let Some(body) = body.filter(|body| is_description(body)) else { return Ok(()) };
        let Some((media, leg)) = self.leg(slot) else { return Ok(()) };
        let told = media.local_description(leg, body, now);
        self.note_keys(slot);
        told.map_err(|fault| self.media_failed(slot, fault))
    }

    /// Tells media of the description in a message that the call accepts.
    #[inline]
    pub(in crate::engine) fn describe_received(
        &mut self,
        slot: Slot,
        recv: &Recv,
        message: &Message<'_>,
        now: u64,
    ) -> Result<(), FailureCause> {
        self.take_info_digit(slot, message);
        let has_leg = self.calls[slot].media.leg.is_some();
        if !has_leg || recv.ignore_sdp || !is_description(message.body()) {
            return Ok(());
        }
        let Some((media, leg)) = self.leg(slot) else { return Ok(()) };
        let told = media.remote_description(leg, message.body(), now);
        self.note_keys(slot);
        told.map_err(|fault| self.media_failed(slot, fault))
    }

    /// Records the keys that the call's streams have got, if a log wants them.
    fn note_keys(&mut self, slot: Slot) {
        if !self.tracer.wants(TraceKind::SrtpKeys) {
            return;
        }
        let mut text = [0; CALL_ID_MAX];
        let mut out = Out::new(&mut text);
        self.put_call_id(slot, &mut out);
        let call_id = String::from_utf8_lossy(out.written()).into_owned();
        let mut lines = String::new();
        if let Some((media, leg)) = self.leg(slot) {
            for track in [Track::Audio, Track::Video] {
                media.log_keys(leg, track, &call_id, &mut lines);
            }
        }
        if !lines.is_empty() {
            let step = self.calls[slot].step;
            self.trace(slot, step, Event::SrtpKeys(lines.as_bytes()));
        }
    }

    /// Tells media that the call was answered.
    pub(in crate::engine) fn note_answer(&self, slot: Slot, now: u64) {
        if let Some((media, leg)) = self.leg(slot) {
            media.answered(leg, now);
        }
    }

    /// Records a fault of media as a warning, and returns the cause of failure that it means.
    pub(in crate::engine) fn media_failed(
        &mut self,
        slot: Slot,
        fault: MediaFault,
    ) -> FailureCause {
        self.counters.warnings += 1;
        if self.tracer.wants(TraceKind::Warning) {
            let step = self.calls[slot].step;
            self.trace(slot, step, Event::Warning(fault.to_string().as_bytes()));
        }
        match fault {
            MediaFault::BlockedTarget => FailureCause::BlockedTarget,
            MediaFault::Crypto(_) | MediaFault::SrtpRefused => FailureCause::SrtpFailed,
            MediaFault::Handshake(fault) if fault.is_of_dtls() => FailureCause::SrtpFailed,
            _ => FailureCause::MediaFailed,
        }
    }

    /// Carries out an action on the call's media.
    pub(in crate::engine) fn media_action(
        &mut self,
        slot: Slot,
        action: &MediaAction,
        cx: &Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        let (track, command) = match action {
            MediaAction::Connect(connect) => return self.connect(slot, connect, cx),
            MediaAction::Play(play) => (track(play.track), self.play(slot, play)?),
            MediaAction::Pause(of) => (track(*of), Command::Pause),
            MediaAction::Resume(of) => (track(*of), Command::Resume),
            MediaAction::Stop(of) => (track(*of), Command::Stop),
            MediaAction::Digits(digits) => (Track::Audio, self.digits(slot, digits, cx)?),
            MediaAction::Echo(of, is_on) => (track(*of), Command::Echo(*is_on)),
            MediaAction::EchoAll(value) => {
                let is_on = self.operand(slot, value) != 0.0;
                if self.program_of(slot).program.wants_video {
                    self.command(slot, Track::Video, Command::Echo(is_on), cx.now)?;
                }
                (Track::Audio, Command::Echo(is_on))
            }
            MediaAction::Check(check) => {
                self.calls[slot].media.awaited = 1;
                let timeout_ns = u64::from(check.timeout_ms) * 1_000_000;
                let (received, sent) = (check.received, check.sent);
                (Track::Audio, Command::Check { received, sent, timeout_ns })
            }
            MediaAction::AwaitEnd(timeout_ms) => {
                let timeout_ns = timeout_ms.map_or(u64::MAX, |ms| u64::from(ms) * 1_000_000);
                let command = Command::AwaitEnd { timeout_ns };
                self.calls[slot].media.awaited = 1;
                if self.program_of(slot).program.wants_video {
                    self.calls[slot].media.awaited = 2;
                    self.command(slot, Track::Video, command.clone(), cx.now)?;
                }
                (Track::Audio, command)
            }
            MediaAction::Record(record) => (Track::Audio, self.recording(slot, record, cx)?),
            MediaAction::StopRecording => (Track::Audio, Command::StopRecording),
            MediaAction::TakeDigits { from, to } => {
                let mut text = Vec::new();
                self.variable_text(slot, *from, &mut text);
                self.assign(slot, *from, Value::Unset);
                return match self.assign_text(slot, *to, &text) {
                    true => Ok(()),
                    false => Err(FailureCause::PoolExhausted),
                };
            }
        };
        self.command(slot, track, command, cx.now)
    }

    fn command(
        &mut self,
        slot: Slot,
        track: Track,
        command: Command,
        now: u64,
    ) -> Result<(), FailureCause> {
        let Some((media, leg)) = self.leg(slot) else { return Err(FailureCause::MediaFailed) };
        let done = media.act(leg, track, command, now);
        done.map_err(|fault| self.media_failed(slot, fault))
    }

    fn play(&mut self, slot: Slot, play: &Play) -> Result<Command, FailureCause> {
        let clips = self.program_of(slot).clips.get(usize::from(play.source)).cloned();
        let Some(clips) = clips else { return Err(self.media_failed(slot, MediaFault::NoClip)) };
        Ok(Command::Play {
            clips,
            loops: play.loops,
            stop_after_ns: play.stop_after_ms.map(|ms| u64::from(ms) * 1_000_000),
            payload_type: play.payload_type,
            encoding: play.encoding,
        })
    }

    fn digits(
        &mut self,
        slot: Slot,
        digits: &Digits,
        cx: &Cx<'_, '_>,
    ) -> Result<Command, FailureCause> {
        let text = self.text(slot, &digits.text, cx)?;
        let read = read_digits(&text, digits.digit_ms).map_err(|_| FailureCause::ScenarioError)?;
        let (read, digit_ms) = read;
        let (media, leg) = self.leg(slot).ok_or(FailureCause::MediaFailed)?;
        let negotiated = media.agreed(leg, Track::Audio).and_then(|agreed| agreed.telephone_event);
        Ok(Command::Digits {
            digits: read.to_ascii_uppercase().into_boxed_slice(),
            digit_ms,
            pause_ms: digits.pause_ms,
            payload_type: negotiated.or(Some(digits.payload_type)),
        })
    }

    /// A recording into a file of the folder that the scenario names. Of the name only harmless
    /// bytes are left, since a keyword may have brought what a peer sent.
    fn recording(
        &mut self,
        slot: Slot,
        record: &Record,
        cx: &Cx<'_, '_>,
    ) -> Result<Command, FailureCause> {
        let mut name = self.text(slot, &record.name, cx)?;
        name.truncate(NAME_MAX);
        let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+@=".contains(byte);
        for byte in name.iter_mut().filter(|byte| !is_harmless(byte)) {
            *byte = b'_';
        }
        match name.first_mut() {
            Some(first) if *first == b'.' => *first = b'_',
            Some(_) => {}
            None => name.push(b'_'),
        }
        let name = [&record.folder[..], &name].concat().into_boxed_slice();
        Ok(Command::Record { name, is_duplex: record.is_duplex })
    }

    /// Handles news of a call's media.
    pub(in crate::engine) fn on_media(
        &mut self,
        call: CallRef,
        event: MediaEvent,
        now: u64,
        tx: &mut TxArena,
    ) {
        let slot = call.slot;
        let is_open = self.calls.current(slot, call.generation).is_some();
        if !is_open || self.calls[slot].media.leg.is_none() {
            return;
        }
        match event {
            MediaEvent::Checked(is_met) => self.stream_checked(slot, is_met, now, tx),
            MediaEvent::Digit(digit) => self.digit_received(slot, digit),
            MediaEvent::Played(_) => {}
            MediaEvent::Keyed(_) => self.note_keys(slot),
            MediaEvent::Failed(fault) => {
                let cause = self.media_failed(slot, fault);
                let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
                self.abort(slot, cause, &mut cx);
            }
        }
    }

    /// Lets a call go on that waited for a stream, or fails it.
    fn stream_checked(&mut self, slot: Slot, is_met: bool, now: u64, tx: &mut TxArena) {
        let media = &mut self.calls[slot].media;
        let Some(left) = media.awaited.checked_sub(1) else { return };
        media.awaited = if is_met { left } else { 0 };
        if is_met && left > 0 {
            return;
        }
        if is_met {
            self.calls[slot].due_ns = now;
            return self.resume(slot, now, tx);
        }
        let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
        // The call stands behind the step that has the check.
        self.calls[slot].step = self.calls[slot].step.saturating_sub(1);
        self.abort(slot, FailureCause::RtpCheck, &mut cx);
    }

    /// Takes the digit of an INFO that the call received, if its scenario takes digits.
    #[inline]
    pub(in crate::engine) fn take_info_digit(&mut self, slot: Slot, message: &Message<'_>) {
        let Kind::Request { method: Method::Info, .. } = message.kind() else { return };
        if self.program_of(slot).program.digits.is_none() {
            return;
        }
        let kind = message.first(HeaderId::ContentType).unwrap_or_default();
        if let Some(digit) = info_digit(kind, message.body()) {
            self.digit_received(slot, digit);
        }
    }

    /// Appends a received digit to the variable of the program that takes digits.
    fn digit_received(&mut self, slot: Slot, digit: u8) {
        let Some(to) = self.program_of(slot).program.digits else { return };
        let mut text = std::mem::take(&mut self.buffers.default_text);
        text.clear();
        self.variable_text(slot, to, &mut text);
        if text.len() < DIGITS_MAX {
            text.push(digit);
            if !self.assign_text(slot, to, &text) {
                self.counters.warnings += 1;
            }
        }
        self.buffers.default_text = text;
    }
}

pub(in crate::engine) fn track(track: MediaTrack) -> Track {
    match track {
        MediaTrack::Audio => Track::Audio,
        MediaTrack::Video => Track::Video,
    }
}

/// Tells whether a body is a session description.
fn is_description(body: &[u8]) -> bool {
    body.starts_with(b"v=0")
}
