//! The API beside a run at a terminal. The run keeps its screens, keys, signals and exit code, and
//! can be steered and watched over HTTP like the one engine of a daemon.
//!
//! Everything of the run happens on its own thread, which calls in here. HTTP has its own threads
//! and ends with the run.

use std::io::{self, IsTerminal as _};
use std::iter;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::api::{App, Checks, Hub};
use super::auth::{self, Authenticator};
use super::config::{
    AuthConfig, EngineEntry, HttpConfig, HttpTls, Role, Secret, ServerConfig, own_files_of,
};
use super::engines::{
    Desk, EngineHandle, EngineKind, EngineSpec, EngineState, Policy, Question, Registry,
};
use super::logging::Log;
use super::metrics::Metrics;
use super::{Bound, ServerError, api_runtime, auth_settings, bind, check_exposure, daemon};
use crate::config::targets::{Reach, TargetList, Targets};
use crate::config::{ApiConfig, LogLevel, RunConfig};
use crate::files::Access;
use crate::run::supervised::{Companion, Finished, Planned, Supervisor};
use crate::run::{self, RunError};
use crate::stats::ExitCode;

/// The id of the engine.
const ID: &str = "primary";

/// The time that requests in progress may take after the end of the run.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a scenario at the terminal, with the API if the configuration has one; returns the exit
/// code of the process. All messages are printed.
pub fn run(config: &RunConfig) -> ExitCode {
    // Clients of an API, of this one or of an earlier run with the same file, have fewer rights
    // than the user at the terminal.
    let targets = Arc::new(Targets::default());
    let reach = Reach::of_configured(&targets);
    match &config.api {
        None => run::run(&RunConfig { reach, ..config.clone() }, None),
        Some(api) => {
            let access = access(config, api);
            let config = &RunConfig { access, reach, ..config.clone() };
            run::run(config, Some(&mut EmbeddedApi { config, api, targets, stage: Stage::Nothing }))
        }
    }
}

/// The access to files that the run has: its own files are protected like those of a daemon. The
/// profile may hold the token of the API, and passwords.
fn access(config: &RunConfig, api: &ApiConfig) -> Access {
    let (http, users) = (http_config(api), AuthConfig::None);
    let own = own_files_of(api.profile.as_deref(), Some(&http), &users, iter::once(config));
    Access::of_run(own)
}

/// The HTTP side of a server that serves the API of a run.
fn http_config(api: &ApiConfig) -> HttpConfig {
    let tls = api.tls.clone();
    HttpConfig {
        addr: api.addr,
        tls: tls.map(|(cert, key)| HttpTls { cert, key }),
        insecure: api.insecure,
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
    }
}

/// The API of a run.
struct EmbeddedApi<'c> {
    config: &'c RunConfig,
    api: &'c ApiConfig,
    targets: Arc<Targets>,
    stage: Stage,
}

/// The stages of the API's life; each holds what the next one is made of.
enum Stage {
    Nothing,
    Bound(Box<Prepared>),
    Planned(Box<Prepared>, Box<Row>),
    Serving(Box<Serving>),
    /// The workers have ended.
    Ending(Box<Serving>, Box<EngineState>),
}

/// The parts that can fail. They are made before the run is planned.
struct Prepared {
    runtime: Runtime,
    bound: Bound,
    auth: Authenticator,
    server: ServerConfig,
}

/// The row of the run in the registry, and the values that its desk is opened with.
struct Row {
    registry: Registry,
    handle: EngineHandle,
    questions: Receiver<Question>,
    spec: EngineSpec,
    config: Arc<RunConfig>,
    notices: Vec<String>,
}

/// The API while it serves.
struct Serving {
    runtime: Runtime,
    desk: Desk,
    connections: JoinHandle<()>,
    stopping: watch::Sender<bool>,
    closing: watch::Sender<bool>,
}

