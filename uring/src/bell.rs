//! Bell that wakes a sleeping thread when there is work for it. Ringing costs no system call while
//! the thread is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

/// Bell for one thread, rung by the threads that leave work for it. A ring makes a system call only
/// if the thread sleeps.
#[derive(Debug, Default)]
pub struct Bell {
    is_listening: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    /// Sleeps until the bell rings, or for `nap`. `is_idle` is asked whether there is still nothing
    /// to do. One thread only may listen.
    pub fn listen(&self, nap: Duration, is_idle: impl FnOnce() -> bool) {
        self.sleeper.get_or_init(thread::current);
        self.is_listening.store(true, Ordering::Relaxed);
        // Either this thread sees the work that was left, or the thread that left it sees this one
        // listen.
        fence(Ordering::SeqCst);
        if is_idle() {
            thread::park_timeout(nap);
        }
        self.is_listening.store(false, Ordering::Relaxed);
    }

    /// Wakes the thread if it listens. Call it after leaving something for it.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_listening.load(Ordering::Relaxed)
            && self.is_listening.swap(false, Ordering::Relaxed)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    #[test]
    fn no_ring_is_missed() {
        const ROUNDS: u64 = 20_000;
        let (bell, left) = (Arc::new(Bell::default()), Arc::new(AtomicU64::new(0)));
        let (rung, seen) = (Arc::clone(&bell), Arc::clone(&left));
        let taken = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&taken);
        let listener = thread::spawn(move || {
            let mut known = 0;
            while known < ROUNDS {
                // Only a ring ends this sleep.
                rung.listen(Duration::MAX, || seen.load(Ordering::Relaxed) == known);
                known = seen.load(Ordering::Relaxed);
                told.store(known, Ordering::Relaxed);
            }
        });
        // Only a ring that is missed takes that long.
        let patience = Instant::now() + Duration::from_secs(300);
        for round in 1..=ROUNDS {
            left.store(round, Ordering::Relaxed);
            bell.ring();
            while taken.load(Ordering::Relaxed) < round {
                assert!(Instant::now() < patience, "the ring of round {round} was missed");
                thread::yield_now();
            }
        }
        listener.join().expect("the listener ends");
    }
}
