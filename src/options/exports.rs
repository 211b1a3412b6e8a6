//! Options about the exports of a run to other programs while it goes on.

use crate::config::{LogLevel, OtlpProtocol, ValueError, parse_collector, parse_pair};

use super::{Accept, FlagGroup, choice, switch, takes, within};

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
            "The number of this program at the capture server",
        )
        .default("0")
        .ours(),
        takes(
            "hep_password",
            &["PASSWORD"],
            Accept::Text(|d, v| d.export.hep.password = Some(v)),
            "The password of this program at the capture server",
        )
        .ours(),
        switch(
            "hep_raw_rtcp",
            |d| d.export.hep.raw_rtcp = true,
            "Send the RTCP of calls to the capture server too, as it is before SRTCP",
        )
        .ours(),
        switch("hep_homer_lake_rtcp", |d| d.export.hep.json_rtcp = true, "The same, as JSON")
            .ours(),
        switch(
            "send_media_report",
            |d| d.export.hep.media_report = true,
            "Send a report on the streams of each call that ends to the capture server: packets, \
             loss, jitter, estimated MOS, as JSON",
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
        takes(
            "log_otel_endpoint",
            &["ADDRESS"],
            Accept::Parsed(|d, v| {
                if v.is_empty() {
                    return Err(ValueError::Empty("a collector as in 192.0.2.1:4317"));
                }
                d.export.events.otlp.endpoint = Some(v.to_owned());
                Ok(())
            }),
            "Send events to an OTLP collector: HOST:PORT or a URL",
        )
        .ours(),
        takes(
            "log_otel_proto",
            &["PROTOCOL"],
            Accept::Parsed(|d, v| {
                let protocols = [OtlpProtocol::Grpc, OtlpProtocol::Http];
                d.export.events.otlp.protocol = choice(v, &["grpc", "http"], &protocols)?;
                Ok(())
            }),
            "How to speak to the collector: grpc or http (protobuf)",
        )
        .default("grpc")
        .ours(),
        switch(
            "log_otel_insecure",
            |d| d.export.events.otlp.insecure = true,
            "Speak to the collector without TLS",
        )
        .ours(),
        takes(
            "log_otel_header",
            &["KEY=VALUE"],
            Accept::Parsed(|d, v| {
                parse_pair(v).map(|pair| d.export.events.otlp.headers.push(pair))
            }),
            "A header of each request to the collector; may be given several times",
        )
        .ours(),
        takes(
            "log_buffer_size",
            &["N"],
            within(1, 1 << 24, |d, v| d.export.events.buffer = v),
            "Events that may wait for the collector; then the oldest are dropped",
        )
        .default("16384")
        .ours(),
    ],
};
