//! The rights of a stranger, a viewer and an operator in the daemon. None of them can get at its
//! files, take more of the host than the daemon has, or make a change without a row in the audit
//! log.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use ::gossipper::server::api::{self, RouteRow};
use ::gossipper::server::auth::Permission;
use serde_json::{Value, json};

use crate::harness::gossipper::PROGRAM;
use crate::harness::http::Client;
use crate::harness::peer::Peer;
use crate::harness::service::{self as daemon, Daemon, until};
use crate::harness::{lock, ports};

const ADMIN: &str = "admin";
const PASSWORD: &str = "correct horse battery staple";

/// A daemon as a package sets it up: users, first password and scenario in one data directory.
fn with_users(change: impl FnOnce(&mut Value)) -> (Daemon, SocketAddr) {
    let port = ports::free();
    let mut config = json!({
        "api_addr": "127.0.0.1:0",
        "auth": { "type": "internal", "sqlite_path": "users.sqlite" },
        "server": {
            "role": "management",
            "scenario_file": "answer.xml",
            "local_ip": "127.0.0.1",
            "local_port": port,
        },
    });
    change(&mut config);
    let prepared = daemon::prepare(&config).file("answer.xml", &answering("Hello"));
    let prepared = prepared.file("results/readme", "");
    // Before it starts, so that it need not notice them.
    for role in [ADMIN, "viewer", "operator"] {
        let output = Command::new(PROGRAM)
            .args(["auth", "user-add", "-username", role, "-role", role])
            .args(["-password", PASSWORD, "-config", "gossipper.json"])
            .current_dir(prepared.path(""))
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let daemon = prepared.start();
    (daemon, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[track_caller]
fn sign_in(daemon: &Daemon, username: &str) -> Client {
    let client = daemon.client();
    let body = json!({ "username": username, "password": PASSWORD });
    let reply = client.post("/api/v1/auth/login", &body).expect(200).json();
    client.bearer(reply["token"].as_str().expect("a token"))
}

/// A scenario that answers calls with a body.
fn answering(body: &str) -> String {
    format!(
        "<scenario name=\"answer\"><recv request=\"INVITE\"/><send><![CDATA[\n\
         SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:];tag=1\n[last_Call-ID:]\n\
         [last_CSeq:]\nContent-Type: text/plain\nContent-Length: [len]\n\n{body}\n\
         ]]></send></scenario>"
    )
}

/// A client that makes one call to `to`.
fn one_call(to: SocketAddr) -> Value {
    json!({ "remote_addr": to.to_string(), "local_ip": "127.0.0.1", "total_calls": 1 })
}

/// The body of the answer to an INVITE.
fn answer(to: SocketAddr) -> String {
    let peer = Peer::new();
    let own = peer.address();
    peer.send(
        to,
        format!(
            "INVITE sip:a@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK1\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: {own}\r\nCSeq: 1 INVITE\r\n\
             Content-Length: 0\r\n\r\n"
        ),
    );
    let answer = peer.receive().text;
    answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.trim().to_owned())
}

// ---- files -----------------------------------------------------------------------------------

#[test]
fn nobody_gets_a_file_of_the_daemon_into_a_message() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|_| {});
    // As the first start writes it.
    daemon.write("initial-admin-password", "admin\nsecret\n");
    daemon.write("scenarios/greeting", "Good morning");
    let linked = daemon.path("scenarios/linked");
    fs::hard_link(daemon.path("users.sqlite"), &linked).unwrap();
    std::os::unix::fs::symlink(daemon.path("users.sqlite-wal"), daemon.path("scenarios/soft"))
        .unwrap();
    let operator = sign_in(&daemon, "operator");
    let names = [
        "initial-admin-password",
        "users.sqlite",
        "users.sqlite-wal",
        "gossipper.json",
        "../users.sqlite",
        "linked",
        "soft",
        "/etc/passwd",
        "/proc/self/environ",
        "answer.xml",
    ];
    for name in names {
        let text = answering(&format!("[file name={name}]"));
        let xml = Some(("application/xml", text.as_str()));
        let error = operator.request("POST", "/api/v1/scenario/apply", xml).error(400);
        assert!(error.starts_with("scenario:"), "{name}: {error}");
        operator.request("PUT", "/api/v1/scenario?apply=1", xml).error(400);
        // The same from a scenario of a client, and as its injection file.
        daemon.write("scenarios/client.xml", &calling(name));
        let mut client = one_call(address);
        client["scenario_file"] = json!("client.xml");
        operator.post("/api/v1/clients", &client).error(400);
        for key in ["scenario_file", "injection_file", "tls_key", "summary_json"] {
            let mut client = one_call(address);
            client[key] = json!(daemon.path(name));
            let error = operator.post("/api/v1/clients", &client).error(400);
            assert!(error.contains(key), "{name}: {error}");
        }
    }
    assert_eq!(answer(address), "Hello");
    // Files that are meant for them are read.
    let text = answering("[file name=greeting]");
    let xml = Some(("application/xml", text.as_str()));
    operator.request("PUT", "/api/v1/scenario?apply=1", xml).expect(200);
    assert_eq!(answer(address), "Good morning");
    // The written file can be read again, and so can one with a text beside it.
    let read_again = || {
        let reply = operator.request("POST", "/api/v1/scenario/apply", None);
        (reply.status != 409).then(|| reply.expect(200))
    };
    until("end of the exchange before", read_again);
    daemon.write("beside.txt", "Good evening");
    daemon.write("answer.xml", &answering("[file name=beside.txt]"));
    until("end of the exchange before", read_again);
    assert_eq!(answer(address), "Good evening");
    daemon.stop();
}

