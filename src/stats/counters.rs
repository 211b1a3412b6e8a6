//! Single-writer counters of one worker.
//!
//! Plain numbers: the worker that owns them adds to them without atomics. Copies of the whole block
//! travel to the control side, so that every snapshot is consistent in itself.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delta::wire;
use super::{DropCounts, FailureCounts, MediaCounters, TraceDropCounts, WithheldCounts};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// Everything that one worker counts. All fields only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $field: u64,)+
            /// Failed calls by cause.
            pub failures: FailureCounts,
            /// Planned calls that were not started, by cause.
            pub withheld: WithheldCounts,
            /// Malformed datagrams, by cause; their sum is `parse_errors`.
            pub drops: DropCounts,
            /// Records of traces that were lost because a queue was full, by kind.
            pub trace_drops: TraceDropCounts,
            /// Everything about media.
            pub media: MediaCounters,
        }

        impl Counters {
            /// Names of the plain counters, in declaration order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// Name and value of each plain counter, in declaration order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + Clone + use<> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }

            /// Adds `other` field by field.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
                self.failures.add(&other.failures);
                self.withheld.add(&other.withheld);
                self.drops.add(&other.drops);
                self.trace_drops.add(&other.trace_drops);
                self.media.add(&other.media);
            }

            /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels;
            /// some fields may have been added then.
            pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
                $(self.$field = wire::sum(self.$field, other.$field)?;)+
                self.failures.checked_add(&other.failures)?;
                self.withheld.checked_add(&other.withheld)?;
                self.drops.checked_add(&other.drops)?;
                self.trace_drops.checked_add(&other.trace_drops)?;
                self.media.checked_add(&other.media)
            }

            /// The plain counter of that name.
            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }

            /// The counts since `earlier`, a previous copy of the same block.
            pub fn since(&self, earlier: &Self) -> Self {
                Self {
                    $($field: self.$field.saturating_sub(earlier.$field),)+
                    failures: self.failures.since(&earlier.failures),
                    withheld: self.withheld.since(&earlier.withheld),
                    drops: self.drops.since(&earlier.drops),
                    trace_drops: self.trace_drops.since(&earlier.trace_drops),
                    media: self.media.since(&earlier.media),
                }
            }
        }
    };
}

counters! {
    /// Calls that we started (first message sent).
    calls_outgoing,
    /// Calls that a peer started (first message received).
    calls_incoming,
    /// Calls that reached the end of the scenario.
    calls_succeeded,
    /// Calls that failed; the sum of `failures`.
    calls_failed,
    /// Requests sent, without retransmissions.
    requests_sent,
    /// Responses sent, without retransmissions.
    responses_sent,
    /// Requests received, without retransmissions.
    requests_received,
    /// Responses received, without retransmissions.
    responses_received,
    /// Commands sent to other instances (3PCC).
    commands_sent,
    /// Commands received from other instances (3PCC) for a call.
    commands_received,
    /// Messages that we sent again.
    retransmissions_sent,
    /// Retransmissions sent that repeat an ACK because the final response came again in other
    /// words. SIPp does not count these.
    acks_repeated,
    /// Messages that a peer sent again.
    retransmissions_received,
    /// Messages answered by a default behaviour rather than by the scenario.
    auto_answered,
    /// Messages that belong to no call and could not start one in this mode.
    out_of_call_messages,
    /// Late messages for a call that had ended.
    dead_call_messages,
    /// Datagrams dropped as malformed; the sum of `drops`.
    parse_errors,
    /// CRLF or NUL keep-alives.
    keepalives_received,
    /// Datagrams handed to the worker that owns their call.
    handed_over,
    /// Datagrams lost because the hand-over queue was full.
    handover_dropped,
    /// Malformed requests that could be answered with an error response.
    bad_requests_answered,
    /// Remembered ends of calls that were forgotten early because the table was full.
    dead_calls_evicted,
    /// Messages lost on purpose (`-lost`, `lost=`).
    simulated_losses,
    /// Messages for which the send arena had no room at first; sent later or by retransmission.
    sends_deferred,
    /// Messages that waited because their connection took no more at the time.
    sends_congested,
    /// Connections that we began to open.
    connections_opened,
    /// Connections that peers opened.
    connections_accepted,
    /// Connections that could not be established, TLS and WebSocket handshakes included.
    connections_failed,
    /// Connections that were established and that we did not end.
    connections_lost,
    /// Connections opened again after a loss (`-max_reconnect`).
    reconnects,
    /// TLS and WebSocket handshakes that succeeded.
    handshakes,
    /// Handshakes that resumed an earlier TLS session.
    handshakes_resumed,
    /// Bytes sent on connections, those of TLS and WebSocket included.
    stream_bytes_sent,
    /// Bytes received on connections, those of TLS and WebSocket included.
    stream_bytes_received,
    /// Messages that the kernel had no buffer for (`ENOBUFS`).
    send_no_buffer,
    /// `warning` actions and recoverable oddities.
    warnings,
    /// Commands of `exec command=` that were not run: too many waited, or the shell did not start.
    commands_dropped,
    /// `error` actions, each of which stops the run.
    fatal_errors,
    /// Times that the worker was kept from its work for longer than SIPp's watchdog calls minor.
    watchdog_minor,
    /// Times that the worker was kept from its work for longer than SIPp's watchdog calls major.
    watchdog_major,
    /// Datagrams handed to the kernel.
    datagrams_sent,
    /// Send operations; a GSO train counts once.
    trains_sent,
    /// Datagrams received.
    datagrams_received,
    /// Calls into the kernel that submit or wait.
    kernel_enters,
    /// Nanoseconds spent waiting for work.
    wait_ns,
    /// Datagrams that the kernel dropped because our receive queue was full.
    receive_overflow,
    /// Datagrams larger than their receive buffer.
    receive_truncated,
    /// Times receiving stopped for want of buffers and was armed again.
    receive_rearms,
    /// Completion-queue overflows.
    cq_overflow,
    /// ICMP errors received.
    icmp_errors,
    /// GSO trains that had to be sent datagram by datagram.
    gso_fallbacks,
}

/// Counters as they travel: a block for each table, without what is 0.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    plain: Plain,
    failures: FailureCounts,
    withheld: WithheldCounts,
    drops: DropCounts,
    trace_drops: TraceDropCounts,
    media: MediaCounters,
}

/// The plain counters of a block; its tables are empty.
struct Plain(Counters);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::named(self.0.each(), serializer)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counters = Counters::default();
        wire::read_named(deserializer, &mut counters, Counters::slot)?;
        Ok(Self(counters))
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { failures, withheld, drops, trace_drops, media, .. } = *self;
        let plain = Plain(*self);
        Blocks { plain, failures, withheld, drops, trace_drops, media }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Blocks { plain, failures, withheld, drops, trace_drops, media } =
            Blocks::deserialize(deserializer)?;
        Ok(Self { failures, withheld, drops, trace_drops, media, ..plain.0 })
    }
}

impl Counters {
    /// Calls started so far.
    pub fn calls_started(&self) -> u64 {
        self.calls_outgoing + self.calls_incoming
    }

    /// Calls open now: the identity `started = succeeded + failed + active`.
    pub fn calls_active(&self) -> u64 {
        self.calls_started().saturating_sub(self.calls_succeeded + self.calls_failed)
    }
}
