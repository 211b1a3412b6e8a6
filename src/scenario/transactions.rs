//! Named transactions: `start_txn=`, `response_txn=` and `ack_txn=`, and the rules that hold for
//! all of them together.

use std::collections::HashSet;

use super::error::{Fault, Position, Sink};
use super::names::is_name;
use super::xml::Attribute;
use crate::sip::MethodId;

/// Most named transactions: every call of a run holds a state for each of them.
const TRANSACTIONS_MAX: usize = 256;

/// The part of a message in a named transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Start { is_invite: bool },
    Response,
    Ack,
}

struct Use {
    transaction: u16,
    role: Role,
    position: Position,
}

/// The named transactions of a scenario, in order of first use.
#[derive(Default)]
pub(super) struct NamedTransactions {
    pub(super) names: Vec<String>,
    uses: Vec<Use>,
}

impl NamedTransactions {
    /// Notes a `start_txn=` on a request with the method `bit`.
    pub(super) fn start(&mut self, name: &Attribute, bit: u32) -> Result<u16, Fault> {
        if bit == MethodId::Ack.bit() {
            return Err(Fault::new(name.position, "start_txn= on an ACK")
                .hint("an ACK belongs to the transaction of its INVITE: write ack_txn="));
        }
        self.add(name, Role::Start { is_invite: bit == MethodId::Invite.bit() })
    }

    /// Notes an `ack_txn=` on a request with the method `bit`.
    pub(super) fn ack(&mut self, name: &Attribute, bit: u32) -> Result<u16, Fault> {
        if bit != MethodId::Ack.bit() {
            return Err(Fault::new(name.position, "ack_txn= on a message that is not an ACK")
                .hint("start_txn= begins the transaction of another request"));
        }
        self.add(name, Role::Ack)
    }

    /// Notes a `response_txn=` on a `<recv response=>`.
    pub(super) fn response(&mut self, name: &Attribute) -> Result<u16, Fault> {
        self.add(name, Role::Response)
    }

    fn add(&mut self, name: &Attribute, role: Role) -> Result<u16, Fault> {
        let position = name.position;
        let text = name.value.trim();
        if !is_name(text) {
            return Err(Fault::new(
                position,
                format!("\"{text}\" is not a name for a transaction"),
            )
            .hint("a name has neither '$' nor ','"));
        }
        let known = self.names.iter().position(|known| known == text);
        let index = known.unwrap_or_else(|| {
            self.names.push(text.to_owned());
            self.names.len() - 1
        });
        if index >= TRANSACTIONS_MAX {
            let message = format!("more than {TRANSACTIONS_MAX} named transactions");
            return Err(Fault::new(position, message));
        }
        let transaction = index as u16;
        self.uses.push(Use { transaction, role, position });
        Ok(transaction)
    }

    /// Checks that each transaction is started and answered, and that those of INVITE, and only
    /// those, are ACKed. One name may stand for several requests, one after the other.
    pub(super) fn check(&self, excused: &HashSet<String>, sink: &Sink) {
        for using in &self.uses {
            let name = &self.names[usize::from(using.transaction)];
            if excused.contains(name) {
                continue;
            }
            let others = || self.uses.iter().filter(|other| other.transaction == using.transaction);
            let has = |role: Role| others().any(|other| other.role == role);
            let starts_invite = has(Role::Start { is_invite: true });
            let starts = starts_invite || has(Role::Start { is_invite: false });
            let (what, hint) = match using.role {
                Role::Response | Role::Ack if !starts => {
                    ("is never started", "add start_txn= to its request")
                }
                Role::Ack if !starts_invite => {
                    ("is ACKed but not one of an INVITE", "leave ack_txn= out")
                }
                Role::Start { .. } if !has(Role::Response) => {
                    ("is never answered", "add response_txn= to a <recv response=>")
                }
                Role::Start { is_invite: true } if !has(Role::Ack) => {
                    ("is never ACKed", "add ack_txn= to the ACK of its INVITE")
                }
                _ => continue,
            };
            let known = self.names.iter().map(String::as_str).filter(|known| known != name);
            let fault = Fault::new(using.position, format!("transaction \"{name}\" {what}"));
            sink.error(fault.hint(hint).suggest(name, known));
        }
    }
}
