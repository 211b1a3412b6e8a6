//! Loading: from the text of a file and a command line to a `ServerConfig`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::binds;
use super::check;
use super::engine::{Builder, Built, scenario_of};
use super::files;
use super::layout::{self, Position, Profile, infer_role};
use super::own;
use super::problem::{Place, Problem, ProblemKind, Problems};
use super::process::{self, Process};
use super::resolved::{AuthConfig, EngineEntry, Role, ServerConfig};
use super::schema::{key_schema, profile_schema, schema};
use super::tree::{self, Data, Node, TEXT_BYTES_MAX};
use crate::cli::LowArgs;
use crate::config::{Flavor, RunConfig, ScenarioSource};
use crate::control::DOCUMENT;
use crate::engine::Programs;
use crate::files::Access;
use crate::run::{self, RunError};
use crate::scenario::Mode;

/// Keys of an engine that a client added over the API may not have.
const NOT_OF_A_CLIENT: &[&str] = &["listeners"];

/// Keys of the whole process, which a client of the API may not set.
pub fn keys_of_the_process() -> Vec<&'static str> {
    let names = |schema: &'static Value| schema["properties"].as_object().into_iter().flatten();
    let of_an_engine = names(profile_schema());
    let is_process = |(key, rules): (&'static String, &Value)| {
        let is_it = rules["x-process"] == true || NOT_OF_A_CLIENT.contains(&key.as_str());
        is_it.then_some(key.as_str())
    };
    // Keys that only a whole file has.
    let of_a_file = names(schema()).map(|(key, _)| key.as_str()).filter(|key| {
        let is_comment = key.starts_with('$');
        !is_comment && key_schema(key).is_none()
    });
    let mut keys: Vec<&str> = of_a_file.chain(of_an_engine.filter_map(is_process)).collect();
    keys.sort_unstable();
    keys
}

/// Reads a file, applies a command line, and checks everything that can be checked without
/// starting anything. Without a file, one engine answers OPTIONS.
///
/// # Errors
/// All mistakes.
pub fn load(path: Option<&Path>, argv: &LowArgs) -> Result<ServerConfig, Problems> {
    let Some(path) = path else { return parse(b"{\"role\": \"management\"}", None, argv) };
    match files::read_bounded(path, TEXT_BYTES_MAX) {
        Ok(text) => parse(&text, Some(path), argv),
        Err(error) => {
            let message = files::cannot("read", path, &error);
            let kind = ProblemKind::Unreadable;
            let problem = Problem { place: None, key: String::new(), kind, message };
            Err(Problems::new(Some(path.to_owned()), vec![problem]))
        }
    }
}

/// Path of the user database of the configuration file `path`. The file is read as the server reads
/// it, so that both take or refuse the same files.
///
/// # Errors
/// All mistakes of the file, or that it has no users.
pub fn user_database(path: &Path) -> Result<PathBuf, String> {
    let loaded = load(Some(path), &LowArgs::default());
    match loaded.map_err(|problems| problems.to_string())?.auth {
        AuthConfig::Internal { sqlite_path, .. } => Ok(sqlite_path),
        AuthConfig::None | AuthConfig::Token(_) => Err(format!(
            "{} has no users: they need \"auth\": {{\"type\": \"internal\", \"sqlite_path\": \
             FILE}}",
            path.display()
        )),
    }
}

/// Like [`load`], for a text that would stand in the file `path`.
///
/// # Errors
/// All mistakes.
pub fn parse(text: &[u8], path: Option<&Path>, argv: &LowArgs) -> Result<ServerConfig, Problems> {
    let file = path.map(Path::to_owned);
    let failed = |list| Problems::new(file.clone(), list);
    let whole = tree::parse(text).map_err(|problem| failed(vec![problem]))?;
    let directory = directory_of(path);
    let mut loader = Loader::new(&directory);
    loader.file = path;
    let right = loader.checked(&whole, schema());
    let profiles = layout::engines(&whole, &right, &mut loader.problems);
    let config = loader.server(&profiles, argv);
    match config {
        Some(config) if loader.problems.is_empty() => {
            Ok(ServerConfig { file: file.clone(), notices: loader.notices, ..config })
        }
        _ => Err(failed(loader.problems)),
    }
}

