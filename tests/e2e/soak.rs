//! A churn of everything against the daemon: calls over UDP, TCP and TLS, clients that come and
//! go, scenarios that are swapped, listeners that are switched, scrapes, WebSocket clients, traces
//! that rotate.
//!
//! The daemon is brought to rest twice: after a while, and at the end. Descriptors and threads must
//! be back at their earlier numbers, no call may be open, and the counters must add up.
//!
//! Memory is judged over the whole of a run of some minutes (`make soak MINUTES=60`), under load
//! and with pools of the usual size. It must be flat once the number of live entries is at its
//! largest. A warm-up that fills pools first would hide the fault that this test looks for: memory
//! that grows with the number of past calls, until a ring has been round. Without
//! `GOSSIPPER_SOAK_SECONDS` the churn takes less than a minute, and memory is not judged.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use std::{env, thread};

use serde_json::{Value, json};

use crate::harness;
use crate::harness::daemon::Daemon;
use crate::harness::{PATIENCE, lock, ports, tools};

/// Length of the churn if the environment does not say.
const SECONDS: u64 = 20;
/// Calls per second over UDP where memory is judged.
const RATE: u64 = 4_000;
/// Time that an ended call is remembered here, in milliseconds. After that the number of live
/// entries is at its largest.
const DEADCALL_WAIT_MS: u64 = 5_000;
/// Time for that, and for the first event of each kind in the churn.
const SETTLE: Duration = Duration::from_secs(20);
/// Time between two looks at memory.
const SAMPLE: Duration = Duration::from_millis(500);
/// Growth per minute that is no leak. The histories of five engines, a row of 200 bytes a second,
/// take 60 KiB. In a run of one minute, send slots and arenas of clients that come and go still
/// settle: 2.3 MiB were measured. A ring of 24 bytes a call takes 5.5 MiB a minute at [`RATE`].
const GROWTH_PER_MINUTE: f64 = 3.0 * 1_048_576.0;
/// The same over the whole run, however long: the stricter one from six minutes on.
const GROWTH_IN_ALL: f64 = 16.0 * 1_048_576.0;

/// The resources that the process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    anonymous_bytes: u64,
    descriptors: u64,
    threads: u64,
}

impl Held {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            anonymous_bytes: number("RssAnon:") * 1024,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64,
            threads: number("Threads:"),
        }
    }
}

/// Memory over time: seconds, and bytes.
#[derive(Default)]
struct Memory(Vec<(f64, f64)>);

impl Memory {
    /// Bytes per second. Each sample of the first half is paired with the one that is half of the
    /// run later; the result is the median of their slopes (a short form of the line of Theil and
    /// Sen). Memory that comes and goes, like that of a client with its pools, does not move it.
    fn slope(&self) -> f64 {
        let half = self.0.len() / 2;
        let pairs = self.0.iter().zip(&self.0[half..]);
        let mut slopes: Vec<f64> =
            pairs.map(|(early, late)| (late.1 - early.1) / (late.0 - early.0)).collect();
        assert!(slopes.len() > 10, "{} samples are too few", self.0.len());
        slopes.sort_by(f64::total_cmp);
        slopes[slopes.len() / 2]
    }

    /// Fails the test if memory grows.
    #[track_caller]
    fn assert_flat(&self) {
        let [first, last] = [self.0.first(), self.0.last()].map(|sample| *sample.unwrap());
        let (slope, seconds) = (self.slope(), last.0 - first.0);
        for (second, bytes) in self.0.iter().step_by(self.0.len().div_ceil(30)) {
            println!("{second:>7.0} s {:>8.1} MiB", bytes / 1_048_576.0);
        }
        let [minute, all] = [slope * 60.0, slope * seconds].map(|bytes| bytes / 1_048_576.0);
        println!("memory grows by {minute:.2} MiB a minute, {all:.1} MiB in {seconds:.0} s");
        assert!(slope * 60.0 < GROWTH_PER_MINUTE, "memory grows by {minute:.2} MiB a minute");
        assert!(slope * seconds < GROWTH_IN_ALL, "memory has grown by {all:.1} MiB");
    }
}

