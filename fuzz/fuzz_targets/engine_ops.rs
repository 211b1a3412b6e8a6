#![no_main]

use gossipper_fuzz::engine::{Op, Setup, ops};

libfuzzer_sys::fuzz_target!(|input: (Setup, Vec<Op>)| ops(input.0, input.1));
