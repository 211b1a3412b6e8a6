//! Expressions with back-references, which no automaton can match. Every way is tried, and the
//! longest match at the leftmost place is taken. [`Work`] bounds the effort.

use super::nfa::TooLarge;
use super::syntax::{ByteSet, Look, Node};
use super::{Captures, Work};

const STEPS_MAX: usize = 20_000;
const UNSET: usize = usize::MAX;

#[derive(Clone, Debug)]
enum Step {
    Byte(ByteSet),
    Look(Look),
    /// Goes on at the first step, and if that fails at the second.
    Split(u32, u32),
    Jump(u32),
    /// Stores the current place in the text.
    Save(u32),
    /// Fails unless a byte was taken since the place was stored.
    Progress(u32),
    Backref(u8),
    Match,
}

/// A matcher for one expression with back-references.
#[derive(Debug)]
pub(super) struct Backtracker {
    steps: Vec<Step>,
    /// Number of places: two for each group, then one for each loop.
    places: usize,
    groups: u16,
}

/// Memory of matching, reused.
#[derive(Debug, Default)]
pub(super) struct Trail {
    entries: Vec<Entry>,
    places: Vec<usize>,
    best: Vec<usize>,
}

#[derive(Debug)]
enum Entry {
    /// Another way to go on, from this step and place.
    Way { step: u32, at: usize },
    /// An earlier value of a place.
    Restore { place: u32, value: usize },
}

impl Backtracker {
    pub(super) fn new(node: &Node, groups: u16) -> Result<Self, TooLarge> {
        let mut new = Self { steps: Vec::new(), places: 2 * (usize::from(groups) + 1), groups };
        new.node(node)?;
        new.push(Step::Match)?;
        Ok(new)
    }

    fn push(&mut self, step: Step) -> Result<u32, TooLarge> {
        if self.steps.len() >= STEPS_MAX {
            return Err(TooLarge);
        }
        self.steps.push(step);
        Ok(self.steps.len() as u32 - 1)
    }

    fn here(&self) -> u32 {
        self.steps.len() as u32
    }

    fn node(&mut self, node: &Node) -> Result<(), TooLarge> {
        match node {
            Node::Empty => {}
            Node::Set(set) => drop(self.push(Step::Byte(*set))?),
            Node::Look(look) => drop(self.push(Step::Look(*look))?),
            Node::Backref(group) => drop(self.push(Step::Backref(*group))?),
            Node::Group(index, node) => {
                self.push(Step::Save(2 * u32::from(*index)))?;
                self.node(node)?;
                self.push(Step::Save(2 * u32::from(*index) + 1))?;
            }
            Node::Concat(nodes) => nodes.iter().try_for_each(|node| self.node(node))?,
            Node::Alternation(nodes) => {
                let mut ends = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    if index + 1 == nodes.len() {
                        self.node(node)?;
                        break;
                    }
                    let split = self.push(Step::Split(0, 0))?;
                    self.node(node)?;
                    ends.push(self.push(Step::Jump(0))?);
                    self.steps[split as usize] = Step::Split(split + 1, self.here());
                }
                for end in ends {
                    self.steps[end as usize] = Step::Jump(self.here());
                }
            }
            Node::Repeat { node, min, max } => {
                for _ in 0..*min {
                    self.node(node)?;
                }
                match max {
                    None => {
                        let split = self.push(Step::Split(0, 0))?;
                        self.once(node)?;
                        self.push(Step::Jump(split))?;
                        self.steps[split as usize] = Step::Split(split + 1, self.here());
                    }
                    Some(max) => {
                        let mut splits = Vec::new();
                        for _ in *min..*max {
                            splits.push(self.push(Step::Split(0, 0))?);
                            self.once(node)?;
                        }
                        for split in splits {
                            self.steps[split as usize] = Step::Split(split + 1, self.here());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Compiles one round of a loop, which has to take something.
    fn once(&mut self, node: &Node) -> Result<(), TooLarge> {
        if !node.is_nullable() {
            return self.node(node);
        }
        let place = self.places as u32;
        self.places += 1;
        self.push(Step::Save(place))?;
        self.node(node)?;
        self.push(Step::Progress(place))?;
        Ok(())
    }

    /// The leftmost match, and the longest of those that begin there. The second value is `None` if
    /// there is no match.
    pub(super) fn find(
        &self,
        text: &[u8],
        captures: &mut Captures,
        trail: &mut Trail,
        work: &mut Work,
    ) -> Option<bool> {
        for begin in 0..=text.len() {
            if let Some(end) = self.longest(text, begin, trail, work)? {
                captures.set(0, Some((begin, end)));
                for group in 1..=self.groups {
                    let place = 2 * usize::from(group);
                    let span = (trail.best[place], trail.best[place + 1]);
                    let is_set = span.0 != UNSET && span.1 != UNSET && span.0 <= span.1;
                    captures.set(group, is_set.then_some(span));
                }
                return Some(true);
            }
        }
        Some(false)
    }

    fn longest(
        &self,
        text: &[u8],
        begin: usize,
        trail: &mut Trail,
        work: &mut Work,
    ) -> Option<Option<usize>> {
        trail.entries.clear();
        trail.places.clear();
        trail.places.resize(self.places, UNSET);
        let mut best: Option<usize> = None;
        let (mut step, mut at) = (0, begin);
        loop {
            // A step here is dearer than a state of an automaton.
            work.spend(8)?;
            let goes_on = match &self.steps[step as usize] {
                Step::Byte(set) => {
                    let takes = text.get(at).is_some_and(|&byte| set.contains(byte));
                    at += usize::from(takes);
                    takes
                }
                Step::Look(look) => look.holds(text, at),
                Step::Split(first, second) => {
                    trail.entries.push(Entry::Way { step: *second, at });
                    step = *first;
                    continue;
                }
                Step::Jump(target) => {
                    step = *target;
                    continue;
                }
                Step::Save(place) => {
                    let value = std::mem::replace(&mut trail.places[*place as usize], at);
                    trail.entries.push(Entry::Restore { place: *place, value });
                    true
                }
                Step::Progress(place) => trail.places[*place as usize] != at,
                Step::Backref(group) => match self.repeated(text, at, *group, &trail.places) {
                    Some(end) => {
                        at = end;
                        true
                    }
                    None => false,
                },
                Step::Match => {
                    if best.is_none_or(|best| at > best) {
                        best = Some(at);
                        trail.best.clone_from(&trail.places);
                    }
                    // No match is longer than the whole text.
                    if at == text.len() {
                        return Some(best);
                    }
                    false
                }
            };
            if goes_on {
                step += 1;
                continue;
            }
            loop {
                match trail.entries.pop() {
                    None => return Some(best),
                    Some(Entry::Restore { place, value }) => trail.places[place as usize] = value,
                    Some(Entry::Way { step: other, at: there }) => {
                        (step, at) = (other, there);
                        break;
                    }
                }
            }
        }
    }

    /// The end of the text of `group`, if that text is repeated at `at`.
    fn repeated(&self, text: &[u8], at: usize, group: u8, places: &[usize]) -> Option<usize> {
        let place = 2 * usize::from(group);
        let (from, to) = (places[place], places[place + 1]);
        if from == UNSET || to == UNSET || from > to {
            return None;
        }
        let again = text.get(at..at + (to - from))?;
        (again == &text[from..to]).then_some(at + (to - from))
    }
}
