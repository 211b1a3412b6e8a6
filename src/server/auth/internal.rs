//! Users who log in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::api_token::{self, API_TOKENS_MAX, TokenHash};
use super::authenticator::{Now, OpenError};
use super::bootstrap::{self, FirstAdmin, Wishes};
use super::database::{Database, lock};
use super::error::AuthError;
use super::identity::{Identity, IdentityKind, Role, Session, TokenUse};
use super::password::{HashError, Hasher, PASSWORD_BYTES_MAX, check_password};
use super::store::{
    Account, Act, AuditRow, By, Credential, KnownToken, NewRow, RowChange, Store, User, Weight,
};
use super::throttle::{Attempt, Source, Throttle};
use super::token::{Subject, Tokens};
use super::username::check_username;

/// Rows of the audit log in one answer.
const AUDIT_ROWS_MAX: u32 = 1000;

/// Seconds between two notes that a token for programs is in use.
const USE_STEP_S: i64 = 300;

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Text for `Authorization: Bearer`.
    pub token: String,
    /// The end of the login, in seconds of Unix time.
    pub expires_at: i64,
    /// The role of the user.
    pub role: Role,
}

impl std::fmt::Debug for Login {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Login");
        fields.field("expires_at", &self.expires_at).field("role", &self.role);
        fields.finish_non_exhaustive()
    }
}

/// A user to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name to log in with.
    pub username: String,
    /// The password.
    pub password: String,
    /// `None` for an operator.
    pub role: Option<Role>,
}

/// Changes to a user; `None` leaves a value as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The new password.
    pub password: Option<String>,
    /// The new role.
    pub role: Option<Role>,
    /// True disables the user, false enables it again.
    pub disabled: Option<bool>,
}

/// The users and what belongs to them.
pub(super) struct Internal {
    pub(super) database: Database,
    pub(super) hasher: Hasher,
    tokens: Tokens,
    throttle: Mutex<Throttle>,
    token_lifetime_s: i64,
    /// The time when the use of each token for programs was noted last, in seconds of Unix time.
    uses_noted: Mutex<HashMap<i64, i64>>,
}

/// The reason for a failed password check, for the audit log.
enum Refusal {
    UnknownUser,
    WrongPassword,
    Disabled,
}

impl Refusal {
    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Disabled => "disabled",
        }
    }
}

impl Internal {
    pub(super) fn open(
        sqlite_path: &Path,
        jwt_secret: Option<String>,
        token_lifetime: Duration,
    ) -> Result<(Self, Option<FirstAdmin>), OpenError> {
        let hasher = Hasher::new().map_err(|error| OpenError::Hash(error.to_string()))?;
        let wishes = Wishes::from_environment();
        Self::open_with(sqlite_path, jwt_secret, token_lifetime, hasher, &wishes)
    }

    pub(super) fn open_with(
        sqlite_path: &Path,
        jwt_secret: Option<String>,
        token_lifetime: Duration,
        hasher: Hasher,
        wishes: &Wishes,
    ) -> Result<(Self, Option<FirstAdmin>), OpenError> {
        let mut store = Store::open(sqlite_path)?;
        let now_ms = Now::read().unix_ms;
        let first_admin = bootstrap::first_admin(&mut store, &hasher, wishes, now_ms)?;
        let tokens = match jwt_secret {
            Some(secret) => Tokens::new(secret.as_bytes()),
            None => Tokens::new(&store.jwt_secret()?),
        };
        let internal = Self {
            database: Database::start(store)?,
            hasher,
            tokens,
            throttle: Mutex::default(),
            uses_noted: Mutex::default(),
            token_lifetime_s: i64::try_from(token_lifetime.as_secs()).unwrap_or(i64::MAX),
        };
        Ok((internal, first_admin))
    }

    /// Returns the identity behind the token of a login.
    pub(super) fn by_token(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let claims = self.tokens.check(token, now.unix_s())?;
        let not_ours = || AuthError::unauthorized("the token is not valid; log in again");
        let session = Session {
            user_id: claims.uid,
            epoch: claims.epoch,
            token_id: claims.token_id().ok_or_else(not_ours)?,
            expires_at_s: claims.exp,
        };
        let account = self.check_session(&session, now)?;
        if account.username != claims.sub || account.role.as_str() != claims.role {
            return Err(not_ours());
        }
        Ok(Identity {
            username: account.username,
            role: account.role,
            kind: IdentityKind::User,
            session: Some(session),
            api_token: None,
        })
    }

