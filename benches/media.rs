//! Protection of media: nanoseconds per packet of 20 ms of G.711, 160 bytes behind a header of 12.
//!
//! `protect` and `unprotect` are one packet in one direction, for each suite. `new` derives the
//! session keys of one direction, at the start of a call.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gossipper::media::srtp::{MasterKey, SrtpReceiver, SrtpSender, Suite, TRAILER_MAX};

/// Length of a packet before protection.
const PACKET: usize = 172;
/// Packets that are protected before they are received.
const BATCH: u64 = 1_000;

fn master(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..).take(suite.master_len()).collect();
    MasterKey::new(suite, &bytes).expect("a key as long as its suite says")
}

fn packet(number: u64) -> [u8; PACKET + TRAILER_MAX] {
    let mut packet = [0x55; PACKET + TRAILER_MAX];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet
}

/// The time that a receiver takes for `iterations` packets; protecting them is not measured.
fn receive(master: &MasterKey, iterations: u64) -> Duration {
    let (mut sender, mut receiver) = (SrtpSender::new(master), SrtpReceiver::new(master));
    let mut time = Duration::ZERO;
    let mut number = 0;
    while number < iterations {
        let count = BATCH.min(iterations - number);
        let mut packets: Vec<_> = (number..number + count).map(packet).collect();
        let mut len = 0;
        for packet in &mut packets {
            len = sender.protect(packet, PACKET).expect("room");
        }
        let start = Instant::now();
        for packet in &mut packets {
            let read = receiver.unprotect(black_box(&mut packet[..len]));
            assert_eq!(read, Ok(PACKET));
        }
        time += start.elapsed();
        number += count;
    }
    time
}

fn srtp(c: &mut Criterion) {
    let mut group = c.benchmark_group("srtp");
    for suite in Suite::ALL {
        let (name, master) = (suite.name(), master(suite));
        group.bench_function(BenchmarkId::new("protect", name), |b| {
            let mut sender = SrtpSender::new(&master);
            let mut packet = packet(0);
            let mut number = 0u16;
            b.iter(|| {
                number = number.wrapping_add(1);
                packet[2..4].copy_from_slice(&number.to_be_bytes());
                sender.protect(black_box(&mut packet), PACKET)
            });
        });
        group.bench_function(BenchmarkId::new("unprotect", name), |b| {
            b.iter_custom(|iterations| receive(&master, iterations));
        });
        group.bench_function(BenchmarkId::new("new", name), |b| {
            b.iter(|| SrtpSender::new(black_box(&master)));
        });
    }
    group.finish();
}

criterion_group!(benches, srtp);
criterion_main!(benches);
