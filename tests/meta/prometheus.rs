//! The exposition, the dashboards and the rules, checked with Prometheus' own tools.
//!
//! `e2e::prometheus` has the same with a real daemon and a real Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gossipper::server::metrics::catalogue::ALL;
use gossipper::server::metrics::{EngineFigures, Metrics, Process};

use crate::golden_file;
use crate::harness;
use crate::harness::prometheus::{dashboards, panel_queries, recorded, shipped};
use crate::stats_fixture::Fixture;

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs promtool, feeds it `input`, and fails the test unless it accepts that.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) {
    harness::tools::need("promtool");
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}\n{}", String::from_utf8_lossy(&text));
}

fn figures(id: &str, kind: &'static str) -> EngineFigures {
    let fixture = Fixture::limited();
    EngineFigures {
        id: id.to_owned(),
        kind,
        state: "running",
        run_id: "0123456789abcdef".to_owned(),
        scenario: "uac".to_owned(),
        started_at_unix_ns: 1_790_000_000_123_456_789,
        snapshot: Arc::new(fixture.snapshot()),
        lifetime: Arc::new(fixture.lifetime()),
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_exposition() {
    let metrics = Metrics::new();
    metrics.request("/api/v1/stats", 200, std::time::Duration::from_millis(3));
    let engines = [figures("management", "primary"), figures("load", "static")];
    let text = metrics.render_figures(&engines, &Process::read());
    promtool(&["check", "metrics"], &text);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    for name in ["recording.yml", "alerts.yml"] {
        let path = shipped(&format!("etc/prometheus/{name}"));
        promtool(&["check", "rules", path.to_str().unwrap()], "");
    }
}

#[test]
fn alerts_fire_where_they_should_and_nowhere_else() {
    promtool(&["test", "rules", shipped("tests/prometheus/alerts_test.yml").to_str().unwrap()], "");
}

#[test]
fn promtool_takes_the_scrape_configurations() {
    // As used by a Prometheus on another host.
    let shipped = read("etc/prometheus/prometheus.yml");
    let with_token = shipped
        .replace("    # authorization:", "    authorization:")
        .replace("    #   credentials_file:", "      credentials_file:");
    assert!(with_token.contains("\n      credentials_file: "), "{with_token}");
    let document = read("docs/observability.md");
    let fenced = document.split("```").find(|part| part.starts_with("yaml\nscrape_configs:"));
    let documented = fenced.expect("a scrape configuration").trim_start_matches("yaml");
    for text in [&shipped, &with_token, documented] {
        let scratch = harness::scratch::Scratch::new();
        let file = scratch.write("prometheus.yml", text);
        // The files that they name are those of another host.
        promtool(&["check", "config", "--syntax-only", &file], "");
    }
}

fn alerts() -> Vec<String> {
    let text = read("etc/prometheus/alerts.yml");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_test_and_a_runbook() {
    let tests = read("tests/prometheus/alerts_test.yml");
    let rules = read("etc/prometheus/alerts.yml");
    let document = read("docs/observability.md");
    let alerts = alerts();
    assert!(alerts.len() >= 10);
    for alert in &alerts {
        let fires = tests
            .split("- alertname: ")
            .skip(1)
            .any(|test| test.lines().next() == Some(alert) && test.contains("exp_alerts:\n"));
        assert!(fires, "no test lets {alert} fire");
        assert!(document.contains(&format!("\n### {alert}\n")), "{alert} has no runbook");
        let address =
            format!("/usr/share/doc/gossipper/docs/observability.md#{}", alert.to_lowercase());
        let runbook = format!("runbook_url: {address}\n");
        assert_eq!(rules.matches(&runbook).count(), 1, "{alert} does not lead to its runbook");
    }
}

/// Names in a query that may be those of metrics.
fn names(query: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = query.split(|c| !is_part(c));
    let is_metric = |word: &&str| {
        ["gossipper_", "process_", "scrape_", "up"].iter().any(|start| word.starts_with(start))
            || word.trim_end_matches(':').contains(':')
    };
    words.filter(is_metric).filter(|word| *word != "up" && *word != "gossipper").collect()
}

#[test]
fn queries_use_metrics_that_exist() {
    let mut known: BTreeSet<String> = ALL.iter().map(|family| family.name.to_owned()).collect();
    for family in ALL {
        known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", family.name)));
    }
    known.extend(recorded().into_iter().map(|query| query.text));
    // Prometheus makes these itself.
    known.insert("scrape_duration_seconds".to_owned());
    let mut queries = panel_queries();
    for file in ["recording.yml", "alerts.yml"] {
        let place = file.to_owned();
        let text = read(&format!("etc/prometheus/{file}"));
        let is_prose = |line: &&str| {
            let line = line.trim();
            ["#", "summary:", "description:", "runbook_url:", "- name:"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let text: Vec<&str> = text.lines().filter(|line| !is_prose(line)).collect();
        queries.push(harness::prometheus::Query { place, text: text.join("\n") });
    }
    assert!(queries.len() > 60, "only {} queries found", queries.len());
    for query in &queries {
        for name in names(&query.text) {
            assert!(known.contains(name), "{}: {name} does not exist", query.place);
        }
    }
    // The dashboards must show nearly every metric somewhere.
    let shown: Vec<&str> = queries.iter().flat_map(|query| names(&query.text)).collect();
    let is_shown = |name: &str| shown.iter().any(|shown| shown.starts_with(name));
    let hidden: Vec<_> = ALL.iter().map(|f| f.name).filter(|name| !is_shown(name)).collect();
    assert!(hidden.len() <= 16, "no panel and no rule uses {hidden:?}");
}

#[test]
fn dashboards_are_complete() {
    let boards = dashboards();
    let mut ids = BTreeSet::new();
    for (file, board) in &boards {
        let uid = board["uid"].as_str().unwrap();
        assert_eq!(*file, format!("{uid}.json"));
        assert!(ids.insert(uid), "{uid} twice");
        assert!(board["title"].as_str().unwrap().starts_with("Gossipper / "));
        let mut panels = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(panels.insert(panel["id"].as_u64().unwrap()), "{file}: {title}: id twice");
            if panel["type"] == "row" {
                continue;
            }
            let description = panel["description"].as_str().unwrap();
            assert!(description.ends_with('.'), "{file}: {title} says nothing");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{file}: {title}");
        }
    }
    let expected = [
        "gossipper-compare",
        "gossipper-generator",
        "gossipper-media",
        "gossipper-run",
        "gossipper-service",
        "gossipper-sip",
    ];
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_document_lists_all_metrics() {
    let mut table = String::from("| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n");
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (family.name, family.kind.label(), family.help);
        table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    let document = read("docs/observability.md");
    let marks = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->\n");
    let (before, rest) = document.split_once(marks.0).expect("the document has a mark");
    let (_, after) = rest.split_once(marks.1).expect("the document has an end mark");
    let expected = [before, marks.0, &table, marks.1, after].concat();
    golden_file::compare("docs/observability.md", &expected);
}