    /// Returns the identity behind a token for programs, if the token is good for `path`.
    pub(super) fn by_api_token(
        &self,
        token: &str,
        path: &str,
        now: Now,
    ) -> Result<Identity, AuthError> {
        let hash = api_token::hash_of(token).ok_or_else(no_such_token)?;
        let known = self.known_token(&hash, now)?;
        known.scope.check(path)?;
        self.note_use(known.id, now);
        Ok(Identity {
            // A user cannot have a colon in the name.
            username: format!("token:{}", known.name),
            role: known.scope.role(),
            kind: IdentityKind::ApiToken,
            session: None,
            api_token: Some(TokenUse { hash, expires_at_s: known.expires_at_s }),
        })
    }

    /// Refuses a token for programs that was revoked or has expired since it was used.
    pub(super) fn check_api_token(&self, used: &TokenUse, now: Now) -> Result<(), AuthError> {
        self.known_token(&used.hash, now).map(|_| ())
    }

    fn known_token(&self, hash: &TokenHash, now: Now) -> Result<KnownToken, AuthError> {
        let accounts = self.database.accounts().ok_or_else(AuthError::unavailable)?;
        let known = accounts.api_tokens.get(hash).ok_or_else(no_such_token)?;
        if known.expires_at_s.is_some_and(|end| now.unix_s() >= end) {
            return Err(AuthError::unauthorized(
                "the token has expired; make another one with `gossipper auth token-add`",
            ));
        }
        Ok(known.clone())
    }

    /// Notes the time at which a token was used, to within [`USE_STEP_S`].
    fn note_use(&self, id: i64, now: Now) {
        let now_s = now.unix_s();
        let mut noted = lock(&self.uses_noted);
        if noted.get(&id).is_some_and(|at| (0..USE_STEP_S).contains(&(now_s - at))) {
            return;
        }
        if noted.len() >= API_TOKENS_MAX {
            // Revoked tokens are among them and go too.
            noted.clear();
        }
        noted.insert(id, now_s);
        drop(noted);
        self.database.post(move |store| store.note_use(id, now_s));
    }

    /// The account of a login, if the login is still good.
    pub(super) fn check_session(&self, session: &Session, now: Now) -> Result<Account, AuthError> {
        let accounts = self.database.accounts().ok_or_else(AuthError::unavailable)?;
        if now.unix_s() >= session.expires_at_s {
            return Err(AuthError::unauthorized("the token has expired; log in again"));
        }
        let account = accounts.by_id.get(&session.user_id);
        let is_good = |account: &&Account| {
            !account.disabled
                && account.epoch == session.epoch
                && !accounts.revoked.contains(&session.token_id)
                && !self.database.has_unwritten(session.token_id)
        };
        let ended = || AuthError::unauthorized("this login was ended; log in again");
        account.filter(is_good).cloned().ok_or_else(ended)
    }

    pub(super) async fn login(
        &self,
        username: &str,
        password: &str,
        source: IpAddr,
        now: Now,
    ) -> Result<Login, AuthError> {
        let attempt = self.begin(username, source, now).await?;
        // Impossible names are looked up like others, so that they take as long.
        let name = username.to_owned();
        let found = self.database.run(move |store| store.credential(&name)).await;
        let found = self.or_abandon(attempt, found.map_err(AuthError::from))?;
        let (attempt, found) = found;
        let (attempt, checked) = self.check(attempt, found, password).await?;
        let credential = match checked {
            Ok(credential) => credential,
            Err((known, refusal)) => {
                // The typed name may be a password in the wrong field, so only names of users are
                // kept.
                let by = By {
                    user_id: known.as_ref().map(|user| user.id),
                    username: known.map(|user| user.username).unwrap_or_default(),
                    source: source.to_string(),
                    now_ms: now.unix_ms,
                };
                let act = Act::new("auth.login_failed", &by.username)
                    .with(json!({ "reason": refusal.reason() }));
                self.write_audit(by, act, Weight::Attempt).await;
                return Err(AuthError::unauthorized("invalid credentials"));
            }
        };
        let user = &credential.user;
        let subject = Subject {
            username: &user.username,
            user_id: user.id,
            role: user.role.as_str(),
            epoch: credential.epoch,
        };
        let (token, expires_at) =
            self.tokens.issue(&subject, now.unix_s(), self.token_lifetime_s)?;
        lock(&self.throttle).succeed(now.monotonic, attempt);
        self.rehash(&credential, password).await;
        let by = By {
            user_id: Some(user.id),
            username: user.username.clone(),
            source: source.to_string(),
            now_ms: now.unix_ms,
        };
        self.write_audit(by, Act::new("auth.login", &user.username), Weight::Act).await;
        Ok(Login { token, expires_at, role: user.role })
    }

