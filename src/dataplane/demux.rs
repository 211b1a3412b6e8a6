//! Owners of a worker's sockets. SIP and a medium share one driver, and the socket id tells their
//! events apart. An event on a socket without an owner is counted.

use gossipper_uring::{Event, SocketId};

use crate::engine::{Incoming, Input};
use crate::media::MediumInput;

/// The user of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Sip,
    Medium,
}

/// An event for its owner.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// A SIP message.
    Message(Incoming<'a>),
    /// News for the engine about a message that did not arrive.
    Failure(Input<'a>),
    /// An input for the medium.
    Medium(MediumInput<'a>),
    /// An event on a socket that has no owner.
    Stray,
}

/// Owners by socket.
#[derive(Debug, Default)]
pub(super) struct Demux {
    /// The owners by the place of a UDP socket among those of its driver: ids are small and dense.
    owners: Vec<Owner>,
}

impl Demux {
    /// Records the owner of a UDP socket from now on.
    pub(super) fn note(&mut self, socket: SocketId, owner: Owner) {
        let place = socket.0 as usize;
        if self.owners.len() <= place {
            self.owners.resize(place + 1, Owner::Nobody);
        }
        self.owners[place] = owner;
    }

    #[inline]
    fn owner_of(&self, socket: SocketId) -> Owner {
        self.owners.get(socket.0 as usize).copied().unwrap_or(Owner::Nobody)
    }

    /// Finds the kind and the owner of an event of the driver; streams have a path of their own.
    #[inline]
    pub(super) fn arrival<'a>(&self, event: Event<'a>) -> Arrival<'a> {
        match event {
            Event::Datagram { socket, source, payload, received_ns } => {
                match self.owner_of(socket) {
                    Owner::Sip => Arrival::Message(Incoming {
                        socket,
                        source,
                        payload,
                        received_ns,
                        is_final: false,
                    }),
                    Owner::Medium => Arrival::Medium(MediumInput::Datagram {
                        socket,
                        source,
                        payload,
                        received_ns,
                    }),
                    Owner::Nobody => Arrival::Stray,
                }
            }
            Event::SendFailed { socket, cookie, cause, .. } => match self.owner_of(socket) {
                Owner::Sip => Arrival::Failure(Input::SendFailed { cookie, cause }),
                Owner::Medium => Arrival::Medium(MediumInput::SendFailed { socket, cookie, cause }),
                Owner::Nobody => Arrival::Stray,
            },
            Event::Unreachable { socket, destination, cause, quoted } => {
                match self.owner_of(socket) {
                    Owner::Sip => Arrival::Failure(Input::Unreachable { cause, quoted }),
                    Owner::Medium => {
                        Arrival::Medium(MediumInput::Unreachable { socket, destination, cause })
                    }
                    Owner::Nobody => Arrival::Stray,
                }
            }
            Event::Stream(_) => Arrival::Stray,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(demux: &Demux, socket: u32) -> Arrival<'static> {
        let source = ([192, 0, 2, 1], 5060).into();
        demux.arrival(Event::Datagram {
            socket: SocketId(socket),
            source,
            payload: b"x",
            received_ns: 1,
        })
    }

    #[test]
    fn datagrams_go_to_the_owner_of_their_socket_and_to_no_other() {
        let mut demux = Demux::default();
        demux.note(SocketId(3), Owner::Medium);
        demux.note(SocketId(1), Owner::Sip);
        assert!(matches!(
            arrival(&demux, 1),
            Arrival::Message(Incoming { socket: SocketId(1), .. })
        ));
        assert!(matches!(arrival(&demux, 3), Arrival::Medium(MediumInput::Datagram { .. })));
        for stranger in [0, 2, 4, 1 << 30, u32::MAX] {
            assert!(matches!(arrival(&demux, stranger), Arrival::Stray), "{stranger}");
        }
        demux.note(SocketId(3), Owner::Nobody);
        assert!(matches!(arrival(&demux, 3), Arrival::Stray));
    }
}
