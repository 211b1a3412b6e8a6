//! The error of an injection file.

use thiserror::Error;

/// The reason why an injection file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}:{line}: {what}\n  hint: {hint}")]
pub struct InjectionError {
    /// The file.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// The fault.
    pub what: String,
    /// Advice on how to mend it.
    pub hint: &'static str,
}

impl InjectionError {
    pub(super) fn new(name: &str, line: usize, what: String, hint: &'static str) -> Self {
        Self { name: name.to_owned(), line, what, hint }
    }
}
