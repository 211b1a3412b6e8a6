//! One engine: from its part of the file to its `RunConfig`. Defaults, keys, `extra_args` and the
//! command line apply, each over the one before, all through the table of options.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::{is_off, shortened};
use super::files;
use super::layout::{Key, Position, Profile};
use super::problem::{Place, Problem, ProblemKind};
use super::resolved::{EngineEntry, Role};
use super::schema::{flag_of, key_of, key_schema};
use super::tree::{Data, Node};
use crate::cli::{self, LowArgs, NOT_FOR_SERVER};
use crate::config::{
    ConfigError, Flavor, ListenerSpec, ProcessDraft, RunConfig, RunDraft, ScenarioSource,
    Transport, ValueError,
};
use crate::files::{Access, Folder, without_dots};
use crate::options::{Accept, FlagSpec, Status};

/// SIP's own port (RFC 3261, section 19.1.2).
const SIP_PORT: u16 = 5060;

/// The scenario of a management engine that names none.
const MANAGEMENT: &str = "management";

/// The state that is shared while engines are built.
pub(super) struct Builder<'a> {
    /// The directory that relative paths of the file are relative to.
    pub(super) directory: &'a Path,
    /// The rule for paths: it may restrict them to some folders.
    pub(super) access: &'a Access,
    /// True for an engine of a service. False for a run profile: it has none of the defaults of a
    /// service, and may do everything that a run at a terminal can do.
    pub(super) is_service: bool,
    /// The set of defaults that applies.
    pub(super) flavor: Flavor,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) notices: &'a mut Vec<String>,
}

/// An engine, and the settings of the process from its part of the file.
pub(super) struct Built {
    pub(super) engine: EngineEntry,
    pub(super) process: ProcessDraft,
}

