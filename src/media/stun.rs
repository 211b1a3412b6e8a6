//! Messages of STUN (RFC 8489): reading and writing. TURN and ICE are made of them.
//!
//! Knows the format, and no transaction: who sends what when is the business of its users.

mod crc32;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use ring::hmac;

/// Length of the header.
pub const HEADER_LEN: usize = 20;
/// Length of an attribute's type and length.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Length of HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// RFC 8489 section 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A transaction, by the number that its requester chose.
pub type TransactionId = [u8; 12];

/// Types of attributes (RFC 8489 section 18.3, RFC 8656 section 18).
pub mod attribute {
    #![allow(missing_docs)] // The names are those of the RFCs.
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    pub const LIFETIME: u16 = 0x000d;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const EVEN_PORT: u16 = 0x0018;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    pub const FINGERPRINT: u16 = 0x8028;
}

/// The class of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A request, which is answered.
    Request,
    /// An indication, which is not.
    Indication,
    /// The answer to a request that was carried out.
    Success,
    /// The answer to a request that was refused.
    Error,
}

/// The method of a message (RFC 8489 section 18.2, RFC 8656 section 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for the own address as the server sees it.
    Binding,
    /// Asks for a relayed address.
    Allocate,
    /// Asks for more time, or gives a relayed address back.
    Refresh,
    /// Carries data to a peer.
    Send,
    /// Carries data of a peer.
    Data,
    /// Lets a peer send to the relayed address.
    CreatePermission,
    /// Gives a peer a channel.
    ChannelBind,
    /// Another method.
    Other(u16),
}

impl Method {
    const KNOWN: [(Self, u16); 7] = [
        (Self::Binding, 1),
        (Self::Allocate, 3),
        (Self::Refresh, 4),
        (Self::Send, 6),
        (Self::Data, 7),
        (Self::CreatePermission, 8),
        (Self::ChannelBind, 9),
    ];

    fn of(number: u16) -> Self {
        let known = Self::KNOWN.into_iter().find(|&(_, known)| known == number);
        known.map_or(Self::Other(number), |(method, _)| method)
    }

    fn number(self) -> u16 {
        match self {
            Self::Other(number) => number & 0xfff,
            known => {
                Self::KNOWN.into_iter().find(|&(method, _)| method == known).map_or(0, |k| k.1)
            }
        }
    }
}

/// The reason why a datagram is no message of STUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunFault {
    /// The datagram is shorter than a header, or than its own length says, or longer.
    Length,
    /// The first bits or the magic cookie are those of another protocol.
    OtherProtocol,
    /// An attribute goes beyond the end.
    Attribute,
}

/// A message whose attributes are all within its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    bytes: &'m [u8],
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'m> {
    /// Type.
    pub kind: u16,
    /// Value, without padding.
    pub value: &'m [u8],
    /// Place of the attribute in the message.
    at: usize,
}

