//! The built-in scenarios with media, and those of the laboratory: calls with known faults and
//! oddities in their media, each as a caller and as an answerer (`_uas`).
//!
//! The answerers of the laboratory wait for the caller's BYE. Those that send an INVITE of their
//! own need a caller that answers it, such as `uac_media`; so do the callers need `uas_media`.

use super::Builtin;
use super::calls::*;

/// Shorthand for a row.
const fn row(name: &'static str, description: &'static str, text: &'static str) -> Builtin {
    Builtin { name, description, text }
}

/// The section of an answer that has a direction of its own.
macro_rules! directed {
    ($direction:literal) => {
        concat!(
            "      m=audio [media_port] RTP/AVP [audio_pt]\n      a=rtpmap:[audio_rtpmap]\n      a=ssrc:[audio_ssrc]\n      a=",
            $direction,
            "\n"
        )
    };
}

/// A caller and an answerer of the laboratory that do the same. The caller offers the first
/// sections, the answerer answers with the second ones; the caller holds the call for a while.
macro_rules! both {
    ($name:literal, $about:literal, $sections:expr, $answer:expr, $then:expr, $hold:literal) => {
        [
            row(
                $name,
                $about,
                caller!($name, $about, sdp!($sections), concat!($then, pause!($hold))),
            ),
            row(
                concat!($name, "_uas"),
                concat!($about, ", from the answerer"),
                answerer!(concat!($name, "_uas"), $about, $answer, $then),
            ),
        ]
    };
}

/// As `both!`, with offers in the middle of the call.
macro_rules! both_offering {
    ($name:literal, $about:literal, [$first:expr $(, $sdp:expr, $then:expr)+], $hold:literal) => {
        [
            row(
                $name,
                $about,
                caller!(
                    $name,
                    $about,
                    sdp!(pcmu!("")),
                    concat!($first $(, reinvite!($sdp), $then)+, pause!($hold))
                )
            ),
            row(
                concat!($name, "_uas"),
                concat!($about, ", from the answerer"),
                answerer!(
                    concat!($name, "_uas"),
                    $about,
                    "      [audio_sdp]\n",
                    concat!($first $(, reinvite_back!($sdp), $then)+)
                )
            ),
        ]
    };
}

/// A stream of a tone in PCMU without an end.
macro_rules! speech {
    () => {
        stream!("synthetic,-1,0,PCMU/8000")
    };
}

/// A section of T.38 (ITU-T T.38 annex D).
macro_rules! t38 {
    () => {
        "      m=image [media_port] udptl t38
      a=T38FaxVersion:0
      a=T38MaxBitRate:14400
      a=T38FaxRateManagement:transferredTCF
      a=T38FaxUdpEC:t38UDPRedundancy
"
    };
}

