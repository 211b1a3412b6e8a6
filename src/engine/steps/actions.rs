//! Actions: the computations of a scenario between its messages.

use crate::engine::call::Slot;
use crate::engine::call::variables::{Value, whole_number};
use crate::engine::dialog::authenticate::verifies;
use crate::engine::programs::bound::constant;
use crate::engine::steps::render::{At, Out};
use crate::engine::third_party;
use crate::engine::{Cx, Engine, StopRequest};
use crate::scenario::{
    Action, Check, CheckIt, Comparison, Ereg, InternalCommand, Operand, Operator, SearchIn, Step,
    StepKind, StrcmpCheck, Template, VariableRef,
};
use crate::sip::{Header, Message};
use crate::stats::{FailureCause, TraceKind};
use crate::trace::Event;

/// The outcome of a step's actions.
pub(in crate::engine) enum Flow {
    /// The call goes on with the next step.
    Continue,
    /// The call goes on with this step.
    Jump(u16),
    /// The call is over.
    Ended,
}

/// The message that actions examine; `[last_*]` in their texts always means the last received
/// message.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Subject<'a, 'm> {
    /// The last received text: this message, or a command of another instance.
    Received(Option<&'a Message<'m>>),
    /// The message that was just sent.
    Sent(&'a Message<'m>),
    /// The text that was just sent, if it is no message.
    SentText(&'a [u8]),
}

impl<'a, 'm> Subject<'a, 'm> {
    fn message(self) -> Option<&'a Message<'m>> {
        match self {
            Self::Received(message) => message,
            Self::Sent(message) => Some(message),
            Self::SentText(_) => None,
        }
    }
}

/// Longest text that an action makes.
const TEXT_MAX: usize = 1 << 16;

impl Engine {
    /// Runs the actions of a step: those of a send on the sent message, others on the last received
    /// one.
    pub(in crate::engine) fn actions(
        &mut self,
        slot: Slot,
        step: &Step,
        cx: &mut Cx<'_, '_>,
    ) -> Flow {
        if step.actions.is_empty() {
            return Flow::Continue;
        }
        if !matches!(step.kind, StepKind::Send(_)) {
            return self.actions_on(slot, step, Subject::Received(cx.last), cx);
        }
        let mut bytes = std::mem::take(&mut self.buffers.sent_bytes);
        bytes.clear();
        bytes.extend_from_slice(self.blobs.bytes(&self.calls[slot].last_sent));
        let mut index = self.buffers.sent_index.take();
        let sent = index.as_mut().and_then(|index| index.parse(&bytes).ok());
        let subject = sent.as_ref().map_or(Subject::SentText(&bytes), Subject::Sent);
        let flow = self.actions_on(slot, step, subject, cx);
        self.buffers.sent_index = index;
        self.buffers.sent_bytes = bytes;
        flow
    }

    /// Runs the actions of a step on `subject`. A failed check stops the actions, and the call goes
    /// on.
    fn actions_on(
        &mut self,
        slot: Slot,
        step: &Step,
        subject: Subject<'_, '_>,
        cx: &mut Cx<'_, '_>,
    ) -> Flow {
        let mut jump = None;
        for action in &step.actions {
            match self.action(slot, action, subject, cx) {
                Ok(Flow::Continue) => {}
                Ok(Flow::Jump(target)) => jump = Some(target),
                Ok(Flow::Ended) => return Flow::Ended,
                Err(cause) if cause.is_check() => {
                    self.note_failed_check(slot, step, cause);
                    break;
                }
                Err(cause) => {
                    // The call stands behind the step that is being completed.
                    self.calls[slot].step = self.calls[slot].step.saturating_sub(1);
                    self.abort(slot, cause, cx);
                    return Flow::Ended;
                }
            }
        }
        jump.map_or(Flow::Continue, Flow::Jump)
    }

    /// Notes that a check of the step failed. As in SIPp, it decides over the call if the step
    /// received something, and is a warning otherwise. Of several failed checks, the last one is
    /// the cause.
    fn note_failed_check(&mut self, slot: Slot, step: &Step, cause: FailureCause) {
        self.counters.warnings += 1;
        if step.kind.is_received() {
            let at = self.calls[slot].step.saturating_sub(1);
            self.calls[slot].failed_check = Some((cause, at));
        }
    }

