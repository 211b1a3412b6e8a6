//! The user of sockets beside SIP on a worker of the simulator: the medium of tests, or the media
//! of calls.

use gossipper::dataplane::{Medium, MediumEffect, MediumInput};
use gossipper::media::MediaHandle;
use gossipper::stats::{MediaCounters, MediaHistograms};
use gossipper_uring::TxArena;

use super::echo::Echo;

/// A medium of either kind.
#[derive(Debug)]
pub enum Beside {
    Echo(Echo),
    Media(MediaHandle),
}

impl Medium for Beside {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        match self {
            Self::Echo(echo) => echo.handle(input, now, tx),
            Self::Media(media) => media.handle(input, now, tx),
        }
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        match self {
            Self::Echo(echo) => echo.next_effect(),
            Self::Media(media) => media.next_effect(),
        }
    }

    fn next_deadline_ns(&self) -> u64 {
        match self {
            Self::Echo(echo) => echo.next_deadline_ns(),
            Self::Media(media) => media.next_deadline_ns(),
        }
    }

    fn count(&self, counters: &mut MediaCounters) {
        if let Self::Media(media) = self {
            media.count(counters);
        }
    }

    fn swap_measured(&mut self, measured: &mut MediaHistograms) {
        if let Self::Media(media) = self {
            media.swap_measured(measured);
        }
    }

    fn media(&self) -> Option<MediaHandle> {
        match self {
            Self::Echo(_) => None,
            Self::Media(media) => Some(media.clone()),
        }
    }
}
