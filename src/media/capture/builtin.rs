//! Captures that SIPp's scenarios name, made here: nobody's recording.

use crate::media::clip::Clip;
use crate::media::codec::Encoding;
use crate::media::{digits, tone};

/// Milliseconds of audio: as long as SIPp's `uac_pcap` waits behind it.
const AUDIO_MS: u64 = 8000;
/// Payload type of digits in the offers of SIPp's scenarios.
const DIGITS_PAYLOAD_TYPE: u8 = 101;
/// SSRC in the files; streams put their own in its place.
const SSRC: u32 = 1;
/// Link type of packets that begin with IP.
const RAW_IP: u32 = 101;

/// The pcap file that a scenario of SIPp means by `path`, if a run finds no such file: bursts of a
/// tone for `pcap/g711a.pcap`, one digit for `pcap/dtmf_2833_1.pcap` and its like.
pub fn builtin(path: &str) -> Option<Vec<u8>> {
    let name = path.strip_prefix("pcap/")?.strip_suffix(".pcap")?;
    if name == "g711a" {
        let pcma = Encoding::by_name("PCMA")?;
        let bursts = tone::cadence(
            tone::Tone { hz: tone::TONE_HZ, dbov: tone::TONE_DBOV },
            300,
            100,
            pcma,
            pcma.ptime_ms,
        );
        return Some(pcap(&bursts.ok()??, pcma.payload_type, AUDIO_MS * 1000));
    }
    let digit = match name.strip_prefix("dtmf_2833_")? {
        "star" => b'*',
        "pound" => b'#',
        digit => *digit.as_bytes().first().filter(|_| digit.len() == 1)?,
    };
    let digit = digits::clip(&[digit], 100, 100, 8000)?;
    Some(pcap(&digit, DIGITS_PAYLOAD_TYPE, 1))
}

/// A pcap file with the packets of a clip, which is repeated for at least `duration_us`.
pub(super) fn pcap(clip: &Clip, payload_type: u8, duration_us: u64) -> Vec<u8> {
    let words = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
    // Version 2.4; longest packet.
    let mut file = [0xa1b2_c3d4u32.to_le_bytes(), 0x0004_0002u32.to_le_bytes()].concat();
    file.extend(words([0, 0, 1 << 16, RAW_IP]));
    let (mut time_us, mut sequence, mut timestamp) = (0u64, 0u16, 0u32);
    while time_us < duration_us {
        for frame in &clip.frames {
            let marker = u8::from(frame.marker || sequence == 0) << 7;
            let mut rtp = vec![0x80, marker | payload_type];
            rtp.extend(sequence.to_be_bytes());
            rtp.extend([timestamp, SSRC].map(u32::to_be_bytes).concat());
            rtp.extend(clip.payload(frame));
            let packet = ipv4(&rtp);
            let (seconds, rest) = ((time_us / 1_000_000) as u32, (time_us % 1_000_000) as u32);
            let len = packet.len() as u32;
            file.extend(words([seconds, rest, len, len]));
            file.extend(packet);
            time_us += frame.gap_ns / 1000;
            sequence = sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(frame.ticks);
        }
    }
    file
}

/// A UDP datagram over IPv4, between ports of the loopback network. It is never sent, so that its
/// checksums are left out.
pub(super) fn ipv4(payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_len).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
    packet.extend([6000u16, 6002, udp_len, 0].map(u16::to_be_bytes).concat());
    packet.extend(payload);
    packet
}
