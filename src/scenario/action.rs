//! `<action>` elements.

use super::attributes::{Attributes, no_text};
use super::distribution::{distribution as distribution_of, integers};
use super::error::{Fault, Position, Sink};
use super::exec;
use super::keyword::{self, Names as _};
use super::media_action::MediaAction;
use super::names::Table;
use super::program::{
    Action, Check, CheckIt, Comparison, Ereg, InjectionTable, Operand, Operator, SearchIn, SetDest,
    StrcmpCheck, VariableRef,
};
use super::template::Template;
use super::xml::{Attribute, Element};

const ACTIONS: &[&str] = &[
    "add",
    "assign",
    "assignstr",
    "closecon",
    "divide",
    "ereg",
    "error",
    "exec",
    "gettimeofday",
    "index",
    "insert",
    "jump",
    "log",
    "lookup",
    "multiply",
    "pauserestore",
    "replace",
    "rtp_echo",
    "sample",
    "setdest",
    "strcmp",
    "subtract",
    "test",
    "todouble",
    "trim",
    "urldecode",
    "urlencode",
    "verifyauth",
    "warning",
];
/// The actions, none of which is refused; the abilities of `<exec>` are in [`super::exec`].
pub(super) fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    ACTIONS.iter().filter(|name| **name != "exec").map(|name| (*name, None))
}

/// Most texts that an `<ereg>` names: the whole match and nine groups.
const GROUPS_MAX: usize = 10;

/// Compiles all actions of an `<action>` element. A fault in one does not hide faults in the next.
///
/// `is_received`: the actions belong to something that is received, so that a failed check counts.
pub(super) fn compile(
    element: &Element,
    table: &mut Table<'_>,
    is_received: bool,
    sink: &Sink,
) -> Vec<Action> {
    Attributes::new(element, sink).finish();
    no_text(element, sink);
    let mut actions = Vec::new();
    for child in &element.children {
        if !child.is_broken && !sink.is_done() {
            match one(child, table, sink) {
                Ok(action) => {
                    if let Err(fault) = table.action(child.position) {
                        sink.error(fault);
                        break;
                    }
                    if action.checks() && !is_received {
                        sink.warn_with(|| no_failure(child.position));
                    }
                    actions.push(action);
                    continue;
                }
                Err(fault) => sink.error(fault),
            }
        }
        table.excuse(child);
    }
    actions
}

/// The warning about a check that SIPp does not act on.
fn no_failure(position: Position) -> Fault {
    let message = "a check that fails here is only a warning, as in SIPp";
    Fault::new(position, message)
        .hint("only the checks inside a <recv> can fail a call: put it there")
}

