//! Scenarios that simulations play: the built-in ones and a few with more turns.

use gossipper::scenario::{self, Program};

pub fn builtin(name: &str) -> Program {
    scenario::load_builtin(name, &[]).expect("a built-in scenario compiles")
}

/// A scenario of `tests/scenarios`.
pub fn file(text: &str) -> Program {
    scenario::compile(text, "file", &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// A scenario of the given steps. `@NAME@` stands for the usual headers, see [`expand`].
pub fn inline(name: &str, steps: &str) -> Program {
    spelled_out(name, &expand(steps))
}

/// A scenario of the given steps as they stand.
pub fn spelled_out(name: &str, steps: &str) -> Program {
    let text = format!("<scenario name=\"{name}\">{steps}</scenario>");
    scenario::compile(&text, name, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Spells out messages: `@METHOD@` is a request of the caller, and
/// `@200@` the answer to the last request; `@200=@` is one inside a dialog, whose To has its tag.
pub fn expand(steps: &str) -> String {
    let mut out = String::new();
    for (index, piece) in steps.split('@').enumerate() {
        if index % 2 == 0 {
            out.push_str(piece);
            continue;
        }
        let code = piece.trim_end_matches('=');
        let message = match code.parse::<u16>() {
            Ok(code) => response(code, piece.ends_with('=')),
            Err(_) => request(piece),
        };
        out.push_str("<![CDATA[\n");
        out.push_str(&message);
        out.push_str("\n]]>");
    }
    out
}

fn request(method: &str) -> String {
    let to_tag = if method == "INVITE" || method == "OPTIONS" { "" } else { "[peer_tag_param]" };
    format!(
        "{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]c[call_number]\n\
         To: <sip:[service]@[remote_ip]:[remote_port]>{to_tag}\n\
         Call-ID: [call_id]\n\
         CSeq: [cseq] {method}\n\
         Contact: <sip:caller@[local_ip]:[local_port]>\n\
         Max-Forwards: 70\n\
         Content-Length: [len]\n"
    )
}

fn response(code: u16, in_dialog: bool) -> String {
    let reason = match code {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        486 => "Busy Here",
        487 => "Request Terminated",
        _ => "Whatever",
    };
    let tag = if code == 100 || in_dialog { "" } else { ";tag=[pid]s[call_number]" };
    format!(
        "SIP/2.0 {code} {reason}\n\
         [last_Via:]\n\
         [last_From:]\n\
         [last_To:]{tag}\n\
         [last_Call-ID:]\n\
         [last_CSeq:]\n\
         Contact: <sip:callee@[local_ip]:[local_port]>\n\
         Content-Length: [len]\n"
    )
}

/// A pair that answers each other.
pub struct Pair {
    pub name: &'static str,
    pub caller: fn() -> Program,
    pub callee: fn() -> Program,
    /// Virtual time that a call takes at most when nothing is lost.
    pub length_ms: u64,
}

pub const PAIRS: &[Pair] = &[
    Pair {
        name: "uac and uas",
        caller: || builtin("uac"),
        callee: || builtin("uas"),
        length_ms: 5_000,
    },
    Pair {
        name: "options",
        caller: || builtin("options"),
        callee: || builtin("management"),
        length_ms: 5_000,
    },
    Pair {
        name: "ringing",
        caller: || {
            inline(
                "ringing caller",
                r#"<send retrans="500">@INVITE@</send>
                <recv response="100" optional="true"/>
                <recv response="180" optional="true"/>
                <recv response="200"/>
                <send>@ACK@</send>
                <pause distribution="uniform" min="100" max="3000"/>
                <send retrans="500">@INFO@</send>
                <recv response="200"/>
                <pause distribution="exponential" mean="300"/>
                <send retrans="500">@BYE@</send>
                <recv response="200"/>"#,
            )
        },
        callee: || {
            inline(
                "ringing callee",
                r#"<recv request="INVITE"/>
                <send>@100@</send>
                <pause milliseconds="200"/>
                <send>@180@</send>
                <pause distribution="uniform" min="0" max="1500"/>
                <send retrans="500">@200@</send>
                <recv request="ACK" optional="true"/>
                <recv request="INFO"/>
                <send>@200=@</send>
                <recv request="ACK" optional="true"/>
                <recv request="BYE"/>
                <send>@200=@</send>
                <timewait milliseconds="4000"/>"#,
            )
        },
        length_ms: 12_000,
    },
    Pair {
        name: "refused, then cancelled",
        caller: || {
            inline(
                "changing mind",
                r#"<send retrans="500">@INVITE@</send>
                <recv response="486"/>
                <send>@ACK@</send>
                <send retrans="500">@INVITE@</send>
                <recv response="180" optional="true"/>
                <recv response="200"/>
                <send>@ACK@</send>
                <send retrans="500">@BYE@</send>
                <recv response="200"/>"#,
            )
        },
        callee: || {
            inline(
                "busy at first",
                r#"<recv request="INVITE"/>
                <send retrans="500">@486@</send>
                <recv request="ACK" optional="true"/>
                <recv request="INVITE"/>
                <send>@180@</send>
                <send retrans="500">@200@</send>
                <recv request="ACK" optional="true"/>
                <recv request="BYE"/>
                <send>@200=@</send>
                <timewait milliseconds="4000"/>"#,
            )
        },
        length_ms: 8_000,
    },
    Pair {
        name: "registration",
        caller: || file(include_str!("../../scenarios/register.xml")),
        callee: || {
            inline(
                "registrar",
                r#"<recv request="REGISTER"/>
                <send>@200@</send>
                <recv request="REGISTER"/>
                <send>@200@</send>
                <timewait milliseconds="4000"/>"#,
            )
        },
        length_ms: 5_000,
    },
    Pair {
        name: "an answerer with CANCEL",
        caller: || builtin("uac"),
        callee: || file(include_str!("../../scenarios/uas_cancel.xml")),
        length_ms: 5_000,
    },
];
