//! Engines that come and go leave nothing behind in the process: no thread, no descriptor, and no
//! memory. It counts what the process has, so it starts this program again, for that test alone.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use gossipper::config::{Flavor, HostPort, RunConfig, RunDraft};
use gossipper::control::{NewScenario, Policy, Rate, Request};
use gossipper::server::engines::{EngineKind, EngineSpec, Registry};

/// The time after which a test that hangs is ended; generous for slow machines.
const LIMIT: Duration = Duration::from_secs(120);
/// Engines that come and go in one round.
const ENGINES: usize = 6;
/// Workers of a client that has many.
const WORKERS: usize = 48;

fn config(change: impl FnOnce(&mut RunDraft)) -> RunConfig {
    let mut draft = RunDraft {
        local_ip: Some([127, 0, 0, 1].into()),
        local_port: Some(0),
        calls_total: Some(0),
        pool_calls: Some(1_000),
        ..RunDraft::default()
    };
    change(&mut draft);
    draft.resolve(Flavor::Gossipper).unwrap()
}

/// Open descriptors and threads of this process, and MiB that it has in memory.
fn held() -> (usize, usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (descriptors, number("Threads:"), number("VmRSS:") / 1024)
}

/// Descriptors and threads once their numbers stay: a writer thread opens its own after the engine
/// has reported that it listens.
fn settled() -> (usize, usize) {
    let (mut before, mut same) = (held(), 0);
    wait("a settled process", || {
        std::thread::sleep(Duration::from_millis(20));
        let now = held();
        same = if (now.0, now.1) == (before.0, before.1) { same + 1 } else { 0 };
        before = now;
        same == 25
    });
    (before.0, before.1)
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "{what} takes too long: {:?}", held());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts engines that call, changes all of them, and removes them in the middle of calls.
fn round(registry: &Registry, port: u16) {
    let answer = registry.primary().unwrap();
    let ids: Vec<String> = (0..ENGINES)
        .map(|_| {
            let run = config(|draft| {
                draft.scenario_name = Some("uac".to_owned());
                draft.remote = Some(HostPort { host: "127.0.0.1".to_owned(), port });
                draft.rate = Some(50.0);
                draft.rules.pause_ms = 300;
            });
            registry.start_dynamic(None, run).unwrap()
        })
        .collect();
    let engines: Vec<_> = ids.iter().map(|id| registry.get(id).unwrap()).collect();
    for engine in &engines {
        wait("a call", || engine.state().snapshot.calls.succeeded > 0);
        engine.ask(Request::SetRate(Rate::per_second(80.0))).unwrap();
        engine.ask(Request::SetPaused(true)).unwrap();
        engine.ask(Request::SetPaused(false)).unwrap();
        engine.ask(Request::ResetStats).unwrap();
    }
    let xml = gossipper::scenario::builtin("uas").unwrap().text.to_owned();
    answer.ask(Request::Swap(NewScenario::Sent(xml))).unwrap();
    answer.ask(Request::SetListener { index: 0, enabled: false }).unwrap();
    answer.ask(Request::SetListener { index: 0, enabled: true }).unwrap();
    ids.iter().for_each(|id| registry.remove(id).unwrap());
    for engine in &engines {
        wait("an end", || engine.state().phase.is_over());
    }
}

/// Starts a client with many workers, and removes it once a call has succeeded. The answerer
/// refuses some at first, while its pool is full of calls of the rounds in their last wait.
fn crowd(registry: &Registry, port: u16) {
    let run = config(|draft| {
        draft.scenario_name = Some("uac".to_owned());
        draft.remote = Some(HostPort { host: "127.0.0.1".to_owned(), port });
        draft.workers = Some(WORKERS);
        draft.rate = Some(100.0);
    });
    let id = registry.start_dynamic(None, run).unwrap();
    let engine = registry.get(&id).unwrap();
    wait("a call", || engine.state().snapshot.calls.succeeded > 0);
    registry.remove(&id).unwrap();
    wait("an end", || engine.state().phase.is_over());
}

/// Set in the process that is alone.
const ALONE: &str = "GOSSIPPER_TEST_IS_ALONE";

#[test]
fn engines_that_come_and_go_leave_nothing_behind() {
    if env::var_os(ALONE).is_some() {
        return come_and_go();
    }
    let name = "server_churn::engines_that_come_and_go_leave_nothing_behind";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

fn come_and_go() {
    let uas = config(|draft| draft.scenario_name = Some("uas".to_owned()));
    let spec = EngineSpec {
        id: "answer".to_owned(),
        kind: EngineKind::Primary,
        listeners: Vec::new(),
        run: uas,
    };
    let registry = Registry::start(vec![spec], Policy::default()).unwrap();
    let port = registry.primary().unwrap().state().listeners[0].local_port;
    // Memory that is allocated once, such as pools of the system's allocator, is there after these.
    let (descriptors, threads) = settled();
    for _ in 0..2 {
        round(&registry, port);
    }
    wait("coming to rest", || (held().0, held().1) == (descriptors, threads));
    let (_, _, before_mib) = held();
    for _ in 0..4 {
        round(&registry, port);
        wait("coming to rest", || (held().0, held().1) == (descriptors, threads));
    }
    let (_, _, after_mib) = held();
    // An engine has some ten MiB: one per round that is kept would show.
    assert!(after_mib < before_mib + 4 * 8, "{before_mib} MiB have become {after_mib}");
    // A client of many workers has a hundred MiB, and frees all of it, the first one too.
    for _ in 0..2 {
        crowd(&registry, port);
        wait("coming to rest", || (held().0, held().1) == (descriptors, threads));
        wait("memory to come back", || held().2 < after_mib + 24);
    }
    assert_eq!(registry.engines().len(), 1);
    assert!(registry.data_plane_alive());
    assert!(registry.shutdown(LIMIT).in_time);
}
