//! `<exec>` actions: commands for the shell and the program, and actions on media.

use super::attributes::Attributes;
use super::error::{Fault, Sink};
use super::keyword::{self, Names as _};
use super::media::{self, MediaTrack, Stream};
use super::media_action::{Connect, Digits, MediaAction, Play, Record};
use super::names::{DIGITS, Table};
use super::program::{Action, InternalCommand};
use super::text::Text;
use super::xml::Attribute;

/// The abilities of `<exec>`.
const EXEC: &[&str] = &[
    "command",
    "int_cmd",
    "play_dtmf",
    "play_pcap_audio",
    "play_pcap_image",
    "play_pcap_video",
    "rtp_connect",
    "rtp_dtmf",
    "rtp_echo",
    "rtp_record",
    "rtp_stream",
    "rtpcheck",
    "send_dtmf",
];

/// The abilities of `<exec>`, in the form of [`super::action::names`].
pub(super) fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    EXEC.iter().map(|&name| (name, None))
}

/// Compiles an `<exec>`.
pub(super) fn exec(
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
    sink: &Sink,
) -> Result<Action, Fault> {
    if let Some(command) = attributes.get("command") {
        if let Err(why) = table.commands() {
            return Err(Fault::new(
                command.position,
                format!("exec command= is forbidden by {why}"),
            )
            .hint("remove the action, or allow commands if you trust the scenario"));
        }
        return Ok(Action::Execute(keyword::text(&command.value, table)?));
    }
    if let Some(action) = on_media(attributes, table)? {
        return Ok(Action::Media(Box::new(action)));
    }
    let command = attributes.required("int_cmd")?;
    let command = match command.value.trim() {
        "stop_call" => InternalCommand::StopCall,
        "stop_gracefully" => InternalCommand::StopGracefully,
        "stop_now" => InternalCommand::StopNow,
        other => {
            let known = ["stop_call", "stop_gracefully", "stop_now"];
            let hint = format!("SIPp ends the call; it knows {}", known.join(", "));
            let fault = Fault::new(command.position, format!("unknown int_cmd=\"{other}\""));
            sink.warn(fault.hint(hint).suggest_too(other, known.into_iter()));
            InternalCommand::StopCall
        }
    };
    Ok(Action::Command(command))
}