#[test]
fn a_slope_is_told_from_what_comes_and_goes() {
    let samples = |growth_per_minute: f64| {
        let sample = |n: u32| {
            let second = f64::from(n) / 2.0;
            // A client of 30 MB that is there for 20 of 50 seconds.
            let client = if second % 50.0 < 20.0 { 3e7 } else { 0.0 };
            (second, 2e8 + client + growth_per_minute / 60.0 * second)
        };
        Memory((0..600).map(sample).collect())
    };
    assert!(samples(0.0).slope().abs() * 60.0 < 1e5);
    let slope = samples(6e6).slope() * 60.0;
    assert!((4e6..8e6).contains(&slope), "{slope}");
    samples(1e5).assert_flat();
}

/// The samples of a scrape by series.
fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
    let text = daemon.expect("GET", "/metrics", None).body;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The sum of a family over the series of each engine.
fn by_engine(samples: &BTreeMap<String, f64>, family: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for (series, value) in samples {
        let Some(labels) = series.strip_prefix(family).and_then(|rest| rest.strip_prefix('{'))
        else {
            continue;
        };
        let engine = labels.split("engine=\"").nth(1).and_then(|rest| rest.split('"').next());
        *sums.entry(engine.unwrap_or_default().to_owned()).or_insert(0.0) += value;
    }
    sums
}

/// Fails the test unless started = completed + failed + active in each engine.
#[track_caller]
fn assert_adds_up(samples: &BTreeMap<String, f64>) {
    let sums =
        ["calls_started_total", "calls_completed_total", "calls_failed_total", "calls_active"]
            .map(|name| by_engine(samples, &format!("gossipper_{name}")));
    let [started, completed, failed, active] = sums;
    assert!(!started.is_empty());
    for (engine, calls) in started {
        let sum = completed[&engine] + failed[&engine] + active[&engine];
        assert_eq!(calls, sum, "{engine}: started is not completed + failed + active");
    }
}

/// Fails the test if a counter fell since `earlier`.
#[track_caller]
fn assert_monotonic(earlier: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) {
    for (series, value) in earlier {
        let name = series.split('{').next().unwrap();
        let is_counter =
            ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
        if is_counter && let Some(next) = now.get(series) {
            assert!(next >= value, "{series} fell from {value} to {next}");
        }
    }
}

/// The churn and its memory of earlier steps.
struct Churn {
    daemon: Daemon,
    /// Port of the UDP listener, for clients that come and go.
    port: u16,
    step: u64,
    /// Scenarios that were exchanged.
    swaps: u64,
    dynamic: Vec<String>,
    samples: BTreeMap<String, f64>,
    began: Instant,
    memory: Memory,
}

fn scenario(pause_ms: u64) -> String {
    format!(
        r#"<?xml version="1.0"?>
<scenario name="answer after {pause_ms} ms">
<recv request="INVITE"/>
<pause milliseconds="{pause_ms}"/>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
<recv request="ACK"/>
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>"#
    )
}