const PAIRS: [[Builtin; 2]; 24] = [
    both!(
        "one_way",
        "Audio from one side only",
        pcmu!("      a=sendonly\n"),
        directed!("sendonly"),
        speech!(),
        "5000"
    ),
    both!(
        "no_rtp",
        "No audio from either side",
        pcmu!("      a=inactive\n"),
        directed!("inactive"),
        stream!("stop"),
        "5000"
    ),
    both!(
        "recvonly",
        "Audio is received and not sent",
        pcmu!("      a=recvonly\n"),
        directed!("recvonly"),
        stream!("stop"),
        "5000"
    ),
    both!(
        "rtp_mute",
        "Audio is agreed on and never sent",
        pcmu!(""),
        "      [audio_sdp]\n",
        stream!("stop"),
        "5000"
    ),
    both!(
        "cn_only",
        "Comfort noise and nothing else",
        "      m=audio [media_port] RTP/AVP 0 13\n      a=rtpmap:0 PCMU/8000\n      a=rtpmap:13 CN/8000\n      a=ssrc:[audio_ssrc]\n",
        "      [audio_sdp]\n",
        stream!("cn,-1,13,CN/8000"),
        "5000"
    ),
    both!(
        "cn_then_speech",
        "Two seconds of comfort noise, then speech",
        "      m=audio [media_port] RTP/AVP 0 13\n      a=rtpmap:0 PCMU/8000\n      a=rtpmap:13 CN/8000\n      a=ssrc:[audio_ssrc]\n",
        "      [audio_sdp]\n",
        concat!(stream!("cn,-1,13,CN/8000"), pause!("2000"), speech!()),
        "3000"
    ),
    both_offering!(
        "audio_gap",
        "Audio stops after two seconds, when the call becomes inactive",
        [concat!(speech!(), pause!("2000")), sdp!(pcmu!("      a=inactive\n")), stream!("stop")],
        "2000"
    ),
    both!(
        "codec_chg",
        "PCMU changes to PCMA after two seconds",
        "      m=audio [media_port] RTP/AVP 0 8\n      a=rtpmap:0 PCMU/8000\n      a=rtpmap:8 PCMA/8000\n      a=ssrc:[audio_ssrc]\n",
        "      [audio_sdp]\n",
        concat!(speech!(), pause!("2000"), stream!("synthetic,-1,8,PCMA/8000")),
        "3000"
    ),
    both!(
        "codec_chg_alaw",
        "PCMA changes to PCMU after two seconds",
        "      m=audio [media_port] RTP/AVP 8 0\n      a=rtpmap:8 PCMA/8000\n      a=rtpmap:0 PCMU/8000\n      a=ssrc:[audio_ssrc]\n",
        "      [audio_sdp]\n",
        concat!(stream!("synthetic,-1,8,PCMA/8000"), pause!("2000"), speech!()),
        "3000"
    ),
    both!(
        "g711_silence",
        "Packets of silence",
        pcmu!(""),
        "      [audio_sdp]\n",
        stream!("silence,-1,0,PCMU/8000"),
        "5000"
    ),
    both!(
        "fas_cadence",
        "A ringing tone after the answer: a second on, two off, three times",
        pcmu!(""),
        "      [audio_sdp]\n",
        concat!(pause!("1500"), stream!("cadence:1000:2000,1,0,PCMU/8000,20,9000")),
        "9000"
    ),
    both!(
        "fake_ringing",
        "A ringing tone from the answer on",
        pcmu!(""),
        "      [audio_sdp]\n",
        stream!("cadence:1000:2000,1,0,PCMU/8000,20,9000"),
        "9000"
    ),
    both!(
        "fas_speech",
        "Ten seconds of speech from the answer on",
        pcmu!(""),
        "      [audio_sdp]\n",
        speech!(),
        "10000"
    ),
    both!(
        "fas_early",
        "A cadence in the first second and a half, then speech",
        pcmu!(""),
        "      [audio_sdp]\n",
        concat!(stream!("cadence:300:200,1,0,PCMU/8000,20,1500"), pause!("1500"), speech!()),
        "5000"
    ),
    both!(
        "fas_late",
        "A ringing tone that begins ten seconds after the answer",
        pcmu!(""),
        "      [audio_sdp]\n",
        concat!(pause!("10000"), stream!("cadence:1000:2000,1,0,PCMU/8000,20,9000")),
        "9000"
    ),
    both!(
        "kws",
        "A short sound in the place of a keyword",
        pcmu!(""),
        "      [audio_sdp]\n",
        stream!("tone:1000,1,0,PCMU/8000,20,2000"),
        "3000"
    ),
    both!(
        "hairpin",
        "Audio both ways over one socket",
        pcmu!(""),
        "      [audio_sdp]\n",
        speech!(),
        "5000"
    ),
    both_offering!(
        "media_redirect",
        "The address of audio changes after two seconds",
        [concat!(speech!(), pause!("2000")), sdp!("      c=IN IP4 127.0.0.2\n", pcmu!("")), ""],
        "2000"
    ),
    both_offering!(
        "port_move",
        "The port of audio changes after two seconds",
        [
            concat!(speech!(), pause!("2000")),
            sdp!("      m=audio [rtpstream_video_port] RTP/AVP 0\n      a=rtpmap:0 PCMU/8000\n"),
            ""
        ],
        "2000"
    ),
    both_offering!(
        "hold_moh",
        "Hold after two seconds, with music",
        [concat!(speech!(), pause!("2000")), sdp!(pcmu!("      a=sendonly\n")), ""],
        "3000"
    ),
    both_offering!(
        "hold_resume",
        "Hold after a second and a half, and two seconds later back",
        [
            concat!(speech!(), pause!("1500")),
            sdp!(pcmu!("      a=inactive\n")),
            pause!("2000"),
            sdp!(pcmu!("      a=sendrecv\n")),
            ""
        ],
        "2000"
    ),
    [
        row(
            "short_call",
            "The caller hangs up a second and a half after the answer",
            caller!(
                "short_call",
                "The caller hangs up a second and a half after the answer",
                sdp!(pcmu!("")),
                concat!(speech!(), pause!("1500"))
            ),
        ),
        row(
            "short_call_uas",
            "The answerer hangs up a second and a half after its answer",
            concat!(
                head!(
                    "short_call_uas",
                    "The answerer hangs up a second and a half after its answer"
                ),
                invited!(),
                answer!("      [audio_sdp]\n"),
                speech!(),
                pause!("1500"),
                hang_up_back!(),
                tail!()
            ),
        ),
    ],
    [
        row(
            "fax_t38",
            "A fax: T.38 and no audio",
            caller!(
                "fax_t38",
                "A fax: T.38 and no audio",
                sdp!(t38!()),
                concat!(stream!("stop"), pause!("3000"))
            ),
        ),
        row(
            "fax_t38_uas",
            "A fax: T.38 and no audio, from the answerer",
            answerer!("fax_t38_uas", "Answers a fax: T.38 and no audio", t38!(), stream!("stop")),
        ),
    ],
    both_offering!(
        "fax_switch",
        "Audio changes to T.38 after two seconds",
        [concat!(speech!(), pause!("2000")), sdp!(t38!()), stream!("stop")],
        "3000"
    ),
];

