//! No allocation where none is promised. A crate of its own, as the allocator that counts is that
//! of the whole process.

mod counter;
mod engine; // a call, in either role, over every transport
#[allow(dead_code, unreachable_pub, reason = "a part of what the simulations use")]
#[path = "../sim/harness/mod.rs"]
mod harness;
mod media; // streams of RTP, in both modes
mod parser; // the SIP parser
mod reception;
mod srtp; // protected media // streams of media: packets and reports
