//! The audit log: acts of users, and attempts to log in.
//!
//! It is bounded by count. Attempts to log in are pruned by themselves, so that a flood of them
//! cannot push out what users did.

use std::borrow::Cow;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::Value;

use super::{Store, StoreError};

/// Acts of users that are kept at least.
pub(super) const ACTS_KEPT: i64 = 50_000;

/// Attempts to log in that are kept at least.
pub(super) const ATTEMPTS_KEPT: i64 = 20_000;

/// Rows between two prunings: finding the oldest row to keep costs a walk along the index.
pub(super) const PRUNE_EVERY: i64 = 256;

/// Bytes of a target that are kept.
const TARGET_BYTES_MAX: usize = 2048;

/// Bytes of a payload that are kept: enough for the rates of the largest number of engines.
const PAYLOAD_BYTES_MAX: usize = 8192;

/// Bytes of one text that are kept in a payload that is too long.
const TEXT_BYTES_MAX: usize = 256;

/// Members of a payload that are never left out.
const ALWAYS_KEPT: [&str; 4] = ["outcome", "error", "sha256", "reason"];

/// The name of the mark that stands in the place of omitted members.
const OMITTED: &str = "omitted";

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditRow {
    /// The number of the row; later rows have higher ones.
    pub id: i64,
    /// Time of the act, in milliseconds of Unix time.
    pub ts: i64,
    /// Row of the acting user; `None` if the author is not a user.
    pub user_id: Option<i64>,
    /// The author's name at that time; empty if unknown.
    pub username: String,
    /// The address that the request came from; `local` for the command line.
    pub source: String,
    /// Name of the act: `auth.login`, `user.create`, `scenario.apply`.
    pub action: String,
    /// The object of the act, such as a user or a path.
    pub target: String,
    /// Details, as JSON.
    pub payload_json: String,
}

/// The author of an act, with address and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::auth) struct By {
    pub(in crate::server::auth) user_id: Option<i64>,
    pub(in crate::server::auth) username: String,
    pub(in crate::server::auth) source: String,
    pub(in crate::server::auth) now_ms: i64,
}

/// An act: its name, its object and its details.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::server::auth) struct Act {
    pub(in crate::server::auth) action: String,
    pub(in crate::server::auth) target: String,
    pub(in crate::server::auth) payload: Value,
}

impl Act {
    pub(in crate::server::auth) fn new(action: &str, target: &str) -> Self {
        Self { action: action.to_owned(), target: target.to_owned(), payload: Value::Null }
    }

    pub(in crate::server::auth) fn with(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }
}

/// The group of rows that a row is pruned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::auth) enum Weight {
    /// Can be caused without being let in.
    Attempt = 0,
    /// Can only be caused by users who were let in.
    Act = 1,
}

impl Weight {
    fn kept(self) -> i64 {
        match self {
            Self::Attempt => ATTEMPTS_KEPT,
            Self::Act => ACTS_KEPT,
        }
    }
}

impl Store {
    /// Adds a row; returns its number.
    pub(in crate::server::auth) fn record(
        &mut self,
        by: &By,
        act: &Act,
        weight: Weight,
    ) -> Result<i64, StoreError> {
        self.write(|transaction| Ok(insert(transaction, by, act, weight)?))
    }

    /// Replaces the payload of a row.
    pub(in crate::server::auth) fn amend(
        &mut self,
        row: i64,
        payload: &Value,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let statement = "UPDATE audit_log SET payload_json = ?2 WHERE id = ?1";
            transaction.execute(statement, (row, text_of(payload)))?;
            Ok(())
        })
    }

    /// The newest rows, newest first.
    pub(in crate::server::auth) fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.check(self.read_audit(limit))
    }

    fn read_audit(&self, limit: u32) -> rusqlite::Result<Vec<AuditRow>> {
        let mut statement = self.connection.prepare(
            "SELECT id, ts, user_id, username, source, action, target, payload_json
             FROM audit_log ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| {
            Ok(AuditRow {
                id: row.get(0)?,
                ts: row.get(1)?,
                user_id: row.get(2)?,
                username: row.get(3)?,
                source: row.get(4)?,
                action: row.get(5)?,
                target: row.get(6)?,
                payload_json: row.get(7)?,
            })
        })?;
        rows.collect()
    }
}

/// The text of a payload. If it is too long, its texts are cut. If that is not enough, its longest
/// parts are left out and named. The outcome always stays, so that a long name cannot hide a deed.
fn text_of(payload: &Value) -> String {
    if payload.is_null() {
        return "{}".to_owned();
    }
    let text = payload.to_string();
    if text.len() <= PAYLOAD_BYTES_MAX {
        return text;
    }
    let mut payload = payload.clone();
    shorten(&mut payload);
    while payload.to_string().len() > PAYLOAD_BYTES_MAX && omit_longest(&mut payload) {}
    payload.to_string()
}

/// Cuts all texts within a value that are too long.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(short) = cut(text, TEXT_BYTES_MAX) {
                *text = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

/// The first bytes of a text; a cut text is followed by the number of all its bytes.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.len() <= most {
        true => Cow::Borrowed(text),
        false => {
            let kept = &text[..text.floor_char_boundary(most)];
            Cow::Owned(format!("{kept}... ({} bytes)", text.len()))
        }
    }
}

/// Replaces the longest member that may be left out by a mark; returns `false` if there is none.
fn omit_longest(payload: &mut Value) -> bool {
    let Some(members) = payload.as_object_mut() else { return false };
    let length = |value: &Value| value.to_string().len();
    let may_go = members.iter_mut().filter(|(name, value)| {
        !ALWAYS_KEPT.contains(&name.as_str()) && value.get(OMITTED).is_none()
    });
    let Some((_, longest)) = may_go.max_by_key(|(_, value)| length(value)) else { return false };
    // A fingerprint identifies the member, whatever its name was.
    let sha256 = longest.get("sha256").cloned();
    *longest = omitted(length(longest));
    if let Some(sha256) = sha256 {
        longest["sha256"] = sha256;
    }
    true
}

/// The mark in the place of something that had so many bytes.
fn omitted(bytes: usize) -> Value {
    serde_json::json!({ OMITTED: format!("{bytes} bytes") })
}

/// Adds a row within a transaction, and prunes now and then; returns its number.
pub(super) fn insert(
    connection: &Connection,
    by: &By,
    act: &Act,
    weight: Weight,
) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare(
        "INSERT INTO audit_log (ts, weight, user_id, username, source, action, target, payload_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    statement.execute((
        by.now_ms,
        weight as i64,
        by.user_id,
        &by.username,
        &by.source,
        &act.action,
        cut(&act.target, TARGET_BYTES_MAX),
        text_of(&act.payload),
    ))?;
    let row = connection.last_insert_rowid();
    if row % PRUNE_EVERY == 0 {
        let mut prune = connection.prepare(
            "DELETE FROM audit_log WHERE weight = ?1 AND id <=
                 (SELECT id FROM audit_log WHERE weight = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?;
        for weight in [Weight::Attempt, Weight::Act] {
            prune.execute((weight as i64, weight.kept()))?;
        }
    }
    Ok(row)
}
