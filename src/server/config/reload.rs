//! Reloading (SIGHUP): the changes of a new configuration that a running process can take over, and
//! those that it cannot.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use super::effective::keys;
use super::files;
use super::load::load;
use super::own::own_files;
use super::problem::{Problem, ProblemKind, Problems};
use super::resolved::{AuthConfig, EngineEntry, ServerConfig};
use crate::cli::LowArgs;
use crate::config::targets::{Network, TargetList};
use crate::config::{CallLimit, LogLevel, RunConfig, ScenarioSource};
use crate::control::Rate;
use crate::files::OwnKind;

/// The difference up to which rates are the same: those of other periods are converted.
const RATE_TOLERANCE: f64 = 1e-9;

/// Reads a file again, like [`load`]. Only a regular file can be read twice; a pipe might never
/// come to its end.
///
/// # Errors
/// All mistakes.
pub fn load_again(path: Option<&Path>, argv: &LowArgs) -> Result<ServerConfig, Problems> {
    match path {
        Some(path) if files::is_special(path) => {
            let message =
                "this is not a regular file, so it cannot be read again; name a regular file"
                    .to_owned();
            let kind = ProblemKind::Unreadable;
            let problem = Problem { place: None, key: String::new(), kind, message };
            Err(Problems::new(Some(path.to_owned()), vec![problem]))
        }
        _ => load(path, argv),
    }
}

/// The plan for a new configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadPlan {
    /// Changes that can be applied now, in this order.
    pub live: Vec<LiveChange>,
    /// Changes that apply only after a restart, one sentence each that names the key.
    pub restart: Vec<String>,
}

/// A change that a running process can make.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveChange {
    /// New calls follow this scenario, if its text or its place differs from before. The texts are
    /// not compared here.
    Scenario {
        /// The engine.
        engine: String,
        /// The source of the scenario.
        source: ScenarioSource,
    },
    /// Starts calls at this rate.
    Rate {
        /// The engine.
        engine: String,
        /// The rate, in the unit of the configuration.
        rate: Rate,
    },
    /// Keeps so many calls open.
    Users {
        /// The engine.
        engine: String,
        /// The number of calls.
        users: u64,
    },
    /// Stops creating calls after this number.
    CallsTotal {
        /// The engine.
        engine: String,
        /// Number of calls since the start; `None` is no limit.
        calls: Option<u64>,
    },
    /// Uses other users, tokens or keys.
    Auth(AuthConfig),
    /// Uses other host names, origins and proxies of the API.
    Allowed {
        /// Host names, as in `HttpConfig`.
        hosts: Vec<String>,
        /// Origins, as in `HttpConfig`.
        origins: Vec<String>,
        /// Trusted proxies, as in `HttpConfig`.
        proxies: Vec<Network>,
    },
    /// Reads the certificate of HTTPS again, from the files of the new configuration.
    Certificates,
    /// Allows or forbids shell commands in scenarios that arrive over the API.
    AllowExec(bool),
    /// Sets the most clients that the API may add.
    DynamicClients(usize),
    /// Sets the targets that clients added over the API may call.
    Targets(TargetList),
    /// Sets the level of the process's own log.
    LogLevel(LogLevel),
}

impl LiveChange {
    /// The engine of the change; `None` for a change of the process.
    pub fn engine(&self) -> Option<&str> {
        match self {
            Self::Scenario { engine, .. }
            | Self::Rate { engine, .. }
            | Self::Users { engine, .. }
            | Self::CallsTotal { engine, .. } => Some(engine),
            _ => None,
        }
    }

    /// Notes in the running configuration that the change was made, with the values of `new`.
    pub fn settle(&self, running: &mut ServerConfig, new: &ServerConfig) {
        if let Some(id) = self.engine() {
            let engine = running.engines.iter_mut().find(|engine| engine.id == id);
            if let Some(engine) = engine {
                self.settle_in(&mut engine.run);
            }
            return;
        }
        match (self, &mut running.http, &new.http) {
            (Self::Auth(auth), ..) => running.auth = auth.clone(),
            (Self::AllowExec(is_allowed), ..) => running.allow_exec = *is_allowed,
            (Self::DynamicClients(count), ..) => running.dynamic_clients_max = *count,
            (Self::LogLevel(level), ..) => running.log_level = *level,
            (Self::Targets(list), ..) => running.targets = list.clone(),
            (Self::Allowed { hosts, origins, proxies }, Some(http), _) => {
                http.trusted_proxies.clone_from(proxies);
                http.allowed_hosts.clone_from(hosts);
                http.allowed_origins.clone_from(origins);
            }
            (Self::Certificates, Some(http), Some(new)) => http.tls.clone_from(&new.tls),
            _ => {}
        }
    }

