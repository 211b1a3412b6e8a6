//! The network itself: sockets by address, datagrams under way, and the dice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::random::Random;
use super::streams::StreamNet;
use super::{SimConfig, Tap};
use crate::{IcmpCause, Nanos, RxClass, SocketSpec};

/// The first port of the range from which port 0 is served.
pub(super) const EPHEMERAL_FIRST: u16 = 32_768;

/// Bytes of a datagram's payload that an ICMP message quotes (RFC 1812 4.3.2.3: 576 bytes in all).
const QUOTE_BYTES: usize = 520;

pub(super) struct Net {
    pub(super) now: Nanos,
    pub(super) config: SimConfig,
    pub(super) tap: Option<Tap>,
    pub(super) streams: StreamNet,
    random: Random,
    sockets: BTreeMap<u64, SimSocket>,
    by_address: BTreeMap<SocketAddr, Vec<u64>>,
    next_socket: u64,
    next_port: u16,
    under_way: BinaryHeap<Reverse<Parcel>>,
    next_parcel: u64,
    /// Latest arrival per path, which keeps order where reordering is off.
    latest: BTreeMap<(SocketAddr, SocketAddr), Nanos>,
}

/// A socket of some driver.
pub(super) struct SimSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: Option<SocketAddr>,
    pub(super) class: RxClass,
    pub(super) queue: VecDeque<Arrival>,
    /// Datagrams dropped because the queue was full.
    pub(super) overflow: u64,
}

/// Something that reached a socket.
#[derive(Debug)]
pub(super) enum Arrival {
    Datagram { source: SocketAddr, payload: Vec<u8>, received_ns: Nanos },
    Unreachable { destination: SocketAddr, cause: IcmpCause, quoted: Vec<u8> },
}

