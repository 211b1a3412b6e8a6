//! Options that choose the scenario and fill its keywords.

use super::{
    Accept, COLUMN_MAX, FlagGroup, Immediate, Status, alias, refused, row, switch, takes, within,
};
use crate::config::{
    parse_call_id_format, parse_call_ids, parse_header_line, parse_header_text, parse_tdm_map,
};

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Scenario",
    flags: &[
        takes(
            "sf",
            &["FILE"],
            Accept::Path(|d, v| d.scenario_file = Some(v)),
            "Run the XML scenario in FILE",
        ),
        takes(
            "sn",
            &["NAME"],
            Accept::Text(|d, v| d.scenario_name = Some(v)),
            "Run the built-in scenario NAME, such as uac or uas",
        )
        .default("uac"),
        row(
            "sd",
            &["NAME"],
            Status::Immediate(Immediate::DumpScenario),
            "Print the built-in scenario NAME as XML and exit",
        ),
        takes(
            "s",
            &["USER"],
            Accept::Text(|d, v| d.service = v),
            "[service]: the user part of the request URI",
        )
        .default("service"),
        takes(
            "key",
            &["NAME", "TEXT"],
            Accept::Pair(|d, name, text| d.keys.push((name, text))),
            "Define the keyword [NAME] as TEXT; may be repeated",
        ),
        takes(
            "set",
            &["NAME", "TEXT"],
            Accept::Pair(|d, name, text| d.rules.sets.push((name, text))),
            "Start the global variable NAME with TEXT; may be repeated",
        ),
        takes(
            "base_cseq",
            &["N"],
            within(0, MAX_CSEQ, |d, v| d.rules.base_cseq = v as u32),
            "Number of the first [cseq] of each call",
        )
        .default("1"),
        takes(
            "au",
            &["USER"],
            Accept::Text(|d, v| d.auth_user = Some(v)),
            "User name for digest authentication",
        )
        .default("value of -s"),
        takes(
            "ap",
            &["PASSWORD"],
            Accept::Text(|d, v| d.auth_password = v),
            "Password for digest authentication",
        )
        .default("password"),
        takes(
            "auth_uri",
            &["URI"],
            Accept::Text(|d, v| d.auth_uri = Some(v)),
            "URI in digest credentials, with or without sip:",
        )
        .default("sip: and the remote address"),
        takes(
            "inf",
            &["FILE"],
            Accept::Path(|d, v| d.injection.push(v)),
            "Fill [fieldN] from the CSV file FILE; may be repeated, the first is the default",
        ),
        takes(
            "rxinf",
            &["FILE"],
            Accept::Path(|d, v| d.injection_receiving = Some(v)),
            "Default CSV file of the receiving scenario",
        ),
        takes(
            "infindex",
            &["FILE", "FIELD"],
            Accept::NameAndColumn(|d, name, field| d.injection_indexes.push((name, field))),
            "Index the CSV file FILE by column FIELD (from 0), for <lookup>; FILE,FIELD is the same",
        ),
        takes(
            "ip_field",
            &["N"],
            within(0, COLUMN_MAX, |d, v| d.address_column = Some(v as u16)),
            "Column of the first -inf file, from 0, with the addresses of -t ui",
        )
        .default("0"),
        alias("ipfield", "ip_field").ours(),
        takes(
            "rxsf",
            &["FILE"],
            Accept::Path(|d, v| d.receiving_file = Some(v)),
            "Answer incoming calls with the XML scenario in FILE, while -sf or -sn makes calls",
        ),
        takes(
            "rxrn",
            &["NAME"],
            Accept::Text(|d, v| d.receiving_name = Some(v)),
            "Answer incoming calls with the built-in scenario NAME, while -sf or -sn makes calls",
        ),
        takes(
            "oocsf",
            &["FILE"],
            Accept::Path(|d, v| d.out_of_call_file = Some(v)),
            "Answer messages of unknown calls with the XML scenario in FILE, while making calls",
        ),
        takes(
            "oocsn",
            &["NAME"],
            Accept::Text(|d, v| d.out_of_call_name = Some(v)),
            "Answer messages of unknown calls with the built-in scenario NAME, such as ooc_default",
        ),
        takes(
            "cid_str",
            &["FORMAT"],
            Accept::Parsed(|d, v| {
                parse_call_id_format(v).map(|format| d.call_id_format = Some(format))
            }),
            "Format of Call-IDs: %u call number, %p process, %s local address, %r random, %%",
        )
        .default("a format that needs no table for lookup"),
        takes(
            "cid_type",
            &["TYPE"],
            Accept::Parsed(|d, v| parse_call_ids(v).map(|ids| d.call_ids = Some(ids))),
            "Kind of Call-IDs: default, format (%u-%p@%s, or as -cid_str), uuid, uuid-compact, \
             random-hex, timestamp",
        )
        .default("default"),
        takes(
            "tdmmap",
            &["MAP"],
            Accept::Parsed(|d, v| parse_tdm_map(v).map(|map| d.circuits = Some(map))),
            "Circuits that calls take, for [tdmmap], as {0-3}{99}{5-8}{1-31}",
        ),
        takes(
            "dynamicStart",
            &["N"],
            within(0, DYNAMIC_ID_MAX, |d, v| d.rules.dynamic_ids.start = v),
            "First value of [dynamic_id]",
        )
        .default("10000"),
        takes(
            "dynamicMax",
            &["N"],
            within(0, DYNAMIC_ID_MAX, |d, v| d.rules.dynamic_ids.max = v),
            "Highest value of [dynamic_id]",
        )
        .default("12000"),
        takes(
            "dynamicStep",
            &["N"],
            within(0, DYNAMIC_ID_MAX, |d, v| d.rules.dynamic_ids.step = v),
            "Step of [dynamic_id]",
        )
        .default("4"),
        switch("no_exec", |d| d.commands = false, "Refuse scenarios with exec command=").ours(),
        takes(
            "sip_from",
            &["TEXT"],
            Accept::Parsed(|d, v| parse_header_text(v).map(|text| d.trunk.from = Some(text))),
            "From value, before ;tag=, of built-in scenarios; [trunk_from] elsewhere",
        )
        .ours(),
        takes(
            "sip_pai",
            &["TEXT"],
            Accept::Parsed(|d, v| {
                parse_header_text(v).map(|text| d.trunk.asserted_identity = Some(text))
            }),
            "P-Asserted-Identity of built-in scenarios; the line [trunk_pai] elsewhere",
        )
        .ours(),
        takes(
            "sip_provider",
            &["TEXT"],
            Accept::Parsed(|d, v| parse_header_text(v).map(|text| d.trunk.provider = Some(text))),
            "X-provider of built-in scenarios; the line [trunk_provider] elsewhere",
        )
        .ours(),
        takes(
            "sip_extra_header",
            &["LINE"],
            Accept::Parsed(|d, v| {
                parse_header_line(v).map(|line| d.trunk.extra_headers.push(line))
            }),
            "One more header line in built-in scenarios, [trunk_extra] elsewhere; may be repeated",
        )
        .ours(),
        takes(
            "config",
            &["FILE"],
            Accept::Path(|d, v| d.profiles.file = Some(v)),
            "JSON file with run profiles, for -run-alias and -list-aliases (gossipper server: with \
             the configuration of the server)",
        )
        .ours(),
        takes(
            "run-alias",
            &["NAME"],
            Accept::Text(|d, v| d.profiles.alias = Some(v)),
            "Run the profile NAME of the -config file; options of the command line override it",
        )
        .ours(),
        switch(
            "list-aliases",
            |d| d.profiles.list = true,
            "Print the names of the profiles in the -config file and exit",
        )
        .ours(),
        refused("config-server", &["FILE"], SERVER_FORM, "Configuration of a server").ours(),
        refused("config-client", &["FILE"], SERVER_FORM, "Configuration of a client").ours(),
        refused("server", &[], SERVER_FORM, "Run as a server").ours(),
    ],
};

/// RFC 3261, section 8.1.1.5: a CSeq number is below 2^31.
const MAX_CSEQ: u64 = (1 << 31) - 1;

/// The greatest dynamic id: far from an overflow of sums.
const DYNAMIC_ID_MAX: u64 = i64::MAX as u64 / 2;

const SERVER_FORM: &str = "it was removed; write gossipper server -config FILE";
