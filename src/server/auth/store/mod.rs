//! Users, audit log and settings in one SQLite file.
//!
//! The file may be open in several processes at once: the daemon and `gossipper auth`. The store
//! knows hashes of passwords and no passwords, and knows nothing of the rights of users.

mod api_tokens;
mod audit;
mod error;
mod schema;
#[cfg(test)]
mod tests;
mod users;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior,
};

pub use api_tokens::ApiToken;
pub(super) use api_tokens::NewApiToken;
pub use audit::AuditRow;
pub(super) use audit::{Act, By, Weight};
pub use error::StoreError;
pub use users::User;
pub(super) use users::{Credential, NewRow, RowChange};

use super::api_token::{Scope, TokenHash};
use super::identity::Role;
use super::private_file;
use super::random::{self, NoRandomness};
use super::token::TokenId;

/// The time for which a writer waits for another process. Transactions take milliseconds here; a
/// process that holds the file longer has stopped.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Users at most: all of them are kept in memory.
pub const USERS_MAX: usize = 10_000;

/// Logged-out tokens that are remembered at most, until they expire by themselves.
pub const REVOKED_MAX: usize = 10_000;

/// The key in `kv_settings` of the secret that signs tokens.
const JWT_SECRET: &str = "jwt_secret";

/// The key in `kv_settings` of the user whose password lies in a file.
const FIRST_ADMIN: &str = "first_admin_id";

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    accounts_changed: bool,
}

/// The users and tokens that every request is checked against, in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) by_id: HashMap<i64, Account>,
    pub(super) revoked: HashSet<TokenId>,
    pub(super) api_tokens: HashMap<TokenHash, KnownToken>,
}

/// One token for a program of [`Accounts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownToken {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) expires_at_s: Option<i64>,
}

/// One user of [`Accounts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) username: String,
    pub(super) role: Role,
    pub(super) epoch: i64,
    pub(super) disabled: bool,
}

