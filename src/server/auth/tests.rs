use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::authenticator::{Gate, Now};
use super::bootstrap::Wishes;
use super::internal::Internal;
use super::password::Hasher;
use super::scratch::Scratch;
use super::store::{By, RowChange, Store};
use super::*;

const PASSWORD: &str = "kettle-orbit-plum";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const STATS: &str = "/api/v1/stats";

/// Users in a folder of the test: `admin`, `operator` and `viewer`, all with [`PASSWORD`].
struct Lab {
    authenticator: Authenticator,
    scratch: Scratch,
}

impl Lab {
    async fn new() -> Self {
        Self::with_secret(None).await
    }

    async fn with_secret(jwt_secret: Option<&str>) -> Self {
        let scratch = Scratch::new();
        let authenticator = open(&scratch, jwt_secret);
        let lab = Self { authenticator, scratch };
        let by = Identity::anonymous();
        for role in [Role::Operator, Role::Viewer] {
            let new = NewUser {
                username: role.to_string(),
                password: PASSWORD.to_owned(),
                role: Some(role),
            };
            lab.authenticator.create_user(&by, new, HERE).await.unwrap();
        }
        lab
    }

    fn internal(&self) -> &Internal {
        match &self.authenticator.gate {
            Gate::Internal(internal) => internal,
            _ => panic!("there are users"),
        }
    }

    fn database(&self) -> PathBuf {
        self.scratch.join("auth.db")
    }

    async fn token(&self, username: &str) -> String {
        self.authenticator.login(username, PASSWORD, HERE).await.unwrap().token
    }

    async fn identity(&self, username: &str) -> Identity {
        let token = self.token(username).await;
        self.enter(&token).unwrap()
    }

    fn enter(&self, token: &str) -> Result<Identity, AuthError> {
        let header = format!("Bearer {token}");
        let credentials = Credentials { authorization: Some(&header), ..Credentials::default() };
        self.authenticator.authenticate(&credentials, STATS, HERE)
    }

    async fn id(&self, username: &str) -> i64 {
        let users = self.authenticator.users().await.unwrap();
        users.into_iter().find(|user| user.username == username).unwrap().id
    }

    async fn actions(&self) -> Vec<AuditRow> {
        let mut rows = self.authenticator.audit(1000).await.unwrap();
        rows.reverse();
        rows
    }
}

fn open(scratch: &Scratch, jwt_secret: Option<&str>) -> Authenticator {
    let wishes = Wishes { username: Some("admin".into()), password: Some(PASSWORD.into()) };
    let (internal, _) = Internal::open_with(
        &scratch.join("auth.db"),
        jwt_secret.map(str::to_owned),
        Duration::from_secs(3600),
        Hasher::cheap(),
        &wishes,
    )
    .unwrap();
    Authenticator::of_gate(Gate::Internal(Box::new(internal)))
}

fn status<T: std::fmt::Debug>(result: Result<T, AuthError>) -> u16 {
    result.unwrap_err().status
}

#[tokio::test]
async fn whoever_knows_a_password_gets_a_token_that_opens_the_door() {
    let lab = Lab::new().await;
    let login = lab.authenticator.login("OPERATOR", PASSWORD, HERE).await.unwrap();
    assert_eq!(login.role, Role::Operator);
    let identity = lab.enter(&login.token).unwrap();
    assert_eq!((identity.username.as_str(), identity.role), ("operator", Role::Operator));
    assert_eq!(identity.kind, IdentityKind::User);
    assert_eq!(identity.expires_at(), Some(login.expires_at));
    assert_eq!(identity.user_id(), Some(lab.id("operator").await));
    let in_an_hour = Now::read().unix_s() + 3600;
    assert!((in_an_hour - 60..=in_an_hour).contains(&login.expires_at), "{}", login.expires_at);
    assert!(lab.authenticator.is_live(&identity));
    assert_eq!(lab.authenticator.kind(), "internal");
}

