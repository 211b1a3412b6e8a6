//! Execution of a call's steps until it has to wait.

use std::rc::Rc;

use crate::engine::call::{InviteState, NO_CIRCUIT, NO_INDEX, Phase, Retransmit, Slot};
use crate::engine::dialog::DialogState;
use crate::engine::dialog::repetition::{is_plain, mark};
use crate::engine::programs::bound::{Base, Bound};
use crate::engine::steps::actions::Flow;
use crate::engine::steps::render::{At, Out, is_named};
use crate::engine::{Cx, Engine, StagedRequest};
use crate::media::LegReport;
use crate::scenario::{Duration, Keep, Outgoing, Recv, Send, Step, StepKind};
use crate::sip::{Message, MethodId};
use crate::stats::FailureCause;
use crate::trace::Event;

/// Steps without waiting after which a call counts as looping forever.
const STEPS_PER_RUN_MAX: usize = 10_000;
/// Largest datagram for a small slot of the arena; most messages are smaller.
const SMALL_MESSAGE: usize = 2048;
/// The largest UDP payload over IPv4.
const LARGE_MESSAGE: usize = 65_507;

/// The outcome of a send step.
enum Sent {
    /// The message is on its way (or dropped as simulated loss).
    Done,
    /// The call waits at the step.
    Waits,
    /// The call is over.
    Ended,
}

impl Engine {
    /// Resumes a call after a timer, with the stored part of the last received message.
    pub(in crate::engine) fn resume(
        &mut self,
        slot: Slot,
        now: u64,
        tx: &mut gossipper_uring::TxArena,
    ) {
        if self.calls[slot].saved.is_empty() {
            let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
            self.run(slot, &mut cx);
            return;
        }
        let mut bytes = std::mem::take(&mut self.buffers.saved_bytes);
        bytes.clear();
        bytes.extend_from_slice(self.blobs.bytes(&self.calls[slot].saved));
        let Some(mut index) = self.buffers.saved_index.take() else { return };
        // The saved message was parsed before.
        let last = index.parse(&bytes).ok();
        let mut cx = Cx { now, at: now, tx, last: last.as_ref(), last_is_saved: true };
        self.run(slot, &mut cx);
        self.buffers.saved_index = Some(index);
        self.buffers.saved_bytes = bytes;
    }

    /// Executes steps from the call's current one until it waits or ends.
    pub(in crate::engine) fn run(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let bound = Rc::clone(self.program_of(slot));
        for _ in 0..STEPS_PER_RUN_MAX {
            let index = self.calls[slot].step;
            let step = bound.program.steps.get(usize::from(index));
            if self.calls[slot].media.awaited > 0 {
                // Resumed by `on_media`.
                return self.wait(slot, step.map_or(Keep::default(), |step| step.keep), cx);
            }
            let Some(step) = step else {
                return self.end(slot, None, cx.now);
            };
            if self.is_skipped(slot, step) {
                self.calls[slot].step = index + 1;
                continue;
            }
            self.trace_step(slot, index);
            match &step.kind {
                StepKind::Send(send) => match self.send(slot, index, step, send, &bound, cx) {
                    Sent::Done => {}
                    Sent::Waits => return self.wait(slot, step.keep, cx),
                    Sent::Ended => return,
                },
                StepKind::Recv(recv) => {
                    // The peer may come back on a connection of its own.
                    if self.is_cut_off(slot) && !self.calls[slot].reopens {
                        return self.end(slot, Some(FailureCause::TcpClosed), cx.now);
                    }
                    self.arm_receive(slot, recv, cx.now);
                    return self.wait(slot, step.keep, cx);
                }
                StepKind::Pause(duration) | StepKind::Timewait(duration) => {
                    self.step_counts(slot, index).messages += 1;
                    let due_ns = match std::mem::take(&mut self.calls[slot].restored_ns) {
                        0 => cx.now.saturating_add(self.length_ns(slot, duration)),
                        restored_ns => restored_ns,
                    };
                    if due_ns > cx.now {
                        self.calls[slot].due_ns = due_ns;
                        self.wheel.arm(Self::step_timer(slot), due_ns);
                        return self.wait(slot, step.keep, cx);
                    }
                }
                StepKind::SendCommand(command) => {
                    if !self.send_command(slot, index, command, cx) {
                        return self.abort(slot, FailureCause::CmdNotSent, cx);
                    }
                }
                StepKind::RecvCommand(recv) => {
                    let wait_ms = self.command_wait_ms(slot, index, recv);
                    if wait_ms > 0 {
                        self.wheel.arm(Self::step_timer(slot), cx.now + wait_ms * 1_000_000);
                    }
                    return self.wait(slot, step.keep, cx);
                }
                StepKind::Nop => {}
            }
            if !self.complete(slot, index, step, cx) {
                return;
            }
        }
        self.abort(slot, FailureCause::ScenarioError, cx);
    }

