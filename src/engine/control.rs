//! Requests of the control side while calls go on: rate, users, limit, pause, questions.
//!
//! Figures are those of the whole run; each engine takes its share. No function here runs per call,
//! so all may allocate.

use gossipper_uring::TxArena;

use super::arrivals::circuits::BusyCircuits;
use super::arrivals::pacing::share;
use super::call::census::Census;
use super::call::{NO_CIRCUIT, Phase};
use super::{Arrivals, Cx, Engine, Handled};
use crate::scenario::StepKind;
use crate::stats::{CallTotals, FailureCause, TraceKind};
use crate::trace::{Event, Kinds, NO_CALL, NO_STEP};

/// Longest text of a variable that is reported whole.
const VALUE_MAX: usize = 256;
/// Most busy circuits in one answer.
const CIRCUITS_MAX: usize = 4096;

/// A request of the control side to one worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkerRequest {
    /// Start and accept no more calls; open ones go on.
    StopNewCalls,
    /// End every open call with BYE or CANCEL.
    CancelCalls,
    /// End now, even if calls are open.
    StopNow,
    /// A new rate, in calls per period over all workers.
    SetRate(f64),
    /// Another number of users, over all workers.
    SetUsers(u64),
    /// Another limit of open calls, over all workers.
    SetCallLimit(u64),
    /// Another number of calls to make since the start, over all workers; `None` is no limit.
    SetCallsTotal(Option<u64>),
    /// Pause or resume the start of calls.
    SetPaused(bool),
    /// Make records of these kinds only.
    SetTrace(Kinds),
    /// Serve requests that belong to no call, or refuse them. Open calls go on, and calls that we
    /// make. Refusing costs nothing but the answer: 503 with Retry-After (RFC 3261 section 21.5.4),
    /// which is counted as
    /// [`WithheldCause::ListenerOff`](crate::stats::WithheldCause::ListenerOff).
    SetAccepting(bool),
    /// Answer with the global variables, and record them as warnings.
    TellVariables,
    /// Answer with the circuits in use.
    TellCircuits,
    /// Answer with the numbers of calls.
    TellCalls,
    /// Answer with the events that open calls wait for.
    TellWaits,
}

impl WorkerRequest {
    /// Tells whether it asks for an answer and changes nothing.
    pub fn is_question(&self) -> bool {
        match self {
            Self::TellVariables | Self::TellCircuits | Self::TellCalls | Self::TellWaits => true,
            Self::StopNewCalls
            | Self::CancelCalls
            | Self::StopNow
            | Self::SetRate(_)
            | Self::SetUsers(_)
            | Self::SetCallLimit(_)
            | Self::SetCallsTotal(_)
            | Self::SetPaused(_)
            | Self::SetTrace(_)
            | Self::SetAccepting(_) => false,
        }
    }
}

/// A worker's answer to a question about the calls that it has. Answers are few and bounded: a
/// worker makes one only when it is asked, and drops it where no queue takes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `TellVariables`: the global variables that have a value, by name.
    Variables(Vec<(String, String)>),
    /// To `TellCircuits`.
    Circuits(BusyCircuits),
    /// To `TellCalls`: the present numbers, not those of the end of a second.
    Calls(CallTotals),
    /// To `TellWaits`.
    Waits(Census),
}

impl Engine {
    pub(super) fn on_request(&mut self, request: WorkerRequest, now: u64) {
        let answer = match request {
            WorkerRequest::StopNewCalls => return self.stop_new_calls(now),
            WorkerRequest::CancelCalls => {
                self.cancelling.get_or_insert(0);
                return self.stop_new_calls(now);
            }
            WorkerRequest::StopNow => {
                self.is_stopping = true;
                return self.stop_new_calls(now);
            }
            WorkerRequest::SetRate(rate) => return self.set_rate(rate, now),
            WorkerRequest::SetUsers(users) => return self.set_users(users, now),
            WorkerRequest::SetCallLimit(limit) => return self.set_call_limit(limit),
            WorkerRequest::SetCallsTotal(total) => return self.set_calls_total(total),
            WorkerRequest::SetPaused(paused) => return self.set_paused(paused, now),
            WorkerRequest::SetTrace(kinds) => return self.set_trace(kinds),
            WorkerRequest::SetAccepting(accepting) => return self.is_listening = accepting,
            WorkerRequest::TellVariables => Answer::Variables(self.tell_variables()),
            WorkerRequest::TellCircuits => Answer::Circuits(self.busy_circuits(CIRCUITS_MAX)),
            WorkerRequest::TellCalls => Answer::Calls(CallTotals::of(&self.counters)),
            WorkerRequest::TellWaits => Answer::Waits(self.census(now)),
        };
        self.outbox.answers.push_back(answer);
    }

    /// Starts and accepts no more calls.
    fn stop_new_calls(&mut self, now: u64) {
        self.accepting = false;
        if let Some(pacer) = &mut self.pacer {
            pacer.stop();
        }
        self.end_rtp_only(now);
    }

    /// Ends open calls where that was demanded, as many per turn as the arena holds: each ends with
    /// a message of its own. A run that stops has no further turn for the rest of them.
    pub(super) fn end_calls(&mut self, now: u64, tx: &mut TxArena, reserve: usize) -> Handled {
        let Some(from) = self.cancelling else { return Handled::Done };
        self.cancelling = self.cancel_calls(from, now, tx, reserve);
        if self.is_stopping {
            self.give_up_calls(now);
            self.cancelling = None;
        }
        if self.cancelling.is_some() { Handled::NeedsRoom } else { Handled::Done }
    }

