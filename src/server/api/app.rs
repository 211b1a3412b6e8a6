//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use super::error::ApiError;
use super::guard::Names;
use super::live::Hub;
use crate::server::auth::Authenticator;
use crate::server::config::ServerConfig;
use crate::server::engines::{EngineHandle, Registry};
use crate::server::metrics::Metrics;

/// The daemon as its API sees it.
pub(crate) struct App {
    pub(crate) registry: Registry,
    /// Exchanged when the configuration names others.
    pub(crate) auth: ArcSwap<Authenticator>,
    pub(crate) metrics: Arc<Metrics>,
    /// Names and origins that requests may have.
    pub(crate) names: ArcSwap<Names>,
    /// The configuration in force.
    pub(crate) config: ArcSwap<ServerConfig>,
    /// The live WebSocket.
    pub(crate) live: Hub,
    /// One change of the scenario at a time: its check, its use and its file belong together.
    pub(crate) scenario_lock: Mutex<()>,
    /// Whether the daemon is on its way out.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Whether its connections are to end, which comes later.
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    /// Who may do what, as of now.
    pub(crate) fn auth(&self) -> Arc<Authenticator> {
        self.auth.load_full()
    }

    /// The first engine.
    ///
    /// # Errors
    /// 503 if there is none any more.
    pub(crate) fn primary(&self) -> Result<EngineHandle, ApiError> {
        self.registry.primary().ok_or_else(|| ApiError::unavailable("there is no engine"))
    }

    /// Whether the daemon is on its way out.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}
