//! A tree against the schema: unknown and double keys, types, ranges, choices.
//!
//! Mistakes are reported, up to a bound. Wrong parts are left out of the returned tree, so that
//! later checks do not complain about the same thing again. This module knows no key by name. It
//! takes time in proportion to the text, as that may be a client's.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::problem::{PROBLEMS_MAX, Place, Problem, ProblemKind};
use super::schema::{REMOVED_KEYS, flag_of, profile_schema, schema};
use super::tree::{Data, Member, Node};
use crate::options::{self, Status};

/// Checks `node` against `rules`; returns its right parts.
pub(super) fn check(
    node: &Node,
    rules: &Value,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    Checker { problems }.value(node, rules, key)
}

/// Tells whether a key is a remark.
pub(super) fn is_comment(key: &str) -> bool {
    key == "comment" || key.starts_with("_comment")
}

/// Joins the path of an object and a key: `clients[1]` and `rate` become `clients[1].rate`.
pub(super) fn join(parent: &str, key: &str) -> String {
    let key = shortened(key);
    match parent {
        "" => key,
        _ => format!("{parent}.{key}"),
    }
}

struct Checker<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Checker<'_> {
    /// Reports a mistake, unless the bound is passed. One mistake beyond the bound is kept, to show
    /// that there are more.
    fn report(&mut self, at: Place, key: &str, word: impl FnOnce() -> (ProblemKind, String)) {
        if self.problems.len() <= PROBLEMS_MAX {
            let (kind, message) = word();
            self.problems.push(Problem { place: Some(at), key: key.to_owned(), kind, message });
        }
    }

    fn value(&mut self, node: &Node, rules: &Value, key: &str) -> Option<Node> {
        if is_off(node, rules) {
            return Some(node.clone());
        }
        let rules = alternative(node, resolved(rules));
        if let Some(missing) = rules["x-missing"].as_str()
            && !is_empty(node)
        {
            self.report(node.at, key, || {
                let message = format!("not in this version: {missing} is missing; remove the key");
                (ProblemKind::NotInThisVersion, message)
            });
            return None;
        }
        let kinds = kinds(rules);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(node, kind)) {
            self.report(node.at, key, || (ProblemKind::WrongType, wrong_type(node, &kinds)));
            return None;
        }
        if let Some(message) = not_among(node, rules) {
            self.report(node.at, key, || (ProblemKind::BadValue, message()));
            return None;
        }
        if let Some(message) = out_of_range(node, rules) {
            self.report(node.at, key, || (ProblemKind::BadValue, message));
            return None;
        }
        let data = match &node.data {
            Data::Object(members) => Data::Object(self.object(node, members, rules, key)),
            Data::List(elements) => Data::List(self.list(elements, rules, key)),
            other => other.clone(),
        };
        Some(Node { at: node.at, data })
    }

    fn list(&mut self, elements: &[Node], rules: &Value, key: &str) -> Vec<Node> {
        let max = rules["maxItems"].as_u64().and_then(|max| usize::try_from(max).ok());
        let max = max.unwrap_or(usize::MAX);
        if let Some(first) = elements.get(max) {
            self.report(first.at, key, || {
                let len = elements.len();
                let message = format!("{len} entries are too many; the limit is {max}");
                (ProblemKind::BadValue, message)
            });
        }
        let items = &rules["items"];
        let checked = elements.iter().take(max).enumerate();
        checked
            .filter_map(|(index, element)| self.value(element, items, &format!("{key}[{index}]")))
            .collect()
    }

    fn object(&mut self, node: &Node, members: &[Member], rules: &Value, key: &str) -> Vec<Member> {
        let nothing = Map::new();
        let properties = rules["properties"].as_object().unwrap_or(&nothing);
        let others = &rules["additionalProperties"];
        let mut right: Vec<Member> = Vec::with_capacity(members.len());
        let mut seen: HashMap<&str, Place> = HashMap::with_capacity(members.len());
        for member in members {
            let path = join(key, &member.key);
            if is_comment(&member.key) {
                continue;
            }
            if let Some(first) = seen.get(member.key.as_str()) {
                let Place { line, column } = *first;
                self.report(member.at, &path, || {
                    let message = format!(
                        "the key is here for the second time; the first is in line {line}, column \
                         {column}"
                    );
                    (ProblemKind::DuplicateKey, message)
                });
                continue;
            }
            seen.insert(&member.key, member.at);
            let known = properties.get(&member.key);
            let rules = match known {
                Some(rules) => rules,
                None if others.is_object() => others,
                None if others == false => {
                    self.report(member.at, &path, || unknown(&member.key, properties));
                    continue;
                }
                // The keys of this object are free.
                None => continue,
            };
            if let Some(node) = self.value(&member.node, rules, &path) {
                right.push(Member { key: member.key.clone(), at: member.at, node });
            }
        }
        for required in rules["required"].as_array().into_iter().flatten() {
            if let Some(required) = required.as_str()
                && !seen.contains_key(required)
            {
                let message = "the key is missing".to_owned();
                let word = || (ProblemKind::MissingKey, message);
                self.report(node.at, &join(key, required), word);
            }
        }
        right
    }
}

