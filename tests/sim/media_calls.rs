//! Calls with media: the ports that they advertise, the descriptions that they follow, and their
//! actions. What streams send and measure is tested apart.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::{Clips, EngineConfig, Gate};
use gossipper::media::MediaConfig;
use gossipper::media::clip::{Clip, ClipSet, Content, Frame};
use gossipper::media::dtls::Identity;
use gossipper::media::library::{Library, Settings};
use gossipper::media::rtcp::{Compound, Packet};
use gossipper::scenario::{BUILTINS, Program, compile};
use gossipper::stats::{Counters, FailureCause, HandshakeFault, HeardVerdict};
use gossipper_uring::SimConfig;

use crate::harness::rig::{Rig, answer, header, request, to_tag};
use crate::harness::scenarios::{builtin, inline, spelled_out};
use crate::harness::side::{SideOptions, rate};
use crate::harness::{MS, SECOND, World};

/// A second of a sound that is the same in every packet, in both G.711 encodings.
fn sound() -> Arc<ClipSet> {
    let clip = |byte| {
        let frame = |at: u32| Frame {
            offset: at * 160,
            len: 160,
            marker: at == 0,
            payload_type: None,
            gap_ns: 20_000_000,
            ticks: 160,
        };
        Arc::new(Clip {
            bytes: vec![byte; 50 * 160].into(),
            frames: (0..50).map(frame).collect(),
            content: Content::Payload,
            clock_rate: 8000,
            is_silent: false,
            pattern: None,
            is_marked: false,
        })
    };
    Arc::new(ClipSet { clips: vec![("PCMU", clip(0x10)), ("PCMA", clip(0x90))] })
}

/// A side with media on a range of ports.
fn side(program: Program, ports: (u16, u16)) -> SideOptions {
    let sources = program.sources.iter().cloned();
    let clips: HashMap<_, _> = sources.map(|source| (source, sound())).collect();
    let mut options = SideOptions::new(program);
    options.clips = Clips::new([clips]);
    let (port_min, port_max) = ports;
    let identity = Some(Arc::new(Identity::new(Instant::now()).unwrap()));
    let usual = MediaConfig::new(options.address.ip());
    options.media = Some(MediaConfig { port_min, port_max, identity, ..usual });
    options
}

/// A caller whose INVITE has `sdp`, and that does `then` once the call is answered.
fn caller(sdp: &str, then: &str) -> Program {
    let invite = format!(
        r#"<send><![CDATA[
          INVITE sip:a@[remote_ip] SIP/2.0
          Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
          From: <sip:b@[local_ip]>;tag=[call_number]
          To: <sip:a@[remote_ip]>
          Call-ID: [call_id]
          CSeq: [cseq] INVITE
          Contact: <sip:b@[local_ip]:[local_port]>
          Content-Type: application/sdp
          Content-Length: [len]

          {sdp}
        ]]></send>
        <recv response="200"/>"#
    );
    spelled_out("caller", &(invite + &crate::harness::scenarios::expand(then)))
}

const OFFER: &str = "v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtcp:[media_port+1]
m=video [media_port+2] RTP/AVP 96
a=x:[rtpstream_audio_port] [rtpstream_video_port+1] [auto_media_port]";

const HANGUP: &str = r#"<send>@ACK@</send><pause milliseconds="100"/>
    <send>@BYE@</send><recv response="200"/>"#;

/// The lines of a message that begin with `start`.
fn lines<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

/// A 200 for `invite` with a description whose address is `to`.
fn answer_with(invite: &str, to: &str) -> String {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {to}\r\ns=-\r\nc=IN IP4 {to}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 0\r\n"
    );
    let head = answer(invite, 200, "t");
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    head.replace("Content-Length: 0\r\n\r\n", &length)
}

