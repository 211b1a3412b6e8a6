//! The rules that calls keep to. An engine reads each of them under the name under which its option
//! stores it.

use super::settings::settings;

settings! {
    /// Timeouts, retransmission, default behaviours and starting values of calls.
    pub struct CallRules {
        /// Longest wait in a `<recv>` without a timeout of its own; 0 is none.
        recv_timeout_ms: u64 = 0,
        /// Longest wait of a message for room to be sent, for a `<send>` without a timeout of its
        /// own; 0 is none.
        send_timeout_ms: u64 = 0,
        /// Least wait for a mandatory BYE without a timeout of its own, in milliseconds; used only
        /// with a default timeout.
        recv_bye_timeout_ms: u64 = 0,
        /// Length of a `<pause/>` without a length of its own.
        pause_ms: u64 = 0,
        /// Time for which the Call-ID of a finished call is remembered.
        deadcall_wait_ms: u64 = 33_000,
        /// Retransmission over UDP.
        retransmission: Retransmission = Retransmission::default(),
        /// The rule by which a retransmission of the peer is recognised.
        duplicate_check: DuplicateCheck = DuplicateCheck::Full,
        /// The default behaviours, which apply beside the scenario.
        default_behaviors: DefaultBehaviors = DefaultBehaviors::ALL,
        /// True if INFO, NOTIFY, OPTIONS and UPDATE that the scenario does not expect get a 200.
        auto_answer: bool = false,
        /// True if a message that finds no room on a connection is only a warning.
        congestion_warns: bool = false,
        /// True if an ICMP error ends its call at once (RFC 3261 sections 8.1.3.1 and 18.4);
        /// otherwise the message counts as lost on the way, as in SIPp.
        icmp_fails_calls: bool = true,
        /// Share of packets lost on purpose, in percent, on send and on receive.
        lost_percent: f64 = 0.0,
        /// The number of the first `[cseq]` that a call sends.
        base_cseq: u32 = 1,
        /// True if messages that arrive during a pause are dropped.
        pause_drops_messages: bool = false,
        /// True if a Call-ID counts as a whole, `prefix///` included.
        whole_call_ids: bool = false,
        /// The numbers of `[dynamic_id]`.
        dynamic_ids: DynamicIds = DynamicIds { start: 10_000, max: 12_000, step: 4 },
        /// True if received RTP is sent back, by calls of every scenario with ports of media.
        rtp_echo: bool = false,
        /// Initial values of global variables, in order.
        sets: Vec<(String, String)> = Vec::new(),
    }
}

/// RFC 3261 section 17 timers, as in SIPp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// True if anything is retransmitted.
    pub enabled: bool,
    /// Retransmissions of an INVITE before the call fails.
    pub invite_max: u32,
    /// Retransmissions of any other message before the call fails.
    pub non_invite_max: u32,
    /// T2: longest interval between retransmissions of anything but INVITE.
    pub t2_ms: u32,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self { enabled: true, invite_max: 5, non_invite_max: 9, t2_ms: 4000 }
    }
}

/// The rule by which a retransmission of the peer is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// By every byte.
    Full,
    /// By To, From, Call-ID and CSeq; for responses also code and body.
    Loose,
}

/// The default behaviours, which apply beside the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultBehaviors {
    /// True if the dialog of an aborted call is ended (BYE, CANCEL, ACK).
    pub bye: bool,
    /// True if an unexpected message aborts its call.
    pub abort_unexpected: bool,
    /// True if PING requests are answered.
    pub ping_reply: bool,
    /// True if a call fails when its ACK carries another CSeq number than its INVITE.
    pub cseq_check: bool,
}

impl DefaultBehaviors {
    /// Every behaviour on.
    pub const ALL: Self =
        Self { bye: true, abort_unexpected: true, ping_reply: true, cseq_check: true };

    /// Every behaviour off.
    pub const NONE: Self =
        Self { bye: false, abort_unexpected: false, ping_reply: false, cseq_check: false };
}

/// First number, highest number and step of `[dynamic_id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicIds {
    /// The first number: `-dynamicStart`.
    pub start: u64,
    /// The highest number: `-dynamicMax`.
    pub max: u64,
    /// The step: `-dynamicStep`.
    pub step: u64,
}
