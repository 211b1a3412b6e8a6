//! SIP and SDP messages as bytes: framing, a header index, typed headers, error answers.
//!
//! Two tiers. Tier 1 ([`HeaderIndex`], [`classify()`], [`StreamFramer`]) looks at every message, so
//! it only finds the places of its parts and never allocates. Tier 2 ([`Via`], [`NameAddr`],
//! [`Uri`], [`Sdp`] and friends) gives meaning to one header at a time, on request.
//!
//! Pure: it knows nothing of sockets, clocks, transactions or logging, and no input from the
//! network makes it panic.

mod auth;
pub(crate) mod base64;
mod check;
mod classify;
mod cseq;
pub mod digest;
mod encoding;
mod error;
mod frame;
mod header_id;
mod index;
mod info;
mod lines;
mod list;
mod message;
mod method;
mod name_addr;
mod params;
mod respond;
mod sdp;
mod start_line;
#[cfg(test)]
mod tests;
mod text;
mod uri;
mod via;

pub use auth::{AuthFields, Challenge};
pub use classify::{Datagram, classify};
pub use cseq::CSeq;
pub use encoding::{ENCODINGS, Encoding};
pub use error::{ParseError, SyntaxError};
pub use frame::{FrameLimits, Framing, StreamFramer};
pub use header_id::HeaderId;
pub use index::{HeaderIndex, MAX_HEADERS};
pub use info::info_digit;
pub use lines::first_value;
pub use list::CommaList;
pub use message::{Header, Kind, Message};
pub use method::{Method, MethodId};
pub use name_addr::{NameAddr, find_parameter};
pub use params::{Param, Params};
pub use respond::{write_error_response, write_error_response_with};
pub use sdp::{Connection, Direction, Fmtp, Media, RtpMap, Sdp, SdpError};
pub(crate) use text::find_byte;
pub use text::{is_token, unfold};
pub use uri::{SipUri, Uri};
pub use via::{Rport, Via};