    /// Returns `true` if the step's `condexec` does not hold.
    pub(in crate::engine) fn is_skipped(&self, slot: Slot, step: &Step) -> bool {
        step.condition.is_some_and(|condition| {
            self.variable(slot, condition.variable).is_true() == condition.inverse
        })
    }

    /// Completes a step: durations, counters, actions, and the choice of the next step. `false` if
    /// the call is over.
    pub(in crate::engine) fn complete(
        &mut self,
        slot: Slot,
        index: u16,
        step: &Step,
        cx: &mut Cx<'_, '_>,
    ) -> bool {
        let base = slot as usize * self.variables.rtds_each;
        let bound = Rc::clone(self.program_of(slot));
        let Base { rtds, counters, .. } = &bound.base;
        let at = match step.kind {
            StepKind::Recv(_) => cx.at,
            _ => cx.now,
        };
        for stop in &step.rtd_stops {
            let start = &mut self.variables.rtd_starts[base + usize::from(stop.rtd)];
            if *start != 0 {
                let duration = at.saturating_sub(*start);
                let rtd = rtds[usize::from(stop.rtd)];
                self.report.histograms.record_rtd(usize::from(rtd), duration);
                let event = Event::ResponseTime { rtd, duration_ns: duration };
                let call = &self.calls[slot];
                self.tracer.record_at(at, call.number, call.program, index, event);
                if !stop.repeat {
                    *start = 0;
                }
            }
        }
        for &start in &step.rtd_starts {
            self.variables.rtd_starts[base + usize::from(start)] = at.max(1);
        }
        if let Some(counter) = step.counter {
            self.report.generic_counters[usize::from(counters[usize::from(counter)])] += 1;
        }
        self.calls[slot].step = index + 1;
        match self.actions(slot, step, cx) {
            Flow::Continue => {}
            Flow::Jump(target) => {
                self.calls[slot].step = target;
                return true;
            }
            Flow::Ended => return false,
        }
        if let Some(next) = &step.next {
            let taken = next.test.is_none_or(|test| self.variable(slot, test).is_true())
                && self.random.chance(next.chance);
            if taken {
                self.calls[slot].step = next.target;
            }
        }
        true
    }

    /// Stores the parts of the last message that later steps read, for the time that the call
    /// waits.
    fn wait(&mut self, slot: Slot, keep: Keep, cx: &mut Cx<'_, '_>) {
        if keep.is_nothing() {
            self.blobs.free(&mut self.calls[slot].saved);
            return;
        }
        let Some(last) = cx.last.filter(|_| !cx.last_is_saved) else { return };
        let stored = if keep.message {
            self.blobs.replace(&mut self.calls[slot].saved, last.bytes())
        } else {
            self.keep_headers(slot, keep.headers, last);
            self.blobs.replace(&mut self.calls[slot].saved, &self.buffers.scratch)
        };
        if !stored {
            self.abort(slot, FailureCause::PoolExhausted, cx);
        }
    }

