//! Typed, checked access to an element's attributes; an attribute that nobody asked for is an
//! error.

use std::cell::RefCell;

use super::error::{Fault, Position};
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

    pub(super) fn position(&self) -> Position {
        self.element.position
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'e Attribute> {
        self.asked.borrow_mut().push(name);
        self.element.attribute(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'e str> {
        self.get(name).map(|attribute| attribute.value.as_str())
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&'e Attribute, Fault> {
        self.get(name).ok_or_else(|| {
            Fault::new(self.element.position, format!("<{}> needs {name}=", self.element.name))
        })
    }

    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, Fault> {
        let Some(attribute) = self.get(name) else { return Ok(None) };
        match attribute.value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Some(true)),
            "false" | "no" | "0" => Ok(Some(false)),
            other => Err(Fault::new(attribute.position, format!("{name}=\"{other}\""))
                .hint("write true or false")),
        }
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
                Err(Fault::new(self.position(), format!("{name}= must be finite")))
            }
            value => Ok(value),
        }
    }

    /// Refuses what this version cannot do, by name.
    pub(super) fn later(&self, name: &'static str, why: &str) -> Result<(), Fault> {
        match self.get(name) {
            Some(attribute) => Err(Fault::new(
                attribute.position,
                format!("{name}= is not supported in this version: {why}"),
            )),
            None => Ok(()),
        }
    }

    /// Refuses attributes that were never asked for.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let asked = self.asked.into_inner();
        for attribute in &self.element.attributes {
            if !asked.contains(&attribute.name.as_str()) {
                return Err(Fault::new(
                    attribute.position,
                    format!("<{}> has no attribute \"{}\"", self.element.name, attribute.name),
                )
                .suggest(&attribute.name, asked.iter().copied()));
            }
        }
        Ok(())
    }
}
