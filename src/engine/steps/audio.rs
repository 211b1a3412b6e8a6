//! The `[audio_*]` keywords: the audio of an answer to the last offer.
//!
//! The first format of the offer that we can play is chosen (RFC 3264 section 6.1 wants the
//! offerer's order). Without an offer it is PCMU, as in an offer of our own.

use crate::engine::Engine;
use crate::engine::call::Slot;
use crate::engine::steps::render::{At, Out};
use crate::media::{Local, Track};
use crate::scenario::Field;
use crate::sip::{Direction, Encoding, Media, Sdp};
use crate::stats::FailureCause;

/// Encodings that are chosen from an offer.
const PLAYED: [&str; 4] = ["G722", "PCMA", "opus", "PCMU"];
/// Format parameters of Opus where the offer has none.
const OPUS_PARAMS: &[u8] = b"minptime=10;useinbandfec=1";

/// The audio that an answer chooses.
pub(super) struct Chosen<'m> {
    payload_type: u8,
    encoding: &'static Encoding,
    params: &'m [u8],
    /// The section of the offer; `None` without an offer.
    pub(super) offered: Option<Media<'m>>,
}

impl<'m> Chosen<'m> {
    /// The audio of an answer to the offer in `body`.
    pub(super) fn from_offer(body: &'m [u8]) -> Option<Self> {
        let offered = audio_of(&Sdp::parse(body).ok()?)?;
        let chosen = offered.formats().find_map(|format| playable(&offered, format));
        let (payload_type, encoding) = chosen.or_else(Self::usual)?;
        let own: &[u8] = if encoding.name == "opus" { OPUS_PARAMS } else { b"" };
        let params = params(&offered, payload_type).unwrap_or(own);
        Some(Self { payload_type, encoding, params, offered: Some(offered) })
    }

    /// True for the section of the offer that this audio is chosen from.
    pub(super) fn is_of(&self, section: &Media<'_>) -> bool {
        let port = self.offered.as_ref().map(|offered| offered.port);
        section.kind == b"audio" && Some(section.port) == port
    }

    fn usual() -> Option<(u8, &'static Encoding)> {
        Some((0, Encoding::by_static_payload_type(0)?))
    }
}

/// The facts of our own that a section tells.
pub(super) struct Place<'l> {
    pub(super) local: &'l Local,
    /// Added to the port.
    pub(super) offset: i64,
    /// True if the SSRC is told.
    pub(super) has_source: bool,
}

/// The first section of audio that is in use.
fn audio_of<'m>(sdp: &Sdp<'m>) -> Option<Media<'m>> {
    sdp.media().flatten().find(|section| section.kind == b"audio" && section.port != 0)
}

/// The payload type and the encoding of a format, if we play it.
fn playable(section: &Media<'_>, format: &[u8]) -> Option<(u8, &'static Encoding)> {
    let payload_type =
        std::str::from_utf8(format).ok()?.parse().ok().filter(|&pt: &u8| pt < 128)?;
    let map = section.rtpmaps().flatten().find(|map| map.payload_type == payload_type);
    let encoding = match map {
        Some(map) => {
            let known = Encoding::by_name(std::str::from_utf8(map.encoding).ok()?)?;
            (known.clock_rate == map.clock_hz).then_some(known)?
        }
        None => Encoding::by_static_payload_type(payload_type)?,
    };
    PLAYED.contains(&encoding.name).then_some((payload_type, encoding))
}

/// The format parameters that a section gives a payload type.
fn params<'m>(section: &Media<'m>, payload_type: u8) -> Option<&'m [u8]> {
    let is_of = |format: &[u8]| {
        std::str::from_utf8(format).is_ok_and(|text| text.parse() == Ok(payload_type))
    };
    section.fmtps().flatten().find(|fmtp| is_of(fmtp.format)).map(|fmtp| fmtp.params)
}

