//! The errors that keep a run from its start or end it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

use super::ThirdPartyConfigError;
use crate::config::targets::Refusal;
use crate::dataplane::LaunchError;
use crate::engine::SwapRefused;
use crate::injection::InjectionError;
use crate::output::WriteFileError;
use crate::scenario::ScenarioError;

/// The reason why a run could not be started or finished.
#[derive(Debug, Error)]
pub enum RunError {
    /// The scenario file cannot be read.
    #[error("cannot read the scenario {}: {source}\n  hint: -sf takes a file; -sn takes the name \
             of a built-in scenario", path.display())]
    ScenarioFile {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A trace or statistics file cannot be opened.
    #[error("cannot create {}: {source}\n  hint: check the directory and its permissions, or choose another name (see `gossipper sipp -h`, statistics files and traces)", path.display())]
    TraceFile {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The collector of messages is unreachable.
    #[error("cannot send to the HEP collector {collector}: {source}\n  hint: see `ip route get {}`", collector.ip())]
    Hep {
        /// The collector's address.
        collector: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The collector of the event log cannot be used.
    #[error(
        "-log_otel_endpoint: {0}\n  hint: give HOST:PORT or a URL; -log_otel_insecure switches TLS \
         off, -log_otel_proto chooses grpc or http"
    )]
    Otlp(String),
    /// stderr cannot be used for events.
    #[error("cannot write events to stderr: {0}\n  hint: -log_file_jsonl writes them to a file")]
    EventsToStderr(io::Error),
    /// The thread that writes files cannot be started.
    #[error("cannot start the thread that writes files: {0}\n  hint: see `ulimit -u`")]
    WriterThread(io::Error),
    /// The scenario has an error.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A second scenario cannot be used in this run.
    #[error("{option} {problem}\n  hint: {hint}")]
    SecondScenario {
        /// The option that names it.
        option: &'static str,
        /// The problem.
        problem: &'static str,
        /// The remedy.
        hint: &'static str,
    },
    /// A scenario cannot replace the one that runs.
    #[error(transparent)]
    Swap(#[from] SwapRefused),
    /// Several listeners are configured where only one is possible.
    #[error("several listeners {problem}\n  hint: leave one listener, or start another engine")]
    Listeners {
        /// The problem.
        problem: &'static str,
    },
    /// An injection file cannot be read.
    #[error("cannot read the injection file {}: {source}\n  hint: -inf takes a CSV file, relative to the current directory", path.display())]
    InjectionFile {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// An injection file has an error.
    #[error(transparent)]
    Injection(#[from] InjectionError),
    /// Two injection files have the same name.
    #[error(
        "two injection files are called {name}\n  hint: scenarios know files by name without directories; rename one"
    )]
    InjectionTwice {
        /// Their name.
        name: String,
    },
    /// A source of media cannot be played.
    #[error(
        "{what}\n  hint: files are looked for beside the scenario, then in the working directory"
    )]
    MediaSource {
        /// The source and the reason.
        what: String,
    },
    /// A scenario has streams that need a port of their own on this host.
    #[error(
        "scenario {scenario}: streams that get their keys by DTLS need a port each on this host\n  hint: leave out -{option}"
    )]
    NoOwnPort {
        /// The name of the scenario.
        scenario: String,
        /// The option that takes it from them.
        option: &'static str,
    },
    /// The certificate of DTLS cannot be made.
    #[error(
        "{what}\n  hint: the kernel gives random numbers by getrandom(2), which a sandbox may refuse"
    )]
    Dtls {
        /// The reason.
        what: String,
    },
    /// A setting of RTP without SIP means nothing.
    #[error("-{option}: {why}\n  hint: see `gossipper -h`, options about media")]
    RtpSend {
        /// The option.
        option: &'static str,
        /// The reason.
        why: String,
    },
    /// `-infindex` names no injection file.
    #[error(
        "-infindex {name}: no injection file has that name ({known})\n  hint: give the file with -inf, and its name without directories to -infindex"
    )]
    InjectionIndex {
        /// The name.
        name: String,
        /// The files there are.
        known: String,
    },
    /// The scenario uses `[tdmmap]`, and there are no circuits.
    #[error(
        "the scenario uses [tdmmap], but there are no circuits\n  hint: give them with -tdmmap, \
         for example {{0-3}}{{99}}{{5-8}}{{1-31}}"
    )]
    NoCircuits,
    /// The scenario uses `<setdest>` over connections.
    #[error(
        "the scenario has a <setdest>, which changes where datagrams go; over {transport} a call \
         keeps its connection\n  hint: use -t u1 or un, or make the calls to the other peer in \
         another run"
    )]
    SetDestOverStream {
        /// The transport, as in a Via.
        transport: &'static str,
    },
    /// The thread that runs shell commands could not be started.
    #[error("cannot start the thread that runs commands: {0}")]
    Shell(io::Error),
    /// The options and the scenario of third-party call control do not fit.
    #[error(transparent)]
    ThirdParty(#[from] ThirdPartyConfigError),
    /// A client has no destination.
    #[error(
        "the scenario makes calls, but no remote host is given\n  hint: name it as a bare word (gossipper -sn uac 192.0.2.1:5060) or with -rsa"
    )]
    NoRemote,
    /// A host name does not resolve.
    #[error(
        "cannot resolve {host}: {reason}\n  hint: check the name and the resolver, or give an address"
    )]
    Resolve {
        /// The name.
        host: String,
        /// The reason.
        reason: String,
    },
    /// A client of the API may not send to an address.
    #[error("{key}: {refusal}")]
    Target {
        /// The key that names the address.
        key: &'static str,
        /// The reason of the refusal.
        refusal: Box<Refusal>,
    },
    /// The local address and the remote host belong to different address families.
    #[error(
        "-i {local} and {host} are of different address families\n  hint: give an address of the same family to both"
    )]
    Family {
        /// The local address.
        local: IpAddr,
        /// The remote host.
        host: String,
    },
    /// There is no route to the remote host.
    #[error("no route to {host}: {source}\n  hint: see `ip route get {host}`")]
    NoRoute {
        /// The remote host.
        host: IpAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// `-set` names a variable that is not global.
    #[error(
        "-set {name}: the scenario has no global variable of that name\n  hint: declare it with <Global variables=\"{name}\"/>"
    )]
    Set {
        /// The name.
        name: String,
    },
    /// A limit of the system is too small for the run.
    #[error("{what} needs {needed}, but {limit} is the limit\n  hint: {hint}")]
    Limit {
        /// The setting that needs more.
        what: String,
        /// The needed amount.
        needed: String,
        /// The available amount.
        limit: String,
        /// The setting of the system to change.
        hint: String,
    },
    /// A server that speaks TLS has no certificate.
    #[error(
        "a TLS server needs a certificate, but {} cannot be read: {source}\n  hint: give -tls_cert and -tls_key; `openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost -keyout cakey.pem -out cacert.pem` makes both under their default names",
        path.display()
    )]
    NoCertificate {
        /// The file that was looked for.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file for TLS cannot be used.
    #[error("-{flag} {}: {reason}", path.display())]
    TlsFile {
        /// The option that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        reason: String,
    },
    /// Certificates, keys and authorities do not fit together.
    #[error("TLS: {what}\n  hint: check -tls_cert, -tls_key, -tls_ca and -tls_crl")]
    Tls {
        /// The contradiction.
        what: String,
    },
    /// The remote host cannot be reached over this transport.
    #[error("-t {code}: {reason}\n  hint: give the remote host as a host name or an address")]
    RemoteName {
        /// The transport.
        code: &'static str,
        /// The fault of the name.
        reason: String,
    },
    /// The transport's name is meant for the other role.
    #[error(
        "this name of the transport is for {whom} only\n  hint: -t {code} is the name for both"
    )]
    TransportRole {
        /// The role that the name is for.
        whom: &'static str,
        /// The name for both roles.
        code: &'static str,
    },
    /// The one connection of the run is lost for good.
    #[error(
        "{0}\n  hint: see -max_reconnect, -reconnect_sleep and -reconnect_close; with -t tn, ln, wn or wsn each call has a connection of its own"
    )]
    Disconnected(String),
    /// The one connection of the run could not be established.
    #[error(
        "{0}\n  hint: check that a program listens there with this transport (-t); -max_reconnect \
         N tries N times more"
    )]
    NotConnected(String),
    /// io_uring was demanded and is refused.
    #[error("{0}")]
    Uring(String),
    /// The workers could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The control socket could not be opened.
    #[error(
        "cannot open the control socket {address}: {source}\n  hint: choose another port with -cp, \
         or 0 to let the kernel choose"
    )]
    ControlSocket {
        /// The address of the socket.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The API beside the run cannot be served.
    #[error("{text}")]
    Api {
        /// The reason, and the remedy.
        text: String,
        /// True if an address cannot be bound.
        is_bind: bool,
    },
    /// Signals could not be set up.
    #[error("cannot install signal handlers: {0}")]
    Signals(io::Error),
    /// A worker ended with an error.
    #[error("worker {worker} failed: {source}")]
    Worker {
        /// Number of the worker.
        worker: usize,
        /// The error of the system.
        source: io::Error,
    },
    /// A report could not be written.
    #[error(transparent)]
    Write(#[from] WriteFileError),
    /// The run could not be put into the background.
    #[error("cannot run in the background: {source}")]
    Background {
        /// The error of the system.
        source: io::Error,
    },
    /// The watchdog ended the run.
    #[error("{0}")]
    Watchdog(String),
    /// An `<error>` action stopped the run.
    #[error("the scenario stopped the run: {0}")]
    Scripted(String),
}

impl RunError {
    /// Tells whether a local address could not be bound, which has an exit code of its own.
    pub(crate) fn is_bind(&self) -> bool {
        matches!(self, Self::Launch(LaunchError::Bind { .. }) | Self::Api { is_bind: true, .. })
    }
}
