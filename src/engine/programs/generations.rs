//! Checks of which programs a run may go on with, and the layout of their figures. Both are needed
//! before engines are told to exchange programs.
//!
//! There is one [`Generations`] for the whole run, on the control side. Programs that came together
//! are a generation. A replaced program lives on until its last call has ended.

use std::sync::Arc;

use thiserror::Error;

use crate::engine::programs::bound::SharedNames;
use crate::engine::programs::layout::next_layout;
use crate::engine::{EngineConfig, Footprint, Programs};
use crate::scenario::{Action, Field, InjectionTable, Mode, Program, Template};
use crate::stats::Layout;

/// Most earlier generations that calls may still follow.
const EARLIER_MAX: usize = 8;
/// Most transactions and durations, each with histograms, that a run may measure through all its
/// generations.
const MEASURED_MAX: usize = 64;
/// Most counters and displays through all generations.
const COUNTED_MAX: usize = 1024;
/// Most names of global variables, and of user variables, through all generations: more than the
/// first three programs can have. An engine numbers them with 16 bits, and drops none, since a
/// value lasts even while no program uses it.
const SHARED_NAMES_MAX: usize = 1 << 14;

/// The reason why a run cannot go on with other programs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SwapRefused {
    /// An earlier exchange has not reached all workers.
    #[error("the last exchange of scenarios has not reached all workers; try again in a second")]
    UnderWay,
    /// Too many generations are alive.
    #[error(
        "calls of {EARLIER_MAX} earlier scenarios are still open; wait for them to end, or stop \
         the run"
    )]
    TooManyGenerations,
    /// One program makes calls and the other answers them.
    #[error("the scenario {new} calls, but the run {old} calls; start another run for it")]
    Mode {
        /// The verb for the new program: it makes or answers calls.
        new: &'static str,
        /// The verb for the run's program.
        old: &'static str,
    },
    /// A program uses third-party call control.
    #[error("<sendCmd> and <recvCmd> tie a scenario to other instances, so it stays for the run")]
    ThirdParty,
    /// The run was not prepared for calls that arrive beside those that it makes.
    #[error("the run has no {what} scenario, and cannot get one while it goes on")]
    NoSuchRole {
        /// `receiving` or `out-of-call`.
        what: &'static str,
    },
    /// Calls share variables, and the run has several workers.
    #[error(
        "the scenario writes global or user variables, which calls share, and the run has \
         {workers} workers; start it with one (-workers 1)"
    )]
    SharedVariables {
        /// Number of workers.
        workers: usize,
    },
    /// The program runs shell commands, for which the run was not prepared.
    #[error("the scenario runs shell commands, for which the run was not prepared")]
    Commands,
    /// The program has media, for which the run was not prepared.
    #[error(
        "the scenario has media, for which the run was not prepared; start it again with this \
         scenario"
    )]
    Media,
    /// The program uses a circuit, and the run has none.
    #[error("the scenario writes a circuit, and the run has no map of them (-tdmmap)")]
    Circuits,
    /// The program reads an injection file that the run does not have.
    #[error(
        "the scenario reads injection file {file}, and the run has {known}; compile it with the \
         files of the run"
    )]
    InjectionFiles {
        /// Number of the file, from 1.
        file: usize,
        /// Number of injection files of the run.
        known: usize,
    },
    /// The run has seen too many names of shared variables.
    #[error(
        "the scenarios of this run have too many different {what} variables by now ({count}, at \
         most {SHARED_NAMES_MAX}); start it again"
    )]
    TooManyVariables {
        /// `global` or `user`.
        what: &'static str,
        /// Number of names with the new program.
        count: usize,
    },
    /// The run has seen too many names of measurements.
    #[error(
        "the scenarios of this run measure too many different things ({count} {what}, at most \
         {max}); start it again"
    )]
    TooManyNames {
        /// Kind of the measurements.
        what: &'static str,
        /// Number with the new program.
        count: usize,
        /// The limit.
        max: usize,
    },
}

/// The programs of a run through all exchanges, with the layout of their figures.
#[derive(Clone, Debug)]
pub struct Generations {
    programs: Programs,
    layout: Arc<Layout>,
    /// Names of shared variables that engines know so far.
    names: SharedNames,
    footprint: Footprint,
    /// Numbers below this belong to the first generation for good: traces know their names.
    first_number: u8,
    next_number: u8,
    workers: usize,
    pause_ms: u64,
    tables: usize,
    has_circuits: bool,
    runs_commands: bool,
    has_media: bool,
}

