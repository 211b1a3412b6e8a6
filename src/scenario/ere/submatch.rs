//! The groups of a match, once the match itself is known (POSIX.1-2017, XBD 9.1): each part, from
//! left to right, takes the longest piece that lets the rest match.
//!
//! For a sequence, one automaton reads backwards over the match and notes where the rest of the
//! sequence may begin; the parts then choose from the left. No piece is tried twice.

use super::nfa::{Budget, Builder, Direction, Nfa, Run, TooLarge};
use super::syntax::Node;
use super::{Captures, Work};

/// The way to find the groups inside a piece of the expression, given the piece of text that it
/// matched.
#[derive(Debug)]
pub(super) enum Resolver {
    /// The piece has no groups.
    Nothing,
    Group {
        index: u16,
        inner: Box<Resolver>,
    },
    Sequence {
        parts: Vec<Part>,
        rests: Nfa,
    },
    Choice(Vec<Part>),
    Star {
        inner: Box<Part>,
        rests: Nfa,
        nullable: bool,
    },
    Optional {
        inner: Box<Resolver>,
        nullable: bool,
    },
}

/// A piece of the expression with its own automaton.
#[derive(Debug)]
pub(super) struct Part {
    nfa: Nfa,
    resolver: Resolver,
}

/// Memory of resolving, reused.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// A stack of bit sets: one for each sequence or repetition that is being resolved.
    bits: Vec<u64>,
}

impl Resolver {
    /// The resolver of `node`.
    pub(super) fn new(node: &Node, budget: &mut Budget) -> Result<Self, TooLarge> {
        if !node.has_group() {
            return Ok(Self::Nothing);
        }
        match node {
            Node::Group(index, inner) => {
                Ok(Self::Group { index: *index, inner: Box::new(Self::new(inner, budget)?) })
            }
            Node::Concat(nodes) => Self::sequence(&joined(nodes), budget),
            Node::Alternation(nodes) => {
                let parts = nodes.iter().map(|node| Part::new(node, budget));
                Ok(Self::Choice(parts.collect::<Result<_, _>>()?))
            }
            Node::Repeat { node, min, max } => Self::repeat(node, *min, *max, budget),
            Node::Empty | Node::Set(_) | Node::Look(_) | Node::Backref(_) => Ok(Self::Nothing),
        }
    }

    fn sequence(nodes: &[Node], budget: &mut Budget) -> Result<Self, TooLarge> {
        let parts: Vec<Part> =
            nodes.iter().map(|node| Part::new(node, budget)).collect::<Result<_, _>>()?;
        let rests = rests(nodes, budget)?;
        Ok(Self::Sequence { parts, rests })
    }

    fn repeat(
        node: &Node,
        min: u16,
        max: Option<u16>,
        budget: &mut Budget,
    ) -> Result<Self, TooLarge> {
        match (min, max) {
            (_, Some(0)) => Ok(Self::Nothing),
            (0 | 1, None) => {
                let inner = Box::new(Part::new(node, budget)?);
                let (mut builder, end) = Builder::new(Direction::Backward, budget);
                let start = builder.marked_star(node, 0, end)?;
                let rests = builder.finish(start);
                Ok(Self::Star { inner, rests, nullable: node.is_nullable() })
            }
            (0, Some(count)) => Self::optionals(node, count, true, budget),
            (1, Some(1)) => Self::new(node, budget),
            (min, None) => {
                // At least one round is there already.
                let mut nodes = vec![node.clone(); usize::from(min) - 1];
                nodes.push(Node::Repeat { node: Box::new(node.clone()), min: 1, max: None });
                Self::sequence(&nodes, budget)
            }
            (min, Some(max)) => {
                let mut nodes = vec![node.clone(); usize::from(min)];
                let parts = nodes.iter().map(|node| Part::new(node, budget));
                let mut parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
                if max > min {
                    let rest =
                        Node::Repeat { node: Box::new(node.clone()), min: 0, max: Some(max - min) };
                    let resolver = Self::optionals(node, max - min, min == 0, budget)?;
                    parts.push(Part { nfa: forward(&rest, budget)?, resolver });
                    nodes.push(rest);
                }
                let rests = rests(&nodes, budget)?;
                Ok(Self::Sequence { parts, rests })
            }
        }
    }

    /// Compiles `node` up to `count` times. Only the very first round may match nothing; later
    /// rounds that take nothing do not happen.
    fn optionals(
        node: &Node,
        count: u16,
        is_first: bool,
        budget: &mut Budget,
    ) -> Result<Self, TooLarge> {
        let nullable = is_first && node.is_nullable();
        let inner = if count == 1 {
            Self::new(node, budget)?
        } else {
            let rest = Node::Repeat { node: Box::new(node.clone()), min: 0, max: Some(count - 1) };
            let resolver = Self::optionals(node, count - 1, false, budget)?;
            let rest_part = Part { nfa: forward(&rest, budget)?, resolver };
            let parts = vec![Part::new(node, budget)?, rest_part];
            Self::Sequence { parts, rests: rests(&[node.clone(), rest], budget)? }
        };
        Ok(Self::Optional { inner: Box::new(inner), nullable })
    }

