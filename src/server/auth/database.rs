//! The thread that owns the users' file, and the accounts in memory that every request is checked
//! against.
//!
//! Checking a request reads memory only: [`Accounts`] as of the last look at the file. The thread
//! looks every half second for changes by another process, and at once after its own. If the file
//! cannot be read, the last accounts hold for [`TRUST_UNSEEN`]. After that every request is
//! refused, because a user may have been disabled meanwhile.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;

use super::store::{Accounts, By, REVOKED_MAX, Store, StoreError};
use super::token::TokenId;

/// The time between two looks for changes by another process.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The time for which the last accounts hold while the file cannot be read. Longer than another
/// process may keep it locked.
const TRUST_UNSEEN: Duration = Duration::from_secs(20);

/// The pause between tries to write logouts that could not be written.
const WRITE_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// Requests that wait for the file.
const JOBS_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// The handle of the thread. Dropping it finishes the waiting jobs and closes the file.
pub(super) struct Database {
    jobs: Option<SyncSender<Job>>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// A logout that is not in the file yet. It holds all the same, as long as this process lives.
struct Unwritten {
    user_id: i64,
    expires_at_s: i64,
    by: By,
    /// True once the first try has failed.
    is_late: bool,
}

/// The result of the thread's last look at the file.
struct Seen {
    unwritten: Mutex<HashMap<TokenId, Unwritten>>,
    /// The accounts; `None` if the thread's own change could not be read back.
    accounts: ArcSwapOption<Accounts>,
    /// Time of the last good look, in milliseconds since `begin`.
    at_ms: AtomicU64,
    begin: Instant,
    /// True once the last look failed and the log has been told.
    is_blind: AtomicBool,
}

/// The state of the thread: the store, and what it knows of the file.
struct Keeper {
    store: Store,
    seen: Arc<Seen>,
    data_version: i64,
    /// Device and inode of the file that is open.
    file: Option<(u64, u64)>,
}

impl Database {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn start(store: Store) -> Result<Self, StoreError> {
        // The version first: a write between the two is seen as a change.
        let data_version = store.data_version()?;
        let seen = Arc::new(Seen {
            unwritten: Mutex::default(),
            accounts: ArcSwapOption::from_pointee(store.accounts()?),
            at_ms: AtomicU64::new(0),
            begin: Instant::now(),
            is_blind: AtomicBool::new(false),
        });
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let file = identity_of(store.path());
        let path = store.path().to_owned();
        let keeper = Keeper { store, seen: Arc::clone(&seen), data_version, file };
        let thread = thread::Builder::new()
            .name("auth-db".to_owned())
            .spawn(move || keeper.run(&queue))
            .map_err(|source| StoreError::File { path, source })?;
        Ok(Self { jobs: Some(jobs), seen, thread: Some(thread) })
    }

    /// The accounts to check requests against; `None` if the file was unreadable for too long.
    pub(super) fn accounts(&self) -> Option<Arc<Accounts>> {
        let at = Duration::from_millis(self.seen.at_ms.load(Ordering::Acquire));
        let unseen = self.seen.begin.elapsed().saturating_sub(at);
        self.seen.accounts.load_full().filter(|_| unseen < TRUST_UNSEEN)
    }

    /// Tells whether a token was taken out of use but is still good in the file.
    pub(super) fn has_unwritten(&self, token: TokenId) -> bool {
        lock(&self.seen.unwritten).contains_key(&token)
    }

