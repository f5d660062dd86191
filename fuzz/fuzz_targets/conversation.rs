#![no_main]

libfuzzer_sys::fuzz_target!(
    |bytes: &[u8]| (ebb_parser_testing::targets::named("conversation").run)(bytes)
);
