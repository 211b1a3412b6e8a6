//! From a command line to the configuration of a run: defaults of both names, and contradictions.

use std::ffi::OsString;
use std::path::PathBuf;

use gossipper::cli::{Action, parse};
use gossipper::config::{
    CallLimit, ColorChoice, ConcurrencyLimit, ControlPort, DefaultBehaviors, DuplicateCheck,
    Flavor, HostPort, IoChoice, RunConfig, ScenarioSource, Transport,
};

fn argv(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn run(line: &str) -> RunConfig {
    match parse(argv(line)) {
        Action::Run(config) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

/// The error text of a line, up to the usage.
fn error(line: &str) -> String {
    match parse(argv(line)) {
        Action::Fail { text, exit_code } => {
            assert_eq!(exit_code, 255, "{line}");
            let text = text.to_string();
            text.split("\n\nUsage: ").next().unwrap_or_default().to_owned()
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn under_the_name_sipp_the_defaults_are_sipps() {
    let config = run("/usr/bin/sipp 192.0.2.1");
    assert_eq!(config.command.as_deref(), Some("sipp 192.0.2.1"));
    let command = Some("gossipper sipp 192.0.2.1".to_owned());
    let config = RunConfig { command, ..config };
    assert_eq!(run("gossipper sipp 192.0.2.1"), config);
    assert_eq!(run("gossipper sipp sipp 192.0.2.1"), config);
    assert_eq!(config.flavor, Flavor::Sipp);
    assert_eq!(config.control_socket.port, ControlPort::From(8888));
    assert_eq!(run("sipp -cp 9 h").control_socket.port, ControlPort::Given(9));
    assert_eq!(config.calls_total, CallLimit::Unlimited);
    assert_eq!(config.concurrent_max, ConcurrencyLimit::SippRule);
    assert_eq!(config.scenario, ScenarioSource::Builtin("uac".to_owned()));
    assert_eq!(config.rate, 10.0);
    assert_eq!(config.rate_period_ms, 1000);
    assert_eq!(config.rate_interval_ms, 60_000);
    assert_eq!(config.rules.deadcall_wait_ms, 33_000);
    assert_eq!(config.rules.retransmission.invite_max, 5);
    assert_eq!(config.rules.retransmission.non_invite_max, 9);
    assert_eq!(config.rules.retransmission.t2_ms, 4000);
    assert_eq!(config.rules.duplicate_check, DuplicateCheck::Full);
    assert_eq!((config.media.port_min, config.media.port_max), (6000, 65_535));
    assert_eq!(config.max_sockets, 50_000);
    // SIPp's 64 KiB lose bursts; a size that is given counts.
    assert_eq!((config.socket_buffer_bytes, config.stream_buffer_bytes), (16 << 20, 0));
    let small = run("sipp -buff_size 65536 192.0.2.1");
    assert_eq!((small.socket_buffer_bytes, small.stream_buffer_bytes), (65_536, 65_536));
    assert_eq!(config.rules.default_behaviors, DefaultBehaviors::ALL);
    assert_eq!((config.rules.recv_timeout_ms, config.timeout_ms), (0, None));
    assert_eq!((config.service.as_str(), config.auth_user.as_str()), ("service", "service"));
    assert_eq!(config.auth_password, "password");
    assert_eq!((config.rules.base_cseq, config.rules.pause_ms), (1, 0));
    assert_eq!(config.local_port, None);
    assert!(
        config.quit_at_rate_max && config.rules.retransmission.enabled && config.gso && config.gro
    );
    assert!(config.notices.is_empty());
}

#[test]
fn the_interval_of_a_ramp_is_in_seconds_and_by_default_that_of_the_rows() {
    for name in ["sipp", "gossipper"] {
        let interval = |options: &str| run(&format!("{name} {options} h")).rate_interval_ms;
        assert_eq!(interval("-rate_interval 1"), 1000);
        assert_eq!(interval("-rate_interval 1.5"), 1500);
        assert_eq!(interval("-rate_interval 250ms"), 250);
        assert_eq!(interval("-rate_interval 2m"), 120_000);
        assert_eq!(interval("-fd 5"), 5000);
        assert_eq!(interval("-rate_interval 2 -fd 5"), 2000);
    }
}

#[test]
fn under_the_name_gossipper_a_client_makes_one_call_and_the_pool_is_the_limit() {
    let config = run("gossipper 192.0.2.1");
    assert_eq!(config.flavor, Flavor::Gossipper);
    assert_eq!(config.calls_total, CallLimit::ClientDefault);
    assert_eq!(config.concurrent_max, ConcurrencyLimit::Pool);
    assert_eq!(config.control_socket.port, ControlPort::Closed);
    assert_eq!(run("gossipper -ci 127.0.0.1 h -cp 1").control_socket.port, ControlPort::Given(1));
    assert_eq!(config.rate, 10.0);
    assert_eq!(config.remote, Some(HostPort { host: "192.0.2.1".to_owned(), port: 5060 }));
}

#[test]
fn explicit_limits_win_over_the_defaults_of_both_names() {
    for program in ["sipp", "gossipper"] {
        let config = run(&format!("{program} -m 0 -l 5 h"));
        assert_eq!(config.calls_total, CallLimit::Unlimited);
        assert_eq!(config.concurrent_max, ConcurrencyLimit::Count(5));
        assert_eq!(run(&format!("{program} -m 0x10 h")).calls_total, CallLimit::Count(16));
        let closed_loop = run(&format!("{program} -users 7 h"));
        assert_eq!(closed_loop.users, Some(7));
        assert_eq!(closed_loop.concurrent_max, ConcurrencyLimit::Pool);
    }
}

#[test]
fn values_reach_their_fields() {
    let config = run("sipp -sf a.xml -t un -i ::1 -p 5070 -rsa [2001:db8::1]:5080 -s alice \
                      -ap -secret -key a b -key c -d -set v 1 -d 1.5s -rp 2s -recv_timeout 2 \
                      -timeout 2 -nr -max_retrans 3 -max_invite_retrans 8 -rtcheck loose -lost 2.5 \
                      -mp 7000 -default_behaviors all,-bye -cpus 2,0 -workers 2 -io syscall \
                      -stat_period 5 -summary_json x.json -health_max_failed_calls 0 -seed 7 \
                      -no_gso -no_gro -color never -sleep 3 -f 2 -aa -nostdin \
                      example.com:5090");
    assert_eq!(config.scenario, ScenarioSource::File(PathBuf::from("a.xml")));
    assert_eq!(config.transport, Transport::UdpMulti);
    assert_eq!(config.transport.code(), "un");
    assert_eq!(config.local_ip, "::1".parse().ok());
    assert_eq!(config.local_port, Some(5070));
    assert_eq!(run("gossipper -cpus 1-3 h").workers, Some(3));
    assert_eq!(config.next_hop().map(ToString::to_string).as_deref(), Some("[2001:db8::1]:5080"));
    assert_eq!(config.remote.map(|r| r.to_string()).as_deref(), Some("example.com:5090"));
    assert_eq!((config.auth_user.as_str(), config.auth_password.as_str()), ("alice", "-secret"));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(config.keys, [pair("a", "b"), pair("c", "-d")]);
    assert_eq!(config.rules.sets, [pair("v", "1")]);
    assert_eq!((config.rules.pause_ms, config.rate_period_ms), (1500, 2000));
    assert_eq!((config.rules.recv_timeout_ms, config.timeout_ms), (2, Some(2000)));
    assert!(!config.rules.retransmission.enabled);
    assert_eq!(
        (config.rules.retransmission.invite_max, config.rules.retransmission.non_invite_max),
        (8, 3)
    );
    assert_eq!(config.rules.duplicate_check, DuplicateCheck::Loose);
    assert_eq!(config.rules.lost_percent, 2.5);
    assert_eq!(config.media.port_min, 7000);
    assert!(!config.rules.default_behaviors.bye && config.rules.default_behaviors.ping_reply);
    assert_eq!((config.cpus.as_slice(), config.workers), (&[2, 0][..], Some(2)));
    assert_eq!(config.io, IoChoice::Syscall);
    assert_eq!((config.stat_period_ms, config.screen_period_ms), (Some(5000), 2000));
    assert_eq!(config.summary_json, Some(PathBuf::from("x.json")));
    assert_eq!(config.health.max_failed_calls, Some(0));
    assert!(config.health.any());
    assert_eq!(config.seed, Some(7));
    assert!(!config.gso && !config.gro && config.rules.auto_answer && config.no_stdin);
    assert_eq!(config.color, ColorChoice::Never);
    assert_eq!(config.start_delay_ms, 3000);
}

#[test]
fn gates_that_are_off_are_no_gates() {
    let config = run("gossipper -health_min_success_ratio 0 -health_max_timeouts -1 h");
    assert!(!config.health.any());
    let config = run("gossipper -health_max_silent_calls -1 -health_max_rtcp_jitter_ts 0 h");
    assert!(!config.health.any());
    // No loss at all is a gate, unlike 0 in the options of the other program.
    assert!(run("gossipper -health_max_rtp_loss 0 h").health.any());
    assert!(run("gossipper -health_max_silent_calls 0 h").health.any());
}

#[test]
fn the_last_of_several_counts_also_across_aliases() {
    assert_eq!(run("sipp -mp 7000 -min_rtp_port 8000 h").media.port_min, 8000);
    assert_eq!(run("sipp -min_rtp_port 8000 -mp 7000 h").media.port_min, 7000);
    assert_eq!(run("sipp -r 1 -r 2 h").rate, 2.0);
    assert_eq!(
        run("sipp -nd -default_behaviors all h").rules.default_behaviors,
        DefaultBehaviors::ALL
    );
    let late_max = run("sipp -max_invite_retrans 8 -max_retrans 3 h");
    assert_eq!(late_max.rules.retransmission.invite_max, 3);
}

#[test]
fn a_server_needs_no_remote_host() {
    assert_eq!(run("gossipper -sn uas").remote, None);
}

#[test]
fn contradictions_name_both_options() {
    for (line, names) in [
        ("sipp -users 5 -l 5 h", ["-users", "-l"]),
        ("sipp -users 5 -rate_increase 1 h", ["-users", "-rate_increase"]),
        ("sipp -users 5 -rate_max 1 h", ["-users", "-rate_max"]),
        ("sipp -sf a.xml -sn uac h", ["-sf", "-sn"]),
        ("sipp -r 10 -rate_increase 1 -rate_max 5 h", ["-rate_max 5", "-r 10"]),
        ("sipp -rate_max 5 h", ["-rate_max 5", "-r 10"]),
        ("sipp -mp 7000 -max_rtp_port 6999 h", ["-min_rtp_port 7000", "-max_rtp_port 6999"]),
        ("sipp -max_rtp_port 5000 h", ["-min_rtp_port 6000", "-max_rtp_port 5000"]),
        ("gossipper -l 11 -max_calls 10 h", ["-l 11", "-max_calls 10"]),
        ("gossipper -users 11 -max_calls 10 h", ["-users 11", "-max_calls 10"]),
        ("gossipper -workers 3 -cpus 0,1 h", ["-workers 3", "-cpus"]),
        ("sipp -i 127.0.0.1 [::1]:5060", ["-i 127.0.0.1", "[::1]:5060"]),
        ("sipp -i ::1 -rsa 127.0.0.1 [::1]", ["-i ::1", "127.0.0.1:5060"]),
        ("gossipper -turn_pass x h", ["-turn_pass", "-turn_server HOST"]),
        ("gossipper -turn_server t -turn_pass x h", ["-turn_pass", "-turn_user NAME"]),
        (
            "gossipper -turn_server t -turn_user u -turn_pass x -turn_secret y h",
            ["-turn_pass", "-turn_secret"],
        ),
        ("gossipper -i ::1 -rtp_send -rtp_addr 127.0.0.1:9", ["-i ::1", "127.0.0.1:9"]),
        ("gossipper -rtp_send -rtp_addr h:9 -users 2", ["-rtp_send", "-users"]),
    ] {
        let message = error(line);
        assert!(names.iter().all(|name| message.contains(name)), "{line}: {message}");
    }
}

#[test]
fn the_address_that_counts_is_the_one_that_packets_go_to() {
    run("sipp -i 127.0.0.1 -rsa 127.0.0.2 [::1]:5060");
    run("sipp -i 127.0.0.1 example.com");
}

#[test]
fn options_without_effect_are_noticed_but_let_pass() {
    for (line, option) in [
        ("sipp -users 5 -r 5 h", "-r"),
        ("sipp -rate_max 50 h", "-rate_max"),
        ("sipp -timeout_error h", "-timeout_error"),
    ] {
        let notices = run(line).notices;
        assert_eq!(notices.len(), 1, "{line}");
        assert!(notices.iter().all(|notice| notice.starts_with(option)), "{notices:?}");
    }
}

#[test]
fn bad_values_name_the_option_and_what_would_be_right() {
    for (line, parts) in [
        ("sipp -r fast h", ["-r:", "0.5"]),
        ("sipp -p 70000 h", ["-p:", "65535"]),
        ("sipp -m 08 h", ["-m:", "octal"]),
        ("sipp -timeout 1d h", ["-timeout:", "ms, s, m or h"]),
        ("sipp -mp x h", ["-mp:", "whole number"]),
        ("sipp -t s1 h", ["-t:", "SCTP"]),
        ("sipp -t l1 -tls_version 1.1 h", ["-tls_version:", "RFC 8996"]),
        ("sipp -t l1 -tls_crl f h", ["-tls_crl", "-tls_ca"]),
        ("sipp -i localhost h", ["-i:", "192.0.2.1"]),
        ("sipp -rsa host:sip h", ["-rsa:", "65535"]),
        ("sipp -rtcheck half h", ["-rtcheck:", "full, loose"]),
        ("sipp sip:alice@example.com", ["remote host:", "-s"]),
    ] {
        let message = error(line);
        assert!(parts.iter().all(|part| message.contains(part)), "{line}: {message}");
    }
}

#[test]
fn a_built_in_scenario_is_dumped_with_the_exit_code_of_the_name() {
    for (line, expected) in [("sipp -sd uas", 99), ("gossipper -sd uas", 0)] {
        match parse(argv(line)) {
            Action::DumpScenario { name, exit_code } => {
                assert_eq!((name.as_str(), exit_code), ("uas", expected));
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn no_arguments_at_all_are_no_reason_to_panic() {
    assert!(matches!(parse(Vec::new()), Action::Print { exit_code: 0, .. }));
}
