//! Conversion of bytes to records.

use std::net::{IpAddr, SocketAddr};

use super::encode::LENGTH;
use super::event::{
    AudioPath, Authenticated, CallMedia, Ends, Event, Patience, Protocol, Record, RtpChecked,
};
use crate::stats::{FailureCause, HeardVerdict, ShortText, TraceKind};

/// The records in a run of bytes, in order. An incomplete record ends them: the queue that carries
/// records carries whole ones only.
#[derive(Clone, Debug)]
pub struct Records<'b> {
    bytes: &'b [u8],
}

impl<'b> Records<'b> {
    /// The records in `bytes`.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes of which no record was made yet.
    pub fn rest(&self) -> &'b [u8] {
        self.bytes
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        let (length, _) = self.bytes.split_first_chunk::<LENGTH>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (record, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        decode(Reader(record.get(LENGTH..)?))
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        self.u8().map(|byte| byte != 0)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The figures of a call's media, if the call had any. An absent figure is all ones.
    fn media(&mut self) -> Option<Option<CallMedia>> {
        let heard = match self.u8()? {
            0 => return Some(None),
            number => *HeardVerdict::ALL.get(usize::from(number) - 1)?,
        };
        let present = |number: u64| Some(number).filter(|&number| number != u64::MAX);
        let mut media = CallMedia {
            heard,
            packets_sent: self.u64()?,
            octets_sent: self.u64()?,
            packets_received: self.u64()?,
            octets_received: self.u64()?,
            packets_expected: self.u64()?,
            packets_lost: self.u64()?,
            packets_discarded: self.u64()?,
            packets_reordered: self.u64()?,
            packets_duplicate: self.u64()?,
            jitter_ns: self.u64()?,
            jitter_mean_ns: self.u64()?,
            jitter_max_ns: self.u64()?,
            delta_max_ns: self.u64()?,
            crosstalk_packets: self.u64()?,
            first_audio_ns: present(self.u64()?),
            first_audio_after_answer_ns: present(self.u64()?),
            round_trip_ns: present(self.u64()?),
            peer_jitter_ns: present(self.u64()?),
            mos_hundredths: None,
            mos_min_hundredths: None,
            peer_fraction_lost: None,
            path: None,
        };
        let present = |number: u16| Some(number).filter(|&number| number != u16::MAX);
        media.mos_hundredths = present(self.u16()?);
        media.mos_min_hundredths = present(self.u16()?);
        media.peer_fraction_lost = present(self.u16()?).map(|lost| lost as u8);
        media.path = self.path()?;
        Some(Some(media))
    }

    fn checked(&mut self) -> Option<RtpChecked<'b>> {
        let number = self.u8()?;
        let [is_video, is_protected, is_failed, has_first] =
            [self.flag()?, self.flag()?, self.flag()?, self.flag()?];
        let [sent, good, wrong] = [self.u64()?, self.u64()?, self.u64()?];
        let first = (self.u16()?, self.u16()?);
        let first_wrong = has_first.then_some(first);
        Some(RtpChecked {
            call_id: self.rest(),
            number,
            is_video,
            is_protected,
            is_failed,
            sent,
            good,
            wrong,
            first_wrong,
        })
    }

    /// The way of a call's audio, if it is known.
    fn path(&mut self) -> Option<Option<AudioPath>> {
        if !self.flag()? {
            return Some(None);
        }
        Some(Some(AudioPath {
            local: self.address()?,
            remote: self.address()?,
            ssrc: self.u32()?,
            peer_ssrc: u32::try_from(self.u64()?).ok(),
            payload_type: self.u8()?,
            clock_rate: self.u32()?,
            encoding: ShortText::of(self.text()?),
        }))
    }

    fn authenticated(&mut self) -> Option<Authenticated<'b>> {
        let challenge = self.u16()?;
        let is_ok = self.flag()?;
        let [username, realm, algorithm, qop] =
            [self.text()?, self.text()?, self.text()?, self.text()?];
        let call_id = self.rest();
        Some(Authenticated { call_id, username, realm, algorithm, qop, challenge, is_ok })
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.0)
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.u8()? {
            4 => IpAddr::from(self.array::<4>()?),
            _ => IpAddr::from(self.array::<16>()?),
        };
        Some(SocketAddr::new(ip, self.u16()?))
    }

    fn ends(&mut self) -> Option<Ends> {
        let protocol = *Protocol::ALL.get(usize::from(self.u8()?))?;
        Some(Ends { protocol, local: self.address()?, remote: self.address()? })
    }
}

fn decode(mut reader: Reader<'_>) -> Option<Record<'_>> {
    let kind = *TraceKind::ALL.get(usize::from(reader.u8()?))?;
    let program = reader.u8()?;
    let step = reader.u16()?;
    let worker = reader.u16()?;
    let at_ns = reader.u64()?;
    let call = reader.u64()?;
    let event = match kind {
        TraceKind::MessageSent => {
            let ends = reader.ends()?;
            Event::Sent { ends, is_repeated: reader.flag()?, message: reader.rest() }
        }
        TraceKind::MessageReceived => {
            Event::Received { ends: reader.ends()?, message: reader.rest() }
        }
        TraceKind::Unexpected => {
            Event::Unexpected { aborts: reader.flag()?, message: reader.rest() }
        }
        TraceKind::Late => Event::Late { message: reader.rest() },
        TraceKind::OutOfCall => Event::OutOfCall { message: reader.rest() },
        TraceKind::Log => Event::Log(reader.rest()),
        TraceKind::Warning => Event::Warning(reader.rest()),
        TraceKind::Error => Event::Error(reader.rest()),
        TraceKind::CommandSent => Event::CommandSent(reader.rest()),
        TraceKind::CommandReceived => Event::CommandReceived(reader.rest()),
        TraceKind::SrtpKeys => Event::SrtpKeys(reader.rest()),
        TraceKind::RtpChecked => Event::RtpChecked(reader.checked()?),
        TraceKind::CallStarted => {
            let ends = reader.ends()?;
            Event::CallStarted { ends, is_incoming: reader.flag()?, call_id: reader.rest() }
        }
        TraceKind::CallEnded => {
            let cause = match reader.u8()? {
                0 => None,
                number => Some(*FailureCause::ALL.get(usize::from(number) - 1)?),
            };
            let code = reader.u16()?;
            let (length_ns, media) = (reader.u64()?, reader.media()?);
            Event::CallEnded { cause, code, length_ns, media, call_id: reader.rest() }
        }
        TraceKind::Rtcp => Event::Rtcp {
            ends: reader.ends()?,
            is_sent: reader.flag()?,
            call_id: reader.text()?,
            packet: reader.rest(),
        },
        TraceKind::Step => Event::Step { call_id: reader.rest() },
        TraceKind::ResponseTime => {
            Event::ResponseTime { rtd: reader.u16()?, duration_ns: reader.u64()? }
        }
        TraceKind::TimedOut => Event::TimedOut {
            patience: *Patience::ALL.get(usize::from(reader.u8()?))?,
            aborts: reader.flag()?,
            waited_ms: reader.u64()?,
            call_id: reader.rest(),
        },
        TraceKind::Authenticated => Event::Authenticated(reader.authenticated()?),
    };
    Some(Record { at_ns, call, worker, program, step, event })
}