    /// Records a warning about the failed check, if warnings are recorded, and returns its cause.
    fn failed_check(&mut self, slot: Slot, cause: FailureCause, words: &[&[u8]]) -> FailureCause {
        if self.tracer.wants(TraceKind::Warning) {
            // The call stands behind the step that is being completed.
            let step = self.calls[slot].step.saturating_sub(1);
            self.trace(slot, step, Event::Warning(&words.concat()));
        }
        cause
    }

    fn action(
        &mut self,
        slot: Slot,
        action: &Action,
        subject: Subject<'_, '_>,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Flow, FailureCause> {
        match action {
            Action::Ereg(ereg) => self.ereg(slot, ereg, subject)?,
            Action::Log(text) => self.log(slot, text, cx)?,
            Action::Warning(text) => self.warn_of_action(slot, text, cx)?,
            Action::Error(text) => self.stop_with_error(slot, text, cx)?,
            Action::Assign(to, operand) => {
                let value = self.operand(slot, operand);
                self.assign(slot, *to, Value::Number(value));
            }
            Action::AssignText(to, template) => {
                let text = self.text(slot, template, cx)?;
                self.store_text(slot, *to, &text)?;
            }
            Action::ToDouble(to, from) => self.read_double(slot, *to, *from),
            Action::Arithmetic(operator, to, operand) => {
                self.calculate(slot, *operator, *to, operand)?;
            }
            Action::Sample(to, distribution) => {
                let value = self.random.sample(distribution);
                self.assign(slot, *to, Value::Number(value));
            }
            Action::Test(check) => self.test(slot, check)?,
            Action::Strcmp(check) => self.strcmp(slot, check, cx)?,
            Action::TimeOfDay(seconds, microseconds) => {
                self.time_of_day(slot, *seconds, *microseconds, cx.now);
            }
            Action::Trim(variable) => {
                self.edit_text(slot, *variable, |text| text.trim_ascii().to_vec())?;
            }
            Action::UrlEncode(variable) => self.edit_text(slot, *variable, url_encode)?,
            Action::UrlDecode(variable) => self.edit_text(slot, *variable, url_decode)?,
            Action::Jump(operand) => return self.jump_target(slot, operand),
            Action::PauseRestore(operand) => {
                let end_ms = self.operand(slot, operand);
                self.calls[slot].restored_ns = match end_ms > 0.0 {
                    true => self.config.start_ns.saturating_add((end_ms * 1e6) as u64),
                    false => 0,
                };
            }
            Action::Index(to) => {
                // The call stands behind the step that is being completed.
                let index = f64::from(self.calls[slot].step.saturating_sub(1));
                self.assign(slot, *to, Value::Number(index));
            }
            Action::Lookup { assign_to, table, key } => {
                let table = self.table_of(slot, table, cx)?;
                let key = self.text(slot, key, cx)?;
                self.lookup(slot, *assign_to, table, &key);
            }
            Action::Insert { table, value } => {
                let table = self.table_of(slot, table, cx)?;
                let row = self.text(slot, value, cx)?;
                self.insert_row(table, &row)?;
            }
            Action::Replace { table, line, value } => {
                let table = self.table_of(slot, table, cx)?;
                let line = self.text(slot, line, cx)?;
                let row = self.text(slot, value, cx)?;
                self.replace_row(table, &line, &row)?;
            }
            Action::VerifyAuth { assign_to, username, password } => {
                let credentials = (self.text(slot, username, cx)?, self.text(slot, password, cx)?);
                self.verify_auth(slot, *assign_to, &credentials, subject);
            }
            Action::SetDest(to) => self.set_dest(slot, to, cx)?,
            Action::CloseConnection => self.close_connection(slot),
            Action::Media(action) => self.media_action(slot, action, cx)?,
            Action::Execute(command) => {
                let command = self.text(slot, command, cx)?;
                self.execute(command);
            }
            Action::Command(InternalCommand::StopCall) => {
                // As in SIPp, a call that the scenario gives up has failed.
                self.end(slot, Some(FailureCause::CallRejected), cx.now);
                return Ok(Flow::Ended);
            }
            Action::Command(InternalCommand::StopGracefully) => {
                self.outbox.stop_run(StopRequest::Gracefully);
            }
            Action::Command(InternalCommand::StopNow) => self.outbox.stop_run(StopRequest::Now),
        }
        Ok(Flow::Continue)
    }

    fn log(
        &mut self,
        slot: Slot,
        text: &Template,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        if self.tracer.wants(TraceKind::Log) {
            let text = self.text(slot, text, cx)?;
            self.trace(slot, self.calls[slot].step, Event::Log(&text));
        }
        Ok(())
    }

    /// Counts and records the text of a `<warning>` action.
    fn warn_of_action(
        &mut self,
        slot: Slot,
        text: &Template,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        self.counters.warnings += 1;
        if self.tracer.wants(TraceKind::Warning) {
            let text = self.text(slot, text, cx)?;
            self.trace(slot, self.calls[slot].step, Event::Warning(&text));
        }
        Ok(())
    }

    /// Stops the run with the text of an `<error>` action.
    fn stop_with_error(
        &mut self,
        slot: Slot,
        text: &Template,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        self.counters.fatal_errors += 1;
        let step = self.calls[slot].step;
        let text = self.text(slot, text, cx)?;
        self.trace(slot, step, Event::Error(&text));
        self.outbox.stop_run(StopRequest::Fatal(String::from_utf8_lossy(&text).into_owned()));
        Ok(())
    }

    /// Reads a variable's text as a number. As SIPp: a text that is not a number leaves the target
    /// unset, and is a warning.
    fn read_double(&mut self, slot: Slot, to: VariableRef, from: VariableRef) {
        let mut text = Vec::new();
        self.variable_text(slot, from, &mut text);
        let number = whole_number(&text);
        self.counters.warnings += u64::from(number.is_none());
        self.assign(slot, to, number.map_or(Value::Unset, Value::Number));
    }

    fn calculate(
        &mut self,
        slot: Slot,
        operator: Operator,
        to: VariableRef,
        operand: &Operand,
    ) -> Result<(), FailureCause> {
        let right = self.operand(slot, operand);
        let left = self.variable(slot, to).number(&self.blobs);
        let result = match operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide if right == 0.0 => return Err(FailureCause::ScenarioError),
            Operator::Divide => left / right,
        };
        self.assign(slot, to, Value::Number(result));
        Ok(())
    }