#[test]
fn a_call_advertises_ports_of_its_own_where_the_scenario_has_media() {
    let play = r#"<nop><action><exec rtp_stream="a.wav"/></action></nop>"#;
    let options = side(caller(OFFER, &(play.to_owned() + HANGUP)), (7000, 7099));
    let mut rig = Rig::with(options.with(|engine| {
        engine.calls_total = Some(2);
        engine.arrivals = rate(1000.0);
    }));
    let [one, two] = [rig.expect("INVITE").text, rig.expect("INVITE").text];
    let port = |text: &str| -> u16 { lines(text, "m=audio ")[0][8..12].parse().unwrap() };
    for invite in [&one, &two] {
        let audio = port(invite);
        let video: u16 = lines(invite, "m=video ")[0][8..12].parse().unwrap();
        assert!((7000..7099).contains(&audio) && audio % 2 == 0, "{audio}");
        assert_ne!(audio, video);
        assert_eq!(lines(invite, "a=rtcp:"), [format!("a=rtcp:{}", audio + 1)]);
        let more = format!("a=x:{audio} {} {audio}", video + 1);
        assert_eq!(lines(invite, "a=x:"), [more]);
    }
    assert_ne!(port(&one), port(&two));
    for invite in [&one, &two] {
        rig.send(&answer_with(invite, "192.0.2.2"));
    }
    for _ in 0..2 {
        rig.expect("ACK");
    }
    for _ in 0..2 {
        let bye = rig.expect("BYE").text;
        rig.send(&answer(&bye, 200, "t"));
    }
    assert_eq!(succeeded(&rig.end()), (2, 0));
}

#[test]
fn without_media_the_keywords_are_those_of_the_run() {
    let mut rig = Rig::with(side(caller(OFFER, HANGUP), (7000, 7099)));
    let invite = rig.expect("INVITE").text;
    assert_eq!(lines(&invite, "m="), ["m=audio 6000 RTP/AVP 0", "m=video 6002 RTP/AVP 96"]);
    assert_eq!(lines(&invite, "a=x:"), ["a=x:6000 6003 6000"]);
}

#[test]
fn a_call_without_a_port_fails() {
    let play = r#"<nop><action><exec rtp_stream="a.wav"/></action></nop>"#;
    let offer = OFFER.split("\nm=video").next().unwrap();
    let options = side(caller(offer, &(play.to_owned() + HANGUP)), (7000, 7001));
    let mut rig = Rig::with(options.with(|engine| {
        engine.calls_total = Some(2);
        engine.arrivals = rate(1000.0);
    }));
    let invite = rig.expect("INVITE").text;
    rig.run(100);
    assert_eq!(rig.failures(), [(FailureCause::NoMediaPort, 1)]);
    rig.send(&answer_with(&invite, "192.0.2.2"));
    rig.expect("ACK");
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    assert_eq!(succeeded(&rig.end()), (1, 1));
}

fn succeeded(counters: &Counters) -> (u64, u64) {
    (counters.calls_succeeded, counters.calls_failed)
}

fn answerer() -> Program {
    inline(
        "answerer",
        r#"<recv request="INVITE"/>
        <send><![CDATA[
          SIP/2.0 200 OK
          [last_Via:]
          [last_From:]
          [last_To:];tag=own[call_number]
          [last_Call-ID:]
          [last_CSeq:]
          X-Codec: [audio_codec] [audio_pt]
          X-Source: [audio_ssrc]
          Content-Type: application/sdp
          Content-Length: [len]

          v=0
          o=- 1 1 IN IP4 [local_ip]
          s=-
          c=IN IP4 [media_ip]
          t=0 0
          [audio_sdp]
        ]]></send>
        <recv request="ACK"/>
        <nop><action><exec rtp_stream="synthetic"/></action></nop>
        <recv request="BYE"/>
        <send>@200=@</send>"#,
    )
}

/// An INVITE that offers `sections`.
fn offering(call: &str, sections: &str) -> String {
    let body =
        format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n{sections}");
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    request("INVITE", call, 1, "").replace("Content-Length: 0\r\n\r\n", &length)
}

/// The source of audio that a message names in a header: SSRC and canonical name.
fn sent_by(message: &str) -> String {
    let source = header(message, "X-Source");
    let (ssrc, name) = source.split_once(" cname:").unwrap();
    assert!(ssrc.parse::<u32>().is_ok_and(|ssrc| ssrc != 0) && name.len() == 16, "{source}");
    source.to_owned()
}

