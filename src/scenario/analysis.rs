//! State that a program needs: headers of the last received message that are still read after the
//! call has waited, and variables that calls share.

use std::net::{IpAddr, SocketAddr};

use super::media::MediaTrack;
use super::media_action::MediaAction;
use super::program::{
    Action, Duration, Keep, Optional, Program, SearchIn, Step, StepKind, VariableRef,
};
use super::template::{Field, Template, WebrtcField};

/// Tells whether the step assigns a global or user variable.
pub(super) fn writes_shared(step: &Step) -> bool {
    let shared = |variable: &VariableRef| !matches!(variable, VariableRef::Call(_));
    step.actions.iter().any(|action| match action {
        Action::Ereg(ereg) => ereg.assign_to.iter().any(shared),
        Action::Assign(to, _)
        | Action::AssignText(to, _)
        | Action::ToDouble(to, _)
        | Action::Arithmetic(_, to, _)
        | Action::Sample(to, _)
        | Action::Trim(to)
        | Action::UrlEncode(to)
        | Action::UrlDecode(to) => shared(to),
        Action::Test(check) => check.assign_to.iter().any(shared),
        Action::Strcmp(check) => check.assign_to.iter().any(shared),
        Action::TimeOfDay(a, b) => shared(a) || shared(b),
        Action::Index(to) => shared(to),
        Action::Lookup { assign_to, .. } | Action::VerifyAuth { assign_to, .. } => {
            shared(assign_to)
        }
        Action::Media(action) => match &**action {
            MediaAction::TakeDigits { to, .. } => shared(to),
            _ => false,
        },
        // In SIPp all calls see a row that one of them changes.
        Action::Insert { .. } | Action::Replace { .. } => true,
        Action::Log(_)
        | Action::Warning(_)
        | Action::Error(_)
        | Action::Jump(_)
        | Action::PauseRestore(_)
        | Action::SetDest(_)
        | Action::CloseConnection
        | Action::Execute(_)
        | Action::Command(_) => false,
    })
}

/// Fills in whether a program reads the route set of its dialogs.
pub(super) fn fill_routes(program: &mut Program) {
    let is_of_route = |field: &Field| matches!(field, Field::Routes | Field::NextUrl);
    let reads = program.templates().flat_map(Template::fields).any(is_of_route);
    program.reads_route_set = reads;
}

/// Fills in what a program needs of media.
pub(super) fn fill_media(program: &mut Program) {
    let actions = || program.steps.iter().flat_map(|step| &step.actions);
    let media = || {
        actions().filter_map(|action| match action {
            Action::Media(action) => Some(&**action),
            _ => None,
        })
    };
    let has_field =
        |is_one: fn(&Field) -> bool| program.templates().flat_map(Template::fields).any(is_one);
    let negotiates = has_field(Field::is_negotiated_audio);
    let plays_video = media().any(|action| action.track() == Some(MediaTrack::Video));
    let has_video_port = has_field(|field| matches!(field, Field::VideoPort(_)));
    let names_source = has_field(|field| matches!(field, Field::AudioSsrc));
    let shakes_hands = has_field(|field| matches!(field, Field::Webrtc(_)));
    let uses_media = media().next().is_some() || negotiates || program.digits.is_some();
    let uses_media = uses_media || names_source || shakes_hands;
    let has_media_ports = negotiates
        || shakes_hands
        || has_video_port
        || has_field(|field| matches!(field, Field::MediaPort(_) | Field::AutoMediaPort(_)));
    program.uses_media = uses_media;
    program.shakes_hands = shakes_hands;
    program.has_media_ports = has_media_ports;
    program.wants_video = plays_video || has_video_port;
}

