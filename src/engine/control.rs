//! What a person or a program changes while calls go on: rate, users, limit, pause.
//!
//! Figures are those of the whole run; each engine takes its share. None of this happens per call,
//! so it may allocate.

use super::call::Phase;
use super::pacing::{Pacer, share};
use super::{Arrivals, Engine};

impl Engine {
    /// Changes the rate (calls per period over all workers). Nothing happens where calls are not
    /// started by a schedule.
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

    /// Serves or refuses requests that belong to no call. Open calls go on, and calls that we make.
    /// Refusing costs nothing but the answer: 503 with Retry-After (RFC 3261 section 21.5.4), which
    /// is counted as [`WithheldCause::ListenerOff`](crate::stats::WithheldCause::ListenerOff).
    pub fn set_accepting(&mut self, accepting: bool) {
        self.is_listening = accepting;
    }

    /// Changes the number of users over all workers. Users that are too many finish the call that
    /// they are in. Nothing happens in a run without users.
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
            // One that was taken away and comes back may still be in its last call.
            let fresh = (self.users..users).filter(|&user| !is_calling[user as usize]);
            self.idle_users.extend(fresh.rev().map(|user| (user, now)));
            let values = self.user_values_each * users as usize;
            if values > self.user_values.len() {
                self.user_values.resize_with(values, Default::default);
            }
        }
        self.users = users;
    }

    /// Changes how many calls may be open at once over all workers; those that are open stay.
    pub fn set_call_limit(&mut self, total: u64) {
        self.active_max = share(total, self.config.worker, self.config.workers);
    }
}
