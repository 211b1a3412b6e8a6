//! Keywords with arguments of their own: `[fieldN]`, `[file]`, `[authentication]`.

use super::decode;
use super::error::{Fault, Position};
use super::keyword::{self, Names};
use super::template::{Authentication, Builder, Field, Injected, Row, Template};
use super::text::Text;

/// Columns that a row can have.
const FIELD_MAX: u16 = 4095;

/// Parses `[fieldN file="x.csv" line=[$v]]`; `digits` are those of its name.
pub(super) fn injected(
    digits: &str,
    arguments: &str,
    position: Position,
    names: &mut dyn Names,
) -> Result<Field, Fault> {
    let field = digits.parse().ok().filter(|&field| field <= FIELD_MAX).ok_or_else(|| {
        Fault::new(position, format!("[field{digits}]: columns are numbered 0 to {FIELD_MAX}"))
    })?;
    let usage = "write [field0], [field1 file=\"users.csv\"] or [field1 line=\"[$row]\"]";
    let arguments = Arguments::parse(arguments, &["file", "line"], position, usage, names)?;
    let table = match arguments.get("file") {
        None => names.table(None, position)?,
        Some(name) => names.table(Some(name), position)?,
    };
    let row = match arguments.template("line", position, names)? {
        None => Row::Own,
        Some(template) => match template.as_literal().map(String::from_utf8_lossy) {
            None => Row::Of(template),
            // SIPp: -1 is the call's own row.
            Some(text) => match text.trim().parse::<i64>() {
                Ok(-1) => Row::Own,
                Ok(row @ 0..) => Row::Number(row as u64),
                _ => {
                    let message = format!("line={text} is not a row; the first one is 0");
                    return Err(Fault::new(position, message).hint(usage));
                }
            },
        },
    };
    Ok(Field::Injected(Box::new(Injected { table, field, row })))
}

/// Parses `[file name=x.txt]`, which includes the content of the file without changes.
pub(super) fn file(
    arguments: &str,
    position: Position,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let usage = "write [file name=body.txt]";
    let arguments = Arguments::parse(arguments, &["name"], position, usage, names)?;
    let Some(name) = arguments.template("name", position, names)? else {
        return Err(Fault::new(position, "[file] needs name=").hint(usage));
    };
    let Some(name) = name.as_literal().map(String::from_utf8_lossy) else {
        let message = "[file] with a name that depends on the call";
        return Err(Fault::new(position, message).hint(
            "files are read before the first call; use an injection file for values that vary",
        ));
    };
    let content = names.file_text(&name).map_err(|why| {
        Fault::new(position, format!("[file name={name}]: {why}")).hint(names.file_places())
    })?;
    builder.literal(&content);
    Ok(())
}

/// Parses `[authentication username=joe password=[field1] uri=request aka_K=0x... aka_OP=0x...
/// aka_AMF=0x...]`.
pub(super) fn authentication(
    arguments: &str,
    position: Position,
    names: &mut dyn Names,
) -> Result<Field, Fault> {
    let usage = "write [authentication username=joe password=secret]";
    let known = ["username", "password", "uri", "aka_K", "aka_OP", "aka_AMF"];
    let arguments = Arguments::parse(arguments, &known, position, usage, names)?;
    let mut argument = |name| arguments.template(name, position, names);
    let authentication = Authentication {
        username: argument("username")?,
        password: argument("password")?,
        uri: argument("uri")?,
        aka_k: argument("aka_K")?,
        aka_op: argument("aka_OP")?,
        aka_amf: argument("aka_AMF")?,
    };
    for (name, value, bytes) in [
        ("aka_K", &authentication.aka_k, 16),
        ("aka_OP", &authentication.aka_op, 16),
        ("aka_AMF", &authentication.aka_amf, 2),
    ] {
        let literal = value.as_ref().and_then(Template::as_literal);
        if literal.is_some_and(|text| secret_bytes(text, &mut [0; 16][..bytes]).is_none()) {
            let message = format!("{name}= is neither 0x and hexadecimal digits nor a short text");
            return Err(Fault::new(position, message)
                .hint(format!("it has {bytes} bytes: 0x and {} digits", 2 * bytes)));
        }
    }
    Ok(Field::Authentication(Box::new(authentication)))
}

/// Reads a SIM's secret as a scenario writes it: `0x` and hexadecimal digits, or the bytes
/// themselves. A secret shorter than `out` is filled up with zeros. Returns `None` if it is longer,
/// or if the digits are not hexadecimal.
pub fn secret_bytes(text: &[u8], out: &mut [u8]) -> Option<()> {
    out.fill(0);
    let Some(digits) = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")) else {
        out.get_mut(..text.len())?.copy_from_slice(text);
        return Some(());
    };
    if digits.len() > 2 * out.len() || digits.len() % 2 == 1 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(())
}

