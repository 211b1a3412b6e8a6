//! The media of a worker: its legs, and what calls ask of them.
//!
//! `receive` takes what comes, `send` sends what is due, `ending` is for the end of a run, and
//! `handle` is the way for two holders.

mod ending;
mod handle;
mod handshake;
mod ice;
mod monitor;
mod protect;
mod receive;
mod record;
mod relay;
mod send;

use std::collections::VecDeque;
use std::net::SocketAddr;

use gossipper_uring::{RxClass, SocketId, SocketSpec, TxArena};

pub use handle::MediaHandle;
pub use monitor::SeenReport;

use super::border::{Medium, MediumEffect, MediumInput};
use super::command::{Agreed, Command, Event, LegId, LegSpec, Local, MediaFault, Opening, Track};
use super::config::{MediaConfig, Mode, RtcpInterval};
use super::crypto;
use super::flows::Flows;
use super::negotiate::{Peer, Side, crypto_lines, ice_words};
use super::pattern::{PatternCheck, PatternReport};
use super::ports::{Order, PortPool};
use super::protection::Protection;
use super::report::{Heard, LegReport};
use super::rtcp;
use super::schedule::Schedule;
use super::sender::{Play, Sender};
use super::slab::Slab;
use super::stream::{Check, Stream};
use super::tap::Tap;
use super::turn::Relays;
use super::verdict::Evidence;
use super::watermark::Watermarks;
use crate::sip::Sdp;
use crate::stats::{HeardVerdict, MediaCounters, MediaHistograms, MediaMeasure};
use handshake::Handshakes;
use monitor::Monitor;
use record::Takes;
use send::Outbox;

const NONE: u32 = u32::MAX;
/// Bits of a [`LegId`] that are the leg's row; the rest tells one use of it from the next.
const ROW_BITS: u32 = 22;
const ROW_MASK: u32 = (1 << ROW_BITS) - 1;
/// News for calls that wait for the worker to take them.
const EVENTS_MAX: usize = 1 << 16;

/// The media of one call.
#[derive(Debug)]
struct Leg {
    call: u64,
    /// Tells one use of the row from the next.
    generation: u32,
    is_open: bool,
    is_sent: bool,
    streams: [u32; 2],
    /// The time of the first description.
    described_ns: Option<u64>,
    answered_ns: Option<u64>,
    /// The number of the call.
    number: u64,
    /// True if the call has failed.
    has_failed: bool,
    takes: Takes,
}

/// The media of a worker.
#[derive(Debug)]
pub struct Media {
    config: MediaConfig,
    pool: PortPool,
    /// The pair that all streams share (`shared` mode).
    shared: Option<u32>,
    flows: Flows,
    /// Pairs by socket, times two, and one for the socket of RTCP.
    by_socket: Vec<u32>,
    /// Streams by pair (`ports` mode).
    by_pair: Vec<u32>,
    legs: Slab<Leg>,
    streams: Slab<Stream>,
    schedule: Schedule,
    outbox: Outbox,
    handshakes: Handshakes,
    /// The relayed addresses of all sockets, if streams go through a relay.
    relays: Option<Relays>,
    /// True once a stream had ICE.
    has_ice: bool,
    /// Streams with a protection.
    protected: usize,
    /// Protections of streams that have ended, to be used again.
    #[expect(clippy::vec_box, reason = "streams take and give back the box itself")]
    spare: Vec<Box<Protection>>,
    /// Checks of patterns by stream, up to the last stream that played one.
    patterns: Vec<PatternCheck>,
    /// Copies of reports, for the monitor of the run.
    monitor: Monitor,
    /// Watermarks by stream, up to the last stream that received one.
    watermarks: Vec<Watermarks>,
    /// Copies for recordings, if the run may have some.
    tap: Option<Tap>,
    /// The datagram that is being decrypted.
    scratch: Vec<u8>,
    /// Legs opened so far; seeds the numbers of each.
    opened: u64,
    events: VecDeque<(u64, Event)>,
    counters: MediaCounters,
    measured: MediaHistograms,
    now: u64,
}

