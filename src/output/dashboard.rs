//! A page that sums up a run: charts of rate and latency, calls, percentiles, causes, verdict.
//!
//! Pure: [`Dashboard`] remembers two minutes of seconds and draws a [`Snapshot`] into the cells of
//! a page of any size. The code that shows the page and reads the keys is elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Row, Table, Widget};

use super::failures::what;
use super::media;
use super::units;
use super::verdict::verdict_reason;
use crate::stats::{CallTotals, DurationSummary, MediaMeasure, Snapshot, Verdict, units_of_ns};

/// Most lines about failed calls.
const FAILURES_SHOWN: usize = 3;

/// Seconds that charts go back.
const SECONDS: usize = 120;

/// The figures that the charts show for one second.
#[derive(Clone, Copy, Debug)]
struct Point {
    second: f64,
    target: f64,
    achieved: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// A line of a chart: its name, its colour, and its value for a second.
type Curve<'a> = (&'a str, Color, fn(&Point) -> f64);

/// The seconds of a run that its charts show.
#[derive(Debug, Default)]
pub struct Dashboard {
    points: VecDeque<Point>,
}

/// Texts of the page beside the figures.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// The scenario, and the peer that its calls go to.
    pub title: &'a str,
    /// The state, such as paused or ending; empty while calls are made as planned.
    pub state: &'a str,
    /// The answer to the last key.
    pub message: Option<&'a str>,
    /// The time since the start, and the calls, if these are newer than the snapshot.
    pub now: Option<(Duration, CallTotals)>,
}

impl Dashboard {
    /// Remembers the last complete second of `snapshot`, once.
    pub fn note(&mut self, snapshot: &Snapshot) {
        let Some(row) = snapshot.last_second else { return };
        let second = row.second as f64;
        if self.points.back().is_some_and(|last| last.second >= second) {
            return;
        }
        if self.points.len() == SECONDS {
            self.points.pop_front();
        }
        let seconds = row.duration_ns.max(1) as f64 / 1e9;
        self.points.push_back(Point {
            second,
            target: snapshot.rate.target_now,
            achieved: row.calls_started as f64 / seconds,
            p50_ms: row.service_p50_ns as f64 / 1e6,
            p99_ms: row.service_p99_ns as f64 / 1e6,
        });
    }

    /// Forgets the seconds so far.
    pub fn clear(&mut self) {
        self.points.clear();
    }

    /// The page as cells.
    pub fn draw(&self, snapshot: &Snapshot, caption: &Caption<'_>, area: Rect) -> Buffer {
        let mut page = Buffer::empty(area);
        let head = head_lines(snapshot, caption);
        let [top, charts, middle, causes, foot] = Layout::vertical([
            Constraint::Length(head.len() as u16),
            Constraint::Min(6),
            Constraint::Length(transactions(snapshot).len().clamp(1, 6) as u16 + 3),
            Constraint::Length(5),
            Constraint::Length(1),
        ])
        .areas(area);
        Paragraph::new(head).render(top, &mut page);
        let [rate, latency] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        self.chart(
            "Calls/s",
            rate,
            [
                ("target", Color::DarkGray, |point: &Point| point.target),
                ("started", Color::Green, |point: &Point| point.achieved),
            ],
            &mut page,
        );
        self.chart(
            "Latency in ms",
            latency,
            [
                ("p99", Color::Yellow, |point: &Point| point.p99_ms),
                ("p50", Color::Cyan, |point: &Point| point.p50_ms),
            ],
            &mut page,
        );
        percentiles(snapshot).render(middle, &mut page);
        failures(snapshot).render(causes, &mut page);
        keys(caption).render(foot, &mut page);
        page
    }

