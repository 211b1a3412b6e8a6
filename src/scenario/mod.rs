//! SIPp's scenario language: XML text to a compiled [`Program`].
//!
//! Everything that can be wrong with a scenario is found here, at load, with file, line and column;
//! the engine runs programs that are known to be sound. Pure: reads no file and opens no socket.

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
mod keyword;
mod language;
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
pub use program::*;
pub use resources::{Resources, TableInfo};
pub use template::{
    Authentication, Field, HeaderPart, Injected, LastHeaderPart, Part, REQUEST_URI, Row, Template,
};

/// Compiles the text of a scenario file, as [`decode()`] gives it.
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
    compile_with(text, source, &Resources::keys(keys))
}

/// As [`compile()`], for a scenario that may refer to more than keys.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn compile_with(
    text: &str,
    source: &str,
    resources: &Resources<'_>,
) -> Result<Program, ScenarioError> {
    check(text, source, resources).into_result().map(|(program, _)| program)
}

/// A scenario with all that there is to know about it.
#[derive(Debug)]
pub struct Checked {
    /// The program, if nothing is wrong with it.
    pub program: Option<Program>,
    /// Everything that is wrong or doubtful, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The program with its warnings.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn into_result(self) -> Result<(Program, Vec<Diagnostic>), ScenarioError> {
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        let mut diagnostics = self.diagnostics;
        if let Some(at) = diagnostics.iter().position(is_error) {
            return Err(diagnostics.swap_remove(at).what);
        }
        match self.program {
            Some(program) => Ok((program, diagnostics)),
            // Without a program there is an error: this keeps the promise to callers, no more.
            None => Err(Fault::new(Position::default(), "no scenario").in_source("")),
        }
    }
}

/// As [`compile_with`], with all mistakes instead of the first, and with warnings: SIPp takes much
/// for a scenario, and so do we, but where it reads something in a way of its own that is told.
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

/// Compiles a text that comes with the data of a run, not with the scenario: it may name what
/// `program` knows. `tables` gives the injection file of a name, or the one that the text stands
/// in. `None` if it names anything else.
pub fn compile_value(
    value: &[u8],
    program: &Program,
    tables: &dyn Fn(Option<&str>) -> Option<u16>,
) -> Option<Template> {
    let value = text::Text::at(std::str::from_utf8(value).ok()?, Position::default());
    keyword::text(&value, &mut names::Known { program, tables }).ok()
}
