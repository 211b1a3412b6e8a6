//! All engines of a process. They come from the configuration, or are started by a request.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use gossipper_uring::sys;

use super::engine::{self, Start};
use super::error::{DynamicError, ForgetError, StartError, StartFailure};
use super::handle::EngineHandle;
use super::spec::{Claim, EngineKind, EngineSpec, is_id};
use crate::config::RunConfig;
use crate::control::{Handle, Phase, Policy, Published, Refusal, Request};
use crate::stats::ExitCode;

/// Most engines of the configuration in a process.
pub const STATIC_MAX: usize = 16;
/// Most engines that may be started beside those.
pub const DYNAMIC_MAX: usize = 32;

/// Most removed engines that may still be ending, each for some seconds and with its memory.
const LEAVING_MAX: usize = 64;

/// The alias of the primary engine's id.
const PRIMARY: &str = "primary";
/// Time without a report after which workers count as stuck: they report every second.
const SILENCE_NS: u64 = 5_000_000_000;
/// Size from which a block of memory is a pool of an engine, and is not kept when that ends.
const POOL_BYTES: i32 = 128 << 10;
/// Most sentences that are remembered as already logged.
const TOLD_MAX: usize = 64;
/// Period of the checks while the end of engines is awaited.
const POLL: Duration = Duration::from_millis(20);
/// Time for which the thread of an engine may go on after its state says that it has ended.
const LAST_WORDS_NS: u64 = 5_000_000_000;
/// Time for which answering engines go on at the end, for the last calls of engines beside them.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// The result of ending the engines of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// The exit code: the highest of all engines, and 255 if one failed.
    pub code: u8,
    /// True if all have ended in time.
    pub in_time: bool,
}

/// The engines of a process. Clones share them.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    rows: ArcSwap<Vec<EngineHandle>>,
    roster: Mutex<Roster>,
    policy: Policy,
    /// Workers for each listener of the configuration's engines.
    workers: Option<usize>,
    told: Told,
}

/// The sentences about engines' plans that were already logged: several engines may have the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Tells whether a sentence is new, and remembers it.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.iter().any(|known| known == text) {
            return false;
        }
        if told.len() < TOLD_MAX {
            told.push(text.to_owned());
        }
        true
    }
}

impl Drop for Shared {
    /// Ends all engines, because no handle can reach them any more.
    fn drop(&mut self) {
        self.rows.load().iter().for_each(|row| row.end_by(sys::monotonic_now()));
    }
}

/// The data for changes of the list, which are rare.
#[derive(Default)]
struct Roster {
    /// Engines without a row that have not ended yet.
    leaving: Vec<EngineHandle>,
    /// Engines that are being started: their ids and claims are reserved.
    starting: Vec<Starting>,
    /// Number for the next engine without a given id.
    next: u64,
    is_closed: bool,
}

/// An engine that is being started.
struct Starting {
    id: String,
    claim: Claim,
    /// True for a dynamic engine; otherwise one of the configuration is started again.
    is_dynamic: bool,
    /// The handle of its thread, once there is one.
    handle: Option<EngineHandle>,
    /// True if it was removed before it ran.
    is_removed: bool,
}

impl Registry {
    /// Starts the engines of a configuration, the primary one first, and waits until each runs or
    /// has failed. If another than the primary one fails, its row has the reason.
    ///
    /// # Errors
    /// A contradiction between the specifications, or the reason why the primary engine does not
    /// run.
    pub fn start(specs: Vec<EngineSpec>, policy: Policy) -> Result<Self, StartError> {
        Self::start_after(specs, policy, &[])
    }

