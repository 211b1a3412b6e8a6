//! The figures of an engine that the metrics read, apart from the registry that they come from.

use std::sync::Arc;

use crate::server::engines::EngineHandle;
use crate::stats::{Lifetime, Snapshot};

/// The states of an engine, as labels.
pub const STATES: [&str; 6] = ["starting", "running", "paused", "draining", "finished", "failed"];

/// The kinds of engine, as labels.
pub const KINDS: [&str; 3] = ["primary", "static", "dynamic"];

/// One engine at one moment.
#[derive(Clone, Debug)]
pub struct EngineFigures {
    /// The id of the engine.
    pub id: String,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// One of [`STATES`].
    pub state: &'static str,
    /// Id of its run.
    pub run_id: String,
    /// Name of its scenario.
    pub scenario: String,
    /// Start of the run, in nanoseconds since 1970 UTC.
    pub started_at_unix_ns: u64,
    /// Figures since the last reset.
    pub snapshot: Arc<Snapshot>,
    /// Figures since the start.
    pub lifetime: Arc<Lifetime>,
}

impl EngineFigures {
    /// The figures that the engine published last; never waits.
    pub fn of(engine: &EngineHandle) -> Self {
        let state = engine.state();
        Self {
            id: engine.id().to_owned(),
            kind: engine.kind().label(),
            state: state.phase.label(),
            run_id: state.run_id.clone(),
            scenario: state.scenario.name.clone(),
            started_at_unix_ns: state.started_at_unix_ns,
            snapshot: Arc::clone(&state.snapshot),
            lifetime: Arc::clone(&state.lifetime),
        }
    }

    /// Tells whether the engine was started over the API.
    pub(super) fn is_dynamic(&self) -> bool {
        self.kind == "dynamic"
    }

    /// Tells whether the engine makes no calls any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, "finished" | "failed")
    }
}
