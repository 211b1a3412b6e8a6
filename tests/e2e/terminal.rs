//! Runs at the terminal: screens, keys, commands, the control socket, and the restored terminal.

use std::net::UdpSocket;

use rustix::process::Signal;

use crate::harness;
use crate::harness::gossipper::{self, PROGRAM};
use crate::harness::lock;
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::tty::Tty;

#[test]
fn sipps_screens_are_drawn_and_its_keys_work() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let scratch = Scratch::new();
    let folder = scratch.path().display();
    let mut tty = Tty::start(&format!(
        "cd {folder} && {PROGRAM} sipp -sn uac -i 127.0.0.1 -p 0 -r 5 -d 100 {address}"
    ));
    let at = tty.wait_for(0, "Scenario Screen");
    let at = tty.wait_for(at, "INVITE ---------->");
    tty.press("2");
    let at = tty.wait_for(at, "Statistics Screen");
    let at = tty.wait_for(at, "Successful call");
    tty.press("3");
    let at = tty.wait_for(at, "Repartition Screen");
    tty.press("1+");
    let at = tty.wait_for(at, "6.0(100 ms)/1.000s");
    tty.press("*");
    let at = tty.wait_for(at, "16.0(100 ms)/1.000s");
    tty.press("/-");
    let at = tty.wait_for(at, "5.0(100 ms)/1.000s");
    tty.press("p");
    let at = tty.wait_for(at, "Paused: ");
    tty.press("p");
    let at = tty.wait_for(at, "[p]: pause");
    tty.press("cset rate 20\r");
    let at = tty.wait_for(at, "20.0(100 ms)/1.000s");
    tty.press("cset speed 9\r");
    let at = tty.wait_for(at, "unknown command");
    tty.press("s");
    let at = tty.wait_for(at, "screen.log");
    tty.press("q");
    tty.wait_for(at, "Test Terminated");
    assert_eq!(tty.finish(), 0);
    let dumps: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with("_screen.log"))
        .collect();
    assert_eq!(dumps.len(), 1, "{dumps:?}");
    let dump = std::fs::read_to_string(&dumps[0]).unwrap();
    for title in ["Scenario Screen", "Statistics Screen", "Repartition Screen"] {
        assert!(dump.contains(title), "{dump}");
    }
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn a_form_leads_to_a_run_under_a_dashboard() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let mut tty = Tty::start(&format!("{PROGRAM} tui"));
    let at = tty.wait_for(0, "Remote host");
    // Enter leaves a field only if its value is possible.
    tty.press(&format!("{address}\t\x1b[B\x1b[A\t127.0.0.1\t0\t\tx\r"));
    let at = tty.wait_for(at, "not a");
    // The button behind the last field starts it.
    tty.press("\x7f\x1b[F\r");
    let at = tty.wait_for(at, "Service time");
    let at = tty.wait_for(at, "INVITE");
    tty.press("p");
    let at = tty.wait_for(at, "paused");
    tty.press("2");
    let at = tty.wait_for(at, "Statistics Screen");
    tty.press("\x1b");
    let at = tty.wait_for(at, "┌ Failures ─");
    tty.press("q");
    tty.wait_for(at, "Verdict ");
    assert_eq!(tty.finish(), 0);
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn a_run_from_the_form_ends_with_its_terminal() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let mut tty = Tty::start(&format!("sh -c 'echo pid $$.; exec {PROGRAM} tui'"));
    let at = tty.wait_for(0, "Remote host");
    tty.press(&format!("{address}\x1b[F\r"));
    tty.wait_for(at, "Service time");
    let screen = tty.screen();
    let pid = screen.split("pid ").nth(1).and_then(|rest| rest.split('.').next());
    let process = format!("/proc/{}/exe", pid.expect("its number"));
    assert!(std::fs::exists(&process).unwrap(), "{process}");
    drop(tty);
    let end = std::time::Instant::now() + harness::PATIENCE;
    while std::fs::read_link(&process).is_ok() {
        assert!(std::time::Instant::now() < end, "it goes on without a terminal");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // What became of calls that lost their caller is not asked here.
    server.signal(Signal::INT);
    server.finish();
}

#[test]
fn a_signal_gives_the_terminal_back_from_the_form() {
    let _turn = lock::light();
    let mut tty = Tty::start(&format!("{PROGRAM} tui"));
    tty.wait_for(0, "Remote host");
    // Ctrl-C.
    tty.press("\x03");
    assert_eq!(tty.finish(), 0);
    let mut tty = Tty::start(&format!("{PROGRAM} tui"));
    tty.wait_for(0, "Remote host");
    // Ctrl-\.
    tty.press("\x1c");
    assert_eq!(tty.finish(), 0);
}

#[test]
fn a_signal_that_ends_a_run_at_once_gives_the_terminal_back() {
    let _turn = lock::light();
    let run = format!("{PROGRAM} sipp -sn uas -i 127.0.0.1 -p 0");
    // A shell reports a program that a signal ended as 128 and the signal.
    let mut tty = Tty::start(&run);
    tty.wait_for(0, "Scenario Screen");
    tty.press("\x1c");
    assert_eq!(tty.finish(), 128 + Signal::QUIT.as_raw());
    let mut tty = Tty::start(&format!("sh -c 'echo pid $$; exec {run}'"));
    let at = tty.wait_for(0, "pid ");
    tty.wait_for(at, "Scenario Screen");
    let pid = tty.screen()[at..].split_whitespace().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    assert_eq!(tty.finish(), 128 + Signal::HUP.as_raw());
}

