//! Refusals of requests: a status, a sentence, and the headers that belong to it.
//!
//! Every refusal of the API has the body `{"error": "..."}`, whether a handler, the router, a limit
//! or a panic is its cause.

use std::path::Path;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::guard;

/// The most bytes of the address of a request: long enough for any that the API has.
pub(crate) const ADDRESS_BYTES_MAX: usize = 8 << 10;

/// The most characters of a message: a refusal that quotes its input must not become a large
/// response.
const MESSAGE_CHARS_MAX: usize = 32 << 10;

/// The body of every refusal.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorBody {
    /// Cause of the refusal, and what to do about it.
    pub(crate) error: String,
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// A refusal with a status of its own.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((at, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(at);
            message.push_str("...");
        }
        Self { status, message, headers: Vec::new() }
    }

    /// 400: the request cannot be understood or asks for something impossible.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401, with the scheme that would be accepted.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gossipper\""))
    }

    /// 403: the client is known and lacks the permission.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 405, with the methods that the path has.
    pub(crate) fn method_not_allowed(method: &str, path: &str, allowed: &str) -> Self {
        let message = format!("{path} does not accept {method}; it accepts {allowed}");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, message);
        match HeaderValue::from_str(allowed) {
            Ok(value) => error.with(ALLOW, value),
            Err(_) => error,
        }
    }

    /// 408: the client took too long to send its request.
    pub(crate) fn too_slow(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request was not complete after {seconds} s; send it again"),
        )
    }

    /// 409: the present state does not allow it.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413, with the limit that was passed.
    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let limit = match limit_bytes {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes => format!("{} KiB", bytes >> 10),
        };
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large: the limit is {limit} here"),
        )
    }

    /// 414.
    pub(crate) fn address_too_long() -> Self {
        let limit = ADDRESS_BYTES_MAX >> 10;
        let message = format!("the address of the request is too long; the limit is {limit} KiB");
        Self::new(StatusCode::URI_TOO_LONG, message)
    }

    /// 415, with the media types that the route accepts.
    pub(crate) fn unsupported(given: &str, accepted: &str) -> Self {
        let given: String = given.chars().take(80).collect();
        let message = format!("the body is {given:?}; send it with Content-Type: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 429, with the time after which it is worth trying again.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_millis().div_ceil(1000).max(1) as u64;
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503: not possible now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The refusal with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The refusal with `name` for every mention of `path`. The places of the daemon's files are
    /// not shown to clients.
    pub(crate) fn without_path(mut self, path: &Path, name: &str) -> Self {
        self.message = self.message.replace(&path.display().to_string(), name);
        self
    }

    /// The refusal with paths below `directory` relative to it.
    pub(crate) fn relative_to(self, directory: &Path) -> Self {
        match directory.parent() {
            Some(_) => self.without_path(&directory.join(""), ""),
            // The name of the root is the separator, which stands in other words too.
            None => self,
        }
    }

    /// The bytes of the whole response, for a request that no router has seen. It is the last
    /// response of its connection.
    pub(crate) fn to_bytes(&self, is_secure: bool) -> Vec<u8> {
        let response = self.clone().into_response();
        let mut headers = response.headers().clone();
        guard::add_headers(&mut headers, is_secure);
        let text = self.text();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut bytes = format!("HTTP/1.1 {}\r\n", self.status).into_bytes();
        for (name, value) in &headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// The body.
    fn text(&self) -> String {
        // A string always has a JSON form.
        serde_json::to_string(&ErrorBody { error: self.message.clone() }).unwrap_or_default()
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text()).into_response();
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_said_in_the_unit_that_it_is_set_in() {
        assert!(ApiError::too_large(16 << 20).message().contains("16 MiB"));
        assert!(ApiError::too_large(64 << 10).message().contains("64 KiB"));
    }

    #[test]
    fn a_message_has_an_end_whatever_it_quotes() {
        let error = ApiError::bad_request("é".repeat(MESSAGE_CHARS_MAX + 1));
        assert_eq!(error.message().chars().count(), MESSAGE_CHARS_MAX + 3);
        assert_eq!(ApiError::bad_request("é".repeat(9)).message().chars().count(), 9);
    }

    #[test]
    fn paths_of_the_daemon_are_not_told() {
        let error = ApiError::bad_request("/etc/g/call.xml:3:5: no; see /etc/g/a.csv, /etc/ga");
        let error = error.without_path(Path::new("/etc/g/call.xml"), "scenario");
        let error = error.relative_to(Path::new("/etc/g"));
        assert_eq!(error.message(), "scenario:3:5: no; see a.csv, /etc/ga");
    }

    #[test]
    fn less_than_a_second_is_not_sent_as_none() {
        let response = ApiError::too_many("wait", Duration::from_millis(1)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let response = ApiError::too_many("wait", Duration::from_millis(1001)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