    /// Copies the start line and the wanted headers of `last` into the scratch buffer, as a
    /// message.
    fn keep_headers(&mut self, slot: Slot, wanted: u64, last: &Message<'_>) {
        self.buffers.scratch.clear();
        let first = last.bytes().split(|&byte| byte == b'\n').next().unwrap_or_default();
        self.buffers.scratch.extend_from_slice(first.trim_ascii_end());
        self.buffers.scratch.extend_from_slice(b"\r\n");
        let bound = &self.programs[usize::from(self.calls[slot].program)];
        for header in last.headers() {
            let kept = bound.last_ids.iter().enumerate().any(|(bit, &id)| {
                wanted & (1 << bit) != 0
                    && is_named(&header, id, bound.program.last_headers[bit].as_bytes())
            });
            if kept {
                self.buffers.scratch.extend_from_slice(header.line);
                self.buffers.scratch.extend_from_slice(b"\r\n");
            }
        }
        self.buffers.scratch.extend_from_slice(b"\r\n");
    }

    fn arm_receive(&mut self, slot: Slot, recv: &Recv, now: u64) {
        let timeout_ms = match recv.timeout_ms {
            Some(own) => u64::from(own),
            None if self.config.rules.recv_timeout_ms > 0 && recv.is_mandatory_bye() => {
                self.config.rules.recv_timeout_ms.max(self.config.rules.recv_bye_timeout_ms)
            }
            None => self.config.rules.recv_timeout_ms,
        };
        if timeout_ms > 0 {
            self.wheel.arm(Self::step_timer(slot), now + timeout_ms * 1_000_000);
        }
    }

    fn length_ns(&mut self, slot: Slot, duration: &Duration) -> u64 {
        let milliseconds = match duration {
            Duration::RunDefault => self.config.rules.pause_ms as f64,
            Duration::Of(distribution) => self.random.sample(distribution),
            Duration::Variable(variable) => self.variable(slot, *variable).number(&self.blobs),
        };
        // Saturates for values that no timer can hold; negative samples count as 0.
        (milliseconds.max(0.0) * 1e6) as u64
    }

