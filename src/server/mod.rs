//! The daemon: engines that run for days, steered and watched over HTTP.
//!
//! [`run`] is its life, from the configuration to an exit code: log, sockets, users, engines. The
//! order has a reason: every failure of a start is reported before the first call. Everything here
//! is control side; engines are reached through [`engines::Registry`] only. [`run_at_terminal`]
//! serves the same API beside a run that is no daemon.

pub mod api;
pub mod auth;
pub mod config;
pub mod engines;
pub mod metrics;

mod connection;
mod daemon;
mod embedded;
mod error;
mod http;
mod logging;
mod notify;
mod places;
mod reloader;
mod status;
mod tls;

pub use embedded::run as run_at_terminal;
pub use error::ServerError;
pub use tls::TlsError;

use std::fs::DirBuilder;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use gossipper_uring::sys;
use tokio::runtime::Runtime;

use crate::cli::ServerLine;
use crate::config::RunConfig;
use crate::config::targets::{Reach, Targets};
use crate::control::Policy;
use crate::dataplane::bind_again;
use auth::{AuthMode, AuthSettings, Authenticator};
use config::{AuthConfig, EngineEntry, HttpConfig, ServerConfig};
use engines::{EngineKind, EngineSpec, Registry};
use logging::Log;

/// The time for which the token of a sign-in is good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Threads of the API. They have no processors of their own, and are few, so that the API cannot
/// take more of the machine than that.
const API_THREADS: usize = 2;

/// Threads for blocking work: requests to engines, files, passwords. Further work waits in line.
const BLOCKING_THREADS_MAX: usize = 16;

/// Runs the daemon; returns the exit code of the process. Errors are on stderr. `line` is the
/// command line behind `config`, for reading it again on SIGHUP. Without it nothing is read again.
pub fn run(config: ServerConfig, line: Option<&ServerLine>) -> u8 {
    let log = Log::start(config.log_level);
    match try_run(line, config, log) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code().code()
        }
    }
}

fn try_run(line: Option<&ServerLine>, config: ServerConfig, log: Log) -> Result<u8, ServerError> {
    make_folders(&config)?;
    let http = config.http.as_ref().map(bind).transpose()?;
    let auth = Authenticator::open(auth_settings(&config.auth)).map_err(ServerError::Auth)?;
    let is_insecure = config.http.as_ref().is_some_and(|http| http.insecure);
    check_exposure(http.as_ref().map(|http| http.address), is_insecure, &auth)?;
    if let Some(admin) = auth.first_admin() {
        tracing::warn!("{}", first_admin_text(admin));
    }
    let runtime = api_runtime()?;
    // Signals first: one that comes while engines start must not kill them half-way.
    let signals = {
        let _guard = runtime.enter();
        daemon::Signals::install().map_err(ServerError::Signals)?
    };
    let policy = Policy::new(config.allow_exec);
    let targets = Arc::new(Targets::new(config.targets.clone()));
    let specs = engine_specs(&config, &targets);
    let registry = Registry::start_after(specs, policy, &config.notices);
    let registry = registry.map_err(ServerError::Engines)?;
    let daemon = daemon::Daemon { line, config, log, auth, registry, targets, signals };
    let code = runtime.block_on(daemon.live(http));
    // Requests that still run have had their time.
    runtime.shutdown_background();
    code
}

/// Makes missing folders, readable by their owner only: users and results are in them.
fn make_folders(config: &ServerConfig) -> Result<(), ServerError> {
    for folder in config.folders().into_iter().filter(|folder| !folder.exists()) {
        let made = DirBuilder::new().mode(0o700).create(folder);
        made.map_err(|source| ServerError::Folder { path: folder.to_owned(), source })?;
        tracing::info!("the folder {} was created", folder.display());
    }
    Ok(())
}

/// The threads of the API.
fn api_runtime() -> Result<Runtime, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(API_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("gossipper-api")
        // Requests wait for workers, never the reverse. Workers that these threads start set their
        // own scheduling.
        .on_thread_start(|| _ = sys::give_way(0))
        .enable_all()
        .build()
        .map_err(ServerError::Runtime)
}

/// Binds the socket of the API, and reads its certificate.
fn bind(http: &HttpConfig) -> Result<Bound, ServerError> {
    let tls = http.tls.as_ref().map(|tls| tls::load(&tls.cert, &tls.key)).transpose()?;
    let failed = |source| ServerError::Bind { addr: http.addr, source };
    let listener = bind_again(|| TcpListener::bind(http.addr)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, tls: tls.map(|tls| Arc::new(http::Tls::from(tls))) })
}

/// The socket of the API.
struct Bound {
    listener: TcpListener,
    /// The address at which it listens. A later configuration does not change it.
    address: SocketAddr,
    tls: Option<Arc<http::Tls>>,
}

/// Refuses an API at `bound` that is open to the network without authentication.
fn check_exposure(
    bound: Option<SocketAddr>,
    is_insecure: bool,
    auth: &Authenticator,
) -> Result<(), ServerError> {
    match bound {
        Some(address) if auth.is_open() && !is_insecure && !address.ip().is_loopback() => {
            Err(ServerError::Exposed(address))
        }
        _ => Ok(()),
    }
}

fn auth_settings(auth: &AuthConfig) -> AuthSettings {
    let mode = match auth {
        AuthConfig::None => AuthMode::Open,
        AuthConfig::Token(token) => AuthMode::StaticToken(token.expose().to_owned()),
        AuthConfig::Internal { sqlite_path, jwt_secret } => AuthMode::Internal {
            sqlite_path: sqlite_path.clone(),
            jwt_secret: jwt_secret.as_ref().map(|secret| secret.expose().to_owned()),
        },
    };
    AuthSettings { mode, allow_query_token: true, token_lifetime: TOKEN_LIFETIME }
}

fn first_admin_text(admin: &auth::FirstAdmin) -> String {
    let name = &admin.username;
    match &admin.password_file {
        Some(file) => format!(
            "the user {name:?} was created; the password is in {}, which only its owner can read. \
             The file is deleted when the password is changed: `gossipper auth user-passwd`",
            file.display()
        ),
        None => format!("the user {name:?} was created with the password of the environment"),
    }
}

/// The engines of a configuration, in the form that the registry takes.
fn engine_specs(config: &ServerConfig, targets: &Arc<Targets>) -> Vec<EngineSpec> {
    let engines = config.engines.iter().enumerate();
    engines.map(|(index, engine)| engine_spec(index, engine, targets)).collect()
}

fn engine_spec(index: usize, engine: &EngineEntry, targets: &Arc<Targets>) -> EngineSpec {
    EngineSpec {
        id: engine.id.clone(),
        kind: if index == 0 { EngineKind::Primary } else { EngineKind::Static },
        listeners: engine.listeners.clone(),
        run: RunConfig { reach: Reach::of_configured(targets), ..engine.run.clone() },
    }
}