/// A datagram or ICMP error under way. Ordered by arrival, then by sequence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    arrival: Nanos,
    sequence: u64,
    source: SocketAddr,
    destination: SocketAddr,
    /// The socket that gets an ICMP error; `None` for a datagram.
    icmp_to: Option<u64>,
    sender: u64,
    payload: Vec<u8>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Net {
    pub(super) fn new(seed: u64, config: SimConfig) -> Self {
        Self {
            now: 1_000_000_000,
            config,
            tap: None,
            streams: StreamNet::new(seed),
            random: Random::new(seed),
            sockets: BTreeMap::new(),
            by_address: BTreeMap::new(),
            next_socket: 0,
            next_port: EPHEMERAL_FIRST,
            under_way: BinaryHeap::new(),
            next_parcel: 0,
            latest: BTreeMap::new(),
        }
    }

    /// Opens a socket and returns its key.
    pub(super) fn open(&mut self, spec: &SocketSpec) -> io::Result<u64> {
        let mut local = spec.local;
        if local.port() == 0 {
            local.set_port(self.free_port(local.ip())?);
        } else if self.by_address.contains_key(&local) && !spec.reuse_port {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let key = self.next_socket;
        self.next_socket += 1;
        self.by_address.entry(local).or_default().push(key);
        let socket = SimSocket {
            local,
            remote: spec.remote,
            class: spec.rx_class,
            queue: VecDeque::new(),
            overflow: 0,
        };
        self.sockets.insert(key, socket);
        Ok(key)
    }

    pub(super) fn close(&mut self, key: u64) {
        if let Some(socket) = self.sockets.remove(&key)
            && let Some(keys) = self.by_address.get_mut(&socket.local)
        {
            keys.retain(|&other| other != key);
            if keys.is_empty() {
                self.by_address.remove(&socket.local);
            }
        }
    }

    pub(super) fn socket(&mut self, key: u64) -> Option<&mut SimSocket> {
        self.sockets.get_mut(&key)
    }

    /// Sends a datagram. `Err` is the errno.
    pub(super) fn send(
        &mut self,
        key: u64,
        destination: SocketAddr,
        payload: &[u8],
    ) -> Result<(), i32> {
        let local = self.sockets.get(&key).ok_or(libc::EBADF)?.local;
        if local.is_ipv4() != destination.is_ipv4() {
            return Err(libc::EAFNOSUPPORT);
        }
        if payload.len() > crate::UDP_PAYLOAD_MAX {
            return Err(libc::EMSGSIZE);
        }
        if self.random.chance(self.config.no_buffer_ppm) {
            return Err(libc::ENOBUFS);
        }
        let source = SocketAddr::new(source_ip(local.ip()), local.port());
        if let Some(tap) = self.tap.as_mut() {
            tap(self.now, source, destination, payload);
        }
        let copies = 1 + u32::from(self.random.chance(self.config.duplicate_ppm));
        for _ in 0..copies {
            if !self.random.chance(self.config.loss_ppm) {
                self.dispatch(key, None, source, destination, payload.to_vec());
            }
        }
        Ok(())
    }

    pub(super) fn advance_to(&mut self, time: Nanos) {
        while let Some(next) = self.next_delivery().filter(|&next| next <= time) {
            self.now = self.now.max(next);
            if self.streams.next_arrival_ns() == Some(next) {
                self.streams.arrive(&self.config);
            } else if let Some(Reverse(parcel)) = self.under_way.pop() {
                self.arrive(parcel);
            }
        }
        self.now = self.now.max(time);
    }

    pub(super) fn next_delivery(&self) -> Option<Nanos> {
        let parcel = self.under_way.peek().map(|Reverse(parcel)| parcel.arrival);
        parcel.into_iter().chain(self.streams.next_arrival_ns()).min()
    }

    fn dispatch(
        &mut self,
        sender: u64,
        icmp_to: Option<u64>,
        source: SocketAddr,
        destination: SocketAddr,
        payload: Vec<u8>,
    ) {
        let (min, max) = (self.config.delay_ns_min, self.config.delay_ns_max);
        let spread = max.saturating_sub(min);
        let delay = min + self.random.below(spread.saturating_add(1));
        let mut arrival = self.now.saturating_add(delay);
        if !self.config.reorder {
            let latest = self.latest.entry((source, destination)).or_default();
            arrival = arrival.max(*latest);
            *latest = arrival;
        }
        let sequence = self.next_parcel;
        self.next_parcel += 1;
        let parcel = Parcel { arrival, sequence, source, destination, icmp_to, sender, payload };
        self.under_way.push(Reverse(parcel));
    }

    fn arrive(&mut self, parcel: Parcel) {
        let Parcel { arrival, source, destination, icmp_to, sender, mut payload, .. } = parcel;
        if let Some(key) = icmp_to {
            // The error names the original destination, which is this parcel's source.
            if let Some(socket) = self.sockets.get_mut(&key) {
                let cause = IcmpCause::Port;
                let error = Arrival::Unreachable { destination: source, cause, quoted: payload };
                socket.queue.push_back(error);
            }
            return;
        }
        let Some(key) = self.receiver(source, destination) else {
            if self.config.unreachable && self.sockets.contains_key(&sender) {
                payload.truncate(QUOTE_BYTES);
                self.dispatch(sender, Some(sender), destination, source, payload);
            }
            return;
        };
        let limit = self.config.receive_queue_max;
        if let Some(socket) = self.sockets.get_mut(&key) {
            if socket.queue.len() >= limit {
                socket.overflow += 1;
            } else {
                let received_ns = arrival;
                socket.queue.push_back(Arrival::Datagram { source, payload, received_ns });
            }
        }
    }

    /// The socket that a datagram reaches: bound to the very address, else to the wildcard. Among
    /// several on one address (`SO_REUSEPORT`) the source decides, as a hash would.
    fn receiver(&self, source: SocketAddr, destination: SocketAddr) -> Option<u64> {
        let wildcard = match destination.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let exact = self.by_address.get(&destination);
        let keys = exact
            .or_else(|| self.by_address.get(&SocketAddr::new(wildcard, destination.port())))?;
        let remote = |key: &u64| self.sockets.get(key).and_then(|socket| socket.remote);
        if let Some(&connected) = keys.iter().find(|key| remote(key) == Some(source)) {
            return Some(connected);
        }
        let open: Vec<u64> = keys.iter().copied().filter(|key| remote(key).is_none()).collect();
        let choice = usize::from(source.port()).checked_rem(open.len())?;
        open.get(choice).copied()
    }

    fn free_port(&mut self, ip: IpAddr) -> io::Result<u16> {
        for _ in EPHEMERAL_FIRST..=u16::MAX {
            let port = self.next_port;
            self.next_port = if port == u16::MAX { EPHEMERAL_FIRST } else { port + 1 };
            if !self.by_address.contains_key(&SocketAddr::new(ip, port)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// The address that a peer sees: a socket on the wildcard sends from loopback.
pub(super) fn source_ip(local: IpAddr) -> IpAddr {
    match local {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}
