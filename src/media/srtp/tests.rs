use proptest::prelude::*;

use super::cipher::Place;
use super::derive::{Keys, SessionKeys};
use super::session::Session;
use super::*;

/// A packet that fits every test.
const ROOM: usize = 600;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn master(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (1..).take(suite.master_len()).collect();
    MasterKey::new(suite, &bytes).unwrap()
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(0..20);
    packet
}

/// The packet with what `protect` adds to it.
fn protected(
    packet: &[u8],
    protect: impl FnOnce(&mut [u8], usize) -> Result<usize, SrtpFault>,
) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + TRAILER_MAX, 0xee);
    let len = protect(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}

/// The packet that `unprotect` gives.
fn unprotected(
    packet: &[u8],
    unprotect: impl FnOnce(&mut [u8]) -> Result<usize, SrtpFault>,
) -> Result<Vec<u8>, SrtpFault> {
    let mut packet = packet.to_vec();
    let len = unprotect(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

/// The session of the vectors in RFC 7714, which begin with session keys.
fn session_of_rfc_7714(suite: Suite, waivers: Waivers) -> Session {
    let mut keys = Keys::default();
    let key: Vec<u8> = (0..).take(suite.key_len()).collect();
    keys.encryption[..key.len()].copy_from_slice(&key);
    keys.salt[..12].copy_from_slice(b"Quid pro quo");
    let mut master = master(suite);
    master.waivers = waivers;
    Session::with_keys(&master, &SessionKeys { rtp: keys, rtcp: keys })
}

#[test]
fn gcm_of_rtp_is_that_of_rfc_7714() {
    let header = hex("8040f17b8041f8d35501a0b2");
    let text = b"Gallia est omnis divisa in partes tres";
    let clear = [&header[..], text].concat();
    let place = Place { ssrc: 0x5501_a0b2, index: 0xf17b };
    let sealed_128 = "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf\
        8833899d7f27beb16a9152cf765ee4390cce";
    let sealed_256 = "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799\
        b87b7aa3db36dfffd6b0f9bb7878d7a76c13";
    let tag_128 = [text, &hex("22493f82d2bce397e9d79e3b19aa4216")[..]].concat();
    let tag_256 = [text, &hex("a866d5910f887463067ceefec45215d4")[..]].concat();
    // Sections 16.1.1 to 16.2.4.
    for (suite, is_clear, expected) in [
        (Suite::AeadAes128Gcm, false, hex(sealed_128)),
        (Suite::AeadAes256Gcm, false, hex(sealed_256)),
        (Suite::AeadAes128Gcm, true, tag_128),
        (Suite::AeadAes256Gcm, true, tag_256),
    ] {
        let waivers = Waivers { rtp_encryption: is_clear, ..Waivers::default() };
        let session = session_of_rfc_7714(suite, waivers);
        let sealed = protected(&clear, |packet, len| {
            let total = len + session.overhead();
            session.protect(&mut packet[..total], len, header.len(), place).map(|()| total)
        });
        assert_eq!(sealed, [&header[..], &expected].concat(), "{suite:?}");
        let opened = unprotected(&sealed, |packet| {
            session.unprotect(packet, clear.len(), header.len(), place).map(|()| clear.len())
        });
        assert_eq!(opened, Ok(clear.clone()), "{suite:?}");
    }
}

#[test]
fn gcm_of_rtcp_is_that_of_rfc_7714() {
    let header = "81c8000d4d617273";
    let text = "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeef\
        deadbeefdeadbeef";
    let clear = hex(&format!("{header}{text}"));
    let sealed_128 = "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b46\
        86303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4";
    let sealed_256 = "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658\
        c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4";
    let tag_128 = format!("{text}841dd9683dd78ec92ae58790125f62b3000005d4");
    let tag_256 = format!("{text}91db4afbfeee5a978fab4393ed2615fe000005d4");
    // Sections 17.1 to 17.4.
    for (suite, is_clear, expected) in [
        (Suite::AeadAes128Gcm, false, sealed_128),
        (Suite::AeadAes256Gcm, false, sealed_256),
        (Suite::AeadAes128Gcm, true, &tag_128),
        (Suite::AeadAes256Gcm, true, &tag_256),
    ] {
        let waivers = Waivers { rtcp_encryption: is_clear, ..Waivers::default() };
        let session = session_of_rfc_7714(suite, waivers);
        let place = Place { ssrc: 0x4d61_7273, index: 0x5d4 };
        let sealed = protected(&clear, |packet, len| {
            let total = len + session.rtcp_overhead();
            session.protect_rtcp(&mut packet[..total], len, place).map(|()| total)
        });
        assert_eq!(sealed, hex(&format!("{header}{expected}")), "{suite:?}");
        let opened = unprotected(&sealed, |packet| {
            assert_eq!(session.rtcp_index(packet, clear.len()), Ok(0x5d4));
            session.unprotect_rtcp(packet, clear.len(), place).map(|()| clear.len())
        });
        assert_eq!(opened, Ok(clear.clone()), "{suite:?}");
    }
}

/// The part of a packet that each suite hides, and how much it adds.
#[test]
fn suites_and_waivers_protect_what_they_say() {
    let clear = rtp(7, 1, b"payload that is long enough to be hidden");
    let none = Waivers::default();
    let plain = Waivers { rtp_encryption: true, ..none };
    let untagged = Waivers { rtp_authentication: true, ..none };
    for (suite, waivers, is_hidden, added) in [
        (Suite::AesCm128HmacSha1_80, none, true, 10),
        (Suite::AesCm128HmacSha1_80, plain, false, 10),
        (Suite::AesCm128HmacSha1_32, none, true, 4),
        (Suite::AesCm128HmacSha1_32, untagged, true, 0),
        (Suite::NullHmacSha1_80, none, false, 10),
        (Suite::NullHmacSha1_32, none, false, 4),
        (Suite::AeadAes128Gcm, none, true, 16),
        (Suite::AeadAes256Gcm, plain, false, 16),
        // Its tag cannot be left out.
        (Suite::AeadAes256Gcm, untagged, true, 16),
    ] {
        let mut master = master(suite);
        master.waivers = waivers;
        let mut sender = SrtpSender::new(&master);
        assert_eq!(sender.overhead(), added);
        let sealed = protected(&clear, |packet, len| sender.protect(packet, len));
        assert_eq!(sealed.len(), clear.len() + added, "{suite:?} {waivers:?}");
        assert_eq!(sealed[..12], clear[..12], "{suite:?}: the header stays clear");
        assert_eq!(sealed[12..clear.len()] != clear[12..], is_hidden, "{suite:?} {waivers:?}");
        let mut receiver = SrtpReceiver::new(&master);
        assert_eq!(unprotected(&sealed, |packet| receiver.unprotect(packet)), Ok(clear.clone()));
    }
}

#[test]
fn rtcp_says_itself_if_it_is_encrypted() {
    let clear = rtcp(7);
    for suite in Suite::ALL {
        for is_waived in [false, true] {
            let mut master = master(suite);
            master.waivers.rtcp_encryption = is_waived;
            let mut sender = SrtpSender::new(&master);
            let sealed = protected(&clear, |packet, len| sender.protect_rtcp(packet, len));
            let tag = if suite.is_aead() { 16 } else { 10 };
            assert_eq!(sealed.len(), clear.len() + 4 + tag, "{suite:?}");
            let is_hidden = !is_waived && !suite.is_null();
            assert_eq!(sealed[8..clear.len()] != clear[8..], is_hidden, "{suite:?}");
            // A receiver need not have been told.
            let mut receiver = SrtpReceiver::new(&super::tests::master(suite));
            let opened = unprotected(&sealed, |packet| receiver.unprotect_rtcp(packet));
            assert_eq!(opened, Ok(clear.clone()), "{suite:?}");
            let again = unprotected(&sealed, |packet| receiver.unprotect_rtcp(packet));
            assert_eq!(again, Err(SrtpFault::Replayed));
        }
    }
}

#[test]
fn packets_carry_the_identifier_of_their_key() {
    assert_eq!((Mki::new(256, 1), Mki::new(1, 0), Mki::new(1, 129)), (None, None, None));
    let (rtp, rtcp) = (rtp(7, 1, b"text"), rtcp(7));
    for suite in Suite::ALL {
        for (value, len) in [(255, 1), (7, 4), (u64::MAX, 8), (1, 128)] {
            let mut master = master(suite);
            master.mki = Mki::new(value, len);
            let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
            let sealed = protected(&rtp, |packet, len| sender.protect(packet, len));
            assert_eq!(sealed.len(), rtp.len() + suite.tag_len() + len, "{suite:?}");
            let sealed_rtcp = protected(&rtcp, |packet, len| sender.protect_rtcp(packet, len));
            master.mki = Mki::new(value - 1, len);
            let mut other = SrtpReceiver::new(&master);
            let refused = unprotected(&sealed, |packet| other.unprotect(packet));
            assert_eq!(refused, Err(SrtpFault::UnknownMki), "{suite:?}");
            let refused = unprotected(&sealed_rtcp, |packet| other.unprotect_rtcp(packet));
            assert_eq!(refused, Err(SrtpFault::UnknownMki), "{suite:?}");
            let opened = unprotected(&sealed, |packet| receiver.unprotect(packet));
            assert_eq!(opened.as_ref(), Ok(&rtp), "{suite:?}");
            let opened = unprotected(&sealed_rtcp, |packet| receiver.unprotect_rtcp(packet));
            assert_eq!(opened.as_ref(), Ok(&rtcp), "{suite:?}");
        }
    }
}

#[test]
fn packets_that_are_none_are_named() {
    let master = master(Suite::AesCm128HmacSha1_80);
    let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
    let mut extended = rtp(7, 1, &[0xbe, 0xde, 0xff, 0xff]);
    extended[0] |= 0x10;
    let mut sources = rtp(7, 1, &[0; 59]);
    sources[0] |= 0x0f;
    let mut version = rtp(7, 1, &[0; 40]);
    version[0] = 0x40;
    for (packet, fault) in [
        (vec![], SrtpFault::Truncated),
        (rtp(7, 1, &[])[..11].to_vec(), SrtpFault::Truncated),
        (extended, SrtpFault::Truncated),
        (sources, SrtpFault::Truncated),
        (version, SrtpFault::NotRtp),
    ] {
        let len = packet.len();
        assert_eq!(sender.protect(&mut packet.clone(), len), Err(fault), "{packet:?}");
        assert_eq!(receiver.unprotect(&mut packet.clone()), Err(fault), "{packet:?}");
    }
    // A header alone, without room for the tag.
    assert_eq!(receiver.unprotect(&mut rtp(7, 1, &[0; 9])), Err(SrtpFault::Truncated));
    assert_eq!(receiver.unprotect_rtcp(&mut rtcp(7)[..21]), Err(SrtpFault::Truncated));
    assert_eq!(receiver.unprotect_rtcp(&mut [0; 40]), Err(SrtpFault::NotRtp));
    let mut packet = rtp(7, 1, &[0; 9]);
    assert_eq!(sender.protect(&mut packet, 12), Err(SrtpFault::NoRoom));
    assert_eq!(sender.protect(&mut packet, 99), Err(SrtpFault::NoRoom));
    assert_eq!(sender.protect_rtcp(&mut rtcp(7), 28), Err(SrtpFault::NoRoom));
}

#[test]
fn a_stream_is_small() {
    // For two directions, whatever the suite. Nothing else is allocated.
    assert!(size_of::<SrtpSender>() <= 784, "{}", size_of::<SrtpSender>());
    assert!(size_of::<SrtpReceiver>() <= 900, "{}", size_of::<SrtpReceiver>());
}

#[test]
fn labels_are_unique_and_snake_case() {
    for (at, fault) in SrtpFault::ALL.iter().enumerate() {
        let label = fault.label();
        assert!(label.starts_with("srtp_") && !label.contains(|c: char| c.is_uppercase()));
        assert!(SrtpFault::ALL[..at].iter().all(|other| other.label() != label), "{label}");
    }
}

#[test]
fn a_line_of_the_key_log_has_the_key_as_libsrtp_takes_it() {
    let mut master = master(Suite::AesCm128HmacSha1_80);
    master.waivers.rtp_encryption = true;
    let source = "192.0.2.1:6000".parse().unwrap();
    let destination = "[2001:db8::1]:7000".parse().unwrap();
    let mut flow = Flow { call_id: "1-2@a\nb c", source, destination, ssrc: Some(0xabc) };
    let mut lines = String::new();
    write_key_log(&flow, &master, &mut lines);
    (flow.ssrc, master.waivers) = (None, Waivers::default());
    write_key_log(&flow, &master, &mut lines);
    let key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e";
    let expected = format!(
        "192.0.2.1:6000 [2001:db8::1]:7000 0x00000abc AES_CM_128_HMAC_SHA1_80 {key} \
         UNENCRYPTED_SRTP call-id=1-2@a?b c\n\
         192.0.2.1:6000 [2001:db8::1]:7000 any AES_CM_128_HMAC_SHA1_80 {key} call-id=1-2@a?b c\n"
    );
    assert_eq!(lines, expected);
    assert!(!format!("{master:?}").contains('1'.to_string().repeat(2).as_str()), "{master:?}");
}

fn any_suite() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL)
}

