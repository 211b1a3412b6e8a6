//! Files that are compared with what the program produces.

use std::path::Path;
use std::{env, fs, thread};

/// Fails the test unless the committed `file` equals `actual`. With `UPDATE_GOLDEN=1` in the
/// environment the file is written anew instead.
#[track_caller]
pub(crate) fn compare(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{file} is out of date; look at it after: UPDATE_GOLDEN=1 cargo test --locked --test {} {}\n\n{actual}",
        env!("CARGO_CRATE_NAME"),
        // The name of a test is the name of its thread.
        thread::current().name().unwrap_or_default(),
    );
}
