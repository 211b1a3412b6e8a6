//! The measurement of one stream.

use super::super::report::Reception;
use super::super::rtcp::{LastReport, ReportBlock, UNKNOWN, VoipMetrics};
use super::super::rtp::Header;
use super::buffer::{Buffer, Playout};
use super::clock::{Clock, Transit};
use super::emodel::{Band, DELAY_FREE_MS, Path, Rating};
use super::losses::{GAP_MIN, Losses};
use super::sequence::{Place, Sequence, are_near};
use super::{Format, Sound};

/// Time over which loss is taken for one estimate. The loss of a whole call would make a short
/// disturbance in it weigh less and less.
const INTERVAL_NS: u64 = 5_000_000_000;

/// Packets without which an interval says nothing: half a second of 20 ms each. Fewer are added to
/// the next interval.
const INTERVAL_PACKETS_MIN: u32 = 25;

/// The fate of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The packet is of the stream, and the first with its number.
    Fresh,
    /// The packet came before.
    Duplicate,
    /// The packet is of another source, or far from the others. If the next one is near it, the
    /// stream goes on with those two.
    Stray,
}

/// One received stream of a leg, also if its source changes.
///
/// Times are nanoseconds of the monotonic clock, of arrival at this host.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    format: Format,
    round_trip_ns: u32,
    /// The source; `None` before the first packet.
    source: Option<Source>,
    /// The last packet that was not of the source.
    stray: Option<Arrival>,
    clock: Clock,
    playout: Playout,
    losses: Losses,
    opinions: Opinions,
    silence: Silence,
    packets: u64,
    octets: u64,
    /// Packets that the sources before this one had sent.
    expected_before: u32,
    last_ns: u64,
    longest_gap_ns: u64,
    /// Mean of the jitter at each packet.
    jitter_mean_us: f32,
    reordered: u32,
    duplicates: u32,
    discarded: u32,
    strays: u32,
    wrong_payload_type: u32,
    ssrc_changes: u32,
    audible: u32,
    unjudged: u32,
}

/// A stream's measurement is promised per stream, ten thousand of which are an ordinary run.
const _: () = assert!(size_of::<Stream>() <= 300);

/// The source that a stream has at present.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    sequence: Sequence,
    /// Packets received, with duplicates, which RFC 3550 appendix A.3 counts too.
    received: u32,
    /// The span and the packets received at the last report.
    reported: (u32, u32),
}

/// A packet as it came; kept while it may be the first of another source.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    header: Header,
    octets: u16,
    sound: Sound,
    /// Number of times that it came again.
    copies: u8,
    received_ns: u64,
}

/// Estimates of the intervals so far.
#[derive(Clone, Copy, Debug, Default)]
struct Opinions {
    /// End of the current interval.
    end_ns: u64,
    /// Mean estimates, weighted by packets.
    r: f32,
    mos: f32,
    mos_min: f32,
    packets: u32,
}

/// The time in which nothing was heard.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Beginning of the current silence; [`NEVER`] while nobody listens.
    since_ns: u64,
    longest_ns: u64,
    /// The first audible packet; [`NEVER`] before it.
    first_audible_ns: u64,
}

/// A time that does not come.
const NEVER: u64 = u64::MAX;

impl Stream {
    /// A stream before its first packet.
    pub fn new(format: Format, buffer: Buffer) -> Self {
        Self {
            format,
            round_trip_ns: 0,
            source: None,
            stray: None,
            clock: Clock::default(),
            playout: Playout::new(buffer),
            losses: Losses::default(),
            opinions: Opinions::default(),
            silence: Silence::default(),
            packets: 0,
            octets: 0,
            expected_before: 0,
            last_ns: 0,
            longest_gap_ns: 0,
            jitter_mean_us: 0.0,
            reordered: 0,
            duplicates: 0,
            discarded: 0,
            strays: 0,
            wrong_payload_type: 0,
            ssrc_changes: 0,
            audible: 0,
            unjudged: 0,
        }
    }

    /// Goes on with another format, as after a re-INVITE. The interval so far is judged by the old
    /// one.
    pub fn set_format(&mut self, format: Format) {
        self.judge();
        self.format = format;
    }

    /// Sets the round-trip time, whose half is a part of the delay in further estimates.
    pub fn set_round_trip_ns(&mut self, round_trip_ns: u64) {
        self.round_trip_ns = u32::try_from(round_trip_ns).unwrap_or(u32::MAX);
    }

    /// Begins to measure silence: the call was answered, or a hold has ended.
    pub fn begin_listening(&mut self, now_ns: u64) {
        self.silence.since_ns = now_ns;
    }

    /// Ends it: the call has ended, or is held.
    pub fn end_listening(&mut self, now_ns: u64) {
        self.silence.end(now_ns);
        self.silence.since_ns = NEVER;
    }

