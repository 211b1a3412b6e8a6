//! Running the commands of `exec command=` beside the run: a thread of its own starts them and
//! collects them when they end. A worker only ever puts a text into a queue.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rtrb::Consumer;

/// Commands that run at once; others wait in their queue.
const PROCESSES_MAX: usize = 64;
/// How often queues and processes are looked at.
const POLL: Duration = Duration::from_millis(5);
/// How long commands that wait may still be started once the run is over.
const FINISH: Duration = Duration::from_secs(5);

/// The thread. See the module's documentation.
pub(crate) struct Shell {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Shell {
    /// Starts the thread on the workers' queues.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(queues: Vec<Consumer<Box<[u8]>>>) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread =
            thread::Builder::new().name("shell".to_owned()).spawn(move || run(queues, &over))?;
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Lets what waits still start, and returns how many commands could not. Commands that run go
    /// on by themselves, as in SIPp.
    pub(crate) fn finish(mut self) -> usize {
        self.is_over.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// Starts commands until the run is over and the queues are empty; returns how many were dropped.
fn run(mut queues: Vec<Consumer<Box<[u8]>>>, is_over: &AtomicBool) -> usize {
    let mut children: Vec<Child> = Vec::new();
    let mut dropped = 0;
    let mut end: Option<Instant> = None;
    loop {
        // Asked before the queues are emptied: what was put there earlier is not missed.
        let over = is_over.load(Ordering::Acquire);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        for queue in &mut queues {
            while children.len() < PROCESSES_MAX {
                let Ok(command) = queue.pop() else { break };
                match start(&command) {
                    Ok(child) => children.push(child),
                    Err(_) => dropped += 1,
                }
            }
        }
        let waiting: usize = queues.iter().map(Consumer::slots).sum();
        if over {
            let end = *end.get_or_insert_with(|| Instant::now() + FINISH);
            if waiting == 0 || Instant::now() >= end {
                return dropped + waiting;
            }
        }
        thread::sleep(POLL);
    }
}

fn start(command: &[u8]) -> io::Result<Child> {
    Command::new("sh").arg("-c").arg(OsStr::from_bytes(command)).stdin(Stdio::null()).spawn()
}
