//! Default behaviours: reactions to messages that the scenario did not provide for, and the end of
//! a failed call's dialog, so that no state stays at the peer.
//!
//! A failed call is counted at once. If the peer may still hold state of it, the call lingers:
//! CANCEL or BYE is sent and repeated until it is answered, at most for 64 * T1 (RFC 3261 timers B,
//! E and F). A server-mode call sends nothing, as in SIPp.

use std::rc::Rc;

use gossipper_uring::{IcmpCause, SendFailure, TxArena};

use crate::engine::call::ids::CallRef;
use crate::engine::call::{Heard, InviteState, NO_INDEX, Phase, Retransmit, Slot};
use crate::engine::dialog::receive::AUTO_ANSWERED;
use crate::engine::steps::render::{At, Out};
use crate::engine::{Cx, Engine};
use crate::scenario::{DefaultMessages, Optional, StepKind, Template};
use crate::sip::{CSeq, HeaderId, HeaderIndex, Kind, Message, Method, MethodId};
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{Event, NO_STEP};

/// Message numbers for the branches of our own requests, above all steps of a scenario.
const ABORT_ACK: u64 = 0xfff0;
const ABORT_REQUEST: u64 = 0xfff1;
/// Longest automatic message whose text comes from the scenario.
const OWN_TEXT_MAX: usize = 8192;
/// T1 of RFC 3261 section 17.1.1.1.
const T1_MS: u32 = 500;
/// Longest time that a call lingers: 64 * T1.
const LINGER_MS_MAX: u64 = 64 * T1_MS as u64;

impl Engine {
    /// Handles a message that neither the scenario nor the retransmission rules provide for.
    pub(in crate::engine) fn unexpected(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        hash: u64,
        cx: &mut Cx<'_, '_>,
    ) {
        let behaviors = self.config.rules.default_behaviors;
        let has_to = message.first(HeaderId::To).is_some();
        let step = self.calls[slot].step;
        if usize::from(step) < self.program_of(slot).program.steps.len() {
            self.step_counts(slot, step).unexpected += 1;
        }
        if self.tracer.wants(TraceKind::Unexpected) {
            let aborts = self.aborts_on(message);
            self.trace(slot, step, Event::Unexpected { message: message.bytes(), aborts });
        }
        match message.kind() {
            Kind::Request { method, .. } => {
                let asked = self.calls[slot].asked;
                self.count_request(slot, method.id());
                let bit = method.bit();
                // As in SIPp, a call that goes on after a BYE does not answer it.
                let hangs_up = matches!(method, Method::Bye | Method::Cancel) && has_to;
                if hangs_up && behaviors.abort_unexpected {
                    if behaviors.bye {
                        self.answer_ok(slot, message, hash, cx);
                        self.note_farewell(slot, hash);
                    }
                    self.calls[slot].invite_state = InviteState::Over;
                    self.count_end(slot, Some(FailureCause::PeerHangup), Some(message), cx.now);
                    self.release(slot, cx.now);
                    return;
                }
                if method == Method::Ping && !behaviors.ping_reply {
                    self.counters.warnings += 1;
                    return;
                }
                if method == Method::Ping {
                    self.counters.auto_answered +=
                        u64::from(self.answer_ok(slot, message, hash, cx));
                    self.abort(slot, FailureCause::UnexpectedMessage, cx);
                    return;
                }
                if self.config.rules.auto_answer && AUTO_ANSWERED & bit != 0 {
                    self.take_info_digit(slot, message);
                    self.counters.auto_answered +=
                        u64::from(self.answer_ok(slot, message, hash, cx));
                    // The scenario's next answer belongs to the request before this one.
                    self.calls[slot].asked = asked;
                    return;
                }
            }
            Kind::Response { code, .. } => {
                self.count_response(cseq.method.id(), code);
                self.follow_dialog(slot, message, cseq.method.id(), false);
                let is_invite = cseq.method.id() == MethodId::Invite
                    && cseq.number == self.calls[slot].invite_cseq;
                // A call that goes on ignores this message: its retransmission goes on as well.
                if is_invite && behaviors.abort_unexpected {
                    let before = self.calls[slot].invite_state;
                    self.note_invite_response(slot, code);
                    let rejects = matches!(before, InviteState::Calling | InviteState::Proceeding);
                    if code >= 300 && rejects && behaviors.bye {
                        self.acknowledge(slot, message, cx);
                    }
                }
                if code >= 200 && behaviors.abort_unexpected {
                    self.note_final_response(slot, code, (is_invite, cseq.number), cx.at);
                }
            }
        }
        if behaviors.abort_unexpected {
            self.abort(slot, FailureCause::UnexpectedMessage, cx);
        } else {
            self.counters.warnings += 1;
        }
    }

