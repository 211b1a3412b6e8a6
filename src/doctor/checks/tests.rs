use super::super::facts::{BusyCpus, BusyProgram, Limit};
use super::*;

const LOAD: Load = Load { rate: 1_000.0, calls: 10_000 };

fn recorded(name: &str) -> Facts {
    let text = match name {
        "laptop" => include_str!("../recorded/laptop.json"),
        "container" => include_str!("../recorded/container.json"),
        _ => include_str!("../recorded/tuned.json"),
    };
    serde_json::from_str(text).expect("facts")
}

fn levels(facts: &Facts, load: Load) -> Vec<(&'static str, Level)> {
    let complaints = evaluate(facts, load);
    let complaints = complaints.iter().filter(|finding| finding.level != Level::Ok);
    complaints.map(|finding| (finding.id, finding.level)).collect()
}

fn level(facts: &Facts, load: Load, id: &str) -> Level {
    let findings = evaluate(facts, load);
    findings.iter().find(|finding| finding.id == id).expect("such a finding").level
}

#[test]
fn a_tuned_host_has_nothing_to_complain_about() {
    assert_eq!(levels(&recorded("tuned"), LOAD), []);
    assert_eq!(evaluate(&recorded("tuned"), LOAD).len(), 19);
}

#[test]
fn a_laptop_gets_warnings_with_a_fix_each() {
    use Level::Warn;
    let found = levels(&recorded("laptop"), LOAD);
    let expected = ["kernel", "io_uring", "governor", "receive_buffer", "clock_source"];
    assert_eq!(found, expected.map(|id| (id, Warn)));
    for finding in evaluate(&recorded("laptop"), LOAD) {
        assert_eq!(finding.fix.is_some(), finding.level != Level::Ok, "{finding:?}");
        assert!(!finding.means.is_empty() && !finding.found.is_empty(), "{finding:?}");
        assert!(!finding.fix.unwrap_or_default().contains('\n'));
    }
}

