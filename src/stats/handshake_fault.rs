//! The reasons why a stream was not connected by DTLS or ICE.

causes! {
    /// The reason why a stream got no keys by DTLS or no address by ICE, or why a datagram of one
    /// of both was dropped.
    HandshakeFault,
    /// Streams without keys or address, and datagrams of DTLS and ICE that were dropped, by cause.
    HandshakeFaultCounts {
        /// The peer of a DTLS handshake broke the protocol, or its signature is wrong.
        DtlsBroken = "dtls_broken",
        /// The peer has another certificate than its session description names.
        DtlsFingerprint = "dtls_fingerprint",
        /// The peer knows no protection of SRTP that we know.
        DtlsNoProfile = "dtls_no_profile",
        /// The DTLS handshake was not complete after ten seconds.
        DtlsTimedOut = "dtls_timed_out",
        /// A datagram of DTLS was dropped because too many waited for their step.
        DtlsQueueFull = "dtls_queue_full",
        /// No address of the peer answered the checks of ICE within ten seconds.
        IceTimedOut = "ice_timed_out",
        /// The peer stopped answering the checks of ICE in the middle of a call.
        IceConsentLost = "ice_consent_lost",
        /// A candidate of the peer was left out: the list of targets does not allow its address.
        IceBlocked = "ice_blocked",
        /// A STUN message was dropped: it is malformed, or was made with another password.
        IceBadMessage = "ice_bad_message",
    }
}

impl HandshakeFault {
    /// True if keys are missing, false if an address is.
    pub fn is_of_dtls(self) -> bool {
        !matches!(
            self,
            Self::IceTimedOut | Self::IceConsentLost | Self::IceBlocked | Self::IceBadMessage
        )
    }
}
