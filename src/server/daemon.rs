//! The daemon while it lives: it serves, tells the service manager how it goes, reads its
//! configuration again when it is told to, and comes to its end in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::api::{self, App, Hub, Names};
use super::auth::Authenticator;
use super::config::{self, LiveChange, ServerConfig};
use super::engines::{Ask, EngineHandle, NewScenario, Registry};
use super::http::{Http, Tls};
use super::logging::Log;
use super::metrics::Metrics;
use super::{Bound, ServerError, auth_settings, check_exposure, notify, tls};
use crate::cli::ServerLine;
use crate::config::ScenarioSource;
use crate::scenario::find_builtin;
use crate::stats::ExitCode;

/// How long engines may take to end their calls and write their reports.
const ENGINES_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the service manager is told how it goes, and the end of all engines is looked for.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// How often the end of all engines is looked for where it ends the process.
const END_PERIOD: Duration = Duration::from_millis(100);

/// What the process is told by signals.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on signals are collected. In the context of the runtime.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is told to end.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Everything that a running daemon is made of.
pub(super) struct Daemon<'l> {
    pub(super) line: Option<&'l ServerLine>,
    pub(super) config: ServerConfig,
    pub(super) log: Log,
    pub(super) auth: Authenticator,
    pub(super) registry: Registry,
    pub(super) signals: Signals,
}

/// Why the daemon ends.
enum End {
    /// It was told to.
    Asked(&'static str),
    /// All calls are made, and there is nothing to wait for.
    Over,
}

impl Daemon<'_> {
    /// Lives until it is told to end, or, without an API, until all calls are made.
    pub(super) async fn live(self, bound: Option<Bound>) -> Result<u8, ServerError> {
        let Self { line, config, log, auth, registry, mut signals } = self;
        let (stopping, is_stopping) = watch::channel(false);
        let (closing, is_closing) = watch::channel(false);
        let metrics = Arc::new(Metrics::new());
        metrics.reloaded(true);
        let has_api = bound.is_some();
        let app = Arc::new(App {
            registry: registry.clone(),
            names: ArcSwap::from_pointee(names(&config, &auth)),
            auth: ArcSwap::from_pointee(auth),
            metrics: Arc::clone(&metrics),
            config: ArcSwap::from_pointee(config),
            live: Hub::default(),
            scenario_lock: Mutex::new(()),
            stopping: is_stopping,
            closing: is_closing.clone(),
        });
        let tls = bound.as_ref().and_then(|bound| bound.tls.clone());
        let serving = bound.map(|bound| serve(bound, &app, is_closing)).transpose()?;
        announce(&registry);
        notify::ready(&status_line(&registry));

        let mut reloader = Reloader { line, app: Arc::clone(&app), log, tls };
        let end = watch_over(&registry, &mut signals, &mut reloader, has_api).await;
        stopping.send_replace(true);
        let why = match end {
            End::Asked(signal) => signal,
            End::Over => "all calls are made",
        };
        notify::stopping(&format!("stopping ({why}): calls are ended"));
        tracing::info!(
            "stopping ({why}): no new calls, open ones are ended; again to stop at once"
        );

        let ending = registry.clone();
        let ending = spawn_blocking(move || ending.shutdown(ENGINES_TIMEOUT));
        let code = tokio::select! {
            ended = ending => match ended {
                Ok(shutdown) => shutdown.code,
                Err(_) => ExitCode::Fatal.code(),
            },
            signal = signals.stop() => {
                tracing::warn!("{signal} again: stopped at once, reports may be missing");
                return Ok(ExitCode::CallsFailed.code());
            }
        };
        closing.send_replace(true);
        if let Some(serving) = serving {
            tokio::select! {
                _ = serving => {}
                signal = signals.stop() => tracing::warn!("{signal} again: connections are cut"),
            }
        }
        tracing::info!("stopped");
        // A daemon that ends as it was told has done what it should; a run has a result.
        Ok(if has_api { ExitCode::Success.code() } else { code })
    }
}

