//! Agreement of two session descriptions about one track (RFC 3264).
//!
//! Each side's section is kept as a few facts ([`Side`]). The description that came last is the
//! answer, or the offer that the next answer follows: its order of formats decides.

use std::net::{IpAddr, SocketAddr};

use super::command::{Agreed, MediaFault, Track};
use super::crypto::Lines;
use super::dtls::Description;
use super::ice;
use crate::sip::{Connection, Direction, ENCODINGS, Encoding, Media, Sdp};

/// Formats of a section that are looked at. Offers of browsers have about thirty, of which the
/// first ones matter.
const FORMATS_MAX: usize = 16;

/// One format: its payload type and the place of its encoding among the [`ENCODINGS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Format {
    payload_type: u8,
    encoding: u8,
}

impl Format {
    fn encoding(self) -> &'static Encoding {
        &ENCODINGS[usize::from(self.encoding)]
    }

    /// False for what goes beside audio or video: comfort noise and telephone events.
    fn is_main(self) -> bool {
        !matches!(self.encoding().name, "CN" | "telephone-event")
    }

    /// The format of a payload type, if its encoding is known.
    fn read(section: &Media<'_>, payload_type: u8) -> Option<Self> {
        // A malformed rtpmap makes its own format unknown, and no other one.
        let map = section.rtpmaps().flatten().find(|map| map.payload_type == payload_type);
        let encoding = match map {
            None => Encoding::by_static_payload_type(payload_type)?,
            Some(map) => {
                let known = Encoding::by_name(std::str::from_utf8(map.encoding).ok()?)?;
                let has_clock = known.clock_rate == map.clock_hz;
                let format = Self { payload_type, encoding: 0 };
                // Telephone events and comfort noise come with the clock of any audio.
                (has_clock || !Self { encoding: place_of(known)?, ..format }.is_main())
                    .then_some(known)?
            }
        };
        Some(Self { payload_type, encoding: place_of(encoding)? })
    }
}

fn place_of(encoding: &Encoding) -> Option<u8> {
    let place = ENCODINGS.iter().position(|known| known == encoding)?;
    u8::try_from(place).ok()
}

/// The formats of a section that are known, in the writer's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Formats {
    list: [Format; FORMATS_MAX],
    len: u8,
}

impl Formats {
    fn iter(&self) -> impl Iterator<Item = Format> + '_ {
        self.list[..usize::from(self.len)].iter().copied()
    }

    fn payload_type_of(&self, encoding: u8) -> Option<u8> {
        let format = self.iter().find(|format| format.encoding == encoding)?;
        Some(format.payload_type)
    }

    fn read(section: &Media<'_>) -> Self {
        let mut formats = Self::default();
        if !is_rtp(section) {
            return formats;
        }
        for format in payload_types(section).filter_map(|number| Format::read(section, number)) {
            if usize::from(formats.len) < FORMATS_MAX {
                formats.list[usize::from(formats.len)] = format;
                formats.len += 1;
            }
        }
        formats
    }
}

/// Tells whether a section is about RTP: `RTP/AVP`, `UDP/TLS/RTP/SAVPF` and their like.
fn is_rtp(section: &Media<'_>) -> bool {
    section.protocol.windows(4).any(|part| part.eq_ignore_ascii_case(b"RTP/"))
}

/// The payload types of a section, in the writer's order.
fn payload_types<'m>(section: &Media<'m>) -> impl Iterator<Item = u8> + use<'m> {
    section.formats().filter_map(decimal).filter(|&number| number < 128)
}

fn decimal(text: &[u8]) -> Option<u8> {
    if text.is_empty() || text.len() > 3 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0u16, |number, digit| number * 10 + u16::from(digit - b'0'));
    u8::try_from(number).ok()
}