/// The scenarios that have no counterpart.
const SINGLE: &[Builtin] = &[
    row(
        "invite_media",
        "Call with half a second of audio",
        caller!(
            "invite_media",
            "A caller with half a second of audio",
            sdp!(pcmu!("")),
            concat!(stream!("synthetic,-1,0,PCMU/8000,20,3000"), pause!("500"), stream!("stop"))
        ),
    ),
    row(
        "invite_media_scale",
        "Call with audio for 30 s",
        caller!(
            "invite_media_scale",
            "A caller with audio for 30 s",
            sdp!(pcmu!("")),
            concat!(speech!(), pause!("30000"))
        ),
    ),
    row(
        "invite_media_early",
        "Call with audio from a 183 on",
        concat!(
            head!("invite_media_early", "A caller with audio from a 183 on"),
            invite!(sdp!(pcmu!(""))),
            r#"
  <recv response="100" optional="true"/>

  <recv response="180" optional="true"/>

  <recv response="183" optional="true">
    <action><exec rtp_stream="synthetic,-1,0,PCMU/8000"/></action>
  </recv>

  <recv response="200" rtd="1" rrs="true">
    <action><exec rtp_stream="synthetic,-1,0,PCMU/8000"/></action>
  </recv>
"#,
            ack!(),
            pause!("1000"),
            stream!("stop"),
            hang_up!(),
            tail!()
        ),
    ),
    row(
        "invite_media_early_180",
        "Call with audio from a 180 on, which must come",
        concat!(
            head!("invite_media_early_180", "A caller with audio from a 180 on, which must come"),
            invite!(sdp!(pcmu!(""))),
            r#"
  <recv response="100" optional="true"/>

  <recv response="180">
    <action><exec rtp_stream="synthetic,-1,0,PCMU/8000"/></action>
  </recv>

  <recv response="183" optional="true"/>

  <recv response="200" rtd="1" rrs="true"/>
"#,
            ack!(),
            pause!("1000"),
            stream!("stop"),
            hang_up!(),
            tail!()
        ),
    ),
    row(
        "uac_pcap",
        "Call that replays captures: audio for 8 s, then a digit",
        caller!(
            "uac_pcap",
            "A caller that replays captures: audio for 8 s, then a digit",
            sdp!(
                "      m=audio [auto_media_port] RTP/AVP 8 101
      a=rtpmap:8 PCMA/8000
      a=rtpmap:101 telephone-event/8000
      a=fmtp:101 0-11,16
"
            ),
            concat!(
                "\n  <nop><action><exec play_pcap_audio=\"pcap/g711a.pcap\"/></action></nop>\n",
                pause!("8000"),
                "\n  <nop><action><exec \
                 play_pcap_audio=\"pcap/dtmf_2833_1.pcap\"/></action></nop>\n",
                pause!("1000")
            )
        ),
    ),
    row(
        "uac_dtmf",
        "Call with audio and digits (RFC 4733)",
        caller!(
            "uac_dtmf",
            "A caller with audio and digits (RFC 4733)",
            sdp!(
                "      m=audio [media_port] RTP/AVP 0 101
      a=rtpmap:0 PCMU/8000
      a=rtpmap:101 telephone-event/8000
      a=fmtp:101 0-15
      a=ssrc:[audio_ssrc]
"
            ),
            concat!(
                speech!(),
                pause!("500"),
                "\n  <nop><action><exec send_dtmf=\"1234567890*#\"/></action></nop>\n",
                pause!("3500")
            )
        ),
    ),
    row(
        "uac_dtmf_info",
        "Call with digits in INFO requests (application/dtmf-relay)",
        caller!(
            "uac_dtmf_info",
            "A caller with digits in INFO requests",
            sdp!(pcmu!("")),
            concat!(
                info!("1"),
                pause!("200"),
                info!("9"),
                pause!("200"),
                info!("*"),
                pause!("200"),
                info!("#"),
                pause!("200")
            )
        ),
    ),
    row(
        "uac_media",
        "Call with audio until ten seconds pass without a request; answers INVITE and BYE",
        concat!(
            head!("uac_media", "A caller with audio that answers INVITE and BYE of its peer"),
            invite!(sdp!(
                "      m=audio [media_port] RTP/AVP 0 8
      a=rtpmap:0 PCMU/8000
      a=rtpmap:8 PCMA/8000
      a=ssrc:[audio_ssrc]
"
            )),
            r#"
  <recv response="100" optional="true"/>

  <!-- Some ring once more after they have answered. -->
  <recv response="180" optional="global"/>

  <recv response="183" optional="true"/>
"#,
            r#"
  <recv response="200" rtd="1" rrs="true">
    <action><exec rtp_stream="synthetic"/></action>
  </recv>
"#,
            ack!(),
            r#"
  <label id="talk"/>

  <!-- The time runs for the step at which the call stands. -->
  <recv request="ACK" optional="true" timeout="10000" ontimeout="hang_up"/>

  <recv request="INVITE" optional="true" timeout="10000" ontimeout="hang_up" next="asked"/>

  <recv request="BYE" timeout="10000" ontimeout="hang_up" next="hung_up"/>

  <label id="asked"/>
"#,
            respond!(" retrans=\"500\" next=\"talk\"", "200 OK", ""),
            sdp!("      [audio_sdp]\n"),
            "  </send>\n\n  <label id=\"hung_up\"/>\n",
            respond!(" next=\"over\"", "200 OK", ""),
            no_body!(),
            "\n  <label id=\"hang_up\"/>\n",
            hang_up!(),
            "\n  <label id=\"over\"/>\n\n  <timewait milliseconds=\"1000\"/>\n",
            tail!()
        ),
    ),
    row(
        "uas_media",
        "Answer calls with audio in the encoding that the caller prefers",
        concat!(
            head!(
                "uas_media",
                "An answerer with audio in the encoding that the caller prefers. It answers \
                 further INVITEs"
            ),
            "\n  <recv request=\"INVITE\" crlf=\"true\" rrs=\"true\"/>\n",
            respond!("", "180 Ringing", ";tag=[pid]SIPpTag01[call_number]"),
            no_body!(),
            respond!(" retrans=\"500\"", "200 OK", ";tag=[pid]SIPpTag01[call_number]"),
            sdp!("      [audio_sdp]\n"),
            r#"    <action><exec rtp_stream="synthetic"/></action>
  </send>

  <label id="talk"/>

  <recv request="ACK" optional="true" crlf="true"/>

  <recv request="INVITE" optional="true" next="asked"/>

  <recv request="BYE" next="over">
    <action><exec rtp_stream="stop"/></action>
  </recv>

  <label id="asked"/>
"#,
            respond!(" retrans=\"500\" next=\"talk\"", "200 OK", ""),
            sdp!("      [audio_sdp]\n"),
            "  </send>\n\n  <label id=\"over\"/>\n",
            respond!("", "200 OK", ""),
            no_body!(),
            "\n  <!-- Answers a repeated BYE. -->\n  <timewait milliseconds=\"1000\"/>\n",
            tail!()
        ),
    ),
    row(
        "invite_media_savpf",
        "Call with audio that DTLS protects, and an address found by ICE",
        caller!(
            "invite_media_savpf",
            "A caller with audio that DTLS protects, and an address found by ICE",
            sdp!(
                "      m=audio [media_port] UDP/TLS/RTP/SAVPF 0
      a=rtpmap:0 PCMU/8000
      a=rtcp-mux
      a=setup:actpass
      a=fingerprint:[dtls_fingerprint]
      a=ice-ufrag:[ice_ufrag]
      a=ice-pwd:[ice_pwd]
      a=candidate:1 1 UDP 2130706431 [media_ip] [media_port] typ host
"
            ),
            concat!(speech!(), pause!("3000"), stream!("stop"))
        ),
    ),
    row(
        "webrtc_uac",
        "Call as a browser does: the offer of a page, audio for 5 s",
        concat!(
            webrtc_head!("webrtc_uac", "A caller that offers what a browser can answer"),
            invite!(whole_sdp!("webrtc_offer")),
            provisional!(),
            r#"
  <recv response="200" rtd="1" rrs="true">
    <action><exec rtp_stream="synthetic"/></action>
  </recv>
"#,
            ack!(),
            pause!("5000"),
            stream!("stop"),
            hang_up!(),
            tail!()
        ),
    ),
    row(
        "webrtc_uas",
        "Answer the calls of browsers with audio",
        concat!(
            webrtc_head!("webrtc_uas", "An answerer of what a browser offers"),
            invited!(),
            respond!(" retrans=\"500\"", "200 OK", ";tag=[pid]SIPpTag01[call_number]"),
            whole_sdp!("webrtc_answer"),
            r#"    <action><exec rtp_stream="synthetic"/></action>
  </send>

  <recv request="ACK" crlf="true"/>
"#,
            hung_up!(),
            tail!()
        ),
    ),
    row(
        "early_183",
        "Answer with a 183 and audio, half a second before the 200; hang up after 5 s",
        concat!(
            head!("early_183", "An answerer with audio half a second before its answer"),
            invited!(),
            respond!("", "183 Session Progress", ";tag=[pid]SIPpTag01[call_number]"),
            sdp!("      [audio_sdp]\n"),
            "    <action><exec rtp_stream=\"synthetic\"/></action>\n  </send>\n",
            pause!("500"),
            answer!("      [audio_sdp]\n"),
            pause!("5000"),
            hang_up_back!(),
            tail!()
        ),
    ),
    row(
        "late_180",
        "Answer, send a 180 after the ACK, which is illegal, and hang up",
        concat!(
            head!("late_180", "An answerer that rings after it has answered"),
            invited!(),
            answer!("      [audio_sdp]\n"),
            pause!("400"),
            "\n  <send>\n    <![CDATA[\n\n      SIP/2.0 180 Ringing\n      [last_Via:]\n      \
             From:[$theirs]\n      To:[$ours];tag=[pid]SIPpTag01[call_number]\n      \
             [last_Call-ID:]\n      CSeq: [last_cseq_number] INVITE\n      Contact: \
             <sip:[local_ip]:[local_port];transport=[transport]>\n",
            no_body!(),
            hang_up_back!(),
            tail!()
        ),
    ),
];

/// The number of scenarios at the front that are calls like any other, and not of the laboratory.
pub(super) const PLAIN: usize = SINGLE.len() - 2;

/// All scenarios of this module.
pub(super) const LAB: [Builtin; 2 * PAIRS.len() + SINGLE.len()] = {
    let mut all = [SINGLE[0]; 2 * PAIRS.len() + SINGLE.len()];
    let mut at = 0;
    while at < SINGLE.len() {
        all[at] = SINGLE[at];
        at += 1;
    }
    let mut pair = 0;
    while pair < PAIRS.len() {
        [all[at], all[at + 1]] = PAIRS[pair];
        (at, pair) = (at + 2, pair + 1);
    }
    all
};
