//! The reasons why a packet of a protected stream was dropped.

causes! {
    /// The reason why a packet was not protected, or not taken by SRTP (RFC 3711).
    SrtpFault,
    /// Packets that SRTP dropped, by cause.
    SrtpFaultCounts {
        /// The tag of the packet is wrong: it was made with another key, or changed on the way.
        BadTag = "srtp_bad_tag",
        /// The key has protected as many packets as it may: negotiate a new one.
        KeyExhausted = "srtp_key_exhausted",
        /// The buffer has no room for the tag of the packet.
        NoRoom = "srtp_no_room",
        /// The packet is neither RTP nor RTCP: its version is not 2.
        NotRtp = "srtp_not_rtp",
        /// The packet was received before.
        Replayed = "srtp_replayed",
        /// The packet is further behind the newest one than is remembered.
        TooOld = "srtp_too_old",
        /// The packet ends before its header or its tag does.
        Truncated = "srtp_truncated",
        /// The packet names another master key (MKI) than the negotiated one.
        UnknownMki = "srtp_unknown_mki",
    }
}