fn one(element: &Element, table: &mut Table<'_>, sink: &Sink) -> Result<Action, Fault> {
    let attributes = Attributes::new(element, sink);
    let action = match element.name.as_str() {
        "ereg" => ereg(&attributes, table)?,
        "log" => Action::Log(message(&attributes, table)?),
        "warning" => Action::Warning(message(&attributes, table)?),
        "error" => Action::Error(message(&attributes, table)?),
        "assign" => {
            Action::Assign(target(&attributes, table)?, operand(&attributes, "variable", table)?)
        }
        "assignstr" => {
            let to = target(&attributes, table)?;
            Action::AssignText(to, text_operand(&attributes, "variable", table)?)
        }
        "todouble" => {
            let to = target(&attributes, table)?;
            Action::ToDouble(to, named(&attributes, "variable", table)?)
        }
        "add" => arithmetic(Operator::Add, &attributes, table)?,
        "subtract" => arithmetic(Operator::Subtract, &attributes, table)?,
        "multiply" => arithmetic(Operator::Multiply, &attributes, table)?,
        "divide" => arithmetic(Operator::Divide, &attributes, table)?,
        "sample" => {
            let to = target(&attributes, table)?;
            let distribution = match attributes.get("distribution").is_none() {
                true => integers(&attributes)?,
                false => None,
            };
            let distribution = match distribution {
                Some(integers) => Some(integers),
                None => distribution_of(&attributes)?,
            };
            let distribution = distribution.ok_or_else(|| {
                Fault::new(element.position, "<sample> needs distribution=")
                    .hint("or value=\"min=1 max=10\", for whole numbers")
            })?;
            Action::Sample(to, distribution)
        }
        "test" => test(&attributes, table)?,
        "strcmp" => strcmp(&attributes, table)?,
        "gettimeofday" => {
            let list = attributes.required("assign_to")?;
            let variables = table.variables(&list.value, list.position)?;
            let [seconds, microseconds] = variables[..] else {
                return Err(Fault::new(list.position, "gettimeofday needs two variables")
                    .hint("write assign_to=\"seconds,microseconds\""));
            };
            Action::TimeOfDay(seconds, microseconds)
        }
        "trim" => Action::Trim(target(&attributes, table)?),
        "urlencode" => Action::UrlEncode(named(&attributes, "variable", table)?),
        "urldecode" => Action::UrlDecode(named(&attributes, "variable", table)?),
        "jump" => Action::Jump(operand(&attributes, "variable", table)?),
        "pauserestore" => Action::PauseRestore(operand(&attributes, "variable", table)?),
        "index" => Action::Index(target(&attributes, table)?),
        "lookup" => {
            let file = attributes.required("file")?;
            Action::Lookup {
                assign_to: target(&attributes, table)?,
                table: named_table(file, table, |table, name, at| table.indexed_table(name, at))?,
                key: template(&attributes, "key", table)?,
            }
        }
        "insert" => Action::Insert {
            table: injection_file(&attributes, table)?,
            value: template(&attributes, "value", table)?,
        },
        "replace" => Action::Replace {
            table: injection_file(&attributes, table)?,
            line: template(&attributes, "line", table)?,
            value: template(&attributes, "value", table)?,
        },
        "verifyauth" => Action::VerifyAuth {
            assign_to: target(&attributes, table)?,
            username: template(&attributes, "username", table)?,
            password: template(&attributes, "password", table)?,
        },
        "setdest" => Action::SetDest(Box::new(SetDest {
            host: template(&attributes, "host", table)?,
            port: template(&attributes, "port", table)?,
            protocol: protocol(&attributes, table)?,
        })),
        "closecon" => Action::CloseConnection,
        "rtp_echo" => {
            let value = operand(&attributes, "variable", table)?;
            Action::Media(Box::new(MediaAction::EchoAll(value)))
        }
        "exec" => exec::exec(&attributes, table, sink)?,
        name => {
            return Err(Fault::new(element.position, format!("unknown action <{name}>"))
                .hint(format!("actions are {}", ACTIONS.join(", ")))
                .suggest(name, ACTIONS.iter().copied()));
        }
    };
    attributes.finish_empty();
    Ok(action)
}

fn named(
    attributes: &Attributes<'_>,
    name: &'static str,
    table: &mut Table<'_>,
) -> Result<VariableRef, Fault> {
    let attribute = attributes.required(name)?;
    table.variable(attribute.value.trim(), attribute.position)
}

