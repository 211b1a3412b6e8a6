//! Invariants, checked by tests after every step of a simulation.

use super::Engine;
use super::call::Phase;

impl Engine {
    /// Checks that the engine's parts agree with each other.
    ///
    /// # Errors
    /// A sentence that names the two numbers that differ.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut running = 0;
        let mut out_of_call = 0;
        let mut lingering = 0;
        let mut timers = 0;
        let mut foreign = 0;
        let mut blobs = 0;
        let mut calls_of = vec![0; self.calls_of.len()];
        for slot in 0..self.calls.used() {
            let call = &self.calls[slot];
            let armed = [Self::step_timer(slot), Self::retransmit_timer(slot)]
                .into_iter()
                .filter(|&timer| self.wheel.is_armed(timer))
                .count();
            timers += armed;
            match call.phase {
                Phase::Free if armed > 0 => return Err(format!("free slot {slot} has a timer")),
                Phase::Free => continue,
                Phase::Running => {
                    running += 1;
                    out_of_call += u64::from(call.out_of_call);
                }
                Phase::Lingering => lingering += 1,
            }
            calls_of[usize::from(call.program)] += 1;
            blobs += [
                &call.last_sent,
                &call.answers,
                &call.ack_sent,
                &call.invite_sent,
                &call.saved,
                &call.peer,
                &call.routes,
                &call.call_id,
                &call.challenge,
            ]
            .into_iter()
            .filter(|blob| !blob.is_empty())
            .count();
            if call.foreign {
                foreign += 1;
                let found = self.map.find(call.hash, |other| self.calls[other].hash == call.hash);
                if found != Some(slot) {
                    return Err(format!("slot {slot} is not found by its Call-ID: {found:?}"));
                }
            }
            let waits_for_timer = armed > 0;
            let waits_for_peer = call.phase == Phase::Running;
            if !waits_for_timer && !waits_for_peer {
                return Err(format!("slot {slot} lingers without a timer"));
            }
        }
        let counters = &self.counters;
        let differ = |what: &str, left: u64, right: u64| {
            (left != right).then(|| format!("{what}: {left} against {right}")).map_or(Ok(()), Err)
        };
        differ("active calls, counted and in slots", self.active as u64, running)?;
        differ(
            "out-of-call calls, counted and in slots",
            self.active_out_of_call as u64,
            out_of_call,
        )?;
        differ("lingering calls, counted and in slots", self.lingering as u64, lingering)?;
        if calls_of != self.calls_of {
            return Err(format!("calls by program: {:?} against {calls_of:?}", self.calls_of));
        }
        let attached = (0..self.calls.used()).filter(|&slot| self.calls[slot].attached).count();
        differ("calls on connections", self.connections.calls(), attached as u64)?;
        differ("slots in use", self.calls.in_use() as u64, running + lingering)?;
        differ("armed timers, wheel and calls", self.wheel.armed() as u64, timers as u64)?;
        differ("foreign calls, table and slots", self.map.len() as u64, foreign)?;
        differ(
            "started = succeeded + failed + active",
            counters.calls_started(),
            counters.calls_succeeded + counters.calls_failed + self.active as u64,
        )?;
        differ("failed = sum of causes", counters.calls_failed, counters.failures.total())?;
        let messages = &self.report.messages;
        let (sent, received) = (messages.sent.totals(), messages.received.totals());
        differ("requests sent, in all and by method", counters.requests_sent, sent.0)?;
        differ("responses sent, in all and by code", counters.responses_sent, sent.1)?;
        differ("requests received, in all and by method", counters.requests_received, received.0)?;
        differ("responses received, in all and by code", counters.responses_received, received.1)?;
        let texts = self
            .variables
            .call_values
            .iter()
            .chain(&self.variables.global_values)
            .chain(&self.variables.user_values)
            .filter(|value| matches!(value, super::call::variables::Value::Text(blob) if !blob.is_empty()))
            .count();
        differ(
            "stored strings",
            self.blobs.live() as u64,
            (blobs + texts + self.named_acks()) as u64,
        )?;
        Ok(())
    }

    /// Capacity of the call pool.
    pub fn capacity(&self) -> usize {
        self.calls.capacity()
    }
}

#[cfg(test)]
mod tests {
    use crate::sip::MethodId;
    use crate::stats::METHOD_NAMES;

    #[test]
    fn a_method_is_counted_under_its_name() {
        for &method in MethodId::KNOWN {
            assert_eq!(METHOD_NAMES.get(method as usize).copied(), method.name());
        }
        assert_eq!(METHOD_NAMES[MethodId::Other as usize], "other");
        assert_eq!(METHOD_NAMES.len(), MethodId::KNOWN.len() + 1);
    }
}