impl Builder<'_> {
    /// Builds an engine; `None` if it has mistakes, which have been reported then.
    pub(super) fn build(
        &mut self,
        profile: &Profile,
        role: Role,
        id: String,
        argv: Option<&LowArgs>,
    ) -> Option<Built> {
        let before = self.problems.len();
        let mut draft = RunDraft::default();
        self.store_keys(profile, role, &mut draft);
        let mut listeners = self.listeners(profile, &draft);
        self.listen_at(listeners.first(), role, &mut draft);
        let extra_args = self.store_options(profile, argv, &mut draft);
        if !self.is_service {
            self.check_rules_of_a_run(profile, draft.process.api_addr.is_some());
        }
        let process = match self.is_service {
            true => std::mem::take(&mut draft.process),
            false => ProcessDraft::default(),
        };
        if std::mem::take(&mut draft.profiles) != Default::default() {
            let (at, path) = profile.place_of(&["extra_args"]);
            let message = "-config, -run-alias and -list-aliases are not allowed here; write the \
                           keys of the profile instead";
            self.report(Some(at), path, ProblemKind::Option, message.to_owned());
        }
        if self.is_service {
            fill_in(&mut draft, role);
        }
        complete(&mut listeners, &draft);
        let run = self.resolve(profile, draft)?;
        if self.problems.len() > before {
            return None;
        }
        let listeners = listeners
            .iter()
            .map(|listener| ListenerSpec {
                transport: listener.transport,
                local_ip: listener.local_ip,
                local_port: listener.local_port,
            })
            .collect();
        let engine = EngineEntry { id, role, listeners, run, extra_args };
        Some(Built { engine, process })
    }

    /// Lets the engine listen where its first listener does. A port of 0 of a management engine is
    /// none, unless the listener was given it.
    fn listen_at(&self, first: Option<&Listener>, role: Role, draft: &mut RunDraft) {
        if let Some(first) = first {
            draft.transport = Some(first.transport);
            draft.transport_for = first.transport_for;
            draft.local_ip = first.local_ip;
            draft.local_port = first.local_port;
        }
        let zero_is_meant = first.is_some_and(|first| first.port_was_given);
        let is_management = self.is_service && role == Role::Management;
        if is_management && draft.local_port == Some(0) && !zero_is_meant {
            draft.local_port = None;
        }
    }

    /// Stores `extra_args` and the options of the command line. Returns those that no key stands
    /// for.
    fn store_options(
        &mut self,
        profile: &Profile,
        argv: Option<&LowArgs>,
        draft: &mut RunDraft,
    ) -> Vec<String> {
        let mut words = self.store_extra(profile, draft);
        if let Some(argv) = argv
            && let Err(error) = over(draft, |draft| cli::store(argv, draft))
        {
            self.report(None, String::new(), ProblemKind::Option, error.to_string());
        }
        words.extend(argv.into_iter().flat_map(words_without_key));
        words
    }

    /// Resolves a draft. A contradiction is reported at the first of its keys that is there.
    fn resolve(&mut self, profile: &Profile, draft: RunDraft) -> Option<RunConfig> {
        let error = match draft.resolve(self.flavor) {
            Ok(run) => {
                for notice in &run.notices {
                    self.note(&profile.path, notice);
                }
                return Some(run);
            }
            Err(error) => error,
        };
        let options = options_of(&error).into_iter();
        let keys: Vec<_> = options.filter_map(key_of).chain(["extra_args"]).collect();
        let (at, path) = profile.place_of(&keys);
        self.report(Some(at), path, ProblemKind::Contradiction, in_keys(&error.to_string()));
        None
    }

    /// Refuses rules that a run does not keep: a run that ignored them would be worse. Most of them
    /// have no meaning without an API; `targets` looks like a bound of the run itself.
    fn check_rules_of_a_run(&mut self, profile: &Profile, has_api: bool) {
        let of_an_api =
            ["auth", "api_allowed_hosts", "api_allowed_origins", "trusted_proxies", "data_dir"];
        let message = "the API of a run does not support this key; protect it with api_token, or \
                       run the profile as a server";
        let of_an_api = of_an_api.map(|name| (name, message)).into_iter().filter(|_| has_api);
        let message = "a run calls only remote_addr and has no such list, which limits the clients \
                       that the API of a server adds; move it into the file of `gossipper server \
                       -config FILE`, or remove it";
        for (name, message) in of_an_api.chain([("targets", message)]) {
            if let Some(key) = profile.key(name) {
                let (at, path) = (Some(key.at), key.path.clone());
                self.report(at, path, ProblemKind::Contradiction, message.to_owned());
            }
        }
    }

    fn report(&mut self, place: Option<Place>, key: String, kind: ProblemKind, message: String) {
        self.problems.push(Problem { place, key, kind, message });
    }

    fn note(&mut self, engine: &str, text: &str) {
        self.notices.push(match engine {
            "" => text.to_owned(),
            _ => format!("{engine}: {text}"),
        });
    }

    /// Stores the keys of the file. If a scenario has a file and a name, the file wins.
    fn store_keys(&mut self, profile: &Profile, role: Role, draft: &mut RunDraft) {
        for key in &profile.keys {
            let Some(rules) = key_schema(&key.name) else { continue };
            let is_process = rules["x-process"] == true;
            if is_process && profile.position == Position::Client {
                if key.path != key.name {
                    let text = "applies to the whole process and has no effect in a client";
                    self.note(&key.path, text);
                }
                continue;
            }
            if key.name == "remote_addr" && role == Role::Management {
                if key.path == super::check::join(&profile.path, &key.name) {
                    self.note(&key.path, "has no effect: a management engine makes no calls");
                }
                continue;
            }
            if let Some(flag) = flag_of(&key.name) {
                self.store_key(key, flag, rules, draft);
            }
        }
        if draft.scenario_file.is_some() && draft.scenario_name.take().is_some() {
            self.note(&profile.path, "scenario_name has no effect: scenario_file is given");
        }
    }

    fn store_key(
        &mut self,
        key: &Key,
        flag: &'static FlagSpec,
        rules: &Value,
        draft: &mut RunDraft,
    ) {
        if is_off(&key.node, rules) {
            return;
        }
        let accept = match flag.resolved().status {
            Status::Supported(accept) => accept,
            Status::Later(missing) => {
                // `x-off` has already told which values turn nothing on.
                if rules["x-off"].is_array() || asks_for_something(&key.node) {
                    let message =
                        format!("not in this version: {missing} is missing; remove the key");
                    let kind = ProblemKind::NotInThisVersion;
                    self.report(Some(key.at), key.path.clone(), kind, message);
                }
                return;
            }
            _ => return,
        };
        let values: Vec<&Node> = match &key.node.data {
            Data::List(list) => list.iter().collect(),
            _ => vec![&key.node],
        };
        for node in values {
            let Some(value) = self.value_of(key, flag, node, rules) else { continue };
            let stored = match (&node.data, accept) {
                (Data::Bool(is_on), Accept::Switch(_)) => match is_on {
                    true => accept.store(draft, &[]),
                    false => Ok(()),
                },
                _ => accept.store(draft, &[value.as_os_str()]),
            };
            if let Err(error) = stored {
                self.bad_value(node.at, &key.path, &error);
            }
        }
    }

    /// The value as it would stand on a command line; `None` after reporting a mistake in it.
    fn value_of(
        &mut self,
        key: &Key,
        flag: &'static FlagSpec,
        node: &Node,
        rules: &Value,
    ) -> Option<OsString> {
        let text = match &node.data {
            Data::Bool(value) => value.to_string(),
            Data::Number(text) => plain_number(node, text),
            Data::Text(text) => text.clone(),
            _ => return None,
        };
        let Some(purpose) = rules["x-path"].as_str() else { return Some(text.into()) };
        let path = self.path(node.at, &key.path, flag.resolved().name, Path::new(&text))?;
        if self.access.is_confined() {
            return Some(path.into());
        }
        let problem = match purpose {
            // A start reads the file again, and would wait for the other end of a pipe.
            "read" if self.is_service && files::is_special(&path) => {
                Some(format!("{} is not a regular file; name one", path.display()))
            }
            _ => files::unusable(&path, purpose),
        };
        if let Some(problem) = problem {
            self.report(Some(node.at), key.path.clone(), ProblemKind::File, problem);
            return None;
        }
        Some(path.into())
    }

    /// The resolved path of `option`. For a client of the API its use is tried out, too.
    fn path(&mut self, at: Place, key: &str, option: &str, path: &Path) -> Option<PathBuf> {
        if !self.access.is_confined() {
            return Some(without_dots(&self.directory.join(path)));
        }
        let folder = Folder::of_option(option);
        let placed = self.access.place(folder, path).and_then(|place| {
            let is_folder = option.ends_with("_dir");
            let refusal = files::refusal_in_folder(self.access, folder, &place, is_folder);
            refusal.map_or(Ok(place), Err)
        });
        match placed {
            Ok(place) => Some(place),
            Err(message) => {
                self.report(Some(at), key.to_owned(), ProblemKind::File, message);
                None
            }
        }
    }

    fn bad_value(&mut self, at: Place, key: &str, error: &ValueError) {
        self.report(Some(at), key.to_owned(), ProblemKind::BadValue, error.to_string());
    }

    /// Stores `extra_args`, read by the command line's own reader. Returns those that have no key.
    fn store_extra(&mut self, profile: &Profile, draft: &mut RunDraft) -> Vec<String> {
        let nothing = Vec::new();
        let Some(key) = profile.key("extra_args") else { return nothing };
        let elements = key.node.elements();
        let words: Vec<OsString> =
            elements.iter().filter_map(Node::text).map(OsString::from).collect();
        let place_of = |typed: &str| {
            let word = typed.trim_start_matches('-');
            let is_it = |text: &str| {
                let text = text.trim_start_matches('-');
                text == word || text.split('=').next() == Some(word)
            };
            let found = elements.iter().position(|node| node.text().is_some_and(is_it));
            match found {
                Some(index) => (elements[index].at, format!("{}[{index}]", key.path)),
                None => (key.at, key.path.clone()),
            }
        };
        let mut low = match cli::read_options(&words) {
            Ok(low) => low,
            Err(error) => {
                let (at, path) = place_of(error.typed().unwrap_or_default());
                self.report(Some(at), path, ProblemKind::Option, error.to_string());
                return nothing;
            }
        };
        for given in &mut low.options {
            let flag = given.flag.resolved();
            let (at, path) = place_of(given.flag.name);
            if self.is_service && NOT_FOR_SERVER.contains(&flag.name) {
                let message =
                    format!("-{} is only for a run at a terminal; leave it out", given.flag.name);
                self.report(Some(at), path, ProblemKind::Option, message);
                return nothing;
            }
            let is_process = flag.name != "config"
                && key_of(flag.name)
                    .and_then(key_schema)
                    .is_some_and(|key| key["x-process"] == true);
            if is_process && profile.position == Position::Client {
                let message =
                    format!("-{} applies to the whole process; write it in `server`", flag.name);
                self.report(Some(at), path, ProblemKind::Option, message);
                return nothing;
            }
            // Paths of the file are relative to the file, wherever they stand in it.
            if let Status::Supported(Accept::Path(_)) = flag.status
                && let Some(value) = given.values.first_mut()
                && !value.is_empty()
            {
                let Some(resolved) = self.path(at, &path, flag.name, Path::new(value)) else {
                    return nothing;
                };
                *value = resolved.into();
            }
        }
        if let Err(error) = over(draft, |draft| cli::store(&low, draft)) {
            let (at, path) = place_of(error.typed().unwrap_or_default());
            self.report(Some(at), path, ProblemKind::Option, error.to_string());
        }
        words_without_key(&low)
    }

    /// Reads `listeners`: missing values of an entry are those of the engine.
    fn listeners(&mut self, profile: &Profile, engine: &RunDraft) -> Vec<Listener> {
        let Some(key) = profile.key("listeners") else { return Vec::new() };
        let mut listeners = Vec::new();
        for (index, entry) in key.node.elements().iter().enumerate() {
            let mut draft = RunDraft::default();
            for member in entry.members() {
                let Some(flag) = flag_of(&member.key) else { continue };
                let Some(rules) = key_schema(&member.key) else { continue };
                let key = Key {
                    name: member.key.clone(),
                    path: format!("{}[{index}].{}", key.path, member.key),
                    at: member.at,
                    node: member.node.clone(),
                };
                self.store_key(&key, flag, rules, &mut draft);
            }
            let own_transport = draft.transport.map(|transport| (transport, draft.transport_for));
            let (transport, transport_for) = own_transport
                .unwrap_or((engine.transport.unwrap_or(Transport::UdpMono), engine.transport_for));
            // At the engine a port of 0 means none; in an entry it means a free one.
            let inherited = engine.local_port.filter(|&port| port != 0);
            listeners.push(Listener {
                transport,
                transport_for,
                local_ip: draft.local_ip.or(engine.local_ip),
                local_port: draft.local_port.or(inherited),
                port_was_given: draft.local_port.is_some(),
            });
        }
        listeners
    }
}

