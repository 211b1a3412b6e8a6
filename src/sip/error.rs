//! Defects of a message, as names that counters, logs and answers can use.
//!
//! Knows the status code that RFC 3261 wants for a defect; the caller decides whether an answer is
//! due.

use core::fmt;

use super::HeaderId;

/// The reason why a message was refused.
///
/// The first group comes from [`HeaderIndex::parse`](super::HeaderIndex::parse) and
/// [`StreamFramer`](super::StreamFramer); the second from [`Message::check`](super::Message::check)
/// and the typed accessors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing but line breaks.
    Empty,
    /// The first line is neither a request line nor a status line.
    BadStartLine,
    /// The request line has a Request-URI that cannot be one (no scheme, or in angle brackets).
    BadRequestUri,
    /// The status code is not three digits between 100 and 699.
    BadStatusCode,
    /// The message is SIP, but not version 2.0.
    UnsupportedVersion,
    /// A header line without a colon, or with a name that is not a token.
    BadHeaderLine,
    /// No empty line ends the header section.
    HeadersUnterminated,
    /// The header section is longer than 65,535 bytes, or than the stream's limit.
    HeadersTooLong,
    /// More header lines than [`MAX_HEADERS`](super::MAX_HEADERS).
    TooManyHeaders,
    /// Content-Length is not a number.
    BadContentLength,
    /// Two Content-Length headers disagree.
    ConflictingContentLength,
    /// The datagram ends before Content-Length bytes of body (RFC 3261 18.3).
    BodyTooShort,
    /// A message on a stream without Content-Length (RFC 3261 20.14).
    MissingContentLength,
    /// A message on a stream longer than the stream's limit.
    MessageTooLong,

    /// A header that every message must have is absent (RFC 3261 8.1.1).
    MissingHeader(HeaderId),
    /// A header that may appear once appears again.
    RepeatedHeader(HeaderId),
    /// A header's value does not follow its grammar.
    BadHeader(HeaderId, SyntaxError),
    /// The method of CSeq is not the method of the request (RFC 3261 8.1.1.5).
    MethodMismatch,
}

impl ParseError {
    /// The stable snake_case name: counter, metric label, JSON value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::BadStartLine => "bad_start_line",
            Self::BadRequestUri => "bad_request_uri",
            Self::BadStatusCode => "bad_status_code",
            Self::UnsupportedVersion => "unsupported_version",
            Self::BadHeaderLine => "bad_header_line",
            Self::HeadersUnterminated => "headers_unterminated",
            Self::HeadersTooLong => "headers_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::BadContentLength => "bad_content_length",
            Self::ConflictingContentLength => "conflicting_content_length",
            Self::BodyTooShort => "body_too_short",
            Self::MissingContentLength => "missing_content_length",
            Self::MessageTooLong => "message_too_long",
            Self::MissingHeader(_) => "missing_header",
            Self::RepeatedHeader(_) => "repeated_header",
            Self::BadHeader(..) => "bad_header",
            Self::MethodMismatch => "method_mismatch",
        }
    }

    /// The status code to answer a request with, or `None` if no answer makes sense.
    ///
    /// The message may also be a response; [`write_error_response`](super::write_error_response)
    /// finds that out.
    pub const fn suggested_status(self) -> Option<u16> {
        match self {
            Self::Empty | Self::BadStatusCode => None,
            Self::UnsupportedVersion => Some(505),
            Self::HeadersTooLong | Self::TooManyHeaders | Self::MessageTooLong => Some(513),
            _ => Some(400),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the message is empty"),
            Self::BadStartLine => {
                f.write_str("the first line is neither a request line nor a status line")
            }
            Self::BadRequestUri => f.write_str("the Request-URI is malformed"),
            Self::BadStatusCode => f.write_str("the status code is not in 100..=699"),
            Self::UnsupportedVersion => f.write_str("the SIP version is not 2.0"),
            Self::BadHeaderLine => f.write_str("a header line has no colon or a bad name"),
            Self::HeadersUnterminated => f.write_str("no empty line ends the headers"),
            Self::HeadersTooLong => f.write_str("the headers are too long"),
            Self::TooManyHeaders => {
                write!(f, "there are more than {} header lines", super::MAX_HEADERS)
            }
            Self::BadContentLength => f.write_str("Content-Length is not a number"),
            Self::ConflictingContentLength => f.write_str("two Content-Length headers disagree"),
            Self::BodyTooShort => f.write_str("the body is shorter than Content-Length"),
            Self::MissingContentLength => f.write_str("Content-Length is required on a stream"),
            Self::MessageTooLong => f.write_str("the message is longer than the stream's limit"),
            Self::MissingHeader(id) => write!(f, "{} is missing", id.name()),
            Self::RepeatedHeader(id) => write!(f, "{} may appear only once", id.name()),
            Self::BadHeader(id, why) => write!(f, "{} is malformed: {why}", id.name()),
            Self::MethodMismatch => f.write_str("CSeq names another method than the request line"),
        }
    }
}

impl core::error::Error for ParseError {}

/// The reason why a header value, a URI or a parameter list does not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// Nothing where a value is required, or an empty element in a list.
    Empty,
    /// A quoted string without its closing quote.
    UnterminatedQuote,
    /// An opening angle bracket without its closing one.
    UnterminatedAngle,
    /// A display name that is neither a quoted string nor tokens.
    BadDisplayName,
    /// A parameter without a name or with an unusable value.
    BadParameter,
    /// A number that is not one, or is out of the header's range.
    BadNumber,
    /// A method that is not a token.
    BadMethod,
    /// A URI without a scheme, or with an impossible one.
    BadScheme,
    /// A host that is neither a name nor an address.
    BadHost,
    /// A port that is not a number up to 65535.
    BadPort,
    /// A Via that does not start with `SIP/2.0/transport`.
    BadProtocol,
    /// Text behind the end of the value.
    TrailingText,
}

impl SyntaxError {
    /// The stable snake_case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnterminatedQuote => "unterminated_quote",
            Self::UnterminatedAngle => "unterminated_angle",
            Self::BadDisplayName => "bad_display_name",
            Self::BadParameter => "bad_parameter",
            Self::BadNumber => "bad_number",
            Self::BadMethod => "bad_method",
            Self::BadScheme => "bad_scheme",
            Self::BadHost => "bad_host",
            Self::BadPort => "bad_port",
            Self::BadProtocol => "bad_protocol",
            Self::TrailingText => "trailing_text",
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a value is missing",
            Self::UnterminatedQuote => "a quoted string does not end",
            Self::UnterminatedAngle => "an angle bracket is not closed",
            Self::BadDisplayName => "the display name needs quotes",
            Self::BadParameter => "a parameter is malformed",
            Self::BadNumber => "a number is malformed or out of range",
            Self::BadMethod => "the method is not a token",
            Self::BadScheme => "the URI has no valid scheme",
            Self::BadHost => "the host is malformed",
            Self::BadPort => "the port is malformed",
            Self::BadProtocol => "the protocol is not SIP/2.0 with a transport",
            Self::TrailingText => "there is text after the value",
        })
    }
}

impl core::error::Error for SyntaxError {}
