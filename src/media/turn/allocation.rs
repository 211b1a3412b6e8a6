//! One relayed address: requests to the server, and channels to peers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::{Account, CHANNEL_HEADER_LEN};
use crate::media::legs::mix;
use crate::media::stun::attribute::{
    CHANNEL_NUMBER, DATA, EVEN_PORT, LIFETIME, NONCE, REALM, REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT, RESERVATION_TOKEN, USERNAME, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::media::stun::{Class, Key, Message, Method, TransactionId, Writer};
use crate::stats::RelayFault;

/// Room for the longest request.
pub const REQUEST_BYTES_MAX: usize = 2048;
/// Longest realm and nonce (RFC 8489 sections 14.9 and 14.10).
const CHALLENGE_BYTES_MAX: usize = 763;
/// First wait for an answer; each further one is twice as long (RFC 8489 section 6.2.1).
const RETRY_NS: u64 = 500_000_000;
/// Times that a request is sent. The RFC proposes 7, which is 40 s: no call waits for so long.
const SENDS_MAX: u8 = 5;
/// Wait after a failed allocation.
const REST_NS: u64 = 1_000_000_000;
/// Lifetime that is asked for.
const LIFETIME_S: u32 = 600;
/// An allocation is refreshed so long before its end.
const REFRESH_AHEAD_NS: u64 = 60_000_000_000;
/// A permission lasts for 300 s (RFC 8656 section 9). A channel in use is bound anew before, which
/// renews it.
const CHANNEL_REFRESH_NS: u64 = 240_000_000_000;
/// A channel lasts for 600 s, and its number may be bound to another peer 300 s later (section 12).
const CHANNEL_REST_NS: u64 = 900_000_000_000;
const CHANNEL_FIRST: u16 = 0x4000;
/// Numbers of channels: 0x4000 to 0x4fff.
const CHANNELS_MAX: usize = 0x1000;
/// Channels that are looked at for one whose rest is over, for each new peer.
const CANDIDATES: usize = 8;
/// Challenges in a row that are followed. A nonce that becomes stale does so for all requests that
/// are on their way.
const STALE_MAX: u8 = 32;

/// The relayed port that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An even port, and the next one reserved.
    Even,
    /// The port that was reserved.
    Reserved([u8; 8]),
}

/// News of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The server gave it, with a token for the next port if one was reserved.
    Opened(Option<[u8; 8]>),
    /// The server refused it or took it away; it is asked for again a second later.
    Failed(RelayFault),
    /// A peer cannot be reached.
    Refused(RelayFault),
}

/// A step of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// A request of this length stands in the buffer.
    Send(usize),
    /// News.
    News(News),
    /// Nothing is due.
    Idle,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    id: TransactionId,
    sends: u8,
    next_ns: u64,
}

/// The purpose of the request about the allocation itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Allocate,
    Refresh,
    /// Gives back what an earlier program left on our port.
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for.
    Asking,
    Open,
    /// To be asked for again at this time.
    Resting(u64),
}

/// The demand of the server for credentials.
#[derive(Debug)]
struct Challenge {
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binding {
    Asked,
    Bound,
    /// Not used since it was bound, and so kept no longer.
    Idle,
    Refused,
}

/// A peer, and the channel to it.
#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    binding: Binding,
    request: Option<Transaction>,
    /// The last time that data went over it.
    used_ns: u64,
    bound_ns: u64,
}

/// The subject of a request.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Itself(Purpose),
    Channel(usize),
}

/// One relayed address of one of our sockets.
#[derive(Debug)]
pub struct Allocation {
    /// Makes the numbers of transactions.
    seed: u64,
    made: u64,
    wish: Wish,
    state: State,
    purpose: Purpose,
    request: Option<Transaction>,
    challenge: Option<Challenge>,
    stale: u8,
    was_cleared: bool,
    relayed: Option<SocketAddr>,
    refresh_ns: u64,
    /// By number, from [`CHANNEL_FIRST`] on.
    channels: Vec<Channel>,
    by_peer: HashMap<SocketAddr, usize, foldhash::fast::RandomState>,
    candidate: usize,
}

