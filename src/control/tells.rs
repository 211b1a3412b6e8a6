//! Questions to all workers of a run. Their answers come one by one and are put together.

use std::sync::mpsc::SyncSender;

use super::reply::{Circuits, Refusal, Reply, Told, Waits};
use crate::dataplane::{Answer, WorkerRequest};
use crate::engine::Census;
use crate::run::supervised::Supervisor;
use crate::stats::CallTotals;

/// The time after which a missing answer is given up.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Most requests that wait for one kind of answer.
const WAITING_MAX: usize = 32;

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Calls,
    Waits,
    Circuits,
    Variables,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Calls, Self::Waits, Self::Circuits, Self::Variables];

    fn request(self) -> WorkerRequest {
        match self {
            Self::Calls => WorkerRequest::TellCalls,
            Self::Waits => WorkerRequest::TellWaits,
            Self::Circuits => WorkerRequest::TellCircuits,
            Self::Variables => WorkerRequest::TellVariables,
        }
    }

    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Calls(_) => Self::Calls,
            Answer::Waits(_) => Self::Waits,
            Answer::Circuits(_) => Self::Circuits,
            Answer::Variables(_) => Self::Variables,
        }
    }
}

/// The waiting requests for one kind of answer.
#[derive(Debug, Default)]
struct Tell {
    /// The answers by worker.
    answers: Vec<Option<Answer>>,
    waiting: Vec<SyncSender<Reply>>,
    until_ns: u64,
}

/// The open questions to the workers of a run.
#[derive(Debug, Default)]
pub(super) struct Tells([Tell; Kind::ALL.len()]);

impl Tells {
    /// Asks the workers, or joins the requests that already wait for the same answer. Each question
    /// for variables reaches the worker: it notes them in the error log each time.
    pub(super) fn ask(
        &mut self,
        run: &mut Supervisor,
        kind: Kind,
        answer: SyncSender<Reply>,
        now: u64,
    ) {
        if self.is_idle() {
            // Answers that came too late belong to an earlier question.
            run.workers_mut().for_each(|worker| while worker.answers.pop().is_ok() {});
        }
        let tell = &mut self.0[kind as usize];
        if tell.waiting.len() == WAITING_MAX {
            let _ = answer.try_send(Reply::Refused(Refusal::Busy));
            return;
        }
        let is_first = tell.waiting.is_empty();
        if is_first || kind == Kind::Variables {
            // A scenario that writes global variables has one worker. In any other, all workers
            // have the same values.
            let asked = if kind == Kind::Variables { 1 } else { usize::MAX };
            let workers = run.workers_mut().take(asked).map(|worker| worker.send(kind.request()));
            let taken: Vec<bool> = workers.collect();
            if taken.contains(&false) {
                let _ = answer.try_send(Reply::Refused(Refusal::Busy));
                return;
            }
            if is_first {
                tell.answers = vec![None; taken.len()];
                tell.until_ns = now + PATIENCE_NS;
            }
        }
        tell.waiting.push(answer);
    }

    /// Tells whether no request waits.
    fn is_idle(&self) -> bool {
        self.0.iter().all(|tell| tell.waiting.is_empty())
    }

    /// Takes the answers that have come, and passes on those that are complete.
    pub(super) fn take(&mut self, run: &mut Supervisor, now: u64) {
        if self.is_idle() {
            return;
        }
        for (index, worker) in run.workers_mut().enumerate() {
            while let Ok(answer) = worker.answers.pop() {
                let tell = &mut self.0[Kind::of(&answer) as usize];
                if let Some(place) = tell.answers.get_mut(index) {
                    *place = Some(answer);
                }
            }
        }
        let drains_until_ns = run.drains_until_ns();
        for tell in self.0.iter_mut().filter(|tell| !tell.waiting.is_empty()) {
            let reply = match tell.answers.iter().all(Option::is_some) {
                true => {
                    let answers = tell.answers.drain(..).flatten();
                    told(answers, drains_until_ns, now).map(Reply::Told)
                }
                false if now >= tell.until_ns => None,
                false => continue,
            };
            let reply = reply.unwrap_or(Reply::Refused(Refusal::Timeout));
            // The requester may have stopped waiting.
            tell.waiting.drain(..).for_each(|waiting| _ = waiting.try_send(reply.clone()));
        }
    }
}