    /// The step that the call waits for: the mandatory receive behind optional ones, if there is
    /// one, else its current step.
    pub(in crate::engine) fn awaited(&self, slot: Slot) -> u16 {
        let at = self.calls[slot].step;
        let steps = &self.program_of(slot).program.steps;
        for (index, step) in steps.iter().enumerate().skip(usize::from(at)) {
            match &step.kind {
                _ if self.is_skipped(slot, step) => {}
                StepKind::Recv(recv) if recv.optional == Optional::Mandatory => {
                    return index as u16;
                }
                StepKind::Recv(_) => {}
                StepKind::RecvCommand(recv) if recv.optional => {}
                _ => return at,
            }
        }
        at
    }

    /// Tells whether an unexpected message ends its call.
    fn aborts_on(&self, message: &Message<'_>) -> bool {
        let behaviors = self.config.rules.default_behaviors;
        match message.method() {
            Some(Method::Ping) => behaviors.ping_reply,
            Some(method) if self.config.rules.auto_answer && AUTO_ANSWERED & method.bit() != 0 => {
                false
            }
            _ => behaviors.abort_unexpected,
        }
    }

    /// Fails a call, and ends its dialog if there may be one.
    pub(in crate::engine) fn abort(
        &mut self,
        slot: Slot,
        cause: FailureCause,
        cx: &mut Cx<'_, '_>,
    ) {
        let state = self.calls[slot].invite_state;
        // `incoming` calls send nothing; neither does a call whose INVITE got no answer.
        let ends_dialog = self.config.rules.default_behaviors.bye
            && !self.calls[slot].incoming
            && !self.is_cut_off(slot);
        let message = cx.last.filter(|_| !cx.last_is_saved);
        self.count_end(slot, Some(cause), message, cx.now);
        let lingers = ends_dialog
            && match state {
                InviteState::Answered => {
                    self.send_ack_of_success(slot, cx);
                    self.send_in_dialog(slot, Method::Bye, cx)
                }
                InviteState::Confirmed => self.send_in_dialog(slot, Method::Bye, cx),
                InviteState::Proceeding => self.send_cancel(slot, cx),
                InviteState::Over if self.repeats_bye(slot) => {
                    return self.linger_on(slot, cx.now);
                }
                InviteState::Idle | InviteState::Calling | InviteState::Over => false,
            };
        if lingers {
            self.linger(slot, cx.now);
        } else {
            self.release(slot, cx.now);
        }
    }

    /// Handles a datagram of the call that the kernel refused.
    pub(in crate::engine) fn on_send_failed(
        &mut self,
        call: CallRef,
        cause: SendFailure,
        now: u64,
    ) {
        if cause == SendFailure::NoBuffer {
            // Like a loss on the way: the retransmission, ours or the peer's, repairs it.
            self.counters.send_no_buffer += 1;
            return;
        }
        match cause {
            // The kernel reports an ICMP error of an earlier datagram in this way.
            SendFailure::Refused => self.fail_unreachable(call, IcmpCause::Port, now),
            _ => self.fail_transport(call, FailureCause::CannotSendMessage, now),
        }
    }

