//! Data of scenarios: circuits, Call-IDs, and identities of a trunk.

use super::value::ValueError;

/// `-tdmmap {a-b}{h}{c-d}{e-f}`: the circuits of a trunk, bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdmMap {
    /// `{a-b}`
    pub first: (u32, u32),
    /// `{h}`
    pub second: u32,
    /// `{c-d}`
    pub third: (u32, u32),
    /// `{e-f}`
    pub fourth: (u32, u32),
}

/// Most circuits: more than any trunk has, but few enough that a typing mistake does no harm.
const CIRCUITS_MAX: u64 = 1 << 20;

/// Reads a `-tdmmap`.
pub fn parse_tdm_map(text: &str) -> Result<TdmMap, ValueError> {
    let wrong = |reason| ValueError::NotATdmMap { text: text.to_owned(), reason };
    let parts: Vec<&str> = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .map(|inner| inner.split("}{").collect())
        .unwrap_or_default();
    let [first, second, third, fourth] = parts[..] else {
        return Err(wrong("it has four parts in braces"));
    };
    let number = |text: &str| -> Option<u32> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let range = |text: &str| {
        let (low, high) = text.split_once('-')?;
        Some((number(low)?, number(high)?))
    };
    let ranges = [range(first), range(third), range(fourth)];
    let ([Some(first), Some(third), Some(fourth)], Some(second)) = (ranges, number(second)) else {
        return Err(wrong("the first, third and fourth part are ranges, the second is a number"));
    };
    let map = TdmMap { first, second, third, fourth };
    let count = |(low, high): (u32, u32)| u64::from(high) - u64::from(low) + 1;
    if [first, third, fourth].iter().any(|(low, high)| low > high) {
        return Err(wrong("a range ends before it begins"));
    }
    let circuits = count(first).saturating_mul(count(third)).saturating_mul(count(fourth));
    if circuits > CIRCUITS_MAX {
        return Err(wrong("it has more than 1048576 circuits"));
    }
    Ok(map)
}

/// The form of Call-IDs of calls that we make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CallIds {
    /// Our own form, which contains the call's place and is the fastest to find.
    #[default]
    Own,
    /// A format with `%u` call number, `%p` process, `%s` local address, `%r` random, `%%`.
    Format(String),
    /// RFC 9562, version 4.
    Uuid,
    /// RFC 9562, version 4, without hyphens.
    UuidCompact,
    /// 32 random hexadecimal digits.
    RandomHex,
    /// Microseconds of the clock and the call number.
    Timestamp,
}

/// SIPp's format of Call-IDs.
const SIPP_FORMAT: &str = "%u-%p@%s";

/// The words that [`parse_call_ids`] knows.
const CALL_ID_TYPES: &[&str] = &[
    "default",
    "format",
    "legacy",
    "uuid",
    "uuid-compact",
    "uuidcompact",
    "uuid32",
    "random",
    "random-hex",
    "timestamp",
    "time",
];

/// Reads a `-cid_type`.
pub fn parse_call_ids(text: &str) -> Result<CallIds, ValueError> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "default" => CallIds::Own,
        "format" | "legacy" => CallIds::Format(SIPP_FORMAT.to_owned()),
        "uuid" => CallIds::Uuid,
        "uuid-compact" | "uuidcompact" | "uuid32" => CallIds::UuidCompact,
        "random" | "random-hex" => CallIds::RandomHex,
        "timestamp" | "time" => CallIds::Timestamp,
        _ => {
            return Err(ValueError::UnknownChoice {
                text: text.to_owned(),
                choices: CALL_ID_TYPES,
            });
        }
    })
}

/// Reads a `-cid_str`; refuses characters that a Call-ID may not contain.
pub fn parse_call_id_format(text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::Empty("a format such as %u-%p@%s"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ValueError::NotACallId(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// The identity of built-in scenarios, and the values of `[trunk_*]` keywords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunk {
    /// `-sip_from`: the From value before `;tag=`.
    pub from: Option<String>,
    /// `-sip_pai`: the value of P-Asserted-Identity.
    pub asserted_identity: Option<String>,
    /// `-sip_provider`: the value of X-provider.
    pub provider: Option<String>,
    /// `-sip_extra_header`: whole header lines.
    pub extra_headers: Vec<String>,
}

impl Trunk {
    /// The trunk's header lines, without those that were not given.
    pub fn header_lines(&self) -> Vec<String> {
        let identity = self.asserted_identity.iter().map(|v| format!("P-Asserted-Identity: {v}"));
        let provider = self.provider.iter().map(|value| format!("X-provider: {value}"));
        identity.chain(provider).chain(self.extra_headers.iter().cloned()).collect()
    }
}

/// Reads a header value or line: one line of text.
pub fn parse_header_text(text: &str) -> Result<String, ValueError> {
    if text.trim().is_empty() {
        return Err(ValueError::Empty("a header's text"));
    }
    if text.chars().any(char::is_control) {
        return Err(ValueError::NotAHeader { text: text.to_owned(), reason: "it is one line" });
    }
    Ok(text.trim().to_owned())
}

/// Reads a header line: a name, a colon and a value.
pub fn parse_header_line(text: &str) -> Result<String, ValueError> {
    let line = parse_header_text(text)?;
    let is_name = |name: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        !name.is_empty() && name.bytes().all(valid)
    };
    match line.split_once(':') {
        Some((name, _)) if is_name(name.trim_end()) => Ok(line),
        _ => Err(ValueError::NotAHeader { text: line, reason: "write it as Name: value" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circuits_are_read_or_refused() {
        let map = parse_tdm_map("{0-3}{99}{5-8}{1-31}").unwrap();
        let expected = TdmMap { first: (0, 3), second: 99, third: (5, 8), fourth: (1, 31) };
        assert_eq!(map, expected);
        for wrong in [
            "",
            "0-3,99,5-8,1-31",
            "{0}{99}{5-8}{1-31}",
            "{0-3}{9-9}{5-8}{1-31}",
            "{3-0}{99}{5-8}{1-31}",
            "{0-3}{99}{5-8}{1-31}x",
            "{0-99999}{1}{0-99}{0-9}",
            "{0-4294967295}{1}{0-4294967295}{0-4294967295}",
            "{-1-3}{99}{5-8}{1-31}",
        ] {
            assert!(parse_tdm_map(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn call_ids_and_headers_are_one_line_each() {
        assert_eq!(parse_call_ids("UUID32"), Ok(CallIds::UuidCompact));
        assert_eq!(parse_call_ids("legacy"), Ok(CallIds::Format("%u-%p@%s".to_owned())));
        assert!(parse_call_ids("ulid").is_err());
        for wrong in ["", "a b", "a\r\nX: y", "\u{e9}"] {
            assert!(parse_call_id_format(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse_header_line(" X-A: b ").as_deref(), Ok("X-A: b"));
        for wrong in ["", "X-A", "X A: b", ": b", "X-A: b\r\nC: d"] {
            assert!(parse_header_line(wrong).is_err(), "{wrong:?}");
        }
    }
}
