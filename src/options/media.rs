//! Options about RTP.

use crate::config::{HostPort, ValueError, parse_bool, parse_ip, parse_rtp_target};

use super::{Accept, FlagGroup, alias, count, later, milliseconds, or_off, switch, takes, within};

const CAPTURES: &str = "a choice of the link type; the file says it";
/// The port of a TURN server (RFC 8656 section 3).
const TURN_PORT: u16 = 3478;
/// Longest user name and realm: a request has to fit a datagram.
const TURN_BYTES_MAX: usize = 200;
/// Most that can be given as a tolerance. More than 1 tolerates all.
const TOLERANCE_MAX: f64 = 1e6;

/// A number of SIPp's threads of media, which this program does not have.
const fn ignored() -> Accept {
    count(|d, _| d.media.has_ignored = true)
}

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Media",
    flags: &[
        takes(
            "mi",
            &["IP"],
            Accept::Parsed(|d, v| parse_ip(v).map(|ip| d.media.ip = Some(ip))),
            "[media_ip]: address of media",
        )
        .default("the local address"),
        takes(
            "min_rtp_port",
            &["PORT"],
            within(1, u16::MAX as u64, |d, v| d.media.port_min = v as u16),
            "[media_port]: first port of media",
        )
        .default("6000"),
        alias("mp", "min_rtp_port"),
        takes(
            "max_rtp_port",
            &["PORT"],
            within(1, u16::MAX as u64, |d, v| d.media.port_max = v as u16),
            "Last port of media",
        )
        .default("65535"),
        switch(
            "rtp_echo",
            |d| d.rules.rtp_echo = true,
            "Send received RTP back, in calls of every scenario with ports of media",
        ),
        takes(
            "rtp_payload",
            &["PT"],
            within(0, 127, |d, v| d.media.payload_type = Some(v as u8)),
            "Payload type of rtp_stream where a scenario gives none and none is negotiated",
        ),
        switch(
            "rtp_shared",
            |d| d.media.is_shared = true,
            "All RTP of a worker on one port: trains of packets, and no range of ports to run out",
        )
        .ours(),
        takes(
            "rtcp_interval",
            &["TIME"],
            milliseconds(0, |d, v| d.media.rtcp_interval_ms = Some(v)),
            "Send RTCP every TIME (bare number: ms); 0 is never",
        )
        .default("5s, spread as RFC 3550 wants")
        .ours(),
        takes("mb", &["BYTES"], ignored(), "SIPp's buffer of -rtp_echo: no effect"),
        takes("rtp_threadtasks", &["N"], ignored(), "SIPp's streams of a thread: no effect"),
        takes("rtp_buffsize", &["BYTES"], ignored(), "SIPp's buffer of RTP sockets: no effect"),
        switch(
            "random_base_ssrc",
            |d| d.media.has_ignored = true,
            "SSRCs begin at random: they always do, and -seed repeats them",
        ),
        switch(
            "media_scale",
            |d| d.media.has_ignored = true,
            "Use the scale engine for RTP: there is no other",
        )
        .ours(),
        switch(
            "media_iouring",
            |d| d.media.has_ignored = true,
            "Send RTP by io_uring: it leaves as SIP does (-io)",
        )
        .ours(),
        takes(
            "rtp_watermarks",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.media.watermarks = parse_bool(v)?;
                Ok(())
            }),
            "Watermark tones and cadences in PCMU and PCMA, so that audio of another call is noticed",
        )
        .default("true")
        .ours(),
        switch(
            "rtpcheck_debug",
            |d| d.trace.rtp_check = true,
            "Write a line per checked pattern of RTP to NAME_PID_rtpcheck.log",
        ),
        switch(
            "srtpcheck_debug",
            |d| d.trace.srtp_check = true,
            "Write a line per checked pattern of SRTP to NAME_PID_srtpcheck.log",
        ),
        takes(
            "audiotolerance",
            &["RATIO"],
            Accept::Float { min: 0.0, max: TOLERANCE_MAX, set: |d, v| d.media.audio_tolerance = v },
            "Share of apattern's packets from which the call fails if they do not come back as \
             they were; beyond 1 none fails",
        )
        .default("1"),
        takes(
            "videotolerance",
            &["RATIO"],
            Accept::Float { min: 0.0, max: TOLERANCE_MAX, set: |d, v| d.media.video_tolerance = v },
            "The same for vpattern",
        )
        .default("1"),
        takes(
            "record_wav_dir",
            &["DIR"],
            Accept::Path(|d, v| d.export.recording.audio = Some(v)),
            "Record what the peer of each call sends to a WAV file in DIR",
        )
        .ours(),
        switch(
            "record_wav_duplex",
            |d| d.export.recording.is_duplex = true,
            "Record both directions to it: ours left, the peer's right",
        )
        .ours(),
        takes(
            "record_pcap_dir",
            &["DIR"],
            Accept::Path(|d, v| d.export.recording.packets = Some(v)),
            "Write the SIP, RTP and RTCP of each call to a pcapng file in DIR",
        )
        .ours(),
        takes(
            "record_every",
            &["N"],
            within(1, u64::MAX, |d, v| d.export.recording.every = v),
            "Record only every Nth call",
        )
        .default("1")
        .ours(),
        switch(
            "record_failed",
            |d| d.export.recording.only_bad = true,
            "Keep only recordings of calls that failed, or that one side did not hear",
        )
        .ours(),
        switch(
            "media_srtp",
            |d| d.media.has_ignored = true,
            "Use SRTP where offered: it always is, if both session descriptions have keys",
        )
        .ours(),
        switch(
            "media_reject_srtp",
            |d| d.media.rejects_srtp = true,
            "Fail calls whose peer asks for SRTP",
        )
        .ours(),
        takes(
            "srtp_keylog",
            &["FILE"],
            Accept::Path(|d, v| d.export.srtp_keys = Some(v)),
            "Write the keys of SRTP to FILE, for the reading of captures; only its owner may read it",
        )
        .ours(),
        takes(
            "turn_server",
            &["HOST[:PORT]"],
            Accept::Parsed(|d, v| {
                HostPort::parse_with_port(v, TURN_PORT).map(|server| d.turn.server = Some(server))
            }),
            "Let all media go through this TURN server: descriptions name its addresses (port 3478 if \
             none is given)",
        )
        .ours(),
        takes(
            "turn_user",
            &["USER"],
            Accept::Parsed(|d, v| turn_user(v).map(|user| d.turn.user = Some(user))),
            "User of the relay",
        )
        .ours(),
        takes(
            "turn_pass",
            &["PASSWORD"],
            Accept::Text(|d, v| d.turn.password = Some(v)),
            "Password of the relay",
        )
        .ours(),
        takes(
            "turn_realm",
            &["REALM"],
            Accept::Parsed(|d, v| turn_realm(v).map(|realm| d.turn.realm = Some(realm))),
            "Realm of the relay",
        )
        .default("that of the server")
        .ours(),
        takes(
            "turn_secret",
            &["SECRET"],
            Accept::Text(|d, v| d.turn.secret = Some(v)),
            "Secret of the relay, from which user and password follow for a day (coturn's \
             use-auth-secret)",
        )
        .ours(),
        later("pcap-link", &["TYPE"], CAPTURES, "Link type of PCAP files").ours(),
        switch(
            "rtp_send",
            |d| d.rtp_send.is_on = true,
            "Send RTP without SIP to -rtp_addr: each stream is a call without a message",
        )
        .ours(),
        takes(
            "rtp_addr",
            &["HOST:PORT"],
            Accept::Parsed(|d, v| parse_rtp_target(v).map(|to| d.rtp_send.target = Some(to))),
            "Target of all streams of -rtp_send",
        )
        .ours(),
        takes(
            "rtp_source",
            &["SOURCE"],
            Accept::Text(|d, v| d.rtp_send.source = Some(v)),
            "Source of the streams of -rtp_send: tone:HZ, cadence:ON:OFF, silence, cn, pattern:N, or a \
             file (WAV, or raw payloads), over and over",
        )
        .default("a tone; pattern:1 for video")
        .ours(),
        takes(
            "rtp_codec",
            &["CODEC"],
            Accept::Text(|d, v| d.rtp_send.codec = Some(v)),
            "Encoding of the streams of -rtp_send, as in SDP",
        )
        .default("PCMU/8000")
        .ours(),
        takes(
            "rtp_pt",
            &["PT"],
            within(0, 127, |d, v| d.rtp_send.payload_type = or_off(v).map(|v| v as u8)),
            "Payload type of the streams of -rtp_send; 0 is that of the encoding",
        )
        .default("that of the encoding")
        .ours(),
        takes(
            "rtp_freq",
            &["TIME"],
            milliseconds(1, |d, v| d.rtp_send.interval_ms = Some(v)),
            "Time between packets of a stream of -rtp_send (bare number: ms)",
        )
        .default("that of the encoding, mostly 20")
        .ours(),
        takes(
            "rtp_dur",
            &["TIME"],
            milliseconds(0, |d, v| d.rtp_send.duration_ms = or_off(v)),
            "Duration of a stream of -rtp_send (bare number: ms); 0 lasts until the run is stopped",
        )
        .default("0")
        .ours(),
        takes(
            "rtp_ch",
            &["N"],
            within(1, 255, |d, v| d.rtp_send.channels = Some(v as u8)),
            "Channels of the streams of -rtp_send; each encoding has a fixed number",
        )
        .default("those of the encoding")
        .ours(),
        takes(
            "rtp_streams",
            &["N"],
            within(1, u32::MAX as u64, |d, v| d.rtp_send.streams = Some(v)),
            "Streams of -rtp_send at a time; they begin within a second, unless -r gives another rate",
        )
        .default("1")
        .ours(),
    ],
};

fn turn_user(text: &str) -> Result<String, ValueError> {
    bounded(text, "a user name")
}

fn turn_realm(text: &str) -> Result<String, ValueError> {
    bounded(text, "a realm")
}

/// A text of a request to a TURN server.
fn bounded(text: &str, what: &'static str) -> Result<String, ValueError> {
    match text.len() {
        0 => Err(ValueError::Empty(what)),
        len if len > TURN_BYTES_MAX => Err(ValueError::OutOfRange {
            text: format!("{len} bytes"),
            min: "1".to_owned(),
            max: format!("{TURN_BYTES_MAX} bytes"),
        }),
        _ => Ok(text.to_owned()),
    }
}
