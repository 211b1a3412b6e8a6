//! SIPp's scenario language: XML text to a compiled [`Program`].
//!
//! Everything that can be wrong with a scenario is found here, at load, with file, line and column;
//! the engine runs programs that are known to be sound. Pure: reads no file and opens no socket.

mod action;
mod analysis;
mod attributes;
mod builtin;
mod compile;
mod error;
mod keyword;
mod names;
mod program;
mod template;
mod xml;

pub use builtin::{BUILTINS, Builtin, builtin};
pub use error::{Position, ScenarioError};
pub use program::*;
pub use template::{Field, Part, Template};

/// Compiles the text of a scenario file.
///
/// `source` names the file in errors; `keys` are the `-key` names and values.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn compile(
    text: &str,
    source: &str,
    keys: &[(String, String)],
) -> Result<Program, ScenarioError> {
    let fallback_name = source.rsplit('/').next().unwrap_or(source).trim_end_matches(".xml");
    xml::parse(text)
        .and_then(|root| compile::compile(&root, fallback_name, keys))
        .map_err(|fault| fault.in_source(source))
}
