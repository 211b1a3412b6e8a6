//! The figures of one engine that are exposed: by bounded names, so that they can be added up.

use std::collections::BTreeMap;

use crate::stats::{
    Buckets, CALL_LENGTH_BOUNDS_US, Counters, JudgedSeconds, LAG_BOUNDS_US, Lifetime, MediaMeasure,
    MessageCounts, OneWay, RESPONSE_BOUNDS_US, StepCounts, StepKind, StepLayout,
    TransactionBuckets, Unwritten, media_bounds_us,
};

/// Methods told apart in histograms, of a slot.
const METHODS_MAX: usize = 8;
/// Response-time timers told apart.
const TIMERS_MAX: usize = 8;
/// Steps told apart.
const STEPS_MAX: usize = 32;
/// Responses told apart in each direction, by method and code.
const RESPONSES_MAX: usize = 48;
/// Characters of a name that a scenario gives.
const NAME_CHARS_MAX: usize = 64;

/// The shared name of everything that has no name of its own.
pub(super) const OTHER: &str = "other";

/// Names in order of appearance, up to a number; those that come later share [`OTHER`].
#[derive(Clone, Debug)]
struct Admitted {
    names: Vec<String>,
    names_max: usize,
}

impl Admitted {
    fn new(names_max: usize) -> Self {
        Self { names: Vec::new(), names_max }
    }

    /// The label under which `name` is exposed, now and later.
    fn label(&mut self, name: &str) -> String {
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        if !self.names.contains(&name) {
            if self.names.len() >= self.names_max {
                return OTHER.to_owned();
            }
            self.names.push(name.clone());
        }
        name
    }
}

/// The names that a slot has exposed so far.
#[derive(Clone, Debug)]
pub(super) struct Names {
    methods: Admitted,
    timers: Admitted,
    steps: Admitted,
    responses_sent: Admitted,
    responses_received: Admitted,
}

/// Responses as they are exposed: by method and code.
pub(super) type Responses = BTreeMap<(&'static str, String), u64>;

/// Step counts by label.
pub(super) type Steps = BTreeMap<String, StepCounts>;

impl Names {
    /// The responses that were sent; those beyond the bound share one code.
    pub(super) fn responses_sent(&mut self, sent: &OneWay) -> Responses {
        responses(&mut self.responses_sent, sent)
    }

    /// The responses that were received, named like [`responses_sent`](Self::responses_sent).
    pub(super) fn responses_received(&mut self, received: &OneWay) -> Responses {
        responses(&mut self.responses_received, received)
    }
}

fn responses(admitted: &mut Admitted, one_way: &OneWay) -> Responses {
    let mut responses = Responses::new();
    // Create the series of nearly every scenario at 0, so that `rate()` works from the first event.
    for method in ["INVITE", "BYE", "REGISTER", "OPTIONS"] {
        admitted.label(&format!("{method} 200"));
        responses.insert((method, "200".to_owned()), 0);
    }
    for (method, code, count) in one_way.responses() {
        let code = code.map_or_else(|| OTHER.to_owned(), |code| code.to_string());
        let is_told = admitted.label(&format!("{method} {code}")) != OTHER;
        let code = if is_told { code } else { OTHER.to_owned() };
        *responses.entry((method, code)).or_default() += count;
    }
    responses
}

impl Default for Names {
    fn default() -> Self {
        Self {
            methods: Admitted::new(METHODS_MAX),
            timers: Admitted::new(TIMERS_MAX),
            steps: Admitted::new(STEPS_MAX),
            responses_sent: Admitted::new(RESPONSES_MAX),
            responses_received: Admitted::new(RESPONSES_MAX),
        }
    }
}

/// The figures of one engine, or of several that ran one after the other.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    pub(super) counters: Counters,
    pub(super) messages: MessageCounts,
    pub(super) steps: Steps,
    /// Durations by method; transactions of one method are added up.
    pub(super) transactions: BTreeMap<String, TransactionBuckets>,
    pub(super) timers: BTreeMap<String, Buckets>,
    pub(super) call_length: Buckets,
    pub(super) scheduler_lag: Buckets,
    pub(super) loop_time: Buckets,
    /// By measurement of media, in the order of [`MediaMeasure::ALL`].
    pub(super) media: Vec<Buckets>,
    pub(super) seconds: JudgedSeconds,
    /// Busy time by worker, in nanoseconds.
    pub(super) busy_ns: Vec<u64>,
    pub(super) unwritten: Unwritten,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            messages: MessageCounts::default(),
            steps: Steps::new(),
            transactions: BTreeMap::new(),
            timers: BTreeMap::new(),
            call_length: Buckets::new(CALL_LENGTH_BOUNDS_US),
            scheduler_lag: Buckets::new(LAG_BOUNDS_US),
            loop_time: Buckets::new(LAG_BOUNDS_US),
            media: MediaMeasure::ALL.map(|kind| Buckets::new(media_bounds_us(kind))).into(),
            seconds: JudgedSeconds::default(),
            busy_ns: Vec::new(),
            unwritten: Unwritten::default(),
        }
    }
}

