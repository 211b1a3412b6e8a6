//! Streams with a known truth, and a model that keeps all packets beside them.

use proptest::prelude::*;

use super::super::report::Reception;
use super::super::rtp::Header;
use super::*;

const MS: u64 = 1_000_000;
const PACKET_NS: u64 = 20 * MS;
const SAMPLES: u32 = 160;

fn g711() -> Format {
    Format::of("pcmu", 8000, 20)
}

fn stream() -> Stream {
    Stream::new(g711(), Buffer::default())
}

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ssrc: u32,
    /// Number since the source's first packet.
    number: u32,
    header: Header,
    received_ns: u64,
}

/// A source that sends `count` packets from `begin_ns` on.
fn source(ssrc: u32, sequence: u16, timestamp: u32, count: u32, begin_ns: u64) -> Vec<Sent> {
    let packet = |number: u32| {
        let header = Header {
            payload_type: 0,
            marker: number == 0,
            sequence: sequence.wrapping_add(number as u16),
            timestamp: timestamp.wrapping_add(number * SAMPLES),
            ssrc,
        };
        let received_ns = begin_ns + u64::from(number) * PACKET_NS;
        Sent { ssrc, number, header, received_ns }
    };
    (0..count).map(packet).collect()
}

fn receive(stream: &mut Stream, packets: &[Sent]) -> Vec<Receipt> {
    let take = |sent: &Sent| stream.receive(&sent.header, 160, Sound::Audible, sent.received_ns);
    packets.iter().map(take).collect()
}

fn reception_of(packets: &[Sent]) -> Reception {
    let mut stream = stream();
    receive(&mut stream, packets);
    stream.reception(packets.last().unwrap().received_ns)
}

fn assert_near(value: f32, expected: f32) {
    assert!((value - expected).abs() < 0.01, "{value} is not {expected}");
}

#[test]
fn a_stream_without_a_fault_has_the_best_rating() {
    // Sequence number and timestamp wrap.
    let reception = reception_of(&source(1, 65_000, u32::MAX - 9_999, 3_000, 5));
    assert_eq!((reception.packets, reception.expected, reception.lost), (3_000, 3_000, 0));
    assert_eq!(reception.octets, 480_000);
    assert_eq!((reception.reordered, reception.duplicates, reception.strays), (0, 0, 0));
    assert_eq!((reception.jitter_max_ns, reception.discarded, reception.bursts), (0, 0, 0));
    assert_eq!((reception.longest_gap_ns, reception.ssrc_changes), (PACKET_NS, 0));
    assert_near(reception.mos.unwrap(), 4.41);
    assert_eq!(reception.mos, reception.mos_min);
}

#[test]
fn what_was_not_measured_has_no_mos() {
    assert_eq!(stream().reception(0), Reception::default());
    assert_eq!(stream().report_block(0, None), None);
    assert_eq!(stream().voip_metrics(), None);
    assert_eq!(reception_of(&source(1, 0, 0, 24, 0)).mos, None);
    assert!(reception_of(&source(1, 0, 0, 25, 0)).mos.is_some());
    let mut stream = Stream::new(Format::of("iLBC", 8000, 20), Buffer::default());
    receive(&mut stream, &source(1, 0, 0, 1_000, 0));
    let reception = stream.reception(0);
    assert_eq!((reception.packets, reception.mos, reception.mos_min), (1_000, None, None));
}

