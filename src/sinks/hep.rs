//! Messages and reports on media for a capture server: HEP version 3 in UDP datagrams
//! (`-hep_addr`).
//!
//! One datagram per message or report, from a socket of the writer thread's own that never blocks.
//! Datagrams that the kernel does not take are counted, and that is said once. `rtcp` and `report`
//! have the forms in JSON.

mod report;
mod rtcp;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Context, Losses, RecordSink};
use crate::stats::TraceKind;
use crate::trace::{CallMedia, Event, Kinds, Record};

/// Longest payload of a UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// Protocol types: SIP, RTCP (binary or JSON), and reports on RTP and RTCP as JSON.
const SIP: u8 = 1;
const RTCP: u8 = 5;
const RTP_REPORT: u8 = 35;
const RTCP_REPORT: u8 = 37;

/// The identity of this host for the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HepIdentity {
    /// The number by which the collector knows this host.
    pub capture_id: u32,
    /// The password for the collector.
    pub password: Option<String>,
}

/// The form of RTCP for the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpForm {
    /// Compounds as they are (`-hep_raw_rtcp`).
    Binary,
    /// JSON (`-hep_homer_lake_rtcp`).
    Json,
}

/// The reports on media for the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HepMedia {
    /// The form of the RTCP that calls send and receive; `None` if it is not sent.
    pub rtcp: Option<RtcpForm>,
    /// True if the streams of each call are reported at its end (`-send_media_report`).
    pub reports: bool,
}

/// Sends each message to the collector, and reports on media if they are wanted.
#[derive(Debug)]
pub struct Hep {
    socket: UdpSocket,
    collector: SocketAddr,
    identity: HepIdentity,
    media: HepMedia,
    packet: Vec<u8>,
    json: Vec<u8>,
    lost: u64,
    is_reported: bool,
}

impl Hep {
    /// Opens a socket for `collector`.
    ///
    /// # Errors
    /// If no socket can be opened, or if there is no route to the collector.
    pub fn new(collector: SocketAddr, identity: HepIdentity, media: HepMedia) -> io::Result<Self> {
        let any: IpAddr = match collector {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(collector)?;
        let (packet, json) = (Vec::new(), Vec::new());
        Ok(Self { socket, collector, identity, media, packet, json, lost: 0, is_reported: false })
    }

    /// Sends one packet.
    fn send(&mut self, header: &Header<'_>, payload: &[u8]) {
        self.packet.clear();
        if !put_packet(&self.identity, header, payload, &mut self.packet) {
            return self.lose(&"a message is too long for a datagram");
        }
        if let Err(error) = self.socket.send(&self.packet) {
            self.lose(&error);
        }
    }

    /// Sends RTCP in the form that is wanted.
    fn send_rtcp(&mut self, header: &Header<'_>, packet: &[u8]) {
        match self.media.rtcp {
            None => {}
            Some(RtcpForm::Binary) => self.send(header, packet),
            Some(RtcpForm::Json) => {
                let mut json = std::mem::take(&mut self.json);
                json.clear();
                // A compound without a report, such as feedback, has nothing to tell.
                if rtcp::put(packet, &mut json) {
                    self.send(header, &json);
                }
                self.json = json;
            }
        }
    }

    /// Sends the reports on the streams of a call that ended.
    fn send_reports(&mut self, call_id: &[u8], media: &CallMedia, unix_ns: u64) {
        let Some(path) = media.path else { return };
        let mut json = std::mem::take(&mut self.json);
        for direction in report::Direction::ALL {
            json.clear();
            if !report::put(direction, (call_id, unix_ns), (media, &path), &mut json) {
                continue;
            }
            let (from, to) = direction.ends(&path);
            let kind = match direction {
                report::Direction::Reported => RTCP_REPORT,
                report::Direction::Received | report::Direction::Sent => RTP_REPORT,
            };
            let correlation = Some(call_id);
            let header = Header { from, to, is_stream: false, unix_ns, kind, correlation };
            self.send(&header, &json);
        }
        self.json = json;
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
        let mut kinds = Kinds::MESSAGES;
        if self.media.rtcp.is_some() {
            kinds = kinds.union(Kinds::of(&[TraceKind::Rtcp]));
        }
        if self.media.reports {
            kinds = kinds.union(Kinds::of(&[TraceKind::CallEnded]));
        }
        kinds
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let unix_ns = cx.clock.unix_ns(record.at_ns);
        let (ends, is_sent) = match record.event {
            Event::Sent { ends, .. } => (ends, true),
            Event::Received { ends, .. } => (ends, false),
            Event::Rtcp { ends, is_sent, .. } => (ends, is_sent),
            Event::CallEnded { call_id, media: Some(media), .. } if self.media.reports => {
                return self.send_reports(call_id, &media, unix_ns);
            }
            _ => return,
        };
        let (from, to) = match is_sent {
            true => (ends.local, ends.remote),
            false => (ends.remote, ends.local),
        };
        let is_stream = ends.protocol.is_stream();
        let header = Header { from, to, is_stream, unix_ns, kind: SIP, correlation: None };
        match record.event {
            Event::Sent { message, .. } | Event::Received { message, .. } => {
                self.send(&header, message);
            }
            Event::Rtcp { call_id, packet, .. } => {
                let header = Header { kind: RTCP, correlation: Some(call_id), ..header };
                self.send_rtcp(&header, packet);
            }
            _ => {}
        }
    }

    fn losses(&self) -> Losses {
        Losses { hep_packets: self.lost, ..Losses::default() }
    }
}

/// The facts about a payload that collectors need.
#[derive(Clone, Copy, Debug)]
struct Header<'h> {
    from: SocketAddr,
    to: SocketAddr,
    /// True if it travelled in a stream.
    is_stream: bool,
    unix_ns: u64,
    /// The protocol type.
    kind: u8,
    /// The Call-ID of the call that it belongs to, if the payload does not have it.
    correlation: Option<&'h [u8]>,
}

