//! The API beside a run at a terminal: `-api_addr` without a server.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::gossipper::{self, Run};
use crate::harness::http::Client;
use crate::harness::lock;
use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::service::until;

const TOKEN: &str = "5f2b8c1e9a7d4036";

/// Starts `gossipper sipp` with an API and waits until its address is printed.
#[track_caller]
fn start(args: &[&str]) -> (Run, Client) {
    let words = ["sipp", "-i", "127.0.0.1", "-p", "0", "-nostdin", "-api_addr", "127.0.0.1:0"];
    let mut run = gossipper::start(&[&words[..], args].concat());
    run.wait_for_stderr("/\n");
    let text = run.process().stderr();
    let client = Client::new(address(&text));
    (run, client)
}

/// The API's address in the line that announces it.
#[track_caller]
fn address(text: &str) -> SocketAddr {
    let rest = text.split_once(" | API http://").map_or("", |(_, rest)| rest);
    let address = rest.split('/').next().unwrap_or("");
    address.parse().unwrap_or_else(|error| panic!("{address:?}: {error}\n{text}"))
}

fn total(client: &Client) -> u64 {
    client.get("/api/v1/stats").expect(200).json()["stats"]["total_calls"].as_u64().unwrap()
}

/// A scenario that makes calls of one OPTIONS each, which contain the version of the scenario.
fn versioned(version: u32) -> String {
    format!(
        "<scenario name=\"version {version}\"><send retrans=\"500\"><![CDATA[\n\
         OPTIONS sip:a@[remote_ip]:[remote_port] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:b@[local_ip]>;tag=[call_number]\nTo: <sip:a@[remote_ip]>\n\
         Call-ID: [call_id]\nCSeq: 1 OPTIONS\nMax-Forwards: 70\nX-Version: {version}\n\
         Content-Length: 0\n\n]]></send><recv response=\"200\"/></scenario>\n"
    )
}

/// Starts a run of [`versioned`] 1 toward `peer`; also returns its folder and its scenario file.
#[track_caller]
fn start_versioned(peer: &Peer, args: &[&str]) -> (Scratch, String, Run, Client) {
    let scratch = Scratch::new();
    scratch.write("call.xml", &versioned(1));
    let file = scratch.join("call.xml").display().to_string();
    let remote = peer.address().to_string();
    let (run, client) = start(&[&["-sf", &file], args, &[&remote]].concat());
    (scratch, file, run, client)
}

/// Answers calls of [`versioned`] until one of `version` has come.
#[track_caller]
fn answer_until(peer: &Peer, version: &str) {
    until("call of that version", || {
        let request = peer.receive_kind("OPTIONS");
        peer.answer(&request, "200 OK", "");
        (request.header("X-Version") == version).then_some(())
    });
}

#[test]
fn a_run_is_steered_and_watched_while_it_goes_on() {
    let _lock = lock::light();
    let (server, remote) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let remote = remote.to_string();
    let (run, client) = start(&["-sn", "uac", "-m", "0", "-r", "2", &remote]);
    for path in ["/api/v1/health", "/livez", "/readyz", "/", "/metrics"] {
        client.get(path).expect(200);
    }
    assert_eq!(
        client.get("/api/v1/auth/status").json(),
        json!({"auth": "none", "api_token": false})
    );
    let control = client.get("/api/v1/control").json();
    assert_eq!((&control["rate"], &control["paused"]), (&json!(2.0), &json!(false)), "{control}");
    let transports = client.get("/api/v1/transports").json();
    assert_eq!(transports["clients"][0]["remote_addr"], json!(remote), "{transports}");
    let scenario = client.get("/api/v1/scenario").json();
    let named = (&scenario["scenario_name"], &scenario["builtin"]);
    assert_eq!(named, (&json!("uac"), &json!(true)));

    let mut live = client.websocket("/api/v1/live?interval_ms=250").expect("let in");
    assert_eq!(live.frame()["stats"]["multi"], json!(false));

    client.post("/api/v1/control", &json!({ "rate": 200 })).expect(200);
    until("calls at the new rate", || (total(&client) > 200).then_some(()));
    until("frame with the rate", || {
        (live.frame()["control"]["rate"] == json!(200.0)).then_some(())
    });

    client.post("/api/v1/control", &json!({ "paused": true })).expect(200);
    let stats = |client: &Client| client.get("/api/v1/stats").json();
    assert_eq!(stats(&client)["state"]["phase"], json!("paused"));
    until("pause", || {
        let before = total(&client);
        std::thread::sleep(Duration::from_millis(1500));
        (total(&client) == before).then_some(())
    });
    let paused_at = total(&client);
    client.post("/api/v1/control", &json!({ "resume": true })).expect(200);
    until("calls after the pause", || (total(&client) > paused_at).then_some(()));

    // There are no other engines here.
    let snippet = json!({ "transport": "u1", "remote_addr": remote, "scenario_name": "uac" });
    let error = client.post("/api/v1/clients", &snippet).error(404);
    assert!(error.contains("dynamic clients are off"), "{error}");
    assert_eq!(client.get("/api/v1/clients").json()["engines"][0]["id"], json!("primary"));

    // The signals of a run work as without an API.
    run.signal(Signal::USR1);
    let over = run.finish().expect_code(0);
    let summary = over.summary();
    summary.expect_to_add_up();
    assert_eq!(summary.failed(), 0);
    assert!(summary.total() > 200, "{:#}", summary.0);
    let target = summary.0["target_calls_per_second"].as_f64().unwrap();
    assert!(target > 10.0, "{target}");
    drop(server);
}

