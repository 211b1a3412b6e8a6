//! The daemon under test, `gossipper server -config`, in its own folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::gossipper::PROGRAM;
use super::http::Client;
use super::process::{Finished, Process};
use super::scratch::Scratch;
use super::{PATIENCE, ports};

/// A running daemon.
pub struct Daemon {
    process: Process,
    scratch: Scratch,
    address: Option<SocketAddr>,
}

/// A folder with a configuration, for a daemon that is not started yet.
pub struct Prepared {
    scratch: Scratch,
    environment: Vec<(String, String)>,
    is_elsewhere: bool,
}

/// The configuration of a daemon that answers calls on a free port and has an API.
pub fn management() -> Value {
    json!({
        "api_addr": "127.0.0.1:0",
        "role": "management",
        "scenario_name": "uas",
        "transport": "u1",
        "local_ip": "127.0.0.1",
        "local_port": ports::free(),
    })
}

/// A daemon with this configuration.
#[track_caller]
pub fn start(config: &Value) -> Daemon {
    prepare(config).start()
}

/// A folder with this configuration.
pub fn prepare(config: &Value) -> Prepared {
    let scratch = Scratch::new();
    scratch.write("gossipper.json", &format!("{config:#}"));
    again(scratch)
}

/// The folder of an earlier daemon, with all its content.
pub fn again(scratch: Scratch) -> Prepared {
    Prepared { scratch, environment: Vec::new(), is_elsewhere: false }
}

impl Prepared {
    /// Adds a file.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.scratch.write(name, text);
        self
    }

    /// Adds a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Starts the daemon and waits until its API answers.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let mut daemon = self.start_without_api();
        let (scheme, end) = ("status page on ", "/\n");
        let address = {
            let process = &mut daemon.process;
            process.wait_for_stderr(scheme);
            let text = process.stderr();
            let rest = text.split_once(scheme).map_or("", |(_, rest)| rest);
            let rest = rest.split_once("://").map_or("", |(_, rest)| rest);
            let address = rest.split(end).next().unwrap_or("");
            address.parse().unwrap_or_else(|error| panic!("{address:?}: {error}\n{text}"))
        };
        daemon.address = Some(address);
        daemon
    }

    /// Sets a working directory other than the folder.
    pub fn elsewhere(self) -> Self {
        Self { is_elsewhere: true, ..self }
    }

    /// The text of `gossipper config check` on stderr.
    pub fn check(&self) -> String {
        let mut command = Command::new(PROGRAM);
        command.args(["config", "check", "-config"]).arg(self.scratch.join("gossipper.json"));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    }

    /// Starts the daemon.
    #[track_caller]
    pub fn start_without_api(self) -> Daemon {
        let mut command = Command::new(PROGRAM);
        let (directory, config) = match self.is_elsewhere {
            true => (Path::new("/"), self.scratch.join("gossipper.json")),
            false => (self.scratch.path(), PathBuf::from("gossipper.json")),
        };
        command.args(["server", "-config"]).arg(config);
        command.env_remove("NOTIFY_SOCKET").current_dir(directory).envs(self.environment);
        Daemon { process: Process::spawn(command), scratch: self.scratch, address: None }
    }
}

impl Daemon {
    /// The address of its API.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it has an API")
    }

    /// A client of its API.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The process of the daemon.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A path in the daemon's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Writes a file into the daemon's folder.
    pub fn write(&self, name: &str, text: &str) {
        self.scratch.write(name, text);
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn finish(self) -> (Finished, Scratch) {
        (self.process.finish(), self.scratch)
    }

    /// Sends the signal to end, and waits for the end.
    #[track_caller]
    pub fn stop(self) -> (Finished, Scratch) {
        self.signal(Signal::TERM);
        let (finished, scratch) = self.finish();
        (finished.expect_code(0), scratch)
    }
}

/// Calls `found` until it returns a value.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "no {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
