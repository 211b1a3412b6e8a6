//! Counts of open calls by the event that they wait for, used while a run waits for its last calls.

use crate::engine::Engine;
use crate::engine::call::{Call, NO_INDEX, Phase, Retransmit, Slot};
use crate::scenario::{Expect, Outgoing, Send, StepKind};
use crate::sip::MethodId;

/// Most slots that are examined: enough for an estimate, and no turn takes long.
const SLOTS_MAX: Slot = 20_000;

/// Reasons to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The final response to a request of this method.
    Answer(MethodId),
    /// A request of the peer.
    Request,
    /// The end of a pause.
    Pause,
    /// A command of another instance (3PCC).
    Command,
    /// Room in the send arena.
    Room,
}

/// Open calls, counted by the event that they wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Number of calls for each reason to wait; the number of reasons is bounded.
    pub waits: Vec<(Wait, u64)>,
    /// Time at which the last of them has its answer or is given up at the latest, if that is known
    /// of all.
    pub longest_ns: Option<u64>,
}

impl Census {
    /// Adds the calls of another worker.
    pub fn add(&mut self, other: &Self) {
        let both_known = self.longest_ns.zip(other.longest_ns);
        self.longest_ns = match (self.waits.is_empty(), other.waits.is_empty()) {
            (true, _) => other.longest_ns,
            (_, true) => self.longest_ns,
            _ => both_known.map(|(mine, theirs)| mine.max(theirs)),
        };
        other.waits.iter().for_each(|&(wait, calls)| self.count(wait, calls));
    }

    fn count(&mut self, wait: Wait, calls: u64) {
        match self.waits.iter_mut().find(|(known, _)| *known == wait) {
            Some((_, known)) => *known += calls,
            None => self.waits.push((wait, calls)),
        }
    }
}

impl Engine {
    /// Counts the events that open calls wait for, over the first 20,000 slots at most.
    pub(in crate::engine) fn census(&self, now: u64) -> Census {
        let mut census = Census::default();
        let mut longest_ns = Some(0);
        for slot in 0..self.calls.used().min(SLOTS_MAX) {
            if self.calls[slot].phase != Phase::Running || self.calls[slot].out_of_call {
                continue;
            }
            census.count(self.wait_of(slot), 1);
            let until_ns = self.given_up_after_ms(slot).map(|ms| now + ms * 1_000_000);
            longest_ns = longest_ns.zip(until_ns).map(|(longest, until)| longest.max(until));
        }
        census.longest_ns = longest_ns.filter(|&until_ns| until_ns > 0);
        census
    }

    fn wait_of(&self, slot: Slot) -> Wait {
        let call = &self.calls[slot];
        if call.deferred {
            return Wait::Room;
        }
        let awaited = self.awaited(slot);
        let steps = &self.program_of(slot).program.steps;
        match steps.get(usize::from(awaited)).map(|step| &step.kind) {
            Some(StepKind::Recv(recv)) => match recv.expect {
                Expect::Request(_) | Expect::RequestPattern(_) => Wait::Request,
                Expect::Response(_) | Expect::ResponsePattern(_) => {
                    Wait::Answer(self.method_asked(slot, call))
                }
            },
            Some(StepKind::RecvCommand(_)) => Wait::Command,
            _ => Wait::Pause,
        }
    }

    /// The method of the request whose response the call waits for.
    fn method_asked(&self, slot: Slot, call: &Call) -> MethodId {
        if call.invite.stat != NO_INDEX {
            return MethodId::Invite;
        }
        match self.send_at(slot, call.sent_step).map(|send| send.message) {
            Some(Outgoing::Request(bit)) => {
                let named = MethodId::KNOWN.iter().find(|method| method.bit() == bit);
                named.copied().unwrap_or(MethodId::Other)
            }
            _ => MethodId::Other,
        }
    }

    /// Longest time in milliseconds until the call fails for want of an answer, if retransmissions
    /// bound it.
    fn given_up_after_ms(&self, slot: Slot) -> Option<u64> {
        let pending: Retransmit = self.calls[slot].retransmit;
        let send = self.send_at(slot, pending.step).filter(|_| pending.is_pending())?;
        let rules = self.config.rules.retransmission;
        let is_invite = send.message == Outgoing::Request(MethodId::Invite.bit());
        let most = if is_invite { rules.invite_max } else { rules.non_invite_max };
        let mut interval_ms = pending.interval_ms;
        let mut left_ms = u64::from(interval_ms);
        for _ in u32::from(pending.count)..most {
            let doubled = interval_ms.saturating_mul(2);
            interval_ms = if is_invite { doubled } else { doubled.min(rules.t2_ms) };
            left_ms = left_ms.saturating_add(u64::from(interval_ms));
        }
        // A wait of more than a day is not worth reporting.
        (left_ms < 86_400_000).then_some(left_ms)
    }

    fn send_at(&self, slot: Slot, step: u16) -> Option<&Send> {
        match &self.program_of(slot).program.steps.get(usize::from(step))?.kind {
            StepKind::Send(send) => Some(send),
            _ => None,
        }
    }
}