/// An entry of `listeners`.
struct Listener {
    transport: Transport,
    transport_for: Option<crate::config::TransportFor>,
    local_ip: Option<std::net::IpAddr>,
    local_port: Option<u16>,
    port_was_given: bool,
}

/// Gives the listeners the values of the engine, once its options have been read.
fn complete(listeners: &mut [Listener], draft: &RunDraft) {
    if let Some(first) = listeners.first_mut() {
        first.transport = draft.transport.unwrap_or(Transport::UdpMono);
        first.transport_for = draft.transport_for;
        first.local_ip = draft.local_ip;
        first.local_port = draft.local_port;
    }
    for listener in listeners {
        if listener.local_port.is_none() {
            listener.local_port = draft.local_port;
        }
    }
}

/// Fills in the defaults of the role for everything that is still unset.
fn fill_in(draft: &mut RunDraft, role: Role) {
    match role {
        Role::Management => {
            let named = draft.scenario_name.as_deref();
            if draft.scenario_file.is_none() && matches!(named, None | Some("" | "uac")) {
                draft.scenario_name = Some(MANAGEMENT.to_owned());
            }
            draft.calls_total = draft.calls_total.or(Some(0));
            draft.local_port = draft.local_port.or(Some(SIP_PORT));
        }
        // Without a port, a run tries those from 5060 on, which belong to management engines.
        Role::Load => draft.local_port = draft.local_port.or(Some(0)),
    }
}

