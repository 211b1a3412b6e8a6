//! The input of a handler, and its output.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde::Serialize;

use super::app::App;
use super::body::{Carried, Parameters};
use super::crowd::Turn;
use super::error::ApiError;
use super::forwarded::Asker;
use crate::server::auth::{AuthError, Authenticator, Identity};
use crate::server::places::Seat;

/// The origin of a request, and the connection that it came over.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The other end of the connection, or the client that a trusted proxy names.
    pub(crate) address: SocketAddr,
    /// True if that is this host, with no proxy in between.
    pub(crate) is_here: bool,
    /// True if the connection uses TLS.
    pub(crate) is_secure: bool,
    /// Held as long as anything uses the connection: connections are counted.
    pub(crate) seat: Arc<Seat>,
    /// Held until a request that came through a proxy is over.
    pub(crate) turn: Option<Arc<Turn>>,
}

impl Peer {
    /// Replaces the proxy's address by that of the client that a trusted proxy names.
    pub(crate) fn stands_for(&mut self, asker: Asker, is_relayed: bool) {
        // Behind a proxy it may be any host, whatever the addresses are.
        self.is_here &= asker == Asker::Peer && !is_relayed;
        if let Asker::Named(address) = asker {
            // Its port is not known.
            self.address = SocketAddr::new(address, 0);
        }
    }
}

/// A request that may be answered: its author has been let in, and its body is within the limit.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// The author of the request, on routes that ask for one.
    pub(crate) who: Option<Identity>,
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Parameters,
    pub(crate) body: Carried,
    /// Present where the client asked for another protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// The output of handlers.
pub(crate) type Answer = Result<Response, ApiError>;

/// A handler's work.
pub(crate) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Call {
    /// The author of the request.
    ///
    /// # Errors
    /// 401 on a route that needs no signing in.
    pub(crate) fn user(&self) -> Result<&Identity, ApiError> {
        self.who.as_ref().ok_or_else(|| ApiError::unauthorized("sign in first"))
    }

    /// Writes a change into the audit log before it is made; never a secret. `payload` is an
    /// object.
    ///
    /// # Errors
    /// 503 if that cannot be written: no change is made without its row.
    pub(crate) async fn begin(
        &self,
        action: &'static str,
        target: &str,
        payload: serde_json::Value,
    ) -> Result<Deed, ApiError> {
        let (auth, who) = (self.app.auth(), self.user()?);
        let written = self.write(&auth, who, action, target, &payload).await;
        let row = written.map_err(|error| {
            tracing::error!("{error}; {action} was not done");
            AuthError { message: format!("nothing was changed: {}", error.message), ..error }
        })?;
        Ok(Deed::new(auth, row, who, action, target, payload))
    }

    /// Like [`Self::begin`], for changes that only end or slow calls. They are made without a row,
    /// too, as a full disk must not keep a test running. The log then has the content of the row.
    ///
    /// # Errors
    /// 401 on a route that needs no signing in.
    pub(crate) async fn begin_restraint(
        &self,
        action: &'static str,
        target: &str,
        payload: serde_json::Value,
    ) -> Result<Deed, ApiError> {
        let (auth, who) = (self.app.auth(), self.user()?);
        let written = self.write(&auth, who, action, target, &payload).await;
        let row = written.unwrap_or_else(|error| {
            let (user, source) = (&who.username, self.peer.address.ip());
            tracing::error!(
                user, %source, action, on = target, %payload,
                "{error}; the action is done without its row in the audit log"
            );
            None
        });
        Ok(Deed::new(auth, row, who, action, target, payload))
    }

    async fn write(
        &self,
        auth: &Authenticator,
        who: &Identity,
        action: &str,
        target: &str,
        payload: &serde_json::Value,
    ) -> Result<Option<i64>, AuthError> {
        let begun = with(payload, "outcome", "begun".into());
        auth.record(who, self.peer.address.ip(), action, target, begun).await
    }
}

/// A change whose row is in the audit log, still without its outcome.
pub(crate) struct Deed {
    auth: Arc<Authenticator>,
    row: Option<i64>,
    user: String,
    action: &'static str,
    target: String,
    payload: serde_json::Value,
    is_partly_done: bool,
}

impl Deed {
    fn new(
        auth: Arc<Authenticator>,
        row: Option<i64>,
        who: &Identity,
        action: &'static str,
        target: &str,
        payload: serde_json::Value,
    ) -> Self {
        let (user, target) = (who.username.clone(), target.to_owned());
        Self { auth, row, user, action, target, payload, is_partly_done: false }
    }

    /// Adds a detail that is known only after the change.
    pub(crate) fn add(&mut self, name: &str, value: serde_json::Value) {
        self.payload = with(&self.payload, name, value);
    }

    /// Notes that some parts were done and others were not, and why.
    pub(crate) fn note_parts(
        &mut self,
        done: &[String],
        not_done: serde_json::Map<String, serde_json::Value>,
    ) {
        self.is_partly_done = true;
        self.add("done", done.into());
        self.add("not_done", not_done.into());
    }

    /// Writes the outcome into the audit log; returns the result unchanged.
    pub(crate) async fn end<T>(self, result: Result<T, ApiError>) -> Result<T, ApiError> {
        let Self { auth, row, user, action, target, payload, is_partly_done } = self;
        let outcome = match &result {
            _ if is_partly_done => "partly",
            Ok(_) => "done",
            Err(_) => "failed",
        };
        let mut payload = with(&payload, "outcome", outcome.into());
        if let Err(error) = &result {
            let why: String = error.message().chars().take(ERROR_CHARS_MAX).collect();
            payload = with(&payload, "error", why.into());
        }
        match outcome {
            "failed" => tracing::warn!(user, action, on = target, %payload, "not changed"),
            _ => tracing::info!(user, action, on = target, %payload, "changed"),
        }
        if let Some(row) = row {
            auth.amend(row, payload).await;
        }
        result
    }
}

/// Characters of a refusal that the audit log keeps.
const ERROR_CHARS_MAX: usize = 500;

/// A copy of an object with one more member.
fn with(object: &serde_json::Value, name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

/// A response with a JSON body.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let text = serde_json::to_vec(value)
        .map_err(|error| ApiError::internal(format!("the response has no JSON form: {error}")))?;
    let mut response = (status, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::FORBIDDEN);
        match (status, error.retry_after_s) {
            (StatusCode::UNAUTHORIZED, _) => Self::unauthorized(error.message),
            (StatusCode::TOO_MANY_REQUESTS, seconds) => {
                let after = std::time::Duration::from_secs(seconds.unwrap_or(1));
                Self::too_many(error.message, after)
            }
            _ => Self::new(status, error.message),
        }
    }
}

/// Runs blocking work away from the threads that serve requests.
///
/// # Errors
/// 500 if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::internal("the daemon had an internal error; its log has details"))
}
