//! The sockets of a worker's streams: pairs of an even port for RTP and the next one for RTCP.
//!
//! Pairs are opened ahead in small batches, so that a call finds one bound. They stay open and are
//! used again, the one that has rested longest first: what still comes for an ended leg must not be
//! taken for media of the next one. A port that another program holds is skipped and counted.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use gossipper_uring::SocketId;

use super::command::Opening;
use super::config::MediaConfig;

/// Time for which a pair rests between two legs. It covers the way of a packet through any network
/// that one would test, and the last packets of a peer whose BYE crossed ours.
pub const REST_NS: u64 = 1_000_000_000;
/// Time without attempts after the system refused a socket for want of something.
const RETRY_NS: u64 = 100_000_000;
/// Pairs kept ready for calls that begin.
const SPARE: usize = 16;
/// Pairs kept ready before the first leg, while no stream is kept waiting by opening them.
const SPARE_AT_START: usize = 64;

/// Two bound sockets.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The socket of RTP.
    pub rtp: SocketId,
    /// The socket of RTCP.
    pub rtcp: SocketId,
    /// The port of RTP.
    pub port: u16,
    /// The port of RTCP: the next one, unless the kernel chose both.
    pub rtcp_port: u16,
}

/// A pair that is being opened.
#[derive(Clone, Copy, Debug)]
enum Halfway {
    /// RTP is being opened on this even port.
    Rtp(u16),
    /// RTP is open; RTCP is being opened beside it.
    Rtcp(u16, SocketId),
    /// The pair came to nothing, and its first socket has to be closed.
    Close(SocketId),
}

/// An order of the pool to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open a socket at this address.
    Open(SocketAddr),
    /// Close this socket.
    Close(SocketId),
}

/// Counts of what the pool has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Pairs that were opened.
    pub opened: u64,
    /// Ports that were skipped because another program holds them.
    pub taken: u64,
    /// Sockets that the system refused for another reason.
    pub refused: u64,
    /// Pairs that were used again before their rest was over.
    pub cut_rests: u64,
}

/// The pairs of a worker.
#[derive(Debug)]
pub struct PortPool {
    ip: IpAddr,
    first: u16,
    /// Ports in the worker's share, in pairs.
    places: u32,
    /// One bit per place that is open.
    ours: Vec<u64>,
    /// The place to try next.
    next_place: u32,
    /// Places to try before the pool gives up for a while.
    untried: u32,
    retry_ns: u64,
    pairs_max: usize,
    pairs: Vec<Pair>,
    /// Pairs that were never used.
    spare: Vec<u32>,
    /// True if a pair that was opened is not ready at once.
    holds: bool,
    /// Pairs that are not ready.
    held: Vec<u32>,
    /// True if the last attempt to make one ready failed.
    is_down: bool,
    /// Used pairs, with the end of their rest.
    resting: VecDeque<(u64, u32)>,
    halfway: Option<Halfway>,
    /// True if an order is on its way.
    is_asked: bool,
    /// Pairs that legs ask for beyond those kept ready.
    wanted: usize,
    has_begun: bool,
    /// Counts of what the pool has met.
    pub counts: PoolCounts,
}

/// The even ports of a range that worker number `worker` of `workers` may use: the first one, and
/// the number of pairs.
pub fn share(min: u16, max: u16, worker: usize, workers: usize) -> (u16, u32) {
    let first = u32::from(min).next_multiple_of(2);
    let pairs = (u32::from(max) + 1).saturating_sub(first) / 2;
    let (worker, workers) = (worker as u32, workers.max(1) as u32);
    let from = (u64::from(pairs) * u64::from(worker) / u64::from(workers)) as u32;
    let to = (u64::from(pairs) * u64::from(worker + 1) / u64::from(workers)) as u32;
    ((first + 2 * from) as u16, to - from)
}

impl PortPool {
    /// A pool for at most `pairs_max` pairs, none of which is open yet.
    pub fn new(config: &MediaConfig, pairs_max: usize) -> Self {
        let (first, places) =
            share(config.port_min, config.port_max, config.worker, config.workers);
        let pairs_max = pairs_max.min(places as usize);
        Self {
            ip: config.ip,
            first,
            places,
            ours: vec![0; (places as usize).div_ceil(64)],
            next_place: 0,
            untried: places,
            retry_ns: 0,
            pairs_max,
            pairs: Vec::with_capacity(pairs_max),
            spare: Vec::with_capacity(pairs_max),
            holds: config.relay.is_some(),
            held: Vec::new(),
            is_down: false,
            resting: VecDeque::with_capacity(pairs_max),
            halfway: None,
            is_asked: false,
            wanted: 0,
            has_begun: false,
            counts: PoolCounts::default(),
        }
    }

    /// The sockets of `pair`.
    pub fn pair(&self, pair: u32) -> Pair {
        self.pairs[pair as usize]
    }

