//! Another scenario for a run that goes on: compiled beside the run, by whoever brings it, and
//! checked against what cannot change while calls are open.

use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::RunError;
use super::addresses;
use super::data::{self, Origin, Tables};
use super::kept;
use super::memory::{self, Shape};
use super::plan;
use super::scenario::{Text, tell};
use super::targets;
use crate::config::{HostPort, RunConfig, ScenarioSource};
use crate::engine::{Generations, Programs};
use crate::scenario;

/// Compiles scenarios for a run that goes on.
pub(crate) struct Compiler {
    config: Arc<RunConfig>,
    tables: Arc<Tables>,
    /// What the run began with, which decides what it can go on with.
    began: Generations,
    /// The rows that the run has memory for.
    shape: Arc<Mutex<Shape>>,
    /// An address of ours, whose family those of others must have.
    local: IpAddr,
}

/// A scenario that can take the place of a run's main one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) programs: Programs,
    pub(crate) text: Text,
    /// Addresses of names in it.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    /// Warnings that tell how SIPp reads what is doubtful in it.
    pub(crate) warnings: Vec<String>,
    /// The source of the scenario, if the run has another one from now on.
    pub(crate) source: Option<ScenarioSource>,
}

impl Compiler {
    pub(super) fn new(
        config: Arc<RunConfig>,
        tables: Arc<Tables>,
        began: Generations,
        shape: Arc<Mutex<Shape>>,
        local: IpAddr,
    ) -> Self {
        Self { config, tables, began, shape, local }
    }

    /// The text of a scenario, as a run that began with it would have it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&self, source: &ScenarioSource) -> Result<Text, RunError> {
        Text::read(source, &self.config)
    }

    /// Compiles a scenario that somebody sent, or that was [read](Self::read) at `source`. It may
    /// run shell commands only if `allows_commands`. One that was sent may include no files but
    /// those that are meant for such scenarios. If it `is_kept`, the configuration names its file:
    /// what it may not do is refused when it does it, as after a start.
    ///
    /// # Errors
    /// What is wrong with it, with line and column; or what it has that this run cannot change to.
    pub(crate) fn compile(
        &self,
        text: Text,
        source: &ScenarioSource,
        allows_commands: bool,
        is_kept: bool,
    ) -> Result<Replacement, RunError> {
        // A file that is read again runs commands only where all that comes later may.
        let allows_commands = allows_commands || is_kept;
        let origin = Origin { is_receiving: false, is_sent: text.is_sent, allows_commands };
        let checked = self.tables.with_resources(&self.config, source, origin, |resources| {
            scenario::check(&text.xml, &text.name, resources)
        });
        let (mut main, found) = checked.into_result()?;
        main.is_sent = text.is_sent;
        let mut warnings = Vec::new();
        tell(found, &text.name, &mut warnings);
        let programs = Programs { main: Arc::new(main), ..self.began.programs().clone() };
        self.began.check(&programs)?;
        memory::shape(&self.shape).check_wider(self.began.footprint_with(&programs)?)?;
        plan::check_sets(&self.config, &programs)?;
        match data::check_turns(&self.config, &programs.main) {
            Err(error) if is_kept => warnings.push(kept::failing(&error)),
            result => result?,
        }
        let (mut hosts, mut failed) = (Vec::new(), None);
        for host in programs.main.written_hosts() {
            match self.resolve(&host) {
                Ok(ip) => hosts.push((host, ip)),
                Err(error) if is_kept => failed = failed.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        warnings.extend(failed.iter().map(kept::failing));
        if !is_kept {
            let judges = self.config.reach.for_scenario(text.is_sent);
            targets::judge_programs(judges, iter::once(&*programs.main), &hosts, &self.config)?;
        }
        Ok(Replacement { programs, text, hosts, warnings, source: None })
    }

    fn resolve(&self, host: &str) -> Result<IpAddr, RunError> {
        let named = HostPort { host: host.to_owned(), port: 5060 };
        let address = addresses::pick(addresses::resolve_all(&named)?, &named, Some(self.local))?;
        Ok(address.ip())
    }
}
