//! The scenario of RTP without SIP, made of the options of `-rtp_send`.
//!
//! A stream is a call without a message. So rate, limits, keys, reports and the API do with it what
//! they do with calls.

use std::fmt::Write as _;

use super::RunError;
use crate::config::{RTP_SEND, RtpSend};
use crate::scenario::media::{self, SourceKind, Stream, StreamFormat};
use crate::sip::Encoding;

/// Longest pause of a scenario.
const PAUSE_MS_MAX: u64 = i32::MAX as u64;

/// The scenario of streams that `send` describes.
///
/// # Errors
/// A value that means nothing, with its option.
pub(super) fn scenario(send: &RtpSend) -> Result<String, RunError> {
    let played = source(send)?;
    let StreamFormat { payload_type, encoding, ptime_ms } = format(send, &played)?;
    let format = format!("{payload_type},{}", encoding.rtpmap());
    let stream = match &played {
        Source::Pattern(number) if encoding.is_video => format!("vpattern,{number},{format}"),
        Source::Pattern(number) => format!("apattern,{number},{format}"),
        Source::Computed(text) => format!("{},-1,{format},{ptime_ms}", escaped(text)),
        Source::File(name) => format!("{},-1,{format}", escaped(name)),
    };
    // A call may wait for so long, and again.
    let (pause_ms, next) = match send.duration_ms {
        Some(ms) if ms > PAUSE_MS_MAX => {
            let why = format!("a stream lasts {PAUSE_MS_MAX} ms at most; 0 has no end");
            return Err(invalid("rtp_dur", &ms.to_string(), &why));
        }
        Some(ms) => (ms, ""),
        None => (PAUSE_MS_MAX, " next=\"on\""),
    };
    let mut xml = String::new();
    // A string takes all that is written.
    let _ = write!(
        xml,
        r#"<?xml version="1.0" encoding="UTF-8" ?>

<!-- RTP without SIP, made of the options of -rtp_send. -->
<scenario name="{RTP_SEND}">

  <nop>
    <action>
      <exec rtp_connect="[remote_ip]:[remote_port]" format="{format},{ptime_ms}"/>
      <exec rtp_stream="{stream}"/>
    </action>
  </nop>

  <label id="on"/>
  <pause milliseconds="{pause_ms}"{next}/>

</scenario>
"#
    );
    Ok(xml)
}

/// The source that streams play.
#[derive(Debug, PartialEq)]
enum Source {
    /// The check pattern of that number.
    Pattern(u8),
    /// A source that is computed, as `rtp_stream=` writes it.
    Computed(String),
    /// A file.
    File(String),
}

fn source(send: &RtpSend) -> Result<Source, RunError> {
    let text = match send.source.as_deref().map(str::trim) {
        Some(text) => text,
        None if looked_up(send)?.is_video => "pattern:1",
        None => "tone",
    };
    let refused = |why: &str| invalid("rtp_source", text, why);
    if let Some(number) = text.strip_prefix("pattern:") {
        let number = number.parse().ok().filter(|number| (1..=6).contains(number));
        return number.map(Source::Pattern).ok_or_else(|| refused("patterns are 1 to 6"));
    }
    if text.contains(',') || text.contains(char::is_control) {
        let why = "it is one source, without commas: tone:HZ, cadence:ON:OFF, silence, cn, \
                   pattern:N, or a file";
        return Err(refused(why));
    }
    match media::stream(text) {
        Ok(Stream::Play(wanted)) => Ok(match wanted.source.kind {
            SourceKind::File(_) => Source::File(text.to_owned()),
            _ => Source::Computed(text.to_owned()),
        }),
        Ok(_) => Err(refused("it is no source; a file of that name is ./NAME")),
        Err(why) => Err(refused(&why)),
    }
}

fn looked_up(send: &RtpSend) -> Result<&'static Encoding, RunError> {
    media::encoding(&send.codec).map_err(|why| refused("rtp_codec", &why))
}

/// The format of the streams. Comfort noise is an encoding of its own.
fn format(send: &RtpSend, played: &Source) -> Result<StreamFormat, RunError> {
    let encoding = match played {
        Source::Computed(text) if text == "cn" => {
            media::encoding("CN").map_err(|why| refused("rtp_source", &why))?
        }
        _ => looked_up(send)?,
    };
    if let Some(channels) = send.channels.filter(|&channels| channels != encoding.channels) {
        let why = format!("{} has {}", encoding.rtpmap(), encoding.channels);
        return Err(invalid("rtp_ch", &channels.to_string(), &why));
    }
    let payload_type = send.payload_type.unwrap_or(encoding.payload_type);
    let text = format!("{payload_type},{}", encoding.rtpmap());
    let format = media::stream_format(&text).map_err(|why| refused("rtp_pt", &why))?;
    let Some(ms) = send.interval_ms else { return Ok(format) };
    let own_ms = encoding.ptime_ms;
    if matches!(played, Source::Pattern(_)) && ms != u64::from(own_ms) {
        let why = format!("a pattern of {} has packets of {own_ms} ms", encoding.rtpmap());
        return Err(invalid("rtp_freq", &ms.to_string(), &why));
    }
    if ms % u64::from(encoding.block_ms()) != 0 {
        let why = format!("{} has blocks of {} ms", encoding.rtpmap(), encoding.block_ms());
        return Err(invalid("rtp_freq", &ms.to_string(), &why));
    }
    match played {
        // A pattern has the interval of its encoding, whichever that is.
        Source::Pattern(_) => Ok(format),
        _ => media::stream_format(&format!("{text},{ms}")).map_err(|why| refused("rtp_freq", &why)),
    }
}

