//! Failures of the users' file, each with advice.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::super::random::NoRandomness;

/// The users' file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("cannot open the user database {}: {source}; {}", path.display(), advice(source))]
    File {
        /// The database.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// SQLite cannot open the file or its companions.
    #[error(
        "cannot open the user database {}: {detail}; its directory and the files beside it that \
         end in -wal and -shm must be writable for this user", path.display()
    )]
    Open {
        /// The database.
        path: PathBuf,
        /// The text of SQLite.
        detail: String,
    },
    /// The file is no SQLite database, or a damaged one.
    #[error(
        "the user database {} is damaged or is not an SQLite database ({detail}); restore a copy, \
         or move it away and create the users again with `gossipper auth user-add`", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The text of SQLite.
        detail: String,
    },
    /// The database belongs to another program.
    #[error(
        "{} is a database of another program (application id {found:#x}); give `auth.sqlite_path` \
         a file of its own", path.display()
    )]
    Foreign {
        /// The database.
        path: PathBuf,
        /// The application id in its header.
        found: i32,
    },
    /// The database was written by a newer version.
    #[error(
        "the user database {} has version {found}, and this program (gossipper {}) knows {known} \
         at most; update the program, or restore a copy from before the newer one ran",
        path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The file system cannot share memory between processes.
    #[error(
        "the user database {} cannot use write-ahead logging, which needs a local file system; \
         choose another `auth.sqlite_path`", path.display()
    )]
    NoWal {
        /// The database.
        path: PathBuf,
    },
    /// Another process holds the file.
    #[error(
        "the user database {} was locked by another process for more than 5 seconds; find that \
         process with `fuser {}`", path.display(), path.display()
    )]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The disk or the file's permissions forbid writing.
    #[error("cannot write the user database {}: {detail}; {advice}", path.display())]
    Write {
        /// The database.
        path: PathBuf,
        /// The text of SQLite.
        detail: String,
        /// Advice for the user.
        advice: &'static str,
    },
    /// Another error of SQLite.
    #[error("the user database {}: {detail}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// The text of SQLite.
        detail: String,
    },
    /// The file under the path is no longer the one that is open.
    #[error(
        "the user database {} was moved or replaced while it is in use; restart the daemon",
        path.display()
    )]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// There is a user of that name.
    #[error("there is a user {0} already")]
    Exists(String),
    /// There is no such user.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// The user was changed by another session or process in the same moment.
    #[error("{0} was changed by another client meanwhile; try again")]
    Changed(String),
    /// Without this user there would be no admin.
    #[error("{0} is the last admin who can log in; make another user admin first")]
    LastAdmin(String),
    /// No more users fit.
    #[error("there are {0} users already, which is the limit")]
    TooManyUsers(usize),
    /// There is a token of that name.
    #[error("there is a token {0} already")]
    TokenExists(String),
    /// There is no such token.
    #[error("there is no token {0}")]
    NoSuchToken(String),
    /// No more tokens fit.
    #[error("there are {0} tokens already, which is the limit; revoke one that is not used")]
    TooManyTokens(usize),
    /// More work waits than the database can do.
    #[error("too many requests wait for the user database")]
    Overloaded,
    /// The thread that owns the database has ended.
    #[error("the user database is closed")]
    Closed,
    /// No randomness for a secret.
    #[error(transparent)]
    Randomness(NoRandomness),
}

impl StoreError {
    /// The error of SQLite for the file at `path`, as one of ours.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let detail = error.to_string();
        let writable = "give it and its directory to this user";
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, detail }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Open { path, detail }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::ReadOnly) => Self::Write { path, detail, advice: writable },
            Some(ErrorCode::DiskFull) => {
                Self::Write { path, detail, advice: "free space on its file system" }
            }
            Some(ErrorCode::SystemIoFailure) => {
                Self::Write { path, detail, advice: "check its file system and the kernel's log" }
            }
            _ => Self::Sql { path, detail },
        }
    }

    /// Tells whether the request was at fault, and not the file.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Exists(_)
                | Self::NoSuchUser(_)
                | Self::Changed(_)
                | Self::LastAdmin(_)
                | Self::TooManyUsers(_)
                | Self::TokenExists(_)
                | Self::NoSuchToken(_)
                | Self::TooManyTokens(_)
        )
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create its directory first",
        io::ErrorKind::PermissionDenied => "run this as the user that owns it, or give it to them",
        io::ErrorKind::ReadOnlyFilesystem => "choose an `auth.sqlite_path` that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there",
        _ => "check `auth.sqlite_path`",
    }
}
