//! What a stranger, a viewer and an operator can do with the daemon, and what none of them can:
//! get at its files, take more of the host than it has, or change something that no row of the
//! audit log tells of.

mod e2e;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use e2e::gossipper::PROGRAM;
use e2e::http::Client;
use e2e::peer::Peer;
use e2e::service::{self as daemon, Daemon};
use e2e::{lock, ports};
use serde_json::{Value, json};

const ADMIN: &str = "admin";
const PASSWORD: &str = "correct horse battery staple";

/// A daemon as a package has it: users, first password and scenario in one directory of data.
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
    // As the first start makes it.
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
        // The same as a scenario of a client, and as its injection file.
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
    // What is meant for them is read.
    let text = answering("[file name=greeting]");
    let xml = Some(("application/xml", text.as_str()));
    operator.request("POST", "/api/v1/scenario/apply", xml).expect(200);
    assert_eq!(answer(address), "Good morning");
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
    // What another engine writes is its own, also under another name.
    start("call_records_jsonl", json!("./own.jsonl")).error(409);
    let started = start("summary_json", json!("sum.json")).expect(201).json();
    let id = started["id"].as_str().unwrap().to_owned();
    e2e::service::until("summary", || {
        let rows = operator.get("/api/v1/clients").json();
        let row = rows["engines"].as_array()?.iter().find(|row| row["id"] == id.as_str())?.clone();
        (row["phase"] == "finished").then_some(())
    });
    let summary: Value =
        serde_json::from_slice(&fs::read(daemon.path("results/sum.json")).unwrap()).unwrap();
    assert!(summary.is_object());
    assert_eq!(fs::read(daemon.path("users.sqlite")).unwrap().len(), before.len());
    // A folder that cannot be written to is told before the first call.
    fs::remove_dir_all(daemon.path("results")).unwrap();
    daemon.write("results", "a file in its place");
    let error = start("summary_json", json!("sum.json")).error(400);
    assert!(error.contains("summary_json"), "{error}");
    daemon.stop();
}

// ---- bodies ----------------------------------------------------------------------------------

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
