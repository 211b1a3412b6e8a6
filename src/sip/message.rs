//! An indexed message and its accessors.
//!
//! Results are slices of the datagram, or typed headers made on request. The module knows nothing
//! of dialogs and transactions.

use super::index::Span;
use super::list::CommaList;
use super::name_addr::{self, NameAddr};
use super::{CSeq, HeaderId, Method, ParseError, SyntaxError, Via};

/// The content of the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'m> {
    /// A request line.
    Request {
        /// The method.
        method: Method<'m>,
        /// The Request-URI as it is written.
        uri: &'m [u8],
    },
    /// A status line.
    Response {
        /// Three digits, 100 to 699.
        code: u16,
        /// The reason phrase, possibly empty.
        reason: &'m [u8],
    },
}

/// One header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'m> {
    /// The name as a number.
    pub id: HeaderId,
    /// The name as it is written.
    pub name: &'m [u8],
    /// The value, trimmed; folds inside keep their line breaks (see [`unfold`](super::unfold)).
    pub value: &'m [u8],
    /// The whole line as it is written, folds included, without the final line break.
    pub line: &'m [u8],
}

/// A message that [`HeaderIndex::parse`](super::HeaderIndex::parse) has indexed.
///
/// Holding one means that the first line is valid, every header line has a name, and the body is
/// as long as Content-Length says. It does not mean that mandatory headers are present or well
/// formed; [`check`](Self::check) tells.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    bytes: &'m [u8],
    kind: Kind<'m>,
    ids: &'m [HeaderId],
    spans: &'m [Span],
    body: usize,
}

impl<'m> Message<'m> {
    pub(super) const fn new(
        bytes: &'m [u8],
        kind: Kind<'m>,
        ids: &'m [HeaderId],
        spans: &'m [Span],
        body: usize,
    ) -> Self {
        Self { bytes, kind, ids, spans, body }
    }

