//! Reading the configuration again while calls go on (SIGHUP).
//!
//! A separate task does it, so that the watchdog, signals and the API are served meanwhile. One
//! reload happens at a time; requests during one are remembered as one. A new configuration is
//! compared with the running one: the configuration of the start with all changes since, whatever
//! files said in between. So a change that could not be made is tried, and reported, again the next
//! time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::api::{App, Names};
use super::auth::Authenticator;
use super::config::{self, LiveChange, ServerConfig};
use super::http::Tls;
use super::logging::Log;
use super::status::Status;
use super::{auth_settings, check_exposure, first_admin_text, notify, tls};
use crate::cli::ServerLine;
use crate::control::{Phase, Refusal, Request};

/// The time that all files together may take to be read. A service manager waits for 90 s by
/// default, for this and for the changes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that the changes of all engines together may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most characters of the reason of the last failed reload that are reported.
const REASON_MAX: usize = 200;

/// Reloads the configuration of a running daemon, in a task of its own.
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
    pub(super) changing: Changing,
}

/// The reason why a reload failed.
enum Failure {
    /// Nothing has changed.
    Refused(String),
    /// Everything has changed except for these, one sentence each.
    Partly(Vec<String>),
}

impl Reloader {
    /// Reloads on every request; never returns.
    pub(super) async fn run(mut self, asked: Arc<Notify>) {
        loop {
            asked.notified().await;
            notify::reloading();
            self.reload().await;
            notify::ready(&self.status.line());
        }
    }

