//! Questions to workers for screens whose figures are in no report, and the collected answers.

use std::time::Duration;

use super::facts;
use super::supervisor::Supervisor;
use super::view::View;
use crate::dataplane::{Answer, WorkerRequest};
use crate::engine::{BusyCircuits, Census, CircuitMap, Wait};
use crate::output::screen::Footer;
use crate::output::units;
use crate::stats::CallTotals;

/// Period at which the dashboard is drawn.
const DASHBOARD_NS: u64 = 250_000_000;
/// Period at which workers are asked about the events that open calls wait for.
const WAITS_NS: u64 = 1_000_000_000;

/// The open questions to workers, and their answers so far.
pub(super) struct Questions {
    /// Time of the next question.
    next_ns: u64,
    /// Period of questions about circuits.
    period_ns: u64,
    /// True if statistics were reset, which the workers do not know.
    is_reset: bool,
    map: Option<CircuitMap>,
    /// The last answer of each worker about its circuits.
    circuits: Vec<BusyCircuits>,
    /// The answer of each worker about its calls, until all have answered.
    calls: Vec<Option<CallTotals>>,
    /// The answer of each worker about waiting calls, until all have answered.
    waits: Vec<Option<Census>>,
}

impl Questions {
    /// Creates it without questions. Circuits, if there are some, are asked for every `period_ns`.
    pub(super) fn new(workers: usize, map: Option<CircuitMap>, period_ns: u64) -> Self {
        Self {
            next_ns: 0,
            period_ns,
            is_reset: false,
            map,
            circuits: vec![BusyCircuits::default(); workers],
            calls: vec![None; workers],
            waits: vec![None; workers],
        }
    }

    /// Makes the next question due at once, because another screen is shown.
    pub(super) fn hurry(&mut self) {
        self.next_ns = 0;
    }

    /// Notes a reset of the statistics: from now on the figures of workers are not those of the
    /// run.
    pub(super) fn note_reset(&mut self) {
        self.is_reset = true;
    }

    /// Asks for the figures of the present screen, if that is due.
    pub(super) fn ask(&mut self, run: &mut Supervisor, view: &View, now: u64) {
        if now < self.next_ns {
            return;
        }
        let (command, period_ns) = if view.is_dashboard() && !self.is_reset {
            (WorkerRequest::TellCalls, DASHBOARD_NS)
        } else if view.shows_circuits() && self.map.is_some() {
            (WorkerRequest::TellCircuits, self.period_ns)
        } else if let Some(period_ns) = view.progress_ns().filter(|_| run.is_waiting()) {
            (WorkerRequest::TellWaits, period_ns.max(WAITS_NS))
        } else {
            return;
        };
        self.next_ns = now + period_ns;
        for worker in run.workers_mut() {
            worker.send(command);
        }
    }

    /// Asks for the global variables. A scenario that writes some has one worker; otherwise all
    /// workers have the same values.
    pub(super) fn ask_for_variables(run: &mut Supervisor) {
        if let Some(worker) = run.workers_mut().next() {
            worker.send(WorkerRequest::TellVariables);
        }
    }

    /// Takes the answers that have come, and shows them.
    pub(super) fn take_answers(
        &mut self,
        run: &mut Supervisor,
        view: &mut View,
        footer: Footer,
        now: u64,
    ) {
        let mut has_circuits = false;
        for (index, worker) in run.workers_mut().enumerate() {
            while let Ok(answer) = worker.answers.pop() {
                match answer {
                    Answer::Variables(variables) => view.say(&variables_text(&variables)),
                    Answer::Circuits(busy) => {
                        has_circuits = true;
                        self.circuits[index] = busy;
                    }
                    Answer::Calls(calls) => self.calls[index] = Some(calls),
                    Answer::Waits(census) => self.waits[index] = Some(census),
                }
            }
        }
        if let Some(map) = self.map.as_ref().filter(|_| has_circuits) {
            view.show_circuits(facts::circuits(map, &self.circuits), footer);
        }
        if !self.calls.is_empty() && self.calls.iter().all(Option::is_some) {
            let sum = self.calls.iter_mut().filter_map(Option::take).sum();
            let elapsed = Duration::from_nanos(now.saturating_sub(run.start_ns()));
            view.show_calls(elapsed, sum, footer);
        }
        if !self.waits.is_empty() && self.waits.iter().all(Option::is_some) {
            let mut all = Census::default();
            self.waits.iter_mut().filter_map(Option::take).for_each(|census| all.add(&census));
            view.show_waiting(waiting_text(&all, run.drains_until_ns(), now));
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

/// A text about the events that the run waits for. It also gives the longest wait, if that is
/// known: until the drain is over, or the last call gives up.
fn waiting_text(census: &Census, drains_until_ns: Option<u64>, now: u64) -> String {
    let total: u64 = census.waits.iter().map(|&(_, calls)| calls).sum();
    let calls = if total == 1 { "call" } else { "calls" };
    let mut waits = census.waits.clone();
    waits.sort_by_key(|&(_, calls)| std::cmp::Reverse(calls));
    let reasons: Vec<String> = match waits.as_slice() {
        [(wait, _)] => vec![wait_text(*wait)],
        several => several
            .iter()
            .take(3)
            .map(|&(wait, calls)| format!("{} {}", units::count(calls), wait_text(wait)))
            .collect(),
    };
    let until_ns = [drains_until_ns, census.longest_ns].into_iter().flatten().min();
    let left_s = until_ns.map(|until_ns| until_ns.saturating_sub(now).div_ceil(1_000_000_000));
    let left = left_s.map_or(String::new(), |left_s| format!(", up to {left_s} s"));
    format!("waiting for {} {calls} ({}){left}", units::count(total), reasons.join(", "))
}

fn wait_text(wait: Wait) -> String {
    match wait {
        Wait::Answer(method) => format!("{} unanswered", method.name().unwrap_or("request")),
        Wait::Request => "for a request of the peer".to_owned(),
        Wait::Pause => "in a pause".to_owned(),
        Wait::Command => "for a command".to_owned(),
        Wait::Room => "for room to send".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::MethodId;

    #[test]
    fn a_wait_has_its_reasons_and_its_limit() {
        const SECOND_NS: u64 = 1_000_000_000;
        let unanswered = Census {
            waits: vec![(Wait::Answer(MethodId::Invite), 20)],
            longest_ns: Some(131 * SECOND_NS + 500_000_000),
        };
        let now = 100 * SECOND_NS;
        let text = waiting_text(&unanswered, None, now);
        assert_eq!(text, "waiting for 20 calls (INVITE unanswered), up to 32 s");
        let text = waiting_text(&unanswered, Some(105 * SECOND_NS), now);
        assert_eq!(text, "waiting for 20 calls (INVITE unanswered), up to 5 s");
        // The time at which a peer hangs up is unknown.
        let mut all = Census { waits: vec![(Wait::Request, 1)], longest_ns: None };
        assert_eq!(waiting_text(&all, None, now), "waiting for 1 call (for a request of the peer)");
        all.add(&unanswered);
        let text = waiting_text(&all, None, now);
        let reasons = "20 INVITE unanswered, 1 for a request of the peer";
        assert_eq!(text, format!("waiting for 21 calls ({reasons})"));
        // A worker without calls changes nothing.
        let mut alone = unanswered.clone();
        alone.add(&Census::default());
        assert_eq!(alone, unanswered);
    }
}
