//! Actions that reach beyond the call: a change of its peer, a command for the shell.

use std::net::{IpAddr, SocketAddr};

use crate::engine::call::Slot;
use crate::engine::{Cx, Engine};
use crate::scenario::SetDest;
use crate::stats::FailureCause;
use crate::trace::Protocol;

/// Most commands that wait to be run; more are dropped and counted.
const COMMANDS_MAX: usize = 256;

impl Engine {
    /// Changes the call's peer. Names were resolved at start: nothing here may wait for a resolver.
    pub(in crate::engine) fn set_dest(
        &mut self,
        slot: Slot,
        to: &SetDest,
        cx: &Cx<'_, '_>,
    ) -> Result<(), FailureCause> {
        const FAILED: FailureCause = FailureCause::SetDestFailed;
        let protocol = self.text(slot, &to.protocol, cx)?;
        let is_udp = self.config.environment.protocol == Protocol::Udp;
        if !is_udp || !protocol.trim_ascii().eq_ignore_ascii_case(b"udp") {
            return Err(FAILED);
        }
        let host = self.text(slot, &to.host, cx)?;
        let host = std::str::from_utf8(&host).map_err(|_| FAILED)?.trim();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let ip = match bare.parse::<IpAddr>() {
            // An IPv4-mapped address is an IPv4 one, as on the command line.
            Ok(ip) => Some(ip.to_canonical()),
            Err(_) => {
                let known = self.config.data.hosts.iter().find(|(name, _)| name == host);
                known.map(|(_, ip)| *ip)
            }
        };
        let ip = ip.filter(|ip| ip.is_ipv4() == self.config.environment.local_ip.is_ipv4());
        let port = self.text(slot, &to.port, cx)?;
        // A variable prints with six decimals.
        let port = crate::engine::call::variables::leading_number(&port).map(|port| port as u16);
        match (ip, port) {
            (Some(ip), Some(port @ 1..)) => {
                let to = SocketAddr::new(ip, port);
                if !self.lets_turn(slot, to, cx.now) {
                    return Err(FailureCause::BlockedTarget);
                }
                let call = &mut self.calls[slot];
                call.remote = to;
                call.remote_is_fixed = true;
                Ok(())
            }
            _ => Err(FAILED),
        }
    }

    /// Tells whether the list of targets allows the call to go to `to`.
    fn lets_turn(&self, slot: Slot, to: SocketAddr, now: u64) -> bool {
        let data = &self.config.data;
        let gate = match self.program_of(slot).program.is_sent {
            true => &data.gate_for_sent,
            false => &data.gate,
        };
        let unix_ns = now.saturating_add(self.config.wall_offset_ns);
        gate.as_ref().is_none_or(|gate| gate.lets_pass(to, unix_ns))
    }

    /// Leaves a command to be carried out ([`Effect::Shell`](crate::engine::Effect::Shell)).
    pub(in crate::engine) fn execute(&mut self, command: Vec<u8>) {
        if self.outbox.commands.len() < COMMANDS_MAX {
            self.outbox.commands.push_back(command.into_boxed_slice());
        } else {
            self.counters.commands_dropped += 1;
        }
    }
}
