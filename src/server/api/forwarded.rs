//! The client behind a proxy, by the headers that proxies add: `X-Forwarded-For`, and `Forwarded`
//! (RFC 7239).
//!
//! Any client can send these headers. They are read only on connections of a trusted proxy, and
//! from the right: each proxy adds the address of its own client at the end. So the first address
//! from there that is no trusted proxy's is the last one that a trusted proxy has seen. A request
//! through a proxy never counts as one from this host, whatever the headers say.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;

use super::guard::Names;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Headers that only proxies add: a request with one has come through a proxy, trusted or not.
const TRACES: [&str; 4] = ["forwarded", X_FORWARDED_FOR, "x-real-ip", "via"];

/// The client that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The other end of the connection.
    Peer,
    /// The address that a trusted proxy names.
    Named(IpAddr),
    /// A client that a trusted proxy does not name, or not clearly.
    Unnamed,
}

/// Tells whether a request shows that it came through a proxy.
pub(crate) fn is_relayed(headers: &HeaderMap) -> bool {
    TRACES.iter().any(|name| headers.contains_key(*name))
}

/// Returns the client of a request on a connection of `peer`.
pub(crate) fn asker(headers: &HeaderMap, peer: IpAddr, names: &Names) -> Asker {
    if !names.is_proxy(peer) {
        return Asker::Peer;
    }
    let old = lines(headers, X_FORWARDED_FOR).map(|text| outermost(&x_forwarded_for(&text), names));
    let new = lines(headers, FORWARDED.as_str()).map(|text| outermost(&forwarded(&text), names));
    let asker = match (old, new) {
        // It may be any client that the proxy lets in.
        (None, None) => Asker::Unnamed,
        (Some(asker), None) | (None, Some(asker)) => asker,
        (Some(old), Some(new)) if old == new => old,
        // The proxy adds one of them and passes the other on, which the client may have made up.
        (Some(_), Some(_)) => Asker::Unnamed,
    };
    match asker {
        // A loopback address tells something about the proxy's own host only.
        Asker::Named(address) if address.is_loopback() && !peer.to_canonical().is_loopback() => {
            Asker::Unnamed
        }
        asker => asker,
    }
}

/// All lines of a header as one list; `None` without the header.
fn lines(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        // A value that is no text names no address.
        .map(|value| value.to_str().unwrap_or("unknown"))
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// The last address of `chain` that is no trusted proxy's. If all are proxies, the client stays
/// unnamed: the first address may be made up.
fn outermost(chain: &[Option<IpAddr>], names: &Names) -> Asker {
    for hop in chain.iter().rev() {
        match hop {
            Some(address) if names.is_proxy(*address) => {}
            Some(address) => return Asker::Named(*address),
            None => return Asker::Unnamed,
        }
    }
    Asker::Unnamed
}

fn x_forwarded_for(text: &str) -> Vec<Option<IpAddr>> {
    text.split(',').map(node).collect()
}

/// The `for` of each element (RFC 7239, section 4).
fn forwarded(text: &str) -> Vec<Option<IpAddr>> {
    split(text, ',')
        .into_iter()
        .map(|element| {
            let mut pairs = split(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            node(quoted.unwrap_or(value))
        })
        .collect()
}

/// The parts of `text` between separators that stand in no quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && c == '\\' && !was_escaped;
        is_quoted ^= c == '"' && !was_escaped;
        c == separator && !is_quoted
    })
    .collect()
}

