//! Places of the HTTP listener: the number of connections of each source, and the connection that
//! is closed when a new one needs a place.
//!
//! Three rules keep one stranger from taking all places. A source has a bounded share of them. Some
//! are reserved for this host, so that its probes come through. If a share is used up, a connection
//! that only waits, and over which no user has signed in, makes room for the next one. Slow heads,
//! slow bodies and unfinished handshakes hold a place only until another connection wants it.
//! Signing in keeps a bounded number for each identity; further ones are closed while they wait.
//!
//! A proxy on this host connects from here for strangers. Its connections count as of this host
//! until a request shows that it came through a proxy.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::auth::Source;
use super::metrics::{ConnectionRefusal, Metrics};

/// Connections at once, WebSockets included.
const PLACES: usize = 1024;

/// Places that only this host gets.
const KEPT_FOR_THIS_HOST: usize = 64;

/// Connections of one source at once: several people, each with a browser, may share an address.
const OF_A_SOURCE: usize = 64;

/// Connections of this host at once. Its users share an address with its probes.
const OF_THIS_HOST: usize = 640;

/// Connections that are kept at once because one identity, a user or a token, has signed in over
/// them: a single token must not take all places of this host.
const KEPT_OF_AN_IDENTITY: usize = 64;

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// This host, as far as it shows.
    Here,
    /// A proxy that is not trusted, on this host.
    Relay,
    /// A trusted proxy: its connections are those of many clients.
    Proxy,
    /// Any other host.
    Away,
}

impl Origin {
    /// The most connections of one source.
    fn share(self) -> usize {
        match self {
            Self::Here | Self::Relay => OF_THIS_HOST,
            // Each source behind the proxy has a share of requests (`api/crowd.rs`).
            Self::Proxy => usize::MAX,
            Self::Away => OF_A_SOURCE,
        }
    }

    /// Tells whether other clients may use the same connection later.
    fn is_shared(self) -> bool {
        matches!(self, Self::Relay | Self::Proxy)
    }
}

/// All places of the listener.
#[derive(Debug)]
pub(crate) struct Places {
    table: Mutex<Table>,
    freed: Notify,
    metrics: Arc<Metrics>,
}

/// The taken places, with counts and queues for each question that a new connection raises: an
/// answer takes no longer with many of them.
#[derive(Debug, Default)]
struct Table {
    taken: HashMap<u64, Taken>,
    groups: HashMap<Owner, Group>,
    /// The number of places kept because of each identity.
    vouchers: HashMap<Arc<str>, usize>,
    /// Connections of this host that may be closed. Numbers rise, so that the first is the oldest.
    waiting_here: BTreeSet<u64>,
    /// Connections of other hosts that may be closed.
    waiting_away: BTreeSet<u64>,
    /// The number of places of other hosts.
    away: usize,
    next: u64,
}

/// The origin and source whose share a place counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner {
    origin: Origin,
    source: Source,
}

/// The places of an owner.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    /// Connections that may be closed.
    waiting: BTreeSet<u64>,
}

#[derive(Debug)]
struct Taken {
    owner: Owner,
    /// True if the connection lasts, as a WebSocket does.
    is_kept: bool,
    /// The identity that signed in over it and keeps it.
    voucher: Option<Arc<str>>,
    /// True while the client waits for us.
    is_working: bool,
    leave: Arc<Notify>,
}

/// A place, held as long as anything uses the connection.
#[derive(Debug)]
pub(crate) struct Seat {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
}

/// A stretch of work during which a seat is not given to another connection.
#[derive(Debug)]
pub(crate) struct Working<'s>(&'s Seat);