    /// The time of the first audible packet.
    pub fn first_audible_ns(&self) -> Option<u64> {
        Some(self.silence.first_audible_ns).filter(|&first_ns| first_ns != NEVER)
    }

    /// The source that the stream has at present.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.map(|source| source.ssrc)
    }

    /// Takes a packet. `octets` is the length of its payload.
    pub fn receive(
        &mut self,
        header: &Header,
        octets: usize,
        sound: Sound,
        received_ns: u64,
    ) -> Receipt {
        let octets = octets.min(u16::MAX.into()) as u16;
        let packet = Arrival { header: *header, octets, sound, copies: 0, received_ns };
        if received_ns >= self.opinions.end_ns {
            self.opinions.end_ns = received_ns.saturating_add(INTERVAL_NS);
            self.judge();
        }
        let Some(source) = &mut self.source else {
            self.begin_source(&packet);
            return Receipt::Fresh;
        };
        if source.ssrc != header.ssrc {
            return self.receive_stray(packet);
        }
        match source.sequence.place(header.sequence) {
            Place::Ahead(packets) => {
                source.received = source.received.saturating_add(1);
                let is_played = self.arrive(&packet);
                self.losses.advance(packets, is_played);
            }
            Place::Behind { by, before_first } => {
                source.received = source.received.saturating_add(1);
                self.reordered = self.reordered.saturating_add(1);
                let is_played = self.arrive(&packet);
                self.losses.fill(by, before_first, is_played);
            }
            Place::Duplicate => {
                source.received = source.received.saturating_add(1);
                self.duplicates = self.duplicates.saturating_add(1);
                return Receipt::Duplicate;
            }
            Place::Elsewhere => return self.receive_stray(packet),
        }
        Receipt::Fresh
    }

    /// Takes a packet that is not of the source. A second one near it shows that the source is
    /// another one now, or has begun anew (RFC 3550 appendix A.1).
    fn receive_stray(&mut self, packet: Arrival) -> Receipt {
        let header = &packet.header;
        if let Some(first) = self.stray.filter(|first| first.header.ssrc == header.ssrc)
            && are_near(first.header.sequence, header.sequence)
        {
            self.strays = self.strays.saturating_sub(1 + u32::from(first.copies));
            self.end_source(header.ssrc);
            self.begin_source(&first);
            return self.receive(header, packet.octets.into(), packet.sound, packet.received_ns);
        }
        self.strays = self.strays.saturating_add(1);
        match &mut self.stray {
            Some(first) if first.is_copy(header) && first.copies < u8::MAX => first.copies += 1,
            stray => *stray = Some(packet),
        }
        Receipt::Stray
    }

    /// Begins with the first packet of a source.
    fn begin_source(&mut self, packet: &Arrival) {
        let Header { ssrc, sequence, timestamp, .. } = packet.header;
        let sequence = Sequence::beginning(sequence);
        let received = 1 + u32::from(packet.copies);
        self.source = Some(Source { ssrc, sequence, received, reported: (0, 0) });
        self.stray = None;
        self.duplicates = self.duplicates.saturating_add(packet.copies.into());
        let transit_ns = self.clock.begin(timestamp, packet.received_ns);
        self.playout.begin(transit_ns);
        self.count(packet);
        self.losses.advance(1, packet.sound != Sound::WrongPayloadType);
    }

    /// Ends a source of which nothing comes any more, because `next` comes instead.
    fn end_source(&mut self, next: u32) {
        let Some(source) = self.source.take() else { return };
        if self.packets == 1 {
            // The first packet of all was none of this stream: no other proved it.
            let before = *self;
            *self = Self::new(before.format, before.playout.buffer());
            (self.silence, self.opinions) = (before.silence, before.opinions);
            self.round_trip_ns = before.round_trip_ns;
            self.strays = before.strays.saturating_add(source.received);
            return;
        }
        self.expected_before = self.expected_before.saturating_add(source.sequence.span());
        self.ssrc_changes = self.ssrc_changes.saturating_add(u32::from(source.ssrc != next));
        self.losses.finish();
    }

    /// Takes the times of a packet that is not the first of its source; tells whether it is played.
    fn arrive(&mut self, packet: &Arrival) -> bool {
        let elapsed_ns = packet.received_ns.saturating_sub(self.last_ns);
        self.count(packet);
        match packet.sound {
            // The timestamps of both are not those of the audio.
            Sound::Event => return true,
            Sound::WrongPayloadType => return false,
            Sound::Audible | Sound::Quiet | Sound::Unjudged => {}
        }
        let depth_ns = self.playout.depth_ns(self.clock.jitter_ns());
        let timestamp = packet.header.timestamp;
        match self.clock.take(timestamp, packet.received_ns, self.format.clock_rate) {
            Transit::Jumped(transit_ns) => {
                self.playout.begin(transit_ns);
                true
            }
            Transit::Ns(transit_ns) => {
                let jitter_us = self.clock.jitter_ns() as f32 / 1e3;
                // The first packet of a stream has none.
                let packets = self.packets.saturating_sub(1).max(1) as f32;
                self.jitter_mean_us += (jitter_us - self.jitter_mean_us) / packets;
                let is_played = self.playout.plays(transit_ns, elapsed_ns, depth_ns);
                self.discarded = self.discarded.saturating_add(u32::from(!is_played));
                is_played
            }
        }
    }

    /// Counts a packet of the stream.
    fn count(&mut self, packet: &Arrival) {
        if self.packets > 0 {
            let gap_ns = packet.received_ns.saturating_sub(self.last_ns);
            self.longest_gap_ns = self.longest_gap_ns.max(gap_ns);
        }
        self.packets += 1;
        self.octets += u64::from(packet.octets);
        self.last_ns = self.last_ns.max(packet.received_ns);
        match packet.sound {
            Sound::Audible => {
                self.audible = self.audible.saturating_add(1);
                self.silence.hear(packet.received_ns);
            }
            Sound::Unjudged => self.unjudged = self.unjudged.saturating_add(1),
            Sound::WrongPayloadType => {
                self.wrong_payload_type = self.wrong_payload_type.saturating_add(1);
            }
            Sound::Quiet | Sound::Event => {}
        }
    }

    /// Estimates the opinion about the interval so far, if it has enough packets.
    fn judge(&mut self) {
        if self.losses.interval().packets < INTERVAL_PACKETS_MIN {
            return;
        }
        let interval = self.losses.take_interval();
        let Some(codec) = self.format.codec() else { return };
        let path = Path {
            loss: interval.loss(),
            burst_ratio: interval.burst_ratio(),
            delay_ms: self.delay_ms(),
        };
        self.opinions.add(Rating::of(codec, &path), interval.packets);
    }

    /// Delay from the talker's mouth to the listener's ear: the way, the codec with one packet, and
    /// the jitter buffer.
    fn delay_ms(&self) -> f32 {
        let depth_ns = self.playout.depth_ns(self.clock.jitter_ns());
        let ns = u64::from(self.round_trip_ns / 2) + depth_ns;
        let lookahead_ms = self.format.codec().map_or(0.0, |codec| codec.lookahead_ms);
        ns as f32 / 1e6 + f32::from(self.format.packet_ms) + lookahead_ms
    }

    /// The stream as if no more packets came.
    fn ended(&self) -> Self {
        let mut ended = *self;
        ended.losses.finish();
        ended.judge();
        ended
    }

    /// The figures up to `now_ns`. The measurement can go on.
    pub fn reception(&self, now_ns: u64) -> Reception {
        let ended = self.ended();
        let expected = self.expected();
        let mut silence = self.silence;
        silence.end(now_ns);
        Reception {
            packets: self.packets,
            octets: self.octets,
            expected,
            lost: expected.saturating_sub(self.packets),
            reordered: self.reordered.into(),
            duplicates: self.duplicates.into(),
            discarded: self.discarded.into(),
            strays: self.strays.into(),
            bursts: ended.losses.bursts().count.into(),
            jitter_ns: self.clock.jitter_ns(),
            jitter_max_ns: self.clock.jitter_max_ns(),
            jitter_mean_ns: (f64::from(self.jitter_mean_us) * 1e3) as u64,
            mos: ended.opinions.known(ended.opinions.mos),
            mos_min: ended.opinions.known(ended.opinions.mos_min),
            wrong_payload_type: self.wrong_payload_type.into(),
            ssrc_changes: self.ssrc_changes.into(),
            audible: self.audible.into(),
            unjudged: self.unjudged.into(),
            longest_gap_ns: self.longest_gap_ns,
            dead_air_ns: silence.longest_ns,
        }
    }

    fn expected(&self) -> u64 {
        let span = self.source.map_or(0, |source| source.sequence.span());
        u64::from(self.expected_before) + u64::from(span)
    }

    /// The block for our next report, with the loss since the last one (RFC 3550 appendix A.3).
    /// `None` before the first packet.
    pub fn report_block(&mut self, now_ns: u64, last: Option<&LastReport>) -> Option<ReportBlock> {
        let (clock_rate, jitter_ns) = (self.format.clock_rate, self.clock.jitter_ns());
        let source = self.source.as_mut()?;
        let (expected, received) = (source.sequence.span(), source.received);
        let lost_since = |(span, before): (u32, u32)| {
            let expected = i64::from(expected) - i64::from(span);
            let lost = expected - (i64::from(received) - i64::from(before));
            (lost > 0 && expected > 0).then(|| (lost * 256 / expected).min(255) as u8)
        };
        let cumulative_lost = i64::from(expected) - i64::from(received);
        let mut block = ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: lost_since(source.reported).unwrap_or(0),
            cumulative_lost: cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: source.sequence.highest(),
            jitter: (u128::from(jitter_ns) * u128::from(clock_rate) / 1_000_000_000) as u32,
            ..ReportBlock::default()
        };
        source.reported = (expected, received);
        if let Some(last) = last {
            last.refer(now_ns, &mut block);
        }
        Some(block)
    }

    /// The VoIP metrics of an extended report. `None` before the first packet.
    pub fn voip_metrics(&self) -> Option<VoipMetrics> {
        let source = self.source?;
        let ended = self.ended();
        let bursts = ended.losses.bursts();
        let expected = self.expected();
        let share = |part: u64, whole: u64| (part * 256 / whole.max(1)).min(255) as u8;
        let ms = |packets: u64| {
            let ms = packets.saturating_mul(self.format.packet_ms.into());
            u16::try_from(ms).unwrap_or(u16::MAX)
        };
        let count = u64::from(bursts.count);
        let (burst_packets, burst_lost) = (bursts.burst_packets.into(), bursts.burst_lost.into());
        let gap_packets = expected.saturating_sub(burst_packets);
        let gap_lost = u64::from(bursts.lost).saturating_sub(burst_lost);
        let (opinions, buffer) = (&ended.opinions, self.playout.buffer());
        let mos = opinions.known(opinions.mos).map_or(UNKNOWN, |mos| (mos * 10.0).round() as u8);
        // A listener who does not talk does not notice delay. Estimates with it say nothing then.
        let has_delay = self.delay_ms() > DELAY_FREE_MS;
        // R has no place for more than 100, which only narrow band keeps to.
        let is_narrow = self.format.codec().is_some_and(|codec| codec.band == Band::Narrow);
        let r = opinions.known(opinions.r).filter(|_| is_narrow);
        let r = r.map_or(UNKNOWN, |r| r.round() as u8);
        let to_ms = |ns: u64| u16::try_from(ns / 1_000_000).unwrap_or(u16::MAX);
        let depth_ms = to_ms(self.playout.depth_ns(self.clock.jitter_ns()));
        Some(VoipMetrics {
            ssrc: source.ssrc,
            loss_rate: share(expected.saturating_sub(self.packets), expected),
            discard_rate: share(self.discarded.into(), expected),
            burst_density: share(burst_lost, burst_packets),
            gap_density: share(gap_lost, gap_packets),
            burst_ms: ms(burst_packets / count.max(1)),
            gap_ms: ms(gap_packets / count.max(1)),
            round_trip_ms: to_ms(self.round_trip_ns.into()),
            end_system_ms: depth_ms.saturating_add(self.format.packet_ms),
            signal_level: UNKNOWN as i8,
            noise_level: UNKNOWN as i8,
            echo_return_loss: UNKNOWN,
            gap_min: GAP_MIN,
            r_factor: r,
            external_r_factor: UNKNOWN,
            mos_listening: if has_delay { UNKNOWN } else { mos },
            mos_conversational: mos,
            receiver: buffer.receiver_bits(),
            buffer_nominal_ms: depth_ms,
            buffer_maximum_ms: buffer.max_ms(),
            buffer_absolute_ms: buffer.max_ms(),
        })
    }
}

