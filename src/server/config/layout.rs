//! The three layouts of a file: one engine (management or load), or `server` and `clients`. The
//! module finds the keys and the role of each engine.

use super::check::join;
use super::problem::{Place, Problem, ProblemKind};
use super::resolved::Role;
use super::tree::{Data, Member, Node};

/// Engines of one process.
pub(super) const ENGINES_MAX: usize = 16;

/// Keys of the top of a file that engines do not inherit.
const RESERVED: &[&str] = &["server", "clients", "client", "workloads", "aliases", "$schema"];

/// A key of an engine, from any place of the file.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    /// The path of the key, from the top of the file.
    pub(super) path: String,
    /// The place where the key begins.
    pub(super) at: Place,
    pub(super) node: Node,
}

/// One engine as it is written in the file.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// `server`, `clients[1]`, or nothing for the engine of a flat file.
    pub(super) path: String,
    pub(super) at: Place,
    pub(super) position: Position,
    pub(super) keys: Vec<Key>,
}

/// The position of an engine in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The top of the file.
    Flat,
    /// The key `server`.
    Server,
    /// An entry of `clients` or `client`.
    Client,
}

impl Profile {
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.key(name)?.node.text().filter(|text| !text.is_empty())
    }

    /// The place and path of the first of these keys that is present, else of the engine.
    pub(super) fn place_of(&self, names: &[&str]) -> (Place, String) {
        match names.iter().find_map(|name| self.key(name)) {
            Some(key) => (key.at, key.path.clone()),
            None => (self.at, self.path.clone()),
        }
    }
}

/// Splits a file into its engines. `whole` is the file, `right` has its right parts only.
pub(super) fn engines(whole: &Node, right: &Node, problems: &mut Vec<Problem>) -> Vec<Profile> {
    let mut report = |member: &Member, kind, message: &str| {
        let (key, message) = (member.key.clone(), message.to_owned());
        problems.push(Problem { place: Some(member.at), key, kind, message });
    };
    if let Some(aliases) = whole.member("aliases") {
        let message = "run profiles are not for a server; run one with: gossipper -config FILE \
                       -run-alias NAME";
        report(aliases, ProblemKind::Contradiction, message);
    }
    let [server, clients, client] = ["server", "clients", "client"].map(|key| whole.member(key));
    let is_composite = server.is_some_and(|server| matches!(server.node.data, Data::Object(_)));
    if let (Some(_), Some(second)) = (clients, client) {
        let message = "`client` and `clients` mean the same; keep one of them";
        report(second, ProblemKind::Contradiction, message);
    }
    if let Some(clients) = clients.or(client)
        && !is_composite
    {
        let message = "there is no `server` object, but other engines need one; add it, or write \
                       one engine at the top of the file";
        report(clients, ProblemKind::Contradiction, message);
    }
    if !is_composite {
        let keys = right.members().iter().filter(|member| !RESERVED.contains(&member.key.as_str()));
        let mut keys: Vec<_> = keys.map(|member| key("", member)).collect();
        // As a truth value it is one of the signs of the role.
        let flag =
            right.member("server").filter(|server| matches!(server.node.data, Data::Bool(_)));
        keys.extend(flag.map(|flag| key("", flag)));
        let position = Position::Flat;
        return vec![Profile { path: String::new(), at: whole.at, position, keys }];
    }
    let shared: Vec<_> = right
        .members()
        .iter()
        .filter(|member| !RESERVED.contains(&member.key.as_str()))
        .map(|member| key("", member))
        .collect();
    let mut engines = Vec::new();
    if let Some(server) = right.member("server") {
        engines.push(merged(&shared, &server.node, "server".to_owned(), Position::Server));
    }
    for name in ["clients", "client"] {
        let Some(member) = right.member(name) else { continue };
        match &member.node.data {
            Data::List(list) => engines.extend(list.iter().enumerate().map(|(index, node)| {
                merged(&shared, node, format!("{name}[{index}]"), Position::Client)
            })),
            _ => engines.push(merged(&shared, &member.node, name.to_owned(), Position::Client)),
        }
    }
    if engines.len() > ENGINES_MAX {
        let first = &engines[ENGINES_MAX];
        let message = format!(
            "{} engines are too many for one process; {ENGINES_MAX} are the limit with `server`",
            engines.len()
        );
        let (key, kind) = (first.path.clone(), ProblemKind::Contradiction);
        problems.push(Problem { place: Some(first.at), key, kind, message });
    }
    engines
}

fn key(parent: &str, member: &Member) -> Key {
    Key {
        name: member.key.clone(),
        path: join(parent, &member.key),
        at: member.at,
        node: member.node.clone(),
    }
}

/// The keys of an engine over the shared keys; values are replaced whole.
fn merged(shared: &[Key], node: &Node, path: String, position: Position) -> Profile {
    let mut keys: Vec<_> = node.members().iter().map(|member| key(&path, member)).collect();
    for inherited in shared {
        if !keys.iter().any(|key| key.name == inherited.name) {
            keys.push(inherited.clone());
        }
    }
    Profile { path, at: node.at, position, keys }
}

