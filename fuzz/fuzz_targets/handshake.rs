#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gossipper_fuzz::handshake::any_handshake(bytes));