impl Store {
    /// Opens the file, makes it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be opened or written, is damaged, or belongs to another program or a newer
    /// version.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let io_error = |source| StoreError::File { path: path.to_owned(), source };
        // SQLite would make it with the permissions of the umask; its companions -wal and -shm
        // take those of the file.
        private_file::create_if_absent(path).map_err(io_error)?;
        private_file::restrict(path).map_err(io_error)?;
        // Without OPEN_URI: a path is a path. One connection, one thread: no mutex within.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|error| StoreError::of(path, error))?;
        let mut store = Self { connection, path: path.to_owned(), accounts_changed: false };
        store.prepare()?;
        Ok(store)
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.check(self.connection.busy_timeout(BUSY_TIMEOUT))?;
        // Before anything is written, so that another program's file stays as it is.
        schema::check_owner(&self.connection, &self.path)?;
        // Readers go on while another process writes.
        let mode = self.check(self.switch_to_wal())?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::NoWal { path: self.path.clone() });
        }
        // With NORMAL a power failure may take back the last commits: a user who was disabled, a
        // password that was changed. Writes are rare, so each can wait for the disk.
        self.check(self.connection.pragma_update(None, "synchronous", "FULL"))?;
        self.check(self.connection.pragma_update(None, "foreign_keys", true))?;
        // A damaged file is better found now than in the middle of a login.
        let verdict: String =
            self.check(self.connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged { path: self.path.clone(), detail: verdict });
        }
        let migrated = schema::migrate(&mut self.connection, &self.path);
        migrated.map_err(|error| error.unwrap_or_else(&self.path))
    }

    /// Asks for the journal mode `wal` and returns the mode that holds then. The mode is changed
    /// under a lock for which SQLite does not wait, as two processes could wait for each other. So
    /// we try again while another process makes the same file.
    fn switch_to_wal(&self) -> rusqlite::Result<String> {
        let end = Instant::now() + BUSY_TIMEOUT;
        loop {
            let switched =
                self.connection
                    .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0));
            match switched {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < end =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                switched => return switched,
            }
        }
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A number that changes when another connection has written to the file. In WAL mode this
    /// reads shared memory, not the disk.
    pub(super) fn data_version(&self) -> Result<i64, StoreError> {
        self.check(self.connection.query_row("PRAGMA data_version", (), |row| row.get(0)))
    }

    /// Tells whether this connection changed the [`Self::accounts`] since the last call.
    pub(super) fn take_accounts_changed(&mut self) -> bool {
        std::mem::take(&mut self.accounts_changed)
    }

    /// All users, logged-out tokens, and tokens for programs.
    pub(super) fn accounts(&self) -> Result<Accounts, StoreError> {
        self.check(self.read_accounts())
    }

    fn read_accounts(&self) -> rusqlite::Result<Accounts> {
        let mut accounts = Accounts::default();
        let mut users =
            self.connection.prepare("SELECT id, username, role, epoch, disabled FROM users")?;
        let mut rows = users.query(())?;
        while let Some(row) = rows.next()? {
            let account = Account {
                username: row.get(1)?,
                role: users::role(row, 2)?,
                epoch: row.get(3)?,
                disabled: row.get(4)?,
            };
            accounts.by_id.insert(row.get(0)?, account);
        }
        let mut revoked = self.connection.prepare("SELECT token_id FROM revoked_tokens")?;
        let mut rows = revoked.query(())?;
        while let Some(row) = rows.next()? {
            accounts.revoked.insert(TokenId(row.get(0)?));
        }
        let mut tokens =
            self.connection.prepare("SELECT id, name, scope, expires_at, hash FROM api_tokens")?;
        let mut rows = tokens.query(())?;
        while let Some(row) = rows.next()? {
            let token = KnownToken {
                id: row.get(0)?,
                name: row.get(1)?,
                scope: api_tokens::scope(row, 2)?,
                expires_at_s: row.get(3)?,
            };
            accounts.api_tokens.insert(TokenHash(row.get(4)?), token);
        }
        Ok(accounts)
    }

    /// Takes a token out of use until it expires by itself. Where too many are remembered already,
    /// all tokens of the user are taken out of use instead: a logout never fails open.
    pub(super) fn revoke(
        &mut self,
        token: TokenId,
        user_id: i64,
        expires_at_s: i64,
        by: &By,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .execute("DELETE FROM revoked_tokens WHERE expires_at < ?1", [by.now_ms / 1000])?;
            let remembered: i64 =
                transaction.query_row("SELECT count(*) FROM revoked_tokens", (), |r| r.get(0))?;
            if remembered < REVOKED_MAX as i64 {
                transaction.execute(
                    "INSERT OR IGNORE INTO revoked_tokens (token_id, user_id, expires_at)
                     VALUES (?1, ?2, ?3)",
                    (token.0, user_id, expires_at_s),
                )?;
            } else {
                transaction
                    .execute("UPDATE users SET epoch = epoch + 1 WHERE id = ?1", [user_id])?;
            }
            let act = Act::new("auth.logout", &by.username);
            audit::insert(transaction, by, &act, Weight::Act)?;
            Ok(())
        })?;
        self.accounts_changed = true;
        Ok(())
    }

    /// The secret that signs tokens if the configuration has none. The first call makes it.
    pub(super) fn jwt_secret(&mut self) -> Result<[u8; 32], StoreError> {
        let fresh = random::bytes::<32>()?;
        let text = self.write(|transaction| {
            // Two processes that start at once agree on the first one's.
            transaction.execute(
                "INSERT OR IGNORE INTO kv_settings (key, value) VALUES (?1, ?2)",
                (JWT_SECRET, random::hex(&fresh)),
            )?;
            Ok(setting(transaction, JWT_SECRET)?)
        })?;
        let damaged = || StoreError::Damaged {
            path: self.path.clone(),
            detail: "kv_settings.jwt_secret is not 64 hexadecimal digits".to_owned(),
        };
        text.as_deref().and_then(random::from_hex).ok_or_else(damaged)
    }

    /// The user whose first password lies in a file.
    pub(super) fn first_admin(&self) -> Result<Option<i64>, StoreError> {
        let id = self.check(setting(&self.connection, FIRST_ADMIN))?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    /// Does `work` in one transaction that no other writer can come between.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let Self { connection, path, .. } = self;
        let done = (|| {
            // Immediate: a transaction that begins with reading would have to be repeated.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        done.map_err(|failure: Failure| failure.unwrap_or_else(path))
    }

    fn check<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::of(&self.path, error))
    }
}

fn setting(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT value FROM kv_settings WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

/// The reason why a transaction was given up.
enum Failure {
    /// An error of SQLite.
    Sql(rusqlite::Error),
    /// A refusal of this store.
    Refused(StoreError),
}

impl Failure {
    fn unwrap_or_else(self, path: &Path) -> StoreError {
        match self {
            Self::Sql(error) => StoreError::of(path, error),
            Self::Refused(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<NoRandomness> for StoreError {
    fn from(error: NoRandomness) -> Self {
        Self::Randomness(error)
    }
}
