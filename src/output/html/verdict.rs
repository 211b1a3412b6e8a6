//! The verdict of a run, the figures behind it, and the findings: the part that all readers read.

use super::super::summary::{Streams, Summary};
use super::super::units;
use super::markup::Markup;

/// The outcome of a run in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Passed,
    Failed,
    /// Nothing was tested, or the run ended before anything was.
    Unknown,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The class that gives its colour.
    fn class(self) -> &'static str {
        match self {
            Self::Passed => "good",
            Self::Failed => "bad",
            Self::Unknown => "warn",
        }
    }
}

/// The outcome, and the reasons for it. Errors come first, then the gates, then failed calls: the
/// order in which they decide the exit code.
fn outcome(summary: &Summary) -> (Word, Vec<String>) {
    if let Some(error) = summary.run.as_ref().and_then(|run| run.error.clone()) {
        return (Word::Failed, vec![error]);
    }
    let code = summary.run.as_ref().map_or(0, |run| run.exit_code);
    match &summary.health {
        Some(health) if !health.pass => return (Word::Failed, health.reasons.clone()),
        Some(_) if code == 0 => {
            return (Word::Passed, vec!["All health gates hold.".to_owned()]);
        }
        _ => {}
    }
    let reason = match code {
        0 if summary.total_calls == 0 => {
            return (Word::Unknown, vec!["No call was started.".to_owned()]);
        }
        0 if summary.success_calls == 0 => {
            return (Word::Unknown, vec!["No call came to its end.".to_owned()]);
        }
        0 => return (Word::Passed, vec!["No call failed. No health gate is set.".to_owned()]),
        1 => format!(
            "{} of {} calls failed. No health gate is set.",
            units::count(summary.failed_calls),
            units::count(summary.total_calls)
        ),
        3 => "The generator was the limit (-fail_if_limited).".to_owned(),
        97 => {
            let reason = "The run was stopped before any call came to its end.".to_owned();
            return (Word::Unknown, vec![reason]);
        }
        253 => "A check of received RTP failed.".to_owned(),
        code => format!("The run ended with exit code {code}."),
    };
    (Word::Failed, vec![reason])
}

/// Verdict, figures and findings.
pub(super) fn section(out: &mut Markup, summary: &Summary) {
    let (word, reasons) = outcome(summary);
    out.raw("<section><div class=\"verdict ").raw(word.class()).raw("\">");
    out.element("strong", word.text()).raw("<ul>");
    for reason in reasons {
        out.element("li", reason);
    }
    out.raw("</ul>");
    if let Some(run) = &summary.run {
        out.raw("<p class=\"soft\">Exit code ").text(run.exit_code).raw("</p>");
    }
    out.raw("</div>");
    let is_limited = summary.generator.verdict == "generator_limited";
    if is_limited {
        out.raw("<div class=\"verdict warn\"><strong>THE GENERATOR WAS THE LIMIT</strong><ul>");
        for reason in &summary.generator.reasons {
            out.element("li", reason);
        }
        out.raw("</ul></div>");
    }
    cards(out, summary);
    // What the generator says of itself stands above.
    let is_said = |finding: &&String| is_limited && summary.generator.reasons.contains(finding);
    let mut findings = summary.findings.iter().filter(|finding| !is_said(finding)).peekable();
    if findings.peek().is_some() {
        out.element("h3", "Findings").raw("<ul>");
        findings.for_each(|finding| {
            out.element("li", finding);
        });
        out.raw("</ul>");
    }
    out.raw("</section>");
}

/// The main figures. Those that were not measured are left out.
fn cards(out: &mut Markup, summary: &Summary) {
    out.raw("<div class=\"cards\">");
    card(out, "", &units::count(summary.total_calls), "calls");
    let class = if summary.failed_calls > 0 { " bad" } else { "" };
    card(out, class, &units::count(summary.failed_calls), "failed");
    card(out, "", &units::percent(summary.success_ratio), "succeeded");
    let achieved = summary.achieved_calls_per_second;
    if achieved > 0.0 {
        let target = units::rate(summary.target_calls_per_second);
        let what = format!("calls/s of {target} targeted");
        card(out, "", &units::rate(achieved), &what);
    } else {
        card(out, "", &units::rate(summary.calls_per_second), "calls/s");
    }
    if let Some(rtt) = &summary.invite_rtt {
        card(out, "", &units::duration(rtt.p99), "INVITE to 2xx, p99");
    }
    if let Some(streams) = &summary.media.streams {
        media_cards(out, streams);
    }
    out.raw("</div>");
}

fn media_cards(out: &mut Markup, streams: &Streams) {
    let two_way = streams.heard.get("two_way").copied().unwrap_or(0);
    if streams.calls_ended > 0 {
        let share = two_way as f64 / streams.calls_ended as f64;
        let class = match (streams.silent_calls, two_way == streams.calls_ended) {
            (1.., _) => " bad",
            (0, false) => " warn",
            (0, true) => "",
        };
        card(out, class, &units::percent(share), "of calls heard both ways");
    }
    if let Some(loss) = streams.loss_ratio {
        card(out, "", &units::percent(loss), "of RTP lost");
    }
    if let Some(mos) = &streams.mos_estimated {
        let what = format!("estimated MOS, worst {:.2}", mos.min);
        card(out, "", &format!("{:.2}", mos.average), &what);
    }
}

fn card(out: &mut Markup, class: &'static str, figure: &str, what: &str) {
    out.raw("<div class=\"card").raw(class).raw("\">").element("b", figure);
    out.element("span", what).raw("</div>");
}

#[cfg(test)]
mod tests {
    use super::super::super::summary::{About, HealthSection};
    use super::*;

    fn ended(exit_code: u8) -> Summary {
        Summary {
            total_calls: 10,
            success_calls: 9,
            failed_calls: 1,
            run: Some(About { exit_code, ..About::default() }),
            ..Summary::default()
        }
    }

    #[test]
    fn the_word_follows_from_what_decides_the_exit_code() {
        let gates = |pass, summary| {
            let reasons = vec!["1 call was silent, 0 are allowed".to_owned()];
            let health = Some(HealthSection { active: true, pass, reasons });
            outcome(&Summary { health, ..summary })
        };
        assert_eq!(gates(true, ended(0)).0, Word::Passed);
        let (word, reasons) = gates(false, ended(2));
        assert_eq!((word, reasons[0].contains("silent")), (Word::Failed, true));
        // The gates hold, and the run failed for another reason.
        assert_eq!(gates(true, ended(3)).0, Word::Failed);
        assert_eq!(gates(true, ended(253)).0, Word::Failed);
        let (word, reasons) = outcome(&ended(1));
        assert_eq!((word, reasons[0].starts_with("1 of 10 calls")), (Word::Failed, true));
        let fine = Summary { success_calls: 10, failed_calls: 0, ..ended(0) };
        assert_eq!(outcome(&fine).0, Word::Passed);
        for nothing in [
            Summary { total_calls: 0, success_calls: 0, ..ended(0) },
            Summary { success_calls: 0, ..ended(0) },
            ended(97),
        ] {
            assert_eq!(outcome(&nothing).0, Word::Unknown);
        }
        let error = Some("the socket is gone".to_owned());
        let broken = Summary { run: Some(About { error, ..About::default() }), ..ended(0) };
        assert_eq!(outcome(&broken), (Word::Failed, vec!["the socket is gone".to_owned()]));
    }
}
