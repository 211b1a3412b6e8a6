//! The list of targets, and its verdict on one address.

use std::fmt;
use std::net::SocketAddr;

use super::network::{AddressClass, Network, PortRange};

/// Ports below this one belong to services of the system (RFC 6335, section 6).
const USER_PORTS: u16 = 1024;
/// The ports of SIP (RFC 3261, section 19.1.2).
const SIP_PORTS: [u16; 2] = [5060, 5061];
/// The ports that WebSockets use (RFC 6455, section 3).
const WEB_PORTS: [u16; 2] = [80, 443];

/// One entry of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetEntry {
    /// The addresses of the entry.
    pub network: Network,
    /// The ports of the entry; empty for those that need no entry of their own.
    pub ports: Vec<PortRange>,
    /// Most calls per second, over all clients of the API.
    pub max_rate: Option<f64>,
    /// Most open calls, over all clients of the API.
    pub max_concurrent: Option<u64>,
    /// The end of the entry, if it has one.
    pub expires: Option<Expiry>,
}

/// The end of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The date as it was written.
    pub text: String,
    /// The date in nanoseconds since 1970 UTC.
    pub unix_ns: u64,
}

impl TargetEntry {
    /// Tells whether the entry covers an address and its port.
    fn covers(&self, to: SocketAddr, is_websocket: bool) -> bool {
        let has_port = match self.ports.as_slice() {
            [] => is_usual_port(to.port(), is_websocket),
            ports => ports.iter().any(|range| range.contains(to.port())),
        };
        has_port && self.network.contains(to.ip())
    }

    /// Tells whether the entry limits clients together.
    pub fn has_ceiling(&self) -> bool {
        self.max_rate.is_some() || self.max_concurrent.is_some()
    }
}

/// Tells whether a port is allowed without being named in an entry.
fn is_usual_port(port: u16, is_websocket: bool) -> bool {
    port >= USER_PORTS || SIP_PORTS.contains(&port) || (is_websocket && WEB_PORTS.contains(&port))
}

/// The list of addresses that clients of the API may call. Without entries these are this host and
/// those of private and shared networks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetList {
    /// The entries, in the order of the file.
    pub entries: Vec<TargetEntry>,
}

impl TargetList {
    /// The position of the entry that decides about an address: of the entries that cover it, the
    /// first with the smallest network. `None` if no entry is needed.
    ///
    /// # Errors
    /// The reason why nothing may be sent there at `unix_ns`.
    pub fn judge(
        &self,
        to: SocketAddr,
        is_websocket: bool,
        unix_ns: u64,
    ) -> Result<Option<usize>, Refusal> {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let class = AddressClass::of(to.ip());
        if class.is_never() {
            return Err(Refusal::Never { to, class });
        }
        let about_it = self.entries.iter().enumerate();
        let about_it = about_it.filter(|(_, entry)| entry.covers(to, is_websocket));
        // `max_by_key` returns the last of equal entries.
        let decides = about_it.rev().max_by_key(|(_, entry)| entry.network.bits());
        match decides {
            Some((index, entry)) => match &entry.expires {
                Some(end) if end.unix_ns <= unix_ns => {
                    Err(Refusal::Expired { to, index, since: end.text.clone() })
                }
                _ => Ok(Some(index)),
            },
            None if !class.is_open() => Err(Refusal::NeedsEntry { to, class }),
            None if is_usual_port(to.port(), is_websocket) => Ok(None),
            None => Err(Refusal::Port { to }),
        }
    }
}

/// The reason why an address or an amount of load is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No client may send there.
    Never {
        /// The address.
        to: SocketAddr,
        /// The class of the address.
        class: AddressClass,
    },
    /// Only an entry allows clients to send there.
    NeedsEntry {
        /// The address.
        to: SocketAddr,
        /// The class of the address.
        class: AddressClass,
    },
    /// Only an entry allows clients to use the port.
    Port {
        /// The address.
        to: SocketAddr,
    },
    /// The entry has expired.
    Expired {
        /// The address.
        to: SocketAddr,
        /// The entry.
        index: usize,
        /// The end, as it was written.
        since: String,
    },
    /// The entry allows less.
    Ceiling {
        /// The bound that would be exceeded.
        bound: Bound,
        /// The key of the client that asks for it.
        key: &'static str,
        /// The entry.
        index: usize,
        /// The network of the entry.
        network: Network,
        /// The requested amount; infinite without a bound.
        wanted: f64,
        /// The amount that the entry allows.
        most: f64,
        /// The amount that other runs hold of it.
        taken: f64,
    },
}

/// The bounds that an entry can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Calls per second.
    Rate,
    /// Open calls.
    Open,
}

impl Bound {
    /// The key of the entry.
    fn key(self) -> &'static str {
        match self {
            Self::Rate => "max_rate",
            Self::Open => "max_concurrent",
        }
    }

    /// The unit of its number.
    fn unit(self) -> &'static str {
        match self {
            Self::Rate => "calls per second",
            Self::Open => "open calls",
        }
    }
}

