//! The scenario element to a [`Program`]: steps, labels, load-time checks.

use std::collections::HashMap;

use super::action;
use super::attributes::Attributes;
use super::error::{Fault, Position};
use super::keyword::{self, Names};
use super::names::{Scope, Table, split_list};
use super::program::{
    Condition, Duration, Expect, Keep, Mode, Next, Optional, Outgoing, Program, Recv, RtdStop,
    Send, Step, StepKind,
};
use super::template::{Field, Part, Template};
use super::xml::Element;
use crate::sip::Method;

const ELEMENTS: &[&str] = &[
    "CallLengthRepartition",
    "Global",
    "Reference",
    "ResponseTimeRepartition",
    "User",
    "init",
    "label",
    "nop",
    "pause",
    "recv",
    "send",
    "timewait",
];
const STEPS_MAX: usize = 4096;
const PAUSE_MS_MAX: f64 = i32::MAX as f64;

/// Compiles the root element of a scenario file.
pub(super) fn compile(
    root: &Element,
    fallback_name: &str,
    keys: &[(String, String)],
) -> Result<Program, Fault> {
    if root.name != "scenario" {
        return Err(Fault::new(root.position, format!("the root element is <{}>", root.name))
            .hint("a scenario file begins with <scenario name=\"...\">"));
    }
    let attributes = Attributes::new(root);
    let name = attributes.text("name").unwrap_or(fallback_name).to_owned();
    attributes.finish()?;

    let mut compiler = Compiler::new(keys);
    compiler.declarations(root)?;
    for child in &root.children {
        compiler.element(child)?;
    }
    compiler.finish(root, name)
}

/// A jump whose label is resolved once all labels are known.
struct PendingJump {
    step: usize,
    label: String,
    position: Position,
    kind: JumpKind,
    in_init: bool,
}

#[derive(Clone, Copy)]
enum JumpKind {
    Next,
    OnTimeout,
}

struct Compiler<'k> {
    table: Table<'k>,
    steps: Vec<Step>,
    init: Vec<Step>,
    labels: HashMap<String, u16>,
    init_labels: HashMap<String, u16>,
    jumps: Vec<PendingJump>,
    transactions: Vec<String>,
    rtd_repartition_ms: Vec<u64>,
    call_length_repartition_ms: Vec<u64>,
    rtd_uses: Vec<(String, Position, bool)>,
    timewait: Option<Position>,
}

impl<'k> Compiler<'k> {
    fn new(keys: &'k [(String, String)]) -> Self {
        Self {
            table: Table::new(keys),
            steps: Vec::new(),
            init: Vec::new(),
            labels: HashMap::new(),
            init_labels: HashMap::new(),
            jumps: Vec::new(),
            transactions: Vec::new(),
            rtd_repartition_ms: Vec::new(),
            call_length_repartition_ms: Vec::new(),
            rtd_uses: Vec::new(),
            timewait: None,
        }
    }

    /// Scope declarations first, so that their place in the file does not matter.
    fn declarations(&mut self, root: &Element) -> Result<(), Fault> {
        for child in &root.children {
            let scope = match child.name.as_str() {
                "Global" => Some(Scope::Global),
                "User" => Some(Scope::User),
                "Reference" => None,
                _ => continue,
            };
            let attributes = Attributes::new(child);
            let list = attributes.required("variables")?;
            match scope {
                Some(scope) => self.table.declare(&list.value, scope, list.position)?,
                None => self.table.reference(&list.value),
            }
            attributes.finish()?;
        }
        Ok(())
    }

    fn element(&mut self, element: &Element) -> Result<(), Fault> {
        match element.name.as_str() {
            "Global" | "User" | "Reference" => Ok(()),
            "ResponseTimeRepartition" => {
                self.rtd_repartition_ms = repartition(element)?;
                Ok(())
            }
            "CallLengthRepartition" => {
                self.call_length_repartition_ms = repartition(element)?;
                Ok(())
            }
            "init" => {
                Attributes::new(element).finish()?;
                element.children.iter().try_for_each(|child| self.step(child, true))
            }
            later @ ("sendCmd" | "recvCmd" | "DefaultMessage") => Err(Fault::new(
                element.position,
                format!("<{later}> is not supported in this version"),
            )),
            _ => self.step(element, false),
        }
    }

