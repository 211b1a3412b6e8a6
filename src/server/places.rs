//! Places of the HTTP listener: how many connections there are, of whom, and who has to go when a
//! place is wanted.
//!
//! Three rules keep one stranger from taking all places. A source has a bounded share of them. Some
//! are kept for this host, so that its probes come through. Where a share is used up, a connection
//! that only waits, and over which nobody has signed in, makes room for the next one: slow heads,
//! slow bodies and unfinished handshakes hold a place until somebody else wants it.

use std::collections::{BTreeMap, HashMap};
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

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A proxy that is trusted: its connections are those of many.
    Proxy,
    /// This host.
    Here,
    /// Anywhere else.
    Away,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    table: Mutex<Table>,
    freed: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Table {
    /// By number, so that the first is the oldest.
    taken: BTreeMap<u64, Taken>,
    by_source: HashMap<Source, usize>,
    /// Places that are not of this host.
    away: usize,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    source: Source,
    origin: Origin,
    /// `true` if it waits for a peer that nobody vouched for.
    is_movable: bool,
    leave: Arc<Notify>,
}

/// A place, held as long as anything uses the connection.
#[derive(Debug)]
pub(crate) struct Seat {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
}

/// A stretch of work during which a seat is not given to somebody else.
#[derive(Debug)]
pub(crate) struct Working<'s>(&'s Seat);

impl Places {
    /// All of them free.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { table: Mutex::default(), freed: Notify::new(), metrics }
    }

    /// Takes a place for a connection of `address`. Another connection may have to go for it.
    ///
    /// # Errors
    /// If there is none, and nobody who would have to go.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        origin: Origin,
    ) -> Result<Seat, ConnectionRefusal> {
        let source = match origin {
            // All of 127.0.0.0/8 is one host.
            Origin::Here => Source::of(Ipv4Addr::LOCALHOST.into()),
            Origin::Proxy | Origin::Away => Source::of(address),
        };
        let mut table = self.lock();
        let made = table.make_room(source, origin);
        if let Ok(true) = made {
            self.metrics.connection_refused(ConnectionRefusal::Displaced);
        }
        made.inspect_err(|cause| self.metrics.connection_refused(*cause))?;
        let (number, leave) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        *table.by_source.entry(source).or_default() += 1;
        table.away += usize::from(origin != Origin::Here);
        let taken = Taken { source, origin, is_movable: true, leave: Arc::clone(&leave) };
        table.taken.insert(number, taken);
        self.metrics.connections(table.taken.len());
        Ok(Seat { places: Arc::clone(self), number, leave })
    }

    /// The number of places that are taken.
    pub(crate) fn count(&self) -> usize {
        self.lock().taken.len()
    }

    /// Waits until all are free.
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

    /// The table is changed in one step each.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Makes sure that one more fits; `true` if somebody has to go for it.
    fn make_room(&mut self, source: Source, origin: Origin) -> Result<bool, ConnectionRefusal> {
        let share = match origin {
            Origin::Proxy => usize::MAX,
            Origin::Here => OF_THIS_HOST,
            Origin::Away => OF_A_SOURCE,
        };
        if self.by_source.get(&source).is_some_and(|count| *count >= share) {
            return self.move_one(|taken| taken.source == source).ok_or(ConnectionRefusal::Source);
        }
        let is_here = origin == Origin::Here;
        if !is_here && self.away >= PLACES - KEPT_FOR_THIS_HOST {
            return self
                .move_one(|taken| taken.origin != Origin::Here)
                .ok_or(ConnectionRefusal::Full);
        }
        if self.taken.len() >= PLACES {
            return self.move_one(|_| true).ok_or(ConnectionRefusal::Full);
        }
        Ok(false)
    }

    /// Sends away the connection of those that `may_go` which has waited longest.
    fn move_one(&mut self, may_go: impl Fn(&Taken) -> bool) -> Option<bool> {
        let found = self.taken.iter().find(|(_, taken)| taken.is_movable && may_go(taken));
        let number = *found?.0;
        if let Some(taken) = self.free(number) {
            taken.leave.notify_one();
        }
        Some(true)
    }

    fn free(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        self.away -= usize::from(taken.origin != Origin::Here);
        if let Some(count) = self.by_source.get_mut(&taken.source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&taken.source);
            }
        }
        Some(taken)
    }

    fn set_movable(&mut self, number: u64, is_movable: bool) {
        if let Some(taken) = self.taken.get_mut(&number) {
            taken.is_movable = is_movable;
        }
    }
}

impl Seat {
    /// Keeps the seat for good: the one who has it is known, or has a connection that lasts.
    pub(crate) fn vouch(&self) {
        self.places.lock().set_movable(self.number, false);
    }

    /// Keeps the seat while we are the ones who are waited for.
    pub(crate) fn work(&self) -> Option<Working<'_>> {
        let mut table = self.places.lock();
        let taken = table.taken.get_mut(&self.number)?;
        // One that is kept for good stays so.
        if !taken.is_movable {
            return None;
        }
        taken.is_movable = false;
        Some(Working(self))
    }

    /// Waits until the place is wanted by somebody else.
    pub(crate) async fn wanted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // One that had to go is not in the table any more.
        let mut table = self.places.lock();
        table.free(self.number);
        self.places.metrics.connections(table.taken.len());
        drop(table);
        self.places.freed.notify_waiters();
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.places.lock().set_movable(self.0.number, true);
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
        seats.inspect(Seat::vouch).collect()
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
        assert!(table.by_source.is_empty() && table.away == 0, "{table:?}");
    }

    #[tokio::test]
    async fn who_only_waits_makes_room_and_the_oldest_goes_first() {
        let places = places();
        let mut seats: Vec<Seat> =
            (0..OF_A_SOURCE).map(|_| take(&places, "192.0.2.1").unwrap()).collect();
        seats[0].vouch();
        let working = seats[1].work().unwrap();
        assert!(seats[0].work().is_none(), "it is kept for good");
        let next = take(&places, "192.0.2.1").unwrap();
        seats[2].wanted().await;
        assert_eq!(places.count(), OF_A_SOURCE, "one came and one went");
        drop(working);
        let after = take(&places, "192.0.2.1").unwrap();
        seats[1].wanted().await;
        // Going is not counted twice.
        drop(seats.drain(1..3));
        assert_eq!(places.count(), OF_A_SOURCE);
        seats.iter().chain([&next, &after]).for_each(Seat::vouch);
        assert_eq!(take(&places, "192.0.2.1").unwrap_err(), ConnectionRefusal::Source);
    }

    #[test]
    fn a_proxy_has_the_connections_of_many() {
        let places = places();
        let proxy: IpAddr = "192.0.2.1".parse().unwrap();
        let seats: Vec<_> = (0..PLACES - KEPT_FOR_THIS_HOST)
            .map(|_| places.take(proxy, Origin::Proxy).unwrap())
            .collect();
        seats.iter().for_each(Seat::vouch);
        assert_eq!(places.take(proxy, Origin::Proxy).unwrap_err(), ConnectionRefusal::Full);
        assert!(take(&places, "127.0.0.1").is_ok());
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