#[test]
fn an_answer_follows_the_offer() {
    let mut rig = Rig::with(side(answerer(), (7000, 7099)));
    rig.send(&offering("one", "m=audio 4000 RTP/AVP 18 8 0\r\na=ptime:30\r\n"));
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(header(&ok, "X-Codec"), "PCMA/8000 8");
    let media = lines(&ok, "m=audio ")[0];
    assert!(media.starts_with("m=audio 70") && media.ends_with(" RTP/AVP 8"), "{media}");
    let one = sent_by(&ok);
    let named = format!("a=ssrc:{one}");
    assert_eq!(lines(&ok, "a="), ["a=rtpmap:8 PCMA/8000", &named, "a=ptime:30"]);
    rig.send(&request("ACK", "one", 1, to_tag(&ok)));
    rig.send(&request("BYE", "one", 2, to_tag(&ok)));
    rig.expect("SIP/2.0 200");
    // Without an offer it is an offer of ours.
    rig.send(&request("INVITE", "two", 1, ""));
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(header(&ok, "X-Codec"), "PCMU/8000 0");
    let two = sent_by(&ok);
    assert_ne!(one, two);
    assert_eq!(lines(&ok, "a="), ["a=rtpmap:0 PCMU/8000", &format!("a=ssrc:{two}")]);
    rig.send(&request("ACK", "two", 1, to_tag(&ok)));
    rig.send(&request("BYE", "two", 2, to_tag(&ok)));
    rig.expect("SIP/2.0 200");
    assert_eq!(succeeded(&rig.end()), (2, 0));
}

#[test]
fn a_caller_for_whom_there_is_no_port_is_told_so() {
    let mut rig = Rig::with(side(answerer(), (7000, 7001)));
    rig.send(&offering("one", "m=audio 4000 RTP/AVP 0\r\n"));
    let ok = rig.expect("SIP/2.0 200").text;
    rig.send(&offering("two", "m=audio 4002 RTP/AVP 0\r\n"));
    rig.expect("SIP/2.0 503");
    assert_eq!(rig.failures(), [(FailureCause::NoMediaPort, 1)]);
    rig.send(&request("ACK", "one", 1, to_tag(&ok)));
    rig.send(&request("BYE", "one", 2, to_tag(&ok)));
    rig.expect("SIP/2.0 200");
    assert_eq!(succeeded(&rig.end()), (1, 1));
}

/// A gate that lets only the peer of the tests pass.
#[derive(Debug)]
struct OnlyThePeer;

impl Gate for OnlyThePeer {
    fn lets_pass(&self, to: SocketAddr, _: u64) -> bool {
        to.ip().to_string() == "192.0.2.2"
    }
}

#[test]
fn a_description_with_a_forbidden_or_useless_address_fails_its_call() {
    for (address, cause) in [
        ("192.0.2.66", FailureCause::BlockedTarget),
        ("host.example.com", FailureCause::MediaFailed),
        ("224.0.0.1", FailureCause::MediaFailed),
    ] {
        let offer = OFFER.split("\nm=video").next().unwrap();
        let play = r#"<nop><action><exec rtp_stream="a.wav"/></action></nop>"#;
        let mut options = side(caller(offer, &(play.to_owned() + HANGUP)), (7000, 7099));
        if let Some(media) = &mut options.media {
            media.gate = Some(Arc::new(OnlyThePeer));
        }
        let mut rig = Rig::with(options);
        let invite = rig.expect("INVITE").text;
        rig.send(&answer_with(&invite, address));
        // The dialog is ended, although the call has failed.
        rig.expect("ACK");
        let bye = rig.expect("BYE").text;
        rig.send(&answer(&bye, 200, "t"));
        assert_eq!(rig.failures(), [(cause, 1)], "{address}");
        rig.end();
    }
}

/// An offer with keys of SRTP, and the beginning of an answer with some.
const SECURE_OFFER: &str = "v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/SAVP 0
a=crypto:[cryptotag1audio] [cryptosuiteaescm128sha1801audio] inline:[cryptokeyparams1audio]
a=crypto:[cryptotag2audio] [cryptosuitenullsha1322audio] inline:[cryptokeyparams2audio]";

