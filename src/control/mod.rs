//! The control contract: requests to a run, its replies, and the state that it publishes.
//!
//! One vocabulary for all who steer a run: [`Request`] and [`Reply`], the [`State`] that everybody
//! may read, and the figures of an interval, which add up ([`Delta`](crate::stats::Delta)). All of
//! it is serde and has a [`VERSION`]. Units are the same all the way: rates are calls per second,
//! whatever the period of `-rp`, and times are nanoseconds. A limit is written once
//! ([`Request::check`]).
//!
//! A [`Handle`] speaks it in process: a bounded queue to the thread that supervises the run, and
//! the last state behind an atomic pointer. What carries it to another process are the messages of
//! [`wire`]: a handle whose questions go down a pipe, or over a bus, is the same queue with another
//! reader, and its state is what [`wire::FromRun::State`] brought last. Scenarios travel as text
//! and are compiled where the run is.
//!
//! One loop supervises a run ([`ControlledRun`]): reports in, requests served, state and figures
//! out. The thread that runs it belongs to a front, an engine of the server or a terminal.
//!
//! Knows neither HTTP nor terminals nor who may do what.

mod controlled;
mod handle;
mod reply;
mod request;
mod service;
mod state;
mod tells;
pub mod wire;

pub(crate) use controlled::{ControlledRun, EndedRun, Front, Terms, own_time_ns};
pub(crate) use handle::{DOCUMENT, Queue};
pub use handle::{Deltas, Handle, Policy};
pub use reply::{Circuits, Refusal, Reply, Told, Wait, Waits};
pub use request::{NewScenario, Request};
pub(crate) use service::period_s;
pub use state::{ClientState, ListenerState, Phase, Published, ScenarioState, State};

/// The version of the contract. Both sides must have the same one.
pub const VERSION: u32 = 1;