    fn settle_in(&self, run: &mut RunConfig) {
        match self {
            Self::Scenario { source, .. } => run.scenario = source.clone(),
            Self::Rate { rate, .. } => run.rate = rate.in_period(run.rate_period_ms),
            Self::Users { users, .. } => run.users = Some(*users),
            Self::CallsTotal { calls, .. } => {
                run.calls_total = calls.map_or(CallLimit::Unlimited, CallLimit::Count);
            }
            _ => {}
        }
    }
}

impl fmt::Display for LiveChange {
    /// Writes the state after the change. Never writes a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario { source: ScenarioSource::File(file), .. } => {
                write!(f, "new calls follow {}", file.display())
            }
            Self::Scenario { source: ScenarioSource::Builtin(name), .. } => {
                write!(f, "new calls follow the built-in scenario {name}")
            }
            Self::Rate { rate, .. } => write!(f, "rate {} calls/s", rate.in_period(1000)),
            Self::Users { users, .. } => write!(f, "{users} users"),
            Self::CallsTotal { calls: Some(calls), .. } => write!(f, "total_calls {calls}"),
            Self::CallsTotal { calls: None, .. } => f.write_str("total_calls without a limit"),
            Self::Auth(_) => f.write_str("auth changed"),
            Self::Allowed { .. } => {
                f.write_str("api_allowed_hosts, api_allowed_origins, trusted_proxies changed")
            }
            Self::Certificates => f.write_str("the certificate was read again"),
            Self::AllowExec(true) => {
                f.write_str("allow_exec: scenarios that come over the API may run commands")
            }
            Self::AllowExec(false) => {
                f.write_str("allow_exec: scenarios that came over the API run no more commands")
            }
            Self::DynamicClients(count) => write!(f, "max_dynamic_clients {count}"),
            Self::LogLevel(level) => write!(f, "log_level {}", level.name()),
            Self::Targets(_) => f.write_str("targets changed"),
        }
    }
}

/// Closes the files of the process to all engines. These are the files of `running`, and the
/// secrets of `new`, as some of them may wait for a restart. Earlier secrets stay closed: users and
/// keys that were replaced are still worth something.
pub fn protect(running: &ServerConfig, new: &ServerConfig) {
    let mut own = own_files(running);
    let known = running.access.own();
    for file in known.iter().chain(new.access.own().iter()) {
        let is_secret = matches!(file.kind, OwnKind::Secret | OwnKind::Material);
        if is_secret && !own.contains(file) {
            own.push(file.clone());
        }
    }
    running.access.protect(own);
}

/// Compares the running configuration with a new one. `running` is the configuration of the start
/// with all changes since; `bound` is the address at which the API is served.
pub fn compare(
    running: &ServerConfig,
    new: &ServerConfig,
    bound: Option<SocketAddr>,
) -> ReloadPlan {
    let old = running;
    let mut plan = ReloadPlan::default();
    for engine in &new.engines {
        match old.engines.iter().find(|other| other.id == engine.id) {
            Some(running) => compare_engines(running, engine, &mut plan),
            None => plan
                .restart
                .push(format!("id {:?}: the engine is new; a restart starts it", engine.id)),
        }
    }
    for engine in &old.engines {
        if !new.engines.iter().any(|other| other.id == engine.id) {
            plan.restart.push(format!(
                "id {:?}: the engine was removed from the file; it runs until a restart",
                engine.id
            ));
        }
    }
    let first = |config: &ServerConfig| config.engines.first().map(|engine| engine.id.clone());
    if first(old) != first(new) && plan.restart.is_empty() {
        plan.restart
            .push("server: the first engine is another one; this waits for a restart".into());
    }
    compare_http(old, new, bound, &mut plan);
    if old.data_dir != new.data_dir {
        plan.restart.push(format!(
            "data_dir: the folders of clients stay in {} until a restart; then they are in {}",
            old.data_dir.display(),
            new.data_dir.display()
        ));
    }
    if old.allow_exec != new.allow_exec {
        plan.live.push(LiveChange::AllowExec(new.allow_exec));
    }
    if old.dynamic_clients_max != new.dynamic_clients_max {
        plan.live.push(LiveChange::DynamicClients(new.dynamic_clients_max));
    }
    if old.targets != new.targets {
        plan.live.push(LiveChange::Targets(new.targets.clone()));
    }
    if old.log_level != new.log_level {
        plan.live.push(LiveChange::LogLevel(new.log_level));
    }
    plan
}

