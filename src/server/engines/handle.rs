//! A row of the registry: the run of an engine, and further facts about the engine.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::spec::{Bind, Claim, EngineKind, EngineSpec};
use crate::config::RunConfig;
use crate::control::{Handle, Policy, Published, Queue};

/// An engine's state and requests. Clones refer to the same engine.
#[derive(Clone)]
pub struct EngineHandle {
    run: Handle,
    kind: EngineKind,
    /// The files that the engine writes under configured names.
    files: Arc<[PathBuf]>,
}

impl EngineHandle {
    /// Creates a handle, and the end of the queue that the engine's thread reads.
    pub(super) fn new(spec: &EngineSpec, policy: Policy, state: Published) -> (Self, Queue) {
        let (run, queue) = Handle::new(&spec.id, policy, state);
        let files = Claim::of(spec).files.into();
        (Self { run, kind: spec.kind, files }, queue)
    }

    /// A handle for the primary engine, whose run is supervised elsewhere.
    pub(super) fn around(run: Handle, config: &RunConfig) -> Self {
        let files = super::spec::files(config).map(Path::to_owned).collect();
        Self { run, kind: EngineKind::Primary, files }
    }

    /// The origin of the engine.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// The addresses and files that the engine claims, as long as it is not over.
    pub(super) fn claim(&self) -> Claim {
        let state = self.state();
        if state.phase.is_over() {
            return Claim::default();
        }
        let listeners = state.listeners.iter().map(|listener| Bind {
            is_stream: listener.transport.is_stream(),
            ip: Some(listener.local_ip),
            port: listener.local_port,
        });
        let client = state.client.iter().map(|client| Bind {
            is_stream: client.transport.is_stream(),
            ip: Some(client.local_ip),
            port: client.local_port,
        });
        Claim { binds: listeners.chain(client).collect(), files: self.files.to_vec() }
    }
}

impl Deref for EngineHandle {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.run
    }
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle").field("run", &self.run).field("kind", &self.kind).finish()
    }
}
