//! The names of what a scenario measures, known once it is compiled.
//!
//! Workers record by index; only the control side turns an index back into a name.

use super::steps::ProgramLayout;

/// Names and bounds of a compiled scenario's measurements. The position of a name is the index that
/// the recording functions take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The programs of the run with their steps; the main one first.
    pub programs: Vec<ProgramLayout>,
}

impl Layout {
    /// Index of the transaction whose latency stands for the run in one-line reports: the first
    /// INVITE, else the first transaction at all.
    pub fn primary_transaction(&self) -> Option<usize> {
        let invite = self.transactions.iter().position(|name| is_invite(name));
        invite.or(if self.transactions.is_empty() { None } else { Some(0) })
    }

    /// Where the counts of the steps of `program` begin among those of all steps.
    pub fn first_step(&self, program: usize) -> usize {
        self.programs.iter().take(program).map(|program| program.steps.len()).sum()
    }

    /// Steps of all programs.
    pub fn steps_total(&self) -> usize {
        self.first_step(self.programs.len())
    }

    /// Indices of all INVITE transactions, which `invite_rtt` of the summary adds up.
    pub fn invite_transactions(&self) -> impl Iterator<Item = usize> + '_ {
        let named = self.transactions.iter().enumerate();
        named.filter(|(_, name)| is_invite(name)).map(|(index, _)| index)
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
