//! The requests of the commands beside a run, as plain data. The modules that carry them out are
//! not known here: `main` hands each request to its module.

use std::fmt;
use std::path::PathBuf;

use crate::config::{Role, RunConfig, Scope};

/// `gossipper check`: the files to look at, and the way to report.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioCheck {
    /// Scenario files, or names of built-in scenarios.
    pub scenarios: Vec<PathBuf>,
    /// Injection files, indexes and keywords, as of a run.
    pub config: Box<RunConfig>,
    /// True for JSON instead of text.
    pub json: bool,
    /// True if warnings count as errors.
    pub strict: bool,
}

/// `gossipper doctor`: the planned load, and the way to report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostCheck {
    /// Calls to start per second.
    pub rate: f64,
    /// Calls that are open at once.
    pub calls: u64,
    /// True for JSON instead of text.
    pub json: bool,
}

/// `gossipper tune`: the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Print the settings.
    Print,
    /// Raise the values that are lower than the settings.
    Apply {
        /// True to allow io_uring too, if a setting forbids it.
        io_uring: bool,
    },
    /// Restore the earlier values.
    Revert,
}

/// A command line of `gossipper auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthCommand {
    /// The database to work on.
    pub database: UserDatabase,
    /// The task.
    pub task: AuthTask,
}

/// The way to the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserDatabase {
    /// The path that this configuration names.
    OfConfig(PathBuf),
    /// This file.
    File(PathBuf),
}

/// A task of `gossipper auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthTask {
    /// Makes a user.
    Add {
        /// The name.
        username: String,
        /// Source of the password.
        password: NewPassword,
        /// Admin for the first and operator for others if not given.
        role: Option<Role>,
    },
    /// Shows all users.
    List {
        /// True to print JSON.
        json: bool,
    },
    /// Gives a user a new password.
    Passwd {
        /// Name of the user.
        username: String,
        /// Source of the new password.
        password: NewPassword,
    },
    /// Removes a user.
    Delete {
        /// Name of the user.
        username: String,
    },
    /// Changes the role of a user.
    Role {
        /// Name of the user.
        username: String,
        /// The new role.
        role: Role,
    },
    /// Disables a user, or enables it again.
    Disable {
        /// Name of the user.
        username: String,
        /// True to disable.
        disabled: bool,
    },
    /// Makes a token for a program, and prints it.
    AddToken {
        /// The name of the token in lists and in the audit log.
        name: String,
        /// The scope of the token.
        scope: Scope,
        /// Seconds until it expires; `None` for never.
        life_s: Option<u64>,
    },
    /// Shows all tokens, without their secrets.
    ListTokens {
        /// True to print JSON.
        json: bool,
    },
    /// Takes a token out of use.
    RevokeToken {
        /// Name of the token.
        name: String,
    },
}

/// Source of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// Password on the command line.
    Given(String),
    /// The first line of stdin.
    Stdin,
    /// Typed by a person at the terminal.
    Prompt,
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given(_) => "Given(..)",
            Self::Stdin => "Stdin",
            Self::Prompt => "Prompt",
        })
    }
}
