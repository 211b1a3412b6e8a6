//! Two medias on the simulated network: what is reported is what the network did.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use gossipper::media::clip::{Clip, ClipSet, Content, Frame};
use gossipper::media::{
    Command, Event, Gate, Heard, LegId, LegSpec, Medium, Mode, RtcpInterval, Track,
};
use gossipper::stats::{
    DelayCause, HeardVerdict, MediaCounters, MediaHistograms, MediaMeasure, StrayCause, count_of_ns,
};
use gossipper_uring::sim::Random;
use gossipper_uring::{Driver, DriverConfig, SimConfig, SimDriver, SimNet, SocketId, TxOrder};

use crate::harness::operations::any_operations;
use crate::harness::pair::{Came, IPS, Pair, play, tone};
use crate::harness::{MS, SECOND, plain_socket};

/// Datagrams that a wire carried, with the times at which they left.
type Sent = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// The figures that follow from the sequence numbers that came.
fn truth(came: &[Came]) -> (u64, u64, u64) {
    let mut seen: Vec<i32> = Vec::new();
    let first = came[0].sequence;
    let (mut duplicates, mut highest) = (0, 0);
    for packet in came {
        let place = i32::from(packet.sequence.wrapping_sub(first) as i16);
        duplicates += u64::from(seen.contains(&place));
        highest = highest.max(place);
        seen.push(place);
    }
    seen.sort_unstable();
    seen.dedup();
    let lowest = seen[0];
    let expected = (highest - lowest + 1) as u64;
    (seen.len() as u64, expected - seen.len() as u64, duplicates)
}

/// A network with all faults.
fn bad_network() -> SimConfig {
    SimConfig {
        delay_ns_min: 5 * MS,
        delay_ns_max: 35 * MS,
        reorder: true,
        loss_ppm: 30_000,
        duplicate_ppm: 10_000,
        ..SimConfig::default()
    }
}

