//! The doctor's report: text for people, JSON for programs. Pure.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::checks::{Finding, Level, Load, thousands, worst};
use super::facts::Facts;

/// Name and version of the form of the JSON report.
pub const SCHEMA: &str = "gossipper_doctor_v1";

/// Column at which texts begin.
const COLUMN: usize = 8;
/// Columns of a page.
const COLUMNS: usize = 100;

#[derive(Serialize)]
struct Report<'a> {
    schema_version: &'static str,
    tool_version: &'static str,
    verdict: Level,
    load: Load,
    checks: &'a [Finding],
    facts: &'a Facts,
}

/// The report as JSON: verdict, load, one object for each check, and the facts behind them.
pub(super) fn json(facts: &Facts, load: Load, findings: &[Finding]) -> String {
    let report = Report {
        schema_version: SCHEMA,
        tool_version: env!("CARGO_PKG_VERSION"),
        verdict: worst(findings),
        load,
        checks: findings,
        facts,
    };
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

/// The report as text.
pub(super) fn text(load: Load, findings: &[Finding], color: bool) -> String {
    let mut page = format!(
        "This host, for {} calls/s and {} open calls (other figures: -r and -l):\n\n",
        load.rate,
        thousands(load.calls)
    );
    for finding in findings {
        let style = match finding.level {
            Level::Ok => AnsiColor::Green.on_default(),
            Level::Warn => AnsiColor::Yellow.on_default().bold(),
            Level::Fail => AnsiColor::Red.on_default().bold(),
        };
        let word = finding.level.word();
        let word = painted(&format!("  {word:<width$}", width = COLUMN - 2), style, color);
        let head = format!("{}: {}", finding.title, finding.found);
        page.push_str(&word);
        page.push_str(indented(&head).trim_start());
        page.push_str(&indented(&finding.means));
        if let Some(fix) = &finding.fix {
            // The command stays on one line of any length, so that it can be copied.
            page.push_str(&format!("{:COLUMN$}fix: {fix}\n", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
    let verdict = match worst(findings) {
        Level::Ok => "This host can make the load.",
        Level::Warn => "This host can make the load; read the warnings.",
        Level::Fail => "This host cannot make the load as it is; read what failed.",
    };
    page.push_str(&format!(
        "\n{failures} failed, {warnings} {}. {verdict}\n",
        if warnings == 1 { "warning" } else { "warnings" },
    ));
    page
}

fn painted(text: &str, style: Style, color: bool) -> String {
    if color { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// `text` wrapped to a page, each line beginning at the column of texts.
fn indented(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && COLUMN + line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push_str(&format!("{:COLUMN$}{line}\n", ""));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&format!("{:COLUMN$}{line}\n", ""));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::checks::evaluate;
    use super::*;

    const LOAD: Load = Load { rate: 1_000.0, calls: 10_000 };

    fn laptop() -> Facts {
        serde_json::from_str(include_str!("recorded/laptop.json")).expect("facts")
    }

    #[test]
    fn the_text_names_each_finding_and_ends_with_a_verdict() {
        let findings = evaluate(&laptop(), LOAD);
        let page = text(LOAD, &findings, false);
        for finding in &findings {
            assert!(page.contains(&format!("{}: ", finding.title)), "{page}");
        }
        assert!(page.contains("  WARN  receive buffer: net.core.rmem_max = 212992\n"), "{page}");
        assert!(page.contains("\n        fix: gossipper tune --apply\n"), "{page}");
        let end = "\n0 failed, 5 warnings. This host can make the load; read the warnings.\n";
        assert!(page.ends_with(end), "{page}");
        assert!(!page.contains('\u{1b}') && text(LOAD, &findings, true).contains('\u{1b}'));
        assert!(page.lines().all(|line| line.chars().count() <= COLUMNS || line.contains("fix:")));
    }

    #[test]
    fn the_json_holds_facts_that_can_be_judged_again() {
        let facts = laptop();
        let findings = evaluate(&facts, LOAD);
        let report: serde_json::Value =
            serde_json::from_str(&json(&facts, LOAD, &findings)).expect("JSON");
        assert_eq!(report["schema_version"], SCHEMA);
        assert_eq!(report["verdict"], "warn");
        assert_eq!(report["checks"][0]["level"], "warn");
        assert_eq!(report["load"]["calls"], 10_000);
        let again: Facts = serde_json::from_value(report["facts"].clone()).expect("facts");
        assert_eq!(again, facts);
    }
}
