//! A disk that fills up during a run: only the entries for that disk are lost. The loss is reported
//! and counted, and never ends the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::daemon::Daemon;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, gossipper, lock, ports, tools};

/// A file system of one MiB in memory. Needs root.
struct SmallDisk {
    path: PathBuf,
    _scratch: Scratch,
}

impl SmallDisk {
    fn new() -> Self {
        tools::need("mount");
        assert!(rustix::process::geteuid().is_root(), "mounting needs root: run with sudo");
        let scratch = Scratch::new();
        let path = scratch.join("disk");
        fs::create_dir(&path).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
        let status = Command::new("mount").args(mount).arg(&path).status().unwrap();
        assert!(status.success(), "the file system cannot be mounted");
        Self { path, _scratch: scratch }
    }

    fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn size(path: &str) -> u64 {
    fs::metadata(Path::new(path)).map_or(0, |meta| meta.len())
}

/// Makes 2,000 calls against a server of ours, some megabytes of messages, with `options`.
fn calls(options: &[&str]) -> gossipper::Over {
    let (_server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let peer = address.to_string();
    let args = ["-sn", "uac", "-i", "127.0.0.1", "-d", "0", "-m", "2000", "-r", "1000"];
    gossipper::run(&[&args[..], options, &[&peer]].concat())
}

#[test]
fn traces_and_call_records_on_a_full_disk_cost_only_themselves() {
    let _turn = lock::light();
    let disk = SmallDisk::new();
    let [messages, records, events] = ["messages", "records", "events"].map(|name| disk.file(name));
    let over = calls(&[
        "-trace_msg",
        "-message_file",
        &messages,
        "-call_records_jsonl",
        &records,
        "-log_file_jsonl",
        &events,
    ])
    .expect_code(0);
    assert_eq!(over.summary().succeeded(), 2000);
    let unwritten = over.summary().number("/traces/unwritten_bytes");
    assert!(unwritten > 1 << 20, "{unwritten} bytes were not written");
    let said = &over.finished.stderr;
    // One complaint at once and one at the end for each such file, not one for each record.
    let complaints = said.matches("cannot write").count();
    assert!((1..=6).contains(&complaints), "{said}");
    let lost = over.summary().number("/traces/unwritten_records/message_sent");
    assert!(lost > 1000, "{lost} messages");
    let written: u64 = [&messages, &records, &events].map(|path| size(path)).into_iter().sum();
    assert!(written <= 1 << 20);
}

#[test]
fn files_that_are_put_aside_stay_within_a_small_disk() {
    let _turn = lock::light();
    let disk = SmallDisk::new();
    let messages = disk.file("messages");
    let over = calls(&[
        "-trace_msg",
        "-message_file",
        &messages,
        "-ringbuffer_size",
        "100000",
        "-ringbuffer_files",
        "3",
    ])
    .expect_code(0);
    assert_eq!(over.summary().succeeded(), 2000);
    let unwritten = over.summary().number("/traces/unwritten_bytes");
    assert_eq!(unwritten, 0, "{}", over.finished.stderr);
    let files: Vec<u64> = fs::read_dir(&disk.path)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!((2..=4).contains(&files.len()), "{files:?}");
    // The last entry of a file may exceed its limit.
    assert!(files.iter().all(|&bytes| bytes < 110_000), "{files:?}");
}

#[test]
fn a_disk_that_is_full_from_the_beginning_does_not_keep_calls_from_being_made() {
    let _turn = lock::light();
    let disk = SmallDisk::new();
    // The disk is full before the run begins.
    let filler = disk.file("filler");
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    assert!(size(&filler) >= 1 << 19, "the disk is not full");
    let rows = disk.file("rows.csv");
    let over = calls(&["-trace_stat", "-stf", &rows, "-fd", "1"]).expect_code(0);
    assert_eq!(over.summary().succeeded(), 2000);
    assert!(over.finished.stderr.contains("cannot write"), "{}", over.finished.stderr);
}

/// The value of a series in `text`.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn the_daemon_says_which_engine_lacks_which_records() {
    let _turn = lock::light();
    let port = ports::free();
    let daemon = Daemon::start(json!({
        "server": {
            "id": "management", "role": "management", "scenario_name": "uas",
            "transport": "u1", "local_ip": "127.0.0.1", "local_port": port
        },
        "clients": [{
            "id": "load", "role": "load", "scenario_name": "uac", "transport": "u1",
            "local_ip": "127.0.0.1", "local_port": ports::free(),
            "remote_addr": format!("127.0.0.1:{port}"), "rate": 50, "total_calls": 0,
            // A device that never has room.
            "extra_args": ["-trace_msg", "-message_file", "/dev/full"]
        }]
    }));
    let series = |engine: &str, kind: &str| {
        let family = "gossipper_trace_records_unwritten_total";
        format!("{family}{{engine=\"{engine}\",kind=\"{kind}\"}} ")
    };
    let lost = |engine: &str, kind: &str| {
        value(&daemon.expect("GET", "/metrics", None).body, &series(engine, kind)).unwrap()
    };
    let end = Instant::now() + PATIENCE;
    while lost("load", "message_sent") < 100.0 || lost("load", "message_received") < 100.0 {
        assert!(Instant::now() < end, "no lost record is told\n{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(lost("load", "call_ended") + lost("load", "row"), 0.0);
    assert_eq!(lost("management", "message_sent"), 0.0);
    let stats = daemon.expect("GET", "/api/v1/stats", None).body;
    assert!(stats.contains("\"unwritten_records\":{"), "{stats}");
    // Hundreds of failed writes within a minute.
    let said = daemon.stderr();
    let complaints: Vec<&str> =
        said.lines().filter(|line| line.contains("cannot write /dev/full: ")).collect();
    assert_eq!(complaints.len(), 1, "{said}");
    assert!(complaints[0].contains("load"), "{said}");
    // Later losses are reported at the end.
    let said = daemon.stop().stderr;
    assert!(said.contains("more entries are lost, "), "{said}");
}
