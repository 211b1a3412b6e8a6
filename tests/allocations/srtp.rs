//! Protected media never allocates, from the line in a session description to the packet.

use std::hint::black_box;

use gossipper::media::crypto::CryptoLine;
use gossipper::media::srtp::{SrtpReceiver, SrtpSender, TRAILER_MAX};

use crate::counter::{counted, so_far};

/// Length of a packet before protection.
const PACKET: usize = 172;

/// A line of each kind of suite: counter mode, none, GCM.
const LINES: [&str; 3] = [
    "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^20|1:4",
    "1 NULL_HMAC_SHA1_32 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e",
    "1 AEAD_AES_128_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHA==",
];

/// Packets there and back, and one of another key.
fn talk(line: &str) {
    let key = CryptoLine::parse(line.as_bytes()).unwrap().key;
    let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
    let mut packet = [0; PACKET + TRAILER_MAX];
    for number in 0..100u16 {
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        let len = sender.protect(&mut packet, PACKET).unwrap();
        assert_eq!(receiver.unprotect(&mut packet[..len]), Ok(PACKET));
        assert!(receiver.unprotect(&mut packet[..len]).is_err());
    }
    packet[..2].copy_from_slice(&[0x80, 200]);
    let len = sender.protect_rtcp(&mut packet, 28).unwrap();
    assert_eq!(receiver.unprotect_rtcp(&mut packet[..len]), Ok(28));
    black_box(packet);
}

#[test]
fn protection_never_allocates() {
    let before = so_far();
    counted(|| LINES.iter().for_each(|line| talk(line)));
    assert_eq!(so_far() - before, 0);
}
