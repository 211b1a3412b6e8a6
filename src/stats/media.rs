//! Counts and measurements of media: the streams of a worker's calls.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delta::wire;
use super::distribution::{Cell, Distribution, DurationSummary};
use super::{HandshakeFaultCounts, RelayFaultCounts, RtpFaultCounts, SrtpFaultCounts};

causes! {
    /// The reason why a well-formed datagram of media counts for no stream.
    StrayCause,
    /// Datagrams of media that count for no stream, by cause.
    StrayCounts {
        /// Source other than the address that the call's peer signalled.
        Foreign = "foreign",
        /// Arrival before the peer had signalled an address.
        Unsignalled = "unsignalled",
        /// SSRC that belongs to no stream of the shared socket.
        UnknownSsrc = "unknown_ssrc",
        /// Arrival at the port of a call that had ended.
        AfterEnd = "after_end",
        /// Another protocol that shares a port with RTP: STUN, DTLS, ZRTP, TURN.
        OtherProtocol = "other_protocol",
        /// RTP on the port of RTCP.
        WrongPort = "wrong_port",
    }
}

causes! {
    /// The reason why a packet of a stream left later than planned.
    DelayCause,
    /// Packets that left later than planned, by cause.
    DelayCounts {
        /// The worker came to its streams more than a millisecond late.
        LateWorker = "late_worker",
        /// The send arena had no room.
        NoSlot = "no_slot",
    }
}

causes! {
    /// The reason why a packet of a stream did not leave.
    UnsentCause,
    /// Packets of streams that did not leave, by cause.
    UnsentCounts {
        /// The kernel had no buffer (`ENOBUFS`).
        NoBuffer = "no_buffer",
        /// The packet is larger than the path allows.
        TooLarge = "too_large",
        /// There is no route to the address.
        NoRoute = "no_route",
        /// A firewall or a policy refused it.
        NotPermitted = "not_permitted",
        /// The peer's port was closed when an earlier packet came.
        Refused = "refused",
        /// Another error of the system.
        Other = "other",
        /// The stream was far behind its plan, and went on at the present.
        Skipped = "skipped",
        /// A packet to echo found no room in the send arena.
        NoSlot = "no_slot",
        /// The relay had no channel to the peer.
        NoRelay = "no_relay",
    }
}

causes! {
    /// The verdict about the audio of a call that has ended.
    HeardVerdict,
    /// Ended calls with media by verdict.
    HeardCounts {
        /// Nothing shows who heard whom. It is never a success.
        Unknown = "unknown",
        /// No RTP was sent and none came: the call ended before, or was on hold.
        NoMedia = "no_media",
        /// Neither side heard the other.
        None = "none",
        /// One side heard the other.
        OneWay = "one_way",
        /// Both sides heard each other.
        TwoWay = "two_way",
    }
}

macro_rules! media_counters {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// Everything that one worker counts about media. All fields only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MediaCounters {
            $($(#[doc = $doc])+ pub $field: u64,)+
            /// Malformed datagrams, by cause.
            pub faults: RtpFaultCounts,
            /// Packets that SRTP dropped, by cause.
            pub srtp_faults: SrtpFaultCounts,
            /// Failures of DTLS and ICE, by cause.
            pub handshake_faults: HandshakeFaultCounts,
            /// Failures of relays, by cause.
            pub relay_faults: RelayFaultCounts,
            /// Datagrams that count for no stream, by cause.
            pub strays: StrayCounts,
            /// Packets that left later than planned, by cause.
            pub delays: DelayCounts,
            /// Packets that did not leave, by cause.
            pub unsent: UnsentCounts,
            /// Ended calls by verdict.
            pub heard: HeardCounts,
        }

        impl MediaCounters {
            /// Names of the plain counters, in declaration order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// Name and value of each plain counter, in declaration order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + Clone + use<> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }

            /// Name and description of each plain counter, in declaration order.
            pub fn descriptions() -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((stringify!($field), concat!($($doc),+).trim_ascii())),+].into_iter()
            }

            /// Adds `other` field by field.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
                self.faults.add(&other.faults);
                self.srtp_faults.add(&other.srtp_faults);
                self.handshake_faults.add(&other.handshake_faults);
                self.relay_faults.add(&other.relay_faults);
                self.strays.add(&other.strays);
                self.delays.add(&other.delays);
                self.unsent.add(&other.unsent);
                self.heard.add(&other.heard);
            }

            /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels;
            /// some fields may have been added then.
            pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
                $(self.$field = wire::sum(self.$field, other.$field)?;)+
                self.faults.checked_add(&other.faults)?;
                self.srtp_faults.checked_add(&other.srtp_faults)?;
                self.handshake_faults.checked_add(&other.handshake_faults)?;
                self.relay_faults.checked_add(&other.relay_faults)?;
                self.strays.checked_add(&other.strays)?;
                self.delays.checked_add(&other.delays)?;
                self.unsent.checked_add(&other.unsent)?;
                self.heard.checked_add(&other.heard)
            }

            /// The counts since `earlier`, a previous copy of the same block.
            pub fn since(&self, earlier: &Self) -> Self {
                Self {
                    $($field: self.$field.saturating_sub(earlier.$field),)+
                    faults: self.faults.since(&earlier.faults),
                    srtp_faults: self.srtp_faults.since(&earlier.srtp_faults),
                    handshake_faults: self.handshake_faults.since(&earlier.handshake_faults),
                    relay_faults: self.relay_faults.since(&earlier.relay_faults),
                    strays: self.strays.since(&earlier.strays),
                    delays: self.delays.since(&earlier.delays),
                    unsent: self.unsent.since(&earlier.unsent),
                    heard: self.heard.since(&earlier.heard),
                }
            }

            /// The plain counter of that name.
            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

