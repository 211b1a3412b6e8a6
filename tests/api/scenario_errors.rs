//! Every kind of mistake in a scenario is refused with its place and a way out.

use gossipper::scenario::{FILE_BYTES_MAX, ScenarioError, compile, decode, load_builtin};

use crate::scenario_support;

/// Marks the place where the error is expected; the mark is removed before compiling.
const HERE: char = '¶';

fn refuse(marked: &str) -> ScenarioError {
    let at = marked.find(HERE).unwrap_or_else(|| panic!("no mark in {marked}"));
    let before = &marked[..at];
    let line = before.matches('\n').count() as u32 + 1;
    let column = (at - before.rfind('\n').map_or(0, |newline| newline + 1)) as u32 + 1;
    let text = marked.replacen(HERE, "", 1);
    let error = match compile(&text, "dir/bad.xml", &[]) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    };
    let found = (error.position.line, error.position.column);
    assert_eq!(found, (line, column), "{error}\nin: {text}");
    scenario_support::assert_inside(&error, &text);
    error
}

/// `steps` in a scenario that would be fine otherwise.
fn around(steps: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<scenario name=\"t\">\n{steps}\n\
         <send><![CDATA[\nINFO sip:a SIP/2.0\n]]></send>\n</scenario>\n"
    )
}

fn check(cases: &[(&str, &str, &str)]) {
    for (steps, message, hint) in cases {
        let error = refuse(&around(steps));
        assert!(error.message.contains(message), "{steps}:\n{error}\nlacks: {message}");
        assert!(error.hint.contains(hint), "{steps}:\n{error}\nlacks: {hint}");
    }
}

#[test]
fn files_that_are_no_scenario() {
    for (text, message) in [
        ("¶", "no XML element"),
        ("¶<!-- only a comment -->", "no XML element"),
        ("¶<sipp/>", "root element is <sipp>"),
        ("<scenario>\n¶</scenari>", "</scenari> closes nothing"),
        ("¶<scenario>\n", "never closed"),
        ("<scenario><send>A b</send></scenario>\n¶<scenario/>", "second root"),
        ("¶<scenario/>", "neither a <send> nor a <recv>"),
        ("<scenario ¶webrtc=\"maybe\"><send>A b</send></scenario>", "neither true nor false"),
    ] {
        let error = refuse(text);
        assert!(error.message.contains(message), "{text}: {error}");
    }
    let huge = " ".repeat(FILE_BYTES_MAX + 1);
    assert!(compile(&huge, "f", &[]).unwrap_err().message.contains("bytes"));
}

#[test]
fn elements() {
    check(&[
        ("¶<rcev request=\"INVITE\"/>", "unknown element <rcev>", "did you mean \"recv\""),
        ("¶<Pause/>", "unknown element <Pause>", "did you mean \"pause\""),
        ("¶<frobnicate/>", "unknown element <frobnicate>", "elements are"),
        ("¶<sendCmd/>", "<sendCmd> without a command", "CDATA"),
        ("<sendCmd ¶dest=\" \">x</sendCmd>", "names no instance", "-slave_cfg"),
        ("<recvCmd ¶src=\"a;b\"/>", "names no instance", ""),
        ("<recvCmd ¶timeout=\"soon\"/>", "is not a number of milliseconds", ""),
        ("¶<DefaultMessage id=\"bye\"/>", "without a message", "CDATA"),
        (
            "<DefaultMessage ¶id=\"cancle\">BYE a</DefaultMessage>",
            "message \"cancle\"",
            "\"cancel\"",
        ),
        ("<DefaultMessage id=\"bye\">¶ACK a</DefaultMessage>", "begins with ACK", "BYE"),
        ("¶<DefaultMessage>BYE a</DefaultMessage>", "needs id=", ""),
        ("<timewait/>\n¶<pause/>", "<pause> after <timewait>", "line 3"),
        ("<init>¶<pause/></init>", "<pause> inside <init>", "<nop> and <label>"),
        ("<init>¶<frob/></init>", "unknown element <frob>", ""),
        ("<init>¶<sendCmd/></init>", "<sendCmd> inside <init>", ""),
        ("¶<label/>", "<label> needs id=", ""),
        ("<label id=\"a\"/>\n<label ¶id=\"a\"/>", "label \"a\" defined twice", ""),
        ("<init><label ¶id=\"_unexp.main\"/></init>", "inside <init>", ""),
        ("¶<Global/>", "<Global> needs variables=", ""),
        ("<Global ¶variables=\"$x\"/>", "\"$x\" is not a variable name", "'$'"),
    ]);
}

