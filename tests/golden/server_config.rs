//! Configurations of servers from outside: samples, reports, the documents that are made from the
//! keys, and the commands of the real program.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden server_config` writes the documents anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gossipper::cli::LowArgs;
use gossipper::server::config::{
    AuthConfig, ProblemKind, Problems, Role, ServerConfig, keys_markdown, keys_of_the_process,
    load, parse, schema,
};
use proptest::prelude::*;

use crate::golden_file::compare;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of its own, with the layout of an installation: `etc` with the samples, `data`.
struct Installation {
    directory: PathBuf,
}

impl Installation {
    fn new(name: &str) -> Self {
        let name = format!("gossipper-config-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("etc")).unwrap();
        fs::create_dir_all(directory.join("data")).unwrap();
        for (name, text) in samples() {
            fs::write(directory.join("etc").join(name), text).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join("etc").join(name)
    }

    fn load(&self, name: &str) -> Result<ServerConfig, Problems> {
        load(Some(&self.path(name)), &LowArgs::default())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn samples() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("etc")).unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

fn gossipper(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gossipper")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn examples_are_the_samples_themselves() {
    for name in [
        "gossipper-hybrid.json",
        "gossipper-management-auth.sample.json",
        "gossipper-management.json",
        "gossipper-uac.json",
    ] {
        let example = root().join("examples").join(name);
        assert_eq!(fs::read_link(&example).unwrap(), Path::new("../etc").join(name));
        let of = |path| fs::read_to_string(path).unwrap();
        assert_eq!(of(example), of(root().join("etc").join(name)));
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_symlink(), "{} has another source", path.display());
    }
}

#[test]
fn every_sample_can_be_used_but_for_its_placeholder() {
    let installation = Installation::new("samples");
    let names: Vec<_> = samples().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "gossipper-client.json",
            "gossipper-hybrid.json",
            "gossipper-management-auth.sample.json",
            "gossipper-management.json",
            "gossipper-server-multi-listener.json",
            "gossipper-server.json",
            "gossipper-server.sample.json",
            "gossipper-uac.json",
        ]
    );
    for name in &names {
        match installation.load(name) {
            Ok(config) => assert!(config.notices.is_empty(), "{name}: {:?}", config.notices),
            Err(problems) => {
                assert_eq!(name, "gossipper-management-auth.sample.json", "{problems}");
                let keys: Vec<_> = problems.list.iter().map(|p| p.key.as_str()).collect();
                assert_eq!(keys, ["auth.jwt_secret"]);
                assert_eq!(problems.list[0].kind, ProblemKind::Secret);
            }
        }
    }
}

#[test]
fn the_samples_say_what_the_documentation_says_of_them() {
    let installation = Installation::new("meaning");
    let hybrid = installation.load("gossipper-hybrid.json").unwrap();
    let ids: Vec<_> = hybrid.engines.iter().map(|engine| engine.id.as_str()).collect();
    assert_eq!(ids, ["management", "load-udp", "load-tcp", "load-udp-un"]);
    assert_eq!(hybrid.engines[0].listeners.len(), 3);
    let users = installation.directory.join("data/gossipper.sqlite");
    let auth = AuthConfig::Internal { sqlite_path: users, jwt_secret: None };
    assert_eq!(hybrid.auth, auth);
    assert!(hybrid.http.unwrap().addr.ip().is_loopback());
    for name in ["gossipper-client.json", "gossipper-uac.json"] {
        let client = installation.load(name).unwrap();
        assert_eq!(client.engines[0].role, Role::Load);
        assert_eq!(client.http, None);
    }
    let listeners = installation.load("gossipper-server-multi-listener.json").unwrap();
    assert_eq!(listeners.engines[0].listeners.len(), 4);
}

