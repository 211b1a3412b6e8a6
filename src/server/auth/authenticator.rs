//! The way in for requests, whatever kind of authentication is configured.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::hmac;

use super::api_token;
use super::bootstrap::{BootstrapError, FirstAdmin};
use super::database::lock;
use super::error::AuthError;
use super::identity::{Identity, IdentityKind, Permission};
use super::internal::{Internal, Login, NewUser, UserChange};
use super::random::{self, NoRandomness};
use super::store::{AuditRow, StoreError, User};
use super::ticket::{TICKET_LIFE, Tickets};
use super::token::{check_api_token, check_jwt_secret};

/// The live WebSocket, the only path that takes a token in its address.
pub const LIVE_PATH: &str = "/api/v1/live";

/// The settings of authentication: its kind, and the rules for tokens.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The kind of authentication.
    pub mode: AuthMode,
    /// Takes `?token=` on [`LIVE_PATH`]. An address ends up in logs, so tickets are better.
    pub allow_query_token: bool,
    /// The time for which a login is good.
    pub token_lifetime: Duration,
}

impl AuthSettings {
    /// The defaults for `mode`: `?token=` is taken, logins are good for 12 hours, a long shift.
    pub fn new(mode: AuthMode) -> Self {
        let token_lifetime = Duration::from_secs(12 * 3600);
        Self { mode, allow_query_token: true, token_lifetime }
    }
}

/// The kinds of authentication.
#[derive(Clone)]
pub enum AuthMode {
    /// No authentication: every request is let in.
    Open,
    /// `api_token`: one secret for all, who act as operator.
    StaticToken(String),
    /// `auth.type: internal`: users who log in.
    Internal {
        /// Path of the user database.
        sqlite_path: PathBuf,
        /// The secret that signs tokens; `None` for a random one, kept in the database.
        jwt_secret: Option<String>,
    },
}

impl std::fmt::Debug for AuthMode {
    /// Leaves the secrets out: settings end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::StaticToken(_) => f.write_str("StaticToken(..)"),
            Self::Internal { sqlite_path, .. } => {
                f.debug_struct("Internal").field("sqlite_path", sqlite_path).finish_non_exhaustive()
            }
        }
    }
}

/// Authentication cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A secret of the configuration cannot be used.
    #[error("{0}")]
    Secret(String),
    /// The user database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first admin.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Password hashes cannot be computed.
    #[error("{0}")]
    Hash(String),
}

/// The credentials of a request. The first that is present decides: header, ticket, token in the
/// address.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The value of `?ticket=`.
    pub ticket: Option<&'a str>,
    /// The value of `?token=`.
    pub query_token: Option<&'a str>,
}

/// A ticket for one WebSocket.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ticket {
    /// Text of the ticket, for `?ticket=`.
    pub ticket: String,
    /// Seconds for which it is still good.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for Ticket {
    /// Leaves the ticket out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Ticket");
        fields.field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    /// Milliseconds of Unix time.
    pub(super) unix_ms: i64,
}

