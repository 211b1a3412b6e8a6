//! Handling of timers: pauses end, receives time out, messages are retransmitted.

use std::rc::Rc;

use gossipper_uring::TxArena;

use super::call::{NO_INDEX, Phase, Retransmit, Slot};
use super::{Cx, Engine, Handled};
use crate::scenario::{Outgoing, StepKind};
use crate::sip::MethodId;
use crate::stats::FailureCause;
use crate::trace::Patience;

impl Engine {
    /// Fires timers that are due. Stops early when the send arena is nearly full.
    pub(super) fn fire_timers(&mut self, now: u64, tx: &mut TxArena, reserve: usize) -> Handled {
        while tx.free() > reserve {
            let Some(timer) = self.wheel.pop_due(now) else { return Handled::Done };
            let slot = timer / 2;
            match self.calls[slot].phase {
                Phase::Free => {}
                Phase::Lingering => self.linger_timer(slot, timer, now, tx),
                Phase::Running if timer == Self::retransmit_timer(slot) => {
                    self.retransmit_due(slot, now, tx);
                }
                Phase::Running => self.step_due(slot, now, tx),
            }
        }
        Handled::NeedsRoom
    }

    /// Handles the timer of the step that the call waits at.
    fn step_due(&mut self, slot: Slot, now: u64, tx: &mut TxArena) {
        let bound = Rc::clone(self.program_of(slot));
        let index = self.calls[slot].step;
        let Some(step) = bound.program.steps.get(usize::from(index)) else { return };
        let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
        match &step.kind {
            StepKind::Recv(recv) => {
                self.step_counts(slot, index).timeouts += 1;
                let waited_ms =
                    recv.timeout_ms.map_or(self.config.rules.recv_timeout_ms, u64::from);
                let aborts = step.on_timeout.is_none();
                self.trace_timeout(slot, index, Patience::Receive, aborts, waited_ms);
                match step.on_timeout {
                    Some(target) => {
                        self.calls[slot].due_ns = now;
                        self.calls[slot].step = target;
                        self.resume(slot, now, tx);
                    }
                    None => self.abort(slot, FailureCause::RecvTimeout, &mut cx),
                }
            }
            StepKind::Pause(_) | StepKind::Timewait(_) => {
                if self.complete(slot, index, step, &mut cx) {
                    self.resume(slot, now, tx);
                }
            }
            StepKind::RecvCommand(recv) => {
                self.step_counts(slot, index).timeouts += 1;
                let target = step.on_timeout.or(recv.optional.then_some(index + 1));
                let waited_ms = self.command_wait_ms(slot, index, recv);
                self.trace_timeout(slot, index, Patience::Command, target.is_none(), waited_ms);
                match target {
                    Some(target) => {
                        self.calls[slot].due_ns = now;
                        self.calls[slot].step = target;
                        self.resume(slot, now, tx);
                    }
                    None => self.abort(slot, FailureCause::RecvTimeout, &mut cx),
                }
            }
            StepKind::Send(send) => {
                if !std::mem::take(&mut self.calls[slot].deferred) {
                    return;
                }
                self.calls[slot].send_deadline_ns = 0;
                self.step_counts(slot, index).timeouts += 1;
                let waited_ms =
                    send.timeout_ms.map_or(self.config.rules.send_timeout_ms, u64::from);
                let aborts = step.on_timeout.is_none();
                self.trace_timeout(slot, index, Patience::Send, aborts, waited_ms);
                match step.on_timeout {
                    Some(target) => {
                        self.calls[slot].due_ns = now;
                        self.calls[slot].step = target;
                        self.resume(slot, now, tx);
                    }
                    None => self.abort(slot, FailureCause::SendTimeout, &mut cx),
                }
            }
            StepKind::SendCommand(_) | StepKind::Nop => {}
        }
    }