/// A scenario that makes a call with the content of a file in it.
fn calling(name: &str) -> String {
    format!(
        "<scenario><send><![CDATA[\nINVITE sip:a@b SIP/2.0\nContent-Length: [len]\n\n\
         [file name={name}]\n]]></send></scenario>"
    )
}

#[test]
fn results_of_clients_are_written_where_they_belong() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|config| {
        config["server"]["call_records_jsonl"] = json!("results/own.jsonl");
    });
    let operator = sign_in(&daemon, "operator");
    let start = |key: &str, value: Value| {
        let mut client = one_call(address);
        client[key] = value;
        operator.post("/api/v1/clients", &client)
    };
    let before = fs::read(daemon.path("users.sqlite")).unwrap();
    fs::hard_link(daemon.path("gossipper.json"), daemon.path("results/hard")).unwrap();
    let config = fs::read(daemon.path("gossipper.json")).unwrap();
    for path in ["../users.sqlite", "/tmp/x", "hard", "../scenarios/x", "none/x.json"] {
        start("summary_json", json!(path)).error(400);
        start("extra_args", json!(["-trace_msg", "-message_file", path])).error(400);
    }
    assert_eq!(fs::read(daemon.path("gossipper.json")).unwrap(), config);
    // The output of another engine is refused, also under another name.
    start("call_records_jsonl", json!("./own.jsonl")).error(409);
    let started = start("summary_json", json!("sum.json")).expect(201).json();
    let id = started["id"].as_str().unwrap().to_owned();
    until("summary", || {
        let rows = operator.get("/api/v1/clients").json();
        let row = rows["engines"].as_array()?.iter().find(|row| row["id"] == id.as_str())?.clone();
        (row["phase"] == "finished").then_some(())
    });
    let summary: Value =
        serde_json::from_slice(&fs::read(daemon.path("results/sum.json")).unwrap()).unwrap();
    assert!(summary.is_object());
    assert_eq!(fs::read(daemon.path("users.sqlite")).unwrap().len(), before.len());
    // A folder that cannot be written to is reported before the first call.
    fs::remove_dir_all(daemon.path("results")).unwrap();
    daemon.write("results", "a file in its place");
    let error = start("summary_json", json!("sum.json")).error(400);
    assert!(error.contains("summary_json"), "{error}");
    daemon.stop();
}