fn compare_http(
    old: &ServerConfig,
    new: &ServerConfig,
    bound: Option<SocketAddr>,
    plan: &mut ReloadPlan,
) {
    let addr = |config: &ServerConfig| config.http.as_ref().map(|http| http.addr);
    let is_https =
        |config: &ServerConfig| config.http.as_ref().is_some_and(|http| http.tls.is_some());
    if addr(old) != addr(new) {
        plan.restart.push("api_addr: the API gets its new address at a restart".to_owned());
    }
    if is_https(old) != is_https(new) {
        plan.restart.push("api_tls_cert: HTTPS is switched on and off by a restart".to_owned());
    } else if is_https(new) {
        plan.live.push(LiveChange::Certificates);
    }
    let allowed = |config: &ServerConfig| {
        config.http.as_ref().map(|http| LiveChange::Allowed {
            hosts: http.allowed_hosts.clone(),
            origins: http.allowed_origins.clone(),
            proxies: http.trusted_proxies.clone(),
        })
    };
    if let (Some(before), Some(after)) = (allowed(old), allowed(new))
        && before != after
    {
        plan.live.push(after);
    }
    if old.auth == new.auth {
        return;
    }
    // The bound address stays. A new one that would allow an open API must not open this one.
    let is_open = bound.is_some_and(|bound| !bound.ip().is_loopback());
    let is_insecure = new.http.as_ref().is_some_and(|http| http.insecure);
    if new.auth == AuthConfig::None && is_open && !is_insecure {
        plan.restart.push(
            "auth: the API can still be reached from other machines, so authentication stays on \
             until a restart"
                .to_owned(),
        );
    } else {
        plan.live.push(LiveChange::Auth(new.auth.clone()));
    }
}

fn compare_engines(old: &EngineEntry, new: &EngineEntry, plan: &mut ReloadPlan) {
    let engine = || new.id.clone();
    let (was, run) = (&old.run, &new.run);
    plan.live.push(LiveChange::Scenario { engine: engine(), source: run.scenario.clone() });
    let is_at_rate = |run: &RunConfig| run.users.is_none();
    let given = |run: &RunConfig| Rate { calls: run.rate, period_ms: run.rate_period_ms.max(1) };
    let (rate_was, rate) = (given(was).in_period(1000), given(run).in_period(1000));
    let is_same = (rate_was - rate).abs() <= RATE_TOLERANCE * rate.abs();
    if !is_same && is_at_rate(was) && is_at_rate(run) {
        plan.live.push(LiveChange::Rate { engine: engine(), rate: given(run) });
    }
    if was.users != run.users
        && let (Some(_), Some(users)) = (was.users, run.users)
    {
        plan.live.push(LiveChange::Users { engine: engine(), users });
    }
    let calls = |run: &RunConfig| match run.calls_total {
        CallLimit::Unlimited => Some(None),
        CallLimit::Count(count) => Some(Some(count)),
        CallLimit::ClientDefault => None,
    };
    if let (Some(before), Some(calls)) = (calls(was), calls(run))
        && before != calls
    {
        plan.live.push(LiveChange::CallsTotal { engine: engine(), calls });
    }
    restarts(old, new, plan);
}

/// Adds a sentence for each setting of an engine that needs a restart.
fn restarts(old: &EngineEntry, new: &EngineEntry, plan: &mut ReloadPlan) {
    let (was, run) = (&old.run, &new.run);
    let mut same = EngineEntry { run: was.clone(), ..new.clone() };
    // These were handled above.
    same.run.scenario = run.scenario.clone();
    same.run.notices = run.notices.clone();
    same.run.access = run.access.clone();
    same.extra_args = new.extra_args.clone();
    if was.users.is_some() == run.users.is_some() {
        same.run.rate = run.rate;
        same.run.users = run.users;
    }
    let is_default = |limit| limit == CallLimit::ClientDefault;
    if is_default(was.calls_total) == is_default(run.calls_total) {
        same.run.calls_total = run.calls_total;
    }
    // Without an event log, the level is that of the process only.
    if !was.export.events.is_on() && !run.export.events.is_on() {
        same.run.export.events.level = run.export.events.level;
    }
    same.listeners = old.listeners.clone();
    if same == *new {
        return;
    }
    let (before, after) = (keys(&same, false), keys(new, false));
    let names = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut changed: Vec<&str> = names
        .filter(|key| before.get(*key) != after.get(*key))
        .map(String::as_str)
        .filter(|key| *key != "extra_args")
        .collect();
    if changed.is_empty() {
        changed.push("extra_args");
    }
    plan.restart.push(format!(
        "engine {:?}: {} {} at a restart",
        new.id,
        changed.join(", "),
        if changed.len() == 1 { "changes" } else { "change" }
    ));
}
