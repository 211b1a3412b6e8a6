//! Transactions that the scenario names: `start_txn=`, `response_txn=`, `ack_txn=`.
//!
//! A response is matched by the branch of its request (RFC 3261 section 17.1.3). So several
//! transactions of one call may be open at once, and each INVITE keeps its own ACK.

use std::hash::{BuildHasher, Hasher};

use crate::engine::Engine;
use crate::engine::call::blob::Blob;
use crate::engine::call::{NO_INDEX, Slot};
use crate::scenario::NamedTransaction;
use crate::sip::{CSeq, CommaList, HeaderId, Message, MethodId, Via, first_value};

/// The state of one named transaction of a call.
#[derive(Debug, Default)]
pub(in crate::engine) struct NamedState {
    /// Hash of the branch; 0 if the transaction was not started.
    branch: u64,
    /// The step that started it; the ACK's `[branch]` is made from it.
    step: u16,
    /// The CSeq number of its request.
    cseq: u32,
    method: u32,
    /// Code of the last final response that was accepted; 0 if there was none.
    answered: u16,
    /// The ACK, as it left.
    ack: Blob,
    ack_step: u16,
}

impl Engine {
    /// The state of transaction `index` of the call.
    fn named(&self, slot: Slot, index: u16) -> &NamedState {
        &self.named[slot as usize * self.named_each + usize::from(index)]
    }

    fn named_mut(&mut self, slot: Slot, index: u16) -> &mut NamedState {
        &mut self.named[slot as usize * self.named_each + usize::from(index)]
    }

    /// Number of kept ACKs.
    pub(in crate::engine) fn named_acks(&self) -> usize {
        self.named.iter().filter(|state| !state.ack.is_empty()).count()
    }

    /// Makes room for the transactions of a new call.
    pub(in crate::engine) fn reset_named(&mut self, slot: Slot) {
        let end = (slot as usize + 1) * self.named_each;
        while self.named.len() < end {
            self.named.push(NamedState::default());
        }
    }

    /// Frees the transactions of a call that ends.
    pub(in crate::engine) fn free_named(&mut self, slot: Slot) {
        let first = slot as usize * self.named_each;
        for state in &mut self.named[first..first + self.named_each] {
            self.blobs.free(&mut state.ack);
            *state = NamedState::default();
        }
    }

    /// The CSeq number for an ACK: that of its INVITE.
    pub(in crate::engine) fn acknowledged_cseq(
        &self,
        slot: Slot,
        named: NamedTransaction,
    ) -> Option<u32> {
        let NamedTransaction::Ack(index) = named else { return None };
        let state = self.named(slot, index);
        (state.branch != 0).then_some(state.cseq)
    }

    /// The step whose branch an ACK reuses: that of a refused INVITE. An ACK of a 2xx is a
    /// transaction of its own (RFC 3261 sections 17.1.1.3 and 13.2.2.4).
    pub(in crate::engine) fn acknowledged_step(
        &self,
        slot: Slot,
        named: NamedTransaction,
    ) -> Option<u16> {
        let NamedTransaction::Ack(index) = named else { return None };
        let state = self.named(slot, index);
        (state.answered >= 300).then_some(state.step)
    }

    /// Notes that `message` left at `step`; `false` if its ACK could not be kept.
    pub(in crate::engine) fn note_named(
        &mut self,
        slot: Slot,
        named: NamedTransaction,
        step: u16,
        method: u32,
        message: &[u8],
    ) -> bool {
        match named {
            NamedTransaction::Start(index) => {
                // The scenario may write a number of its own.
                let own = first_value(message, HeaderId::CSeq).map(CSeq::parse);
                let cseq = own.and_then(Result::ok).map_or(self.calls[slot].cseq, |own| own.number);
                let branch = self.branch_hash(top_branch(first_value(message, HeaderId::Via)));
                let mut ack = std::mem::take(&mut self.named_mut(slot, index).ack);
                self.blobs.free(&mut ack);
                *self.named_mut(slot, index) =
                    NamedState { branch, step, cseq, method, answered: 0, ack, ack_step: NO_INDEX };
                true
            }
            NamedTransaction::Ack(index) => {
                let at = slot as usize * self.named_each + usize::from(index);
                let state = &mut self.named[at];
                state.ack_step = step;
                self.blobs.replace(&mut state.ack, message)
            }
        }
    }

