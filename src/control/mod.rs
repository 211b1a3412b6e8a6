//! The control contract: requests to a run, its replies, and the state that it publishes.
//!
//! All parts that steer a run share one vocabulary: [`Request`], [`Reply`], the published
//! [`State`], and the figures of an interval, which add up ([`Delta`](crate::stats::Delta)). All of
//! it is serde and has a [`VERSION`]. Units are the same everywhere: times are nanoseconds, and the
//! state's rate is calls per second. A requested [`Rate`] brings its period along. Each limit is
//! checked in one place ([`Request::check`]).
//!
//! A [`Handle`] uses it within the process: it has a bounded queue to the thread that supervises
//! the run, and the last state behind an atomic pointer. The messages of [`wire`] carry it to
//! another process. A handle over a pipe or a bus is then the same queue with another reader, and
//! its state is the last [`wire::FromRun::State`]. Scenarios travel as text and are compiled by the
//! process of the run.
//!
//! One loop supervises a run (`ControlledRun`): it takes reports, serves requests, and publishes
//! state and figures. The thread that runs it belongs to a front, an engine of the server or a
//! terminal.
//!
//! This module knows neither HTTP, nor terminals, nor permissions of users.

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
pub use request::{NewScenario, Rate, Request};
pub use state::{ClientState, ListenerState, Phase, Published, ScenarioState, State};

/// The version of the contract. Both sides must have the same one.
pub const VERSION: u32 = 1;
