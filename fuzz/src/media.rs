//! Datagrams of media: RTP and what shares its port, and RTCP.

use gossipper::media::quality::{Buffer, DigitReceiver, Format, Receipt, Sound, Stream};
use gossipper::media::rtcp::{
    self, Compound, LastReport, Ntp, ReportBlock, Writer, XrBlock, round_trip_ns,
};
use gossipper::media::rtp::{HeaderMut, Packet, Protocol, header};

/// Bytes in front of each datagram: its length, two for the time since the one before, its sound.
const PREFIX_LEN: usize = 4;
/// Unit of that time, which is four seconds at most.
const TIME_UNIT_NS: u64 = 1 << 16;

/// Takes any bytes as the datagrams that one leg receives.
pub fn any_rtp(bytes: &[u8]) {
    let Some((&setup, mut rest)) = bytes.split_first() else { return };
    let buffer = match setup & 1 {
        0 => Buffer::default(),
        _ => Buffer::Adaptive { min_ms: 20, max_ms: 200 },
    };
    let encoding = ["PCMU", "G722", "opus", "H264"][usize::from(setup >> 1 & 3)];
    let mut stream = Stream::new(Format::of(encoding, 8000, 20), buffer);
    let mut digits = DigitReceiver::default();
    let (mut now_ns, mut received) = (0u64, 0);
    stream.begin_listening(now_ns);
    while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_LEN>() {
        let [len, high, low, sound] = *prefix;
        let len = usize::from(len).min(behind.len());
        let datagram;
        (datagram, rest) = behind.split_at(len);
        let units = u64::from(u16::from_be_bytes([high, low]));
        now_ns = now_ns.saturating_add(units * TIME_UNIT_NS);
        if Protocol::of(datagram) != Ok(Protocol::Rtp) {
            continue;
        }
        let Ok(packet) = Packet::parse(datagram) else { continue };
        assert_parts(datagram, &packet);
        let sound =
            [Sound::Audible, Sound::Quiet, Sound::Unjudged, Sound::Event, Sound::WrongPayloadType]
                [usize::from(sound) % 5];
        let receipt = stream.receive(&packet.header, packet.payload.len(), sound, now_ns);
        received += 1;
        if sound == Sound::Event && receipt == Receipt::Fresh {
            let digit = digits.receive(&packet.header, packet.payload).ok().flatten();
            assert!(digit.is_none_or(|digit| b"0123456789*#ABCD".contains(&digit)));
        }
        let block = stream.report_block(now_ns, None).expect("a stream has a source");
        assert!((-0x80_0000..0x80_0000).contains(&block.cumulative_lost));
    }
    assert_measured(&stream, received, now_ns);
}

/// Fails unless the parts of a packet are all of it.
fn assert_parts(datagram: &[u8], packet: &Packet<'_>) {
    let extension_len = packet.extension.map_or(0, |extension| 4 + extension.data.len());
    let before = 12 + packet.csrcs.len() + extension_len;
    let all = before + packet.payload.len() + usize::from(packet.padding);
    assert_eq!(all, datagram.len());
    assert_eq!(header(datagram), Ok((packet.header, before)));
    assert_eq!(packet.csrcs().count() * 4, packet.csrcs.len());
    // A packet that is sent again with another source is the same otherwise.
    let mut again = datagram.to_vec();
    HeaderMut::of(&mut again).expect("a packet has a header").set_ssrc(!packet.header.ssrc);
    let read = Packet::parse(&again).expect("what was read is read again");
    assert_eq!((read.header.ssrc, read.payload), (!packet.header.ssrc, packet.payload));
}

/// Fails unless each packet is accounted for, and all figures are in their ranges.
fn assert_measured(stream: &Stream, received: u64, now_ns: u64) {
    let figures = stream.reception(now_ns);
    assert_eq!(figures.packets + figures.duplicates + figures.strays, received);
    assert_eq!(figures.expected, figures.packets + figures.lost);
    assert!(figures.longest_gap_ns <= now_ns && figures.dead_air_ns <= now_ns);
    assert!(figures.jitter_ns <= figures.jitter_max_ns);
    let is_mos = |mos: Option<f32>| mos.is_none_or(|mos| (1.0..=4.5).contains(&mos));
    assert!(is_mos(figures.mos) && is_mos(figures.mos_min));
    assert_eq!(stream.voip_metrics().is_some(), received > 0);
}

