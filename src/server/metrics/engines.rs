//! The families of engines.
//!
//! The families are written here and not recorded through the `metrics` facade: they expose a
//! consistent copy of figures that exist already. The exporter of that facade could take neither a
//! histogram with finished buckets nor a counter with a fraction, and could not forget an engine.

use super::catalogue::*;
use super::figures::{EngineFigures, KINDS, STATES};
use super::slots::Sum;
use super::text::Text;
use super::totals::Responses;
use crate::stats::{
    Counters, DropCause, FailureCause, LimitCause, StepCounts, TraceKind, WithheldCause,
};

/// An engine under its label.
pub(super) struct Exposed<'e> {
    pub(super) engine: &'e EngineFigures,
    pub(super) sum: Sum,
}

/// Reads one figure of a `T`.
pub(super) type Figure<T> = fn(&T) -> u64;

/// A value of the label, the name among [`Counters::NAMES`], and the reader of the figure.
type Labelled = (&'static str, &'static str, Figure<Counters>);

/// Families of one plain counter each, with its name among [`Counters::NAMES`].
const PLAIN: &[(&Family, &str, Figure<Counters>)] = &[
    (&CALLS_COMPLETED, "calls_succeeded", |c| c.calls_succeeded),
    (&RETRANSMISSIONS_SENT, "retransmissions_sent", |c| c.retransmissions_sent),
    (&RETRANSMISSIONS_RECEIVED, "retransmissions_received", |c| c.retransmissions_received),
    (&OUT_OF_DIALOG, "out_of_call_messages", |c| c.out_of_call_messages),
    (&LATE_MESSAGES, "dead_call_messages", |c| c.dead_call_messages),
    (&AUTO_ANSWERED, "auto_answered", |c| c.auto_answered),
    (&SIMULATED_LOSSES, "simulated_losses", |c| c.simulated_losses),
    (&CONNECTIONS_OPENED, "connections_opened", |c| c.connections_opened),
    (&CONNECTIONS_ACCEPTED, "connections_accepted", |c| c.connections_accepted),
    (&CONNECTIONS_FAILED, "connections_failed", |c| c.connections_failed),
    (&CONNECTIONS_LOST, "connections_lost", |c| c.connections_lost),
    (&RECONNECTS, "reconnects", |c| c.reconnects),
    (&HANDSHAKES, "handshakes", |c| c.handshakes),
    (&HANDSHAKES_RESUMED, "handshakes_resumed", |c| c.handshakes_resumed),
    (&STREAM_BYTES_SENT, "stream_bytes_sent", |c| c.stream_bytes_sent),
    (&STREAM_BYTES_RECEIVED, "stream_bytes_received", |c| c.stream_bytes_received),
    (&DATAGRAMS_SENT, "datagrams_sent", |c| c.datagrams_sent),
    (&DATAGRAMS_RECEIVED, "datagrams_received", |c| c.datagrams_received),
    (&SEND_OPERATIONS, "trains_sent", |c| c.trains_sent),
    (&SEGMENTATION_FALLBACKS, "gso_fallbacks", |c| c.gso_fallbacks),
    (&KERNEL_ENTERS, "kernel_enters", |c| c.kernel_enters),
    (&ICMP_ERRORS, "icmp_errors", |c| c.icmp_errors),
    (&RECEIVE_REARMS, "receive_rearms", |c| c.receive_rearms),
    (&CQ_OVERFLOW, "cq_overflow", |c| c.cq_overflow),
    (&HANDED_OVER, "handed_over", |c| c.handed_over),
    (&HANDOVER_DROPS, "handover_dropped", |c| c.handover_dropped),
    (&COMMANDS_DROPPED, "commands_dropped", |c| c.commands_dropped),
    (&SCENARIO_WARNINGS, "warnings", |c| c.warnings),
];

/// Families of plain counters with a label that tells them apart.
const LABELLED: &[(&Family, &[Labelled])] = &[
    (
        &SENDS_DEFERRED,
        &[
            ("arena", "sends_deferred", |c| c.sends_deferred),
            ("connection", "sends_congested", |c| c.sends_congested),
        ],
    ),
    (&SEND_ERRORS, &[("ENOBUFS", "send_no_buffer", |c| c.send_no_buffer)]),
    (
        &RECEIVE_DROPS,
        &[
            ("overflow", "receive_overflow", |c| c.receive_overflow),
            ("truncated", "receive_truncated", |c| c.receive_truncated),
        ],
    ),
    (
        &WORKER_STALLS,
        &[
            ("minor", "watchdog_minor", |c| c.watchdog_minor),
            ("major", "watchdog_major", |c| c.watchdog_major),
        ],
    ),
];