/// An address, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = address.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::targets::Network;

    const PROXY: &str = "10.0.0.1";

    fn asked(lines: &[(&'static str, &str)], peer: &str) -> Asker {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.2"]
            .map(|text| Network::parse(text).unwrap());
        let names = Names { proxies: proxies.to_vec(), ..Names::default() };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        asker(&headers, peer.parse().unwrap(), &names)
    }

    fn named(text: &str) -> Asker {
        Asker::Named(text.parse().unwrap())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let lines = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
        assert_eq!(asked(&lines, "203.0.113.9"), Asker::Peer);
        assert_eq!(asked(&lines, PROXY), named("192.0.2.1"));
        assert_eq!(asked(&lines, "::ffff:10.0.0.1"), named("192.0.2.1"));
        assert_eq!(asked(&[], "203.0.113.9"), Asker::Peer);
        assert_eq!(asked(&[], PROXY), Asker::Unnamed, "the proxy may serve anybody");
        assert_eq!(asked(&[], "127.0.0.2"), Asker::Unnamed);
        assert_eq!(asked(&[], "127.0.0.1"), Asker::Peer, "another address of this host");
    }

    #[test]
    fn the_last_one_that_is_no_proxy_asks() {
        for (value, expected) in [
            ("192.0.2.1", named("192.0.2.1")),
            // An address that a client makes up stands on the left.
            ("127.0.0.1, 192.0.2.1", named("192.0.2.1")),
            ("192.0.2.1, 10.1.2.3,10.0.0.7", named("192.0.2.1")),
            // All are proxies: one of them may have believed its client.
            ("10.1.2.3, 10.0.0.7", Asker::Unnamed),
            ("10.1.2.3", Asker::Unnamed),
            ("192.0.2.1:4711", named("192.0.2.1")),
            ("2001:db8::1", named("2001:db8::1")),
            ("[2001:db8::1]", named("2001:db8::1")),
            ("[2001:db8::1]:4711", named("2001:db8::1")),
            ("2001:db8::1, 2001:db8:1::5", named("2001:db8::1")),
            ("::ffff:192.0.2.1", named("192.0.2.1")),
            ("192.0.2.1, unknown", Asker::Unnamed),
            ("192.0.2.1,", Asker::Unnamed),
            ("", Asker::Unnamed),
            ("lab7", Asker::Unnamed),
            ("192.0.2.1 192.0.2.2", Asker::Unnamed),
            ("\u{e9}", Asker::Unnamed),
        ] {
            assert_eq!(asked(&[("x-forwarded-for", value)], PROXY), expected, "{value:?}");
        }
        let two = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(asked(&two, PROXY), named("192.0.2.1"));
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        for (value, expected) in [
            ("for=192.0.2.1", named("192.0.2.1")),
            ("For=192.0.2.1;proto=https;by=203.0.113.43", named("192.0.2.1")),
            ("for=127.0.0.1, for=192.0.2.1", named("192.0.2.1")),
            ("for=\"[2001:db8:cafe::17]:4711\"", named("2001:db8:cafe::17")),
            ("by=10.0.0.1; for = \"192.0.2.1:80\" , for=10.9.9.9", named("192.0.2.1")),
            // A client cannot close the quotes of another element.
            ("host=\"a,for=127.0.0.1\";for=192.0.2.1", named("192.0.2.1")),
            ("host=\"a\\\",for=127.0.0.1\";for=192.0.2.1", named("192.0.2.1")),
            ("for=_hidden", Asker::Unnamed),
            ("for=unknown", Asker::Unnamed),
            ("proto=https", Asker::Unnamed),
            ("for=", Asker::Unnamed),
            ("", Asker::Unnamed),
        ] {
            assert_eq!(asked(&[("forwarded", value)], PROXY), expected, "{value:?}");
        }
    }

    #[test]
    fn a_loopback_address_from_elsewhere_names_nobody() {
        for address in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            let (list, element) = (address.to_owned(), format!("for=\"[{address}]\""));
            let lines = [("x-forwarded-for", list.as_str()), ("forwarded", element.as_str())];
            for lines in [&lines[..1], &lines[1..], &lines[..]] {
                assert_eq!(asked(lines, PROXY), Asker::Unnamed, "{lines:?}");
            }
        }
        assert_eq!(asked(&[("x-forwarded-for", "::1")], "127.0.0.2"), named("::1"));
    }

    #[test]
    fn a_proxy_leaves_traces() {
        for (name, expected) in [
            ("forwarded", true),
            ("x-forwarded-for", true),
            ("x-real-ip", true),
            ("via", true),
            ("user-agent", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("192.0.2.1"));
            assert_eq!(is_relayed(&headers), expected, "{name}");
        }
    }

    #[test]
    fn headers_that_differ_name_nobody() {
        let lines = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=127.0.0.1")];
        assert_eq!(asked(&lines, PROXY), Asker::Unnamed);
    }
}