media_counters! {
    /// Calls with media that began.
    legs_opened,
    /// Calls with media that ended; the sum of `heard`.
    legs_closed,
    /// Ended calls that sent RTP or were to receive some, and in which we heard nothing and the
    /// peer did not report to have heard us.
    silent_calls,
    /// Ended calls that received RTP.
    legs_receiving,
    /// RTP packets sent.
    rtp_packets_sent,
    /// RTP payload octets sent.
    rtp_octets_sent,
    /// Packets among `rtp_packets_sent` that were sent back as they came.
    rtp_packets_echoed,
    /// RTP packets received for a stream, duplicates included.
    rtp_packets_received,
    /// RTP payload octets received for a stream.
    rtp_octets_received,
    /// Datagrams of media other than RTP that were sent (T.38).
    datagrams_sent,
    /// Datagrams of media other than RTP that were received for a stream.
    datagrams_received,
    /// RTCP compounds sent.
    rtcp_sent,
    /// RTCP compounds received for a stream.
    rtcp_received,
    /// RTCP sender reports sent.
    rtcp_sender_reports,
    /// RTCP receiver reports sent.
    rtcp_receiver_reports,
    /// Octets of RTCP sent.
    rtcp_octets_sent,
    /// Octets of RTCP received.
    rtcp_octets_received,
    /// DTMF digits sent as telephone events.
    digits_sent,
    /// DTMF digits received as telephone events.
    digits_received,
    /// Packets that ended streams expected.
    rtp_expected,
    /// Packets that ended streams expected and that never came.
    rtp_lost,
    /// Packets of ended streams that came after a later one.
    rtp_reordered,
    /// Packets of ended streams that came twice.
    rtp_duplicates,
    /// Packets of ended streams that came too late for the jitter buffer.
    rtp_discarded,
    /// Packets of ended streams with a payload type that was not negotiated.
    rtp_wrong_payload_type,
    /// Changes of the SSRC within ended streams.
    ssrc_changes,
    /// Ended calls that heard marked audio of another stream.
    legs_marked,
    /// Ended calls in which watermarks showed that one side heard another call.
    legs_crosstalk,
    /// Packets of ended calls that showed it.
    crosstalk_packets,
    /// Ended streams that played a check pattern.
    patterns_checked,
    /// Ended streams whose check pattern did not come back within the tolerance.
    patterns_failed,
    /// Packets of check patterns that ended streams sent.
    pattern_packets_checked,
    /// Packets among `pattern_packets_checked` that did not come back as they were.
    pattern_packets_bad,
    /// Packets for recordings that found no room on their way to the thread that writes them.
    recording_dropped,
    /// Streams whose peer sent from another port than it had signalled, and was followed there.
    latched,
    /// Session descriptions of peers that media could not follow.
    bad_descriptions,
    /// ICMP reports that a packet of media did not arrive.
    unreachable,
    /// Pairs of ports that were opened.
    ports_opened,
    /// Ports that were skipped because another program holds them.
    ports_taken,
    /// Sockets that the system refused for another reason.
    sockets_refused,
    /// Pairs of ports that were used again before their rest was over.
    rests_cut,
    /// Handshakes of DTLS that gave keys.
    handshakes,
    /// Pairs of relayed addresses that a TURN server gave.
    relays_opened,
    /// News for calls that were lost because too many waited.
    events_dropped,
    /// Receive operations of the worker that delivered data; a GRO train counts once.
    receive_calls,
}

