//! Loading the scenario that the configuration names.

use std::fs;

use super::RunError;
use crate::config::ScenarioSource;
use crate::scenario::{self, Builtin, Program};

/// Loads and compiles a scenario. `keys` are the `-key` names and values.
///
/// # Errors
/// If it cannot be read or is wrong; the error names file, line and column.
pub fn load(source: &ScenarioSource, keys: &[(String, String)]) -> Result<Program, RunError> {
    match source {
        ScenarioSource::Builtin(name) => {
            let builtin = builtin(name)?;
            Ok(scenario::compile(builtin.text, builtin.name, keys)?)
        }
        ScenarioSource::File(path) => {
            let read = || fs::read(path);
            let bytes =
                read().map_err(|source| RunError::ScenarioFile { path: path.clone(), source })?;
            let text = String::from_utf8_lossy(&bytes);
            Ok(scenario::compile(&text, &path.display().to_string(), keys)?)
        }
    }
}

/// The built-in scenario of that name.
///
/// # Errors
/// If there is none; the error lists those there are.
pub fn builtin(name: &str) -> Result<&'static Builtin, RunError> {
    scenario::builtin(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> RunError {
    let names: Vec<&str> = scenario::BUILTINS.iter().map(|builtin| builtin.name).collect();
    RunError::UnknownBuiltin {
        name: name.to_owned(),
        hint: format!("built-in scenarios are {}; -sf loads a file", names.join(", ")),
    }
}
