//! `targets`: the destinations that clients added over the API may call, and their limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::http::{Client, Response};
use crate::harness::lock;
use crate::harness::peer::Peer;
use crate::harness::service::{self as daemon, Daemon, management, until};

fn config(targets: Value) -> Value {
    let mut config = management();
    config["targets"] = targets;
    config
}

/// A client that starts no call by itself.
fn idle(remote: &str) -> Value {
    json!({ "scenario_name": "options", "remote_addr": remote, "rate": 0, "total_calls": 0 })
}

fn with(mut snippet: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        snippet[key] = value.clone();
    }
    snippet
}

fn reload(daemon: &mut Daemon, config: &Value) {
    daemon.write("gossipper.json", &config.to_string());
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("was read again");
}

fn xml_to(client: &Client, method: &str, path: &str, xml: &str) -> Response {
    client.request(method, path, Some(("application/xml", xml)))
}

fn refusals(client: &Client, reason: &str) -> u64 {
    let text = client.get("/metrics").expect(200).body;
    let start = format!("gossipper_target_refusals_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start}")).parse().unwrap()
}

#[test]
fn a_client_calls_own_networks_and_a_refusal_gives_the_entry_to_add() {
    let _lock = lock::light();
    let config = config(json!([]));
    let mut daemon = daemon::start(&config);
    let client = daemon.client();
    let own = idle("127.0.0.1:5999");
    let args = |words: Value| with(own.clone(), json!({ "extra_args": words }));
    for (snippet, part) in [
        (idle("192.0.2.1:5060"), "remote_addr: 192.0.2.1:5060 is a global address"),
        (idle("[2001:db8::1]:5060"), "global address"),
        (idle("169.254.169.254:5060"), "never"),
        (idle("[::ffff:169.254.169.254]:5060"), "never"),
        (idle("0.0.0.0:5060"), "never"),
        (idle("224.0.1.75:5060"), "never"),
        (idle("127.0.0.1:53"), "port 53"),
        (idle("localhost:80"), "port 80"),
        (args(json!(["-rsa", "192.0.2.1:5060"])), "192.0.2.1"),
        (args(json!(["192.0.2.2:5060"])), "192.0.2.2"),
        (with(own.clone(), json!({ "hep_addr": "192.0.2.3:9060" })), "hep_addr: 192.0.2.3"),
        (
            with(
                own.clone(),
                json!({
                    "log_otel_endpoint": "http://169.254.169.254:4318", "log_otel_proto": "http"
                }),
            ),
            "log_otel_endpoint: 169.254.169.254",
        ),
    ] {
        let error = client.post("/api/v1/clients", &snippet).error(403);
        assert!(error.contains(part), "{snippet}: {error}");
    }
    assert_eq!(refusals(&client, "no_entry"), 5);
    assert_eq!(refusals(&client, "never"), 5);
    assert_eq!(refusals(&client, "port"), 2);
    client.post("/api/v1/clients", &own).expect(201);
    let web = json!({ "transport": "w1", "scenario_name": "options", "total_calls": 0 });
    client.post("/api/v1/clients", &with(idle("127.0.0.1:80"), web)).expect(201);

    // The entry in the refusal is the one that is needed.
    let error = client.post("/api/v1/clients", &idle("127.0.0.1:53")).error(403);
    let entry: Value = serde_json::from_str(error.split_once("targets: ").unwrap().1).unwrap();
    reload(&mut daemon, &with(config, json!({ "targets": [entry] })));
    client.post("/api/v1/clients", &idle("127.0.0.1:53")).expect(201);
    daemon.stop();
}