    fn chart(&self, title: &str, area: Rect, lines: [Curve<'_>; 2], page: &mut Buffer) {
        let last = self.points.back().map_or(0.0, |point| point.second);
        let first = last - (SECONDS - 1) as f64;
        let series = lines.map(|(_, _, value)| -> Vec<(f64, f64)> {
            self.points.iter().map(|point| (point.second, value(point))).collect()
        });
        let most = series.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
        let top = if most > 0.0 { most * 1.1 } else { 1.0 };
        let datasets = lines.iter().zip(&series).map(|((_, color, _), data)| {
            Dataset::default()
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .style(Style::new().fg(*color))
                .data(data)
        });
        // The legend stands in the frame, so that it covers no data.
        let mut heading = vec![Span::raw(format!(" {title}: "))];
        for (name, color, _) in &lines {
            heading.push(Span::styled(format!("{name} "), Style::new().fg(*color)));
        }
        let bound = |value: f64| Span::raw(format!("{value:.*}", usize::from(value < 10.0)));
        Chart::new(datasets.collect())
            .block(Block::bordered().title(Line::from(heading)))
            .x_axis(Axis::default().bounds([first, last.max(first + 1.0)]))
            .y_axis(Axis::default().bounds([0.0, top]).labels([
                bound(0.0),
                bound(top / 2.0),
                bound(top),
            ]))
            .render(area, page);
    }
}

fn head_lines<'a>(snapshot: &Snapshot, caption: &Caption<'a>) -> Vec<Line<'a>> {
    let of_snapshot = (Duration::from_nanos(snapshot.elapsed_ns), snapshot.calls);
    let (elapsed, calls) = caption.now.unwrap_or(of_snapshot);
    let verdict = snapshot.verdict.verdict();
    let style = match verdict {
        Verdict::GeneratorLimited { .. } => Style::new().fg(Color::Red),
        Verdict::Ok => Style::new().fg(Color::Green),
        Verdict::NotJudged => Style::new().dim(),
    };
    let failed = match calls.failed {
        0 => Style::new(),
        _ => Style::new().fg(Color::Red),
    };
    let elapsed_s = elapsed.as_secs();
    let mut lines = vec![
        Line::from(vec![
            Span::raw(caption.title).bold(),
            Span::raw("  "),
            Span::raw(caption.state).fg(Color::Yellow),
        ]),
        Line::from(vec![
            Span::raw(format!(
                "{:02}:{:02}:{:02}.{}  open {}  started {}  succeeded {}  ",
                elapsed_s / 3600,
                elapsed_s / 60 % 60,
                elapsed_s % 60,
                elapsed.subsec_millis() / 100,
                units::count(calls.active),
                units::count(calls.started),
                units::count(calls.succeeded),
            )),
            Span::styled(format!("failed {}", units::count(calls.failed)), failed),
        ]),
        Line::from(vec![
            Span::raw(format!(
                "target {} calls/s  achieved {}  sent again {}  verdict ",
                units::rate(snapshot.rate.target_now),
                units::rate(snapshot.rate.achieved),
                units::count(snapshot.counters.retransmissions_sent),
            )),
            Span::styled(verdict.label(), style),
        ]),
    ];
    lines.extend(media_lines(snapshot));
    lines.extend(verdict_reason(snapshot).map(|reason| Line::from(reason).style(style)));
    lines
}

/// Lines on who heard whom, and how well; none without media.
fn media_lines<'a>(snapshot: &Snapshot) -> Vec<Line<'a>> {
    let counted = &snapshot.counters.media;
    if !counted.is_used() {
        return Vec::new();
    }
    let style = match counted.silent_calls {
        0 => Style::new(),
        _ => Style::new().fg(Color::Red),
    };
    let unknown = || "not yet known".to_owned();
    let lost = counted.loss_share().map_or_else(unknown, units::percent);
    let mos = snapshot.media.measured(MediaMeasure::Mos);
    let mos = mos.map_or_else(unknown, |mos| format!("{:.2}", units_of_ns(mos.average_ns)));
    let second = snapshot.last_second.unwrap_or_default();
    vec![
        Line::from(vec![Span::raw("media "), Span::styled(media::heard(counted), style)]),
        Line::from(format!(
            "RTP out {} packets/s  in {}  off by {} (p99)  lost {lost}  MOS {mos}",
            units::count(second.rtp_packets_sent),
            units::count(second.rtp_packets_received),
            units::duration(second.rtp_send_error_p99_ns),
        )),
    ]
}