    fn send(
        &mut self,
        slot: Slot,
        index: u16,
        step: &Step,
        send: &Send,
        bound: &Bound,
        cx: &mut Cx<'_, '_>,
    ) -> Sent {
        // As in SIPp, a send waits while a retransmission is pending.
        if self.calls[slot].retransmit.is_pending() {
            return Sent::Waits;
        }
        if self.can_reopen(slot) && !self.reopen(slot) {
            // Resumed by `give_socket`.
            self.queue_for_socket(slot);
            return self.wait_to_send(slot, send, cx.now);
        }
        if self.is_cut_off(slot) {
            self.end(slot, Some(FailureCause::TcpClosed), cx.now);
            return Sent::Ended;
        }
        if self.is_congested(slot) {
            // Resumed by `connection_drained`.
            self.counters.sends_congested += 1;
            return self.wait_to_send(slot, send, cx.now);
        }
        let is_ack = send.message == Outgoing::Request(MethodId::Ack.bit());
        let is_cancel = send.message == Outgoing::Request(MethodId::Cancel.bit());
        let numbers = matches!(send.message, Outgoing::Request(_)) && !is_ack && !is_cancel;
        if numbers {
            self.calls[slot].cseq = self.calls[slot].cseq.wrapping_add(1) & 0x7fff_ffff;
        }
        let template = &bound.messages[usize::from(index)];
        let mut capacity = SMALL_MESSAGE;
        let (tx_slot, len, has_answer) = loop {
            let Some(tx_slot) = cx.tx.reserve(capacity) else {
                if numbers {
                    self.calls[slot].cseq = self.calls[slot].cseq.wrapping_sub(1);
                }
                return self.defer(slot, send, cx.now);
            };
            let mut out = Out::new(cx.tx.buffer(&tx_slot));
            let at = At { slot, step: index, now: cx.now, last: cx.last };
            self.render(template, &at, &mut out);
            let (failure, has_answer) = (out.failure(), out.has_answer());
            match out.len() {
                Some(len) => break (tx_slot, len, has_answer),
                None => cx.tx.release(tx_slot),
            }
            if failure.is_some() || capacity == LARGE_MESSAGE {
                self.abort(slot, failure.unwrap_or(FailureCause::CannotSendMessage), cx);
                return Sent::Ended;
            }
            capacity = LARGE_MESSAGE;
        };
        if !self.remember_sent(slot, index, &cx.tx.buffer(&tx_slot)[..len], cx.now) {
            cx.tx.release(tx_slot);
            self.abort(slot, FailureCause::PoolExhausted, cx);
            return Sent::Ended;
        }
        if has_answer {
            self.calls[slot].nonce_count += 1;
            self.trace_answered(slot, index, &cx.tx.buffer(&tx_slot)[..len]);
        }
        self.note_sent(slot, send, cx.now);
        let message = &cx.tx.buffer(&tx_slot)[..len];
        if let Err(cause) = self.note_message(slot, index, send, message, cx.now) {
            cx.tx.release(tx_slot);
            self.abort(slot, cause, cx);
            return Sent::Ended;
        }
        if std::mem::take(&mut self.calls[slot].send_deadline_ns) != 0 {
            self.wheel.cancel(Self::step_timer(slot));
        }
        self.step_counts(slot, index).messages += 1;
        let lost = step.lost_percent.unwrap_or(self.config.rules.lost_percent);
        if lost > 0.0 && self.random.chance(lost / 100.0) {
            self.counters.simulated_losses += 1;
            self.step_counts(slot, index).lost += 1;
            cx.tx.release(tx_slot);
        } else {
            self.dispatch(slot, index, false, (tx_slot, len), cx.tx);
        }
        if let Some(interval_ms) = send.retrans_ms
            && self.config.rules.retransmission.enabled
        {
            self.calls[slot].retransmit = Retransmit { step: index, count: 0, interval_ms };
            let due_ns = cx.now + u64::from(interval_ms) * 1_000_000;
            self.wheel.arm(Self::retransmit_timer(slot), due_ns);
        }
        Sent::Done
    }

    /// Notes what a message that is about to leave says: its description, and its part in a named
    /// transaction.
    fn note_message(
        &mut self,
        slot: Slot,
        index: u16,
        send: &Send,
        message: &[u8],
        now: u64,
    ) -> Result<(), FailureCause> {
        self.describe_sent(slot, message, now)?;
        match (send.named, send.message) {
            (Some(named), Outgoing::Request(method))
                if !self.note_named(slot, named, index, method, message) =>
            {
                Err(FailureCause::PoolExhausted)
            }
            _ => Ok(()),
        }
    }

    fn defer(&mut self, slot: Slot, send: &Send, now: u64) -> Sent {
        self.counters.sends_deferred += 1;
        self.deferred.push((slot, self.calls[slot].generation));
        self.wait_to_send(slot, send, now)
    }

    fn wait_to_send(&mut self, slot: Slot, send: &Send, now: u64) -> Sent {
        let timeout_ms = send.timeout_ms.map_or(self.config.rules.send_timeout_ms, u64::from);
        if timeout_ms > 0 && self.calls[slot].send_deadline_ns == 0 {
            let deadline_ns = now.saturating_add(timeout_ms * 1_000_000);
            self.calls[slot].send_deadline_ns = deadline_ns;
            self.wheel.arm(Self::step_timer(slot), deadline_ns);
        }
        self.calls[slot].deferred = true;
        Sent::Waits
    }

