//! The engines of one process: the list of them, their states, and requests to them.
//!
//! A [`Registry`] has a row for each engine: the primary one, the others of the configuration, and
//! those that were started later. Each has a thread that supervises its workers
//! (`run/supervisor.rs`), handles requests ([`Ask`]) and publishes its state ([`EngineState`]). An
//! engine that fails, even by a panic, keeps a row with the reason; the others go on.
//!
//! Reading a state never waits for an engine. A request does, for as long as the engine needs:
//! milliseconds, or seconds at most. This module does not know HTTP, users or metrics.

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
