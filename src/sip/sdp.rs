//! Session descriptions, read in place (RFC 8866; offers and answers of RFC 3264).
//!
//! Finds the facts that a call needs to send media: address, formats, direction and keys. Knows
//! nothing of codecs or of negotiation, and allocates nothing.

use core::fmt;
use core::net::IpAddr;

use super::text::{decimal, port, trim};
use super::uri::host_ip;

/// The reason why a session description cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// The body is empty.
    Empty,
    /// The first line is not `v=0`.
    BadVersion,
    /// A line that is not a letter, `=` and a value.
    BadLine,
    /// A `c=` line without network type, address type and address.
    BadConnection,
    /// Neither the media section nor the session has a `c=` line.
    MissingConnection,
    /// An `m=` line without media, port, protocol and format.
    BadMedia,
    /// The port of an `m=` line is not a number up to 65535.
    BadPort,
    /// An `rtpmap` without payload type, encoding and clock rate.
    BadRtpMap,
    /// An `fmtp` without a format.
    BadFmtp,
}

impl SdpError {
    /// The stable snake_case name: counter, metric label, JSON value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "sdp_empty",
            Self::BadVersion => "sdp_bad_version",
            Self::BadLine => "sdp_bad_line",
            Self::BadConnection => "sdp_bad_connection",
            Self::MissingConnection => "sdp_missing_connection",
            Self::BadMedia => "sdp_bad_media",
            Self::BadPort => "sdp_bad_port",
            Self::BadRtpMap => "sdp_bad_rtpmap",
            Self::BadFmtp => "sdp_bad_fmtp",
        }
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the session description is empty",
            Self::BadVersion => "the session description does not start with v=0",
            Self::BadLine => "a line of the session description is not letter=value",
            Self::BadConnection => "a c= line is malformed",
            Self::MissingConnection => "no c= line applies to the media",
            Self::BadMedia => "an m= line is malformed",
            Self::BadPort => "the port of an m= line is not a number up to 65535",
            Self::BadRtpMap => "an rtpmap attribute is malformed",
            Self::BadFmtp => "an fmtp attribute is malformed",
        })
    }
}

impl core::error::Error for SdpError {}

/// A session description whose lines have the right shape; their contents are read on request.
#[derive(Clone, Copy, Debug)]
pub struct Sdp<'m> {
    session: Lines<'m>,
    media: Lines<'m>,
}

impl<'m> Sdp<'m> {
    /// Reads a message body.
    pub fn parse(body: &'m [u8]) -> Result<Self, SdpError> {
        let mut lines = Lines { rest: body };
        let (letter, version) = lines.next().ok_or(SdpError::Empty)?.ok_or(SdpError::BadLine)?;
        if letter != b'v' || trim(version) != b"0" {
            return Err(SdpError::BadVersion);
        }
        let mut media_len = 0;
        let mut before = lines.rest.len();
        while let Some(line) = lines.next() {
            let (letter, _) = line.ok_or(SdpError::BadLine)?;
            if letter == b'm' && media_len == 0 {
                media_len = before;
            }
            before = lines.rest.len();
        }
        let (session, media) = body.split_at(body.len() - media_len);
        Ok(Self { session: Lines { rest: session }, media: Lines { rest: media } })
    }

    /// The value of the session's `o=` line.
    pub fn origin(&self) -> Option<&'m [u8]> {
        self.session.value_of(b'o')
    }

    /// The session's `c=` line, if it has one.
    pub fn connection(&self) -> Option<Result<Connection<'m>, SdpError>> {
        self.session.value_of(b'c').map(Connection::parse)
    }

    /// The session's direction, which media without a direction inherit.
    pub fn direction(&self) -> Direction {
        self.session.direction().unwrap_or_default()
    }

    /// The session's `a=` lines as name and value.
    pub fn attributes(&self) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> + use<'m> {
        self.session.attributes()
    }

    /// The media sections, in order.
    pub fn media(&self) -> impl Iterator<Item = Result<Media<'m>, SdpError>> + Clone + use<'m> {
        let session = self.session;
        let mut sections = self.media;
        core::iter::from_fn(move || {
            let (_, description) = sections.next()??;
            let all = sections.rest;
            let mut ahead = sections;
            while let Some(Some((letter, _))) = ahead.next() {
                if letter == b'm' {
                    break;
                }
                sections = ahead;
            }
            let lines = Lines { rest: &all[..all.len() - sections.rest.len()] };
            Some(Media::parse(description, session, lines))
        })
    }
}

