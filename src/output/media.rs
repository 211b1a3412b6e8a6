//! Media in words: what was heard, how well, and how precisely it was sent.

use super::summary::MediaMode;
use super::units;
use crate::stats::{
    DurationSummary, HeardVerdict, MediaCounters, MediaMeasure, Snapshot, WorstCall, units_of_ns,
};

/// The verdicts about calls: `98 heard both ways, 1 one way, 1 silent, 0 unknown`. Calls without
/// RTP and open ones follow, if there are some.
pub(super) fn heard(media: &MediaCounters) -> String {
    let count = |verdict| units::count(media.heard.count(verdict));
    let mut text = format!(
        "{} heard both ways, {} one way, {} silent, {} unknown",
        count(HeardVerdict::TwoWay),
        count(HeardVerdict::OneWay),
        count(HeardVerdict::None),
        count(HeardVerdict::Unknown),
    );
    if media.heard.count(HeardVerdict::NoMedia) > 0 {
        text += &format!(", {} without RTP", count(HeardVerdict::NoMedia));
    }
    if media.legs_open() > 0 {
        text += &format!(", {} open", units::count(media.legs_open()));
    }
    text
}

/// Packets both ways.
pub(super) fn packets(media: &MediaCounters) -> String {
    let echoed = match media.rtp_packets_echoed {
        0 => String::new(),
        echoed => format!(" ({} echoed)", units::count(echoed)),
    };
    format!(
        "{} packets out{echoed}, {} in; RTCP {} out, {} in",
        units::count(media.rtp_packets_sent),
        units::count(media.rtp_packets_received),
        units::count(media.rtcp_sent),
        units::count(media.rtcp_received),
    )
}

/// Packets lost on the way to us; `None` until a stream has ended.
pub(super) fn loss(snapshot: &Snapshot) -> Option<String> {
    let media = &snapshot.counters.media;
    let share = media.loss_share()?;
    let worst = snapshot.media.measured(MediaMeasure::Loss);
    let worst = worst.map_or(0.0, |loss| units_of_ns(loss.max_ns) / 100.0);
    Some(format!(
        "{} of {} ({}), worst stream {}; {} too late, {} twice, {} out of order",
        units::count(media.rtp_lost),
        units::count(media.rtp_expected),
        units::percent(share),
        units::percent(worst),
        units::count(media.rtp_discarded),
        units::count(media.rtp_duplicates),
        units::count(media.rtp_reordered),
    ))
}

/// Loss that peers reported; `None` without a report.
pub(super) fn reported(snapshot: &Snapshot) -> Option<String> {
    let loss = snapshot.media.measured(MediaMeasure::PeerLoss)?;
    Some(format!(
        "{} of our packets lost at most, in {} reports of peers",
        units::percent(units_of_ns(loss.max_ns) / 100.0),
        units::count(loss.count),
    ))
}

/// Estimated MOS; `None` until measured.
pub(super) fn mos(snapshot: &Snapshot) -> Option<String> {
    let mos = snapshot.media.measured(MediaMeasure::Mos)?;
    let streams = if mos.count == 1 { "stream" } else { "streams" };
    Some(format!(
        "{:.2} on average, worst stream {:.2} (estimated, {} {streams})",
        units_of_ns(mos.average_ns),
        units_of_ns(mos.min_ns),
        units::count(mos.count),
    ))
}

/// Calls with cross-talk; `None` if no call heard a watermark.
pub(super) fn crosstalk(media: &MediaCounters) -> Option<String> {
    let text = format!(
        "{} of {} calls with marked audio, in {} packets",
        units::count(media.legs_crosstalk),
        units::count(media.legs_marked),
        units::count(media.crosstalk_packets),
    );
    (media.legs_marked > 0).then_some(text)
}

/// Checks of patterns; `None` without one.
pub(super) fn patterns(media: &MediaCounters) -> Option<String> {
    let checks = if media.patterns_checked == 1 { "check" } else { "checks" };
    let text = format!(
        "{} of {} {checks} failed, {} of {} packets did not come back as they were",
        units::count(media.patterns_failed),
        units::count(media.patterns_checked),
        units::count(media.pattern_packets_bad),
        units::count(media.pattern_packets_checked),
    );
    (media.patterns_checked > 0).then_some(text)
}