impl Generations {
    /// Creates the record for a run of so many workers that begins with `programs`.
    /// `runs_commands` is true if the run can execute shell commands.
    pub fn new(
        programs: Programs,
        layout: Arc<Layout>,
        config: &EngineConfig,
        workers: usize,
        runs_commands: bool,
    ) -> Self {
        let first_number = layout.programs.len() as u8;
        let mut names = SharedNames::default();
        names.add_all(&programs);
        Self {
            footprint: Footprint::default().with(&programs, &names),
            names,
            programs,
            layout,
            first_number,
            next_number: first_number,
            workers,
            pause_ms: config.rules.pause_ms,
            tables: config.data.tables.len(),
            has_circuits: config.data.circuits.is_some(),
            runs_commands,
            has_media: false,
        }
    }

    /// The same record of a run whose workers have media.
    pub fn with_media(self, has_media: bool) -> Self {
        Self { has_media, ..self }
    }

    /// The programs that new calls follow.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The layout of the run's figures.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The present room of each call and each user.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The room of each call and each user once `programs` are added.
    ///
    /// # Errors
    /// The programs would bring too many variables.
    pub fn footprint_with(&self, programs: &Programs) -> Result<Footprint, SwapRefused> {
        Ok(self.footprint.with(programs, &self.names_with(programs)?))
    }

    fn names_with(&self, programs: &Programs) -> Result<SharedNames, SwapRefused> {
        let mut names = self.names.clone();
        names.add_all(programs);
        for (what, count) in [("global", names.globals.len()), ("user", names.users.len())] {
            if count > SHARED_NAMES_MAX {
                return Err(SwapRefused::TooManyVariables { what, count });
            }
        }
        Ok(names)
    }

    /// Lets new calls follow `programs`; `calls` are the numbers of calls of each program of the
    /// layout. Returns the next layout.
    ///
    /// # Errors
    /// The reason why the run cannot go on with `programs`; nothing has changed then.
    pub fn advance(
        &mut self,
        programs: Programs,
        calls: &[u64],
    ) -> Result<Arc<Layout>, SwapRefused> {
        self.check(&programs)?;
        let names = self.names_with(&programs)?;
        let before = &*self.layout;
        // Current programs may have got calls since they were counted.
        let stays = |index: usize| {
            before.programs[index].generation == before.generation
                || calls.get(index).is_some_and(|&calls| calls > 0)
        };
        let mut earlier: Vec<u32> = (0..before.programs.len())
            .filter(|&index| stays(index))
            .map(|index| before.programs[index].generation)
            .collect();
        earlier.dedup();
        if earlier.len() > EARLIER_MAX {
            return Err(SwapRefused::TooManyGenerations);
        }
        let all: Vec<&Program> = programs.all().map(|program| &**program).collect();
        let (numbers, next_number) = self.numbers(all.len());
        let layout = next_layout(before, stays, &all, &numbers, self.pause_ms);
        let measured = layout.transactions.len() + layout.rtds.len();
        let counted = layout.counters.len() + layout.displays.len();
        for (what, count, known, max) in [
            (
                "transactions and durations",
                measured,
                before.transactions.len() + before.rtds.len(),
                MEASURED_MAX,
            ),
            (
                "counters and displays",
                counted,
                before.counters.len() + before.displays.len(),
                COUNTED_MAX,
            ),
        ] {
            if count > max && count > known {
                return Err(SwapRefused::TooManyNames { what, count, max });
            }
        }
        self.next_number = next_number;
        self.footprint = self.footprint.with(&programs, &names);
        self.names = names;
        self.programs = programs;
        self.layout = Arc::new(layout);
        Ok(Arc::clone(&self.layout))
    }

    /// Returns numbers for `count` programs that no program has, and where to look for the next
    /// ones.
    fn numbers(&self, count: usize) -> (Vec<u8>, u8) {
        let mut next = self.next_number;
        let mut numbers = Vec::with_capacity(count);
        // A few dozen are in use at most.
        for _ in 0..=u8::MAX {
            if numbers.len() == count {
                break;
            }
            if self.layout.place_of(next).is_none() {
                numbers.push(next);
            }
            next = next.checked_add(1).unwrap_or(self.first_number);
        }
        (numbers, next)
    }