/// A disturbance of five seconds in a minute: the minimum shows it, the mean knows its share.
#[test]
fn mos_is_that_of_intervals() {
    let mut packets = source(1, 0, 0, 3_000, 0);
    packets.retain(|sent| !(1_000..1_250).contains(&sent.number) || sent.number % 5 != 0);
    let reception = reception_of(&packets);
    assert_eq!((reception.lost, reception.packets), (50, 2_950));
    let lossy = Path { loss: 0.2, burst_ratio: 1.0, delay_ms: 80.0 };
    let codec = g711().codec().unwrap();
    let (low, high) = (Rating::of(codec, &lossy).mos, 4.41);
    // The loss is that of two intervals, because packets are decided 1.28 s later.
    let (mos, mos_min) = (reception.mos.unwrap(), reception.mos_min.unwrap());
    assert!(mos_min > low && mos_min < low + 0.4, "{mos_min} {low}");
    assert!(mos > high - 0.25 && mos < high - 0.05, "{mos}");
    // Ten minutes later the minimum is the same, and the mean is better.
    let mut stream = stream();
    receive(&mut stream, &packets);
    receive(&mut stream, &source(1, 3_000, 3_000 * SAMPLES, 30_000, 3_000 * PACKET_NS));
    let later = stream.reception(0);
    assert_eq!(later.mos_min, Some(mos_min));
    assert!(later.mos.unwrap() > high - 0.03);
}

#[test]
fn what_comes_too_late_is_discarded_and_costs_mos() {
    let mut packets = source(1, 0, 0, 1_000, 0);
    let late = |number: u32| number % 50 == 49;
    packets
        .iter_mut()
        .filter(|sent| late(sent.number))
        .for_each(|sent| sent.received_ns += 90 * MS);
    packets.sort_by_key(|sent| sent.received_ns);
    let reception = reception_of(&packets);
    assert_eq!((reception.lost, reception.discarded, reception.reordered), (0, 20, 19));
    let lost = packets.iter().copied().filter(|sent| !late(sent.number)).collect::<Vec<_>>();
    let lost = reception_of(&lost);
    assert_eq!(lost.lost, 19);
    // The last packet is the 20th.
    assert!((reception.mos.unwrap() - lost.mos.unwrap()).abs() < 0.02);
    let buffer = Buffer::Fixed { depth_ms: 100 };
    let mut deep = Stream::new(g711(), buffer);
    receive(&mut deep, &packets);
    assert_eq!(deep.reception(0).discarded, 0);
}

#[test]
fn delay_of_the_way_is_part_of_the_rating() {
    let rated = |round_trip_ns| {
        let mut stream = stream();
        stream.set_round_trip_ns(round_trip_ns);
        receive(&mut stream, &source(1, 0, 0, 500, 0));
        stream.reception(0).mos.unwrap()
    };
    assert_eq!(rated(0), rated(40 * MS));
    assert!(rated(600 * MS) < rated(400 * MS) && rated(400 * MS) < rated(0));
    assert!(rated(u64::MAX) >= 1.0);
}

#[test]
fn a_source_is_followed_from_its_second_packet_on() {
    let old = source(1, 60_000, 7, 100, 0);
    let new = source(2, 100, 9, 100, 102 * PACKET_NS);
    let mut stream = stream();
    receive(&mut stream, &old);
    let receipts = receive(&mut stream, &new);
    assert_eq!(receipts[..2], [Receipt::Stray, Receipt::Fresh]);
    let reception = stream.reception(0);
    assert_eq!((reception.packets, reception.expected, reception.lost), (200, 200, 0));
    assert_eq!((reception.ssrc_changes, reception.strays), (1, 0));
    assert_eq!((reception.jitter_max_ns, reception.audible), (0, 200));
    assert_eq!((stream.ssrc(), reception.longest_gap_ns), (Some(2), 3 * PACKET_NS));
    // What is left of the old one belongs to no source.
    assert_eq!(receive(&mut stream, &old[99..]), [Receipt::Stray]);
    assert_eq!(stream.reception(0).packets, 200);
}

#[test]
fn a_sequence_that_begins_anew_is_no_loss() {
    let mut packets = source(1, 0, 0, 100, 0);
    packets.extend(source(1, 30_000, 77, 100, 100 * PACKET_NS));
    let reception = reception_of(&packets);
    assert_eq!((reception.packets, reception.expected, reception.lost), (200, 200, 0));
    assert_eq!((reception.ssrc_changes, reception.strays), (0, 0));
}