#[test]
fn what_is_reported_is_what_the_network_did() {
    let clips = tone();
    for (seed, mode) in [(1, Mode::Ports), (2, Mode::Ports), (3, Mode::Shared), (4, Mode::Shared)] {
        let mut pair = Pair::new(seed, bad_network(), |config| config.mode = mode);
        let legs: Vec<_> = (0..6).map(|call| pair.connect(call, "0 101")).collect();
        let ssrcs: Vec<_> = legs
            .iter()
            .map(|legs| {
                [0, 1].map(|end| pair.ends[end].media.local(legs[end], Track::Audio).unwrap().ssrc)
            })
            .collect();
        for legs in &legs {
            (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
        }
        pair.run_for(12 * SECOND);
        for legs in &legs {
            (0..2).for_each(|end| pair.act(end, legs[end], Command::Stop));
        }
        pair.run_for(SECOND);
        let (mut lost, mut sent) = (0, 0);
        for (legs, ssrcs) in legs.iter().zip(&ssrcs) {
            for end in 0..2 {
                let report = pair.close(end, legs[end]);
                let reception = report.reception;
                let came = &pair.ends[end].came[&ssrcs[1 - end]];
                let known = (reception.packets, reception.lost, reception.duplicates);
                assert_eq!(known, truth(came), "seed {seed}");
                assert!((599..=601).contains(&report.packets_sent), "{report:?}");
                assert!(reception.reordered > 0 && reception.wrong_payload_type == 0);
                // The jitter of a uniform delay over 30 ms is about 10 ms.
                assert!((4 * MS..20 * MS).contains(&reception.jitter_ns), "{report:?}");
                assert_eq!(report.heard, Heard::TwoWay, "{report:?}");
                let round_trip_ns = report.round_trip_ns.expect("reports came and went");
                assert!((9 * MS..72 * MS).contains(&round_trip_ns), "{round_trip_ns}");
                assert!(report.first_audio_after_answer_ns.unwrap() < 200 * MS);
                assert!(reception.mos.unwrap() < 4.3 && report.peer_jitter_ns.unwrap() > 5 * MS);
                lost += reception.lost;
                sent += report.packets_sent;
            }
        }
        let share = lost as f64 / sent as f64;
        assert!((0.02..0.04).contains(&share), "seed {seed}: {share}");
        check_totals(&mut pair, lost, sent);
    }
}

/// Checks that the sides counted in all what their legs reported.
fn check_totals(pair: &mut Pair, lost: u64, sent: u64) {
    let counters = [0, 1].map(|end| pair.ends[end].counters());
    let sum = |figure: fn(&MediaCounters) -> u64| counters.iter().map(figure).sum::<u64>();
    assert_eq!(sum(|counters| counters.rtp_packets_sent), sent);
    assert_eq!(sum(|counters| counters.rtp_lost), lost);
    assert!(sum(|counters| counters.rtp_expected) > 12 * 590);
    assert_eq!(sum(|counters| counters.legs_receiving), 12);
    assert_eq!(sum(|counters| counters.rtcp_sender_reports), sum(|counters| counters.rtcp_sent));
    assert_eq!(sum(|counters| counters.heard.count(HeardVerdict::TwoWay)), 12);
    assert_eq!(sum(|counters| counters.silent_calls), 0);
    assert_eq!(sum(|counters| counters.faults.total() + counters.unsent.total()), 0);
    let mut lost_by_stream_ns = 0;
    for end in &mut pair.ends {
        let mut measured = MediaHistograms::default();
        end.media.swap_measured(&mut measured);
        lost_by_stream_ns += measured.of(MediaMeasure::Lost).moments().sum_ns as u64;
        let packets = measured.of(MediaMeasure::CallPackets).moments();
        assert_eq!(packets.count, 6);
        assert!(count_of_ns(packets.min_ns) > 500, "{packets:?}");
        // A jitter of 4 ms is 32 units of a clock of 8 kHz.
        assert!(count_of_ns(measured.of(MediaMeasure::JitterPeak).moments().min_ns) > 32);
        // Each end gets reports about its packets, and in some of them packets are missing.
        let peer_loss = measured.of(MediaMeasure::PeerLoss).moments();
        assert!(peer_loss.count >= 6 && peer_loss.max_ns > 0, "{peer_loss:?}");
        assert!(measured.of(MediaMeasure::PeerJitter).moments().max_ns > 0);
        let errors = measured.of(MediaMeasure::SendError);
        assert_eq!(errors.count(), end.counters().rtp_packets_sent);
        // The virtual clock is never late.
        assert_eq!(errors.summarize().max_ns, 0);
        assert_eq!(measured.of(MediaMeasure::Loss).count(), 6);
    }
    assert_eq!(count_of_ns(lost_by_stream_ns), lost);
}

#[test]
fn a_report_finds_its_stream_before_anything_else_came() {
    let mut pair = Pair::new(13, SimConfig::default(), |config| {
        config.mode = Mode::Shared;
        config.rtcp = RtcpInterval::Fixed(100 * MS);
    });
    (0..20).for_each(|call| _ = pair.connect(call, "0"));
    pair.run_for(SECOND);
    for end in &pair.ends {
        let counters = end.counters();
        assert_eq!((counters.rtp_packets_received, counters.strays.total()), (0, 0));
        assert!((180..=220).contains(&counters.rtcp_received), "{}", counters.rtcp_received);
    }
}

#[test]
fn trains_form_where_both_sides_share_a_port() {
    let clips = tone();
    let mut pair = Pair::new(5, SimConfig::default(), |config| config.mode = Mode::Shared);
    let legs: Vec<_> = (0..200).map(|call| pair.connect(call, "0")).collect();
    for legs in &legs {
        (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
    }
    pair.run_for(2 * SECOND);
    for end in &pair.ends {
        let counters = end.driver.counters();
        // 200 streams in 20 phases: ten packets of each millisecond leave at once.
        let per_send = counters.datagrams_sent as f64 / counters.trains_sent as f64;
        assert!(per_send > 8.0, "{per_send}");
        assert_eq!(end.counters().strays.total(), 0);
    }
}

#[test]
fn packets_are_evenly_spread_and_never_drift() {
    let clips = tone();
    let mut pair = Pair::new(6, SimConfig::default(), |config| config.rtcp = RtcpInterval::Off);
    let times: Rc<RefCell<HashMap<u32, Vec<u64>>>> = Rc::default();
    let tap = Rc::clone(&times);
    pair.net.set_tap(Box::new(move |now, _, _, payload| {
        let ssrc = u32::from_be_bytes(payload[8..12].try_into().unwrap());
        tap.borrow_mut().entry(ssrc).or_default().push(now);
    }));
    let legs: Vec<_> = (0..40).map(|call| pair.connect(call, "0")).collect();
    legs.iter().for_each(|legs| pair.act(0, legs[0], play(&clips)));
    pair.run_for(3 * SECOND);
    let times = times.borrow();
    let mut phases = [0; 20];
    for times in times.values() {
        assert_eq!(times.len(), 150);
        phases[(times[0] / MS % 20) as usize] += 1;
        for (packet, time) in times.iter().enumerate() {
            assert_eq!(*time, times[0] + packet as u64 * 20 * MS);
        }
    }
    assert_eq!(phases, [2; 20]);
}

#[test]
fn a_silent_call_is_known_as_one() {
    let clips = tone();
    let mut pair = Pair::new(7, SimConfig::default(), |_| {});
    let both = pair.connect(1, "0");
    let one = pair.connect(2, "0");
    let none = pair.connect(3, "0");
    let misled = pair.connect(4, "0");
    for (end, leg) in [(0, both[0]), (1, both[1]), (0, one[0]), (0, misled[0]), (1, misled[1])] {
        pair.act(end, leg, play(&clips));
    }
    // The answerer of the last call is told a closed port of the caller's address.
    let now = pair.net.now();
    let wrong = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                m=audio 5000 RTP/AVP 0\r\n";
    pair.ends[1].media.remote_description(misled[1], wrong.as_bytes(), now).unwrap();
    pair.run_for(SECOND);
    let mut heard = |legs: [LegId; 2]| [0, 1].map(|end| pair.close(end, legs[end]).heard);
    assert_eq!(heard(both), [Heard::TwoWay; 2]);
    // The caller knows by the answerer's reports that it was heard; the answerer sent nothing.
    assert_eq!(heard(one), [Heard::OneWay; 2]);
    assert_eq!(heard(none), [Heard::None; 2]);
    // The answerer follows the caller's packets to the port that they come from. Its reports still
    // go to the wrong one, so that the caller cannot know that it is heard.
    assert_eq!(heard(misled), [Heard::Unknown, Heard::TwoWay]);
    // A call that was refused before anything was agreed is no unknown one.
    let now = pair.net.now();
    let refused = pair.ends[0].open(5, now);
    assert_eq!(pair.close(0, refused).heard, Heard::Unknown);
    let verdicts = pair.ends[0].counters().heard;
    assert_eq!(verdicts.count(HeardVerdict::NoMedia), 1);
    assert_eq!(verdicts.count(HeardVerdict::Unknown), 1);
    assert_eq!(pair.ends[0].counters().silent_calls, 1);
    let counters = pair.ends[1].counters();
    assert_eq!(counters.latched, 1);
    assert!(counters.unreachable > 0);
}

#[test]
fn holds_and_other_codecs_keep_the_sequence() {
    let clips = tone();
    let mut pair = Pair::new(8, SimConfig::default(), |_| {});
    let headers: Sent = Rc::default();
    let tap = Rc::clone(&headers);
    pair.net.set_tap(Box::new(move |now, source, _, payload| {
        if source.ip() == IPS[0] && payload[1] & 0x7f < 64 {
            tap.borrow_mut().push((now, payload[..12].to_vec()));
        }
    }));
    let legs = pair.connect(1, "0 101");
    pair.act(0, legs[0], play(&clips));
    pair.run_for(SECOND);
    pair.describe(legs, ["0 101\r\na=sendonly", "0 101\r\na=inactive"]);
    pair.run_for(SECOND);
    pair.describe(legs, ["8 101", "8 101"]);
    pair.run_for(SECOND);
    pair.act(0, legs[0], Command::Pause);
    pair.run_for(SECOND);
    pair.act(0, legs[0], Command::Resume);
    pair.run_for(SECOND);
    let headers = headers.borrow();
    assert!((148..=152).contains(&headers.len()), "{}", headers.len());
    for pair in headers.windows(2) {
        let [(before_ns, before), (now_ns, now)] = pair else { unreachable!() };
        let sequence = |header: &[u8]| u16::from_be_bytes([header[2], header[3]]);
        let timestamp = |header: &[u8]| u32::from_be_bytes(header[4..8].try_into().unwrap());
        assert_eq!(sequence(now), sequence(before).wrapping_add(1));
        // 8 ticks a millisecond, also over the holds.
        let elapsed_ms = ((now_ns - before_ns) / MS) as u32;
        assert_eq!(timestamp(now).wrapping_sub(timestamp(before)), 8 * elapsed_ms);
        let begins_talk = elapsed_ms > 20;
        assert_eq!(now[1] & 0x80 != 0, begins_talk);
    }
    let types: Vec<u8> = headers.iter().map(|(_, header)| header[1] & 0x7f).collect();
    assert!(types.is_sorted() && types.contains(&0) && types.contains(&8));
    drop(types);
    let report = pair.close(1, legs[1]);
    assert_eq!((report.reception.lost, report.reception.wrong_payload_type), (0, 0));
}

#[test]
fn digits_checks_and_echoes_come_to_their_calls() {
    let clips = tone();
    for mode in [Mode::Ports, Mode::Shared] {
        let mut pair = Pair::new(9, SimConfig::default(), |config| config.mode = mode);
        let legs = pair.connect(77, "0 101");
        let digits = Command::Digits {
            digits: (*b"159#").into(),
            digit_ms: 100,
            pause_ms: 100,
            payload_type: None,
        };
        pair.act(0, legs[0], play(&clips));
        pair.run_for(500 * MS);
        pair.act(0, legs[0], digits);
        pair.act(1, legs[1], Command::Check { received: 20, sent: 0, timeout_ns: 5 * SECOND });
        pair.run_for(2 * SECOND);
        let check = |end: usize, expected: &[Event]| {
            let told: Vec<Event> = pair.ends[end].events.iter().map(|&(_, event)| event).collect();
            assert_eq!(told, expected);
            assert!(pair.ends[end].events.iter().all(|&(call, _)| call == 77));
        };
        check(0, &[]);
        let mut told = pair.ends[1].events.iter().map(|&(_, event)| event).collect::<Vec<_>>();
        told.retain(|event| *event != Event::Checked(true));
        assert_eq!(told, b"159#".map(Event::Digit));
        assert_eq!(pair.ends[1].events.len(), 5);
        // What plays ends by itself once its loops are over; what is sent back comes back.
        pair.act(1, legs[1], Command::Echo(true));
        let before = pair.ends[0].counters().rtp_packets_received;
        pair.run_for(SECOND);
        let echoed = pair.ends[0].counters().rtp_packets_received - before;
        assert!((48..=51).contains(&echoed), "{echoed}");
        pair.act(1, legs[1], Command::Check { received: 0, sent: 1000, timeout_ns: SECOND });
        pair.run_for(2 * SECOND);
        assert_eq!(pair.ends[1].events.last(), Some(&(77, Event::Checked(false))));
        assert_eq!(pair.close(0, legs[0]).heard, Heard::TwoWay);
        // What was sent back was heard, although nothing is any more.
        pair.act(1, legs[1], Command::Echo(false));
        assert_eq!(pair.close(1, legs[1]).heard, Heard::TwoWay);
    }
}

#[test]
fn strangers_and_late_packets_touch_no_call() {
    let clips = tone();
    let mut pair = Pair::new(10, SimConfig::default(), |_| {});
    let legs = pair.connect(1, "0");
    pair.act(0, legs[0], play(&clips));
    let target = pair.ends[1].media.local(legs[1], Track::Audio).unwrap();
    let stranger_ip = IpAddr::from([192, 0, 2, 99]);
    let mut stranger =
        SimDriver::new(&pair.net, &DriverConfig::default()).expect("memory for a driver");
    let spec = plain_socket(SocketAddr::new(stranger_ip, 9000));
    let socket = stranger.open(&spec).unwrap();
    let mut send = |pair: &mut Pair, payload: &[u8]| {
        let order = &mut TxOrder::default();
        assert!(stranger.tx().send_copy(payload, socket, target.rtp, 0, order));
        stranger.turn(0).unwrap();
        pair.run_for(10 * MS);
    };
    let mut rtp = [0u8; 172];
    rtp[0] = 0x80;
    pair.run_for(200 * MS);
    for sequence in 0..50 {
        rtp[3] = sequence;
        send(&mut pair, &rtp);
    }
    send(&mut pair, &[0x80, 0xc9, 0, 1, 0, 0, 0, 1]);
    send(&mut pair, &[0x80]);
    send(&mut pair, &[]);
    send(&mut pair, &[0x00, 0x01, 0, 0]);
    let counters = pair.ends[1].counters();
    assert_eq!(counters.strays.count(StrayCause::Foreign), 51);
    assert_eq!(counters.strays.count(StrayCause::OtherProtocol), 1);
    assert_eq!(counters.faults.total(), 2);
    let stranger_address = SocketAddr::new(stranger_ip, 9000);
    assert!(!pair.sent_to.borrow().contains_key(&stranger_address));
    let report = pair.close(1, legs[1]);
    assert_eq!((report.reception.strays, report.reception.ssrc_changes), (0, 0));
    // The caller has not closed yet: what it still sends is after the end.
    pair.run_for(100 * MS);
    let late = pair.ends[1].counters().strays.count(StrayCause::AfterEnd);
    assert!((4..=6).contains(&late), "{late}");
}

#[test]
fn a_late_worker_catches_up_or_leaves_out_and_says_so() {
    let clips = tone();
    let mut pair = Pair::new(11, SimConfig::default(), |config| config.rtcp = RtcpInterval::Off);
    let legs = pair.connect(1, "0");
    pair.act(0, legs[0], play(&clips));
    pair.run_for(SECOND);
    let sent = |pair: &Pair| pair.ends[0].counters().rtp_packets_sent;
    let before = sent(&pair);
    // What is due leaves at one packet of a stream each millisecond, so that it makes no burst.
    pair.net.advance_to(pair.net.now() + 100 * MS);
    pair.run_for(10 * MS);
    assert!((4..=6).contains(&(sent(&pair) - before)), "{}", sent(&pair) - before);
    assert!(pair.ends[0].counters().delays.count(DelayCause::LateWorker) >= 4);
    let before = sent(&pair);
    pair.net.advance_to(pair.net.now() + 10 * SECOND);
    pair.run_for(10 * MS);
    assert!(sent(&pair) - before <= 2, "{}", sent(&pair) - before);
    let skipped = pair.ends[0].counters().unsent.total();
    assert!((498..=500).contains(&skipped), "{skipped}");
    pair.run_for(SECOND);
    assert_eq!(pair.close(1, legs[1]).reception.lost, 0);
}

/// A capture of two packets 30 and 10 ms apart, with numbers of their own. One between them is
/// missing.
fn capture(content: Content) -> Arc<ClipSet> {
    let packet = |sequence| {
        let header = [0x80, 0x60, 7, sequence, 0, 0, 0, 9, 1, 2, 3, 4];
        [&header[..], &[5; 20]].concat()
    };
    let bytes = [packet(250), packet(252)].concat();
    let frame = |offset, gap_ms, ticks| Frame {
        offset,
        len: 32,
        marker: false,
        payload_type: None,
        gap_ns: gap_ms * MS,
        ticks,
    };
    let clip = Clip {
        bytes: bytes.into(),
        frames: vec![frame(0, 30, 240), frame(32, 10, 80)].into(),
        content,
        clock_rate: 8000,
        is_silent: false,
        pattern: None,
        is_marked: false,
    };
    Arc::new(ClipSet { clips: vec![("PCMU", Arc::new(clip))] })
}

#[test]
fn captures_are_replayed_with_their_times_and_our_numbers() {
    let mut pair = Pair::new(12, SimConfig::default(), |config| config.rtcp = RtcpInterval::Off);
    let sent: Sent = Rc::default();
    let tap = Rc::clone(&sent);
    pair.net.set_tap(Box::new(move |now, _, _, payload| {
        tap.borrow_mut().push((now, payload.to_vec()));
    }));
    let legs = pair.connect(5, "0");
    let ssrc = pair.ends[0].media.local(legs[0], Track::Audio).unwrap().ssrc;
    let twice = |content| Command::Play {
        clips: capture(content),
        loops: Some(2),
        stop_after_ns: None,
        payload_type: None,
        encoding: None,
    };
    pair.act(0, legs[0], twice(Content::Rtp));
    pair.run_for(SECOND);
    assert_eq!(pair.ends[0].events, [(5, Event::Played(Track::Audio))]);
    let packets = std::mem::take(&mut *sent.borrow_mut());
    let first = u16::from_be_bytes([packets[0].1[2], packets[0].1[3]]);
    let (mut time_ns, mut timestamp) =
        (packets[0].0, u32::from_be_bytes(packets[0].1[4..8].try_into().unwrap()));
    for (place, (now, packet)) in packets.iter().enumerate() {
        // What the capture lost is missing in each replay.
        let sequence = first.wrapping_add([0, 2, 3, 5][place]);
        let numbers = [&sequence.to_be_bytes()[..], &timestamp.to_be_bytes(), &ssrc.to_be_bytes()];
        assert_eq!(packet[2..12], numbers.concat());
        assert_eq!((*now, packet[1], &packet[12..]), (time_ns, 0x60, &[5; 20][..]));
        let gap_ms = if place % 2 == 0 { 30 } else { 10 };
        time_ns += gap_ms * MS;
        timestamp = timestamp.wrapping_add(8 * gap_ms as u32);
    }
    assert_eq!(packets.len(), 4);
    // Fax goes as it was captured, in place of audio.
    let fax = |ip: IpAddr, port| format!("v=0\r\nc=IN IP4 {ip}\r\nm=image {port} udptl t38\r\n");
    let now = pair.net.now();
    for (end, other) in [(0, 1), (1, 0)] {
        let local = pair.ends[end].media.local(legs[end], Track::Audio).unwrap();
        let sdp = fax(IPS[end], local.rtp.port());
        pair.ends[end].media.local_description(legs[end], sdp.as_bytes(), now).unwrap();
        pair.ends[other].media.remote_description(legs[other], sdp.as_bytes(), now).unwrap();
    }
    pair.act(0, legs[0], twice(Content::Datagram));
    pair.run_for(SECOND);
    assert_eq!(sent.borrow()[0].1[..4], [0x80, 0x60, 7, 250]);
    let counters = [0, 1].map(|end| pair.ends[end].counters());
    assert_eq!((counters[0].rtp_packets_sent, counters[0].datagrams_sent), (4, 4));
    assert_eq!((counters[1].rtp_packets_received, counters[1].datagrams_received), (4, 4));
}

/// A gate that lets nothing pass to [`FORBIDDEN`].
#[derive(Debug)]
struct Closed;

const FORBIDDEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

impl Gate for Closed {
    fn lets_pass(&self, to: SocketAddr, _: u64) -> bool {
        to.ip() != FORBIDDEN
    }
}

/// Descriptions that a peer might send.
const DESCRIPTIONS: [&str; 14] = [
    "",
    "v=0\r\nm=audio\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4002 RTP/AVP 8\r\na=ssrc:7\r\na=rtcp-mux\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4004 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=sendonly\r\n",
    "v=0\r\nc=IN IP4 192.0.2.66\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:9 IN IP4 192.0.2.66\r\n",
    "v=0\r\nc=IN IP4 224.1.2.3\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\nc=IN IP4 media.example.com\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 65535 RTP/AVP 0 0 0 300 x 127\r\na=rtpmap:127\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=video 0 RTP/AVP 31\r\nm=audio 0 RTP/AVP 0\r\nm=image 65535 udptl t38\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\r\n",
    "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:1 NULL_HMAC_SHA1_32 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\r\na=crypto:2 F8 x\r\n",
];

/// A random command.
fn command(random: &mut Random, clips: &Arc<ClipSet>) -> Command {
    match random.below(9) {
        0 => Command::Pause,
        1 => Command::Resume,
        2 => Command::Stop,
        3 => Command::Echo(random.below(2) == 0),
        4 => Command::Digits {
            digits: b"12#x"[random.below(3) as usize..].into(),
            digit_ms: random.below(300) as u16,
            pause_ms: random.below(300) as u16,
            payload_type: None,
        },
        5 => Command::Check { received: 5, sent: 5, timeout_ns: random.below(SECOND) },
        6 => Command::Record { name: b"a.wav".as_slice().into(), is_duplex: false },
        _ => Command::Play {
            clips: Arc::clone(clips),
            loops: [None, Some(0), Some(2)][random.below(3) as usize],
            stop_after_ns: [None, Some(300 * MS)][random.below(2) as usize],
            payload_type: [None, Some(97)][random.below(2) as usize],
            encoding: [None, Some("PCMA"), Some("opus")][random.below(3) as usize],
        },
    }
}

/// A datagram with lies: of RTP or RTCP, cut somewhere, with some bits wrong.
fn forged(random: &mut Random, ssrc: u32) -> Vec<u8> {
    let kinds = [0x00, 0x80, 0x65, 0xc8, 0xc9, 0xca, 0xcb, 0xcf];
    let mut bytes: Vec<u8> = (0..80).map(|_| random.below(256) as u8).collect();
    bytes[0] = [0x80, 0x81, 0x90, 0xa0, 0x00][random.below(5) as usize];
    bytes[1] = kinds[random.below(8) as usize];
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes.truncate(random.below(81) as usize);
    bytes
}

#[test]
fn whatever_calls_and_strangers_do_no_other_call_suffers() {
    let clips = tone();
    for seed in 1..=24 {
        let mode = if seed % 2 == 0 { Mode::Ports } else { Mode::Shared };
        eprintln!("seed {seed}");
        let mut random = Random::new(seed);
        let mut pair = Pair::new(seed, SimConfig::default(), |config| {
            config.mode = mode;
            config.legs_max = 8;
            config.gate = Some(Arc::new(Closed));
        });
        let witness = pair.connect(1, "0");
        let ours = pair.ends[0].media.local(witness[0], Track::Audio).unwrap();
        (0..2).for_each(|end| pair.act(end, witness[end], play(&clips)));
        let mut stranger = Stranger::new(&pair.net);
        let mut legs: Vec<LegId> = Vec::new();
        for _ in 0..150 {
            let now = pair.net.now();
            let leg = legs.get(random.below(8) as usize).copied();
            let end = &mut pair.ends[0];
            match (random.below(8), leg) {
                (0, _) => {
                    let wants_video = random.below(3) == 0;
                    let spec = LegSpec { call: 2, wants_video, is_sent: false, number: 2 };
                    match end.media.open(spec, now) {
                        Ok(leg) => legs.push(leg),
                        Err(_) => end.carry_out(now),
                    }
                }
                // Ended legs stay in the list: nothing can be done to them.
                (1, Some(leg)) => _ = end.media.close(leg, now),
                (2, Some(leg)) => end.media.answered(leg, now),
                (3 | 4, Some(leg)) => {
                    let sdp = DESCRIPTIONS[random.below(14) as usize].as_bytes();
                    _ = match random.below(2) {
                        0 => end.media.local_description(leg, sdp, now),
                        _ => end.media.remote_description(leg, sdp, now),
                    };
                }
                (5 | 6, Some(leg)) => {
                    let track = [Track::Audio, Track::Video][random.below(2) as usize];
                    _ = end.media.act(leg, track, command(&mut random, &clips), now);
                }
                _ => {
                    let to = match leg.and_then(|leg| end.media.local(leg, Track::Audio)) {
                        Some(local) if random.below(2) == 0 => local,
                        _ => ours,
                    };
                    let datagram = forged(&mut random, to.ssrc);
                    let to = [to.rtp, to.rtcp][random.below(2) as usize];
                    stranger.send(&datagram, to);
                }
            }
            legs.truncate(64);
            stranger.turn();
            pair.run_for(random.below(60) * MS);
        }
        check_targets(&pair);
        check_witness(&mut pair, witness);
    }
}

#[test]
fn whatever_is_done_to_streams_each_datagram_is_counted_and_all_is_given_back() {
    for seed in 1..=48 {
        eprintln!("seed {seed}");
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..900).map(|_| random.below(256) as u8).collect();
        any_operations(&bytes);
    }
}

/// Nothing may have been sent to an address that no description named, or that is forbidden.
fn check_targets(pair: &Pair) {
    for &to in pair.sent_to.borrow().keys() {
        let is_end = IPS.contains(&to.ip());
        let is_named = to.ip() == IpAddr::from([192, 0, 2, 77]);
        assert!(is_end || is_named, "{to}");
    }
}

/// The call that nobody touched must be as if it were alone.
fn check_witness(pair: &mut Pair, witness: [LegId; 2]) {
    (0..2).for_each(|end| pair.act(end, witness[end], Command::Stop));
    pair.run_for(100 * MS);
    let [ours, theirs] = [0, 1].map(|end| pair.close(end, witness[end]));
    for (report, other) in [(&ours, &theirs), (&theirs, &ours)] {
        assert_eq!(report.heard, Heard::TwoWay);
        let reception = &report.reception;
        assert_eq!(reception.packets, other.packets_sent);
        let odd = [reception.lost, reception.duplicates, reception.reordered, reception.strays];
        assert_eq!(odd, [0; 4]);
        assert_eq!((reception.ssrc_changes, reception.wrong_payload_type), (0, 0));
    }
}

/// A host that no call knows, and another one that descriptions name.
struct Stranger {
    driver: SimDriver,
    sockets: [SocketId; 2],
    turn: usize,
}

impl Stranger {
    fn new(net: &SimNet) -> Self {
        let mut driver = SimDriver::new(net, &DriverConfig::default()).expect("memory");
        let sockets = [[192, 0, 2, 99], [192, 0, 2, 77]].map(|ip: [u8; 4]| {
            let local = SocketAddr::new(ip.into(), 4000);
            driver.open(&plain_socket(local)).expect("a free port")
        });
        Self { driver, sockets, turn: 0 }
    }

    fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        self.turn += 1;
        let socket = self.sockets[self.turn % 2];
        let order = &mut TxOrder::default();
        assert!(self.driver.tx().send_copy(datagram, socket, to, 0, order));
    }

    fn turn(&mut self) {
        self.driver.turn(u64::MAX).expect("a simulated driver does not fail");
        let _ = self.driver.drain(|_, _| ControlFlow::Continue(()));
    }
}
