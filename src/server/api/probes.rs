//! Routes for programs that watch the daemon: probes, metrics, and the description of the API.

use axum::response::IntoResponse as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::call::{Answer, Call, json};
use super::error::ApiError;
use super::model::{Health, Ok as Word};
use crate::server::metrics;

const GOOD: Health = Health { status: Word::Ok };

pub(crate) async fn health(_: Call) -> Answer {
    json(StatusCode::OK, &GOOD)
}

pub(crate) async fn livez(call: Call) -> Answer {
    match call.app.registry.data_plane_alive() {
        true => json(StatusCode::OK, &GOOD),
        false => Err(ApiError::unavailable("workers do not report; the log may say why")),
    }
}

pub(crate) async fn readyz(call: Call) -> Answer {
    if call.app.is_stopping() {
        return Err(ApiError::unavailable("the daemon is being stopped"));
    }
    let state = call.app.primary()?.state();
    match state.phase.is_over() {
        true => {
            let phase = state.phase.label();
            Err(ApiError::unavailable(format!("the primary engine has ended: {phase}")))
        }
        false => json(StatusCode::OK, &GOOD),
    }
}

pub(crate) async fn openapi(_: Call) -> Answer {
    let mut response = super::openapi::text().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(crate) async fn metrics(call: Call) -> Answer {
    let text = call.app.metrics.render(&call.app.registry);
    let mut response = text.into_response();
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}
