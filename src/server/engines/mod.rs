//! The engines of one process: the runs that it supervises, with their start and end.
//!
//! An engine is a run under an id; the API and the configuration use this word. A [`Registry`] has
//! a row for each: the primary one, those of the configuration beside it, and those that were
//! started later. Each has a thread that supervises its run, serves requests and publishes its
//! state ([`crate::control`]). An engine that fails, even by a panic, keeps a row with the reason.
//! The others go on.
//!
//! Reading never waits for an engine. A request waits for as long as the engine needs:
//! milliseconds, or seconds at most. This module does not know HTTP, users or metrics.

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
