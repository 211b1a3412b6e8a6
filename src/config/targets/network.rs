//! Addresses by purpose, networks, and ranges of ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services, which give virtual machines their identity and credentials, at addresses that
/// are otherwise private: those of Amazon, Google, Alibaba, Oracle and Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Kinds of addresses, as far as they decide which clients may send to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// This host.
    Loopback,
    /// A private network (RFC 1918).
    Private,
    /// A unique local IPv6 address (RFC 4193).
    UniqueLocal,
    /// A network between a provider and its customers (RFC 6598).
    Shared,
    /// Any other address: it belongs to another network.
    Global,
    /// No address, which reaches this host (RFC 1122, section 3.2.1.3).
    Unspecified,
    /// A host on the same link, and services of a virtual machine's host (RFC 3927).
    LinkLocal,
    /// A group of hosts.
    Multicast,
    /// All hosts of a network.
    Broadcast,
    /// A service that gives out credentials of this machine.
    Metadata,
}

impl AddressClass {
    /// The class of an address.
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        if METADATA.contains(&ip) {
            return Self::Metadata;
        }
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0, ..] => Self::Unspecified,
            [100, second, ..] if second & 0xc0 == 64 => Self::Shared,
            _ if ip.is_loopback() => Self::Loopback,
            _ if ip.is_private() => Self::Private,
            _ if ip.is_link_local() => Self::LinkLocal,
            _ if ip.is_multicast() => Self::Multicast,
            _ if ip.is_broadcast() => Self::Broadcast,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_unspecified() {
            return Self::Unspecified;
        }
        if ip.is_loopback() {
            return Self::Loopback;
        }
        // An address that a gateway translates to a forbidden IPv4 address is forbidden too.
        if let Some(class) = never_behind(ip) {
            return class;
        }
        match ip.segments()[0] {
            first if first & 0xff00 == 0xff00 => Self::Multicast,
            first if first & 0xffc0 == 0xfe80 => Self::LinkLocal,
            first if first & 0xfe00 == 0xfc00 => Self::UniqueLocal,
            _ => Self::Global,
        }
    }

    /// Tells whether every client that may start calls over the API may call it without an entry.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::UniqueLocal | Self::Shared)
    }

    /// Tells whether no client of the API may call it, even with an entry.
    pub fn is_never(self) -> bool {
        matches!(
            self,
            Self::Unspecified
                | Self::LinkLocal
                | Self::Multicast
                | Self::Broadcast
                | Self::Metadata
        )
    }

    /// The name of the class, without "a" or "an".
    pub fn label(self) -> &'static str {
        match self {
            Self::Loopback => "loopback address",
            Self::Private => "private address",
            Self::UniqueLocal => "unique local address",
            Self::Shared => "shared address",
            Self::Global => "global address",
            Self::Unspecified => "unspecified address",
            Self::LinkLocal => "link-local address",
            Self::Multicast => "multicast address",
            Self::Broadcast => "broadcast address",
            Self::Metadata => "metadata service's address",
        }
    }

    /// The name of the class with its article.
    pub fn described(self) -> String {
        let article = match self {
            Self::Unspecified => "an",
            _ => "a",
        };
        format!("{article} {}", self.label())
    }
}

/// The class of the IPv4 address that an IPv6 one leads to, if that one must never be called.
fn never_behind(ip: Ipv6Addr) -> Option<AddressClass> {
    let never = |ip: Ipv4Addr| Some(AddressClass::of(ip.into())).filter(|class| class.is_never());
    let Some(candidates) = locally_translated(ip) else {
        return translated(ip).and_then(never);
    };
    // No gateway leads to 0.0.0.0/8, but the zeros of a longer prefix look like it.
    let classes = candidates.map(never);
    match classes.iter().all(|&class| class == Some(AddressClass::Unspecified)) {
        true => Some(AddressClass::Unspecified),
        false => {
            let real = |class: &AddressClass| *class != AddressClass::Unspecified;
            classes.into_iter().flatten().find(real)
        }
    }
}

/// The IPv4 addresses to which one of 64:ff9b:1::/48 (RFC 8215) may lead. A site translates with a
/// prefix of 48, 56, 64 or 96 bits of it. The address does not show which, and the place of the
/// IPv4 address depends on it (RFC 6052, section 2.2).
fn locally_translated(ip: Ipv6Addr) -> Option<[Ipv4Addr; 4]> {
    let octets = ip.octets();
    if !octets.starts_with(&[0, 0x64, 0xff, 0x9b, 0, 1]) {
        return None;
    }
    // Octet 8 is never part of the IPv4 address.
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    Some(places.map(|place| Ipv4Addr::from(place.map(|index: usize| octets[index]))))
}

