//! The way from a captured frame to the payload of its UDP datagram.

/// The contents of a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents<'f> {
    /// The payload of a UDP datagram.
    Udp(&'f [u8]),
    /// A part of a datagram, which nothing puts together again.
    Fragment,
    /// A datagram that lacks its end.
    Short,
    /// Anything else.
    Other,
    /// A frame of a link type that is not known.
    UnknownLink,
}

const VLAN_TAGS_MAX: usize = 4;
const EXTENSIONS_MAX: usize = 8;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;

/// Reads a frame. `is_short`: it was longer than what was saved.
pub(super) fn contents(link: u32, frame: &[u8], is_short: bool) -> Contents<'_> {
    // The tcpdump group's list of link types.
    let found = match link {
        0 | 108 => loopback(frame),
        1 => ethernet(frame),
        // Raw IP has had three numbers.
        12 | 14 | 101 | 228 | 229 => ip(frame),
        113 => cooked(frame, 14, 16),
        276 => cooked(frame, 0, 20),
        _ => return Contents::UnknownLink,
    };
    match found {
        Some(contents) => contents,
        None if is_short => Contents::Short,
        None => Contents::Other,
    }
}

/// BSD loopback: the first word is an address family, in the byte order of the host. The families
/// of IPv6 are many, but the version of IP stands in its header too.
fn loopback(frame: &[u8]) -> Option<Contents<'_>> {
    ip(frame.get(4..)?)
}

fn ethernet(frame: &[u8]) -> Option<Contents<'_>> {
    let mut at = 12;
    for _ in 0..=VLAN_TAGS_MAX {
        match be16(frame, at)? {
            // IEEE 802.1Q and 802.1ad.
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            IPV4 | IPV6 => return ip(frame.get(at + 2..)?),
            _ => return None,
        }
    }
    None
}

/// Linux "any" interface, with the protocol at `protocol` and the packet behind `header`.
fn cooked(frame: &[u8], protocol: usize, header: usize) -> Option<Contents<'_>> {
    match be16(frame, protocol)? {
        IPV4 | IPV6 => ip(frame.get(header..)?),
        _ => None,
    }
}

fn ip(packet: &[u8]) -> Option<Contents<'_>> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

/// RFC 791.
fn ipv4(packet: &[u8]) -> Option<Contents<'_>> {
    let header = usize::from(packet[0] & 15) * 4;
    if header < 20 || *packet.get(9)? != UDP {
        return None;
    }
    // More fragments, or an offset.
    if be16(packet, 6)? & 0x3fff != 0 {
        return Some(Contents::Fragment);
    }
    udp(packet.get(header..)?)
}

/// RFC 8200.
fn ipv6(packet: &[u8]) -> Option<Contents<'_>> {
    let (mut next, mut at) = (*packet.get(6)?, 40);
    for _ in 0..=EXTENSIONS_MAX {
        match next {
            UDP => return udp(packet.get(at..)?),
            44 => return Some(Contents::Fragment),
            // Hop-by-hop, routing and destination options.
            0 | 43 | 60 => {
                next = *packet.get(at)?;
                at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
            }
            _ => return None,
        }
    }
    None
}

/// RFC 768. What stands behind the datagram pads a short Ethernet frame.
fn udp(segment: &[u8]) -> Option<Contents<'_>> {
    let length = usize::from(be16(segment, 4)?);
    if length < 8 {
        return None;
    }
    match segment.get(8..length) {
        Some(payload) => Some(Contents::Udp(payload)),
        None => Some(Contents::Short),
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}
