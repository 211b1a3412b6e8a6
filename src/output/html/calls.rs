//! Calls on the page: over time, response times, and why calls failed.

use super::super::summary::{Bucket, Durations, Point, Summary};
use super::super::units;
use super::charts::{Bar, Curve, Span, TimeChart, bars};
use super::markup::Markup;

/// Most groups of failed calls in the table; the rest is summed up.
const FAILURES_SHOWN: usize = 20;

/// The spans of the points of a run.
pub(super) fn spans(points: &[Point]) -> Vec<Span> {
    let span = |point: &Point| {
        let begin = point.second as f64;
        Span { begin, end: begin + point.duration as f64 / 1e9 }
    };
    points.iter().map(span).collect()
}

/// The spans in which the generator was the limit.
pub(super) fn limited(points: &[Point], spans: &[Span]) -> Vec<Span> {
    let pairs = points.iter().zip(spans);
    pairs.filter(|(point, _)| point.verdict == "generator_limited").map(|(_, span)| *span).collect()
}

/// `count` of a point for each second of it.
pub(super) fn per_second(points: &[Point], count: fn(&Point) -> u64) -> Vec<Option<f64>> {
    let rate = |point: &Point| Some(count(point) as f64 * 1e9 / point.duration.max(1) as f64);
    points.iter().map(rate).collect()
}

