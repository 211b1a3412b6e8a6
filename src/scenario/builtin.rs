//! The scenarios that are part of the binary (`-sn`, printed by `-sd`).

mod calls;
mod lab;

use super::error::{Fault, Position, ScenarioError, nearest};
use super::program::Program;

/// A scenario that is part of the binary.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name for `-sn`.
    pub name: &'static str,
    /// A description in one line.
    pub description: &'static str,
    /// The XML text.
    pub text: &'static str,
}

/// All built-in scenarios.
pub const BUILTINS: &[Builtin] = &{
    let mut all = [OWN[0]; OWN.len() + lab::LAB.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < OWN.len() { OWN[at] } else { lab::LAB[at - OWN.len()] };
        at += 1;
    }
    all
};

/// The built-in scenarios without media.
const OWN: &[Builtin] = &[
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
        name: "regexp",
        description: "Call as uac; the ACK repeats values found in the 200",
        text: include_str!("builtin/regexp.xml"),
    },
    Builtin {
        name: "branchc",
        description: "Register and call; the next steps depend on the answer",
        text: include_str!("builtin/branchc.xml"),
    },
    Builtin {
        name: "branchs",
        description: "Answer REGISTER, then INVITE with 200 or 403, depending on the caller",
        text: include_str!("builtin/branchs.xml"),
    },
    Builtin {
        name: "options",
        description: "Ping: OPTIONS, wait for 200",
        text: include_str!("builtin/options.xml"),
    },
    Builtin {
        name: "management",
        description: "Answer OPTIONS with 200, and refuse other requests",
        text: include_str!("builtin/management.xml"),
    },
    Builtin {
        name: "ooc_default",
        description: "Answer any request with 200 (for -oocsn)",
        text: include_str!("builtin/ooc_default.xml"),
    },
    Builtin {
        name: "ooc_dummy",
        description: "Expect a request that never comes (for -oocsn)",
        text: include_str!("builtin/ooc_dummy.xml"),
    },
    Builtin {
        name: "3pcc-C-A",
        description: "Controller A (-3pcc): call one party, connect it to that of controller B",
        text: include_str!("builtin/3pcc-C-A.xml"),
    },
    Builtin {
        name: "3pcc-C-B",
        description: "Controller B (-3pcc): call the other party on a command of controller A",
        text: include_str!("builtin/3pcc-C-B.xml"),
    },
    Builtin {
        name: "3pcc-A",
        description: "The party that controller A calls",
        text: include_str!("builtin/3pcc-A.xml"),
    },
    Builtin {
        name: "3pcc-B",
        description: "The party that controller B calls",
        text: include_str!("builtin/3pcc-B.xml"),
    },
];

/// The built-in scenario of that name. `options_client` and `options_server` are aliases of the
/// OPTIONS pair.
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    let name = match name {
        "options_client" => "options",
        "options_server" => "management",
        name => name,
    };
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Compiles the built-in scenario of that name, with the `-key` names and values.
///
/// # Errors
/// The error of [`find_builtin`].
pub fn load_builtin(name: &str, keys: &[(String, String)]) -> Result<Program, ScenarioError> {
    let builtin = find_builtin(name)?;
    super::compile(builtin.text, builtin.name, keys)
}

/// The built-in scenario of that name, or an error.
///
/// # Errors
/// No built-in has that name; the hint lists all names but those of the laboratory.
pub fn find_builtin(name: &str) -> Result<&'static Builtin, ScenarioError> {
    if let Some(builtin) = builtin(name) {
        return Ok(builtin);
    }
    let names: Vec<&str> = BUILTINS.iter().map(|builtin| builtin.name).collect();
    let (listed, rest) = names.split_at(OWN.len() + lab::PLAIN);
    let available = format!(
        "built-in scenarios are {}, and {} of the laboratory, such as one_way",
        listed.join(", "),
        rest.len()
    );
    let nowhere = Position::default();
    let fault = Fault::new(nowhere, format!("no built-in scenario \"{name}\""));
    let fault = match nearest(name, names.into_iter()) {
        Some(best) => fault.hint(format!("did you mean \"{best}\"? {available}")),
        None => fault.hint(format!("{available}; a file is loaded with -sf")),
    };
    Err(fault.in_source(""))
}
