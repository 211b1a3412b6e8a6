//! Repeated messages: a request gets the same answer again while its transaction lives (RFC 3261
//! section 17.2), no matter which part of the engine gave that answer.
//!
//! A repetition is recognised by a hash of the message or, if its bytes differ, by its transaction.
//! The answer to the last request is the last message that the call sent. When another message
//! replaces it, it is kept, unless it cannot be asked for again; so a plain call keeps none.
//! Automatic answers are generated again, and so is a 200 that ended a call.

use std::hash::{BuildHasher, Hasher};

use gossipper_uring::TxArena;

use crate::engine::call::{Heard, Slot};
use crate::engine::config::DuplicateCheck;
use crate::engine::dialog::receive::Incoming;
use crate::engine::dialog::transactions::top_branch;
use crate::engine::{Cx, Engine};
use crate::sip::{CSeq, HeaderId, Message, MethodId, first_value};
use crate::trace::{Event, NO_CALL, NO_STEP};

/// Time for which a transaction is answered: timer J, 64 * T1.
const TRANSACTION_NS: u64 = 32_000_000_000;
/// Most bytes of answers that a call keeps; the oldest are dropped first.
const KEPT_MAX: usize = 1024;
/// Bytes of the head before each kept answer.
const HEAD: usize = 20;
/// Bits of a [`mark`].
pub(in crate::engine) const MARK_MASK: u32 = (1 << 20) - 1;

/// Methods whose 200 needs only fields of the request: it can be sent without the call.
const PLAIN: u32 = MethodId::Bye.bit()
    | MethodId::Info.bit()
    | MethodId::Message.bit()
    | MethodId::Notify.bit()
    | MethodId::Options.bit();

/// An answer that a call keeps, and its place among them.
#[derive(Clone, Copy)]
struct Kept {
    transaction: u64,
    expiry_ns: u64,
    step: u16,
    begin: usize,
    end: usize,
}

/// The answers in `bytes`, oldest first.
fn kept(bytes: &[u8]) -> impl Iterator<Item = Kept> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let (transaction, rest) = bytes.get(begin..)?.split_first_chunk()?;
        let (expiry_ns, rest) = rest.split_first_chunk()?;
        let (step, rest) = rest.split_first_chunk()?;
        let (len, _) = rest.split_first_chunk()?;
        let end = begin + HEAD + usize::from(u16::from_le_bytes(*len));
        let found = Kept {
            transaction: u64::from_le_bytes(*transaction),
            expiry_ns: u64::from_le_bytes(*expiry_ns),
            step: u16::from_le_bytes(*step),
            begin,
            end,
        };
        begin = end;
        Some(found)
    })
}

/// A mark by which the repetition of a message, given by its hash, is recognised after its call has
/// ended; never 0.
pub(in crate::engine) fn mark(hash: u64) -> u32 {
    ((hash >> 32) as u32 | 1) & MARK_MASK
}

/// Returns `true` if the 200 to a request of `method` can be sent again without its call.
pub(in crate::engine) fn is_plain(method: MethodId) -> bool {
    PLAIN & method.bit() != 0
}

impl Engine {
    /// Handles a message that the call received before; `false` if it did not.
    pub(in crate::engine) fn repeats(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        hash: u64,
        cx: &mut Cx<'_, '_>,
    ) -> bool {
        let call = &self.calls[slot];
        let trigger = call.trigger;
        let seen = [call.unanswered, call.seen[0], call.seen[1], call.seen[2]];
        if hash == trigger.hash {
            self.note_repetition(slot, trigger.step);
            // A final response of an INVITE needs its ACK, no matter which message was sent since.
            let wants_ack = message.status().is_some_and(|code| code >= 200)
                && message.cseq().is_ok_and(|cseq| cseq.method.id() == MethodId::Invite);
            if wants_ack {
                self.resend_ack(slot, cx.tx);
            } else if !self.answer_again(slot, message, cx.now, cx.tx) {
                self.resend_last(slot, cx.tx);
            }
            return true;
        }
        let Some(seen) = seen.iter().find(|seen| seen.hash == hash) else { return false };
        // A final response of an INVITE needs its own ACK again.
        if let Ok(cseq) = message.cseq()
            && self.repeats_named(slot, message, &cseq, cx.tx)
        {
            return true;
        }
        self.note_repetition(slot, seen.step);
        if seen.is_automatic {
            self.answer_ok_again(slot, message, cx);
        } else {
            self.answer_again(slot, message, cx.now, cx.tx);
        }
        true
    }

    /// Handles a repeated request while the call only ends its dialog, or one with other bytes than
    /// before, as over another path; `false` if it was not answered before.
    pub(in crate::engine) fn repeats_request(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        hash: u64,
        cx: &mut Cx<'_, '_>,
    ) -> bool {
        if !self.config.rules.retransmission.enabled || message.method().is_none() {
            return false;
        }
        let automatic = |seen: &Heard| seen.hash == hash && seen.is_automatic;
        if self.calls[slot].seen.iter().any(automatic) {
            self.answer_ok_again(slot, message, cx);
        } else if !self.answer_again(slot, message, cx.now, cx.tx) {
            return false;
        }
        self.counters.retransmissions_received += 1;
        true
    }

