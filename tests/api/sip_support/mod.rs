//! The shared parts of the SIP property tests and the fuzz targets: a message model that can write
//! itself in many ways, and invariants for any bytes at all.

pub mod choices;
pub mod invariants;
pub mod model;