impl Churn {
    /// Starts the daemon. `rate` is that of calls over UDP.
    fn start(rate: u64) -> Self {
        let folder = harness::scratch::Scratch::new();
        let [certificate, key] = tools::self_signed(&folder, "soak");
        let listeners = ["u1", "t1", "l1"].map(|transport| (transport, ports::free()));
        let clients: Vec<Value> = listeners
            .iter()
            .map(|(transport, port)| {
                let mut client = json!({
                    "id": format!("load-{transport}"), "role": "load", "scenario_name": "uac",
                    "transport": transport, "local_ip": "127.0.0.1", "local_port": ports::free(),
                    "remote_addr": format!("127.0.0.1:{port}"), "rate": 20, "max_concurrent": 1000,
                    "total_calls": 0,
                    // About a megabyte in all, put aside every few seconds.
                    "extra_args": [
                        "-trace_msg", "-message_file", format!("{transport}.log"),
                        "-ringbuffer_size", "100000", "-ringbuffer_files", "3"
                    ]
                });
                if *transport == "u1" {
                    client["rate"] = rate.into();
                    // Whole messages at that rate would measure the disk.
                    client["extra_args"] = json!(["-trace_err", "-error_file", "errors.log"]);
                }
                client
            })
            .collect();
        let binds: Vec<Value> = listeners
            .iter()
            .map(|(transport, port)| {
                json!({ "transport": transport, "local_ip": "127.0.0.1", "local_port": port })
            })
            .collect();
        let daemon = Daemon::start(json!({
            "tls_cert": certificate, "tls_key": key,
            "server": {
                // Pools of the default size: small ones are soon touched whole, which would hide
                // growth.
                "id": "management", "role": "management", "scenario_name": "uas",
                "listeners": binds,
                "extra_args": [
                    "-deadcall_wait", DEADCALL_WAIT_MS.to_string(),
                    // Calls of a removed client, whose BYE was lost, must not stay for ever.
                    "-recv_timeout", "20000"
                ]
            },
            "clients": clients
        }));
        let samples = scrape(&daemon);
        Self {
            daemon,
            port: listeners[0].1,
            step: 0,
            swaps: 0,
            dynamic: Vec::new(),
            samples,
            began: Instant::now(),
            memory: Memory::default(),
        }
    }

    /// Makes the next event; events of all kinds take turns.
    fn next(&mut self) {
        self.step += 1;
        match self.step % 12 {
            0 => self.start_client(),
            1 | 7 => self.watch_live(),
            2 => self.swap(),
            3 => self.switch(1, false),
            4 => self.look(),
            5 => self.switch(1, true),
            6 => self.change_rate(),
            8 => self.stop_client(),
            9 => self.switch((self.step / 12 % 3) as usize, false),
            10 => self.look(),
            _ => (0..3).for_each(|index| self.switch(index, true)),
        }
        thread::sleep(Duration::from_millis(100));
    }

    fn start_client(&mut self) {
        let snippet = json!({
            "scenario_name": "uac", "transport": "u1", "local_ip": "127.0.0.1",
            "local_port": ports::free(), "remote_addr": format!("127.0.0.1:{}", self.port),
            "rate": 30, "max_concurrent": 100,
            // Every other one ends by itself.
            "total_calls": if self.step.is_multiple_of(24) { 20 } else { 0 }
        });
        let body = snippet.to_string();
        let started = self.daemon.expect("POST", "/api/v1/clients", Some(&body)).json();
        self.dynamic.push(started["id"].as_str().unwrap().to_owned());
        while self.dynamic.len() > 3 {
            self.stop_client();
        }
    }

    fn stop_client(&mut self) {
        if !self.dynamic.is_empty() {
            let id = self.dynamic.remove(0);
            self.daemon.expect("DELETE", &format!("/api/v1/clients?id={id}"), None);
        }
    }

    fn swap(&mut self) {
        let xml = scenario(self.step % 5 * 10);
        let response = self.daemon.ask("POST", "/api/v1/scenario/apply", Some(&xml));
        // 409: not all workers have taken the scenario before.
        assert!([200, 409].contains(&response.code), "{response:?}");
        self.swaps += u64::from(response.code == 200);
    }

    fn switch(&mut self, index: usize, is_enabled: bool) {
        let body = json!({ "index": index, "enabled": is_enabled }).to_string();
        self.daemon.expect("POST", "/api/v1/transports", Some(&body));
    }

    fn change_rate(&mut self) {
        let rate = 10 + self.step % 30;
        self.control(&json!({ "id": "load-t1", "rate": rate }));
    }

    fn control(&self, change: &Value) {
        self.daemon.expect("POST", "/api/v1/control", Some(&change.to_string()));
    }

    /// A client of the live WebSocket that reads a frame; every other one disconnects without a
    /// close.
    fn watch_live(&mut self) {
        let url = format!("ws://{}/api/v1/live?interval_ms=250", self.daemon.address);
        let (mut socket, _) = tungstenite::connect(url).expect("the WebSocket opens");
        let frame = socket.read().expect("a frame comes");
        let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert!(frame["ts"].is_number() && frame["stats"].is_object(), "{frame}");
        if self.step % 24 < 12 {
            let _ = socket.close(None);
            while socket.read().is_ok() {}
        }
    }