/// Writes the families of all engines.
pub(super) fn write(text: &mut Text, engines: &[Exposed<'_>]) {
    runs(text, engines);
    calls(text, engines);
    messages(text, engines);
    steps(text, engines);
    generator(text, engines);
    for (family, _, value) in PLAIN {
        each(text, family, engines, |text, exposed| {
            text.sample(family, &[&exposed.sum.label], value(&exposed.sum.totals.counters));
        });
    }
    for (family, counters) in LABELLED {
        each(text, family, engines, |text, exposed| {
            for (label, _, value) in *counters {
                text.sample(
                    family,
                    &[&exposed.sum.label, label],
                    value(&exposed.sum.totals.counters),
                );
            }
        });
    }
}

/// A family with the samples that `write` makes of each engine; nothing where there is no engine.
pub(super) fn each(
    text: &mut Text,
    family: &Family,
    engines: &[Exposed<'_>],
    mut write: impl FnMut(&mut Text, &Exposed<'_>),
) {
    if !engines.is_empty() {
        text.family(family);
        engines.iter().for_each(|exposed| write(text, exposed));
    }
}

fn runs(text: &mut Text, engines: &[Exposed<'_>]) {
    text.family(&ENGINES);
    for kind in KINDS {
        for state in STATES {
            let is_one = |exposed: &&Exposed<'_>| {
                (exposed.engine.kind, exposed.engine.state) == (kind, state)
            };
            let count = engines.iter().filter(is_one).count();
            text.sample(&ENGINES, &[kind, state], count as u64);
        }
    }
    each(text, &RUN_INFO, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        let EngineFigures { run_id, id, scenario, kind, .. } = engine;
        text.sample(&RUN_INFO, &[label, run_id, id, scenario, kind], 1);
    });
    each(text, &RUN_STATE, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        for state in STATES {
            text.sample(&RUN_STATE, &[label, state], u64::from(state == engine.state));
        }
    });
    each(text, &RUN_START, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        text.sample(&RUN_START, &[label], engine.started_at_unix_ns as f64 / 1e9);
    });
    each(text, &WORKERS, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        let workers = if engine.is_over() { 0 } else { engine.snapshot.workers };
        text.sample(&WORKERS, &[label], workers as u64);
    });
}

fn calls(text: &mut Text, engines: &[Exposed<'_>]) {
    each(text, &TARGET_RATE, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        let rate = if engine.is_over() { 0.0 } else { engine.snapshot.rate.target_now };
        text.sample(&TARGET_RATE, &[label], rate);
    });
    each(text, &CALLS_STARTED, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        text.sample(&CALLS_STARTED, &[label], totals.counters.calls_started());
    });
    each(text, &CALLS_FAILED, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for &cause in FailureCause::ALL {
            let count = totals.counters.failures.count(cause);
            text.sample(&CALLS_FAILED, &[label, cause.label()], count);
        }
    });
    each(text, &CALLS_SKIPPED, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for &cause in WithheldCause::ALL {
            let count = totals.counters.withheld.count(cause);
            text.sample(&CALLS_SKIPPED, &[label, cause.label()], count);
        }
    });
    each(text, &CALLS_ACTIVE, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        text.sample(&CALLS_ACTIVE, &[label], engine.lifetime.counters.calls_active());
    });
    each(text, &CALL_DURATION, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        text.histogram(&CALL_DURATION, &[label], &totals.call_length);
    });
}

fn messages(text: &mut Text, engines: &[Exposed<'_>]) {
    each(text, &REQUESTS_SENT, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for (method, count) in totals.messages.sent.requests() {
            text.sample(&REQUESTS_SENT, &[label, method], count);
        }
    });
    each(
        text,
        &REQUESTS_RECEIVED,
        engines,
        |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
            for (method, count) in totals.messages.received.requests() {
                text.sample(&REQUESTS_RECEIVED, &[label, method], count);
            }
        },
    );
    each(text, &RESPONSES_SENT, engines, |text, Exposed { sum, .. }| {
        responses(text, &RESPONSES_SENT, &sum.label, &sum.responses_sent);
    });
    each(text, &RESPONSES_RECEIVED, engines, |text, Exposed { sum, .. }| {
        responses(text, &RESPONSES_RECEIVED, &sum.label, &sum.responses_received);
    });
    each(text, &PARSE_ERRORS, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for &cause in DropCause::ALL {
            text.sample(&PARSE_ERRORS, &[label, cause.label()], totals.counters.drops.count(cause));
        }
    });
    durations(text, engines);
}

/// Times of transactions, and of the timers of scenarios.
fn durations(text: &mut Text, engines: &[Exposed<'_>]) {
    let has_transactions = |exposed: &Exposed<'_>| !exposed.sum.totals.transactions.is_empty();
    if engines.iter().any(has_transactions) {
        each(
            text,
            &RESPONSE_SECONDS,
            engines,
            |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
                for (method, both) in &totals.transactions {
                    text.histogram(&RESPONSE_SECONDS, &[label, method], &both.response);
                }
            },
        );
        each(
            text,
            &SERVICE_SECONDS,
            engines,
            |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
                for (method, both) in &totals.transactions {
                    text.histogram(&SERVICE_SECONDS, &[label, method], &both.service);
                }
            },
        );
        each(
            text,
            &REFUSED_SECONDS,
            engines,
            |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
                text.histogram(&REFUSED_SECONDS, &[label], &totals.refused());
            },
        );
    }
    if engines.iter().any(|exposed| !exposed.sum.totals.timers.is_empty()) {
        each(
            text,
            &TIMER_SECONDS,
            engines,
            |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
                for (timer, buckets) in &totals.timers {
                    text.histogram(&TIMER_SECONDS, &[label, timer], buckets);
                }
            },
        );
    }
}

