//! Answers of a run.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::targets;
use crate::engine::{BusyCircuits, Census};
use crate::stats::{CallTotals, Layout};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// The request is carried out: the workers have it, and all of them follow a new scenario.
    Done,
    /// The requested facts.
    Told(Told),
    /// The request is not carried out.
    Refused(Refusal),
}

/// Facts that a run gives on request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Told {
    /// The numbers of calls.
    Calls(CallTotals),
    /// The open calls by the event that they wait for.
    Waits(Waits),
    /// The circuits that calls hold.
    Circuits(Circuits),
    /// The global variables that have a value, by name.
    Variables(Vec<(String, String)>),
    /// The names of all measured values.
    Layout(Box<Layout>),
}

/// Open calls by the event that they wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waits {
    /// Numbers of calls; a bounded number of reasons.
    pub calls: Vec<(Wait, u64)>,
    /// The time after which the run no longer waits, if known: the drain is over, or the last call
    /// has its answer or gives up.
    pub left_ns: Option<u64>,
}

/// Reasons to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wait {
    /// The final response to a request of this method; `None` for a method without a name.
    Answer(Option<String>),
    /// A request of the peer.
    Request,
    /// The end of a pause.
    Pause,
    /// A command of another instance (3PCC).
    Command,
    /// Room to send a message.
    Room,
}

impl Waits {
    /// The calls of a census, which wait no longer than `left_ns`.
    pub(super) fn of(census: &Census, left_ns: Option<u64>) -> Self {
        use crate::engine::Wait as Reason;
        let wait = |reason: Reason| match reason {
            Reason::Answer(method) => Wait::Answer(method.name().map(str::to_owned)),
            Reason::Request => Wait::Request,
            Reason::Pause => Wait::Pause,
            Reason::Command => Wait::Command,
            Reason::Room => Wait::Room,
        };
        let calls = census.waits.iter().map(|&(reason, calls)| (wait(reason), calls));
        Self { calls: calls.collect(), left_ns }
    }
}

/// Circuits that calls hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuits {
    /// The indices of the first busy circuits, unordered, and no more of them than screens show.
    pub indices: Vec<u32>,
    /// The number of busy circuits.
    pub count: u64,
}

impl Circuits {
    /// Adds the circuits of another worker.
    pub(super) fn add(&mut self, busy: &BusyCircuits) {
        self.indices.extend_from_slice(&busy.circuits);
        self.count += busy.count as u64;
    }
}

/// Reasons why a run did not carry out a request.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// This run cannot carry out the request.
    #[error("{0}")]
    Refused(String),
    /// The configuration does not allow the engine to call an address, or at this rate.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such run.
    #[error("there is no engine {0:?}")]
    Unknown(String),
    /// The run has ended.
    #[error(
        "the engine has ended; to start an engine of the configuration again, send resume with its \
         id, or another scenario; delete a client and create it again"
    )]
    Over,
    /// The queue of requests is full.
    #[error("the engine is busy with an earlier request; try again")]
    Busy,
    /// The engine did not answer in time.
    #[error("the engine did not answer in time")]
    Timeout,
}

impl From<targets::Refusal> for Refusal {
    fn from(refusal: targets::Refusal) -> Self {
        Self::Forbidden(refusal.to_string())
    }
}

impl From<Result<(), Refusal>> for Reply {
    fn from(result: Result<(), Refusal>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Done)
    }
}

impl Reply {
    /// Splits the reply into facts and refusal.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<Option<Told>, Refusal> {
        match self {
            Self::Done => Ok(None),
            Self::Told(told) => Ok(Some(told)),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}
