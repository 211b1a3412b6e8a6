//! A world in one thread: the product's workers on a simulated network, with a virtual clock that
//! jumps to the next event.
//!
//! Nothing here knows what a run is about. `plan` draws whole runs from a seed, `rig` plays one
//! side against a script, `log` watches the wire. A worker does only the product's own code, called
//! through `Worker::turn`; the harness holds the queues and the clock.

pub mod beside;
pub mod carrier;
pub mod echo;
pub mod log;
pub mod operations;
pub mod pair;
pub mod plan;
pub mod rig;
pub mod scenarios;
pub mod side;

use std::net::SocketAddr;

use gossipper::dataplane::WorkerRequest;
use gossipper_uring::{RxClass, SimConfig, SimNet, SocketSpec};

use log::Log;
use side::{Side, SideOptions};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// Turns that may happen without the clock moving, before the run counts as hung.
const TURNS_PER_INSTANT_MAX: usize = 20_000;

/// An unconnected socket at `local` with buffers of the kernel's size, as one of RTP.
pub fn plain_socket(local: SocketAddr) -> SocketSpec {
    SocketSpec {
        local,
        remote: None,
        reuse_port: false,
        rx_class: RxClass::Small,
        receive_buffer_bytes: 0,
        send_buffer_bytes: 0,
        device: None,
    }
}

/// The network, all sides on it, and the record of their messages.
pub struct World {
    pub net: SimNet,
    pub log: Log,
    pub sides: Vec<Side>,
    pub start_ns: u64,
    pub turns: u64,
    /// Engines are checked after every so many turns; more than one only where many calls make the
    /// check dear.
    pub check_every: u64,
}

impl World {
    pub fn new(seed: u64, config: SimConfig) -> Self {
        let net = SimNet::new(seed, config);
        let log = Log::default();
        net.set_tap(log.tap());
        let start_ns = net.now();
        Self { net, log, sides: Vec::new(), start_ns, turns: 0, check_every: 1 }
    }

    /// Adds a side whose run begins now; returns its index.
    pub fn add(&mut self, options: &SideOptions) -> usize {
        self.sides.push(Side::new(&self.net, options));
        self.sides.len() - 1
    }

    pub fn request(&mut self, side: usize, request: WorkerRequest) {
        self.sides[side].request(request);
    }

    /// Virtual milliseconds since the start.
    pub fn ms(&self) -> u64 {
        (self.net.now() - self.start_ns) / MS
    }

    /// Lets all sides do the work that is due now, until none is left. Checks every worker after
    /// each of its turns.
    pub fn settle(&mut self) -> Result<(), String> {
        let now = self.net.now();
        self.net.advance_to(now);
        for _ in 0..TURNS_PER_INSTANT_MAX {
            let mut quiet = true;
            for side in &mut self.sides {
                let turned = side.turn_due(now, self.check_every)?;
                self.turns += turned;
                quiet &= turned == 0;
            }
            if quiet {
                return Ok(());
            }
        }
        Err(format!("{} ms: somebody is always busy and the clock stands still", self.ms()))
    }

    /// Time of the next event, if there is one.
    pub fn next_event_ns(&self) -> Option<u64> {
        let sides = self.sides.iter().filter_map(Side::next_deadline_ns);
        sides.chain(self.net.next_delivery()).min().map(|time| time.max(self.net.now()))
    }

    /// Runs until `until_ns`, or until `stop` returns true after some instant.
    pub fn run_until(
        &mut self,
        until_ns: u64,
        mut stop: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), String> {
        loop {
            self.settle()?;
            if stop(self) || self.net.now() >= until_ns {
                return Ok(());
            }
            let next = self.next_event_ns().unwrap_or(u64::MAX).min(until_ns);
            // Work that is due at once but was left is due in the next nanosecond.
            let next = if next <= self.net.now() { self.net.now() + 1 } else { next };
            self.net.advance_to(next);
        }
    }

    pub fn is_finished(&self, side: usize) -> bool {
        self.sides[side].is_finished()
    }
}
