//! Everything printed, written or documented, held byte for byte against committed files: those of
//! this folder, and those of `docs/` that are made from tables of the program.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden` writes them anew; the difference is then
//! for the reviewer to judge. Bytes on the wire are `e2e`'s (`transcript`).

mod golden_file;
#[allow(dead_code, reason = "`prometheus` in `meta` uses the rest")]
mod stats_fixture;
mod summary_schema;

mod help; // pages of help, and docs/sipp-compatibility.md
mod schema; // docs/summary.schema.json, on any run
mod screens; // SIPp's screens and the dashboard
mod server_config; // configurations: reports, docs/configuration.md, docs/config.schema.json
mod summary; // summary.json, the line of the status and the table at the end
mod traces; // trace and statistics files, call records and event logs
