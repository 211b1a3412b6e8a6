//! The final report on the console: results, speed, failures, and the verdict on their validity.

use std::fmt::{self, Write};

use anstyle::Style;

use super::failures::{ended_with_run, first_call, share_and_peer, what, without_group};
use super::media;
use super::palette::{Palette, paint};
use super::rate_steps::RateTable;
use super::summary::MediaMode;
use super::units;
use super::verdict::verdict_sentences;
use crate::stats::{
    DurationSummary, FailureCause, Health, HeardVerdict, MediaMeasure, RATE_NS_MIN, Snapshot,
    Verdict,
};

/// Most groups of failed calls that are shown.
const FAILURE_GROUPS_SHOWN: usize = 8;

/// Most calls with bad media that are shown; the summary has all that are listed.
const WORST_CALLS_SHOWN: usize = 5;

/// Column at which details of a group begin.
const DETAIL_COLUMNS: usize = 6;

/// Column at which values begin.
const LABEL_COLUMNS: usize = 14;

/// Column at which prose is wrapped.
const TEXT_COLUMNS: usize = 96;

/// The final report. Its `Display` is the text.
#[derive(Clone, Copy, Debug)]
pub struct FinalTable<'a> {
    /// The state at the end.
    pub snapshot: &'a Snapshot,
    /// Result of the health gates.
    pub health: &'a Health,
    /// Name of the I/O driver.
    pub driver: &'a str,
    /// The way in which streams of media share sockets.
    pub media_mode: MediaMode,
    /// Advice for a second look at failed calls, if there is any.
    pub next_look: Option<&'a str>,
    /// Colours.
    pub palette: &'a Palette,
}

impl fmt::Display for FinalTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals(f)?;
        self.rate_steps(f)?;
        self.durations(f)?;
        self.failures(f)?;
        self.withheld(f)?;
        self.drops(f)?;
        self.media(f)?;
        self.generator(f)?;
        self.gates(f)?;
        self.verdict(f)
    }
}

