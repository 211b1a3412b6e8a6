//! Rows of tokens for programs.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction};
use serde::Serialize;
use serde_json::json;

use super::audit::{self, Act, By, Weight};
use super::{Failure, Store, StoreError};
use crate::server::auth::api_token::{API_TOKENS_MAX, Scope, TokenHash};

/// A token for a program, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiToken {
    /// The number of the token, never given twice.
    pub id: i64,
    /// The name in lists and in the audit log; upper and lower case are the same.
    pub name: String,
    /// The scope of the token: what it is good for.
    pub scope: Scope,
    /// Seconds of Unix time.
    pub created_at: i64,
    /// Seconds of Unix time; `None` for no end.
    pub expires_at: Option<i64>,
    /// Seconds of Unix time, within some minutes; `None` for never.
    pub last_used_at: Option<i64>,
}

/// A token to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::auth) struct NewApiToken {
    pub(in crate::server::auth) name: String,
    pub(in crate::server::auth) scope: Scope,
    pub(in crate::server::auth) hash: TokenHash,
    pub(in crate::server::auth) expires_at: Option<i64>,
}

const COLUMNS: &str = "id, name, scope, created_at, expires_at, last_used_at";

impl Store {
    /// All tokens by name.
    pub(in crate::server::auth) fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let read = || -> rusqlite::Result<Vec<ApiToken>> {
            let sql = format!("SELECT {COLUMNS} FROM api_tokens ORDER BY name");
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_map((), api_token)?.collect()
        };
        self.check(read())
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// If there is one of that name, or no room.
    pub(in crate::server::auth) fn add_api_token(
        &mut self,
        new: &NewApiToken,
        by: &By,
    ) -> Result<ApiToken, StoreError> {
        let token = self.write(|transaction| insert(transaction, new, by))?;
        self.accounts_changed = true;
        Ok(token)
    }

    /// Takes a token out of use for good.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(in crate::server::auth) fn revoke_api_token(
        &mut self,
        name: &str,
        by: &By,
    ) -> Result<ApiToken, StoreError> {
        let token = self.write(|transaction| {
            let token = find(transaction, name)?;
            let token = token.ok_or_else(|| StoreError::NoSuchToken(name.to_owned()))?;
            transaction.execute("DELETE FROM api_tokens WHERE id = ?1", [token.id])?;
            let act = Act::new("token.revoke", &token.name);
            audit::insert(transaction, by, &act, Weight::Act)?;
            Ok(token)
        })?;
        self.accounts_changed = true;
        Ok(token)
    }

    /// Notes that a token was used.
    pub(in crate::server::auth) fn note_use(
        &mut self,
        id: i64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE api_tokens SET last_used_at = ?1 WHERE id = ?2";
        self.write(|transaction| Ok(transaction.execute(sql, (now_s, id)).map(|_| ())?))
    }
}

fn insert(transaction: &Transaction<'_>, new: &NewApiToken, by: &By) -> Result<ApiToken, Failure> {
    let count: i64 =
        transaction.query_row("SELECT count(*) FROM api_tokens", (), |row| row.get(0))?;
    if count >= API_TOKENS_MAX as i64 {
        return Err(StoreError::TooManyTokens(API_TOKENS_MAX).into());
    }
    if let Some(taken) = find(transaction, &new.name)? {
        return Err(StoreError::TokenExists(taken.name).into());
    }
    transaction.execute(
        "INSERT INTO api_tokens (name, scope, hash, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (&new.name, new.scope.as_str(), new.hash.0, by.now_ms / 1000, new.expires_at),
    )?;
    let payload = json!({ "scope": new.scope, "expires_at": new.expires_at });
    let act = Act::new("token.create", &new.name).with(payload);
    audit::insert(transaction, by, &act, Weight::Act)?;
    let made = find(transaction, &new.name)?;
    made.ok_or_else(|| StoreError::NoSuchToken(new.name.clone()).into())
}

fn find(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<ApiToken>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE name = ?1");
    transaction.query_row(&sql, [name], api_token).optional()
}

fn api_token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: scope(row, 2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        last_used_at: row.get(5)?,
    })
}

/// The scope in a column, of which the same holds as of roles.
pub(super) fn scope(row: &Row<'_>, column: usize) -> rusqlite::Result<Scope> {
    let word: String = row.get(column)?;
    word.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
