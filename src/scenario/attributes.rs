//! Typed, checked access to an element's attributes. SIPp looks only for the attributes that it
//! knows. Any other attribute has no effect, which is worth a warning.

use std::cell::RefCell;

use super::decode;
use super::ere::Regex;
use super::error::{Fault, Position, Sink, nearest};
use super::text::Text;
use super::xml::{Attribute, Element};

/// The attributes of one element, each marked when it is read.
pub(super) struct Attributes<'e> {
    element: &'e Element,
    sink: &'e Sink,
    asked: RefCell<Vec<&'static str>>,
}

impl<'e> Attributes<'e> {
    pub(super) fn new(element: &'e Element, sink: &'e Sink) -> Self {
        Self { element, sink, asked: RefCell::new(Vec::new()) }
    }

    /// Number of errors in the scenario so far.
    pub(super) fn errors(&self) -> usize {
        self.sink.errors()
    }

    /// Warns of the way in which SIPp reads the attribute `name`.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>, hint: &str) {
        self.sink.warn(Fault::new(self.place(name), message).hint(hint));
    }

    /// The place of the element.
    pub(super) fn position(&self) -> Position {
        self.element.position
    }

    /// The place of the attribute, or of its element if it is absent.
    pub(super) fn place(&self, name: &str) -> Position {
        self.element.attribute(name).map_or(self.element.position, |found| found.position)
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'e Attribute> {
        self.asked.borrow_mut().push(name);
        self.element.attribute(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'e Text> {
        self.get(name).map(|attribute| &attribute.value)
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&'e Attribute, Fault> {
        self.get(name).ok_or_else(|| self.missing(&[name]))
    }

    /// The error of an element without any of `names`. An attribute with a similar name is reported
    /// instead, as the likelier mistake.
    pub(super) fn missing(&self, names: &[&'static str]) -> Fault {
        for attribute in &self.element.attributes {
            let known = self.asked.borrow().contains(&attribute.name.as_str());
            if !known && nearest(&attribute.name, names.iter().copied()).is_some() {
                return self.unknown(attribute).suggest(&attribute.name, names.iter().copied());
            }
        }
        let names: Vec<String> = names.iter().map(|name| format!("{name}=")).collect();
        Fault::new(
            self.element.position,
            format!("<{}> needs {}", self.element.name, names.join(" or ")),
        )
    }

    /// Reads `true` or `false`. Any other value is reported as an error.
    pub(super) fn boolean(&self, name: &'static str) -> Option<bool> {
        let attribute = self.get(name)?;
        let value = truth(&attribute.value);
        if value.is_none() {
            let message = format!("{name}=\"{}\" is neither true nor false", attribute.value);
            self.sink.error(Fault::new(attribute.position, message).hint("write true or false"));
        }
        value
    }

    /// Reads a boolean of which SIPp does not look at every value: any other value means
    /// `otherwise`.
    pub(super) fn lenient(&self, name: &'static str, otherwise: bool) -> Option<bool> {
        let attribute = self.get(name)?;
        Some(truth(&attribute.value).unwrap_or_else(|| {
            let message = format!("{name}=\"{}\" is neither true nor false", attribute.value);
            self.warn(name, message, &format!("SIPp takes it as {otherwise}"));
            otherwise
        }))
    }

    /// Reads a whole number as C does, so that 0x10 is 16. Any other value is reported as an error.
    pub(super) fn whole(&self, name: &'static str, what: &str) -> Option<i64> {
        let attribute = self.get(name)?;
        let text = attribute.value.trim();
        if text.is_empty() {
            self.warn(name, format!("{name}=\"\" is empty"), "SIPp takes it as 0");
            return Some(0);
        }
        let value = c_integer(text);
        if value.is_none() {
            let message = format!("{name}=\"{}\" is not {what}", attribute.value);
            self.sink.error(Fault::new(attribute.position, message));
        }
        value
    }

    /// Reads a number of milliseconds. A timeout below 0 never ends in SIPp: it is as if it were
    /// absent.
    pub(super) fn milliseconds(&self, name: &'static str) -> Option<u32> {
        let value = self.whole(name, "a number of milliseconds")?;
        if value < 0 {
            self.warn(name, format!("{name}=\"{value}\" is below 0"), "it has no effect");
            return None;
        }
        // Beyond 49 days there is no difference.
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// Reads a finite floating-point number. Any other value is reported as an error.
    pub(super) fn double(&self, name: &'static str) -> Option<f64> {
        /// A value that every check accepts, so that one mistake is not reported twice.
        const FINE: f64 = 1.0;
        let attribute = self.get(name)?;
        let text = attribute.value.trim();
        if text.is_empty() {
            self.warn(name, format!("{name}=\"\" is empty"), "SIPp takes it as 0");
            return Some(0.0);
        }
        let hexadecimal = || c_integer(text).map(|value| value as f64);
        let fault = match text.parse::<f64>().ok().or_else(hexadecimal) {
            Some(value) if value.is_finite() => return Some(value),
            Some(_) => format!("{name}= must be finite"),
            None => format!("{name}=\"{}\" is not a number", attribute.value),
        };
        self.sink.error(Fault::new(attribute.position, fault));
        Some(FINE)
    }

    /// Reads an attribute that only works together with `partner`; without it, a warning says so.
    pub(super) fn with(&self, name: &'static str, partner: &'static str) -> Option<&'e Attribute> {
        let attribute = self.get(name)?;
        if self.get(partner).is_none() {
            let message = format!("{name}= without {partner}=");
            self.warn(name, message, "SIPp ignores it");
            return None;
        }
        Some(attribute)
    }

    /// Refuses `name` without `partner`, since it then has no effect.
    pub(super) fn needs(&self, name: &'static str, partner: &'static str) -> Result<(), Fault> {
        match (self.get(name), self.get(partner)) {
            (Some(attribute), None) => {
                Err(Fault::new(attribute.position, format!("{name}= needs {partner}=")))
            }
            _ => Ok(()),
        }
    }

    /// Warns of attributes that were never read.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for attribute in &self.element.attributes {
            if asked.contains(&attribute.name.as_str()) {
                continue;
            }
            self.sink.warn_with(|| {
                let fault = self.unknown(attribute).hint("SIPp ignores it");
                fault.suggest_too(&attribute.name, asked.iter().copied())
            });
        }
    }

    /// Finishes as [`Attributes::finish`] does, for elements inside of which SIPp looks at nothing.
    pub(super) fn finish_empty(self) {
        no_text(self.element, self.sink);
        for child in &self.element.children {
            self.sink.warn_with(|| stray(child, self.element));
        }
        self.finish();
    }

    fn unknown(&self, attribute: &Attribute) -> Fault {
        Fault::new(
            attribute.position,
            format!("<{}> has no attribute \"{}\"", self.element.name, attribute.name),
        )
    }
}