#[tokio::test]
async fn every_role_is_held_to_its_permissions() {
    let lab = Lab::new().await;
    for role in Role::ALL {
        let identity = lab.identity(role.as_str()).await;
        for permission in Permission::ALL {
            let allowed = lab.authenticator.authorize(&identity, permission);
            match role.may(permission) {
                true => assert_eq!(allowed, Ok(())),
                false => assert_eq!(status(allowed), 403),
            }
        }
    }
    let viewer = lab.identity("viewer").await;
    let refused = lab.authenticator.authorize(&viewer, Permission::Operate).unwrap_err();
    assert_eq!(refused.message, "this needs the role operator; you are viewer");
}

#[tokio::test]
async fn wrong_logins_all_look_the_same_and_cost_the_same() {
    let lab = Lab::new().await;
    let admin = Identity::anonymous();
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    let id = lab.id("viewer").await;
    lab.authenticator.update_user(&admin, id, change, HERE).await.unwrap();
    let long = "x".repeat(100_000);
    let attempts = [
        ("operator", "wrong"),
        ("operator", ""),
        ("operator", &long),
        ("nobody", PASSWORD),
        ("viewer", PASSWORD),
        ("viewer", "wrong"),
        ("no such name / at all", PASSWORD),
        ("", ""),
    ];
    let expected = AuthError::unauthorized("invalid credentials");
    for (number, (username, password)) in (0..).zip(attempts) {
        let source = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number));
        let before = lab.internal().hasher.computed();
        let refused = lab.authenticator.login(username, password, source).await;
        assert_eq!(refused.err(), Some(expected.clone()), "{username}");
        assert_eq!(lab.internal().hasher.computed() - before, 1, "{username}");
    }
    let before = lab.internal().hasher.computed();
    lab.token("operator").await;
    assert_eq!(lab.internal().hasher.computed() - before, 1, "so does a right one");
}

#[tokio::test]
async fn every_change_of_a_user_ends_its_logins_at_once() {
    let lab = Lab::new().await;
    let admin = lab.identity("admin").await;
    let id = lab.id("operator").await;
    let other = "another-good-phrase";
    let changes = [
        UserChange { password: Some(other.to_owned()), ..UserChange::default() },
        UserChange { password: Some(PASSWORD.to_owned()), ..UserChange::default() },
        UserChange { role: Some(Role::Viewer), ..UserChange::default() },
        UserChange { disabled: Some(true), ..UserChange::default() },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let password = if number == 1 { other } else { PASSWORD };
        let login = lab.authenticator.login("operator", password, HERE).await.unwrap();
        let identity = lab.enter(&login.token).unwrap();
        lab.authenticator.update_user(&admin, id, change, HERE).await.unwrap();
        assert_eq!(status(lab.enter(&login.token)), 401);
        assert!(!lab.authenticator.is_live(&identity));
    }
    // Letting in again does not bring old logins back.
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    lab.authenticator.update_user(&admin, id, change, HERE).await.unwrap();
    let token = lab.token("operator").await;
    assert_eq!(lab.enter(&token).unwrap().role, Role::Viewer);
    lab.authenticator.delete_user(&admin, id, HERE).await.unwrap();
    assert_eq!(status(lab.enter(&token)), 401);
    // Nor does another user of the same name.
    let role = Some(Role::Viewer);
    let new = NewUser { username: "operator".into(), password: PASSWORD.into(), role };
    lab.authenticator.create_user(&admin, new, HERE).await.unwrap();
    assert_eq!(status(lab.enter(&token)), 401);
    assert!(lab.authenticator.is_live(&admin), "others stay");
}

#[tokio::test]
async fn logging_out_ends_one_login_and_holds_after_a_restart() {
    let lab = Lab::new().await;
    let (one, two) = (lab.token("operator").await, lab.token("operator").await);
    let identity = lab.enter(&one).unwrap();
    lab.authenticator.logout(&identity, HERE).await.unwrap();
    assert_eq!(status(lab.enter(&one)), 401);
    assert!(lab.enter(&two).is_ok());
    assert!(!lab.authenticator.is_live(&identity));
    let Lab { authenticator, scratch } = lab;
    drop(authenticator);
    let lab = Lab { authenticator: open(&scratch, None), scratch };
    assert_eq!(status(lab.enter(&one)), 401);
    assert!(lab.enter(&two).is_ok(), "the secret is kept in the database");
}

