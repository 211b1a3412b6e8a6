//! The state of the daemon, in a line for the service manager.

use arc_swap::ArcSwapOption;

use super::engines::{EngineHandle, Registry};

/// The registry and the outcome of the last reload, from which the status line is made.
pub(super) struct Status {
    registry: Registry,
    /// The reason why the last reload failed, if it did.
    failed_reload: ArcSwapOption<String>,
}

impl Status {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, failed_reload: ArcSwapOption::empty() }
    }

    /// Notes the outcome of the last reload: the reason of its failure, or none.
    pub(super) fn reload_failed(&self, reason: Option<String>) {
        self.failed_reload.store(reason.map(std::sync::Arc::new));
    }

    /// The number of open calls in all engines.
    pub(super) fn open_calls(&self) -> u64 {
        self.registry.engines().iter().map(|row| row.state().snapshot.calls.active).sum()
    }

    /// The status line.
    pub(super) fn line(&self) -> String {
        let engines = self.registry.engines();
        let running = |engine: &&EngineHandle| !engine.state().phase.is_over();
        let (mut active, mut started, mut failed, mut silent) = (0, 0, 0, 0);
        for engine in engines.iter() {
            let state = engine.state();
            let calls = state.snapshot.calls;
            active += calls.active;
            started += calls.started;
            failed += calls.failed;
            silent += state.snapshot.counters.media.silent_calls;
        }
        let silent = match silent {
            0 => String::new(),
            silent => format!(", {silent} silent"),
        };
        let running = engines.iter().filter(running).count();
        let reload = match &*self.failed_reload.load() {
            None => String::new(),
            Some(reason) => format!("; the last reload failed: {reason}"),
        };
        format!(
            "{running} of {} engines running, {active} calls open, {started} started, {failed} \
             failed{silent}{reload}",
            engines.len()
        )
    }
}