/// The timer of a stream's packets.
fn packet_timer(row: u32) -> u32 {
    2 * row
}

/// The timer of a stream's reports and checks.
fn matter_timer(row: u32) -> u32 {
    2 * row + 1
}

impl Media {
    /// The media of a worker, without a leg.
    pub fn new(config: MediaConfig, now: u64) -> Self {
        let legs_max = config.legs_max.min(ROW_MASK as usize);
        let streams_max = 2 * legs_max;
        let (pairs_max, flows_max) = match config.mode {
            Mode::Ports => (streams_max, 0),
            Mode::Shared => (1, streams_max),
        };
        let seed = config.seed ^ mix(config.worker as u64);
        let account = config.relay.clone();
        Self {
            relays: account.map(|account| Relays::new(account, seed, 2 * pairs_max, now)),
            pool: PortPool::new(&config, pairs_max),
            shared: None,
            flows: Flows::new(flows_max),
            by_socket: Vec::new(),
            by_pair: Vec::with_capacity(pairs_max),
            legs: Slab::new(legs_max),
            streams: Slab::new(streams_max),
            schedule: Schedule::new(2 * streams_max, now),
            outbox: Outbox::new(streams_max),
            handshakes: Handshakes::default(),
            has_ice: false,
            protected: 0,
            spare: Vec::new(),
            patterns: Vec::new(),
            monitor: Monitor::default(),
            watermarks: Vec::new(),
            tap: config.recordings.map(|_| Tap::new()),
            scratch: Vec::new(),
            opened: 0,
            events: VecDeque::with_capacity(EVENTS_MAX.min(4 * legs_max)),
            counters: MediaCounters::default(),
            measured: MediaHistograms::default(),
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
        let audio = self.take_pair(now)?;
        let video = match spec.wants_video.then(|| self.take_pair(now)).transpose() {
            Ok(video) => video,
            Err(opening) => {
                self.give_back_unused(audio);
                return Err(opening);
            }
        };
        let generation = (self.opened as u32) & (u32::MAX >> ROW_BITS);
        let make = |_| Leg {
            call: spec.call,
            generation,
            is_open: true,
            is_sent: spec.is_sent,
            streams: [NONE; 2],
            described_ns: None,
            answered_ns: None,
            number: spec.number,
            has_failed: false,
            takes: Takes::default(),
        };
        let Some(row) = self.legs.insert(make) else {
            self.give_back_unused(audio);
            video.into_iter().for_each(|video| self.give_back_unused(video));
            return Err(Opening::Exhausted);
        };
        self.opened += 1;
        self.counters.legs_opened += 1;
        self.add_stream(row, Track::Audio, audio, now);
        if let Some(video) = video {
            self.add_stream(row, Track::Video, video, now);
        }
        self.begin_takes(row, now);
        Ok(LegId(row | generation << ROW_BITS))
    }

    fn take_pair(&mut self, now: u64) -> Result<u32, Opening> {
        match (self.config.mode, self.shared) {
            (Mode::Shared, Some(pair)) => Ok(pair),
            (Mode::Shared, None) => {
                let pair = self.take_ready(now)?;
                self.shared = Some(pair);
                Ok(pair)
            }
            (Mode::Ports, _) => self.take_ready(now),
        }
    }

    fn give_back_unused(&mut self, pair: u32) {
        if self.config.mode == Mode::Ports {
            self.pool.give_back_unused(pair);
        }
    }

    fn add_stream(&mut self, leg: u32, track: Track, pair: u32, now: u64) {
        let worker = (self.config.worker as u64) << 56;
        let number = worker | (2 * self.opened + track as u64);
        let mut random = mix(self.config.seed ^ mix(number));
        let mut ssrc = random as u32;
        // Streams of one socket must not have the same (RFC 3550 section 8.2).
        while ssrc == 0 || self.flows.has_own(ssrc) {
            random = mix(random);
            ssrc = random as u32;
        }
        let sender = Sender::new(ssrc, mix(random), now);
        let mut stream = Stream::new(leg, track, pair, sender);
        stream.echoes = self.config.echo;
        stream.generation = self.opened as u32;
        let Some(row) = self.streams.insert(|_| stream) else {
            debug_assert!(false, "there are two rows of streams for each leg");
            return;
        };
        match self.config.mode {
            Mode::Ports => self.by_pair[pair as usize] = row,
            Mode::Shared => self.flows.begin(row, ssrc),
        }
        self.legs[leg].streams[track as usize] = row;
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
        let row = self.stream(leg, track)?;
        let stream = &self.streams[row];
        let pair = self.pool.pair(stream.pair);
        let [rtp, rtcp] = self.relayed(stream.pair).unwrap_or_else(|| {
            [pair.port, pair.rtcp_port].map(|port| SocketAddr::new(self.config.ip, port))
        });
        Some(Local { rtp, rtcp, ssrc: stream.out.ssrc, cname: self.canonical_name(row) })
    }

    /// Agreement of both descriptions about a track; `None` without a common encoding.
    pub fn agreed(&self, leg: LegId, track: Track) -> Option<Agreed> {
        self.streams[self.stream(leg, track)?].agreement.agreed()
    }

    /// Takes the description that the call sends.
    ///
    /// # Errors
    /// A description that cannot be read: nothing has changed then. Or keys of SRTP that do not fit
    /// those of the peer: the track then sends nothing.
    pub fn local_description(
        &mut self,
        leg: LegId,
        sdp: &[u8],
        now: u64,
    ) -> Result<(), MediaFault> {
        self.now = now;
        let sdp = Sdp::parse(sdp).map_err(MediaFault::Description)?;
        let ours = [Side::read(&sdp, Track::Audio)?, Side::read(&sdp, Track::Video)?];
        let Some(row) = self.row(leg) else { return Ok(()) };
        self.legs[row].described_ns.get_or_insert(now);
        let mut outcome = Ok(());
        for (track, ours) in [Track::Audio, Track::Video].into_iter().zip(ours) {
            let stream = self.legs[row].streams[track as usize];
            if stream == NONE {
                continue;
            }
            let words = ice_words(&sdp, track, self.config.ip)?;
            let keys = self
                .describe_keys(stream, crypto::Side::Ours, crypto_lines(&sdp, track)?)
                .and_then(|()| self.describe_ice(stream, crypto::Side::Ours, words, now));
            self.streams[stream].describe_ours(ours);
            match keys {
                Ok(()) => {
                    self.place_peer(stream);
                    self.agree(stream, now);
                }
                Err(_) => self.turn_to(stream, Peer::default(), now),
            }
            outcome = outcome.and(keys);
        }
        outcome
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
        let outcome = self.follow(leg, sdp, now);
        self.counters.bad_descriptions += u64::from(outcome.is_err());
        outcome
    }

    fn follow(&mut self, leg: LegId, sdp: &[u8], now: u64) -> Result<(), MediaFault> {
        let sdp = Sdp::parse(sdp).map_err(MediaFault::Description)?;
        let Some(row) = self.row(leg) else { return Ok(()) };
        self.legs[row].described_ns.get_or_insert(now);
        let mut outcome = Ok(());
        for track in [Track::Audio, Track::Video] {
            let stream = self.legs[row].streams[track as usize];
            if stream == NONE {
                continue;
            }
            let words = ice_words(&sdp, track, self.config.ip)?;
            let peer = Peer::read(&sdp, track, self.config.ip)
                .or_else(|fault| Peer::nowhere(&sdp, track, words.is_some(), fault))
                .and_then(|peer| self.let_pass(row, peer, now))
                .and_then(|peer| self.let_protect(stream, peer, &sdp, track))
                .and_then(|peer| self.let_find(stream, peer, words, now));
            self.turn_to(stream, peer.unwrap_or_default(), now);
            outcome = outcome.and(peer.map(drop));
        }
        outcome
    }

    /// Checks the addresses of a peer against the list of targets.
    fn let_pass(&self, leg: u32, peer: Peer, now: u64) -> Result<Peer, MediaFault> {
        let targets = [peer.rtp, peer.rtcp];
        match targets.into_iter().flatten().all(|target| self.may_send_to(leg, target, now)) {
            true => Ok(peer),
            false => Err(MediaFault::BlockedTarget),
        }
    }

    fn may_send_to(&self, leg: u32, target: SocketAddr, now: u64) -> bool {
        let gate = match self.legs[leg].is_sent {
            true => &self.config.gate_for_sent,
            false => &self.config.gate,
        };
        let unix_ns = now.saturating_add(self.config.wall_offset_ns);
        gate.as_ref().is_none_or(|gate| gate.lets_pass(target, unix_ns))
    }

    /// Lets a stream follow its peer to other addresses.
    fn turn_to(&mut self, row: u32, peer: Peer, now: u64) {
        let (before, ssrc) = (self.streams[row].theirs.rtp, self.streams[row].theirs.ssrc);
        self.streams[row].describe_theirs(peer);
        if self.config.mode == Mode::Shared && (before, ssrc) != (peer.rtp, peer.ssrc) {
            if let Some(address) = before {
                self.flows.leave(row, address, now, &mut self.streams);
            }
            if let Some(address) = peer.rtp {
                self.flows.enter(row, address, peer.ssrc, &mut self.streams);
            }
        }
        self.agree(row, now);
    }

    /// Lets a stream do what both descriptions agree on.
    fn agree(&mut self, row: u32, now: u64) {
        self.begin_handshake(row, now);
        self.let_relay(row, now);
        let stream = &mut self.streams[row];
        stream.out.renegotiate(stream.agreement.agreed(), self.config.payload_type);
        let interval = match self.config.rtcp {
            RtcpInterval::Standard => Some(rtcp::Interval::Standard),
            RtcpInterval::Fixed(ns) => Some(rtcp::Interval::Fixed(ns)),
            RtcpInterval::Off => None,
        };
        let is_rtp = !stream.theirs.side.is_datagrams;
        if let Some(interval) = interval.filter(|_| is_rtp)
            && stream.report_target().is_some()
            && stream.reports.is_none()
        {
            let random = mix(u64::from(stream.out.ssrc) ^ now);
            stream.reports = Some(rtcp::Schedule::new(interval, now, random));
        }
        let leg = &self.legs[stream.leg];
        if leg.answered_ns.is_some() && stream.agreement.receives {
            stream.quality.begin_listening(now);
        } else {
            stream.quality.end_listening(now);
        }
        self.plan(row, now);
        self.plan_matter(row);
    }

    /// Puts the next packet of a stream into the schedule, or takes it out.
    fn plan(&mut self, row: u32, now: u64) {
        let stream = &mut self.streams[row];
        let runs = stream.out.wants_time() && stream.target().is_some();
        if runs && !stream.is_running {
            stream.out.begin(row, now);
            self.schedule.arm(packet_timer(row), stream.out.planned_ns);
        } else if !runs && stream.is_running {
            self.schedule.cancel(packet_timer(row));
        }
        stream.is_running = runs;
    }

    /// Puts the next report or end of a check into the schedule.
    fn plan_matter(&mut self, row: u32) {
        match self.streams[row].next_matter_ns() {
            u64::MAX => self.schedule.cancel(matter_timer(row)),
            time_ns => self.schedule.arm(matter_timer(row), time_ns),
        }
    }

    /// Notes that the call was answered.
    pub fn answered(&mut self, leg: LegId, now: u64) {
        let Some(row) = self.row(leg).filter(|&row| self.legs[row].answered_ns.is_none()) else {
            return;
        };
        self.legs[row].answered_ns = Some(now);
        for stream in self.legs[row].streams {
            if stream != NONE && self.streams[stream].agreement.receives {
                self.streams[stream].quality.begin_listening(now);
            }
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
        let row = self.stream(leg, track).ok_or(MediaFault::NoTrack)?;
        let stream = &mut self.streams[row];
        let agreed = stream.agreement.agreed();
        match command {
            Command::Play { clips, loops, stop_after_ns, payload_type, encoding } => {
                let play = Play { clips, loops, stop_after_ns, payload_type, encoding };
                stream.out.play(play, agreed, self.config.payload_type, now)?;
                stream.checks_pattern = stream.out.plays_pattern();
            }
            Command::Pause => stream.out.pause(true),
            Command::Resume => stream.out.pause(false),
            Command::Stop => stream.out.stop(),
            Command::Digits { digits, digit_ms, pause_ms, payload_type } => {
                stream.out.dial(digits, (digit_ms, pause_ms), payload_type)?;
            }
            Command::Echo(echoes) => stream.echoes = echoes,
            Command::Check { received, sent, timeout_ns } => {
                stream.check = Some(Check {
                    received: stream.received + stream.datagrams + u64::from(received),
                    sent: stream.out.packets + u64::from(sent),
                    until_ns: now.saturating_add(timeout_ns),
                    is_end: false,
                });
                self.plan_matter(row);
            }
            Command::AwaitEnd { timeout_ns } => {
                let until_ns = now.saturating_add(timeout_ns);
                stream.check = Some(Check { received: 0, sent: 0, until_ns, is_end: true });
                self.plan_matter(row);
            }
            Command::Record { name, is_duplex } => self.record(leg, &name, is_duplex, now)?,
            Command::StopRecording => self.stop_recording(leg),
        }
        self.judge_check(row, now);
        self.plan(row, now);
        Ok(())
    }

    /// Tells the call the outcome of a check, once there is one.
    fn judge_check(&mut self, row: u32, now: u64) {
        if self.streams[row].check.is_some()
            && let Some(outcome) = self.streams[row].checked(now)
        {
            self.tell(row, Event::Checked(outcome));
            self.plan_matter(row);
        }
    }

    /// Leaves news for the call of a stream.
    fn tell(&mut self, row: u32, event: Event) {
        if self.events.len() < EVENTS_MAX {
            let call = self.legs[self.streams[row].leg].call;
            self.events.push_back((call, event));
        } else {
            self.counters.events_dropped += 1;
        }
    }

    /// The figures of a leg so far.
    pub fn report(&self, leg: LegId, now: u64) -> LegReport {
        self.row(leg).map(|row| self.leg_report(row, now)).unwrap_or_default()
    }

    fn leg_report(&self, leg: u32, now: u64) -> LegReport {
        let leg = &self.legs[leg];
        let mut report = LegReport { heard: self.evidence(leg).verdict(), ..LegReport::default() };
        for (track, &row) in leg.streams.iter().enumerate().filter(|&(_, &row)| row != NONE) {
            let stream = &self.streams[row];
            report.packets_sent += stream.out.packets;
            report.octets_sent += stream.out.octets;
            report.patterns[track] = self.pattern(row, track);
            if track != Track::Audio as usize {
                continue;
            }
            let watermarks = self.watermarks.get(row as usize).copied().unwrap_or_default();
            report.crosstalk_packets = watermarks.crosstalk.into();
            report.has_watermarks = watermarks.any;
            report.reception = stream.quality.reception(now);
            if let Some(first_ns) = stream.quality.first_audible_ns() {
                let since = |begin_ns: Option<u64>| begin_ns.map(|ns| first_ns.saturating_sub(ns));
                report.first_audio_ns = since(leg.described_ns);
                report.first_audio_after_answer_ns = since(leg.answered_ns);
            }
            report.path = self.audio_path(stream);
            report.round_trip_ns = stream.peer.round_trip_ns;
            if let Some(block) = stream.peer.block {
                let clock_rate = u64::from(stream.out.clock_rate());
                report.peer_fraction_lost = Some(block.fraction_lost);
                report.peer_jitter_ns =
                    Some(u64::from(block.jitter) * 1_000_000_000 / clock_rate.max(1));
            }
        }
        report
    }

    /// The check of the pattern that a stream has played, if it has.
    fn pattern(&self, row: u32, track: usize) -> Option<PatternReport> {
        let check = self.patterns.get(row as usize)?;
        check.report(self.config.pattern_tolerances[track], self.streams[row].is_protected())
    }

    /// Evidence of who heard whom: of the audio track, or of video if that is all there is.
    fn evidence(&self, leg: &Leg) -> Evidence {
        let rows = leg.streams.into_iter().filter(|&row| row != NONE);
        let of_track = |row| {
            let stream = &self.streams[row];
            let reception = stream.quality.reception(self.now);
            Evidence {
                expects: stream.agreement.receives,
                audible: reception.audible + reception.unjudged + stream.datagrams,
                sent: stream.out.packets,
                sent_audible: stream.out.was_audible,
                has_report: stream.peer.reports > 0,
                is_received: stream.is_received(),
            }
        };
        rows.map(of_track).find(Evidence::has_media).unwrap_or_default()
    }

    /// Ends a leg. Its sockets go back to the pool.
    pub fn close(&mut self, leg: LegId, now: u64) -> LegReport {
        self.now = now;
        let Some(row) = self.row(leg) else { return LegReport::default() };
        let report = self.leg_report(row, now);
        self.account(row, &report);
        for stream in self.legs[row].streams {
            if stream != NONE {
                self.end_stream(stream, now);
            }
        }
        self.end_takes(row, &report);
        self.legs[row].is_open = false;
        self.legs.remove(row);
        report
    }

    /// Counts a leg that ends.
    fn account(&mut self, row: u32, report: &LegReport) {
        let had_media = self.evidence(&self.legs[row]).has_media();
        let (counters, measured) = (&mut self.counters, &mut self.measured);
        counters.legs_closed += 1;
        counters.heard.bump(match report.heard {
            Heard::Unknown if !had_media => HeardVerdict::NoMedia,
            Heard::Unknown => HeardVerdict::Unknown,
            Heard::None => HeardVerdict::None,
            Heard::OneWay => HeardVerdict::OneWay,
            Heard::TwoWay => HeardVerdict::TwoWay,
        });
        counters.silent_calls += u64::from(report.heard == Heard::None);
        counters.legs_marked += u64::from(report.has_watermarks);
        counters.legs_crosstalk += u64::from(report.crosstalk_packets > 0);
        counters.crosstalk_packets += report.crosstalk_packets;
        for pattern in report.patterns.iter().flatten() {
            counters.patterns_checked += 1;
            counters.patterns_failed += u64::from(pattern.is_failed);
            counters.pattern_packets_checked += pattern.sent;
            counters.pattern_packets_bad += pattern.bad();
        }
        if had_media {
            let packets = report.reception.packets + report.reception.duplicates;
            counters.legs_receiving += u64::from(packets > 0);
            measured.record_count(MediaMeasure::CallPackets, packets);
        }
        let after_answer = report.first_audio_after_answer_ns;
        if let Some(first_ns) = after_answer.or(report.first_audio_ns) {
            measured.record(MediaMeasure::FirstAudio, first_ns);
        }
        for stream in self.legs[row].streams.into_iter().filter(|&stream| stream != NONE) {
            let reception = self.streams[stream].quality.reception(self.now);
            counters.rtp_expected += reception.expected;
            counters.rtp_lost += reception.lost;
            counters.rtp_reordered += reception.reordered;
            counters.rtp_duplicates += reception.duplicates;
            counters.rtp_discarded += reception.discarded;
            counters.rtp_wrong_payload_type += reception.wrong_payload_type;
            counters.ssrc_changes += reception.ssrc_changes;
            measured.record_loss(reception.lost, reception.expected);
            if reception.expected > 0 {
                measured.record_count(MediaMeasure::Lost, reception.lost);
            }
            if reception.packets > 0 {
                measured.record(MediaMeasure::Jitter, reception.jitter_ns);
                let clock_rate = u64::from(self.streams[stream].out.clock_rate());
                let peak = reception.jitter_max_ns.saturating_mul(clock_rate) / 1_000_000_000;
                measured.record_count(MediaMeasure::JitterPeak, peak);
            }
            reception.mos.into_iter().for_each(|mos| measured.record_mos(mos));
        }
    }

    fn end_stream(&mut self, row: u32, now: u64) {
        self.say_goodbye(row, now);
        self.schedule.cancel(packet_timer(row));
        self.schedule.cancel(matter_timer(row));
        self.outbox.forget(row);
        let (pair, ssrc) = (self.streams[row].pair, self.streams[row].out.ssrc);
        match self.config.mode {
            Mode::Ports => {
                self.by_pair[pair as usize] = NONE;
                self.pool.give_back(pair, now);
            }
            Mode::Shared => {
                if let Some(address) = self.streams[row].theirs.rtp {
                    self.flows.leave(row, address, now, &mut self.streams);
                }
                self.flows.finish(ssrc);
            }
        }
        self.end_protection(row);
        if let Some(check) = self.patterns.get_mut(row as usize) {
            *check = PatternCheck::default();
        }
        if let Some(watermarks) = self.watermarks.get_mut(row as usize) {
            *watermarks = Watermarks::default();
        }
        // What plays is let go of at once, not when the row is used again.
        self.streams[row].out.stop();
        self.streams[row].generation = NONE;
        self.streams.remove(row);
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
            receive_buffer_bytes: match self.config.mode {
                Mode::Ports => 0,
                Mode::Shared => SHARED_BUFFER_BYTES,
            },
            send_buffer_bytes: match self.config.mode {
                Mode::Ports => 0,
                Mode::Shared => SHARED_BUFFER_BYTES,
            },
            device: self.config.device.clone(),
        }
    }

    /// Takes a socket that was asked for.
    fn take_socket(&mut self, socket: SocketId, local: SocketAddr) {
        let Some(pair) = self.pool.opened(socket, local) else { return };
        if self.by_pair.len() <= pair as usize {
            self.by_pair.resize(pair as usize + 1, NONE);
        }
        let sockets = self.pool.pair(pair);
        for (socket, place) in [(sockets.rtp, 2 * pair), (sockets.rtcp, 2 * pair + 1)] {
            let index = socket.0 as usize;
            if self.by_socket.len() <= index {
                self.by_socket.resize(index + 1, NONE);
            }
            self.by_socket[index] = place;
        }
        self.open_relay(pair);
    }
}

/// Buffers of a socket that thousands of streams share: what they receive in tens of milliseconds.
const SHARED_BUFFER_BYTES: usize = 8 << 20;

impl Medium for Media {
    fn handle(&mut self, input: MediumInput<'_>, now: u64, tx: &mut TxArena) {
        self.now = now;
        match input {
            MediumInput::Datagram { socket, source, payload, received_ns } => {
                self.on_datagram((socket, source), payload, (received_ns, now), tx);
            }
            MediumInput::Time { reserve } => {
                self.send_relay_requests(now, reserve, tx);
                self.send_due(now, reserve, tx);
                self.shake_hands(now, reserve, tx);
            }
            MediumInput::Flushed => self.note_flushed(now),
            MediumInput::Opened(socket, local) => self.take_socket(socket, local),
            MediumInput::NotOpened(error) => self.pool.not_opened(&error, now),
            MediumInput::SendFailed { cookie, cause, .. } => {
                self.note_unsent(cookie, cause);
            }
            MediumInput::Unreachable { socket, destination, .. } => {
                self.counters.unreachable += 1;
                self.relay_unreachable(socket, destination);
            }
            MediumInput::RunOver => self.end_run(now),
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
        match self.outbox.is_empty() {
            true => {
                let next_ns = self.schedule.next_time_ns().min(self.relay_deadline_ns());
                next_ns.min(self.handshakes.next_time_ns())
            }
            false => 0,
        }
    }

    fn count(&self, counters: &mut MediaCounters) {
        counters.add(&self.counters);
        counters.recording_dropped += self.tap.as_ref().map_or(0, |tap| tap.dropped);
        let pool = &self.pool.counts;
        counters.ports_opened += pool.opened;
        counters.ports_taken += pool.taken;
        counters.sockets_refused += pool.refused;
        counters.rests_cut += pool.cut_rests;
    }

    fn hand_on_copies(&mut self, push: &mut dyn FnMut(&[u8]) -> bool) {
        if let Some(tap) = &mut self.tap {
            tap.hand_on(push);
        }
    }

    fn swap_measured(&mut self, measured: &mut MediaHistograms) {
        std::mem::swap(measured, &mut self.measured);
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
