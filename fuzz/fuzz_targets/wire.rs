//! Frames to the decoder, to a hub and to a reference decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_testkit::fuzz::wire_differential(data));
