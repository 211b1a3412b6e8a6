//! `/transports`: listeners and clients, and turning them on and off.

use std::collections::HashSet;
use std::hash::Hash;

use http::StatusCode;
use serde_json::json as value;

use super::app::App;
use super::body;
use super::call::{Answer, Call, blocking, json};
use super::control::{Results, is_restraint, sum_up, unknown_engine};
use super::error::ApiError;
use super::model::{
    ClientRow, DynamicApi, Listener, ListenerSwitch, Transports, TransportsRequest,
};
use super::stats::phase_of;
use crate::control::{Refusal, Request};
use crate::server::engines::{EngineHandle, EngineKind};

pub(crate) async fn get(call: Call) -> Answer {
    json(StatusCode::OK, &transports(&call.app))
}

/// All listeners of the primary engine and all clients.
pub(crate) fn transports(app: &App) -> Transports {
    let listeners = app.registry.primary().map(|primary| primary.state().listeners.clone());
    let listeners = listeners.unwrap_or_default().into_iter().map(|listener| Listener {
        index: listener.index,
        transport: listener.transport.code().to_owned(),
        local_ip: listener.local_ip.to_string(),
        local_port: listener.local_port,
        enabled: listener.enabled,
        scenario_name: listener.scenario_name,
    });
    Transports {
        listeners: listeners.collect(),
        clients: client_rows(app),
        dynamic_client_api: dynamic_api(app),
    }
}

/// The engines that place calls.
pub(crate) fn client_rows(app: &App) -> Vec<ClientRow> {
    let engines = app.registry.engines();
    engines.iter().filter_map(|engine| client_row(engine, &engines)).collect()
}

fn client_row(engine: &EngineHandle, all: &[EngineHandle]) -> Option<ClientRow> {
    let state = engine.state();
    let client = state.client.as_ref()?;
    let answers = |other: &&EngineHandle| {
        other.state().listeners.iter().any(|listener| client.reaches(listener))
    };
    Some(ClientRow {
        id: engine.id().to_owned(),
        transport: client.transport.code().to_owned(),
        local_ip: client.local_ip.to_string(),
        local_port: client.local_port,
        remote_addr: client.remote_addr.clone(),
        calls_engine: all.iter().find(answers).map(|other| other.id().to_owned()),
        accepting: client.accepting && !state.phase.is_over(),
        dynamic: engine.kind() == EngineKind::Dynamic,
        phase: phase_of(&state.phase),
    })
}

/// The rights of the API over dynamic clients.
pub(crate) fn dynamic_api(app: &App) -> DynamicApi {
    let is_on = app.config.load().dynamic_clients_max > 0;
    DynamicApi { can_post: is_on, can_delete: is_on }
}

pub(crate) async fn post(call: Call) -> Answer {
    let request: TransportsRequest = body::json(&call.body.bytes)?;
    let mut switches = request.listeners;
    match (request.index, request.enabled) {
        (Some(index), Some(enabled)) => switches.push(ListenerSwitch { index, enabled }),
        (None, None) => {}
        _ => return Err(ApiError::bad_request("index and enabled must be given together")),
    }
    if switches.is_empty() && request.clients.is_empty() {
        return Err(ApiError::bad_request(
            "the request changes nothing: give listeners or clients",
        ));
    }
    // Everything is checked before anything is changed.
    let primary = call.app.primary()?;
    let count = primary.state().listeners.len();
    if let Some(switch) = switches.iter().find(|switch| switch.index >= count) {
        let index = switch.index;
        return Err(ApiError::bad_request(match count {
            0 => "the primary engine has no listeners".to_owned(),
            _ => format!("there is no listener {index}; they are numbered 0 to {}", count - 1),
        }));
    }
    let mut asks = Vec::new();
    for ListenerSwitch { index, enabled } in last_of_each(switches, |switch| switch.index) {
        asks.push((primary.clone(), Request::SetListener { index, enabled }));
    }
    for client in last_of_each(request.clients, |client| client.id.clone()) {
        let engine = call.app.registry.get(&client.id);
        let engine = engine.ok_or_else(|| unknown_engine(&call.app, &client.id))?;
        if engine.state().client.is_none() {
            let id = engine.id();
            return Err(ApiError::bad_request(format!(
                "{id:?} places no calls; its listeners can be turned off"
            )));
        }
        asks.push((engine, Request::SetPaused(!client.accepting)));
    }
    let what: Vec<String> = asks.iter().map(|(engine, ask)| describe(engine, ask)).collect();
    let (what, payload) = (what.join(", "), changes(&asks));
    let mut deed = match asks.iter().all(|(_, ask)| is_restraint(ask)) {
        true => call.begin_restraint("transports.set", &what, payload).await?,
        false => call.begin("transports.set", &what, payload).await?,
    };
    let done = blocking(move || ask_in_turn(asks)).await;
    let done = done.and_then(|results| sum_up(results, true, &mut deed));
    deed.end(done).await?;
    json(StatusCode::OK, &transports(&call.app))
}

