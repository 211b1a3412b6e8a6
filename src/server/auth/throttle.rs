//! Limits on how often a client may try to log in.
//!
//! Two things are watched, each with a bucket of free attempts and, once that is empty, a pause
//! that doubles with every further failure:
//!
//! - the **source**: an IPv4 address, or the /64 of an IPv6 address, whatever names it tries;
//! - the **account**: a name, whether or not there is such a user, wherever attempts come from.
//!
//! The rule against locking users out: failures of others on an account never delay a source from
//! which that account was logged in to lately. Such a source is bound by its own failures only. A
//! source that is new to the account waits at most [`ACCOUNT_PAUSE_MAX`] at a time while the
//! account is under attack. Existing logins are not touched.
//!
//! An attempt counts as a failure from its start until it succeeds, so that many at once are no way
//! around. The throttle reads no clock: the caller passes the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The allowance of a source or an account.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Failures without a pause.
    free: u32,
    /// The longest pause.
    pause_max: Duration,
    /// One failure is forgotten in this time.
    forgive_one: Duration,
}

/// The rule for sources. Several people may share an address. A source that goes on guessing comes
/// to a pause that forgives as much as it costs, about ten minutes.
const SOURCE: Rule = Rule {
    free: 10,
    pause_max: Duration::from_secs(15 * 60),
    forgive_one: Duration::from_secs(10 * 60),
};

/// The rule for accounts. Its pause is long enough against guessing (2880 tries a day, all sources
/// together), and short enough for the owner in a new place.
const ACCOUNT: Rule =
    Rule { free: 5, pause_max: ACCOUNT_PAUSE_MAX, forgive_one: Duration::from_secs(60) };

/// The longest pause of an account.
pub(super) const ACCOUNT_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first pause.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The time for which a source stays trusted after a login to the account.
const TRUST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Entries of each table. A full table drops the entry with the fewest failures.
const ENTRIES_MAX: usize = 4096;

/// The source of an attempt. An IPv6 source is its /64, as a host with one address of it usually
/// has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self(address),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Self(v4.into()),
                None => {
                    let network = v6.to_bits() & !u128::from(u64::MAX);
                    Self(Ipv6Addr::from_bits(network).into())
                }
            },
        }
    }
}

/// The failures of a source or an account.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Start of the period after which one failure is forgiven.
    forgiven_from: Instant,
    /// No attempt is let through before this.
    paused_until: Instant,
}

impl Failures {
    fn none(now: Instant) -> Self {
        Self { count: 0, forgiven_from: now, paused_until: now }
    }

    /// Forgets failures that are long past.
    fn forgive(&mut self, now: Instant, rule: &Rule) {
        let passed = now.saturating_duration_since(self.forgiven_from);
        let forgiven = passed.as_secs() / rule.forgive_one.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.count = self.count.saturating_sub(forgiven);
        self.forgiven_from += rule.forgive_one.saturating_mul(forgiven).min(passed);
    }

    fn fail(&mut self, now: Instant, rule: &Rule) {
        let over = (self.count + 1).checked_sub(rule.free);
        let pause = over.map_or(Duration::ZERO, |over| {
            PAUSE_FIRST.saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX))
        });
        self.paused_until = self.paused_until.max(now + pause.min(rule.pause_max));
        // A failure that cannot lengthen the pause would only take longer to forget.
        if pause <= rule.pause_max {
            self.count += 1;
        }
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.paused_until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

/// An attempt is refused for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throttled {
    /// Seconds until the next attempt makes sense, at least 1.
    pub(super) retry_after_s: u64,
    /// The first refusal since the last attempt: worth a line in a log, the rest is not.
    pub(super) is_first: bool,
}

/// An attempt that was let through, to be told how it ended.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt {
    source: Source,
    account: String,
    source_before: Failures,
    /// `None` if the attempt does not count for the account.
    account_before: Option<Failures>,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    sources: HashMap<Source, Entry>,
    accounts: HashMap<String, Entry>,
    /// Time of the last login to an account from a source.
    trusted: HashMap<(Source, String), Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: Failures,
    was_told: bool,
}

