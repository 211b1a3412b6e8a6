//! Request methods: the ones with a number, and the rest as text.
//!
//! Knows names only, not the effect of a method on a dialog.

use core::fmt;

macro_rules! methods {
    ($($(#[$meta:meta])* $variant:ident = $name:literal,)+) => {
        /// A method without its text, small enough for tables and bitsets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MethodId {
            $(#[doc = concat!("`", $name, "`.")] $variant,)+
            /// Any other token; its text is in [`Method::Other`].
            Other,
        }

        /// The method of a request line or of a CSeq header.
        ///
        /// Methods are case-sensitive (RFC 3261 7.1): `invite` is [`Method::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method<'m> {
            $($(#[$meta])* $variant,)+
            /// A method that this program has no name for.
            Other(&'m [u8]),
        }

        impl<'m> Method<'m> {
            /// The method that `text` names; the caller has checked that it is a token.
            #[inline]
            pub fn from_bytes(text: &'m [u8]) -> Self {
                $(if text == $name.as_bytes() {
                    return Self::$variant;
                })+
                Self::Other(text)
            }

            /// The method as it is written.
            pub fn as_bytes(self) -> &'m [u8] {
                match self {
                    $(Self::$variant => $name.as_bytes(),)+
                    Self::Other(text) => text,
                }
            }

            /// The method without its text.
            #[inline]
            pub const fn id(self) -> MethodId {
                match self {
                    $(Self::$variant => MethodId::$variant,)+
                    Self::Other(_) => MethodId::Other,
                }
            }
        }

        impl MethodId {
            /// Every method with a name, in declaration order.
            pub const KNOWN: &'static [MethodId] = &[$(MethodId::$variant),+];

            /// The method's name; `None` for [`MethodId::Other`].
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)+
                    Self::Other => None,
                }
            }
        }
    };
}

methods! {
    /// `INVITE`, RFC 3261.
    Invite = "INVITE",
    /// `ACK`, RFC 3261.
    Ack = "ACK",
    /// `BYE`, RFC 3261.
    Bye = "BYE",
    /// `CANCEL`, RFC 3261.
    Cancel = "CANCEL",
    /// `OPTIONS`, RFC 3261.
    Options = "OPTIONS",
    /// `REGISTER`, RFC 3261.
    Register = "REGISTER",
    /// `PRACK`, RFC 3262.
    Prack = "PRACK",
    /// `UPDATE`, RFC 3311.
    Update = "UPDATE",
    /// `INFO`, RFC 6086.
    Info = "INFO",
    /// `SUBSCRIBE`, RFC 6665.
    Subscribe = "SUBSCRIBE",
    /// `NOTIFY`, RFC 6665.
    Notify = "NOTIFY",
    /// `REFER`, RFC 3515.
    Refer = "REFER",
    /// `MESSAGE`, RFC 3428.
    Message = "MESSAGE",
    /// `PUBLISH`, RFC 3903.
    Publish = "PUBLISH",
    /// `PING`, never standardised but sent by deployed equipment.
    Ping = "PING",
}

impl Method<'_> {
    /// The method's bit in a set of methods; all unknown methods share one.
    #[inline]
    pub const fn bit(self) -> u32 {
        self.id().bit()
    }
}

impl MethodId {
    /// The method's bit in a set of methods.
    #[inline]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_comes_back_from_its_name() {
        let mut seen = 0u32;
        for id in MethodId::KNOWN {
            let name = id.name().unwrap();
            let method = Method::from_bytes(name.as_bytes());
            assert_eq!(method.id(), *id);
            assert_eq!(method.as_bytes(), name.as_bytes());
            assert_eq!(seen & method.bit(), 0, "{name} shares a bit");
            seen |= method.bit();
        }
        assert_eq!(seen & MethodId::Other.bit(), 0);
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_bytes(b"invite"), Method::Other(b"invite"));
    }
}
