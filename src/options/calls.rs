//! Options about the default behaviours of calls.

use crate::config::{DefaultBehaviors, parse_behaviors};

use super::{Accept, FlagGroup, alias, milliseconds, switch, takes};

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Call behaviour",
    flags: &[
        takes(
            "d",
            &["TIME"],
            milliseconds(0, |d, v| d.rules.pause_ms = v),
            "Length of a <pause/> that names none (bare number: ms)",
        )
        .default("0"),
        alias("pause_ms", "d").ours(),
        switch(
            "aa",
            |d| d.rules.auto_answer = true,
            "Answer INFO, NOTIFY, OPTIONS and UPDATE with 200 where the scenario does not expect \
             them",
        ),
        takes(
            "default_behaviors",
            &["LIST"],
            Accept::Parsed(|d, v| {
                parse_behaviors(v).map(|behaviors| d.rules.default_behaviors = behaviors)
            }),
            "Default behaviours, separated by commas: all, none, bye (end aborted calls), \
             abortunexp (abort on unexpected messages), pingreply (answer PING), cseq (check the \
             CSeq of ACK); -WORD removes",
        )
        .default("all"),
        switch(
            "nd",
            |d| d.rules.default_behaviors = DefaultBehaviors::NONE,
            "Same as -default_behaviors none",
        ),
        switch(
            "pause_msg_ign",
            |d| d.rules.pause_drops_messages = true,
            "Drop messages that arrive during a pause",
        ),
        takes(
            "deadcall_wait",
            &["TIME"],
            milliseconds(0, |d, v| d.rules.deadcall_wait_ms = v),
            "Remember the Call-ID of a finished call for TIME (bare number: ms)",
        )
        .default("33s"),
        switch(
            "callid_slash_ign",
            |d| d.rules.whole_call_ids = true,
            "Compare Call-IDs whole; otherwise the part before /// is ignored",
        ),
    ],
};