// ---- routes ----------------------------------------------------------------------------------

/// Sends the request of a route with its usual effect.
#[track_caller]
fn request_of(row: &RouteRow, to: SocketAddr) -> (String, Option<String>) {
    let path = row.path.to_owned();
    let with = |body: Value| (path.clone(), Some(body.to_string()));
    match (row.method.as_str(), row.path) {
        ("GET", _) | ("POST", "/api/v1/auth/logout" | "/api/v1/live/ticket") => (path, None),
        ("POST", "/api/v1/auth/login") => {
            with(json!({ "username": "viewer", "password": PASSWORD }))
        }
        ("PUT", "/api/v1/scenario") | ("POST", "/api/v1/scenario/apply") => {
            (path, Some(answering("Hello")))
        }
        ("POST", "/api/v1/control") => with(json!({ "paused": false })),
        ("POST", "/api/v1/transports") => with(json!({ "index": 0, "enabled": true })),
        ("POST", "/api/v1/clients") => {
            let mut client = one_call(to);
            client["id"] = json!("made");
            with(client)
        }
        ("DELETE", "/api/v1/clients") => ("/api/v1/clients?id=made".to_owned(), None),
        other => panic!("{other:?} is a new route: say here what asks for it"),
    }
}

#[test]
fn each_role_does_what_the_table_says_and_no_more() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|_| {});
    let mut rows = api::route_rows();
    // A client is made before it is deleted, and signing out ends the token.
    rows.sort_by_key(|row| (row.path.ends_with("/logout"), row.method == "DELETE"));
    let rank = |permission: Option<Permission>| match permission {
        None => 0,
        Some(Permission::View) => 1,
        Some(Permission::Operate) => 2,
        Some(Permission::Administer) => 3,
    };
    for (role, own_rank) in [("stranger", 0), ("viewer", 1), ("operator", 2), (ADMIN, 3)] {
        let client = match own_rank {
            0 => daemon.client(),
            _ => sign_in(&daemon, role),
        };
        for row in &rows {
            let (path, body) = request_of(row, address);
            let ask = || {
                let body = body.as_deref().map(|body| (row.media_type.unwrap_or(""), body));
                let reply = client.request(&row.method, &path, body);
                // Workers take up one scenario after the other.
                (reply.status != 409).then_some(reply)
            };
            let reply = until("answer that is no conflict", ask);
            let expected = match (own_rank >= rank(row.permission), row.path) {
                (false, _) if own_rank == 0 => 401,
                (false, _) => 403,
                // It would be a WebSocket.
                (true, "/api/v1/live") => 426,
                (true, _) => row.success,
            };
            assert_eq!(reply.status, expected, "{} {path} as {role}: {reply:?}", row.method);
        }
    }
    let deeds = audit(&daemon);
    let deeds = deeds.iter().filter(|(_, action, _)| !action.starts_with("auth."));
    let by: BTreeSet<&str> = deeds.map(|(name, ..)| name.as_str()).collect();
    assert!(by.contains("operator") && !by.contains("viewer") && !by.contains(""), "{by:?}");
    daemon.stop();
}

// ---- deeds -----------------------------------------------------------------------------------

/// The audit log, oldest first: user, action, and payload.
fn audit(daemon: &Daemon) -> Vec<(String, String, Value)> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let path = daemon.path("users.sqlite");
    let database = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let mut rows = database
        .prepare("SELECT username, action, payload_json FROM audit_log ORDER BY id")
        .unwrap();
    let rows = rows.query_map((), |row| {
        let payload: String = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, serde_json::from_str(&payload).unwrap()))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The last row of an action.
#[track_caller]
fn last_row(daemon: &Daemon, action: &str) -> Value {
    let rows = audit(daemon);
    let row = rows.into_iter().rev().find(|(_, of_row, _)| of_row == action);
    row.unwrap_or_else(|| panic!("no row of {action}")).2
}