/// The IPv4 address inside an IPv6 one: NAT64 (RFC 6052), 6to4 (RFC 3056) and the old
/// IPv4-compatible form. Mapped addresses were already converted to IPv4.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads an address, or an address and its number of prefix bits: `192.0.2.0/24`.
    ///
    /// # Errors
    /// A sentence that shows the right form.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write an address or a network, as 192.0.2.7, 192.0.2.0/24 or \
                            2001:db8::/32; host names are not accepted";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| FORM.to_owned())?;
        if base != base.to_canonical() {
            return Err(format!("write it as the IPv4 address {}", base.to_canonical()));
        }
        let most = width(base);
        let bits = match bits {
            None => most,
            Some(bits) => {
                let is_plain = bits.bytes().all(|byte| byte.is_ascii_digit());
                let bits = bits.parse().ok().filter(|&bits| is_plain && bits <= most);
                bits.ok_or_else(|| format!("the number of bits after / must be from 0 to {most}"))?
            }
        };
        let network = Self { base: masked(base, bits), bits };
        match network.base == base {
            true => Ok(network),
            false => Err(format!("it has bits set after the first {bits}; write {network}")),
        }
    }

    /// Tells whether an address is one of the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.base.is_ipv4() && masked(ip, self.bits) == self.base
    }

    /// Number of bits that its addresses have in common.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The class of all its addresses, if they share one.
    pub fn class(&self) -> Option<AddressClass> {
        let last = match self.base {
            IpAddr::V4(ip) => {
                let rest = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::from(Ipv4Addr::from(u32::from(ip) | rest))
            }
            IpAddr::V6(ip) => {
                let rest = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::from(Ipv6Addr::from(u128::from(ip) | rest))
            }
        };
        let class = AddressClass::of(self.base);
        (class == AddressClass::of(last)).then_some(class)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == width(self.base) {
            true => write!(f, "{}", self.base),
            false => write!(f, "{}/{}", self.base, self.bits),
        }
    }
}

/// Bits of an address.
fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// An address with all but its first bits 0.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

/// Ports from one to another, both of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Reads a port, or two with a dash between them.
    ///
    /// # Errors
    /// A sentence that shows the right form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write a port from 1 to 65535, or a range as \"10000-20000\"";
        let port = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|&port: &u16| is_plain && port > 0).ok_or(FORM)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: port(first.trim())?, last: port(last.trim())? };
        match range.first <= range.last {
            true => Ok(range),
            false => Err("the first port of a range must be the smaller one"),
        }
    }

    /// Tells whether the range has a port.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// The port, if the range has only one.
    pub fn single(&self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(port) => write!(f, "{port}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AddressClass::*;
    use super::*;

    #[test]
    fn addresses_have_the_class_that_they_reach() {
        for (text, class) in [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("10.255.0.1", Private),
            ("172.16.0.1", Private),
            ("172.32.0.1", Global),
            ("192.168.1.1", Private),
            ("100.64.0.1", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.1", Global),
            ("fd12::1", UniqueLocal),
            ("192.0.2.1", Global),
            ("2001:db8::1", Global),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("::ffff:0.0.0.0", Unspecified),
            ("169.254.169.254", LinkLocal),
            ("::ffff:169.254.169.254", LinkLocal),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("64:ff9b:1::a9fe:a9fe", LinkLocal),
            ("64:ff9b:1:1:2:3:a9fe:a9fe", LinkLocal),
            ("64:ff9b:1:0:a9:fea9:fe00:0", LinkLocal),
            ("64:ff9b:1:12a9:fe:a9fe::", LinkLocal),
            ("64:ff9b:1:a9fe:a9:fe00::", LinkLocal),
            ("64:ff9b:1::6464:64c8", Metadata),
            ("64:ff9b:1::", Unspecified),
            ("64:ff9b:1::c000:201", Global),
            ("64:ff9b:1:c000:2:100::", Global),
            ("64:ff9b:2::a9fe:a9fe", Global),
            ("2002:a9fe:a9fe::1", LinkLocal),
            ("::a9fe:a9fe", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("224.0.0.1", Multicast),
            ("::ffff:239.1.1.1", Multicast),
            ("ff02::1", Multicast),
            ("255.255.255.255", Broadcast),
            ("fd00:ec2::254", Metadata),
            ("100.100.100.200", Metadata),
        ] {
            assert_eq!(AddressClass::of(text.parse().unwrap()), class, "{text}");
            assert!(!(class.is_open() && class.is_never()));
        }
    }

    #[test]
    fn networks_have_one_form() {
        for text in ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "fd00::1"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Network::parse("192.0.2.7/32").unwrap().to_string(), "192.0.2.7");
        for (text, part) in [
            ("192.0.2.7/24", "write 192.0.2.0/24"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
            ("192.0.2.0/33", "0 to 32"),
            ("192.0.2.0/+8", "0 to 32"),
            ("192.0.2.0/", "0 to 32"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("example.org", "host names are not accepted"),
            ("", "write an address"),
        ] {
            let error = Network::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(all.contains([203, 0, 113, 9].into()) && !all.contains("::1".parse().unwrap()));
        let one = Network::parse("192.0.2.0/25").unwrap();
        assert!(one.contains([192, 0, 2, 127].into()) && !one.contains([192, 0, 2, 128].into()));
        for (text, class) in [
            ("224.0.0.0/4", Some(Multicast)),
            ("169.254.0.0/16", Some(LinkLocal)),
            ("fe80::/10", Some(LinkLocal)),
            ("10.0.0.0/8", Some(Private)),
            ("0.0.0.0/0", None),
        ] {
            assert_eq!(Network::parse(text).unwrap().class(), class, "{text}");
        }
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        let range = PortRange::parse("5060 - 5062").unwrap();
        assert!(range.contains(5060) && range.contains(5062) && !range.contains(5063));
        assert_eq!(range.to_string(), "5060-5062");
        assert_eq!(PortRange::parse("80").unwrap().single(), Some(80));
        for text in ["", "0", "65536", "5062-5060", "a", "1-", "+5", "1-2-3"] {
            assert!(PortRange::parse(text).is_err(), "{text}");
        }
    }
}