/// Facts that one side said about a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// The formats that it takes and that we know.
    formats: Formats,
    /// One bit for each payload type that it takes.
    payload_types: [u64; 2],
    direction: Direction,
    /// True if RTCP comes on the port of RTP (RFC 5761).
    pub(super) rtcp_mux: bool,
    /// Milliseconds of audio in a packet.
    pub(super) ptime_ms: u8,
    /// True if its media is no RTP: T.38 over UDPTL.
    pub(super) is_datagrams: bool,
    /// True if the track is in use: it has a section, and its port is not 0.
    pub(super) is_used: bool,
}

/// Facts that the peer said about a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// The facts that both sides have.
    pub(super) side: Side,
    /// The address of RTP; `None` to send nothing.
    pub(super) rtp: Option<SocketAddr>,
    /// The address of RTCP.
    pub(super) rtcp: Option<SocketAddr>,
    /// The SSRC that it sends with (RFC 5576).
    pub(super) ssrc: Option<u32>,
}

/// The section of `track`: the first one of its kind that is in use, or else the first one.
fn section<'m>(sdp: &Sdp<'m>, track: Track) -> Result<Option<Media<'m>>, MediaFault> {
    let mut first = None;
    for section in sdp.media() {
        let section = section.map_err(MediaFault::Description)?;
        let is_of_kind = match track {
            Track::Audio => matches!(section.kind, b"audio" | b"image"),
            Track::Video => section.kind == b"video",
        };
        if is_of_kind && section.port != 0 {
            return Ok(Some(section));
        }
        if is_of_kind && first.is_none() {
            first = Some(section);
        }
    }
    Ok(first)
}

/// True if the section of `track` asks for SRTP, whatever the way of its keys.
pub(super) fn asks_for_srtp(sdp: &Sdp<'_>, track: Track) -> Result<bool, MediaFault> {
    let Some(section) = section(sdp, track)?.filter(|section| section.port != 0) else {
        return Ok(false);
    };
    let is_secure = section.protocol.windows(4).any(|part| part.eq_ignore_ascii_case(b"SAVP"));
    Ok(is_secure || section.cryptos().next().is_some())
}

/// The words of the section of `track` about keys.
///
/// # Errors
/// A section that cannot be read.
pub(super) fn crypto_lines(sdp: &Sdp<'_>, track: Track) -> Result<Lines, MediaFault> {
    let Some(section) = section(sdp, track)? else { return Ok(Lines::default()) };
    Ok(Lines::read(&section).with_dtls(Description::read(sdp, &section)))
}

/// The words of the section of `track` about ICE.
///
/// # Errors
/// A section that cannot be read.
pub(super) fn ice_words(
    sdp: &Sdp<'_>,
    track: Track,
    own: IpAddr,
) -> Result<Option<ice::Description>, MediaFault> {
    let section = section(sdp, track)?.filter(|section| section.port != 0);
    Ok(section.and_then(|section| ice::Description::read(sdp, &section, own)))
}

impl Side {
    /// Reads what our own description says about `track`.
    ///
    /// # Errors
    /// A section that cannot be read.
    pub(super) fn read(sdp: &Sdp<'_>, track: Track) -> Result<Self, MediaFault> {
        Ok(section(sdp, track)?.map(|section| Self::of(&section)).unwrap_or_default())
    }

    fn of(section: &Media<'_>) -> Self {
        Self {
            formats: Formats::read(section),
            payload_types: payload_types(section).fold([0; 2], |mut set, number| {
                set[usize::from(number / 64)] |= 1 << (number % 64);
                set
            }),
            direction: section.direction(),
            rtcp_mux: section.attributes().any(|(name, _)| name == b"rtcp-mux"),
            ptime_ms: section.ptime_ms().and_then(|ms| u8::try_from(ms).ok()).unwrap_or(0),
            is_datagrams: !is_rtp(section),
            is_used: section.port != 0,
        }
    }

    fn sends(&self) -> bool {
        self.is_used && matches!(self.direction, Direction::SendRecv | Direction::SendOnly)
    }

    fn receives(&self) -> bool {
        self.is_used && matches!(self.direction, Direction::SendRecv | Direction::RecvOnly)
    }
}

