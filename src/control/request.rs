//! Requests to a run.

use serde::{Deserialize, Serialize};

use super::reply::Refusal;
use crate::config::{RATE_MAX, ScenarioSource};
use crate::sinks::Log;

/// A rate in the unit of its requester. A run whose period is the same takes the number as it is:
/// by way of calls per second, rounding would change it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls per period.
    pub calls: f64,
    /// The period, in milliseconds.
    pub period_ms: u64,
}

impl Rate {
    /// A rate in calls per second.
    pub fn per_second(calls: f64) -> Self {
        Self { calls, period_ms: 1000 }
    }

    /// The calls in each period of `period_ms`.
    pub fn in_period(self, period_ms: u64) -> f64 {
        match period_ms == self.period_ms {
            true => self.calls,
            false => self.calls * (period_ms as f64 / self.period_ms as f64),
        }
    }
}

/// A request to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Set the rate.
    SetRate(Rate),
    /// Start no calls for now, or go on. A run that answers calls takes no new ones.
    SetPaused(bool),
    /// Start no calls for now, or go on: the key `p`. Calls of peers are answered all the same, as
    /// in SIPp.
    SetStartsPaused(bool),
    /// Set the number of users.
    SetUsers(u64),
    /// Set the limit of open calls.
    SetCallLimit(u64),
    /// Set the number of calls since the start; `None` is no limit.
    SetCallsTotal(Option<u64>),
    /// Make a listener accept calls or refuse them; open ones go on.
    SetListener {
        /// Index of the listener, from 0.
        index: usize,
        /// True if it accepts calls.
        enabled: bool,
    },
    /// Set the scenario of new calls; open ones keep theirs.
    Swap(NewScenario),
    /// Switch a log on or off.
    SetLog {
        /// The log.
        log: Log,
        /// True if the log is on.
        enabled: bool,
    },
    /// Reset the statistics.
    ResetStats,
    /// Start no new calls; open ones end by themselves.
    Drain,
    /// Start no new calls, and give open ones as long as `-drain` says. A second `Quit` acts as
    /// `Stop`.
    Quit,
    /// Start no new calls and end the open ones, which takes at most five seconds.
    Stop,
    /// End at once, even with open calls.
    StopNow,
    /// Tell the present numbers of calls.
    TellCalls,
    /// Tell the events that open calls wait for.
    TellWaits,
    /// Tell the circuits that calls hold.
    TellCircuits,
    /// Tell the global variables that have a value, and note them in the error log.
    TellVariables,
    /// Tell the names of all measured values.
    TellLayout,
}

/// The source of another scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NewScenario {
    /// This text from a user of the API, whose calls are limited to permitted targets (`targets`).
    /// The run's file stays as it is.
    Sent(String),
    /// The run's file, read again.
    Reload,
    /// The scenario that the configuration names now. The run's source is this one from now on.
    Configured {
        /// The source.
        source: ScenarioSource,
        /// The text that was read from it.
        text: String,
        /// True if a client of the API wrote the file.
        is_sent: bool,
    },
}

impl Request {
    /// Checks the limits that do not depend on the run.
    ///
    /// # Errors
    /// The limit that the request breaks.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::SetRate(rate) if !(0.0..=RATE_MAX).contains(&rate.calls) => {
                Err(Refusal::Invalid(format!("a rate is a number from 0 to {RATE_MAX}")))
            }
            Self::SetRate(rate) if rate.period_ms == 0 => {
                Err(Refusal::Invalid("the period of a rate is at least 1 ms".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_a_rate_in_its_own_period_as_it_is() {
        for period_ms in (1..=2000).chain([60_000, 3_600_000]) {
            for calls in [0.0, 0.1, 1.0, 7.0, 11.0, 333.3, 2e6, RATE_MAX] {
                let rate = Rate { calls, period_ms };
                assert_eq!(rate.in_period(period_ms), calls, "{rate:?}");
                assert_eq!(Request::SetRate(rate).check(), Ok(()), "{rate:?}");
            }
        }
        assert_eq!(Rate::per_second(50.0).in_period(500), 25.0);
        assert_eq!(Rate { calls: 5.0, period_ms: 100 }.in_period(1000), 50.0);
        let never = Request::SetRate(Rate { calls: 1.0, period_ms: 0 });
        assert!(matches!(never.check(), Err(Refusal::Invalid(_))));
    }
}