    fn look(&mut self) {
        self.daemon.expect("GET", "/api/v1/stats", None);
        self.daemon.expect("GET", "/api/v1/transports", None);
        let samples = scrape(&self.daemon);
        assert_adds_up(&samples);
        assert_monotonic(&self.samples, &samples);
        self.samples = samples;
    }

    fn churn(&mut self, length: Duration) {
        let end = Instant::now() + length;
        // Every kind of event happens at least twice.
        let least = self.step + 48;
        let mut next_sample = Instant::now();
        while Instant::now() < end || self.step < least {
            self.next();
            if Instant::now() >= next_sample {
                next_sample += SAMPLE;
                let bytes = Held::of(self.daemon.id()).anonymous_bytes as f64;
                self.memory.0.push((self.began.elapsed().as_secs_f64(), bytes));
            }
        }
    }

    /// Lets all calls end; returns the resources that the process holds then.
    fn rest(&mut self) -> Held {
        while !self.dynamic.is_empty() {
            self.stop_client();
        }
        (0..3).for_each(|index| self.switch(index, true));
        self.control(&json!({ "paused": true }));
        let end = Instant::now() + PATIENCE;
        loop {
            self.look();
            let active: f64 = by_engine(&self.samples, "gossipper_calls_active").values().sum();
            let watchers = self.samples["gossipper_ws_clients"];
            if active == 0.0 && watchers == 0.0 {
                break;
            }
            assert!(Instant::now() < end, "{active} calls and {watchers} watchers do not end");
            thread::sleep(Duration::from_millis(250));
        }
        // Threads and sockets of removed clients end in the background, within some seconds.
        let mut least = Held::of(self.daemon.id());
        for _ in 0..40 {
            thread::sleep(Duration::from_millis(250));
            let held = Held::of(self.daemon.id());
            least = Held {
                anonymous_bytes: held.anonymous_bytes,
                descriptors: least.descriptors.min(held.descriptors),
                threads: least.threads.min(held.threads),
            };
        }
        self.control(&json!({ "paused": false }));
        least
    }
}

#[test]
fn everything_comes_back_to_where_it_was() {
    let _turn = lock::load();
    let seconds = env::var("GOSSIPPER_SOAK_SECONDS").ok();
    let seconds: Option<u64> = seconds.map(|text| text.parse().expect("a number of seconds"));
    let length = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut churn = Churn::start(if seconds.is_some() { RATE } else { 20 });
    churn.churn(if seconds.is_some() { SETTLE } else { length / 4 });
    let before = churn.rest();
    println!("after {} steps: {before:?}", churn.step);
    churn.memory = Memory::default();
    churn.churn(length);
    if seconds.is_some() {
        churn.memory.assert_flat();
    }
    let after = churn.rest();
    println!("at the end, after {} steps: {after:?}", churn.step);
    assert_eq!(after.descriptors, before.descriptors, "descriptors, {before:?}, {after:?}");
    assert_eq!(after.threads, before.threads, "threads, {before:?}, {after:?}");
    let calls: f64 = by_engine(&churn.samples, "gossipper_calls_completed_total").values().sum();
    assert!(calls > 100.0, "only {calls} calls");
    assert!(churn.swaps >= 4, "only {} scenarios were exchanged", churn.swaps);
    // Rotation keeps each trace within its files.
    for transport in ["t1", "l1"] {
        let files = fs::read_dir(churn.daemon.folder().path()).unwrap();
        let sizes: Vec<u64> = files
            .map(|file| file.unwrap())
            .filter(|file| file.file_name().to_string_lossy().starts_with(transport))
            .map(|file| file.metadata().unwrap().len())
            .collect();
        assert!((1..=4).contains(&sizes.len()), "{transport}: {sizes:?}");
        assert!(sizes.iter().all(|&bytes| bytes < 150_000), "{transport}: {sizes:?}");
    }
    churn.daemon.stop();
}
