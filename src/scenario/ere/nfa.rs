//! Automata over bytes, run by sets of states. The time is bounded by text times states for any
//! expression.

use super::Work;
use super::syntax::{ByteSet, Look, Node};

/// Most states of all automata of one expression.
const STATES_MAX: usize = 60_000;

/// One state.
#[derive(Clone, Debug)]
enum State {
    /// Takes a byte of the set and goes on.
    Byte(ByteSet, u32),
    /// Goes on at both states at once.
    Split(u32, u32),
    /// Goes on if the condition holds at this place.
    Look(Look, u32),
    /// Reports that the mark was passed, and goes on.
    Mark(u16, u32),
    /// The end of a match.
    Match,
}

/// The direction in which an automaton reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Counts the states of all automata of one expression.
#[derive(Debug, Default)]
pub(super) struct Budget(usize);

/// The expression is too large.
#[derive(Debug)]
pub(super) struct TooLarge;

/// A compiled automaton.
#[derive(Debug)]
pub(super) struct Nfa {
    states: Vec<State>,
    start: u32,
    /// The bytes that a match can begin with; `None` if it may be empty.
    first: Option<ByteSet>,
}

/// Builder of automata, which starts at their end.
pub(super) struct Builder<'b> {
    states: Vec<State>,
    direction: Direction,
    budget: &'b mut Budget,
}

impl<'b> Builder<'b> {
    /// A builder, and the final state of its automaton.
    pub(super) fn new(direction: Direction, budget: &'b mut Budget) -> (Self, u32) {
        (Self { states: vec![State::Match], direction, budget }, 0)
    }

    fn push(&mut self, state: State) -> Result<u32, TooLarge> {
        self.budget.0 += 1;
        if self.budget.0 > STATES_MAX {
            return Err(TooLarge);
        }
        self.states.push(state);
        Ok(self.states.len() as u32 - 1)
    }

    /// Puts a mark in front of `next`.
    pub(super) fn mark(&mut self, mark: u16, next: u32) -> Result<u32, TooLarge> {
        self.push(State::Mark(mark, next))
    }

    /// Puts `node*` in front of `next`, with a mark that every iteration passes.
    pub(super) fn marked_star(
        &mut self,
        node: &Node,
        mark: u16,
        next: u32,
    ) -> Result<u32, TooLarge> {
        let split = self.push(State::Split(0, next))?;
        let head = self.mark(mark, split)?;
        let body = self.node(node, head)?;
        self.states[split as usize] = State::Split(body, next);
        Ok(head)
    }

    /// Puts `node` in front of `next`; returns the state at which to enter.
    pub(super) fn node(&mut self, node: &Node, next: u32) -> Result<u32, TooLarge> {
        match node {
            Node::Empty => Ok(next),
            Node::Set(set) => self.push(State::Byte(*set, next)),
            Node::Look(look) => self.push(State::Look(*look, next)),
            Node::Group(_, node) => self.node(node, next),
            Node::Concat(nodes) => {
                let mut next = next;
                if self.direction == Direction::Forward {
                    for node in nodes.iter().rev() {
                        next = self.node(node, next)?;
                    }
                } else {
                    for node in nodes {
                        next = self.node(node, next)?;
                    }
                }
                Ok(next)
            }
            Node::Alternation(nodes) => {
                let mut entry = None;
                for node in nodes.iter().rev() {
                    let branch = self.node(node, next)?;
                    entry = Some(match entry {
                        None => branch,
                        Some(others) => self.push(State::Split(branch, others))?,
                    });
                }
                Ok(entry.unwrap_or(next))
            }
            Node::Repeat { node, min, max } => self.repeat(node, *min, *max, next),
            // Expressions with back-references are matched by the backtracker.
            Node::Backref(_) => Ok(next),
        }
    }

    fn repeat(
        &mut self,
        node: &Node,
        min: u16,
        max: Option<u16>,
        next: u32,
    ) -> Result<u32, TooLarge> {
        let mut entry = next;
        match max {
            None => {
                let split = self.push(State::Split(0, next))?;
                let body = self.node(node, split)?;
                self.states[split as usize] = State::Split(body, next);
                entry = split;
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.node(node, entry)?;
                    entry = self.push(State::Split(body, next))?;
                }
            }
        }
        for _ in 0..min {
            entry = self.node(node, entry)?;
            // An empty node counts too: without this {1000}{1000} would cost time but no budget.
            self.budget.0 += 1;
            if self.budget.0 > STATES_MAX {
                return Err(TooLarge);
            }
        }
        Ok(entry)
    }

    /// The automaton that is entered at state `start`.
    pub(super) fn finish(self, start: u32) -> Nfa {
        let mut nfa = Nfa { states: self.states, start, first: None };
        nfa.first = nfa.first_bytes();
        nfa
    }
}

/// The states that an automaton is in, in the order in which they were entered.
#[derive(Debug, Default)]
struct StateSet {
    dense: Vec<u32>,
    /// The begin of the match of each state of `dense`.
    begins: Vec<usize>,
    sparse: Vec<u32>,
}

impl StateSet {
    fn prepare(&mut self, states: usize) {
        self.clear();
        if self.sparse.len() < states {
            self.sparse.resize(states, 0);
        }
    }

    fn clear(&mut self) {
        self.dense.clear();
        self.begins.clear();
    }

    fn contains(&self, state: u32) -> bool {
        let at = self.sparse[state as usize] as usize;
        self.dense.get(at) == Some(&state)
    }

    fn insert(&mut self, state: u32, begin: usize) {
        self.sparse[state as usize] = self.dense.len() as u32;
        self.dense.push(state);
        self.begins.push(begin);
    }
}

