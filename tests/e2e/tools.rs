//! Programs that the tests need. They are installed where they are missing: a test that skips
//! itself proves nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// Makes sure that `program` can be started.
#[track_caller]
pub fn need(program: &str) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if find(program).is_some() {
        return;
    }
    INSTALLED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deps.sh");
        // Its failure shows below, as a program that is still missing.
        let _ = Command::new(&script).status();
    });
    assert!(
        find(program).is_some(),
        "{program} is missing, and scripts/deps.sh could not install it"
    );
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|meta| meta.is_file()))
}
