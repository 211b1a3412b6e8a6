//! `gossipper check`: compiles scenarios and reads injection files as a run would, makes no calls,
//! and reports all errors and doubtful places.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RunError;
use super::data::{Origin, Remark, Tables};
use super::media;
use super::scenario::Text;
use super::third_party::first_command;
use crate::config::{RunConfig, ScenarioSource};
use crate::scenario::{self, Action, Diagnostic, Field, Program, Severity, Template};
use crate::sent_files::mark_name;

/// Name and version of the schema of the JSON report.
const SCHEMA: &str = "gossipper_check_v1";
/// Exit code if there is an error.
const EXIT_WRONG: u8 = 1;

/// The task of `gossipper check`: the files to check, and the form of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// Scenario files, or names of built-in scenarios.
    pub scenarios: Vec<PathBuf>,
    /// Injection files, indexes and keywords, as of a run.
    pub config: Box<RunConfig>,
    /// True for a report as JSON instead of text.
    pub json: bool,
    /// True if warnings count as errors.
    pub strict: bool,
}

/// Checks files and prints the findings. Returns the exit code: 1 if there is an error.
pub fn inspect(inspection: &Inspection) -> u8 {
    let report = Report::of(inspection);
    let text = match inspection.json {
        true => report.json(),
        false => report.text(inspection.scenarios.len()),
    };
    let code = if report.ok { 0 } else { EXIT_WRONG };
    match io::stdout().write_all(text.as_bytes()) {
        // A closed pipe, as in `gossipper check FILE | head`, is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => EXIT_WRONG,
        _ => code,
    }
}

#[derive(Serialize)]
struct Report {
    schema_version: &'static str,
    tool_version: &'static str,
    ok: bool,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Finding>,
}

/// A finding; line and column are 0 if it has no place in the file.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    line: u32,
    column: u32,
    severity: &'static str,
    message: String,
    hint: String,
}

