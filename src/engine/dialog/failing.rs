//! The record of a failed call: the message that made it fail, or the message that it lacked.
//!
//! Hundreds of thousands of calls may fail in a second, so all but the first call of a group are
//! only counted.

use std::net::SocketAddr;

use gossipper_uring::IcmpCause;

use crate::engine::Engine;
use crate::engine::call::{NO_INDEX, Slot};
use crate::scenario::{Expect, StepKind};
use crate::sip::{Kind, Message, Method, MethodId};
use crate::stats::{FailureCause, FailureKey, FirstFailure, Happening, ShortText, Unreachable};

impl Engine {
    /// Counts a call that fails by `cause`, because of `message` if that is known. Returns the step
    /// at which it failed.
    pub(in crate::engine) fn note_failure(
        &mut self,
        slot: Slot,
        cause: FailureCause,
        message: Option<&Message<'_>>,
        now: u64,
    ) -> u16 {
        let (step, happening) = self.happening(slot, cause, message);
        let call = &self.calls[slot];
        let port = if call.incoming { 0 } else { call.remote.port() };
        let peer = SocketAddr::new(call.remote.ip(), port);
        let key = FailureKey { cause, program: call.program, step, happening, peer };
        if !self.report.failures.count(&key) {
            let words = match message.map(|message| message.kind()) {
                Some(Kind::Response { reason, .. }) => reason,
                Some(Kind::Request { method, .. }) => method.as_bytes(),
                None => b"",
            };
            let first = FirstFailure {
                at_ns: now,
                call: call.number,
                call_id: ShortText::of(self.call_id(slot, &mut [0; 256])),
                words: ShortText::of(words),
            };
            self.report.failures.begin(key, first);
        }
        step
    }

    /// Returns the step at which a call fails, and the message in question.
    fn happening(
        &self,
        slot: Slot,
        cause: FailureCause,
        message: Option<&Message<'_>>,
    ) -> (u16, Happening) {
        let call = &self.calls[slot];
        match cause {
            FailureCause::UnexpectedMessage
            | FailureCause::PeerHangup
            | FailureCause::AckCseqMismatch => {
                (call.step, message.map_or(Happening::None, arrival))
            }
            // The first mandatory step: optional ones before it may be absent.
            FailureCause::RecvTimeout => {
                let step = self.awaited(slot);
                (step, self.lack(slot, step))
            }
            // The step at which the call waits for the answer.
            FailureCause::MaxUdpRetrans => (call.step, self.unanswered(slot)),
            FailureCause::IcmpUnreachable => (call.step, self.unreached(slot)),
            _ => match call.failed_check {
                Some((check, step)) if check == cause => (step, Happening::None),
                _ => (call.step, Happening::None),
            },
        }
    }

    /// Describes the message that a call at `step` waits for.
    fn lack(&self, slot: Slot, step: u16) -> Happening {
        let steps = &self.program_of(slot).program.steps;
        match steps.get(usize::from(step)).map(|step| &step.kind) {
            Some(StepKind::Recv(recv)) => match recv.expect {
                Expect::Response(_) | Expect::ResponsePattern(_) => self.unanswered(slot),
                Expect::Request(_) | Expect::RequestPattern(_) => Happening::None,
            },
            _ => Happening::None,
        }
    }

    /// Describes our message that did not arrive, and the reason.
    fn unreached(&self, slot: Slot) -> Happening {
        let reason = match self.last_icmp {
            IcmpCause::Port => Unreachable::Port,
            IcmpCause::Host => Unreachable::Host,
            IcmpCause::Prohibited => Unreachable::Prohibited,
            IcmpCause::TooBig | IcmpCause::Other => Unreachable::Other,
        };
        match self.unanswered(slot) {
            Happening::NoAck { method, code } => Happening::Unreachable { method, code, reason },
            Happening::NoAnswer { method } => Happening::Unreachable { method, code: 0, reason },
            other => other,
        }
    }

    /// Describes our message that got no answer: the INVITE while it is open, else the last one.
    fn unanswered(&self, slot: Slot) -> Happening {
        let call = &self.calls[slot];
        if call.invite.stat != NO_INDEX {
            return Happening::NoAnswer { method: MethodId::Invite as u8 };
        }
        let sent = self.blobs.bytes(&call.last_sent);
        if let Some(code) = sent_status(sent) {
            return Happening::NoAck { method: call.asked as u8, code };
        }
        let method = sent.split(|&byte| byte == b' ').next().unwrap_or_default();
        Happening::NoAnswer { method: Method::from_bytes(method).id() as u8 }
    }
}

/// Describes a received message.
fn arrival(message: &Message<'_>) -> Happening {
    match message.kind() {
        Kind::Request { method, .. } => Happening::Request { method: method.id() as u8 },
        Kind::Response { code, .. } => {
            let method = message.cseq().map_or(MethodId::Other, |cseq| cseq.method.id());
            Happening::Response { method: method as u8, code }
        }
    }
}

/// The status of a response that we sent.
fn sent_status(response: &[u8]) -> Option<u16> {
    let digits = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
