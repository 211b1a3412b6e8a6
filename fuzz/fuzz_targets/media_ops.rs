#![no_main]

use gossipper_fuzz::sim::operations::any_operations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| any_operations(bytes));
