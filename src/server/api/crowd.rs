//! Requests that are open at once, counted by client behind a proxy. The proxy's connections are
//! those of many clients, so that `server/places.rs` cannot tell these apart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::server::auth::Source;

/// Requests of one source at once, live WebSockets included.
const OF_A_SOURCE: usize = 64;

/// The number of open requests of each source.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<HashMap<Source, usize>>);

/// One open request, held until it is answered.
#[derive(Debug)]
pub(crate) struct Turn {
    crowd: Arc<Crowd>,
    source: Source,
}

impl Crowd {
    /// Counts one more request; `None` if `address` has as many as one source may have.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Turn> {
        let source = Source::of(address);
        let mut open = self.lock();
        let count = open.entry(source).or_default();
        if *count >= OF_A_SOURCE {
            return None;
        }
        *count += 1;
        Some(Turn { crowd: Arc::clone(self), source })
    }

    /// Locks the counts, also after a panic: each change of them is one step.
    fn lock(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.crowd.lock();
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_share() {
        let crowd = Arc::new(Crowd::default());
        let enter = |text: &str| crowd.enter(text.parse().unwrap());
        let turns: Vec<Turn> = (0..OF_A_SOURCE).map_while(|_| enter("192.0.2.1")).collect();
        assert_eq!(turns.len(), OF_A_SOURCE);
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(turns);
        assert!(enter("192.0.2.1").is_some());
        assert!(crowd.lock().is_empty(), "nothing is left of those who went");
    }
}
