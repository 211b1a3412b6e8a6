//! The certificates of `tests/certs`, and options that name them.

use std::path::{Path, PathBuf};

/// A file of `tests/certs`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs").join(name)
}

/// A file of `tests/certs`, as an argument.
pub fn file(name: &str) -> String {
    path(name).display().to_string()
}

/// `-tls_cert` and `-tls_key` for one of `server`, `client`, `revoked`, `stranger` and `ca`.
pub fn identity(name: &str) -> [String; 4] {
    let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}-key.pem")));
    ["-tls_cert".to_owned(), cert, "-tls_key".to_owned(), key]
}