    /// Does the same as [`start`](Self::start), with sentences that were already logged about the
    /// configuration, and are not logged again for an engine.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_after(
        specs: Vec<EngineSpec>,
        policy: Policy,
        told_before: &[String],
    ) -> Result<Self, StartError> {
        check(&specs)?;
        let told = Told::default();
        told_before.iter().for_each(|text| _ = told.is_new(text));
        sys::return_large_blocks(POOL_BYTES);
        let share = share_of_cpus(&specs);
        let registry = Self {
            shared: Arc::new(Shared {
                rows: ArcSwap::default(),
                roster: Mutex::new(Roster { next: 1, ..Roster::default() }),
                policy,
                workers: share,
                told,
            }),
        };
        let mut waiting = Vec::new();
        for (index, mut spec) in specs.into_iter().enumerate() {
            let id = spec.id.clone();
            if index > 0 {
                choose_port(&mut spec);
            }
            let (handle, started) = spawn(spec, &registry.shared, share, None)
                .map_err(|reason| StartError::Thread { id: id.clone(), reason })?;
            registry.change_rows(|rows| rows.push(handle));
            match index {
                0 => wait(&started).map_err(|why| StartError::Primary { id, why })?,
                _ => waiting.push(started),
            }
        }
        // The states of failed engines have their reasons.
        waiting.iter().for_each(|started| _ = wait(started));
        Ok(registry)
    }

    /// A registry with one row, for a run that is supervised elsewhere. No engine can be started
    /// beside it.
    pub(in crate::server) fn around(run: Handle, config: &RunConfig) -> Self {
        let policy = run.policy().clone();
        let roster = Mutex::new(Roster { is_closed: true, ..Roster::default() });
        let rows = ArcSwap::from_pointee(vec![EngineHandle::around(run, config)]);
        let shared = Shared { rows, roster, policy, workers: None, told: Told::default() };
        Self { shared: Arc::new(shared) }
    }

    /// All engines: the primary one, the others of the configuration in its order, then dynamic
    /// ones in the order of their start. Never blocks.
    pub fn engines(&self) -> Arc<Vec<EngineHandle>> {
        self.shared.rows.load_full()
    }

    /// The engine with that id; `primary` is the first one.
    pub fn get(&self, id: &str) -> Option<EngineHandle> {
        let rows = self.shared.rows.load();
        let named = rows.iter().find(|row| row.id() == id);
        let first = || rows.first().filter(|_| id == PRIMARY);
        named.or_else(first).cloned()
    }

    /// The primary engine.
    pub fn primary(&self) -> Option<EngineHandle> {
        self.shared.rows.load().first().cloned()
    }

    /// The permissions of scenarios.
    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// Does the same as [`start_dynamic_within`](Self::start_dynamic_within), with the limit of the
    /// process.
    ///
    /// # Errors
    /// Those of [`start_dynamic_within`](Self::start_dynamic_within).
    pub fn start_dynamic(
        &self,
        id: Option<String>,
        run: RunConfig,
    ) -> Result<String, DynamicError> {
        self.start_dynamic_within(DYNAMIC_MAX, id, run)
    }

    /// Starts a dynamic engine, if there are fewer than `most` of them, and waits until it runs;
    /// returns its id. An engine without a given id is named `dyn-` and a number. Its scenario may
    /// run shell commands only if the policy allows it.
    ///
    /// # Errors
    /// The reason why it does not run; it has no row then.
    pub fn start_dynamic_within(
        &self,
        most: usize,
        id: Option<String>,
        mut run: RunConfig,
    ) -> Result<String, DynamicError> {
        run.commands &= self.shared.policy.allows_commands();
        // The default port, which is tried first, may be in use by another engine.
        run.local_port = run.local_port.or(Some(0));
        let mut spec =
            EngineSpec { id: String::new(), kind: EngineKind::Dynamic, listeners: Vec::new(), run };
        let id = self.reserve(most, id, Claim::of(&spec))?;
        spec.id.clone_from(&id);
        let outcome = spawn(spec, &self.shared, Some(1), None);
        let outcome = outcome.and_then(|(handle, started)| {
            self.adopt_starting(&id, &handle);
            wait(&started).map_err(|why| why.reason)?;
            Ok(handle)
        });
        let mut roster = self.roster();
        let index = roster.starting.iter().position(|starting| starting.id == id);
        let is_removed = index.is_some_and(|index| roster.starting.remove(index).is_removed);
        match outcome {
            Ok(handle) if roster.is_closed || is_removed => {
                handle.end_by(sys::monotonic_now());
                roster.leaving.push(handle);
                Err(if is_removed { DynamicError::Removed(id) } else { DynamicError::ShuttingDown })
            }
            Ok(handle) => {
                self.change_rows(|rows| rows.push(handle));
                Ok(id)
            }
            Err(_) if is_removed => Err(DynamicError::Removed(id)),
            Err(reason) => Err(DynamicError::Failed(reason)),
        }
    }

    /// Stores the handle of an engine that is being started, so that it can be ended from now on.
    fn adopt_starting(&self, id: &str, handle: &EngineHandle) {
        let mut roster = self.roster();
        let is_closed = roster.is_closed;
        if let Some(starting) = roster.starting.iter_mut().find(|starting| starting.id == id) {
            starting.handle = Some(handle.clone());
            if starting.is_removed || is_closed {
                handle.end_by(sys::monotonic_now());
            }
        }
    }

    /// Tells whether a dynamic engine with that id is being started.
    pub fn is_starting(&self, id: &str) -> bool {
        let is_it = |starting: &Starting| starting.is_dynamic && starting.id == id;
        self.roster().starting.iter().any(is_it)
    }

    /// Reserves an id and the other claims of an engine that is about to start.
    fn reserve(
        &self,
        most: usize,
        id: Option<String>,
        claim: Claim,
    ) -> Result<String, DynamicError> {
        let mut roster = self.roster();
        if roster.is_closed {
            return Err(DynamicError::ShuttingDown);
        }
        let rows = self.engines();
        let most = most.min(DYNAMIC_MAX);
        let dynamic = rows.iter().filter(|row| row.kind() == EngineKind::Dynamic).count();
        if dynamic + roster.starting.len() >= most {
            return Err(DynamicError::TooMany(most));
        }
        roster.leaving.retain(|handle| !handle.is_gone());
        if roster.leaving.len() >= LEAVING_MAX {
            return Err(DynamicError::Leaving(roster.leaving.len()));
        }
        let is_taken = |roster: &Roster, id: &str| {
            id == PRIMARY
                || rows.iter().any(|row| row.id() == id)
                || roster.starting.iter().any(|starting| starting.id == id)
        };
        let id = match id {
            Some(id) if !is_id(&id) => return Err(DynamicError::Id(id)),
            Some(id) if is_taken(&roster, &id) => return Err(DynamicError::Duplicate(id)),
            Some(id) => id,
            None => loop {
                let id = format!("dyn-{}", roster.next);
                roster.next += 1;
                if !is_taken(&roster, &id) {
                    break id;
                }
            },
        };
        let rows = rows.iter().chain(&roster.leaving).map(|row| (row.id(), row.claim()));
        let starting = roster.starting.iter();
        let starting = starting.map(|starting| (starting.id.as_str(), starting.claim.clone()));
        for (other, taken) in rows.chain(starting) {
            if let Some(sentence) = claim.clash(&id, other, &taken) {
                return Err(DynamicError::Clash(sentence));
            }
        }
        let starting =
            Starting { id: id.clone(), claim, is_dynamic: true, handle: None, is_removed: false };
        roster.starting.push(starting);
        Ok(id)
    }

    /// Starts an ended engine of the configuration again, as `spec` says, and waits until it runs.
    /// A scenario in `sent` replaces that of `spec`. The figures begin at zero.
    ///
    /// # Errors
    /// The engine has not ended, or the reason why it does not run; the row is unchanged then.
    pub fn start_again(&self, mut spec: EngineSpec, sent: Option<String>) -> Result<(), Refusal> {
        let id = spec.id.clone();
        let old = self.get(&id).ok_or_else(|| Refusal::Unknown(id.clone()))?;
        spec.kind = old.kind();
        if spec.kind == EngineKind::Dynamic {
            let why =
                format!("engine {id:?} was started over the API: delete it, and start another");
            return Err(Refusal::Refused(why));
        }
        if spec.kind == EngineKind::Static {
            choose_port(&mut spec);
        }
        self.claim_again(&old, Claim::of(&spec))?;
        let outcome = self.start_in_the_place_of(&old, spec, sent);
        let mut roster = self.roster();
        roster.starting.retain(|starting| starting.id != id);
        let handle = outcome?;
        if roster.is_closed {
            handle.end_by(sys::monotonic_now());
            roster.leaving.push(handle);
            return Err(Refusal::Over);
        }
        self.change_rows(|rows| {
            rows.iter_mut().filter(|row| row.id() == id).for_each(|row| *row = handle.clone());
        });
        tracing::info!("engine {id}: started again");
        Ok(())
    }

    /// Starts an engine whose earlier run has ended, once that run's thread is gone.
    fn start_in_the_place_of(
        &self,
        old: &EngineHandle,
        spec: EngineSpec,
        sent: Option<String>,
    ) -> Result<EngineHandle, Refusal> {
        let until_ns = sys::monotonic_now().saturating_add(LAST_WORDS_NS);
        while !old.is_gone() && !self.roster().is_closed {
            if sys::monotonic_now() >= until_ns {
                return Err(Refusal::Busy);
            }
            thread::sleep(POLL);
        }
        if self.roster().is_closed {
            return Err(Refusal::Over);
        }
        let (handle, started) =
            spawn(spec, &self.shared, self.shared.workers, sent).map_err(Refusal::Refused)?;
        self.adopt_starting(old.id(), &handle);
        wait(&started).map_err(|why| Refusal::Invalid(why.reason))?;
        Ok(handle)
    }

    /// Reserves the claims of an ended engine that is about to start again.
    fn claim_again(&self, old: &EngineHandle, claim: Claim) -> Result<(), Refusal> {
        let mut roster = self.roster();
        if roster.is_closed {
            return Err(Refusal::Over);
        }
        let id = old.id();
        if roster.starting.iter().any(|starting| starting.id == id) {
            return Err(Refusal::Busy);
        }
        if !old.state().phase.is_over() {
            return Err(Refusal::Refused(format!("engine {id:?} has not ended")));
        }
        let rows = self.engines();
        let taken = rows.iter().chain(&roster.leaving).map(|row| (row.id(), row.claim()));
        let starting = roster.starting.iter();
        let starting = starting.map(|starting| (starting.id.as_str(), starting.claim.clone()));
        for (other, taken) in taken.chain(starting) {
            if let Some(sentence) = claim.clash(id, other, &taken) {
                return Err(Refusal::Refused(sentence));
            }
        }
        let id = id.to_owned();
        let starting = Starting { id, claim, is_dynamic: false, handle: None, is_removed: false };
        roster.starting.push(starting);
        Ok(())
    }

    /// Ends an engine: there are no new calls, and open ones are ended. Its row stays. Does not
    /// wait for the end.
    ///
    /// # Errors
    /// There is no such engine, or it has ended.
    pub fn stop(&self, id: &str) -> Result<(), Refusal> {
        self.get(id).ok_or_else(|| Refusal::Unknown(id.to_owned()))?.ask(Request::Stop)
    }

    /// Removes the row of a dynamic engine that has ended.
    ///
    /// # Errors
    /// There is no such engine, or it has not ended.
    pub fn forget(&self, id: &str) -> Result<(), ForgetError> {
        let _roster = self.roster();
        let handle = self.dynamic(id)?;
        if !handle.state().phase.is_over() {
            return Err(ForgetError::Running(id.to_owned()));
        }
        self.change_rows(|rows| rows.retain(|row| row.id() != id));
        Ok(())
    }

    /// Removes the row of a dynamic engine at once. If it still runs, it ends as after
    /// [`stop`](Self::stop), without a row; so does one that is being started.
    ///
    /// # Errors
    /// There is no such engine.
    pub fn remove(&self, id: &str) -> Result<(), ForgetError> {
        if self.remove_starting(id) {
            return Ok(());
        }
        let handle = self.dynamic(id)?;
        match handle.ask(Request::Stop) {
            Ok(()) | Err(Refusal::Over) => {}
            // The engine does not answer: it must end soon nevertheless.
            Err(_) => handle.end_by(sys::monotonic_now()),
        }
        let mut roster = self.roster();
        self.change_rows(|rows| rows.retain(|row| row.id() != id));
        roster.leaving.retain(|handle| !handle.is_gone());
        roster.leaving.push(handle);
        Ok(())
    }

    /// Ends a dynamic engine that is being started; `false` if there is none with that id.
    fn remove_starting(&self, id: &str) -> bool {
        let mut roster = self.roster();
        let mut dynamic = roster.starting.iter_mut().filter(|starting| starting.is_dynamic);
        let Some(starting) = dynamic.find(|starting| starting.id == id) else { return false };
        starting.is_removed = true;
        if let Some(handle) = &starting.handle {
            handle.end_by(sys::monotonic_now());
        }
        true
    }

    fn dynamic(&self, id: &str) -> Result<EngineHandle, ForgetError> {
        let handle = self.get(id).ok_or_else(|| ForgetError::Unknown(id.to_owned()))?;
        match handle.kind() {
            EngineKind::Dynamic => Ok(handle),
            _ => Err(ForgetError::NotDynamic(id.to_owned())),
        }
    }

    /// Tells whether all workers that should report do so; a watchdog of the service uses this.
    pub fn data_plane_alive(&self) -> bool {
        let now = sys::monotonic_now();
        self.shared.rows.load().iter().all(|row| match row.state().phase {
            Phase::Starting | Phase::Finished { .. } | Phase::Failed { .. } => true,
            Phase::Running | Phase::Paused | Phase::Draining => {
                now.saturating_sub(row.beat_ns()) < SILENCE_NS
            }
        })
    }

    /// Tells whether all engines of the configuration have ended.
    pub fn is_over(&self) -> bool {
        let rows = self.shared.rows.load();
        let mut configured = rows.iter().filter(|row| row.kind() != EngineKind::Dynamic);
        configured.all(|row| row.state().phase.is_over())
    }

    /// Ends all engines within about that time: there are no new calls, open ones may finish, the
    /// rest is ended, and reports are written. Engines that make calls end first. Later requests
    /// for engines are refused.
    pub fn shutdown(&self, within: Duration) -> Shutdown {
        let within_ns = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX / 2);
        let deadline_ns = sys::monotonic_now().saturating_add(within_ns);
        self.close();
        let all = self.unended();
        let wait = |handles: &[EngineHandle], until_ns: u64| {
            while !handles.iter().all(|handle| handle.is_gone()) && sys::monotonic_now() < until_ns
            {
                thread::sleep(POLL);
            }
        };
        // Engines that make calls end first: a call to an engine of ours that takes no more calls
        // would fail without reason.
        let (calling, answering): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|handle| handle.state().is_client);
        calling.iter().for_each(|handle| handle.end_by(deadline_ns));
        if !answering.is_empty() {
            let grace_ns = LAST_CALLS.as_nanos() as u64;
            wait(&calling, sys::monotonic_now().saturating_add(grace_ns.min(within_ns / 4)));
        }
        answering.iter().for_each(|handle| handle.end_by(deadline_ns));
        // An engine that was being started moves to the leaving ones, or is dropped.
        while !(self.unended().is_empty() && self.roster().starting.is_empty())
            && sys::monotonic_now() < deadline_ns
        {
            thread::sleep(POLL);
        }
        let late = self.unended();
        for late in &late {
            let totals = engine::totals(&late.state().snapshot.calls);
            tracing::error!("engine {}: not ended in time: {totals}", late.id());
        }
        // An engine without a handle has no thread yet.
        let is_starting = self.roster().starting.iter().any(|starting| starting.handle.is_none());
        let code = |row: &EngineHandle| match row.state().phase {
            Phase::Finished { code } => code,
            Phase::Failed { .. } => ExitCode::Fatal.code(),
            _ => ExitCode::Success.code(),
        };
        Shutdown {
            code: self.engines().iter().map(code).max().unwrap_or(ExitCode::Success.code()),
            in_time: late.is_empty() && !is_starting,
        }
    }

    /// Refuses further engines. Those that are being started have made no call, and end at once.
    fn close(&self) {
        let mut roster = self.roster();
        roster.is_closed = true;
        let handles = roster.starting.iter().filter_map(|starting| starting.handle.as_ref());
        handles.for_each(|handle| handle.end_by(sys::monotonic_now()));
    }

    /// All engines whose thread has not ended, with or without a row.
    fn unended(&self) -> Vec<EngineHandle> {
        let roster = self.roster();
        let starting = roster.starting.iter().filter_map(|starting| starting.handle.as_ref());
        let rows = self.engines();
        let all = rows.iter().chain(&roster.leaving).chain(starting);
        all.filter(|handle| !handle.is_gone()).cloned().collect()
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Each change of the roster is complete at any time, so a poisoned lock is safe.
        self.shared.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the list; the caller holds the roster.
    fn change_rows(&self, change: impl FnOnce(&mut Vec<EngineHandle>)) {
        let mut rows = Vec::clone(&self.shared.rows.load());
        change(&mut rows);
        self.shared.rows.store(Arc::new(rows));
    }
}

