//! From a datagram to a call's next step: lookup, duplicates and matching.

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;

use gossipper_uring::{SocketId, TxArena};

use crate::engine::call::variables::Value;
use crate::engine::call::{Heard, InviteState, NO_INDEX, Phase, Retransmit, Slot};
use crate::engine::programs::bound::Bound;
use crate::engine::{Cx, Engine, Handled};
use crate::media::Opening;
use crate::scenario::{Expect, Mode, Optional, Recv, Regex, StepKind};
use crate::sip::{self, CSeq, Datagram, HeaderId, Kind, Message, Method, MethodId, ParseError};
use crate::stats::{DropCause, FailureCause, TraceKind, WithheldCause};
use crate::trace::{Event, NO_CALL, NO_STEP};

/// One datagram to handle.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The socket that received it.
    pub socket: SocketId,
    /// The address that it came from.
    pub source: SocketAddr,
    /// The payload.
    pub payload: &'a [u8],
    /// Time of arrival at this host, on the monotonic clock.
    pub received_ns: u64,
    /// True if the datagram must not be handed over again: no other worker knows its call.
    pub is_final: bool,
}

/// The way in which an accepted message moves the call.
enum Hit {
    /// Forward, to the step behind the hit.
    Forward(u16),
    /// Nowhere: the hit is an optional receive that was passed, or one that need not move the call.
    Aside(u16),
}

impl Engine {
    /// Handles one datagram.
    pub(in crate::engine) fn on_datagram(
        &mut self,
        datagram: &Incoming<'_>,
        now: u64,
        tx: &mut TxArena,
    ) -> Handled {
        // The index is moved out, so that the message may borrow from it while the engine changes.
        let Some(mut index) = self.buffers.index.take() else { return Handled::Done };
        self.tracer.set_now(now);
        let handled = match index.parse(datagram.payload) {
            Ok(message) => self.on_message(&message, datagram, now, tx),
            Err(error) => {
                self.on_malformed(datagram, error, tx);
                Handled::Done
            }
        };
        self.buffers.index = Some(index);
        handled
    }

    fn on_message(
        &mut self,
        message: &Message<'_>,
        datagram: &Incoming<'_>,
        now: u64,
        tx: &mut TxArena,
    ) -> Handled {
        let &Incoming { socket, source, received_ns, is_final, .. } = datagram;
        let call_id = message.call_id().map(|id| self.call_key(id));
        let Some(call_id) = call_id.filter(|id| !id.is_empty()) else {
            self.drop_malformed(DropCause::MissingCallId);
            self.trace_stray(socket, source, received_ns.min(now), message.bytes());
            self.reply_stateless(message.bytes(), 400, "Missing Call-ID", socket, source, tx);
            return Handled::Done;
        };
        let at = received_ns.min(now);
        let mut cx = Cx { now, at, tx, last: Some(message), last_is_saved: false };
        if let Some(call) = self.nonce.parse(call_id) {
            if usize::from(call.worker) != self.config.worker {
                if usize::from(call.worker) < self.config.workers && !is_final {
                    return Handled::HandOver(Some(usize::from(call.worker)));
                }
                self.late(message, 0, datagram, &mut cx);
                return Handled::Done;
            }
            match self.calls.current(call.slot, call.generation) {
                Some(_) => self.deliver(call.slot, message, datagram, &mut cx),
                None => {
                    let left = self.calls.left(call.slot, call.generation);
                    self.late(message, left, datagram, &mut cx);
                }
            }
            return Handled::Done;
        }
        let hash = self.hasher.hash(call_id);
        let calls = &self.calls;
        if let Some(slot) = self.map.find(hash, |slot| calls[slot].hash == hash) {
            self.deliver(slot, message, datagram, &mut cx);
            return Handled::Done;
        }
        if let Some(left) = self.dead.find(hash, now) {
            self.late(message, left, datagram, &mut cx);
            return Handled::Done;
        }
        let starts_dialog = message.method().is_some() && message.to_tag().is_none();
        if self.config.workers > 1 && !starts_dialog && !is_final {
            return Handled::HandOver(None);
        }
        // The kernel spreads peers over workers, not calls. All calls of one peer may come to a
        // worker that has used up its share of `-m` while another worker has not.
        let share_is_used = self.accepting && self.created >= self.created_max;
        if self.config.workers > 1 && share_is_used && !is_final {
            return Handled::HandOver(None);
        }
        self.on_unknown(message, hash, call_id, datagram, &mut cx)
    }

