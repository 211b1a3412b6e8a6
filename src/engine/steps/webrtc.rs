//! The keywords of DTLS, ICE and WebRTC: what a description says so that a browser talks to us.
//!
//! Everything that is particular to a call comes from its leg: ports, certificate, secrets. The
//! descriptions have one section of audio, whose RTCP shares the port of RTP.

use crate::engine::Engine;
use crate::engine::call::Slot;
use crate::engine::steps::audio::{Chosen, Place, put_audio_section, put_refusal, put_source};
use crate::engine::steps::render::{At, Out};
use crate::media::dtls::{self, Role, Setup};
use crate::media::{LegId, MediaHandle, Track, ice};
use crate::scenario::WebrtcField;
use crate::sip::{Media, Sdp};
use crate::stats::FailureCause;

/// The formats of an offer: what browsers have, and telephone events with the clock of each.
const OFFERED: &[u8] = b" UDP/TLS/RTP/SAVPF 111 0 8 110 101\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 minptime=10;useinbandfec=1\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:110 telephone-event/48000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:110 0-15\r\n\
    a=fmtp:101 0-15\r\n\
    a=ptime:20\r\n\
    a=sendrecv\r\n\
    a=mid:0";
/// Priority of our only candidate (RFC 8445 section 5.1.2.1): a host, the component of RTP.
const PRIORITY: i64 = (126 << 24) + (65_535 << 8) + 255;

impl Engine {
    /// Puts a keyword of DTLS, ICE or WebRTC.
    pub(in crate::engine) fn put_webrtc(
        &self,
        field: WebrtcField,
        at: &At<'_, '_>,
        out: &mut Out<'_>,
    ) {
        // Only `<init>` has no leg where programs have media.
        let Some((media, leg)) = self.leg(at.slot) else {
            return out.fail(FailureCause::NoMediaPort);
        };
        match field {
            WebrtcField::Fingerprint => put_fingerprint(media, out),
            WebrtcField::IceUfrag => put_secrets(media, leg, out, |ufrag, _, out| out.put(ufrag)),
            WebrtcField::IcePwd => {
                put_secrets(media, leg, out, |_, password, out| out.put(password))
            }
            WebrtcField::Offer => self.put_webrtc_offer(at, out),
            WebrtcField::Answer => self.put_webrtc_answer(at, out),
        }
    }

    fn put_webrtc_offer(&self, at: &At<'_, '_>, out: &mut Out<'_>) {
        let Some(local) = self.media_local(at.slot, Track::Audio) else { return };
        self.put_session(at, out);
        out.put(b"a=group:BUNDLE 0\r\nm=audio ");
        out.number(local.rtp.port().into());
        out.put(OFFERED);
        out.put(b"\r\na=rtcp-mux");
        self.put_dtls(at.slot, b"actpass", out);
        self.put_ice(at.slot, out);
        self.put_source(at.slot, out);
    }

    /// Puts the answer to the offer in the last message: a section for each of its sections.
    fn put_webrtc_answer(&self, at: &At<'_, '_>, out: &mut Out<'_>) {
        let Some(local) = self.media_local(at.slot, Track::Audio) else { return };
        let body = at.last.map_or(&b""[..], |last| last.body());
        let offer = Chosen::from_offer(body).zip(Sdp::parse(body).ok());
        let Some((chosen, sdp)) = offer else {
            // There is no audio that could be answered.
            return out.fail(FailureCause::MediaFailed);
        };
        self.put_session(at, out);
        let is_bundled = sdp.attributes().any(|(name, value)| {
            name == b"group" && value.is_some_and(|value| value.starts_with(b"BUNDLE"))
        });
        let mid = chosen.offered.as_ref().and_then(|section| section.attribute("mid").next());
        if let Some(mid) = mid.filter(|_| is_bundled) {
            out.put(b"a=group:BUNDLE ");
            out.put(mid);
            out.put(b"\r\n");
        }
        let mut is_first = true;
        let mut is_answered = false;
        for section in sdp.media().flatten() {
            if !std::mem::replace(&mut is_first, false) {
                out.put(b"\r\n");
            }
            if !is_answered && chosen.is_of(&section) {
                is_answered = true;
                let place = Place { local: &local, offset: 0, has_source: false };
                put_audio_section(&chosen, &place, out);
                self.put_answer_of_transport(at.slot, &sdp, &section, out);
                self.put_source(at.slot, out);
            } else {
                put_refusal(&section, out);
                put_mid(&section, out);
            }
        }
    }

