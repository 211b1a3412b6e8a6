//! Events as lines: of JSON, and of text.

use std::cmp::Ordering;
use std::io::Write as _;

use super::event::{LogEvent, Value};
use crate::output::{Clock, put_number};
use crate::sinks::call_records::put_json as put_json_text;

/// Writes `{"time":..,"level":..,"kind":..,"msg":..,"attrs":{..}}`.
pub(super) fn put_json(
    event: &LogEvent<'_>,
    common: &[(String, String)],
    clock: &mut Clock,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.put_rfc3339_local(event.unix_ns, out);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(event.level.name().as_bytes());
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(b"\",\"msg\":");
    put_json_text(event.message.as_bytes(), out);
    out.extend_from_slice(b",\"attrs\":{");
    let mut is_first = true;
    each(event, common, |key, value| {
        if !std::mem::replace(&mut is_first, false) {
            out.push(b',');
        }
        put_json_text(key.as_bytes(), out);
        out.push(b':');
        match value {
            Value::Text(text) => put_json_text(text, out),
            Value::Number(number) => put_number(number, 1, out),
            // Writing to memory does not fail.
            Value::Float(number) => _ = write!(out, "{number}"),
            Value::Address(ip) => _ = write!(out, "\"{ip}\""),
        }
    });
    out.extend_from_slice(b"}}\n");
}

/// Writes `time level kind "msg" key=value ...`.
pub(super) fn put_text(
    event: &LogEvent<'_>,
    common: &[(String, String)],
    clock: &mut Clock,
    out: &mut Vec<u8>,
) {
    clock.put_rfc3339_local(event.unix_ns, out);
    for word in [event.level.name(), event.kind] {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b' ');
    put_json_text(event.message.as_bytes(), out);
    each(event, common, |key, value| {
        out.push(b' ');
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        match value {
            Value::Text(text) if is_word(text) => out.extend_from_slice(text),
            Value::Text(text) => put_json_text(text, out),
            Value::Number(number) => put_number(number, 1, out),
            Value::Float(number) => _ = write!(out, "{number}"),
            Value::Address(ip) => _ = write!(out, "{ip}"),
        }
    });
    out.push(b'\n');
}

/// Tells whether a text needs no quotes.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_graphic() && !b"\"=".contains(byte))
}

/// Visits the attributes of the event and those of all events, both sorted, in the order of their
/// keys. If both have a key, the event's value is visited.
fn each<'v>(
    event: &'v LogEvent<'_>,
    common: &'v [(String, String)],
    mut visit: impl FnMut(&'v str, Value<'v>),
) {
    let (mut own, mut common) = (event.attributes.each(), common);
    loop {
        let order = match (own.first(), common.first()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((own, _)), Some((common, _))) => (*own).cmp(common.as_str()),
        };
        if order == Ordering::Greater {
            let Some(((key, value), rest)) = common.split_first() else { return };
            visit(key, Value::Text(value.as_bytes()));
            common = rest;
            continue;
        }
        let Some((&(key, value), rest)) = own.split_first() else { return };
        visit(key, value);
        own = rest;
        if order == Ordering::Equal {
            common = &common[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::config::LogLevel;
    use crate::stats::RunStart;

    fn event<'e>() -> LogEvent<'e> {
        let text = Cow::Borrowed("it \"happened\"");
        let mut event = LogEvent::new(LogLevel::Warn, "call.ended", text);
        event.unix_ns = 1_700_000_000_000_000_001;
        event.attributes.text("call_id", b"1@\xff host");
        event.attributes.number("call_num", 7);
        event.attributes.address("src_ip", "2001:db8::1".parse().unwrap());
        event.attributes.float("rate", 1.5);
        event.attributes.text("qop", b"");
        event.attributes.sort();
        event
    }

    fn common() -> Vec<(String, String)> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        vec![pair("a", "first"), pair("call_num", "hidden"), pair("site", "lab 1")]
    }

    fn line(put: super::super::Put) -> String {
        let mut clock = Clock::fixed(RunStart::default(), false, 3600);
        let mut out = Vec::new();
        put(&event(), &common(), &mut clock, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_sorted_and_escaped() {
        assert_eq!(
            line(put_json),
            "{\"time\":\"2023-11-14T23:13:20.000000001+01:00\",\"level\":\"warn\",\
             \"kind\":\"call.ended\",\"msg\":\"it \\\"happened\\\"\",\"attrs\":{\"a\":\"first\",\
             \"call_id\":\"1@\u{fffd} host\",\"call_num\":7,\"qop\":\"\",\"rate\":1.5,\
             \"site\":\"lab 1\",\"src_ip\":\"2001:db8::1\"}}\n"
        );
    }

    #[test]
    fn text_is_sorted_and_quoted_where_it_must_be() {
        assert_eq!(
            line(put_text),
            "2023-11-14T23:13:20.000000001+01:00 warn call.ended \"it \\\"happened\\\"\" a=first \
             call_id=\"1@\u{fffd} host\" call_num=7 qop=\"\" rate=1.5 site=\"lab 1\" \
             src_ip=2001:db8::1\n"
        );
    }
}
