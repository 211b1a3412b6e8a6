//! The first screen: every step of the scenario with its counts.

use super::{Frame, cut, two_columns};
use crate::output::units;
use crate::stats::{LimitCause, StepCounts, StepKind, StepLayout, Verdict, WithheldCause};

/// Columns of an arrow with its message, in both directions.
const STEP_COLUMNS: usize = 24;

pub(super) fn lines(frame: &Frame<'_>, lines: &mut Vec<String>) {
    head(frame, lines);
    lines.push(String::new());
    facts(frame, lines);
    lines.push(String::new());
    steps(frame, lines);
}

/// Writes the two lines on the mode of the run, its calls and its peer.
fn head(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let facts = frame.facts;
    let elapsed_s = frame.now.elapsed_ns as f64 / 1e9;
    let calls = frame.now.calls.started;
    if !facts.is_client {
        lines.push("  Port   Total-time  Total-calls  Transport".to_owned());
        lines.push(format!(
            "  {:<5}  {elapsed_s:>8.2} s     {calls:>8}  {}",
            facts.local_port, facts.transport
        ));
        return;
    }
    let (title, pace) = match facts.users {
        Some(users) => ("Users (length)", format!("{users} ({} ms)", facts.pause_ms)),
        None => (
            "Call rate (length)",
            format!(
                "{:.1}({} ms)/{:.3}s",
                facts.rate,
                facts.pause_ms,
                facts.rate_period_ms as f64 / 1e3
            ),
        ),
    };
    lines.push(format!("  {title:<18}   Port   Total-time  Total-calls  Remote-host"));
    lines.push(format!(
        "  {pace:<18}   {:<5}  {elapsed_s:>8.2} s     {calls:>8}  {}({})",
        facts.local_port, facts.remote, facts.transport
    ));
}

/// The lines between the head and the steps.
fn facts(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let (facts, now) = (frame.facts, frame.now);
    let counters = &now.counters;
    let (before_calls, before_ns) =
        frame.before.map_or((0, 0), |before| (before.calls.started, before.elapsed_ns));
    let period_s = now.elapsed_ns.saturating_sub(before_ns) as f64 / 1e9;
    let new_calls = match facts.calls_total {
        Some(total) if now.calls.started >= total => {
            format!("Call limit {total} hit, {period_s:.1} s period")
        }
        _ => {
            let new = now.calls.started.saturating_sub(before_calls);
            format!("{new} new calls during {period_s:.3} s period")
        }
    };
    let busy = now.last_second.map_or(now.busy.share_average, |second| second.busy_share_max);
    lines.push(two_columns(
        &new_calls,
        &format!("{} busy, {}", units::percent(busy), count(now.workers, "worker")),
    ));
    let limit = facts.call_limit.map_or(String::new(), |limit| format!(" (limit {limit})"));
    lines.push(two_columns(
        &format!("{} calls{limit}", now.calls.active),
        &format!("Peak was {} calls, after {} s", now.peak_active, frame.peak_at.as_secs()),
    ));
    let by_limit = counters.withheld.count(WithheldCause::CallLimit);
    lines.push(two_columns(
        &format!("{} succeeded, {} failed", now.calls.succeeded, now.calls.failed),
        &format!("{by_limit} + {} calls withheld (-l, own limits)", now.withheld_by_generator()),
    ));
    let out_of_call = match facts.is_client {
        true => format!("{} out-of-call msg (discarded)", counters.out_of_call_messages),
        false => String::new(),
    };
    lines.push(two_columns(
        &format!("{} dead call msg (discarded)", counters.dead_call_messages),
        &out_of_call,
    ));
    media(frame, lines);
    let errors = [
        counters.icmp_errors + counters.gso_fallbacks,
        counters.receive_overflow + counters.receive_truncated,
        counters.send_no_buffer,
    ];
    lines.push(two_columns(
        &format!("{} driver", facts.driver),
        &format!("{}/{}/{} UDP errors (send/recv/cong)", errors[0], errors[1], errors[2]),
    ));
    let verdict = now.verdict.verdict();
    let causes = match verdict {
        Verdict::GeneratorLimited { causes } => causes.iter().map(LimitCause::label).collect(),
        Verdict::Ok | Verdict::NotJudged => Vec::new(),
    };
    lines.push(two_columns(&format!("verdict {}", verdict.label()), &causes.join(", ")));
}

