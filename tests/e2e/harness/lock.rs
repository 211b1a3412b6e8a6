//! The rules by which tests run at the same time, so that load tests disturb neither each other nor
//! other tests.
//!
//! Threads of the test harness are cheap, and a test that waits for its turn holds one. So `make
//! e2e` has far more threads than tests that run at once.

use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex};

/// Most light tests at one time. They mostly wait, for timers and for each other's processes.
const LIGHT_MAX: usize = 8;

/// The number of running light tests.
static LIGHT: Mutex<usize> = Mutex::new(0);
static LIGHT_ENDED: Condvar = Condvar::new();

/// A turn, held for the length of a test.
pub struct Turn {
    is_light: bool,
    /// File locks, because two test programs may run at the same time. The kernel releases them at
    /// every end of their holder, even a killed one.
    _files: Vec<File>,
}

/// Waits for the turn of a test that mostly waits: several at one time, but none beside a heavy
/// one.
pub fn light() -> Turn {
    let running = LIGHT.lock().expect("no holder panics");
    let mut running =
        LIGHT_ENDED.wait_while(running, |running| *running >= LIGHT_MAX).expect("no holder panics");
    *running += 1;
    drop(running);
    Turn { is_light: true, _files: vec![shared()] }
}

/// Waits for the turn of a test with some hundred calls per second: one at a time, beside light
/// ones.
pub fn load() -> Turn {
    // In this order: a test that waits for the other load test keeps no heavy one waiting.
    let other = open("e2e-load.lock");
    other.lock().expect("the lock file can be locked");
    Turn { is_light: false, _files: vec![other, shared()] }
}

/// Waits for the turn of a test that needs a quiet machine (a thousand calls per second, a measured
/// delay), or that disturbs it. It runs alone, as far as these tests go. In a run of all tests,
/// heavy ones come last.
pub fn heavy() -> Turn {
    let file = open("e2e.lock");
    file.lock().expect("the lock file can be locked");
    Turn { is_light: false, _files: vec![file] }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_light {
            *LIGHT.lock().expect("no holder panics") -= 1;
            LIGHT_ENDED.notify_one();
        }
    }
}

fn shared() -> File {
    let file = open("e2e.lock");
    file.lock_shared().expect("the lock file can be locked");
    file
}

fn open(name: &str) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    File::create(path).expect("the lock file can be created")
}
