use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;

use serde_json::json;

use super::audit::{ACTS_KEPT, ATTEMPTS_KEPT, PRUNE_EVERY};
use super::*;
use crate::server::auth::api_token::API_TOKENS_MAX;
use crate::server::auth::scratch::Scratch;

fn by() -> By {
    By {
        user_id: Some(1),
        username: "root".to_owned(),
        source: "192.0.2.1".to_owned(),
        now_ms: 1_800_000_000_123,
    }
}

fn row(username: &str, role: Option<Role>) -> NewRow {
    NewRow { username: username.to_owned(), password_hash: format!("hash of {username}"), role }
}

fn store(scratch: &Scratch) -> Store {
    Store::open(&scratch.join("auth.db")).unwrap()
}

fn epoch(store: &Store, username: &str) -> i64 {
    store.credential(username).unwrap().unwrap().epoch
}

fn actions(store: &Store) -> Vec<String> {
    store.audit(100).unwrap().into_iter().rev().map(|row| row.action).collect()
}

#[test]
fn all_files_are_for_their_owner_only() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("alice", None), &by()).unwrap();
    for name in ["auth.db", "auth.db-wal", "auth.db-shm"] {
        let mode = fs::metadata(scratch.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
    fs::set_permissions(scratch.join("auth.db"), fs::Permissions::from_mode(0o666)).unwrap();
    Store::open(&scratch.join("auth.db")).unwrap();
    let mode = fs::metadata(scratch.join("auth.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others lose what they should not have had");
}

#[test]
fn the_first_user_is_admin_and_later_ones_operators_unless_told() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let mut role = |name, role| store.create_user(&row(name, role), &by()).unwrap().role;
    assert_eq!(role("alice", None), Role::Admin);
    assert_eq!(role("bob", None), Role::Operator);
    assert_eq!(role("carol", Some(Role::Viewer)), Role::Viewer);
    let users = store.users().unwrap();
    let names: Vec<_> = users.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    assert_eq!(users[0].created_at, 1_800_000_000);
}

#[test]
fn a_name_is_taken_in_upper_and_lower_case() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("Alice", None), &by()).unwrap();
    let error = store.create_user(&row("aLICE", None), &by()).unwrap_err();
    assert_eq!(error.to_string(), "there is a user Alice already");
    assert_eq!(store.credential("ALICE").unwrap().unwrap().user.username, "Alice");
    assert_eq!(store.credential("alice'; --").unwrap(), None);
}

#[test]
fn an_id_is_never_given_twice() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("alice", None), &by()).unwrap();
    let first = store.create_user(&row("bob", None), &by()).unwrap().id;
    store.delete_user(first, &by()).unwrap();
    assert_ne!(store.create_user(&row("bob", None), &by()).unwrap().id, first);
}

#[test]
fn every_change_begins_an_epoch_and_is_in_the_audit_log() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("alice", None), &by()).unwrap();
    let bob = store.create_user(&row("bob", None), &by()).unwrap().id;
    let password_hash = Some("another".to_owned());
    let changes = [
        RowChange { password_hash, ..RowChange::default() },
        RowChange { role: Some(Role::Viewer), ..RowChange::default() },
        RowChange { disabled: Some(true), ..RowChange::default() },
        RowChange { disabled: Some(false), ..RowChange::default() },
    ];
    for (change, expected) in changes.iter().zip(1..) {
        assert!(store.take_accounts_changed() || expected > 1);
        store.update_user(bob, change, &by()).unwrap();
        assert_eq!(epoch(&store, "bob"), expected, "{change:?}");
        assert!(store.take_accounts_changed());
    }
    store.update_user(bob, &RowChange::default(), &by()).unwrap();
    let same = RowChange { role: Some(Role::Viewer), ..RowChange::default() };
    store.update_user(bob, &same, &by()).unwrap();
    assert_eq!(epoch(&store, "bob"), 4, "what changes nothing ends no login");
    store.delete_user(bob, &by()).unwrap();
    assert_eq!(
        actions(&store),
        [
            "user.create",
            "user.create",
            "user.password_change",
            "user.role_change",
            "user.disable",
            "user.enable",
            "user.delete",
        ]
    );
    let change = &store.audit(100).unwrap()[3];
    assert_eq!(change.payload_json, json!({ "from": "operator", "to": "viewer" }).to_string());
    assert_eq!((change.target.as_str(), change.username.as_str()), ("bob", "root"));
    assert_eq!((change.ts, change.source.as_str()), (1_800_000_000_123, "192.0.2.1"));
    let error = store.update_user(bob, &same, &by()).unwrap_err().to_string();
    assert_eq!(error, format!("there is no user with id {bob}"));
}

