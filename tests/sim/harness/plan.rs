//! Whole runs, drawn from a seed: callers and answerers, their rates, the network, and the faults
//! with their times.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::Arrivals;
use gossipper::engine::pacing::RatePlan;
use gossipper::stats::{Counters, FailureCause};
use gossipper_uring::SimConfig;
use gossipper_uring::sim::Random;

use super::log::{Mutant, Rules};
use super::scenarios::{PAIRS, Pair};
use super::side::{SideOptions, rate};
use super::{MS, SECOND, World};

/// A change of the caller in mid-run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deed {
    Tell(WorkerRequest),
    /// Takes the processor from its workers for this time, in virtual nanoseconds.
    Stall(u64),
}

/// A run that is drawn from a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub pair: usize,
    pub network: SimConfig,
    pub caller_workers: usize,
    pub callee_workers: usize,
    pub caller_shares_port: bool,
    pub caller_sockets: Option<usize>,
    pub calls_total: u64,
    pub concurrent_max: Option<u64>,
    pub caller_pool: usize,
    pub callee_pool: usize,
    pub tx_slots: [usize; 2],
    pub arrivals: Arrivals,
    pub pause_ms: u64,
    pub recv_timeout_ms: u64,
    pub lost_percent: f64,
    pub grain_ns: u64,
    pub collect_ns: u64,
    /// Changes with their times, in milliseconds.
    pub deeds: Vec<(u64, Deed)>,
}

