//! What the SIP property tests and the fuzz targets share: a message model that can write itself
//! in many ways, and what must hold for any bytes at all.
// Each test crate uses its own part.
#![allow(dead_code, unreachable_pub)]

pub mod choices;
pub mod invariants;
pub mod model;
