//! A real Prometheus scrapes a real daemon during a run: no panel of the dashboards stays empty,
//! and every recording rule has a result.

use serde_json::json;

use crate::harness::daemon::Daemon;
use crate::harness::prometheus::{Prometheus, panel_queries, recorded};
use crate::harness::{lock, ports};

#[test]
fn no_panel_is_empty_during_a_run() {
    let _turn = lock::light();
    let port = ports::free();
    let client = |id: &str, scenario: &str| {
        json!({
            "id": id, "role": "load", "scenario_name": scenario, "transport": "u1",
            "local_ip": "127.0.0.1", "local_port": ports::free(),
            "remote_addr": format!("127.0.0.1:{port}"), "rate": 50, "max_concurrent": 500,
            "total_calls": 0
        })
    };
    let daemon = Daemon::start(json!({
        "server": {
            "id": "management", "role": "management", "scenario_name": "uas", "transport": "u1",
            "local_ip": "127.0.0.1", "local_port": port
        },
        "clients": [client("load", "uac"), client("second", "uac")]
    }));
    let mut prometheus = Prometheus::scraping(daemon.address, None);
    // Calls are being made: with them come the methods and codes.
    prometheus.wait_for("rate(gossipper_calls_completed_total{engine=\"load\"}[5s]) > 0");
    prometheus.expect_results(&panel_queries());
    prometheus.expect_results(&recorded());
    // The scraped figures must not contradict each other.
    let sum = "sum by (engine) (gossipper_calls_failed_total)";
    let contradiction = format!(
        "sum by (engine) (gossipper_calls_started_total - gossipper_calls_completed_total \
         - gossipper_calls_active) - {sum} != 0"
    );
    let found = prometheus.query(&contradiction).unwrap();
    assert!(found.is_empty(), "started is not completed + failed + active: {found:?}");
    daemon.stop().expect_code(0);
}
