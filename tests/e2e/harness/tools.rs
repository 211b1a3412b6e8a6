//! Programs that the tests need. Missing ones are installed: a test that skips itself proves
//! nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use super::scratch::Scratch;

/// Makes sure that `program` can be started.
#[track_caller]
pub fn need(program: &str) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if find(program).is_some() {
        return;
    }
    INSTALLED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deps.sh");
        // A failure shows below: the program is still missing.
        let _ = Command::new(&script).status();
    });
    assert!(
        find(program).is_some(),
        "{program} is missing, and scripts/deps.sh could not install it"
    );
}

/// Makes a certificate for 127.0.0.1 and localhost that is its own authority, as `NAME.pem` and
/// `NAME.key` in `scratch`; returns both paths.
#[track_caller]
pub fn self_signed(scratch: &Scratch, name: &str) -> [String; 2] {
    need("openssl");
    let paths = [scratch.join(&format!("{name}.pem")), scratch.join(&format!("{name}.key"))];
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost"])
        .arg("-out")
        .arg(&paths[0])
        .arg("-keyout")
        .arg(&paths[1])
        .output()
        .expect("openssl can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    paths.map(|path| path.display().to_string())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|meta| meta.is_file()))
}
