//! The contract as messages: between a process and its child, or over a bus.
//!
//! A message is one line of JSON, with the version of the contract. A line longer than any message
//! of the contract is refused before it is read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Reply, Request, State, VERSION};
use crate::stats::{Delta, Source};

/// The longest message: a scenario has a megabyte or two, and a delta some hundred kilobytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToRun {
    /// A request to the run.
    Request {
        /// The number that the reply will have.
        id: u64,
        /// The request.
        request: Request,
    },
    /// Send deltas once a second from now on, under this name; `None` ends that.
    Listen(Option<Source>),
}

/// A message of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromRun {
    /// The answer to a request.
    Reply {
        /// The number of the request.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// The state, which replaces the earlier one.
    State(Box<State>),
    /// Figures of an interval.
    Delta(Box<Delta>),
}

/// A message and the version of the contract that it belongs to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<M> {
    version: u32,
    message: M,
}

/// The part of an envelope that all versions have.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reasons why bytes are not a message.
#[derive(Debug, Error)]
pub enum WireError {
    /// The message is longer than the limit.
    #[error("a message of {0} bytes; the longest has {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// The message has another version of the contract.
    #[error(
        "a message of version {0} of the control contract, and this program speaks {VERSION}; run the same release on both sides"
    )]
    Version(u32),
    /// The text is not a message.
    #[error("no message of the control contract: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Encodes a message as a line, with its end.
///
/// # Errors
/// The message would be too long.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut line = serde_json::to_vec(&Envelope { version: VERSION, message })?;
    line.push(b'\n');
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(line.len()));
    }
    Ok(line)
}

