//! Figures that are on the screen and in no report. The run is asked for them.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use super::facts;
use super::view::View;
use crate::control::{ControlledRun, Refusal, Reply, Request, Told, Wait, Waits};
use crate::engine::CircuitMap;
use crate::output::screen::Footer;
use crate::output::units;

/// Period at which the dashboard is drawn.
const DASHBOARD_NS: u64 = 250_000_000;
/// Period of the question which events open calls wait for.
const WAITS_NS: u64 = 1_000_000_000;
/// Most questions that wait for their answers at one time.
const WAITING_MAX: usize = 32;

/// The open questions to workers, and their answers so far.
pub(super) struct Questions {
    /// Time from which on the run is asked again.
    next_ns: u64,
    /// Period of questions about circuits.
    period_ns: u64,
    /// True if statistics were reset, which does not change the workers' figures.
    is_reset: bool,
    map: Option<CircuitMap>,
    /// Replies that have not come yet.
    waiting: Vec<Waiting>,
}

/// A reply that has not come yet.
struct Waiting {
    reply: Receiver<Reply>,
    /// True if the user asked. Other questions are asked again soon, so that their refusal needs no
    /// handling.
    is_command: bool,
}

impl Questions {
    /// Creates it without questions. Circuits, if there are any, are asked for every `period_ns`.
    pub(super) fn new(map: Option<CircuitMap>, period_ns: u64) -> Self {
        Self { next_ns: 0, period_ns, is_reset: false, map, waiting: Vec::new() }
    }

    /// Makes the next question due at once, because another screen is shown.
    pub(super) fn hurry(&mut self) {
        self.next_ns = 0;
    }

    /// Notes a reset of the statistics. From now on the figures of workers differ from those of the
    /// run.
    pub(super) fn note_reset(&mut self) {
        self.is_reset = true;
    }

    /// Asks for the figures of the present screen, if that is due.
    pub(super) fn ask(&mut self, run: &mut ControlledRun, view: &View, now: u64) {
        if now < self.next_ns {
            return;
        }
        let (request, period_ns) = if view.is_dashboard() && !self.is_reset {
            (Request::TellCalls, DASHBOARD_NS)
        } else if view.shows_circuits() && self.map.is_some() {
            (Request::TellCircuits, self.period_ns)
        } else if let Some(period_ns) = view.progress_ns().filter(|_| run.run().is_waiting()) {
            (Request::TellWaits, period_ns.max(WAITS_NS))
        } else {
            return;
        };
        self.next_ns = now + period_ns;
        // With too many open questions the next turn asks.
        let _ = self.put(run, request, false, now);
    }

    /// Sends a request of the user whose answer comes later.
    ///
    /// # Errors
    /// Too many questions are open.
    pub(super) fn command(
        &mut self,
        run: &mut ControlledRun,
        request: Request,
        now: u64,
    ) -> Result<(), Refusal> {
        self.put(run, request, true, now)
    }

    fn put(
        &mut self,
        run: &mut ControlledRun,
        request: Request,
        is_command: bool,
        now: u64,
    ) -> Result<(), Refusal> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refusal::Busy);
        }
        self.waiting.push(Waiting { reply: run.tell(request, now), is_command });
        Ok(())
    }

    /// Takes the answers that have come, and shows them.
    pub(super) fn take_answers(
        &mut self,
        run: &ControlledRun,
        view: &mut View,
        footer: Footer,
        now: u64,
    ) {
        let mut told = Vec::new();
        self.waiting.retain(|waiting| match waiting.reply.try_recv() {
            Ok(reply) => {
                match reply.into_result() {
                    Ok(facts) => told.extend(facts),
                    Err(refusal) if waiting.is_command => view.say(&refusal.to_string()),
                    Err(_) => {}
                }
                false
            }
            Err(error) => error == TryRecvError::Empty,
        });
        for told in told {
            match (told, &self.map) {
                (Told::Variables(variables), _) => view.say(&variables_text(&variables)),
                (Told::Circuits(circuits), Some(map)) => {
                    view.show_circuits(facts::circuits(map, &circuits), footer);
                }
                (Told::Calls(calls), _) => {
                    let elapsed = now.saturating_sub(run.run().start_ns());
                    view.show_calls(Duration::from_nanos(elapsed), calls, footer);
                }
                (Told::Waits(waits), _) => view.show_waiting(waiting_text(&waits)),
                (Told::Circuits(_), None) | (Told::Layout(_), _) => {}
            }
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
fn waiting_text(waits: &Waits) -> String {
    let total: u64 = waits.calls.iter().map(|&(_, calls)| calls).sum();
    let calls = if total == 1 { "call" } else { "calls" };
    let mut sorted: Vec<&(Wait, u64)> = waits.calls.iter().collect();
    sorted.sort_by_key(|&(_, calls)| std::cmp::Reverse(calls));
    let reasons: Vec<String> = match sorted.as_slice() {
        [(wait, _)] => vec![wait_text(wait)],
        several => several
            .iter()
            .take(3)
            .map(|(wait, calls)| format!("{} {}", units::count(*calls), wait_text(wait)))
            .collect(),
    };
    let left_s = waits.left_ns.map(|left_ns| left_ns.div_ceil(1_000_000_000));
    let left = left_s.map_or(String::new(), |left_s| format!(", up to {left_s} s"));
    format!("waiting for {} {calls} ({}){left}", units::count(total), reasons.join(", "))
}

fn wait_text(wait: &Wait) -> String {
    match wait {
        Wait::Answer(method) => format!("{} unanswered", method.as_deref().unwrap_or("request")),
        Wait::Request => "for a request of the peer".to_owned(),
        Wait::Pause => "in a pause".to_owned(),
        Wait::Command => "for a command".to_owned(),
        Wait::Room => "for room to send".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_its_reasons_and_its_limit() {
        let unanswered = (Wait::Answer(Some("INVITE".to_owned())), 20);
        let one = Waits { calls: vec![unanswered.clone()], left_ns: Some(31_500_000_000) };
        assert_eq!(waiting_text(&one), "waiting for 20 calls (INVITE unanswered), up to 32 s");
        // The time at which a peer hangs up is unknown.
        let mut all = Waits { calls: vec![(Wait::Request, 1)], left_ns: None };
        assert_eq!(waiting_text(&all), "waiting for 1 call (for a request of the peer)");
        all.calls.push(unanswered);
        let reasons = "20 INVITE unanswered, 1 for a request of the peer";
        assert_eq!(waiting_text(&all), format!("waiting for 21 calls ({reasons})"));
    }
}
