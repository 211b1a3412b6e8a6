//! A configuration that can be used: resolved, checked, without a trace of how it was written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::targets::{Network, TargetList};
use crate::config::{LogLevel, RunConfig, Transport};
use crate::files::Access;

/// What a process shall run.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What relative paths of the file are relative to; absolute.
    pub directory: PathBuf,
    /// The directory of the folders for clients of the API; absolute.
    pub data_dir: PathBuf,
    /// Which files its engines may use, but for clients of the API, which may use fewer.
    pub access: Access,
    /// The HTTP side; none where only load is made and no address was given.
    pub http: Option<HttpConfig>,
    /// Who may use the API.
    pub auth: AuthConfig,
    /// The engines, the primary one first; at least one.
    pub engines: Vec<EngineEntry>,
    /// Whether scenarios that arrive over the API may run shell commands.
    pub allow_exec: bool,
    /// Most clients that the API may add at the same time; 0 where it may add none.
    pub dynamic_clients_max: usize,
    /// The targets that clients which the API adds may call.
    pub targets: TargetList,
    /// What of its own doings the process tells.
    pub log_level: LogLevel,
    /// What the operator should read, one sentence each.
    pub notices: Vec<String>,
}

impl ServerConfig {
    /// Folders of files that the process writes, each to be made if it is missing.
    pub fn folders(&self) -> Vec<&Path> {
        let users = match &self.auth {
            AuthConfig::Internal { sqlite_path, .. } => Some(sqlite_path),
            AuthConfig::None | AuthConfig::Token(_) => None,
        };
        let results = self.engines.iter().flat_map(|engine| {
            let RunConfig { summary_json, export, .. } = &engine.run;
            [summary_json.as_ref(), export.call_records.as_ref(), export.events.file.as_ref()]
        });
        let folders = users.into_iter().chain(results.flatten()).filter_map(|path| path.parent());
        folders.filter(|folder| !folder.as_os_str().is_empty()).collect()
    }
}

/// One engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineEntry {
    /// Its name, unique in the process.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// Addresses to listen at, if several or if listed; the first is that of `run`.
    pub listeners: Vec<ListenerConfig>,
    /// What it runs.
    pub run: RunConfig,
    /// Options that were given and that no key stands for, for dumps; they are in `run`.
    pub extra_args: Vec<String>,
}

/// An address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// How SIP messages travel.
    pub transport: Transport,
    /// As in `RunConfig`.
    pub local_ip: Option<IpAddr>,
    /// As in `RunConfig`: 0 lets the kernel choose.
    pub local_port: Option<u16>,
}

/// What an engine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers calls, and the process has an API.
    Management,
    /// It makes calls.
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

/// Where HTTP is served, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address; port 0 lets the kernel choose.
    pub addr: SocketAddr,
    /// HTTPS instead of HTTP.
    pub tls: Option<HttpTls>,
    /// Whether it was said that everybody may come in.
    pub insecure: bool,
    /// Host names under which the API may be asked, beside localhost and addresses; lower case.
    pub allowed_hosts: Vec<String>,
    /// Origins of other pages that may use the API, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Proxies that say truly who asks through them.
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

/// Who may use the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Everybody who reaches it.
    None,
    /// Who shows this token.
    Token(Secret),
    /// Users with passwords.
    Internal {
        /// The SQLite file; it need not be there yet, its directory is.
        sqlite_path: PathBuf,
        /// Key that tokens are signed with; without one, a random key is made and kept.
        jwt_secret: Option<Secret>,
    },
}

/// A text that is not shown.
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

/// What stands in the place of secrets.
pub(super) const MASK: &str = "***";
