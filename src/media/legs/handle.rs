//! The media of a worker, as worker and engine hold it.

use std::cell::RefCell;
use std::rc::Rc;

use gossipper_uring::TxArena;

use super::super::border::{Medium, MediumEffect, MediumInput};
use super::super::command::{Agreed, Command, LegId, LegSpec, Local, MediaFault, Opening, Track};
use super::super::config::MediaConfig;
use super::super::report::LegReport;
use super::{Media, SeenReport};
use crate::stats::{MediaCounters, MediaHistograms};

/// The media of a worker, as worker and engine hold it: one handle each, on one thread.
#[derive(Clone, Debug)]
pub struct MediaHandle(Rc<RefCell<Media>>);

impl MediaHandle {
    /// The media of a worker, without a leg.
    pub fn new(config: MediaConfig, now: u64) -> Self {
        Self(Rc::new(RefCell::new(Media::new(config, now))))
    }

    /// Calls `with` with the media.
    pub fn with<T>(&self, with: impl FnOnce(&mut Media) -> T) -> T {
        with(&mut self.0.borrow_mut())
    }

    /// See [`Media::open`].
    ///
    /// # Errors
    /// The errors of [`Media::open`].
    pub fn open(&self, spec: LegSpec, now: u64) -> Result<LegId, Opening> {
        self.0.borrow_mut().open(spec, now)
    }

    /// See [`Media::local`].
    pub fn local(&self, leg: LegId, track: Track) -> Option<Local> {
        self.0.borrow().local(leg, track)
    }

    /// See [`Media::agreed`].
    pub fn agreed(&self, leg: LegId, track: Track) -> Option<Agreed> {
        self.0.borrow().agreed(leg, track)
    }

    /// See [`Media::local_description`].
    ///
    /// # Errors
    /// The errors of [`Media::local_description`].
    pub fn local_description(&self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        self.0.borrow_mut().local_description(leg, sdp, now)
    }

    /// See [`Media::remote_description`].
    ///
    /// # Errors
    /// The errors of [`Media::remote_description`].
    pub fn remote_description(&self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        self.0.borrow_mut().remote_description(leg, sdp, now)
    }

    /// See [`Media::answered`].
    pub fn answered(&self, leg: LegId, now: u64) {
        self.0.borrow_mut().answered(leg, now);
    }

    /// See [`Media::act`].
    ///
    /// # Errors
    /// The errors of [`Media::act`].
    pub fn act(
        &self,
        leg: LegId,
        track: Track,
        command: Command,
        now: u64,
    ) -> Result<(), MediaFault> {
        self.0.borrow_mut().act(leg, track, command, now)
    }

    /// See [`Media::log_keys`].
    pub fn log_keys(&self, leg: LegId, track: Track, call_id: &str, out: &mut String) {
        self.0.borrow_mut().log_keys(leg, track, call_id, out);
    }

    /// See [`Media::report`].
    pub fn report(&self, leg: LegId, now: u64) -> LegReport {
        self.0.borrow().report(leg, now)
    }

    /// See [`Media::monitor_reports`].
    pub fn monitor_reports(&self, is_on: bool) {
        self.0.borrow_mut().monitor_reports(is_on);
    }

    /// See [`Media::take_reports`].
    pub fn take_reports(&self, with: impl FnMut(SeenReport<'_>)) -> u64 {
        self.0.borrow_mut().take_reports(with)
    }

    /// See [`Media::close`].
    pub fn close(&self, leg: LegId, now: u64) -> LegReport {
        self.0.borrow_mut().close(leg, now)
    }
}

impl Medium for MediaHandle {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        self.0.borrow_mut().handle(input, now, tx);
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        self.0.borrow_mut().next_effect()
    }

    fn next_deadline_ns(&self) -> u64 {
        self.0.borrow().next_deadline_ns()
    }

    fn count(&self, counters: &mut MediaCounters) {
        self.0.borrow().count(counters);
    }

    fn swap_measured(&mut self, measured: &mut MediaHistograms) {
        self.0.borrow_mut().swap_measured(measured);
    }

    fn media(&self) -> Option<MediaHandle> {
        Some(self.clone())
    }
}
