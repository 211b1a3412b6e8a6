//! The media of a run: the sources that its scenarios play, and the sockets of their streams.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gossipper_uring::sys;
use ring::hmac;

use super::data::open_beside;
use super::plan::affordable_files;
use super::{RunError, memory, recording, targets};
use crate::config::{RunConfig, ScenarioSource, TurnConfig};
use crate::engine::{ClipsBySource, EngineConfig, Programs};
use crate::files::{Access, Folder};
use crate::media::dtls::Identity;
use crate::media::library::{Library, Settings};
use crate::media::turn::Account;
use crate::media::{MediaConfig, Mode, PROTECTION_BYTES, RtcpInterval, STREAM_BYTES, ports};
use crate::scenario::Program;
use crate::sip::{Encoding, base64};

/// Most bytes of the sources of one scenario, coded for all encodings that calls may negotiate: an
/// hour and a half of audio.
const SOURCES_BYTES_MAX: u64 = 256 << 20;

/// Reads and encodes the sources of a program. `source` gives the folder of its files. Findings are
/// added to `notes`.
///
/// # Errors
/// A source that cannot be read or played.
pub(super) fn sources(
    config: &RunConfig,
    program: &Program,
    source: &ScenarioSource,
    notes: &mut Vec<String>,
) -> Result<ClipsBySource, RunError> {
    if program.sources.is_empty() {
        return Ok(ClipsBySource::new());
    }
    let folder = match source {
        ScenarioSource::File(path) => path.parent(),
        ScenarioSource::Builtin(_) => None,
    };
    // Half of what is free: a file and its samples are in memory beside what is made of them.
    let bytes_max = SOURCES_BYTES_MAX.min(memory::free_bytes() / 2);
    let mut settings = Settings::new(bytes_max as usize);
    settings.watermarks = config.media.watermarks;
    if let Some(raw) = config.media.payload_type.and_then(Encoding::by_static_payload_type) {
        settings.raw = Some(raw);
    }
    let mut read = |name: &str, bytes_max: usize| {
        let file = match program.is_sent {
            true => open_beside(name, folder, &config.access),
            false => open(name, folder, &config.access),
        };
        match file {
            Ok(file) => content(file, bytes_max).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    };
    let library = Library::prepare(&program.sources, &settings, &mut read)
        .map_err(|error| RunError::MediaSource { what: error.to_string() })?;
    notes.extend(library.notes);
    Ok(library.clips)
}

/// Opens a file that a scenario plays. As in SIPp, it is looked for beside the scenario, then in
/// the working directory; `~` is the home directory.
fn open(name: &str, folder: Option<&Path>, access: &Access) -> io::Result<File> {
    if access.is_confined() {
        let scenarios = access.folder(Folder::Scenarios);
        let folder = folder.map(Path::to_owned).or(scenarios).unwrap_or_default();
        return access.open_to_read(&folder.join(name));
    }
    let name = match (name.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(name),
    };
    let beside = folder.map_or_else(|| name.clone(), |folder| folder.join(&name));
    let scenarios = access.folder(Folder::Scenarios).map(|scenarios| scenarios.join(&name));
    match scenarios {
        _ if beside.exists() => access.open_to_read(&beside),
        Some(sent) if !name.exists() && sent.exists() => access.open_sent(&sent),
        _ => access.open_to_read(&name),
    }
}

/// The bytes of a file of at most `bytes_max`.
fn content(file: File, bytes_max: usize) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| error.to_string();
    let too_large = || {
        format!(
            "the file has more than the {bytes_max} bytes that the sources of a scenario may have"
        )
    };
    let len = file.metadata().map_err(failed)?.len();
    if len > bytes_max as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Plans the media of each worker; `None` if no call has any.
///
/// # Errors
/// A range of ports that is too small for the calls of the run.
pub(super) fn plan(
    config: &RunConfig,
    programs: &Programs,
    engine: &EngineConfig,
    notices: &mut Vec<String>,
) -> Result<Option<MediaConfig>, RunError> {
    let echoes = config.rules.rtp_echo;
    let has_ports = programs.all().any(|program| program.has_media_ports);
    if echoes && !has_ports {
        notices.push("-rtp_echo has no effect: no scenario has a port of media".to_owned());
    }
    if !has_media(config, programs) {
        let recording = &config.export.recording;
        if recording.audio.is_some() || recording.packets.is_some() {
            notices.push("nothing is recorded: no scenario has media".to_owned());
        }
        if config.turn.server.is_some() {
            notices.push("-turn_server has no effect: no call has media".to_owned());
        }
        return Ok(None);
    }
    let settings = &config.media;
    let mut media = MediaConfig {
        workers: engine.workers,
        seed: engine.seed,
        port_min: settings.port_min,
        port_max: settings.port_max,
        mode: if settings.is_shared { Mode::Shared } else { Mode::Ports },
        legs_max: engine.pool_calls,
        device: config.device.clone(),
        rtcp: match settings.rtcp_interval_ms {
            None => RtcpInterval::Standard,
            Some(0) => RtcpInterval::Off,
            Some(ms) => RtcpInterval::Fixed(ms.saturating_mul(1_000_000)),
        },
        payload_type: settings.payload_type,
        echo: echoes,
        pattern_tolerances: [settings.audio_tolerance, settings.video_tolerance],
        recordings: recording::plan(config, programs),
        rejects_srtp: settings.rejects_srtp,
        relay: relay(config, engine.environment.media_ip)?,
        gate: engine.data.gate.clone(),
        gate_for_sent: engine.data.gate_for_sent.clone(),
        ..MediaConfig::new(bound_ip(engine.environment.media_ip, notices))
    };
    let taken_by = match (media.mode, &media.relay) {
        (Mode::Shared, _) => Some("rtp_shared"),
        (Mode::Ports, Some(_)) => Some("turn_server"),
        (Mode::Ports, None) => None,
    };
    if let Some(program) = programs.all().find(|program| program.shakes_hands)
        && let Some(option) = taken_by
    {
        return Err(RunError::NoOwnPort { scenario: program.name.clone(), option });
    }
    if taken_by.is_none() {
        let identity = Identity::new(Instant::now());
        let identity = identity.map_err(|error| RunError::Dtls { what: error.to_string() })?;
        media.identity = Some(Arc::new(identity));
    }
    if media.mode == Mode::Ports {
        media.legs_max = legs_with_ports(config, programs, engine, &media)?;
    }
    Ok(Some(media))
}

/// Tells whether calls of the run have media.
fn has_media(config: &RunConfig, programs: &Programs) -> bool {
    let echoes = config.rules.rtp_echo;
    programs.all().any(|program| program.uses_media || echoes && program.has_media_ports)
}

/// Memory of the media of each open call: its streams, and their protection. Any peer may offer
/// that, unless the run refuses it.
pub(super) fn call_bytes(config: &RunConfig, programs: &Programs) -> u64 {
    let of_stream = match config.media.rejects_srtp {
        true => STREAM_BYTES,
        false => STREAM_BYTES + PROTECTION_BYTES,
    };
    match has_media(config, programs) {
        true => streams_of_call(programs) as u64 * of_stream,
        false => 0,
    }
}

/// Time for which the credentials of a secret are valid.
const SECRET_VALID_S: u64 = 86_400;

/// The account at the relay that media goes through, if there is one.
///
/// # Errors
/// The server has no address that our sockets can reach, or one that the run may not use.
fn relay(config: &RunConfig, own: IpAddr) -> Result<Option<Arc<Account>>, RunError> {
    let TurnConfig { server, user, password, realm, secret } = &config.turn;
    let Some(server) = server else { return Ok(None) };
    let judges = config.reach.for_run();
    let server = targets::resolve(server, Some(own), judges, config, "turn_server")?;
    let (mut user, mut password) =
        (user.clone().unwrap_or_default(), password.clone().unwrap_or_default());
    if let Some(secret) = secret {
        // draft-uberti-behave-turn-rest: the name says until when it is valid.
        let until_s = sys::realtime_now_ns() / 1_000_000_000 + SECRET_VALID_S;
        user = if user.is_empty() { until_s.to_string() } else { format!("{until_s}:{user}") };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let tag = hmac::sign(&key, user.as_bytes());
        password = base64::encode(tag.as_ref()).map(char::from).collect();
    }
    Ok(Some(Arc::new(Account { server, user, password, realm: realm.clone() })))
}

/// The address that sockets of media are bound to. One that is not of this host, such as that of a
/// router before it, is advertised only.
fn bound_ip(advertised: IpAddr, notices: &mut Vec<String>) -> IpAddr {
    match UdpSocket::bind((advertised, 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            notices.push(format!(
                "-mi {advertised} is no address of this host: media is received on all of them"
            ));
            match advertised {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            }
        }
        _ => advertised,
    }
}

/// Pairs of sockets of a call: one for each stream.
fn streams_of_call(programs: &Programs) -> usize {
    1 + usize::from(programs.all().any(|program| program.wants_video))
}

/// Sockets of the media of a worker.
pub(super) fn sockets(media: &MediaConfig, programs: &Programs) -> usize {
    match media.mode {
        Mode::Ports => 2 * streams_of_call(programs) * media.legs_max,
        Mode::Shared => 2,
    }
}

/// Calls of a worker that can have media at a time: as many as its ports allow, and descriptors.
///
/// # Errors
/// The limit of open calls is beyond that.
fn legs_with_ports(
    config: &RunConfig,
    programs: &Programs,
    engine: &EngineConfig,
    media: &MediaConfig,
) -> Result<usize, RunError> {
    let of_call = streams_of_call(programs);
    let (_, pairs) = ports::share(media.port_min, media.port_max, 0, 1);
    let most = pairs as usize / of_call;
    let open = engine.concurrent_max.or(config.users);
    let wanted = match (open, engine.calls_total) {
        (Some(open), Some(total)) => Some(open.min(total)),
        (open, total) => open.or(total.filter(|&total| total <= engine.pool_calls as u64)),
    };
    let lower = if config.rtp_send.is_some() { "-rtp_streams" } else { "-l" };
    let refused = |needed: String, limit: String, hint: String| {
        let what = format!("media of {} open calls", wanted.unwrap_or_default());
        Err(RunError::Limit { what, needed, limit, hint })
    };
    if let Some(wanted) = wanted.filter(|&wanted| wanted > most as u64) {
        return refused(
            format!("{} ports", wanted.saturating_mul(2 * of_call as u64)),
            format!("{} from {} to {}", 2 * pairs, media.port_min, media.port_max),
            format!(
                "widen -min_rtp_port to -max_rtp_port, lower {lower}, or let all calls share a \
                 port with -rtp_shared"
            ),
        );
    }
    let legs = most.min(wanted.map_or(usize::MAX, |wanted| wanted as usize));
    let legs = legs.min(engine.pool_calls.saturating_mul(engine.workers));
    let files = affordable_files(config, 2 * (of_call * legs) as u64);
    let affordable = files as usize / (2 * of_call);
    if wanted.is_some() && affordable < legs {
        let needed = 2 * of_call * legs;
        return refused(
            format!("{needed} file descriptors"),
            files.to_string(),
            format!("raise it with `ulimit -n {needed}`, lower {lower}, or give -rtp_shared"),
        );
    }
    Ok(legs.min(affordable).div_ceil(engine.workers.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;
    use crate::config::{Flavor, RunDraft};

    fn planned(change: impl FnOnce(&mut RunDraft, &mut EngineConfig)) -> Result<usize, RunError> {
        planned_for("<scenario>", change)
    }

    /// The same of a scenario that begins with `head`.
    fn planned_for(
        head: &str,
        change: impl FnOnce(&mut RunDraft, &mut EngineConfig),
    ) -> Result<usize, RunError> {
        let text = format!(
            "{head}<nop><action><exec rtp_stream=\"tone\"/></action></nop>\
             <send><![CDATA[A b]]></send></scenario>"
        );
        let program = crate::scenario::compile(&text, "m", &[]).unwrap();
        let (mut draft, mut engine) = (RunDraft::default(), EngineConfig::default());
        engine.pool_calls = 1_000_000;
        change(&mut draft, &mut engine);
        let config = draft.resolve(Flavor::Gossipper).unwrap();
        let programs = Programs::from(Arc::new(program));
        let media = plan(&config, &programs, &engine, &mut Vec::new())?;
        Ok(media.unwrap().legs_max)
    }

    #[test]
    fn files_are_found_beside_the_scenario_and_a_sent_one_gets_no_others() {
        let folder = env::temp_dir().join(format!("gossipper-media-{}", std::process::id()));
        let inner = folder.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        for place in [&folder, &inner] {
            std::fs::write(place.join("a.raw"), [0x10; 800]).unwrap();
        }
        let config = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let source = ScenarioSource::File(inner.join("s.xml"));
        let played = |name: &str, is_sent: bool| {
            let action = format!("<exec rtp_stream=\"{name},1,0,PCMU/8000\"/>");
            let text = format!(
                "<scenario><nop><action>{action}</action></nop><send><![CDATA[A b]]></send>\
                 </scenario>"
            );
            let mut program = crate::scenario::compile(&text, "m", &[]).unwrap();
            program.is_sent = is_sent;
            let clips = sources(&config, &program, &source, &mut Vec::new());
            clips.map(|clips| clips.len()).map_err(|error| error.to_string())
        };
        let above = folder.join("a.raw").display().to_string();
        assert_eq!(played("a.raw", false), Ok(1));
        assert_eq!(played("../a.raw", false), Ok(1));
        assert_eq!(played(&above, false), Ok(1));
        assert_eq!(played("a.raw", true), Ok(1));
        for name in ["../a.raw", &above] {
            let refused = played(name, true).unwrap_err();
            assert!(refused.contains("only files beside the scenario file"), "{refused}");
        }
        let missing = played("none.raw", false).unwrap_err();
        assert!(
            missing.contains("none.raw") && missing.contains("beside the scenario"),
            "{missing}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_call_is_promised_its_streams_and_their_protection() {
        let bytes = |steps: &str, change: fn(&mut RunDraft)| {
            let text = format!("<scenario>{steps}<send><![CDATA[A b]]></send></scenario>");
            let program = crate::scenario::compile(&text, "m", &[]).unwrap();
            let mut draft = RunDraft::default();
            change(&mut draft);
            let config = draft.resolve(Flavor::Gossipper).unwrap();
            call_bytes(&config, &Programs::from(Arc::new(program)))
        };
        let tone = "<nop><action><exec rtp_stream=\"tone\"/></action></nop>";
        assert_eq!(bytes("", |_| ()), 0);
        assert_eq!(bytes(tone, |_| ()), STREAM_BYTES + PROTECTION_BYTES);
        assert_eq!(bytes(tone, |draft| draft.media.rejects_srtp = true), STREAM_BYTES);
    }

    #[test]
    fn streams_that_shake_hands_have_a_port_each_or_the_run_is_refused() {
        let webrtc = "<scenario webrtc=\"true\">";
        planned_for(webrtc, |_, engine| engine.pool_calls = 10).unwrap();
        let refused = |change: fn(&mut RunDraft)| {
            let planned = planned_for(webrtc, |draft, engine| {
                engine.pool_calls = 10;
                change(draft);
            });
            planned.unwrap_err().to_string()
        };
        let shared = refused(|draft| draft.media.is_shared = true);
        assert!(shared.contains("leave out -rtp_shared"), "{shared}");
        let relayed = refused(|draft| {
            draft.turn.server = HostPort::parse_with_port("127.0.0.1", 3478).ok();
            draft.turn.secret = Some("s".to_owned());
        });
        assert!(relayed.contains("leave out -turn_server"), "{relayed}");
    }

    #[test]
    fn a_range_of_ports_that_is_too_small_is_refused_before_the_run() {
        let range = |draft: &mut RunDraft| {
            (draft.media.port_min, draft.media.port_max) = (10_000, 10_019);
        };
        assert_eq!(planned(|draft, _| range(draft)).unwrap(), 10);
        let fits = planned(|draft, engine| {
            range(draft);
            engine.concurrent_max = Some(10);
        });
        assert_eq!(fits.unwrap(), 10);
        let refused = planned(|draft, engine| {
            range(draft);
            engine.concurrent_max = Some(11);
        });
        let text = refused.unwrap_err().to_string();
        for part in ["22 ports", "20 from 10000 to 10019", "-rtp_shared"] {
            assert!(text.contains(part), "{text}");
        }
        let shared = planned(|draft, engine| {
            range(draft);
            draft.media.is_shared = true;
            (engine.concurrent_max, engine.pool_calls) = (Some(11), 11);
        });
        assert_eq!(shared.unwrap(), 11);
    }
}
