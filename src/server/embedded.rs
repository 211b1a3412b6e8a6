//! The API beside a run at a terminal. The run keeps its screens, keys, signals and exit code.
//! Clients steer and watch it over HTTP as the one engine of a daemon.
//!
//! The run is supervised on its own thread, and the API reaches it through its handle; HTTP has
//! threads of its own and ends with the run.

use std::io::{self, IsTerminal as _};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{App, Parts};
use super::auth::{self, Authenticator};
use super::config::{
    AuthConfig, EngineEntry, HttpConfig, HttpTls, Role, Secret, ServerConfig, own_files_of,
};
use super::engines::Registry;
use super::logging::Log;
use super::metrics::Metrics;
use super::{Bound, ServerError, api_runtime, auth_settings, bind, check_exposure, daemon};
use crate::config::targets::{Reach, TargetList, Targets};
use crate::config::{ApiConfig, LogLevel, RunConfig};
use crate::control::{Handle, Policy};
use crate::files::Access;
use crate::run::RunError;
use crate::stats::ExitCode;
use crate::terminal::{self, Terminal};

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
        None => terminal::run(&RunConfig { reach, ..config.clone() }),
        Some(api) => {
            let access = access(config, api);
            let config = &RunConfig { access, reach, ..config.clone() };
            terminal::report(config, || run_with_api(config, api, targets))
        }
    }
}

/// Runs a scenario and serves the API meanwhile. An error that keeps the API from being served
/// keeps the run from starting.
fn run_with_api(
    config: &RunConfig,
    api: &ApiConfig,
    targets: Arc<Targets>,
) -> Result<ExitCode, RunError> {
    let terminal = match Terminal::open(config)? {
        Ok(terminal) => terminal,
        Err(code) => return Ok(code),
    };
    // On a terminal, log lines would spoil the screen.
    if !io::stderr().is_terminal() {
        let _ = Log::start(LogLevel::Warn);
    }
    let prepared = Prepared::new(config, api).map_err(refused)?;
    let mut planned = terminal.plan()?;
    planned.look_often();
    let started = terminal.launch(planned, Policy::new(api.allow_exec))?;
    let place = prepared.place();
    let run = started.handle().clone();
    let serving = prepared.serve(run, config, targets).map_err(refused)?;
    let over = started.watch(Some(&place))?;
    serving.stopping.send_replace(true);
    let code = over.finish();
    serving.close();
    code
}

/// The access to files that the run has. Its own files are protected like those of a daemon, as the
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

/// The fallible parts of the API. They are made before the run is planned.
struct Prepared {
    runtime: Runtime,
    bound: Bound,
    auth: Authenticator,
    server: ServerConfig,
}

/// The API while it serves.
struct Serving {
    runtime: Runtime,
    connections: JoinHandle<()>,
    stopping: watch::Sender<bool>,
    closing: watch::Sender<bool>,
}

impl Prepared {
    fn new(config: &RunConfig, api: &ApiConfig) -> Result<Self, ServerError> {
        let server = server_config(config, api)?;
        let auth = Authenticator::open(auth_settings(&server.auth)).map_err(ServerError::Auth)?;
        let bound = bind(&http_config(api))?;
        check_exposure(Some(bound.address), api.insecure, &auth)?;
        Ok(Self { runtime: api_runtime()?, bound, auth, server })
    }

    /// The address of the API, as the run announces it.
    fn place(&self) -> String {
        let scheme = if self.bound.tls.is_some() { "https" } else { "http" };
        format!("API {scheme}://{}/", self.bound.address)
    }

    /// Serves the API of a run from now on.
    fn serve(
        self,
        run: Handle,
        config: &RunConfig,
        targets: Arc<Targets>,
    ) -> Result<Serving, ServerError> {
        let Self { runtime, bound, auth, server } = self;
        let metrics = Metrics::new();
        metrics.watch_targets(&targets);
        let (stopping, is_stopping) = watch::channel(false);
        let (closing, is_closing) = watch::channel(false);
        let app = App::new(Parts {
            registry: Registry::around(run, config),
            auth,
            metrics: Arc::new(metrics),
            config: server,
            bound: Some(bound.address),
            targets,
            stopping: is_stopping,
            closing: is_closing.clone(),
        });
        let connections = {
            let _guard = runtime.enter();
            daemon::serve(bound, &app, is_closing)?
        };
        Ok(Serving { runtime, connections, stopping, closing })
    }
}

impl Serving {
    /// Closes the connections of waiting clients: they have seen the outcome of the run.
    fn close(self) {
        let Self { runtime, connections, closing, .. } = self;
        closing.send_replace(true);
        // A request that takes longer has had its time.
        let _ = runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, connections).await });
        runtime.shutdown_background();
    }
}

/// The configuration of a server whose one engine is the run; it takes no others.
fn server_config(config: &RunConfig, api: &ApiConfig) -> Result<ServerConfig, ServerError> {
    let auth = match &api.token {
        None => AuthConfig::None,
        Some(token) => match auth::weak_api_token(token) {
            None => AuthConfig::Token(Secret::new(token.clone())),
            Some(why) => return Err(ServerError::Auth(auth::OpenError::Secret(why))),
        },
    };
    let engine = EngineEntry {
        id: terminal::ID.to_owned(),
        role: Role::Load,
        listeners: Vec::new(),
        run: config.clone(),
        extra_args: Vec::new(),
    };
    Ok(ServerConfig {
        file: None,
        directory: std::env::current_dir().unwrap_or_default(),
        data_dir: std::env::current_dir().unwrap_or_default(),
        access: config.access.clone(),
        http: Some(http_config(api)),
        auth,
        engines: vec![engine],
        allow_exec: api.allow_exec,
        dynamic_clients_max: 0,
        targets: TargetList::default(),
        log_level: LogLevel::Warn,
        notices: Vec::new(),
    })
}

/// The reason why the API cannot be served, as an error of the run.
fn refused(error: ServerError) -> RunError {
    let is_bind = error.exit_code() == ExitCode::BindFailed;
    RunError::Api { text: error.to_string(), is_bind }
}