impl Refusal {
    /// All labels, in the order of [`position`](Self::position).
    pub const LABELS: [&'static str; 5] = ["never", "no_entry", "port", "expired", "ceiling"];

    /// The index of the reason in tables.
    pub fn position(&self) -> usize {
        match self {
            Self::Never { .. } => 0,
            Self::NeedsEntry { .. } => 1,
            Self::Port { .. } => 2,
            Self::Expired { .. } => 3,
            Self::Ceiling { .. } => 4,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { to, class } => write!(
                f,
                "{to} is {}; clients over the API may never send there, and no entry of targets \
                 changes that",
                class.described()
            ),
            Self::NeedsEntry { to, class } => write!(
                f,
                "{to} is {}; clients over the API may send there only if the configuration says \
                 so. Add to its targets: {}",
                class.described(),
                entry_for(to)
            ),
            Self::Port { to } => write!(
                f,
                "port {} of {} belongs to another service; clients over the API may use it only \
                 if the configuration says so. Add to its targets: {}",
                to.port(),
                to.ip(),
                entry_for(to)
            ),
            Self::Expired { to, index, since } => write!(
                f,
                "{to} was allowed until {since} (targets[{index}].expires); give the entry a \
                 later date to go on"
            ),
            Self::Ceiling { bound, key, index, network, wanted, most, taken } => {
                match (wanted.is_finite(), bound, *key) {
                    (true, ..) => write!(f, "{key}: {wanted} is too much; ")?,
                    // The number at this key bounds another quantity.
                    (false, Bound::Rate, "users") => {
                        write!(f, "users: they start calls without a limit per second; ")?;
                    }
                    (false, ..) => write!(f, "{key}: a limit is missing; ")?,
                }
                let (name, unit) = (bound.key(), bound.unit());
                write!(f, "targets[{index}], for {network}, allows {most} {unit} ({name})")?;
                if *taken > 0.0 {
                    write!(f, ", and other clients have {taken} of them")?;
                }
                let left = (most - taken).max(0.0);
                match (bound, *key) {
                    (Bound::Rate, "users") => write!(f, ". Give a rate of {left} at most instead")?,
                    (Bound::Rate, "scenario_file") => {
                        write!(
                            f,
                            ". Choose a scenario that starts calls, and a rate of {left} at most"
                        )?;
                    }
                    _ => write!(f, ". Give {left} at most")?,
                }
                match wanted.is_finite() {
                    true => write!(f, ", or raise targets[{index}].{name}"),
                    false => write!(f, ", or remove targets[{index}].{name}"),
                }
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The entry that lets clients send to an address, as JSON.
fn entry_for(to: &SocketAddr) -> String {
    format!("{{\"network\": \"{}\", \"ports\": [{}]}}", to.ip(), to.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(network: &str, ports: &[&str], expires: Option<u64>) -> TargetEntry {
        TargetEntry {
            network: Network::parse(network).unwrap(),
            ports: ports.iter().map(|text| PortRange::parse(text).unwrap()).collect(),
            max_rate: None,
            max_concurrent: None,
            expires: expires.map(|unix_ns| Expiry { text: "then".to_owned(), unix_ns }),
        }
    }

    /// The label of the refusal, or the entry.
    fn verdict(list: &TargetList, to: &str, is_websocket: bool) -> String {
        match list.judge(to.parse().unwrap(), is_websocket, 1000) {
            Ok(None) => "open".to_owned(),
            Ok(Some(index)) => index.to_string(),
            Err(refusal) => Refusal::LABELS[refusal.position()].to_owned(),
        }
    }

    #[test]
    fn without_entries_own_networks_are_open_and_others_are_not() {
        let list = TargetList::default();
        for (to, is_websocket, expected) in [
            ("127.0.0.1:5060", false, "open"),
            ("10.1.1.1:7000", false, "open"),
            ("[fd01::1]:5061", false, "open"),
            ("100.64.0.9:1024", false, "open"),
            ("127.0.0.1:53", false, "port"),
            ("127.0.0.1:1023", false, "port"),
            ("127.0.0.1:80", false, "port"),
            ("127.0.0.1:80", true, "open"),
            ("127.0.0.1:443", true, "open"),
            ("127.0.0.1:0", true, "port"),
            ("192.0.2.1:5060", false, "no_entry"),
            ("[2001:db8::1]:5060", false, "no_entry"),
            ("169.254.169.254:80", true, "never"),
            ("[::ffff:169.254.169.254]:5060", false, "never"),
            ("[fe80::1]:5060", false, "never"),
            ("0.0.0.0:5060", false, "never"),
            ("224.0.1.75:5060", false, "never"),
            ("255.255.255.255:5060", false, "never"),
        ] {
            assert_eq!(verdict(&list, to, is_websocket), expected, "{to}");
        }
    }

    #[test]
    fn the_smallest_network_decides_and_never_stays_never() {
        let list = TargetList {
            entries: vec![
                entry("0.0.0.0/0", &["1-65535"], None),
                entry("192.0.2.0/24", &[], None),
                entry("192.0.2.0/24", &["53"], None),
                entry("192.0.2.9", &[], Some(1000)),
                entry("192.0.2.10", &[], Some(1001)),
            ],
        };
        for (to, expected) in [
            ("203.0.113.1:22", "0"),
            ("192.0.2.1:5060", "1"),
            ("192.0.2.1:53", "2"),
            ("192.0.2.1:25", "0"),
            ("192.0.2.9:5060", "expired"),
            ("192.0.2.10:5060", "4"),
            ("169.254.169.254:80", "never"),
            ("224.0.0.1:5060", "never"),
            ("[2001:db8::1]:5060", "no_entry"),
        ] {
            assert_eq!(verdict(&list, to, false), expected, "{to}");
        }
    }

    #[test]
    fn a_refusal_gives_the_entry_to_add() {
        let list = TargetList::default();
        for to in ["192.0.2.1:5060", "[2001:db8::1]:5062", "127.0.0.1:53"] {
            let to: SocketAddr = to.parse().unwrap();
            let text = list.judge(to, false, 0).unwrap_err().to_string();
            let json: serde_json::Value =
                serde_json::from_str(text.split_once("targets: ").unwrap().1).unwrap();
            let with =
                entry(json["network"].as_str().unwrap(), &[&json["ports"][0].to_string()], None);
            let list = TargetList { entries: vec![with] };
            assert_eq!(list.judge(to, false, 0), Ok(Some(0)), "{text}");
        }
    }
}
