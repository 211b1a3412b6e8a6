//! `<sendCmd>` and `<recvCmd>`: commands between two instances that control one call (3PCC).

use super::attributes::Attributes;
use super::error::Fault;
use super::keyword;
use super::names::Table;
use super::program::{Mode, Program, Step, StepKind};
use super::template::Template;
use super::xml::{Attribute, Element};

/// Most other instances that a scenario can name.
const PEERS_MAX: usize = 256;

/// A command to send to another instance.
#[derive(Debug)]
pub struct SendCommand {
    /// The text, without the byte that ends it on the wire.
    pub template: Template,
    /// The receiver: index into `Program::peers`. Only runs of more than two instances name each
    /// other.
    pub dest: Option<u16>,
}

/// A command to wait for.
#[derive(Debug)]
pub struct RecvCommand {
    /// The sender: index into `Program::peers`; `None` accepts the command of any instance.
    pub src: Option<u16>,
    /// True if the command may be absent.
    pub optional: bool,
    /// Timeout in milliseconds; `None` takes the run's default.
    pub timeout_ms: Option<u32>,
}

/// The part of an instance in a third-party call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThirdPartyRole {
    /// The instance sends the first command (controller A, master), and the others wait for it.
    Leads,
    /// The instance waits for the first command (controller B, slave).
    Follows,
}

impl Program {
    /// Tells whether a call begins when a command comes. SIP messages of unknown calls are then
    /// ignored.
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
            .hint("the command is written inside <![CDATA[ ... ]]>"));
    }
    if let Some(end) = element.text.bytes().position(|byte| byte == END_OF_COMMAND) {
        return Err(Fault::new(element.text.position(end), "a command that contains ESC")
            .hint("that byte ends every command, and is added automatically"));
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

/// The part of the scenario in third-party call control, if any.
pub(super) fn role(steps: &[Step]) -> Option<ThirdPartyRole> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::SendCommand(_) => Some(ThirdPartyRole::Leads),
        StepKind::RecvCommand(_) => Some(ThirdPartyRole::Follows),
        _ => None,
    })
}

/// The way in which calls begin: with something that we send, SIP or a command, or with something
/// that we receive. A leading pause or nop does not count.
pub(super) fn mode(steps: &[Step]) -> Option<Mode> {
    steps.iter().find_map(|step| match step.kind {
        StepKind::Send(_) | StepKind::SendCommand(_) => Some(Mode::Client),
        StepKind::Recv(_) | StepKind::RecvCommand(_) => Some(Mode::Server),
        _ => None,
    })
}
