//! The signals that a run listens to, as flags that handlers set.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGCONT, SIGINT, SIGPIPE, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ,
};
use signal_hook::flag;

use super::RunError;
use crate::terminal;

/// How often somebody who waits looks at the flags.
const POLL: Duration = Duration::from_millis(100);

/// See the module's documentation.
pub(super) struct Signals {
    /// SIGINT and SIGTERM, counted: the first drains, the second stops.
    stops: Arc<AtomicUsize>,
    /// SIGUSR1: the same as the key `q`.
    quit: Arc<AtomicBool>,
    /// SIGUSR2: write the state down.
    dump: Arc<AtomicBool>,
    /// SIGCONT: the terminal may show something else by now.
    resumed: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on, and wakes the calling thread when one comes.
    pub(super) fn install() -> Result<Self, RunError> {
        let signals = Self {
            stops: Arc::new(AtomicUsize::new(0)),
            quit: Arc::new(AtomicBool::new(false)),
            dump: Arc::new(AtomicBool::new(false)),
            resumed: Arc::new(AtomicBool::new(false)),
        };
        let flags = || -> io::Result<()> {
            // A closed pipe, and a file that has become too long, are errors of the write and not
            // the end of the run.
            flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)))?;
            flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
            let mut all = signal_hook::iterator::Signals::new([
                SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH,
            ])?;
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
                            terminal::restore();
                            // Stops the process here, until SIGCONT.
                            let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                            resumed.store(true, Ordering::Relaxed);
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

    /// How many times somebody wanted the run to stop.
    pub(super) fn stops(&self) -> usize {
        self.stops.load(Ordering::Relaxed)
    }

    /// Whether somebody wanted the run to quit since the last question.
    pub(super) fn take_quit(&self) -> bool {
        self.quit.swap(false, Ordering::Relaxed)
    }

    /// Whether somebody wanted the state since the last question.
    pub(super) fn take_dump(&self) -> bool {
        self.dump.swap(false, Ordering::Relaxed)
    }

    /// Whether the process was stopped and goes on since the last question.
    pub(super) fn take_resumed(&self) -> bool {
        self.resumed.swap(false, Ordering::Relaxed)
    }

    /// Whether a signal came that ends the run.
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