    /// Counts a message for no call that, in this mode, may not start one.
    fn out_of_call(&mut self, message: &Message<'_>) {
        self.counters.out_of_call_messages += 1;
        self.tracer.record(NO_CALL, 0, NO_STEP, Event::OutOfCall { message: message.bytes() });
    }

    /// Handles a message for an unknown call.
    fn on_unknown(
        &mut self,
        message: &Message<'_>,
        hash: crate::engine::call::lookup::CallIdHash,
        call_id: &[u8],
        datagram: &Incoming<'_>,
        cx: &mut Cx<'_, '_>,
    ) -> Handled {
        let &Incoming { socket, source, .. } = datagram;
        let is_client = self.main_program().program.mode == Mode::Client;
        let program = match is_client {
            true => self.receiving.or(self.out_of_call),
            false => Some(self.main).filter(|_| !self.main_program().program.begins_with_command()),
        };
        let Some(program) = program else {
            self.trace_stray(socket, source, cx.at, message.bytes());
            self.answer_beside(message, socket, source, cx.tx);
            return Handled::Done;
        };
        if self.out_of_call == Some(program) {
            // As in SIPp, a message that a scenario answers is not unexpected.
            self.counters.auto_answered += 1;
        } else if !self.is_listening {
            self.refuse_dialog(message, socket, source, cx);
            return Handled::Done;
        } else if self.is_auto_answered(message) && !self.begins_with(program, message) {
            self.trace_stray(socket, source, cx.at, message.bytes());
            self.answer_beside(message, socket, source, cx.tx);
            return Handled::Done;
        } else if !self.accepting || self.created >= self.created_max {
            self.trace_stray(socket, source, cx.at, message.bytes());
            self.out_of_call(message);
            return Handled::Done;
        }
        let leg = match self.open_leg(program, cx.now) {
            Err(Opening::NotReady) => return Handled::NeedsMedia,
            leg => leg,
        };
        let has_leg = leg.is_ok();
        let leg = leg.unwrap_or_default();
        match self.accept_call(program, hash, call_id, (socket, source), leg, cx.now) {
            Some(slot) if !has_leg => {
                self.reply_stateless(message.bytes(), 503, BUSY, socket, source, cx.tx);
                self.end(slot, Some(FailureCause::NoMediaPort), cx.now);
            }
            Some(slot) => self.deliver(slot, message, datagram, cx),
            None => {
                self.trace_stray(socket, source, cx.at, message.bytes());
                self.reply_stateless(message.bytes(), 503, BUSY, socket, source, cx.tx);
            }
        }
        Handled::Done
    }

    /// Returns `true` if `-aa` answers `message` when no scenario waits for it.
    fn is_auto_answered(&self, message: &Message<'_>) -> bool {
        self.config.rules.auto_answer
            && message.method().is_some_and(|method| AUTO_ANSWERED & method.bit() != 0)
    }

    /// Returns `true` if a call of `program` may begin with `message`.
    fn begins_with(&self, program: u8, message: &Message<'_>) -> bool {
        let Some(method) = message.method() else { return false };
        for step in &self.programs[usize::from(program)].program.steps {
            match &step.kind {
                StepKind::Recv(recv) => {
                    let is_waited_for = match &recv.expect {
                        Expect::Request(expected) => expected.as_bytes() == method.as_bytes(),
                        Expect::RequestPattern(pattern) => {
                            let text = method.as_bytes();
                            pattern.is_match(text, &mut self.regex.borrow_mut()) == Ok(true)
                        }
                        Expect::Response(_) | Expect::ResponsePattern(_) => false,
                    };
                    if is_waited_for {
                        return true;
                    }
                    if recv.optional == Optional::Mandatory && step.condition.is_none() {
                        return false;
                    }
                }
                // Steps that may stand before the first message.
                StepKind::Nop | StepKind::Pause(_) => {}
                StepKind::RecvCommand(recv) if recv.optional => {}
                _ => return false,
            }
        }
        false
    }