impl Allocation {
    /// An allocation that is asked for at once.
    pub fn new(wish: Wish, seed: u64, now: u64) -> Self {
        let mut allocation = Self {
            seed,
            made: 0,
            wish,
            state: State::Asking,
            purpose: Purpose::Allocate,
            request: None,
            challenge: None,
            stale: 0,
            was_cleared: false,
            relayed: None,
            refresh_ns: u64::MAX,
            channels: Vec::new(),
            by_peer: HashMap::default(),
            candidate: 0,
        };
        allocation.ask(Purpose::Allocate, now);
        allocation
    }

    /// Waits before anything is asked.
    pub fn rest(&mut self, now: u64) {
        self.state = State::Resting(now + REST_NS);
    }

    /// The relayed address, while the server gives it.
    pub fn relayed(&self) -> Option<SocketAddr> {
        self.relayed.filter(|_| self.state == State::Open)
    }

    fn transaction(&mut self, now: u64) -> Transaction {
        let mut id = [0; 12];
        self.made += 1;
        let high = mix(self.seed ^ mix(self.made));
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&(mix(high) as u32).to_be_bytes());
        Transaction { id, sends: 0, next_ns: now }
    }

    fn ask(&mut self, purpose: Purpose, now: u64) {
        self.purpose = purpose;
        self.request = Some(self.transaction(now));
    }

    /// The time of the next step.
    pub fn next_ns(&self) -> u64 {
        let own = match (self.state, &self.request) {
            (State::Resting(until_ns), _) => return until_ns,
            (_, Some(request)) => request.next_ns,
            (_, None) => self.refresh_ns,
        };
        let channels = self.channels.iter().map(Channel::next_ns);
        channels.fold(own, u64::min)
    }

    /// Takes the next step that is due; `out` is for a request of [`REQUEST_BYTES_MAX`].
    pub fn poll(&mut self, account: &Account, now: u64, out: &mut [u8]) -> Poll {
        if let State::Resting(until_ns) = self.state {
            if now < until_ns {
                return Poll::Idle;
            }
            self.state = State::Asking;
            self.ask(Purpose::Allocate, now);
        }
        if self.request.is_none() && self.refresh_ns <= now {
            self.ask(Purpose::Refresh, now);
        }
        if let Some(request) = self.request.filter(|request| request.next_ns <= now) {
            let Some(next) = request.after(now) else {
                return Poll::News(self.fail(RelayFault::TimedOut, now));
            };
            self.request = Some(next);
            return self.write(account, Subject::Itself(self.purpose), request.id, out);
        }
        if self.state != State::Open {
            return Poll::Idle;
        }
        let is_due = |channel: &Channel| channel.next_ns() <= now;
        while let Some(place) = self.channels.iter().position(is_due) {
            let channel = &mut self.channels[place];
            if channel.request.is_some() || channel.used_ns > channel.bound_ns {
                return self.poll_channel(account, place, now, out);
            }
            channel.binding = Binding::Idle;
        }
        Poll::Idle
    }

    fn poll_channel(&mut self, account: &Account, place: usize, now: u64, out: &mut [u8]) -> Poll {
        let request = match self.channels[place].request {
            Some(request) => request,
            None => self.transaction(now),
        };
        let Some(next) = request.after(now) else {
            self.channels[place].refuse();
            return Poll::News(News::Refused(RelayFault::TimedOut));
        };
        self.channels[place].request = Some(next);
        self.write(account, Subject::Channel(place), request.id, out)
    }

    fn write(
        &self,
        account: &Account,
        subject: Subject,
        id: TransactionId,
        out: &mut [u8],
    ) -> Poll {
        self.request(account, subject, id, out).map_or(Poll::Idle, Poll::Send)
    }

    /// Writes a request. Names, realms and nonces are bounded, so that there is room.
    fn request(
        &self,
        account: &Account,
        subject: Subject,
        id: TransactionId,
        out: &mut [u8],
    ) -> Option<usize> {
        let method = match subject {
            Subject::Itself(Purpose::Allocate) => Method::Allocate,
            Subject::Itself(Purpose::Refresh | Purpose::Clear) => Method::Refresh,
            Subject::Channel(_) => Method::ChannelBind,
        };
        let mut writer = Writer::new(out, Class::Request, method, id)?;
        match subject {
            Subject::Itself(Purpose::Allocate) => {
                // UDP.
                writer.put(REQUESTED_TRANSPORT, &[17, 0, 0, 0])?;
                writer.put_number(LIFETIME, LIFETIME_S)?;
                match self.wish {
                    Wish::Even => writer.put(EVEN_PORT, &[0x80])?,
                    Wish::Reserved(token) => writer.put(RESERVATION_TOKEN, &token)?,
                }
                // A reserved port has its family already (RFC 8656 section 7.2).
                if account.server.is_ipv6() && self.wish == Wish::Even {
                    writer.put(REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])?;
                }
            }
            Subject::Itself(Purpose::Refresh) => writer.put_number(LIFETIME, LIFETIME_S)?,
            Subject::Itself(Purpose::Clear) => writer.put_number(LIFETIME, 0)?,
            Subject::Channel(place) => {
                let number = CHANNEL_FIRST + place as u16;
                let [high, low] = number.to_be_bytes();
                writer.put(CHANNEL_NUMBER, &[high, low, 0, 0])?;
                writer.put_address(XOR_PEER_ADDRESS, self.channels[place].peer)?;
            }
        }
        if let Some(Challenge { realm, nonce, key }) = &self.challenge {
            writer.put(USERNAME, account.user.as_bytes())?;
            writer.put(REALM, realm)?;
            writer.put(NONCE, nonce)?;
            writer.put_integrity(key)?;
        }
        Some(writer.len())
    }

    /// Takes a response of the server.
    ///
    /// # Errors
    /// It answers none of our requests, or not as the protocol wants it: it changed nothing.
    pub fn handle(
        &mut self,
        response: &Message<'_>,
        account: &Account,
        now: u64,
    ) -> Result<Option<News>, RelayFault> {
        let id = response.transaction();
        let is_asked = |request: &Option<Transaction>| request.is_some_and(|r| r.id == id);
        let subject = if is_asked(&self.request) {
            Subject::Itself(self.purpose)
        } else {
            let place = self.channels.iter().position(|channel| is_asked(&channel.request));
            Subject::Channel(place.ok_or(RelayFault::Unasked)?)
        };
        match response.class() {
            Class::Success => {
                let key = self.challenge.as_ref().map(|challenge| &challenge.key);
                if key.is_some_and(|key| !response.has_integrity(key)) {
                    return Err(RelayFault::BadIntegrity);
                }
                self.stale = 0;
                self.succeed(subject, response, now)
            }
            Class::Error => {
                let code = response.error_code().ok_or(RelayFault::Malformed)?;
                match code {
                    401 | 438 => self.challenged(subject, response, account, now),
                    _ => Ok(self.refused(subject, code, now)),
                }
            }
            Class::Request | Class::Indication => Err(RelayFault::Unasked),
        }
    }

    fn succeed(
        &mut self,
        subject: Subject,
        response: &Message<'_>,
        now: u64,
    ) -> Result<Option<News>, RelayFault> {
        match subject {
            Subject::Channel(place) => {
                let channel = &mut self.channels[place];
                (channel.request, channel.binding) = (None, Binding::Bound);
                channel.bound_ns = now;
                Ok(None)
            }
            Subject::Itself(Purpose::Clear) => {
                // The server forgets the session with the allocation.
                self.challenge = None;
                self.ask(Purpose::Allocate, now);
                Ok(None)
            }
            Subject::Itself(Purpose::Refresh) => {
                self.request = None;
                self.plan_refresh(response, now);
                Ok(None)
            }
            Subject::Itself(Purpose::Allocate) => {
                let relayed = response.address(XOR_RELAYED_ADDRESS);
                let relayed = relayed.filter(|address| address.port() > 0);
                (self.request, self.was_cleared) = (None, false);
                if relayed.is_none() {
                    return Ok(Some(self.fail(RelayFault::Malformed, now)));
                }
                (self.relayed, self.state) = (relayed, State::Open);
                self.plan_refresh(response, now);
                let token = response.attribute(RESERVATION_TOKEN);
                Ok(Some(News::Opened(token.and_then(|token| token.try_into().ok()))))
            }
        }
    }

    fn plan_refresh(&mut self, response: &Message<'_>, now: u64) {
        let lifetime_s = response.number(LIFETIME).unwrap_or(LIFETIME_S);
        let lifetime_ns = u64::from(lifetime_s) * 1_000_000_000;
        // A server that gives next to nothing is not asked more often than once a second.
        let after_ns = lifetime_ns.saturating_sub(REFRESH_AHEAD_NS).max(lifetime_ns / 2);
        self.refresh_ns = now.saturating_add(after_ns.max(REST_NS));
    }

    /// Follows a challenge: the same request goes out again, with credentials.
    fn challenged(
        &mut self,
        subject: Subject,
        response: &Message<'_>,
        account: &Account,
        now: u64,
    ) -> Result<Option<News>, RelayFault> {
        let is_stale = response.error_code() == Some(438);
        // RFC 8489 section 9.2.5: the credentials themselves are wrong.
        if self.challenge.is_some() && !is_stale || self.stale >= STALE_MAX {
            return Ok(Some(self.fail(RelayFault::Unauthorized, now)));
        }
        let part = |kind| {
            let found = response.attribute(kind);
            found.filter(|found| found.len() <= CHALLENGE_BYTES_MAX).ok_or(RelayFault::Malformed)
        };
        let nonce: Box<[u8]> = part(NONCE)?.into();
        let realm: Box<[u8]> = match &account.realm {
            Some(realm) => realm.as_bytes().into(),
            None => part(REALM)?.into(),
        };
        self.stale += 1;
        let key = Key::long_term(account.user.as_bytes(), &realm, account.password.as_bytes());
        self.challenge = Some(Challenge { realm, nonce, key });
        match subject {
            Subject::Itself(purpose) => self.ask(purpose, now),
            Subject::Channel(place) => {
                self.channels[place].request = Some(self.transaction(now));
            }
        }
        Ok(None)
    }

    fn refused(&mut self, subject: Subject, code: u16, now: u64) -> Option<News> {
        let fault = fault_of(code);
        match subject {
            Subject::Channel(place) => {
                self.channels[place].refuse();
                Some(News::Refused(fault))
            }
            // An earlier program had our port, and its allocation is still there.
            Subject::Itself(Purpose::Allocate) if code == 437 && !self.was_cleared => {
                self.was_cleared = true;
                self.ask(Purpose::Clear, now);
                None
            }
            // There was nothing to give back.
            Subject::Itself(Purpose::Clear) if code == 437 => {
                self.ask(Purpose::Allocate, now);
                None
            }
            Subject::Itself(_) => Some(self.fail(fault, now)),
        }
    }

    /// Takes the news that a request did not arrive. An allocation that is open outlasts it.
    pub fn unreachable(&mut self, now: u64) -> Option<News> {
        (self.state == State::Asking).then(|| self.fail(RelayFault::Unreachable, now))
    }

    fn fail(&mut self, fault: RelayFault, now: u64) -> News {
        self.state = State::Resting(now + REST_NS);
        (self.request, self.challenge, self.relayed) = (None, None, None);
        (self.stale, self.was_cleared, self.refresh_ns) = (0, false, u64::MAX);
        self.channels.clear();
        self.by_peer.clear();
        News::Failed(fault)
    }

    /// Tells whether data reaches a peer. A new peer gets a channel, which takes a while.
    ///
    /// # Errors
    /// There are no more channels.
    pub fn reaches(&mut self, peer: SocketAddr, now: u64) -> Result<bool, RelayFault> {
        if let Some(&place) = self.by_peer.get(&peer) {
            let channel = &mut self.channels[place];
            channel.used_ns = now;
            if channel.binding == Binding::Idle {
                channel.binding = Binding::Asked;
                self.channels[place].request = Some(self.transaction(now));
                return Ok(false);
            }
            return Ok(channel.binding == Binding::Bound);
        }
        if self.state != State::Open {
            return Ok(false);
        }
        let request = Some(self.transaction(now));
        let channel =
            Channel { peer, binding: Binding::Asked, request, used_ns: now, bound_ns: now };
        let place = match self.free_place(now) {
            Some(place) => {
                let before = std::mem::replace(&mut self.channels[place], channel);
                self.by_peer.remove(&before.peer);
                place
            }
            None if self.channels.len() < CHANNELS_MAX => {
                self.channels.push(channel);
                self.channels.len() - 1
            }
            None => return Err(RelayFault::NoChannel),
        };
        self.by_peer.insert(peer, place);
        Ok(false)
    }

    /// A channel that was not used for so long that its number may go to another peer.
    fn free_place(&mut self, now: u64) -> Option<usize> {
        let count = self.channels.len();
        for _ in 0..CANDIDATES.min(count) {
            self.candidate = (self.candidate + 1) % count;
            let channel = &self.channels[self.candidate];
            let last_ns = channel.bound_ns.max(channel.used_ns);
            if channel.request.is_none() && last_ns + CHANNEL_REST_NS <= now {
                return Some(self.candidate);
            }
        }
        None
    }

    /// Makes ChannelData of the first `len` bytes of `packet`. Returns the new length; `None` if
    /// the peer has no channel, or `packet` no room.
    pub fn wrap(&mut self, peer: SocketAddr, packet: &mut [u8], len: usize) -> Option<usize> {
        let &place = self.by_peer.get(&peer)?;
        if self.channels[place].binding != Binding::Bound {
            return None;
        }
        let end = len + CHANNEL_HEADER_LEN;
        let packet = packet.get_mut(..end)?;
        let length = u16::try_from(len).ok()?;
        packet.copy_within(..len, CHANNEL_HEADER_LEN);
        packet[..2].copy_from_slice(&(CHANNEL_FIRST + place as u16).to_be_bytes());
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        Some(end)
    }

    /// The peer that sent what is in ChannelData, and the place of its data.
    pub fn unwrap_channel(
        &mut self,
        datagram: &[u8],
        now: u64,
    ) -> Result<(SocketAddr, Range<usize>), RelayFault> {
        let header = datagram.first_chunk::<4>().ok_or(RelayFault::Malformed)?;
        let number = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let end = CHANNEL_HEADER_LEN + len;
        if end > datagram.len() {
            return Err(RelayFault::Malformed);
        }
        let place = number.checked_sub(CHANNEL_FIRST).map(usize::from);
        let channel = place.and_then(|place| self.channels.get_mut(place));
        let channel = channel.ok_or(RelayFault::Unasked)?;
        channel.used_ns = now;
        Ok((channel.peer, CHANNEL_HEADER_LEN..end))
    }
}

