//! Execution of `exec command=`: a thread of its own starts the commands and collects them when
//! they end. A worker only puts a text into a queue.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rtrb::Consumer;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// Most commands at once; others wait in their queue.
const PROCESSES_MAX: usize = 64;
/// Period at which queues and processes are checked.
const POLL: Duration = Duration::from_millis(5);
/// Time for which waiting commands may still be started after the end of the run.
const FINISH: Duration = Duration::from_secs(5);
/// Time for which commands that need a permission go on after the end of the run.
const LAST_COMMANDS: Duration = Duration::from_secs(1);
/// Most process groups that may outlive their first process; all are checked often.
const ORPHANED_MAX: usize = 256;

/// The thread that runs shell commands.
pub(crate) struct Shell {
    is_over: Arc<AtomicBool>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<usize>>,
}

impl Shell {
    /// Starts the thread on the workers' queues. It [obeys](Self::obey) a gate, if there is one,
    /// from the first command on.
    ///
    /// # Errors
    /// There is no thread left.
    pub(super) fn start(
        queues: Vec<Consumer<Box<[u8]>>>,
        is_allowed: Option<Arc<AtomicBool>>,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let gate: Arc<Gate> = Arc::new(is_allowed.map_or_else(OnceLock::new, OnceLock::from));
        let (over, asked) = (Arc::clone(&is_over), Arc::clone(&gate));
        let thread = thread::Builder::new().name("shell".to_owned());
        let thread = thread.spawn(move || run(queues, &over, &asked))?;
        Ok(Self { is_over, gate, thread: Some(thread) })
    }

    /// Sets the gate: from now on commands start and run only while `is_allowed`, and end with the
    /// run. Others are dropped and counted. Only the first gate counts.
    pub(super) fn obey(&self, is_allowed: &Arc<AtomicBool>) {
        let _ = self.gate.set(Arc::clone(is_allowed));
    }

    /// Starts the waiting commands, and returns the number that could not be started. Running
    /// commands go on by themselves, as in SIPp, unless they need a permission.
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
fn run(mut queues: Vec<Consumer<Box<[u8]>>>, is_over: &AtomicBool, gate: &Gate) -> usize {
    let mut commands = Commands::default();
    let mut dropped = 0;
    let mut over_since: Option<Instant> = None;
    loop {
        // Checked before the queues are emptied, so that no earlier command is missed.
        let over = is_over.load(Ordering::Acquire);
        // The gate too is checked first: commands that start while it closes are ended in the next
        // turn.
        let permission = permission(gate);
        commands.collect();
        if permission == Permission::Withdrawn {
            commands.end_groups();
        }
        for queue in &mut queues {
            while commands.has_room() {
                let Ok(command) = queue.pop() else { break };
                dropped += usize::from(!commands.start(&command, permission));
            }
        }
        let waiting: usize = queues.iter().map(Consumer::slots).sum();
        if over {
            let past = over_since.get_or_insert_with(Instant::now).elapsed();
            let is_done = !commands.has_groups() || past >= LAST_COMMANDS;
            if waiting == 0 && is_done || past >= FINISH {
                commands.end_groups();
                return dropped + waiting;
            }
        }
        thread::sleep(POLL);
    }
}

/// The permission to run shell commands, shared by all engines of the process.
type Gate = OnceLock<Arc<AtomicBool>>;

/// The rule for commands that start now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Permission {
    /// Commands belong to scenarios of the user's own run: as in SIPp.
    Own,
    /// Commands run as long as they are allowed.
    Lent,
    /// None may run.
    Withdrawn,
}

fn permission(gate: &Gate) -> Permission {
    match gate.get().map(|is_allowed| is_allowed.load(Ordering::Acquire)) {
        None => Permission::Own,
        Some(true) => Permission::Lent,
        Some(false) => Permission::Withdrawn,
    }
}

/// The running commands.
#[derive(Default)]
struct Commands {
    own: Vec<Child>,
    /// Commands that run by permission, each with a process group of its own, so that processes
    /// that it starts end with it.
    lent: Vec<Child>,
    /// Groups whose first process has ended while others go on. A group keeps its number as long as
    /// it has a process, and the kernel assigns numbers in turn. So the number belongs to no other
    /// group at the next check.
    orphaned: Vec<Pid>,
}

impl Commands {
    fn has_room(&self) -> bool {
        self.own.len() + self.lent.len() < PROCESSES_MAX && self.orphaned.len() < ORPHANED_MAX
    }

    fn has_groups(&self) -> bool {
        !self.lent.is_empty() || !self.orphaned.is_empty()
    }

    /// Starts a command; `false` if it cannot be started.
    fn start(&mut self, command: &[u8], permission: Permission) -> bool {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(OsStr::from_bytes(command)).stdin(Stdio::null());
        let children = match permission {
            Permission::Own => &mut self.own,
            Permission::Lent => {
                shell.process_group(0);
                &mut self.lent
            }
            Permission::Withdrawn => return false,
        };
        shell.spawn().map(|child| children.push(child)).is_ok()
    }

    /// Removes commands that have ended.
    fn collect(&mut self) {
        let runs = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        self.own.retain_mut(runs);
        let exists = |group: &Pid| test_kill_process_group(*group).is_ok();
        self.orphaned.retain(exists);
        let orphaned = &mut self.orphaned;
        self.lent.retain_mut(|child| {
            let is_running = runs(child);
            if !is_running {
                orphaned.extend(group_of(child).filter(exists));
            }
            is_running
        });
    }

    /// Ends commands that run by permission, and the processes that they have started.
    fn end_groups(&mut self) {
        // The number belongs to the group until its process is collected.
        for group in self.lent.iter().filter_map(group_of).chain(self.orphaned.drain(..)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        for mut child in self.lent.drain(..) {
            // It was killed.
            let _ = child.wait();
        }
    }
}

/// The process group that a child has begun.
fn group_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::sync::atomic::AtomicUsize;

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
        // A short command has time to finish at the end of the run.
        std::fs::remove_dir(place).unwrap();
    }

    /// Starts a command that starts another one, and returns a pipe that closes with both.
    fn lasting(is_allowed: &Arc<AtomicBool>) -> (Shell, File) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gossipper-group-{}-{number}", std::process::id());
        let pipe = std::env::temp_dir().join(name);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (mut commands, queue) = RingBuffer::new(1);
        let shell = Shell::start(vec![queue], Some(Arc::clone(is_allowed))).unwrap();
        // The second process outlives the shell that started it.
        let command = format!("exec >{}; (echo x; exec sleep 600) & exit", pipe.display());
        commands.push(command.into_bytes().into_boxed_slice()).unwrap();
        let mut file = File::open(&pipe).unwrap();
        let mut told = [0; 2];
        file.read_exact(&mut told).unwrap();
        std::fs::remove_file(&pipe).unwrap();
        (shell, file)
    }

    #[test]
    fn commands_end_with_their_permission_and_with_what_they_started() {
        let is_allowed = Arc::new(AtomicBool::new(true));
        let (shell, mut pipe) = lasting(&is_allowed);
        is_allowed.store(false, Ordering::Release);
        // All processes with the other end are gone.
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
        assert_eq!(shell.finish(), 0);
    }

    #[test]
    fn commands_that_need_a_permission_end_with_the_run() {
        let (shell, mut pipe) = lasting(&Arc::new(AtomicBool::new(true)));
        assert_eq!(shell.finish(), 0);
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    }
}
