//! Passwords: which are taken, their hashes (argon2id, RFC 9106), and how many are computed at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use super::random::{self, NoRandomness};

/// Characters of a password at least.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Characters below which a longer password is advised.
pub const PASSWORD_CHARS_ADVISED: usize = 15;

/// Bytes of a password at most.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The cost of one hash. OWASP's least is 19 MiB with two passes; this is about five times the
/// work, 50 to 100 ms of one core. A login may take that long, and a guesser is slowed by it.
const COST: Cost = Cost { memory_kib: 32 * 1024, passes: 3 };

/// Upper bound for the memory of a hash from the database: the hash itself names its memory.
const MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Hashes computed at once: 64 MiB and two cores, on a host whose other cores send calls.
const AT_ONCE: usize = 2;

/// Logins that wait for their turn. More would wait for seconds and are refused.
const WAITING_MAX: usize = 16;

/// Words that guessers try first, in lower case and without digits around them.
const COMMON: &str = include_str!("common_passwords.txt");

/// The reason why a new password is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too few characters.
    #[error("the password has {0} characters; it needs at least 8, and 15 or more are good")]
    TooShort(usize),
    /// Too many bytes.
    #[error("the password has {0} bytes; it may have 1024 at most")]
    TooLong(usize),
    /// The password is among the first that guessers try.
    #[error("the password is one that attackers try first ({0}); use several unrelated words")]
    Common(&'static str),
}

/// Checks that `password` may become that of `username`.
///
/// # Errors
/// If it is too short, too long or too common. There are no rules about kinds of characters.
pub fn check_password(password: &str, username: &str) -> Result<(), PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong(password.len()));
    }
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(PasswordError::TooShort(chars));
    }
    let cores = cores(password);
    if COMMON.lines().any(|word| cores.iter().any(|core| word == core)) {
        return Err(PasswordError::Common("a well-known word with digits or signs around it"));
    }
    let name = username.to_lowercase();
    let is_name = |core: &String| *core == name || *core == name.repeat(2);
    if !name.is_empty() && (cores.iter().any(is_name) || is_name(&password.to_lowercase())) {
        return Err(PasswordError::Common("the name of the user"));
    }
    if is_pattern(password) {
        return Err(PasswordError::Common("a repeated short piece, or keys in a row"));
    }
    Ok(())
}

/// The word in a password, in lower case: without digits and signs around it, and with letters
/// instead of the signs that people put in their place. There are two readings, as a sign in front
/// may be one or the other.
fn cores(password: &str) -> [String; 2] {
    let unfold = |c: char| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    };
    let is_around = |c: char| !c.is_alphabetic();
    let lower = password.to_lowercase();
    let end = lower.trim_end_matches(is_around);
    [end, end.trim_start_matches(is_around)]
        .map(|word| word.chars().map(unfold).collect::<String>().trim_matches(is_around).to_owned())
}

/// Tells whether a password is a pattern: a piece of up to four characters repeated, or a walk of
/// equal steps through the alphabet, the digits or a row of keys.
fn is_pattern(password: &str) -> bool {
    const ROWS: [&str; 6] = [
        "01234567890123456789",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiopqwertyuiop",
        "asdfghjklasdfghjkl",
        "zxcvbnmzxcvbnm",
        "1q2w3e4r5t6y7u8i9o0p",
    ];
    let lower: Vec<char> = password.to_lowercase().chars().collect();
    let repeats = |piece: usize| lower.iter().zip(&lower[piece..]).all(|(a, b)| a == b);
    if (1..=4).any(repeats) {
        return true;
    }
    let (forward, backward): (String, String) =
        (lower.iter().collect(), lower.iter().rev().collect());
    ROWS.iter().any(|row| row.contains(&forward) || row.contains(&backward))
}

/// Work and memory of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// KiB that are filled.
    memory_kib: u32,
    /// Times that they are gone through.
    passes: u32,
}