#[test]
fn a_run_ends_with_its_calls_and_lets_go_of_who_looks_on() {
    let _lock = lock::light();
    let peer = Peer::new();
    let (_scratch, _, run, client) = start_versioned(&peer, &["-m", "3", "-r", "10"]);
    let mut live = client.websocket("/api/v1/live").expect("let in");
    live.frame();
    let idle = client.connect();
    for _ in 0..3 {
        let request = peer.receive_kind("OPTIONS");
        peer.answer(&request, "200 OK", "");
    }
    assert_eq!(live.close_code(), 1001);
    let over = run.finish().expect_code(0);
    over.summary().expect_all_succeeded(3);
    drop(idle);
}

#[test]
fn a_token_is_asked_for() {
    let _lock = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let (run, client) = start(&["-sn", "uac", "-r", "1", "-api_token", TOKEN, &remote]);
    client.get("/api/v1/stats").error(401);
    client.post("/api/v1/control", &json!({ "rate": 5 })).error(401);
    client.bearer("5f2b8c1e9a7d4037").get("/api/v1/stats").error(401);
    let Err(refusal) = client.websocket("/api/v1/live") else { panic!("let in") };
    refusal.error(401);
    let known = client.bearer(TOKEN);
    known.get("/api/v1/stats").expect(200);
    known.post("/api/v1/control", &json!({ "rate": 5 })).expect(200);
    let live = client.websocket(&format!("/api/v1/live?token={TOKEN}"));
    assert_eq!(live.expect("let in").frame()["control"]["rate"], json!(5.0));
    run.signal(Signal::TERM);
    let over = run.finish();
    assert!(!over.finished.stderr.contains(TOKEN) && !over.finished.stdout.contains(TOKEN));
}

#[test]
fn a_scenario_is_swapped_for_new_calls() {
    let _lock = lock::light();
    let peer = Peer::new();
    let (_scratch, file, run, client) = start_versioned(&peer, &["-m", "0", "-r", "20"]);
    answer_until(&peer, "1");
    let broken = versioned(2).replace("recv response", "recv respond");
    let xml = Some(("application/xml", broken.as_str()));
    let error = client.request("PUT", "/api/v1/scenario?apply=1", xml).error(400);
    assert!(error.contains("respond"), "{error}");
    // The answer comes once all workers follow it; meanwhile calls arrive.
    let text = versioned(2);
    let swapping = {
        let (client, text) = (client.clone(), text.clone());
        std::thread::spawn(move || {
            let xml = Some(("application/xml", text.as_str()));
            client.request("PUT", "/api/v1/scenario?apply=1", xml)
        })
    };
    answer_until(&peer, "2");
    assert_eq!(swapping.join().unwrap().expect(200).json()["applied"], json!(true));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(client.get("/api/v1/scenario").json()["xml"], json!(text));
    // And once more, without the file.
    let text = versioned(3);
    until("another change", || {
        let xml = Some(("application/xml", text.as_str()));
        let reply = client.request("POST", "/api/v1/scenario/apply", xml);
        (reply.status != 409).then(|| reply.expect(200))
    });
    answer_until(&peer, "3");
    run.signal(Signal::TERM);
    let over = run.finish();
    over.summary().expect_to_add_up();
    assert!(over.finished.stdout.contains("OPTIONS"), "{}", over.finished.stdout);
}

