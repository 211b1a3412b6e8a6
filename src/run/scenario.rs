//! Loading the scenario that the configuration names.

use std::fs;

use super::RunError;
use crate::config::ScenarioSource;
use crate::scenario::{self, Program};

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
