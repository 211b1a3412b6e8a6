//! Rows of users.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction};
use serde::Serialize;
use serde_json::json;

use super::audit::{self, Act, By, Weight};
use super::{FIRST_ADMIN, Failure, Store, StoreError, USERS_MAX};
use crate::server::auth::identity::Role;

/// A user, without the hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The number of the user, never given twice.
    pub id: i64,
    /// The name to log in with; upper and lower case are the same.
    pub username: String,
    /// The role of the user.
    pub role: Role,
    /// True if the user cannot log in.
    pub disabled: bool,
    /// Seconds of Unix time.
    pub created_at: i64,
    /// Seconds of Unix time.
    pub updated_at: i64,
}

/// A user with the epoch and the hash that a login is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::auth) struct Credential {
    pub(in crate::server::auth) user: User,
    pub(in crate::server::auth) epoch: i64,
    pub(in crate::server::auth) password_hash: String,
}

/// A user to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::auth) struct NewRow {
    pub(in crate::server::auth) username: String,
    pub(in crate::server::auth) password_hash: String,
    /// `None`: admin for the first user, operator for others.
    pub(in crate::server::auth) role: Option<Role>,
}

/// Changes to a row; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server::auth) struct RowChange {
    pub(in crate::server::auth) password_hash: Option<String>,
    pub(in crate::server::auth) role: Option<Role>,
    pub(in crate::server::auth) disabled: Option<bool>,
    /// The change is made only if this is still the user's hash.
    pub(in crate::server::auth) if_password_hash: Option<String>,
}

const COLUMNS: &str = "id, username, role, disabled, created_at, updated_at, epoch, password_hash";

impl Store {
    /// All users by name.
    pub(in crate::server::auth) fn users(&self) -> Result<Vec<User>, StoreError> {
        let read = || -> rusqlite::Result<Vec<User>> {
            let sql = format!("SELECT {COLUMNS} FROM users ORDER BY username");
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_map((), user)?.collect()
        };
        self.check(read())
    }

    /// The user of a name.
    pub(in crate::server::auth) fn credential(
        &self,
        username: &str,
    ) -> Result<Option<Credential>, StoreError> {
        let read = || -> rusqlite::Result<Option<Credential>> {
            let sql = format!("SELECT {COLUMNS} FROM users WHERE username = ?1");
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_row([username], credential).optional()
        };
        self.check(read())
    }

    /// The user of a number.
    pub(in crate::server::auth) fn credential_by_id(
        &self,
        id: i64,
    ) -> Result<Option<Credential>, StoreError> {
        let read = || -> rusqlite::Result<Option<Credential>> {
            let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_row([id], credential).optional()
        };
        self.check(read())
    }

    /// Makes a user.
    ///
    /// # Errors
    /// If there is one of that name.
    pub(in crate::server::auth) fn create_user(
        &mut self,
        new: &NewRow,
        by: &By,
    ) -> Result<User, StoreError> {
        let user = self.write(|transaction| {
            let count = count_users(transaction)?;
            let role = new.role.unwrap_or(if count == 0 { Role::Admin } else { Role::Operator });
            insert_user(transaction, count, new, role, by)
        })?;
        self.accounts_changed = true;
        Ok(user)
    }

    /// Makes the first admin, whose password lies in a file if `has_file`; `None` if there are
    /// users already.
    pub(in crate::server::auth) fn create_first_admin(
        &mut self,
        new: &NewRow,
        has_file: bool,
        by: &By,
    ) -> Result<Option<User>, StoreError> {
        let user = self.write(|transaction| {
            if count_users(transaction)? > 0 {
                return Ok(None);
            }
            let user = insert_user(transaction, 0, new, Role::Admin, by)?;
            if has_file {
                transaction.execute(
                    "INSERT OR REPLACE INTO kv_settings (key, value) VALUES (?1, ?2)",
                    (FIRST_ADMIN, user.id.to_string()),
                )?;
            }
            Ok(Some(user))
        })?;
        self.accounts_changed = true;
        Ok(user)
    }

    /// Changes a user. A new password, a new role and shutting out take all tokens of the user out
    /// of use.
    ///
    /// # Errors
    /// If there is no such user, or if no admin would be left.
    pub(in crate::server::auth) fn update_user(
        &mut self,
        id: i64,
        change: &RowChange,
        by: &By,
    ) -> Result<User, StoreError> {
        let user = self.write(|transaction| update_row(transaction, id, change, by))?;
        self.accounts_changed = true;
        Ok(user)
    }

    /// Replaces an older hash by one of the same password with today's parameters.
    pub(in crate::server::auth) fn rehash(
        &mut self,
        id: i64,
        old: &str,
        new: &str,
    ) -> Result<(), StoreError> {
        // Not if the password was changed meanwhile.
        let sql = "UPDATE users SET password_hash = ?1 WHERE id = ?2 AND password_hash = ?3";
        self.write(|transaction| Ok(transaction.execute(sql, (new, id, old)).map(|_| ())?))
    }

