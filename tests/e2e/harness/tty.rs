//! A program on a terminal: `script` gives it one whose keyboard and screen are pipes.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, tools};

/// A running program and its terminal of 50 rows and 100 columns. Dropping it kills it.
pub struct Tty {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Tty {
    /// Starts the command line `line`, which the shell reads.
    #[track_caller]
    pub fn start(line: &str) -> Self {
        tools::need("script");
        // The shell itself outlives Ctrl-C and Ctrl-\, which dash would not without the trap.
        let line = format!(
            "trap : INT QUIT; stty rows 50 cols 100; export TERM=xterm; {line}; echo is-over $?; stty -a"
        );
        let mut child = Command::new("script")
            .env("SHELL", "/bin/sh")
            .args(["-qfc", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script starts");
        let keyboard = child.stdin.take().expect("a pipe");
        let mut output = child.stdout.take().expect("a pipe");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                sink.lock().expect("no reader panics").extend_from_slice(&bytes[..len]);
            }
        });
        Self { child, keyboard, screen }
    }

    /// All that was written to the screen so far, with its control sequences.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no reader panics")).into_owned()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self.keyboard.flush().expect("the terminal takes keys");
    }

    /// Waits until `text` was written after the first `from` bytes; returns the offset of its end.
    #[track_caller]
    pub fn wait_for(&mut self, from: usize, text: &str) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if let Some(at) = screen.get(from..).and_then(|new| new.find(text)) {
                return from + at + text.len();
            }
            assert!(Instant::now() < end, "{text:?} was not shown:\n{screen}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the program's end; returns its exit code. Fails unless the terminal is as before:
    /// it echoes, reads lines, and shows its own screen and cursor.
    #[track_caller]
    pub fn finish(mut self) -> i32 {
        let at = self.wait_for(0, "is-over ");
        self.wait_for(at, " echo ");
        let screen = self.screen();
        let code = screen[at..].split_whitespace().next().unwrap_or_default();
        let settings = &screen[at..];
        assert!(settings.contains(" icanon "), "{settings}");
        assert!(screen.rfind("\x1b[?1049h") <= screen.rfind("\x1b[?1049l"), "the screen is kept");
        assert!(screen.rfind("\x1b[?25l") <= screen.rfind("\x1b[?25h"), "the cursor is hidden");
        code.parse().unwrap_or_else(|_| panic!("no exit code in {settings}"))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
