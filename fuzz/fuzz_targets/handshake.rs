//! Opening requests and responses, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_testkit::fuzz::handshake(data));
