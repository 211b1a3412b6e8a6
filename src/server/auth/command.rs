//! `gossipper auth`: users and tokens from the command line. It works on the file, whether or not a
//! daemon has it open; a daemon sees the change within a second.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use super::api_token;
use super::authenticator::Now;
use super::bootstrap::forget_password_file;
use super::password::{
    Hasher, PASSWORD_BYTES_MAX, PASSWORD_CHARS_ADVISED, PasswordError, check_password,
};
use super::random::NoRandomness;
use super::store::{
    ApiToken, By, Credential, NewApiToken, NewRow, RowChange, Store, StoreError, User,
};
use super::username::{BadUsername, check_username};
use crate::cli::{AuthCommand, AuthTask, NewPassword, UserDatabase};
use crate::config::Scope;
use crate::terminal;

/// Exit code of a task that could not be done.
const EXIT_FAILED: u8 = 1;

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Username(#[from] BadUsername),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(
        "there is a user {0} already; `gossipper auth user-passwd` gives it a new password, \
         `user-role` another role"
    )]
    Exists(String),
    #[error("there is no user {0}; `gossipper auth user-list` shows the existing ones")]
    NoSuchUser(String),
    #[error(
        "{0:?} cannot be the name of a token: a name has 1 to 64 letters (a-z), digits and the \
         signs . _ - @, and begins with a letter or digit"
    )]
    TokenName(String),
    #[error(
        "there is a token {0} already; `gossipper auth token-revoke` ends it, or choose another name"
    )]
    TokenExists(String),
    #[error("there is no token {0}; `gossipper auth token-list` shows the existing ones")]
    NoSuchToken(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(
        "there is no user database {}; `gossipper auth user-add` creates it, and so does the first \
         start of the daemon", .0.display()
    )]
    NoDatabase(PathBuf),
    #[error("{0}")]
    Config(String),
    #[error(
        "there is no terminal to ask for the password; give it as the first line of stdin with \
         --password-stdin"
    )]
    NoTerminal,
    #[error("the two passwords differ; nothing was changed")]
    Differ,
    #[error("cancelled; nothing was changed")]
    Cancelled,
    #[error("stdin has no password; --password-stdin reads its first line")]
    NoPassword,
    #[error("cannot read the password: {0}")]
    Input(io::Error),
    #[error("{0}")]
    Hash(String),
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
}

/// Finds the user database that a configuration file names.
pub type DatabaseOf = fn(&Path) -> Result<PathBuf, String>;

/// Carries out a command line; returns the exit code of the process.
pub fn run(command: &AuthCommand, database_of: DatabaseOf) -> u8 {
    let done = act(command, database_of).and_then(|text| {
        match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
            // `gossipper auth user-list | head` is a clean exit.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CommandError::Output(error))
            }
            _ => Ok(()),
        }
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            note("error", &error.to_string());
            EXIT_FAILED
        }
    }
}

/// Writes a note to stderr, beside the result. A closed stderr is ignored: no reader is left.
fn note(kind: &str, text: &str) {
    let _ = writeln!(io::stderr(), "{kind}: {text}");
}