    /// Stores a sent message for retransmission. The message before it is kept if it may be
    /// needed: an answer or an ACK for repetitions, an open INVITE to cancel it.
    fn remember_sent(&mut self, slot: Slot, step: u16, message: &[u8], now: u64) -> bool {
        self.keep_answer(slot, now);
        let call = &mut self.calls[slot];
        let old = self.blobs.bytes(&call.last_sent);
        if old.starts_with(b"ACK ") {
            self.blobs.free(&mut call.ack_sent);
            call.ack_sent = call.last_sent.take();
            call.ack_step = call.sent_step;
        } else if old.starts_with(b"INVITE ") && !message.starts_with(b"ACK ") {
            self.blobs.free(&mut call.invite_sent);
            call.invite_sent = call.last_sent.take();
        }
        call.sent_step = step;
        if message.starts_with(b"INVITE ") {
            call.invite_step = step;
        }
        if self.blobs.replace(&mut call.last_sent, message) {
            return true;
        }
        // The message to go on with is more important than answers that may be asked for again.
        self.blobs.free(&mut call.answers);
        self.blobs.replace(&mut call.last_sent, message)
    }

    fn note_sent(&mut self, slot: Slot, send: &Send, now: u64) {
        let generation = self.calls[slot].generation;
        let stat = send
            .transaction
            .and_then(|own| self.program_of(slot).base.transactions.get(usize::from(own)).copied());
        let call = &mut self.calls[slot];
        let is_arrival = !call.incoming && call.methods_sent == 0;
        call.note_sent();
        match send.message {
            Outgoing::Response(code) => {
                self.counters.responses_sent += 1;
                self.report.messages.sent.response(call.asked as usize, code);
                call.sent_for = call.asked;
                call.is_plain_ok = code == 200 && is_plain(call.asked);
                if call.asked == MethodId::Invite && (200..300).contains(&code) {
                    self.note_answer(slot, now);
                }
            }
            Outgoing::Request(bit) => {
                self.counters.requests_sent += 1;
                // A method's bit is its index.
                self.report.messages.sent.request(bit.trailing_zeros() as usize);
                call.methods_sent |= bit;
                call.is_plain_ok = false;
                let is_invite = bit == MethodId::Invite.bit();
                call.asked_other = !is_invite && (call.asked_other || bit != MethodId::Ack.bit());
                if is_invite {
                    if call.invite_state == InviteState::Over {
                        // The previous dialog has ended: another one begins.
                        call.dialog = DialogState::None;
                    }
                    call.invite_cseq = call.cseq;
                    call.invite_state = InviteState::Calling;
                } else if bit == MethodId::Ack.bit() {
                    if call.invite_state == InviteState::Answered {
                        call.invite_state = InviteState::Confirmed;
                    }
                    self.blobs.free(&mut call.invite_sent);
                } else if bit == MethodId::Bye.bit() {
                    call.invite_state = InviteState::Over;
                }
                let Some(stat) = stat else { return };
                let open = if is_invite { &mut call.invite } else { &mut call.request };
                open.stat = stat;
                open.cseq = call.cseq;
                open.sent_ns = now;
                open.planned_ns = call.due_ns;
                let planned_ns = call.due_ns;
                self.staged.push(StagedRequest {
                    slot,
                    generation,
                    is_invite,
                    is_arrival,
                    planned_ns,
                });
            }
        }
    }

    /// Ends a call: as failed by `cause`, or else by the check that failed on the way, if any did.
    pub(in crate::engine) fn end(&mut self, slot: Slot, cause: Option<FailureCause>, now: u64) {
        let failed_check = self.calls[slot].failed_check;
        let cause = cause.or(failed_check.map(|(cause, _)| cause));
        self.count_end(slot, cause, None, now);
        self.release(slot, now);
    }