#[test]
fn what_a_client_wrote_stays_the_clients_in_later_runs_of_the_file() {
    let _lock = lock::light();
    let peer = Peer::new();
    let (scratch, file, run, client) = start_versioned(&peer, &["-m", "0", "-r", "20"]);
    let ran = scratch.join("ran");
    let turning = versioned(2).replace(
        "<recv response=\"200\"/>",
        "<recv response=\"200\"><action><assignstr assign_to=\"to\" value=\"192.0.2.1\"/>\
         <setdest host=\"[$to]\" port=\"5060\" protocol=\"udp\"/></action></recv>",
    );
    let put =
        |text: &str| client.request("PUT", "/api/v1/scenario", Some(("application/xml", text)));
    put(&turning).expect(200);
    run.signal(Signal::TERM);
    run.finish();

    // Runs without and with an API judge the file as the first one did.
    let words = ["sipp", "-i", "127.0.0.1", "-p", "0", "-nostdin", "-m", "1", "-sf", &file];
    let once = |more: &[&str]| {
        let peer = Peer::new();
        let remote = peer.address().to_string();
        let run = gossipper::start(&[&words[..], more, &[&remote]].concat());
        answer_until(&peer, "2");
        run.finish()
    };
    let api = ["-api_addr", "127.0.0.1:0"];
    for more in [&[][..], &api] {
        let over = once(more).expect_code(1);
        assert_eq!(over.summary().0["failure_causes"]["blocked_target"], 1);
        let told = &over.finished.stderr;
        assert!(told.contains("remove .call.xml.sent-by-api beside it"), "{told}");
    }

    // It runs commands only if scenarios of clients may.
    let command =
        format!("<nop><action><exec command=\"mkdir {}\"/></action></nop>", ran.display());
    let commanding = versioned(2).replace("</scenario>", &format!("{command}</scenario>"));
    let remote = peer.address().to_string();
    let (run, client) = start(&["-sf", &file, "-m", "0", "-r", "1", "-allow_exec", &remote]);
    let xml = Some(("application/xml", commanding.as_str()));
    client.request("PUT", "/api/v1/scenario", xml).expect(200);
    run.signal(Signal::TERM);
    run.finish();
    for more in [&[][..], &api] {
        let told = once(more).expect_code(0).finished.stderr;
        assert!(told.contains("its shell commands are not run"), "{told}");
        assert!(!ran.exists());
    }
    once(&[&api[..], &["-allow_exec"]].concat()).expect_code(0);
    until("command", || ran.exists().then_some(()));
    std::fs::remove_dir(&ran).unwrap();
    // Without the mark it is the user's.
    std::fs::remove_file(scratch.join(".call.xml.sent-by-api")).unwrap();
    let told = once(&[]).expect_code(0).finished.stderr;
    assert!(!told.contains("a client of an API"), "{told}");
    until("command", || ran.exists().then_some(()));
}

#[test]
fn what_keeps_the_api_from_being_served_is_said_before_the_first_call() {
    let _lock = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, part) in [
        (&["-api_addr", &taken][..], 254, "another program, or another gossipper, uses it"),
        (&["-api_addr", ":0"], 255, "set api_token"),
        (&["-api_addr", "127.0.0.1:0", "-api_token", "short"], 255, "can be guessed"),
        (&["-api_token", TOKEN], 255, "-api_token needs -api_addr IP:PORT"),
        (&["-api_addr", "127.0.0.1:0", "-max_dynamic_clients", "3"], 255, "gossipper server"),
    ] {
        let line = [&["-sn", "uac", "-i", "127.0.0.1", "-p", "0", &remote], args].concat();
        let over = gossipper::run(&line).expect_code(code);
        assert!(over.finished.stderr.contains(part), "{args:?}: {}", over.finished.stderr);
        assert!(over.summary.is_none(), "{args:?}");
    }
    assert!(peer.receive_within(Duration::from_millis(200)).is_none());
}