#[test]
fn one_admin_who_can_log_in_always_stays() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let alice = store.create_user(&row("alice", None), &by()).unwrap().id;
    let bob = store.create_user(&row("bob", Some(Role::Admin)), &by()).unwrap().id;
    let demote = RowChange { role: Some(Role::Operator), ..RowChange::default() };
    let disable = RowChange { disabled: Some(true), ..RowChange::default() };
    store.update_user(bob, &disable, &by()).unwrap();
    // Bob is admin, but cannot log in.
    for refused in [
        store.update_user(alice, &demote, &by()).map(|_| ()),
        store.update_user(alice, &disable, &by()).map(|_| ()),
        store.delete_user(alice, &by()).map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, StoreError::LastAdmin(name) if name == "alice"), "{error}");
    }
    let password_hash = Some("new".to_owned());
    let password = RowChange { password_hash, ..RowChange::default() };
    store.update_user(alice, &password, &by()).unwrap();
    store.delete_user(bob, &by()).unwrap();
    assert!(store.delete_user(alice, &by()).is_err());
    store.create_user(&row("carol", Some(Role::Admin)), &by()).unwrap();
    store.delete_user(alice, &by()).unwrap();
}

#[test]
fn a_password_is_changed_only_by_who_knew_the_one_of_now() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let id = store.create_user(&row("alice", None), &by()).unwrap().id;
    let change = |old: &str, new: &str| RowChange {
        password_hash: Some(new.to_owned()),
        if_password_hash: Some(old.to_owned()),
        ..RowChange::default()
    };
    store.update_user(id, &change("hash of alice", "second"), &by()).unwrap();
    let late = store.update_user(id, &change("hash of alice", "third"), &by());
    assert!(matches!(late, Err(StoreError::Changed(_))), "{late:?}");
    store.rehash(id, "hash of alice", "fourth").unwrap();
    assert_eq!(store.credential("alice").unwrap().unwrap().password_hash, "second");
    store.rehash(id, "second", "fifth").unwrap();
    let credential = store.credential("alice").unwrap().unwrap();
    assert_eq!((credential.password_hash.as_str(), credential.epoch), ("fifth", 1));
}

#[test]
fn logged_out_tokens_are_kept_until_they_expire_and_never_too_many() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let id = store.create_user(&row("alice", None), &by()).unwrap().id;
    let token = |number: u128| TokenId(number.to_be_bytes());
    let now_s = by().now_ms / 1000;
    store.revoke(token(1), id, now_s + 10, &by()).unwrap();
    store.revoke(token(1), id, now_s + 10, &by()).unwrap();
    assert_eq!(store.accounts().unwrap().revoked, HashSet::from([token(1)]));
    let later = By { now_ms: by().now_ms + 11_000, ..by() };
    store.revoke(token(2), id, now_s + 1000, &later).unwrap();
    assert_eq!(store.accounts().unwrap().revoked, HashSet::from([token(2)]));
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO revoked_tokens SELECT randomblob(16), 1, 9e18 FROM n";
    let fill = fill.replace("9e18", "9000000000000000000");
    store.connection.execute(&fill, [REVOKED_MAX as i64 - 1]).unwrap();
    store.revoke(token(3), id, now_s + 1000, &later).unwrap();
    assert_eq!(store.accounts().unwrap().revoked.len(), REVOKED_MAX);
    assert_eq!(epoch(&store, "alice"), 1, "all logins of the user end in its place");
}

#[test]
fn the_audit_log_is_bounded_and_attempts_push_out_attempts_only() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("alice", None), &by()).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO audit_log (ts, weight, username, source, action, target, payload_json)
                SELECT i, ?2, '', '', 'filler', '', '{}' FROM n";
    store.connection.execute(fill, (ATTEMPTS_KEPT + 5_000, Weight::Attempt as i64)).unwrap();
    let attempt = Act::new("auth.login_failed", "").with(json!({ "reason": "unknown_user" }));
    let count = |store: &Store, weight: Weight| -> i64 {
        let sql = "SELECT count(*) FROM audit_log WHERE weight = ?1";
        store.connection.query_row(sql, [weight as i64], |row| row.get(0)).unwrap()
    };
    for _ in 0..PRUNE_EVERY {
        store.record(&by(), &attempt, Weight::Attempt).unwrap();
    }
    let attempts = count(&store, Weight::Attempt);
    assert!((ATTEMPTS_KEPT..ATTEMPTS_KEPT + PRUNE_EVERY).contains(&attempts), "{attempts}");
    assert_eq!(count(&store, Weight::Act), 1, "the creation of alice is still there");
    assert_eq!(store.audit(1).unwrap()[0].action, "auth.login_failed", "the newest are kept");

    store.connection.execute(fill, (ACTS_KEPT + 5_000, Weight::Act as i64)).unwrap();
    for _ in 0..PRUNE_EVERY {
        store.record(&by(), &Act::new("control.set", "primary"), Weight::Act).unwrap();
    }
    let acts = count(&store, Weight::Act);
    assert!((ACTS_KEPT..ACTS_KEPT + PRUNE_EVERY).contains(&acts), "{acts}");
}

