//! What the service manager is told: ready, reloading, stopping, how it goes, and that the data
//! plane is alive. Without a service manager all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The calls are answered and placed, and the API answers.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How it goes, in a line.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    // systemd tells by the time whether this answers its request (sd_notify(3)).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon is on its way out.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The data plane is alive.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said: twice as often as the service manager insists on.
pub(super) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Tells whether a service manager started the process.
pub(super) fn is_service() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
