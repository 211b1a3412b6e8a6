//! Exchange of a run's programs while calls go on. Calls that begin after the exchange follow the
//! new programs; open calls keep theirs to their end.
//!
//! Each program has a number for as long as a call may follow it. No function here runs per call,
//! so all may allocate; the reports, which are large, are allocated by the caller.
//! [`Generations`](crate::engine::Generations) decides beforehand whether programs fit a run.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::engine::programs::bound::{Base, Bound, Varying};
use crate::engine::{Engine, Footprint, Programs};
use crate::scenario::Program;
use crate::stats::{Layout, Report};

/// The programs for the new calls of one engine, with the data and memory that it needs for them.
#[derive(Debug)]
pub struct Swap {
    /// The programs, with the numbers that `layout` gives them.
    pub programs: Programs,
    /// The next layout of the engine.
    pub layout: Arc<Layout>,
    /// Addresses of the names in the programs' `<setdest>` actions.
    pub hosts: Vec<(String, IpAddr)>,
    /// Empty reports of `layout`; the engine takes one, its worker the others.
    pub reports: Vec<Box<Report>>,
    /// Reports of the earlier layout that the worker had in store, for the control side to free.
    pub stale: Vec<Box<Report>>,
}

impl Engine {
    /// Tells whether programs can be exchanged now: `<init>` runs on a call of the pool, which may
    /// be full.
    pub fn can_swap(&self, swap: &Swap) -> bool {
        !swap.reports.is_empty()
            && (self.calls.has_room() || swap.programs.all().all(|program| program.init.is_empty()))
    }

    /// Exchanges the programs at the end of an interval, and returns the interval's report. Returns
    /// `None`, with nothing changed, if [`can_swap`](Self::can_swap) does not hold.
    pub fn swap(&mut self, swap: &mut Swap) -> Option<Box<Report>> {
        if !self.can_swap(swap) {
            return None;
        }
        let mut full = std::mem::replace(&mut self.report, swap.reports.pop()?);
        self.fill_report(&mut full);
        for (all, kept) in [
            (&mut self.report.generic_counters, &full.generic_counters),
            (&mut self.report.displays, &full.displays),
        ] {
            all.iter_mut().zip(kept).for_each(|(all, kept)| *all = *kept);
        }
        self.report.messages.copy_from(&full.messages);
        // Programs that already ran their `<init>` are skipped.
        let current = [Some(self.main), self.receiving, self.out_of_call];
        let is_current = |program: &Arc<Program>| {
            let mut programs = current.iter().flatten();
            programs
                .any(|&number| Arc::ptr_eq(&self.programs[usize::from(number)].program, program))
        };
        let known: Vec<bool> = swap.programs.all().map(is_current).collect();
        self.keep_programs(&swap.layout, &full);
        let globals_before = self.names.globals.len();
        self.add_programs(&swap.programs, &swap.layout);
        self.make_room(&swap.programs);
        for (name, ip) in &swap.hosts {
            let hosts = &mut self.config.data.hosts;
            match hosts.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = *ip,
                None => hosts.push((name.clone(), *ip)),
            }
        }
        self.set_globals(globals_before);
        for (index, is_known) in known.into_iter().enumerate() {
            if !is_known {
                self.initialise(self.numbers[index]);
            }
        }
        Some(full)
    }

    /// Moves the counts of the programs that stay, and drops the others, which have no calls.
    fn keep_programs(&mut self, layout: &Layout, full: &Report) {
        let main = Rc::clone(self.main_program());
        for number in 0..self.programs.len() {
            let Some(place) = layout.place_of(number as u8) else {
                debug_assert_eq!(self.calls_of[number], 0, "program {number} has calls");
                if self.calls_of[number] == 0 {
                    self.programs[number] = Rc::clone(&main);
                }
                continue;
            };
            let bound = &self.programs[number];
            let count = bound.program.steps.len();
            let from = bound.base.step.replace(layout.first_step(place));
            let to = bound.base.step.get();
            if let (Some(to), Some(from)) =
                (self.report.steps.get_mut(to..to + count), full.steps.get(from..from + count))
            {
                to.copy_from_slice(from);
            }
        }
    }

    /// Binds the new programs, which new calls follow from now on.
    fn add_programs(&mut self, programs: &Programs, layout: &Layout) {
        self.numbers = layout.programs.iter().map(|program| program.number).collect();
        for (index, program) in programs.all().enumerate() {
            let number = usize::from(self.numbers[index]);
            let base = Base::new(program, index, layout, &mut self.names);
            let bound = Rc::new(Bound::new(
                Arc::clone(program),
                base,
                programs.clips.of(index, program),
                &self.config.environment,
                Varying::of(program, &self.config),
            ));
            if self.programs.len() <= number {
                self.programs.resize_with(number + 1, || Rc::clone(&bound));
                self.calls_of.resize(number + 1, 0);
            }
            self.programs[number] = bound;
        }
        self.main = self.numbers[0];
        self.receiving = programs.receiving_index().map(|index| self.numbers[usize::from(index)]);
        self.out_of_call =
            programs.out_of_call_index().map(|index| self.numbers[usize::from(index)]);
    }

    /// Widens the rows of each call and user, if a new program needs more.
    fn make_room(&mut self, programs: &Programs) {
        let room = Footprint::default().with(programs, &self.names);
        let slots = self.calls.used() as usize;
        widen(
            &mut self.variables.call_values,
            &mut self.variables.call_values_each,
            room.call_values,
            slots,
        );
        widen(&mut self.variables.rtd_starts, &mut self.variables.rtds_each, room.rtds, slots);
        widen(&mut self.named, &mut self.named_each, room.named, slots);
        let users = (self.users as usize).max(1);
        let known = self
            .variables
            .user_values
            .len()
            .checked_div(self.variables.user_values_each)
            .unwrap_or(0);
        let rows = known.max(users);
        widen(
            &mut self.variables.user_values,
            &mut self.variables.user_values_each,
            room.user_values,
            rows,
        );
        self.variables.global_values.resize_with(self.names.globals.len(), Default::default);
    }
}

/// Widens each of `rows` rows from `*each` to `wanted` values, if that is more.
fn widen<T: Default>(values: &mut Vec<T>, each: &mut usize, wanted: usize, rows: usize) {
    if wanted <= *each {
        return;
    }
    let before = std::mem::replace(each, wanted);
    let mut old = std::mem::take(values).into_iter();
    values.reserve_exact(rows * wanted);
    for row in 1..=rows {
        values.extend(old.by_ref().take(before));
        values.resize_with(row * wanted, T::default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_values_when_they_grow() {
        let (mut values, mut each) = (vec![1, 2, 3, 4], 2);
        widen(&mut values, &mut each, 3, 2);
        assert_eq!((&values[..], each), (&[1, 2, 0, 3, 4, 0][..], 3));
        widen(&mut values, &mut each, 2, 2);
        assert_eq!((values.len(), each), (6, 3));
        let (mut values, mut each) = (Vec::new(), 0);
        widen(&mut values, &mut each, 2, 3);
        assert_eq!((&values[..], each), (&[0; 6][..], 2));
    }
}
