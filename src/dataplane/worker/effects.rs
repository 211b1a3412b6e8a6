//! Output of engine and medium other than messages: effects and records.

use gossipper_uring::Driver;

use super::{SOCKETS_PER_TURN, Worker};
use crate::engine::{Effect, Input};
use crate::media::{Medium, MediumEffect, MediumInput};

impl<D: Driver, M: Medium> Worker<D, M> {
    /// Carries out the effects of the engine. Never waits: an effect that finds its queue full is
    /// kept if it must not be lost, or else dropped, and counted where it matters.
    pub(super) fn carry_out(&mut self, now: u64) {
        let links = &mut self.links;
        let mut wakes_control = links.stops.push_kept();
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Close(socket) => self.network.close_sip(socket),
                Effect::Stop(request) => {
                    links.stops.push(request);
                    wakes_control = true;
                }
                Effect::Note(text) => {
                    // A full queue already holds enough notes. The engine has counted a warning.
                    wakes_control |= self.told.admits(&text, now) && links.notes.push(text).is_ok();
                }
                // Answers that the control side does not collect are dropped.
                Effect::Answer(answer) => wakes_control |= links.answers.push(answer).is_ok(),
                Effect::Shell(command) => {
                    let shell = links.shell.as_mut();
                    if shell.is_none_or(|shell| shell.push(command).is_err()) {
                        self.engine.handle(Input::ShellFull, now, self.network.sip_tx());
                    }
                }
                Effect::PeerCommand { peer, text } => {
                    let third_party = links.third_party.as_mut();
                    if third_party.is_none_or(|end| !end.push(peer, text)) {
                        break;
                    }
                    self.engine.handle(Input::PeerCommandTaken, now, self.network.sip_tx());
                }
            }
        }
        if let Some(third_party) = &mut links.third_party {
            third_party.wake();
        }
        if wakes_control {
            links.wake_control();
        }
        self.carry_out_for_medium(now);
    }

    pub(super) fn carry_out_for_medium(&mut self, now: u64) {
        let Self { network, medium, engine, .. } = self;
        for _ in 0..SOCKETS_PER_TURN {
            match medium.next_effect() {
                None => return,
                Some(MediumEffect::Open(spec)) => {
                    let input = match network.open_medium(&spec) {
                        Ok((socket, local)) => MediumInput::Opened(socket, local),
                        Err(error) => MediumInput::NotOpened(error),
                    };
                    medium.handle(input, now, network.medium_tx());
                }
                Some(MediumEffect::Close(socket)) => network.close_medium(socket),
                Some(MediumEffect::Tell { call, event }) => {
                    engine.handle(Input::Media { call, event }, now, network.sip_tx());
                }
            }
        }
        self.hurry = true;
    }

    /// Moves the turn's records to the queue of the writer thread, and wakes it if it is idle.
    /// Never waits: records that find no room are counted by kind.
    pub(super) fn hand_on_records(&mut self) {
        self.engine.record_reports();
        if let Some(copies) = &mut self.links.copies {
            self.medium.hand_on_copies(&mut |bytes| copies.push(bytes));
        }
        let tracer = self.engine.tracer_mut();
        let Some((queue, bell)) = &mut self.links.records else { return tracer.clear() };
        let mut any = false;
        tracer.hand_on(|bytes| {
            any = true;
            queue.push(bytes)
        });
        if any {
            bell.ring();
        }
    }
}
