//! A program bound to its environment: values that are constant for the run are folded into the
//! templates.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::engine::Programs;
use crate::engine::config::{EngineConfig, Environment};
use crate::media::clip::ClipSet;
use crate::scenario::{DefaultMessages, Field, NamedTransaction, Program, StepKind, Template};
use crate::sip::HeaderId;
use crate::stats::{Layout, ProgramLayout};

/// A program whose templates hold the constant values of its environment.
pub(in crate::engine) struct Bound {
    pub(in crate::engine) program: Arc<Program>,
    /// The message of each send step, by step; empty for other steps.
    pub(in crate::engine) messages: Vec<Template>,
    /// The scenario's texts of automatic messages.
    pub(in crate::engine) defaults: DefaultMessages,
    /// Ids of `Program::last_headers`.
    pub(in crate::engine) last_ids: Vec<HeaderId>,
    /// The environment's addresses as texts for messages.
    pub(in crate::engine) text: AddressText,
    /// Offsets of this program's figures and variables among those of all programs.
    pub(in crate::engine) base: Base,
    /// The media of `Program::sources`.
    pub(in crate::engine) clips: Vec<Arc<ClipSet>>,
    /// True if calls have media.
    pub(in crate::engine) has_media: bool,
    /// The values that differ by call.
    pub(in crate::engine) varying: Varying,
}

/// Values that are constant in most runs, and differ by call in some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Varying {
    /// True if calls have source addresses of their own.
    pub(in crate::engine) addresses: bool,
    /// True if calls have ports of media of their own.
    pub(in crate::engine) media: bool,
}

impl Varying {
    /// The values that vary among the calls of `program`.
    pub(in crate::engine) fn of(program: &Program, config: &EngineConfig) -> Self {
        let echoes = config.rules.rtp_echo && program.has_media_ports;
        Self { addresses: config.data.per_source, media: program.uses_media || echoes }
    }
}

/// Offsets of one program's figures and variables among those of all programs.
#[derive(Default)]
pub(in crate::engine) struct Base {
    /// Offset of its first step; it changes when programs are exchanged.
    pub(in crate::engine) step: Cell<usize>,
    /// Index of each of the program's transactions.
    pub(in crate::engine) transactions: Vec<u16>,
    /// Index of each of the program's durations.
    pub(in crate::engine) rtds: Vec<u16>,
    /// Index of each of the program's counters.
    pub(in crate::engine) counters: Vec<u16>,
    /// Index in the engine of each global variable; variables of one name are one.
    pub(in crate::engine) globals: Vec<u16>,
    /// Index in the engine of each user variable; variables of one name are one.
    pub(in crate::engine) users: Vec<u16>,
}

/// Names of variables that programs share, by index in the engine.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct SharedNames {
    pub(in crate::engine) globals: Vec<String>,
    pub(in crate::engine) users: Vec<String>,
}

impl SharedNames {
    /// Adds the new names of `programs`, as the engine does when it binds them.
    pub(in crate::engine) fn add_all(&mut self, programs: &Programs) {
        for program in programs.all() {
            indices(&program.global_variables, &mut self.globals);
            indices(&program.user_variables, &mut self.users);
        }
    }
}

impl Base {
    /// Binds program number `index` of `layout`. The names of its shared variables that are new are
    /// added to `names`.
    pub(in crate::engine) fn new(
        program: &Program,
        index: usize,
        layout: &Layout,
        names: &mut SharedNames,
    ) -> Self {
        let own = layout.programs.get(index);
        let places = |of: fn(&ProgramLayout) -> &Vec<u16>| own.map(of).cloned().unwrap_or_default();
        Self {
            step: Cell::new(layout.first_step(index)),
            transactions: places(|own| &own.transactions),
            rtds: places(|own| &own.rtds),
            counters: places(|own| &own.counters),
            globals: indices(&program.global_variables, &mut names.globals),
            users: indices(&program.user_variables, &mut names.users),
        }
    }
}

/// The indices among `all` of a program's names, which are distinct. There are fewer than `u16` can
/// number (`Generations`).
fn indices(own: &[String], all: &mut Vec<String>) -> Vec<u16> {
    let known: HashMap<&str, usize> = all.iter().map(String::as_str).zip(0..).collect();
    let mut fresh = Vec::new();
    let index = |name: &String| {
        let index = known.get(name.as_str()).copied().unwrap_or_else(|| {
            fresh.push(name.clone());
            known.len() + fresh.len() - 1
        });
        index as u16
    };
    let indices = own.iter().map(index).collect();
    all.append(&mut fresh);
    indices
}

/// Addresses as text.
pub(in crate::engine) struct AddressText {
    /// `[local_ip]`, with an IPv6 address in brackets.
    pub(in crate::engine) local_ip: Vec<u8>,
    /// The local address without brackets, for Call-IDs.
    pub(in crate::engine) host: Vec<u8>,
}

