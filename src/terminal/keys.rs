//! Decoder of the bytes that a terminal sends for keys.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key that stands for a character.
    Char(char),
    /// Enter.
    Enter,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Escape.
    Escape,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// A letter with Ctrl.
    Ctrl(char),
}

/// Turns bytes into keys; a sequence may arrive in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

/// The longest sequence that means something; longer ones are dropped.
const SEQUENCE_MAX: usize = 16;

impl Decoder {
    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8], keys: &mut Vec<Key>) {
        self.pending.extend_from_slice(bytes);
        while let Some((key, used)) = next(&self.pending) {
            self.pending.drain(..used);
            keys.extend(key);
        }
        if self.pending.len() > SEQUENCE_MAX {
            self.pending.clear();
        }
    }

    /// Takes note that no more bytes came: a lone escape was the key, and half of a sequence was
    /// noise.
    pub fn flush(&mut self, keys: &mut Vec<Key>) {
        if self.pending == [ESCAPE] {
            keys.push(Key::Escape);
        }
        self.pending.clear();
    }
}

const ESCAPE: u8 = 0x1b;

/// The first key and the number of its bytes; `None` if more bytes have to come. A sequence without
/// meaning gives no key.
fn next(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        ESCAPE => match rest.first() {
            None => None,
            Some(b'[') => control_sequence(bytes),
            Some(b'O') => rest.get(1).map(|&code| (cursor_key(code), 3)),
            // This is Alt and a key, or Escape and then a key.
            Some(_) => Some((Some(Key::Escape), 1)),
        },
        b'\r' | b'\n' => Some((Some(Key::Enter), 1)),
        b'\t' => Some((Some(Key::Tab), 1)),
        0x7f | 0x08 => Some((Some(Key::Backspace), 1)),
        1..=26 => Some((Some(Key::Ctrl(char::from(b'a' + first - 1))), 1)),
        0..0x20 => Some((None, 1)),
        0x20..0x7f => Some((Some(Key::Char(char::from(first))), 1)),
        _ => character(bytes),
    }
}

/// Decodes a character beyond ASCII.
fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let len = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((None, 1)),
    };
    let text = match bytes.get(..len) {
        Some(whole) => str::from_utf8(whole),
        None => return None,
    };
    match text.ok().and_then(|text| text.chars().next()) {
        Some(c) => Some((Some(Key::Char(c)), len)),
        None => Some((None, 1)),
    }
}

/// Decodes `ESC [ parameters letter`.
fn control_sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 2;
    let parameters = &bytes[2..end];
    let key = match bytes[end] {
        b'~' => match parameters.split(|&byte| byte == b';').next() {
            Some(b"1" | b"7") => Some(Key::Home),
            Some(b"3") => Some(Key::Delete),
            Some(b"4" | b"8") => Some(Key::End),
            Some(b"5") => Some(Key::PageUp),
            Some(b"6") => Some(Key::PageDown),
            _ => None,
        },
        b'Z' => Some(Key::BackTab),
        code => cursor_key(code),
    };
    Some((key, end + 1))
}

fn cursor_key(code: u8) -> Option<Key> {
    Some(match code {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pieces: &[&[u8]]) -> Vec<Key> {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece, &mut keys);
        }
        decoder.flush(&mut keys);
        keys
    }

    #[test]
    fn keys_and_sequences_are_told_apart() {
        let typed = b"q\x1b[A\x1bOB\x1b[3~\x1b[1;5C\x1b[Z\r\t\x7f\x03\xc3\xa4";
        let expected = [
            Key::Char('q'),
            Key::Up,
            Key::Down,
            Key::Delete,
            Key::Right,
            Key::BackTab,
            Key::Enter,
            Key::Tab,
            Key::Backspace,
            Key::Ctrl('c'),
            Key::Char('ä'),
        ];
        assert_eq!(keys(&[typed]), expected);
        let bytes: Vec<[u8; 1]> = typed.iter().map(|&byte| [byte]).collect();
        let pieces: Vec<&[u8]> = bytes.iter().map(<[u8; 1]>::as_slice).collect();
        assert_eq!(keys(&pieces), expected);
    }

    #[test]
    fn a_lone_escape_is_a_key_and_noise_is_none() {
        assert_eq!(keys(&[b"\x1b"]), [Key::Escape]);
        assert_eq!(keys(&[b"\x1bq"]), [Key::Escape, Key::Char('q')]);
        assert_eq!(keys(&[b"\xff\x80q\x1b[99"]), [Key::Char('q')]);
        assert_eq!(keys(&[&[b"\x1b[".as_slice(), &[b'1'; 5000]].concat(), b"q"]), [Key::Char('q')]);
    }
}