/// Fills `Step::keep`: a backwards data-flow over the steps until nothing changes. A receive that
/// accepts a message replaces the last message, so only its timeout path needs the older one.
pub(super) fn fill_keeps(program: &mut Program) {
    let count = program.steps.len();
    let has_jump_action = program
        .steps
        .iter()
        .any(|step| step.actions.iter().any(|action| matches!(action, Action::Jump(_))));
    let has_commands = program.third_party_role.is_some();
    // A send whose retransmissions are exhausted goes to its label from any step at which the call
    // waits.
    let exhausted: Vec<u16> = program
        .steps
        .iter()
        .filter(|step| matches!(&step.kind, StepKind::Send(send) if send.retrans_ms.is_some()))
        .filter_map(|step| step.on_timeout)
        .collect();
    // `live[i]`: the parts of the last message that may be read once execution arrives at step i.
    let mut live = vec![Keep::default(); count + 1];
    loop {
        let mut changed = false;
        let after_exhaustion = exhausted
            .iter()
            .fold(Keep::default(), |keep, &target| keep.union(live[usize::from(target)]));
        let everything = live.iter().fold(Keep::default(), |all, &keep| all.union(keep));
        for index in (0..count).rev() {
            let step = &program.steps[index];
            let mut keep = after_exhaustion;
            if let Some(target) = step.on_timeout {
                keep = keep.union(live[usize::from(target)]);
            }
            match &step.kind {
                StepKind::Recv(recv) => {
                    // A conditional receive may be skipped with the older message still current,
                    // and an optional one by a command.
                    let skippable = recv.optional != Optional::Mandatory && has_commands;
                    if step.condition.is_some() || skippable {
                        keep = keep.union(live[index + 1]);
                    }
                }
                kind => {
                    match kind {
                        StepKind::Send(send) => keep = keep.union(reads(&send.template)),
                        StepKind::SendCommand(send) => keep = keep.union(reads(&send.template)),
                        _ => {}
                    }
                    // The actions of a send look at the message it sent; their texts may still read
                    // the received one.
                    let is_send = matches!(kind, StepKind::Send(_));
                    for action in &step.actions {
                        let looks = !is_send && looks_at_message(action);
                        keep.message |= looks;
                        keep = keep.union(texts_read(action));
                    }
                    keep = keep.union(live[index + 1]);
                    if let Some(next) = &step.next {
                        keep = keep.union(live[usize::from(next.target)]);
                    }
                    if has_jump_action {
                        keep = keep.union(everything);
                    }
                }
            }
            if live[index] != keep {
                live[index] = keep;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    // A call that waits at a receive is reached again by its message, its timeout, or the label for
    // unexpected messages. A call that waits at a pause goes on behind it. Automatic messages may
    // have to be sent at any step that waits.
    let automatic = program
        .default_messages
        .templates()
        .fold(Keep::default(), |keep, template| keep.union(reads(template)));
    for (step, keep) in program.steps.iter_mut().zip(live) {
        step.keep = keep.union(automatic);
    }
}

fn reads(template: &Template) -> Keep {
    let mut keep = Keep::default();
    for field in template.fields() {
        match field {
            Field::LastHeader(index) => keep.headers |= 1 << index,
            Field::LastHeaderPart(part) => keep.headers |= 1 << part.header,
            Field::LastMessage | Field::LastRequestUri | Field::LastCseqNumber(_) => {
                keep.message = true;
            }
            // What is chosen depends on the offer in the message.
            Field::AudioPayloadType
            | Field::AudioCodec
            | Field::AudioRtpMap
            | Field::AudioFmtp
            | Field::AudioSdp(_)
            | Field::Webrtc(WebrtcField::Answer) => keep.message = true,
            // Every keyword is named here, so that a new one is not forgotten.
            Field::Service
            | Field::RemoteIp
            | Field::RemoteIpInSdp
            | Field::RemoteHost
            | Field::RemotePort(_)
            | Field::LocalIp
            | Field::LocalIpInSdp
            | Field::LocalIpType
            | Field::LocalPort(_)
            | Field::ServerIp
            | Field::Transport
            | Field::MediaIp
            | Field::MediaIpType
            | Field::MediaPort(_)
            | Field::VideoPort(_)
            | Field::MediaTransport
            | Field::AudioSsrc
            | Field::CryptoKey { .. }
            | Field::AutoMediaPort(_)
            | Field::Webrtc(_)
            | Field::Pid
            | Field::SippVersion
            | Field::Users
            | Field::UserId
            | Field::CallId
            | Field::CallNumber(_)
            | Field::Cseq(_)
            | Field::Branch(_)
            | Field::MsgIndex
            | Field::ClockTick(_)
            | Field::Timestamp
            | Field::Date
            | Field::DynamicId
            | Field::PeerTagParam
            | Field::NextUrl
            | Field::Routes
            | Field::Variable(_)
            | Field::Fill { .. }
            | Field::Len(_)
            | Field::Injected(_)
            | Field::Authentication(_)
            | Field::Circuit => {}
        }
    }
    keep
}

fn looks_at_message(action: &Action) -> bool {
    match action {
        Action::Ereg(ereg) => !matches!(ereg.search_in, SearchIn::Variable(_)),
        Action::VerifyAuth { .. } => true,
        _ => false,
    }
}

fn texts_read(action: &Action) -> Keep {
    action.templates().map(reads).fold(Keep::default(), Keep::union)
}

impl Step {
    /// The templates of the step: its message and the texts of its actions.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let message = match &self.kind {
            StepKind::Send(send) => Some(&send.template),
            StepKind::SendCommand(send) => Some(&send.template),
            _ => None,
        };
        message.into_iter().chain(self.actions.iter().flat_map(Action::templates))
    }
}

impl Program {
    /// Every template of the program: messages and action texts.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let steps = self.steps.iter().chain(&self.init).flat_map(Step::templates);
        steps.chain(self.default_messages.templates())
    }

    /// Names that `<setdest>` actions write out: they must be resolved before calls begin.
    pub fn written_hosts(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().chain(&self.init);
        steps.flat_map(|step| &step.actions).filter_map(|action| {
            let Action::SetDest(to) = action else { return None };
            let host = String::from_utf8_lossy(to.host.as_literal()?).trim().to_owned();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().is_err().then_some(host)
        })
    }

    /// Addresses with ports that `<setdest>` actions write out, each without its name: `None` for
    /// an address that is known only during the call.
    pub fn written_destinations(
        &self,
        address_of: impl Fn(&str) -> Option<IpAddr>,
    ) -> impl Iterator<Item = Option<SocketAddr>> {
        let steps = self.steps.iter().chain(&self.init);
        steps.flat_map(|step| &step.actions).filter_map(move |action| {
            let Action::SetDest(to) = action else { return None };
            let text = |template: &Template| {
                let literal = String::from_utf8_lossy(template.as_literal()?).trim().to_owned();
                Some(literal)
            };
            Some(text(&to.host).zip(text(&to.port)).and_then(|(host, port)| {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let ip = bare.parse().ok().or_else(|| address_of(&host))?;
                Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
            }))
        })
    }

    /// Tells whether some step runs a shell command.
    pub fn runs_commands(&self) -> bool {
        let mut steps = self.steps.iter().chain(&self.init);
        steps.any(|step| step.actions.iter().any(|action| matches!(action, Action::Execute(_))))
    }

    /// Tells whether some step records media.
    pub fn records_media(&self) -> bool {
        let is_recording = |action: &Action| matches!(action, Action::Media(media) if matches!(**media, MediaAction::Record(_)));
        self.steps.iter().flat_map(|step| &step.actions).any(is_recording)
    }

    /// The sum of the 99th percentiles of all pauses, in milliseconds; `run_default_ms` stands for
    /// pauses without a length. Nearly every call takes less time in pauses.
    pub fn pauses_p99_ms(&self, run_default_ms: u64) -> f64 {
        let length = |duration: &Duration| match duration {
            Duration::RunDefault => run_default_ms as f64,
            Duration::Of(distribution) => distribution.p99(),
            Duration::Variable(_) => 0.0,
        };
        self.steps
            .iter()
            .map(|step| match &step.kind {
                StepKind::Pause(duration) | StepKind::Timewait(duration) => length(duration),
                _ => 0.0,
            })
            .sum()
    }
}
