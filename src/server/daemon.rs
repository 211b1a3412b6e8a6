//! The life of the daemon: it serves, reports to the service manager, reads its configuration again
//! on request, and ends in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::api::{self, App, Parts};
use super::auth::Authenticator;
use super::config::ServerConfig;
use super::engines::{Registry, Shutdown, own_time};
use super::http::{Http, IsProxy};
use super::logging::Log;
use super::metrics::Metrics;
use super::reloader::{Changing, Files, Reloader};
use super::status::Status;
use super::{Bound, ServerError, notify};
use crate::cli::ServerLine;
use crate::config::targets::Targets;
use crate::stats::ExitCode;

/// The time that engines may take to end their calls and write their reports.
const ENGINES_TIMEOUT: Duration = Duration::from_secs(30);

/// The interval at which the service manager gets a status line.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// The interval at which a daemon without an API looks for the end of all engines.
const END_PERIOD: Duration = Duration::from_millis(100);

/// The interval at which the service manager is told the reason why a stop still waits.
const STOP_PERIOD: Duration = Duration::from_secs(1);

/// The signals that the process reacts to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Collects signals from here on. Must be called within the runtime.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the process; returns its name.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The parts of a running daemon.
pub(super) struct Daemon<'l> {
    pub(super) line: Option<&'l ServerLine>,
    pub(super) config: ServerConfig,
    pub(super) log: Log,
    pub(super) auth: Authenticator,
    pub(super) registry: Registry,
    pub(super) targets: Arc<Targets>,
    pub(super) signals: Signals,
}

/// The reason why the daemon ends.
enum End {
    /// A signal asked for it; its name.
    Asked(&'static str),
    /// All calls are made, and there is nothing to wait for.
    Over,
}

impl Daemon<'_> {
    /// Serves until a signal, or, without an API, until all calls are made; returns the exit code.
    pub(super) async fn live(self, bound: Option<Bound>) -> Result<u8, ServerError> {
        let Self { line, config, log, auth, registry, targets, mut signals } = self;
        let (stopping, is_stopping) = watch::channel(false);
        let (closing, is_closing) = watch::channel(false);
        let metrics = Arc::new(Metrics::new());
        metrics.reloaded(true);
        metrics.watch_targets(&targets);
        let has_api = bound.is_some();
        let address = bound.as_ref().map(|bound| bound.address);
        let app = App::new(Parts {
            registry: registry.clone(),
            auth,
            metrics,
            config,
            bound: address,
            targets,
            stopping: is_stopping,
            closing: is_closing.clone(),
        });
        let tls = bound.as_ref().and_then(|bound| bound.tls.clone());
        let serving = bound.map(|bound| serve(bound, &app, is_closing)).transpose()?;
        announce(&registry);
        let status = Arc::new(Status::new(registry.clone()));
        let reloader = Reloader {
            line: line.cloned(),
            app,
            log,
            tls,
            bound: address,
            status: Arc::clone(&status),
            files: Files::default(),
            changing: Changing::default(),
        };
        let hangup = Arc::new(Notify::new());
        let reloading = tokio::spawn(reloader.run(Arc::clone(&hangup)));
        notify::ready(&status.line());

        let end = watch_over(&registry, &mut signals, &hangup, &status, has_api).await;
        // A daemon that ends on request has done its task, and so has a service: the results of its
        // calls are in log and summary. Elsewhere a run without an API has a result.
        let is_done = has_api || (matches!(end, End::Asked(_)) && notify::is_service());
        // A reload must not report to the service manager that all is ready after the stop was
        // reported.
        reloading.abort();
        let _ = reloading.await;
        stopping.send_replace(true);
        let Some(Shutdown { code, .. }) = end_engines(&registry, &mut signals, &status, end).await
        else {
            return Ok(ExitCode::CallsFailed.code());
        };
        closing.send_replace(true);
        if let Some(serving) = serving {
            tokio::select! {
                _ = serving => {}
                signal = signals.stop() => tracing::warn!("{signal} again: connections are cut"),
            }
        }
        // Engines log their results last, so that the end of the journal shows them.
        if registry.engines().is_empty() {
            tracing::info!("stopped");
        }
        Ok(if is_done { ExitCode::Success.code() } else { code })
    }
}

/// Ends all engines; `None` if a second signal cut the wait short.
async fn end_engines(
    registry: &Registry,
    signals: &mut Signals,
    status: &Status,
    end: End,
) -> Option<Shutdown> {
    let why = match end {
        End::Asked(signal) => signal,
        End::Over => "all calls are made",
    };
    let time = match status.open_calls() {
        0 => String::new(),
        1 => format!("; 1 open call may end for {} s", own_time(ENGINES_TIMEOUT).as_secs()),
        open => {
            format!("; {open} open calls may end for {} s", own_time(ENGINES_TIMEOUT).as_secs())
        }
    };
    tracing::info!("stopping ({why}): no new calls{time}; a second signal stops at once");
    let ending = registry.clone();
    let mut ending = spawn_blocking(move || ending.shutdown(ENGINES_TIMEOUT));
    let mut tell = interval(STOP_PERIOD);
    let failed = Shutdown { code: ExitCode::Fatal.code(), in_time: false };
    notify::stopping();
    loop {
        tokio::select! {
            ended = &mut ending => return Some(ended.unwrap_or(failed)),
            signal = signals.stop() => {
                tracing::warn!("{signal} again: stopped at once, reports may be missing");
                return None;
            }
            _ = tell.tick() => {
                notify::status(&format!("stopping ({why}): {} calls open", status.open_calls()));
            }
        }
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
    let router = api::router(Arc::clone(app));
    let metrics = Arc::clone(&app.metrics);
    let names = Arc::clone(app);
    let is_proxy: IsProxy = Box::new(move |address| names.names.load().is_proxy(address));
    let http = Http { listener, tls: bound.tls, router, metrics, is_proxy };
    Ok(tokio::spawn(http.serve(closing)))
}

/// Logs which engine listens at which address.
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
    }
}

/// Waits for a reason to end; meanwhile reports to the service manager and requests reloads.
async fn watch_over(
    registry: &Registry,
    signals: &mut Signals,
    hangup: &Notify,
    status: &Status,
    has_api: bool,
) -> End {
    let mut tell = interval(STATUS_PERIOD);
    let mut end = interval(END_PERIOD);
    let period = notify::watchdog_period();
    // Without a watchdog there is nothing to feed, at any period.
    let feed_period = period.unwrap_or(STATUS_PERIOD);
    let mut feed = interval_at(Instant::now(), feed_period);
    for ticks in [&mut tell, &mut end, &mut feed] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut was_alive = true;
    loop {
        tokio::select! {
            _ = tell.tick() => notify::status(&status.line()),
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
            // A signal during a reload is remembered.
            _ = signals.hangup.recv() => hangup.notify_one(),
        }
    }
}
