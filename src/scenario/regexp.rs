//! Regular expressions as SIPp writes them, for the `regex` crate.
//!
//! SIPp's are POSIX extended ones. The dialects differ inside brackets: there POSIX knows no set
//! operations and takes `[` literally. That alternatives are tried in their order rather than by
//! length is a difference that remains.

use regex::bytes::{Regex, RegexBuilder};

use super::error::{Fault, Position};

/// Memory that one compiled expression may take.
const SIZE_MAX: usize = 1 << 20;
/// Longest expression.
const TEXT_MAX: usize = 8192;
/// What may stand between `[:` and `:]`.
const CLASSES: [&str; 13] = [
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Compiles an expression over bytes.
pub(super) fn compile(
    text: &str,
    position: Position,
    case_insensitive: bool,
) -> Result<Regex, Fault> {
    if text.len() > TEXT_MAX {
        return Err(Fault::new(position, "the regular expression is too long"));
    }
    let invalid = |reason: &str| {
        Fault::new(position, format!("invalid regular expression \"{text}\": {reason}"))
    };
    let translated = translated(text).map_err(|class| invalid(&format!("no class [:{class}:]")))?;
    RegexBuilder::new(&translated)
        .case_insensitive(case_insensitive)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(SIZE_MAX)
        .build()
        .map_err(|error| {
            let error = error.to_string();
            // The crate draws the expression and a pointer; the last line says what is wrong.
            invalid(error.lines().last().unwrap_or_default().trim_start_matches("error: "))
        })
}

/// `text` with what POSIX takes literally inside brackets escaped, or the name of a class that
/// there is not.
fn translated(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => match bracket(rest, &mut out)? {
                Some(taken) => {
                    rest = &rest[taken..];
                    continue;
                }
                None => 1,
            },
            c => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Ok(out)
}

/// Translates the bracket expression that `text` begins with and returns its length; `None` if it
/// is never closed.
fn bracket(text: &str, out: &mut String) -> Result<Option<usize>, String> {
    let mut at = 1;
    let mut inner = String::from("[");
    if text[at..].starts_with('^') {
        inner.push('^');
        at += 1;
    }
    // Right at the beginning a ']' is a member.
    if text[at..].starts_with(']') {
        inner.push_str("\\]");
        at += 1;
    }
    loop {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { return Ok(None) };
        match c {
            ']' => {
                inner.push(']');
                out.push_str(&inner);
                return Ok(Some(at + 1));
            }
            '[' if class_name(rest).is_some() => {
                let class = class_name(rest).unwrap_or_default();
                if !CLASSES.contains(&class) {
                    return Err(class.to_owned());
                }
                let len = class.len() + "[::]".len();
                inner.push_str(&rest[..len]);
                at += len;
            }
            '[' | '&' | '~' => {
                inner.push('\\');
                inner.push(c);
                at += 1;
            }
            // POSIX takes it literally; scenarios are written as if it escaped, and both spellings
            // match what their authors meant.
            '\\' => {
                let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                inner.push_str(&rest[..len]);
                at += len;
            }
            c => {
                inner.push(c);
                at += c.len_utf8();
            }
        }
    }
}

/// The name in `[:name:]` at the start of `text`.
fn class_name(text: &str) -> Option<&str> {
    text.strip_prefix("[:")?.split_once(":]").map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        let regex = compile(pattern, Position::default(), false).unwrap();
        let found = regex.find(text.as_bytes())?;
        std::str::from_utf8(found.as_bytes()).ok()
    }

    #[test]
    fn brackets_are_those_of_posix() {
        assert_eq!(matched("[^[]+", "ab[c"), Some("ab"));
        assert_eq!(matched("[]x]+", "a]x]"), Some("]x]"));
        assert_eq!(matched("[^]]+", "ab]c"), Some("ab"));
        assert_eq!(matched("[[:digit:]&&~~]+", "a1&~2b"), Some("1&~2"));
        assert_eq!(matched("[0-9\\.]+", "ip 10.0.0.1!"), Some("10.0.0.1"));
        assert_eq!(matched("\\[x[[]", "[x["), Some("[x["));
        assert_eq!(matched("sip:.*@", "a\nsip:b\nc@d"), Some("sip:b\nc@"));
    }

    #[test]
    fn what_is_no_expression_is_an_error_in_one_line() {
        for pattern in ["(", "[a", "a{2,1}", "[[:nope:]]", "\\"] {
            let fault = compile(pattern, Position::default(), false).unwrap_err();
            assert!(!fault.message.contains('\n'), "{}", fault.message);
        }
        assert!(compile(&"a".repeat(10_000), Position::default(), false).is_err());
        assert!(compile("(.{1000}){1000}", Position::default(), false).is_err());
    }
}