#[test]
fn a_deed_has_its_row_even_if_nobody_waits_for_the_answer() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|_| {});
    let operator = sign_in(&daemon, "operator");
    let mut client = one_call(address);
    client["total_calls"] = json!(0);
    client["rate"] = json!(0);
    let body = client.to_string();
    for number in 0..16 {
        let mut stream = operator.connect();
        let head = operator.head("POST", &format!("/api/v1/clients?id=gone{number}"));
        let length = body.len();
        let rest = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{rest}{body}").as_bytes()).unwrap();
        // Each hangs up a little later than the one before.
        std::thread::sleep(std::time::Duration::from_micros(200 * number));
    }
    // Changes are written one after the other, and this one waits for all before it.
    let told = || -> Option<BTreeSet<String>> {
        let rows = audit(&daemon);
        let rows = rows.iter().filter(|(_, action, _)| action == "client.create");
        let rows: Vec<&Value> = rows.map(|(.., payload)| payload).collect();
        let is_done = |row: &&Value| row["outcome"] == "done";
        rows.iter()
            .all(is_done)
            .then(|| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect())
    };
    until("row of each client", || {
        let running = operator.get("/api/v1/clients").json();
        let running: BTreeSet<String> = running["dynamic"]
            .as_array()?
            .iter()
            .filter_map(|id| Some(id.as_str()?.to_owned()))
            .collect();
        (!running.is_empty() && told()? == running).then_some(())
    });
    daemon.stop();
}

#[test]
fn rows_tell_what_was_changed_and_without_a_row_nothing_is() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|_| {});
    let operator = sign_in(&daemon, "operator");
    let mut client = one_call(address);
    client["id"] = json!("c");
    client["total_calls"] = json!(0);
    client["rate"] = json!(1);
    client["auth_password"] = json!("very-secret");
    operator.post("/api/v1/clients", &client).expect(201);
    let row = last_row(&daemon, "client.create");
    assert_eq!((&row["remote_addr"], &row["rate"]), (&json!(address.to_string()), &json!(1.0)));
    assert_eq!((&row["scenario"]["name"], &row["outcome"]), (&json!("uac"), &json!("done")));
    assert!(!row.to_string().contains("very-secret"), "{row}");

    operator.post("/api/v1/control", &json!({ "id": "c", "rate": 7 })).expect(200);
    let row = last_row(&daemon, "control.set");
    assert_eq!(row, json!({ "rate": { "from": { "c": 1.0 }, "to": 7.0 }, "outcome": "done" }));
    operator.post("/api/v1/transports", &json!({ "index": 0, "enabled": false })).expect(200);
    let change = last_row(&daemon, "transports.set")["changes"][0].clone();
    let expected = json!({
        "listener": 0, "address": format!("u1 {address}"), "from": true, "to": false
    });
    assert_eq!(change, expected);
    // Many switches of one listener are its last one: they fill no row.
    let mut switches = vec![json!({ "index": 0, "enabled": false }); 300];
    switches.push(json!({ "index": 0, "enabled": true }));
    operator.post("/api/v1/transports", &json!({ "listeners": switches })).expect(200);
    let row = last_row(&daemon, "transports.set");
    let expected = json!({
        "listener": 0, "address": format!("u1 {address}"), "from": false, "to": true
    });
    assert_eq!(row, json!({ "changes": [expected], "outcome": "done" }));
    operator.post("/api/v1/transports", &json!({ "index": 0, "enabled": false })).expect(200);
    let text = answering("Another");
    let xml = Some(("application/xml", text.as_str()));
    operator.request("POST", "/api/v1/scenario/apply", xml).expect(200);
    let row = last_row(&daemon, "scenario.apply");
    assert_ne!(row["from"]["sha256"], row["to"]["sha256"], "{row}");
    assert_eq!(row["to"]["sha256"].as_str().unwrap().len(), 64, "{row}");
    // A deed that fails has a row, too.
    let uac = ::gossipper::scenario::builtin("uac").unwrap().text;
    operator.request("POST", "/api/v1/scenario/apply", Some(("text/xml", uac))).error(409);
    assert_eq!(last_row(&daemon, "scenario.apply")["outcome"], json!("failed"));

    // The database stays locked for longer than the daemon waits.
    let database = rusqlite::Connection::open(daemon.path("users.sqlite")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = operator.post("/api/v1/control", &json!({ "id": "c", "rate": 99 })).error(503);
    assert!(error.contains("audit log"), "{error}");
    database.execute_batch("ROLLBACK").unwrap();
    let control = operator.get("/api/v1/control").json();
    assert_eq!(control["engines"][1]["rate"], json!(7.0), "{control}");

    // A change that only ends calls is made all the same.
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit_log
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(full).unwrap();
    operator.post("/api/v1/control", &json!({ "id": "c", "rate": 0, "pause": true })).expect(200);
    operator.post("/api/v1/control", &json!({ "id": "c", "resume": true })).error(503);
    operator.post("/api/v1/control", &json!({ "id": "c", "rate": 1, "pause": true })).error(503);
    operator.post("/api/v1/transports", &json!({ "index": 0, "enabled": false })).expect(200);
    operator.post("/api/v1/transports", &json!({ "index": 0, "enabled": true })).error(503);
    database.execute_batch("DROP TRIGGER full").unwrap();
    let control = operator.get("/api/v1/control").json();
    let row = &control["engines"][1];
    assert_eq!((&row["rate"], &row["paused"]), (&json!(0.0), &json!(true)), "{control}");
    operator.post("/api/v1/control", &json!({ "id": "c", "resume": true, "rate": 7 })).expect(200);

    operator.delete("/api/v1/clients?id=c").expect(204);
    let row = last_row(&daemon, "client.delete");
    assert_eq!((&row["rate"], &row["phase"]), (&json!(7.0), &json!("running")), "{row}");
    daemon.stop();
}

