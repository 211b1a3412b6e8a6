//! Loading the scenario that the configuration names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use super::RunError;
use super::data::{Origin, Tables};
use super::{media, rtp_send};
use crate::config::{RTP_SEND, RunConfig, ScenarioSource, Trunk};
use crate::engine::{Clips, Programs};
use crate::scenario::{self, Diagnostic, Mode, Program};
use crate::sent_files;

/// Loads and compiles a scenario. `keys` are the `-key` names and values.
///
/// # Errors
/// It cannot be read or has an error; the text names file, line and column.
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

/// A scenario that is read but not compiled.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// The name in errors: its file, or its name among the built-ins.
    pub(crate) name: String,
    /// The XML.
    pub(crate) xml: String,
    /// `true` if it came over the API, directly or in a file that a client wrote.
    pub(crate) is_sent: bool,
}

impl Text {
    /// Reads a scenario.
    ///
    /// # Errors
    /// There is no such built-in, or the file cannot be read.
    pub(crate) fn read(source: &ScenarioSource, config: &RunConfig) -> Result<Self, RunError> {
        match source {
            ScenarioSource::Builtin(name) => {
                if let Some(send) = config.rtp_send.as_ref().filter(|_| name == RTP_SEND) {
                    let xml = rtp_send::scenario(send)?;
                    return Ok(Self { name: name.clone(), xml, is_sent: false });
                }
                let builtin = scenario::find_builtin(name)?;
                let xml = with_trunk(builtin.text, &config.trunk).into_owned();
                Ok(Self { name: builtin.name.to_owned(), xml, is_sent: false })
            }
            ScenarioSource::File(path) => {
                let bytes = config
                    .access
                    .read(path)
                    .map_err(|source| RunError::ScenarioFile { path: path.clone(), source })?;
                // This check follows the read: a client's text is marked before it is written.
                let is_sent = sent_files::is_sent(path, &bytes)
                    .map_err(|source| RunError::ScenarioFile { path: path.clone(), source })?;
                let name = path.display().to_string();
                let xml = scenario::decode(&bytes, &name)?;
                Ok(Self { name, xml: xml.into_owned(), is_sent })
            }
        }
    }
}

/// A built-in scenario with the identities of `-sip_from` and similar options. The texts that `-sd`
/// prints lack these keywords, because SIPp does not know them.
fn with_trunk<'t>(text: &'t str, trunk: &Trunk) -> Cow<'t, str> {
    if *trunk == Trunk::default() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 256);
    let lines = trunk.header_lines();
    let mut is_invite = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        is_invite = match bare.split(' ').next() {
            Some("INVITE" | "OPTIONS") => true,
            Some("ACK" | "BYE" | "SIP/2.0") => false,
            _ => is_invite,
        };
        let from = bare.strip_prefix("From: ").and_then(|rest| rest.split_once(";tag="));
        match (&trunk.from, from) {
            (Some(from), Some((_, tag))) => {
                out.push_str(&format!("{indent}From: {};tag={tag}", escaped(from)));
            }
            _ => out.push_str(line),
        }
        if from.is_some() && is_invite {
            lines.iter().for_each(|line| out.push_str(&format!("{indent}{}\n", escaped(line))));
        }
    }
    Cow::Owned(out)
}

/// A text of the user inside a message: its brackets are not keywords.
fn escaped(text: &str) -> String {
    text.replace('[', "\\x5b")
}

/// Loads all scenarios of a run, and returns the text of the main one too. A `given` one replaces
/// the main one of the configuration, and may have shell commands only if `given_may_command`.
///
/// # Errors
/// Those of [`load`], and a second scenario that does not fit the main one.
pub(super) fn load_all(
    config: &RunConfig,
    tables: &Tables,
    given: Option<Text>,
    given_may_command: bool,
) -> Result<Loaded, RunError> {
    let mut warnings = Vec::new();
    let mut compile = |text: &Text, source: &ScenarioSource, is_receiving, is_given: bool| {
        let is_sent = text.is_sent;
        // Commands of a scenario in a file are refused when they run: a start goes on without them.
        let allows_commands = given_may_command || !is_given;
        let origin = Origin { is_receiving, is_sent, allows_commands };
        let checked = tables.with_resources(config, source, origin, |resources| {
            scenario::check(&text.xml, &text.name, resources)
        });
        let (mut program, found) = checked.into_result()?;
        program.is_sent = is_sent;
        tell(found, &text.name, &mut warnings);
        Ok::<_, RunError>(program)
    };
    let is_given = given.is_some();
    let text = match given {
        None => Text::read(&config.scenario, config)?,
        Some(text) => text,
    };
    let main = compile(&text, &config.scenario, false, is_given)?;
    let mut second = |source: &Option<ScenarioSource>, option| {
        let Some(source) = source else { return Ok(None) };
        if main.mode == Mode::Server {
            return Err(RunError::SecondScenario {
                option,
                problem: "needs a main scenario that makes calls, but this one answers calls",
                hint: "name a client scenario with -sf or -sn, or leave the option out",
            });
        }
        let program = compile(&Text::read(source, config)?, source, true, false)?;
        if program.mode == Mode::Client {
            return Err(RunError::SecondScenario {
                option,
                problem: "names a scenario that begins with <send>, but it must answer calls",
                hint: "give one that begins with <recv>, such as uas",
            });
        }
        Ok(Some(Arc::new(program)))
    };
    let receiving = second(&config.receiving, "-rxsf")?;
    let out_of_call = second(&config.out_of_call, "-oocsf")?;
    let mut notes = Vec::new();
    let second = |program: &Option<Arc<Program>>, source: &Option<ScenarioSource>| {
        program.clone().zip(source.clone())
    };
    let main_and_source = (Arc::new(main), config.scenario.clone());
    let all = [
        Some(main_and_source.clone()),
        second(&receiving, &config.receiving),
        second(&out_of_call, &config.out_of_call),
    ];
    let sources = all.into_iter().flatten();
    let sources = sources
        .map(|(program, source)| media::sources(config, &program, &source, &mut notes))
        .collect::<Result<Vec<_>, _>>()?;
    warnings.extend(notes);
    let (main, _) = main_and_source;
    let clips = Clips::new(sources);
    let programs = Programs { main, receiving, out_of_call, clips };
    Ok(Loaded { programs, text, warnings })
}