impl Arrival {
    /// Tells whether it is the same packet again.
    fn is_copy(&self, header: &Header) -> bool {
        (self.header.ssrc, self.header.sequence) == (header.ssrc, header.sequence)
    }
}

impl Opinions {
    fn add(&mut self, rating: Rating, packets: u32) {
        if self.packets == 0 || rating.mos < self.mos_min {
            self.mos_min = rating.mos;
        }
        self.packets = self.packets.saturating_add(packets);
        let weight = packets as f32 / self.packets as f32;
        self.r += (rating.r - self.r) * weight;
        self.mos += (rating.mos - self.mos) * weight;
    }

    /// One of the estimates, once there are any.
    fn known(&self, estimate: f32) -> Option<f32> {
        (self.packets > 0).then_some(estimate)
    }
}

impl Default for Silence {
    fn default() -> Self {
        Self { since_ns: NEVER, longest_ns: 0, first_audible_ns: NEVER }
    }
}

impl Silence {
    /// Hears something.
    fn hear(&mut self, now_ns: u64) {
        self.first_audible_ns = self.first_audible_ns.min(now_ns);
        self.end(now_ns);
    }

    /// Ends the current silence, and begins the next.
    fn end(&mut self, now_ns: u64) {
        if self.since_ns != NEVER {
            self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(self.since_ns));
            self.since_ns = self.since_ns.max(now_ns);
        }
    }
}