    /// Takes a pair for a track.
    ///
    /// # Errors
    /// No pair is open. [`Opening::NotReady`] if more can be had.
    pub fn take(&mut self, now: u64) -> Result<u32, Opening> {
        self.has_begun = true;
        let rested = self.resting.front().is_some_and(|&(until_ns, _)| until_ns <= now);
        if rested && let Some((_, pair)) = self.resting.pop_front() {
            return Ok(pair);
        }
        if let Some(pair) = self.spare.pop() {
            return Ok(pair);
        }
        if self.is_down {
            return Err(Opening::Exhausted);
        }
        // Those that are held become ready without further ones.
        if !self.held.is_empty() {
            return Err(Opening::NotReady);
        }
        if self.can_open(now) {
            self.wanted += 1;
            return Err(Opening::NotReady);
        }
        let (_, pair) = self.resting.pop_front().ok_or(Opening::Exhausted)?;
        self.counts.cut_rests += 1;
        Ok(pair)
    }

    /// Gives a pair back, to rest until it is used again.
    pub fn give_back(&mut self, pair: u32, now: u64) {
        self.resting.push_back((now + REST_NS, pair));
    }

    /// Gives back a pair that was never used.
    pub fn give_back_unused(&mut self, pair: u32) {
        self.spare.push(pair);
    }

    /// Holds a pair back that is not ready any more.
    pub fn hold(&mut self, pair: u32) {
        self.held.push(pair);
    }

    /// Lets a pair be taken that has become ready.
    pub fn release(&mut self, pair: u32) {
        self.is_down = false;
        if let Some(place) = self.held.iter().position(|&held| held == pair) {
            self.held.swap_remove(place);
            self.spare.push(pair);
        }
    }

    /// Notes that a pair cannot be made ready for now.
    pub fn note_relay_failure(&mut self) {
        self.is_down = true;
    }

    fn can_open(&mut self, now: u64) -> bool {
        if now >= self.retry_ns && self.untried == 0 {
            // Another program may have let go of its ports.
            self.untried = self.places;
        }
        now >= self.retry_ns && self.pairs.len() < self.pairs_max && self.untried > 0
    }

    /// The next order; `None` if there is none, or until the last one was answered.
    pub fn next_order(&mut self, now: u64) -> Option<Order> {
        if self.is_asked {
            return None;
        }
        if let Some(Halfway::Close(socket)) = self.halfway {
            self.halfway = None;
            return Some(Order::Close(socket));
        }
        let port = match self.halfway {
            Some(Halfway::Rtcp(port, _)) => port + 1,
            _ => self.next_port(now)?,
        };
        self.is_asked = true;
        Some(Order::Open(SocketAddr::new(self.ip, port)))
    }

    /// The port of RTP of the next pair to open, if one is wanted.
    fn next_port(&mut self, now: u64) -> Option<u16> {
        let ready = if self.has_begun || self.holds { SPARE } else { SPARE_AT_START };
        let coming = self.spare.len() + self.held.len();
        if coming >= ready.max(self.wanted) || !self.can_open(now) {
            self.wanted = 0;
            return None;
        }
        while self.untried > 0 {
            let place = self.next_place;
            self.next_place = (place + 1) % self.places;
            self.untried -= 1;
            if self.ours[place as usize / 64] & (1 << (place % 64)) == 0 {
                let port = self.first + 2 * place as u16;
                self.halfway = Some(Halfway::Rtp(port));
                return Some(port);
            }
        }
        self.give_up(now);
        None
    }

    /// Makes no attempts for a while.
    fn give_up(&mut self, now: u64) {
        self.retry_ns = now + RETRY_NS;
        self.wanted = 0;
    }

    /// Takes a socket that was asked for. Returns the pair that it completes.
    pub fn opened(&mut self, socket: SocketId, local: SocketAddr) -> Option<u32> {
        self.is_asked = false;
        match self.halfway.take() {
            Some(Halfway::Rtp(port)) => {
                self.halfway = Some(Halfway::Rtcp(port, socket));
                None
            }
            Some(Halfway::Rtcp(port, rtp)) => {
                let place = u32::from(port - self.first) / 2;
                self.ours[place as usize / 64] |= 1 << (place % 64);
                let pair = self.pairs.len() as u32;
                self.pairs.push(Pair { rtp, rtcp: socket, port, rtcp_port: local.port() });
                match self.holds {
                    true => self.held.push(pair),
                    false => self.spare.push(pair),
                }
                self.counts.opened += 1;
                // Further ports are worth an attempt again.
                self.untried = self.places;
                Some(pair)
            }
            other => {
                debug_assert!(false, "a socket that was not asked for: {other:?}");
                self.halfway = Some(Halfway::Close(socket));
                None
            }
        }
    }

