//! Running the commands of `exec command=` beside the run: a thread of its own starts them and
//! collects them when they end. A worker only ever puts a text into a queue.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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
    gate: Arc<OnceLock<Arc<AtomicBool>>>,
    thread: Option<JoinHandle<usize>>,
}

impl Shell {
    /// Starts the thread on the workers' queues. It [obeys](Self::obey) a gate, if there is one,
    /// from the first command on.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(
        queues: Vec<Consumer<Box<[u8]>>>,
        is_allowed: Option<Arc<AtomicBool>>,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let gate = Arc::new(is_allowed.map_or_else(OnceLock::new, OnceLock::from));
        let (over, asked) = (Arc::clone(&is_over), Arc::clone(&gate));
        let thread = thread::Builder::new().name("shell".to_owned()).spawn(move || {
            let is_open =
                || asked.get().is_none_or(|is_allowed| is_allowed.load(Ordering::Acquire));
            run(queues, &over, is_open)
        })?;
        Ok(Self { is_over, gate, thread: Some(thread) })
    }

    /// From here on commands start only while `is_allowed`; the others are dropped and counted.
    /// The first gate stays.
    pub(super) fn obey(&self, is_allowed: &Arc<AtomicBool>) {
        let _ = self.gate.set(Arc::clone(is_allowed));
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
fn run(
    mut queues: Vec<Consumer<Box<[u8]>>>,
    is_over: &AtomicBool,
    is_open: impl Fn() -> bool,
) -> usize {
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
                match is_open().then(|| start(&command)) {
                    Some(Ok(child)) => children.push(child),
                    Some(Err(_)) | None => dropped += 1,
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

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;

    #[test]
    fn commands_start_only_while_they_are_allowed() {
        let place = std::env::temp_dir().join(format!("gossipper-gate-{}", std::process::id()));
        let is_allowed = Arc::new(AtomicBool::new(false));
        let dropped = |is_now_allowed, is_early: bool| {
            is_allowed.store(is_now_allowed, Ordering::Release);
            let (mut commands, queue) = RingBuffer::new(1);
            let gate = is_early.then(|| Arc::clone(&is_allowed));
            let shell = Shell::start(vec![queue], gate).unwrap();
            shell.obey(&is_allowed);
            let command = format!("mkdir {}", place.display());
            commands.push(command.into_bytes().into_boxed_slice()).unwrap();
            shell.finish()
        };
        assert_eq!(dropped(false, false), 1);
        assert_eq!(dropped(false, true), 1);
        assert!(!place.exists());
        assert_eq!(dropped(true, true), 0);
        // A command goes on by itself after the end of the run.
        while !place.exists() {
            thread::yield_now();
        }
        std::fs::remove_dir(place).unwrap();
    }
}