/// Reads any bytes as a compound of RTCP. What is read is written, and read again.
pub fn any_rtcp(bytes: &[u8]) {
    let Ok(compound) = Compound::parse(bytes) else { return };
    let mut out = vec![0; 4096];
    for packet in compound.flatten() {
        let mut writer = Writer::new(&mut out);
        let written = match packet {
            rtcp::Packet::SenderReport { ssrc, info, blocks } => {
                let blocks: Vec<_> = blocks.collect();
                blocks.iter().for_each(|block| any_block(info.time, block));
                writer.sender_report(ssrc, &info, &blocks)
            }
            rtcp::Packet::ReceiverReport { ssrc, blocks } => {
                writer.receiver_report(ssrc, &blocks.collect::<Vec<_>>())
            }
            rtcp::Packet::SourceDescription(mut chunks) => {
                let chunk = chunks.find(|chunk| chunk.cname.is_some());
                chunk.and_then(|chunk| writer.cname(chunk.ssrc, chunk.cname?))
            }
            rtcp::Packet::Goodbye(goodbye) => {
                let ssrc = goodbye.sources().next();
                ssrc.and_then(|ssrc| writer.goodbye(ssrc, goodbye.reason))
            }
            rtcp::Packet::Extended { ssrc, mut blocks } => blocks.find_map(|block| match block {
                XrBlock::VoipMetrics(metrics) => writer.voip_metrics(ssrc, &metrics),
                XrBlock::Other(_) => None,
            }),
            rtcp::Packet::Other(_) => None,
        };
        let len = writer.len();
        assert_eq!(written.is_some(), len > 0);
        if len > 0 {
            assert_read_again(&packet, &out[..len]);
        }
    }
}

/// Fails unless what was written is what was read. Only a report can begin a compound, so one is
/// put before.
fn assert_read_again(packet: &rtcp::Packet<'_>, written: &[u8]) {
    let compound = [&[0x80, 201, 0, 1, 0, 0, 0, 0], written].concat();
    let mut packets = Compound::parse(&compound).expect("what was written is read");
    let again = packets.nth(1).expect("there are two").expect("it is well-formed");
    match (*packet, again) {
        (
            rtcp::Packet::SenderReport { ssrc, info, blocks },
            rtcp::Packet::SenderReport { ssrc: ssrc_again, info: info_again, blocks: blocks_again },
        ) => {
            assert_eq!((ssrc, info), (ssrc_again, info_again));
            assert!(blocks.eq(blocks_again));
        }
        (
            rtcp::Packet::ReceiverReport { ssrc, blocks },
            rtcp::Packet::ReceiverReport { ssrc: ssrc_again, blocks: blocks_again },
        ) => assert!(ssrc == ssrc_again && blocks.eq(blocks_again)),
        (
            rtcp::Packet::SourceDescription(mut chunks),
            rtcp::Packet::SourceDescription(mut again),
        ) => assert_eq!(chunks.find(|chunk| chunk.cname.is_some()), again.next()),
        (rtcp::Packet::Goodbye(goodbye), rtcp::Packet::Goodbye(again)) => {
            assert_eq!(goodbye.sources().next(), again.sources().next());
            assert_eq!(goodbye.reason, again.reason);
        }
        (
            rtcp::Packet::Extended { ssrc, mut blocks },
            rtcp::Packet::Extended { ssrc: ssrc_again, blocks: mut again },
        ) => {
            let first = blocks.find(|block| matches!(block, XrBlock::VoipMetrics(_)));
            assert_eq!((ssrc, first), (ssrc_again, again.next()));
        }
        (packet, again) => panic!("{packet:?} became {again:?}"),
    }
}

fn any_block(time: Ntp, block: &ReportBlock) {
    assert!(round_trip_ns(time, block).is_none_or(|ns| ns <= 60_000_000_000));
    let mut referring = *block;
    LastReport { time, received_ns: block.jitter.into() }.refer(time.0, &mut referring);
    assert_eq!(referring.last_sr, time.middle());
}
