//! Calls with SIPp as the peer, in both directions and over both address families.

use crate::harness::{gossipper, lock, ports, sipp};

/// Ten seconds of load.
const CALLS: u64 = 10_000;
const LOAD: &[&str] = &["-m", "10000", "-r", "1000"];

fn calls_to_sipp(ip: &str, remote: &str) {
    let _turn = lock::heavy();
    let port = ports::free();
    let calls = CALLS.to_string();
    let server = sipp::serve(port, &["-sn", "uas", "-i", ip, "-m", &calls]);
    let remote = format!("{remote}:{port}");
    let client = gossipper::run(&[&["-sn", "uac", "-i", ip, &remote], LOAD].concat());
    client.expect_code(0).summary().expect_all_succeeded(CALLS);
    server.finish().expect_all_succeeded(CALLS);
}

fn calls_from_sipp(ip: &str) {
    let _turn = lock::heavy();
    let calls = CALLS.to_string();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", ip, "-m", &calls]);
    let (remote, port) = (address.to_string(), ports::free().to_string());
    let line = [&["-sn", "uac", "-i", ip, "-p", &port, &remote], LOAD].concat();
    sipp::start(&line).finish().expect_all_succeeded(CALLS);
    let server = server.finish().expect_code(0);
    server.summary().expect_all_succeeded(CALLS);
    assert_eq!(server.summary().counter("out_of_call_messages"), 0);
}

#[test]
fn a_thousand_calls_per_second_to_sipp_over_ipv4() {
    calls_to_sipp("127.0.0.1", "127.0.0.1");
}

#[test]
fn a_thousand_calls_per_second_to_sipp_over_ipv6() {
    calls_to_sipp("::1", "[::1]");
}

#[test]
fn a_thousand_calls_per_second_from_sipp_over_ipv4() {
    calls_from_sipp("127.0.0.1");
}

#[test]
fn a_thousand_calls_per_second_from_sipp_over_ipv6() {
    calls_from_sipp("::1");
}

/// The same two files on both sides, each program once as the caller.
fn scenario_pair(name: &str) {
    let _turn = lock::light();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios");
    let [uac, uas] = ["uac", "uas"].map(|side| format!("{folder}/{name}_{side}.xml"));
    let load = ["-m", "200", "-r", "100", "-i", "127.0.0.1"];

    let port = ports::free();
    let server = sipp::serve(port, &["-sf", &uas, "-m", "200", "-i", "127.0.0.1"]);
    let remote = format!("127.0.0.1:{port}");
    let client = gossipper::run(&[&["-sf", &uac, "-p", "0", &remote], &load[..]].concat());
    client.expect_code(0).summary().expect_all_succeeded(200);
    server.finish().expect_all_succeeded(200);

    let (server, address) = gossipper::serve(&["-sf", &uas, "-m", "200", "-i", "127.0.0.1"]);
    let (remote, port) = (address.to_string(), ports::free().to_string());
    let client = sipp::start(&[&["-sf", &uac, "-p", &port, &remote], &load[..]].concat());
    client.finish().expect_all_succeeded(200);
    server.finish().expect_code(0).summary().expect_all_succeeded(200);
}

#[test]
fn a_routed_dialog_with_requests_inside() {
    scenario_pair("dialog");
}

#[test]
fn a_cancelled_call() {
    scenario_pair("cancel");
}
