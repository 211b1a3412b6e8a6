//! Printed and written output about a run, byte for byte.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden summary` writes the expected files anew; the
//! difference is then for the reviewer to judge.

use std::path::Path;

use gossipper::output::summary::About;
use gossipper::output::{
    ConsoleLine, FinalTable, LiveStatus, Palette, StatusMode, Summary, page, write_page,
};

use crate::stats_fixture::Fixture;

fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(actual, expected, "{name}");
}

fn table(fixture: &Fixture, palette: &Palette) -> String {
    let (snapshot, context) = (fixture.snapshot(), fixture.context());
    let (health, driver) = (&context.health, context.driver.as_str());
    let media_mode = context.media_mode;
    FinalTable { snapshot: &snapshot, health, driver, media_mode, next_look: None, palette }
        .to_string()
}

fn line(fixture: &Fixture, engine: Option<&str>) -> String {
    let snapshot = fixture.snapshot();
    ConsoleLine { snapshot: &snapshot, engine }.to_string()
}

fn status(fixture: &Fixture, mode: StatusMode, palette: Palette, updates: usize) -> String {
    let mut out = Vec::new();
    let mut status = LiveStatus::new(&mut out, mode, palette, Some(4000));
    for _ in 0..updates {
        status.update(&fixture.snapshot()).unwrap();
    }
    status.clear().unwrap();
    String::from_utf8(out).unwrap()
}

/// `text` without colour sequences.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn the_summary_file() {
    for (name, fixture) in [
        ("summary.json", Fixture::healthy()),
        ("summary_limited.json", Fixture::limited()),
        ("summary_ramp.json", Fixture::ramp()),
        ("summary_empty.json", Fixture::empty()),
        ("summary_media.json", Fixture::media()),
    ] {
        let mut summary = Summary::new(&fixture.snapshot(), &fixture.context());
        if summary.rate_steps.is_some() || summary.media.streams.is_some() {
            summary = summary.with_series(fixture.history());
        }
        assert_eq!(summary.tool_version, env!("CARGO_PKG_VERSION"));
        // Values that change with every release or counter are not the subject of the golden file.
        summary.tool_version = "0.0.0".into();
        summary.engine_counters.retain(|_, count| *count > 0);
        assert_golden(name, &summary.to_json());
    }
}

#[test]
fn the_final_table() {
    let plain = Palette::plain();
    assert_golden("summary_table.txt", &table(&Fixture::healthy(), &plain));
    assert_golden("summary_table_limited.txt", &table(&Fixture::limited(), &plain));
    assert_golden("summary_table_ramp.txt", &table(&Fixture::ramp(), &plain));
    assert_golden("summary_table_empty.txt", &table(&Fixture::empty(), &plain));
    assert_golden("summary_table_media.txt", &table(&Fixture::media(), &plain));
}

#[test]
fn the_final_table_fits_a_terminal() {
    let plain = [Fixture::healthy(), Fixture::limited(), Fixture::ramp(), Fixture::empty()];
    for fixture in plain.into_iter().chain([Fixture::media()]) {
        for line in table(&fixture, &Palette::plain()).lines() {
            assert!(line.chars().count() <= 100, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    for fixture in [Fixture::healthy(), Fixture::limited(), Fixture::empty()] {
        let colored = table(&fixture, &Palette::colored());
        let plain = table(&fixture, &Palette::plain());
        assert_ne!(colored, plain);
        assert_eq!(without_colours(&colored), plain);
        assert!(!plain.contains('\u{1b}'));
    }
}

#[test]
fn the_console_line() {
    let lines = [
        line(&Fixture::healthy(), None),
        line(&Fixture::limited(), Some("uac-1")),
        line(&Fixture::empty(), None),
        line(&Fixture::media(), None),
    ];
    assert_golden("summary_line.txt", &(lines.join("\n") + "\n"));
}

#[test]
fn the_status_line() {
    let lines = [
        status(&Fixture::healthy(), StatusMode::Lines, Palette::plain(), 1),
        status(&Fixture::limited(), StatusMode::Lines, Palette::plain(), 1),
        status(&Fixture::empty(), StatusMode::Lines, Palette::plain(), 1),
        status(&Fixture::media(), StatusMode::Lines, Palette::plain(), 1),
    ];
    assert_golden("summary_status.txt", &lines.concat());
}

#[test]
fn the_status_line_is_rewritten_within_the_terminal() {
    for columns in [0, 1, 20, 60, 120] {
        let text =
            status(&Fixture::limited(), StatusMode::Rewrite { columns }, Palette::colored(), 3);
        assert!(!text.contains('\n'));
        for line in without_colours(&text).split('\r') {
            assert!(line.chars().count() < columns.max(1), "{line:?} in {columns}");
        }
        assert!(text.ends_with('\r') || columns <= 1);
    }
}

fn page_of(fixture: &Fixture) -> String {
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    let about = About {
        exit_code: 2,
        command: Some("gossipper -key a '<img src=x>' 192.0.2.1".to_owned()),
        scenarios: vec!["</title><script>alert(1)</script>".to_owned()],
        host: "host\u{202e}\u{7}".to_owned(),
        ..About::default()
    };
    page(&summary.with_series(fixture.history()).with_run(about))
}

/// Fails unless each element that is opened is closed, in order.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 4] = ["meta", "rect", "path", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{tag} has no end"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "behind {open:?}");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn the_page_is_whole_by_itself_and_no_text_becomes_markup() {
    for fixture in [Fixture::healthy(), Fixture::limited(), Fixture::ramp(), Fixture::empty()]
        .into_iter()
        .chain([Fixture::media()])
    {
        let page = page_of(&fixture);
        assert_well_formed(&page);
        for banned in
            ["<script", "<img", "<b>&", "\u{202e}", "\u{7}", " src=\"", " href=\"", "url("]
        {
            assert!(!page.contains(banned), "{banned}");
        }
        assert!(page.contains("&lt;img src=x&gt;") && page.contains("&lt;script&gt;"), "{page}");
    }
}

#[test]
fn the_page_has_the_verdict_first_and_the_worst_calls_with_the_worst_first() {
    let page = page_of(&Fixture::media());
    let order = [
        "<h1>",
        "FAILED",
        "1 call was silent, 0 are allowed",
        "Findings",
        "What ran",
        "Calls per second",
        "Ended calls by who heard whom",
        "Streams by estimated MOS",
        "RTP packets per second",
        "4.0 packets per send call",
        "Worst calls",
        "3-&lt;b&gt;&amp;amp;@192.0.2.1",
        "5-&lt;b&gt;&amp;amp;@192.0.2.1",
        "7-&lt;b&gt;&amp;amp;@192.0.2.1",
        "Generator",
    ];
    let mut rest = page.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not behind the others"));
        rest = &rest[at..];
    }
    // The gates decide about a run that has some, and nobody knows of one without a call.
    assert!(page_of(&Fixture::limited()).contains("THE GENERATOR WAS THE LIMIT"));
    assert!(page_of(&Fixture::healthy()).contains("Causes of failure"));
    assert!(page_of(&Fixture::ramp()).contains("Highest clean rate: <b>200.0</b>"));
    let empty = page_of(&Fixture::empty());
    assert!(!empty.contains("PASSED") && !empty.contains("Worst calls"), "{empty}");
}

#[test]
fn a_summary_is_written_whole() {
    let fixture = Fixture::healthy();
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    let path = std::env::temp_dir().join(format!("gossipper-summary-{}", std::process::id()));
    summary.write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), summary.to_json());
    write_page(&path, &summary).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page(&summary));
    std::fs::remove_file(&path).unwrap();
}
