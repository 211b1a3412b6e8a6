//! Charts as inline SVG, which need no script and print sharply. Colours are those of the page.

use super::markup::Markup;
use crate::output::units;

/// Size of a chart over time, and of the place of its curves in it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 708.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 174.0;

/// Size of a row of bars.
const ROW: f64 = 24.0;
const BAR_LEFT: f64 = 270.0;
const BAR_RIGHT: f64 = 590.0;

/// Most ticks of an axis.
const TICKS_MAX: f64 = 5.0;

/// A piece of time on the horizontal axis, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: f64,
    pub(super) end: f64,
}

/// One curve: a value for each span, or a gap.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    /// The class that gives its colour: `a` to `d`.
    pub(super) class: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// A chart over time.
pub(super) struct TimeChart<'c> {
    pub(super) title: &'static str,
    pub(super) spans: &'c [Span],
    pub(super) curves: &'c [Curve],
    /// Spans in which the figures are those of the generator.
    pub(super) shaded: &'c [Span],
    /// Writes a value of the vertical axis.
    pub(super) label: fn(f64) -> String,
}

impl TimeChart<'_> {
    /// Draws the chart. Without a span there is nothing to draw.
    pub(super) fn draw(&self, out: &mut Markup) {
        let Some(last) = self.spans.last() else { return };
        let end = last.end.max(f64::MIN_POSITIVE);
        let values = self.curves.iter().flat_map(|curve| &curve.values);
        let highest = values.flatten().copied().fold(0.0, f64::max);
        let step = nice_step(highest);
        let top = if highest > 0.0 { (highest / step).ceil() * step } else { 1.0 };
        let x = |second: f64| LEFT + (RIGHT - LEFT) * (second / end).clamp(0.0, 1.0);
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value / top).clamp(0.0, 1.0);
        self.caption(out);
        out.raw("<svg role=\"img\" viewBox=\"0 0 ").text(WIDTH).raw(" ").text(HEIGHT);
        out.raw("\" aria-label=\"").text(self.title).raw("\">");
        for span in self.shaded {
            let (from, to) = (x(span.begin), x(span.end));
            out.raw("<rect class=\"limited\" x=\"").text(round(from)).raw("\" y=\"").text(TOP);
            out.raw("\" width=\"").text(round((to - from).max(1.0))).raw("\" height=\"");
            out.text(BOTTOM - TOP).raw("\"/>");
        }
        let ticks =
            (0..).map(|tick| f64::from(tick) * step).take_while(|value| *value < top + step / 2.0);
        for value in ticks {
            grid_line(out, y(value), &(self.label)(value));
        }
        let step = nice_time_step(end);
        let ticks = (0..).map(|tick| f64::from(tick) * step).take_while(|second| *second <= end);
        for second in ticks {
            out.raw("<text class=\"tick x\" x=\"").text(round(x(second))).raw("\" y=\"");
            out.text(BOTTOM + 18.0).raw("\">").text(clock(second)).raw("</text>");
        }
        for curve in self.curves {
            out.raw("<path class=\"curve ").raw(curve.class).raw("\" d=\"");
            let mut is_drawn = false;
            for (span, value) in self.spans.iter().zip(&curve.values) {
                let Some(value) = value else {
                    is_drawn = false;
                    continue;
                };
                let height = round(y(*value));
                out.raw(if std::mem::replace(&mut is_drawn, true) { "L" } else { "M" });
                out.text(round(x(span.begin))).raw(" ").text(height);
                out.raw("L").text(round(x(span.end))).raw(" ").text(height);
            }
            out.raw("\"/>");
        }
        out.raw("</svg></figure>");
    }

    /// The title, and the names of the curves with their colours.
    fn caption(&self, out: &mut Markup) {
        out.raw("<figure><figcaption>").element("b", self.title);
        for curve in self.curves {
            out.raw(" <span class=\"key ").raw(curve.class).raw("\">").text(curve.name);
            out.raw("</span>");
        }
        if !self.shaded.is_empty() {
            out.raw(" <span class=\"key limited\">the generator was the limit</span>");
        }
        out.raw("</figcaption>");
    }
}

fn grid_line(out: &mut Markup, y: f64, label: &str) {
    let y = round(y);
    out.raw("<path class=\"grid\" d=\"M").text(LEFT).raw(" ").text(y).raw("H").text(RIGHT);
    out.raw("\"/><text class=\"tick\" x=\"").text(LEFT - 8.0).raw("\" y=\"").text(y + 4.0);
    out.raw("\">").text(label).raw("</text>");
}

