//! Steering the daemon over its API during calls, and the changes on the wire.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::http::Client;
use crate::harness::peer::{Peer, Received};
use crate::harness::service::{self as daemon, Daemon, until};
use crate::harness::{lock, ports, sipp};

/// A management profile that answers on a port of its own.
fn management(port: u16) -> Value {
    json!({
        "role": "management",
        "scenario_name": "uas",
        "transport": "u1",
        "local_ip": "127.0.0.1",
        "local_port": port,
    })
}

fn uas() -> (Daemon, SocketAddr) {
    let port = ports::free();
    let mut config = management(port);
    config["api_addr"] = json!("127.0.0.1:0");
    (daemon::start(&config), SocketAddr::from(([127, 0, 0, 1], port)))
}

/// An INVITE of a call.
fn invite(peer: &Peer, to: SocketAddr, call: &str) -> String {
    request(peer, to, call, "INVITE", 1, "")
}

fn request(
    peer: &Peer,
    to: SocketAddr,
    call: &str,
    method: &str,
    cseq: u32,
    to_tag: &str,
) -> String {
    let own = peer.address();
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:service@{to} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {own};branch=z9hG4bK-{call}-{cseq}-{method}\r\n\
         From: <sip:a@{own}>;tag=from-{call}\r\nTo: <sip:service@{to}>{tag}\r\n\
         Call-ID: {call}@test\r\nCSeq: {cseq} {method}\r\nContact: <sip:a@{own}>\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The first final answer to a request of `call`.
#[track_caller]
fn final_answer(peer: &Peer, call: &str, method: &str) -> Received {
    loop {
        let received = peer.receive();
        let is_ours = received.header("Call-ID").starts_with(&format!("{call}@"));
        let is_final = received.kind() >= "200" && received.kind() < "700";
        if is_ours && is_final && received.header("CSeq").ends_with(method) {
            return received;
        }
    }
}

fn to_tag(received: &Received) -> String {
    let to = received.header("To");
    to.split_once("tag=").map_or("", |(_, tag)| tag).to_owned()
}

#[test]
fn a_rate_is_raised_and_a_pause_is_kept_on_the_wire() {
    let _lock = lock::light();
    let target = ports::free();
    let sipp = sipp::serve(target, &["-sn", "uas", "-i", "127.0.0.1", "-fd", "1"]);
    let config = json!({
        "api_addr": "127.0.0.1:0",
        "server": management(ports::free()),
        "clients": [{
            "id": "load",
            "role": "load",
            "scenario_name": "uac",
            "transport": "u1",
            "local_ip": "127.0.0.1",
            "local_port": ports::free(),
            "remote_addr": format!("127.0.0.1:{target}"),
            "rate": 2,
            "total_calls": 0,
        }],
    });
    let daemon = daemon::start(&config);
    let client = daemon.client();
    until("call", || sipp.newest("IncomingCall(C)").filter(|&calls| calls > 0));

    let reply = client.post("/api/v1/control", &json!({ "engine_id": "load", "rate": 100 }));
    let control = reply.expect(200).json();
    assert_eq!(control["multi"], json!(true), "{control}");
    assert_eq!(control["engines"][1], json!({ "id": "load", "rate": 100.0, "paused": false }));
    until("second with many calls", || sipp.newest("IncomingCall(P)").filter(|&calls| calls >= 60));

    // All engines: those without a rate do not object to it.
    let reply = client.post("/api/v1/control", &json!({ "rate": 20, "pause": true }));
    let control = reply.expect(200).json();
    assert_eq!(control["engines"][1]["paused"], json!(true), "{control}");
    assert_eq!(control["engines"][1]["rate"], json!(20.0), "{control}");
    until("second without calls", || sipp.newest("IncomingCall(P)").filter(|&calls| calls == 0));
    let transports = client.get("/api/v1/transports").json();
    assert_eq!(transports["clients"][0]["accepting"], json!(false), "{transports}");

    client
        .post("/api/v1/transports", &json!({ "clients": [{ "id": "load", "accepting": true }] }))
        .expect(200);
    until("second with calls", || sipp.newest("IncomingCall(P)").filter(|&calls| calls >= 10));
    let stats = client.get("/api/v1/stats").json();
    assert_eq!(stats["engines"][1]["stats"]["failed_calls"], json!(0), "{stats}");
    daemon.stop();
}

#[test]
fn a_rate_that_an_engine_was_too_late_for_is_not_set() {
    let _lock = lock::light();
    let target = Peer::new();
    let daemon = daemon::start(&json!({
        "api_addr": "127.0.0.1:0",
        "server": management(ports::free()),
        "clients": [{
            "id": "late",
            "role": "load",
            "scenario_name": "options",
            "local_ip": "127.0.0.1",
            "remote_addr": target.address().to_string(),
            "rate": 5,
            "total_calls": 0,
            // Longer than a requester waits.
            "extra_args": ["-sleep", "8"],
        }],
    }));
    let client = daemon.client();
    let reply = client.post("/api/v1/control", &json!({ "rate": 50 }));
    assert!(reply.error(503).contains("starting"));
    let reply = client.post("/api/v1/control", &json!({ "engine_id": "late", "rate": 50 }));
    assert!(reply.error(503).contains("did not answer in time"));
    for _ in 0..3 {
        target.receive_kind("OPTIONS");
    }
    let control = client.get("/api/v1/control").json();
    assert_eq!(control["engines"][1]["rate"], json!(5.0), "{control}");
    daemon.stop();
}

/// A scenario that answers calls; each answer contains the version of the scenario.
fn versioned(version: u32) -> String {
    let answer = |body: &str| {
        format!(
            "<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n\
             [last_Call-ID:]\n[last_CSeq:]\nX-Version: {version}\n{body}\
             Content-Length: 0\n\n]]></send>"
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"version {version}\">\
         <recv request=\"INVITE\"/>{}<recv request=\"ACK\"/><recv request=\"BYE\"/>{}</scenario>\n",
        answer("Contact: <sip:[local_ip]:[local_port]>\n"),
        answer(""),
    )
}

#[test]
fn a_scenario_is_swapped_for_new_calls_only() {
    let _lock = lock::light();
    let port = ports::free();
    let mut config = management(port);
    config["api_addr"] = json!("127.0.0.1:0");
    config["scenario_name"] = Value::Null;
    config.as_object_mut().unwrap().remove("scenario_name");
    config["scenario_file"] = json!("answer.xml");
    let daemon = daemon::prepare(&config).file("answer.xml", &versioned(1)).start();
    let client = daemon.client();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let peer = Peer::new();

    peer.send(address, invite(&peer, address, "old"));
    let old = final_answer(&peer, "old", "INVITE");
    assert_eq!(old.header("X-Version"), "1");
    peer.send(address, request(&peer, address, "old", "ACK", 1, &to_tag(&old)));

    // A mistake changes nothing, and is reported with its place.
    let broken = versioned(2).replace("<recv request=\"ACK\"/>", "\n  <recv requests=\"ACK\"/>");
    let xml = Some(("application/xml", broken.as_str()));
    let error = client.request("PUT", "/api/v1/scenario?apply=1", xml).error(400);
    assert!(error.contains("requests") && error.starts_with("scenario:"), "{error}");
    let place = error.split(": ").next().unwrap();
    assert_eq!(place.matches(':').count(), 2, "line and column: {error}");
    let applied = client.request("POST", "/api/v1/scenario/apply", xml).error(400);
    assert_eq!(applied, error);
    let file = std::fs::read_to_string(daemon.path("answer.xml")).unwrap();
    assert_eq!(file, versioned(1));
    // Paths are never shown: neither that of a file that is read again nor one from a client.
    daemon.write("answer.xml", &broken);
    daemon.write("scenarios/answer.xml", &broken);
    let reread = client.request("POST", "/api/v1/scenario/apply", None).error(400);
    assert_eq!(reread, error);
    let snippet = |file: &str| {
        json!({
            "role": "load",
            "scenario_file": file,
            "remote_addr": format!("127.0.0.1:{}", ports::free()),
            "total_calls": 1,
        })
    };
    let folder = daemon.path("").display().to_string();
    let refused = client.post("/api/v1/clients", &snippet("answer.xml")).error(400);
    assert!(refused.contains(&error.replace("\n  hint: ", "; ")), "{refused}");
    assert!(!refused.contains(&folder), "{refused}");
    let refused = client.post("/api/v1/clients", &snippet("missing.xml")).error(400);
    assert!(refused.contains("scenarios/missing.xml") && !refused.contains(&folder), "{refused}");
    std::fs::remove_file(daemon.path("answer.xml")).unwrap();
    let unread = client.request("POST", "/api/v1/scenario/apply", None).error(400);
    assert!(
        unread.starts_with("cannot read the scenario") && !unread.contains(&folder),
        "{unread}"
    );
    daemon.write("answer.xml", &versioned(1));

    let text = versioned(2);
    let xml = Some(("application/xml", text.as_str()));
    let written = client.request("PUT", "/api/v1/scenario?apply=1", xml).expect(200).json();
    assert_eq!(written["applied"], json!(true));
    assert!(written["written"].as_str().unwrap().ends_with("answer.xml"), "{written}");
    assert_eq!(std::fs::read_to_string(daemon.path("answer.xml")).unwrap(), text);
    let shown = client.get("/api/v1/scenario").json();
    assert_eq!((&shown["xml"], &shown["builtin"]), (&json!(text), &json!(false)));

    let mut number = 0;
    until("call of the new scenario", || {
        number += 1;
        let call = format!("new{number}");
        peer.send(address, invite(&peer, address, &call));
        let answer = final_answer(&peer, &call, "INVITE");
        peer.send(address, request(&peer, address, &call, "ACK", 1, &to_tag(&answer)));
        (answer.header("X-Version") == "2").then_some(())
    });
    // The open call is of the old one to its end.
    peer.send(address, request(&peer, address, "old", "BYE", 2, &to_tag(&old)));
    assert_eq!(final_answer(&peer, "old", "BYE").header("X-Version"), "1");

    // The reverse order: first the file, then its use.
    let text = versioned(3);
    let xml = Some(("text/xml", text.as_str()));
    let written = client.request("PUT", "/api/v1/scenario", xml).expect(200).json();
    assert_eq!(written["applied"], json!(false));
    until("reload", || {
        // An earlier change may be under way for a second.
        let reply = client.request("POST", "/api/v1/scenario/apply", None);
        if reply.status == 409 {
            return None;
        }
        assert_eq!(reply.expect(200).json(), json!({ "applied": true }));
        Some(())
    });
    assert_eq!(client.get("/api/v1/scenario").json()["xml"], json!(text));
    daemon.stop();
}

#[test]
fn a_client_scenario_cannot_take_the_place_of_a_server_one() {
    let _lock = lock::light();
    let (daemon, _) = uas();
    let client = daemon.client();
    let uac = ::gossipper::scenario::builtin("uac").unwrap().text;
    let xml = Some(("application/xml", uac));
    client.request("POST", "/api/v1/scenario/apply", xml).error(409);
    // There is no file behind a built-in one.
    let error = client.request("PUT", "/api/v1/scenario", xml).error(400);
    assert!(error.contains("built-in"), "{error}");
    let shown = client.get("/api/v1/scenario").json();
    let expected =
        json!({ "scenario_file": "", "scenario_name": "uas", "xml": "", "builtin": true });
    assert_eq!(shown, expected);
    daemon.stop();
}

#[test]
fn a_scenario_has_the_name_of_the_configuration_until_another_takes_its_place() {
    let _lock = lock::light();
    let (daemon, _) = uas();
    let client = daemon.client();
    let names = || {
        let stats = client.get("/api/v1/stats").json();
        let transports = client.get("/api/v1/transports").json();
        let scenario = client.get("/api/v1/scenario").json();
        [
            stats["state"]["scenario_name"].clone(),
            transports["listeners"][0]["scenario_name"].clone(),
            scenario["scenario_name"].clone(),
        ]
    };
    assert_eq!(names(), ["uas", "uas", "uas"]);
    // A scenario that was sent only has the name inside it, and its text is shown.
    let text = versioned(7);
    let title = text.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"'));
    let title = title.expect("the scenario has a name").0;
    let xml = Some(("application/xml", text.as_str()));
    client.request("POST", "/api/v1/scenario/apply", xml).expect(200);
    assert_eq!(names(), [title, title, title]);
    let shown = client.get("/api/v1/scenario").json();
    assert_eq!((&shown["builtin"], &shown["xml"]), (&json!(false), &json!(text)), "{shown}");
    daemon.stop();
}

/// Answers calls, with an action at a request.
fn acting(method: &str, action: &str) -> String {
    let plain = format!("<recv request=\"{method}\"/>");
    let acting = format!("<recv request=\"{method}\"><action>{action}</action></recv>");
    versioned(1).replacen(&plain, &acting, 1)
}

#[test]
fn a_scenario_that_stops_the_engine_does_not_stop_it_for_good() {
    let _lock = lock::light();
    let (daemon, address) = uas();
    let client = daemon.client();
    let apply = |text: &str| {
        let xml = Some(("application/xml", text));
        client.request("POST", "/api/v1/scenario/apply", xml).expect(200)
    };
    let phase = || client.get("/api/v1/stats").json()["state"]["phase"].clone();
    let peer = Peer::new();
    let stop = |call: &str| {
        apply(&acting("INVITE", "<exec int_cmd=\"stop_now\"/>"));
        peer.send(address, invite(&peer, address, call));
        until("end of the engine", || (phase() == "finished").then_some(()));
    };
    stop("one");
    let resume = json!({ "engine_id": "primary", "resume": true });
    client.post("/api/v1/control", &resume).expect(200);
    assert_eq!(phase(), "running");
    // It follows the configuration again, and its figures begin anew.
    assert_eq!(client.get("/api/v1/scenario").json()["scenario_name"], "uas");
    assert_eq!(client.get("/api/v1/stats").json()["stats"]["total_calls"], 0);
    peer.send(address, invite(&peer, address, "two"));
    final_answer(&peer, "two", "INVITE");

    // Another scenario starts it, too, and the run begins with that one.
    stop("three");
    apply(&versioned(3));
    assert_eq!(phase(), "running");
    peer.send(address, invite(&peer, address, "four"));
    assert_eq!(final_answer(&peer, "four", "INVITE").header("X-Version"), "3");
    client.post("/api/v1/control", &resume).expect(200);
    daemon.signal(rustix::process::Signal::TERM);
    let (finished, _) = daemon.finish();
    finished.expect_code(0);
}

#[test]
fn commands_end_with_their_permission() {
    let _lock = lock::light();
    let port = ports::free();
    let mut config = management(port);
    config["api_addr"] = json!("127.0.0.1:0");
    let mut daemon = daemon::start(&config);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = daemon.client();
    // The command lasts long, and keeps a pipe open meanwhile.
    let command = "echo x >>ran; (echo x; exec sleep 600) >pipe &amp;";
    let xml = acting("BYE", &format!("<exec command=\"{command}\"/>"));
    let pipe = daemon.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let apply = || {
        let xml = Some(("application/xml", xml.as_str()));
        client.request("POST", "/api/v1/scenario/apply", xml)
    };
    let error = apply().error(400);
    assert!(error.contains("allow_exec"), "{error}");

    // The run began without commands, and can still get some.
    let mut allow = |daemon: &mut Daemon, is_allowed: bool, told: &str| {
        config["allow_exec"] = json!(is_allowed);
        daemon.write("gossipper.json", &config.to_string());
        daemon.signal(rustix::process::Signal::HUP);
        daemon.process().wait_for_stderr(told);
    };
    allow(&mut daemon, true, "may run commands");
    until("applied scenario", || (apply().status == 200).then_some(()));
    let peer = Peer::new();
    let begin = |call: &str| {
        peer.send(address, invite(&peer, address, call));
        let tag = to_tag(&final_answer(&peer, call, "INVITE"));
        peer.send(address, request(&peer, address, call, "ACK", 1, &tag));
        tag
    };
    let end = |call: &str, tag: &str| {
        peer.send(address, request(&peer, address, call, "BYE", 2, tag));
        final_answer(&peer, call, "BYE");
    };
    let (one, two) = (begin("one"), begin("two"));
    end("one", &one);
    let ran = daemon.path("ran");
    until("command", || std::fs::read_to_string(&ran).ok().filter(|text| text == "x\n"));
    let mut pipe = std::fs::File::open(pipe).unwrap();
    let mut said = [0; 2];
    pipe.read_exact(&mut said).unwrap();

    // Open calls follow the scenario to their end, but run no more commands. Running commands are
    // killed.
    allow(&mut daemon, false, "run no more commands");
    assert_eq!(pipe.read(&mut said).unwrap(), 0, "the end of all that have the pipe");
    end("two", &two);
    let (finished, folder) = daemon.stop();
    assert!(finished.stderr.contains("1 shell commands were not run"), "{}", finished.stderr);
    assert_eq!(std::fs::read_to_string(folder.join("ran")).unwrap(), "x\n");
}

#[track_caller]
fn until_ended(client: &Client) {
    until("end of the engine", || {
        (client.get("/api/v1/stats").json()["state"]["phase"] == "finished").then_some(())
    });
}

#[test]
fn a_new_start_gives_no_permission_back() {
    let _lock = lock::light();
    let port = ports::free();
    let mut config = management(port);
    config["api_addr"] = json!("127.0.0.1:0");
    config["allow_exec"] = json!(true);
    config.as_object_mut().unwrap().remove("scenario_name");
    config["scenario_file"] = json!("answer.xml");
    let mut daemon = daemon::prepare(&config).file("answer.xml", &versioned(1)).start();
    let client = daemon.client();
    let text = acting("INVITE", "<exec command=\"echo x >>ran\"/><exec int_cmd=\"stop_now\"/>");
    let xml = Some(("application/xml", text.as_str()));
    client.request("PUT", "/api/v1/scenario?apply=1", xml).expect(200);
    config["allow_exec"] = json!(false);
    daemon.write("gossipper.json", &config.to_string());
    daemon.signal(rustix::process::Signal::HUP);
    daemon.process().wait_for_stderr("the configuration was read again");

    let peer = Peer::new();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    peer.send(address, invite(&peer, address, "one"));
    until_ended(&client);
    let error = client.request("PUT", "/api/v1/scenario", xml).error(400);
    assert!(error.contains("allow_exec"), "{error}");
    client.post("/api/v1/control", &json!({ "resume": true })).expect(200);
    peer.send(address, invite(&peer, address, "two"));
    until_ended(&client);
    daemon.write("answer.xml", &versioned(2));
    client.post("/api/v1/control", &json!({ "resume": true })).expect(200);
    // A client's commands stay forbidden after a reload that finds its text again, and a restart.
    daemon.write("answer.xml", &text);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.process().wait_for_stderr_as("the second reload", |text| {
        (text.matches("the configuration was read again").count() == 2).then_some(())
    });
    let warning =
        "answer.xml: a client of the API wrote it. allow_exec is off, so its shell commands";
    assert!(daemon.process().stderr().contains(warning));
    peer.send(address, invite(&peer, address, "reloaded"));
    until_ended(&client);
    let (_, folder) = daemon.stop();
    let prepared = daemon::again(folder);
    assert!(prepared.check().contains(warning), "{}", prepared.check());
    let mut daemon = prepared.start();
    assert_eq!(daemon.process().stderr().matches(warning).count(), 1);
    peer.send(address, invite(&peer, address, "three"));
    until_ended(&daemon.client());
    let (finished, folder) = daemon.stop();
    assert!(finished.stderr.contains("1 shell commands were not run"), "{}", finished.stderr);
    assert!(!folder.join("ran").exists());
}

#[test]
fn a_listener_that_is_off_refuses_new_calls_and_keeps_open_ones() {
    let _lock = lock::light();
    let (daemon, address) = uas();
    let client = daemon.client();
    let peer = Peer::new();
    peer.send(address, invite(&peer, address, "open"));
    let open = final_answer(&peer, "open", "INVITE");
    assert_eq!(open.kind(), "200");
    peer.send(address, request(&peer, address, "open", "ACK", 1, &to_tag(&open)));

    let reply = client.post("/api/v1/transports", &json!({ "index": 0, "enabled": false }));
    let transports = reply.expect(200).json();
    assert_eq!(transports["listeners"][0]["enabled"], json!(false), "{transports}");
    assert_eq!(transports["listeners"][0]["local_port"], json!(address.port()), "{transports}");
    peer.send(address, invite(&peer, address, "late"));
    let late = final_answer(&peer, "late", "INVITE");
    assert_eq!((late.kind(), late.header("Retry-After").is_empty()), ("503", false));
    peer.send(address, request(&peer, address, "open", "BYE", 2, &to_tag(&open)));
    assert_eq!(final_answer(&peer, "open", "BYE").kind(), "200");

    let on = json!({ "listeners": [{ "index": 0, "enabled": true }] });
    client.post("/api/v1/transports", &on).expect(200);
    peer.send(address, invite(&peer, address, "again"));
    assert_eq!(final_answer(&peer, "again", "INVITE").kind(), "200");

    let error =
        client.post("/api/v1/transports", &json!({ "index": 7, "enabled": false })).error(400);
    assert!(error.contains('7'), "{error}");
    client.post("/api/v1/transports", &json!({ "index": 0 })).error(400);
    client.post("/api/v1/transports", &json!({})).error(400);
    let unknown = json!({ "clients": [{ "id": "nobody", "accepting": true }] });
    client.post("/api/v1/transports", &unknown).error(404);
    daemon.stop();
}

#[test]
fn a_dynamic_client_is_started_watched_and_stopped() {
    let _lock = lock::light();
    let (daemon, address) = uas();
    let client = daemon.client();
    let target = ports::free();
    let sipp = sipp::serve(target, &["-sn", "uas", "-i", "127.0.0.1", "-fd", "1"]);
    let alone = client.get("/api/v1/stats").json();
    assert_eq!(alone["multi"], json!(false), "{alone}");
    assert_eq!(alone["dynamic_client_ids"], json!([]), "{alone}");

    let snippet = json!({
        "scenario_name": "uac",
        "transport": "u1",
        "local_ip": "127.0.0.1",
        "remote_addr": format!("127.0.0.1:{target}"),
        "rate": 10,
        "total_calls": 0,
    });
    let started = client.post("/api/v1/clients?id=extra", &snippet).expect(201).json();
    assert_eq!(started, json!({ "id": "extra", "started": true }));
    until("call of the dynamic client", || {
        sipp.newest("IncomingCall(C)").filter(|&calls| calls > 0)
    });
    let stats = client.get("/api/v1/stats").json();
    assert_eq!(stats["multi"], json!(true), "{stats}");
    assert_eq!(stats["dynamic_client_ids"], json!(["extra"]), "{stats}");
    let clients = client.get("/api/v1/clients").json();
    assert_eq!(clients["dynamic"], json!(["extra"]), "{clients}");
    assert_eq!(clients["engines"][0]["dynamic"], json!(true), "{clients}");
    assert_eq!(clients["engines"][0]["remote_addr"], json!(format!("127.0.0.1:{target}")));
    client.post("/api/v1/clients?id=extra", &snippet).error(409);

    // A client that comes to its end keeps its row until it is deleted.
    let mut short = snippet.clone();
    short["total_calls"] = json!(1);
    let started = client.post("/api/v1/clients", &short).expect(201).json();
    let id = started["id"].as_str().unwrap().to_owned();
    until("end of the short one", || {
        let clients = client.get("/api/v1/clients").json();
        let rows = clients["engines"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == id.as_str()).expect("it keeps its row");
        (row["phase"] == "finished").then_some(())
    });
    let path = format!("/api/v1/clients?id={id}");
    assert_eq!(client.delete(&path).expect(204).body, "");
    client.delete(&path).error(404);

    client.delete("/api/v1/clients?id=extra").expect(204);
    until("second without calls", || sipp.newest("IncomingCall(P)").filter(|&calls| calls == 0));
    let alone = client.get("/api/v1/stats").json();
    assert_eq!(alone["dynamic_client_ids"], json!([]), "{alone}");

    // Keys that a snippet may not have are named.
    for key in ["api_addr", "auth", "clients", "server", "listeners", "aliases", "api_token"] {
        let mut bad = snippet.clone();
        bad[key] = json!("x");
        let error = client.post("/api/v1/clients", &bad).error(400);
        assert!(error.contains(key), "{key}: {error}");
    }
    let error = client.post("/api/v1/clients?id=a/b", &snippet).error(400);
    assert!(error.contains("a/b"), "{error}");
    // The port of a listener is taken.
    let mut clash = snippet.clone();
    clash["local_port"] = json!(address.port());
    let reply = client.post("/api/v1/clients", &clash);
    assert!([400, 409].contains(&reply.status), "{reply:?}");
    client.delete("/api/v1/clients").error(400);
    client.delete("/api/v1/clients?id=primary").error(400);
    daemon.stop();
}

#[test]
fn no_more_than_32_dynamic_clients_run() {
    let _lock = lock::light();
    let (daemon, address) = uas();
    let client = daemon.client();
    let snippet = json!({
        "scenario_name": "uac",
        "local_ip": "127.0.0.1",
        "remote_addr": address.to_string(),
        "rate": 1,
        "total_calls": 1,
        "extra_args": ["-workers", "1"],
    });
    for number in 1..=32 {
        let started = client.post("/api/v1/clients", &snippet).expect(201).json();
        assert_eq!(started["id"], json!(format!("dyn-{number}")));
    }
    let error = client.post("/api/v1/clients", &snippet).error(409);
    assert!(error.contains("32"), "{error}");
    client.delete("/api/v1/clients?id=dyn-7").expect(204);
    client.post("/api/v1/clients", &snippet).expect(201);
    daemon.stop();
}