#[test]
fn single_strange_packets_change_nothing() {
    let mut packets = source(1, 0, 0, 300, 0);
    for (at, sequence) in [(50, 9_000), (100, 40_000), (150, 20_000)] {
        packets[at].header.sequence = sequence;
    }
    packets[200].header.ssrc = 9;
    let mut stream = stream();
    let receipts = receive(&mut stream, &packets);
    assert_eq!(receipts.iter().filter(|&&receipt| receipt == Receipt::Stray).count(), 4);
    let reception = stream.reception(0);
    assert_eq!((reception.packets, reception.lost, reception.strays), (296, 4, 4));
    assert_eq!((reception.ssrc_changes, stream.ssrc()), (0, Some(1)));
}

#[test]
fn a_strange_first_packet_is_forgotten() {
    let mut packets = source(9, 40_000, 5, 1, 0);
    packets.extend(source(1, 0, 0, 100, PACKET_NS));
    let reception = reception_of(&packets);
    assert_eq!((reception.packets, reception.expected, reception.strays), (100, 100, 1));
    assert_eq!((reception.ssrc_changes, reception.octets), (0, 16_000));
}

#[test]
fn events_and_wrong_payload_types_are_received_and_not_heard() {
    let mut stream = stream();
    stream.begin_listening(0);
    for sent in source(1, 0, 0, 100, 0) {
        let (sound, mut header) = match sent.number {
            40..60 => (Sound::Event, Header { payload_type: 101, ..sent.header }),
            80..90 => (Sound::WrongPayloadType, Header { payload_type: 9, ..sent.header }),
            90..95 => (Sound::Quiet, sent.header),
            95.. => (Sound::Unjudged, sent.header),
            _ => (Sound::Audible, sent.header),
        };
        if sound == Sound::Event {
            // All packets of an event have the timestamp of its beginning.
            header.timestamp = 40 * SAMPLES;
        }
        assert_eq!(stream.receive(&header, 160, sound, sent.received_ns), Receipt::Fresh);
    }
    let reception = stream.reception(100 * PACKET_NS);
    assert_eq!((reception.packets, reception.lost, reception.jitter_max_ns), (100, 0, 0));
    assert_eq!((reception.wrong_payload_type, reception.audible, reception.unjudged), (10, 60, 5));
    // What cannot be decoded is a burst to the listener.
    assert_eq!((reception.bursts, reception.dead_air_ns), (1, 21 * PACKET_NS));
}

#[test]
fn silence_is_measured_while_somebody_listens() {
    let mut stream = stream();
    let second = 1_000 * MS;
    assert_eq!(stream.first_audible_ns(), None);
    receive(&mut stream, &source(1, 0, 0, 1, second));
    assert_eq!(stream.first_audible_ns(), Some(second));
    assert_eq!(stream.reception(9 * second).dead_air_ns, 0);
    stream.begin_listening(10 * second);
    assert_eq!(stream.reception(13 * second).dead_air_ns, 3 * second);
    receive(&mut stream, &source(1, 1, SAMPLES, 1, 12 * second));
    assert_eq!(stream.reception(13 * second).dead_air_ns, 2 * second);
    // A hold.
    stream.end_listening(15 * second);
    stream.begin_listening(60 * second);
    assert_eq!(stream.reception(61 * second).dead_air_ns, 3 * second);
}

#[test]
fn levels_are_judged_at_the_threshold() {
    assert_eq!(Sound::of_dbov(None), Sound::Unjudged);
    assert_eq!(Sound::of_dbov(Some(-55.0)), Sound::Audible);
    assert_eq!(Sound::of_dbov(Some(-55.1)), Sound::Quiet);
    assert_eq!(Sound::of_mean_square(None), Sound::Unjudged);
    assert_eq!(Sound::of_mean_square(Some(AUDIBLE_MEAN_SQUARE)), Sound::Audible);
    assert_eq!(Sound::of_mean_square(Some(AUDIBLE_MEAN_SQUARE - 1)), Sound::Quiet);
}

