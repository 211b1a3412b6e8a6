//! The engines of one process: the runs that it supervises, and how they come and go.
//!
//! An engine is a run under an id: the word of the API and of the configuration. A [`Registry`] has
//! a row for each: the primary one, those of the configuration beside it, and those that were
//! started later. Each has a thread that supervises its run, serves what is asked and publishes its
//! state ([`crate::control`]). One that fails, even by a panic, is a row that says why; the others
//! go on.
//!
//! Reading never waits for an engine. Asking does, for as long as the engine needs: milliseconds,
//! or seconds at most. Nothing here knows HTTP, users or metrics.

mod engine;
mod error;
mod handle;
mod registry;
mod spec;

pub(super) use engine::own_time;
pub use error::{DynamicError, ForgetError, StartError};
pub use handle::EngineHandle;
pub use registry::{DYNAMIC_MAX, Registry, STATIC_MAX, Shutdown};
pub(super) use spec::{Bind, files};
pub use spec::{EngineKind, EngineSpec, ID_MAX};
