//! The media of a worker, as worker and engine hold it.

use std::cell::RefCell;
use std::rc::Rc;

use gossipper_uring::TxArena;

use super::super::border::{Medium, MediumEffect, MediumInput};
use super::super::command::{Agreed, Command, LegId, LegSpec, Local, MediaFault, Opening, Track};
use super::super::config::MediaConfig;
use super::super::dtls::Role;
use super::super::report::LegReport;
use super::{Media, SeenReport};
use crate::stats::{MediaCounters, MediaHistograms};

/// The media of a worker, as worker and engine hold it: one handle each, on one thread.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    media: Rc<RefCell<Media>>,
    has_packets: bool,
}

impl MediaHandle {
    /// The media of a worker, without a leg.
    pub fn new(config: MediaConfig, now: u64) -> Self {
        let media = Media::new(config, now);
        let has_packets = media.has_packets();
        Self { media: Rc::new(RefCell::new(media)), has_packets }
    }

    /// Tells whether calls may have recordings of their packets.
    pub fn has_packets(&self) -> bool {
        self.has_packets
    }

    /// Calls `with` with the media.
    pub fn with<T>(&self, with: impl FnOnce(&mut Media) -> T) -> T {
        with(&mut self.media.borrow_mut())
    }

    /// See [`Media::open`].
    ///
    /// # Errors
    /// The errors of [`Media::open`].
    pub fn open(&self, spec: LegSpec, now: u64) -> Result<LegId, Opening> {
        self.media.borrow_mut().open(spec, now)
    }

    /// See [`Media::local`].
    pub fn local(&self, leg: LegId, track: Track) -> Option<Local> {
        self.media.borrow().local(leg, track)
    }

    /// See [`Media::agreed`].
    pub fn agreed(&self, leg: LegId, track: Track) -> Option<Agreed> {
        self.media.borrow().agreed(leg, track)
    }

    /// See [`Media::local_description`].
    ///
    /// # Errors
    /// The errors of [`Media::local_description`].
    pub fn local_description(&self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        self.media.borrow_mut().local_description(leg, sdp, now)
    }

    /// See [`Media::remote_description`].
    ///
    /// # Errors
    /// The errors of [`Media::remote_description`].
    pub fn remote_description(&self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        self.media.borrow_mut().remote_description(leg, sdp, now)
    }

    /// See [`Media::answered`].
    pub fn answered(&self, leg: LegId, now: u64) {
        self.media.borrow_mut().answered(leg, now);
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
        self.media.borrow_mut().act(leg, track, command, now)
    }

    /// See [`Media::role`].
    pub fn role(&self, leg: LegId, track: Track) -> Option<Role> {
        self.media.borrow().role(leg, track)
    }

    /// See [`Media::log_keys`].
    pub fn log_keys(&self, leg: LegId, track: Track, call_id: &str, out: &mut String) {
        self.media.borrow_mut().log_keys(leg, track, call_id, out);
    }

    /// See [`Media::report`].
    pub fn report(&self, leg: LegId, now: u64) -> LegReport {
        self.media.borrow().report(leg, now)
    }

    /// See [`Media::note_failed`].
    pub fn note_failed(&self, leg: LegId) {
        self.media.borrow_mut().note_failed(leg);
    }

    /// See [`Media::monitor_reports`].
    pub fn monitor_reports(&self, is_on: bool) {
        self.media.borrow_mut().monitor_reports(is_on);
    }

    /// See [`Media::take_reports`].
    pub fn take_reports(&self, with: impl FnMut(SeenReport<'_>)) -> u64 {
        self.media.borrow_mut().take_reports(with)
    }

    /// See [`Media::close`].
    pub fn close(&self, leg: LegId, now: u64) -> LegReport {
        self.media.borrow_mut().close(leg, now)
    }
}

impl Medium for MediaHandle {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        self.media.borrow_mut().handle(input, now, tx);
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        self.media.borrow_mut().next_effect()
    }

    fn next_deadline_ns(&self) -> u64 {
        self.media.borrow().next_deadline_ns()
    }

    fn count(&self, counters: &mut MediaCounters) {
        self.media.borrow().count(counters);
    }

    fn hand_on_copies(&mut self, push: &mut dyn FnMut(&[u8]) -> bool) {
        self.media.borrow_mut().hand_on_copies(push);
    }

    fn swap_measured(&mut self, measured: &mut MediaHistograms) {
        self.media.borrow_mut().swap_measured(measured);
    }

    fn media(&self) -> Option<MediaHandle> {
        Some(self.clone())
    }
}
