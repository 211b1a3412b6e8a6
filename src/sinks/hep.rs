//! Messages for a capture server: HEP version 3 in UDP datagrams (`-hep_addr`).
//!
//! One datagram per message, from a socket of the writer thread's own that never blocks. What the
//! kernel does not take is counted, and said once.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Context, Losses, RecordSink};
use crate::trace::{Ends, Event, Kinds, Record};

/// Longest payload of a UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// The protocol type of SIP.
const SIP: u8 = 1;

/// The identity of this host for the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HepIdentity {
    /// The number by which the collector knows this host.
    pub capture_id: u32,
    /// The password for the collector.
    pub password: Option<String>,
}

/// Sends each message to the collector.
#[derive(Debug)]
pub struct Hep {
    socket: UdpSocket,
    collector: SocketAddr,
    identity: HepIdentity,
    packet: Vec<u8>,
    lost: u64,
    is_reported: bool,
}

impl Hep {
    /// Opens a socket for `collector`.
    ///
    /// # Errors
    /// If no socket can be opened, or if there is no route to the collector.
    pub fn new(collector: SocketAddr, identity: HepIdentity) -> io::Result<Self> {
        let any: IpAddr = match collector {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(collector)?;
        let packet = Vec::new();
        Ok(Self { socket, collector, identity, packet, lost: 0, is_reported: false })
    }

    fn lose(&mut self, why: &dyn std::fmt::Display) {
        self.lost += 1;
        if !std::mem::replace(&mut self.is_reported, true) {
            let to = self.collector;
            // A closed stderr is ignored: no reader is left.
            let _ = writeln!(
                io::stderr(),
                "warning: cannot send to the HEP collector {to}: {why}; lost packets are counted"
            );
        }
    }
}

impl RecordSink for Hep {
    fn kinds(&self) -> Kinds {
        Kinds::MESSAGES
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let (ends, from, to, message) = match record.event {
            Event::Sent { ends, message, .. } => (ends, ends.local, ends.remote, message),
            Event::Received { ends, message } => (ends, ends.remote, ends.local, message),
            _ => return,
        };
        let unix_ns = cx.clock.unix_ns(record.at_ns);
        self.packet.clear();
        let way = Way { from, to, ends };
        if !put_packet(&self.identity, way, unix_ns, message, &mut self.packet) {
            return self.lose(&"a message is too long for a datagram");
        }
        if let Err(error) = self.socket.send(&self.packet) {
            self.lose(&error);
        }
    }

    fn losses(&self) -> Losses {
        Losses { hep_packets: self.lost, ..Losses::default() }
    }
}

/// The addresses of a message, in its direction.
struct Way {
    from: SocketAddr,
    to: SocketAddr,
    ends: Ends,
}

/// Writes a packet; `false` if it would not fit a datagram.
fn put_packet(
    identity: &HepIdentity,
    way: Way,
    unix_ns: u64,
    message: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    out.extend_from_slice(b"HEP3\0\0");
    let (from, to) = (way.from, way.to);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // The numbers of AF_INET and AF_INET6 on Linux: collectors expect them.
            put_protocols(2, &way, out);
            put_chunk(3, &from.octets(), out);
            put_chunk(4, &to.octets(), out);
        }
        (from, to) => {
            put_protocols(10, &way, out);
            put_chunk(5, &v6(from).octets(), out);
            put_chunk(6, &v6(to).octets(), out);
        }
    }
    put_chunk(7, &from.port().to_be_bytes(), out);
    put_chunk(8, &to.port().to_be_bytes(), out);
    // The format has 32 bits for the seconds, which last until 2106.
    let (seconds, rest_ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    put_chunk(9, &(seconds as u32).to_be_bytes(), out);
    put_chunk(10, &((rest_ns / 1000) as u32).to_be_bytes(), out);
    put_chunk(11, &[SIP], out);
    put_chunk(12, &identity.capture_id.to_be_bytes(), out);
    let password = identity.password.as_deref().unwrap_or_default();
    if !password.is_empty() {
        put_chunk(14, password.as_bytes(), out);
    }
    if out.len() + CHUNK_HEADER + message.len() > DATAGRAM_MAX {
        return false;
    }
    put_chunk(15, message, out);
    let length = out.len() as u16;
    out[4..6].copy_from_slice(&length.to_be_bytes());
    true
}

fn put_protocols(family: u8, way: &Way, out: &mut Vec<u8>) {
    put_chunk(1, &[family], out);
    put_chunk(2, &[if way.ends.protocol.is_stream() { 6 } else { 17 }], out);
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Vendor, type and length, two bytes each.
const CHUNK_HEADER: usize = 6;

/// Writes a chunk of vendor 0. Callers ensure that its length fits 16 bits.
fn put_chunk(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = (CHUNK_HEADER + value.len()) as u16;
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Protocol;

    fn packet(from: &str, to: &str, protocol: Protocol, identity: &HepIdentity) -> Vec<u8> {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let ends = Ends { local: from, remote: to, protocol };
        let mut out = Vec::new();
        let way = Way { from, to, ends };
        assert!(put_packet(identity, way, 1_700_000_001_234_567_890, b"SIP", &mut out));
        out
    }

    #[test]
    fn a_packet_over_udp_and_ipv4_to_the_byte() {
        let identity = HepIdentity { capture_id: 2001, password: Some("key".to_owned()) };
        let packet = packet("192.0.2.1:5060", "198.51.100.2:5070", Protocol::Udp, &identity);
        let expected: &[&[u8]] = &[
            b"HEP3\x00\x6f",
            b"\0\0\0\x01\0\x07\x02",
            b"\0\0\0\x02\0\x07\x11",
            b"\0\0\0\x03\0\x0a\xc0\x00\x02\x01",
            b"\0\0\0\x04\0\x0a\xc6\x33\x64\x02",
            b"\0\0\0\x07\0\x08\x13\xc4",
            b"\0\0\0\x08\0\x08\x13\xce",
            b"\0\0\0\x09\0\x0a\x65\x53\xf1\x01",
            b"\0\0\0\x0a\0\x0a\x00\x03\x94\x47",
            b"\0\0\0\x0b\0\x07\x01",
            b"\0\0\0\x0c\0\x0a\x00\x00\x07\xd1",
            b"\0\0\0\x0e\0\x09key",
            b"\0\0\0\x0f\0\x09SIP",
        ];
        assert_eq!(packet, expected.concat());
    }

    #[test]
    fn a_packet_over_tls_and_ipv6_without_a_key() {
        let from = "[2001:db8::1]:5061";
        let packet = packet(from, "[2001:db8::2]:5061", Protocol::Tls, &HepIdentity::default());
        let begin: &[&[u8]] = &[
            b"\0\0\0\x01\0\x07\x0a",
            b"\0\0\0\x02\0\x07\x06",
            b"\0\0\0\x05\0\x16\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
            b"\0\0\0\x06\0\x16\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02",
        ];
        assert!(packet[6..].starts_with(&begin.concat()), "{packet:x?}");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len());
        assert!(!packet.windows(4).any(|bytes| bytes == b"\0\0\0\x0e"));
    }

    #[test]
    fn what_is_too_long_for_a_datagram_makes_no_packet() {
        let end: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let ends = Ends { local: end, remote: end, protocol: Protocol::Tcp };
        let way = Way { from: end, to: end, ends };
        let identity = HepIdentity::default();
        assert!(!put_packet(&identity, way, 0, &[b'x'; 65_500], &mut Vec::new()));
    }
}