/// The options that have no key, as words of a command line.
fn words_without_key(low: &LowArgs) -> Vec<String> {
    let mut words = Vec::new();
    for given in &low.options {
        if key_of(given.flag.resolved().name).is_none() {
            words.push(format!("-{}", given.flag.name));
            words.extend(given.values.iter().map(|value| value.to_string_lossy().into_owned()));
        }
    }
    words.extend(low.remote.iter().map(|remote| remote.to_string_lossy().into_owned()));
    words
}

/// Stores a layer over those before it. Of options that exclude each other, those of the new
/// layer replace those of the old ones; so do injection files, which add up within a layer.
fn over<E>(
    draft: &mut RunDraft,
    store: impl FnOnce(&mut RunDraft) -> Result<(), E>,
) -> Result<(), E> {
    let scenario = (draft.scenario_file.take(), draft.scenario_name.take());
    let peer = (draft.rsa.take(), draft.remote.take());
    let open = (draft.concurrent_max.take(), draft.users.take());
    let injection = std::mem::take(&mut draft.injection);
    let result = store(draft);
    if draft.scenario_file.is_none() && draft.scenario_name.is_none() {
        (draft.scenario_file, draft.scenario_name) = scenario;
    }
    if draft.rsa.is_none() && draft.remote.is_none() {
        (draft.rsa, draft.remote) = peer;
    }
    if draft.concurrent_max.is_none() && draft.users.is_none() {
        (draft.concurrent_max, draft.users) = open;
    }
    if draft.injection.is_empty() {
        draft.injection = injection;
    }
    result
}

