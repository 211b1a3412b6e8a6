//! One call's state, and the slab that holds all calls of a worker.

pub mod blob;
pub(in crate::engine) mod call_ids;
pub(in crate::engine) mod census;
pub(in crate::engine) mod footprint;
pub mod ids;
pub mod lookup;
pub(in crate::engine) mod variables;

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use gossipper_uring::{SocketId, TxOrder};

use crate::engine::call::blob::Blob;
use crate::engine::call::lookup::CallIdHash;
use crate::engine::dialog::DialogState;
use crate::engine::transport::connections::NO_SLOT;
use crate::media::LegId;
use crate::sip::MethodId;
use crate::stats::{FailureCause, NO_RATE_STEP};

/// Index of a call in its worker's slab.
pub(in crate::engine) type Slot = u32;

/// No step, no user, no transaction.
pub(in crate::engine) const NO_INDEX: u16 = u16::MAX;

/// No circuit of a TDM trunk.
pub(in crate::engine) const NO_CIRCUIT: u32 = u32::MAX;

/// The use of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// None; the slot is on the free list.
    Free,
    /// A call that runs its scenario.
    Running,
    /// A call that has failed and is counted, but still ends its dialog with the peer.
    Lingering,
}

/// The progress of the INVITE that we sent (RFC 3261 sections 13 and 17.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum InviteState {
    /// None was sent.
    Idle,
    /// Sent, and no response received.
    Calling,
    /// A provisional response came: the INVITE can be cancelled.
    Proceeding,
    /// A 2xx came: an ACK is owed.
    Answered,
    /// The ACK of the 2xx was sent: there is a dialog.
    Confirmed,
    /// Rejected, or the BYE is on its way: nothing is left to end.
    Over,
}

/// A client transaction whose final response has not come.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct OpenTransaction {
    /// Index into `Program::transactions`; `NO_INDEX` if none is open.
    pub(in crate::engine) stat: u16,
    pub(in crate::engine) cseq: u32,
    /// Time at which its request left (first transmission).
    pub(in crate::engine) sent_ns: u64,
    /// Time at which its request was planned to leave.
    pub(in crate::engine) planned_ns: u64,
}

impl OpenTransaction {
    const NONE: Self = Self { stat: NO_INDEX, cseq: 0, sent_ns: 0, planned_ns: 0 };
}

/// Pending retransmission of the last message sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Retransmit {
    /// The send step; `NO_INDEX` if nothing is pending.
    pub(in crate::engine) step: u16,
    pub(in crate::engine) count: u16,
    pub(in crate::engine) interval_ms: u32,
}

impl Retransmit {
    pub(in crate::engine) const NONE: Self = Self { step: NO_INDEX, count: 0, interval_ms: 0 };

    pub(in crate::engine) fn is_pending(&self) -> bool {
        self.step != NO_INDEX
    }
}

/// A received message, kept to recognise its repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Heard {
    /// The hash of `Engine::duplicate_hash`; 0 means no message.
    pub(in crate::engine) hash: u64,
    /// The step that accepted the message, or at which it was unexpected.
    pub(in crate::engine) step: u16,
    /// True if the message got an automatic 200.
    pub(in crate::engine) is_automatic: bool,
}

impl Heard {
    pub(in crate::engine) const NOTHING: Self =
        Self { hash: 0, step: NO_INDEX, is_automatic: false };

    /// A message that no automatic answer took: the scenario answers it, or nothing does.
    pub(in crate::engine) fn at(step: u16, hash: u64) -> Self {
        Self { hash, step, is_automatic: false }
    }
}

/// The state of a call's media.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct CallMedia {
    /// The leg; `None` if the call's program has no media, or the call has ended.
    pub(in crate::engine) leg: Option<LegId>,
    /// Streams that the call waits for, until packets have come (`rtpcheck`) or a source has ended.
    pub(in crate::engine) awaited: u8,
}

