//! Another scenario for a running run. The side that brings it compiles it, and checks it against
//! the properties that cannot change while calls are open.

use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::RunError;
use super::addresses;
use super::data::{self, Origin, Tables};
use super::kept;
use super::media;
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
    /// The programs at the start of the run, which decide about the possible replacements.
    began: Generations,
    /// The rows that the run has memory for.
    shape: Arc<Mutex<Shape>>,
    /// One of our addresses; the others must be of its family.
    local: IpAddr,
}

/// A scenario that can take the place of a run's main one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) programs: Programs,
    pub(crate) text: Text,
    /// Addresses of the names in it.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    /// Warnings about doubtful places in it, with SIPp's reading of them.
    pub(crate) warnings: Vec<String>,
    /// The new source of the scenario, if it changes.
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

    /// Reads the text of a scenario, as a run that starts with it would.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(&self, source: &ScenarioSource) -> Result<Text, RunError> {
        Text::read(source, &self.config)
    }

    /// Compiles a scenario that a client sent, or that was [read](Self::read) at `source`. It may
    /// run shell commands only if `allows_commands`. A sent one may include only files that are
    /// meant for such scenarios. If it `is_kept`, the configuration names its file: forbidden
    /// actions are then refused when they happen, as after a start.
    ///
    /// # Errors
    /// An error of the scenario, with line and column, or a feature that this run cannot change to.
    pub(crate) fn compile(
        &self,
        text: Text,
        source: &ScenarioSource,
        allows_commands: bool,
        is_kept: bool,
    ) -> Result<Replacement, RunError> {
        // A file that is read again runs commands only if sent scenarios may.
        let allows_commands = allows_commands || is_kept;
        let origin = Origin { is_receiving: false, is_sent: text.is_sent, allows_commands };
        let checked = self.tables.with_resources(&self.config, source, origin, |resources| {
            scenario::check(&text.xml, &text.name, resources)
        });
        let (mut main, found) = checked.into_result()?;
        main.is_sent = text.is_sent;
        let mut warnings = Vec::new();
        tell(found, &text.name, &mut warnings);
        let began = self.began.programs().clone();
        let sources = media::sources(&self.config, &main, source, &mut warnings)?;
        let clips = began.clips.with_main(sources);
        let programs = Programs { main: Arc::new(main), clips, ..began };
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
