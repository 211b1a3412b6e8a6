//! Options that choose the scenario and fill its keywords.

use super::{Accept, FlagGroup, Immediate, Status, alias, later, row, takes, within};

const INJECTION: &str = "injection files (CSV)";
const DYNAMIC_ID: &str = "the keyword [dynamic_id]";

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
            Accept::Text(|d, v| d.service = Some(v)),
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
            Accept::Pair(|d, name, text| d.sets.push((name, text))),
            "Start the global variable NAME with TEXT; may be repeated",
        ),
        takes(
            "base_cseq",
            &["N"],
            within(0, MAX_CSEQ, |d, v| d.base_cseq = Some(v as u32)),
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
            Accept::Text(|d, v| d.auth_password = Some(v)),
            "Password for digest authentication",
        )
        .default("password"),
        later("auth_uri", &["URI"], "a digest URI of its own", "URI to use in digest credentials"),
        later("inf", &["FILE"], INJECTION, "Fill [fieldN] from a CSV file"),
        later("rxinf", &["FILE"], INJECTION, "CSV file of the receiving scenario"),
        later("infindex", &["FILE", "FIELD"], INJECTION, "Index a CSV file by a column"),
        later("ip_field", &["N"], INJECTION, "Column of the CSV file that holds source addresses"),
        alias("ipfield", "ip_field").ours(),
        takes(
            "rxsf",
            &["FILE"],
            Accept::Path(|d, v| d.receiving_file = Some(v)),
            "Answer calls that arrive with the XML scenario in FILE, while -sf or -sn makes calls",
        ),
        takes(
            "rxrn",
            &["NAME"],
            Accept::Text(|d, v| d.receiving_name = Some(v)),
            "Answer calls that arrive with the built-in scenario NAME, while -sf or -sn makes calls",
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
        later("cid_str", &["FORMAT"], "Call-IDs in a format of your own", "Format of Call-IDs"),
        later("cid_type", &["TYPE"], "Call-IDs in a format of your own", "Kind of Call-IDs"),
        later("tdmmap", &["MAP"], "the keyword [tdmmap]", "Circuits to allot to calls"),
        later("dynamicStart", &["N"], DYNAMIC_ID, "First value of [dynamic_id]"),
        later("dynamicMax", &["N"], DYNAMIC_ID, "Last value of [dynamic_id]"),
        later("dynamicStep", &["N"], DYNAMIC_ID, "Step of [dynamic_id]"),
        later("sip_from", &["TEXT"], BUILT_IN_HEADERS, "From value of built-in scenarios").ours(),
        later("sip_pai", &["TEXT"], BUILT_IN_HEADERS, "P-Asserted-Identity of built-in scenarios")
            .ours(),
        later("sip_provider", &["TEXT"], BUILT_IN_HEADERS, "X-provider of built-in scenarios")
            .ours(),
        later(
            "sip_extra_header",
            &["LINE"],
            BUILT_IN_HEADERS,
            "More headers in built-in scenarios",
        )
        .ours(),
        later("config", &["FILE"], RUN_PROFILES, "Run profiles in JSON").ours(),
        later("run-alias", &["NAME"], RUN_PROFILES, "Run profile to apply").ours(),
        later("list-aliases", &[], RUN_PROFILES, "List the run profiles").ours(),
    ],
};

/// RFC 3261, section 8.1.1.5: a CSeq number is below 2^31.
const MAX_CSEQ: u64 = (1 << 31) - 1;

const BUILT_IN_HEADERS: &str = "headers for built-in scenarios";
const RUN_PROFILES: &str = "run profiles";
