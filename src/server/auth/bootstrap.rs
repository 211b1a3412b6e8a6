//! The first admin. There is no default password: a random one lies in a file that only the owner
//! can read, until it is changed.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::password::{HashError, Hasher, PasswordError, check_password};
use super::private_file;
use super::random;
use super::store::{By, NewRow, Store, StoreError};
use super::username::{BadUsername, check_username};

/// The name of the first admin, if not `admin`.
pub(super) const USERNAME_VARIABLE: &str = "GOSSIPPER_BOOTSTRAP_USERNAME";

/// The password of the first admin, if not a random one.
pub(super) const PASSWORD_VARIABLE: &str = "GOSSIPPER_BOOTSTRAP_PASSWORD";

/// The admin that was made because there was no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAdmin {
    /// The name.
    pub username: String,
    /// Path of the file with the password; `None` if the password came from the environment.
    pub password_file: Option<PathBuf>,
}

/// The first admin cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A variable that is not text.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// The variable has no usable name.
    #[error("{USERNAME_VARIABLE}: {0}")]
    Username(BadUsername),
    /// The variable has no usable password.
    #[error("{PASSWORD_VARIABLE}: {0}")]
    Password(PasswordError),
    /// The file cannot be written.
    #[error(
        "cannot write the first password to {}: {source}; make its directory writable, or create a \
         user with `gossipper auth user-add`", path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The hash of the password cannot be computed.
    #[error("{0}")]
    Hash(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Name and password of the first admin, as the environment has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) username: Option<OsString>,
    pub(super) password: Option<OsString>,
}

impl Wishes {
    pub(super) fn from_environment() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self { username: set(USERNAME_VARIABLE), password: set(PASSWORD_VARIABLE) }
    }
}

/// Makes the first admin if there is no user.
pub(super) fn first_admin(
    store: &mut Store,
    hasher: &Hasher,
    wishes: &Wishes,
    now_ms: i64,
) -> Result<Option<FirstAdmin>, BootstrapError> {
    if !store.users()?.is_empty() {
        return Ok(None);
    }
    let username = text(wishes.username.as_ref(), USERNAME_VARIABLE)?.unwrap_or("admin");
    check_username(username).map_err(BootstrapError::Username)?;
    let given = text(wishes.password.as_ref(), PASSWORD_VARIABLE)?;
    let (password, file) = match given {
        Some(password) => {
            check_password(password, username).map_err(BootstrapError::Password)?;
            (password.to_owned(), None)
        }
        None => (random::password().map_err(StoreError::from)?, Some(password_file(store.path()))),
    };
    let hash = |error: HashError| BootstrapError::Hash(error.to_string());
    let password_hash = hasher.hash_now(&password).map_err(hash)?;
    if let Some(path) = &file {
        // Before the user, so that there is no user whose password is lost.
        private_file::write(path, &format!("{username}\n{password}\n"))
            .map_err(|source| BootstrapError::File { path: path.clone(), source })?;
    }
    let new = NewRow { username: username.to_owned(), password_hash, role: None };
    let by =
        By { user_id: None, username: "gossipper".to_owned(), source: "local".to_owned(), now_ms };
    let Some(user) = store.create_first_admin(&new, file.is_some(), &by)? else {
        // Another process made a user in the same moment; ours does not exist.
        if let Some(path) = &file {
            let _ = std::fs::remove_file(path);
        }
        return Ok(None);
    };
    Ok(Some(FirstAdmin { username: user.username, password_file: file }))
}

/// The text in a variable that may be absent.
fn text<'a>(
    value: Option<&'a OsString>,
    name: &'static str,
) -> Result<Option<&'a str>, BootstrapError> {
    match value {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).ok_or(BootstrapError::NotUtf8(name)),
    }
}

/// Removes the file with the first password, which is of no use any more, if `user_id` is its user.
pub(super) fn forget_password_file(store: &Store, user_id: i64) {
    if store.first_admin().is_ok_and(|id| id == Some(user_id)) {
        // It may have been removed by hand already, which is as good.
        let _ = std::fs::remove_file(password_file(store.path()));
    }
}

/// All files that belong to a user database: the database, the files that SQLite keeps beside it,
/// and the first password. Most of them exist at times only.
pub fn files_beside(database: &Path) -> Vec<PathBuf> {
    let with = |suffix: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut files = ["", "-wal", "-shm", "-journal"].map(with).to_vec();
    files.push(password_file(database));
    files
}

