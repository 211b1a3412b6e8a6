//! One run from a resolved configuration to its reports: load, plan, launch, supervise.
//!
//! A library: it knows no terminal, no signal and no front of a run. Everything here happens
//! on the control side; workers are reached through their queues only.

mod addresses;
mod check;
mod cpus;
mod data;
mod error;
mod exchange;
mod exports;
mod finished;
mod gates;
mod kept;
mod media;
mod memory;
mod plan;
mod planned;
mod pool;
mod recording;
mod reports;
mod rtp_send;
mod scenario;
mod shell;
mod sources;
mod supervisor;
mod targets;
mod third_party;
mod tls;
mod traces;
mod watchdog;

/// The parts of a run that those who control it drive.
pub(crate) mod supervised {
    pub(crate) use super::exchange::{Compiler, Replacement};
    pub(crate) use super::finished::Finished;
    pub(crate) use super::planned::{Planned, Steered};
    pub(crate) use super::pool::{BESIDE_PART, Terms};
    pub(crate) use super::scenario::Text;
    pub(crate) use super::shell::Shell;
    pub(crate) use super::supervisor::Supervisor;
    pub(crate) use super::traces::notes_path;
}

pub use check::{Inspection, inspect};
pub use error::RunError;
pub(crate) use gates::media_mode;
pub(crate) use pool::pool_bytes;
pub use scenario::load as load_scenario;
pub(crate) use targets::calls_per_second;
pub use third_party::ThirdPartyConfigError;

use gossipper_uring::sys;

use crate::config::RunConfig;
use crate::config::targets::TargetList;
use crate::engine::Programs;

/// Loads all scenarios and data files of a run, as its start does, and does nothing else.
///
/// # Errors
/// The error of one of them.
pub fn load_programs(config: &RunConfig) -> Result<Programs, RunError> {
    let tables = data::Tables::load(config)?;
    // No call is made, so a configuration without a permission passes too.
    Ok(scenario::load_all(config, &tables, None, true)?.programs)
}

/// A sentence for each forbidden action, by this list of targets, of scenarios that clients of the
/// API wrote into files of a run. Names in them are not looked up.
pub(crate) fn kept_remarks(
    config: &RunConfig,
    programs: &Programs,
    targets: &TargetList,
    may_command: bool,
) -> Vec<String> {
    let rules = kept::SentRules { is_main_given: false, may_command };
    let now = sys::realtime_now_ns();
    rules.remarks(config, programs, &[], |to| targets.judge(to, false, now).err())
}