/// One call.
#[derive(Debug)]
pub(in crate::engine) struct Call {
    pub(in crate::engine) generation: u32,
    pub(in crate::engine) phase: Phase,
    pub(in crate::engine) invite_state: InviteState,
    /// `true` if the peer started the call.
    pub(in crate::engine) incoming: bool,
    /// `true` if the Call-ID is not one of ours and stands in the table.
    pub(in crate::engine) foreign: bool,
    /// `true` while the call waits for room to send at `step`.
    pub(in crate::engine) deferred: bool,
    /// `true` if the call answers messages that belong to no call; it is not part of the load.
    pub(in crate::engine) out_of_call: bool,
    /// `true` if the call exchanged commands with another instance (3PCC).
    pub(in crate::engine) commanded: bool,
    /// `true` if the socket is the call's own and returns to the pool at its end.
    pub(in crate::engine) owns_socket: bool,
    /// `true` from `<closecon/>`, or from the peer's close of a connection that it had opened,
    /// until the call has another connection or socket.
    pub(in crate::engine) reopens: bool,
    /// `true` while the call is on the list of its connection.
    pub(in crate::engine) attached: bool,
    /// The call's media.
    pub(in crate::engine) media: CallMedia,
    /// The call before this one on its connection.
    pub(in crate::engine) previous_on_connection: Slot,
    /// The call behind this one on its connection.
    pub(in crate::engine) next_on_connection: Slot,
    /// Index of the program that the call follows.
    pub(in crate::engine) program: u8,
    /// The step that it waits at or will execute next.
    pub(in crate::engine) step: u16,
    pub(in crate::engine) socket: SocketId,
    pub(in crate::engine) local_port: u16,
    pub(in crate::engine) remote: SocketAddr,
    pub(in crate::engine) order: TxOrder,
    pub(in crate::engine) number: u64,
    pub(in crate::engine) user: u32,
    /// The rate step in which the call began; `NO_RATE_STEP` if no schedule began it.
    pub(in crate::engine) rate_step: u32,
    pub(in crate::engine) hash: CallIdHash,
    pub(in crate::engine) started_ns: u64,
    /// Time at which the current step was due: the planned time of a request sent by it.
    pub(in crate::engine) due_ns: u64,
    /// End of the next pause, as set by `<pauserestore>`; 0 if it set none.
    pub(in crate::engine) restored_ns: u64,
    /// Time until which a message may wait for room to be sent; 0 if none waits.
    pub(in crate::engine) send_deadline_ns: u64,
    /// Number of keys that each of the four lines of SRTP was given.
    pub(in crate::engine) crypto_keys: Cell<[u8; 4]>,
    pub(in crate::engine) cseq: u32,
    /// CSeq number of the last INVITE sent or received.
    pub(in crate::engine) invite_cseq: u32,
    /// Status of the last final response, to the INVITE if one was sent; 0 if none came.
    pub(in crate::engine) final_code: u16,
    /// Bits of the methods of the requests that we sent.
    pub(in crate::engine) methods_sent: u32,
    /// Method of the last request received, except ACK: the one that our responses answer.
    pub(in crate::engine) asked: MethodId,
    pub(in crate::engine) invite: OpenTransaction,
    pub(in crate::engine) request: OpenTransaction,
    pub(in crate::engine) retransmit: Retransmit,
    /// The received message that our last send answered.
    pub(in crate::engine) trigger: Heard,
    /// The last received message, until we send.
    pub(in crate::engine) unanswered: Heard,
    /// Earlier accepted messages, newest first.
    pub(in crate::engine) seen: [Heard; 3],
    /// The step that sent `last_sent`; `NO_INDEX` if no step did.
    pub(in crate::engine) sent_step: u16,
    /// The step that sent the last INVITE.
    pub(in crate::engine) invite_step: u16,
    /// The step that sent `ack_sent`; `NO_INDEX` if no step did.
    pub(in crate::engine) ack_step: u16,
    /// Method of the request that `last_sent` answers, as far as it is known without reading it;
    /// `Ack` once no request for that answer can come again.
    pub(in crate::engine) sent_for: MethodId,
    /// True if our last response is a 200 that can be sent again without the call.
    pub(in crate::engine) is_plain_ok: bool,
    /// `true` if another request than ACK was sent since the last INVITE.
    pub(in crate::engine) asked_other: bool,
    /// Mark of the repetition of the request that ended the previous call in this slot; 0 if there
    /// is none, or none that is answered again.
    pub(in crate::engine) left: u32,
    /// The last message that we sent, as it left.
    pub(in crate::engine) last_sent: Blob,
    /// Answers, besides `last_sent`, that are repeated on request; see `repetition`.
    pub(in crate::engine) answers: Blob,
    /// Our ACK of a final response, once something was sent after it.
    pub(in crate::engine) ack_sent: Blob,
    /// Our INVITE, once something else than its ACK was sent while it was open.
    pub(in crate::engine) invite_sent: Blob,
    /// The stored part of the last received message.
    pub(in crate::engine) saved: Blob,
    /// `;tag=...` of the peer, and behind it the remote target.
    pub(in crate::engine) peer: Blob,
    /// Bytes of `peer` that are the tag.
    pub(in crate::engine) peer_tag_len: u32,
    /// The route set: Route header values, comma-separated, in order of use.
    pub(in crate::engine) routes: Blob,
    /// `true` if the first router of the route set is a strict one.
    pub(in crate::engine) routes_strictly: bool,
    /// `true` once a step with `rrs` accepted a message.
    pub(in crate::engine) records_routes: bool,
    /// The state of the dialog that the target and the route set belong to.
    pub(in crate::engine) dialog: DialogState,
    /// `true` once the call hung up in a dialog that another branch of its INVITE made.
    pub(in crate::engine) has_other_dialogs: bool,
    /// A foreign Call-ID.
    pub(in crate::engine) call_id: Blob,
    /// The challenges to answer: for each its kind (`P` of a proxy or `W`), its length in two bytes
    /// and its value.
    pub(in crate::engine) challenge: Blob,
    /// Number of uses of the challenge's nonce.
    pub(in crate::engine) nonce_count: u32,
    /// Our own nonce (cnonce) for the challenge.
    pub(in crate::engine) cnonce: u32,
    /// The circuit that the call holds; `NO_CIRCUIT` is none.
    pub(in crate::engine) circuit: u32,
    /// `true` if the scenario chose the peer; the source of messages does not change it.
    pub(in crate::engine) remote_is_fixed: bool,
    /// The last check of the scenario that failed, and its step: the cause of failure at the call's
    /// end.
    pub(in crate::engine) failed_check: Option<(FailureCause, u16)>,
}

