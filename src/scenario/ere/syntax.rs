//! Parser of POSIX extended regular expressions (POSIX.1-2017, XBD 9.4): text to a syntax tree.
//!
//! The dialect is that of the C library that SIPp runs on: cases that POSIX leaves undefined are as
//! there, with back-references and `\w \W \s \S \b \B \< \>`. Bytes are characters. A `\` inside
//! brackets is literal here, though other dialects give it a meaning.

/// Most repetitions that an interval may name (`RE_DUP_MAX` of POSIX is 255; C libraries go on).
const REPEAT_MAX: u16 = 0x7fff;
/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 64;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub(super) fn union(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|&byte| self.contains(byte))
    }

    fn of(test: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::default();
        (0..=u8::MAX).filter(|&byte| test(byte)).for_each(|byte| set.insert(byte));
        set
    }

    fn negated(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// A condition between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// `^`: the beginning of the text. Line ends have no meaning.
    Begin,
    /// `$`: the end of the text.
    End,
    /// `\b`
    WordBorder,
    /// `\B`
    NoWordBorder,
    /// `\<`
    WordBegin,
    /// `\>`
    WordEnd,
}

impl Look {
    pub(super) fn holds(self, text: &[u8], at: usize) -> bool {
        let word = |byte: Option<&u8>| byte.is_some_and(|&byte| is_word(byte));
        let before = at > 0 && word(text.get(at - 1));
        let after = word(text.get(at));
        match self {
            Self::Begin => at == 0,
            Self::End => at == text.len(),
            Self::WordBorder => before != after,
            Self::NoWordBorder => before == after,
            Self::WordBegin => !before && after,
            Self::WordEnd => before && !after,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Empty,
    Set(ByteSet),
    Look(Look),
    /// A group by its number, from 1.
    Group(u16, Box<Node>),
    Concat(Vec<Node>),
    Alternation(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u16,
        /// Most repetitions; `None` is no limit.
        max: Option<u16>,
    },
    /// `\1` to `\9`
    Backref(u8),
}

impl Node {
    pub(super) fn has_group(&self) -> bool {
        self.any(&|node| matches!(node, Self::Group(..)))
    }

    pub(super) fn has_backref(&self) -> bool {
        self.any(&|node| matches!(node, Self::Backref(_)))
    }

    fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        test(self)
            || match self {
                Self::Group(_, node) | Self::Repeat { node, .. } => node.any(test),
                Self::Concat(nodes) | Self::Alternation(nodes) => {
                    nodes.iter().any(|node| node.any(test))
                }
                _ => false,
            }
    }

    /// Tells whether it matches the empty string somewhere.
    pub(super) fn is_nullable(&self) -> bool {
        match self {
            Self::Empty | Self::Look(_) | Self::Backref(_) => true,
            Self::Set(_) => false,
            Self::Group(_, node) => node.is_nullable(),
            Self::Concat(nodes) => nodes.iter().all(Self::is_nullable),
            Self::Alternation(nodes) => nodes.iter().any(Self::is_nullable),
            Self::Repeat { node, min, .. } => *min == 0 || node.is_nullable(),
        }
    }
}

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    pub(super) groups: u16,
}