    fn retransmit_due(&mut self, slot: Slot, now: u64, tx: &mut TxArena) {
        let pending = self.calls[slot].retransmit;
        if !pending.is_pending() {
            return;
        }
        let bound = Rc::clone(self.program_of(slot));
        let Some(step) = bound.program.steps.get(usize::from(pending.step)) else { return };
        let StepKind::Send(send) = &step.kind else { return };
        let rules = self.config.rules.retransmission;
        let is_invite = send.message == Outgoing::Request(MethodId::Invite.bit());
        let max = if is_invite { rules.invite_max } else { rules.non_invite_max };
        if u32::from(pending.count) >= max {
            self.calls[slot].retransmit = Retransmit::NONE;
            self.step_counts(slot, pending.step).timeouts += 1;
            let aborts = step.on_timeout.is_none();
            let waited_ms = u64::from(pending.interval_ms);
            self.trace_timeout(slot, pending.step, Patience::Retransmission, aborts, waited_ms);
            match step.on_timeout {
                Some(target) => {
                    self.wheel.cancel(Self::step_timer(slot));
                    self.calls[slot].due_ns = now;
                    self.calls[slot].step = target;
                    self.resume(slot, now, tx);
                }
                None => {
                    let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
                    self.abort(slot, FailureCause::MaxUdpRetrans, &mut cx);
                }
            }
            return;
        }
        self.resend_last(slot, tx);
        let doubled = pending.interval_ms.saturating_mul(2);
        let interval_ms = if is_invite { doubled } else { doubled.min(rules.t2_ms) };
        self.calls[slot].retransmit =
            Retransmit { step: pending.step, count: pending.count + 1, interval_ms };
        let due_ns = now + u64::from(interval_ms) * 1_000_000;
        self.wheel.arm(Self::retransmit_timer(slot), due_ns);
    }

    /// Sends the last message again, byte for byte.
    pub(super) fn resend_last(&mut self, slot: Slot, tx: &mut TxArena) {
        let step = self.calls[slot].sent_step;
        self.resend(slot, step, |engine| engine.blobs.bytes(&engine.calls[slot].last_sent), tx);
    }

    /// Sends the ACK of the INVITE's final response again, because the peer has repeated the
    /// response.
    pub(super) fn resend_ack(&mut self, slot: Slot, tx: &mut TxArena) {
        let call = &self.calls[slot];
        if self.blobs.bytes(&call.last_sent).starts_with(b"ACK ") {
            return self.resend_last(slot, tx);
        }
        let step = call.ack_step;
        self.resend(slot, step, |engine| engine.blobs.bytes(&engine.calls[slot].ack_sent), tx);
    }

    /// Sends a stored message of the call again; `step` is the step that sent it first.
    pub(super) fn resend(
        &mut self,
        slot: Slot,
        step: u16,
        which: impl for<'e> Fn(&'e Self) -> &'e [u8],
        tx: &mut TxArena,
    ) {
        let bytes = which(self);
        if bytes.is_empty() {
            return;
        }
        let lost = match step {
            NO_INDEX => 0.0,
            step => {
                let steps = &self.program_of(slot).program.steps;
                let own = steps.get(usize::from(step)).and_then(|step| step.lost_percent);
                own.unwrap_or(self.config.rules.lost_percent)
            }
        };
        if lost > 0.0 && self.random.chance(lost / 100.0) {
            self.counters.simulated_losses += 1;
            self.counters.retransmissions_sent += 1;
            let counts = self.step_counts(slot, step);
            counts.lost += 1;
            counts.retransmissions += 1;
            return;
        }
        let bytes = which(self);
        // Without room this waits for the next retransmission, ours or the peer's.
        let Some(tx_slot) = tx.reserve(bytes.len()) else {
            self.counters.sends_deferred += 1;
            return;
        };
        let len = bytes.len();
        tx.buffer(&tx_slot)[..len].copy_from_slice(bytes);
        self.dispatch(slot, step, true, (tx_slot, len), tx);
        self.counters.retransmissions_sent += 1;
        if step != NO_INDEX {
            self.step_counts(slot, step).retransmissions += 1;
        }
    }
}
