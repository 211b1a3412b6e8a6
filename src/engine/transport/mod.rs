//! Sockets of calls: connections over byte streams, reopening them, and source addresses.

pub(in crate::engine) mod connections;
pub(in crate::engine) mod reopen;
pub(in crate::engine) mod sources;