#[test]
fn long_texts_in_the_audit_log_are_cut() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let act =
        Act::new("scenario.put", &"ü".repeat(5_000)).with(json!({ "xml": "x".repeat(9_000) }));
    store.record(&by(), &act, Weight::Act).unwrap();
    let row = &store.audit(1).unwrap()[0];
    assert_eq!(row.target, format!("{}... (10000 bytes)", "ü".repeat(1_024)));
    let cut = format!("{}... (9000 bytes)", "x".repeat(256));
    assert_eq!(row.payload_json, json!({ "xml": cut }).to_string());
}

#[test]
fn a_long_name_does_not_hide_a_deed() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let payload = |outcome: &str, name: &str, count| {
        let to = json!({ "name": name, "sha256": "ab".repeat(32) });
        json!({ "to": to, "many": vec![1234; count], "outcome": outcome, "error": "why" })
    };
    let act = Act::new("scenario.write", "x.xml").with(payload("begun", "short", 0));
    let number = store.record(&by(), &act, Weight::Act).unwrap();
    let mut amended = |name: &str, count| -> serde_json::Value {
        store.amend(number, &payload("failed", name, count)).unwrap();
        let text = store.audit(1).unwrap().remove(0).payload_json;
        assert!(text.len() <= 8192, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let row = amended(&"n".repeat(9_000), 0);
    assert_eq!(row["to"]["sha256"], json!("ab".repeat(32)));
    assert_eq!(row["to"]["name"], json!(format!("{}... (9000 bytes)", "n".repeat(256))));
    assert_eq!(row["outcome"], json!("failed"));
    // Members that are too long even so are named, and the rest stays.
    let row = amended(&"n".repeat(9_000), 2_000);
    assert_eq!(row["many"], json!({ "omitted": "10001 bytes" }));
    assert_eq!(row["to"]["sha256"], json!("ab".repeat(32)));
    assert_eq!((&row["outcome"], &row["error"]), (&json!("failed"), &json!("why")));
}

#[test]
fn the_secret_is_made_once() {
    let scratch = Scratch::new();
    let mut one = store(&scratch);
    let mut two = store(&scratch);
    let secret = one.jwt_secret().unwrap();
    assert_eq!(two.jwt_secret().unwrap(), secret);
    assert_ne!(secret, [0; 32]);
    one.connection.execute("UPDATE kv_settings SET value = 'short'", ()).unwrap();
    assert!(matches!(two.jwt_secret(), Err(StoreError::Damaged { .. })));
}

#[test]
fn another_connection_sees_that_something_was_written() {
    let scratch = Scratch::new();
    let (mut one, two) = (store(&scratch), store(&scratch));
    let before = (one.data_version().unwrap(), two.data_version().unwrap());
    one.create_user(&row("alice", None), &by()).unwrap();
    assert_eq!(one.data_version().unwrap(), before.0);
    assert_ne!(two.data_version().unwrap(), before.1);
    assert_eq!(two.accounts().unwrap().by_id.len(), 1);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let scratch = Arc::new(Scratch::new());
    drop(store(&scratch));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let scratch = Arc::clone(&scratch);
            thread::spawn(move || {
                let mut store = store(&scratch);
                for number in 0..10 {
                    let name = format!("user{writer}-{number}");
                    store.create_user(&row(&name, Some(Role::Viewer)), &by()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(store(&scratch).users().unwrap().len(), 40);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let scratch = Scratch::new();
    let path = scratch.join("auth.db");
    fs::write(&path, "x".repeat(10_000)).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("user-add"), "{text}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "x".repeat(10_000));
}

#[test]
fn a_damaged_database_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.join("auth.db");
    let mut store = Store::open(&path).unwrap();
    for number in 0..200 {
        store.create_user(&row(&format!("user{number}"), None), &by()).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    assert!(len > 5 * 4096, "{len}");
    bytes[4096..len].fill(0xaa);
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn databases_of_others_and_of_later_versions_are_refused_by_name() {
    let scratch = Scratch::new();
    let foreign = scratch.join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE users (id)").unwrap();
    let error = Store::open(&foreign).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");

    let path = scratch.join("auth.db");
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("has version 999"), "{error}");
    assert!(error.contains("knows 2 at most; update the program"), "{error}");
}

#[test]
fn a_database_of_the_first_version_is_taken_over() {
    let scratch = Scratch::new();
    let path = scratch.join("auth.db");
    let mut store = Store::open(&path).unwrap();
    store.create_user(&row("alice", None), &by()).unwrap();
    // As the first version left it.
    store.connection.execute_batch("DROP TABLE api_tokens").unwrap();
    store.connection.pragma_update(None, "user_version", 1).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.users().unwrap().len(), 1);
    assert_eq!(store.api_tokens().unwrap(), []);
}

#[test]
fn tokens_for_programs_are_kept_as_hashes_and_revoked_for_good() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    let new = |name: &str, byte: u8, expires_at| NewApiToken {
        name: name.to_owned(),
        scope: Scope::Metrics,
        hash: TokenHash([byte; 32]),
        expires_at,
    };
    let token = store.add_api_token(&new("prometheus", 1, Some(1_900_000_000)), &by()).unwrap();
    assert_eq!((token.scope, token.last_used_at), (Scope::Metrics, None));
    assert_eq!(token.created_at, 1_800_000_000);
    let error = store.add_api_token(&new("Prometheus", 2, None), &by()).unwrap_err();
    assert_eq!(error.to_string(), "there is a token prometheus already");
    assert!(store.take_accounts_changed());
    let known = store.accounts().unwrap().api_tokens;
    assert_eq!(known[&TokenHash([1; 32])].expires_at_s, Some(1_900_000_000));
    store.note_use(token.id, 1_800_000_060).unwrap();
    assert_eq!(store.api_tokens().unwrap()[0].last_used_at, Some(1_800_000_060));
    assert!(!store.take_accounts_changed(), "a use changes nothing for requests");
    assert_eq!(store.revoke_api_token("PROMETHEUS", &by()).unwrap().id, token.id);
    assert!(store.accounts().unwrap().api_tokens.is_empty());
    let error = store.revoke_api_token("prometheus", &by()).unwrap_err();
    assert_eq!(error.to_string(), "there is no token prometheus");
    // The same name is another token.
    assert_ne!(store.add_api_token(&new("prometheus", 3, None), &by()).unwrap().id, token.id);
    assert_eq!(actions(&store), ["token.create", "token.revoke", "token.create"]);
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO api_tokens (name, scope, hash, created_at)
                SELECT 't' || i, 'read', randomblob(32), 0 FROM n";
    store.connection.execute(fill, [API_TOKENS_MAX as i64 - 1]).unwrap();
    let error = store.add_api_token(&new("one-more", 4, None), &by()).unwrap_err().to_string();
    assert!(error.starts_with("there are 1000 tokens already"), "{error}");
}

#[test]
fn paths_that_cannot_be_used_are_named_with_what_to_do() {
    let scratch = Scratch::new();
    let error = Store::open(&scratch.join("missing/auth.db")).unwrap_err().to_string();
    assert!(error.contains("missing/auth.db") && error.contains("create its directory"), "{error}");
    fs::create_dir(scratch.join("directory")).unwrap();
    let error = Store::open(&scratch.join("directory")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the user database"), "{error}");
    assert!(error.contains(&scratch.path().display().to_string()), "{error}");
}

#[test]
fn a_path_is_never_read_as_an_address() {
    let scratch = Scratch::new();
    let path = scratch.join("file:auth.db?mode=memory");
    Store::open(&path).unwrap().create_user(&row("alice", None), &by()).unwrap();
    assert_eq!(Store::open(&path).unwrap().users().unwrap().len(), 1);
}

#[test]
fn there_is_a_limit_to_users() {
    let scratch = Scratch::new();
    let mut store = store(&scratch);
    store.create_user(&row("alice", None), &by()).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO users (username, password_hash, role, created_at, updated_at)
                SELECT 'user' || i, '', 'viewer', 0, 0 FROM n";
    store.connection.execute(fill, [USERS_MAX as i64 - 1]).unwrap();
    let error = store.create_user(&row("one-more", None), &by()).unwrap_err();
    assert_eq!(error.to_string(), "there are 10000 users already, which is the limit");
}