#[test]
fn ceilings_hold_for_all_clients_together_and_an_end_is_one() {
    let _lock = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let (handle, is_over) = (peer.handle(), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let answers = thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if let Some(request) = handle.receive_within(Duration::from_millis(100)) {
                handle.answer(&request, "200 OK", "");
            }
        }
    });
    let entry = json!({
        "network": "127.0.0.1", "ports": [peer.address().port()],
        "max_rate": 20, "max_concurrent": 10, "expires": "2400-01-01T00:00:00Z",
    });
    let config = config(json!([entry]));
    let mut daemon = daemon::start(&config);
    let client = daemon.client();
    let load =
        |rate: u32, open: u32| with(idle(&remote), json!({ "rate": rate, "max_concurrent": open }));
    let refused = |snippet: &Value, part: &str| {
        let error = client.post("/api/v1/clients", snippet).error(403);
        assert!(error.contains(part), "{snippet}: {error}");
    };
    refused(&load(21, 1), "rate: 21 is too much; targets[0], for 127.0.0.1, allows 20");
    refused(&with(idle(&remote), json!({ "rate": 1 })), "max_concurrent: a limit is missing");
    refused(&with(idle(&remote), json!({ "users": 1 })), "users");
    let ramp = json!({ "extra_args": ["-rate_increase", "1"] });
    refused(&with(load(1, 1), ramp), "rate: a limit is missing");
    client.post("/api/v1/clients?id=first", &load(15, 4)).expect(201);
    refused(&load(6, 4), "Give 5 at most");
    client.post("/api/v1/clients?id=second", &load(5, 6)).expect(201);
    let rate = |id: &str, rate: u32| {
        client.post("/api/v1/control", &json!({ "engine_id": id, "rate": rate }))
    };
    let error = rate("second", 6).error(403);
    assert!(error.contains("rate: 6"), "{error}");
    rate("first", 14).expect(200);
    rate("second", 6).expect(200);
    // A deleted client holds nothing.
    client.delete("/api/v1/clients?id=first").expect(204);
    until("room", || (client.post("/api/v1/clients", &load(14, 4)).status == 201).then_some(()));
    assert!(refusals(&client, "ceiling") >= 6);

    let mut past = config.clone();
    past["targets"][0]["expires"] = json!("2020-01-01T00:00:00Z");
    reload(&mut daemon, &past);
    daemon.process().wait_for_stderr("no more calls are started");
    assert!(daemon.process().stderr().contains("targets[0].expires"));
    refused(&load(0, 1), "2020-01-01T00:00:00Z");
    let running = || {
        let clients = client.get("/api/v1/clients").json();
        let rows = clients["engines"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["accepting"] == true).count()
    };
    until("end of what runs", || (running() == 0).then_some(()));
    daemon.stop();
    is_over.store(true, Ordering::Relaxed);
    answers.join().unwrap();
}

/// A client that asks one peer and then, if it may, `host`.
fn turning(host: &str, port: &str) -> String {
    let options = "OPTIONS sip:a@[remote_ip] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:a@b>;tag=[call_number]\nTo: <sip:a@b>\nCall-ID: [call_id]\n\
         CSeq: [cseq] OPTIONS\nContent-Length: 0\n\n";
    format!(
        "<scenario><send><![CDATA[\n{options}]]></send><recv response=\"200\">\n\
         <action><ereg regexp=\".*\" search_in=\"hdr\" header=\"X-To:\" assign_to=\"1\"/>\n\
         <trim assign_to=\"1\"/>\n\
         <setdest host=\"{host}\" port=\"{port}\" protocol=\"udp\"/></action></recv>\n\
         <send><![CDATA[\n{options}]]></send></scenario>"
    )
}