/// The role of an engine, by the first sign that is present.
pub(super) fn infer_role(profile: &Profile) -> Option<Role> {
    if profile.position == Position::Server {
        return Some(Role::Management);
    }
    match profile.text("role") {
        Some("management" | "server") => return Some(Role::Management),
        Some(_) => return Some(Role::Load),
        None => {}
    }
    let has_some =
        |name: &str| profile.key(name).is_some_and(|key| !key.node.elements().is_empty());
    let is_server = profile.key("server").is_some_and(|key| key.node.data == Data::Bool(true));
    // The address of the API is that of the process. A client only inherits it: it is no sign
    // there.
    let has_api = profile.position == Position::Flat && profile.text("api_addr").is_some();
    if is_server || has_some("listeners") || has_api {
        return Some(Role::Management);
    }
    let name = profile.text("scenario_name").map(str::to_ascii_lowercase);
    let has_remote = profile.text("remote_addr").is_some();
    match name.as_deref() {
        Some("management" | "uas") => Some(Role::Management),
        Some("uac") | None if has_remote => Some(Role::Load),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    fn profiles(text: &str) -> (Vec<Profile>, Vec<Problem>) {
        let node = parse(text.as_bytes()).unwrap();
        let mut problems = Vec::new();
        let profiles = engines(&node, &node, &mut problems);
        (profiles, problems)
    }

    #[test]
    fn roles_follow_from_the_first_sign() {
        use Role::{Load, Management};
        for (text, role) in [
            (r#"{"server": {"role": "load"}}"#, Some(Management)),
            (r#"{"role": "management", "remote_addr": "h"}"#, Some(Management)),
            (r#"{"role": "server"}"#, Some(Management)),
            (
                r#"{"role": "load", "server": true, "api_addr": ":1", "listeners": [{}]}"#,
                Some(Load),
            ),
            (r#"{"role": "client", "scenario_name": "uas"}"#, Some(Load)),
            (r#"{"role": "uac"}"#, Some(Load)),
            (r#"{"server": true, "remote_addr": "h"}"#, Some(Management)),
            (r#"{"server": false, "remote_addr": "h"}"#, Some(Load)),
            (r#"{"listeners": [{}], "remote_addr": "h"}"#, Some(Management)),
            (r#"{"listeners": [], "remote_addr": "h"}"#, Some(Load)),
            (r#"{"api_addr": ":8080", "remote_addr": "h"}"#, Some(Management)),
            (r#"{"api_addr": "", "remote_addr": "h"}"#, Some(Load)),
            (r#"{"scenario_name": "UAS", "remote_addr": "h"}"#, Some(Management)),
            (r#"{"scenario_name": "Management"}"#, Some(Management)),
            (r#"{"scenario_name": "uac", "remote_addr": "h"}"#, Some(Load)),
            (r#"{"scenario_name": "uac"}"#, None),
            (r#"{"remote_addr": "h"}"#, Some(Load)),
            (r#"{"scenario_file": "x.xml", "remote_addr": "h"}"#, Some(Load)),
            (r#"{"scenario_name": "options", "remote_addr": "h"}"#, None),
            (r#"{"rate": 1}"#, None),
            ("{}", None),
        ] {
            let (profiles, _) = profiles(text);
            assert_eq!(infer_role(&profiles[0]), role, "{text}");
        }
    }

    #[test]
    fn an_inherited_address_of_the_api_makes_no_management_engine() {
        let text = r#"{"api_addr": ":1", "server": {}, "clients": [{"remote_addr": "h"}]}"#;
        let (profiles, problems) = profiles(text);
        assert!(problems.is_empty());
        assert_eq!(infer_role(&profiles[1]), Some(Role::Load));
    }

    #[test]
    fn engines_inherit_what_they_do_not_say() {
        let (profiles, _) = profiles(
            r#"{"rate": 5, "service": "a", "server": {"rate": 1}, "client": {"service": "b"}}"#,
        );
        let values = |profile: &Profile, name: &str| {
            let key = profile.key(name).unwrap();
            (key.path.clone(), key.node.to_json().to_string())
        };
        assert_eq!(values(&profiles[0], "rate"), ("server.rate".to_owned(), "1".to_owned()));
        assert_eq!(values(&profiles[0], "service"), ("service".to_owned(), "\"a\"".to_owned()));
        assert_eq!(values(&profiles[1], "rate"), ("rate".to_owned(), "5".to_owned()));
        assert_eq!(values(&profiles[1], "service").0, "client.service");
        assert!(profiles.iter().all(|profile| profile.key("server").is_none()));
    }

    #[test]
    fn layouts_that_do_not_hold_together_are_refused() {
        for (text, key, part) in [
            (r#"{"clients": []}"#, "clients", "no `server`"),
            (r#"{"server": true, "client": {}}"#, "client", "no `server`"),
            (r#"{"server": {}, "client": {}, "clients": []}"#, "client", "keep one"),
            (r#"{"aliases": {}}"#, "aliases", "-run-alias"),
        ] {
            let (_, problems) = profiles(text);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].key, key);
            assert!(problems[0].message.contains(part), "{}", problems[0].message);
        }
        let many = format!(r#"{{"server": {{}}, "clients": [{}]}}"#, ["{}"; 16].join(","));
        let (_, problems) = profiles(&many);
        assert_eq!(problems[0].key, "clients[15]");
    }
}