impl Places {
    /// Makes the places, all of them free.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { table: Mutex::default(), freed: Notify::new(), metrics }
    }

    /// Takes a place for a connection of `address`. Another connection may have to be closed for
    /// it.
    ///
    /// # Errors
    /// If all places are taken, and no connection may be closed.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        origin: Origin,
    ) -> Result<Seat, ConnectionRefusal> {
        let owner = Owner::of(address, origin);
        let mut table = self.lock();
        self.count_refusal(table.make_room(owner, true))?;
        let (number, leave) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        let (is_kept, is_working) = (false, false);
        let (voucher, leave_too) = (None, Arc::clone(&leave));
        table.add(number, Taken { owner, is_kept, voucher, is_working, leave: leave_too });
        self.metrics.connections(table.taken.len());
        Ok(Seat { places: Arc::clone(self), number, leave })
    }

    /// Counts a connection that is closed for another one, or gets no place.
    fn count_refusal(
        &self,
        made: Result<bool, ConnectionRefusal>,
    ) -> Result<(), ConnectionRefusal> {
        match made {
            Ok(false) => {}
            Ok(true) => self.metrics.connection_refused(ConnectionRefusal::Displaced),
            Err(cause) => self.metrics.connection_refused(cause),
        }
        made.map(|_| ())
    }

    /// The number of places that are taken.
    pub(crate) fn count(&self) -> usize {
        self.lock().taken.len()
    }

    /// Waits until all places are free.
    pub(crate) async fn all_free(&self) {
        loop {
            // Before the look, so that nothing is missed in between.
            let freed = self.freed.notified();
            if self.count() == 0 {
                return;
            }
            freed.await;
        }
    }

    /// Locks the table, also after a panic: each change of it is one step.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner {
    fn of(address: IpAddr, origin: Origin) -> Self {
        let source = match address.to_canonical().is_loopback() {
            // All of 127.0.0.0/8 is one host.
            true => Source::of(Ipv4Addr::LOCALHOST.into()),
            false => Source::of(address),
        };
        Self { origin, source }
    }

    fn is_here(self) -> bool {
        self.origin == Origin::Here
    }
}

impl Table {
    /// Makes sure that `owner` may have one more; `true` if another connection is closed for it. A
    /// connection that `is_new` needs a place, too.
    fn make_room(&mut self, owner: Owner, is_new: bool) -> Result<bool, ConnectionRefusal> {
        if let Some(group) = self.groups.get(&owner)
            && group.count >= owner.origin.share()
        {
            let oldest = group.waiting.first().copied();
            return self.move_away(oldest).ok_or(ConnectionRefusal::Source);
        }
        let away = self.waiting_away.first().copied();
        if !owner.is_here() && self.away >= PLACES - KEPT_FOR_THIS_HOST {
            return self.move_away(away).ok_or(ConnectionRefusal::Full);
        }
        if is_new && self.taken.len() >= PLACES {
            let here = self.waiting_here.first().copied();
            let oldest = here.into_iter().chain(away).min();
            return self.move_away(oldest).ok_or(ConnectionRefusal::Full);
        }
        Ok(false)
    }

    /// Closes a connection, if one is given.
    fn move_away(&mut self, number: Option<u64>) -> Option<bool> {
        let taken = self.remove(number?)?;
        taken.leave.notify_one();
        Some(true)
    }

    fn add(&mut self, number: u64, taken: Taken) {
        let owner = taken.owner;
        self.groups.entry(owner).or_default().count += 1;
        self.away += usize::from(!owner.is_here());
        self.taken.insert(number, taken);
        self.queue(number);
    }

    fn remove(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        let owner = taken.owner;
        if let Some(voucher) = &taken.voucher
            && let Some(count) = self.vouchers.get_mut(voucher)
        {
            *count -= 1;
            if *count == 0 {
                self.vouchers.remove(voucher);
            }
        }
        self.away -= usize::from(!owner.is_here());
        self.waiting_here.remove(&number);
        self.waiting_away.remove(&number);
        if let Some(group) = self.groups.get_mut(&owner) {
            group.waiting.remove(&number);
            group.count -= 1;
            if group.count == 0 {
                self.groups.remove(&owner);
            }
        }
        Some(taken)
    }

    /// Makes `who` the voucher of a place without one; `false` if `who` vouches for too many.
    fn vouch(&mut self, number: u64, who: &str) -> bool {
        let Some(taken) = self.taken.get_mut(&number) else { return false };
        if taken.voucher.is_some() {
            return true;
        }
        let (who, count) = match self.vouchers.get_key_value(who) {
            Some((who, &count)) => (Arc::clone(who), count),
            None => (Arc::from(who), 0),
        };
        if count >= KEPT_OF_AN_IDENTITY {
            return false;
        }
        taken.voucher = Some(Arc::clone(&who));
        self.vouchers.insert(who, count + 1);
        self.queue(number);
        true
    }

