//! Addresses that engines and the API want to have for themselves.

use std::net::{IpAddr, Ipv4Addr};

use super::layout::Profile;
use super::problem::{Place, Problem, ProblemKind};
use super::resolved::{EngineConfig, HttpConfig};

/// Who wants an address.
struct Bind {
    is_stream: bool,
    ip: IpAddr,
    port: u16,
    place: Place,
    key: String,
}

/// Reports every address that two want. Sockets of one process could share it unnoticed, and each
/// would get a part of the messages.
pub(super) fn check(
    engines: &[(EngineConfig, &Profile)],
    http: Option<(&HttpConfig, &Profile)>,
    problems: &mut Vec<Problem>,
) {
    let mut taken: Vec<Bind> = Vec::new();
    if let Some((http, profile)) = http {
        let (place, key) = profile.place_of(&["api_addr"]);
        let (ip, port) = (http.addr.ip(), http.addr.port());
        taken.extend((port != 0).then_some(Bind { is_stream: true, ip, port, place, key }));
    }
    for (engine, profile) in engines {
        for bind in binds(engine, profile) {
            let clash = taken.iter().find(|other| {
                other.is_stream == bind.is_stream
                    && other.port == bind.port
                    && overlap(other.ip, bind.ip)
            });
            if let Some(other) = clash {
                let protocol = if bind.is_stream { "TCP" } else { "UDP" };
                let message = format!(
                    "{protocol} {}:{} is taken by {} (line {}); give another port or address",
                    bind.ip,
                    bind.port,
                    if other.key.is_empty() { "the engine" } else { &other.key },
                    other.place.line,
                );
                let (place, key) = (Some(bind.place), bind.key.clone());
                problems.push(Problem { place, key, kind: ProblemKind::Bind, message });
            } else {
                taken.push(bind);
            }
        }
    }
}

fn binds(engine: &EngineConfig, profile: &Profile) -> Vec<Bind> {
    let run = &engine.run;
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let own = || {
        let (place, key) = profile.place_of(&["local_port", "extra_args", "transport"]);
        (run.transport, run.local_ip, run.local_port, place, key)
    };
    let listed = engine.listeners.iter().enumerate().map(|(index, listener)| {
        let entries = profile.key("listeners").map_or(&[][..], |key| key.node.elements());
        let entry = entries.get(index);
        let port = entry.and_then(|entry| entry.member("local_port"));
        let place = port.map(|port| port.at).or(entry.map(|entry| entry.at)).unwrap_or(profile.at);
        let key = super::check::join(&profile.path, &format!("listeners[{index}]"));
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
            let is_stream = transport.is_stream();
            Some(Bind { is_stream, ip: ip.unwrap_or(any), port, place, key })
        })
        .collect()
}

/// Whether two addresses cannot both be bound at one port: the same one, or one that stands for
/// all of its family.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_overlaps_with_each_of_its_family() {
        for (a, b, expected) in [
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("::", "::1", true),
            ("::", "127.0.0.1", false),
            ("0.0.0.0", "0.0.0.0", true),
        ] {
            assert_eq!(overlap(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
            assert_eq!(overlap(b.parse().unwrap(), a.parse().unwrap()), expected, "{b} {a}");
        }
    }
}
