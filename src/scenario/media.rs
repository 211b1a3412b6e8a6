//! Texts of media attributes: sources to play, digits, conditions on packets, recordings.
//!
//! Reads no file: a source is known by its [`SourceSpec`] until its bytes are read. A fault is a
//! reason, which the caller puts behind the name and the value of the attribute.

use std::net::SocketAddr;

use crate::sip::{ENCODINGS, Encoding};

/// Longest duration in a text, in milliseconds: a day.
const DURATION_MS_MAX: u32 = 86_400_000;
/// Longest digit in milliseconds: its duration has 16 bits, at 8000 Hz (RFC 4733 section 2.3.5).
const DIGIT_MS_MAX: u16 = 8000;
/// Most digits of an action.
const DIGITS_MAX: usize = 128;
/// Longest part of a cadence in milliseconds; it is coded as a whole.
const CADENCE_MS_MAX: u16 = 60_000;
/// Intervals of packets that codecs have.
const INTERVALS_MS: [u16; 6] = [10, 20, 30, 40, 60, 150];
/// Payload type of a file of iLBC for which SIPp needs no name.
const ILBC_PAYLOAD_TYPE: u8 = 98;
/// Frequencies of a tone that audio of 8000 Hz carries.
const HZ: core::ops::RangeInclusive<u16> = 20..=3400;
/// Frequency of a tone unless a scenario says another: the European ringing tone (ITU-T E.180).
const TONE_HZ: u16 = 425;

/// One of the two streams that a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTrack {
    /// Audio; also T.38, which takes its place.
    Audio,
    /// Video.
    Video,
}

/// A source of media, as a scenario writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceSpec {
    /// The media.
    pub kind: SourceKind,
    /// The only encoding that is played; `None` for all that a call may negotiate.
    pub encoding: Option<&'static Encoding>,
    /// Time between packets, in milliseconds; `None` for that of the encoding.
    pub ptime_ms: Option<u16>,
}

/// The media of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// A file of audio: WAV, or payloads one after the other.
    File(Box<str>),
    /// A capture, of which a stream of RTP is replayed.
    Capture(Box<str>),
    /// A capture whose datagrams are replayed, whatever they are (T.38).
    Datagrams(Box<str>),
    /// A tone.
    Tone {
        /// Frequency in Hertz.
        hz: u16,
    },
    /// A tone that comes and goes.
    Cadence {
        /// Time with the tone in milliseconds.
        on_ms: u16,
        /// Time without it.
        off_ms: u16,
    },
    /// Silence, coded as audio.
    Silence,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
    /// A check pattern.
    Pattern {
        /// Number from 1 to 6.
        id: u8,
    },
}

impl SourceSpec {
    /// The name of the file to read; `None` for a source that is computed.
    pub fn file(&self) -> Option<&str> {
        match &self.kind {
            SourceKind::File(path) | SourceKind::Capture(path) | SourceKind::Datagrams(path) => {
                Some(path)
            }
            _ => None,
        }
    }

    fn of(kind: SourceKind) -> Self {
        Self { kind, encoding: None, ptime_ms: None }
    }
}

/// The meaning of `rtp_stream=`.
#[derive(Debug, PartialEq, Eq)]
pub enum Stream {
    /// Play a source.
    Play(Wanted),
    /// Hold what plays.
    Pause(MediaTrack),
    /// Go on with it.
    Resume(MediaTrack),
    /// End it.
    Stop(MediaTrack),
    /// Send back what is received.
    Echo,
    /// Wait until what plays has ended.
    Wait,
}

/// A source to play.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The source.
    pub source: SourceSpec,
    /// The stream that plays it.
    pub track: MediaTrack,
    /// Number of times; `None` without end.
    pub loops: Option<u32>,
    /// Time after which it stops, in milliseconds; `None` for all of it.
    pub stop_after_ms: Option<u32>,
    /// Payload type; `None` for the negotiated one.
    pub payload_type: Option<u8>,
    /// Encoding; `None` for the negotiated one.
    pub encoding: Option<&'static Encoding>,
}

/// Packets to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketCheck {
    /// Least packets received.
    pub received: u32,
    /// Least packets sent.
    pub sent: u32,
    /// Time limit in milliseconds.
    pub timeout_ms: u32,
}