#[test]
fn attributes_of_steps() {
    check(&[
        ("<recv ¶reqeust=\"A\"/>", "no attribute \"reqeust\"", "did you mean \"request\""),
        ("¶<recv/>", "<recv> needs request= or response=", ""),
        ("<recv ¶response=\"200,183\"/>", "not a status code", "regexp_match"),
        ("<recv ¶response=\"(\" regexp_match=\"true\"/>", "invalid regular expression", ""),
        ("<recv request=\"A\" ¶optional=\"maybe\"/>", "optional=\"maybe\"", "true, false, global"),
        ("<recv request=\"A\" ¶advance_state=\"false\"/>", "needs optional", ""),
        ("<recv request=\"A\" ¶timeout=\"1s\"/>", "timeout=\"1s\" is not a number", ""),
        ("<recv response=\"401\" ¶auth=\"maybe\"/>", "neither true nor false", ""),
        ("<recv response=\"200\" ¶response_txn=\"i\"/>", "\"i\" is never started", "start_txn"),
        ("<recv request=\"A\" ¶response_txn=\"i\"/>", "response_txn= needs response=", ""),
        ("<recv request=\"A\" ¶rrs=\"maybe\"/>", "neither true nor false", "true or false"),
        ("¶<recv request=\"A\" optional=\"true\"/>", "followed by the step at line 4", "mandatory"),
        ("¶<recv request=\"A\" optional=\"global\"/>", "followed by the step at line 4", ""),
        ("<nop ¶start_rtd=\"a\"/>", "rtd \"a\" is never stopped", "rtd=\"a\""),
        ("<nop ¶repeat_rtd=\"true\"/>", "repeat_rtd= needs rtd=", ""),
        ("<nop ¶counter=\"\"/>", "counters need a name", ""),
        ("<nop ¶lost=\"inf\"/>", "finite", ""),
        ("<nop ¶next=\"nowhere\"/>", "no label \"nowhere\"", "<label id=\"nowhere\"/>"),
        (
            "<label id=\"finish\"/><nop ¶next=\"finsih\"/>",
            "no label \"finsih\"",
            "did you mean \"finish\"",
        ),
        ("<nop ¶ontimeout=\"nowhere\"/>", "no label \"nowhere\"", ""),
        ("<init><label id=\"a\"/></init><nop ¶next=\"a\"/>", "no label \"a\"", ""),
        ("<label id=\"a\"/><nop next=\"a\" ¶chance=\"50\"/>", "from 0 to 1", "0.5"),
        (
            "<nop ¶condexec=\"x\"/>",
            "variable \"x\" is used only once",
            "<Reference variables=\"x\"/>",
        ),
    ]);
}

#[test]
fn pauses() {
    check(&[
        ("<pause ¶milliseconds=\"soon\"/>", "is not a number", ""),
        ("¶<pause milliseconds=\"2147483648\"/>", "99th percentile", "sanity_check"),
        ("<pause ¶distribution=\"nomral\" mean=\"1\"/>", "unknown distribution", "\"normal\""),
        ("<pause ¶distribution=\"gamma\"/>", "\"gamma\" needs k=", ""),
        ("<pause ¶gamma=\"true\"/>", "\"gamma\" needs k=", ""),
        ("<pause negbin=\"true\" n=\"3\" ¶p=\"1.5\"/>", "probability", ""),
        ("¶<pause distribution=\"gamma\" k=\"9e9\" theta=\"1\"/>", "99th percentile", ""),
        (
            "<pause distribution=\"gpareto\" shape=\"1\" ¶scale=\"0\" location=\"0\"/>",
            "above 0",
            "",
        ),
        ("<pause ¶distribution=\"normal\" mean=\"1\"/>", "needs stdev=", ""),
        ("<pause ¶max=\"1\"/>", "needs min=", ""),
        ("<pause distribution=\"weibull\" ¶lambda=\"0\" k=\"1\"/>", "above 0", ""),
        ("<pause ¶variable=\"x\"/>", "used only once", ""),
    ]);
}