/// Path of the file for the first password.
fn password_file(database: &Path) -> PathBuf {
    database.with_file_name("initial-admin-password")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::server::auth::identity::Role;
    use crate::server::auth::scratch::Scratch;
    use crate::server::auth::store::RowChange;

    fn wishes(username: &str, password: &str) -> Wishes {
        let some = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        Wishes { username: some(username), password: some(password) }
    }

    #[tokio::test]
    async fn the_first_password_is_random_and_in_a_private_file_until_it_is_changed() {
        let scratch = Scratch::new();
        let hasher = Hasher::cheap();
        let mut store = Store::open(&scratch.join("auth.db")).unwrap();
        let made = first_admin(&mut store, &hasher, &Wishes::default(), 1_000).unwrap().unwrap();
        assert_eq!(made.username, "admin");
        let path = made.password_file.unwrap();
        assert_eq!(path, scratch.join("initial-admin-password"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let [name, password] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text:?}") };
        assert_eq!((name, password.len()), ("admin", 24));
        let credential = store.credential("admin").unwrap().unwrap();
        assert_eq!(credential.user.role, Role::Admin);
        let stored = Some(credential.password_hash);
        assert_eq!(hasher.verify(password.to_owned(), stored).await, Ok(true));

        let again = first_admin(&mut store, &hasher, &Wishes::default(), 2_000).unwrap();
        assert_eq!(again, None, "only where there is no user");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);

        let by =
            By { user_id: None, username: String::new(), source: String::new(), now_ms: 3_000 };
        let new = NewRow { username: "bob".into(), password_hash: "x".into(), role: None };
        let bob = store.create_user(&new, &by).unwrap();
        forget_password_file(&store, bob.id);
        assert!(path.exists(), "not by another user's change");
        let change = RowChange { password_hash: Some("y".into()), ..RowChange::default() };
        let id = store.update_user(credential.user.id, &change, &by).unwrap().id;
        forget_password_file(&store, id);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_environment_may_name_the_first_admin() {
        let scratch = Scratch::new();
        let hasher = Hasher::cheap();
        let mut store = Store::open(&scratch.join("auth.db")).unwrap();
        let wishes = wishes("root-of-all", "kettle-orbit-plum");
        let made = first_admin(&mut store, &hasher, &wishes, 1_000).unwrap();
        let username = "root-of-all".to_owned();
        assert_eq!(made, Some(FirstAdmin { username, password_file: None }));
        assert!(!scratch.names().contains(&"initial-admin-password".to_owned()));
        let stored = store.credential("root-of-all").unwrap().map(|user| user.password_hash);
        assert_eq!(hasher.verify("kettle-orbit-plum".to_owned(), stored).await, Ok(true));
    }

    #[test]
    fn bad_wishes_are_refused_by_the_name_of_the_variable() {
        let scratch = Scratch::new();
        let hasher = Hasher::cheap();
        let mut store = Store::open(&scratch.join("auth.db")).unwrap();
        let mut refuse =
            |wishes| first_admin(&mut store, &hasher, &wishes, 1_000).unwrap_err().to_string();
        let error = refuse(wishes("", "sipcapture"));
        assert!(error.starts_with("GOSSIPPER_BOOTSTRAP_PASSWORD: the password is one"), "{error}");
        let error = refuse(wishes("", "short"));
        assert!(error.starts_with("GOSSIPPER_BOOTSTRAP_PASSWORD: the password has 5"), "{error}");
        let error = refuse(wishes("a b", ""));
        assert!(error.starts_with("GOSSIPPER_BOOTSTRAP_USERNAME: \"a b\" cannot be"), "{error}");
        assert!(store.users().unwrap().is_empty());
    }

    #[test]
    fn without_the_file_there_is_no_user() {
        let scratch = Scratch::new();
        let mut store = Store::open(&scratch.join("auth.db")).unwrap();
        fs::create_dir(scratch.join("initial-admin-password")).unwrap();
        let error = first_admin(&mut store, &Hasher::cheap(), &Wishes::default(), 1_000);
        assert!(matches!(error, Err(BootstrapError::File { .. })), "{error:?}");
        assert!(store.users().unwrap().is_empty());
    }
}
