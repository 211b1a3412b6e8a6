//! Digits in the body of an INFO, as gateways send them (`application/dtmf-relay`).
//!
//! No RFC defines the format; this reads what is common among those that use it.

/// The digit that an INFO carries: `0` to `9`, `*`, `#` or `A` to `D`; `None` if it carries none.
pub fn info_digit(content_type: &[u8], body: &[u8]) -> Option<u8> {
    let kind = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/dtmf") {
        return digit(body.trim_ascii());
    }
    if !kind.eq_ignore_ascii_case(b"application/dtmf-relay") {
        return None;
    }
    let mut lines = body.split(|&byte| matches!(byte, b'\r' | b'\n'));
    lines.find_map(|line| {
        let at = line.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"Signal").then(|| digit(value))?
    })
}

/// A digit as it is, or by the number that it has as a telephone event (RFC 4733 section 3.2).
fn digit(text: &[u8]) -> Option<u8> {
    match text {
        [digit @ (b'0'..=b'9' | b'*' | b'#')] => Some(*digit),
        [letter @ (b'A'..=b'D' | b'a'..=b'd')] => Some(letter.to_ascii_uppercase()),
        b"10" => Some(b'*'),
        b"11" => Some(b'#'),
        [b'1', last @ b'2'..=b'5'] => Some(b'A' + (last - b'2')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &[u8] = b"application/dtmf-relay";

    #[test]
    fn the_forms_in_use_are_read() {
        let relay = |body: &[u8]| info_digit(RELAY, body);
        assert_eq!(relay(b"Signal=5\r\nDuration=160\r\n"), Some(b'5'));
        assert_eq!(relay(b"Duration = 100\nsignal= d\n"), Some(b'D'));
        assert_eq!(relay(b"Signal=*"), Some(b'*'));
        assert_eq!(relay(b"Signal=11"), Some(b'#'));
        assert_eq!(relay(b"Signal=15"), Some(b'D'));
        assert_eq!(info_digit(b"application/DTMF ; x=y", b" 7\r\n"), Some(b'7'));
        assert_eq!(info_digit(b"application/dtmf", b"10"), Some(b'*'));
    }

    #[test]
    fn anything_else_is_no_digit() {
        for body in
            [&b""[..], b"=", b"Signal", b"Signal=", b"Signal=16", b"Signal=55", b"\xff=\xfe"]
        {
            assert_eq!(info_digit(RELAY, body), None, "{}", body.escape_ascii());
        }
        assert_eq!(info_digit(b"text/plain", b"Signal=5"), None);
        assert_eq!(info_digit(b"", b"5"), None);
    }
}