#[test]
fn messages() {
    check(&[
        ("¶<send/>", "without a message", "CDATA"),
        ("¶<send><![CDATA[ \n ]]></send>", "without a message", ""),
        ("<send><![CDATA[\n\n  ¶INVITE\n]]></send>", "neither with a method", "written out"),
        ("<send><![CDATA[\n\n  ¶<hello> x\n]]></send>", "neither with a method", ""),
        ("<send>\n<![CDATA[\n  ¶SIP/2.0 OK\n]]></send>", "without a status code", "200 OK"),
        ("<send>\n<![CDATA[\n  ¶SIP/2.0 2000 OK\n]]></send>", "without a status code", ""),
        ("<send>\n<![CDATA[\n  ¶SIP/2.0 [$code] OK\n]]></send>", "without a status code", ""),
        (
            "<send>\n  <![CDATA[\n\n  A b\n   X: y ¶[call_nubmer]\n]]></send>",
            "unknown keyword [call_nubmer]",
            "did you mean \"call_number\"",
        ),
        ("<send><![CDATA[A b\r\n X: ¶[fo\r\no]]]></send>", "without ']'", ""),
        ("<send>A b\n &lt;¶[nope]</send>", "unknown keyword [nope]", "\\x5b"),
        ("<send><![CDATA[A ¶[branch ]]></send>", "'[' without ']'", "\\x5b"),
        ("<send><![CDATA[A ¶[authentication aka_K=0x1]]]></send>", "aka_K=", "0x and 32 digits"),
        ("<send><![CDATA[A ¶[field0 file=\"a.csv\"]]]></send>", "injection file", "-inf FILE"),
        ("<send><![CDATA[A ¶[file name=a]]]></send>", "no files can be read here", ""),
        ("<send><![CDATA[A ¶[cryptotag3audio]]]></send>", "unknown keyword", ""),
        ("<send><![CDATA[A ¶[cryptotag1audio+1]]]></send>", "takes no offset", ""),
        ("<send><![CDATA[A ¶[webrtc_offer x]]]></send>", "takes no arguments", ""),
        ("<send><![CDATA[A ¶[$x]]]></send>", "used only once", "Reference"),
        ("<send><![CDATA[A ¶[$]]]></send>", "not a variable name", ""),
        ("<send><![CDATA[A\n¶[len][len][len][len][len]]]></send>", "[len]", ""),
        (
            "<send ¶start_txn=\"i\"><![CDATA[A b]]></send>",
            "\"i\" is never answered",
            "response_txn",
        ),
        ("<send ¶ack_txn=\"i\"><![CDATA[ACK b]]></send>", "\"i\" is never started", "start_txn"),
        ("<send ¶start_txn=\"i\"><![CDATA[ACK b]]></send>", "on an ACK", "ack_txn"),
        ("<send ¶ack_txn=\"i\"><![CDATA[A b]]></send>", "not an ACK", ""),
        ("<send ¶start_txn=\"i\"><![CDATA[SIP/2.0 200 OK]]></send>", "on a response", ""),
        (
            "<send ¶start_txn=\"i\"><![CDATA[INVITE b]]></send><recv response=\"200\" response_txn=\"i\"/>",
            "never ACKed",
            "ack_txn",
        ),
        (
            "<send start_txn=\"i\"><![CDATA[INFO b]]></send><recv response=\"200\" response_txn=\"i\"/>\
             <send ¶ack_txn=\"i\"><![CDATA[ACK b]]></send>",
            "not one of an INVITE",
            "",
        ),
        ("<send ¶timeout=\"5s\"><![CDATA[A b]]></send>", "is not a number", ""),
    ]);
}