impl Companion for EmbeddedApi<'_> {
    fn prepare(&mut self) -> Result<(), RunError> {
        // On a terminal, log lines would spoil the screen.
        if !io::stderr().is_terminal() {
            let _ = Log::start(LogLevel::Warn);
        }
        self.stage = Stage::Bound(Box::new(self.try_prepare().map_err(refused)?));
        Ok(())
    }

    fn plan(&mut self, planned: &mut Planned) {
        let Stage::Bound(prepared) = std::mem::replace(&mut self.stage, Stage::Nothing) else {
            return;
        };
        planned.look_often();
        let config = Arc::clone(planned.config());
        let run = RunConfig::clone(&config);
        let (id, kind) = (ID.to_owned(), EngineKind::Primary);
        let spec = EngineSpec { id, kind, listeners: Vec::new(), run };
        let policy = Policy::new(self.api.allow_exec);
        let (registry, handle, questions) = Registry::around(&spec, policy);
        handle.adopt_compiler(planned.compiler());
        let notices = planned.warnings().chain(planned.notices()).cloned().collect();
        let row = Row { registry, handle, questions, spec, config, notices };
        self.stage = Stage::Planned(prepared, Box::new(row));
    }

    fn begin(&mut self, run: &Supervisor) -> Result<String, RunError> {
        let Stage::Planned(prepared, row) = std::mem::replace(&mut self.stage, Stage::Nothing)
        else {
            return Ok(String::new());
        };
        let scheme = if prepared.bound.tls.is_some() { "https" } else { "http" };
        let place = format!("API {scheme}://{}/", prepared.bound.address);
        self.stage =
            Stage::Serving(Box::new(serve(*prepared, *row, &self.targets, run).map_err(refused)?));
        Ok(place)
    }

    fn poll(&mut self, run: &mut Supervisor, has_reports: bool, now: u64) {
        if let Stage::Serving(serving) = &mut self.stage {
            serving.desk.serve(run, has_reports, now);
        }
    }

    fn end(&mut self, run: &Supervisor) {
        if let Stage::Serving(mut serving) = std::mem::replace(&mut self.stage, Stage::Nothing) {
            serving.stopping.send_replace(true);
            let state = Box::new(serving.desk.last_state(run));
            self.stage = Stage::Ending(serving, state);
        }
    }

    fn finish(&mut self, finished: &Finished) {
        if let Stage::Ending(serving, state) = std::mem::replace(&mut self.stage, Stage::Nothing) {
            serving.close(*state, finished);
        }
    }
}

impl EmbeddedApi<'_> {
    fn try_prepare(&self) -> Result<Prepared, ServerError> {
        let server = self.server_config()?;
        let auth = Authenticator::open(auth_settings(&server.auth)).map_err(ServerError::Auth)?;
        let bound = bind(&http_config(self.api))?;
        check_exposure(Some(bound.address), self.api.insecure, &auth)?;
        Ok(Prepared { runtime: api_runtime()?, bound, auth, server })
    }

    /// The configuration of a server whose one engine is the run; it takes no others.
    fn server_config(&self) -> Result<ServerConfig, ServerError> {
        let auth = match &self.api.token {
            None => AuthConfig::None,
            Some(token) => match auth::weak_api_token(token) {
                None => AuthConfig::Token(Secret::new(token.clone())),
                Some(why) => return Err(ServerError::Auth(auth::OpenError::Secret(why))),
            },
        };
        let engine = EngineEntry {
            id: ID.to_owned(),
            role: Role::Load,
            listeners: Vec::new(),
            run: self.config.clone(),
            extra_args: Vec::new(),
        };
        Ok(ServerConfig {
            file: None,
            directory: std::env::current_dir().unwrap_or_default(),
            data_dir: std::env::current_dir().unwrap_or_default(),
            access: self.config.access.clone(),
            http: Some(http_config(self.api)),
            auth,
            engines: vec![engine],
            allow_exec: self.api.allow_exec,
            dynamic_clients_max: 0,
            targets: TargetList::default(),
            log_level: LogLevel::Warn,
            notices: Vec::new(),
        })
    }
}

/// Serves the API from here on.
fn serve(
    prepared: Prepared,
    row: Row,
    targets: &Arc<Targets>,
    run: &Supervisor,
) -> Result<Serving, ServerError> {
    let Prepared { runtime, bound, auth, server, .. } = prepared;
    let Row { registry, handle, questions, spec, config, notices } = row;
    let desk = Desk::open(&handle, questions, config, spec.places(), notices, run);
    desk.publish_start(run);
    let metrics = Metrics::new();
    metrics.watch_targets(targets);
    let targets = Arc::clone(targets);
    let (stopping, is_stopping) = watch::channel(false);
    let (closing, is_closing) = watch::channel(false);
    let app = Arc::new(App {
        registry,
        names: ArcSwap::from_pointee(daemon::names(&server, &auth, Some(bound.address))),
        auth: ArcSwap::from_pointee(auth),
        metrics: Arc::new(metrics),
        config: ArcSwap::from_pointee(server),
        targets,
        live: Hub::default(),
        checks: Checks::default(),
        scenario_lock: Mutex::new(()),
        stopping: is_stopping,
        closing: is_closing.clone(),
    });
    let connections = {
        let _guard = runtime.enter();
        daemon::serve(bound, &app, is_closing)?
    };
    Ok(Serving { runtime, desk, connections, stopping, closing })
}

impl Serving {
    /// Answers the last requests with the result of the run, and closes the connections.
    fn close(self, state: EngineState, finished: &Finished) {
        let Self { runtime, desk, connections, closing, .. } = self;
        // The run itself reports missing results.
        let _ = desk.close(state, finished, 0);
        closing.send_replace(true);
        // A request that takes longer has had its time.
        let _ = runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, connections).await });
        runtime.shutdown_background();
    }
}

/// The reason why the API cannot be served, as an error of the run.
fn refused(error: ServerError) -> RunError {
    let is_bind = error.exit_code() == ExitCode::BindFailed;
    RunError::Companion { text: error.to_string(), is_bind }
}