/// Carries out the task; returns the text to print.
fn act(command: &AuthCommand, database_of: DatabaseOf) -> Result<String, CommandError> {
    let path = match &command.database {
        UserDatabase::File(path) => path.clone(),
        UserDatabase::OfConfig(config) => database_of(config).map_err(CommandError::Config)?,
    };
    match &command.task {
        AuthTask::Add { username, password, role } => {
            check_username(username)?;
            let mut store = Store::open(&path)?;
            // Before a person is asked for a password.
            if let Some(taken) = store.credential(username)? {
                return Err(CommandError::Exists(taken.user.username));
            }
            let password_hash = hash(&read_password(password, username)?)?;
            let new = NewRow { username: username.clone(), password_hash, role: *role };
            let user = store.create_user(&new, &by()).map_err(|error| match error {
                StoreError::Exists(name) => CommandError::Exists(name),
                error => error.into(),
            })?;
            Ok(format!("user {} added with the role {}\n", user.username, user.role))
        }
        AuthTask::List { json } => {
            let users = open_existing(&path)?.users()?;
            Ok(if *json { json_of(&users) } else { table_of(&users) })
        }
        AuthTask::Passwd { username, password } => {
            let mut store = open_existing(&path)?;
            let user = find(&store, username)?.user;
            let password_hash = Some(hash(&read_password(password, &user.username)?)?);
            let change = RowChange { password_hash, ..RowChange::default() };
            store.update_user(user.id, &change, &by())?;
            forget_password_file(&store, user.id);
            Ok(format!("password of {} changed; its logins have ended\n", user.username))
        }
        AuthTask::Delete { username } => {
            let mut store = open_existing(&path)?;
            let id = find(&store, username)?.user.id;
            let user = store.delete_user(id, &by())?;
            forget_password_file(&store, id);
            Ok(format!("user {} deleted; its logins have ended\n", user.username))
        }
        AuthTask::Role { username, role } => {
            let mut store = open_existing(&path)?;
            let user = find(&store, username)?.user;
            if user.role == *role {
                return Ok(format!("{} has the role {role} already\n", user.username));
            }
            let change = RowChange { role: Some(*role), ..RowChange::default() };
            store.update_user(user.id, &change, &by())?;
            Ok(format!("{} has the role {role} now; its logins have ended\n", user.username))
        }
        AuthTask::Disable { username, disabled } => {
            let mut store = open_existing(&path)?;
            let id = find(&store, username)?.user.id;
            let change = RowChange { disabled: Some(*disabled), ..RowChange::default() };
            let user = store.update_user(id, &change, &by())?;
            let now = if *disabled { "is disabled; its logins have ended" } else { "may log in" };
            Ok(format!("{} {now}\n", user.username))
        }
        AuthTask::AddToken { name, scope, life_s } => add_token(&path, name, *scope, *life_s),
        AuthTask::ListTokens { json } => list_tokens(&path, *json),
        AuthTask::RevokeToken { name } => revoke_token(&path, name),
    }
}

fn list_tokens(path: &Path, as_json: bool) -> Result<String, CommandError> {
    let tokens = open_existing(path)?.api_tokens()?;
    Ok(match as_json {
        true => format!("{:#}\n", serde_json::json!({ "tokens": tokens })),
        false => table_of_tokens(&tokens, Now::read().unix_s()),
    })
}

fn revoke_token(path: &Path, name: &str) -> Result<String, CommandError> {
    let revoked = open_existing(path)?.revoke_api_token(name, &by());
    let token = revoked.map_err(|error| match error {
        StoreError::NoSuchToken(name) => CommandError::NoSuchToken(name),
        error => error.into(),
    })?;
    Ok(format!("token {} revoked; the daemon refuses it within a second\n", token.name))
}

/// Makes a token. The result is the token alone, so that it can be redirected into a file.
fn add_token(
    path: &Path,
    name: &str,
    scope: Scope,
    life_s: Option<u64>,
) -> Result<String, CommandError> {
    if check_username(name).is_err() {
        return Err(CommandError::TokenName(name.to_owned()));
    }
    let mut store = open_existing(path)?;
    let (token, hash) = api_token::make()?;
    let life = life_s.and_then(|seconds| i64::try_from(seconds).ok());
    let expires_at = life.map(|seconds| Now::read().unix_s().saturating_add(seconds));
    let new = NewApiToken { name: name.to_owned(), scope, hash, expires_at };
    store.add_api_token(&new, &by()).map_err(|error| match error {
        StoreError::TokenExists(name) => CommandError::TokenExists(name),
        error => error.into(),
    })?;
    let end = life.map_or("until it is revoked".to_owned(), |life| format!("for {}", span(life)));
    note(
        "note",
        &format!(
            "token {name} added with the scope {scope}, valid {end}. It is shown only now; the \
             database keeps a hash"
        ),
    );
    Ok(format!("{token}\n"))
}

/// Opens a database that exists: a mistyped path must not create one.
fn open_existing(path: &Path) -> Result<Store, CommandError> {
    if !path.exists() {
        return Err(CommandError::NoDatabase(path.to_owned()));
    }
    Ok(Store::open(path)?)
}

fn find(store: &Store, username: &str) -> Result<Credential, CommandError> {
    let found = store.credential(username)?;
    found.ok_or_else(|| CommandError::NoSuchUser(username.to_owned()))
}

/// The author of changes in the audit log: the account of this process on this host, by number.
fn by() -> By {
    By {
        user_id: None,
        username: format!("uid:{}", rustix::process::getuid().as_raw()),
        source: "local".to_owned(),
        now_ms: Now::read().unix_ms,
    }
}

