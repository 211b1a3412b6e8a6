//! Decimal digits without allocation or formatting machinery, for messages and records.

/// Most digits of a `u64`.
pub(crate) const DIGITS_MAX: usize = 20;

/// Writes `value` to the end of `room`, and returns its digits; at least one.
#[inline]
pub(crate) fn digits(mut value: u64, room: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        room[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_largest_number_have_their_digits() {
        for value in [0, 7, 10, 99, 100, u64::MAX] {
            let mut room = [0; DIGITS_MAX];
            assert_eq!(digits(value, &mut room), value.to_string().as_bytes());
        }
    }
}