/// Checks each of `actions` in a step of its own.
fn check_actions(cases: &[(&str, &str, &str)]) {
    for (actions, message, hint) in cases {
        let step = format!("<nop>\n<action>{actions}</action>\n</nop>");
        check(&[(&format!("{step}<Reference variables=\"a,b\"/>"), message, hint)]);
    }
}

#[test]
fn actions() {
    check_actions(&[
        ("¶<assgin/>", "unknown action <assgin>", "did you mean \"assign\""),
        ("¶<frobnicate/>", "unknown action", "actions are"),
        (
            "<lookup assign_to=\"a\" ¶file=\"b.csv\" key=\"c\"/>",
            "there is no such file",
            "-inf FILE",
        ),
        ("<setdest host=\"a\" port=\"1\" ¶protocol=\"tls\"/>", "is not udp", "keeps the transport"),
        ("¶<pauserestore/>", "needs value= or variable=", ""),
        ("¶<log/>", "<log> needs message=", ""),
        ("<log ¶mesage=\"a\"/>", "no attribute \"mesage\"", "did you mean \"message\""),
        ("<log message=\"a&quot;b\n ¶[nope]\"/>", "unknown keyword [nope]", ""),
        ("¶<assign assign_to=\"a\"/>", "needs value= or variable=", ""),
        ("<assign assign_to=\"a\" value=\"1\" ¶variable=\"b\"/>", "together", "one of the two"),
        ("<assign ¶assign_to=\"$a\" value=\"1\"/>", "not a variable name", "'$'"),
        ("<assign assign_to=\"a\" ¶value=\"one\"/>", "value=\"one\" is not a number", ""),
        ("<assign assign_to=\"a\" ¶value=\"nan\"/>", "finite", ""),
        ("<divide assign_to=\"a\" ¶value=\"0\"/>", "division by zero", ""),
        ("<test variable=\"a\" ¶compare=\"same\" value=\"1\"/>", "not a comparison", "not_equal"),
        (
            "<test variable=\"a\" compare=\"eq\" value=\"1\" check_it=\"true\" \
             ¶check_it_inverse=\"true\"/>",
            "together would fail every call",
            "",
        ),
        ("<gettimeofday ¶assign_to=\"a\"/>", "needs two variables", "seconds,microseconds"),
        ("¶<sample assign_to=\"a\"/>", "<sample> needs distribution=", "min=1 max=10"),
        ("<sample assign_to=\"a\" ¶value=\"min=1\"/>", "max= is missing", "min=1 max=10"),
        ("<sample assign_to=\"a\" ¶value=\"min=5 max=1\"/>", "larger than max=", ""),
        ("<sample assign_to=\"a\" ¶value=\"min=1 max=x\"/>", "not a whole number", ""),
        ("<sample assign_to=\"a\" ¶value=\"min=1 max=2 step=0\"/>", "above 0", ""),
        ("<sample assign_to=\"a\" ¶value=\"min=1 max=2 min=1\"/>", "twice", ""),
        ("<sample assign_to=\"a\" ¶value=\"min=0 max=1000000\"/>", "1000001 values", ""),
        ("<sample assign_to=\"a\" ¶value=\"min=1 max=2 seed=7\"/>", "whole run", "-seed N"),
        ("<sample assign_to=\"a\" ¶value=\"min=1 max=2 by=7\"/>", "is none of", ""),
        ("<ereg ¶regexp=\"a(\"/>", "invalid regular expression", ""),
        ("<ereg ¶regexp=\"[[:num:]]\"/>", "no class [:num:]", ""),
        ("<ereg regexp=\"a\" ¶search_in=\"header\"/>", "search_in=\"header\"", "msg, hdr, body"),
        ("¶<ereg regexp=\"a\" search_in=\"hdr\"/>", "<ereg> needs header=", ""),
        ("¶<ereg regexp=\"a\" search_in=\"var\"/>", "<ereg> needs variable=", ""),
        ("<exec ¶play_pcap_audio=\"\"/>", "it names no file", ""),
        ("<exec ¶rtp_stream=\"mic\"/>", "has no microphone", ""),
        ("<exec ¶rtp_stream=\"a.wav,1,0,MP3/8000\"/>", "is no encoding that can be played", ""),
        ("<exec ¶rtp_stream=\"[$x][$x]\"/>", "it depends on the call", "-key"),
        ("<exec ¶play_dtmf=\"12E\"/>", "digits are 0 to 9", ""),
        ("<exec ¶rtp_connect=\"host:6000\"/>", "it is no address", "[remote_ip]:[remote_port]"),
        ("<exec ¶rtp_connect=\"192.0.2.1\"/>", "it is no address", "IP:PORT"),
        (
            "<exec rtp_connect=\"[remote_ip]:1\" ¶format=\"0,PCMA\"/>",
            "payload type 0 is PCMU/8000, and not PCMA/8000",
            "",
        ),
        ("<exec ¶rtp_echo=\"start\"/>", "is none of startaudio", ""),
        ("<exec ¶rtpcheck=\"direction=up\"/>", "is none of any, recv", ""),
        ("<exec ¶rtp_record=\"begin\"/>", "write start,FILE.wav", ""),
        ("<exec ¶rtp_record=\"start,a/\"/>", "names a folder and no file", ""),
        ("<exec ¶rtp_record=\"start,[$x]/a\"/>", "its folder depends on the call", "-key"),
        ("<exec ¶rtp_dtmf=\"give\" assign_to=\"x\"/>", "it is not \"take\"", "assign_to="),
        ("¶<rtp_echo/>", "<rtp_echo> needs value= or variable=", ""),
        ("¶<exec/>", "<exec> needs int_cmd=", ""),
    ]);
    check(&[("¶<nop><action><jump value=\"3\"/></action></nop>", "<jump> to 3", "from 0 to 2")]);
}