impl Now {
    pub(super) fn read() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Self { monotonic: Instant::now(), unix_ms }
    }

    pub(super) fn unix_s(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// Decides who may enter.
pub struct Authenticator {
    pub(super) gate: Gate,
    pub(super) tickets: Mutex<Tickets>,
    allow_query_token: bool,
    first_admin: Option<FirstAdmin>,
}

pub(super) enum Gate {
    Open,
    StaticToken(Box<StaticToken>),
    Internal(Box<Internal>),
}

/// The one secret, as a tag under a key of this process: comparing tags takes the same time
/// whatever is presented, and however long it is.
pub(super) struct StaticToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl StaticToken {
    fn new(token: &str) -> Result<Self, NoRandomness> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()?);
        let tag = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, tag })
    }

    fn is(&self, presented: &str) -> bool {
        hmac::verify(&self.key, presented.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

impl Authenticator {
    /// Opens the user database and makes the first admin, if users are asked for. This waits for
    /// the disk.
    ///
    /// # Errors
    /// If the database cannot be used, or if a secret of the configuration is not usable.
    pub fn open(settings: AuthSettings) -> Result<Self, OpenError> {
        let mut first_admin = None;
        let gate = match settings.mode {
            AuthMode::Open => Gate::Open,
            AuthMode::StaticToken(token) => {
                check_api_token(&token).map_err(OpenError::Secret)?;
                Gate::StaticToken(Box::new(StaticToken::new(&token)?))
            }
            AuthMode::Internal { sqlite_path, jwt_secret } => {
                if let Some(secret) = &jwt_secret {
                    check_jwt_secret(secret).map_err(OpenError::Secret)?;
                }
                let (internal, made) =
                    Internal::open(&sqlite_path, jwt_secret, settings.token_lifetime)?;
                first_admin = made;
                Gate::Internal(Box::new(internal))
            }
        };
        let allow_query_token = settings.allow_query_token;
        Ok(Self { gate, tickets: Mutex::default(), allow_query_token, first_admin })
    }

    #[cfg(test)]
    pub(super) fn of_gate(gate: Gate) -> Self {
        Self { gate, tickets: Mutex::default(), allow_query_token: true, first_admin: None }
    }

    /// The admin that [`Self::open`] made because there was no user.
    pub fn first_admin(&self) -> Option<&FirstAdmin> {
        self.first_admin.as_ref()
    }

    /// The `type` of `GET auth/status`: `internal` where users log in, else `none`.
    pub fn kind(&self) -> &'static str {
        match self.gate {
            Gate::Internal(_) => "internal",
            Gate::Open | Gate::StaticToken(_) => "none",
        }
    }

    /// Tells whether requests need no credentials.
    pub fn is_open(&self) -> bool {
        matches!(self.gate, Gate::Open)
    }

    /// Returns the identity behind the credentials of a request. Neither waits nor touches the
    /// disk.
    ///
    /// # Errors
    /// 401 for credentials that are missing or not good, 503 while the users cannot be read.
    pub fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        path: &str,
        source: IpAddr,
    ) -> Result<Identity, AuthError> {
        // Guessing a token is hopeless, so that sources are only watched at the login.
        let _ = source;
        self.authenticate_at(credentials, path, Now::read())
    }

    pub(super) fn authenticate_at(
        &self,
        credentials: &Credentials<'_>,
        path: &str,
        now: Now,
    ) -> Result<Identity, AuthError> {
        if self.is_open() {
            return Ok(Identity::anonymous());
        }
        if let Some(header) = credentials.authorization {
            return self.by_token(bearer(header)?, path, now);
        }
        if let Some(ticket) = credentials.ticket {
            let redeemed = lock(&self.tickets).redeem(now.monotonic, ticket, path);
            let spent =
                || AuthError::unauthorized("the ticket was used, has expired or is not a ticket");
            let identity = redeemed.ok_or_else(spent)?;
            self.check_session(&identity, now)?;
            return Ok(identity);
        }
        let Some(token) = credentials.query_token else {
            return Err(AuthError::unauthorized(match self.gate {
                Gate::Internal(_) => {
                    "log in with POST /api/v1/auth/login, and send the token as \
                     `Authorization: Bearer TOKEN`"
                }
                _ => "send the api_token as `Authorization: Bearer TOKEN`",
            }));
        };
        if !self.allow_query_token {
            return Err(AuthError::unauthorized(
                "tokens in addresses are switched off; use a ticket",
            ));
        }
        if path != LIVE_PATH {
            return Err(AuthError::unauthorized(format!(
                "only {LIVE_PATH} takes a token in the address; send it as `Authorization: Bearer \
                 TOKEN`"
            )));
        }
        self.by_token(token, path, now)
    }

    fn by_token(&self, token: &str, path: &str, now: Now) -> Result<Identity, AuthError> {
        match &self.gate {
            Gate::Open => Ok(Identity::anonymous()),
            Gate::StaticToken(secret) if secret.is(token) => Ok(Identity::static_token()),
            Gate::StaticToken(_) => Err(AuthError::unauthorized("this is not the api_token")),
            Gate::Internal(internal) if api_token::is_one(token) => {
                internal.by_api_token(token, path, now)
            }
            Gate::Internal(internal) => internal.by_token(token, now),
        }
    }

    fn check_session(&self, identity: &Identity, now: Now) -> Result<(), AuthError> {
        if let (Gate::Internal(internal), Some(used)) = (&self.gate, &identity.api_token) {
            return internal.check_api_token(used, now);
        }
        match (&self.gate, &identity.session) {
            (Gate::Internal(internal), Some(session)) => {
                internal.check_session(session, now).map(|_| ())
            }
            (Gate::Internal(_), None) => Err(AuthError::unauthorized("log in again")),
            (Gate::Open | Gate::StaticToken(_), _) => Ok(()),
        }
    }

    /// Tells whether an identity that [`Self::authenticate`] let in may stay; for connections that
    /// last. Neither waits nor touches the disk.
    pub fn is_live(&self, identity: &Identity) -> bool {
        self.check_session(identity, Now::read()).is_ok()
    }

    /// Checks that `identity` has `permission`.
    ///
    /// # Errors
    /// 403 if not.
    pub fn authorize(&self, identity: &Identity, permission: Permission) -> Result<(), AuthError> {
        if identity.role.may(permission) {
            return Ok(());
        }
        let (is, needs) = (identity.role, permission.least_role());
        Err(AuthError::new(403, format!("this needs the role {needs}; you are {is}")))
    }

    /// A ticket with which `identity` can open the WebSocket at `path`.
    ///
    /// # Errors
    /// 429 if too many wait to be used.
    pub fn issue_ticket(&self, identity: &Identity, path: &str) -> Result<Ticket, AuthError> {
        if identity.kind == IdentityKind::Ticket {
            return Err(AuthError::new(403, "a ticket cannot be exchanged for another one"));
        }
        let ticket = lock(&self.tickets).issue(Now::read().monotonic, identity, path)?;
        Ok(Ticket { ticket, expires_in_s: TICKET_LIFE.as_secs() })
    }

    /// Makes a token for a client that knows the password of `username`.
    ///
    /// # Errors
    /// 401 for a wrong name or password, 404 where there are no users, 429 after too many failures,
    /// 503 if too many come at once or the database cannot be used.
    pub async fn login(
        &self,
        username: &str,
        password: &str,
        source: IpAddr,
    ) -> Result<Login, AuthError> {
        self.internal()?.login(username, password, source, Now::read()).await
    }

    /// Takes the token of `identity` out of use; tells whether that was written to the file. If
    /// not, the token is out of use all the same, and the file is written later.
    ///
    /// # Errors
    /// 404 where there are no users, 503 if too many logouts wait to be written: the token is still
    /// good.
    pub async fn logout(&self, identity: &Identity, source: IpAddr) -> Result<bool, AuthError> {
        self.internal()?.logout(identity, source).await
    }

    /// Changes the password of `identity`, whose tokens go out of use.
    ///
    /// # Errors
    /// 400 for a new one that is not allowed, 401 for a wrong current one, 404 where there are no
    /// users, 429 after too many failures, 503 as [`Self::login`].
    pub async fn change_own_password(
        &self,
        identity: &Identity,
        current: &str,
        new: &str,
        source: IpAddr,
    ) -> Result<(), AuthError> {
        self.internal()?.change_own_password(identity, current, new, source, Now::read()).await
    }

    /// All users by name.
    ///
    /// # Errors
    /// 404 where there are none, 503 if the database cannot be used.
    pub async fn users(&self) -> Result<Vec<User>, AuthError> {
        self.internal()?.users().await
    }

    /// Makes a user; without a role an operator.
    ///
    /// # Errors
    /// 400 for a name or password that is not allowed, 409 for a name that is taken, 503.
    pub async fn create_user(
        &self,
        by: &Identity,
        new: NewUser,
        source: IpAddr,
    ) -> Result<User, AuthError> {
        self.internal()?.create_user(by, new, source).await
    }

    /// Changes a user, whose tokens go out of use.
    ///
    /// # Errors
    /// 400 for a password that is not allowed, 404, 409 if no admin would be left, 503.
    pub async fn update_user(
        &self,
        by: &Identity,
        id: i64,
        change: UserChange,
        source: IpAddr,
    ) -> Result<User, AuthError> {
        self.internal()?.update_user(by, id, change, source).await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// 404, 409 if no admin would be left, 503.
    pub async fn delete_user(
        &self,
        by: &Identity,
        id: i64,
        source: IpAddr,
    ) -> Result<(), AuthError> {
        self.internal()?.delete_user(by, id, source).await
    }

    /// The newest rows of the audit log, newest first, 1000 at most.
    ///
    /// # Errors
    /// 404 where there are no users, 503 if the database cannot be used.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, AuthError> {
        self.internal()?.audit(limit).await
    }

    /// Adds to the audit log what `by` is about to do; returns the number of the row. `payload` is
    /// without secrets. Without users there is no audit log, and no number.
    ///
    /// # Errors
    /// 503 if it cannot be written. The act must not be done then, unless it only ends something.
    pub async fn record(
        &self,
        by: &Identity,
        source: IpAddr,
        action: &str,
        target: &str,
        payload: serde_json::Value,
    ) -> Result<Option<i64>, AuthError> {
        match &self.gate {
            Gate::Internal(internal) => {
                internal.record(by, source, action, target, payload).await.map(Some)
            }
            Gate::Open | Gate::StaticToken(_) => Ok(None),
        }
    }

    /// Replaces the payload of a row of [`Self::record`], once the outcome of the act is known.
    pub async fn amend(&self, row: i64, payload: serde_json::Value) {
        if let Gate::Internal(internal) = &self.gate {
            internal.amend(row, payload).await;
        }
    }

    fn internal(&self) -> Result<&Internal, AuthError> {
        match &self.gate {
            Gate::Internal(internal) => Ok(internal),
            Gate::Open | Gate::StaticToken(_) => {
                Err(AuthError::new(404, "there are no users here: auth.type is not internal"))
            }
        }
    }
}

/// The token in the value of an `Authorization` header (RFC 6750, section 2.1).
fn bearer(header: &str) -> Result<&str, AuthError> {
    let parts = header.trim().split_once(' ').map(|(scheme, token)| (scheme, token.trim()));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(token)
        }
        _ => Err(AuthError::unauthorized("the header has to be `Authorization: Bearer TOKEN`")),
    }
}