impl Throttle {
    /// Begins an attempt to log in as `account`, in lower case.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        source: Source,
        account: &str,
    ) -> Result<Attempt, Throttled> {
        let is_trusted = self.is_trusted(now, source, account);
        let of_source = entry(&mut self.sources, now, &SOURCE, source);
        of_source.failures.forgive(now, &SOURCE);
        let source_before = of_source.failures;
        let mut wait = source_before.wait(now);
        let mut was_told = of_source.was_told;
        let of_account = entry(&mut self.accounts, now, &ACCOUNT, account.to_owned());
        of_account.failures.forgive(now, &ACCOUNT);
        let account_before = of_account.failures;
        if wait.is_none() && !is_trusted {
            wait = account_before.wait(now);
            was_told = of_account.was_told;
            of_account.was_told |= wait.is_some();
        } else if wait.is_some() {
            of_source.was_told = true;
        }
        if let Some(wait) = wait {
            let retry_after_s = wait.as_millis().div_ceil(1000).max(1);
            let retry_after_s = u64::try_from(retry_after_s).unwrap_or(u64::MAX);
            return Err(Throttled { retry_after_s, is_first: !was_told });
        }
        of_source.failures.fail(now, &SOURCE);
        of_source.was_told = false;
        // Failures of a trusted source are its owner's own, and do not slow others down.
        if !is_trusted {
            of_account.failures.fail(now, &ACCOUNT);
            of_account.was_told = false;
        }
        let account_before = (!is_trusted).then_some(account_before);
        Ok(Attempt { source, account: account.to_owned(), source_before, account_before })
    }

    /// The password was right: the attempt was no failure, and the source is one that the account
    /// is used from.
    pub(super) fn succeed(&mut self, now: Instant, attempt: Attempt) {
        self.take_back(&attempt);
        let age = |since: &Instant| now.saturating_duration_since(*since).as_secs();
        make_room(&mut self.trusted, age, |_| false);
        self.trusted.insert((attempt.source, attempt.account), now);
    }

    /// Takes back an attempt whose password was not checked: it counts for nothing.
    pub(super) fn abandon(&mut self, attempt: Attempt) {
        self.take_back(&attempt);
    }

    /// Takes one failure back. Other attempts may have begun or ended meanwhile, so that the
    /// earlier numbers cannot simply be put back.
    fn take_back(&mut self, attempt: &Attempt) {
        let entries = [
            (self.sources.get_mut(&attempt.source), Some(attempt.source_before)),
            (self.accounts.get_mut(&attempt.account), attempt.account_before),
        ];
        for (entry, before) in entries {
            let (Some(Entry { failures, .. }), Some(before)) = (entry, before) else { continue };
            failures.count = failures.count.saturating_sub(1);
            if failures.count <= before.count {
                failures.paused_until = before.paused_until;
            }
        }
    }

    fn is_trusted(&self, now: Instant, source: Source, account: &str) -> bool {
        let since = self.trusted.get(&(source, account.to_owned()));
        since.is_some_and(|since| now.saturating_duration_since(*since) < TRUST)
    }
}

/// The entry of `key`, after making room for it.
fn entry<'a, K: Clone + Eq + Hash>(
    table: &'a mut HashMap<K, Entry>,
    now: Instant,
    rule: &Rule,
    key: K,
) -> &'a mut Entry {
    if !table.contains_key(&key) {
        make_room(
            table,
            |entry| u64::from(u32::MAX - entry.failures.count),
            |entry| {
                let mut failures = entry.failures;
                failures.forgive(now, rule);
                failures.count == 0 && failures.wait(now).is_none()
            },
        );
    }
    table.entry(key).or_insert(Entry { failures: Failures::none(now), was_told: false })
}