/// The payload type of telephone events in a section, and the clock rate of the audio they go with.
fn telephone_event(section: &Media<'_>, clock_hz: u32) -> Option<u8> {
    let is_event = |name: &[u8]| name.eq_ignore_ascii_case(b"telephone-event");
    let events = || section.rtpmaps().flatten().filter(|map| is_event(map.encoding));
    let event = events().find(|map| map.clock_hz == clock_hz).or_else(|| events().next())?;
    Some(event.payload_type)
}

impl Engine {
    /// Puts an `[audio_*]` keyword.
    pub(in crate::engine) fn put_audio(&self, field: &Field, at: &At<'_, '_>, out: &mut Out<'_>) {
        let body = at.last.map_or(&b""[..], |last| last.body());
        let chosen = Chosen::from_offer(body).or_else(|| {
            let (payload_type, encoding) = Chosen::usual()?;
            Some(Chosen { payload_type, encoding, params: b"", offered: None })
        });
        let Some(chosen) = chosen else { return };
        match field {
            Field::AudioPayloadType => out.number(chosen.payload_type.into()),
            Field::AudioCodec => put_codec(chosen.encoding, out),
            Field::AudioRtpMap => put_rtpmap(&chosen, out),
            Field::AudioFmtp => out.put(chosen.params),
            Field::AudioSdp(offset) => match self.media_local(at.slot, Track::Audio) {
                Some(local) => {
                    let has_source = self.program_of(at.slot).program.sends_own_source();
                    let place = Place { local: &local, offset: *offset, has_source };
                    let more = |sdp: &Sdp<'_>, offered: &Media<'_>, out: &mut Out<'_>| {
                        self.put_answer_of_transport(at.slot, sdp, offered, out);
                    };
                    put_sections(&chosen, body, &place, more, out);
                }
                // Only `<init>` has no leg where programs have media.
                None => out.fail(FailureCause::NoMediaPort),
            },
            _ => {}
        }
    }

    /// Puts `[audio_ssrc]`.
    pub(in crate::engine) fn put_audio_source(&self, slot: Slot, out: &mut Out<'_>) {
        match self.media_local(slot, Track::Audio) {
            Some(local) => put_source(&local, out),
            // Only `<init>` has no leg where programs have media.
            None => out.fail(FailureCause::NoMediaPort),
        }
    }
}

/// Puts the value of an `ssrc` attribute (RFC 5576 section 4.1).
pub(super) fn put_source(local: &Local, out: &mut Out<'_>) {
    out.number(local.ssrc.into());
    out.put(b" cname:");
    out.put(&local.cname);
}

fn put_codec(encoding: &Encoding, out: &mut Out<'_>) {
    out.put(encoding.name.as_bytes());
    out.put(b"/");
    out.number(encoding.clock_rate.into());
    if encoding.channels > 1 {
        out.put(b"/");
        out.number(encoding.channels.into());
    }
}

fn put_rtpmap(chosen: &Chosen<'_>, out: &mut Out<'_>) {
    out.number(chosen.payload_type.into());
    out.put(b" ");
    put_codec(chosen.encoding, out);
}