/// A `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'m> {
    /// `IP4` or `IP6`.
    pub address_type: &'m [u8],
    /// The address or host name, without the TTL and count of multicast.
    pub address: &'m [u8],
}

impl<'m> Connection<'m> {
    fn parse(value: &'m [u8]) -> Result<Self, SdpError> {
        let mut words = words(value);
        match (words.next(), words.next(), words.next()) {
            (Some(b"IN"), Some(address_type), Some(address)) => {
                let len = memchr::memchr(b'/', address).unwrap_or(address.len());
                Ok(Self { address_type, address: &address[..len] })
            }
            _ => Err(SdpError::BadConnection),
        }
    }

    /// The address, unless a host name is written.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.address)
    }
}

/// The direction of media, seen from the side that wrote the description (RFC 3264 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways; also if no direction is written.
    #[default]
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives.
    RecvOnly,
    /// Neither way.
    Inactive,
}

/// One media section.
#[derive(Clone, Copy, Debug)]
pub struct Media<'m> {
    /// `audio`, `video` or another kind.
    pub kind: &'m [u8],
    /// The transport port; zero refuses the media.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP` or another protocol.
    pub protocol: &'m [u8],
    formats: &'m [u8],
    session: Lines<'m>,
    lines: Lines<'m>,
}

impl<'m> Media<'m> {
    fn parse(value: &'m [u8], session: Lines<'m>, lines: Lines<'m>) -> Result<Self, SdpError> {
        let (kind, rest) = word(value).ok_or(SdpError::BadMedia)?;
        let (ports, rest) = word(rest).ok_or(SdpError::BadMedia)?;
        let (protocol, formats) = word(rest).ok_or(SdpError::BadMedia)?;
        if trim(formats).is_empty() {
            return Err(SdpError::BadMedia);
        }
        // `port/count` asks for several adjacent ports; only the first is used.
        let digits = memchr::memchr(b'/', ports).unwrap_or(ports.len());
        let port = port(&ports[..digits]).ok_or(SdpError::BadPort)?;
        Ok(Self { kind, port, protocol, formats, session, lines })
    }

    /// The formats in the writer's order of preference: payload types if the protocol is RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        words(self.formats)
    }

    /// The address to send to: the section's own `c=` line, or the session's.
    pub fn connection(&self) -> Result<Connection<'m>, SdpError> {
        let value = self.lines.value_of(b'c').or_else(|| self.session.value_of(b'c'));
        Connection::parse(value.ok_or(SdpError::MissingConnection)?)
    }

    /// The section's direction, or the session's.
    pub fn direction(&self) -> Direction {
        self.lines.direction().or_else(|| self.session.direction()).unwrap_or_default()
    }

    /// The section's `a=` lines as name and value.
    pub fn attributes(
        &self,
    ) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> + Clone + use<'m> {
        self.lines.attributes()
    }

    /// The values of the attributes `name`.
    pub fn attribute<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m, 'n> {
        self.attributes()
            .filter(move |(other, _)| *other == name.as_bytes())
            .filter_map(|(_, value)| value)
    }

    /// The `rtpmap` attributes.
    pub fn rtpmaps(&self) -> impl Iterator<Item = Result<RtpMap<'m>, SdpError>> + Clone + use<'m> {
        self.attribute("rtpmap").map(RtpMap::parse)
    }

    /// The `fmtp` attributes.
    pub fn fmtps(&self) -> impl Iterator<Item = Result<Fmtp<'m>, SdpError>> + Clone + use<'m> {
        self.attribute("fmtp").map(Fmtp::parse)
    }

    /// The values of the `crypto` attributes (RFC 4568 9.1), untouched.
    pub fn cryptos(&self) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        self.attribute("crypto")
    }

    /// `ptime`: the milliseconds of audio in one packet.
    pub fn ptime_ms(&self) -> Option<u32> {
        decimal(trim(self.attribute("ptime").next()?))
    }
}