    /// Assigns the seconds since 1970 UTC, and the microseconds of the current second.
    fn time_of_day(
        &mut self,
        slot: Slot,
        seconds: VariableRef,
        microseconds: VariableRef,
        now: u64,
    ) {
        let unix_ns = now + self.config.wall_offset_ns;
        let whole = unix_ns / 1_000_000_000;
        self.assign(slot, seconds, Value::Number(whole as f64));
        let micros = unix_ns / 1000 % 1_000_000;
        self.assign(slot, microseconds, Value::Number(micros as f64));
    }

    fn jump_target(&self, slot: Slot, operand: &Operand) -> Result<Flow, FailureCause> {
        let target = self.operand(slot, operand);
        let steps = self.program_of(slot).program.steps.len();
        if !(0.0..=steps as f64).contains(&target) {
            return Err(FailureCause::ScenarioError);
        }
        Ok(Flow::Jump(target as u16))
    }

    /// Checks the credentials of the received message against a user's name and password.
    fn verify_auth(
        &mut self,
        slot: Slot,
        to: VariableRef,
        (user, password): &(Vec<u8>, Vec<u8>),
        subject: Subject<'_, '_>,
    ) {
        let message = subject.message();
        let outcome = message.is_some_and(|message| verifies(message, user, password));
        if let Some(message) = message {
            let step = self.calls[slot].step;
            self.trace_checked(slot, step, message.bytes(), outcome);
        }
        self.assign(slot, to, Value::Truth(outcome));
    }

    pub(in crate::engine) fn operand(&self, slot: Slot, operand: &Operand) -> f64 {
        match operand {
            Operand::Constant(value) => *value,
            Operand::Variable(variable) => self.variable(slot, *variable).number(&self.blobs),
        }
    }

