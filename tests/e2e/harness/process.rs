//! A child process whose output is captured and that never outlives its test.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdout: Capture,
    stderr: Capture,
    readers: Vec<JoinHandle<()>>,
}

/// The result of a process that ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All output on stdout.
    pub stdout: String,
    /// All output on stderr.
    pub stderr: String,
}

impl Finished {
    /// Fails the test unless the process exited with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Process {
    /// Starts `command` with both outputs captured and no input.
    #[track_caller]
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, |stdout| stdout)
    }

    /// Starts `command` with a stdout that breaks at once.
    #[track_caller]
    pub fn spawn_unread(command: Command) -> Self {
        Self::spawn_with(command, |_| None)
    }

    #[track_caller]
    fn spawn_with(
        mut command: Command,
        reader: impl FnOnce(Option<ChildStdout>) -> Option<ChildStdout>,
    ) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (stdout, out) = Capture::of(reader(child.stdout.take()));
        let (stderr, err) = Capture::of(child.stderr.take());
        let readers = [out, err].into_iter().flatten().collect();
        Self { name, child, stdout, stderr, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process can be signalled");
    }

    /// Tells whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process can be waited for").is_none()
    }

    /// The output on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// The output on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until `found` returns a value; a process that ends before fails the test.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let running = self.is_running();
            if let Some(value) = found() {
                return value;
            }
            assert!(running && Instant::now() < end, "{}: no {what}\n{}", self.name, self.output());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `found` returns a value for the output on stdout.
    #[track_caller]
    pub fn wait_for_stdout<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let stdout = self.stdout.clone();
        self.wait_until(what, || found(&stdout.text()))
    }

    /// Waits until `text` is on stderr.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        let stderr = self.stderr.clone();
        self.wait_until(text, || stderr.text().contains(text).then_some(()));
    }

    /// Waits until `found` returns a value for the output on stderr.
    #[track_caller]
    pub fn wait_for_stderr_as<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let stderr = self.stderr.clone();
        self.wait_until(what, || found(&stderr.text()))
    }

    /// Waits for the end of the process; a process that does not end fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                break status;
            }
            if Instant::now() >= end {
                let name = self.name.clone();
                let output = self.output();
                drop(self);
                panic!("{name} did not end within {PATIENCE:?}\n{output}");
            }
            thread::sleep(Duration::from_millis(10));
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    fn output(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes that a thread reads from a pipe.
#[derive(Clone)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Capture {
    /// Reads `pipe` to its end.
    fn of(pipe: Option<impl Read + Send + 'static>) -> (Self, Option<JoinHandle<()>>) {
        let capture = Self { bytes: Arc::default() };
        let sink = capture.clone();
        let reader = pipe.map(|mut pipe| {
            thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(len @ 1..) = pipe.read(&mut chunk) {
                    sink.bytes.lock().expect("no reader panics").extend_from_slice(&chunk[..len]);
                }
            })
        });
        (capture, reader)
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().expect("no reader panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