/// Makes room for one more in a full table. Entries for which `is_over` holds are removed. If there
/// are none, the entry with the highest `age` is removed: it is worth the least.
fn make_room<K: Clone + Eq + Hash, V>(
    table: &mut HashMap<K, V>,
    age: impl Fn(&V) -> u64,
    is_over: impl Fn(&V) -> bool,
) {
    if table.len() < ENTRIES_MAX {
        return;
    }
    table.retain(|_, value| !is_over(value));
    if table.len() >= ENTRIES_MAX {
        let oldest = table.iter().max_by_key(|(_, value)| age(value)).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            table.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A throttle with a clock that is set by hand.
    struct Lab {
        throttle: Throttle,
        now: Instant,
    }

    impl Lab {
        fn new() -> Self {
            Self { throttle: Throttle::default(), now: Instant::now() }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn fail(&mut self, source: &str, account: &str) -> Result<(), u64> {
            let source = Source::of(source.parse().unwrap());
            let begun = self.throttle.begin(self.now, source, account);
            begun.map(drop).map_err(|throttled| throttled.retry_after_s)
        }

        fn succeed(&mut self, source: &str, account: &str) -> Result<(), u64> {
            let source = Source::of(source.parse().unwrap());
            let begun = self.throttle.begin(self.now, source, account);
            let attempt = begun.map_err(|throttled| throttled.retry_after_s)?;
            self.throttle.succeed(self.now, attempt);
            Ok(())
        }
    }

    #[test]
    fn pauses_of_an_account_double_up_to_their_limit() {
        let mut lab = Lab::new();
        let mut pauses = Vec::new();
        for attempt in 0..11 {
            // From everywhere, so that no source is paused.
            let source = format!("192.0.2.{attempt}");
            if let Err(pause) = lab.fail(&source, "alice") {
                pauses.push(pause);
                lab.pass(pause);
                lab.fail(&source, "alice").unwrap();
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30]);
        assert_eq!(lab.fail("198.51.100.1", "bob"), Ok(()), "another account is free");
    }

    #[test]
    fn a_source_that_tries_many_names_is_paused() {
        let mut lab = Lab::new();
        for name in 0..10 {
            assert_eq!(lab.fail("192.0.2.1", &format!("name{name}")), Ok(()));
        }
        assert_eq!(lab.fail("192.0.2.1", "name10"), Err(1));
        assert_eq!(lab.fail("192.0.2.2", "name10"), Ok(()), "another source is free");
        let mut pauses = Vec::new();
        for step in 0..40 {
            if let Err(pause) = lab.fail("192.0.2.1", &format!("other{step}")) {
                pauses.push(pause);
                lab.pass(pause);
            }
        }
        assert!(pauses[..9] == [1, 2, 4, 8, 16, 32, 64, 128, 256], "{pauses:?}");
        // At the longest pause as much is forgiven as is lost: slow, but never locked out.
        assert!(pauses[9..].iter().all(|pause| (256..=900).contains(pause)), "{pauses:?}");
    }

    #[test]
    fn an_attack_on_an_account_does_not_delay_where_it_is_used_from() {
        let mut lab = Lab::new();
        lab.succeed("192.0.2.10", "alice").unwrap();
        for attacker in 0..200 {
            let _ = lab.fail(&format!("198.51.100.{attacker}"), "alice");
        }
        assert!(lab.fail("203.0.113.1", "alice").is_err(), "a new source has to wait");
        assert_eq!(lab.succeed("192.0.2.10", "alice"), Ok(()));
        assert!(lab.fail("192.0.2.10", "bob").is_ok());
        // Its own failures bind it all the same.
        let refused = (0..20).filter(|_| lab.fail("192.0.2.10", "alice").is_err()).count();
        assert!(refused >= 10, "{refused}");
        // And trust ends.
        lab.pass(TRUST.as_secs());
        for attacker in 0..200 {
            let _ = lab.fail(&format!("198.51.100.{attacker}"), "alice");
        }
        assert!(lab.fail("192.0.2.10", "alice").is_err());
    }

    #[test]
    fn failures_from_a_trusted_source_slow_nobody_else_down() {
        let mut lab = Lab::new();
        lab.succeed("192.0.2.10", "alice").unwrap();
        for _ in 0..20 {
            let _ = lab.fail("192.0.2.10", "alice");
        }
        assert_eq!(lab.fail("203.0.113.1", "alice"), Ok(()));
    }

    #[test]
    fn a_success_takes_back_its_own_attempt_only() {
        let mut lab = Lab::new();
        for _ in 0..4 {
            lab.fail("192.0.2.1", "alice").unwrap();
        }
        // The fifth would begin a pause, and is no failure.
        lab.succeed("192.0.2.1", "alice").unwrap();
        lab.succeed("192.0.2.1", "alice").unwrap();
        // From elsewhere four failures are still there.
        assert_eq!(lab.fail("192.0.2.2", "alice"), Ok(()));
        assert_eq!(lab.fail("192.0.2.3", "alice"), Err(1));
    }

    #[test]
    fn many_at_once_count_before_they_end() {
        let mut lab = Lab::new();
        let source = Source::of("192.0.2.1".parse().unwrap());
        let begun: Vec<_> =
            (0..50).filter_map(|_| lab.throttle.begin(lab.now, source, "alice").ok()).collect();
        assert_eq!(begun.len(), ACCOUNT.free as usize);
        for attempt in begun {
            lab.throttle.abandon(attempt);
        }
        assert_eq!(lab.fail("192.0.2.1", "alice"), Ok(()), "all were taken back");
    }

    #[test]
    fn failures_are_forgotten_one_a_minute() {
        let mut lab = Lab::new();
        for _ in 0..5 {
            lab.fail("192.0.2.1", "alice").unwrap();
        }
        assert_eq!(lab.fail("192.0.2.1", "alice"), Err(1));
        lab.pass(5 * 60);
        for _ in 0..5 {
            lab.fail("192.0.2.1", "alice").unwrap();
        }
        assert!(lab.fail("192.0.2.1", "alice").is_err());
    }

    #[test]
    fn only_the_first_refusal_is_news() {
        let mut lab = Lab::new();
        let source = Source::of("192.0.2.1".parse().unwrap());
        for _ in 0..5 {
            lab.fail("192.0.2.1", "alice").unwrap();
        }
        let mut news = || lab.throttle.begin(lab.now, source, "alice").unwrap_err().is_first;
        assert!(news());
        assert!(!news());
        lab.pass(2);
        lab.fail("192.0.2.1", "alice").unwrap();
        assert!(lab.throttle.begin(lab.now, source, "alice").unwrap_err().is_first);
    }

    #[test]
    fn ipv6_is_told_apart_by_its_network() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }

    #[test]
    fn tables_stay_within_their_bounds_and_keep_the_worst() {
        let mut lab = Lab::new();
        for _ in 0..20 {
            let _ = lab.fail("192.0.2.1", "alice");
        }
        for number in 0..ENTRIES_MAX as u32 + 50 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            let _ = lab.fail(&address.to_string(), &format!("name{number}"));
            let _ = lab.succeed(&address.to_string(), &format!("name{number}"));
        }
        let Throttle { sources, accounts, trusted } = &lab.throttle;
        for len in [sources.len(), accounts.len(), trusted.len()] {
            assert_eq!(len, ENTRIES_MAX);
        }
        assert!(lab.fail("192.0.2.1", "alice").is_err(), "the worst is remembered");
    }

    #[test]
    fn hours_of_attack_and_odd_clocks_overflow_nothing() {
        let mut lab = Lab::new();
        let early = lab.now;
        for step in 0..20_000_u64 {
            if let Err(pause) = lab.fail("192.0.2.1", "alice") {
                lab.pass(pause);
            }
            if step % 1000 == 0 {
                lab.pass(10_000_000);
            }
        }
        lab.now = early;
        assert!(lab.fail("192.0.2.1", "alice").is_err());
    }
}