    /// Finds the groups inside `span`, which is known to match. Returns `None` if that takes too
    /// much work.
    pub(super) fn resolve(
        &self,
        text: &[u8],
        span: (usize, usize),
        captures: &mut Captures,
        memory: (&mut Run, &mut Marks, &mut Work),
    ) -> Option<()> {
        let (run, marks, work) = memory;
        match self {
            Self::Nothing => {}
            Self::Group { index, inner } => {
                captures.set(*index, Some(span));
                inner.resolve(text, span, captures, (run, marks, work))?;
            }
            Self::Sequence { parts, rests } => {
                let base = marks.push(parts.len(), span, work)?;
                let width = span.1 - span.0 + 1;
                rests.marks(text, span, run, work, |mark, at| {
                    marks.set(base, usize::from(mark) * width + at - span.0);
                })?;
                let mut from = span.0;
                for (index, part) in parts.iter().enumerate() {
                    let mut to = span.1;
                    if let Some(rest) = (index + 1 < parts.len()).then_some(index + 1) {
                        let mut longest = from;
                        part.nfa.ends(text, (from, span.1), run, work, |end| {
                            if marks.get(base, rest * width + end - span.0) {
                                longest = end;
                            }
                        })?;
                        to = longest;
                    }
                    part.resolver.resolve(text, (from, to), captures, (run, marks, work))?;
                    from = to;
                }
                marks.pop(base);
            }
            Self::Choice(parts) => {
                for part in parts {
                    let mut fits = false;
                    part.nfa.ends(text, span, run, work, |end| fits |= end == span.1)?;
                    if fits {
                        part.resolver.resolve(text, span, captures, (run, marks, work))?;
                        break;
                    }
                }
            }
            Self::Star { inner, rests, nullable } => {
                if span.0 == span.1 {
                    // Matching nothing ranks above not matching (XBD 9.1).
                    if *nullable {
                        inner.resolver.resolve(text, span, captures, (run, marks, work))?;
                    }
                    return Some(());
                }
                let base = marks.push(1, span, work)?;
                rests.marks(text, span, run, work, |_, at| marks.set(base, at - span.0))?;
                let mut from = span.0;
                while from < span.1 {
                    let mut longest = from;
                    inner.nfa.ends(text, (from, span.1), run, work, |end| {
                        if end > from && marks.get(base, end - span.0) {
                            longest = end;
                        }
                    })?;
                    if longest == from {
                        break;
                    }
                    // Groups hold what they matched in the last round.
                    if longest == span.1 {
                        let last = (from, longest);
                        inner.resolver.resolve(text, last, captures, (run, marks, work))?;
                    }
                    from = longest;
                }
                marks.pop(base);
            }
            Self::Optional { inner, nullable } => {
                if span.0 < span.1 || *nullable {
                    inner.resolve(text, span, captures, (run, marks, work))?;
                }
            }
        }
        Some(())
    }
}

impl Part {
    fn new(node: &Node, budget: &mut Budget) -> Result<Self, TooLarge> {
        let resolver = Resolver::new(node, budget)?;
        Ok(Self { nfa: forward(node, budget)?, resolver })
    }
}

fn forward(node: &Node, budget: &mut Budget) -> Result<Nfa, TooLarge> {
    let (mut builder, end) = Builder::new(Direction::Forward, budget);
    let start = builder.node(node, end)?;
    Ok(builder.finish(start))
}

/// Builds an automaton that reads a sequence backwards: the mark of part i is passed wherever parts
/// i.. begin.
fn rests(nodes: &[Node], budget: &mut Budget) -> Result<Nfa, TooLarge> {
    let (mut builder, end) = Builder::new(Direction::Backward, budget);
    let mut next = end;
    for (index, node) in nodes.iter().enumerate() {
        next = builder.mark(index as u16, next)?;
        next = builder.node(node, next)?;
    }
    Ok(builder.finish(next))
}

/// Joins neighbours of fixed length, since they leave no choice.
fn joined(nodes: &[Node]) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::new();
    for node in nodes {
        let is_fixed = |node: &Node| matches!(node, Node::Set(_) | Node::Look(_));
        match out.last_mut() {
            Some(Node::Concat(run)) if is_fixed(node) && run.iter().all(is_fixed) => {
                run.push(node.clone());
            }
            _ if is_fixed(node) => out.push(Node::Concat(vec![node.clone()])),
            _ => out.push(node.clone()),
        }
    }
    out
}

impl Marks {
    /// Pushes `sets` empty bit sets over the places of `span`; returns the index by which they are
    /// found.
    fn push(&mut self, sets: usize, span: (usize, usize), work: &mut Work) -> Option<usize> {
        let words = (sets * (span.1 - span.0 + 1)).div_ceil(64);
        work.spend(words / 8)?;
        let base = self.bits.len();
        self.bits.resize(base + words, 0);
        Some(base)
    }

    fn pop(&mut self, base: usize) {
        self.bits.truncate(base);
    }

    /// Forgets the sets of a resolution that was given up.
    pub(super) fn clear(&mut self) {
        self.bits.clear();
    }

    fn set(&mut self, base: usize, bit: usize) {
        self.bits[base + bit / 64] |= 1 << (bit % 64);
    }

    fn get(&self, base: usize, bit: usize) -> bool {
        self.bits[base + bit / 64] & (1 << (bit % 64)) != 0
    }
}