/// The format of a stream that no session description describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFormat {
    /// Payload type.
    pub payload_type: u8,
    /// Encoding.
    pub encoding: &'static Encoding,
    /// Time between packets, in milliseconds.
    pub ptime_ms: u16,
}

impl StreamFormat {
    /// The stream of a call that has this format.
    pub fn track(&self) -> MediaTrack {
        if self.encoding.is_video { MediaTrack::Video } else { MediaTrack::Audio }
    }
}

/// The meaning of `rtp_record=`.
#[derive(Debug, PartialEq, Eq)]
pub enum Recording<'t> {
    /// Begin to record.
    Start {
        /// The name of the file, as it is written.
        path: &'t str,
        /// True for both directions.
        is_duplex: bool,
    },
    /// End the recording.
    Stop,
}

/// Reads `rtp_stream=`.
///
/// # Errors
/// The reason why the text means nothing.
pub fn stream(text: &str) -> Result<Stream, String> {
    use MediaTrack::{Audio, Video};
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let word = match first {
        "pause" | "pauseapattern" => Some(Stream::Pause(Audio)),
        "pausevpattern" => Some(Stream::Pause(Video)),
        "resume" | "resumeapattern" => Some(Stream::Resume(Audio)),
        "resumevpattern" => Some(Stream::Resume(Video)),
        "stop" => Some(Stream::Stop(Audio)),
        "echo" => Some(Stream::Echo),
        "wait" => Some(Stream::Wait),
        _ => None,
    };
    if let Some(word) = word {
        return if rest.is_empty() {
            Ok(word)
        } else {
            Err(format!("nothing follows \"{first}\""))
        };
    }
    match first {
        "" => {
            Err("it names no source: write a file, synthetic, tone:HZ, cadence:ON:OFF, silence, \
                   cn, apattern or vpattern"
                .to_owned())
        }
        // A microphone is one, and calls are many; audio that differs from run to run cannot be
        // compared.
        "mic" => Err("a load generator has no microphone: record a WAV file once, and write its \
                      name"
            .to_owned()),
        "apattern" => pattern(Audio, "apattern,1,0,PCMU/8000", rest),
        "vpattern" => pattern(Video, "vpattern,1,96,H264/90000", rest),
        _ => source(first, rest),
    }
    .map(Stream::Play)
}

/// Reads the parts behind `apattern` and `vpattern`: number, payload type and encoding.
fn pattern(track: MediaTrack, usage: &str, rest: &[&str]) -> Result<Wanted, String> {
    at_most(rest, 3)?;
    let id = rest.first().and_then(|id| id.parse().ok()).filter(|id| (1..=6).contains(id));
    let id = id.ok_or_else(|| format!("the number of a pattern is from 1 to 6: {usage}"))?;
    let (payload_type, encoding) = format(rest.get(1), rest.get(2))?;
    let encoding = match (encoding, track) {
        (None, MediaTrack::Video) => Encoding::by_name("H264"),
        (encoding, _) => encoding,
    };
    if encoding.is_some_and(|encoding| encoding.is_video != (track == MediaTrack::Video)) {
        return Err(format!("the encoding is of the other kind of media: {usage}"));
    }
    if encoding.is_some_and(|encoding| encoding.payload_bytes(encoding.ptime_ms).is_none()) {
        return Err(format!("payloads of this encoding have no fixed size: {usage}"));
    }
    let source = SourceSpec { encoding, ..SourceSpec::of(SourceKind::Pattern { id }) };
    Ok(Wanted { source, track, loops: None, stop_after_ms: None, payload_type, encoding })
}

