//! Reports to the service manager: ready, reloading, stopping, a status line, and that the data
//! plane is alive. Without a service manager they do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that calls are answered and placed, and that the API answers.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports the state in one line.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Reports that the configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    // systemd compares this time with that of its request (sd_notify(3)).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Reports that the daemon is shutting down.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Reports that the data plane is alive.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The interval at which [`alive`] must be called: half of the service manager's limit.
pub(super) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Tells whether a service manager started the process.
pub(super) fn is_service() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be notified");
    }
}