/// Fifteen mistakes, each of another kind.
const MISTAKES: &str = r#"{
  "_comment": "remarks are no mistakes",
  "api_addr": "0.0.0.0:8080",
  "workloads": [],
  "max_concurent": 5,
  "server": {
    "rate": "fast",
    "rate": 5,
    "scenario_file": "missing.xml",
    "listeners": [
      { "transport": "u1", "local_port": 5060 },
      { "transport": "u1", "local_port": 65536 }
    ],
    "clients": []
  },
  "clients": [
    { "id": "a", "role": "load", "remote_addr": "192.0.2.1:5060", "local_port": 15060 },
    { "id": "a", "role": "load", "remote_addr": "192.0.2.1:5060", "local_port": 15060 },
    { "id": "b", "role": "lode", "remote_addr": "192.0.2.1" },
    { "id": "c", "role": "load", "remote_addr": "sip:user@192.0.2.1", "transport": "s1" },
    { "id": "d", "role": "load", "remote_addr": "192.0.2.1", "pcap_link": "1",
      "extra_args": ["-recv_timeou", "5s"] },
    { "id": "e", "role": "load", "health_min_success_ratio": 2 }
  ]
}
"#;

#[test]
fn all_mistakes_are_reported_at_once() {
    let path = Path::new("etc/wrong.json");
    let problems = parse(MISTAKES.as_bytes(), Some(path), &LowArgs::default()).unwrap_err();
    let here = root().display().to_string();
    let report = problems.to_string().replace(&here, "");
    compare("tests/golden/config_report.txt", &format!("{MISTAKES}\n{report}\n"));
    assert!(problems.list.len() >= 15, "{}", problems.list.len());
    assert!(problems.list.iter().all(|problem| problem.place.is_some()));
}

