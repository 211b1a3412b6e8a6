//! Why something that was asked of engines could not be done.

use thiserror::Error;

use super::registry::STATIC_MAX;
use crate::config::targets::Refusal;

/// Why the engines of a process could not be started.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StartError {
    /// There is nothing to run.
    #[error("there is no engine to run\n  hint: give the configuration a server or a client")]
    NoEngine,
    /// More than a process may have.
    #[error(
        "{count} engines are configured, and {STATIC_MAX} is the limit\n  hint: start another \
         process for the rest"
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// An id that cannot be one.
    #[error(
        "the engine id {id:?} is no id\n  hint: 1 to 64 letters, digits, dots, dashes and \
         underscores"
    )]
    Id {
        /// What was given.
        id: String,
    },
    /// Two engines of one id.
    #[error("two engines have the id {id:?}\n  hint: give each an id of its own")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// Two engines want one address, or to write one file.
    #[error("{0}")]
    Clash(String),
    /// The first engine cannot be started.
    #[error("engine {id}: {}", why.reason)]
    Primary {
        /// Its id.
        id: String,
        /// Why.
        why: StartFailure,
    },
    /// There is no thread to be had.
    #[error("cannot start the thread of engine {id}: {reason}\n  hint: see `ulimit -u`")]
    Thread {
        /// The engine.
        id: String,
        /// Why.
        reason: String,
    },
}

/// A reason why an engine does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// A sentence.
    pub reason: String,
    /// Its local address could not be bound.
    pub is_bind: bool,
}

/// Why an engine could not be started beside the others.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DynamicError {
    /// An id that cannot be one.
    #[error("{0:?} is no id: 1 to 64 letters, digits, dots, dashes and underscores")]
    Id(String),
    /// The id is taken.
    #[error("there is an engine {0:?} already; choose another id, or delete that one first")]
    Duplicate(String),
    /// As many as there may be.
    #[error(
        "there are {0} dynamic engines already, which is the limit (max_dynamic_clients); delete \
         one first"
    )]
    TooMany(usize),
    /// Too many that were removed have not ended yet.
    #[error("{0} engines that were deleted are still ending; wait some seconds")]
    Leaving(usize),
    /// It was removed while it was being started.
    #[error("the engine {0:?} was deleted while it started")]
    Removed(String),
    /// Another engine has the address, or writes the file.
    #[error("{0}")]
    Clash(String),
    /// It could not be started, for a reason of its own.
    #[error("{0}")]
    Failed(String),
    /// The process is about to end.
    #[error("the process is shutting down")]
    ShuttingDown,
}

/// Why an engine did not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AskError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// This engine cannot do it.
    #[error("{0}")]
    Refused(String),
    /// The configuration does not let it call somebody, or so much.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such engine.
    #[error("there is no engine {0:?}")]
    Unknown(String),
    /// The engine has ended.
    #[error(
        "the engine has ended; one of the configuration is started again by resume with its id, or \
         by another scenario, and a client is deleted and created again"
    )]
    Over,
    /// Too much was asked of it at once.
    #[error("the engine is busy with what was asked of it before; ask again")]
    Busy,
    /// It did not answer in time.
    #[error("the engine did not answer in time")]
    Timeout,
}

impl From<Refusal> for AskError {
    fn from(refusal: Refusal) -> Self {
        Self::Forbidden(refusal.to_string())
    }
}

/// Why the row of an engine could not be removed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ForgetError {
    /// There is no such engine.
    #[error("there is no engine {0:?}")]
    Unknown(String),
    /// It belongs to the configuration.
    #[error("engine {0:?} belongs to the configuration and keeps its row; only dynamic ones go")]
    NotDynamic(String),
    /// It still runs.
    #[error("engine {0:?} has not ended; stop it first")]
    Running(String),
}