/// A text of the user in an attribute of the scenario: neither XML nor a keyword.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '[' => out.push_str("\\x5b"),
            '\\' => out.push_str("\\x5c"),
            c => out.push(c),
        }
    }
    out
}

fn invalid(option: &'static str, value: &str, why: &str) -> RunError {
    refused(option, &format!("\"{value}\": {why}"))
}

fn refused(option: &'static str, why: &str) -> RunError {
    RunError::RtpSend { option, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flavor, RunDraft, parse_rtp_target};
    use crate::scenario::{Action, MediaAction, Mode, Program, compile};

    fn settings(change: impl FnOnce(&mut RtpSend)) -> RtpSend {
        let mut draft = RunDraft::default();
        draft.rtp_send.is_on = true;
        draft.rtp_send.target = parse_rtp_target("192.0.2.1:6000").ok();
        let mut send = draft.resolve(Flavor::Gossipper).unwrap().rtp_send.unwrap();
        change(&mut send);
        send
    }

    fn program(change: impl FnOnce(&mut RtpSend)) -> Program {
        compile(&scenario(&settings(change)).unwrap(), "rtp_send", &[]).unwrap()
    }

    /// The payload type, encoding and interval that both ends have.
    fn format_of(program: &Program) -> (u8, &'static str, u16) {
        let actions = program.steps.iter().flat_map(|step| &step.actions);
        let connects = actions.filter_map(|action| match action {
            Action::Media(media) => match &**media {
                MediaAction::Connect(connect) => Some(connect.format),
                _ => None,
            },
            _ => None,
        });
        let formats: Vec<StreamFormat> = connects.collect();
        assert_eq!(formats.len(), 1);
        (formats[0].payload_type, formats[0].encoding.name, formats[0].ptime_ms)
    }

    #[test]
    fn the_scenario_has_the_streams_that_the_options_say() {
        let plain = program(|_| ());
        assert_eq!((plain.mode, plain.is_rtp_only), (Mode::Client, true));
        assert_eq!(format_of(&plain), (0, "PCMU", 20));
        assert!(matches!(plain.sources[0].kind, SourceKind::Tone { hz: 425 }));
        let other = program(|send| {
            send.codec = "pcma/8000".to_owned();
            (send.interval_ms, send.source) = (Some(40), Some("silence".to_owned()));
            send.duration_ms = Some(5000);
        });
        assert_eq!(format_of(&other), (8, "PCMA", 40));
        assert_eq!(
            (&other.sources[0].kind, other.sources[0].ptime_ms),
            (&SourceKind::Silence, Some(40))
        );
        let noise = program(|send| send.source = Some("cn".to_owned()));
        assert_eq!(format_of(&noise), (13, "CN", 150));
        let video = program(|send| {
            (send.codec, send.payload_type) = ("H264/90000".to_owned(), Some(99));
        });
        assert_eq!((format_of(&video), video.wants_video), ((99, "H264", 160), true));
        let stereo = program(|send| (send.codec, send.channels) = ("opus".to_owned(), Some(2)));
        assert_eq!(format_of(&stereo), (111, "opus", 20));
        let file = program(|send| send.source = Some("a[b]\\x \"<&>.wav".to_owned()));
        assert_eq!(file.sources[0].file(), Some("a[b]\\x \"<&>.wav"));
    }

    #[test]
    fn a_value_that_means_nothing_is_refused_with_its_option() {
        let text = |text: &str| Some(text.to_owned());
        type Change = Box<dyn FnOnce(&mut RtpSend)>;
        let cases: [(Change, &str); 12] = [
            (Box::new(|send| send.codec = "MP3/8000".to_owned()), "-rtp_codec: \"MP3/8000\""),
            (Box::new(|send| send.channels = Some(2)), "-rtp_ch: \"2\": PCMU/8000 has 1"),
            (Box::new(|send| send.payload_type = Some(8)), "-rtp_pt: payload type 8 is PCMA/8000"),
            (Box::new(|send| send.interval_ms = Some(7)), "-rtp_freq: \"7\" is no interval"),
            (Box::new(|send| send.interval_ms = Some(1 << 40)), "-rtp_freq: "),
            (Box::new(|send| send.duration_ms = Some(1 << 40)), "-rtp_dur: \"1099511627776\""),
            (
                Box::new(move |send| send.source = text("tone:9")),
                "-rtp_source: \"tone:9\": \"9\" is",
            ),
            (Box::new(move |send| send.source = text("pattern:7")), "patterns are 1 to 6"),
            (Box::new(move |send| send.source = text("stop")), "is no source"),
            (Box::new(move |send| send.source = text("a,b")), "without commas"),
            (Box::new(move |send| send.source = text("")), "it names no source"),
            (
                Box::new(move |send| {
                    (send.source, send.interval_ms) = (text("pattern:1"), Some(40));
                }),
                "-rtp_freq: \"40\": a pattern of PCMU/8000 has packets of 20 ms",
            ),
        ];
        for (change, expected) in cases {
            let error = scenario(&settings(change)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