    /// Takes a token out of use at once, even if the file cannot be written. Returns whether the
    /// file was written; if not, it is written later.
    ///
    /// # Errors
    /// If too many logouts wait to be written: the token is still good.
    pub(super) async fn revoke(
        &self,
        token: TokenId,
        user_id: i64,
        expires_at_s: i64,
        by: By,
    ) -> Result<bool, StoreError> {
        let logout = Unwritten { user_id, expires_at_s, by: by.clone(), is_late: false };
        {
            let mut unwritten = lock(&self.seen.unwritten);
            if unwritten.len() >= REVOKED_MAX {
                return Err(StoreError::Overloaded);
            }
            unwritten.insert(token, logout);
        }
        let work = move |store: &mut Store| store.revoke(token, user_id, expires_at_s, &by);
        let written = self.run(work).await;
        let mut unwritten = lock(&self.seen.unwritten);
        match written {
            Ok(()) => _ = unwritten.remove(&token),
            Err(error) => {
                tracing::error!(
                    "{error}; the logout is valid until a restart, and is written later"
                );
                unwritten.entry(token).and_modify(|logout| logout.is_late = true);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for a failed look, then drops the accounts, as after [`TRUST_UNSEEN`].
    #[cfg(test)]
    pub(super) async fn wait_until_blind(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.seen.is_blind.load(Ordering::Acquire) {
            assert!(Instant::now() < end, "the look does not fail");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.seen.accounts.store(None);
    }

    /// Queues `work` for the thread and does not wait. The outcome is only in the log.
    pub(super) fn post(
        &self,
        work: impl FnOnce(&mut Store) -> Result<(), StoreError> + Send + 'static,
    ) {
        let job: Job = Box::new(move |keeper| {
            if let Err(error) = work(&mut keeper.store) {
                tracing::warn!("{error}");
            }
        });
        // With too many jobs waiting this work is dropped: it can be done without.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(job);
        }
    }

    /// Does `work` with the store on its thread. Its changes hold for requests before this returns.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let job: Job = Box::new(move |keeper| {
            let result = work(&mut keeper.store);
            if keeper.store.take_accounts_changed() {
                keeper.look();
            }
            // The caller may have gone away; the work is done all the same.
            let _ = answer.send(result);
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        waiting.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed already.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut next_look = Instant::now() + LOOK_EVERY;
        let mut next_write = Instant::now() + WRITE_AGAIN_EVERY;
        loop {
            let wait = next_look.saturating_duration_since(Instant::now());
            match queue.recv_timeout(wait) {
                Ok(job) => job(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write_again(),
            }
            // Also under requests without a pause.
            if Instant::now() >= next_look {
                self.look_if_changed();
                next_look = Instant::now() + LOOK_EVERY;
            }
            if Instant::now() >= next_write {
                self.write_again();
                next_write = Instant::now() + WRITE_AGAIN_EVERY;
            }
        }
    }

    /// Writes logouts that could not be written before.
    fn write_again(&mut self) {
        let unwritten = lock(&self.seen.unwritten);
        let late = unwritten.iter().filter(|(_, logout)| logout.is_late);
        let late: Vec<_> = late
            .map(|(&token, logout)| (token, logout.user_id, logout.expires_at_s, logout.by.clone()))
            .collect();
        drop(unwritten);
        for (token, user_id, expires_at_s, by) in late {
            // The next one would fail as well, and may wait for the lock first.
            if self.store.revoke(token, user_id, expires_at_s, &by).is_err() {
                return;
            }
            // The file is read first, so that the token is good at no moment in between.
            if self.store.take_accounts_changed() && self.look() {
                lock(&self.seen.unwritten).remove(&token);
            }
        }
    }

    /// Reads the accounts if another process has written to the file.
    fn look_if_changed(&mut self) {
        let checked = match self.store.data_version() {
            Ok(_) if identity_of(self.store.path()) != self.file => {
                Err(StoreError::Replaced { path: self.store.path().to_owned() })
            }
            result => result,
        };
        match checked {
            Ok(version) if version == self.data_version => self.saw(),
            Ok(version) => {
                if self.look() {
                    self.data_version = version;
                }
            }
            Err(error) => self.is_unseen(&error),
        }
    }

    /// Reads all accounts anew; returns `false` if that failed.
    fn look(&mut self) -> bool {
        match self.store.accounts() {
            Ok(accounts) => {
                self.seen.accounts.store(Some(Arc::new(accounts)));
                self.saw();
                true
            }
            Err(error) => {
                // The thread's own change could not be read: every request is refused until the
                // next look.
                self.seen.accounts.store(None);
                self.is_unseen(&error);
                false
            }
        }
    }

    fn saw(&mut self) {
        let at_ms = u64::try_from(self.seen.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seen.at_ms.store(at_ms, Ordering::Release);
        if self.seen.is_blind.swap(false, Ordering::AcqRel) {
            tracing::info!("the user database can be read again");
        }
    }

    fn is_unseen(&mut self, error: &StoreError) {
        // Forces the next look to read all, whatever the version.
        self.data_version = i64::MIN;
        if !self.seen.is_blind.swap(true, Ordering::AcqRel) {
            tracing::error!("{error}; logins and tokens are refused until it can be read again");
        }
    }
}

/// Device and inode of a file: they tell it from another file under the same name.
fn identity_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A lock on data that is consistent at every moment, whatever a thread with it did.
pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