    /// Begins an attempt to show a password.
    async fn begin(&self, username: &str, source: IpAddr, now: Now) -> Result<Attempt, AuthError> {
        // All impossible names count as one account, so that they fill no table.
        let account = if check_username(username).is_ok() {
            username.to_ascii_lowercase()
        } else {
            String::new()
        };
        let begun = lock(&self.throttle).begin(now.monotonic, Source::of(source), &account);
        match begun {
            Ok(attempt) => Ok(attempt),
            Err(throttled) => {
                if throttled.is_first {
                    let by = By {
                        user_id: None,
                        username: String::new(),
                        source: source.to_string(),
                        now_ms: now.unix_ms,
                    };
                    let act = Act::new("auth.login_throttled", "")
                        .with(json!({ "retry_after_s": throttled.retry_after_s }));
                    self.write_audit(by, act, Weight::Attempt).await;
                }
                Err(AuthError::throttled(throttled.retry_after_s))
            }
        }
    }

    /// Compares a password with that of `found`. One hash is computed, whether or not there is such
    /// a user.
    #[allow(clippy::type_complexity)]
    async fn check(
        &self,
        attempt: Attempt,
        found: Option<Credential>,
        password: &str,
    ) -> Result<(Attempt, Result<Credential, (Option<User>, Refusal)>), AuthError> {
        // A stored password is never that long. Its start costs the same work and is as wrong.
        let is_too_long = password.len() > PASSWORD_BYTES_MAX;
        let end = password.floor_char_boundary(PASSWORD_BYTES_MAX);
        let stored = found.as_ref().filter(|_| !is_too_long);
        let stored = stored.map(|credential| credential.password_hash.clone());
        let verified = match self.hasher.verify(password[..end].to_owned(), stored).await {
            Err(error @ HashError::Unreadable(_)) => {
                let name = found.as_ref().map(|found| found.user.username.as_str());
                tracing::error!("user {}: {error}", name.unwrap_or_default());
                Ok(false)
            }
            result => result.map_err(AuthError::from),
        };
        let (attempt, is_right) = self.or_abandon(attempt, verified)?;
        let checked = match found {
            None => Err((None, Refusal::UnknownUser)),
            Some(found) if !is_right => Err((Some(found.user), Refusal::WrongPassword)),
            Some(found) if found.user.disabled => Err((Some(found.user), Refusal::Disabled)),
            Some(found) => Ok(found),
        };
        Ok((attempt, checked))
    }

    /// Takes the attempt back if the error is ours: it must not count as a failure of the client.
    fn or_abandon<T>(
        &self,
        attempt: Attempt,
        result: Result<T, AuthError>,
    ) -> Result<(Attempt, T), AuthError> {
        match result {
            Ok(value) => Ok((attempt, value)),
            Err(error) => {
                lock(&self.throttle).abandon(attempt);
                Err(error)
            }
        }
    }

    /// Brings the hash of a password that was just shown to today's cost.
    async fn rehash(&self, credential: &Credential, password: &str) {
        if !self.hasher.needs_rehash(&credential.password_hash) {
            return;
        }
        // If this fails, it can wait for the next login.
        let Ok(new) = self.hasher.hash(password.to_owned()).await else { return };
        let (id, old) = (credential.user.id, credential.password_hash.clone());
        if let Err(error) = self.database.run(move |store| store.rehash(id, &old, &new)).await {
            tracing::warn!("{error}; the password hash of an earlier version stays for now");
        }
    }

    pub(super) async fn logout(
        &self,
        identity: &Identity,
        source: IpAddr,
    ) -> Result<bool, AuthError> {
        let Session { token_id, user_id, expires_at_s, .. } = session_of(identity)?;
        let by = by(identity, source);
        Ok(self.database.revoke(token_id, user_id, expires_at_s, by).await?)
    }

