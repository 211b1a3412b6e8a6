//! Somebody beside the terminal who watches a run and steers it. Who that is, a run does not know.

use super::RunError;
use super::planned::Planned;
use super::supervisor::{Finished, Supervisor};

/// A companion of one run, on the thread that supervises it: nothing here may wait for long.
pub(crate) trait Companion {
    /// Before anything of the run is there: whatever keeps it from being there keeps the run from
    /// starting.
    ///
    /// # Errors
    /// [`RunError::Companion`].
    fn prepare(&mut self) -> Result<(), RunError>;

    /// The run is planned; nothing of it has started.
    fn plan(&mut self, planned: &mut Planned);

    /// The workers have started. Returns what the run shall say about it beside its address.
    ///
    /// # Errors
    /// [`RunError::Companion`], which ends the run.
    fn begin(&mut self, run: &Supervisor) -> Result<String, RunError>;

    /// Looks at the run and does with it what is asked for. `has_reports` says whether workers have
    /// reported since the last time.
    fn poll(&mut self, run: &mut Supervisor, has_reports: bool, now: u64);

    /// The workers have ended.
    fn end(&mut self, run: &Supervisor);

    /// Everything is written.
    fn finish(&mut self, finished: &Finished);
}
