//! `docs/summary.schema.json` describes the summary of every run.

use gossipper::output::{Summary, SummaryContext};
use serde_json::{Map, Value};

use crate::stats_fixture::Fixture;
use crate::summary_schema;

fn check(summary: &Summary) -> Result<(), String> {
    let value = serde_json::from_str(&summary.to_json()).expect("the summary is JSON");
    summary_schema::check(&value)
}

#[test]
fn every_kind_of_run_fits_the_schema() {
    let plain = [Fixture::healthy(), Fixture::limited(), Fixture::ramp(), Fixture::empty()];
    for fixture in plain.into_iter().chain([Fixture::media()]) {
        let summary = Summary::new(&fixture.snapshot(), &fixture.context());
        let summary = summary.with_series(fixture.history());
        check(&summary).unwrap();
        assert_eq!(
            summary.total_calls,
            summary.success_calls + summary.failed_calls + summary.active_calls
        );
    }
}

#[test]
fn a_summary_without_anything_fits_the_schema() {
    check(&Summary::new(&Fixture::empty().snapshot(), &SummaryContext::default())).unwrap();
}

#[test]
fn what_was_not_measured_is_null_and_a_run_without_media_says_nothing() {
    let plain = Fixture::healthy();
    let media = Summary::new(&plain.snapshot(), &plain.context()).media;
    let keys = serde_json::to_value(&media).unwrap();
    assert_eq!(keys.as_object().unwrap().len(), 6, "{keys}");
    let mut unmeasured = plain.snapshot();
    unmeasured.counters.media.legs_opened = 1;
    let summary = Summary::new(&unmeasured, &plain.context());
    check(&summary).unwrap();
    let value = serde_json::to_value(&summary.media).unwrap();
    for key in ["mos_estimated", "jitter", "loss_ratio", "first_audio", "rtp_send_error"] {
        assert_eq!(value.get(key), Some(&Value::Null), "{key}");
    }
}

#[test]
fn a_summary_reads_back_as_it_was_written() {
    for fixture in [Fixture::limited(), Fixture::ramp(), Fixture::media()] {
        let summary = Summary::new(&fixture.snapshot(), &fixture.context());
        let summary = summary.with_series(fixture.history());
        assert_eq!(serde_json::from_str::<Summary>(&summary.to_json()).unwrap(), summary);
    }
}

#[test]
fn the_validator_notices_what_is_wrong() {
    let fixture = Fixture::healthy();
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    let good = serde_json::to_value(&summary).unwrap();
    let broken = |change: fn(&mut Map<String, Value>)| {
        let mut value = good.clone();
        change(value.as_object_mut().unwrap());
        summary_schema::check(&value).unwrap_err()
    };
    assert!(broken(|top| _ = top.remove("media")).contains("missing"));
    assert!(broken(|top| _ = top.insert("extra".into(), 1.into())).contains("not described"));
    assert!(broken(|top| _ = top.insert("duration".into(), 1.5.into())).contains("type"));
    assert!(broken(|top| _ = top.insert("success_ratio".into(), 2.into())).contains("maximum"));
    assert!(broken(|top| _ = top.insert("started_at".into(), "now".into())).contains("pattern"));
    assert!(broken(|top| _ = top["rtd"]["1"]["p99"].take()).contains("summary.rtd.1.p99"));
}