/// Memory of running automata, reused from one match to the next.
#[derive(Debug, Default)]
pub(super) struct Run {
    now: StateSet,
    next: StateSet,
    stack: Vec<u32>,
}

impl Run {
    fn prepare(&mut self, states: usize) {
        self.now.prepare(states);
        self.next.prepare(states);
    }
}

impl Nfa {
    /// The leftmost match, and the longest of those that begin there.
    pub(super) fn find(
        &self,
        text: &[u8],
        run: &mut Run,
        work: &mut Work,
    ) -> Option<(usize, usize)> {
        run.prepare(self.states.len());
        let mut best: Option<(usize, usize)> = None;
        let mut at = 0;
        loop {
            if best.is_none() {
                if run.now.dense.is_empty()
                    && let Some(first) = &self.first
                {
                    let ahead = text[at..].iter().position(|&byte| first.contains(byte))?;
                    at += ahead;
                }
                self.enter(self.start, at, text, &mut run.stack, &mut run.now, at, &mut |_| {});
            }
            work.spend(run.now.dense.len())?;
            for index in 0..run.now.dense.len() {
                let (state, begin) = (run.now.dense[index], run.now.begins[index]);
                if best.is_some_and(|(best, _)| begin > best) {
                    break;
                }
                match &self.states[state as usize] {
                    State::Match => best = Some((begin, at)),
                    State::Byte(set, next) if at < text.len() && set.contains(text[at]) => {
                        self.enter(
                            *next,
                            at + 1,
                            text,
                            &mut run.stack,
                            &mut run.next,
                            begin,
                            &mut |_| {},
                        );
                    }
                    _ => {}
                }
            }
            run.now.clear();
            std::mem::swap(&mut run.now, &mut run.next);
            if at == text.len() || best.is_some() && run.now.dense.is_empty() {
                return best;
            }
            at += 1;
        }
    }

    /// Calls `found` with every place, in order, at which a match that begins at `from` may end, up
    /// to `to`.
    pub(super) fn ends(
        &self,
        text: &[u8],
        (from, to): (usize, usize),
        run: &mut Run,
        work: &mut Work,
        mut found: impl FnMut(usize),
    ) -> Option<()> {
        run.prepare(self.states.len());
        self.enter(self.start, from, text, &mut run.stack, &mut run.now, 0, &mut |_| {});
        for at in from..=to {
            work.spend(run.now.dense.len() + 1)?;
            for index in 0..run.now.dense.len() {
                match &self.states[run.now.dense[index] as usize] {
                    State::Match => found(at),
                    State::Byte(set, next) if at < to && set.contains(text[at]) => {
                        self.enter(
                            *next,
                            at + 1,
                            text,
                            &mut run.stack,
                            &mut run.next,
                            0,
                            &mut |_| {},
                        );
                    }
                    _ => {}
                }
            }
            run.now.clear();
            std::mem::swap(&mut run.now, &mut run.next);
            if run.now.dense.is_empty() {
                break;
            }
        }
        Some(())
    }

    /// Reads backwards from `to` down to `from` and calls `marked` with every mark that is passed,
    /// and its place.
    pub(super) fn marks(
        &self,
        text: &[u8],
        (from, to): (usize, usize),
        run: &mut Run,
        work: &mut Work,
        mut marked: impl FnMut(u16, usize),
    ) -> Option<()> {
        run.prepare(self.states.len());
        let mut mark = |mark| marked(mark, to);
        self.enter(self.start, to, text, &mut run.stack, &mut run.now, 0, &mut mark);
        for at in (from..to).rev() {
            work.spend(run.now.dense.len() + 1)?;
            for index in 0..run.now.dense.len() {
                if let State::Byte(set, next) = &self.states[run.now.dense[index] as usize]
                    && set.contains(text[at])
                {
                    let mut mark = |mark| marked(mark, at);
                    self.enter(*next, at, text, &mut run.stack, &mut run.next, 0, &mut mark);
                }
            }
            run.now.clear();
            std::mem::swap(&mut run.now, &mut run.next);
            if run.now.dense.is_empty() {
                break;
            }
        }
        Some(())
    }

    /// Adds `state` and all states that are reached from it without a byte.
    #[allow(clippy::too_many_arguments)]
    fn enter(
        &self,
        state: u32,
        at: usize,
        text: &[u8],
        stack: &mut Vec<u32>,
        set: &mut StateSet,
        begin: usize,
        marked: &mut dyn FnMut(u16),
    ) {
        stack.push(state);
        while let Some(state) = stack.pop() {
            if set.contains(state) {
                continue;
            }
            set.insert(state, begin);
            match &self.states[state as usize] {
                State::Split(first, second) => {
                    stack.push(*second);
                    stack.push(*first);
                }
                State::Look(look, next) if look.holds(text, at) => stack.push(*next),
                State::Mark(mark, next) => {
                    marked(*mark);
                    stack.push(*next);
                }
                _ => {}
            }
        }
    }

    fn first_bytes(&self) -> Option<ByteSet> {
        let mut first = ByteSet::default();
        let mut seen = vec![false; self.states.len()];
        let mut stack = vec![self.start];
        while let Some(state) = stack.pop() {
            if std::mem::replace(&mut seen[state as usize], true) {
                continue;
            }
            match &self.states[state as usize] {
                State::Byte(set, _) => first.union(set),
                State::Split(a, b) => stack.extend([*a, *b]),
                State::Look(_, next) | State::Mark(_, next) => stack.push(*next),
                State::Match => return None,
            }
        }
        Some(first)
    }
}
