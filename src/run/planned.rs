//! The steps from a configuration to workers: plan the run, open its files, start it.
//!
//! The first two steps find all errors of a run.

use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gossipper_uring::Bell;

use super::RunError;
use super::data::Tables;
use super::exchange::Compiler;
use super::kept::SentRules;
use super::memory::Promise;
use super::plan::{self, Plan};
use super::pool::Terms;
use super::recording;
use super::reports;
use super::scenario::{self, Loaded, Text};
use super::supervisor::Supervisor;
use super::traces::Prepared;
use crate::config::targets::Load;
use crate::config::{CallLimit, ConcurrencyLimit, ListenerSpec, RunConfig};
use crate::engine::Programs;
use crate::recorder::Places;
use crate::scenario::Mode;

/// The settings of a run that is controlled from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steered<'m> {
    /// Listeners in addition to that of the configuration.
    pub(crate) more: &'m [ListenerSpec],
    /// A scenario that replaces the main one of the configuration.
    pub(crate) given: Option<Text>,
    /// `true` while scenarios that came over the API may run shell commands.
    pub(crate) sent_may_command: Arc<AtomicBool>,
    /// True if shell commands of all its scenarios start only while those of the API may.
    pub(crate) is_gated: bool,
    /// True if a scenario with shell commands may follow.
    pub(crate) expects_commands: bool,
    /// The terms that the process sets for the run.
    pub(crate) terms: Terms,
}

/// A run that is planned and fits the system.
pub(crate) struct Planned {
    config: Arc<RunConfig>,
    promise: Promise,
    plans: Plans,
    text: Text,
    /// Warnings about doubtful places in the scenarios, with SIPp's reading of them.
    warnings: Vec<String>,
    compiler: Arc<Compiler>,
    /// `true` while shell commands may start; without a gate they always may.
    commands_gate: Option<Arc<AtomicBool>>,
}

/// One plan for each listener, all for the same programs.
pub(super) struct Plans {
    pub(super) first: Plan,
    pub(super) others: Vec<Plan>,
}

impl Plans {
    fn all(&self) -> impl Iterator<Item = &Plan> {
        iter::once(&self.first).chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Plan> {
        iter::once(&mut self.first).chain(&mut self.others)
    }
}

/// A run whose files are open.
pub(crate) struct Ready {
    config: Arc<RunConfig>,
    promise: Promise,
    plans: Plans,
    text: Text,
    traces: Prepared,
    places: Option<Places>,
    commands_gate: Option<Arc<AtomicBool>>,
}

impl Planned {
    /// Plans a run at a terminal with the listener of the configuration.
    ///
    /// # Errors
    /// A mistake in the settings, the scenario or the limits.
    pub(crate) fn new(config: Arc<RunConfig>) -> Result<Self, RunError> {
        let expects_commands = config.api.as_ref().is_some_and(|api| api.allow_exec);
        let sent_may_command = Arc::new(AtomicBool::new(expects_commands));
        let steered = Steered { sent_may_command, expects_commands, ..Steered::default() };
        let mut planned = Self::with_listeners(config, steered)?;
        let first = &mut planned.plans.first;
        let advice = SentRules::default().advice(&planned.config, &first.launch.programs);
        first.notices.splice(..0, advice);
        Ok(planned)
    }

    /// Plans a run with the listener of the configuration and further ones. All answer calls by the
    /// same scenario.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(crate) fn with_listeners(
        config: Arc<RunConfig>,
        steered: Steered<'_>,
    ) -> Result<Self, RunError> {
        let Steered { more, given, sent_may_command, is_gated, expects_commands, terms } = steered;
        let rules = SentRules {
            is_main_given: given.is_some(),
            may_command: sent_may_command.load(Ordering::Acquire),
        };
        // Each listener has a pool.
        let terms = Terms { part: terms.part * (1 + more.len() as u64), ..terms };
        let tables = Arc::new(Tables::load(&config)?);
        let Loaded { programs, text, warnings } =
            scenario::load_all(&config, &tables, given, rules.may_command)?;
        let mut first = plan::plan(&config, programs.clone(), &tables, terms, rules)?;
        first.launch.runs_commands |= expects_commands && config.commands;
        check_listeners(&config, &programs, more)?;
        let mut others = Vec::new();
        for (index, listener) in more.iter().enumerate() {
            let mut config = RunConfig::clone(&config);
            config.transport = listener.transport;
            config.local_ip = listener.local_ip;
            config.local_port = listener.local_port;
            let mut plan = plan::plan(&config, programs.clone(), &tables, terms, rules)?;
            // The same programs have the same measurements; the reports of all are added up.
            plan.launch.layout = Arc::clone(&first.launch.layout);
            plan.launch.runs_commands = first.launch.runs_commands;
            // Notices that are the same for all listeners are given once.
            plan.notices.retain(|notice| !first.notices.contains(notice));
            // Two workers must not generate the same Call-IDs.
            plan.launch.engine.seed ^= (index as u64 + 1) << 32;
            others.push(plan);
        }
        if !more.is_empty() && config.concurrent_max != ConcurrencyLimit::Pool {
            let count = more.len() + 1;
            first.notices.push(format!(
                "the limit max_concurrent (-l) applies to each listener separately: {count} \
                 listeners may have {count} times as many calls"
            ));
        }
        let local = first.launch.engine.environment.local_ip;
        let mut plans = Plans { first, others };
        let promise = Promise::of(&config, plans.all_mut().collect::<Vec<_>>().into_iter())?;
        let workers = plans.all().map(|plan| plan.launch.workers).sum();
        let began = plans.first.launch.generations(workers);
        let shape = Arc::clone(promise.shape());
        let compiler = Compiler::new(Arc::clone(&config), tables, began, shape, local);
        let compiler = Arc::new(compiler);
        let mut all = programs.all();
        let is_gated = is_gated || all.any(|program| program.is_sent && program.runs_commands());
        let commands_gate = is_gated.then_some(sent_may_command);
        Ok(Self { config, promise, plans, text, warnings, compiler, commands_gate })
    }