    /// Takes over everything that can be changed while calls go on. A configuration with a mistake
    /// changes nothing.
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
                tracing::error!(
                    "the configuration was read again, but some changes were not applied"
                );
            }
        }
    }

    async fn try_reload(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + READ_TIMEOUT;
        let (new, tls) = self.read(until).await.map_err(Failure::Refused)?;
        let running = self.as_it_runs();
        let plan = config::compare(&running, &new, self.bound);
        // Files are protected before they exist: opening the users makes their file.
        config::protect(&running, &new);
        let auth = self.new_auth(&plan.live, &new, until).await.map_err(Failure::Refused)?;
        // From here on nothing fails as a whole.
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
        let names = Names::of(&running, &self.app.auth(), self.bound);
        self.app.names.store(Arc::new(names));
        let mut failed = Vec::new();
        for (change, result) in self.change_engines(engines).await {
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
    async fn read(
        &mut self,
        until: Instant,
    ) -> Result<(ServerConfig, Option<Arc<rustls::ServerConfig>>), String> {
        let line = self.line.clone().ok_or("it is a profile of a run, which is not read again")?;
        let load = move || config::load_again(line.config.as_deref(), &line.options);
        let new = self.files.in_time(until, load).await?;
        let new = new.map_err(|error| error.to_string())?;
        let files = new.http.as_ref().and_then(|http| http.tls.clone());
        let tls = match files.filter(|_| self.tls.is_some()) {
            Some(files) => {
                let load = move || tls::load(&files.cert, &files.key);
                let loaded = self.files.in_time(until, load).await?;
                Some(loaded.map_err(|error| error.to_string())?)
            }
            None => None,
        };
        Ok((new, tls))
    }

    /// The running configuration, with the changes that were made over the API since.
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

    /// Returns the authentication of the new configuration, if it differs.
    async fn new_auth(
        &mut self,
        changes: &[LiveChange],
        new: &ServerConfig,
        until: Instant,
    ) -> Result<Option<Authenticator>, String> {
        let wanted = changes.iter().find_map(|change| match change {
            LiveChange::Auth(auth) => Some(auth_settings(auth)),
            _ => None,
        });
        let Some(settings) = wanted else { return Ok(None) };
        let auth = self.files.in_time(until, || Authenticator::open(settings)).await?;
        let auth = auth.map_err(|error| error.to_string())?;
        let is_insecure = new.http.as_ref().is_some_and(|http| http.insecure);
        check_exposure(self.bound, is_insecure, &auth).map_err(|error| error.to_string())?;
        if let Some(admin) = auth.first_admin() {
            tracing::warn!("{}", first_admin_text(admin));
        }
        Ok(Some(auth))
    }

    /// Makes changes of engines: of all engines at once, and of each in its order. The time for all
    /// together is bounded. A failed change does not stop the others.
    async fn change_engines(
        &mut self,
        changes: Vec<LiveChange>,
    ) -> Vec<(LiveChange, Result<(), String>)> {
        let until = Instant::now() + CHANGE_TIMEOUT;
        let app = Arc::clone(&self.app);
        let failed = |change: LiveChange, why: &str| {
            let text = format!("engine {}: {why}", change.engine().unwrap_or_default());
            (change, Err(text))
        };
        // A client that changes the scenario over the API changes its file, too.
        let Ok(_one_at_a_time) = timeout_at(until, app.scenario_lock.lock()).await else {
            let why = "a client is still changing the scenario; reload again later";
            return changes.into_iter().map(|change| failed(change, why)).collect();
        };
        let wanted = by_engine(changes);
        let of_app = Arc::clone(&self.app);
        let make = move |changes: Vec<LiveChange>| -> Vec<_> {
            let results = changes.into_iter().map(|change| {
                let result = change_engine(&of_app, &change);
                (change, result)
            });
            results.collect()
        };
        let mut outcome = Vec::new();
        let made = self.changing.in_time(until, wanted.clone(), make).await;
        for ((_, result), (_, changes)) in made.into_iter().zip(wanted) {
            match result {
                Ok(results) => outcome.extend(results),
                Err(why) => outcome.extend(changes.into_iter().map(|change| failed(change, &why))),
            }
        }
        outcome
    }

    /// Makes a change of the process.
    fn carry_out(&self, change: &LiveChange) {
        match change {
            LiveChange::LogLevel(level) => self.log.set_level(*level),
            LiveChange::AllowExec(are_allowed) => {
                self.app.registry.policy().set_commands(*are_allowed);
            }
            LiveChange::Targets(list) => self.app.targets.replace(list.clone()),
            // These were made with the configuration as a whole.
            _ => {}
        }
        tracing::info!("{change}");
    }
}

/// Puts the changes of each engine together, in their order.
fn by_engine(changes: Vec<LiveChange>) -> Vec<(String, Vec<LiveChange>)> {
    let mut by_engine: Vec<(String, Vec<LiveChange>)> = Vec::new();
    for change in changes {
        let engine = change.engine().unwrap_or_default();
        match by_engine.iter_mut().find(|(id, _)| id == engine) {
            Some((_, known)) => known.push(change),
            None => by_engine.push((engine.to_owned(), vec![change])),
        }
    }
    by_engine
}

/// The threads of engines whose changes took too long, by id.
#[derive(Default)]
pub(super) struct Changing {
    hanging: Vec<(String, JoinHandle<()>)>,
}

impl Changing {
    /// Does work for each engine, for all at once, on blocking threads. Returns the result for
    /// each, or the reason why there is none in time. Each engine has one such thread at a time,
    /// however long that takes.
    async fn in_time<I: Send + 'static, T: Send + 'static>(
        &mut self,
        until: Instant,
        inputs: Vec<(String, I)>,
        work: impl Fn(I) -> T + Clone + Send + 'static,
    ) -> Vec<(String, Result<T, String>)> {
        self.hanging.retain(|(_, thread)| !thread.is_finished());
        let started: Vec<_> = inputs
            .into_iter()
            .map(|(engine, input)| {
                if self.hanging.iter().any(|(id, _)| *id == engine) {
                    return (engine, None);
                }
                let (work, (done, is_done)) = (work.clone(), oneshot::channel());
                let thread = spawn_blocking(move || _ = done.send(work(input)));
                (engine, Some((thread, is_done)))
            })
            .collect();
        let mut outcome = Vec::new();
        for (engine, started) in started {
            let result = match started {
                None => Err("the changes of an earlier reload are not done yet".to_owned()),
                Some((thread, is_done)) => match timeout_at(until, is_done).await {
                    Ok(Ok(result)) => Ok(result),
                    Ok(Err(_)) => {
                        Err("the daemon had an internal error while it changed it".to_owned())
                    }
                    Err(_) => {
                        self.hanging.push((engine.clone(), thread));
                        Err(format!("not done within {} s", CHANGE_TIMEOUT.as_secs()))
                    }
                },
            };
            outcome.push((engine, result));
        }
        outcome
    }
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
        LiveChange::Rate { rate, .. } => ask(Request::SetRate(*rate)),
        LiveChange::Users { users, .. } => ask(Request::SetUsers(*users)),
        LiveChange::CallsTotal { calls, .. } => ask(Request::SetCallsTotal(*calls)),
        _ => Ok(false),
    };
    match result {
        Ok(true) => tracing::info!("engine {id}: {change}"),
        Ok(false) | Err(Refusal::Over) => {}
        Err(error) => return Err(format!("engine {id}: {error}")),
    }
    Ok(())
}

