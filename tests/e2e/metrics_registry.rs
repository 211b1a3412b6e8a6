//! The metrics of running engines, scraped by a real Prometheus: no panel of the dashboards stays
//! empty, every recording rule has a result, and counters survive every change of the engines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gossipper::config::{Flavor, HostPort, RunConfig, RunDraft};
use gossipper::control::{NewScenario, Policy, Request};
use gossipper::server::engines::{EngineKind, EngineSpec, Registry};
use gossipper::server::metrics::{CONTENT_TYPE, Metrics};

use crate::harness::lock;
use crate::harness::prometheus::{Prometheus, panel_queries, recorded};

/// The time after which a test that hangs is ended.
const LIMIT: Duration = Duration::from_secs(60);

fn run(scenario: &str, port: Option<u16>) -> RunConfig {
    let remote = port.map(|port| HostPort { host: "127.0.0.1".to_owned(), port });
    let draft = RunDraft {
        local_ip: Some([127, 0, 0, 1].into()),
        local_port: Some(0),
        calls_total: Some(0),
        pool_calls: Some(500),
        scenario_name: Some(scenario.to_owned()),
        rate: remote.as_ref().map(|_| 50.0),
        remote,
        ..RunDraft::default()
    };
    draft.resolve(Flavor::Gossipper).unwrap()
}

/// An engine that answers calls, and the port on which it does.
fn answering() -> (Registry, u16) {
    let answer = EngineSpec {
        id: "answer".to_owned(),
        kind: EngineKind::Primary,
        listeners: Vec::new(),
        run: run("uas", None),
    };
    let registry = Registry::start(vec![answer], Policy::default()).unwrap();
    let port = registry.primary().unwrap().state().listeners[0].local_port;
    (registry, port)
}

/// Serves the metrics in answer to any request.
fn serve(metrics: Arc<Metrics>, registry: Registry) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let reader = BufReader::new(stream.try_clone().unwrap());
            for _ in reader.lines().take_while(|line| line.as_ref().is_ok_and(|l| !l.is_empty())) {}
            metrics.request("/metrics", 200, Duration::from_millis(1));
            let body = metrics.render(&registry);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            );
            let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
        }
    });
    address
}

fn samples(metrics: &Metrics, registry: &Registry) -> BTreeMap<String, f64> {
    let text = metrics.render(registry);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

/// Fails the test if a counter fell.
#[track_caller]
fn assert_monotonic(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (series, value) in before {
        let name = series.split('{').next().unwrap();
        let ends = ["_total", "_bucket", "_sum", "_count"];
        if ends.iter().any(|end| name.ends_with(end))
            && let Some(now) = after.get(series)
        {
            assert!(now >= value, "{series} fell from {value} to {now}");
        }
    }
}

/// Scrapes until `series` has reached `least`, and checks on the way that no counter falls.
#[track_caller]
fn scrape_until(
    metrics: &Metrics,
    registry: &Registry,
    before: &mut BTreeMap<String, f64>,
    series: &str,
    least: f64,
) {
    let end = Instant::now() + LIMIT;
    loop {
        let now = samples(metrics, registry);
        assert_monotonic(before, &now);
        *before = now;
        if before.get(series).is_some_and(|value| *value >= least) {
            return;
        }
        assert!(Instant::now() < end, "{series} does not reach {least}: {:?}", before.get(series));
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn no_panel_is_empty_during_a_run() {
    let _turn = lock::light();
    let (registry, port) = answering();
    registry.start_dynamic(Some("load".to_owned()), run("uac", Some(port))).unwrap();
    let metrics = Arc::new(Metrics::new());
    metrics.reloaded(true);
    let address = serve(Arc::clone(&metrics), registry.clone());
    let mut prometheus = Prometheus::scraping(address, None);
    prometheus.wait_for("rate(gossipper_calls_completed_total{engine=\"dynamic-0\"}[5s]) > 0");
    prometheus.expect_results(&panel_queries());
    prometheus.expect_results(&recorded());
    // The scraped figures must not contradict each other.
    let contradiction = "sum by (engine) (gossipper_calls_started_total \
        - gossipper_calls_completed_total - gossipper_calls_active) \
        - sum by (engine) (gossipper_calls_failed_total) != 0";
    let found = prometheus.query(contradiction).unwrap();
    assert!(found.is_empty(), "started is not completed + failed + active: {found:?}");
    registry.shutdown(LIMIT);
}

#[test]
fn counters_survive_what_is_done_to_engines() {
    let _turn = lock::light();
    let (registry, port) = answering();
    let metrics = Metrics::new();
    let mut seen = samples(&metrics, &registry);
    let started = "gossipper_calls_started_total{engine=\"answer\"}";
    let first_client = "gossipper_calls_completed_total{engine=\"dynamic-0\"}";
    let mut expected = 20.0;

    registry.start_dynamic(Some("a".to_owned()), run("uac", Some(port))).unwrap();
    scrape_until(&metrics, &registry, &mut seen, first_client, 10.0);
    scrape_until(&metrics, &registry, &mut seen, started, expected);
    // The figures are reset.
    registry.primary().unwrap().ask(Request::ResetStats).unwrap();
    expected = seen[started] + 50.0;
    scrape_until(&metrics, &registry, &mut seen, started, expected);
    // Other scenarios, twice.
    for _ in 0..2 {
        let xml = registry.primary().unwrap().state().scenario.xml.to_string();
        let xml = xml.replacen("<scenario name=\"", "<scenario name=\"another ", 1);
        registry.primary().unwrap().ask(Request::Swap(NewScenario::Sent(xml))).unwrap();
        expected = seen[started] + 50.0;
        scrape_until(&metrics, &registry, &mut seen, started, expected);
    }
    // Another client takes the place of the first.
    registry.remove("a").unwrap();
    let before = seen[first_client];
    scrape_until(&metrics, &registry, &mut seen, started, 0.0);
    registry.start_dynamic(Some("b".to_owned()), run("uac", Some(port))).unwrap();
    scrape_until(&metrics, &registry, &mut seen, first_client, before + 20.0);
    let info = seen.keys().find(|series| {
        series.starts_with("gossipper_run_info{engine=\"dynamic-0\"")
            && series.contains("profile=\"b\"")
    });
    assert!(info.is_some());
    // The methods and codes of both sides.
    for series in [
        "gossipper_sip_requests_received_total{engine=\"answer\",method=\"INVITE\"}",
        "gossipper_sip_responses_sent_total{engine=\"answer\",method=\"INVITE\",code=\"180\"}",
        "gossipper_sip_responses_sent_total{engine=\"answer\",method=\"BYE\",code=\"200\"}",
        "gossipper_sip_requests_sent_total{engine=\"dynamic-0\",method=\"ACK\"}",
        "gossipper_sip_responses_received_total{engine=\"dynamic-0\",method=\"INVITE\",code=\"200\"}",
    ] {
        assert!(seen[series] >= 10.0, "{series}: {}", seen[series]);
    }
    registry.shutdown(LIMIT);
}
