//! What a running process can take over from a new configuration (SIGHUP), and what it cannot.

use super::effective::keys;
use super::resolved::{AuthConfig, EngineConfig, ServerConfig};
use crate::config::{CallLimit, LogLevel, RunConfig, ScenarioSource};

/// What becomes of a new configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadPlan {
    /// What can be applied now, in this order.
    pub live: Vec<LiveChange>,
    /// What only applies after a restart, a sentence each that names the key.
    pub restart: Vec<String>,
}

/// A change that a running process can make.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveChange {
    /// New calls follow this scenario.
    Scenario {
        /// The engine.
        engine: String,
        /// Where the scenario is.
        source: ScenarioSource,
        /// Whether it is the file that the engine has already, whose contents may have changed.
        is_same_file: bool,
    },
    /// Start calls at this rate.
    Rate {
        /// The engine.
        engine: String,
        /// Calls per second.
        rate: f64,
    },
    /// Keep so many calls open.
    Users {
        /// The engine.
        engine: String,
        /// How many.
        users: u64,
    },
    /// Stop creating calls after so many.
    CallLimit {
        /// The engine.
        engine: String,
        /// How many since the start; 0 is no limit.
        calls: u64,
    },
    /// Other users, tokens or keys.
    Auth(AuthConfig),
    /// Other names and pages that the API may be used by.
    Allowed {
        /// As in `HttpConfig`.
        hosts: Vec<String>,
        /// As in `HttpConfig`.
        origins: Vec<String>,
    },
    /// Read the certificate of HTTPS again, from the files of the new configuration.
    Certificates,
    /// Whether scenarios that arrive over the API may run shell commands.
    AllowExec(bool),
    /// Most clients that the API may add.
    DynamicClients(usize),
    /// What of its own doings the process tells.
    LogLevel(LogLevel),
}

/// Compares the configuration that runs with a new one.
pub fn compare(old: &ServerConfig, new: &ServerConfig) -> ReloadPlan {
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
                "id {:?}: the engine is gone from the file; it runs until a restart",
                engine.id
            ));
        }
    }
    let first = |config: &ServerConfig| config.engines.first().map(|engine| engine.id.clone());
    if first(old) != first(new) && plan.restart.is_empty() {
        plan.restart.push("server: another engine is the first one; a restart makes it so".into());
    }
    compare_http(old, new, &mut plan);
    if old.allow_exec != new.allow_exec {
        plan.live.push(LiveChange::AllowExec(new.allow_exec));
    }
    if old.dynamic_clients_max != new.dynamic_clients_max {
        plan.live.push(LiveChange::DynamicClients(new.dynamic_clients_max));
    }
    if old.log_level != new.log_level {
        plan.live.push(LiveChange::LogLevel(new.log_level));
    }
    plan
}

fn compare_http(old: &ServerConfig, new: &ServerConfig, plan: &mut ReloadPlan) {
    let addr = |config: &ServerConfig| config.http.as_ref().map(|http| http.addr);
    let is_https =
        |config: &ServerConfig| config.http.as_ref().is_some_and(|http| http.tls.is_some());
    if addr(old) != addr(new) {
        plan.restart.push("api_addr: the API moves with a restart".to_owned());
    }
    if is_https(old) != is_https(new) {
        plan.restart.push("api_tls_cert: HTTPS is switched on and off by a restart".to_owned());
    } else if is_https(new) {
        plan.live.push(LiveChange::Certificates);
    }
    let allowed = |config: &ServerConfig| {
        let http = config.http.as_ref();
        http.map(|http| (http.allowed_hosts.clone(), http.allowed_origins.clone()))
    };
    if let Some((hosts, origins)) = allowed(new)
        && allowed(old).is_some_and(|before| before != (hosts.clone(), origins.clone()))
    {
        plan.live.push(LiveChange::Allowed { hosts, origins });
    }
    if old.auth == new.auth {
        return;
    }
    // The old address stays. What the new one would allow must not open it.
    let is_open = addr(old).is_some_and(|addr| !addr.ip().is_loopback());
    let is_insecure = new.http.as_ref().is_some_and(|http| http.insecure);
    if new.auth == AuthConfig::None && is_open && !is_insecure {
        plan.restart.push(
            "auth: the API can still be reached from other machines, so that authentication stays \
             on until a restart"
                .to_owned(),
        );
    } else {
        plan.live.push(LiveChange::Auth(new.auth.clone()));
    }
}

fn compare_engines(old: &EngineConfig, new: &EngineConfig, plan: &mut ReloadPlan) {
    let engine = || new.id.clone();
    let (was, run) = (&old.run, &new.run);
    if was.scenario != run.scenario || matches!(run.scenario, ScenarioSource::File(_)) {
        plan.live.push(LiveChange::Scenario {
            engine: engine(),
            source: run.scenario.clone(),
            is_same_file: was.scenario == run.scenario,
        });
    }
    let is_at_rate = |run: &RunConfig| run.users.is_none();
    if was.rate != run.rate && is_at_rate(was) && is_at_rate(run) {
        let rate = run.rate * 1000.0 / run.rate_period_ms as f64;
        plan.live.push(LiveChange::Rate { engine: engine(), rate });
    }
    if was.users != run.users
        && let (Some(_), Some(users)) = (was.users, run.users)
    {
        plan.live.push(LiveChange::Users { engine: engine(), users });
    }
    let calls = |run: &RunConfig| match run.calls_max {
        CallLimit::Unlimited => Some(0),
        CallLimit::Count(count) => Some(count),
        CallLimit::ClientDefault => None,
    };
    if calls(was) != calls(run)
        && let (Some(_), Some(calls)) = (calls(was), calls(run))
    {
        plan.live.push(LiveChange::CallLimit { engine: engine(), calls });
    }
    restarts(old, new, plan);
}

/// Names what of an engine stays as it is.
fn restarts(old: &EngineConfig, new: &EngineConfig, plan: &mut ReloadPlan) {
    let (was, run) = (&old.run, &new.run);
    let mut same = EngineConfig { run: was.clone(), ..new.clone() };
    // What has been dealt with.
    same.run.scenario = run.scenario.clone();
    same.run.notices = run.notices.clone();
    same.extra_args = new.extra_args.clone();
    if was.users.is_some() == run.users.is_some() {
        same.run.rate = run.rate;
        same.run.users = run.users;
    }
    let is_default = |limit| limit == CallLimit::ClientDefault;
    if is_default(was.calls_max) == is_default(run.calls_max) {
        same.run.calls_max = run.calls_max;
    }
    // Where there is no event log, the level is that of the process only.
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
        "engine {:?}: {} {} with a restart",
        new.id,
        changed.join(", "),
        if changed.len() == 1 { "changes" } else { "change" }
    ));
}