/// Counters as they travel: a block for each table, without what is 0.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    plain: Plain,
    faults: RtpFaultCounts,
    srtp_faults: SrtpFaultCounts,
    handshake_faults: HandshakeFaultCounts,
    relay_faults: RelayFaultCounts,
    strays: StrayCounts,
    delays: DelayCounts,
    unsent: UnsentCounts,
    heard: HeardCounts,
}

/// The plain counters of a block; its tables are empty.
struct Plain(MediaCounters);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::named(self.0.each(), serializer)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counters = MediaCounters::default();
        wire::read_named(deserializer, &mut counters, MediaCounters::slot)?;
        Ok(Self(counters))
    }
}

impl Serialize for MediaCounters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = Plain(*self);
        let Self {
            faults,
            srtp_faults,
            handshake_faults,
            relay_faults,
            strays,
            delays,
            unsent,
            heard,
            ..
        } = *self;
        let blocks = Blocks {
            plain,
            faults,
            srtp_faults,
            handshake_faults,
            relay_faults,
            strays,
            delays,
            unsent,
            heard,
        };
        blocks.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MediaCounters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Blocks {
            plain,
            faults,
            srtp_faults,
            handshake_faults,
            relay_faults,
            strays,
            delays,
            unsent,
            heard,
        } = Blocks::deserialize(deserializer)?;
        let tables = Self {
            faults,
            srtp_faults,
            handshake_faults,
            relay_faults,
            strays,
            delays,
            unsent,
            heard,
            ..plain.0
        };
        Ok(tables)
    }
}

/// One measurement of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MediaMeasure {
    /// Distance of a packet's start from its planned time: the generator's own error.
    SendError,
    /// Interarrival jitter of an ended stream (RFC 3550 section 6.4.1).
    Jitter,
    /// Estimated MOS of an ended stream; a MOS of 4.41 is recorded as 4.41 ms.
    Mos,
    /// Time from the answer of a call to the first audible packet.
    FirstAudio,
    /// Packets lost of an ended stream; a loss of 1 % is recorded as 1 ms.
    Loss,
    /// Round-trip time by RTCP.
    RoundTrip,
    /// Loss that a peer reported of what we sent; 1 % is recorded as 1 ms.
    PeerLoss,
    /// Jitter that a peer reported, in units of the RTP clock; one is recorded as 1 us.
    PeerJitter,
    /// Highest interarrival jitter of an ended stream, in units of the RTP clock; one is recorded
    /// as 1 us.
    JitterPeak,
    /// Packets lost of an ended stream; one is recorded as 1 us.
    Lost,
    /// RTP packets received in an ended call that sent RTP or was to receive some; one is recorded
    /// as 1 us.
    CallPackets,
    /// Time from the address of a stream's peer, which ICE may have had to find, to the keys by
    /// DTLS.
    Handshake,
}

impl MediaMeasure {
    /// Every measurement, in declaration order.
    pub const ALL: [Self; 12] = [
        Self::SendError,
        Self::Jitter,
        Self::Mos,
        Self::FirstAudio,
        Self::Loss,
        Self::RoundTrip,
        Self::PeerLoss,
        Self::PeerJitter,
        Self::JitterPeak,
        Self::Lost,
        Self::CallPackets,
        Self::Handshake,
    ];

    /// The stable snake_case name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SendError => "rtp_send_error",
            Self::Jitter => "jitter",
            Self::Mos => "mos",
            Self::FirstAudio => "first_audio",
            Self::Loss => "loss",
            Self::RoundTrip => "round_trip",
            Self::PeerLoss => "peer_loss",
            Self::PeerJitter => "peer_jitter",
            Self::JitterPeak => "jitter_peak",
            Self::Lost => "lost",
            Self::CallPackets => "call_packets",
            Self::Handshake => "handshake",
        }
    }
}

/// Nanoseconds that are recorded for a MOS of 1, and for a loss of 1 %.
const UNIT_NS: f32 = 1e6;

/// Nanoseconds that are recorded for one of what is counted.
const COUNT_NS: u64 = 1000;

/// The distributions of media. Memory is taken when they are made, and touched when a value is
/// recorded.
#[derive(Clone, Debug)]
pub struct MediaHistograms<C: Cell = u32>([Distribution<C>; MediaMeasure::ALL.len()]);

impl<C: Cell> Default for MediaHistograms<C> {
    fn default() -> Self {
        Self(MediaMeasure::ALL.map(|_| Distribution::new()))
    }
}