fn responses(text: &mut Text, family: &Family, label: &str, responses: &Responses) {
    for ((method, code), &count) in responses {
        text.sample(family, &[label, method, code], count);
    }
}

fn steps(text: &mut Text, engines: &[Exposed<'_>]) {
    if engines.iter().all(|exposed| exposed.sum.totals.steps.is_empty()) {
        return;
    }
    let families: [(&Family, Figure<StepCounts>); 4] = [
        (&STEP_MESSAGES, |counts| counts.messages),
        (&STEP_RETRANSMISSIONS, |counts| counts.retransmissions),
        (&STEP_TIMEOUTS, |counts| counts.timeouts),
        (&STEP_UNEXPECTED, |counts| counts.unexpected),
    ];
    for (family, value) in families {
        each(text, family, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
            for (step, counts) in &totals.steps {
                text.sample(family, &[label, step], value(counts));
            }
        });
    }
}

fn generator(text: &mut Text, engines: &[Exposed<'_>]) {
    each(text, &SCHEDULER_LAG, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        text.histogram(&SCHEDULER_LAG, &[label], &totals.scheduler_lag);
    });
    each(text, &LOOP_SECONDS, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        text.histogram(&LOOP_SECONDS, &[label], &totals.loop_time);
    });
    each(text, &CORE_BUSY, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for (core, &busy_ns) in totals.busy_ns.iter().enumerate() {
            text.sample(&CORE_BUSY, &[label, &core.to_string()], busy_ns as f64 / 1e9);
        }
    });
    each(text, &HEADROOM, engines, |text, Exposed { engine, sum: Sum { label, .. } }| {
        let busy = match &engine.snapshot.last_second {
            Some(row) if !engine.is_over() => row.busy_share_max,
            _ => 0.0,
        };
        text.sample(&HEADROOM, &[label], (1.0 - busy).clamp(0.0, 1.0));
    });
    each(text, &JUDGED_SECONDS, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        text.sample(&JUDGED_SECONDS, &[label], totals.seconds.judged);
    });
    each(
        text,
        &VERDICT_SECONDS,
        engines,
        |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
            let unlimited = totals.seconds.judged.saturating_sub(totals.seconds.limited);
            text.sample(&VERDICT_SECONDS, &[label, "none"], unlimited);
            for &cause in LimitCause::ALL {
                text.sample(
                    &VERDICT_SECONDS,
                    &[label, cause.label()],
                    totals.seconds.causes.count(cause),
                );
            }
        },
    );
    each(text, &TRACE_DROPS, engines, |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
        for &kind in TraceKind::ALL {
            let count = totals.counters.trace_drops.count(kind);
            text.sample(&TRACE_DROPS, &[label, kind.label()], count);
        }
    });
    each(
        text,
        &TRACE_UNWRITTEN,
        engines,
        |text, Exposed { sum: Sum { label, totals, .. }, .. }| {
            for (kind, count) in totals.unwritten.by_label() {
                text.sample(&TRACE_UNWRITTEN, &[label, kind], count);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters that are exposed in another way, or left out on purpose.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("calls_outgoing", "calls started"),
        ("calls_incoming", "calls started"),
        ("calls_failed", "by cause"),
        ("requests_sent", "by method"),
        ("responses_sent", "by method and code"),
        ("requests_received", "by method"),
        ("responses_received", "by method and code"),
        ("parse_errors", "by cause"),
        ("wait_ns", "busy seconds are its complement"),
        ("commands_sent", "3PCC runs outside the daemon"),
        ("commands_received", "3PCC runs outside the daemon"),
        ("acks_repeated", "part of retransmissions"),
        ("keepalives_received", "neither load nor fault"),
        ("bad_requests_answered", "part of parse errors"),
        ("dead_calls_evicted", "changes only how a late message counts"),
        ("fatal_errors", "each ends the run"),
    ];

    #[test]
    fn every_counter_is_exposed_or_left_out_for_a_reason() {
        let labelled = LABELLED.iter().flat_map(|(_, counters)| counters.iter());
        let mut names: Vec<&str> = PLAIN.iter().map(|(_, name, _)| *name).collect();
        names.extend(labelled.map(|(_, name, _)| *name));
        names.extend(ELSEWHERE.iter().map(|(name, _)| *name));
        for name in Counters::NAMES {
            let times = names.iter().filter(|known| known == &name).count();
            assert_eq!(times, 1, "{name}: give it a family or a reason");
        }
        assert_eq!(names.len(), Counters::NAMES.len());
    }
}
