//! The one-line summary: `key=value` pairs for people and for `grep`.

use std::fmt;

use super::units;
use crate::stats::Snapshot;

/// A run in one line, for programs at the end of a run and for `-stat_period`. Keys are an
/// interface: new ones may come, none goes. `cps` is 0 for a run that is too short to tell.
#[derive(Clone, Copy, Debug)]
pub struct ConsoleLine<'a> {
    /// The state to show.
    pub snapshot: &'a Snapshot,
    /// The engine's name if several share the console; it prefixes the line.
    pub engine: Option<&'a str>,
}

/// The end of a run of RTP without SIP in one line, for programs. Keys are an interface.
#[derive(Clone, Copy, Debug)]
pub struct StreamsLine<'a>(pub &'a Snapshot);

impl fmt::Display for StreamsLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media = &self.0.counters.media;
        write!(
            f,
            "streams={} sent={} octets={} received={} lost={}",
            media.legs_opened,
            media.rtp_packets_sent,
            media.rtp_octets_sent,
            media.rtp_packets_received,
            media.rtp_lost,
        )
    }
}

impl fmt::Display for ConsoleLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, engine } = self;
        let media = &snapshot.counters.media;
        if let Some(engine) = engine {
            write!(f, "[{engine}] ")?;
        }
        let calls = &snapshot.calls;
        write!(
            f,
            "calls={} success={} failed={} cps={:.2} avg_call={} avg_invite={} retransmits={} \
             timeouts={} rtp_sent={} rtp_recv={} rtcp_sr={} rtcp_rr={} rtcp_in={} active={} \
             p99_invite={} verdict={}",
            calls.started,
            calls.succeeded,
            calls.failed,
            snapshot.known_calls_per_second().unwrap_or(0.0),
            units::duration(snapshot.call_length.average_ns),
            units::duration(snapshot.invite_rtt.average_ns),
            snapshot.counters.retransmissions_sent,
            snapshot.timeouts(),
            media.rtp_packets_sent,
            media.rtp_packets_received,
            media.rtcp_sender_reports,
            media.rtcp_receiver_reports,
            media.rtcp_received,
            calls.active,
            units::duration(snapshot.invite_rtt.p99_ns),
            snapshot.verdict.verdict().label(),
        )
    }
}
