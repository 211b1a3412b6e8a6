//! The programs that the calls of a run follow.

pub(in crate::engine) mod bound;
pub(in crate::engine) mod generations;
pub(in crate::engine) mod layout;
pub(in crate::engine) mod swap;

use std::collections::HashMap;
use std::sync::Arc;

use crate::media::clip::ClipSet;
use crate::scenario::Program;
use crate::scenario::media::SourceSpec;

/// The main program, and those for calls that it does not expect. All workers share them.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program of calls that we make; for a server, of those that we answer.
    pub main: Arc<Program>,
    /// The program of calls that arrive while the main program makes calls (`-rxsf`).
    pub receiving: Option<Arc<Program>>,
    /// The program that answers messages of unknown calls while the main one makes calls
    /// (`-oocsf`).
    pub out_of_call: Option<Arc<Program>>,
    /// The media that they play.
    pub clips: Clips,
}

/// The media of a program, by the source that it names.
pub type ClipsBySource = HashMap<SourceSpec, Arc<ClipSet>>;

/// The media of all programs.
#[derive(Clone, Debug, Default)]
pub struct Clips(Vec<Arc<ClipsBySource>>);

impl Clips {
    /// The media of each program, in the order of [`Programs::all`].
    pub fn new(sources: impl IntoIterator<Item = ClipsBySource>) -> Self {
        Self(sources.into_iter().map(Arc::new).collect())
    }

    /// The same media, but for those of the main program.
    pub fn with_main(&self, sources: ClipsBySource) -> Self {
        let others = self.0.iter().skip(1).cloned();
        Self([Arc::new(sources)].into_iter().chain(others).collect())
    }

    /// Memory of all media. A set that several sources share counts for each.
    pub fn bytes(&self) -> u64 {
        self.0.iter().flat_map(|sources| sources.values()).map(|set| set.bytes()).sum()
    }

    /// The media of `program`, the `index`-th one, in the order of its sources. The code that
    /// starts a run has read all of them; an empty one stands for a source that it did not.
    pub(in crate::engine) fn of(&self, index: usize, program: &Program) -> Vec<Arc<ClipSet>> {
        let own = self.0.get(index);
        let clip = |spec| own.and_then(|own| own.get(spec)).cloned();
        let none = || Arc::new(ClipSet { clips: Vec::new() });
        program.sources.iter().map(|spec| clip(spec).unwrap_or_else(none)).collect()
    }
}

impl Programs {
    /// All programs, the main one first: the order of [`crate::stats::Layout::programs`].
    pub fn all(&self) -> impl Iterator<Item = &Arc<Program>> {
        [Some(&self.main), self.receiving.as_ref(), self.out_of_call.as_ref()].into_iter().flatten()
    }

    /// Index of the receiving program among all.
    pub(in crate::engine) fn receiving_index(&self) -> Option<u8> {
        self.receiving.as_ref().map(|_| 1)
    }

    /// Index of the out-of-call program among all.
    pub(in crate::engine) fn out_of_call_index(&self) -> Option<u8> {
        self.out_of_call.as_ref().map(|_| 1 + u8::from(self.receiving.is_some()))
    }
}

impl From<Arc<Program>> for Programs {
    fn from(main: Arc<Program>) -> Self {
        Self { main, receiving: None, out_of_call: None, clips: Clips::default() }
    }
}
