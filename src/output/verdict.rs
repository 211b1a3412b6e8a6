//! The verdict in sentences: the observation, the affected figures, and advice.

use super::units;
use crate::stats::{
    CpuCause, CpuUse, Doubt, LimitCause, LimitCauses, LimitedSecond,
    PLANNED_SEND_ERROR_SAMPLES_MIN, Snapshot, Verdict, WithheldCause,
};

/// All sentences about the verdict, the most important first.
pub fn verdict_sentences(snapshot: &Snapshot) -> Vec<String> {
    let tally = &snapshot.verdict;
    let verdict = tally.verdict();
    let causes = tally.causes.nonzero().map(|(cause, _)| cause).collect();
    let mut sentences = vec![headline(snapshot)];
    if verdict.is_limited() {
        sentences.extend(cpu_sentence(snapshot, causes));
        sentences.extend(causes.iter().filter_map(advice_sentence));
    }
    sentences.extend(doubt_sentence(snapshot));
    sentences.extend(withheld_sentence(snapshot));
    if verdict.is_limited() {
        sentences.extend(tally.worst.as_ref().map(worst_sentence));
    }
    sentences
}

/// The verdict for users who do not see the final report, a sentence on each line; `None` if there
/// is nothing to do.
pub fn verdict_note(snapshot: &Snapshot) -> Option<String> {
    let verdict = snapshot.verdict.verdict();
    if !verdict.is_limited() && withheld_sentence(snapshot).is_none() {
        return None;
    }
    Some(format!("verdict {}: {}", verdict.label(), verdict_sentences(snapshot).join("\n  ")))
}

/// The reason of a limited run in a few words: the most frequent cause, and the use of the worker's
/// CPU.
pub fn verdict_reason(snapshot: &Snapshot) -> Option<String> {
    let tally = &snapshot.verdict;
    if !tally.verdict().is_limited() {
        return None;
    }
    // The comparison is stable: of equal counts the first declared one is taken.
    let (cause, _) = tally.causes.nonzero().min_by_key(|&(_, count)| std::cmp::Reverse(count))?;
    let said = match is_of_cpu(cause) {
        true => cpu_story(snapshot).map(|(_, said)| said),
        false => None,
    };
    let said = said.unwrap_or_else(|| format!("{}: {}", seen(cause), advice(cause)));
    Some(format!("{}, {said}", cause.label()))
}

/// The second as status lines number it: the first one ends at 00:01.
pub(super) fn number_of(second: u64) -> u64 {
    second + 1
}

/// The verdict and the number of seconds that it rests on.
fn headline(snapshot: &Snapshot) -> String {
    let tally = &snapshot.verdict;
    let (limited, judged) = (tally.limited_seconds, tally.judged_seconds);
    let starts = snapshot.planned_send_error.count;
    match tally.verdict() {
        Verdict::NotJudged if starts > 0 => format!(
            "{} {} too few to judge by: {PLANNED_SEND_ERROR_SAMPLES_MIN} are needed.",
            counted(starts, "call start"),
            if starts == 1 { "is" } else { "are" },
        ),
        Verdict::NotJudged if snapshot.calls.started == 0 => {
            "No call was started, so there is nothing to judge.".to_owned()
        }
        Verdict::NotJudged => "No second was complete, so there is nothing to judge.".to_owned(),
        Verdict::Ok if limited == 0 => match judged {
            1 => "The generator kept up in the one second that was judged.".to_owned(),
            _ => format!("The generator kept up in all {} seconds.", units::count(judged)),
        },
        Verdict::Ok => format!(
            "The generator kept up except in {} of {}{}, few enough for the figures to count.",
            units::count(limited),
            counted(judged, "second"),
            causes_in_brackets(snapshot),
        ),
        Verdict::GeneratorLimited { .. } => format!(
            "The generator fell behind in {} of {}{}, so do not report these figures.",
            units::count(limited),
            counted(judged, "second"),
            causes_in_brackets(snapshot),
        ),
    }
}

fn causes_in_brackets(snapshot: &Snapshot) -> String {
    let causes: Vec<_> = snapshot.verdict.causes.nonzero().collect();
    match causes[..] {
        [] => String::new(),
        [(cause, _)] => format!(" ({}: {})", cause.label(), seen(cause)),
        _ => {
            let named: Vec<_> = causes
                .iter()
                .map(|(cause, seconds)| format!("{} in {}", cause.label(), units::count(*seconds)))
                .collect();
            format!(" ({})", named.join(", "))
        }
    }
}

