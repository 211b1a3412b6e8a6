//! The durations that a worker measures in one interval.

use super::distribution::{Cell, Distribution};
use super::layout::Layout;
use super::media::MediaHistograms;

/// The two clocks of one kind of transaction that was answered with a 2xx, and the first clock of
/// those that were refused.
#[derive(Clone, Debug)]
pub struct TransactionHistograms<C: Cell = u32> {
    /// Time from the request's first transmission to the final response: the system under test.
    pub service: Distribution<C>,
    /// Time from the moment at which the request was planned: what a caller would have seen. The
    /// difference to `service` is time that the generator lost, which would otherwise hide in a
    /// lower rate.
    pub response: Distribution<C>,
    /// Times as in `service`, of the transactions whose final response was 3xx to 6xx.
    pub refused: Distribution<C>,
}

impl<C: Cell> TransactionHistograms<C> {
    fn new() -> Self {
        let refused = Distribution::new();
        Self { service: Distribution::new(), response: Distribution::new(), refused }
    }
}

/// All distributions of one scenario: of one worker and interval (`u32` cells), or of a whole run
/// (`u64` cells).
///
/// Memory is taken in [`Histograms::new`] only. The `record_*` functions neither allocate nor fail;
/// an index outside the [`Layout`] is ignored.
#[derive(Clone, Debug)]
pub struct Histograms<C: Cell = u32> {
    /// By transaction, in the order of [`Layout::transactions`].
    pub transactions: Vec<TransactionHistograms<C>>,
    /// By response-time timer, in the order of [`Layout::rtds`].
    pub rtds: Vec<Distribution<C>>,
    /// Time from a call's first message to its end.
    pub call_length: Distribution<C>,
    /// Distance of a call's start from its planned time: the generator's own error. A start is
    /// early by half a grain at most, so that large values are lateness.
    pub planned_send_error: Distribution<C>,
    /// Duration of one turn of the worker's loop, without the wait.
    pub loop_time: Distribution<C>,
    /// Measurements of media.
    pub media: MediaHistograms<C>,
}

impl<C: Cell> Histograms<C> {
    /// Empty histograms for a scenario.
    pub fn new(layout: &Layout) -> Self {
        Self {
            transactions: layout
                .transactions
                .iter()
                .map(|_| TransactionHistograms::new())
                .collect(),
            rtds: layout
                .rtds
                .iter()
                .map(|_| Distribution::with_repartition(&layout.rtd_repartition_ms))
                .collect(),
            call_length: Distribution::with_repartition(&layout.call_length_repartition_ms),
            planned_send_error: Distribution::new(),
            loop_time: Distribution::new(),
            media: MediaHistograms::default(),
        }
    }

    /// Records the wire time of a transaction of kind `transaction`.
    pub fn record_service(&mut self, transaction: usize, duration_ns: u64) {
        debug_assert!(transaction < self.transactions.len());
        if let Some(histograms) = self.transactions.get_mut(transaction) {
            histograms.service.record(duration_ns);
        }
    }

    /// Records the time since the planned start of a transaction of kind `transaction`.
    pub fn record_response(&mut self, transaction: usize, duration_ns: u64) {
        debug_assert!(transaction < self.transactions.len());
        if let Some(histograms) = self.transactions.get_mut(transaction) {
            histograms.response.record(duration_ns);
        }
    }

    /// Records the wire time of a transaction of kind `transaction` that was answered with 3xx to
    /// 6xx.
    pub fn record_refused(&mut self, transaction: usize, duration_ns: u64) {
        debug_assert!(transaction < self.transactions.len());
        if let Some(histograms) = self.transactions.get_mut(transaction) {
            histograms.refused.record(duration_ns);
        }
    }

    /// Records a value of the response-time timer `rtd`.
    pub fn record_rtd(&mut self, rtd: usize, duration_ns: u64) {
        debug_assert!(rtd < self.rtds.len());
        if let Some(distribution) = self.rtds.get_mut(rtd) {
            distribution.record(duration_ns);
        }
    }

    /// Records the length of a call that ended.
    pub fn record_call_length(&mut self, duration_ns: u64) {
        self.call_length.record(duration_ns);
    }

    /// Records the lateness of a call's start.
    pub fn record_planned_send_error(&mut self, lateness_ns: u64) {
        self.planned_send_error.record(lateness_ns);
    }

    /// Records the duration of one turn of the loop.
    pub fn record_loop_time(&mut self, duration_ns: u64) {
        self.loop_time.record(duration_ns);
    }

    /// Makes room for the names that a later layout of the same run has in addition.
    pub fn grow(&mut self, layout: &Layout) {
        self.transactions.resize_with(
            layout.transactions.len().max(self.transactions.len()),
            TransactionHistograms::new,
        );
        self.rtds.resize_with(layout.rtds.len().max(self.rtds.len()), || {
            Distribution::with_repartition(&layout.rtd_repartition_ms)
        });
    }

    /// Adds everything that `other` (of the same layout, or of an earlier one of the run) recorded.
    pub fn add<D: Cell>(&mut self, other: &Histograms<D>) {
        debug_assert!(self.transactions.len() >= other.transactions.len());
        debug_assert!(self.rtds.len() >= other.rtds.len());
        for (mine, theirs) in self.transactions.iter_mut().zip(&other.transactions) {
            mine.service.add(&theirs.service);
            mine.response.add(&theirs.response);
            mine.refused.add(&theirs.refused);
        }
        for (mine, theirs) in self.rtds.iter_mut().zip(&other.rtds) {
            mine.add(theirs);
        }
        self.call_length.add(&other.call_length);
        self.planned_send_error.add(&other.planned_send_error);
        self.loop_time.add(&other.loop_time);
        self.media.add(&other.media);
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        for transaction in &mut self.transactions {
            transaction.service.clear();
            transaction.response.clear();
            transaction.refused.clear();
        }
        for rtd in &mut self.rtds {
            rtd.clear();
        }
        self.call_length.clear();
        self.planned_send_error.clear();
        self.loop_time.clear();
        self.media.clear();
    }
}