/// Decodes the message of a line.
///
/// # Errors
/// The line is no message, or one of another version.
pub fn decode<M: DeserializeOwned>(line: &[u8]) -> Result<M, WireError> {
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(line.len()));
    }
    let Head { version } = serde_json::from_slice(line)?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let Envelope { message, .. } = serde_json::from_slice(line)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::config::{ScenarioSource, Transport};
    use crate::control::{
        Circuits, ClientState, ListenerState, NewScenario, Phase, Rate, Refusal, ScenarioState,
        Told, Wait, Waits,
    };
    use crate::sinks::Log;
    use crate::stats::{
        Aggregate, CallTotals, Health, Layout, LayoutId, ProgramLayout, Report, RunStart, StepKind,
        StepLayout,
    };

    /// Declares samples of an enum, and a function that fails to compile once a variant has none.
    macro_rules! samples {
        ($name:ident -> $type:ty { $($pattern:pat => $sample:expr,)+ }) => {
            fn $name() -> Vec<$type> {
                let _ = |value: &$type| match value { $($pattern => {})+ };
                vec![$($sample),+]
            }
        };
    }

    samples!(requests -> Request {
        Request::SetRate(_) => Request::SetRate(Rate { calls: 0.1, period_ms: 330 }),
        Request::SetPaused(_) => Request::SetPaused(true),
        Request::SetStartsPaused(_) => Request::SetStartsPaused(false),
        Request::SetUsers(_) => Request::SetUsers(u64::MAX),
        Request::SetCallLimit(_) => Request::SetCallLimit(7),
        Request::SetCallsTotal(_) => Request::SetCallsTotal(None),
        Request::SetListener { .. } => Request::SetListener { index: 3, enabled: false },
        Request::Swap(_) => Request::Swap(NewScenario::Reload),
        Request::SetLog { .. } => Request::SetLog { log: Log::ShortMessages, enabled: true },
        Request::ResetStats => Request::ResetStats,
        Request::Drain => Request::Drain,
        Request::Quit => Request::Quit,
        Request::Stop => Request::Stop,
        Request::StopNow => Request::StopNow,
        Request::TellCalls => Request::TellCalls,
        Request::TellWaits => Request::TellWaits,
        Request::TellCircuits => Request::TellCircuits,
        Request::TellVariables => Request::TellVariables,
        Request::TellLayout => Request::TellLayout,
    });

    samples!(scenarios -> NewScenario {
        NewScenario::Sent(_) => NewScenario::Sent("<a b=\"\u{e4}\"/>\n".to_owned()),
        NewScenario::Reload => NewScenario::Reload,
        NewScenario::Configured { .. } => NewScenario::Configured {
            source: ScenarioSource::File(PathBuf::from("a b.xml")),
            text: String::new(),
            is_sent: true,
        },
    });

    samples!(told -> Told {
        Told::Calls(_) => Told::Calls(CallTotals { started: 3, succeeded: 1, failed: 1, active: 1 }),
        Told::Waits(_) => Told::Waits(Waits {
            calls: waits().into_iter().map(|wait| (wait, 4)).collect(),
            left_ns: Some(5),
        }),
        Told::Circuits(_) => Told::Circuits(Circuits { indices: vec![1, 9], count: 20 }),
        Told::Variables(_) => Told::Variables(vec![("a".to_owned(), "b".to_owned())]),
        Told::Layout(_) => Told::Layout(Box::new(layout())),
    });

    samples!(waits -> Wait {
        Wait::Answer(_) => Wait::Answer(Some("INVITE".to_owned())),
        Wait::Request => Wait::Request,
        Wait::Pause => Wait::Pause,
        Wait::Command => Wait::Command,
        Wait::Room => Wait::Room,
    });

    samples!(refusals -> Refusal {
        Refusal::Invalid(_) => Refusal::Invalid("a".to_owned()),
        Refusal::Refused(_) => Refusal::Refused("b".to_owned()),
        Refusal::Forbidden(_) => Refusal::Forbidden("c".to_owned()),
        Refusal::Unknown(_) => Refusal::Unknown("d".to_owned()),
        Refusal::Over => Refusal::Over,
        Refusal::Busy => Refusal::Busy,
        Refusal::Timeout => Refusal::Timeout,
    });

    samples!(phases -> Phase {
        Phase::Starting => Phase::Starting,
        Phase::Running => Phase::Running,
        Phase::Paused => Phase::Paused,
        Phase::Draining => Phase::Draining,
        Phase::Finished { .. } => Phase::Finished { code: 99 },
        Phase::Failed { .. } => Phase::Failed { reason: "out of luck".to_owned() },
    });

    samples!(steps -> StepKind {
        StepKind::Send { .. } => StepKind::Send { retransmits: true },
        StepKind::Recv { .. } => StepKind::Recv { is_optional: false },
        StepKind::Pause => StepKind::Pause,
        StepKind::Nop => StepKind::Nop,
        StepKind::SendCommand => StepKind::SendCommand,
        StepKind::RecvCommand => StepKind::RecvCommand,
    });

    fn layout() -> Layout {
        let steps = steps().into_iter().map(|kind| StepLayout::plain(kind, "a")).collect();
        let program = ProgramLayout { name: "uac".to_owned(), steps, ..ProgramLayout::default() };
        let transactions = vec!["INVITE".to_owned()];
        Layout { programs: vec![program], transactions, ..Layout::default() }
    }

    fn state(phase: Phase) -> State {
        let source = ScenarioSource::Builtin("uas".to_owned());
        State {
            phase,
            run_id: "0123456789abcdef".to_owned(),
            started_at_unix_ns: 5,
            health: Health { success_ratio_min: Some(0.5), ..Health::default() },
            rate: 2.5,
            users: Some(3),
            call_limit: None,
            is_client: true,
            is_paused: false,
            listeners: vec![ListenerState {
                index: 0,
                transport: Transport::TlsMono,
                local_ip: "::1".parse().unwrap(),
                local_port: 5061,
                enabled: true,
                scenario_name: "uas".to_owned(),
            }],
            client: Some(ClientState {
                transport: Transport::UdpMulti,
                local_ip: "127.0.0.1".parse().unwrap(),
                local_port: 1,
                remote_addr: "a:5060".to_owned(),
                remote: Some("192.0.2.1:5060".parse().unwrap()),
                accepting: true,
            }),
            scenario: ScenarioState {
                name: "uas".to_owned(),
                source,
                file: Some(PathBuf::from("a")),
                xml: Arc::from("<scenario/>"),
                builtin: true,
            },
            driver: "sim".to_owned(),
            notices: vec!["n".to_owned()],
            layout: LayoutId(1 << 63),
        }
    }

    fn delta() -> Delta {
        let layout = Arc::new(layout());
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, RunStart::default());
        assert!(aggregate.record_deltas(Source::try_from("a".to_owned()).unwrap()));
        let mut report = Report { end_ns: 5, is_last: true, ..Report::new(&layout, 0) };
        report.histograms.record_service(0, 5_000_000);
        aggregate.absorb(&report);
        aggregate.take_deltas().remove(0)
    }

    samples!(to_run -> ToRun {
        ToRun::Request { .. } => ToRun::Request { id: u64::MAX, request: Request::Drain },
        ToRun::Listen(_) => ToRun::Listen(None),
    });

    samples!(from_run -> FromRun {
        FromRun::Reply { .. } => FromRun::Reply { id: 0, reply: Reply::Done },
        FromRun::State(_) => FromRun::State(Box::new(state(Phase::Running))),
        FromRun::Delta(_) => FromRun::Delta(Box::new(delta())),
    });

    samples!(replies -> Reply {
        Reply::Done => Reply::Done,
        Reply::Told(_) => Reply::Told(Told::Variables(Vec::new())),
        Reply::Refused(_) => Reply::Refused(Refusal::Busy),
    });

    #[test]
    fn every_message_comes_out_as_it_went_in() {
        let swaps = scenarios().into_iter().map(Request::Swap);
        let asked = requests().into_iter().chain(swaps);
        let mut sent = to_run();
        sent.extend(asked.map(|request| ToRun::Request { id: 1, request }));
        sent.push(ToRun::Listen(Some(Source::try_from("node-1:a.b_c".to_owned()).unwrap())));
        for message in sent {
            let line = encode(&message).unwrap();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(decode::<ToRun>(&line).unwrap(), message);
        }
        let told = told().into_iter().map(Reply::Told);
        let refused = refusals().into_iter().map(Reply::Refused);
        let replies = replies().into_iter().chain(told).chain(refused);
        let mut sent = from_run();
        sent.extend(replies.map(|reply| FromRun::Reply { id: 1, reply }));
        sent.extend(phases().into_iter().map(|phase| FromRun::State(Box::new(state(phase)))));
        for message in sent {
            assert_eq!(decode::<FromRun>(&encode(&message).unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn what_is_no_message_is_said_to_be_none() {
        let of = |text: &str| decode::<ToRun>(text.as_bytes()).unwrap_err().to_string();
        for (text, part) in [
            ("", "no message"),
            ("{}", "version"),
            (r#"{"version":1,"message":{"request":{"id":1,"request":"dance"}}}"#, "dance"),
            (r#"{"version":1,"message":{"request":{"id":1}}}"#, "request"),
            (r#"{"version":1,"message":{"listen":"a b"}}"#, "letters"),
            (r#"{"version":1,"message":{"listen":null},"more":1}"#, "more"),
            (r#"{"version":2,"message":{"later":true},"more":1}"#, "version 2"),
        ] {
            let error = of(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = vec![b' '; MESSAGE_BYTES_MAX + 1];
        assert!(matches!(decode::<ToRun>(&long), Err(WireError::TooLong(_))));
    }

    #[test]
    fn a_rate_has_one_limit() {
        for rate in [-1.0, 1e9 + 1.0, f64::NAN, f64::INFINITY] {
            let error = Request::SetRate(Rate { calls: rate, period_ms: 1 }).check().unwrap_err();
            assert_eq!(error.to_string(), "a rate is a number from 0 to 1000000000");
        }
        for request in requests() {
            assert_eq!(request.check(), Ok(()), "{request:?}");
        }
    }
}
