//! The budget of wakes of a worker.

/// The budget of a worker's wakes. Each wake costs a few microseconds that a call could use better,
/// so beyond one per grain on average (with some in reserve, so that a single call is never held
/// up) events gather until the next grain. A call then starts in the grain nearest to its time,
/// which is measured like any lateness; durations do not suffer, as the kernel stamps what it
/// receives.
#[derive(Debug)]
pub(super) struct WakeBudget {
    grain_ns: u64,
    /// Time at which the budget allows the next wake (the generic cell rate algorithm's arrival
    /// time).
    due_ns: u64,
}

impl WakeBudget {
    /// Wakes in reserve: enough for some calls.
    const BURST: u64 = 32;

    pub(super) fn new(grain_ns: u64) -> Self {
        Self { grain_ns, due_ns: 0 }
    }

    /// Counts a wake.
    pub(super) fn note(&mut self, now: u64) {
        let earliest = now.saturating_sub(Self::BURST * self.grain_ns);
        let due_ns = self.due_ns.max(earliest) + self.grain_ns;
        // Wakes that could not be delayed leave no debt: the next wake is at most one grain away.
        self.due_ns = due_ns.min(now + self.grain_ns);
    }

    /// The time by which a call may start early. It is half a grain while turns are a grain apart,
    /// which halves the error of starts. It is 0 while the budget lets a worker wake when a call is
    /// due.
    pub(super) fn lead_ns(&self, now: u64) -> u64 {
        if self.due_ns > now { self.grain_ns / 2 } else { 0 }
    }

    /// The time until which events should gather; a time in the past means no gathering.
    pub(super) fn gather_until_ns(&self) -> u64 {
        if self.grain_ns == 0 { 0 } else { self.due_ns }
    }
}
