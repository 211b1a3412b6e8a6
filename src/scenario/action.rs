//! `<action>` elements.

use regex::bytes::RegexBuilder;

use super::attributes::Attributes;
use super::error::{Fault, Position};
use super::keyword::{self, Names};
use super::names::Table;
use super::program::{
    Action, Check, CheckIt, Comparison, Distribution, Ereg, InternalCommand, Operand, Operator,
    SearchIn, StrcmpCheck, VariableRef,
};
use super::xml::Element;

const ACTIONS: &[&str] = &[
    "add",
    "assign",
    "assignstr",
    "divide",
    "ereg",
    "error",
    "exec",
    "gettimeofday",
    "jump",
    "log",
    "multiply",
    "sample",
    "strcmp",
    "subtract",
    "test",
    "todouble",
    "trim",
    "urldecode",
    "urlencode",
    "warning",
];
/// Actions that SIPp has and this version lacks, with what they wait for.
const LATER: &[(&str, &str)] = &[
    ("closecon", "stream transports"),
    ("index", "injection files"),
    ("insert", "injection files"),
    ("lookup", "injection files"),
    ("pauserestore", "paused jumps"),
    ("replace", "injection files"),
    ("rtp_echo", "RTP"),
    ("setdest", "changing the peer"),
    ("verifyauth", "digest authentication"),
];
/// A scenario names at most the whole match and nine groups.
const GROUPS_MAX: usize = 10;

/// Compiles all actions of an `<action>` element.
pub(super) fn compile(element: &Element, table: &mut Table<'_>) -> Result<Vec<Action>, Fault> {
    Attributes::new(element).finish()?;
    element.children.iter().map(|child| one(child, table)).collect()
}

fn one(element: &Element, table: &mut Table<'_>) -> Result<Action, Fault> {
    let attributes = Attributes::new(element);
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
            let value = attributes.required("value")?;
            Action::AssignText(to, keyword::text(&value.value, value.position, table)?)
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
            let distribution = distribution(&attributes)?
                .ok_or_else(|| Fault::new(element.position, "<sample> needs distribution="))?;
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
        "exec" => exec(&attributes)?,
        name => {
            if let Some((_, why)) = LATER.iter().find(|(known, _)| *known == name) {
                return Err(Fault::new(
                    element.position,
                    format!("<{name}> is not supported in this version: {why}"),
                ));
            }
            return Err(Fault::new(element.position, format!("unknown action <{name}>"))
                .suggest(name, ACTIONS.iter().copied()));
        }
    };
    attributes.finish()?;
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

/// `value=` as a number, or `variable=` (named by `variable`, since `test` calls it `variable2`).
fn operand(
    attributes: &Attributes<'_>,
    variable: &'static str,
    table: &mut Table<'_>,
) -> Result<Operand, Fault> {
    let value = attributes.double("value")?;
    let name = attributes.get(variable);
    match (value, name) {
        (Some(value), None) => Ok(Operand::Constant(value)),
        (None, Some(name)) => {
            Ok(Operand::Variable(table.variable(name.value.trim(), name.position)?))
        }
        _ => Err(Fault::new(
            attributes.position(),
            format!("write either value= or {variable}=, one of the two"),
        )),
    }
}