impl Peer {
    /// Reads what the peer's description says about `track`. Addresses are of the family of `own`.
    ///
    /// # Errors
    /// A section that cannot be read, or an address that nothing can be sent to.
    pub(super) fn read(sdp: &Sdp<'_>, track: Track, own: IpAddr) -> Result<Self, MediaFault> {
        let Some(section) = section(sdp, track)? else { return Ok(Self::default()) };
        let mut peer = Self { side: Side::of(&section), ..Self::default() };
        if section.port == 0 {
            return Ok(peer);
        }
        let connection = section.connection().map_err(MediaFault::Description)?;
        let ip = address(&connection, own)?;
        // RFC 3264 section 5.1: 0.0.0.0 was the way to put a call on hold, and is still met.
        let Some(ip) = ip else { return Ok(peer) };
        peer.rtp = Some(SocketAddr::new(ip, section.port));
        peer.rtcp = rtcp_address(&section, ip, own)?;
        let ssrcs = section.attribute("ssrc");
        peer.ssrc = ssrcs.filter_map(ssrc).next();
        Ok(peer)
    }
}

impl Peer {
    /// The peer of a description whose address cannot be followed, which does not matter if ICE
    /// finds another one.
    ///
    /// # Errors
    /// The fault of that address, if there is no ICE.
    pub(super) fn nowhere(
        sdp: &Sdp<'_>,
        track: Track,
        has_ice: bool,
        fault: MediaFault,
    ) -> Result<Self, MediaFault> {
        let is_of_address = !matches!(fault, MediaFault::Description(_));
        match section(sdp, track)?.filter(|_| has_ice && is_of_address) {
            Some(section) => Ok(Self { side: Side::of(&section), ..Self::default() }),
            None => Err(fault),
        }
    }

    /// The same peer at another address.
    pub(super) fn at(self, address: Option<SocketAddr>) -> Self {
        Self { rtp: address, rtcp: address, ..self }
    }
}

/// The address of a `c=` line; `None` for the unspecified one.
fn address(connection: &Connection<'_>, own: IpAddr) -> Result<Option<IpAddr>, MediaFault> {
    let ip = connection.ip().ok_or(MediaFault::HostName)?.to_canonical();
    if ip.is_unspecified() {
        return Ok(None);
    }
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_multicast() || is_broadcast {
        return Err(MediaFault::NotUnicast);
    }
    if ip.is_ipv4() != own.is_ipv4() {
        return Err(MediaFault::OtherFamily);
    }
    Ok(Some(ip))
}

/// The peer's address of RTCP: that of its `rtcp` attribute (RFC 3605), or the next port.
fn rtcp_address(
    section: &Media<'_>,
    ip: IpAddr,
    own: IpAddr,
) -> Result<Option<SocketAddr>, MediaFault> {
    let Some(value) = section.attribute("rtcp").next() else {
        return Ok(section.port.checked_add(1).map(|port| SocketAddr::new(ip, port)));
    };
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let port = words.next().and_then(|text| std::str::from_utf8(text).ok());
    let Some(port) = port.and_then(|text| text.parse().ok()).filter(|&port: &u16| port > 0) else {
        return Ok(None);
    };
    let ip = match (words.next(), words.next(), words.next()) {
        (Some(b"IN"), Some(address_type), Some(text)) => {
            address(&Connection { address_type, address: text }, own)?
        }
        _ => Some(ip),
    };
    Ok(ip.map(|ip| SocketAddr::new(ip, port)))
}

/// The number at the begin of an `ssrc` attribute.
fn ssrc(value: &[u8]) -> Option<u32> {
    let text = value.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The agreement of two descriptions about a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    encoding: Option<Format>,
    /// The payload type of telephone events that the peer takes.
    pub(super) telephone_event: Option<u8>,
    /// True if we may send.
    pub(super) sends: bool,
    /// True if the peer may send.
    pub(super) receives: bool,
    /// True if RTCP shares the port of RTP in both directions.
    pub(super) rtcp_mux: bool,
}

