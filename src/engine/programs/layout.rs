//! The names of the measurements of a run's programs. Only this file knows both a program and the
//! statistics about it.

use crate::scenario::{
    Distribution, Duration, Expect, Optional, Part, Program, Send, Step, StepKind,
};
use crate::stats::{self, Layout, ProgramLayout, StepLayout};

/// Returns the layout of a run of `programs`, the main one first. `pause_ms` is the length of a
/// pause without one of its own (`-d`).
pub fn layout(programs: &[&Program], pause_ms: u64) -> Layout {
    let mut layout = Layout::default();
    if let Some(main) = programs.first() {
        layout.rtd_repartition_ms.clone_from(&main.rtd_repartition_ms);
        layout.call_length_repartition_ms.clone_from(&main.call_length_repartition_ms);
    }
    let numbers: Vec<u8> = (0..=u8::MAX).take(programs.len()).collect();
    layout.programs = add_programs(&mut layout, programs, &numbers, pause_ms);
    layout
}

/// Returns the layout that follows `before` when new calls follow `programs`, which get `numbers`.
/// An earlier program remains if `stays` holds for its index. Names in `before` keep their figures,
/// and so do the bounds of repartitions.
pub(in crate::engine) fn next_layout(
    before: &Layout,
    stays: impl Fn(usize) -> bool,
    programs: &[&Program],
    numbers: &[u8],
    pause_ms: u64,
) -> Layout {
    let mut layout = Layout { programs: Vec::new(), ..before.clone() };
    layout.generation += 1;
    let mut all = add_programs(&mut layout, programs, numbers, pause_ms);
    let earlier = before.programs.iter().enumerate().filter(|&(index, _)| stays(index));
    all.extend(earlier.map(|(_, program)| program.clone()));
    layout.programs = all;
    layout
}

/// Adds the names of `programs` that `layout` lacks, and returns the layouts of the programs.
fn add_programs(
    layout: &mut Layout,
    programs: &[&Program],
    numbers: &[u8],
    pause_ms: u64,
) -> Vec<ProgramLayout> {
    let mut taken = Taken::default();
    let laid_out = programs.iter().zip(numbers).map(|(program, &number)| {
        let name = &program.name;
        ProgramLayout {
            name: name.clone(),
            number,
            generation: layout.generation,
            steps: step_layouts(program, pause_ms),
            transactions: taken.transactions.place(
                &mut layout.transactions,
                &program.transactions,
                name,
            ),
            rtds: taken.rtds.place(&mut layout.rtds, &program.rtds, name),
            counters: taken.counters.place(&mut layout.counters, &program.counters, name),
        }
    });
    let laid_out = laid_out.collect();
    for program in programs {
        taken.displays.place(&mut layout.displays, &program.displays, &program.name);
    }
    laid_out
}

/// Names that the programs so far have taken, by kind.
#[derive(Default)]
struct Taken {
    transactions: TakenNames,
    rtds: TakenNames,
    counters: TakenNames,
    displays: TakenNames,
}

#[derive(Default)]
struct TakenNames(Vec<String>);

impl TakenNames {
    /// Places the names of one program among `all`, and returns their indices. Names of an earlier
    /// generation are used again. If an earlier program of the same generation has a name too, the
    /// program's own name is added to it, as in `answer/BYE`.
    fn place(&mut self, all: &mut Vec<String>, own: &[String], program: &str) -> Vec<u16> {
        let earlier = self.0.len();
        let mut places = Vec::with_capacity(own.len());
        for name in own {
            let mut unique = name.clone();
            while self.0[..earlier].contains(&unique) {
                unique = format!("{program}/{unique}");
            }
            let place = all.iter().position(|known| *known == unique).unwrap_or_else(|| {
                all.push(unique.clone());
                all.len() - 1
            });
            self.0.push(unique);
            places.push(place as u16);
        }
        places
    }
}

/// Most bytes of a step's name that are shown: a pattern, or the text in place of a method, may be
/// of any length.
const NAME_BYTES_MAX: usize = 128;

fn step_layouts(program: &Program, pause_ms: u64) -> Vec<StepLayout> {
    let name_of = |rtd: u16| program.rtds.get(usize::from(rtd)).cloned().unwrap_or_default();
    let mut hides_rest = false;
    let steps = program.steps.iter().map(|step| {
        hides_rest |= step.screen.hide_rest;
        let (kind, mut name) = kind_and_name(step, pause_ms);
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        StepLayout {
            kind,
            name,
            rtd_starts: step.rtd_starts.iter().map(|&rtd| name_of(rtd)).collect(),
            rtd_stops: step.rtd_stops.iter().map(|stop| name_of(stop.rtd)).collect(),
            display: step.screen.display.map(|index| program.displays[usize::from(index)].clone()),
            is_hidden: step.screen.hide || hides_rest,
            is_gap_after: step.screen.crlf,
        }
    });
    steps.collect()
}

