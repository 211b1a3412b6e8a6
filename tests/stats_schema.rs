//! `docs/summary.schema.json` describes what the program writes, whatever the run.
//!
//! The validator knows the keywords that the schema uses and refuses all others, so that the schema
//! cannot come to say something that nobody checks.

mod stats_fixture;

use gossipper::output::{Summary, SummaryContext};
use serde_json::{Map, Value};
use stats_fixture::Fixture;

/// Checks `value` against `schema`, a part of `root`; `at` names the place in errors.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or_else(|| format!("{at}: the schema is not an object"))?;
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "properties" => true,
            "$ref" => {
                let pointer = rule.as_str().and_then(|text| text.strip_prefix('#'));
                let target = pointer.and_then(|pointer| root.pointer(pointer));
                let target = target.ok_or_else(|| format!("{at}: {rule} leads nowhere"))?;
                validate(root, target, value, at)?;
                true
            }
            "type" => match rule.as_str() {
                Some("object") => value.is_object(),
                Some("array") => value.is_array(),
                Some("string") => value.is_string(),
                Some("boolean") => value.is_boolean(),
                Some("integer") => value.is_u64() || value.is_i64(),
                Some("number") => value.is_number(),
                _ => return Err(format!("{at}: unknown type {rule}")),
            },
            "const" => value == rule,
            "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "maximum" => value.as_f64() <= rule.as_f64(),
            "pattern" => matches(rule.as_str().unwrap_or(""), value.as_str().unwrap_or("")),
            "required" => {
                let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing: Vec<_> = names.filter(|name| value.get(name).is_none()).collect();
                if !missing.is_empty() {
                    return Err(format!("{at}: {missing:?} missing"));
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "additionalProperties" => true,
            _ => return Err(format!("{at}: the validator does not know {keyword:?}")),
        };
        if !holds {
            return Err(format!("{at}: {value} violates {keyword} {rule}"));
        }
    }
    match value.as_object() {
        Some(members) => validate_members(root, schema, members, at),
        None => Ok(()),
    }
}

fn validate_members(
    root: &Value,
    schema: &Map<String, Value>,
    members: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    for (name, member) in members {
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        match own.or(schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => return Err(format!("{at}: {name:?} is not described")),
            Some(rule) => validate(root, rule, member, &format!("{at}.{name}"))?,
            None => {}
        }
    }
    Ok(())
}

/// Whether `text` has the form of the only kind of pattern in use: literals, `[0-9]{n}`, `\.`.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
    let mut expected = String::new();
    let mut rest = pattern.as_str();
    while let Some((literal, after)) = rest.split_once("[0-9]{") {
        let (count, after) = after.split_once('}').expect("a closed repetition");
        expected.push_str(literal);
        expected.push_str(&"0".repeat(count.parse().expect("a count")));
        rest = after;
    }
    expected.push_str(rest);
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == expected
}

fn schema() -> Value {
    let text = include_str!("../docs/summary.schema.json");
    serde_json::from_str(text).expect("the schema is JSON")
}

fn check(summary: &Summary) -> Result<(), String> {
    let value = serde_json::from_str(&summary.to_json()).expect("the summary is JSON");
    validate(&schema(), &schema(), &value, "summary")
}

#[test]
fn every_kind_of_run_fits_the_schema() {
    for fixture in [Fixture::healthy(), Fixture::limited(), Fixture::empty()] {
        let summary = Summary::new(&fixture.snapshot(), &fixture.context());
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
fn a_summary_reads_back_as_it_was_written() {
    let fixture = Fixture::limited();
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    assert_eq!(serde_json::from_str::<Summary>(&summary.to_json()).unwrap(), summary);
}

#[test]
fn the_validator_notices_what_is_wrong() {
    let fixture = Fixture::healthy();
    let summary = Summary::new(&fixture.snapshot(), &fixture.context());
    let good = serde_json::to_value(&summary).unwrap();
    let broken = |change: fn(&mut Map<String, Value>)| {
        let mut value = good.clone();
        change(value.as_object_mut().unwrap());
        validate(&schema(), &schema(), &value, "summary").unwrap_err()
    };
    assert!(broken(|top| _ = top.remove("media")).contains("missing"));
    assert!(broken(|top| _ = top.insert("extra".into(), 1.into())).contains("not described"));
    assert!(broken(|top| _ = top.insert("duration".into(), 1.5.into())).contains("type"));
    assert!(broken(|top| _ = top.insert("success_ratio".into(), 2.into())).contains("maximum"));
    assert!(broken(|top| _ = top.insert("started_at".into(), "now".into())).contains("pattern"));
    assert!(broken(|top| _ = top["rtd"]["1"]["p99"].take()).contains("summary.rtd.1.p99"));
}