#[test]
fn a_change_that_one_engine_refuses_tells_which_ones_took_it() {
    let _lock = lock::light();
    let bounded = ports::free();
    let (daemon, address) = with_users(|config| {
        let entry = json!({
            "network": "127.0.0.1", "ports": [bounded], "max_rate": 20, "max_concurrent": 10,
        });
        config["targets"] = json!([entry]);
    });
    let operator = sign_in(&daemon, "operator");
    for (id, to) in [("p1", address), ("p2", SocketAddr::from(([127, 0, 0, 1], bounded)))] {
        let mut client = one_call(to);
        client["id"] = json!(id);
        client["rate"] = json!(0);
        client["max_concurrent"] = json!(2);
        client["total_calls"] = json!(0);
        operator.post("/api/v1/clients", &client).expect(201);
    }
    operator.post("/api/v1/control", &json!({ "pause": true })).expect(200);
    let error = operator.post("/api/v1/control", &json!({ "rate": 50 })).error(403);
    assert!(error.starts_with("p2: ") && error.contains("allows 20"), "{error}");
    assert!(error.ends_with("the change was made for: p1"), "{error}");
    let row = last_row(&daemon, "control.set");
    assert_eq!((&row["outcome"], &row["done"]), (&json!("partly"), &json!(["p1"])), "{row}");
    assert!(row["not_done"]["p2"].as_str().unwrap().contains("allows 20"), "{row}");
    let control = operator.get("/api/v1/control").json();
    let rates = control["engines"].as_array().unwrap().iter();
    let rates: Vec<_> = rates.map(|row| (row["id"].clone(), row["rate"].clone())).collect();
    assert!(rates.contains(&(json!("p1"), json!(50.0))), "{rates:?}");
    assert!(rates.contains(&(json!("p2"), json!(0.0))), "{rates:?}");
    // A change that all refuse is made by none.
    operator.delete("/api/v1/clients?id=p1").expect(204);
    operator.post("/api/v1/control", &json!({ "rate": 50 })).error(403);
    assert_eq!(last_row(&daemon, "control.set")["outcome"], json!("failed"));
    daemon.stop();
}