    pub(super) async fn change_own_password(
        &self,
        identity: &Identity,
        current: &str,
        new: &str,
        source: IpAddr,
        now: Now,
    ) -> Result<(), AuthError> {
        let session = session_of(identity)?;
        check_password(new, &identity.username)?;
        let attempt = self.begin(&identity.username, source, now).await?;
        let id = session.user_id;
        let found = self.database.run(move |store| store.credential_by_id(id)).await;
        let (attempt, found) = self.or_abandon(attempt, found.map_err(AuthError::from))?;
        let (attempt, checked) = self.check(attempt, found, current).await?;
        let credential = match checked {
            Ok(credential) => credential,
            Err((_, refusal)) => {
                let act = Act::new("user.password_change_failed", &identity.username)
                    .with(json!({ "reason": refusal.reason() }));
                self.write_audit(by(identity, source), act, Weight::Attempt).await;
                return Err(AuthError::unauthorized("the current password is wrong"));
            }
        };
        lock(&self.throttle).succeed(now.monotonic, attempt);
        let change = RowChange {
            password_hash: Some(self.hasher.hash(new.to_owned()).await?),
            // A change by another session in between wins.
            if_password_hash: Some(credential.password_hash),
            ..RowChange::default()
        };
        self.update(identity, id, change, source).await.map(|_| ())
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, AuthError> {
        Ok(self.database.run(|store| store.users()).await?)
    }

    pub(super) async fn create_user(
        &self,
        identity: &Identity,
        new: NewUser,
        source: IpAddr,
    ) -> Result<User, AuthError> {
        check_username(&new.username)?;
        check_password(&new.password, &new.username)?;
        let password_hash = self.hasher.hash(new.password).await?;
        let role = Some(new.role.unwrap_or(Role::Operator));
        let row = NewRow { username: new.username, password_hash, role };
        let by = by(identity, source);
        Ok(self.database.run(move |store| store.create_user(&row, &by)).await?)
    }

    pub(super) async fn update_user(
        &self,
        identity: &Identity,
        id: i64,
        change: UserChange,
        source: IpAddr,
    ) -> Result<User, AuthError> {
        let password_hash = match change.password {
            None => None,
            Some(password) => {
                let found = self.database.run(move |store| store.credential_by_id(id)).await?;
                let username = found.map(|found| found.user.username).unwrap_or_default();
                check_password(&password, &username)?;
                Some(self.hasher.hash(password).await?)
            }
        };
        let UserChange { role, disabled, .. } = change;
        let change = RowChange { password_hash, role, disabled, if_password_hash: None };
        self.update(identity, id, change, source).await
    }

    async fn update(
        &self,
        identity: &Identity,
        id: i64,
        change: RowChange,
        source: IpAddr,
    ) -> Result<User, AuthError> {
        let by = by(identity, source);
        let done = self.database.run(move |store| {
            let user = store.update_user(id, &change, &by)?;
            if change.password_hash.is_some() {
                bootstrap::forget_password_file(store, id);
            }
            Ok(user)
        });
        Ok(done.await?)
    }

    pub(super) async fn delete_user(
        &self,
        identity: &Identity,
        id: i64,
        source: IpAddr,
    ) -> Result<(), AuthError> {
        let by = by(identity, source);
        let done = self.database.run(move |store| {
            store.delete_user(id, &by)?;
            bootstrap::forget_password_file(store, id);
            Ok(())
        });
        Ok(done.await?)
    }

    pub(super) async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, AuthError> {
        let limit = limit.clamp(1, AUDIT_ROWS_MAX);
        Ok(self.database.run(move |store| store.audit(limit)).await?)
    }

    pub(super) async fn record(
        &self,
        identity: &Identity,
        source: IpAddr,
        action: &str,
        target: &str,
        payload: Value,
    ) -> Result<i64, AuthError> {
        let act = Act::new(action, target).with(payload);
        let by = by(identity, source);
        let written = self.database.run(move |store| store.record(&by, &act, Weight::Act)).await;
        written.map_err(|error| {
            AuthError::new(503, format!("the audit log cannot be written ({error})"))
        })
    }

    pub(super) async fn amend(&self, row: i64, payload: Value) {
        let written = self.database.run(move |store| store.amend(row, &payload)).await;
        if let Err(error) = written {
            tracing::error!("{error}; row {row} of the audit log has no outcome");
        }
    }

    /// Adds a row. A failure is only logged, as a full disk is no reason to keep an admin out.
    async fn write_audit(&self, by: By, act: Act, weight: Weight) {
        let action = act.action.clone();
        let written = self.database.run(move |store| store.record(&by, &act, weight)).await;
        if let Err(error) = written {
            tracing::error!("{error}; {action} is missing in the audit log");
        }
    }
}

fn no_such_token() -> AuthError {
    AuthError::unauthorized("there is no such token; it may have been revoked")
}

fn by(identity: &Identity, source: IpAddr) -> By {
    By {
        user_id: identity.user_id(),
        username: identity.username.clone(),
        source: source.to_string(),
        now_ms: Now::read().unix_ms,
    }
}

/// The login of an identity that came with its own token.
fn session_of(identity: &Identity) -> Result<Session, AuthError> {
    let needs_token = || AuthError::new(403, "this needs the token of a login");
    let is_user = identity.kind == IdentityKind::User;
    identity.session.clone().filter(|_| is_user).ok_or_else(needs_token)
}
