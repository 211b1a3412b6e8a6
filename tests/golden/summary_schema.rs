//! Checks JSON against the published schemas: `docs/summary.schema.json` and
//! `docs/call-record.schema.json`.
//!
//! The validator knows the keywords that the schema uses and refuses all others, so that the schema
//! cannot come to have a rule that is not checked.

use serde_json::{Map, Value};

/// Checks a summary; the error names the part that the schema forbids.
pub(crate) fn check(summary: &Value) -> Result<(), String> {
    let text = include_str!("../../docs/summary.schema.json");
    let schema = serde_json::from_str(text).expect("the schema is JSON");
    validate(&schema, &schema, summary, "summary")
}

/// Checks a call record; the error names the part that the schema forbids.
pub(crate) fn check_call_record(record: &Value) -> Result<(), String> {
    let text = include_str!("../../docs/call-record.schema.json");
    let schema = serde_json::from_str(text).expect("the schema is JSON");
    validate(&schema, &schema, record, "record")
}

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
                Some("null") => value.is_null(),
                _ => return Err(format!("{at}: unknown type {rule}")),
            },
            "anyOf" => {
                let choices = rule.as_array().into_iter().flatten();
                let results = choices.map(|choice| validate(root, choice, value, at));
                let results: Vec<Result<(), String>> = results.collect();
                if results.iter().all(Result::is_err) {
                    return results.into_iter().next().unwrap_or(Ok(()));
                }
                true
            }
            "const" => value == rule,
            "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            "maxItems" => value.as_array().map(Vec::len) <= rule.as_u64().map(|most| most as usize),
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

/// Tells whether `text` has the form of the only kind of pattern in use: literals, `[0-9]{n}`,
/// `\.`.
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
