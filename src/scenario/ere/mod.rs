//! POSIX extended regular expressions: the longest of the leftmost matches, with groups as POSIX
//! defines them. The module knows nothing of scenarios.
//!
//! The available crates take the first alternative that matches rather than the longest, so this is
//! a matcher of its own. If both are provably the same ([`fast`]), which holds for nearly every
//! expression in use, the crate does the work. Time and memory are bounded for any expression and
//! text, and nothing is allocated per match once a [`Scratch`] is warm.

mod backtrack;
mod fast;
mod nfa;
mod submatch;
mod syntax;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};

use backtrack::{Backtracker, Trail};
use nfa::{Budget, Builder, Direction, Nfa, Run, TooLarge};
use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use submatch::{Marks, Resolver};

/// Longest expression in bytes.
const TEXT_MAX: usize = 8192;
/// The whole match and nine groups: more cannot be named.
const CAPTURES_MAX: usize = 10;
/// Most work that one match may cost, in visits of a state: some ten milliseconds.
const WORK_MAX: usize = 20_000_000;

/// A compiled expression.
pub struct Regex {
    text: String,
    groups: u16,
    matcher: Matcher,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

enum Matcher {
    /// Used if the crate's leftmost-first match is the one that POSIX defines.
    Fast {
        regex: Box<meta::Regex>,
        id: u32,
    },
    Posix(Box<Posix>),
    Backrefs(Box<Backtracker>),
}

#[derive(Debug)]
struct Posix {
    whole: Nfa,
    groups: Resolver,
}

/// The match was given up because it would have cost too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooComplex;

/// Memory for matching: one per thread, for all its expressions.
#[derive(Default)]
pub struct Scratch {
    caches: Vec<(u32, meta::Cache)>,
    run: Run,
    marks: Marks,
    trail: Trail,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("caches", &self.caches.len()).finish_non_exhaustive()
    }
}

/// Byte offsets of a match and its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures([Option<(usize, usize)>; CAPTURES_MAX]);

impl Captures {
    /// The begin and end of the whole match (0) or a group (from 1); `None` if it took no part.
    pub fn get(&self, group: usize) -> Option<(usize, usize)> {
        self.0.get(group).copied().flatten()
    }

    fn set(&mut self, group: u16, span: Option<(usize, usize)>) {
        if let Some(place) = self.0.get_mut(usize::from(group)) {
            *place = span;
        }
    }
}

/// The rest of [`WORK_MAX`].
#[derive(Debug)]
struct Work(usize);

impl Work {
    /// Spends `cost`; returns `None` once too much was spent.
    fn spend(&mut self, cost: usize) -> Option<()> {
        self.0 = self.0.saturating_sub(cost);
        (self.0 > 0).then_some(())
    }
}

impl Regex {
    /// Compiles an expression over bytes.
    ///
    /// # Errors
    /// The reason why the expression is wrong, in a few words.
    pub fn new(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, String> {
        let text = text.as_ref();
        if text.len() > TEXT_MAX {
            return Err("it is too long".to_owned());
        }
        let parsed = syntax::parse(text)?;
        let too_large = |TooLarge| "it is too large; repeat less".to_owned();
        let groups = parsed.groups;
        let matcher = if parsed.node.has_backref() {
            let backtracker = Backtracker::new(&parsed.node, groups);
            Matcher::Backrefs(Box::new(backtracker.map_err(too_large)?))
        } else if let Some(regex) = fast::compile(&parsed.node) {
            static NEXT_ID: AtomicU32 = AtomicU32::new(0);
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            Matcher::Fast { regex: Box::new(regex), id }
        } else {
            let mut budget = Budget::default();
            Matcher::Posix(Box::new(Posix::new(&parsed.node, &mut budget).map_err(too_large)?))
        };
        let text = String::from_utf8_lossy(text).into_owned();
        Ok(Self { text, groups, matcher })
    }

    /// The expression as it was written; bytes that are not UTF-8 are shown as U+FFFD.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Number of its groups.
    pub fn groups(&self) -> usize {
        usize::from(self.groups)
    }

    /// Tells whether the crate's matcher does the work.
    pub fn is_fast(&self) -> bool {
        matches!(self.matcher, Matcher::Fast { .. })
    }

    /// Tells whether it matches somewhere in `text`.
    ///
    /// # Errors
    /// The match was given up as too costly.
    pub fn is_match(&self, text: &[u8], scratch: &mut Scratch) -> Result<bool, TooComplex> {
        Ok(self.captures(text, 0, scratch)?.is_some())
    }

    /// The match in `text` and its groups up to number `groups`.
    ///
    /// # Errors
    /// The match was given up as too costly.
    pub fn captures(
        &self,
        text: &[u8],
        groups: usize,
        scratch: &mut Scratch,
    ) -> Result<Option<Captures>, TooComplex> {
        let mut captures = Captures::default();
        let mut work = Work(WORK_MAX);
        let Scratch { caches, run, marks, trail } = scratch;
        let found = match &self.matcher {
            Matcher::Fast { regex, id } => {
                let groups = groups.min(self.groups()).min(CAPTURES_MAX - 1);
                find_fast(regex, *id, text, groups, caches, &mut captures)
            }
            Matcher::Posix(posix) => match posix.whole.find(text, run, &mut work) {
                None if work.0 == 0 => return Err(TooComplex),
                None => false,
                Some(span) => {
                    captures.set(0, Some(span));
                    if groups > 0 {
                        marks.clear();
                        let memory = (run, marks, &mut work);
                        let resolved = posix.groups.resolve(text, span, &mut captures, memory);
                        resolved.ok_or(TooComplex)?;
                    }
                    true
                }
            },
            Matcher::Backrefs(backtracker) => {
                backtracker.find(text, &mut captures, trail, &mut work).ok_or(TooComplex)?
            }
        };
        Ok(found.then_some(captures))
    }
}

impl Posix {
    fn new(node: &syntax::Node, budget: &mut Budget) -> Result<Self, TooLarge> {
        let (mut builder, end) = Builder::new(Direction::Forward, budget);
        let start = builder.node(node, end)?;
        let whole = builder.finish(start);
        Ok(Self { whole, groups: Resolver::new(node, budget)? })
    }
}

fn find_fast(
    regex: &meta::Regex,
    id: u32,
    text: &[u8],
    groups: usize,
    caches: &mut Vec<(u32, meta::Cache)>,
    captures: &mut Captures,
) -> bool {
    // The regex has a pool of caches of its own, behind a lock that workers would share.
    let at = match caches.iter().position(|(known, _)| *known == id) {
        Some(at) => at,
        None => {
            caches.push((id, regex.create_cache()));
            caches.len() - 1
        }
    };
    let mut slots = [None::<NonMaxUsize>; 2 * CAPTURES_MAX];
    let slots = &mut slots[..2 * (groups + 1)];
    let input = regex_automata::Input::new(text);
    if regex.search_slots_with(&mut caches[at].1, &input, slots).is_none() {
        return false;
    }
    for (group, slot) in slots.chunks_exact(2).enumerate() {
        let span = slot[0].zip(slot[1]).map(|(begin, end)| (begin.get(), end.get()));
        captures.set(group as u16, span);
    }
    true
}
