use super::*;
use crate::stats::{FailureCause, HeardVerdict, ShortText};

fn ends(v6: bool) -> Ends {
    let (local, remote) = match v6 {
        false => ("192.0.2.1:5060", "198.51.100.7:5061"),
        true => ("[2001:db8::1]:5060", "[2001:db8::2]:5061"),
    };
    let protocol = if v6 { Protocol::Tls } else { Protocol::Udp };
    Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap(), protocol }
}

/// Figures of media, all of them different.
fn media() -> CallMedia {
    CallMedia {
        heard: HeardVerdict::TwoWay,
        packets_sent: 1,
        octets_sent: 160,
        packets_received: u64::MAX,
        octets_received: 320,
        packets_expected: 10,
        packets_lost: 3,
        packets_discarded: 11,
        packets_reordered: 12,
        packets_duplicate: 13,
        jitter_ns: 14,
        jitter_mean_ns: 15,
        jitter_max_ns: 4,
        delta_max_ns: 16,
        crosstalk_packets: 8,
        mos_hundredths: Some(441),
        mos_min_hundredths: None,
        first_audio_ns: Some(5),
        first_audio_after_answer_ns: None,
        round_trip_ns: Some(6),
        peer_fraction_lost: Some(255),
        peer_jitter_ns: Some(17),
        path: Some(AudioPath {
            local: ends(true).local,
            remote: ends(true).remote,
            ssrc: 7,
            peer_ssrc: Some(u32::MAX),
            payload_type: 8,
            clock_rate: 8000,
            encoding: ShortText::of(b"PCMA"),
        }),
    }
}

/// One event of each kind, and a few variations.
fn events() -> Vec<Event<'static>> {
    let message = b"SIP/2.0 200 OK\r\n\r\n";
    let call_id = b"1@host";
    let auth = Authenticated {
        call_id,
        username: b"joe",
        realm: b"example.org",
        algorithm: b"SHA-256",
        qop: b"",
        challenge: 407,
        is_ok: true,
    };
    let checked = RtpChecked {
        call_id,
        number: 6,
        is_video: true,
        is_protected: false,
        is_failed: true,
        sent: u64::MAX,
        good: 1,
        wrong: 2,
        first_wrong: Some((65_535, 159)),
    };
    let media = media();
    let unheard = CallMedia { path: None, peer_jitter_ns: None, ..media };
    let patience = Patience::Retransmission;
    vec![
        Event::Sent { ends: ends(false), is_repeated: true, message },
        Event::Received { ends: ends(true), message },
        Event::Unexpected { message, aborts: true },
        Event::Late { message },
        Event::OutOfCall { message: b"" },
        Event::Log(b"log"),
        Event::Warning(b"warning"),
        Event::SrtpKeys(b"keys"),
        Event::Error(b"error"),
        Event::CallStarted { call_id, is_incoming: true, ends: ends(false) },
        Event::CallEnded { call_id, cause: None, code: 200, length_ns: 77, media: Some(media) },
        Event::CallEnded {
            call_id,
            cause: Some(FailureCause::MaxUdpRetrans),
            code: 0,
            length_ns: 0,
            media: None,
        },
        Event::CallEnded { call_id, cause: None, code: 0, length_ns: 1, media: Some(unheard) },
        Event::Rtcp { ends: ends(false), is_sent: true, call_id, packet: b"\x80\xc9\0\x01" },
        Event::Step { call_id },
        Event::ResponseTime { rtd: 3, duration_ns: u64::MAX },
        Event::TimedOut { call_id, patience, aborts: false, waited_ms: 500 },
        Event::Authenticated(auth),
        Event::CommandSent(b"Call-ID: 1@host"),
        Event::CommandReceived(b""),
        Event::RtpChecked(checked),
        Event::RtpChecked(RtpChecked { first_wrong: None, is_video: false, ..checked }),
    ]
}

fn everything() -> Kinds {
    Kinds::of(TraceKind::ALL)
}

#[test]
fn records_come_back_as_they_went() {
    let mut tracer = Tracer::new(7, everything(), 1 << 16);
    for (index, event) in events().into_iter().enumerate() {
        tracer.record_at(1_000 + index as u64, 42, 1, 5, event);
    }
    let records: Vec<Record<'_>> = Records::new(tracer.bytes()).collect();
    assert_eq!(records.len(), events().len());
    for (index, (record, event)) in records.iter().zip(events()).enumerate() {
        let at_ns = 1_000 + index as u64;
        assert_eq!(*record, Record { at_ns, call: 42, worker: 7, program: 1, step: 5, event });
    }
    let kinds: std::collections::BTreeSet<_> = events().iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), TraceKind::ALL.len(), "a kind has no event in this test");
}

#[test]
fn what_is_not_wanted_is_not_recorded() {
    let mut tracer = Tracer::new(0, Kinds::MESSAGES, 1 << 16);
    for event in events() {
        tracer.record(1, 0, 0, event);
    }
    assert_eq!(Records::new(tracer.bytes()).count(), 2);
    tracer.set_wanted(Kinds::NONE, 1 << 16);
    tracer.clear();
    tracer.record(1, 0, 0, Event::Sent { ends: ends(false), is_repeated: false, message: b"" });
    assert!(tracer.bytes().is_empty());
    assert_eq!(tracer.dropped().total(), 0);
}

#[test]
fn without_room_records_are_counted_by_kind() {
    let mut tracer = Tracer::new(0, everything(), 400);
    let long = [b'x'; 200];
    tracer.record(1, 0, 0, Event::Log(&long));
    tracer.record(1, 0, 0, Event::Warning(&long));
    assert_eq!(Records::new(tracer.bytes()).count(), 1);
    assert_eq!(tracer.dropped().count(TraceKind::Warning), 1);
}

#[test]
fn a_full_queue_takes_what_fits_and_counts_the_rest() {
    let mut tracer = Tracer::new(0, everything(), 1 << 16);
    let long = [b'x'; 300];
    tracer.record(1, 0, 0, Event::Log(&long));
    tracer.record(1, 0, 0, Event::Warning(&long));
    tracer.record(1, 0, 0, Event::Error(b"short"));
    let mut queue = Vec::new();
    tracer.hand_on(|bytes| {
        let fits = queue.len() + bytes.len() <= 450;
        if fits {
            queue.extend_from_slice(bytes);
        }
        fits
    });
    let taken: Vec<Event<'_>> = Records::new(&queue).map(|record| record.event).collect();
    assert_eq!(taken, [Event::Log(&long), Event::Error(b"short")]);
    let dropped = tracer.dropped().nonzero().collect::<Vec<_>>();
    assert_eq!(dropped, [(TraceKind::Warning, 1)]);
    assert!(tracer.bytes().is_empty());
}

#[test]
fn broken_bytes_end_the_records_without_harm() {
    let mut tracer = Tracer::new(0, everything(), 1 << 16);
    for event in events() {
        tracer.record(1, 0, 0, event);
    }
    let bytes = tracer.bytes();
    for cut in 0..bytes.len() {
        let whole = Records::new(&bytes[..cut]).count();
        assert!(whole < events().len());
    }
    for at in 0..bytes.len() {
        let mut broken = bytes.to_vec();
        broken[at] ^= 0xff;
        Records::new(&broken).for_each(drop);
        each_record(&broken, |_, _| {});
    }
}