fn hash(password: &str) -> Result<String, CommandError> {
    let hasher = Hasher::new().and_then(|hasher| hasher.hash_now(password));
    hasher.map_err(|error| CommandError::Hash(error.to_string()))
}

fn read_password(from: &NewPassword, username: &str) -> Result<String, CommandError> {
    let password = match from {
        NewPassword::Given(password) => {
            note(
                "note",
                "other users of this host can see a password on the command line; \
                 --password-stdin hides it",
            );
            password.clone()
        }
        NewPassword::Stdin if io::stdin().is_terminal() => ask(username)?,
        NewPassword::Stdin => first_line()?,
        NewPassword::Prompt => ask(username)?,
    };
    check_password(&password, username)?;
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_ADVISED {
        let advised = PASSWORD_CHARS_ADVISED;
        note("note", &format!("the password has {chars} characters; {advised} or more are good"));
    }
    Ok(password)
}

fn first_line() -> Result<String, CommandError> {
    let mut line = Vec::new();
    // One byte more than fits, so that a password that is too long is recognised.
    let mut stdin = io::stdin().lock().take(PASSWORD_BYTES_MAX as u64 + 2);
    stdin.read_until(b'\n', &mut line).map_err(CommandError::Input)?;
    let text = String::from_utf8(line).map_err(|_| {
        CommandError::Input(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(CommandError::NoPassword);
    }
    Ok(text.to_owned())
}

fn ask(username: &str) -> Result<String, CommandError> {
    let ask = |question: &str| match terminal::ask_secretly(question) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(CommandError::Cancelled),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(CommandError::NoTerminal),
        Err(error) => Err(CommandError::Input(error)),
    };
    let password = ask(&format!("Password of {username}: "))?;
    check_password(&password, username)?;
    if ask("Again: ")? != password {
        return Err(CommandError::Differ);
    }
    Ok(password)
}

fn table_of(users: &[User]) -> String {
    let width = users.iter().map(|user| user.username.len()).max().unwrap_or(0).max(8);
    let mut table = format!("{:<width$}  {:<8}  {:<8}  ID\n", "USERNAME", "ROLE", "LOGIN");
    for user in users {
        let login = if user.disabled { "disabled" } else { "enabled" };
        let (name, role, id) = (&user.username, user.role.as_str(), user.id);
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:<width$}  {role:<8}  {login:<8}  {id}");
    }
    table
}

fn table_of_tokens(tokens: &[ApiToken], now_s: i64) -> String {
    let width = tokens.iter().map(|token| token.name.len()).max().unwrap_or(0).max(8);
    let mut table =
        format!("{:<width$}  {:<8}  {:<12}  {:<12}  EXPIRES\n", "NAME", "SCOPE", "MADE", "USED");
    let ago = |at: i64| format!("{} ago", span(now_s.saturating_sub(at)));
    for token in tokens {
        let (name, scope, made) = (&token.name, token.scope.as_str(), ago(token.created_at));
        let used = token.last_used_at.map_or("never".to_owned(), ago);
        let expires = match token.expires_at {
            None => "never".to_owned(),
            Some(end) if end <= now_s => "expired".to_owned(),
            Some(end) => format!("in {}", span(end - now_s)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:<width$}  {scope:<8}  {made:<12}  {used:<12}  {expires}");
    }
    table
}

/// A length of time in its largest unit.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 2 * 86_400 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

fn json_of(users: &[User]) -> String {
    let value = serde_json::json!({ "users": users });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_listed_by_age_and_end() {
        let token = |name: &str, last_used_at, expires_at| ApiToken {
            id: 1,
            name: name.to_owned(),
            scope: Scope::Metrics,
            created_at: 1_000_000,
            expires_at,
            last_used_at,
        };
        let tokens = [
            token("prometheus", Some(1_086_000), Some(1_086_400 + 90 * 86_400)),
            token("old", None, Some(1_086_400)),
            token("ci", Some(1_086_390), None),
        ];
        let expected = "\
NAME        SCOPE     MADE          USED          EXPIRES
prometheus  metrics   24 h ago      6 min ago     in 90 days
old         metrics   24 h ago      never         expired
ci          metrics   24 h ago      10 s ago      never
";
        assert_eq!(table_of_tokens(&tokens, 1_086_400), expected);
    }
}
