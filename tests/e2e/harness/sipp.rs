//! SIPp as the peer.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use super::process::{Finished, Process};
use super::scratch::Scratch;
use super::{ports, tools};

/// Seconds after which SIPp ends by itself, even if the test has died.
const TIMEOUT_S: &str = "110";

/// A running SIPp.
pub struct Sipp {
    process: Process,
    scratch: Scratch,
}

/// A SIPp that has ended.
pub struct Over {
    /// Exit code and output.
    pub finished: Finished,
    /// The last line of its statistics, by column.
    pub statistics: HashMap<String, String>,
    /// The content of its error log.
    pub errors: String,
}

/// Starts SIPp.
#[track_caller]
pub fn start(args: &[&str]) -> Sipp {
    tools::need("sipp");
    let scratch = Scratch::new();
    let mut command = Command::new("sipp");
    command
        .args(args)
        .args(["-nostdin", "-timeout", TIMEOUT_S, "-trace_stat", "-stf", "statistics.csv"])
        .args(["-trace_err", "-error_file", "errors.log"])
        .env("TERM", "dumb")
        .current_dir(scratch.path());
    Sipp { process: Process::spawn(command), scratch }
}

/// Starts SIPp as a server on `port` and waits until it listens.
#[track_caller]
pub fn serve(port: u16, args: &[&str]) -> Sipp {
    let port_text = port.to_string();
    let mut sipp = start(&[args, &["-p", &port_text]].concat());
    let pid = sipp.process.id();
    sipp.process.wait_until("bound port", || {
        (ports::is_bound(pid, port) || ports::is_listening(pid, port)).then_some(())
    });
    sipp
}

impl Sipp {
    /// A number of the newest complete row of its statistics, which it writes every second if it
    /// was started with `-fd 1`; `None` before the first.
    pub fn newest(&self, column: &str) -> Option<u64> {
        let table = fs::read_to_string(self.scratch.join("statistics.csv")).ok()?;
        let mut lines = table.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let place = lines.next()?.split(';').position(|name| name == column)?;
        lines.next_back()?.split(';').nth(place)?.parse().ok()
    }

    /// Waits until SIPp listens on TCP `port`, as the other side of `-3pcc`.
    #[track_caller]
    pub fn wait_until_listening(&mut self, port: u16) {
        let pid = self.process.id();
        let listening = || ports::is_listening(pid, port).then_some(());
        self.process.wait_until("listening port", listening);
    }

    /// Waits for the end of SIPp.
    #[track_caller]
    pub fn finish(self) -> Over {
        self.finish_with_files().0
    }

    /// Like [`Self::finish`]; also returns the folder of the run.
    #[track_caller]
    pub fn finish_with_files(self) -> (Over, Scratch) {
        let finished = self.process.finish();
        let table = fs::read_to_string(self.scratch.join("statistics.csv")).unwrap_or_default();
        let errors = fs::read_to_string(self.scratch.join("errors.log")).unwrap_or_default();
        let mut lines = table.lines();
        let names = lines.next().unwrap_or_default().split(';').map(str::to_owned);
        let values = lines.last().unwrap_or_default().split(';').map(str::to_owned);
        (Over { finished, statistics: names.zip(values).collect(), errors }, self.scratch)
    }
}

impl Over {
    /// A cumulative number of its statistics.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let column = format!("{name}(C)");
        let value = self.statistics.get(&column).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {column} in SIPp's statistics: {:?}", self.finished))
    }

    /// Fails the test unless SIPp saw `calls` calls, all as in its scenario.
    #[track_caller]
    pub fn expect_all_succeeded(self, calls: u64) {
        let numbers = ["SuccessfulCall", "FailedCall", "FailedUnexpectedMessage", "OutOfCallMsgs"]
            .map(|name| self.number(name));
        assert_eq!(numbers, [calls, 0, 0, 0], "{}\n{}", self.finished.stdout, self.errors);
        assert_eq!(self.errors, "");
        self.finished.expect_code(0);
    }
}