/// Tells whether a cause concerns the CPU of a worker.
fn is_of_cpu(cause: LimitCause) -> bool {
    matches!(
        cause,
        LimitCause::LateSends
            | LimitCause::LateRtp
            | LimitCause::WorkerBusy
            | LimitCause::WorkerStalled
    )
}

/// Tells how the CPU of the most affected worker was used in limited seconds, and the remedy.
fn cpu_sentence(snapshot: &Snapshot, causes: LimitCauses) -> Option<String> {
    if !causes.iter().any(is_of_cpu) {
        return None;
    }
    let (worker, said) = cpu_story(snapshot)?;
    Some(match snapshot.workers {
        1 => format!("The worker was {said}."),
        workers => format!("The worst of {workers} workers, worker-{worker}, was {said}."),
    })
}

fn cpu_story(snapshot: &Snapshot) -> Option<(usize, String)> {
    let limited = snapshot.cpu.iter().map(|cpu| cpu.limited).enumerate();
    // A worker that waited tells more than one that worked.
    let (worker, cpu) = limited
        .max_by_key(|(worker, cpu)| (cpu.lost_ns(), cpu.busy_ns, std::cmp::Reverse(*worker)))?;
    Some((worker, cpu_words(&cpu)))
}

/// Tells how a worker's CPU was used, and the remedy: the words after "the worker was".
pub(crate) fn cpu_words(cpu: &CpuUse) -> String {
    let busy = format!("{:.0} % busy", cpu.busy_share() * 100.0);
    let waited = time(cpu.waited_ns);
    match cpu.cause() {
        CpuCause::Busy => {
            format!("{busy} with its calls: lower the rate or add workers (-workers)")
        }
        CpuCause::OtherPrograms => format!(
            "{busy} and waited {waited} for a CPU that other programs used: free a CPU or use -cpus"
        ),
        CpuCause::OtherWorkers => format!(
            "{busy} and waited {waited} for a CPU that other workers used: use fewer workers \
             (-workers) or more CPUs (-cpus)"
        ),
        CpuCause::OwnThreads => format!(
            "{busy} and waited {waited} for a CPU that other threads of this program used: write \
             fewer traces, or give workers CPUs of their own (-cpus)"
        ),
        CpuCause::Stolen => format!(
            "{busy}, and the hypervisor gave its CPU to other machines for {}: use a host whose \
             CPUs are its own",
            time(cpu.stolen_ns)
        ),
        CpuCause::Throttled => format!(
            "{busy}, and the CPU quota of the control group stopped it for {}: raise the quota \
             (cpu.max, or --cpus of the container)",
            time(cpu.throttled_ns)
        ),
        CpuCause::WokenLate => format!(
            "{busy} and waited only {waited} for its CPU, so it was woken late: `gossipper doctor` \
             looks for power saving and a slow virtual machine"
        ),
        CpuCause::Unknown => "late, and the kernel does not tell what it waited for: keep other \
                              programs off its CPU, then lower the rate or add workers (-workers)"
            .to_owned(),
    }
}

/// Tells the observation and the remedy, if the cause does not concern the CPU.
fn advice_sentence(cause: LimitCause) -> Option<String> {
    if is_of_cpu(cause) {
        return None;
    }
    Some(format!("{}: {}; {}.", cause.label(), seen(cause), advice(cause)))
}

/// Describes a limited second.
fn seen(cause: LimitCause) -> &'static str {
    match cause {
        LimitCause::LateSends => "calls were started later than planned",
        LimitCause::LateRtp => "RTP was sent later than planned",
        LimitCause::WorkerBusy => "a worker was busy all the time",
        LimitCause::WorkerStalled => "a worker did not run",
        LimitCause::ReceiveOverflow => "the kernel dropped datagrams that had no room",
        LimitCause::ReceiveBuffers => "receive buffers ran out",
        LimitCause::CqOverflow => "the completion queue overflowed",
        LimitCause::HandoverDropped => "datagrams were lost between workers",
        LimitCause::SendNoBuffer => "the kernel had no buffer for sending",
        LimitCause::PoolFull => "a pool sized at start was full",
        LimitCause::SocketLimit => "no socket was left",
    }
}

/// Advises on a cause.
fn advice(cause: LimitCause) -> &'static str {
    match cause {
        LimitCause::LateSends | LimitCause::LateRtp | LimitCause::WorkerBusy => {
            "lower the rate or add workers"
        }
        LimitCause::WorkerStalled => "keep other programs off its CPU",
        LimitCause::ReceiveOverflow => "raise net.core.rmem_max and -buff_size, or add workers",
        LimitCause::ReceiveBuffers => "add workers",
        LimitCause::CqOverflow => "add workers or lower the rate",
        LimitCause::HandoverDropped => "use fewer workers",
        LimitCause::SendNoBuffer => "raise net.core.wmem_max and -buff_size, or lower the rate",
        LimitCause::PoolFull => "raise -max_calls",
        LimitCause::SocketLimit => "raise -max_socket",
    }
}

