//! The file of `-summary_json`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A summary as JSON.
#[derive(Debug)]
pub struct Summary(pub Value);

impl Summary {
    /// Reads a summary, if it is there.
    #[track_caller]
    pub fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        Some(Self(serde_json::from_str(&text).expect("the summary is JSON")))
    }

    /// The number at a path such as `/transactions/INVITE/service/p50`; 0 if there is none.
    pub fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// One of the engine's counters.
    pub fn counter(&self, name: &str) -> u64 {
        self.number(&format!("/engine_counters/{name}"))
    }

    /// Failed calls by one cause.
    pub fn failed_by(&self, cause: &str) -> u64 {
        self.number(&format!("/failure_causes/{cause}"))
    }

    /// Calls started.
    pub fn total(&self) -> u64 {
        self.number("/total_calls")
    }

    /// Calls that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.number("/success_calls")
    }

    /// Calls that failed.
    pub fn failed(&self) -> u64 {
        self.number("/failed_calls")
    }

    /// Calls that were open at the end.
    pub fn active(&self) -> u64 {
        self.number("/active_calls")
    }

    /// Fails the test unless `calls` calls were made and all of them succeeded.
    #[track_caller]
    pub fn expect_all_succeeded(&self, calls: u64) {
        let outcome = (self.total(), self.succeeded(), self.failed(), self.active());
        assert_eq!(outcome, (calls, calls, 0, 0), "{:#}", self.0);
        self.expect_to_add_up();
    }

    /// Fails the test unless every call has one outcome and every failure one cause.
    #[track_caller]
    pub fn expect_to_add_up(&self) {
        assert_eq!(self.total(), self.succeeded() + self.failed() + self.active(), "{:#}", self.0);
        let causes = self.0["failure_causes"].as_object();
        let by_cause: u64 = causes.into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        assert_eq!(self.failed(), by_cause, "{:#}", self.0);
    }
}
