//! A packet of a stream, and a report about it, never allocate: both come fifty times a second and
//! stream, thousands of streams at once.

use std::hint::black_box;

use gossipper::media::quality::{Buffer, DigitReceiver, Format, Receipt, Sound, Stream};
use gossipper::media::rtcp::{Compound, Interval, LastReport, Ntp, Schedule, SenderInfo, Writer};
use gossipper::media::rtp::{HEADER_LEN, Header, HeaderMut, Packet, Protocol};

use crate::counter::{counted, so_far};

const PACKET_NS: u64 = 20_000_000;
const REPORT_PACKETS: u16 = 250;

/// Receives a minute of a stream with losses, duplicates, late packets, digits and a new source.
fn receive(stream: &mut Stream, digits: &mut DigitReceiver, datagram: &mut [u8]) -> usize {
    let mut heard = 0;
    for number in 0..3_000u16 {
        let mut header = HeaderMut::of(datagram).unwrap();
        header.set_sequence(number);
        header.set_timestamp(u32::from(number) * 160);
        header.set_ssrc(1 + u32::from(number / 1_500));
        if number % 7 == 3 {
            continue;
        }
        assert_eq!(Protocol::of(datagram), Ok(Protocol::Rtp));
        let packet = Packet::parse(datagram).unwrap();
        let sound = if number % 11 == 0 { Sound::Event } else { Sound::Audible };
        let late_ns = if number % 13 == 0 { 5 * PACKET_NS } else { 0 };
        let now_ns = u64::from(number) * PACKET_NS + late_ns;
        for _ in 0..2 {
            let receipt = stream.receive(&packet.header, packet.payload.len(), sound, now_ns);
            heard += usize::from(receipt == Receipt::Fresh);
        }
        heard += digits.receive(&packet.header, packet.payload).unwrap().iter().count();
    }
    heard
}

/// Writes the reports of a minute, and reads them.
fn report(stream: &mut Stream, out: &mut [u8]) -> usize {
    let mut schedule = Schedule::new(Interval::Standard, 0, 1 << 63);
    let mut read = 0;
    for number in (0..3_000).step_by(REPORT_PACKETS.into()) {
        let now_ns = number * PACKET_NS;
        schedule.advance(now_ns, number << 50);
        let last = LastReport { time: Ntp::of_unix_ns(now_ns), received_ns: now_ns };
        let block = stream.report_block(now_ns, Some(&last)).unwrap();
        let mut writer = Writer::new(out);
        writer.sender_report(7, &SenderInfo::default(), &[block]).unwrap();
        writer.cname(7, b"name@host").unwrap();
        writer.voip_metrics(7, &stream.voip_metrics().unwrap()).unwrap();
        writer.goodbye(7, b"end").unwrap();
        let len = writer.len();
        read += Compound::parse(&out[..len]).unwrap().flatten().count();
    }
    read
}

#[test]
fn measuring_and_reporting_allocate_nothing() {
    let mut stream = Stream::new(Format::of("PCMU", 8000, 20), Buffer::default());
    let mut digits = DigitReceiver::default();
    let mut datagram = [0; HEADER_LEN + 160];
    Header::default().write(datagram.first_chunk_mut().unwrap());
    let mut out = [0; 512];
    let before = so_far();
    let (heard, read) = counted(|| {
        let heard = receive(&mut stream, &mut digits, &mut datagram);
        (heard, report(&mut stream, &mut out))
    });
    let reception = counted(|| black_box(stream.reception(0)));
    assert_eq!(so_far() - before, 0);
    assert_eq!((read, reception.ssrc_changes), (48, 1));
    assert!(heard > 2_500 && reception.lost > 400 && reception.mos.is_some());
}