    pub(in crate::engine) fn text(
        &mut self,
        slot: Slot,
        template: &Template,
        cx: &Cx<'_, '_>,
    ) -> Result<Vec<u8>, FailureCause> {
        let environment = &self.config.environment;
        // Action texts are rare; they are bound when they are rendered.
        let varying = self.program_of(slot).varying;
        let template = template.bind(|field| constant(field, environment, varying));
        let mut buffer = vec![0; TEXT_MAX];
        let step = self.calls[slot].step;
        let mut out = Out::new(&mut buffer);
        self.render(&template, &At { slot, step, now: cx.now, last: cx.last }, &mut out);
        let failure = out.failure().unwrap_or(FailureCause::ScenarioError);
        let len = out.len().ok_or(failure)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn store_text(&mut self, slot: Slot, to: VariableRef, text: &[u8]) -> Result<(), FailureCause> {
        match self.assign_text(slot, to, text) {
            true => Ok(()),
            false => Err(FailureCause::PoolExhausted),
        }
    }

    fn edit_text(
        &mut self,
        slot: Slot,
        variable: VariableRef,
        edit: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<(), FailureCause> {
        let mut text = Vec::new();
        self.variable_text(slot, variable, &mut text);
        self.store_text(slot, variable, &edit(&text))
    }

    fn test(&mut self, slot: Slot, check: &Check) -> Result<(), FailureCause> {
        let left = self.variable(slot, check.variable).number(&self.blobs);
        let right = self.operand(slot, &check.operand);
        let outcome = match check.comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::GreaterThan => left > right,
            Comparison::LessThan => left < right,
            Comparison::GreaterThanEqual => left >= right,
            Comparison::LessThanEqual => left <= right,
        };
        if let Some(to) = check.assign_to {
            self.assign(slot, to, Value::Truth(outcome));
        }
        let sides = || format!("{left:.6} {} {right:.6}", symbol(check.comparison));
        match (check.check_it, outcome) {
            (CheckIt::FailIfFalse, false) => {
                let sides = sides();
                let words: [&[u8]; 3] = [b"check_it: ", sides.as_bytes(), b" is false"];
                Err(self.failed_check(slot, FailureCause::TestDoesntMatch, &words))
            }
            (CheckIt::FailIfTrue, true) => {
                let sides = sides();
                let words: [&[u8]; 3] = [b"check_it_inverse: ", sides.as_bytes(), b" is true"];
                Err(self.failed_check(slot, FailureCause::TestShouldntMatch, &words))
            }
            _ => Ok(()),
        }
    }

    fn strcmp(
        &mut self,
        slot: Slot,
        check: &StrcmpCheck,
        cx: &Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        let mut left = Vec::new();
        self.variable_text(slot, check.variable, &mut left);
        let right = self.text(slot, &check.value, cx)?;
        let outcome = difference(&left, &right);
        if let Some(to) = check.assign_to {
            self.assign(slot, to, Value::Number(f64::from(outcome)));
        }
        match (check.check_it, outcome == 0) {
            (CheckIt::FailIfFalse, false) => {
                let words: [&[u8]; 5] = [b"check_it: '", &left, b"' is not '", &right, b"'"];
                Err(self.failed_check(slot, FailureCause::StrcmpDoesntMatch, &words))
            }
            (CheckIt::FailIfTrue, true) => {
                let words: [&[u8]; 3] = [b"check_it_inverse: both are '", &left, b"'"];
                Err(self.failed_check(slot, FailureCause::StrcmpShouldntMatch, &words))
            }
            _ => Ok(()),
        }
    }

    fn ereg(
        &mut self,
        slot: Slot,
        ereg: &Ereg,
        subject: Subject<'_, '_>,
    ) -> Result<(), FailureCause> {
        let mut own = std::mem::take(&mut self.buffers.scratch);
        own.clear();
        let command = self.peers.take_current();
        let text = match subject {
            Subject::Received(_) => command.as_deref(),
            Subject::Sent(_) => None,
            Subject::SentText(text) => Some(text),
        };
        let result = self.ereg_in(slot, ereg, subject.message(), text, &mut own);
        self.peers.put_current(command);
        self.buffers.scratch = own;
        result
    }

    /// Does the same as [`Self::ereg`]. `command` is the text to search if that is no message, and
    /// `own` is a buffer for the text of a variable.
    fn ereg_in(
        &mut self,
        slot: Slot,
        ereg: &Ereg,
        last: Option<&Message<'_>>,
        command: Option<&[u8]>,
        own: &mut Vec<u8>,
    ) -> Result<(), FailureCause> {
        let text = match &ereg.search_in {
            SearchIn::Message => command.or(last.map(Message::bytes)).unwrap_or_default(),
            SearchIn::Body => {
                command.map(third_party::body).or(last.map(Message::body)).unwrap_or_default()
            }
            SearchIn::Variable(variable) => {
                self.variable_text(slot, *variable, own);
                own.as_slice()
            }
            SearchIn::Header { name, .. } | SearchIn::Text { text: name, .. } => {
                match searched_line(&ereg.search_in, last, command) {
                    Some(found) => found,
                    None if ereg.check_it == CheckIt::FailIfFalse => {
                        let whole = command.or(last.map(Message::bytes)).unwrap_or_default();
                        let words: [&[u8]; 5] =
                            [b"check_it: no header ", name, b" in '", whole, b"'"];
                        let cause = FailureCause::RegexpHdrNotFound;
                        return Err(self.failed_check(slot, cause, &words));
                    }
                    // As in SIPp, an absent header has an empty text.
                    None => &[],
                }
            }
        };
        let groups = ereg.assign_to.len().saturating_sub(1);
        let found = ereg.regex.captures(text, groups, &mut self.regex.borrow_mut());
        let Some(captures) = found.map_err(|_| FailureCause::ScenarioError)? else {
            return match ereg.check_it {
                CheckIt::FailIfFalse => {
                    let expression = ereg.regex.as_str().as_bytes();
                    let words: [&[u8]; 5] =
                        [b"check_it: '", expression, b"' does not match '", text, b"'"];
                    Err(self.failed_check(slot, FailureCause::RegexpDoesntMatch, &words))
                }
                _ => Ok(()),
            };
        };
        for (group, variable) in ereg.assign_to.iter().enumerate() {
            let matched = captures.get(group).map_or(&b""[..], |(begin, end)| &text[begin..end]);
            self.store_text(slot, *variable, matched)?;
        }
        match ereg.check_it {
            CheckIt::FailIfTrue => {
                let expression = ereg.regex.as_str().as_bytes();
                let words: [&[u8]; 5] =
                    [b"check_it_inverse: '", expression, b"' matches '", text, b"'"];
                Err(self.failed_check(slot, FailureCause::RegexpShouldntMatch, &words))
            }
            _ => Ok(()),
        }
    }

    /// Assigns `-set` values to global variables, from index `first` on.
    pub(in crate::engine) fn set_globals(&mut self, first: usize) {
        let sets = self.config.rules.sets.clone();
        for (name, value) in sets {
            let index = self.names.globals.iter().position(|known| *known == name);
            let Some(index) = index.filter(|&index| index >= first) else { continue };
            let stored = self.blobs.store(value.as_bytes()).unwrap_or_default();
            self.variables.global_values[index] = match value.parse::<f64>() {
                Ok(number) => {
                    let mut stored = stored;
                    self.blobs.free(&mut stored);
                    Value::Number(number)
                }
                Err(_) => Value::Text(stored),
            };
        }
    }

    /// Runs the `<init>` of a program.
    pub(in crate::engine) fn initialise(&mut self, number: u8) {
        let bound = std::rc::Rc::clone(&self.programs[usize::from(number)]);
        if !bound.program.init.is_empty() {
            self.run_init(number, &bound.program.init);
        }
    }

    /// Runs `<init>` on a call of its own, which is not counted.
    fn run_init(&mut self, program: u8, steps: &[crate::scenario::Step]) {
        const STEPS_MAX: usize = 100_000;
        let Ok(mut tx) = gossipper_uring::TxArena::standalone(1, 1) else { return };
        let Some(slot) = self.calls.allocate() else { return };
        self.calls[slot].program = program;
        self.reset_call_values(slot);
        self.reset_named(slot);
        let mut index = 0;
        'steps: for _ in 0..STEPS_MAX {
            let Some(step) = steps.get(index) else { break };
            let skipped = self.is_skipped(slot, step);
            index += 1;
            if skipped {
                continue;
            }
            let now = self.config.start_ns;
            let mut cx = Cx { now, at: now, tx: &mut tx, last: None, last_is_saved: false };
            for action in &step.actions {
                // An uncounted call must not be counted as ended either.
                if matches!(action, Action::Command(InternalCommand::StopCall)) {
                    break 'steps;
                }
                match self.action(slot, action, Subject::Received(None), &mut cx) {
                    Ok(Flow::Continue | Flow::Ended) => {}
                    Ok(Flow::Jump(target)) => index = usize::from(target),
                    Err(cause) => {
                        self.outbox.stop_run(StopRequest::Fatal(format!(
                            "<init> failed at line {}: {}",
                            step.position.line,
                            cause.description()
                        )));
                    }
                }
            }
            if let Some(next) = &step.next {
                let taken = next.test.is_none_or(|test| self.variable(slot, test).is_true())
                    && self.random.chance(next.chance);
                if taken {
                    index = usize::from(next.target);
                }
            }
        }
        self.free_call_values(slot);
        self.calls.release(slot, 0);
    }
}