#[test]
fn the_files_of_a_run_are_in_no_message_and_under_no_result() {
    let _lock = lock::light();
    let peer = Peer::new();
    let scratch = Scratch::new();
    scratch.write("call.xml", &versioned(1));
    scratch.write("notes.txt", "X-Notes: 1");
    let mut profile = json!({
        "role": "load", "scenario_file": "call.xml", "transport": "u1", "local_ip": "127.0.0.1",
        "remote_addr": peer.address().to_string(), "rate": 3, "total_calls": 0,
        "api_addr": "127.0.0.1:0", "api_token": TOKEN,
        "extra_args": ["-trace_logs", "-log_file", "calls.log"],
    });
    let write = |profile: &Value| {
        scratch.write("p.json", &json!({ "aliases": { "smoke": profile } }).to_string())
    };
    let file = write(&profile);
    std::os::unix::fs::symlink(&file, scratch.join("link.txt")).unwrap();
    let line = ["-config", &file, "-run-alias", "smoke", "-nostdin"];
    let mut run = gossipper::start(&line);
    let address = run.process().wait_for_stdout("API", |text| {
        text.split_once(" | API http://").filter(|(_, rest)| rest.contains("/\n"))?;
        Some(address(text))
    });
    let client = Client::new(address).bearer(TOKEN);
    let send = |name: &str| {
        let header = format!("X-Version: 2\n[file name={name}]");
        let text = versioned(1).replace("X-Version: 1", &header);
        client.request("PUT", "/api/v1/scenario?apply=1", Some(("application/xml", &text)))
    };
    for (name, role) in [
        ("p.json", "the configuration of this process"),
        ("link.txt", "the configuration of this process"),
        ("calls.log", "what an engine writes"),
        ("/proc/self/cmdline", "beside the scenario file"),
    ] {
        let error = send(name).error(400);
        assert!(error.contains(role), "{name}: {error}");
    }
    send("notes.txt").expect(200);
    run.signal(Signal::TERM);
    run.finish();

    // No result overwrites such a file either.
    for name in ["p.json", "call.xml"] {
        profile["extra_args"] = json!(["-trace_logs", "-log_file", name]);
        write(&profile);
        let before = std::fs::read_to_string(scratch.join(name)).unwrap();
        let over = gossipper::run(&line).expect_code(255);
        assert!(over.finished.stderr.contains("which no run may use"), "{}", over.finished.stderr);
        assert_eq!(std::fs::read_to_string(scratch.join(name)).unwrap(), before);
    }
}

#[test]
fn a_profile_of_a_load_has_the_api_that_it_names() {
    let _lock = lock::light();
    let peer = Peer::new();
    let scratch = Scratch::new();
    let mut profile = json!({
        "role": "load", "scenario_name": "uac", "transport": "u1", "local_ip": "127.0.0.1",
        "remote_addr": peer.address().to_string(), "rate": 3, "total_calls": 0,
        "api_addr": "127.0.0.1:0", "api_token": TOKEN,
    });
    let write = |profile: &Value| {
        scratch.write("p.json", &json!({ "aliases": { "smoke": profile } }).to_string());
    };
    write(&profile);
    let file = scratch.join("p.json").display().to_string();
    let line = ["-config", &file, "-run-alias", "smoke", "-nostdin"];
    let mut run = gossipper::start(&line);
    let address = run.process().wait_for_stdout("API", |text| {
        text.split_once(" | API http://").filter(|(_, rest)| rest.contains("/\n"))?;
        Some(address(text))
    });
    let client = Client::new(address);
    client.get("/api/v1/control").error(401);
    assert_eq!(client.bearer(TOKEN).get("/api/v1/control").json()["rate"], json!(3.0));
    run.signal(Signal::TERM);
    run.finish();

    // Users need a server: an open API in their place would be worst.
    profile["auth"] = json!({ "type": "internal", "sqlite_path": "users.db" });
    write(&profile);
    let over = gossipper::run(&line).expect_code(255);
    assert!(over.finished.stderr.contains("auth"), "{}", over.finished.stderr);
    assert!(over.finished.stderr.contains("as a server"), "{}", over.finished.stderr);
    // A list that bounds clients of a server bounds nothing here, with an API or without.
    profile.as_object_mut().unwrap().remove("auth");
    for has_api in [true, false] {
        if !has_api {
            let keys = profile.as_object_mut().unwrap();
            keys.retain(|key, _| !key.starts_with("api_"));
        }
        profile["targets"] = json!([{ "network": "127.0.0.1", "max_rate": 1 }]);
        write(&profile);
        let stderr = gossipper::run(&line).expect_code(255).finished.stderr;
        assert!(stderr.contains("aliases.smoke.targets: a run calls only remote_addr"), "{stderr}");
        assert!(stderr.contains("gossipper server -config FILE"), "{stderr}");
    }
}
