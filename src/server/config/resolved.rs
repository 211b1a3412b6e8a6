//! A usable configuration: resolved and checked, without a trace of how it was written.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::targets::{Network, TargetList};
use crate::config::{ListenerSpec, LogLevel, RunConfig};
use crate::files::Access;

/// The configuration of a server process.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The directory that relative paths of the file are relative to; absolute.
    pub directory: PathBuf,
    /// The directory of the folders for clients of the API; absolute.
    pub data_dir: PathBuf,
    /// The files that its engines may use. Clients of the API may use fewer.
    pub access: Access,
    /// The HTTP side; `None` if there are only load engines and no address was given.
    pub http: Option<HttpConfig>,
    /// The authentication of the API.
    pub auth: AuthConfig,
    /// The engines, the primary one first; at least one.
    pub engines: Vec<EngineEntry>,
    /// True if scenarios that arrive over the API may run shell commands.
    pub allow_exec: bool,
    /// Most clients that the API may add at the same time; 0 if it may add none.
    pub dynamic_clients_max: usize,
    /// The targets that clients added over the API may call.
    pub targets: TargetList,
    /// The level of the process's own log.
    pub log_level: LogLevel,
    /// Notices for the operator, one sentence each.
    pub notices: Vec<String>,
}

impl ServerConfig {
    /// The directories of files that the process writes; each is made if it is missing.
    pub fn folders(&self) -> Vec<&Path> {
        let users = match &self.auth {
            AuthConfig::Internal { sqlite_path, .. } => Some(sqlite_path),
            AuthConfig::None | AuthConfig::Token(_) => None,
        };
        let results = self.engines.iter().flat_map(|engine| {
            let RunConfig { summary_json, summary_html, export, .. } = &engine.run;
            let (records, events) = (export.call_records.as_ref(), export.events.file.as_ref());
            [summary_json.as_ref(), summary_html.as_ref(), records, events]
        });
        let folders = users.into_iter().chain(results.flatten()).filter_map(|path| path.parent());
        folders.filter(|folder| !folder.as_os_str().is_empty()).collect()
    }
}

/// One engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineEntry {
    /// The name of the engine, unique in the process.
    pub id: String,
    /// The role of the engine.
    pub role: Role,
    /// Addresses to listen at, if several or if listed; the first is that of `run`.
    pub listeners: Vec<ListenerSpec>,
    /// The run of the engine.
    pub run: RunConfig,
    /// Given options that have no key, for dumps; `run` contains them.
    pub extra_args: Vec<String>,
}

/// The role of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers calls; the process has an API.
    Management,
    /// Makes calls.
    Load,
}

impl Role {
    /// The name in files.
    pub fn label(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Load => "load",
        }
    }
}

/// The address of the HTTP server, and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address; port 0 lets the kernel choose.
    pub addr: SocketAddr,
    /// HTTPS instead of HTTP.
    pub tls: Option<HttpTls>,
    /// True if an open API without authentication was asked for.
    pub insecure: bool,
    /// Host names under which the API answers, beside localhost and addresses; lower case.
    pub allowed_hosts: Vec<String>,
    /// Origins of other pages that may use the API, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Trusted proxies, which name their clients truly.
    pub trusted_proxies: Vec<Network>,
}

/// Files of HTTPS; they were there when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The authentication of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// No authentication.
    None,
    /// One token for all.
    Token(Secret),
    /// Users with passwords.
    Internal {
        /// The SQLite file. It may be missing yet, but its directory exists.
        sqlite_path: PathBuf,
        /// Key that tokens are signed with; without one, a random key is made and kept.
        jwt_secret: Option<Secret>,
    },
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The text that is shown in the place of secrets.
pub(super) const MASK: &str = "***";