impl Attribute {
    /// The value as a regular expression.
    pub(super) fn regex(&self) -> Result<Regex, Fault> {
        Regex::new(&*decode::bytes(&self.value)).map_err(|reason| {
            let text = &self.value;
            let message = format!("invalid regular expression: {reason}");
            Fault::new(self.position, message).hint(format!("the expression is \"{text}\""))
        })
    }
}

/// Reads `true` or `false` in any of the spellings that scenarios use; SIPp has numbers too.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" => Some(true),
        "false" | "no" | "" => Some(false),
        number => c_integer(number).map(|number| number != 0),
    }
}

/// Reads a whole number as C's `strtol` does with base 0: 0x10 is 16, 010 is 8.
fn c_integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let octal = digits.strip_prefix('0').filter(|rest| !rest.is_empty());
    let value = match (hexadecimal, octal) {
        (Some(rest), _) if !rest.starts_with('+') => i64::from_str_radix(rest, 16),
        (None, Some(rest)) => i64::from_str_radix(rest, 8),
        _ => digits.parse(),
    };
    value.ok().map(|value| sign * value)
}

/// Warns of text in an element that carries none.
pub(super) fn no_text(element: &Element, sink: &Sink) {
    if let Some(at) = element.text.first_position() {
        let fault = Fault::new(at, format!("text inside <{}>", element.name));
        sink.warn(fault.hint("SIPp ignores it; is a comment or a tag misspelled?"));
    }
}

/// The fault of an element inside another one, where SIPp does not look for any.
pub(super) fn stray(child: &Element, parent: &Element) -> Fault {
    Fault::new(child.position, format!("<{}> inside <{}>", child.name, parent.name))
        .hint("SIPp ignores it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, number) in [
            ("10", Some(10)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x1f4", Some(500)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("1s", None),
            ("0x", None),
            ("0x+1", None),
            ("--1", None),
            ("", None),
        ] {
            assert_eq!(c_integer(text), number, "{text}");
        }
    }
}
