//! The live status: one line that is rewritten on a terminal, or one line per update elsewhere.

use std::io::{self, Write};

use anstyle::Style;

use super::palette::{Palette, paint};
use super::units;
use crate::stats::{HistoryRow, LimitCause, Snapshot, Verdict};

/// Width of the progress bar between its brackets.
const BAR_COLUMNS: usize = 12;

/// The way in which status lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMode {
    /// On a terminal of this many columns: every update overwrites the last.
    Rewrite {
        /// Columns of the terminal.
        columns: usize,
    },
    /// Into a file or pipe: one line per update.
    Lines,
}

/// Printer of a run's state while the run goes on.
#[derive(Debug)]
pub struct LiveStatus<W: Write> {
    out: W,
    mode: StatusMode,
    palette: Palette,
    calls_planned: Option<u64>,
    /// Text on the event that the run waits for, once it starts no more calls.
    waiting: Option<String>,
    /// Width of the line on the terminal, in columns.
    shown_columns: usize,
}

/// A piece of the line: text and style are separate, so that its width is known.
struct Piece {
    text: String,
    style: Style,
}

impl<W: Write> LiveStatus<W> {
    /// A status on `out`; `calls_planned` is the `-m` of the run, if it has one.
    pub fn new(out: W, mode: StatusMode, palette: Palette, calls_planned: Option<u64>) -> Self {
        Self { out, mode, palette, calls_planned, waiting: None, shown_columns: 0 }
    }

    /// Shows from now on, in place of the rate, the event that the run waits for; `None` shows the
    /// rate again.
    pub fn wait_for(&mut self, waiting: Option<String>) {
        self.waiting = waiting;
    }

    /// Shows the state.
    pub fn update(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let pieces = self.pieces(snapshot);
        let StatusMode::Rewrite { columns } = self.mode else {
            writeln!(self.out, "{}", join(&pieces, usize::MAX).0)?;
            return self.out.flush();
        };
        // A line that fills the last column would wrap, and then could not be overwritten.
        let (line, line_columns) = join(&pieces, columns.saturating_sub(1));
        let blank = " ".repeat(self.shown_columns.saturating_sub(line_columns));
        self.shown_columns = line_columns;
        write!(self.out, "\r{line}{blank}")?;
        self.out.flush()
    }

    /// Wipes the line off a terminal, so that other text can be printed.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.shown_columns == 0 {
            return Ok(());
        }
        let blank = " ".repeat(self.shown_columns);
        self.shown_columns = 0;
        write!(self.out, "\r{blank}\r")?;
        self.out.flush()
    }

    /// The pieces of the line, the most important first: those that do not fit are left out from
    /// the end.
    fn pieces(&self, snapshot: &Snapshot) -> Vec<Piece> {
        let palette = &self.palette;
        let calls = &snapshot.calls;
        let second = snapshot.last_second.unwrap_or_default();
        let plain = |text| Piece { text, style: Style::new() };
        let elapsed_s = snapshot.elapsed_ns / 1_000_000_000;
        let mut pieces = vec![plain(format!("{:02}:{:02}", elapsed_s / 60, elapsed_s % 60))];
        if let Some(planned) = self.calls_planned.filter(|&planned| planned > 0) {
            let done = calls.succeeded + calls.failed;
            pieces.push(plain(progress_bar(done as f64 / planned as f64)));
        }
        match &self.waiting {
            Some(waiting) if calls.active > 0 => pieces.push(plain(waiting.clone())),
            _ => {
                pieces.push(plain(rate_text(snapshot, &second)));
                pieces.push(plain(format!("active {}", units::count(calls.active))));
            }
        }
        pieces.push(plain(format!("ok {}", units::count(calls.succeeded))));
        let failed_style = if calls.failed > 0 { palette.bad } else { Style::new() };
        pieces.push(Piece {
            text: format!("failed {}", units::count(calls.failed)),
            style: failed_style,
        });
        pieces.push(verdict_mark(palette, &second));
        pieces.push(plain(format!(
            "p50 {} p99 {}",
            units::duration(second.response_p50_ns),
            units::duration(second.response_p99_ns)
        )));
        let retransmissions = units::count(snapshot.counters.retransmissions_sent);
        pieces.push(plain(format!("retrans {retransmissions}")));
        let media = &snapshot.counters.media;
        if media.is_used() {
            pieces.push(plain(format!(
                "rtp {}/{} packets/s",
                units::count(second.rtp_packets_sent),
                units::count(second.rtp_packets_received),
            )));
        }
        if media.silent_calls > 0 {
            let text = format!("silent {}", units::count(media.silent_calls));
            pieces.push(Piece { text, style: palette.bad });
        }
        pieces
    }
}

/// The pieces side by side within `columns_max`, and the number of columns that they take.
fn join(pieces: &[Piece], columns_max: usize) -> (String, usize) {
    let mut line = String::new();
    let mut columns = 0;
    for piece in pieces {
        let gap = if columns == 0 { "" } else { "  " };
        let piece_columns = gap.len() + piece.text.chars().count();
        if columns + piece_columns > columns_max {
            break;
        }
        columns += piece_columns;
        line.push_str(gap);
        line.push_str(&paint(piece.style, &piece.text));
    }
    (line, columns)
}

fn progress_bar(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    let filled = (share * BAR_COLUMNS as f64) as usize;
    let empty = BAR_COLUMNS - filled;
    // The share is rounded down: 100 % is when the last call has ended.
    let percent = (share * 100.0) as u64;
    format!("[{}{}] {percent:>3}%", "#".repeat(filled), ".".repeat(empty))
}

fn rate_text(snapshot: &Snapshot, second: &HistoryRow) -> String {
    let achieved = units::rate(second.calls_per_second());
    match snapshot.rate.target_now {
        target if target > 0.0 => format!("{achieved}/{} cps", units::rate(target)),
        _ => format!("{achieved} cps"),
    }
}

fn verdict_mark(palette: &Palette, second: &HistoryRow) -> Piece {
    let verdict = second.verdict();
    let word = verdict.label();
    match verdict {
        Verdict::GeneratorLimited { causes } => {
            let first = causes.iter().next().map_or("", LimitCause::label);
            let more = match causes.len() {
                count @ 2.. => format!("+{}", count - 1),
                _ => String::new(),
            };
            Piece { text: format!("{word} {first}{more}"), style: palette.warning }
        }
        Verdict::Ok => Piece { text: word.to_owned(), style: palette.good },
        Verdict::NotJudged => Piece { text: word.to_owned(), style: palette.dim },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_only_at_the_end() {
        assert_eq!(progress_bar(0.0), "[............]   0%");
        assert_eq!(progress_bar(0.5), "[######......]  50%");
        assert_eq!(progress_bar(0.9999), "[###########.]  99%");
        assert_eq!(progress_bar(1.0), "[############] 100%");
        assert_eq!(progress_bar(7.0), "[############] 100%");
    }

    #[test]
    fn pieces_that_do_not_fit_are_left_out() {
        let piece = |text: &str| Piece { text: text.to_owned(), style: Style::new() };
        let pieces = [piece("one"), piece("1.2µs"), piece("three")];
        assert_eq!(join(&pieces, 80), ("one  1.2µs  three".to_owned(), 17));
        assert_eq!(join(&pieces, 16), ("one  1.2µs".to_owned(), 10));
        assert_eq!(join(&pieces, 2), (String::new(), 0));
    }
}