impl Report {
    fn of(inspection: &Inspection) -> Self {
        let mut diagnostics = Vec::new();
        let config = &inspection.config;
        let mut errors = Vec::new();
        let mut tables = Tables::collect(config, &mut errors);
        if config.injection.is_empty() || !errors.is_empty() {
            tables.leave_open();
        }
        diagnostics.extend(errors.iter().map(|error| failed("-inf", error)));
        diagnostics.extend(tables.remarks().map(|remark| doubtful(config, &remark)));
        for path in &inspection.scenarios {
            scenario(path, config, &tables, &mut diagnostics);
        }
        if inspection.strict {
            let warnings = diagnostics.iter_mut();
            warnings
                .filter(|found| found.severity == Severity::Warning.word())
                .for_each(|found| found.severity = Severity::Error.word());
        }
        let count = |severity: Severity| {
            diagnostics.iter().filter(|found| found.severity == severity.word()).count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        Self {
            schema_version: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            ok: errors == 0,
            errors,
            warnings,
            diagnostics,
        }
    }

    fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn text(&self, scenarios: usize) -> String {
        let mut page = String::new();
        for Finding { file, line, column, severity, message, hint } in &self.diagnostics {
            let place = match (line, column) {
                (0, _) => file.clone(),
                (line, 0) => format!("{file}:{line}"),
                (line, column) => format!("{file}:{line}:{column}"),
            };
            page.push_str(&format!("{place}: {severity}: {message}\n"));
            if !hint.is_empty() {
                page.push_str(&format!("  hint: {hint}\n"));
            }
        }
        let many = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let (errors, warnings) = (many(self.errors, "error"), many(self.warnings, "warning"));
        page.push_str(&format!("{}: {errors}, {warnings}\n", many(scenarios, "scenario")));
        page
    }
}

/// Checks one scenario: a file, or a built-in of that name.
fn scenario(path: &Path, config: &RunConfig, tables: &Tables, found: &mut Vec<Finding>) {
    let name = path.to_string_lossy();
    let source = match scenario::builtin(&name) {
        Some(builtin) if !path.exists() => ScenarioSource::Builtin(builtin.name.to_owned()),
        _ => ScenarioSource::File(path.to_owned()),
    };
    let text = match Text::read(&source, config) {
        Ok(text) => text,
        Err(error) => return found.push(failed(&name, &error)),
    };
    let origin = Origin { is_sent: text.is_sent, ..Origin::MAIN };
    let checked = tables.with_resources(config, &source, origin, |resources| {
        scenario::check(&text.xml, &text.name, resources)
    });
    found.extend(checked.diagnostics.into_iter().map(Finding::from));
    if text.is_sent {
        let message = "a client of an API wrote it, so it may do less than your own scenarios";
        let hint = format!("to trust it, read it, and copy it or remove {}", mark_name(path));
        found.push(note(&text.name, (0, 0), message, &hint));
    }
    let Some(mut program) = checked.program else { return };
    program.is_sent = text.is_sent;
    let mut notes = Vec::new();
    if let Err(error) = media::sources(config, &program, &source, &mut notes) {
        found.push(failed(&text.name, &error));
    }
    let nowhere = (0, 0);
    found.extend(notes.iter().map(|finding| note(&text.name, nowhere, finding, "")));
    let programs = std::iter::once(&program);
    found.extend(tables.gaps(programs).iter().map(|remark| doubtful(config, remark)));
    if config.injection.is_empty() && reads_files(&program) {
        let message = "fields of injection files are not checked: no file is given";
        found.push(note(&text.name, (0, 0), message, "give the files with -inf FILE"));
    }
    if let Some((place, element)) = first_command(&program) {
        let message = format!("<{element}> needs another instance");
        let hint = "a run names it with -3pcc, or with -master or -slave and -slave_cfg";
        found.push(note(&text.name, (place.line, place.column), &message, hint));
    }
}

/// Returns `true` if the program refers to injection files.
fn reads_files(program: &Program) -> bool {
    let mut fields = program.templates().flat_map(Template::fields);
    let mut actions = program.steps.iter().flat_map(|step| &step.actions);
    fields.any(|field| matches!(field, Field::Injected(_)))
        || actions.any(|action| {
            matches!(action, Action::Lookup { .. } | Action::Insert { .. } | Action::Replace { .. })
        })
}

impl From<Diagnostic> for Finding {
    fn from(Diagnostic { severity, what }: Diagnostic) -> Self {
        Self {
            file: what.source,
            line: what.position.line,
            column: what.position.column,
            severity: severity.word(),
            message: what.message,
            hint: what.hint,
        }
    }
}

fn note(file: &str, (line, column): (u32, u32), message: &str, hint: &str) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        column,
        severity: Severity::Note.word(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// A warning about an injection file, under the name that the user gave it.
fn doubtful(config: &RunConfig, remark: &Remark<'_>) -> Finding {
    let is_it = |path: &&PathBuf| path.file_name().is_some_and(|name| name == remark.file);
    let path = config.injection.iter().find(is_it);
    Finding {
        file: path.map_or_else(|| remark.file.to_owned(), |path| path.display().to_string()),
        line: u32::try_from(remark.line).unwrap_or(u32::MAX),
        column: 0,
        severity: Severity::Warning.word(),
        message: remark.message.clone(),
        hint: remark.hint.to_owned(),
    }
}

/// The finding about a file that cannot be used at all: `file`, if the error does not name one.
fn failed(file: &str, error: &RunError) -> Finding {
    let (file, line, column, message, hint) = match error {
        RunError::Scenario(what) => {
            let (source, place) = (what.source.clone(), what.position);
            (source, place.line, place.column, what.message.clone(), what.hint.clone())
        }
        RunError::Injection(what) => {
            let line = u32::try_from(what.line).unwrap_or(u32::MAX);
            (what.name.clone(), line, 0, what.what.clone(), what.hint.to_owned())
        }
        RunError::ScenarioFile { path, source } => {
            let hint = "give a scenario file, or the name of a built-in scenario";
            let message = format!("cannot read the scenario: {source}");
            (path.display().to_string(), 0, 0, message, hint.to_owned())
        }
        RunError::InjectionFile { path, source } => {
            let hint = "-inf takes a CSV file, relative to the current directory";
            let message = format!("cannot read the injection file: {source}");
            (path.display().to_string(), 0, 0, message, hint.to_owned())
        }
        other => {
            let text = other.to_string();
            let (message, hint) = text.split_once("\n  hint: ").unwrap_or((&text, ""));
            (file.to_owned(), 0, 0, message.to_owned(), hint.to_owned())
        }
    };
    Finding { file, line, column, severity: Severity::Error.word(), message, hint }
}
