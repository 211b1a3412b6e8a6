#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gossipper_fuzz::media::any_rtcp(bytes));
