//! What can only be checked once all steps are known.

use std::collections::HashSet;

use super::error::{Fault, Position};
use super::program::{Action, Mode, Operand, Optional, Step, StepKind};

/// One use of a duration's name.
pub(super) struct RtdUse {
    pub(super) name: u16,
    pub(super) position: Position,
    pub(super) is_start: bool,
}

/// Every duration that is started must be stopped somewhere. Those that are stopped without ever
/// being started begin with the call, as SIPp has it: they are returned.
pub(super) fn rtds(uses: &[RtdUse], names: &[String]) -> Result<Vec<u16>, Fault> {
    let of = |is_start: bool| -> HashSet<u16> {
        uses.iter().filter(|rtd| rtd.is_start == is_start).map(|rtd| rtd.name).collect()
    };
    let (started, stopped) = (of(true), of(false));
    for rtd in uses {
        let name = names[usize::from(rtd.name)].as_str();
        if rtd.is_start && !stopped.contains(&rtd.name) {
            return Err(Fault::new(rtd.position, format!("rtd \"{name}\" is never stopped"))
                .hint(format!("add rtd=\"{name}\" to the message that ends it")));
        }
    }
    let mut from_start: Vec<u16> = stopped.difference(&started).copied().collect();
    from_start.sort_unstable();
    Ok(from_start)
}

/// `<jump>` with a number must land on a step, or right behind the last one.
pub(super) fn jump_actions(steps: &[Step]) -> Result<(), Fault> {
    for step in steps {
        for action in &step.actions {
            let Action::Jump(Operand::Constant(target)) = action else { continue };
            if !(0.0..=steps.len() as f64).contains(target) || target.fract() != 0.0 {
                return Err(Fault::new(step.position, format!("<jump> to {target}"))
                    .hint(format!("steps are numbered from 0 to {}", steps.len())));
            }
        }
    }
    Ok(())
}

/// Who says the first SIP message of a call; a leading pause or nop does not count.
pub(super) fn sip_mode(steps: &[Step]) -> Option<Mode> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::Send(_) => Some(Mode::Client),
        StepKind::Recv(_) => Some(Mode::Server),
        _ => None,
    })
}

/// Behind an optional receive there must be a mandatory one before anything else happens, or the
/// call could never know whether to go on waiting.
pub(super) fn optional_order(steps: &[Step]) -> Result<(), Fault> {
    let mut optional: Option<&Step> = None;
    for step in steps {
        match &step.kind {
            StepKind::Recv(recv) if recv.optional == Optional::Mandatory => optional = None,
            StepKind::Recv(_) => optional = Some(step),
            StepKind::RecvCommand(command) if !command.optional => optional = None,
            StepKind::RecvCommand(_) => {}
            _ => {
                if let Some(optional) = optional {
                    return Err(Fault::new(
                        optional.position,
                        format!(
                            "an optional <recv> is followed by the step at line {}, which is no \
                             <recv>",
                            step.position.line
                        ),
                    )
                    .hint("put a mandatory <recv> behind the optional ones"));
                }
            }
        }
    }
    Ok(())
}
