//! Options about the screens, files and exit code of a run.

use crate::config::{ColorChoice, StandingGate, parse_listen_address};

use super::{Accept, FlagGroup, choice, count, later, or_off, seconds, switch, takes, within};

const UI: &str = "the Control UI";
const PROFILING: &str = "built-in profiling";

/// Jitter of a minute is none: nobody waits that long for audio.
const JITTER_MS_MAX: f64 = 60_000.0;

/// The limit in the specification of the API.
const DYNAMIC_CLIENTS_MAX: u64 = 32;

/// The gate for a number of calls that an option sets, or switches off.
fn standing(limit: Option<u64>) -> StandingGate {
    limit.map_or(StandingGate::Off, StandingGate::Most)
}

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
            seconds(0, |d, v| d.stat_period_ms = or_off(v)),
            "Print a progress line to stderr every TIME (bare number: s); 0 is never",
        )
        .default("0")
        .ours(),
        switch(
            "stat_line",
            |d| d.stat_line = true,
            "End the report with a line of figures for programs; always so if stdout is not a \
             terminal",
        )
        .ours(),
        takes(
            "f",
            &["TIME"],
            seconds(1, |d, v| d.screen_period_ms = v),
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
                d.color = color;
                Ok(())
            }),
            "Colour the output: auto is on a terminal unless NO_COLOR is set, always, never",
        )
        .default("auto")
        .ours(),
        takes(
            "summary_html",
            &["FILE"],
            Accept::Path(|d, v| d.summary_html = Some(v)),
            "Write the report of the run to FILE as one HTML page, which needs no network and no script",
        )
        .ours(),
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
        takes(
            "health_max_silent_calls",
            &["N"],
            Accept::CountOrOff(|d, v| d.health.max_silent_calls = standing(v)),
            "Most calls with RTP in which neither side heard the other; -1 is no gate",
        )
        .default("0 once a call has sent RTP; none as sipp")
        .ours(),
        takes(
            "health_max_crosstalk_calls",
            &["N"],
            Accept::CountOrOff(|d, v| d.health.max_crosstalk_calls = standing(v)),
            "Most calls whose marked audio shows that one side heard another call; -1 is no gate",
        )
        .default("0 once a call has sent RTP; none as sipp")
        .ours(),
        takes(
            "health_max_unknown_calls",
            &["N"],
            Accept::CountOrOff(|d, v| d.health.max_unknown_calls = standing(v)),
            "Most calls with RTP of which it is not known who heard whom, because the peer sends \
             no RTCP; -1 is no gate",
        )
        .default("0 once a call has sent RTP; none as sipp")
        .ours(),
        takes(
            "health_max_rtcp_fraction_lost",
            &["RATIO"],
            Accept::Float {
                min: 0.0,
                max: 1.0,
                set: |d, v| d.health.max_rtcp_fraction_lost = Some(v).filter(|&ratio| ratio > 0.0),
            },
            "Most loss that a peer may report by RTCP, up to 1; 0 is no gate",
        )
        .default("0")
        .ours(),
        takes(
            "health_max_rtcp_jitter_ts",
            &["N"],
            count(|d, v| d.health.max_rtcp_jitter_ts = or_off(v)),
            "Most jitter that a peer may report by RTCP, in units of the RTP clock; 0 is no gate",
        )
        .default("0")
        .ours(),
        takes(
            "health_min_rtp_packets_recv",
            &["N"],
            count(|d, v| d.health.min_rtp_packets_recv = or_off(v)),
            "Least RTP packets received in all; 0 is no gate",
        )
        .default("0")
        .ours(),
        takes(
            "health_min_rtp_packets_recv_per_call",
            &["N"],
            count(|d, v| d.health.min_rtp_packets_recv_per_call = or_off(v)),
            "Least RTP packets received in each call with media; 0 is no gate",
        )
        .default("0")
        .ours(),
        takes(
            "health_max_rtp_loss",
            &["RATIO"],
            Accept::Float { min: 0.0, max: 1.0, set: |d, v| d.health.max_rtp_loss = Some(v) },
            "Most loss of received RTP, up to 1; packets too late for the jitter buffer are lost",
        )
        .ours(),
        takes(
            "health_max_rtp_jitter_ms",
            &["MS"],
            Accept::Float {
                min: 0.0,
                max: JITTER_MS_MAX,
                set: |d, v| d.health.max_rtp_jitter_ms = Some(v),
            },
            "Most jitter of a received stream, in milliseconds",
        )
        .ours(),
        takes(
            "health_min_mos",
            &["MOS"],
            Accept::Float { min: 1.0, max: 5.0, set: |d, v| d.health.min_mos = Some(v) },
            "Least estimated MOS of a received stream, from 1 to 5",
        )
        .ours(),
    ],
};

pub(super) const SERVER: FlagGroup = FlagGroup {
    title: "HTTP API, of a run and of gossipper server",
    flags: &[
        takes(
            "api_addr",
            &["IP:PORT"],
            Accept::Parsed(|d, v| parse_listen_address(v).map(|at| d.process.api_addr = Some(at))),
            "Serve the HTTP API here while the run goes on; :PORT means all addresses. The default \
             of gossipper server is 127.0.0.1:8080",
        )
        .ours(),
        takes(
            "api_token",
            &["TOKEN"],
            Accept::Text(|d, v| d.process.api_token = Some(v)),
            "Token that clients must send, of 16 characters or more; better in the file, because \
             others can see a command line",
        )
        .ours(),
        takes(
            "api_tls_cert",
            &["FILE"],
            Accept::Path(|d, v| d.process.api_tls_cert = Some(v)),
            "Serve HTTPS with this certificate (PEM), followed by its intermediate certificates",
        )
        .ours(),
        takes(
            "api_tls_key",
            &["FILE"],
            Accept::Path(|d, v| d.process.api_tls_key = Some(v)),
            "Private key of the certificate (PEM, not encrypted)",
        )
        .ours(),
        switch(
            "insecure_http",
            |d| d.process.insecure_http = true,
            "Allow access without signing in, also from other machines",
        )
        .ours(),
        switch(
            "allow_exec",
            |d| d.process.allow_exec = true,
            "Let scenarios that arrive over the API run shell commands",
        )
        .ours(),
        takes(
            "max_dynamic_clients",
            &["N"],
            within(0, DYNAMIC_CLIENTS_MAX, |d, v| d.process.max_dynamic_clients = Some(v)),
            "Clients that the API of gossipper server may add at the same time; 0 allows none",
        )
        .default("32")
        .ours(),
        later("ui_data_dir", &["DIR"], UI, "Data of the Control UI").ours(),
        later("scenario_history_keep", &["N"], UI, "Old scenarios to keep").ours(),
        later("legacy_api_v1", &["BOOL"], UI, "Serve version 1 beside it").ours(),
        later("pprof", &["HOST:PORT"], PROFILING, "Profiles over HTTP").ours(),
        later("cpuprofile", &["FILE"], PROFILING, "CPU profile").ours(),
        later("memprofile", &["FILE"], PROFILING, "Memory profile").ours(),
    ],
};