/// Names and service times of the transactions that were seen.
fn transactions(snapshot: &Snapshot) -> Vec<(&str, &DurationSummary)> {
    let names = snapshot.layout.transactions.iter().map(String::as_str);
    let times = snapshot.transactions.iter().map(|transaction| &transaction.service);
    names.zip(times).filter(|(_, service)| service.count > 0).take(6).collect()
}

fn percentiles(snapshot: &Snapshot) -> Table<'_> {
    let rows = transactions(snapshot).into_iter().map(|(name, service)| {
        let times = [service.p50_ns, service.p90_ns, service.p99_ns, service.max_ns];
        let times = times.map(units::duration);
        let [p50, p90, p99, max] = times;
        Row::new([name.to_owned(), units::count(service.count), p50, p90, p99, max])
    });
    let widths = [14, 10, 9, 9, 9, 9].map(Constraint::Length);
    Table::new(rows, widths)
        .header(Row::new(["Transaction", "count", "p50", "p90", "p99", "max"]).bold())
        .block(Block::bordered().title(" Service time "))
}

fn failures(snapshot: &Snapshot) -> Paragraph<'_> {
    let groups = snapshot.failures.groups.iter().take(FAILURES_SHOWN);
    let groups = groups.map(|group| (group.count, group.cause.label(), what(group)));
    let others = snapshot.failures.others.nonzero();
    let others = others.map(|(cause, count)| (count, cause.label(), String::new()));
    let mut rows: Vec<(u64, &str, String)> = groups.chain(others).collect();
    // The sort is stable: among equal counts, groups come before calls without one.
    rows.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
    let row = |(count, label, what): &(u64, &str, String)| {
        Line::from(format!("{:>10}  {label}  {what}", units::count(*count)))
    };
    let lines: Vec<Line<'_>> = match rows.is_empty() {
        true => vec![Line::from("none").dim()],
        false => rows.iter().take(FAILURES_SHOWN).map(row).collect(),
    };
    Paragraph::new(lines).block(Block::bordered().title(" Failures "))
}

fn keys<'a>(caption: &Caption<'a>) -> Line<'a> {
    match caption.message {
        Some(message) => Line::from(message).fg(Color::Yellow),
        None => Line::from(
            "+ - one step  * / ten steps  p pause  q end (again: at once)  Esc stop  1-9 screens",
        )
        .dim(),
    }
}

/// The rows of a page as text for a terminal, with its colours (ECMA-48, SGR).
pub fn to_ansi(page: &Buffer) -> Vec<String> {
    let area = page.area;
    (area.top()..area.bottom())
        .map(|y| {
            let mut row = String::new();
            let mut now = (Color::Reset, Modifier::empty());
            for x in area.left()..area.right() {
                let Some(cell) = page.cell((x, y)) else { continue };
                let wanted = (cell.fg, cell.modifier);
                if wanted != now {
                    row.push_str(&sgr(wanted));
                    now = wanted;
                }
                row.push_str(cell.symbol());
            }
            if now != (Color::Reset, Modifier::empty()) {
                row.push_str("\x1b[0m");
            }
            row
        })
        .collect()
}

/// The rows of a page without colours, for tests and files.
pub fn to_text(page: &Buffer) -> Vec<String> {
    let area = page.area;
    let cells = |y| (area.left()..area.right()).filter_map(move |x| page.cell((x, y)));
    let row = |y| cells(y).map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned();
    (area.top()..area.bottom()).map(row).collect()
}

fn sgr((color, modifier): (Color, Modifier)) -> String {
    let mut codes = String::from("\x1b[0");
    if modifier.contains(Modifier::BOLD) {
        codes.push_str(";1");
    }
    if modifier.contains(Modifier::DIM) {
        codes.push_str(";2");
    }
    if modifier.contains(Modifier::REVERSED) {
        codes.push_str(";7");
    }
    codes.push_str(match color {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        Color::DarkGray => ";90",
        _ => "",
    });
    codes.push('m');
    codes
}