/// Serves the API from here on.
pub(super) fn serve(
    bound: Bound,
    app: &Arc<App>,
    closing: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, ServerError> {
    let listener = TcpListener::from_std(bound.listener).map_err(ServerError::Runtime)?;
    let scheme = if bound.tls.is_some() { "https" } else { "http" };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("API and status page on {scheme}://{address}/");
    }
    let http = Http { listener, tls: bound.tls, router: api::router(Arc::clone(app)) };
    Ok(tokio::spawn(http.serve(closing)))
}

/// Names under which requests are taken.
pub(super) fn names(config: &ServerConfig, auth: &Authenticator) -> Names {
    let Some(http) = &config.http else { return Names::default() };
    let mut hosts: Vec<String> =
        http.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let own = rustix::system::uname();
    hosts.extend(own.nodename().to_str().ok().map(str::to_ascii_lowercase));
    Names {
        hosts,
        origins: http.allowed_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        is_strict: auth.is_open() || http.addr.ip().is_loopback(),
    }
}

/// Says what runs where.
fn announce(registry: &Registry) {
    for engine in registry.engines().iter() {
        let state = engine.state();
        let places: Vec<String> = state
            .listeners
            .iter()
            .map(|at| {
                let address = std::net::SocketAddr::new(at.local_ip, at.local_port);
                format!("{} {} {address}", at.transport.code(), at.transport.protocol())
            })
            .chain(state.client.iter().map(|client| {
                let address = std::net::SocketAddr::new(client.local_ip, client.local_port);
                let (code, protocol) = (client.transport.code(), client.transport.protocol());
                format!("{code} {protocol} {address} -> {}", client.remote_addr)
            }))
            .collect();
        tracing::info!(
            "engine {}: {} ({}) {}",
            engine.id(),
            state.scenario.name,
            state.phase.label(),
            places.join(", ")
        );
        for notice in &state.notices {
            tracing::warn!("engine {}: {notice}", engine.id());
        }
    }
}

/// How it goes, in a line for the service manager.
fn status_line(registry: &Registry) -> String {
    let engines = registry.engines();
    let running = |engine: &&EngineHandle| !engine.state().phase.is_over();
    let (mut active, mut started, mut failed) = (0, 0, 0);
    for engine in engines.iter() {
        let calls = engine.state().snapshot.calls;
        active += calls.active;
        started += calls.started;
        failed += calls.failed;
    }
    let running = engines.iter().filter(running).count();
    format!(
        "{running} of {} engines running, {active} calls open, {started} started, {failed} failed",
        engines.len()
    )
}

/// Waits for a reason to end, and does what comes up meanwhile.
async fn watch_over(
    registry: &Registry,
    signals: &mut Signals,
    reloader: &mut Reloader<'_>,
    has_api: bool,
) -> End {
    let mut status = interval(STATUS_PERIOD);
    let mut end = interval(END_PERIOD);
    let period = notify::watchdog_period();
    // Without a watchdog there is nothing to feed, however often.
    let feed_period = period.unwrap_or(STATUS_PERIOD);
    let mut feed = interval_at(Instant::now(), feed_period);
    for ticks in [&mut status, &mut end, &mut feed] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut was_alive = true;
    loop {
        tokio::select! {
            _ = status.tick() => notify::status(&status_line(registry)),
            _ = end.tick(), if !has_api => {
                if registry.is_over() {
                    return End::Over;
                }
            }
            _ = feed.tick() => {
                let is_alive = registry.data_plane_alive();
                if is_alive && period.is_some() {
                    notify::alive();
                }
                if is_alive != was_alive {
                    was_alive = is_alive;
                    match is_alive {
                        true => tracing::info!("workers report again"),
                        false => tracing::error!("workers do not report; the watchdog is not fed"),
                    }
                }
            }
            signal = signals.terminate.recv() => {
                let _ = signal;
                return End::Asked("SIGTERM");
            }
            signal = signals.interrupt.recv() => {
                let _ = signal;
                return End::Asked("SIGINT");
            }
            _ = signals.hangup.recv() => {
                notify::reloading();
                reloader.reload().await;
                notify::ready(&status_line(registry));
            }
        }
    }
}

/// Reads the configuration again.
struct Reloader<'l> {
    line: Option<&'l ServerLine>,
    app: Arc<App>,
    log: Log,
    tls: Option<Arc<Tls>>,
}

