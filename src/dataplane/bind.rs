//! Binding with retries. After a process was killed, its io_uring ring may hold a port for another
//! 40 ms or so. Without retries, a process that is restarted at once would find its port taken.

use std::io;
use std::thread;
use std::time::Duration;

use super::launch::LaunchError;

/// Number of further tries for a port that is taken, and the pause before each: a second in all.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `bind` until the port is free, for at most a second.
///
/// # Errors
/// The last error of `bind`.
pub fn bind_again<T>(bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    patiently(bind, |error| error.kind() == io::ErrorKind::AddrInUse, thread::sleep)
}

/// Does the same as [`bind_again`], for the sockets of a worker.
pub(super) fn open_again<T>(
    open: impl FnMut() -> Result<T, LaunchError>,
) -> Result<T, LaunchError> {
    patiently(open, LaunchError::is_taken, thread::sleep)
}

fn patiently<T, E>(
    mut bind: impl FnMut() -> Result<T, E>,
    is_taken: impl Fn(&E) -> bool,
    mut sleep: impl FnMut(Duration),
) -> Result<T, E> {
    for _ in 0..TRIES {
        match bind() {
            Err(error) if is_taken(&error) => sleep(PAUSE),
            result => return result,
        }
    }
    bind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_tried_again_for_a_second() {
        let mut slept = Duration::ZERO;
        let mut left = 3;
        let bound = patiently(
            || {
                if left == 0 {
                    Ok("bound")
                } else {
                    left -= 1;
                    Err("taken")
                }
            },
            |error| *error == "taken",
            |pause| slept += pause,
        );
        assert_eq!((bound, slept), (Ok("bound"), 3 * PAUSE));

        let mut slept = Duration::ZERO;
        let bound = patiently(|| Err::<(), _>("taken"), |_| true, |pause| slept += pause);
        assert_eq!((bound, slept), (Err("taken"), Duration::from_secs(1)));

        let no_sleep = |_| panic!("another error stays what it is");
        assert_eq!(patiently(|| Err::<(), _>("forbidden"), |_| false, no_sleep), Err("forbidden"));
    }
}
