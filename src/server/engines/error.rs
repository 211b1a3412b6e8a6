//! The reasons why requests to engines fail.

use thiserror::Error;

use super::registry::STATIC_MAX;

/// The reason why the engines of a process could not be started.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StartError {
    /// No engine is configured.
    #[error("there is no engine to run\n  hint: give the configuration a server or a client")]
    NoEngine,
    /// The configuration has more engines than a process may have.
    #[error(
        "{count} engines are configured, and {STATIC_MAX} is the limit\n  hint: start another \
         process for the rest"
    )]
    TooMany {
        /// Number of configured engines.
        count: usize,
    },
    /// The id is invalid.
    #[error(
        "{id:?} is not an engine id\n  hint: 1 to 64 letters, digits, dots, dashes and underscores"
    )]
    Id {
        /// The given id.
        id: String,
    },
    /// Two engines have the same id.
    #[error("two engines have the id {id:?}\n  hint: give each an id of its own")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// Two engines need the same address, or write the same file.
    #[error("{0}")]
    Clash(String),
    /// The first engine cannot be started.
    #[error("engine {id}: {}", why.reason)]
    Primary {
        /// Id of the engine.
        id: String,
        /// The reason.
        why: StartFailure,
    },
    /// There is no thread left.
    #[error("cannot start the thread of engine {id}: {reason}\n  hint: see `ulimit -u`")]
    Thread {
        /// The engine.
        id: String,
        /// The error of the system.
        reason: String,
    },
}

/// The reason why an engine does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// The reason as a sentence.
    pub reason: String,
    /// True if its local address could not be bound.
    pub is_bind: bool,
}

/// The reason why an engine could not be started beside the others.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DynamicError {
    /// The id is invalid.
    #[error("{0:?} is not an id: 1 to 64 letters, digits, dots, dashes and underscores")]
    Id(String),
    /// The id is taken.
    #[error("there is an engine {0:?} already; choose another id, or delete that one first")]
    Duplicate(String),
    /// There are as many dynamic engines as allowed.
    #[error(
        "there are {0} dynamic engines already, which is the limit (max_dynamic_clients); delete \
         one first"
    )]
    TooMany(usize),
    /// Too many removed engines have not ended yet.
    #[error("{0} engines that were deleted are still ending; wait some seconds")]
    Leaving(usize),
    /// The engine was removed while it was being started.
    #[error("the engine {0:?} was deleted while it started")]
    Removed(String),
    /// Another engine has the address, or writes the file.
    #[error("{0}")]
    Clash(String),
    /// The engine could not be started, for a reason of its own.
    #[error("{0}")]
    Failed(String),
    /// The process is shutting down.
    #[error("the process is shutting down")]
    ShuttingDown,
}

/// The reason why the row of an engine could not be removed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ForgetError {
    /// There is no such engine.
    #[error("there is no engine {0:?}")]
    Unknown(String),
    /// The engine belongs to the configuration.
    #[error(
        "engine {0:?} comes from the configuration and keeps its row; only dynamic engines can be \
         removed"
    )]
    NotDynamic(String),
    /// The engine still runs.
    #[error("engine {0:?} has not ended; stop it first")]
    Running(String),
}
