//! Header names as one-byte numbers, full and compact forms alike.
//!
//! Knows names only, not what a header's value means. The lookup is a hash without collisions
//! whose multiplier is searched at compile time, so adding a header is adding a line.

macro_rules! headers {
    ($($variant:ident $name:literal $(/ $compact:literal)?,)+) => {
        /// A header's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderId {
            $(#[doc = concat!("`", $name, "`" $(, " or `", $compact, "`")?, ".")] $variant,)+
            /// A header that this program has no name for.
            Other,
        }

        impl HeaderId {
            /// Every header with a name, in declaration order.
            pub const KNOWN: &'static [HeaderId] = &[$(HeaderId::$variant),+];

            const COMPACT: &'static [(char, HeaderId)] =
                &[$($(($compact, HeaderId::$variant),)?)+];

            /// The header's full name as RFCs write it; `"?"` for [`HeaderId::Other`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other => "?",
                }
            }
        }
    };
}

headers! {
    Via "Via" / 'v',
    From "From" / 'f',
    To "To" / 't',
    CallId "Call-ID" / 'i',
    CSeq "CSeq",
    Contact "Contact" / 'm',
    ContentLength "Content-Length" / 'l',
    ContentType "Content-Type" / 'c',
    MaxForwards "Max-Forwards",
    Route "Route",
    RecordRoute "Record-Route",
    Accept "Accept",
    AcceptContact "Accept-Contact" / 'a',
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" / 'u',
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallInfo "Call-Info",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" / 'e',
    ContentLanguage "Content-Language",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" / 'o',
    Expires "Expires",
    Geolocation "Geolocation",
    HistoryInfo "History-Info",
    Identity "Identity" / 'y',
    IdentityInfo "Identity-Info" / 'n',
    InReplyTo "In-Reply-To",
    Join "Join",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAccessNetworkInfo "P-Access-Network-Info",
    PAssertedIdentity "P-Asserted-Identity",
    PAssociatedUri "P-Associated-URI",
    PChargingVector "P-Charging-Vector",
    PPreferredIdentity "P-Preferred-Identity",
    Path "Path",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    Reason "Reason",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To" / 'r',
    ReferredBy "Referred-By" / 'b',
    RejectContact "Reject-Contact" / 'j',
    Replaces "Replaces",
    ReplyTo "Reply-To",
    RequestDisposition "Request-Disposition" / 'd',
    Require "Require",
    RetryAfter "Retry-After",
    RSeq "RSeq",
    SecurityClient "Security-Client",
    SecurityServer "Security-Server",
    SecurityVerify "Security-Verify",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires" / 'x',
    SipETag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" / 's',
    SubscriptionState "Subscription-State",
    Supported "Supported" / 'k',
    TargetDialog "Target-Dialog",
    Timestamp "Timestamp",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

impl HeaderId {
    /// The header that `name` means, whatever its case, in full or compact form.
    #[inline]
    pub fn from_name(name: &[u8]) -> Self {
        match name {
            [] => Self::Other,
            [letter] => COMPACT_TABLE[*letter as usize],
            _ => {
                let id = TABLE[slot(name, MULTIPLIER)];
                if id.name().as_bytes().eq_ignore_ascii_case(name) { id } else { Self::Other }
            }
        }
    }

    /// The one-letter form of the header's name, if it has one.
    pub fn compact(self) -> Option<u8> {
        let (letter, _) = Self::COMPACT.iter().find(|(_, id)| *id == self)?;
        Some(*letter as u8)
    }
}

const SLOT_BITS: u32 = 10;

/// Slot of a name of at least two bytes: its ends, its middle and its length tell all known names
/// apart. Setting bit 5 lower-cases letters and leaves `-` alone.
#[inline]
const fn slot(name: &[u8], multiplier: u32) -> usize {
    let len = name.len();
    let (first, middle, last) = (name[0] | 0x20, name[len / 2] | 0x20, name[len - 1] | 0x20);
    let key = u32::from_le_bytes([first, middle, last, len as u8]);
    (key.wrapping_mul(multiplier) >> (u32::BITS - SLOT_BITS)) as usize
}

const MULTIPLIER: u32 = {
    let mut multiplier = 0x9E37_79B1u32;
    while !separates_all(multiplier) {
        multiplier = multiplier.wrapping_add(0x3C6E_F372);
    }
    multiplier
};

const fn separates_all(multiplier: u32) -> bool {
    let mut taken = [false; 1 << SLOT_BITS];
    let mut at = 0;
    while at < HeaderId::KNOWN.len() {
        let slot = slot(HeaderId::KNOWN[at].name().as_bytes(), multiplier);
        if taken[slot] {
            return false;
        }
        taken[slot] = true;
        at += 1;
    }
    true
}

static TABLE: [HeaderId; 1 << SLOT_BITS] = {
    let mut table = [HeaderId::Other; 1 << SLOT_BITS];
    let mut at = 0;
    while at < HeaderId::KNOWN.len() {
        let id = HeaderId::KNOWN[at];
        table[slot(id.name().as_bytes(), MULTIPLIER)] = id;
        at += 1;
    }
    table
};

static COMPACT_TABLE: [HeaderId; 256] = {
    let mut table = [HeaderId::Other; 256];
    let mut at = 0;
    while at < HeaderId::COMPACT.len() {
        let (letter, id) = HeaderId::COMPACT[at];
        table[letter as usize] = id;
        table[letter.to_ascii_uppercase() as usize] = id;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for id in HeaderId::KNOWN {
            let name = id.name();
            assert_eq!(HeaderId::from_name(name.as_bytes()), *id);
            assert_eq!(HeaderId::from_name(name.to_lowercase().as_bytes()), *id);
            assert_eq!(HeaderId::from_name(name.to_uppercase().as_bytes()), *id);
        }
    }

    #[test]
    fn compact_forms_are_the_same_header() {
        for id in HeaderId::KNOWN {
            let Some(letter) = id.compact() else { continue };
            assert_eq!(HeaderId::from_name(&[letter]), *id);
            assert_eq!(HeaderId::from_name(&[letter.to_ascii_uppercase()]), *id);
        }
        assert_eq!(HeaderId::from_name(b"q"), HeaderId::Other);
    }

    #[test]
    fn near_misses_are_other() {
        for name in [&b""[..], b"Vib", b"Via ", b"Content-Lenght", b"X-Custom", &[0xff; 300]] {
            assert_eq!(HeaderId::from_name(name), HeaderId::Other);
        }
    }
}