/// Arguments written as `name=value name="value" ...`.
struct Arguments<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Arguments<'a> {
    fn parse(
        text: &'a str,
        known: &[&'static str],
        position: Position,
        usage: &str,
        names: &mut dyn Names,
    ) -> Result<Self, Fault> {
        let wrong = |message: String| Fault::new(position, message).hint(usage);
        let mut all: Vec<(&str, &str)> = Vec::new();
        let mut rest = text.as_bytes();
        // Names and values are cut at ASCII characters, so that each part is valid text again.
        let shown = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or_default();
        while let Some(next) = argument(&mut rest) {
            let (name, value) = next.map_err(|fault| match fault {
                ArgumentFault::NoArgument(text) => {
                    wrong(format!("\"{}\" is not an argument", shown(text)))
                }
                ArgumentFault::OpenQuotes(name) => {
                    wrong(format!("the quotes after {}= are not closed", shown(name)))
                }
            })?;
            let (name, value) = (shown(name), shown(value));
            if !known.contains(&name) {
                let fault = Fault::new(position, format!("there is no argument \"{name}\""));
                let fault = fault.hint(format!("SIPp ignores it; {usage}"));
                names.warn(fault.suggest_too(name, known.iter().copied()));
            } else if all.iter().any(|(earlier, _)| *earlier == name) {
                let fault = Fault::new(position, format!("{name}= is given twice"));
                names.warn(fault.hint("SIPp takes the first one"));
            } else {
                all.push((name, value));
            }
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The argument as a template, since it may hold keywords.
    fn template(
        &self,
        name: &str,
        position: Position,
        names: &mut dyn Names,
    ) -> Result<Option<Template>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        keyword::text(&Text::at(value, position), names).map(Some)
    }
}

/// Reason why there is no valid argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArgumentFault<'a> {
    /// The text has no `=`.
    NoArgument(&'a [u8]),
    /// The quotes of the value do not close.
    OpenQuotes(&'a [u8]),
}

/// A name and its value.
type NameValue<'a> = (&'a [u8], &'a [u8]);

/// Takes the next `name=value` off the front of `rest`; `None` at its end.
fn argument<'a>(rest: &mut &'a [u8]) -> Option<Result<NameValue<'a>, ArgumentFault<'a>>> {
    let text = rest.trim_ascii();
    *rest = &[];
    if text.is_empty() {
        return None;
    }
    let Some(equals) = memchr::memchr(b'=', text) else {
        return Some(Err(ArgumentFault::NoArgument(text)));
    };
    let name = text[..equals].trim_ascii();
    let Some((value, after)) = value(&text[equals + 1..]) else {
        return Some(Err(ArgumentFault::OpenQuotes(name)));
    };
    *rest = after;
    Some(Ok((name, value)))
}

/// Takes a value off the front of `text`: quoted, or up to white space outside of brackets.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = memchr::memchr(b'"', quoted)?;
        return Some((&quoted[..end], &quoted[end + 1..]));
    }
    let mut depth = 0;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b' ' | b'\t' | b'\n' | b'\r' if depth <= 0 => return Some(text.split_at(at)),
            _ => {}
        }
    }
    Some((text, &[]))
}

/// Beginning of `[authentication]`, the only keyword that SIPp evaluates in a field of an injection
/// file.
const AUTHENTICATION: &[u8] = b"[authentication";

/// An `[authentication ...]` in a field of an injection file: its arguments are plain texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrittenAuthentication<'a> {
    /// `username=`
    pub username: Option<&'a [u8]>,
    /// `password=`
    pub password: Option<&'a [u8]>,
    /// `uri=`
    pub uri: Option<&'a [u8]>,
    /// `aka_K=`
    pub aka_k: Option<&'a [u8]>,
    /// `aka_OP=`
    pub aka_op: Option<&'a [u8]>,
    /// `aka_AMF=`
    pub aka_amf: Option<&'a [u8]>,
}

impl<'a> WrittenAuthentication<'a> {
    /// Range of the first such keyword in `text`, with its brackets.
    pub fn find(text: &[u8]) -> Option<std::ops::Range<usize>> {
        let begin = memchr::memmem::find(text, AUTHENTICATION)?;
        let end = keyword::closing_bracket(text, begin)?;
        Some(begin..end + 1)
    }

