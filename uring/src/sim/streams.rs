//! Simulated TCP: connections between the drivers of one network.
//!
//! Bytes arrive complete and in the order of the writes. The network chooses the pieces, and sends
//! no faster than the receiver takes them. A loss shows as delay, as it does to an application over
//! TCP.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::SimConfig;
use super::net::{EPHEMERAL_FIRST, source_ip};
use super::random::Random;
use crate::{ConnectSpec, ListenSpec, Nanos, StreamCause};

/// Delay that a lost segment costs: the shortest retransmission timeout of Linux.
const RETRANSMISSION_NS: Nanos = 200_000_000;

/// Time after which an unanswered connect fails: Linux's five SYN retries would take 63 s, its
/// default of six 127 s.
const CONNECT_TIMEOUT_NS: Nanos = 127_000_000_000;

/// Something for a driver to deliver.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamArrival {
    /// A stream for the listener.
    Accepted {
        stream: u64,
        peer: SocketAddr,
    },
    Connected,
    Data {
        bytes: Vec<u8>,
        received_ns: Nanos,
    },
    Closed(StreamCause),
    Drained,
}

/// All streams of a network.
#[derive(Debug)]
pub(super) struct StreamNet {
    random: Random,
    ends: BTreeMap<u64, End>,
    /// Listeners by address; several with `SO_REUSEPORT`.
    listeners: BTreeMap<SocketAddr, Vec<u64>>,
    /// Local and remote addresses of connections that were opened.
    connections: BTreeSet<(SocketAddr, SocketAddr)>,
    next_key: u64,
    next_port: u16,
    under_way: BinaryHeap<Reverse<Segment>>,
    next_segment: u64,
    /// Arrivals that each driver has to deliver, with the key of the listener or stream.
    inboxes: Vec<VecDeque<(u64, StreamArrival)>>,
    /// Bytes sent, by driver.
    sent: Vec<u64>,
}

/// A driver's limits for its streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) output_bytes: usize,
    pub(super) linger_ns: Nanos,
}

/// One end of a connection, or a listener.
#[derive(Debug)]
struct End {
    driver: usize,
    local: SocketAddr,
    remote: SocketAddr,
    /// Accepted streams that may wait for their driver, and how many do; for listeners.
    backlog: Option<(usize, usize)>,
    peer: Option<u64>,
    connected: bool,
    output: VecDeque<u8>,
    allowance: Allowance,
    /// Bytes sent that the peer's driver has not taken.
    unacknowledged: usize,
    drained_owed: bool,
    /// True once the owner wants no more events.
    muted: bool,
    finishing: bool,
    fin_sent: bool,
    fin_received: bool,
    /// Arrival time of the last segment that was sent from this end.
    latest: Nanos,
}

/// A segment on its way to an end.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    arrival: Nanos,
    sequence: u64,
    to: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The request to connect of the end itself, which has reached the address that it was sent to.
    Connect,
    Connected,
    Data(Vec<u8>),
    Taken(usize),
    Fin,
    Reset(StreamCause),
    /// The linger time of the end itself is over.
    LingerOver,
}

impl PartialOrd for Segment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Segment {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.arrival, self.sequence).cmp(&(other.arrival, other.sequence))
    }
}

impl StreamNet {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            // A random sequence of its own, so that streams do not change the fate of datagrams.
            random: Random::new(seed ^ 0x7463_7073_7472_6d73),
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeSet::new(),
            next_key: 0,
            next_port: EPHEMERAL_FIRST,
            under_way: BinaryHeap::new(),
            next_segment: 0,
            inboxes: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Adds a driver and returns its index.
    pub(super) fn join(&mut self) -> usize {
        self.inboxes.push(VecDeque::new());
        self.sent.push(0);
        self.inboxes.len() - 1
    }

    pub(super) fn sent(&self, driver: usize) -> u64 {
        self.sent[driver]
    }

    pub(super) fn has_arrivals(&self, driver: usize) -> bool {
        !self.inboxes[driver].is_empty()
    }