/// The answers of all workers put together; `None` without a worker.
fn told(
    answers: impl Iterator<Item = Answer>,
    drains_until_ns: Option<u64>,
    now: u64,
) -> Option<Told> {
    let mut all: Option<Told> = None;
    let mut census = Census::default();
    for answer in answers {
        all = Some(match (all, answer) {
            (None, Answer::Variables(variables)) => Told::Variables(variables),
            (None, Answer::Calls(calls)) => Told::Calls(calls),
            (Some(Told::Calls(sum)), Answer::Calls(calls)) => {
                Told::Calls([sum, calls].into_iter().sum::<CallTotals>())
            }
            (sum, Answer::Circuits(busy)) => {
                let mut circuits = match sum {
                    Some(Told::Circuits(circuits)) => circuits,
                    _ => Circuits::default(),
                };
                circuits.add(&busy);
                Told::Circuits(circuits)
            }
            (_, Answer::Waits(waits)) => {
                census.add(&waits);
                let until_ns = [drains_until_ns, census.longest_ns].into_iter().flatten().min();
                let left_ns = until_ns.map(|until_ns| until_ns.saturating_sub(now));
                Told::Waits(Waits::of(&census, left_ns))
            }
            (Some(told), _) => told,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Wait as Reason;
    use crate::engine::{BusyCircuits, Wait};
    use crate::sip::MethodId;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_answers_of_workers_are_one() {
        let sum = |answers: Vec<Answer>| told(answers.into_iter(), None, 0).unwrap();
        let calls = |started| CallTotals { started, active: started, ..CallTotals::default() };
        let all = sum(vec![Answer::Calls(calls(2)), Answer::Calls(calls(5))]);
        assert_eq!(all, Told::Calls(calls(7)));
        let busy = |index: u32| BusyCircuits { circuits: vec![index], count: 3 };
        let all = sum(vec![Answer::Circuits(busy(1)), Answer::Circuits(busy(9))]);
        assert_eq!(all, Told::Circuits(Circuits { indices: vec![1, 9], count: 6 }));
        assert_eq!(told(std::iter::empty(), None, 0), None);
    }

    #[test]
    fn a_wait_ends_with_the_drain_or_with_the_last_call() {
        let unanswered = Census {
            waits: vec![(Wait::Answer(MethodId::Invite), 20)],
            longest_ns: Some(131 * SECOND_NS),
        };
        let open = Census { waits: vec![(Wait::Request, 1)], longest_ns: None };
        let now = 100 * SECOND_NS;
        let left = |censuses: &[&Census], drains_until_ns| {
            let answers = censuses.iter().map(|&census| Answer::Waits(census.clone()));
            match told(answers, drains_until_ns, now) {
                Some(Told::Waits(waits)) => (waits.calls.len(), waits.left_ns),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(left(&[&unanswered], None), (1, Some(31 * SECOND_NS)));
        assert_eq!(left(&[&unanswered], Some(105 * SECOND_NS)), (1, Some(5 * SECOND_NS)));
        // The time at which a peer hangs up is unknown.
        assert_eq!(left(&[&open, &unanswered], None), (2, None));
        // A worker without calls changes nothing.
        assert_eq!(left(&[&Census::default(), &unanswered], None), (1, Some(31 * SECOND_NS)));
        let waits = Waits::of(&unanswered, None);
        assert_eq!(waits.calls, [(Reason::Answer(Some("INVITE".to_owned())), 20)]);
    }
}
