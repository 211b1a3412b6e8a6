#![no_main]

use gossipper_fuzz::engine::Op;

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<Op>)| gossipper_fuzz::engine::ops(input.0, input.1));