#[test]
fn keys_that_do_not_fit_fail_the_call() {
    let clear_offer = OFFER.split("\nm=video").next().unwrap();
    let key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e";
    let fitting = format!("RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}");
    for (offer, section, rejects_srtp, failure) in [
        (SECURE_OFFER, fitting.as_str(), false, None),
        (SECURE_OFFER, "RTP/AVP 0", false, Some(FailureCause::SrtpFailed)),
        (SECURE_OFFER, "RTP/SAVP 0", false, Some(FailureCause::SrtpFailed)),
        (
            SECURE_OFFER,
            "RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQID",
            false,
            Some(FailureCause::SrtpFailed),
        ),
        (SECURE_OFFER, &fitting.replace("_80", "_32"), false, Some(FailureCause::SrtpFailed)),
        (SECURE_OFFER, &fitting, true, Some(FailureCause::SrtpFailed)),
        (clear_offer, &fitting, false, Some(FailureCause::SrtpFailed)),
        (clear_offer, "RTP/AVP 0", true, None),
    ] {
        let play = r#"<nop><action><exec rtp_stream="a.wav"/></action></nop>"#;
        let mut options = side(caller(offer, &(play.to_owned() + HANGUP)), (7000, 7099));
        if let Some(media) = &mut options.media {
            media.rejects_srtp = rejects_srtp;
        }
        let mut rig = Rig::with(options);
        let invite = rig.expect("INVITE").text;
        let body = answer_with(&invite, "192.0.2.2").replace("RTP/AVP 0", section);
        let (head, sdp) = body.split_once("\r\n\r\n").unwrap();
        let (head, _) = head.split_once("Content-Length").unwrap();
        rig.send(&format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
        rig.expect("ACK");
        let bye = rig.expect("BYE").text;
        rig.send(&answer(&bye, 200, "t"));
        let failures: Vec<_> = failure.into_iter().map(|cause| (cause, 1)).collect();
        assert_eq!(rig.failures(), failures, "{section}");
        rig.end();
    }
}

#[test]
fn scenarios_protect_their_media_with_the_keys_that_they_write() {
    let play_then =
        |then: &str| format!(r#"<nop><action><exec rtp_stream="synthetic"/></action></nop>{then}"#);
    let hangup = HANGUP.replace("100", "1000");
    let caller = caller(SECURE_OFFER, &play_then(&hangup));
    let answer = SECURE_OFFER.split("\na=crypto:[cryptotag2").next().unwrap();
    let callee = inline(
        "answerer",
        &format!(
            r#"<recv request="INVITE"/>
            <send><![CDATA[
              SIP/2.0 200 OK
              [last_Via:]
              [last_From:]
              [last_To:];tag=own[call_number]
              [last_Call-ID:]
              [last_CSeq:]
              Contact: <sip:[local_ip]:[local_port]>
              Content-Type: application/sdp
              Content-Length: [len]

              {answer}
            ]]></send>
            <recv request="ACK"/>
            {}"#,
            play_then(r#"<recv request="BYE"/><send>@200=@</send>"#)
        ),
    );
    for counters in play([callee, caller], 3) {
        assert_eq!(counters.media.heard.count(HeardVerdict::TwoWay), 3);
        assert!(counters.media.rtp_packets_received > 3 * 45);
        assert_eq!(counters.media.srtp_faults.total(), 0);
    }
}

#[test]
fn calls_of_browsers_find_and_hear_each_other() {
    for (caller, callee) in [
        ("webrtc_uac", "webrtc_uas"),
        ("webrtc_uac", "uas_media"),
        ("invite_media_savpf", "webrtc_uas"),
        ("invite_media_savpf", "uas_media"),
    ] {
        for counters in meet(caller, callee) {
            let of = format!("{caller} calls {callee}");
            assert_eq!(counters.media.heard.count(HeardVerdict::TwoWay), 1, "{of}");
            assert_eq!(counters.media.handshakes, 1, "{of}");
            let faults = counters.media.handshake_faults.total();
            assert_eq!((faults, counters.media.rtp_lost), (0, 0), "{of}");
            assert!(counters.media.rtp_packets_received > 100, "{of}");
        }
    }
}

#[test]
fn an_offer_for_browsers_has_all_that_one_needs() {
    let mut rig = Rig::with(side(caller("[webrtc_offer]", HANGUP), (7000, 7099)));
    let invite = rig.expect("INVITE").text;
    let body = invite.split("\r\n\r\n").nth(1).unwrap();
    let only = |start: &str| match lines(body, start)[..] {
        [line] => line.to_owned(),
        _ => panic!("{start}: {body}"),
    };
    let port = &only("m=audio ")[8..12];
    assert_eq!(only("m="), format!("m=audio {port} UDP/TLS/RTP/SAVPF 111 0 8 110 101"));
    assert_eq!(only("c="), "c=IN IP4 192.0.2.1");
    let candidate = format!("a=candidate:1 1 UDP 2130706431 192.0.2.1 {port} typ host");
    assert_eq!(only("a=candidate:"), candidate);
    assert_eq!(only("a=fingerprint:sha-256 ").len(), "a=fingerprint:sha-256 ".len() + 32 * 3 - 1);
    assert_eq!(only("a=ice-ufrag:").len(), "a=ice-ufrag:".len() + 8);
    assert_eq!(only("a=ice-pwd:").len(), "a=ice-pwd:".len() + 24);
    for line in ["a=group:BUNDLE 0", "a=mid:0", "a=rtcp-mux", "a=setup:actpass"] {
        assert_eq!(only(line), line);
    }
    assert!(body.ends_with("\r\n") && !body.contains("\r\n\r\n"));
    rig.send(&answer(&invite, 486, "t"));
    rig.expect("ACK");
    rig.end();
}

/// An offer as browsers make it, with a section of video before that of audio.
const BROWSER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE v a\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 63 8 126\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=rtcp-mux\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
    a=candidate:1 1 udp 2113937151 7b0e.local 50000 typ host\r\n\
    a=fingerprint:sha-256 SHA\r\na=setup:actpass\r\na=rtpmap:63 red/48000/2\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:126 telephone-event/8000\r\na=sendrecv\r\n";

#[test]
fn an_answer_for_browsers_takes_audio_and_refuses_the_rest() {
    let mut rig = Rig::with(side(builtin("webrtc_uas"), (7000, 7099)));
    let offer = BROWSER.replace("SHA", &["AB"; 32].join(":"));
    let head = request("INVITE", "one", 1, "");
    let length = format!("Content-Length: {}\r\n\r\n{offer}", offer.len());
    rig.send(&head.replace("Content-Length: 0\r\n\r\n", &length));
    let ok = rig.expect("SIP/2.0 200").text;
    let body = ok.split("\r\n\r\n").nth(1).unwrap();
    let sections: Vec<&str> = body.split("m=").collect();
    assert!(sections[0].contains("a=group:BUNDLE a\r\n"), "{body}");
    assert_eq!(sections[1], "video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n");
    let audio = sections[2];
    let begin = format!("audio {} UDP/TLS/RTP/SAVPF 8 126\r\n", &audio[6..10]);
    assert!(audio.starts_with(&begin), "{audio}");
    for line in ["a=mid:a", "a=rtcp-mux", "a=setup:active", "a=rtpmap:126 telephone-event/8000"] {
        assert_eq!(lines(audio, line).len(), 1, "{line}: {audio}");
    }
    // Nobody checks our candidate: the call fails for want of an address.
    let counters = rig.end();
    assert_eq!(counters.failures.count(FailureCause::MediaFailed), 1);
    assert_eq!(counters.media.handshake_faults.count(HandshakeFault::IceTimedOut), 1);
}

/// The media of a program's sources, in G.711; of browsers in Opus, too.
fn sounds(program: &Program) -> Clips {
    let mut settings = Settings::new(64 << 20);
    let has_opus = program.shakes_hands || program.name == "uas_media";
    let is_wanted = |name: &str| name.starts_with("PCM") || has_opus && name == "opus";
    settings.encodings.retain(|encoding| is_wanted(encoding.name));
    let library = Library::prepare(&program.sources, &settings, &mut |_, _| Ok(None));
    Clips::new([library.unwrap_or_else(|error| panic!("{}: {error}", program.name)).clips])
}

/// Lets a built-in caller call a built-in answerer. Returns the counters of both.
fn meet(caller: &str, callee: &str) -> [Counters; 2] {
    play([builtin(callee), builtin(caller)], 1)
}

/// Lets a caller, the second one, make so many calls to an answerer at once. Returns the counters
/// of the caller and of the answerer.
fn play(programs: [Program; 2], calls: u64) -> [Counters; 2] {
    play_with(programs, calls, |_| ())
}

/// The same with a change to both engines.
fn play_with(
    programs: [Program; 2],
    calls: u64,
    change: impl Fn(&mut EngineConfig),
) -> [Counters; 2] {
    let names = format!("{} calls {}", programs[1].name, programs[0].name);
    let network = SimConfig { delay_ns_min: MS, delay_ns_max: 3 * MS, ..SimConfig::default() };
    let mut world = World::new(1, network);
    // Thousands of packets change nothing in the engines.
    world.check_every = 64 * calls;
    let sides = programs.map(|program| {
        let clips = sounds(&program);
        let mut options = side(program, (7000, 7999));
        options.clips = clips;
        options.driver.sockets_max = 4 * calls as usize + 16;
        let options = options.with(|engine| {
            engine.pool_calls = calls as usize + 1;
            match &mut engine.calls_total {
                Some(total) => (*total, engine.arrivals) = (calls, rate(1e6)),
                None => engine.seed = 2,
            }
            change(engine);
        });
        world.add(&options)
    });
    let [callee_side, caller_side] = sides;
    let end_ns = world.net.now() + 60 * SECOND;
    let played = world.run_until(end_ns, |world| world.is_finished(caller_side));
    played.unwrap_or_else(|problem| panic!("{problem}\n{}", world.log.tail(30)));
    assert!(world.is_finished(caller_side), "{names}: no end:\n{}", world.log.tail(30));
    world.request(callee_side, WorkerRequest::StopNewCalls);
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(callee_side)).unwrap();
    [caller_side, callee_side].map(|side| {
        world.sides[side].check_end(false).unwrap();
        let counters = world.sides[side].reported();
        let failures: Vec<_> = counters.failures.nonzero().collect();
        assert_eq!(
            succeeded(&counters),
            (calls, 0),
            "{names}: {failures:?}\n{}",
            world.log.tail(30)
        );
        counters
    })
}

#[test]
fn every_scenario_of_the_laboratory_gets_along_with_its_partner() {
    // Those that send an INVITE of their own, or whose directions fit no other side's.
    const ALONE: [&str; 10] = [
        "audio_gap",
        "fax_switch",
        "hold_moh",
        "hold_resume",
        "media_redirect",
        "no_rtp",
        "one_way",
        "port_move",
        "recvonly",
        "short_call",
    ];
    let twins = BUILTINS.iter().filter_map(|builtin| builtin.name.strip_suffix("_uas"));
    let twins: Vec<&str> = twins.filter(|name| *name != "webrtc").collect();
    assert_eq!(twins.len(), 24);
    for name in twins {
        let twin = format!("{name}_uas");
        match name {
            name if ALONE.contains(&name) => {
                meet(name, "uas_media");
                meet("uac_media", &twin);
            }
            name => _ = meet(name, &twin),
        }
    }
    for caller in ["invite_media", "uac_pcap", "uac_dtmf"] {
        meet(caller, "uas_media");
    }
    for callee in ["uas_media", "early_183", "late_180"] {
        meet("uac_media", callee);
    }
    meet("invite_media_early", "uas_media");
    meet("invite_media_early_180", "uas_media");
}

fn builtin_text(name: &str) -> &'static str {
    BUILTINS.iter().find(|builtin| builtin.name == name).unwrap().text
}

#[test]
fn calls_that_begin_at_once_wait_for_their_ports() {
    // Fewer ports than these calls need are open before the first one.
    let [caller, callee] = play([builtin("uas_media"), builtin("invite_media")], 200);
    for counters in [caller, callee] {
        assert!(counters.media.ports_opened >= 200, "{}", counters.media.ports_opened);
        assert_eq!((counters.media.legs_closed, counters.handover_dropped), (200, 0));
    }
}

#[test]
fn the_verdict_about_a_call_is_that_of_its_scenario() {
    for (caller, callee, verdicts) in [
        ("uac_media", "uas_media", [HeardVerdict::TwoWay; 2]),
        ("one_way", "uas_media", [HeardVerdict::OneWay, HeardVerdict::OneWay]),
        ("rtp_mute", "rtp_mute_uas", [HeardVerdict::None; 2]),
        ("g711_silence", "g711_silence_uas", [HeardVerdict::None; 2]),
    ] {
        let counters = meet(caller, callee);
        for (counters, verdict) in counters.iter().zip(verdicts) {
            let heard: Vec<_> = counters.media.heard.nonzero().collect();
            assert_eq!(heard, [(verdict, 1)], "{caller} calls {callee}");
            let is_silent = verdict == HeardVerdict::None;
            assert_eq!(counters.media.silent_calls, u64::from(is_silent), "{caller}");
        }
    }
}

#[test]
fn digits_of_the_peer_are_taken_into_a_variable() {
    let check = r#"<recv request="BYE"><action>
        <exec rtp_dtmf="take" assign_to="digits"/>
        <ereg regexp="^1234567890[*]#$" search_in="var" variable="digits" check_it="true"
            assign_to="found"/>
        <ereg regexp="^$" search_in="var" variable="again" check_it="true" assign_to="found"/>
        <exec rtp_dtmf="take" assign_to="again"/>
        <ereg regexp="^$" search_in="var" variable="again" check_it="true" assign_to="found"/>
        </action></recv>"#;
    let text = builtin_text("uas_media");
    let begin = text.find("<recv request=\"BYE\"").unwrap();
    let end = begin + text[begin..].find("</recv>").unwrap() + "</recv>".len();
    let check = check.replace("<recv request=\"BYE\"", "<recv request=\"BYE\" next=\"over\"");
    let answerer = format!("{}{check}{}", &text[..begin], &text[end..]);
    let programs = [compile(&answerer, "digits", &[]).unwrap(), builtin("uac_dtmf")];
    let [caller, _] = play(programs, 1);
    assert_eq!(caller.media.digits_sent, 12);
}

/// An RTP packet of PCMU.
fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.resize(172, 0x10);
    packet
}

