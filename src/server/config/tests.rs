//! Loading of texts: the resulting configurations, and the reports of mistakes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::schema::{flag_of, key_schema, profile_schema};
use super::*;
use crate::cli::{self, LowArgs};
use crate::config::{
    CallLimit, ConcurrencyLimit, Flavor, RunConfig, RunDraft, ScenarioSource, Transport,
};
use crate::control::Rate;
use crate::options::{Accept, FlagSpec, Status};
use crate::server::engines;

fn options(words: &[&str]) -> LowArgs {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    cli::read_options(&words).unwrap()
}

fn read(value: &Value) -> Result<ServerConfig, Problems> {
    parse(value.to_string().as_bytes(), None, &LowArgs::default())
}

fn good(value: Value) -> ServerConfig {
    read(&value).unwrap_or_else(|problems| panic!("{value:#}\n{problems}"))
}

fn good_with(value: Value, words: &[&str]) -> ServerConfig {
    let text = value.to_string();
    parse(text.as_bytes(), None, &options(words)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a configuration, by key.
fn bad(value: Value) -> BTreeMap<String, Problem> {
    let problems = read(&value).expect_err(&value.to_string());
    problems.list.into_iter().map(|problem| (problem.key.clone(), problem)).collect()
}

/// A load engine with one more key.
fn load_with(key: &str, value: Value) -> Value {
    let mut profile = json!({ "role": "load", "remote_addr": "192.0.2.1" });
    profile[key] = value;
    profile
}

#[test]
fn a_server_without_a_file_answers_options_on_this_machine() {
    let config = load(None, &LowArgs::default()).unwrap();
    let [engine] = config.engines.as_slice() else { panic!("{config:?}") };
    assert_eq!(engine.id, "primary");
    assert_eq!(engine.role, Role::Management);
    assert_eq!(engine.run.scenario, ScenarioSource::Builtin("management".to_owned()));
    assert_eq!(engine.run.local_port, Some(5060));
    assert_eq!(engine.run.calls_total, CallLimit::Unlimited);
    assert_eq!(config.http.unwrap().addr, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.auth, AuthConfig::None);
    assert_eq!(config.dynamic_clients_max, 32);
    assert!(!config.allow_exec);
}

#[test]
fn a_load_engine_gets_nothing_that_a_server_fills_in() {
    let config = good(load_with("rate", json!(2.5)));
    let engine = &config.engines[0];
    assert_eq!(engine.role, Role::Load);
    assert_eq!(engine.run.scenario, ScenarioSource::Builtin("uac".to_owned()));
    assert_eq!(engine.run.calls_total, CallLimit::ClientDefault);
    assert_eq!(engine.run.local_port, Some(0));
    assert_eq!(engine.run.rate, 2.5);
    assert_eq!(config.http, None);
    assert_eq!(config.dynamic_clients_max, 0);
    let unlimited = good(load_with("total_calls", json!(0)));
    assert_eq!(unlimited.engines[0].run.calls_total, CallLimit::Unlimited);
    let with_api = good(load_with("api_addr", json!("127.0.0.1:0")));
    assert_eq!(with_api.http.unwrap().addr.port(), 0);
    assert_eq!(with_api.dynamic_clients_max, 0);
}

#[test]
fn the_port_of_a_management_engine_is_5060_unless_a_free_one_is_asked_for() {
    let port = |config: ServerConfig| config.engines[0].run.local_port;
    let base = json!({ "role": "management" });
    assert_eq!(port(good(json!({ "role": "management", "local_port": 0 }))), Some(5060));
    assert_eq!(port(good_with(base.clone(), &["-p", "0"])), Some(0));
    assert_eq!(port(good(json!({ "role": "server", "extra_args": ["-p", "0"] }))), Some(0));
    let listed = good(json!({ "listeners": [{ "local_port": 0 }, { "transport": "t1" }] }));
    assert_eq!(listed.engines[0].listeners[0].local_port, Some(0));
    assert_eq!(port(listed), Some(0));
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let file = json!({
        "role": "load", "remote_addr": "192.0.2.1", "rate": 1, "max_concurrent": 10,
        "service": "file", "extra_args": ["-r", "2", "-s", "extra"],
    });
    let run = good_with(file.clone(), &["-r", "3"]).engines[0].run.clone();
    assert_eq!((run.rate, run.service.as_str()), (3.0, "extra"));
    assert_eq!(run.concurrent_max, ConcurrencyLimit::Count(10));
    // Options that exclude each other within a layer replace those of another layer.
    let run = good_with(file.clone(), &["-users", "5", "-sn", "options"]).engines[0].run.clone();
    assert_eq!((run.users, run.concurrent_max), (Some(5), ConcurrencyLimit::Pool));
    assert_eq!(run.scenario, ScenarioSource::Builtin("options".to_owned()));
    let run = good_with(file, &["192.0.2.2:5070"]).engines[0].run.clone();
    assert_eq!(run.next_hop().unwrap().to_string(), "192.0.2.2:5070");
    let process = good_with(json!({ "api_addr": "127.0.0.1:1" }), &["-api_addr", "[::1]:2"]);
    assert_eq!(process.http.unwrap().addr, "[::1]:2".parse().unwrap());
}

#[test]
fn extra_args_are_about_their_own_engine_only() {
    let config = good(json!({
        "server": { "extra_args": ["-aa"] },
        "clients": [
            { "remote_addr": "192.0.2.1", "extra_args": ["-r", "7", "-nr"] },
            { "remote_addr": "192.0.2.1" },
        ],
    }));
    let [server, first, second] = config.engines.as_slice() else { panic!("{config:?}") };
    assert_eq!((server.run.rules.auto_answer, first.run.rules.auto_answer), (true, false));
    assert_eq!((server.run.rate, first.run.rate, second.run.rate), (10.0, 7.0, 10.0));
    assert!(!first.run.rules.retransmission.enabled && second.run.rules.retransmission.enabled);
}

#[test]
fn every_key_of_a_client_arrives() {
    // The defect to avoid: keys that are lost because an option was applied over them.
    for (key, value) in [
        ("stat_period", json!("10s")),
        ("health_min_success_ratio", json!(0.5)),
        ("health_max_failed_calls", json!(3)),
        ("health_max_silent_calls", json!(-1)),
        ("health_max_unknown_calls", json!(4)),
        ("health_max_rtcp_fraction_lost", json!(0.1)),
        ("health_max_rtcp_jitter_ts", json!(160)),
        ("health_min_rtp_packets_recv", json!(1)),
        ("health_min_rtp_packets_recv_per_call", json!(1)),
        ("health_max_rtp_loss", json!(0)),
        ("health_max_rtp_jitter_ms", json!(2.5)),
        ("health_min_mos", json!(3.6)),
        ("trace_msg", json!(true)),
    ] {
        let own = good(load_with(key, value.clone())).engines[0].run.clone();
        let plain = good(load_with("id", json!("x"))).engines[0].run.clone();
        assert_ne!(own, plain, "{key}");
        let file = json!({ "server": {}, "clients": [load_with(key, value)] });
        assert_eq!(good(file).engines[1].run, own, "{key}");
    }
}

#[test]
fn authentication_can_be_switched_off() {
    let config = good(json!({ "role": "management", "auth": { "type": "none" } }));
    assert_eq!(config.auth, AuthConfig::None);
    let token = "5f2b8c1e9a7d4036";
    let config =
        good(json!({ "role": "management", "auth": { "type": "none" }, "api_token": token }));
    assert_eq!(config.auth, AuthConfig::Token(Secret::new(token.to_owned())));
    let config = good(json!({
        "role": "management", "api_token": token,
        "auth": { "type": "internal", "sqlite_path": "users.sqlite" },
    }));
    let AuthConfig::Internal { sqlite_path, jwt_secret: None } = &config.auth else {
        panic!("{:?}", config.auth)
    };
    assert!(sqlite_path.is_absolute() && sqlite_path.ends_with("users.sqlite"));
    assert!(config.notices.iter().any(|notice| notice.contains("api_token")));
}

#[test]
fn clients_have_no_part_in_the_process() {
    let config = good(json!({
        "api_addr": "127.0.0.1:9", "api_token": "5f2b8c1e9a7d4036", "allow_exec": true,
        "server": {},
        "client": { "remote_addr": "192.0.2.1", "api_token": "short", "max_dynamic_clients": 1 },
    }));
    assert_eq!(config.engines[1].role, Role::Load);
    assert_eq!(config.dynamic_clients_max, 32);
    assert!(config.allow_exec);
    assert_eq!(config.notices.iter().filter(|notice| notice.contains("no effect")).count(), 2);
    let problems = bad(json!({
        "server": {}, "clients": [{ "remote_addr": "h", "extra_args": ["-api_addr", ":1"] }],
    }));
    assert_eq!(problems["clients[0].extra_args[0]"].kind, ProblemKind::Option);
}

#[test]
fn an_open_api_is_refused_unless_that_is_said() {
    let open = json!({ "role": "management", "api_addr": ":8080" });
    assert_eq!(bad(open.clone())["api_addr"].kind, ProblemKind::OpenApi);
    let mut insecure = open.clone();
    insecure["insecure_http"] = json!(true);
    assert!(good(insecure).http.unwrap().insecure);
    let mut with_token = open;
    with_token["api_token"] = json!("5f2b8c1e9a7d4036");
    assert!(good(with_token).notices.iter().any(|notice| notice.contains("unencrypted")));
    for local in ["localhost:1", "127.9.9.9:1", "[::1]:1"] {
        good(json!({ "role": "management", "api_addr": local }));
    }
}

#[test]
fn listeners_inherit_what_they_do_not_say() {
    let config = good(json!({
        "local_ip": "127.0.0.1", "transport": "t1",
        "listeners": [
            { "transport": "u1", "local_port": 5070 }, { "local_port": 5071 }, { "local_ip": "::1" },
        ],
    }));
    let engine = &config.engines[0];
    let listeners: Vec<_> = engine
        .listeners
        .iter()
        .map(|at| (at.transport, at.local_ip.unwrap().to_string(), at.local_port.unwrap()))
        .collect();
    let own = |ip: &str| ip.to_owned();
    assert_eq!(
        listeners,
        [
            (Transport::UdpMono, own("127.0.0.1"), 5070),
            (Transport::TcpMono, own("127.0.0.1"), 5071),
            (Transport::TcpMono, own("::1"), 5070),
        ]
    );
    assert_eq!((engine.run.transport, engine.run.local_port), (Transport::UdpMono, Some(5070)));
    assert_eq!(engine.run.local_ip, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    // The command line is about the primary one.
    let config =
        good_with(json!({ "listeners": [{ "local_port": 1 }, { "local_port": 2 }] }), &["-p", "3"]);
    let ports: Vec<_> =
        config.engines[0].listeners.iter().map(|at| at.local_port.unwrap()).collect();
    assert_eq!(ports, [3, 2]);
}

#[test]
fn addresses_are_wanted_by_one_only() {
    let engine = |transport: &str, ip: &str, port: u16| json!({ "remote_addr": "192.0.2.1", "transport": transport, "local_ip": ip, "local_port": port });
    for (clients, clashes) in [
        (json!([engine("u1", "0.0.0.0", 5060)]), 1),
        (json!([engine("un", "127.0.0.1", 5060)]), 1),
        (json!([engine("t1", "0.0.0.0", 5060)]), 0),
        (json!([engine("t1", "127.0.0.1", 8080)]), 1),
        (json!([engine("u1", "0.0.0.0", 0), engine("u1", "0.0.0.0", 0)]), 0),
        (json!([engine("u1", "0.0.0.0", 7), engine("u1", "0.0.0.0", 7)]), 1),
        (json!([engine("l1", "127.0.0.1", 7), engine("w1", "127.0.0.1", 7)]), 1),
        (json!([engine("u1", "127.0.0.1", 7), engine("u1", "127.0.0.2", 7)]), 0),
    ] {
        let file = json!({ "server": { "local_ip": "0.0.0.0" }, "clients": clients });
        match read(&file) {
            Ok(_) => assert_eq!(clashes, 0, "{file}"),
            Err(problems) => {
                assert!(problems.list.iter().all(|p| p.kind == ProblemKind::Bind), "{problems}");
                assert_eq!(problems.list.len(), clashes, "{problems}");
            }
        }
    }
    let problems = bad(json!({ "listeners": [{}, { "transport": "un" }] }));
    assert!(problems["listeners[1]"].message.contains("UDP *:5060 is used by listeners[0]"));
    // A file that is named at the top holds for all engines.
    let file = json!({
        "summary_json": "one.json", "server": {},
        "clients": [{ "id": "c", "remote_addr": "192.0.2.1" }],
    });
    let problems = bad(file);
    assert!(
        problems["summary_json"].message.contains("w0 and c; give each a file of its own"),
        "{problems:?}"
    );
}

#[test]
fn ids_are_unique_and_have_a_form() {
    let client = |id: &str| json!({ "remote_addr": "192.0.2.1", "id": id });
    for (ids, wrong) in [
        (["a", "a"], Some("clients[1].id")),
        (["w0", "b"], Some("clients[0].id")),
        (["a b", "b"], Some("clients[0].id")),
        (["..", "b"], Some("clients[0].id")),
        (["primary", "b"], Some("clients[0].id")),
        (["a.B-1_", ""], None),
    ] {
        let file = json!({ "server": {}, "clients": [client(ids[0]), client(ids[1])] });
        match wrong {
            Some(key) => assert_eq!(bad(file).keys().collect::<Vec<_>>(), [key], "{ids:?}"),
            None => assert_eq!(good(file).engines[2].id, "w2"),
        }
    }
}

#[test]
fn what_the_engine_is_for_has_to_be_known_and_possible() {
    for (file, key, kind) in [
        (json!({ "rate": 1 }), "role", ProblemKind::MissingKey),
        (json!({ "role": "uas" }), "role", ProblemKind::BadValue),
        (json!({ "server": { "role": "load" } }), "server.role", ProblemKind::Contradiction),
        (json!({ "role": "load" }), "remote_addr", ProblemKind::MissingKey),
        (load_with("listeners", json!([{}])), "listeners", ProblemKind::Contradiction),
        (
            json!({ "role": "management", "scenario_name": "options" }),
            "scenario_name",
            ProblemKind::Contradiction,
        ),
        (load_with("scenario_name", json!("uax")), "scenario_name", ProblemKind::Scenario),
    ] {
        let problems = bad(file.clone());
        assert_eq!(problems.len(), 1, "{file}: {problems:?}");
        assert_eq!(
            problems.get(key).map(|problem| problem.kind),
            Some(kind),
            "{file}: {problems:?}"
        );
    }
    // A load engine may wait for calls; it calls no target then.
    good(json!({ "role": "load", "scenario_name": "uas" }));
}

/// Wrong values: one of each kind that this key does not take.
fn wrong_values(rules: &Value) -> Vec<Value> {
    let takes = |kind: &str| match &rules["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    };
    [
        ("string", json!("text")),
        ("boolean", json!(true)),
        ("number", json!(1.5)),
        ("array", json!([])),
        ("object", json!({})),
        ("null", json!(null)),
    ]
    .into_iter()
    .filter(|(kind, _)| !takes(kind))
    .map(|(_, value)| value)
    .collect()
}

#[test]
fn every_key_refuses_values_of_other_types() {
    for (key, rules) in profile_schema()["properties"].as_object().unwrap() {
        let rules = match rules["$ref"].as_str() {
            Some(name) => &schema()["$defs"][name.trim_start_matches("#/$defs/")],
            None => rules,
        };
        for value in wrong_values(rules) {
            let problems = bad(load_with(key, value.clone()));
            let problem = problems.get(key.as_str()).unwrap_or_else(|| panic!("{key}: {value}"));
            // A choice of words is wrong as a word, too.
            let is_expected = problem.kind == ProblemKind::WrongType
                || (rules["oneOf"].is_array() && problem.kind == ProblemKind::BadValue)
                || rules["x-missing"].is_string();
            assert!(is_expected, "{key}: {value}: {problem:?}");
            assert!(problem.place.is_some());
        }
    }
}

#[test]
fn every_key_has_the_range_of_its_option() {
    let mut checked = 0;
    for (key, rules) in profile_schema()["properties"].as_object().unwrap() {
        let Some(flag) = flag_of(key) else { continue };
        let Status::Supported(accept) = flag.resolved().status else { continue };
        let (below, above) = match accept {
            Accept::Count { min, max, .. } => {
                (json!(min as i128 as f64 - 1.0), json!(max as f64 * 2.0 + 1.0))
            }
            Accept::Float { min, max, .. } => (json!(min - 1.0), json!(max * 2.0)),
            Accept::CountOrOff(_) => (json!(-2), json!(2e19)),
            _ => continue,
        };
        assert!(rules["minimum"].is_number() && rules["maximum"].is_number(), "{key}: {rules}");
        for value in [below, above] {
            let problems = bad(load_with(key, value.clone()));
            assert_eq!(problems[key.as_str()].kind, ProblemKind::BadValue, "{key}: {value}");
            assert!(problems[key.as_str()].message.contains("out of range"), "{key}: {value}");
        }
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn every_option_that_a_key_names_is_in_the_table() {
    for (key, rules) in profile_schema()["properties"].as_object().unwrap() {
        if let Some(name) = rules["x-flag"].as_str() {
            assert!(flag_of(key).is_some(), "{key}: -{name}");
        }
        assert!(!rules["description"].as_str().unwrap_or_default().is_empty(), "{key}");
    }
}

#[test]
fn keys_that_wait_for_a_function_are_refused_by_name_unless_they_ask_for_nothing() {
    let mut refused = 0;
    for (key, rules) in profile_schema()["properties"].as_object().unwrap() {
        let later = flag_of(key).map(|flag| flag.resolved().status);
        if !matches!(later, Some(Status::Later(_))) && !rules["x-missing"].is_string() {
            continue;
        }
        let (asks, nothing) = match (rules["type"].as_str().unwrap(), key.as_str()) {
            (_, "legacy_api_v1") => (json!(false), json!(true)),
            ("boolean", _) => (json!(true), json!(false)),
            ("string", _) => (json!("x"), json!("")),
            ("array", _) => (json!([{ "a": 1 }]), json!([])),
            ("object", _) => (json!({ "a": 1 }), json!({})),
            _ => (json!(1), json!(0)),
        };
        let problems = bad(load_with(key, asks));
        assert_eq!(problems[key.as_str()].kind, ProblemKind::NotInThisVersion, "{key}");
        assert!(problems[key.as_str()].message.contains("is missing"), "{key}");
        good(load_with(key, nothing));
        refused += 1;
    }
    assert!(refused >= 3, "{refused}");
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    for (key, part) in [
        ("max_concurent", "did you mean \"max_concurrent\""),
        ("Rate", "did you mean \"rate\""),
        ("recv_timeout", "\"extra_args\": [\"-recv_timeout\", \"TIME\"]"),
        ("rsa", "write it as \"remote_addr\""),
        ("m", "write it as \"total_calls\""),
        ("frobnicate", "remove it"),
        ("workloads", "`clients`"),
    ] {
        let problems = bad(load_with(key, json!(1)));
        assert!(problems[key].message.contains(part), "{key}: {}", problems[key].message);
    }
    let problems = bad(json!({ "server": { "clients": [] }, "clients": [{ "aliases": {} }] }));
    assert!(problems["server.clients"].message.contains("top of the file"));
    assert!(problems["clients[0].aliases"].message.contains("top of the file"));
}

#[test]
fn remarks_are_keys_that_nobody_reads() {
    good(json!({
        "_comment": 1, "comment": [], "_comment_2": null, "$schema": "x",
        "server": { "_comment": "x", "listeners": [{ "comment": 1 }] },
    }));
}

#[test]
fn options_in_extra_args_are_read_as_on_a_command_line() {
    for (words, at, part) in [
        (json!(["-nonsense"]), "extra_args[0]", "unknown option"),
        (json!(["-aa", "-recv_timeou", "1"]), "extra_args[1]", "did you mean -recv_timeout"),
        (json!(["-pcap-link"]), "extra_args[0]", "not in this version"),
        (json!(["-rtp_send"]), "extra_args", "-rtp_send needs -rtp_addr HOST:PORT"),
        (json!(["-config-server", "x"]), "extra_args[0]", "gossipper server -config"),
        (json!(["-bg"]), "extra_args[0]", "terminal"),
        (json!(["-h"]), "extra_args[0]", "terminal"),
        (json!(["-l", "x"]), "extra_args[0]", "whole number"),
        (json!(["-recv_timeout"]), "extra_args[0]", "needs a value"),
        (json!(["-config", "x"]), "extra_args", "not allowed here"),
        (json!(["-rate_max", "1"]), "extra_args", "is below"),
        (json!([1]), "extra_args[0]", "double quotes"),
    ] {
        let problems = bad(load_with("extra_args", words.clone()));
        let problem = problems.get(at).unwrap_or_else(|| panic!("{words}: {problems:?}"));
        assert!(problem.message.contains(part), "{words}: {}", problem.message);
    }
}

#[test]
fn contradictions_are_named_by_key() {
    let problems = bad(load_with("users", json!(1))
        .as_object()
        .map(|profile| {
            let mut profile = profile.clone();
            profile.insert("max_concurrent".to_owned(), json!(1));
            Value::Object(profile)
        })
        .unwrap());
    let problem = &problems["max_concurrent"];
    assert_eq!(problem.kind, ProblemKind::Contradiction);
    assert!(problem.message.contains("users (-users)"), "{}", problem.message);
}

#[test]
fn paths_are_relative_to_the_file_in_every_key_and_option() {
    let directory = std::env::temp_dir().join(format!("gossipper-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("users.csv"), "SEQUENTIAL\na;b\n").unwrap();
    std::fs::write(directory.join("call.xml"), crate::scenario::builtin("uac").unwrap().text)
        .unwrap();
    let text = json!({
        "role": "load", "remote_addr": "192.0.2.1", "scenario_file": "call.xml",
        "injection_file": "users.csv", "summary_json": "sum.json", "call_records_jsonl": "c.jsonl",
        "log_file_jsonl": "log.jsonl", "extra_args": ["-message_file", "m.log"],
    });
    let file = directory.join("load.json");
    let config =
        parse(text.to_string().as_bytes(), Some(&file), &options(&["-error_file", "e.log"]))
            .unwrap_or_else(|problems| panic!("{problems}"));
    let run = &config.engines[0].run;
    assert_eq!(run.scenario, ScenarioSource::File(directory.join("call.xml")));
    assert_eq!(run.injection, [directory.join("users.csv")]);
    assert_eq!(run.summary_json, Some(directory.join("sum.json")));
    assert_eq!(run.export.call_records, Some(directory.join("c.jsonl")));
    assert_eq!(run.export.events.file, Some(directory.join("log.jsonl")));
    assert_eq!(run.trace.messages.path, Some(directory.join("m.log")));
    // The path of the command line is relative to the directory where the command was given.
    assert_eq!(run.trace.errors.path, Some(PathBuf::from("e.log")));

    let missing = json!({
        "role": "load", "remote_addr": "192.0.2.1", "scenario_file": "no.xml",
        "injection_file": "no.csv", "summary_json": "no/way/sum.json", "tls_cert": ".",
    });
    let problems = parse(missing.to_string().as_bytes(), Some(&file), &LowArgs::default());
    let problems = problems.unwrap_err().list;
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.kind == ProblemKind::File));
    std::fs::write(directory.join("call.xml"), "<scenario><sendd/></scenario>").unwrap();
    let problems = parse(text.to_string().as_bytes(), Some(&file), &LowArgs::default());
    let problems = problems.unwrap_err().list;
    assert_eq!((problems.len(), problems[0].kind), (1, ProblemKind::Scenario), "{problems:?}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_dump_says_the_same_as_what_it_was_made_from() {
    for (file, words) in [
        (json!({ "role": "management" }), &[][..]),
        (
            json!({
                "api_addr": ":80", "api_token": "5f2b8c1e9a7d4036", "hep_password": "p",
                "hep_addr": "192.0.2.9:9060", "log_otel_endpoint": "h:1", "trace_msg": true,
                "api_allowed_hosts": ["A"], "api_allowed_origins": ["https://a"],
                "targets": [
                    { "network": "192.0.2.0/24", "ports": [5060, "10000-20000"], "max_rate": 2.5,
                      "max_concurrent": 7, "expires": "2026-12-31T23:59:59+01:00" },
                    { "network": "2001:db8::1" },
                ],
                "trusted_proxies": ["10.0.0.0/8", "::1"],
                "server": { "listeners": [{ "local_port": 0 }, { "transport": "sl", "local_port": 9 }] },
                "clients": [
                    { "remote_addr": "h:1", "rate": 1.5, "total_calls": 0, "sip_extra_headers": ["A: b"],
                      "extra_args": ["-recv_timeout", "5s", "-log_otel_header", "k=v", "-aa"] },
                    { "remote_addr": "[::1]:2", "users": 3, "stat_period": "90s", "auth_password": "x",
                      "health_max_timeouts": 0, "transport": "cln" },
                    { "role": "load", "extra_args": ["-rtp_send", "-rtp_addr", "[::1]:6000", "-rtp_streams", "3"] },
                ],
            }),
            &["-max_calls", "10"][..],
        ),
        (load_with("api_addr", json!("localhost:1")), &["-r", "5"][..]),
    ] {
        let config = good_with(file, words);
        let dump = effective::file(&config, false);
        let again = parse(dump.to_string().as_bytes(), None, &LowArgs::default())
            .unwrap_or_else(|problems| panic!("{dump:#}\n{problems}"));
        let plain = |config: &ServerConfig| {
            let mut config = config.clone();
            config.notices.clear();
            config.engines.iter_mut().for_each(|engine| engine.run.notices.clear());
            config
        };
        assert_eq!(plain(&again), plain(&config), "{dump:#}");
        let shown = effective(&config).to_string();
        for secret in ["5f2b8c1e9a7d4036", "k=v", "\"p\"", "\"x\""] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_target_that_is_none_is_named_with_its_place() {
    let file = |entry: Value| json!({ "server": { "id": "s", "targets": [entry] } });
    let config = good(file(json!({ "network": "0.0.0.0/0", "ports": ["1-65535"] })));
    assert_eq!(config.targets.entries.len(), 1);
    for (entry, key, part) in [
        (json!({}), "network", "missing"),
        (json!({ "network": "pbx.example.org" }), "network", "host names are not accepted"),
        (json!({ "network": "192.0.2.1/24" }), "network", "write 192.0.2.0/24"),
        (json!({ "network": "169.254.0.0/16" }), "network", "link-local addresses"),
        (json!({ "network": "ff00::/8" }), "network", "multicast addresses"),
        (json!({ "network": "192.0.2.1", "ports": [0] }), "ports[0]", "1 to 65535"),
        (json!({ "network": "192.0.2.1", "ports": [1, "9-2"] }), "ports[1]", "smaller"),
        (json!({ "network": "192.0.2.1", "ports": [] }), "ports", "empty"),
        (json!({ "network": "192.0.2.1", "max_rate": -1 }), "max_rate", "out of range"),
        (json!({ "network": "192.0.2.1", "expires": "tomorrow" }), "expires", "2026-12-31T"),
        (json!({ "network": "192.0.2.1", "port": 5060 }), "port", "ports"),
    ] {
        let key = format!("server.targets[0].{key}");
        let problems = bad(file(entry.clone()));
        let problem = problems.get(&key).unwrap_or_else(|| panic!("{entry}: {problems:?}"));
        assert!(problem.message.contains(part), "{entry}: {}", problem.message);
    }
}

#[test]
fn a_snippet_is_a_client_and_nothing_else() {
    let server = good(json!({
        "role": "management", "hep_addr": "192.0.2.9:9060", "extra_args": ["-timeout", "60"],
    }));
    let read = |value: Value| snippet(value.to_string().as_bytes(), &server);
    let first = read(json!({ "id": "x", "remote_addr": "192.0.2.1", "rate": 3 })).unwrap();
    // The values that it takes over are the administrator's choice.
    assert!(!first.own_hep && !first.own_events);
    assert!(read(load_with("hep_addr", json!("192.0.2.8:9060"))).unwrap().own_hep);
    let engine = first.engine;
    assert_eq!((engine.id.as_str(), engine.role, engine.run.rate), ("x", Role::Load, 3.0));
    assert_eq!(engine.run.timeout_ms, Some(60_000));
    assert!(engine.run.export.hep.collector.is_some());
    assert!(!engine.run.commands);
    assert_eq!(read(json!({ "remote_addr": "h" })).unwrap().engine.id, "");
    let keys = keys_of_the_process();
    for key in
        ["aliases", "client", "clients", "listeners", "server", "api_addr", "auth", "targets"]
    {
        assert!(keys.contains(&key), "{key}");
    }
    for key in keys.into_iter().chain(["workloads"]) {
        let problems = read(load_with(key, json!({}))).unwrap_err();
        assert!(problems.list.iter().any(|problem| problem.key == key), "{key}: {problems}");
    }
    for (key, value) in [
        ("scenario_file", json!("/etc/passwd")),
        ("scenario_file", json!("../x.xml")),
        ("summary_json", json!("/tmp/x")),
        ("extra_args", json!(["-message_file", "/tmp/x"])),
        ("role", json!("management")),
        ("remote_addr", json!("")),
    ] {
        assert!(read(load_with(key, value.clone())).is_err(), "{key} {value}");
    }
}

#[test]
fn a_reload_tells_what_can_be_done_now() {
    let file = |rate: f64, extra: Value| {
        let mut client = json!({ "id": "c", "role": "load", "remote_addr": "192.0.2.1", "rate": rate, "total_calls": 0 });
        for (key, value) in extra.as_object().unwrap() {
            client[key] = value.clone();
        }
        json!({ "server": { "id": "s" }, "clients": [client] })
    };
    let old = good(file(1.0, json!({})));
    // The texts of scenarios are compared by the code that reads them.
    let scenario = |engine: &str, name: &str| LiveChange::Scenario {
        engine: engine.to_owned(),
        source: ScenarioSource::Builtin(name.to_owned()),
    };
    let scenarios = [scenario("s", "management"), scenario("c", "uac")];
    let compare = |old: &_, new: &_| {
        let mut plan = compare(old, new, None);
        plan.live.retain(|change| !scenarios.contains(change));
        plan
    };
    assert_eq!(compare(&old, &old), ReloadPlan::default());
    let faster = good(file(2.0, json!({})));
    let change = LiveChange::Rate { engine: "c".to_owned(), rate: Rate::per_second(2.0) };
    let plan = ReloadPlan { live: vec![change.clone()], restart: Vec::new() };
    assert_eq!(compare(&old, &faster), plan);
    for (extra, named) in [
        (json!({ "local_port": 7 }), "local_port"),
        (json!({ "transport": "t1" }), "transport"),
        (json!({ "extra_args": ["-recv_timeout", "1"] }), "extra_args"),
        (json!({ "id": "d" }), "\"d\""),
        (json!({ "users": 3 }), "users"),
    ] {
        let plan = compare(&old, &good(file(1.0, extra.clone())));
        let live: Vec<_> = plan.live.iter().filter(|change| change.engine() != Some("d")).collect();
        assert!(live.is_empty(), "{extra}: {plan:?}");
        assert!(plan.restart.iter().any(|line| line.contains(named)), "{extra}: {plan:?}");
    }
    let mut new = file(1.0, json!({ "scenario_name": "options", "total_calls": 5 }));
    new["server"] = json!({
        "id": "s", "log_level": "debug", "api_token": "5f2b8c1e9a7d4036", "allow_exec": true,
        "max_dynamic_clients": 1, "targets": [{ "network": "192.0.2.1" }],
    });
    let new = good(new);
    let plan = compare(&old, &new);
    assert!(plan.restart.is_empty(), "{plan:?}");
    assert_eq!(plan.live.len(), 7, "{plan:?}");
    assert!(plan.live.contains(&LiveChange::CallsTotal { engine: "c".to_owned(), calls: Some(5) }));

    // Applied changes are in force; the rest is reported again.
    let mut running = old.clone();
    change.settle(&mut running, &faster);
    assert_eq!(compare(&running, &faster), ReloadPlan::default());
    let plan = plan.live.into_iter().chain([scenario("c", "options")]);
    plan.for_each(|change| change.settle(&mut running, &new));
    assert_eq!(compare(&running, &faster).live.len(), 6);
}

#[test]
fn a_reload_never_opens_what_is_bound() {
    let file = |value: Value| good(value);
    let token = "5f2b8c1e9a7d4036";
    let open = file(json!({ "role": "management", "api_addr": ":80", "api_token": token }));
    let local = file(json!({ "role": "management" }));
    let bound = Some("0.0.0.0:80".parse().unwrap());
    let plan = compare(&open, &local, bound);
    let is_auth = |change: &LiveChange| matches!(change, LiveChange::Auth(_));
    assert!(!plan.live.iter().any(is_auth), "{plan:?}");
    assert!(plan.restart.iter().any(|line| line.starts_with("auth:")), "{plan:?}");
    assert!(plan.restart.iter().any(|line| line.starts_with("api_addr:")), "{plan:?}");
    // The bound address decides, whatever files said in between.
    let moved = file(json!({ "role": "management", "api_token": token }));
    let plan = compare(&moved, &local, bound);
    assert!(!plan.live.iter().any(is_auth), "{plan:?}");
    // If only this host can connect, the file decides.
    let plan = compare(&moved, &local, Some("127.0.0.1:80".parse().unwrap()));
    assert!(plan.live.iter().any(is_auth), "{plan:?}");
}

#[test]
fn a_message_names_its_key_once_and_a_body_is_no_file() {
    for (key, value, message) in [
        ("api_token", json!("x"), "has 1 characters"),
        ("transport", json!("zz"), "\"zz\" is unknown"),
    ] {
        let file = json!({ "role": "management", key: value });
        let problems = parse(file.to_string().as_bytes(), None, &LowArgs::default()).unwrap_err();
        let report = problems.to_string();
        assert!(report.contains(&format!("{key}: {message}")), "{report}");
    }
    let server = good(json!({ "role": "management" }));
    for body in [&b""[..], b"\xff"] {
        let report = snippet(body, &server).unwrap_err().to_string();
        assert!(report.contains("the body") && !report.contains("file"), "{report}");
    }
}

#[test]
fn a_body_full_of_mistakes_gets_a_short_answer() {
    let server = good(json!({ "role": "management" }));
    let refused = |body: &str| snippet(body.as_bytes(), &server).unwrap_err();
    let keys: Vec<_> = (0..90_000).map(|index| format!("\"{index:x}\":0")).collect();
    let twice = vec!["\"x\":0"; 140_000].join(",");
    let own = vec!["\"api_addr\":0"; 70_000].join(",");
    let name = "k".repeat(900_000);
    // A megabyte each, on one line: quadratic work would not come to an end here.
    for (body, told) in [
        (format!("{{\"listeners\":[{}0]}}", "[],".repeat(349_000)), 2..=100),
        (format!("{{\"sip_extra_headers\":[{}0]}}", "\"\",".repeat(349_000)), 2..=101),
        (format!("{{{}}}", keys.join(",")), 101..=101),
        (format!("{{{twice}}}"), 101..=101),
        (format!("{{{own}}}"), 101..=101),
        (format!("{{\"{name}\":0,\"role\":\"{}\"}}", &name[..90_000]), 2..=100),
    ] {
        let (head, problems) = (&body[..20], refused(&body));
        assert!(told.contains(&problems.list.len()), "{head}: {}", problems.list.len());
        let is_cut = problems.list.last().unwrap().kind == ProblemKind::TooMany;
        assert_eq!(is_cut, problems.list.len() > 100, "{head}");
        let report = problems.to_string();
        assert!(report.len() < 30_000, "{head}: {}", report.len());
    }
}

#[test]
fn reports_are_in_the_order_of_the_file() {
    let text = "{\n \"role\": \"load\",\n \"rate\": \"x\",\n \"remot_addr\": 1\n}";
    let path = Path::new("etc/x.json");
    let problems = parse(text.as_bytes(), Some(path), &LowArgs::default()).unwrap_err();
    let report = problems.to_string();
    let lines: Vec<_> = report.lines().collect();
    assert!(lines[0].starts_with("etc/x.json:1:1: remote_addr: "), "{report}");
    assert!(lines[1].starts_with("etc/x.json:3:10: rate: "), "{report}");
    assert!(lines[2].starts_with("etc/x.json:4:2: remot_addr: "), "{report}");
    let json = problems.to_json();
    assert_eq!(json[1]["line"], 3);
    assert_eq!(json[1]["kind"], "wrong_type");
    assert!(key_schema("rate").is_some());
}

/// A run with one option that names a file, and with all traces.
fn run_with_file(flag: &FlagSpec, set: fn(&mut RunDraft, PathBuf)) -> Option<RunConfig> {
    let mut draft = RunDraft::default();
    for other in crate::options::all().filter(|other| other.name.starts_with("trace_")) {
        if let Status::Supported(Accept::Switch(switch)) = other.resolved().status {
            switch(&mut draft);
        }
    }
    set(&mut draft, PathBuf::from(flag.name));
    draft.resolve(Flavor::Gossipper).ok()
}

#[test]
fn an_option_names_a_file_to_read_or_one_that_is_protected_from_other_engines() {
    let others = [
        "sf",
        "inf",
        "rxinf",
        "rxsf",
        "oocsf",
        "config",
        "slave_cfg",
        "cmd_peers",
        "tls_cert",
        "tls_key",
        "tls_ca",
        "tls_crl",
        // Folders, in which each run has names of its own.
        "record_wav_dir",
        "record_pcap_dir",
        "api_tls_cert",
        "api_tls_key",
    ];
    let is_protected = |flag: &FlagSpec, set| {
        let run = run_with_file(flag, set);
        run.is_some_and(|run| engines::files(&run).any(|file| file == Path::new(flag.name)))
    };
    let not_protected: Vec<&str> = crate::options::all()
        .filter_map(|flag| match flag.resolved().status {
            Status::Supported(Accept::Path(set)) if !is_protected(flag, set) => Some(flag.name),
            _ => None,
        })
        .collect();
    // A new option that names a file to write belongs into `engines::spec::files`.
    assert_eq!(not_protected, others);
}

#[test]
fn files_of_the_process_are_used_by_no_engine() {
    let directory = std::env::temp_dir().join(format!("gossipper-own-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("etc")).unwrap();
    std::fs::create_dir_all(directory.join("data")).unwrap();
    let directory = std::fs::canonicalize(&directory).unwrap();
    for name in ["users.csv", "data/users.db"] {
        std::fs::write(directory.join(name), "SEQUENTIAL\na;b\n").unwrap();
    }
    std::fs::hard_link(directory.join("data/users.db"), directory.join("data/other")).unwrap();
    let file = directory.join("etc/load.json");
    let read = |key: &str, value: Value| {
        let mut whole = json!({
            "auth": { "type": "internal", "sqlite_path": "../data/users.db" },
            "server": {},
            "client": { "remote_addr": "192.0.2.1", "injection_file": "../users.csv" },
        });
        whole["client"][key] = value;
        std::fs::write(&file, whole.to_string()).unwrap();
        parse(whole.to_string().as_bytes(), Some(&file), &LowArgs::default())
    };
    let config = read("rate", json!(1)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.data_dir, directory.join("data"));
    let AuthConfig::Internal { sqlite_path, .. } = &config.auth else { panic!("no users") };
    assert_eq!(*sqlite_path, directory.join("data/users.db"));
    assert_eq!(config.engines[1].run.injection, [directory.join("users.csv")]);
    for (key, value, expected) in [
        ("summary_json", json!("../data/users.db"), "client.summary_json"),
        ("summary_json", json!("../data/other"), "client.summary_json"),
        ("call_records_jsonl", json!("../data/users.db-wal"), "client.call_records_jsonl"),
        ("log_file_jsonl", json!("load.json"), "client.log_file_jsonl"),
        ("injection_file", json!("../data/other"), "client.injection_file"),
        ("extra_args", json!(["-trace_msg", "-message_file", "../users.csv"]), "client.extra_args"),
        ("extra_args", json!(["-srtp_keylog", "../users.csv"]), "client.extra_args"),
        ("scenario_file", json!("load.json"), "client.scenario_file"),
    ] {
        let problems = read(key, value.clone()).unwrap_err().list;
        let [problem] = problems.as_slice() else { panic!("{key} {value}: {problems:?}") };
        assert_eq!((problem.key.as_str(), problem.kind), (expected, ProblemKind::File), "{value}");
        assert!(problem.message.contains("choose another file"), "{}", problem.message);
    }

    // Files that a later configuration names are closed to running engines, and those of the
    // earlier one stay closed.
    let later = json!({
        "auth": { "type": "internal", "sqlite_path": "../users.csv" },
        "server": {}, "client": { "remote_addr": "192.0.2.1" },
    });
    let later = parse(later.to_string().as_bytes(), Some(&file), &LowArgs::default());
    let later = later.unwrap_or_else(|problems| panic!("{problems}"));
    let running = config.engines[1].run.access.clone();
    assert!(running.read(&directory.join("users.csv")).is_ok());
    super::protect(&config, &later);
    for name in ["users.csv", "data/users.db", "data/other"] {
        assert!(running.read(&directory.join(name)).is_err(), "{name}");
    }
    // Clients keep their folders, though the users have moved to another file.
    let plan = compare(&config, &later, None);
    let folders = plan.restart.iter().find(|line| line.starts_with("data_dir: "));
    let ends = format!("until a restart; then they are in {}", directory.display());
    assert!(folders.is_some_and(|line| line.ends_with(&ends)), "{plan:?}");
    std::fs::remove_dir_all(&directory).unwrap();
}