/// The scenarios of a run.
pub(super) struct Loaded {
    pub(super) programs: Programs,
    /// The text of the main one.
    pub(super) text: Text,
    /// Warnings about doubtful places in them, with SIPp's reading of them.
    pub(super) warnings: Vec<String>,
}

/// Most warnings about one scenario before a run.
const WARNINGS_MAX: usize = 20;
/// Most warnings that say the same of different places.
const ALIKE_MAX: usize = 3;

/// Adds the findings in the scenario `name` to `warnings`.
pub(super) fn tell(found: Vec<Diagnostic>, name: &str, warnings: &mut Vec<String>) {
    let mut alike: HashMap<&str, usize> = HashMap::new();
    found.iter().for_each(|found| *alike.entry(&found.what.message).or_default() += 1);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let (mut told, mut covered) = (0, 0);
    for found in &found {
        let message = found.what.message.as_str();
        let place = seen.entry(message).or_default();
        *place += 1;
        if *place > ALIKE_MAX || told == WARNINGS_MAX {
            continue;
        }
        warnings.push(found.on_one_line());
        (told, covered) = (told + 1, covered + 1);
        let more = alike[message] - ALIKE_MAX.min(alike[message]);
        if *place == ALIKE_MAX && more > 0 {
            warnings.push(format!(
                "{name}: and {more} more like it; `gossipper check {name}` lists all"
            ));
            covered += more;
        }
    }
    if let Some(more) = found.len().checked_sub(covered).filter(|more| *more > 0) {
        warnings.push(format!(
            "{name}: {more} more warnings; `gossipper check` lists all of a scenario file"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_say_the_same_are_told_three_times() {
        let steps = "<nop a=\"1\"/>\n".repeat(6) + "<nop b=\"1\"/>\n";
        let more: String = (0..30).map(|n| format!("<nop c{n}=\"1\"/>\n")).collect();
        let text = format!("<scenario>\n{steps}<send>A b</send>\n{more}</scenario>");
        let found = scenario::check(&text, "f.xml", &scenario::Resources::keys(&[])).diagnostics;
        let mut warnings = Vec::new();
        tell(found, "f.xml", &mut warnings);
        assert!(warnings[2].starts_with("f.xml:4:6: <nop> has no attribute \"a\""), "{warnings:?}");
        assert_eq!(warnings[3], "f.xml: and 3 more like it; `gossipper check f.xml` lists all");
        assert!(warnings[4].starts_with("f.xml:8:6: "), "{warnings:?}");
        assert_eq!(warnings.len(), WARNINGS_MAX + 2);
        assert!(warnings[21].starts_with("f.xml: 14 more warnings"), "{warnings:?}");
    }

    #[test]
    fn identities_stand_in_built_in_scenarios_only_if_given() {
        let text = scenario::builtin("uac").unwrap().text;
        assert!(matches!(with_trunk(text, &Trunk::default()), Cow::Borrowed(_)));
        let trunk = Trunk {
            from: Some("\"A\" <sip:a@[::1]>".to_owned()),
            asserted_identity: Some("<sip:p@h>".to_owned()),
            provider: Some("prov".to_owned()),
            extra_headers: vec!["X-One: 1".to_owned(), "X-Two: 2".to_owned()],
        };
        let changed = with_trunk(text, &trunk);
        assert_eq!(changed.matches("From: \"A\" <sip:a@\\x5b::1]>;tag=[pid]").count(), 3);
        let block = "P-Asserted-Identity: <sip:p@h>\n      X-provider: prov\n      X-One: 1\n      \
                     X-Two: 2\n";
        assert_eq!(changed.matches(block).count(), 1);
        assert!(changed.find(block) < changed.find("ACK "));
        assert!(scenario::compile(&changed, "uac", &[]).is_ok());
    }
}
