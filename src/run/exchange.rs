//! Another scenario for a run that goes on: compiled beside the run, by whoever brings it, and
//! checked against what cannot change while calls are open.

use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::RunError;
use super::data::{Origin, Tables};
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
    /// those that are meant for such scenarios.
    ///
    /// # Errors
    /// What is wrong with it, with line and column; or what it has that this run cannot change to.
    pub(crate) fn compile(
        &self,
        text: Text,
        source: &ScenarioSource,
        allows_commands: bool,
    ) -> Result<Replacement, RunError> {
        // A file that is read again runs commands only where all that comes later may.
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
        let judges = self.config.reach.for_scenario(text.is_sent);
        let mut hosts = Vec::new();
        for host in programs.main.written_hosts() {
            let named = HostPort { host: host.clone(), port: 5060 };
            let address = plan::pick(plan::resolve_all(&named)?, &named, Some(self.local))?;
            hosts.push((host, address.ip()));
        }
        targets::judge_programs(judges, iter::once(&*programs.main), &hosts, &self.config)?;
        Ok(Replacement { programs, text, hosts, warnings, source: None })
    }
}