    /// Takes the next arrival that `driver` has to deliver, with the key of its listener or stream.
    pub(super) fn next_arrival(&mut self, driver: usize) -> Option<(u64, StreamArrival)> {
        let (key, arrival) = self.inboxes[driver].pop_front()?;
        if let StreamArrival::Accepted { .. } = arrival
            && let Some((_, waiting)) = self.ends.get_mut(&key).and_then(|e| e.backlog.as_mut())
        {
            *waiting -= 1;
        }
        Some((key, arrival))
    }

    pub(super) fn local_addr(&self, key: u64) -> Option<SocketAddr> {
        self.ends.get(&key).map(|end| end.local)
    }

    pub(super) fn listen(
        &mut self,
        driver: usize,
        spec: &ListenSpec,
        allowance: Allowance,
    ) -> io::Result<u64> {
        let mut local = spec.local;
        if local.port() == 0 {
            local.set_port(self.free_port(|net, port| {
                !net.listeners.contains_key(&SocketAddr::new(local.ip(), port))
            })?);
        } else if self.listeners.contains_key(&local) && !spec.reuse_port {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mut end = End::new(driver, local, local, allowance);
        end.backlog = Some((spec.backlog.max(1) as usize, 0));
        let key = self.insert(end);
        self.listeners.entry(local).or_default().push(key);
        Ok(key)
    }

    pub(super) fn connect(
        &mut self,
        now: Nanos,
        config: &SimConfig,
        driver: usize,
        spec: &ConnectSpec,
        allowance: Allowance,
    ) -> io::Result<u64> {
        let remote = spec.remote;
        let unspecified = match remote.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut local = spec.local.unwrap_or(SocketAddr::new(unspecified, 0));
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        local.set_ip(source_ip(local.ip()));
        if local.port() == 0 {
            local.set_port(self.free_port(|net, port| {
                let local = SocketAddr::new(local.ip(), port);
                !net.connections.contains(&(local, remote)) && !net.listeners.contains_key(&local)
            })?);
        } else if self.connections.contains(&(local, remote)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.connections.insert((local, remote));
        let key = self.insert(End::new(driver, local, remote, allowance));
        self.dispatch(now, config, key, key, What::Connect);
        Ok(key)
    }

    /// Appends to the unsent bytes of a stream; [`pump`](Self::pump) sends them. Returns `false` if
    /// there is no room. Bytes that are written to an ended stream are lost.
    pub(super) fn write(&mut self, key: u64, bytes: &[u8]) -> bool {
        let Some(end) = self.ends.get_mut(&key).filter(|end| !end.finishing) else { return true };
        if end.output.len() + bytes.len() > end.allowance.output_bytes {
            end.drained_owed = true;
            return false;
        }
        end.output.extend(bytes);
        true
    }

    /// Sends the bytes that a stream holds, as far as the window allows.
    pub(super) fn pump(&mut self, now: Nanos, config: &SimConfig, key: u64) {
        while let Some(end) = self.ends.get_mut(&key) {
            let Some(peer) = end.peer.filter(|_| end.connected) else { return };
            let room = config.stream_window_bytes.max(1).saturating_sub(end.unacknowledged);
            let most = room.min(end.output.len()).min(config.stream_segment_bytes_max.max(1));
            if most == 0 {
                break;
            }
            let bytes = 1 + self.random.below(most as u64) as usize;
            let bytes: Vec<u8> = end.output.drain(..bytes).collect();
            end.unacknowledged += bytes.len();
            self.sent[end.driver] += bytes.len() as u64;
            if end.drained_owed && end.output.len() <= end.allowance.output_bytes / 2 {
                end.drained_owed = false;
                if !end.muted {
                    self.inboxes[end.driver].push_back((key, StreamArrival::Drained));
                }
            }
            if self.random.chance(config.stream_reset_ppm) {
                self.reset(now, config, key);
                return;
            }
            self.dispatch(now, config, key, peer, What::Data(bytes));
        }
        let Some(end) = self.ends.get_mut(&key) else { return };
        let (finishing, sent) = (end.finishing && end.output.is_empty(), end.fin_sent);
        if let Some(peer) = end.peer.filter(|_| finishing && !sent) {
            end.fin_sent = true;
            self.dispatch(now, config, key, peer, What::Fin);
        }
        self.remove_if_over(key);
    }

    /// Opens the window of a stream again, after the driver has handed out `bytes` of it.
    pub(super) fn taken(&mut self, now: Nanos, config: &SimConfig, key: u64, bytes: usize) {
        if let Some(peer) = self.ends.get(&key).and_then(|end| end.peer) {
            self.dispatch(now, config, key, peer, What::Taken(bytes));
        }
    }

    /// Closes a stream or a listener for its owner: written bytes are sent first.
    pub(super) fn close(&mut self, now: Nanos, config: &SimConfig, key: u64) {
        let Some(end) = self.ends.get_mut(&key) else { return };
        end.muted = true;
        if end.backlog.is_some() {
            let local = end.local;
            self.ends.remove(&key);
            if let Some(keys) = self.listeners.get_mut(&local) {
                keys.retain(|&other| other != key);
                if keys.is_empty() {
                    self.listeners.remove(&local);
                }
            }
            return;
        }
        self.finish(now, config, key);
    }

    /// Resets a stream for its owner.
    pub(super) fn abort(&mut self, now: Nanos, config: &SimConfig, key: u64) {
        if let Some(end) = self.ends.get_mut(&key).filter(|end| end.backlog.is_none()) {
            end.muted = true;
            self.reset(now, config, key);
        }
    }

    /// Stops the events of a stream, since the owner knows that it has ended.
    pub(super) fn mute(&mut self, key: u64) {
        if let Some(end) = self.ends.get_mut(&key) {
            end.muted = true;
        }
        self.remove_if_over(key);
    }

    pub(super) fn next_arrival_ns(&self) -> Option<Nanos> {
        self.under_way.peek().map(|Reverse(segment)| segment.arrival)
    }

    /// Lets the next segment arrive; the clock has been moved to it.
    pub(super) fn arrive(&mut self, config: &SimConfig) {
        let Some(Reverse(segment)) = self.under_way.pop() else { return };
        let (now, to) = (segment.arrival, segment.to);
        if segment.what == What::Connect {
            self.connect_arrived(now, config, to);
            return;
        }
        let Some(end) = self.ends.get_mut(&to) else { return };
        match segment.what {
            What::Connect => {}
            What::Connected => {
                end.connected = true;
                if !end.muted {
                    self.inboxes[end.driver].push_back((to, StreamArrival::Connected));
                }
                self.pump(now, config, to);
            }
            What::Data(bytes) => {
                if end.muted {
                    self.taken(now, config, to, bytes.len());
                    return;
                }
                let arrival = StreamArrival::Data { bytes, received_ns: now };
                self.inboxes[end.driver].push_back((to, arrival));
            }
            What::Taken(bytes) => {
                end.unacknowledged = end.unacknowledged.saturating_sub(bytes);
                self.pump(now, config, to);
            }
            What::Fin => {
                end.fin_received = true;
                if !end.muted {
                    let closed = StreamArrival::Closed(StreamCause::Eof);
                    self.inboxes[end.driver].push_back((to, closed));
                }
                self.finish(now, config, to);
            }
            What::Reset(cause) => self.end(to, cause),
            What::LingerOver => {
                end.muted = true;
                if end.fin_sent { self.remove(to) } else { self.reset(now, config, to) }
            }
        }
    }

    /// Handles a request to connect that has reached the address that it was sent to.
    fn connect_arrived(&mut self, now: Nanos, config: &SimConfig, client: u64) {
        let Some(end) = self.ends.get(&client) else { return };
        let (source, remote) = (end.local, end.remote);
        let refused = self.random.chance(config.connect_refused_ppm);
        let listener = self.listener(source, remote).filter(|_| !refused);
        let Some((listener, of)) = listener.and_then(|key| Some((key, self.ends.get_mut(&key)?)))
        else {
            if refused || config.unreachable {
                self.dispatch(now, config, client, client, What::Reset(StreamCause::Refused));
            } else {
                let after = now.saturating_add(CONNECT_TIMEOUT_NS);
                self.push(after, client, What::Reset(StreamCause::TimedOut));
            }
            return;
        };
        let Some((most, waiting)) = of.backlog.as_mut().filter(|(most, waiting)| waiting < most)
        else {
            self.dispatch(now, config, client, client, What::Reset(StreamCause::Refused));
            return;
        };
        debug_assert!(waiting < most);
        *waiting += 1;
        let driver = of.driver;
        let mut server = End::new(driver, remote, source, of.allowance);
        (server.peer, server.connected) = (Some(client), true);
        let server = self.insert(server);
        if let Some(end) = self.ends.get_mut(&client) {
            end.peer = Some(server);
        }
        let accepted = StreamArrival::Accepted { stream: server, peer: source };
        self.inboxes[driver].push_back((listener, accepted));
        self.dispatch(now, config, server, client, What::Connected);
    }

    fn listener(&self, source: SocketAddr, destination: SocketAddr) -> Option<u64> {
        let wildcard = match destination.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let wildcard = SocketAddr::new(wildcard, destination.port());
        let keys = self.listeners.get(&destination).or_else(|| self.listeners.get(&wildcard))?;
        // Among several listeners on one address the source decides, as a hash would.
        keys.get(usize::from(source.port()).checked_rem(keys.len())?).copied()
    }

    /// Sends the bytes that are left, then a FIN. The linger time bounds all of it.
    fn finish(&mut self, now: Nanos, config: &SimConfig, key: u64) {
        let Some(end) = self.ends.get_mut(&key) else { return };
        if !end.connected && end.output.is_empty() {
            self.reset(now, config, key);
            return;
        }
        if !std::mem::replace(&mut end.finishing, true) {
            let over = now.saturating_add(end.allowance.linger_ns);
            self.push(over, key, What::LingerOver);
        }
        self.pump(now, config, key);
    }

    /// Ends a stream at once and tells the other end.
    fn reset(&mut self, now: Nanos, config: &SimConfig, key: u64) {
        if let Some(peer) = self.ends.get(&key).and_then(|end| end.peer) {
            self.dispatch(now, config, key, peer, What::Reset(StreamCause::Reset));
        }
        self.end(key, StreamCause::Reset);
    }

    fn end(&mut self, key: u64, cause: StreamCause) {
        let Some(end) = self.ends.get(&key) else { return };
        // After a FIN the owner knows already.
        if !end.muted && !end.fin_received {
            self.inboxes[end.driver].push_back((key, StreamArrival::Closed(cause)));
        }
        self.remove(key);
    }

    fn remove_if_over(&mut self, key: u64) {
        let end = self.ends.get(&key);
        if end.is_some_and(|end| end.muted && end.fin_sent && end.fin_received) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some(end) = self.ends.remove(&key) {
            self.connections.remove(&(end.local, end.remote));
        }
    }

    fn insert(&mut self, end: End) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.ends.insert(key, end);
        key
    }

    /// Sends something from one end to another; all that one end sends arrives in order.
    fn dispatch(&mut self, now: Nanos, config: &SimConfig, from: u64, to: u64, what: What) {
        let spread = config.delay_ns_max.saturating_sub(config.delay_ns_min);
        let mut delay = config.delay_ns_min + self.random.below(spread.saturating_add(1));
        if self.random.chance(config.loss_ppm) {
            delay += RETRANSMISSION_NS;
        }
        let mut arrival = now.saturating_add(delay);
        if let Some(end) = self.ends.get_mut(&from) {
            arrival = arrival.max(end.latest);
            end.latest = arrival;
        }
        self.push(arrival, to, what);
    }

    fn push(&mut self, arrival: Nanos, to: u64, what: What) {
        let sequence = self.next_segment;
        self.next_segment += 1;
        self.under_way.push(Reverse(Segment { arrival, sequence, to, what }));
    }

    fn free_port(&mut self, is_free: impl Fn(&Self, u16) -> bool) -> io::Result<u16> {
        for _ in EPHEMERAL_FIRST..=u16::MAX {
            let port = self.next_port;
            self.next_port = if port == u16::MAX { EPHEMERAL_FIRST } else { port + 1 };
            if is_free(self, port) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl End {
    fn new(driver: usize, local: SocketAddr, remote: SocketAddr, allowance: Allowance) -> Self {
        Self {
            driver,
            local,
            remote,
            backlog: None,
            peer: None,
            connected: false,
            output: VecDeque::new(),
            allowance,
            unacknowledged: 0,
            drained_owed: false,
            muted: false,
            finishing: false,
            fin_sent: false,
            fin_received: false,
            latest: 0,
        }
    }
}