fn resolved(rules: &Value) -> &Value {
    let name = rules["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
    match name {
        Some(name) => &schema()["$defs"][name],
        None => rules,
    }
}

/// The form of a value that fits its type, if several forms are allowed; all of them if none fits,
/// for the message.
fn alternative<'r>(node: &Node, rules: &'r Value) -> &'r Value {
    let forms = rules["anyOf"].as_array();
    let fits = |form: &&Value| kinds(form).iter().any(|kind| is_kind(node, kind));
    match forms.and_then(|forms| forms.iter().map(resolved).find(fits)) {
        Some(form) => form,
        None => rules,
    }
}

/// The types that a value may have; empty is any.
fn kinds(rules: &Value) -> Vec<&str> {
    let rules = resolved(rules);
    match (&rules["type"], rules["anyOf"].as_array()) {
        (Value::String(kind), _) => vec![kind],
        (Value::Array(kinds), _) => kinds.iter().filter_map(Value::as_str).collect(),
        (_, Some(forms)) => forms.iter().flat_map(kinds).collect(),
        // A choice of words, each with its own documentation.
        _ if rules["oneOf"].is_array() => vec!["string"],
        _ => Vec::new(),
    }
}

fn is_kind(node: &Node, kind: &str) -> bool {
    match (&node.data, kind) {
        (Data::Null, "null")
        | (Data::Bool(_), "boolean")
        | (Data::Text(_), "string")
        | (Data::List(_), "array")
        | (Data::Object(_), "object")
        | (Data::Number(_), "number") => true,
        // 1e3 and 2.0 are whole, as in JSON Schema.
        (Data::Number(_), "integer") => node.number().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

/// Tells whether the value is an empty list or object.
fn is_empty(node: &Node) -> bool {
    matches!(node.data, Data::List(_) | Data::Object(_))
        && node.elements().is_empty()
        && node.members().is_empty()
}

/// Tells whether the value turns nothing on.
pub(super) fn is_off(node: &Node, rules: &Value) -> bool {
    let own = rules["x-off"].as_array();
    own.is_some_and(|values| values.contains(&node.to_json()))
        || (rules["x-flag"].is_string()
            && matches!(&node.data, Data::Text(text) if text.is_empty()))
}

fn wrong_type(node: &Node, kinds: &[&str]) -> String {
    let found = match &node.data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => format!("{value}, a truth value,"),
        Data::Number(text) => format!("the number {}", shortened(text)),
        Data::Text(text) => format!("the text {:?}", shortened(text)),
        Data::List(_) => "a list".to_owned(),
        Data::Object(_) => "an object".to_owned(),
    };
    let wanted: Vec<&str> = kinds
        .iter()
        .map(|kind| match *kind {
            "boolean" => "true or false",
            "string" => "a text in double quotes",
            "array" => "a list [...]",
            "object" => "an object {...}",
            "integer" => "a whole number",
            "number" => "a number",
            other => other,
        })
        .collect();
    let hint = match &node.data {
        Data::Null => "; for the default, leave the key out".to_owned(),
        Data::Text(text)
            if kinds.iter().any(|kind| matches!(*kind, "integer" | "number"))
                && text.parse::<f64>().is_ok_and(f64::is_finite) =>
        {
            format!("; write {} without quotes", shortened(text))
        }
        Data::Text(text)
            if kinds.contains(&"boolean") && matches!(text.as_str(), "true" | "false") =>
        {
            format!("; write {text} without quotes")
        }
        Data::Number(text) if kinds.contains(&"string") => {
            format!("; write \"{}\"", shortened(text))
        }
        _ => String::new(),
    };
    format!("{found} is not allowed here; {} is needed{hint}", wanted.join(" or "))
}

/// The message for a value that is not among the choices. It is worded only when it is reported.
fn not_among<'n>(node: &'n Node, rules: &'n Value) -> Option<impl FnOnce() -> String + 'n> {
    let text = node.text()?;
    let mut words: Vec<&str> = match (rules["enum"].as_array(), rules["oneOf"].as_array()) {
        (Some(words), _) => words.iter().filter_map(Value::as_str).collect(),
        (_, Some(forms)) => forms.iter().flat_map(words_of).collect(),
        _ => return None,
    };
    if words.contains(&text) {
        return None;
    }
    Some(move || {
        // The option may know more than that: for example that a transport of this name existed
        // once.
        if let Some(flag) = rules["x-flag"].as_str().and_then(options::find)
            && let Status::Supported(accept) = flag.resolved().status
            && let Err(error) = accept.store(&mut Default::default(), &[text.as_ref()])
            && error.label() != "unknown_choice"
        {
            return error.to_string();
        }
        words.dedup();
        let near = nearest(text, words.iter().copied())
            .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        format!("{:?} is not one of {}{near}", shortened(text), words.join(", "))
    })
}

fn words_of(form: &Value) -> Vec<&str> {
    match (form["const"].as_str(), form["enum"].as_array()) {
        (Some(word), _) => vec![word],
        (_, Some(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn out_of_range(node: &Node, rules: &Value) -> Option<String> {
    let number = node.number()?;
    let (min, max) = (rules["minimum"].as_f64(), rules["maximum"].as_f64());
    let is_below = min.is_some_and(|min| number < min);
    let is_above = max.is_some_and(|max| number > max);
    if !is_below && !is_above {
        return None;
    }
    let shown = shortened(match &node.data {
        Data::Number(text) => text,
        _ => "",
    });
    Some(match (min, max) {
        (Some(_), Some(_)) => format!(
            "{shown} is out of range; give a number from {} to {}",
            rules["minimum"], rules["maximum"]
        ),
        (Some(_), None) => {
            format!("{shown} is out of range; give a number from {} on", rules["minimum"])
        }
        _ => format!("{shown} is out of range; give a number up to {}", rules["maximum"]),
    })
}

fn unknown(key: &str, properties: &Map<String, Value>) -> (ProblemKind, String) {
    if let Some((_, instead)) = REMOVED_KEYS.iter().find(|(removed, _)| *removed == key) {
        return (ProblemKind::RemovedKey, (*instead).to_owned());
    }
    let shown = shortened(key);
    let top = &schema()["properties"];
    if top.get(key).is_some() {
        let message = match profile_schema()["properties"].get(key) {
            Some(_) => format!("the key {shown:?} has no meaning here; it belongs to an engine"),
            None => format!("the key {shown:?} belongs to the top of the file"),
        };
        return (ProblemKind::UnknownKey, message);
    }
    let near = nearest(key, properties.keys().map(String::as_str));
    // An option that has no key of its own, or another one.
    let option = options::find(key.trim_start_matches('-'))
        .filter(|_| properties.contains_key("extra_args"));
    let message = match (near, option) {
        (_, Some(flag)) => match properties
            .keys()
            .find(|key| flag_of(key).is_some_and(|of_key| of_key.name == flag.resolved().name))
        {
            Some(key) => format!("there is no key {shown:?}; write it as {key:?}"),
            None => {
                let values: Vec<_> =
                    flag.metavars().iter().map(|value| format!(", \"{value}\"")).collect();
                format!(
                    "there is no key {shown:?}; give the option as \"extra_args\": [\"-{}\"{}]",
                    flag.name,
                    values.concat()
                )
            }
        },
        (Some(near), None) => format!("there is no key {shown:?}; did you mean {near:?}?"),
        (None, None) => {
            format!("there is no key {shown:?}; remove it (remarks go into \"_comment\" keys)")
        }
    };
    (ProblemKind::UnknownKey, message)
}

/// The word that is nearest to `text`, if any is near.
pub(super) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Distances of long texts are expensive, and mean nothing.
    if text.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = text.to_lowercase().replace('-', "_");
    let distance_max = (text.chars().count() / 3).clamp(1, 3);
    words
        .map(|word| (strsim::damerau_levenshtein(&lower, word), word))
        .filter(|&(distance, _)| distance <= distance_max)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}

/// Longest name that is compared and shown whole.
const NAME_BYTES_MAX: usize = 60;

/// The start of a text that may be long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(NAME_BYTES_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
