//! Another scenario for a run that goes on: compiled beside the run, by whoever brings it, and
//! checked against what cannot change while calls are open.

use std::sync::Arc;

use super::RunError;
use super::data::{Origin, Tables};
use super::scenario::Text;
use crate::config::{RunConfig, ScenarioSource};
use crate::engine::Programs;
use crate::scenario::{self, Mode, Program};

/// Compiles scenarios for a run that goes on.
pub(crate) struct Compiler {
    config: Arc<RunConfig>,
    tables: Arc<Tables>,
    /// What runs now, as far as another one must be like it.
    mode: (Mode, Mode),
    /// Somebody runs shell commands for the workers.
    runs_commands: bool,
}

/// A scenario that can take the place of a run's main one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) program: Arc<Program>,
    pub(crate) text: Text,
}

impl Compiler {
    pub(super) fn new(config: Arc<RunConfig>, tables: Arc<Tables>, programs: &Programs) -> Self {
        let main = &programs.main;
        Self {
            config,
            tables,
            mode: (main.mode, main.sip_mode),
            runs_commands: programs.all().any(|program| program.runs_commands()),
        }
    }

    /// The file of the run, read again; `None` where it runs a built-in scenario.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read_again(&self) -> Result<Option<Text>, RunError> {
        match &self.config.scenario {
            ScenarioSource::Builtin(_) => Ok(None),
            file => Text::read(file, &self.config.trunk).map(Some),
        }
    }

    /// What errors call a text that takes the place of the run's scenario.
    pub(crate) fn name(&self) -> String {
        match &self.config.scenario {
            ScenarioSource::Builtin(name) => name.clone(),
            ScenarioSource::File(path) => path.display().to_string(),
        }
    }

    /// Compiles a scenario that somebody sent. It may not name files elsewhere than the scenario
    /// that runs, and may run shell commands only if `allows_commands`.
    ///
    /// # Errors
    /// What is wrong with it, with line and column; or what it has that this run cannot change to.
    pub(crate) fn compile(
        &self,
        text: Text,
        allows_commands: bool,
    ) -> Result<Replacement, RunError> {
        let origin = Origin::Sent { allows_commands };
        let program = self.tables.with_resources(
            &self.config,
            &self.config.scenario,
            origin,
            |resources| scenario::compile_with(&text.xml, &text.name, resources),
        )?;
        self.check(&program)?;
        Ok(Replacement { program: Arc::new(program), text })
    }

    fn check(&self, program: &Program) -> Result<(), RunError> {
        let refuse = |problem, hint| Err(RunError::Exchange { problem, hint });
        let (mode, sip_mode) = self.mode;
        if program.mode != mode || program.sip_mode != sip_mode {
            return match sip_mode {
                Mode::Client => refuse(
                    "answers calls, and the one that runs makes them",
                    "send a scenario that begins with <send>",
                ),
                Mode::Server => refuse(
                    "makes calls, and the one that runs answers them",
                    "send a scenario that begins with <recv>",
                ),
            };
        }
        if program.twin_role.is_some() || self.config.twin.is_some() {
            return refuse(
                "is part of third-party call control, whose parts begin together",
                "restart the instances with it",
            );
        }
        if program.runs_commands() && !self.runs_commands {
            return refuse(
                "runs shell commands, and the one that the run began with has none",
                "restart the engine with it",
            );
        }
        Ok(())
    }
}