/// Tells which percentiles can be believed.
fn doubt_sentence(snapshot: &Snapshot) -> Option<String> {
    let tally = &snapshot.verdict;
    let Doubt { sound_up_to, doubtful_from } = tally.doubt()?;
    let affected = format!("{} of the calls are affected", share(tally.affected_share()));
    Some(match (sound_up_to, doubtful_from) {
        (Some(sound), None) => format!("All percentiles up to {sound} are unaffected."),
        (Some(sound), Some(doubtful)) => format!(
            "Percentiles up to {sound} are unaffected; {doubtful} and above are in doubt: \
             {affected}."
        ),
        (None, _) => format!("All percentiles are in doubt: {affected}."),
    })
}

/// Tells how many due calls were not started, and because of which option.
pub(super) fn withheld_sentence(snapshot: &Snapshot) -> Option<String> {
    // A listener that is off withholds calls of peers, not calls that we should have made.
    let withheld: Vec<_> = snapshot
        .counters
        .withheld
        .nonzero()
        .filter(|(cause, _)| *cause != WithheldCause::ListenerOff)
        .collect();
    let sum: u64 = withheld.iter().map(|(_, count)| count).sum();
    if sum == 0 {
        return None;
    }
    let offered = snapshot.counters.calls_outgoing + sum;
    let named: Vec<_> = withheld
        .iter()
        .map(|&(cause, count)| {
            format!("{} ({}, {})", remedy(cause), cause.label(), units::count(count))
        })
        .collect();
    Some(format!(
        "{} of the {} offered calls were not started: {}.",
        share(sum as f64 / offered as f64),
        units::count(offered),
        named.join("; ")
    ))
}

/// The option behind a limit, or other words for the remedy.
fn remedy(cause: WithheldCause) -> &'static str {
    match cause {
        WithheldCause::CallLimit => "-l",
        WithheldCause::PoolFull => "-max_calls",
        WithheldCause::SocketLimit => "-max_socket",
        WithheldCause::NoConnection => "no connection with the peer, -max_reconnect",
        WithheldCause::CircuitsBusy => "-tdmmap",
        WithheldCause::ListenerOff => "listener off",
    }
}

fn worst_sentence(worst: &LimitedSecond) -> String {
    let causes: Vec<_> = worst.causes.iter().map(LimitCause::label).collect();
    let rtp = match worst.rtp_send_error_p99_ns {
        0 => String::new(),
        late_ns => format!("RTP off by {} (p99), ", units::duration(late_ns)),
    };
    format!(
        "The worst was second {}: {}, call starts off by {} (p99), {rtp}busiest worker {:.0} %.",
        number_of(worst.second),
        causes.join(", "),
        units::duration(worst.planned_send_error_p99_ns),
        worst.busy_share_max * 100.0,
    )
}

/// A share in whole percent, if that is exact enough.
fn share(share: f64) -> String {
    match share {
        share if (0.01..1.0).contains(&share) => format!("{:.0} %", (share * 100.0).min(99.0)),
        _ => units::percent(share),
    }
}