#[test]
fn reports_have_the_loss_since_the_last_one() {
    let mut stream = stream();
    let mut packets = source(1, 65_500, 0, 512, 0);
    packets.retain(|sent| sent.number >= 256 || sent.number % 4 != 1);
    let (first, second) = packets.split_at(192);
    receive(&mut stream, first);
    let block = stream.report_block(0, None).unwrap();
    // 64 of 256, and the last number is 65,500 + 255.
    assert_eq!((block.ssrc, block.fraction_lost, block.cumulative_lost), (1, 64, 64));
    assert_eq!((block.highest_sequence, block.jitter), (0x1_0000 + 219, 0));
    receive(&mut stream, second);
    // Duplicates count as received, so that the loss can be negative (RFC 3550 section 6.4.1).
    for _ in 0..100 {
        receive(&mut stream, &second[255..]);
    }
    let last = super::super::rtcp::LastReport {
        time: super::super::rtcp::Ntp(0x1234_5678_0000),
        received_ns: 500 * MS,
    };
    let block = stream.report_block(1_000 * MS, Some(&last)).unwrap();
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -36));
    assert_eq!((block.last_sr, block.delay_since_last_sr), (0x1234_5678, 1 << 15));
    assert_eq!(stream.reception(0).duplicates, 100);
    // Half of the next hundred; what was lost before counts no more.
    let mut packets = source(1, 65_500u16.wrapping_add(512), 512 * SAMPLES, 100, 512 * PACKET_NS);
    packets.retain(|sent| sent.number % 2 == 1);
    receive(&mut stream, &packets);
    assert_eq!(stream.report_block(0, None).unwrap().fraction_lost, 128);
}

#[test]
fn an_extended_report_has_rates_bursts_and_opinions() {
    let mut stream = stream();
    stream.set_round_trip_ns(30 * MS);
    let mut packets = source(1, 0, 0, 1_000, 0);
    // One burst of ten packets with five losses, and five losses on their own.
    packets.retain(|sent| !matches!(sent.number, 500..510 if sent.number % 2 == 1));
    packets.retain(|sent| !(600..=800).contains(&sent.number) || sent.number % 50 != 0);
    receive(&mut stream, &packets);
    let metrics = stream.voip_metrics().unwrap();
    assert_eq!((metrics.loss_rate, metrics.discard_rate), (2, 0));
    assert_eq!((metrics.burst_density, metrics.gap_density), ((5 * 256 / 9) as u8, 1));
    assert_eq!((metrics.burst_ms, metrics.gap_ms, metrics.gap_min), (180, 19_820, 16));
    assert_eq!((metrics.round_trip_ms, metrics.end_system_ms), (30, 80));
    assert_eq!((metrics.buffer_nominal_ms, metrics.receiver), (60, 0b1110_0000));
    assert!((85..93).contains(&metrics.r_factor) && (42..44).contains(&metrics.mos_listening));
    // Listening alone was not estimated where delay counts.
    stream.set_round_trip_ns(200 * MS);
    let metrics = stream.voip_metrics().unwrap();
    assert_eq!(metrics.mos_listening, super::super::rtcp::UNKNOWN);
    assert!((40..44).contains(&metrics.mos_conversational));
    let mut wide = Stream::new(Format::of("G722", 8000, 20), Buffer::default());
    receive(&mut wide, &packets);
    let metrics = wide.voip_metrics().unwrap();
    assert_eq!(metrics.r_factor, super::super::rtcp::UNKNOWN);
    assert!((38..43).contains(&metrics.mos_conversational), "{metrics:?}");
}

/// All that the model knows of a stream: each packet that came, in order.
struct Model<'a> {
    packets: &'a [Sent],
}

