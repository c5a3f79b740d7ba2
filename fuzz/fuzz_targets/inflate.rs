//! Compressed messages to the inflater and to a reference.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_testkit::fuzz::inflate(data));
