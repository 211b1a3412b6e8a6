//! The JSON Schema of configurations, made from the structs in `keys` and the table of options.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value, json};

use super::keys::TopKeys;
use crate::options::{self, Accept, FlagSpec, Status};

/// Keys that may stand in any object and are ignored.
pub(super) const COMMENT_KEYS: &str = "^(_comment.*|comment)$";

/// Keys of older layouts, each with its replacement.
pub(super) const REMOVED_KEYS: &[(&str, &str)] = &[(
    "workloads",
    "this layout is no longer supported; write the engine that answers as `server` and the others \
     as `clients`",
)];

/// The schema. It has everything that is known about keys.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(generate);
    &SCHEMA
}

/// The schema of one engine.
pub(super) fn profile_schema() -> &'static Value {
    &schema()["$defs"]["Profile"]
}

/// The schema of a key of an engine.
pub(super) fn key_schema(key: &str) -> Option<&'static Value> {
    profile_schema()["properties"].get(key)
}

/// The option that a key is another way to write.
pub(super) fn flag_of(key: &str) -> Option<&'static FlagSpec> {
    options::find(key_schema(key)?["x-flag"].as_str()?)
}

/// The key that is another way to write an option.
pub(super) fn key_of(flag: &str) -> Option<&'static str> {
    let properties = profile_schema()["properties"].as_object()?;
    let is_it = |schema: &Value| schema["x-flag"].as_str() == Some(flag);
    properties.iter().find(|(_, schema)| is_it(schema)).map(|(key, _)| key.as_str())
}

fn generate() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut root = settings.into_generator().into_root_schema_for::<TopKeys>().to_value();
    // A flat file has the keys of an engine at its top. A file with several engines has their
    // shared keys there, and an alias has `server` beside them. With flattened structs serde could
    // not refuse unknown keys, so the keys are joined here.
    let keys = root["$defs"]["Profile"]["properties"].as_object().cloned().unwrap_or_default();
    add_missing(&mut root["properties"], &keys);
    if let Some(alias) = root["$defs"].get_mut("Alias") {
        add_missing(&mut alias["properties"], &keys);
    }
    root
}

fn add_missing(properties: &mut Value, keys: &Map<String, Value>) {
    if let Some(properties) = properties.as_object_mut() {
        for (key, schema) in keys {
            properties.entry(key).or_insert_with(|| schema.clone());
        }
    }
}

/// Makes a derived schema say what a file may hold: no `null`, only known keys and comments, and
/// the ranges and defaults of options.
pub(super) fn complete(schema: &mut Schema) {
    without_null(schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            from_option(property);
        }
        schema.insert("additionalProperties".to_owned(), false.into());
        schema.insert("patternProperties".to_owned(), json!({ COMMENT_KEYS: true }));
    }
    // Every key may be left out; a default of a whole object would say nothing more.
    schema.remove("default");
}

/// Reduces an enum of a text and a number to both types.
pub(super) fn one_of_two_types(schema: &mut Schema) {
    schema.remove("anyOf");
    schema.insert("type".to_owned(), json!(["string", "number"]));
}

/// Reduces an enum of a port and a text to both types.
pub(super) fn number_or_text(schema: &mut Schema) {
    schema.remove("anyOf");
    schema.insert("type".to_owned(), json!(["integer", "string"]));
    schema.insert("minimum".to_owned(), 1.into());
    schema.insert("maximum".to_owned(), u16::MAX.into());
}

/// Removes `null` from the types: keys are left out, not set to `null`.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            if let Value::Object(only) = only {
                for (key, value) in only {
                    schema.insert(key, value);
                }
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    schema.remove("format");
    transform_subschemas(&mut without_null, schema);
}

/// Takes range and default from the option that the key is another way to write.
fn from_option(property: &mut Map<String, Value>) {
    let Some(flag) = property.get("x-flag").and_then(Value::as_str).and_then(options::find) else {
        return;
    };
    let mut limit = |min: Value, max: Value| {
        property.entry("minimum").or_insert(min);
        property.insert("maximum".to_owned(), max);
    };
    match flag.resolved().status {
        Status::Supported(Accept::Count { min, max, .. }) => {
            // The field's type gives a least number, which is not that of the option.
            let own = property.get("minimum").cloned();
            property.insert(
                "minimum".to_owned(),
                own.filter(|own| *own != json!(0)).unwrap_or(min.into()),
            );
            property.insert("maximum".to_owned(), max.into());
        }
        Status::Supported(Accept::CountOrOff(_)) => limit((-1).into(), u64::MAX.into()),
        Status::Supported(Accept::Float { min, max, .. }) => limit(number(min), number(max)),
        _ => {}
    }
    let default = flag.resolved().default;
    if !default.is_empty() {
        property.entry("x-default").or_insert(default.into());
    }
}

/// A number as people write it: a whole one has no fraction.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => (value as i64).into(),
        false => value.into(),
    }
}