    /// Counts a call's outcome; the call is no longer active. `message` is the message that made it
    /// fail, if there was one.
    pub(in crate::engine) fn count_end(
        &mut self,
        slot: Slot,
        cause: Option<FailureCause>,
        message: Option<&Message<'_>>,
        now: u64,
    ) {
        debug_assert_eq!(self.calls[slot].phase, Phase::Running);
        let mut step = self.calls[slot].step;
        let media = self.close_leg(slot, cause.is_some(), now);
        let is_pattern_failed = media.as_ref().is_some_and(LegReport::is_pattern_failed);
        let cause = cause.or(is_pattern_failed.then_some(FailureCause::RtpCheck));
        match cause {
            None => self.counters.calls_succeeded += 1,
            Some(cause) => {
                self.tell_of_failure(slot, cause, now);
                step = self.note_failure(slot, cause, message, now);
                self.counters.calls_failed += 1;
                self.counters.failures.bump(cause);
            }
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.steps_mut().end(self.calls[slot].rate_step, cause);
        }
        let code = message.and_then(Message::status).filter(|&code| code >= 200);
        let code = code.unwrap_or(self.calls[slot].final_code);
        let length = now.saturating_sub(self.calls[slot].started_ns);
        self.report.histograms.record_call_length(length);
        if let Some(media) = &media {
            self.trace_patterns(slot, step, media);
            self.note_worst(slot, cause, media, (length, now));
        }
        self.trace_end(slot, (step, code), cause, length, media.as_ref());
        self.active -= 1;
        self.active_out_of_call -= usize::from(self.calls[slot].out_of_call);
        let user = self.calls[slot].user;
        let is_kept = user < self.users && !self.calls[slot].incoming;
        if is_kept && matches!(self.config.arrivals, crate::engine::Arrivals::Users(_)) {
            self.idle_users.push((user, now));
        }
    }

    /// Releases everything that a call holds.
    pub(in crate::engine) fn release(&mut self, slot: Slot, now: u64) {
        self.wheel.cancel(Self::step_timer(slot));
        self.wheel.cancel(Self::retransmit_timer(slot));
        self.free_call_values(slot);
        self.free_named(slot);
        let wait_ns = self.config.rules.deadcall_wait_ms * 1_000_000;
        let call = &mut self.calls[slot];
        let left = if call.is_plain_ok { mark(call.trigger.hash) } else { 0 };
        for blob in call.blobs_mut() {
            self.blobs.free(blob);
        }
        if call.foreign {
            let hash = call.hash;
            self.map.remove(hash, slot);
            if wait_ns > 0 && self.dead.remember(hash, now + wait_ns, now, left) {
                self.counters.dead_calls_evicted += 1;
            }
        }
        let circuit = std::mem::replace(&mut self.calls[slot].circuit, NO_CIRCUIT);
        if let Some(circuits) = self.circuits.as_mut().filter(|_| circuit != NO_CIRCUIT) {
            circuits.give_back(circuit);
        }
        self.detach(slot);
        if self.calls[slot].owns_socket {
            let (socket, port) = (self.calls[slot].socket, self.calls[slot].local_port);
            if let crate::engine::SocketPool::PerCall { free, .. } = &mut self.sockets {
                free.push((socket, port));
            }
        }
        self.calls_of[usize::from(self.calls[slot].program)] -= 1;
        self.calls.release(slot, left);
    }

    /// Closes the open transaction that a final response answers, and records both clocks. A
    /// refusal is recorded on one clock only: a quick 503 must not flatter the times of served
    /// calls.
    pub(in crate::engine) fn note_final_response(
        &mut self,
        slot: Slot,
        code: u16,
        (is_invite, cseq): (bool, u32),
        at: u64,
    ) {
        let call = &mut self.calls[slot];
        let open = if is_invite { &mut call.invite } else { &mut call.request };
        if open.stat == NO_INDEX || open.cseq != cseq {
            return;
        }
        let stat = usize::from(open.stat);
        let service = at.saturating_sub(open.sent_ns);
        let response = at.saturating_sub(open.planned_ns.min(open.sent_ns));
        open.stat = NO_INDEX;
        if is_invite || call.methods_sent & MethodId::Invite.bit() == 0 {
            call.final_code = code;
        }
        if code >= 300 {
            return self.report.histograms.record_refused(stat, service);
        }
        self.report.histograms.record_service(stat, service);
        self.report.histograms.record_response(stat, response);
    }
}
