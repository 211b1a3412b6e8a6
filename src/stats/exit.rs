//! The exit code of the process, from the end of the run and its results.

/// The way in which a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// All calls were made, or the user asked the run to stop.
    Completed,
    /// `-duration` ended the run: no more calls were due.
    TimeUp,
    /// `-timeout` ended the run.
    TimedOut,
    /// `-timeout` ended the run, and `-timeout_error` makes that an error.
    TimedOutAsError,
    /// The scenario ended the run (`int_cmd` `stop_now`).
    StoppedByScenario,
    /// There was nothing to run: help, a version or a printed scenario was asked for.
    NothingRun,
    /// The run could not start or continue.
    Fatal,
    /// A local address could not be bound.
    BindFailed,
}

/// The facts that decide the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The way in which the run ended.
    pub end: RunEnd,
    /// Calls that succeeded.
    pub calls_succeeded: u64,
    /// Calls that failed.
    pub calls_failed: u64,
    /// Result of the health gates; `None` if no gate was set.
    pub gates_pass: Option<bool>,
    /// The verdict was `generator_limited` and `-fail_if_limited` was given.
    pub is_limited_failure: bool,
    /// A pattern of RTP did not come back.
    pub is_rtp_check_failed: bool,
}

impl Outcome {
    /// An uneventful outcome to start from.
    pub fn new(end: RunEnd) -> Self {
        Self {
            end,
            calls_succeeded: 0,
            calls_failed: 0,
            gates_pass: None,
            is_limited_failure: false,
            is_rtp_check_failed: false,
        }
    }
}

/// Exit codes. The values are an interface: scripts and job supervisors branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// No call failed, or all health gates hold.
    Success = 0,
    /// At least one call failed, and no health gate was set.
    CallsFailed = 1,
    /// A health gate did not hold.
    HealthGateFailed = 2,
    /// The generator was the limit, and `-fail_if_limited` was given.
    GeneratorLimited = 3,
    /// The configuration of the daemon cannot be used, and another try would not change that
    /// (`EX_CONFIG` of sysexits.h).
    ConfigUnusable = 78,
    /// Stopped by the scenario, or by `-timeout` or `-duration` before any call came to its end.
    StoppedEarly = 97,
    /// There was nothing to run.
    NothingRun = 99,
    /// A pattern of RTP did not come back.
    RtpCheckFailed = 253,
    /// A local address could not be bound.
    BindFailed = 254,
    /// A fatal error.
    Fatal = 255,
}

impl ExitCode {
    /// The number that the process returns.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The exit code of a run.
///
/// Faults that keep the run from being a valid measurement come first: errors, failed RTP checks, a
/// limited generator. Then the gates, if any is set, decide alone between 0 and 2. Only without
/// gates do an early stop and failed calls count.
pub fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome.end {
        RunEnd::NothingRun => return ExitCode::NothingRun,
        RunEnd::BindFailed => return ExitCode::BindFailed,
        RunEnd::Fatal | RunEnd::TimedOutAsError => return ExitCode::Fatal,
        RunEnd::Completed | RunEnd::TimeUp | RunEnd::TimedOut | RunEnd::StoppedByScenario => {}
    }
    if outcome.is_rtp_check_failed {
        return ExitCode::RtpCheckFailed;
    }
    if outcome.is_limited_failure {
        return ExitCode::GeneratorLimited;
    }
    match outcome.gates_pass {
        Some(true) => return ExitCode::Success,
        Some(false) => return ExitCode::HealthGateFailed,
        None => {}
    }
    match outcome.end {
        RunEnd::StoppedByScenario => ExitCode::StoppedEarly,
        _ if outcome.calls_failed > 0 => ExitCode::CallsFailed,
        // All calls were still open: a run that tested nothing has not passed. SIPp does the same.
        RunEnd::TimedOut | RunEnd::TimeUp if outcome.calls_succeeded == 0 => ExitCode::StoppedEarly,
        _ => ExitCode::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_exit_codes() {
        let base = Outcome::new;
        let ended = |end, calls_succeeded, calls_failed| Outcome {
            calls_succeeded,
            calls_failed,
            ..base(end)
        };
        let gates = |pass, outcome| Outcome { gates_pass: Some(pass), ..outcome };
        let limited = |outcome| Outcome { is_limited_failure: true, ..outcome };
        let rtp = |outcome| Outcome { is_rtp_check_failed: true, ..outcome };
        use RunEnd::*;
        let table = [
            (ended(Completed, 0, 0), 0),
            (ended(Completed, 5, 0), 0),
            (ended(Completed, 5, 1), 1),
            (ended(TimeUp, 5, 0), 0),
            (ended(TimeUp, 5, 1), 1),
            (ended(TimeUp, 0, 3), 1),
            (ended(TimeUp, 0, 0), 97),
            (ended(TimedOut, 5, 0), 0),
            (ended(TimedOut, 5, 1), 1),
            (ended(TimedOut, 0, 0), 97),
            (ended(TimedOut, 0, 3), 1),
            (ended(StoppedByScenario, 5, 0), 97),
            (ended(TimedOutAsError, 5, 0), 255),
            (base(NothingRun), 99),
            (base(BindFailed), 254),
            (base(Fatal), 255),
            // Gates decide alone between 0 and 2.
            (gates(true, ended(Completed, 5, 1)), 0),
            (gates(false, ended(Completed, 5, 1)), 2),
            (gates(false, ended(Completed, 5, 0)), 2),
            (gates(true, ended(TimedOut, 0, 0)), 0),
            (gates(false, ended(StoppedByScenario, 0, 0)), 2),
            // Gates do not forgive errors.
            (gates(true, base(Fatal)), 255),
            (gates(true, base(BindFailed)), 254),
            // A limited run says nothing about the system, whether its gates hold or not.
            (limited(ended(Completed, 5, 0)), 3),
            (limited(gates(false, ended(Completed, 5, 1))), 3),
            (limited(gates(true, ended(Completed, 5, 0))), 3),
            (limited(base(Fatal)), 255),
            (rtp(ended(Completed, 5, 0)), 253),
            (rtp(limited(ended(Completed, 5, 1))), 253),
        ];
        for (outcome, code) in table {
            assert_eq!(exit_code(&outcome).code(), code, "{outcome:?}");
        }
    }
}