/// Puts a section for each one of the offer, in its order (RFC 3264 section 6): the chosen audio,
/// and a refusal of all others. `more` puts further lines of the audio.
fn put_sections(
    chosen: &Chosen<'_>,
    offer: &[u8],
    place: &Place<'_>,
    more: impl Fn(&Sdp<'_>, &Media<'_>, &mut Out<'_>),
    out: &mut Out<'_>,
) {
    if chosen.offered.is_none() {
        return put_audio_section(chosen, place, out);
    }
    let Ok(sdp) = Sdp::parse(offer) else { return };
    let mut is_first = true;
    let mut is_answered = false;
    for section in sdp.media().flatten() {
        if !is_first {
            out.put(b"\r\n");
        }
        is_first = false;
        if !is_answered && chosen.is_of(&section) {
            is_answered = true;
            put_audio_section(chosen, place, out);
            more(&sdp, &section, out);
            continue;
        }
        put_refusal(&section, out);
    }
}

/// Puts the refusal of a section.
pub(super) fn put_refusal(section: &Media<'_>, out: &mut Out<'_>) {
    out.put(b"m=");
    out.put(section.kind);
    out.put(b" 0 ");
    out.put(section.protocol);
    out.put(b" ");
    out.put(section.formats().next().unwrap_or(b"0"));
}

pub(super) fn put_audio_section(chosen: &Chosen<'_>, place: &Place<'_>, out: &mut Out<'_>) {
    let offered = chosen.offered.as_ref();
    let event = offered.and_then(|offered| {
        let payload_type = telephone_event(offered, chosen.encoding.clock_rate)?;
        Some((payload_type, params(offered, payload_type)))
    });
    out.put(b"m=audio ");
    out.number(i64::from(place.local.rtp.port()) + place.offset);
    out.put(b" ");
    out.put(offered.map_or(b"RTP/AVP", |offered| offered.protocol));
    out.put(b" ");
    out.number(chosen.payload_type.into());
    if let Some((payload_type, _)) = event {
        out.put(b" ");
        out.number(payload_type.into());
    }
    out.put(b"\r\na=rtpmap:");
    put_rtpmap(chosen, out);
    put_params(chosen.payload_type, chosen.params, out);
    if let Some((payload_type, params)) = event {
        out.put(b"\r\na=rtpmap:");
        out.number(payload_type.into());
        out.put(b" telephone-event/");
        out.number(chosen.encoding.clock_rate.into());
        put_params(payload_type, params.unwrap_or(b"0-15"), out);
    }
    if place.has_source {
        out.put(b"\r\na=ssrc:");
        put_source(place.local, out);
    }
    let Some(offered) = offered else { return };
    if let Some(ptime_ms) = offered.ptime_ms() {
        out.put(b"\r\na=ptime:");
        out.number(ptime_ms.into());
    }
    match offered.direction() {
        Direction::SendRecv => {}
        Direction::SendOnly => out.put(b"\r\na=recvonly"),
        Direction::RecvOnly => out.put(b"\r\na=sendonly"),
        Direction::Inactive => out.put(b"\r\na=inactive"),
    }
}

fn put_params(payload_type: u8, params: &[u8], out: &mut Out<'_>) {
    if !params.is_empty() {
        out.put(b"\r\na=fmtp:");
        out.number(payload_type.into());
        out.put(b" ");
        out.put(params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sections: &str) -> String {
        answer_from(sections, false)
    }

    fn answer_from(sections: &str, has_source: bool) -> String {
        let offer = format!("v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n{sections}");
        let chosen = Chosen::from_offer(offer.as_bytes()).unwrap();
        let mut buffer = [0; 1024];
        let mut out = Out::new(&mut buffer);
        let local = Local {
            rtp: "192.0.2.2:7000".parse().unwrap(),
            rtcp: "192.0.2.2:7001".parse().unwrap(),
            ssrc: 9,
            cname: *b"0123456789abcdef",
        };
        let place = Place { local: &local, offset: 0, has_source };
        put_sections(&chosen, offer.as_bytes(), &place, |_, _, _| {}, &mut out);
        let len = out.len().unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn the_order_of_the_offer_decides() {
        assert_eq!(
            answer(
                "m=audio 4000 RTP/AVP 18 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
                    a=fmtp:101 0-16\r\na=ptime:30\r\na=sendonly\r\n"
            ),
            "m=audio 7000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\na=recvonly"
        );
        assert_eq!(
            answer("m=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 OPUS/48000/2\r\n"),
            "m=audio 7000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n\
             a=fmtp:96 minptime=10;useinbandfec=1"
        );
    }

    #[test]
    fn a_source_of_its_own_is_named() {
        assert_eq!(
            answer_from("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", true),
            "m=audio 7000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n\
             a=ssrc:9 cname:0123456789abcdef\r\na=recvonly"
        );
    }

    #[test]
    fn other_sections_are_refused_in_their_places() {
        assert_eq!(
            answer("m=video 4002 RTP/AVP 96 97\r\nm=audio 4000 RTP/AVP 0\r\n"),
            "m=video 0 RTP/AVP 96\r\nm=audio 7000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000"
        );
        assert!(Chosen::from_offer(b"v=0\r\nm=audio 0 RTP/AVP 0\r\n").is_none());
    }
}
