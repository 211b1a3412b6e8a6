//! The tables, and the migrations from older versions.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{Failure, StoreError};

/// The application id in the header of our databases ("goss").
const APPLICATION_ID: i32 = 0x676f_7373;

/// Migrations from each version to the next. A released one is never changed; new ones are added.
const MIGRATIONS: &[&str] = &[
    // Ids of users are not given twice (AUTOINCREMENT): a token names the id, and must not fit a
    // later user.
    "CREATE TABLE users (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         username TEXT NOT NULL UNIQUE COLLATE NOCASE,
         password_hash TEXT NOT NULL,
         role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
         epoch INTEGER NOT NULL DEFAULT 0,
         disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
         created_at INTEGER NOT NULL,
         updated_at INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE audit_log (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         ts INTEGER NOT NULL,
         weight INTEGER NOT NULL,
         user_id INTEGER,
         username TEXT NOT NULL,
         source TEXT NOT NULL,
         action TEXT NOT NULL,
         target TEXT NOT NULL,
         payload_json TEXT NOT NULL
     ) STRICT;
     CREATE INDEX audit_log_by_weight ON audit_log (weight, id);
     CREATE TABLE kv_settings (
         key TEXT PRIMARY KEY,
         value TEXT NOT NULL
     ) STRICT;
     CREATE TABLE revoked_tokens (
         token_id BLOB PRIMARY KEY,
         user_id INTEGER NOT NULL,
         expires_at INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_at);",
    // Tokens for programs; of the secret there is a hash.
    "CREATE TABLE api_tokens (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE COLLATE NOCASE,
         scope TEXT NOT NULL CHECK (scope IN ('metrics', 'read', 'operate')),
         hash BLOB NOT NULL UNIQUE,
         created_at INTEGER NOT NULL,
         expires_at INTEGER,
         last_used_at INTEGER
     ) STRICT;",
];

/// Fails if the database belongs to another program. An empty one is ours.
pub(super) fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = || -> rusqlite::Result<(i32, i64)> {
        // In this order: another process may make the tables, and the mark with them, in between.
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        let id = connection.query_row("PRAGMA application_id", (), |row| row.get(0))?;
        Ok((id, tables))
    };
    let (found, tables) = read().map_err(|error| StoreError::of(path, error))?;
    if found == APPLICATION_ID || (found == 0 && tables == 0) {
        return Ok(());
    }
    Err(StoreError::Foreign { path: path.to_owned(), found })
}

/// Brings the tables to the newest version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    let known = MIGRATIONS.len() as i64;
    // With nothing to do, no process has to wait for a writer.
    if version(connection)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Again: another process may have come first.
    let found = version(&transaction)?;
    let pending = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    let Some(pending) = pending else {
        return Err(StoreError::Newer { path: path.to_owned(), found, known }.into());
    };
    for migration in pending {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", (), |row| row.get(0))
}
