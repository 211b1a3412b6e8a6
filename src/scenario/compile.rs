//! Compilation of the scenario element to a [`Program`]: steps, labels, load-time checks.

use std::collections::HashMap;

use super::attributes::{Attributes, no_text, stray};
use super::checks::{self, RtdUse};
use super::distribution::distribution;
use super::error::{Fault, Position, Sink};
use super::keyword::Names;
use super::names::{Scope, Table, split_list};
use super::program::{
    Condition, DefaultMessages, Distribution, Duration, Keep, Mode, Next, Program, RtdStop,
    ScreenRow, Step, StepKind, VariableRef,
};
use super::resources::Resources;
use super::transactions::NamedTransactions;
use super::xml::{Attribute, Document, Element};
use super::{action, commands, decode, messages};

const ELEMENTS: &[&str] = &[
    "CallLengthRepartition",
    "DefaultMessage",
    "Global",
    "Reference",
    "ResponseTimeRepartition",
    "User",
    "init",
    "label",
    "nop",
    "pause",
    "recv",
    "recvCmd",
    "send",
    "sendCmd",
    "timewait",
];
/// The names of the elements, none of which is refused.
pub(super) fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    ELEMENTS.iter().map(|name| (*name, None))
}

const STEPS_MAX: usize = 4096;
const LABELS_MAX: usize = 4096;
const BOUNDS_MAX: usize = 256;
/// Most bytes of a scenario's name: it appears in every line and answer about a run.
const NAME_BYTES_MAX: usize = 128;
const UNEXPECTED_LABEL: &str = "_unexp.main";
const PAUSE_MS_MAX: f64 = i32::MAX as f64;

/// Compiles a scenario file. Faults go to `sink`. Returns `None` if there is an error among them.
pub(super) fn compile(
    document: &Document,
    fallback_name: &str,
    resources: &Resources<'_>,
    sink: &Sink,
) -> Option<Program> {
    let root = document.root.as_ref()?;
    if root.name != "scenario" {
        let message = format!("the root element is <{}>", root.name);
        let hint = "a scenario file begins with <scenario name=\"...\">";
        sink.error(Fault::new(root.position, message).hint(hint));
        return None;
    }
    let attributes = Attributes::new(root, sink);
    let is_webrtc = attributes.boolean("webrtc").unwrap_or(false);
    let name = scenario_name(&attributes, fallback_name);
    attributes.finish();
    no_text(root, sink);

    let mut compiler = Compiler::new(resources, sink);
    for child in &root.children {
        compiler.attempt(child, Compiler::declaration);
    }
    for child in &root.children {
        compiler.attempt(child, Compiler::element);
    }
    // A document that is not whole cannot show which elements are missing, so that no program is
    // made.
    let program = if document.is_whole { compiler.finish(root, name) } else { None };
    let program = program.filter(|_| sink.errors() == 0)?;
    let uses_media = program.uses_media || is_webrtc;
    Some(Program { uses_media, shakes_hands: program.shakes_hands || is_webrtc, ..program })
}

/// The name that reports, files of numbers and metrics show.
fn scenario_name(attributes: &Attributes<'_>, fallback: &str) -> String {
    let given = attributes.text("name").map_or("", |name| name.trim());
    let mut name = decode::shown(if given.is_empty() { fallback } else { given });
    if name.len() > NAME_BYTES_MAX {
        let message = format!("the name of the scenario has {} bytes", name.len());
        attributes.warn("name", message, &format!("its first {NAME_BYTES_MAX} are shown"));
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    }
    name
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
    sink: &'k Sink,
    /// `false` if a step is missing: faults that follow from its absence are not reported.
    is_whole: bool,
    steps: Vec<Step>,
    init: Vec<Step>,
    labels: HashMap<String, u16>,
    init_labels: HashMap<String, u16>,
    jumps: Vec<PendingJump>,
    transactions: Vec<String>,
    named_transactions: NamedTransactions,
    default_messages: DefaultMessages,
    rtd_repartition_ms: Vec<u64>,
    call_length_repartition_ms: Vec<u64>,
    rtd_uses: Vec<RtdUse>,
    timewait: Option<Position>,
    peers: commands::Peers,
}

