//! Options about what a run shows, writes and is judged by.

use crate::config::ColorChoice;

use super::{Accept, FlagGroup, choice, later, seconds, switch, takes};

const MEDIA_GATES: &str = "health gates on media";
const API: &str = "the HTTP API";
const PROFILING: &str = "built-in profiling";

pub(super) const STATISTICS: FlagGroup = FlagGroup {
    title: "Statistics",
    flags: &[
        takes(
            "summary_json",
            &["FILE"],
            Accept::Path(|d, v| d.summary_json = Some(v)),
            "Write a summary of the run to FILE",
        )
        .ours(),
        takes(
            "stat_period",
            &["TIME"],
            seconds(0, |d, v| d.stat_period_ms = Some(v)),
            "Print a progress line to stderr every TIME (bare number: s); 0 is never",
        )
        .default("0")
        .ours(),
        takes(
            "f",
            &["TIME"],
            seconds(1, |d, v| d.screen_period_ms = Some(v)),
            "Refresh the screen every TIME (bare number: s)",
        )
        .default("1s"),
        switch("nostdin", |d| d.no_stdin = true, "Do not read the keyboard"),
        takes(
            "color",
            &["WHEN"],
            Accept::Parsed(|d, v| {
                let color = choice(
                    v,
                    &["auto", "always", "never"],
                    &[ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never],
                )?;
                d.color = Some(color);
                Ok(())
            }),
            "Colour the output: auto is on a terminal unless NO_COLOR is set, always, never",
        )
        .default("auto")
        .ours(),
        later("summary_html", &["FILE"], "HTML reports", "Write a report").ours(),
        takes(
            "call_records_jsonl",
            &["FILE"],
            Accept::Path(|d, v| d.export.call_records = Some(v)),
            "Write a line of JSON to FILE for each call that ends",
        )
        .ours(),
    ],
};

pub(super) const HEALTH: FlagGroup = FlagGroup {
    title: "Health gates (where one is set, they decide: exit 0, or 2)",
    flags: &[
        takes(
            "health_min_success_ratio",
            &["RATIO"],
            Accept::Float {
                min: 0.0,
                max: 1.0,
                set: |d, v| d.health.min_success_ratio = Some(v).filter(|&ratio| ratio > 0.0),
            },
            "Least share of successful calls, up to 1; 0 is no gate",
        )
        .default("0")
        .ours(),
        takes(
            "health_max_failed_calls",
            &["N"],
            Accept::CountOrOff(|d, v| d.health.max_failed_calls = v),
            "Most failed calls; -1 is no gate",
        )
        .default("-1")
        .ours(),
        takes(
            "health_max_timeouts",
            &["N"],
            Accept::CountOrOff(|d, v| d.health.max_timeouts = v),
            "Most calls that failed by a timeout; -1 is no gate",
        )
        .default("-1")
        .ours(),
        switch(
            "fail_if_limited",
            |d| d.fail_if_limited = true,
            "Exit with 3 if the generator, not the peer, limited the run",
        )
        .ours(),
        later("health_max_rtcp_fraction_lost", &["RATIO"], MEDIA_GATES, "Most loss").ours(),
        later("health_max_rtcp_jitter_ts", &["N"], MEDIA_GATES, "Most jitter").ours(),
        later("health_min_rtp_packets_recv", &["N"], MEDIA_GATES, "Least packets").ours(),
        later(
            "health_min_rtp_packets_recv_per_call",
            &["N"],
            MEDIA_GATES,
            "Least packets of the weakest call",
        )
        .ours(),
    ],
};

pub(super) const TRACES: FlagGroup = FlagGroup {
    title: "Interfaces and profiles",
    flags: &[
        later("api_addr", &["HOST:PORT"], API, "Address of the API").ours(),
        later("api_token", &["TOKEN"], API, "Token of the API").ours(),
        later("ui_data_dir", &["DIR"], API, "Data of the Control UI").ours(),
        later("scenario_history_keep", &["N"], API, "Old scenarios to keep").ours(),
        later("legacy_api_v1", &["BOOL"], API, "Serve version 1").ours(),
        later("pprof", &["HOST:PORT"], PROFILING, "Profiles over HTTP").ours(),
        later("cpuprofile", &["FILE"], PROFILING, "CPU profile").ours(),
        later("memprofile", &["FILE"], PROFILING, "Memory profile").ours(),
    ],
};