fn target(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<VariableRef, Fault> {
    named(attributes, "assign_to", table)
}

fn optional_target(
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<Option<VariableRef>, Fault> {
    attributes
        .get("assign_to")
        .map(|attribute| table.variable(attribute.value.trim(), attribute.position))
        .transpose()
}

/// Reads `value=` as a number, or `variable=` (named by `variable`, since `test` calls it
/// `variable2`).
fn operand(
    attributes: &Attributes<'_>,
    variable: &'static str,
    table: &mut Table<'_>,
) -> Result<Operand, Fault> {
    let value = attributes.double("value");
    let name = attributes.get(variable);
    match (value, name) {
        (Some(value), None) => Ok(Operand::Constant(value)),
        (None, Some(name)) => {
            Ok(Operand::Variable(table.variable(name.value.trim(), name.position)?))
        }
        (None, None) => Err(attributes.missing(&["value", variable])),
        (Some(_), Some(name)) => Err(both(name)),
    }
}

/// Reads an operand as [`operand`] does, for texts.
fn text_operand(
    attributes: &Attributes<'_>,
    variable: &'static str,
    table: &mut Table<'_>,
) -> Result<Template, Fault> {
    match (attributes.get("value"), attributes.get(variable)) {
        (Some(value), None) => keyword::text(&value.value, table),
        (None, Some(name)) => {
            Ok(keyword::variable(table.variable(name.value.trim(), name.position)?))
        }
        (None, None) => Err(attributes.missing(&["value", variable])),
        (Some(_), Some(name)) => Err(both(name)),
    }
}

fn both(variable: &Attribute) -> Fault {
    Fault::new(variable.position, format!("value= and {}= together", variable.name))
        .hint("write one of the two")
}

fn message(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Template, Fault> {
    let attribute = attributes.required("message")?;
    keyword::text(&attribute.value, table)
}

fn arithmetic(
    operator: Operator,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<Action, Fault> {
    let to = target(attributes, table)?;
    let operand = operand(attributes, "variable", table)?;
    if operator == Operator::Divide && operand == Operand::Constant(0.0) {
        return Err(Fault::new(attributes.place("value"), "division by zero"));
    }
    Ok(Action::Arithmetic(operator, to, operand))
}

fn check_it(attributes: &Attributes<'_>) -> Result<CheckIt, Fault> {
    let fail_if_false = attributes.boolean("check_it").unwrap_or(false);
    let fail_if_true = attributes.boolean("check_it_inverse").unwrap_or(false);
    match (fail_if_false, fail_if_true) {
        (true, true) => Err(Fault::new(
            attributes.place("check_it_inverse"),
            "check_it and check_it_inverse together would fail every call",
        )),
        (true, false) => Ok(CheckIt::FailIfFalse),
        (false, true) => Ok(CheckIt::FailIfTrue),
        (false, false) => Ok(CheckIt::No),
    }
}

fn test(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Action, Fault> {
    let compare = attributes.required("compare")?;
    let comparison = match compare.value.trim() {
        "equal" | "eq" => Comparison::Equal,
        "not_equal" | "ne" => Comparison::NotEqual,
        "greater_than" | "gt" => Comparison::GreaterThan,
        "less_than" | "lt" => Comparison::LessThan,
        "greater_than_equal" | "greater_than_or_equal" | "ge" | "gte" => {
            Comparison::GreaterThanEqual
        }
        "less_than_equal" | "less_than_or_equal" | "le" | "lte" => Comparison::LessThanEqual,
        other => {
            return Err(Fault::new(
                compare.position,
                format!("compare=\"{other}\" is not a comparison"),
            )
            .hint(
                "one of equal, not_equal, greater_than, less_than, greater_than_equal, \
                 less_than_equal",
            ));
        }
    };
    Ok(Action::Test(Check {
        variable: named(attributes, "variable", table)?,
        comparison,
        operand: operand(attributes, "variable2", table)?,
        assign_to: optional_target(attributes, table)?,
        check_it: check_it(attributes)?,
    }))
}

fn strcmp(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Action, Fault> {
    let variable = named(attributes, "variable", table)?;
    let value = text_operand(attributes, "variable2", table)?;
    Ok(Action::Strcmp(StrcmpCheck {
        variable,
        value,
        assign_to: optional_target(attributes, table)?,
        check_it: check_it(attributes)?,
    }))
}

fn template(
    attributes: &Attributes<'_>,
    name: &'static str,
    table: &mut Table<'_>,
) -> Result<Template, Fault> {
    let attribute = attributes.required(name)?;
    keyword::text(&attribute.value, table)
}

fn injection_file(
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<InjectionTable, Fault> {
    let file = attributes.required("file")?;
    named_table(file, table, |table, name, position| table.table(Some(name), position))
}

/// The injection file that `file` names. If only a call knows the name, `find` has to wait.
fn named_table(
    file: &Attribute,
    table: &mut Table<'_>,
    find: impl FnOnce(&Table<'_>, &str, Position) -> Result<u16, Fault>,
) -> Result<InjectionTable, Fault> {
    let name = keyword::text(&file.value, table)?;
    match name.as_literal().map(|name| String::from_utf8_lossy(name).into_owned()) {
        Some(name) => find(table, name.trim(), file.position).map(InjectionTable::Known),
        // A run without injection files cannot have one of any name.
        None => table.table(None, file.position).map(|_| InjectionTable::Named(name)),
    }
}

/// The protocol of a `<setdest>`: UDP, which has no connection to keep.
fn protocol(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Template, Fault> {
    let template = template(attributes, "protocol", table)?;
    let is_udp = |text: &[u8]| text.trim_ascii().eq_ignore_ascii_case(b"udp");
    if template.as_literal().is_some_and(|text| !is_udp(text)) {
        let message = "protocol= is not udp: only calls over UDP can change their peer";
        return Err(Fault::new(attributes.place("protocol"), message)
            .hint("a call keeps the transport of the run, and a stream its connection"));
    }
    Ok(template)
}

fn ereg(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Action, Fault> {
    let regexp = attributes.required("regexp")?;
    // In SIPp this is about the header's name, whose case never matters here.
    attributes.boolean("case_indep");
    let regex = regexp.regex()?;
    let search_in = search_in(attributes, table)?;
    let mut assign_to = match attributes.get("assign_to") {
        Some(list) => table.variables(&list.value, list.position)?,
        None => Vec::new(),
    };
    let found = regex.groups() + 1;
    let message = || {
        let groups = match found - 1 {
            1 => "1 group".to_owned(),
            groups => format!("{groups} groups"),
        };
        let names = assign_to.len();
        format!(
            "assign_to names {names} variables, the expression has the whole match and {groups}"
        )
    };
    if assign_to.len() > GROUPS_MAX {
        let hint = format!("the first variable takes the whole match; at most {GROUPS_MAX} in all");
        return Err(Fault::new(attributes.place("assign_to"), message()).hint(hint));
    }
    if assign_to.len() > found {
        attributes.warn("assign_to", message(), "SIPp leaves the others as they are");
        assign_to.truncate(found);
    }
    Ok(Action::Ereg(Box::new(Ereg {
        regex,
        search_in,
        assign_to,
        check_it: check_it(attributes)?,
    })))
}

fn search_in(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<SearchIn, Fault> {
    let place = attributes.get("search_in").map(|attribute| attribute.value.trim());
    let header = attributes.get("header");
    let variable = attributes.get("variable");
    // Early versions of SIPp misspelt the attribute, and so do scenarios.
    let given = ["occurrence", "occurence"].map(|name| occurrence(attributes, name));
    let occurrence = given.into_iter().flatten().next().unwrap_or(1);
    let start_line = attributes.boolean("start_line").unwrap_or(false);
    for (given, needed) in [(header, "hdr"), (variable, "var")] {
        if let Some(given) = given.filter(|_| place != Some(needed)) {
            let message = format!("{}= without search_in=\"{needed}\"", given.name);
            let searched = match place.unwrap_or("msg") {
                "hdr" => "header=",
                "body" => "the body",
                "var" => "the variable",
                _ => "the whole message",
            };
            let name = given.name.clone();
            attributes.warn(&name, message, &format!("SIPp ignores it and searches {searched}"));
        }
    }
    match place.unwrap_or("msg") {
        "msg" => Ok(SearchIn::Message),
        "body" => Ok(SearchIn::Body),
        "hdr" => {
            let header = header.filter(|header| !header.value.is_empty());
            let header = header.ok_or_else(|| attributes.missing(&["header"]))?;
            Ok(header_search(attributes, header, occurrence, start_line))
        }
        "var" => {
            let variable = variable.ok_or_else(|| attributes.missing(&["variable"]))?;
            Ok(SearchIn::Variable(table.variable(variable.value.trim(), variable.position)?))
        }
        other => {
            let message = format!("unknown search_in=\"{other}\"");
            Err(Fault::new(attributes.place("search_in"), message)
                .hint("one of msg, hdr, body, var"))
        }
    }
}

/// Number of the header among several of its name, from 1: the digits that the attribute begins
/// with.
fn occurrence(attributes: &Attributes<'_>, name: &'static str) -> Option<u32> {
    let text = attributes.get(name)?.value.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: Option<u32> = text[..digits].parse().ok().filter(|number| *number > 0);
    if number.is_none() || digits < text.len() {
        let message = format!("{name}=\"{text}\" is not a number from 1 on");
        let taken = number.unwrap_or(1);
        attributes.warn(name, message, &format!("SIPp takes it as {taken}"));
    }
    Some(number.unwrap_or(1))
}

/// The part of the message that `header=` selects. SIPp knows no headers: it searches the message
/// for the text, anywhere, and goes on behind it. If the text is the name of a header, that header
/// is searched.
fn header_search(
    attributes: &Attributes<'_>,
    header: &Attribute,
    occurrence: u32,
    start_line: bool,
) -> SearchIn {
    let written = header.value.trim_start();
    let (name, behind) = match written.split_once(':') {
        Some((name, behind)) => (name.trim_end(), Some(behind)),
        None => (written.trim_end(), None),
    };
    let is_scheme = ["sip", "sips", "tel"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme));
    let is_name = keyword::is_token(name) && behind.is_none_or(|behind| behind.trim().is_empty());
    if is_name && !(is_scheme && behind.is_some()) {
        let blanks = behind.map_or(0, |behind| behind.len().min(usize::from(u8::MAX)) as u8);
        return SearchIn::Header {
            name: name.as_bytes().into(),
            colon: behind.is_some(),
            blanks,
            occurrence,
            start_line,
        };
    }
    let message = format!("header=\"{}\" is not a header name", header.value);
    // The warning shows entities as the file spells them.
    let text = header.written.as_deref().unwrap_or(&header.value);
    let hint = match header.written {
        Some(_) => "SIPp searches the message for that text with &...; as it is written",
        None => "SIPp searches the message for that text, and goes on after it",
    };
    attributes.warn("header", message, hint);
    SearchIn::Text { text: text.as_bytes().into(), occurrence, start_line }
}