impl<'k> Compiler<'k> {
    fn new(resources: &'k Resources<'k>, sink: &'k Sink) -> Self {
        Self {
            table: Table::new(resources, sink),
            sink,
            is_whole: true,
            steps: Vec::new(),
            init: Vec::new(),
            labels: HashMap::new(),
            init_labels: HashMap::new(),
            jumps: Vec::new(),
            transactions: Vec::new(),
            named_transactions: NamedTransactions::default(),
            default_messages: DefaultMessages::default(),
            rtd_repartition_ms: Vec::new(),
            call_length_repartition_ms: Vec::new(),
            rtd_uses: Vec::new(),
            timewait: None,
            peers: commands::Peers::default(),
        }
    }

    /// Compiles an element, or reports its fault and goes on behind it.
    fn attempt(
        &mut self,
        element: &Element,
        compile: impl FnOnce(&mut Self, &Element) -> Result<(), Fault>,
    ) {
        if !element.is_broken && !self.sink.is_done() {
            match compile(self, element) {
                Ok(()) => return,
                Err(fault) => self.sink.error(fault),
            }
        }
        self.is_whole = false;
        self.table.excuse(element);
    }

    /// Compiles declarations of scope. These come first, so that their place in the file does not
    /// matter.
    fn declaration(&mut self, element: &Element) -> Result<(), Fault> {
        let scope = match element.name.as_str() {
            "Global" => Some(Scope::Global),
            "User" => Some(Scope::User),
            "Reference" => None,
            _ => return Ok(()),
        };
        let attributes = Attributes::new(element, self.sink);
        let list = attributes.required("variables")?;
        match scope {
            Some(scope) => self.table.declare(&list.value, scope, list.position)?,
            None => self.table.reference(&list.value, list.position)?,
        }
        attributes.finish_empty();
        Ok(())
    }

    fn element(&mut self, element: &Element) -> Result<(), Fault> {
        match element.name.as_str() {
            "Global" | "User" | "Reference" => Ok(()),
            "ResponseTimeRepartition" => {
                repartition(element, &mut self.rtd_repartition_ms, self.sink)
            }
            "DefaultMessage" => {
                let attributes = Attributes::new(element, self.sink);
                let messages = &mut self.default_messages;
                messages::default_message(element, &attributes, &mut self.table, messages)?;
                for child in &element.children {
                    self.sink.warn_with(|| stray(child, element));
                }
                attributes.finish();
                Ok(())
            }
            "CallLengthRepartition" => {
                repartition(element, &mut self.call_length_repartition_ms, self.sink)
            }
            "init" => {
                Attributes::new(element, self.sink).finish();
                no_text(element, self.sink);
                for child in &element.children {
                    self.attempt(child, |compiler, child| compiler.step(child, true));
                }
                Ok(())
            }
            _ => self.step(element, false),
        }
    }

    fn step(&mut self, element: &Element, in_init: bool) -> Result<(), Fault> {
        if element.name == "label" {
            return self.label(element, in_init);
        }
        let attributes = Attributes::new(element, self.sink);
        let kind = match element.name.as_str() {
            "nop" => StepKind::Nop,
            "send" if !in_init => StepKind::Send(messages::send(
                element,
                &attributes,
                &mut self.table,
                &mut self.transactions,
                &mut self.named_transactions,
            )?),
            "recv" if !in_init => {
                StepKind::Recv(messages::recv(&attributes, &mut self.named_transactions)?)
            }
            "pause" if !in_init => StepKind::Pause(self.duration(&attributes)?),
            "sendCmd" if !in_init => StepKind::SendCommand(commands::send(
                element,
                &attributes,
                &mut self.table,
                &mut self.peers,
            )?),
            "recvCmd" if !in_init => {
                StepKind::RecvCommand(commands::recv(&attributes, &mut self.peers)?)
            }
            "timewait" if !in_init => StepKind::Timewait(self.duration(&attributes)?),
            name if in_init && ELEMENTS.contains(&name) => {
                return Err(Fault::new(element.position, format!("<{name}> inside <init>"))
                    .hint("<init> holds <nop> and <label> only"));
            }
            name => {
                return Err(Fault::new(element.position, format!("unknown element <{name}>"))
                    .hint(format!("elements are {}", ELEMENTS.join(", ")))
                    .suggest(name, ELEMENTS.iter().copied()));
            }
        };
        if let Some(timewait) = self.timewait.filter(|_| !in_init) {
            let message = format!("<{}> after <timewait>", element.name);
            return Err(Fault::new(element.position, message).hint(format!(
                "the <timewait> at line {} must be the last step; use <pause> in between",
                timewait.line
            )));
        }
        if matches!(kind, StepKind::Timewait(_)) {
            self.timewait = Some(element.position);
        }
        let step = self.common(element, attributes, kind, in_init)?;
        let steps = if in_init { &mut self.init } else { &mut self.steps };
        if steps.len() >= STEPS_MAX {
            return Err(Fault::new(element.position, format!("more than {STEPS_MAX} steps")));
        }
        steps.push(step);
        Ok(())
    }