impl Totals {
    /// The figures of a run without its steps, under names that `names` admits.
    pub(super) fn of(lifetime: &Lifetime, names: &mut Names) -> Self {
        let layout = &lifetime.layout;
        let measured = &lifetime.measured;
        let mut totals = Self {
            counters: lifetime.counters,
            messages: lifetime.messages.clone(),
            call_length: measured.call_length.clone(),
            scheduler_lag: measured.planned_send_error.clone(),
            loop_time: measured.loop_time.clone(),
            media: measured.media.clone(),
            seconds: lifetime.seconds,
            busy_ns: lifetime.busy_ns.clone(),
            unwritten: lifetime.unwritten,
            ..Self::default()
        };
        for (name, both) in layout.transactions.iter().zip(&measured.transactions) {
            // A method that a scenario sends twice is named INVITE#2 the second time.
            let method = name.split('#').next().unwrap_or(name);
            totals.add_transaction(names.methods.label(method), both);
        }
        for (name, buckets) in layout.rtds.iter().zip(&measured.rtds) {
            totals.add_timer(names.timers.label(name), buckets);
        }
        totals
    }

    /// Adds the figures of another run.
    pub(super) fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.add_steps(&other.steps);
        self.messages.add(&other.messages);
        for (method, both) in &other.transactions {
            self.add_transaction(method.clone(), both);
        }
        for (timer, buckets) in &other.timers {
            self.add_timer(timer.clone(), buckets);
        }
        self.call_length.add(&other.call_length);
        self.scheduler_lag.add(&other.scheduler_lag);
        self.loop_time.add(&other.loop_time);
        self.media.iter_mut().zip(&other.media).for_each(|(mine, theirs)| mine.add(theirs));
        self.seconds.add(&other.seconds);
        self.unwritten.add(&other.unwritten);
        let workers = self.busy_ns.len().max(other.busy_ns.len());
        self.busy_ns.resize(workers, 0);
        self.busy_ns.iter_mut().zip(&other.busy_ns).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// A measurement of media.
    pub(super) fn measured(&self, measure: MediaMeasure) -> &Buckets {
        &self.media[measure as usize]
    }

    /// Durations of refused transactions, of all methods together.
    pub(super) fn refused(&self) -> Buckets {
        let mut sum = Buckets::new(RESPONSE_BOUNDS_US);
        self.transactions.values().for_each(|transaction| sum.add(&transaction.refused));
        sum
    }

    /// Adds the steps of a program.
    pub(super) fn add_steps(&mut self, steps: &Steps) {
        for (step, counts) in steps {
            self.steps.entry(step.clone()).or_default().add(counts);
        }
    }

    fn add_transaction(&mut self, method: String, both: &TransactionBuckets) {
        let empty = || TransactionBuckets {
            service: Buckets::new(RESPONSE_BOUNDS_US),
            response: Buckets::new(RESPONSE_BOUNDS_US),
            refused: Buckets::new(RESPONSE_BOUNDS_US),
        };
        let sums = self.transactions.entry(method).or_insert_with(empty);
        sums.service.add(&both.service);
        sums.response.add(&both.response);
        sums.refused.add(&both.refused);
    }

    fn add_timer(&mut self, timer: String, buckets: &Buckets) {
        let empty = || Buckets::new(RESPONSE_BOUNDS_US);
        self.timers.entry(timer).or_insert_with(empty).add(buckets);
    }
}

/// The steps of each program of a run, by the number of the program.
pub(super) fn steps_by_program(lifetime: &Lifetime, names: &mut Names) -> BTreeMap<u8, Steps> {
    let mut programs = BTreeMap::new();
    let mut counts = lifetime.steps.iter();
    for program in &lifetime.layout.programs {
        let mut steps = Steps::new();
        for (index, (step, counts)) in program.steps.iter().zip(&mut counts).enumerate() {
            let label = names.steps.label(&step_name(index, step));
            steps.entry(label).or_default().add(counts);
        }
        programs.insert(program.number, steps);
    }
    programs
}

/// The label of a step: its place in its program, its kind, and its message.
fn step_name(index: usize, step: &StepLayout) -> String {
    let kind = match step.kind {
        StepKind::Send { .. } => "send",
        StepKind::Recv { .. } => "recv",
        StepKind::Pause => "pause",
        StepKind::Nop => "nop",
        StepKind::SendCommand => "sendCmd",
        StepKind::RecvCommand => "recvCmd",
    };
    format!("{index:02} {kind} {}", step.name).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_names_share_one_label_and_early_ones_keep_theirs() {
        let mut admitted = Admitted::new(2);
        assert_eq!(admitted.label("a"), "a");
        assert_eq!(admitted.label("b"), "b");
        assert_eq!(admitted.label("c"), OTHER);
        assert_eq!(admitted.label("a"), "a");
    }

    #[test]
    fn long_names_are_cut() {
        let mut admitted = Admitted::new(2);
        let long = "ü".repeat(1000);
        assert_eq!(admitted.label(&long).chars().count(), NAME_CHARS_MAX);
        assert_eq!(admitted.label(&long).chars().count(), NAME_CHARS_MAX);
        assert_eq!(admitted.names.len(), 1);
    }
}
