//! Reading the configuration again while calls go on (SIGHUP).
//!
//! A task of its own does it, so that the watchdog, signals and the API are served meanwhile. One
//! reload happens at a time; what is asked for during one is remembered, once. A new configuration
//! is compared with what runs: with what was started and changed since, whatever files said in
//! between. So what could not be changed is tried, and told, again the next time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::api::App;
use super::auth::Authenticator;
use super::config::{self, LiveChange, ServerConfig};
use super::engines::{Ask, AskError, Phase};
use super::http::Tls;
use super::logging::Log;
use super::status::Status;
use super::{auth_settings, check_exposure, daemon, first_admin_text, notify, tls};
use crate::cli::ServerLine;

/// The time that files may take to be read. A service manager waits for 90 s by default.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is told of why the last reload failed, in characters.
const REASON_MAX: usize = 200;

/// See the module's documentation.
pub(super) struct Reloader {
    /// The sources of the configuration; `None` for a profile of a run, which is not read again.
    pub(super) line: Option<ServerLine>,
    pub(super) app: Arc<App>,
    pub(super) log: Log,
    pub(super) tls: Option<Arc<Tls>>,
    /// The address at which the API is served.
    pub(super) bound: Option<SocketAddr>,
    pub(super) status: Arc<Status>,
    pub(super) files: Files,
}

/// The reason why a reload failed.
enum Failure {
    /// Nothing has changed.
    Refused(String),
    /// All has changed but for this, one sentence each.
    Partly(Vec<String>),
}

impl Reloader {
    /// Reloads whenever it is asked for, for ever.
    pub(super) async fn run(mut self, asked: Arc<Notify>) {
        loop {
            asked.notified().await;
            notify::reloading();
            self.reload().await;
            notify::ready(&self.status.line());
        }
    }

    /// Takes over what can be changed while calls go on. A configuration with a mistake changes
    /// nothing.
    async fn reload(&mut self) {
        let result = self.try_reload().await;
        self.app.metrics.reloaded(result.is_ok());
        match result {
            Ok(()) => {
                self.status.reload_failed(None);
                tracing::info!("the configuration was read again");
            }
            Err(Failure::Refused(text)) => {
                let first: String =
                    text.lines().next().unwrap_or("").chars().take(REASON_MAX).collect();
                self.status.reload_failed(Some(first));
                tracing::error!("the configuration stays as it was: {text}");
            }
            Err(Failure::Partly(texts)) => {
                texts.iter().for_each(|text| tracing::error!("{text}"));
                let first = texts.first().map(|text| text.chars().take(REASON_MAX).collect());
                self.status.reload_failed(first);
                tracing::error!("the configuration was read again, and not all of it applies");
            }
        }
    }

    async fn try_reload(&mut self) -> Result<(), Failure> {
        let (new, tls) = self.read().await.map_err(Failure::Refused)?;
        let running = self.as_it_runs();
        let plan = config::compare(&running, &new, self.bound);
        // Before there are any of them: users are made when they are opened.
        config::protect(&running, &new);
        let auth = self.new_auth(&plan.live, &new).await.map_err(Failure::Refused)?;
        // All that can fail as a whole is behind us.
        for sentence in &plan.restart {
            tracing::warn!("{sentence}");
        }
        for notice in new.notices.iter().filter(|notice| !running.notices.contains(notice)) {
            tracing::warn!("{notice}");
        }
        let (engines, process): (Vec<_>, Vec<_>) =
            plan.live.into_iter().partition(|change| change.engine().is_some());
        let mut running = ServerConfig { notices: new.notices.clone(), ..running };
        for change in process {
            self.carry_out(&change);
            change.settle(&mut running, &new);
        }
        if let Some(auth) = auth {
            self.app.auth.store(Arc::new(auth));
        }
        if let (Some(current), Some(loaded)) = (&self.tls, tls) {
            current.store(loaded);
        }
        let names = daemon::names(&running, &self.app.auth(), self.bound);
        self.app.names.store(Arc::new(names));
        let mut failed = Vec::new();
        for (change, result) in change_engines(&self.app, engines).await {
            match result {
                Ok(()) => change.settle(&mut running, &new),
                Err(text) => failed.push(text),
            }
        }
        config::protect(&running, &new);
        self.app.config.store(Arc::new(running));
        if failed.is_empty() { Ok(()) } else { Err(Failure::Partly(failed)) }
    }