    /// Changes a place, if it is still taken, and updates the queues.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Taken)) {
        if let Some(taken) = self.taken.get_mut(&number) {
            change(taken);
            self.queue(number);
        }
    }

    /// Puts a place into the queues of those that may be closed, or takes it out of them.
    fn queue(&mut self, number: u64) {
        let Some(taken) = self.taken.get(&number) else { return };
        let Some(group) = self.groups.get_mut(&taken.owner) else { return };
        let waiting = match taken.owner.is_here() {
            true => &mut self.waiting_here,
            false => &mut self.waiting_away,
        };
        for queue in [waiting, &mut group.waiting] {
            match taken.is_kept || taken.voucher.is_some() || taken.is_working {
                true => queue.remove(&number),
                false => queue.insert(number),
            };
        }
    }
}

impl Seat {
    /// Keeps the seat for good: its connection lasts.
    pub(crate) fn keep(&self) {
        self.places.lock().change(self.number, |taken| taken.is_kept = true);
    }

    /// Keeps the seat of a client that is known: for good, or as long as the result is held. The
    /// latter is so for the connection of a proxy, which other clients use later, and for an
    /// identity with many seats.
    pub(crate) fn vouch(&self, who: &str) -> Option<Working<'_>> {
        let mut table = self.places.lock();
        let is_shared = table.taken.get(&self.number)?.owner.origin.is_shared();
        if !is_shared && table.vouch(self.number, who) {
            return None;
        }
        drop(table);
        self.work()
    }

    /// Keeps the seat while the client waits for us.
    pub(crate) fn work(&self) -> Option<Working<'_>> {
        let mut table = self.places.lock();
        let taken = table.taken.get(&self.number)?;
        if taken.is_working {
            return None;
        }
        table.change(self.number, |taken| taken.is_working = true);
        Some(Working(self))
    }

    /// Notes that a request over the connection came through a proxy, so that the place is none of
    /// this host. Another connection may have to be closed for it.
    ///
    /// # Errors
    /// If the places of others are taken, and none may be closed. This connection must end.
    pub(crate) fn relay(&self, address: IpAddr, origin: Origin) -> Result<(), ConnectionRefusal> {
        let mut table = self.places.lock();
        let is_here = |taken: &Taken| taken.owner.is_here();
        if !table.taken.get(&self.number).is_some_and(is_here) {
            return Ok(());
        }
        let owner = Owner::of(address, origin);
        self.places.count_refusal(table.make_room(owner, false))?;
        if let Some(taken) = table.remove(self.number) {
            // The next client of the proxy is not the one that signed in over this connection.
            table.add(self.number, Taken { owner, is_kept: false, voucher: None, ..taken });
        }
        self.places.metrics.connections(table.taken.len());
        Ok(())
    }

    /// Tells whether the place counts as one of this host.
    pub(crate) fn is_here(&self) -> bool {
        let table = self.places.lock();
        table.taken.get(&self.number).is_some_and(|taken| taken.owner.is_here())
    }

    /// Waits until another connection wants the place.
    pub(crate) async fn wanted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // A connection that had to be closed is not in the table any more.
        let mut table = self.places.lock();
        table.remove(self.number);
        self.places.metrics.connections(table.taken.len());
        drop(table);
        self.places.freed.notify_waiters();
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.places.lock().change(self.0.number, |taken| taken.is_working = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Arc<Places> {
        Arc::new(Places::new(Arc::new(Metrics::new())))
    }

    fn take(places: &Arc<Places>, address: &str) -> Result<Seat, ConnectionRefusal> {
        let address: IpAddr = address.parse().unwrap();
        let origin = if address.is_loopback() { Origin::Here } else { Origin::Away };
        places.take(address, origin)
    }

    /// Takes `count` places of one source, each vouched for.
    fn fill(places: &Arc<Places>, address: &str, count: usize) -> Vec<Seat> {
        let seats = (0..count).map(|_| take(places, address).unwrap());
        seats.inspect(Seat::keep).collect()
    }

    #[test]
    fn a_source_has_its_share_and_an_ipv6_network_is_one() {
        let places = places();
        let _seats = fill(&places, "2001:db8:0:1::1", OF_A_SOURCE);
        let refused = take(&places, "2001:db8:0:1:ffff::2").unwrap_err();
        assert_eq!(refused, ConnectionRefusal::Source);
        assert!(take(&places, "2001:db8:0:2::1").is_ok(), "another network is free");
        let here = fill(&places, "127.0.0.1", OF_THIS_HOST);
        assert_eq!(take(&places, "127.0.0.2").unwrap_err(), ConnectionRefusal::Source);
        drop(here);
        assert!(take(&places, "127.0.0.2").is_ok());
    }

    #[test]
    fn the_last_places_are_for_this_host() {
        let places = places();
        let mut seats = Vec::new();
        for network in 0..(PLACES - KEPT_FOR_THIS_HOST) / OF_A_SOURCE {
            seats.extend(fill(&places, &format!("192.0.2.{network}"), OF_A_SOURCE));
        }
        assert_eq!(take(&places, "198.51.100.1").unwrap_err(), ConnectionRefusal::Full);
        let proxy = "203.0.113.1".parse().unwrap();
        assert_eq!(places.take(proxy, Origin::Proxy).unwrap_err(), ConnectionRefusal::Full);
        seats.extend(fill(&places, "127.0.0.1", KEPT_FOR_THIS_HOST));
        assert_eq!(take(&places, "127.0.0.1").unwrap_err(), ConnectionRefusal::Full);
        assert_eq!(places.count(), PLACES);
        drop(seats);
        assert_eq!(places.count(), 0);
        let table = places.lock();
        assert!(table.groups.is_empty() && table.away == 0, "{table:?}");
        assert!(table.waiting_here.is_empty() && table.waiting_away.is_empty(), "{table:?}");
    }

    #[tokio::test]
    async fn who_only_waits_makes_room_and_the_oldest_goes_first() {
        let places = places();
        let mut seats: Vec<Seat> =
            (0..OF_A_SOURCE).map(|_| take(&places, "192.0.2.1").unwrap()).collect();
        // A kept seat stays kept at the end of the work.
        let switching = seats[0].work().unwrap();
        seats[0].keep();
        drop(switching);
        let working = seats[1].work().unwrap();
        let next = take(&places, "192.0.2.1").unwrap();
        seats[2].wanted().await;
        assert_eq!(places.count(), OF_A_SOURCE, "one came and one went");
        drop(working);
        let after = take(&places, "192.0.2.1").unwrap();
        seats[1].wanted().await;
        // The end of a closed connection is not counted twice.
        drop(seats.drain(1..3));
        assert_eq!(places.count(), OF_A_SOURCE);
        seats.iter().chain([&next, &after]).for_each(Seat::keep);
        assert_eq!(take(&places, "192.0.2.1").unwrap_err(), ConnectionRefusal::Source);
    }

    #[test]
    fn a_proxy_has_the_connections_of_many() {
        let places = places();
        let proxy: IpAddr = "192.0.2.1".parse().unwrap();
        let seats: Vec<_> = (0..PLACES - KEPT_FOR_THIS_HOST)
            .map(|_| places.take(proxy, Origin::Proxy).unwrap())
            .collect();
        seats.iter().for_each(Seat::keep);
        assert_eq!(places.take(proxy, Origin::Proxy).unwrap_err(), ConnectionRefusal::Full);
        assert!(take(&places, "127.0.0.1").is_ok());
    }

    #[test]
    fn who_signed_in_before_a_proxy_showed_keeps_no_place_for_it() {
        let places = places();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let seat = take(&places, "127.0.0.1").unwrap();
        assert!(seat.vouch("viewer").is_none() && seat.is_here());
        seat.relay(here, Origin::Proxy).unwrap();
        assert!(places.lock().vouchers.is_empty());
        assert!(!seat.is_here());
        let others: Vec<_> = (1..PLACES - KEPT_FOR_THIS_HOST)
            .map(|_| places.take(here, Origin::Proxy).unwrap())
            .collect();
        others.iter().for_each(Seat::keep);
        // It is the only one that may be closed.
        let next = places.take(here, Origin::Proxy).unwrap();
        next.keep();
        assert_eq!(places.take(here, Origin::Proxy).unwrap_err(), ConnectionRefusal::Full);
    }

    #[tokio::test]
    async fn who_signs_in_over_all_connections_of_this_host_does_not_shut_it_out() {
        let places = places();
        let seats: Vec<Seat> =
            (0..OF_THIS_HOST).map(|_| take(&places, "127.0.0.1").unwrap()).collect();
        // Each sends one request after the other.
        for seat in seats.iter().chain(&seats) {
            drop(seat.vouch("token:prometheus"));
        }
        let probe = take(&places, "127.0.0.1").unwrap();
        seats[KEPT_OF_AN_IDENTITY].wanted().await;
        // Other identities have their own share, and the work of the first one goes on.
        assert!(probe.vouch("admin").is_none());
        let working = seats[KEPT_OF_AN_IDENTITY + 1].vouch("token:prometheus").unwrap();
        let next = take(&places, "127.0.0.1").unwrap();
        seats[KEPT_OF_AN_IDENTITY + 2].wanted().await;
        drop(working);
        // A share is free again when its connection ends.
        let mut seats = seats;
        drop(seats.remove(0));
        let last = seats.last().unwrap();
        assert!(last.vouch("token:prometheus").is_none());
        drop((seats, probe, next));
        assert!(places.lock().vouchers.is_empty());
    }

    #[test]
    fn a_proxy_of_this_host_does_not_get_its_last_places() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        for (origin, others) in [(Origin::Proxy, 0), (Origin::Relay, PLACES - OF_THIS_HOST)] {
            let places = places();
            let mut seats = Vec::new();
            for network in 0..others / OF_A_SOURCE {
                seats.extend(fill(&places, &format!("192.0.2.{network}"), OF_A_SOURCE));
            }
            while seats.len() < PLACES - KEPT_FOR_THIS_HOST {
                let seat = take(&places, "127.0.0.1").unwrap();
                assert_eq!(seat.relay(here, origin), Ok(()), "{origin:?} {}", seats.len());
                // Further requests change nothing.
                assert_eq!(seat.relay(here, origin), Ok(()));
                seat.keep();
                seats.push(seat);
            }
            let stranger = take(&places, "127.0.0.1").unwrap();
            assert_eq!(stranger.relay(here, origin), Err(ConnectionRefusal::Full));
            drop(stranger);
            let probes = fill(&places, "127.0.0.1", KEPT_FOR_THIS_HOST);
            assert_eq!(places.count(), PLACES);
            drop((seats, probes));
            let table = places.lock();
            assert!(table.groups.is_empty() && table.away == 0, "{table:?}");
        }
    }

    #[tokio::test]
    async fn a_stranger_behind_a_proxy_of_this_host_makes_room_for_the_next_one() {
        let (places, here) = (places(), "127.0.0.1".parse().unwrap());
        let relayed = || {
            let seat = take(&places, "127.0.0.1").unwrap();
            seat.relay(here, Origin::Proxy).map(|()| seat)
        };
        let seats: Vec<Seat> =
            (0..PLACES - KEPT_FOR_THIS_HOST).map(|_| relayed().unwrap()).collect();
        let waiting = take(&places, "127.0.0.1").unwrap();
        // The connection of a proxy is kept while it serves a known client.
        let vouched = seats[0].vouch("viewer").unwrap();
        let next = relayed().unwrap();
        seats[1].wanted().await;
        drop(vouched);
        let after = relayed().unwrap();
        seats[0].wanted().await;
        assert_eq!(places.count(), PLACES - KEPT_FOR_THIS_HOST + 1);
        drop((seats, waiting, next, after));
        assert_eq!(places.count(), 0);
    }

    #[tokio::test]
    async fn the_oldest_of_all_goes_where_all_places_are_taken() {
        let places = places();
        let mut seats =
            vec![take(&places, "127.0.0.1").unwrap(), take(&places, "192.0.2.1").unwrap()];
        seats.extend(fill(&places, "127.0.0.1", OF_THIS_HOST - 2));
        for network in 0..(PLACES - OF_THIS_HOST) / OF_A_SOURCE {
            seats.extend(fill(&places, &format!("198.51.100.{network}"), OF_A_SOURCE));
        }
        seats.extend(fill(&places, "2001:db8::1", PLACES - places.count()));
        let _next = take(&places, "127.0.0.1").unwrap();
        seats[0].wanted().await;
        assert_eq!(take(&places, "127.0.0.1").err(), None);
        seats[1].wanted().await;
    }

    #[tokio::test]
    async fn the_end_waits_for_the_last_one() {
        let places = places();
        let seat = take(&places, "192.0.2.1").unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.all_free().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(seat);
        waiting.await.unwrap();
    }
}