    /// Puts the lines of the session. Its version grows with time (RFC 3264 section 8).
    fn put_session(&self, at: &At<'_, '_>, out: &mut Out<'_>) {
        let environment = &self.config.environment;
        let family: &[u8] = if environment.media_ip.is_ipv4() { b" IN IP4 " } else { b" IN IP6 " };
        let address = environment.media_ip.to_string();
        let elapsed_ms = at.now.saturating_sub(self.config.start_ns) / 1_000_000;
        out.put(b"v=0\r\no=gossipper ");
        out.number(self.calls[at.slot].number as i64);
        out.put(b" ");
        out.number(1 + elapsed_ms as i64);
        out.put(family);
        out.put(address.as_bytes());
        out.put(b"\r\ns=-\r\nc=");
        out.put(&family[1..]);
        out.put(address.as_bytes());
        out.put(b"\r\nt=0 0\r\n");
    }

    /// Puts what an answer says of DTLS and ICE, as far as its offer does.
    pub(in crate::engine) fn put_answer_of_transport(
        &self,
        slot: Slot,
        sdp: &Sdp<'_>,
        offered: &Media<'_>,
        out: &mut Out<'_>,
    ) {
        let Some(words) = dtls::Description::read(sdp, offered) else { return };
        put_mid(offered, out);
        if offered.attributes().any(|(name, _)| name == b"rtcp-mux") {
            out.put(b"\r\na=rtcp-mux");
        }
        let known = self.leg(slot).and_then(|(media, leg)| media.role(leg, Track::Audio));
        let setup: &[u8] = match (known, words.setup) {
            // A handshake goes on in the roles that it has (RFC 8842 section 5.3).
            (Some(Role::Server), _) | (None, Setup::Active) => b"passive",
            (Some(Role::Client), _) | (None, Setup::Passive | Setup::ActPass) => b"active",
        };
        self.put_dtls(slot, setup, out);
        let own = self.config.environment.media_ip;
        if ice::Description::read(sdp, offered, own).is_some() {
            self.put_ice(slot, out);
        }
    }

    fn put_dtls(&self, slot: Slot, setup: &[u8], out: &mut Out<'_>) {
        let Some((media, _)) = self.leg(slot) else { return };
        out.put(b"\r\na=setup:");
        out.put(setup);
        out.put(b"\r\na=fingerprint:");
        put_fingerprint(media, out);
    }

    /// Puts our secrets and our only candidate.
    fn put_ice(&self, slot: Slot, out: &mut Out<'_>) {
        let Some((media, leg)) = self.leg(slot) else { return };
        let Some(local) = media.local(leg, Track::Audio) else { return };
        put_secrets(media, leg, out, |ufrag, password, out| {
            out.put(b"\r\na=ice-ufrag:");
            out.put(ufrag);
            out.put(b"\r\na=ice-pwd:");
            out.put(password);
        });
        out.put(b"\r\na=candidate:1 1 UDP ");
        out.number(PRIORITY);
        out.put(b" ");
        out.put(self.config.environment.media_ip.to_string().as_bytes());
        out.put(b" ");
        out.number(local.rtp.port().into());
        out.put(b" typ host\r\na=end-of-candidates");
    }

    /// Puts the SSRC that we send with, and the stream that a page gets it as.
    fn put_source(&self, slot: Slot, out: &mut Out<'_>) {
        let Some(local) = self.media_local(slot, Track::Audio) else { return };
        out.put(b"\r\na=msid:gossipper audio\r\na=ssrc:");
        put_source(&local, out);
    }
}

fn put_fingerprint(media: &MediaHandle, out: &mut Out<'_>) {
    media.with(|media| match media.fingerprint() {
        Some(fingerprint) => out.put(fingerprint.as_bytes()),
        // Runs whose streams share a port are refused before.
        None => out.fail(FailureCause::SrtpFailed),
    });
}

/// Gives `put` the user fragment and the password of a leg.
fn put_secrets(
    media: &MediaHandle,
    leg: LegId,
    out: &mut Out<'_>,
    put: impl FnOnce(&[u8], &[u8], &mut Out<'_>),
) {
    match media.with(|media| media.ice_secrets(leg)) {
        Some(secrets) => put(&secrets.ufrag, &secrets.password, out),
        None => out.fail(FailureCause::SrtpFailed),
    }
}

fn put_mid(section: &Media<'_>, out: &mut Out<'_>) {
    if let Some(mid) = section.attribute("mid").next() {
        out.put(b"\r\na=mid:");
        out.put(mid);
    }
}