#[test]
fn the_form_needs_a_terminal() {
    let mut command = std::process::Command::new(PROGRAM);
    command.arg("tui");
    let finished = Process::spawn(command).finish().expect_code(1);
    assert!(finished.stderr.contains("needs a terminal"), "{}", finished.stderr);
}

#[test]
fn our_status_line_can_be_exchanged_for_screens() {
    let _turn = lock::light();
    let mut tty = Tty::start(&format!("{PROGRAM} -sn uas -i 127.0.0.1 -p 0"));
    let at = tty.wait_for(0, "active 0");
    tty.press("1");
    let at = tty.wait_for(at, "----------> INVITE");
    tty.press("0");
    let at = tty.wait_for(at, "\x1b[?1049l");
    let at = tty.wait_for(at, "active 0");
    // Ctrl-C is the signal that it always was.
    tty.press("\x03");
    tty.wait_for(at, "0 started, 0 succeeded");
    assert_eq!(tty.finish(), 0);
}

#[test]
fn a_terminal_that_can_do_nothing_gets_lines() {
    let _turn = lock::light();
    for term in ["dumb", "unknown", "''"] {
        let mut tty = Tty::start(&format!("TERM={term} {PROGRAM} sipp -sn uas -i 127.0.0.1 -p 0"));
        let at = tty.wait_for(0, "active 0");
        tty.press("1q");
        tty.wait_for(at, "Test Terminated");
        assert!(!tty.screen().contains("\x1b[?1049h"), "{}", tty.screen());
        assert_eq!(tty.finish(), 0);
    }
}

#[test]
fn a_keyboard_that_is_to_be_left_alone_is() {
    let _turn = lock::light();
    let mut tty = Tty::start(&format!("{PROGRAM} sipp -nostdin -sn uas -i 127.0.0.1 -p 0"));
    let at = tty.wait_for(0, "Scenario Screen");
    tty.press("2q\n");
    let at = tty.wait_for(at, "2q");
    tty.press("\x03");
    tty.wait_for(at, "Test Terminated");
    assert_eq!(tty.finish(), 0);
}

#[test]
fn a_stopped_program_leaves_the_terminal_and_takes_it_again() {
    let _turn = lock::light();
    // An interactive shell, so that Ctrl-Z gives the terminal back to it.
    let mut tty = Tty::start("bash --norc -i");
    tty.press(&format!("PS1='shell> '; {PROGRAM} sipp -sn uas -i 127.0.0.1 -p 0\n"));
    let at = tty.wait_for(0, "Scenario Screen");
    tty.press("\x1a");
    let at = tty.wait_for(at, "\x1b[?1049l");
    let at = tty.wait_for(at, "shell> ");
    tty.press("fg\n");
    let at = tty.wait_for(at, "\x1b[?1049h");
    let at = tty.wait_for(at, "Scenario Screen");
    tty.press("q");
    tty.wait_for(at, "Test Terminated");
    tty.press("exit 7\n");
    assert_eq!(tty.finish(), 7);
}

/// The address of a run's control socket.
fn control_address(stderr: &str) -> Option<String> {
    let (_, rest) = stderr.split_once("| control ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[test]
fn the_control_socket_takes_keys_and_commands_and_survives_noise() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let remote = address.to_string();
    let line =
        ["-sn", "uac", "-p", "0", "-r", "1", "-m", "30", "-ci", "127.0.0.1", "-cp", "0", &remote];
    let mut client = gossipper::start(&line);
    let control = client.process().wait_for_stdout("address", control_address);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for noise in [&[][..], &[0; 1], &[0xff; 9000], b"cset rate lots", b"c", b"\x1b[A", b"csq"] {
        socket.send_to(noise, &control).unwrap();
    }
    socket.send_to(b"cset rate 100", &control).unwrap();
    client.finish().expect_code(0).summary().expect_all_succeeded(30);
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}

#[test]
fn as_sipp_the_control_socket_is_open_and_the_screens_are_printed_at_the_end() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", "0"]).current_dir(scratch.path());
    let mut server = Process::spawn(command);
    let (mut port, stderr) = (0, "| control 0.0.0.0:");
    while port == 0 {
        server.wait_for_stderr(stderr);
        let all = server.stderr();
        let address = control_address(&all).unwrap();
        port = address.rsplit(':').next().unwrap().parse().unwrap_or(0);
    }
    assert!((8888..8948).contains(&port), "{port}");
    assert_eq!(server.stdout(), "");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"q", ("127.0.0.1", port)).unwrap();
    let finished = server.finish().expect_code(0);
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert!(lines[0].contains("Scenario Screen"), "{}", finished.stdout);
    assert!(lines.iter().any(|line| line.contains("Statistics Screen")), "{}", finished.stdout);
    assert!(lines.last().unwrap().contains("Test Terminated"), "{}", finished.stdout);
}

#[test]
fn a_control_port_that_is_taken_is_an_error() {
    let _turn = lock::light();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["-sn", "uas", "-p", "0", "-ci", "127.0.0.1", "-cp", &port]);
    let finished = Process::spawn(command).finish().expect_code(255);
    assert!(finished.stderr.contains("cannot open the control socket"), "{}", finished.stderr);
}
