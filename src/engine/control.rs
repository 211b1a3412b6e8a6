//! Changes while calls go on: rate, users, limit, pause.
//!
//! Figures are those of the whole run; each engine takes its share. No function here runs per call,
//! so all may allocate.

use super::arrivals::circuits::BusyCircuits;
use super::arrivals::pacing::{Pacer, share};
use super::call::{NO_CIRCUIT, Phase};
use super::{Arrivals, Engine};
use crate::scenario::StepKind;
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{Event, NO_CALL, NO_STEP};

/// Longest text of a variable that is reported whole.
const VALUE_MAX: usize = 256;

impl Engine {
    /// Changes the rate (calls per period over all workers). Has no effect if no schedule starts
    /// the calls.
    pub fn set_rate(&mut self, rate: f64, now: u64) {
        if let Some(pacer) = &mut self.pacer {
            pacer.set_rate(rate, now);
        }
    }

    /// The rate in calls per period over all workers.
    pub fn rate(&self) -> f64 {
        self.pacer.as_ref().map_or(0.0, Pacer::rate)
    }

    /// Pauses or resumes the start of calls.
    pub fn set_paused(&mut self, paused: bool, now: u64) {
        self.users_paused = paused;
        if let Some(pacer) = &mut self.pacer {
            pacer.set_paused(paused, now);
        }
    }

    /// Serves or refuses requests that belong to no call. Open calls go on, and so do calls that we
    /// make. Refusing costs only the answer: 503 with Retry-After (RFC 3261 section 21.5.4), which
    /// is counted as [`WithheldCause::ListenerOff`](crate::stats::WithheldCause::ListenerOff).
    pub fn set_accepting(&mut self, accepting: bool) {
        self.is_listening = accepting;
    }

    /// Changes the number of users over all workers. Surplus users finish their current call. Has
    /// no effect in a run without users.
    pub fn set_users(&mut self, total: u64, now: u64) {
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
            let values = self.user_values_each * users as usize;
            if values > self.user_values.len() {
                self.user_values.resize_with(values, Default::default);
            }
        }
        self.users = users;
    }

    /// Changes the limit of open calls over all workers; calls that are already open stay.
    pub fn set_call_limit(&mut self, total: u64) {
        self.active_max = share(total, self.config.worker, self.config.workers);
    }

    /// Changes the number of calls since the start, over all workers; `None` is no limit.
    pub fn set_calls_total(&mut self, total: Option<u64>) {
        let (worker, workers) = (self.config.worker, self.config.workers);
        self.created_max = total.map_or(u64::MAX, |total| share(total, worker, workers));
    }

    /// Ends the open calls of the out-of-call program: the run is over, and SIPp does not wait for
    /// them either. A call that only waits for repetitions counts as complete.
    pub fn end_out_of_call(&mut self, now: u64) {
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
    pub fn tell_variables(&mut self, now: u64) -> Vec<(String, String)> {
        self.tracer.set_now(now);
        let mut all: Vec<(String, String)> = Vec::new();
        for bound in &self.programs {
            for (name, &index) in bound.program.global_variables.iter().zip(&bound.base.globals) {
                let mut text = Vec::new();
                self.value_text(&self.global_values[usize::from(index)], &mut text);
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
    pub fn warn(&mut self, text: &str, now: u64) {
        if self.tracer.wants(TraceKind::Warning) {
            self.tracer.set_now(now);
            self.tracer.record(NO_CALL, 0, NO_STEP, Event::Warning(text.as_bytes()));
        }
    }

    /// Returns up to `most` of the circuits that calls hold.
    pub fn busy_circuits(&self, most: usize) -> BusyCircuits {
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
