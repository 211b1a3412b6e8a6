//! Corners of the scenario language that only a running call shows.

mod sim;

use sim::rig::{Rig, answer, header};
use sim::scenarios::{inline, spelled_out};
use sim::side::SideOptions;

fn client(steps: &str) -> SideOptions {
    SideOptions::new(inline("client", steps))
}

/// `_unexp.retaddr` holds the step that the call waited at, so that a scenario can go back to it.
#[test]
fn the_label_for_unexpected_messages_can_jump_back() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200"/>
        <nop next="done"/>
        <label id="_unexp.main"/>
        <nop>
          <action><jump variable="_unexp.retaddr"/></action>
        </nop>
        <label id="done"/>
        <send>@INFO@</send>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 404, "t"));
    rig.send(&answer(&options, 200, "t"));
    rig.expect("INFO");
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
}

/// A receive whose `condexec` does not hold is not there, also when looking ahead.
#[test]
fn a_receive_that_is_switched_off_matches_nothing() {
    let mut rig = Rig::with(client(
        r#"<nop>
          <action>
            <assign assign_to="off" value="0"/>
          </action>
        </nop>
        <send retrans="500">@OPTIONS@</send>
        <recv response="100" optional="true"/>
        <recv response="404" optional="true" condexec="off"/>
        <recv response="200"/>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 404, "t"));
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (0, 1), "{counters:?}");
}

/// A `[len]` in a line that is dropped is dropped with it.
#[test]
fn a_length_in_a_dropped_line_leaves_no_trace() {
    let steps = r#"<send><![CDATA[
          OPTIONS sip:[service]@[remote_ip]:[remote_port] SIP/2.0
          Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
          X-Gone: [len] [last_X-Absent:]
          From: <sip:a@[local_ip]>;tag=[call_number]
          To: <sip:b@[remote_ip]>
          Call-ID: [call_id]
          CSeq: [cseq] OPTIONS
          Content-Length: [len]

          12345
        ]]></send>
        <recv response="200"/>"#;
    let mut rig = Rig::with(SideOptions::new(spelled_out("client", steps)));
    let options = rig.expect("OPTIONS").text;
    assert!(!options.contains("X-Gone"), "{options}");
    assert_eq!(header(&options, "Content-Length").trim(), "7");
    assert!(options.contains("\r\nFrom: <sip:a@"), "{options}");
    rig.send(&answer(&options, 200, "t"));
    rig.end();
}