    /// Removes a user.
    ///
    /// # Errors
    /// If there is no such user, or if no admin would be left.
    pub(in crate::server::auth) fn delete_user(
        &mut self,
        id: i64,
        by: &By,
    ) -> Result<User, StoreError> {
        let user = self.write(|transaction| {
            let user = find(transaction, id)?.user;
            keep_an_admin(transaction, &user)?;
            transaction.execute("DELETE FROM users WHERE id = ?1", [id])?;
            let act = Act::new("user.delete", &user.username);
            audit::insert(transaction, by, &act, Weight::Act)?;
            Ok(user)
        })?;
        self.accounts_changed = true;
        Ok(user)
    }
}

fn insert_user(
    transaction: &Transaction<'_>,
    count: i64,
    new: &NewRow,
    role: Role,
    by: &By,
) -> Result<User, Failure> {
    if count >= USERS_MAX as i64 {
        return Err(StoreError::TooManyUsers(USERS_MAX).into());
    }
    let taken: Option<String> = transaction
        .query_row("SELECT username FROM users WHERE username = ?1", [&new.username], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(taken) = taken {
        return Err(StoreError::Exists(taken).into());
    }
    let now_s = by.now_ms / 1000;
    transaction.execute(
        "INSERT INTO users (username, password_hash, role, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?4)",
        (&new.username, &new.password_hash, role.as_str(), now_s),
    )?;
    let user = find(transaction, transaction.last_insert_rowid())?.user;
    let act = Act::new("user.create", &user.username).with(json!({ "role": role }));
    audit::insert(transaction, by, &act, Weight::Act)?;
    Ok(user)
}

fn update_row(
    transaction: &Transaction<'_>,
    id: i64,
    change: &RowChange,
    by: &By,
) -> Result<User, Failure> {
    let before = find(transaction, id)?;
    if change.if_password_hash.as_ref().is_some_and(|hash| *hash != before.password_hash) {
        // Another session changed it between the check of the old password and now.
        return Err(StoreError::Changed(before.user.username).into());
    }
    let role = change.role.unwrap_or(before.user.role);
    let disabled = change.disabled.unwrap_or(before.user.disabled);
    let is_same = role == before.user.role && disabled == before.user.disabled;
    if is_same && change.password_hash.is_none() {
        // No change, so no user has to log in again.
        return Ok(before.user);
    }
    if role != Role::Admin || disabled {
        keep_an_admin(transaction, &before.user)?;
    }
    let password_hash = change.password_hash.as_ref().unwrap_or(&before.password_hash);
    transaction.execute(
        "UPDATE users SET password_hash = ?1, role = ?2, disabled = ?3, updated_at = ?4,
             epoch = epoch + 1 WHERE id = ?5",
        (password_hash, role.as_str(), disabled, by.now_ms / 1000, id),
    )?;
    let name = &before.user.username;
    let mut acts = Vec::new();
    if change.password_hash.is_some() {
        acts.push(Act::new("user.password_change", name));
    }
    if role != before.user.role {
        let payload = json!({ "from": before.user.role, "to": role });
        acts.push(Act::new("user.role_change", name).with(payload));
    }
    if disabled != before.user.disabled {
        acts.push(Act::new(if disabled { "user.disable" } else { "user.enable" }, name));
    }
    for act in acts {
        audit::insert(transaction, by, &act, Weight::Act)?;
    }
    Ok(find(transaction, id)?.user)
}

/// Fails if `user` is the only admin who can log in.
fn keep_an_admin(transaction: &Transaction<'_>, user: &User) -> Result<(), Failure> {
    if user.role != Role::Admin || user.disabled {
        return Ok(());
    }
    let others: i64 = transaction.query_row(
        "SELECT count(*) FROM users WHERE role = 'admin' AND disabled = 0 AND id <> ?1",
        [user.id],
        |row| row.get(0),
    )?;
    if others == 0 {
        return Err(StoreError::LastAdmin(user.username.clone()).into());
    }
    Ok(())
}

fn count_users(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row("SELECT count(*) FROM users", (), |row| row.get(0))
}

fn find(transaction: &Transaction<'_>, id: i64) -> Result<Credential, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
    let found = transaction.query_row(&sql, [id], credential).optional()?;
    found.ok_or_else(|| StoreError::NoSuchUser(format!("with id {id}")).into())
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        username: row.get(1)?,
        role: role(row, 2)?,
        disabled: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential { user: user(row)?, epoch: row.get(6)?, password_hash: row.get(7)? })
}

/// The role in a column. The table allows no other words. Another word can only have been written
/// with the checks off.
pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let word: String = row.get(column)?;
    word.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
