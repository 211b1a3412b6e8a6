//! Commands to a running run: traces that are switched on and off, the global variables, the
//! circuits, the dashboard. Also signals under the name of SIPp.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::gossipper::{self, PROGRAM};
use crate::harness::peer::Peer;
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::tty::Tty;
use crate::harness::{PATIENCE, lock};

/// A run in its own folder, with a control socket.
struct Told {
    process: Process,
    socket: UdpSocket,
    control: String,
    scratch: Scratch,
}

impl Told {
    fn start(args: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut command = std::process::Command::new(PROGRAM);
        command.args(args).args(["-i", "127.0.0.1", "-p", "0", "-ci", "127.0.0.1", "-cp", "0"]);
        command.args(["-nostdin", "-timeout", "100"]).current_dir(scratch.path());
        let mut process = Process::spawn(command);
        let address = |text: &str| {
            let (_, rest) = text.split_once("| control ")?;
            let (address, _) = rest.split_once(['\n', ' ', '\x1b'])?;
            Some(address.to_owned())
        };
        // Under the name of SIPp stdout belongs to its screens.
        let control = if args[0] == "sipp" {
            loop {
                process.wait_for_stderr("| control ");
                if let Some(whole) = address(&process.stderr()) {
                    break whole;
                }
            }
        } else {
            process.wait_for_stdout("address", address)
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { process, socket, control, scratch }
    }

    fn press(&self, key: &str) {
        self.socket.send_to(key.as_bytes(), &self.control).unwrap();
    }

    fn tell(&self, command: &str) {
        self.socket.send_to(format!("c{command}").as_bytes(), &self.control).unwrap();
    }

    /// Waits until the file whose name ends in `end` contains `text`.
    fn wait_for_file(&mut self, end: &str, text: &str) -> String {
        let folder = self.scratch.path().to_owned();
        self.process.wait_until(text, || {
            let found = read(&folder, end)?;
            found.contains(text).then_some(found)
        })
    }
}

/// The content of the file in `folder` whose name ends in `end`.
fn read(folder: &Path, end: &str) -> Option<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let path = files.into_iter().find(|path| path.to_string_lossy().ends_with(end))?;
    fs::read_to_string(path).ok()
}

#[test]
fn traces_can_be_switched_on_and_off() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let mut run = Told::start(&["sipp", "-sn", "options", "-r", "20", "-m", "100000", &remote]);
    let next = || {
        let message = peer.receive();
        peer.answer(&message, "200 OK", "");
        message.header("Call-ID").to_owned()
    };
    next();
    assert_eq!(read(run.scratch.path(), "_messages.log"), None);
    run.tell("trace messages on");
    run.tell("trace shortmessages on");
    let traced = loop {
        let call = next();
        if read(run.scratch.path(), "_messages.log").is_some_and(|text| text.contains(&call)) {
            break call;
        }
    };
    run.wait_for_file("_shortmessages.log", &traced);
    run.tell("trace messages off");
    run.tell("trace shortmessages off");
    // Records on their way are still written; then nothing comes any more.
    let mut quiet = 0;
    let mut before = 0;
    while quiet < 20 {
        next();
        let length = read(run.scratch.path(), "_messages.log").unwrap().len();
        quiet = if length == before { quiet + 1 } else { 0 };
        before = length;
    }
    // And once more.
    run.tell("trace messages on");
    loop {
        let call = next();
        if read(run.scratch.path(), "_messages.log").unwrap().contains(&call) {
            break;
        }
    }
    run.process.signal(Signal::INT);
    run.process.finish();
}

#[test]
fn global_variables_can_be_asked_for() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/init_globals.xml");
    let line = ["sipp", "-sf", path, "-r", "1", "-m", "2", "-trace_err", &remote];
    let mut run = Told::start(&line);
    let message = peer.receive();
    run.tell("dump variables");
    run.process.wait_for_stderr("$domain = example.org, $limit = 3.000000, $sent = 1.000000");
    let note = "global variable $domain = example.org";
    run.wait_for_file("_errors.log", note);
    // Each of several questions at once is noted.
    for _ in 0..12 {
        run.tell("dump variables");
    }
    let folder = run.scratch.path().to_owned();
    run.process.wait_until("13 notes", || {
        read(&folder, "_errors.log").filter(|text| text.matches(note).count() == 13)
    });
    peer.answer(&message, "200 OK", "");
    run.process.signal(Signal::INT);
    run.process.finish();

    let mut run = Told::start(&["-sn", "options", "-r", "1", "-m", "2", &remote]);
    peer.receive();
    run.tell("dump variables");
    run.process.wait_for_stderr("no global variable has a value");
    run.process.signal(Signal::INT);
    run.process.finish();
}