#[test]
fn echo_of_the_run_is_for_scenarios_with_ports_of_media() {
    let offer = OFFER.split("\nm=video").next().unwrap();
    let mut options = side(caller(offer, HANGUP), (7000, 7099));
    if let Some(media) = &mut options.media {
        media.echo = true;
    }
    let mut rig = Rig::with(options.with(|engine| engine.rules.rtp_echo = true));
    rig.open(40_000);
    let invite = rig.expect("INVITE").text;
    let port = lines(&invite, "m=audio ")[0][8..12].parse().unwrap();
    rig.send(&answer_with(&invite, "192.0.2.2"));
    rig.expect("ACK");
    let target = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
    rig.send_from(1, target, &rtp(7));
    rig.run(20);
    let echoes: Vec<_> = rig.inbox.drain(..).collect();
    assert_eq!(echoes.len(), 1);
    assert_eq!(echoes[0].source, target);
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    assert_eq!(succeeded(&rig.end()), (1, 0));
}

/// True for a compound of RTCP with a BYE.
fn says_goodbye(payload: &[u8]) -> bool {
    let mut packets = Compound::parse(payload).into_iter().flatten().flatten();
    packets.any(|packet| matches!(packet, Packet::Goodbye(_)))
}

#[test]
fn streams_of_calls_that_are_open_at_the_end_of_the_run_say_goodbye() {
    const CALLS: usize = 150;
    let then = r#"<send>@ACK@</send><nop><action><exec rtp_stream="a.wav"/></action></nop>
        <pause milliseconds="60000"/>"#;
    let offer = OFFER.split("\nm=video").next().unwrap();
    let mut options = side(caller(offer, then), (7000, 7999)).with(|engine| {
        engine.calls_total = Some(CALLS as u64);
        engine.pool_calls = CALLS;
        engine.arrivals = rate(1000.0);
    });
    // Too few slots for all last reports at once.
    options.driver.tx_small_slots = 96;
    let mut rig = Rig::with(options);
    let goodbyes: Rc<RefCell<HashSet<SocketAddr>>> = Rc::default();
    let tap = Rc::clone(&goodbyes);
    rig.world.net.set_tap(Box::new(move |_, source, to, payload| {
        if to.port() == 40_001 && says_goodbye(payload) {
            assert!(tap.borrow_mut().insert(source), "{source} says it twice");
        }
    }));
    for _ in 0..40 {
        rig.run(10);
        for got in std::mem::take(&mut rig.inbox) {
            if got.text.starts_with("INVITE") {
                rig.send(&answer_with(&got.text, "192.0.2.2"));
            }
        }
    }
    assert_eq!((rig.side().active(), goodbyes.borrow().len()), (CALLS, 0));
    rig.request(WorkerRequest::StopNow);
    rig.run(10);
    assert!(rig.world.is_finished(0));
    assert_eq!(goodbyes.borrow().len(), CALLS);
    rig.world.sides[0].check_end(true).unwrap();
    // What was cut off has no verdict.
    let media = rig.side().reported().media;
    assert_eq!((media.legs_closed, media.rtcp_sent), (0, CALLS as u64));
}