#[test]
fn names_that_are_used_once_or_too_many() {
    let error = refuse(&around("<Global ¶variables=\"x\"/>"));
    assert!(error.message.contains("declared but never used"), "{error}");
    let error = refuse(&around(
        "<nop condexec=\"counter\"/><nop condexec=\"counter\"/><nop ¶condexec=\"conuter\"/>",
    ));
    assert!(error.hint.contains("did you mean \"counter\""), "{error}");
    let many = |prefix: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("{prefix}{at}")).collect();
        names.join(",")
    };
    let error = refuse(&around(&format!("<Global ¶variables=\"{}\"/>", many("v", 70_000))));
    assert!(error.message.contains("more than 4096 variables"), "{error}");
    let error = refuse(&around(&format!("<nop ¶start_rtd=\"{}\"/>", many("r", 70_000))));
    assert!(error.message.contains("more than 256 different durations"), "{error}");
    let lines: Vec<String> = (0..64).map(|at| format!("[last_H{at}]\n")).collect();
    let error = refuse(&around(&format!(
        "<send><![CDATA[A b\n{}¶[last_One-More:]\n]]></send>",
        lines.concat()
    )));
    assert!(error.message.contains("more than 64 different"), "{error}");
    let steps = "<nop/>".repeat(4096);
    let text = around(&format!("{steps}<nop/>"));
    assert!(compile(&text, "f", &[]).unwrap_err().message.contains("more than 4096 steps"));
    let line = "[pid]".repeat(70_000);
    let text = around(&format!("<send><![CDATA[A b\n{line}\n]]></send>"));
    assert!(compile(&text, "f", &[]).unwrap_err().message.contains("keywords in one line"));
    let attributes: String = (0..300).map(|at| format!(" a{at}=''")).collect();
    let text = around(&format!("<nop{attributes}/>"));
    assert!(compile(&text, "f", &[]).unwrap_err().message.contains("attributes"));
}