    fn step(&mut self, element: &Element, in_init: bool) -> Result<(), Fault> {
        if element.name == "label" {
            return self.label(element, in_init);
        }
        if let Some(at) = self.timewait.filter(|_| !in_init && element.name != "label") {
            return Err(Fault::new(at, "<timewait> must be the last step"));
        }
        let attributes = Attributes::new(element);
        let kind = match element.name.as_str() {
            "nop" => StepKind::Nop,
            "send" if !in_init => StepKind::Send(self.send(element, &attributes)?),
            "recv" if !in_init => StepKind::Recv(self.recv(&attributes)?),
            "pause" if !in_init => StepKind::Pause(self.duration(&attributes)?),
            "timewait" if !in_init => {
                self.timewait = Some(element.position);
                StepKind::Timewait(self.duration(&attributes)?)
            }
            name if in_init => {
                return Err(Fault::new(element.position, format!("<{name}> inside <init>"))
                    .hint("<init> holds <nop> and <label> only"));
            }
            name => {
                return Err(Fault::new(element.position, format!("unknown element <{name}>"))
                    .suggest(name, ELEMENTS.iter().copied()));
            }
        };
        let step = self.common(element, attributes, kind, in_init)?;
        let steps = if in_init { &mut self.init } else { &mut self.steps };
        if steps.len() >= STEPS_MAX {
            return Err(Fault::new(element.position, format!("more than {STEPS_MAX} steps")));
        }
        steps.push(step);
        Ok(())
    }

    fn label(&mut self, element: &Element, in_init: bool) -> Result<(), Fault> {
        let attributes = Attributes::new(element);
        let id = attributes.required("id")?;
        let (labels, at) = if in_init {
            (&mut self.init_labels, self.init.len())
        } else {
            (&mut self.labels, self.steps.len())
        };
        if labels.insert(id.value.clone(), at as u16).is_some() {
            return Err(Fault::new(id.position, format!("label \"{}\" defined twice", id.value)));
        }
        attributes.finish()
    }

    /// The attributes that every step may carry, and its actions.
    fn common(
        &mut self,
        element: &Element,
        attributes: Attributes<'_>,
        kind: StepKind,
        in_init: bool,
    ) -> Result<Step, Fault> {
        let position = element.position;
        let step_index = if in_init { self.init.len() } else { self.steps.len() };
        let mut rtd_starts = Vec::new();
        if let Some(list) = attributes.get("start_rtd") {
            for name in split_list(&list.value) {
                rtd_starts.push(self.table.rtd(name));
                self.rtd_uses.push((name.to_owned(), list.position, true));
            }
        }
        let repeat = attributes.boolean("repeat_rtd")?.unwrap_or(false);
        let mut rtd_stops = Vec::new();
        if let Some(list) = attributes.get("rtd") {
            for name in split_list(&list.value) {
                rtd_stops.push(RtdStop { rtd: self.table.rtd(name), repeat });
                self.rtd_uses.push((name.to_owned(), list.position, false));
            }
        }
        let counter = attributes.text("counter").map(|name| self.table.counter(name));
        if let Some(display) = attributes.text("display") {
            self.table.display(display);
        }
        // These only shape SIPp's screens; they are accepted and have no effect on calls.
        for flag in ["crlf", "hide", "hiderest", "ignoresdp"] {
            attributes.boolean(flag)?;
        }
        let lost_percent = attributes.double("lost")?;
        if lost_percent.is_some_and(|lost| !(0.0..=100.0).contains(&lost)) {
            return Err(Fault::new(position, "lost= is a percentage from 0 to 100"));
        }
        let inverse = attributes.boolean("condexec_inverse")?.unwrap_or(false);
        let condition = match attributes.get("condexec") {
            Some(name) => Some(Condition {
                variable: self.table.variable(name.value.trim(), name.position)?,
                inverse,
            }),
            None => None,
        };
        if let Some(label) = attributes.get("ontimeout") {
            self.jump(step_index, &label.value, label.position, JumpKind::OnTimeout, in_init);
        }
        let next = self.next(&attributes, step_index, in_init)?;
        let mut actions = Vec::new();
        for child in &element.children {
            if child.name != "action" {
                return Err(Fault::new(
                    child.position,
                    format!("<{}> inside <{}>", child.name, element.name),
                )
                .suggest(&child.name, ["action"].into_iter()));
            }
            actions.extend(action::compile(child, &mut self.table)?);
        }
        if !matches!(kind, StepKind::Send(_)) && !element.text.trim().is_empty() {
            return Err(Fault::new(
                element.text_position,
                format!("text inside <{}>", element.name),
            )
            .hint("only <send> carries a message"));
        }
        attributes.finish()?;
        Ok(Step {
            position,
            kind,
            next,
            condition,
            rtd_starts,
            rtd_stops,
            counter,
            lost_percent,
            on_timeout: None,
            actions,
            keep: Keep::default(),
        })
    }