/// The result of a run.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "`make sim SEED=n` prints all of it")]
pub struct Outcome {
    pub caller: Counters,
    pub callee: Counters,
    pub datagrams: usize,
    pub turns: u64,
    pub virtual_ms: u64,
    pub transcript: u64,
}

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut below = |bound: u64| random.below(bound);
        let one_in = |n: u64, below: &mut dyn FnMut(u64) -> u64| below(n) == 0;
        let delay_ns_min = below(20) * MS;
        let mut network = SimConfig {
            delay_ns_min,
            delay_ns_max: delay_ns_min,
            unreachable: below(2) == 0,
            ..SimConfig::default()
        };
        // A third of the runs is free of faults: there everything must succeed.
        let faulty = below(3) != 0;
        if faulty {
            network.delay_ns_max += below(4) * 30 * MS;
            network.reorder = below(2) == 0;
            network.loss_ppm = [0, 10_000, 50_000, 200_000, 500_000][below(5) as usize];
            network.duplicate_ppm = [0, 0, 20_000, 300_000][below(4) as usize];
            network.no_buffer_ppm = [0, 0, 10_000, 100_000][below(4) as usize];
            network.receive_queue_max = [4096, 4096, 8, 2][below(4) as usize];
        }
        let calls_total = 1 + below(120);
        let per_second = [1.0, 7.0, 50.0, 400.0, 3000.0][below(5) as usize];
        let arrivals = match below(6) {
            0 => Arrivals::Users(3 + below(30)),
            1 => Arrivals::Open(RatePlan {
                rate: per_second,
                period_ns: SECOND,
                increase: per_second / 2.0,
                interval_ns: SECOND / 2,
                rate_max: per_second * 3.0,
                quit_at_max: below(2) == 0,
            }),
            _ => rate(per_second),
        };
        let mut deeds = Vec::new();
        if one_in(3, &mut below) {
            for _ in 0..1 + below(3) {
                let at_ms = below(6000);
                let deed = match below(8) {
                    0 | 1 => Deed::Tell(WorkerRequest::SetRate((1 + below(500)) as f64)),
                    2 => Deed::Tell(WorkerRequest::SetPaused(true)),
                    3 => Deed::Tell(WorkerRequest::StopNewCalls),
                    4 => Deed::Tell(WorkerRequest::CancelCalls),
                    5 if one_in(3, &mut below) => Deed::Tell(WorkerRequest::StopNow),
                    _ => Deed::Stall((1 + below(3000)) * MS),
                };
                deeds.push((at_ms, deed));
                if deed == Deed::Tell(WorkerRequest::SetPaused(true)) {
                    deeds.push((at_ms + below(4000), Deed::Tell(WorkerRequest::SetPaused(false))));
                }
            }
            deeds.sort_by_key(|&(at_ms, _)| at_ms);
        }
        let small = [70, 90, 200, 512];
        let tiny_pools = faulty && below(3) == 0;
        let pool = if tiny_pools { 1 + below(40) as usize } else { 128 };
        let caller_workers = 1 + below(3) as usize;
        Self {
            seed,
            pair: below(PAIRS.len() as u64) as usize,
            network,
            caller_workers,
            callee_workers: 1 + below(3) as usize,
            caller_shares_port: below(2) == 0,
            caller_sockets: (below(4) == 0).then(|| 1 + below(60) as usize),
            calls_total,
            concurrent_max: (below(4) == 0).then(|| caller_workers as u64 + below(40)),
            caller_pool: if tiny_pools { 1 + below(40) as usize } else { 128 },
            callee_pool: pool,
            tx_slots: [small[below(4) as usize], small[below(4) as usize]],
            arrivals,
            pause_ms: [0, 0, 50, 2500][below(4) as usize],
            recv_timeout_ms: if faulty { 40_000 } else { 0 },
            lost_percent: if faulty && below(6) == 0 { 5.0 } else { 0.0 },
            grain_ns: [0, 250_000][below(2) as usize],
            collect_ns: [SECOND, 20 * SECOND][below(2) as usize],
            deeds,
        }
    }

    pub fn pair(&self) -> &'static Pair {
        &PAIRS[self.pair]
    }

    fn is_cut_short(&self) -> bool {
        self.deeds.iter().any(|(_, deed)| *deed == Deed::Tell(WorkerRequest::StopNow))
    }

    fn is_cancelled(&self) -> bool {
        self.deeds.iter().any(|(_, deed)| *deed == Deed::Tell(WorkerRequest::CancelCalls))
    }

    fn stalls(&self) -> bool {
        self.deeds.iter().any(|(_, deed)| matches!(deed, Deed::Stall(_)))
    }

    /// Tells whether the run has no faults.
    pub fn is_perfect(&self) -> bool {
        let network = &self.network;
        network.loss_ppm == 0
            && network.duplicate_ppm == 0
            && network.no_buffer_ppm == 0
            && network.receive_queue_max >= 4096
            && network.delay_ns_max == network.delay_ns_min
            && self.lost_percent == 0.0
            && self.caller_pool >= 128
            && self.callee_pool >= 128
            && !self.is_cut_short()
            && !self.stalls()
    }

    fn sides(&self) -> [SideOptions; 2] {
        let mut caller = SideOptions::new((self.pair().caller)());
        let mut callee = SideOptions::new((self.pair().callee)());
        caller.workers = self.caller_workers;
        callee.workers = self.callee_workers;
        caller.share_port = self.caller_shares_port;
        callee.share_port = true;
        caller.per_call_sockets = self.caller_sockets;
        caller.driver.tx_small_slots = self.tx_slots[0];
        callee.driver.tx_small_slots = self.tx_slots[1];
        for side in [&mut caller, &mut callee] {
            side.grain_ns = self.grain_ns;
            side.collect_ns = self.collect_ns;
            side.engine.seed = self.seed;
            side.engine.rules.pause_ms = self.pause_ms;
            side.engine.rules.recv_timeout_ms = self.recv_timeout_ms;
            side.engine.rules.lost_percent = self.lost_percent;
        }
        // Both draw their ids from the seed; the run nonce must differ.
        callee.engine.seed = !self.seed;
        caller.engine.calls_total = Some(self.calls_total);
        caller.engine.concurrent_max = self.concurrent_max;
        caller.engine.pool_calls = self.caller_pool;
        caller.engine.arrivals = self.arrivals;
        callee.engine.pool_calls = self.callee_pool;
        [caller, callee]
    }

    /// Plays the run and checks it. `mutant` spoils the record before it is checked.
    pub fn play(&self, mutant: Option<Spoil>) -> Result<Outcome, String> {
        let mut world = World::new(self.seed, self.network.clone());
        let played = catch_unwind(AssertUnwindSafe(|| self.play_in(&mut world, mutant)));
        let problem = match played {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(problem)) => problem,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                format!("panic: {}", text.unwrap_or("of an unknown kind"))
            }
        };
        Err(format!(
            "{problem}\nat {} ms of virtual time\n{self}last datagrams:\n{}\n\
             repeat with: make sim SEED={}\n",
            world.ms(),
            world.log.tail(50),
            self.seed
        ))
    }

    fn play_in(&self, world: &mut World, mutant: Option<Spoil>) -> Result<Outcome, String> {
        let [caller, callee] = self.sides();
        let callee = world.add(&callee);
        let caller = world.add(&caller);
        let begin = world.start_ns;
        // Merging takes longer than the calls, so only some runs do it.
        if self.seed.is_multiple_of(4) {
            for side in [caller, callee] {
                world.sides[side].aggregate(begin);
            }
        }
        for &(at_ms, deed) in &self.deeds {
            world.run_until(begin + at_ms * MS, |world| world.is_finished(caller))?;
            if world.is_finished(caller) {
                break;
            }
            match deed {
                Deed::Tell(command) => world.request(caller, command),
                Deed::Stall(length_ns) => {
                    let until_ns = world.net.now() + length_ns;
                    world.sides[caller].stall(until_ns);
                }
            }
        }
        let limit_ns = world.net.now() + self.longest_ns();
        world.run_until(limit_ns, |world| world.is_finished(caller))?;
        if !world.is_finished(caller) {
            let (active, lingering) =
                (world.sides[caller].active(), world.sides[caller].lingering());
            return Err(format!(
                "{active} calls are open and {lingering} linger after the last moment"
            ));
        }
        world.request(callee, WorkerRequest::StopNewCalls);
        // A callee that heard the caller's last message waits for 64 * T1, or its receive times
        // out.
        let drain_ns = (45 * SECOND).max(self.longest_call_ns());
        let limit_ns = world.net.now() + drain_ns;
        world.run_until(limit_ns, |world| world.is_finished(callee))?;
        if !world.is_finished(callee) {
            if self.is_perfect() && !self.is_cancelled() {
                return Err(format!("{} calls hang at the callee", world.sides[callee].active()));
            }
            world.request(callee, WorkerRequest::CancelCalls);
            let limit_ns = world.net.now() + 40 * SECOND;
            world.run_until(limit_ns, |world| world.is_finished(callee))?;
        }
        if !world.is_finished(callee) {
            return Err("the callee does not end".to_owned());
        }
        match mutant {
            Some(Spoil::Record(mutant)) if !world.log.mutate(mutant) => {
                return Err("nothing to spoil".to_owned());
            }
            Some(Spoil::LoseACall) => world.sides[caller].lose_a_counted_call(),
            _ => {}
        }
        self.check(world, caller, callee)
    }

    /// The longest that a call may take, from its INVITE to its end.
    fn longest_call_ns(&self) -> u64 {
        // Each transaction may need 64 * T1 and each wait its timeout.
        let scenario = self.pair().length_ms + self.pause_ms;
        (scenario + if self.is_perfect() { 0 } else { 4 * 40_000 }) * MS
    }

    fn longest_ns(&self) -> u64 {
        let calls = self.calls_total as f64;
        // The ramp and rate changes only make it faster, except to 1 per second.
        let pacing_s = match self.arrivals {
            Arrivals::Open(plan) => {
                let changes = self.deeds.iter().filter_map(|(_, deed)| match deed {
                    Deed::Tell(WorkerRequest::SetRate(rate)) => Some(*rate),
                    _ => None,
                });
                // A limit withholds arrivals without end; they come at this rate.
                calls / changes.fold(plan.rate, f64::min)
            }
            Arrivals::Users(users) => calls / users as f64 * self.longest_call_ns() as f64 / 1e9,
            Arrivals::Server => 0.0,
        };
        let limited = self.concurrent_max.unwrap_or(u64::MAX).min(self.caller_pool as u64);
        let rounds = calls / limited as f64 + 2.0;
        let total_s = pacing_s * 2.0 + (rounds + 2.0) * self.longest_call_ns() as f64 / 1e9;
        (total_s * 1e9) as u64 + 64 * SECOND
    }

    fn check(&self, world: &mut World, caller: usize, callee: usize) -> Result<Outcome, String> {
        world.sides[caller].check_end(self.is_cut_short())?;
        world.sides[callee].check_end(false)?;
        let (ours, theirs) = (world.sides[caller].reported(), world.sides[callee].reported());
        let stopped = self.deeds.iter().any(|(_, deed)| match deed {
            Deed::Tell(command) => {
                matches!(
                    command,
                    WorkerRequest::StopNewCalls
                        | WorkerRequest::CancelCalls
                        | WorkerRequest::StopNow
                )
            }
            Deed::Stall(_) => false,
        });
        let quits = matches!(self.arrivals, Arrivals::Open(plan) if plan.increase > 0.0 && plan.quit_at_max);
        if ours.calls_started() != self.calls_total && !stopped && !quits {
            return Err(format!("{} of {} calls", ours.calls_started(), self.calls_total));
        }
        if ours.calls_started() > self.calls_total {
            return Err(format!(
                "{} calls, but only {} asked",
                ours.calls_started(),
                self.calls_total
            ));
        }
        if let Some(limit) = self.concurrent_max
            && world.sides[caller].peak_active > limit
        {
            return Err(format!(
                "{} calls at once, limit {limit}",
                world.sides[caller].peak_active
            ));
        }
        for (who, counters) in [("caller", &ours), ("callee", &theirs)] {
            for (cause, count) in counters.failures.nonzero() {
                if !self.allows(cause) {
                    return Err(format!("{who}: {count} calls failed by {}", cause.label()));
                }
            }
            if counters.parse_errors > 0 {
                return Err(format!("{who}: {} parse errors", counters.parse_errors));
            }
            if counters.handover_dropped > 0 {
                return Err(format!("{who}: {} hand-overs dropped", counters.handover_dropped));
            }
        }
        let perfect = self.is_perfect();
        if perfect && !self.is_cancelled() {
            let repeated = ours.retransmissions_sent + theirs.retransmissions_sent;
            let late = ours.dead_call_messages + theirs.dead_call_messages;
            let strange = ours.out_of_call_messages + theirs.out_of_call_messages;
            if repeated + late + strange > 0 {
                return Err(format!(
                    "{repeated} repeated, {late} late, {strange} strange messages"
                ));
            }
            if theirs.calls_succeeded != ours.calls_succeeded {
                let (ours, theirs) = (ours.calls_succeeded, theirs.calls_succeeded);
                return Err(format!("{ours} calls succeeded here and {theirs} there"));
            }
        }
        world.log.check(Rules {
            gaps: self.network.no_buffer_ppm > 0
                || self.lost_percent > 0.0
                || self.tx_slots.iter().any(|&slots| slots < 200),
            perfect: perfect && !self.is_cancelled(),
            stalls: self.stalls(),
            ends_dialogs: !self.is_cut_short(),
        })?;
        Ok(Outcome {
            caller: ours,
            callee: theirs,
            datagrams: world.log.len(),
            turns: world.turns,
            virtual_ms: world.ms(),
            transcript: world.log.hash(),
        })
    }

    /// Tells whether calls of this run may fail for that cause.
    fn allows(&self, cause: FailureCause) -> bool {
        let perfect = self.is_perfect();
        match cause {
            FailureCause::Cancelled => self.is_cancelled() || !perfect,
            FailureCause::RecvTimeout | FailureCause::SendTimeout => !perfect,
            // A call that is cancelled before any response leaves its INVITE to itself.
            FailureCause::MaxUdpRetrans => !perfect || self.is_cancelled(),
            // A 503 for want of room, a message out of order, a CANCEL.
            FailureCause::UnexpectedMessage => !perfect || self.is_cancelled(),
            FailureCause::PeerHangup => !perfect || self.is_cancelled(),
            FailureCause::IcmpUnreachable => !perfect || self.is_cancelled(),
            // An ACK that was lost or late, and came when the next INVITE was under way.
            FailureCause::AckCseqMismatch => !perfect && self.pair().name.starts_with("refused"),
            _ => false,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at commit {}: {}", self.seed, commit(), self.pair().name)?;
        writeln!(f, "{self:#?}")
    }
}

/// The part of a run that a canary test spoils.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    Record(Mutant),
    LoseACall,
}

/// The commit that is tested, if git can tell.
fn commit() -> String {
    let output = std::process::Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
