//! What is on the screen and in no report: workers are asked for it, their answers put together.

use std::time::Duration;

use super::face::Face;
use super::facts;
use super::supervisor::Supervisor;
use crate::dataplane::{Answer, Command};
use crate::engine::{BusyCircuits, CircuitMap};
use crate::output::screen::Footer;
use crate::stats::CallTotals;

/// How often the dashboard is drawn.
const DASHBOARD_NS: u64 = 250_000_000;

/// See the module's documentation.
pub(super) struct Questions {
    /// When workers are asked again.
    next_ns: u64,
    /// Between two questions about circuits.
    period_ns: u64,
    /// Statistics began anew, and workers do not know of it.
    is_reset: bool,
    map: Option<CircuitMap>,
    /// What each worker last said of its circuits.
    circuits: Vec<BusyCircuits>,
    /// What each worker has said of its calls, until all have.
    calls: Vec<Option<CallTotals>>,
}

impl Questions {
    /// Nothing is asked yet. Circuits, if there are some, are asked for every `period_ns`.
    pub(super) fn new(workers: usize, map: Option<CircuitMap>, period_ns: u64) -> Self {
        Self {
            next_ns: 0,
            period_ns,
            is_reset: false,
            map,
            circuits: vec![BusyCircuits::default(); workers],
            calls: vec![None; workers],
        }
    }

    /// Something else is looked at: whatever is needed for it is asked for at once.
    pub(super) fn hurry(&mut self) {
        self.next_ns = 0;
    }

    /// The statistics begin anew: from here on the figures of workers are not those of the run.
    pub(super) fn note_reset(&mut self) {
        self.is_reset = true;
    }

    /// Asks for what is looked at, if that is due.
    pub(super) fn ask(&mut self, run: &mut Supervisor, face: &Face, now: u64) {
        if now < self.next_ns {
            return;
        }
        let (command, period_ns) = if face.is_dashboard() && !self.is_reset {
            (Command::TellCalls, DASHBOARD_NS)
        } else if face.shows_circuits() && self.map.is_some() {
            (Command::TellCircuits, self.period_ns)
        } else {
            return;
        };
        self.next_ns = now + period_ns;
        for worker in run.workers_mut() {
            worker.send(command);
        }
    }

    /// Asks for the global variables. A scenario that writes some has one worker, and otherwise all
    /// have the same.
    pub(super) fn ask_for_variables(run: &mut Supervisor) {
        if let Some(worker) = run.workers_mut().next() {
            worker.send(Command::TellVariables);
        }
    }

    /// Takes the answers that have come, and shows what they are about.
    pub(super) fn take_answers(
        &mut self,
        run: &mut Supervisor,
        face: &mut Face,
        footer: Footer,
        now: u64,
    ) {
        let mut has_circuits = false;
        for (index, worker) in run.workers_mut().enumerate() {
            while let Ok(answer) = worker.answers.pop() {
                match answer {
                    Answer::Variables(variables) => face.say(&variables_text(&variables)),
                    Answer::Circuits(busy) => {
                        has_circuits = true;
                        self.circuits[index] = busy;
                    }
                    Answer::Calls(calls) => self.calls[index] = Some(calls),
                }
            }
        }
        if let Some(map) = self.map.as_ref().filter(|_| has_circuits) {
            face.show_circuits(facts::circuits(map, &self.circuits), footer);
        }
        if !self.calls.is_empty() && self.calls.iter().all(Option::is_some) {
            let sum = self.calls.iter_mut().filter_map(Option::take).sum();
            let elapsed = Duration::from_nanos(now.saturating_sub(run.start_ns()));
            face.show_calls(elapsed, sum, footer);
        }
    }
}

fn variables_text(variables: &[(String, String)]) -> String {
    if variables.is_empty() {
        return "no global variable has a value".to_owned();
    }
    let texts: Vec<String> =
        variables.iter().map(|(name, value)| format!("${name} = {value}")).collect();
    texts.join(", ")
}