/// Reads a source and the parts behind it: loops, payload type and encoding; for a source that is
/// computed also interval, duration and channels.
fn source(first: &str, rest: &[&str]) -> Result<Wanted, String> {
    let computed = match first {
        "synthetic" | "tone" => Some(SourceKind::Tone { hz: TONE_HZ }),
        "silence" => Some(SourceKind::Silence),
        "cn" => Some(SourceKind::ComfortNoise),
        _ => match first.split_once(':') {
            Some(("tone", hz)) => Some(tone(hz)?),
            Some(("cadence", times)) => Some(cadence(times)?),
            _ => None,
        },
    };
    let is_computed = computed.is_some();
    at_most(rest, if is_computed { 6 } else { 3 })?;
    let (payload_type, mut encoding) = format(rest.get(1), rest.get(2))?;
    if payload_type == Some(ILBC_PAYLOAD_TYPE) && !is_computed {
        encoding = encoding.or_else(|| Encoding::by_name("iLBC"));
    }
    let kind = match computed {
        Some(kind) => kind,
        None => {
            if let (Some(dynamic), None) = (payload_type, encoding) {
                return Err(format!(
                    "payload type {dynamic} is none of a fixed encoding: name it behind, as in \
                     97,iLBC/8000"
                ));
            }
            SourceKind::File(file(first)?)
        }
    };
    let encoding = match kind {
        SourceKind::ComfortNoise => Encoding::by_name("CN"),
        _ => encoding,
    };
    let stop_after_ms = match rest.get(4) {
        Some(text) => Some(milliseconds(text)?).filter(|&ms| ms > 0),
        None => None,
    };
    let is_video = encoding.is_some_and(|encoding| encoding.is_video);
    Ok(Wanted {
        source: SourceSpec { kind, encoding, ptime_ms: interval(rest.get(3))? },
        track: if is_video { MediaTrack::Video } else { MediaTrack::Audio },
        // A computed source is a loop, whatever is written.
        loops: if is_computed { None } else { loops(rest.first())? },
        stop_after_ms,
        payload_type,
        encoding,
    })
}

fn tone(hz: &str) -> Result<SourceKind, String> {
    match hz.parse() {
        Ok(hz) if HZ.contains(&hz) => Ok(SourceKind::Tone { hz }),
        _ => Err(format!("\"{hz}\" is no frequency from {} to {} Hz", HZ.start(), HZ.end())),
    }
}

fn cadence(text: &str) -> Result<SourceKind, String> {
    let part = |text: &str| text.parse().ok().filter(|ms| (1..=CADENCE_MS_MAX).contains(ms));
    let parts = text.split_once(':').and_then(|(on, off)| Some((part(on)?, part(off)?)));
    let (on_ms, off_ms) = parts.ok_or_else(|| {
        format!("a cadence is cadence:ON:OFF, both from 1 to {CADENCE_MS_MAX} ms")
    })?;
    Ok(SourceKind::Cadence { on_ms, off_ms })
}

fn at_most(rest: &[&str], most: usize) -> Result<(), String> {
    match rest.get(most) {
        Some(more) => Err(format!("\"{more}\" is one part too many")),
        None => Ok(()),
    }
}

fn loops(text: Option<&&str>) -> Result<Option<u32>, String> {
    match text.copied() {
        None | Some("") => Ok(Some(1)),
        Some("-1") => Ok(None),
        Some(text) => match text.parse() {
            Ok(loops @ 1..) => Ok(Some(loops)),
            _ => Err(format!("\"{text}\" is no number of loops: 1 or more, or -1 without end")),
        },
    }
}

/// A payload type, and the encoding that it has.
type Format = (Option<u8>, Option<&'static Encoding>);

/// Reads a payload type and an encoding, which must agree if the payload type is a static one.
fn format(number: Option<&&str>, name: Option<&&str>) -> Result<Format, String> {
    let number = match number.copied() {
        None | Some("") => None,
        Some(text) => match text.parse() {
            Ok(number @ 0..=127) => Some(number),
            _ => return Err(format!("\"{text}\" is no payload type from 0 to 127")),
        },
    };
    let meant = number.and_then(Encoding::by_static_payload_type);
    let named = match name.copied() {
        None | Some("") => return Ok((number, meant)),
        Some(text) => encoding(text)?,
    };
    match (number, meant) {
        (Some(number), Some(meant)) if meant != named => {
            Err(format!("payload type {number} is {}, and not {}", meant.rtpmap(), named.rtpmap()))
        }
        _ => Ok((number, Some(named))),
    }
}

/// Reads an encoding as SDP writes it: `PCMU/8000`, or only its name.
///
/// # Errors
/// The reason why the text means nothing.
pub fn encoding(text: &str) -> Result<&'static Encoding, String> {
    let (name, clock) = text.split_once('/').map_or((text, None), |(n, clock)| (n, Some(clock)));
    let clock = clock.map(|clock| clock.split('/').next().unwrap_or_default().parse());
    // Digits have actions of their own.
    let playable = || ENCODINGS.iter().filter(|known| known.name != "telephone-event");
    let known = playable().find(|known| known.name.eq_ignore_ascii_case(name));
    let is_right = |known: &Encoding| clock.is_none_or(|clock| clock == Ok(known.clock_rate));
    known.filter(|known| is_right(known)).ok_or_else(|| {
        let known: Vec<String> = playable().map(|known| known.rtpmap().to_string()).collect();
        format!("\"{text}\" is no encoding that can be played: those are {}", known.join(", "))
    })
}