    /// Answers a message outside all calls, as `-aa` demands, or counts it as out of call.
    fn answer_beside(
        &mut self,
        message: &Message<'_>,
        socket: SocketId,
        source: SocketAddr,
        tx: &mut TxArena,
    ) {
        let answered = self.is_auto_answered(message)
            && self.reply_stateless(message.bytes(), 200, "OK", socket, source, tx);
        match answered {
            true => self.counters.auto_answered += 1,
            false => self.out_of_call(message),
        }
    }

    /// Refuses a request while the listener is off (RFC 3261 section 21.5.4), without storing
    /// anything. A message that may not be answered, such as the ACK of the refusal, is dropped.
    fn refuse_dialog(
        &mut self,
        message: &Message<'_>,
        socket: SocketId,
        source: SocketAddr,
        cx: &mut Cx<'_, '_>,
    ) {
        let busy = (503, BUSY, RETRY_LATER);
        self.trace_stray(socket, source, cx.at, message.bytes());
        if self.reply_stateless_with(message.bytes(), busy, socket, source, cx.tx) {
            self.counters.withheld.bump(WithheldCause::ListenerOff);
        } else {
            self.out_of_call(message);
        }
    }

    fn on_malformed(&mut self, datagram: &Incoming<'_>, error: ParseError, tx: &mut TxArena) {
        let &Incoming { socket, source, payload, .. } = datagram;
        if sip::classify(payload) == Datagram::Keepalive {
            self.counters.keepalives_received += 1;
            return;
        }
        self.trace_stray(socket, source, datagram.received_ns, payload);
        self.drop_malformed(match sip::classify(payload) {
            Datagram::Sip => drop_cause(error),
            _ => DropCause::NotSip,
        });
        if let Some(code) = error.suggested_status()
            && self.reply_stateless(payload, code, reason(code), socket, source, tx)
        {
            self.counters.bad_requests_answered += 1;
        }
    }

    /// Counts a message, or a command of another instance, that never became one.
    pub(in crate::engine) fn drop_malformed(&mut self, cause: DropCause) {
        self.counters.parse_errors += 1;
        self.counters.drops.bump(cause);
    }

    /// Answers a request without a call; `false` if it cannot be answered.
    pub(in crate::engine) fn reply_stateless(
        &mut self,
        request: &[u8],
        code: u16,
        reason: &str,
        socket: SocketId,
        source: SocketAddr,
        tx: &mut TxArena,
    ) -> bool {
        self.reply_stateless_with(request, (code, reason, b""), socket, source, tx)
    }

    /// Does the same as [`reply_stateless`](Self::reply_stateless), with more header lines.
    fn reply_stateless_with(
        &mut self,
        request: &[u8],
        (code, reason, more): (u16, &str, &[u8]),
        socket: SocketId,
        source: SocketAddr,
        tx: &mut TxArena,
    ) -> bool {
        let Some(slot) = tx.reserve(request.len() + 128 + more.len()) else { return false };
        let tag = crate::engine::call::ids::hex16(self.stateless_tag(request));
        let room = tx.buffer(&slot);
        match sip::write_error_response_with(request, code, reason, &tag, more, room) {
            Some(len) => {
                if self.tracer.wants(TraceKind::MessageSent) {
                    let ends = self.ends_of(socket, source);
                    let message = &tx.buffer(&slot)[..len];
                    let event = Event::Sent { ends, is_repeated: false, message };
                    self.tracer.record(NO_CALL, 0, NO_STEP, event);
                }
                let mut order = gossipper_uring::TxOrder::default();
                // This cookie names no call: a failure to send affects none.
                tx.commit(slot, len, socket, source, u64::MAX, &mut order);
                true
            }
            None => {
                tx.release(slot);
                false
            }
        }
    }

    /// Our To tag in the stateless answer to `request`: the same each time that the request comes
    /// (RFC 3261 section 8.2.7).
    fn stateless_tag(&self, request: &[u8]) -> u64 {
        let seed = self.config.seed.rotate_left(16) ^ 0x7461_6700;
        let mut hasher = foldhash::fast::FixedState::with_seed(seed).build_hasher();
        hasher.write(request);
        hasher.finish()
    }

