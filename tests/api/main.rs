//! Modules of the library from outside, through what they export: examples, tables of mistakes,
//! properties of any input, and second opinions. The HTTP API of the daemon is `e2e`'s.
//!
//! No program is started, and no network but loopback is used. A test of one private function
//! belongs beside it in `src/`.

#[allow(dead_code, unreachable_pub, reason = "fuzz/ uses the same file, and its own part of it")]
mod scenario_support;
#[allow(unreachable_pub, reason = "fuzz/ uses the same files")]
mod sip_support;

mod cli_config; // from a command line to the configuration of a run
mod cli_lines; // any command line
mod cli_sipp_options; // every option of SIPp is known
mod posix_regex; // regular expressions beside the C library's

mod scenario_compile; // what good scenarios compile to
mod scenario_errors; // every mistake, with its place
mod scenario_warnings; // what is doubtful, with its place

mod server_churn; // engines that come and go leave nothing behind; in a process of its own
mod server_engines; // several engines in one process

mod sip_differential; // our parser beside two others
mod sip_properties; // any message, any bytes
mod sip_rfc4475; // the torture tests of RFC 4475

mod stats_aggregate; // what merging reports promises
