//! Options about timeouts, retransmission and loss.

use crate::config::{DuplicateCheck, parse_bool};

use super::{
    Accept, FlagGroup, alias, choice, milliseconds, or_off, seconds, switch, takes, within,
};

/// The greatest number of retransmissions: with T1 doubling each time, the pause outgrows every run
/// before that.
const RETRANS_MAX: u64 = 1000;

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Timers",
    flags: &[
        takes(
            "duration",
            &["TIME"],
            seconds(0, |d, v| d.duration_ms = or_off(v)),
            "Start no more calls after TIME and let open ones end (bare number: s); 0 is no end",
        )
        .default("0")
        .ours(),
        takes(
            "drain",
            &["TIME"],
            seconds(0, |d, v| d.drain_ms = Some(v)),
            "Wait at most TIME for open calls at -duration, -timeout or a first stop, then end them \
             (bare number: s)",
        )
        .default("5s; no end as sipp; 32s at -duration")
        .ours(),
        takes(
            "timeout",
            &["TIME"],
            seconds(0, |d, v| d.timeout_ms = or_off(v)),
            "Make no more calls after TIME and let open ones end as -drain says (bare number: s); 0 is \
             never",
        )
        .default("0"),
        alias("timeout_global", "timeout").ours(),
        switch(
            "timeout_error",
            |d| d.timeout_error = true,
            "Exit with 255 if -timeout ends the run",
        ),
        takes(
            "recv_timeout",
            &["TIME"],
            milliseconds(0, |d, v| d.rules.recv_timeout_ms = v),
            "Longest wait of a <recv> that names none (bare number: ms); 0 is forever",
        )
        .default("0"),
        alias("recv_timeout_ms", "recv_timeout").ours(),
        takes(
            "recv_bye_timeout_ms",
            &["TIME"],
            milliseconds(0, |d, v| d.rules.recv_bye_timeout_ms = v),
            "Wait at least so long for a mandatory BYE, where -recv_timeout is shorter (bare \
             number: ms); 0 means no minimum",
        )
        .default("0")
        .ours(),
        takes(
            "send_timeout",
            &["TIME"],
            milliseconds(0, |d, v| d.rules.send_timeout_ms = v),
            "Longest wait of a message for room to be sent (bare number: ms); 0 is forever",
        )
        .default("0"),
        takes(
            "max_invite_retrans",
            &["N"],
            within(0, RETRANS_MAX, |d, v| d.rules.retransmission.invite_max = v as u32),
            "Retransmissions of an INVITE before the call fails",
        )
        .default("5"),
        takes(
            "max_non_invite_retrans",
            &["N"],
            within(0, RETRANS_MAX, |d, v| d.rules.retransmission.non_invite_max = v as u32),
            "Retransmissions of other messages before the call fails",
        )
        .default("9"),
        takes(
            "max_retrans",
            &["N"],
            within(0, RETRANS_MAX, |d, v| {
                d.rules.retransmission.invite_max = v as u32;
                d.rules.retransmission.non_invite_max = v as u32;
            }),
            "Both of the above",
        ),
        switch("nr", |d| d.rules.retransmission.enabled = false, "Retransmit nothing"),
        takes(
            "T2",
            &["TIME"],
            milliseconds(1, |d, v| {
                d.rules.retransmission.t2_ms = u32::try_from(v).unwrap_or(u32::MAX);
            }),
            "Longest interval between retransmissions of non-INVITE messages (bare number: ms)",
        )
        .default("4s"),
        takes(
            "rtcheck",
            &["HOW"],
            Accept::Parsed(|d, v| {
                let check = choice(
                    v,
                    &["full", "loose"],
                    &[DuplicateCheck::Full, DuplicateCheck::Loose],
                )?;
                d.rules.duplicate_check = check;
                Ok(())
            }),
            "How to recognise a received retransmission: full compares the message, loose some \
             headers",
        )
        .default("full"),
        takes(
            "icmp_fails_calls",
            &["BOOL"],
            Accept::Parsed(|d, v| parse_bool(v).map(|fails| d.icmp_fails_calls = Some(fails))),
            "Fail a call at once if its message is answered with an ICMP error; false counts the \
             error and goes on retransmitting, so that the peer may start later",
        )
        .default("true; false as sipp")
        .ours(),
        takes(
            "lost",
            &["PERCENT"],
            Accept::Float { min: 0.0, max: 100.0, set: |d, v| d.rules.lost_percent = v },
            "Lose this share of SIP messages on purpose, sent and received",
        )
        .default("0"),
    ],
};