/// The spelling of a comparison in warnings.
fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::GreaterThan => ">",
        Comparison::LessThan => "<",
        Comparison::GreaterThanEqual => ">=",
        Comparison::LessThanEqual => "<=",
    }
}

/// The rest of the line that an `ereg` searches.
fn searched_line<'m>(
    search_in: &SearchIn,
    last: Option<&Message<'m>>,
    command: Option<&'m [u8]>,
) -> Option<&'m [u8]> {
    let whole = || command.or(last.map(Message::bytes)).unwrap_or_default();
    match search_in {
        SearchIn::Header { name, colon, blanks, occurrence, start_line } => {
            let nth = occurrence.saturating_sub(1) as usize;
            let found = match command {
                Some(command) => third_party::line_value(command, name, nth),
                None => last
                    .and_then(|last| last.lines_by_name(name).nth(nth))
                    .map(|header| behind_name(&header, *colon, *blanks)),
            };
            // `header="branch"` is as good as `header="branch="` to SIPp.
            match found {
                None if !colon => behind_text(whole(), name, *occurrence, *start_line),
                found => found,
            }
        }
        SearchIn::Text { text, occurrence, start_line } => {
            behind_text(whole(), text, *occurrence, *start_line)
        }
        SearchIn::Message | SearchIn::Body | SearchIn::Variable(_) => None,
    }
}