impl<'m> Message<'m> {
    /// Reads a datagram that is one message.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &'m [u8]) -> Result<Self, StunFault> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(StunFault::Length)?;
        if header[0] & 0xc0 != 0 || header[4..8] != MAGIC_COOKIE {
            return Err(StunFault::OtherProtocol);
        }
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if len % 4 != 0 || HEADER_LEN + len != bytes.len() {
            return Err(StunFault::Length);
        }
        let message = Self { bytes };
        let end = message.all().last().map_or(HEADER_LEN, |last| last.end());
        if end == bytes.len() { Ok(message) } else { Err(StunFault::Attribute) }
    }

    /// The class.
    pub fn class(&self) -> Class {
        // RFC 8489 section 5: the two bits stand within those of the method.
        match (self.bytes[0] & 1, self.bytes[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            (_, _) => Class::Error,
        }
    }

    /// The method.
    pub fn method(&self) -> Method {
        let word = u16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        Method::of(word & 0xf | (word >> 1) & 0x70 | (word >> 2) & 0xf80)
    }

    /// The transaction.
    pub fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        id
    }

    /// All attributes.
    fn all(&self) -> impl Iterator<Item = Attribute<'m>> + use<'m> {
        let bytes = self.bytes;
        let mut at = HEADER_LEN;
        std::iter::from_fn(move || {
            let head = bytes.get(at..)?.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let begin = at + ATTRIBUTE_HEADER_LEN;
            let value = bytes.get(begin..begin + len)?;
            let attribute = Attribute { kind: u16::from_be_bytes([head[0], head[1]]), value, at };
            at = attribute.end();
            // The padding is part of the message.
            (at <= bytes.len()).then_some(attribute)
        })
    }

    /// The attributes that count: those behind MESSAGE-INTEGRITY could be of anybody (RFC 8489
    /// section 14.5).
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'m>> + use<'m> {
        let mut is_over = false;
        self.all().take_while(move |attribute| {
            let counts = !is_over;
            is_over |= attribute.kind == attribute::MESSAGE_INTEGRITY;
            counts
        })
    }

    /// The value of the first attribute of a type.
    pub fn attribute(&self, kind: u16) -> Option<&'m [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|found| found.value)
    }

    /// The place of the value of the first attribute of a type.
    pub fn place(&self, kind: u16) -> Option<Range<usize>> {
        let found = self.attributes().find(|attribute| attribute.kind == kind)?;
        let begin = found.at + ATTRIBUTE_HEADER_LEN;
        Some(begin..begin + found.value.len())
    }

    /// The 32 bits of an attribute.
    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(kind)?.try_into().ok()?))
    }

    /// The address of an XOR attribute (RFC 8489 section 14.2).
    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        let value = self.attribute(kind)?;
        let (head, ip) = value.split_first_chunk::<4>()?;
        let port = u16::from_be_bytes([head[2] ^ MAGIC_COOKIE[0], head[3] ^ MAGIC_COOKIE[1]]);
        let mask = &self.bytes[4..HEADER_LEN];
        let ip = match head[1] {
            1 => IpAddr::V4(Ipv4Addr::from(xored::<4>(ip, mask)?)),
            2 => IpAddr::V6(Ipv6Addr::from(xored::<16>(ip, mask)?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The code of an error (RFC 8489 section 14.8).
    pub fn error_code(&self) -> Option<u16> {
        let value = self.attribute(attribute::ERROR_CODE)?.first_chunk::<4>()?;
        Some(u16::from(value[2] & 7) * 100 + u16::from(value[3]))
    }

    /// Tells whether the message has the MESSAGE-INTEGRITY of `key`.
    pub fn has_integrity(&self, key: &Key) -> bool {
        let found = self.attributes().find(|found| found.kind == attribute::MESSAGE_INTEGRITY);
        let Some(found) = found.filter(|found| found.value.len() == INTEGRITY_LEN) else {
            return false;
        };
        let tag = key.tag(&self.bytes[..found.at]);
        // A comparison that takes the same time wherever the first difference is.
        let differences = tag.iter().zip(found.value).fold(0, |all, (a, b)| all | (a ^ b));
        differences == 0
    }

    /// Tells whether the message ends with a right FINGERPRINT.
    pub fn has_fingerprint(&self) -> bool {
        self.all().last().is_some_and(|last| {
            let is_one = last.kind == attribute::FINGERPRINT;
            is_one && last.value == fingerprint(&self.bytes[..last.at]).to_be_bytes()
        })
    }
}

impl Attribute<'_> {
    fn end(&self) -> usize {
        self.at + ATTRIBUTE_HEADER_LEN + self.value.len().next_multiple_of(4)
    }
}

fn xored<const N: usize>(bytes: &[u8], mask: &[u8]) -> Option<[u8; N]> {
    let mut out: [u8; N] = bytes.try_into().ok()?;
    out.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    Some(out)
}

fn fingerprint(bytes: &[u8]) -> u32 {
    crc32::of(bytes) ^ FINGERPRINT_XOR
}

/// The key of MESSAGE-INTEGRITY.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

impl Key {
    /// The key of a short-term credential (RFC 8489 section 9.1.1), as ICE has it.
    pub fn short_term(password: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password))
    }

    /// The key of a long-term credential (RFC 8489 section 9.2.2).
    pub fn long_term(user: &[u8], realm: &[u8], password: &[u8]) -> Self {
        use md5::{Digest as _, Md5};
        let mut hash = Md5::new();
        for (at, part) in [user, realm, password].into_iter().enumerate() {
            if at > 0 {
                hash.update(b":");
            }
            hash.update(part);
        }
        Self::short_term(&hash.finalize())
    }

    /// The tag of a message that ends with the attribute behind `bytes`.
    fn tag(&self, bytes: &[u8]) -> [u8; INTEGRITY_LEN] {
        let len = (bytes.len() - HEADER_LEN + ATTRIBUTE_HEADER_LEN + INTEGRITY_LEN) as u16;
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&bytes[..2]);
        context.update(&len.to_be_bytes());
        context.update(&bytes[4..]);
        let mut tag = [0; INTEGRITY_LEN];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

