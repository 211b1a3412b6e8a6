//! Protection of media: nanoseconds per packet of 20 ms of G.711, 160 bytes behind a header of 12.
//!
//! `protect` and `unprotect` are one packet in one direction, for each suite. `new` derives the
//! session keys of one direction, at the start of a call. `dtls` is a whole handshake, both sides.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gossipper::media::dtls::{Description, Handshake, Identity, Progress, Role};
use gossipper::media::srtp::{MasterKey, SrtpReceiver, SrtpSender, Suite, TRAILER_MAX};
use gossipper::sip::Sdp;

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

/// Lets two sides with these certificates come to keys.
fn shake_hands(identities: &[Arc<Identity>; 2], words: &[Description; 2]) {
    let roles = [Role::Client, Role::Server];
    let mut sides = [0, 1].map(|side| {
        Handshake::new(&identities[side], roles[side], words[1 - side].fingerprints, 0)
    });
    let mut ways = [const { VecDeque::<Vec<u8>>::new() }; 2];
    let mut keys = 0;
    let mut room = Vec::new();
    while keys < 2 {
        for side in 0..2 {
            let came = ways[1 - side].pop_front();
            let send = &mut |datagram: &[u8]| ways[side].push_back(datagram.to_vec());
            let progress = sides[side].step(came.as_deref(), 0, &mut room, send);
            assert!(!matches!(progress, Progress::Failed(_)), "{progress:?}");
            keys += u32::from(matches!(progress, Progress::Keys(_)));
        }
    }
}

fn dtls(c: &mut Criterion) {
    let identity = || Arc::new(Identity::new(Instant::now()).expect("random numbers"));
    let identities = [identity(), identity()];
    let words = identities.each_ref().map(|identity| {
        let text = format!(
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:{}\r\n",
            identity.fingerprint()
        );
        let sdp = Sdp::parse(text.as_bytes()).expect("a description");
        let section = sdp.media().flatten().next().expect("a section");
        Description::read(&sdp, &section).expect("a fingerprint")
    });
    c.bench_function("dtls", |b| b.iter(|| shake_hands(&identities, &words)));
}

criterion_group!(benches, srtp, dtls);
criterion_main!(benches);
