//! The shared parts of the SIP property tests and the fuzz targets: a message model that can write
//! itself in many ways, and invariants for any bytes at all.
// Each test crate uses its own part.
#![allow(dead_code, unreachable_pub)]

pub mod choices;
pub mod invariants;
pub mod model;