impl Model<'_> {
    /// The packets of each source, the first time that each came.
    fn sources(&self) -> Vec<Vec<Sent>> {
        let mut ssrcs: Vec<u32> = self.packets.iter().map(|sent| sent.ssrc).collect();
        ssrcs.dedup();
        let of = |ssrc: &u32| {
            let mut fresh: Vec<Sent> = Vec::new();
            for sent in self.packets.iter().filter(|sent| sent.ssrc == *ssrc) {
                if !fresh.iter().any(|before| before.number == sent.number) {
                    fresh.push(*sent);
                }
            }
            fresh
        };
        ssrcs.iter().map(of).collect()
    }

    fn assert_agrees(&self, reception: &Reception) {
        let sources = self.sources();
        let fresh = sources.iter().map(Vec::len).sum::<usize>();
        let expected: u32 = sources.iter().map(|source| ends(source)).map(|(a, b)| b - a + 1).sum();
        assert_eq!(reception.packets, fresh as u64, "packets");
        assert_eq!(reception.expected, u64::from(expected), "expected");
        assert_eq!(reception.lost, u64::from(expected) - fresh as u64, "lost");
        assert_eq!(reception.duplicates, (self.packets.len() - fresh) as u64, "duplicates");
        assert_eq!(reception.ssrc_changes, sources.len() as u64 - 1, "changes");
        assert_eq!(reception.strays, 0, "strays");
        let reordered = sources.iter().map(|source| reordered(source)).sum::<usize>();
        assert_eq!(reception.reordered, reordered as u64, "reordered");
        let (jitter, mean) = jitter(&sources);
        assert!((reception.jitter_ns as f64 - jitter).abs() < 20.0, "{reception:?} {jitter}");
        // The first packet of a further source counts as one with the mean so far.
        let is_near = (reception.jitter_mean_ns as f64 - mean).abs() < 20.0 + mean / 1e4;
        assert!(is_near || sources.len() > 1, "{reception:?} {mean}");
        let played: Vec<Vec<bool>> = sources.iter().map(|source| played(source)).collect();
        let late = played.iter().flatten().filter(|&&played| !played).count();
        assert_eq!(reception.discarded, late as u64, "discarded");
        assert_eq!(reception.bursts, bursts(&sources, &played), "bursts");
    }
}

/// The lowest and the highest number of a source.
fn ends(source: &[Sent]) -> (u32, u32) {
    let numbers = source.iter().map(|sent| sent.number);
    (numbers.clone().min().unwrap(), numbers.max().unwrap())
}

fn reordered(source: &[Sent]) -> usize {
    (1..source.len())
        .filter(|&at| source[..at].iter().any(|before| before.number > source[at].number))
        .count()
}

fn transit_ns(sent: &Sent) -> i64 {
    sent.received_ns as i64 - i64::from(sent.number) * PACKET_NS as i64
}

/// RFC 3550 section 6.4.1 in floating point: the jitter at the end, and its mean.
fn jitter(sources: &[Vec<Sent>]) -> (f64, f64) {
    let (mut jitter, mut sum, mut steps) = (0.0, 0.0, 0.0);
    for source in sources {
        for pair in source.windows(2) {
            let step_ns = (transit_ns(&pair[1]) - transit_ns(&pair[0])).abs() as f64;
            jitter += (step_ns - jitter) / 16.0;
            sum += jitter;
            steps += 1.0;
        }
    }
    (jitter, sum / f64::max(steps, 1.0))
}

/// True for each packet that came within 60 ms of the fastest way, which becomes slower by 1/5000.
fn played(source: &[Sent]) -> Vec<bool> {
    let is_played = |at: usize| {
        let sent = &source[at];
        let way = |before: &Sent| {
            let elapsed_ns = sent.received_ns - before.received_ns;
            transit_ns(before) as f64 + elapsed_ns as f64 / 5_000.0
        };
        let fastest_ns = source[..=at].iter().map(way).fold(f64::MAX, f64::min);
        transit_ns(sent) as f64 - fastest_ns <= 60e6
    };
    (0..source.len()).map(is_played).collect()
}

