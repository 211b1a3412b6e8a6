//! The run itself: what was started, where, and with which outcome.

use serde::{Deserialize, Serialize};

/// Circumstances of a run, for readers who were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The exit code of the run.
    pub exit_code: u8,
    /// The error that ended the run, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The command line, with secrets left out; absent for an engine of the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Names of the scenarios, the main one first.
    pub scenarios: Vec<String>,
    /// Name of the host.
    pub host: String,
    /// Name, release and machine of its kernel.
    pub system: String,
    /// Processors that the program may use.
    pub cpus: u64,
}
