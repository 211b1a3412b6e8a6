//! `targets`: the destinations that clients added over the API may call.

use super::check::{join, shortened};
use super::keys::{PortKey, TargetKeys};
use super::layout::Profile;
use super::problem::{Place, ProblemKind};
use super::tree::{Data, Node};
use crate::config::targets::{Network, PortRange, TargetEntry, TargetList, parse_expiry};

/// Reads the list; mistakes are reported.
pub(super) fn read(
    profile: &Profile,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> TargetList {
    let Some(key) = profile.key("targets") else { return TargetList::default() };
    let entries = key.node.elements().iter().enumerate();
    let read = |(index, node)| entry(node, &format!("{}[{index}]", key.path), report);
    TargetList { entries: entries.filter_map(read).collect() }
}

fn entry(
    node: &Node,
    path: &str,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> Option<TargetEntry> {
    let mut bad = |name: &str, node: &Node, why: &str| {
        let message = format!("{:?}: {why}", shortened(&written(node)));
        report((node.at, join(path, name)), ProblemKind::BadValue, message);
    };
    let value = |name| node.member(name).map(|member| &member.node);
    let network = value("network").map(|node| {
        let network = read_network(node.text().unwrap_or_default());
        network.map_err(|why| bad("network", node, &why))
    });
    let ports = value("ports").map(|list| {
        let elements = list.elements().iter().enumerate();
        let read = elements.map(|(index, node)| {
            PortRange::parse(&written(node))
                .map_err(|why| bad(&format!("ports[{index}]"), node, why))
                .ok()
        });
        // All entries are checked, even if the first has a mistake.
        read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    });
    let expires = value("expires").map(|node| {
        let expires = parse_expiry(node.text().unwrap_or_default());
        expires.map_err(|why| bad("expires", node, why))
    });
    let number = |name| value(name).and_then(Node::number);
    let Some(network) = network else {
        let message = "the key is missing; name an address or a network".to_owned();
        report((node.at, join(path, "network")), ProblemKind::MissingKey, message);
        return None;
    };
    if ports.as_ref().is_some_and(|ports| ports.as_ref().is_some_and(Vec::is_empty)) {
        let at = value("ports").map_or(node.at, |node| node.at);
        let message = "the list is empty; name ports, or leave the key out".to_owned();
        report((at, join(path, "ports")), ProblemKind::BadValue, message);
        return None;
    }
    Some(TargetEntry {
        network: network.ok()?,
        ports: match ports {
            Some(ports) => ports?,
            None => Vec::new(),
        },
        max_rate: number("max_rate"),
        max_concurrent: number("max_concurrent").map(|most| most as u64),
        expires: expires.transpose().ok()?,
    })
}

/// A network of which at least some addresses can be called.
fn read_network(text: &str) -> Result<Network, String> {
    let network = Network::parse(text)?;
    match network.class().filter(|class| class.is_never()) {
        Some(class) => {
            Err(format!("clients of the API may never call {}; remove the entry", plural(class)))
        }
        None => Ok(network),
    }
}

fn plural(class: crate::config::targets::AddressClass) -> String {
    match class.label() {
        label if label.ends_with("address") => format!("{label}es"),
        label => label.to_owned(),
    }
}

/// A value as it stands in the file.
fn written(node: &Node) -> String {
    match &node.data {
        Data::Number(text) | Data::Text(text) => text.clone(),
        _ => String::new(),
    }
}

/// The list as keys of a file; none without entries.
pub(super) fn keys(list: &TargetList) -> Option<Vec<TargetKeys>> {
    let port = |range: &PortRange| match range.single() {
        Some(port) => PortKey::Port(port),
        None => PortKey::Range(range.to_string()),
    };
    let entries = list.entries.iter().map(|entry| TargetKeys {
        network: Some(entry.network.to_string()),
        ports: (!entry.ports.is_empty()).then(|| entry.ports.iter().map(port).collect()),
        max_rate: entry.max_rate,
        max_concurrent: entry.max_concurrent,
        expires: entry.expires.as_ref().map(|end| end.text.clone()),
    });
    let entries: Vec<_> = entries.collect();
    (!entries.is_empty()).then_some(entries)
}
