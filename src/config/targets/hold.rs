//! The shares that runs hold of the ceilings of entries, and the list that is in force.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::list::{Bound, Refusal, TargetList};

/// Most calls that a run starts and has open at the same time; infinite without a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Calls per second.
    pub rate: f64,
    /// The key that bounds it.
    pub rate_key: &'static str,
    /// Open calls.
    pub open: f64,
    /// The key that bounds it.
    pub open_key: &'static str,
}

/// The list in force, and the shares that runs hold of it. All runs of a process use the same one.
#[derive(Debug, Default)]
pub struct Targets {
    list: ArcSwap<TargetList>,
    claims: Mutex<Claims>,
    /// Refusals so far, by [`Refusal::position`].
    refused: [AtomicU64; Refusal::LABELS.len()],
}

#[derive(Debug, Default)]
struct Claims {
    next: u64,
    rows: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    id: u64,
    places: Vec<SocketAddr>,
    is_websocket: bool,
    load: Load,
}

impl Targets {
    /// Puts a list in force.
    pub fn new(list: TargetList) -> Self {
        Self { list: ArcSwap::from_pointee(list), ..Self::default() }
    }

    /// Puts another list in force. Shares that runs already hold are judged at their next
    /// [`Hold::check`].
    pub fn replace(&self, list: TargetList) {
        self.list.store(Arc::new(list));
    }

    /// Says whether a run may send to an address at `unix_ns`.
    ///
    /// # Errors
    /// The reason of the refusal, which is counted.
    pub fn judge(&self, to: SocketAddr, is_websocket: bool, unix_ns: u64) -> Result<(), Refusal> {
        let verdict = self.list.load().judge(to, is_websocket, unix_ns);
        verdict.map(|_| ()).map_err(|refusal| self.counted(refusal))
    }

    /// Returns the refusal for an address without counting it.
    pub fn refusal(&self, to: SocketAddr, unix_ns: u64) -> Option<Refusal> {
        self.list.load().judge(to, false, unix_ns).err()
    }

    /// Tells whether the scenario of a call may turn it to an address. If an entry has ceilings,
    /// the run must hold a share of them: one of its `places` is in the same entry.
    pub fn lets_turn(&self, to: SocketAddr, places: &[SocketAddr], unix_ns: u64) -> bool {
        let list = self.list.load();
        let entry = |to: &SocketAddr| list.judge(*to, false, unix_ns).ok();
        match entry(&to) {
            None => false,
            Some(None) => true,
            Some(Some(index)) => {
                !list.entries[index].has_ceiling()
                    || places.iter().any(|place| entry(place) == Some(Some(index)))
            }
        }
    }

    /// Reserves a run's share of the ceilings of the entries that its addresses belong to, until
    /// the [`Hold`] is dropped.
    ///
    /// # Errors
    /// The reason of the refusal, which is counted.
    pub fn hold(
        self: &Arc<Self>,
        places: Vec<SocketAddr>,
        is_websocket: bool,
        load: Load,
        unix_ns: u64,
    ) -> Result<Hold, Refusal> {
        let mut claims = self.claims();
        let id = claims.next;
        let claim = Claim { id, places, is_websocket, load };
        self.fits(&claims, &claim, unix_ns).map_err(|refusal| self.counted(refusal))?;
        claims.next += 1;
        claims.rows.push(claim);
        Ok(Hold { targets: Arc::clone(self), id })
    }

    /// Refusals so far, with their labels.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::LABELS.into_iter().zip(counts)
    }

    fn counted(&self, refusal: Refusal) -> Refusal {
        self.refused[refusal.position()].fetch_add(1, Ordering::Relaxed);
        refusal
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Each change of the claims is complete at any time, so a poisoned lock is safe.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a claim fits beside those of other runs.
    fn fits(&self, claims: &Claims, claim: &Claim, unix_ns: u64) -> Result<(), Refusal> {
        let list = self.list.load();
        let entries_of = |claim: &Claim| {
            let places = claim.places.iter();
            places
                .map(|to| list.judge(*to, claim.is_websocket, unix_ns))
                .collect::<Result<Vec<_>, _>>()
        };
        for index in entries_of(claim)?.into_iter().flatten() {
            let entry = &list.entries[index];
            let others: Vec<&Load> = claims
                .rows
                .iter()
                .filter(|other| other.id != claim.id)
                .filter(|other| entries_of(other).is_ok_and(|of| of.contains(&Some(index))))
                .map(|other| &other.load)
                .collect();
            let load = &claim.load;
            let ceilings = [
                (
                    Bound::Rate,
                    load.rate_key,
                    load.rate,
                    entry.max_rate,
                    sum(&others, |load| load.rate),
                ),
                (
                    Bound::Open,
                    load.open_key,
                    load.open,
                    entry.max_concurrent.map(|most| most as f64),
                    sum(&others, |load| load.open),
                ),
            ];
            for (bound, key, wanted, most, taken) in ceilings {
                if let Some(most) = most.filter(|most| wanted + taken > *most) {
                    let network = entry.network;
                    return Err(Refusal::Ceiling {
                        bound,
                        key,
                        index,
                        network,
                        wanted,
                        most,
                        taken,
                    });
                }
            }
        }
        Ok(())
    }
}