/// Tells whether a value turns its key on.
fn asks_for_something(node: &Node) -> bool {
    match &node.data {
        Data::Null => false,
        Data::Bool(value) => *value,
        Data::Number(_) => node.number() != Some(0.0),
        Data::Text(text) => !text.is_empty(),
        Data::List(list) => !list.is_empty(),
        Data::Object(members) => !members.is_empty(),
    }
}

/// A number in the form that options take: a whole one has no exponent.
fn plain_number(node: &Node, text: &str) -> String {
    match node.number() {
        Some(number) if number.fract() == 0.0 && text.contains(['.', 'e', 'E']) => {
            format!("{number:.0}")
        }
        _ => text.to_owned(),
    }
}

/// The options that an error is about.
fn options_of(error: &ConfigError) -> Vec<&'static str> {
    let options: Vec<&'static str> = match error {
        ConfigError::Exclusive { first, second, .. } => vec![*second, *first],
        ConfigError::Needs { option, .. }
        | ConfigError::NeedsAuthorities { option }
        | ConfigError::PoolTooSmall { option, .. }
        | ConfigError::OnlyServer { option } => vec![*option],
        ConfigError::RateMaxBelowRate { .. } => vec!["rate_max", "r"],
        ConfigError::RtpPortsReversed { .. } => vec!["min_rtp_port", "max_rtp_port"],
        ConfigError::TooFewCpus { .. } => vec!["cpus", "workers"],
        ConfigError::AddressFamily { .. } => vec!["rsa", "i"],
    };
    // Some contain their value: `tls_skip_verify false`.
    options.into_iter().map(|option| option.split(' ').next().unwrap_or(option)).collect()
}

/// The text of an error about options, with the keys that stand for them.
fn in_keys(message: &str) -> String {
    let mut known: Vec<(&str, String)> = Vec::new();
    for word in message.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))) {
        if let Some(name) = word.strip_prefix('-')
            && let Some(key) = key_of(name)
            && !known.iter().any(|(word, _)| *word == name)
        {
            known.push((name, format!("{key} (-{name})")));
        }
    }
    let mut text = message.to_owned();
    // Only the first mention is explained.
    for (name, replacement) in known {
        text = text.replacen(&format!("-{name} "), &format!("{replacement} "), 1);
    }
    text
}

/// The scenario's name or file, for messages.
pub(super) fn scenario_of(source: &ScenarioSource) -> String {
    match source {
        ScenarioSource::Builtin(name) => format!("scenario {:?}", shortened(name)),
        ScenarioSource::File(path) => format!("scenario {}", path.display()),
    }
}
