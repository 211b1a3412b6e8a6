//! What an engine has toward those who ask: it answers them, and publishes its state. Whoever
//! supervises the run lends it the run: the thread of an engine, or a run at a terminal.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock};

use gossipper_uring::sys;

use super::error::AskError;
use super::handle::{Ask, EngineHandle, Question, Shared};
use super::spec::ListenerSpec;
use super::state::{ClientState, EngineState, ListenerState, Phase, ScenarioState};
use crate::config::targets::{Hold, Load};
use crate::config::{RunConfig, ScenarioSource};
use crate::run::calls_per_second;
use crate::run::supervised::{Finished, Replacement, Supervisor};
use crate::stats::{Health, Lifetime, Snapshot};

/// Figures are published this far apart at least: workers tell theirs four times a second, and not
/// at the same time.
const PUBLISH_NS: u64 = 100_000_000;
/// The interval at which the desk checks whether the run may still call whom it calls.
const TARGETS_NS: u64 = 1_000_000_000;
/// Notices that are kept.
const NOTICES_MAX: usize = 50;
/// Rates beyond this are mistakes.
const RATE_MAX: f64 = 1e9;

/// See the module's documentation.
pub(in crate::server) struct Desk {
    shared: Arc<Shared>,
    config: Arc<RunConfig>,
    questions: Receiver<Question>,
    places: Vec<ListenerSpec>,
    /// By listener.
    enabled: Vec<bool>,
    /// The source of the scenario.
    source: ScenarioSource,
    xml: Arc<str>,
    /// `true` if `xml` took the place of what is at `source`.
    has_swapped: bool,
    /// The snapshot published last.
    snapshot: Arc<Snapshot>,
    /// As of the same report.
    lifetime: Arc<Lifetime>,
    health: Health,
    notices: VecDeque<String>,
    has_reports: bool,
    next_publish_ns: u64,
    /// The share that the run holds of the ceilings of those whom it calls.
    hold: Option<Hold>,
    next_look_ns: u64,
    /// Who waits for all workers to have a new scenario.
    swap_answer: Option<SyncSender<Result<(), AskError>>>,
}

impl Desk {
    /// The desk of a run that has just started, and listens at `places`.
    pub(in crate::server) fn open(
        handle: &EngineHandle,
        questions: Receiver<Question>,
        config: Arc<RunConfig>,
        places: Vec<ListenerSpec>,
        notices: Vec<String>,
        run: &Supervisor,
    ) -> Self {
        let snapshot = Arc::new(run.snapshot());
        Self {
            shared: Arc::clone(handle.shared()),
            source: config.scenario.clone(),
            config,
            questions,
            enabled: vec![true; places.len()],
            places,
            xml: Arc::from(run.text().xml.as_str()),
            has_swapped: false,
            health: run.health(&snapshot),
            snapshot,
            lifetime: Arc::new(run.lifetime()),
            notices: notices.into_iter().take(NOTICES_MAX).collect(),
            has_reports: false,
            next_publish_ns: run.start_ns(),
            hold: None,
            next_look_ns: 0,
            swap_answer: None,
        }
    }

    /// With what the run holds of the ceilings of those whom it calls.
    pub(super) fn holding(self, hold: Option<Hold>) -> Self {
        Self { hold, ..self }
    }

    /// Ends the run, its open calls last, once the configuration no longer lets it call whom it
    /// calls.
    pub(super) fn look_at_targets(&mut self, run: &mut Supervisor, now: u64) {
        let Some(hold) = self.hold.as_ref().filter(|_| now >= self.next_look_ns) else { return };
        self.next_look_ns = now + TARGETS_NS;
        if run.is_ending() {
            return;
        }
        if let Err(refusal) = hold.check(sys::realtime_now_ns()) {
            run.drain(u64::MAX);
            self.note(format!("no more calls are started: {refusal}"));
            self.publish(run, Self::phase(run));
        }
    }

    /// Makes a change of the run. It takes more of the ceilings before, or gives back afterwards
    /// what is too much then.
    ///
    /// # Errors
    /// If there is not so much, or why the run does not change; it holds what it held then.
    fn change_within(
        &self,
        change: impl FnOnce(&mut Load),
        make: impl FnOnce() -> Result<(), AskError>,
    ) -> Result<(), AskError> {
        let Some((hold, mut load)) = self.hold.as_ref().and_then(|hold| Some((hold, hold.load()?)))
        else {
            return make();
        };
        change(&mut load);
        hold.change_with(load, sys::realtime_now_ns(), make)
    }

    /// The run has started: its first state.
    pub(in crate::server) fn publish_start(&self, run: &Supervisor) {
        self.publish(run, Phase::Running);
    }

    /// Answers what was asked, and publishes the state where it is due. `has_reports` says whether
    /// workers have reported since the last time.
    pub(in crate::server) fn serve(&mut self, run: &mut Supervisor, has_reports: bool, now: u64) {
        self.has_reports |= has_reports;
        while let Ok(question) = self.questions.try_recv() {
            self.take(run, question, now);
        }
        self.look_at_the_swap(run);
        self.shared.beat_ns.store(run.oldest_report_ns(), Ordering::Relaxed);
        if self.has_reports && now >= self.next_publish_ns {
            self.has_reports = false;
            self.next_publish_ns = now + PUBLISH_NS;
            self.refresh(run);
            self.publish(run, Self::phase(run));
        }
    }