    /// Passes a message to its call.
    fn deliver(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        datagram: &Incoming<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let source = datagram.source;
        if message.method().is_some() {
            self.follow(slot, datagram.socket);
        }
        self.trace_received(slot, source, cx.at, message.bytes());
        if self.calls[slot].has_other_dialogs && self.is_of_ended_dialog(slot, message, cx.tx) {
            return;
        }
        if self.calls[slot].phase == Phase::Lingering {
            let hash = self.duplicate_hash(message);
            if !self.repeats_request(slot, message, hash, cx) {
                self.linger_message(slot, message, hash, cx);
            }
            return;
        }
        if self.config.rules.pause_drops_messages && self.is_pausing(slot) {
            return;
        }
        let hash = self.duplicate_hash(message);
        if self.config.rules.retransmission.enabled && self.repeats(slot, message, hash, cx) {
            return;
        }
        let Ok(cseq) = message.cseq() else {
            self.drop_malformed(DropCause::BadCseq);
            let socket = self.calls[slot].socket;
            self.reply_stateless(message.bytes(), 400, "Bad CSeq", socket, source, cx.tx);
            return;
        };
        if let Kind::Request { method, uri: b"" } = message.kind() {
            self.note_empty_uri(slot, method);
        }
        let follows_source = self.calls[slot].incoming && !self.calls[slot].remote_is_fixed;
        if follows_source && self.answers_to().is_none() {
            self.calls[slot].remote = source;
        }
        let bound = Rc::clone(self.program_of(slot));
        // As in SIPp, a message without a To header matches no step.
        let has_to = message.first(HeaderId::To).is_some();
        let hit = self.find(slot, &bound, message, &cseq).filter(|_| has_to);
        let is_awaited =
            || hit.as_ref().is_some_and(|hit| self.waits_for_invite(slot, hit, &bound));
        if self.is_of_other_branch(slot, message, &cseq, is_awaited) {
            return self.end_other_dialog(slot, message, &cseq, cx.tx);
        }
        match hit {
            Some(hit) => self.accept(slot, hit, message, &cseq, hash, &bound, cx),
            None => self.unmatched(slot, message, &cseq, hash, &bound, cx),
        }
    }

    /// Returns `true` if the step of `hit` waits for a 2xx of the INVITE: the step names it, or the
    /// call has sent no other request since.
    fn waits_for_invite(&self, slot: Slot, hit: &Hit, bound: &Bound) -> bool {
        let (Hit::Forward(index) | Hit::Aside(index)) = *hit;
        let kind = bound.program.steps.get(usize::from(index)).map(|step| &step.kind);
        let is_named = matches!(kind, Some(StepKind::Recv(Recv { named: Some(_), .. })));
        is_named || !self.calls[slot].asked_other
    }

    /// Warns of a request without a Request-URI, which is accepted by its method all the same.
    fn note_empty_uri(&mut self, slot: Slot, method: Method<'_>) {
        self.counters.warnings += 1;
        if self.tracer.wants(TraceKind::Warning) {
            let step = self.calls[slot].step;
            let words = [method.as_bytes(), b" with an empty Request-URI: taken by its method"];
            self.trace(slot, step, Event::Warning(&words.concat()));
        }
    }

    /// Counts a request that a call received.
    pub(in crate::engine) fn count_request(&mut self, slot: Slot, method: MethodId) {
        self.counters.requests_received += 1;
        self.report.messages.received.request(method as usize);
        let call = &mut self.calls[slot];
        if method != MethodId::Ack {
            call.asked = method;
        } else if call.sent_for == MethodId::Invite {
            call.sent_for = MethodId::Ack;
        }
    }

    /// Counts a response to a request of `method`.
    pub(in crate::engine) fn count_response(&mut self, method: MethodId, code: u16) {
        self.counters.responses_received += 1;
        self.report.messages.received.response(method as usize, code);
    }