fn sum(loads: &[&Load], value: impl Fn(&Load) -> f64) -> f64 {
    loads.iter().map(|load| value(load)).sum()
}

/// The claim that one run holds.
#[derive(Debug)]
pub struct Hold {
    targets: Arc<Targets>,
    id: u64,
}

impl Hold {
    /// Changes the load of the run. Less is always allowed.
    ///
    /// # Errors
    /// The reason of the refusal, which is counted; nothing has changed then.
    pub fn change(&self, load: Load, unix_ns: u64) -> Result<(), Refusal> {
        let mut claims = self.targets.claims();
        let Some(own) = claims.rows.iter().find(|claim| claim.id == self.id) else {
            return Ok(());
        };
        let is_more = load.rate > own.load.rate || load.open > own.load.open;
        if is_more {
            let (places, is_websocket) = (own.places.clone(), own.is_websocket);
            let wanted = Claim { id: self.id, places, is_websocket, load };
            let fits = self.targets.fits(&claims, &wanted, unix_ns);
            fits.map_err(|refusal| self.targets.counted(refusal))?;
        }
        if let Some(own) = claims.rows.iter_mut().find(|claim| claim.id == self.id) {
            own.load = load;
        }
        Ok(())
    }

    /// Changes the run by `make`, and holds the share for it. While `make` executes, the run holds
    /// the larger of both loads, so that no other run can take the share of either.
    ///
    /// # Errors
    /// Those of [`change`](Self::change), or the error of `make`. The run's share is unchanged
    /// then.
    pub fn change_with<E: From<Refusal>>(
        &self,
        load: Load,
        unix_ns: u64,
        make: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(before) = self.load() else { return make() };
        let (rate, open) = (load.rate.max(before.rate), load.open.max(before.open));
        self.change(Load { rate, open, ..load }, unix_ns)?;
        let made = make();
        let after = if made.is_ok() { load } else { before };
        // Less is always allowed.
        self.change(after, unix_ns)?;
        made
    }

    /// Returns the present load of the run.
    pub fn load(&self) -> Option<Load> {
        let claims = self.targets.claims();
        claims.rows.iter().find(|claim| claim.id == self.id).map(|claim| claim.load)
    }

