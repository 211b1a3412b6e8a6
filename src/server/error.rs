//! The reasons why the daemon cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth;
use super::engines::{self, StartError};
use super::tls::TlsError;
use crate::stats::ExitCode;

/// The reason why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The users cannot be read.
    #[error("{0}")]
    Auth(auth::OpenError),
    /// The address of the API cannot be bound.
    #[error("cannot listen on {addr} (api_addr): {source}; {}", bind_advice(source))]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error that the system gave.
        source: io::Error,
    },
    /// The engines cannot start.
    #[error("{0}")]
    Engines(engines::StartError),
    /// The API would be open to the network without authentication.
    #[error(
        "api_addr {0} can be reached from other hosts without signing in; set api_token, or listen \
         on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// A folder for users or results is missing and cannot be made.
    #[error("cannot create the folder {}: {source}; create it for the user that runs this program", path.display())]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error that the system gave.
        source: io::Error,
    },
    /// The threads of the API cannot be started.
    #[error("cannot start the threads of the API: {0}; raise the limit of processes")]
    Runtime(io::Error),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// Certificate or key cannot be used.
    #[error("{0} (api_tls_cert, api_tls_key)")]
    Tls(#[from] TlsError),
}

impl ServerError {
    /// The exit code of a process that does not start for this reason.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Bind { .. } => ExitCode::BindFailed,
            Self::Engines(StartError::Primary { why, .. }) if why.is_bind => ExitCode::BindFailed,
            Self::Exposed(_) | Self::Tls(_) => ExitCode::ConfigUnusable,
            _ => ExitCode::Fatal,
        }
    }
}

fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program, or another gossipper, uses it",
        io::ErrorKind::AddrNotAvailable => "no interface of this host has this address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "choose another address",
    }
}
