#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tw_exercise::datagrams(input));
