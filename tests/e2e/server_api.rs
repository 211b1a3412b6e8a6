//! The API from outside: shapes, refusals, limits, headers, and permissions.

use std::io::Write as _;
use std::net::SocketAddr;

use ::gossipper::server::api::{self, RouteRow};
use ::gossipper::server::auth::Permission;
use serde_json::{Value, json};

use crate::golden_file;
use crate::harness::gossipper::PROGRAM;
use crate::harness::http::{Client, Response, read_response};
use crate::harness::service::{self as daemon, Daemon, management, until};
use crate::harness::{lock, ports};

fn open() -> (Daemon, Client) {
    let daemon = daemon::start(&management());
    let client = daemon.client();
    (daemon, client)
}

/// A daemon with two engines, so that answers have their larger shape.
fn hybrid() -> (Daemon, Client) {
    let mut server = management();
    server.as_object_mut().unwrap().remove("api_addr");
    let target = server["local_port"].clone();
    let config = json!({
        "api_addr": "127.0.0.1:0",
        "server": server,
        "clients": [{
            "id": "load",
            "role": "load",
            "scenario_name": "uac",
            "transport": "u1",
            "local_ip": "127.0.0.1",
            "local_port": ports::free(),
            "remote_addr": format!("127.0.0.1:{target}"),
            "rate": 20,
            "total_calls": 0,
        }],
    });
    let daemon = daemon::start(&config);
    let client = daemon.client();
    (daemon, client)
}

const ADMIN: &str = "admin";
const PASSWORD: &str = "correct horse battery staple";