fn interval(text: Option<&&str>) -> Result<Option<u16>, String> {
    match text.copied() {
        None | Some("" | "0") => Ok(None),
        Some(text) => match text.parse() {
            Ok(ms) if INTERVALS_MS.contains(&ms) => Ok(Some(ms)),
            _ => {
                let known = INTERVALS_MS.map(|ms| ms.to_string()).join(", ");
                Err(format!("\"{text}\" is no interval of packets in milliseconds: {known}"))
            }
        },
    }
}

/// Reads a number of milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|&ms| ms <= DURATION_MS_MAX);
    number.ok_or_else(|| format!("\"{text}\" is no number of milliseconds, of a day at most"))
}

fn file(name: &str) -> Result<Box<str>, String> {
    match name.trim() {
        "" => Err("it names no file".to_owned()),
        name => Ok(name.into()),
    }
}

/// Reads `play_pcap_audio=` and `play_pcap_video=`, or with `is_image` `play_pcap_image=`.
///
/// # Errors
/// The reason why the text means nothing.
pub fn capture(text: &str, is_image: bool) -> Result<SourceSpec, String> {
    let kind = if is_image { SourceKind::Datagrams } else { SourceKind::Capture };
    file(text).map(kind).map(SourceSpec::of)
}

/// Reads `rtp_echo=`: the stream, and whether the echo begins or ends. Payload type and encoding
/// may follow, as in SIPp; what is sent back keeps those that it came with.
///
/// # Errors
/// The reason why the text means nothing.
pub fn echo(text: &str) -> Result<(MediaTrack, bool), String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    at_most(&parts, 3)?;
    let echo = match parts[0] {
        "startaudio" | "updateaudio" => (MediaTrack::Audio, true),
        "stopaudio" => (MediaTrack::Audio, false),
        "startvideo" | "updatevideo" => (MediaTrack::Video, true),
        "stopvideo" => (MediaTrack::Video, false),
        word => {
            return Err(format!(
                "\"{word}\" is none of startaudio, updateaudio, stopaudio, startvideo, \
                 updatevideo, stopvideo"
            ));
        }
    };
    format(parts.get(1), parts.get(2)).map(|_| echo)
}

/// Reads `format=`: payload type, encoding and interval of packets, of which later ones may be
/// missing.
///
/// # Errors
/// The reason why the text means nothing.
pub fn stream_format(text: &str) -> Result<StreamFormat, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    at_most(&parts, 3)?;
    let (payload_type, encoding) = format(parts.first(), parts.get(1))?;
    let encoding = match (encoding, payload_type) {
        (Some(encoding), _) => encoding,
        (None, Some(dynamic)) => {
            return Err(format!(
                "payload type {dynamic} is none of a fixed encoding: name it behind, as in \
                 97,iLBC/8000"
            ));
        }
        (None, None) => return Err("it names no payload type: 0,PCMU/8000".to_owned()),
    };
    let own_ms = encoding.ptime_ms;
    let ptime_ms = match parts.get(2) {
        // That of video is none of audio.
        Some(text) if text.parse() == Ok(own_ms) => own_ms,
        text => interval(text)?.unwrap_or(own_ms),
    };
    let payload_type = payload_type.unwrap_or(encoding.payload_type);
    Ok(StreamFormat { payload_type, encoding, ptime_ms })
}

/// Reads the address of `rtp_connect=`, once its keywords are filled in.
pub fn address(text: &[u8]) -> Option<SocketAddr> {
    let address: SocketAddr = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    Some(address).filter(|address| address.port() > 0)
}