    /// Ends open calls from slot `from` on: a dialog is ended with BYE or CANCEL, and the call
    /// counts as cancelled. Stops when `reserve` slots of the arena are left, and returns the slot
    /// from which to go on after a flush; `None` when all calls are ended.
    fn cancel_calls(
        &mut self,
        from: u32,
        now: u64,
        tx: &mut TxArena,
        reserve: usize,
    ) -> Option<u32> {
        for slot in from..self.calls.used() {
            if self.calls[slot].phase == Phase::Running {
                if tx.free() <= reserve {
                    return Some(slot);
                }
                let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
                self.abort(slot, FailureCause::Cancelled, &mut cx);
            }
        }
        None
    }

    /// Ends all open calls at once, as cancelled, without a message to their peers.
    fn give_up_calls(&mut self, now: u64) {
        for slot in 0..self.calls.used() {
            if self.calls[slot].phase == Phase::Running {
                self.end(slot, Some(FailureCause::Cancelled), now);
            }
        }
    }

    /// Changes the rate (calls per period over all workers). Has no effect if no schedule starts
    /// the calls.
    fn set_rate(&mut self, rate: f64, now: u64) {
        if let Some(pacer) = &mut self.pacer {
            pacer.set_rate(rate, now);
        }
    }

    /// Pauses or resumes the start of calls.
    fn set_paused(&mut self, paused: bool, now: u64) {
        self.users_paused = paused;
        if let Some(pacer) = &mut self.pacer {
            pacer.set_paused(paused, now);
        }
    }

    /// Changes the number of users over all workers. Surplus users finish their current call. Has
    /// no effect in a run without users.
    fn set_users(&mut self, total: u64, now: u64) {
        if !matches!(self.config.arrivals, Arrivals::Users(_)) {
            return;
        }
        let share = share(total, self.config.worker, self.config.workers);
        let users = u32::try_from(share).unwrap_or(u32::MAX);
        self.idle_users.retain(|&(user, _)| user < users);
        if users > self.users {
            let mut is_calling = vec![false; users as usize];
            for slot in 0..self.calls.used() {
                let call = &self.calls[slot];
                if call.phase == Phase::Running
                    && !call.incoming
                    && let Some(calling) = is_calling.get_mut(call.user as usize)
                {
                    *calling = true;
                }
            }
            // A user that was removed and comes back may still be in its last call.
            let fresh = (self.users..users).filter(|&user| !is_calling[user as usize]);
            self.idle_users.extend(fresh.rev().map(|user| (user, now)));
            let values = self.variables.user_values_each * users as usize;
            if values > self.variables.user_values.len() {
                self.variables.user_values.resize_with(values, Default::default);
            }
        }
        self.users = users;
    }

    /// Changes the limit of open calls over all workers; calls that are already open stay.
    fn set_call_limit(&mut self, total: u64) {
        self.active_max = share(total, self.config.worker, self.config.workers);
    }

    /// Changes the number of calls since the start, over all workers; `None` is no limit.
    fn set_calls_total(&mut self, total: Option<u64>) {
        let (worker, workers) = (self.config.worker, self.config.workers);
        self.created_max = total.map_or(u64::MAX, |total| share(total, worker, workers));
    }

    /// Ends the open calls of the out-of-call program: the run is over, and SIPp does not wait for
    /// them either. A call that only waits for repetitions counts as complete.
    pub(super) fn end_out_of_call(&mut self, now: u64) {
        for slot in 0..self.calls.used() {
            let call = &self.calls[slot];
            if call.phase == Phase::Running && call.out_of_call {
                let steps = &self.program_of(slot).program.steps;
                let step = steps.get(usize::from(call.step)).map(|step| &step.kind);
                let is_over = matches!(step, Some(StepKind::Timewait(_)));
                self.end(slot, Some(FailureCause::Cancelled).filter(|_| !is_over), now);
            }
        }
    }

    /// Returns the global variables that have a value, by name; long values are cut. Each is also
    /// recorded as a warning, so that it reaches the error log.
    fn tell_variables(&mut self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        for bound in &self.programs {
            for (name, &index) in bound.program.global_variables.iter().zip(&bound.base.globals) {
                let mut text = Vec::new();
                self.value_text(&self.variables.global_values[usize::from(index)], &mut text);
                text.truncate(VALUE_MAX);
                if !text.is_empty() && all.iter().all(|(known, _)| known != name) {
                    all.push((name.clone(), String::from_utf8_lossy(&text).into_owned()));
                }
            }
        }
        for (name, value) in &all {
            let text = format!("global variable ${name} = {value}");
            self.tracer.record(NO_CALL, 0, NO_STEP, Event::Warning(text.as_bytes()));
        }
        all
    }

    /// Records a warning that belongs to no call.
    pub(super) fn warn(&mut self, text: &str) {
        if self.tracer.wants(TraceKind::Warning) {
            self.tracer.record(NO_CALL, 0, NO_STEP, Event::Warning(text.as_bytes()));
        }
    }

    /// Returns up to `most` of the circuits that calls hold.
    fn busy_circuits(&self, most: usize) -> BusyCircuits {
        let held = (0..self.calls.used())
            .map(|slot| self.calls[slot].circuit)
            .filter(|&circuit| circuit != NO_CIRCUIT);
        let mut busy = BusyCircuits::default();
        for circuit in held {
            busy.count += 1;
            if busy.circuits.len() < most {
                busy.circuits.push(circuit);
            }
        }
        busy
    }
}
