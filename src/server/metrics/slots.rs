//! Slots: labels for engines whose counters never fall.
//!
//! The label `engine` has few values, however many dynamic clients come and go. An engine of the
//! configuration is exposed under its id. A dynamic one gets the lowest free of `dynamic-0`,
//! `dynamic-1` and so on; `gossipper_run_info` has its id. The counts of the earlier runs of a slot
//! stay in its figures.

use std::collections::BTreeMap;

use super::figures::EngineFigures;
use super::totals::{Names, Responses, Steps, Totals, steps_by_program};
use crate::stats::FailureCause;

/// The identity of one run among the runs of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Generation {
    run_id: String,
    start_ns: u64,
}

#[derive(Debug)]
struct Slot {
    label: String,
    /// Id of the engine in it.
    occupant: Option<String>,
    generation: Option<Generation>,
    names: Names,
    /// Sum of the runs before.
    carried: Totals,
    /// The run of `generation`, as last seen.
    current: Totals,
    /// The steps of its programs. A program that another has replaced goes once no call follows it.
    programs: BTreeMap<u8, Steps>,
}

/// An engine's label and figures.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) label: String,
    pub(super) totals: Totals,
    pub(super) responses_sent: Responses,
    pub(super) responses_received: Responses,
}

impl Slot {
    /// Ends the current run: its figures stay. Calls whose end was not seen count as cancelled, as
    /// an engine that is removed cancels its calls.
    fn carry(&mut self) {
        let mut ended = std::mem::take(&mut self.current);
        let open = ended.counters.calls_active();
        ended.counters.calls_failed += open;
        ended.counters.failures.bump_by(FailureCause::Cancelled, open);
        self.carried.add(&ended);
        self.programs.clear();
        self.generation = None;
    }

    fn take_in(&mut self, engine: &EngineFigures) -> Sum {
        let lifetime = &engine.lifetime;
        let generation =
            Generation { run_id: engine.run_id.clone(), start_ns: lifetime.start.monotonic_ns };
        let has_fallen = lifetime.counters.calls_started() < self.current.counters.calls_started();
        if has_fallen || self.generation.as_ref() != Some(&generation) {
            self.carry();
        }
        self.generation = Some(generation);
        self.current = Totals::of(lifetime, &mut self.names);
        let programs = steps_by_program(lifetime, &mut self.names);
        for (number, steps) in std::mem::take(&mut self.programs) {
            // A number is used again once no call follows its program.
            if programs.get(&number).is_none_or(|later| !follows(later, &steps)) {
                self.carried.add_steps(&steps);
            }
        }
        programs.values().for_each(|steps| self.current.add_steps(steps));
        self.programs = programs;
        let mut totals = self.carried.clone();
        totals.add(&self.current);
        Sum {
            label: self.label.clone(),
            responses_sent: self.names.responses_sent(&totals.messages.sent),
            responses_received: self.names.responses_received(&totals.messages.received),
            totals,
        }
    }
}

/// Tells whether `later` can be the same steps as `earlier`, some time after.
fn follows(later: &Steps, earlier: &Steps) -> bool {
    earlier
        .iter()
        .all(|(step, before)| later.get(step).is_some_and(|now| now.has_grown_from(before)))
}

/// All slots, including those whose engine is gone.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
}

impl Slots {
    /// The label and the figures of each engine, in their order.
    pub(super) fn take_in(&mut self, engines: &[EngineFigures]) -> Vec<Sum> {
        for slot in &mut self.slots {
            let is_gone = |id: &String| !engines.iter().any(|engine| engine.id == *id);
            if slot.occupant.as_ref().is_some_and(is_gone) {
                slot.carry();
                slot.occupant = None;
            }
        }
        let exposed = engines.iter().map(|engine| {
            let index = self.slot_of(engine, engines);
            self.slots[index].take_in(engine)
        });
        exposed.collect()
    }

    fn slot_of(&mut self, engine: &EngineFigures, engines: &[EngineFigures]) -> usize {
        let holds = |slot: &Slot| slot.occupant.as_ref() == Some(&engine.id);
        if let Some(index) = self.slots.iter().position(holds) {
            return index;
        }
        let label = if engine.is_dynamic() {
            let is_taken = |label: &String| {
                let in_use = |slot: &Slot| slot.label == *label && slot.occupant.is_some();
                let is_id = |other: &EngineFigures| !other.is_dynamic() && other.id == *label;
                self.slots.iter().any(in_use) || engines.iter().any(is_id)
            };
            let mut labels = (0..).map(|number| format!("dynamic-{number}"));
            labels.find(|label| !is_taken(label)).unwrap_or_default()
        } else {
            engine.id.clone()
        };
        let occupant = Some(engine.id.clone());
        if let Some(index) = self.slots.iter().position(|slot| slot.label == label) {
            self.slots[index].occupant = occupant;
            return index;
        }
        self.slots.push(Slot {
            label,
            occupant,
            generation: None,
            names: Names::default(),
            carried: Totals::default(),
            current: Totals::default(),
            programs: BTreeMap::new(),
        });
        self.slots.len() - 1
    }
}