/// Reads files in a bounded time, by one thread at a time however many hang.
#[derive(Default)]
pub(super) struct Files {
    /// The last reading, if it took too long.
    hanging: Option<JoinHandle<()>>,
}

impl Files {
    /// Does `work`, which reads files, on a blocking thread, but waits no longer than `until`.
    ///
    /// # Errors
    /// A sentence, if it takes longer, or if an earlier reading has not come to its end yet.
    async fn in_time<T: Send + 'static>(
        &mut self,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.hanging.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(
                "a file of the last reload has not been read yet; check its file system".to_owned()
            );
        }
        let (done, is_done) = oneshot::channel();
        let thread = spawn_blocking(move || _ = done.send(work()));
        match timeout_at(until, is_done).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err("the daemon had an internal error while it read files".to_owned()),
            Err(_) => {
                self.hanging = Some(thread);
                let seconds = READ_TIMEOUT.as_secs();
                Err(format!("its files were not read within {seconds} s; check the file system"))
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
        let later = Instant::now() + READ_TIMEOUT;
        assert_eq!(files.in_time(later, || 1).await, Ok(1));
        let (end, ends) = mpsc::channel::<()>();
        let error = files.in_time(Instant::now(), move || _ = ends.recv()).await.unwrap_err();
        assert!(error.contains("file system"), "{error}");
        let error = files.in_time(later, || 2).await.unwrap_err();
        assert!(error.contains("last reload"), "{error}");
        drop(end);
        while files.in_time(later, || 3).await != Ok(3) {
            tokio::task::yield_now().await;
        }
    }

    type Works = Vec<(String, Option<mpsc::Receiver<()>>)>;

    /// Works that wait for the end of the sender, except for that of `quick`.
    fn works(quick: u8) -> (Works, Vec<mpsc::Sender<()>>) {
        let mut senders = Vec::new();
        let works = (0..4).map(|n| {
            let (end, ends) = mpsc::channel();
            senders.push(end);
            (n.to_string(), Some(ends).filter(|_| n != quick))
        });
        (works.collect(), senders)
    }

    #[tokio::test(start_paused = true)]
    async fn engines_that_hang_hold_a_reload_once_for_all() {
        let mut changing = Changing::default();
        let work = |ends: Option<mpsc::Receiver<()>>| ends.is_none_or(|ends| ends.recv().is_err());
        let (inputs, ends) = works(4);
        let start = Instant::now();
        let until = start + CHANGE_TIMEOUT;
        // The paused clock goes on only while nothing else is to be done.
        let waiting = tokio::spawn(async move {
            let outcome = changing.in_time(until, inputs, work).await;
            (changing, outcome)
        });
        tokio::time::advance(CHANGE_TIMEOUT).await;
        let (mut changing, outcome) = waiting.await.unwrap();
        assert_eq!(start.elapsed(), CHANGE_TIMEOUT);
        assert!(outcome.iter().all(|(_, result)| result.is_err()), "{outcome:?}");
        assert_eq!(changing.hanging.len(), 4);
        // No engine gets a second thread.
        let (inputs, _) = works(4);
        let outcome = changing.in_time(until, inputs, work).await;
        assert!(
            outcome
                .iter()
                .all(|(_, result)| result.as_ref().is_err_and(|why| why.contains("earlier")))
        );
        drop(ends);
        while !changing.hanging.iter().all(|(_, thread)| thread.is_finished()) {
            tokio::task::yield_now().await;
        }
        let (inputs, ends) = works(0);
        drop(ends);
        let outcome = changing.in_time(Instant::now() + CHANGE_TIMEOUT, inputs, work).await;
        assert!(outcome.iter().all(|(_, result)| *result == Ok(true)), "{outcome:?}");
    }
}
