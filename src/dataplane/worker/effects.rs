//! Output of the engine other than messages: effects and records.

use super::super::link::Link;
use super::Worker;
use crate::engine::{Effect, Input};

impl<D: Link> Worker<D> {
    /// Carries out what the engine asks for. Never waits: what finds a queue full is dropped, and
    /// counted where it matters.
    pub(super) fn carry_out(&mut self, now: u64) {
        let links = &mut self.links;
        let mut wakes_control = false;
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Close(socket) => self.driver.close(socket),
                Effect::Stop(request) => {
                    // A full queue holds an earlier request of the same weight.
                    let _ = links.stops.push(request);
                    wakes_control = true;
                }
                Effect::Note(text) => {
                    // A full queue has enough to tell too. The engine has counted a warning.
                    wakes_control |= self.told.admits(&text, now) && links.notes.push(text).is_ok();
                }
                // Answers that the control side does not collect are dropped.
                Effect::Answer(answer) => wakes_control |= links.answers.push(answer).is_ok(),
                Effect::Shell(command) => {
                    let shell = links.shell.as_mut();
                    if !shell.is_some_and(|shell| shell.push(command).is_ok()) {
                        self.engine.handle(Input::ShellFull, now, self.driver.tx());
                    }
                }
                Effect::PeerCommand { peer, text } => {
                    let third_party = links.third_party.as_mut();
                    if !third_party.is_some_and(|end| end.push(peer, text)) {
                        break;
                    }
                    self.engine.handle(Input::PeerCommandTaken, now, self.driver.tx());
                }
            }
        }
        if let Some(third_party) = &mut links.third_party {
            third_party.wake();
        }
        if wakes_control {
            links.wake_control();
        }
    }

    /// Moves the turn's records to the queue of the writer thread, and wakes it if it is idle.
    /// Never waits: records that find no room are counted by kind.
    pub(super) fn hand_on_records(&mut self) {
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