/// Calls over time.
pub(super) fn section(out: &mut Markup, summary: &Summary) {
    out.raw("<section>").element("h2", "Calls").raw("<p>");
    out.text(format!(
        "{} started, {} succeeded, {} failed, {} open at the end, at most {} open at once; {} \
         messages sent again, {} timeouts.",
        units::count(summary.total_calls),
        units::count(summary.success_calls),
        units::count(summary.failed_calls),
        units::count(summary.active_calls),
        units::count(summary.peak_active_calls),
        units::count(summary.retransmits),
        units::count(summary.timeouts),
    ));
    out.raw("</p>");
    let points = summary.series.as_ref().map_or(&[][..], |series| &series.points);
    let spans = spans(points);
    let limited = limited(points, &spans);
    let mut rates = vec![
        Curve { name: "started", class: "a", values: per_second(points, |point| point.started) },
        Curve { name: "failed", class: "b", values: per_second(points, |point| point.failed) },
    ];
    if points.iter().any(|point| point.target_calls_per_second > 0.0) {
        let target = |point: &Point| {
            let target = point.target_calls_per_second;
            (target > 0.0).then_some(target)
        };
        let values = points.iter().map(target).collect();
        rates.push(Curve { name: "target", class: "d", values });
    }
    let open = points.iter().map(|point| Some(point.active as f64)).collect();
    let charts: [(&'static str, Vec<Curve>); 2] = [
        ("Calls per second", rates),
        ("Open calls", vec![Curve { name: "open", class: "a", values: open }]),
    ];
    for (title, curves) in charts {
        let chart =
            TimeChart { title, spans: &spans, curves: &curves, shaded: &limited, label: amount };
        chart.draw(out);
    }
    out.raw("</section>");
}

/// The calls of each rate, if there were several.
pub(super) fn rate_steps(out: &mut Markup, summary: &Summary) {
    let Some(rates) = &summary.rate_steps else { return };
    out.raw("<section>").element("h2", "Rates").raw("<p>");
    match rates.highest_clean_calls_per_second {
        Some(clean) => {
            out.text("Highest clean rate: ").element("b", units::rate(clean)).text(" calls/s.")
        }
        None => out.text("No rate was clean."),
    };
    out.raw(
        "</p><div class=\"wide\"><table class=\"long\"><tr><th class=\"n\">calls/s</th>\
         <th class=\"n\">achieved</th><th class=\"n\">started</th><th class=\"n\">failed</th>\
         <th class=\"n\">succeeded</th><th class=\"n\">p50</th><th class=\"n\">p99</th>\
         <th>result</th></tr>",
    );
    for step in &rates.steps {
        out.raw("<tr>");
        for figure in [
            units::rate(step.target_calls_per_second),
            units::rate(step.achieved_calls_per_second),
            units::count(step.started),
            units::count(step.failed),
            step.success_ratio.map_or("-".to_owned(), units::percent),
            units::duration(step.response_p50),
            units::duration(step.response_p99),
        ] {
            out.raw("<td class=\"n\">").text(figure).raw("</td>");
        }
        let class = if step.result == "clean" { "good" } else { "warn" };
        out.raw("<td class=\"").raw(class).raw("\">").text(step.result.replace('_', " "));
        out.raw("</td></tr>");
    }
    out.raw("</table></div></section>");
}

/// A number on an axis: as many digits as it needs.
pub(super) fn amount(value: f64) -> String {
    match value {
        value if value >= 10.0 || value.fract() == 0.0 => units::count(value.round() as u64),
        value => format!("{value:.1}"),
    }
}

/// A time on an axis, of nanoseconds.
pub(super) fn time(value: f64) -> String {
    units::duration(value.round() as u64)
}

/// Response times: over time, their distribution, and all durations.
pub(super) fn times(out: &mut Markup, summary: &Summary) {
    let rows = rows(summary);
    if rows.is_empty() {
        return;
    }
    out.raw("<section>").element("h2", "Response times");
    let points = summary.series.as_ref().map_or(&[][..], |series| &series.points);
    if points.iter().any(|point| point.response_p99 > 0) {
        let spans = spans(points);
        let of = |percentile: fn(&Point) -> u64| {
            // A second without an answer has no response time.
            let known = |point: &Point| Some(percentile(point) as f64).filter(|&time| time > 0.0);
            points.iter().map(known).collect()
        };
        let curves = [
            Curve { name: "p50", class: "a", values: of(|point| point.response_p50) },
            Curve { name: "p99", class: "c", values: of(|point| point.response_p99) },
        ];
        let shaded = limited(points, &spans);
        let title = "Response time";
        TimeChart { title, spans: &spans, curves: &curves, shaded: &shaded, label: time }.draw(out);
    }
    let responses = rows.iter().find(|(name, _)| name.ends_with(" response"));
    if let Some((_, durations)) = responses.or(rows.first()) {
        bars(out, "Distribution", &buckets(durations));
    }
    table(out, &rows);
    out.raw(
        "<p class=\"soft\">Service: from the first transmission. Response: from the planned \
             start of the call. Refused: to a final response that is not 2xx.</p></section>",
    );
}

/// All durations that were measured, with their names. Those of INVITE come first.
fn rows(summary: &Summary) -> Vec<(String, &Durations)> {
    let mut rows = Vec::new();
    let mut transactions: Vec<_> = summary.transactions.iter().collect();
    transactions.sort_by_key(|(name, _)| name.as_str() != "INVITE");
    for (name, transaction) in transactions {
        rows.push((format!("{name} service"), &transaction.service));
        rows.push((format!("{name} response"), &transaction.response));
        rows.extend(transaction.refused.iter().map(|refused| (format!("{name} refused"), refused)));
    }
    rows.extend(summary.rtd.iter().map(|(name, rtd)| (format!("timer {name}"), rtd)));
    rows.extend(summary.call_length.iter().map(|length| ("call length".to_owned(), length)));
    rows.retain(|(_, durations)| durations.count > 0);
    rows
}

/// The buckets from the first to the last one that is not empty.
fn buckets(durations: &Durations) -> Vec<Bar> {
    let is_used = |bucket: &Bucket| bucket.count > 0;
    let all = &durations.buckets;
    let first = all.iter().position(is_used).unwrap_or(0);
    let end = all.iter().rposition(is_used).map_or(0, |last| last + 1);
    let used = all.get(first..end).unwrap_or_default();
    let bar =
        |bucket: &Bucket| Bar { label: range(&bucket.label), count: bucket.count, class: "a" };
    used.iter().map(bar).collect()
}

/// The range of a bucket in words: `up to 10 ms` for `le_10ms`.
fn range(label: &str) -> String {
    let (words, bound) = match label.split_once('_') {
        Some(("le", bound)) => ("up to", bound),
        Some((_, bound)) => ("above", bound),
        None => ("", label),
    };
    format!("{words} {}", bound.replace("ms", " ms"))
}

fn table(out: &mut Markup, rows: &[(String, &Durations)]) {
    out.raw(
        "<div class=\"wide\"><table><tr><th>Durations</th><th class=\"n\">count</th>\
         <th class=\"n\">mean</th><th class=\"n\">p50</th><th class=\"n\">p90</th>\
         <th class=\"n\">p95</th><th class=\"n\">p99</th><th class=\"n\">p99.9</th>\
         <th class=\"n\">max</th></tr>",
    );
    for (name, durations) in rows {
        out.raw("<tr>").element("td", name);
        out.raw("<td class=\"n\">").text(units::count(durations.count)).raw("</td>");
        let Durations { average, p50, p90, p95, p99, p999, max, .. } = **durations;
        for duration in [average, p50, p90, p95, p99, p999, max] {
            out.raw("<td class=\"n\">").text(units::duration(duration)).raw("</td>");
        }
        out.raw("</tr>");
    }
    out.raw("</table></div>");
}

/// The causes of failure, and calls that were not started.
pub(super) fn failures(out: &mut Markup, summary: &Summary) {
    if summary.failures.is_empty() && summary.withheld.is_empty() {
        return;
    }
    let title = match summary.failures.is_empty() {
        true => "Planned calls that were not started",
        false => "Causes of failure",
    };
    out.raw("<section>").element("h2", title);
    if !summary.failures.is_empty() {
        out.raw(
            "<div class=\"wide\"><table class=\"long\"><tr><th class=\"n\">calls</th><th>share</th>\
             <th>cause</th><th>what happened</th><th>peer</th><th>first call</th></tr>",
        );
        for failure in summary.failures.iter().take(FAILURES_SHOWN) {
            out.raw("<tr><td class=\"n\">").text(units::count(failure.count)).raw("</td>");
            out.raw("<td class=\"n\">").text(units::percent(failure.share)).raw("</td>");
            out.element("td", failure.cause.replace('_', " ")).element("td", &failure.text);
            out.element("td", failure.peer.as_deref().unwrap_or("")).raw("<td>");
            if let (Some(call), Some(call_id)) = (failure.first_call, &failure.first_call_id) {
                out.text(call).raw(", ").element("code", call_id);
            }
            out.raw("</td></tr>");
        }
        out.raw("</table></div>");
        if summary.failures.len() > FAILURES_SHOWN {
            let rest = summary.failures.iter().skip(FAILURES_SHOWN);
            let calls: u64 = rest.map(|failure| failure.count).sum();
            out.element("p", format!("{} more failed calls in other groups.", units::count(calls)));
        }
    }
    if !summary.withheld.is_empty() {
        if !summary.failures.is_empty() {
            out.element("h3", "Planned calls that were not started");
        }
        counts(out, summary.withheld.iter());
    }
    out.raw("</section>");
}

/// Counts by cause.
pub(super) fn counts<'c>(out: &mut Markup, counts: impl Iterator<Item = (&'c String, &'c u64)>) {
    out.raw("<table class=\"facts\">");
    for (cause, count) in counts {
        out.raw("<tr>").element("th", cause.replace('_', " "));
        out.element("td", units::count(*count)).raw("</tr>");
    }
    out.raw("</table>");
}
