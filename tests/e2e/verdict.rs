//! The verdict on the generator: its findings, and its advice.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gossipper_uring::sys;

use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, gossipper, lock, ports};

/// Programs that do nothing but use up one CPU; they end with this.
struct Burners(Vec<Child>);

impl Burners {
    fn on(cpu: usize, count: usize) -> Self {
        // A process inherits the CPUs of the thread that starts it.
        let start = move || {
            sys::pin_current_thread(cpu).expect("the CPU is ours");
            let burn = |_| {
                let mut command = Command::new("sh");
                command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
                command.spawn().expect("there is a shell")
            };
            Self((0..count).map(burn).collect())
        };
        thread::spawn(start).join().expect("no panic")
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Eight programs leave the worker a ninth of its CPU, and it needs more.
#[test]
fn a_worker_that_other_programs_keep_waiting_is_not_called_slow() {
    let _turn = lock::heavy();
    let (_server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let cpu = sys::online_cpus()[0];
    let _burners = Burners::on(cpu, 8);
    let (cpu, remote) = (cpu.to_string(), address.to_string());
    let line = ["sipp", "-sn", "uac", "-nostdin", "-i", "127.0.0.1", "-p", "0", "-r", "2000"];
    let load = ["-m", "6000", "-l", "50000", "-cpus", &cpu, "-workers", "1", "-timeout", "6"];
    let over = gossipper::run(&[&line[..], &load, &[&remote]].concat());
    let generator = &over.summary().0["generator"];
    assert_eq!(generator["verdict"], "generator_limited", "{generator:#}");
    let reasons = generator["reasons"].to_string();
    let waited = "for a CPU that other programs used: free a CPU or use -cpus";
    assert!(reasons.contains("busy and waited ") && reasons.contains(waited), "{reasons}");
    assert!(!reasons.contains("lower the rate or add workers"), "{reasons}");
    let limited = &generator["worker_cpus"][0]["limited"];
    assert!(limited["waited"].as_u64() > limited["busy"].as_u64(), "{limited}");
    // SIPp's screens have no place for the verdict.
    let stderr = &over.finished.stderr;
    assert!(stderr.contains("verdict generator_limited: ") && stderr.contains(waited), "{stderr}");
}

#[test]
fn a_run_in_the_background_leaves_its_reasons_in_a_file() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let (_server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let mut command = Command::new(gossipper::PROGRAM);
    command
        .args(["sipp", "-sn", "uac", "-bg", "-i", "127.0.0.1", "-p", "0", "-timeout", "60"])
        .args(["-r", "200", "-m", "10", "-l", "1", "-d", "50", &address.to_string()])
        .current_dir(scratch.path());
    Process::spawn(command).finish().expect_code(99);
    let end = Instant::now() + PATIENCE;
    let text = loop {
        let files = fs::read_dir(scratch.path()).expect("the folder is there");
        let mut logs = files.filter_map(Result::ok).map(|entry| entry.path());
        let log = logs.find(|path| path.to_string_lossy().ends_with("_notes.log"));
        let text = log.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        if text.contains("not started") || Instant::now() > end {
            break text;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(text.contains("offered calls were not started: -l (call_limit, "), "{text:?}");
}

#[test]
fn a_run_without_a_call_is_not_judged() {
    let _turn = lock::light();
    let closed = format!("127.0.0.1:{}", ports::free());
    let lines = [
        (&["-sn", "uas", "-i", "127.0.0.1", "-p", "0", "-timeout", "1"][..], 97),
        (&["-sn", "uac", "-p", "0", "-r", "0", "-m", "5", "-timeout", "2", &closed], 97),
        (&["-sn", "uac", "-t", "t1", "-m", "5", &closed], 255),
    ];
    for (line, code) in lines {
        let over = gossipper::run(line).expect_code(code);
        let summary = &over.summary().0;
        assert_eq!(summary["generator"]["verdict"], "not_judged", "{line:?}");
        let why = "No call was started, so there is nothing to judge.";
        assert!(over.finished.stdout.contains(why), "{}", over.finished.stdout);
    }
}
