#![no_main]

libfuzzer_sys::fuzz_target!(|choices: Vec<u16>| gossipper_fuzz::sip_structured(choices));