    /// Checks that the run may go on: its entries still exist and have not expired. Lower ceilings
    /// do not end a run.
    ///
    /// # Errors
    /// The reason why it may not go on; it is not counted.
    pub fn check(&self, unix_ns: u64) -> Result<(), Refusal> {
        let list = self.targets.list.load();
        let claims = self.targets.claims();
        let Some(own) = claims.rows.iter().find(|claim| claim.id == self.id) else {
            return Ok(());
        };
        let mut places = own.places.iter();
        places.try_for_each(|to| list.judge(*to, own.is_websocket, unix_ns).map(|_| ()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.targets.claims().rows.retain(|claim| claim.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expiry, Network, TargetEntry};
    use super::*;

    const TEST_NET: &str = "192.0.2.0/24";

    fn entry(network: &str, rate: f64, open: u64, expires: u64) -> TargetEntry {
        TargetEntry {
            network: Network::parse(network).unwrap(),
            ports: Vec::new(),
            max_rate: Some(rate),
            max_concurrent: Some(open),
            expires: Some(Expiry { text: "then".to_owned(), unix_ns: expires }),
        }
    }

    fn targets() -> Arc<Targets> {
        let entries = vec![entry(TEST_NET, 100.0, 500, 1000)];
        Arc::new(Targets::new(TargetList { entries }))
    }

    fn load(rate: f64, open: f64) -> Load {
        Load { rate, rate_key: "rate", open, open_key: "max_concurrent" }
    }

    fn to(text: &str) -> Vec<SocketAddr> {
        vec![text.parse().unwrap()]
    }

    #[test]
    fn clients_share_the_ceilings_of_an_entry() {
        let targets = targets();
        let hold = |place, rate, open| targets.hold(to(place), false, load(rate, open), 0);
        let first = hold("192.0.2.1:5060", 60.0, 100.0).unwrap();
        let error = hold("192.0.2.2:5060", 50.0, 100.0).unwrap_err().to_string();
        let expected = "rate: 50 is too much; targets[0], for 192.0.2.0/24, allows 100 calls per \
                        second (max_rate), and other clients have 60 of them. Give 40 at most, \
                        or raise targets[0].max_rate";
        assert_eq!(error, expected);
        let second = hold("192.0.2.2:5060", 40.0, 400.0).unwrap();
        let error = hold("192.0.2.3:5060", 0.0, 1.0).unwrap_err().to_string();
        assert!(error.starts_with("max_concurrent: 1 is too much"), "{error}");
        // Other addresses have no ceilings.
        assert!(hold("10.0.0.1:5060", 1e6, f64::INFINITY).is_ok());
        drop(first);
        assert!(second.change(load(100.0, 500.0), 0).is_ok());
        let error = second.change(load(101.0, 500.0), 0).unwrap_err().to_string();
        assert!(error.contains("rate: 101"), "{error}");
        assert_eq!(second.load(), Some(load(100.0, 500.0)));
        let error = hold("192.0.2.3:5060", 0.0, f64::INFINITY).unwrap_err().to_string();
        assert!(error.starts_with("max_concurrent: a limit is missing"), "{error}");
        let counts: Vec<_> = targets.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("ceiling", 4)]);
    }

    #[test]
    fn a_refusal_names_the_bound_that_is_exceeded() {
        let targets = targets();
        let refusal = |rate, rate_key, open, open_key| {
            let load = Load { rate, rate_key, open, open_key };
            targets.hold(to("192.0.2.1:5060"), false, load, 0).unwrap_err().to_string()
        };
        let endless = f64::INFINITY;
        assert_eq!(
            refusal(endless, "users", 5.0, "users"),
            "users: they start calls without a limit per second; targets[0], for 192.0.2.0/24, \
             allows 100 calls per second (max_rate). Give a rate of 100 at most instead, or remove \
             targets[0].max_rate"
        );
        let error = refusal(endless, "scenario_file", 5.0, "max_concurrent");
        assert!(error.contains("100 calls per second (max_rate). Choose a scenario"), "{error}");
        let error = refusal(1.0, "rate", endless, "max_concurrent");
        assert!(error.contains("500 open calls (max_concurrent). Give 500 at most"), "{error}");
        targets.replace(TargetList {
            entries: vec![TargetEntry { max_rate: None, ..entry(TEST_NET, 0.0, 500, 1000) }],
        });
        let error = refusal(endless, "users", 501.0, "users");
        assert!(error.starts_with("users: 501 is too much"), "{error}");
        assert!(error.ends_with("Give 500 at most, or raise targets[0].max_concurrent"), "{error}");
    }

    #[test]
    fn an_entry_that_is_past_takes_nothing_more() {
        let targets = targets();
        let hold = targets.hold(to("192.0.2.1:5060"), false, load(10.0, 10.0), 999).unwrap();
        assert_eq!(hold.check(999), Ok(()));
        assert!(hold.check(1000).unwrap_err().to_string().contains("targets[0].expires"));
        assert!(hold.change(load(11.0, 10.0), 1000).is_err());
        assert_eq!(hold.change(load(9.0, 10.0), 1000), Ok(()));
        assert!(targets.hold(to("192.0.2.2:5060"), false, load(1.0, 1.0), 1000).is_err());
        assert!(!targets.lets_turn(to("192.0.2.1:5060")[0], &to("192.0.2.1:5060"), 1000));
    }

    #[test]
    fn what_is_refused_later_gives_back_what_it_took() {
        let targets = targets();
        let hold =
            |rate, open| targets.hold(to("192.0.2.1:5060"), false, load(rate, open), 0).unwrap();
        let (first, second) = (hold(10.0, 100.0), hold(10.0, 100.0));
        #[derive(Debug, PartialEq)]
        struct Why(String);
        impl From<Refusal> for Why {
            fn from(refusal: Refusal) -> Self {
                Self(refusal.to_string())
            }
        }
        let no = || Err(Why("no memory".to_owned()));
        for wanted in [load(10.0, 400.0), load(10.0, 1.0)] {
            let refused = first.change_with(wanted, 0, || {
                // Meanwhile other runs get neither its new share nor its old one.
                assert!(second.change(load(10.0, 401.0), 0).is_err());
                no()
            });
            assert_eq!(refused, no());
            assert_eq!(first.load(), Some(load(10.0, 100.0)));
        }
        assert_eq!(second.change(load(10.0, 400.0), 0), Ok(()));
        assert!(first.change_with(load(10.0, 101.0), 0, || Ok::<_, Why>(())).is_err());
        assert_eq!(first.change_with(load(10.0, 1.0), 0, || Ok::<_, Why>(())), Ok(()));
        assert_eq!(first.load(), Some(load(10.0, 1.0)));
    }

    #[test]
    fn another_list_holds_for_what_runs() {
        let targets = targets();
        let hold = targets.hold(to("192.0.2.1:5060"), false, load(10.0, 10.0), 0).unwrap();
        targets.replace(TargetList { entries: vec![entry(TEST_NET, 5.0, 5, 1000)] });
        assert_eq!(hold.check(0), Ok(()));
        assert!(hold.change(load(11.0, 10.0), 0).is_err());
        targets.replace(TargetList::default());
        assert!(hold.check(0).unwrap_err().to_string().contains("Add to its targets"));
    }

    #[test]
    fn a_call_is_turned_only_to_where_its_run_is_counted() {
        let targets = targets();
        let (here, there) = (to("192.0.2.1:5060"), to("192.0.2.2:5062")[0]);
        assert!(targets.lets_turn(there, &here, 0));
        assert!(!targets.lets_turn(there, &to("10.0.0.1:5060"), 0));
        assert!(targets.lets_turn(to("10.0.0.1:5060")[0], &here, 0));
        assert!(!targets.lets_turn(to("203.0.113.1:5060")[0], &here, 0));
        assert!(!targets.lets_turn(to("10.0.0.1:53")[0], &here, 0));
    }
}