/// The peer that sent what is in a Data indication, and the place of its data; `None` of another
/// message.
pub(super) fn unwrap_indication(message: &Message<'_>) -> Option<(SocketAddr, Range<usize>)> {
    let is_data = (message.class(), message.method()) == (Class::Indication, Method::Data);
    let peer = message.address(XOR_PEER_ADDRESS).filter(|_| is_data)?;
    Some((peer, message.place(DATA)?))
}

impl Transaction {
    /// The transaction after the request is sent at `now`; `None` if it was sent often enough.
    fn after(self, now: u64) -> Option<Self> {
        let wait_ns = RETRY_NS << self.sends.min(SENDS_MAX);
        let sent = Self { sends: self.sends + 1, next_ns: now + wait_ns, ..self };
        (self.sends < SENDS_MAX).then_some(sent)
    }
}

impl Channel {
    fn next_ns(&self) -> u64 {
        match (&self.request, self.binding) {
            (Some(request), _) => request.next_ns,
            (None, Binding::Bound) => self.bound_ns + CHANNEL_REFRESH_NS,
            (None, _) => u64::MAX,
        }
    }

    fn refuse(&mut self) {
        (self.request, self.binding) = (None, Binding::Refused);
    }
}

/// The fault that an error of the server means (RFC 8656 section 19).
fn fault_of(code: u16) -> RelayFault {
    match code {
        300 => RelayFault::Redirected,
        403 => RelayFault::Forbidden,
        437 | 441 => RelayFault::Mismatch,
        440 | 443 => RelayFault::OtherFamily,
        486 => RelayFault::Quota,
        508 => RelayFault::NoCapacity,
        _ => RelayFault::Refused,
    }
}
