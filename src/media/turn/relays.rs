//! The relayed addresses of a worker's sockets: an allocation for each.
//!
//! A socket is known by its *place*: twice the number of its pair, and one more for RTCP. The port
//! of RTCP is the one that the server reserved behind that of RTP.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use gossipper_uring::{SocketId, TxArena, TxOrder};

use super::Account;
use super::allocation::{Allocation, News, Poll, REQUEST_BYTES_MAX, Wish, unwrap_indication};
use crate::media::legs::mix;
use crate::media::schedule::Schedule;
use crate::media::stun::Message;
use crate::stats::RelayFault;

/// The cookie of requests.
const NO_STREAM: u64 = u64::MAX;

/// The fate of a datagram.
#[derive(Debug, PartialEq)]
pub(in crate::media) enum Taken {
    /// The data of a peer stands at that place in it.
    Data(SocketAddr, Range<usize>),
    /// The allocation itself was meant.
    Handled(Option<News>),
    /// The datagram was dropped.
    Dropped(RelayFault),
}

#[derive(Debug)]
struct Socket {
    id: SocketId,
    allocation: Allocation,
}

/// The relayed addresses of a worker.
#[derive(Debug)]
pub(in crate::media) struct Relays {
    account: Arc<Account>,
    seed: u64,
    /// By place; a pair whose RTP is not open yet has none for RTCP.
    sockets: Vec<Option<Socket>>,
    /// The steps that are due, by place.
    schedule: Schedule,
}

impl Relays {
    /// No relayed address yet; `places` is the most sockets.
    pub(in crate::media) fn new(account: Arc<Account>, seed: u64, places: usize, now: u64) -> Self {
        let schedule = Schedule::new(places, now);
        Self { account, seed, sockets: Vec::new(), schedule }
    }

    /// The server.
    pub(in crate::media) fn server(&self) -> SocketAddr {
        self.account.server
    }

    /// Asks for a relayed address of a socket.
    pub(in crate::media) fn open(&mut self, place: u32, id: SocketId, wish: Wish, now: u64) {
        let index = place as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let seed = mix(self.seed ^ mix(u64::from(place) ^ now));
        self.sockets[index] = Some(Socket { id, allocation: Allocation::new(wish, seed, now) });
        self.plan(place);
    }

    /// Asks for the relayed addresses of a pair anew after a rest.
    pub(in crate::media) fn restart(&mut self, pair: u32, rtp: SocketId, now: u64) {
        let place = 2 * pair;
        self.open(place, rtp, Wish::Even, now);
        if let Some(socket) = self.get(place) {
            socket.allocation.rest(now);
        }
        if let Some(rtcp) = self.sockets.get_mut(place as usize + 1) {
            *rtcp = None;
        }
        self.plan(place);
        self.plan(place + 1);
    }

    fn get(&mut self, place: u32) -> Option<&mut Socket> {
        self.sockets.get_mut(place as usize)?.as_mut()
    }

    /// The relayed address of a socket, once there is one.
    pub(in crate::media) fn relayed(&self, place: u32) -> Option<SocketAddr> {
        self.sockets.get(place as usize)?.as_ref()?.allocation.relayed()
    }

    fn plan(&mut self, place: u32) {
        let next_ns = self.get(place).map_or(u64::MAX, |socket| socket.allocation.next_ns());
        match next_ns {
            u64::MAX => self.schedule.cancel(place),
            next_ns => self.schedule.arm(place, next_ns),
        }
    }

    /// The time at which something is due.
    pub(in crate::media) fn next_deadline_ns(&self) -> u64 {
        self.schedule.next_time_ns()
    }

    /// Sends the requests that are due, and returns the next news with the place of the socket;
    /// `None` once nothing is due, or the arena has no room.
    pub(in crate::media) fn send_due(
        &mut self,
        now: u64,
        reserve: usize,
        tx: &mut TxArena,
    ) -> Option<(u32, News)> {
        while tx.free() > reserve
            && let Some(place) = self.schedule.pop_due(now)
        {
            let news = self.step(place, now, tx);
            self.plan(place);
            if let Some(news) = news {
                return Some((place, news));
            }
        }
        None
    }

    /// Takes a step of an allocation; the next one may be due at once.
    fn step(&mut self, place: u32, now: u64, tx: &mut TxArena) -> Option<News> {
        let account = Arc::clone(&self.account);
        let socket = self.get(place)?;
        let slot = tx.reserve(REQUEST_BYTES_MAX)?;
        match socket.allocation.poll(&account, now, tx.buffer(&slot)) {
            Poll::Send(len) => {
                let (id, order) = (socket.id, &mut TxOrder::default());
                tx.commit(slot, len, id, account.server, NO_STREAM, order);
                None
            }
            Poll::News(news) => {
                tx.release(slot);
                Some(news)
            }
            Poll::Idle => {
                tx.release(slot);
                None
            }
        }
    }

    /// Takes a datagram that came to a socket. Nothing but the server may send to it.
    pub(in crate::media) fn take(
        &mut self,
        place: u32,
        source: SocketAddr,
        datagram: &[u8],
        now: u64,
    ) -> Taken {
        let account = Arc::clone(&self.account);
        let Some(socket) = self.get(place).filter(|_| source == account.server) else {
            return Taken::Dropped(RelayFault::Foreign);
        };
        // RFC 7983: channels begin with 64 to 79.
        if datagram.first().is_some_and(|first| (0x40..0x50).contains(first)) {
            let data = socket.allocation.unwrap_channel(datagram, now);
            return data.map_or_else(Taken::Dropped, |(peer, place)| Taken::Data(peer, place));
        }
        let Ok(message) = Message::parse(datagram) else {
            return Taken::Dropped(RelayFault::Malformed);
        };
        if let Some((peer, place)) = unwrap_indication(&message) {
            return Taken::Data(peer, place);
        }
        let handled = socket.allocation.handle(&message, &account, now);
        self.plan(place);
        handled.map_or_else(Taken::Dropped, Taken::Handled)
    }

    /// Takes the news that a datagram from a socket to the server did not arrive.
    pub(in crate::media) fn unreachable(&mut self, place: u32, now: u64) -> Option<News> {
        let news = self.get(place)?.allocation.unreachable(now);
        self.plan(place);
        news
    }

    /// Tells whether data reaches a peer from a socket. A new peer gets a channel, which takes a
    /// while.
    ///
    /// # Errors
    /// There are no more channels.
    pub(in crate::media) fn reaches(
        &mut self,
        place: u32,
        peer: SocketAddr,
        now: u64,
    ) -> Result<bool, RelayFault> {
        let Some(socket) = self.get(place) else { return Ok(false) };
        let reaches = socket.allocation.reaches(peer, now);
        if reaches == Ok(false) {
            self.plan(place);
        }
        reaches
    }

    /// Makes a datagram to a peer one to the server. Returns its new length; `None` if there is no
    /// channel.
    pub(in crate::media) fn wrap(
        &mut self,
        place: u32,
        peer: SocketAddr,
        datagram: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        self.get(place)?.allocation.wrap(peer, datagram, len)
    }
}