/// A bar: its label, its count, and the class that gives its colour.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) count: u64,
    pub(super) class: &'static str,
}

/// Draws counts as bars with their shares.
pub(super) fn bars(out: &mut Markup, title: &'static str, bars: &[Bar]) {
    let total: u64 = bars.iter().map(|bar| bar.count).sum();
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
    let height = ROW * bars.len() as f64 + 8.0;
    out.raw("<figure><figcaption>").element("b", title).raw("</figcaption>");
    out.raw("<svg role=\"img\" viewBox=\"0 0 ").text(WIDTH).raw(" ").text(height);
    out.raw("\" aria-label=\"").text(title).raw("\">");
    for (index, bar) in bars.iter().enumerate() {
        let y = ROW * index as f64 + 4.0;
        let share = bar.count as f64 / most.max(1) as f64;
        let width = match bar.count {
            0 => 0.0,
            _ => ((BAR_RIGHT - BAR_LEFT) * share).max(1.5),
        };
        let of_all = bar.count as f64 / total.max(1) as f64;
        out.raw("<text class=\"name\" x=\"").text(BAR_LEFT - 10.0).raw("\" y=\"").text(y + 15.0);
        out.raw("\">").text(&bar.label).raw("</text><rect class=\"bar ").raw(bar.class);
        out.raw("\" x=\"").text(BAR_LEFT).raw("\" y=\"").text(y).raw("\" width=\"");
        out.text(round(width)).raw("\" height=\"").text(ROW - 6.0);
        out.raw("\"/><text class=\"value\" x=\"").text(round(BAR_LEFT + width + 8.0));
        out.raw("\" y=\"").text(y + 15.0).raw("\">").text(units::count(bar.count));
        out.raw(" (").text(units::percent(of_all)).raw(")</text>");
    }
    out.raw("</svg></figure>");
}

/// A place on the page, to a tenth of a pixel.
fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

/// The distance of ticks up to `highest`: 1, 2 or 5 times a power of ten.
fn nice_step(highest: f64) -> f64 {
    if highest.is_nan() || highest <= 0.0 {
        return 1.0;
    }
    let rough = highest / TICKS_MAX;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power)
}

/// The distance of ticks on the axis of time, in seconds.
fn nice_time_step(end: f64) -> f64 {
    const STEPS: [f64; 16] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
        14_400.0, 28_800.0,
    ];
    let days = (end / 86_400.0 / 7.0).ceil() * 86_400.0;
    STEPS.into_iter().find(|step| end / step <= 8.0).unwrap_or(days)
}

/// A time since the start: `02:05`, `1:00:00`.
fn clock(second: f64) -> String {
    let whole = second.max(0.0) as u64;
    match whole / 3600 {
        0 => format!("{:02}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (highest, step) in [(0.0, 1.0), (1.0, 0.2), (7.3, 2.0), (99.0, 20.0), (4.0e9, 1.0e9)] {
            let found = nice_step(highest);
            assert!((found - step).abs() < step * 1e-9, "{highest}: {found}");
        }
        for end in [0.5, 1.0, 59.0, 600.0, 86_400.0, 30.0 * 86_400.0] {
            assert!((1.0..=8.0).contains(&(end / nice_time_step(end)).ceil()), "{end}");
        }
        assert_eq!([clock(0.0), clock(125.0), clock(3600.0)], ["00:00", "02:05", "1:00:00"]);
    }

    #[test]
    fn a_curve_stays_in_its_chart_whatever_the_values() {
        let spans = [Span { begin: 0.0, end: 1.0 }, Span { begin: 1.0, end: 1.5 }];
        for values in [[0.0, 0.0], [1.0, 1e18], [3.0, 2.0]] {
            let curves = [Curve { name: "n", class: "a", values: values.map(Some).to_vec() }];
            let chart = TimeChart {
                title: "t",
                spans: &spans,
                curves: &curves,
                shaded: &spans[1..],
                label: |value| value.to_string(),
            };
            let mut out = Markup::default();
            chart.draw(&mut out);
            let text = out.into_string();
            let path = text.split("class=\"curve a\" d=\"").nth(1).unwrap();
            let path = path.split('"').next().unwrap();
            let places: Vec<f64> = path
                .split(['M', 'L', ' '])
                .filter(|place| !place.is_empty())
                .map(|place| place.parse().unwrap())
                .collect();
            assert_eq!(places.len(), 8, "{path}");
            for (x, y) in places.chunks(2).map(|pair| (pair[0], pair[1])) {
                assert!((LEFT..=RIGHT).contains(&x) && (TOP..=BOTTOM).contains(&y), "{path}");
            }
        }
    }
}
