//! Options about what other programs are told of a run while it goes on.

use crate::config::{LogLevel, parse_collector, parse_pair};

use super::{Accept, FlagGroup, choice, later, switch, takes, within};

const OTLP: &str = "OTLP";

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Capture server and event log",
    flags: &[
        takes(
            "hep_addr",
            &["HOST:PORT"],
            Accept::Parsed(|d, v| {
                parse_collector(v).map(|host| d.export.hep.collector = Some(host))
            }),
            "Send each SIP message to a capture server, as HEP3 over UDP",
        )
        .ours(),
        takes(
            "hep_capture_id",
            &["N"],
            within(0, u32::MAX as u64, |d, v| d.export.hep.capture_id = Some(v as u32)),
            "The number by which the capture server knows us",
        )
        .default("0")
        .ours(),
        takes(
            "hep_password",
            &["PASSWORD"],
            Accept::Text(|d, v| d.export.hep.password = Some(v)),
            "What the capture server authenticates us by",
        )
        .ours(),
        switch("log_stdout", |d| d.export.events.stderr = true, "Write events to stderr, as text")
            .ours(),
        takes(
            "log_file_jsonl",
            &["FILE"],
            Accept::Path(|d, v| d.export.events.file = Some(v)),
            "Write events to FILE, as lines of JSON",
        )
        .ours(),
        takes(
            "log_level",
            &["LEVEL"],
            Accept::Parsed(|d, v| {
                let words = &["debug", "info", "warn", "error"];
                d.export.events.level = choice(v, words, &LogLevel::ALL)?;
                Ok(())
            }),
            "Leave out events below LEVEL: debug, info, warn or error",
        )
        .default("info")
        .ours(),
        takes(
            "log_attr",
            &["KEY=VALUE"],
            Accept::Parsed(|d, v| parse_pair(v).map(|pair| d.export.events.attributes.push(pair))),
            "An attribute of all events; may be given several times",
        )
        .ours(),
        later("log_otel_endpoint", &["URL"], OTLP, "Events to OTLP").ours(),
        later("log_otel_proto", &["PROTO"], OTLP, "OTLP protocol").ours(),
        later("log_otel_insecure", &[], OTLP, "OTLP without TLS").ours(),
        later("log_otel_header", &["KEY=VALUE"], OTLP, "OTLP header").ours(),
        later("log_buffer_size", &["N"], OTLP, "Events to buffer").ours(),
    ],
};