    /// The run has begun with a scenario that somebody sent.
    pub(super) fn note_sent(&mut self) {
        self.has_swapped = true;
    }

    /// The figures published last.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn take(&mut self, run: &mut Supervisor, question: Question, now: u64) {
        let Question { ask, replacement, answer } = question;
        let result = match replacement {
            None => self.answer(run, ask, now),
            Some(replacement) => match self.swap(run, replacement) {
                Ok(()) => {
                    self.swap_answer = Some(answer);
                    return;
                }
                Err(error) => Err(error),
            },
        };
        // Published first: who asked sees what came of it.
        self.publish(run, Self::phase(run));
        // Whoever asked may have lost patience.
        let _ = answer.try_send(result);
    }

    fn swap(&mut self, run: &mut Supervisor, mut new: Replacement) -> Result<(), AskError> {
        let warnings = std::mem::take(&mut new.warnings);
        let source = new.source.take();
        let no_thread = |error| AskError::Refused(format!("cannot run its commands: {error}"));
        run.expect_commands(&new, self.shared.policy.commands()).map_err(no_thread)?;
        run.swap(new).map_err(|refused| AskError::Refused(refused.to_string()))?;
        warnings.into_iter().for_each(|warning| self.note(warning));
        self.xml = Arc::from(run.text().xml.as_str());
        self.has_swapped = source.is_none();
        self.source = source.unwrap_or_else(|| self.source.clone());
        self.refresh(run);
        self.publish(run, Self::phase(run));
        Ok(())
    }

    /// Answers who brought another scenario, once all workers have it.
    fn look_at_the_swap(&mut self, run: &Supervisor) {
        if !run.is_swapping()
            && let Some(answer) = self.swap_answer.take()
        {
            let _ = answer.try_send(Ok(()));
        }
    }

    fn answer(&mut self, run: &mut Supervisor, ask: Ask, now: u64) -> Result<(), AskError> {
        let refused = |why: &str| AskError::Refused(why.to_owned());
        match ask {
            Ask::SetRate(rate) if !(0.0..=RATE_MAX).contains(&rate) => {
                return Err(AskError::Invalid(format!("a rate is a number from 0 to {RATE_MAX}")));
            }
            Ask::SetRate(rate) => {
                let per_period = rate * self.config.rate_period_ms as f64 / 1e3;
                let highest = calls_per_second(&self.config, per_period);
                let is_paced = run.is_client() && run.users().is_none();
                self.change_within(
                    |load| load.rate = if is_paced { highest } else { load.rate },
                    || run.set_rate(per_period).map_err(refused),
                )?;
            }
            Ask::SetUsers(users) => {
                let has_users = run.users().is_some();
                self.change_within(
                    |load| load.open = if has_users { users as f64 } else { load.open },
                    || run.set_users(users).map_err(AskError::Refused),
                )?;
            }
            Ask::SetCallLimit(limit) => {
                let has_users = run.users().is_some();
                let set = || {
                    run.set_call_limit(limit);
                    Ok(())
                };
                self.change_within(
                    |load| load.open = if has_users { load.open } else { limit as f64 },
                    set,
                )?;
            }
            Ask::SetCallsTotal(total) => run.set_calls_total(total).map_err(refused)?,
            Ask::SetPaused(is_paused) => {
                run.set_paused(is_paused);
                self.tell_listeners(run);
            }
            Ask::SetListener { index, .. } if run.is_client() => {
                let why = format!("this engine makes calls: it has no listener {index}");
                return Err(AskError::Invalid(why));
            }
            Ask::SetListener { index, enabled } => {
                let last = self.enabled.len().saturating_sub(1);
                let listener = self.enabled.get_mut(index).ok_or_else(|| {
                    let why = format!("there is no listener {index}; the last one is {last}");
                    AskError::Invalid(why)
                })?;
                *listener = enabled;
                self.tell_listeners(run);
            }
            // It comes with what was compiled.
            Ask::Swap(_) => return Err(AskError::Busy),
            Ask::Drain => run.drain(u64::MAX),
            Ask::Stop => run.cancel(now),
            Ask::ResetStats => {
                run.reset_stats();
                self.refresh(run);
            }
        }
        Ok(())
    }

    /// Listeners that are on accept calls while the engine is not paused.
    fn tell_listeners(&self, run: &mut Supervisor) {
        if run.is_client() {
            return;
        }
        for (index, &is_enabled) in self.enabled.iter().enumerate() {
            run.set_accepting(index, is_enabled && !run.is_paused());
        }
    }

    pub(super) fn note(&mut self, text: String) {
        tracing::warn!("engine {}: {text}", self.shared.id);
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(text);
    }

    fn refresh(&mut self, run: &Supervisor) {
        let snapshot = run.snapshot();
        // It takes longer to make than a snapshot, and what it measures comes with reports only.
        let second = |snapshot: &Snapshot| snapshot.last_second.map(|row| row.second);
        let generation = |snapshot: &Snapshot| snapshot.layout.generation;
        if second(&snapshot) != second(&self.snapshot)
            || generation(&snapshot) != generation(&self.snapshot)
            || snapshot.is_finished
        {
            self.lifetime = Arc::new(run.lifetime());
        }
        self.snapshot = Arc::new(snapshot);
        self.health = run.health(&self.snapshot);
    }

    fn phase(run: &Supervisor) -> Phase {
        match (run.is_ending(), run.is_paused()) {
            (true, _) => Phase::Draining,
            (false, true) => Phase::Paused,
            (false, false) => Phase::Running,
        }
    }

    fn publish(&self, run: &Supervisor, phase: Phase) {
        self.shared.state.store(Arc::new(self.state(run, phase)));
    }

    fn state(&self, run: &Supervisor, phase: Phase) -> EngineState {
        let is_client = run.is_client();
        let is_over = phase.is_over();
        let is_paused = run.is_paused();
        let scenario =
            ScenarioState::of(&self.source, run.scenario_name(), &self.xml, self.has_swapped);
        let listener = |(index, (place, address)): (usize, (&ListenerSpec, _))| {
            let address: std::net::SocketAddr = address;
            ListenerState {
                index,
                transport: place.transport,
                local_ip: address.ip(),
                local_port: address.port(),
                enabled: self.enabled.get(index).copied().unwrap_or(false) && !is_over,
                scenario_name: scenario.name.clone(),
            }
        };
        let listeners = self.places.iter().zip(run.addresses()).enumerate().map(listener);
        let client = run.addresses().next().zip(self.places.first());
        let client = client.map(|(address, place)| ClientState {
            transport: place.transport,
            local_ip: address.ip(),
            local_port: address.port(),
            remote_addr: self.config.next_hop().map_or(String::new(), ToString::to_string),
            remote: run.next_hop(),
            accepting: !is_paused && !run.is_ending() && !is_over,
        });
        let last = self.shared.state.load();
        let has_rate = is_client && run.users().is_none();
        EngineState {
            phase,
            run_id: last.run_id.clone(),
            started_at_unix_ns: last.started_at_unix_ns,
            snapshot: Arc::clone(&self.snapshot),
            lifetime: Arc::clone(&self.lifetime),
            health: self.health.clone(),
            rate: match has_rate {
                true => run.rate() * 1e3 / self.config.rate_period_ms.max(1) as f64,
                false => 0.0,
            },
            users: run.users(),
            call_limit: run.call_limit(),
            is_client,
            is_paused,
            listeners: if is_client { Vec::new() } else { listeners.collect() },
            client: client.filter(|_| is_client),
            scenario,
            driver: run.driver_name(),
            notices: self.notices.iter().cloned().collect(),
            protocol: self.config.transport.protocol(),
            summary: OnceLock::new(),
        }
    }

    /// The workers have ended. Returns the last state, as far as it is known by now.
    pub(in crate::server) fn last_state(&mut self, run: &Supervisor) -> EngineState {
        // Disks may take their time; no worker is waited for any more.
        self.shared.beat_ns.store(u64::MAX, Ordering::Relaxed);
        self.refresh(run);
        self.state(run, Phase::Draining)
    }

    /// Publishes how it went, and returns what is missing. Who still asks is told that it is over.
    pub(in crate::server) fn close(
        self,
        mut state: EngineState,
        finished: &Finished,
        commands_lost: usize,
    ) -> Vec<String> {
        let Finished { snapshot, health, losses, summary, written, fatal, failed, code } = finished;
        let mut notices = Vec::new();
        let lost = [
            (losses.losses.hep_packets, "packets did not reach the HEP collector"),
            (losses.losses.events, "events did not reach the collector of the event log"),
            (snapshot.counters.trace_drops.total(), "records are missing in the trace files"),
            (commands_lost as u64, "shell commands were not run"),
        ];
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            notices.push(format!("{count} {what}"));
        }
        notices.extend(losses.complaints.iter().cloned());
        let error = fatal.as_ref().or(failed.as_ref()).map(ToString::to_string);
        let error = error.or(written.as_ref().err().map(ToString::to_string));
        state.notices.extend(notices.iter().cloned());
        state.phase = match error {
            None => Phase::Finished { code: code.code() },
            Some(reason) => Phase::Failed { reason },
        };
        state.snapshot = Arc::new(snapshot.clone());
        let lifetime = Lifetime { unwritten: losses.unwritten, ..(*state.lifetime).clone() };
        state.lifetime = Arc::new(lifetime);
        state.health = health.clone();
        state.is_paused = false;
        if let Some(client) = &mut state.client {
            client.accepting = false;
        }
        for listener in &mut state.listeners {
            listener.enabled = false;
        }
        state.summary = OnceLock::from(Arc::new(summary.clone()));
        self.shared.state.store(Arc::new(state));
        notices
    }
}
