//! The scenarios that are part of the binary (`-sn`, printed by `-sd`).

/// A scenario that is part of the binary.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its `-sn` name.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// Its XML text.
    pub text: &'static str,
}

/// All built-in scenarios.
pub const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "uac",
        description: "Call: INVITE, wait for 200, ACK, pause (-d), BYE, wait for 200",
        text: include_str!("builtin/uac.xml"),
    },
    Builtin {
        name: "uas",
        description: "Answer calls: 180 and 200 to INVITE, 200 to BYE",
        text: include_str!("builtin/uas.xml"),
    },
    Builtin {
        name: "options",
        description: "Ping: OPTIONS, wait for 200",
        text: include_str!("builtin/options.xml"),
    },
    Builtin {
        name: "management",
        description: "Answer OPTIONS with 200",
        text: include_str!("builtin/management.xml"),
    },
];

/// The built-in of that name. `options_client` and `options_server` are aliases of the OPTIONS
/// pair.
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    let name = match name {
        "options_client" => "options",
        "options_server" => "management",
        name => name,
    };
    BUILTINS.iter().find(|builtin| builtin.name == name)
}
