//! The program as a user has it, started as a process of its own, against real peers: SIPp,
//! Kamailio, Prometheus, a browser, a terminal, or a socket that a test scripts.
//!
//! A behaviour that needs no process belongs to `sim` (rules of calls), `api` (modules of the
//! library) or `golden` (printed text). A test that makes calls takes `harness::lock::light()`
//! first, or `heavy()` if it needs the machine for itself; `harness/lock.rs` says which.

#[path = "../golden/golden_file.rs"]
mod golden_file;
#[path = "../golden/summary_schema.rs"]
mod summary_schema;

#[allow(unreachable_pub, reason = "other test crates use the same files")]
mod harness;

// Runs from the command line: their begin, their end, their output.
mod as_sipp; // begin and end under the name `sipp`, beside our own
mod background; // `-bg`, and the watchdog
mod check; // doubtful files: warnings, and `gossipper check`
mod cli; // exit codes, messages and reports of whole runs
mod disk_full; // a disk that fills up never ends a run
mod exports; // call records, HEP and the event log
mod failures; // failed calls, in every report that has them
mod program; // version, help, streams and colours, without a run
mod questions; // what is asked of a run while it goes on
mod report; // reports while a run goes on and at its end
mod shell; // `gossipper shell`
mod signals; // what signals do
mod terminal; // screens, keys, commands, the control socket
mod traces; // trace and statistics files
mod verdict; // the verdict on the generator

// Messages on the wire.
mod addresses; // which addresses stand in messages and belong to connections
mod bad_input; // whatever arrives, good calls are answered
mod builtins; // built-in scenarios, beside SIPp's
mod collection; // scenarios as SIPp's documentation has them, in three pairings
mod corpus; // `make corpus-check`
mod differential; // the bytes that SIPp sends
mod digest; // digest authentication
mod injection; // injection files, circuits, identities
mod kamailio; // through a proxy, over all transports
mod media; // calls with RTP: both ends ours, SIPp, tshark
mod media_peers; // calls with RTP: baresip, and through rtpengine
mod messages; // lines and characters of messages, beside SIPp
mod network; // paths that lose, delay and break (network namespaces)
mod rtp_send; // RTP without SIP
mod rules; // the rules of a call, one by one, beside SIPp
mod second_scenario; // two scenarios in one run
mod sipp_interop; // load with SIPp as the peer
mod sources; // `-t ui`
mod streams; // TCP, TLS and WebSocket
mod third_party; // third-party call control
mod transcript; // whole calls, byte for byte, under every driver
mod turn; // media through a relay
mod webrtc; // DTLS and ICE: both ends ours, and a browser
mod workers; // several workers on one port; `-t un`

// The daemon and its API.
mod auth; // `gossipper auth`
mod metrics_registry; // metrics of engines of this process, and what is done to them
#[cfg(feature = "otlp")]
mod otlp; // events at collectors
mod page; // the status page in a browser
mod prometheus; // a real Prometheus
mod run_api; // `-api_addr` beside a run
mod server_api; // routes: shapes, refusals, limits, rights
mod server_control; // steering, and what changes on the wire
mod server_http; // connections, and what is no request
mod server_life; // start, reload, end, the service manager
mod server_live; // the live WebSocket
mod server_roles; // what each role can and cannot do
mod server_targets; // `targets`
mod soak; // churn, after which nothing is left behind (`make soak` makes it long)