/// Reads `rtpcheck=`: a number, or settings.
///
/// # Errors
/// The reason why the text means nothing.
pub fn packet_check(text: &str) -> Result<PacketCheck, String> {
    let number = |text: &str| {
        let number = text.parse().ok().filter(|&packets| packets > 0);
        number.ok_or_else(|| format!("\"{text}\" is no number of packets from 1 on"))
    };
    let (mut packets, mut timeout_ms, mut direction) = (1, 1000, "any");
    let words = text.split([',', ' ', ';']).filter(|word| !word.is_empty());
    for word in words {
        match word.split_once('=') {
            None => packets = number(word)?,
            Some(("min_packets" | "min" | "packets", value)) => packets = number(value)?,
            Some(("timeout_ms", value)) => timeout_ms = milliseconds(value)?,
            Some(("direction", value)) => direction = value,
            Some(("bidirectional", "true" | "1" | "yes")) => direction = "both",
            Some(("bidirectional", "false" | "0" | "no")) => {}
            Some(("bidirectional", value)) => {
                return Err(format!("bidirectional={value} is neither true nor false"));
            }
            Some((name, _)) => {
                return Err(format!(
                    "\"{name}\" is none of min_packets, timeout_ms, direction, bidirectional"
                ));
            }
        }
    }
    let (received, sent) = match direction {
        // Our own packets prove nothing about the call.
        "any" | "recv" | "rx" => (packets, 0),
        "send" | "tx" => (0, packets),
        "both" => (packets, packets),
        other => return Err(format!("direction={other} is none of any, recv, send, both")),
    };
    Ok(PacketCheck { received, sent, timeout_ms })
}

/// Reads `rtp_record=`: `stop`, or `start` with a file and, for both directions, `duplex`. The file
/// may have keywords, so that each call has its own.
///
/// # Errors
/// The reason why the text means nothing.
pub fn recording(text: &str) -> Result<Recording<'_>, String> {
    const USAGE: &str = "write start,FILE.wav or start,FILE.wav,duplex or stop";
    let text = text.trim();
    if text == "stop" {
        return Ok(Recording::Stop);
    }
    let rest = text.strip_prefix("start,").ok_or_else(|| USAGE.to_owned())?;
    let (path, is_duplex) = match rest.rsplit_once(',') {
        Some((path, word)) if word.trim() == "duplex" => (path, true),
        _ => (rest, false),
    };
    match path.trim() {
        "" => Err(format!("it names no file: {USAGE}")),
        path => Ok(Recording::Start { path, is_duplex }),
    }
}

/// The folder of a path with its `/`, and the name behind it. A `/` within a keyword is none.
pub fn folder_and_name(path: &str) -> (&str, &str) {
    let (mut depth, mut begin) = (0_u32, 0);
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 => begin = at + 1,
            _ => {}
        }
    }
    path.split_at(begin)
}

