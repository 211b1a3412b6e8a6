//! A real Prometheus that scrapes the metrics of a test, and the queries of the shipped dashboards.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::ask;
use super::process::Process;
use super::scratch::Scratch;
use super::{PATIENCE, ports, tools};

/// A file of the repository.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A Prometheus with the shipped rules.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    // Removed after the process has ended.
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `target` every second; `token` is its bearer token, if any.
    #[track_caller]
    pub fn scraping(target: SocketAddr, token: Option<&str>) -> Self {
        tools::need("prometheus");
        let scratch = Scratch::new();
        let rules = ["recording.yml", "alerts.yml"]
            .map(|name| shipped(&format!("etc/prometheus/{name}")).display().to_string());
        let authorization = token.map_or(String::new(), |token| {
            format!("    authorization: {{ credentials: \"{token}\" }}\n")
        });
        let config = scratch.write(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
                 rule_files: [\"{}\", \"{}\"]\n\
                 scrape_configs:\n  - job_name: gossipper\n{authorization}    static_configs:\n\
                 \x20     - targets: [\"{target}\"]\n",
                rules[0], rules[1],
            ),
        );
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}", scratch.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=warn"]);
        let mut process = Process::spawn(command);
        process.wait_until("ready Prometheus", || {
            ask(address, "GET", "/-/ready", None)
                .filter(|response| response.code == 200)
                .map(|_| ())
        });
        Self { process, address, _scratch: scratch }
    }

    /// The result of an instant query.
    ///
    /// # Errors
    /// The error of Prometheus about the query.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", encoded(query));
        let response = ask(self.address, "GET", &path, None).ok_or("Prometheus does not answer")?;
        let answer: Value =
            serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until `query` has a result.
    #[track_caller]
    pub fn wait_for(&mut self, query: &str) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.query(query) {
                Ok(result) if !result.is_empty() => return result,
                Ok(_) if Instant::now() < end && self.process.is_running() => {
                    thread::sleep(Duration::from_millis(200));
                }
                other => panic!("{query}: {other:?}\n{}", self.process.stderr()),
            }
        }
    }

    /// The places of those `queries` that have no result or are refused, with the reasons.
    pub fn failing(&self, queries: &[Query]) -> Vec<String> {
        let failing = queries.iter().filter_map(|Query { place, text }| match self.query(text) {
            Ok(result) if result.is_empty() => Some(format!("{place}: empty: {text}")),
            Ok(_) => None,
            Err(error) => Some(format!("{place}: {error}: {text}")),
        });
        failing.collect()
    }

    /// Fails the test unless each of `queries` has a result, or has one within some seconds: a rate
    /// needs two scrapes, and a rule two evaluations.
    #[track_caller]
    pub fn expect_results(&self, queries: &[Query]) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let failing = self.failing(queries);
            if failing.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "without result:\n{}", failing.join("\n"));
            thread::sleep(Duration::from_secs(1));
        }
    }
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A query with its place.
#[derive(Debug)]
pub struct Query {
    /// Dashboard and panel, or the name of a rule.
    pub place: String,
    /// The query, with variables filled in.
    pub text: String,
}

/// The shipped dashboards by file name.
pub fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(shipped("etc/grafana")).expect("the dashboards are there");
    let paths = files.map(|file| file.expect("the folder can be read").path());
    let mut boards: Vec<(String, Value)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("the dashboard can be read");
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let board = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, board)
        })
        .collect();
    boards.sort_by(|a, b| a.0.cmp(&b.0));
    boards
}

/// Every query of every panel, as Grafana would send it with all variables at All.
pub fn panel_queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (file, board) in dashboards() {
        for panel in board["panels"].as_array().expect("a dashboard has panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = target["expr"].as_str().expect("a target has an expression");
                let place = format!("{file}: {}", panel["title"].as_str().unwrap_or("?"));
                queries.push(Query { place, text: filled(text) });
            }
        }
        for variable in board["templating"]["list"].as_array().into_iter().flatten() {
            let Some(text) = variable["query"]["query"].as_str() else { continue };
            let values = text.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
            let (series, _) = values.expect("a variable asks for the values of a label");
            let place = format!("{file}: ${}", variable["name"].as_str().unwrap_or("?"));
            queries.push(Query { place, text: filled(series) });
        }
    }
    queries
}

fn filled(text: &str) -> String {
    let mut text = text.to_owned();
    for (variable, value) in
        [("$__rate_interval", "10s"), ("$instance", ".+"), ("$engine", ".+"), ("$run_id", ".+")]
    {
        text = text.replace(variable, value);
    }
    assert!(!text.contains('$'), "a variable that the test does not know: {text}");
    text
}

/// The metrics that the recording rules make.
pub fn recorded() -> Vec<Query> {
    let text =
        fs::read_to_string(shipped("etc/prometheus/recording.yml")).expect("there are rules");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(|name| Query { place: "recording.yml".to_owned(), text: name.to_owned() }).collect()
}
