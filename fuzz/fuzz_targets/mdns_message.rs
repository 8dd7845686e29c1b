#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (funk_tests::fuzz::target("mdns_message").expect("it is listed").run)(data));