/// Reads the engine that a client of the API asks for: the keys of a load engine, without those of
/// the process. It may name files in the folders of the data directory only. If the snippet does
/// not set HEP, the event log or the time limit, those of the primary engine apply.
///
/// The id is empty if the snippet has none.
///
/// # Errors
/// All mistakes.
pub fn snippet(text: &[u8], server: &ServerConfig) -> Result<Snippet, Problems> {
    let failed = |list: Vec<Problem>| {
        Problems::new(None, list.into_iter().map(Problem::of_a_body).collect())
    };
    let whole = tree::parse(text).map_err(|problem| failed(vec![problem]))?;
    let mut loader = Loader::new(&server.directory);
    loader.access = server.access.confined();
    let refused = keys_of_the_process();
    for member in whole.members() {
        if refused.contains(&member.key.as_str()) {
            let message = "a client of the API cannot set this; remove the key";
            loader.report(member.at, &member.key, ProblemKind::Contradiction, message.to_owned());
        }
    }
    let right = loader.checked(&whole, profile_schema());
    let keys = layout::engines(&right, &right, &mut loader.problems);
    let [profile] = keys.as_slice() else { return Err(failed(loader.problems)) };
    let profile = Profile { position: Position::Client, ..profile.clone() };
    if let Some(Role::Management) = infer_role(&profile) {
        let (at, key) = profile.place_of(&["role", "scenario_name"]);
        let message = "a client of the API makes calls; write role \"load\"";
        loader.report(at, &key, ProblemKind::Contradiction, message.to_owned());
    }
    let id = loader.id(&profile, "");
    let built = loader.build(&profile, Role::Load, id, None);
    let built = built
        .filter(|built| loader.check_contents(&profile, Role::Load, &built.engine.run).is_some());
    match built {
        Some(built) if loader.problems.is_empty() => {
            let mut engine = built.engine;
            let export = &engine.run.export;
            let own_hep = export.hep.collector.is_some();
            let own_events = export.events.is_on();
            if let Some(primary) = server.engines.first() {
                inherit(&mut engine.run, &primary.run);
            }
            engine.run.commands &= server.allow_exec;
            Ok(Snippet { engine, own_hep, own_events })
        }
        _ => Err(failed(loader.problems)),
    }
}

/// An engine that a client of the API asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Snippet {
    /// The engine, with the values that it takes over from the primary engine.
    pub engine: EngineEntry,
    /// True if the snippet names its own collector of messages.
    pub own_hep: bool,
    /// True if the snippet sets its own event log.
    pub own_events: bool,
}

/// Fills in the values that an added client takes over from the primary engine.
fn inherit(run: &mut RunConfig, primary: &RunConfig) {
    if run.export.hep.collector.is_none() {
        run.export.hep = primary.export.hep.clone();
    }
    if !run.export.events.is_on() {
        run.export.events = primary.export.events.clone();
        // A file has one writer.
        run.export.events.file = None;
    }
    run.timeout_ms = run.timeout_ms.or(primary.timeout_ms);
}

/// The directory that relative paths are relative to.
pub(super) fn directory_of(path: Option<&Path>) -> PathBuf {
    let parent = path.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned())
}

