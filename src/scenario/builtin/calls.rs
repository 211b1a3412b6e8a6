//! The pieces of the built-in scenarios with media, and those of the laboratory.
//!
//! A scenario is one literal, put together at compile time: callers and answerers differ in their
//! descriptions and in what they do once the call is answered.

/// The beginning of a scenario.
macro_rules! head {
    ($name:expr, $about:expr) => {
        concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<!DOCTYPE scenario SYSTEM \
             \"sipp.dtd\">\n\n<!-- ",
            $about,
            ". -->\n<scenario name=\"",
            $name,
            "\">\n"
        )
    };
}

/// The beginning of a scenario whose calls are WebRTC.
macro_rules! webrtc_head {
    ($name:literal, $about:literal) => {
        head!(concat!($name, "\" webrtc=\"true"), $about)
    };
}

/// A session description that one keyword writes.
macro_rules! whole_sdp {
    ($keyword:literal) => {
        concat!(
            "      Content-Type: application/sdp\n      Content-Length: [len]\n\n      [",
            $keyword,
            "]\n\n    ]]>\n"
        )
    };
}

/// The end of a scenario.
macro_rules! tail {
    () => {
        r#"
  <ResponseTimeRepartition value="10, 20, 30, 40, 50, 100, 150, 200"/>
  <CallLengthRepartition value="10, 50, 100, 500, 1000, 5000, 10000"/>

</scenario>
"#
    };
}

/// A session description with the given sections. Its version grows with time, as RFC 3264
/// section 8 wants it of another offer.
macro_rules! sdp {
    ($sections:expr) => {
        sdp!("      c=IN IP[media_ip_type] [media_ip]\n", $sections)
    };
    ($connection:literal, $sections:expr) => {
        concat!(
            "      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=gossipper 53655765 2353[clock_tick] IN IP[local_ip_type] [local_ip]
      s=-
",
            $connection,
            "      t=0 0\n",
            $sections,
            "\n    ]]>\n"
        )
    };
}

/// A section of audio in PCMU, with further lines.
macro_rules! pcmu {
    ($more:literal) => {
        concat!(
            "      m=audio [media_port] RTP/AVP 0\n      a=rtpmap:0 PCMU/8000\n      a=ssrc:[audio_ssrc]\n",
            $more
        )
    };
}

/// The first INVITE of a caller.
macro_rules! invite {
    ($sdp:expr) => {
        concat!(
            r#"
  <send retrans="500" start_rtd="1">
    <![CDATA[

      INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: gossipper <sip:gossipper@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
      To: [service] <sip:[service]@[remote_ip]:[remote_port]>
      Call-ID: [call_id]
      CSeq: [cseq] INVITE
      Contact: <sip:gossipper@[local_ip]:[local_port];transport=[transport]>
      Max-Forwards: 70
      Subject: Media Test
"#,
            $sdp,
            "  </send>\n"
        )
    };
}

/// The ways in which an INVITE may be answered for the time being.
macro_rules! provisional {
    () => {
        r#"
  <recv response="100" optional="true"/>

  <recv response="180" optional="true"/>

  <recv response="183" optional="true"/>
"#
    };
}

/// A request of a caller inside its dialog, without its last lines.
macro_rules! in_dialog {
    ($begin:literal, $method:literal) => {
        concat!(
            "\n  <send",
            $begin,
            ">\n    <![CDATA[\n\n      ",
            $method,
            " [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: gossipper <sip:gossipper@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
      To: [service] <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: [cseq] ",
            $method,
            "
      Contact: <sip:gossipper@[local_ip]:[local_port];transport=[transport]>
      Max-Forwards: 70
"
        )
    };
}

/// The end of a message without a body.
macro_rules! no_body {
    () => {
        "      Content-Length: 0

    ]]>
  </send>
"
    };
}

/// The ACK of a caller.
macro_rules! ack {
    () => {
        concat!(in_dialog!("", "ACK"), no_body!())
    };
}

/// An INFO of a caller with a digit, and its answer.
macro_rules! info {
    ($digit:literal) => {
        concat!(
            in_dialog!(" retrans=\"500\"", "INFO"),
            "      Content-Type: application/dtmf-relay
      Content-Length: [len]

      Signal=",
            $digit,
            "
      Duration=160

    ]]>
  </send>

  <recv response=\"200\"/>
"
        )
    };
}

/// The BYE of a caller, and its answer.
macro_rules! hang_up {
    () => {
        concat!(
            in_dialog!(" retrans=\"500\"", "BYE"),
            no_body!(),
            "\n  <recv response=\"200\" crlf=\"true\"/>\n"
        )
    };
}