/// Parses `text`; the error is the reason in a few words.
pub(super) fn parse(text: &[u8]) -> Result<Parsed, String> {
    let mut parser = Parser { text, at: 0, groups: 0, closed: Vec::new() };
    let node = parser.alternation(0)?;
    Ok(Parsed { node, groups: parser.groups })
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    groups: u16,
    /// Groups that are complete: only these can be referred back to.
    closed: Vec<u16>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eats = self.peek() == Some(byte);
        self.at += usize::from(eats);
        eats
    }

    fn alternation(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(format!("parentheses nest more than {DEPTH_MAX} deep"));
        }
        let mut branches = vec![self.concat(depth)?];
        while self.eat(b'|') {
            branches.push(self.concat(depth)?);
        }
        Ok(match branches.len() {
            1 => branches.remove(0),
            _ => Node::Alternation(branches),
        })
    }

    fn concat(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.peek() {
            // Without an open parenthesis a closing one is a character.
            if byte == b'|' || byte == b')' && depth > 0 {
                break;
            }
            let atom = self.atom(depth)?;
            // A condition takes no byte and cannot be repeated: an operator behind it has nothing
            // before it.
            nodes.push(match atom {
                Node::Look(_) => atom,
                atom => self.repeated(atom)?,
            });
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    fn atom(&mut self, depth: usize) -> Result<Node, String> {
        let byte = self.peek().unwrap_or_default();
        self.at += 1;
        Ok(match byte {
            b'.' => Node::Set(ByteSet::ALL),
            b'^' => Node::Look(Look::Begin),
            b'$' => Node::Look(Look::End),
            b'[' => Node::Set(self.bracket()?),
            b'(' => {
                self.groups += 1;
                let index = self.groups;
                let inner = self.alternation(depth + 1)?;
                if !self.eat(b')') {
                    return Err("'(' without ')'".to_owned());
                }
                self.closed.push(index);
                Node::Group(index, Box::new(inner))
            }
            b'*' | b'+' | b'?' | b'{' => {
                let operator = char::from(byte);
                return Err(format!(
                    "there is nothing before '{operator}'; the character itself is written \
                     \\{operator}"
                ));
            }
            b'\\' => self.escape()?,
            byte => Self::literal(byte),
        })
    }

    fn literal(byte: u8) -> Node {
        let mut set = ByteSet::default();
        set.insert(byte);
        Node::Set(set)
    }

    fn escape(&mut self) -> Result<Node, String> {
        let Some(byte) = self.peek() else { return Err("'\\' at the end".to_owned()) };
        self.at += 1;
        Ok(match byte {
            b'1'..=b'9' => {
                let group = byte - b'0';
                if !self.closed.contains(&u16::from(group)) {
                    return Err(format!("\\{group} refers to no group before it"));
                }
                Node::Backref(group)
            }
            b'w' => Node::Set(ByteSet::of(is_word)),
            b'W' => Node::Set(ByteSet::of(is_word).negated()),
            b's' => Node::Set(ByteSet::of(is_space)),
            b'S' => Node::Set(ByteSet::of(is_space).negated()),
            b'b' => Node::Look(Look::WordBorder),
            b'B' => Node::Look(Look::NoWordBorder),
            b'<' => Node::Look(Look::WordBegin),
            b'>' => Node::Look(Look::WordEnd),
            b'`' => Node::Look(Look::Begin),
            b'\'' => Node::Look(Look::End),
            byte => Self::literal(byte),
        })
    }

    fn repeated(&mut self, mut node: Node) -> Result<Node, String> {
        loop {
            let (min, max) = match self.peek() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') => {
                    self.at += 1;
                    let interval = self.interval()?;
                    node = repeat(node, interval);
                    continue;
                }
                _ => return Ok(node),
            };
            self.at += 1;
            node = repeat(node, (min, max));
        }
    }

    fn interval(&mut self) -> Result<(u16, Option<u16>), String> {
        let wrong = || "the braces contain no repetition; write {2}, {2,} or {2,5}".to_owned();
        let min = self.count()?;
        let comma = self.eat(b',');
        let max = if comma { self.count()? } else { min };
        if !self.eat(b'}') || !comma && min.is_none() {
            return Err(wrong());
        }
        let min = min.unwrap_or(0);
        if max.is_some_and(|max| max < min) {
            return Err(format!("repetition {{{min},{}}}", max.unwrap_or(0)));
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<Option<u16>, String> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            let value = u32::from(number.unwrap_or(0u16)) * 10 + u32::from(digit - b'0');
            if value > u32::from(REPEAT_MAX) {
                return Err(format!("more than {REPEAT_MAX} repetitions"));
            }
            number = Some(value as u16);
        }
        Ok(number)
    }

    /// Parses a bracket expression behind its opening bracket.
    fn bracket(&mut self) -> Result<ByteSet, String> {
        let unclosed = || "'[' without ']'".to_owned();
        let negated = self.eat(b'^');
        let mut set = ByteSet::default();
        let mut first = true;
        loop {
            let byte = self.peek().ok_or_else(unclosed)?;
            if byte == b']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            if byte == b'[' && self.text.get(self.at + 1) == Some(&b':') {
                set.union(&self.class()?);
                continue;
            }
            let low = self.member()?;
            let is_range = self.peek() == Some(b'-')
                && self.text.get(self.at + 1).is_some_and(|&next| next != b']');
            if !is_range {
                set.insert(low);
                continue;
            }
            self.at += 1;
            if self.text[self.at..].starts_with(b"[:") {
                return Err("a range ends in a class".to_owned());
            }
            let high = self.member()?;
            if low > high {
                return Err("a range whose end is before its beginning".to_owned());
            }
            (low..=high).for_each(|byte| set.insert(byte));
        }
        Ok(if negated { set.negated() } else { set })
    }

    fn member(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or_else(|| "'[' without ']'".to_owned())?;
        if byte == b'[' {
            match self.text.get(self.at + 1) {
                Some(b'=') => return Err("equivalence classes [=x=] are not supported".to_owned()),
                Some(b'.') => {
                    return Err("collating symbols [.x.] are not supported".to_owned());
                }
                _ => {}
            }
        }
        self.at += 1;
        Ok(byte)
    }

    fn class(&mut self) -> Result<ByteSet, String> {
        let rest = &self.text[self.at + 2..];
        let end = memchr::memmem::find(rest, b":]").ok_or_else(|| "'[' without ']'".to_owned())?;
        let name = &rest[..end];
        self.at += end + 4;
        Ok(ByteSet::of(match name {
            b"alnum" => |byte: u8| byte.is_ascii_alphanumeric(),
            b"alpha" => |byte: u8| byte.is_ascii_alphabetic(),
            b"blank" => |byte: u8| byte == b' ' || byte == b'\t',
            b"cntrl" => |byte: u8| byte.is_ascii_control(),
            b"digit" => |byte: u8| byte.is_ascii_digit(),
            b"graph" => |byte: u8| byte.is_ascii_graphic(),
            b"lower" => |byte: u8| byte.is_ascii_lowercase(),
            b"print" => |byte: u8| byte.is_ascii_graphic() || byte == b' ',
            b"punct" => |byte: u8| byte.is_ascii_punctuation(),
            b"space" => is_space,
            b"upper" => |byte: u8| byte.is_ascii_uppercase(),
            b"xdigit" => |byte: u8| byte.is_ascii_hexdigit(),
            name => return Err(format!("no class [:{}:]", String::from_utf8_lossy(name))),
        }))
    }
}

fn repeat(node: Node, (min, max): (u16, Option<u16>)) -> Node {
    Node::Repeat { node: Box::new(node), min, max }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