/// A header with sources and an extension, and a payload.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let parts = (0u8..16, prop::option::of(0u8..6), prop::collection::vec(any::<u8>(), 0..400));
    parts.prop_map(|(sources, extension, payload)| {
        let mut packet = rtp(7, 500, &vec![3; usize::from(sources) * 4]);
        packet[0] |= sources;
        if let Some(words) = extension {
            packet[0] |= 0x10;
            packet.extend([0xbe, 0xde, 0, words]);
            packet.resize(packet.len() + usize::from(words) * 4, 5);
        }
        packet.extend(payload);
        packet
    })
}

proptest! {
    #[test]
    fn what_was_protected_comes_back(suite in any_suite(), clear in any_packet()) {
        prop_assert!(clear.len() <= ROOM);
        let master = master(suite);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        let sealed = protected(&clear, |packet, len| sender.protect(packet, len));
        let opened = unprotected(&sealed, |packet| receiver.unprotect(packet));
        prop_assert_eq!(opened, Ok(clear));
        let again = unprotected(&sealed, |packet| receiver.unprotect(packet));
        prop_assert_eq!(again, Err(SrtpFault::Replayed));
    }

    /// A changed bit is refused, and the packet itself is taken afterwards: nothing was noted.
    #[test]
    fn a_changed_bit_is_refused_and_changes_nothing(
        suite in any_suite(),
        clear in any_packet(),
        bit in any::<prop::sample::Index>(),
        is_rtcp in any::<bool>(),
    ) {
        let master = master(suite);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        let mut open = |packet: &[u8]| unprotected(packet, |packet| {
            if is_rtcp { receiver.unprotect_rtcp(packet) } else { receiver.unprotect(packet) }
        });
        let clear = if is_rtcp { rtcp(7) } else { clear };
        let sealed = protected(&clear, |packet, len| {
            if is_rtcp { sender.protect_rtcp(packet, len) } else { sender.protect(packet, len) }
        });
        let mut changed = sealed.clone();
        let bit = bit.index(sealed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        let refused = open(&changed);
        prop_assert!(refused.is_err(), "bit {} of {:?}", bit, sealed);
        prop_assert_eq!(open(&sealed), Ok(clear));
    }

    /// Packets are lost, come late and come twice, while the sequence number wraps several times.
    /// The receiver takes each once, unless it is too late for its window.
    #[test]
    fn rollovers_survive_loss_and_reordering(
        suite in any_suite(),
        first in 0u16..0x8000,
        // Two steps at once, where neighbours change places, are less than half of the numbers.
        steps in prop::collection::vec((1u16..0x3f00, 0usize..4), 20..60),
    ) {
        let master = master(suite);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        let mut indexes = vec![u64::from(first)];
        for (step, burst) in &steps {
            let last = indexes[indexes.len() - 1];
            indexes.extend((0..=*burst as u64).map(|n| last + u64::from(*step) + n));
        }
        let mut sealed: Vec<_> = indexes.iter().map(|index| {
            let clear = rtp(7, *index as u16, &index.to_be_bytes());
            (*index, protected(&clear, |packet, len| sender.protect(packet, len)), clear)
        }).collect();
        // Neighbours change places but for the first; a late one is late by one packet.
        for pair in sealed[1..].chunks_exact_mut(2).step_by(2) {
            pair.swap(0, 1);
        }
        let mut newest = 0;
        for (index, packet, clear) in &sealed {
            let opened = unprotected(packet, |packet| receiver.unprotect(packet));
            if index + 128 > newest {
                prop_assert_eq!(opened.as_ref(), Ok(clear), "{} behind {}", index, newest);
            } else {
                prop_assert_eq!(opened, Err(SrtpFault::TooOld));
            }
            newest = newest.max(*index);
            let again = unprotected(packet, |packet| receiver.unprotect(packet));
            prop_assert!(matches!(again, Err(SrtpFault::Replayed | SrtpFault::TooOld)));
        }
    }

    #[test]
    fn any_bytes_are_refused(suite in any_suite(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut receiver = SrtpReceiver::new(&master(suite));
        // The tag of the shortest one is right by chance once in four thousand million times.
        prop_assert!(receiver.unprotect(&mut bytes.clone()).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut bytes.clone()).is_err());
    }
}
