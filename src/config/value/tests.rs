use super::*;

#[test]
fn integers_are_read_in_the_bases_of_c() {
    for (text, number) in
        [("10", 10), ("0x10", 16), ("0X1f", 31), ("010", 8), ("0", 0), ("-0x10", -16), ("+5", 5)]
    {
        assert_eq!(parse_integer(text), Ok(number), "{text}");
    }
    for text in ["", "-", "0x", "08", "1.5", "5 ", "--5", "0x-5", "ten", "1_000"] {
        assert!(parse_integer(text).is_err(), "{text}");
    }
}

#[test]
fn a_number_beyond_every_integer_is_an_error() {
    assert!(parse_integer(&"9".repeat(60)).is_err());
}

#[test]
fn infinities_are_no_numbers() {
    assert_eq!(parse_float("0.5"), Ok(0.5));
    assert_eq!(parse_float("1e3"), Ok(1000.0));
    for text in ["inf", "-inf", "nan", "infinity", "", "1e999", "0x10"] {
        assert!(parse_float(text).is_err(), "{text}");
    }
}

#[test]
fn times_take_a_suffix_or_the_unit_of_their_option() {
    for (text, seconds_ms, milliseconds_ms) in [
        ("5", 5000, 5),
        ("5s", 5000, 5000),
        ("5ms", 5, 5),
        ("1.5s", 1500, 1500),
        ("2m", 120_000, 120_000),
        ("1h", 3_600_000, 3_600_000),
        ("0", 0, 0),
    ] {
        assert_eq!(parse_time_ms(text, TimeUnit::Seconds), Ok(seconds_ms), "{text}");
        assert_eq!(parse_time_ms(text, TimeUnit::Milliseconds), Ok(milliseconds_ms), "{text}");
    }
    for text in ["", "s", "ms", "-5", "5d", "5 s", "1:30", "1e300h", "1m30s"] {
        assert!(parse_time_ms(text, TimeUnit::Seconds).is_err(), "{text}");
    }
}

#[test]
fn truth_values_may_be_integers() {
    for (text, value) in [("true", true), ("false", false), ("1", true), ("0", false), ("7", true)]
    {
        assert_eq!(parse_bool(text), Ok(value), "{text}");
    }
    assert!(parse_bool("yes").is_err());
}

#[test]
fn endpoints_take_names_and_both_address_families() {
    for (text, host, port) in [
        ("example.com", "example.com", 5060),
        ("example.com:5070", "example.com", 5070),
        ("192.0.2.1", "192.0.2.1", 5060),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[2001:db8::1]", "2001:db8::1", 5060),
        ("[2001:db8::1]:5070", "2001:db8::1", 5070),
        ("::1", "::1", 5060),
        ("[fe80::1%eth0]:5070", "fe80::1%eth0", 5070),
    ] {
        let expected = HostPort { host: host.to_owned(), port };
        assert_eq!(HostPort::parse(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        ":5060",
        "host:",
        "host:0",
        "host:65536",
        "host:sip",
        "host:+5",
        "[::1",
        "[::1]5060",
        "[host]:5060",
        "a b",
        "sip:a@b",
        "user@host",
        "1:2:3",
        "<script>",
        "[fe80::1%]",
    ] {
        assert!(HostPort::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_prints_as_it_can_be_read_again() {
    for text in ["[2001:db8::1]:5070", "example.com:5060"] {
        assert_eq!(HostPort::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn addresses_may_stand_in_brackets_if_they_are_ipv6() {
    assert_eq!(parse_ip("[::1]"), parse_ip("::1"));
    for text in ["::ffff:192.0.2.1", "[::ffff:c000:201]"] {
        assert_eq!(parse_ip(text), parse_ip("192.0.2.1"), "{text}");
        assert_eq!(HostPort::parse(text).unwrap().ip(), parse_ip("192.0.2.1").ok(), "{text}");
    }
    for text in ["", "localhost", "[127.0.0.1]", "1.2.3", "127.0.0.1:5060"] {
        assert!(parse_ip(text).is_err(), "{text}");
    }
}

#[test]
fn cpu_lists_keep_their_order_and_refuse_doubles() {
    assert_eq!(parse_cpu_list("8,0-3"), Ok(vec![8, 0, 1, 2, 3]));
    for text in ["", ",", "0,", "3-1", "1,1", "0-3,2", "a", "-1", "0-99999999", "+1"] {
        assert!(parse_cpu_list(text).is_err(), "{text}");
    }
}

#[test]
fn behaviors_start_from_none_and_apply_from_left_to_right() {
    assert_eq!(parse_behaviors("all"), Ok(DefaultBehaviors::ALL));
    assert_eq!(parse_behaviors("bye,none"), Ok(DefaultBehaviors::NONE));
    assert_eq!(parse_behaviors("-bye,-abortunexp"), Ok(DefaultBehaviors::NONE));
    let all_but_bye = DefaultBehaviors { bye: false, ..DefaultBehaviors::ALL };
    assert_eq!(parse_behaviors("all,-bye"), Ok(all_but_bye));
    let only_cseq = DefaultBehaviors { cseq_check: true, ..DefaultBehaviors::NONE };
    assert_eq!(parse_behaviors("none,+cseq"), Ok(only_cseq));
    assert!(parse_behaviors("").is_err());
    assert!(parse_behaviors("all,byes").is_err());
}
