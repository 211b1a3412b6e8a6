//! Loading the scenario that the configuration names.

use std::fs;
use std::sync::Arc;

use super::RunError;
use crate::config::{RunConfig, ScenarioSource};
use crate::engine::Programs;
use crate::scenario::{self, Mode, Program};

/// Loads and compiles a scenario. `keys` are the `-key` names and values.
///
/// # Errors
/// If it cannot be read or is wrong; the error names file, line and column.
pub fn load(source: &ScenarioSource, keys: &[(String, String)]) -> Result<Program, RunError> {
    match source {
        ScenarioSource::Builtin(name) => Ok(scenario::load_builtin(name, keys)?),
        ScenarioSource::File(path) => {
            let bytes = fs::read(path)
                .map_err(|source| RunError::ScenarioFile { path: path.clone(), source })?;
            let name = path.display().to_string();
            let text = scenario::decode(&bytes, &name)?;
            Ok(scenario::compile(&text, &name, keys)?)
        }
    }
}

/// Loads all scenarios of a run.
///
/// # Errors
/// As [`load`], and if a second scenario does not fit the main one.
pub(super) fn load_all(config: &RunConfig) -> Result<Programs, RunError> {
    let main = load(&config.scenario, &config.keys)?;
    let second = |source: &Option<ScenarioSource>, option| {
        let Some(source) = source else { return Ok(None) };
        if main.mode == Mode::Server {
            return Err(RunError::SecondScenario {
                option,
                problem: "needs a main scenario that makes calls, and this one answers them itself",
                hint: "name a client scenario with -sf or -sn, or leave the option out",
            });
        }
        let program = load(source, &config.keys)?;
        if program.mode == Mode::Client {
            return Err(RunError::SecondScenario {
                option,
                problem: "names a scenario that begins with <send>, and it should answer",
                hint: "give one that begins with <recv>, such as uas",
            });
        }
        Ok(Some(Arc::new(program)))
    };
    let receiving = second(&config.receiving, "-rxsf")?;
    let out_of_call = second(&config.out_of_call, "-oocsf")?;
    Ok(Programs { main: Arc::new(main), receiving, out_of_call })
}
