//! Header names as one-byte numbers, full and compact forms alike.
//!
//! Knows names only, not the meaning of a header's value. The lookup is a hash without collisions
//! whose multiplier is searched at compile time, so a new header is one new line.

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
    /// The header of that name, in any case and in full or compact form.
    #[inline]
    pub fn from_name(name: &[u8]) -> Self {
        if let [letter] = name {
            return COMPACT_TABLE[*letter as usize];
        }
        let ends = Ends::of(name);
        let id = ends.only_candidate(name.len());
        // The middle of a long name is not in the two words.
        let middle_is_same =
            |id: &Self| name.len() <= 16 || id.name().as_bytes().eq_ignore_ascii_case(name);
        id.filter(middle_is_same).unwrap_or(Self::Other)
    }

    /// The header of a name of at most 16 bytes, given as its first eight bytes and the rest, with
    /// zeros behind it. `None` for compact names and [`HeaderId::Other`].
    #[inline(always)]
    pub(super) fn from_words(head: u64, tail: u64, len: usize) -> Option<Self> {
        Ends { head, tail }.only_candidate(len)
    }

    /// The one-letter form of the header's name, if it has one.
    pub fn compact(self) -> Option<u8> {
        let (letter, _) = Self::COMPACT.iter().find(|(_, id)| *id == self)?;
        Some(*letter as u8)
    }
}

/// The first eight bytes of a name and the next eight, the last eight of a name longer than 16;
/// zeros stand behind a shorter name. Two comparisons of words suffice for most headers.
#[derive(Clone, Copy)]
struct Ends {
    head: u64,
    tail: u64,
}

impl Ends {
    #[inline]
    const fn of(name: &[u8]) -> Self {
        let Some((head, rest)) = name.split_first_chunk() else {
            return Self { head: word(name), tail: 0 };
        };
        let tail = match name.last_chunk() {
            Some(tail) if name.len() > 16 => u64::from_le_bytes(*tail),
            _ => word(rest),
        };
        Self { head: u64::from_le_bytes(*head), tail }
    }

    /// The only header that a name with these ends can be; `None` if it is none. The middle of a
    /// name longer than 16 is still to be compared.
    #[inline(always)]
    fn only_candidate(self, len: usize) -> Option<HeaderId> {
        let id = TABLE[self.slot(len, MULTIPLIER)];
        let known = &KEYS[id as usize];
        let is_same = known.len == len
            && known.ends.head == self.head | known.case.head
            && known.ends.tail == self.tail | known.case.tail;
        is_same.then_some(id)
    }

    /// Computes the slot of a name. Setting bit 5 of every byte lower-cases letters and leaves `-`
    /// alone. Its effect on other bytes does not matter, as the comparison that follows is exact.
    #[inline]
    const fn slot(self, len: usize, multiplier: u64) -> usize {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let key = (self.head | LOWER) ^ (self.tail | LOWER).rotate_left(29) ^ len as u64;
        (key.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// The bytes of `text`, at most eight, with zeros behind them.
const fn word(text: &[u8]) -> u64 {
    let mut word = 0;
    let mut at = 0;
    while at < text.len() && at < 8 {
        word |= (text[at] as u64) << (8 * at);
        at += 1;
    }
    word
}

/// A header's name, in the form in which names are compared with it.
#[derive(Clone, Copy)]
struct Key {
    /// The ends in lower case.
    ends: Ends,
    /// Bit 5 of every byte that is a letter.
    case: Ends,
    len: usize,
}

const SLOT_BITS: u32 = 10;

/// Full names in lower case, with the places of their letters.
static KEYS: [Key; HeaderId::KNOWN.len() + 1] = {
    const NOTHING: Key =
        Key { ends: Ends { head: 0, tail: 0 }, case: Ends { head: 0, tail: 0 }, len: usize::MAX };
    let mut keys = [NOTHING; HeaderId::KNOWN.len() + 1];
    let mut at = 0;
    while at < HeaderId::KNOWN.len() {
        keys[at] = key(HeaderId::KNOWN[at].name().as_bytes());
        at += 1;
    }
    keys
};

const fn key(name: &[u8]) -> Key {
    let mut case = [0; 32];
    let mut lower = [0; 32];
    let mut at = 0;
    while at < name.len() {
        case[at] = if name[at].is_ascii_alphabetic() { 0x20 } else { 0 };
        lower[at] = name[at] | case[at];
        at += 1;
    }
    let (lower, _) = lower.split_at(name.len());
    let (case, _) = case.split_at(name.len());
    Key { ends: Ends::of(lower), case: Ends::of(case), len: name.len() }
}

const MULTIPLIER: u64 = {
    let mut multiplier = 0x9E37_79B9_7F4A_7C15u64;
    while !separates_all(multiplier) {
        multiplier = multiplier.wrapping_mul(0x5851_F42D_4C95_7F2D);
    }
    multiplier
};

const fn separates_all(multiplier: u64) -> bool {
    let mut taken = [false; 1 << SLOT_BITS];
    let mut at = 0;
    while at < HeaderId::KNOWN.len() {
        let slot = slot_of(HeaderId::KNOWN[at], multiplier);
        if taken[slot] {
            return false;
        }
        taken[slot] = true;
        at += 1;
    }
    true
}

const fn slot_of(id: HeaderId, multiplier: u64) -> usize {
    let name = id.name().as_bytes();
    Ends::of(name).slot(name.len(), multiplier)
}

static TABLE: [HeaderId; 1 << SLOT_BITS] = {
    let mut table = [HeaderId::Other; 1 << SLOT_BITS];
    let mut at = 0;
    while at < HeaderId::KNOWN.len() {
        let id = HeaderId::KNOWN[at];
        table[slot_of(id, MULTIPLIER)] = id;
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
        // Bytes that bit 5 turns into `-` or a letter, and a middle that is in neither word.
        for name in [&b"Call\rID"[..], b"\x16ia", b"P-PreferredXIdentity", b"P-Associated-URX"] {
            assert_eq!(HeaderId::from_name(name), HeaderId::Other);
        }
    }
}