    /// The content of the first line.
    pub const fn kind(&self) -> Kind<'m> {
        self.kind
    }

    /// The request's method, or `None` for a response.
    pub const fn method(&self) -> Option<Method<'m>> {
        match self.kind {
            Kind::Request { method, .. } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The response's status code, or `None` for a request.
    pub const fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Request { .. } => None,
            Kind::Response { code, .. } => Some(code),
        }
    }

    /// The message from the first byte of its first line to the last of its body.
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// Offset of the body in [`bytes`](Self::bytes).
    pub const fn body_offset(&self) -> usize {
        self.body
    }

    /// The body, possibly empty.
    pub fn body(&self) -> &'m [u8] {
        &self.bytes[self.body..]
    }

    /// Every header, in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = Header<'m>> + Clone + use<'m> {
        let bytes = self.bytes;
        self.ids.iter().zip(self.spans).map(move |(id, span)| header(bytes, *id, span))
    }

    /// The value of the first header `id`.
    #[inline]
    pub fn first(&self, id: HeaderId) -> Option<&'m [u8]> {
        let at = self.ids.iter().position(|other| *other == id)?;
        Some(value(self.bytes, self.spans.get(at)?))
    }

    /// The values of all headers `id`, one per line and in order; lists are not split.
    pub fn all(&self, id: HeaderId) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        let bytes = self.bytes;
        let wanted = move |(other, _): &(&HeaderId, &Span)| **other == id;
        self.ids.iter().zip(self.spans).filter(wanted).map(move |(_, span)| value(bytes, span))
    }

    /// All headers `id`, in order.
    #[inline]
    pub fn lines(&self, id: HeaderId) -> impl Iterator<Item = Header<'m>> + Clone + use<'m> {
        let Self { bytes, ids, spans, .. } = *self;
        let mut at = 0;
        core::iter::from_fn(move || {
            let found = at + ids.get(at..)?.iter().position(|other| *other == id)?;
            at = found + 1;
            Some(header(bytes, id, spans.get(found)?))
        })
    }

    /// The value of the first header with this name, in any case and form: `Via` finds `v`.
    pub fn by_name(&self, name: &[u8]) -> Option<&'m [u8]> {
        match HeaderId::from_name(name) {
            HeaderId::Other => self.all_by_name(name).next(),
            id => self.first(id),
        }
    }

    /// The values of all headers with this name, one per line and in order.
    pub fn all_by_name<'n>(
        &self,
        name: &'n [u8],
    ) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m, 'n> {
        self.lines_by_name(name).map(|header| header.value)
    }

    /// All headers with this name, in any case and form and in order.
    pub fn lines_by_name<'n>(
        &self,
        name: &'n [u8],
    ) -> impl Iterator<Item = Header<'m>> + Clone + use<'m, 'n> {
        let id = HeaderId::from_name(name);
        self.headers().filter(move |header| {
            let same_text = || header.name.eq_ignore_ascii_case(name);
            header.id == id && (id != HeaderId::Other || same_text())
        })
    }

    /// Call-ID.
    pub fn call_id(&self) -> Option<&'m [u8]> {
        self.first(HeaderId::CallId)
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq<'m>, ParseError> {
        let value = self.required(HeaderId::CSeq)?;
        CSeq::parse(value).map_err(|why| ParseError::BadHeader(HeaderId::CSeq, why))
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&'m [u8]> {
        name_addr::find_tag(self.first(HeaderId::From)?)
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&'m [u8]> {
        name_addr::find_tag(self.first(HeaderId::To)?)
    }

    /// The topmost Via: the sender of this request, or the receiver of this response.
    pub fn top_via(&self) -> Result<Via<'m>, ParseError> {
        self.required(HeaderId::Via)?;
        self.vias().next().unwrap_or(Err(ParseError::MissingHeader(HeaderId::Via)))
    }

    /// Every Via from the top, over lines and lists alike.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'m>, ParseError>> + Clone + use<'m> {
        let bad = |why| ParseError::BadHeader(HeaderId::Via, why);
        self.elements(HeaderId::Via)
            .map(move |element| element.and_then(|element| Via::parse(element).map_err(bad)))
    }

    /// The first Contact's URI, without display name, angle brackets and parameters.
    /// `None` if there is no Contact or it cannot be read; `*` is returned unchanged.
    pub fn contact_uri(&self) -> Option<&'m [u8]> {
        Some(self.contacts().next()?.ok()?.uri)
    }

    /// Every Contact, over lines and lists alike.
    pub fn contacts(
        &self,
    ) -> impl Iterator<Item = Result<NameAddr<'m>, ParseError>> + Clone + use<'m> {
        self.name_addrs(HeaderId::Contact)
    }

    /// Every Record-Route entry from the top. A caller builds its route set from the reverse
    /// (RFC 3261 12.1.2).
    pub fn record_routes(
        &self,
    ) -> impl Iterator<Item = Result<NameAddr<'m>, ParseError>> + Clone + use<'m> {
        self.name_addrs(HeaderId::RecordRoute)
    }

    /// Every Route entry from the top.
    pub fn routes(
        &self,
    ) -> impl Iterator<Item = Result<NameAddr<'m>, ParseError>> + Clone + use<'m> {
        self.name_addrs(HeaderId::Route)
    }

    /// Every address of the headers `id`, over lines and lists alike.
    pub fn name_addrs(
        &self,
        id: HeaderId,
    ) -> impl Iterator<Item = Result<NameAddr<'m>, ParseError>> + Clone + use<'m> {
        let bad = move |why| ParseError::BadHeader(id, why);
        self.elements(id)
            .map(move |element| element.and_then(|element| NameAddr::parse(element).map_err(bad)))
    }

    /// The comma-separated elements of all headers `id`, trimmed.
    pub fn elements(
        &self,
        id: HeaderId,
    ) -> impl Iterator<Item = Result<&'m [u8], ParseError>> + Clone + use<'m> {
        let bad = move |why: SyntaxError| ParseError::BadHeader(id, why);
        self.all(id).flat_map(CommaList::new).map(move |element| element.map_err(bad))
    }

    /// The value of the first header `id`, which must be there.
    pub(super) fn required(&self, id: HeaderId) -> Result<&'m [u8], ParseError> {
        self.first(id).ok_or(ParseError::MissingHeader(id))
    }
}

#[inline]
fn value<'m>(bytes: &'m [u8], span: &Span) -> &'m [u8] {
    range(bytes, span.value_start, span.value_end)
}

#[inline]
fn header<'m>(bytes: &'m [u8], id: HeaderId, span: &Span) -> Header<'m> {
    Header {
        id,
        name: range(bytes, span.start, span.name_end),
        value: value(bytes, span),
        line: range(bytes, span.start, span.end),
    }
}

/// Returns the bytes of a span. Spans come from the same bytes, so the slice always exists; an
/// empty one would be wrong but not a panic.
#[inline]
fn range(bytes: &[u8], from: u16, to: u16) -> &[u8] {
    bytes.get(usize::from(from)..usize::from(to)).unwrap_or_default()
}