    /// Reads all files.
    async fn read(&mut self) -> Result<(ServerConfig, Option<Arc<rustls::ServerConfig>>), String> {
        let line = self.line.clone().ok_or("it is a profile of a run, which is not read again")?;
        let load = move || config::load_again(line.config.as_deref(), &line.options);
        let new = self.files.in_time(READ_TIMEOUT, load).await?;
        let new = new.map_err(|error| error.to_string())?;
        let files = new.http.as_ref().and_then(|http| http.tls.clone());
        let tls = match files.filter(|_| self.tls.is_some()) {
            Some(files) => {
                let load = move || tls::load(&files.cert, &files.key);
                let loaded = self.files.in_time(READ_TIMEOUT, load).await?;
                Some(loaded.map_err(|error| error.to_string())?)
            }
            None => None,
        };
        Ok((new, tls))
    }

    /// The configuration in force, with what was changed over the API since.
    fn as_it_runs(&self) -> ServerConfig {
        let mut running = ServerConfig::clone(&self.app.config.load());
        for engine in &mut running.engines {
            let Some(row) = self.app.registry.get(&engine.id) else { continue };
            let state = row.state();
            if !matches!(state.phase, Phase::Running | Phase::Paused | Phase::Draining) {
                continue;
            }
            match state.users {
                Some(users) => engine.run.users = Some(users),
                None if state.is_client => {
                    engine.run.rate = state.rate * engine.run.rate_period_ms as f64 / 1000.0;
                }
                None => {}
            }
        }
        running
    }

    /// Returns who may do what by the new configuration, if that differs.
    async fn new_auth(
        &mut self,
        changes: &[LiveChange],
        new: &ServerConfig,
    ) -> Result<Option<Authenticator>, String> {
        let wanted = changes.iter().find_map(|change| match change {
            LiveChange::Auth(auth) => Some(auth_settings(auth)),
            _ => None,
        });
        let Some(settings) = wanted else { return Ok(None) };
        let auth = self.files.in_time(READ_TIMEOUT, || Authenticator::open(settings)).await?;
        let auth = auth.map_err(|error| error.to_string())?;
        let is_insecure = new.http.as_ref().is_some_and(|http| http.insecure);
        check_exposure(self.bound, is_insecure, &auth).map_err(|error| error.to_string())?;
        if let Some(admin) = auth.first_admin() {
            tracing::warn!("{}", first_admin_text(admin));
        }
        Ok(Some(auth))
    }

    /// Makes a change of the process.
    fn carry_out(&self, change: &LiveChange) {
        match change {
            LiveChange::LogLevel(level) => self.log.set_level(*level),
            LiveChange::AllowExec(are_allowed) => {
                self.app.registry.policy().set_commands(*are_allowed);
            }
            LiveChange::Targets(list) => self.app.targets.replace(list.clone()),
            // Done with the configuration as a whole.
            _ => {}
        }
        tracing::info!("{change}");
    }
}