#[test]
fn a_container_is_told_apart_from_a_kernel() {
    let findings = evaluate(&recorded("container"), LOAD);
    let io_uring = findings.iter().find(|finding| finding.id == "io_uring").expect("found");
    assert!(io_uring.fix.as_deref().is_some_and(|fix| fix.contains("seccomp profile")));
    let ids: Vec<_> = levels(&recorded("container"), LOAD).into_iter().map(|(id, _)| id).collect();
    let expected = [
        "io_uring",
        "cpu_quota",
        "steal",
        "huge_pages",
        "open_files",
        "ports",
        "udp_drops",
        "wall_clock",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn the_fix_of_a_forbidden_io_uring_is_tune() {
    let mut facts = recorded("tuned");
    facts.io_uring = Uring::Refused { cause: "forbidden".to_owned() };
    facts.sysctls.insert("kernel.io_uring_disabled".to_owned(), "2".to_owned());
    let findings = evaluate(&facts, LOAD);
    let finding = findings.iter().find(|finding| finding.id == "io_uring").expect("found");
    assert_eq!(finding.fix.as_deref(), Some("gossipper tune --apply --io-uring"));
}

#[test]
fn a_receive_buffer_is_judged_by_the_load() {
    let facts = recorded("laptop");
    for (rate, expected) in
        [(100.0, Level::Ok), (1_000.0, Level::Warn), (10_000.0, Level::Fail), (0.0, Level::Ok)]
    {
        let load = Load { rate, ..LOAD };
        assert_eq!(level(&facts, load, "receive_buffer"), expected, "{rate}");
    }
    let forced = Facts { net_admin: true, ..facts };
    assert_eq!(level(&forced, Load { rate: 10_000.0, ..LOAD }, "receive_buffer"), Level::Ok);
}

#[test]
fn processors_are_judged_by_the_load() {
    let facts = Facts { cpus: 2, ..recorded("tuned") };
    for (rate, expected) in
        [(10_000.0, Level::Ok), (60_000.0, Level::Warn), (200_000.0, Level::Fail)]
    {
        assert_eq!(level(&facts, Load { rate, ..LOAD }, "cpus"), expected, "{rate}");
    }
    assert_eq!(level(&Facts { cpus: 1, ..facts }, LOAD, "cpus"), Level::Warn);
}

#[test]
fn busy_processors_are_named_with_who_uses_them() {
    let cpu = |cpu, busy_percent| BusyCpu { cpu, busy_percent };
    let with = |cpus: &[BusyCpu]| {
        let burn = BusyProgram { pid: 42, name: "burn".to_owned(), cpu: 1, cpu_percent: 97.4 };
        let busy = Some(BusyCpus { cpus: cpus.to_vec(), programs: vec![burn] });
        let findings = evaluate(&Facts { busy, ..recorded("tuned") }, LOAD);
        findings.into_iter().find(|finding| finding.id == "busy_cpus").expect("such a finding")
    };
    assert_eq!(with(&[cpu(0, 3.0), cpu(1, 12.0)]).level, Level::Ok);
    let one = with(&[cpu(0, 3.0), cpu(1, 98.1), cpu(2, 10.0)]);
    assert_eq!(one.level, Level::Warn);
    assert_eq!(one.found, "CPU 1 98 % (burn [42] 97 %)");
    assert!(one.fix.is_some_and(|fix| fix.contains("-cpus 0,2")));
    let all = with(&[cpu(0, 60.0), cpu(1, 98.1)]);
    assert_eq!(all.found, "CPU 0 60 %, CPU 1 98 % (burn [42] 97 %)");
    assert!(all.fix.is_some_and(|fix| fix.contains("another machine")));
    let many: Vec<BusyCpu> = (0..64).map(|number| cpu(number, 100.0)).collect();
    assert!(with(&many).found.ends_with("CPU 7 100 %, 56 more"));
}

#[test]
fn memory_files_and_ports_are_judged_by_the_open_calls() {
    let mut facts = recorded("tuned");
    facts.memory_bytes = Some(1 << 30);
    facts.files = Limit { soft: Some(1024), hard: Some(20_000) };
    for (calls, memory, files, ports) in [
        (10_000, Level::Ok, Level::Ok, Level::Ok),
        (200_000, Level::Warn, Level::Warn, Level::Warn),
        (1_000_000, Level::Fail, Level::Warn, Level::Warn),
    ] {
        let load = Load { calls, ..LOAD };
        assert_eq!(level(&facts, load, "memory"), memory, "{calls}");
        assert_eq!(level(&facts, load, "open_files"), files, "{calls}");
        assert_eq!(level(&facts, load, "ports"), ports, "{calls}");
    }
    facts.files = Limit { soft: Some(10), hard: Some(10) };
    assert_eq!(level(&facts, LOAD, "open_files"), Level::Fail);
}

#[test]
fn a_slow_card_and_a_lone_queue_are_named() {
    let mut facts = recorded("tuned");
    let heavy = Load { rate: 20_000.0, ..LOAD };
    facts.interfaces[0].speed_mbps = Some(1_000);
    assert_eq!(level(&facts, heavy, "interface"), Level::Warn);
    facts.interfaces[0].speed_mbps = Some(100);
    assert_eq!(level(&facts, heavy, "interface"), Level::Fail);
    facts.interfaces[0].speed_mbps = None;
    assert_eq!(level(&facts, heavy, "interface"), Level::Ok);
    facts.interfaces[0].rx_queues = 1;
    assert_eq!(level(&facts, heavy, "interface"), Level::Warn);
    facts.interfaces[0].steers_receive = true;
    assert_eq!(level(&facts, heavy, "interface"), Level::Ok);
    facts.interfaces[0].rx_missed = Some(1_000_000);
    assert_eq!(level(&facts, heavy, "interface"), Level::Warn);
}

#[test]
fn old_kernels_and_their_limits_are_named() {
    let mut facts = recorded("laptop");
    assert_eq!(level(&facts, LOAD, "locked_memory"), Level::Ok);
    facts.kernel = "5.4.0".to_owned();
    facts.locked_bytes.soft = Some(65_536);
    assert_eq!(level(&facts, LOAD, "locked_memory"), Level::Warn);
    facts.kernel = "4.15.0".to_owned();
    assert_eq!(level(&facts, LOAD, "kernel"), Level::Fail);
    facts.kernel = "who knows".to_owned();
    assert_eq!(level(&facts, LOAD, "kernel"), Level::Ok);
}

#[test]
fn scarce_tables_of_the_kernel_are_named() {
    let mut facts = recorded("tuned");
    let heavy = Load { rate: 20_000.0, calls: 100_000 };
    facts.sysctls.extend(
        [
            ("net.ipv4.udp_mem", "100 200 400"),
            ("net.core.netdev_max_backlog", "1000"),
            ("net.core.somaxconn", "128"),
            ("net.netfilter.nf_conntrack_max", "65536"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (id, expected) in [
        ("udp_memory", Level::Fail),
        ("backlog", Level::Warn),
        ("listen_queue", Level::Warn),
        ("connection_tracking", Level::Warn),
    ] {
        assert_eq!(level(&facts, heavy, id), expected, "{id}");
    }
    let light = Load { rate: 10.0, calls: 100 };
    assert_eq!(levels(&facts, light), []);
}

#[test]
fn of_an_unknown_host_little_is_said() {
    let findings = evaluate(&Facts { cpus: 2, ..Facts::default() }, LOAD);
    assert!(findings.len() < 8, "{findings:?}");
}

#[test]
fn thousands_are_set_apart() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(thousands(number), text);
    }
}
