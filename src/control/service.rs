//! The part of a run that serves requests and publishes the state.
//! [`ControlledRun`](super::ControlledRun) lends it the run.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use gossipper_uring::sys;

use super::controlled::Terms;
use super::handle::{Claim, Handle, Listener, Queue, Queued, Shared};
use super::reply::{Refusal, Reply, Told};
use super::request::Request;
use super::state::{ClientState, ListenerState, Phase, Published, ScenarioState, State};
use super::tells::{Kind, Tells};
use crate::config::targets::{Hold, Load};
use crate::config::{ListenerSpec, RunConfig, ScenarioSource};
use crate::run::supervised::{Finished, Replacement, Supervisor};
use crate::run::{calls_per_second, media_mode};
use crate::stats::{Health, Layout, Lifetime, Snapshot};

/// The shortest time between two publications of figures. Workers report four times a second, and
/// not at the same time.
const PUBLISH_NS: u64 = 100_000_000;
/// The interval at which the service checks that the run may still call its targets.
const TARGETS_NS: u64 = 1_000_000_000;
/// Most notices that are kept.
const NOTICES_MAX: usize = 50;
/// The shortest time between two deltas.
const DELTAS_NS: u64 = 1_000_000_000;

/// The server of a run's requests, and the publisher of its state.
pub(super) struct Service {
    shared: Arc<Shared>,
    config: Arc<RunConfig>,
    queue: Queue,
    places: Vec<ListenerSpec>,
    /// True for each listener that accepts calls, by index.
    enabled: Vec<bool>,
    /// The source of the scenario.
    source: ScenarioSource,
    xml: Arc<str>,
    /// True if `xml` replaced the text at `source`.
    has_swapped: bool,
    /// The snapshot published last.
    snapshot: Arc<Snapshot>,
    /// The lifetime figures of the same report.
    lifetime: Arc<Lifetime>,
    health: Health,
    notices: VecDeque<String>,
    has_reports: bool,
    next_publish_ns: u64,
    /// The run's share of the rate and call ceilings of its targets.
    hold: Option<Hold>,
    next_look_ns: u64,
    /// The requester that waits until all workers have the new scenario.
    swap_answer: Option<SyncSender<Reply>>,
    tells: Tells,
    /// The listener that adds up the figures of several runs.
    listener: Option<Listener>,
    /// The next listener. It waits until workers that change their layout have done so.
    next_listener: Option<Listener>,
    next_deltas_ns: u64,
}

impl Service {
    /// Creates the service of a run that has just started.
    pub(super) fn open(
        handle: &Handle,
        queue: Queue,
        config: Arc<RunConfig>,
        terms: Terms,
        run: &Supervisor,
    ) -> Self {
        let Terms { places, notices, hold, is_sent } = terms;
        let snapshot = Arc::new(run.snapshot());
        Self {
            shared: Arc::clone(handle.shared()),
            source: config.scenario.clone(),
            config,
            queue,
            enabled: vec![true; places.len()],
            places,
            xml: Arc::from(run.text().xml.as_str()),
            has_swapped: is_sent,
            health: run.health(&snapshot),
            snapshot,
            lifetime: Arc::new(run.lifetime()),
            notices: notices.into_iter().take(NOTICES_MAX).collect(),
            has_reports: false,
            next_publish_ns: run.start_ns(),
            hold,
            next_look_ns: 0,
            swap_answer: None,
            tells: Tells::default(),
            listener: None,
            next_listener: None,
            next_deltas_ns: 0,
        }
    }

    /// The time by which the run must have ended, if there is one.
    pub(super) fn end_by_ns(&self) -> Option<u64> {
        let end_by_ns = self.shared.end_by_ns.load(Ordering::Relaxed);
        (end_by_ns != u64::MAX).then_some(end_by_ns)
    }