    /// The compiler for scenario swaps of this run.
    pub(crate) fn compiler(&self) -> &Arc<Compiler> {
        &self.compiler
    }

    /// The configuration of the run.
    pub(crate) fn config(&self) -> &Arc<RunConfig> {
        &self.config
    }

    /// Warnings about the scenarios, for the user before the run.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter()
    }

    /// Returns the addresses to which the run itself sends, and its greatest load.
    pub(crate) fn outgoing(&self) -> (Vec<SocketAddr>, Load) {
        (self.plans.first.places.clone(), self.plans.first.load)
    }

    /// Further notices for the user before the run.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &String> {
        self.config.notices.iter().chain(self.plans.all().flat_map(|plan| &plan.notices))
    }

    /// Leaves workers to the scheduler, because other programs use the CPUs too.
    pub(crate) fn leave_cpus_alone(&mut self) {
        self.plans.all_mut().for_each(|plan| plan.launch.cpus.clear());
    }

    /// Requests counters more often than once a second.
    pub(crate) fn look_often(&mut self) {
        self.plans.all_mut().for_each(|plan| plan.launch.samples = true);
    }

    /// Makes the run start and answer no call; its reports are still written.
    pub(crate) fn make_no_call(&mut self) {
        for plan in self.plans.all_mut() {
            plan.launch.engine.calls_total = Some(0);
        }
    }

    /// Opens the files of the run; one that cannot be opened ends it before the first call. If a
    /// process has several runs, `label` is part of the names of files that have none of their own.
    ///
    /// # Errors
    /// A file cannot be opened, or a collector is unreachable.
    pub(crate) fn open(self, label: Option<&str>) -> Result<Ready, RunError> {
        let Self { config, promise, mut plans, text, commands_gate, .. } = self;
        reports::check(&config)?;
        let traces = Prepared::open(&config, &plans.first, label)?;
        let places = recording::open(&config, &plans.first.launch, label)?;
        let bell = Arc::new(Bell::default());
        for plan in plans.all_mut() {
            plan.launch.bell = Arc::clone(&bell);
            plan.launch.engine.trace = traces.kinds();
            plan.launch.record_bytes = traces.queue_bytes();
            plan.launch.copy_bytes = recording::queue_bytes(places.as_ref());
        }
        Ok(Ready { config, promise, plans, text, traces, places, commands_gate })
    }
}

/// Refuses settings that cannot be combined with several listeners.
fn check_listeners(
    config: &RunConfig,
    programs: &Programs,
    more: &[ListenerSpec],
) -> Result<(), RunError> {
    if more.is_empty() {
        return Ok(());
    }
    let problem = if programs.main.mode == Mode::Client {
        "answer calls, but this scenario makes calls"
    } else if matches!(config.calls_total, CallLimit::Count(_)) {
        "count their calls separately, but -m needs one count"
    } else if config.third_party.is_some() {
        "cannot take part in third-party call control"
    } else {
        return Ok(());
    };
    Err(RunError::Listeners { problem })
}

impl Ready {
    /// Starts the workers. They wake the calling thread, which has to poll the returned supervisor.
    ///
    /// # Errors
    /// An address cannot be bound, or a thread cannot be started.
    pub(crate) fn launch(self) -> Result<Supervisor, RunError> {
        let Self { config, promise, plans, text, traces, places, commands_gate } = self;
        Supervisor::start(config, promise, plans, text, (traces, places), commands_gate)
    }
}