    /// Handles the network's report that a datagram did not arrive (RFC 3261 section 18.4: an error
    /// to the transaction user, like a 503).
    pub(in crate::engine) fn on_unreachable(&mut self, cause: IcmpCause, quoted: &[u8], now: u64) {
        if cause == IcmpCause::TooBig {
            // The kernel now knows the path MTU; the retransmission will be fragmented.
            return;
        }
        let Some(call) = self.quoted_call(quoted) else { return };
        self.fail_unreachable(call, cause, now);
    }

    /// Notes that a message of the call reached no receiver. Unless that ends the call, the message
    /// counts as lost like any other: if the peer starts later, a retransmission reaches it.
    fn fail_unreachable(&mut self, call: CallRef, cause: IcmpCause, now: u64) {
        self.last_icmp = cause;
        let running = self.calls.current(call.slot, call.generation);
        let is_running = running.is_some_and(|state| state.phase == Phase::Running);
        if self.config.rules.icmp_fails_calls || !is_running {
            self.fail_transport(call, FailureCause::IcmpUnreachable, now);
        }
    }

    pub(in crate::engine) fn fail_transport(
        &mut self,
        call: CallRef,
        cause: FailureCause,
        now: u64,
    ) {
        if usize::from(call.worker) != self.config.worker {
            return;
        }
        let Some(state) = self.calls.current(call.slot, call.generation) else { return };
        match state.phase {
            // The peer is unreachable, so no dialog is ended.
            Phase::Running => self.end(call.slot, Some(cause), now),
            Phase::Lingering => self.end_linger(call.slot, now),
            Phase::Free => {}
        }
    }

    /// The call that a quoted piece of a datagram belongs to, by its Call-ID line.
    fn quoted_call(&self, quoted: &[u8]) -> Option<CallRef> {
        for line in quoted.split(|&byte| byte == b'\n') {
            let (name, value) = line.split_at(memchr::memchr(b':', line).unwrap_or(line.len()));
            let name = name.trim_ascii();
            if !name.eq_ignore_ascii_case(b"Call-ID") && !name.eq_ignore_ascii_case(b"i") {
                continue;
            }
            let value = self.call_key(value.get(1..)?.trim_ascii());
            if let Some(call) = self.nonce.parse(value) {
                return Some(call);
            }
            let hash = self.hasher.hash(value);
            let slot = self.map.find(hash, |slot| self.calls[slot].hash == hash)?;
            return Some(self.call_ref(slot));
        }
        None
    }

    /// Sends 200 OK to a request inside the call, and remembers the request so that its repetition
    /// is recognised; `false` if it could not be sent.
    fn answer_ok(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        hash: u64,
        cx: &mut Cx<'_, '_>,
    ) -> bool {
        let sent = self.put_ok(slot, message, cx);
        if sent && self.program_of(slot).defaults.ok.is_some() {
            self.counters.responses_sent += 1;
            self.report.messages.sent.response(self.calls[slot].asked as usize, 200);
        }
        let call = &mut self.calls[slot];
        // The scenario's next message answers another one.
        let heard = Heard { hash, step: call.step, is_automatic: true };
        call.seen = [heard, call.seen[0], call.seen[1]];
        sent
    }

    /// Sends the same 200 to the same request again.
    pub(in crate::engine) fn answer_ok_again(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        self.counters.retransmissions_sent += u64::from(self.put_ok(slot, message, cx));
    }

    fn put_ok(&mut self, slot: Slot, message: &Message<'_>, cx: &mut Cx<'_, '_>) -> bool {
        let (socket, remote) = (self.calls[slot].socket, self.calls[slot].remote);
        let bound = Rc::clone(self.program_of(slot));
        match &bound.defaults.ok {
            Some(template) => self.send_default_ok(slot, template, cx),
            None => self.reply_stateless(message.bytes(), 200, "OK", socket, remote, cx.tx),
        }
    }

    /// `true` if the scenario's own BYE has not been answered yet.
    fn repeats_bye(&self, slot: Slot) -> bool {
        self.calls[slot].retransmit.is_pending() && self.last_sent_is(slot, b"BYE ")
    }

