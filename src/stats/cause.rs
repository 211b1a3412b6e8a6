//! The reasons why calls failed, why planned calls were not started, and why datagrams were
//! dropped.
//!
//! Each variant is at once the counter, the metric label, the JSON key and the row of the report.

/// Declares a fieldless enum with a static name and a one-line description per variant, and a
/// fixed-size counter table indexed by it.
macro_rules! causes {
    (
        $(#[$meta:meta])* $name:ident, $(#[$table_meta:meta])* $table:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $label:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every variant, in declaration order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The stable snake_case name: JSON key and metric label.
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }

            /// The variant's documentation, for reports.
            pub fn description(self) -> &'static str {
                match self { $($name::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }

        $(#[$table_meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $table([u64; $name::ALL.len()]);

        impl Default for $table {
            fn default() -> Self {
                Self([0; $name::ALL.len()])
            }
        }

        impl $table {
            /// Adds one to `cause`.
            pub fn bump(&mut self, cause: $name) {
                self.0[cause as usize] += 1;
            }

            /// Adds `count` to `cause`.
            pub fn bump_by(&mut self, cause: $name, count: u64) {
                self.0[cause as usize] += count;
            }

            /// The count of `cause`.
            pub fn count(&self, cause: $name) -> u64 {
                self.0[cause as usize]
            }

            /// The sum over all causes.
            pub fn total(&self) -> u64 {
                self.0.iter().sum()
            }

            /// Adds `other` cause by cause.
            pub fn add(&mut self, other: &Self) {
                for (mine, theirs) in self.0.iter_mut().zip(other.0) {
                    *mine += theirs;
                }
            }

            /// The counts since `earlier`, a previous value of the same table.
            pub fn since(&self, earlier: &Self) -> Self {
                let mut difference = *self;
                for (mine, theirs) in difference.0.iter_mut().zip(earlier.0) {
                    *mine = mine.saturating_sub(theirs);
                }
                difference
            }

            /// Causes with a nonzero count.
            pub fn nonzero(&self) -> impl Iterator<Item = ($name, u64)> + Clone + '_ {
                $name::ALL.iter().map(|&cause| (cause, self.count(cause))).filter(|&(_, n)| n > 0)
            }

            /// Adds `other` as [`add`](Self::add), unless a count or their total becomes larger
            /// than what travels; some causes may have been added then.
            #[allow(dead_code, reason = "not every table travels")]
            pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
                let mut total = 0;
                for (mine, theirs) in self.0.iter_mut().zip(other.0) {
                    *mine = $crate::stats::delta::wire::sum(*mine, theirs)?;
                    total = $crate::stats::delta::wire::sum(total, *mine)?;
                }
                Some(())
            }
        }

        impl serde::Serialize for $table {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let counts = self.nonzero().map(|(cause, count)| (cause.label(), count));
                $crate::stats::delta::wire::named(counts, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $table {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut table = Self::default();
                $crate::stats::delta::wire::read_named(deserializer, &mut table, |table, name| {
                    let known = $name::ALL.iter().position(|cause| cause.label() == name)?;
                    table.0.get_mut(known)
                })?;
                Ok(table)
            }
        }
    };
}

causes! {
    /// The reason why a call failed. A failed call has exactly one cause.
    FailureCause,
    /// Failed calls by cause.
    FailureCounts {
        /// A request or final response was retransmitted up to the limit without an answer.
        MaxUdpRetrans = "max_udp_retrans",
        /// A `<recv>` waited longer than its timeout.
        RecvTimeout = "recv_timeout",
        /// A message could not be sent within `-send_timeout`, or within the timeout of its
        /// `<send>`.
        SendTimeout = "send_timeout",
        /// A message arrived that the scenario does not expect at this point.
        UnexpectedMessage = "unexpected_message",
        /// The peer ended the call (BYE or CANCEL) before the scenario expected it.
        PeerHangup = "peer_hangup",
        /// An ACK carried another CSeq number than the INVITE that it acknowledges.
        AckCseqMismatch = "ack_cseq_mismatch",
        /// The kernel refused to send a message (no route, not permitted, too large).
        CannotSendMessage = "cannot_send_message",
        /// The network answered a message with an ICMP error, for example because no program
        /// listens on the port.
        IcmpUnreachable = "icmp_unreachable",
        /// The connection could not be established: refused, unreachable, or no answer.
        TcpConnect = "tcp_connect",
        /// No local port was free for another connection: most are in TIME_WAIT.
        NoLocalPort = "no_local_port",
        /// The connection was closed or reset while the call needed it.
        TcpClosed = "tcp_closed",
        /// The TLS handshake failed, or a TLS record could not be read.
        TlsHandshake = "tls_handshake",
        /// The peer's certificate is not trusted, is revoked, or is missing.
        TlsCertificate = "tls_certificate",
        /// The WebSocket handshake failed, or a frame could not be read.
        WebSocket = "websocket",
        /// The peer's stream could not be cut into messages, or one took too long to arrive.
        StreamBroken = "stream_broken",
        /// The connection did not take the message: too much waits to be sent already.
        OutboundCongestion = "outbound_congestion",
        /// `check_it` of an `ereg` action found no match.
        RegexpDoesntMatch = "regexp_doesnt_match",
        /// `check_it_inverse` of an `ereg` action found a match.
        RegexpShouldntMatch = "regexp_shouldnt_match",
        /// The header that an `ereg` action should search is absent.
        RegexpHdrNotFound = "regexp_header_not_found",
        /// `check_it` of a `test` action found the comparison false.
        TestDoesntMatch = "test_doesnt_match",
        /// `check_it_inverse` of a `test` action found the comparison true.
        TestShouldntMatch = "test_shouldnt_match",
        /// `check_it` of a `strcmp` action found the strings different.
        StrcmpDoesntMatch = "strcmp_doesnt_match",
        /// `check_it_inverse` of a `strcmp` action found the strings equal.
        StrcmpShouldntMatch = "strcmp_shouldnt_match",
        /// `[authentication]` could not answer: there was no stored challenge, or none of a
        /// supported kind.
        AuthenticationFailed = "authentication_failed",
        /// A row of an injection file does not exist or cannot be changed.
        InjectionFailed = "injection_failed",
        /// `<setdest>` named no address, or another protocol than the call's.
        SetDestFailed = "setdest_failed",
        /// `<setdest>` of a scenario from the API, or the session description of a peer, named an
        /// address that `targets` does not let it call.
        BlockedTarget = "blocked_target",
        /// No port of media was free for the call.
        NoMediaPort = "no_media_port",
        /// A session description cannot be followed, ICE found no address, or media cannot do what
        /// an action asks for.
        MediaFailed = "media_failed",
        /// The keys of SRTP in both session descriptions do not fit or are missing, a handshake of
        /// DTLS gave none, or the peer asked for SRTP where `-media_reject_srtp` refuses it.
        SrtpFailed = "srtp_failed",
        /// Not as many packets came or went as an `rtpcheck` action demands, or a pattern that the
        /// call sent did not come back (`-audiotolerance`, `-videotolerance`).
        RtpCheck = "rtp_check",
        /// An action or message could not be carried out, for example a division by zero.
        ScenarioError = "scenario_error",
        /// A fixed pool of the generator was exhausted; the message names the option to raise.
        PoolExhausted = "pool_exhausted",
        /// A command could not be sent to another instance (3PCC).
        CmdNotSent = "cmd_not_sent",
        /// The scenario ended the call (`stop_call`), or another instance (3PCC) ended it
        /// or sent an unexpected command.
        CallRejected = "call_rejected",
        /// Another instance (3PCC) ended while the call waited for its command.
        PeerGone = "peer_gone",
        /// The run was stopped before the call ended.
        Cancelled = "cancelled",
    }
}

causes! {
    /// The reason why a planned call was not started. The call is not made up for later, and always
    /// counted.
    WithheldCause,
    /// Withheld arrivals by cause.
    WithheldCounts {
        /// The open-call limit `-l` was reached.
        CallLimit = "call_limit",
        /// The call pool sized at start was full.
        PoolFull = "pool_full",
        /// The socket limit `-max_socket` was reached and no socket could be shared.
        SocketLimit = "socket_limit",
        /// The shared connection could not be established, or was lost and is not open again yet.
        NoConnection = "no_connection",
        /// All circuits of `-tdmmap` were in use.
        CircuitsBusy = "circuits_busy",
        /// The listener was switched off: a request that belongs to no call was answered with 503.
        ListenerOff = "listener_off",
    }
}

causes! {
    /// The reason why a received datagram was dropped as malformed. Requests are answered where RFC
    /// 3261 permits an answer. Only the call that the datagram names is affected.
    DropCause,
    /// Malformed datagrams by cause.
    DropCounts {
        /// The message is not SIP at all.
        NotSip = "not_sip",
        /// The first line is neither a request line nor a status line.
        BadStartLine = "bad_start_line",
        /// The SIP version is not 2.0.
        UnsupportedVersion = "unsupported_version",
        /// A header line has no name, or the header never ends.
        BadHeader = "bad_header",
        /// The message has more than 1,024 header lines, or its header is longer than a datagram
        /// can be.
        TooManyHeaders = "too_many_headers",
        /// The Content-Length is not a number, or is given twice with different numbers.
        BadContentLength = "bad_content_length",
        /// The message has no Content-Length, which a stream needs to find its end.
        MissingContentLength = "missing_content_length",
        /// The message is longer than the limit for messages on a stream.
        MessageTooLong = "message_too_long",
        /// The message took too long to arrive.
        SlowMessage = "slow_message",
        /// The body is shorter than the Content-Length.
        BodyTooShort = "body_too_short",
        /// The message has no Call-ID.
        MissingCallId = "missing_call_id",
        /// The CSeq is missing or malformed.
        BadCseq = "bad_cseq",
        /// A command of another instance (3PCC) has no Call-ID.
        CommandWithoutCallId = "command_without_call_id",
        /// A command was too long, or had not ended when its connection did.
        CommandUnfinished = "command_unfinished",
        /// A command came from an instance that the scenario does not wait for.
        CommandFromStranger = "command_from_stranger",
        /// An event came on a socket that has no owner.
        NoOwner = "no_owner",
    }
}

causes! {
    /// A kind of record about a single message or call.
    TraceKind,
    /// Records that were lost because a queue was full, by kind.
    TraceDropCounts {
        /// A message was sent.
        MessageSent = "message_sent",
        /// A message was received.
        MessageReceived = "message_received",
        /// A message came that the scenario does not expect.
        Unexpected = "unexpected",
        /// A message came for a call that has ended.
        Late = "late",
        /// A message came that belongs to no call.
        OutOfCall = "out_of_call",
        /// The text of a `log` action.
        Log = "log",
        /// The text of a `warning` action.
        Warning = "warning",
        /// The text of an `error` action.
        Error = "error",
        /// A call began.
        CallStarted = "call_started",
        /// A call ended.
        CallEnded = "call_ended",
        /// A call came to a step.
        Step = "step",
        /// A response time was measured.
        ResponseTime = "response_time",
        /// A call waited in vain.
        TimedOut = "timed_out",
        /// Digest credentials were made or checked.
        Authenticated = "authenticated",
        /// A command went to another instance (3PCC).
        CommandSent = "command_sent",
        /// A command came from another instance (3PCC).
        CommandReceived = "command_received",
        /// A stream got keys of SRTP.
        SrtpKeys = "srtp_keys",
        /// The check of a pattern of RTP ended.
        RtpChecked = "rtp_checked",
        /// RTCP of a call was sent or received.
        Rtcp = "rtcp",
    }
}

impl FailureCause {
    /// Tells whether the cause is a check of the scenario that did not hold (`check_it`,
    /// `check_it_inverse`). The call then goes on and fails at its end.
    pub fn is_check(self) -> bool {
        matches!(
            self,
            Self::RegexpDoesntMatch
                | Self::RegexpShouldntMatch
                | Self::RegexpHdrNotFound
                | Self::TestDoesntMatch
                | Self::TestShouldntMatch
                | Self::StrcmpDoesntMatch
                | Self::StrcmpShouldntMatch
        )
    }

    /// The class under which `failure_classes` of the summary counts this cause.
    pub fn class(self) -> &'static str {
        match self {
            Self::MaxUdpRetrans | Self::RecvTimeout | Self::SendTimeout => "timeout",
            Self::UnexpectedMessage
            | Self::PeerHangup
            | Self::AckCseqMismatch
            | Self::CallRejected => "unexpected_sip",
            Self::CannotSendMessage
            | Self::IcmpUnreachable
            | Self::TcpConnect
            | Self::NoLocalPort
            | Self::NoMediaPort
            | Self::TcpClosed
            | Self::TlsHandshake
            | Self::TlsCertificate
            | Self::WebSocket
            | Self::StreamBroken
            | Self::OutboundCongestion
            | Self::CmdNotSent
            | Self::PeerGone => "transport_error",
            Self::RegexpDoesntMatch
            | Self::RegexpShouldntMatch
            | Self::RegexpHdrNotFound
            | Self::TestDoesntMatch
            | Self::TestShouldntMatch
            | Self::StrcmpDoesntMatch
            | Self::StrcmpShouldntMatch
            | Self::AuthenticationFailed
            | Self::InjectionFailed
            | Self::SetDestFailed
            | Self::BlockedTarget
            | Self::MediaFailed
            | Self::SrtpFailed
            | Self::RtpCheck
            | Self::ScenarioError
            | Self::PoolExhausted => "scenario_error",
            Self::Cancelled => "cancelled",
        }
    }

    /// The column of SIPp's statistics that counts this cause; `None` if only the sum of all
    /// failures counts it.
    pub fn sipp_statistic(self) -> Option<&'static str> {
        Some(match self {
            Self::MaxUdpRetrans => "FailedMaxUDPRetrans",
            Self::RecvTimeout => "FailedTimeoutOnRecv",
            Self::SendTimeout => "FailedTimeoutOnSend",
            Self::UnexpectedMessage | Self::PeerHangup | Self::AckCseqMismatch => {
                "FailedUnexpectedMessage"
            }
            Self::CannotSendMessage | Self::IcmpUnreachable => "FailedCannotSendMessage",
            Self::TcpConnect
            | Self::NoLocalPort
            | Self::TlsHandshake
            | Self::TlsCertificate
            | Self::WebSocket => "FailedTcpConnect",
            Self::TcpClosed | Self::StreamBroken => "FailedTcpClosed",
            Self::OutboundCongestion => "FailedOutboundCongestion",
            Self::RegexpDoesntMatch => "FailedRegexpDoesntMatch",
            Self::RegexpShouldntMatch => "FailedRegexpShouldntMatch",
            Self::RegexpHdrNotFound => "FailedRegexpHdrNotFound",
            Self::TestDoesntMatch => "FailedTestDoesntMatch",
            Self::TestShouldntMatch => "FailedTestShouldntMatch",
            Self::StrcmpDoesntMatch => "FailedStrcmpDoesntMatch",
            Self::StrcmpShouldntMatch => "FailedStrcmpShouldntMatch",
            Self::CmdNotSent => "FailedCmdNotSent",
            Self::AuthenticationFailed
            | Self::InjectionFailed
            | Self::SetDestFailed
            | Self::BlockedTarget
            | Self::NoMediaPort
            | Self::MediaFailed
            | Self::SrtpFailed
            | Self::RtpCheck
            | Self::ScenarioError
            | Self::PoolExhausted
            | Self::CallRejected => "FailedCallRejected",
            Self::PeerGone | Self::Cancelled => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_descriptions_are_sentences() {
        let mut labels: Vec<_> = FailureCause::ALL.iter().map(|c| c.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), FailureCause::ALL.len());
        for cause in FailureCause::ALL {
            assert!(cause.description().ends_with('.'), "{cause:?}");
        }
    }

    #[test]
    fn counting_by_cause_adds_up() {
        let mut counts = FailureCounts::default();
        counts.bump(FailureCause::RecvTimeout);
        counts.bump(FailureCause::RecvTimeout);
        let earlier = counts;
        counts.bump(FailureCause::Cancelled);
        assert_eq!(counts.total(), 3);
        assert_eq!(
            counts.since(&earlier).nonzero().collect::<Vec<_>>(),
            [(FailureCause::Cancelled, 1)]
        );
    }
}