/// Reads `digits[,milliseconds]`: the digits, and the duration of each.
///
/// # Errors
/// The reason why the text means nothing.
pub fn read_digits(text: &[u8], default_ms: u16) -> Result<(&[u8], u16), String> {
    let mut parts = text.splitn(2, |&byte| byte == b',');
    let digits = parts.next().unwrap_or_default().trim_ascii();
    let is_digit =
        |byte: &u8| matches!(byte, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' | b'a'..=b'd');
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(is_digit) {
        return Err(format!("digits are 0 to 9, *, # and A to D, from 1 to {DIGITS_MAX} of them"));
    }
    let Some(ms) = parts.next() else { return Ok((digits, default_ms)) };
    let ms = std::str::from_utf8(ms.trim_ascii()).ok().and_then(|ms| ms.parse().ok());
    match ms.filter(|ms| (1..=DIGIT_MS_MAX).contains(ms)) {
        Some(ms) => Ok((digits, ms)),
        None => Err(format!("the duration of a digit is from 1 to {DIGIT_MS_MAX} ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_within_a_keyword_is_part_of_the_name() {
        for (path, folder, name) in [
            ("a.wav", "", "a.wav"),
            ("[call_id].wav", "", "[call_id].wav"),
            ("/tmp/x/a.wav", "/tmp/x/", "a.wav"),
            ("x/[field0 file=\"a/b.csv\"].wav", "x/", "[field0 file=\"a/b.csv\"].wav"),
            ("[call_id]/a.wav", "[call_id]/", "a.wav"),
        ] {
            assert_eq!(folder_and_name(path), (folder, name));
        }
    }

    fn played(text: &str) -> Wanted {
        match stream(text) {
            Ok(Stream::Play(wanted)) => wanted,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn kind(text: &str) -> SourceKind {
        played(text).source.kind
    }

    #[test]
    fn sources_have_parts_in_the_order_of_sipp() {
        let file = played("a/b.wav,-1,8,PCMA/8000");
        assert_eq!(file.source.file(), Some("a/b.wav"));
        assert_eq!((file.loops, file.payload_type), (None, Some(8)));
        assert_eq!(file.encoding.unwrap().name, "PCMA");
        let plain = played("a.wav");
        assert_eq!((plain.loops, plain.payload_type, plain.encoding), (Some(1), None, None));
        // A static payload type says the encoding.
        assert_eq!(played("a.raw,3,18").source.encoding.unwrap().name, "G729");
        let ilbc = played("a.raw,,97,ilbc/8000");
        assert_eq!((ilbc.payload_type, ilbc.source.encoding.unwrap().name), (Some(97), "iLBC"));
        let short = played("a.raw,1,98");
        assert_eq!((short.payload_type, short.source.encoding.unwrap().name), (Some(98), "iLBC"));
        assert_eq!(stream("resumevpattern"), Ok(Stream::Resume(MediaTrack::Video)));
        assert_eq!(stream(" stop "), Ok(Stream::Stop(MediaTrack::Audio)));
        assert_eq!(stream("wait"), Ok(Stream::Wait));
    }

    #[test]
    fn sources_that_are_computed_have_times() {
        let made = played("synthetic,1,0,PCMU/8000,30,3000,1");
        assert_eq!(
            (made.loops, made.stop_after_ms, made.source.ptime_ms),
            (None, Some(3000), Some(30))
        );
        assert_eq!(played("synthetic,-1,0,PCMU,20,0").stop_after_ms, None);
        assert_eq!(kind("tone:1000"), SourceKind::Tone { hz: 1000 });
        assert_eq!(kind("cadence:1000:2000"), SourceKind::Cadence { on_ms: 1000, off_ms: 2000 });
        assert_eq!(played("cn").encoding.unwrap().name, "CN");
        // Windows has drives, and files may be called so.
        assert_eq!(kind("C:tone.wav"), SourceKind::File("C:tone.wav".into()));
    }

    #[test]
    fn patterns_go_to_their_track() {
        let video = played("vpattern,6,96,H264/90000");
        assert_eq!(
            (video.track, video.source.kind),
            (MediaTrack::Video, SourceKind::Pattern { id: 6 })
        );
        assert_eq!(played("vpattern,1").encoding.unwrap().name, "H264");
        let audio = played("apattern,1,0,PCMU/8000");
        assert_eq!((audio.track, audio.loops), (MediaTrack::Audio, None));
    }

    #[test]
    fn a_fault_says_what_is_allowed() {
        for (text, expected) in [
            ("", "it names no source: write a file, synthetic"),
            ("mic", "a load generator has no microphone"),
            ("mic,hw:0", "a load generator has no microphone"),
            ("a.wav,0", "\"0\" is no number of loops: 1 or more, or -1 without end"),
            ("a.wav,x", "\"x\" is no number of loops"),
            ("a.wav,1,128", "\"128\" is no payload type from 0 to 127"),
            (
                "a.wav,1,0,MP3/8000",
                "\"MP3/8000\" is no encoding that can be played: those are PCMU/8000",
            ),
            ("a.wav,1,0,PCMU/16000", "\"PCMU/16000\" is no encoding"),
            ("a.wav,1,0,PCMA/8000", "payload type 0 is PCMU/8000, and not PCMA/8000"),
            ("a.wav,1,97", "payload type 97 is none of a fixed encoding: name it behind"),
            ("a.wav,1,0,PCMU/8000,20", "\"20\" is one part too many"),
            ("a.wav,1,101,telephone-event", "is no encoding that can be played"),
            (",1,0", "it names no source"),
            ("apattern", "the number of a pattern is from 1 to 6: apattern,1,0,PCMU/8000"),
            ("apattern,7", "the number of a pattern is from 1 to 6"),
            ("apattern,1,96,H264/90000", "the encoding is of the other kind of media"),
            ("vpattern,1,0", "the encoding is of the other kind of media"),
            ("apattern,1,111,opus", "payloads of this encoding have no fixed size"),
            ("stop,1", "nothing follows \"stop\""),
            ("cadence:1", "a cadence is cadence:ON:OFF, both from 1 to 60000 ms"),
            ("cadence:0:1", "a cadence is cadence:ON:OFF"),
            ("tone:9", "\"9\" is no frequency from 20 to 3400 Hz"),
            ("synthetic,1,0,PCMU/8000,20,-1", "\"-1\" is no number of milliseconds"),
            (
                "synthetic,1,0,PCMU/8000,7",
                "\"7\" is no interval of packets in milliseconds: 10, 20",
            ),
        ] {
            let fault = stream(text).unwrap_err();
            assert!(fault.starts_with(expected) || fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn echo_and_captures_are_read_as_sipp_reads_them() {
        assert_eq!(echo("startaudio,0,PCMU/8000"), Ok((MediaTrack::Audio, true)));
        assert_eq!(echo("stopvideo,96,H264/90000"), Ok((MediaTrack::Video, false)));
        assert!(echo("start").unwrap_err().contains("is none of startaudio"));
        assert!(echo("startaudio,300").unwrap_err().contains("no payload type"));
        let path = || "pcap/a.pcap".into();
        assert_eq!(capture(" pcap/a.pcap ", false).unwrap().kind, SourceKind::Capture(path()));
        assert_eq!(capture("pcap/a.pcap", true).unwrap().kind, SourceKind::Datagrams(path()));
        assert_eq!(capture(" ", true), Err("it names no file".to_owned()));
    }

    #[test]
    fn checks_count_what_the_call_receives_unless_they_say_otherwise() {
        let check = |text| packet_check(text).map(|c| (c.received, c.sent, c.timeout_ms));
        assert_eq!(check("10"), Ok((10, 0, 1000)));
        assert_eq!(check(""), Ok((1, 0, 1000)));
        assert_eq!(check("min_packets=5 timeout_ms=200 direction=send"), Ok((0, 5, 200)));
        assert_eq!(check("packets=5,bidirectional=true"), Ok((5, 5, 1000)));
        for text in ["min_packets=x", "0", "direction=up", "size=1", "bidirectional=maybe"] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stream_without_description_has_a_format() {
        let format = |text| {
            stream_format(text).map(|f| (f.payload_type, f.encoding.name, f.ptime_ms, f.track()))
        };
        let audio = MediaTrack::Audio;
        assert_eq!(format("8"), Ok((8, "PCMA", 20, audio)));
        assert_eq!(format("0, PCMU/8000, 40"), Ok((0, "PCMU", 40, audio)));
        assert_eq!(format(",opus/48000/2"), Ok((111, "opus", 20, audio)));
        for text in ["99,h264", "99,H264,160"] {
            assert_eq!(format(text), Ok((99, "H264", 160, MediaTrack::Video)));
        }
        for (text, part) in [
            ("", "it names no payload type"),
            ("97", "payload type 97 is none of a fixed encoding"),
            ("0,PCMA", "payload type 0 is PCMU/8000, and not PCMA/8000"),
            ("0,PCMU,21", "no interval of packets"),
            ("0,PCMU,20,1", "one part too many"),
        ] {
            let fault = format(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    #[test]
    fn recordings_have_a_file() {
        let start = |path, is_duplex| Ok(Recording::Start { path, is_duplex });
        assert_eq!(recording("start,a.wav"), start("a.wav", false));
        assert_eq!(recording("start, [call_id].wav , duplex"), start("[call_id].wav", true));
        assert_eq!(recording("start,a,b.wav"), start("a,b.wav", false));
        assert_eq!(recording("stop"), Ok(Recording::Stop));
        for text in ["", "start", "start,", "start,,duplex", "a.wav"] {
            assert!(recording(text).unwrap_err().contains("write start,FILE.wav"), "{text}");
        }
    }

    #[test]
    fn digits_have_a_duration() {
        assert_eq!(read_digits(b"12#", 200), Ok((&b"12#"[..], 200)));
        assert_eq!(read_digits(b" *D , 50 ", 200), Ok((&b"*D"[..], 50)));
        for text in ["", "5x", "5,", "5,0", "5,9000", "5,1,1"] {
            assert!(read_digits(text.as_bytes(), 200).is_err(), "{text}");
        }
    }
}
