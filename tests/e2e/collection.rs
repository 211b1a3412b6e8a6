//! A collection of scenarios, each a caller and a callee, that use the language as SIPp's
//! documentation shows it. Every pair plays three times: with SIPp as the callee, with SIPp as the
//! caller, and without SIPp. Files on both sides are the same.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{gossipper, lock, ports, sipp};

const CALLS: u64 = 20;
const LOAD: &[&str] = &["-m", "20", "-r", "100", "-i", "127.0.0.1"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/scenarios/collection")
}

/// A pair of scenarios and the arguments of its caller.
struct Pair {
    name: String,
    caller: Vec<String>,
    callee: Vec<String>,
}

fn pairs() -> Vec<Pair> {
    let files = fs::read_dir(folder()).expect("the collection is there");
    let names = files.filter_map(|file| {
        let name = file.expect("the folder can be read").file_name().into_string().ok()?;
        name.strip_suffix("_uac.xml").map(str::to_owned)
    });
    let mut pairs: Vec<Pair> = names.map(pair).collect();
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

fn pair(name: String) -> Pair {
    let path = |end: &str| folder().join(format!("{name}{end}")).display().to_string();
    let scenario = |side: &str| vec!["-sf".to_owned(), path(side)];
    let mut caller = scenario("_uac.xml");
    if Path::new(&path(".csv")).exists() {
        caller.extend(["-inf".to_owned(), path(".csv")]);
    }
    let more: &[&str] = match name.as_str() {
        "globals" => &["-set", "name", "load"],
        "lookup" => &["-infindex", "lookup.csv", "0"],
        _ => &[],
    };
    caller.extend(more.iter().map(|&word| word.to_owned()));
    let callee = scenario("_uas.xml");
    Pair { name, caller, callee }
}

fn line<'a>(own: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    own.iter().map(String::as_str).chain(more.iter().copied()).chain(LOAD.iter().copied()).collect()
}

/// Scenarios that SIPp 3.6.1 cannot play as the caller, with any callee. It never ends a call that
/// has a global receive after it, and takes a step after `_unexp.main` twice.
const NOT_CALLED_BY_SIPP: &[&str] = &["anywhere", "stray"];

/// Fails unless SIPp saw all calls succeed. It may have printed errors, as it does for timeouts
/// that lead elsewhere.
#[track_caller]
fn expect_success(over: &sipp::Over) {
    let numbers = ["SuccessfulCall", "FailedCall"].map(|name| over.number(name));
    assert_eq!(numbers, [CALLS, 0], "{}\n{}", over.finished.stdout, over.errors);
}

/// Plays every pair, and reports all that fail.
fn play(each: impl Fn(&Pair)) {
    let _turn = lock::light();
    let pairs = pairs();
    assert!(pairs.len() >= 17, "only {} pairs", pairs.len());
    let failed: Vec<&str> = pairs
        .iter()
        .filter(|pair| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(pair))).is_err()
        })
        .map(|pair| pair.name.as_str())
        .collect();
    assert!(failed.is_empty(), "do not play: {}", failed.join(", "));
}

#[test]
fn we_call_and_sipp_answers() {
    play(|pair| {
        let port = ports::free();
        let server = sipp::serve(port, &line(&pair.callee, &[]));
        let remote = format!("127.0.0.1:{port}");
        // Under SIPp's name, as users with such files would do.
        let words = [&["sipp"], &line(&pair.caller, &["-p", "0", &remote])[..]].concat();
        gossipper::run(&words).expect_code(0).summary().expect_all_succeeded(CALLS);
        expect_success(&server.finish());
    });
}

#[test]
fn sipp_calls_and_we_answer() {
    play(|pair| {
        if NOT_CALLED_BY_SIPP.contains(&pair.name.as_str()) {
            return;
        }
        let (server, address) = gossipper::serve(&line(&pair.callee, &[]));
        let (remote, port) = (address.to_string(), ports::free().to_string());
        let client = sipp::start(&line(&pair.caller, &["-p", &port, &remote]));
        expect_success(&client.finish());
        server.finish().expect_code(0).summary().expect_all_succeeded(CALLS);
    });
}

#[test]
fn we_call_and_answer() {
    play(|pair| {
        let (server, address) = gossipper::serve(&line(&pair.callee, &[]));
        let remote = address.to_string();
        let client = gossipper::run(&line(&pair.caller, &["-p", "0", &remote]));
        client.expect_code(0).summary().expect_all_succeeded(CALLS);
        server.finish().expect_code(0).summary().expect_all_succeeded(CALLS);
    });
}
