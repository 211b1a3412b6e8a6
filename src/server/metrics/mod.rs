//! `/metrics`: the counts of engines and of the service, in Prometheus' exposition format.
//!
//! The module reads figures that the control side keeps anyway; a scrape never touches a worker. It
//! knows neither HTTP nor the rights of the reader.

pub mod catalogue;

mod engines;
mod figures;
mod media;
mod process;
mod service;
mod slots;
mod text;
mod totals;

pub use figures::{EngineFigures, KINDS, STATES};
pub use process::Process;
pub use service::{ConnectionRefusal, LoginOutcome, Refusal, RequestRefusal};

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use catalogue::{BUILD_INFO, TARGET_REFUSALS};
use engines::Exposed;
use service::Service;
use slots::Slots;
use text::Text;

use super::engines::Registry;
use crate::config::targets::Targets;

/// The media type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bytes that are reserved for the text of a scrape.
const SCRAPE_BYTES: usize = 128 << 10;

/// The metrics of one daemon.
#[derive(Debug)]
pub struct Metrics {
    service: Service,
    slots: Mutex<Slots>,
    targets: OnceLock<Arc<Targets>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics with everything at 0.
    pub fn new() -> Self {
        Self { service: Service::new(), slots: Mutex::default(), targets: OnceLock::new() }
    }

    /// The exposition of all engines of `registry`, the service and this process. Never waits for
    /// an engine.
    pub fn render(&self, registry: &Registry) -> String {
        let engines = registry.engines();
        let figures: Vec<EngineFigures> = engines.iter().map(EngineFigures::of).collect();
        self.render_figures(&figures, &Process::read())
    }

    /// The exposition of these engines, the service and the process.
    ///
    /// Counters never fall, whatever happens to the engines' own figures: see `slots`.
    pub fn render_figures(&self, engines: &[EngineFigures], process: &Process) -> String {
        let sums = self.slots.lock().unwrap_or_else(PoisonError::into_inner).take_in(engines);
        let exposed = engines.iter().zip(sums);
        let exposed: Vec<Exposed<'_>> =
            exposed.map(|(engine, sum)| Exposed { engine, sum }).collect();
        let mut text = Text::with_capacity(SCRAPE_BYTES);
        text.family(&BUILD_INFO);
        let commit = option_env!("GOSSIPPER_COMMIT").unwrap_or("unknown");
        let features = if cfg!(feature = "otlp") { "otlp" } else { "" };
        text.sample(&BUILD_INFO, &[env!("CARGO_PKG_VERSION"), commit, features], 1);
        engines::write(&mut text, &exposed);
        media::write(&mut text, &exposed);
        text.family(&TARGET_REFUSALS);
        for (reason, count) in self.targets.get_or_init(Arc::default).refusals() {
            text.sample(&TARGET_REFUSALS, &[reason], count);
        }
        text.append(&self.service.render());
        process.write(&mut text);
        text.into_string()
    }

    /// Sets the targets whose refusals are exposed from here on.
    pub fn watch_targets(&self, targets: &Arc<Targets>) {
        let _ = self.targets.set(Arc::clone(targets));
    }

    /// Makes a route of the API appear before its first request.
    pub fn declare(&self, route: &str) {
        self.service.declare(route);
    }

    /// Counts a request to `route` (the pattern, not the path) that was answered with `code`.
    pub fn request(&self, route: &str, code: u16, took: Duration) {
        self.service.request(route, code, took);
    }

    /// Counts a new client of the live WebSocket.
    pub fn live_opened(&self) {
        self.service.live_opened();
    }

    /// Counts a client of the live WebSocket that has gone.
    pub fn live_closed(&self) {
        self.service.live_closed();
    }

    /// Counts the frames that a client of the live WebSocket got, and those that it was too slow
    /// for.
    pub fn live_frames(&self, sent: u64, dropped: u64) {
        self.service.live_frames(sent, dropped);
    }

    /// Counts a client of the live WebSocket that was dropped because it took no frame for too
    /// long.
    pub fn live_stalled(&self) {
        self.service.live_stalled();
    }

    /// Counts an attempt to log in.
    pub fn login(&self, outcome: LoginOutcome) {
        self.service.login(outcome);
    }

    /// Counts a request that was refused for want of authentication or permission.
    pub fn unauthorized(&self, reason: Refusal) {
        self.service.refused(reason);
    }

    /// Sets the number of open connections.
    pub fn connections(&self, open: usize) {
        self.service.connections(open);
    }

    /// Counts a connection that was refused or cut.
    pub fn connection_refused(&self, cause: ConnectionRefusal) {
        self.service.connection_refused(cause);
    }

    /// Counts a request that was refused for its form: size, time or place.
    pub fn request_refused(&self, cause: RequestRefusal) {
        self.service.request_refused(cause);
    }

    /// Counts a reading of the configuration, at the start or later.
    pub fn reloaded(&self, is_ok: bool) {
        self.service.reloaded(is_ok);
    }
}

#[cfg(test)]
mod tests;
