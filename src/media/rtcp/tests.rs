use proptest::prelude::*;
use rtcp_types as other;
use rtcp_types::XrBlockParserExt as _;

use super::*;
use crate::stats::RtpFault;

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 0x0102_0304,
    fraction_lost: 25,
    cumulative_lost: -2,
    highest_sequence: 0x0001_ffff,
    jitter: 1234,
    last_sr: 0xb705_2000,
    delay_since_last_sr: 0x0005_4000,
};

const INFO: SenderInfo =
    SenderInfo { time: Ntp(0xe123_4567_89ab_cdef), timestamp: 160, packets: 50, octets: 8000 };

fn metrics() -> VoipMetrics {
    VoipMetrics {
        ssrc: 9,
        loss_rate: 1,
        discard_rate: 2,
        burst_density: 3,
        gap_density: 4,
        burst_ms: 0x0506,
        gap_ms: 0x0708,
        round_trip_ms: 0x090a,
        end_system_ms: 0x0b0c,
        signal_level: -13,
        noise_level: -14,
        echo_return_loss: 15,
        gap_min: 16,
        r_factor: 17,
        external_r_factor: UNKNOWN,
        mos_listening: 19,
        mos_conversational: 20,
        receiver: 21,
        buffer_nominal_ms: 0x1617,
        buffer_maximum_ms: 0x1819,
        buffer_absolute_ms: 0x1a1b,
    }
}

/// One packet of each kind.
fn whole() -> Vec<u8> {
    let mut out = vec![0xff; 512];
    let mut writer = Writer::new(&mut out);
    assert!(writer.is_empty());
    writer.sender_report(7, &INFO, &[BLOCK]).unwrap();
    writer.receiver_report(7, &[BLOCK, BLOCK]).unwrap();
    writer.cname(7, b"a@b").unwrap();
    writer.voip_metrics(7, &metrics()).unwrap();
    writer.goodbye(7, b"").unwrap();
    writer.goodbye(7, b"end").unwrap();
    let len = writer.len();
    out.truncate(len);
    out
}

#[test]
fn what_is_written_is_read() {
    let bytes = whole();
    let mut seen = Vec::new();
    for packet in Compound::parse(&bytes).unwrap() {
        seen.push(match packet.unwrap() {
            Packet::SenderReport { ssrc: 7, info, blocks } => {
                assert_eq!((info, blocks.collect::<Vec<_>>()), (INFO, vec![BLOCK]));
                "SR"
            }
            Packet::ReceiverReport { ssrc: 7, blocks } => {
                assert_eq!(blocks.collect::<Vec<_>>(), [BLOCK, BLOCK]);
                "RR"
            }
            Packet::SourceDescription(chunks) => {
                let chunk = Chunk { ssrc: 7, cname: Some(b"a@b") };
                assert_eq!(chunks.collect::<Vec<_>>(), [chunk]);
                "SDES"
            }
            Packet::Extended { ssrc: 7, blocks } => {
                let expected = [XrBlock::VoipMetrics(metrics())];
                assert_eq!(blocks.collect::<Vec<_>>(), expected);
                "XR"
            }
            Packet::Goodbye(goodbye) => {
                assert_eq!(goodbye.sources().collect::<Vec<_>>(), [7]);
                if goodbye.reason.is_empty() { "BYE" } else { "BYE end" }
            }
            packet => panic!("{packet:?}"),
        });
    }
    assert_eq!(seen, ["SR", "RR", "SDES", "XR", "BYE", "BYE end"]);
}

/// The layouts of RFC 3550 sections 6.4.1, 6.5 and 6.6, byte by byte.
#[test]
fn packets_have_the_layouts_of_the_rfc() {
    let bytes = whole();
    let sender_report = [
        &[0x81, 200, 0, 12, 0, 0, 0, 7, 0xe1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef][..],
        &[0, 0, 0, 160, 0, 0, 0, 50, 0, 0, 0x1f, 0x40],
        &[1, 2, 3, 4, 25, 0xff, 0xff, 0xfe, 0, 1, 0xff, 0xff, 0, 0, 4, 0xd2],
        &[0xb7, 5, 0x20, 0, 0, 5, 0x40, 0],
    ]
    .concat();
    assert_eq!(bytes[..52], sender_report);
    let description = [0x81, 202, 0, 3, 0, 0, 0, 7, 1, 3, b'a', b'@', b'b', 0, 0, 0];
    assert_eq!(bytes[108..124], description);
    // RFC 3611 section 4.7.
    let mut report = vec![0x80, 207, 0, 10, 0, 0, 0, 7, 7, 0, 0, 8, 0, 0, 0, 9];
    report.extend([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xf3, 0xf2, 15, 16]);
    report.extend([17, 127, 19, 20, 21, 0, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b]);
    assert_eq!(bytes[124..168], report);
    let goodbyes = [0x81, 203, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 2, 0, 0, 0, 7, 3, b'e', b'n', b'd'];
    assert_eq!(bytes[168..], goodbyes);
}