/// No hash was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HashError {
    /// Too many hashes wait already.
    #[error("too many logins at once")]
    Overloaded,
    /// The stored hash cannot be read.
    #[error("the stored password hash cannot be read ({0}); set a new password")]
    Unreadable(String),
    /// The hash could not be computed: no memory.
    #[error("the password hash cannot be computed: {0}")]
    Failed(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Computes hashes, a few at a time.
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    cost: Cost,
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// The hash of a random password. A login with an unknown name is compared with it, so that
    /// unknown names take as long as known ones.
    decoy: String,
    /// Number of hashes computed, for tests: equal work is counted, not timed.
    computed: Arc<AtomicU64>,
}

/// A place in the queue of waiting hashes, given back on drop.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hasher {
    /// Makes one with the cost that this version has for new passwords.
    pub(super) fn new() -> Result<Self, HashError> {
        Self::with_cost(COST)
    }

    fn with_cost(cost: Cost) -> Result<Self, HashError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .map_err(|error| HashError::Failed(error.to_string()))?;
        let mut hasher = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            cost,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::default(),
            decoy: String::new(),
            computed: Arc::default(),
        };
        hasher.decoy = hasher.hash_now(&random::password()?)?;
        Ok(hasher)
    }

    /// Like [`Self::new`], at next to no cost.
    #[cfg(test)]
    pub(super) fn cheap() -> Self {
        Self::with_cost(Cost { memory_kib: 64, passes: 1 }).unwrap()
    }

    /// Hashes computed so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Computes the hash of a new password on this thread, in 50 to 100 ms.
    pub(super) fn hash_now(&self, password: &str) -> Result<String, HashError> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        hash(&self.argon2, password)
    }

    /// Like [`Self::hash_now`], on a thread for blocking work.
    pub(super) async fn hash(&self, password: String) -> Result<String, HashError> {
        let argon2 = self.argon2.clone();
        self.compute(move || hash(&argon2, &password)).await
    }

    /// Tells whether `password` is the one behind `stored`. With `None` it takes as long and says
    /// no.
    pub(super) async fn verify(
        &self,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, HashError> {
        let argon2 = self.argon2.clone();
        let is_known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let matches = self.compute(move || verify(&argon2, &password, &stored)).await?;
        Ok(matches && is_known)
    }

    /// Tells whether `stored` was made with another cost than today's.
    pub(super) fn needs_rehash(&self, stored: &str) -> bool {
        let Ok(parsed) = PasswordHash::new(stored) else { return false };
        let Ok(params) = Params::try_from(&parsed) else { return false };
        parsed.algorithm.as_str() != Algorithm::Argon2id.as_str()
            || parsed.version != Some(Version::V0x13.into())
            || (params.m_cost(), params.t_cost(), params.p_cost())
                != (self.cost.memory_kib, self.cost.passes, 1)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let waiting = Waiting(Arc::clone(&self.waiting));
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return Err(HashError::Overloaded);
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| HashError::Overloaded)?;
        drop(waiting);
        self.computed.fetch_add(1, Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || {
            // The slot belongs to the work and not to the waiting request: a client that hangs up
            // does not make room for one more hash.
            let _slot = slot;
            work()
        });
        done.await.unwrap_or_else(|error| Err(HashError::Failed(error.to_string())))
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, HashError> {
    let salt = random::bytes::<16>()?;
    let hash = argon2.hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| HashError::Failed(error.to_string()))
}

