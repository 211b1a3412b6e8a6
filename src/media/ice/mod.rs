//! The way of a stream to an address of its peer that works (ICE, RFC 8445).
//!
//! The agent is that of the crate `is`, which str0m uses. Here stands what it does not know: the
//! words of session descriptions, our clock, which addresses may be sent to, and the limits of what
//! a peer can cause. A stream has one component, since RTCP shares the port of RTP.
//!
//! A relayed candidate needs two things: [`Ice::add_relayed`], and a sender that looks at the
//! source of what [`Ice::next_datagram`] gives, which is the relay's address then.

mod description;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol, Sha1HmacProvider};
use ring::hmac;

use crate::stats::HandshakeFault;

pub use description::Description;

/// Time limit for an address, from the moment at which both descriptions are known.
const CONNECT_NS_MAX: u64 = 10_000_000_000;
/// Addresses of a peer from which checks may come: those of its candidates and as many others.
const SOURCES_MAX: usize = 2 * CANDIDATES_MAX;
/// Most candidates of a peer that are checked.
pub const CANDIDATES_MAX: usize = 16;
/// Least time between two checks. RFC 8445 section 14.2 has 50 ms for a host with many streams,
/// and 5 ms as the least.
const CHECK_GAP: Duration = Duration::from_millis(5);

/// The code of messages (RFC 8489 section 14.5).
#[derive(Debug)]
struct Hmac;

impl Sha1HmacProvider for Hmac {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let mut context = hmac::Context::with_key(&key);
        payloads.iter().for_each(|part| context.update(part));
        let mut code = [0; 20];
        code.copy_from_slice(context.sign().as_ref());
        code
    }
}

/// News of a stream's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The address of the peer that is sent to from now on.
    Nominated(SocketAddr),
    /// The end: no address works, or none works any more.
    Failed(HandshakeFault),
}

/// A datagram to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// Our address that it leaves from: the one of the socket, unless it is that of a relay.
    pub source: SocketAddr,
    /// The address that it goes to.
    pub destination: SocketAddr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The agent of a stream, with the words of both descriptions.
#[derive(Debug)]
pub struct Ice {
    ours: Option<Description>,
    theirs: Option<Description>,
    /// The agent, once our description is known.
    agent: Option<IceAgent>,
    /// Our address.
    local: SocketAddr,
    is_controlling: bool,
    /// Addresses that checks came from.
    sources: Vec<SocketAddr>,
    nominated: Option<SocketAddr>,
    is_lost: bool,
    origin: Instant,
    /// The end of the time limit; `u64::MAX` while there is none.
    until_ns: u64,
    next_ns: u64,
}

impl Ice {
    /// The state of a stream at `local`. Times are counted from `origin`.
    pub fn new(local: SocketAddr, origin: Instant) -> Self {
        Self {
            ours: None,
            theirs: None,
            agent: None,
            local,
            is_controlling: false,
            sources: Vec::new(),
            nominated: None,
            is_lost: false,
            origin,
            until_ns: u64::MAX,
            next_ns: u64::MAX,
        }
    }

    /// True if both descriptions ask for it, and it can work: one side has to check.
    pub fn is_active(&self) -> bool {
        let both = self.ours.as_ref().zip(self.theirs.as_ref());
        both.is_some_and(|(ours, theirs)| !(ours.is_lite && theirs.is_lite))
    }

    /// The address that was found; `None` before.
    pub fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// Takes the words of our description; `None` ends what was before.
    pub fn describe_ours(&mut self, words: Option<Description>, now: u64) {
        if words == self.ours {
            return;
        }
        // Whoever offers controls the nomination, unless that side is a lite one.
        self.is_controlling = self.theirs.is_none();
        self.ours = words;
        self.restart(now);
    }

    /// Takes the words of the peer's description, whose candidates may be sent to.
    pub fn describe_theirs(&mut self, words: Option<Description>, now: u64) {
        let is_same = match (&self.theirs, &words) {
            (Some(known), Some(new)) => known.has_credentials_of(new),
            (known, new) => known.is_none() && new.is_none(),
        };
        self.theirs = words;
        match (&self.theirs, &mut self.agent) {
            // The same session again, or an answer to the one that we began.
            (Some(theirs), Some(agent)) if is_same || agent.remote_credentials().is_none() => {
                Self::tell_peer(agent, theirs);
                self.begin(now);
            }
            _ => self.restart(now),
        }
    }

