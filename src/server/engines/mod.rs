//! The engines of one process: who runs, how each is doing, and what can be asked of it.
//!
//! A [`Registry`] has a row for each engine: the primary one, those of the configuration beside it,
//! and those that were started later. Each has a thread that supervises its workers
//! (`run/supervisor.rs`), answers what is asked ([`Ask`]) and publishes its state
//! ([`EngineState`]). One that fails, even by a panic, is a row that says why; the others go on.
//!
//! Reading never waits for an engine. Asking does, for as long as the engine needs: milliseconds,
//! or seconds at most. Nothing here knows HTTP, users or metrics.

mod desk;
mod engine;
mod error;
mod handle;
mod registry;
mod spec;
mod state;

pub(super) use desk::Desk;
pub(super) use engine::own_time;
pub use error::{AskError, DynamicError, ForgetError, StartError};
pub(crate) use handle::DOCUMENT;
pub(super) use handle::Question;
pub use handle::{Ask, EngineHandle, NewScenario};
pub use registry::{DYNAMIC_MAX, Policy, Registry, STATIC_MAX, Shutdown};
pub(super) use spec::{Bind, files};
pub use spec::{EngineKind, EngineSpec, ID_MAX, ListenerSpec};
pub use state::{ClientState, EngineState, ListenerState, Phase, ScenarioState};