impl<C: Cell> MediaHistograms<C> {
    /// The distribution of one measurement.
    pub fn of(&self, measure: MediaMeasure) -> &Distribution<C> {
        &self.0[measure as usize]
    }

    /// All distributions, in the order of [`MediaMeasure::ALL`].
    pub fn each(&self) -> &[Distribution<C>] {
        &self.0
    }

    pub(in crate::stats) fn each_mut(&mut self) -> &mut [Distribution<C>] {
        &mut self.0
    }

    /// Records a duration.
    pub fn record(&mut self, measure: MediaMeasure, duration_ns: u64) {
        self.0[measure as usize].record(duration_ns);
    }

    /// Records a duration `count` times.
    pub fn record_n(&mut self, measure: MediaMeasure, duration_ns: u64, count: u32) {
        self.0[measure as usize].record_n(duration_ns, count);
    }

    /// Records an estimated MOS.
    pub fn record_mos(&mut self, mos: f32) {
        self.record(MediaMeasure::Mos, (mos * UNIT_NS).round() as u64);
    }

    /// Records the packets lost of those expected.
    pub fn record_loss(&mut self, lost: u64, expected: u64) {
        if expected > 0 {
            let percent = 100.0 * lost as f32 / expected as f32;
            self.record(MediaMeasure::Loss, (percent * UNIT_NS).round() as u64);
        }
    }

    /// Records a report block of a peer about what we sent: the fraction lost in 1/256, and the
    /// jitter in units of the RTP clock (RFC 3550 section 6.4.1).
    pub fn record_peer(&mut self, fraction_lost: u8, jitter: u32) {
        let percent = 100.0 * f32::from(fraction_lost) / 256.0;
        self.record(MediaMeasure::PeerLoss, (percent * UNIT_NS).round() as u64);
        self.record_count(MediaMeasure::PeerJitter, u64::from(jitter));
    }

    /// Records a number of packets, or of units of a clock.
    pub fn record_count(&mut self, measure: MediaMeasure, count: u64) {
        self.record(measure, count.saturating_mul(COUNT_NS));
    }

    /// Adds everything that `other` recorded.
    pub fn add<D: Cell>(&mut self, other: &MediaHistograms<D>) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.add(theirs);
        }
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Distribution::clear);
    }
}

/// The bands of user satisfaction of G.107 annex B, the best first: the words, and the least MOS in
/// hundredths.
pub const MOS_BANDS: [(&str, u16); 6] = [
    ("very satisfied", 434),
    ("satisfied", 403),
    ("some users dissatisfied", 360),
    ("many users dissatisfied", 310),
    ("nearly all users dissatisfied", 258),
    ("not recommended", 100),
];

/// The figures of all measurements of media, as snapshots have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaSummary {
    measured: [DurationSummary; MediaMeasure::ALL.len()],
    mos_bands: [u64; MOS_BANDS.len()],
}

impl MediaSummary {
    pub(in crate::stats) fn of<C: Cell>(histograms: &MediaHistograms<C>) -> Self {
        let measured = MediaMeasure::ALL.map(|measure| histograms.of(measure).summarize());
        let mos = histograms.of(MediaMeasure::Mos);
        let mut better = 0;
        let mos_bands = MOS_BANDS.map(|(_, least)| {
            // A MOS of 4.34 is recorded as 4.34 ms, and belongs to the band that begins there.
            let this_good = mos.count_above(u64::from(least) * 10_000 - 1);
            this_good - std::mem::replace(&mut better, this_good)
        });
        Self { measured, mos_bands }
    }

    /// Ended streams by their estimated MOS, in the order of [`MOS_BANDS`].
    pub fn mos_bands(&self) -> &[u64; MOS_BANDS.len()] {
        &self.mos_bands
    }

    /// The figures of one measurement.
    pub fn get(&self, measure: MediaMeasure) -> &DurationSummary {
        &self.measured[measure as usize]
    }

    /// The same, unless nothing was measured.
    pub fn measured(&self, measure: MediaMeasure) -> Option<&DurationSummary> {
        Some(self.get(measure)).filter(|summary| summary.count > 0)
    }
}

/// The number that was recorded as `ns` by [`MediaHistograms::record_count`].
pub fn count_of_ns(ns: u64) -> u64 {
    ns / COUNT_NS
}

/// The MOS, or the loss in percent, that was recorded as `ns`.
pub fn units_of_ns(ns: u64) -> f64 {
    ns as f64 / f64::from(UNIT_NS)
}

