//! The signals that a run handles, as flags that handlers set.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
    SIGXFSZ,
};
use signal_hook::{flag, low_level};

use super::page;
use crate::procfs;
use crate::run::RunError;

/// Period at which a waiting thread checks the flags.
const POLL: Duration = Duration::from_millis(100);

/// The signals that end the process at once, but for those that it was started to ignore, as by
/// nohup(1).
fn ends_at_once() -> impl Iterator<Item = i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    [SIGQUIT, SIGHUP].into_iter().filter(move |&signal| !procfs::ignores(&status, signal))
}

/// Flags of the received signals.
pub(super) struct Signals {
    /// SIGINT and SIGTERM, counted: the first drains, the second stops.
    stops: Arc<AtomicUsize>,
    /// SIGUSR1: the same action as the key `q`.
    quit: Arc<AtomicBool>,
    /// SIGUSR2: write the state to files.
    dump: Arc<AtomicBool>,
    /// SIGCONT: the content of the terminal may have changed.
    resumed: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers, and wakes the calling thread when a signal comes.
    pub(super) fn install() -> Result<Self, RunError> {
        let signals = Self {
            stops: Arc::new(AtomicUsize::new(0)),
            quit: Arc::new(AtomicBool::new(false)),
            dump: Arc::new(AtomicBool::new(false)),
            resumed: Arc::new(AtomicBool::new(false)),
        };
        let flags = || -> io::Result<()> {
            // A closed pipe, and a file at its size limit, are errors of the write and must not end
            // the run.
            flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)))?;
            flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
            let mut all = signal_hook::iterator::Signals::new([
                SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH,
            ])?;
            for signal in ends_at_once() {
                // A terminal that takes no output must not keep the process: the second one ends it
                // before the terminal is restored.
                let came = Arc::new(AtomicBool::new(false));
                flag::register_conditional_default(signal, Arc::clone(&came))?;
                flag::register(signal, came)?;
                all.add_signal(signal)?;
            }
            let (stops, quit) = (Arc::clone(&signals.stops), Arc::clone(&signals.quit));
            let (dump, resumed) = (Arc::clone(&signals.dump), Arc::clone(&signals.resumed));
            let control = thread::current();
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                for signal in all.forever() {
                    match signal {
                        SIGINT | SIGTERM => _ = stops.fetch_add(1, Ordering::Relaxed),
                        SIGUSR1 => quit.store(true, Ordering::Relaxed),
                        SIGUSR2 => dump.store(true, Ordering::Relaxed),
                        SIGCONT => resumed.store(true, Ordering::Relaxed),
                        SIGTSTP => {
                            page::restore();
                            // This stops the process until SIGCONT.
                            let _ = low_level::emulate_default_handler(SIGTSTP);
                            resumed.store(true, Ordering::Relaxed);
                        }
                        SIGQUIT | SIGHUP => {
                            page::restore();
                            // This ends the process.
                            let _ = low_level::emulate_default_handler(signal);
                        }
                        _ => {}
                    }
                    control.unpark();
                }
            })?;
            Ok(())
        };
        flags().map_err(RunError::Signals)?;
        Ok(signals)
    }

    /// Number of signals that request a stop.
    pub(super) fn stops(&self) -> usize {
        self.stops.load(Ordering::Relaxed)
    }

    /// Tells whether SIGUSR1 came since the last question.
    pub(super) fn take_quit(&self) -> bool {
        self.quit.swap(false, Ordering::Relaxed)
    }

    /// Tells whether SIGUSR2 came since the last question.
    pub(super) fn take_dump(&self) -> bool {
        self.dump.swap(false, Ordering::Relaxed)
    }

    /// Tells whether the process was stopped and resumed since the last question.
    pub(super) fn take_resumed(&self) -> bool {
        self.resumed.swap(false, Ordering::Relaxed)
    }

    /// Tells whether a signal came that ends the run.
    pub(super) fn ask_to_end(&self) -> bool {
        self.stops() > 0 || self.quit.load(Ordering::Relaxed)
    }

    /// Sleeps for `length`, or until a signal comes that ends the run.
    pub(super) fn sleep(&self, length: Duration) {
        let end = Instant::now() + length;
        while !self.ask_to_end() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(POLL));
        }
    }
}
