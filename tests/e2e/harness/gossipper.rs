//! Starting the program under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use super::process::{Finished, Process};
use super::scratch::Scratch;
use super::summary::Summary;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gossipper");

/// A run of the program that writes a summary.
pub struct Run {
    process: Process,
    scratch: Scratch,
}

/// A run that is over.
pub struct Over {
    /// Exit code and output.
    pub finished: Finished,
    /// The summary; `None` if the run wrote none.
    pub summary: Option<Summary>,
}

impl Over {
    /// The summary of a run that must have written one.
    #[track_caller]
    pub fn summary(&self) -> &Summary {
        self.summary
            .as_ref()
            .unwrap_or_else(|| panic!("the run wrote no summary: {:?}", self.finished))
    }

    /// Fails the test unless the process exited with `code`.
    #[track_caller]
    pub fn expect_code(mut self, code: i32) -> Self {
        self.finished = self.finished.expect_code(code);
        self
    }
}

/// Starts a run. Without its own limit it ends after five minutes, even if the test has died.
#[track_caller]
pub fn start(args: &[&str]) -> Run {
    start_as(Command::new(PROGRAM), args)
}

/// Starts a run in the network namespace `namespace`.
#[track_caller]
pub fn start_in(namespace: &str, args: &[&str]) -> Run {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, PROGRAM]);
    start_as(command, args)
}

/// Starts a run by a command that has everything except the arguments.
#[track_caller]
pub fn start_as(command: Command, args: &[&str]) -> Run {
    let (command, scratch) = prepare(command, args);
    Run { process: Process::spawn(command), scratch }
}

/// Starts a run whose stdout is a pipe without a reader.
#[track_caller]
pub fn start_unread(args: &[&str]) -> Run {
    let (command, scratch) = prepare(Command::new(PROGRAM), args);
    Run { process: Process::spawn_unread(command), scratch }
}

fn prepare(mut command: Command, args: &[&str]) -> (Command, Scratch) {
    let scratch = Scratch::new();
    command.args(args).arg("-summary_json").arg(summary_path(&scratch));
    if !args.contains(&"-timeout") {
        command.args(["-timeout", "300"]);
    }
    command.env("TERM", "dumb").current_dir(scratch.path());
    (command, scratch)
}

/// Runs to the end.
#[track_caller]
pub fn run(args: &[&str]) -> Over {
    start(args).finish()
}

/// Starts a server on a port of the kernel's choice and waits until it listens.
#[track_caller]
pub fn serve(args: &[&str]) -> (Run, SocketAddr) {
    let mut run = start(&[args, &["-p", "0"]].concat());
    let address = run.wait_until_listening();
    (run, address)
}

fn summary_path(scratch: &Scratch) -> PathBuf {
    scratch.join("summary.json")
}

impl Run {
    /// The process of the run.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the run.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the first line of output names the address at which the run listens.
    #[track_caller]
    pub fn wait_until_listening(&mut self) -> SocketAddr {
        self.process.wait_for_stdout("address", |text| {
            let names = [" UDP ", " TCP ", " TLS ", " WS ", " WSS "];
            let (_, rest) = names.iter().find_map(|name| text.split_once(name))?;
            let end = rest.find([' ', '\n'])?;
            rest[..end].parse().ok()
        })
    }

    /// Waits until `text` is on stderr.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        self.process.wait_for_stderr(text);
    }

    /// Waits for the end of the run.
    #[track_caller]
    pub fn finish(self) -> Over {
        self.finish_with_files().0
    }

    /// Like [`Self::finish`]; also returns the folder of the run.
    #[track_caller]
    pub fn finish_with_files(self) -> (Over, Scratch) {
        let finished = self.process.finish();
        let summary = Summary::read(&summary_path(&self.scratch));
        (Over { finished, summary }, self.scratch)
    }
}
