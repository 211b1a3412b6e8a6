//! Printed and written output about a run, byte for byte.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden summary` writes the expected files anew; the
//! difference is then for the reviewer to judge.

use std::path::Path;

use gossipper::output::{ConsoleLine, FinalTable, LiveStatus, Palette, StatusMode, Summary};

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

#[test]
fn a_summary_is_written_whole() {
    let fixture = Fixture::healthy();
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    let path = std::env::temp_dir().join(format!("gossipper-summary-{}", std::process::id()));
    summary.write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), summary.to_json());
    std::fs::remove_file(&path).unwrap();
}
