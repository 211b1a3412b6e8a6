//! The names of a scenario's measurements, known once it is compiled.
//!
//! Workers record by index; only the control side turns an index back into a name.

use serde::{Deserialize, Serialize};

use super::steps::{ProgramLayout, StepCounts, StepKind, StepLayout};

/// Number by which layouts are told apart that measure different things, in any process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayoutId(pub u64);

/// Names and bounds of a compiled scenario's measurements. The position of a name is the index that
/// the recording functions take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Transactions by method; a repeated method carries its occurrence (`INVITE`, `INVITE#2`).
    pub transactions: Vec<String>,
    /// Response-time timers (`start_rtd`, `rtd`).
    pub rtds: Vec<String>,
    /// Names given by `counter=` attributes.
    pub counters: Vec<String>,
    /// Names given by `display=` attributes.
    pub displays: Vec<String>,
    /// Upper bounds of the response-time repartition in milliseconds, ascending.
    pub rtd_repartition_ms: Vec<u64>,
    /// Upper bounds of the call-length repartition in milliseconds, ascending.
    pub call_length_repartition_ms: Vec<u64>,
    /// The programs of the run with their steps: those that new calls follow, the main one first,
    /// then those of earlier generations that calls may still follow.
    pub programs: Vec<ProgramLayout>,
    /// Number of earlier exchanges of the run's programs. A later layout has all names of an
    /// earlier one at the same places, and may have more; only `programs` differ.
    pub generation: u32,
}

impl Layout {
    /// The number of this layout: figures of two that have the same can be added. How often a run
    /// exchanged its programs, and the numbers that it gave them, are no part of it.
    pub fn id(&self) -> LayoutId {
        let mut hash = Fnv::default();
        for names in [&self.transactions, &self.rtds, &self.counters, &self.displays] {
            hash.names(names);
        }
        for bounds in [&self.rtd_repartition_ms, &self.call_length_repartition_ms] {
            hash.number(bounds.len() as u64);
            bounds.iter().for_each(|&bound| hash.number(bound));
        }
        hash.number(self.programs.len() as u64);
        for program in &self.programs {
            hash.text(&program.name);
            hash.number(program.steps.len() as u64);
            program.steps.iter().for_each(|step| hash.text(&step.name));
            for places in [&program.transactions, &program.rtds, &program.counters] {
                hash.number(places.len() as u64);
                places.iter().for_each(|&place| hash.number(u64::from(place)));
            }
        }
        LayoutId(hash.0)
    }

    /// Index of the transaction whose latency stands for the run in one-line reports: the first
    /// INVITE, else the first transaction.
    pub fn primary_transaction(&self) -> Option<usize> {
        let invite = self.transactions.iter().position(|name| is_invite(name));
        invite.or(if self.transactions.is_empty() { None } else { Some(0) })
    }

    /// Index of the first step of `program` in the counts of all steps.
    pub fn first_step(&self, program: usize) -> usize {
        self.programs.iter().take(program).map(|program| program.steps.len()).sum()
    }

    /// Steps of all programs.
    pub fn steps_total(&self) -> usize {
        self.first_step(self.programs.len())
    }

    /// Brings the counts of steps of an earlier layout into the order of this one. The counts of
    /// removed programs are left out.
    pub fn carry_steps(&self, earlier: &Self, steps: &[StepCounts]) -> Vec<StepCounts> {
        let mut carried = vec![StepCounts::default(); self.steps_total()];
        for (index, program) in self.programs.iter().enumerate() {
            let Some(before) = earlier.place_of(program.number) else { continue };
            let (to, from) = (self.first_step(index), earlier.first_step(before));
            let count = program.steps.len();
            if let (Some(to), Some(from)) =
                (carried.get_mut(to..to + count), steps.get(from..from + count))
            {
                to.copy_from_slice(from);
            }
        }
        carried
    }

    /// Index in [`programs`](Self::programs) of the program with that number.
    pub fn place_of(&self, number: u8) -> Option<usize> {
        self.programs.iter().position(|program| program.number == number)
    }

    /// The step with that index of the program with that number.
    pub fn step(&self, program: u8, step: u16) -> Option<&StepLayout> {
        self.programs[self.place_of(program)?].steps.get(usize::from(step))
    }

    /// The step whose message a call at `step` must get: the mandatory one behind optional
    /// receives.
    pub fn awaited_step(&self, program: u8, step: u16) -> Option<&StepLayout> {
        let steps = &self.programs[self.place_of(program)?].steps;
        let mut behind = steps.get(usize::from(step)..)?.iter();
        let mandatory =
            behind.find(|step| !matches!(step.kind, StepKind::Recv { is_optional: true }));
        let is_receive = |step: &&StepLayout| matches!(step.kind, StepKind::Recv { .. });
        mandatory.filter(is_receive).or(steps.get(usize::from(step)))
    }

    /// Indices of all INVITE transactions, which `invite_rtt` of the summary adds up.
    pub fn invite_transactions(&self) -> impl Iterator<Item = usize> + '_ {
        let named = self.transactions.iter().enumerate();
        named.filter(|(_, name)| is_invite(name)).map(|(index, _)| index)
    }
}

/// FNV-1a of 64 bits. It tells scenarios apart and does not prevent two that are alike on purpose:
/// only processes that belong together add their figures.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// With its length, so that two texts are not taken for two others.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn names(&mut self, names: &[String]) {
        self.number(names.len() as u64);
        names.iter().for_each(|name| self.text(name));
    }
}

fn is_invite(name: &str) -> bool {
    name == "INVITE" || name.starts_with("INVITE#")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(names: &[&str]) -> Layout {
        let transactions = names.iter().map(|&name| name.to_owned()).collect();
        Layout { transactions, ..Layout::default() }
    }

    #[test]
    fn the_number_tells_what_is_measured() {
        let base = layout(&["INVITE", "BYE"]);
        assert_eq!(base.id(), Layout { generation: 7, ..base.clone() }.id());
        let others = [
            layout(&["INVITE", "BY", "E"]),
            layout(&["BYE", "INVITE"]),
            Layout { rtds: vec!["BYE".to_owned()], ..layout(&["INVITE"]) },
            Layout { rtd_repartition_ms: vec![10], ..base.clone() },
            Layout { programs: vec![Default::default()], ..base.clone() },
        ];
        for other in others {
            assert_ne!(base.id(), other.id(), "{other:?}");
        }
    }

    #[test]
    fn an_invite_stands_for_the_run() {
        assert_eq!(layout(&["REGISTER", "INVITE", "BYE"]).primary_transaction(), Some(1));
        assert_eq!(layout(&["REGISTER", "OPTIONS"]).primary_transaction(), Some(0));
        assert_eq!(layout(&[]).primary_transaction(), None);
    }

    #[test]
    fn repeated_invites_are_all_found() {
        let layout = layout(&["INVITE", "BYE", "INVITE#2", "INVITEX"]);
        assert_eq!(layout.invite_transactions().collect::<Vec<_>>(), [0, 2]);
    }
}
