//! The third screen and its relatives: distributions of durations.

use super::Frame;

pub(super) fn response_time(frame: &Frame<'_>, rtd: usize, lines: &mut Vec<String>) {
    let bounds = &frame.now.layout.rtd_repartition_ms;
    let name = frame.now.layout.rtds.get(rtd);
    match (name, frame.now.rtd_repartitions.get(rtd)) {
        (Some(name), Some(counts)) if !bounds.is_empty() => {
            lines.push(format!("  Average Response Time Repartition {name}"));
            table(bounds, counts, lines);
        }
        (Some(name), _) => lines.push(format!(
            "  Response time {name} has no repartition: <ResponseTimeRepartition> is missing"
        )),
        (None, _) => lines.push(format!("  The scenario has no response time number {}", rtd + 1)),
    }
}

pub(super) fn call_length(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let bounds = &frame.now.layout.call_length_repartition_ms;
    if bounds.is_empty() {
        lines.push(
            "  Call lengths have no repartition: <CallLengthRepartition> is missing".to_owned(),
        );
        return;
    }
    lines.push("  Average Call Length Repartition".to_owned());
    table(bounds, &frame.now.call_length_repartition, lines);
}

fn table(bounds: &[u64], counts: &[u64], lines: &mut Vec<String>) {
    let mut from = 0;
    for (position, &count) in counts.iter().enumerate() {
        match bounds.get(position) {
            Some(&to) => {
                lines.push(format!("    {from:>10} ms <= n < {to:>10} ms : {count:>10}"));
                from = to;
            }
            None => lines.push(format!("    {:>14} n >= {from:>10} ms : {count:>10}", "")),
        }
    }
}