#[test]
fn a_call_can_wait_for_the_end_of_what_it_plays() {
    let play = r#"<nop><action><exec rtp_stream="a.wav"/></action></nop>"#;
    let wait = r#"<nop><action><exec rtp_stream="wait"/></action></nop>"#;
    let offer = OFFER.split("\nm=video").next().unwrap();
    for (before, wait, offer, expected_ms) in [
        // A clip has 50 packets, of which the first waits for its phase.
        (play, wait.to_owned(), offer, 980..=1_000),
        (play, wait.to_owned(), OFFER, 980..=1_000),
        (play, wait.replace("/>", " timeout=\"300\"/>"), offer, 300..=301),
        ("", wait.to_owned(), offer, 0..=0),
    ] {
        let then = format!("<send>@ACK@</send>{before}{wait}");
        let then = then + r#"<send>@BYE@</send><recv response="200"/>"#;
        let mut rig = Rig::with(side(caller(offer, &then), (7000, 7099)));
        rig.open(40_000);
        let invite = rig.expect("INVITE").text;
        rig.send(&answer_with(&invite, "192.0.2.2"));
        let begin_ms = rig.expect("ACK").at_ms;
        let bye = loop {
            rig.run(1);
            let got = std::mem::take(&mut rig.inbox);
            if let Some(bye) = got.into_iter().find(|got| got.text.starts_with("BYE")) {
                break bye;
            }
            assert!(rig.ms() < begin_ms + 5_000, "{then}");
        };
        assert!(expected_ms.contains(&(bye.at_ms - begin_ms)), "{then}: {}", bye.at_ms - begin_ms);
        rig.send(&answer(&bye.text, 200, "t"));
        assert_eq!(succeeded(&rig.end()), (1, 0));
    }
}