    /// Begins anew with the words of both sides (RFC 8445 section 9).
    fn restart(&mut self, now: u64) {
        self.agent = None;
        self.sources.clear();
        (self.until_ns, self.next_ns) = (u64::MAX, u64::MAX);
        let Some(ours) = &self.ours else { return };
        let creds = IceCreds { ufrag: ours.ufrag.clone(), pass: ours.password.clone() };
        let mut agent = IceAgent::with_hmac(creds, &Hmac);
        agent.set_timing_advance(CHECK_GAP);
        agent.set_max_candidate_pairs(CANDIDATES_MAX);
        agent.set_ice_lite(ours.is_lite);
        if let Ok(candidate) = Candidate::host(self.local, Protocol::Udp) {
            agent.add_local_candidate(candidate);
        }
        if let Some(theirs) = &self.theirs {
            Self::tell_peer(&mut agent, theirs);
        }
        self.agent = Some(agent);
        self.begin(now);
    }

    fn tell_peer(agent: &mut IceAgent, theirs: &Description) {
        agent.set_remote_credentials(IceCreds {
            ufrag: theirs.ufrag.clone(),
            pass: theirs.password.clone(),
        });
        for &(address, priority) in &theirs.candidates {
            agent.add_remote_candidate(Candidate::from_parts(
                "1".to_owned(),
                1,
                Protocol::Udp,
                priority,
                address,
                is::CandidateKind::Host,
                None,
                None,
                None,
            ));
        }
    }

    /// Begins to check, once both descriptions are known.
    fn begin(&mut self, now: u64) {
        let is_active = self.is_active();
        let Some(agent) = self.agent.as_mut().filter(|_| is_active) else { return };
        let is_lite = |words: &Option<Description>| words.as_ref().is_some_and(|of| of.is_lite);
        let controls = is_lite(&self.theirs) || self.is_controlling && !is_lite(&self.ours);
        agent.set_controlling(controls);
        if self.until_ns == u64::MAX && self.nominated.is_none() {
            self.until_ns = now.saturating_add(CONNECT_NS_MAX);
        }
        self.next_ns = now;
    }

    /// Adds an address of ours at a relay, which `local` reaches. Our description names it, too.
    pub fn add_relayed(&mut self, relayed: SocketAddr, local: SocketAddr) {
        if let (Some(agent), Ok(candidate)) =
            (&mut self.agent, Candidate::relayed(relayed, local, Protocol::Udp))
        {
            agent.add_local_candidate(candidate);
        }
    }

    /// The time at which [`Self::pass_time`] is due.
    pub fn next_ns(&self) -> u64 {
        self.next_ns.min(self.until_ns)
    }

    fn instant(&self, now: u64) -> Instant {
        self.origin + Duration::from_nanos(now)
    }

    /// Does what is due.
    pub fn pass_time(&mut self, now: u64) {
        let instant = self.instant(now);
        if let Some(agent) = &mut self.agent {
            agent.handle_timeout(instant);
        }
        self.plan(now);
    }

    fn plan(&mut self, now: u64) {
        // Checks that came early wait for the peer's description.
        if self.theirs.is_none() {
            self.next_ns = u64::MAX;
            return;
        }
        let next = self.agent.as_mut().and_then(IceAgent::poll_timeout);
        let after = next.map(|next| next.saturating_duration_since(self.origin));
        let after_ns = after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        // Never at once again: whatever the agent wants can wait for the next check.
        let soonest_ns = now.saturating_add(CHECK_GAP.as_nanos() as u64);
        self.next_ns = after_ns.map_or(u64::MAX, |next_ns| next_ns.max(soonest_ns));
    }

    /// Takes a STUN message.
    ///
    /// # Errors
    /// It is malformed, of another session, not authentic, or from one address too many.
    pub fn receive(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        now: u64,
    ) -> Result<(), HandshakeFault> {
        let bad = HandshakeFault::IceBadMessage;
        let instant = self.instant(now);
        let message = StunMessage::parse(datagram).map_err(|_| bad)?;
        let agent = self.agent.as_mut().ok_or(bad)?;
        let is_known = self.sources.contains(&source);
        if !is_known && self.sources.len() >= SOURCES_MAX {
            return Err(bad);
        }
        let packet = StunPacket { proto: Protocol::Udp, source, destination: self.local, message };
        if !agent.handle_packet(instant, packet) {
            return Err(bad);
        }
        if !is_known {
            self.sources.push(source);
        }
        // A check that came may be the reason for one of ours.
        self.next_ns = self.next_ns.min(now);
        Ok(())
    }