/// Median, 99th percentile and most of a measurement; `None` until measured.
pub(super) fn measured(snapshot: &Snapshot, measure: MediaMeasure) -> Option<String> {
    snapshot.media.measured(measure).map(spread)
}

/// The handshakes that gave keys; `None` without one.
pub(super) fn handshakes(snapshot: &Snapshot) -> Option<String> {
    let took = measured(snapshot, MediaMeasure::Handshake)?;
    Some(format!("{} handshakes, {took}", snapshot.counters.media.handshakes))
}

/// The generator's own error of RTP; `None` if it sent none on a plan.
pub(super) fn pacing(snapshot: &Snapshot) -> Option<String> {
    let error = measured(snapshot, MediaMeasure::SendError)?;
    Some(format!("packets off by {error}"))
}

/// The way in which sockets are shared, and how many datagrams an operation carries.
pub(super) fn batching(snapshot: &Snapshot, mode: MediaMode) -> String {
    let counters = &snapshot.counters;
    let per = |datagrams: u64, operations: u64, what: &str| match operations {
        0 => format!("no {what} yet"),
        operations => format!("{:.1} packets per {what}", datagrams as f64 / operations as f64),
    };
    format!(
        "mode {}, {}, {}",
        mode.label(),
        per(counters.datagrams_sent, counters.trains_sent, "send"),
        per(counters.datagrams_received, counters.media.receive_calls, "receive"),
    )
}

fn spread(summary: &DurationSummary) -> String {
    format!(
        "{} (p50), {} (p99), {} (max)",
        units::duration(summary.p50_ns),
        units::duration(summary.p99_ns),
        units::duration(summary.max_ns),
    )
}

/// The columns of [`worst`].
pub(super) fn worst_heading() -> String {
    worst_row(["Worst calls", "heard", "received", "lost", "jitter max", "MOS", "first audio", ""])
}

/// A call with bad media in one line.
pub(super) fn worst(call: &WorstCall) -> String {
    let media = &call.media;
    let number = format!("  call {}", call.call);
    let received = units::count(media.packets_received);
    let lost = media.loss_share().map_or("-".to_owned(), units::percent);
    let jitter = match media.packets_received {
        0 => "-".to_owned(),
        _ => units::duration(media.jitter_max_ns),
    };
    let mos =
        media.mos_hundredths.map_or("-".to_owned(), |mos| format!("{:.2}", f64::from(mos) / 100.0));
    let first = media.first_audio_ns.map_or("-".to_owned(), units::duration);
    let cause = call.cause.map_or("", |cause| cause.label());
    worst_row([&number, media.heard.label(), &received, &lost, &jitter, &mos, &first, cause])
}

fn worst_row(columns: [&str; 8]) -> String {
    let [call, heard, received, lost, jitter, mos, first, cause] = columns;
    let row = format!(
        "{call:<14} {heard:>8} {received:>9} {lost:>8} {jitter:>10} {mos:>5} {first:>11}  {cause}"
    );
    row.trim_end().to_owned()
}

/// Findings about media, most important first; none of a run without media.
pub(super) fn findings(snapshot: &Snapshot) -> Vec<String> {
    let media = &snapshot.counters.media;
    if !media.is_used() {
        return Vec::new();
    }
    let calls = match media.legs_opened {
        1 => "1 call".to_owned(),
        calls => format!("{} calls", units::count(calls)),
    };
    let mut findings = vec![format!("Of {calls} with media, {}.", heard(media))];
    findings.extend(loss(snapshot).map(|loss| format!("RTP lost: {loss}.")));
    let crossed = crosstalk(media).filter(|_| media.legs_crosstalk > 0);
    findings.extend(crossed.map(|crossed| format!("Cross-talk: {crossed}.")));
    findings.extend(patterns(media).map(|patterns| format!("Patterns: {patterns}.")));
    findings.extend(mos(snapshot).map(|mos| format!("MOS: {mos}.")));
    findings
}
