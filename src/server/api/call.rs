//! What a handler is given, and what it gives back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::app::App;
use super::body::Parameters;
use super::error::ApiError;
use crate::server::auth::{AuthError, Identity};

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether TLS is in use.
    pub(crate) is_secure: bool,
    /// Held as long as anything uses the connection: connections are counted.
    pub(crate) permit: Arc<OwnedSemaphorePermit>,
}

/// A request that may be answered: who asks has been let in, and the body is within its limit.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// Who asks, where the route wants to know.
    pub(crate) who: Option<Identity>,
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Parameters,
    pub(crate) body: Bytes,
    /// Present where the client asked for another protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// What handlers give back.
pub(crate) type Answer = Result<Response, ApiError>;

/// A handler's work.
pub(crate) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Call {
    /// Who asks.
    ///
    /// # Errors
    /// 401 on a route that lets anybody in.
    pub(crate) fn user(&self) -> Result<&Identity, ApiError> {
        self.who.as_ref().ok_or_else(|| ApiError::unauthorized("sign in first"))
    }

    /// Records who did what, for those who look at it later. Never a secret.
    pub(crate) async fn record(&self, action: &str, target: &str, payload: serde_json::Value) {
        let Some(who) = &self.who else { return };
        tracing::info!(user = who.username, action, on = target, %payload, "changed");
        let source = self.peer.address.ip();
        self.app.auth().record(who, source, action, target, payload).await;
    }
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

/// Runs what blocks away from the threads that serve requests.
///
/// # Errors
/// 500 if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::internal("the daemon made a mistake; its log has more"))
}
