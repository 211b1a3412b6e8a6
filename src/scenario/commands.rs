//! `<sendCmd>` and `<recvCmd>`: what two instances that control one call (3PCC) tell each other.

use super::attributes::Attributes;
use super::error::Fault;
use super::keyword;
use super::names::Table;
use super::program::{Mode, Program, Step, StepKind};
use super::template::Template;
use super::xml::{Attribute, Element};

/// Other instances that a scenario can name.
const PEERS_MAX: usize = 256;

/// A command to send to another instance.
#[derive(Debug)]
pub struct SendCommand {
    /// Its text, without the byte that ends it on the wire.
    pub template: Template,
    /// To whom: index into `Program::peers`. Only runs of more than two instances name each other.
    pub dest: Option<u16>,
}

/// A command to wait for.
#[derive(Debug)]
pub struct RecvCommand {
    /// From whom: index into `Program::peers`; `None` takes anybody's.
    pub src: Option<u16>,
    /// It may be absent.
    pub optional: bool,
    /// Timeout in milliseconds; `None` takes the run's default.
    pub timeout_ms: Option<u32>,
}

/// Which of the instances a scenario is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThirdPartyRole {
    /// It sends the first command (controller A, master): the others wait for it.
    Leads,
    /// It waits for the first command (controller B, slave).
    Follows,
}

impl Program {
    /// `true` if a call begins when a command comes: SIP of unknown calls is none of its business.
    pub fn begins_with_command(&self) -> bool {
        self.steps.iter().find_map(|step| match step.kind {
            StepKind::RecvCommand(_) => Some(true),
            StepKind::Recv(_) | StepKind::Send(_) | StepKind::SendCommand(_) => Some(false),
            _ => None,
        }) == Some(true)
    }
}

/// Collects the names of other instances.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) names: Vec<String>,
}

impl Peers {
    fn index(&mut self, name: Option<&Attribute>) -> Result<Option<u16>, Fault> {
        let Some(attribute) = name else { return Ok(None) };
        let name = attribute.value.trim();
        if name.is_empty() || name.contains([';', '\r', '\n']) {
            let message = format!("{}=\"{name}\" names no instance", attribute.name);
            return Err(Fault::new(attribute.position, message)
                .hint("give a name as in the first column of the -slave_cfg file"));
        }
        if let Some(known) = self.names.iter().position(|known| known == name) {
            return Ok(Some(known as u16));
        }
        if self.names.len() >= PEERS_MAX {
            return Err(Fault::new(attribute.position, format!("more than {PEERS_MAX} instances")));
        }
        self.names.push(name.to_owned());
        Ok(Some(self.names.len() as u16 - 1))
    }
}

/// Compiles a `<sendCmd>`.
pub(super) fn send(
    element: &Element,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
    peers: &mut Peers,
) -> Result<SendCommand, Fault> {
    let dest = peers.index(attributes.get("dest"))?;
    if element.text.trim_ascii().is_empty() {
        return Err(Fault::new(element.position, "<sendCmd> without a command")
            .hint("the command stands inside <![CDATA[ ... ]]>"));
    }
    if let Some(end) = element.text.bytes().position(|byte| byte == END_OF_COMMAND) {
        return Err(Fault::new(element.text.position(end), "a command that contains ESC")
            .hint("that byte ends every command, and is added by itself"));
    }
    let template = keyword::message(&element.text, table)?;
    Ok(SendCommand { template, dest })
}

/// Compiles a `<recvCmd>`.
pub(super) fn recv(attributes: &Attributes<'_>, peers: &mut Peers) -> Result<RecvCommand, Fault> {
    Ok(RecvCommand {
        src: peers.index(attributes.get("src"))?,
        optional: attributes.boolean("optional").unwrap_or(false),
        timeout_ms: attributes.milliseconds("timeout"),
    })
}

/// The byte that ends a command on the wire: ESC.
pub const END_OF_COMMAND: u8 = 27;

/// The part that a scenario has in third-party call control, if any.
pub(super) fn role(steps: &[Step]) -> Option<ThirdPartyRole> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::SendCommand(_) => Some(ThirdPartyRole::Leads),
        StepKind::RecvCommand(_) => Some(ThirdPartyRole::Follows),
        _ => None,
    })
}

/// How calls begin: with something that we say, to whomever, or with something that we hear. A
/// leading pause or nop does not count.
pub(super) fn mode(steps: &[Step]) -> Option<Mode> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::Send(_) | StepKind::SendCommand(_) => Some(Mode::Client),
        StepKind::Recv(_) | StepKind::RecvCommand(_) => Some(Mode::Server),
        _ => None,
    })
}