#[test]
fn a_scenario_turns_no_call_to_where_it_may_not_go() {
    let _lock = lock::light();
    let daemon = daemon::start(&config(json!([])));
    let client = daemon.client();
    let (peer, other) = (Peer::new(), Peer::new());
    let port = other.address().port().to_string();
    daemon.write("scenarios/known.xml", &turning("169.254.169.254", "5060"));
    daemon.write("scenarios/told.xml", &turning("[$1]", &port));
    let start = |id: &str, file: &str| {
        let more = json!({
            "scenario_file": file, "rate": 10, "total_calls": 1, "local_ip": "127.0.0.1",
        });
        let mut snippet = with(idle(&peer.address().to_string()), more);
        snippet.as_object_mut().unwrap().remove("scenario_name");
        client.post(&format!("/api/v1/clients?id={id}"), &snippet)
    };
    let error = start("known", "known.xml").error(403);
    assert!(error.contains("setdest: 169.254.169.254:5060"), "{error}");
    // A target that only the peer names is judged when the peer names it.
    for (id, host, failed) in [("a", "127.0.0.1", 0), ("b", "192.0.2.1", 1)] {
        start(id, "told.xml").expect(201);
        peer.answer(&peer.receive(), "200 OK", &format!("X-To: {host}\r\n"));
        if failed == 0 {
            assert!(other.receive().kind() == "OPTIONS");
        }
        let stats = until("end", || {
            let stats = client.get("/api/v1/stats").json();
            let rows = stats["engines"].as_array().unwrap().clone();
            rows.into_iter().find(|row| row["id"] == id && row["state"]["phase"] == "finished")
        });
        let by_cause = &stats["stats"]["failure_causes"]["blocked_target"];
        assert_eq!(by_cause.as_u64().unwrap_or(0), failed, "{stats:#}");
    }

    // An engine of the configuration calls any target, but a scenario sent to it does not.
    let answering = |host: &str, port: &str| {
        format!(
            "<scenario><recv request=\"INVITE\"><action>\
             <setdest host=\"{host}\" port=\"{port}\" protocol=\"udp\"/>\
             </action></recv></scenario>"
        )
    };
    let apply = |xml: &str| xml_to(&client, "POST", "/api/v1/scenario/apply", xml);
    let error = apply(&answering("192.0.2.1", "5060")).error(403);
    assert!(error.contains("\"network\": \"192.0.2.1\""), "{error}");
    apply(&answering("127.0.0.1", "5060")).expect(200);
    apply(&answering("[remote_ip]", "5060")).expect(200);
    daemon.stop();
}

/// A scenario that turns each call to `host` before it answers.
fn answering_for(host: &str) -> String {
    format!(
        "<scenario><recv request=\"OPTIONS\"><action>\
         <setdest host=\"{host}\" port=\"5060\" protocol=\"udp\"/>\
         </action></recv></scenario>"
    )
}

