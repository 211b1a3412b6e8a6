//! A phone on plain sockets: SIP by hand, RTP packet by packet, and a capture of all of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::peer::{Peer, Received};
use super::ports;

/// Time of a packet of audio.
pub const PACKET: Duration = Duration::from_millis(20);
/// A payload of PCMU or PCMA for `PACKET`: a loud square wave.
pub const SPEECH: [u8; 160] = {
    let mut payload = [0x2a; 160];
    let mut at = 0;
    while at < payload.len() {
        // The highest bit is the sign.
        payload[at] |= if at % 16 < 8 { 0x80 } else { 0 };
        at += 1;
    }
    payload
};
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An RTP packet with `SPEECH` (RFC 3550 section 5.1).
#[must_use]
pub fn rtp(payload_type: u8, sequence: u16, timestamp: u32) -> Vec<u8> {
    let marker = if sequence == 0 { 0x80 } else { 0 };
    let mut packet = vec![0x80, marker | payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(b"SSRC");
    packet.extend(SPEECH);
    packet
}

/// Datagrams over IPv4, with their times.
#[derive(Clone, Default)]
pub struct Capture(Arc<Mutex<Vec<Datagram>>>);

struct Datagram {
    at: Duration,
    from: SocketAddrV4,
    to: SocketAddrV4,
    bytes: Vec<u8>,
}

impl Capture {
    /// Adds a datagram at `at` after the epoch.
    pub fn add(&self, at: Duration, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) {
        let datagram = Datagram { at, from, to, bytes: bytes.to_vec() };
        self.0.lock().expect("no holder panics").push(datagram);
    }

    /// Adds a datagram that came or left now.
    fn now(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
            panic!("{from} or {to} is not of IPv4");
        };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("the epoch is over");
        self.add(at, from, to, bytes);
    }

    /// Writes a pcap file of Ethernet frames.
    pub fn write(&self, path: &Path) {
        let mut datagrams = self.0.lock().expect("no holder panics");
        datagrams.sort_by_key(|datagram| datagram.at);
        let mut file = Vec::new();
        let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        for datagram in datagrams.iter() {
            let frame = datagram.frame();
            let len = frame.len() as u32;
            let at = datagram.at;
            for word in [at.as_secs() as u32, at.subsec_micros(), len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        fs::write(path, file).expect("the capture can be written");
    }
}

impl Datagram {
    /// An Ethernet frame with headers of IPv4 and UDP, which have no checksums.
    fn frame(&self) -> Vec<u8> {
        let udp_len = (8 + self.bytes.len()) as u16;
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + udp_len).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        frame.extend(self.from.ip().octets());
        frame.extend(self.to.ip().octets());
        for number in [self.from.port(), self.to.port(), udp_len, 0] {
            frame.extend(number.to_be_bytes());
        }
        frame.extend(&self.bytes);
        frame
    }
}

/// A change to a packet before it is sent back.
type Change = fn(usize, &mut [u8]);

/// A phone that answers calls.
pub struct Phone {
    sip: Peer,
    rtp: UdpSocket,
    capture: Capture,
    over: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

impl Phone {
    /// A phone on loopback. It captures what it sends and receives.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A phone that sends each packet of RTP back, after `change` had the number of the packet,
    /// from 0, and its bytes.
    pub fn echoing(change: Change) -> Self {
        Self::with(Some(change))
    }

    fn with(change: Option<Change>) -> Self {
        let (capture, over) = (Capture::default(), Arc::new(AtomicBool::new(false)));
        let first = ports::free_range(2);
        let [rtp, rtcp] = [first, first + 1]
            .map(|port| UdpSocket::bind((LOCALHOST, port)).expect("the port is free"));
        let sockets = [(rtp.try_clone().expect("the socket can be shared"), change), (rtcp, None)];
        let readers = sockets
            .map(|(socket, change)| {
                let (capture, over) = (capture.clone(), Arc::clone(&over));
                thread::spawn(move || read(&socket, &capture, &over, change))
            })
            .into();
        Self { sip: Peer::new(), rtp, capture, over, readers }
    }

    /// The address that is called.
    pub fn address(&self) -> SocketAddr {
        self.sip.address()
    }

    /// The port of its audio.
    pub fn audio_port(&self) -> u16 {
        self.rtp.local_addr().expect("the socket is bound").port()
    }

    /// The next request of that method.
    #[track_caller]
    fn receive(&self, method: &str) -> Received {
        let request = self.sip.receive_kind(method);
        self.capture.now(request.source, self.address(), request.text.as_bytes());
        request
    }

    fn send(&self, to: SocketAddr, text: &str) {
        self.capture.now(self.address(), to, text.as_bytes());
        self.sip.send(to, text);
    }

    /// Answers the next INVITE with a description that names `media_ip`, and returns the INVITE.
    #[track_caller]
    pub fn answer(&self, media_ip: &str) -> Received {
        let invite = self.receive("INVITE");
        let sdp = format!(
            "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {media_ip}\r\nt=0 0\r\n\
             m=audio {} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
            self.audio_port(),
        );
        let extra =
            format!("Contact: <sip:{}>\r\nContent-Type: application/sdp\r\n", self.address());
        let length = format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len());
        let response = invite.response("200 OK", &extra);
        self.send(invite.source, &response.replace("Content-Length: 0\r\n\r\n", &length));
        self.receive("ACK");
        invite
    }

    /// Sends packets at the pace of audio.
    pub fn talk(&self, to: SocketAddr, packets: impl IntoIterator<Item = Option<Vec<u8>>>) {
        let start = Instant::now();
        for (packet, count) in packets.into_iter().zip(0..) {
            thread::sleep((start + PACKET * count).saturating_duration_since(Instant::now()));
            let Some(packet) = packet else { continue };
            self.capture.now(self.rtp.local_addr().expect("the socket is bound"), to, &packet);
            self.rtp.send_to(&packet, to).expect("the datagram can be sent");
        }
    }

    /// Waits for the BYE and answers it.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let bye = self.receive("BYE");
        self.send(bye.source, &bye.response("200 OK", ""));
    }

    /// Ends the call of an INVITE that it answered.
    #[track_caller]
    pub fn hang_up(&self, invite: &Received) {
        let (to, from) = (invite.header("From"), invite.header("To"));
        let bye = format!(
            "BYE sip:caller@{} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-phone\r\n\
             Max-Forwards: 70\r\nFrom: {from};tag=peer\r\nTo: {to}\r\nCall-ID: {}\r\n\
             CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            invite.source,
            self.address(),
            invite.header("Call-ID"),
        );
        self.send(invite.source, &bye);
        self.sip.receive_kind("200");
    }

    /// Ends the phone.
    pub fn into_capture(mut self) -> Capture {
        self.over.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        self.capture
    }
}

/// The address that the description in a message names for audio.
#[track_caller]
pub fn audio_address(message: &Received) -> SocketAddr {
    let after = |start: &str| {
        let line = message.text.lines().find_map(|line| line.strip_prefix(start));
        line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("no {start}"))
    };
    let (ip, port) = (after("c=IN IP4 "), after("m=audio "));
    format!("{ip}:{port}").parse().unwrap_or_else(|_| panic!("{ip} {port}"))
}

fn read(socket: &UdpSocket, capture: &Capture, over: &AtomicBool, change: Option<Change>) {
    let own = socket.local_addr().expect("the socket is bound");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("the time is not zero");
    let (mut buffer, mut count) = ([0; 2048], 0);
    loop {
        // What has come before the end is read in any case.
        let is_over = over.load(Ordering::Relaxed);
        match socket.recv_from(&mut buffer) {
            Ok((len, source)) => {
                capture.now(source, own, &buffer[..len]);
                if let Some(change) = change {
                    change(count, &mut buffer[..len]);
                    socket.send_to(&buffer[..len], source).expect("the datagram can be sent");
                }
                count += 1;
            }
            Err(_) if is_over => return,
            Err(_) => {}
        }
    }
}