impl Reloader<'_> {
    /// Takes over what can be changed while calls go on. A configuration with a mistake changes
    /// nothing.
    async fn reload(&mut self) {
        let result = self.try_reload().await;
        self.app.metrics.reloaded(result.is_ok());
        match result {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }

    async fn try_reload(&mut self) -> Result<(), String> {
        let line = self.line.ok_or("it is a profile of a run, which is not read again")?;
        let ServerLine { config: file, options } = line.clone();
        let new = spawn_blocking(move || config::load(file.as_deref(), &options)).await;
        let new = new.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        // All that can fail comes before anything is changed.
        let tls = match new.http.as_ref().and_then(|http| http.tls.clone()) {
            Some(files) if self.tls.is_some() => {
                let loaded = spawn_blocking(move || tls::load(&files.cert, &files.key)).await;
                let loaded = loaded.map_err(|error| error.to_string())?;
                Some(loaded.map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        let old = self.app.config.load_full();
        let plan = config::compare(&old, &new);
        let auth = self.new_auth(&plan.live, &new).await?;
        for sentence in &plan.restart {
            tracing::warn!("{sentence}");
        }
        if let Some(auth) = auth {
            self.app.auth.store(Arc::new(auth));
        }
        if let (Some(current), Some(loaded)) = (&self.tls, tls) {
            current.store(loaded);
        }
        self.app.names.store(Arc::new(names(&new, &self.app.auth())));
        for change in plan.live {
            self.carry_out(change).await;
        }
        self.app.config.store(Arc::new(new));
        Ok(())
    }

    /// Who may do what by the new configuration, if that differs.
    async fn new_auth(
        &self,
        changes: &[LiveChange],
        new: &ServerConfig,
    ) -> Result<Option<Authenticator>, String> {
        let wanted = changes.iter().find_map(|change| match change {
            LiveChange::Auth(auth) => Some(auth_settings(auth)),
            _ => None,
        });
        let Some(settings) = wanted else { return Ok(None) };
        let auth = spawn_blocking(|| Authenticator::open(settings)).await;
        let auth = auth.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        check_exposure(new, &auth).map_err(|error| error.to_string())?;
        Ok(Some(auth))
    }

    /// Makes one change. An engine that does not take it is no reason to leave out the others.
    async fn carry_out(&self, change: LiveChange) {
        match change {
            LiveChange::Scenario { engine, source, is_same_file } => {
                let scenario = match (is_same_file, source) {
                    (true, _) => Ok(NewScenario::Reload),
                    (false, ScenarioSource::File(file)) => std::fs::read_to_string(&file)
                        .map(NewScenario::Text)
                        .map_err(|error| format!("{}: {error}", file.display())),
                    (false, ScenarioSource::Builtin(name)) => find_builtin(&name)
                        .map(|builtin| NewScenario::Text(builtin.text.to_owned()))
                        .map_err(|error| error.to_string()),
                };
                match scenario {
                    Ok(scenario) => self.ask(engine, Ask::Swap(scenario)).await,
                    Err(error) => tracing::error!("engine {engine}: scenario: {error}"),
                }
            }
            LiveChange::Rate { engine, rate } => self.ask(engine, Ask::SetRate(rate)).await,
            LiveChange::Users { engine, users } => self.ask(engine, Ask::SetUsers(users)).await,
            LiveChange::CallLimit { engine, calls } => {
                self.ask(engine, Ask::SetCallLimit(calls)).await;
            }
            LiveChange::LogLevel(level) => self.log.set_level(level),
            LiveChange::AllowExec(_) => {
                tracing::warn!("allow_exec: it applies after a restart");
            }
            // Done with the configuration as a whole.
            LiveChange::Allowed { .. }
            | LiveChange::Auth(_)
            | LiveChange::Certificates
            | LiveChange::DynamicClients(_) => {}
        }
    }

    async fn ask(&self, id: String, ask: Ask) {
        let Some(engine) = self.app.registry.get(&id) else { return };
        match spawn_blocking(move || engine.ask(ask)).await {
            Ok(Ok(())) => tracing::info!("engine {id}: changed"),
            Ok(Err(error)) => tracing::error!("engine {id}: {error}"),
            Err(error) => tracing::error!("engine {id}: {error}"),
        }
    }
}
