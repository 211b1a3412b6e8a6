//! Checks that are only possible once all steps are known.

use std::collections::HashSet;

use super::error::{Fault, Position, Sink};
use super::media_action::MediaAction;
use super::program::{Action, CheckIt, Mode, Operand, Optional, Program, Step, StepKind};
use super::template::{Field, Template};

/// One use of a duration's name.
pub(super) struct RtdUse {
    pub(super) name: u16,
    pub(super) position: Position,
    pub(super) is_start: bool,
}

/// Checks that every duration which is started is stopped somewhere, except those that are
/// `excused`. Durations that are stopped without being started begin with the call, as in SIPp; the
/// function returns them.
pub(super) fn rtds(
    uses: &[RtdUse],
    names: &[String],
    excused: &HashSet<String>,
    sink: &Sink,
) -> Vec<u16> {
    let of = |is_start: bool| -> HashSet<u16> {
        uses.iter().filter(|rtd| rtd.is_start == is_start).map(|rtd| rtd.name).collect()
    };
    let (started, stopped) = (of(true), of(false));
    for rtd in uses {
        let name = names[usize::from(rtd.name)].as_str();
        if rtd.is_start && !stopped.contains(&rtd.name) && !excused.contains(name) {
            let fault = Fault::new(rtd.position, format!("rtd \"{name}\" is never stopped"));
            sink.error(fault.hint(format!("add rtd=\"{name}\" to the message that ends it")));
        }
    }
    let mut from_start: Vec<u16> = stopped.difference(&started).copied().collect();
    from_start.sort_unstable();
    from_start
}

/// Checks that a `<jump>` with a number lands on a step, or right behind the last one.
pub(super) fn jump_actions(steps: &[Step], sink: &Sink) {
    for step in steps {
        for action in &step.actions {
            let Action::Jump(Operand::Constant(target)) = action else { continue };
            if !(0.0..=steps.len() as f64).contains(target) {
                let fault = Fault::new(step.position, format!("<jump> to {target}"));
                sink.error(fault.hint(format!("steps are numbered from 0 to {}", steps.len())));
            } else if target.fract() != 0.0 {
                let fault = Fault::new(step.position, format!("<jump> to {target}"));
                sink.warn(fault.hint(format!("SIPp takes it as {}", target.trunc())));
            }
        }
    }
}

/// Checks that no jumps lead a call in a circle in which it never waits. SIPp stops if a step jumps
/// to itself, and hangs if several steps make a circle.
pub(super) fn endless_jumps(steps: &[Step], sink: &Sink) {
    // Number of the walk that came to a step first: each step is walked once.
    let mut walk_of = vec![usize::MAX; steps.len()];
    for begin in 0..steps.len() {
        let mut at = begin;
        while walk_of.get(at).is_some_and(|walk| *walk == usize::MAX) {
            walk_of[at] = begin;
            let Some(next) = only_successor(steps, at) else { break };
            if walk_of.get(next) == Some(&begin) {
                sink.error(endless(steps, next));
                break;
            }
            at = next;
        }
    }
}

/// The fault of the circle that contains the step `on`, reported at its first step.
fn endless(steps: &[Step], on: usize) -> Fault {
    let (mut first, mut count, mut at) = (on, 0, on);
    while let Some(next) = only_successor(steps, at) {
        count += 1;
        first = first.min(next);
        at = next;
        if at == on {
            break;
        }
    }
    let what = match count {
        1 => format!("step {first} jumps to itself"),
        _ => format!("{count} steps jump in a circle"),
    };
    let position = steps.get(first).map(|step| step.position).unwrap_or_default();
    Fault::new(position, format!("{what}: no call ever leaves it")).hint(
        "<jump> counts steps from 0, without labels and declarations; a variable or a test= can \
         end a loop",
    )
}

/// The only step at which a call can go on from `at`, if it neither waits nor decides anything
/// there.
fn only_successor(steps: &[Step], at: usize) -> Option<usize> {
    let step = steps.get(at)?;
    for action in &step.actions {
        match action {
            Action::Jump(Operand::Constant(target)) => {
                let target = *target as usize;
                // A step that jumps to itself ends nowhere else, even if it waits for something.
                let is_itself = target == at && step.condition.is_none();
                let passes = matches!(step.kind, StepKind::Nop) && step.condition.is_none();
                return (is_itself || passes).then_some(target);
            }
            Action::Jump(_) | Action::Command(_) | Action::Error(_) => return None,
            Action::Test(check) if check.check_it != CheckIt::No => return None,
            Action::Strcmp(check) if check.check_it != CheckIt::No => return None,
            Action::Ereg(ereg) if ereg.check_it != CheckIt::No => return None,
            _ => {}
        }
    }
    if !matches!(step.kind, StepKind::Nop) || step.condition.is_some() {
        return None;
    }
    match &step.next {
        Some(next) if next.test.is_none() && next.chance >= 1.0 => Some(usize::from(next.target)),
        Some(_) => None,
        None => Some(at + 1),
    }
}

/// The side that sends the first SIP message of a call; a leading pause or nop does not count.
pub(super) fn sip_mode(steps: &[Step]) -> Option<Mode> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::Send(_) => Some(Mode::Client),
        StepKind::Recv(_) => Some(Mode::Server),
        _ => None,
    })
}

/// Tells whether calls have streams that no message describes.
pub(super) fn connects(steps: &[Step]) -> bool {
    let is_connect = |action: &Action| matches!(action, Action::Media(media) if matches!(**media, MediaAction::Connect(_)));
    steps.iter().flat_map(|step| &step.actions).any(is_connect)
}

/// Checks that each `[authentication]` has a challenge that a `<recv auth="true">` kept. Without
/// any, SIPp ends with an error once a call gets there; here that call fails.
pub(super) fn challenges(program: &Program, sink: &Sink) {
    let keeps = |step: &Step| matches!(&step.kind, StepKind::Recv(recv) if recv.keeps_challenge);
    if program.steps.iter().any(keeps) {
        return;
    }
    let answers = |template: &Template| {
        template.fields().any(|field| matches!(field, Field::Authentication(_)))
    };
    for step in program.steps.iter().chain(&program.init) {
        if step.templates().any(answers) {
            let message = "[authentication] without a <recv auth=\"true\">: no challenge is kept \
                           to answer";
            let hint = "add auth=\"true\" to the <recv> of the 401 or 407";
            sink.warn(Fault::new(step.position, message).hint(hint));
        }
    }
}

/// Checks that a mandatory receive follows an optional one before anything else happens. The call
/// could otherwise never know when to stop waiting.
pub(super) fn optional_order(steps: &[Step], sink: &Sink) {
    let mut optional: Option<&Step> = None;
    for step in steps {
        match &step.kind {
            StepKind::Recv(recv) if recv.optional == Optional::Mandatory => optional = None,
            StepKind::Recv(_) => optional = Some(step),
            StepKind::RecvCommand(command) if !command.optional => optional = None,
            StepKind::RecvCommand(_) => {}
            _ => {
                if let Some(optional) = optional.take() {
                    let line = step.position.line;
                    let message = format!(
                        "an optional <recv> is followed by the step at line {line}, which is not a \
                         <recv>"
                    );
                    let fault = Fault::new(optional.position, message);
                    sink.error(fault.hint("put a mandatory <recv> after the optional ones"));
                }
            }
        }
    }
}