/// The rest of the line behind the `occurrence`-th `text`.
fn behind_text<'m>(
    message: &'m [u8],
    text: &[u8],
    occurrence: u32,
    start_line: bool,
) -> Option<&'m [u8]> {
    let is_meant = |at: &usize| !start_line || *at == 0 || message[at - 1] == b'\n';
    let mut places = memchr::memmem::find_iter(message, text).filter(is_meant);
    let at = places.nth(occurrence.saturating_sub(1) as usize)?;
    let rest = &message[at + text.len()..];
    Some(&rest[..memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())])
}

/// The text behind a header's name in a scenario: SIPp searches from there, with the white space
/// before the value.
fn behind_name<'m>(header: &Header<'m>, colon: bool, blanks: u8) -> &'m [u8] {
    let line = header.line;
    let mut at = header.name.len().min(line.len());
    if colon {
        at = memchr::memchr(b':', line).map_or(line.len(), |colon| colon + 1);
    }
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    at += line[at..].iter().take(usize::from(blanks)).take_while(is_blank).count();
    &line[at..]
}

/// The result of C's `strcmp` on SIPp's platforms: the difference of the first bytes that differ;
/// the end of a text counts as 0.
fn difference(left: &[u8], right: &[u8]) -> i32 {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let byte = |text: &[u8]| i32::from(text.get(same).copied().unwrap_or(0));
    byte(left) - byte(right)
}

fn url_encode(text: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        // RFC 3986 section 2.3: unreserved characters stay.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
    out
}

fn url_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let decoded = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match decoded {
            Some(value) => {
                out.push(value);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_as_in_c() {
        for (left, right, outcome) in
            [("ab", "ab", 0), ("ab", "ad", -2), ("ab", "a", 98), ("ab", "abc", -99), ("", "", 0)]
        {
            assert_eq!(difference(left.as_bytes(), right.as_bytes()), outcome, "{left} {right}");
        }
    }

    #[test]
    fn url_encoding_round_trips() {
        let text: Vec<u8> = (0..=255).collect();
        assert_eq!(url_decode(&url_encode(&text)), text);
        assert_eq!(url_encode(b"a b@c"), b"a%20b%40c");
        assert_eq!(url_decode(b"100%"), b"100%");
        assert_eq!(url_decode(b"%zz"), b"%zz");
    }
}
