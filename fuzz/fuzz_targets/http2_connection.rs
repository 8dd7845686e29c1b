#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (funk_tests::fuzz::target("http2_connection").expect("it is listed").run)(data));