/// An `rtpmap` attribute (RFC 8866 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'m> {
    /// The payload type that gets the name.
    pub payload_type: u8,
    /// The encoding's name; names are case-insensitive.
    pub encoding: &'m [u8],
    /// The RTP clock rate.
    pub clock_hz: u32,
    /// The number behind a second slash: the channels of audio.
    pub channels: Option<u32>,
}

impl<'m> RtpMap<'m> {
    fn parse(value: &'m [u8]) -> Result<Self, SdpError> {
        Self::read(value).ok_or(SdpError::BadRtpMap)
    }

    fn read(value: &'m [u8]) -> Option<Self> {
        let (payload_type, rest) = word(value)?;
        let mut parts = trim(rest).splitn(3, |byte| *byte == b'/');
        let encoding = parts.next().filter(|name| !name.is_empty())?;
        let clock_hz = decimal(parts.next()?)?;
        let channels = parts.next().map(decimal);
        Some(Self {
            payload_type: payload_type_of(payload_type)?,
            encoding,
            clock_hz,
            channels: match channels {
                None => None,
                Some(count) => Some(count?),
            },
        })
    }
}

/// An `fmtp` attribute (RFC 8866 6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fmtp<'m> {
    /// The format that the parameters belong to: a payload type if the protocol is RTP.
    pub format: &'m [u8],
    /// The parameters, in the format's own syntax.
    pub params: &'m [u8],
}

impl<'m> Fmtp<'m> {
    fn parse(value: &'m [u8]) -> Result<Self, SdpError> {
        let (format, params) = word(value).ok_or(SdpError::BadFmtp)?;
        Ok(Self { format, params: trim(params) })
    }
}

/// Reads a payload type, for which RTP has seven bits (RFC 3550 5.1).
fn payload_type_of(text: &[u8]) -> Option<u8> {
    decimal(text).filter(|value| *value < 128).map(|value| value as u8)
}

/// Lines of a description; `None` for a line that does not have the right shape.
#[derive(Clone, Copy, Debug)]
struct Lines<'m> {
    rest: &'m [u8],
}

impl<'m> Iterator for Lines<'m> {
    type Item = Option<(u8, &'m [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let len = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at(len);
            self.rest = rest.get(1..).unwrap_or_default();
            return match line.strip_suffix(b"\r").unwrap_or(line) {
                // Some senders end the body with an empty line.
                [] => continue,
                [letter, b'=', value @ ..] if letter.is_ascii_lowercase() => {
                    Some(Some((*letter, value)))
                }
                _ => Some(None),
            };
        }
    }
}

impl<'m> Lines<'m> {
    fn value_of(self, letter: u8) -> Option<&'m [u8]> {
        self.flatten().find(|(other, _)| *other == letter).map(|(_, value)| value)
    }

    fn attributes(self) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> + Clone + use<'m> {
        self.flatten().filter(|(letter, _)| *letter == b'a').map(|(_, text)| {
            match memchr::memchr(b':', text) {
                Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
                None => (text, None),
            }
        })
    }

    fn direction(self) -> Option<Direction> {
        self.attributes().find_map(|(name, _)| match name {
            b"sendrecv" => Some(Direction::SendRecv),
            b"sendonly" => Some(Direction::SendOnly),
            b"recvonly" => Some(Direction::RecvOnly),
            b"inactive" => Some(Direction::Inactive),
            _ => None,
        })
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (first, tail) = word(rest)?;
        rest = tail;
        Some(first)
    })
}