/// A daemon whose users sign in: `admin`, and one for each other role, of that name.
fn with_users() -> (Daemon, Client) {
    let mut config = management();
    config["auth"] = json!({ "type": "internal", "sqlite_path": "users.sqlite" });
    let daemon = daemon::prepare(&config)
        .environment("GOSSIPPER_BOOTSTRAP_USERNAME", ADMIN)
        .environment("GOSSIPPER_BOOTSTRAP_PASSWORD", PASSWORD)
        .start();
    for role in ["viewer", "operator"] {
        let output = std::process::Command::new(PROGRAM)
            .args(["auth", "user-add", "-config"])
            .arg(daemon.path("gossipper.json"))
            .args(["-username", role, "-password", PASSWORD, "-role", role])
            .current_dir(daemon.path(""))
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let client = daemon.client();
    (daemon, client)
}

#[track_caller]
fn sign_in(client: &Client, username: &str) -> Client {
    let body = json!({ "username": username, "password": PASSWORD });
    let reply = client.post("/api/v1/auth/login", &body).expect(200).json();
    assert_eq!(reply["token_type"], json!("Bearer"));
    client.bearer(reply["token"].as_str().unwrap())
}

// ---- shapes ----------------------------------------------------------------------------------

/// Checks a response against the document that the daemon itself serves.
struct Contract {
    document: Value,
}

impl Contract {
    fn of(client: &Client) -> Self {
        Self { document: client.get("/api/v1/openapi.json").expect(200).json() }
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, response: &Response) {
        let path = path.split('?').next().unwrap();
        let status = response.status.to_string();
        let operation = &self.document["paths"][path][method.to_ascii_lowercase()];
        let described = &operation["responses"][&status];
        assert!(described.is_object(), "{method} {path} does not describe {status}: {response:?}");
        let content = described["content"]["application/json"]["schema"].clone();
        if content.is_null() {
            assert_eq!(response.body, "", "{method} {path} {status} carries nothing");
            return;
        }
        let mut schema = content;
        schema["components"] = self.document["components"].clone();
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        let validator = jsonschema::validator_for(&schema).expect("the schema is one");
        let value = response.json();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?}\n{value:#}");
    }
}

#[test]
fn answers_are_as_the_document_describes_them() {
    let _lock = lock::light();
    for (daemon, client) in [open(), hybrid()] {
        let contract = Contract::of(&client);
        until("calls", || {
            let stats = client.get("/api/v1/stats").json();
            let engine = &stats["engines"][1]["stats"];
            (stats["multi"] == json!(false) || engine["success_calls"].as_u64()? > 3).then_some(())
        });
        for path in [
            "/api/v1/auth/status",
            "/api/v1/clients",
            "/api/v1/control",
            "/api/v1/health",
            "/api/v1/me",
            "/api/v1/openapi.json",
            "/api/v1/scenario",
            "/api/v1/stats",
            "/api/v1/transports",
            "/livez",
            "/readyz",
        ] {
            contract.check("GET", path, &client.get(path).expect(200));
        }
        let live = client.get("/api/v1/live");
        live.error(426);
        contract.check("GET", "/api/v1/live", &live);
        for (path, body, status) in [
            ("/api/v1/control", json!({ "paused": false }), 200),
            ("/api/v1/control", json!({ "rate": -1 }), 400),
            ("/api/v1/control", json!({ "id": "nobody", "rate": 1 }), 404),
            ("/api/v1/transports", json!({ "index": 0, "enabled": true }), 200),
            ("/api/v1/transports", json!({ "index": 99, "enabled": true }), 400),
            ("/api/v1/live/ticket", json!({}), 200),
            ("/api/v1/auth/login", json!({ "username": "a", "password": "b" }), 404),
            ("/api/v1/clients", json!({ "rate": "fast" }), 400),
            ("/api/v1/scenario/apply", json!({}), 415),
        ] {
            let reply = client.post(path, &body);
            assert_eq!(reply.status, status, "{path}: {reply:?}");
            contract.check("POST", path, &reply);
        }
        let reply = client.request("PUT", "/api/v1/scenario", Some(("text/xml", "<scenario/>")));
        contract.check("PUT", "/api/v1/scenario", &reply);
        contract.check("DELETE", "/api/v1/clients", &client.delete("/api/v1/clients?id=nobody"));
        // The frame of the WebSocket has a schema, too.
        let mut frame_schema = json!({ "$ref": "#/components/schemas/Frame" });
        frame_schema["components"] = contract.document["components"].clone();
        let validator = jsonschema::validator_for(&frame_schema).expect("the schema is one");
        let frame = client.websocket("/api/v1/live").unwrap().frame();
        let errors: Vec<String> =
            validator.iter_errors(&frame).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{frame:#}");
        daemon.stop();
    }
}

#[test]
fn the_document_in_the_repository_is_that_of_the_program() {
    golden_file::compare("docs/openapi.json", &format!("{:#}\n", api::openapi_document()));
}

// ---- refusals --------------------------------------------------------------------------------

#[test]
fn whoever_refuses_says_it_in_the_same_form() {
    let _lock = lock::light();
    let (daemon, client) = open();
    client.get("/api/v1/nothing").error(404);
    client.get("/api/v2/jobs").error(404);
    let reply = client.post("/api/v1/stats", &json!({}));
    assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    reply.error(405);
    let reply = client.request("PATCH", "/api/v1/clients", None);
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, DELETE"));
    reply.error(405);
    client.request("OPTIONS", "/api/v1/control", None).error(405);

    for (body, part) in [
        ("{\"rate\":\n \"x\"}", "rate: "),
        ("{\"rat\": 1}", "`rat`"),
        ("{\"rate\": 1", "line 1"),
        ("", "empty"),
        ("{\"rate\": 1} x", "text after"),
    ] {
        let json = Some(("application/json", body));
        let error = client.request("POST", "/api/v1/control", json).error(400);
        assert!(error.contains(part), "{body:?}: {error}");
    }
    let form = Some(("application/x-www-form-urlencoded", "rate=1"));
    let error = client.request("POST", "/api/v1/control", form).error(415);
    assert!(error.contains("application/json"), "{error}");
    let error = client.request("POST", "/api/v1/scenario/apply", form).error(415);
    assert!(error.contains("application/xml"), "{error}");
    let error = client.get("/api/v1/stats?verbose=1").error(400);
    assert!(error.contains("verbose"), "{error}");
    client.get("/api/v1/live?interval_ms=10").error(400);

    // None of these requests had an effect.
    let control = client.get("/api/v1/control").expect(200).json();
    assert_eq!(control["paused"], json!(false), "{control}");
    let head = client.request("HEAD", "/api/v1/health", None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    daemon.stop();
}

#[test]
fn bodies_have_a_limit_on_every_route() {
    let _lock = lock::light();
    let (daemon, client) = open();
    for row in api::route_rows() {
        let Some(media_type) = row.media_type else { continue };
        // A little more than allowed, announced.
        let body = " ".repeat(row.body_bytes_max + 1);
        let reply = client.request(&row.method, row.path, Some((media_type, &body)));
        let error = reply.error(413);
        assert!(error.contains("KiB") || error.contains("MiB"), "{error}");
    }
    // The same without announcing the length.
    let mut stream = client.connect();
    let head = client.head("POST", "/api/v1/control");
    let head =
        format!("{head}Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    for _ in 0..3 {
        stream.write_all(chunk.as_bytes()).unwrap();
    }
    read_response(&mut stream).unwrap().error(413);
    // A head without an end.
    let mut stream = client.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nX-Long: ").unwrap();
    let filler = [b'x'; 1024];
    // The connection is closed, with an answer if there is time for one.
    while stream.write_all(&filler).is_ok() {}
    client.get("/api/v1/health").expect(200);
    daemon.stop();
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_given_up() {
    let _lock = lock::light();
    let (daemon, client) = open();
    // After 5 s in which the head is not complete, the connection is closed.
    let mut stream = client.connect();
    stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHo").unwrap();
    let reply = read_response(&mut stream);
    assert!(reply.is_err() || reply.as_ref().unwrap().status == 408, "{reply:?}");
    daemon.stop();
}

#[test]
fn browsers_are_told_to_be_careful_and_are_not_trusted() {
    let _lock = lock::light();
    let (daemon, client) = open();
    for path in ["/", "/assets/status.js", "/api/v1/stats", "/api/v1/nothing", "/metrics"] {
        let reply = client.get(path);
        for (name, part) in [
            ("content-security-policy", "default-src 'none'; script-src 'self'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            let value = reply.header(name).unwrap_or_else(|| panic!("{path} lacks {name}"));
            assert!(value.contains(part), "{path} {name}: {value}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    // A name that an attacker makes resolve to this address (DNS rebinding).
    let rebound = client.with("Host", "evil.example:80");
    rebound.get("/api/v1/stats").error(421);
    rebound.get("/").error(421);
    client.with("Host", "localhost:80").get("/api/v1/stats").expect(200);
    // A page of another origin.
    let pause = json!({ "paused": true });
    let foreign = client.with("Origin", "https://evil.example");
    foreign.post("/api/v1/control", &pause).error(403);
    foreign.websocket("/api/v1/live").err().expect("refused").error(403);
    client.with("Sec-Fetch-Site", "cross-site").post("/api/v1/control", &pause).error(403);
    assert_eq!(client.get("/api/v1/control").json()["paused"], json!(false));
    // Our own page.
    let own = client.with("Origin", &format!("http://{}", daemon.address()));
    own.post("/api/v1/control", &pause).expect(200);
    own.websocket("/api/v1/live").expect("let in").frame();
    daemon.stop();
}

// ---- who may do what -------------------------------------------------------------------------

/// A request of a route that gets past the check of roles and changes nothing.
fn harmless(row: &RouteRow, client: &Client) -> Response {
    let body = row
        .media_type
        .map(|media_type| (media_type, if media_type.ends_with("json") { "[]" } else { " " }));
    client.request(&row.method, row.path, body)
}

#[test]
fn each_route_lets_in_whom_the_table_says() {
    let _lock = lock::light();
    let (daemon, client) = with_users();
    let mut rows = api::route_rows();
    // Signing out ends the token, so that it comes last.
    rows.sort_by_key(|row| row.path.ends_with("/logout"));
    assert!(rows.len() > 20);
    for (role, rank) in [("viewer", 0), ("operator", 1), (ADMIN, 2)] {
        let known = sign_in(&client, role);
        for row in &rows {
            let nobody = harmless(row, &client);
            let somebody = harmless(row, &known);
            let name = format!("{} {} as {role}", row.method, row.path);
            let Some(permission) = row.permission else {
                assert_ne!(nobody.status, 403, "{name}: {nobody:?}");
                continue;
            };
            nobody.error(401);
            assert!(nobody.header("www-authenticate").is_some(), "{name}");
            let needed = match permission {
                Permission::View => 0,
                Permission::Operate => 1,
                Permission::Administer => 2,
            };
            match rank >= needed {
                true => assert!(![401, 403].contains(&somebody.status), "{name}: {somebody:?}"),
                false => _ = somebody.error(403),
            }
        }
        // That was the last: the token is of no more use.
        known.get("/api/v1/me").error(401);
    }
    daemon.stop();
}

#[test]
fn tokens_are_taken_where_they_belong_and_nowhere_else() {
    let _lock = lock::light();
    let (daemon, client) = with_users();
    assert_eq!(
        client.get("/api/v1/auth/status").json(),
        json!({ "auth": "internal", "api_token": false })
    );
    let known = sign_in(&client, "viewer");
    let me = known.get("/api/v1/me").expect(200).json();
    assert_eq!((&me["username"], &me["role"]), (&json!("viewer"), &json!("viewer")));
    let token = known.headers[0].1.strip_prefix("Bearer ").unwrap().to_owned();

    client.get(&format!("/api/v1/stats?token={token}")).error(401);
    known.get(&format!("/api/v1/stats?token={token}")).error(400);
    client.websocket(&format!("/api/v1/live?token={token}")).expect("let in").frame();
    known.websocket("/api/v1/live").expect("let in").frame();
    client.websocket("/api/v1/live").err().expect("refused").error(401);
    client.websocket("/api/v1/live?token=x").err().expect("refused").error(401);

    let ticket = known.post("/api/v1/live/ticket", &json!({})).expect(200).json();
    let ticket = ticket["ticket"].as_str().unwrap();
    let path = format!("/api/v1/live?ticket={ticket}");
    client.get(&format!("/api/v1/stats?ticket={ticket}")).error(401);
    let mut live = client.websocket(&path).expect("let in");
    live.frame();
    client.websocket(&path).err().expect("once only").error(401);

    // Signing out closes what the token has opened.
    known.request("POST", "/api/v1/auth/logout", None).expect(204);
    known.get("/api/v1/me").error(401);
    let mut other = sign_in(&client, "viewer").websocket("/api/v1/live").expect("let in");
    other.frame();
    drop(other);
    let (finished, _) = daemon.stop();
    assert!(!finished.stderr.contains(&token), "a token is in the log");
    assert!(!finished.stderr.contains(ticket), "a ticket is in the log");
}

#[test]
fn a_websocket_ends_with_the_session_that_opened_it() {
    let _lock = lock::light();
    let (daemon, client) = with_users();
    let known = sign_in(&client, "operator");
    let mut live = known.websocket("/api/v1/live?interval_ms=250").expect("let in");
    live.frame();
    known.request("POST", "/api/v1/auth/logout", None).expect(204);
    assert_eq!(live.close_code(), 1008);
    daemon.stop();
}

#[test]
fn who_guesses_has_to_wait() {
    let _lock = lock::light();
    let (daemon, client) = with_users();
    let guess = json!({ "username": ADMIN, "password": "wrong" });
    let throttled = (0..50).find_map(|_| {
        let reply = client.post("/api/v1/auth/login", &guess);
        assert!([401, 429].contains(&reply.status), "{reply:?}");
        (reply.status == 429).then_some(reply)
    });
    let throttled = throttled.expect("not throttled after 50 attempts");
    let wait: u64 = throttled.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    throttled.error(429);
    daemon.stop();
}

#[test]
fn a_static_token_is_asked_for() {
    let _lock = lock::light();
    let mut config = management();
    let token = "b7f3c1d29e5a48b6907d1c2e3f405162";
    config["api_token"] = json!(token);
    let daemon = daemon::start(&config);
    let client = daemon.client();
    let status = json!({ "auth": "none", "api_token": true });
    assert_eq!(client.get("/api/v1/auth/status").json(), status);
    client.get("/api/v1/health").error(401);
    client.bearer("wrong").get("/api/v1/health").error(401);
    client.bearer(token).get("/api/v1/health").expect(200);
    let pause = json!({ "paused": true });
    client.bearer(token).post("/api/v1/control", &pause).expect(200);
    client.websocket(&format!("/api/v1/live?token={token}")).expect("let in").frame();
    // Probes and metrics need none on this host.
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        client.get(path).expect(200);
    }
    daemon.stop();
}

#[test]
fn everybody_may_not_steer_from_everywhere() {
    let _lock = lock::light();
    let mut config = management();
    config["api_addr"] = json!("0.0.0.0:0");
    let daemon = daemon::prepare(&config).start_without_api();
    let (finished, _) = daemon.finish();
    assert_ne!(finished.code, Some(0));
    assert!(finished.stderr.contains("insecure_http"), "{}", finished.stderr);
    config["insecure_http"] = json!(true);
    let daemon = daemon::start(&config);
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.address().port()));
    Client::new(address).get("/api/v1/health").expect(200);
    daemon.stop();
}