    /// The next datagram to send.
    pub fn next_datagram(&mut self) -> Option<Outgoing> {
        let transmit = self.agent.as_mut()?.poll_transmit()?;
        let bytes = transmit.contents.to_vec();
        Some(Outgoing { source: transmit.source, destination: transmit.destination, bytes })
    }

    /// The next news, at the time `now`.
    pub fn next_news(&mut self, now: u64) -> Option<News> {
        while let Some(event) = self.agent.as_mut().and_then(IceAgent::poll_event) {
            match event {
                IceAgentEvent::NominatedSend { destination, .. } => {
                    self.until_ns = u64::MAX;
                    self.is_lost = false;
                    if self.nominated != Some(destination) {
                        self.nominated = Some(destination);
                        return Some(News::Nominated(destination));
                    }
                }
                IceAgentEvent::IceConnectionStateChange(state) if state.is_disconnected() => {
                    // Before there was an address the time limit decides.
                    let was_lost = std::mem::replace(&mut self.is_lost, true);
                    if self.nominated.is_some() && !was_lost {
                        return Some(News::Failed(HandshakeFault::IceConsentLost));
                    }
                }
                _ => {}
            }
        }
        if now >= self.until_ns {
            (self.until_ns, self.next_ns) = (u64::MAX, u64::MAX);
            self.agent = None;
            return Some(News::Failed(HandshakeFault::IceTimedOut));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    fn words(name: char, address: Option<&str>) -> Description {
        Description {
            ufrag: name.to_string().repeat(8),
            password: name.to_string().repeat(24),
            is_lite: false,
            candidates: address
                .map(|address| (address.parse().unwrap(), 2_130_706_431))
                .into_iter()
                .collect(),
        }
    }

    /// Two sides, each at an address of its own.
    struct Sides {
        ends: [Ice; 2],
        now: u64,
        news: [Vec<News>; 2],
        /// Datagrams that were sent.
        sent: [usize; 2],
    }

    const AT: [&str; 2] = ["192.0.2.1:1000", "192.0.2.2:2000"];

    impl Sides {
        fn new() -> Self {
            let origin = Instant::now();
            let ends = AT.map(|at| Ice::new(at.parse().unwrap(), origin));
            Self { ends, now: SECOND, news: [const { Vec::new() }; 2], sent: [0; 2] }
        }

        /// Offers and answers; the first side offers.
        fn describe(&mut self, words: [Description; 2]) {
            for (end, other) in [(0, 1), (1, 0)] {
                self.ends[end].describe_ours(Some(words[end].clone()), self.now);
                self.ends[other].describe_theirs(Some(words[end].clone()), self.now);
            }
        }

        /// Lets time pass; `carries` says whether what a side sends arrives.
        fn run(&mut self, time_ns: u64, carries: impl Fn(usize) -> bool) {
            let until = self.now + time_ns;
            while self.now < until {
                for end in 0..2 {
                    if self.ends[end].next_ns() <= self.now {
                        self.ends[end].pass_time(self.now);
                    }
                    while let Some(outgoing) = self.ends[end].next_datagram() {
                        self.sent[end] += 1;
                        let to = outgoing.destination.to_string();
                        if carries(end) && to == AT[1 - end] {
                            let from = AT[end].parse().unwrap();
                            self.ends[1 - end].receive(from, &outgoing.bytes, self.now).unwrap();
                        }
                    }
                    while let Some(news) = self.ends[end].next_news(self.now) {
                        self.news[end].push(news);
                    }
                }
                self.now += MS;
            }
        }
    }

    fn at(end: usize) -> News {
        News::Nominated(AT[end].parse().unwrap())
    }

    #[test]
    fn both_sides_find_each_other() {
        let mut sides = Sides::new();
        sides.describe([words('a', Some(AT[0])), words('b', Some(AT[1]))]);
        assert!(sides.ends.iter().all(Ice::is_active));
        sides.run(SECOND / 2, |_| true);
        assert_eq!(sides.news, [[at(1)], [at(0)]]);
        // Consent goes on, and the same descriptions again begin nothing anew.
        sides.describe([words('a', Some(AT[0])), words('b', Some(AT[1]))]);
        sides.run(30 * SECOND, |_| true);
        assert_eq!(sides.news, [[at(1)], [at(0)]]);
        // Other secrets are another session (RFC 8445 section 9), which finds the same address.
        sides.describe([words('c', Some(AT[0])), words('d', Some(AT[1]))]);
        sides.run(SECOND, |_| true);
        assert_eq!(sides.news, [[at(1)], [at(0)]]);
        assert!(sides.ends.iter().all(|ice| ice.nominated().is_some()));
        // Nothing comes any more: there is no consent to send (RFC 7675).
        sides.run(60 * SECOND, |_| false);
        let lost = News::Failed(HandshakeFault::IceConsentLost);
        assert_eq!(sides.news.map(|news| news[1..].to_vec()), [vec![lost], vec![lost]]);
    }

    #[test]
    fn an_address_without_a_candidate_is_learnt_from_its_checks() {
        // The candidates of the answerer are names that nobody here can resolve.
        let mut sides = Sides::new();
        sides.describe([words('a', Some(AT[0])), words('b', None)]);
        sides.run(SECOND, |_| true);
        assert_eq!(sides.news, [[at(1)], [at(0)]]);
    }

    #[test]
    fn a_lite_side_only_answers() {
        for lite in 0..2 {
            let mut sides = Sides::new();
            let mut all = [words('a', Some(AT[0])), words('b', Some(AT[1]))];
            all[lite].is_lite = true;
            sides.describe(all);
            sides.run(SECOND, |_| true);
            assert_eq!(sides.news, [[at(1)], [at(0)]], "side {lite}");
        }
        let mut sides = Sides::new();
        let lite = |name| Description { is_lite: true, ..words(name, None) };
        sides.describe([lite('a'), lite('b')]);
        assert!(!sides.ends.iter().any(Ice::is_active), "nobody would check");
    }

    #[test]
    fn a_silent_peer_and_one_with_another_password_are_given_up() {
        let mut sides = Sides::new();
        sides.describe([words('a', Some(AT[0])), words('b', Some(AT[1]))]);
        sides.run(12 * SECOND, |_| false);
        let timed_out = [News::Failed(HandshakeFault::IceTimedOut)];
        assert_eq!(sides.news, [timed_out, timed_out]);
        assert!(sides.sent[0] < 60, "{:?}", sides.sent);

        let mut sides = Sides::new();
        sides.ends[0].describe_ours(Some(words('a', Some(AT[0]))), 0);
        let mut wrong = words('b', Some(AT[1]));
        wrong.password = "x".repeat(24);
        sides.ends[1].describe_theirs(Some(words('a', Some(AT[0]))), 0);
        sides.ends[1].describe_ours(Some(wrong), 0);
        sides.ends[0].describe_theirs(Some(words('b', Some(AT[1]))), 0);
        sides.ends[0].pass_time(0);
        let check = sides.ends[0].next_datagram().expect("a check");
        let refused = sides.ends[1].receive(AT[0].parse().unwrap(), &check.bytes, 0);
        assert_eq!(refused, Err(HandshakeFault::IceBadMessage));
    }

    #[test]
    fn noise_is_refused() {
        let mut sides = Sides::new();
        sides.describe([words('a', Some(AT[0])), words('b', Some(AT[1]))]);
        sides.ends[0].pass_time(sides.now);
        let check = sides.ends[0].next_datagram().expect("a check").bytes;
        let source = AT[0].parse().unwrap();
        for len in 0..check.len() {
            assert!(sides.ends[1].receive(source, &check[..len], sides.now).is_err(), "{len}");
        }
        for at in 0..check.len() {
            let mut changed = check.clone();
            changed[at] ^= 0x55;
            // What is behind the code of the message is not covered by it.
            let _ = sides.ends[1].receive(source, &changed, sides.now);
        }
        // A peer has a bounded number of addresses.
        let mut taken = 0;
        for port in 1..200 {
            let source = SocketAddr::new(source.ip(), port);
            taken += usize::from(sides.ends[1].receive(source, &check, sides.now).is_ok());
        }
        assert!((1..=SOURCES_MAX).contains(&taken), "{taken}");
    }
}
