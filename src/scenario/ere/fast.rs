//! Expressions for which leftmost-first matching, as the `regex-automata` crate has it, is the same
//! as leftmost-longest matching with the groups of POSIX.
//!
//! That holds for sequences of single bytes, each perhaps repeated, however they are grouped, as
//! long as no group is repeated and there are no alternatives. Greedy matching takes of all
//! matches at the leftmost place the one whose counts (c1, c2, ...) come first in descending
//! lexicographic order. Suppose another match M with smaller counts first were longer, or gave an
//! earlier group more. At the first count where they differ the greedy match G is ahead of M in the
//! text, later M is ahead of G, so that in between they stand at the same place of the text in the
//! same element. Follow G up to there and M from there: in that element the count lies between
//! those of the two, so this is a match too, and it comes before G. So there is no such M.

use std::fmt::Write as _;

use regex_automata::meta;
use regex_automata::util::syntax;

use super::syntax::{ByteSet, Look, Node};

/// Memory that one compiled expression may take.
const SIZE_MAX: usize = 1 << 20;

/// Compiles `node` for the crate, if that gives the same matches. An expression that is too large
/// for the crate may still suit another matcher.
pub(super) fn compile(node: &Node) -> Option<meta::Regex> {
    if !is_flat(node) {
        return None;
    }
    let mut text = String::new();
    write(node, &mut text);
    meta::Regex::builder()
        .configure(meta::Regex::config().utf8_empty(false).nfa_size_limit(Some(SIZE_MAX)))
        .syntax(syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true))
        .build(&text)
        .ok()
}

fn is_flat(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Set(_) | Node::Look(Look::Begin | Look::End) => true,
        Node::Group(_, node) => is_flat(node),
        Node::Concat(nodes) => nodes.iter().all(is_flat),
        Node::Repeat { node, .. } => matches!(**node, Node::Set(_)),
        Node::Alternation(_) | Node::Look(_) | Node::Backref(_) => false,
    }
}

fn write(node: &Node, out: &mut String) {
    match node {
        Node::Set(set) => write_set(set, out),
        Node::Look(Look::Begin) => out.push_str("\\A"),
        Node::Look(_) => out.push_str("\\z"),
        Node::Group(_, node) => {
            out.push('(');
            write(node, out);
            out.push(')');
        }
        Node::Concat(nodes) => nodes.iter().for_each(|node| write(node, out)),
        Node::Repeat { node, min, max } => {
            write(node, out);
            // Writing into a string cannot fail.
            let _ = match (min, max) {
                (0, None) => write!(out, "*"),
                (1, None) => write!(out, "+"),
                (0, Some(1)) => write!(out, "?"),
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        Node::Empty | Node::Alternation(_) | Node::Backref(_) => {}
    }
}

fn write_set(set: &ByteSet, out: &mut String) {
    out.push('[');
    let mut bytes = set.bytes().peekable();
    let mut is_empty = true;
    while let Some(low) = bytes.next() {
        is_empty = false;
        let mut high = low;
        while bytes.next_if(|&next| high.checked_add(1) == Some(next)).is_some() {
            high += 1;
        }
        let _ = write!(out, "\\x{low:02x}-\\x{high:02x}");
    }
    if is_empty {
        // The empty set: all bytes, negated.
        out.push_str("^\\x00-\\xff");
    }
    out.push(']');
}
