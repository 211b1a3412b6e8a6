//! The names of the scenario language, for the documentation. The lists are made from the tables
//! that the compiler itself uses.

use super::{action, compile, distribution, exec, keyword};

/// One name of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageEntry {
    /// The name, as it is written.
    pub name: String,
    /// The missing part that it waits for, if this version refuses it.
    pub missing: Option<&'static str>,
}

/// All names of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageSection {
    /// The kind of the names.
    pub title: &'static str,
    /// The names, in alphabetical order.
    pub entries: Vec<LanguageEntry>,
}

/// The known elements, actions, distributions and keywords.
pub fn language() -> Vec<LanguageSection> {
    let element = |name: &str| format!("<{name}>");
    let exec_name = |name: &str| format!("<exec {name}=>");
    let bracket = |name: &str| format!("[{name}]");
    vec![
        section("Elements", [entries(compile::names(), element)]),
        section("Actions", [entries(action::names(), element), entries(exec::names(), exec_name)]),
        section(
            "Distributions",
            [entries(distribution::KNOWN.into_iter().map(|name| (name, None)), str::to_owned)],
        ),
        section("Keywords", [entries(keyword::names(), bracket)]),
    ]
}

fn entries(
    names: impl Iterator<Item = (&'static str, Option<&'static str>)>,
    write: impl Fn(&str) -> String,
) -> Vec<LanguageEntry> {
    names.map(|(name, missing)| LanguageEntry { name: write(name), missing }).collect()
}

fn section<const N: usize>(
    title: &'static str,
    groups: [Vec<LanguageEntry>; N],
) -> LanguageSection {
    let mut entries: Vec<_> = groups.into_iter().flatten().collect();
    entries.sort_by_key(|entry| entry.name.to_ascii_lowercase());
    LanguageSection { title, entries }
}
