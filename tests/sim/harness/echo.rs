//! A medium for tests. It sends back each datagram that it receives. After the first one it also
//! sends a beat every 20 ms, as RTP would.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use gossipper::dataplane::{Medium, MediumEffect, MediumInput};
use gossipper_uring::{SocketId, SocketSpec, TxArena, TxOrder};

use super::{MS, plain_socket};

/// Time between two beats.
pub const BEAT_NS: u64 = 20 * MS;
/// A beat as its peer receives it.
pub const BEAT: &[u8] = b"beat";

/// A medium that echoes datagrams and sends beats.
#[derive(Debug)]
pub struct Echo {
    wanted: Option<SocketSpec>,
    tells: Option<Sender<SocketAddr>>,
    socket: Option<SocketId>,
    peer: Option<SocketAddr>,
    next_beat_ns: u64,
    order: TxOrder,
    /// Datagrams that were sent back.
    pub echoed: u64,
    /// Beats that were sent.
    pub beats: u64,
    /// Datagrams that were reported as not arrived.
    pub failed: u64,
}

impl Echo {
    /// Creates an echo with a socket at `local`, or without one. It sends the socket's address to
    /// `tells`.
    pub fn new(local: Option<SocketAddr>, tells: Option<Sender<SocketAddr>>) -> Self {
        Self {
            wanted: local.map(plain_socket),
            tells,
            socket: None,
            peer: None,
            next_beat_ns: u64::MAX,
            order: TxOrder::default(),
            echoed: 0,
            beats: 0,
            failed: 0,
        }
    }
}

impl Medium for Echo {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        match input {
            MediumInput::Opened(socket, local) => {
                self.socket = Some(socket);
                self.tells.take().inspect(|tells| tells.send(local).expect("the test waits"));
            }
            MediumInput::NotOpened(error) => panic!("no socket for the medium: {error}"),
            MediumInput::Datagram { socket, source, payload, received_ns } => {
                assert_eq!(self.socket, Some(socket), "a datagram for somebody else");
                assert!(received_ns <= now);
                let sent = tx.send_copy(payload, socket, source, 0, &mut self.order);
                self.echoed += u64::from(sent);
                if self.peer.replace(source).is_none() {
                    self.next_beat_ns = now + BEAT_NS;
                }
            }
            MediumInput::Time { reserve } => {
                let (Some(socket), Some(peer)) = (self.socket, self.peer) else { return };
                if tx.free() > reserve {
                    let sent = tx.send_copy(BEAT, socket, peer, 0, &mut self.order);
                    self.beats += u64::from(sent);
                    self.next_beat_ns += BEAT_NS;
                }
            }
            MediumInput::Flushed => {}
            MediumInput::RunOver => self.next_beat_ns = u64::MAX,
            MediumInput::SendFailed { .. } | MediumInput::Unreachable { .. } => self.failed += 1,
        }
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        self.wanted.take().map(MediumEffect::Open)
    }

    fn next_deadline_ns(&self) -> u64 {
        self.next_beat_ns
    }
}