    /// Takes the refusal of a socket that was asked for.
    pub fn not_opened(&mut self, error: &io::Error, now: u64) {
        self.is_asked = false;
        let first = match self.halfway.take() {
            Some(Halfway::Rtcp(_, rtp)) => Some(rtp),
            _ => None,
        };
        self.halfway = first.map(Halfway::Close);
        // The system lets some ports be bound by privileged programs only.
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
            self.counts.taken += 1;
            if self.untried == 0 {
                self.give_up(now);
            }
        } else {
            self.counts.refused += 1;
            self.give_up(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(first: u16, last: u16, pairs_max: usize) -> PortPool {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let config = MediaConfig { port_min: first, port_max: last, ..MediaConfig::new(ip) };
        PortPool::new(&config, pairs_max)
    }

    /// Answers all orders: ports for which `is_taken` holds are in use. Returns the ports that were
    /// asked for, and those of the sockets that were closed.
    fn serve(pool: &mut PortPool, now: u64, is_taken: impl Fn(u16) -> bool) -> [Vec<u16>; 2] {
        let (mut asked, mut closed) = (Vec::new(), Vec::new());
        while let Some(order) = pool.next_order(now) {
            match order {
                Order::Close(socket) => closed.push(socket.0 as u16),
                Order::Open(address) => {
                    let port = address.port();
                    asked.push(port);
                    match is_taken(port) {
                        true => pool.not_opened(&io::ErrorKind::AddrInUse.into(), now),
                        false => _ = pool.opened(SocketId(port.into()), address),
                    }
                }
            }
        }
        [asked, closed]
    }

    #[test]
    fn workers_have_shares_of_whole_pairs() {
        assert_eq!(share(6000, 6009, 0, 1), (6000, 5));
        assert_eq!(share(6001, 6009, 0, 1), (6002, 4));
        assert_eq!(share(6000, 6000, 0, 1), (6000, 0));
        assert_eq!(share(65_535, 65_535, 0, 1).1, 0);
        assert_eq!(share(1, 65_535, 0, 1), (2, 32_767));
        let shares: Vec<_> = (0..3).map(|worker| share(6000, 6019, worker, 3)).collect();
        assert_eq!(shares, [(6000, 3), (6006, 3), (6012, 4)]);
    }

    #[test]
    fn a_port_of_another_program_is_skipped_and_never_given_out() {
        let mut pool = pool(6000, 6019, 10);
        let [asked, closed] = serve(&mut pool, 0, |port| matches!(port, 6002 | 6007));
        assert!(asked.starts_with(&[6000, 6001, 6002, 6004, 6005, 6006, 6007, 6008, 6009]));
        // The even port of a pair whose odd one is taken is let go.
        assert!(closed.iter().all(|&port| port == 6006) && !closed.is_empty());
        let mut given = Vec::new();
        while let Ok(pair) = pool.take(0) {
            let Pair { rtp, rtcp, port, rtcp_port } = pool.pair(pair);
            assert_eq!((rtp.0, rtcp.0), (port.into(), rtcp_port.into()));
            assert_eq!((port % 2, rtcp_port), (0, port + 1));
            given.push(port);
        }
        given.sort_unstable();
        assert_eq!(given, [6000, 6004, 6008, 6010, 6012, 6014, 6016, 6018]);
        assert_eq!(pool.counts.opened, 8);
        assert!(pool.counts.taken >= 2);
        // Once the other program is gone, its ports are worth another attempt.
        let later = 2 * RETRY_NS;
        assert_eq!(pool.take(later), Err(Opening::NotReady));
        serve(&mut pool, later, |_| false);
        assert!(pool.take(later).is_ok() && pool.take(later).is_ok());
        assert_eq!(pool.take(later), Err(Opening::Exhausted));
    }

    #[test]
    fn a_pair_rests_unless_there_is_no_other() {
        let mut pool = pool(6000, 6003, 2);
        serve(&mut pool, 0, |_| false);
        let first = pool.take(0).unwrap();
        pool.give_back(first, 0);
        let second = pool.take(1).unwrap();
        assert_ne!(second, first);
        assert_eq!((pool.take(2), pool.counts.cut_rests), (Ok(first), 1));
        assert_eq!(pool.take(3), Err(Opening::Exhausted));
        pool.give_back(second, 3);
        assert_eq!((pool.take(3 + REST_NS), pool.counts.cut_rests), (Ok(second), 1));
    }

    #[test]
    fn a_system_without_sockets_is_asked_again_later() {
        let mut pool = pool(6000, 6999, 500);
        assert!(pool.next_order(0).is_some());
        pool.not_opened(&io::Error::from_raw_os_error(24), 0);
        assert_eq!(pool.next_order(0), None);
        assert_eq!((pool.take(0), pool.counts.refused), (Err(Opening::Exhausted), 1));
        assert_eq!(pool.take(RETRY_NS), Err(Opening::NotReady));
        assert!(pool.next_order(RETRY_NS).is_some());
    }
}
