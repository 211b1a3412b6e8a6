//! Options about traces, logs and statistics files.

use crate::config::{TraceFormat, parse_bool};

use super::{Accept, FlagGroup, choice, count, seconds, switch, takes, within};

pub(super) const STATISTICS: FlagGroup = FlagGroup {
    title: "Statistics files",
    flags: &[
        switch("trace_stat", |d| d.trace.stat = true, "Write statistics to NAME_PID_.csv"),
        takes(
            "stf",
            &["FILE"],
            Accept::Path(|d, v| d.trace.stat_path = Some(v)),
            "Name of the statistics file",
        ),
        takes(
            "stat_delimiter",
            &["TEXT"],
            Accept::Text(|d, v| d.trace.stat_delimiter = v),
            "Text between two columns of the CSV files",
        )
        .default(";"),
        takes(
            "fd",
            &["TIME"],
            seconds(1, |d, v| d.trace.stat_period_ms = v),
            "Period of rows in the statistics files (bare number: s), in whole seconds",
        )
        .default("60s"),
        switch("rfc3339", |d| d.trace.rfc3339 = true, "Write times as in RFC 3339, in UTC"),
        switch("periodic_rtd", |d| d.trace.periodic_rtd = true, "Reset repartitions with each row"),
        switch("trace_rtt", |d| d.trace.rtt = true, "Write response times to NAME_PID_rtt.csv"),
        takes(
            "rtt_freq",
            &["N"],
            within(1, u64::MAX, |d, v| d.trace.rtt_freq = v),
            "Response times between two writes",
        )
        .default("200"),
        switch(
            "trace_counts",
            |d| d.trace.counts = true,
            "Write message counts by step to NAME_PID_counts.csv",
        ),
        switch(
            "trace_error_codes",
            |d| d.trace.error_codes = true,
            "Write codes of unexpected responses to NAME_PID_error_codes.csv",
        ),
        takes(
            "trace_format",
            &["FORMAT"],
            Accept::Parsed(|d, v| {
                let formats = [TraceFormat::Sipp, TraceFormat::Gossipper];
                d.trace.format = choice(v, &["sipp", "gossipper"], &formats)?;
                Ok(())
            }),
            "Format of trace and statistics files: sipp, or gossipper's own",
        )
        .default("sipp")
        .ours(),
    ],
};

pub(super) const TRACES: FlagGroup = FlagGroup {
    title: "Traces and logs",
    flags: &[
        switch(
            "trace_msg",
            |d| d.trace.messages.is_on = true,
            "Write messages to NAME_PID_messages.log",
        ),
        takes(
            "message_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.messages.path = Some(v)),
            "Name of the message file",
        ),
        takes(
            "message_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.messages.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the message file",
        )
        .default("true"),
        switch(
            "trace_shortmsg",
            |d| d.trace.short_messages.is_on = true,
            "Write a line per message to NAME_PID_shortmessages.log",
        ),
        takes(
            "shortmessage_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.short_messages.path = Some(v)),
            "Name of the short message file",
        ),
        takes(
            "shortmessage_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.short_messages.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the short message file",
        )
        .default("true"),
        switch("trace_err", |d| d.trace.errors.is_on = true, "Write errors to NAME_PID_errors.log"),
        takes(
            "error_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.errors.path = Some(v)),
            "Name of the error file",
        ),
        takes(
            "error_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.errors.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the error file",
        )
        .default("true"),
        switch(
            "trace_logs",
            |d| d.trace.logs.is_on = true,
            "Write the output of log actions to NAME_PID_logs.log",
        ),
        takes(
            "log_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.logs.path = Some(v)),
            "Name of the log file",
        ),
        takes(
            "log_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.logs.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the log file",
        )
        .default("true"),
        switch(
            "trace_calldebug",
            |d| d.trace.call_debug.is_on = true,
            "Write the history of failed calls to NAME_PID_calldebug.log",
        ),
        takes(
            "calldebug_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.call_debug.path = Some(v)),
            "Name of the call history file",
        ),
        takes(
            "calldebug_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.call_debug.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the call history file",
        )
        .default("true"),
        switch(
            "trace_screen",
            |d| d.trace.screen.is_on = true,
            "Write the screens to NAME_PID_screen.log at the end and on SIGUSR2",
        ),
        takes(
            "screen_file",
            &["FILE"],
            Accept::Path(|d, v| d.trace.screen.path = Some(v)),
            "Name of the screen file",
        ),
        takes(
            "screen_overwrite",
            &["BOOL"],
            Accept::Parsed(|d, v| {
                d.trace.screen.overwrite = parse_bool(v)?;
                Ok(())
            }),
            "Overwrite the screen file",
        )
        .default("true"),
        takes(
            "ringbuffer_files",
            &["N"],
            count(|d, v| d.trace.ringbuffer_files = v),
            "Full message, error and call history files to keep",
        )
        .default("0"),
        takes(
            "ringbuffer_size",
            &["BYTES"],
            count(|d, v| d.trace.ringbuffer_size = v),
            "Size at which such a file is renamed and started again; 0 is never",
        )
        .default("0"),
        takes(
            "max_log_size",
            &["BYTES"],
            count(|d, v| d.trace.max_log_size = v),
            "Size at which writing to such a file stops; 0 is never",
        )
        .default("0"),
    ],
};