fn message(
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<super::template::Template, Fault> {
    let attribute = attributes.required("message")?;
    keyword::text(&attribute.value, attribute.position, table)
}

fn arithmetic(
    operator: Operator,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<Action, Fault> {
    let to = target(attributes, table)?;
    let operand = operand(attributes, "variable", table)?;
    if operator == Operator::Divide && operand == Operand::Constant(0.0) {
        return Err(Fault::new(attributes.position(), "division by zero"));
    }
    Ok(Action::Arithmetic(operator, to, operand))
}

fn check_it(attributes: &Attributes<'_>) -> Result<CheckIt, Fault> {
    let fail_if_false = attributes.boolean("check_it")?.unwrap_or(false);
    let fail_if_true = attributes.boolean("check_it_inverse")?.unwrap_or(false);
    match (fail_if_false, fail_if_true) {
        (true, true) => Err(Fault::new(
            attributes.position(),
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
            return Err(Fault::new(compare.position, format!("compare=\"{other}\"")).hint(
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
    let value = match (attributes.get("value"), attributes.get("variable2")) {
        (Some(value), None) => keyword::text(&value.value, value.position, table)?,
        (None, Some(name)) => {
            keyword::text(&format!("[${}]", name.value.trim()), name.position, table)?
        }
        _ => {
            return Err(Fault::new(
                attributes.position(),
                "write either value= or variable2=, one of the two",
            ));
        }
    };
    Ok(Action::Strcmp(StrcmpCheck {
        variable,
        value,
        assign_to: optional_target(attributes, table)?,
        check_it: check_it(attributes)?,
    }))
}

fn exec(attributes: &Attributes<'_>) -> Result<Action, Fault> {
    for (name, why) in [
        ("command", "running commands"),
        ("play_pcap_audio", "RTP"),
        ("play_pcap_video", "RTP"),
        ("play_pcap_image", "RTP"),
        ("play_dtmf", "RTP"),
        ("rtp_stream", "RTP"),
        ("rtp_echo", "RTP"),
    ] {
        attributes.later(name, why)?;
    }
    let command = attributes.required("int_cmd")?;
    let command = match command.value.trim() {
        "stop_call" => InternalCommand::StopCall,
        "stop_gracefully" => InternalCommand::StopGracefully,
        "stop_now" => InternalCommand::StopNow,
        other => {
            return Err(Fault::new(command.position, format!("int_cmd=\"{other}\""))
                .hint("one of stop_call, stop_gracefully, stop_now"));
        }
    };
    Ok(Action::Command(command))
}

fn ereg(attributes: &Attributes<'_>, table: &mut Table<'_>) -> Result<Action, Fault> {
    let regexp = attributes.required("regexp")?;
    let case_indep = attributes.boolean("case_indep")?.unwrap_or(false);
    let regex = pattern(&regexp.value, regexp.position, case_indep)?;
    let occurrence: u32 = match attributes.number("occurrence", "a number")? {
        Some(occurrence) => occurrence,
        None => attributes.number("occurence", "a number")?.unwrap_or(1),
    };
    let start_line = attributes.boolean("start_line")?.unwrap_or(false);
    let header = attributes.get("header");
    let variable = attributes.get("variable");
    let search_in = match attributes.text("search_in").unwrap_or("msg") {
        "msg" => SearchIn::Message,
        "body" => SearchIn::Body,
        "hdr" => {
            let header = header.ok_or_else(|| {
                Fault::new(attributes.position(), "search_in=\"hdr\" needs header=")
            })?;
            let name = header.value.trim().trim_end_matches(':').trim();
            SearchIn::Header { name: name.as_bytes().into(), occurrence, start_line }
        }
        "var" => {
            let variable = variable.ok_or_else(|| {
                Fault::new(attributes.position(), "search_in=\"var\" needs variable=")
            })?;
            SearchIn::Variable(table.variable(variable.value.trim(), variable.position)?)
        }
        other => {
            return Err(Fault::new(attributes.position(), format!("search_in=\"{other}\""))
                .hint("one of msg, hdr, body, var"));
        }
    };
    let assign_to = match attributes.get("assign_to") {
        Some(list) => table.variables(&list.value, list.position)?,
        None => Vec::new(),
    };
    if assign_to.len() > GROUPS_MAX || assign_to.len() > regex.captures_len() {
        return Err(Fault::new(
            attributes.position(),
            format!(
                "assign_to names {} variables, the expression has the whole match and {} groups",
                assign_to.len(),
                regex.captures_len() - 1
            ),
        ));
    }
    Ok(Action::Ereg(Box::new(Ereg {
        regex,
        search_in,
        assign_to,
        check_it: check_it(attributes)?,
    })))
}

/// Compiles a regular expression over bytes.
pub(super) fn pattern(
    text: &str,
    position: Position,
    case_insensitive: bool,
) -> Result<regex::bytes::Regex, Fault> {
    RegexBuilder::new(text)
        .case_insensitive(case_insensitive)
        .unicode(false)
        .multi_line(false)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| Fault::new(position, format!("invalid regular expression: {error}")))
}

/// The `distribution=` attributes of `<pause>`, `<timewait>` and `<sample>`.
pub(super) fn distribution(attributes: &Attributes<'_>) -> Result<Option<Distribution>, Fault> {
    let Some(name) = attributes.get("distribution") else { return Ok(None) };
    let need = |key: &'static str| {
        attributes.double(key)?.ok_or_else(|| {
            Fault::new(name.position, format!("distribution \"{}\" needs {key}=", name.value))
        })
    };
    let distribution = match name.value.trim() {
        "fixed" => Distribution::Fixed(need("value")?),
        "uniform" => {
            let (min, max) = (need("min")?, need("max")?);
            if min > max {
                return Err(Fault::new(name.position, "min= is larger than max="));
            }
            Distribution::Uniform { min, max }
        }
        "normal" => Distribution::Normal { mean: need("mean")?, stdev: need("stdev")? },
        "lognormal" => Distribution::LogNormal { mean: need("mean")?, stdev: need("stdev")? },
        "exponential" => Distribution::Exponential { mean: need("mean")? },
        "weibull" => Distribution::Weibull { lambda: need("lambda")?, k: need("k")? },
        "pareto" => Distribution::Pareto { k: need("k")?, x_m: need("x_m")? },
        later @ ("gpareto" | "gamma" | "negbin") => {
            return Err(Fault::new(
                name.position,
                format!("distribution \"{later}\" is not supported in this version"),
            ));
        }
        other => {
            let known =
                ["fixed", "uniform", "normal", "lognormal", "exponential", "weibull", "pareto"];
            return Err(Fault::new(name.position, format!("unknown distribution \"{other}\""))
                .hint(format!("one of {}", known.join(", ")))
                .suggest(other, known.into_iter()));
        }
    };
    Ok(Some(distribution))
}
