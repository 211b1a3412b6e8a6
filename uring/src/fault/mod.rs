//! Kernel errors on purpose, under the real drivers, for tests.
//!
//! A plan is installed per thread and asked by every call of the packet path. A scripted answer is
//! used once, in order; a seeded rate answers at random but repeatably.

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::sim::Random;

/// Places in the packet path at which an error can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// An accept, before the kernel sees it: `EMFILE`, `ECONNABORTED`.
    Accept,
    /// A connect, before the kernel sees it: `ENETUNREACH`, `EADDRNOTAVAIL`.
    Connect,
    /// The call that submits or waits: `EINTR`, `EBUSY`, `EAGAIN`.
    Enter,
    /// `recvmmsg` of the `syscall` driver.
    Receive,
    /// The direct `sendmsg` with which a failed send is tried again.
    Resend,
    /// A send, before the kernel sees it: `ENOBUFS`, `ECONNREFUSED`, `EMSGSIZE`, `EPERM`, `EIO`.
    Send,
    /// A multishot receive of the `uring` driver, which is cancelled; the scripted value is
    /// ignored.
    StopReceive,
    /// A write to a stream, before the kernel sees it: `EINTR`, `EAGAIN`, `EPIPE`, `ENOBUFS`.
    StreamSend,
}

/// Errors to inject on this thread.
#[derive(Debug)]
pub struct Plan {
    scripted: Vec<(Site, VecDeque<Option<i32>>)>,
    rates: Vec<(Site, u32, Vec<i32>)>,
    random: Random,
    injected: u64,
}

impl Plan {
    /// An empty plan; `seed` drives the rates.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { scripted: Vec::new(), rates: Vec::new(), random: Random::new(seed), injected: 0 }
    }

    /// Answers the next calls at `site` with these errors, `None` letting a call pass.
    #[must_use]
    pub fn script(mut self, site: Site, answers: impl IntoIterator<Item = Option<i32>>) -> Self {
        self.scripted.push((site, answers.into_iter().collect()));
        self
    }

    /// Answers calls at `site` with one of `errors` in `per_mille` of 1,000 cases.
    #[must_use]
    pub fn rate(mut self, site: Site, per_mille: u32, errors: &[i32]) -> Self {
        self.rates.push((site, per_mille, errors.to_vec()));
        self
    }

    fn answer(&mut self, site: Site) -> Option<i32> {
        for (of, answers) in &mut self.scripted {
            if *of == site
                && let Some(answer) = answers.pop_front()
            {
                return answer;
            }
        }
        for (of, per_mille, errors) in &self.rates {
            if *of == site && !errors.is_empty() && self.random.below(1000) < u64::from(*per_mille)
            {
                let choice = self.random.below(errors.len() as u64) as usize;
                return errors.get(choice).copied();
            }
        }
        None
    }
}

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
}

/// Puts a plan in force on this thread, until [`clear`] or the next one.
pub fn install(plan: Plan) {
    PLAN.with_borrow_mut(|current| *current = Some(plan));
}

/// Ends fault injection on this thread and says how many errors were injected.
pub fn clear() -> u64 {
    PLAN.with_borrow_mut(Option::take).map_or(0, |plan| plan.injected)
}

pub(crate) fn take(site: Site) -> Option<i32> {
    PLAN.with_borrow_mut(|plan| {
        let plan = plan.as_mut()?;
        let answer = plan.answer(site);
        plan.injected += u64::from(answer.is_some());
        answer
    })
}