    /// Accepts a message that a receive step matches.
    #[allow(clippy::too_many_arguments)]
    fn accept(
        &mut self,
        slot: Slot,
        hit: Hit,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        hash: u64,
        bound: &Bound,
        cx: &mut Cx<'_, '_>,
    ) {
        let (Hit::Forward(index) | Hit::Aside(index)) = hit;
        let step = &bound.program.steps[usize::from(index)];
        let StepKind::Recv(recv) = &step.kind else { return };
        let lost = step.lost_percent.unwrap_or(self.config.rules.lost_percent);
        if lost > 0.0 && self.random.chance(lost / 100.0) {
            self.counters.simulated_losses += 1;
            self.step_counts(slot, index).lost += 1;
            return;
        }
        self.step_counts(slot, index).messages += 1;
        let heard = Heard::at(index, hash);
        match message.kind() {
            Kind::Request { method, .. } => {
                self.count_request(slot, method.id());
                if method.id() == MethodId::Ack
                    && self.config.rules.default_behaviors.cseq_check
                    && cseq.number != self.calls[slot].invite_cseq
                {
                    self.calls[slot].note_received(heard);
                    return self.abort(slot, FailureCause::AckCseqMismatch, cx);
                }
            }
            Kind::Response { code, .. } => self.count_response(cseq.method.id(), code),
        }
        let moves = match hit {
            Hit::Forward(_) => recv.advance_state,
            Hit::Aside(_) => false,
        };
        self.stop_retransmission(slot, index, message, cseq);
        self.note_dialog(slot, message, cseq, recv, cx.at);
        if let Err(cause) = self.describe_received(slot, recv, message, cx.now) {
            self.calls[slot].note_received(heard);
            return self.abort(slot, cause, cx);
        }
        let call = &mut self.calls[slot];
        if !moves {
            call.seen = [heard, call.seen[0], call.seen[1]];
            let before = call.step;
            if self.complete(slot, index, step, cx) {
                // The actions saw the message; the call stays at its step, unless one of them
                // jumped.
                if self.calls[slot].step == index + 1 {
                    self.calls[slot].step = before;
                    self.go_on_sending(slot, bound, cx);
                } else {
                    self.wheel.cancel(Self::step_timer(slot));
                    self.run(slot, cx);
                }
            }
            return;
        }
        call.note_received(heard);
        // The next steps are due from the arrival of the message, not from its handling.
        call.due_ns = cx.at;
        self.wheel.cancel(Self::step_timer(slot));
        if self.complete(slot, index, step, cx) {
            self.run(slot, cx);
        }
    }

    /// Sends a message that waited for the end of an earlier message's retransmission.
    fn go_on_sending(&mut self, slot: Slot, bound: &Bound, cx: &mut Cx<'_, '_>) {
        let call = &self.calls[slot];
        let step = bound.program.steps.get(usize::from(call.step));
        let sends = step.is_some_and(|step| matches!(step.kind, StepKind::Send(_)));
        if sends && !call.deferred && !call.retransmit.is_pending() {
            self.run(slot, cx);
        }
    }

    /// Stops or slows down the retransmission, as SIPp does. Any message accepted at a step behind
    /// the send stops it, and so does ACK, CANCEL, BYE or PRACK. A provisional response to a
    /// non-INVITE moves the interval to T2.
    fn stop_retransmission(
        &mut self,
        slot: Slot,
        index: u16,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
    ) {
        let pending = self.calls[slot].retransmit;
        if !pending.is_pending() {
            return;
        }
        let provisional = message.status().is_some_and(|code| code < 200);
        if provisional && cseq.method.id() != MethodId::Invite {
            self.calls[slot].retransmit.interval_ms = self.config.rules.retransmission.t2_ms;
            return;
        }
        const STOPPING: u32 = MethodId::Ack.bit()
            | MethodId::Cancel.bit()
            | MethodId::Bye.bit()
            | MethodId::Prack.bit();
        let stops = message.method().is_some_and(|method| method.bit() & STOPPING != 0);
        if index > pending.step || stops {
            self.calls[slot].retransmit = Retransmit::NONE;
            self.wheel.cancel(Self::retransmit_timer(slot));
        }
    }

