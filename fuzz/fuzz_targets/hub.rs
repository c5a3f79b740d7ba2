//! A hub, its peers and its application, in any order.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_testkit::fuzz::hub(data));
