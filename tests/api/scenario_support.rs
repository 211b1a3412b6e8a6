//! The shared parts of the scenario tests and of the fuzz target.

use gossipper::scenario::{
    Part, Program, Regex, Resources, ScenarioError, Scratch, Severity, StepKind, Template, check,
    decode,
};

/// Checks any bytes as a scenario file: no panic, findings lie inside the file, the result is a
/// program or an error, and a program's messages are well-formed.
pub fn any_file(bytes: &[u8]) {
    let text = match decode(bytes, "file.xml") {
        Ok(text) => text,
        Err(error) => return assert_inside(&error, &String::from_utf8_lossy(bytes)),
    };
    let keys = [("mykey".to_owned(), "myvalue".to_owned())];
    let checked = check(&text, "file.xml", &Resources::keys(&keys));
    checked.diagnostics.iter().for_each(|found| assert_inside(&found.what, &text));
    let is_wrong = checked.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(checked.program.is_none(), is_wrong, "{:?}", checked.diagnostics);
    match checked.program {
        // Line ends that are written as \x0d\x0a are left to the author of the file.
        Some(program) if text.contains("\\x0") => program.templates().for_each(assert_template),
        Some(program) => assert_sound(&program),
        None => {}
    }
}

/// Checks any bytes as a regular expression and, after a line end, a text: no panic, and spans lie
/// in the text and in each other.
pub fn any_regex(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (pattern, text) = (String::from_utf8_lossy(&bytes[..at]), &bytes[at + 1..]);
    let Ok(regex) = Regex::new(&*pattern) else { return };
    let mut scratch = Scratch::default();
    let Ok(found) = regex.captures(text, 9, &mut scratch) else { return };
    assert_eq!(regex.is_match(text, &mut scratch), Ok(found.is_some()), "{pattern:?}");
    let Some(found) = found else { return };
    let (begin, end) = found.get(0).expect("a match has a place");
    assert!(begin <= end && end <= text.len(), "{pattern:?}");
    for (from, to) in (1..=regex.groups().min(9)).filter_map(|group| found.get(group)) {
        assert!(begin <= from && from <= to && to <= end, "{pattern:?}: {found:?}");
    }
}

/// Fails unless the error's place is in `text`; the column may be one after the line's last byte.
pub fn assert_inside(error: &ScenarioError, text: &str) {
    let line = text.split('\n').nth((error.position.line as usize).wrapping_sub(1));
    let Some(line) = line else { panic!("line outside of the file: {error}") };
    let column = error.position.column as usize;
    assert!((1..=line.len() + 1).contains(&column), "column outside of the line: {error}");
    assert!(!error.message.is_empty());
    assert!(!error.message.contains('\n') && error.message.len() < 1000);
}

/// Fails unless every index in the program is in range and every message obeys its rules.
pub fn assert_sound(program: &Program) {
    let end = program.steps.len();
    assert!(program.unexpected_label.is_none_or(|target| usize::from(target) <= end));
    for (steps, end) in [(&program.steps, end), (&program.init, program.init.len())] {
        for step in steps {
            assert!(step.next.is_none_or(|next| usize::from(next.target) <= end));
            assert!(step.on_timeout.is_none_or(|target| usize::from(target) <= end));
            assert!(step.rtd_starts.iter().all(|&rtd| usize::from(rtd) < program.rtds.len()));
            assert!(step.rtd_stops.iter().all(|stop| usize::from(stop.rtd) < program.rtds.len()));
            assert!(step.counter.is_none_or(|at| usize::from(at) < program.counters.len()));
            let kept = 64 - step.keep.headers.leading_zeros() as usize;
            assert!(kept <= program.last_headers.len());
            if let StepKind::Send(send) = &step.kind {
                assert_message(&send.template);
                let transactions = program.transactions.len();
                assert!(send.transaction.is_none_or(|at| usize::from(at) < transactions));
            }
        }
    }
    program.templates().for_each(assert_template);
    let bound = |template: &Template| template.bind(|_| Some(b"x".to_vec()));
    program.templates().for_each(|template| assert_template(&bound(template)));
    assert!(program.pauses_p99_ms(0) >= 0.0 || program.pauses_p99_ms(0).is_nan());
}

/// Fails unless parts lie in the pool and optional lines in the template, and none crosses into the
/// body.
pub fn assert_template(template: &Template) {
    assert!(template.body_part <= template.parts.len());
    let mut line_end = 0;
    for (index, part) in template.parts.iter().enumerate() {
        match part {
            Part::Literal { start, end } => {
                assert!(start < end && *end as usize <= template.pool.len());
            }
            Part::OptionalLine { parts } => {
                assert!(index >= line_end, "optional lines nest");
                line_end = index + 1 + usize::from(*parts);
                assert!(line_end <= template.parts.len());
                assert!(index >= template.body_part || line_end <= template.body_part);
            }
            Part::Field(_) => {}
        }
    }
}

/// Fails unless lines end in CRLF and exactly one empty line, the last of the header block, stands
/// before the body, with and without optional lines.
pub fn assert_message(template: &Template) {
    for with_optional in [true, false] {
        let (text, body_at) = rendered(template, with_optional);
        let header = &text[..body_at];
        assert!(header.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&text));
        let lines = header.windows(4).filter(|window| window == b"\r\n\r\n").count();
        assert_eq!(lines, 1, "{}", String::from_utf8_lossy(&text));
    }
}

/// The message with a word for every field, and the offset of its body.
pub fn rendered(template: &Template, with_optional: bool) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut body_at = None;
    let mut index = 0;
    while index < template.parts.len() {
        if index == template.body_part {
            body_at = Some(out.len());
        }
        match &template.parts[index] {
            Part::Literal { start, end } => {
                out.extend_from_slice(&template.pool[*start as usize..*end as usize]);
            }
            Part::OptionalLine { parts } if !with_optional => index += usize::from(*parts),
            Part::OptionalLine { .. } => {}
            Part::Field(_) => out.extend_from_slice(b"field"),
        }
        index += 1;
    }
    let body_at = body_at.unwrap_or(out.len());
    (out, body_at)
}
