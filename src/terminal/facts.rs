//! The fixed facts that screens show beside figures: names, addresses, and the scenario's actions.

use std::collections::HashSet;

use crate::config::{HostPort, RunConfig};
use crate::control::Circuits;
use crate::engine::CircuitMap;
use crate::output::screen::RunFacts;
use crate::run::supervised::Supervisor;
use crate::scenario::{Action, Mode, Operand, Operator, Program, VariableRef};

/// The facts of a run that has just started.
pub(super) fn facts(config: &RunConfig, run: &Supervisor) -> RunFacts {
    let program = run.program();
    let is_client = program.mode == Mode::Client;
    let remote = config.remote.as_ref().or(config.rsa.as_ref()).filter(|_| is_client);
    RunFacts {
        is_client,
        users: config.users,
        rate: config.rate,
        rate_period_ms: config.rate_period_ms,
        pause_ms: config.rules.pause_ms,
        local_port: run.addresses().next().map_or(0, |address| address.port()),
        remote: remote.map_or(String::new(), HostPort::to_string),
        transport: config.transport.protocol().to_owned(),
        call_limit: run.call_limit(),
        calls_total: run.calls_total(),
        has_losses: config.rules.lost_percent > 0.0 || program.has_losses(),
        driver: run.driver_name().to_owned(),
        actions: actions(program),
        circuits: run.circuits().map_or(Vec::new(), |map| circuits(&map, &Circuits::default())),
    }
}

/// Most lines of circuits on a screen.
const CIRCUIT_LINES: usize = 20;
/// Circuits in one line.
const CIRCUITS_PER_LINE: u32 = 50;

/// The circuits of a trunk as lines: a star for a busy one, a dot for a free one.
pub(super) fn circuits(map: &CircuitMap, busy: &Circuits) -> Vec<String> {
    let held = busy.count;
    let mut lines = vec![format!("{held} of {} circuits are in use", map.len())];
    let busy: HashSet<[u32; 3]> = busy.indices.iter().map(|&index| map.parts(index)).collect();
    let (low, high) = map.fourth;
    let groups = (map.first.0..=map.first.1)
        .flat_map(|first| (map.third.0..=map.third.1).map(move |third| (first, third)));
    let pieces = groups.flat_map(|group| {
        (low..=high).step_by(CIRCUITS_PER_LINE as usize).map(move |begin| (group, begin))
    });
    let per_group = (u64::from(high - low) / u64::from(CIRCUITS_PER_LINE) + 1) as usize;
    let all = (map.len() / (u64::from(high - low) + 1)) as usize * per_group;
    for ((first, third), begin) in pieces.take(CIRCUIT_LINES) {
        let end = high.min(begin.saturating_add(CIRCUITS_PER_LINE - 1));
        let states = (begin..=end).map(|fourth| match busy.contains(&[first, third, fourth]) {
            true => '*',
            false => '.',
        });
        let place = format!("{first}.{}.{third}/{begin}-{end}", map.second);
        lines.push(format!("{place:<22} {}", states.collect::<String>()));
    }
    if all > CIRCUIT_LINES {
        lines.push(format!("and {} lines more", all - CIRCUIT_LINES));
    }
    lines
}

/// The actions of each step that has any.
pub(super) fn actions(program: &Program) -> Vec<(usize, Vec<String>)> {
    let texts = |(index, step): (usize, &crate::scenario::Step)| {
        let texts = step.actions.iter().map(|action| text(program, action)).collect();
        (index, texts)
    };
    let steps = program.steps.iter().enumerate();
    steps.filter(|(_, step)| !step.actions.is_empty()).map(texts).collect()
}

fn name(program: &Program, variable: VariableRef) -> String {
    let (names, index) = match variable {
        VariableRef::Call(index) => (&program.call_variables, index),
        VariableRef::User(index) => (&program.user_variables, index),
        VariableRef::Global(index) => (&program.global_variables, index),
    };
    names.get(usize::from(index)).map_or_else(|| "?".to_owned(), |name| format!("${name}"))
}

fn text(program: &Program, action: &Action) -> String {
    let name = |variable: VariableRef| name(program, variable);
    let operand = |operand: Operand| match operand {
        Operand::Constant(number) => number.to_string(),
        Operand::Variable(variable) => name(variable),
    };
    match action {
        Action::Ereg(ereg) => {
            let targets: Vec<String> = ereg.assign_to.iter().map(|&target| name(target)).collect();
            format!("ereg /{}/ -> {}", ereg.regex.as_str(), targets.join(", "))
        }
        Action::Assign(target, value) => format!("{} = {}", name(*target), operand(*value)),
        Action::ToDouble(target, source) => {
            format!("{} = number of {}", name(*target), name(*source))
        }
        Action::Arithmetic(operator, target, value) => {
            let sign = match operator {
                Operator::Add => '+',
                Operator::Subtract => '-',
                Operator::Multiply => '*',
                Operator::Divide => '/',
            };
            format!("{} {sign}= {}", name(*target), operand(*value))
        }
        Action::Jump(target) => format!("jump to {}", operand(*target)),
        other => {
            // Only the action's name is shown; its operands are in the scenario.
            let debug = format!("{other:?}");
            let end = debug.find(|c: char| !c.is_alphanumeric()).unwrap_or(debug.len());
            debug[..end].to_ascii_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circuits_are_shown_as_they_are() {
        let map = CircuitMap { first: (0, 1), second: 7, third: (3, 4), fourth: (1, 60) };
        let busy = Circuits { indices: vec![0, 59, 60 * 3 + 1], count: 3 };
        let lines = circuits(&map, &busy);
        assert_eq!(lines.len(), 1 + 8);
        assert_eq!(lines[0], "3 of 240 circuits are in use");
        assert_eq!(lines[1], format!("{:<22} *{}", "0.7.3/1-50", ".".repeat(49)));
        assert_eq!(lines[2], format!("{:<22} {}*", "0.7.3/51-60", ".".repeat(9)));
        assert_eq!(lines[7], format!("{:<22} .*{}", "1.7.4/1-50", ".".repeat(48)));
        let many = CircuitMap { first: (0, 99), second: 0, third: (0, 0), fourth: (0, 0) };
        assert_eq!(circuits(&many, &Circuits::default()).last().unwrap(), "and 80 lines more");
    }

    #[test]
    fn actions_are_told_with_the_names_of_their_variables() {
        let xml = r#"<scenario name="a"><recv request="INVITE"><action>
            <ereg regexp="a(b)" search_in="msg" assign_to="whole,part"/>
            <assign assign_to="x" value="3"/><add assign_to="x" variable="x"/>
            <log message="[$whole] [$part] [$x]"/></action></recv></scenario>"#;
        let program = crate::scenario::compile(xml, "a.xml", &[]).unwrap();
        let expected = ["ereg /a(b)/ -> $whole, $part", "$x = 3", "$x += $x", "log"];
        assert_eq!(actions(&program), [(0, expected.map(str::to_owned).to_vec())]);
    }
}
