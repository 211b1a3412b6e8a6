//! The control socket: datagrams with actions for the run (`-ci`, `-cp`).
//!
//! The control side reads it between two reports; a worker never does. Every sender that reaches it
//! controls the run. So under the name `gossipper` it is open only on request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::action::{self, Action};
use crate::config::{ControlPort, ControlSocketConfig};
use crate::run::RunError;

/// Ports tried from the default one on.
const TRIES: u16 = 60;
/// Longest command that is read; the rest of a longer datagram is cut off.
const COMMAND_BYTES_MAX: usize = 512;
/// Datagrams read in one turn of the control side, so that a flood does not keep it from its work.
const DATAGRAMS_PER_TURN: usize = 32;

/// The control socket of a run.
pub(super) struct ControlSocket {
    socket: UdpSocket,
    /// Number of datagrams that were not understood.
    noise: u64,
    last_error: Option<String>,
}

impl ControlSocket {
    /// Opens the socket; `None` if the configuration has none.
    ///
    /// # Errors
    /// The given port is not free, or none of those that are tried.
    pub(super) fn open(config: &ControlSocketConfig) -> Result<Option<Self>, RunError> {
        let ip = config.ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let ports = match config.port {
            ControlPort::Closed => return Ok(None),
            ControlPort::Given(port) => port..=port,
            ControlPort::From(port) => port..=port.saturating_add(TRIES - 1),
        };
        let mut last = None;
        for port in ports {
            let address = SocketAddr::from((ip, port));
            match UdpSocket::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            }) {
                Ok(socket) => return Ok(Some(Self { socket, noise: 0, last_error: None })),
                Err(source) => last = Some((address, source)),
            }
        }
        let (address, source) = last.unwrap_or_else(|| {
            (SocketAddr::from((ip, 0)), io::Error::other("there is no port to try"))
        });
        Err(RunError::ControlSocket { address, source })
    }

    /// The address of the socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Reads the datagrams that have arrived.
    pub(super) fn poll(&mut self, actions: &mut Vec<Action>) {
        let mut buffer = [0; COMMAND_BYTES_MAX];
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, _)) => match action::of_datagram(&buffer[..len]) {
                    Ok(Some(action)) => actions.push(action),
                    Ok(None) => self.noise += 1,
                    Err(error) => {
                        self.noise += 1;
                        self.last_error = Some(error.to_string());
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error about a datagram that we never sent, or similar: it is ignored.
                Err(_) => {}
            }
        }
    }

    /// Number of datagrams that were not understood, and the error of the last command among them.
    pub(super) fn noise(&self) -> (u64, Option<&str>) {
        (self.noise, self.last_error.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(port: ControlPort) -> Result<Option<ControlSocket>, RunError> {
        ControlSocket::open(&ControlSocketConfig { ip: Some(Ipv4Addr::LOCALHOST), port })
    }

    #[test]
    fn the_default_port_is_cycled_and_a_given_one_is_not() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = open(ControlPort::Given(port)).err().unwrap().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("-cp"), "{error}");
        // Near the top of the range there may be no port left to try.
        if port < u16::MAX - TRIES {
            let socket = open(ControlPort::From(port)).unwrap().unwrap();
            assert!(socket.address().unwrap().port() > port);
        }
        assert!(open(ControlPort::Closed).unwrap().is_none());
    }

    #[test]
    fn a_flood_of_noise_is_counted_and_taken_in_turns() {
        let mut socket = open(ControlPort::Given(0)).unwrap().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket.address().unwrap();
        // A datagram larger than any command; many of those would not fit the receive buffer.
        sender.send_to(&[0xfe; 9000], target).unwrap();
        for _ in 1..DATAGRAMS_PER_TURN {
            sender.send_to(&[0xfe; 8], target).unwrap();
        }
        sender.send_to(b"c\xff\xfe rate", target).unwrap();
        sender.send_to(b"cset rate 12", target).unwrap();
        let mut actions = Vec::new();
        socket.poll(&mut actions);
        assert_eq!(actions, []);
        assert_eq!(socket.noise().0, DATAGRAMS_PER_TURN as u64);
        socket.poll(&mut actions);
        assert_eq!(actions, [Action::SetRate(12.0)]);
        let (noise, error) = socket.noise();
        assert_eq!(noise, DATAGRAMS_PER_TURN as u64 + 1);
        assert!(error.unwrap().contains("unknown command"));
    }
}
