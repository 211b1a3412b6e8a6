//! `gossipper shell`: lines from a pipe build up a run and carry it out.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{gossipper, lock};

fn shell(script: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(gossipper::PROGRAM)
        .arg("shell")
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell can be started");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(script.as_bytes()).expect("it reads its input");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_script_runs_calls() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "3"]);
    let script = format!(
        "# three calls\nset destination {address}\nset local_bind_ip 127.0.0.1\n\
         set listen_port 0\nset total_calls 3\nset calls_per_second 20\ncheck\nrun\n"
    );
    let (code, stdout, stderr) = shell(&script);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("this can be run"), "{stdout}");
    assert!(stdout.contains("success=3"), "{stdout}");
    assert!(stdout.contains("exit code 0"), "{stdout}");
    server.finish().expect_code(0).summary().expect_all_succeeded(3);
}

#[test]
fn a_line_that_cannot_be_carried_out_ends_a_script() {
    let (code, _, stderr) = shell("set calls_per_second fast\ncheck\nrun\n");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("fast"), "{stderr}");
    let (code, _, stderr) = shell("set rtp_send 1\n");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no setting `rtp_send`"), "{stderr}");
}
