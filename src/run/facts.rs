//! What screens say about a run beside its figures: who, where, how, and the scenario's actions.

use super::plan::Plan;
use crate::config::{HostPort, RunConfig};
use crate::output::screen::RunFacts;
use crate::scenario::{Action, Mode, Operand, Operator, Program, VariableRef};

/// The facts of a planned run that listens on `local_port`.
pub(super) fn facts(config: &RunConfig, plan: &Plan, local_port: u16) -> RunFacts {
    let program = &plan.launch.programs.main;
    let is_client = program.mode == Mode::Client;
    let remote = config.remote.as_ref().or(config.rsa.as_ref()).filter(|_| is_client);
    RunFacts {
        is_client,
        users: config.users,
        rate: config.rate,
        rate_period_ms: config.rate_period_ms,
        pause_ms: config.pause_ms_default,
        local_port,
        remote: remote.map_or(String::new(), HostPort::to_string),
        transport: config.transport.protocol().to_owned(),
        call_limit: plan.launch.engine.concurrent_max,
        calls_total: plan.calls_total,
        has_losses: config.lost_percent > 0.0 || program.has_losses(),
        driver: plan.driver_name.to_owned(),
        actions: actions(program),
        circuits: Vec::new(),
    }
}

fn actions(program: &Program) -> Vec<(usize, Vec<String>)> {
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
            // The name of the action; what it works on is in the scenario.
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