    /// Stores the dialog data of a message: numbers, state of the INVITE, tag, target and routes,
    /// and a challenge that the step keeps.
    fn note_dialog(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        recv: &Recv,
        at: u64,
    ) {
        match message.kind() {
            Kind::Request { method, .. } => {
                let call = &mut self.calls[slot];
                if method.id() != MethodId::Ack && method.id() != MethodId::Cancel {
                    // `-base_cseq 0` begins with one before 0.
                    let own = if call.cseq == u32::MAX { 0 } else { call.cseq };
                    call.cseq = own.max(cseq.number);
                }
                if method.id() == MethodId::Invite {
                    call.invite_cseq = cseq.number;
                }
            }
            Kind::Response { code, .. } => {
                let is_invite = cseq.method.id() == MethodId::Invite;
                if is_invite {
                    self.note_invite_response(slot, code);
                    if (200..300).contains(&code) {
                        self.note_answer(slot, at);
                    }
                }
                if code >= 200 {
                    self.note_final_response(slot, code, (is_invite, cseq.number), at);
                }
                if let Some(named) = recv.named {
                    self.note_answered(slot, named, code);
                }
            }
        }
        let method = message.method().map_or(cseq.method.id(), |method| method.id());
        self.follow_dialog(slot, message, method, recv.record_route_set);
        if recv.keeps_challenge {
            self.keep_challenge(slot, message);
        }
    }

    pub(in crate::engine) fn note_invite_response(&mut self, slot: Slot, code: u16) {
        let call = &mut self.calls[slot];
        call.invite_state = match (call.invite_state, code) {
            (InviteState::Calling, 100..200) => InviteState::Proceeding,
            (InviteState::Calling | InviteState::Proceeding, 200..300) => InviteState::Answered,
            (InviteState::Calling | InviteState::Proceeding, 300..) => InviteState::Over,
            (state, _) => state,
        };
    }

    /// Finds the receive step that `message` matches. The search goes from the call's current step
    /// forward over optional receives to the first mandatory one, then backward over the optional
    /// ones just passed and over global ones. A receive whose `condexec` does not hold is skipped.
    fn find(
        &self,
        slot: Slot,
        bound: &Bound,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
    ) -> Option<Hit> {
        let steps = &bound.program.steps;
        let at = usize::from(self.calls[slot].step);
        let methods_sent = self.calls[slot].methods_sent;
        for (index, step) in steps.iter().enumerate().skip(at) {
            let recv = match &step.kind {
                StepKind::Recv(recv) => recv,
                StepKind::RecvCommand(recv) if recv.optional => continue,
                _ => break,
            };
            if self.is_skipped(slot, step) {
                continue;
            }
            if self.matches(slot, recv, index, methods_sent, message, cseq) {
                return Some(Hit::Forward(index as u16));
            }
            if recv.optional == Optional::Mandatory {
                break;
            }
        }
        let mut contiguous = true;
        for (index, step) in steps.iter().enumerate().take(at).rev() {
            let recv = match &step.kind {
                StepKind::Recv(recv) => recv,
                StepKind::RecvCommand(recv) if recv.optional => continue,
                _ => {
                    contiguous = false;
                    continue;
                }
            };
            if self.is_skipped(slot, step) {
                continue;
            }
            contiguous &= recv.optional != Optional::Mandatory;
            let reachable = match recv.optional {
                Optional::Mandatory => false,
                Optional::Local => contiguous,
                Optional::Global => true,
            };
            if reachable && self.matches(slot, recv, index, methods_sent, message, cseq) {
                return Some(Hit::Aside(index as u16));
            }
        }
        None
    }

    /// Tells whether `message` matches `recv`, the step at `index`.
    fn matches(
        &self,
        slot: Slot,
        recv: &Recv,
        index: usize,
        methods_sent: u32,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
    ) -> bool {
        // A pattern that is too complex to evaluate matches nothing.
        let matches_pattern = |pattern: &Regex, text: &[u8]| {
            pattern.is_match(text, &mut self.regex.borrow_mut()) == Ok(true)
        };
        // A response must answer a method that the call has sent; at the first step any method will
        // do.
        let answers_ours = || match recv.named {
            Some(named) => self.answers(slot, named, message, cseq),
            None => index == 0 || methods_sent & cseq.method.bit() != 0,
        };
        match (&recv.expect, message.kind()) {
            (Expect::Request(expected), Kind::Request { method, .. }) => {
                expected.as_bytes() == method.as_bytes()
            }
            (Expect::Response(expected), Kind::Response { code, .. }) => {
                *expected == code && answers_ours()
            }
            (Expect::RequestPattern(pattern), Kind::Request { method, .. }) => {
                matches_pattern(pattern, method.as_bytes())
            }
            (Expect::ResponsePattern(pattern), Kind::Response { code, .. }) => {
                let digits = [
                    b'0' + (code / 100 % 10) as u8,
                    b'0' + (code / 10 % 10) as u8,
                    b'0' + (code % 10) as u8,
                ];
                matches_pattern(pattern, &digits) && answers_ours()
            }
            _ => false,
        }
    }