/// Writes the lines on RTP, if there was any.
fn media(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let now = &frame.now.counters.media;
    if !now.is_used() {
        return;
    }
    let before = frame.before.map(|before| before.counters.media).unwrap_or_default();
    let since_ns = frame.before.map_or(0, |before| before.elapsed_ns);
    let period_ms = frame.now.elapsed_ns.saturating_sub(since_ns) / 1_000_000;
    // Octets per millisecond are kilobytes per second.
    let rate = |now: u64, before: u64| match period_ms {
        0 => 0.0,
        period_ms => now.saturating_sub(before) as f64 / period_ms as f64,
    };
    let out = rate(now.rtp_octets_sent, before.rtp_octets_sent);
    lines.push(two_columns(
        &format!("{} Total RTP pckts sent", now.rtp_packets_sent),
        &format!("{out:.3} last period RTP rate (kB/s)"),
    ));
    let back = rate(now.rtp_octets_received, before.rtp_octets_received);
    lines.push(two_columns(
        &format!("{} Total RTP pckts received", now.rtp_packets_received),
        &format!("{back:.3} last period RTP rate (kB/s)"),
    ));
    if now.rtp_packets_echoed > 0 {
        lines.push(two_columns(&format!("{} Total echo RTP pckts", now.rtp_packets_echoed), ""));
    }
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn steps(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let blank = " ".repeat(33);
    lines.push(match frame.facts.has_losses {
        true => format!("{blank}Messages  Retrans   Timeout   Unexp.    Lost"),
        false => format!("{blank}Messages  Retrans   Timeout   Unexpected-Msg"),
    });
    let Some(program) = frame.now.layout.programs.get(frame.program) else { return };
    let counts = frame.now.steps_of(frame.program);
    for (index, step) in program.steps.iter().enumerate() {
        if step.is_hidden && !frame.shows_hidden {
            continue;
        }
        let counts = counts.get(index).copied().unwrap_or_default();
        if let Some(line) = step_line(frame, step, &counts) {
            lines.push(line);
        }
        if step.is_gap_after {
            lines.push(String::new());
        }
    }
}

fn step_line(frame: &Frame<'_>, step: &StepLayout, counts: &StepCounts) -> Option<String> {
    let arrow = match (step.kind, frame.facts.is_client) {
        (StepKind::Nop, _) => {
            return step.display.as_ref().map(|text| format!(" {}", cut(text, 77)));
        }
        // Commands go neither to the left nor to the right, but to another instance.
        (StepKind::SendCommand, _) => "[ Sent Command ]".to_owned(),
        (StepKind::RecvCommand, _) => "[ Received Command ]".to_owned(),
        (StepKind::Pause, _) => format!("[{:>9}]", cut(&step.name, 9)),
        (StepKind::Send { .. }, true) | (StepKind::Recv { .. }, false) => "---------->".to_owned(),
        (StepKind::Send { .. }, false) | (StepKind::Recv { .. }, true) => "<----------".to_owned(),
    };
    let name = match step.kind {
        StepKind::Pause => "Pause".to_owned(),
        StepKind::SendCommand | StepKind::RecvCommand => String::new(),
        _ => cut(&step.name, if frame.facts.is_client { 12 } else { 10 }),
    };
    // The side that starts the calls stands on the left.
    let way = match frame.facts.is_client {
        _ if name.is_empty() => format!("{arrow:>24}"),
        true => format!("{name:>12} {arrow}"),
        false => format!("  {arrow} {name}"),
    };
    let mark = match (step.rtd_starts.first(), step.rtd_stops.first()) {
        (Some(started), _) => format!("B-RTD{started}"),
        (None, Some(stopped)) => format!("E-RTD{stopped}"),
        (None, None) => String::new(),
    };
    let figure = |figure: u64| format!("{figure:<10}");
    let none = " ".repeat(10);
    let (retransmissions, timeouts, unexpected) = match step.kind {
        StepKind::Send { retransmits } => (
            figure(counts.retransmissions),
            if retransmits { figure(counts.timeouts) } else { none.clone() },
            // A message can come while a call waits for its own retransmissions.
            if counts.unexpected > 0 { figure(counts.unexpected) } else { none.clone() },
        ),
        StepKind::Recv { .. } => {
            (figure(counts.retransmissions), figure(counts.timeouts), figure(counts.unexpected))
        }
        StepKind::SendCommand | StepKind::RecvCommand => {
            // SIPp leaves these empty.
            let some = |count: u64| if count > 0 { figure(count) } else { none.clone() };
            (none.clone(), some(counts.timeouts), some(counts.unexpected))
        }
        _ => (none.clone(), none.clone(), figure(counts.unexpected)),
    };
    let lost = match step.kind {
        StepKind::Send { .. } | StepKind::Recv { .. } if counts.lost > 0 => figure(counts.lost),
        _ => none,
    };
    let messages = figure(counts.messages);
    let mark = cut(&mark, 7);
    let line = format!(
        "{way:<STEP_COLUMNS$}  {mark:<7}{messages}{retransmissions}{timeouts}{unexpected}{lost}"
    );
    Some(line.trim_end().to_owned())
}
