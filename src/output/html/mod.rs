//! The report of a run as one HTML page (`-summary_html`): for a person, where `summary.json` is
//! for a program. Both are made from the same [`Summary`].
//!
//! The page loads nothing, needs no script, and prints.

mod calls;
mod charts;
mod markup;
mod media;
mod verdict;

use std::path::Path;

use super::atomic_file::{WriteFileError, write_file};
use super::summary::{About, Generator, Summary};
use super::units;
use markup::Markup;

/// The part of the page before its title. The policy makes browsers hold to what is said above,
/// even if a text should get through as markup.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
    style-src 'unsafe-inline'\"><title>";

/// The page about a run.
pub fn page(summary: &Summary) -> String {
    let mut out = Markup::default();
    out.raw(HEAD).text(title(summary)).raw("</title><style>\n").raw(include_str!("style.css"));
    out.raw("</style></head><body><header>").element("h1", title(summary));
    out.raw("<p class=\"soft\">").text(moment(&summary.started_at)).raw(" to ");
    out.text(moment(&summary.finished_at)).raw(" UTC, ").text(units::duration(summary.duration));
    out.raw("</p></header><main>");
    verdict::section(&mut out, summary);
    about(&mut out, summary);
    calls::section(&mut out, summary);
    calls::rate_steps(&mut out, summary);
    calls::times(&mut out, summary);
    calls::failures(&mut out, summary);
    if let Some(streams) = &summary.media.streams {
        media::section(&mut out, summary, streams);
        media::worst_calls(&mut out, streams);
    }
    generator(&mut out, &summary.generator);
    out.raw("</main><footer><p class=\"soft\">Gossipper ").text(&summary.tool_version);
    out.raw(". Percentiles are exact to one part in a thousand.</p></footer></body></html>\n");
    out.into_string()
}

/// Writes the page to a file, which is then complete or absent.
///
/// # Errors
/// The step at which that failed.
pub fn write_page(path: &Path, summary: &Summary) -> Result<(), WriteFileError> {
    write_file(path, |file| file.write_all(page(summary).as_bytes()))
}

fn title(summary: &Summary) -> String {
    let scenarios = summary.run.as_ref().map(|run| run.scenarios.join(", ")).unwrap_or_default();
    match scenarios.is_empty() {
        true => "Gossipper run".to_owned(),
        false => format!("Gossipper run of {scenarios}"),
    }
}

/// A time in RFC 3339 to the second.
fn moment(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// The things that ran.
fn about(out: &mut Markup, summary: &Summary) {
    let generator = &summary.generator;
    let workers = if generator.workers == 1 { "worker" } else { "workers" };
    let mut facts = Vec::new();
    if let Some(About { command, scenarios, host, system, cpus, .. }) = &summary.run {
        facts.extend(command.clone().map(|command| ("Command", command)));
        facts.push(("Scenarios", scenarios.join(", ")));
        facts.push(("Host", format!("{host}, {system}, {cpus} CPUs")));
    }
    facts.push(("Program", format!("Gossipper {}", summary.tool_version)));
    facts.push((
        "Transport",
        format!("{} by {}, {} {workers}", generator.transport, generator.driver, generator.workers),
    ));
    out.raw("<section>").element("h2", "What ran").raw("<table class=\"facts\">");
    for (name, fact) in facts {
        out.raw("<tr>").element("th", name).raw("<td>");
        match name {
            "Command" => out.element("code", fact),
            _ => out.text(fact),
        };
        out.raw("</td></tr>");
    }
    out.raw("</table></section>");
}

/// The generator's judgement of itself.
fn generator(out: &mut Markup, generator: &Generator) {
    out.raw("<section>").element("h2", "Generator").raw("<table class=\"facts\">");
    let busy = format!(
        "{} on average, {} in the busiest second",
        units::percent(generator.busy_share_avg),
        units::percent(generator.busy_share_max),
    );
    let mut facts = vec![("Verdict", generator.verdict.replace('_', " ")), ("Busy", busy)];
    if generator.planned_send_error.count > 0 {
        let error = &generator.planned_send_error;
        let text = format!(
            "call starts off by {} (p50), {} (p99), {} (max)",
            units::duration(error.p50),
            units::duration(error.p99),
            units::duration(error.max),
        );
        facts.push(("Lateness", text));
    }
    let lost = generator.receive_overflow + generator.send_no_buffer + generator.handover_dropped;
    if lost > 0 {
        facts.push(("Lost on this host", format!("{} messages", units::count(lost))));
    }
    for (name, fact) in facts {
        out.raw("<tr>").element("th", name).element("td", fact).raw("</tr>");
    }
    out.raw("</table><ul>");
    for reason in &generator.reasons {
        out.element("li", reason);
    }
    out.raw("</ul></section>");
}
