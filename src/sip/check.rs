//! Requirements on a message before a user agent acts on it (RFC 3261 8.1.1, 8.2, 18.1.2).
//!
//! Not part of parsing: a load tester also has to talk to peers that break these rules, so the
//! caller decides whether a defect matters.

use super::message::{Kind, Message};
use super::text::{decimal, trim};
use super::{HeaderId, ParseError, SyntaxError, Uri};

/// Headers that may appear once only (RFC 3261 7.3.1).
const SINGLE: [HeaderId; 6] = [
    HeaderId::From,
    HeaderId::To,
    HeaderId::CallId,
    HeaderId::CSeq,
    HeaderId::MaxForwards,
    HeaderId::ContentType,
];

impl Message<'_> {
    /// Checks that the mandatory headers are there, once, and that they and the routing headers
    /// follow their grammar. Returns the first defect.
    ///
    /// Semantics are not checked: schemes, extensions and body types may be unsupported, and
    /// branches need not be unique.
    pub fn check(&self) -> Result<(), ParseError> {
        for id in SINGLE {
            if self.all(id).nth(1).is_some() {
                return Err(ParseError::RepeatedHeader(id));
            }
        }
        self.top_via()?;
        self.vias().try_for_each(|via| via.map(drop))?;
        self.check_address(HeaderId::From)?;
        self.check_address(HeaderId::To)?;
        if trim(self.required(HeaderId::CallId)?).is_empty() {
            return Err(ParseError::BadHeader(HeaderId::CallId, SyntaxError::Empty));
        }
        self.check_methods()?;
        if self.first(HeaderId::MaxForwards).is_some_and(|value| !is_hop_count(value)) {
            return Err(ParseError::BadHeader(HeaderId::MaxForwards, SyntaxError::BadNumber));
        }
        for id in [HeaderId::Contact, HeaderId::Route, HeaderId::RecordRoute] {
            self.check_addresses(id)?;
        }
        Ok(())
    }

    fn check_methods(&self) -> Result<(), ParseError> {
        let cseq = self.cseq()?;
        let Kind::Request { method, uri } = self.kind() else { return Ok(()) };
        if cseq.method != method {
            return Err(ParseError::MethodMismatch);
        }
        Uri::parse(uri).map(drop).map_err(|_| ParseError::BadRequestUri)
    }

    /// Checks an address that must be the whole value.
    fn check_address(&self, id: HeaderId) -> Result<(), ParseError> {
        let bad = |why| ParseError::BadHeader(id, why);
        let address = super::NameAddr::parse(self.required(id)?).map_err(bad)?;
        address.params.check().map_err(bad)?;
        Uri::parse(address.uri).map(drop).map_err(bad)
    }

    fn check_addresses(&self, id: HeaderId) -> Result<(), ParseError> {
        let bad = |why| ParseError::BadHeader(id, why);
        self.name_addrs(id).try_for_each(|address| {
            let address = address?;
            address.params.check().map_err(bad)?;
            // `*` stands for all bindings (RFC 3261 10.2.2).
            if address.uri == b"*" && id == HeaderId::Contact {
                return Ok(());
            }
            Uri::parse(address.uri).map(drop).map_err(bad)
        })
    }
}

/// Tells whether the value of Max-Forwards is a number from 0 to 255 (RFC 3261 20.22).
fn is_hop_count(value: &[u8]) -> bool {
    decimal(value).is_some_and(|hops| hops <= 255)
}