/// Compiles an action on media, if the `<exec>` has one.
fn on_media(
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<Option<MediaAction>, Fault> {
    if let Some(stream) = attributes.get("rtp_stream") {
        return rtp_stream(stream, attributes, table).map(Some);
    }
    let captures = [
        ("play_pcap_audio", MediaTrack::Audio),
        ("play_pcap_video", MediaTrack::Video),
        ("play_pcap_image", MediaTrack::Audio),
    ];
    for (name, track) in captures {
        if let Some(path) = attributes.get(name) {
            let text = literal(path, table)?;
            let spec = media::capture(&text, name == "play_pcap_image")
                .map_err(|why| refused(path, &why))?;
            let source = table.source(spec, path.position)?;
            return Ok(Some(MediaAction::Play(Play::once(track, source))));
        }
    }
    // The values of SIPp, and those of the laboratory.
    for (name, digit_ms, payload_type) in [("play_dtmf", 200, 96), ("send_dtmf", 100, 101)] {
        if let Some(digits) = attributes.get(name) {
            let text = keyword::text(&digits.value, table)?;
            if let Some(text) = text.as_literal() {
                media::read_digits(text, digit_ms).map_err(|why| refused(digits, &why))?;
            }
            let digits = Digits { text, digit_ms, pause_ms: digit_ms, payload_type };
            return Ok(Some(MediaAction::Digits(digits)));
        }
    }
    if let Some(echo) = attributes.get("rtp_echo") {
        let text = literal(echo, table)?;
        let (track, is_on) = media::echo(&text).map_err(|why| refused(echo, &why))?;
        return Ok(Some(MediaAction::Echo(track, is_on)));
    }
    if let Some(check) = attributes.get("rtpcheck") {
        let text = literal(check, table)?;
        let check = media::packet_check(&text).map_err(|why| refused(check, &why))?;
        return Ok(Some(MediaAction::Check(check)));
    }
    if let Some(to) = attributes.get("rtp_connect") {
        return rtp_connect(to, attributes, table).map(Some);
    }
    if let Some(recording) = attributes.get("rtp_record") {
        return rtp_record(recording, table).map(Some);
    }
    let Some(digits) = attributes.get("rtp_dtmf") else { return Ok(None) };
    if digits.value.trim() != "take" {
        return Err(refused(digits, "it is not \"take\"").hint(
            "rtp_dtmf=\"take\" moves the digits that came so far into the variable of assign_to=",
        ));
    }
    let to = attributes.required("assign_to")?;
    let to = table.variable(to.value.trim(), to.position)?;
    let from = table.variable(DIGITS, digits.position)?;
    Ok(Some(MediaAction::TakeDigits { from, to }))
}

/// Compiles `rtp_connect=`: the address at the other end of a stream, and its format.
fn rtp_connect(
    to: &Attribute,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<MediaAction, Fault> {
    let format = match attributes.get("format") {
        Some(format) => {
            let text = literal(format, table)?;
            media::stream_format(&text).map_err(|why| refused(format, &why))?
        }
        None => media::stream_format("0").map_err(|why| refused(to, &why))?,
    };
    let text = keyword::text(&to.value, table)?;
    if let Some(literal) = text.as_literal()
        && media::address(literal).is_none()
    {
        let hint = "write IP:PORT, or [remote_ip]:[remote_port] for the peer of the run";
        return Err(refused(to, "it is no address").hint(hint));
    }
    Ok(MediaAction::Connect(Connect { to: text, format }))
}

/// Compiles `rtp_stream=`: a source to play, or a word about what plays.
fn rtp_stream(
    attribute: &Attribute,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
) -> Result<MediaAction, Fault> {
    let text = literal(attribute, table)?;
    let stream = media::stream(&text).map_err(|why| refused(attribute, &why))?;
    Ok(match stream {
        Stream::Pause(track) => MediaAction::Pause(track),
        Stream::Resume(track) => MediaAction::Resume(track),
        Stream::Stop(track) => MediaAction::Stop(track),
        Stream::Echo => MediaAction::Echo(MediaTrack::Audio, true),
        Stream::Wait => {
            let Some(timeout) = attributes.get("timeout") else {
                return Ok(MediaAction::AwaitEnd(None));
            };
            let text = literal(timeout, table)?;
            let ms = media::milliseconds(&text).map_err(|why| refused(timeout, &why))?;
            // As in SIPp, 0 is no limit.
            MediaAction::AwaitEnd(Some(ms).filter(|&ms| ms > 0))
        }
        Stream::Play(wanted) => {
            let source = table.source(wanted.source, attribute.position)?;
            MediaAction::Play(Play {
                loops: wanted.loops,
                stop_after_ms: wanted.stop_after_ms,
                payload_type: wanted.payload_type,
                encoding: wanted.encoding.map(|encoding| encoding.name),
                ..Play::once(wanted.track, source)
            })
        }
    })
}

/// Compiles `rtp_record=`. Keywords stand in the name of the file only, so that no value of a call
/// leads to another folder.
fn rtp_record(attribute: &Attribute, table: &mut Table<'_>) -> Result<MediaAction, Fault> {
    let recording = media::recording(&attribute.value).map_err(|why| refused(attribute, &why))?;
    let media::Recording::Start { path, is_duplex } = recording else {
        return Ok(MediaAction::StopRecording);
    };
    let (folder, name) = media::folder_and_name(path);
    if name.is_empty() {
        return Err(refused(attribute, "it names a folder and no file"));
    }
    let folder = keyword::text(&Text::at(folder, attribute.position), table)?;
    let Some(folder) = folder.as_literal() else {
        return Err(refused(attribute, "its folder depends on the call").hint(
            "write keywords behind the last \"/\" only; names defined with -key may stand before it",
        ));
    };
    Ok(MediaAction::Record(Record {
        folder: folder.into(),
        name: keyword::text(&Text::at(name, attribute.position), table)?,
        is_duplex,
    }))
}

/// The value of an attribute, whose keywords must all be known before the first call.
fn literal(attribute: &Attribute, table: &mut Table<'_>) -> Result<String, Fault> {
    let template = keyword::text(&attribute.value, table)?;
    match template.as_literal() {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None => Err(refused(attribute, "it depends on the call").hint(
            "sources are read before the first call; only names defined with -key may stand here",
        )),
    }
}

fn refused(attribute: &Attribute, why: &str) -> Fault {
    let message = format!("{}=\"{}\": {why}", attribute.name, attribute.value);
    Fault::new(attribute.position, message)
}