impl Call {
    fn empty(generation: u32) -> Self {
        Self {
            generation,
            phase: Phase::Free,
            invite_state: InviteState::Idle,
            incoming: false,
            foreign: false,
            deferred: false,
            out_of_call: false,
            commanded: false,
            owns_socket: false,
            reopens: false,
            attached: false,
            media: CallMedia::default(),
            previous_on_connection: NO_SLOT,
            next_on_connection: NO_SLOT,
            program: 0,
            step: 0,
            socket: SocketId(0),
            local_port: 0,
            remote: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            order: TxOrder::default(),
            number: 0,
            user: 0,
            rate_step: NO_RATE_STEP,
            hash: CallIdHash::default(),
            started_ns: 0,
            due_ns: 0,
            restored_ns: 0,
            send_deadline_ns: 0,
            crypto_keys: Cell::new([0; 4]),
            cseq: 0,
            invite_cseq: 0,
            final_code: 0,
            methods_sent: 0,
            asked: MethodId::Other,
            invite: OpenTransaction::NONE,
            request: OpenTransaction::NONE,
            retransmit: Retransmit::NONE,
            trigger: Heard::NOTHING,
            unanswered: Heard::NOTHING,
            seen: [Heard::NOTHING; 3],
            sent_step: NO_INDEX,
            invite_step: NO_INDEX,
            ack_step: NO_INDEX,
            sent_for: MethodId::Other,
            is_plain_ok: false,
            asked_other: false,
            left: 0,
            last_sent: Blob::default(),
            answers: Blob::default(),
            ack_sent: Blob::default(),
            invite_sent: Blob::default(),
            saved: Blob::default(),
            peer: Blob::default(),
            peer_tag_len: 0,
            routes: Blob::default(),
            routes_strictly: false,
            records_routes: false,
            dialog: DialogState::None,
            has_other_dialogs: false,
            call_id: Blob::default(),
            challenge: Blob::default(),
            nonce_count: 0,
            cnonce: 0,
            circuit: NO_CIRCUIT,
            remote_is_fixed: false,
            failed_check: None,
        }
    }

    /// `true` from the 2xx to the call's INVITE until the dialog ends.
    pub(in crate::engine) fn has_answer(&self) -> bool {
        self.dialog == DialogState::Confirmed
            || matches!(self.invite_state, InviteState::Answered | InviteState::Confirmed)
    }

