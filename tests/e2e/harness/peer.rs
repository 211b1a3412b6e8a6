//! A scripted SIP peer: one UDP socket, one message at a time.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A peer on its own port.
pub struct Peer {
    socket: UdpSocket,
}

/// A message that a peer received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub text: String,
    /// The address that it came from.
    pub source: SocketAddr,
}

impl Received {
    /// The first line.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The method of a request, the code of a response.
    pub fn kind(&self) -> &str {
        match self.text.strip_prefix("SIP/2.0 ") {
            Some(rest) => rest.get(..3).unwrap_or_default(),
            None => self.text.split(' ').next().unwrap_or_default(),
        }
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> &str {
        let headers = self.text.split("\r\n\r\n").next().unwrap_or_default();
        headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    }

    /// A response to this request, with our tag and the header lines of `extra` (whole lines).
    pub fn response(&self, status: &str, extra: &str) -> String {
        let tag = match self.header("To").contains("tag=") || status.starts_with("100") {
            true => "",
            false => ";tag=peer",
        };
        let copied: String = ["Via", "From"]
            .iter()
            .map(|name| format!("{name}: {}\r\n", self.header(name)))
            .collect();
        format!(
            "SIP/2.0 {status}\r\n{copied}To: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}Content-Length: 0\r\n\r\n",
            self.header("To"),
            self.header("Call-ID"),
            self.header("CSeq"),
        )
    }
}

impl Peer {
    /// A peer on loopback.
    pub fn new() -> Self {
        Self::at(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// A peer on an address of this host.
    pub fn at(ip: IpAddr) -> Self {
        Self::on(UdpSocket::bind((ip, 0)).expect("a socket can be bound"))
    }

    /// A peer on a socket.
    pub fn on(socket: UdpSocket) -> Self {
        Self { socket }
    }

    /// The address at which the peer listens.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("the socket is bound")
    }

    /// A second handle of the same socket.
    pub fn handle(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("the socket can be shared") }
    }

    /// Sends bytes.
    pub fn send(&self, to: SocketAddr, bytes: impl AsRef<[u8]>) {
        self.socket.send_to(bytes.as_ref(), to).expect("the datagram can be sent");
    }

    /// Answers a request.
    pub fn answer(&self, request: &Received, status: &str, extra: &str) {
        self.send(request.source, request.response(status, extra));
    }

    /// The next message; fails the test if none comes.
    #[track_caller]
    pub fn receive(&self) -> Received {
        self.receive_within(PATIENCE).expect("no message came")
    }

    /// The next message, if one comes in time.
    pub fn receive_within(&self, limit: Duration) -> Option<Received> {
        let mut buffer = [0; 65_536];
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).expect("the time is not zero");
            match self.socket.recv_from(&mut buffer) {
                Ok((len, source)) => {
                    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                    return Some(Received { text, source });
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                // An ICMP error of an earlier datagram, or a signal.
                Err(_) if Instant::now() < end => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message of that kind (method or code); repetitions of other kinds are skipped.
    #[track_caller]
    pub fn receive_kind(&self, kind: &str) -> Received {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.receive();
            if message.kind() == kind {
                return message;
            }
            assert!(Instant::now() < end, "no {kind} came");
        }
    }
}