/// Bursts of all packets of all sources, one after the other.
fn bursts(sources: &[Vec<Sent>], played: &[Vec<bool>]) -> u64 {
    let mut heard = Vec::new();
    for (source, played) in sources.iter().zip(played) {
        let (first, last) = ends(source);
        heard.extend((first..=last).map(|number| {
            let at = source.iter().position(|sent| sent.number == number);
            at.is_some_and(|at| played[at])
        }));
    }
    let losses: Vec<usize> = (0..heard.len()).filter(|&at| !heard[at]).collect();
    let mut count = 0;
    let mut in_burst = 0;
    for (at, loss) in losses.iter().enumerate() {
        let is_near = at > 0 && loss - losses[at - 1] <= usize::from(losses::GAP_MIN);
        in_burst = if is_near { in_burst + 1 } else { 1 };
        count += u64::from(in_burst == 2);
    }
    count
}

/// A network between a sender and us.
#[derive(Clone, Debug)]
struct Network {
    seed: u64,
    loss: f64,
    duplication: f64,
    /// Share of the packets that take longer, by up to so many milliseconds.
    delayed: f64,
    delay_ms_max: u64,
}

fn networks() -> impl Strategy<Value = Network> {
    (any::<u64>(), 0.0..0.4, 0.0..0.2, 0.0..0.5, 1u64..400).prop_map(
        |(seed, loss, duplication, delayed, delay_ms_max)| Network {
            seed,
            loss,
            duplication,
            delayed,
            delay_ms_max,
        },
    )
}

