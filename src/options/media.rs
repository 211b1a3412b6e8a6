//! Options about RTP.

use crate::config::parse_ip;

use super::{Accept, FlagGroup, alias, later, takes, within};

const RTP: &str = "RTP streams";
const CHECK: &str = "the RTP pattern check";
const RTP_ONLY: &str = "RTP without SIP";
const SRTP: &str = "SRTP";
const TURN: &str = "TURN";
const RECORDING: &str = "recording";
const SCALE: &str = "the scale engine for RTP";
const MEDIA_REPORTS: &str = "reports on media, which need RTP streams";

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
        later("rtp_echo", &[], RTP, "Send received RTP back"),
        later("mb", &["BYTES"], RTP, "Buffer of -rtp_echo"),
        later("rtp_payload", &["PT"], RTP, "Payload type of rtp_stream"),
        later("rtp_threadtasks", &["N"], RTP, "Streams of a playback thread"),
        later("rtp_buffsize", &["BYTES"], RTP, "Buffer of RTP sockets"),
        later("random_base_ssrc", &[], RTP, "Start SSRCs at random"),
        later("rtpcheck_debug", &[], CHECK, "Write the RTP check to a file"),
        later("srtpcheck_debug", &[], CHECK, "Write the SRTP check to a file"),
        later("audiotolerance", &["RATIO"], CHECK, "Bad audio packets that are tolerated"),
        later("videotolerance", &["RATIO"], CHECK, "Bad video packets that are tolerated"),
        later("record_wav_dir", &["DIR"], RECORDING, "Record each call to a WAV file").ours(),
        later("record_wav_duplex", &[], RECORDING, "Record both directions").ours(),
        later("media_srtp", &[], SRTP, "Use SRTP where offered").ours(),
        later("media_reject_srtp", &[], SRTP, "Fail calls that offer SRTP").ours(),
        later("media_scale", &[], SCALE, "Use the scale engine").ours(),
        later("media_iouring", &[], SCALE, "Send from the scheduler").ours(),
        later("turn_server", &["HOST:PORT"], TURN, "TURN relay").ours(),
        later("turn_user", &["USER"], TURN, "User of the relay").ours(),
        later("turn_pass", &["PASSWORD"], TURN, "Password of the relay").ours(),
        later("turn_realm", &["REALM"], TURN, "Realm of the relay").ours(),
        later("pcap-link", &["TYPE"], RTP, "Link type of PCAP files").ours(),
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