#[test]
fn keys_that_blow_a_message_up() {
    let keys = [("k".to_owned(), "x".repeat(100_000))];
    let text = around(&format!("<send><![CDATA[A {}]]></send>", "[k]".repeat(100_000)));
    let error = compile(&text, "f", &keys).unwrap_err();
    assert!(error.message.contains("more than 1048576 bytes"), "{error}");
}

#[test]
fn a_text_that_is_put_in_too_often() {
    let keys = [("k".to_owned(), "x".repeat(1_000_000))];
    let text = around(&"<nop><action><log message=\"[k]\"/></action></nop>".repeat(40));
    let error = compile(&text, "f", &keys).unwrap_err();
    assert!(error.message.contains("more than 33554432 bytes"), "{error}");
}

#[test]
fn sizes_that_a_file_chooses() {
    let actions = |count: usize| "\n<log message=\"\"/>".repeat(count);
    let text = |count: usize| around(&format!("<nop><action>{}</action></nop>", actions(count)));
    assert!(compile(&text(65_536), "f", &[]).is_ok());
    let error = compile(&text(65_537), "f", &[]).unwrap_err();
    assert!(error.message.contains("more than 65536 actions"), "{error}");
    assert_eq!(error.position.line, 3 + 65_537, "{error}");
    let error = compile(&text(140_000), "f", &[]).unwrap_err();
    assert!(error.message.contains("more than 131072 elements"), "{error}");
    assert!(error.position.line > 131_000, "{error}");
    let unknown: String = (0..250).map(|at| format!(" a{at}=''")).collect();
    let error = compile(&around(&format!("<nop{unknown}/>").repeat(2200)), "f", &[]);
    assert!(error.unwrap_err().message.contains("more than 524288 attributes"));
    for name in ["rtd", "counter", "display"] {
        let text = around(&format!("<nop {name}=\"{}\"/>", "n".repeat(257)));
        let error = compile(&text, "f", &[]).unwrap_err();
        assert!(error.message.contains("a name of more than 256 bytes"), "{error}");
    }
}

#[test]
fn the_whole_text_of_an_error() {
    let shown = |marked: &str| refuse(marked).to_string();
    assert_eq!(
        shown(&around("  <recv ¶reponse=\"200\"/>")),
        "dir/bad.xml:3:9: <recv> has no attribute \"reponse\"\n  hint: did you mean \"response\"?"
    );
    assert_eq!(
        shown(&around(
            "<send>\n  <![CDATA[\n    BYE sip:a SIP/2.0\n    X: ¶[caller_id]\n  ]]>\n</send>"
        )),
        "dir/bad.xml:6:8: unknown keyword [caller_id]\n  hint: did you mean \"call_id\"?"
    );
    assert_eq!(
        shown(&around("<nop ¶next=\"end\"/>")),
        "dir/bad.xml:3:6: no label \"end\"\n  \
         hint: add <label id=\"end\"/> at the target of the jump"
    );
    assert_eq!(
        decode(b"\xff\xfe<\0s\0", "dir/bad.xml").unwrap_err().to_string(),
        "dir/bad.xml:1:1: the file is UTF-16\n  \
         hint: save it as UTF-8: no SIP message is written in UTF-16"
    );
    assert_eq!(
        load_builtin("usa", &[]).unwrap_err().to_string(),
        "no built-in scenario \"usa\"\n  hint: did you mean \"uas\"? \
         built-in scenarios are uac, uas, regexp, branchc, branchs, options, management, \
         ooc_default, ooc_dummy, 3pcc-C-A, 3pcc-C-B, 3pcc-A, 3pcc-B, invite_media, \
         invite_media_scale, invite_media_early, invite_media_early_180, uac_pcap, uac_dtmf, \
         uac_dtmf_info, uac_media, uas_media, invite_media_savpf, webrtc_uac, webrtc_uas, and 50 of the \
         laboratory, such as one_way"
    );
}
