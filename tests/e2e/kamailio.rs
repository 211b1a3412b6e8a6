//! Registration with digest and calls through Kamailio, over every transport that both support.

use crate::harness::kamailio::Kamailio;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, tools};

fn scenario(name: &str) -> String {
    format!("{}/tests/e2e/scenarios/kamailio_{name}.xml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_call_to_nobody_is_refused() {
    let _turn = lock::light();
    let kamailio = Kamailio::start("MD5", "auth");
    let file = scenario("unknown");
    let remote = kamailio.sip();
    let line = ["-sf", &file, "-i", "127.0.0.1", "-m", "20", "-r", "20", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(20);
}

/// One transport of ours and of Kamailio.
struct Way {
    /// `-t`, for one connection or socket.
    mode: &'static str,
    /// The `transport` parameter of our contacts.
    parameter: &'static str,
    remote: fn(&Kamailio) -> String,
}

const UDP: Way = Way { mode: "u1", parameter: "udp", remote: Kamailio::sip };
const TCP: Way = Way { mode: "t1", parameter: "tcp", remote: Kamailio::sip };
const TLS: Way = Way { mode: "l1", parameter: "tls", remote: Kamailio::tls };

/// Registers `service` with `contact`: challenged once, and once more with the next nonce count.
#[track_caller]
fn register(kamailio: &Kamailio, way: &Way, service: &str, contact: &str, users: &str) {
    let (file, remote) = (scenario("register"), (way.remote)(kamailio));
    let contact = format!("sip:{service}@{contact};transport={}", way.parameter);
    let line = ["-sf", &file, "-t", way.mode, "-i", "127.0.0.1", "-p", "0", "-s", service];
    let rest = ["-key", "contact", &contact, "-m", users, "-r", "50", &remote];
    let count = users.parse().expect("a number");
    let over = gossipper::run(&[&line[..], &rest].concat()).expect_code(0);
    over.summary().expect_all_succeeded(count);
}

/// Calls through the proxy to our own `uas` that is registered there.
#[track_caller]
fn calls_through_the_proxy(way: &Way) {
    const CALLS: u64 = 100;
    let _turn = lock::light();
    let kamailio = Kamailio::start("MD5", "auth");
    let calls = CALLS.to_string();
    let scratch = Scratch::new();
    let [certificate, key] = tools::self_signed(&scratch, "callee");
    let tls = ["-tls_cert", &certificate, "-tls_key", &key];
    let tls = if way.mode == "l1" { &tls[..] } else { &[] };
    let line = ["-sn", "uas", "-t", way.mode, "-i", "127.0.0.1", "-m", &calls];
    let (callee, address) = gossipper::serve(&[&line[..], tls].concat());
    register(&kamailio, way, "bob", &address.to_string(), "1");
    let (file, remote) = (scenario("caller"), (way.remote)(&kamailio));
    let line = ["-sf", &file, "-t", way.mode, "-i", "127.0.0.1", "-p", "0", "-s", "bob"];
    let rest = ["-m", &calls, "-r", "50", "-d", "50", &remote];
    let caller = gossipper::run(&[&line[..], &rest].concat()).expect_code(0);
    caller.summary().expect_all_succeeded(CALLS);
    callee.finish().expect_code(0).summary().expect_all_succeeded(CALLS);
}

#[test]
fn calls_through_the_proxy_over_udp() {
    calls_through_the_proxy(&UDP);
}

#[test]
fn calls_through_the_proxy_over_tcp() {
    calls_through_the_proxy(&TCP);
}

#[test]
fn calls_through_the_proxy_over_tls() {
    calls_through_the_proxy(&TLS);
}

#[test]
fn the_registrar_takes_sha_256_and_integrity_protection() {
    let _turn = lock::light();
    for (algorithm, qop) in [("SHA-256", "auth"), ("MD5", "auth-int"), ("SHA-256", "auth-int")] {
        let kamailio = Kamailio::start(algorithm, qop);
        register(&kamailio, &UDP, "carol", "127.0.0.1:5060", "20");
        register(&kamailio, &TCP, "carol", "127.0.0.1:5060", "20");
    }
}

#[test]
fn a_wrong_password_is_refused_again() {
    let _turn = lock::light();
    let kamailio = Kamailio::start("MD5", "auth");
    let scratch = Scratch::new();
    let text = std::fs::read_to_string(scenario("register")).expect("the scenario is there");
    let file = scratch.write("wrong.xml", &text.replace("password=secret", "password=guess"));
    let remote = kamailio.sip();
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-s", "eve", "-m", "5", "-r", "50"];
    let rest = ["-key", "contact", "sip:eve@127.0.0.1:9", &remote];
    let over = gossipper::run(&[&line[..], &rest].concat()).expect_code(1);
    assert_eq!(over.summary().failed_by("unexpected_message"), 5);
}

/// Registers over one WebSocket connection and answers the calls that come back on it.
#[track_caller]
fn calls_over_a_websocket(mode: &str, remote: fn(&Kamailio) -> String) {
    let _turn = lock::light();
    let kamailio = Kamailio::start("MD5", "auth");
    let (file, remote) = (scenario("ws_phone"), remote(&kamailio));
    // The phone's own call is its registration, which it holds while others call it.
    let line = ["-sf", &file, "-rxrn", "uas", "-t", mode, "-i", "127.0.0.1", "-s", "dora"];
    let rest = ["-p", "0", "-m", "21", "-r", "1", "-users", "1", "-timeout", "60", &remote];
    let mut phone = gossipper::start(&[&line[..], &rest].concat());
    phone.wait_for_stderr("registered");
    let (file, remote) = (scenario("caller"), kamailio.sip());
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-s", "dora", "-d", "50"];
    let caller = gossipper::run(&[&line[..], &["-m", "20", "-r", "20", &remote]].concat());
    caller.expect_code(0).summary().expect_all_succeeded(20);
    let phone = phone.finish();
    let summary = phone.summary();
    assert_eq!(summary.counter("calls_incoming"), 20);
    summary.expect_all_succeeded(21);
}

#[test]
fn a_websocket_phone_registers_and_is_called() {
    calls_over_a_websocket("w1", Kamailio::ws);
}

#[test]
fn a_websocket_phone_over_tls_registers_and_is_called() {
    calls_over_a_websocket("ws1", Kamailio::tls);
}