/// A time in units that one can compare with a second.
fn time(ns: u64) -> String {
    match ns / 1_000_000 {
        ms @ ..10_000 => format!("{ms} ms"),
        ms => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", units::count(count))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{Aggregate, Counters, Layout, Report, RunStart};

    const SECOND_NS: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    /// A run of one worker that is late in `limited` of its seconds and has the CPU use `cpu`.
    fn run(seconds: u64, limited: u64, cpu: CpuUse) -> Snapshot {
        let layout = Arc::new(Layout::default());
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, RunStart::default());
        let mut counters = Counters::default();
        for second in 0..seconds {
            let mut report = Report::new(&layout, 0);
            let is_late = second < limited;
            for _ in 0..200 {
                let lateness_ns = if is_late { 4 * MS } else { 20_000 };
                report.histograms.record_planned_send_error(lateness_ns);
            }
            counters.calls_outgoing += 200;
            counters.calls_succeeded += 200;
            report.counters = counters;
            report.sequence = second;
            (report.start_ns, report.end_ns) = (second * SECOND_NS, (second + 1) * SECOND_NS);
            report.busy_ns = cpu.busy_ns;
            report.cpu = if is_late { cpu } else { CpuUse { time_ns: SECOND_NS, ..cpu } };
            aggregate.absorb(&report);
        }
        aggregate.snapshot()
    }

    fn second(busy_ms: u64, waited_ms: u64) -> CpuUse {
        CpuUse {
            time_ns: SECOND_NS,
            busy_ns: busy_ms * MS,
            waited_ns: waited_ms * MS,
            ..CpuUse::default()
        }
    }

    #[test]
    fn a_worker_that_other_programs_kept_waiting_is_not_told_to_slow_down() {
        let cpu = CpuUse { others_ns: 900 * MS, ..second(40, 38) };
        let said = verdict_sentences(&run(33, 10, cpu));
        assert_eq!(
            said[..2],
            [
                "The generator fell behind in 10 of 33 seconds (late_sends: calls were started \
                 later than planned), so do not report these figures.",
                "The worker was 4 % busy and waited 380 ms for a CPU that other programs used: \
                 free a CPU or use -cpus.",
            ]
        );
        assert!(!said.concat().contains("lower the rate"), "{said:?}");
        let reason = verdict_reason(&run(33, 10, cpu)).unwrap();
        assert!(reason.starts_with("late_sends, 4 % busy and waited 380 ms"), "{reason}");
    }

    #[test]
    fn each_cause_has_its_own_remedy() {
        let cases = [
            (second(930, 10), "93 % busy with its calls: lower the rate or add workers"),
            (CpuUse { workers_ns: 500 * MS, ..second(300, 300) }, "fewer workers"),
            (second(300, 300), "other threads of this program"),
            (CpuUse { stolen_ns: 400 * MS, ..second(40, 100) }, "hypervisor"),
            (CpuUse { throttled_ns: 300 * MS, ..second(40, 310) }, "raise the quota"),
            (second(40, 0), "woken late"),
            (CpuUse::default(), "the kernel does not tell"),
        ];
        for (cpu, remedy) in cases {
            let said = verdict_sentences(&run(5, 5, cpu));
            assert!(said[1].contains(remedy), "{:?} lacks {remedy}", said[1]);
            let slows_down = said.concat().contains("lower the rate");
            let may = matches!(cpu.cause(), CpuCause::Busy | CpuCause::Unknown);
            assert_eq!(slows_down, may, "{said:?}");
        }
    }

    #[test]
    fn percentiles_in_doubt_are_named() {
        let said = verdict_sentences(&run(30, 4, second(40, 38))).join(" ");
        assert!(
            said.contains(
                "Percentiles up to p50 are unaffected; p90 and above are in doubt: 13 % of \
                 the calls are affected."
            ),
            "{said}"
        );
        let said = verdict_sentences(&run(3, 3, second(40, 38))).join(" ");
        assert!(said.contains("All percentiles are in doubt"), "{said}");
        assert_eq!(verdict_sentences(&run(9, 0, second(40, 0))).len(), 1);
    }

    #[test]
    fn withheld_calls_are_told_with_their_options() {
        let mut snapshot = run(5, 0, second(40, 0));
        assert_eq!(withheld_sentence(&snapshot), None);
        (0..1000).for_each(|_| snapshot.counters.withheld.bump(WithheldCause::CallLimit));
        snapshot.counters.withheld.bump(WithheldCause::ListenerOff);
        let said = verdict_sentences(&snapshot);
        assert_eq!(
            said[1],
            "50 % of the 2,000 offered calls were not started: -l (call_limit, 1,000)."
        );
        (0..2000).for_each(|_| snapshot.counters.withheld.bump(WithheldCause::SocketLimit));
        let said = withheld_sentence(&snapshot).unwrap();
        assert!(said.starts_with("75 % of the 4,000"), "{said}");
        assert!(said.contains("-l (call_limit, 1,000); -max_socket (socket_limit, 2,000)"));
    }

    #[test]
    fn a_handful_of_starts_is_too_few_to_judge_by() {
        let said = |starts: u64| {
            let layout = Arc::new(Layout::default());
            let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, RunStart::default());
            let mut report = Report::new(&layout, 0);
            (0..starts).for_each(|_| report.histograms.record_planned_send_error(90 * MS));
            report.counters.calls_outgoing = starts;
            report.end_ns = SECOND_NS;
            report.is_last = true;
            aggregate.absorb(&report);
            verdict_sentences(&aggregate.snapshot())
        };
        assert_eq!(said(3), ["3 call starts are too few to judge by: 100 are needed."]);
        assert_eq!(said(1), ["1 call start is too few to judge by: 100 are needed."]);
        assert_eq!(said(0), ["No call was started, so there is nothing to judge."]);
    }
}
