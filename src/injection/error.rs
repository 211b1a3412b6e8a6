//! What is wrong with an injection file.

use thiserror::Error;

/// Why an injection file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}:{line}: {what}\n  hint: {hint}")]
pub struct InjectionError {
    /// The file.
    pub name: String,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

impl InjectionError {
    pub(super) fn new(name: &str, line: usize, what: String, hint: &'static str) -> Self {
        Self { name: name.to_owned(), line, what, hint }
    }
}
