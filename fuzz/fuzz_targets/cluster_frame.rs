#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (funk_tests::fuzz::target("cluster_frame").expect("it is listed").run)(data));