    fn next(
        &mut self,
        attributes: &Attributes<'_>,
        step: usize,
        in_init: bool,
    ) -> Result<Option<Next>, Fault> {
        let test = match attributes.get("test") {
            Some(name) => Some(self.table.variable(name.value.trim(), name.position)?),
            None => None,
        };
        let chance = attributes.double("chance")?;
        if chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(Fault::new(attributes.position(), "chance= is from 0 to 1"));
        }
        let Some(label) = attributes.get("next") else {
            if test.is_some() || chance.is_some() {
                return Err(Fault::new(attributes.position(), "test= and chance= need next="));
            }
            return Ok(None);
        };
        self.jump(step, &label.value, label.position, JumpKind::Next, in_init);
        Ok(Some(Next { target: 0, test, chance: chance.unwrap_or(1.0) }))
    }

    fn jump(
        &mut self,
        step: usize,
        label: &str,
        position: Position,
        kind: JumpKind,
        in_init: bool,
    ) {
        self.jumps.push(PendingJump { step, label: label.to_owned(), position, kind, in_init });
    }

    fn send(&mut self, element: &Element, attributes: &Attributes<'_>) -> Result<Send, Fault> {
        for name in ["start_txn", "ack_txn"] {
            attributes.later(name, "named transactions")?;
        }
        attributes.later("timeout", "send timeouts")?;
        let retrans_ms = attributes.number("retrans", "a number of milliseconds")?;
        if retrans_ms == Some(0) {
            return Err(Fault::new(attributes.position(), "retrans=\"0\"")
                .hint("leave retrans= out to never retransmit"));
        }
        let template = keyword::message(&element.text, element.text_position, &mut self.table)?;
        let message = outgoing(&template).ok_or_else(|| {
            Fault::new(
                element.text_position,
                "the message begins neither with a method nor with \"SIP/2.0 code\"",
            )
            .hint("the first line is written out, as: INVITE sip:[service]@[remote_ip] SIP/2.0")
        })?;
        let method = first_token(&template);
        let transaction = match message {
            Outgoing::Request(_) if method != "ACK" => {
                let same = |name: &&String| name.split('#').next() == Some(&method);
                let name = match self.transactions.iter().filter(same).count() {
                    0 => method,
                    earlier => format!("{method}#{}", earlier + 1),
                };
                self.transactions.push(name);
                Some(self.transactions.len() as u16 - 1)
            }
            _ => None,
        };
        Ok(Send { template, message, retrans_ms, transaction })
    }

    fn recv(&mut self, attributes: &Attributes<'_>) -> Result<Recv, Fault> {
        attributes.later("response_txn", "named transactions")?;
        if attributes.boolean("auth")? == Some(true) {
            return Err(Fault::new(
                attributes.position(),
                "auth= is not supported in this version: digest authentication",
            ));
        }
        let pattern = attributes.boolean("regexp_match")?.unwrap_or(false);
        let request = attributes.get("request");
        let response = attributes.get("response");
        let expect = match (request, response) {
            (Some(method), None) if pattern => {
                Expect::RequestPattern(action::pattern(&method.value, method.position, false)?)
            }
            (Some(method), None) => {
                let name = method.value.trim();
                let valid = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
                if name.is_empty() || !name.bytes().all(valid) {
                    return Err(Fault::new(method.position, format!("request=\"{name}\""))
                        .hint("one method, as INVITE; a pattern needs regexp_match=\"true\""));
                }
                Expect::Request(name.into())
            }
            (None, Some(code)) if pattern => {
                Expect::ResponsePattern(action::pattern(&code.value, code.position, false)?)
            }
            (None, Some(code)) => match code.value.trim().parse::<u16>() {
                Ok(number @ 100..=699) => Expect::Response(number),
                _ => {
                    return Err(Fault::new(
                        code.position,
                        format!("response=\"{}\" is no status code", code.value),
                    )
                    .hint("one code from 100 to 699; a pattern needs regexp_match=\"true\""));
                }
            },
            _ => {
                return Err(Fault::new(
                    attributes.position(),
                    "<recv> needs either request= or response=",
                ));
            }
        };
        let optional = match attributes.text("optional").map(str::trim) {
            None | Some("false" | "no" | "0") => Optional::Mandatory,
            Some("true" | "yes" | "1") => Optional::Local,
            Some("global") => Optional::Global,
            Some(other) => {
                return Err(Fault::new(attributes.position(), format!("optional=\"{other}\""))
                    .hint("one of true, false, global"));
            }
        };
        let advance_state = attributes.boolean("advance_state")?.unwrap_or(true);
        if !advance_state && optional == Optional::Mandatory {
            return Err(Fault::new(
                attributes.position(),
                "advance_state=\"false\" needs optional=\"true\" or \"global\"",
            ));
        }
        Ok(Recv {
            expect,
            optional,
            timeout_ms: attributes.number("timeout", "a number of milliseconds")?,
            record_route_set: attributes.boolean("rrs")?.unwrap_or(false),
            advance_state,
        })
    }

    fn duration(&mut self, attributes: &Attributes<'_>) -> Result<Duration, Fault> {
        let milliseconds = attributes.double("milliseconds")?;
        let variable = attributes.get("variable");
        let distribution = action::distribution(attributes)?;
        let sanity_check = attributes.boolean("sanity_check")?.unwrap_or(true);
        let given = usize::from(milliseconds.is_some())
            + usize::from(variable.is_some())
            + usize::from(distribution.is_some());
        if given > 1 {
            return Err(Fault::new(
                attributes.position(),
                "milliseconds=, variable= and distribution= exclude each other",
            ));
        }
        if let Some(variable) = variable {
            let name = variable.value.trim();
            return Ok(Duration::Variable(self.table.variable(name, variable.position)?));
        }
        let distribution = match (milliseconds, distribution) {
            (Some(milliseconds), _) => super::Distribution::Fixed(milliseconds),
            (None, Some(distribution)) => distribution,
            (None, None) => return Ok(Duration::RunDefault),
        };
        if let super::Distribution::Fixed(value) = distribution
            && value < 0.0
        {
            return Err(Fault::new(attributes.position(), "a pause cannot be negative"));
        }
        if sanity_check && distribution.p99() > PAUSE_MS_MAX {
            return Err(Fault::new(
                attributes.position(),
                "the pause's 99th percentile exceeds 2147483647 ms",
            )
            .hint("shorten it, or set sanity_check=\"false\" if it is meant"));
        }
        Ok(Duration::Of(distribution))
    }

    fn finish(mut self, root: &Element, name: String) -> Result<Program, Fault> {
        self.resolve_jumps()?;
        self.check_rtds()?;
        check_optional_order(&self.steps)?;
        self.table.check_uses()?;
        let mode = mode(&self.steps).ok_or_else(|| {
            Fault::new(root.position, "the scenario has neither a <send> nor a <recv>")
        })?;
        let unexpected_label = self.labels.get("_unexp.main").copied();
        let mut program = Program {
            name,
            mode,
            writes_shared_variables: self.steps.iter().any(super::analysis::writes_shared),
            steps: self.steps,
            init: self.init,
            unexpected_label,
            call_variables: self.table.call_variables,
            global_variables: self.table.global_variables,
            user_variables: self.table.user_variables,
            rtds: self.table.rtds,
            counters: self.table.counters,
            displays: self.table.displays,
            transactions: self.transactions,
            rtd_repartition_ms: self.rtd_repartition_ms,
            call_length_repartition_ms: self.call_length_repartition_ms,
            last_headers: self.table.last_headers,
            reads_route_set: false,
        };
        let reads_route_set = program
            .templates()
            .flat_map(Template::fields)
            .any(|field| matches!(field, Field::Routes | Field::NextUrl));
        program.reads_route_set = reads_route_set;
        super::analysis::fill_keeps(&mut program);
        Ok(program)
    }

    fn resolve_jumps(&mut self) -> Result<(), Fault> {
        for jump in &self.jumps {
            let (labels, steps) = if jump.in_init {
                (&self.init_labels, &mut self.init)
            } else {
                (&self.labels, &mut self.steps)
            };
            let Some(&target) = labels.get(&jump.label) else {
                return Err(Fault::new(jump.position, format!("no label \"{}\"", jump.label))
                    .hint(format!("add <label id=\"{}\"/> where the jump should land", jump.label))
                    .suggest(&jump.label, labels.keys().map(String::as_str)));
            };
            let step = &mut steps[jump.step];
            match jump.kind {
                JumpKind::OnTimeout => step.on_timeout = Some(target),
                JumpKind::Next => {
                    if let Some(next) = &mut step.next {
                        next.target = target;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_rtds(&self) -> Result<(), Fault> {
        for (name, position, is_start) in &self.rtd_uses {
            let stopped = self.rtd_uses.iter().any(|(other, _, start)| other == name && !start);
            let started = self.rtd_uses.iter().any(|(other, _, start)| other == name && *start);
            if *is_start && !stopped {
                return Err(Fault::new(*position, format!("rtd \"{name}\" is never stopped"))
                    .hint(format!("add rtd=\"{name}\" to the message that ends it")));
            }
            if !is_start && !started {
                return Err(Fault::new(*position, format!("rtd \"{name}\" is never started"))
                    .hint(format!("add start_rtd=\"{name}\" to the message that begins it")));
            }
        }
        Ok(())
    }
}

fn repartition(element: &Element) -> Result<Vec<u64>, Fault> {
    let attributes = Attributes::new(element);
    let value = attributes.required("value")?;
    let mut bounds = Vec::new();
    for bound in split_list(&value.value) {
        let bound: u64 = bound.parse().map_err(|_| {
            Fault::new(value.position, format!("\"{bound}\" is not a number of milliseconds"))
        })?;
        if bounds.last().is_some_and(|&last| bound <= last) {
            return Err(Fault::new(value.position, "the bounds must grow"));
        }
        bounds.push(bound);
    }
    attributes.finish()?;
    Ok(bounds)
}

/// The first token of the message's literal start.
fn first_token(template: &Template) -> String {
    let literal = match template.parts.first() {
        Some(&Part::Literal { start, end }) => &template.pool[start as usize..end as usize],
        _ => &[],
    };
    let token = literal.split(|&b| b == b' ' || b == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(token).into_owned()
}

fn outgoing(template: &Template) -> Option<Outgoing> {
    let token = first_token(template);
    if token.eq_ignore_ascii_case("SIP/2.0") {
        let Some(&Part::Literal { start, end }) = template.parts.first() else { return None };
        let line = &template.pool[start as usize..end as usize][token.len()..];
        let code = line.trim_ascii_start().get(..3)?;
        let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
        return (100..=699).contains(&code).then_some(Outgoing::Response(code));
    }
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if token.is_empty() || !token.bytes().all(valid) {
        return None;
    }
    Some(Outgoing::Request(Method::from_bytes(token.as_bytes()).bit()))
}

/// A client's first message step is a send; a leading pause or nop does not count.
fn mode(steps: &[Step]) -> Option<Mode> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::Send(_) => Some(Mode::Client),
        StepKind::Recv(_) => Some(Mode::Server),
        _ => None,
    })
}

/// Behind an optional receive there must be a mandatory one before anything else happens, or the
/// call could never know whether to go on waiting.
fn check_optional_order(steps: &[Step]) -> Result<(), Fault> {
    let mut optional: Option<&Step> = None;
    for step in steps {
        match &step.kind {
            StepKind::Recv(recv) if recv.optional == Optional::Mandatory => optional = None,
            StepKind::Recv(recv) if recv.optional == Optional::Local => optional = Some(step),
            StepKind::Recv(_) => {}
            _ => {
                if let Some(optional) = optional {
                    return Err(Fault::new(
                        optional.position,
                        "an optional <recv> is followed by a step other than <recv>",
                    )
                    .hint("put a mandatory <recv> behind the optional ones"));
                }
            }
        }
    }
    match optional {
        Some(step) => Err(Fault::new(step.position, "the last <recv> is optional")
            .hint("put a mandatory <recv> behind it")),
        None => Ok(()),
    }
}
