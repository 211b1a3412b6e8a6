//! A filter of texts for the control side that drops repetitions.

/// Least time between two texts.
const PERIOD_NS: u64 = 1_000_000_000;

/// A gate for texts that may come as fast as calls do.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: String,
    next_ns: u64,
}

impl Told {
    /// Returns `true` if a text is to be sent: not if it equals the last one, and none within a
    /// second of another, because two texts that alternate would otherwise be sent for every call.
    pub(super) fn admits(&mut self, text: &str, now: u64) -> bool {
        if now < self.next_ns || self.last == text {
            return false;
        }
        self.next_ns = now + PERIOD_NS;
        text.clone_into(&mut self.last);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_alternate_are_told_once_a_second() {
        let mut told = Told::default();
        let mut count = 0;
        for ms in 0..2_500 {
            let text = if ms % 2 == 0 { "refused" } else { "no route" };
            count += usize::from(told.admits(text, ms * 1_000_000));
        }
        assert_eq!(count, 3);
        // The same text is not sent again, however late.
        let last = told.last.clone();
        assert!(!told.admits(&last, 10 * PERIOD_NS));
        assert!(told.admits("no answer", 10 * PERIOD_NS));
    }
}