impl FinalTable<'_> {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        let calls = &snapshot.calls;
        let failed_style = if calls.failed > 0 { palette.bad } else { Style::new() };
        let failed = format!("{} failed", units::count(calls.failed));
        let values = format!(
            "{} started, {} succeeded, {}, {} active ({} success)",
            units::count(calls.started),
            units::count(calls.succeeded),
            paint(failed_style, &failed),
            units::count(calls.active),
            units::percent(calls.success_ratio()),
        );
        self.line(f, "Calls", &values)?;
        self.line(f, "Rate", &self.rate())?;
        let values = format!(
            "{} elapsed, at most {} calls open at once",
            units::duration(snapshot.elapsed_ns),
            units::count(snapshot.peak_active)
        );
        self.line(f, "Time", &values)?;
        let counters = &snapshot.counters;
        let values = format!(
            "{} sent again, {} received again, {} timeouts, {} for no open call",
            units::count(counters.retransmissions_sent),
            units::count(counters.retransmissions_received),
            units::count(snapshot.timeouts()),
            units::count(counters.out_of_call_messages + counters.dead_call_messages),
        );
        self.line(f, "Messages", &values)
    }

    fn rate(&self) -> String {
        let Self { snapshot, .. } = self;
        if let Some(table) = self.rate_table() {
            return format!("{}, each in a row below", table.span());
        }
        let rate = &snapshot.rate;
        let overall = snapshot.known_calls_per_second().map(units::rate);
        if rate.target_average <= 0.0 {
            let known = overall.map(|overall| format!("{overall} calls/s"));
            return known.unwrap_or_else(|| "too few calls to tell".to_owned());
        }
        let overall = overall.filter(|_| rate.pacing_ns >= RATE_NS_MIN);
        let Some(overall) = overall else {
            return format!(
                "{} calls/s targeted, too few calls to tell",
                units::rate(rate.target_average)
            );
        };
        format!(
            "{} calls/s achieved of {} targeted, {overall} over the whole run",
            units::rate(rate.achieved),
            units::rate(rate.target_average),
        )
    }

    fn rate_table(&self) -> Option<RateTable<'_>> {
        RateTable::of(self.snapshot, self.health)
    }

    fn rate_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(table) = self.rate_table() else { return Ok(()) };
        writeln!(f, "\n{}", paint(self.palette.heading, &RateTable::heading()))?;
        for step in table.steps {
            table.row(f, step)?;
            writeln!(f)?;
        }
        let text = "calls count in the step in which they started; p50 and p99 are response times";
        writeln!(f, "{}", paint(self.palette.dim, text))?;
        self.line(f, "Clean rate", &table.clean_rate())?;
        table.first_bad().map_or(Ok(()), |text| self.prose(f, &text))
    }

    fn durations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        let layout = &snapshot.layout;
        let mut rows: Vec<(String, &DurationSummary)> = Vec::new();
        for (name, transaction) in layout.transactions.iter().zip(&snapshot.transactions) {
            rows.push((format!("{name} service"), &transaction.service));
            rows.push((format!("{name} response"), &transaction.response));
            rows.push((format!("{name} refused"), &transaction.refused));
        }
        for (name, rtd) in layout.rtds.iter().zip(&snapshot.rtds) {
            rows.push((format!("timer {name}"), rtd));
        }
        rows.push(("call length".to_owned(), &snapshot.call_length));
        rows.retain(|(_, summary)| summary.count > 0);
        if rows.is_empty() {
            return Ok(());
        }
        let names = rows.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0).clamp(LABEL_COLUMNS + 6, 32);
        let columns = ["count", "avg", "p50", "p90", "p95", "p99", "p99.9", "max"];
        let mut heading = format!("{:width$}", "Durations");
        for column in columns {
            write!(heading, " {column:>8}")?;
        }
        writeln!(f, "\n{}", paint(palette.heading, &heading))?;
        for (name, summary) in rows {
            write!(f, "{:width$} {:>8}", shortened(&name, width), units::count(summary.count))?;
            let &DurationSummary {
                average_ns,
                p50_ns,
                p90_ns,
                p95_ns,
                p99_ns,
                p999_ns,
                max_ns,
                ..
            } = summary;
            for duration_ns in [average_ns, p50_ns, p90_ns, p95_ns, p99_ns, p999_ns, max_ns] {
                write!(f, " {:>8}", units::duration(duration_ns))?;
            }
            writeln!(f)?;
        }
        if snapshot.transactions.iter().any(|transaction| transaction.response.count > 0) {
            let note = "service: from the first transmission; response: from the planned start";
            writeln!(f, "{}", paint(palette.dim, note))?;
        }
        if self.rate_table().is_some() {
            let note = "these durations cover all rates together; each rate has its own row above";
            writeln!(f, "{}", paint(palette.dim, note))?;
        }
        if snapshot.transactions.iter().any(|transaction| transaction.refused.count > 0) {
            let note = "refused: from the first transmission to a final response that is not 2xx";
            writeln!(f, "{}", paint(palette.dim, note))?;
        }
        Ok(())
    }

    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        if snapshot.calls.failed == 0 {
            return Ok(());
        }
        writeln!(f, "\n{}", paint(palette.heading, "Failures"))?;
        let causes = snapshot.counters.failures.nonzero();
        let width = causes.map(|(cause, _)| cause.label().len()).max().unwrap_or(0);
        let groups = &snapshot.failures.groups;
        for group in groups.iter().take(FAILURE_GROUPS_SHOWN) {
            self.failure(f, width, group.cause, group.count)?;
            wrapped(f, &what(group), width + 14, true)?;
            let about = share_and_peer(group, snapshot);
            let first = first_call(group, &snapshot.start);
            wrapped(f, &format!("{about}, {first}"), DETAIL_COLUMNS, false)?;
            // The Call-ID stays on one line of any length: people search for it.
            let call_id = group.first.call_id.shown();
            writeln!(f, "{:DETAIL_COLUMNS$}Call-ID {call_id}", "")?;
        }
        let mut rest = snapshot.failures.others;
        for group in groups.iter().skip(FAILURE_GROUPS_SHOWN) {
            rest.bump_by(group.cause, group.count);
        }
        let mut rest: Vec<_> = rest.nonzero().collect();
        rest.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (cause, count) in rest {
            self.failure(f, width, cause, count)?;
            wrapped(f, without_group(cause, snapshot), width + 14, true)?;
        }
        match ended_with_run(snapshot).or(self.next_look) {
            Some(advice) => wrapped(f, advice, 2, false),
            None => Ok(()),
        }
    }

    /// Begins the row of failed calls.
    fn failure(
        &self,
        f: &mut fmt::Formatter<'_>,
        width: usize,
        cause: FailureCause,
        count: u64,
    ) -> fmt::Result {
        let count = format!("{:>9}", units::count(count));
        write!(f, "  {:width$} {}  ", cause.label(), paint(self.palette.bad, &count))
    }

    fn withheld(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let withheld = self.snapshot.counters.withheld.nonzero();
        let rows = withheld.map(|(cause, n)| (cause.label(), cause.description(), n));
        let is_own_limit = self.snapshot.withheld_by_generator() == 0;
        let style = if is_own_limit { Style::new() } else { self.palette.warning };
        self.counts(f, "Withheld", style, rows)
    }

    fn drops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drops = self.snapshot.counters.drops.nonzero();
        let rows = drops.map(|(cause, n)| (cause.label(), cause.description(), n));
        self.counts(f, "Malformed messages received", self.palette.warning, rows)
    }

    /// Media, if there was any.
    fn media(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        let counted = &snapshot.counters.media;
        if !counted.is_used() {
            return Ok(());
        }
        writeln!(f, "\n{}", paint(palette.heading, "Media"))?;
        let heard = |verdict| counted.heard.count(verdict);
        let is_good =
            heard(HeardVerdict::TwoWay) + heard(HeardVerdict::NoMedia) == counted.legs_closed;
        let is_bad = counted.silent_calls > 0;
        let style = match (is_bad, is_good) {
            (true, _) => palette.bad,
            (false, true) => Style::new(),
            (false, false) => palette.warning,
        };
        self.line(f, "  calls", &paint(style, &media::heard(counted)))?;
        self.line(f, "  RTP", &media::packets(counted))?;
        let jitter = media::measured(snapshot, MediaMeasure::Jitter);
        let jitter = jitter.map(|jitter| format!("{jitter} of a stream"));
        let first = media::measured(snapshot, MediaMeasure::FirstAudio);
        let first = first.map(|first| format!("{first} after the answer"));
        let known = [
            ("  lost", media::loss(snapshot)),
            ("  cross-talk", media::crosstalk(counted)),
            ("  patterns", media::patterns(counted)),
            ("  jitter", jitter),
            ("  MOS", media::mos(snapshot)),
            ("  first audio", first),
            ("  reported", media::reported(snapshot)),
            ("  round trip", media::measured(snapshot, MediaMeasure::RoundTrip)),
            ("  DTLS", media::handshakes(snapshot)),
            ("  pacing", media::pacing(snapshot)),
            ("  batching", Some(media::batching(snapshot, self.media_mode))),
        ];
        for (label, values) in known {
            values.map_or(Ok(()), |values| self.line(f, label, &values))?;
        }
        let strays = counted.strays.nonzero().map(|(c, n)| (c.label(), c.description(), n));
        self.counts(f, "Media for no stream", palette.warning, strays)?;
        let faults = counted.faults.nonzero().map(|(c, n)| (c.label(), c.description(), n));
        let srtp = counted.srtp_faults.nonzero();
        let faults = faults.chain(srtp.map(|(c, n)| (c.label(), c.description(), n)));
        self.counts(f, "Malformed media received", palette.warning, faults)?;
        let failed = counted.handshake_faults.nonzero();
        let failed = failed.map(|(c, n)| (c.label(), c.description(), n));
        self.counts(f, "DTLS and ICE failed", palette.warning, failed)?;
        let failed = counted.relay_faults.nonzero();
        let failed = failed.map(|(c, n)| (c.label(), c.description(), n));
        self.counts(f, "Relay failures", palette.warning, failed)?;
        let delays = counted.delays.nonzero().map(|(c, n)| (c.label(), c.description(), n));
        self.counts(f, "RTP sent late", palette.warning, delays)?;
        let unsent = counted.unsent.nonzero().map(|(c, n)| (c.label(), c.description(), n));
        self.counts(f, "RTP not sent", palette.warning, unsent)?;
        self.worst_calls(f)
    }

    /// The calls with the worst media, if there are bad ones.
    fn worst_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        if snapshot.worst.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", paint(palette.heading, &media::worst_heading()))?;
        for call in snapshot.worst.iter().take(WORST_CALLS_SHOWN) {
            writeln!(f, "{}", media::worst(call))?;
            writeln!(f, "{:DETAIL_COLUMNS$}Call-ID {}", "", call.call_id.shown())?;
        }
        Ok(())
    }

    fn generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, driver, palette, .. } = self;
        let counters = &snapshot.counters;
        writeln!(f, "\n{}", paint(palette.heading, "Generator"))?;
        let workers = if snapshot.workers == 1 { "worker" } else { "workers" };
        let values = format!(
            "{driver}, {} {workers}, busy {:.0} % on average, {:.0} % at most",
            snapshot.workers,
            snapshot.busy.share_average * 100.0,
            snapshot.busy.share_max * 100.0,
        );
        self.line(f, "  driver", &values)?;
        let lateness = &snapshot.planned_send_error;
        if lateness.count > 0 {
            let values = format!(
                "call starts off by {} (p50), {} (p99), {} (max)",
                units::duration(lateness.p50_ns),
                units::duration(lateness.p99_ns),
                units::duration(lateness.max_ns),
            );
            self.line(f, "  lateness", &values)?;
        }
        let connections = counters.connections_opened + counters.connections_accepted;
        if connections > 0 {
            let values = format!(
                "{connections} opened, {} of them not usable, {} ended by the peer",
                counters.connections_failed, counters.connections_lost,
            );
            self.line(f, "  connections", &values)?;
            let values = format!(
                "{} out, {} in",
                units::count(counters.datagrams_sent),
                units::count(counters.datagrams_received),
            );
            return self.line(f, "  messages", &values);
        }
        let values = format!(
            "{} out in {} sends, {} in, {} dropped by the kernel",
            units::count(counters.datagrams_sent),
            units::count(counters.trains_sent),
            units::count(counters.datagrams_received),
            units::count(counters.receive_overflow),
        );
        self.line(f, "  datagrams", &values)
    }

    fn gates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { health, palette, .. } = self;
        if !health.active {
            return Ok(());
        }
        writeln!(f)?;
        if health.pass {
            return self.line(f, "Health", &paint(palette.good, "all gates hold"));
        }
        for (index, reason) in health.reasons.iter().enumerate() {
            let label = if index == 0 { "Health" } else { "" };
            self.line(f, label, &paint(palette.bad, reason))?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, palette, .. } = self;
        let verdict = snapshot.verdict.verdict();
        let style = match verdict {
            Verdict::NotJudged => palette.dim,
            Verdict::Ok => palette.good,
            Verdict::GeneratorLimited { .. } => palette.bad,
        };
        writeln!(f)?;
        self.line(f, "Verdict", &paint(style, verdict.label()))?;
        verdict_sentences(snapshot).iter().try_for_each(|sentence| self.prose(f, sentence))
    }

    /// A label and its values.
    fn line(&self, f: &mut fmt::Formatter<'_>, label: &str, values: &str) -> fmt::Result {
        let is_detail = label.starts_with(' ');
        let style = if is_detail { Style::new() } else { self.palette.heading };
        writeln!(f, "{} {values}", paint(style, &format!("{label:LABEL_COLUMNS$}")))
    }

    /// Wrapped text below a label.
    fn prose(&self, f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
        wrapped(f, text, LABEL_COLUMNS + 1, false)
    }

    /// Writes a section of counted causes; nothing if there is none.
    fn counts(
        &self,
        f: &mut fmt::Formatter<'_>,
        heading: &str,
        style: Style,
        rows: impl Iterator<Item = (&'static str, &'static str, u64)>,
    ) -> fmt::Result {
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", paint(self.palette.heading, heading))?;
        let width = rows.iter().map(|(label, ..)| label.len()).max().unwrap_or(0);
        for (label, description, count) in rows {
            let count = format!("{:>9}", units::count(count));
            write!(f, "  {label:width$} {}  ", paint(style, &count))?;
            wrapped(f, description, width + 14, true)?;
        }
        Ok(())
    }
}

/// `name`, cut to fit.
fn shortened(name: &str, columns: usize) -> String {
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    let kept: String = name.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}~")
}

/// Writes text broken at spaces, each line after `indent` columns. `is_indented`: the first line
/// already is.
fn wrapped(
    f: &mut fmt::Formatter<'_>,
    text: &str,
    indent: usize,
    is_indented: bool,
) -> fmt::Result {
    let mut column = if is_indented { indent } else { 0 };
    for word in text.split_whitespace() {
        let word_columns = word.chars().count();
        if column > indent && column + 1 + word_columns > TEXT_COLUMNS {
            writeln!(f)?;
            column = 0;
        }
        if column == 0 {
            write!(f, "{:indent$}", "")?;
            column = indent;
        } else if column > indent {
            f.write_char(' ')?;
            column += 1;
        }
        f.write_str(word)?;
        column += word_columns;
    }
    writeln!(f)
}
