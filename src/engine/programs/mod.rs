//! The programs that the calls of a run follow.

pub(in crate::engine) mod bound;
pub(in crate::engine) mod generations;
pub(in crate::engine) mod layout;
pub(in crate::engine) mod swap;

use std::sync::Arc;

use crate::scenario::Program;

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
        Self { main, receiving: None, out_of_call: None }
    }
}
