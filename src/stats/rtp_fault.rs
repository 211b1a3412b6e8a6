//! The reasons why a datagram of media was dropped.

causes! {
    /// The reason why a datagram of media, or a part of one, was dropped as malformed. Its sender
    /// lied about a length, or it is no media at all. No other stream is affected.
    RtpFault,
    /// Malformed datagrams of media by cause.
    RtpFaultCounts {
        /// The datagram is shorter than an RTP header.
        TooShort = "too_short",
        /// The first byte belongs to no protocol that shares a port with RTP (RFC 7983).
        UnknownProtocol = "unknown_protocol",
        /// The RTP version is not 2.
        BadVersion = "bad_version",
        /// The list of contributing sources is longer than the packet.
        CsrcOverrun = "csrc_overrun",
        /// The header extension is longer than the packet.
        ExtensionOverrun = "extension_overrun",
        /// The padding is announced, but its length is zero or more than the payload's.
        BadPadding = "bad_padding",
        /// The telephone event is shorter than four bytes.
        EventTooShort = "event_too_short",
        /// The datagram is shorter than an RTCP header, or ends within one.
        RtcpTooShort = "rtcp_too_short",
        /// The RTCP version is not 2.
        RtcpBadVersion = "rtcp_bad_version",
        /// The length of an RTCP packet goes beyond the datagram.
        RtcpOverrun = "rtcp_overrun",
        /// The compound does not begin with a report or with feedback (RFC 3550 appendix A.2, RFC
        /// 5506).
        RtcpBadStart = "rtcp_bad_start",
        /// An RTCP packet before the last one is padded, or the length of the padding is wrong.
        RtcpBadPadding = "rtcp_bad_padding",
        /// A report is shorter than the number of its blocks says.
        RtcpReportOverrun = "rtcp_report_overrun",
        /// A source description ends within a chunk.
        RtcpSdesOverrun = "rtcp_sdes_overrun",
        /// A BYE is shorter than the number of its sources says, or than its reason.
        RtcpByeOverrun = "rtcp_bye_overrun",
        /// A block of an extended report goes beyond the report, or has not the length of its kind.
        RtcpXrOverrun = "rtcp_xr_overrun",
    }
}
