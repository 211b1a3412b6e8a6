//! The tables of keys in the documentation, made from the schema.

use serde_json::Value;

use super::schema::{key_schema, profile_schema, schema};
use crate::options::{self, Status};

/// All keys, as tables in Markdown.
pub fn keys_markdown() -> String {
    let mut text = String::new();
    let own = |key: &str| key_schema(key).is_none() || key == "server";
    section(&mut text, "Top of the file", &schema()["properties"], own);
    let is_process = |key: &str| key_schema(key).is_some_and(|rules| rules["x-process"] == true);
    section(&mut text, "An engine", &profile_schema()["properties"], |key| !is_process(key));
    section(&mut text, "The process", &profile_schema()["properties"], is_process);
    let definitions = &schema()["$defs"];
    section(&mut text, "`auth`", &definitions["AuthKeys"]["properties"], |_| true);
    let entry = &definitions["TargetKeys"]["properties"];
    section(&mut text, "An entry of `targets`", entry, |_| true);
    section(
        &mut text,
        "An entry of `listeners`",
        &definitions["ListenerKeys"]["properties"],
        |_| true,
    );
    text
}

fn section(text: &mut String, title: &str, properties: &Value, is_here: impl Fn(&str) -> bool) {
    text.push_str(&format!(
        "\n### {title}\n\n| Key | Type | Default | Option | Meaning |\n|---|---|---|---|---|\n"
    ));
    for (key, rules) in properties.as_object().into_iter().flatten() {
        if is_here(key) {
            text.push_str(&row(key, rules));
        }
    }
}

fn row(key: &str, rules: &Value) -> String {
    let flag = rules["x-flag"].as_str().and_then(options::find);
    let missing = match (rules["x-missing"].as_str(), flag.map(|flag| flag.resolved().status)) {
        (Some(missing), _) | (None, Some(Status::Later(missing))) => {
            format!("Not yet: {missing}. ")
        }
        _ => String::new(),
    };
    let default = match (&rules["default"], rules["x-default"].as_str()) {
        (Value::Null, default) => default.unwrap_or_default().to_owned(),
        (default, _) => default.to_string(),
    };
    let option = flag.map_or(String::new(), |flag| format!("`-{}`", flag.name));
    let meaning = rules["description"].as_str().unwrap_or_default().replace('\n', " ");
    format!(
        "| `{key}` | {} | {} | {option} | {missing}{} |\n",
        kind(rules),
        cell(&default),
        cell(&meaning)
    )
}

/// The type in words, with its range.
fn kind(rules: &Value) -> String {
    if rules["x-path"].is_string() {
        return "path".to_owned();
    }
    if let Some(name) = rules["$ref"].as_str() {
        let definition = &schema()["$defs"][name.trim_start_matches("#/$defs/")];
        return kind(definition);
    }
    let words = |choices: &Value, of: fn(&Value) -> &Value| {
        let words = choices.as_array().into_iter().flatten();
        words
            .filter_map(|word| of(word).as_str())
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
    };
    if rules["enum"].is_array() {
        return words(&rules["enum"], |word| word).join(" ");
    }
    if rules["oneOf"].is_array() {
        return words(&rules["oneOf"], |form| &form["const"]).join(" ");
    }
    if let Some(forms) = rules["anyOf"].as_array() {
        return forms.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = |kind: &Value| {
        match kind.as_str().unwrap_or_default() {
            "integer" => "whole number",
            "boolean" => "true, false",
            "string" => "text",
            "array" => "list",
            other => other,
        }
        .to_owned()
    };
    let kinds = match &rules["type"] {
        Value::Array(kinds) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
        kind => name(kind),
    };
    match (&rules["minimum"], &rules["maximum"]) {
        (Value::Null, _) => kinds,
        (min, Value::Null) => format!("{kinds} from {min}"),
        (min, max) if max.as_u64() == Some(u64::MAX) => format!("{kinds} from {min}"),
        (min, max) => format!("{kinds} {min} to {max}"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