/// Writes a packet; `false` if it would not fit a datagram.
fn put_packet(
    identity: &HepIdentity,
    header: &Header<'_>,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    out.extend_from_slice(b"HEP3\0\0");
    let &Header { from, to, unix_ns, kind, .. } = header;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // The numbers of AF_INET and AF_INET6 on Linux: collectors expect them.
            put_protocols(2, header, out);
            put_chunk(3, &from.octets(), out);
            put_chunk(4, &to.octets(), out);
        }
        (from, to) => {
            put_protocols(10, header, out);
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
    put_chunk(11, &[kind], out);
    put_chunk(12, &identity.capture_id.to_be_bytes(), out);
    let password = identity.password.as_deref().unwrap_or_default();
    if !password.is_empty() {
        put_chunk(14, password.as_bytes(), out);
    }
    if let Some(call_id) = header.correlation.filter(|call_id| !call_id.is_empty()) {
        put_chunk(17, call_id, out);
    }
    if out.len() + CHUNK_HEADER + payload.len() > DATAGRAM_MAX {
        return false;
    }
    put_chunk(15, payload, out);
    let length = out.len() as u16;
    out[4..6].copy_from_slice(&length.to_be_bytes());
    true
}

fn put_protocols(family: u8, header: &Header<'_>, out: &mut Vec<u8>) {
    put_chunk(1, &[family], out);
    put_chunk(2, &[if header.is_stream { 6 } else { 17 }], out);
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

    fn sip(from: &str, to: &str, is_stream: bool) -> Header<'static> {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let unix_ns = 1_700_000_001_234_567_890;
        Header { from, to, is_stream, unix_ns, kind: SIP, correlation: None }
    }

    fn packet(from: &str, to: &str, is_stream: bool, identity: &HepIdentity) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(put_packet(identity, &sip(from, to, is_stream), b"SIP", &mut out));
        out
    }

    #[test]
    fn a_packet_over_udp_and_ipv4_to_the_byte() {
        let identity = HepIdentity { capture_id: 2001, password: Some("key".to_owned()) };
        let packet = packet("192.0.2.1:5060", "198.51.100.2:5070", false, &identity);
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
        let packet = packet(from, "[2001:db8::2]:5061", true, &HepIdentity::default());
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
        let header = sip("192.0.2.1:5060", "192.0.2.1:5060", true);
        let identity = HepIdentity::default();
        assert!(!put_packet(&identity, &header, &[b'x'; 65_500], &mut Vec::new()));
    }

    #[test]
    fn rtcp_has_the_call_that_it_belongs_to() {
        let (kind, correlation) = (RTCP, Some(&b"1@192.0.2.1"[..]));
        let header = Header { kind, correlation, ..sip("192.0.2.1:1", "192.0.2.2:2", false) };
        let mut out = Vec::new();
        assert!(put_packet(&HepIdentity::default(), &header, b"\x80\xc9", &mut out));
        let end = b"\0\0\0\x11\0\x111@192.0.2.1\0\0\0\x0f\0\x08\x80\xc9";
        assert!(out.ends_with(end), "{out:x?}");
        assert!(out.windows(7).any(|chunk| chunk == b"\0\0\0\x0b\0\x07\x05"), "{out:x?}");
    }
}