#[test]
fn a_packet_without_room_is_not_begun() {
    let len = whole().len();
    for room in 0..len {
        let mut out = vec![0; room];
        let mut writer = Writer::new(&mut out);
        let mut written = vec![writer.sender_report(7, &INFO, &[BLOCK])];
        written.push(writer.receiver_report(7, &[BLOCK, BLOCK]));
        written.push(writer.cname(7, b"a@b"));
        written.push(writer.voip_metrics(7, &metrics()));
        written.push(writer.goodbye(7, b""));
        written.push(writer.goodbye(7, b"end"));
        assert!(written.contains(&None));
        assert!(writer.len().is_multiple_of(4) && writer.len() <= room);
    }
    let mut out = [0; 4096];
    let mut writer = Writer::new(&mut out);
    assert_eq!(writer.receiver_report(7, &[BLOCK; BLOCKS_MAX + 1]), None);
    assert_eq!(writer.cname(7, &[b'a'; 256]), None);
    assert_eq!(writer.goodbye(7, &[b'a'; 256]), None);
    assert!(writer.is_empty());
    writer.receiver_report(7, &[BLOCK; BLOCKS_MAX]).unwrap();
    writer.cname(7, &[b'a'; 255]).unwrap();
    let len = writer.len();
    assert_eq!(Compound::parse(&out[..len]).unwrap().flatten().count(), 2);
}

/// Reads our packets with another implementation, which allocates and so is not used otherwise.
fn assert_read_by_another(bytes: &[u8], name: &[u8], reason: &[u8], blocks: &[ReportBlock]) {
    for packet in other::Compound::parse(bytes).unwrap() {
        match packet.unwrap() {
            other::Packet::Sr(sr) => {
                assert_eq!((sr.ssrc(), sr.ntp_timestamp()), (7, INFO.time.0));
                assert_eq!((sr.rtp_timestamp(), sr.packet_count()), (INFO.timestamp, INFO.packets));
                assert_eq!(sr.octet_count(), INFO.octets);
                assert_eq!(sr.report_blocks().count(), blocks.len());
                for (read, block) in sr.report_blocks().zip(blocks) {
                    let lost = (read.cumulative_lost() << 8) as i32 >> 8;
                    assert_eq!((read.ssrc(), lost), (block.ssrc, block.cumulative_lost));
                    assert_eq!(read.fraction_lost(), block.fraction_lost);
                    assert_eq!(read.extended_sequence_number(), block.highest_sequence);
                    assert_eq!(read.interarrival_jitter(), block.jitter);
                    assert_eq!(read.last_sender_report_timestamp(), block.last_sr);
                    let delay = read.delay_since_last_sender_report_timestamp();
                    assert_eq!(delay, block.delay_since_last_sr);
                }
            }
            other::Packet::Sdes(sdes) => {
                let chunk = sdes.chunks().next().unwrap();
                assert_eq!(chunk.ssrc(), 7);
                let item = chunk.items().next().unwrap();
                assert_eq!((item.type_(), item.value()), (CNAME, name));
            }
            other::Packet::Bye(bye) => {
                assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7]);
                assert_eq!(bye.reason().unwrap_or_default(), reason);
            }
            other::Packet::Xr(xr) => {
                let block = xr.block_iter().next().unwrap();
                assert_eq!((block.block_type(), block.length()), (VOIP_METRICS, 36));
            }
            packet => panic!("{packet:?}"),
        }
    }
}