#[tokio::test]
async fn a_logout_holds_on_a_full_disk_and_is_written_later() {
    let lab = Lab::new().await;
    let (one, two) = (lab.token("operator").await, lab.token("operator").await);
    let identity = lab.enter(&one).unwrap();
    let other = rusqlite::Connection::open(lab.database()).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON revoked_tokens
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    other.execute_batch(full).unwrap();
    assert_eq!(lab.authenticator.logout(&identity, HERE).await, Ok(false));
    assert_eq!(status(lab.enter(&one)), 401);
    assert!(!lab.authenticator.is_live(&identity) && lab.enter(&two).is_ok());
    // The end of the process is one more try.
    other.execute_batch("DROP TRIGGER full").unwrap();
    let Lab { authenticator, scratch } = lab;
    drop(authenticator);
    let lab = Lab { authenticator: open(&scratch, None), scratch };
    assert_eq!(status(lab.enter(&one)), 401);
    assert!(lab.enter(&two).is_ok());
    let rows = lab.authenticator.audit(10).await.unwrap();
    let logouts =
        rows.iter().filter(|row| row.action == "auth.logout" && row.source == "192.0.2.1");
    assert_eq!(logouts.count(), 1);
}

#[tokio::test]
async fn tokens_end_with_their_time_and_with_the_secret() {
    let lab = Lab::with_secret(Some("a secret of the configuration")).await;
    let token = lab.token("viewer").await;
    let header = format!("bearer   {token} ");
    let credentials = Credentials { authorization: Some(&header), ..Credentials::default() };
    let enter = |seconds: i64| {
        let now = Now::read();
        let now = Now { unix_ms: now.unix_ms + seconds * 1000, ..now };
        lab.authenticator.authenticate_at(&credentials, STATS, now)
    };
    assert!(enter(0).is_ok());
    assert!(enter(3590).is_ok());
    assert_eq!(enter(3601).unwrap_err().message, "the token has expired; log in again");
    let Lab { authenticator, scratch } = lab;
    drop(authenticator);
    let lab = Lab { authenticator: open(&scratch, Some("another secret of it")), scratch };
    assert_eq!(status(lab.enter(&token)), 401);
}

#[tokio::test]
async fn a_token_with_an_invented_role_or_name_is_refused() {
    let secret = "a secret that somebody found";
    let lab = Lab::with_secret(Some(secret)).await;
    let user_id = lab.id("viewer").await;
    let tokens = token::Tokens::new(secret.as_bytes());
    let issue = |username, user_id, role, epoch| {
        let subject = token::Subject { username, user_id, role, epoch };
        tokens.issue(&subject, Now::read().unix_s(), 60).unwrap().0
    };
    assert!(lab.enter(&issue("viewer", user_id, "viewer", 0)).is_ok());
    for (username, id, role, epoch) in [
        ("viewer", user_id, "admin", 0),
        ("admin", user_id, "viewer", 0),
        ("viewer", user_id + 100, "viewer", 0),
        ("viewer", user_id, "viewer", 1),
    ] {
        assert_eq!(status(lab.enter(&issue(username, id, role, epoch))), 401, "{username} {role}");
    }
}

