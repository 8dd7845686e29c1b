#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (funk_tests::fuzz::target("management_calls").expect("it is listed").run)(data));
