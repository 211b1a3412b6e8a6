//! The targets that clients of the API may call: the list, the shares of it that runs hold, and the
//! part that a run sees.
//!
//! An address is judged where it is used: names are looked up once, and the resulting address is
//! judged and kept. This module reads no clock; times are arguments, in nanoseconds since 1970 UTC.

mod expiry;
mod hold;
mod list;
mod network;

pub use expiry::parse_expiry;
pub use hold::{Hold, Load, Targets};
pub use list::{Bound, Expiry, Refusal, TargetEntry, TargetList};
pub use network::{AddressClass, Network, PortRange};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The reach that a run may have. A run at a terminal has no limits, and neither have addresses in
/// the configuration.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    targets: Option<Arc<Targets>>,
    /// True if all addresses that the run itself names are judged, not only those of scenarios that
    /// are sent to it.
    is_judged: bool,
    is_hep_judged: bool,
    are_events_judged: bool,
    has_refused: Arc<AtomicBool>,
}

impl Reach {
    /// The reach of a run from the configuration: only scenarios that are sent to it over the API
    /// are judged.
    pub fn of_configured(targets: &Arc<Targets>) -> Self {
        Self { targets: Some(Arc::clone(targets)), ..Self::default() }
    }

    /// The reach of a run that a client of the API requested.
    pub fn of_client(targets: &Arc<Targets>, own_hep: bool, own_events: bool) -> Self {
        Self {
            is_judged: true,
            is_hep_judged: own_hep,
            are_events_judged: own_events,
            ..Self::of_configured(targets)
        }
    }

    /// The list for the addresses that the run itself names.
    pub fn for_run(&self) -> Option<&Arc<Targets>> {
        self.targets.as_ref().filter(|_| self.is_judged)
    }

    /// The list for its collector of messages, unless the administrator configured that.
    pub fn for_hep(&self) -> Option<&Arc<Targets>> {
        self.targets.as_ref().filter(|_| self.is_hep_judged)
    }

    /// The list for its collector of events, unless the administrator configured that.
    pub fn for_events(&self) -> Option<&Arc<Targets>> {
        self.targets.as_ref().filter(|_| self.are_events_judged)
    }

    /// The list for scenarios that are sent to it.
    pub fn for_sent(&self) -> Option<&Arc<Targets>> {
        self.targets.as_ref()
    }

    /// The list for a scenario of the run; `is_sent` is true if it came over the API.
    pub fn for_scenario(&self, is_sent: bool) -> Option<&Arc<Targets>> {
        if is_sent { self.for_sent() } else { self.for_run() }
    }

    /// Notes that an address was refused.
    pub fn note_refusal(&self) {
        self.has_refused.store(true, Ordering::Relaxed);
    }

    /// Tells whether an address was refused.
    pub fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }
}

impl PartialEq for Reach {
    /// Compares the rules; earlier refusals make no difference.
    fn eq(&self, other: &Self) -> bool {
        let list = |reach: &Self| reach.targets.as_ref().map(Arc::as_ptr);
        list(self) == list(other)
            && self.is_judged == other.is_judged
            && self.is_hep_judged == other.is_hep_judged
            && self.are_events_judged == other.are_events_judged
    }
}
