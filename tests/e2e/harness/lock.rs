//! Decides which tests run at the same time, so that load tests disturb neither each other nor
//! anything else.
//!
//! Threads of the test harness are cheap, and a test that waits for its turn holds one: `make e2e`
//! has well more than tests that run at once.

use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex};

/// Light tests at once. They mostly wait, for timers and for each other's processes.
const LIGHT_MAX: usize = 8;

/// Light tests that run.
static LIGHT: Mutex<usize> = Mutex::new(0);
static LIGHT_ENDED: Condvar = Condvar::new();

/// Held for the length of a test.
pub struct Turn {
    is_light: bool,
    /// File locks, because two test programs may run at the same time. They are released when
    /// their holder ends, however that comes.
    _files: Vec<File>,
}

/// For tests that mostly wait: several at the same time, but none beside a heavy one.
pub fn light() -> Turn {
    let running = LIGHT.lock().expect("no holder panics");
    let mut running =
        LIGHT_ENDED.wait_while(running, |running| *running >= LIGHT_MAX).expect("no holder panics");
    *running += 1;
    drop(running);
    Turn { is_light: true, _files: vec![shared()] }
}

/// For tests with some hundred calls per second: one at a time, beside light ones.
pub fn load() -> Turn {
    // In this order: who waits for the other load test keeps no heavy one waiting.
    let other = open("e2e-load.lock");
    other.lock().expect("the lock file can be locked");
    Turn { is_light: false, _files: vec![other, shared()] }
}

/// For tests that need a quiet machine (a thousand calls per second, a delay that is measured), or
/// that disturb it: alone, as far as these tests go. In a run of all tests they come last.
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
