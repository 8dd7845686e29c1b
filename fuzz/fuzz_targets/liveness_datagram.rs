#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (funk_tests::fuzz::target("liveness_datagram").expect("it is listed").run)(data));
