//! An event with its attributes.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::config::LogLevel;

/// The most attributes that any kind of event has.
const ATTRIBUTES_MAX: usize = 12;

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'e> {
    /// Text as it was received: not always UTF-8.
    Text(&'e [u8]),
    /// A whole number.
    Number(u64),
    /// A number.
    Float(f64),
    /// An IP address.
    Address(IpAddr),
}

/// The attributes of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes<'e> {
    list: [(&'static str, Value<'e>); ATTRIBUTES_MAX],
    count: usize,
}

impl Default for Attributes<'_> {
    fn default() -> Self {
        Self { list: [("", Value::Number(0)); ATTRIBUTES_MAX], count: 0 }
    }
}

impl<'e> Attributes<'e> {
    fn push(&mut self, key: &'static str, value: Value<'e>) {
        debug_assert!(self.count < ATTRIBUTES_MAX, "no room for {key}");
        if let Some(place) = self.list.get_mut(self.count) {
            *place = (key, value);
            self.count += 1;
        }
    }

    /// Adds a text.
    pub fn text(&mut self, key: &'static str, text: &'e [u8]) {
        self.push(key, Value::Text(text));
    }

    /// Adds a whole number.
    pub fn number(&mut self, key: &'static str, number: u64) {
        self.push(key, Value::Number(number));
    }

    /// Adds a number.
    pub fn float(&mut self, key: &'static str, number: f64) {
        self.push(key, Value::Float(number));
    }

    /// Adds an address.
    pub fn address(&mut self, key: &'static str, ip: IpAddr) {
        self.push(key, Value::Address(ip));
    }

    /// All attributes, in order.
    pub fn each(&self) -> &[(&'static str, Value<'e>)] {
        &self.list[..self.count]
    }

    /// Sorts the attributes by key.
    pub fn sort(&mut self) {
        self.list[..self.count].sort_unstable_by_key(|(key, _)| *key);
    }
}

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent<'e> {
    /// Time, in nanoseconds since 1970 UTC.
    pub unix_ns: u64,
    /// Severity.
    pub level: LogLevel,
    /// Name of the kind, such as `call.ended`.
    pub kind: &'static str,
    /// Description for people.
    pub message: Cow<'e, str>,
    /// Further details.
    pub attributes: Attributes<'e>,
}

impl<'e> LogEvent<'e> {
    /// An event without time and attributes.
    pub fn new(level: LogLevel, kind: &'static str, message: Cow<'e, str>) -> Self {
        Self { unix_ns: 0, level, kind, message, attributes: Attributes::default() }
    }
}