impl Agreement {
    /// The agreement of `ours` and `theirs`, of which `last` came last.
    pub(super) fn of(ours: &Side, theirs: &Side, last: &Side) -> Self {
        let common = |format: &Format| {
            format.is_main()
                && ours.formats.payload_type_of(format.encoding).is_some()
                && theirs.formats.payload_type_of(format.encoding).is_some()
        };
        let chosen = last.formats.iter().find(common);
        // A scenario may send what it did not negotiate; the peer's first format serves it best.
        let chosen = chosen.or_else(|| theirs.formats.iter().find(|format| format.is_main()));
        let encoding = chosen.and_then(|Format { encoding, .. }| {
            let payload_type = theirs.formats.payload_type_of(encoding)?;
            Some(Format { payload_type, encoding })
        });
        let events =
            theirs.formats.iter().find(|format| format.encoding().name == "telephone-event");
        Self {
            encoding,
            telephone_event: events.map(|format| format.payload_type),
            sends: ours.sends() && theirs.receives(),
            receives: ours.receives() && theirs.sends(),
            rtcp_mux: ours.rtcp_mux && theirs.rtcp_mux,
        }
    }

    /// The name and the payload type of what we send.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        let format = self.encoding?;
        Some(Agreed {
            encoding: format.encoding().name,
            payload_type: format.payload_type,
            telephone_event: self.telephone_event,
        })
    }
}

impl Side {
    /// Tells whether the writer takes `payload_type`.
    pub(super) fn takes(&self, payload_type: u8) -> bool {
        let set = self.payload_types[usize::from(payload_type / 64 % 2)];
        set & (1 << (payload_type % 64)) != 0
    }