/// Makes changes of engines, of all at once and of each in their order. One that is not taken is no
/// reason to leave out the others.
async fn change_engines(
    app: &Arc<App>,
    changes: Vec<LiveChange>,
) -> Vec<(LiveChange, Result<(), String>)> {
    // Whoever changes the scenario over the API changes its file too.
    let _one_at_a_time = app.scenario_lock.lock().await;
    let mut by_engine: Vec<Vec<LiveChange>> = Vec::new();
    for change in changes {
        match by_engine.iter_mut().find(|known| known[0].engine() == change.engine()) {
            Some(known) => known.push(change),
            None => by_engine.push(vec![change]),
        }
    }
    let work = by_engine.into_iter().map(|changes| {
        let app = Arc::clone(app);
        let ids = changes.clone();
        let work = spawn_blocking(move || {
            changes
                .into_iter()
                .map(|change| {
                    let result = change_engine(&app, &change);
                    (change, result)
                })
                .collect::<Vec<_>>()
        });
        (ids, work)
    });
    let mut outcome = Vec::new();
    for (changes, work) in work.collect::<Vec<_>>() {
        match timeout(READ_TIMEOUT, work).await {
            Ok(Ok(results)) => outcome.extend(results),
            lost => {
                let why = match lost {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no answer for {} s", READ_TIMEOUT.as_secs()),
                };
                outcome.extend(changes.into_iter().map(|change| {
                    let text = format!("engine {}: {why}", change.engine().unwrap_or_default());
                    (change, Err(text))
                }));
            }
        }
    }
    outcome
}

/// Makes one change. An engine that has ended follows it when it is started again.
fn change_engine(app: &App, change: &LiveChange) -> Result<(), String> {
    let id = change.engine().unwrap_or_default();
    let Some(engine) = app.registry.get(id) else { return Ok(()) };
    let state = engine.state();
    match (&state.phase, change) {
        (Phase::Finished { .. } | Phase::Failed { .. }, _) => return Ok(()),
        (Phase::Starting, LiveChange::Scenario { source, .. })
            if state.scenario.source == *source =>
        {
            return Ok(());
        }
        (Phase::Starting, _) => {
            return Err(format!("engine {id}: it has not started yet; reload again when it has"));
        }
        _ => {}
    }
    let ask = |ask| engine.ask(ask).map(|()| true);
    let result = match change {
        LiveChange::Scenario { source, .. } => engine.follow(source.clone()),
        LiveChange::Rate { rate, .. } => ask(Ask::SetRate(*rate)),
        LiveChange::Users { users, .. } => ask(Ask::SetUsers(*users)),
        LiveChange::CallsTotal { calls, .. } => ask(Ask::SetCallsTotal(*calls)),
        _ => Ok(false),
    };
    match result {
        Ok(true) => tracing::info!("engine {id}: {change}"),
        Ok(false) | Err(AskError::Over) => {}
        Err(error) => return Err(format!("engine {id}: {error}")),
    }
    Ok(())
}

/// Files that are read in a bounded time, by one thread at a time however many hang.
#[derive(Default)]
pub(super) struct Files {
    /// The last reading, if it took too long.
    hanging: Option<JoinHandle<()>>,
}

impl Files {
    /// Does `work`, which reads files, on a thread that may wait, but for no longer than `within`.
    ///
    /// # Errors
    /// A sentence, if it takes longer, or an earlier one still has not come to its end.
    async fn in_time<T: Send + 'static>(
        &mut self,
        within: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.hanging.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err("a file that the last reload wanted has not been read yet; see to the \
                        file system that it is on"
                .to_owned());
        }
        let (done, is_done) = oneshot::channel();
        let thread = spawn_blocking(move || _ = done.send(work()));
        match timeout(within, is_done).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err("the daemon made a mistake while it read files".to_owned()),
            Err(_) => {
                self.hanging = Some(thread);
                let seconds = within.as_secs();
                Err(format!("its files were not read within {seconds} s; see to the file system"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_file_that_hangs_holds_one_thread_and_no_reload() {
        let mut files = Files::default();
        assert_eq!(files.in_time(READ_TIMEOUT, || 1).await, Ok(1));
        let (end, ends) = mpsc::channel::<()>();
        let error = files.in_time(Duration::ZERO, move || _ = ends.recv()).await.unwrap_err();
        assert!(error.contains("file system"), "{error}");
        let error = files.in_time(READ_TIMEOUT, || 2).await.unwrap_err();
        assert!(error.contains("last reload"), "{error}");
        drop(end);
        while files.in_time(READ_TIMEOUT, || 3).await != Ok(3) {
            tokio::task::yield_now().await;
        }
    }
}
