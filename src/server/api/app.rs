//! The state that all requests share, and the checks that run at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};

use super::error::ApiError;
use super::guard::Names;
use super::live::Hub;
use crate::config::ScenarioSource;
use crate::config::targets::Targets;
use crate::control::{NewScenario, Refusal, Request};
use crate::server::auth::Authenticator;
use crate::server::config::ServerConfig;
use crate::server::engine_spec;
use crate::server::engines::{EngineHandle, Registry};
use crate::server::metrics::Metrics;

/// Most checks that run at once. A check goes on after its client has hung up. Without this bound,
/// clients that hang up and come again would have as many as they like.
const CHECKS_MAX: usize = 4;

/// The longest wait for a check to begin.
const CHECK_WAIT: Duration = Duration::from_secs(5);

/// The places for checks of engines that clients describe. A check reads files and compiles.
pub(crate) struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CHECKS_MAX)))
    }
}

impl Checks {
    /// Waits for a place. It is free again when the returned permit is dropped.
    ///
    /// # Errors
    /// 503 if other requests have all places.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let free = tokio::time::timeout(CHECK_WAIT, Arc::clone(&self.0).acquire_owned()).await;
        free.ok().and_then(Result::ok).ok_or_else(|| {
            ApiError::unavailable("other clients are being checked; try again in a while")
        })
    }
}

/// The daemon as its API sees it.
pub(crate) struct App {
    pub(crate) registry: Registry,
    /// Replaced when the configuration names another authentication.
    pub(crate) auth: ArcSwap<Authenticator>,
    pub(crate) metrics: Arc<Metrics>,
    /// Names and origins that requests may have.
    pub(crate) names: ArcSwap<Names>,
    /// The configuration in force.
    pub(crate) config: ArcSwap<ServerConfig>,
    /// The targets that clients over the API may call.
    pub(crate) targets: Arc<Targets>,
    /// The live WebSocket.
    pub(crate) live: Hub,
    /// The places for checks of what clients send.
    pub(crate) checks: Checks,
    /// Held during a change of the scenario: its check, its use and its file belong together.
    pub(crate) scenario_lock: Mutex<()>,
    /// True once the daemon is shutting down.
    pub(crate) stopping: watch::Receiver<bool>,
    /// True once the connections are to end, which comes later.
    pub(crate) closing: watch::Receiver<bool>,
}

/// Parts that an API is made of.
pub(crate) struct Parts {
    pub(crate) registry: Registry,
    pub(crate) auth: Authenticator,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: ServerConfig,
    /// The address where it listens.
    pub(crate) bound: Option<SocketAddr>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    /// The state that all requests share, from the first on.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { registry, auth, metrics, config, bound, targets, stopping, closing } = parts;
        Arc::new(Self {
            registry,
            names: ArcSwap::from_pointee(Names::of(&config, &auth, bound)),
            auth: ArcSwap::from_pointee(auth),
            metrics,
            config: ArcSwap::from_pointee(config),
            targets,
            live: Hub::default(),
            checks: Checks::default(),
            scenario_lock: Mutex::new(()),
            stopping,
            closing,
        })
    }

    /// The authentication now in force.
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

    /// Makes new calls of `engine` follow a scenario. An engine of the configuration that has ended
    /// is started again with it. This blocks.
    ///
    /// # Errors
    /// The reason why the engine cannot follow it.
    pub(crate) fn follow(&self, engine: &EngineHandle, new: NewScenario) -> Result<(), Refusal> {
        if !engine.state().phase.is_over() {
            match engine.ask(Request::Swap(new.clone())) {
                // It has ended meanwhile.
                Err(Refusal::Over) => {}
                result => return result,
            }
        }
        self.start_again(engine, Some(new))
    }

    /// Starts an engine of the configuration again that has ended. This blocks.
    ///
    /// # Errors
    /// The reason why the engine cannot run.
    pub(crate) fn start_again(
        &self,
        engine: &EngineHandle,
        scenario: Option<NewScenario>,
    ) -> Result<(), Refusal> {
        let config = self.config.load();
        let mut configured = config.engines.iter().enumerate();
        let (index, of) =
            configured.find(|(_, configured)| configured.id == engine.id()).ok_or(Refusal::Over)?;
        let is_file = matches!(of.run.scenario, ScenarioSource::File(_));
        let sent = match scenario {
            Some(NewScenario::Sent(xml)) => Some(xml),
            Some(NewScenario::Reload) if !is_file => {
                let why = "the engine runs a built-in scenario: there is no file to read again";
                return Err(Refusal::Refused(why.to_owned()));
            }
            // A start reads the file anyway.
            Some(NewScenario::Reload | NewScenario::Configured { .. }) | None => None,
        };
        self.registry.start_again(engine_spec(index, of, &self.targets), sent)
    }

    /// Tells whether the daemon is shutting down.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

impl Names {
    /// The names under which requests are taken at the address that is `bound`.
    pub(crate) fn of(
        config: &ServerConfig,
        auth: &Authenticator,
        bound: Option<SocketAddr>,
    ) -> Self {
        let Some(http) = &config.http else { return Self::default() };
        let is_local = bound.map_or(http.addr.ip(), |bound| bound.ip()).is_loopback();
        let mut hosts: Vec<String> =
            http.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let own = rustix::system::uname();
        hosts.extend(own.nodename().to_str().ok().map(str::to_ascii_lowercase));
        Self {
            hosts,
            origins: http
                .allowed_origins
                .iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
            proxies: http.trusted_proxies.clone(),
            is_strict: auth.is_open() || is_local,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_checks_run_at_once_and_others_are_asked_to_come_again() {
        let checks = Checks::default();
        let mut running = Vec::new();
        for _ in 0..CHECKS_MAX {
            running.push(checks.enter().await.unwrap());
        }
        let refused = checks.enter().await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let (next, ()) = tokio::join!(checks.enter(), async { drop(running.pop()) });
        assert!(next.is_ok(), "a short wait is no refusal");
    }
}