fn verify(argon2: &Argon2<'_>, password: &str, stored: &str) -> Result<bool, HashError> {
    let unreadable = |error: &dyn std::fmt::Display| HashError::Unreadable(error.to_string());
    let parsed = PasswordHash::new(stored).map_err(|error| unreadable(&error))?;
    let params = Params::try_from(&parsed).map_err(|error| unreadable(&error))?;
    if params.m_cost() > MEMORY_KIB_MAX {
        return Err(unreadable(&"it asks for too much memory"));
    }
    match argon2.verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> bool {
        matches!(check_password(password, "alice"), Err(PasswordError::Common(_)))
    }

    #[test]
    fn length_is_the_only_rule_about_form() {
        assert_eq!(check_password("1234567", "alice"), Err(PasswordError::TooShort(7)));
        assert_eq!(check_password("ääääöö1", "alice"), Err(PasswordError::TooShort(7)));
        let long = "a long sentence ".repeat(64);
        assert_eq!(check_password(&long, "alice"), Ok(()));
        let longer = format!("{long}!");
        assert_eq!(check_password(&longer, "alice"), Err(PasswordError::TooLong(1025)));
        for good in ["mzwq lkab", "kettle-orbit-plum", "73920184", "пароль-длинный", "        x"]
        {
            assert_eq!(check_password(good, "alice"), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_guessers_try_first_is_refused() {
        for common in [
            "password",
            "Password1",
            "P@ssw0rd!",
            "passw0rd2026",
            "12345678",
            "0123456789",
            "987654321",
            "qwertyuiop",
            "QWERTY123",
            "123qwerty",
            "@dm1n1str@tor",
            "1q2w3e4r5t",
            "aaaaaaaa",
            "abcabcabc",
            "12121212",
            "iloveyou!!",
            "letmein2025",
            "sipcapture",
            "gossipper1",
            "changeme",
            "!!admin!!istrator",
            "asdfghjkl",
        ] {
            let is_refused = refused(common);
            assert_eq!(is_refused, common != "!!admin!!istrator", "{common}");
        }
    }

    #[test]
    fn the_name_of_the_user_is_refused() {
        assert!(refused("alice123"));
        assert!(refused("AliceAlice"));
        assert!(!refused("alice in wonderland"));
        assert_eq!(check_password("bob bob bob?", ""), Ok(()));
    }

    #[test]
    fn every_common_word_can_be_reached() {
        for word in COMMON.lines() {
            assert!(cores(word).iter().all(|core| core == word), "{word} has a sign or digit");
            assert!(refused(&format!("{word}12345678")), "{word}");
        }
    }

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let hasher = Hasher::cheap();
        let stored = hasher.hash("kettle-orbit-plum".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        let verify = |password: &str| hasher.verify(password.to_owned(), Some(stored.clone()));
        assert_eq!(verify("kettle-orbit-plum").await, Ok(true));
        assert_eq!(verify("kettle-orbit-plums").await, Ok(false));
        assert_eq!(verify("").await, Ok(false));
        assert_ne!(stored, hasher.hash_now("kettle-orbit-plum").unwrap(), "a salt of its own");
    }

    #[tokio::test]
    async fn without_a_user_the_work_is_the_same() {
        let hasher = Hasher::cheap();
        let stored = hasher.hash_now("kettle-orbit-plum").unwrap();
        for stored in [Some(stored), None] {
            let before = hasher.computed();
            assert_eq!(hasher.verify("wrong".to_owned(), stored).await, Ok(false));
            assert_eq!(hasher.computed(), before + 1);
        }
        assert!(!hasher.needs_rehash(&hasher.decoy), "the decoy costs what a hash costs");
    }

    #[tokio::test]
    async fn a_broken_or_greedy_hash_is_an_error() {
        let hasher = Hasher::cheap();
        let greedy = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQxMjM0$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for stored in ["", "plain", "$2y$12$abcdefghijklmnopqrstuv", greedy] {
            let result = hasher.verify("password".to_owned(), Some(stored.to_owned())).await;
            assert!(matches!(result, Err(HashError::Unreadable(_))), "{stored}: {result:?}");
        }
    }

    #[test]
    fn a_hash_of_another_cost_is_made_anew() {
        let hasher = Hasher::cheap();
        let stored = hasher.hash_now("kettle-orbit-plum").unwrap();
        assert!(!hasher.needs_rehash(&stored));
        assert!(hasher.needs_rehash(&stored.replace("m=64,", "m=65,")));
        assert!(hasher.needs_rehash(&stored.replace("t=1,", "t=2,")));
        assert!(hasher.needs_rehash(&stored.replace("argon2id", "argon2i")));
    }

    #[tokio::test]
    async fn no_more_than_a_few_hashes_are_computed_or_wait() {
        let hasher = Arc::new(Hasher::cheap());
        let slots: Vec<_> =
            (0..AT_ONCE).map(|_| Arc::clone(&hasher.slots).try_acquire_owned().unwrap()).collect();
        let verify = || {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move { hasher.verify("password".to_owned(), None).await })
        };
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| verify()).collect();
        while hasher.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(verify().await.unwrap(), Err(HashError::Overloaded));
        drop(slots);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), 0);
    }
}
