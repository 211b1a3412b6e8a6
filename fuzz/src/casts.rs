//! The players of the engines' targets: pairs of scenarios, compiled once, with pools as small as
//! their plays allow.

use std::sync::Arc;

use gossipper::engine::EngineConfig;
use gossipper::scenario::Program;
use gossipper::stats::{Layout, Report};

use crate::sim::scenarios::{PAIRS, builtin, file, inline};
use crate::sim::side::{SideOptions, layout, rate};

/// The side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Caller,
    Answerer,
}

/// A caller and two answerers.
pub struct Cast {
    parts: [Part; 3],
}

impl Cast {
    fn new(caller: Program, answerer: Program) -> Self {
        let (caller, answerer) = (SideOptions::new(caller), SideOptions::new(answerer));
        Self {
            parts: [
                Part::new(&caller, Role::Caller),
                Part::new(&answerer, Role::Answerer),
                Part::new(&answerer, Role::Answerer),
            ],
        }
    }

    pub fn part(&mut self, seat: usize) -> &mut Part {
        &mut self.parts[seat]
    }
}

/// The data that an engine is made of.
pub struct Part {
    pub program: Arc<Program>,
    pub layout: Layout,
    pub config: EngineConfig,
    /// The report of the last engine, empty again.
    report: Option<Box<Report>>,
}

impl Part {
    fn new(side: &SideOptions, role: Role) -> Self {
        let program = Arc::clone(&side.program);
        let layout = layout(&program);
        let mut config = side.engine.clone();
        config.pool_calls = 4;
        config.dead_calls_max = 3;
        config.blob_bytes_max = 1 << 15;
        config.rules.retransmission.invite_max = 3;
        config.rules.retransmission.non_invite_max = 3;
        config.rules.retransmission.t2_ms = 1000;
        config.rules.pause_ms = 300;
        config.data.auth_user = "user".to_owned();
        config.data.auth_password = "secret".to_owned();
        match role {
            Role::Caller => {
                config.calls_total = Some(4);
                config.arrivals = rate(5.0);
                config.concurrent_max = Some(3);
                config.rules.recv_timeout_ms = 5_000;
            }
            Role::Answerer => {
                config.seed = 2;
                config.rules.recv_timeout_ms = 8_000;
            }
        }
        Self { program, layout, config, report: None }
    }

    /// An empty report for the next engine.
    pub fn take_report(&mut self) -> Box<Report> {
        self.report.take().unwrap_or_else(|| Box::new(Report::new(&self.layout, 0)))
    }

    /// Takes back a report that an engine has filled.
    pub fn give_report(&mut self, mut report: Box<Report>) {
        crate::engine::empty(&mut report);
        self.report = Some(report);
    }
}

/// All pairs: those of the simulations, and pairs for the rest of the scenario language.
pub fn all() -> Vec<Cast> {
    let pairs = PAIRS.iter().map(|pair| Cast::new((pair.caller)(), (pair.callee)()));
    let more = [
        Cast::new(authenticating(), challenging()),
        Cast::new(
            file(include_str!("../../tests/scenarios/uac_branching.xml")),
            builtin("branchs"),
        ),
        Cast::new(
            file(include_str!("../../tests/scenarios/named_transactions.xml")),
            builtin("uas"),
        ),
        Cast::new(file(include_str!("../../tests/scenarios/unexpected_label.xml")), routed()),
        Cast::new(file(include_str!("../../tests/scenarios/default_messages.xml")), builtin("uas")),
        Cast::new(
            file(include_str!("../../tests/scenarios/posix_ereg.xml")),
            file(include_str!("../../tests/scenarios/uas_cancel.xml")),
        ),
        Cast::new(builtin("branchc"), builtin("branchs")),
    ];
    pairs.chain(more).collect()
}

/// Registers, and answers any challenge.
fn authenticating() -> Program {
    inline(
        "authenticating",
        r#"<send retrans="500">@REGISTER@</send>
        <recv response="401" auth="true" optional="true" next="answer"/>
        <recv response="407" auth="true" optional="true" next="answer"/>
        <recv response="200" next="end"/>
        <label id="answer"/>
        <send retrans="500"><![CDATA[
            REGISTER sip:[remote_ip] SIP/2.0
            Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
            From: <sip:[local_ip]:[local_port]>;tag=[pid]c[call_number]
            To: <sip:[remote_ip]:[remote_port]>
            Call-ID: [call_id]
            CSeq: [cseq] REGISTER
            [authentication username=me password=mine]
            Content-Length: [len]
        ]]></send>
        <recv response="200"/>
        <label id="end"/>"#,
    )
}

/// Challenges, and checks the answer.
fn challenging() -> Program {
    inline(
        "challenging",
        r#"<recv request="REGISTER"/>
        <send><![CDATA[
            SIP/2.0 401 Unauthorized
            [last_Via:]
            [last_From:]
            [last_To:];tag=[pid]s[call_number]
            [last_Call-ID:]
            [last_CSeq:]
            WWW-Authenticate: Digest realm="here", nonce="47364c23", qop="auth,auth-int", algorithm=SHA-256
            Content-Length: 0
        ]]></send>
        <recv request="REGISTER">
            <action>
                <verifyauth assign_to="valid" username="me" password="mine"/>
            </action>
        </recv>
        <nop condexec="valid"><action><log message="[$valid]"/></action></nop>
        <send>@200@</send>
        <timewait milliseconds="1000"/>"#,
    )
}

/// Answers with a route set, and ends the call itself.
fn routed() -> Program {
    inline(
        "routed",
        r#"<recv request="INVITE" rrs="true"/>
        <send retrans="500"><![CDATA[
            SIP/2.0 200 OK
            [last_Via:]
            [last_Record-Route:]
            Record-Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8:5070;lr>
            [last_From:]
            [last_To:];tag=[pid]s[call_number]
            [last_Call-ID:]
            [last_CSeq:]
            Contact: <sip:[local_ip]:[local_port]>
            Content-Length: 0
        ]]></send>
        <recv request="ACK"/>
        <pause milliseconds="200"/>
        <send retrans="500"><![CDATA[
            BYE [next_url] SIP/2.0
            Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
            [routes]
            From: <sip:[local_ip]:[local_port]>;tag=[pid]s[call_number]
            To: <sip:[remote_ip]:[remote_port]>[peer_tag_param]
            Call-ID: [call_id]
            CSeq: [cseq] BYE
            Content-Length: 0
        ]]></send>
        <recv response="200"/>"#,
    )
}