/// The first blank-separated word and the text behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let len = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    (len > 0).then(|| text.split_at(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=alice 2 3 IN IP4 h.example.com\r\ns=-\r\n\
        c=IN IP4 192.0.2.1\r\nt=0 0\r\na=recvonly\r\n\
        m=audio 49170/2 RTP/SAVP 0 8 101\r\n\
        a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000/1\r\na=fmtp:101 0-16\r\n\
        a=ptime:20\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:key\r\na=sendonly\r\n\
        m=video 0 RTP/AVP 31\r\nc=IN IP6 2001:db8::1/3\r\n\r\n";

    #[test]
    fn media_sections_override_the_session() {
        let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
        assert_eq!(sdp.origin(), Some(&b"alice 2 3 IN IP4 h.example.com"[..]));
        assert_eq!(sdp.direction(), Direction::RecvOnly);
        let media: Vec<_> = sdp.media().map(Result::unwrap).collect();
        let [audio, video] = &media[..] else { panic!("two sections") };

        assert_eq!((audio.kind, audio.port), (&b"audio"[..], 49_170));
        assert_eq!(audio.protocol, b"RTP/SAVP");
        assert!(audio.formats().eq([&b"0"[..], b"8", b"101"]));
        assert_eq!(audio.connection().unwrap().ip(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(audio.direction(), Direction::SendOnly);

        assert_eq!((video.kind, video.port), (&b"video"[..], 0));
        assert_eq!(video.connection().unwrap().ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(video.direction(), Direction::RecvOnly);
        assert_eq!(video.rtpmaps().count(), 0);
    }

    #[test]
    fn attributes_are_read_where_they_stand() {
        let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
        let audio = sdp.media().next().unwrap().unwrap();
        let pcmu = RtpMap { payload_type: 0, encoding: b"PCMU", clock_hz: 8000, channels: None };
        assert_eq!(audio.rtpmaps().next(), Some(Ok(pcmu)));
        assert_eq!(audio.rtpmaps().nth(1).unwrap().unwrap().channels, Some(1));
        assert_eq!(audio.fmtps().next(), Some(Ok(Fmtp { format: b"101", params: b"0-16" })));
        assert_eq!(audio.ptime_ms(), Some(20));
        assert!(audio.cryptos().eq([&b"1 AES_CM_128_HMAC_SHA1_80 inline:key"[..]]));
    }

    #[test]
    fn bare_line_feeds_and_a_missing_last_break_are_fine() {
        let text = OFFER.replace("\r\n", "\n");
        let sdp = Sdp::parse(text.trim_end().as_bytes()).unwrap();
        assert_eq!(sdp.media().count(), 2);
        assert!(sdp.media().all(|media| media.is_ok_and(|media| media.connection().is_ok())));
    }

    #[test]
    fn broken_descriptions_say_why() {
        for (text, error) in [
            ("", SdpError::Empty),
            ("\r\n", SdpError::Empty),
            ("o=x\r\n", SdpError::BadVersion),
            ("v=1\r\n", SdpError::BadVersion),
            ("hello", SdpError::BadLine),
            ("v=0\r\nm audio\r\n", SdpError::BadLine),
            ("v=0\r\nm =audio\r\n", SdpError::BadLine),
        ] {
            assert_eq!(Sdp::parse(text.as_bytes()).map(drop), Err(error), "{text:?}");
        }
    }

    #[test]
    fn broken_media_say_why_when_asked() {
        let media = |line: &'static str| {
            let text = format!("v=0\r\n{line}\r\n");
            let sdp = Sdp::parse(text.as_bytes()).unwrap();
            let media = sdp.media().next().unwrap();
            media.and_then(|media| {
                media.connection()?;
                media.rtpmaps().try_for_each(|map| map.map(drop))?;
                media.fmtps().try_for_each(|fmtp| fmtp.map(drop))
            })
        };
        for (line, error) in [
            ("m=audio", SdpError::BadMedia),
            ("m=audio 1 RTP/AVP", SdpError::BadMedia),
            ("m=audio x RTP/AVP 0", SdpError::BadPort),
            ("m=audio 65536 RTP/AVP 0", SdpError::BadPort),
            ("m=audio 1 RTP/AVP 0", SdpError::MissingConnection),
            ("m=audio 1 RTP/AVP 0\nc=IN IP4", SdpError::BadConnection),
            ("c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=rtpmap:31 LPC", SdpError::BadRtpMap),
            ("c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=rtpmap:128 L/8000", SdpError::BadRtpMap),
            ("c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=fmtp:", SdpError::BadFmtp),
        ] {
            assert_eq!(media(line), Err(error), "{line:?}");
        }
    }
}