#[test]
fn the_schema_is_what_is_committed() {
    compare("docs/config.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_documentation_has_all_keys() {
    let path = "docs/configuration.md";
    let document = fs::read_to_string(root().join(path)).unwrap();
    let marker = "--test golden -->\n";
    let (prose, _) = document.split_once(marker).expect("the marker before the tables");
    compare(path, &format!("{prose}{marker}{}", keys_markdown()));
}

#[test]
fn the_documentation_of_the_api_has_the_keys_that_clients_have_not() {
    let path = "docs/api.md";
    let document = fs::read_to_string(root().join(path)).unwrap();
    let (before, rest) = document.split_once("not allowed:\n\n").expect("the list of keys");
    let (_, after) = rest.split_once("\n\n").expect("the end of the list");
    let mut list = String::new();
    let mut columns = 0;
    for key in keys_of_the_process() {
        let word = format!("`{key}`");
        // A separator on each side.
        list.push_str(match columns {
            0 => "",
            _ if columns + word.len() + 3 > 120 => ",\n",
            _ => ", ",
        });
        columns = list.len() - list.rfind('\n').map_or(0, |at| at + 1) + word.len();
        list.push_str(&word);
    }
    compare(path, &format!("{before}not allowed:\n\n{list}.\n\n{after}"));
}

#[test]
fn check_tells_by_its_exit_code_and_as_text_or_json() {
    let installation = Installation::new("check");
    let hybrid = installation.path("gossipper-hybrid.json").display().to_string();
    let output = gossipper(&["config", "check", "-config", &hybrid]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("no problem"));
    let output = gossipper(&["config", "check", "--config", &hybrid, "--json", "--dump-effective"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["effective"]["clients"][0]["max_concurrent"], 32);
    assert_eq!(report["effective"]["clients"][2]["auth_password"], "***");
    // With options, as the server would be started.
    let output = gossipper(&["config", "check", "-config", &hybrid, "-api_addr", ":1", "-l", "x"]);
    assert_eq!(output.status.code(), Some(1));

    let wrong = installation.write("wrong.json", MISTAKES).display().to_string();
    let output = gossipper(&["config", "check", "-config", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("{wrong}:7:13: server.rate: ")));
    let output = gossipper(&["config", "check", "-config", &wrong, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["problems"].as_array().unwrap().len() >= 15);
    let output = gossipper(&["config", "check", "-config", "nowhere.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nowhere.json: cannot read"));
    let output = gossipper(&["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("-config FILE"));
}

#[test]
fn the_schema_is_printed() {
    let output = gossipper(&["config", "schema"]);
    assert_eq!(output.status.code(), Some(0));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(&printed, schema());
}

#[test]
fn a_server_does_not_start_with_a_wrong_file() {
    let installation = Installation::new("start");
    let wrong = installation.write("wrong.json", "{\"role\": \"management\", \"rat\": 1}");
    let output = gossipper(&["server", "-config", &wrong.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("did you mean \"rate\""));
    let profiles = installation.write("aliases.json", "{\"aliases\": {\"a\": {}}}");
    let output = gossipper(&["server", "-config", &profiles.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("-run-alias"));
    for option in [&["-run-alias", "a"][..], &["-list-aliases"], &["-bg"]] {
        let output = gossipper(&[&["server"], option].concat());
        assert_eq!(output.status.code(), Some(255));
        assert!(text(&output.stderr).contains("not for a server"), "{option:?}");
    }
    // A file without its option is taken for no host.
    let output = gossipper(&["server", "etc/gossipper-hybrid.json"]);
    assert_eq!(output.status.code(), Some(255));
    let told = text(&output.stderr);
    assert!(told.contains("given with -config etc/gossipper-hybrid.json"), "{told}");
}

#[test]
fn run_profiles_are_listed_and_run() {
    let installation = Installation::new("profiles");
    let file = installation.write(
        "profiles.json",
        r#"{"aliases": {
            "smoke": {"scenario_name": "uac", "remote_addr": "127.0.0.1:9", "total_calls": 1,
                "extra_args": ["-recv_timeout", "100ms", "-nr"], "summary_json": "smoke.json"},
            "answer": {"scenario_name": "uas", "local_port": 0}
        }}"#,
    );
    let file = file.display().to_string();
    let output = gossipper(&["-config", &file, "-list-aliases"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "answer\nsmoke\n"));
    // The command line wins: two calls, which stay unanswered.
    let output = gossipper(&["-config", &file, "-run-alias", "smoke", "-m", "2", "-nostdin"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let summary = fs::read_to_string(installation.path("smoke.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["total_calls"], 2);
    for (arguments, part) in [
        (&["-config", &file, "-run-alias", "smok"][..], "did you mean \"smoke\""),
        (&["-config", &file], "-run-alias NAME or -list-aliases"),
        (&["-run-alias", "smoke"], "-config FILE"),
        (&["-config", &file, "-run-alias", "a", "-list-aliases"], "exclude each other"),
        (&["-config", "nowhere.json", "-list-aliases"], "cannot read"),
        (&["-max_dynamic_clients", "1", "127.0.0.1"], "gossipper server -max_dynamic_clients"),
        (&["-config-server", "x"], "gossipper server -config FILE"),
    ] {
        let output = gossipper(arguments);
        assert_eq!(output.status.code(), Some(255), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// The text with a change at one place.
fn mutate(text: &str, at: usize, how: u8, piece: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % (bytes.len() + 1);
    let end = (at + 1 + usize::from(how / 8)).min(bytes.len());
    match how % 5 {
        0 => bytes.truncate(at),
        1 => {
            bytes.drain(at..end);
        }
        2 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => {
            bytes.splice(at..at, piece.bytes());
        }
        _ => {
            bytes.splice(at..end, piece.bytes());
        }
    }
    bytes
}

/// Replaces a value of a JSON document, chosen by its number.
fn replace(value: &mut serde_json::Value, number: &mut usize, with: &serde_json::Value) {
    if *number == 0 {
        *value = with.clone();
    }
    *number = number.wrapping_sub(1);
    match value {
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| replace(v, number, with)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|v| replace(v, number, with)),
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        Just(serde_json::json!([])),
        Just(serde_json::json!([{}, 1, "-p", "-h", null])),
        Just(serde_json::json!({ "type": "internal", "listeners": [{}], "id": "a" })),
    ]
}

proptest! {
    #[test]
    fn no_change_of_a_sample_panics(
        sample in any::<prop::sample::Index>(),
        at in any::<usize>(),
        how in any::<u8>(),
        piece in prop_oneof!["[\\[\\]{},:\"\\\\ 0-9a-z]{0,6}", "\\PC{0,4}"],
    ) {
        let samples = samples();
        let bytes = mutate(&sample.get(&samples).1, at, how, &piece);
        if let Err(problems) = parse(&bytes, None, &LowArgs::default()) {
            prop_assert!(!problems.list.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_value_in_a_sample_panics(
        sample in any::<prop::sample::Index>(),
        mut number in 0_usize..60,
        with in any_json(),
    ) {
        let samples = samples();
        let mut value: serde_json::Value =
            serde_json::from_str(&sample.get(&samples).1).unwrap();
        replace(&mut value, &mut number, &with);
        if let Err(problems) = parse(value.to_string().as_bytes(), None, &LowArgs::default()) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}
