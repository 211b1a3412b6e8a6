//! Names of users.

/// Characters of a name at most.
pub const USERNAME_CHARS_MAX: usize = 64;

/// A name that no user can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a user: a name has 1 to 64 letters (a-z), digits and the signs . \
     _ - @, and begins with a letter or digit"
)]
pub struct BadUsername(pub String);

/// Says whether a user may have this name. It stands in logs, tables and addresses as it is.
///
/// # Errors
/// If it is empty, too long, or has other characters than these.
pub fn check_username(name: &str) -> Result<(), BadUsername> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && name.len() <= USERNAME_CHARS_MAX && name.bytes().all(is_inner) {
        return Ok(());
    }
    Err(BadUsername(name.chars().take(USERNAME_CHARS_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let longest = "n".repeat(64);
        for good in ["a", "Alice", "night.shift_2-b", "alice@example.com", "0", &longest] {
            assert_eq!(check_username(good), Ok(()), "{good}");
        }
        let longer = "n".repeat(65);
        for bad in ["", " ", "alice ", "-rf", "@x", "zoë", "a\nb", "a/b", "a'b", "\0", &longer] {
            let error = check_username(bad).unwrap_err();
            assert!(error.to_string().contains("cannot be the name of a user"), "{bad:?}");
        }
    }
}