fn kind_and_name(step: &Step, pause_ms: u64) -> (stats::StepKind, String) {
    match &step.kind {
        StepKind::Send(send) => {
            (stats::StepKind::Send { retransmits: send.retrans_ms.is_some() }, first_word(send))
        }
        StepKind::Recv(recv) => {
            let name = match &recv.expect {
                Expect::Request(method) => method.to_string(),
                Expect::Response(code) => code.to_string(),
                Expect::RequestPattern(pattern) | Expect::ResponsePattern(pattern) => {
                    pattern.as_str().to_owned()
                }
            };
            let is_optional = recv.optional != Optional::Mandatory;
            (stats::StepKind::Recv { is_optional }, name)
        }
        StepKind::Pause(duration) | StepKind::Timewait(duration) => {
            (stats::StepKind::Pause, length(duration, pause_ms))
        }
        StepKind::Nop => (stats::StepKind::Nop, String::new()),
        StepKind::SendCommand(_) => (stats::StepKind::SendCommand, "sendCmd".to_owned()),
        StepKind::RecvCommand(_) => (stats::StepKind::RecvCommand, "recvCmd".to_owned()),
    }
}

/// The method of a request, or the code of a response.
fn first_word(send: &Send) -> String {
    let text = match send.template.parts.first() {
        Some(&Part::Literal { start, end }) => {
            send.template.pool.get(start as usize..end as usize).unwrap_or_default()
        }
        _ => &[],
    };
    let mut words = text.split(u8::is_ascii_whitespace).map(String::from_utf8_lossy);
    let first = words.next().unwrap_or_default();
    match first.starts_with("SIP/") {
        true => words.next().unwrap_or_default().into_owned(),
        false => first.into_owned(),
    }
}

/// The length of a pause, as SIPp's screen shows it.
fn length(duration: &Duration, pause_ms: u64) -> String {
    let distribution = match duration {
        Duration::RunDefault => return format!("{pause_ms}ms"),
        Duration::Variable(_) => return "$variable".to_owned(),
        Duration::Of(distribution) => distribution,
    };
    match distribution {
        Distribution::Fixed(value) => format!("{value}ms"),
        Distribution::Uniform { min, max } => format!("{min}/{max}ms"),
        Distribution::Integers { min, step, count } => format!("{min}+{step}*{count}ms"),
        Distribution::Normal { mean, stdev } => format!("N({mean},{stdev})"),
        Distribution::LogNormal { mean, stdev } => format!("LN({mean},{stdev})"),
        Distribution::Exponential { mean } => format!("Exp({mean})"),
        Distribution::Weibull { lambda, k } => format!("Wb({lambda},{k})"),
        Distribution::Pareto { k, x_m } => format!("P({k},{x_m})"),
        Distribution::GeneralisedPareto { shape, scale, location } => {
            format!("GP({shape},{scale},{location})")
        }
        Distribution::Gamma { k, theta } => format!("G({k},{theta})"),
        Distribution::NegativeBinomial { n, p } => format!("NB({n},{p})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::StepKind as Kind;

    #[test]
    fn steps_are_named_after_their_messages() {
        let program = crate::scenario::load_builtin("uac", &[]).unwrap();
        let layout = layout(&[&program], 250);
        let steps = &layout.programs[0].steps;
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["INVITE", "100", "180", "183", "200", "ACK", "250ms", "BYE", "200"]);
        assert_eq!(steps[0].kind, Kind::Send { retransmits: true });
        assert_eq!(steps[2].kind, Kind::Recv { is_optional: true });
        assert_eq!(steps[4].kind, Kind::Recv { is_optional: false });
        assert_eq!(steps[5].kind, Kind::Send { retransmits: false });
        assert_eq!(steps[6].kind, Kind::Pause);
        assert_eq!(layout.steps_total(), 9);
    }

    #[test]
    fn programs_with_the_same_names_are_told_apart() {
        let uac = crate::scenario::load_builtin("uac", &[]).unwrap();
        let layout = layout(&[&uac, &uac], 0);
        let name = &uac.name;
        let twice = format!("{name}/INVITE");
        assert_eq!(layout.transactions, ["INVITE", "BYE", &twice, &format!("{name}/BYE")]);
        assert_eq!(layout.programs[1].transactions, [2, 3]);
        assert_eq!(layout.first_step(1), layout.programs[0].steps.len());
        assert_eq!(layout.primary_transaction(), Some(0));
    }
    #[test]
    fn a_later_layout_keeps_the_places_of_names_and_adds_new_ones() {
        let uac = crate::scenario::load_builtin("uac", &[]).unwrap();
        let options = crate::scenario::load_builtin("options", &[]).unwrap();
        let first = layout(&[&uac], 0);
        let second = next_layout(&first, |_| true, &[&options], &[1], 0);
        assert_eq!(second.transactions, ["INVITE", "BYE", "OPTIONS"]);
        assert_eq!(second.programs[0].transactions, [2]);
        assert_eq!(second.programs[1], first.programs[0]);
        assert_eq!((second.generation, second.programs[0].generation), (1, 1));
        // Names of removed measurements keep their index, so that one that comes back continues its
        // counter.
        let third = next_layout(&second, |index| index == 0, &[&uac], &[2], 0);
        assert_eq!(third.transactions, second.transactions);
        assert_eq!(third.programs[0].transactions, [0, 1]);
        assert_eq!(third.programs.len(), 2);
        let carried = third.carry_steps(&second, &vec![Default::default(); second.steps_total()]);
        assert_eq!(carried.len(), third.steps_total());
    }
}