impl Bound {
    pub(in crate::engine) fn new(
        program: Arc<Program>,
        base: Base,
        clips: Vec<Arc<ClipSet>>,
        environment: &Environment,
        varying: Varying,
    ) -> Self {
        let messages: Vec<Template> = program
            .steps
            .iter()
            .map(|step| match &step.kind {
                StepKind::Send(send) => {
                    send.template.bind(|field| constant(field, environment, varying))
                }
                StepKind::SendCommand(send) => {
                    send.template.bind(|field| constant(field, environment, varying))
                }
                _ => Template::default(),
            })
            .collect();
        let last_ids =
            program.last_headers.iter().map(|name| HeaderId::from_name(name.as_bytes())).collect();
        let text = AddressText {
            local_ip: bracketed(environment.local_ip),
            host: environment.local_ip.to_string().into_bytes(),
        };
        let bind = |template: &Option<Template>| {
            template
                .as_ref()
                .map(|template| template.bind(|field| constant(field, environment, varying)))
        };
        let own = &program.default_messages;
        let defaults = DefaultMessages {
            abort_3pcc: bind(&own.abort_3pcc),
            ack: bind(&own.ack),
            ack2: bind(&own.ack2),
            bye: bind(&own.bye),
            cancel: bind(&own.cancel),
            ok: bind(&own.ok),
        };
        Self {
            has_media: varying.media,
            program,
            messages,
            defaults,
            last_ids,
            text,
            base,
            clips,
            varying,
        }
    }
}

impl Bound {
    /// The part that the message of a step has in a named transaction.
    pub(in crate::engine) fn named(&self, step: u16) -> Option<NamedTransaction> {
        match &self.program.steps.get(usize::from(step))?.kind {
            StepKind::Send(send) => send.named,
            _ => None,
        }
    }
}

/// `ip` as a URI host: IPv6 in brackets (RFC 3261 section 25.1, `IPv6reference`).
pub(in crate::engine) fn bracketed(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.to_string().into_bytes(),
        IpAddr::V6(ip) => format!("[{ip}]").into_bytes(),
    }
}

/// The bytes of a field that is constant in `environment`, unless it varies among calls.
pub(in crate::engine) fn constant(
    field: &Field,
    environment: &Environment,
    varying: Varying,
) -> Option<Vec<u8>> {
    let offset_port = |port: u16, offset: i64| (i64::from(port) + offset).to_string().into_bytes();
    let ip_type = |ip: IpAddr| if ip.is_ipv4() { b"4".to_vec() } else { b"6".to_vec() };
    let remote = environment.remote;
    Some(match field {
        Field::Service => environment.service.clone().into_bytes(),
        Field::RemoteHost if !environment.remote_host.is_empty() => {
            environment.remote_host.clone().into_bytes()
        }
        Field::RemoteIp => bracketed(remote?.ip()),
        Field::RemoteIpInSdp => remote?.ip().to_string().into_bytes(),
        Field::RemotePort(offset) => offset_port(remote?.port(), *offset),
        Field::LocalIp | Field::ServerIp | Field::LocalIpInSdp if varying.addresses => return None,
        Field::LocalIp | Field::ServerIp => bracketed(environment.local_ip),
        Field::LocalIpInSdp => environment.local_ip.to_string().into_bytes(),
        Field::LocalIpType => ip_type(environment.local_ip),
        Field::LocalPort(offset) => offset_port(environment.local_port?, *offset),
        Field::Transport => environment.protocol.name().as_bytes().to_vec(),
        Field::MediaIp | Field::MediaIpType if environment.media_is_relayed && varying.media => {
            return None;
        }
        Field::MediaIp => environment.media_ip.to_string().into_bytes(),
        Field::MediaIpType => ip_type(environment.media_ip),
        Field::MediaPort(_) | Field::VideoPort(_) if varying.media => return None,
        Field::MediaPort(offset) => offset_port(environment.media_port, *offset),
        // Audio uses its port and, for RTCP, the next one.
        Field::VideoPort(offset) => offset_port(environment.media_port, *offset + 2),
        Field::MediaTransport => b"rtp".to_vec(),
        Field::Pid => environment.pid.to_string().into_bytes(),
        // SIPp writes -1 if there are no users.
        Field::Users => {
            environment.users.map_or("-1".to_owned(), |users| users.to_string()).into_bytes()
        }
        Field::SippVersion => env!("CARGO_PKG_VERSION").as_bytes().to_vec(),
        _ => return None,
    })
}

/// The bytes of `[remote_ip]` and similar fields, which depend on the call's peer.
pub(in crate::engine) fn peer_field(field: &Field, peer: SocketAddr) -> Option<Vec<u8>> {
    Some(match field {
        Field::RemoteIp | Field::RemoteHost => bracketed(peer.ip()),
        Field::RemoteIpInSdp => peer.ip().to_string().into_bytes(),
        Field::RemotePort(offset) => (i64::from(peer.port()) + offset).to_string().into_bytes(),
        _ => return None,
    })
}