    /// Checks that the run can go on with programs of this kind, as far as time does not change the
    /// answer.
    ///
    /// # Errors
    /// The reason why it cannot.
    pub fn check(&self, programs: &Programs) -> Result<(), SwapRefused> {
        let (old, new) = (&self.programs, programs);
        let verb = |mode: Mode| match mode {
            Mode::Client => "makes",
            Mode::Server => "answers",
        };
        if old.main.mode != new.main.mode {
            let (new, old) = (verb(new.main.mode), verb(old.main.mode));
            return Err(SwapRefused::Mode { new, old });
        }
        if old.all().chain(new.all()).any(|program| program.third_party_role.is_some()) {
            return Err(SwapRefused::ThirdParty);
        }
        if new.receiving.is_some() && old.receiving.is_none() {
            return Err(SwapRefused::NoSuchRole { what: "receiving" });
        }
        if new.out_of_call.is_some() && old.out_of_call.is_none() {
            return Err(SwapRefused::NoSuchRole { what: "out-of-call" });
        }
        let workers = self.workers;
        if workers > 1 && new.all().any(|program| program.writes_shared_variables) {
            return Err(SwapRefused::SharedVariables { workers });
        }
        if !self.runs_commands && new.all().any(|program| program.runs_commands()) {
            return Err(SwapRefused::Commands);
        }
        if !self.has_media && new.all().any(|program| program.uses_media) {
            return Err(SwapRefused::Media);
        }
        let fields =
            || new.all().flat_map(|program| program.templates()).flat_map(Template::fields);
        if !self.has_circuits && fields().any(|field| *field == Field::Circuit) {
            return Err(SwapRefused::Circuits);
        }
        let actions = new.all().flat_map(|program| program.steps.iter().chain(&program.init));
        let in_actions = actions.flat_map(|step| &step.actions).filter_map(|action| match action {
            Action::Lookup { table: InjectionTable::Known(table), .. }
            | Action::Insert { table: InjectionTable::Known(table), .. }
            | Action::Replace { table: InjectionTable::Known(table), .. } => Some(*table),
            _ => None,
        });
        let in_fields = fields().filter_map(|field| match field {
            Field::Injected(injected) => Some(injected.table),
            _ => None,
        });
        let last = in_actions.chain(in_fields).max().map_or(0, |table| usize::from(table) + 1);
        if last > self.tables {
            return Err(SwapRefused::InjectionFiles { file: last, known: self.tables });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::layout;

    fn programs(name: &str) -> Programs {
        Programs::from(Arc::new(crate::scenario::load_builtin(name, &[]).unwrap()))
    }

    fn generations(first: Programs) -> Generations {
        Generations {
            layout: Arc::new(layout(&[&first.main], 0)),
            names: SharedNames::default(),
            footprint: Footprint::of(&first),
            programs: first,
            first_number: 1,
            next_number: 1,
            workers: 1,
            pause_ms: 0,
            tables: 0,
            has_circuits: false,
            runs_commands: false,
            has_media: false,
        }
    }

    #[test]
    fn names_of_variables_end_before_their_numbers_do() {
        type NamesOf = fn(&mut Program) -> &mut Vec<String>;
        let with_names = |round: usize, of: NamesOf| {
            let mut program = crate::scenario::load_builtin("uac", &[]).unwrap();
            *of(&mut program) = (0..4096).map(|index| format!("v{round}_{index}")).collect();
            Programs::from(Arc::new(program))
        };
        let kinds: [(&str, NamesOf); 2] = [
            ("global", |program| &mut program.global_variables),
            ("user", |program| &mut program.user_variables),
        ];
        for (what, of) in kinds {
            let mut generations = generations(programs("uac"));
            for round in [0, 1, 2, 3, 3, 0] {
                generations.advance(with_names(round, of), &[]).unwrap();
            }
            let before = generations.footprint();
            let refused = generations.advance(with_names(4, of), &[]).unwrap_err();
            assert_eq!(refused, SwapRefused::TooManyVariables { what, count: 5 * 4096 });
            assert_eq!(generations.footprint(), before);
            assert_eq!(before.user_bytes() > 4 * 4096 * 16, what == "user");
        }
    }

    #[test]
    fn hundreds_of_exchanges_leave_nothing_behind() {
        let mut generations = generations(programs("uac"));
        for round in 0..1_000 {
            let before = Arc::clone(generations.layout());
            // The last but one generation still has a call now and then.
            let calls: Vec<u64> = (0..before.programs.len())
                .map(|index| u64::from(index == 1 && round % 3 == 0))
                .collect();
            let name = ["options", "uac"][round % 2];
            let after = generations.advance(programs(name), &calls).unwrap();
            assert_eq!(after.generation, before.generation + 1);
            assert!(after.programs.len() <= 3);
            assert_eq!(after.transactions, ["INVITE", "BYE", "OPTIONS"]);
            let mut numbers: Vec<u8> = after.programs.iter().map(|own| own.number).collect();
            // Numbers of the first generation are never given again.
            assert!(numbers[0] > 0);
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), after.programs.len());
        }
        // From here on calls of every generation stay open.
        generations.advance(programs("uac"), &[]).unwrap();
        for _ in 1..EARLIER_MAX {
            generations.advance(programs("uac"), &[1; 16]).unwrap();
        }
        let refused = generations.advance(programs("uac"), &[1; 16]);
        assert_eq!(refused.unwrap_err(), SwapRefused::TooManyGenerations);
    }
}
