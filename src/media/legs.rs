//! The media of a worker: its legs, their sockets, and the two doors to the outside.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use gossipper_uring::{RxClass, SocketSpec, TxArena};

use super::border::{Medium, MediumEffect, MediumInput};
use super::command::{Agreed, Command, Event, LegId, LegSpec, Local, MediaFault, Opening, Track};
use super::config::{MediaConfig, Mode};
use super::negotiate::{Peer, Side};
use super::ports::{Order, PortPool};
use super::report::LegReport;
use super::slab::Slab;
use super::stream::Stream;
use crate::gate::Gate;
use crate::sip::Sdp;

const NONE: u32 = u32::MAX;
/// Bits of a [`LegId`] that are the leg's row; the rest tells one use of it from the next.
const ROW_BITS: u32 = 22;
const ROW_MASK: u32 = (1 << ROW_BITS) - 1;

/// The media of one call.
#[derive(Debug)]
struct Leg {
    call: u64,
    /// Tells one use of the row from the next.
    generation: u32,
    is_open: bool,
    is_sent: bool,
    streams: [u32; 2],
    answered_ns: Option<u64>,
}

/// The media of a worker.
#[derive(Debug)]
pub struct Media {
    config: MediaConfig,
    pool: PortPool,
    legs: Slab<Leg>,
    streams: Slab<Stream>,
    /// Legs opened so far; seeds the numbers of each.
    opened: u64,
    events: VecDeque<(u64, Event)>,
    now: u64,
}

impl Media {
    /// The media of a worker, without a leg.
    pub fn new(config: MediaConfig, now: u64) -> Self {
        let legs_max = config.legs_max.min(ROW_MASK as usize);
        let pairs_max = match config.mode {
            Mode::Ports => 2 * legs_max,
            Mode::Shared => 1,
        };
        Self {
            pool: PortPool::new(&config, pairs_max),
            legs: Slab::new(legs_max),
            streams: Slab::new(2 * legs_max),
            opened: 0,
            events: VecDeque::new(),
            now,
            config,
        }
    }

    /// Opens a leg with an audio track, and a video track if the call wants one.
    ///
    /// # Errors
    /// Sockets must be opened first, or there are no more.
    pub fn open(&mut self, spec: LegSpec, now: u64) -> Result<LegId, Opening> {
        self.now = now;
        let audio = self.pool.take(now)?;
        let video = match spec.wants_video {
            false => None,
            true => match self.pool.take(now) {
                Ok(pair) => Some(pair),
                Err(opening) => {
                    self.pool.give_back_unused(audio);
                    return Err(opening);
                }
            },
        };
        let generations = self.opened;
        let make = |_| Leg {
            call: spec.call,
            generation: (generations as u32) & (u32::MAX >> ROW_BITS),
            is_open: true,
            is_sent: spec.is_sent,
            streams: [NONE; 2],
            answered_ns: None,
        };
        let Some(row) = self.legs.insert(make) else {
            for pair in [Some(audio), video].into_iter().flatten() {
                self.pool.give_back_unused(pair);
            }
            return Err(Opening::Exhausted);
        };
        self.opened += 1;
        self.add_stream(row, Track::Audio, audio);
        if let Some(video) = video {
            self.add_stream(row, Track::Video, video);
        }
        Ok(LegId(row | self.legs[row].generation << ROW_BITS))
    }

    fn add_stream(&mut self, row: u32, track: Track, pair: u32) {
        let number = 2 * self.opened + track as u64;
        let worker = (self.config.worker as u64) << 56;
        let ssrc = mix(self.config.seed ^ mix(worker | number)) as u32;
        let echoes = self.config.echo;
        let stream = self.streams.insert(|_| Stream::new(row, track, pair, ssrc, echoes));
        // There are two rows of streams for each leg.
        self.legs[row].streams[track as usize] = stream.unwrap_or(NONE);
    }

    /// The open leg that `leg` means.
    fn row(&self, leg: LegId) -> Option<u32> {
        let row = leg.0 & ROW_MASK;
        let found = self.legs.get(row)?;
        (found.is_open && found.generation == leg.0 >> ROW_BITS).then_some(row)
    }

    fn stream(&self, leg: LegId, track: Track) -> Option<u32> {
        let row = self.row(leg)?;
        Some(self.legs[row].streams[track as usize]).filter(|&stream| stream != NONE)
    }

    /// The facts that our description of a track may advertise; `None` without such a track.
    pub fn local(&self, leg: LegId, track: Track) -> Option<Local> {
        let stream = &self.streams[self.stream(leg, track)?];
        let pair = self.pool.pair(stream.pair);
        Some(Local {
            rtp: SocketAddr::new(self.config.ip, pair.port),
            rtcp: SocketAddr::new(self.config.ip, pair.rtcp_port),
            ssrc: stream.ssrc,
        })
    }

    /// What both descriptions of a track agree on; `None` without a common encoding.
    pub fn agreed(&self, leg: LegId, track: Track) -> Option<Agreed> {
        self.streams[self.stream(leg, track)?].agreement.agreed()
    }