#[test]
fn a_check_holds_the_call_until_its_packets_come() {
    let then = r#"<send>@ACK@</send>
        <nop><action><exec rtpcheck="min_packets=5 timeout_ms=2000"/></action></nop>
        <send>@BYE@</send><recv response="200"/>"#;
    let offer = OFFER.split("\nm=video").next().unwrap();
    for packets in [5, 4] {
        let mut rig = Rig::with(side(caller(offer, then), (7000, 7099)));
        rig.open(40_000);
        let invite = rig.expect("INVITE").text;
        let port = lines(&invite, "m=audio ")[0][8..12].parse().unwrap();
        let target = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        rig.send(&answer_with(&invite, "192.0.2.2"));
        rig.expect("ACK");
        for sequence in 0..packets {
            rig.silence(20);
            rig.send_from(1, target, &rtp(sequence));
        }
        let before = rig.ms();
        let bye = rig.expect("BYE");
        rig.send(&answer(&bye.text, 200, "t"));
        if packets == 5 {
            assert_eq!(bye.at_ms, before);
            assert_eq!(succeeded(&rig.end()), (1, 0));
        } else {
            // The dialog is ended all the same.
            assert!(bye.at_ms >= before + 1900, "{} after {before}", bye.at_ms);
            assert_eq!(rig.failures(), [(FailureCause::RtpCheck, 1)]);
            rig.end();
        }
    }
}

#[test]
fn digits_of_info_requests_are_taken_expected_or_not() {
    let expected = r#"<recv request="INFO"/><send>@200=@</send>"#.repeat(4);
    for (infos, auto_answer) in [(expected.as_str(), false), ("", true)] {
        let steps = format!(
            r#"<recv request="INVITE"/>
            <send><![CDATA[
              SIP/2.0 200 OK
              [last_Via:]
              [last_From:]
              [last_To:];tag=own[call_number]
              [last_Call-ID:]
              [last_CSeq:]
              Contact: <sip:[local_ip]:[local_port]>
              Content-Length: 0

            ]]></send>
            <recv request="ACK"/>
            {infos}
            <recv request="BYE"><action>
              <exec rtp_dtmf="take" assign_to="digits"/>
              <ereg regexp="^19[*]#$" search_in="var" variable="digits" check_it="true"
                  assign_to="found"/>
            </action></recv>
            <send>@200=@</send>
            <Reference variables="found"/>"#
        );
        let programs = [inline("answerer", &steps), builtin("uac_dtmf_info")];
        play_with(programs, 2, |engine| engine.rules.auto_answer = auto_answer);
    }
}
