//! The reasons why a relay (TURN) does not carry media.

causes! {
    /// The reason why a relay gave no address or carried no media, or why a datagram of it was
    /// dropped.
    RelayFault,
    /// Failures of relays, and datagrams of them that were dropped, by cause.
    RelayFaultCounts {
        /// The server did not answer a request that was sent five times.
        TimedOut = "relay_timed_out",
        /// No program listens at the server's address, or there is no way to it (ICMP).
        Unreachable = "relay_unreachable",
        /// The server did not accept the user, the password or the realm.
        Unauthorized = "relay_unauthorized",
        /// The user has as many addresses as the server allows (486).
        Quota = "relay_quota",
        /// The server has no more ports, or no pair of them (508).
        NoCapacity = "relay_no_capacity",
        /// The server does not let us send to the peer (403).
        Forbidden = "relay_forbidden",
        /// The server has another allocation for our port (437, 441).
        Mismatch = "relay_mismatch",
        /// The server does not relay to addresses of this IP version (440, 443).
        OtherFamily = "relay_other_family",
        /// The server names another one (300), which is not followed.
        Redirected = "relay_redirected",
        /// The server refused a request with another code.
        Refused = "relay_refused",
        /// All 4096 channels of a relayed address are in use.
        NoChannel = "relay_no_channel",
        /// A datagram of the server was dropped: it is malformed, or lacks what it must have.
        Malformed = "relay_malformed",
        /// An answer of the server was dropped: it was made with another password.
        BadIntegrity = "relay_bad_integrity",
        /// A datagram of the server was dropped: nothing was asked, or no such channel exists.
        Unasked = "relay_unasked",
        /// A datagram was dropped that came past the relay, straight to our port.
        Foreign = "relay_foreign",
    }
}
