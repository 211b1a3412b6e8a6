//! The long-running process: engines that an operator watches and steers while they run.

pub mod auth;
pub mod config;
pub mod engines;
pub mod metrics;