/// Sends the requests one after the other, until one fails: an engine that does not answer is not
/// waited for again and again.
fn ask_in_turn(asks: Vec<(EngineHandle, Request)>) -> Results {
    let mut results = Vec::new();
    let mut has_failed = false;
    for (engine, ask) in asks {
        let name = describe(&engine, &ask);
        let done = match has_failed {
            true => {
                Err(Refusal::Refused("it was not changed, because another one had failed".into()))
            }
            false => engine.ask(ask),
        };
        has_failed |= done.is_err();
        results.push((name, done));
    }
    results
}

fn describe(engine: &EngineHandle, ask: &Request) -> String {
    let on = |is_on| if is_on { "on" } else { "off" };
    match ask {
        Request::SetListener { index, enabled } => format!("listener {index} {}", on(*enabled)),
        Request::SetPaused(paused) => format!("{} {}", engine.id(), on(!paused)),
        _ => engine.id().to_owned(),
    }
}

/// The last switch of each listener or client: it would undo the ones before it at once. The audit
/// log has no room for more of them than there are listeners and clients.
fn last_of_each<S, K: Hash + Eq>(switches: Vec<S>, key: impl Fn(&S) -> K) -> Vec<S> {
    let mut seen = HashSet::new();
    let last = switches.into_iter().rev().filter(|switch| seen.insert(key(switch)));
    let mut last: Vec<S> = last.collect();
    last.reverse();
    last
}

/// Number of changes up to which the audit log has them in full.
const CHANGES_IN_FULL: usize = 48;

/// All changes, for the audit log. A long list is shortened, so that all of them have their place.
fn changes(asks: &[(EngineHandle, Request)]) -> serde_json::Value {
    if asks.len() <= CHANGES_IN_FULL {
        let changes: Vec<_> = asks.iter().map(|(engine, ask)| change(engine, ask)).collect();
        return value!({ "changes": changes });
    }
    let mut listeners: [Vec<usize>; 2] = Default::default();
    let mut clients: [Vec<&str>; 2] = Default::default();
    for (engine, ask) in asks {
        match ask {
            Request::SetListener { index, enabled } => {
                listeners[usize::from(*enabled)].push(*index)
            }
            Request::SetPaused(paused) => clients[usize::from(!paused)].push(engine.id()),
            _ => {}
        }
    }
    let [listeners_off, listeners_on] = listeners;
    let [clients_off, clients_on] = clients;
    value!({
        "listeners_on": listeners_on,
        "listeners_off": listeners_off,
        "clients_on": clients_on,
        "clients_off": clients_off,
    })
}

/// The change that a request makes, from what to what, for the audit log.
fn change(engine: &EngineHandle, ask: &Request) -> serde_json::Value {
    let state = engine.state();
    match ask {
        Request::SetListener { index, enabled } => {
            let listener = state.listeners.get(*index);
            let address = listener.map(|listener| {
                let address = std::net::SocketAddr::new(listener.local_ip, listener.local_port);
                format!("{} {address}", listener.transport.code())
            });
            let before = listener.map(|listener| listener.enabled);
            value!({ "listener": index, "address": address, "from": before, "to": enabled })
        }
        Request::SetPaused(paused) => {
            value!({ "client": engine.id(), "from": !state.is_paused, "to": !paused })
        }
        _ => value!({}),
    }
}