proptest! {
    #[test]
    fn another_implementation_reads_the_same(
        name in prop::collection::vec(1u8..=255, 0..256),
        reason in prop::collection::vec(any::<u8>(), 0..256),
        lost in prop::collection::vec(-0x80_0000i32..0x80_0000, 0..5),
    ) {
        let blocks: Vec<ReportBlock> = (0..)
            .zip(lost)
            .map(|(ssrc, cumulative_lost)| ReportBlock { ssrc, cumulative_lost, ..BLOCK })
            .collect();
        let mut out = [0xff; 1024];
        let mut writer = Writer::new(&mut out);
        writer.sender_report(7, &INFO, &blocks).unwrap();
        writer.cname(7, &name).unwrap();
        writer.voip_metrics(7, &metrics()).unwrap();
        writer.goodbye(7, &reason).unwrap();
        let len = writer.len();
        assert_read_by_another(&out[..len], &name, &reason, &blocks);
        for packet in Compound::parse(&out[..len]).unwrap() {
            match packet.unwrap() {
                Packet::SenderReport { blocks: read, .. } => {
                    prop_assert_eq!(&read.collect::<Vec<_>>(), &blocks);
                }
                Packet::SourceDescription(mut chunks) => {
                    prop_assert_eq!(chunks.next().unwrap().cname, Some(&name[..]));
                }
                Packet::Goodbye(goodbye) => prop_assert_eq!(goodbye.reason, &reason[..]),
                _ => {}
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 200u8..=207,
        count in 0u8..32,
    ) {
        // Most of random bytes would be refused at once.
        let words = (bytes.len() / 4) as u8;
        let packet = [&[0x80 | count, kind, 0, words], &bytes[..usize::from(words) * 4]].concat();
        let datagram = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &packet].concat();
        prop_assert_eq!(Compound::parse(&datagram).unwrap().count(), 2);
        let _ = Compound::parse(&bytes).map(|compound| compound.count());
    }
}

#[test]
fn every_lie_has_its_cause() {
    let fault = |bytes: &[u8]| Compound::parse(bytes).err();
    assert_eq!(fault(&[]), Some(RtpFault::RtcpTooShort));
    assert_eq!(fault(&[0x80, 200, 0]), Some(RtpFault::RtcpTooShort));
    assert_eq!(fault(&[0x40, 201, 0, 1, 0, 0, 0, 7]), Some(RtpFault::RtcpBadVersion));
    assert_eq!(fault(&[0x80, 201, 0, 2, 0, 0, 0, 7]), Some(RtpFault::RtcpOverrun));
    assert_eq!(fault(&[0x80, 201, 0xff, 0xff]), Some(RtpFault::RtcpOverrun));
    assert_eq!(fault(&[0x80, 203, 0, 0]), Some(RtpFault::RtcpBadStart));
    assert_eq!(fault(&[0x80, 201, 0, 1, 0, 0, 0, 7, 0x80]), Some(RtpFault::RtcpTooShort));
    // Feedback may stand alone (RFC 5506).
    assert_eq!(fault(&[0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]), None);
    // Padding of nothing, of more than there is, of half a word; and before another packet.
    for padding in [0, 3, 8] {
        let bytes = [0xa0, 201, 0, 1, 0, 0, 0, padding];
        assert_eq!(fault(&bytes), Some(RtpFault::RtcpBadPadding), "{padding}");
    }
    let padded = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
    assert_eq!(fault(&padded), None);
    assert_eq!(fault(&[padded, padded].concat()), Some(RtpFault::RtcpBadPadding));
}

#[test]
fn a_malformed_packet_hides_no_other() {
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    for (packet, cause) in [
        (&[0x81, 201, 0, 1, 0, 0, 0, 7][..], RtpFault::RtcpReportOverrun),
        (&[0x80, 200, 0, 1, 0, 0, 0, 7], RtpFault::RtcpReportOverrun),
        (&[0x80, 201, 0, 0], RtpFault::RtcpReportOverrun),
        (&[0x81, 202, 0, 0], RtpFault::RtcpSdesOverrun),
        (&[0x81, 202, 0, 2, 0, 0, 0, 7, 1, 3, b'a', b'b'], RtpFault::RtcpSdesOverrun),
        (&[0x81, 202, 0, 2, 0, 0, 0, 7, 1, 2, b'a', b'b'], RtpFault::RtcpSdesOverrun),
        (&[0x82, 202, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0], RtpFault::RtcpSdesOverrun),
        (&[0x82, 203, 0, 1, 0, 0, 0, 7], RtpFault::RtcpByeOverrun),
        (&[0x81, 203, 0, 2, 0, 0, 0, 7, 4, b'a', b'b', b'c'], RtpFault::RtcpByeOverrun),
        (&[0x80, 207, 0, 0], RtpFault::RtcpXrOverrun),
        (&[0x80, 207, 0, 2, 0, 0, 0, 7, 1, 0, 0, 1], RtpFault::RtcpXrOverrun),
        (&[0x80, 207, 0, 2, 0, 0, 0, 7, 7, 0, 0, 0], RtpFault::RtcpXrOverrun),
    ] {
        let bytes = [&report[..], packet, &report].concat();
        let read: Vec<_> = Compound::parse(&bytes).unwrap().map(|read| read.err()).collect();
        assert_eq!(read, [None, Some(cause), None], "{packet:?}");
    }
}

/// The figures of RFC 3550 section 6.4.1: 6.125 s.
#[test]
fn the_round_trip_of_the_rfc_comes_out() {
    let received = Ntp(0xb710_8000 << 16);
    assert_eq!(round_trip_ns(received, &BLOCK), Some(6_125_000_000));
}

#[test]
fn a_round_trip_that_cannot_be_is_none() {
    let sent = Ntp::of_unix_ns(1_800_000_000_123_456_789);
    assert_eq!(sent.0 >> 32, 1_800_000_000 + 2_208_988_800);
    let received = Ntp::of_unix_ns(1_800_000_001_123_456_789);
    let block =
        |last_sr, delay_since_last_sr| ReportBlock { last_sr, delay_since_last_sr, ..BLOCK };
    let middle = sent.middle();
    assert_eq!(round_trip_ns(received, &block(0, 0)), None);
    assert_eq!(round_trip_ns(received, &block(middle, 0)), Some(1_000_000_000));
    assert_eq!(round_trip_ns(received, &block(middle, 1 << 15)), Some(500_000_000));
    // A delay that is longer than the whole; but for what rounding makes of it.
    assert_eq!(round_trip_ns(received, &block(middle, (1 << 16) + 2)), Some(0));
    assert_eq!(round_trip_ns(received, &block(middle, (1 << 16) + 3)), None);
    // A report that we did not send.
    assert_eq!(round_trip_ns(received, &block(middle - (100 << 16), 0)), None);
    assert_eq!(round_trip_ns(received, &block(middle + (9 << 16), 0)), None);
}

#[test]
fn a_block_refers_to_the_last_report() {
    let mut block = ReportBlock::default();
    let last = LastReport { time: Ntp(0x0001_b705_2000_0001), received_ns: 1_000 };
    last.refer(5_250_001_000, &mut block);
    assert_eq!((block.last_sr, block.delay_since_last_sr), (0xb705_2000, 0x0005_4000));
    last.refer(u64::MAX, &mut block);
    assert_eq!(block.delay_since_last_sr, u32::MAX);
}

#[test]
fn reports_come_at_the_intervals_of_the_rfc() {
    let second = 1_000_000_000;
    for random in [0, 1 << 63, u64::MAX] {
        let mut schedule = Schedule::new(Interval::Standard, second, random);
        let first = schedule.next_ns() - second;
        assert!((1_250_000_000..=3_750_000_000).contains(&first), "{first}");
        schedule.advance(10 * second, random);
        let next = schedule.next_ns() - 10 * second;
        assert!((2_500_000_000..=7_500_000_000).contains(&next), "{next}");
    }
    assert_eq!(Schedule::new(Interval::Standard, 0, 1 << 63).next_ns(), 2_500_000_000);
}

#[test]
fn a_fixed_interval_has_no_drift_and_makes_nothing_up() {
    let half = 500_000_000;
    let mut schedule = Schedule::new(Interval::Fixed(half), 0, 1 << 63);
    let first = schedule.next_ns();
    assert_eq!(first, half / 2 + 1);
    schedule.advance(first + 7, 0);
    assert_eq!(schedule.next_ns(), first + half);
    schedule.advance(first + 4 * half + 3, 0);
    assert_eq!(schedule.next_ns(), first + 5 * half);
    // No interval at all would be a loop without an end.
    let mut schedule = Schedule::new(Interval::Fixed(0), 0, 0);
    schedule.advance(schedule.next_ns(), 0);
    assert_eq!(schedule.next_ns(), 1_000_001);
}
