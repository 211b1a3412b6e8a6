//! `/clients`: engines that place calls, and starting and stopping them.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json as value;

use super::call::{Answer, Call, blocking, json};
use super::error::ApiError;
use super::model::{Always, Clients, Started};
use super::stats::dynamic_ids;
use super::transports::{client_rows, dynamic_api};
use crate::server::config;
use crate::server::engines::{DynamicError, EngineKind, ForgetError};

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
    let body = call.body.clone();
    let server = Arc::clone(&config);
    // Files are looked at and sockets are bound.
    let spec = blocking(move || config::snippet(&body, &server)).await?;
    let spec = spec.map_err(|problems| relative(ApiError::bad_request(problems.to_string())))?;
    let given = call.parameters.text("id").unwrap_or("");
    if !given.is_empty() && !spec.id.is_empty() && given != spec.id {
        return Err(ApiError::bad_request("the id of the query and that of the body differ"));
    }
    let id = [given, spec.id.as_str()].into_iter().find(|id| !id.is_empty()).map(str::to_owned);
    let app = call.app.clone();
    let run = spec.run;
    let id = blocking(move || app.registry.start_dynamic(id, run)).await?;
    let id = id.map_err(|error| relative(error.into()))?;
    call.record("client.create", &id, value!({})).await;
    json(StatusCode::CREATED, &Started { id, started: Always })
}

pub(crate) async fn delete(call: Call) -> Answer {
    need_feature(&call)?;
    let id = call.parameters.text("id").unwrap_or("").to_owned();
    if id.is_empty() {
        return Err(ApiError::bad_request("say which client: ?id=..."));
    }
    let engine = call.app.registry.get(&id);
    match engine.map(|engine| engine.kind()) {
        Some(EngineKind::Dynamic) => {}
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "{id:?} is of the configuration; pause it with POST /api/v1/control"
            )));
        }
        None => {
            let ids = dynamic_ids(&call.app.registry.engines()).join(", ");
            let id: String = id.chars().take(80).collect();
            let message = match ids.is_empty() {
                true => format!("there is no client {id:?}; none was started over the API"),
                false => format!("there is no client {id:?}; there are: {ids}"),
            };
            return Err(ApiError::not_found(message));
        }
    }
    let (app, target) = (call.app.clone(), id.clone());
    blocking(move || app.registry.remove(&target)).await??;
    call.record("client.delete", &id, value!({})).await;
    Ok(axum::response::IntoResponse::into_response(StatusCode::NO_CONTENT))
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
            DynamicError::Duplicate(_) | DynamicError::TooMany | DynamicError::Clash(_) => {
                Self::conflict(text)
            }
            DynamicError::ShuttingDown => Self::unavailable(text),
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
