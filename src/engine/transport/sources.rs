//! Source addresses of calls, if an injection file names them (`-t ui`).
//!
//! Each address has a socket. A call that we make takes the socket that its row names at the call's
//! start; a call that arrives stays with the socket on which it came. All local addresses in a
//! call's messages follow from its socket.

use std::net::IpAddr;
use std::str;

use gossipper_uring::SocketId;

use crate::engine::call::Slot;
use crate::engine::programs::bound::bracketed;
use crate::engine::{Engine, SocketPool};

/// Longest address as text: IPv6 with an IPv4 tail.
const TEXT_MAX: usize = 45;

/// The source addresses, their sockets, and the column that names them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Sources {
    /// Column of the first injection file that holds the address.
    column: u16,
    /// Addresses in order, with their sockets.
    sockets: Vec<(IpAddr, SocketId)>,
    /// Addresses and their texts by the number of the socket.
    names: Vec<Option<(IpAddr, Vec<u8>)>>,
}

impl Sources {
    fn new(column: u16, mut sockets: Vec<(IpAddr, SocketId)>) -> Self {
        sockets.sort_unstable_by_key(|&(ip, _)| ip);
        let most = sockets.iter().map(|(_, socket)| socket.0 as usize + 1).max().unwrap_or(0);
        let mut names = vec![None; most];
        for &(ip, socket) in &sockets {
            names[socket.0 as usize] = Some((ip, bracketed(ip)));
        }
        Self { column, sockets, names }
    }

    fn socket_of(&self, ip: IpAddr) -> Option<SocketId> {
        let at = self.sockets.binary_search_by_key(&ip, |&(ip, _)| ip).ok()?;
        Some(self.sockets[at].1)
    }

    fn name_of(&self, socket: SocketId) -> Option<&(IpAddr, Vec<u8>)> {
        self.names.get(socket.0 as usize)?.as_ref()
    }
}

impl Engine {
    /// Makes calls leave from the addresses in column `column` of the first injection file, which
    /// have these sockets, all on one port.
    pub(in crate::engine) fn use_sources(&mut self, column: u16, sockets: Vec<(IpAddr, SocketId)>) {
        if let Some(&(_, first)) = sockets.first() {
            self.sockets = SocketPool::Shared(first);
        }
        self.sources = Some(Sources::new(column, sockets));
    }

    /// Gives a call that we make the socket that its row names. Returns `false` if the scenario
    /// changed the row to an address without a socket.
    pub(in crate::engine) fn take_source(&mut self, slot: Slot) -> bool {
        if self.sources.is_none() {
            return true;
        }
        match self.source_of(slot) {
            Some(socket) => {
                self.attach(slot, socket);
                true
            }
            None => false,
        }
    }

    fn source_of(&self, slot: Slot) -> Option<SocketId> {
        let sources = self.sources.as_ref()?;
        let table = self.tables.first()?;
        let row = self.own_row(0, slot)?;
        let mut buffer = [0; TEXT_MAX];
        let mut len = 0;
        let mut fits = true;
        table.put_field(row, sources.column, |bytes| {
            match buffer.get_mut(len..len + bytes.len()) {
                Some(room) => room.copy_from_slice(bytes),
                None => fits = false,
            }
            len += bytes.len();
        });
        let text = str::from_utf8(buffer.get(..len).filter(|_| fits)?).ok()?;
        sources.socket_of(text.trim().parse().ok()?)
    }

    /// The text of `[local_ip]` for the call.
    pub(in crate::engine) fn local_ip_text(&self, slot: Slot) -> &[u8] {
        let own = self.sources.as_ref().and_then(|own| own.name_of(self.calls[slot].socket));
        own.map_or(&self.program_of(slot).text.local_ip, |(_, text)| text)
    }

    /// The address of a socket of ours.
    pub(in crate::engine) fn local_ip_of(&self, socket: SocketId) -> IpAddr {
        let own = self.sources.as_ref().and_then(|own| own.name_of(socket));
        own.map_or(self.config.environment.local_ip, |&(ip, _)| ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_find_each_other() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [("127.0.0.9", 3), ("::1", 1), ("127.0.0.2", 6)];
        let own = own.map(|(text, socket)| (ip(text), SocketId(socket)));
        let sources = Sources::new(0, own.to_vec());
        for (ip, socket) in own {
            assert_eq!(sources.socket_of(ip), Some(socket));
            assert_eq!(sources.name_of(socket).map(|name| name.0), Some(ip));
        }
        assert_eq!(sources.socket_of(ip("127.0.0.3")), None);
        assert_eq!(sources.name_of(SocketId(2)), None);
        assert_eq!(sources.name_of(SocketId(7)), None);
        assert_eq!(sources.name_of(SocketId(1)).map(|name| name.1.as_slice()), Some(&b"[::1]"[..]));
    }
}