    /// Takes the description that the call sends.
    ///
    /// # Errors
    /// A description that cannot be read. Nothing has changed then.
    pub fn local_description(
        &mut self,
        leg: LegId,
        sdp: &[u8],
        now: u64,
    ) -> Result<(), MediaFault> {
        self.now = now;
        let sdp = Sdp::parse(sdp).map_err(MediaFault::Description)?;
        for track in [Track::Audio, Track::Video] {
            if let Some(stream) = self.stream(leg, track) {
                let ours = Side::read(&sdp, track)?;
                self.streams[stream].describe_ours(ours);
            }
        }
        Ok(())
    }

    /// Takes a description that the call accepts from its peer.
    ///
    /// # Errors
    /// A description that cannot be read, or a target that may not be sent to. The track then sends
    /// nothing.
    pub fn remote_description(
        &mut self,
        leg: LegId,
        sdp: &[u8],
        now: u64,
    ) -> Result<(), MediaFault> {
        self.now = now;
        let sdp = Sdp::parse(sdp).map_err(MediaFault::Description)?;
        for track in [Track::Audio, Track::Video] {
            let Some(stream) = self.stream(leg, track) else { continue };
            let theirs = Peer::read(&sdp, track, self.config.ip)
                .and_then(|peer| self.let_pass(leg, peer, now));
            self.streams[stream].describe_theirs(theirs.unwrap_or_default());
            theirs?;
        }
        Ok(())
    }

    /// Checks the addresses of a peer against the list of targets.
    fn let_pass(&self, leg: LegId, peer: Peer, now: u64) -> Result<Peer, MediaFault> {
        let Some(row) = self.row(leg) else { return Ok(peer) };
        let gate: &Option<Arc<dyn Gate>> = match self.legs[row].is_sent {
            true => &self.config.gate_for_sent,
            false => &self.config.gate,
        };
        let Some(gate) = gate else { return Ok(peer) };
        let unix_ns = now.saturating_add(self.config.wall_offset_ns);
        let targets = [peer.rtp, peer.rtcp];
        match targets.into_iter().flatten().all(|target| gate.lets_pass(target, unix_ns)) {
            true => Ok(peer),
            false => Err(MediaFault::BlockedTarget),
        }
    }

    /// Notes that the call was answered.
    pub fn answered(&mut self, leg: LegId, now: u64) {
        if let Some(row) = self.row(leg) {
            self.legs[row].answered_ns.get_or_insert(now);
        }
    }

    /// Carries out a command of the scenario.
    ///
    /// # Errors
    /// The leg has no such track, or the command cannot be carried out.
    pub fn act(
        &mut self,
        leg: LegId,
        track: Track,
        command: Command,
        now: u64,
    ) -> Result<(), MediaFault> {
        self.now = now;
        let stream = self.stream(leg, track).ok_or(MediaFault::NoTrack)?;
        self.streams[stream].act(command)
    }

    /// Ends a leg. Its sockets go back to the pool.
    pub fn close(&mut self, leg: LegId, now: u64) -> LegReport {
        self.now = now;
        let Some(row) = self.row(leg) else { return LegReport::default() };
        for stream in self.legs[row].streams {
            if stream != NONE {
                self.pool.give_back(self.streams[stream].pair, now);
                self.streams.remove(stream);
            }
        }
        self.legs[row].is_open = false;
        self.legs.remove(row);
        LegReport::default()
    }

    /// Legs that are open.
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    fn spec(&self, local: SocketAddr) -> SocketSpec {
        SocketSpec {
            local,
            remote: None,
            reuse_port: false,
            rx_class: match self.config.mode {
                Mode::Ports => RxClass::Small,
                Mode::Shared => RxClass::Large,
            },
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            device: self.config.device.clone(),
        }
    }
}

impl Medium for Media {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, _: &mut TxArena) {
        self.now = now;
        match input {
            MediumInput::Opened(socket, local) => _ = self.pool.opened(socket, local),
            MediumInput::NotOpened(error) => self.pool.not_opened(&error, now),
            MediumInput::Datagram { .. }
            | MediumInput::SendFailed { .. }
            | MediumInput::Unreachable { .. }
            | MediumInput::Flushed
            | MediumInput::Time { .. } => {}
        }
    }

    fn next_effect(&mut self) -> Option<MediumEffect> {
        if let Some((call, event)) = self.events.pop_front() {
            return Some(MediumEffect::Tell { call, event });
        }
        Some(match self.pool.next_order(self.now)? {
            Order::Open(local) => MediumEffect::Open(self.spec(local)),
            Order::Close(socket) => MediumEffect::Close(socket),
        })
    }

    fn next_deadline_ns(&self) -> u64 {
        u64::MAX
    }
}

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
    /// Those of [`Media::open`].
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
    /// Those of [`Media::local_description`].
    pub fn local_description(&self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        self.0.borrow_mut().local_description(leg, sdp, now)
    }

    /// See [`Media::remote_description`].
    ///
    /// # Errors
    /// Those of [`Media::remote_description`].
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
    /// Those of [`Media::act`].
    pub fn act(
        &self,
        leg: LegId,
        track: Track,
        command: Command,
        now: u64,
    ) -> Result<(), MediaFault> {
        self.0.borrow_mut().act(leg, track, command, now)
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

    fn media(&self) -> Option<MediaHandle> {
        Some(self.clone())
    }
}

/// A number that looks random, by which each stream is different and each run the same (the
/// finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