impl MediaCounters {
    /// Share of the packets of ended streams, 0 to 1, that never came; `None` while no stream that
    /// expected some has ended.
    pub fn loss_share(&self) -> Option<f64> {
        (self.rtp_expected > 0).then(|| self.rtp_lost as f64 / self.rtp_expected as f64)
    }

    /// Share of the packets of ended streams, 0 to 1, that a listener did not hear: they never
    /// came, or too late for the jitter buffer.
    pub fn unheard_share(&self) -> Option<f64> {
        let unheard = (self.rtp_lost + self.rtp_discarded) as f64;
        (self.rtp_expected > 0).then(|| (unheard / self.rtp_expected as f64).min(1.0))
    }

    /// Tells whether calls had media, or would have had it if their relay had let them.
    pub fn is_used(&self) -> bool {
        let used = self.legs_opened + self.rtp_packets_sent + self.rtp_packets_received;
        used + self.relay_faults.total() > 0
    }

    /// Calls with media that are open.
    pub fn legs_open(&self) -> u64 {
        self.legs_opened.saturating_sub(self.legs_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_many_at_once_is_recording_each() {
        let (mut at_once, mut each) =
            (MediaHistograms::<u32>::default(), MediaHistograms::default());
        for (duration_ns, count) in [(700, 3), (1_200_000, 5), (9_000_000_000_000, 2), (4, 0)] {
            at_once.record_n(MediaMeasure::SendError, duration_ns, count);
            (0..count).for_each(|_| each.record(MediaMeasure::SendError, duration_ns));
        }
        let [at_once, each]: [&Distribution<u32>; 2] =
            [&at_once, &each].map(|histograms| histograms.of(MediaMeasure::SendError));
        assert_eq!(at_once.summarize(), each.summarize());
        assert_eq!(at_once.repartition(), each.repartition());
    }

    #[test]
    fn loss_and_mos_are_recorded_in_thousandths() {
        let mut histograms = MediaHistograms::<u32>::default();
        histograms.record_loss(1, 100);
        histograms.record_loss(0, 0);
        histograms.record_mos(4.41);
        assert_eq!(histograms.of(MediaMeasure::Loss).moments().sum_ns, 1_000_000);
        assert_eq!(histograms.of(MediaMeasure::Loss).count(), 1);
        assert_eq!(histograms.of(MediaMeasure::Mos).summarize().max_ns, 4_410_000);
        histograms.record_peer(64, 320);
        histograms.record_count(MediaMeasure::CallPackets, 49);
        let summary = MediaSummary::of(&histograms);
        let max = |measure| summary.get(measure).max_ns;
        assert_eq!(units_of_ns(max(MediaMeasure::Mos)), 4.41);
        assert_eq!(units_of_ns(max(MediaMeasure::PeerLoss)), 25.0);
        assert_eq!(count_of_ns(max(MediaMeasure::PeerJitter)), 320);
        assert_eq!(count_of_ns(max(MediaMeasure::CallPackets)), 49);
        assert!(summary.measured(MediaMeasure::RoundTrip).is_none());
    }

    #[test]
    fn streams_are_counted_in_the_bands_of_satisfaction() {
        let mut histograms = MediaHistograms::<u32>::default();
        for mos in [4.5, 4.34, 4.33, 3.6, 3.59, 2.58, 2.5, 1.0] {
            histograms.record_mos(mos);
        }
        assert_eq!(MediaSummary::of(&histograms).mos_bands(), &[2, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn shares_are_unknown_until_a_stream_has_ended() {
        let mut counters = MediaCounters { rtp_packets_received: 100, ..Default::default() };
        assert_eq!((counters.loss_share(), counters.unheard_share()), (None, None));
        (counters.rtp_expected, counters.rtp_lost, counters.rtp_discarded) = (100, 1, 2);
        assert_eq!((counters.loss_share(), counters.unheard_share()), (Some(0.01), Some(0.03)));
    }

    #[test]
    fn counters_travel_and_come_back() {
        let mut counters = MediaCounters { rtp_packets_sent: 7, latched: 1, ..Default::default() };
        counters.strays.bump(StrayCause::Foreign);
        counters.heard.bump(HeardVerdict::TwoWay);
        let text = serde_json::to_string(&counters).unwrap();
        assert_eq!(serde_json::from_str::<MediaCounters>(&text).unwrap(), counters);
        let mut twice = counters;
        twice.add(&counters);
        assert_eq!(twice.since(&counters), counters);
        assert_eq!(MediaCounters::descriptions().count(), MediaCounters::NAMES.len());
    }
}