/// Another INVITE of a caller.
macro_rules! reinvite {
    ($sdp:expr) => {
        concat!(
            in_dialog!(" retrans=\"500\"", "INVITE"),
            $sdp,
            "  </send>\n\n  <recv response=\"100\" optional=\"true\"/>\n\n  \
             <recv response=\"200\" rrs=\"true\"/>\n",
            ack!()
        )
    };
}

/// A caller that offers `sdp` and does `then` once its call is answered.
macro_rules! caller {
    ($name:literal, $about:literal, $sdp:expr, $then:expr) => {
        concat!(
            head!($name, $about),
            invite!($sdp),
            provisional!(),
            "\n  <!-- The answer; the response time \"1\" ends here. -->\n  \
             <recv response=\"200\" rtd=\"1\" rrs=\"true\"/>\n",
            ack!(),
            $then,
            hang_up!(),
            tail!()
        )
    };
}

/// A response of an answerer, without its last lines.
macro_rules! respond {
    ($begin:literal, $status:literal, $tag:literal) => {
        concat!(
            "\n  <send",
            $begin,
            ">\n    <![CDATA[\n\n      SIP/2.0 ",
            $status,
            "
      [last_Via:]
      [last_Record-Route:]
      [last_From:]
      [last_To:]",
            $tag,
            "
      [last_Call-ID:]
      [last_CSeq:]
      Contact: <sip:[local_ip]:[local_port];transport=[transport]>
"
        )
    };
}

/// The first INVITE at an answerer, whose ends are kept for requests of our own.
macro_rules! invited {
    () => {
        r#"
  <recv request="INVITE" crlf="true" rrs="true">
    <action>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="ours"/>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="theirs"/>
    </action>
  </recv>

  <Reference variables="ours,theirs"/>
"#
    };
}

/// The answer to an INVITE, and its ACK.
macro_rules! answer {
    ($sections:expr) => {
        concat!(
            respond!(" retrans=\"500\"", "200 OK", ";tag=[pid]SIPpTag01[call_number]"),
            sdp!($sections),
            "  </send>\n\n  <recv request=\"ACK\" crlf=\"true\"/>\n"
        )
    };
}

/// The BYE of the caller, and the end of an answerer.
macro_rules! hung_up {
    () => {
        concat!(
            "\n  <recv request=\"BYE\"/>\n",
            respond!("", "200 OK", ""),
            no_body!(),
            "\n  <!-- Answers a repeated BYE. -->\n  <timewait milliseconds=\"1000\"/>\n"
        )
    };
}

/// A request of an answerer inside its dialog, without its last lines.
macro_rules! back {
    ($begin:literal, $method:literal) => {
        concat!(
            "\n  <send",
            $begin,
            ">\n    <![CDATA[\n\n      ",
            $method,
            " [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From:[$ours];tag=[pid]SIPpTag01[call_number]
      To:[$theirs]
      Call-ID: [call_id]
      CSeq: [cseq] ",
            $method,
            "
      Contact: <sip:[local_ip]:[local_port];transport=[transport]>
      Max-Forwards: 70
"
        )
    };
}

/// Another INVITE of an answerer.
macro_rules! reinvite_back {
    ($sdp:expr) => {
        concat!(
            back!(" retrans=\"500\"", "INVITE"),
            $sdp,
            "  </send>\n\n  <recv response=\"100\" optional=\"true\"/>\n\n  \
             <recv response=\"200\"/>\n",
            back!("", "ACK"),
            no_body!()
        )
    };
}

/// The BYE of an answerer, and its answer.
macro_rules! hang_up_back {
    () => {
        concat!(
            back!(" retrans=\"500\"", "BYE"),
            no_body!(),
            "\n  <recv response=\"200\" crlf=\"true\"/>\n"
        )
    };
}

/// An answerer that answers with `sections` and does `then` until the caller hangs up.
macro_rules! answerer {
    ($name:expr, $about:expr, $sections:expr, $then:expr) => {
        concat!(head!($name, $about), invited!(), answer!($sections), $then, hung_up!(), tail!())
    };
}

/// An action on media in a step of its own.
macro_rules! stream {
    ($what:literal) => {
        concat!("\n  <nop><action><exec rtp_stream=\"", $what, "\"/></action></nop>\n")
    };
}

/// A pause.
macro_rules! pause {
    ($ms:literal) => {
        concat!("\n  <pause milliseconds=\"", $ms, "\"/>\n")
    };
}

pub(super) use {
    ack, answer, answerer, back, caller, hang_up, hang_up_back, head, hung_up, in_dialog, info,
    invite, invited, no_body, pause, pcmu, provisional, reinvite, reinvite_back, respond, sdp,
    stream, tail, webrtc_head, whole_sdp,
};
