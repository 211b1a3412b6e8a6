//! Every option of SIPp is known, so that none is taken for a typing mistake.

use std::ffi::OsString;

use gossipper::cli::{Action, parse};
use gossipper::options::{self, Origin, Status};

/// The option names of SIPp 3.7.7 and the commits after it, SCTP builds included.
const SIPP_OPTIONS: &str = "
    sd sf sn rxsf rxrn oocsf oocsn
    t i p bind_local bind_to_device ci cp max_socket max_reconnect reconnect_close reconnect_sleep
    rsa tls_cert tls_key tls_ca tls_crl tls_version
    multihome heartbeat assocmaxret pathmaxret pmtu gracefulclose
    v h help bg nostdin plugin sleep skip_rlimit buff_size sendbuffer_warn lost key set tdmmap
    dynamicStart dynamicMax dynamicStep
    aa base_cseq cid_str cid_type d deadcall_wait auth_uri au ap s default_behaviors nd
    pause_msg_ign callid_slash_ign
    inf rxinf infindex ip_field
    mi rtp_echo mb min_rtp_port max_rtp_port mp rtp_payload rtp_threadtasks rtp_buffsize
    rtpcheck_debug srtpcheck_debug audiotolerance videotolerance random_base_ssrc
    r rp rate_scale rate_increase rate_max rate_interval no_rate_quit l m users
    recv_timeout send_timeout timeout timeout_error max_retrans max_invite_retrans
    max_non_invite_retrans nr rtcheck T2
    3pcc master slave slave_cfg
    timer_resol max_recv_loops max_sched_loops watchdog_interval watchdog_reset
    watchdog_minor_threshold watchdog_major_threshold watchdog_major_maxtriggers
    watchdog_minor_maxtriggers
    f trace_stat stf stat_delimiter fd rfc3339 periodic_rtd
    trace_msg trace_shortmsg trace_err trace_logs trace_calldebug trace_screen
    message_file shortmessage_file error_file log_file calldebug_file screen_file
    message_overwrite shortmessage_overwrite error_overwrite log_overwrite calldebug_overwrite
    screen_overwrite
    trace_counts trace_error_codes trace_rtt rtt_freq
    ringbuffer_files ringbuffer_size max_log_size
";

/// The SIPp options that this version supports. Options of our own stand in the golden files of
/// the help only.
const SUPPORTED: &str = "
    bg timer_resol max_recv_loops max_sched_loops watchdog_interval watchdog_reset
    watchdog_minor_threshold watchdog_major_threshold watchdog_minor_maxtriggers
    watchdog_major_maxtriggers sd sf sn rxsf rxrn oocsf oocsn t i p bind_local max_socket
    rsa v h help sleep skip_rlimit buff_size key set auth_uri inf rxinf infindex ip_field
    cid_str cid_type tdmmap dynamicStart dynamicMax dynamicStep base_cseq d deadcall_wait au
    ap s default_behaviors nd pause_msg_ign aa mi min_rtp_port mp max_rtp_port r rp
    rate_scale rate_increase rate_max rate_interval no_rate_quit ci cp l m users
    recv_timeout send_timeout timeout timeout_error max_retrans max_invite_retrans
    max_non_invite_retrans nr rtcheck T2 lost nostdin f trace_stat stf stat_delimiter fd
    rfc3339 periodic_rtd trace_msg trace_shortmsg trace_err trace_logs trace_calldebug
    trace_screen message_file shortmessage_file error_file log_file calldebug_file
    screen_file message_overwrite shortmessage_overwrite error_overwrite log_overwrite
    calldebug_overwrite screen_overwrite trace_counts trace_error_codes trace_rtt rtt_freq
    ringbuffer_files ringbuffer_size max_log_size bind_to_device max_reconnect
    reconnect_close reconnect_sleep sendbuffer_warn 3pcc master slave slave_cfg
    callid_slash_ign tls_cert tls_key tls_ca tls_crl tls_version
    rtp_echo mb rtp_payload rtp_threadtasks rtp_buffsize random_base_ssrc
    rtpcheck_debug srtpcheck_debug audiotolerance videotolerance
";

#[test]
fn the_table_has_every_option_of_sipp_and_marks_no_other_as_sipps() {
    let mut ours: Vec<_> =
        options::all().filter(|f| f.origin == Origin::Sipp).map(|f| f.name).collect();
    let mut theirs: Vec<_> = SIPP_OPTIONS.split_whitespace().collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}

#[test]
fn what_is_supported_of_sipp_is_what_is_meant_to_be() {
    let sipps = options::all().filter(|flag| flag.origin == Origin::Sipp);
    let mut available: Vec<_> =
        sipps.filter(|flag| flag.is_available()).map(|flag| flag.name).collect();
    let mut expected: Vec<_> = SUPPORTED.split_whitespace().collect();
    available.sort_unstable();
    expected.sort_unstable();
    assert_eq!(available, expected);
}

#[test]
fn options_that_are_missing_or_refused_fail_by_name_with_one_dash_and_two() {
    for flag in options::all().filter(|flag| !flag.is_available()) {
        for dashes in ["-", "--"] {
            let option = format!("{dashes}{}", flag.name);
            let mut argv: Vec<OsString> = vec!["sipp".into(), option.clone().into()];
            argv.extend(flag.metavars().iter().map(|_| OsString::from("1")));
            match parse(argv) {
                Action::Fail { text, exit_code: 255 } => {
                    assert!(text.to_string().contains(&option), "{text}");
                    let is_refused = matches!(flag.status, Status::Refused(_));
                    assert_eq!(text.to_string().contains("refused"), is_refused, "{text}");
                }
                other => panic!("{option}: {other:?}"),
            }
        }
    }
}
