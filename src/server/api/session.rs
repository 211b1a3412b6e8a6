//! Signing in and out, and the identity of the user.

use axum::response::IntoResponse as _;
use http::StatusCode;
use http::header::{HeaderValue, WARNING};

use super::body;
use super::call::{Answer, Call, json};
use super::model::{AuthKind, AuthStatus, LoginReply, LoginRequest, Me, TokenType};
use crate::server::metrics::LoginOutcome;

/// The warning behind a logout that holds in memory only (RFC 7234, section 5.5).
const UNWRITTEN: &str = "199 gossipper \"the token is no longer valid; the user database cannot be \
                         written, and a restart before that is possible makes the token valid \
                         again\"";

pub(crate) async fn status(call: Call) -> Answer {
    let auth = match call.app.auth().kind() {
        "internal" => AuthKind::Internal,
        _ => AuthKind::None,
    };
    let api_token = auth == AuthKind::None && !call.app.auth().is_open();
    json(StatusCode::OK, &AuthStatus { auth, api_token })
}

pub(crate) async fn login(call: Call) -> Answer {
    let request: LoginRequest = body::json(&call.body.bytes)?;
    let source = call.peer.address.ip();
    let result = call.app.auth().login(&request.username, &request.password, source).await;
    call.app.metrics.login(match &result {
        Ok(_) => LoginOutcome::Ok,
        Err(error) if error.status == 429 => LoginOutcome::Throttled,
        Err(_) => LoginOutcome::Refused,
    });
    let login = result?;
    let reply = LoginReply {
        token: login.token,
        expires_at: login.expires_at,
        token_type: TokenType::Bearer,
    };
    json(StatusCode::OK, &reply)
}

pub(crate) async fn logout(call: Call) -> Answer {
    let is_written = call.app.auth().logout(call.user()?, call.peer.address.ip()).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if !is_written {
        response.headers_mut().insert(WARNING, HeaderValue::from_static(UNWRITTEN));
    }
    Ok(response)
}

pub(crate) async fn me(call: Call) -> Answer {
    let who = call.user()?;
    let reply = Me {
        username: who.username.clone(),
        role: who.role.into(),
        expires_at: who.expires_at(),
        version: env!("CARGO_PKG_VERSION"),
    };
    json(StatusCode::OK, &reply)
}