/// Checks specifications before any engine is started.
fn check(specs: &[EngineSpec]) -> Result<(), StartError> {
    if specs.is_empty() {
        return Err(StartError::NoEngine);
    }
    if specs.len() > STATIC_MAX {
        return Err(StartError::TooMany { count: specs.len() });
    }
    let mut taken: Vec<(&str, Claim)> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let is_alias = index > 0 && spec.id == PRIMARY;
        if !is_id(&spec.id) {
            return Err(StartError::Id { id: spec.id.clone() });
        }
        if is_alias || specs[..index].iter().any(|earlier| earlier.id == spec.id) {
            return Err(StartError::DuplicateId { id: spec.id.clone() });
        }
        let claim = Claim::of(spec);
        let clash = claim.clash_within(&spec.id).or_else(|| {
            taken.iter().find_map(|(other, taken)| claim.clash(&spec.id, other, taken))
        });
        if let Some(sentence) = clash {
            return Err(StartError::Clash(sentence));
        }
        taken.push((&spec.id, claim));
    }
    Ok(())
}

/// Number of workers for each listener, if several engines share the host; `None` for a single one.
fn share_of_cpus(specs: &[EngineSpec]) -> Option<usize> {
    let listeners: usize = specs.iter().map(|spec| spec.listeners.len().max(1)).sum();
    let cpus = sys::online_cpus().len();
    (listeners > 1).then(|| (cpus.saturating_sub(1) / listeners).max(1))
}

