//! A question whose answer is not shown.

use std::io::{self, IsTerminal, Write};
use std::sync::PoisonError;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex};

use super::page::{CHANGED, is_in_foreground, restore_on_panic};

/// Most bytes of an answer; more are ignored.
const ANSWER_BYTES_MAX: usize = 4096;

/// Asks on the terminal without showing the typed text; `None` if it was cancelled with Ctrl-C or
/// Ctrl-D. The question goes to stderr, so that stdout has results only.
///
/// # Errors
/// `NotConnected` if stdin is no terminal or belongs to another job; else the error of reading it.
pub fn ask_secretly(question: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() || !is_in_foreground() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let before = rustix::termios::tcgetattr(&stdin)?;
    let mut settings = before.clone();
    // Signals too come as keys, so that Ctrl-C cannot leave a terminal that shows nothing.
    settings
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    CHANGED.lock().unwrap_or_else(PoisonError::into_inner).input.get_or_insert(before);
    restore_on_panic();
    rustix::termios::tcsetattr(&stdin, OptionalActions::Flush, &settings)?;
    let answer = write_question(question).and_then(|()| read_answer());
    super::restore();
    write_question("\n")?;
    answer
}

fn write_question(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

fn read_answer() -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let mut answer = Answer::default();
    loop {
        let mut byte = [0];
        match rustix::io::read(&stdin, &mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match answer.press(byte[0]) {
            Pressed::More => {}
            Pressed::Cancel => return Ok(None),
            Pressed::Done => {
                let text = String::from_utf8(answer.bytes);
                return text
                    .map(Some)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"));
            }
        }
    }
}

/// The typed bytes.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Pressed {
    More,
    Done,
    Cancel,
}

impl Answer {
    fn press(&mut self, byte: u8) -> Pressed {
        match byte {
            b'\r' | b'\n' => return Pressed::Done,
            // Ctrl-C, Ctrl-D, Ctrl-\.
            0x03 | 0x04 | 0x1c => return Pressed::Cancel,
            // Backspace takes a whole character.
            0x08 | 0x7f => while self.bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            0x15 => self.bytes.clear(),
            _ if self.bytes.len() < ANSWER_BYTES_MAX => self.bytes.push(byte),
            _ => {}
        }
        Pressed::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> (String, Pressed) {
        let mut answer = Answer::default();
        for byte in keys.bytes() {
            let pressed = answer.press(byte);
            if pressed != Pressed::More {
                return (String::from_utf8(answer.bytes).unwrap(), pressed);
            }
        }
        (String::from_utf8(answer.bytes).unwrap(), Pressed::More)
    }

    #[test]
    fn keys_make_an_answer() {
        assert_eq!(typed("secret\r"), ("secret".to_owned(), Pressed::Done));
        assert_eq!(typed("wrong\x15right\n"), ("right".to_owned(), Pressed::Done));
        assert_eq!(typed("zoë\x7fe\x08\x08y\n"), ("zy".to_owned(), Pressed::Done));
        assert_eq!(typed("\x7f\x7fa\n"), ("a".to_owned(), Pressed::Done));
        assert_eq!(typed("half\x03").1, Pressed::Cancel);
        assert_eq!(typed("half\x04").1, Pressed::Cancel);
        assert_eq!(typed(&"x".repeat(2 * ANSWER_BYTES_MAX)).0.len(), ANSWER_BYTES_MAX);
    }
}