#[tokio::test]
async fn a_change_by_another_process_is_noticed() {
    let lab = Lab::new().await;
    let token = lab.token("operator").await;
    let mut other = Store::open(&lab.database()).unwrap();
    let by = By { user_id: None, username: "cli".into(), source: "local".into(), now_ms: 1 };
    let change = RowChange { disabled: Some(true), ..RowChange::default() };
    other.update_user(lab.id("operator").await, &change, &by).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while lab.enter(&token).is_ok() {
        assert!(Instant::now() < end, "not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(lab.enter(&token)), 401);
    assert!(lab.enter(&lab.token("viewer").await).is_ok());
}

#[tokio::test]
async fn a_database_that_was_replaced_lets_nobody_in() {
    let lab = Lab::new().await;
    let token = lab.token("operator").await;
    fs::rename(lab.database(), lab.scratch.join("elsewhere")).unwrap();
    lab.internal().database.wait_until_blind().await;
    let refused = lab.enter(&token).unwrap_err();
    assert_eq!((refused.status, refused.retry_after_s), (503, Some(5)));
    fs::rename(lab.scratch.join("elsewhere"), lab.database()).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while lab.enter(&token).is_err() {
        assert!(Instant::now() < end, "not let in again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_changes_the_own_password_by_showing_it() {
    let lab = Lab::new().await;
    let identity = lab.identity("viewer").await;
    let new = "a-longer-better-phrase";
    let change = |current: &'static str, new: &'static str| {
        lab.authenticator.change_own_password(&identity, current, new, HERE)
    };
    assert_eq!(status(change("wrong", new).await), 401);
    assert_eq!(status(change(PASSWORD, "short").await), 400);
    assert_eq!(status(change(PASSWORD, "password123").await), 400);
    assert!(lab.authenticator.is_live(&identity));
    change(PASSWORD, new).await.unwrap();
    assert!(!lab.authenticator.is_live(&identity));
    assert_eq!(status(lab.authenticator.login("viewer", PASSWORD, HERE).await), 401);
    assert!(lab.authenticator.login("viewer", new, HERE).await.is_ok());
}

#[tokio::test]
async fn guessing_is_slowed_down_and_told_how_long() {
    let lab = Lab::new().await;
    let mut refused = Vec::new();
    for _ in 0..12 {
        refused.push(lab.authenticator.login("operator", "wrong", HERE).await.unwrap_err());
    }
    let statuses: Vec<_> = refused.iter().map(|error| error.status).collect();
    assert_eq!(statuses[..5], [401; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let throttled = refused.iter().find(|error| error.status == 429).unwrap();
    assert!(throttled.retry_after_s >= Some(1), "{throttled:?}");
    // Also with the right one: a guesser must not learn it meanwhile.
    let before = lab.internal().hasher.computed();
    let elsewhere = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    for source in [HERE, elsewhere] {
        assert_eq!(status(lab.authenticator.login("operator", PASSWORD, source).await), 429);
    }
    assert_eq!(lab.internal().hasher.computed(), before, "and costs nothing");
    assert!(lab.authenticator.login("viewer", PASSWORD, elsewhere).await.is_ok());
}

#[tokio::test]
async fn users_are_made_and_changed_by_the_rules() {
    let lab = Lab::new().await;
    let admin = lab.identity("admin").await;
    let add = |username: &str, password: &str| {
        let new = NewUser { username: username.into(), password: password.into(), role: None };
        lab.authenticator.create_user(&admin, new, HERE)
    };
    assert_eq!(add("dora", PASSWORD).await.unwrap().role, Role::Operator);
    assert_eq!(status(add("DORA", PASSWORD).await), 409);
    assert_eq!(status(add("dora the explorer", PASSWORD).await), 400);
    assert_eq!(status(add("erik", "erik2026").await), 400);
    assert_eq!(status(lab.authenticator.delete_user(&admin, 12345, HERE).await), 404);
    let id = lab.id("admin").await;
    assert_eq!(status(lab.authenticator.delete_user(&admin, id, HERE).await), 409);
    let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    let refused = lab.authenticator.update_user(&admin, id, change, HERE).await.unwrap_err();
    assert_eq!(refused.status, 409);
    assert!(refused.message.starts_with("admin is the last admin"), "{}", refused.message);
    assert!(lab.authenticator.is_live(&admin));
}

#[tokio::test]
async fn the_audit_log_has_who_came_and_what_changed_but_no_secrets() {
    let lab = Lab::new().await;
    let admin = lab.identity("admin").await;
    let token = lab.token("operator").await;
    let operator = lab.enter(&token).unwrap();
    for (username, password) in [("operator", "wrong-pass-word"), ("my-pass-word", "x")] {
        lab.authenticator.login(username, password, HERE).await.unwrap_err();
    }
    lab.authenticator.logout(&operator, HERE).await.unwrap();
    let id = lab.id("operator").await;
    let change = UserChange { password: Some("another-good-phrase".into()), ..Default::default() };
    lab.authenticator.update_user(&admin, id, change, HERE).await.unwrap();
    let begun = json!({ "rate": 50, "outcome": "begun" });
    let row = lab.authenticator.record(&admin, HERE, "control.set", "primary", begun).await;
    let row = row.unwrap().expect("there is an audit log");
    lab.authenticator.amend(row, json!({ "rate": 50 })).await;
    let rows = lab.actions().await;
    let tail: Vec<_> = rows[rows.len() - 7..]
        .iter()
        .map(|row| (row.action.as_str(), row.username.as_str(), row.target.as_str()))
        .collect();
    assert_eq!(
        tail,
        [
            ("auth.login", "admin", "admin"),
            ("auth.login", "operator", "operator"),
            ("auth.login_failed", "operator", "operator"),
            ("auth.login_failed", "", ""),
            ("auth.logout", "operator", "operator"),
            ("user.password_change", "admin", "operator"),
            ("control.set", "admin", "primary"),
        ]
    );
    assert!(rows.iter().all(|row| row.source == "192.0.2.1" || row.source == "local"));
    assert_eq!(rows.last().unwrap().payload_json, r#"{"rate":50}"#);
    let text = serde_json::to_string(&rows).unwrap();
    let signature = token.rsplit_once('.').unwrap().1;
    for secret in [PASSWORD, "wrong-pass-word", "my-pass-word", "another-good", signature] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // Nor in the file, but for hashes.
    drop(lab.authenticator);
    let file = fs::read(lab.scratch.join("auth.db")).unwrap();
    let has = |secret: &str| file.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
    assert!(has("$argon2id$"));
    assert!(![PASSWORD, "my-pass-word", "another-good", signature].into_iter().any(has));
}

#[tokio::test]
async fn a_flood_of_refused_logins_is_one_row() {
    let lab = Lab::new().await;
    for _ in 0..5 {
        let _ = lab.authenticator.login("operator", "wrong", HERE).await;
    }
    // Within the pause of a second; where this host is slow, one more attempt may get through.
    for _ in 0..20 {
        let _ = lab.authenticator.login("operator", "wrong", HERE).await;
    }
    let rows = lab.actions().await;
    let count = |action: &str| rows.iter().filter(|row| row.action == action).count();
    let (failed, throttled) = (count("auth.login_failed"), count("auth.login_throttled"));
    assert!(throttled >= 1 && failed + throttled < 20, "{failed} failed, {throttled} throttled");
    assert!(throttled <= failed - 4, "one for each pause: {failed} failed, {throttled} throttled");
}

#[tokio::test]
async fn a_ticket_opens_the_live_socket_once_while_its_login_lasts() {
    let lab = Lab::new().await;
    let identity = lab.identity("viewer").await;
    let draw = || lab.authenticator.issue_ticket(&identity, LIVE_PATH).unwrap();
    let enter = |ticket: &Ticket, path: &str| {
        let credentials = Credentials { ticket: Some(&ticket.ticket), ..Credentials::default() };
        lab.authenticator.authenticate(&credentials, path, HERE)
    };
    let ticket = draw();
    assert_eq!(ticket.expires_in_s, 30);
    let entered = enter(&ticket, LIVE_PATH).unwrap();
    assert_eq!((entered.kind, entered.role), (IdentityKind::Ticket, Role::Viewer));
    assert!(lab.authenticator.is_live(&entered));
    assert_eq!(status(enter(&ticket, LIVE_PATH)), 401);
    assert_eq!(status(enter(&draw(), STATS)), 401);
    assert_eq!(status(lab.authenticator.issue_ticket(&entered, LIVE_PATH)), 403);
    assert_eq!(status(lab.authenticator.logout(&entered, HERE).await), 403);
    let late = draw();
    lab.authenticator.logout(&identity, HERE).await.unwrap();
    assert_eq!(status(enter(&late, LIVE_PATH)), 401);
    assert!(!lab.authenticator.is_live(&entered), "the socket is to be closed");
}

#[tokio::test]
async fn the_first_credential_decides_and_addresses_carry_tokens_to_the_socket_only() {
    let lab = Lab::new().await;
    let token = lab.token("viewer").await;
    let header = format!("Bearer {token}");
    let enter = |authorization, query_token, path| {
        let credentials = Credentials { authorization, query_token, ..Credentials::default() };
        lab.authenticator.authenticate(&credentials, path, HERE)
    };
    assert!(enter(None, Some(&token), LIVE_PATH).is_ok());
    let refused = enter(None, Some(&token), STATS).unwrap_err();
    assert!(refused.message.starts_with("only /api/v1/live takes"), "{}", refused.message);
    assert!(enter(Some(&header), Some("nonsense"), STATS).is_ok());
    assert_eq!(status(enter(Some("Bearer nonsense"), Some(&token), LIVE_PATH)), 401);
    for malformed in ["", "Bearer", "Bearer ", &token, "Basic YWRtaW46YWRtaW4=", "é"] {
        let refused = enter(Some(malformed), None, STATS).unwrap_err();
        assert_eq!(refused.status, 401, "{malformed}");
        assert!(!refused.message.contains(&token), "what was sent is not sent back");
    }
    let refused = enter(None, None, STATS).unwrap_err();
    assert!(refused.message.contains("POST /api/v1/auth/login"), "{}", refused.message);
}

#[tokio::test]
async fn tokens_in_addresses_can_be_switched_off() {
    let mode = AuthMode::StaticToken("0123456789abcdef".to_owned());
    let settings = AuthSettings { allow_query_token: false, ..AuthSettings::new(mode) };
    let authenticator = Authenticator::open(settings).unwrap();
    let query_token = Some("0123456789abcdef");
    let credentials = Credentials { query_token, ..Credentials::default() };
    assert_eq!(status(authenticator.authenticate(&credentials, LIVE_PATH, HERE)), 401);
}

#[tokio::test]
async fn the_token_of_the_configuration_acts_as_operator() {
    let secret = "0123456789abcdef";
    let mode = AuthMode::StaticToken(secret.to_owned());
    let authenticator = Authenticator::open(AuthSettings::new(mode)).unwrap();
    let enter = |token: &str| {
        let header = format!("Bearer {token}");
        let credentials = Credentials { authorization: Some(&header), ..Credentials::default() };
        authenticator.authenticate(&credentials, STATS, HERE)
    };
    let identity = enter(secret).unwrap();
    assert_eq!((identity.role, identity.kind), (Role::Operator, IdentityKind::StaticToken));
    assert!(authenticator.is_live(&identity));
    for wrong in ["0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "x"] {
        assert_eq!(status(enter(wrong)), 401, "{wrong}");
    }
    assert_eq!(authenticator.kind(), "none");
    assert!(!authenticator.is_open());
    assert_eq!(status(authenticator.login("admin", PASSWORD, HERE).await), 404);
    assert_eq!(status(authenticator.audit(10).await), 404);
    let ticket = authenticator.issue_ticket(&identity, LIVE_PATH).unwrap();
    let credentials = Credentials { ticket: Some(&ticket.ticket), ..Credentials::default() };
    let entered = authenticator.authenticate(&credentials, LIVE_PATH, HERE).unwrap();
    assert_eq!(entered.role, Role::Operator);
}

#[tokio::test]
async fn without_authentication_everybody_may_do_everything() {
    let authenticator = Authenticator::open(AuthSettings::new(AuthMode::Open)).unwrap();
    assert!(authenticator.is_open());
    let nonsense = Some("Basic nonsense");
    let credentials = Credentials { authorization: nonsense, ..Credentials::default() };
    let identity = authenticator.authenticate(&credentials, STATS, HERE).unwrap();
    assert_eq!((identity.kind, identity.role), (IdentityKind::Anonymous, Role::Admin));
    assert!(authenticator.is_live(&identity));
    assert_eq!(status(authenticator.users().await), 404);
}

#[test]
fn bad_secrets_keep_the_daemon_from_starting() {
    let scratch = Scratch::new();
    let internal = AuthMode::Internal {
        sqlite_path: scratch.join("auth.db"),
        jwt_secret: Some("short".to_owned()),
    };
    for (mode, expected) in [
        (internal, "auth.jwt_secret has 5 characters"),
        (AuthMode::StaticToken(String::new()), "api_token is empty"),
    ] {
        assert!(!format!("{mode:?}").contains("short"), "settings do not show secrets");
        let error = Authenticator::open(AuthSettings::new(mode)).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(scratch.names(), [""; 0], "nothing was made");
}
