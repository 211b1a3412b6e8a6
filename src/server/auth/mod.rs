//! Access to the API: users in SQLite, passwords, tokens, tickets, roles, and the audit log.
//!
//! [`Authenticator`] is the way in. It knows header values and no HTTP: the router decides what a
//! request is and which permission a route needs. It knows nothing of engines and scenarios.
//! `docs/authentication.md` has the rules as a user sees them.

mod api_token;
mod authenticator;
mod bootstrap;
mod command;
mod database;
mod error;
mod identity;
mod internal;
mod password;
mod private_file;
mod provider;
mod random;
#[cfg(test)]
mod scratch;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod ticket;
mod token;
mod username;

pub use api_token::{API_TOKENS_MAX, METRICS_PATH, Scope, UnknownScope};
pub use authenticator::{
    AuthMode, AuthSettings, Authenticator, Credentials, LIVE_PATH, OpenError, Ticket,
};
pub use bootstrap::{BootstrapError, FirstAdmin, files_beside};
pub use command::{DatabaseOf, run};
pub use error::AuthError;
pub use identity::{Identity, IdentityKind, Permission, Role, UnknownRole};
pub use internal::{Login, NewUser, UserChange};
pub use password::{
    PASSWORD_BYTES_MAX, PASSWORD_CHARS_ADVISED, PASSWORD_CHARS_MIN, PasswordError, check_password,
};
pub use random::NoRandomness;
pub use store::{ApiToken, AuditRow, REVOKED_MAX, StoreError, USERS_MAX, User};
pub(crate) use throttle::Source;
pub use ticket::TICKET_LIFE;
pub use token::{check_api_token, check_jwt_secret, weak_api_token};
pub use username::{BadUsername, USERNAME_CHARS_MAX, check_username};