    fn label(&mut self, element: &Element, in_init: bool) -> Result<(), Fault> {
        let attributes = Attributes::new(element, self.sink);
        let id = attributes.required("id")?;
        let name = id.value.trim();
        let (labels, at) = if in_init {
            (&mut self.init_labels, self.init.len())
        } else {
            (&mut self.labels, self.steps.len())
        };
        if in_init && name == UNEXPECTED_LABEL {
            return Err(Fault::new(id.position, format!("label \"{name}\" inside <init>"))
                .hint("it belongs among the steps of the call"));
        }
        if labels.len() >= LABELS_MAX {
            return Err(Fault::new(id.position, format!("more than {LABELS_MAX} labels")));
        }
        if labels.insert(name.to_owned(), at as u16).is_some() {
            return Err(Fault::new(id.position, format!("label \"{name}\" defined twice"))
                .hint("a jump could not know which one is meant"));
        }
        attributes.finish_empty();
        Ok(())
    }

    /// Compiles the attributes that every step may carry, and its actions.
    fn common(
        &mut self,
        element: &Element,
        attributes: Attributes<'_>,
        kind: StepKind,
        in_init: bool,
    ) -> Result<Step, Fault> {
        let position = element.position;
        let step_index = if in_init { self.init.len() } else { self.steps.len() };
        let rtd_starts = self.rtd_list(attributes.get("start_rtd"), true)?;
        attributes.needs("repeat_rtd", "rtd")?;
        let repeat = attributes.boolean("repeat_rtd").unwrap_or(false);
        let rtd_stops = self.rtd_list(attributes.get("rtd"), false)?;
        let rtd_stops = rtd_stops.into_iter().map(|rtd| RtdStop { rtd, repeat }).collect();
        let counter = match attributes.get("counter") {
            Some(name) => Some(self.table.counter(name.value.trim(), name.position)?),
            None => None,
        };
        // Only a receive has a body to ignore; elsewhere SIPp takes it without effect.
        attributes.boolean("ignoresdp");
        let screen = ScreenRow {
            crlf: attributes.lenient("crlf", true).unwrap_or(false),
            hide: attributes.boolean("hide").unwrap_or(false),
            hide_rest: attributes.boolean("hiderest").unwrap_or(false),
            display: match attributes.get("display").filter(|text| !text.value.trim().is_empty()) {
                Some(text) => Some(self.table.display(text.value.trim(), text.position)?),
                None => None,
            },
        };
        let lost_percent = attributes.double("lost").map(|lost| {
            if !(0.0..=100.0).contains(&lost) {
                let message = format!("lost=\"{lost}\" is not a percentage from 0 to 100");
                attributes.warn("lost", message, "SIPp loses nothing below 0, and all from 100 on");
            }
            lost.clamp(0.0, 100.0)
        });
        let inverse = attributes
            .with("condexec_inverse", "condexec")
            .and_then(|_| attributes.boolean("condexec_inverse"))
            .unwrap_or(false);
        let condition = self
            .variable(attributes.get("condexec"))?
            .map(|variable| Condition { variable, inverse });
        if let Some(label) = attributes.get("ontimeout") {
            self.jump(step_index, &label.value, label.position, JumpKind::OnTimeout, in_init);
        }
        let next = self.next(&attributes, step_index, in_init)?;
        let mut actions = None;
        for child in &element.children {
            match child.name.as_str() {
                "action" if actions.is_some() => self.sink.warn(
                    Fault::new(child.position, format!("a second <action> in <{}>", element.name))
                        .hint("SIPp runs the first one only"),
                ),
                "action" => {
                    let table = &mut self.table;
                    actions = Some(action::compile(child, table, kind.is_received(), self.sink));
                }
                name => {
                    let word = || stray(child, element).suggest_too(name, ["action"].into_iter());
                    self.sink.warn_with(word);
                }
            }
        }
        let actions = actions.unwrap_or_default();
        if !matches!(kind, StepKind::Send(_) | StepKind::SendCommand(_)) {
            no_text(element, self.sink);
        }
        attributes.finish();
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
            screen,
            keep: Keep::default(),
        })
    }

    /// The names of `start_rtd=` or `rtd=`. SIPp once had a single duration, "1", that was switched
    /// by true and false.
    fn rtd_list(&mut self, list: Option<&Attribute>, is_start: bool) -> Result<Vec<u16>, Fault> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let position = list.position;
        let mut rtds = Vec::new();
        for name in split_list(&list.value) {
            let name = match name.to_ascii_lowercase().as_str() {
                "false" => continue,
                "true" => "1",
                _ => name,
            };
            let name = self.table.rtd(name, position)?;
            if !rtds.contains(&name) {
                rtds.push(name);
                self.rtd_uses.push(RtdUse { name, position, is_start });
            }
        }
        Ok(rtds)
    }

    fn variable(&mut self, name: Option<&Attribute>) -> Result<Option<VariableRef>, Fault> {
        name.map(|name| self.table.variable(name.value.trim(), name.position)).transpose()
    }

    fn next(
        &mut self,
        attributes: &Attributes<'_>,
        step: usize,
        in_init: bool,
    ) -> Result<Option<Next>, Fault> {
        // Without a label SIPp looks at neither of them.
        let test = self.variable(attributes.with("test", "next"))?;
        let chance = attributes.with("chance", "next").and_then(|_| attributes.double("chance"));
        if chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(Fault::new(attributes.place("chance"), "chance= is from 0 to 1")
                .hint("0.5 jumps for one call in two"));
        }
        let Some(label) = attributes.get("next") else { return Ok(None) };
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
        let label = label.trim().to_owned();
        self.jumps.push(PendingJump { step, label, position, kind, in_init });
    }

    fn duration(&mut self, attributes: &Attributes<'_>) -> Result<Duration, Fault> {
        let milliseconds = attributes.double("milliseconds").map(Distribution::Fixed);
        let variable = self.variable(attributes.get("variable"))?;
        let distribution = distribution(attributes)?;
        let sanity_check = attributes.boolean("sanity_check").unwrap_or(true);
        let given = [distribution.is_some(), variable.is_some(), milliseconds.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            let message = "milliseconds=, variable= and a distribution exclude each other";
            self.sink.warn(
                Fault::new(attributes.position(), message)
                    .hint("SIPp takes the distribution, else the variable"),
            );
        }
        let distribution = match (distribution, variable, milliseconds) {
            (Some(given), _, _) | (None, None, Some(given)) => given,
            (None, Some(variable), _) => return Ok(Duration::Variable(variable)),
            (None, None, None) => return Ok(Duration::RunDefault),
        };
        if matches!(distribution, Distribution::Fixed(value) if value < 0.0) {
            let fault = Fault::new(attributes.position(), "a pause cannot be negative");
            self.sink.warn(fault.hint("SIPp does not wait at all"));
            return Ok(Duration::Of(Distribution::Fixed(0.0)));
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

    fn finish(mut self, root: &Element, name: String) -> Option<Program> {
        self.resolve_jumps();
        let excused = self.table.excused();
        let rtds_from_start = checks::rtds(&self.rtd_uses, &self.table.rtds, excused, self.sink);
        self.named_transactions.check(excused, self.sink);
        self.table.check_uses(self.sink);
        if !self.is_whole {
            return None;
        }
        checks::optional_order(&self.steps, self.sink);
        for steps in [&self.steps, &self.init] {
            checks::jump_actions(steps, self.sink);
            // A jump without a target cannot be followed.
            if self.sink.errors() == 0 {
                checks::endless_jumps(steps, self.sink);
            }
        }
        let (sip_mode, has_messages) = self.sip_mode(root)?;
        let unexpected_label = self.labels.get(UNEXPECTED_LABEL).copied();
        let unexpected_return = self.table.return_address();
        let unexpected_paused = self.table.paused_address();
        let digits = self.table.digits();
        let third_party_role = commands::role(&self.steps);
        let mut program = Program {
            name,
            mode: commands::mode(&self.steps).unwrap_or(sip_mode),
            sip_mode,
            is_rtp_only: !has_messages && third_party_role.is_none(),
            third_party_role,
            peers: self.peers.names,
            writes_shared_variables: self.steps.iter().any(super::analysis::writes_shared),
            steps: self.steps,
            init: self.init,
            unexpected_label,
            unexpected_return,
            unexpected_paused,
            call_variables: self.table.call_variables,
            global_variables: self.table.global_variables,
            user_variables: self.table.user_variables,
            rtds: self.table.rtds,
            rtds_from_start,
            counters: self.table.counters,
            displays: self.table.displays,
            named_transactions: self.named_transactions.names,
            default_messages: self.default_messages,
            transactions: self.transactions,
            rtd_repartition_ms: self.rtd_repartition_ms,
            call_length_repartition_ms: self.call_length_repartition_ms,
            last_headers: self.table.last_headers,
            reads_route_set: false,
            sources: self.table.sources,
            uses_media: false,
            shakes_hands: false,
            wants_video: false,
            has_media_ports: false,
            digits,
            is_sent: false,
        };
        super::analysis::fill_routes(&mut program);
        checks::challenges(&program, self.sink);
        super::analysis::fill_media(&mut program);
        super::analysis::fill_keeps(&mut program);
        Some(program)
    }

    /// The side that sends the first message, and `true` if there is one. Calls without a message
    /// are those of RTP alone, which we make.
    fn sip_mode(&self, root: &Element) -> Option<(Mode, bool)> {
        let with = checks::sip_mode(&self.steps).map(|mode| (mode, true));
        let without = checks::connects(&self.steps).then_some((Mode::Client, false));
        let found = with.or(without);
        if found.is_none() {
            let message = "the scenario has neither a <send> nor a <recv>";
            let hint = "a call needs a message; `-sd uac` prints a scenario to start from";
            self.sink.error(Fault::new(root.position, message).hint(hint));
        }
        found
    }

    fn resolve_jumps(&mut self) {
        for jump in &self.jumps {
            let (labels, steps) = if jump.in_init {
                (&self.init_labels, &mut self.init)
            } else {
                (&self.labels, &mut self.steps)
            };
            let Some(&target) = labels.get(&jump.label) else {
                if !self.table.excused().contains(&jump.label) {
                    let hint =
                        format!("add <label id=\"{}\"/> at the target of the jump", jump.label);
                    let fault = Fault::new(jump.position, format!("no label \"{}\"", jump.label));
                    let known = labels.keys().map(String::as_str);
                    self.sink.error(fault.hint(hint).suggest(&jump.label, known));
                }
                continue;
            };
            // A step with a fault of its own is missing.
            let Some(step) = steps.get_mut(jump.step) else { continue };
            match jump.kind {
                JumpKind::OnTimeout => step.on_timeout = Some(target),
                JumpKind::Next => {
                    if let Some(next) = &mut step.next {
                        next.target = target;
                    }
                }
            }
        }
    }
}

/// Compiles the bounds of a histogram. SIPp accepts any values; bounds that do not grow would make
/// rows that nothing falls into.
fn repartition(element: &Element, bounds: &mut Vec<u64>, sink: &Sink) -> Result<(), Fault> {
    let attributes = Attributes::new(element, sink);
    let value = attributes.required("value")?;
    if !bounds.is_empty() {
        let fault = Fault::new(element.position, format!("a second <{}>", element.name));
        sink.warn(fault.hint("it replaces the first one"));
        bounds.clear();
    }
    for word in split_list(&value.value) {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let bound: Option<u64> = word[..digits].parse().ok();
        if digits < word.len() || bound.is_none() {
            let message = format!("\"{word}\" is not a number of milliseconds");
            let hint = "only its digits count; write value=\"10, 20, 50\"";
            sink.warn(Fault::new(value.position, message).hint(hint));
        }
        bounds.extend(bound);
        if bounds.len() > BOUNDS_MAX {
            return Err(Fault::new(value.position, format!("more than {BOUNDS_MAX} bounds")));
        }
    }
    if !bounds.is_sorted_by(|a, b| a < b) {
        let fault = Fault::new(value.position, "the bounds do not grow");
        sink.warn(fault.hint("they are put in order, each once"));
        bounds.sort_unstable();
        bounds.dedup();
    }
    attributes.finish_empty();
    Ok(())
}