/// Writer of a message. `None` of its methods means that there is no room; the message is then of
/// no use.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// Begins a message in `out`.
    pub fn new(out: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Option<Self> {
        let header = out.first_chunk_mut::<HEADER_LEN>()?;
        let method = method.number();
        let class = match class {
            Class::Request => 0,
            Class::Indication => 0x10,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let word = method & 0xf | (method & 0x70) << 1 | (method & 0xf80) << 2 | class;
        header[..2].copy_from_slice(&word.to_be_bytes());
        header[2..4].copy_from_slice(&[0; 2]);
        header[4..8].copy_from_slice(&MAGIC_COOKIE);
        header[8..].copy_from_slice(&id);
        Some(Self { out, len: HEADER_LEN })
    }

    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        let len = u16::try_from(value.len()).ok()?;
        let begin = self.len + ATTRIBUTE_HEADER_LEN;
        let end = begin + value.len().next_multiple_of(4);
        let room = self.out.get_mut(self.len..end)?;
        room.fill(0);
        room[..2].copy_from_slice(&kind.to_be_bytes());
        room[2..4].copy_from_slice(&len.to_be_bytes());
        room[ATTRIBUTE_HEADER_LEN..][..value.len()].copy_from_slice(value);
        self.len = end;
        self.set_length(end)
    }

    /// Adds an attribute of 32 bits.
    pub fn put_number(&mut self, kind: u16, number: u32) -> Option<()> {
        self.put(kind, &number.to_be_bytes())
    }

    /// Adds an address as an XOR attribute.
    pub fn put_address(&mut self, kind: u16, address: SocketAddr) -> Option<()> {
        let mut value = [0; 20];
        let mut mask = [0; 16];
        mask.copy_from_slice(&self.out[4..HEADER_LEN]);
        let port = address.port().to_be_bytes();
        value[2..4].copy_from_slice(&[port[0] ^ MAGIC_COOKIE[0], port[1] ^ MAGIC_COOKIE[1]]);
        let len = match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&xored::<4>(&ip.octets(), &mask)?);
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&xored::<16>(&ip.octets(), &mask)?);
                20
            }
        };
        self.put(kind, &value[..len])
    }

    /// Adds MESSAGE-INTEGRITY. Only a FINGERPRINT may follow.
    pub fn put_integrity(&mut self, key: &Key) -> Option<()> {
        let tag = key.tag(&self.out[..self.len]);
        self.put(attribute::MESSAGE_INTEGRITY, &tag)
    }

    /// Adds FINGERPRINT, the last attribute.
    pub fn put_fingerprint(&mut self) -> Option<()> {
        // The length of the header counts it already.
        self.set_length(self.len + ATTRIBUTE_HEADER_LEN + 4)?;
        let crc = fingerprint(&self.out[..self.len]);
        self.put_number(attribute::FINGERPRINT, crc)
    }

    fn set_length(&mut self, end: usize) -> Option<()> {
        let len = u16::try_from(end - HEADER_LEN).ok()?;
        self.out[2..4].copy_from_slice(&len.to_be_bytes());
        Some(())
    }

    /// The length of the message.
    pub fn len(&self) -> usize {
        self.len
    }

    /// False: a message has a header at least.
    pub fn is_empty(&self) -> bool {
        false
    }
}
