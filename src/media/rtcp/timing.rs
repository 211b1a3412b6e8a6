//! Times in reports, and the times of reports.

use super::ReportBlock;

const SECOND_NS: u64 = 1_000_000_000;
/// Seconds from the beginning of NTP's era, 1900, to that of Unix.
const UNIX_EPOCH_S: u64 = 2_208_988_800;
/// A longer round trip than a minute is a lie of the peer, or an answer to a report of another run.
const ROUND_TRIP_MAX: i32 = 60 << 16;
/// Times are cut to 1/65536 s when they are written. Three of them can make a short round trip
/// come out negative by so much.
const ROUNDING: i32 = 2;

/// A time in NTP's format: seconds since 1900, with 32 bits behind the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The time so many nanoseconds after the beginning of 1970.
    pub fn of_unix_ns(unix_ns: u64) -> Self {
        let seconds = unix_ns / SECOND_NS + UNIX_EPOCH_S;
        let fraction = ((unix_ns % SECOND_NS) << 32) / SECOND_NS;
        Self(seconds << 32 | fraction)
    }

    /// The 32 bits in its middle, in 1/65536 s, with which reports refer to each other.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// The last sender report that came from a peer. Our next block refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReport {
    /// The time within it.
    pub time: Ntp,
    /// The time when it came, on the monotonic clock.
    pub received_ns: u64,
}

impl LastReport {
    /// Writes the reference into a block that is sent at `now_ns`.
    pub fn refer(&self, now_ns: u64, block: &mut ReportBlock) {
        let delay_ns = now_ns.saturating_sub(self.received_ns);
        let units = (u128::from(delay_ns) << 16) / u128::from(SECOND_NS);
        block.last_sr = self.time.middle();
        block.delay_since_last_sr = u32::try_from(units).unwrap_or(u32::MAX);
    }
}

/// The round-trip time by a block that came at `received` and refers to a sender report of ours
/// (RFC 3550 section 6.4.1). `None` if it refers to none, or to one that cannot have been ours.
pub fn round_trip_ns(received: Ntp, block: &ReportBlock) -> Option<u64> {
    if block.last_sr == 0 {
        return None;
    }
    let since = received.middle().wrapping_sub(block.last_sr);
    let round_trip = since.wrapping_sub(block.delay_since_last_sr) as i32;
    (-ROUNDING..=ROUND_TRIP_MAX)
        .contains(&round_trip)
        .then(|| (u64::from(round_trip.max(0) as u32) * SECOND_NS) >> 16)
}

/// The interval between reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Five seconds on the average and half of it for the first report, each between half and one
    /// and a half of that. These are the rules of RFC 3550 section 6.2 for two participants, whose
    /// share of the bandwidth would allow more. They need no reconsideration, and so no
    /// compensation for it.
    Standard,
    /// So many nanoseconds, at least a millisecond. The first report comes at any time within.
    Fixed(u64),
}

/// Mean time between two reports (RFC 3550 section 6.2).
const STANDARD_NS: u64 = 5 * SECOND_NS;
const FIXED_MIN_NS: u64 = 1_000_000;

/// The times of a stream's reports.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval: Interval,
    next_ns: u64,
}

impl Schedule {
    /// The schedule of a stream that begins at `now_ns`. `random` has 64 random bits, which spread
    /// the streams of a run.
    pub fn new(interval: Interval, now_ns: u64, random: u64) -> Self {
        let first = match interval {
            Interval::Standard => around(STANDARD_NS / 2, random),
            Interval::Fixed(interval_ns) => share(interval_ns.max(FIXED_MIN_NS), random) + 1,
        };
        Self { interval, next_ns: now_ns.saturating_add(first) }
    }

    /// The time of the next report.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Goes on to the report after the one that is sent at `now_ns`. Reports that were due
    /// meanwhile are left out.
    pub fn advance(&mut self, now_ns: u64, random: u64) {
        self.next_ns = match self.interval {
            Interval::Standard => now_ns.saturating_add(around(STANDARD_NS, random)),
            Interval::Fixed(interval_ns) => {
                let interval_ns = interval_ns.max(FIXED_MIN_NS);
                let late_ns = now_ns.saturating_sub(self.next_ns);
                let steps = late_ns / interval_ns + 1;
                self.next_ns.saturating_add(steps.saturating_mul(interval_ns))
            }
        };
    }
}

/// A time between half of `mean_ns` and one and a half of it.
fn around(mean_ns: u64, random: u64) -> u64 {
    mean_ns / 2 + share(mean_ns, random)
}

/// A time from 0 to `whole_ns` without the end.
fn share(whole_ns: u64, random: u64) -> u64 {
    ((u128::from(whole_ns) * u128::from(random)) >> 64) as u64
}