/// Makes a call, and waits until the primary engine fails it for `cause`.
#[track_caller]
fn call_until(daemon: &Daemon, to: SocketAddr, cause: &str) {
    let peer = Peer::new();
    let own = peer.address();
    let request = format!(
        "OPTIONS sip:a@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-1\r\n\
         From: <sip:b@{own}>;tag=1\r\nTo: <sip:a@{to}>\r\nCall-ID: {own}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    peer.send(to, request);
    until(cause, || {
        let state = daemon.client().get("/api/v1/stats").json();
        let stats = state.get("stats").unwrap_or(&state["engines"][0]["stats"]);
        (stats["failure_causes"][cause] == 1).then_some(())
    });
}

#[test]
fn what_a_client_wrote_into_a_file_stays_what_a_client_sent() {
    let _lock = lock::light();
    let mut server = config(json!([{ "network": "192.0.2.1" }]));
    server.as_object_mut().unwrap().remove("scenario_name");
    server["scenario_file"] = json!("own.xml");
    let port = server["local_port"].as_u64().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    let mut own =
        json!({ "api_addr": server["api_addr"].take(), "targets": server["targets"].take() });
    for key in ["api_addr", "targets"] {
        server.as_object_mut().unwrap().remove(key);
    }
    own["server"] = server;
    // The administrator's own scenario is not judged, not even when it is read again.
    let prepared = daemon::prepare(&own).file("own.xml", &answering_for("192.0.2.3"));
    let mut daemon = prepared.start();
    let client = daemon.client();
    xml_to(&client, "PUT", "/api/v1/scenario", &answering_for("192.0.2.2")).error(403);
    daemon.write("own.xml", &answering_for("192.0.2.2"));
    let read_again =
        |daemon: &Daemon| xml_to(&daemon.client(), "POST", "/api/v1/scenario/apply", "");
    read_again(&daemon).expect(200);
    // A target that is not written out is judged in the call, and the scenario may be kept.
    xml_to(&client, "PUT", "/api/v1/scenario", &answering_for("[remote_ip]")).expect(200);
    xml_to(&client, "PUT", "/api/v1/scenario", &answering_for("192.0.2.1")).expect(200);
    read_again(&daemon).expect(200);
    // Once the entry has expired, a client that asks for the file over the API is told.
    own["targets"][0]["expires"] = json!("2020-01-01T00:00:00Z");
    let warning = "own.xml: a client of the API wrote it, and its calls to 192.0.2.1:5060 fail";
    reload(&mut daemon, &own);
    assert!(daemon.process().stderr().contains(warning), "{}", daemon.process().stderr());
    let error = read_again(&daemon).error(403);
    assert!(error.contains("allowed until 2020"), "{error}");

    // A start goes on with any such scenario: only its calls are refused.
    let (_, folder) = daemon.stop();
    let prepared = daemon::again(folder).elsewhere();
    assert!(prepared.check().contains(warning), "{}", prepared.check());
    let mut daemon = prepared.start();
    let told = daemon.process().stderr();
    assert_eq!(told.matches(warning).count(), 1, "{told}");
    assert!(told.contains("allowed until 2020-01-01T00:00:00Z (targets[0].expires)"), "{told}");
    call_until(&daemon, address, "blocked_target");

    // Another engine with the same file is no way around.
    daemon.write("other.xml", &answering_for("192.0.2.3"));
    own["server"]["scenario_file"] = json!("other.xml");
    own["clients"] = json!([{
        "id": "beside", "role": "load", "remote_addr": "127.0.0.1:5060", "scenario_name": "uac",
        "rate": 0, "total_calls": 1, "extra_args": ["-rxsf", "own.xml"],
    }]);
    let (_, folder) = daemon.stop();
    let prepared = daemon::again(folder).file("gossipper.json", &own.to_string());
    assert!(prepared.check().contains(warning), "{}", prepared.check());
    let mut daemon = prepared.start();
    // A text of the administrator's is the administrator's, wherever it turns calls.
    daemon.write("own.xml", &format!("{}<!-- mine -->", answering_for("192.0.2.1")));
    reload(&mut daemon, &own);
    let (finished, folder) = daemon.stop();
    assert_eq!(finished.stderr.matches(warning).count(), 1, "{}", finished.stderr);
    let told = daemon::again(folder).check();
    assert!(!told.contains("a client of the API"), "{told}");
}

#[test]
fn a_name_without_an_address_keeps_no_daemon_from_starting() {
    let _lock = lock::light();
    let mut config = config(json!([]));
    config.as_object_mut().unwrap().remove("scenario_name");
    config["scenario_file"] = json!("own.xml");
    let port = config["local_port"].as_u64().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    let prepared = daemon::prepare(&config).file("own.xml", &answering_for("127.0.0.1"));
    let daemon = prepared.start();
    let text = answering_for("localhost");
    xml_to(&daemon.client(), "PUT", "/api/v1/scenario", &text).expect(200);
    // As if the name did not resolve any more: the mark counts.
    let gone = text.replace("localhost", "gone.invalid");
    let (_, folder) = daemon.stop();
    let prepared = daemon::again(folder).file("own.xml", &gone);
    let sum = Sha256::digest(&gone).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mark = json!({ "comment": "", "sha256": [sum] }).to_string();
    let daemon = prepared.file(".own.xml.sent-by-api", &mark).start();
    call_until(&daemon, address, "setdest_failed");
    daemon.stop();
}

#[test]
fn a_scenario_that_a_start_would_not_take_is_not_kept() {
    let _lock = lock::light();
    let mut config = config(json!([]));
    config.as_object_mut().unwrap().remove("scenario_name");
    (config["scenario_file"], config["transport"]) = (json!("own.xml"), json!("t1"));
    let own = answering_for("127.0.0.1")
        .replace("<setdest", "<!-- <setdest")
        .replace("/></a", "/> --></a");
    let prepared = daemon::prepare(&config).file("own.xml", &own);
    let daemon = prepared.start();
    let text = answering_for("127.0.0.1");
    let error = xml_to(&daemon.client(), "PUT", "/api/v1/scenario", &text).error(400);
    assert!(error.contains("<setdest>"), "{error}");
    // It does not keep the daemon from starting either, with a transport that came later.
    let (_, folder) = daemon.stop();
    config["transport"] = json!("u1");
    let daemon = daemon::again(folder).file("gossipper.json", &config.to_string()).start();
    xml_to(&daemon.client(), "PUT", "/api/v1/scenario", &text).expect(200);
    let (_, folder) = daemon.stop();
    config["transport"] = json!("t1");
    let mut daemon = daemon::again(folder).file("gossipper.json", &config.to_string()).start();
    assert!(daemon.process().stderr().contains("<setdest>"), "{}", daemon.process().stderr());
    daemon.stop();
}