    fn last_sent_is(&self, slot: Slot, start: &[u8]) -> bool {
        self.blobs.bytes(&self.calls[slot].last_sent).starts_with(start)
    }

    fn linger(&mut self, slot: Slot, now: u64) {
        self.calls[slot].retransmit = Retransmit { step: 0, count: 0, interval_ms: T1_MS };
        if self.config.rules.retransmission.enabled {
            self.wheel.arm(Self::retransmit_timer(slot), now + u64::from(T1_MS) * 1_000_000);
        }
        self.linger_on(slot, now);
    }

    /// Lingers with the retransmission that is pending.
    fn linger_on(&mut self, slot: Slot, now: u64) {
        self.calls[slot].phase = Phase::Lingering;
        self.lingering += 1;
        self.wheel.arm(Self::step_timer(slot), now + LINGER_MS_MAX * 1_000_000);
    }

    pub(in crate::engine) fn end_linger(&mut self, slot: Slot, now: u64) {
        self.lingering -= 1;
        self.release(slot, now);
    }

    /// Gives up on ending dialogs: the run is over.
    pub(in crate::engine) fn end_all_lingering(&mut self, now: u64) {
        for slot in 0..self.calls.used() {
            if self.calls[slot].phase == Phase::Lingering {
                self.end_linger(slot, now);
            }
        }
    }

    pub(in crate::engine) fn linger_timer(
        &mut self,
        slot: Slot,
        timer: u32,
        now: u64,
        tx: &mut TxArena,
    ) {
        if timer == Self::step_timer(slot) {
            return self.end_linger(slot, now);
        }
        let rules = self.config.rules.retransmission;
        let Retransmit { step, count, interval_ms } = self.calls[slot].retransmit;
        if u32::from(count) >= rules.non_invite_max {
            return self.end_linger(slot, now);
        }
        self.resend_last(slot, tx);
        let interval_ms = interval_ms.saturating_mul(2).min(rules.t2_ms);
        self.calls[slot].retransmit = Retransmit { step, count: count + 1, interval_ms };
        self.wheel.arm(timer, now + u64::from(interval_ms) * 1_000_000);
    }

