//! The specification of an engine: its id, its listeners and its run.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{ListenerSpec, RunConfig};
use crate::files::is_one_file;

/// Longest id.
pub const ID_MAX: usize = 64;

/// The origin of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The first engine of the configuration; requests without an id exchange its scenario.
    Primary,
    /// Another engine of the configuration.
    Static,
    /// An engine that was started later, by a request.
    Dynamic,
}

impl EngineKind {
    /// The name of the origin in lower case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// The specification of an engine to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSpec {
    /// The id: 1 to [`ID_MAX`] letters, digits, dots, dashes and underscores.
    pub id: String,
    /// The origin of the engine.
    pub kind: EngineKind,
    /// The listeners; empty for the one in `run`. An engine that makes calls has at most one.
    pub listeners: Vec<ListenerSpec>,
    /// The run. An engine ignores settings of screens, keyboard and colours.
    pub run: RunConfig,
}

/// Tells whether `id` is a valid id.
pub(super) fn is_id(id: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=ID_MAX).contains(&id.len()) && id.chars().all(is_part) && id != "." && id != ".."
}

impl EngineSpec {
    /// The listeners; there is at least one.
    pub(in crate::server) fn places(&self) -> Vec<ListenerSpec> {
        let own = ListenerSpec {
            transport: self.run.transport,
            local_ip: self.run.local_ip,
            local_port: self.run.local_port,
        };
        match self.listeners.is_empty() {
            true => vec![own],
            false => self.listeners.clone(),
        }
    }

    /// The addresses that the engine will bind, as far as they are known in advance.
    fn binds(&self) -> impl Iterator<Item = Bind> {
        self.places().into_iter().filter_map(|place| {
            let port = place.local_port.filter(|&port| port != 0)?;
            Some(Bind { is_stream: place.transport.is_stream(), ip: place.local_ip, port })
        })
    }
}

/// Files that `run` writes under configured names.
pub(in crate::server) fn files(run: &RunConfig) -> impl Iterator<Item = &Path> {
    let trace = &run.trace;
    let logs = [&trace.messages, &trace.short_messages, &trace.errors, &trace.logs];
    let logs = logs.into_iter().chain([&trace.call_debug, &trace.screen]);
    let logs = logs.filter(|log| log.is_on).filter_map(|log| log.path.as_deref());
    let others = [
        run.summary_json.as_deref(),
        run.summary_html.as_deref(),
        run.export.call_records.as_deref(),
        run.export.events.file.as_deref(),
        run.export.srtp_keys.as_deref(),
        trace.stat_path.as_deref().filter(|_| trace.stat),
    ];
    logs.chain(others.into_iter().flatten())
}

/// The addresses and files that an engine needs for itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim {
    pub(super) binds: Vec<Bind>,
    pub(super) files: Vec<PathBuf>,
}

impl Claim {
    pub(super) fn of(spec: &EngineSpec) -> Self {
        let files = files(&spec.run).map(Path::to_owned).collect();
        Self { binds: spec.binds().collect(), files }
    }

    /// A sentence about the first claim of `id` that `other` already has.
    pub(super) fn clash(&self, id: &str, other: &str, taken: &Self) -> Option<String> {
        let both = |bind: &&Bind| taken.binds.iter().any(|taken| taken.clashes(bind));
        if let Some(bind) = self.binds.iter().find(both) {
            return Some(format!("engines {other} and {id} both want {bind}\n  hint: {BIND_HINT}"));
        }
        let is_taken = |path: &&PathBuf| taken.files.iter().any(|taken| is_one_file(path, taken));
        let path = self.files.iter().find(is_taken)?.display();
        let hint = "give each a file of its own";
        Some(format!("engines {other} and {id} both write {path}\n  hint: {hint}"))
    }

    /// A sentence about the first claim that `id` has twice.
    pub(super) fn clash_within(&self, id: &str) -> Option<String> {
        for (index, bind) in self.binds.iter().enumerate() {
            if self.binds[..index].iter().any(|earlier| earlier.clashes(bind)) {
                return Some(format!("engine {id} listens on {bind} twice\n  hint: {BIND_HINT}"));
            }
        }
        None
    }
}

const BIND_HINT: &str = "give one of them another local_port, or 0 to let the kernel choose";

/// An address that one socket needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Bind {
    pub(in crate::server) is_stream: bool,
    /// The address; `None` for all addresses.
    pub(in crate::server) ip: Option<IpAddr>,
    pub(in crate::server) port: u16,
}

impl Bind {
    /// Tells whether both cannot be bound at the same time.
    pub(in crate::server) fn clashes(&self, other: &Self) -> bool {
        let overlap = match (self.ip, other.ip) {
            (Some(one), Some(other)) => {
                let is_any = one.is_unspecified() || other.is_unspecified();
                one == other || (is_any && one.is_ipv4() == other.is_ipv4())
            }
            _ => true,
        };
        overlap && self.is_stream == other.is_stream && self.port == other.port
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_stream { "TCP" } else { "UDP" };
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "{protocol} [{ip}]:{}", self.port),
            Some(ip) => write!(f, "{protocol} {ip}:{}", self.port),
            None => write!(f, "{protocol} *:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(is_stream: bool, ip: &str, port: u16) -> Bind {
        Bind { is_stream, ip: ip.parse().ok(), port }
    }

    #[test]
    fn addresses_clash_where_one_contains_the_other() {
        for (one, other, clashes) in [
            (bind(false, "127.0.0.1", 5060), bind(false, "127.0.0.1", 5060), true),
            (bind(false, "127.0.0.1", 5060), bind(false, "0.0.0.0", 5060), true),
            (bind(false, "127.0.0.1", 5060), bind(false, "*", 5060), true),
            (bind(false, "127.0.0.1", 5060), bind(false, "127.0.0.2", 5060), false),
            (bind(false, "127.0.0.1", 5060), bind(false, "127.0.0.1", 5061), false),
            (bind(false, "127.0.0.1", 5060), bind(true, "127.0.0.1", 5060), false),
            (bind(true, "::1", 5060), bind(true, "::", 5060), true),
            (bind(true, "::1", 5060), bind(true, "0.0.0.0", 5060), false),
        ] {
            assert_eq!(one.clashes(&other), clashes, "{one} {other}");
            assert_eq!(other.clashes(&one), clashes, "{other} {one}");
        }
    }

    #[test]
    fn ids_are_short_words() {
        for id in ["w0", "load-udp", "a.b_c", &"x".repeat(ID_MAX)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(ID_MAX + 1)] {
            assert!(!is_id(id), "{id}");
        }
    }
}