    /// Returns `true` if `response` belongs to transaction `index`: by branch and method (RFC 3261
    /// section 17.1.3). The CSeq number decides only between transactions to which the scenario
    /// gave the same branch.
    pub(in crate::engine) fn answers(
        &self,
        slot: Slot,
        index: u16,
        response: &Message<'_>,
        cseq: &CSeq<'_>,
    ) -> bool {
        let (state, method) = (self.named(slot, index), cseq.method.bit());
        if state.branch == 0 || state.method != method {
            return false;
        }
        let branch = self.branch_hash(top_branch(response.first(HeaderId::Via)));
        let first = slot as usize * self.named_each;
        let is_answered = |state: &NamedState| state.branch == branch && state.method == method;
        let all = &self.named[first..first + self.named_each];
        let numbered = |state: &NamedState| is_answered(state) && state.cseq == cseq.number;
        is_answered(state) && (state.cseq == cseq.number || !all.iter().any(numbered))
    }

    /// Notes that a response of transaction `index` was accepted.
    pub(in crate::engine) fn note_answered(&mut self, slot: Slot, index: u16, code: u16) {
        if code >= 200 {
            self.named_mut(slot, index).answered = code;
        }
    }

    /// Handles a response of a named transaction that no step waits for. A provisional one is
    /// ignored; a repeated final one gets the ACK again. `false` if it belongs to no such
    /// transaction, or is its first final response.
    pub(in crate::engine) fn repeats_named(
        &mut self,
        slot: Slot,
        response: &Message<'_>,
        cseq: &CSeq<'_>,
        tx: &mut gossipper_uring::TxArena,
    ) -> bool {
        let Some(code) = response.status().filter(|_| self.named_each > 0) else { return false };
        let count = self.program_of(slot).program.named_transactions.len() as u16;
        let Some(index) = (0..count).find(|&index| self.answers(slot, index, response, cseq))
        else {
            return false;
        };
        let state = self.named(slot, index);
        let (answered, has_ack) = (state.answered != 0, !state.ack.is_empty());
        if code < 200 {
            return true;
        }
        if !answered {
            return false;
        }
        self.counters.retransmissions_received += 1;
        if cseq.method.id() == MethodId::Invite && has_ack {
            self.resend_named_ack(slot, index, tx);
        }
        true
    }

    fn resend_named_ack(&mut self, slot: Slot, index: u16, tx: &mut gossipper_uring::TxArena) {
        let step = self.named(slot, index).ack_step;
        self.resend(slot, step, |engine| engine.blobs.bytes(&engine.named(slot, index).ack), tx);
    }

    /// Hash of a branch; never 0, which stands for no transaction.
    pub(in crate::engine) fn branch_hash(&self, branch: &[u8]) -> u64 {
        let mut hasher = foldhash::fast::FixedState::with_seed(self.config.seed).build_hasher();
        hasher.write(branch);
        hasher.finish() | 1
    }
}

/// The branch of the topmost Via: the first element of the first line.
pub(in crate::engine) fn top_branch(via: Option<&[u8]>) -> &[u8] {
    let top = via.and_then(|via| CommaList::new(via).next()).and_then(Result::ok);
    top.and_then(|top| Via::parse(top).ok()).and_then(|via| via.branch).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_that_of_the_topmost_via() {
        let message = b"OPTIONS sip:a;branch=uri SIP/2.0\r\nX: branch=x\r\n\
            v: SIP/2.0/UDP h;rport;Branch = one,\r\n SIP/2.0/UDP i;branch=two\r\n\
            Via: SIP/2.0/UDP j;branch=three\r\n\r\nVia: SIP/2.0/UDP k;branch=body\r\n";
        assert_eq!(top_branch(first_value(message, HeaderId::Via)), b"one");
        let without = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\nbranch=body";
        assert_eq!(top_branch(first_value(without, HeaderId::Via)), b"");
        assert_eq!(top_branch(None), b"");
    }
}
