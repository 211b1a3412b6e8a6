//! Options about the number of calls and the times of their start.

use super::{Accept, FlagGroup, count, milliseconds, seconds, switch, takes, within};
use crate::config::RATE_MAX;

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Calls and rate",
    flags: &[
        takes(
            "r",
            &["RATE"],
            Accept::Float { min: 0.0, max: RATE_MAX, set: |d, v| d.rate = Some(v) },
            "Calls to start per period",
        )
        .default("10"),
        takes(
            "rp",
            &["TIME"],
            milliseconds(1, |d, v| d.rate_period_ms = v),
            "Period of -r (bare number: ms)",
        )
        .default("1s"),
        takes(
            "m",
            &["N"],
            count(|d, v| d.calls_total = Some(v)),
            "Stop after N calls were created; 0 is until stopped",
        )
        .default("1 for a client without -duration, 0 for a server; 0 as sipp"),
        takes(
            "l",
            &["N"],
            within(1, u64::MAX, |d, v| d.concurrent_max = Some(v)),
            "Keep at most N calls open; not with -users",
        )
        .default("what -max_calls allows; as sipp 3 x rate x duration"),
        takes(
            "users",
            &["N"],
            within(1, u64::MAX, |d, v| d.users = Some(v)),
            "Keep N calls open instead of starting calls at a rate",
        ),
        takes(
            "rate_increase",
            &["RATE"],
            Accept::Float { min: 0.0, max: RATE_MAX, set: |d, v| d.rate_increase = v },
            "Add RATE to -r every -rate_interval",
        )
        .default("0"),
        takes(
            "rate_interval",
            &["TIME"],
            seconds(1, |d, v| d.rate_interval_ms = Some(v)),
            "Interval of -rate_increase (bare number: s)",
        )
        .default("that of -fd"),
        takes(
            "rate_max",
            &["RATE"],
            Accept::Float {
                min: 0.0,
                max: RATE_MAX,
                set: |d, v| d.rate_max = Some(v).filter(|&rate| rate > 0.0),
            },
            "End the ramp, and the run, at RATE; 0 is no ceiling",
        )
        .default("0"),
        switch(
            "no_rate_quit",
            |d| d.quit_at_rate_max = false,
            "Go on at -rate_max instead of ending the run",
        ),
        takes(
            "rate_scale",
            &["RATE"],
            Accept::Float { min: 0.0, max: RATE_MAX, set: |d, v| d.rate_scale = v },
            "Step of the keys that change the rate",
        )
        .default("1"),
        takes(
            "sleep",
            &["TIME"],
            seconds(0, |d, v| d.start_delay_ms = v),
            "Wait before the first call (bare number: s)",
        )
        .default("0"),
    ],
};
