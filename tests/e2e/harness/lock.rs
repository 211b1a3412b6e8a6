//! Keeps load tests from disturbing each other and all other tests.
//!
//! A file lock is used, because test runners may run each test in its own process. The lock is
//! released when its holder ends, in any way.

use std::fs::File;
use std::path::Path;

/// Held for the length of a test.
pub struct Turn {
    _file: File,
}

/// Takes a turn for little traffic: any number at the same time, but none beside a load test.
pub fn light() -> Turn {
    let file = open();
    file.lock_shared().expect("the lock file can be locked");
    Turn { _file: file }
}

/// Takes a turn for a load test: alone on the machine, as far as these tests go.
pub fn heavy() -> Turn {
    let file = open();
    file.lock().expect("the lock file can be locked");
    Turn { _file: file }
}

fn open() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e.lock");
    File::create(path).expect("the lock file can be created")
}
