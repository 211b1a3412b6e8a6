//! Input of the engine: requests, received messages, and time.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use gossipper_uring::Driver;
use rtrb::Consumer;

use super::super::demux::Arrival;
use super::super::third_party::link::Tell;
use super::{HELD_MAX, Handover, SOCKETS_PER_TURN, TX_RESERVE, Worker};
use crate::engine::{Handled, Incoming, Input, WorkerRequest};
use crate::media::{Medium, MediumInput};
use crate::stats::{Counters, DropCause};

impl<D: Driver, M: Medium> Worker<D, M> {
    fn handle(&mut self, input: Input<'_>, now: u64) -> Handled {
        self.engine.handle(input, now, self.network.sip_tx())
    }

    /// Passes requests of the control side on, and ends calls if one of them says so.
    pub(super) fn take_requests(&mut self, now: u64) {
        while let Ok(request) = self.links.requests.pop() {
            self.stopping |= request == WorkerRequest::StopNow;
            self.handle(Input::Request(request), now);
            self.note_undone();
        }
        let reserve = self.cancel_reserve;
        self.hurry |= self.handle(Input::EndCalls { reserve }, now) == Handled::NeedsRoom;
    }

    /// Handles received messages and datagrams: SIP goes to the engine, the rest to the medium.
    pub(super) fn receive(&mut self, now: u64) {
        let receiver = self.index;
        let Self { network, engine, medium, links, own, held, .. } = self;
        let left = network.drain(|arrival, tx| {
            match arrival {
                Arrival::Message(datagram) => {
                    match engine.handle(Input::Datagram(datagram), now, tx) {
                        Handled::HandOver(owner) => {
                            links.hand_over(Handover::of(&datagram, receiver, owner), own);
                        }
                        Handled::NeedsMedia => {
                            hold(held, Handover::of(&datagram, receiver, Some(receiver)), own);
                        }
                        Handled::Done | Handled::NeedsRoom | Handled::NeedsSocket => {}
                    }
                }
                Arrival::Failure(input) => _ = engine.handle(input, now, tx),
                Arrival::Medium(input) => medium.handle(input, now, tx),
                Arrival::Stray => {
                    own.parse_errors += 1;
                    own.drops.bump(DropCause::NoOwner);
                }
            }
            if tx.free() > TX_RESERVE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.hurry |= left.is_break();
        while let Some(event) = self.network.take_connection_event() {
            self.handle(Input::Connection(event), now);
        }
    }

    /// Handles datagrams that other workers received.
    pub(super) fn take_handovers(&mut self, now: u64) {
        while self.network.sip_tx().free() > TX_RESERVE {
            let Some(Ok(mut handover)) = self.links.handover_in.as_mut().map(Consumer::pop) else {
                return;
            };
            let passes_on = handover.owner.is_some_and(|owner| owner != self.index)
                && handover.hops < self.workers;
            if passes_on {
                handover.hops += 1;
                self.links.hand_over(handover, &mut self.own);
                continue;
            }
            match self.handle_handover(&handover, now) {
                Handled::Done => {}
                Handled::NeedsMedia => hold(&mut self.held, handover, &mut self.own),
                Handled::HandOver(_) | Handled::NeedsRoom | Handled::NeedsSocket => {
                    handover.hops += 1;
                    self.links.hand_over(handover, &mut self.own);
                }
            }
        }
        self.hurry = true;
    }

    fn handle_handover(&mut self, handover: &Handover, now: u64) -> Handled {
        let datagram = Incoming {
            socket: match handover.receiver == self.index {
                true => handover.socket,
                false => self.main_socket,
            },
            source: handover.source,
            payload: &handover.payload,
            received_ns: handover.received_ns,
            // Back at the worker that received it: no worker knows its call.
            is_final: handover.hops >= self.workers,
        };
        self.handle(Input::Datagram(datagram), now)
    }

    /// Handles datagrams whose calls waited for sockets of the medium.
    pub(super) fn take_held(&mut self, now: u64) {
        for _ in 0..self.held.len() {
            if self.network.sip_tx().free() <= TX_RESERVE {
                break;
            }
            let Some(handover) = self.held.pop_front() else { return };
            match self.handle_handover(&handover, now) {
                Handled::NeedsMedia => {
                    self.held.push_front(handover);
                    break;
                }
                Handled::HandOver(_) => self.links.hand_over(handover, &mut self.own),
                Handled::Done | Handled::NeedsRoom | Handled::NeedsSocket => {}
            }
        }
        // The medium opens sockets at the end of this turn.
        self.hurry |= !self.held.is_empty();
    }

    /// Lets calls that wait go on, fires timers, and starts the calls that are due.
    pub(super) fn pass_time(&mut self, now: u64) {
        let reserve = TX_RESERVE;
        if self.medium.next_deadline_ns() <= now {
            self.medium.handle(MediumInput::Time { reserve }, now, self.network.medium_tx());
        }
        self.drive(now, || Input::Reopen { reserve });
        self.handle(Input::Resume, now);
        self.drive(now, || Input::Timers { reserve });
        // A call that begins with a command needs to know which instances are reachable.
        self.hear_other_instances(now);
        // While turns are a grain apart, a call starts in the turn nearest to its time.
        let lead_ns = self.wakes.lead_ns(now);
        self.drive(now, || Input::Arrivals { lead_ns, reserve });
    }

    /// Hands an input in until it is done, with the sockets that it asks for.
    fn drive(&mut self, now: u64, input: impl Fn() -> Input<'static>) {
        for opened in 0..=SOCKETS_PER_TURN {
            match self.handle(input(), now) {
                Handled::NeedsSocket if opened < SOCKETS_PER_TURN => self.open_socket(now),
                Handled::NeedsMedia if opened < SOCKETS_PER_TURN => {
                    self.carry_out_for_medium(now);
                }
                Handled::NeedsSocket | Handled::NeedsMedia | Handled::NeedsRoom => break,
                Handled::Done | Handled::HandOver(_) => return,
            }
        }
        self.hurry = true;
    }

    /// Handles commands of other instances (3PCC), and news of them.
    fn hear_other_instances(&mut self, now: u64) {
        let Some(mut third_party) = self.links.third_party.take() else { return };
        while self.network.sip_tx().free() > TX_RESERVE {
            let input = match third_party.read() {
                None => break,
                Some(Tell::Command(text)) => Input::PeerCommand(text),
                Some(Tell::Unfinished) => Input::PeerGarbage,
                Some(Tell::Reachable(peer)) => Input::PeerReachable(peer),
                Some(Tell::Gone(peer)) => Input::PeerGone(peer),
            };
            match self.handle(input, now) {
                Handled::NeedsSocket => {
                    third_party.hold_command();
                    self.open_socket(now);
                }
                Handled::NeedsMedia => {
                    third_party.hold_command();
                    self.carry_out_for_medium(now);
                    self.hurry = true;
                    break;
                }
                Handled::Done | Handled::HandOver(_) | Handled::NeedsRoom => {}
            }
        }
        self.hurry |= third_party.has_more();
        self.links.third_party = Some(third_party);
    }

    /// Opens a socket for a call, if there may be one more.
    fn open_socket(&mut self, now: u64) {
        let per_call = self.per_call.as_ref().filter(|per_call| self.sockets_open < per_call.max);
        // Without a free descriptor or port, calls share the existing sockets.
        let socket = per_call.and_then(|per_call| self.network.open_sip(&per_call.spec).ok());
        self.sockets_open += usize::from(socket.is_some());
        let socket = socket.map(|socket| (socket, self.network.sip_addr(socket).port()));
        self.handle(Input::Socket(socket), now);
    }
}

/// Keeps a datagram until the medium has opened sockets.
fn hold(held: &mut VecDeque<Handover>, datagram: Handover, own: &mut Counters) {
    match held.len() < HELD_MAX {
        true => held.push_back(datagram),
        false => own.handover_dropped += 1,
    }
}
