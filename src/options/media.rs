//! Options about RTP.

use crate::config::parse_ip;

use super::{Accept, FlagGroup, alias, count, later, milliseconds, switch, takes, within};

const CAPTURES: &str = "a choice of the link type; the file says it";
const CHECK: &str = "the RTP pattern check";
const RTP_ONLY: &str = "RTP without SIP";
const TURN: &str = "TURN";
const RECORDING: &str = "recording";
const MEDIA_REPORTS: &str = "reports on media, which need RTP streams";

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
        later("rtpcheck_debug", &[], CHECK, "Write the RTP check to a file"),
        later("srtpcheck_debug", &[], CHECK, "Write the SRTP check to a file"),
        later("audiotolerance", &["RATIO"], CHECK, "Bad audio packets that are tolerated"),
        later("videotolerance", &["RATIO"], CHECK, "Bad video packets that are tolerated"),
        later("record_wav_dir", &["DIR"], RECORDING, "Record each call to a WAV file").ours(),
        later("record_wav_duplex", &[], RECORDING, "Record both directions").ours(),
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
        later("turn_server", &["HOST:PORT"], TURN, "TURN relay").ours(),
        later("turn_user", &["USER"], TURN, "User of the relay").ours(),
        later("turn_pass", &["PASSWORD"], TURN, "Password of the relay").ours(),
        later("turn_realm", &["REALM"], TURN, "Realm of the relay").ours(),
        later("pcap-link", &["TYPE"], CAPTURES, "Link type of PCAP files").ours(),
        later("rtp_send", &[], RTP_ONLY, "Send RTP without SIP").ours(),
        later("rtp_addr", &["HOST:PORT"], RTP_ONLY, "Where to send").ours(),
        later("rtp_pt", &["PT"], RTP_ONLY, "Payload type").ours(),
        later("rtp_codec", &["CODEC"], RTP_ONLY, "Codec").ours(),
        later("rtp_freq", &["TIME"], RTP_ONLY, "Packet interval").ours(),
        later("rtp_dur", &["TIME"], RTP_ONLY, "Duration").ours(),
        later("rtp_ch", &["N"], RTP_ONLY, "Channels").ours(),
        later("rtp_streams", &["N"], RTP_ONLY, "Streams").ours(),
        later("hep_raw_rtcp", &[], MEDIA_REPORTS, "Binary RTCP reports").ours(),
        later("hep_homer_lake_rtcp", &[], MEDIA_REPORTS, "RTCP reports as JSON").ours(),
        later("send_media_report", &[], MEDIA_REPORTS, "Media reports").ours(),
    ],
};