/// Lets the kernel choose the port of an engine beside the primary one, if it names none: the
/// default port may be in use by another engine.
fn choose_port(spec: &mut EngineSpec) {
    if spec.listeners.is_empty() {
        spec.run.local_port = spec.run.local_port.or(Some(0));
    }
}

type Started = Receiver<Result<(), StartFailure>>;

/// Starts the thread of an engine.
fn spawn(
    spec: EngineSpec,
    shared: &Shared,
    workers: Option<usize>,
    sent: Option<String>,
) -> Result<(EngineHandle, Started), String> {
    let state = Published::starting(&spec.run);
    let (handle, queue) = EngineHandle::new(&spec, shared.policy.clone(), state);
    let (started, starts) = sync_channel(1);
    let told = shared.told.clone();
    let start = Start { handle: handle.clone(), spec, queue, started, workers, sent, told };
    let thread = thread::Builder::new()
        .name(format!("engine-{}", handle.id()))
        .spawn(move || engine::run(start))
        .map_err(|error| error.to_string())?;
    handle.adopt(thread);
    Ok((handle, starts))
}

/// Waits until an engine runs, or has failed.
fn wait(started: &Started) -> Result<(), StartFailure> {
    let reason = || "its thread ended unexpectedly".to_owned();
    started.recv().unwrap_or_else(|_| Err(StartFailure { reason: reason(), is_bind: false }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flavor, RunDraft};
    use crate::control::State;

    fn registry() -> Registry {
        let roster = Mutex::new(Roster { next: 1, ..Roster::default() });
        let (rows, policy) = (ArcSwap::default(), Policy::default());
        Registry {
            shared: Arc::new(Shared { rows, roster, policy, workers: None, told: Told::default() }),
        }
    }

    #[test]
    fn engines_that_are_being_started_count() {
        let registry = registry();
        for id in ["dyn-1", "dyn-2"] {
            assert_eq!(registry.reserve(2, None, Claim::default()).as_deref(), Ok(id));
        }
        let error = registry.reserve(2, None, Claim::default()).unwrap_err();
        assert_eq!(error, DynamicError::TooMany(2));
        assert!(error.to_string().contains("max_dynamic_clients"), "{error}");
    }

    #[test]
    fn an_end_waits_for_engines_that_are_being_started() {
        let run = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let (id, kind) = ("slow".to_owned(), EngineKind::Static);
        let spec = EngineSpec { id, kind, listeners: Vec::new(), run };
        let handle =
            || EngineHandle::new(&spec, Policy::default(), Published::starting(&spec.run)).0;
        let end_by = |handle: &EngineHandle| handle.end_by_ns().unwrap_or(u64::MAX);
        // Starts a thread that stands for planning, until the test ends it.
        let plan = |handle: &EngineHandle| {
            let (go, goes) = sync_channel::<()>(0);
            handle.adopt(thread::spawn(move || _ = goes.recv()));
            go
        };
        for again in [false, true] {
            let registry = registry();
            if again {
                let old = handle();
                let phase = Phase::Finished { code: 0 };
                old.publish(old.state().with(State { phase, ..old.state().state.clone() }));
                registry.change_rows(|rows| rows.push(old.clone()));
                registry.claim_again(&old, Claim::default()).unwrap();
            } else {
                registry.reserve(1, Some("slow".to_owned()), Claim::default()).unwrap();
            }
            assert!(!registry.shutdown(Duration::ZERO).in_time);
            let handle = handle();
            let go = plan(&handle);
            registry.adopt_starting("slow", &handle);
            assert_ne!(end_by(&handle), u64::MAX);
            assert!(!registry.shutdown(Duration::ZERO).in_time);
            // The engine has become one without a row.
            registry.roster().leaving.push(handle.clone());
            registry.roster().starting.clear();
            assert!(!registry.shutdown(Duration::ZERO).in_time);
            drop(go);
            assert!(registry.shutdown(Duration::from_secs(60)).in_time);
        }
        // An engine with a known handle is ended at the end, and none is started again.
        let registry = registry();
        registry.reserve(1, Some("slow".to_owned()), Claim::default()).unwrap();
        let handle = handle();
        let _go = plan(&handle);
        registry.adopt_starting("slow", &handle);
        assert_eq!(end_by(&handle), u64::MAX);
        // A client may not remove an engine of the configuration.
        registry.roster().starting[0].is_dynamic = false;
        assert!(!registry.is_starting("slow") && registry.remove("slow").is_err());
        assert_eq!(end_by(&handle), u64::MAX);
        registry.close();
        let at_once = end_by(&handle);
        assert_ne!(at_once, u64::MAX);
        // A later time does not extend the first one.
        handle.end_by(u64::MAX - 1);
        assert_eq!(end_by(&handle), at_once);
        let started = registry.start_in_the_place_of(&handle, spec.clone(), None);
        assert!(matches!(started, Err(Refusal::Over)));
    }

    #[test]
    fn an_engine_can_be_removed_while_it_is_being_started() {
        let run = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let (id, kind) = ("slow".to_owned(), EngineKind::Dynamic);
        let spec = EngineSpec { id, kind, listeners: Vec::new(), run };
        let ends = |handle: &EngineHandle| handle.end_by_ns().is_some();
        // Both before there is a thread, and after.
        for is_late in [false, true] {
            let registry = registry();
            let (handle, _queue) =
                EngineHandle::new(&spec, Policy::default(), Published::starting(&spec.run));
            registry.reserve(1, Some("slow".to_owned()), Claim::default()).unwrap();
            if is_late {
                registry.adopt_starting("slow", &handle);
            }
            assert!(registry.is_starting("slow") && !ends(&handle));
            registry.remove("slow").unwrap();
            if !is_late {
                registry.adopt_starting("slow", &handle);
            }
            assert!(ends(&handle));
        }
        assert_eq!(registry().remove("slow"), Err(ForgetError::Unknown("slow".to_owned())));
    }
}
