//! Refusals of requests, with their HTTP status.

use super::password::{HashError, PasswordError};
use super::random::NoRandomness;
use super::store::StoreError;
use super::ticket::TicketError;
use super::token::TokenError;
use super::username::BadUsername;

/// A request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// The HTTP status code.
    pub status: u16,
    /// Text for the body of the response.
    pub message: String,
    /// Seconds until another attempt makes sense, for `Retry-After`.
    pub retry_after_s: Option<u64>,
}

impl AuthError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_s: None }
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, message)
    }

    pub(super) fn throttled(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(429, format!("too many failed logins; try again in {retry_after_s} s"))
        }
    }

    /// An internal failure. The reason is in the log, and is not for strangers.
    pub(super) fn unavailable() -> Self {
        Self {
            retry_after_s: Some(5),
            ..Self::new(503, "the user database cannot be used now; see the log of the daemon")
        }
    }

    fn overloaded(message: String) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(503, message) }
    }
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchUser(_) => Self::new(404, error.to_string()),
            StoreError::Exists(_)
            | StoreError::Changed(_)
            | StoreError::LastAdmin(_)
            | StoreError::TooManyUsers(_) => Self::new(409, error.to_string()),
            StoreError::Overloaded => Self::overloaded(error.to_string()),
            error => {
                tracing::error!("{error}");
                Self::unavailable()
            }
        }
    }
}

impl From<HashError> for AuthError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::overloaded(error.to_string()),
            error => {
                tracing::error!("{error}");
                Self::unavailable()
            }
        }
    }
}

impl From<NoRandomness> for AuthError {
    fn from(error: NoRandomness) -> Self {
        tracing::error!("{error}");
        Self::unavailable()
    }
}

impl From<TicketError> for AuthError {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::TooMany => {
                Self { retry_after_s: Some(1), ..Self::new(429, error.to_string()) }
            }
            TicketError::Randomness(error) => error.into(),
        }
    }
}

impl From<TokenError> for AuthError {
    fn from(error: TokenError) -> Self {
        Self::unauthorized(error.to_string())
    }
}

impl From<PasswordError> for AuthError {
    fn from(error: PasswordError) -> Self {
        Self::new(400, error.to_string())
    }
}

impl From<BadUsername> for AuthError {
    fn from(error: BadUsername) -> Self {
        Self::new(400, error.to_string())
    }
}
