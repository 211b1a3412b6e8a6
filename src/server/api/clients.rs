//! `/clients`: engines that place calls, and starting and stopping them.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json as value;

use super::call::{Answer, Call, blocking, json};
use super::error::ApiError;
use super::model::{Always, Clients, Started};
use super::stats::dynamic_ids;
use super::transports::{client_rows, dynamic_api};
use crate::config::targets::Reach;
use crate::config::{CallLimit, RunConfig};
use crate::control::ScenarioState;
use crate::sent_files::fingerprint;
use crate::server::config::{self, Snippet};
use crate::server::engines::{DynamicError, EngineHandle, EngineKind, ForgetError};

pub(crate) async fn get(call: Call) -> Answer {
    let app = &call.app;
    let clients = Clients {
        engines: client_rows(app),
        dynamic: dynamic_ids(&app.registry.engines()),
        dynamic_client_api: dynamic_api(app),
    };
    json(StatusCode::OK, &clients)
}

pub(crate) async fn post(call: Call) -> Answer {
    need_feature(&call)?;
    let config = call.app.config.load_full();
    let relative = |error: ApiError| error.relative_to(&config.data_dir);
    let body = call.body.bytes.clone();
    let server = Arc::clone(&config);
    let place = call.app.checks.enter().await?;
    // The check reads files. Its place is taken until it ends, even if the client has hung up.
    let checked = blocking(move || {
        let _place = place;
        config::snippet(&body, &server)
    });
    let snippet = checked.await?;
    let Snippet { engine: spec, own_hep, own_events } =
        snippet.map_err(|problems| relative(ApiError::bad_request(problems.to_string())))?;
    let given = call.parameters.text("id").unwrap_or("");
    if !given.is_empty() && !spec.id.is_empty() && given != spec.id {
        return Err(ApiError::bad_request("the id of the query and that of the body differ"));
    }
    let id = [given, spec.id.as_str()].into_iter().find(|id| !id.is_empty()).map(str::to_owned);
    let app = call.app.clone();
    let mut run = spec.run;
    run.reach = Reach::of_client(&app.targets, own_hep, own_events);
    let reach = run.reach.clone();
    let named = id.as_deref().unwrap_or("a new client");
    let mut deed = call.begin("client.create", named, described(&run)).await?;
    let most = config.dynamic_clients_max;
    let started = blocking(move || app.registry.start_dynamic_within(most, id, run)).await;
    let started = started.and_then(|started| {
        started.map_err(|error| match reach.has_refused() {
            true => ApiError::forbidden(error.to_string()),
            false => relative(error.into()),
        })
    });
    if let Ok(id) = &started
        && let Some(engine) = call.app.registry.get(id)
    {
        deed.add("id", value!(id));
        deed.add("scenario", scenario_of(&engine));
    }
    let id = deed.end(started).await?;
    json(StatusCode::CREATED, &Started { id, started: Always })
}

pub(crate) async fn delete(call: Call) -> Answer {
    need_feature(&call)?;
    let id = call.parameters.text("id").unwrap_or("").to_owned();
    if id.is_empty() {
        return Err(ApiError::bad_request("name the client: ?id=..."));
    }
    let payload = match call.app.registry.get(&id) {
        Some(engine) if engine.kind() == EngineKind::Dynamic => as_it_was(&engine),
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "{id:?} comes from the configuration file and cannot be deleted; pause it with POST /api/v1/control"
            )));
        }
        None if call.app.registry.is_starting(&id) => value!({ "phase": "starting" }),
        None => {
            let ids = dynamic_ids(&call.app.registry.engines()).join(", ");
            let id: String = id.chars().take(80).collect();
            let message = match ids.is_empty() {
                true => format!("there is no client {id:?}; none was started over the API"),
                false => format!("there is no client {id:?}; there are: {ids}"),
            };
            return Err(ApiError::not_found(message));
        }
    };
    let deed = call.begin_restraint("client.delete", &id, payload).await?;
    let (app, target) = (call.app.clone(), id.clone());
    let done = blocking(move || app.registry.remove(&target)).await;
    deed.end(done.and_then(|done| Ok(done?))).await?;
    Ok(axum::response::IntoResponse::into_response(StatusCode::NO_CONTENT))
}

/// The work that a client is to do, for the audit log.
fn described(run: &RunConfig) -> serde_json::Value {
    let total = match run.calls_total {
        CallLimit::Unlimited => Some(0),
        CallLimit::Count(count) => Some(count),
        CallLimit::ClientDefault => None,
    };
    value!({
        "remote_addr": run.next_hop().map(ToString::to_string),
        "transport": run.transport.code(),
        "rate": run.users.is_none().then(|| run.rate * 1e3 / run.rate_period_ms.max(1) as f64),
        "users": run.users,
        "total_calls": total,
    })
}

/// A client that is deleted, for the audit log.
fn as_it_was(engine: &EngineHandle) -> serde_json::Value {
    let state = engine.state();
    value!({
        "remote_addr": state.client.as_ref().map(|client| client.remote_addr.clone()),
        "phase": state.phase.label(),
        "rate": state.rate,
        "users": state.users,
        "scenario": scenario_of(engine),
    })
}

/// The scenario of an engine, for the audit log.
pub(super) fn scenario_of(engine: &EngineHandle) -> serde_json::Value {
    let state = engine.state();
    let ScenarioState { name, xml, .. } = &state.scenario;
    value!({ "name": name, "sha256": fingerprint(xml.as_bytes()) })
}

fn need_feature(call: &Call) -> Result<(), ApiError> {
    match dynamic_api(&call.app).can_post {
        true => Ok(()),
        false => Err(ApiError::not_found(
            "dynamic clients are off: they need a management profile and max_dynamic_clients over 0",
        )),
    }
}

impl From<DynamicError> for ApiError {
    fn from(error: DynamicError) -> Self {
        let text = error.to_string();
        match error {
            DynamicError::Id(_) | DynamicError::Failed(_) => Self::bad_request(text),
            DynamicError::Duplicate(_)
            | DynamicError::TooMany(_)
            | DynamicError::Clash(_)
            | DynamicError::Removed(_) => Self::conflict(text),
            DynamicError::ShuttingDown | DynamicError::Leaving(_) => Self::unavailable(text),
        }
    }
}

impl From<ForgetError> for ApiError {
    fn from(error: ForgetError) -> Self {
        let text = error.to_string();
        match error {
            ForgetError::Unknown(_) => Self::not_found(text),
            ForgetError::NotDynamic(_) => Self::bad_request(text),
            ForgetError::Running(_) => Self::conflict(text),
        }
    }
}
