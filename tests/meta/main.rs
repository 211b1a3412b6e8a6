//! The repository and what is shipped beside the program: rules of the source, documents, packages,
//! dashboards.

#[path = "../golden/golden_file.rs"]
mod golden_file;
#[allow(dead_code, unreachable_pub, reason = "a part of what end-to-end tests use")]
#[path = "../e2e/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "the tests in `golden` use the rest")]
#[path = "../golden/stats_fixture.rs"]
mod stats_fixture;

mod packaging; // units, the manual page, completions, package files
mod prometheus; // rules, dashboards and docs/observability.md
mod readme; // the README's lines work, and it links every document
mod tidy; // rules that no compiler checks