    /// The encoding of `payload_type`, if it is known.
    pub(super) fn encoding_of(&self, payload_type: u8) -> Option<&'static Encoding> {
        let format = self.formats.iter().find(|format| format.payload_type == payload_type)?;
        Some(format.encoding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn peer(lines: &str, own: IpAddr) -> Result<Peer, MediaFault> {
        let text = format!("v=0\r\n{lines}");
        Peer::read(&Sdp::parse(text.as_bytes()).unwrap(), Track::Audio, own)
    }

    fn agreement(ours: &str, theirs: &str) -> Agreement {
        let [ours, theirs] = [ours, theirs].map(|audio| {
            peer(&format!("c=IN IP4 192.0.2.9\r\nm=audio {audio}\r\n"), V4).unwrap().side
        });
        Agreement::of(&ours, &theirs, &theirs)
    }

    #[test]
    fn the_answer_orders_the_formats_and_the_peer_numbers_them() {
        let map = "a=rtpmap:96 opus/48000/2\r\na=rtpmap:97 iLBC/8000\r\n\
                   a=rtpmap:101 telephone-event/8000";
        let agreed = |ours: &str, theirs: &str| {
            let agreed = agreement(ours, theirs).agreed()?;
            Some((agreed.encoding, agreed.payload_type, agreed.telephone_event))
        };
        assert_eq!(agreed("1 RTP/AVP 0 8", "1 RTP/AVP 8 0"), Some(("PCMA", 8, None)));
        assert_eq!(agreed("1 RTP/AVP 0 8", "1 RTP/AVP 18 8"), Some(("PCMA", 8, None)));
        let ours = format!("1 RTP/AVP 101 96 0\r\n{map}");
        let theirs = "1 RTP/SAVPF 99 13 111 100\r\na=rtpmap:111 OPUS/48000/2\r\n\
                      a=rtpmap:99 opus/16000\r\na=rtpmap:100 telephone-event/48000";
        assert_eq!(agreed(&ours, theirs), Some(("opus", 111, Some(100))));
        // Nothing in common: what the peer takes first.
        assert_eq!(agreed("1 RTP/AVP 0", "1 RTP/AVP 18"), Some(("G729", 18, None)));
        assert_eq!(agreed("1 RTP/AVP 0", "1 RTP/AVP 13"), None);
    }

    #[test]
    fn directions_and_holds_say_who_sends() {
        let ways = |ours: &str, theirs: &str| {
            let both =
                agreement(&format!("1 RTP/AVP 0\r\n{ours}"), &format!("1 RTP/AVP 0\r\n{theirs}"));
            (both.sends, both.receives)
        };
        assert_eq!(ways("a=sendrecv", "a=sendrecv"), (true, true));
        assert_eq!(ways("a=sendrecv", "a=sendonly"), (false, true));
        assert_eq!(ways("a=recvonly", "a=sendonly"), (false, true));
        assert_eq!(ways("a=sendrecv", "a=recvonly"), (true, false));
        assert_eq!(ways("a=sendrecv", "a=inactive"), (false, false));
        assert!(!agreement("1 RTP/AVP 0", "0 RTP/AVP 0").sends);
    }

    #[test]
    fn targets_are_addresses_that_one_can_send_to() {
        let place = |lines: &str| peer(lines, V4).map(|peer| (peer.rtp, peer.rtcp, peer.ssrc));
        let at = |address: &str| Some(address.parse::<SocketAddr>().unwrap());
        assert_eq!(
            place("c=IN IP4 192.0.2.5\r\nm=audio 4000 RTP/AVP 0\r\na=ssrc:77 cname:x\r\n"),
            Ok((at("192.0.2.5:4000"), at("192.0.2.5:4001"), Some(77)))
        );
        assert_eq!(
            place("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.5\r\na=rtcp:9 IN IP4 192.0.2.6\r\n"),
            Ok((at("192.0.2.5:4000"), at("192.0.2.6:9"), None))
        );
        // Beyond the last port there is none for RTCP.
        assert_eq!(
            place("c=IN IP4 192.0.2.5\r\nm=audio 65535 RTP/AVP 0\r\n"),
            Ok((at("192.0.2.5:65535"), None, None))
        );
        let nowhere = Ok((None, None, None));
        assert_eq!(place("c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n"), nowhere);
        assert_eq!(place("c=IN IP4 192.0.2.5\r\nm=audio 0 RTP/AVP 0\r\n"), nowhere);
        assert_eq!(place("c=IN IP4 192.0.2.5\r\nm=video 4000 RTP/AVP 31\r\n"), nowhere);
        for (address, fault) in [
            ("IP4 239.1.1.1/127", MediaFault::NotUnicast),
            ("IP4 255.255.255.255", MediaFault::NotUnicast),
            ("IP4 media.example.com", MediaFault::HostName),
            ("IP6 2001:db8::1", MediaFault::OtherFamily),
        ] {
            let lines = format!("c=IN {address}\r\nm=audio 4000 RTP/AVP 0\r\n");
            assert_eq!(place(&lines), Err(fault), "{address}");
        }
        let v6 = peer("c=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n", "::1".parse().unwrap());
        assert_eq!(v6.unwrap().rtcp, at("[2001:db8::1]:4001"));
    }

    #[test]
    fn the_first_section_in_use_counts_of_however_many() {
        let mut lines = "c=IN IP4 192.0.2.5\r\nm=audio 0 RTP/AVP 8\r\n".to_owned();
        for port in (4000..).step_by(2).take(10) {
            lines += &format!("m=video {port} RTP/AVP 31\r\nm=audio {port} RTP/AVP 0\r\n");
        }
        let peer = peer(&lines, V4).unwrap();
        assert_eq!(peer.rtp.unwrap().port(), 4000);
        assert!(peer.side.takes(0) && !peer.side.takes(8) && !peer.side.is_datagrams);
    }

    #[test]
    fn fax_takes_the_place_of_audio() {
        let fax =
            peer("c=IN IP4 192.0.2.5\r\nm=audio 0 RTP/AVP 0\r\nm=image 4000 udptl t38\r\n", V4);
        let fax = fax.unwrap();
        assert_eq!((fax.rtp.unwrap().port(), fax.side.is_datagrams), (4000, true));
    }
}