    /// Reads the keyword that is all of `text`, from bracket to bracket.
    ///
    /// # Errors
    /// The reason why its arguments are wrong.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        let inner = text.strip_prefix(AUTHENTICATION).and_then(|rest| rest.strip_suffix(b"]"));
        let mut rest = inner.ok_or("it does not end with a bracket")?;
        let mut all = Self::default();
        let shown = String::from_utf8_lossy;
        while let Some(next) = argument(&mut rest) {
            let (name, value) = next.map_err(|fault| match fault {
                ArgumentFault::NoArgument(text) => {
                    format!("\"{}\" is not an argument", shown(text))
                }
                ArgumentFault::OpenQuotes(name) => {
                    format!("the quotes after {}= are not closed", shown(name))
                }
            })?;
            let place = match name {
                b"username" => &mut all.username,
                b"password" => &mut all.password,
                b"uri" => &mut all.uri,
                b"aka_K" => &mut all.aka_k,
                b"aka_OP" => &mut all.aka_op,
                b"aka_AMF" => &mut all.aka_amf,
                // SIPp ignores other arguments, too.
                _ => continue,
            };
            // The first of several counts.
            place.get_or_insert(value);
        }
        Ok(all)
    }
}

/// Parses the arguments of `[fill text="ab" variable="name"]`.
pub(super) fn fill(
    arguments: &str,
    position: Position,
    names: &mut dyn Names,
) -> Result<Field, Fault> {
    let usage = |message: &str| {
        Fault::new(position, message).hint("write [fill text=\"ab\" variable=\"name\"]")
    };
    let mut text = None;
    let mut variable = None;
    let mut rest = arguments.trim_ascii();
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else {
            return Err(usage("[fill] with a text that is not an argument"));
        };
        let (value, after) = match after.strip_prefix('"') {
            // The bracket was found behind closed quotes.
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        match name.trim_ascii() {
            "text" => text = Some(decode::bytes(value).into()),
            "variable" => variable = Some(names.variable(value.trim_start_matches('$'), position)?),
            other => return Err(usage(&format!("[fill] has no argument \"{other}\""))),
        }
        rest = after.trim_ascii_start();
    }
    let variable = variable.ok_or_else(|| usage("[fill] needs variable="))?;
    let text: Box<[u8]> = text.unwrap_or_else(|| b"X"[..].into());
    if text.is_empty() {
        return Err(usage("[fill] with an empty text"));
    }
    Ok(Field::Fill { text, variable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::keyword::tests::Plain;

    #[test]
    fn arguments_may_be_quoted_and_hold_keywords() {
        let text = r#" file="a b.csv"  line=[field0 line=3] "#;
        let at = Position::default();
        let mut names = Plain::default();
        let arguments = Arguments::parse(text, &["file", "line"], at, "", &mut names).unwrap();
        assert_eq!(arguments.get("file"), Some("a b.csv"));
        assert_eq!(arguments.get("line"), Some("[field0 line=3]"));
        for wrong in ["file", "file=\"a"] {
            let parsed = Arguments::parse(wrong, &["file"], at, "", &mut names);
            assert!(parsed.is_err(), "{wrong}");
        }
        assert!(names.0.is_empty());
        let doubtful = "fiel=a file=b file=c";
        let arguments = Arguments::parse(doubtful, &["file"], at, "", &mut names).unwrap();
        assert_eq!(arguments.get("file"), Some("b"));
        assert_eq!(names.0.len(), 2, "{:?}", names.0);
    }

    #[test]
    fn a_field_may_hold_one_keyword() {
        let field = b"X [authentication username=al password=\"a ]b\" uri=request] Y";
        let range = WrittenAuthentication::find(field).unwrap();
        assert_eq!((range.start, field.len() - range.end), (2, 2));
        let read = WrittenAuthentication::parse(&field[range]).unwrap();
        assert_eq!(read.username, Some(&b"al"[..]));
        assert_eq!(read.password, Some(&b"a ]b"[..]));
        assert_eq!(read.uri, Some(&b"request"[..]));
        assert_eq!(read.aka_k, None);
        assert_eq!(WrittenAuthentication::find(b"[authentication username=x"), None);
        assert_eq!(WrittenAuthentication::parse(b"[authentication]"), Ok(Default::default()));
        let doubtful = b"[authentication pasword=x username=al username=bo]";
        let read = WrittenAuthentication::parse(doubtful).unwrap();
        assert_eq!((read.username, read.password), (Some(&b"al"[..]), None));
        assert!(WrittenAuthentication::parse(b"[authentication x]").is_err());
    }

    #[test]
    fn secrets_are_digits_or_bytes() {
        let read = |text: &str| {
            let mut out = [9; 4];
            secret_bytes(text.as_bytes(), &mut out).map(|()| out)
        };
        assert_eq!(read("0x0102fFA0"), Some([1, 2, 255, 160]));
        assert_eq!(read("0x01"), Some([1, 0, 0, 0]));
        assert_eq!(read("ab"), Some([b'a', b'b', 0, 0]));
        for wrong in ["abcde", "0x123", "0x0102030405", "0xzz"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
