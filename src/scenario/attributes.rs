//! Typed, checked access to an element's attributes; an attribute that nobody asked for is an
//! error.

use std::cell::RefCell;

use super::decode;
use super::ere::Regex;
use super::error::{Fault, Position, nearest};
use super::text::Text;
use super::xml::{Attribute, Element};

/// The attributes of one element, each marked when it is read.
pub(super) struct Attributes<'e> {
    element: &'e Element,
    asked: RefCell<Vec<&'static str>>,
}

impl<'e> Attributes<'e> {
    pub(super) fn new(element: &'e Element) -> Self {
        Self { element, asked: RefCell::new(Vec::new()) }
    }

    /// Where the element stands.
    pub(super) fn position(&self) -> Position {
        self.element.position
    }

    /// Where the attribute stands, or its element if it is absent.
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

    /// The error of an element without any of `names`: an attribute that looks like one of them is
    /// the likelier mistake.
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

    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, Fault> {
        self.get(name).map(truth).transpose()
    }

    pub(super) fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
        what: &str,
    ) -> Result<Option<T>, Fault> {
        let Some(attribute) = self.get(name) else { return Ok(None) };
        attribute.value.trim().parse().map(Some).map_err(|_| {
            Fault::new(attribute.position, format!("{name}=\"{}\" is not {what}", attribute.value))
        })
    }

    /// A finite floating-point number.
    pub(super) fn double(&self, name: &'static str) -> Result<Option<f64>, Fault> {
        let value: Option<f64> = self.number(name, "a number")?;
        match value {
            Some(value) if !value.is_finite() => {
                Err(Fault::new(self.place(name), format!("{name}= must be finite")))
            }
            value => Ok(value),
        }
    }

    /// Refuses what this version cannot do, by name.
    pub(super) fn later(&self, name: &'static str, why: &str) -> Result<(), Fault> {
        match self.get(name) {
            Some(attribute) => Err(Fault::later(attribute.position, format!("{name}="), why)),
            None => Ok(()),
        }
    }

    /// Refuses `name` unless `partner` is there too, without which it has no effect.
    pub(super) fn needs(&self, name: &'static str, partner: &'static str) -> Result<(), Fault> {
        match (self.get(name), self.get(partner)) {
            (Some(attribute), None) => {
                Err(Fault::new(attribute.position, format!("{name}= needs {partner}=")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses attributes that were never asked for.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let asked = self.asked.borrow();
        let unknown = |attribute: &&Attribute| !asked.contains(&attribute.name.as_str());
        match self.element.attributes.iter().find(unknown) {
            Some(attribute) => {
                Err(self.unknown(attribute).suggest(&attribute.name, asked.iter().copied()))
            }
            None => Ok(()),
        }
    }

    /// As [`Attributes::finish`], for elements that hold neither elements nor text.
    pub(super) fn finish_empty(self) -> Result<(), Fault> {
        no_text(self.element)?;
        if let Some(child) = self.element.children.first() {
            return Err(Fault::new(
                child.position,
                format!("<{}> inside <{}>", child.name, self.element.name),
            )
            .hint(format!("<{}> holds nothing; close it with />", self.element.name)));
        }
        self.finish()
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
    pub(super) fn regex(&self, case_insensitive: bool) -> Result<Regex, Fault> {
        Regex::new(&*decode::bytes(&self.value), case_insensitive).map_err(|reason| {
            let text = &self.value;
            let message = format!("invalid regular expression: {reason}");
            Fault::new(self.position, message).hint(format!("the expression is \"{text}\""))
        })
    }
}

/// `true` or `false` in any of the spellings that scenarios use.
fn truth(attribute: &Attribute) -> Result<bool, Fault> {
    match attribute.value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(Fault::new(
            attribute.position,
            format!("{}=\"{}\" is neither true nor false", attribute.name, attribute.value),
        )
        .hint("write true or false")),
    }
}

/// Refuses text in an element that carries none.
pub(super) fn no_text(element: &Element) -> Result<(), Fault> {
    match element.text.first_position() {
        Some(at) => Err(Fault::new(at, format!("text inside <{}>", element.name))
            .hint("only <send> carries a message; is a comment or a tag misspelled?")),
        None => Ok(()),
    }
}
