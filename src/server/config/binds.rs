//! Addresses and files that no two engines may share, nor an engine and the API.

use std::path::PathBuf;

use super::check::join;
use super::layout::Profile;
use super::own::key_of_output;
use super::problem::{Place, Problem, ProblemKind};
use super::resolved::{EngineEntry, HttpConfig};
use crate::files::is_one_file;
use crate::server::engines::{Bind, files};

/// An address or a file, and the part of the configuration that claims it.
struct Claim<T> {
    what: T,
    place: Place,
    key: String,
}

/// Reports every address and file that is claimed twice. Sockets of one process could share an
/// address unnoticed, and each would get a part of the messages.
pub(super) fn check(
    engines: &[(EngineEntry, &Profile)],
    http: Option<(&HttpConfig, &Profile)>,
    problems: &mut Vec<Problem>,
) {
    let mut taken: Vec<Claim<Bind>> = Vec::new();
    if let Some((http, profile)) = http
        && http.addr.port() != 0
    {
        let (place, key) = profile.place_of(&["api_addr"]);
        let ip = Some(http.addr.ip());
        let what = Bind { is_stream: true, ip, port: http.addr.port() };
        taken.push(Claim { what, place, key });
    }
    for claim in engines.iter().flat_map(|(engine, profile)| binds(engine, profile)) {
        let clash = taken.iter().find(|other| other.what.clashes(&claim.what));
        if let Some(other) = clash {
            let message = format!(
                "{} is used by {} (line {}); give another port or address",
                claim.what,
                if other.key.is_empty() { "the engine" } else { &other.key },
                other.place.line
            );
            let (place, key) = (Some(claim.place), claim.key);
            problems.push(Problem { place, key, kind: ProblemKind::Bind, message });
        } else {
            taken.push(claim);
        }
    }
    let mut taken: Vec<(&str, Claim<PathBuf>)> = Vec::new();
    for (engine, profile) in engines {
        for claim in written(engine, profile) {
            let clash = taken.iter().find(|(_, other)| is_one_file(&other.what, &claim.what));
            let Some((other, _)) = clash else {
                taken.push((&engine.id, claim));
                continue;
            };
            let message = format!(
                "{} would be written by the engines {other} and {}; give each a file of its own",
                claim.what.display(),
                engine.id
            );
            let (place, key) = (Some(claim.place), claim.key);
            problems.push(Problem { place, key, kind: ProblemKind::Bind, message });
        }
    }
}

fn binds(engine: &EngineEntry, profile: &Profile) -> Vec<Claim<Bind>> {
    let run = &engine.run;
    let own = || {
        let (place, key) = profile.place_of(&["local_port", "extra_args", "transport"]);
        (run.transport, run.local_ip, run.local_port, place, key)
    };
    let listed = engine.listeners.iter().enumerate().map(|(index, listener)| {
        let entries = profile.key("listeners").map_or(&[][..], |key| key.node.elements());
        let entry = entries.get(index);
        let port = entry.and_then(|entry| entry.member("local_port"));
        let place = port.map(|port| port.at).or(entry.map(|entry| entry.at)).unwrap_or(profile.at);
        let key = join(&profile.path, &format!("listeners[{index}]"));
        (listener.transport, listener.local_ip, listener.local_port, place, key)
    });
    let all: Vec<_> = match engine.listeners.is_empty() {
        true => vec![own()],
        false => listed.collect(),
    };
    all.into_iter()
        .filter_map(|(transport, ip, port, place, key)| {
            // Port 0 is a free one.
            let port = port.filter(|&port| port != 0)?;
            Some(Claim { what: Bind { is_stream: transport.is_stream(), ip, port }, place, key })
        })
        .collect()
}

fn written(engine: &EngineEntry, profile: &Profile) -> Vec<Claim<PathBuf>> {
    files(&engine.run)
        .map(|path| {
            let names = [key_of_output(&engine.run, path), "extra_args"];
            let (place, key) = profile.place_of(&names);
            Claim { what: path.to_owned(), place, key }
        })
        .collect()
}