    /// Handles a message for a call that only ends its dialog.
    pub(in crate::engine) fn linger_message(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        hash: u64,
        cx: &mut Cx<'_, '_>,
    ) {
        let Ok(cseq) = message.cseq() else { return };
        let Kind::Response { code, .. } = message.kind() else {
            let (socket, remote) = (self.calls[slot].socket, self.calls[slot].remote);
            let (code, reason) = match message.method() {
                Some(Method::Bye) => (200, "OK"),
                // RFC 3261 section 12.2.2: the dialog is going away.
                _ => (481, "Call/Transaction Does Not Exist"),
            };
            self.reply_stateless(message.bytes(), code, reason, socket, remote, cx.tx);
            if message.method() == Some(Method::Bye) {
                self.note_farewell(slot, hash);
                self.end_linger(slot, cx.now);
            }
            return;
        };
        match cseq.method {
            Method::Bye if code >= 200 => self.end_linger(slot, cx.now),
            // The BYE may have taken the CANCEL's place: that one goes on.
            Method::Cancel if code >= 200 && self.last_sent_is(slot, b"CANCEL ") => {
                // The CANCEL arrived; the INVITE's own final response is still to come, even if the
                // answer was that nothing is left to cancel (481).
                self.calls[slot].retransmit = Retransmit::NONE;
                self.wheel.cancel(Self::retransmit_timer(slot));
            }
            // A late response to an earlier INVITE, or to one whose outcome is known.
            Method::Invite if cseq.number != self.calls[slot].invite_cseq => {}
            Method::Invite if code >= 300 && self.calls[slot].invite_state == InviteState::Over => {
            }
            Method::Invite if code >= 300 => {
                self.acknowledge(slot, message, cx);
                self.end_linger(slot, cx.now);
            }
            Method::Invite if code >= 200 => {
                if self.is_of_other_branch(slot, message, &cseq, || false) {
                    return self.end_other_dialog(slot, message, &cseq, cx.tx);
                }
                // The answer crossed our CANCEL, or repeats one whose ACK was lost.
                if self.calls[slot].invite_state == InviteState::Over {
                    self.resend_ack(slot, cx.tx);
                } else {
                    self.follow_dialog(slot, message, MethodId::Invite, false);
                    self.send_ack_of_success(slot, cx);
                    if self.send_in_dialog(slot, Method::Bye, cx) {
                        self.calls[slot].retransmit =
                            Retransmit { step: 0, count: 0, interval_ms: T1_MS };
                        if self.config.rules.retransmission.enabled {
                            let due_ns = cx.now + u64::from(T1_MS) * 1_000_000;
                            self.wheel.arm(Self::retransmit_timer(slot), due_ns);
                        }
                    } else {
                        self.end_linger(slot, cx.now);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends the ACK of a final response other than 2xx: it belongs to the same transaction (RFC
    /// 3261 section 17.1.1.3).
    fn acknowledge(&mut self, slot: Slot, response: &Message<'_>, cx: &mut Cx<'_, '_>) {
        let to = response.first(HeaderId::To).unwrap_or_default().to_vec();
        let number = self.calls[slot].invite_cseq;
        self.build(
            slot,
            cx,
            (|own| &own.ack, number, self.calls[slot].invite_step),
            |engine, invite, out| {
                let number = invite.cseq().map_or(0, |cseq| cseq.number);
                engine.put_head(slot, "ACK", Branch::OfRequest, invite, out);
                out.put(b"To: ");
                out.put(&to);
                out.put(b"\r\n");
                put_tail(invite, number, "ACK", out);
            },
        );
        self.calls[slot].invite_state = InviteState::Over;
    }

    /// Sends the ACK of a 2xx: a transaction of its own (RFC 3261 section 13.2.2.4).
    fn send_ack_of_success(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let number = self.calls[slot].invite_cseq;
        let built = self.build(
            slot,
            cx,
            (|own| &own.ack2, number, ABORT_ACK as u16),
            |engine, request, out| {
                engine.put_head(slot, "ACK", Branch::New(ABORT_ACK), request, out);
                engine.put_to_with_tag(slot, request, out);
                engine.put_route_line(slot, out);
                put_tail(request, number, "ACK", out);
            },
        );
        if built {
            self.calls[slot].invite_state = InviteState::Confirmed;
        }
    }

    /// Sends a request inside the dialog, and stores it for retransmission.
    fn send_in_dialog(&mut self, slot: Slot, method: Method<'_>, cx: &mut Cx<'_, '_>) -> bool {
        let name = std::str::from_utf8(method.as_bytes()).unwrap_or_default();
        let number = self.calls[slot].cseq.wrapping_add(1) & 0x7fff_ffff;
        let built = self.build(
            slot,
            cx,
            (|own| &own.bye, number, ABORT_REQUEST as u16),
            |engine, request, out| {
                engine.put_head(slot, name, Branch::New(ABORT_REQUEST), request, out);
                engine.put_to_with_tag(slot, request, out);
                engine.put_route_line(slot, out);
                put_tail(request, number, name, out);
            },
        );
        if built {
            self.calls[slot].cseq = number;
            self.calls[slot].invite_state = InviteState::Over;
        }
        built
    }

    /// Sends the CANCEL of the pending INVITE, with the same Request-URI, Via, To and CSeq number
    /// (RFC 3261 section 9.1).
    fn send_cancel(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) -> bool {
        let number = self.calls[slot].invite_cseq;
        self.build(
            slot,
            cx,
            (|own| &own.cancel, number, self.calls[slot].invite_step),
            |engine, invite, out| {
                engine.put_head(slot, "CANCEL", Branch::OfRequest, invite, out);
                out.put(b"To: ");
                out.put(invite.first(HeaderId::To).unwrap_or_default());
                out.put(b"\r\n");
                put_tail(invite, number, "CANCEL", out);
            },
        )
    }

    /// Sends the scenario's own 200 to a request inside the call; `false` if it could not be sent.
    fn send_default_ok(&mut self, slot: Slot, ok: &Template, cx: &mut Cx<'_, '_>) -> bool {
        let Some(tx_slot) = cx.tx.reserve(OWN_TEXT_MAX) else {
            self.counters.sends_deferred += 1;
            return false;
        };
        let mut out = Out::new(cx.tx.buffer(&tx_slot));
        let step = self.calls[slot].step;
        self.render(ok, &At { slot, step, now: cx.now, last: cx.last }, &mut out);
        let Some(len) = out.len() else {
            cx.tx.release(tx_slot);
            return false;
        };
        self.dispatch(slot, NO_STEP, false, (tx_slot, len), cx.tx);
        true
    }

    /// Writes the scenario's own text of an automatic request, with the fields known from the last
    /// message.
    fn write_default(
        &mut self,
        slot: Slot,
        template: &Template,
        (number, branch): (u32, u16),
        cx: &Cx<'_, '_>,
        room: &mut [u8],
    ) -> Option<usize> {
        let saved = self.blobs.bytes(&self.calls[slot].saved).to_vec();
        let mut index = HeaderIndex::new();
        let parsed = index.parse(&saved).ok();
        let last = match cx.last {
            Some(last) => Some(last),
            None => parsed.as_ref(),
        };
        let before = std::mem::replace(&mut self.calls[slot].cseq, number);
        let mut out = Out::new(room);
        self.render(template, &At { slot, step: branch, now: cx.now, last }, &mut out);
        let (len, has_answer) = (out.len(), out.has_answer());
        let call = &mut self.calls[slot];
        call.cseq = before;
        call.nonce_count += u32::from(has_answer);
        len
    }

    /// Builds a request from the INVITE (or else the last request) that the call sent, or from the
    /// scenario's own text for it, stores it as the last message sent, and sends it. `false` if
    /// that was not possible.
    fn build(
        &mut self,
        slot: Slot,
        cx: &mut Cx<'_, '_>,
        (own, number, branch): (OwnText, u32, u16),
        write: impl FnOnce(&Engine, &Message<'_>, &mut Out<'_>),
    ) -> bool {
        let call = &self.calls[slot];
        // Our last message may be a response.
        let sent =
            [&call.invite_sent, &call.last_sent, &call.ack_sent].map(|b| self.blobs.bytes(b));
        let is_request = |bytes: &&[u8]| !bytes.is_empty() && !bytes.starts_with(b"SIP/2.0 ");
        let Some(bytes) = sent.into_iter().find(is_request).map(<[u8]>::to_vec) else {
            return false;
        };
        let mut index = HeaderIndex::new();
        let Ok(request) = index.parse(&bytes) else { return false };
        let bound = Rc::clone(self.program_of(slot));
        let own = own(&bound.defaults).as_ref();
        let room = own.map_or(bytes.len() + 256 + self.dialog_bytes(slot), |_| OWN_TEXT_MAX);
        let Some(tx_slot) = cx.tx.reserve(room) else {
            self.counters.sends_deferred += 1;
            return false;
        };
        let len = match own {
            Some(template) => {
                let mut text = std::mem::take(&mut self.buffers.default_text);
                text.resize(OWN_TEXT_MAX, 0);
                let len = self.write_default(slot, template, (number, branch), cx, &mut text);
                if let Some(len) = len {
                    cx.tx.buffer(&tx_slot)[..len].copy_from_slice(&text[..len]);
                }
                self.buffers.default_text = text;
                len
            }
            None => {
                let mut out = Out::new(cx.tx.buffer(&tx_slot));
                write(self, &request, &mut out);
                out.len()
            }
        };
        let Some(len) = len else {
            cx.tx.release(tx_slot);
            return false;
        };
        let message = &cx.tx.buffer(&tx_slot)[..len];
        let is_ack = message.starts_with(b"ACK ");
        if !is_ack {
            self.keep_answer(slot, cx.now);
        }
        let method = message.split(|&byte| byte == b' ').next().unwrap_or_default();
        let method = Method::from_bytes(method).id();
        let call = &mut self.calls[slot];
        // The BYE that follows is built from the same request, which therefore must survive.
        let stored = if is_ack {
            call.ack_step = NO_INDEX;
            self.blobs.replace(&mut call.ack_sent, message)
        } else {
            if call.invite_sent.is_empty()
                && self.blobs.bytes(&call.last_sent).starts_with(b"INVITE ")
            {
                call.invite_sent = call.last_sent.take();
            }
            call.sent_step = NO_INDEX;
            self.blobs.replace(&mut call.last_sent, message)
        };
        if !stored {
            cx.tx.release(tx_slot);
            return false;
        }
        self.dispatch(slot, NO_STEP, false, (tx_slot, len), cx.tx);
        self.counters.requests_sent += 1;
        self.report.messages.sent.request(method as usize);
        true
    }

    /// Writes the request line, Via, From and Max-Forwards.
    fn put_head(
        &self,
        slot: Slot,
        method: &str,
        branch: Branch,
        request: &Message<'_>,
        out: &mut Out<'_>,
    ) {
        let Kind::Request { uri, .. } = request.kind() else { return };
        out.put(method.as_bytes());
        out.put(b" ");
        out.put(match branch {
            Branch::OfRequest => uri,
            Branch::New(_) => self.request_uri_or(slot, uri),
        });
        out.put(b" SIP/2.0\r\n");
        match branch {
            Branch::OfRequest => {
                out.put(b"Via: ");
                out.put(request.first(HeaderId::Via).unwrap_or_default());
            }
            Branch::New(message) => self.put_own_via(slot, message, out),
        }
        out.put(b"\r\nFrom: ");
        out.put(request.first(HeaderId::From).unwrap_or_default());
        out.put(b"\r\nMax-Forwards: 70\r\n");
    }

    /// Writes a Via with a branch of its own, without the end of its line.
    pub(in crate::engine) fn put_own_via(&self, slot: Slot, message: u64, out: &mut Out<'_>) {
        out.put(b"Via: SIP/2.0/");
        out.put(self.config.environment.protocol.name().as_bytes());
        out.put(b" ");
        out.put(self.local_ip_text(slot));
        out.put(b":");
        out.number(i64::from(self.calls[slot].local_port));
        out.put(b";branch=");
        self.put_branch(slot, message, out);
    }

    /// Writes the Route header of a request in the dialog.
    fn put_route_line(&self, slot: Slot, out: &mut Out<'_>) {
        if self.put_routes(slot, out) {
            out.put(b"\r\n");
        }
    }

    fn put_to_with_tag(&self, slot: Slot, request: &Message<'_>, out: &mut Out<'_>) {
        out.put(b"To: ");
        out.put(request.first(HeaderId::To).unwrap_or_default());
        if request.to_tag().is_none() {
            out.put(self.peer_tag_param(slot));
        }
        out.put(b"\r\n");
    }
}

/// Writes the Call-ID (as in the call's request), CSeq, and the end of the message.
pub(in crate::engine) fn put_tail(
    request: &Message<'_>,
    number: u32,
    method: &str,
    out: &mut Out<'_>,
) {
    out.put(b"Call-ID: ");
    out.put(request.call_id().unwrap_or_default());
    out.put(b"\r\nCSeq: ");
    out.number(i64::from(number));
    out.put(b" ");
    out.put(method.as_bytes());
    out.put(b"\r\nContent-Length: 0\r\n\r\n");
}

/// Selects one of the scenario's own texts.
type OwnText = fn(&DefaultMessages) -> &Option<Template>;

/// The branch of a request.
#[derive(Clone, Copy)]
enum Branch {
    /// The whole top Via of the request that it belongs to.
    OfRequest,
    /// A new one, made unique by a number beyond all steps of a scenario.
    New(u64),
}