#[test]
fn a_rate_is_changed_in_the_unit_of_its_option() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["sipp", "-sn", "options", "-r", "10", "-rp", "330", "-m", "1", "-trace_screen"];
    let mut run = Told::start(&[&line[..], &[&remote]].concat());
    let message = peer.receive();
    run.press("+");
    run.press("s");
    // SIPp's limit: three times the calls of a second, with 11 calls each 330 ms.
    run.wait_for_file("_screen.log", "(limit 100)");
    // Most calls per period; in a second they are more.
    run.tell("set rate 999999999");
    run.press("+");
    run.press("s");
    let most = 1_000_000_000u64 * 3000 / 330;
    run.wait_for_file("_screen.log", &format!("(limit {most})"));
    peer.answer(&message, "200 OK", "");
    run.process.finish().expect_code(0);
}

#[test]
fn circuits_in_use_are_shown() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/data/options_circuit.xml");
    let mut tty = Tty::start(&format!(
        "{PROGRAM} sipp -sf {path} -i 127.0.0.1 -p 0 -r 20 -m 2 -nr -tdmmap '{{0-0}}{{7}}{{3-3}}{{1-5}}' \
         {remote}"
    ));
    let messages = [peer.receive(), peer.receive()];
    let circuits = messages.each_ref().map(|message| message.header("X-Circuit"));
    assert_eq!(circuits, ["0.7.3/5", "0.7.3/4"]);
    tty.press("5");
    let at = tty.wait_for(0, "TDM Map Screen");
    let at = tty.wait_for(at, "2 of 5 circuits are in use");
    let at = tty.wait_for(at, "...**");
    peer.answer(&messages[0], "200 OK", "");
    let at = tty.wait_for(at, "1 of 5 circuits are in use");
    tty.wait_for(at, "...*.");
    peer.answer(&messages[1], "200 OK", "");
    assert_eq!(tty.finish(), 0);
}

#[test]
fn sigusr2_dumps_the_screens_of_sipp() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["sipp", "-sn", "options", "-r", "1", "-m", "1", "-trace_screen", &remote];
    let mut run = Told::start(&line);
    let message = peer.receive();
    run.process.signal(Signal::USR2);
    let text = run.wait_for_file("_screen.log", "Repartition Screen");
    assert!(text.contains("Scenario Screen") && text.contains("Statistics Screen"), "{text}");
    peer.answer(&message, "200 OK", "");
    run.process.finish().expect_code(0);
}

#[test]
fn a_dashboard_without_a_terminal_is_said_to_be_missing() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1", "-m", "1"]);
    let remote = address.to_string();
    let over = gossipper::run(&["-sn", "uac", "-interactive", "-m", "1", "-p", "0", &remote]);
    let over = over.expect_code(0);
    assert!(
        over.finished.stderr.contains("-interactive has no effect"),
        "{}",
        over.finished.stderr
    );
    server.finish().expect_code(0);
}

#[test]
fn the_dashboard_is_drawn_more_often_than_figures_come() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-i", "127.0.0.1"]);
    let mut tty = Tty::start(&format!(
        "{PROGRAM} -sn uac -interactive -i 127.0.0.1 -p 0 -m 0 -r 10 -d 100 {address}"
    ));
    // Figures come at the end of a second; between two seconds the clock goes on.
    let end = Instant::now() + PATIENCE;
    let is_between = |screen: &str| {
        let times = screen.split("00:00:0").skip(1).filter_map(|rest| rest.get(1..3));
        times.filter(|tenths| *tenths != ".0").count() >= 3
    };
    while !is_between(&tty.screen()) {
        assert!(Instant::now() < end, "{}", tty.screen());
        thread::sleep(Duration::from_millis(20));
    }
    tty.press("q");
    assert_eq!(tty.finish(), 0);
    server.signal(Signal::INT);
    server.finish().expect_code(0);
}