impl Network {
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
        (self.seed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The packets that arrive, in order of arrival.
    fn carry(&mut self, sent: &[Sent]) -> Vec<Sent> {
        let mut arrived = Vec::new();
        for packet in sent {
            if self.random() < self.loss {
                continue;
            }
            let copies = 1 + u32::from(self.random() < self.duplication);
            for _ in 0..copies {
                let mut packet = *packet;
                if self.random() < self.delayed {
                    let delay_ms = (self.random() * self.delay_ms_max as f64) as u64 + 1;
                    packet.received_ns += delay_ms * MS;
                }
                arrived.push(packet);
            }
        }
        arrived.sort_by_key(|packet| packet.received_ns);
        arrived
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Loss, duplication, delay and reordering, wraps and changes of the source: the figures are
    /// those of a model that keeps all packets.
    #[test]
    fn figures_are_those_of_all_packets(
        mut network in networks(),
        begins in prop::collection::vec((any::<u16>(), any::<u32>(), 100u32..600), 1..4),
    ) {
        let mut packets: Vec<Sent> = Vec::new();
        for (ssrc, &(sequence, timestamp, count)) in (1..).zip(&begins) {
            let begin_ns = packets.last().map_or(MS, |last| last.received_ns + 40 * MS);
            let sent = source(ssrc, sequence, timestamp, count, begin_ns);
            packets.extend(network.carry(&sent));
        }
        let mut stream = stream();
        receive(&mut stream, &packets);
        let reception = stream.reception(packets.last().unwrap().received_ns);
        Model { packets: &packets }.assert_agrees(&reception);
        prop_assert!(reception.mos.unwrap() >= reception.mos_min.unwrap());
    }

    /// The truth is that of the network, not of a model: so many were dropped and doubled.
    #[test]
    fn loss_and_duplication_are_exact(seed in any::<u64>(), percent in 0u32..50) {
        let sent = source(1, seed as u16, seed as u32, 1_000, 0);
        let (mut dropped, mut doubled, mut arrived) = (0, 0, Vec::new());
        let (loss, duplication) = (f64::from(percent) / 100.0, 0.1);
        let mut network = Network { seed, loss, duplication, delayed: 0.0, delay_ms_max: 1 };
        for packet in &sent {
            // The first and the last packet show how many there were.
            let is_end = packet.number == 0 || packet.number == 999;
            if !is_end && network.random() < loss {
                dropped += 1;
                continue;
            }
            arrived.push(*packet);
            if network.random() < duplication {
                doubled += 1;
                arrived.push(*packet);
            }
        }
        let reception = reception_of(&arrived);
        prop_assert_eq!((reception.expected, reception.lost), (1_000, dropped));
        prop_assert_eq!((reception.duplicates, reception.reordered), (doubled, 0));
        prop_assert_eq!(reception.jitter_max_ns, 0);
    }

    /// Within one interval MOS is that of the loss that the network had, late packets included.
    #[test]
    fn mos_is_that_of_the_known_loss(
        seed in any::<u64>(),
        loss in 0.0..0.5f64,
        late in 0.0..0.2f64,
    ) {
        let mut network = Network { seed, loss, duplication: 0.0, delayed: 0.0, delay_ms_max: 1 };
        let mut sent = source(1, seed as u16, 0, 240, 0);
        let is_end = |packet: &Sent| packet.number == 0 || packet.number == 239;
        let mut heard = vec![true; 240];
        for packet in sent.iter_mut().filter(|packet| !is_end(packet)) {
            if network.random() < late {
                packet.received_ns += 61 * MS;
                heard[packet.number as usize] = false;
            }
        }
        sent.retain(|packet| is_end(packet) || network.random() >= loss);
        for (number, heard) in (0..).zip(&mut heard) {
            *heard &= sent.iter().any(|packet| packet.number == number);
        }
        sent.sort_by_key(|packet| packet.received_ns);
        let reception = reception_of(&sent);
        let lost = heard.iter().filter(|&&heard| !heard).count() as f32;
        let runs = heard.windows(2).filter(|pair| pair[0] && !pair[1]).count().max(1) as f32;
        let path = Path {
            loss: lost / 240.0,
            burst_ratio: lost / runs * (1.0 - lost / 240.0),
            delay_ms: 80.0,
        };
        let expected = Rating::of(g711().codec().unwrap(), &path).mos;
        prop_assert!((reception.mos.unwrap() - expected).abs() < 0.001, "{reception:?} {expected}");
        prop_assert_eq!(reception.lost + reception.discarded, lost as u64);
    }

    /// Any packets at any times. Each is accounted for once.
    #[test]
    fn nothing_goes_unaccounted(
        packets in prop::collection::vec(
            (0u32..3, any::<u16>(), any::<u32>(), any::<u64>(), 0u8..5, 0usize..70_000),
            1..400,
        ),
        narrow in any::<bool>(),
        buffer in prop_oneof![
            Just(Buffer::default()),
            (any::<u16>(), any::<u16>())
                .prop_map(|(min_ms, max_ms)| Buffer::Adaptive { min_ms, max_ms }),
        ],
    ) {
        let mut stream = Stream::new(g711(), buffer);
        stream.begin_listening(packets[0].3);
        for (ssrc, sequence, timestamp, received_ns, sound, octets) in &packets {
            let sequence = if narrow { sequence % 300 } else { *sequence };
            let timestamp = *timestamp;
            let header = Header { ssrc: *ssrc, sequence, timestamp, ..Header::default() };
            let sound = [
                Sound::Audible,
                Sound::Quiet,
                Sound::Unjudged,
                Sound::Event,
                Sound::WrongPayloadType,
            ][usize::from(*sound)];
            stream.receive(&header, *octets, sound, *received_ns);
            stream.report_block(*received_ns, None).unwrap();
        }
        let reception = stream.reception(0);
        let all = reception.packets + reception.duplicates + reception.strays;
        prop_assert_eq!(all, packets.len() as u64);
        prop_assert!(reception.expected >= reception.packets);
        prop_assert!(reception.mos.is_none_or(|mos| (1.0..=4.5).contains(&mos)));
        stream.voip_metrics().unwrap();
    }
}