    /// All stored strings, to free them.
    pub(in crate::engine) fn blobs_mut(&mut self) -> [&mut Blob; 9] {
        [
            &mut self.last_sent,
            &mut self.answers,
            &mut self.ack_sent,
            &mut self.invite_sent,
            &mut self.saved,
            &mut self.peer,
            &mut self.routes,
            &mut self.call_id,
            &mut self.challenge,
        ]
    }

    /// Notes an accepted message for duplicate detection.
    pub(in crate::engine) fn note_received(&mut self, heard: Heard) {
        self.seen = [self.unanswered, self.seen[0], self.seen[1]];
        self.unanswered = heard;
    }

    /// Notes that a message was sent: it answers the last received one.
    pub(in crate::engine) fn note_sent(&mut self) {
        if self.unanswered != Heard::NOTHING {
            self.seen = [self.trigger, self.seen[0], self.seen[1]];
            self.trigger = self.unanswered;
            self.unanswered = Heard::NOTHING;
        }
    }
}

/// A fixed-capacity slab of calls. Slots are made on first use, so that the pages of an unused pool
/// are never touched, and reused last-in first-out, so that a small load stays in the cache.
pub(in crate::engine) struct Slab {
    calls: Vec<Call>,
    free: Vec<Slot>,
    capacity: usize,
}

impl Slab {
    pub(in crate::engine) fn new(capacity: usize) -> Self {
        Self { calls: Vec::with_capacity(capacity), free: Vec::with_capacity(capacity), capacity }
    }

    pub(in crate::engine) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(in crate::engine) fn in_use(&self) -> usize {
        self.calls.len() - self.free.len()
    }

    pub(in crate::engine) fn has_room(&self) -> bool {
        self.in_use() < self.capacity
    }

    /// The slot and generation of the next call; `None` without room.
    pub(in crate::engine) fn next(&self) -> Option<(Slot, u32)> {
        match self.free.last() {
            Some(&slot) => Some((slot, self.calls[slot as usize].generation)),
            None if self.calls.len() < self.capacity => Some((self.calls.len() as Slot, 0)),
            None => None,
        }
    }

    /// A fresh call in `Phase::Running`.
    pub(in crate::engine) fn allocate(&mut self) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.calls.len() < self.capacity => {
                self.calls.push(Call::empty(0));
                self.calls.len() as Slot - 1
            }
            None => return None,
        };
        self.calls[slot as usize].phase = Phase::Running;
        Some(slot)
    }

    /// Returns a slot to the free list; its strings must have been freed. `left` is the mark of the
    /// repetition of the request that ended the call.
    pub(in crate::engine) fn release(&mut self, slot: Slot, left: u32) {
        let call = &mut self.calls[slot as usize];
        debug_assert!(call.phase != Phase::Free, "slot {slot} released twice");
        debug_assert!(call.media.leg.is_none(), "slot {slot} released with its media");
        debug_assert!(call.blobs_mut().iter().all(|blob| blob.is_empty()));
        *call = Call::empty(call.generation.wrapping_add(1));
        call.left = left;
        self.free.push(slot);
    }

    /// The call in `slot` if it is in use and of that generation.
    pub(in crate::engine) fn current(&self, slot: Slot, generation: u32) -> Option<&Call> {
        self.calls
            .get(slot as usize)
            .filter(|call| call.phase != Phase::Free && call.generation == generation)
    }

    /// The mark of the call that held `slot` before the present or next one.
    pub(in crate::engine) fn left(&self, slot: Slot, generation: u32) -> u32 {
        let next = generation.wrapping_add(1);
        self.calls.get(slot as usize).filter(|call| call.generation == next).map_or(0, |c| c.left)
    }

    /// Slots that were ever used.
    pub(in crate::engine) fn used(&self) -> Slot {
        self.calls.len() as Slot
    }
}

impl std::ops::Index<Slot> for Slab {
    type Output = Call;

    fn index(&self, slot: Slot) -> &Call {
        &self.calls[slot as usize]
    }
}

impl std::ops::IndexMut<Slot> for Slab {
    fn index_mut(&mut self, slot: Slot) -> &mut Call {
        &mut self.calls[slot as usize]
    }
}