#[test]
fn a_scenario_may_have_as_many_bytes_as_the_documents_say() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|_| {});
    let operator = sign_in(&daemon, "operator");
    let mut text = answering("Long");
    let filler = (16 << 20) - text.len() - "<!---->".len();
    text.push_str(&format!("<!--{}-->", " ".repeat(filler)));
    assert_eq!(text.len(), 16 << 20);
    // curl sends this type where it is told none.
    let form = Some(("application/x-www-form-urlencoded", text.as_str()));
    operator.request("PUT", "/api/v1/scenario?apply=1", form).expect(200);
    assert_eq!(answer(address), "Long");
    let form = Some(("application/x-www-form-urlencoded", "xml=1"));
    operator.request("PUT", "/api/v1/scenario", form).error(415);
    daemon.stop();
}

// ---- resources -------------------------------------------------------------------------------

#[test]
fn nobody_takes_more_memory_than_there_is() {
    let _lock = lock::light();
    let (mut daemon, address) = with_users(|_| {});
    // Memory that is not refused ends this daemon and not this host.
    let limit = rustix::process::Rlimit { current: Some(8 << 30), maximum: Some(8 << 30) };
    let pid = rustix::process::Pid::from_raw(daemon.process().id() as i32);
    rustix::process::prlimit(pid, rustix::process::Resource::As, limit).unwrap();
    let operator = sign_in(&daemon, "operator");
    for (key, value, named) in [
        ("users", json!(1_000_000_000_u64), "users"),
        ("max_concurrent", json!(1_000_000_000_u64), "max_concurrent"),
        ("extra_args", json!(["-workers", "256"]), "-workers"),
        ("extra_args", json!(["-max_calls", "1000000000"]), "-max_calls"),
    ] {
        let mut client = one_call(address);
        client[key] = value.clone();
        client["total_calls"] = json!(if key == "users" { 1 } else { 0 });
        let error = operator.post("/api/v1/clients", &client).error(400);
        assert!(error.contains(named) && error.contains("MiB"), "{key} {value}: {error}");
    }
    // Scenarios for a running run are judged as well: each call has its variables.
    let names: Vec<String> = (0..4096).map(|index| format!("v{index}")).collect();
    let assigned = names.iter().map(|name| format!("<assign assign_to=\"{name}\" value=\"1\"/>"));
    let assigned: String = assigned.collect();
    let assigned = format!(
        "<Reference variables=\"{}\"/><nop><action>{assigned}</action></nop>",
        names.join(",")
    );
    let wide = answering("Wide").replace("<recv", &format!("{assigned}<recv"));
    let xml = Some(("application/xml", wide.as_str()));
    for path in ["/api/v1/scenario", "/api/v1/scenario?apply=1"] {
        let error = operator.request("PUT", path, xml).error(409);
        assert!(error.contains("variables") && error.contains("MiB"), "{error}");
        assert!(error.contains("max_concurrent"), "{error}");
    }
    assert_eq!(answer(address), "Hello");
    operator.post("/api/v1/clients", &one_call(address)).expect(201);
    daemon.stop();
}

#[test]
fn many_at_once_start_no_more_clients_than_there_may_be() {
    let _lock = lock::light();
    let (daemon, address) = with_users(|config| config["max_dynamic_clients"] = json!(3));
    let operator = sign_in(&daemon, "operator");
    let client = one_call(address);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || operator.post("/api/v1/clients", &client).status;
        let asked: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let started = statuses.iter().filter(|&&status| status == 201).count();
    let refused = statuses.iter().filter(|&&status| status == 409).count();
    assert_eq!((started, refused), (3, 7), "{statuses:?}");
    daemon.stop();
}