    /// Handles a message that no receive step matches.
    fn unmatched(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        hash: u64,
        bound: &Bound,
        cx: &mut Cx<'_, '_>,
    ) {
        if self.repeats_named(slot, message, cseq, cx.tx)
            || self.repeats_request(slot, message, hash, cx)
        {
            return;
        }
        // A repeated final response with other bytes, as over another path of a proxy: the ACK is
        // sent again (RFC 3261 section 13.2.2.4).
        let is_final = message.status().is_some_and(|code| code >= 200);
        if is_final
            && cseq.method.id() == MethodId::Invite
            && cseq.number == self.calls[slot].invite_cseq
            && self.calls[slot].invite.stat == NO_INDEX
            && self.has_ack(slot)
        {
            self.counters.retransmissions_received += 1;
            let before = self.counters.retransmissions_sent;
            self.resend_ack(slot, cx.tx);
            self.counters.acks_repeated += self.counters.retransmissions_sent - before;
            return;
        }
        if let Some(target) = bound.program.unexpected_label {
            if let Some(variable) = bound.program.unexpected_paused {
                let step = bound.program.steps.get(usize::from(self.calls[slot].step));
                let pauses = step.is_some_and(|step| matches!(step.kind, StepKind::Pause(_)));
                let left_ns = self.calls[slot].due_ns.saturating_sub(self.config.start_ns);
                let end_ms = if pauses { left_ns as f64 / 1e6 } else { 0.0 };
                self.assign(slot, variable, Value::Number(end_ms));
            }
            if let Some(variable) = bound.program.unexpected_return {
                let back = f64::from(self.calls[slot].step);
                self.assign(slot, variable, Value::Number(back));
            }
            let call = &mut self.calls[slot];
            call.note_received(Heard::at(call.step, hash));
            call.due_ns = cx.at;
            call.step = target;
            call.retransmit = Retransmit::NONE;
            self.wheel.cancel(Self::retransmit_timer(slot));
            self.wheel.cancel(Self::step_timer(slot));
            return self.run(slot, cx);
        }
        self.unexpected(slot, message, cseq, hash, cx);
    }

    fn has_ack(&self, slot: Slot) -> bool {
        let call = &self.calls[slot];
        !call.ack_sent.is_empty() || self.blobs.bytes(&call.last_sent).starts_with(b"ACK ")
    }
}

/// The reason phrase of 503 (RFC 3261 section 21.5.4): overloaded.
const BUSY: &str = "Service Unavailable";
/// The time after which a refused caller may ask again (RFC 3261 section 20.33). It is short enough
/// to notice that the listener is on again, and long enough to cause no load.
const RETRY_LATER: &[u8] = b"Retry-After: 10\r\n";

/// Methods that `-aa` answers.
pub(in crate::engine) const AUTO_ANSWERED: u32 = MethodId::Info.bit()
    | MethodId::Notify.bit()
    | MethodId::Options.bit()
    | MethodId::Update.bit();

/// The cause under which a message that does not parse is counted.
fn drop_cause(error: ParseError) -> DropCause {
    match error {
        ParseError::Empty => DropCause::NotSip,
        ParseError::BadStartLine | ParseError::BadRequestUri | ParseError::BadStatusCode => {
            DropCause::BadStartLine
        }
        ParseError::UnsupportedVersion => DropCause::UnsupportedVersion,
        ParseError::BadHeaderLine
        | ParseError::HeadersUnterminated
        | ParseError::MissingHeader(_)
        | ParseError::RepeatedHeader(_)
        | ParseError::BadHeader(..)
        | ParseError::MethodMismatch => DropCause::BadHeader,
        ParseError::HeadersTooLong | ParseError::TooManyHeaders | ParseError::MessageTooLong => {
            DropCause::TooManyHeaders
        }
        ParseError::BadContentLength
        | ParseError::ConflictingContentLength
        | ParseError::MissingContentLength => DropCause::BadContentLength,
        ParseError::BodyTooShort => DropCause::BodyTooShort,
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        _ => "Bad Request",
    }
}