    /// Sends the earlier answer to `request` again; `false` if there is none or it is no longer
    /// kept.
    fn answer_again(
        &mut self,
        slot: Slot,
        request: &Message<'_>,
        now: u64,
        tx: &mut TxArena,
    ) -> bool {
        if request.method().is_none() {
            return false;
        }
        let Some(wanted) = self.transaction(request.bytes()) else { return false };
        let call = &self.calls[slot];
        let last = self.blobs.bytes(&call.last_sent);
        if is_response(last) && self.transaction(last) == Some(wanted) {
            self.resend_last(slot, tx);
            return true;
        }
        let is_wanted = |kept: &Kept| kept.transaction == wanted && kept.expiry_ns > now;
        let Some(found) = kept(self.blobs.bytes(&call.answers)).find(is_wanted) else {
            return false;
        };
        let message = found.begin + HEAD..found.end;
        self.resend(
            slot,
            found.step,
            |engine| &engine.blobs.bytes(&engine.calls[slot].answers)[message.clone()],
            tx,
        );
        true
    }

    /// Keeps the last sent answer before another message replaces it, if the peer may still ask for
    /// it again.
    pub(in crate::engine) fn keep_answer(&mut self, slot: Slot, now: u64) {
        let call = &self.calls[slot];
        let answer = self.blobs.bytes(&call.last_sent);
        if !is_response(answer) || !self.config.rules.retransmission.enabled {
            return;
        }
        // A provisional answer with no message since: the next answer belongs to the same
        // transaction.
        let is_followed = answer.get(8) == Some(&b'1') && call.unanswered == Heard::NOTHING;
        // An INVITE that has its ACK is not repeated.
        let is_settled = call.sent_for == MethodId::Ack;
        if is_followed || is_settled || HEAD + answer.len() > KEPT_MAX {
            return;
        }
        let Some(transaction) = self.transaction(answer) else { return };
        let mut room = std::mem::take(&mut self.buffers.scratch);
        room.clear();
        let before = self.blobs.bytes(&call.answers);
        for kept in kept(before) {
            if kept.expiry_ns > now && kept.transaction != transaction {
                room.extend_from_slice(&before[kept.begin..kept.end]);
            }
        }
        let len = answer.len() as u16;
        room.extend_from_slice(&transaction.to_le_bytes());
        room.extend_from_slice(&(now + TRANSACTION_NS).to_le_bytes());
        room.extend_from_slice(&call.sent_step.to_le_bytes());
        room.extend_from_slice(&len.to_le_bytes());
        room.extend_from_slice(answer);
        let begins = kept(&room).map(|kept| kept.begin);
        let begin = begins.into_iter().find(|begin| room.len() - begin <= KEPT_MAX);
        let begin = begin.unwrap_or(room.len());
        // Without room the repetition is ignored, as one that is too old.
        self.blobs.replace(&mut self.calls[slot].answers, &room[begin..]);
        self.buffers.scratch = room;
    }

    /// A hash of the fields that request and answer of one transaction share (RFC 3261 section
    /// 17.2.3).
    fn transaction(&self, message: &[u8]) -> Option<u64> {
        let cseq = CSeq::parse(first_value(message, HeaderId::CSeq)?).ok()?;
        let mut hasher = foldhash::fast::FixedState::with_seed(self.config.seed).build_hasher();
        hasher.write(top_branch(first_value(message, HeaderId::Via)));
        hasher.write_u32(cseq.number);
        hasher.write(cseq.method.as_bytes());
        Some(hasher.finish())
    }

    /// Counts a message that the peer sent again, for the step that received it first.
    fn note_repetition(&mut self, slot: Slot, step: u16) {
        self.counters.retransmissions_received += 1;
        if step != NO_STEP {
            self.step_counts(slot, step).retransmissions += 1;
        }
    }

    /// Handles a message for a call that has ended. The request that ended the call and got a plain
    /// 200 gets it again; `left` is the mark of that request.
    pub(in crate::engine) fn late(
        &mut self,
        message: &Message<'_>,
        left: u32,
        datagram: &Incoming<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let &Incoming { socket, source, .. } = datagram;
        self.trace_stray(socket, source, cx.at, message.bytes());
        // Without a To tag in the request, the answer had a tag of the scenario, which is no longer
        // known.
        let is_last = left != 0
            && message.to_tag().is_some()
            && self.config.rules.retransmission.enabled
            && message.method().is_some()
            && mark(self.duplicate_hash(message)) == left;
        if is_last && self.reply_stateless(message.bytes(), 200, "OK", socket, source, cx.tx) {
            self.counters.retransmissions_received += 1;
            self.counters.retransmissions_sent += 1;
            return;
        }
        self.counters.dead_call_messages += 1;
        self.tracer.record(NO_CALL, 0, NO_STEP, Event::Late { message: message.bytes() });
    }

    /// Notes that the call ends with a 200 to the message of `hash`.
    pub(in crate::engine) fn note_farewell(&mut self, slot: Slot, hash: u64) {
        let call = &mut self.calls[slot];
        call.trigger = Heard { hash, step: call.step, is_automatic: true };
        call.is_plain_ok = true;
    }

    /// A hash that is equal for all transmissions of one message; never 0.
    pub(in crate::engine) fn duplicate_hash(&self, message: &Message<'_>) -> u64 {
        let mut hasher = foldhash::fast::FixedState::with_seed(self.config.seed).build_hasher();
        match self.config.rules.duplicate_check {
            DuplicateCheck::Full => hasher.write(message.bytes()),
            DuplicateCheck::Loose => {
                for id in [HeaderId::To, HeaderId::From, HeaderId::CallId, HeaderId::CSeq] {
                    hasher.write(message.first(id).unwrap_or_default());
                }
                if let Some(code) = message.status() {
                    hasher.write_u16(code);
                    hasher.write(message.body());
                }
            }
        }
        hasher.finish() | 1
    }
}

fn is_response(message: &[u8]) -> bool {
    message.starts_with(b"SIP/2.0 ")
}
