//! SIPp's scenario language: XML text to a compiled [`Program`].
//!
//! Every fault of a scenario is found here, at load, with file, line and column; the engine runs
//! programs that are known to be sound. Pure: the module reads no file and opens no socket.

mod action;
mod analysis;
mod arguments;
mod attributes;
mod builtin;
mod checks;
mod commands;
mod compile;
mod decode;
mod distribution;
mod ere;
mod error;
mod exec;
mod keyword;
mod language;
pub mod media;
mod media_action;
mod messages;
mod names;
mod program;
mod repair;
mod resources;
mod template;
mod text;
mod transactions;
mod xml;

use error::{Fault, Sink};

pub use arguments::{WrittenAuthentication, secret_bytes};
pub use builtin::{BUILTINS, Builtin, builtin, find_builtin, load_builtin};
pub use commands::{END_OF_COMMAND, RecvCommand, SendCommand, ThirdPartyRole};
pub use decode::{FILE_BYTES_MAX, bytes, decode};
pub use ere::{Captures, Regex, Scratch, TooComplex};
pub use error::{Diagnostic, Position, ScenarioError, Severity};
pub use keyword::first_keyword;
pub use language::{LanguageEntry, LanguageSection, language};
pub use media_action::{Connect, Digits, MediaAction, Play, Record};
pub use program::*;
pub use resources::{Resources, TableInfo};
pub use template::{
    Authentication, Field, HeaderPart, Injected, LastHeaderPart, Part, REQUEST_URI, Row, Template,
    WebrtcField,
};

/// Compiles the text of a scenario file, which [`decode()`] returns.
///
/// `source` names the file in errors; `keys` are the `-key` names and values.
///
/// # Errors
/// The first fault, with its place.
pub fn compile(
    text: &str,
    source: &str,
    keys: &[(String, String)],
) -> Result<Program, ScenarioError> {
    compile_with(text, source, &Resources::keys(keys))
}

/// Compiles as [`compile()`] does, for a scenario that may refer to more than keys.
///
/// # Errors
/// The first fault, with its place.
pub fn compile_with(
    text: &str,
    source: &str,
    resources: &Resources<'_>,
) -> Result<Program, ScenarioError> {
    check(text, source, resources).into_result().map(|(program, _)| program)
}

/// A checked scenario with all findings about it.
#[derive(Debug)]
pub struct Checked {
    /// The program, if there is no error.
    pub program: Option<Program>,
    /// All errors, warnings and notes, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The program with its warnings.
    ///
    /// # Errors
    /// The first error, with its place.
    pub fn into_result(self) -> Result<(Program, Vec<Diagnostic>), ScenarioError> {
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        let mut diagnostics = self.diagnostics;
        if let Some(at) = diagnostics.iter().position(is_error) {
            return Err(diagnostics.swap_remove(at).what);
        }
        match self.program {
            Some(program) => Ok((program, diagnostics)),
            // Without a program there is an error, so that this branch only completes the match.
            None => Err(Fault::new(Position::default(), "no scenario").in_source("")),
        }
    }
}

/// Compiles as [`compile_with`] does, and returns all mistakes instead of the first, with warnings.
/// SIPp accepts many faulty scenarios, and so do we; a warning says how SIPp reads them.
pub fn check(text: &str, source: &str, resources: &Resources<'_>) -> Checked {
    let fallback_name = source.rsplit('/').next().unwrap_or(source).trim_end_matches(".xml");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let sink = Sink::default();
    let program = match decode::check_size(decode::bytes(text).len()) {
        Ok(()) => {
            let document = xml::parse(text, &sink);
            compile::compile(&document, fallback_name, resources, &sink)
        }
        Err(fault) => {
            sink.error(fault);
            None
        }
    };
    Checked { program, diagnostics: sink.into_diagnostics(source) }
}

/// Compiles a text that comes with the data of a run, not with the scenario: it may use the names
/// that `program` knows. `tables` gives the injection file of a name, or without a name the file of
/// the text itself. Returns `None` if the text names anything else.
pub fn compile_value(
    value: &[u8],
    program: &Program,
    tables: &dyn Fn(Option<&str>) -> Option<u16>,
) -> Option<Template> {
    let value = text::Text::at(std::str::from_utf8(value).ok()?, Position::default());
    keyword::text(&value, &mut names::Known { program, tables }).ok()
}