    /// Tells whether a handle beside the front can read the state. A run at a terminal without an
    /// API publishes none.
    fn is_read(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Carries out a request of the front.
    pub(super) fn ask(
        &mut self,
        run: &mut Supervisor,
        request: Request,
        now: u64,
    ) -> Result<(), Refusal> {
        let result = self.answer(run, request, now);
        self.publish(run, Self::phase(run));
        result
    }

    /// Asks the run about itself; the reply follows on the channel.
    pub(super) fn tell(
        &mut self,
        run: &mut Supervisor,
        request: Request,
        now: u64,
    ) -> Receiver<Reply> {
        let (answer, replies) = sync_channel(1);
        let (replacement, claim) = (None, Claim::default());
        self.take(run, Queued::Request { request, replacement, answer, claim }, now);
        replies
    }

    /// Ends the run, its open calls last, once the configuration no longer permits its targets.
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

    /// Makes a change of the run within the ceilings of its targets. It takes a larger share before
    /// the change, or gives back the excess after it.
    ///
    /// # Errors
    /// The ceilings do not leave enough, or the run refuses the change. The share is then as
    /// before.
    fn change_within(
        &self,
        change: impl FnOnce(&mut Load),
        make: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some((hold, mut load)) = self.hold.as_ref().and_then(|hold| Some((hold, hold.load()?)))
        else {
            return make();
        };
        change(&mut load);
        hold.change_with(load, sys::realtime_now_ns(), make)
    }

    /// Publishes the first state of the run.
    pub(super) fn publish_start(&self, run: &Supervisor) {
        self.publish(run, Phase::Running);
    }

    /// Serves the waiting requests, and publishes the state when that is due. `has_reports` is true
    /// if workers have reported since the last call.
    pub(super) fn serve(&mut self, run: &mut Supervisor, has_reports: bool, now: u64) {
        self.has_reports |= has_reports;
        while let Some(queued) = self.queue.next() {
            self.take(run, queued, now);
        }
        match self.queue.take_withdrawn() {
            0 => {}
            count => self.note(format!(
                "requests that were not carried out because nobody waited for them any more: \
                 {count}; the engine was starting, or held up by a disk"
            )),
        }
        self.tells.take(run, now);
        self.look_at_the_swap(run);
        self.send_deltas(run, now);
        self.shared.beat_ns.store(run.oldest_report_ns(), Ordering::Relaxed);
        if self.has_reports && now >= self.next_publish_ns && self.is_read() {
            self.has_reports = false;
            self.next_publish_ns = now + PUBLISH_NS;
            self.refresh(run);
            self.publish(run, Self::phase(run));
        }
    }

    fn take(&mut self, run: &mut Supervisor, queued: Queued, now: u64) {
        let (request, replacement, answer) = match queued {
            Queued::Request { request, replacement, answer, .. } => (request, replacement, answer),
            Queued::Listen(listener) => {
                self.next_listener = Some(listener);
                return;
            }
        };
        if let Some(kind) = kind_of(&request) {
            return self.tells.ask(run, kind, answer, now);
        }
        let reply = match (replacement, request) {
            (Some(replacement), _) => match self.swap(run, *replacement) {
                Ok(()) => {
                    self.swap_answer = Some(answer);
                    return;
                }
                Err(refusal) => Reply::Refused(refusal),
            },
            (None, Request::TellLayout) => {
                Reply::Told(Told::Layout(Box::new(Layout::clone(run.layout()))))
            }
            (None, request) => self.answer(run, request, now).into(),
        };
        // Published first, so that the requester sees the outcome.
        self.publish(run, Self::phase(run));
        // The requester may have stopped waiting.
        let _ = answer.try_send(reply);
    }

    /// Sends the figures counted since the last delta, if there is a listener. A listener that is
    /// behind gets them with the next delta.
    fn send_deltas(&mut self, run: &mut Supervisor, now: u64) {
        if let Some(listener) = self.next_listener.take() {
            match run.record_deltas(listener.source.clone()) {
                true => {
                    self.listener = Some(listener);
                    self.next_deltas_ns = now + DELTAS_NS;
                }
                false => self.next_listener = Some(listener),
            }
        }
        let Some(listener) = self.listener.as_ref().filter(|_| now >= self.next_deltas_ns) else {
            return;
        };
        self.next_deltas_ns = now + DELTAS_NS;
        if !listener.is_there() {
            self.listener = None;
            run.forget_deltas();
        } else if !listener.is_behind() {
            run.take_deltas().into_iter().for_each(|delta| listener.send(delta));
        }
    }

    fn swap(&mut self, run: &mut Supervisor, mut new: Replacement) -> Result<(), Refusal> {
        let warnings = std::mem::take(&mut new.warnings);
        let source = new.source.take();
        let no_thread = |error| Refusal::Refused(format!("cannot run its commands: {error}"));
        run.expect_commands(&new, self.shared.policy.commands()).map_err(no_thread)?;
        run.swap(new).map_err(|refused| Refusal::Refused(refused.to_string()))?;
        warnings.into_iter().for_each(|warning| self.note(warning));
        self.xml = Arc::from(run.text().xml.as_str());
        self.has_swapped = source.is_none();
        self.source = source.unwrap_or_else(|| self.source.clone());
        self.refresh(run);
        self.publish(run, Self::phase(run));
        Ok(())
    }

    /// Answers the request for another scenario, once all workers have it.
    fn look_at_the_swap(&mut self, run: &Supervisor) {
        if !run.is_swapping()
            && let Some(answer) = self.swap_answer.take()
        {
            let _ = answer.try_send(Reply::Done);
        }
    }

    fn answer(&mut self, run: &mut Supervisor, request: Request, now: u64) -> Result<(), Refusal> {
        request.check()?;
        let refused = |why: &str| Refusal::Refused(why.to_owned());
        match request {
            Request::SetRate(rate) => {
                let per_period = rate.in_period(self.config.rate_period_ms.max(1));
                let highest = calls_per_second(&self.config, per_period);
                let is_paced = run.is_client() && run.users().is_none();
                self.change_within(
                    |load| load.rate = if is_paced { highest } else { load.rate },
                    || run.set_rate(per_period).map_err(refused),
                )?;
            }
            Request::SetUsers(users) => {
                let has_users = run.users().is_some();
                self.change_within(
                    |load| load.open = if has_users { users as f64 } else { load.open },
                    || run.set_users(users).map_err(Refusal::Refused),
                )?;
            }
            Request::SetCallLimit(limit) => {
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
            Request::SetCallsTotal(total) => run.set_calls_total(total).map_err(refused)?,
            Request::SetPaused(is_paused) => {
                run.set_paused(is_paused);
                self.tell_listeners(run);
            }
            Request::SetStartsPaused(is_paused) => run.set_paused(is_paused),
            Request::SetListener { index, .. } if run.is_client() => {
                let why = format!("this engine makes calls: it has no listener {index}");
                return Err(Refusal::Invalid(why));
            }
            Request::SetListener { index, enabled } => {
                let last = self.enabled.len().saturating_sub(1);
                let listener = self.enabled.get_mut(index).ok_or_else(|| {
                    let why = format!("there is no listener {index}; the last one is {last}");
                    Refusal::Invalid(why)
                })?;
                *listener = enabled;
                self.tell_listeners(run);
            }
            Request::SetLog { log, enabled } => run.switch_trace(log, enabled),
            // The compiled scenario comes with a swap, and workers answer the other requests.
            Request::Swap(_)
            | Request::TellCalls
            | Request::TellWaits
            | Request::TellCircuits
            | Request::TellVariables
            | Request::TellLayout => return Err(Refusal::Busy),
            Request::Drain => run.drain(u64::MAX),
            Request::Quit => run.quit(now),
            Request::Stop => run.cancel(now),
            Request::StopNow => run.stop(),
            Request::ResetStats => {
                run.reset_stats();
                self.refresh(run);
            }
        }
        Ok(())
    }

    /// Makes workers accept calls on enabled listeners, as long as the engine is not paused.
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
        // The lifetime takes longer to make than a snapshot, and changes with reports only.
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
        if !self.is_read() {
            return;
        }
        self.shared.state.store(Arc::new(self.state(run, phase)));
    }

    fn state(&self, run: &Supervisor, phase: Phase) -> Published {
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
        let state = State {
            phase,
            run_id: last.run_id.clone(),
            started_at_unix_ns: last.started_at_unix_ns,
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
            driver: run.driver_name().to_owned(),
            notices: self.notices.iter().cloned().collect(),
            layout: run.layout().id(),
        };
        Published {
            state,
            snapshot: Arc::clone(&self.snapshot),
            lifetime: Arc::clone(&self.lifetime),
            protocol: self.config.transport.protocol(),
            media_mode: media_mode(&self.config),
            summary: OnceLock::new(),
        }
    }

    /// Returns the last state after the end of the workers, as far as it is known by now.
    pub(super) fn last_state(&mut self, run: &mut Supervisor) -> Published {
        // Disks may take their time, and no worker has to report any more.
        self.shared.beat_ns.store(u64::MAX, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            run.take_deltas().into_iter().for_each(|delta| listener.send(delta));
        }
        self.refresh(run);
        self.state(run, Phase::Draining)
    }

    /// Publishes the outcome, and returns what is missing. Waiting requesters are told that the run
    /// is over.
    pub(super) fn close(
        self,
        mut published: Published,
        finished: &Finished,
        commands_lost: usize,
    ) -> Vec<String> {
        let Finished { snapshot, health, losses, summary, written, fatal, failed, code } = finished;
        let mut notices = finished.losses_told();
        if commands_lost > 0 {
            notices.push(format!("{commands_lost} shell commands were not run"));
        }
        let error = fatal.as_ref().or(failed.as_ref()).map(ToString::to_string);
        let error = error.or(written.as_ref().err().map(ToString::to_string));
        let state = &mut published.state;
        state.notices.extend(notices.iter().cloned());
        state.phase = match error {
            None => Phase::Finished { code: code.code() },
            Some(reason) => Phase::Failed { reason },
        };
        state.health = health.clone();
        state.is_paused = false;
        if let Some(client) = &mut state.client {
            client.accepting = false;
        }
        for listener in &mut state.listeners {
            listener.enabled = false;
        }
        let lifetime = Lifetime { unwritten: losses.unwritten, ..(*published.lifetime).clone() };
        published.lifetime = Arc::new(lifetime);
        published.snapshot = Arc::new(snapshot.clone());
        published.summary = OnceLock::from(Arc::new(summary.clone()));
        self.shared.state.store(Arc::new(published));
        notices
    }
}

/// The kind of answer that workers give to a request; `None` if they are not asked.
fn kind_of(request: &Request) -> Option<Kind> {
    Some(match request {
        Request::TellCalls => Kind::Calls,
        Request::TellWaits => Kind::Waits,
        Request::TellCircuits => Kind::Circuits,
        Request::TellVariables => Kind::Variables,
        _ => return None,
    })
}