/// The state while a file is read.
pub(super) struct Loader<'a> {
    directory: &'a Path,
    /// The file that is read.
    pub(super) file: Option<&'a Path>,
    /// The rules for files. They protect the files of the process once all engines are known.
    access: Access,
    pub(super) is_service: bool,
    pub(super) flavor: Flavor,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            file: None,
            access: Access::default(),
            is_service: true,
            flavor: Flavor::Gossipper,
            problems: Vec::new(),
            notices: Vec::new(),
        }
    }

    pub(super) fn report(&mut self, at: Place, key: &str, kind: ProblemKind, message: String) {
        self.problems.push(Problem { place: Some(at), key: key.to_owned(), kind, message });
    }

    /// The right parts of a file; mistakes are reported.
    pub(super) fn checked(&mut self, whole: &Node, rules: &serde_json::Value) -> Node {
        let nothing = Node { at: whole.at, data: Data::Object(Vec::new()) };
        check::check(whole, rules, "", &mut self.problems).unwrap_or(nothing)
    }

    fn has_problem_at(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// Builds the whole configuration from its engines.
    pub(super) fn server(&mut self, profiles: &[Profile], argv: &LowArgs) -> Option<ServerConfig> {
        let mut engines: Vec<(Built, &Profile)> = Vec::new();
        let mut is_complete = true;
        let mut ids = Vec::new();
        for (index, profile) in profiles.iter().enumerate() {
            let fallback = match profile.position {
                Position::Flat => "primary".to_owned(),
                _ => format!("w{index}"),
            };
            let id = self.id(profile, &fallback);
            ids.push(id.clone());
            let Some(role) = self.role(profile) else {
                is_complete = false;
                continue;
            };
            // The command line is for the process and its first engine.
            let argv = (index == 0).then_some(argv);
            match self.build(profile, role, id, argv) {
                Some(built) => engines.push((built, profile)),
                None => is_complete = false,
            }
        }
        self.check_ids(profiles, &ids);
        // Management engines first; the one in `server` stays the first of them.
        engines.sort_by_key(|(built, _)| built.engine.role == Role::Load);
        let (primary, profile) = engines.first()?;
        let process = process::build(
            &primary.process,
            profile,
            primary.engine.role,
            self.directory,
            &mut self.problems,
            &mut self.notices,
        );
        let allow_exec = primary.process.allow_exec;
        let mut engines: Vec<_> =
            engines.into_iter().map(|(built, profile)| (built.engine, profile)).collect();
        is_complete &= self.protect(&mut engines, &process, allow_exec);
        let primary = engines.first().map(|(_, profile)| *profile);
        let http = process.http.as_ref().zip(primary);
        binds::check(&engines, http, &mut self.problems);
        let engines: Vec<_> = engines.into_iter().map(|(engine, _)| engine).collect();
        is_complete.then(|| ServerConfig {
            file: None,
            directory: self.directory.to_owned(),
            data_dir: process.data_dir,
            access: self.access.clone(),
            http: process.http,
            auth: process.auth,
            allow_exec,
            dynamic_clients_max: process.dynamic_clients_max,
            targets: process.targets,
            log_level: engines[0].run.export.events.level,
            engines,
            notices: Vec::new(),
        })
    }

    fn role(&mut self, profile: &Profile) -> Option<Role> {
        let key = check::join(&profile.path, "role");
        let role = infer_role(profile);
        if profile.position == Position::Server
            && matches!(profile.text("role"), Some("load" | "client" | "uac"))
        {
            let (at, key) = profile.place_of(&["role"]);
            let message = "`server` answers calls; write the engine as one of `clients`, or \
                           remove its role";
            self.report(at, &key, ProblemKind::Contradiction, message.to_owned());
        }
        if role == Some(Role::Load)
            && let Some(listeners) = profile.key("listeners")
            && !listeners.node.elements().is_empty()
        {
            let message = "a load engine listens nowhere; remove the key, or write role \
                           \"management\"";
            self.report(
                listeners.at,
                &listeners.path,
                ProblemKind::Contradiction,
                message.to_owned(),
            );
        }
        // A wrong value is no sign of a role.
        if role.is_none() && !self.has_problem_at(&key) {
            let message = "it is not clear what this engine is for; write role \"management\" \
                           (it answers calls) or \"load\" (it makes calls to remote_addr)";
            self.report(profile.at, &key, ProblemKind::MissingKey, message.to_owned());
        }
        role
    }

    /// The id, or `fallback` if there is none.
    fn id(&mut self, profile: &Profile, fallback: &str) -> String {
        let Some(key) = profile.key("id") else { return fallback.to_owned() };
        let Some(id) = key.node.text().filter(|id| !id.is_empty()) else {
            return fallback.to_owned();
        };
        let is_id_char = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let is_id = (1..=64).contains(&id.len()) && id.chars().all(is_id_char);
        if !is_id || matches!(id, "." | "..") {
            let message = format!(
                "{:?} is not an id; write 1 to 64 letters, digits, dots, hyphens and underscores",
                check::shortened(id)
            );
            self.report(key.node.at, &key.path, ProblemKind::BadValue, message);
        } else if id == "primary" && profile.position == Position::Client {
            let message = "primary always means the first engine; choose another id".to_owned();
            self.report(key.node.at, &key.path, ProblemKind::BadValue, message);
        }
        id.to_owned()
    }

    fn check_ids(&mut self, profiles: &[Profile], ids: &[String]) {
        for (index, (profile, id)) in profiles.iter().zip(ids).enumerate() {
            let first = ids[..index].iter().position(|other| other == id);
            if let Some(first) = first.and_then(|first| profiles.get(first)) {
                let (at, key) = profile.place_of(&["id"]);
                let message = format!("{id:?} is the id of {} too; ids are unique", first.path);
                self.report(at, &key, ProblemKind::Contradiction, message);
            }
        }
    }

    pub(super) fn build(
        &mut self,
        profile: &Profile,
        role: Role,
        id: String,
        argv: Option<&LowArgs>,
    ) -> Option<Built> {
        let mut builder = Builder {
            directory: self.directory,
            access: &self.access,
            is_service: self.is_service,
            flavor: self.flavor,
            problems: &mut self.problems,
            notices: &mut self.notices,
        };
        let mut built = builder.build(profile, role, id, argv)?;
        built.engine.run.access = self.access.clone();
        Some(built)
    }

    /// Closes the files of the process to the engines. Returns whether all are usable then.
    fn protect(
        &mut self,
        engines: &mut [(EngineEntry, &Profile)],
        process: &Process,
        allow_exec: bool,
    ) -> bool {
        let (data, http) = (&process.data_dir, process.http.as_ref());
        let all = engines.iter().map(|(engine, _)| &engine.run);
        let own = own::own_files_of(self.file, http, &process.auth, all);
        self.access = Access::of_process(own, data);
        let mut are_usable = true;
        for (engine, profile) in engines {
            engine.run.access = self.access.clone();
            let is_free = own::check(engine, profile, &mut self.problems);
            let check = || self.check_contents(profile, engine.role, &engine.run);
            let Some(programs) = is_free.then(check).flatten() else {
                are_usable = false;
                continue;
            };
            let (run, targets) = (&engine.run, &process.targets);
            let remarks = run::kept_remarks(run, &programs, targets, allow_exec);
            let new = remarks.into_iter().filter(|remark| !self.notices.contains(remark));
            let new: Vec<String> = new.collect();
            self.notices.extend(new);
        }
        are_usable
    }

    /// Loads scenarios and data like a start would. Returns them if they have no mistake.
    fn check_contents(
        &mut self,
        profile: &Profile,
        role: Role,
        run: &RunConfig,
    ) -> Option<Programs> {
        let programs = match run::load_programs(run) {
            Ok(programs) => programs,
            Err(error) => {
                let keys: &[&str] = match &error {
                    RunError::ScenarioFile { .. } | RunError::Scenario(_) => {
                        &["scenario_file", "scenario_name", "extra_args"]
                    }
                    RunError::InjectionFile { .. } | RunError::Injection(_) => {
                        &["injection_file", "extra_args"]
                    }
                    _ => &["extra_args"],
                };
                let (at, key) = profile.place_of(keys);
                let mut message = error.to_string().replace("\n  hint: ", "; ");
                // A client of the API named the file, and need not know its directory.
                if let (true, ScenarioSource::File(file)) =
                    (self.access.is_confined(), &run.scenario)
                {
                    message = message.replace(&file.display().to_string(), DOCUMENT);
                }
                self.report(at, &key, ProblemKind::Scenario, message);
                return None;
            }
        };
        let is_client = programs.main.mode == Mode::Client;
        let before = self.problems.len();
        if role == Role::Management && is_client {
            let (at, key) = profile.place_of(&["scenario_file", "scenario_name", "extra_args"]);
            let message = format!(
                "the {} makes calls, and a management engine answers calls; give one that begins \
                 with <recv>, or write the engine as one of `clients`",
                scenario_of(&run.scenario)
            );
            self.report(at, &key, ProblemKind::Contradiction, message);
        }
        if role == Role::Load && is_client && run.next_hop().is_none() {
            let key = check::join(&profile.path, "remote_addr");
            if !self.has_problem_at(&key) && !self.has_problem_at("remote_addr") {
                let message =
                    "the key is missing; give the address to call, as host:port".to_owned();
                self.report(profile.at, &key, ProblemKind::MissingKey, message);
            }
        }
        (self.problems.len() == before).then_some(programs)
    }
}
